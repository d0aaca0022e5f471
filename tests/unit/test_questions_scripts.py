"""The scripts that estimate one site and pool one question."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from alliance.configuration.options import restrict
from alliance.files import digest, write_json, write_parquet
from alliance.questions.client_factors import question as client_factors
from alliance.questions.contract import TABLES
from alliance.questions.summary import SiteSummary
from simulated_site import OPTIONS, simulated
from support import PROJECT

INSTRUMENT_FILES = sorted((PROJECT / "workflow" / "instruments").glob("*.yaml"))
ESTIMATE = {**restrict(OPTIONS, client_factors.estimate_reads), "seed": 7}
POOL = {**restrict(OPTIONS, (*client_factors.estimate_reads, *client_factors.pool_reads)), "seed": 7}
DIGEST = digest(ESTIMATE)


def run(script: str, *arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, str(PROJECT / "scripts" / script), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def write_site(folder: Path, site: str, **status) -> None:
    data = simulated(site, n=60, therapists=12, seed=len(site))
    usual = {"site": site, "label": f"Clinic {site}", "data": "rows", "status": "ok", "counts": {"clients": 60}}
    write_json(folder / "sites" / site / "status.json", {**usual, **status})
    if status.get("data", "rows") == "rows":
        write_parquet(folder / "sites" / site / "clients.parquet", data.clients)
        write_parquet(folder / "scores" / site / "scores.parquet", data.scores)


def estimate(folder: Path, site: str) -> SiteSummary:
    output = folder / "summaries" / site
    run(
        "estimate_site.py", "--question", "client_factors", "--site", site, "--site-tables", folder / "sites" / site,
        "--scores", folder / "scores" / site, "--instruments", *INSTRUMENT_FILES, "--options", json.dumps(ESTIMATE),
        "--options-digest", DIGEST, "--constants", "--output", output,
    )  # fmt: skip
    return SiteSummary.read(output)


def pool(folder: Path, sites: list[str]) -> dict[str, pd.DataFrame]:
    output = folder / "base" / "tables" / "client_factors"
    run(
        "pool_question.py", "--question", "client_factors", "--scenario", "base", "--summaries", folder / "summaries",
        "--site-tables", folder / "sites",
        "--sites", json.dumps(sites), "--needs", "[]", "--tables", folder / "base" / "tables", "--options", json.dumps(POOL),
        "--benchmarks", PROJECT / "workflow" / "benchmarks.yaml", "--output", output,
    )  # fmt: skip
    return {table.name: pd.read_csv(output / f"{table.name}.csv") for table in TABLES if table.question == "client_factors"}


def test_sites_are_estimated_excluded_missing_or_taken_as_sent_and_pooled_with_published_figures(tmp_path):
    for site, status in {
        "north": {},
        "east": {},
        "south": {"status": "excluded", "reasons": ["no client ids"]},
        "west": {"data": "summary"},
    }.items():
        write_site(tmp_path, site, **status)
    own = {site: estimate(tmp_path, site) for site in ("north", "east", "south", "west")}
    assert [own[site].status for site in own] == ["ok", "ok", "excluded", "missing"]
    assert own["north"].options_digest == DIGEST
    assert own["north"].label == "Clinic north"
    before = pool(tmp_path, list(own))

    write_site(tmp_path, "home")
    sent = tmp_path / "sites" / "home" / "summaries" / "client_factors" / DIGEST
    estimate(tmp_path, "home")
    shutil.copytree(tmp_path / "summaries" / "home", sent)
    home = {"site": "home", "label": "Home", "data": "summary", "status": "ok", "counts": {"clients": 60}}
    write_json(tmp_path / "sites" / "home" / "status.json", home)
    rows = pd.read_csv(tmp_path / "summaries" / "home" / "estimates.csv")
    taken = estimate(tmp_path, "home")
    assert taken.estimates["estimate"].tolist() == pytest.approx(rows["estimate"].tolist(), rel=0, abs=0, nan_ok=True)

    after = pool(tmp_path, [*own, "home"])
    categories = after["categories"]
    assert set(categories["scenario"]) == {"base"}
    shown = categories[categories["category"].eq("interpersonal") & categories["site"].eq("(pooled)")]
    assert set(shown["claim"]) == {"F1"}
    assert shown["difference"].tolist() == pytest.approx((shown["estimate"] - 0.32).tolist())
    assert len(after["factors"]) > len(before["factors"])
    assert "make request" in after["factors"].loc[after["factors"]["site"].eq("west"), "reason"].iloc[0]
