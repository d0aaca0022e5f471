"""A sheet of a workbook that holds one table, written column by column: cell by cell takes four times as long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from xlsxwriter.format import Format
from xlsxwriter.utility import xl_col_to_name
from xlsxwriter.worksheet import Worksheet

SPAN = 16
"""Rows that share the hint in which columns their cells stand."""
BLOCK = 512 * SPAN


@dataclass(frozen=True)
class _Column:
    """A column: which rows have a cell, and numbers, or for each row the place of its text in ``texts``."""

    letters: str
    there: np.ndarray
    values: np.ndarray
    texts: list[tuple[int, Format | None]] | None = None

    def cells(self, begin: int, end: int) -> list[str]:
        """Return what stands in the sheet's file for some rows; the table's first row is the second of the sheet."""
        rows, letters = range(begin + 2, end + 2), self.letters
        cells = zip(rows, self.there[begin:end].tolist(), self.values[begin:end].tolist())
        if self.texts is None:
            return [f'<c r="{letters}{row}"><v>{number:.16G}</v></c>' if there else "" for row, there, number in cells]
        ends = [f'"{_looks(style)} t="s"><v>{place}</v></c>' for place, style in self.texts]
        return [f'<c r="{letters}{row}{ends[code]}' if there else "" for row, there, code in cells]


def _looks(style: Format | None) -> str:
    return "" if style is None else f' s="{style._get_xf_index()}"'


class TableSheet(Worksheet):
    """A sheet with a head and the rows of a table below it: the bytes that xlsxwriter makes of the same cells, written one by one."""

    def hold(self, frame: pd.DataFrame, cell: Callable[[str], tuple[str, Format | None]]) -> None:
        """Take the rows of a table; the head is written before.

        Parameters
        ----------
        frame : DataFrame
            Numbers that are not known, and texts that are empty, have no cell.
        cell : callable
            Returns what a cell says for a text, of at most 32,767 UTF-16 units, and how it looks.
        """
        self._held = [self._column(frame.iloc[:, place], xl_col_to_name(place), cell) for place in range(frame.shape[1])]
        filled = np.zeros(len(frame), dtype=bool)
        for column in self._held:
            filled |= column.there
        if filled.any():
            self._check_dimensions(int(np.flatnonzero(filled)[-1]) + 1, 0)

    def _column(self, values: pd.Series, letters: str, cell: Callable[[str], tuple[str, Format | None]]) -> _Column:
        if pd.api.types.is_numeric_dtype(values.dtype):
            numbers = values.to_numpy(dtype="float64", na_value=np.nan)
            return _Column(letters, np.isfinite(numbers), numbers)
        if pd.api.types.infer_dtype(values, skipna=True) not in ("string", "empty"):
            values = values.map(str, na_action="ignore")
        values = values.astype(object)
        codes, words = pd.factorize(values.where(values.ne("")))
        texts = [(self.str_table._get_shared_string_index(said), style) for said, style in map(cell, words)]
        there = codes >= 0
        self.str_table.count += int(there.sum()) - len(texts)
        return _Column(letters, there, codes, texts)

    def _write_rows(self) -> None:
        hints = self._hints()
        self._write_row(0, hints.get(0))
        for column, one in sorted(self.table[0].items()):
            self._write_cell(0, column, one)
        self._xml_end_tag("row")
        n_rows = len(self._held[0].there)
        for begin in range(0, n_rows, BLOCK):
            end = min(begin + BLOCK, n_rows)
            rows = map("".join, zip(*(column.cells(begin, end) for column in self._held)))
            self.fh.write(
                "".join(
                    f'<row r="{place + 1}" spans="{hints[place // SPAN]}">{cells}</row>'
                    for place, cells in enumerate(rows, begin + 1)
                    if cells
                )
            )

    def _hints(self) -> dict[int, str]:
        """Return between which columns the cells of each span of rows stand."""
        there = np.column_stack([np.append(place in self.table[0], column.there) for place, column in enumerate(self._held)])
        spans = np.arange(0, len(there), SPAN)
        any_there = np.logical_or.reduceat(there, spans, axis=0)
        filled = np.flatnonzero(any_there.any(axis=1))
        first, last = any_there.argmax(axis=1) + 1, any_there.shape[1] - any_there[:, ::-1].argmax(axis=1)
        return {int(span): f"{first[span]}:{last[span]}" for span in filled}
