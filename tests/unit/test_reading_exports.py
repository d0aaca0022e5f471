from __future__ import annotations

import json

import pytest
from alliance.issues import Severity
from reading_cases import cells, one, read, refused
from test_reading_workbooks import workbook

# Qualtrics

NAMES = ["StartDate", "Status", "IPAddress", "RecipientLastName", "RecipientEmail", "LocationLatitude", "LocationLongitude", "PID", "Q1"]
TEXTS = ["Start", "Type", "IP", "Last", "Mail", "Lat", "Lon", "Your code", "First question,\nsecond line"]
IMPORT_IDS = [json.dumps({"ImportId": name if name != "Q1" else "QID1"}) for name in NAMES]


def quoted(cell):
    return '"' + cell.replace('"', '""') + '"'


def qualtrics(*statuses, header_rows=(NAMES, TEXTS, IMPORT_IDS)):
    rows = [
        ["2026-01-02", status, "203.0.113.7", "Doe", "doe@example.org", "1.5", "2.5", f"P{i}", "3"] for i, status in enumerate(statuses)
    ]
    return "".join(",".join(map(quoted, row)) + "\n" for row in [*header_rows, *rows])


def test_three_header_rows_are_no_participants(tmp_path):
    table, issues = read(tmp_path, qualtrics("0", "0"), format="qualtrics")
    assert issues == []
    assert table.columns == ["StartDate", "Status", "PID", "Q1"]
    assert cells(table) == [["2026-01-02", "0", "P0", "3"], ["2026-01-02", "0", "P1", "3"]]
    assert table.rows.tolist() == [5, 6] and table.rows_in == 2
    assert table.questions["Q1"] == TEXTS[-1]
    assert table.import_ids["Q1"] == "QID1"


@pytest.mark.parametrize("preview", ["1", "Survey Preview", "2", "Survey Test"])
def test_previews_are_left_out_and_counted(tmp_path, preview):
    table, issues = read(tmp_path, qualtrics("0", preview, "IP Address", preview), format="qualtrics")
    assert table.excluded == {"R10": 2} and table.rows_in == 4
    assert [row[2] for row in cells(table)] == ["P0", "P2"]
    assert (one(issues, "R10").severity, one(issues, "R10").n_affected) == (Severity.WARN, 2)


def test_nothing_that_identifies_a_person_leaves_the_reader(tmp_path):
    table, issues = read(tmp_path, qualtrics("0", "1"), format="qualtrics")
    for secret in ("203.0.113.7", "Doe", "doe@example.org", "1.5", "2.5"):
        assert secret not in str(table) + str(cells(table)) + str(issues)


def test_an_export_that_is_not_declared_is_recognised(tmp_path):
    table, issues = read(tmp_path, qualtrics("0"))
    assert one(issues, "H06").severity is Severity.WARN
    assert table.rows_in == 1 and table.columns == ["StartDate", "Status", "PID", "Q1"]


def test_an_export_with_two_header_rows_is_refused(tmp_path):
    assert (
        "three header rows" in refused(read(tmp_path, qualtrics("0", "0", header_rows=(NAMES, TEXTS)), format="qualtrics"), "H07").message
    )
    refused(read(tmp_path, "PID,Q1\nA1,3\n", format="qualtrics"), "H07")


def test_an_export_without_answers_or_only_previews_is_refused(tmp_path):
    refused(read(tmp_path, qualtrics(), format="qualtrics"), "F02")
    refused(read(tmp_path, qualtrics("1"), format="qualtrics"), "F02")
    table, _ = read(tmp_path, qualtrics("1"), format="qualtrics", recruiting=True)
    assert table.excluded == {"R10": 1}


def test_tab_separated_wide_unicode_exports_are_read(tmp_path):
    text = "".join("\t".join(map(quoted, row)) + "\n" for row in (NAMES, TEXTS, IMPORT_IDS, ["x"] * len(NAMES)))
    table, issues = read(tmp_path, text.encode("utf-16"), "a.tsv", format="qualtrics")
    assert [issue.code for issue in issues] == ["F04"] and table.rows_in == 1


def test_workbook_exports_are_read_alike(tmp_path):
    row = ["2026-01-02", "0", "203.0.113.7", "Doe", "doe@example.org", "1.5", "2.5", "P1", 3]
    table, issues = read(tmp_path, workbook(TEXTS, IMPORT_IDS, row, header=NAMES), "a.xlsx", format="qualtrics")
    assert issues == []
    assert cells(table) == [["2026-01-02", "0", "P1", "3"]]


# REDCap

LONGITUDINAL = (
    "record_id,redcap_event_name,redcap_repeat_instrument,redcap_repeat_instance,wai_1,wai_complete\n"
    "1,therapy_arm_1,wai,1,3,2\n1,therapy_arm_1,wai,2,4,2\n2,therapy_arm_1,wai,1,5,2\n"
)


def test_a_raw_longitudinal_export_is_read(tmp_path):
    table, issues = read(tmp_path, LONGITUDINAL, format="redcap")
    assert issues == [] and len(table.rows) == 3


@pytest.mark.parametrize(
    "header",
    ["Record ID,Event Name,Repeat Instance,How was it?,Complete?", "record_id,Event Name,x_1,x_2,x_3", "Record ID,How was it?,b,C D,E F"],
)
def test_a_labels_export_is_refused(tmp_path, header):
    issue = refused(read(tmp_path, header + "\n1,Therapy,1,often,Complete\n", format="redcap"), "H14")
    assert "raw" in issue.fix


def test_labels_as_values_are_refused(tmp_path):
    issue = refused(read(tmp_path, "record_id,wai_1,wai_complete\n1,often,Complete\n", format="redcap"), "H14")
    assert issue.column == "wai_complete"


def test_a_partly_missing_checkbox_is_refused(tmp_path):
    text = "record_id,race___1,race___3\n1,0,1\n"
    issue = refused(read(tmp_path, text, format="redcap", expected_columns=("record_id", "race___1", "race___2", "race___3")), "H15")
    assert "race___2" in issue.message


def test_a_gap_in_a_checkbox_is_a_warning(tmp_path):
    table, issues = read(tmp_path, "record_id,race___1,race___3,race___99\n1,0,1,0\n", format="redcap")
    assert table is not None
    issue = one(issues, "H15")
    assert issue.severity is Severity.WARN and "choices 2." in issue.message


def test_repeated_records_without_event_are_refused(tmp_path):
    text = "record_id,wai_1\n1,3\n1,4\n2,5\n"
    issue = refused(read(tmp_path, text, format="redcap"), "H16")
    assert "redcap_event_name and redcap_repeat_instance" in issue.message and issue.n_affected == 1


def test_repeated_events_without_instance_are_refused(tmp_path):
    text = "record_id,redcap_event_name,wai_1\n1,therapy_arm_1,3\n1,therapy_arm_1,4\n"
    assert "lacks redcap_repeat_instance," in refused(read(tmp_path, text, format="redcap"), "H16").message


def test_a_repeat_instrument_without_instance_is_refused(tmp_path):
    refused(read(tmp_path, "record_id,redcap_repeat_instrument,wai_1\n1,wai,3\n", format="redcap"), "H16")


def test_an_expected_event_column_must_be_there(tmp_path):
    text = "record_id,wai_1\n1,3\n"
    refused(read(tmp_path, text, format="redcap", expected_columns=("record_id", "redcap_event_name")), "H16")


def test_one_row_a_record_needs_no_event(tmp_path):
    table, issues = read(tmp_path, "record_id,wai_1\n1,3\n2,4\n", format="redcap")
    assert issues == [] and len(table.rows) == 2


def test_all_faults_of_an_export_are_found_in_one_pass(tmp_path):
    text = "record_id,redcap_repeat_instrument,race___1,wai_complete\n1,wai,0,Complete\n"
    table, issues = read(tmp_path, text, format="redcap", expected_columns=("record_id", "race___1", "race___2"))
    assert table is None
    assert sorted(issue.code for issue in issues) == ["H14", "H15", "H16"]
