"""Who took part: the table of participants equals what R describes from the raw values of all sites in one list."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import r_script
from alliance.questions import effects
from alliance.questions.client_factors import participants
from alliance.questions.contract import POOLED, finish
from alliance.questions.part import summary_fields
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.descriptives import of_all_groups
from needed import needs_r

OPTIONS = {"pooling": {"min_sites": 2, "min_clients": 10}}


def clients(seed: int = 5) -> pd.DataFrame:
    """Return invented clients of four sites of very different sizes and ages, with gaps."""
    random = np.random.default_rng(seed)
    parts = []
    for site, n, age, therapists in (("a", 70, 30.0, 9), ("b", 41, 45.0, 6), ("c", 23, 62.0, 4), ("d", 9, 21.0, 3)):
        part = pd.DataFrame({"site": site, "client": np.arange(1, n + 1), "therapist": random.integers(1, therapists + 1, n)})
        part["age"] = np.where(random.random(n) < 0.15, np.nan, np.rint(age + 9 * random.standard_normal(n)))
        part["gender"] = np.where(random.random(n) < 0.1, None, random.choice(["female", "male", "other"], n, p=[0.6, 0.35, 0.05]))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def therapists(people: pd.DataFrame, seed: int = 6) -> pd.DataFrame:
    found = people[["site", "therapist"]].drop_duplicates().sort_values(["site", "therapist"]).reset_index(drop=True)
    return found.assign(years=np.random.default_rng(seed).integers(0, 30, len(found)).astype(float))


def table_of(people: pd.DataFrame, staff: pd.DataFrame) -> pd.DataFrame:
    summaries = []
    for site, own in people.groupby("site"):
        frame = own.rename(columns={"client": "client_no", "therapist": "therapist_no"}).astype(
            {"client_no": "Int64", "therapist_no": "Int64"}
        )
        working = staff[staff["site"].eq(site)].rename(columns={"therapist": "therapist_no"}).astype({"therapist_no": "Int64"})
        part = participants.estimate(SiteData(site=site, clients=frame.reset_index(drop=True), therapists=working.reset_index(drop=True)))
        summaries.append(SiteSummary(site=site, question="client_factors", **summary_fields({participants.NAME: part})))
    return finish(participants.pool(effects.gather(summaries), summaries, OPTIONS), "client_factors", participants.NAME)


def number(table: pd.DataFrame, **keys: Any) -> pd.Series:
    chosen = table[np.logical_and.reduce([table[name].eq(value) for name, value in keys.items()])]
    assert len(chosen) == 1, (keys, len(chosen))
    return chosen.iloc[0]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("participants")
    people = clients()
    staff = therapists(people)
    people.to_csv(folder / "clients.csv", index=False)
    staff.to_csv(folder / "therapists.csv", index=False)
    return table_of(people, staff), r_script.values("participants.R", folder)


@needs_r
@pytest.mark.parametrize("site", ["a", "b", "c", "d", POOLED])
def test_means_spreads_and_shares_are_those_of_r(described, site):
    table, expected = described
    told = expected["sites"][site]
    for person, characteristic, name in (
        ("client", "age", "age"),
        ("therapist", participants.CASELOAD, "caseload"),
        ("therapist", "years", "years"),
    ):
        keys = {"site": site, "person": person, "characteristic": characteristic}
        mean, spread = (number(table, **keys, estimate_type=kind) for kind in (participants.MEAN, participants.SD))
        people = "n_clients" if person == "client" else "n_therapists"
        assert mean["estimate"] == pytest.approx(told[name]["mean"], rel=1e-12)
        assert spread["estimate"] == pytest.approx(told[name]["sd"], rel=1e-12)
        assert mean[people] == spread[people] == told[name]["n"]
    age = number(table, site=site, characteristic="age", person="client", estimate_type=participants.MEAN)
    assert age["share_missing"] == pytest.approx(told["age"]["missing"], abs=1e-12)
    assert age["n_therapists"] == told["age"]["therapists"]
    for gender, share in told["gender"].items():
        row = number(table, site=site, characteristic="gender", category=gender)
        assert row["estimate"] == pytest.approx(share, abs=1e-12)
        assert row["n_clients"] == told["gender_known"]


@needs_r
def test_groups_put_together_have_the_mean_and_the_deviation_of_one_list(described):
    _, expected = described
    groups = pd.DataFrame(expected["anova"])
    n, mean, sd = of_all_groups(groups["n"], groups["mean"], groups["sd"])
    assert n == groups["n"].sum()
    # R's sums of squares of one-way analysis of variance, within and between.
    assert (n - 1) * sd**2 == pytest.approx(sum(expected["sums_of_squares"]), rel=1e-12)
    assert mean == pytest.approx(expected["sites"][POOLED]["age"]["mean"], rel=1e-12)


def test_one_case_a_group_and_empty_groups():
    values = [3.0, 8.0, 4.0, 9.0]
    n, mean, sd = of_all_groups([1, 1, 0, 1, 1], [3.0, 8.0, np.nan, 4.0, 9.0], [np.nan] * 5)
    assert (n, mean) == (4, np.mean(values))
    assert sd == pytest.approx(np.std(values, ddof=1), rel=1e-14)
    assert np.isnan(of_all_groups([1], [5.0], [np.nan])[2])
    assert np.isnan(of_all_groups([0], [np.nan], [np.nan])[1])
