"""Interventions: rupture windows hold what they should, known effects are found, and what a site lacks is said."""

from __future__ import annotations

import copy
import dataclasses

import pandas as pd
import pytest
from alliance.questions.contract import POOLED, faults
from alliance.questions.interventions import complementarity as circle
from alliance.questions.interventions import question as interventions
from alliance.questions.interventions.sessions import CodedSessions, rupture_windows
from alliance.questions.interventions.transitions import responses
from alliance.questions.site_data import Published
from alliance.questions.summary import SiteSummary
from unit.intervention_sites import options, rows, site_from, tables_of
from unit.simulated_site import site_of

SITES = ("a", "b", "c")


def ratings(*series):
    """Return ratings of clients 1, 2, ...; None where a session is not rated."""
    found = [
        (client, session, value)
        for client, values in enumerate(series, start=1)
        for session, value in enumerate(values, start=1)
        if value is not None
    ]
    return pd.DataFrame(found, columns=["client", "session", "alliance"])


# A client whose ratings make one unit about one SD within clients, beside the one that is looked at.
STEADY = (5, 6, 5, 6, 5, 6, 5, 6)
SHARED = {"largest_gap": 1, "min_sessions": 4, "repair_share": 0.5, "repair_within": 3}


@pytest.mark.parametrize(
    ("series", "sessions", "repaired"),
    [
        ((7, 7, 4, 7, 7, 7, 7, 7), [3], [1]),
        ((7, 7, 4, 4, 7, 7, 7, 7), [3, 4], [0, 1]),
        ((7, 7, 4, 4, 4, 4, 4, 4), [3, 4, 5], [0, 0, 0]),
        ((7, 7, None, 4, 7, 7, 7, 7), [], []),
        ((7, 7, 4, None, 7, 7, 7, 7), [], []),
        ((7, 7, 7, 7, 7, 7, 7, 4), [], []),
        ((7, 6.9, 6.8, 6.7, 6.6, 6.5, 6.4, 6.3), [], []),
    ],
)
def test_sessions_of_a_rupture_are_those_after_which_it_could_be_repaired(series, sessions, repaired):
    windows = rupture_windows(ratings(series, STEADY, STEADY), {"rule": "drop", "sd": 1.5}, SHARED)
    own = windows[windows["client"].eq(1)]
    assert own["session"].tolist() == sessions and own["repaired"].tolist() == repaired
    assert (own["before"] == 7).all() and (own["depth"] == 3).all()


@pytest.fixture(scope="module")
def tables():
    return tables_of([site_from(rows(clients=160, therapists=16, sessions=12, seed=place), site) for place, site in enumerate(SITES)])


def pooled(table, **keys):
    chosen = table[table["site"].eq(POOLED)]
    for name, value in keys.items():
        chosen = chosen[chosen[name].eq(value)]
    assert len(chosen) == 1, len(chosen)
    return chosen.iloc[0]


LAGGED = {"topic": "frequency", "explained": "alliance", "part": "within_clients", "compared_with": "all_sessions", "treatment": ""}


def test_the_tables_are_as_described(tables):
    assert {name: faults(table, "interventions", name) for name, table in tables.items()} == {name: [] for name in tables}
    assert not tables["events"]["event"].eq("").any()


def test_challenges_are_followed_by_a_weaker_alliance(tables):
    row = pooled(tables["events"], event="challenges", window="all", **LAGGED)
    assert row["ci_high"] < 0 and row["decision"] == "different"


def test_without_later_sessions_the_effect_is_the_same_and_less_sure(tables):
    row = pooled(tables["events"], event="challenges", window="all", **LAGGED)
    other = pooled(tables["events"], event="challenges", window="all", **{**LAGGED, "compared_with": "earlier_sessions"})
    assert other["ci_low"] <= row["estimate"] <= other["ci_high"]
    sites = tables["events"][tables["events"]["event"].eq("challenges") & tables["events"]["window"].eq("all")]
    sites = sites[
        sites["site"].ne(POOLED) & sites["part"].eq("within_clients") & sites["explained"].eq("alliance") & sites["treatment"].eq("")
    ]
    error = sites.groupby("compared_with")["std_error"].mean()
    assert error["earlier_sessions"] > error["all_sessions"]


def test_accuracy_counts_for_the_first_kind_only(tables):
    first = pooled(tables["events"], topic="accuracy", event="wish_and_response")
    second = pooled(tables["events"], topic="accuracy", event="response_of_self")
    contrast = pooled(tables["events"], topic="accuracy", event="wish_and_response - others")
    assert first["ci_low"] > 0.1 and second["ci_low"] < 0 < second["ci_high"] and contrast["ci_low"] > 0


def test_a_middle_amount_is_best_within_clients(tables):
    row = pooled(tables["curvilinear"], part="within_clients", term="inverted_u")
    assert row["estimate"] == 1 and row["decision"] == "inverted_u"
    assert pooled(tables["curvilinear"], part="within_clients", term="quadratic")["ci_high"] < 0


def test_clients_with_a_strong_alliance_answer_challenges_with_involvement(tables):
    keys = {"topic": "after_event", "response": "involvement", "group": "high - low", "model": "multilevel"}
    row = pooled(tables["transitions"], method="logit_one_stage", **keys)
    assert row["ci_low"] > 1 and row["n_sites"] == len(SITES)
    avoided = pooled(tables["transitions"], method="logit_one_stage", **{**keys, "response": "avoidance"})
    assert avoided["ci_high"] < 1


def test_nothing_that_comes_after_a_challenge_enters_its_groups():
    data = rows(seed=7)
    later = copy.deepcopy(data)
    changed = later["sessions"]["session"] > 6
    later["sessions"].loc[changed, "alliance"] += 5 * later["sessions"].loc[changed, "client"] % 3
    frames = []
    for one in (data, later):
        trials = responses(CodedSessions(site_from(one), options()), "client", "involvement", "").rows
        frames.append(trials[trials["session"] <= 7].set_index(["client", "session"])[["trials", "successes"]])
    pd.testing.assert_frame_equal(*frames)


def test_small_groups_are_withheld():
    site = site_from(rows(clients=13, sessions=12, therapists=4, seed=3))
    table = tables_of([site])["transitions"]
    own = table[table["site"].eq("a") & table["model"].eq("counted") & table["group"].isin(["low", "high"])]
    held = own[own["status"].eq("withheld")]
    assert len(held) and held["estimate"].isna().all() and held["n_clients"].isna().all()
    shown = own[own["status"].isin(["estimated", "flagged"])]
    assert (shown["n_clients"] >= 10).all()


@pytest.mark.parametrize("name", interventions.tables)
def test_a_site_without_events_says_what_it_needs(name):
    data = rows(seed=1)
    site = dataclasses.replace(site_from(data, "quiet"), events=pd.DataFrame())
    table = tables_of([site, site_from(rows(seed=2), "b"), site_from(rows(seed=3), "c")])[name]
    own = table[table["site"].eq("quiet")]
    assert len(own) and own["status"].eq("not_estimable").all() and own["reason"].str.contains("no coded events").all()


@pytest.mark.parametrize("name", interventions.tables)
def test_a_site_with_a_published_matrix_and_one_left_out_are_told(name):
    chosen = options()
    published = dataclasses.replace(site_of([], "matrix"), published=Published(pd.DataFrame(), pd.DataFrame()))
    sites = [site_from(rows(seed=place), site) for place, site in enumerate(("a", "b"))]
    summaries = [interventions.estimate(site, chosen, {}) for site in (*sites, published)]
    summaries.append(SiteSummary(site="gone", label="Gone", question="interventions", status="excluded", reason="no client column"))
    table = interventions.pool(summaries, chosen, {})[name]
    assert table.loc[table["site"].eq("matrix"), "reason"].str.contains("summaries only").all()
    assert table["site"].eq("matrix").any() and table.loc[table["site"].eq("gone"), "reason"].str.contains("no client column").all()
    assert faults(table, "interventions", name) == []


def test_complementary_is_alike_in_affiliation_and_opposite_in_dominance():
    names = ["client_affiliation", "client_dominance", "therapist_affiliation", "therapist_dominance"]
    positions = pd.DataFrame([[1, 2, 1, -2], [1, 2, 1, 2], [-1, 0, 2, 0]], columns=names)
    assert circle.complementarity(positions).tolist() == [0.0, -4.0, -3.0]


def test_complementary_replies_need_codes_of_both_people(tables):
    own = tables["events"][tables["events"]["topic"].eq("complementarity")]
    assert len(own) and own["status"].eq("not_estimable").all()
    assert own.loc[own["site"].ne(POOLED), "reason"].str.contains("circle for client and therapist; lacks client_affiliation").all()


def test_the_way_back_from_the_alliance_is_flagged_where_the_mean_holds_later_sessions(tables):
    own = tables["events"][tables["events"]["explained"].eq("event") & tables["events"]["site"].ne(POOLED)]
    told = own[own["estimate"].notna()].groupby("compared_with")["status"].agg(set)
    assert told["all_sessions"] == {"flagged"} and told["earlier_sessions"] == {"estimated"}


def test_a_code_that_no_site_has_is_not_estimable():
    data = {name: frame.copy() for name, frame in rows(seed=1).items()}
    data["events"] = data["events"][data["events"]["code"].ne("avoidance")]
    table = tables_of([site_from(data)])["events"]
    own = table[table["event"].eq("avoidance") & table["site"].eq("a")]
    assert len(own) and own["reason"].str.contains("no events coded avoidance").all()


def test_a_few_coded_clients_are_too_few():
    data = rows(seed=1)
    data["events"] = data["events"][data["events"]["client"] <= 6]
    tables = tables_of([site_from(data)])
    for table in tables.values():
        own = table[table["site"].eq("a")]
        assert own["status"].isin(["not_estimable", "withheld"]).all() and own["reason"].ne("").all()


def test_the_order_of_rows_does_not_matter():
    data = rows(seed=4)
    mixed = {name: frame.sample(frac=1, random_state=1).reset_index(drop=True) for name, frame in data.items()}
    for name, table in tables_of([site_from(data)]).items():
        other = tables_of([site_from(mixed)])[name]
        pd.testing.assert_frame_equal(table, other, rtol=1e-9, atol=1e-10)


def test_who_coded_the_events_is_told():
    site = site_from(rows(seed=1))
    one = tables_of([dataclasses.replace(site, events=site.events.assign(rater="client"))])["events"]
    other = tables_of([site])["events"]
    assert set(one.loc[one["site"].eq("a"), "same_rater"]) == {"yes"} and set(other.loc[other["site"].eq("a"), "same_rater"]) == {"no"}


def test_methods_cite_what_was_done(tables):
    told = interventions.methods(options(), tables)
    cited = {key for sentence in told for key in sentence.citations}
    assert {"simonsohn_2018", "hayakawa_2009", "carroll_ruppert_stefanski_crainiceanu_2006", "pinheiro_bates_1995"} <= cited
