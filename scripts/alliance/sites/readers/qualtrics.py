"""Qualtrics exports: three header rows, previews, and columns that identify people."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alliance.sites.readers.contract import Findings, RawTable

IDENTIFYING = frozenset({"ipaddress", "locationlatitude", "locationlongitude", "recipientemail", "recipientfirstname", "recipientlastname"})
PREVIEW_STATUS = ("Survey Preview", "Survey Test", "1", "2")
_MARK = "ImportId"


def has_import_ids(table: RawTable) -> bool:
    """Return whether the second row below the header holds Qualtrics import ids."""
    if table.cells.num_rows < 2:
        return False
    return any(_import_id(table.cells.column(name)[1].as_py()) for name in table.columns)


def interpret(table: RawTable, declared: bool, found: Findings) -> RawTable:
    """Take question texts and import ids out of the rows, leave previews out and drop columns that identify people.

    Parameters
    ----------
    table : RawTable
        The file with its first row as header.
    declared : bool
        Whether site.yaml names the format.
    found : Findings
        Receives every fault.

    Raises
    ------
    UnusableFileError
        The file does not have three header rows.
    """
    if not has_import_ids(table):
        raise found.stop(
            "H07",
            "The third row holds no ImportId: this is not a Qualtrics export with three header rows.",
            "Export the responses as CSV in the present format (not the legacy one), or set format: csv.",
        )
    if not declared:
        found.warn("H06", "The file has the three header rows of a Qualtrics export and was read as one.", "Set format: qualtrics.")
    columns = [name for name in table.columns if name.casefold() not in IDENTIFYING]
    questions = {name: table.cells.column(name)[0].as_py() for name in columns}
    import_ids = {name: _import_id(table.cells.column(name)[1].as_py()) for name in columns}
    cells = table.cells.select(columns).slice(2)
    rows = table.rows[2:]
    previews = _previews(cells)
    if previews.any():
        found.warn("R10", "Rows are previews or tests of the survey and were left out.", "Nothing to do.", n_affected=int(previews.sum()))
    return replace(
        table,
        columns=columns,
        cells=cells.filter(pa.array(~previews)),
        rows=rows[~previews],
        rows_in=table.rows_in - 2,
        excluded={**table.excluded, "R10": int(previews.sum())} if previews.any() else table.excluded,
        questions=questions,
        import_ids=import_ids,
        date_typed={name: rows for name, rows in table.date_typed.items() if name in columns},
    )


def _import_id(cell: str) -> str:
    if _MARK not in cell[:40]:
        return ""
    try:
        value = json.loads(cell)
    except ValueError:
        return ""
    return str(value.get(_MARK, "")) if isinstance(value, dict) else ""


def _previews(cells: pa.Table) -> np.ndarray:
    if "Status" not in cells.column_names:
        return np.zeros(cells.num_rows, dtype=bool)
    status = pc.utf8_trim_whitespace(cells.column("Status"))
    return pc.is_in(status, value_set=pa.array(PREVIEW_STATUS)).to_numpy()
