"""The tables on the course of the alliance, from ratings by session on, equal what lme4, lavaan and base R give by another route."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import r_script
from alliance.questions.contract import POOLED
from alliance.questions.course import growth, series
from alliance.questions.course import question as course
from alliance.questions.course.sample import site_course
from alliance.statistics.cross_lagged import growth_syntax
from alliance.statistics.knots import best_knot
from alliance.statistics.session_series import cycles, patterns
from alliance.statistics.structural_fit import fit_structural, parse_structural
from test_statistics_r import needs_r
from unit.session_sites import session_rows, sessions_site
from unit.simulated_site import OPTIONS

pytestmark = needs_r
SITES = [sessions_site(name, n=90 + 20 * number, therapists=12 + number, seed=30 + number, slope=0.3) for number, name in enumerate("ab")]
NAMES = [site.site for site in SITES]
# Two searches for a largest likelihood.
SEARCHED = {"rel": 2e-3, "abs": 2e-4}
EXACT = {"rel": 1e-7, "abs": 1e-9}


@pytest.fixture(scope="module")
def of_r(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("course")
    pd.concat([session_rows(site) for site in SITES]).to_csv(folder / "sessions.csv", index=False, float_format="%.17g")
    return r_script.values("course.R", folder)


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return course.pool(
        [course.estimate(site, OPTIONS, {}) for site in SITES], OPTIONS, {"one_stage": course.one_stage(SITES, NAMES, OPTIONS)}
    )


def only(table: pd.DataFrame, **keys: Any) -> pd.Series:
    chosen = table[np.logical_and.reduce([table[name].eq(value).fillna(False).to_numpy(dtype=bool) for name, value in keys.items()])]
    assert len(chosen) == 1, (keys, len(chosen))
    return chosen.iloc[0]


COEFFICIENTS = [
    (growth.LINEAR, growth.SLOPE, "slope"),
    (growth.QUADRATIC, growth.BEND, "curvature"),
    (growth.PIECEWISE, growth.BEFORE, "before"),
    (growth.PIECEWISE, growth.AFTER, "after"),
    (growth.PIECEWISE, growth.CHANGE, "change"),
]


@pytest.mark.parametrize("site", NAMES)
@pytest.mark.parametrize(("model", "term", "name"), COEFFICIENTS)
def test_growth_coefficients_equal_lme4_with_the_degrees_of_freedom_of_lmertest(tables, of_r, site, model, term, name):
    row, expected = only(tables["growth"], site=site, growth_model=model, term=term), of_r[site][name]
    assert row["estimate"] == pytest.approx(expected["estimate"], **SEARCHED)
    assert row["std_error"] == pytest.approx(expected["std_error"], rel=5e-3)
    from scipy.stats import t

    margin = t.ppf(0.975, expected["df"]) * expected["std_error"]
    assert row["ci_high"] - row["estimate"] == pytest.approx(margin, rel=1e-2)


@pytest.mark.parametrize("site", NAMES)
def test_spread_of_clients_lines_equals_lme4(tables, of_r, site):
    for term, name in ((growth.SLOPE_SD, "sd_slope"), (growth.RESIDUAL_SD, "residual"), (growth.FALLING, "falling")):
        assert only(tables["growth"], site=site, growth_model=growth.LINEAR, term=term)["estimate"] == pytest.approx(
            of_r[site][name], rel=5e-3
        ), name


@pytest.mark.parametrize(("model", "term", "name"), COEFFICIENTS)
def test_growth_over_the_rows_of_all_sites_equals_lme4_with_an_intercept_for_every_site(tables, of_r, model, term, name):
    row, expected = only(tables["growth"], site=POOLED, method="one_stage", growth_model=model, term=term), of_r["(one stage)"][name]
    assert row["estimate"] == pytest.approx(expected["estimate"], **SEARCHED)
    assert row["std_error"] == pytest.approx(expected["std_error"], rel=5e-3)
    from scipy.stats import t

    margin = t.ppf(0.975, expected["df"]) * expected["std_error"]
    assert row["ci_high"] - row["estimate"] == pytest.approx(margin, rel=1e-2)


def test_spread_of_clients_lines_over_all_sites_equals_lme4(tables, of_r):
    for term, name in ((growth.SLOPE_SD, "sd_slope"), (growth.RESIDUAL_SD, "residual"), (growth.FALLING, "falling")):
        row = only(tables["growth"], site=POOLED, method="one_stage", growth_model=growth.LINEAR, term=term)
        assert row["estimate"] == pytest.approx(of_r["(one stage)"][name], rel=5e-3), name


@pytest.mark.parametrize("site", NAMES)
def test_the_knot_and_its_interval_are_those_of_the_likelihood_that_lme4_maximises_anew_at_every_knot(tables, of_r, site):
    row = only(tables["growth"], site=site, term=growth.KNOT)
    expected = best_knot(growth.knots(OPTIONS), of_r[site]["profile"])
    # Variances are taken as known at every knot but the best one, so likelihoods differ in the second decimal at most.
    assert row["estimate"] == pytest.approx(expected.estimate, abs=0.101)
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(expected.low, abs=0.15), pytest.approx(expected.high, abs=0.15))
    summary = course.estimate(next(one for one in SITES if one.site == site), OPTIONS, {})
    profile = np.array(summary.facts["sums"]["rated_by_client"]["knots"])
    assert profile - profile.max() == pytest.approx(np.array(of_r[site]["profile"]) - max(of_r[site]["profile"]), abs=0.1)


def test_the_knot_of_all_sites_is_where_the_sum_of_likelihoods_is_largest(tables, of_r):
    expected = best_knot(growth.knots(OPTIONS), np.sum([of_r[site]["profile"] for site in NAMES], axis=0))
    assert only(tables["growth"], site=POOLED, term=growth.KNOT)["estimate"] == pytest.approx(expected.estimate, abs=0.101)


@pytest.mark.parametrize("site", NAMES)
@pytest.mark.parametrize(("term", "name"), [(growth.LEVEL_PATH, "level_path"), (growth.SLOPE_PATH, "slope_path")])
def test_level_and_slope_with_the_outcome_equal_lavaan(tables, of_r, site, term, name):
    row, expected = only(tables["growth"], site=site, term=term), of_r[site][name]
    assert row["estimate"] == pytest.approx(expected["estimate"], **SEARCHED)
    assert row["std_error"] == pytest.approx(expected["std_error"], rel=1e-2)


@pytest.mark.parametrize("site", NAMES)
def test_peaks_and_their_permutations_equal_r(tables, of_r, site):
    expected, table = of_r[site], tables["peak"]
    rows = [only(table, site=site, statistic=series.PEAKING, session=session) for session in range(1, 6)]
    assert [row["estimate"] for row in rows] == pytest.approx(expected["peaks"], **EXACT)
    assert {row["n_clients"] for row in rows} == {expected["n_peaks"]}
    # 4,000 permutations in R against 9,999: Monte Carlo errors of at most .01 each.
    assert [row["p_permutation"] for row in rows] == pytest.approx(expected["p_each"], abs=0.04)
    assert only(table, site=site, statistic=series.EXCHANGEABLE)["estimate"] == pytest.approx(expected["p_whole"], abs=0.04)


@pytest.mark.parametrize("site", NAMES)
@pytest.mark.parametrize(
    ("group", "statistics"),
    [
        ("variability", (series.WITHIN, series.STEP, series.CORRELATION)),
        ("curves", (series.GROUP, series.INDIVIDUAL, series.RATIO)),
        ("lability", (series.LABILITY,)),
    ],
)
def test_variability_and_its_jackknife_by_therapist_equal_r(tables, of_r, site, group, statistics):
    expected = of_r[site][group]
    for position, statistic in enumerate(statistics):
        row = only(tables["variability"], site=site, statistic=statistic)
        value, error = (np.atleast_1d(np.array(expected[name], dtype=float))[position] for name in ("estimate", "std_error"))
        scale = {"standard_deviation": 1 / value, "partial_correlation": 1 / (1 - value**2)}.get(row["estimate_type"], 1.0)
        assert row["estimate"] == pytest.approx(value, **EXACT), statistic
        assert row["std_error"] == pytest.approx(error * scale, rel=1e-6), statistic


@pytest.mark.parametrize("site", NAMES)
def test_reliability_of_means_of_sessions_equals_the_analysis_of_variance(tables, of_r, site):
    expected = of_r[site]["reliability"]
    for position, sessions in enumerate(("1", "3", "5")):
        row = only(tables["variability"], site=site, statistic=series.RELIABILITY, sessions=sessions)
        value = expected["estimate"][position]
        assert row["estimate"] == pytest.approx(value, **EXACT)
        assert row["std_error"] == pytest.approx(expected["std_error"][position] / (1 - value), rel=1e-6)


@pytest.mark.parametrize("site", NAMES)
def test_power_and_period_of_the_strongest_cycle_equal_regressions_on_cosine_and_sine(tables, of_r, site):
    expected = of_r[site]
    row = only(tables["cycles"], site=site, statistic=series.PERIOD)
    assert (row["estimate"], row["n_clients"]) == (pytest.approx(expected["period"], **EXACT), expected["n_cycles"])
    own = site_course(next(one for one in SITES if one.site == site), "client", OPTIONS)
    found = cycles(patterns(own.rows, 10), np.arange(3.0, 9.0), {"white": 0.0}, 1, np.random.default_rng(1))
    assert found.power.mean() == pytest.approx(expected["power"], **EXACT)


def test_linear_growth_of_lavaan_s_own_example_has_its_chi_squared(tmp_path):
    expected = r_script.values("demo_growth.R", tmp_path)
    rows = pd.DataFrame(expected["rows"], columns=["t1", "t2", "t3", "t4"])
    text = growth_syntax(["t"], [0, 1, 2, 3])
    found = fit_structural(parse_structural(text), rows=rows, mean_structure=True)
    assert (found.fit.chi2, found.fit.df) == (pytest.approx(8.069, abs=5e-4), 5)
    assert found.fit.chi2 == pytest.approx(expected["chi2"], rel=1e-3)
    means = found.parameters[found.parameters["op"].eq("~1")].set_index("lhs")
    assert means.loc["slope_t", "estimate"] == pytest.approx(expected["slope"], rel=1e-4)
    assert means.loc["slope_t", "std_error"] == pytest.approx(expected["slope_error"], rel=1e-3)
