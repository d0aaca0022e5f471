"""Turn any file a site sends into a table of text and a list of faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from alliance.issues import Issue, shown
from alliance.sites.readers import snapshot as snapshots
from alliance.sites.readers.contract import Findings, QuarantinedRow, RawTable, ReadOptions, UnusableFileError, without_blank_rows
from alliance.sites.readers.signatures import ENDINGS, OTHER_SPREADSHEETS, kind_of

__all__ = ["QuarantinedRow", "RawTable", "ReadOptions", "read_file"]

FORMATS = ("csv", "xlsx", "sav", "dta", "redcap", "qualtrics")
_MAGIC_OF_FORMAT = {"csv": ("",), "xlsx": ("zip",), "sav": ("sav", ""), "dta": ("dta", "")}


def read_file(path: Path, options: ReadOptions, site: str, relative_name: str) -> tuple[RawTable | None, list[Issue]]:
    """Read one file of a site; every fault of the file is found in one pass.

    Parameters
    ----------
    path : Path
        The file.
    options : ReadOptions
        How to read it.
    site : str
        Id of the site, for the records of faults.
    relative_name : str
        The file's path inside the site's folder, for the records of faults; no folder on it may be a link.

    Returns
    -------
    table : RawTable or None
        ``None`` where the file is unusable; a fault of severity SITE says why.
    issues : list of Issue
        All faults found.
    """
    path = Path(path)
    found = Findings(site, relative_name, options.max_listed)
    table = None
    try:
        layout, storage = _formats(path, options, found)
        file = snapshots.take(path, relative_name, options.max_file_mb, found)
        _refuse_wrong_kind(file.data, storage, found)
        table = _read(file, storage, path.suffix.lower(), options, found)
        snapshots.refuse_if_changed(file, found)
        table = replace(_interpret(table, layout, options, found), sha256=file.sha256)
        table = without_blank_rows(table)
        _refuse_empty(table, options, found)
    except UnusableFileError:
        pass
    return None if found.fatal else table, found.issues()


def _formats(path: Path, options: ReadOptions, found: Findings) -> tuple[str, str]:
    """Return what the columns mean (``plain redcap qualtrics``) and how the file is stored (``csv xlsx sav dta``)."""
    ending = path.suffix.lower()
    if ending in OTHER_SPREADSHEETS:
        raise found.stop("F18", f"The file is {OTHER_SPREADSHEETS[ending]}.", "Save it as .xlsx without password and send that.")
    if options.format in ("redcap", "qualtrics"):
        return options.format, "xlsx" if ending == ".xlsx" else "csv"
    if options.format in FORMATS:
        return "plain", options.format
    if not options.format and ending in ENDINGS:
        return "plain", ENDINGS[ending]
    raise found.stop(
        "F11",
        f"The format {shown(options.format or ending or 'of a file without ending')} is not known.",
        "Set format: in site.yaml to one of " + ", ".join(FORMATS) + ", or give the file its usual ending.",
    )


def _refuse_wrong_kind(data: bytes, storage: str, found: Findings) -> None:
    kind, name = kind_of(data)
    if kind in _MAGIC_OF_FORMAT[storage]:
        return
    if kind == "html":
        raise found.stop(
            "F10",
            "The file looks like HTML: a web page, a login form perhaps.",
            "Log in, export the data again and send the exported file.",
        )
    if storage == "xlsx" and kind == "ole":
        raise found.stop(
            "F18",
            "The workbook is protected with a password."
            if "EncryptedPackage".encode("utf-16-le") in data
            else "The file is an old Excel workbook (.xls).",
            "Save it as .xlsx without password and send that.",
        )
    raise found.stop(
        "F11",
        f"By its first bytes the file is {name or 'not an Excel workbook'}; it was to be read as {storage}.",
        "Give the file its true ending, or set format: in site.yaml, or export the data again.",
    )


def _read(file: snapshots.Snapshot, storage: str, ending: str, options: ReadOptions, found: Findings) -> RawTable:
    if storage == "csv":
        from alliance.sites.readers import delimited

        return delimited.read(file.data, ending, options, found)
    if storage == "xlsx":
        from alliance.sites.readers import workbook

        return workbook.read(file.data, options, found)
    from alliance.sites.readers import statistical_files

    return statistical_files.read(file.path, storage, options, found)


def _interpret(table: RawTable, layout: str, options: ReadOptions, found: Findings) -> RawTable:
    from alliance.sites.readers import qualtrics, redcap

    if layout == "redcap":
        redcap.check(table, options, found)
        return table
    if layout == "qualtrics" or qualtrics.has_import_ids(table):
        return qualtrics.interpret(table, declared=layout == "qualtrics", found=found)
    return table


def _refuse_empty(table: RawTable, options: ReadOptions, found: Findings) -> None:
    if len(table.rows):
        return
    if table.quarantined and not found.fatal:
        found.site(
            table.quarantined[0].code,
            f"No usable row is left: all {len(table.quarantined)} data rows were refused.",
            "See the faults of the rows; the separator, the quotes or the header are likely wrong as a whole.",
            n_affected=len(table.quarantined),
        )
    elif not table.quarantined:
        report = found.warn if options.recruiting else found.site
        report("F02", "The file has a header but 0 data rows.", "Check the export; a site that has no clients yet sets recruiting: true.")
