"""Scores for other programs: closed files, the same bytes again, removed when what they hold must go."""

from __future__ import annotations

import shutil
import stat

import pandas as pd
from alliance.files import read_parquet
from support import Checkout

PATH = "private/export/base"


def test_an_export_is_private_repeatable_and_disturbs_nothing(small: Checkout):
    done = small.call("export", "--format", "sav")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "export scores (base, sav)" in done.stdout and "clean site" not in done.stdout
    assert done.stdout.strip().splitlines()[-1].startswith("exit status 0:")
    folder = small.results / PATH
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent)} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert {"sessions.sav", "clients.sav", "variables.csv"} <= {path.name for path in folder.iterdir()}
    assert "Nothing to do" in small.call("export", "--format", "SAV").stdout
    assert small.jobs_of_run() == set()

    before = small.bytes_below(PATH)
    shutil.rmtree(folder)
    assert small.call("export", "--format", "sav", PYTHONHASHSEED="7", TZ="Pacific/Kiritimati").returncode == 0
    assert small.bytes_below(PATH) == before


def test_all_formats_of_an_export_hold_the_same_numbers_as_the_scores(small: Checkout):
    for ending in ("csv", "dta"):
        assert small.call("export", "--format", ending).returncode == 0
    folder = small.results / PATH
    text, stata = pd.read_csv(folder / "sessions.csv"), pd.read_stata(folder / "sessions.dta", convert_categoricals=False)
    pd.testing.assert_frame_equal(text, stata, check_dtype=False, check_exact=True)
    book = pd.read_csv(folder / "variables.csv").query("file == 'sessions' and instrument.notna()")
    scores = pd.concat([read_parquet(path) for path in sorted((small.results / "scores").glob("*/*/scores.parquet"))])
    scores = scores.dropna(subset=["score"])
    assert len(book) > 10
    for row in book.itertuples():
        own = scores[scores["instrument"].eq(row.instrument) & scores["scale"].eq(row.scale) & scores["rater"].eq(row.rater)]
        assert row.n == len(own) and sorted(text[row.name].dropna()) == sorted(own["score"])


def test_an_export_that_holds_a_dropped_site_is_removed_by_the_next_run(small: Checkout):
    assert small.call("export", "--format", "csv").returncode == 0
    shutil.rmtree(small.folder / "data" / "demo" / "northgate")
    done = small.call("run")
    assert done.returncode == 0 and "removed the export of base as csv" in done.stdout
    assert not (small.results / PATH / "clients.csv").exists()


def test_an_export_without_any_usable_site_says_so(small: Checkout):
    for site in small.sites():
        (small.folder / "data" / "demo" / site / "site.yaml").write_text("label: Broken\ndata: rows\ntabels: []\n", encoding="utf-8")
    done = small.call("export", "--format", "csv")
    assert done.returncode == 2 and "No site has rows that can be exported" in done.stdout
