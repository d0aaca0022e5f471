"""Comparing sites finds planted faults and leaves clean sites alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from alliance.configuration.strict_yaml import load_file
from alliance.files import write_csv, write_json, write_text
from alliance.instruments import Instrument, load_registry
from alliance.instruments.item_statistics import item_statistics, scale_moments
from alliance.instruments.scoring import score
from alliance.issues import Issue, Severity, from_csv, to_csv
from alliance.sites.comparison import SiteEvidence, compare
from alliance.sites.published import names_in_use, unused_names

PROJECT = Path(__file__).resolve().parents[2]
SITES = ("birch", "cedar", "elm", "hazel", "maple", "willow")
REGISTRY = load_registry([PROJECT / "workflow" / "instruments"])
Change = Callable[[np.ndarray], np.ndarray]


def answers(instrument: Instrument, seed: int, n_clients: int = 60, sessions: int = 3, mean: float = 5.0) -> np.ndarray:
    """Return simulated answers as given, shape (n_clients * sessions, n_items); sites differ by a fifth of a standard deviation."""
    draw = np.random.default_rng(seed)
    low, high = instrument.response.min, instrument.response.max
    site = draw.normal(0, 0.2)
    client = np.repeat(draw.normal(0, 0.8, n_clients), sessions)
    session = draw.normal(0, 0.4, n_clients * sessions)
    latent = mean + site + client[:, None] + session[:, None] + draw.normal(0, 1, (n_clients * sessions, instrument.n_items))
    values = np.clip(np.round(latent), low, high)
    reverse = [item - 1 for item in instrument.reverse]
    values[:, reverse] = low + high - values[:, reverse]
    return values


def evidence(site: str, instrument: Instrument, values: np.ndarray, sessions: int = 3) -> SiteEvidence:
    """Return what the other sites are compared with, from answers as given."""
    n = len(values)
    client = np.repeat(np.arange(1, n // sessions + 1), sessions)
    keys = {
        "site": pd.Series([site] * n, dtype="str"),
        "client_no": pd.array(client, dtype="Int64"),
        "timepoint": pd.Series(["session"] * n, dtype="str"),
        "session": pd.array(np.tile(np.arange(1, sessions + 1), n // sessions), dtype="Int64"),
        "rater": pd.Series(["client"] * n, dtype="str"),
    }
    items = {f"i{item}": pd.array(values[:, item - 1], dtype="Float64") for item in range(1, instrument.n_items + 1)}
    ratings = pd.DataFrame(keys | items)
    moments = scale_moments(score(ratings, instrument), {instrument.key: instrument})
    return SiteEvidence(site, {"status": "ok", "files": []}, item_statistics(ratings, instrument), moments)


def study(key: str, seed: int = 1, change: Change | None = None, **options: float) -> list[SiteEvidence]:
    """Return six simulated sites, the third one changed."""
    sites = []
    for number, site in enumerate(SITES):
        values = answers(REGISTRY[key], 100 * seed + number, **options)
        sites.append(evidence(site, REGISTRY[key], change(values) if change and site == "elm" else values))
    return sites


def codes(issues: list[Issue]) -> set[tuple[str, str]]:
    return {(issue.code, issue.site) for issue in issues}


def turn(instrument: Instrument, *items: int) -> Change:
    def change(values: np.ndarray) -> np.ndarray:
        columns = [item - 1 for item in items]
        values = values.copy()
        values[:, columns] = instrument.response.min + instrument.response.max - values[:, columns]
        return values

    return change


@pytest.mark.parametrize("key", ["wai_36", "wai_s", "haq_2"])
def test_items_that_a_site_reversed_already_are_named_once_each(key: str) -> None:
    instrument = REGISTRY[key]
    mean = 5.0 if instrument.response.max == 7 else 4.2
    issues = [issue for issue in compare(study(key, change=turn(instrument, *instrument.reverse[:2]), mean=mean)) if issue.code == "H12"]
    assert {issue.site for issue in issues} == {"elm"}
    assert sorted(issue.column for issue in issues) == sorted(f"i{item}" for item in instrument.reverse[:2])
    assert {issue.severity for issue in issues} == {Severity.WARN}


def test_all_reversed_items_turned_twice_are_found_against_the_rest() -> None:
    instrument = REGISTRY["wai_36"]
    issues = compare(study("wai_36", change=turn(instrument, *instrument.reverse)))
    assert {issue.column for issue in issues if issue.code == "H12"} >= {f"i{item}" for item in instrument.reverse}
    assert {issue.site for issue in issues if issue.code == "H12"} == {"elm"}


def test_an_item_that_runs_against_its_scale_everywhere_is_no_fault_of_one_site() -> None:
    instrument = REGISTRY["wai_s"]
    sites = [evidence(site, instrument, turn(instrument, 4)(answers(instrument, number))) for number, site in enumerate(SITES)]
    assert not [issue for issue in compare(sites) if issue.code == "H12"]


def test_one_site_alone_raises_nothing() -> None:
    instrument = REGISTRY["wai_s"]
    assert compare([evidence("elm", instrument, turn(instrument, 4)(answers(instrument, 1)))]) == []


def test_answers_shifted_by_one_are_flagged() -> None:
    def shift(values: np.ndarray) -> np.ndarray:
        return np.where(values == 1, np.nan, values - 1)

    assert ("V18", "elm") in codes(compare(study("wai_sr", change=shift, mean=3.8)))


def test_answers_on_fewer_points_are_flagged_as_unused_maximum_and_by_their_distribution() -> None:
    issues = compare(study("wai_36", change=lambda values: np.round(1 + (values - 1) * 4 / 6), mean=5.5))
    assert {("V18", "elm"), ("V26", "elm")} <= codes(issues)
    assert {site for _, site in codes(issues)} == {"elm"}


def test_a_scale_that_a_site_turned_over_is_flagged_as_shifted() -> None:
    issues = compare(study("phq_9", change=lambda values: 3 - values, mean=0.6))
    assert ("V26", "elm") in codes(issues)
    assert {site for _, site in codes(issues)} == {"elm"}


def test_a_spread_half_as_wide_is_flagged_as_rescaled() -> None:
    issues = compare(study("wai_36", change=lambda values: np.round(4 + (values - 4) / 2), mean=4.0))
    assert ("V27", "elm") in codes(issues)
    assert {site for _, site in codes(issues)} == {"elm"}


def test_clean_sites_are_seldom_flagged() -> None:
    flagged, checked = 0, 0
    for seed in range(2, 7):
        for key, mean, clients in (("wai_sr", 3.8, 30), ("phq_9", 1.0, 40)):
            issues = compare(study(key, seed, mean=mean, n_clients=clients))
            flagged += len({issue.site for issue in issues})
            checked += len(SITES)
    assert checked == 60
    assert flagged == 0


@pytest.mark.parametrize(("highest", "expected"), [(7, set()), (5, {("V26", "elm"), ("V27", "elm")})])
def test_sites_of_different_ranges_are_compared_as_shares_of_the_range(highest: int, expected: set[tuple[str, str]]) -> None:
    def site(name: str, mean: float, sd: float, top: int) -> SiteEvidence:
        numbers = {"n_clients": 50, "n_rows": 50, "mean": mean, "sd_between_client": sd, "sd_within_client": np.nan}
        row = {"site": name, "instrument": "wai_sr", "rater": "client", "scale": "total", "timepoint": "session", **numbers}
        moments = pd.DataFrame([row | {"minimum_possible": 1.0, "maximum_possible": float(top), "alpha": 0.9}])
        return SiteEvidence(name, {"status": "ok", "files": []}, moments=moments)

    usual = [site(name, 3.8 + 0.02 * number, 0.7 + 0.01 * number, 5) for number, name in enumerate(SITES) if name != "elm"]
    assert codes(compare([*usual, site("elm", 1 + 2.8 * 1.5, 0.7 * 1.5, highest)])) == expected


def test_equal_files_of_two_sites_are_named_at_both() -> None:
    def site(name: str, *hashes: str, status: str = "ok") -> SiteEvidence:
        files = [{"file": f"{number}.csv", "sha256": value, "rows_in": 5} for number, value in enumerate(hashes)]
        return SiteEvidence(name, {"status": status, "files": files})

    issues = compare([site("elm", "aa", "bb"), site("birch", "bb", status="excluded"), site("cedar", "cc")])
    assert [(issue.code, issue.site, issue.file) for issue in issues] == [("F33", "birch", "0.csv"), ("F33", "elm", "1.csv")]
    assert "birch (0.csv)" in issues[1].message


def test_the_same_file_twice_within_a_site_is_not_reported_here() -> None:
    files = [{"file": name, "sha256": "aa", "rows_in": 5} for name in ("a.csv", "b.csv")]
    assert compare([SiteEvidence("elm", {"status": "ok", "files": files})]) == []


def test_clients_who_may_be_in_two_sites_are_counted_and_not_shown() -> None:
    status = {"status": "ok", "files": []}
    sites = [SiteEvidence("elm", status, links=["h1", "h2"]), SiteEvidence("birch", status, links=["h2"]), SiteEvidence("cedar", status)]
    issues = compare(sites)
    assert [(issue.code, issue.site, issue.n_affected) for issue in issues] == [("R06", "birch", 1), ("R06", "elm", 1)]
    assert not any("h2" in issue.message + issue.value_shown for issue in issues)


def test_sites_left_out_take_no_part_in_comparisons_of_answers() -> None:
    sites = study("wai_36", change=turn(REGISTRY["wai_36"], 1))
    sites[SITES.index("elm")].status["status"] = "excluded"
    assert compare(sites) == []


def test_the_order_of_the_sites_does_not_matter() -> None:
    sites = study("wai_36", change=turn(REGISTRY["wai_36"], 1, 3))
    assert to_csv(compare(sites)) == to_csv(compare(sites[::-1]))


def test_names_of_published_values_that_no_question_looks_for_are_named_with_the_nearest() -> None:
    configuration, _ = load_file(PROJECT / "config.yaml")
    names = names_in_use([configuration], REGISTRY)
    pairs = [("empathy", "aliance"), ("alliance", "outcome"), ("wai_sr.total", "intake_level"), ("hag_2.total", "motivation")]
    moments = pd.DataFrame(pairs, columns=["var1", "var2"])
    effects = pd.DataFrame(
        [("client_factor", "", "motivation"), ("client_factors", "", "motivatoin"), ("path_models", "a_model", "indirect")],
        columns=["question", "model", "parameter"],
    )
    found = unused_names("birch", moments, effects, names)
    assert {issue.code for issue in found} == {"A13"} and {issue.severity for issue in found} == {Severity.WARN}
    said = " ".join(issue.message for issue in found)
    assert len(found) == 5
    for misspelt, meant in (
        ("aliance", "alliance"),
        ("hag_2.total", "haq_2"),
        ("client_factor", "client_factors"),
        ("motivatoin", "motivation"),
    ):
        assert f"'{misspelt}'; did you mean '{meant}'?" in said
    assert unused_names("birch", moments.iloc[1:3], effects.iloc[:0], names) == []


def test_the_comparison_step_gathers_all_faults_and_adds_its_own(tmp_path: Path) -> None:
    instrument = REGISTRY["wai_s"]
    for one in study("wai_s", change=turn(instrument, 4)):
        own = Issue("V01", Severity.CELL, "=a message", "fix it", site=one.site, file="a.csv", row=3)
        scoring = Issue("S03", Severity.WARN, "another range", "", site=one.site)
        write_json(tmp_path / "sites" / one.site / "status.json", one.status)
        write_text(tmp_path / "sites" / one.site / "issues.csv", to_csv([own]))
        write_text(tmp_path / "scores" / one.site / "issues.csv", to_csv([scoring]))
        write_csv(tmp_path / "scores" / one.site / "item_statistics.csv", one.items)
        write_csv(tmp_path / "scores" / one.site / "scale_moments.csv", one.moments)
    script = [sys.executable, str(PROJECT / "scripts" / "compare_sites.py"), "--sites", json.dumps(SITES)]
    folders = ["--site-tables", str(tmp_path / "sites"), "--scores", str(tmp_path / "scores")]
    result = subprocess.run([*script, *folders, "--output", str(tmp_path / "issues.csv")], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    issues = from_csv((tmp_path / "issues.csv").read_text(encoding="utf-8"))
    assert sorted(issue.code for issue in issues) == ["H12"] + ["S03"] * 6 + ["V01"] * 6
    assert "H12" in result.stderr
    assert {issue.message for issue in issues if issue.code == "V01"} == {"'=a message"}
