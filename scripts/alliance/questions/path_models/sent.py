"""What the sites' summaries hold for the configured path models: each is taken apart once, whatever the number of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alliance.questions.contract import WITH_NUMBERS
from alliance.questions.moments import Block, positions, read_blocks
from alliance.questions.path_models.fits import moment_name
from alliance.questions.path_models.sample import block
from alliance.questions.summary import SiteSummary
from alliance.statistics.structural_model import StructuralModel
from alliance.statistics.within_sites import SiteGroups, SiteMoments
from alliance.variables.path_model import PathModel

Covariances = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Sent:
    """One site's summary by model.

    Attributes
    ----------
    summary : SiteSummary
    blocks : mapping of str to Block
        Moments of clients by the name of their block; none of a site that is left out.
    covariances : mapping of str to tuple of ndarray
        Parameter, other parameter and covariance, by model.
    clients : mapping of (str, str) to int
        Largest number of clients of a model's estimates, by model and group (empty: all clients); what has none is absent.
    therapists : mapping of str to int
        The same of therapists by model.
    estimated : frozenset of str
        Models with unstandardised coefficients.
    """

    summary: SiteSummary
    blocks: Mapping[str, Block]
    covariances: Mapping[str, Covariances]
    clients: Mapping[tuple[str, str], int]
    therapists: Mapping[str, int]
    estimated: frozenset[str]

    @property
    def site(self) -> str:
        """The site's id."""
        return self.summary.site

    @property
    def usable(self) -> bool:
        """Whether the site takes part."""
        return self.summary.status == "ok"


def sent_by(summaries: Sequence[SiteSummary]) -> list[Sent]:
    """Return what each site sent, in the order given."""
    return [_sent(one) for one in summaries]


def _sent(summary: SiteSummary) -> Sent:
    vcov, estimates = summary.vcov, summary.estimates
    first, second = (vcov[name].to_numpy(dtype=object) for name in ("parameter1", "parameter2"))
    values = vcov["cov"].to_numpy(dtype=float)
    # Shares are of everyone, also of clients whom a model leaves out.
    fitted = estimates[estimates["estimate_type"].ne("share")]
    clients = fitted.groupby(["model", "group"])["n_clients"].max().dropna()
    therapists = estimates.groupby("model")["n_therapists"].max().dropna()
    raw = estimates["estimate_type"].isin(["path_unstandardised", "loading"]) & estimates["status"].isin(WITH_NUMBERS)
    return Sent(
        summary,
        read_blocks(summary.moments) if summary.status == "ok" else {},
        {name: (first[here], second[here], values[here]) for name, here in positions(vcov["model"]).items()},
        {key: int(value) for key, value in clients.items()},
        {name: int(value) for name, value in therapists.items()},
        frozenset(estimates.loc[raw, "model"]),
    )


def site_moments(sent: Sent, name: str, model: StructuralModel) -> SiteMoments | None:
    """Return a site's moments of a model's variables with their sampling covariance; None where cells are missing."""
    found, names = sent.blocks.get(block(name)), list(model.observed)
    if found is None or not set(names) <= set(found.names):
        return None
    own = found.of(names)
    if not np.isfinite(own.covariance).all() or len(names) < 2:
        return None
    pairs = np.triu_indices(len(names), 1)
    n = float(len(pairs[0]) / (1 / own.n[pairs]).sum())
    return SiteMoments(n, own.covariance, _acov(sent, name, names))


def site_groups(sent: Sent, name: str, model: PathModel) -> SiteGroups | None:
    """Return the same for every group of a model; None where cells of any group are missing."""
    names = list(model.observed)
    blocks = [sent.blocks.get(block(name, group)) for group in model.groups]
    if len(names) < 2 or any(one is None or not set(names) <= set(one.names) for one in blocks):
        return None
    own = [one.of(names) for one in blocks]
    covariances = np.array([one.covariance for one in own])
    if not np.isfinite(covariances).all():
        return None
    pairs = np.triu_indices(len(names), 1)
    n = np.array([len(pairs[0]) / (1 / one.n[pairs]).sum() for one in own])
    return SiteGroups(n, covariances, _acov(sent, name, names, model.groups))


def _acov(sent: Sent, name: str, names: Sequence[str], groups: Sequence[str] = ("",)) -> np.ndarray | None:
    cells = [(names[a], names[b], group) for group in groups for a, b in zip(*np.triu_indices(len(names)))]
    place = {moment_name(*cell): position for position, cell in enumerate(cells)}
    place |= {moment_name(other, one, group): position for position, (one, other, group) in enumerate(cells)}
    acov = np.full((len(cells),) * 2, np.nan)
    i, j, values = placed(sent, block(name), place)
    acov[i, j] = acov[j, i] = values
    return acov if np.isfinite(acov).all() else None


def placed(sent: Sent, model: str, place: Mapping[str, int]) -> Covariances:
    """Return where the covariances of a model's parameters stand, and their values; parameters without a place are left out."""
    first, second, values = sent.covariances.get(model, (np.array([], dtype=object),) * 2 + (np.array([]),))
    i = np.array([place.get(name, -1) for name in first], dtype=int)
    j = np.array([place.get(name, -1) for name in second], dtype=int)
    known = (i >= 0) & (j >= 0)
    return i[known], j[known], values[known]
