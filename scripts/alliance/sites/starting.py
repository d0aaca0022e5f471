"""A first ``site.yaml`` for a new site, with a column map guessed from the header of a data file."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

GUESSES = {
    "client_id": (
        "id",
        "pid",
        "client",
        "clientid",
        "patient",
        "patientid",
        "patientnr",
        "patientno",
        "clientno",
        "klientid",
        "nr",
        "record_id",
        "recordid",
        "code",
        "case",
        "subject",
        "participant",
    ),
    "therapist_id": ("th", "therapist", "therapistid", "tid", "counsellor", "counselor", "behandler", "therapeut"),
    "session": ("session", "sess", "sessionno", "sessionnumber", "sitzung", "redcaprepeatinstance", "visit", "week"),
    "date": ("date", "sessiondate", "datum", "visitdate", "recordeddate"),
    "rater": ("rater", "perspective", "informant", "respondent"),
    "timepoint": ("timepoint", "occasion", "wave", "phase", "event"),
}


@dataclass(frozen=True)
class Header:
    """What the start of a data file tells.

    Attributes
    ----------
    columns : list of str
        Names of the columns.
    separator, encoding : str
        Of a text file; the encoding is empty for UTF-8, both are empty for other formats.
    sheets : tuple of str
        Names of a workbook's sheets.
    format : str
        ``redcap`` or ``qualtrics`` where the file is such an export, else empty: its ending tells.
    """

    columns: list[str]
    separator: str = ""
    encoding: str = ""
    sheets: tuple[str, ...] = ()
    format: str = ""


def read_header(path: Path) -> Header:
    """Return the column names of a data file, and how it is written as far as its start tells.

    Raises
    ------
    ValueError
        Where the file cannot be read.
    """
    ending = path.suffix.lower()
    if ending == ".xlsx":
        from python_calamine import CalamineWorkbook

        book = CalamineWorkbook.from_path(path)
        rows = book.get_sheet_by_index(0).to_python(nrows=1)
        return Header([str(cell).strip() for cell in rows[0]] if rows else [], sheets=tuple(book.sheet_names))
    if ending in (".sav", ".dta"):
        import pyreadstat

        reader = pyreadstat.read_sav if ending == ".sav" else pyreadstat.read_dta
        return Header(list(reader(str(path), metadataonly=True)[1].column_names))
    with open(path, "rb") as file:
        start = file.read(1_000_000)
    text, encoding = _decoded(start, whole=len(start) < 1_000_000)
    line = next(iter(text.splitlines()), "")
    separator = max(",;\t|", key=line.count)
    rows = list(islice(csv.reader(io.StringIO(text, newline=""), delimiter=separator), 3))
    columns = [cell.strip() for cell in rows[0]] if rows else []
    if any('{"ImportId"' in cell for cell in rows[-1:][0] if len(rows) == 3):
        return Header(columns, separator, encoding, format="qualtrics")
    redcap = any(name in columns for name in ("redcap_event_name", "redcap_repeat_instrument", "redcap_repeat_instance"))
    return Header(columns, separator, encoding, format="redcap" if redcap else "")


def _decoded(start: bytes, *, whole: bool) -> tuple[str, str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        return decoder.decode(start, final=whole), ""
    except UnicodeDecodeError:
        return start.decode("cp1252", errors="replace"), "cp1252"


def guess_columns(header: list[str]) -> dict[str, str]:
    """Return our column names for those of a header that have a usual name; each column is used once."""
    simple = {name: re.sub(r"[^a-z0-9]", "", name.lower()) for name in header}
    found: dict[str, str] = {}
    for ours, theirs in GUESSES.items():
        wanted = [re.sub(r"[^a-z0-9]", "", word) for word in theirs]
        match = next((name for word in wanted for name in header if simple[name] == word and name not in found.values()), None)
        if match is not None:
            found[ours] = match
    return found


def guess_items(header: list[str]) -> list[tuple[str, list[int]]]:
    """Return item patterns such as ``wai_{item}`` with the item numbers found, the longest run first.

    Names such as ``s3_wai_1`` with a session before the item give ``s{session}_wai_{item}``.
    """
    groups: dict[str, set[int]] = defaultdict(set)
    for name in header:
        two = re.fullmatch(r"([A-Za-z_. ]*?)([0-9]{1,3})([_. -]?[A-Za-z][A-Za-z_. -]*?)([0-9]{1,3})", name)
        one = re.fullmatch(r"(.*?[A-Za-z_. -])([0-9]{1,3})", name)
        if two:
            groups[f"{two[1]}{{session}}{two[3]}{{item}}"].add(int(two[4]))
        elif one:
            groups[f"{one[1]}{{item}}"].add(int(one[2]))
    runs = [(pattern, sorted(items)) for pattern, items in groups.items() if len(items) >= 3 and min(items) == 1]
    return sorted(runs, key=lambda run: (-len(run[1]), run[0]))


def site_yaml(name: str, file: str | None, start: Header) -> str:
    """Return a commented ``site.yaml``; what was guessed from a file's header is marked.

    Parameters
    ----------
    name : str
        The site's folder name.
    file : str or None
        Data file inside the folder.
    start : Header
        What the file's start tells; its columns may be empty.
    """
    header = start.columns
    columns = guess_columns(header)
    items = guess_items(header)
    wide = bool(items) and "{session}" in items[0][0]
    lines = [
        "# One site. docs/add-a-site.md explains every key; `make check` names what is missing.",
        f"label: {_quoted(name)}            # shown in reports",
        "# country: DE",
        "# language: de                    # of the questionnaires; sites in one language are compared with those in another",
        "# recruiting: false               # true: a file without rows is a warning",
        '# missing_codes: {"-99": skipped}  # what stands in a cell in place of an answer',
        '# date_format: "%d.%m.%Y"          # default: %Y-%m-%d; dates are never guessed',
        '# id_pattern: "[A-Z]{2}[0-9]{3}"   # rows with other ids are set aside',
        "# test_ids: [TEST]",
        "# session_numbers: number          # number: a column | date: by the order of dates | file: by position",
        "",
        "tables:",
        "  - table: ratings                 # also: clients therapists sessions outcomes events termination",
        f"    files: {_quoted(file or 'ratings.csv')}",
    ]
    if len(start.sheets) > 1:
        others = ", ".join(_quoted(sheet) for sheet in start.sheets[1:20])
        lines.append(f"    sheet: {_quoted(start.sheets[0])}   # guessed: the first; also in the file: {others}")
    if start.format:
        lines.append(f"    format: {start.format}                 # guessed")
    if start.format == "redcap":
        lines.append("    # form: CHANGE_ME              # the repeating form whose rows these are")
        lines.append(
            "    # events: {CHANGE_ME: session} # the events whose rows these are, and what each is: intake, session, post, follow_up"
        )
    if start.encoding:
        lines.append(f"    encoding: {start.encoding}               # guessed: the file is not UTF-8")
    if start.separator not in ("", ","):
        shown = "tab" if start.separator == "\t" else start.separator
        lines.append(f'    separator: "{shown}"                 # guessed')
    if wide:
        lines.append("    layout: one_row_per_client     # guessed")
        columns.pop("session", None)
    lines += ["    instrument: wai_sr             # which questionnaire: a name from workflow/instruments", "    rater: client"]
    lines.append("    response: {min: 1, max: 5}     # the range as printed; needed where the instrument was used with several ranges")
    if "rater" in columns:
        lines[-2] = "    # rater: client                # the column below says who answered"
    lines.append("    columns:                       # our name: name in the file")
    for ours in ("client_id", "therapist_id", "session", "date", "rater", "timepoint"):
        if ours in columns:
            lines.append(f"      {ours}: {_quoted(columns[ours])}   # guessed")
        elif ours == "client_id" or (ours == "session" and not wide):
            lines.append(f"      {ours}: CHANGE_ME")
    if items:
        pattern, numbers = items[0]
        lines.append(f"    items: {_quoted(pattern)}   # guessed from {len(numbers)} columns")
        lines += [f"    # items: {_quoted(other)}   # also in the file, {len(found)} columns" for other, found in items[1:6]]
    else:
        lines.append('    items: "CHANGE_ME_{item}"')
    used = {*columns.values(), *(name for name in header if any(_fits(pattern, name) for pattern, _ in items))}
    rest = [name for name in header if name not in used]
    if rest:
        lines += ["# Columns of the file that stand nowhere above:", *(f"#   {_quoted(name)}" for name in rest[:100])]
    return "\n".join(lines) + "\n"


def _fits(pattern: str, name: str) -> bool:
    parts = re.split(r"\{(?:session|item)\}", pattern)
    return re.fullmatch("[0-9]+".join(re.escape(part) for part in parts), name) is not None


def _quoted(text: str) -> str:
    safe = "".join(character if character.isprintable() else "?" for character in text)
    return '"' + safe.replace("\\", "\\\\").replace('"', '\\"') + '"'
