"""The gate: what may be published of a scenario."""

from __future__ import annotations

from collections import Counter
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
from alliance.side_by_side import Each

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
    one = Results(data, sensitivity, _listed(before), same_data)
    if _is_gated(data, profile):
        return _as_it_is(one, profile)
    judged = _judged(one, profile, [other.exact for other in beside])
    done = {output: _gated_table(output, [judged], profile, [other.told for other in beside])[0] for output in judged.rows}
    return _gated(judged, done, profile)


@dataclass(frozen=True)
class Results:
    """What a scenario would show; the fields are those of :func:`gate`."""

    data: ReportData
    sensitivity: Mapping[str, pd.DataFrame]
    before: Sequence[Mapping[str, pd.DataFrame]] = ()
    same_data: bool = False


def gate_together(results: Mapping[str, Results], profile: Profile, each: Each = map) -> dict[str, Gated]:
    """Return what may be published of the scenarios of a bundle, each gated beside those before it.

    First the rows of all tables are judged, scenario after scenario. What is published of a table then, and what an attacker could work
    out of it, rests on this table in all scenarios and on no other, so that each table is a job.

    Parameters
    ----------
    results : mapping of str to Results
        By scenario, in the order of the bundle.
    profile : Profile
    each : callable
        Does jobs, as ``map`` does.

    Raises
    ------
    DisclosureError
        Where something cannot be made safe.
    """
    judged: dict[str, _Judged] = {}
    for name, one in results.items():
        if not _is_gated(one.data, profile):
            judged[name] = _judged(one, profile, [other.exact for other in judged.values()])
    sizes = Counter[str]()
    for scenario in judged.values():
        sizes.update({output: len(rows.frame) for output, rows in scenario.rows.items()})
    outputs = [output for output, _ in sizes.most_common()]
    having = {output: [name for name, one in judged.items() if output in one.rows] for output in outputs}
    found = list(each(partial(_gated_table, scenarios=list(judged.values()), profile=profile), outputs))
    done: dict[str, dict[str, _Done]] = {name: {} for name in judged}
    for output, tables_done in zip(outputs, found):
        for name, one in zip(having[output], tables_done):
            done[name][output] = one
    return {name: _gated(judged[name], done[name], profile) if name in judged else _as_it_is(one, profile) for name, one in results.items()}


@dataclass(frozen=True)
class _Judged:
    """A scenario whose rows are judged: its results, the sites shown, its tables by name, what was hidden so far, and exact counts."""

    results: Results
    shown: Shown
    rows: Mapping[str, Rows]
    ledger: Ledger
    exact: Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class _Done:
    """A table as it may be published, and what was hidden of it."""

    told: attack.Told
    ledger: Ledger


def _judged(one: Results, profile: Profile, beside: Sequence[Mapping[str, pd.DataFrame]]) -> _Judged:
    ledger = Ledger()
    shown = shown_sites(one.data.statuses, profile, ledger)
    everything = {question: dict(found) for question, found in one.data.tables.items()} | {SENSITIVITY: dict(one.sensitivity)}
    judged = tables.judged(everything, _schema, shown, profile, beside)
    difference.between_scenarios(judged, profile)
    return _Judged(one, shown, {rows.output: rows for rows in judged}, ledger, {rows.output: scenarios.exact(rows) for rows in judged})


def _gated_table(
    output: str, scenarios: Sequence[_Judged], profile: Profile, beside: Sequence[Mapping[str, attack.Told]] = ()
) -> list[_Done]:
    """Return one table as it may be published of each scenario that has it, each beside those before it."""
    before = [told[output] for told in beside if output in told]
    made = []
    for one in scenarios:
        if output not in one.rows:
            continue
        rows, ledger = one.rows[output], Ledger()
        rename, _ = _renaming(one.results.data, one.shown)
        frame = tables.published(rows, one.shown, profile, rename, ledger)
        for last in one.results.before:
            frame = difference.from_last(rows, frame, last, profile, one.results.same_data, ledger)
        told = _without_exposed(rows, frame, one.shown, profile, ledger, before)
        made.append(_Done(told, ledger))
        before.append(told)
    return made


def _listed(before: Mapping[str, pd.DataFrame] | Sequence[Mapping[str, pd.DataFrame]] | None) -> Sequence[Mapping[str, pd.DataFrame]]:
    return () if before is None else (before,) if isinstance(before, Mapping) else before


def _is_gated(data: ReportData, profile: Profile) -> bool:
    """Tell whether nothing is to be done: nothing is hidden by these limits, or they were applied already."""
    return profile.hides_nothing or data.provenance.get(MARK) == asdict(profile)


def _as_it_is(one: Results, profile: Profile) -> Gated:
    return Gated(replace(one.data, provenance={**one.data.provenance, MARK: asdict(profile)}), dict(one.sensitivity), ())


def _renaming(data: ReportData, shown: Shown) -> tuple[Callable[[str], str], Callable[[str], str]]:
    """Return what puts other words in place of the ids and labels of hidden sites, and of the labels alone."""
    ids, labels = wording.names_of(shown.hidden, data.labels)
    return wording.renamed(ids | labels), wording.renamed(labels)


def _gated(judged: _Judged, done: Mapping[str, _Done], profile: Profile) -> Gated:
    """Return a scenario with its gated tables, and all that stands beside them gated as well."""
    data, shown, ledger = judged.results.data, judged.shown, judged.ledger
    for one in done.values():
        ledger.take(one.ledger)
    made = tables.by_name(list(judged.rows.values()), [done[output].told.frame for output in judged.rows])
    rename, of_labels = _renaming(data, shown)
    settings = partial(wording.everywhere, labels=of_labels, ids=rename)
    over_scenarios = made.pop(SENSITIVITY, {})
    told_of_sites = statuses.published(data.statuses, data.options, shown, profile, rename, ledger)
    gated = replace(
        data,
        options=settings(data.options),
        provenance={**settings(details.provenance(data.provenance, ledger)), MARK: asdict(profile)},
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
    beside = Beside(judged.exact, {output: one.told for output, one in done.items()})
    return Gated(gated, over_scenarios, ledger.decisions(), beside)


def _schema(question: str, name: str) -> contract.Table:
    if question != SENSITIVITY:
        return contract.table(question, name)
    return next(schema for schema in SENSITIVITY_TABLES if schema.name == name)


def _without_exposed(
    rows: Rows, frame: pd.DataFrame, shown: Shown, profile: Profile, ledger: Ledger, beside: Sequence[attack.Told]
) -> attack.Told:
    """Return a table from which no hidden number of clients can be worked out, also not with those of other scenarios.

    Where one could, the rows around it go too.
    """
    counts = tables.counts_of(rows, frame, shown)
    for _ in range(ROUNDS):
        told = attack.Told(frame, *counts)
        exposed = attack.recoverable(
            {rows.output: told}, {rows.output: rows.schema}, profile.round_counts_to, beside=[{rows.output: other} for other in beside]
        )
        if not exposed:
            return told
        frame = tables.without_neighbours(rows, frame, [cell.row for cell in exposed], profile, ledger)
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


__all__ = ["MARK", "Decision", "DisclosureError", "Gated", "Results", "gate", "gate_together"]
