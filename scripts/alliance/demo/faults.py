"""The everyday faults of real exports, planted on purpose and recorded. None of them costs more than rows, cells or a warning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from alliance.demo.exports import qualtrics, redcap
from alliance.demo.exports.sheet import Sheet


@dataclass
class Planted:
    """One planted fault; ``row`` is found when all faults of the site are planted.

    Parameters
    ----------
    code, severity : str
        The rule that finds it; severity ``RULE`` where rows are left out by a declared rule and ``NONE`` where nothing is wrong.
    file, sheet, column : str
        Where.
    what : str
        What was done.
    n_affected : int
        Rows or cells.
    """

    code: str
    severity: str
    file: str
    sheet: str
    column: str
    what: str
    n_affected: int = 1
    row: int | None = None


@dataclass
class Planter:
    """The sheets of a site and what was planted in them so far."""

    sheets: dict[str, Sheet]
    planted: list[tuple[Planted, Sheet, list[Any] | None]] = field(default_factory=list)

    def note(self, code: str, severity: str, sheet: Sheet, row: list[Any] | None, column: str, what: str, n: int = 1) -> None:
        """Record a fault."""
        self.planted.append((Planted(code, severity, sheet.file, sheet.name, column, what, n), sheet, row))

    def filled(self, sheet: Sheet, column: str, number: int) -> list[Any]:
        """Return the row of the ``number``-th filled cell of a column."""
        position = sheet.column(column)
        rows = [row for row in sheet.rows if row and row[position] not in ("", None)]
        return rows[number % len(rows)]

    def cell(self, name: str, column: str, number: int, value: Any, code: str, what: str, severity: str = "CELL") -> list[Any]:
        """Overwrite a filled cell."""
        sheet = self.sheets[name]
        row = self.filled(sheet, column, number)
        row[sheet.column(column)] = value
        self.note(code, severity, sheet, row, column, what)
        return row

    def repeat(self, name: str, column: str, number: int, changed: dict[str, Any] | None = None) -> None:
        """Repeat a row exactly, or with other values in some columns."""
        sheet = self.sheets[name]
        row = self.filled(sheet, column, number)
        copy = list(row)
        sheet.rows.insert(next(i for i, candidate in enumerate(sheet.rows) if candidate is row) + 1, copy)
        if not changed:
            self.note("R04", "ROW", sheet, copy, "", "the same row twice")
            return
        for other, value in changed.items():
            copy[sheet.column(other)] = value
        for same in (row, copy):
            self.note("R05", "ROW", sheet, same, "", "two rows for one client and session with different answers")

    def footer(self, name: str, first: str, other: dict[str, str]) -> None:
        """Add a row of totals below the data."""
        sheet = self.sheets[name]
        row = ["" for _ in sheet.header]
        row[0] = first
        for column, value in other.items():
            row[sheet.column(column)] = value
        sheet.rows.append(row)
        self.note("R09", "ROW", sheet, row, sheet.header[0], "a row of totals below the data")

    def finished(self) -> list[Planted]:
        """Return the record with the physical rows."""
        for planted, sheet, row in self.planted:
            planted.row = sheet.physical_row(row) if row is not None else None
        return [planted for planted, _, _ in self.planted]


def plant(site: str, sheets: list[Sheet]) -> list[Planted]:
    """Plant the faults of a site in its sheets and return their record.

    Parameters
    ----------
    site : str
        Id of a site of the demo; others stay as they are.
    sheets : list of Sheet
        Changed in place.
    """
    planters: dict[str, Callable[[Planter], None]] = {
        "northgate": _northgate,
        "lindenhof": _lindenhof,
        "westbrook": _westbrook,
        "fjordvik": _fjordvik,
        "lakeside": _lakeside,
        "casa-marisol": _casa_marisol,
    }
    planter = Planter({sheet.name or sheet.file: sheet for sheet in sheets})
    if site in planters:
        planters[site](planter)
    return planter.finished()


def _northgate(p: Planter) -> None:
    p.cell("sessions_2024.csv", "CW7", 40, "8", "V01", "8 on an item from 1 to 7")
    p.cell("sessions_2024.csv", "CW20", 95, "0", "V01", "0 on an item from 1 to 7")
    p.cell("clients.csv", "social_relations", 11, "5,5", "V04", "a decimal comma in a file with decimal points")
    first, second = p.sheets["sessions_2024.csv"], p.sheets["sessions_2025.csv"]
    for number, item in ((20, "CW3"), (60, "CW14"), (150, "CW30")):
        row = p.filled(first, item, number)
        corrected = list(row)
        position = first.column(item)
        corrected[position] = "6" if row[position] != "6" else "5"
        second.rows.insert(0, corrected)
        p.note("R19", "WARN", second, corrected, "", "the second delivery corrects an answer of the first; not a fault, but listed")
    p.repeat("sessions_2024.csv", "CW1", 120)
    p.repeat("therapist_ratings.csv", "THAQ5", 12, {"TW5": "1", "THAQ5": "1"})
    p.footer("sessions_2025.csv", "Total", {"SESSION": str(len(second.rows))})
    second.rows += [[], []]
    p.note("R03", "NONE", second, None, "", "blank lines at the end of the file", 2)
    clients = p.sheets["clients.csv"]
    clients.header.append("remark")
    for row in clients.rows:
        row.append("")
    p.note("H09", "WARN", clients, None, "remark", "a column that site.yaml does not name")


def _lindenhof(p: Planter) -> None:
    p.cell("verlauf.csv", "S3_WAI_4", 17, "3,5", "V09", "a half point on an item of whole numbers")
    p.cell("verlauf.csv", "S2_WAI_7", 25, "k.A.", "V10", "words in place of a number")
    p.cell("verlauf.csv", "S4_CORE_5", 8, "6", "V01", "6 on an item from 0 to 4")
    p.cell("verlauf.csv", "S2_Datum", 30, "30.02.2025", "V12", "a day that does not exist")
    p.cell("verlauf.csv", "S1_WAI_2", 12, " 4 ", "V05", "blanks around an answer; taken off and counted", "WARN")
    p.footer("patienten.csv", "Mittelwert", {"Alter": "38,6"})


def _westbrook(p: Planter) -> None:
    for number in (30, 77, 141):
        p.cell("WAI client", "WAI 9", number, 99, "V02", "a missing code that site.yaml does not declare")
    p.cell("WAI client", "WAI 21", 60, "often", "V10", "words in place of a number")
    haq = p.sheets["HAq client"]
    row = p.cell("HAq client", "HAq 6", 22, "#N/A", "F25", "an Excel error in place of an answer")
    p.repeat("WAI therapist", "Task", 51)
    core = p.sheets["CORE"]
    hidden = p.filled(core, "CORE 1", 200)
    p.note("F22", "WARN", core, hidden, "", "a hidden row; it is read")
    haq.facts["errors"] = [(haq.physical_row(row), haq.column("HAq 6") + 1)]
    core.facts["hidden_rows"] = [core.physical_row(hidden)]


def _fjordvik(p: Planter) -> None:
    p.cell("timer.sav", "wai3", 45, 8.0, "V01", "8 on an item from 1 to 7")
    p.cell("timer.sav", "core6", 210, 5.0, "V01", "5 on an item from 0 to 4")
    p.repeat("timer.sav", "wai1", 130)
    sessions = p.sheets["timer.sav"]
    row = next(row for row in sessions.rows if row[sessions.column("session")] == 5.0)
    day = row[sessions.column("date")]
    row[sessions.column("date")] = day.replace(year=day.year - 1)
    p.note("R15", "WARN", sessions, row, "date", "the wrong year: session 5 a year before session 4")


def _lakeside(p: Planter) -> None:
    sheet = p.sheets[redcap.FILE]
    p.cell(redcap.FILE, "cores_3", 101, "7", "V01", "7 on an item from 0 to 4")
    p.cell(redcap.FILE, "visit_date", 64, "12/31/2024", "V12", "a date in another format than declared")
    model = [row for row in sheet.rows if row[sheet.column("wai_sr_1")] != ""]
    for number in (10, 180):
        unfilled = ["" if position >= len(redcap.LEAD) else value for position, value in enumerate(model[number])]
        unfilled[sheet.column("redcap_repeat_instance")] = "17"
        unfilled[sheet.column("wai_sr_complete")] = "0"
        sheet.rows.insert(next(i for i, row in enumerate(sheet.rows) if row is model[number]) + 1, unfilled)
        p.note("R11", "RULE", sheet, unfilled, "", "a form that was opened and left empty; not a session")
    intake = next(row for row in sheet.rows if row[1] == redcap.INTAKE)
    for test_id, source in (("TEST-1", intake), ("TEST-1", model[0]), ("TEST-2", intake)):
        row = [test_id, *source[1:]]
        sheet.rows.append(row)
        p.note("R10", "RULE", sheet, row, "record_id", "a test record; left out by rule")


def _casa_marisol(p: Planter) -> None:
    p.cell("encuesta_sesion.csv", "WAI_5", 70, "6", "V01", "6 on an item from 1 to 5")
    p.cell("encuesta_sesion.csv", "CORE_8", 140, "33", "V01", "33 on an item from 0 to 4")
    surveys = p.sheets["encuesta_sesion.csv"]
    for number in (0, 1):
        row = list(surveys.rows[number])
        row[surveys.column("Status")] = qualtrics.PREVIEW
        row[surveys.column("ResponseId")] = f"R_prueba{number}"
        surveys.rows.insert(number, row)
        p.note("R10", "RULE", surveys, row, "Status", "a preview of the survey; left out by rule")
    position = surveys.column("client_id")
    row = surveys.rows[200]
    row[position] = row[position].lower()
    p.note("R09", "ROW", surveys, row, "client_id", "an id in small letters, which does not fit the pattern of the ids")
    row = surveys.rows[260]
    row[position] = row[position] + "\u00a0"
    p.note("V05", "WARN", surveys, row, "client_id", "a no-break space behind an id; taken off and counted")
