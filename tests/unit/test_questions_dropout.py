"""Dropout: who is at risk under each definition, what sites lack, small cells, order, summaries, and sums over sites."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
from alliance.questions import benchmarks
from alliance.questions.contract import POOLED, WITH_NUMBERS, faults
from alliance.questions.dropout import curves, models
from alliance.questions.dropout import periods as spans
from alliance.questions.dropout import question as dropout
from alliance.questions.summary import SiteSummary
from support import PROJECT
from unit.leaving_site import LOG_HAZARD_RATIO, leaving
from unit.simulated_site import OPTIONS, score_rows, site_of
from unit.test_questions_alliance_outcome import MATRIX, published, row

HEADLINE = {
    "definition": "unilateral",
    "cause": "dropout",
    "hazard_model": "first_session",
    "link": "cloglog",
    "therapists": "frailty",
    "term": "alliance_first",
}


def changed(**settings):
    options = copy.deepcopy(OPTIONS)
    options["questions"]["dropout"] |= settings
    return options


def tables_of(sites, options=OPTIONS, absent=(), whole=True):
    summaries = [dropout.estimate(site, options, {}) for site in sites]
    summaries += [SiteSummary(name, "dropout", status=status, reason="no client ids") for name, status in absent]
    names = [one.site for one in summaries]
    beside = {"one_stage": dropout.one_stage(iter(sites), names, options)} if whole else {}
    return dropout.pool(summaries, options, beside)


def sound(tables):
    assert list(tables) == list(dropout.tables)
    for name, table in tables.items():
        assert faults(table, "dropout", name) == [], name
    return tables


@pytest.fixture(scope="module")
def sites():
    return [leaving(name, n=90 + 10 * seed, seed=seed) for seed, name in enumerate("abc")]


@pytest.fixture(scope="module")
def tables(sites):
    return sound(tables_of(sites))


def treatments(**columns):
    """Return a site of six clients: left, planned, administrative, ongoing, left late, never came."""
    sessions = {1: [1, 2], 2: [1, 2, 3, 4], 3: [1, 2, 3], 4: [1, 3], 5: [1, 2, 3, 4, 5]}
    rows = [{"client_no": client, "session": session, "attended": True} for client, own in sessions.items() for session in own]
    rows.append({"client_no": 4, "session": 2, "attended": False})
    clients = pd.DataFrame(
        {
            "client_no": pd.array(range(1, 7), dtype="Int64"),
            "therapist_no": pd.array([1, 1, 1, 2, 2, 2], dtype="Int64"),
            "planned_sessions": columns.get("planned", [8.0, 4.0, 8.0, 8.0, 8.0, 8.0]),
        }
    )
    ended = pd.DataFrame(
        {
            "client_no": range(1, 7),
            "reason": ["unilateral", "planned", "administrative", "ongoing", "unilateral", "unilateral"],
            "judged_by": columns.get("judged_by", "therapist"),
        }
    )
    first = {1: 4.0, 2: 6.0, 3: 5.0, 4: 5.5, 5: 4.5}
    scores = [
        score_rows([client], [first[client] + 0.5 * place], instrument="wai_36", session=session)
        for client, own in sessions.items()
        for place, session in enumerate(own)
        if (client, session) != (5, 4)
    ]
    return site_of(scores, clients=clients, sessions=pd.DataFrame(rows), termination=ended)


def at_risk(definition, site=None):
    found = spans.course(site or treatments(), OPTIONS)
    rows = spans.periods(found, spans.endings(found, definition))
    return {client: own["session"].tolist() for client, own in rows.groupby("client")}, rows


def test_clients_are_at_risk_at_every_attended_session_and_those_broken_off_not_after_their_last():
    sessions, rows = at_risk({"reasons": ["unilateral"]})
    # Client 4 missed one session: the second attended one is the last, after which nothing is known.
    assert sessions == {1: [1, 2], 2: [1, 2, 3, 4], 3: [1, 2], 4: [1], 5: [1, 2, 3, 4, 5]}
    assert rows.loc[rows["dropout"].eq(1), ["client", "session"]].to_numpy().tolist() == [[1, 2], [5, 5]]
    assert rows.loc[rows["other_ending"].eq(1), ["client", "session"]].to_numpy().tolist() == [[2, 4]]


def test_a_definition_by_sessions_reaches_no_further_than_its_limit():
    sessions, rows = at_risk({"sessions_below": 4})
    assert sessions == {1: [1, 2], 2: [1, 2, 3], 3: [1, 2], 4: [1], 5: [1, 2, 3]}
    assert rows.loc[rows["dropout"].eq(1), "client"].tolist() == [1]
    assert not rows["other_ending"].any()


def test_a_definition_by_planned_sessions_needs_them_and_reaches_as_far_as_each_treatment_was_planned():
    site = treatments(planned=[8.0, 4.0, 8.0, np.nan, 12.0, 8.0])
    found = spans.course(site, OPTIONS)
    ends = spans.endings(found, {"share_of_planned_below": 0.5})
    assert ends.status.tolist() == [spans.DROPOUT, spans.OTHER, spans.CENSORED, spans.NOT_JUDGED, spans.DROPOUT]
    assert ends.limit.tolist() == [3, 1, 3, 0, 5]
    rows = spans.periods(found, ends)
    assert {client: own["session"].tolist() for client, own in rows.groupby("client")} == {1: [1, 2], 2: [1], 3: [1, 2], 5: [1, 2, 3, 4, 5]}


def test_clients_broken_off_count_in_a_share_only_where_they_came_beyond_the_definitions_reach():
    found = spans.course(treatments(), OPTIONS)
    assert spans.judged(found, spans.endings(found, {"reasons": ["unilateral"]})).tolist() == [True, True, False, False, True]
    assert spans.judged(found, spans.endings(found, {"sessions_below": 3})).tolist() == [True, True, True, False, True]


def test_clients_who_never_came_are_counted_apart():
    found = spans.course(treatments(), OPTIONS)
    assert list(found.clients.index) == [1, 2, 3, 4, 5]
    assert found.facts["never_came"] == 1 and found.facts["broken_off"] == 2


@pytest.mark.parametrize(
    ("lag", "carry", "expected"), [(1, 2, [0, 0.5, 1.0, 1.0, 2.0]), (1, 0, [0, 0.5, 1.0, np.nan, 2.0]), (2, 2, [np.nan, 0, 0.5, 1.0, 1.0])]
)
def test_the_change_of_the_alliance_is_that_of_the_last_rating_before_leaving(lag, carry, expected):
    found = spans.course(treatments(), OPTIONS)
    rows = spans.periods(found, spans.endings(found, {"reasons": ["unilateral"]}))
    shown = spans.with_predictors(rows, found, [spans.CHANGE], {"lag": lag, "carry": carry})
    spread = np.std([4.0, 6.0, 5.0, 5.5, 4.5], ddof=1)
    own = shown.loc[shown["client"].eq(5), spans.CHANGE].to_numpy() * spread
    # Without a rating in session 4 that of session 3 stands in, or none.
    assert own == pytest.approx(np.array(expected), nan_ok=True)


@pytest.mark.parametrize(
    ("judges", "expected"), [("therapist", "no"), ("client", "yes"), (["client"] * 3 + ["therapist"] * 3, "mixed"), (None, "unknown")]
)
def test_rows_say_whether_one_person_rated_the_alliance_and_judged_the_ending(judges, expected):
    found = spans.course(treatments(judged_by=judges), OPTIONS)
    assert spans.same_rater(found, {"reasons": ["unilateral"]}, "client") == expected
    assert spans.same_rater(found, {"sessions_below": 4}, "client") == "no"


def test_ratios_of_sites_are_pooled_on_the_log_scale_and_the_truth_lies_inside(tables):
    hazard = tables["hazard"]
    pooled = row(hazard, **HEADLINE, site=POOLED, method="two_stage_reml")
    own = hazard[np.logical_and.reduce([hazard[name].eq(value) for name, value in HEADLINE.items()]) & hazard["site"].ne(POOLED)]
    assert set(own["method"]) == {"hazard_frailty"}
    assert own["estimate"].min() < pooled["estimate"] < own["estimate"].max()
    assert np.log(own["ci_high"] / own["estimate"]).to_numpy() == pytest.approx(np.log(own["estimate"] / own["ci_low"]).to_numpy())
    assert pooled["ci_low"] < np.exp(LOG_HAZARD_RATIO) < pooled["ci_high"]
    assert pooled["n_events"] == own["n_events"].sum() and pooled["scale"] == "log"


def test_one_model_over_all_rows_stands_beside_and_names_the_sites_it_lacks(sites):
    shown = sound(tables_of(sites, absent=[("x", "excluded")]))["hazard"]
    whole = row(shown, **HEADLINE, site=POOLED, method="hazard_one_stage")
    pooled = row(shown, **HEADLINE, site=POOLED, method="two_stage_reml")
    assert "without x" in whole["reason"] and whole["n_sites"] == 3
    assert np.log(whole["estimate"]) == pytest.approx(np.log(pooled["estimate"]), abs=0.1)
    assert row(shown, **HEADLINE, site="x")["reason"].startswith("site left out")


def test_counts_of_sites_add_up_to_the_curves_over_sites(tables, sites):
    survival = tables["survival"]
    for group in ("all", "low", "high"):
        own = survival[survival["group"].eq(group) & survival["estimate_type"].eq("cumulative_risk")]
        pooled = own[own["site"].eq(POOLED)].set_index("session")
        by_site = own[own["site"].ne(POOLED)]
        complete = by_site.groupby("session")["site"].nunique().eq(len(sites))
        for session in complete[complete].index:
            here = by_site[by_site["session"].eq(session)]
            assert pooled.loc[session, "n_at_risk"] == here["n_at_risk"].sum()
            assert pooled.loc[session, "n_events"] == here["n_events"].sum()
        assert pooled["n_at_risk"].min() >= curves.SMALLEST_CELL and by_site["n_at_risk"].min() >= curves.SMALLEST_CELL
        assert pooled["estimate"].is_monotonic_increasing


def test_no_row_tells_of_fewer_than_ten_clients():
    small = tables_of([leaving("a", n=24, therapists=6, seed=3), leaving("b", n=25, therapists=6, seed=4)])
    survival = sound(small)["survival"]
    thirds = survival[survival["group"].isin(spans.THIRDS) & survival["site"].eq("a")]
    assert set(thirds["status"]) == {"withheld"} and thirds["reason"].str.contains("fewer than 10 clients").all()
    assert thirds["n_clients"].isna().all()
    groups = small["calibration"]
    groups = groups[groups["group"].ne("") & groups["site"].eq("a")]
    assert not len(groups) or set(groups["status"]) == {"withheld"}


def test_too_few_events_are_refused_with_numbers_and_few_are_flagged(sites):
    few = leaving("a", n=60, rate=0.004, seed=8)
    refused = row(tables_of([few], whole=False)["hazard"], **HEADLINE, site="a")
    assert refused["status"] == "not_estimable"
    assert refused["reason"].startswith("not estimable: needs at least 6 events (2 for each of 3 coefficients); has")
    flagged = row(tables_of(sites[:1], changed(events_per_parameter={"low": 50, "refuse": 2}), whole=False)["hazard"], **HEADLINE, site="a")
    assert flagged["status"] == "flagged" and "events per coefficient, fewer than 50" in flagged["reason"]
    assert flagged["events_per_parameter"] == pytest.approx(flagged["n_events"] / 3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda site: dataclasses.replace(site, termination=pd.DataFrame()), "needs reasons of termination"),
        (lambda site: dataclasses.replace(site, scores=site.scores[site.scores["instrument"].ne("wai_36")]), "no client-rated total score"),
        (lambda site: dataclasses.replace(site, scores=site.scores.iloc[:0], sessions=site.sessions.iloc[:0]), "needs"),
    ],
)
def test_what_a_site_lacks_is_said_in_every_table(sites, change, reason):
    tables = sound(tables_of([change(leaving("a", seed=5)), *sites[1:]]))
    hazard = tables["hazard"]
    own = hazard[hazard["site"].eq("a") & hazard["hazard_model"].eq("first_session")]
    assert len(own) and set(own["status"]) == {"not_estimable"}
    assert own["reason"].str.contains(reason).all(), own["reason"].unique()
    assert (row(hazard, **HEADLINE, site=POOLED, method="two_stage_reml")["n_sites"]) == 2
    for name in ("survival", "definitions", "calibration"):
        assert len(tables[name][tables[name]["site"].eq("a")]), name


def test_severity_that_was_not_sent_is_left_out_with_a_flag():
    site = leaving("a", seed=5)
    site = dataclasses.replace(site, scores=site.scores[site.scores["timepoint"].ne("intake")])
    shown = row(sound(tables_of([site], whole=False))["hazard"], **HEADLINE, site="a")
    assert shown["status"] == "flagged" and "intake severity is not held constant" in shown["reason"]


def test_one_model_over_all_rows_does_without_severity_where_no_site_sent_it(sites):
    without = [dataclasses.replace(site, scores=site.scores[site.scores["timepoint"].ne("intake")]) for site in sites]
    whole = row(sound(tables_of(without))["hazard"], **HEADLINE, site=POOLED, method="hazard_one_stage")
    assert whole["status"] == "flagged" and "intake severity is not held constant at a, b, c" in whole["reason"]
    some = row(sound(tables_of([*without[:1], *sites[1:]]))["hazard"], **HEADLINE, site=POOLED, method="hazard_one_stage")
    assert "intake severity is not held constant at a: it was not sent" in some["reason"]


def test_therapists_that_are_few_or_not_known_leave_clients_independent_with_a_flag():
    few = leaving("a", therapists=3, seed=6)
    shown = row(sound(tables_of([few], whole=False))["hazard"], **HEADLINE, site="a")
    assert shown["method"] == "hazard_independent" and "fewer than 5 therapists (3)" in shown["reason"]
    unknown = dataclasses.replace(few, clients=few.clients.drop(columns="therapist_no"), scores=few.scores.assign(therapist_no=pd.NA))
    tables = sound(tables_of([unknown], whole=False))
    assert "therapists are not known" in row(tables["hazard"], **HEADLINE, site="a")["reason"]
    jackknifed = row(tables["hazard"], **{**HEADLINE, "therapists": "jackknife"}, site="a")
    assert jackknifed["method"] == "client_jackknife" and np.isfinite(jackknifed["std_error"])


def test_combinations_need_their_columns_and_are_the_product_of_both(tables, sites):
    keys = {**HEADLINE, "hazard_model": "combination: affiliation", "term": "client_by_therapist"}
    found = row(tables["hazard"], **keys, site="a")
    assert found["status"] in WITH_NUMBERS
    counted = ["n_clients", "n_therapists", "n_sessions", "n_events"]
    assert found[counted].tolist() == row(tables["hazard"], **HEADLINE, site="a")[counted].tolist()
    without = [dataclasses.replace(site, therapists=site.therapists.drop(columns="affiliation")) for site in sites]
    shown = sound(tables_of(without))["hazard"]
    assert row(shown, **keys, site="a")["reason"] == "not estimable: the therapists table has no column affiliation"
    assert row(shown, **keys, site=POOLED)["status"] == "not_estimable"


def test_sites_that_publish_summaries_only_say_so_in_every_row(sites):
    tables = sound(tables_of([*sites[:2], published(moments=MATRIX)], whole=False))
    for name, table in tables.items():
        own = table[table["site"].eq("p")]
        assert len(own) and set(own["status"]) == {"not_estimable"}, name
        assert set(own["reason"]) == {dropout.SUMMARIES_ONLY}, name


def test_order_of_rows_and_sites_does_not_matter(sites, tables):
    def shuffled(frame):
        return frame.sample(frac=1, random_state=3).reset_index(drop=True)

    mixed = [
        dataclasses.replace(
            site,
            **{name: shuffled(getattr(site, name)) for name in ("scores", "clients", "sessions", "termination", "therapists")},
        )
        for site in reversed(sites)
    ]
    again = tables_of(mixed)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(again[name], table, check_exact=False, rtol=1e-9, atol=1e-12)


def test_summaries_that_travelled_give_the_same_tables(sites, tables, tmp_path):
    summaries = []
    for site in sites:
        dropout.estimate(site, OPTIONS, {}).write(tmp_path / site.site)
        summaries.append(SiteSummary.read(tmp_path / site.site))
    whole = dropout.one_stage(iter(sites), [site.site for site in sites], OPTIONS)
    whole.to_csv(tmp_path / "one.csv", index=False, float_format="%.17g")
    read = pd.read_csv(tmp_path / "one.csv", keep_default_na=False, na_values=[""])
    again = dropout.pool(summaries, OPTIONS, {"one_stage": read})
    for name, table in tables.items():
        pd.testing.assert_frame_equal(again[name], table, check_exact=False, rtol=1e-12)


def test_one_site_alone_has_its_rows_and_pooled_rows_that_say_what_they_need(sites):
    tables = sound(tables_of(sites[:1]))
    alone = row(tables["hazard"], **HEADLINE, site=POOLED)
    assert alone["reason"] == "not estimable: needs at least 2 sites with an estimate; has 1"
    pooled = tables["survival"][tables["survival"]["site"].eq(POOLED)]
    assert set(pooled["status"]) == {"not_estimable"}


def test_risks_rise_with_the_session_and_differ_as_the_alliance_says(tables):
    hazard = tables["hazard"]
    pooled = hazard[hazard["site"].eq(POOLED) & hazard["cause"].eq("dropout")]
    risk = pooled[pooled["estimate_type"].eq("cumulative_risk")].set_index(["term", "session"])["estimate"]
    strong, weak = "alliance_first +0.5 SD", "alliance_first -0.5 SD"
    assert risk[strong, 5] < risk[strong, 10] and risk[weak, 5] < risk[weak, 10]
    assert risk[strong, 10] < risk[weak, 10]
    for site in "abc":
        own = hazard[hazard["site"].eq(site) & hazard["session"].eq(10)].set_index("term")["estimate"]
        assert own[f"{strong} minus {strong.replace('+', '-')}"] == pytest.approx(own[strong] - own[weak])


def test_a_session_nobody_came_to_is_refused(sites):
    shown = tables_of(sites[:1], changed(horizons=[5, 30]), whole=False)["hazard"]
    own = shown[shown["session"].eq(30) & shown["site"].eq("a")]
    assert len(own) == 3 and own["reason"].str.startswith("not estimable: needs clients who came to session 30").all()


def test_steps_without_a_dropout_join_the_step_before():
    rows = pd.DataFrame({"session": [1, 1, 2, 3, 4, 5, 6], "dropout": [1, 0, 0, 0, 1, 0, 0]})
    coded, names = models.with_baseline(rows, "dropout", "steps", [2, 4, 6])
    assert names == ["from_session_4"]
    assert coded["from_session_4"].tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_the_baseline_in_steps_gives_nearly_the_same_ratio(sites, tables):
    shown = sound(tables_of(sites, changed(baseline="steps")))["hazard"]
    stepped, smooth = (row(one, **HEADLINE, site=POOLED, method="two_stage_reml") for one in (shown, tables["hazard"]))
    assert np.log(stepped["estimate"]) == pytest.approx(np.log(smooth["estimate"]), abs=0.05)
    risk = shown[shown["estimate_type"].eq("risk_difference") & shown["site"].eq(POOLED)]
    assert set(risk["status"]) <= set(WITH_NUMBERS)


@pytest.mark.parametrize(("rule", "amount", "failed"), [("lowest_third", None, [0, 1]), ("below_mean_by", 1.0, [0]), ("drop_by", 0.5, [2])])
def test_failure_in_phase_one_follows_its_rule_among_those_who_came_beyond_it(rule, amount, failed):
    first = np.array([4.0, 4.5, 7.0, 6.0, 6.5, 6.2, 3.0])
    later = np.array([3.5, 4.2, 5.0, 6.1, 6.6, 6.4, 3.0])
    client = np.arange(1, 8)
    scores = [score_rows(client, first if session == 1 else later, instrument="wai_36", session=session) for session in (1, 3, 4, 5)]
    came = np.array([7, 7, 7, 7, 7, 7, 5])
    sessions = pd.DataFrame([{"client_no": one, "session": number} for one, last in zip(client, came) for number in range(1, last + 1)])
    site = site_of(scores, sessions=sessions, clients=pd.DataFrame({"client_no": client}))
    options = changed(phase_one={"sessions": [3, 5], "rule": rule, "amount": amount})
    found = spans.course(site, options).clients[spans.FAILED]
    assert np.flatnonzero(found.to_numpy() == 1).tolist() == failed
    assert np.isnan(found.iloc[6])


def test_later_dropout_and_outcome_are_told_for_failure_in_phase_one(tables):
    hazard = tables["hazard"]
    leaving_later = row(hazard, **{**HEADLINE, "hazard_model": "phase_one", "term": "failed"}, site=POOLED, method="two_stage_reml")
    outcome = row(hazard, hazard_model="phase_one", cause="outcome", site=POOLED)
    assert leaving_later["status"] in WITH_NUMBERS and outcome["status"] in WITH_NUMBERS
    assert outcome["estimate"] < 0


def test_calibration_is_judged_on_therapists_and_sites_left_out(tables, sites):
    shown = tables["calibration"]
    for validation in ("therapists_in_turn", "sites_in_turn"):
        ratio = row(shown, validation=validation, statistic="observed_to_expected", site=POOLED)
        slope = row(shown, validation=validation, statistic="slope", site=POOLED)
        assert 0.6 < ratio["estimate"] < 1.6 and 0 < slope["estimate"] < 2
        assert ratio["n_sites"] == len(sites)
    groups = shown[shown["site"].eq(POOLED) & shown["group"].ne("")]
    predicted = groups[groups["statistic"].eq("predicted")].set_index("group")["estimate"]
    assert list(predicted.index) == ["1", "2", "3", "4", "5"] and predicted.is_monotonic_increasing


def test_groups_by_predicted_risk_tell_their_therapists(tables, sites):
    groups = tables["calibration"][tables["calibration"]["group"].ne("") & tables["calibration"]["status"].isin(WITH_NUMBERS)]
    assert len(groups) and groups["n_therapists"].notna().all()
    at_sites = groups[groups["site"].ne(POOLED)].merge(
        pd.Series({one.site: one.clients["therapist_no"].nunique() for one in sites}, name="all"), left_on="site", right_index=True
    )
    assert len(at_sites) and (at_sites["n_therapists"] <= at_sites[["n_clients", "all"]].min(axis=1)).all()
    pooled = groups[groups["site"].eq(POOLED)].set_index(["group", "statistic"])["n_therapists"]
    whole = groups[groups["site"].ne(POOLED)].groupby(["group", "statistic"]).agg(n=("n_therapists", "sum"), sites=("site", "size"))
    complete = whole[whole["sites"].eq(len(sites))]
    assert len(complete) and (pooled.loc[complete.index] == complete["n"]).all()


def test_benchmarks_reach_their_rows(tables):
    figures = benchmarks.read(PROJECT / "workflow" / "benchmarks.yaml")
    filled = benchmarks.fill(tables["hazard"], figures, "dropout", "hazard")
    assert faults(filled, "dropout", "hazard") == []
    wanted = {one.claim for one in figures if one.question == "dropout" and "dominance" not in str(one.where)}
    assert wanted == set(filled["claim"]) - {""}


def test_methods_tell_what_was_done_with_works_of_the_bibliography(tables):
    told = dropout.methods(OPTIONS, tables)
    known = (PROJECT / "workflow" / "references.bib").read_text(encoding="utf-8")
    assert all(f"{{{key}," in known for sentence in told for key in sentence.citations)
    text = " ".join(sentence.text for sentence in told)
    assert "frailty" in text and "planned endings" in text and "landmark" in text
