"""The effect of one alliance measure on one outcome at a site, estimated as the configuration asks for the headline.

Clients with all values and therapists left out in turn, unless ``questions.alliance_outcome.headline`` chooses otherwise: clients with some
of the values too (full information maximum likelihood, or multiple imputation), therapists as a random intercept or ignored, and
covariates held constant beside the intake level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.alliance_outcome.measures import FORMS, AllianceKey, OutcomeKey, SiteMeasures, effects_of, explained
from alliance.questions.alliance_outcome.missing import imputed_rows
from alliance.questions.correlations import row_fields
from alliance.questions.site_data import SiteData
from alliance.statistics.correlation import Correlations
from alliance.variables.client import measure

COMPLETE, LIKELIHOOD, IMPUTED = "complete", "likelihood", "imputed"
JACKKNIFE, RANDOM, IGNORED = "jackknife", "random", "ignored"
USUAL = {"missing": COMPLETE, "therapists": JACKKNIFE, "covariates": []}
LITERATURE_STYLE = "therapists are ignored, as much of the literature does: the standard error may be too small"
_STEP = 1e-5


def settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the headline is estimated."""
    return dict(options["questions"]["alliance_outcome"]["headline"])


def covariates_of(site: SiteData, clients: pd.Index, names: Sequence[str], options: Mapping[str, Any]) -> tuple[np.ndarray | None, str]:
    """Return the covariates of all clients, shape (clients, q), or None with the reason where the site lacks one of them."""
    columns = []
    for name in names:
        found = measure(site, {"construct": name}, options)
        if found.reason:
            return None, found.reason
        columns.append(found.values.reindex(clients).to_numpy(dtype=float))
    return np.column_stack(columns) if columns else np.empty((len(clients), 0)), ""


def complete_fields(
    found: SiteMeasures, outcome: OutcomeKey, form: str, result: Correlations, position: int, covariates: np.ndarray | None = None
) -> tuple[dict[str, Any], float]:
    """Return the columns of ``estimates.csv`` of one of the correlations of :func:`effects_of`, and the variance of r."""
    values = found.outcomes[outcome]
    alliance = list(found.alliance)[position]
    y, held = explained(values, form, covariates)
    used = np.isfinite(y) & np.isfinite(found.alliance[alliance]) & ~found.late[outcome][:, position]
    if held is not None:
        used &= np.isfinite(held).all(axis=1)
    fields = row_fields(result, position, found.therapists is not None) | {"estimate_type": FORMS[form]}
    if form != "zero_order" and values.no_intake:
        fields |= {"reason": f"not estimable: {values.no_intake}"}
    total = len(found.clients)
    fields["n_sessions"] = int(found.sessions[alliance][used].sum())
    fields["share_missing"] = 1 - fields["n_clients"] / total if total else None
    return fields, float((result.se_z[position] * (1 - result.r[position] ** 2)) ** 2)


def with_ignored_therapists(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of an effect that takes clients as independent, flagged; therapists that were not looked at are not known."""
    if fields["status"] == "not_estimable":
        return dict(fields)
    reason = "; ".join(part for part in (fields["reason"], LITERATURE_STYLE) if part)
    return {**fields, "n_therapists": fields.get("n_therapists") or None, "status": "flagged", "reason": reason}


def configured_effect(
    site: SiteData, found: SiteMeasures, alliance: AllianceKey, outcome: OutcomeKey, form: str, options: Mapping[str, Any]
) -> tuple[dict[str, Any], float]:
    """Return the columns of ``estimates.csv`` of one effect, estimated as configured for the headline, and the variance of r.

    Parameters
    ----------
    site : SiteData
    found : SiteMeasures
        Holds both measures.
    alliance, outcome : AllianceKey, OutcomeKey
    form : str
        A key of :data:`FORMS`.
    options : mapping
        The keys that alliance and outcome read.
    """
    chosen = settings(options)
    covariates, lacking = covariates_of(site, found.clients, chosen["covariates"] if form != "zero_order" else [], options)
    values = found.outcomes[outcome]
    absent = {"estimate_type": FORMS[form], "method": "none", "status": "not_estimable", "n_clients": 0}
    if lacking:
        return {**absent, "reason": f"not estimable: {lacking}"}, np.nan
    if form != "zero_order" and values.no_intake:
        return {**absent, "reason": f"not estimable: {values.no_intake}"}, np.nan
    if chosen["missing"] == COMPLETE and chosen["therapists"] != RANDOM:
        position = list(found.alliance).index(alliance)
        one = replace(found, alliance={alliance: found.alliance[alliance]}, late={outcome: found.late[outcome][:, [position]]})
        ignored = chosen["therapists"] == IGNORED
        result = effects_of(one, outcome, form, options["pooling"]["min_clients"], covariates=covariates, ignore_therapists=ignored)
        fields, variance = complete_fields(one, outcome, form, result, 0, covariates)
        return (with_ignored_therapists(fields) if ignored else fields), variance
    if chosen["missing"] == IMPUTED:
        fields, variance = _imputed(site, found, alliance, outcome, form, covariates, options)
    elif chosen["missing"] == LIKELIHOOD:
        fields, variance = _likelihood(found, alliance, outcome, form, covariates, options)
    else:
        fields, variance = _random_therapists(found, alliance, outcome, form, covariates, options)
    fields = {"estimate_type": FORMS[form], **fields}
    return (with_ignored_therapists(fields) if chosen["therapists"] == IGNORED else fields), variance


def _therapists(found: SiteMeasures, options: Mapping[str, Any]) -> np.ndarray | None:
    return None if settings(options)["therapists"] == IGNORED else found.therapists


def _imputed(
    site: SiteData,
    found: SiteMeasures,
    alliance: AllianceKey,
    outcome: OutcomeKey,
    form: str,
    covariates: np.ndarray,
    options: Mapping[str, Any],
) -> tuple[dict[str, Any], float]:
    values = found.outcomes[outcome]
    data = pd.DataFrame({"alliance": found.of(alliance, outcome), "intake": values.intake, "outcome": values.post}, index=found.clients)
    held = {f"covariate {position}": column for position, column in enumerate(covariates.T)}
    together = replace(found, therapists=_therapists(found, options))
    [row] = imputed_rows(site, data.assign(**held), together, options, form, [0.0], list(held))
    unused = ("variance", "pattern", "delta")
    return {name: value for name, value in row.items() if name not in unused}, float(row.get("variance", np.nan))


def _columns(
    found: SiteMeasures, alliance: AllianceKey, outcome: OutcomeKey, form: str, covariates: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return alliance, outcome and what is held constant, shapes (clients,), (clients,) and (clients, q)."""
    y, held = explained(found.outcomes[outcome], form, covariates)
    return found.of(alliance, outcome), y, np.empty((len(y), 0)) if held is None else held


def _likelihood(
    found: SiteMeasures, alliance: AllianceKey, outcome: OutcomeKey, form: str, covariates: np.ndarray, options: Mapping[str, Any]
) -> tuple[dict[str, Any], float]:
    """Return r from maximum likelihood covariances of all clients who have the alliance or the outcome, by the delta method."""
    from alliance.statistics.covariance import part_correlation, partial_correlation
    from alliance.statistics.distributions import critical_value
    from alliance.statistics.row_moments import moments_of_rows

    x, y, held = _columns(found, alliance, outcome, form, covariates)
    data = np.column_stack([x, y, held])
    kept = np.isfinite(data[:, :2]).any(axis=1)
    data, codes = data[kept], _therapists(found, options)
    codes = None if codes is None else codes[kept]
    total = len(found.clients)
    complete = int(np.isfinite(data).all(axis=1).sum())
    counts = {
        "n_clients": len(data),
        "n_therapists": None if found.therapists is None else len(np.unique(found.therapists[kept])),
        "n_sessions": int(found.sessions[alliance][kept & np.isfinite(x)].sum()),
        "share_missing": 1 - len(data) / total if total else None,
    }
    needed = max(options["pooling"]["min_clients"], 4 + held.shape[1])
    if complete < needed:
        reason = f"not estimable: needs at least {needed} clients with all scores; has {complete}"
        return {**counts, "method": "none", "status": "not_estimable", "reason": reason}, np.nan
    names = [f"v{position}" for position in range(data.shape[1])]
    scaled = (data - np.nanmean(data, axis=0)) / np.nanstd(data, axis=0)
    moments = moments_of_rows(pd.DataFrame(scaled, columns=names), codes)
    if moments.reason:
        return {**counts, "method": "none", "status": "not_estimable", "reason": f"not estimable: {moments.reason}"}, np.nan
    upper = np.triu_indices(len(names))
    of = part_correlation if form == "residual_gain" else partial_correlation
    controls = list(range(2, len(names)))

    def z_of(elements: np.ndarray) -> np.ndarray:
        matrix = np.zeros((*elements.shape[:-1], len(names), len(names)))
        matrix[..., upper[0], upper[1]] = elements
        matrix[..., upper[1], upper[0]] = elements
        return np.arctanh(of(matrix, 0, 1, controls))

    point = moments.covariance[upper]
    steps = np.diag(np.full(len(point), _STEP))
    slope = (z_of(point + steps) - z_of(point - steps)) / (2 * _STEP)
    z, error = float(z_of(point[None, :])[0]), float(np.sqrt(slope @ moments.acov @ slope))
    if not (np.isfinite(z) and error > 0):
        reason = "not estimable: without one of the therapists there are no maximum likelihood moments"
        return {**counts, "method": "none", "status": "not_estimable", "reason": reason}, np.nan
    clustered = moments.unit == "clusters"
    df = counts["n_therapists"] - 1 if clustered else np.inf
    margin = float(critical_value(options["pooling"]["level"], df)) * error
    few = "" if clustered or found.therapists is None or codes is None else "fewer than 5 therapists: clients taken as independent"
    r = float(np.tanh(z))
    fields = {
        **counts,
        "estimate": r,
        "ci_low": float(np.tanh(z - margin)),
        "ci_high": float(np.tanh(z + margin)),
        "method": "likelihood_jackknife" if clustered else "likelihood_independent",
        "status": "flagged" if few else "estimated",
        "reason": few,
    }
    return fields, (error * (1 - r * r)) ** 2


def _random_therapists(
    found: SiteMeasures, alliance: AllianceKey, outcome: OutcomeKey, form: str, covariates: np.ndarray, options: Mapping[str, Any]
) -> tuple[dict[str, Any], float]:
    """Return the standardised slope of a mixed model in which therapists have a random intercept.

    Alliance and outcome are first freed of what is held constant and divided by what is left of their SD, so that without variance between
    therapists the slope is the (partial) correlation.
    """
    from alliance.statistics.multilevel import mixed_model

    x, y, held = _columns(found, alliance, outcome, form, covariates)
    used = np.isfinite(np.column_stack([x, y, held])).all(axis=1)
    total, n = len(found.clients), int(used.sum())
    codes = found.therapists
    counts = {
        "n_clients": n,
        "n_therapists": None if codes is None else len(np.unique(codes[used])),
        "n_sessions": int(found.sessions[alliance][used].sum()),
        "share_missing": 1 - n / total if total else None,
    }
    absent = {**counts, "method": "none", "status": "not_estimable"}
    needed = max(options["pooling"]["min_clients"], 4 + held.shape[1])
    if n < needed:
        return {**absent, "reason": f"not estimable: needs at least {needed} clients with all scores; has {n}"}, np.nan
    if codes is None:
        return {**absent, "reason": "not estimable: needs to know which therapist saw each client"}, np.nan
    design = np.column_stack([np.ones(n), held[used]])
    left = np.column_stack([x, y])[used]
    # A residual gain is freed of the controls in the outcome alone.
    bare = left[:, 0] - left[:, 0].mean()
    left = left - design @ np.linalg.lstsq(design, left, rcond=None)[0]
    if form == "residual_gain":
        left[:, 0] = bare
    spread = left.std(axis=0)
    if not (spread > 0).all():
        return {**absent, "reason": "not estimable: the alliance or the outcome does not vary"}, np.nan
    rows = pd.DataFrame({"alliance": left[:, 0] / spread[0], "outcome": left[:, 1] / spread[1], "therapist": codes[used]})
    model = mixed_model(rows, "outcome", ["1", "alliance"], ["therapist"], level=options["pooling"]["level"])
    if model.status == "not_estimable":
        return {**absent, "reason": f"not estimable: {model.reason}"}, np.nan
    slope = model.combination({"alliance": 1.0})
    fields = {
        **counts,
        "estimate": float(slope.estimate),
        "ci_low": float(slope.ci_low),
        "ci_high": float(slope.ci_high),
        "method": "mixed_model",
        "status": model.status,
        "reason": model.reason if model.status == "flagged" else "",
    }
    return fields, float(slope.std_error) ** 2
