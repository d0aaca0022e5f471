"""The page that says in plain sentences what changed since the run before."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from alliance.changes.comparison import Comparison
from alliance.changes.state import SITE_FILE
from alliance.issues import brief
from alliance.questions.contract import WITH_NUMBERS
from alliance.reports import numbers
from alliance.reports.chapters import common
from alliance.reports.elements import Cell, Column, Table, listed, number_cell, slug, text_cell
from alliance.reports.inputs import EXCLUDED
from alliance.reports.page import BASE_SCENARIO, LeftOut, Section, StudyHead, environment, render
from alliance.withdrawals import NAME as WITHDRAWN_FILE

SMALL = 10
"""Differences of counts below this are not told to the last client."""

TOLD = 8
NAMED_FILES = 3
VALUE_CHARACTERS = 80
ARROW = "→"


def page(comparison: Comparison, templates: Path, reported: str) -> str:
    """Return the page.

    Parameters
    ----------
    comparison : Comparison
    templates : Path
        Folder of the templates.
    reported : str
        Scenario to whose report the page links.
    """
    sections = [
        Section("summary", "Summary"),
        Section("numbers", "Headline numbers"),
        Section("data", "Sites and files"),
        Section("configuration", "Configuration"),
        Section("program", "Program"),
    ]
    return render(
        environment(templates),
        "changes.html.j2",
        head(comparison),
        title="What changed since the run before",
        current="changes",
        sections=sections,
        root=f"../{reported}/report/",
        told=summary(comparison),
        numbers=headline_tables(comparison),
        sites=site_table(comparison),
        files=file_table(comparison),
        configuration=configuration_table(comparison),
        program=version_table(comparison),
    )


def main_scenario(comparison: Comparison) -> str:
    """Return the scenario that is told first: base where it was run."""
    return BASE_SCENARIO if BASE_SCENARIO in comparison.now else next(iter(comparison.now))


def head(comparison: Comparison) -> StudyHead:
    """Return what stands at the top of the page."""
    one = comparison.now[main_scenario(comparison)]
    left_out = tuple(LeftOut(site["label"], site["reason"], f"{id}.html") for id, site in one.inputs.items() if site["status"] == EXCLUDED)
    return StudyHead(
        title=one.configuration["study"]["title"],
        simulated=bool(one.configuration["study"]["simulated"]),
        scenario=BASE_SCENARIO,
        version=one.digests["version"],
        data_digest=one.digests["data_digest"],
        config_digest=one.digests["config_digest"],
        code_digest=one.digests["code_digest"],
        n_sites=len(one.inputs),
        left_out=left_out,
    )


def summary(comparison: Comparison) -> list[str]:
    """Return what changed, in sentences: data, configuration, program, scenarios, numbers, and what may be concluded."""
    if not comparison.compared:
        told = ["This is the first run whose numbers were kept, so there is nothing to compare it with. The next run is compared with it."]
        return [*told, *scenario_sentences(comparison)]
    told = [*data_sentences(comparison), *configuration_sentences(comparison), *version_sentences(comparison)]
    told += scenario_sentences(comparison)
    for scenario in comparison.compared:
        told += number_sentences(comparison, scenario)
    return told


def fewer_than(amount: int) -> str:
    """Return a count of clients or rows that differ between two runs, small ones not to the last."""
    return f"fewer than {SMALL}" if 0 < amount < SMALL else numbers.count(amount)


def more_or_fewer(before: Any, after: Any, noun: str) -> str:
    """Return how a count changed, in words; empty where it did not or is not known."""
    if pd.isna(before) or pd.isna(after) or before == after:
        return ""
    amount = abs(int(after) - int(before))
    if amount >= SMALL:
        return f"{numbers.count(amount)} {'more' if after > before else 'fewer'} {noun}"
    return f"{'more' if after > before else 'fewer'} {noun} (a difference of {fewer_than(amount)})"


def data_sentences(comparison: Comparison) -> Iterator[str]:
    """Yield what changed at each site, one sentence a site."""
    for row in comparison.sites.itertuples():
        files = comparison.inputs[comparison.inputs["site"].eq(row.site) & comparison.inputs["scenarios"].eq(row.scenarios)]
        yield f"{_for_scenarios(comparison, row.scenarios)}{row.label} {_site_words(row, files)}."


def _for_scenarios(comparison: Comparison, scenarios: str) -> str:
    """Return for which scenarios a sentence holds, where these are not all."""
    names = scenarios.split()
    if len(names) == len(comparison.compared):
        return ""
    return f"For {listed([f'“{name}”' for name in names])}: "


def _site_words(row: Any, files: pd.DataFrame) -> str:
    if row.what == "removed":
        return "is no longer in the study"
    if row.what.startswith("added"):
        enough = not pd.isna(row.clients_after) and row.clients_after >= SMALL
        clients = f" with {numbers.count(row.clients_after)} clients" if enough else ""
        return f"is new{clients}" if row.what == "added" else f"is new, but left out: {row.reason.rstrip('.')}"
    told = []
    names = set(files["file"])
    if sent := sorted(names - {SITE_FILE, WITHDRAWN_FILE}):
        more = len(sent) - NAMED_FILES
        shown = listed([*sent[:NAMED_FILES], *([f"{more} more"] if more > 0 else [])])
        same = files.loc[files["file"].isin(sent), "what"].eq("changed").all()
        told.append(f"sent {'another version of' if same else 'other files:'} {shown}")
    if SITE_FILE in names:
        told.append(f"has another {SITE_FILE}")
    if WITHDRAWN_FILE in names:
        told.append(f"has another list of clients who withdrew ({WITHDRAWN_FILE})")
    counts = [more_or_fewer(getattr(row, f"{name}_before"), getattr(row, f"{name}_after"), name) for name in ("clients", "sessions")]
    if any(counts) and row.what == "changed":
        told.append(f"has {listed([text for text in counts if text])} than before")
    known = {"left out": "is left out now", "left out as before": "is left out as before", "back": "is in the results again"}
    if row.what in known:
        told.append(known[row.what] + (f": {row.reason.rstrip('.')}" if row.reason else ""))
    return listed(told) if told else "was cleaned with another result, though it sent the same files"


def configuration_sentences(comparison: Comparison) -> Iterator[str]:
    """Yield every key that changed, those that changed alike in several scenarios once."""
    changed = comparison.configuration
    for (key, old, new), rows in changed.groupby(["key", "old", "new"], sort=False):
        yield f"{_for_scenarios(comparison, ' '.join(rows['scenario']))}{key} changed: {_value(old)} {ARROW} {_value(new)}."


def _value(text: str) -> str:
    """Return a value of the configuration as it is written there, short."""
    if not text:
        return "(not there)"
    value = json.loads(text)
    return brief(value if isinstance(value, str) and value else text, VALUE_CHARACTERS)


def version_sentences(comparison: Comparison) -> Iterator[str]:
    """Yield which parts of the program changed."""
    for what, rows in comparison.versions.groupby("what", sort=False):
        verb = "is" if what == "program" else "are"
        yield f"{_for_scenarios(comparison, ' '.join(rows['scenario']))}The {what} {verb} not the same as before."


def scenario_sentences(comparison: Comparison) -> Iterator[str]:
    """Yield which scenarios are new, gone, or were not run this time."""
    if comparison.first and comparison.compared:
        yield f"Run for the first time, so with nothing to compare: {_names(comparison.first)}."
    if comparison.waiting:
        yield (
            f"Not run this time: {_names(comparison.waiting)}. Their results are those of an earlier run; when they are run again, they "
            "are compared with that run."
        )
    if comparison.removed:
        yield f"No longer in the results: {_names(comparison.removed)}."


def _names(scenarios: Sequence[str]) -> str:
    return listed([f"“{name}”" for name in scenarios])


def number_sentences(comparison: Comparison, scenario: str) -> Iterator[str]:
    """Yield how the headline numbers of a scenario moved, and to what that can be put down."""
    rows = comparison.headlines[comparison.headlines["scenario"].eq(scenario)]
    moved = rows[rows["changed"].ne("no")]
    lead = f"Scenario “{scenario}”: " if len(comparison.now) > 1 else ""
    if moved.empty:
        yield f"{lead}None of {common.plural(len(rows), 'headline number')} changed."
        return
    told = f"{lead}{numbers.count(len(moved))} of {common.plural(len(rows), 'headline number')} changed."
    yield f"{told} {_attribution(comparison, scenario)}"
    if scenario != main_scenario(comparison):
        return
    decimals = _decimals(comparison, scenario)
    for row in list(moved.itertuples())[:TOLD]:
        yield move(row, decimals)
    if len(moved) > TOLD:
        yield f"{common.plural(len(moved) - TOLD, 'further headline number')} that changed: see the table."


def _attribution(comparison: Comparison, scenario: str) -> str:
    """Return to what a move of the numbers can be put down."""
    causes = list(comparison.causes[scenario])
    if not causes:
        return (
            "Nothing of what they rest on changed, so they should not have moved: a file in results/ was changed by hand, or the program "
            "is at fault."
        )
    if len(causes) == 1:
        return f"Of all that they rest on, only {causes[0]} changed."
    return (
        f"{listed(causes)[:1].upper()}{listed(causes)[1:]} changed at once, so that a move can’t be put down to one of them; to tell them "
        "apart, change one at a time and run in between."
    )


def _decimals(comparison: Comparison, scenario: str) -> int:
    return int(comparison.now[scenario].configuration["report"]["decimals"])


def _side(row: Any, when: str) -> SimpleNamespace:
    """Return one side of a row as the chapters print rows."""
    names = ("estimate", "ci_low", "ci_high", "n_clients", "n_sites", "status", "reason")
    return SimpleNamespace(estimate_type=row.estimate_type, **{name: getattr(row, f"{when}_{name}") for name in names})


def move(row: Any, decimals: int) -> str:
    """Return how one headline number moved, in a sentence."""
    old, new = _side(row, "old"), _side(row, "new")
    before, after = (common.estimate_text(side, decimals) for side in (old, new))
    interval = f", interval {common.interval_text(new, decimals)}" if numbers.known(new.ci_low) else ""
    if row.changed == "gone":
        return f"“{row.label}” is no longer a headline number."
    if row.changed == "new":
        return f"“{row.label}” is a new headline number: {after}{interval}."
    if not common.has_number(new):
        why = brief(new.reason.removeprefix(f"{common.NOT_ESTIMABLE}: "), common.REMARK_CHARACTERS).rstrip(".")
        was = "was not estimable before either" if not common.has_number(old) else f"was {before}"
        return f"“{row.label}” {was}; now it is {after}: {why}."
    if not common.has_number(old):
        return f"“{row.label}” could not be told before and is now {after}{interval}."
    if before != after:
        return f"“{row.label}” moved from {before} to {after}{interval}."
    if row.difference:
        return f"“{row.label}” moved by less than the printed decimals show and stays {after}{interval}."
    return f"“{row.label}” stays {after}{interval}; what changed is its interval, its clients or what is said of it."


def headline_tables(comparison: Comparison) -> list[Table]:
    """Return the headline numbers of each scenario before and now: those that changed, and folded those that did not."""
    tables = []
    main = main_scenario(comparison)
    for scenario in [main, *(name for name in comparison.now if name != main)]:
        rows = comparison.headlines[comparison.headlines["scenario"].eq(scenario)]
        same = rows["changed"].eq("no")
        name = f" of “{scenario}”" if len(comparison.now) > 1 else ""
        decimals = _decimals(comparison, scenario)
        tables.append(
            Table(
                id=f"numbers-{slug(scenario)}",
                caption=f"Headline numbers{name}" + (" that changed" if scenario in comparison.compared else ""),
                columns=(
                    Column("Number", wide=True),
                    *(Column(label, True) for label in ("Before", "Now", "Difference", "Interval before", "Interval now")),
                    *(Column(label, True) for label in ("Clients", "Sites")),
                    Column("Remark", wide=True, optional=True),
                ),
                rows=tuple(_cells(row, decimals) for row in rows[~same].itertuples()),
                note="All digits, of all numbers: headlines.csv beside this page. Differences of fewer than "
                f"{SMALL} clients are not told to the last client.",
                empty="None changed.",
                folded=scenario != main,
            )
        )
        if same.any():
            tables.append(
                Table(
                    id=f"same-{slug(scenario)}",
                    caption=f"Headline numbers{name} that did not change",
                    columns=(Column("Number", wide=True), Column("Estimate", True), Column("Interval", True), Column("Clients", True)),
                    rows=tuple(_same_cells(row, decimals) for row in rows[same].itertuples()),
                    folded=True,
                )
            )
    return tables


def _cells(row: Any, decimals: int) -> tuple[Cell, ...]:
    old, new = _side(row, "old"), _side(row, "new")
    show = common.form(row.estimate_type)
    shown = numbers.points(row.difference) if row.estimate_type in common.PERCENT_TYPES else show(row.difference, decimals)
    return (
        Cell(row.label),
        *(number_cell(_estimate(side, decimals), side.estimate) for side in (old, new)),
        number_cell(shown, row.difference),
        *(number_cell(_interval(side, decimals), side.ci_low) for side in (old, new)),
        _counts_cell(old.n_clients, new.n_clients, blurred=True),
        _counts_cell(old.n_sites, new.n_sites),
        text_cell(brief(new.reason, common.REMARK_CHARACTERS)),
    )


def _same_cells(row: Any, decimals: int) -> tuple[Cell, ...]:
    new = _side(row, "new")
    return (
        Cell(row.label),
        number_cell(_estimate(new, decimals), new.estimate),
        number_cell(_interval(new, decimals), new.ci_low),
        common.count_cell(new.n_clients),
    )


def _estimate(side: SimpleNamespace, decimals: int) -> str:
    return common.estimate_text(side, decimals) if side.status else numbers.UNKNOWN


def _interval(side: SimpleNamespace, decimals: int) -> str:
    return common.interval_text(side, decimals) if side.status in WITH_NUMBERS else numbers.UNKNOWN


def _counts_cell(before: Any, now: Any, *, blurred: bool = False) -> Cell:
    """Return a count before and now; once where it is the same, a small difference only as such where it is blurred."""
    if pd.isna(before) or pd.isna(now) or before == now:
        return common.count_cell(before if pd.isna(now) else now)
    if blurred and abs(int(now) - int(before)) < SMALL:
        return Cell(f"{numbers.count(now)} (differs by {fewer_than(abs(int(now) - int(before)))})", int(now))
    return Cell(f"{numbers.count(before)} {ARROW} {numbers.count(now)}", int(now))


def site_table(comparison: Comparison) -> Table:
    """Return the sites that differ."""
    rows = tuple(
        (
            Cell(row.label),
            Cell(row.what),
            Cell(more_or_fewer(row.clients_before, row.clients_after, "clients")),
            Cell(more_or_fewer(row.sessions_before, row.sessions_after, "sessions")),
            text_cell(row.reason),
            Cell(_only(comparison, row.scenarios)),
        )
        for row in comparison.sites.itertuples()
    )
    columns = (Column("Site"), Column("What"), Column("Clients"), Column("Sessions"), Column("Reason", wide=True, optional=True))
    return Table(
        "changed-sites",
        "Sites that differ",
        (*columns, Column("Since the last run of", optional=True)),
        rows,
        empty=_none(comparison, "No site differs from the run before"),
    )


def _only(comparison: Comparison, scenarios: str) -> str:
    return "" if len(scenarios.split()) == len(comparison.compared) else ", ".join(scenarios.split())


def _none(comparison: Comparison, text: str) -> str:
    return f"{text}." if comparison.compared else "There is no run before."


def file_table(comparison: Comparison) -> Table:
    """Return the files that differ."""
    labels = {site: content["label"] for one in comparison.now.values() for site, content in one.inputs.items()}
    rows = tuple(
        (
            Cell(labels.get(row.site, row.site)),
            Cell(row.file),
            Cell(row.what),
            Cell("" if row.file == WITHDRAWN_FILE else more_or_fewer(row.rows_before, row.rows_after, "rows")),
            Cell(_only(comparison, row.scenarios)),
        )
        for row in comparison.inputs.itertuples()
    )
    columns = (Column("Site"), Column("File"), Column("What"), Column("Rows received", optional=True))
    return Table(
        "changed-files",
        "Files that differ",
        (*columns, Column("Since the last run of", optional=True)),
        rows,
        empty=_none(comparison, "All files are those of the run before"),
    )


def configuration_table(comparison: Comparison) -> Table:
    """Return the keys that differ."""
    rows = tuple(
        (Cell(row.key), Cell(_value(row.old), row.old), Cell(_value(row.new), row.new), Cell(row.scenario))
        for row in comparison.configuration.itertuples()
    )
    return Table(
        "changed-keys",
        "Keys that differ",
        (Column("Key"), Column("Before", wide=True), Column("Now", wide=True), Column("Scenario")),
        rows,
        empty=_none(comparison, "All keys are those of the run before"),
    )


def version_table(comparison: Comparison) -> Table:
    """Return the parts of the program that differ."""
    rows = tuple((Cell(row.what), Cell(row.old), Cell(row.new), Cell(row.scenario)) for row in comparison.versions.itertuples())
    return Table(
        "changed-program",
        "Parts of the program that differ, by their digests",
        (Column("Part"), Column("Before"), Column("Now"), Column("Scenario")),
        rows,
        empty=_none(comparison, "Program, packages and instruments are those of the run before"),
    )
