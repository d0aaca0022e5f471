"""What every reader takes and returns, and how it reports faults."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from alliance.issues import Issue, Severity

if TYPE_CHECKING:
    import pyarrow as pa

MAX_COLUMNS = 5_000
MAX_CELL_CHARACTERS = 131_072


@dataclass(frozen=True)
class ReadOptions:
    """How one file is to be read; what is not set is found from the file itself.

    Parameters
    ----------
    format : str
        ``csv``, ``xlsx``, ``sav``, ``dta``, ``redcap`` or ``qualtrics``; empty: by the file's ending.
    encoding : str
        Text encoding; empty: UTF-8. Byte order marks are honoured either way.
    separator : str
        One character; empty: comma (tab for ``.tsv``), or the one that yields the expected columns.
    decimal : str
        Decimal mark. Numbers typed as such (XLSX, SPSS, Stata) are written with it too, so one rule holds for the table.
    sheet : str
        Worksheet; empty: the only one, or the only one with the expected columns.
    header_row : int
        Physical row of the header, from 1.
    max_file_mb : float
        Largest file, in millions of bytes.
    expected_columns : sequence of str
        Columns that the site's map names; used to tell separators, sheets and header rows apart. May be empty.
    id_columns : sequence of str
        Columns that hold ids; a spreadsheet must not hold them as numbers or dates.
    recruiting : bool
        A file without rows is a warning rather than a fault.
    max_listed : int
        Faults listed one by one per code and column; the rest is counted.
    """

    format: str = ""
    encoding: str = ""
    separator: str = ""
    decimal: str = "."
    sheet: str = ""
    header_row: int = 1
    max_file_mb: float = 500
    expected_columns: tuple[str, ...] | list[str] = ()
    id_columns: tuple[str, ...] | list[str] = ()
    recruiting: bool = False
    max_listed: int = 1000


@dataclass(frozen=True)
class QuarantinedRow:
    """A row refused while reading: its physical row, the code of the rule and its text, verbatim."""

    row: int
    code: str
    text: str


@dataclass
class RawTable:
    """One file as text, and an account of every data row in it.

    ``rows_in == len(rows) + len(quarantined) + rows_blank + sum(excluded.values())`` always holds.

    Parameters
    ----------
    columns : list of str
        Header names, normalised and unique.
    cells : pyarrow.Table
        One string column per name of ``columns``, verbatim; an empty cell is ``""``, there are no nulls.
    rows : ndarray of int64
        Physical line (the first one of a record), spreadsheet row or case number of each row of ``cells``.
    quarantined : list of QuarantinedRow
        Rows refused while reading.
    rows_in : int
        Data rows found, with those quarantined, blank and excluded.
    rows_blank : int
        Blank lines and rows of empty cells.
    excluded : dict
        Code of a reading rule -> rows it left out.
    labels : dict
        Column -> code as text -> value label (SPSS, Stata).
    missing_reasons : dict
        Column -> code as text -> why it means missing (SPSS, Stata).
    questions, import_ids : dict
        Column -> question text, column -> ``ImportId`` (Qualtrics).
    date_typed : dict
        Column -> physical rows whose cell the program that wrote the file held as a date or time; ISO text in ``cells``.
    sheet, sha256 : str
        Worksheet that was read; digest of the file as it was read.
    """

    columns: list[str]
    cells: pa.Table
    rows: np.ndarray
    quarantined: list[QuarantinedRow] = field(default_factory=list)
    rows_in: int = 0
    rows_blank: int = 0
    excluded: dict[str, int] = field(default_factory=dict)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    missing_reasons: dict[str, dict[str, str]] = field(default_factory=dict)
    questions: dict[str, str] = field(default_factory=dict)
    import_ids: dict[str, str] = field(default_factory=dict)
    date_typed: dict[str, list[int]] = field(default_factory=dict)
    sheet: str = ""
    sha256: str = ""


class UnusableFileError(Exception):
    """Nothing further can be read from the file; the reason is already among the findings."""


class Findings:
    """Collects the faults of one file; beyond ``max_listed`` per code and column they are counted."""

    def __init__(self, site: str, file: str, max_listed: int) -> None:
        self._place = Issue("", Severity.WARN, "", "", site=site, file=file)
        self._max_listed = max_listed
        self._issues: list[Issue] = []
        self._listed: Counter[tuple[str, str]] = Counter()
        self._rest: dict[tuple[str, str], Issue] = {}
        self.sheet = ""

    def add(
        self,
        code: str,
        severity: Severity,
        message: str,
        fix: str,
        *,
        row: int | None = None,
        column: str = "",
        value_shown: str = "",
        n_affected: int = 1,
    ) -> None:
        """Record one fault."""
        issue = replace(
            self._place,
            code=code,
            severity=severity,
            message=message,
            fix=fix,
            sheet=self.sheet,
            row=row,
            column=column,
            value_shown=value_shown,
            n_affected=n_affected,
        )
        key = (code, column)
        if severity not in (Severity.ROW, Severity.CELL) or self._listed[key] < self._max_listed:
            self._listed[key] += 1
            self._issues.append(issue)
            return
        counted = self._rest.get(key)
        before = counted.n_affected if counted else 0
        self._rest[key] = replace(
            issue,
            row=None,
            value_shown="",
            n_affected=before + n_affected,
            message=f"further faults of this kind, counted and not listed: {message}",
        )

    def warn(self, code: str, message: str, fix: str, **place: object) -> None:
        """Record something that changes nothing by itself."""
        self.add(code, Severity.WARN, message, fix, **place)

    def row(self, code: str, message: str, fix: str, **place: object) -> None:
        """Record a row that is quarantined."""
        self.add(code, Severity.ROW, message, fix, **place)

    def cell(self, code: str, message: str, fix: str, **place: object) -> None:
        """Record a cell that becomes missing."""
        self.add(code, Severity.CELL, message, fix, **place)

    def site(self, code: str, message: str, fix: str, **place: object) -> None:
        """Record a fault that makes the file unusable, and go on looking for others."""
        self.add(code, Severity.SITE, message, fix, **place)

    def stop(self, code: str, message: str, fix: str, **place: object) -> UnusableFileError:
        """Record a fault that makes the file unusable and return the exception that ends its reading."""
        self.site(code, message, fix, **place)
        return UnusableFileError(code)

    @property
    def fatal(self) -> bool:
        """Whether the file has become unusable."""
        return any(issue.severity is Severity.SITE for issue in self._issues)

    def issues(self) -> list[Issue]:
        """Return all faults, those beyond the limit as one record per code and column."""
        return [*self._issues, *self._rest.values()]


def text_table(columns: list[str], values: list[list[str]]) -> pa.Table:
    """Return a table of string columns from lists of text, one list a column."""
    import pyarrow as pa

    return pa.table([pa.array(column, pa.string()) for column in values], names=columns)


def without_blank_rows(table: RawTable) -> RawTable:
    """Leave out rows whose cells are all empty or spaces, and count them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kept = np.ones(table.cells.num_rows, dtype=bool)
    candidates = np.arange(table.cells.num_rows)
    for name in table.columns:
        if not len(candidates):
            return table
        column = table.cells.column(name)
        if len(candidates) < table.cells.num_rows:
            column = column.take(pa.array(candidates))
        blank = pc.equal(pc.utf8_trim_whitespace(column), "").to_numpy()
        candidates = candidates[blank]
    if not len(candidates):
        return table
    kept[candidates] = False
    return replace(table, cells=table.cells.filter(pa.array(kept)), rows=table.rows[kept], rows_blank=table.rows_blank + len(candidates))
