"""Published figures beside the new ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from alliance.questions.benchmarks import Benchmark
from alliance.reports import numbers
from alliance.reports.bibliography import short
from alliance.reports.chapters import common
from alliance.reports.elements import Cell, Column, Part, Table, number_cell, slug
from alliance.reports.inputs import ReportData


def tables(data: ReportData, question: str, name: Callable[[str, Any], str]) -> list[Table]:
    """Return the published figures of a question beside the new ones; none where the review says nothing about it.

    Parameters are those of :func:`rows_of`.
    """
    rows = rows_of(data, question, name)
    return [table(data, f"published-{slug(question)}", "Figures of the review beside the new ones", rows)] if rows else []


def rows_of(data: ReportData, question: str, name: Callable[[str, Any], str]) -> list[tuple[Cell, ...]]:
    """Return the rows of published figures of a question, each with the new estimate.

    Parameters
    ----------
    data : ReportData
    question : str
        The question.
    name : callable
        From the name of a table and one of its rows to what the row is about; empty leaves the row out.
    """
    rows: list[tuple[Cell, ...]] = []
    for one in (figure for figure in data.benchmarks if figure.question == question and figure.shown):
        estimates = data.tables.get(question, {}).get(one.table)
        if estimates is None:
            continue
        found = common.pooled_rows(estimates, claim=one.claim)
        found = found[one.rows(found)]
        for row in common.tuples(found[found["method"] != "two_stage_sem"]):
            if row.estimate_type.endswith("_unstandardised") or row.estimate_type.startswith("covariance"):
                continue
            about = name(one.table, row)
            if not about:
                continue
            show: Callable[..., str] = numbers.percent if one.unit in ("r_squared", "share") else common.form(row.estimate_type)
            digits = () if show is numbers.percent else (data.decimals,)
            given = show(one.value, *digits) if one.value is not None else one.words or "in words only"
            new = show(row.estimate, *digits) if common.has_number(row) else common.estimate_text(row, data.decimals)
            source = short(data.references[one.citation]) if one.citation in data.references else one.citation
            rows.append(
                (
                    Cell(about),
                    Cell(one.claim),
                    Cell(given, "" if one.value is None else one.value),
                    number_cell(new, row.estimate if common.has_number(row) else None),
                    number_cell(_interval(row, show, digits), row.ci_low),
                    number_cell(
                        numbers.points(row.difference) if show is numbers.percent else show(row.difference, *digits), row.difference
                    ),
                    Cell(source),
                    Cell(numbers.typeset(one.note)),
                )
            )
    return rows


def in_words(data: ReportData, question: str, table: str, row: Any) -> Benchmark | None:
    """Return what the review says of a row in a word, without a figure; None where it does not."""
    own = pd.DataFrame([row._asdict()])
    for one in data.benchmarks:
        if (one.question, one.table) == (question, table) and one.words and bool(one.rows(own).iloc[0]):
            return one
    return None


def table(data: ReportData, id: str, caption: str, rows: Sequence[tuple[Cell, ...]], *, folded: bool = False) -> Table:
    """Return rows of :func:`rows_of` as a table."""
    labels = ("Estimate of", "Claim", "Published", "New", f"{data.level} CI", "Difference", "Source", "What to know when comparing")
    columns = tuple(Column(label, label in labels[2:6], label == labels[-1], label in labels[4:6]) for label in labels)
    note = "Published figures stand beside the new ones for orientation; nothing is tested against them. Claims are named as in the tables."
    return Table(id, caption, columns, tuple(rows), note=note, folded=folded)


def words_alone(data: ReportData, question: str) -> list[Part]:
    """Return what the review says on a question where it gives no figure, as a part of a chapter; none where it says nothing."""
    said = dict.fromkeys(one.note for one in data.benchmarks if one.question == question and one.shown and one.value is None and one.note)
    sentences = tuple(numbers.typeset(note) for note in said)
    return [Part(f"published-{slug(question)}", "What the review says", sentences)] if said else []


def has_new(row: tuple[Cell, ...]) -> bool:
    """Tell whether a row holds a new estimate beside the published figure."""
    return row[3].text != common.NOT_ESTIMABLE


def _interval(row: Any, show: Callable[..., str], digits: tuple[int, ...]) -> str:
    """Return the interval in the unit of the estimate beside it."""
    if show is numbers.percent and numbers.known(row.ci_low) and numbers.known(row.ci_high):
        return f"[{numbers.percent(row.ci_low)},{numbers.SPACE}{numbers.percent(row.ci_high)}]"
    return common.interval_text(row, *digits) if digits else numbers.UNKNOWN
