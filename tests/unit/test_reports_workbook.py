"""The workbook holds what the tables hold, explains itself, runs nothing, and is the same every time."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import zipfile

import openpyxl
import pandas as pd
import pytest
import report_study
import xlsxwriter
from alliance.questions import contract
from alliance.reports import table_sheet, workbook
from python_calamine import CalamineWorkbook
from support import PROJECT

FACTS = [("Study", "Ups & <downs>"), ("Scenario", "base")]


@pytest.fixture(scope="module")
def tables():
    return report_study.study().tables


@pytest.fixture(scope="module")
def made(tables):
    return workbook.build(tables, FACTS)


def digits(value):
    """Return a number with the sixteen digits that a workbook keeps, anything else as it is."""
    return float(f"{value:.16G}") if isinstance(value, float) else value


def read(content: bytes):
    return openpyxl.load_workbook(io.BytesIO(content))


def test_every_cell_of_every_table_stands_in_the_workbook_as_two_readers_see_it(made, tables):
    book, other = read(made), CalamineWorkbook.from_filelike(io.BytesIO(made))
    checked = 0
    for sheet in workbook.sheets(tables):
        head, *rows = book[sheet.name].iter_rows(values_only=True)
        assert list(head) == list(sheet.frame.columns) == other.get_sheet_by_name(sheet.name).to_python()[0]
        assert len(rows) == len(sheet.frame)
        for name, seen in zip(head, zip(*rows, strict=True), strict=True):
            for value, cell in zip(sheet.frame[name].tolist(), seen, strict=True):
                unknown = value is None or value is pd.NA or value != value or value == ""
                expected = None if unknown else value
                assert digits(cell) == digits(expected) and (cell is None or isinstance(cell, str) == isinstance(value, str)), (
                    sheet.name,
                    name,
                    value,
                    cell,
                )
                checked += cell is not None
    assert checked > 10_000


def test_the_first_sheet_explains_every_sheet_column_and_word(made, tables):
    book = read(made)
    assert book.sheetnames[0] == "Contents"
    rows = [tuple(cell or "" for cell in row) for row in book["Contents"].iter_rows(values_only=True)]
    assert rows[0][:2] == ("Study", "Ups & <downs>")
    first = {row[0]: row for row in rows}
    for sheet in workbook.sheets(tables):
        schema = contract.table(sheet.question, sheet.table)
        assert first[sheet.name][1:5] == (sheet.question, sheet.table, schema.description, len(sheet.frame))
    explained = {(row[0], row[1], row[2]) for row in rows}
    for sheet in workbook.sheets(tables):
        for column in sheet.frame.columns:
            own = (column, sheet.question, sheet.table) in explained
            assert own or (column, "all", "all") in explained or (column, "all", "those that pool sites") in explained, column
    for words in (contract.ESTIMATE_TYPES, contract.METHODS):
        assert {(word, "", "") for word in words} <= explained


def test_names_of_sheets_are_short_and_unique_whatever_tables_are_called():
    frame = pd.DataFrame({"a": [1]})
    named = {
        "question_with_a_long_name": {"table_with_a_long_name": frame, "table_with_a_long_name_too": frame, "T/[x]": frame, "t_[x]": frame}
    }
    names = [sheet.name for sheet in workbook.sheets(named | {"Contents": {"": frame}})]
    assert all(0 < len(name) <= 31 and not re.search(r"[\[\]:*?/\\']", name) for name in names)
    assert len({name.lower() for name in [*names, "Contents"]}) == len(names) + 1


def test_a_table_longer_than_a_sheet_goes_on_in_a_second_one(monkeypatch):
    monkeypatch.setattr(workbook, "MAX_ROWS", 4)
    book = read(workbook.build({"q": {"t": pd.DataFrame({"a": range(7)})}}, FACTS))
    assert book.sheetnames == ["Contents", "q t", "q t 2", "q t 3"]
    assert [cell.value for name in book.sheetnames[1:] for (cell,) in list(book[name].rows)[1:]] == list(range(7))


def test_text_that_looks_like_a_formula_is_text_and_stays_so_when_it_is_edited():
    hostile = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", '=HYPERLINK("http://x","y")', "<script>&amp;", "a\x00b", "  blank  "]
    content = workbook.build({"q": {"t": pd.DataFrame({"a": hostile}, dtype=object)}}, FACTS)
    cells = [cell for (cell,) in list(read(content)["q t"].rows)[1:]]
    assert [cell.data_type for cell in cells] == ["s"] * len(hostile)
    assert [cell.value for cell in cells] == [text.replace("\x00", "\N{REPLACEMENT CHARACTER}") for text in hostile]
    assert [bool(cell.quotePrefix) for cell in cells] == [True] * 6 + [False] * 3
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert not any(re.search(rb"<f[ >/]", archive.read(name)) for name in archive.namelist() if name.startswith("xl/worksheets/"))


def test_numbers_keep_sixteen_digits_and_unknown_ones_are_empty_cells():
    numbers = [0.1234567890123456, 1e-300, -0.0, float("nan"), float("inf")]
    frame = pd.DataFrame({"x": numbers, "n": pd.array([1, 2, None, 4, 2**40], dtype="Int64")})
    rows = list(read(workbook.build({"q": {"t": frame}}, FACTS))["q t"].iter_rows(min_row=2, values_only=True))
    assert [row[0] for row in rows] == [0.1234567890123456, 1e-300, 0, None, None]
    assert [row[1] for row in rows] == [1, 2, None, 4, 2**40]


def test_equal_tables_give_equal_bytes_without_the_time_of_day(made, tables):
    assert workbook.build(tables, FACTS) == made
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert set(re.findall(rb"\d{4}-\d\d-\d\dT[\d:]+Z", archive.read("docProps/core.xml"))) == {b"1980-01-01T00:00:00Z"}


def test_the_command_writes_the_workbook_of_the_questions_that_are_asked(tmp_path):
    study = report_study.only(report_study.study(), "early_gains", "dropout")
    report_study.write(study, tmp_path)
    options = json.loads(json.dumps(study.options))
    for name, chosen in options["questions"].items():
        chosen["enabled"] = name == "early_gains"
    (tmp_path / "options.json").write_text(json.dumps(options), encoding="utf-8")
    call = [sys.executable, PROJECT / "scripts" / "write_workbook.py", "--scenario", "base", "--tables", tmp_path / "tables"]
    call += ["--config", tmp_path / "options.json", "--provenance", tmp_path / "provenance.json", "--output", tmp_path / "tables.xlsx"]
    subprocess.run([str(part) for part in call], check=True)
    book = read((tmp_path / "tables.xlsx").read_bytes())
    assert {name.split(" ")[0] for name in book.sheetnames} == {"Contents", "early_gains"}
    assert book["Contents"]["B2"].value.startswith("No real client")


def cell_by_cell(frame: pd.DataFrame) -> bytes:
    """Return a workbook with one table, each cell written by itself."""
    made = io.BytesIO()
    with xlsxwriter.Workbook(made, {"in_memory": True}) as book:
        head, quoted = book.add_format({"bold": True}), book.add_format({"num_format": "@", "quote_prefix": True})
        sheet = book.add_worksheet("one")
        sheet.freeze_panes(1, 0)
        for column, name in enumerate(frame.columns):
            sheet.write_string(0, column, name, head)
        for column, name in enumerate(frame.columns):
            for row, value in enumerate(frame[name], start=1):
                if isinstance(value, str):
                    if value:
                        text = workbook._text(value)
                        sheet.write_string(row, column, text, quoted if text[0] in "=+-@\t\r" else None)
                elif not pd.isna(value) and abs(value) < float("inf"):
                    sheet.write_number(row, column, float(value))
    return made.getvalue()


def in_one_table(frame: pd.DataFrame) -> bytes:
    """Return the same workbook as the product writes it."""
    made = io.BytesIO()
    with xlsxwriter.Workbook(made, {"in_memory": True}) as book:
        styles = workbook._Styles(book.add_format({"bold": True}), book.add_format({"num_format": "@", "quote_prefix": True}))
        workbook._write_table(book.add_worksheet("one", workbook.TableSheet), frame, styles)
    return made.getvalue()


TEXTS = ["a", "", "=b", "a & <b>", " c ", "\x07", "+", "\N{GRINNING FACE}" * 17_000]
TABLES = {
    "no rows": {"text": pd.Series([], dtype="str"), "number": pd.Series([], dtype=float)},
    "texts and numbers": {"text": TEXTS, "n": [1.0, None, float("inf"), *[0.1] * 5]},
    "empty rows": {"no": [""] * 40, "late": [*[""] * 20, "x", *[""] * 19], "n": pd.array([*[None] * 30, 7, *[None] * 9], dtype="Int64")},
    "wide": {f"c{place}": [str(row % 7) if (row + place) % 3 else "" for row in range(50)] for place in range(40)},
    "extremes": {"n": [1e-300, -0.0, 1.234567890123456789e17, 1 / 3, 2.5e20], "text": ["1", None, "", float("nan"), "-1"]},
}


@pytest.mark.parametrize("frame", [pd.DataFrame(columns) for columns in TABLES.values()], ids=list(TABLES))
def test_a_table_written_at_once_has_the_bytes_of_its_cells_written_one_by_one(frame):
    first, second = (
        {name: archive.read(name) for name in archive.namelist() if name != "docProps/core.xml"}
        for archive in (zipfile.ZipFile(io.BytesIO(content)) for content in (cell_by_cell(frame), in_one_table(frame)))
    )
    assert first == second


def test_a_table_of_more_rows_than_are_written_at_once_has_the_same_bytes(monkeypatch):
    frame = pd.DataFrame({"text": [f"t{row % 11}" for row in range(100)], "n": [row / 7 for row in range(100)]})
    expected = in_one_table(frame)
    monkeypatch.setattr(table_sheet, "BLOCK", 32)
    assert zipfile.ZipFile(io.BytesIO(in_one_table(frame))).read("xl/worksheets/sheet1.xml") == zipfile.ZipFile(io.BytesIO(expected)).read(
        "xl/worksheets/sheet1.xml"
    )
