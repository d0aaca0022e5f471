"""make publish: the bundle is built beside, checked and swapped in, or nothing happens."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import verify_bundle
from alliance.files import read_json
from support import Checkout, pipeline


def held(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def ended(result: subprocess.CompletedProcess[str], status: int) -> str:
    """Return what a command printed, which must have ended with a status."""
    assert result.returncode == status, result.stdout + result.stderr
    assert result.stdout.strip().splitlines()[-1].startswith(f"exit status {status}:"), result.stdout
    return result.stdout


@pytest.fixture
def published(small: Checkout) -> Checkout:
    """The small study with its bundle."""
    told = ended(small.call("publish"), 0)
    assert "Nothing to do" in told and "all checks passed" in told and "published: " in told
    return small


def test_a_bundle_is_in_order_and_stays_as_it_is_while_nothing_changes(published):
    folder = published.results / "publish"
    first = held(folder)
    assert "base/report/index.html" in first and not list(published.results.glob("publish.*"))
    assert "are in order" in ended(pipeline("verify-bundle", published.folder / "config.yaml"), 0)
    alone = subprocess.run([sys.executable, "-I", "verify_bundle.py", "."], cwd=folder, capture_output=True, text=True)
    assert alone.returncode == 0, alone.stdout
    assert "Nothing to publish" in ended(published.call("publish"), 0)
    assert held(folder) == first
    assert "Nothing to do" in published.call("run").stdout


def test_another_folder_machine_setting_and_number_of_cores_give_the_same_bytes(published, tmp_path):
    other = Checkout(tmp_path / "elsewhere" / "a folder")
    shutil.copytree(published.folder, other.folder, symlinks=True, ignore=shutil.ignore_patterns("publish"))
    settings = {"LC_ALL": "C", "TZ": "Pacific/Auckland", "PYTHONHASHSEED": "77", "USER": "somebody", "SOURCE_DATE_EPOCH": "1"}
    ended(other.call("publish", cores=1, **settings), 0)
    first, second = held(published.results / "publish"), held(other.results / "publish")
    assert {name for name in {*first, *second} if first.get(name) != second.get(name)} == set()


@pytest.mark.parametrize(
    ("planted", "kind"),
    [
        ("ask ann@clinic.example.org", "e-mail address"),
        ("from /home/ann/study/data", "absolute path"),
        ("seen on 2024-05-17", "date"),
        ("client 1f0a9c3be57d2468", "keyed id"),
    ],
)
def test_what_would_give_somebody_away_is_named_and_the_old_bundle_stays(published, planted, kind):
    before = held(published.results / "publish")
    published.rewrite("config.yaml", "description: null", f'description: "{planted}"')
    told = ended(published.call("publish"), 4)
    assert re.search(rf"^index\.html:\d+: {kind}: ", told, re.MULTILINE) and "Nothing was published" in told
    assert held(published.results / "publish") == before and not list(published.results.glob("publish.*"))


def test_what_archives_need_is_asked_for_before_anything_is_computed(small):
    small.rewrite("config.yaml", 'released: "2026-11-29"', "released: null")
    small.rewrite("config.yaml", 'authors: ["The alliance-pipeline developers"]', "authors: []")
    small.rewrite("config.yaml", "last_bundle: null", "last_bundle: gone.zip")
    told = ended(small.call("publish"), 2)
    assert all(f"config.yaml: {key}" in told for key in ("publish.released", "study.authors", "publish.last_bundle")), told
    assert not (small.results / "publish").exists()


def test_a_publication_that_is_killed_leaves_the_old_bundle_or_the_new_one(published):
    folder = published.results / "publish"
    seen = set()
    for attempt, seconds in enumerate((2, 5, 9)):
        before = held(folder)["README.md"]
        text = (published.folder / "config.yaml").read_text(encoding="utf-8")
        changed = re.sub(r"description: .*", f'description: "Version number {attempt}."', text)
        (published.folder / "config.yaml").write_text(changed, encoding="utf-8")
        call = [sys.executable, "scripts/pipeline.py", "publish", "--config", "config.yaml", "--cores", "1"]
        process = subprocess.Popen(call, cwd=published.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert verify_bundle.hash_faults(folder) == [] and verify_bundle.archive_faults(folder) == []
        told = held(folder)["README.md"]
        assert told == before or b"Version number %d." % attempt in told
        seen.add(told == before)
    assert True in seen
    ended(published.call("publish"), 0)
    assert not list(published.results.glob("publish.*"))
    assert b"Version number 2." in held(folder)["README.md"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_publication_that_is_interrupted_ends_with_its_processes_and_leaves_the_old_bundle(published, number):
    before = held(published.results / "publish")
    published.rewrite("config.yaml", "description: null", 'description: "Another version."')
    # Up to date, so that what is interrupted is the bundle.
    ended(published.call("run"), 0)
    call = [sys.executable, "scripts/pipeline.py", "publish", "--config", "config.yaml", "--cores", "2"]
    process = subprocess.Popen(call, cwd=published.folder, stdout=subprocess.PIPE, text=True, start_new_session=True)
    while len(processes_in(published.folder)) < 4:
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, number) if number == signal.SIGTERM else os.killpg(process.pid, number)
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 130 and "Nothing was published" in told and "exit status 130: interrupted" in told
    assert held(published.results / "publish") == before and not list(published.results.glob("publish.*"))
    assert processes_in(published.folder) == []
    assert "published: " in ended(published.call("publish"), 0)


def processes_in(folder: Path) -> list[int]:
    """Return the processes that build a bundle in a folder, and the launcher among them."""
    found = []
    for place in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if place.name.isdigit() and (place / "cwd").resolve() == folder.resolve() and b"publish" in (place / "cmdline").read_bytes():
                found.append(int(place.name))
    return found


def test_scenarios_are_published_beside_base_and_the_start_page_leads_to_all(small):
    told = ended(small.call("publish", "--scenarios", "late_alliance"), 0)
    assert "profile public" in told
    folder = small.results / "publish"
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert 'href="base/report/index.html"' in page and 'href="late_alliance/report/index.html"' in page
    assert (folder / "late_alliance" / "config.yaml").is_file() and (folder / "figures" / "late_alliance").is_dir()
    rows = (folder / "tables" / "client_factors" / "factors.csv").read_text(encoding="utf-8")
    assert ",base," in rows and ",late_alliance," in rows
    assert "late_alliance" in (folder / "methods.md").read_text(encoding="utf-8")
    ended(pipeline("verify-bundle", small.folder / "config.yaml"), 0)
    assert "not in the bundle" not in told
    told = ended(small.call("publish"), 0)
    assert "not in the bundle, although there are results: late_alliance (" in told
    assert not (folder / "late_alliance").exists()
    assert "late_alliance" not in (folder / "sensitivity" / "index.html").read_text(encoding="utf-8")


def test_a_site_that_is_left_out_is_told_and_the_rest_is_published(small):
    (small.folder / "data" / "demo" / "northgate" / "clients.csv").unlink()
    told = ended(small.call("publish"), 3)
    assert "1 of 2 sites not included" in told and "published: " in told
    assert verify_bundle.check(small.results / "publish", here=False) == []


def test_cleaning_keeps_what_was_published_since_the_next_bundle_is_compared_with_it(published):
    before = held(published.results / "publish")
    assert "Kept" in ended(published.call("clean"), 0)
    assert held(published.results / "publish") == before
    assert [path.name for path in published.results.iterdir()] == ["publish"]


def test_differences_to_the_last_bundle_are_told(published):
    kept = published.folder / "given_away"
    shutil.copytree(published.results / "publish", kept)
    published.rewrite("config.yaml", "last_bundle: null", "last_bundle: given_away")
    published.rewrite("config.yaml", "tau2: reml ", "tau2: paule_mandel ")
    ended(published.call("publish"), 0)
    told = (published.results / "publish" / "CHANGES.md").read_text(encoding="utf-8")
    assert "headline numbers" in told and "No bundle was published before" not in told
    assert (
        read_json(published.results / "publish" / "base" / "provenance.json")["config_digest"]
        != read_json(kept / "base" / "provenance.json")["config_digest"]
    )


def test_the_report_of_snakemake_has_pages_and_tables_with_captions_and_lies_outside_of_results(small):
    told = ended(small.call("snakemake-report"), 0)
    page = (small.folder / "snakemake-report.html").read_text(encoding="utf-8")
    assert "no disclosure control was applied" in told
    for words in ("one row an estimate", "Result table of scenario", "common faults checked by machine", "The steps of alliance-pipeline"):
        assert words in page, words
    assert "factors.csv" in page and "index.html" in page
