from __future__ import annotations

import csv
import io

import pytest
from alliance.issues import Severity
from reading_cases import cells, one, read, refused

EXPECTED = ("id", "session", "wai_1")
HEADER = "id,session,wai_1\n"


def codes(issues):
    return [issue.code for issue in issues]


# Encodings


def test_one_byte_order_mark_is_accepted_in_silence(tmp_path):
    table, issues = read(tmp_path, b"\xef\xbb\xbf" + HEADER.encode() + b"A1,1,3\n")
    assert issues == []
    assert table.columns[0] == "id"


def test_two_byte_order_marks_are_stripped_with_a_warning(tmp_path):
    table, issues = read(tmp_path, b"\xef\xbb\xbf\xef\xbb\xbf" + HEADER.encode() + b"A1,1,3\n")
    assert one(issues, "F03").severity is Severity.WARN
    assert table.columns[0] == "id"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_unicode_is_decoded_by_its_mark(tmp_path, encoding):
    text = HEADER + "Ä1,1,3\n"
    if encoding.endswith(("le", "be")):
        text = "\ufeff" + text
    table, issues = read(tmp_path, text.encode(encoding))
    assert one(issues, "F04").severity is Severity.WARN
    assert cells(table) == [["Ä1", "1", "3"]]


@pytest.mark.parametrize("rows_before", [0, 200_000])
def test_a_byte_that_is_not_utf8_is_placed_exactly(tmp_path, rows_before):
    before = HEADER.encode() + b"A1,1,3\n" * rows_before + b"B"
    issue = refused(read(tmp_path, before + "ä,1,3\n".encode("latin-1")), "F05")
    assert f"Byte {len(before)} (0xE4)" in issue.message
    assert issue.row == 2 + rows_before
    assert "encoding:" in issue.fix


def test_a_declared_encoding_is_used(tmp_path):
    content = (HEADER + "Müller,1,3\n").encode("cp1252")
    table, issues = read(tmp_path, content, encoding="cp1252")
    assert issues == []
    assert cells(table)[0][0] == "Müller"


def test_a_byte_outside_the_declared_encoding_is_placed(tmp_path):
    issue = refused(read(tmp_path, HEADER.encode() + b"A1,1,3\nA\x81,1,3\n", encoding="cp1252"), "F05")
    assert issue.row == 3


@pytest.mark.parametrize("name", ["klingon", "hex", "\0"])
def test_an_unknown_encoding_is_named(tmp_path, name):
    assert "not known" in refused(read(tmp_path, HEADER + "A1,1,3\n", encoding=name), "F05").message


@pytest.mark.parametrize("order", [("utf-8", "latin-1"), ("latin-1", "utf-8")])
def test_mixed_encodings_are_named_with_the_first_bad_line(tmp_path, order):
    lines = [("Ä" + name + ",1,3\n").encode(name) for name in order]
    issue = refused(read(tmp_path, HEADER.encode() + b"".join(lines)), "F06")
    assert issue.row == 2 + order.index("latin-1")


def test_a_character_cut_off_at_the_end_is_placed(tmp_path):
    content = (HEADER + "A1,1,3\nA2,1,ä").encode()[:-1]
    assert refused(read(tmp_path, content), "F05").row == 3


def test_nul_bytes_are_placed(tmp_path):
    issue = refused(read(tmp_path, HEADER + "A1,1,3\nA2,\0,3\n"), "F07")
    assert issue.row == 3 and "byte 4" in issue.message


def test_wide_unicode_without_a_mark_is_suspected(tmp_path):
    assert "utf-16-le" in refused(read(tmp_path, (HEADER + "A1,1,3\n").encode("utf-16-le")), "F07").fix


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r", "mixed"])
def test_all_line_ends_are_accepted(tmp_path, ends):
    lines = [HEADER.strip(), "A1,1,3", "A2,1,4", "A3,1,5", ""]
    text = "{}\r\n{}\n{}\r{}\r\n{}".format(*lines) if ends == "mixed" else ends.join(lines)
    table, issues = read(tmp_path, text)
    assert issues == []
    assert cells(table) == [["A1", "1", "3"], ["A2", "1", "4"], ["A3", "1", "5"]]
    assert table.rows.tolist() == [2, 3, 4]


def test_the_line_of_a_bad_byte_is_right_for_old_mac_line_ends(tmp_path):
    assert refused(read(tmp_path, b"id,session,wai_1\rA1,1,3\rA\xe4,1,3\r"), "F05").row == 3


# Separators


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_separator_is_found_from_the_expected_columns(tmp_path, separator):
    table, issues = read(tmp_path, (HEADER + "A1,1,3\n").replace(",", separator), expected_columns=EXPECTED)
    assert one(issues, "F09").severity is Severity.WARN
    assert cells(table) == [["A1", "1", "3"]]


def test_a_separator_is_not_guessed_without_expected_columns(tmp_path):
    assert "1 column found" in refused(read(tmp_path, (HEADER + "A1,1,3\n").replace(",", ";")), "F09").message


def test_a_file_of_other_columns_in_one_field_asks_for_the_separator(tmp_path):
    assert "1 column found" in refused(read(tmp_path, "id~session~wai_1\nA1~1~3\n", expected_columns=EXPECTED), "F09").message


def test_a_declared_separator_is_used_and_a_wrong_one_named(tmp_path):
    text = (HEADER + "A1,1,3\n").replace(",", ";")
    table, issues = read(tmp_path, text, separator=";")
    assert issues == [] and cells(table) == [["A1", "1", "3"]]
    assert "semicolon" in refused(read(tmp_path, text, separator=",", expected_columns=EXPECTED), "F09").message
    refused(read(tmp_path, text, separator="ab"), "F09")
    refused(read(tmp_path, text, separator="§"), "F09")


def test_tab_separated_files_need_no_declaration(tmp_path):
    table, issues = read(tmp_path, (HEADER + "A1,1,3\n").replace(",", "\t"), name="ratings.tsv")
    assert issues == [] and cells(table) == [["A1", "1", "3"]]


def test_a_file_of_one_column_is_accepted(tmp_path):
    table, issues = read(tmp_path, "client_id\nA1\n\nA2\n")
    assert issues == []
    assert cells(table) == [["A1"], ["A2"]]
    assert table.rows.tolist() == [2, 4] and table.rows_blank == 1


# Quotes


def test_an_unclosed_quote_is_named_by_the_line_where_it_opened(tmp_path):
    issue = refused(read(tmp_path, HEADER + 'A1,1,3\nA2,"1\n,2",3\nA3,"a,3\nA4,1,3\n'), "F12")
    assert issue.row == 5


def test_an_unclosed_quote_inside_a_long_record_is_named_by_its_own_line(tmp_path):
    assert refused(read(tmp_path, HEADER + 'A1,"two\nlines","x\nA2,1,3\n'), "F12").row == 3


def test_a_stray_quote_costs_its_row_only(tmp_path):
    table, issues = read(tmp_path, HEADER + 'A1,2"x",3\nA2,"2"x,3\nA3,"a, ""b""",3\n')
    assert [(q.row, q.code, q.text) for q in table.quarantined] == [(2, "F13", 'A1,2"x",3'), (3, "F13", 'A2,"2"x,3')]
    assert cells(table) == [["A3", 'a, "b"', "3"]]
    assert [(i.code, i.severity, i.row) for i in issues] == [("F13", Severity.ROW, 2), ("F13", Severity.ROW, 3)]


def test_a_quote_that_opens_and_swallows_the_next_row_costs_no_other_row(tmp_path):
    table, _ = read(tmp_path, HEADER + 'A1,"x,3\nA2,"y",3\nA3,1,3\n')
    assert [q.row for q in table.quarantined] == [2]
    assert [row[0] for row in cells(table)] == ["A2", "A3"]


def test_rows_swallowed_between_two_stray_quotes_are_not_one_good_row(tmp_path):
    table, issues = read(tmp_path, HEADER + 'A1,"x,3\nA2,1,3\nA3,x",3\nA4,1,3\n')
    assert one(issues, "F12").severity is Severity.ROW
    assert [(q.row, q.text) for q in table.quarantined] == [(2, 'A1,"x,3\nA2,1,3\nA3,x",3')]
    assert [row[0] for row in cells(table)] == ["A4"]


def test_quoted_line_breaks_and_quotes_are_values_and_lines_stay_physical(tmp_path):
    text = HEADER + 'A1,"he said ""well"",\nthen left",3\n\nA2,"",4\n"A3",1,x\n'
    table, issues = read(tmp_path, text)
    assert issues == []
    assert cells(table) == [["A1", 'he said "well",\nthen left', "3"], ["A2", "", "4"], ["A3", "1", "x"]]
    assert table.rows.tolist() == [2, 5, 6]
    assert table.rows_blank == 1


def test_physical_lines_stay_right_after_refused_rows(tmp_path):
    table, issues = read(tmp_path, HEADER + 'A1,"a\nb",3\nA2,1\nA3,1,3\nA4,1,3,9\nA5,"c\n\nd",3\nA6,1,3\n')
    assert table.rows.tolist() == [2, 5, 7, 10]
    assert [(q.row, q.code) for q in table.quarantined] == [(4, "R02"), (6, "R01")]
    assert [issue.row for issue in issues] == [4, 6]


# Rows


def test_longer_and_shorter_rows_are_quarantined_verbatim(tmp_path):
    table, issues = read(tmp_path, HEADER + "A1,1,3\nA2,1,3,extra\nA3,1\nA4,1,5\n")
    assert cells(table) == [["A1", "1", "3"], ["A4", "1", "5"]]
    assert table.rows.tolist() == [2, 5]
    assert [(q.row, q.code, q.text) for q in table.quarantined] == [(3, "R01", "A2,1,3,extra"), (4, "R02", "A3,1")]
    assert all(issue.severity is Severity.ROW and "A2" not in issue.message + issue.value_shown for issue in issues)


def test_a_last_row_cut_off_is_named_as_such(tmp_path):
    table, issues = read(tmp_path, HEADER + "A1,1,3\nA2,1")
    assert [(i.severity, i.row) for i in issues if i.code == "F14"] == [(Severity.WARN, None), (Severity.ROW, 3)]
    assert "does not end in a newline and its last row is short" in issues[0].message
    assert [(q.row, q.code, q.text) for q in table.quarantined] == [(3, "F14", "A2,1")]


def test_a_whole_last_row_without_newline_is_accepted(tmp_path):
    table, issues = read(tmp_path, HEADER + "A1,1,3\nA2,1,4")
    assert issues == [] and len(table.rows) == 2


def test_blank_lines_and_rows_of_separators_are_counted_and_skipped(tmp_path):
    table, issues = read(tmp_path, HEADER + "\nA1,1,3\n,,\n \t\n , ,\u00a0\n,\n,,,,\nA2,1,4\n\n\n")
    assert issues == []
    assert table.rows.tolist() == [3, 9]
    assert table.rows_blank == 8 and table.rows_in == 10


def test_rows_one_field_longer_than_the_header_never_shift_values(tmp_path):
    issue = refused(read(tmp_path, HEADER + "A1,1,3,\nA2,1,4,\n"), "H17")
    assert issue.n_affected == 2


def test_a_file_in_which_no_row_fits_the_header_is_refused(tmp_path):
    table, issues = read(tmp_path, HEADER + "A1,1\nA2\n")
    assert table is None
    assert [(i.code, i.severity) for i in issues] == [("R02", Severity.ROW), ("R02", Severity.ROW), ("R02", Severity.SITE)]


def test_faults_beyond_the_limit_are_counted(tmp_path):
    table, issues = read(tmp_path, HEADER + "A1,1,3\n" + "A2,1\n" * 25, max_listed=10)
    assert [i.n_affected for i in issues] == [1] * 10 + [15]
    assert issues[-1].row is None and "not listed" in issues[-1].message
    assert len(table.quarantined) == 25


def test_all_kinds_of_faults_of_a_file_are_found_in_one_pass(tmp_path):
    _, issues = read(
        tmp_path, b'\xef\xbb\xbf\xef\xbb\xbf id;session;wai_1\nA1;1;3\nA2;1\nA3;1;3;4\nA4;1"";3\nA5;1', expected_columns=EXPECTED
    )
    assert sorted(set(codes(issues))) == ["F03", "F09", "F13", "F14", "H02", "R01", "R02"]


# Cells


@pytest.mark.parametrize(
    "value",
    [
        "12345678901234567890",
        "007",
        "NA",
        "null",
        "1E5",
        "2.50",
        " 7 ",
        "7\u00a0",
        "７",
        "=cmd|' /C calc'!A0",
        "+1+1",
        "@SUM(A1)",
        "\tx",
        "<script>alert(1)</script>",
        "{{7*7}}",
        "]]>",
        "a\u202eb\u200bc",
        "e\u0301\u0301\u0301",
        "😀" * 2_500,
        "x" * 10_000,
        "TRUE",
        "2026-01-02",
        "-0",
        "inf",
        "'",
        "\\N",
    ],
)
@pytest.mark.parametrize("quoted", [False, True])
def test_cells_are_kept_verbatim(tmp_path, value, quoted):
    cell = f'"{value}"' if quoted else value
    table, issues = read(tmp_path, HEADER + f"A1,1,{cell}\n")
    assert issues == []
    assert cells(table) == [["A1", "1", value]]


def test_a_cell_longer_than_any_answer_is_refused(tmp_path):
    assert refused(read(tmp_path, HEADER + "A1,1,3\nA2,1," + "x" * 200_000 + "\n"), "F16").row == 3
    assert refused(read(tmp_path, HEADER + 'A1,1,3\nA2,1,"' + "x\n" * 100_000 + '"\n'), "F16").column == "wai_1"


def test_a_long_row_of_short_cells_is_accepted(tmp_path):
    header = ",".join(f"c{i}" for i in range(5_000))
    row = ",".join(["x" * 2_000] * 5_000)
    table, issues = read(tmp_path, f"{header}\n{row}\n")
    assert issues == [] and table.cells.num_columns == 5_000


def test_too_many_columns_are_refused(tmp_path):
    assert "5001" in refused(read(tmp_path, ",".join(f"c{i}" for i in range(5_001)) + "\n1\n"), "F16").message
    refused(read(tmp_path, "a," * 1_000_000 + "\n1\n"), "F16")
    refused(read(tmp_path, "x" * 3_000_000 + "\n1\n"), "F16")


# Headers


def test_equal_names_are_refused_with_both_positions(tmp_path):
    issue = refused(read(tmp_path, "id,wai_1,x,wai_1\nA1,1,2,3\n"), "H01")
    assert "2, 4" in issue.message and issue.column == "wai_1"


@pytest.mark.parametrize("name", [" wai_1", "wai_1\u00a0", "wai_1\t"])
def test_outer_spaces_of_names_are_stripped_with_a_warning(tmp_path, name):
    table, issues = read(tmp_path, f"id,{name}\nA1,3\n")
    assert one(issues, "H02").severity is Severity.WARN
    assert table.columns == ["id", "wai_1"]


def test_names_are_compared_in_one_unicode_form(tmp_path):
    table, issues = read(tmp_path, "id,a\u0308\nA1,3\n")
    assert table.columns == ["id", "ä"] and codes(issues) == ["H02"]
    refused(read(tmp_path, "id,a\u0308,ä\nA1,3,4\n"), "H02")


@pytest.mark.parametrize("other", ["WAI_1", "wai_1 ", "wai_1\u00a0"])
def test_names_that_only_look_different_are_refused(tmp_path, other):
    assert "2, 3" in refused(read(tmp_path, f"id,wai_1,{other}\nA1,3,4\n"), "H02").message


def test_the_spelling_of_the_site_file_wins_where_only_case_differs(tmp_path):
    table, issues = read(tmp_path, "ID,Session,wai_1\nA1,1,3\n", expected_columns=EXPECTED)
    assert table.columns == list(EXPECTED)
    assert one(issues, "H02").n_affected == 2


@pytest.mark.parametrize(("header", "position"), [("id,,wai_1", "2"), ("id,wai_1,", "3"), (",id,wai_1", "1"), ("id, ,wai_1", "2")])
def test_an_empty_name_is_refused_with_its_position(tmp_path, header, position):
    assert f"column {position}." in refused(read(tmp_path, f"{header}\nA1,1,3\n"), "H03").message


@pytest.mark.parametrize("row", ["A1,1,3", "A1,2026-01-02,4,5", "1,2,3,4.5"])
@pytest.mark.parametrize("expected", [(), EXPECTED])
def test_a_file_that_starts_with_data_is_refused(tmp_path, row, expected):
    assert "looks like data" in refused(read(tmp_path, f"{row}\n{row}\n", expected_columns=expected), "H04").message


def test_columns_named_by_numbers_are_accepted_where_they_are_expected(tmp_path):
    table, issues = read(tmp_path, "id,1,2,3\nA1,4,5,6\n", expected_columns=("id", "1", "2", "3"))
    assert issues == [] and table.columns == ["id", "1", "2", "3"]


@pytest.mark.parametrize("title", ["Ratings 2026\n", "Ratings 2026,,\nExported by,me,\n\n", "\n"])
@pytest.mark.parametrize("expected", [(), EXPECTED])
def test_title_rows_above_the_header_are_refused_with_the_row_to_set(tmp_path, title, expected):
    row = title.count("\n") + 1
    text = title + HEADER + "A1,1,3\n"
    issue = refused(read(tmp_path, text, expected_columns=expected), "H05")
    assert f"header_row: {row}" in issue.fix
    table, issues = read(tmp_path, text, expected_columns=expected, header_row=row)
    assert issues == []
    assert table.rows.tolist() == [row + 1] and table.rows_in == 1


def test_a_header_row_beyond_the_file_is_named(tmp_path):
    refused(read(tmp_path, HEADER + "A1,1,3\n", header_row=9), "H05")


@pytest.mark.parametrize("name", ["=1+1", "@x", "<b>x</b>", "+x"])
def test_names_that_would_run_elsewhere_are_only_text_here(tmp_path, name):
    table, issues = read(tmp_path, f"id,{name}\nA1,3\n")
    assert issues == [] and table.columns == ["id", name]


@pytest.mark.parametrize("name", ["wai\u202e_1", "wai\u200b_1", '"wai\n_1"', "wai\x07_1"])
def test_control_and_direction_characters_in_names_are_refused(tmp_path, name):
    issue = refused(read(tmp_path, f"id,{name}\nA1,3\n"), "H13")
    assert issue.column.isprintable()


def test_quotes_in_the_header_follow_the_same_rules(tmp_path):
    table, issues = read(tmp_path, '"id","wai, 1"\nA1,3\n')
    assert issues == [] and table.columns == ["id", "wai, 1"]
    refused(read(tmp_path, 'id,wai"1\nA1,3\n'), "F13")
    refused(read(tmp_path, 'id,"wai_1\nA1,3\n'), "F12")


def test_valid_text_is_read_as_the_standard_library_reads_it(tmp_path):
    text = io.StringIO()
    rows = [[f"A{i}", 'x"y' if i % 3 else "a,b", "two\nlines" if i % 7 == 0 else "", f" {i}"] for i in range(5_000)]
    csv.writer(text, lineterminator="\r\n").writerows([["id", "a", "b", "c"], *rows])
    table, issues = read(tmp_path, text.getvalue())
    assert issues == []
    assert cells(table) == rows
