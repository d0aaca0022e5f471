"""Writing SPSS, Stata and CSV files that are the same bytes for the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from alliance.files import PRIVATE, replacing, write_csv
from alliance.portable.tables import PortableTable

# Bytes 92-108 of an SPSS file's header hold the day and time of writing (PSPP developer's guide, system file format).
_SAV_TIME = slice(92, 109)
_SAV_STAMP = b"03 Nov 2512:00:00"
# Stata's format 118 keeps it between these marks, after one byte that holds its length (Stata's `help dta`).
_DTA_MARK, _DTA_END = b"<timestamp>", b"</timestamp>"
_DTA_STAMP = b"03 Nov 2025 12:00"
_DTA_VERSION = 15
_LONGEST_DTA_LABEL = 80


def sav_without_time(content: bytes) -> bytes:
    """Return an SPSS file with a fixed day and time of writing in its header."""
    return content[: _SAV_TIME.start] + _SAV_STAMP + content[_SAV_TIME.stop :]


def dta_without_time(content: bytes) -> bytes:
    """Return a Stata file (format 118) with a fixed day and time of writing in its header.

    Raises
    ------
    ValueError
        Where the header holds no such time.
    """
    start = content.index(_DTA_MARK) + len(_DTA_MARK)
    end = content.index(_DTA_END, start)
    return content[:start] + bytes([len(_DTA_STAMP)]) + _DTA_STAMP + content[end:]


def write_private(path: Path, table: PortableTable) -> None:
    """Write a table to a file that only its owner can read; the ending says the format (sav, dta, csv).

    Numbers are written as they are, in double precision; what is not known is the program's system missing value (an empty cell in CSV).
    """
    if path.suffix == ".csv":
        write_csv(path, table.frame, mode=PRIVATE)
        return
    import pyreadstat

    frame = table.frame
    for name in frame:
        frame[name] = frame[name].astype(object if frame[name].dtype.kind not in "fiu" else np.float64)
    labels = {name: column.label for name, column in table.columns.items()}
    codes = {name: {float(code): word for code, word in column.codes.items()} for name, column in table.columns.items() if column.codes}
    with replacing(path, mode=PRIVATE) as temporary:
        if path.suffix == ".sav":
            pyreadstat.write_sav(
                frame,
                str(temporary),
                file_label=table.label,
                column_labels=labels,
                variable_value_labels=codes,
                variable_measure={name: _measure(frame[name], name in codes) for name in frame},
                variable_format={name: "F8.0" for name, column in table.columns.items() if column.whole},
            )
            content = sav_without_time(temporary.read_bytes())
        else:
            pyreadstat.write_dta(
                frame,
                str(temporary),
                file_label=table.label,
                column_labels={name: _shortened(label) for name, label in labels.items()},
                variable_value_labels=codes,
                version=_DTA_VERSION,
            )
            content = dta_without_time(temporary.read_bytes())
        temporary.write_bytes(content)


def _measure(values: pd.Series, coded: bool) -> str:
    return "nominal" if coded or values.dtype == object else "scale"


def _shortened(label: str) -> str:
    return label if len(label) <= _LONGEST_DTA_LABEL else label[: _LONGEST_DTA_LABEL - 3].rstrip() + "..."
