"""Records of one table while it is cleaned: keys and values as equally long arrays, each with the row it came from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

NO_NUMBER = -1
NO_ANSWER = np.int8(-128)
KEYS = ("client", "therapist", "timepoint", "session", "date", "rater", "rater_no", "file", "position", "delivery")
_TYPES = {"timepoint": np.int8, "date": np.float64, "rater": np.int8, "rater_no": np.int16}


@dataclass
class Records:
    """Records of a table.

    Parameters
    ----------
    keys : dict
        Arrays of :data:`KEYS`: codes of client and therapist in the site's vocabularies (-1: none), position of timepoint and rater in
        their lists, session number (-1: none), date as days since 1970 (NaN: none), number of the file, position of the row in it
        and number of the delivery.
    values : dict
        Column name to array: int8 with :data:`NO_ANSWER`, float64 with NaN, or objects with None.
    members : tuple of ndarray or None
        Where several rows make one record: row positions, and the record each belongs to.
    """

    keys: dict[str, np.ndarray]
    values: dict[str, np.ndarray] = field(default_factory=dict)
    members: tuple[np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.keys["position"])

    def take(self, kept: np.ndarray) -> Records:
        """Return the records at the given positions, in that order."""
        members = None
        if self.members is not None:
            new = np.full(len(self), -1, dtype=np.int64)
            new[kept] = np.arange(len(kept))
            rows, record = self.members
            inside = new[record] >= 0
            members = rows[inside], new[record][inside]
        return Records(
            {name: array[kept] for name, array in self.keys.items()}, {name: array[kept] for name, array in self.values.items()}, members
        )

    def rows_of(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return file numbers and row positions of the chosen records (a boolean mask), all rows of each."""
        if self.members is None:
            return self.keys["file"][chosen], self.keys["position"][chosen]
        rows, record = self.members
        inside = chosen[record]
        return self.keys["file"][record[inside]], rows[inside]


def keys_for(n: int, **given: np.ndarray | int | float) -> dict[str, np.ndarray]:
    """Return key arrays of length ``n``; what is not given is empty."""
    keys = {}
    for name in KEYS:
        value = given.get(
            name, np.nan if name == "date" else (1 if name == "rater_no" else 0 if name in ("file", "delivery") else NO_NUMBER)
        )
        keys[name] = np.broadcast_to(np.asarray(value, dtype=_TYPES.get(name, np.int64)), n).copy() if np.ndim(value) == 0 else value
    return keys


def empty_like(array: np.ndarray, n: int) -> np.ndarray:
    """Return ``n`` missing values of the kind of an array."""
    if array.dtype == np.int8:
        return np.full(n, NO_ANSWER, dtype=np.int8)
    return np.full(n, np.nan) if array.dtype.kind == "f" else np.full(n, None, dtype=object)


def is_missing(array: np.ndarray) -> np.ndarray:
    """Return where a value array holds nothing."""
    if array.dtype == np.int8:
        return array == NO_ANSWER
    if array.dtype.kind == "f":
        return np.isnan(array)
    return np.fromiter((value is None for value in array), dtype=bool, count=len(array))


def same(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return where two value arrays agree; two missing values agree."""
    if first.dtype.kind == "f":
        return (first == second) | (np.isnan(first) & np.isnan(second))
    return np.asarray(first == second, dtype=bool)


def join(parts: list[Records]) -> Records:
    """Return the records of several parts; values that a part lacks are missing."""
    if len(parts) == 1:
        return parts[0]
    names = list(dict.fromkeys(name for part in parts for name in part.values))
    example = {name: next(part.values[name] for part in parts if name in part.values) for name in names}
    floats = {name for name in names if any(name in part.values and part.values[name].dtype.kind == "f" for part in parts)}
    values = {}
    for name in names:
        arrays = [part.values[name] if name in part.values else empty_like(example[name], len(part)) for part in parts]
        if name in floats:
            arrays = [_as_float(array) for array in arrays]
        values[name] = np.concatenate(arrays)
    members = None
    if any(part.members is not None for part in parts):
        rows, records, start = [], [], 0
        for part in parts:
            own = part.members or (part.keys["position"], np.arange(len(part)))
            rows.append(own[0])
            records.append(own[1] + start)
            start += len(part)
        members = np.concatenate(rows), np.concatenate(records)
    return Records({name: np.concatenate([part.keys[name] for part in parts]) for name in KEYS}, values, members)


def _as_float(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.int8:
        return array
    result = array.astype(np.float64)
    result[array == NO_ANSWER] = np.nan
    return result
