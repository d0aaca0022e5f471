"""Ruptures: what every site and table says, known effects, what is known at the time, agreement by hand, order, and the multiverse."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
from alliance.questions.contract import POOLED, WITH_NUMBERS, faults
from alliance.questions.ruptures import agreement
from alliance.questions.ruptures import outcome as outcomes
from alliance.questions.ruptures import question as ruptures
from alliance.questions.ruptures import sample as samples
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.sensitivity import rupture_specifications
from unit.ruptured_site import UNREPAIRED, ruptured
from unit.simulated_site import OPTIONS, score_rows, site_of
from unit.test_questions_alliance_outcome import MATRIX, published


@pytest.fixture(scope="module")
def summaries() -> list[SiteSummary]:
    sites = [ruptured(name, seed=number, n=90 + 10 * number) for number, name in enumerate("abc", start=1)]
    empty = dataclasses.replace(ruptured("d", n=40), scores=site_of([]).scores, events=pd.DataFrame())
    every = [*sites, empty, published("e", MATRIX)]
    return [ruptures.estimate(site, OPTIONS, {}) for site in every] + [SiteSummary("f", "ruptures", status="missing", reason="sent none")]


@pytest.fixture(scope="module")
def tables(summaries) -> dict[str, pd.DataFrame]:
    return ruptures.pool(summaries, OPTIONS, {})


@pytest.fixture(scope="module")
def large() -> dict[str, pd.DataFrame]:
    options = copy.deepcopy(OPTIONS)
    options["questions"]["ruptures"]["criteria"] = {
        name: OPTIONS["questions"]["ruptures"]["criteria"][name] for name in ("control_chart", "observed")
    }
    found = ruptures.estimate(ruptured("large", n=3000, therapists=300, seed=9), options, {})
    return {name: rows for name, rows in found.estimates.groupby("model")}


def one(table: pd.DataFrame, **keys: str) -> pd.Series:
    chosen = pd.Series(True, index=table.index)
    for key, value in keys.items():
        chosen &= table[key].eq(value)
    assert chosen.sum() == 1, f"{int(chosen.sum())} rows for {keys}"
    return table[chosen].iloc[0]


def seen(rows: list[tuple[int, int, bool, bool, bool, int]], name: str = "x") -> samples.Seen:
    frame = pd.DataFrame(rows, columns=["client", "session", "rupture", "repaired", "followed", "repairs_at"])
    return samples.Seen(name, "drop", "client", "", frame.assign(depth=1.0, length=1.0)[list(samples.SEEN)])


def test_tables_keep_the_contract(tables):
    assert {name: faults(table, "ruptures", name) for name, table in tables.items()} == {name: [] for name in tables}


def test_every_site_has_rows_in_every_table_and_says_why_it_has_no_numbers(tables):
    for table in tables.values():
        assert set(table["site"]) == {*"abcdef", POOLED}
        for site, words in {"d": "needs", "e": "published summaries only", "f": "sent none"}.items():
            rows = table[table["site"].eq(site)]
            assert not rows["status"].isin(WITH_NUMBERS).any() or site == "d"
            assert rows.loc[rows["status"].eq("not_estimable"), "reason"].str.contains(words).all()
        assert table[table["site"].eq("a")]["status"].isin(WITH_NUMBERS).any()


def test_all_criteria_stand_side_by_side_and_none_alone_has_the_word(tables):
    shares = tables["criteria"].query("site == @POOLED and statistic == 'clients with a rupture'")
    assert set(shares["criterion"]) == set(OPTIONS["questions"]["ruptures"]["criteria"]) and shares["status"].isin(WITH_NUMBERS).all()
    assert shares["estimate"].between(0, 1).all() and (shares["ci_low"] < shares["estimate"]).all()


def test_reports_see_what_observers_code_in_these_sites_and_drops_agree_only_in_part(tables):
    pooled = tables["agreement"][tables["agreement"]["site"].eq(POOLED)]
    alike = one(pooled, criterion="self_report", compared_with="observed", unit="sessions", statistic="agreement")
    assert alike["estimate"] > 0.99
    drop = one(pooled, criterion="drop", compared_with="observed", unit="sessions", statistic="kappa")
    assert 0.2 < drop["estimate"] < 0.9 and drop["same_rater"] == "no"
    assert one(pooled, criterion="drop", compared_with="decline", unit="sessions", statistic="kappa")["same_rater"] == "yes"


def test_a_control_chart_sees_more_than_noise_where_ruptures_are_true(large):
    row = one(large["base_rates"], criterion="control_chart", surrogates="shuffled", unit="sessions", statistic="excess")
    assert row["estimate"] > 0 and row["p_noise"] < 0.05


def test_codes_have_no_base_rate_of_noise(tables):
    coded = tables["base_rates"].query("criterion == 'observed' and site == 'a'")
    assert coded["status"].eq("not_estimable").all() and coded["reason"].str.contains("cannot be told of reports and codes").all()


def test_the_outcome_after_an_unrepaired_rupture_is_found(large):
    row = one(large["outcome"], criterion="observed", topic="pattern", term="unrepaired - none", covariates="intake", outcome="outcome")
    assert row["estimate"] == pytest.approx(UNREPAIRED / 0.8, abs=0.25) and row["status"] == "estimated"
    other = one(large["outcome"], criterion="observed", topic="pattern", term="repaired - none", covariates="intake", outcome="outcome")
    assert other["estimate"] == pytest.approx(0.0, abs=0.2)


def test_leaving_is_more_likely_while_a_rupture_is_open(large):
    rows = large["outcome"][large["outcome"]["outcome"].eq("dropout")]
    row = one(rows, criterion="observed", topic="pattern", term="in an unrepaired rupture - no rupture so far", covariates="intake")
    assert row["estimate"] == pytest.approx(3.0, rel=0.3) and row["n_events"] > 500
    healed = one(rows, criterion="observed", topic="pattern", term="after repaired ruptures - no rupture so far", covariates="intake")
    assert healed["estimate"] == pytest.approx(1.0, abs=0.25)


def test_only_what_is_known_after_a_session_decides_whether_a_rupture_is_open():
    criterion = seen([(1, 3, True, True, True, 5), (2, 2, True, False, True, 0)])
    periods = pd.DataFrame({"client": [1] * 6 + [2] * 3 + [3], "session": [1, 2, 3, 4, 5, 6, 1, 2, 3, 1]}, index=range(10, 20))
    states = outcomes.states(criterion, periods)
    assert states["in_rupture"].tolist() == [0, 0, 1, 1, 0, 0, 0, 1, 1, 0]
    assert states["after_repair"].tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 0]


def test_patterns_count_ruptures_at_the_end_as_the_configuration_says():
    criterion = seen(
        [
            (1, 2, False, False, False, 0),
            (2, 2, True, True, True, 3),
            (3, 2, True, True, True, 3),
            (3, 7, True, False, False, 0),
            (4, 2, True, False, True, 0),
            (4, 8, True, False, False, 0),
        ]
    )
    assert criterion.pattern("unrepaired").to_dict() == {1: "none", 2: "repaired", 3: "unrepaired", 4: "unrepaired"}
    assert criterion.pattern("left_out").to_dict() == {1: "none", 2: "repaired", 4: "unrepaired"}


def test_agreement_counts_what_both_judged_and_detection_allows_neighbouring_sessions():
    clients = pd.Index([1, 2, 3])
    first = agreement.grid(seen([(1, 2, True, False, True, 0), (1, 3, False, False, False, 0), (2, 4, True, False, True, 0)]), clients, 6)
    second = agreement.grid(
        seen([(1, 2, False, False, False, 0), (1, 3, True, False, True, 0), (2, 6, False, False, False, 0), (3, 1, True, False, True, 0)]),
        clients,
        6,
    )
    by_session, sessions = agreement.both_judged(first, second, "sessions")
    assert by_session.tolist() == [[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]] and sessions == 2
    by_client, _ = agreement.both_judged(first, second, "clients")
    assert by_client.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert agreement.detected(first, second, 1).tolist() == [[1, 1], [0, 0], [0, 0]]
    assert agreement.detected(first, second, 2).tolist() == [[1, 1], [0, 1], [0, 0]]


def test_coded_repairs_close_ruptures_within_the_configured_sessions_only():
    rows = [(1, s, "rupture", float(s in (2, 6))) for s in range(1, 11)] + [(1, s, "repair", float(s in (4, 10))) for s in range(1, 11)]
    events = pd.DataFrame(rows, columns=["client_no", "session", "code", "count"])
    site = dataclasses.replace(ruptured("a", n=20), events=events)
    coded = next(found for found in samples.sample(site, OPTIONS).criteria if found.name == "observed")
    own = coded.sessions[coded.sessions["rupture"]]
    assert own[["session", "repaired", "followed", "repairs_at", "length"]].to_numpy().tolist() == [[2, 1, 1, 4, 2], [6, 0, 1, 0, 4]]


@pytest.mark.parametrize(
    ("scales", "expected"),
    [
        (("occurred", "intensity", "resolution"), {2: (True, True, 1.0), 4: (False, True, 3.0)}),
        # Without the question whether there was one, its strength decides.
        (("intensity", "resolution"), {3: (True, True, 2.0), 4: (False, True, 3.0)}),
        (("occurred", "intensity"), {2: (False, False, 1.0), 4: (False, False, 3.0)}),
    ],
)
def test_reports_tell_ruptures_their_strength_and_whether_they_were_resolved(scales, expected):
    answers = {
        "occurred": [0, 1, 0, 1, 0],
        "intensity": [1, 1, 2, 3, 1],
        "resolution": [np.nan, 4, 5, 3, np.nan],
    }
    rows = [
        score_rows([1], [float(answers[scale][session - 1])], instrument="psq_rupture", session=session, scale=scale)
        for scale in scales
        for session in range(1, 6)
    ]
    site = dataclasses.replace(ruptured("a", n=20), scores=pd.concat(rows, ignore_index=True))
    told = next(found for found in samples.sample(site, OPTIONS).criteria if found.name == "self_report")
    own = told.sessions[told.sessions["rupture"]].set_index("session")
    assert len(told.sessions) == 5
    assert {at: (row["repaired"], row["followed"], row["depth"]) for at, row in own.iterrows()} == expected


def test_a_session_that_is_not_coded_is_not_judged_and_other_raters_codes_do_not_count():
    site = ruptured("a", n=30)
    gone = site.events[site.events["session"].ne(5)]
    other = site.events[site.events["session"].eq(5)].assign(rater="therapist")
    coded = next(
        found
        for found in samples.sample(dataclasses.replace(site, events=pd.concat([gone, other])), OPTIONS).criteria
        if found.name == "observed"
    )
    assert 5 not in set(coded.sessions["session"]) and 6 in set(coded.sessions["session"])


def test_the_order_of_rows_does_not_matter(summaries):
    site = ruptured("a", seed=1, n=100)
    shuffled = {
        name: getattr(site, name).sample(frac=1, random_state=3).reset_index(drop=True)
        for name in ("scores", "events", "sessions", "termination", "clients")
    }
    again = ruptures.estimate(dataclasses.replace(site, **shuffled), OPTIONS, {})
    pd.testing.assert_frame_equal(again.estimates, summaries[0].estimates, check_exact=False, rtol=1e-9)


def test_a_written_summary_gives_the_same_tables(summaries, tables, tmp_path):
    for summary in summaries[:-1]:
        summary.write(tmp_path / summary.site)
    again = [SiteSummary.read(tmp_path / summary.site) for summary in summaries[:-1]] + summaries[-1:]
    for name, table in ruptures.pool(again, OPTIONS, {}).items():
        pd.testing.assert_frame_equal(table, tables[name], check_exact=False, rtol=1e-9)


def test_nothing_of_single_clients_leaves_the_site(summaries):
    names = set(summaries[0].estimates.columns)
    assert not names & {"client", "client_no", "client_id", "therapist_no"} and summaries[0].draws.empty


def test_the_multiverse_evaluates_the_headline_as_the_question_does():
    site = ruptured("a", seed=1, n=250, therapists=25, rate=0.04)
    base, other = copy.deepcopy(OPTIONS), copy.deepcopy(OPTIONS)
    other["questions"]["ruptures"] |= {"headline": "observed", "covariates": "intake"}
    found = rupture_specifications.site_effects(site, [base, other], base)
    rows = ruptures.estimate(site, OPTIONS, {}).estimates
    for effect, keys in zip(found, (("drop", "intake and early symptoms"), ("observed", "intake"))):
        row = one(
            rows.query("model == 'outcome' and outcome == 'outcome' and topic == 'pattern'"),
            criterion=keys[0],
            covariates=keys[1],
            term="unrepaired - none",
        )
        assert effect.fields["status"] == row["status"] and effect.fields["estimate"] == pytest.approx(row["estimate"])
        assert effect.scores.sum() / len(effect.scores.dropna()) == pytest.approx(effect.predictor.corr(effect.outcome), abs=1e-9)


def test_a_site_that_published_summaries_has_no_specification():
    effects = rupture_specifications.site_effects(published("e", MATRIX), [OPTIONS], OPTIONS)
    assert effects[0].fields["status"] == "not_estimable" and "summaries only" in effects[0].fields["reason"]


def test_a_site_without_any_table_is_told_and_does_not_fail():
    found = ruptures.estimate(SiteData("z"), OPTIONS, {})
    assert found.estimates["status"].eq("not_estimable").all() and found.estimates["reason"].str.contains("needs").all()


def test_methods_name_every_criterion_used_and_nothing_of_empty_sites(tables):
    text = " ".join(sentence.text for sentence in ruptures.methods(OPTIONS, tables))
    for name in ("drop", "reliable drop", "decline", "v shape", "control chart", "self report", "observed"):
        assert f"{name}: " in text
    nothing = ruptures.pool([SiteSummary("f", "ruptures", status="missing", reason="sent none")], OPTIONS, {})
    assert "could not be judged" in ruptures.methods(OPTIONS, nothing)[0].text


@pytest.mark.parametrize("share", [np.nan, 0.5])
def test_reliable_drops_need_a_reliability(share):
    options = copy.deepcopy(OPTIONS)
    options["questions"]["ruptures"]["reliability_within"] = None if np.isnan(share) else share
    found = samples.sample(ruptured("a", n=40), options)
    reason = next(one_of.reason for one_of in found.criteria if one_of.name == "reliable_drop")
    assert ("needs answers to items" in reason) == bool(np.isnan(share))
