"""An .xlsx file as a ZIP archive: what must hold before any spreadsheet library opens it, and what a sheet's XML says beside values."""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree import ElementTree
from xml.parsers import expat

from alliance.sites.readers.contract import MAX_COLUMNS, Findings

MAX_UNPACKED_BYTES = 300_000_000
MAX_RATIO = 200
MAX_MEMBERS = 2_000
MAX_CELLS = 20_000_000

_SAVE = "Save it as .xlsx without password and send that."
_AGAIN = "Open the file in Excel, save it as a new .xlsx and send that."
_LETTERS = re.compile(rb"r=[\"']([A-Z]{1,3})[0-9]")
_ROW_NUMBERS = re.compile(rb"r=[\"'][A-Z]{0,3}([0-9]{1,10})[\"']")
_FILLED_CELL = re.compile(rb"<(?:\w+:)?c\s[^>]*?r=[\"']([A-Z]{0,3}[0-9]{1,10})[\"'][^>]*(?<!/)>")
_NOTABLE = (b't="e"', b"t='e'", b"<f>", b"<f ", b"<f/", b":f>", b":f ", b":f/", b"autoFilter", b"hidden=")
_LONG_VALUE = re.compile(rb">-?[0-9]{16}")
_LONG_INTEGER = re.compile(r"-?[0-9]{16,}")


@dataclass
class SheetFacts:
    """What a sheet holds beside values; cells are (row, column) from 1."""

    errors: dict[tuple[int, int], str] = field(default_factory=dict)
    unstored: list[tuple[int, int]] = field(default_factory=list)
    long_integers: dict[tuple[int, int], str] = field(default_factory=dict)
    hidden_rows: list[int] = field(default_factory=list)
    hidden_columns: list[tuple[int, int]] = field(default_factory=list)
    filtered: bool = False


def opened(data: bytes, found: Findings) -> zipfile.ZipFile:
    """Return the archive after its directory and every part have been checked.

    Raises
    ------
    UnusableFileError
        It is damaged, unpacks to too much, is of another kind, or holds a document type definition.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        members = archive.infolist()
    except Exception as error:
        raise found.stop("F20", "The workbook is damaged: its directory cannot be read.", _AGAIN) from error
    _refuse_bomb(members, len(data), found)
    _refuse_other_kinds(archive, members, found)
    for member in members:
        try:
            part = archive.read(member)
        except Exception as error:
            raise found.stop("F20", "The workbook is damaged: a part of it cannot be unpacked.", _AGAIN) from error
        if part.lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n").startswith(b"<"):
            text = part.replace(b"\x00", b"") if b"\x00" in part[:64] else part
            _refuse_definitions(text, found)
            _refuse_vast_sheet(text, found)
    return archive


def _refuse_bomb(members: list[zipfile.ZipInfo], size: int, found: Findings) -> None:
    unpacked = sum(member.file_size for member in members)
    if unpacked > MAX_UNPACKED_BYTES or unpacked > MAX_RATIO * size or len(members) > MAX_MEMBERS:
        raise found.stop(
            "F17",
            f"The workbook unpacks to {unpacked / 1e6:.0f} MB in {len(members)} parts, from {size / 1e6:.1f} MB; that is not read.",
            "Save only the data sheet, as .csv or as a new .xlsx.",
        )


def _refuse_other_kinds(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], found: Findings) -> None:
    names = [member.filename for member in members]
    if any(member.flag_bits & 1 for member in members):
        raise found.stop("F18", "The archive is protected with a password.", _SAVE)
    if "xl/workbook.bin" in names:
        raise found.stop("F18", "The file is a binary Excel workbook (.xlsb).", _SAVE)
    if "mimetype" in names:
        raise found.stop("F18", "The file is an OpenDocument file, not an Excel workbook.", _SAVE)
    if "xl/workbook.xml" not in names or "[Content_Types].xml" not in names:
        raise found.stop("F11", "The file is a ZIP archive, but not an Excel workbook.", "Unpack it and send the data file itself.")
    if len(set(names)) < len(names):
        raise found.stop("F20", "The workbook is damaged: a part stands in it twice.", _AGAIN)
    try:
        macros = b"macroEnabled" in archive.read("[Content_Types].xml")
    except Exception as error:
        raise found.stop("F20", "The workbook is damaged: its list of parts cannot be unpacked.", _AGAIN) from error
    if macros or "xl/vbaProject.bin" in names:
        raise found.stop("F18", "The file is an Excel workbook with macros (.xlsm).", _SAVE)


def _refuse_definitions(part: bytes, found: Findings) -> None:
    if b"<!DOCTYPE" in part or b"<!ENTITY" in part:
        raise found.stop("F19", "The workbook holds a document type definition, which Excel never writes.", _AGAIN)


def _refuse_vast_sheet(part: bytes, found: Findings) -> None:
    rows, columns = _extent(part)
    if columns > MAX_COLUMNS or rows * columns > MAX_CELLS:
        filled = b" ".join(b"r='%s'" % reference for reference in _FILLED_CELL.findall(part))
        rows, columns = _extent(filled)
    if columns > MAX_COLUMNS:
        raise found.stop(
            "F16", f"A sheet has {columns} columns; at most {MAX_COLUMNS} are read.", "Delete cells far to the right of the data."
        )
    if rows * columns > MAX_CELLS:
        raise found.stop("F16", f"A sheet spans {rows} rows and {columns} columns, too many to read.", "Delete cells far below the data.")


def _extent(part: bytes) -> tuple[int, int]:
    rows = max(map(int, set(_ROW_NUMBERS.findall(part))), default=0)
    return rows, max((column_number(name.decode()) for name in set(_LETTERS.findall(part))), default=0)


def column_number(letters: str) -> int:
    """Return the number (from 1) of a spreadsheet column; 0 for no letters."""
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - 64
    return number


def column_letters(number: int) -> str:
    """Return the letters of a spreadsheet column (from 1)."""
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def sheet_part(archive: zipfile.ZipFile, sheet: str) -> bytes | None:
    """Return the XML of a worksheet by its name, or ``None`` where the workbook does not say where it is."""
    try:
        targets = {item.get("Id"): item.get("Target", "") for item in _elements(archive.read("xl/_rels/workbook.xml.rels"), "Relationship")}
        for item in _elements(archive.read("xl/workbook.xml"), "sheet"):
            if item.get("name") == sheet:
                key = next((value for name, value in item.attrib.items() if name.endswith("}id")), "")
                target = targets[key]
                return archive.read(target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join("xl", target)))
    except (KeyError, ElementTree.ParseError):
        pass
    return None


def _elements(xml: bytes, name: str) -> Iterator[ElementTree.Element]:
    return (item for item in ElementTree.fromstring(xml).iter() if item.tag.rsplit("}", 1)[-1] == name)


def facts(xml: bytes) -> SheetFacts:
    """Return what a sheet's XML says beside values.

    Raises
    ------
    xml.parsers.expat.ExpatError
        The XML is not well formed.
    """
    reader = _FactsReader()
    if any(piece in xml for piece in _NOTABLE) or _LONG_VALUE.search(xml):
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = reader.start
        parser.EndElementHandler = reader.end
        parser.CharacterDataHandler = reader.text
        parser.Parse(xml, True)
    return reader.facts


class _FactsReader:
    """Follows the elements of a sheet; cells without a reference stand one after the other."""

    def __init__(self) -> None:
        self.facts = SheetFacts()
        self._row = self._column = 0
        self._type = ""
        self._formula = self._in_value = False
        self._value = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rsplit(":", 1)[-1]
        if name == "c":
            self._start_cell(attributes)
        elif name == "v":
            self._in_value = True
        elif name == "f":
            self._formula = True
        elif name == "row":
            self._row = int(attributes.get("r") or self._row + 1)
            self._column = 0
            if attributes.get("hidden") in ("1", "true"):
                self.facts.hidden_rows.append(self._row)
        elif name == "col" and attributes.get("hidden") in ("1", "true"):
            self.facts.hidden_columns.append((int(attributes["min"]), int(attributes["max"])))
        elif name == "autoFilter":
            self.facts.filtered = True

    def _start_cell(self, attributes: dict[str, str]) -> None:
        reference = attributes.get("r")
        self._column = column_number(reference.rstrip("0123456789")) if reference else self._column + 1
        self._type = attributes.get("t", "")
        self._formula = self._in_value = False
        self._value = ""

    def text(self, text: str) -> None:
        if self._in_value:
            self._value += text

    def end(self, name: str) -> None:
        name = name.rsplit(":", 1)[-1]
        if name == "v":
            self._in_value = False
        elif name == "c":
            self._end_cell()

    def _end_cell(self) -> None:
        place = (self._row, self._column)
        if self._type == "e":
            self.facts.errors[place] = self._value
        elif self._formula and not self._value and self._type != "str":
            self.facts.unstored.append(place)
        elif self._type in ("", "n") and _LONG_INTEGER.fullmatch(self._value):
            self.facts.long_integers[place] = self._value
