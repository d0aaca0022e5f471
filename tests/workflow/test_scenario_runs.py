"""Scenarios in a run: what they share, what they leave out of pooling, and the table that puts them beside base."""

from __future__ import annotations

import pandas as pd
from alliance.files import read_json
from alliance.sensitivity.contract import SCENARIO_COMPARISON, check, finish
from alliance.sensitivity.scenario_comparison import IDENTITY
from support import Checkout

SCENARIOS = """\
without_largest:
  reason: "One site less"
  changes:
    pooling: {sites: {leave_out_largest: 1}}
by_therapist:
  reason: "Another rater"
  changes:
    alliance: {rater: therapist}
"""


def comparison(checkout: Checkout) -> pd.DataFrame:
    path = checkout.results / "sensitivity" / "tables" / "scenario_comparison.csv"
    table = finish(pd.read_csv(path, keep_default_na=False, na_values=[""]), SCENARIO_COMPARISON)
    check(table, SCENARIO_COMPARISON, IDENTITY)
    return table


def test_a_site_left_out_of_pooling_stands_in_every_table_with_the_reason_and_is_computed_no_more(small):
    small.folder.joinpath("scenarios.yaml").write_text(SCENARIOS, encoding="utf-8")
    before = small.bytes_below("base/tables")
    jobs = small.jobs_of_run("--scenarios", "base without_largest")
    rules = {job.split(" (")[0] for job in jobs}
    assert not rules & {"clean site", "score site", "estimate site"} and "pool client factors" in rules
    assert small.bytes_below("base/tables") == before
    clients = {site: read_json(small.results / "sites" / site / "status.json")["counts"]["clients"] for site in small.sites()}
    largest = max(sorted(clients), key=lambda site: clients[site])
    told = 0
    for path in sorted((small.results / "without_largest" / "tables").rglob("*.csv")):
        rows = pd.read_csv(path, keep_default_na=False)
        if "site" in rows and len(rows):
            own = rows[rows["site"].eq(largest)]
            assert own["status"].eq("not_estimable").all(), path
            assert own["reason"].str.contains("left out by pooling: the largest site", regex=False).all(), path
            told += len(own) > 0
    assert told > 2
    page = (small.results / "without_largest" / "report" / "index.html").read_text(encoding="utf-8")
    assert "left out of pooling: the largest site" in page
    found = comparison(small)
    assert list(dict.fromkeys(found["scenario"])) == ["base", "without_largest"]
    lost = found[found["scenario"].eq("without_largest") & found["headline"].eq("factors_interpersonal")].iloc[0]
    assert lost["status"] == "not_estimable" and "at least 2 sites" in lost["reason"]
    assert lost["keys_changed"] == "pooling.sites.leave_out_largest" and lost["reason_for_scenario"] == "One site less"

    assert "compare scenarios" in {job.split(" (")[0] for job in small.jobs_of_run()}
    assert list(dict.fromkeys(comparison(small)["scenario"])) == ["base"]
    small.folder.joinpath("scenarios.yaml").unlink()
    small.jobs_of_run()
    assert not (small.results / "without_largest").exists()


def test_a_run_of_one_question_compares_the_headlines_of_that_question_only(small):
    small.folder.joinpath("scenarios.yaml").write_text(SCENARIOS, encoding="utf-8")
    jobs = small.jobs_of_run("--scenarios", "by_therapist", "--questions", "client_factors")
    assert {job.split(" (")[0] for job in jobs} == {"estimate site", "pool client factors", "record provenance", "compare scenarios"}
    found = comparison(small)
    assert set(found["question"]) == {"client_factors"} and set(found["scenario"]) == {"base", "by_therapist"}
    known = found[found["scenario"].eq("by_therapist") & found["status"].isin(["estimated", "flagged"])]
    assert len(known) and known["change"].notna().all() and known["change"].ne(0).any()


def test_a_wrong_scenario_starts_nothing_and_says_what_is_wrong(small):
    small.folder.joinpath("scenarios.yaml").write_text(SCENARIOS.replace("rater: therapist", "rater: terapist"), encoding="utf-8")
    result = small.call("run", "--scenarios", "base by_therapist")
    assert result.returncode == 2 and "by_therapist.alliance.rater" in result.stdout and "did you mean 'therapist'" in result.stdout
    assert "line 8" in result.stdout
    small.folder.joinpath("scenarios.yaml").write_text(SCENARIOS, encoding="utf-8")
    result = small.call("run", "--scenarios", "base by_terapist")
    assert result.returncode == 2 and "no such scenario; did you mean 'by_therapist'" in result.stdout
    assert result.stdout.strip().splitlines()[-1].startswith("exit status 2:")
