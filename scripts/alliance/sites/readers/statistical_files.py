"""SPSS and Stata files, parsed in a process of their own: some damaged files crash the parser and with it the interpreter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from alliance.issues import shown
from alliance.sites.readers import headers
from alliance.sites.readers.contract import Findings, RawTable, ReadOptions
from alliance.sites.readers.statistical_child import UNREADABLE

CPU_SECONDS = 300
WALL_SECONDS = 600
MEMORY_BYTES = 6 << 30
_PROGRAM = Path(__file__).with_name("statistical_child.py")
_NAMES = {"sav": "SPSS", "dta": "Stata"}
_AGAIN = "Export the file again and check that the copy finished."


def read(path: Path, storage: str, options: ReadOptions, found: Findings) -> RawTable:
    """Read an SPSS (``sav``) or Stata (``dta``) file.

    Codes that the file declares missing stay in the cells; ``missing_reasons`` says which they are.

    Raises
    ------
    UnusableFileError
        The file is damaged, crashes the parser, or takes too much time or memory.
    """
    stream = _child_output(path, storage, options.encoding, found)
    try:
        table = pa.ipc.open_stream(stream).read_all()
    except pa.ArrowInvalid as error:
        raise found.stop("F27", f"The {_NAMES[storage]} file cannot be read.", _AGAIN) from error
    metadata = table.schema.metadata
    facts, names = json.loads(metadata[b"facts"]), json.loads(metadata[b"names"])
    if not names:
        raise found.stop("F27", f"The {_NAMES[storage]} file holds no variables.", _AGAIN)
    columns = headers.column_names(names, options, found, lambda i: str(i + 1))
    renamed = dict(zip(names, columns))
    cells = _with_decimal_mark(table.rename_columns(columns), {renamed[name] for name in facts["dated"]}, options.decimal)
    rows = np.arange(1, table.num_rows + 1)
    return RawTable(
        columns,
        cells,
        rows,
        rows_in=table.num_rows,
        labels={renamed[name]: labels for name, labels in facts["labels"].items() if name in renamed},
        missing_reasons={renamed[name]: reasons for name, reasons in facts["missing_reasons"].items()},
        date_typed={name: _filled_rows(cells, name, rows) for name in (renamed[name] for name in facts["dated"])},
    )


def _child_output(path: Path, storage: str, encoding: str, found: Findings) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise found.stop("F34", "The file is changing while it is read.", "Wait until the copy has finished, then run again.") from error
    try:
        run = subprocess.run(
            [sys.executable, "-I", str(_PROGRAM), storage, str(descriptor), str(CPU_SECONDS), str(MEMORY_BYTES), encoding],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=(descriptor,),
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            timeout=WALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise found.stop(
            "F27", f"Reading took longer than {WALL_SECONDS} seconds and was stopped.", "Export the file again, or as .csv."
        ) from error
    finally:
        os.close(descriptor)
    if run.returncode < 0:
        raise _killed(-run.returncode, found)
    if run.returncode:
        raise _refused(run, storage, f"/dev/fd/{descriptor}", found)
    return run.stdout


def _killed(number: int, found: Findings) -> Exception:
    if number in (signal.SIGXCPU, signal.SIGKILL):
        return found.stop("F27", "Reading took too much time or memory and was stopped.", "Export the file again, or as .csv.")
    return found.stop("F28", f"The reader crashed (signal {number}); the file is damaged.", _AGAIN)


def _refused(run: subprocess.CompletedProcess[bytes], storage: str, name: str, found: Findings) -> Exception:
    reason = run.stderr.decode("utf-8", "replace").replace(name, "the file").strip().splitlines()[-1:]
    if run.returncode == UNREADABLE and reason == ["memory"]:
        return found.stop("F27", "Reading took too much memory and was stopped.", "Export the file again, or as .csv.")
    what = f" ({shown(reason[0], 120)})" if reason else ""
    return found.stop("F27", f"The {_NAMES[storage]} file is truncated or damaged{what}.", _AGAIN)


def _with_decimal_mark(cells: pa.Table, dated: set[str], decimal: str) -> pa.Table:
    """Write numbers with the site's decimal mark, so that one rule holds for all its files."""
    if decimal == ".":
        return cells
    import pyarrow.compute as pc

    for i, name in enumerate(cells.column_names):
        if name not in dated:
            number = pc.match_substring_regex(cells.column(i), r"^-?[0-9]+\.[0-9]+$")
            cells = cells.set_column(i, name, pc.if_else(number, pc.replace_substring(cells.column(i), ".", decimal), cells.column(i)))
    return cells


def _filled_rows(cells: pa.Table, name: str, rows: np.ndarray) -> list[int]:
    import pyarrow.compute as pc

    return rows[pc.not_equal(cells.column(name), "").to_numpy()].tolist()
