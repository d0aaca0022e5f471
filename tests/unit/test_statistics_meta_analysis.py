"""Pooling where numbers are few, missing or odd."""

from __future__ import annotations

import numpy as np
import pytest
from alliance.statistics import heterogeneity, meta_analysis
from alliance.statistics.meta_analysis import difference, leave_one_out, leave_one_out_many, n_weighted_mean, pool, pool_many


def simulated(effects: int, sites: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    v = random.uniform(0.01, 0.1, (effects, sites))
    y = 0.3 + random.normal(size=(effects, sites)) * np.sqrt(v + 0.02)
    y[random.uniform(size=y.shape) < 0.3] = np.nan
    return y, v


@pytest.mark.parametrize(("y", "v", "k"), [([], [], 0), ([0.2], [0.1], 1), ([0.2, np.nan], [0.1, 0.1], 1), ([0.1, 0.2], [0.1, 0.0], 1)])
def test_fewer_than_two_sites_give_no_pooled_estimate_but_a_reason(y: list[float], v: list[float], k: int) -> None:
    pooled = pool(y, v)
    assert (pooled.estimate, pooled.tau2, pooled.p_value, pooled.prediction_low) == (None, None, None, None)
    assert pooled.status == "not_estimable"
    assert pooled.reason.startswith(f"no pooled estimate (k = {k})")
    assert len(pooled.weights) == len(y)


@pytest.mark.parametrize("tau2", meta_analysis.TAU2_METHODS)
def test_many_effects_at_once_equal_one_at_a_time(tau2: str) -> None:
    y, v = simulated(40, 9)
    table = pool_many(y, v, tau2=tau2)
    for row in range(len(y)):
        one = pool(y[row], v[row], tau2=tau2)
        assert one.k == table["k"][row] == np.isfinite(y[row]).sum()
        for name in ("estimate", "std_error", "ci_low", "tau2", "tau2_high", "i2", "q_p", "prediction_high"):
            expected = getattr(one, name)
            assert table[name][row] == pytest.approx(np.nan if expected is None else expected, rel=1e-9, abs=1e-12, nan_ok=True)


def test_reml_is_at_the_top_of_the_restricted_likelihood() -> None:
    y, v = simulated(30, 6, seed=2)
    for row, tau2 in enumerate(pool_many(y, v)["tau2"]):
        used = np.isfinite(y[row])

        def likelihood(value: float, y: np.ndarray = y[row][used], v: np.ndarray = v[row][used]) -> float:
            w = 1 / (v + value)
            mean = np.average(y, weights=w)
            return (np.log(w).sum() - np.log(w.sum()) - (w * (y - mean) ** 2).sum()) / 2

        assert likelihood(tau2) >= max(likelihood(value) for value in np.geomspace(1e-6, 1, 400)) - 1e-10


def test_reml_where_scoring_runs_in_circles_is_found_by_search_and_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    y, v = simulated(1, 12, seed=3)
    expected = pool(y[0], v[0])
    monkeypatch.setattr(heterogeneity, "SCORING_STEPS", 1)
    found = pool(y[0], v[0])
    assert found.tau2 == pytest.approx(expected.tau2, rel=1e-5)
    assert (found.status, expected.status) == ("flagged", "estimated")
    assert "bounded search" in found.reason


def test_guarded_interval_is_never_narrower_than_hartung_knapp_with_its_own_error() -> None:
    y, v = simulated(200, 5, seed=4)
    guarded, plain, normal = (pool_many(y, v, interval=name) for name in ("guarded_hartung_knapp", "hartung_knapp", "z"))
    estimable = guarded["status"] != "not_estimable"
    assert (guarded["std_error"] >= plain["std_error"] - 1e-12)[estimable].all()
    assert (guarded["std_error"] >= normal["std_error"] - 1e-12)[estimable].all()
    assert (plain["std_error"] < normal["std_error"])[estimable].any()


def test_equal_estimates_do_not_pretend_to_be_exact() -> None:
    plain = pool([0.3, 0.3, 0.3], [0.1, 0.2, 0.1], interval="hartung_knapp")
    assert plain.status == "flagged"
    assert "standard error is zero" in plain.reason
    assert plain.p_value is None
    assert pool([0.3, 0.3, 0.3], [0.1, 0.2, 0.1]).std_error == pytest.approx(np.sqrt(1 / 25))


def test_leaving_out_a_site_is_pooling_the_others() -> None:
    y, v = [0.1, 0.4, np.nan, 0.3, 0.6], [0.02, 0.03, 0.1, 0.01, 0.05]
    table = leave_one_out(y, v, names=["a", "b", "c", "d", "e"])
    assert table["omitted"].tolist() == ["a", "b", "d", "e"]
    others = pool([0.1, 0.4, 0.6], [0.02, 0.03, 0.05])
    assert table["estimate"][2] == pytest.approx(others.estimate)
    assert table["ci_high"][2] == pytest.approx(others.ci_high)


def test_results_do_not_depend_on_units_or_the_order_of_sites() -> None:
    y, v = simulated(1, 8, seed=5)
    y, v = y[0], v[0]
    forward, backward, scaled = pool(y, v), pool(y[::-1], v[::-1]), pool(y * 1e4, v * 1e8)
    assert backward.estimate == pytest.approx(forward.estimate, rel=1e-10)
    assert scaled.tau2 == pytest.approx(forward.tau2 * 1e8, rel=1e-6)
    assert scaled.prediction_low == pytest.approx(forward.prediction_low * 1e4, rel=1e-6)


def test_an_n_weighted_mean_leaves_out_what_is_missing() -> None:
    assert n_weighted_mean([0.2, 0.4, np.nan], [10, 30, 50]) == pytest.approx(0.35)
    assert n_weighted_mean([], []) is None


def test_fisher_z_has_no_value_at_one() -> None:
    assert meta_analysis.inverse_fisher_z(meta_analysis.fisher_z([-0.7, 0.0, 0.3])) == pytest.approx([-0.7, 0.0, 0.3])
    assert np.isnan(meta_analysis.fisher_z([1.0, -1.2])).all()


def test_a_difference_of_two_means_is_welchs_test_of_their_sites() -> None:
    from scipy import stats

    first, second = [0.1, 0.25, 0.3, 0.5, 0.22], [0.4, 0.6, 0.45, 0.9]
    # With equal, negligible sampling variances Hartung-Knapp is the ordinary standard error of a mean.
    found = difference(*(pool(y, np.full(len(y), 1e-9), interval="hartung_knapp") for y in (first, second)))
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-6)
    assert found.df == pytest.approx(expected.df, rel=1e-6)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6)
    interval = expected.confidence_interval()
    assert [found.ci_low, found.ci_high] == pytest.approx([interval.low, interval.high], rel=1e-6)


def test_a_difference_needs_two_pooled_means() -> None:
    found = difference(pool([0.1, 0.2], [0.1, 0.1]), pool([0.1], [0.1]))
    assert found.estimate is None
    assert found.status == "not_estimable"


@pytest.mark.parametrize("wrong", [{"tau2": "remml"}, {"interval": "t"}, {"level": 95}])
def test_unknown_choices_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"remml|'t'|95"):
        pool([0.1, 0.2], [0.1, 0.1], **wrong)


@pytest.mark.parametrize("tau2", meta_analysis.TAU2_METHODS)
@pytest.mark.parametrize("smallest", [1e-2, 1e-4, 1e-8])
def test_sums_shared_by_all_sets_without_one_site_give_what_pooling_each_set_gives(
    tau2: str, smallest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    y, v = simulated(6, 60, seed=6)
    # One site that outweighs all others, as its sums must not drown theirs.
    v[:, 7] = smallest
    y[:, 7] = 1.0
    shared = leave_one_out_many(y, v, tau2=tau2)
    monkeypatch.setattr(meta_analysis, "_SHARED_FROM", 10**9)
    direct = leave_one_out_many(y, v, tau2=tau2)
    assert shared[["effect", "omitted", "k", "status"]].equals(direct[["effect", "omitted", "k", "status"]])
    for name in ("estimate", "std_error", "p_value", "tau2", "tau2_low", "tau2_high", "i2", "q", "prediction_low"):
        assert shared[name].to_numpy() == pytest.approx(direct[name].to_numpy(), rel=1e-6, abs=1e-9, nan_ok=True), name
