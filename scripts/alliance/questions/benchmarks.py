"""Published figures of the review beside the rows of result tables they speak to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.contract import as_text, finish
from alliance.questions.contract import table as table_schema

UNITS = ("r", "r_squared", "share", "sd", "session")
_KEYS = {"question", "table", "where", "value", "unit", "lines", "citation", "note"}
_OPTIONAL = {"shown", "words"}


class BenchmarkError(ValueError):
    """The file of published figures is not as described; the message lists every fault."""


@dataclass(frozen=True)
class Benchmark:
    """One published figure.

    Parameters
    ----------
    claim : str
        Claim id.
    question, table : str
        Table whose rows it stands beside.
    where : dict of str to str or list of str
        Values that the row's columns must have, or one of several.
    value : float or None
        The figure; None where the review gives words only.
    unit : str
        ``r``, ``r_squared``, ``share``, ``sd`` or ``session`` (a session's number).
    lines, citation, note : str
        Where it stands in the review, whose figure it is, and what must be known when comparing.
    shown : bool
        False: rows bear on the claim, but reports show other rows beside what the review says.
    words : str
        What the review says in place of a figure, such as "small"; empty where it is not one word.
    """

    claim: str
    question: str
    table: str
    where: dict[str, str | list[str]] = field(default_factory=dict)
    value: float | None = None
    unit: str = "r"
    lines: str = ""
    citation: str = ""
    note: str = ""
    shown: bool = True
    words: str = ""

    def rows(self, frame: pd.DataFrame) -> pd.Series:
        """Return which rows of its table it speaks to."""
        chosen = pd.Series(True, index=frame.index)
        for column, value in self.where.items():
            wanted = [str(one) for one in (value if isinstance(value, list) else [value])]
            chosen &= as_text(frame[column]).isin(wanted)
        return chosen


def read(path: Path) -> list[Benchmark]:
    """Read ``workflow/benchmarks.yaml``: claim id to a list of figures.

    Raises
    ------
    BenchmarkError
        With every fault: unknown keys, tables, columns or units, values that are no numbers.
    """
    from alliance.configuration.strict_yaml import load_file

    content, _ = load_file(Path(path))
    found, faults = [], []
    for claim, entries in content.items():
        for number, entry in enumerate(entries, start=1):
            place = f"{claim}, figure {number}"
            problems = _faults(entry)
            faults += [f"{place}: {problem}" for problem in problems]
            if not problems:
                value = None if entry["value"] is None else float(entry["value"])
                found.append(Benchmark(claim=claim, **{**entry, "value": value}))
    if faults:
        raise BenchmarkError("; ".join(faults))
    return found


def _faults(entry: dict[str, Any]) -> list[str]:
    unknown, missing = sorted(set(entry) - _KEYS - _OPTIONAL), sorted(_KEYS - set(entry))
    if unknown or missing:
        return [f"unknown keys {unknown}, missing keys {missing}"]
    try:
        schema = table_schema(entry["question"], entry["table"])
    except KeyError:
        return [f"there is no table {entry['question']}/{entry['table']}"]
    faults = [f"the table has no column {name}" for name in entry["where"] if name not in schema.columns]
    if entry["unit"] not in UNITS:
        faults.append(f"unit is {entry['unit']}; allowed: {', '.join(UNITS)}")
    if not isinstance(entry.get("shown", True), bool):
        faults.append("shown is neither true nor false")
    if not isinstance(entry.get("words", ""), str) or (entry.get("words") and entry["value"] is not None):
        faults.append("words is no text, or stands beside a value")
    if entry["value"] is not None and (isinstance(entry["value"], bool) or not isinstance(entry["value"], int | float)):
        faults.append("value is not a number")
    return faults


def fill(frame: pd.DataFrame, benchmarks: list[Benchmark], question: str, name: str) -> pd.DataFrame:
    """Return a result table with ``claim``, ``published`` and ``difference``.

    A row that several figures speak to stands once for each of their claims; of figures of one claim the first counts. Differences are
    empty where the row has no estimate.

    Parameters
    ----------
    frame : DataFrame
        A result table.
    benchmarks : list of Benchmark
    question, name : str
        Which table it is.
    """
    relevant = [one for one in benchmarks if (one.question, one.table) == (question, name)]
    if not relevant or frame.empty:
        return frame
    told: dict[str, np.ndarray] = {}
    copies, claims, published = [], [], []
    for one in relevant:
        already = told.get(one.claim, np.zeros(len(frame), dtype=bool))
        chosen = one.rows(frame).to_numpy(dtype=bool) & ~already
        told[one.claim] = already | chosen
        copies.append(np.flatnonzero(chosen))
        claims += [one.claim] * len(copies[-1])
        published += [np.nan if one.value is None else float(one.value)] * len(copies[-1])
    alone = np.flatnonzero(~np.logical_or.reduce(list(told.values())))
    rows = frame.take(np.concatenate([alone, *copies])).reset_index(drop=True)
    values = np.concatenate([rows["published"].to_numpy(dtype=float)[: len(alone)], published])
    differences = np.where(rows.index < len(alone), rows["difference"], rows["estimate"] - values)
    filled = rows.assign(claim=rows["claim"].tolist()[: len(alone)] + claims, published=values, difference=differences)
    return finish(filled, question, name)
