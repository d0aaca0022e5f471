from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys

import pandas as pd
import pyreadstat
import pytest
from alliance.issues import Severity
from alliance.sites.readers import statistical_child, statistical_files
from reading_cases import cells, one, read, read_path, refused

FRAME = pd.DataFrame(
    {
        "id": ["007", "A2", "A3", ""],
        "wai_1": [1, 99, 2.5, None],
        "seen": [dt.date(2026, 4, 3), None, dt.date(2025, 1, 2), None],
        "at": [pd.Timestamp(2026, 4, 3, 10, 5, 6), pd.NaT, pd.Timestamp(2026, 1, 1), pd.NaT],
    }
)


def spss(path, frame=FRAME, **options):
    pyreadstat.write_sav(frame, str(path), **options)
    return path


@pytest.fixture(scope="module")
def whole_sav(tmp_path_factory):
    return spss(tmp_path_factory.mktemp("sav") / "a.sav").read_bytes()


def test_an_spss_file_becomes_plain_text(tmp_path):
    path = spss(
        tmp_path / "a.sav",
        variable_value_labels={"wai_1": {1: "never", 99: "skipped", -95: "refused"}},
        missing_ranges={"wai_1": [99, {"lo": -99, "hi": -90}]},
    )
    table, issues = read_path(path)
    assert issues == []
    assert cells(table) == [
        ["007", "1", "2026-04-03", "2026-04-03T10:05:06"],
        ["A2", "99", "", ""],
        ["A3", "2.5", "2025-01-02", "2026-01-01"],
    ]
    assert table.rows.tolist() == [1, 2, 3] and table.rows_blank == 1
    assert table.labels == {"wai_1": {"1": "never", "99": "skipped", "-95": "refused"}}
    assert table.date_typed == {"seen": [1, 3], "at": [1, 3]}


def test_the_reason_of_a_missing_code_is_kept(tmp_path):
    frame = pd.DataFrame({"id": ["A1", "A2", "A3", "A4"], "wai_1": [99.0, -95.0, -91.0, 4.0], "note": ["x", "zz", "", "y"]})
    path = spss(
        tmp_path / "a.sav",
        frame,
        variable_value_labels={"wai_1": {99: "skipped", -95: "refused"}},
        missing_ranges={"wai_1": [99, {"lo": -99, "hi": -90}], "note": ["zz"]},
    )
    table, _ = read_path(path)
    assert [row[1] for row in cells(table)] == ["99", "-95", "-91", "4"]
    assert table.missing_reasons == {
        "wai_1": {"99": "skipped", "-95": "refused", "-91": "missing values -99 to -90"},
        "note": {"zz": "missing value zz"},
    }


def test_numbers_carry_the_decimal_mark_of_the_site(tmp_path):
    table, _ = read_path(spss(tmp_path / "a.sav"), decimal=",")
    assert [row[1] for row in cells(table)] == ["1", "99", "2,5"]
    assert cells(table)[0][2] == "2026-04-03"


def test_every_spss_date_format_becomes_iso_text(tmp_path):
    formats = {f"v{i}": form for i, form in enumerate(["DATE11", "ADATE10", "ADATE8", "EDATE10", "SDATE10", "JDATE7"])}
    seconds = (dt.date(2026, 4, 3) - dt.date(1582, 10, 14)).days * 86400.0
    frame = pd.DataFrame({"id": ["A1"], **{name: [seconds] for name in formats}})
    table, _ = read_path(spss(tmp_path / "a.sav", frame, variable_format=formats))
    assert cells(table) == [["A1", *["2026-04-03"] * len(formats)]]


def test_a_stata_file_keeps_its_missing_codes_apart(tmp_path):
    frame = pd.DataFrame({"id": ["A1", "A2", "A3"], "wai_1": [1, "a", 3], "weight": [0.5, 2.0, None]})
    pyreadstat.write_dta(
        frame, str(tmp_path / "a.dta"), missing_user_values={"wai_1": ["a"]}, variable_value_labels={"wai_1": {1: "never", 3: "always"}}
    )
    table, issues = read_path(tmp_path / "a.dta")
    assert issues == []
    assert cells(table) == [["A1", "1", "0.5"], ["A2", ".a", "2"], ["A3", "3", ""]]
    assert table.labels == {"wai_1": {"1": "never", "3": "always"}}
    assert table.missing_reasons == {"wai_1": {".a": "missing value .a"}}


def test_every_stata_date_format_becomes_iso_text(tmp_path):
    formats = {"a": "%td", "b": "%tdDD/NN/CCYY", "c": "%d", "d": "%tcDD-NN-CCYY"}
    days = (dt.date(2026, 4, 3) - dt.date(1960, 1, 1)).days
    frame = pd.DataFrame({"id": ["A1"], **{name: [days * (86_400_000.0 if "%tc" in form else 1.0)] for name, form in formats.items()}})
    pyreadstat.write_dta(frame, str(tmp_path / "a.dta"), variable_format=formats)
    table, _ = read_path(tmp_path / "a.dta")
    assert cells(table) == [["A1", *["2026-04-03"] * len(formats)]]
    assert table.date_typed == {name: [1] for name in formats}


def test_labels_exported_in_place_of_codes_stay_text(tmp_path):
    table, _ = read_path(spss(tmp_path / "a.sav", pd.DataFrame({"id": ["A1"], "wai_1": ["often"]})))
    assert cells(table) == [["A1", "often"]]


def test_an_spss_file_without_cases_is_refused_unless_a_site_recruits(tmp_path):
    path = spss(tmp_path / "a.sav", FRAME.head(0))
    refused(read_path(path), "F02")
    table, issues = read_path(path, recruiting=True)
    assert one(issues, "F02").severity is Severity.WARN and len(table.rows) == 0


def test_names_that_differ_only_in_case_are_refused(tmp_path):
    data = spss(tmp_path / "b.sav", pd.DataFrame({"wai_1": ["x"], "wai_2": ["y"]})).read_bytes()
    refused(read(tmp_path, data.replace(b"wai_2", b"WAI_1"), "a.sav"), "H02")


@pytest.mark.parametrize("share", [0.1, 0.97])
def test_a_truncated_spss_file_is_refused(tmp_path, whole_sav, share):
    issue = refused(read(tmp_path, whole_sav[: int(len(whole_sav) * share)], "a.sav"), "F27")
    assert "truncated or damaged" in issue.message and "/dev/" not in issue.message


@pytest.mark.parametrize("name", ["a.sav", "a.dta"])
def test_random_bytes_are_refused(tmp_path, name):
    refused(read(tmp_path, bytes(range(200, 256)) * 40, name), "F27")


def test_a_damaged_file_is_read_or_refused_but_never_raises(tmp_path, whole_sav):
    for at in range(180, len(whole_sav), max(1, len(whole_sav) // 3)):
        data = bytearray(whole_sav)
        data[at] ^= 0xFF
        read(tmp_path, bytes(data), "a.sav")


def child_program(tmp_path, monkeypatch, source):
    program = tmp_path / "child.py"
    program.write_text(source)
    monkeypatch.setattr(statistical_files, "_PROGRAM", program)


def test_a_crash_of_the_parser_costs_its_file_only(tmp_path, monkeypatch, whole_sav):
    child_program(tmp_path, monkeypatch, "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    assert f"signal {signal.SIGSEGV.value}" in refused(read(tmp_path, whole_sav, "a.sav"), "F28").message


def test_a_parser_that_never_ends_is_stopped(tmp_path, monkeypatch, whole_sav):
    child_program(tmp_path, monkeypatch, "import time\ntime.sleep(60)\n")
    monkeypatch.setattr(statistical_files, "WALL_SECONDS", 0.5)
    assert "took longer" in refused(read(tmp_path, whole_sav, "a.sav"), "F27").message


def test_a_parser_that_says_nonsense_is_refused(tmp_path, monkeypatch, whole_sav):
    child_program(tmp_path, monkeypatch, "print('nonsense')\n")
    refused(read(tmp_path, whole_sav, "a.sav"), "F27")


def test_a_parser_that_needs_too_much_memory_is_stopped(tmp_path, monkeypatch, whole_sav):
    monkeypatch.setattr(statistical_files, "MEMORY_BYTES", 300 << 20)
    refused(read(tmp_path, whole_sav, "a.sav"), "F27")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux, which alone keeps such limits; run the tests there")
@pytest.mark.parametrize(("work", "ended_by"), [("while True: pass", signal.SIGXCPU), ("bytearray(1 << 30)", None)])
def test_limits_hold_in_the_child(work, ended_by):
    folder = os.path.dirname(statistical_child.__file__)
    program = f"import sys; sys.path.insert(0, {folder!r}); import statistical_child as c; c.limit(1, 1 << 29); {work}"
    if ended_by:
        program = program.replace("; while", "\nwhile")
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30, check=False)
    assert -run.returncode in (signal.SIGXCPU, signal.SIGKILL) if ended_by else b"MemoryError" in run.stderr
