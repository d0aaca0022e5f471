"""Figures of the pages as files of their own: SVG with title and description, and the numbers they draw."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any
from xml.sax.saxutils import escape

from alliance.issues import safe_cell
from alliance.reports.elements import Cell, Figure, Table
from alliance.reports.page import visible

FOLDER = "figures"
_NUMBER = re.compile(r"\d[\d.,]*")


def figures_in(content: Any) -> Iterator[tuple[Figure, Table | None]]:
    """Yield every figure inside what a page draws, in the page's order, with the table that holds its numbers.

    That is the figure's own, else the table right after it, else the one right before it: the one that the page's button saves.
    """
    if isinstance(content, Figure):
        yield content, content.data
    elif isinstance(content, Mapping):
        for part in content.values():
            yield from figures_in(part)
    elif isinstance(content, list | tuple):
        for before, part, after in zip((None, *content), content, (*content[1:], None)):
            if isinstance(part, Figure):
                near = [table for table in (part.data, after, before) if isinstance(table, Table) and table.rows]
                yield part, near[0] if near else None
            else:
                yield from figures_in(part)
    elif is_dataclass(content) and not isinstance(content, Table | type):
        for field in fields(content):
            yield from figures_in(getattr(content, field.name))


def figure_files(content: Any, page: str) -> dict[str, bytes]:
    """Return the figures of a page and their data, by address inside the bundle.

    Parameters
    ----------
    content : mapping
        What the page draws.
    page : str
        Folder of the page's figures.
    """
    made = {}
    for figure, table in figures_in(content):
        stem = f"{FOLDER}/{page}/{figure.id}"
        made[f"{stem}.svg"] = named(figure)
        if table is not None and table.rows:
            made[f"{stem}.csv"] = data_csv(table).encode("utf-8")
    return made


def named(figure: Figure) -> bytes:
    """Return a drawing that says what it shows where it stands alone."""
    text = figure.svg.decode("utf-8")
    start = text.index(">", text.index("<svg")) + 1
    told = f"<title>{escape(visible(figure.title))}</title><desc>{escape(visible(figure.alt))}</desc>"
    return (text[:start] + told + text[start:] + "\n").encode("utf-8")


def data_csv(table: Table) -> str:
    """Return a printed table as CSV: numbers in full precision, words and cells with several numbers (intervals) as printed."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([safe_cell(column.label) for column in table.columns])
    for row in table.rows:
        writer.writerow([_written(cell) for cell in row])
    return out.getvalue()


def _written(cell: Cell) -> object:
    """Return a cell as it is written: whole numbers without a point."""
    value = cell.text if cell.value is None or len(_NUMBER.findall(cell.text)) > 1 else cell.value
    return int(value) if isinstance(value, float) and value.is_integer() else safe_cell(value)
