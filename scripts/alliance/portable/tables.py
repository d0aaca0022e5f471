"""Tables for other programs: columns of numbers with labels, and the codebook that tells of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

CODEBOOK = (
    *("file", "name", "label", "instrument", "scale", "rater", "window", "unit", "direction"),
    *("minimum", "maximum", "values", "n", "missing", "note"),
)


@dataclass(frozen=True)
class Column:
    """One variable of an exported table.

    Attributes
    ----------
    parts : tuple of str
        What its name is made of (:func:`alliance.portable.names.legal_names`).
    label : str
        What it is, in words.
    values : ndarray
        One number a row, NaN where not known; or text.
    codes : mapping of int to str
        What the numbers stand for, where they are codes.
    instrument, scale, rater, window, unit, direction, note : str
        For the codebook; empty where they do not apply.
    limits : tuple of float, optional
        Lowest and highest possible value, where known.
    whole : bool
        Whether all values are whole numbers by their nature.
    """

    parts: tuple[str, ...]
    label: str
    values: np.ndarray
    codes: Mapping[int, str] = field(default_factory=dict)
    instrument: str = ""
    scale: str = ""
    rater: str = ""
    window: str = ""
    unit: str = ""
    direction: str = ""
    note: str = ""
    limits: tuple[float, float] | None = None
    whole: bool = False


@dataclass(frozen=True)
class PortableTable:
    """A table for other programs.

    Attributes
    ----------
    name : str
        Name of its file without ending.
    label : str
        What a row is.
    columns : dict of str to Column
        By legal name, in order.
    """

    name: str
    label: str
    columns: dict[str, Column]

    @property
    def frame(self) -> pd.DataFrame:
        """The values, one column a variable."""
        return pd.DataFrame({name: column.values for name, column in self.columns.items()})


def codebook(tables: Sequence[PortableTable]) -> pd.DataFrame:
    """Return one row a variable of some tables: what it is, its possible range, and how many rows have no value."""
    rows = []
    for table in tables:
        for name, column in table.columns.items():
            missing = int(pd.isna(column.values).sum())
            low, high = column.limits or (None, None)
            rows.append(
                {
                    "file": table.name,
                    "name": name,
                    "label": column.label,
                    "instrument": column.instrument,
                    "scale": column.scale,
                    "rater": column.rater,
                    "window": column.window,
                    "unit": column.unit,
                    "direction": column.direction,
                    "minimum": low,
                    "maximum": high,
                    "values": "; ".join(f"{code} = {word}" for code, word in column.codes.items()),
                    "n": len(column.values) - missing,
                    "missing": missing,
                    "note": column.note,
                }
            )
    return pd.DataFrame(rows, columns=list(CODEBOOK)).astype({"minimum": "float64", "maximum": "float64"})
