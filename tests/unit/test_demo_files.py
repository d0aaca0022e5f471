"""The committed demo study is what its generator writes, and cleaning finds the planted faults and nothing else."""

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import clean_site
import pandas as pd
import pytest
from alliance.demo.simulate import Size
from alliance.demo.study import CLIENT_TRAITS, SITES, THERAPIST_TRAITS, write_plain
from alliance.demo.truth import Parameters
from alliance.files import read_json
from alliance.instruments.registry import load_registry
from alliance.sites.site_file import load_site_file

PROJECT = Path(__file__).parents[2]
DEMO = PROJECT / "data" / "demo"
GENERATOR = PROJECT / "scripts" / "generate_demo.py"
INSTRUMENTS = sorted((PROJECT / "workflow" / "instruments").glob("*.yaml"))
CLEANING = {"max_file_mb": 500, "max_listed": 1000, "link_check": False, "latest_date": None}


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def generate(*arguments, **environment):
    command = [sys.executable, str(GENERATOR), *map(str, arguments)]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)


def test_regenerating_gives_the_committed_files_byte_for_byte(tmp_path):
    elsewhere = {"TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "11"}
    result = generate("--output", tmp_path / "demo", "--sites-only", **elsewhere)
    assert result.returncode == 0, result.stderr
    committed, written = contents(DEMO), contents(tmp_path / "demo")
    assert sorted(committed) == sorted(written)
    assert [name for name in committed if committed[name] != written[name]] == []


def test_committed_files_stay_small():
    sizes = {name: len(content) for name, content in contents(DEMO).items()}
    assert sum(sizes.values()) < 4_000_000
    assert max(sizes.values()) < 1_200_000


def test_every_file_that_a_person_opens_first_says_that_the_data_are_simulated():
    assert "Nothing in this folder is real" in (DEMO / "README.md").read_text(encoding="utf-8")
    assert read_json(DEMO / "truth.json")["simulated"] is True
    for site in SITES:
        text = (DEMO / site.site / "site.yaml").read_text(encoding="utf-8")
        assert "SIMULATED DATA" in text.splitlines()[0]
        assert "(simulated)" in text


def arguments(site, instruments, key, output):
    """Return the arguments of the cleaning step."""
    given = ["--site", site, "--folder", DEMO / site, "--instruments", *instruments, "--options", json.dumps(CLEANING)]
    return list(map(str, [*given, "--key-file", key, "--output", output, "--quarantine", output.parent / "private" / "quarantine" / site]))


@pytest.fixture(scope="session")
def cleaned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cleaned")
    key = folder / "key"
    key.write_text("00" * 32)
    key.chmod(0o600)

    def clean(site):
        output = folder / site
        if not output.exists():
            assert clean_site.main(arguments(site, INSTRUMENTS, key, output)) == 0
        with open(output / "issues.csv", encoding="utf-8", newline="") as file:
            return read_json(output / "status.json"), list(csv.DictReader(file))

    clean.folder = folder
    return clean


def test_traits_of_clients_and_therapists_come_from_some_sites_only(cleaned):
    senders = {}
    for site in SITES:
        cleaned(site.site)
        for table, traits in (("clients", CLIENT_TRAITS), ("therapists", THERAPIST_TRAITS)):
            frame = pd.read_parquet(cleaned.folder / site.site / f"{table}.parquet")
            for trait in traits:
                if trait in frame and frame[trait].notna().all():
                    senders.setdefault((table, trait), []).append(site.site)
    assert {trait: len(sites) for trait, sites in senders.items()} == {
        ("clients", "affiliation"): 4,
        ("clients", "dominance"): 4,
        ("clients", "attachment_anxiety"): 3,
        ("clients", "attachment_avoidance"): 3,
        ("therapists", "affiliation"): 4,
        ("therapists", "dominance"): 4,
        ("therapists", "introject"): 3,
        ("therapists", "alliance_training"): 3,
    }


@pytest.mark.parametrize("site", [site.site for site in SITES])
def test_cleaning_keeps_every_site_and_finds_exactly_the_planted_faults(cleaned, site):
    status, issues = cleaned(site)
    assert status["status"] in ("ok", "warnings"), status["reasons"]
    planted = [fault for fault in read_json(DEMO / "truth.json")["planted_faults"] if fault["site"] == site]

    def places(records):
        lost = [record for record in records if record["severity"] in ("ROW", "CELL")]
        return Counter((r["severity"], r["code"], r["file"], r["sheet"], str(r["row"])) for r in lost)

    assert places(issues) == places(planted)
    warned = {(issue["code"], issue["file"], issue["row"]) for issue in issues}
    for fault in planted:
        if fault["severity"] == "WARN":
            assert any((fault["code"], fault["file"], row) in warned for row in (str(fault["row"]), "")), fault
    assert status["counts"]["clients"] == read_json(DEMO / "truth.json")["counts"][site]["clients"]


@pytest.mark.parametrize("site", [site.site for site in SITES])
def test_rows_left_out_by_rule_are_the_planted_test_rows(cleaned, site):
    status, _ = cleaned(site)
    planted = [fault for fault in read_json(DEMO / "truth.json")["planted_faults"] if fault["site"] == site]
    by_rule = sum(fault["n_affected"] for fault in planted if fault["code"] == "R10")
    excluded = sum(file["rows_excluded_by_rule"] for file in status["files"])
    assert by_rule <= excluded
    for file in status["files"]:
        assert file["rows_in"] == file["rows_used"] + file["rows_quarantined"] + file["rows_excluded_by_rule"]


def test_only_the_instruments_that_a_site_names_decide_what_becomes_of_it(cleaned, tmp_path):
    cleaned("northgate")
    text = (DEMO / "northgate" / "site.yaml").read_text(encoding="utf-8")
    own = [path for path in INSTRUMENTS if f"instrument: {path.stem}\n" in text]
    assert 0 < len(own) < len(INSTRUMENTS)
    assert clean_site.main(arguments("northgate", own, cleaned.folder / "key", tmp_path / "northgate")) == 0
    assert contents(tmp_path / "northgate") == contents(cleaned.folder / "northgate")


def test_plain_studies_of_any_size_have_valid_sites_and_equal_bytes_for_equal_seeds(tmp_path):
    size = Size(3, 2, 3, 5)
    for name in ("first", "again"):
        write_plain(tmp_path / name, Parameters(), size, 5)
    assert contents(tmp_path / "first") == contents(tmp_path / "again")
    registry = load_registry([PROJECT / "workflow" / "instruments"])
    for site in ("site-001", "site-002", "site-003"):
        _, issues = load_site_file(tmp_path / "first" / site / "site.yaml", site, registry)
        assert issues == []


def test_a_new_study_gets_a_configuration_that_reads_its_own_sites(tmp_path):
    arguments = ("--sites", 2, "--therapists", 2, "--clients-per-therapist", 2, "--formats", "csv", "--seed", 42)
    result = generate("--output", tmp_path / "study", *arguments)
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "study" / "config.yaml").read_text(encoding="utf-8")
    assert "sites_dir: data " in text
    assert "seed: 42 " in text
    assert (tmp_path / "study" / "data" / "site-001" / "site.yaml").is_file()


def test_wrong_arguments_are_refused_in_plain_words(tmp_path):
    for arguments, words in (
        (("--parameter", "hallo=0.5"), "did you mean 'halo'"),
        (("--sites", "7"), "use --formats csv"),
        (("--formats", "csv", "--instruments", "wai_63"), "did you mean 'wai_36'"),
    ):
        result = generate("--output", tmp_path / "study", *arguments)
        assert result.returncode == 2
        assert words in result.stderr
        assert "Traceback" not in result.stderr
