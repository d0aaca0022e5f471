"""Influence, meta-regression, three levels, equivalence and censored effects: where data are few, odd, or known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from alliance.statistics.equivalence import equivalence
from alliance.statistics.meta_analysis import influence, pool
from alliance.statistics.meta_regression import meta_regression
from alliance.statistics.multilevel_meta import cluster_robust, three_level
from alliance.statistics.nonsignificant import pool_with_nonsignificant


def sites(k: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    v, x = random.uniform(0.01, 0.1, k), random.normal(size=k)
    return 0.3 + 0.2 * x + random.normal(size=k) * np.sqrt(v + 0.02), v, x


def test_a_site_far_from_the_others_is_called_influential() -> None:
    y, v, _ = sites(15)
    y[4], v[4] = 3.0, 0.01
    found = influence(y, v, names=[f"site {i}" for i in range(15)]).set_index("name")
    assert found.index[found["influential"]].tolist() == ["site 4"]
    assert found["weight"].sum() == pytest.approx(100)


def test_influence_needs_three_sites_and_leaves_out_what_cannot_be_used() -> None:
    few = influence([0.1, 0.2, np.nan], [0.1, 0.1, 0.1])
    assert few["status"].tolist() == ["not_estimable"] * 2
    assert "at least 3 sites (k = 2)" in few["reason"][0]
    assert few["rstudent"].isna().all()
    assert influence([0.1, 0.2, np.nan, 0.4], [0.1] * 4)["name"].tolist() == [0, 1, 3]


def test_influence_without_error_is_flagged_not_infinite() -> None:
    found = influence([0.3, 0.3, 0.3, 0.9], [0.1] * 4, interval="hartung_knapp")
    assert found["status"].tolist() == ["estimated"] * 3 + ["flagged"]


def test_influence_of_many_sites_equals_pooling_each_set(monkeypatch: pytest.MonkeyPatch) -> None:
    from alliance.statistics import meta_analysis

    y, v, _ = sites(80)
    shared = influence(y, v)
    monkeypatch.setattr(meta_analysis, "_SHARED_FROM", 10**9)
    direct = influence(y, v)
    for name in ("rstudent", "dffits", "cook_d", "cov_r", "tau2_del", "qe_del", "dfbs"):
        assert shared[name].to_numpy() == pytest.approx(direct[name].to_numpy(), rel=1e-7, abs=1e-10), name


@pytest.mark.parametrize("tau2", ["reml", "dersimonian_laird", "paule_mandel", "fixed"])
def test_meta_regression_without_moderators_is_pooling(tau2: str) -> None:
    y, v, _ = sites(12)
    found, expected = meta_regression(y, v, np.empty((12, 0)), tau2=tau2), pool(y, v, tau2=tau2)
    row = found.coefficients.iloc[0]
    for name in ("estimate", "std_error", "ci_low", "ci_high", "df", "p_value"):
        assert row[name] == pytest.approx(getattr(expected, name), rel=1e-8), name
    assert found.qm is None
    for name in ("tau2", "tau2_low", "tau2_high"):
        assert getattr(found, name) == (None if tau2 == "fixed" else pytest.approx(getattr(expected, name), rel=1e-7)), name


def test_meta_regression_needs_more_sites_than_coefficients_and_one() -> None:
    y, v, x = sites(3)
    found = meta_regression(y, v, x)
    assert (found.status, found.k, found.p) == ("not_estimable", 3, 2)
    assert found.reason == "needs more than 3 sites for 2 coefficients; has 3"
    assert found.coefficients.empty
    assert cluster_robust(found)["status"].tolist() == ["not_estimable"]


def test_meta_regression_of_few_sites_is_descriptive_only() -> None:
    assert meta_regression(*sites(9)).reason == "descriptive only: fewer than 10 sites (9)"
    assert meta_regression(*sites(10)).status == "estimated"


@pytest.mark.parametrize("second", [lambda x: 2 * x - 1, lambda x: np.ones_like(x), lambda x: 1e6 + 1e-9 * x])
def test_moderators_that_determine_each_other_are_refused_by_name(second: object) -> None:
    y, v, x = sites(12)
    found = meta_regression(y, v, pd.DataFrame({"size": x, "beds": second(x)}))
    assert found.status == "not_estimable"
    assert found.reason == "moderators that the others determine: beds"


def test_meta_regression_does_not_depend_on_units_of_moderators() -> None:
    y, v, x = sites(12)
    plain, scaled = meta_regression(y, v, x).coefficients, meta_regression(y, v, 1e6 * x).coefficients
    assert scaled["estimate"][1] * 1e6 == pytest.approx(plain["estimate"][1], rel=1e-8)
    assert scaled["p_value"][1] == pytest.approx(plain["p_value"][1], rel=1e-8)


def test_categories_are_compared_with_their_first_and_sites_without_a_moderator_left_out() -> None:
    y, v, _ = sites(14)
    setting = pd.DataFrame({"setting": ["ward", "clinic"] * 6 + [None, "ward"]})
    found = meta_regression(y, v, setting, tau2="fixed", interval="z")
    assert found.names == ["intercept", "setting: ward"]
    assert (found.k, found.used.sum(), found.used[12]) == (13, 13, False)
    assert found.reason == "left out, without an estimate or a moderator: 1"
    clinic = setting["setting"].eq("clinic").to_numpy()
    assert found.coefficients["estimate"][0] == pytest.approx(np.average(y[clinic], weights=1 / v[clinic]))


def test_meta_regression_finds_a_known_slope_and_its_error() -> None:
    estimates = []
    errors = []
    for seed in range(300):
        row = meta_regression(*sites(25, seed)).coefficients.iloc[1]
        estimates.append(row["estimate"])
        errors.append(row["ci_low"] <= 0.2 <= row["ci_high"])
    assert np.mean(estimates) == pytest.approx(0.2, abs=3 * np.std(estimates) / np.sqrt(300))
    # Three Monte Carlo errors below 95 %.
    assert np.mean(errors) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 300)


@pytest.mark.parametrize("wrong", [{"tau2": "remml"}, {"interval": "t"}, {"level": 95}, {"names": ["one", "two"]}])
def test_meta_regression_refuses_unknown_choices(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"remml|'t'|95|as many names"):
        meta_regression(*sites(12), **wrong)


def several(seed: int, count: int = 20, each: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return effects of sites with variance .04 between sites and .02 between effects, sampling errors correlated .5."""
    random = np.random.default_rng(seed)
    site = np.repeat(np.arange(count), each)
    deviation = np.sqrt(random.uniform(0.01, 0.03, site.size))
    v = np.where(site[:, None] == site[None, :], 0.5, 0.0) * np.outer(deviation, deviation)
    v[np.diag_indices(site.size)] = deviation**2
    errors = deviation * (np.sqrt(0.5) * random.normal(size=count)[site] + np.sqrt(0.5) * random.normal(size=site.size))
    return 0.3 + 0.2 * random.normal(size=count)[site] + np.sqrt(0.02) * random.normal(size=site.size) + errors, v, site


def test_three_levels_find_known_variances_and_cover_a_known_mean() -> None:
    fits = [three_level(*several(seed)) for seed in range(100)]
    for name, truth in (("sigma2_site", 0.04), ("sigma2_effect", 0.02)):
        found = np.array([getattr(fit, name) for fit in fits])
        assert found.mean() == pytest.approx(truth, abs=3 * found.std() / np.sqrt(100)), name
        covered = [getattr(fit, f"{name}_low") <= truth <= getattr(fit, f"{name}_high") for fit in fits]
        assert np.mean(covered) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 100), name
    for rows in ([fit.ci_low <= 0.3 <= fit.ci_high for fit in fits], [_robust_covers(fit) for fit in fits]):
        assert np.mean(rows) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 100)


def _robust_covers(fit: object) -> bool:
    row = cluster_robust(fit).iloc[0]
    return row["ci_low"] <= 0.3 <= row["ci_high"]


def test_three_levels_do_not_depend_on_units_or_order() -> None:
    y, v, site = several(1)
    plain, scaled = three_level(y, v, site), three_level(y * 1e4, v * 1e8, site)
    assert scaled.sigma2_site == pytest.approx(plain.sigma2_site * 1e8, rel=1e-6)
    assert scaled.sigma2_effect_high == pytest.approx(plain.sigma2_effect_high * 1e8, rel=1e-6)
    order = np.random.default_rng(1).permutation(y.size)
    mixed = three_level(y[order], v[np.ix_(order, order)], site[order])
    assert mixed.estimate == pytest.approx(plain.estimate, rel=1e-8)
    assert cluster_robust(mixed)["df"][0] == pytest.approx(cluster_robust(plain)["df"][0], rel=1e-8)


def test_three_levels_say_what_they_need() -> None:
    y, v, site = several(1)
    assert three_level(y[:3], v[:3, :3], site[:3]).reason == "needs at least 2 sites; has 1"
    alone = three_level(y[::3], np.diagonal(v)[::3], site[::3])
    assert alone.reason == "every site has one effect: needs sites with several, or pooling in two levels"
    assert cluster_robust(alone)["reason"].tolist() == [alone.reason]
    exact = v.copy()
    exact[0, 1] = exact[1, 0] = np.sqrt(v[0, 0] * v[1, 1])
    assert "not positive definite" in three_level(y, exact, site).reason
    few = three_level(y[:9], v[:9, :9], site[:9])
    assert (few.status, few.reason) == ("flagged", "fewer than 5 sites (3)")


def test_three_levels_leave_out_effects_without_numbers_and_say_so() -> None:
    y, v, site = several(1)
    y[4] = np.nan
    found = three_level(y, v, site)
    assert (found.k, found.status) == (59, "flagged")
    assert found.reason == "left out, without an estimate or a positive sampling variance: 1"
    assert cluster_robust(found, site)["std_error"][0] == pytest.approx(cluster_robust(found)["std_error"][0])


def test_homogeneous_effects_have_no_variance_and_an_interval_from_zero() -> None:
    random = np.random.default_rng(2)
    site, v = np.repeat(np.arange(10), 3), np.full(30, 0.05)
    found = three_level(0.3 + 0.01 * random.normal(size=30), v, site)
    assert (found.sigma2_site, found.sigma2_effect, found.sigma2_site_low, found.sigma2_effect_low, found.i2) == (0, 0, 0, 0, 0)
    assert found.sigma2_site_high > 0


def test_sampling_covariance_between_sites_and_clusters_within_them_are_refused() -> None:
    y, v, site = several(1)
    fit = three_level(y, v, site)
    with pytest.raises(ValueError, match="all effects of a site"):
        cluster_robust(fit, np.arange(y.size))
    v[0, -1] = v[-1, 0] = 0.001
    with pytest.raises(ValueError, match="different sites"):
        three_level(y, v, site)


def test_robust_errors_with_few_degrees_of_freedom_are_not_to_be_interpreted() -> None:
    y, v, site = several(1, count=4)
    found = cluster_robust(three_level(y, v, site)).iloc[0]
    assert found["df"] < 4
    assert found["status"] == "flagged"
    assert found["reason"].startswith("do not interpret: fewer than 4 degrees of freedom (")
    one = cluster_robust(three_level(y, v, site), np.zeros(y.size))
    assert one["reason"].tolist() == ["a cluster-robust standard error needs at least 2 clusters"]


@pytest.mark.parametrize(
    ("estimate", "decision"), [(0.0, "equivalent"), (0.5, "different"), (0.11, "equivalent_and_different"), (0.2, "different")]
)
def test_equivalence_decides_as_its_interval_lies(estimate: float, decision: str) -> None:
    found = equivalence(estimate, 0.05, (-0.2, 0.2))
    assert found.decision == decision
    assert (found.p_tost < 0.05) == (found.ci_low > -0.2 and found.ci_high < 0.2)
    assert "-0.2 and 0.2" in found.sentence


def test_a_wide_interval_around_zero_is_undecided_not_no_difference() -> None:
    found = equivalence(0.05, 0.2, (-0.2, 0.2), df=12)
    assert found.decision == "undecided"
    assert found.p_tost == max(found.p_above_lower, found.p_below_upper)
    assert "must not be claimed" in found.sentence


def test_equivalence_of_nothing_is_not_tested() -> None:
    for estimate, error in ((None, None), (0.1, 0.0), (np.nan, 0.1)):
        found = equivalence(estimate, error, (-0.2, 0.2))
        assert (found.status, found.decision, found.p_tost) == ("not_estimable", "", None)
    for wrong in ({"bounds": (0.1, 0.2)}, {"bounds": (-0.2, 0.2), "level": 95}, {"bounds": (-0.2, 0.2), "df": 0}):
        with pytest.raises(ValueError, match=r"bounds|level|degrees"):
            equivalence(0.1, 0.1, **wrong)


def test_nonsignificant_effects_taken_as_censored_do_not_bend_the_mean() -> None:
    random = np.random.default_rng(3)
    found = {"zero": [], "dropped": [], "imputed": []}
    covered = []
    for _ in range(100):
        v = random.uniform(0.01, 0.06, 60)
        y = 0.2 + random.normal(size=60) * np.sqrt(v + 0.02)
        hidden = np.abs(y) < 1.959964 * np.sqrt(v)
        table = pool_with_nonsignificant(np.where(hidden, np.nan, y), v, hidden).set_index("treatment")
        for name, rows in found.items():
            rows.append(table.loc[name, "estimate"])
        covered.append(table.loc["imputed", "ci_low"] <= 0.2 <= table.loc["imputed", "ci_high"])
    error = np.std(found["imputed"]) / np.sqrt(100)
    assert np.mean(found["imputed"]) == pytest.approx(0.2, abs=3 * error + 0.002)
    assert np.mean(found["zero"]) < 0.2 - 10 * error
    assert np.mean(found["dropped"]) > 0.2 + 10 * error
    assert np.mean(covered) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 100)


def test_without_censored_effects_the_three_ways_differ_only_by_likelihood() -> None:
    y, v, _ = sites(200, seed=4)
    table = pool_with_nonsignificant(y, v, np.zeros(200, dtype=bool)).set_index("treatment")
    assert table.loc["zero", "estimate"] == table.loc["dropped", "estimate"] == pool(y, v).estimate
    assert table.loc["imputed", "estimate"] == pytest.approx(pool(y, v).estimate, abs=1e-3)
    assert table["k_nonsignificant"].tolist() == [0, 0, 0]


def test_censored_effects_do_not_depend_on_units() -> None:
    y, v, _ = sites(30, seed=5)
    hidden = np.abs(y) < 1.96 * np.sqrt(v)
    plain, scaled = (pool_with_nonsignificant(y * unit, v * unit**2, hidden).iloc[2] for unit in (1, 1e4))
    for name, power in (("estimate", 1), ("std_error", 1), ("tau2", 2)):
        assert scaled[name] == pytest.approx(plain[name] * 1e4**power, rel=1e-7), name


def test_censored_effects_need_two_reported_ones() -> None:
    found = pool_with_nonsignificant([0.5, np.nan, np.nan], [0.02, 0.03, 0.04], [False, True, True]).set_index("treatment")
    assert found.loc["imputed", "status"] == "not_estimable"
    assert found.loc["imputed", "reason"] == "needs at least 2 reported estimates besides those known not to be significant; has 1"
    assert np.isnan(found.loc["imputed", "estimate"])
    assert found.loc["zero", "k_nonsignificant"] == 2
    assert found.loc["dropped", "status"] == "not_estimable"
