"""Records of a delimited text: where each begins and whether its quotes and its number of fields are right.

The grammar is that of ``csv`` with ``strict=True``, and a quote inside an unquoted field is refused too, which ``csv`` lets pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

NEWLINE, QUOTE = 10, 34
_BLOCK = 1 << 18
_MANY_COLUMNS = 3


@dataclass(frozen=True)
class Extents:
    """Offsets of records in the text and the physical line each begins on; arrays of one length, without blank lines.

    ``multiline``: some record spans lines.
    """

    starts: np.ndarray
    ends: np.ndarray
    lines: np.ndarray
    blank: int
    multiline: bool


@dataclass(frozen=True)
class Record:
    """One record as the strict grammar sees it, with the number of its fields.

    ``fault`` is ``""``, ``stray`` (a quote where none may stand) or ``unclosed``; ``at`` is the offset of that quote.
    """

    start: int
    end: int
    line: int
    width: int = 0
    fault: str = ""
    at: int = -1


@cache
def _field_pattern(separator: bytes) -> re.Pattern[bytes]:
    return re.compile(rb'"[^"]*+(?:""[^"]*+)*+"|[^"\n' + re.escape(separator) + rb"]*+")


def record_at(data: bytes, start: int, line: int, separator: bytes) -> Record:
    """Read the record that begins at an offset."""
    line_end = data.find(b"\n", start)
    line_end = len(data) if line_end < 0 else line_end
    if data.find(b'"', start, line_end) < 0:
        return Record(start, line_end, line, data.count(separator, start, line_end) + 1)
    match_field = _field_pattern(separator).match
    width = 1
    position = start
    while True:
        end = match_field(data, position).end()
        following = data[end : end + 1]
        if following not in (separator, b"\n", b""):
            unclosed = end == position
            return Record(start, line_end, line, 0, "unclosed" if unclosed else "stray", position if unclosed else end)
        if following != separator:
            return Record(start, end, line, width)
        width += 1
        position = end + 1


def fields(data: bytes, record: Record, separator: bytes) -> list[str]:
    """Return the text of a record's fields; a record with a fault is split at every separator, without its quotes."""
    text = data[record.start : record.end]
    if record.fault:
        text = text.replace(b'"', b"")
    if b'"' not in text:
        return text.decode("utf-8").split(separator.decode())
    match_field = _field_pattern(separator).match
    found = []
    position = 0
    while len(found) < record.width:
        end = match_field(text, position).end()
        found.append(_unquoted(text[position:end]))
        position = end + 1
    return found


def _unquoted(field: bytes) -> str:
    if field[:1] == b'"':
        field = field[1:-1].replace(b'""', b'"')
    return field.decode("utf-8")


def records(data: bytes, start: int, line: int, separator: bytes) -> Iterator[Record]:
    """Yield record after record; after a stray quote reading goes on with the next physical line."""
    while start < len(data):
        record = record_at(data, start, line, separator)
        yield record
        line += 1 + data.count(b"\n", record.start, record.end)
        start = record.end + 1


def extents(data: bytes, start: int, line: int, separator: bytes) -> Extents | None:
    """Return the extents of all records from an offset (at the start of a line) on; ``None`` where a quote stands wrong."""
    text = np.frombuffer(data, np.uint8)
    if data.find(b'"', start) < 0:
        newlines = _concatenated([np.flatnonzero(text[a : a + _BLOCK] == NEWLINE) + a for a in range(start, len(data), _BLOCK)])
        ends = newlines
    else:
        quoted = _newlines_outside_quotes(text, start, separator[0])
        if quoted is None:
            return None
        newlines, ends = quoted
    multiline = len(newlines) > len(ends)
    if start < len(data) and data[-1] != NEWLINE:
        ends = np.append(ends, len(data))
    starts = np.concatenate([[start], ends[:-1] + 1]) if len(ends) else ends
    lines = line + (np.searchsorted(newlines, starts) if multiline else np.arange(len(starts)))
    filled = ends > starts
    return Extents(starts[filled], ends[filled], lines[filled], int((~filled).sum()), multiline)


def _newlines_outside_quotes(text: np.ndarray, start: int, separator: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return offsets of all newlines and of those that end a record; ``None`` where a quote stands wrong."""
    every, ending = [], []
    inside = False
    for a in range(start, len(text), _BLOCK):
        block = text[a : a + _BLOCK]
        quote = block == QUOTE
        newline = block == NEWLINE
        edge = quote | newline | (block == separator)
        within = _within_quotes(quote, inside)
        inside = bool(within[-1])
        before, after = np.ones((2, len(block)), dtype=bool)
        before[1:], after[:-1] = edge[:-1], edge[1:]
        before[0] = a == 0 or text[a - 1] in (separator, NEWLINE, QUOTE)
        after[-1] = a + len(block) == len(text) or text[a + len(block)] in (separator, NEWLINE, QUOTE)
        if np.any(quote & ~((within & before) | (~within & after))):
            return None
        every.append(np.flatnonzero(newline) + a)
        ending.append(np.flatnonzero(newline & ~within) + a)
    return None if inside else (_concatenated(every), _concatenated(ending))


def _within_quotes(quote: np.ndarray, inside: bool) -> np.ndarray:
    """Return for each byte whether the quotes up to and with it are odd in number: a prefix exclusive-or, 64 bytes at a time."""
    bits = np.packbits(quote, bitorder="little")
    words = np.concatenate([bits, np.zeros(-len(bits) % 8, dtype=np.uint8)]).view("<u8")
    for shift in (1, 2, 4, 8, 16, 32):
        words = words ^ (words << np.uint64(shift))
    odd = words >> np.uint64(63)
    before = np.bitwise_xor.accumulate(odd) ^ odd ^ np.uint64(inside)
    words = words ^ (np.uint64(0) - before)
    return np.unpackbits(words.view(np.uint8), count=len(quote), bitorder="little").view(bool)


def _concatenated(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def swallows_rows(data: bytes, start: int, end: int, separator: bytes, n_columns: int) -> bool:
    """Return whether every line of a record that spans lines has the separators of a whole row: a quote closed too late."""
    lines = data[start:end].split(b"\n")
    return len(lines) > 1 and n_columns >= _MANY_COLUMNS and all(line.count(separator) == n_columns - 1 for line in lines)
