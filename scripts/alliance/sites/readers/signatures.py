"""What a file really is, by its first bytes."""

from __future__ import annotations

ENDINGS = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".xlsx": "xlsx",
    ".sav": "sav",
    ".zsav": "sav",
    ".dta": "dta",
}
OTHER_SPREADSHEETS = {
    ".xls": "an old Excel workbook (.xls)",
    ".xlsm": "an Excel workbook with macros (.xlsm)",
    ".xlsb": "a binary Excel workbook (.xlsb)",
    ".xltx": "an Excel template (.xltx)",
    ".ods": "an OpenDocument spreadsheet (.ods)",
}
_SIGNATURES = (
    (b"PK\x03\x04", "zip", "an Excel workbook or another ZIP archive"),
    (b"PK\x05\x06", "zip", "an empty ZIP archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole", "an old Office file, or an Office file with a password"),
    (b"$FL2", "sav", "an SPSS file (.sav)"),
    (b"$FL3", "sav", "a compressed SPSS file (.zsav)"),
    (b"<stata_dta>", "dta", "a Stata file (.dta)"),
    (b"%PDF", "other", "a PDF document"),
    (b"\x1f\x8b", "other", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "other", "a 7z archive"),
    (b"Rar!\x1a\x07", "other", "a RAR archive"),
    (b"\x89PNG", "other", "a PNG picture"),
    (b"\xff\xd8\xff", "other", "a JPEG picture"),
    (b"PAR1", "other", "a Parquet file"),
    (b"SQLite format 3\x00", "other", "an SQLite database"),
    (b"{\\rtf", "other", "an RTF document"),
    (b"RDX2", "other", "an R data file"),
    (b"RDX3", "other", "an R data file"),
)
_OLD_STATA_VERSIONS = range(102, 116)


def kind_of(data: bytes) -> tuple[str, str]:
    """Return the kind (``zip ole sav dta html other`` or ``""`` for unknown) and its name in words."""
    for signature, kind, name in _SIGNATURES:
        if data.startswith(signature):
            return kind, name
    if _looks_like_html(data):
        return "html", "a web page (HTML)"
    if len(data) > 3 and data[0] in _OLD_STATA_VERSIONS and data[1] in (1, 2) and data[2:4] in (b"\x01\x00", b"\x00\x00"):
        return "dta", "a Stata file (.dta)"
    return "", ""


def _looks_like_html(data: bytes) -> bool:
    start = data[:4096].replace(b"\x00", b"").removeprefix(b"\xef\xbb\xbf").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")
    start = start.lstrip().lower()
    return start.startswith((b"<!doctype", b"<html", b"<head", b"<body", b"<script", b"<?xml", b"<!--"))
