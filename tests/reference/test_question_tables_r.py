"""Tables of the questions, from the rows of clients on, equal what base R and metafor give."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import statistics_reference as reference
from alliance.questions.client_factors import question as client_factors
from alliance.questions.contract import POOLED
from alliance.questions.convergent_validity import question as convergent_validity
from alliance.questions.path_models import question as path_models
from alliance.questions.site_data import SiteData
from needed import needs_r
from unit.simulated_site import OPTIONS, score_rows, simulated, site_of

EXPECTED = reference.stored("question_tables")
SITES = [site for site, _, _ in reference.QUESTION_SITES]
KINDS = ("r_squared_minimum", "r_squared_mean", "r_squared_maximum")
# All numbers but those behind metafor's own search for tau2 (stopped at 1e-14 here) agree to rounding.
EXACT = {"rel": 1e-6, "abs": 1e-9}


def options() -> dict:
    chosen = copy.deepcopy(OPTIONS)
    chosen["questions"]["client_factors"]["factors"] = reference.FACTORS
    chosen["questions"]["convergent_validity"]["timepoint_window"] = "early"
    return chosen


def site_data() -> list[SiteData]:
    clients, scores = reference.question_clients(), reference.question_scores()
    found = []
    for site in SITES:
        own = clients[clients["site"].eq(site)].rename(columns={"client": "client_no", "therapist": "therapist_no"})
        own = own.drop(columns=["site", "alliance"]).astype({"client_no": "Int64", "therapist_no": "Int64"}).reset_index(drop=True)
        tables = []
        for keys, rows in scores[scores["site"].eq(site)].groupby(["instrument", "scale", "rater", "derived_from", "session"], sort=True):
            instrument, scale, rater, parent, session = keys
            about = {"instrument": instrument, "scale": scale, "rater": rater, "derived_from": parent or None, "session": session}
            tables.append(score_rows(rows["client"], rows["score"], **about))
        found.append(site_of(tables, site, clients=own))
    return found


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    sites, chosen = site_data(), options()
    pooled = [
        question.pool([question.estimate(site, chosen, {}) for site in sites], chosen, {})
        for question in (convergent_validity, client_factors)
    ]
    return pooled[0] | pooled[1]


def only(table: pd.DataFrame, **keys: str) -> pd.Series:
    chosen = table[np.logical_and.reduce([table[name].eq(value) for name, value in keys.items()])]
    assert len(chosen) == 1, (keys, len(chosen))
    return chosen.iloc[0]


@pytest.mark.parametrize("key", sorted(EXPECTED["overlap"]))
def test_range_and_mean_of_shared_variance_equal_r_from_the_rows_of_clients(tables: dict[str, pd.DataFrame], key: str) -> None:
    site, level, rater = key.split("/")
    basis = "pairs" if site == POOLED else "site"
    for kind in KINDS:
        found = only(tables["overlap_summary"], site=site, level=level, rater=rater, pairs_kind="all", basis=basis, estimate_type=kind)
        # The interval of site e's mean takes clients as independent, since it has three therapists.
        assert found["status"] == ("flagged" if site == "e" and kind == "r_squared_mean" else "estimated")
        assert found["n_pairs"] == EXPECTED["overlap"][key]["n_pairs"]
        assert found["estimate"] == pytest.approx(EXPECTED["overlap"][key][kind], **EXACT), kind


def test_shared_variance_is_given_where_r_gives_it_and_nowhere_else(tables: dict[str, pd.DataFrame]) -> None:
    overlap = tables["overlap_summary"]
    given = overlap[overlap["status"].isin(["estimated", "flagged"]) & overlap["pairs_kind"].eq("all") & overlap["basis"].ne("sites")]
    given = given[given["estimate_type"].isin(KINDS)]
    assert set(given["site"] + "/" + given["level"] + "/" + given["rater"]) == set(EXPECTED["overlap"])


@pytest.mark.parametrize("category", sorted(EXPECTED["means"]))
def test_means_of_categories_equal_a_jackknife_of_therapists_pooled_by_metafor(tables: dict[str, pd.DataFrame], category: str) -> None:
    expected = EXPECTED["means"][category]
    found = only(tables["categories"], site=POOLED, category=category, estimate_type="correlation_random_effects")
    for column, name in (("estimate", "estimate"), ("std_error", "std_error"), ("ci_low", "low"), ("ci_high", "high"), ("q", "q")):
        assert found[column] == pytest.approx(expected[name], **EXACT), column
    assert found["tau2"] == pytest.approx(expected["tau2"], rel=1e-6, abs=1e-8)
    assert found["n_sites"] == expected["k"]
    for site in SITES:
        own = only(tables["categories"], site=site, category=category, estimate_type="correlation_random_effects")
        if site not in expected["sites"]:
            assert own["status"] == "not_estimable"
            continue
        assert own["estimate"] == pytest.approx(expected["sites"][site]["estimate"], **EXACT)
        assert own["std_error"] == pytest.approx(expected["sites"][site]["std_error"], **EXACT)


@pytest.mark.parametrize("category", sorted(EXPECTED["weighted"]))
def test_means_weighted_by_clients_equal_r(tables: dict[str, pd.DataFrame], category: str) -> None:
    found = only(tables["categories"], category=category, estimate_type="correlation_n_weighted")
    assert found["estimate"] == pytest.approx(EXPECTED["weighted"][category], **EXACT)


@pytest.mark.parametrize("pair", sorted(EXPECTED["contrasts"]))
def test_contrasts_of_pooled_means_equal_r(tables: dict[str, pd.DataFrame], pair: str) -> None:
    found = only(tables["categories"], site=POOLED, category=pair)
    for column, value in EXPECTED["contrasts"][pair].items():
        assert found[column] == pytest.approx(value, **EXACT), column


@needs_r
def test_indirect_effects_of_sites_pool_to_what_metafor_gives() -> None:
    sites = [simulated(name, n=80 + 30 * number, seed=number, alliance_outcome=0.1 * number) for number, name in enumerate("abcdef")]
    summaries = [path_models.estimate(site, OPTIONS, {}) for site in sites]
    table = path_models.pool(summaries, OPTIONS, {})["defined"]
    own = table[table["site"].ne(POOLED) & table["interval"].eq("bootstrap_percentile")]
    own = own.assign(effect=lambda rows: rows["parameter"] + "/" + rows["estimate_type"])
    assert own.groupby("effect")["site"].nunique().eq(len(sites)).all()
    expected = reference.pooled_by_metafor(own[["effect", "estimate", "std_error"]])
    assert len(expected) == 4
    for effect, values in expected.items():
        parameter, kind = effect.split("/")
        found = only(table, site=POOLED, parameter=parameter, estimate_type=kind, method="two_stage_reml")
        for column, name in (("estimate", "estimate"), ("std_error", "se"), ("ci_low", "low"), ("ci_high", "high"), ("q", "q")):
            assert found[column] == pytest.approx(values[name], **EXACT), (effect, column)
        assert found["tau2"] == pytest.approx(values["tau2"], rel=1e-6, abs=1e-8), effect
        assert found["n_sites"] == values["k"]
    assert any(values["tau2"] > 0 for values in expected.values())
