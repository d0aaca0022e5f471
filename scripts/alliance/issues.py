"""Records of faults found in what sites send, and their table ``issues.csv``."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum

SHOWN_CHARACTERS = 40
REASON_CHARACTERS = 120


class Severity(StrEnum):
    """How far a fault reaches."""

    RUN = "RUN"
    SITE = "SITE"
    ROW = "ROW"
    CELL = "CELL"
    WARN = "WARN"


@dataclass(frozen=True)
class Issue:
    """One fault: where it is, what was seen, and what to do.

    Parameters
    ----------
    code : str
        Rule that found the fault (``F05``, ``V01``, ...).
    severity : Severity
        Whether the run, the site, the row or the cell is lost, or nothing is.
    site, file, sheet, column : str
        Where; empty where it does not apply. ``file`` is relative to the site's folder.
    row : int or None
        Physical line of the file (spreadsheet row, case number of a .sav file).
    value_shown : str
        What was found, made safe by :func:`shown`; empty for ids, dates and free text.
    n_affected : int
        Rows or cells that share this fault.
    message, fix : str
        What happened, and what the data manager can do about it.
    """

    code: str
    severity: Severity
    message: str
    fix: str
    site: str = ""
    file: str = ""
    sheet: str = ""
    row: int | None = None
    column: str = ""
    value_shown: str = ""
    n_affected: int = 1


COLUMNS = (
    "code",
    "severity",
    "site",
    "file",
    "sheet",
    "row",
    "column",
    "value_shown",
    "n_affected",
    "message",
    "fix",
)
assert set(COLUMNS) == {field.name for field in fields(Issue)}


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 client``, ``3 clients``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shown(value: object, characters: int = SHOWN_CHARACTERS) -> str:
    """Return a value as it may stand in a message: cut, control and direction characters escaped."""
    text = "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
        else character
        for character in str(value)[: characters + 1]
    )
    return text if len(text) <= characters else text[: characters - 1] + "…"


def brief(text: str, characters: int) -> str:
    """Return text, cut at a word with an ellipsis where it is longer than the given number of characters."""
    if len(text) <= characters:
        return text
    return text[: characters - 1].rsplit(" ", 1)[0].rstrip(" ,;:(") + "…"


def why_left_out(reasons: Sequence[str]) -> str:
    """Return in short why a site was left out: its first reason, and how many more there are."""
    if not reasons:
        return "no reason was recorded; see the quality report"
    more = f" (+ {len(reasons) - 1} more; see the quality report)" if len(reasons) > 1 else ""
    return brief(reasons[0], REASON_CHARACTERS) + more


RUN_BY_SPREADSHEETS = frozenset("=+-@\t\r")
"""Characters with which a cell begins that a spreadsheet runs."""


def safe_cell(value: object) -> object:
    """Return a cell for a CSV that people open: text that a spreadsheet would run gets a quote before it."""
    if isinstance(value, str) and value[:1] in RUN_BY_SPREADSHEETS:
        try:
            float(value)
        except ValueError:
            return "'" + value
    return value


def to_csv(issues: list[Issue]) -> str:
    """Return issues as CSV text, ordered by site, file, row, column and code."""
    ordered = sorted(
        issues,
        key=lambda i: (i.site, i.file, i.sheet, i.row or 0, i.column, i.code, i.value_shown, i.message),
    )
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for issue in ordered:
        record = asdict(issue)
        record["severity"] = issue.severity.value
        record["row"] = "" if issue.row is None else issue.row
        writer.writerow({name: safe_cell(record[name]) for name in COLUMNS})
    return text.getvalue()


def from_csv(text: str) -> list[Issue]:
    """Read issues back from the text of an ``issues.csv``."""
    issues = []
    for record in csv.DictReader(io.StringIO(text)):
        record["severity"] = Severity(record["severity"])
        record["row"] = int(record["row"]) if record["row"] else None
        record["n_affected"] = int(record["n_affected"])
        issues.append(Issue(**record))
    return issues


def line(issue: Issue) -> str:
    """Return one issue as a line for the terminal."""
    place = " · ".join(
        part
        for part in (
            issue.site,
            issue.file,
            issue.sheet and f"sheet {issue.sheet}",
            f"row {issue.row}" if issue.row is not None else "",
            issue.column and f"column {issue.column}",
            f"value {issue.value_shown}" if issue.value_shown else "",
        )
        if part
    )
    count = f" ({issue.n_affected} times)" if issue.n_affected > 1 else ""
    return f"{issue.severity.value:<4} {issue.code} {place}: {issue.message}{count} {issue.fix}".rstrip()
