"""The multiverse in a run: its first specification is the main result, it reruns by itself, and it leaves when it is switched off."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest
from alliance.files import read_json
from support import Checkout

SAME = ["estimate", "std_error", "ci_low", "ci_high", "n_clients", "n_sites", "tau2"]
MAIN = {
    "alliance_outcome": ("alliance_outcome", "pooled", {"headline": "yes"}),
    "within_clients": (
        "alliance_outcome",
        "levels",
        {"part": "within_client", "explained": "symptoms of the next session", "contrast": ""},
    ),
    "rupture_outcome": (
        "ruptures",
        "outcome",
        {
            "criterion": "drop",
            "outcome": "outcome",
            "topic": "pattern",
            "term": "unrepaired - none",
            "covariates": "intake and early symptoms",
        },
    ),
    "dropout": (
        "dropout",
        "hazard",
        {
            "definition": "unilateral",
            "cause": "dropout",
            "hazard_model": "first_session",
            "link": "cloglog",
            "therapists": "frailty",
            "term": "alliance_first",
        },
    ),
}
RULES = {"estimate multiverse", "pool multiverse", "render sensitivity"}


def table(checkout: Checkout, *path: str) -> pd.DataFrame:
    return pd.read_csv(checkout.results.joinpath(*path), keep_default_na=False, na_values=[""]).replace({None: float("nan")})


def rules(jobs: set[str]) -> set[str]:
    return {job.split(" (")[0] for job in jobs}


def test_the_first_specification_is_the_main_result_of_the_same_run(two_sites: Checkout):
    found = table(two_sites, "sensitivity", "tables", "specifications.csv")
    for name, (question, of_question, where) in MAIN.items():
        own = found[found["multiverse"].eq(name)]
        first = own.iloc[0]
        assert first["as_it_stands"] == "yes" and own["as_it_stands"].eq("yes").sum() == 1 and json.loads(first["changes"]) == {}
        main = table(two_sites, "base", "tables", question, f"{of_question}.csv").fillna({"contrast": ""})
        chosen = main["site"].eq("(pooled)") & main["method"].str.startswith("two_stage") & main["status"].ne("not_estimable")
        for column, value in where.items():
            chosen &= main[column].eq(value)
        if first["status"] == "not_estimable":
            assert not chosen.any(), name
            continue
        [row] = [row for _, row in main[chosen].iterrows()]
        assert first[SAME].astype(float).tolist() == pytest.approx(row[SAME].astype(float).tolist(), rel=1e-12, nan_ok=True), name
        rest = own[~own["status"].isin(["estimated", "flagged"])]
        assert rest["reason"].str.startswith("not estimable: ").all()


def test_the_page_holds_every_specification_and_runs_no_script_but_its_own(two_sites: Checkout):
    page = (two_sites.results / "sensitivity" / "index.html").read_text(encoding="utf-8")
    assert re.search(r'<html[^>]* lang="en"', page) and re.search(r"<title>[^<]*Sensitivity[^<]*</title>", page)
    assert "Content-Security-Policy" in page and not re.search(r'(?:src|href)="https?://', page)
    for id in ("multiverse-alliance-outcome", "multiverse-within-clients", "multiverse-dropout", "base-configuration"):
        assert f'id="{id}"' in page, id
    numbers = table(two_sites, "sensitivity", "tables", "specifications.csv")["multiverse"].value_counts()
    assert f"all {numbers['alliance_outcome']:,}" in page.replace("\u2009", ",").replace("\u202f", ",")


def test_a_changed_decision_reruns_the_multiverse_alone(checkout: Checkout):
    before = checkout.bytes_below("base/tables")
    checkout.rewrite("config.yaml", "late: {alliance: {window: late}}", "all: {alliance: {window: all}}")
    # Every report tells the configuration that it rests on.
    assert rules(checkout.jobs_of_run()) == RULES | {"compare scenarios", "record provenance", "render reports", "write workbook"}
    assert checkout.bytes_below("base/tables") == before
    assert "window=all" in (checkout.results / "sensitivity" / "tables" / "specifications.csv").read_text(encoding="utf-8")
    assert len(list((checkout.results / "summaries" / "multiverse").iterdir())) == 1


def test_switching_it_off_removes_its_tables_and_what_sites_answered(checkout: Checkout):
    folder = checkout.results / "sensitivity" / "tables"
    assert {path.name for path in folder.iterdir()} == {
        "scenario_comparison.csv",
        "specifications.csv",
        "node_influence.csv",
        "summary.csv",
    }
    checkout.rewrite("config.yaml", "multiverse:\n  enabled: true", "multiverse:\n  enabled: false")
    jobs = rules(checkout.jobs_of_run())
    assert "render sensitivity" in jobs and not jobs & {
        "clean site",
        "score site",
        "estimate site",
        "estimate multiverse",
        "pool multiverse",
    }
    assert {path.name for path in folder.iterdir()} == {"scenario_comparison.csv"}
    assert not list((checkout.results / "summaries").glob("multiverse/*"))
    assert "declares no multiverse" in (checkout.results / "sensitivity" / "index.html").read_text(encoding="utf-8")


def test_a_wrong_decision_starts_nothing(checkout: Checkout):
    checkout.rewrite("config.yaml", "late: {alliance: {window: late}}", "late: {alliance: {windw: late}}")
    result = checkout.call("run")
    assert result.returncode == 2 and "did you mean 'window'" in result.stdout
    assert "multiverse.grids.alliance_outcome.nodes.window.late" in result.stdout


def test_a_request_asks_for_the_multiverse_too(checkout: Checkout):
    asked = checkout.call("request", "--site", "northgate")
    assert asked.returncode == 0, asked.stdout
    records = [read_json(path) for path in sorted((checkout.folder / "request" / "northgate").rglob("*.json"))]
    assert any('"question": "multiverse"' in json.dumps(record) for record in records)
