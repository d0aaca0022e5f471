"""The chapter of a question that brings no chapter of its own: its tables, pooled rows first."""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance.questions.contract import COLUMNS, HETEROGENEITY
from alliance.reports.chapters import common
from alliance.reports.elements import Cell, Chapter, Column, Table, slug
from alliance.reports.inputs import ReportData, distinct


def build(data: ReportData, question: str) -> Chapter:
    """Return a chapter that shows every table of a question."""
    tables = data.tables[question]
    return Chapter(
        id=slug(question),
        title=common.words(question),
        question=f"Results of the question “{common.words(question).lower()}”, pooled over sites.",
        sources=(question,),
        blocks=tuple(_table(data, question, name, table) for name, table in tables.items()),
        limits=("These numbers stand as the tables hold them: associations in what was observed, which show by themselves no cause.",),
        missing=tuple(message for table in tables.values() for message in _missing(data, table)),
    )


def _missing(data: ReportData, table: pd.DataFrame) -> tuple[str, ...]:
    return common.not_estimable(data, table, lambda row: _keys(table, row))


def _own_columns(table: pd.DataFrame) -> list[str]:
    return [name for name in table.columns if name not in (*COLUMNS, *HETEROGENEITY)]


def _keys(table: pd.DataFrame, row: Any) -> str:
    return ", ".join(
        str(getattr(row, name)) for name in _own_columns(table) if not pd.isna(getattr(row, name)) and getattr(row, name) != ""
    )


def _table(data: ReportData, question: str, name: str, table: pd.DataFrame) -> Table:
    own = _own_columns(table)
    chosen = common.pooled_rows(distinct(table))
    rows = tuple(
        (
            Cell(common.words(row.estimate_type)),
            *(Cell(str(getattr(row, key)) if pd.notna(getattr(row, key)) else "") for key in own),
            *common.estimate_cells(data, row, pooled="i2" in table),
        )
        for row in common.tuples(chosen)
    )
    columns = (
        Column("Estimate"),
        *(Column(common.words(key)) for key in own),
        *common.estimate_columns(data, "Value", pooled="i2" in table),
    )
    return Table(f"{slug(question)}-{slug(name)}", f"{common.words(name)}, pooled over sites", columns, rows)
