"""Bad inputs from end to end: each planted in one site's files, named as it should be, with every row accounted for.

The ids are those of ``docs/bad-inputs.md``. What one module tests closely is listed in :data:`ELSEWHERE`.
"""

from __future__ import annotations

import ast
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pandas as pd
import pyreadstat
import pytest
from cleaning_sites import ITEMS, PROJECT, account, answers, clean, found, ratings, table
from test_reading_workbooks import rewritten, workbook

GOOD = [
    f"C{client},{session},{answers(1 + client % 5, *(1 + (client * item + session) % 5 for item in range(2, 13)))}"
    for client in range(1, 6)
    for session in (1, 2)
]
PLAIN = table(*GOOD)
HEADER = f"id,session,{ITEMS}"
REST = answers(1, 2, 5, 4, 3, 2, 1, 5, 4, 3, 2, 5)
BOOK = ratings().replace("ratings.csv", "ratings.xlsx")
WIDE_BOOK = [HEADER.split(","), *[[line.split(",")[0], *map(int, line.split(",")[1:])] for line in GOOD]]


def book(change: Callable | None = None) -> bytes:
    return workbook(*WIDE_BOOK[1:], header=WIDE_BOOK[0], change=change)


def sheet(name: str, value: object) -> Callable:
    """Return a change of a workbook: one cell gets another value."""

    def change(file):
        file.active[name] = value

    return change


@dataclass
class Case:
    """One bad input: what is sent, and the code, severity, row, column and row counts that must come of it.

    ``rows`` is (rows in, used, quarantined, excluded by rule); None: the file cannot be read at all.
    """

    id: str
    content: bytes | str
    severity: str
    row: int | None = None
    column: str = ""
    rows: tuple[int, int, int, int] | None = (10, 10, 0, 0)
    code: str = ""
    tables: str = field(default_factory=ratings)
    top: str = ""
    name: str = "ratings.csv"
    options: dict = field(default_factory=dict)
    says: str = ""

    @property
    def file(self) -> str:
        """Name of the file that is sent."""
        return "ratings.xlsx" if self.tables == BOOK else self.name


LATIN = PLAIN.replace("C5,2", "Zoë,2").encode("latin-1")
QUALTRICS = [
    "StartDate",
    "EndDate",
    "Status",
    "Progress",
    "Duration (in seconds)",
    "Finished",
    "RecordedDate",
    "ResponseId",
    "UserLanguage",
]


def survey(ids: dict[str, str] | None = None, rows: list[str] = GOOD) -> str:
    """Return a Qualtrics export; ``ids`` gives columns another ImportId than their name."""
    names = [*QUALTRICS, *HEADER.split(",")]
    imports = ['"{""ImportId"":""' + (ids or {}).get(name, name) + '""}"' for name in names]
    system = "2026-01-01 10:00:00,2026-01-01 10:05:00,0,100,300,1,2026-01-01 10:05:01,R_1,EN"
    return (
        "\n".join(
            [",".join(names), ",".join(f"Question {name}" for name in names), ",".join(imports), *(f"{system},{row}" for row in rows)]
        )
        + "\n"
    )


OUT = (10, 0, 0, 10)
CASES = [
    Case("F01", b"", "SITE", rows=None),
    Case("F02", HEADER + "\n", "SITE", rows=None),
    Case("F02", HEADER + "\n", "WARN", top="recruiting: true", rows=(0, 0, 0, 0)),
    Case("F03", "\ufeff\ufeff" + PLAIN, "WARN"),
    Case("F04", PLAIN.encode("utf-16"), "WARN"),
    Case("F05", LATIN, "SITE", row=11, rows=None, says="encoding"),
    Case("F06", (PLAIN.replace("C1,1", "Zoé,1").encode() + LATIN.splitlines()[-1] + b"\n"), "SITE", row=12, rows=None),
    Case("F07", PLAIN.replace("C3", "C\x003", 1), "SITE", row=6, rows=None),
    Case("F09", PLAIN.replace(",", ";"), "WARN"),
    Case("F09", "name;x\n1;2\n", "SITE", rows=None, says="separator"),
    Case("F10", "<!DOCTYPE html><html><body>Please log in</body></html>", "SITE", rows=None),
    Case("F11", b"%PDF-1.7\n", "SITE", rows=None),
    Case("F12", PLAIN + f'"C9,1,{REST}\n', "SITE", row=12, rows=None),
    Case("F13", PLAIN + f'C9,1,2"x",{REST[2:]}\n', "ROW", row=12, rows=(11, 10, 1, 0)),
    Case("F14", PLAIN + "C9,1,2", "ROW", row=12, rows=(11, 10, 1, 0)),
    Case("F15", PLAIN, "SITE", rows=None, options={"max_file_mb": 0.0001}),
    Case("F16", PLAIN + f"{'x' * 200_000},1,{REST}\n", "SITE", row=12, column="id", rows=None),
    Case("F16", "id," + ",".join(f"x{number}" for number in range(5001)) + "\n", "SITE", rows=None),
    Case("F18", book(), "SITE", rows=None, tables=BOOK.replace(".xlsx", ".xls"), name="ratings.xls", says="Save"),
    Case(
        "F19",
        rewritten(book(), lambda parts: {**parts, "docProps/app.xml": b"<!DOCTYPE x [<!ENTITY a 'b'>]><x/>"}),
        "SITE",
        rows=None,
        tables=BOOK,
    ),
    Case("F20", book()[:-400], "SITE", rows=None, tables=BOOK),
    Case("F21", book(lambda file: file.copy_worksheet(file.active)), "SITE", rows=None, tables=BOOK, says="Sheet Copy"),
    Case("F22", book(lambda file: setattr(file.active.row_dimensions[3], "hidden", True)), "WARN", tables=BOOK),
    Case("F23", book(lambda file: file.active.merge_cells("C3:C4")), "ROW", row=3, rows=(10, 8, 2, 0), tables=BOOK, says="C3:C4"),
    Case("F24", book(sheet("C3", "=1+1")), "CELL", row=3, column="wai_1", tables=BOOK),
    Case("F25", book(sheet("C3", "#N/A")), "CELL", row=3, column="wai_1", tables=BOOK),
    Case("F26", book(sheet("A3", 7)), "SITE", row=3, column="id", rows=None, tables=BOOK),
    Case("F27", b"$FL2" + bytes(range(200)) * 3, "SITE", rows=None, tables=ratings().replace(".csv", ".sav"), name="ratings.sav"),
    Case("F29", PLAIN, "SITE", rows=OUT, top="expected_rows: {ratings.csv: 11}", says="10 data rows"),
    Case("F35", PLAIN, "SITE", rows=OUT, top=f"checksums: {{ratings.csv: {'0' * 64}}}", says="0" * 64),
    Case("H01", PLAIN.replace("wai_2", "wai_1", 1), "SITE", column="wai_1", rows=None, says="3, 4"),
    Case("H02", PLAIN.replace("wai_2", " wai_2", 1), "WARN"),
    Case("H02", PLAIN.replace("wai_2", "WAI_1", 1), "SITE", column="wai_1", rows=None),
    Case("H03", PLAIN.replace("wai_2", "", 1), "SITE", rows=None, says="4"),
    Case("H04", "\n".join(GOOD) + "\n", "SITE", rows=None),
    Case("H05", "Ratings of 2026\n\n" + PLAIN, "SITE", row=1, rows=None, says="header_row"),
    Case("H06", survey(), "WARN", rows=(10, 10, 0, 0)),
    Case("H07", PLAIN, "SITE", rows=None, tables=ratings("format: qualtrics")),
    Case(
        "H08",
        PLAIN.replace("wai_3", "wai3").replace("wai_7", "wai7"),
        "SITE",
        rows=OUT,
        says="wai_3 (nearest: wai3), wai_7 (nearest: wai7)",
    ),
    Case("H09", PLAIN.replace("wai_12", "wai_12,room").replace("\n", ",x\n").replace("room,x", "room"), "WARN", says="room"),
    Case(
        "H09", PLAIN.replace("wai_12", "wai_12,E-Mail").replace("\n", ",x\n").replace("E-Mail,x", "E-Mail"), "SITE", rows=OUT, says="E-Mail"
    ),
    Case(
        "H11",
        table(f"C1,1,{','.join('3' * 36)}", header="id,session," + ",".join(f"wai_{i}" for i in range(1, 37))),
        "SITE",
        rows=(1, 0, 0, 1),
    ),
    Case("H13", PLAIN.replace("wai_12", "wai_\u202e12"), "SITE", column="wai_\\u202e12", rows=None),
    Case("H14", "Record ID,Event Name,How?\n1,Therapy,often\n", "SITE", rows=None, tables=ratings("format: redcap")),
    Case(
        "H15",
        "id,mood___1\nC1,0\n",
        "SITE",
        column="mood",
        rows=None,
        tables=ratings("format: redcap").replace("session: session", "session: mood___1, date: mood___2"),
    ),
    Case("H16", table("C1,3", "C1,4", header="record_id,wai_1"), "SITE", rows=None, tables=ratings("format: redcap")),
    Case("H17", PLAIN.replace("\n", ",\n").replace("wai_12,", "wai_12"), "SITE", rows=None),
    Case("R01", PLAIN + f"C9,1,{REST},7\n", "ROW", row=12, rows=(11, 10, 1, 0)),
    Case("R02", PLAIN + "C9,1,3\n" + f"C8,1,{REST}\n", "ROW", row=12, rows=(12, 11, 1, 0)),
    Case("R04", PLAIN + GOOD[0] + "\n", "ROW", row=12, rows=(11, 10, 1, 0)),
    Case("R05", PLAIN + f"C1,1,{REST}\n", "ROW", row=2, rows=(11, 9, 2, 0)),
    Case("R07", PLAIN + f",1,{REST}\n", "ROW", row=12, column="id", rows=(11, 10, 1, 0)),
    Case("R08", PLAIN + f"007,1,{REST}\n7,1,{REST}\n", "WARN", row=13, rows=(12, 12, 0, 0)),
    Case("R09", PLAIN + f"Total,1,{REST}\n", "ROW", row=12, column="id", rows=(11, 10, 1, 0)),
    Case("R10", PLAIN + f"ZZZ,1,{REST}\n", "WARN", rows=(11, 10, 0, 1), top="test_ids: [ZZZ]"),
    Case("R14", PLAIN + f"C9,1.5,{REST}\n", "ROW", row=12, column="session", rows=(11, 10, 1, 0)),
    Case("V01", PLAIN.replace(GOOD[0], f"C1,1,7{REST[1:]}"), "CELL", row=2, column="wai_1"),
    Case("V02", PLAIN.replace(GOOD[0], f"C1,1,99{REST[1:]}"), "CELL", row=2, column="wai_1", says="missing_codes"),
    Case("V04", PLAIN.replace(GOOD[0], f'C1,1,"2,5"{REST[1:]}'), "CELL", row=2, column="wai_1", says="decimal:"),
    Case("V05", PLAIN.replace(GOOD[0], f"C1,1,4\u202f{REST[1:]}"), "WARN", column="wai_1"),
    Case("V06", PLAIN.replace(GOOD[0], f"C1,1,٣{REST[1:]}"), "CELL", row=2, column="wai_1"),
    Case("V07", PLAIN.replace(GOOD[0], f"C1,1,1_0{REST[1:]}"), "CELL", row=2, column="wai_1"),
    Case("V08", PLAIN.replace(GOOD[0], f"C1,1,-Infinity{REST[1:]}"), "CELL", row=2, column="wai_1"),
    Case("V09", PLAIN.replace(GOOD[0], f"C1,1,3.5{REST[1:]}"), "CELL", row=2, column="wai_1"),
    Case("V10", PLAIN.replace(GOOD[0], f"C1,1,often{REST[1:]}"), "CELL", row=2, column="wai_1"),
    Case("V14", PLAIN.replace(GOOD[0], f"C1,1,03-Apr{REST[1:]}"), "CELL", row=2, column="wai_1"),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{case.id}-{case.severity}" for number, case in enumerate(CASES)])
def test_a_planted_fault_is_named_with_code_severity_and_place_and_no_row_is_lost(tmp_path, case):
    cleaned = clean(tmp_path, case.tables, {case.file: case.content}, top=case.top, **case.options)
    issues = found(cleaned, case.code or case.id)
    assert issues, [(issue.code, issue.message) for issue in cleaned.issues]
    issue = next((issue for issue in issues if issue.severity == case.severity), None)
    assert issue is not None, issues
    assert issue.row == case.row and issue.column == case.column, (issue.row, issue.column)
    assert case.says in issue.message + issue.fix, issue.message + issue.fix
    assert (cleaned.status["status"] == "excluded") == (case.severity == "SITE")
    if case.severity == "SITE":
        assert not sum(map(len, cleaned.ratings.values()))
    assert account(cleaned, case.file) == (case.rows or (0, 0, 0, 0))


# Group A: what needs more than one planted file


@pytest.mark.parametrize("ends", ["\r", "\r\n", "mixed"])
def test_f08_all_line_ends_are_read_alike(tmp_path, ends):
    text = PLAIN.replace("\n", "\r\n", 4) if ends == "mixed" else PLAIN.replace("\n", ends)
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": text})
    assert cleaned.issues == [] and account(cleaned) == (10, 10, 0, 0)


def sav(values: dict[str, list], **options) -> bytes:
    rows = [line.split(",") for line in GOOD]
    frame = pd.DataFrame({"id": [row[0] for row in rows], "session": [float(row[1]) for row in rows]})
    for item in range(1, 13):
        frame[f"wai_{item}"] = [float(row[item + 1]) for row in rows]
    for name, column in values.items():
        frame[name] = column
    with tempfile.TemporaryDirectory() as folder:
        pyreadstat.write_sav(frame, f"{folder}/a.sav", **options)
        return Path(folder, "a.sav").read_bytes()


SAV = ratings().replace("ratings.csv", "ratings.sav")
LABELS = {f"wai_{item}": {1.0: "never", 5.0: "always"} for item in range(1, 13)}
TURNED = {f"wai_{item}": {1.0: "always", 5.0: "never"} for item in range(1, 13)}


def test_f30_the_reason_of_a_declared_missing_value_is_kept(tmp_path):
    content = sav({"wai_1": [99.0, *[3.0, 4.0] * 4, 2.0]}, missing_ranges={"wai_1": [99]}, variable_value_labels={"wai_1": {99: "refused"}})
    cleaned = clean(tmp_path, SAV, {"ratings.sav": content})
    assert cleaned.status["missing_reasons"] == {"wai_sr": {"refused": 1}}
    assert not [issue for issue in cleaned.issues if issue.severity != "WARN"]
    assert cleaned.ratings["wai_sr"]["i1"].isna().sum() == 1


def test_f31_labels_that_run_against_the_value_map_leave_the_site_out(tmp_path):
    mapped = SAV.replace('items: "wai_{item}"', 'items: "wai_{item}"\n    values: {items: {Never: 1, Always: 5}}')
    turned = clean(tmp_path / "a", mapped, {"ratings.sav": sav({}, variable_value_labels=TURNED)})
    (issue,) = found(turned, "F31")
    assert issue.severity == "SITE" and "'always' in wai_1 is 1 in the file and 5 in site.yaml" in issue.message
    assert account(turned, "ratings.sav") == (10, 0, 0, 10)
    right = clean(tmp_path / "b", mapped, {"ratings.sav": sav({}, variable_value_labels=LABELS)})
    assert right.issues == []


BOOK_HEADER = (
    '"Variable / Field Name","Form Name","Field Type","Choices, Calculations, OR Slider Labels",'
    '"Text Validation Type OR Show Slider Number","Text Validation Min","Text Validation Max"'
)


def codebook(choices: str = "1, never | 3, sometimes | 5, always", *more: str) -> str:
    return "\n".join([BOOK_HEADER, "id,f,text,,,,", *(f'wai_{item},f,radio,"{choices}",,,' for item in range(1, 13)), *more]) + "\n"


def test_f31_a_codebook_with_other_labels_or_another_range_leaves_the_site_out(tmp_path):
    def with_book(name, text, labels=LABELS):
        files = {"ratings.sav": sav({}, variable_value_labels=labels), "dictionary.csv": text}
        return clean(tmp_path / name, SAV, files, top="codebook: dictionary.csv")

    assert with_book("right", codebook()).issues == []
    (turned,) = found(with_book("turned", codebook(), TURNED), "F31")
    assert turned.severity == "SITE" and "'always' in wai_1 is 5 in the codebook and 1 elsewhere" in turned.message
    (wider,) = found(with_book("wider", codebook("0, never | 6, always"), {}), "F31")
    assert wider.severity == "SITE" and "0 to 6 in the codebook, 1 to 5 are declared" in wider.message
    (absent,) = found(with_book("absent", codebook().replace("wai_12,", "wai_99,")), "F31")
    assert absent.severity == "WARN" and "wai_12" in absent.message


def test_f32_labels_sent_as_answers_are_read_by_the_codebook_and_unknown_ones_are_missing(tmp_path):
    text = PLAIN.replace(GOOD[0], f"C1,1,always{REST[1:]}").replace(GOOD[1], f"C1,2,often{REST[1:]}")
    alone = clean(tmp_path / "a", ratings(), {"ratings.csv": text})
    assert [(issue.row, issue.column, issue.severity) for issue in found(alone, "V10")] == [(2, "wai_1", "CELL"), (3, "wai_1", "CELL")]
    described = clean(tmp_path / "b", ratings(), {"ratings.csv": text, "dictionary.csv": codebook()}, top="codebook: dictionary.csv")
    assert [(issue.row, issue.value_shown) for issue in found(described, "V10")] == [(3, "often")]
    assert described.ratings["wai_sr"]["i1"].tolist()[0] == 5


@pytest.mark.parametrize(
    ("text", "row", "says"),
    [
        (codebook() + "wai_1,f,text,,,,\n", 15, "twice"),
        (codebook() + ",f,text,,,,\n", 15, "names no field"),
        (
            codebook(
                "1, never | 5",
            ),
            3,
            "code, label",
        ),
        (codebook("1, never | 1, always"), 3, "stands twice"),
        (codebook() + "age,f,text,,integer,1..,9\n", 15, "not a number"),
        (codebook() + "age,f,text,,integer,9,1\n", 15, "above"),
        ("a,b\n1,2\n", None, "no REDCap data dictionary"),
    ],
)
def test_c16_a_malformed_codebook_names_each_row(tmp_path, text, row, says):
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": PLAIN, "dictionary.csv": text}, top="codebook: dictionary.csv")
    issue = found(cleaned, "C16")[0]
    assert (issue.severity, issue.file, issue.row) == ("SITE", "dictionary.csv", row)
    assert says in issue.message


def test_superseded_deliveries_never_leave_the_site_out(tmp_path):
    both = ratings().replace("ratings.csv", "[old.csv, ratings.csv]")
    for number, old in enumerate(
        [LATIN, b"", b"PK\x03\x04", PLAIN.replace("wai_3", "x").encode(), (HEADER + ",E-Mail\n" + GOOD[0] + ",x\n").encode()]
    ):
        cleaned = clean(tmp_path / str(number), both, {"old.csv": old, "ratings.csv": PLAIN})
        assert cleaned.status["status"] == "warnings", cleaned.status["reasons"]
        assert "later delivery" in " ".join(issue.message for issue in cleaned.issues if issue.file == "old.csv")
        assert account(cleaned) == (10, 10, 0, 0)
        increments = clean(
            tmp_path / f"{number}i", both.replace("EXTRA", "") + "    deliveries: incremental\n", {"old.csv": old, "ratings.csv": PLAIN}
        )
        assert increments.status["status"] == "excluded"


# Group B


def test_h06_a_survey_question_changed_since_the_last_delivery_is_named(tmp_path):
    tables = ratings("format: qualtrics\n    deliveries: incremental").replace("ratings.csv", "[a.csv, b.csv]")
    later = survey({"wai_3": "QID99"}, [f"C9,1,{REST}"])
    cleaned = clean(tmp_path / "a", tables, {"a.csv": survey(), "b.csv": later})
    (issue,) = found(cleaned, "H06")
    assert (issue.severity, issue.file, issue.n_affected) == ("SITE", "b.csv", 1)
    assert "wai_3" in issue.message and "a.csv" in issue.message
    same = clean(tmp_path / "b", tables, {"a.csv": survey(), "b.csv": survey({}, [f"C9,1,{REST}"])})
    assert same.issues == [] and account(same, "b.csv") == (1, 1, 0, 0)


def test_h09_columns_that_every_survey_export_has_raise_nothing(tmp_path):
    declared = clean(tmp_path / "a", ratings("format: qualtrics"), {"ratings.csv": survey()})
    assert declared.issues == []
    recognised = clean(tmp_path / "b", ratings(), {"ratings.csv": survey()})
    assert [issue.code for issue in recognised.issues] == ["H06"]


def test_h10_columns_in_another_order_change_nothing(tmp_path):
    rows = [",".join(reversed(line.split(","))) for line in PLAIN.splitlines()]
    first = clean(tmp_path / "a", ratings(), {"ratings.csv": PLAIN}).ratings["wai_sr"]
    second = clean(tmp_path / "b", ratings(), {"ratings.csv": "\n".join(rows) + "\n"})
    assert second.issues == [] and second.ratings["wai_sr"].equals(first)


# Group C


def test_r03_blank_rows_are_counted(tmp_path):
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": PLAIN.replace(GOOD[3], GOOD[3] + "\n\n" + "," * 13)})
    assert account(cleaned) == (12, 10, 0, 2)
    assert cleaned.status["files"][0]["excluded_by_rule"] == {"R03": 2} and cleaned.issues == []


def test_r12_lines_stay_physical_after_a_comment_of_two_lines(tmp_path):
    text = table(f'C1,1,{REST},"one\n""two"""', f"C2,x,{REST},", header=HEADER + ",comment")
    assert [(issue.row, issue.severity) for issue in found(clean(tmp_path, ratings(), {"ratings.csv": text}), "R14")] == [(4, "ROW")]


EVENTS = (
    ratings()
    + """
  - table: events
    files: events.csv
    rater: observer
    columns: {client_id: id, session: session, code: code, intensity: strength, therapist_id: th}
  - table: termination
    files: end.csv
    columns: {client_id: id, reason: why, judged_by: judge, last_session: last}
"""
)


def test_r13_the_order_of_rows_changes_no_byte_of_any_table(tmp_path):
    files = {
        "ratings.csv": PLAIN.splitlines(),
        "events.csv": ["id,session,code,strength,th", "C1,1,rupture,3,T2", "C1,1,rupture,1,T1", "C1,1,repair,,T9", "C1,1,rupture,2,T1"],
        "end.csv": ["id,why,judge,last", "C1,planned,therapist,2", "C1,unilateral,client,2", "C2,planned,,2"],
    }
    first, second = (
        clean(
            tmp_path / name,
            EVENTS,
            {file: "\n".join([lines[0], *turn(lines[1:])]) + "\n" for file, lines in files.items()},
            top="transfers: accept",
        )
        for name, turn in (("a", list), ("b", lambda lines: lines[::-1]))
    )
    assert first.tables["events"]["intensity"].isna().sum() == 1
    for name in first.tables:
        assert first.tables[name].equals(second.tables[name]), name
    assert first.ratings["wai_sr"].equals(second.ratings["wai_sr"])


def test_r17_one_client_and_one_row_are_kept(tmp_path):
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(GOOD[0])})
    assert account(cleaned) == (1, 1, 0, 0) and cleaned.status["counts"]["clients"] == 1


# Group D

CLIENTS = ratings() + "\n  - table: sessions\n    files: s.csv\n    columns: {client_id: id, session: session, attended: came}"


def test_v11_mixed_words_for_yes_and_no_need_a_map(tmp_path):
    sent = {"ratings.csv": PLAIN, "s.csv": "id,session,came\nC1,1,TRUE\nC1,2,yes\nC2,1,ja\nC2,2,1\nC3,1,si\n"}
    cleaned = clean(tmp_path / "a", CLIENTS, sent)
    assert [(issue.row, issue.column, issue.severity) for issue in found(cleaned, "V10")] == [
        (2, "came", "CELL"),
        (3, "came", "CELL"),
        (4, "came", "CELL"),
        (6, "came", "CELL"),
    ]
    mapped = clean(tmp_path / "b", CLIENTS + "\n    values: {attended: {TRUE: true, yes: true, ja: true}}", sent)
    assert [(issue.code, issue.row) for issue in mapped.issues if issue.severity == "CELL"] == [("V11", 6)]


def test_v20_ids_beyond_the_reach_of_numbers_stay_text(tmp_path):
    rows = [f"{number},1,{REST}" for number in ("9007199254740992", "9007199254740993")]
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(*rows)})
    assert cleaned.status["counts"]["clients"] == 2


@pytest.mark.parametrize("value", ["=cmd|' /C calc'!A0", "+1+1", "@SUM", "\t=1", "\r=1"])
def test_v21_nothing_that_a_spreadsheet_runs_is_written_as_such(tmp_path, value):
    from alliance.issues import from_csv, safe_cell, to_csv

    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(*GOOD, f'C9,1,"{value}"{REST[1:]}', f'"{value}",x,{REST}')})
    cells = [cell for issue in from_csv(to_csv(cleaned.issues)) for cell in (issue.value_shown, issue.message, issue.fix)]
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]
    for _, _, content in cleaned.quarantine["ratings.csv"]:
        assert str(safe_cell(content))[0] not in "=+-@\t\r"


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><svg onload=x>', "{{7*7}}", "]]>", "a\u202eb"])
def test_v22_v23_hostile_labels_stay_text_and_invisible_characters_are_escaped(tmp_path, text):
    quoted = text.replace('"', '\\"')
    cleaned = clean(
        tmp_path,
        ratings(),
        {"ratings.csv": PLAIN.replace(GOOD[0], f"C1,1,{text.replace(chr(34), '')}{REST[1:]}")},
        top=f'label: "{quoted}"',
    )
    (issue,) = found(cleaned, "V10")
    assert issue.value_shown == text.replace('"', "").replace("\u202e", "\\u202e")
    assert cleaned.status["label"] == text


def test_v24_free_text_reaches_no_table_and_no_issue(tmp_path):
    secret = "call 0171 5550123, born 3 April 1970, mail ann@example.org"
    text = table(f'C1,1,{REST},"{secret}"', f'C2,x,{REST},"{secret}"', header=HEADER + ",comment")
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": text})
    everything = [frame.to_csv() for frame in (*cleaned.tables.values(), *cleaned.ratings.values())] + [
        str(cleaned.issues),
        str(cleaned.status),
    ]
    assert not [text for text in everything if "5550123" in text or "ann@" in text]
    assert "5550123" in cleaned.quarantine["ratings.csv"][0][2]


# Groups E and F


def test_c11_a_secret_has_no_place_in_a_configuration_and_is_not_repeated(study_folder):
    from alliance.configuration.errors import ConfigurationError
    from alliance.configuration.study import load

    config = study_folder / "config.yaml"
    config.write_text(
        config.read_text(encoding="utf-8").replace("study:\n", "study:\n  id_key: hunter2-hunter2-hunter2\n", 1), encoding="utf-8"
    )
    with pytest.raises(ConfigurationError) as error:
        load(config)
    assert "study.id_key" in str(error.value) and "hunter2" not in str(error.value)


def test_p13_a_key_that_others_can_read_is_named_with_the_command_to_run(tmp_path, monkeypatch):
    from alliance.provenance import ensure_id_key

    monkeypatch.delenv("ALLIANCE_ID_KEY", raising=False)
    assert ensure_id_key(tmp_path) == []
    key = tmp_path / ".id_key"
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    assert ["chmod 600 .id_key" in warning for warning in ensure_id_key(tmp_path)] == [True]


# Every case has its test


ELSEWHERE = {
    "F17": "test_a_bomb_is_refused_by_its_directory",
    "F28": "test_a_crash_of_the_parser_costs_its_file_only",
    "F33": "test_changed_and_doubled_files_are_refused",
    "F34": "test_a_file_that_changes_while_it_is_read_is_refused",
    "F36": "test_junk_is_ignored_and_forgotten_files_are_named",
    "H12": "test_items_that_a_site_reversed_already_are_named_once_each",
    "R06": "test_clients_of_two_sites_are_compared_by_hashes_only_on_request",
    "R11": "test_rows_without_any_answer_are_not_sessions",
    "R15": "test_dates_out_of_order_or_before_treatment_are_warnings_without_values",
    "R16": "test_deliveries_in_different_layouts_are_refused",
    "V03": "test_a_missing_code_that_is_also_an_answer_is_refused",
    "V12": "test_dates_are_never_guessed_and_never_shown",
    "V13": "test_dates_are_never_guessed_and_never_shown",
    "V15": "test_constant_and_empty_items_are_warnings",
    "V16": "test_straight_lines_and_half_empty_rows_are_counted_and_kept",
    "V17": "test_a_range_that_is_never_used_to_the_end_is_a_warning",
    "V18": "test_answers_coded_from_zero_leave_the_site_out",
    "V19": "test_a_total_that_differs_from_its_items_is_a_warning_with_its_row",
    "A01": "test_small_sites_are_refused_with_the_numbers",
    "C01": "test_all_faults_are_reported_at_once_with_line_key_and_nearest_name",
    "C02": "test_a_repeated_key_is_refused_with_both_lines",
    "C03": "test_words_that_yaml_1_1_turns_into_something_else_stay_text",
    "C04": "test_tags_anchors_and_aliases_are_refused",
    "C05": "test_an_alias_bomb_is_refused_without_being_expanded",
    "C06": "test_faults_name_the_key_that_must_change",
    "C07": "test_faults_of_several_files_are_found_in_one_pass",
    "C08": "test_a_site_folder_with_a_name_that_is_no_id_stops_the_run",
    "C09": "test_a_model_or_measure_that_cannot_be_is_refused_before_any_job",
    "C10": "test_a_path_that_leaves_the_study_or_meets_its_results_is_refused",
    "C12": "test_another_id_key_is_refused_while_results_exist",
    "C13": "test_a_comment_in_the_configuration_runs_nothing",
    "C14": "test_changing_a_key_of_one_question_runs_that_question_only",
    "C17": "test_a_file_that_cannot_be_read_is_one_plain_fault",
    "P01": "test_a_site_folder_with_a_name_that_is_no_id_stops_the_run",
    "P02": "test_a_site_folder_with_a_name_that_is_no_id_stops_the_run",
    "P03": "test_shell_characters_in_ids_and_names_are_only_text",
    "P04": "test_pipes_sockets_and_folders_are_refused_without_waiting",
    "P05": "test_file_names_with_control_characters_or_too_long_are_to_be_renamed",
    "P06": "test_an_unreadable_file_is_named_with_its_mode",
    "P07": "test_a_path_that_leaves_the_study_or_meets_its_results_is_refused",
    "P08": "test_two_full_runs_give_the_same_bytes_in_tables_and_reports",
    "P09": "test_touching_every_file_runs_nothing",
    "P10": "test_two_full_runs_give_the_same_bytes_in_tables_and_reports",
    "P11": "test_touching_every_file_runs_nothing",
}
LATER = ("R18", "V25", "C15", "P12", "P14")
GROUPS = {"F": 36, "H": 17, "R": 18, "V": 25, "C": 17, "P": 14, "A": 12}


@cache
def sources_of_tests() -> dict[str, str]:
    """Return the source of every test function by its name."""
    sources = {}
    for path in sorted((PROJECT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                sources[node.name] = ast.get_source_segment(text, node) or ""
    return sources


def test_every_case_has_a_test():
    names = sources_of_tests()
    assert sorted(name for name in ELSEWHERE.values() if name not in names) == []
    here = {case.id for case in CASES} | set(ELSEWHERE)
    named = {found.upper() for name in names for found in re.findall(r"(?<![a-z0-9])[fhrvcpa][0-9]{2}(?![0-9])", name)}
    cases = {f"{letter}{number:02d}" for letter, count in GROUPS.items() for number in range(1, count + 1)}
    assert sorted(cases - here - named - set(LATER)) == []
    assert not set(LATER) & (here | named)


def raised_codes() -> set[str]:
    texts = [path.read_text(encoding="utf-8") for path in sorted((PROJECT / "scripts").rglob("*.py"))]
    return {code for text in texts for code in re.findall(r'"([AFHRVCPSDX][0-9]{2})"', text)}


def test_every_code_is_explained_to_the_data_manager():
    text = (PROJECT / "docs" / "bad-inputs.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| ([A-Z][0-9]{2}) \| .+ \| (?:RUN|SITE|ROW|CELL|WARN|rule)[A-Za-z, ]* \| .+ \|$", text, re.MULTILINE)
    assert sorted(raised_codes() - set(explained)) == []
    assert sorted(set(explained) - raised_codes()) == []
    assert len(explained) == len(set(explained))
