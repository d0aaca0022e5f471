"""Tables of alliance and outcome, and of early gains, from the rows of clients on, equal what base R, metafor and lme4 give."""

from __future__ import annotations

import copy
import dataclasses
from types import SimpleNamespace

import numpy as np
import outcome_rows
import pandas as pd
import pytest
import statistics_reference as reference
from alliance.questions.alliance_outcome import question as alliance_outcome
from alliance.questions.alliance_outcome.measures import PREFERRED
from alliance.questions.contract import POOLED, WITH_NUMBERS, faults
from alliance.questions.early_gains import question as early_gains
from alliance.questions.site_data import SiteData
from unit.simulated_site import INSTRUMENTS, OPTIONS, score_rows, site_of

EXPECTED = reference.stored("alliance_outcome")
SITES = [site for site, _, _ in outcome_rows.SITES]
# Everything but searches for a largest likelihood agrees to rounding.
EXACT = {"rel": 1e-6, "abs": 1e-8}
MIXED = {"rel": 1e-4, "abs": 1e-4}
OUTCOME_FORMS = SimpleNamespace(construct="outcome_symptoms", direction="higher_is_worse")


def options() -> dict:
    chosen = copy.deepcopy(OPTIONS)
    settings = outcome_rows.SETTINGS
    chosen["outcome"] |= {
        "tailored": {"instrument": "target_complaints", "scale": "severity"},
        "broad": {"instrument": "scl_90_r", "scale": "gsi"},
    }
    chosen["questions"]["alliance_outcome"] |= {
        "windows": ["session_3", "early", "middle", "late", "all"],
        "forms": ["ancova", "zero_order", "residual_gain", "change"],
        "equal_sessions": settings["equal_sessions"],
    }
    chosen["questions"]["early_gains"] |= {
        "sudden_gain_points": settings["sudden_gain_points"],
        "change": {"reliable_change": settings["reliable_change"], "cutoff": settings["cutoff"], "reliability": None},
    }
    return chosen


def site_data() -> list[SiteData]:
    clients, scores = outcome_rows.rows()
    found = []
    for site in SITES:
        own = clients[clients["site"].eq(site)].rename(columns={"client": "client_no", "therapist": "therapist_no"})
        own = own.drop(columns="site").astype({"client_no": "Int64", "therapist_no": "Int64"}).reset_index(drop=True)
        tables = []
        for keys, rows in scores[scores["site"].eq(site)].groupby(["instrument", "scale", "rater", "timepoint"], sort=True):
            instrument, scale, rater, timepoint = keys
            days = pd.to_timedelta(rows["day"].to_numpy(), unit="D") + outcome_rows.FIRST_DAY
            about = {"instrument": instrument, "scale": scale, "rater": rater, "timepoint": timepoint}
            tables.append(score_rows(rows["client"], rows["score"], session=rows["session"], date=days, **about))
        one = site_of(tables, site, clients=own, facts=outcome_rows.FACTS[site])
        instruments = {**INSTRUMENTS, "target_complaints": OUTCOME_FORMS, "scl_90_r": OUTCOME_FORMS}
        found.append(dataclasses.replace(one, instruments=instruments))
    return found


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    sites, chosen = site_data(), options()
    one_stage = alliance_outcome.one_stage(iter(sites), SITES, chosen)
    found = alliance_outcome.pool([alliance_outcome.estimate(site, chosen, {}) for site in sites], chosen, {"one_stage": one_stage})
    gains = early_gains.pool(
        [early_gains.estimate(site, chosen, {}) for site in sites], chosen, {"alliance_outcome/timing": found["timing"]}
    )
    return found | gains


def only(table: pd.DataFrame, **keys: str) -> pd.Series:
    chosen = table[np.logical_and.reduce([table[name].eq(value) for name, value in keys.items()])]
    assert len(chosen) == 1, (keys, len(chosen))
    return chosen.iloc[0]


def assert_equal(found: pd.Series, expected: dict, about: object = "", **tolerance: float) -> None:
    for name, value in expected.items():
        if name in found.index:
            assert found[name] == pytest.approx(value, **(tolerance or EXACT)), (about, name)


def assert_sites_and_pooled(table: pd.DataFrame, expected: dict, pooled: pd.DataFrame | None = None, **keys: str) -> None:
    """Compare the rows of one effect: every site that R gives and no other, and the pooled row."""
    pooled = table if pooled is None else pooled
    sites = table[np.logical_and.reduce([table[name].eq(value) for name, value in keys.items()])]
    given = sites[sites["site"].ne(POOLED) & sites["status"].isin(WITH_NUMBERS)]
    assert sorted(given["site"]) == sorted(expected["sites"]), keys
    for site, values in expected["sites"].items():
        assert_equal(only(given, site=site), values, (keys, site))
    if "pooled" in expected:
        own = only(pooled, site=POOLED, **keys)
        assert_equal(own, {name: value for name, value in expected["pooled"].items() if not name.startswith("tau2")}, keys)
        for name in ("tau2", "tau2_low", "tau2_high"):
            assert own[name] == pytest.approx(expected["pooled"][name], rel=1e-5, abs=1e-8), (keys, name)


def test_every_table_holds_what_its_schema_says(tables: dict[str, pd.DataFrame]) -> None:
    for name, table in tables.items():
        assert faults(table, "alliance_outcome" if name in alliance_outcome.tables else "early_gains", name) == []
        assert len(table), name


@pytest.mark.parametrize("key", sorted(EXPECTED["effects"]))
def test_correlations_of_sites_and_pooled_equal_loops_over_therapists_and_metafor(tables: dict[str, pd.DataFrame], key: str) -> None:
    rater, window, rated, form = key.split("/")
    keys = {"alliance_rater": rater, "window": window, "outcome_rater": rated, "form": form}
    keys |= {"alliance_instrument": PREFERRED, "outcome_instrument": PREFERRED}
    pooled = tables["pooled"]
    pooled = pooled[pooled["coding"].eq("as_estimated") & pooled["method"].eq("two_stage_reml") | pooled["method"].eq("none")]
    assert_sites_and_pooled(tables["site_effects"], EXPECTED["effects"][key], pooled, **keys)


def test_preferred_measures_have_no_other_effects_than_r_gives(tables: dict[str, pd.DataFrame]) -> None:
    sites = tables["site_effects"]
    chosen = sites["alliance_instrument"].eq(PREFERRED) & sites["outcome_instrument"].eq(PREFERRED) & sites["status"].isin(WITH_NUMBERS)
    keys = sites.loc[chosen, ["alliance_rater", "window", "outcome_rater", "form"]].agg("/".join, axis=1)
    assert set(keys) == {key for key, values in EXPECTED["effects"].items() if values["sites"]}


@pytest.mark.parametrize("method", ["three_level_reml", "cluster_robust_cr2"])
def test_all_outcomes_at_once_equal_metafor_and_clubsandwich(tables: dict[str, pd.DataFrame], method: str) -> None:
    found = only(tables["pooled"], method=method, outcome_instrument="(all)")
    assert_equal(found, EXPECTED["all_outcomes"][method], method, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("coding", ["zero", "dropped", "imputed"])
def test_effects_that_are_not_significant_are_coded_as_in_r(tables: dict[str, pd.DataFrame], coding: str) -> None:
    found = only(tables["pooled"], coding=coding)
    assert found["status"] == "flagged"
    assert found["reason"].startswith(f"{EXPECTED['coded']['hidden']} of {len(EXPECTED['influence'])} site effects are not significant")
    assert_equal(found, EXPECTED["coded"][coding], coding, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("site", sorted(EXPECTED["influence"]))
def test_influence_of_each_site_on_the_headline_equals_metafor(tables: dict[str, pd.DataFrame], site: str) -> None:
    assert_equal(only(tables["influence"], site_left_out=site), EXPECTED["influence"][site], site, rel=1e-5, abs=1e-7)


def test_share_of_sites_below_zero_is_counted(tables: dict[str, pd.DataFrame]) -> None:
    assert only(tables["pooled"], estimate_type="share")["estimate"] == pytest.approx(EXPECTED["negative"], rel=1e-12)


@pytest.mark.parametrize("key", sorted(EXPECTED["contrasts"]["raters"]))
def test_contrasts_of_raters_equal_loops_over_therapists(tables: dict[str, pd.DataFrame], key: str) -> None:
    columns = ("outcome_instrument", "pair", "outcome_rater", "alliance_rater", "contrast")
    assert_sites_and_pooled(tables["raters"], EXPECTED["contrasts"]["raters"][key], **dict(zip(columns, key.split("/"))))


@pytest.mark.parametrize("key", sorted(EXPECTED["contrasts"]["timing"]))
def test_contrasts_of_phases_equal_loops_over_therapists(tables: dict[str, pd.DataFrame], key: str) -> None:
    keys = dict(zip(("sessions", "phase", "contrast"), key.split("/")))
    assert_sites_and_pooled(tables["timing"], EXPECTED["contrasts"]["timing"][key], **keys)


@pytest.mark.parametrize("key", sorted(EXPECTED["contrasts"]["moderators"]))
def test_moderators_within_sites_equal_loops_over_therapists(tables: dict[str, pd.DataFrame], key: str) -> None:
    rows = tables["moderators"]
    keys = dict(zip(("moderator", "group", "contrast"), key.split("/")))
    assert_sites_and_pooled(rows[rows["where"].ne("between_sites")], EXPECTED["contrasts"]["moderators"][key], **keys)


@pytest.mark.parametrize("moderator", ["treatment", "planned_length"])
def test_moderators_between_sites_equal_metafor(tables: dict[str, pd.DataFrame], moderator: str) -> None:
    found = only(tables["moderators"], moderator=moderator, where="between_sites")
    assert_equal(found, EXPECTED["between_sites"][moderator], moderator, rel=1e-5, abs=1e-7)


PARTS = {"outcome": "outcome given intake", "symptoms": "symptoms of the next session"}


@pytest.mark.parametrize("where", ["a", "d", "one_stage"])
@pytest.mark.parametrize("explained", PARTS)
def test_parts_of_the_alliance_by_level_equal_lmertest(tables: dict[str, pd.DataFrame], where: str, explained: str) -> None:
    about = {"site": POOLED, "method": "one_stage"} if where == "one_stage" else {"site": where}
    for key, expected in EXPECTED["levels"][where][explained].items():
        part, contrast = key.split("/")
        found = only(tables["levels"], explained=PARTS[explained], part=part, contrast=contrast, **about)
        assert_equal(found, expected, key, **MIXED)


@pytest.mark.parametrize("where", ["a", "d", "one_stage"])
def test_shares_of_variance_by_level_equal_lme4(tables: dict[str, pd.DataFrame], where: str) -> None:
    site = POOLED if where == "one_stage" else where
    expected = EXPECTED["levels"][where]
    rows = tables["levels"][tables["levels"]["site"].eq(site)]
    for explained, parts in expected["shares"].items():
        residual = "session" if "session" in explained else "client"
        for part, value in parts.items():
            found = only(rows, explained=explained, part=residual if part == "rest" else part, estimate_type="variance_share")
            assert found["estimate"] == pytest.approx(value, **MIXED), (explained, part)
            assert found["ci_low"] <= found["estimate"] <= found["ci_high"]
    assert only(rows, estimate_type="reliability_of_means")["estimate"] == pytest.approx(expected["reliability"], **MIXED)


def test_headline_in_one_stage_equals_lme4(tables: dict[str, pd.DataFrame]) -> None:
    found = only(tables["pooled"], method="one_stage")
    assert_equal(found, EXPECTED["one_stage_headline"], **MIXED)
    assert (found["status"], "without f" in found["reason"]) == ("flagged", True)


@pytest.mark.parametrize("key", sorted(EXPECTED["partial"]))
def test_alliance_beyond_early_change_equals_loops_over_therapists(tables: dict[str, pd.DataFrame], key: str) -> None:
    window, covariates, kind = key.split("/")
    keys = {"window": window, "covariates": covariates, "items": "as_scored"}
    assert_sites_and_pooled(tables["partial"], EXPECTED["partial"][key], estimate_type=kind, **keys)
    squared = {"partial_correlation": "share_of_rest", "semipartial_correlation": "r_squared_change"}[kind]
    for site, one in EXPECTED["partial"][key]["sites"].items():
        found = only(tables["partial"], site=site, estimate_type=squared, **keys)
        assert found["estimate"] == pytest.approx(one["estimate"] ** 2, **EXACT)


@pytest.mark.parametrize("key", sorted(EXPECTED["growth"]))
def test_growth_of_the_alliance_by_outcome_equals_lines_fitted_in_r(tables: dict[str, pd.DataFrame], key: str) -> None:
    kind, group = key.split("/")
    statistic = {"first": "level at session 1", "slope": "slope per session"}[kind]
    assert_sites_and_pooled(tables["hypotheses"], EXPECTED["growth"][key], statistic=statistic, group=group)


@pytest.mark.parametrize("site", sorted(EXPECTED["change"]))
def test_change_categories_are_counted_by_every_denominator(tables: dict[str, pd.DataFrame], site: str) -> None:
    rows = tables["change_categories"][tables["change_categories"]["site"].eq(site)]
    for denominator, counted in EXPECTED["change"][site].items():
        n = counted["n"]
        for category, share in counted.items():
            if category == "n" or (category == "not_measured" and denominator.endswith("measured")):
                continue
            found = only(rows, denominator=denominator, category=category)
            assert (found["estimate"], found["n_clients"]) == (pytest.approx(share, abs=1e-12), n), (denominator, category)


@pytest.mark.parametrize("site", sorted(EXPECTED["sudden_gains"]))
def test_sudden_gains_and_losses_are_those_found_session_by_session_in_r(tables: dict[str, pd.DataFrame], site: str) -> None:
    rows, expected = tables["sudden_gains"][tables["sudden_gains"]["site"].eq(site)], EXPECTED["sudden_gains"][site]
    for shift, statistic, name in (
        ("gain", "clients with one", "one"),
        ("gain", "clients with several", "several"),
        ("loss", "clients with one", "losses"),
    ):
        found = only(rows, shift=shift, statistic=statistic)
        assert (found["estimate"], found["n_clients"]) == (pytest.approx(expected[name], abs=1e-12), expected["n"]), name
    assert only(rows, statistic="mean size")["estimate"] == pytest.approx(expected["size"], rel=1e-10)


MET = {
    # labelled_alliance, time_lapse, no_analog, at_least_5_clients, individual_treatment, all
    "a": ("met", "met", "met", "met", "met", "met"),
    "b": ("met", "met", "met", "met", "met", "met"),
    "c": ("met", "met", "not met", "met", "met", "not met"),
    "d": ("met", "met", "met", "met", "not met", "not met"),
    "e": ("met", "met", "not known", "met", "met", "not known"),
    "g": ("met", "met", "met", "met", "not known", "not known"),
}


def test_criteria_of_the_1991_meta_analysis_are_those_checked_by_hand(tables: dict[str, pd.DataFrame]) -> None:
    rows = tables["eligibility"]
    main = rows[rows["alliance_rater"].eq("client") & rows["window"].eq("early") & rows["outcome_rater"].eq("client")]
    criteria = ("labelled_alliance", "time_lapse", "no_analog", "at_least_5_clients", "individual_treatment", "all")
    own = main[main["estimate_type"].eq("criterion_met")]
    found = {site: tuple(one.set_index("criterion").loc[list(criteria), "decision"]) for site, one in own.groupby("site")}
    assert found == MET
    assert only(own, site="c", criterion="no_analog")["reason"] == "an analog study"
    pooled = only(main, site=POOLED)
    assert (pooled["n_sites"], pooled["decision"]) == (2, "met by 2 of 6 sites")
    assert_equal(pooled, EXPECTED["eligible"])
