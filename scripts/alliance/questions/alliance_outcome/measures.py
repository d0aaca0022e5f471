"""Which alliance and outcome measures one site has, as columns over its clients, and the r of each alliance with each outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from alliance.instruments.registry import WITHOUT_IMPROVEMENT
from alliance.questions.correlations import therapist_codes
from alliance.questions.site_data import SiteData
from alliance.statistics.correlation import Correlations, correlations
from alliance.variables.client import RATERS, Measure, measure, measured_after

PREFERRED = "(preferred)"
TIMEPOINTS = ("post", "follow_up")
OUTCOME_CONSTRUCTS = "outcome_"
FORMS = {
    "ancova": "partial_correlation",
    "zero_order": "correlation",
    "residual_gain": "part_correlation",
    "change": "correlation_with_change",
}


@dataclass(frozen=True, order=True)
class AllianceKey:
    """One alliance measure: instrument (or :data:`PREFERRED`), scale, rater and window."""

    instrument: str
    scale: str
    rater: str
    window: str

    @property
    def name(self) -> str:
        """Name in parameters of summaries."""
        return f"{self.instrument}.{self.scale}.{self.rater}@{self.window}"


@dataclass(frozen=True, order=True)
class OutcomeKey:
    """One outcome measure: instrument (or :data:`PREFERRED`), scale, rater and timepoint."""

    instrument: str
    scale: str
    rater: str
    timepoint: str

    @property
    def name(self) -> str:
        """Name in parameters of summaries."""
        return f"{self.instrument}.{self.scale}.{self.rater}@{self.timepoint}"


@dataclass(frozen=True)
class OutcomeValues:
    """An outcome over the clients of a site, higher is better.

    Attributes
    ----------
    post, intake : ndarray, shape (clients,)
        Level at the timepoint and at intake; NaN where missing.
    found : Measure
        The outcome with its times and source.
    no_intake : str
        Why there is no intake level; empty where there is.
    """

    post: np.ndarray
    intake: np.ndarray
    found: Measure
    no_intake: str


@dataclass(frozen=True)
class SiteMeasures:
    """The alliance and outcome measures of one site over the same clients.

    Attributes
    ----------
    clients : Index
        Client numbers.
    therapists : ndarray or None
        Code of each client's therapist; None where no therapist is known.
    alliance : dict
        Values by :class:`AllianceKey`, shape (clients,); keys without any value are absent.
    outcomes : dict
        :class:`OutcomeValues` by :class:`OutcomeKey`.
    sessions : dict
        Ratings behind each client's alliance value, shape (clients,).
    late : dict of OutcomeKey to ndarray of bool, shape (clients, alliance measures)
        Clients whose alliance was measured after the outcome: not used for that pair.
    sources : dict
        What stands behind the preferred measures, in words.
    reasons : dict
        Why a preferred measure is absent, by key.
    """

    clients: pd.Index
    therapists: np.ndarray | None
    alliance: dict[AllianceKey, np.ndarray]
    outcomes: dict[OutcomeKey, OutcomeValues]
    sessions: dict[AllianceKey, np.ndarray]
    late: dict[OutcomeKey, np.ndarray]
    sources: dict[str, str] = field(default_factory=dict)
    reasons: dict[AllianceKey | OutcomeKey, str] = field(default_factory=dict)

    def of(self, key: AllianceKey, outcome: OutcomeKey) -> np.ndarray:
        """Return alliance values without those that were measured after the outcome."""
        position = list(self.alliance).index(key)
        return np.where(self.late[outcome][:, position], np.nan, self.alliance[key])


def windows(options: Mapping[str, Any]) -> list[str]:
    """Return the windows that are analysed, the main one first."""
    main = options["alliance"]["window"]
    chosen = options["questions"]["alliance_outcome"]["windows"]
    return [main, *(name for name in chosen if name != main)]


def outcome_instruments(options: Mapping[str, Any]) -> list[str]:
    """Return the outcome instruments in order of preference: the main ones, then the tailored and the broad one."""
    outcome = options["outcome"]
    named = [*outcome["instruments"], *(outcome[kind]["instrument"] for kind in ("tailored", "broad") if outcome.get(kind))]
    return list(dict.fromkeys(named))


def outcome_scale(instrument: str, options: Mapping[str, Any]) -> str:
    """Return the scale of an outcome instrument that stands for it."""
    for kind in ("tailored", "broad"):
        one = options["outcome"].get(kind)
        if one and one["instrument"] == instrument and instrument not in options["outcome"]["instruments"]:
            return one["scale"]
    return options["outcome"]["scale"]


def _present(site: SiteData, timepoints: Sequence[str]) -> pd.DataFrame:
    scores = site.scores[site.scores["timepoint"].isin(timepoints).to_numpy() & site.scores["score"].notna().to_numpy()]
    if "derived_from" in scores:
        scores = scores[scores["derived_from"].fillna("").eq("").to_numpy()]
    return scores[["instrument", "scale", "rater", "timepoint"]].drop_duplicates()


def alliance_keys(site: SiteData, options: Mapping[str, Any]) -> list[AllianceKey]:
    """Return all alliance measures of a site in all analysed windows, the preferred ones first.

    Scores derived from a longer form are no measures of their own.
    """
    listed = set(options["alliance"]["instruments"])
    scale = options["alliance"]["scale"]
    present = _present(site, ("session",))
    keys = [AllianceKey(PREFERRED, scale, rater, window) for rater in RATERS for window in windows(options)]
    for row in sorted(set(present[["instrument", "scale", "rater"]].itertuples(index=False, name=None))):
        known = site.instruments.get(row[0])
        if row[1] == WITHOUT_IMPROVEMENT:
            continue
        if row[0] in listed or (known is not None and known.construct == "alliance"):
            keys += [AllianceKey(*row, window) for window in windows(options)]
    return keys


def outcome_keys(site: SiteData, options: Mapping[str, Any]) -> list[OutcomeKey]:
    """Return all outcome measures of a site, the preferred ones first."""
    outcome = options["outcome"]
    named = set(outcome_instruments(options))
    present = _present(site, TIMEPOINTS)
    keys = [OutcomeKey(PREFERRED, outcome["scale"], rater, outcome["timepoint"]) for rater in RATERS]
    for row in sorted(set(present.itertuples(index=False, name=None))):
        known = site.instruments.get(row[0])
        if row[0] in named or (known is not None and str(known.construct).startswith(OUTCOME_CONSTRUCTS)):
            keys.append(OutcomeKey(*row))
    return keys


def alliance_measure(site: SiteData, key: AllianceKey, options: Mapping[str, Any]) -> Measure:
    """Return one alliance measure of a site."""
    definition = {"construct": "alliance", "scale": key.scale, "rater": key.rater, "window": key.window}
    return measure(site, definition if key.instrument == PREFERRED else {**definition, "instrument": key.instrument}, options)


def outcome_values(site: SiteData, key: OutcomeKey, clients: pd.Index, options: Mapping[str, Any]) -> OutcomeValues:
    """Return one outcome of a site at its timepoint and at intake."""
    instruments = outcome_instruments(options) if key.instrument == PREFERRED else [key.instrument]
    found = intake = None
    for instrument in instruments:
        scale = outcome_scale(instrument, options) if key.instrument == PREFERRED else key.scale
        definition = {"instrument": instrument, "scale": scale, "rater": key.rater, "timepoint": key.timepoint}
        found = measure(site, {**definition, "construct": "outcome"}, options)
        if not found.reason:
            intake = measure(site, {**definition, "construct": "intake"}, options)
            break
    empty = np.full(len(clients), np.nan)
    if intake is None:
        listed = ", ".join(instruments) or "any instrument"
        reason = f"no {key.rater}-rated score of {listed} at {key.timepoint}"
        return OutcomeValues(empty, empty, Measure(pd.Series(dtype="float64"), pd.DataFrame(), "outcome", reason=reason), reason)
    post = found.values.reindex(clients).to_numpy(dtype=float)
    return OutcomeValues(post, intake.values.reindex(clients).to_numpy(dtype=float), found, intake.reason)


def measures(
    site: SiteData, options: Mapping[str, Any], every: bool = True, main_raters: bool = False, every_alliance: bool = True
) -> SiteMeasures:
    """Return the alliance and outcome measures of a site.

    Parameters
    ----------
    site : SiteData
    options : mapping
        Sections ``alliance, outcome`` and ``questions.alliance_outcome``.
    every : bool
        False: just the preferred measures.
    main_raters : bool
        True: just those of the configured raters of alliance and outcome.
    every_alliance : bool
        False: of the alliance just the preferred measures.
    """
    of_section = {"alliance": every and every_alliance, "outcome": every}

    def wanted(key: AllianceKey | OutcomeKey, section: str) -> bool:
        return (of_section[section] or key.instrument == PREFERRED) and (not main_raters or key.rater == options[section]["rater"])

    raw = as_at_its_timepoint(options)
    found = {key: alliance_measure(site, key, raw) for key in alliance_keys(site, raw) if wanted(key, "alliance")}
    clients = clients_of(site)
    outcomes = {key: outcome_values(site, key, clients, raw) for key in outcome_keys(site, raw) if wanted(key, "outcome")}
    return gathered(site, clients, found, outcomes)


def as_at_its_timepoint(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options whose outcome is the level at its timepoint: the form is made of it and of the intake level here."""
    return {**options, "outcome": {**options["outcome"], "form": "ancova"}}


def clients_of(site: SiteData) -> pd.Index:
    """Return the numbers of all clients of a site, in order."""
    everybody = set(site.clients["client_no"].dropna().astype("int64")) if len(site.clients) else set()
    everybody |= set(site.scores["client_no"].dropna().astype("int64")) if len(site.scores) else set()
    return pd.Index(sorted(everybody), dtype="int64")


def gathered(
    site: SiteData, clients: pd.Index, alliance: Mapping[AllianceKey, Measure], outcomes: Mapping[OutcomeKey, OutcomeValues]
) -> SiteMeasures:
    """Return measures over the same clients; those that the site lacks become reasons."""
    codes, known = therapist_codes(clients, site.clients, site.scores)
    reasons: dict[AllianceKey | OutcomeKey, str] = {key: one.reason for key, one in alliance.items() if one.reason}
    reasons |= {key: one.found.reason for key, one in outcomes.items() if one.found.reason}
    kept = {key: one for key, one in alliance.items() if not one.reason}
    outcomes = {key: one for key, one in outcomes.items() if not one.found.reason}
    sources = {key.name: one.source for key, one in kept.items() if key.instrument == PREFERRED}
    sources |= {key.name: one.found.source for key, one in outcomes.items() if key.instrument == PREFERRED}
    after = measured_after(list(kept.values()), [one.found for one in outcomes.values()], clients)
    return SiteMeasures(
        clients,
        codes if known else None,
        {key: one.values.reindex(clients).to_numpy(dtype=float) for key, one in kept.items()},
        outcomes,
        {key: one.times["n_sessions"].reindex(clients).fillna(0).to_numpy(dtype=float) for key, one in kept.items()},
        {key: after[:, :, position] for position, key in enumerate(outcomes)},
        sources,
        reasons,
    )


def effects_of(
    found: SiteMeasures,
    outcome: OutcomeKey,
    form: str,
    min_clients: int,
    *,
    covariates: np.ndarray | None = None,
    ignore_therapists: bool = False,
) -> Correlations:
    """Return the r of every alliance measure with one outcome in one form; columns in the order of ``found.alliance``.

    ``ancova``: partial r given the intake level; ``zero_order``: r with the level at the timepoint; ``residual_gain``: r with what the
    intake level does not explain of it; ``change``: r with the difference from intake.

    Parameters
    ----------
    found : SiteMeasures
    outcome : OutcomeKey
    form : str
    min_clients : int
        Fewer clients: no correlation.
    covariates : ndarray, shape (clients, q), optional
        Held constant beside the intake level.
    ignore_therapists : bool
        Take clients of one therapist as independent.
    """
    x = np.column_stack(list(found.alliance.values()))
    x = np.where(found.late[outcome], np.nan, x)
    y, controls = explained(found.outcomes[outcome], form, covariates)
    return correlations(
        x,
        np.tile(y[:, None], (1, x.shape[1])),
        None if ignore_therapists else found.therapists,
        controls=controls,
        part=form == "residual_gain",
        min_rows=min_clients,
    )


def explained(values: OutcomeValues, form: str, covariates: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """Return what a form of the outcome explains, shape (clients,), and what it holds constant, shape (clients, q), or None."""
    y = values.post - values.intake if form == "change" else values.post
    held = [values.intake[:, None]] if form in ("ancova", "residual_gain") else []
    held += [covariates] if covariates is not None and covariates.shape[1] and form != "zero_order" else []
    return y, np.column_stack(held) if held else None
