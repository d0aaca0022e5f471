"""Bytes of a text file in any declared encoding to UTF-8 with Unix line ends; nothing is guessed."""

from __future__ import annotations

import codecs
import re

from alliance.issues import shown
from alliance.sites.readers.contract import Findings, UnusableFileError

_CHUNK = 1 << 20
_UTF8_MARK = codecs.BOM_UTF8
_WIDE_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_TYPICAL_UTF8 = re.compile(rb"[\xc3\xc5][\x80-\xbf](?![\x80-\xbf])|\xe2\x80[\x80-\xbf]")


def as_utf8(data: bytes, encoding: str, found: Findings) -> bytes:
    """Return text as UTF-8 without byte order marks, lines ended by ``\\n``.

    Parameters
    ----------
    data : bytes
        The whole file.
    encoding : str
        Declared encoding; empty: UTF-8. A byte order mark in the file goes before it.
    found : Findings
        Receives every fault.

    Raises
    ------
    UnusableFileError
        Bytes do not belong to the encoding, the encoding is unknown, or the text holds NUL.
    """
    for mark, name in _WIDE_MARKS:
        if data.startswith(mark):
            found.warn("F04", f"The file is {name.upper()} by its byte order mark and was read as such.", "Nothing to do; UTF-8 is safer.")
            data = _recoded(data, name, found)
            break
    else:
        if data.startswith(_UTF8_MARK):
            data = data.removeprefix(_UTF8_MARK)
            encoding = ""
        if _codec(encoding, found) in ("utf-8", "ascii"):
            _refuse_invalid_utf8(data, found)
        else:
            data = _recoded(data, encoding, found)
    if data.startswith(_UTF8_MARK):
        while data.startswith(_UTF8_MARK):
            data = data.removeprefix(_UTF8_MARK)
        found.warn("F03", "The file starts with more than one byte order mark; all were left out.", "Nothing to do.")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    _refuse_nul(data, found)
    return data


def line_of(data: bytes, offset: int) -> int:
    """Return the physical line (from 1) of a byte, whatever the line ends."""
    return 1 + data.count(b"\n", 0, offset) + data.count(b"\r", 0, offset) - data.count(b"\r\n", 0, offset)


def _codec(encoding: str, found: Findings) -> str:
    try:
        codec = codecs.lookup(encoding or "utf-8")
        "".encode(codec.name)
    except (LookupError, ValueError) as error:
        raise found.stop(
            "F05",
            f"The encoding {shown(encoding)} in site.yaml is not known.",
            "Use utf-8, cp1252, latin-1 or another name that Python knows.",
        ) from error
    return "utf-8" if codec.name == "utf-8-sig" else codec.name


def _refuse_invalid_utf8(data: bytes, found: Findings) -> None:
    if data.isascii():
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(data), _CHUNK):
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(data[start : start + _CHUNK], final=start + _CHUNK >= len(data))
        except UnicodeDecodeError as error:
            raise _bad_byte(data, start - pending + error.start, "utf-8", found) from error


def _recoded(data: bytes, encoding: str, found: Findings) -> bytes:
    try:
        return data.decode(encoding).encode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad_byte(data, error.start, encoding, found) from error
    except UnicodeError as error:
        raise found.stop("F05", f"The text is not valid {shown(encoding)}.", "Correct encoding: in site.yaml.") from error


def _bad_byte(data: bytes, offset: int, encoding: str, found: Findings) -> UnusableFileError:
    line = line_of(data, offset)
    place = f"Byte {offset} (0x{data[offset]:02X}) in line {line} is not {encoding.upper()}"
    if encoding == "utf-8" and (not data[:offset].isascii() or _TYPICAL_UTF8.search(data, offset)):
        return found.stop(
            "F06",
            f"{place}, though other parts of the file are: encodings are mixed.",
            "Export all parts of the file in one encoding, UTF-8 best.",
            row=line,
        )
    return found.stop(
        "F05",
        f"{place}.",
        "Export as UTF-8, or set encoding: in site.yaml (cp1252 for files from Windows programs in Western Europe).",
        row=line,
    )


def _refuse_nul(data: bytes, found: Findings) -> None:
    offset = data.find(b"\0")
    if offset < 0:
        return
    line = line_of(data, offset)
    character = offset - (data.rfind(b"\n", 0, offset) + 1) + 1
    many = data.count(b"\0") * 4 > len(data)
    raise found.stop(
        "F07",
        f"Line {line} holds a NUL byte at byte {character} of the line; no text has these.",
        "The file is likely UTF-16 without byte order mark: set encoding: utf-16-le."
        if many
        else "Copy or export the file again; it is damaged.",
        row=line,
        n_affected=data.count(b"\0"),
    )
