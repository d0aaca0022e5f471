"""Writing files whole or not at all, and digests of what they hold."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import pandas as pd

TEMPORARY_PREFIX = ".partial-"
PRIVATE = 0o600
"""Mode of files that only their owner may read."""


@contextmanager
def replacing(path: Path, mode: int | None = None) -> Iterator[Path]:
    """Yield a temporary path that takes the place of ``path`` when the block ends well.

    The content is flushed to disk before the rename, so that after a crash the old file or the new one is whole. ``mode`` says who may read
    the file (such as :data:`PRIVATE`); by default whoever the system lets.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_umask() if mode is None else mode)
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str, mode: int | None = None) -> None:
    """Write UTF-8 text with Unix line ends; ``mode`` as in :func:`replacing`."""
    with replacing(path, mode) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def canonical_json(value: Any) -> str:
    """Return JSON that is the same for equal values: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def write_json(path: Path, value: Any, mode: int | None = None) -> None:
    """Write JSON for people: sorted keys, two spaces, no NaN; ``mode`` as in :func:`replacing`."""
    write_text(path, json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n", mode)


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def digest(value: Any) -> str:
    """Return twelve hexadecimal digits that identify a value by its canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode("utf-8")).hexdigest()[:12]


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Write a table as Parquet; equal tables give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), temporary, compression="zstd", write_statistics=False)


def hold_text_as_python() -> None:
    """Have pandas hold text as Python's, for this process: tables here are short and looked at piece by piece.

    To put together and take apart Arrow's, its own choice, was a seventh of the processor time of estimating and pooling.
    """
    import pandas as pd

    pd.set_option("mode.string_storage", "python")


def read_parquet(path: Path, without: Collection[str] = ()) -> pd.DataFrame:
    """Read a Parquet file with the column types it was written with.

    Parameters
    ----------
    path : Path
    without : collection of str
        Columns that are left out, if there.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False) as file:
        # To begin threads takes longer than a site's columns do.
        columns = [name for name in file.schema_arrow.names if name not in without]
        return file.read(columns=columns, use_threads=False).to_pandas(use_threads=False)


ROWS_AT_ONCE = 20_000
"""Rows of a table that are text in memory at one time."""


def write_csv(path: Path, table: pd.DataFrame, mode: int | None = None) -> None:
    """Write a table as CSV for people: full precision, empty where unknown, cells no spreadsheet would run.

    ``mode`` as in :func:`replacing`.
    """
    with replacing(path, mode) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        write_rows(stream, table, harmless=True)


def write_rows(stream: TextIO, table: pd.DataFrame, harmless: bool = False) -> None:
    """Write a table as CSV, empty where unknown, with 17 significant digits, from which reading gives the same numbers back.

    Parameters
    ----------
    stream : file open for text
    table : DataFrame
        Of numbers, truth values and text.
    harmless : bool
        Whether text that a spreadsheet would run gets a quote before it.
    """
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(table.columns)
    for start in range(0, len(table), ROWS_AT_ONCE):
        part = table.iloc[start : start + ROWS_AT_ONCE]
        writer.writerows(zip(*(_cells(column, harmless) for _, column in part.items()), strict=True))


def _cells(column: pd.Series, harmless: bool) -> list[str]:
    """Return the cells of a column as text."""
    import pandas as pd

    from alliance.issues import RUN_BY_SPREADSHEETS, safe_cell

    values, known = column.tolist(), column.notna().tolist()
    if column.dtype.kind in "fO" and not isinstance(column.dtype, pd.StringDtype):
        cells = [format(value, ".17g") if isinstance(value, float) else str(value) for value in values]
    else:
        cells = values if isinstance(column.dtype, pd.StringDtype) else list(map(str, values))
    if not all(known):
        cells = [cell if there else "" for cell, there in zip(cells, known, strict=True)]
    if not harmless or column.dtype.kind != "O":
        return cells
    return [str(safe_cell(cell)) if cell[:1] in RUN_BY_SPREADSHEETS else cell for cell in cells]


def csv_text(table: pd.DataFrame) -> str:
    """Return a table as CSV for people, as :func:`write_csv` does, each number with the fewest digits that tell it from all others."""
    return _harmless(table).to_csv(None, index=False, lineterminator="\n")


def _harmless(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose text no spreadsheet would run."""
    from alliance.issues import safe_cell

    table = table.copy()
    for name in table.columns:
        if table[name].dtype == object or str(table[name].dtype).startswith("str"):
            table[name] = table[name].map(safe_cell, na_action="ignore")
    return table


def remove_partial_files(folder: Path) -> int:
    """Delete what an interrupted run left half-written below a folder; return how many files."""
    removed = 0
    for path in Path(folder).rglob(TEMPORARY_PREFIX + "*"):
        if path.is_file():
            path.unlink()
            removed += 1
    return removed
