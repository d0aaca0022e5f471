"""The course of the alliance: known shapes are told as what they are, noise is not taken for more, and what is lacking is said."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
from alliance.questions.contract import POOLED, WITH_NUMBERS, faults
from alliance.questions.course import growth, series
from alliance.questions.course import question as course
from alliance.questions.summary import SiteSummary
from alliance.statistics.peaks import exchangeability, exchangeable_counts, peak_weights, tied
from alliance.statistics.resampling import generator
from alliance.statistics.session_series import autocorrelation, cycles, in_step, patterns, variability_sums
from unit.session_sites import sessions_site
from unit.simulated_site import OPTIONS

NAMES = ("a", "b", "c")


def tables_of(sites, options=OPTIONS, whole=True):
    one = course.one_stage(sites, [site.site for site in sites], options) if whole else pd.DataFrame()
    return course.pool([course.estimate(site, options, {}) for site in sites], options, {"one_stage": one})


def sound(tables):
    for name, table in tables.items():
        assert not faults(table, "course", name), (name, faults(table, "course", name))
        assert len(table), name
    return tables


def row(table, **keys):
    chosen = table[np.logical_and.reduce([table[name].eq(value).fillna(False).to_numpy(dtype=bool) for name, value in keys.items()])]
    assert len(chosen) == 1, (keys, len(chosen))
    return chosen.iloc[0]


def rows_of(*values, start=1):
    """Return sessions of hand-made series, None where a session is missing."""
    return pd.DataFrame(
        [
            {"client": client, "session": session, "score": float(value)}
            for client, own in enumerate(values)
            for session, value in enumerate(own, start=start)
            if value is not None
        ]
    )


@pytest.fixture(scope="module")
def sites():
    return [sessions_site(name, n=80, therapists=14, seed=number, slope=0.5) for number, name in enumerate(NAMES)]


@pytest.fixture(scope="module")
def tables(sites):
    return sound(tables_of(sites))


def test_a_slope_that_is_there_is_found_and_clients_differ_around_it(tables):
    # One SD of session scores holds levels, slopes and noise: .5 SD of levels over ten sessions is a little less in it.
    found = row(tables["growth"], site=POOLED, growth_model=growth.LINEAR, term=growth.SLOPE, method="two_stage_reml")
    assert 0 < found["ci_low"] < found["estimate"] < 0.6 and found["decision"] == "different"
    spread = row(tables["growth"], site=POOLED, growth_model=growth.LINEAR, term=growth.SLOPE_SD)
    falling = row(tables["growth"], site=POOLED, growth_model=growth.LINEAR, term=growth.FALLING)
    assert spread["method"] == "one_stage" and 0.3 < spread["estimate"] < 0.5
    assert 0.08 < falling["estimate"] < 0.25


def test_a_stable_alliance_is_told_as_equivalent_only_where_the_bounds_are_wide_enough_for_these_data():
    flat = [sessions_site(name, n=150, therapists=25, seed=40 + number) for number, name in enumerate(NAMES)]
    for bound, decision in ((1.0, "equivalent"), (0.01, "undecided")):
        options = copy.deepcopy(OPTIONS)
        options["questions"]["course"]["slope_bound"] = bound
        found = row(tables_of(flat, options, whole=False)["growth"], site=POOLED, growth_model=growth.LINEAR, term=growth.SLOPE)
        assert found["decision"] == decision and found["bound"] == bound


def test_the_mean_curve_stands_beside_the_spread_of_clients_and_nothing_below_ten(tables):
    curve = tables["growth"][tables["growth"]["growth_model"].eq(growth.CURVE)]
    for site, own in curve.groupby("site"):
        told = own[own["status"].isin(WITH_NUMBERS)]
        assert told["n_clients"].min() >= 10
        sessions = {name: set(part["session"]) for name, part in told.groupby("term")}
        assert sessions[growth.MEAN] == sessions[growth.SPREAD], site
    few = sound(tables_of([sessions_site("a", n=9, therapists=3)], whole=False))["growth"]
    few = few[few["growth_model"].eq(growth.CURVE) & few["site"].eq("a")]
    assert set(few["status"]) == {"withheld"} and few["n_clients"].isna().all()


def test_a_series_with_all_its_peaks_at_the_third_session_is_told_and_sessions_alike_are_not():
    scores = np.tile([0.0, 1.0, 5.0, 2.0, 1.0], (40, 1)) + np.random.default_rng(3).normal(0, 0.1, (40, 5))
    weights = peak_weights(scores)
    assert weights.sum(axis=0).tolist() == [0, 0, 40, 0, 0]
    whole, each = exchangeability(weights.sum(axis=0), tied(weights), 999, generator(1, "t"))
    assert whole == 0.001 and each[2] == 0.001
    random = np.random.default_rng(4)
    levels = [exchangeability(*_counted(random.normal(size=(40, 5))), 199, generator(run, "t"))[0] for run in range(400)]
    # Monte Carlo error of a rejection rate of .05 over 400 runs: .011.
    assert np.mean(np.array(levels) <= 0.05) == pytest.approx(0.05, abs=0.03)


def _counted(scores):
    weights = peak_weights(scores)
    return weights.sum(axis=0), tied(weights)


def test_equal_scores_share_the_peak_and_permutations_keep_how_many_are_equal():
    weights = peak_weights([[2.0, 2.0, 1.0], [1.0, 1.0, 1.0], [0.0, 3.0, 1.0]])
    assert weights == pytest.approx(np.array([[0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3], [0, 1, 0]]))
    assert tied(weights).tolist() == [1, 1, 1]
    drawn = exchangeable_counts([1, 1, 1], 3000, generator(1, "t"))
    assert drawn.sum(axis=1) == pytest.approx(np.full(3000, 3.0))
    assert drawn.mean(axis=0) == pytest.approx(np.ones(3), abs=0.05)


def test_gaps_break_neighbourhood():
    whole, gap = (variability_sums(patterns(rows_of(own), 4)) for own in ([1, 2, 4, 3, 5], [1, 2, None, 3, 5]))
    assert (whole["pairs"].iloc[0], whole["steps"].iloc[0]) == (4, 1 + 4 + 1 + 4)
    assert (gap["pairs"].iloc[0], gap["steps"].iloc[0]) == (2, 1 + 4)


def test_a_straight_line_does_not_vary_around_itself_and_goes_in_no_cycle():
    groups = patterns(rows_of(list(range(12)), [3] * 12), 10)
    assert variability_sums(groups)["squares"].to_numpy() == pytest.approx(0, abs=1e-20)
    assert not len(cycles(groups, [3.0, 4.0], {"white": 0.0}, 100, generator(1, "t")).clients)


def test_a_cycle_of_four_sessions_is_found_with_its_period_and_power_and_slow_decline_is_none():
    random = np.random.default_rng(2)
    sessions = np.arange(1, 17)
    waves = [np.cos(2 * np.pi * sessions / 4 + start) + 0.2 * random.normal(size=16) for start in random.uniform(0, 6, 20)]
    decline = [-0.2 * sessions + 0.3 * random.normal(size=16) for _ in range(200)]
    found = cycles(patterns(rows_of(*waves), 10), np.arange(3.0, 9.0), {"white": 0.0}, 199, generator(1, "t"))
    assert set(found.period) == {4.0} and found.power.min() > 0.8 and found.p_value["white"].max() <= 0.005
    none = cycles(patterns(rows_of(*decline), 10), np.arange(3.0, 9.0), {"white": 0.0}, 199, generator(1, "t"))
    # 200 clients: Monte Carlo error .015.
    assert (none.p_value["white"] <= 0.05).mean() == pytest.approx(0.05, abs=0.045)


def test_cycles_in_step_are_told_from_cycles_each_with_a_time_of_its_own():
    random = np.random.default_rng(6)
    assert in_step(np.exp(1j * random.normal(0, 0.3, 30)))[1] < 1e-6
    rejected = [in_step(np.exp(1j * random.uniform(0, 2 * np.pi, 15)))[1] <= 0.05 for _ in range(4000)]
    assert np.mean(rejected) == pytest.approx(0.05, abs=0.011)


def test_autocorrelation_of_short_series_is_not_biased_downwards_as_the_plain_ratio_is():
    random = np.random.default_rng(5)
    lag = np.abs(np.subtract.outer(np.arange(8), np.arange(8)))
    made = random.normal(size=(4000, 8)) @ np.linalg.cholesky(0.5**lag).T
    sums = variability_sums(patterns(rows_of(*made), 8)).to_numpy().sum(axis=0)
    assert sums[4] / sums[0] < 0.25
    # Standard error over 4,000 series of eight sessions: about .012.
    assert autocorrelation(sums[None])[0] == pytest.approx(0.5, abs=0.04)


def test_surrogates_with_the_autocorrelation_of_the_site_are_compared_beside_white_noise(tables):
    cycle = tables["cycles"]
    for null in (series.WHITE, series.FIRST_ORDER):
        found = row(cycle, site=POOLED, surrogates=null, statistic=series.WITH_CYCLE)
        assert found["expected"] == 0.05 and found["status"] in WITH_NUMBERS
    with_cycles = tables_of([sessions_site(name, seed=n, cycle=1.2) for n, name in enumerate(NAMES)], whole=False)["cycles"]
    assert row(with_cycles, site=POOLED, surrogates=series.FIRST_ORDER, statistic=series.WITH_CYCLE)["ci_low"] > 0.1
    assert row(with_cycles, site=POOLED, statistic=series.PERIOD)["estimate"] == pytest.approx(4.0, abs=0.3)
    apart = row(with_cycles, site=POOLED, statistic=series.TOGETHER)
    assert apart["p_phases"] > 0.01 and abs(apart["estimate"]) < 0.1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda site: dataclasses.replace(site, scores=site.scores[site.scores["instrument"].ne("wai_36")]), "no client-rated total score"),
        (lambda site: dataclasses.replace(site, scores=site.scores[~site.scores["session"].gt(2).fillna(False)]), "needs"),
    ],
)
def test_what_a_site_lacks_is_said_in_every_table(sites, change, reason):
    tables = sound(tables_of([change(sites[0]), *sites[1:]]))
    for name, table in tables.items():
        own = table[table["site"].eq("a") & table["status"].eq("not_estimable")]
        assert len(own) and own["reason"].str.contains(reason).all(), (name, own["reason"].unique())
    assert row(tables["growth"], site=POOLED, term=growth.SLOPE, method="two_stage_reml")["n_sites"] == 2


def test_sites_without_an_answer_have_a_row_of_everything_with_their_reason(sites):
    left_out = SiteSummary(site="z", label="Z", question="course", status="excluded", reason="a fatal fault")
    whole = [course.estimate(site, OPTIONS, {}) for site in sites]
    for summaries in ([*whole, left_out], [left_out]):
        for name, table in sound(course.pool(summaries, OPTIONS, {})).items():
            own = table[table["site"].eq("z")]
            assert len(own) and own["reason"].str.contains("a fatal fault").all(), name


def test_a_site_without_outcomes_still_has_its_growth(sites):
    site = dataclasses.replace(sites[0], scores=sites[0].scores[sites[0].scores["timepoint"].ne("post")])
    table = sound(tables_of([site], whole=False))["growth"]
    assert row(table, site="a", growth_model=growth.LINEAR, term=growth.SLOPE)["status"] in WITH_NUMBERS
    assert row(table, site="a", term=growth.SLOPE_PATH)["status"] == "not_estimable"


def test_results_do_not_depend_on_the_order_of_rows_or_sites(sites):
    shuffled = [dataclasses.replace(one, scores=one.scores.sample(frac=1, random_state=1)) for one in reversed(sites[:2])]
    for name, table in tables_of(sites[:2]).items():
        pd.testing.assert_frame_equal(table, tables_of(shuffled)[name], check_exact=False, rtol=1e-9)


def test_sessions_that_lie_on_one_side_of_a_knot_leave_the_curve_straight_there(sites):
    late = dataclasses.replace(sites[0], scores=sites[0].scores[~sites[0].scores["session"].isin([1, 2, 3, 4])])
    table = sound(tables_of([late], whole=False))["growth"]
    found = row(table, site="a", growth_model=growth.PIECEWISE, term=growth.KNOT)
    assert found["status"] == "flagged" and found["ci_low"] == 2.0
    assert row(table, site="a", growth_model=growth.PIECEWISE, term=growth.BEFORE)["status"] == "not_estimable"
    profile = np.array(course.estimate(late, OPTIONS, {}).facts["sums"]["rated_by_client"]["knots"])
    assert profile[growth.knots(OPTIONS) <= 5] == pytest.approx(0) and (profile[growth.knots(OPTIONS) > 5] > 0).all()


def test_a_slope_told_without_slopes_of_single_clients_is_flagged(sites, monkeypatch):
    from alliance.statistics import multilevel

    whole = multilevel.mixed_model

    def without_slopes(data, outcome, fixed, levels, **settings):
        if "time" in settings["random"]["client"]:
            found = whole(data, outcome, fixed, levels, **settings)
            return dataclasses.replace(found, status="not_estimable", reason="needs more", fit=None)
        return whole(data, outcome, fixed, levels, **settings)

    monkeypatch.setattr(multilevel, "mixed_model", without_slopes)
    found = course.estimate(sites[0], OPTIONS, {}).estimates
    own = found[found["growth_model"].eq(growth.LINEAR) & found["alliance_rater"].eq("client")].set_index("term")
    assert own.loc[growth.SLOPE, "status"] == "flagged" and growth.ONE_SLOPE in own.loc[growth.SLOPE, "reason"]
    assert own.loc[growth.FALLING, "status"] == "not_estimable"
