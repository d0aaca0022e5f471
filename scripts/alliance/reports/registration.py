"""What was registered before the data were looked at, beside what was done, as a section of a report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from alliance.issues import brief
from alliance.reports.chapters import common
from alliance.reports.elements import Cell, Chapter, Column, Table, listed, text_cell
from alliance.reports.page import BASE_SCENARIO

SECTION = "preregistration"
TITLE = "Preregistration"
NONE_GIVEN = "No preregistration was given for this study, so that all analyses in this report are exploratory."
NOT_EXPLAINED = "not explained"
VALUE_CHARACTERS = 120
_INSTEAD = {"by_scenario": "changed by this scenario on purpose", "unknown": "can’t be told: not all sites tell their clients"}


def registration_chapter(preregistration: Mapping[str, Any] | None, deviations: pd.DataFrame, scenarios: Sequence[str]) -> Chapter:
    """Return what was registered, what of it deviates and why, and what is confirmatory.

    Parameters
    ----------
    preregistration : mapping or None
        ``Study.preregistration``; None where the study has none.
    deviations : DataFrame
        ``deviations.csv`` of one scenario, or those of several below each other.
    scenarios : sequence of str
        Scenarios whose results the page shows.
    """
    question = "What was planned before the data were looked at, and where does this run deviate from it?"
    if preregistration is None:
        return Chapter(SECTION, TITLE, question, (), findings=(NONE_GIVEN,))
    sample = deviations["kind"].eq("sample")
    open_rows = deviations[deviations["deviates"].ne("no") & ~sample]
    kept = deviations[deviations["deviates"].eq("no") & ~sample]
    return Chapter(
        SECTION,
        TITLE,
        question,
        (),
        findings=(*_facts(preregistration), *_scenario_sentences(preregistration, scenarios), *_counted(deviations)),
        blocks=(
            _table("deviations", "Deviations from what was registered", open_rows, "Nothing deviates from what was registered."),
            _table("planned-sample", "Planned sample and the one achieved", deviations[sample], "No sample was registered."),
            _table("as-registered", "As registered", kept, "Nothing else was registered.", folded=True),
        ),
    )


def _facts(preregistration: Mapping[str, Any]) -> list[str]:
    where = preregistration["registered"]
    told = [f"The study was registered at {where['registry']} ({where['identifier']}) on {where['date']}."]
    chosen = preregistration["confirmatory"]
    questions = [f"“{common.words(name)}”" for name in chosen["questions"]]
    parts = [f"the headline of {listed(questions)}"] if questions else []
    parts += [f"{'claim' if len(chosen['claims']) == 1 else 'claims'} {listed(list(chosen['claims']))}"] if chosen["claims"] else []
    if not parts:
        return [*told, "No question and no claim was registered as confirmatory, so that all analyses in this report are exploratory."]
    return [*told, f"Registered as confirmatory: {'; '.join(parts)}. All other analyses in this report are exploratory."]


def _scenario_sentences(preregistration: Mapping[str, Any], scenarios: Sequence[str]) -> list[str]:
    others = [name for name in scenarios if name != BASE_SCENARIO]
    planned = [f"“{name}”" for name in others if name in preregistration["scenarios"]]
    new = [f"“{name}”" for name in others if name not in preregistration["scenarios"]]
    told = [f"Registered as {'a scenario' if len(planned) == 1 else 'scenarios'}: {listed(planned)}."] if planned else []
    return [*told, f"Not registered, and so exploratory: {'scenario' if len(new) == 1 else 'scenarios'} {listed(new)}."] if new else told


def _counted(deviations: pd.DataFrame) -> list[str]:
    if deviations.empty:
        return ["Nothing was registered that a run could be compared with."]
    away = deviations[deviations["deviates"].eq("yes")]
    if away.empty:
        return [f"Of {common.plural(len(deviations), 'registered item')} none deviates."]
    unexplained = int(away["explanation"].eq("").sum())
    explained = f"{unexplained} of them without an explanation" if unexplained else "each with an explanation"
    deviate = "deviates" if len(away) == 1 else "deviate"
    return [f"Of {common.plural(len(deviations), 'registered item')} {len(away)} {deviate}, {explained}."]


def _table(id: str, caption: str, rows: pd.DataFrame, empty: str, *, folded: bool = False) -> Table:
    several = rows["scenario"].nunique() > 1
    return Table(
        id=id,
        caption=caption,
        columns=(
            Column("Registered item"),
            Column("Scenario", optional=True),
            Column("Registered"),
            Column("This run"),
            *(() if folded else (Column("Explanation", wide=True, optional=True),)),
        ),
        rows=tuple(
            (
                Cell(row.key),
                Cell(row.scenario if several else ""),
                Cell(_value(row, row.registered), row.registered),
                text_cell(_value(row, row.this_run)),
                *(() if folded else (Cell(_explanation(row)),)),
            )
            for row in rows.itertuples()
        ),
        empty=empty,
        folded=folded,
    )


def _value(row: Any, text: str) -> str:
    """Return a value as people write it: that of a key, which is JSON, without the quotes of plain text."""
    value = json.loads(text) if row.kind == "configuration" and text else text
    return brief(value if isinstance(value, str) else text, VALUE_CHARACTERS)


def _explanation(row: Any) -> str:
    if row.deviates == "no":
        return ""
    return row.explanation or _INSTEAD.get(row.deviates, NOT_EXPLAINED)


def standing(preregistration: Mapping[str, Any] | None, questions: Sequence[str]) -> str:
    """Return what of a chapter is confirmatory, in a sentence; empty where nothing was registered.

    Parameters
    ----------
    preregistration : mapping or None
    questions : sequence of str
        Questions of the configuration that the chapter draws on.
    """
    if preregistration is None or not questions:
        return ""
    chosen = preregistration["confirmatory"]
    parts = ["the headline"] if set(chosen["questions"]) & set(questions) else []
    claims = [name for name in chosen["claims"] if set(preregistration["claims"][name]) & set(questions)]
    parts += [f"{'claim' if len(claims) == 1 else 'claims'} {listed(claims)}"] if claims else []
    if not parts:
        return "Not registered: what this chapter reports is exploratory."
    return f"Registered as confirmatory: {' and '.join(parts)}. All else in this chapter is exploratory."
