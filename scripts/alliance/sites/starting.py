"""A first ``site.yaml`` for a new site, with a column map guessed from the header of a data file."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from pathlib import Path

GUESSES = {
    "client_id": (
        "id",
        "pid",
        "client",
        "clientid",
        "patient",
        "patientid",
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


def read_header(path: Path) -> tuple[list[str], str]:
    """Return the column names of a data file and the separator found; empty for formats whose header is not plain text.

    Raises
    ------
    ValueError
        Where the file cannot be read.
    """
    ending = path.suffix.lower()
    if ending == ".xlsx":
        from python_calamine import CalamineWorkbook

        rows = CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python(nrows=1)
        return [str(cell).strip() for cell in rows[0]] if rows else [], ""
    if ending in (".sav", ".dta"):
        import pyreadstat

        reader = pyreadstat.read_sav if ending == ".sav" else pyreadstat.read_dta
        return list(reader(str(path), metadataonly=True)[1].column_names), ""
    with open(path, "rb") as file:
        start = file.read(1_000_000)
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            line = start.splitlines()[0].decode(encoding) if start else ""
            break
        except UnicodeDecodeError:
            continue
    else:
        raise ValueError(f"{path.name} is not plain text; name its first row's columns by hand")
    separator = max(",;\t|", key=line.count)
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator), [])], separator


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


def site_yaml(name: str, file: str | None, header: list[str], separator: str) -> str:
    """Return a commented ``site.yaml``; what was guessed from a file's header is marked.

    Parameters
    ----------
    name : str
        The site's folder name.
    file : str or None
        Data file inside the folder.
    header : list of str
        Its column names; may be empty.
    separator : str
        Its separator, empty where it has none.
    """
    columns = guess_columns(header)
    items = guess_items(header)
    wide = bool(items) and "{session}" in items[0][0]
    lines = [
        "# One site. docs/add-a-site.md explains every key; `make check` names what is missing.",
        f"label: {_quoted(name)}            # shown in reports",
        "# country: DE",
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
    if separator not in ("", ","):
        shown = "tab" if separator == "\t" else separator
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
