"""The gate: what may be published of a scenario."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import pandas as pd

from alliance.publishing import attack, details, difference, scenarios, statuses, tables, wording
from alliance.publishing.counts import rounded
from alliance.publishing.decisions import Decision, DisclosureError, Ledger
from alliance.publishing.profiles import Profile
from alliance.publishing.rows import Rows
from alliance.publishing.sites import Shown, shown_sites
from alliance.questions import contract
from alliance.reports.inputs import ReportData
from alliance.reports.study_page import IN_PATH_MODEL, flows
from alliance.sensitivity.contract import SENSITIVITY
from alliance.sensitivity.contract import TABLES as SENSITIVITY_TABLES

ROUNDS = 5
MARK = "disclosure"
"""Key of the provenance under which gated data say by which limits."""


@dataclass(frozen=True)
class Beside:
    """A scenario of the bundle with its exact counts, by which the other scenarios are judged; never published.

    Parameters
    ----------
    exact : mapping of str to DataFrame
        Counts of its rows by ``question/table`` (:func:`alliance.publishing.scenarios.exact`).
    told : mapping of str to Told
        Its published tables.
    """

    exact: Mapping[str, pd.DataFrame]
    told: Mapping[str, attack.Told]


@dataclass(frozen=True)
class Gated:
    """What may be published.

    Parameters
    ----------
    data : ReportData
        What pages are made from, and its tables.
    sensitivity : dict of str to DataFrame
        Tables over scenarios and specifications by name.
    decisions : tuple of Decision
        What was hidden, where and by which rule.
    beside : Beside
        What other scenarios of the bundle are judged by; never published.
    """

    data: ReportData
    sensitivity: dict[str, pd.DataFrame]
    decisions: tuple[Decision, ...]
    beside: Beside = field(default_factory=lambda: Beside({}, {}), repr=False)


def gate(
    data: ReportData,
    sensitivity: Mapping[str, pd.DataFrame],
    profile: Profile,
    before: Mapping[str, pd.DataFrame] | Sequence[Mapping[str, pd.DataFrame]] | None = None,
    *,
    same_data: bool = False,
    beside: Sequence[Beside] = (),
) -> Gated:
    """Return what may be published of a scenario.

    Parameters
    ----------
    data : ReportData
        All results of a scenario.
    sensitivity : mapping of str to DataFrame
        Tables over scenarios and specifications by name.
    profile : Profile
        The limits.
    before : mapping of str to DataFrame, sequence of these, or None
        Tables of the last published bundle by ``question/table``, those of several scenarios where this one is new; None: there is none.
    same_data : bool
        Whether that bundle rests on the very same data (its ``data_digest``), so that no client came or left.
    beside : sequence of Beside
        The scenarios that the bundle shows too.

    Returns
    -------
    Gated
        Equal for equal input; what is gated already by these limits stays as it is.

    Raises
    ------
    DisclosureError
        Where something cannot be made safe; nothing is to be published then.
    """
    mark = asdict(profile)
    if profile.hides_nothing or data.provenance.get(MARK) == mark:
        return Gated(replace(data, provenance={**data.provenance, MARK: mark}), dict(sensitivity), ())
    ledger = Ledger()
    shown = shown_sites(data.statuses, profile, ledger)
    ids, labels = wording.names_of(shown.hidden, data.labels)
    rename, of_labels = wording.renamed(ids | labels), wording.renamed(labels)
    settings = partial(wording.everywhere, labels=of_labels, ids=rename)
    everything = {question: dict(found) for question, found in data.tables.items()} | {SENSITIVITY: dict(sensitivity)}
    judged = tables.judged(everything, _schema, shown, profile, [one.exact for one in beside])
    difference.between_scenarios(judged, profile)
    frames = [tables.published(rows, shown, profile, rename, ledger) for rows in judged]
    versions = () if before is None else (before,) if isinstance(before, Mapping) else before
    for last in versions:
        frames = [difference.from_last(rows, frame, last, profile, same_data, ledger) for rows, frame in zip(judged, frames)]
    frames, told = _without_exposed(judged, frames, shown, profile, ledger, [one.told for one in beside])
    for last in versions:
        frames = [difference.remembered(rows, frame, last) for rows, frame in zip(judged, frames)]
    made = tables.by_name(judged, frames)
    over_scenarios = made.pop(SENSITIVITY, {})
    told_of_sites = statuses.published(data.statuses, data.options, shown, profile, rename, ledger)
    gated = replace(
        data,
        options=settings(data.options),
        provenance={**settings(details.provenance(data.provenance, ledger)), MARK: mark},
        constants=settings(data.constants, without=shown.hidden),
        statuses=told_of_sites,
        totals=statuses.totals(data.statuses, told_of_sites, profile),
        issues=details.issues(data.issues, shown, profile, rename, ledger),
        tables={question: made.get(question, {}) for question in data.tables},
        scale_moments=details.scale_moments(data.scale_moments, shown, profile, ledger),
        preregistration=settings(data.preregistration),
        deviations=_deviations(data.deviations, rename, of_labels),
    )
    gated = replace(gated, totals=_with_models(data, gated, profile))
    return Gated(gated, over_scenarios, ledger.decisions(), Beside({rows.output: scenarios.exact(rows) for rows in judged}, told))


def _schema(question: str, name: str) -> contract.Table:
    if question != SENSITIVITY:
        return contract.table(question, name)
    return next(schema for schema in SENSITIVITY_TABLES if schema.name == name)


def _without_exposed(
    judged: Sequence[Rows],
    frames: list[pd.DataFrame],
    shown: Shown,
    profile: Profile,
    ledger: Ledger,
    beside: Sequence[Mapping[str, attack.Told]],
) -> tuple[list[pd.DataFrame], dict[str, attack.Told]]:
    """Return tables from which no hidden number of clients can be worked out, also not with those of other scenarios.

    Where one could, the rows around it go too.
    """
    schemas = {rows.output: rows.schema for rows in judged}
    counts = [tables.counts_of(rows, frame, shown) for rows, frame in zip(judged, frames)]
    for _ in range(ROUNDS):
        told = {rows.output: attack.Told(frame, *own) for rows, frame, own in zip(judged, frames, counts)}
        exposed = attack.recoverable(told, schemas, profile.round_counts_to, beside=beside, few=profile.min_clients)
        if not exposed:
            return frames, told
        open_rows: dict[str, list[int]] = {}
        for cell in exposed:
            open_rows.setdefault(cell.output, []).append(cell.row)
        frames = [
            tables.without_neighbours(rows, frame, open_rows[rows.output], profile, ledger) if rows.output in open_rows else frame
            for rows, frame in zip(judged, frames)
        ]
    raise DisclosureError(f"{cell.output}: a hidden number of clients could be worked out ({cell.cell})" for cell in exposed)


def _with_models(data: ReportData, gated: ReportData, profile: Profile) -> dict[str, dict[str, int]]:
    """Return the counts over all sites, with the clients in path models where all sites that have some tell how many."""
    if not gated.totals:
        return {}
    exact, told = ([flow[IN_PATH_MODEL] for flow in flows(one).values() if IN_PATH_MODEL in flow] for one in (data, gated))
    steps = {IN_PATH_MODEL: rounded(sum(exact), profile.round_counts_to)} if told and len(told) == len(exact) else {}
    return {**gated.totals, "flow": {**gated.totals["flow"], **steps}}


def _deviations(frame: pd.DataFrame, rename: Callable[[str], str], of_labels: Callable[[str], str]) -> pd.DataFrame:
    """Return deviations from what was registered that name no hidden site."""
    if not len(frame):
        return frame
    lists = frame["key"].str.endswith(wording.SITES_LISTED)
    return frame.apply(lambda column: column.map(of_labels).where(~lists, column.map(rename)))


__all__ = ["MARK", "Decision", "DisclosureError", "Gated", "gate"]
