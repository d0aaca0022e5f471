"""The table of therapist-offered conditions and social influence, from the rows of clients on, equals what base R and metafor give."""

from __future__ import annotations

import copy

import conditions_reference as reference
import pandas as pd
import pytest
from alliance.questions.contract import POOLED, WITH_NUMBERS, faults
from needed import needs_r
from unit.conditions_table import table_of
from unit.simulated_site import OPTIONS, score_rows, site_of

EXPECTED = reference.stored("conditions")
FIRST_DAY = pd.Timestamp("2021-01-04")
NAMES = {
    "estimate": "estimate",
    "se": "std_error",
    "low": "ci_low",
    "high": "ci_high",
    "n": "n_clients",
    "k": "n_sites",
    "p": "p_equivalence",
}
EXACT = {"rel": 1e-6, "abs": 1e-9}
# metafor stops its search for tau2 at 1e-14 here; what rests on it agrees less closely.
SEARCHED = {"rel": 1e-5, "abs": 1e-8}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    options = copy.deepcopy(OPTIONS)
    options["empathy"]["instruments"] = ["care", "blri_empathy16"]
    options["unconditionality"]["instruments"] = options["congruence"]["instruments"] = []
    clients, scores = reference.rows()
    sites = []
    for site, _, _, design in reference.SITES:
        own = clients[clients["site"].eq(site)].rename(columns={"client": "client_no", "therapist": "therapist_no"})
        own = own.drop(columns="site").astype({"client_no": "Int64", "therapist_no": "Int64"}).reset_index(drop=True)
        tables = []
        for keys, rows in scores[scores["site"].eq(site)].groupby(["instrument", "scale", "rater", "timepoint"], sort=True):
            instrument, scale, rater, timepoint = keys
            days = pd.to_timedelta(rows["day"].to_numpy(), unit="D") + FIRST_DAY
            about = {"instrument": instrument, "scale": scale, "rater": rater, "timepoint": timepoint}
            tables.append(score_rows(rows["client"], rows["score"], session=rows["session"], date=days, **about))
        sites.append(site_of(tables, site, clients=own, facts={"design": design}))
    return table_of(sites, options)


def _key(row: pd.Series) -> str:
    window = row["phase"] if row["topic"] == "phase" else row["window"]
    columns = (row["topic"], row["variable"], row["rater"], window, row["form"], row["pair"], row["group"], row["contrast"])
    return "|".join([*(value for value in columns if value), row["estimate_type"]])


def _assert_equal(found: pd.Series, expected: dict, about: str, **tolerance: float) -> None:
    for name, value in expected.items():
        if name in NAMES:
            assert found[NAMES[name]] == pytest.approx(value, **(tolerance or EXACT)), (about, name)


def test_the_table_is_as_described(table):
    assert faults(table, "path_models", "conditions") == []


def test_every_number_of_every_site_is_that_of_r(table):
    own = table[table["site"].ne(POOLED) & table["status"].isin(WITH_NUMBERS)]
    found = {f"{row['site']}|{_key(row)}": row for _, row in own.iterrows()}
    assert sorted(found) == sorted(EXPECTED["sites"])
    for name, expected in EXPECTED["sites"].items():
        _assert_equal(found[name], expected, name)


def test_every_pooled_number_is_that_of_r(table):
    own = table[table["site"].eq(POOLED) & table["status"].isin(WITH_NUMBERS) & table["where"].eq("within_sites")]
    found = {_key(row): row for _, row in own.iterrows()}
    wanted = {name: value for name, value in EXPECTED["pooled"].items() if not name.startswith("setting")}
    assert sorted(found) == sorted(wanted)
    for name, expected in wanted.items():
        _assert_equal(found[name], expected, name, **SEARCHED)


def test_slopes_between_sites_and_settings_are_those_of_r(table):
    own = table[table["where"].eq("between_sites") & table["status"].isin(WITH_NUMBERS)]
    found = {}
    for _, row in own.iterrows():
        if row["estimate_type"] == "slope_on_moderator":
            found["setting" if row["topic"] == "setting" else f"modality|{row['variable']}"] = row
        else:
            found[f"setting|{row['group']}"] = row
    wanted = EXPECTED["slopes"] | {name: value for name, value in EXPECTED["pooled"].items() if name.startswith("setting")}
    assert sorted(found) == sorted(wanted)
    for name, expected in wanted.items():
        _assert_equal(found[name], expected, name, **SEARCHED)


@needs_r
def test_stored_values_are_what_r_gives_now():
    now = reference.computed()
    for part, rows in EXPECTED.items():
        assert sorted(now[part]) == sorted(rows)
        for name, expected in rows.items():
            assert now[part][name] == pytest.approx(expected, rel=1e-8, abs=1e-10), name
