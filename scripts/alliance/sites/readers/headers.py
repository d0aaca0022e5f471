"""Names in a header row: normalising them, and recognising a row that is no header."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence

from alliance.issues import shown
from alliance.sites.readers.contract import MAX_COLUMNS, Findings, ReadOptions, UnusableFileError

_DATA_LIKE = re.compile(r"[-+]?\d+(?:[.,]\d+)?|\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}")
_HEADERS_LISTED = 10


def normalised(name: str) -> str:
    """Return a header name in NFC, without outer spaces or no-break spaces."""
    return unicodedata.normalize("NFC", name.replace("\u00a0", " ").replace("\u202f", " ")).strip()


def matches(names: Sequence[str], expected: Sequence[str]) -> int:
    """Return how many expected columns a row of names holds, whatever their case."""
    present = {normalised(name).casefold() for name in names}
    return sum(normalised(name).casefold() in present for name in set(expected))


def column_names(names: Sequence[str], options: ReadOptions, found: Findings, position: Callable[[int], str]) -> list[str]:
    """Return unique normalised names of a header row.

    Parameters
    ----------
    names : sequence of str
        The header's cells as they stand in the file.
    options : ReadOptions
        Expected columns settle which spelling is right where only case differs.
    found : Findings
        Receives every fault.
    position : callable
        Index of a column -> how the file's users name its position.

    Raises
    ------
    UnusableFileError
        Names are empty, equal, unsafe or look like data, or there are too many.
    """
    if len(names) > MAX_COLUMNS:
        raise found.stop(
            "F16", f"The header has {len(names)} columns; at most {MAX_COLUMNS} are read.", "Export only the columns the study needs."
        )
    if _looks_like_data(names, options):
        raise found.stop(
            "H04",
            "The first row looks like data, not like column names.",
            "Export the data with a header row, or set header_row: in site.yaml.",
        )
    columns = [normalised(name) for name in names]
    _refuse_unsafe(columns, found, position)
    _refuse_empty(columns, found, position)
    _refuse_collisions(names, columns, found, position)
    if found.fatal:
        raise UnusableFileError("header")
    columns = _expected_spelling(columns, options)
    changed = [new for old, new in zip(names, columns) if old != new]
    if changed:
        found.warn(
            "H02",
            f"Column names were read without outer spaces, in Unicode NFC or in the spelling of site.yaml: {_listed(changed)}.",
            "Nothing to do; the names are unique.",
            n_affected=len(changed),
        )
    return columns


def _looks_like_data(names: Sequence[str], options: ReadOptions) -> bool:
    filled = [name.strip() for name in names if name.strip()]
    if not filled or matches(filled, options.expected_columns):
        return False
    return 2 * sum(bool(_DATA_LIKE.fullmatch(name)) for name in filled) >= len(filled)


def _refuse_unsafe(columns: list[str], found: Findings, position: Callable[[int], str]) -> None:
    unsafe = [i for i, name in enumerate(columns) if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in name)]
    for i in unsafe:
        found.site(
            "H13",
            f"The name of column {position(i)} holds a control or direction character.",
            "Type the column name anew, on one line.",
            column=shown(columns[i]),
        )


def _refuse_empty(columns: list[str], found: Findings, position: Callable[[int], str]) -> None:
    empty = [position(i) for i, name in enumerate(columns) if not name]
    if empty:
        found.site(
            "H03",
            f"The header has no name for column {_listed(empty)}.",
            "Name the column, or delete it where it holds nothing (a separator at the end of the header makes one).",
            n_affected=len(empty),
        )


def _refuse_collisions(names: Sequence[str], columns: list[str], found: Findings, position: Callable[[int], str]) -> None:
    same = defaultdict(list)
    for i, name in enumerate(columns):
        if name:
            same[name.casefold()].append(i)
    for positions in same.values():
        if len(positions) < 2:
            continue
        places = ", ".join(position(i) for i in positions)
        if len({names[i] for i in positions}) < len(positions):
            found.site(
                "H01", f"The name stands over columns {places}.", "Give each column a name of its own.", column=shown(columns[positions[0]])
            )
        else:
            found.site(
                "H02",
                f"The names of columns {places} differ only in case, outer spaces or Unicode form.",
                "Give each column a name that differs visibly.",
                column=shown(columns[positions[0]]),
            )


def _expected_spelling(columns: list[str], options: ReadOptions) -> list[str]:
    expected = {normalised(name) for name in options.expected_columns}
    folded = defaultdict(set)
    for name in expected:
        folded[name.casefold()].add(name)
    return [
        next(iter(folded[name.casefold()])) if name not in expected and len(folded.get(name.casefold(), ())) == 1 else name
        for name in columns
    ]


def _listed(names: list[str]) -> str:
    text = ", ".join(shown(name) for name in names[:_HEADERS_LISTED])
    return text if len(names) <= _HEADERS_LISTED else f"{text} and {len(names) - _HEADERS_LISTED} more"


def row_with_header(rows: Sequence[Sequence[str]], expected: Sequence[str]) -> int | None:
    """Return the index of the row, after the first, that looks more like the header than the first does.

    With expected columns: a row that holds at least two of them (or the only one) and more than the first. Without: the first row
    that fills at least three cells and twice as many as the first row, where no row before it does.
    """
    if not rows:
        return None
    if expected:
        scores = [matches(row, expected) for row in rows]
        best = max(range(len(rows)), key=lambda i: (scores[i], -i))
        return best if best and scores[best] >= min(2, len(set(expected))) and not scores[0] else None
    filled = [sum(bool(cell.strip()) for cell in row) for row in rows]
    for i, count in enumerate(filled):
        if i and count >= 3 and count >= 2 * filled[0]:
            return i
    return None
