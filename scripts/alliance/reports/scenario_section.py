"""What changed from scenario to scenario, and by how much: sentences, a table and small figures of the headline numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from alliance.configuration.study import BASE
from alliance.questions.contract import COMPUTED, WITH_NUMBERS, WITHHELD
from alliance.reports import figures, numbers
from alliance.reports.chapters import common
from alliance.reports.elements import Cell, Chapter, Column, Figure, Fold, Table, listed, number_cell, slug, text_cell
from alliance.reports.figures import ForestRow
from alliance.reports.page import environment

SECTION = "scenarios"
NAMED = 6
QUESTION = "What changes if another choice is made, and by how much?"
LIMITS = (
    "Scenarios rest largely on the same clients, so that a change has no interval of its own, and intervals that overlap do not say "
    "that two scenarios agree.",
    "Where a scenario also changes who is in the analysis (other raters, windows or outcomes that not every site has), part of the change "
    "is a change of clients and sites; their numbers stand in the tables.",
    "Scenarios ask how far an answer depends on a choice. None of them is a better answer because its number is larger.",
)


def scenario_section(table: pd.DataFrame, templates: Path, decimals: int = 2, level: float = 0.95) -> Markup:
    """Return the comparison of scenarios as a section of a page.

    Parameters
    ----------
    table : DataFrame
        `scenario_comparison` (:data:`alliance.sensitivity.contract.SCENARIO_COMPARISON`), typed.
    templates : Path
        Folder of the templates.
    decimals : int
        Decimals of correlations.
    level : float
        Confidence level of the intervals, as printed beside them.

    Returns
    -------
    Markup
        A ``section`` with the heading ``scenarios``; equal tables give equal text.
    """
    parts = environment(templates).get_template("parts.html.j2").module
    return Markup(parts.chapter(scenario_chapter(table, decimals, numbers.level(level))))


def scenario_chapter(table: pd.DataFrame, decimals: int, level: str) -> Chapter:
    """Return the comparison of scenarios as a chapter; see :func:`scenario_section`."""
    scenarios = list(dict.fromkeys(table["scenario"]))
    if len(scenarios) < 2:
        told = "Only the configuration as it stands was computed in this run. “make run SCENARIOS=all” computes every scenario."
        return Chapter(SECTION, "Scenarios", QUESTION, (), findings=(told,))
    moved = [one for _, rows in table.groupby("headline", sort=False) if (one := _Headline(rows, decimals)).scenarios]
    told = [one for one in moved if one.told]
    same = [f"“{one.label}”" for one in moved if not one.told]
    beside = len(scenarios) - 1
    findings = [
        f"{common.plural(beside, 'scenario')} {'stands' if beside == 1 else 'stand'} beside the configuration as it stands ({BASE})."
    ]
    findings += [one.sentence() for one in told]
    if same:
        named = listed(same) if len(same) <= NAMED else f"the other {len(same)} headline numbers of the table"
        where = "they are shown" if any(one.hidden for one in moved if not one.told) else "they can be estimated"
        findings.append(f"As in {BASE} wherever {where}, to {common.plural(decimals, 'decimal')}: {named}.")
    folds = [
        Fold(f"{SECTION}-{slug(question)}", f"Scenario by scenario: {common.words(question).lower()}", tuple(_figures(own, level)))
        for question in dict.fromkeys(one.question for one in told)
        if (own := [one for one in told if one.question == question])
    ]
    return Chapter(
        SECTION,
        "Scenarios: what changed, and by how much",
        QUESTION,
        (),
        findings=tuple(findings),
        blocks=(_scenario_table(table, scenarios), _change_table(moved, level), *folds),
        limits=LIMITS,
        missing=tuple(_missing(table)),
        withheld=common.withheld_of(table, "number"),
    )


class _Headline:
    """One headline number in all scenarios.

    Parameters
    ----------
    rows : DataFrame
        Its rows of the table.
    decimals : int
    """

    def __init__(self, rows: pd.DataFrame, decimals: int) -> None:
        self.rows, self.decimals = rows, decimals
        first = rows.iloc[0]
        self.key, self.label, self.question = first["headline"], first["label"], first["question"]
        self.base = next(rows[rows["scenario"].eq(BASE)].itertuples(), None)
        known = rows[rows["status"].isin(WITH_NUMBERS)]
        self.numbers = list(known.itertuples())
        self.scenarios = [row for row in self.numbers if row.scenario != BASE]
        kinds = list(dict.fromkeys(known["estimate_type"]))
        self.kind = kinds[0] if kinds else ""
        self.ratio = self.kind in common.RATIO_TYPES
        compared = [row for row in self.scenarios if numbers.known(row.change) and self.form(row.estimate) != self.form(row.base_estimate)]
        self.hidden = rows.loc[rows["status"].eq(WITHHELD), "scenario"].tolist()
        self.told = sorted(compared, key=lambda row: -self._distance(row))

    def form(self, value: Any) -> str:
        """Return a value of this number as printed."""
        return common.form(self.kind)(value, self.decimals)

    def change(self, row: Any) -> str:
        """Return the change from base as printed, with its sign."""
        text = numbers.points(row.change) if self.kind in common.PERCENT_TYPES else self.form(row.change)
        return text if text.startswith(numbers.MINUS) or text == numbers.UNKNOWN else f"+{text}"

    def _distance(self, row: Any) -> float:
        """Return how far a scenario moves the number; ratios by their logarithm, so that a half is as far from one as a double."""
        if self.ratio and min(row.estimate, row.base_estimate) > 0:
            return abs(math.log(row.estimate / row.base_estimate))
        return abs(row.change)

    @property
    def null(self) -> float:
        """What the number is where there is no effect."""
        return 1.0 if self.ratio else 0.0

    def sentence(self) -> str:
        """Return which scenario moves the number most, and what all scenarios have in common."""
        most = self.told[0]
        interval = common.interval_text(self.base, self.decimals)
        text = f"{self.label}: {self.form(self.base.estimate)}{'' if interval == numbers.UNKNOWN else f' {interval}'} in {BASE}. "
        text += f"{'Of what is shown, it' if self.hidden else 'It'} moves most in {most.scenario}, to {self.form(most.estimate)} "
        text += f"({self.change(most)})"
        values = [row.estimate for row in self.numbers]
        text += (
            f"; over {'these' if self.hidden else 'all'} scenarios it lies between {self.form(min(values))} and {self.form(max(values))}"
        )
        if other := [row.scenario for row in self.scenarios if self._side(row) * self._side(self.base) < 0]:
            text += f", and lies on the other side of {self.null:g} in {listed(other)}"
        if turned := self._decided_otherwise():
            text += f". Unlike in {BASE}, the interval {turned}"
        if self.hidden:
            text += f". Withheld in {listed(self.hidden)}"
        return f"{text}."

    def _side(self, row: Any) -> int:
        """Return on which side of no effect a value lies as it is printed: 1, -1, or 0 where it prints as no effect."""
        return 0 if self.form(row.estimate) == self.form(self.null) else 1 if row.estimate > self.null else -1

    def _decided_otherwise(self) -> str:
        """Return in which scenarios the interval holds or leaves out no effect where that of base does not."""
        holds = {row.scenario: row.ci_low <= self.null <= row.ci_high for row in self.numbers if numbers.known(row.ci_low)}
        if BASE not in holds:
            return ""
        other = [scenario for scenario, one in holds.items() if one != holds[BASE]]
        return f"{'leaves out' if holds[BASE] else 'includes'} {self.null:g} in {listed(other)}" if other else ""


def _scenario_table(table: pd.DataFrame, scenarios: list[str]) -> Table:
    """Return why each scenario is run and which keys it changes."""
    first = table.drop_duplicates("scenario").set_index("scenario")
    rows = tuple(
        (Cell(name), text_cell(first.loc[name, "reason_for_scenario"]), text_cell(first.loc[name, "keys_changed"]))
        for name in scenarios
        if name != BASE
    )
    columns = (Column("Scenario"), Column("Why it is run", wide=True), Column("Keys of the configuration that differ", wide=True))
    return Table(f"{SECTION}-reasons", "The scenarios of this run", columns, rows)


def _change_table(headlines: list[_Headline], level: str) -> Table:
    """Return for every headline number its value in base, its span over scenarios, and the scenario that moves it most."""
    rows = []
    for one in headlines:
        values = [row.estimate for row in one.numbers]
        most = one.told[0] if one.told else None
        span = f"{one.form(min(values))} to {one.form(max(values))}"
        rows.append(
            (
                Cell(one.label),
                *_base_cells(one),
                number_cell(span, min(values)),
                text_cell(most.scenario if most else ""),
                number_cell(one.form(most.estimate) if most else numbers.UNKNOWN, most.estimate if most else None),
                number_cell(one.change(most) if most else numbers.UNKNOWN, most.change if most else None),
                number_cell(f"{len(one.scenarios)} of {len(one.rows) - 1}{common.more_withheld(one.rows)}", len(one.scenarios)),
            )
        )
    columns = (
        Column("Headline number", wide=True),
        Column(f"In {BASE}", True),
        Column(f"{level} CI", True),
        Column("Over scenarios", True),
        Column("Moved most by"),
        Column("To", True),
        Column("Change", True),
        Column("Scenarios with a number", True),
    )
    return Table(
        f"{SECTION}-changes",
        "The headline numbers over the scenarios",
        columns,
        tuple(rows),
        note="All numbers, with intervals and clients, stand in results/sensitivity/tables/scenario_comparison.csv. A dash: the same in "
        f"every scenario as printed, or not estimated in {BASE}.",
        empty="No scenario could estimate any headline number.",
    )


def _base_cells(one: _Headline) -> tuple[Cell, Cell]:
    """Return estimate and interval of a headline number in base; dashes where it has none."""
    if one.base is None or not common.has_number(one.base):
        return Cell(numbers.UNKNOWN, ""), Cell(numbers.UNKNOWN, "")
    return (
        number_cell(common.estimate_text(one.base, one.decimals), one.base.estimate),
        number_cell(common.interval_text(one.base, one.decimals), one.base.ci_low),
    )


def _figures(headlines: list[_Headline], level: str) -> Iterator[Figure]:
    """Yield for every headline number a plot of base and of the scenarios that move it."""
    for one in headlines:
        drawn = [row for row in one.numbers if row.scenario == BASE or row in one.told]
        rows = [
            ForestRow(row.scenario, row.estimate, row.ci_low, row.ci_high, kind="pooled" if row.scenario == BASE else "estimate")
            for row in drawn
        ]
        bound = one.kind in common.BOUNDED_TYPES or one.kind in common.PERCENT_TYPES
        arguments = {"axis": one.label, "decimals": one.decimals, "bound": bound, "reference": one.null, "ratio": one.ratio}
        same = [row.scenario for row in one.scenarios if row not in one.told]
        note = f"Lines are {level} intervals; the diamond is {BASE}." + (f" As in {BASE}: {listed(same)}." if same else "")
        yield Figure(
            id=f"{SECTION}-{slug(one.key)}",
            title=one.label,
            alt=f"Estimates and intervals of {common.plural(len(drawn), 'scenario')}. {one.sentence()}",
            svg=figures.forest(rows, **arguments),
            narrow=figures.forest(rows, **arguments, narrow=True),
            note=note,
            data=_figure_table(one, level),
        )


def _figure_table(one: _Headline, level: str) -> Table:
    """Return one headline number in every scenario, also where it cannot be estimated."""
    rows = tuple(
        (
            Cell(row.scenario),
            number_cell(common.estimate_text(row, one.decimals), row.estimate if common.has_number(row) else None),
            number_cell(common.interval_text(row, one.decimals), row.ci_low),
            number_cell(one.change(row) if row.scenario != BASE and numbers.known(row.change) else numbers.UNKNOWN, row.change),
            common.count_cell(row.n_sites),
            common.count_cell(row.n_clients),
            text_cell(common.remark(row)),
        )
        for row in one.rows.itertuples()
    )
    columns = (
        Column("Scenario"),
        Column("Estimate", True),
        Column(f"{level} CI", True),
        Column("Change", True),
        Column("Sites", True),
        Column("Clients", True),
        Column("Remark", wide=True, optional=True),
    )
    return Table(f"{SECTION}-{slug(one.key)}-data", one.label, columns, rows, emphasised=frozenset({0}))


def _missing(table: pd.DataFrame) -> Iterator[str]:
    """Yield which headline numbers lack an estimate, in which scenarios, and why."""
    absent = table[~table["status"].isin(COMPUTED)].assign(said=lambda rows: [common.remark(row) for row in rows.itertuples()])
    for (_, said), rows in absent.groupby(["headline", "said"], sort=False):
        yield f"{rows['label'].iloc[0]}, in {listed(list(rows['scenario']))}: {said}."
