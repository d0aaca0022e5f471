"""All tables of a scenario as one Excel workbook: the same bytes for the same tables, and no cell that a spreadsheet would run."""

from __future__ import annotations

import datetime
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from alliance.questions import contract
from alliance.reports.table_sheet import TableSheet

MAX_ROWS = 1_048_576
MAX_NAME = 31
MAX_TEXT = 32_767
CREATED = datetime.datetime(1980, 1, 1)
CONTENTS = "Contents"
_FORBIDDEN = re.compile(r"[\[\]:*?/\\']")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_RUN = frozenset("=+-@\t\r")
_WIDTHS = (24, 26, 26, 60, 10)


@dataclass(frozen=True)
class Sheet:
    """A sheet: its name, the table it holds and what that is."""

    name: str
    question: str
    table: str
    frame: pd.DataFrame


def build(tables: Mapping[str, Mapping[str, pd.DataFrame]], facts: Sequence[tuple[str, str]]) -> bytes:
    """Return a workbook of tables.

    Parameters
    ----------
    tables : mapping
        Result tables by question and name, typed as :func:`alliance.reports.inputs.read_tables` does.
    facts : sequence of (str, str)
        What stands at the top of the first sheet: study, scenario, versions.

    Returns
    -------
    bytes
        A first sheet that explains sheets and columns, then one sheet a table (several where a table has more rows than a sheet can hold).
        Numbers have 16 digits, unknown ones are empty cells, text is text whatever it begins with.
    """
    made = io.BytesIO()
    with xlsxwriter.Workbook(made, {"in_memory": True}) as book:
        book.set_properties({"created": CREATED})
        styles = _Styles(book.add_format({"bold": True}), book.add_format({"num_format": "@", "quote_prefix": True}))
        found = sheets(tables)
        contents = book.add_worksheet(CONTENTS)
        for place, width in enumerate(_WIDTHS):
            contents.set_column(place, place, width)
        for place, cells in enumerate(_contents(found, facts)):
            _write_row(contents, place, cells, styles)
        for sheet in found:
            _write_table(book.add_worksheet(sheet.name, TableSheet), sheet.frame, styles)
    return made.getvalue()


def facts(options: Mapping[str, object], scenario: str, provenance: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return what the first sheet says of the study: title, scenario, whether data are simulated, versions and digests."""
    study = options["study"]
    assert isinstance(study, Mapping)
    simulated = [("Simulated data", "No real client, therapist or clinic stands behind any number in this workbook.")]
    return [
        ("Study", str(study["title"])),
        *(simulated if study["simulated"] else []),
        ("Scenario", scenario),
        *((label, str(provenance[key])) for key, label in _PROVENANCE.items()),
    ]


_PROVENANCE = {"version": "alliance-pipeline", "data_digest": "Data", "config_digest": "Configuration", "code_digest": "Code"}


def sheets(tables: Mapping[str, Mapping[str, pd.DataFrame]]) -> list[Sheet]:
    """Return the sheets of all tables: names unique in any case, of at most 31 characters, where need be cut in the question's name."""
    made: list[Sheet] = []
    taken = {CONTENTS.lower()}
    for question, name in [(question, name) for question, named in tables.items() for name in named]:
        frame = tables[question][name]
        for begin in range(0, max(len(frame), 1), MAX_ROWS - 1):
            title = _name(question, name, taken)
            taken.add(title.lower())
            made.append(Sheet(title, question, name, frame.iloc[begin : begin + MAX_ROWS - 1]))
    return made


def _name(question: str, table: str, taken: set[str]) -> str:
    question, table = (_FORBIDDEN.sub("_", part) for part in (question, table))
    for number in range(1, MAX_ROWS):
        suffix = "" if number == 1 else f" {number}"
        room = MAX_NAME - len(suffix)
        whole = f"{question} {table}"
        name = whole if len(whole) <= room else f"{question[: max(room - len(table) - 2, 1)]}… {table}"[:room]
        if f"{name}{suffix}".lower() not in taken:
            return f"{name}{suffix}"
    raise ValueError(f"no name is left for the sheet of {question}/{table}")


def _contents(found: Sequence[Sheet], facts: Sequence[tuple[str, str]]) -> Iterator[list[tuple[object, bool]]]:
    """Yield the rows of the first sheet, cells with whether they are heads."""
    for name, value in facts:
        yield [(name, True), (value, False)]
    yield []
    yield [("Numbers have 16 digits. A cell is empty where a number is unknown, withheld or not estimable; reason says why.", False)]
    yield [(f"Rows with site {contract.POOLED} hold the results over sites.", False)]
    yield []
    yield [(head, True) for head in ("Sheet", "Question", "Table", "What it holds", "Rows")]
    for sheet in found:
        schema = _schema(sheet)
        held = schema.description if schema else ""
        yield [(value, False) for value in (sheet.name, sheet.question, sheet.table, held, len(sheet.frame))]
    yield []
    yield [(head, True) for head in ("Column", "Question", "Table", "What it means")]
    for tables, meanings in (("all", contract.COLUMN_MEANINGS), ("those that pool sites", contract.HETEROGENEITY_MEANINGS)):
        for column, meaning in meanings.items():
            yield [(value, False) for value in (column, "all", tables, meaning)]
    for sheet in {(sheet.question, sheet.table): sheet for sheet in found}.values():
        schema = _schema(sheet)
        for column, meaning in (schema.keys if schema else {}).items():
            yield [(value, False) for value in (column, sheet.question, sheet.table, meaning)]
    for heading, meanings in (("estimate_type", contract.ESTIMATE_TYPES), ("method", contract.METHODS)):
        yield []
        yield [(f"Values of {heading}", True), ("", False), ("", False), ("What it means", True)]
        for value, meaning in meanings.items():
            yield [(value, False), ("", False), ("", False), (meaning, False)]


def _schema(sheet: Sheet) -> contract.Table | None:
    try:
        return contract.table(sheet.question, sheet.table)
    except KeyError:
        return None


@dataclass(frozen=True)
class _Styles:
    """How heads look, and texts that a spreadsheet would take for a formula once they are edited."""

    head: Format
    quoted: Format


def _write_row(sheet: Worksheet, place: int, cells: Sequence[tuple[object, bool]], styles: _Styles) -> None:
    for column, (value, head) in enumerate(cells):
        if isinstance(value, int):
            sheet.write_number(place, column, value)
        elif value:
            text = _text(str(value))
            sheet.write_string(place, column, text, styles.head if head else _style(text, styles))


def _write_table(sheet: TableSheet, frame: pd.DataFrame, styles: _Styles) -> None:
    """Write a table below its head, which stays in view."""
    sheet.freeze_panes(1, 0)
    _write_row(sheet, 0, [(str(name), True) for name in frame.columns], styles)
    if frame.shape[1]:
        sheet.hold(frame, lambda value: _cell(value, styles))


def _cell(value: str, styles: _Styles) -> tuple[str, Format | None]:
    text = _text(value)
    return text, _style(text, styles)


def _text(text: str) -> str:
    """Return a text without characters that no sheet can hold, and no longer than one can, in UTF-16 units."""
    text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
    if len(text) <= MAX_TEXT // 2:
        return text
    units = np.cumsum([2 if character > "\uffff" else 1 for character in text])
    return text[: int(np.searchsorted(units, MAX_TEXT, side="right"))]


def _style(text: str, styles: _Styles) -> Format | None:
    return styles.quoted if text[0] in _RUN else None
