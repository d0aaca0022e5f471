"""A table on its way into a file: a header and rows of cells, and how values are written as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd


@dataclass
class Sheet:
    """One table of a file. An empty row is a blank line.

    Parameters
    ----------
    file : str
        File the table goes to.
    header : list of str
        Column names.
    rows : list of list
        Cells; text, or numbers and dates where the format has them.
    name : str
        Name of the sheet, where a file has several.
    above : list of list
        Further header rows below the column names.
    first_row : int
        Number of the first row of data where nothing stands above: 2 below a header line, 1 where rows are cases.
    facts : dict
        What the writer of the format needs besides.
    """

    file: str
    header: list[str]
    rows: list[list[Any]]
    name: str = ""
    above: list[list[str]] = field(default_factory=list)
    first_row: int = 2
    facts: dict[str, Any] = field(default_factory=dict)

    def column(self, name: str) -> int:
        """Return the position of a column."""
        return self.header.index(name)

    def physical_row(self, row: list[Any]) -> int:
        """Return the line, spreadsheet row or case at which this very row stands, 1-based."""
        return next(i for i, candidate in enumerate(self.rows) if candidate is row) + self.first_row + len(self.above)


def texts(values: pd.Series, missing: str = "", decimal: str = ".", date_format: str = "%Y-%m-%d") -> list[str]:
    """Return values as a clinic's software writes them; ``missing`` stands for unknown ones."""
    if values.dtype.kind == "M":
        return [missing if pd.isna(day) else day.strftime(date_format) for day in values]
    if values.dtype.kind == "f":
        return [missing if np.isnan(number) else f"{number:.10g}".replace(".", decimal) for number in values]
    return [missing if value is pd.NA or value is None else str(value) for value in values]


def text_frame(frame: pd.DataFrame, missing: str = "", decimal: str = ".", date_format: str = "%Y-%m-%d") -> pd.DataFrame:
    """Return a frame of texts."""
    return pd.DataFrame(
        {name: pd.Series(texts(frame[name], missing, decimal, date_format), dtype=object) for name in frame.columns}, index=frame.index
    )


def answers(frame: pd.DataFrame) -> list[str]:
    """Return the item or scale columns of a ratings table."""
    return [name for name in frame.columns if name not in ("client_id", "therapist_id", "timepoint", "session", "date", "rater_no")]


def at(frame: pd.DataFrame, *timepoints: str) -> pd.DataFrame:
    """Return the rows of some timepoints."""
    return frame[frame["timepoint"].isin(timepoints)].reset_index(drop=True)


def form_cells(
    frame: pd.DataFrame,
    keys: pd.MultiIndex,
    names: dict[str, str],
    missing: str = "",
    decimal: str = ".",
) -> pd.DataFrame:
    """Return the answers to a form for given keys, renamed; blank where the form was not filled in.

    Parameters
    ----------
    frame : DataFrame
        Ratings with the key columns.
    keys : MultiIndex
        Rows wanted; its names are the key columns.
    names : dict
        Our column to theirs.
    missing : str
        What stands for a skipped item.
    """
    cells = text_frame(frame[list(names)], missing, decimal).rename(columns=names)
    cells.index = pd.MultiIndex.from_frame(frame[list(keys.names)])
    return cells.reindex(keys).fillna("")


def sheet_of(file: str, frame: pd.DataFrame, name: str = "") -> Sheet:
    """Return a frame of cells as a sheet."""
    return Sheet(file, list(frame.columns), frame.to_numpy(dtype=object).tolist(), name)


def csv_bytes(sheet: Sheet, separator: str = ",", encoding: str = "utf-8", line_end: str = "\n", byte_order_mark: bool = False) -> bytes:
    """Return a sheet as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=line_end)
    rows: Sequence[Sequence[Any]] = [sheet.header, *sheet.above, *sheet.rows]
    for row in rows:
        if row:
            writer.writerow(row)
        else:
            text.write(line_end)
    return (b"\xef\xbb\xbf" if byte_order_mark else b"") + text.getvalue().encode(encoding)


def numbered(stem: str, frame: pd.DataFrame) -> dict[str, str]:
    """Return ``{"i1": stem1, ...}`` for the items of a table."""
    return {name: f"{stem}{name[1:]}" for name in answers(frame)}


def one_rater(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the ratings of the first rater of every session."""
    return frame[frame["rater_no"] == 1].reset_index(drop=True)
