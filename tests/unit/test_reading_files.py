from __future__ import annotations

import errno
import hashlib
import os
import socket

import pytest
from alliance.issues import Severity
from alliance.sites.readers import snapshot
from alliance.sites.reading import ReadOptions, read_file
from reading_cases import cells, one, read, read_path, refused

GOOD = "id,wai_1\nA1,3\n"


def test_a_good_file_is_read_with_its_digest(tmp_path):
    table, issues = read(tmp_path, GOOD)
    assert issues == []
    assert table.columns == ["id", "wai_1"]
    assert cells(table) == [["A1", "3"]]
    assert table.rows.tolist() == [2]
    assert table.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()


def test_an_empty_file_is_refused(tmp_path):
    assert "empty" in refused(read(tmp_path, b""), "F01").message


@pytest.mark.parametrize("content", ["id,wai_1\n", "id,wai_1", "id,wai_1\n\n\n"])
def test_a_file_without_rows_is_refused(tmp_path, content):
    assert "0 data rows" in refused(read(tmp_path, content), "F02").message


def test_a_file_without_rows_is_a_warning_while_a_site_recruits(tmp_path):
    table, issues = read(tmp_path, "id,wai_1\n", recruiting=True)
    assert one(issues, "F02").severity is Severity.WARN
    assert table.columns == ["id", "wai_1"]
    assert cells(table) == []


def test_a_large_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    def no_reading(*_):
        raise AssertionError("the file was read")

    monkeypatch.setattr(snapshot, "_read", no_reading)
    path = tmp_path / "huge.csv"
    with open(path, "wb") as file:
        file.truncate(3_000_000_000)
    issue = refused(read_path(path), "F15")
    assert "3000 MB" in issue.message and "500 MB" in issue.message


def test_a_missing_file_is_named(tmp_path):
    refused(read_path(tmp_path / "gone.csv"), "F36")


def test_links_are_not_followed(tmp_path):
    (tmp_path / "secret.csv").write_text(GOOD)
    (tmp_path / "link.csv").symlink_to(tmp_path / "secret.csv")
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    refused(read_path(tmp_path / "link.csv"), "P04")
    refused(read_path(tmp_path / "loop.csv"), "P04")


def test_a_linked_folder_on_the_way_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.csv").write_text(GOOD)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sub").symlink_to(tmp_path / "elsewhere")
    table, issues = read_file(tmp_path / "site" / "sub" / "a.csv", ReadOptions(), "north", "sub/a.csv")
    assert table is None
    assert [issue.code for issue in issues] == ["P04"]


def test_pipes_sockets_and_folders_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.csv"))
        for name in ("pipe.csv", "folder.csv", "socket.csv"):
            refused(read_path(tmp_path / name), "P04")


def test_an_unreadable_file_is_named_with_its_mode(tmp_path, monkeypatch):
    path = tmp_path / "closed.csv"
    path.write_text(GOOD)
    path.chmod(0)

    def refuse(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(snapshot.os, "open", refuse)
    issue = refused(read_path(path), "P06")
    assert "0000" in issue.message and "Permission denied" in issue.message


@pytest.mark.parametrize("later", [GOOD + "A2,4\n", GOOD.replace("3", "4"), GOOD[:-3]])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch, later):
    path = tmp_path / "ratings.csv"
    path.write_text(GOOD)
    compare = snapshot.refuse_if_changed

    def change_first(file, found):
        path.write_text(later)
        compare(file, found)

    monkeypatch.setattr(snapshot, "refuse_if_changed", change_first)
    assert "changing" in refused(read_path(path), "F34").message


def test_a_file_that_grows_between_size_and_reading_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(snapshot, "_read", lambda _handle, at_most: b"x" * at_most)
    refused(read(tmp_path, GOOD), "F34")


@pytest.mark.parametrize(
    "page", ["<!DOCTYPE html>\n<html><body>Login</body></html>", "\n  <HTML><head></head></HTML>", "<?xml version='1.0'?>"]
)
@pytest.mark.parametrize("name", ["a.csv", "a.xlsx", "a.sav"])
def test_a_web_page_is_recognised_under_any_ending(tmp_path, page, name):
    assert "HTML" in refused(read(tmp_path, page, name), "F10").message


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04rest", "ZIP"),
        (b"%PDF-1.7\n", "PDF"),
        (b"$FL2@(#) SPSS DATA FILE", "SPSS"),
        (b"<stata_dta><header>", "Stata"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Office"),
        (b"\x1f\x8b\x08", "gzip"),
    ],
)
def test_an_ending_that_lies_is_found_by_the_first_bytes(tmp_path, content, what):
    assert what in refused(read(tmp_path, content, "a.csv"), "F11").message


def test_text_under_an_excel_or_spss_ending_is_refused(tmp_path):
    refused(read(tmp_path, GOOD, "a.xlsx"), "F11")
    refused(read(tmp_path, b"<stata_dta><header>", "a.sav"), "F11")


@pytest.mark.parametrize("name", ["a.xls", "a.xlsm", "a.xlsb", "a.ods"])
def test_other_spreadsheets_are_refused_with_what_to_do(tmp_path, name):
    issue = refused(read(tmp_path, b"anything", name), "F18")
    assert name[1:] in issue.message and "Save it as .xlsx" in issue.fix


def test_an_unknown_ending_asks_for_the_format(tmp_path):
    assert "format:" in refused(read(tmp_path, GOOD, "a.dat"), "F11").fix
    table, issues = read(tmp_path, GOOD, "a.dat", format="csv")
    assert issues == [] and len(table.rows) == 1
    refused(read(tmp_path, GOOD, "a.csv", format="sas"), "F11")
