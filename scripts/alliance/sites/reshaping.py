"""From the columns of a file to blocks of answers: which column holds what, for each session that the header names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from alliance.sites.site_file import TableSpec

REDCAP_COLUMNS = (
    "redcap_event_name",
    "redcap_repeat_instrument",
    "redcap_repeat_instance",
    "redcap_data_access_group",
    "redcap_survey_identifier",
)
QUALTRICS_COLUMNS = frozenset(
    (
        *("startdate", "enddate", "status", "progress", "duration (in seconds)", "duration", "finished", "recordeddate", "responseid"),
        *("externalreference", "externaldatareference", "distributionchannel", "userlanguage", "responseset"),
    )
)


@dataclass(frozen=True)
class Block:
    """Columns of one occasion.

    Parameters
    ----------
    session : int or None
        Session named in the header; None where the rows say it.
    columns : dict
        Our column name to theirs.
    items : dict
        Item number to column name.
    scales : dict
        Scale to column name.
    total : str or None
        Column with the site's own total.
    """

    session: int | None
    columns: dict[str, str]
    items: dict[int, str] = field(default_factory=dict)
    scales: dict[str, str] = field(default_factory=dict)
    total: str | None = None

    @property
    def answers(self) -> list[str]:
        """Return the columns that hold answers or scores."""
        return [*self.items.values(), *self.scales.values()]


@dataclass
class Resolved:
    """How a header answers a table's column map."""

    blocks: list[Block] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    surplus_items: list[int] = field(default_factory=list)
    repeated: list[tuple[str, str]] = field(default_factory=list)

    @property
    def used(self) -> set[str]:
        """Return every column that some block reads."""
        names: set[str] = set()
        for block in self.blocks:
            names.update(block.columns.values(), block.answers, [block.total] if block.total else [])
        return names


@lru_cache(maxsize=4096)
def _expression(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\{session\}|\{item\})", unicodedata.normalize("NFC", pattern))
    named = {"{session}": "(?P<session>[0-9]+)", "{item}": "(?P<item>[0-9]+)"}
    return re.compile("".join(named.get(part, re.escape(part)) for part in parts) + r"\Z")


def _matches(pattern: str, header: Iterable[str]) -> tuple[dict[tuple[int | None, int | None], str], list[tuple[str, str]]]:
    """Return column names by session and item number (None where the pattern has no such place), and columns that claim the same place."""
    expression = _expression(pattern)
    found: dict[tuple[int | None, int | None], str] = {}
    repeated = []
    for name in header:
        match = expression.match(name)
        if match:
            numbers = match.groupdict()
            place = tuple(int(numbers[part]) if numbers.get(part) else None for part in ("session", "item"))
            if place in found:
                repeated.append((found[place], name))
            else:
                found[place] = name
    return found, repeated


def fill(pattern: str, session: int | None = None, item: int | None = None) -> str:
    """Return the column name that a pattern means."""
    name = pattern if session is None else pattern.replace("{session}", str(session))
    return name if item is None else name.replace("{item}", str(item))


def resolve(spec: TableSpec, header: list[str], n_items: int | None) -> Resolved:
    """Find the columns that a table's map names in a file's header.

    Parameters
    ----------
    spec : TableSpec
        Entry of ``tables``.
    header : list of str
        Column names of the file.
    n_items : int or None
        Number of items of the instrument.

    Returns
    -------
    Resolved
        Blocks in order of session; ``missing`` names every column that the map expects in vain.
    """
    result = Resolved()
    by_response = spec.layout == "one_row_per_response"
    patterns: dict[tuple[str, object], str] = {("column", name): pattern for name, pattern in spec.columns.items()}
    if spec.is_rating and not by_response:
        if isinstance(spec.items, str):
            patterns["items", None] = spec.items
        for item, pattern in (spec.items or {}).items() if isinstance(spec.items, dict) else ():
            patterns["item", int(item)] = pattern
        for scale, pattern in (spec.scales or {}).items():
            patterns["scale", scale] = pattern
        if spec.total:
            patterns["total", None] = spec.total
    found = {}
    for key, pattern in patterns.items():
        found[key], repeated = _matches(pattern, header)
        result.repeated += repeated
    answers = [key for key, pattern in patterns.items() if key[0] != "column" and "{session}" in pattern]
    sessions = sorted({session for key in answers or found for session, _ in found[key] if session is not None})
    if any("{session}" in pattern for pattern in patterns.values()) and not sessions:
        result.missing += [fill(pattern, 1, 1) for pattern in patterns.values() if "{session}" in pattern]
        sessions = []
    for session in sessions or [None]:
        result.blocks.append(_block(session, patterns, found, n_items, result))
    if ("items", None) in found and n_items:
        result.surplus_items = sorted({item for _, item in found["items", None] if item is not None and not 1 <= item <= n_items})
    result.missing = list(dict.fromkeys(result.missing))
    return result


def _block(session: int | None, patterns: dict, found: dict, n_items: int | None, result: Resolved) -> Block:
    columns: dict[str, str] = {}
    items: dict[int, str] = {}
    scales: dict[str, str] = {}
    total = None
    for (kind, name), pattern in patterns.items():
        at = session if "{session}" in pattern else None
        if "{session}" in pattern and session is None:
            continue
        for item in range(1, (n_items or 0) + 1) if kind == "items" else (None,):
            column = found[kind, name].get((at, item))
            if column is None:
                result.missing.append(fill(pattern, at, item))
            elif kind == "column":
                columns[name] = column
            elif kind == "items":
                items[item] = column
            elif kind == "item":
                items[name] = column
            elif kind == "scale":
                scales[name] = column
            else:
                total = column
    return Block(session, columns, dict(sorted(items.items())), scales, total)


def expected_columns(spec: TableSpec, n_items: int | None) -> list[str]:
    """Return the column names that a file of this table must hold, as far as they are known before it is read."""
    names = [pattern for pattern in spec.columns.values() if "{" not in pattern]
    if spec.layout != "one_row_per_response":
        patterns = [spec.items] if isinstance(spec.items, str) else list((spec.items or {}).values())
        patterns += list((spec.scales or {}).values()) + ([spec.total] if spec.total else [])
        for pattern in patterns:
            if "{session}" not in pattern:
                names += [fill(pattern, item=item) for item in range(1, (n_items or 0) + 1)] if "{item}" in pattern else [pattern]
    return list(dict.fromkeys(names))


def by_format(spec: TableSpec, header: list[str], survey: bool = False) -> set[str]:
    """Return columns that belong to the export's format and are known without a map; ``survey``: it was recognised as Qualtrics."""
    if survey or spec.format == "qualtrics":
        return {name for name in header if name.casefold() in QUALTRICS_COLUMNS or name.startswith("Q_")}
    if spec.format != "redcap":
        return set()
    return {name for name in header if name in REDCAP_COLUMNS or name.endswith("_complete") or name.endswith("_timestamp")}
