"""The step's script: what it writes, with which rights, and that data faults never end it in an error."""

from __future__ import annotations

import json
import shlex
import stat

import clean_site
import openpyxl
import pandas as pd
import pytest
from alliance.configuration.errors import ConfigurationError
from alliance.files import sha256
from alliance.issues import from_csv
from alliance.launch.new_site import start_site
from alliance.sites.site_file import load_site_file
from alliance.sites.starting import guess_columns, guess_items
from cleaning_sites import ITEMS, PROJECT, answers, ratings, registry, table, write

TABLES = ("clients", "therapists", "sessions", "outcomes", "events", "termination")
SITE = "tables:" + ratings()
GOOD = table(*(f"C{client},{session},{answers(1 + client % 5)}" for client in range(1, 5) for session in (1, 2)), f"C9,x,{answers()}")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("ALLIANCE_ID_KEY", "a key of more than sixteen characters")

    def run(site_yaml=SITE, files=None, withdrawn=None):
        folder = write(tmp_path / "data" / "s1", site_yaml, {"ratings.csv": GOOD} if files is None else files)
        if withdrawn is not None:
            (tmp_path / "withdrawn.csv").write_text(withdrawn, encoding="utf-8")
        status = clean_site.main(
            [
                *("--site", "s1", "--folder", str(folder), "--instruments", str(PROJECT / "workflow/instruments/wai_sr.yaml")),
                *("--options", "{}", "--withdrawn", str(tmp_path / "withdrawn.csv"), "--key-file", str(tmp_path / "key")),
                *("--output", str(tmp_path / "results/sites/s1"), "--quarantine", str(tmp_path / "results/private/quarantine/s1")),
            ]
        )
        output = tmp_path / "results/sites/s1"
        assert status == 0
        assert all((output / f"{name}.parquet").is_file() for name in TABLES)
        assert (output / "ratings").is_dir()
        return output, json.loads((output / "status.json").read_text()), from_csv((output / "issues.csv").read_text())

    return run


def test_tables_status_and_issues_are_written(run, tmp_path):
    output, status, issues = run()
    assert status["counts"] == {"clients": 4, "therapists": 0, "sessions": 8, "ratings": 8}
    assert len(pd.read_parquet(output / "ratings" / "wai_sr.parquet")) == 8
    assert "R14" in {issue.code for issue in issues}


def test_only_the_owner_can_read_quarantined_rows(run, tmp_path):
    run()
    path = tmp_path / "results/private/quarantine/s1/ratings.csv.csv"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (path.parent, path.parent.parent, path.parent.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert path.read_text().splitlines()[0] == "row,code,content"
    assert "C9,x," in path.read_text()


def test_nothing_public_holds_a_raw_id(run, tmp_path):
    output, _, _ = run()
    for path in output.rglob("*"):
        if path.is_file():
            assert b"C9" not in path.read_bytes() and b"C1" not in path.read_bytes(), path.name


@pytest.mark.parametrize(
    ("site_yaml", "files"),
    [
        ("label: [", None),
        ("data: rows\n", None),
        ("tables:" + ratings().replace("wai_sr", "unknown"), None),
        (None, {"ratings.csv": ""}),
        (None, {"ratings.csv": b"PK\x03\x04nothing"}),
        (None, {"ratings.csv": b"\xff\xfe\x00"}),
        (None, {"ratings.csv": "id,session\n"}),
        (None, {}),
    ],
)
def test_a_site_that_cannot_be_used_still_ends_well(run, site_yaml, files):
    _, status, issues = run(site_yaml or SITE, files)
    assert status["status"] == "excluded"
    assert status["reasons"]
    assert issues


def test_files_of_an_earlier_run_are_removed(run, tmp_path):
    output, _, _ = run()
    (output / "ratings" / "old.parquet").write_text("x")
    (output / "links.json").write_text("x")
    run(files={"ratings.csv": table(f"C1,1,{answers()}")})
    assert sorted(path.name for path in (output / "ratings").iterdir()) == ["wai_sr.parquet"]
    assert not (output / "links.json").exists()
    assert not list((tmp_path / "results/private/quarantine/s1").iterdir())


def test_withdrawn_clients_leave_no_trace_in_any_file(run, tmp_path):
    text = GOOD + f"C7,0,{answers()}\n"
    run(files={"ratings.csv": text})
    run(files={"ratings.csv": text}, withdrawn="site,client_id\ns1,C7\ns1,C1\nother,C2\n")
    results = b"".join(path.read_bytes() for path in (tmp_path / "results").rglob("*") if path.is_file())
    assert b"C7" not in results
    assert len(pd.read_parquet(tmp_path / "results/sites/s1/clients.parquet")) == 3


def test_an_unusable_list_of_withdrawals_leaves_the_site_out(run):
    _, status, _ = run(withdrawn="person\nC1\n")
    assert status["status"] == "excluded" and "withdrawn.csv" in status["reasons"][0]


def test_two_runs_write_the_same_bytes(run):
    output, _, _ = run()
    first = {path.relative_to(output): path.read_bytes() for path in output.rglob("*") if path.is_file()}
    run()
    assert first == {path.relative_to(output): path.read_bytes() for path in output.rglob("*") if path.is_file()}


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(run, tmp_path, monkeypatch):
    file = tmp_path / "data" / "s1" / "ratings.csv"
    inner, seen = clean_site.clean_site, []

    def clean(*arguments):
        cleaned = inner(*arguments)
        if not seen:
            file.write_bytes(file.read_bytes() + b"C5,1," + answers(3).encode() + b"\n")
        seen.append(cleaned.status["files"][0]["sha256"])
        return cleaned

    monkeypatch.setattr(clean_site, "clean_site", clean)
    run()
    output = tmp_path / "results" / "sites" / "s1"
    recorded = json.loads((output / "status.json").read_text(encoding="utf-8"))["files"][0]["sha256"]
    assert len(seen) == 2 and recorded == seen[1] == sha256(file) != seen[0]


def test_the_terminal_shows_the_first_faults_and_counts_the_rest(run, capsys):
    rows = [f"C{client},x,{answers()}" for client in range(30)]
    run(files={"ratings.csv": table(*rows, f"D1,1,{answers()}")})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 21 and lines[-1].startswith("... and ")


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("study: {sites_dir: data/sites}\n", encoding="utf-8")
    return path


def test_a_new_site_is_guessed_from_its_file_and_passes_the_check(config):
    folder = config.parent / "data" / "sites" / "my-clinic"
    write(folder, "", {"export.csv": GOOD.replace("id,session", "Patient-ID;Session", 1).replace(",", ";")})
    (folder / "site.yaml").unlink()
    start_site(config, "my-clinic", None)
    site_file, issues = load_site_file(folder / "site.yaml", "my-clinic", registry())
    assert issues == []
    assert site_file.tables[0].items == "wai_{item}"
    assert site_file.tables[0].columns == {"client_id": "Patient-ID", "session": "Session"}
    with pytest.raises(ConfigurationError):
        start_site(config, "my-clinic", None)


@pytest.mark.parametrize("name", ["../north", "North", "", "con"])
def test_a_new_site_gets_no_name_that_is_no_id(config, name):
    with pytest.raises(ConfigurationError):
        start_site(config, name, None)


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        ([f"wai_{item}" for item in range(1, 13)], "wai_{item}"),
        ([f"WAI{item:02d}" for item in range(1, 13)], "WAI{item}"),
        ([f"q{item}" for item in range(1, 13)], "q{item}"),
        ([f"s{session}_wai{item}" for session in (1, 2) for item in range(1, 13)], "s{session}_wai{item}"),
    ],
)
def test_item_columns_are_recognised_by_their_numbers(names, pattern):
    assert guess_items(["id", "age", *names])[0][0] == pattern


def test_a_new_site_knows_a_redcap_export(config, tmp_path):
    export = tmp_path / "DATA.csv"
    export.write_text(f"record_id,redcap_event_name,redcap_repeat_instance,{ITEMS}\n1,t_arm_1,1,{answers()}\n", encoding="utf-8")
    start_site(config, "my-clinic", export)
    site_file, _ = load_site_file(config.parent / "data/sites/my-clinic/site.yaml", "my-clinic", registry())
    assert site_file.tables[0].format == "redcap"


def test_a_new_site_knows_a_qualtrics_export_though_its_questions_hold_commas(config, tmp_path):
    names = f"pid,session,{ITEMS}".split(",")
    questions = ",".join(f'"Question {name}, in words"' for name in names)
    imports = ",".join('"{""ImportId"":""' + name + '""}"' for name in names)
    export = tmp_path / "survey.csv"
    export.write_text(f"{','.join(names)}\n{questions}\n{imports}\nP1,1,{answers()}\n", encoding="utf-8")
    start_site(config, "my-clinic", export)
    site_file, _ = load_site_file(config.parent / "data/sites/my-clinic/site.yaml", "my-clinic", registry())
    assert site_file.tables[0].format == "qualtrics" and site_file.tables[0].items == "wai_{item}"


def test_a_new_site_knows_a_file_from_a_windows_program(config, tmp_path):
    export = tmp_path / "verlauf.csv"
    export.write_bytes(f"Patient-Nr;Sitzung;Einschätzung;{ITEMS.replace(',', ';')}\nÜ1;1;gut\n".encode("cp1252"))
    start_site(config, "my-clinic", export)
    site_file, _ = load_site_file(config.parent / "data/sites/my-clinic/site.yaml", "my-clinic", registry())
    table = site_file.tables[0]
    assert (table.encoding, table.separator, table.columns["client_id"]) == ("cp1252", ";", "Patient-Nr")


def test_a_new_site_names_the_sheets_of_a_workbook(config, tmp_path):
    book = openpyxl.Workbook()
    book.active.title = "Clients"
    book.active.append(["Client", *ITEMS.split(",")])
    book.create_sheet("WAI client")
    book.save(tmp_path / "export.xlsx")
    start_site(config, "my-clinic", tmp_path / "export.xlsx")
    text = (config.parent / "data/sites/my-clinic/site.yaml").read_text(encoding="utf-8")
    assert 'sheet: "Clients"' in text and '"WAI client"' in text


def test_a_new_site_is_not_started_from_a_file_that_is_not_there(config, tmp_path):
    with pytest.raises(ConfigurationError):
        start_site(config, "my-clinic", tmp_path / "exprot.csv")
    assert not (config.parent / "data/sites/my-clinic").exists()


def test_the_command_to_go_on_with_can_be_pasted_though_the_folder_has_spaces(tmp_path):
    config = tmp_path / "my études" / "config.yaml"
    config.parent.mkdir()
    config.write_text("study: {sites_dir: data}\n", encoding="utf-8")
    told = start_site(config, "my-clinic", None)[-1]
    assert f"CONFIG={config}" in shlex.split(told.removeprefix("next: "))


def test_no_column_is_guessed_twice():
    assert guess_columns(["id", "code", "Sitzung", "Datum", *ITEMS.split(",")]) == {
        "client_id": "id",
        "session": "Sitzung",
        "date": "Datum",
    }
