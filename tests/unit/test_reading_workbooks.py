from __future__ import annotations

import datetime as dt
import io
import random
import zipfile

import openpyxl
import pytest
from alliance.issues import Severity
from alliance.sites.readers import workbook_archive as archives
from openpyxl.utils.datetime import CALENDAR_MAC_1904
from reading_cases import cells, one, read, refused

HEADER = ["id", "session", "wai_1"]
EXPECTED = tuple(HEADER)


def workbook(*rows, change=None, header=HEADER, epoch=None):
    """Return an .xlsx file with one sheet; ``change`` edits the workbook before it is saved."""
    book = openpyxl.Workbook()
    if epoch:
        book.epoch = epoch
    for row in [header, *rows]:
        book.active.append(row)
    if change:
        change(book)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def rewritten(data, edit):
    """Return a copy of an archive; ``edit`` takes and returns {member: bytes}."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in edit(parts).items():
            archive.writestr(name, part)
    return file.getvalue()


def with_sheet_xml(data, old, new):
    """Return a copy of a workbook with a piece of its first sheet's XML replaced."""

    def edit(parts):
        xml = parts["xl/worksheets/sheet1.xml"]
        assert old in xml
        return {**parts, "xl/worksheets/sheet1.xml": xml.replace(old, new)}

    return rewritten(data, edit)


def read_book(folder, data, **options):
    return read(folder, data, name="ratings.xlsx", **options)


# Cells


def test_typed_cells_become_plain_text(tmp_path):
    data = workbook(["A1", 3, 2.5], ["A2", True, -0.125], ["007", None, 1e-7], ["A4", 9007199254740991, 123456])
    table, issues = read_book(tmp_path, data)
    assert issues == []
    assert cells(table) == [["A1", "3", "2.5"], ["A2", "TRUE", "-0.125"], ["007", "", "1e-07"], ["A4", "9007199254740991", "123456"]]
    assert table.rows.tolist() == [2, 3, 4, 5]
    assert table.sheet == "Sheet"


def test_numbers_carry_the_decimal_mark_of_the_site(tmp_path):
    table, _ = read_book(tmp_path, workbook(["A1", 3, 2.5], ["A2", 1, "3,5"]), decimal=",")
    assert cells(table) == [["A1", "3", "2,5"], ["A2", "1", "3,5"]]


def test_whole_numbers_beyond_double_precision_keep_every_digit(tmp_path):
    data = workbook(["A1", 1, 12345])
    table, _ = read_book(tmp_path, with_sheet_xml(data, b"<v>12345</v>", b"<v>12345678901234567890</v>"))
    assert cells(table) == [["A1", "1", "12345678901234567890"]]


@pytest.mark.parametrize("epoch", [None, CALENDAR_MAC_1904])
def test_dates_become_iso_text_and_are_marked(tmp_path, epoch):
    data = workbook(
        ["A1", dt.date(2026, 4, 3), 1],
        ["A2", dt.datetime(2026, 4, 3, 10, 5, 6), dt.date(2026, 3, 4)],
        ["A3", "03.04.2026", dt.time(9, 30)],
        ["A4", 46023, dt.timedelta(hours=36, minutes=5)],
        epoch=epoch,
    )
    table, issues = read_book(tmp_path, data)
    assert issues == []
    assert [row[1:] for row in cells(table)] == [
        ["2026-04-03", "1"],
        ["2026-04-03T10:05:06", "2026-03-04"],
        ["03.04.2026", "09:30:00"],
        ["46023", "36:05:00"],
    ]
    assert table.date_typed == {"session": [2, 3], "wai_1": [3, 4, 5]}


@pytest.mark.parametrize("value", ["=cmd|' /C calc'!A0", "+1+1", "@SUM", "<script>", "]]>", "😀", "a\u202eb", "two\nlines", " 7 "])
def test_text_is_kept_verbatim(tmp_path, value):
    def as_text(book):
        book.active["C2"].data_type = "s"

    table, issues = read_book(tmp_path, workbook(["A1", "1", value], change=as_text))
    assert issues == []
    assert cells(table) == [["A1", "1", value]]


def test_a_formula_without_stored_value_is_a_fault_of_its_cell(tmp_path):
    table, issues = read_book(tmp_path, workbook(["A1", 1, "=1+1"], ["A2", 2, 3]))
    issue = one(issues, "F24")
    assert (issue.severity, issue.row, issue.column, issue.sheet) == (Severity.CELL, 2, "wai_1", "Sheet")
    assert cells(table) == [["A1", "1", ""], ["A2", "2", "3"]]


def test_a_formula_with_stored_value_is_its_value(tmp_path):
    data = with_sheet_xml(workbook(["A1", 1, "=1+1"]), b"<f>1+1</f><v />", b"<f>1+1</f><v>2</v>")
    table, issues = read_book(tmp_path, data)
    assert issues == [] and cells(table) == [["A1", "1", "2"]]


def test_a_formula_whose_text_is_empty_is_an_empty_cell(tmp_path):
    data = with_sheet_xml(workbook(["A1", 1, "=1+1"]), b'<c r="C2"><f>1+1</f><v />', b'<c r="C2" t="str"><f>""</f><v></v>')
    table, issues = read_book(tmp_path, data)
    assert issues == [] and cells(table) == [["A1", "1", ""]]


@pytest.mark.parametrize("code", ["#N/A", "#REF!", "#DIV/0!", "#VALUE!"])
def test_error_cells_are_faults_with_their_code(tmp_path, code):
    table, issues = read_book(tmp_path, workbook(["A1", 1, 3], ["A2", code, 3]))
    issue = one(issues, "F25")
    assert (issue.severity, issue.row, issue.column, issue.value_shown) == (Severity.CELL, 3, "session", code)
    assert cells(table)[1] == ["A2", "", "3"]


def test_cell_faults_beyond_the_limit_are_counted(tmp_path):
    _, issues = read_book(tmp_path, workbook(*[["A1", "#N/A", 3]] * 15), max_listed=4)
    assert [issue.n_affected for issue in issues] == [1, 1, 1, 1, 11]


@pytest.mark.parametrize("value", [7, 7.5, dt.date(2026, 1, 2)])
def test_ids_typed_as_numbers_or_dates_are_refused(tmp_path, value):
    issue = refused(read_book(tmp_path, workbook(["A1", 1, 3], [value, 2, 4]), id_columns=("id",)), "F26")
    assert (issue.row, issue.column, issue.value_shown) == (3, "id", "")
    assert "Excel" in issue.message


def test_ids_typed_as_text_are_kept(tmp_path):
    table, issues = read_book(tmp_path, workbook(["007", 1, 3], [None, 2, 4]), id_columns=("id",))
    assert issues == [] and [row[0] for row in cells(table)] == ["007", ""]


# Rows and headers


def test_blank_rows_are_counted_and_spreadsheet_rows_kept(tmp_path):
    table, issues = read_book(tmp_path, workbook(["A1", 1, 3], [None, " ", None], [], ["A2", 2, 4]))
    assert issues == []
    assert table.rows.tolist() == [2, 5]
    assert table.rows_blank == 2 and table.rows_in == 4


def test_a_sheet_without_rows_or_cells_is_refused(tmp_path):
    refused(read_book(tmp_path, workbook()), "F02")
    refused(read_book(tmp_path, workbook(header=[])), "F02")
    table, issues = read_book(tmp_path, workbook(), recruiting=True)
    assert one(issues, "F02").severity is Severity.WARN and len(table.rows) == 0


@pytest.mark.parametrize("title", [[["Ratings 2026"]], [["Ratings 2026"], [], ["exported", "by"]], [[]]])
@pytest.mark.parametrize("expected", [(), EXPECTED])
def test_title_rows_are_refused_with_the_row_to_set(tmp_path, title, expected):
    data = workbook(*title[1:], HEADER, ["A1", 1, 3], header=title[0])
    row = len(title) + 1
    assert f"header_row: {row}" in refused(read_book(tmp_path, data, expected_columns=expected), "H05").fix
    table, issues = read_book(tmp_path, data, header_row=row, expected_columns=expected)
    assert issues == [] and table.rows.tolist() == [row + 1]


def test_a_header_row_beyond_the_sheet_is_refused(tmp_path):
    refused(read_book(tmp_path, workbook(["A1", 1, 3]), header_row=9), "H05")


def test_a_name_missing_over_data_is_refused_by_its_letter(tmp_path):
    assert "column B" in refused(read_book(tmp_path, workbook(["A1", 1, 3], header=["id", None, "wai_1"])), "H03").message


def test_columns_without_name_and_data_are_left_out(tmp_path):
    def far(book):
        book.active["F2"] = " "
        book.active["F2"].value = None
        book.active["G2"].font = openpyxl.styles.Font(bold=True)

    table, issues = read_book(tmp_path, workbook(["A1", None, 3], header=["id", None, "wai_1"], change=far))
    assert issues == [] and table.columns == ["id", "wai_1"]


def test_equal_names_and_data_in_place_of_a_header_are_refused(tmp_path):
    assert "A, C" in refused(read_book(tmp_path, workbook(["A1", 1, 3], header=["id", "x", "id"])), "H01").message
    refused(read_book(tmp_path, workbook(["A1", 1, 3], header=["A0", 2, 3])), "H04")


def test_rows_with_merged_cells_are_quarantined(tmp_path):
    def merge(book):
        book.active.merge_cells("B3:B4")

    table, issues = read_book(tmp_path, workbook(["A1", 1, 3], ["A2", 2, 4], ["A3", None, 5], ["A4", 4, 6], change=merge))
    issue = one(issues, "F23")
    assert (issue.severity, issue.row, issue.n_affected) == (Severity.ROW, 3, 2) and "B3:B4" in issue.message
    assert [(q.row, q.code, q.text) for q in table.quarantined] == [(3, "F23", "A2,2,4"), (4, "F23", "A3,,5")]
    assert table.rows.tolist() == [2, 5]


def test_merged_title_cells_above_the_header_cost_nothing(tmp_path):
    def merge(book):
        book.active.merge_cells("A1:C1")

    table, issues = read_book(tmp_path, workbook(HEADER, ["A1", 1, 3], header=["Ratings"], change=merge), header_row=2)
    assert issues == [] and len(table.rows) == 1


# Sheets and what they hide


def add_sheet(name, *rows):
    def change(book):
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)

    return change


def test_the_only_sheet_with_the_expected_columns_is_used(tmp_path):
    data = workbook(["A1", 1, 3], change=add_sheet("Codes", ["code", "meaning"], [1, "never"]))
    table, issues = read_book(tmp_path, data, expected_columns=EXPECTED)
    assert issues == [] and table.sheet == "Sheet"


def test_the_only_sheet_with_all_expected_columns_is_used(tmp_path):
    data = workbook(["A1", 1, 3], change=add_sheet("Clients", ["id", "age"], ["A1", 30]))
    table, _ = read_book(tmp_path, data, expected_columns=EXPECTED)
    assert table.sheet == "Sheet"


@pytest.mark.parametrize("expected", [EXPECTED, ("other",), ()])
def test_none_or_two_matching_sheets_are_refused_with_all_names(tmp_path, expected):
    data = workbook(["A1", 1, 3], change=add_sheet("2025", HEADER, ["A1", 1, 3]))
    message = refused(read_book(tmp_path, data, expected_columns=expected), "F21").message
    assert "Sheet" in message and "2025" in message


def test_a_named_sheet_is_used_and_a_wrong_name_refused(tmp_path):
    data = workbook(["A1", 1, 3], change=add_sheet("2025", HEADER, ["B1", 1, 3]))
    table, issues = read_book(tmp_path, data, sheet="2025")
    assert issues == [] and cells(table) == [["B1", "1", "3"]]
    assert "2025" in refused(read_book(tmp_path, data, sheet="2024"), "F21").message


def test_an_empty_second_sheet_is_no_choice(tmp_path):
    table, issues = read_book(tmp_path, workbook(["A1", 1, 3], change=add_sheet("Sheet2")))
    assert issues == [] and table.sheet == "Sheet"


def test_hidden_parts_are_used_and_counted(tmp_path):
    def hide(book):
        sheet = book.active
        book.create_sheet("Notes")
        sheet.sheet_state = "hidden"
        book.active = 1
        sheet.row_dimensions[3].hidden = True
        sheet.row_dimensions[4].hidden = True
        sheet.column_dimensions["B"].hidden = True
        sheet.auto_filter.ref = "A1:C4"

    table, issues = read_book(tmp_path, workbook(["A1", 1, 3], ["A2", 2, 4], ["A3", 3, 5], change=hide), sheet="Sheet")
    assert len(table.rows) == 3 and table.columns == HEADER
    assert all(issue.code == "F22" and issue.severity is Severity.WARN for issue in issues)
    messages = " ".join(issue.message for issue in issues)
    for part in ("hidden sheet", "2 hidden data rows", "1 hidden column, used like the others: session", "filter"):
        assert part in messages
    assert [issue.n_affected for issue in issues if "hidden data rows" in issue.message] == [2]


# Archives


def test_a_bomb_is_refused_by_its_directory(tmp_path, monkeypatch):
    assert archives.MAX_UNPACKED_BYTES == 300_000_000
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 3_000_000)

    def inflate(parts):
        return {**parts, "xl/media/x.bin": random.Random(1).randbytes(1_000_000) + b"\0" * 3_000_000}

    assert "4 MB" in refused(read_book(tmp_path, rewritten(workbook(["A1", 1, 3]), inflate)), "F17").message


def test_a_small_bomb_is_refused_by_its_ratio(tmp_path):
    refused(read_book(tmp_path, rewritten(workbook(["A1", 1, 3]), lambda parts: {**parts, "x.bin": b"\0" * 20_000_000})), "F17")


def test_too_many_parts_are_refused(tmp_path):
    refused(read_book(tmp_path, rewritten(workbook(["A1", 1, 3]), lambda parts: {**parts, **{f"p{i}": b"" for i in range(2_000)}})), "F17")


def test_a_part_larger_than_the_directory_says_is_refused(tmp_path):
    data = bytearray(rewritten(workbook(["A1", 1, 3]), lambda parts: {**parts, "xl/x.xml": b"<a>" + b" " * 100_000 + b"</a>"}))
    size = (100_007).to_bytes(4, "little")
    while (at := data.find(size)) >= 0:
        data[at : at + 4] = (10).to_bytes(4, "little")
    refused(read_book(tmp_path, bytes(data)), "F20")


@pytest.mark.parametrize("reference", ["XFE1", "ZZZ2"])
def test_cells_far_to_the_right_are_refused_before_the_sheet_is_opened(tmp_path, reference):
    data = with_sheet_xml(workbook(["A1", 1, 3]), b'r="C2"', f'r="{reference}"'.encode())
    refused(read_book(tmp_path, data), "F16")


def test_a_sheet_that_spans_too_many_cells_is_refused_before_it_is_opened(tmp_path):
    data = with_sheet_xml(workbook(["A1", 1, 3]), b'<row r="2"><c r="A2"', b'<row r="1048576"><c r="ALL1048576"')
    assert "1048576 rows" in refused(read_book(tmp_path, data), "F16").message


@pytest.mark.parametrize("part", ["xl/workbook.xml", "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "docProps/app.xml"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_definition_in_any_part_is_refused(tmp_path, part, encoding):
    xml = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>'.encode(encoding)
    refused(read_book(tmp_path, rewritten(workbook(["A1", 1, 3]), lambda parts: {**parts, part: xml})), "F19")


def test_a_damaged_part_is_refused(tmp_path):
    data = workbook(*[[f"A{i}", i, i % 7] for i in range(500)])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        member = archive.getinfo("xl/worksheets/sheet1.xml")
    start = member.header_offset + 60
    assert "damaged" in refused(read_book(tmp_path, data[:start] + b"\xff" * 40 + data[start + 40 :]), "F20").message
    refused(read_book(tmp_path, data[: len(data) // 2]), "F20")


def test_broken_xml_is_refused(tmp_path):
    data = workbook(["A1", 1, "#N/A"])
    refused(read_book(tmp_path, with_sheet_xml(data, b"</sheetData>", b"")), "F20")
    refused(read_book(tmp_path, rewritten(data, lambda parts: {**parts, "xl/workbook.xml": b"<workbook"})), "F20")


def test_a_protected_workbook_is_named_as_such(tmp_path):
    protected = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 512 + "EncryptedPackage".encode("utf-16-le")
    assert "password" in refused(read_book(tmp_path, protected), "F18").message
    assert ".xls" in refused(read_book(tmp_path, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 512), "F18").message


def test_an_encrypted_archive_is_named_as_such(tmp_path):
    data = bytearray(workbook(["A1", 1, 3]))
    at = data.find(b"PK\x01\x02")
    data[at + 8] |= 1
    assert "password" in refused(read_book(tmp_path, bytes(data)), "F18").message


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ({"xl/vbaProject.bin": b"x"}, ".xlsm"),
        ({"xl/workbook.bin": b"x"}, ".xlsb"),
        ({"mimetype": b"application/vnd.oasis.opendocument.spreadsheet"}, "OpenDocument"),
    ],
)
def test_other_spreadsheets_under_the_ending_xlsx_are_named(tmp_path, parts, what):
    data = rewritten(workbook(["A1", 1, 3]), lambda old: {**old, **parts})
    assert what in refused(read_book(tmp_path, data), "F18").message


def test_another_archive_under_the_ending_xlsx_is_refused(tmp_path):
    data = rewritten(workbook(["A1", 1, 3]), lambda _: {"data.csv": b"id\n1\n"})
    refused(read_book(tmp_path, data), "F11")
