"""Do client and therapist see the same: true values are found, raters are compared on one scale only, and what is missing is said."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from alliance.instruments.registry import load_registry
from alliance.questions.congruence import question as congruence
from alliance.questions.contract import MOMENTS as MOMENTS_SCHEMA
from alliance.questions.contract import POOLED, PUBLISHED_EFFECTS, WITH_NUMBERS, check, finish, typed
from alliance.questions.site_data import Published
from alliance.questions.summary import SiteSummary
from congruence_sites import BIAS, SCALES, TRACKING_BETWEEN, TRACKING_WITHIN, options, rows, simulated, site_from, tables_of
from support import PROJECT

REGISTRY = load_registry([PROJECT / "workflow" / "instruments"])
OPTIONS = options(least_share=0.05)
PREFERRED = "(preferred)"


@pytest.fixture(scope="module")
def sites():
    sizes = {"clients": 150, "therapists": 20, "sessions": 8}
    return [simulated(name, seed=seed, **sizes) for seed, name in enumerate("abcdef")]


@pytest.fixture(scope="module")
def tables(sites):
    return tables_of(sites, OPTIONS)


def pooled(table: pd.DataFrame, **keys: str) -> pd.Series:
    chosen = table[table["site"].eq(POOLED)]
    for name, value in keys.items():
        chosen = chosen[chosen[name].eq(value)]
    assert len(chosen) == 1, (keys, len(chosen))
    return chosen.iloc[0]


def test_every_table_is_as_described(tables):
    for name, table in tables.items():
        check(table.assign(scenario="base")[list(table.columns)], "congruence", name)


def test_bias_and_tracking_are_found_apart_for_ups_and_downs_and_for_clients(tables):
    table = tables["truth_and_bias"]
    for term, truth in (("tracking within clients", TRACKING_WITHIN), ("tracking between clients", TRACKING_BETWEEN)):
        row = pooled(table, term=term, headline="yes")
        # Observed means of a handful of sessions carry some of what happens within clients.
        assert row["estimate"] == pytest.approx(truth, abs=0.06) and row["ci_low"] < row["estimate"] < row["ci_high"]
    bias = pooled(table, term="bias", headline="yes")
    assert bias["ci_low"] < 0 and bias["ci_high"] < 0 and bias["estimate"] == pytest.approx(BIAS / 1.3, abs=0.1)


def test_the_subscale_that_is_tracked_best_is_told_from_the_others(tables):
    assert SCALES["bond"] > SCALES["task"]
    row = pooled(tables["truth_and_bias"], term="tracking within clients", contrast="task - bond")
    assert row["ci_high"] < 0


def test_the_client_is_said_to_be_higher_and_more_clients_lie_on_that_side(tables):
    table = tables["agreement"]
    difference = pooled(table, instrument=PREFERRED, instrument_scale="total", statistic="first minus second")
    assert difference["ci_low"] > 0 and difference["unit"] == "sd"
    keys = {"instrument": PREFERRED, "instrument_scale": "total", "definition": "one mean and SD for both raters"}
    shares = {band: pooled(table, statistic=band, **keys)["estimate"] for band in ("agree", "client higher", "therapist higher")}
    assert shares["client higher"] > shares["therapist higher"] and sum(shares.values()) == pytest.approx(1, abs=0.03)
    low, high = (
        pooled(table, instrument=PREFERRED, instrument_scale="total", statistic=f"{side} limit of agreement") for side in ("lower", "upper")
    )
    assert low["estimate"] < difference["estimate"] < high["estimate"]


def test_the_client_s_own_rating_leads_to_the_next_symptoms_and_the_therapist_s_does_not(tables):
    table = tables["actor_partner"]
    keys = {"explained": "symptoms, next session", "part": "within_client"}
    assert pooled(table, effect="actor", **keys)["ci_low"] > 0 and pooled(table, effect="actor", **keys)["same_rater"] == "yes"
    partner = pooled(table, effect="partner", **keys)
    assert partner["ci_low"] < 0 < partner["ci_high"] and partner["same_rater"] == "no"
    ratio = pooled(table, effect="partner / actor", **keys)
    assert ratio["method"] == "multivariate_reml" and ratio["ci_low"] < 0 < ratio["ci_high"]


def test_ratings_that_carry_nothing_over_have_no_lagged_effects(tables):
    table = tables["actor_partner"]
    for rater in ("client", "therapist"):
        for effect in ("actor", "partner"):
            row = pooled(table, explained="alliance, next session", explained_rater=rater, effect=effect)
            assert abs(row["estimate"]) < 0.15 and row["ci_low"] < 0 < row["ci_high"]


def test_agreement_that_matters_gives_a_ridge_along_it_and_opposites_that_do_not_matter_none(tables):
    table = tables["response_surface"]
    for method in ("multivariate_reml", "one_stage"):
        keys = {"surface": "alliance_outcome", "method": method}
        assert pooled(table, term="a4", index="", **keys)["ci_high"] < 0
        assert pooled(table, term="verdict", **keys)["decision"] in ("supported", "compatible")
    rival = table[table["surface"].eq("alliance_outcome") & table["site"].eq(POOLED) & table["index"].eq("weight")].set_index("term")[
        "estimate"
    ]
    assert rival["full"] + rival["rising ridge"] > 0.9
    none = pooled(table, surface="dominance_alliance", term="verdict", method="one_stage")
    assert none["decision"] in ("undecided", "not_supported")


def test_a_better_alliance_of_both_keeps_clients_in_treatment(tables):
    row = pooled(tables["response_surface"], surface="alliance_dropout", term="a1", index="", method="one_stage")
    assert row["ci_low"] > 0


def test_surfaces_within_and_between_clients_stand_apart(tables):
    table = tables["response_surface"]
    own = table[
        table["surface"].eq("alliance_symptoms")
        & table["site"].eq(POOLED)
        & table["term"].eq("b1")
        & table["method"].eq("multivariate_reml")
    ]
    assert sorted(own["part"]) == ["between_client", "within_client"] and own["status"].isin(WITH_NUMBERS).all()
    assert set(own["same_rater"]) == {"mixed"}


def test_summaries_say_all_that_pooling_needs(sites, tables, tmp_path):
    read = []
    for site in sites:
        congruence.estimate(site, OPTIONS, {}).write(tmp_path / site.site)
        read.append(SiteSummary.read(tmp_path / site.site))
    again = {name: finish(table, "congruence", name) for name, table in congruence.pool(read, OPTIONS, {}).items()}
    for name, table in tables.items():
        both = table[table["method"].ne("one_stage") & ~table["reason"].str.contains("one_stage")]
        pd.testing.assert_frame_equal(again[name], both.reset_index(drop=True), rtol=1e-9)


def test_the_order_of_rows_does_not_matter(sites):
    site = sites[0]
    shuffled = dataclasses.replace(
        site,
        scores=site.scores.sample(frac=1, random_state=4).reset_index(drop=True),
        clients=site.clients.sample(frac=1, random_state=5).reset_index(drop=True),
        therapists=site.therapists.sample(frac=1, random_state=6).reset_index(drop=True),
    )
    one, other = (congruence.estimate(each, OPTIONS, {}) for each in (site, shuffled))
    pd.testing.assert_frame_equal(one.estimates, other.estimates, rtol=1e-9)


def reasons(site, part: str, chosen=OPTIONS) -> set[str]:
    found = congruence.estimate(site, chosen, {}).estimates
    own = found[found["model"].eq(part)]
    assert not own["status"].isin(WITH_NUMBERS).any()
    return set(own["reason"])


def test_raters_with_other_instruments_are_not_compared_and_both_are_named():
    site = site_from(rows(clients=40, therapists=8, sessions=4), "a", instrument="wai_sr", second="haq_2")
    for part in ("agreement", "truth_and_bias", "actor_partner"):
        assert all("same instrument" in reason and "wai_sr" in reason and "haq_2" in reason for reason in reasons(site, part))


def test_forms_of_one_family_are_compared_as_percent_of_range_only_where_asked_for_and_flagged():
    site = dataclasses.replace(site_from(rows(clients=60, therapists=8, sessions=4), "a", "wai_sr", "wai_s"), instruments=REGISTRY)
    site = dataclasses.replace(site, ranges={"wai_sr": {"client": (0.0, 10.0)}, "wai_s": {"therapist": (0.0, 10.0)}})
    assert all("same instrument" in reason for reason in reasons(site, "agreement"))
    found = congruence.estimate(site, options(commensurable="percent_of_range"), {}).estimates
    own = found[found["model"].eq("agreement") & found["instrument"].eq(PREFERRED) & found["instrument_scale"].eq("total")]
    # Profiles over items need the same items.
    own = own[~own["statistic"].str.contains("likeness")]
    assert own["status"].eq("flagged").all() and own["reason"].str.contains("percent of their range").all()


def test_another_range_of_answers_is_no_common_scale():
    site = dataclasses.replace(
        simulated(clients=40, therapists=8, sessions=4), ranges={"wai_36": {"client": (1.0, 7.0), "therapist": (1.0, 5.0)}}
    )
    assert any("client 1 to 7 and therapist 1 to 5" in reason for reason in reasons(site, "agreement"))


def test_a_short_form_taken_from_the_long_one_counts_where_both_raters_have_it():
    site = site_from(rows(clients=60, therapists=8, sessions=4), "a", "wai_s", "wai_s")
    derived = site.scores.assign(
        derived_from=np.where(site.scores["rater"].eq("client") & site.scores["instrument"].eq("wai_s"), "wai_36", None)
    )
    found = congruence.estimate(dataclasses.replace(site, scores=derived, instruments=REGISTRY), OPTIONS, {}).estimates
    own = found[found["model"].eq("agreement")]
    assert set(own["instrument"]) == {PREFERRED} and own["status"].isin(WITH_NUMBERS).any()


def test_a_site_with_published_summaries_only_is_told_what_is_needed():
    published = Published(typed(pd.DataFrame(), MOMENTS_SCHEMA), typed(pd.DataFrame(), PUBLISHED_EFFECTS))
    site = dataclasses.replace(simulated(clients=40, therapists=8, sessions=3), published=published)
    for part in congruence.PARTS:
        assert all("sessions of single clients" in reason for reason in reasons(site, part))


def test_sites_left_out_stand_in_every_table():
    gone = SiteSummary(site="z", question="congruence", status="excluded", reason="no usable file")
    site = congruence.estimate(simulated(clients=40, therapists=8, sessions=4), OPTIONS, {})
    for name, table in congruence.pool([site, gone], OPTIONS, {}).items():
        own = finish(table, "congruence", name)
        own = own[own["site"].eq("z")]
        assert len(own) and own["reason"].str.contains("no usable file").all()


def test_a_surface_with_nobody_on_one_side_is_refused():
    data = rows(clients=100, therapists=12, sessions=5)
    data["sessions"]["second"] -= 3
    found = congruence.estimate(site_from(data), OPTIONS, {}).estimates
    own = found[found["surface"].eq("alliance_outcome") & found["term"].eq("verdict")].iloc[0]
    assert own["status"] == "not_estimable" and "5 % of cases on either side" in own["reason"] and "y higher" in own["reason"]


def test_what_differs_between_therapists_needs_ten_of_them_and_columns_that_are_there():
    few = simulated(clients=90, therapists=9, sessions=4)
    found = congruence.estimate(few, OPTIONS, {}).estimates
    own = found[found["surface"].eq("dominance_alliance") & found["term"].eq("verdict")].iloc[0]
    assert "needs at least 10 therapists" in own["reason"]
    lacking = dataclasses.replace(few, therapists=few.therapists.drop(columns=["dominance", "training"]))
    found = congruence.estimate(lacking, OPTIONS, {}).estimates
    assert "needs the column dominance of the therapists table" in found[found["surface"].eq("dominance_alliance")]["reason"].iloc[0]
    assert "needs the column training of the therapists table" in found[found["moderator"].eq("training")]["reason"].iloc[0]


def test_where_no_site_has_enough_dropouts_the_rows_of_all_sites_stand_alone():
    sites = []
    for seed, name in enumerate("abcdef"):
        data = rows(clients=40, therapists=8, sessions=4, seed=seed)
        data["clients"]["dropout"] = (data["clients"]["client"] % 5 == 0).astype(int)
        sites.append(site_from(data, name))
    table = tables_of(sites, OPTIONS)["response_surface"]
    own = table[table["surface"].eq("alliance_dropout") & table["term"].eq("a1") & table["index"].eq("")]
    assert own[own["site"].ne(POOLED)]["status"].eq("not_estimable").all()
    assert own[own["method"].eq("one_stage")]["status"].isin(WITH_NUMBERS).all()


def test_therapists_unknown_are_said_and_clients_taken_as_independent():
    site = simulated(clients=60, therapists=10, sessions=4)
    blank = dataclasses.replace(
        site,
        scores=site.scores.assign(therapist_no=pd.array([None] * len(site.scores), dtype="Int64")),
        clients=site.clients.drop(columns="therapist_no"),
    )
    found = congruence.estimate(blank, OPTIONS, {}).estimates
    own = found[found["statistic"].eq("first minus second") & found["status"].isin(WITH_NUMBERS)]
    assert own["n_therapists"].isna().all() and set(own["method"]) == {"client_jackknife"}


def test_one_site_alone_gives_a_table_over_all_rows_that_can_be_written_and_read(sites, tmp_path):
    whole = congruence.one_stage(iter(sites[:1]), ["a"], OPTIONS)
    assert whole.empty
    whole.to_csv(tmp_path / "one.csv", index=False)
    assert pd.read_csv(tmp_path / "one.csv").empty


def test_rows_of_a_site_that_was_refused_alone_are_named_where_all_rows_are_joined():
    data = rows(clients=100, therapists=12, sessions=5, seed=3)
    data["sessions"]["second"] -= 3
    sites = [simulated(name, clients=100, therapists=12, sessions=5, seed=seed) for seed, name in enumerate("ab")]
    joint = congruence.one_stage(iter([*sites, site_from(data, "c")]), ["a", "b", "c"], OPTIONS)
    own = joint[joint["surface"].eq("alliance_outcome") & joint["term"].eq("b4")].iloc[0]
    assert own["n_sites"] == 3 and own["status"] == "flagged"
    assert "with the rows of c, where no surface could be fitted alone" in own["reason"]
    known = congruence.one_stage(iter(sites), ["a", "b"], OPTIONS)
    assert "could be fitted alone" not in known[known["surface"].eq("alliance_outcome") & known["term"].eq("b4")].iloc[0]["reason"]
