"""CSV and TSV: structure first, then every cell as text.

A file whose quotes are right and whose rows have the header's number of fields is handed to Arrow whole; any other is sieved record by
record, and what passes goes the same way.
"""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from alliance.issues import shown
from alliance.sites.readers import headers, text_encoding
from alliance.sites.readers import records as grammar
from alliance.sites.readers.contract import MAX_CELL_CHARACTERS, MAX_COLUMNS, Findings, QuarantinedRow, RawTable, ReadOptions, text_table

_SEPARATORS = (",", ";", "\t", "|")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_HEADER_BYTES = 1 << 20
_ROWS_TRIED = 20
_BLOCK_BYTES = 1 << 22


def read(data: bytes, ending: str, options: ReadOptions, found: Findings) -> RawTable:
    """Read delimited text.

    Parameters
    ----------
    data : bytes
        The whole file.
    ending : str
        The file's ending in lower case; ``.tsv`` and ``.tab`` are separated by tabs.
    options : ReadOptions
        How to read it.
    found : Findings
        Receives every fault.

    Raises
    ------
    UnusableFileError
        No table can be made of the file.
    """
    data = text_encoding.as_utf8(data, options.encoding, found)
    start = _header_offset(data, options.header_row, found)
    separator = _separator(data, start, ending, options, found)
    header = grammar.record_at(data[: start + _HEADER_BYTES], start, options.header_row, separator)
    if header.fault:
        raise _header_fault(header, found)
    if header.end - start >= _HEADER_BYTES:
        raise found.stop(
            "F16", f"The header line is longer than {_HEADER_BYTES} bytes.", f"Send at most {MAX_COLUMNS} columns with short names."
        )
    names = grammar.fields(data, header, separator)
    columns = headers.column_names(names, options, found, lambda i: str(i + 1))
    first_line = options.header_row + 1 + data.count(b"\n", start, header.end)
    table = _body(data, min(header.end + 1, len(data)), first_line, separator, columns, found)
    _refuse_long_cells(table, found)
    return table


def _header_offset(data: bytes, header_row: int, found: Findings) -> int:
    offset = 0
    for _ in range(header_row - 1):
        offset = data.find(b"\n", offset) + 1
        if not offset:
            raise found.stop(
                "H05",
                f"The file ends before row {header_row}, where header_row: looks for the header.",
                "Correct header_row: in site.yaml.",
            )
    return offset


def _first_rows(data: bytes, start: int, header_row: int, separator: bytes) -> list[tuple[int, list[str]]]:
    """Return physical line and cells of the first rows."""
    part = data[start : start + _HEADER_BYTES]
    part = part[: len(part.decode("utf-8", "ignore").encode("utf-8"))]
    rows = []
    for record in itertools.islice(grammar.records(part, 0, header_row, separator), _ROWS_TRIED):
        rows.append((record.line, grammar.fields(part, record, separator)[: MAX_COLUMNS + 1]))
    return rows or [(header_row, [""])]


def _separator(data: bytes, start: int, ending: str, options: ReadOptions, found: Findings) -> bytes:
    """Return the separator: as declared, as usual for the ending, or the one that yields the expected columns."""
    declared = "\t" if options.separator == "tab" else options.separator
    if declared and (len(declared) != 1 or not declared.isascii() or declared in '"\r\n'):
        raise found.stop(
            "F09", f"The separator {shown(declared)} in site.yaml is not one plain character.", 'Set separator: to "," ";" or "\\t".'
        )
    usual = declared or ("\t" if ending in (".tsv", ".tab") else ",")
    rows = {mark: _first_rows(data, start, options.header_row, mark.encode()) for mark in dict.fromkeys((usual, *_SEPARATORS))}
    if headers.matches(rows[usual][0][1], options.expected_columns):
        return usual.encode()
    others = [mark for mark in _SEPARATORS if mark != usual]
    best = max(others, key=lambda mark: headers.matches(rows[mark][0][1], options.expected_columns))
    if headers.matches(rows[best][0][1], options.expected_columns) and len(rows[best][0][1]) > 1:
        if declared:
            raise found.stop(
                "F09", f"Columns are separated by {_NAMES[best]}; site.yaml says {shown(declared)}.", "Correct separator: in site.yaml."
            )
        found.warn("F09", f"Columns are separated by {_NAMES[best]}; the file was read so.", f"Set separator: {best!r} in site.yaml.")
        return best.encode()
    _refuse_title_rows(rows, usual, options, found)
    _refuse_single_column(rows, usual, others, options, found)
    return usual.encode()


def _refuse_title_rows(rows: dict[str, list], usual: str, options: ReadOptions, found: Findings) -> None:
    tried = rows if options.expected_columns else {usual: rows[usual]}
    for mark, lines in tried.items():
        index = headers.row_with_header([cells for _, cells in lines], options.expected_columns)
        blank = not any(cell.strip() for cell in rows[mark][0][1]) and len(lines) > 1
        if index is None and blank:
            index = next((i for i, (_, cells) in enumerate(lines) if any(cell.strip() for cell in cells)), None)
        if index:
            raise found.stop(
                "H05",
                f"The header seems to stand in row {lines[index][0]}, below other text or blank lines.",
                f"Set header_row: {lines[index][0]} in site.yaml, or delete the rows above.",
                row=lines[0][0],
            )


def _refuse_single_column(rows: dict[str, list], usual: str, others: list[str], options: ReadOptions, found: Findings) -> None:
    if len(rows[usual][0][1]) > 1:
        return
    likely = [mark for mark in others if len(rows[mark][0][1]) > 1]
    if likely or len(set(options.expected_columns)) > 1:
        hint = f" {_NAMES[likely[0]].capitalize()}s stand in the header." if likely else ""
        raise found.stop("F09", f"1 column found, separator?{hint}", "Set separator: in site.yaml, or export with commas.")


def _header_fault(header: grammar.Record, found: Findings) -> Exception:
    if header.fault == "unclosed":
        return found.stop("F12", "A quote opens in the header and is never closed.", "Close it, or export the file again.", row=header.line)
    return found.stop("F13", "A quote stands inside a column name.", "Rename the column without quotes.", row=header.line)


def _body(data: bytes, start: int, line: int, separator: bytes, columns: list[str], found: Findings) -> RawTable:
    extents = grammar.extents(data, start, line, separator)
    if extents is not None and not _swallowing(data, extents, separator, len(columns)):
        try:
            cells = _arrow(data, start, separator, columns, extents)
        except pa.ArrowInvalid:
            cells = None
        if cells is not None and cells.num_rows == len(extents.lines):
            return RawTable(columns, cells, extents.lines, rows_in=len(extents.lines) + extents.blank, rows_blank=extents.blank)
    return _sieved(data, start, line, separator, columns, found)


def _swallowing(data: bytes, extents: grammar.Extents, separator: bytes, n_columns: int) -> bool:
    """Return whether some quoted cell seems to have swallowed whole rows."""
    if not extents.multiline:
        return False
    spanning = np.flatnonzero(np.diff(extents.lines) > 1).tolist()
    if len(extents.lines):
        spanning.append(len(extents.lines) - 1)
    return any(grammar.swallows_rows(data, int(extents.starts[i]), int(extents.ends[i]), separator, n_columns) for i in spanning)


def _arrow(data: bytes, start: int, separator: bytes, columns: list[str], extents: grammar.Extents) -> pa.Table:
    if not len(extents.lines):
        return text_table(columns, [[] for _ in columns])
    longest = int((extents.ends - extents.starts).max())
    return pyarrow.csv.read_csv(
        pa.BufferReader(pa.py_buffer(data).slice(start)),
        read_options=pyarrow.csv.ReadOptions(column_names=columns, block_size=max(_BLOCK_BYTES, 2 * longest)),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=separator.decode(), quote_char='"' if data.find(b'"', start) >= 0 else False, newlines_in_values=extents.multiline
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()), check_utf8=False, strings_can_be_null=False, quoted_strings_can_be_null=False
        ),
    )


def _sieved(data: bytes, start: int, line: int, separator: bytes, columns: list[str], found: Findings) -> RawTable:
    """Quarantine records with wrong quotes or a wrong number of fields and read the others."""
    kept: list[bytes] = []
    lines: list[int] = []
    refused: list[tuple[grammar.Record, str]] = []
    widths: Counter[int] = Counter()
    blank = 0
    edges = separator + b" \t"
    for record in grammar.records(data, start, line, separator):
        if record.fault == "unclosed":
            opened = record.line + data.count(b"\n", record.start, record.at)
            raise found.stop(
                "F12", "A quote opens in this line and is never closed.", "Close the quote, or export the file again.", row=opened
            )
        text = data[record.start : record.end]
        if not text.strip(edges):
            blank += 1
            continue
        code = _refusal(record, data, separator, len(columns))
        if code:
            refused.append((record, code))
            widths[record.width] += 1
        else:
            kept.append(text)
            lines.append(record.line)
    if refused and not kept and len(widths) == 1 and next(iter(widths)) > len(columns):
        raise _all_rows_longer(next(iter(widths)), len(columns), len(refused), found)
    quarantined = [_quarantine(record, code, data, len(columns), found) for record, code in refused]
    body = b"\n".join(kept)
    cells = _arrow(body, 0, separator, columns, grammar.extents(body, 0, 1, separator))
    rows_in = len(lines) + len(quarantined) + blank
    return RawTable(columns, cells, np.array(lines, dtype=np.int64), quarantined, rows_in=rows_in, rows_blank=blank)


def _refusal(record: grammar.Record, data: bytes, separator: bytes, n_columns: int) -> str:
    """Return the code of the rule a record breaks, or ``""``."""
    if record.fault:
        return "F13"
    if record.width > n_columns:
        return "R01"
    if record.width < n_columns:
        return "F14" if record.end == len(data) else "R02"
    if b"\n" in data[record.start : record.end] and grammar.swallows_rows(data, record.start, record.end, separator, n_columns):
        return "F12"
    return ""


def _all_rows_longer(width: int, n_columns: int, n_rows: int, found: Findings) -> Exception:
    return found.stop(
        "H17",
        f"All {n_rows} data rows have {width} fields, the header has {n_columns}: it is unclear which value belongs to which column.",
        "Add the missing column name, or remove the separator at the end of every row.",
        n_affected=n_rows,
    )


def _quarantine(record: grammar.Record, code: str, data: bytes, n_columns: int, found: Findings) -> QuarantinedRow:
    counts = f"The row has {record.width} fields, the header has {n_columns}."
    again = "Correct the row at its source and export again."
    if code == "F14":
        found.warn(
            "F14", "The file does not end in a newline and its last row is short: the copy may have stopped.", "Copy or export it again."
        )
    message, fix = {
        "F12": (
            "A quoted cell spans several lines that look like whole rows: a quote is closed too late.",
            "Close the quote in the first of them.",
        ),
        "F13": ("A quote stands inside a field.", 'Double the quote inside a quoted field ("") or remove it.'),
        "F14": ("The last row is cut off.", "Copy or export the file again."),
        "R01": (counts, f"{again} An unquoted separator inside a text is the usual cause."),
        "R02": (counts, again),
    }[code]
    found.row(code, message, fix, row=record.line)
    return QuarantinedRow(record.line, code, data[record.start : record.end].decode("utf-8"))


def _refuse_long_cells(table: RawTable, found: Findings) -> None:
    """Refuse cells that no questionnaire holds; looked for only where the table is large enough to have one."""
    for name in table.columns:
        column = table.cells.column(name)
        if column.nbytes <= MAX_CELL_CHARACTERS:
            continue
        lengths = pc.binary_length(column)
        if (pc.max(lengths).as_py() or 0) > MAX_CELL_CHARACTERS:
            row = int(table.rows[pc.index(pc.greater(lengths, MAX_CELL_CHARACTERS), True).as_py()])
            found.site(
                "F16",
                f"A cell holds more than {MAX_CELL_CHARACTERS} bytes.",
                "Check for a quote that is never closed; shorten the cell.",
                row=row,
                column=shown(name),
            )
