"""All tables of a scenario as one Excel workbook: the same bytes for the same tables, and no cell that a spreadsheet would run.

SpreadsheetML is written here and not by openpyxl, which takes five times as long for two million cells and stamps the time of day.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np
import pandas as pd

from alliance.questions import contract

MAX_ROWS = 1_048_576
MAX_NAME = 31
MAX_TEXT = 32_767
AT_ONCE = 20_000
STAMP = (1980, 1, 1, 0, 0, 0)
CONTENTS = "Contents"
_FORBIDDEN = re.compile(r"[\[\]:*?/\\']")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_RUN = frozenset("=+-@\t\r")
_PLAIN, _BOLD, _QUOTED = 0, 1, 2
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'


@dataclass(frozen=True)
class Sheet:
    """A sheet: its name, the table it holds and what that is."""

    name: str
    question: str
    table: str
    frame: pd.DataFrame


def build(tables: Mapping[str, Mapping[str, pd.DataFrame]], facts: Sequence[tuple[str, str]]) -> bytes:
    """Return a workbook of tables.

    Parameters
    ----------
    tables : mapping
        Result tables by question and name, typed as :func:`alliance.reports.inputs.read_tables` does.
    facts : sequence of (str, str)
        What stands at the top of the first sheet: study, scenario, versions.

    Returns
    -------
    bytes
        A first sheet that explains sheets and columns, then one sheet a table (several where a table has more rows than a sheet can hold).
        Numbers have 17 digits, unknown ones are empty cells, text is text whatever it begins with.
    """
    return _zipped(_parts(sheets(tables), facts))


def _parts(found: Sequence[Sheet], facts: Sequence[tuple[str, str]]) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the parts of the workbook, each in pieces; texts are known once all sheets are written."""
    texts: dict[str, int] = {}
    yield from _package([CONTENTS, *(sheet.name for sheet in found)]).items()
    first = (_row(cells, texts) for cells in _contents(found, facts))
    yield "xl/worksheets/sheet1.xml", _sheet(first, columns=(24, 26, 26, 60, 10))
    for number, sheet in enumerate(found, start=2):
        yield f"xl/worksheets/sheet{number}.xml", _sheet(_rows(sheet.frame, texts), frozen=True)
    yield "xl/sharedStrings.xml", _shared(texts)


def facts(options: Mapping[str, object], scenario: str, provenance: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return what the first sheet says of the study: title, scenario, whether data are simulated, versions and digests."""
    study = options["study"]
    assert isinstance(study, Mapping)
    simulated = [("Simulated data", "No real client, therapist or clinic stands behind any number in this workbook.")]
    return [
        ("Study", str(study["title"])),
        *(simulated if study["simulated"] else []),
        ("Scenario", scenario),
        *((label, str(provenance[key])) for key, label in _PROVENANCE.items()),
    ]


_PROVENANCE = {"version": "alliance-pipeline", "data_digest": "Data", "config_digest": "Configuration", "code_digest": "Code"}


def sheets(tables: Mapping[str, Mapping[str, pd.DataFrame]]) -> list[Sheet]:
    """Return the sheets of all tables: names unique in any case, of at most 31 characters, where need be cut in the question's name."""
    made: list[Sheet] = []
    taken = {CONTENTS.lower()}
    for question, name in [(question, name) for question, named in tables.items() for name in named]:
        frame = tables[question][name]
        for begin in range(0, max(len(frame), 1), MAX_ROWS - 1):
            title = _name(question, name, taken)
            taken.add(title.lower())
            made.append(Sheet(title, question, name, frame.iloc[begin : begin + MAX_ROWS - 1]))
    return made


def _name(question: str, table: str, taken: set[str]) -> str:
    question, table = (_FORBIDDEN.sub("_", part) for part in (question, table))
    for number in range(1, MAX_ROWS):
        suffix = "" if number == 1 else f" {number}"
        room = MAX_NAME - len(suffix)
        whole = f"{question} {table}"
        name = whole if len(whole) <= room else f"{question[: max(room - len(table) - 2, 1)]}… {table}"[:room]
        if f"{name}{suffix}".lower() not in taken:
            return f"{name}{suffix}"
    raise ValueError(f"no name is left for the sheet of {question}/{table}")


def _contents(found: Sequence[Sheet], facts: Sequence[tuple[str, str]]) -> Iterator[list[tuple[object, int]]]:
    """Yield the rows of the first sheet, cells with their style."""
    for name, value in facts:
        yield [(name, _BOLD), (value, _PLAIN)]
    yield []
    yield [("Numbers have full precision. A cell is empty where a number is unknown, withheld or not estimable; reason says why.", _PLAIN)]
    yield [(f"Rows with site {contract.POOLED} hold the results over sites.", _PLAIN)]
    yield []
    yield [(head, _BOLD) for head in ("Sheet", "Question", "Table", "What it holds", "Rows")]
    for sheet in found:
        schema = _schema(sheet)
        held = schema.description if schema else ""
        yield [(value, _PLAIN) for value in (sheet.name, sheet.question, sheet.table, held, len(sheet.frame))]
    yield []
    yield [(head, _BOLD) for head in ("Column", "Question", "Table", "What it means")]
    for tables, meanings in (("all", contract.COLUMN_MEANINGS), ("those that pool sites", contract.HETEROGENEITY_MEANINGS)):
        for column, meaning in meanings.items():
            yield [(value, _PLAIN) for value in (column, "all", tables, meaning)]
    for sheet in {(sheet.question, sheet.table): sheet for sheet in found}.values():
        schema = _schema(sheet)
        for column, meaning in (schema.keys if schema else {}).items():
            yield [(value, _PLAIN) for value in (column, sheet.question, sheet.table, meaning)]
    for heading, meanings in (("estimate_type", contract.ESTIMATE_TYPES), ("method", contract.METHODS)):
        yield []
        yield [(f"Values of {heading}", _BOLD), ("", _PLAIN), ("", _PLAIN), ("What it means", _BOLD)]
        for value, meaning in meanings.items():
            yield [(value, _PLAIN), ("", _PLAIN), ("", _PLAIN), (meaning, _PLAIN)]


def _schema(sheet: Sheet) -> contract.Table | None:
    try:
        return contract.table(sheet.question, sheet.table)
    except KeyError:
        return None


def _sheet(rows: Iterable[str], columns: Sequence[int] = (), frozen: bool = False) -> Iterator[str]:
    """Yield a sheet as XML: the width of its columns, whether its first row stays in view, and its rows."""
    view = '<sheetView workbookViewId="0"><pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView>'
    widths = "".join(f'<col min="{at}" max="{at}" width="{width}" customWidth="1"/>' for at, width in enumerate(columns, start=1))
    yield f'{_HEAD}<worksheet xmlns="{_MAIN}">'
    yield f"<sheetViews>{view}</sheetViews>" if frozen else ""
    yield f"<cols>{widths}</cols>" if widths else ""
    yield "<sheetData>"
    yield from rows
    yield "</sheetData></worksheet>"


def _row(cells: Sequence[tuple[object, int]], texts: dict[str, int]) -> str:
    made = [f"<c><v>{value}</v></c>" if isinstance(value, int) else _text(str(value), texts, style) for value, style in cells]
    return f"<row>{''.join(made)}</row>"


def _rows(frame: pd.DataFrame, texts: dict[str, int]) -> Iterator[str]:
    """Yield head and rows of a table as XML, made column by column, some rows at a time."""
    yield _row([(str(name), _BOLD) for name in frame.columns], texts)
    for begin in range(0, len(frame), AT_ONCE):
        some = frame.iloc[begin : begin + AT_ONCE]
        columns = [_cells(some.iloc[:, place], texts) for place in range(some.shape[1])]
        yield "".join(f"<row>{''.join(cells)}</row>" for cells in zip(*columns, strict=True))


def _cells(column: pd.Series, texts: dict[str, int]) -> list[str]:
    if pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(dtype="float64", na_value=np.nan)
        return [f"<c><v>{_number(value)}</v></c>" if known else "<c/>" for value, known in zip(values.tolist(), np.isfinite(values))]
    known_texts: dict[object, str] = {}
    made = []
    for value in column.tolist():
        if value not in known_texts:
            known_texts[value] = "<c/>" if value is None or value != value or value == "" else _text(str(value), texts)
        made.append(known_texts[value])
    return made


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _text(text: str, texts: dict[str, int], style: int = _PLAIN) -> str:
    if not text:
        return "<c/>"
    style = _QUOTED if style == _PLAIN and text[:1] in _RUN else style
    place = texts.setdefault(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)[:MAX_TEXT], len(texts))
    return f'<c t="s"{f" s={chr(34)}{style}{chr(34)}" if style else ""}><v>{place}</v></c>'


def _shared(texts: Mapping[str, int]) -> Iterator[str]:
    yield f'{_HEAD}<sst xmlns="{_MAIN}" uniqueCount="{len(texts)}">'
    yield from (f'<si><t xml:space="preserve">{escape(text)}</t></si>' for text in texts)
    yield "</sst>"


def _package(names: Sequence[str]) -> dict[str, Iterable[str]]:
    """Return the parts that hold the sheets together."""
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    numbers = range(1, len(names) + 1)
    types = "".join(f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{kind}.worksheet+xml"/>' for n in numbers)
    quoted = [escape(name, {'"': "&quot;"}) for name in names]
    listed = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}"/>' for n, name in zip(numbers, quoted, strict=True))
    linked = "".join(f'<Relationship Id="rId{n}" Type="{_RELATIONS}/worksheet" Target="worksheets/sheet{n}.xml"/>' for n in numbers)
    more = "".join(
        f'<Relationship Id="rId{len(names) + n}" Type="{_RELATIONS}/{part}" Target="{part}.xml"/>'
        for n, part in enumerate(("styles", "sharedStrings"), start=1)
    )
    parts = {
        "[Content_Types].xml": f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>{types}'
        f'<Override PartName="/xl/styles.xml" ContentType="{kind}.styles+xml"/>'
        f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kind}.sharedStrings+xml"/></Types>',
        "_rels/.rels": f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="rId1" Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'{_HEAD}<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">{linked}{more}</Relationships>',
        "xl/styles.xml": f'{_HEAD}<styleSheet xmlns="{_MAIN}">'
        '<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font><font><b/><sz val="11"/><name val="Calibri"/></font></fonts>'
        '<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills>'
        '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
        '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
        '<cellXfs count="3"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
        '<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/>'
        '<xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" quotePrefix="1" applyNumberFormat="1"/></cellXfs>'
        '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>',
    }
    return {name: (text,) for name, text in parts.items()}


def _zipped(parts: Iterable[tuple[str, Iterable[str]]]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, pieces in parts:
            entry = zipfile.ZipInfo(name, STAMP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o600 << 16
            entry.create_system = 3
            with archive.open(entry, "w") as part:
                for piece in pieces:
                    part.write(piece.encode("utf-8"))
    return made.getvalue()
