"""The same inputs give the same bytes, whatever surrounds them."""

from __future__ import annotations

import random
import subprocess

from support import Checkout, copy_project


def test_two_full_runs_give_the_same_bytes_in_tables_and_reports(computed, tmp_path):
    """Another folder (spaces, an accent, an apostrophe), cores, locale, time zone, hash seed and id key."""
    elsewhere = copy_project(tmp_path / "été, a folder" / "project's copy")
    known = subprocess.run(["locale", "-a"], capture_output=True, text=True).stdout.split()
    turkish = next((name for name in known if name.startswith("tr_TR")), "C")
    result = elsewhere.call(
        "run", cores=1, LC_ALL=turkish, LANG=turkish, TZ="Pacific/Kiritimati", PYTHONHASHSEED="77", ALLIANCE_ID_KEY="0123456789 another key"
    )
    assert result.returncode == 0, result.stdout + result.stderr
    first, second = (checkout.bytes_below("base") for checkout in (computed, elsewhere))
    assert first.keys() == second.keys() and len(first) > 10
    assert [name for name in first if first[name] != second[name]] == []


def test_the_order_of_rows_in_a_file_does_not_change_tables(checkout: Checkout):
    """A site's plain CSV files with their data rows shuffled give the same tables; only file hashes differ."""
    before = checkout.bytes_below("base/tables")
    shuffled = 0
    for path in sorted((checkout.folder / "data" / "demo").glob("*/*.csv")):
        content = path.read_bytes()
        lines = content.splitlines(keepends=True)
        if b'"' in content or not content.endswith(b"\n") or b"redcap" in lines[0] or b"ImportId" in content:
            continue
        if b"total" in content.lower() or content.count(b"\n\n") or lines[1:] != sorted(set(lines[1:]), key=lines[1:].index):
            continue
        rows = lines[1:]
        random.Random(1).shuffle(rows)
        path.write_bytes(b"".join([lines[0], *rows]))
        shuffled += 1
    assert shuffled
    questions = sorted(path.name for path in (checkout.results / "base" / "tables").iterdir() if path.is_dir())
    checkout.jobs_of_run("--questions", " ".join(questions))
    assert checkout.bytes_below("base/tables") == before
