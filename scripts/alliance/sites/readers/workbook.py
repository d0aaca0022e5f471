"""Excel workbooks (.xlsx): cells as text, with everything named that a spreadsheet hides."""

from __future__ import annotations

import csv
import datetime as dt
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.parsers import expat

import numpy as np
import python_calamine as calamine

from alliance.issues import counted, shown
from alliance.sites.readers import headers
from alliance.sites.readers import workbook_archive as archives
from alliance.sites.readers.contract import MAX_CELL_CHARACTERS, Findings, QuarantinedRow, RawTable, ReadOptions, text_table

_ROWS_TRIED = 20
_NAMES_LISTED = 20
_EXACT_INTEGERS = 2**53
_DATES = (dt.date, dt.time, dt.timedelta)


@dataclass(frozen=True)
class _Grid:
    """Cells of the data area: values[i][j] stands in spreadsheet row ``rows[i]`` and column ``numbers[j]``, under ``columns[j]``."""

    values: list[list[Any]]
    rows: list[int]
    numbers: list[int]
    columns: list[str]


def read(data: bytes, options: ReadOptions, found: Findings) -> RawTable:
    """Read one sheet of a workbook.

    Parameters
    ----------
    data : bytes
        The whole file.
    options : ReadOptions
        How to read it.
    found : Findings
        Receives every fault.

    Raises
    ------
    UnusableFileError
        No table can be made of the file.
    """
    archive = archives.opened(data, found)
    book = _guarded(lambda: calamine.CalamineWorkbook.from_filelike(io.BytesIO(data)), found)
    sheet = _chosen_sheet(book, options, found)
    found.sheet = sheet.name
    content = _guarded(lambda: book.get_sheet_by_name(sheet.name), found)
    values = _guarded(lambda: content.to_python(skip_empty_area=False), found)
    merged = _guarded(lambda: content.merged_cell_ranges, found) or []
    grid = _grid(values, options, found)
    facts = _facts(archive, sheet.name, found)
    _report_hidden(sheet, facts, grid, found)
    _report_empty_formulas(facts, grid, found)
    _refuse_typed_ids(grid, options, found)
    for place, text in facts.long_integers.items():
        _put_exact_integer(grid, place, text)
    quarantined, keep = _merged_rows(merged, grid, options.decimal, found)
    return _table(grid, keep, quarantined, options.decimal, sheet.name, found)


def _guarded(call: Callable[[], Any], found: Findings) -> Any:
    """Call the library; its errors and its panics, which are no ordinary exceptions, become a fault of the file."""
    try:
        return call()
    except calamine.PasswordError as error:
        raise found.stop("F18", "The workbook is protected with a password.", "Save it as .xlsx without password and send that.") from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise found.stop(
            "F20", "The workbook is damaged: it cannot be read.", "Open the file in Excel, save it as a new .xlsx and send that."
        ) from error


def _chosen_sheet(book: Any, options: ReadOptions, found: Findings) -> Any:
    sheets = [sheet for sheet in book.sheets_metadata if sheet.typ == calamine.SheetTypeEnum.WorkSheet]
    names = ", ".join(shown(sheet.name) for sheet in sheets[:_NAMES_LISTED])
    if options.sheet:
        for sheet in sheets:
            if sheet.name == options.sheet:
                return sheet
        raise found.stop("F21", f"There is no sheet {shown(options.sheet)}; the sheets are: {names}.", "Correct sheet: in site.yaml.")
    if len(sheets) == 1:
        return sheets[0]
    hits = [headers.matches(_header_of(book, sheet.name, options, found), options.expected_columns) for sheet in sheets]
    whole = [sheet for sheet, n in zip(sheets, hits) if n and n == len(set(options.expected_columns))]
    part = [sheet for sheet, n in zip(sheets, hits) if n]
    for candidates in (whole, part):
        if len(candidates) == 1:
            return candidates[0]
    if not options.expected_columns:
        filled = [sheet for sheet in sheets if any(_header_of(book, sheet.name, options, found))]
        if len(filled) == 1:
            return filled[0]
    what = "Several sheets have" if part else "None of the sheets has"
    raise found.stop("F21", f"{what} the expected columns; the sheets are: {names}.", "Set sheet: in site.yaml.")


def _header_of(book: Any, name: str, options: ReadOptions, found: Findings) -> list[str]:
    rows = _guarded(lambda: book.get_sheet_by_name(name).to_python(skip_empty_area=False, nrows=options.header_row), found)
    return [_text(value, ".") for value in rows[options.header_row - 1]] if len(rows) >= options.header_row else []


def _grid(values: list[list[Any]], options: ReadOptions, found: Findings) -> _Grid:
    top = options.header_row - 1
    if not any(cell != "" for row in values for cell in row):
        raise found.stop("F02", "The sheet is empty.", "Check the export and the name of the sheet.")
    first = [[_text(cell, ".") for cell in row] for row in values[top : top + _ROWS_TRIED]]
    index = headers.row_with_header(first, options.expected_columns)
    if not first or not any(first[0]):
        index = next((i for i, row in enumerate(first) if any(row)), -1)
    if index:
        below = (
            f"Set header_row: {top + index + 1} in site.yaml, or delete the rows above."
            if index > 0
            else "Correct header_row: in site.yaml."
        )
        raise found.stop("H05", "The header seems to stand below title rows or blank rows.", below, row=top + 1)
    used = [j for j, name in enumerate(first[0]) if name or any(row[j] != "" for row in values[top + 1 :])]
    names = [first[0][j] for j in used]
    columns = headers.column_names(names, options, found, lambda i: archives.column_letters(used[i] + 1))
    body = values[top + 1 :]
    return _Grid([[row[j] for j in used] for row in body], list(range(top + 2, top + 2 + len(body))), [j + 1 for j in used], columns)


def _facts(archive: zipfile.ZipFile, name: str, found: Findings) -> archives.SheetFacts:
    xml = archives.sheet_part(archive, name)
    try:
        if xml is None:
            raise ValueError("no part")
        return archives.facts(xml)
    except (expat.ExpatError, ValueError, KeyError) as error:
        raise found.stop(
            "F20",
            "The workbook is damaged: the sheet's XML cannot be read.",
            "Open the file in Excel, save it as a new .xlsx and send that.",
        ) from error


def _report_hidden(sheet: Any, facts: archives.SheetFacts, grid: _Grid, found: Findings) -> None:
    if sheet.visible != calamine.SheetVisibleEnum.Visible:
        found.warn("F22", "The data stand on a hidden sheet; they were used.", "Check that this sheet is the right one.")
    last = grid.rows[-1] if grid.rows else 0
    rows = [row for row in facts.hidden_rows if grid.rows and grid.rows[0] <= row <= last]
    if rows:
        found.warn(
            "F22",
            f"The sheet has {counted(len(rows), 'hidden data row')}; hidden rows are used too.",
            "Delete rows that do not belong to the data.",
            n_affected=len(rows),
        )
    columns = [name for number, name in zip(grid.numbers, grid.columns) if any(a <= number <= b for a, b in facts.hidden_columns)]
    if columns:
        listed = ", ".join(shown(name) for name in columns[:_NAMES_LISTED])
        found.warn(
            "F22",
            f"The sheet has {counted(len(columns), 'hidden column')}, used like the others: {listed}.",
            "Delete columns that do not belong.",
            n_affected=len(columns),
        )
    if facts.filtered:
        found.warn("F22", "The sheet has a filter; all rows were used, shown or not.", "Delete rows that do not belong to the data.")


def _report_empty_formulas(facts: archives.SheetFacts, grid: _Grid, found: Findings) -> None:
    name_of = dict(zip(grid.numbers, grid.columns))
    rows = set(grid.rows)
    for (row, number), code in facts.errors.items():
        if row in rows and number in name_of:
            found.cell(
                "F25",
                f"The cell holds the error {shown(code)}; it counts as missing.",
                "Correct the formula, or enter the value.",
                row=row,
                column=shown(name_of[number]),
                value_shown=shown(code),
            )
    for row, number in facts.unstored:
        if row in rows and number in name_of:
            found.cell(
                "F24",
                "The formula has no stored value; the cell counts as missing.",
                "Open the file in Excel, save it and send it again, or enter the value.",
                row=row,
                column=shown(name_of[number]),
            )


def _refuse_typed_ids(grid: _Grid, options: ReadOptions, found: Findings) -> None:
    ids = {headers.normalised(name) for name in options.id_columns}
    for j, name in enumerate(grid.columns):
        if name not in ids:
            continue
        typed = [i for i, row in enumerate(grid.values) if not isinstance(row[j], str)]
        if typed:
            dates = any(isinstance(grid.values[i][j], _DATES) for i in typed)
            found.site(
                "F26",
                "Ids are dates in Excel; the ids that were entered are lost."
                if dates
                else "Ids are numbers in Excel; leading zeros may be lost.",
                "Format the column as text, enter the ids again where they changed, and send the file again (or send .csv).",
                row=grid.rows[typed[0]],
                column=shown(name),
                n_affected=len(typed),
            )


def _put_exact_integer(grid: _Grid, place: tuple[int, int], text: str) -> None:
    row, number = place
    if grid.rows and grid.rows[0] <= row <= grid.rows[-1] and number in grid.numbers:
        cells, j = grid.values[row - grid.rows[0]], grid.numbers.index(number)
        if isinstance(cells[j], float | int):
            cells[j] = int(text)


def _merged_rows(merged: list, grid: _Grid, decimal: str, found: Findings) -> tuple[list[QuarantinedRow], np.ndarray]:
    """Return the rows that merged cells touch, and a mask of those they do not."""
    keep = np.ones(len(grid.rows), dtype=bool)
    first = grid.rows[0] if grid.rows else 1
    for (top, left), (bottom, right) in merged:
        low, high = max(top + 1 - first, 0), min(bottom + 2 - first, len(grid.rows))
        if low < high and any(left + 1 <= number <= right + 1 for number in grid.numbers):
            keep[low:high] = False
            corners = [archives.column_letters(column + 1) + str(row + 1) for row, column in ((top, left), (bottom, right))]
            found.row(
                "F23",
                f"Cells {corners[0]}:{corners[1]} are merged; the rows they touch were refused.",
                "Unmerge the cells, fill in each value and send the file again.",
                row=first + low,
                n_affected=high - low,
            )
    return [QuarantinedRow(grid.rows[i], "F23", _line(grid.values[i], decimal)) for i in np.flatnonzero(~keep)], keep


def _line(cells: list[Any], decimal: str) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([_text(cell, decimal) for cell in cells])
    return text.getvalue()


def _table(grid: _Grid, keep: np.ndarray, quarantined: list[QuarantinedRow], decimal: str, sheet: str, found: Findings) -> RawTable:
    values = [grid.values[i] for i in np.flatnonzero(keep)]
    rows = np.array(grid.rows, dtype=np.int64)[keep]
    texts, date_typed = [], {}
    for j, name in enumerate(grid.columns):
        cells = [row[j] for row in values]
        texts.append([cell if type(cell) is str else _text(cell, decimal) for cell in cells])
        if any(issubclass(kind, _DATES) for kind in set(map(type, cells))):
            date_typed[name] = [int(rows[i]) for i, cell in enumerate(cells) if isinstance(cell, _DATES)]
        if max(map(len, texts[-1]), default=0) > MAX_CELL_CHARACTERS:
            found.site("F16", f"A cell holds more than {MAX_CELL_CHARACTERS} characters.", "Shorten the cell.", column=shown(name))
    cells = text_table(grid.columns, texts)
    return RawTable(grid.columns, cells, rows, quarantined, rows_in=len(grid.rows), date_typed=date_typed, sheet=sheet)


def _text(value: Any, decimal: str) -> str:
    """Return a cell as text: whole numbers without decimals, dates in ISO form, TRUE and FALSE as Excel shows them."""
    if isinstance(value, float):
        if value.is_integer() and abs(value) < _EXACT_INTEGERS:
            return str(int(value))
        return repr(value).replace(".", decimal)
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, dt.datetime):
        return value.date().isoformat() if value.time() == dt.time() else value.isoformat(timespec="seconds")
    if isinstance(value, dt.timedelta):
        seconds = round(value.total_seconds())
        return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)
