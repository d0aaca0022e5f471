"""Sampling covariances, correlations and resampling keep their promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from alliance.statistics import covariance, resampling
from alliance.statistics.correlation import correlation, correlation_from_summary, effective_n


@pytest.fixture
def data() -> np.ndarray:
    random = np.random.default_rng(1)
    return random.standard_normal((240, 4)) @ random.standard_normal((4, 4)) * [1, 10, 0.01, 300] + [0, 5, 1, 1000]


CLUSTERS = np.repeat(np.arange(24), 10)


def clustered(random: np.random.Generator, samples: int, groups: int, size: int, icc: float, r: float) -> np.ndarray:
    """Return pairs of variables with a true correlation of ``r`` within and between clusters, shape (samples, groups, size, 2)."""
    root = np.linalg.cholesky(np.array([[1, r], [r, 1]]))
    shared = random.standard_normal((samples, groups, 1, 2)) * np.sqrt(icc)
    return (shared + random.standard_normal((samples, groups, size, 2)) * np.sqrt(1 - icc)) @ root.T


def test_moments_are_those_of_numpy(data: np.ndarray) -> None:
    found = covariance.moments(data)
    assert found.covariance == pytest.approx(np.cov(data.T))
    assert found.maximum_likelihood == pytest.approx(np.cov(data.T, bias=True))
    assert found.mean == pytest.approx(data.mean(axis=0))


def test_missing_values_are_refused(data: np.ndarray) -> None:
    data[3, 1] = np.nan
    with pytest.raises(ValueError, match="missing values"):
        covariance.moments(data)


def test_elements_and_matrices_are_each_others_inverse(data: np.ndarray) -> None:
    s = np.cov(data.T)
    assert covariance.matrix_of(covariance.elements(s), 4) == pytest.approx(s)
    r = np.corrcoef(data.T)
    assert covariance.matrix_of(covariance.elements(r, diagonal=False), 4, diagonal=False) == pytest.approx(r)


def test_olkin_finn_is_the_delta_method_on_the_wishart_covariance(data: np.ndarray) -> None:
    s = np.cov(data.T)
    _, vcov = covariance.delta(covariance.correlations, s, covariance.normal_theory(s, 240))
    assert vcov == pytest.approx(covariance.olkin_finn(np.corrcoef(data.T), 240), rel=1e-8, abs=1e-12)


def test_wishart_covariance_is_what_simulated_normal_data_show() -> None:
    random = np.random.default_rng(2)
    s = np.array([[1, 0.5, 0.2], [0.5, 2, -0.3], [0.2, -0.3, 1.5]])
    samples = random.standard_normal((20000, 30, 3)) @ np.linalg.cholesky(s).T
    centred = samples - samples.mean(axis=1, keepdims=True)
    found = np.cov(covariance.elements(np.swapaxes(centred, 1, 2) @ centred / 29).T)
    assert found == pytest.approx(covariance.normal_theory(s, 30), abs=0.012)


def test_without_dependence_the_sandwich_is_the_normal_covariance_in_large_samples() -> None:
    data = np.random.default_rng(3).standard_normal((200000, 2)) @ np.array([[1, 0.6], [0, 0.8]])
    assert covariance.sandwich(data) * 2e5 == pytest.approx(covariance.normal_theory(np.cov(data.T), 2e5) * 2e5, abs=0.05)


def test_copies_of_a_client_within_a_cluster_add_no_precision(data: np.ndarray) -> None:
    once = covariance.sandwich(data, np.arange(240))
    thrice = covariance.sandwich(np.repeat(data, 3, axis=0), np.repeat(np.arange(240), 3))
    assert thrice * (719 / 720) ** 2 == pytest.approx(once * (239 / 240) ** 2)


def test_correlation_errors_are_the_delta_method_on_the_sandwich(data: np.ndarray) -> None:
    vcov = covariance.sandwich(data, CLUSTERS)
    for controls in ([], [2], [2, 3]):
        expected, variance = covariance.delta(
            lambda s, held=controls: np.arctanh(covariance.partial_correlation(s, 0, 1, held))[:, None], np.cov(data.T), vcov
        )
        held = data[:, controls] if controls else None
        found = correlation(data[:, 0], data[:, 1], CLUSTERS, controls=held, cluster_error="sandwich")
        assert found.z == pytest.approx(expected[0])
        assert found.se_z == pytest.approx(np.sqrt(variance[0, 0]), rel=1e-6)


def test_partial_correlation_is_the_correlation_of_residuals(data: np.ndarray) -> None:
    design = np.column_stack([np.ones(240), data[:, 2:]])
    residual = data[:, :2] - design @ np.linalg.lstsq(design, data[:, :2], rcond=None)[0]
    expected = np.corrcoef(residual.T)[0, 1]
    found = correlation(data[:, 0], data[:, 1], controls=data[:, 2:])
    assert found.r == pytest.approx(expected)
    assert found.se_z == pytest.approx(1 / np.sqrt(240 - 3 - 2))
    assert covariance.partial_correlation(np.cov(data.T), 0, 1, [2, 3]) == pytest.approx(expected)


def test_rows_with_missing_values_or_without_a_therapist_are_left_out(data: np.ndarray) -> None:
    x, y, therapists = data[:, 0].copy(), data[:, 1].copy(), pd.Series(CLUSTERS).astype("Int64")
    x[5], y[17], therapists[30] = np.nan, np.inf, pd.NA
    kept = np.delete(np.arange(240), [5, 17, 30])
    found = correlation(x, y, therapists)
    expected = correlation(data[kept, 0], data[kept, 1], CLUSTERS[kept])
    assert (found.n, found.n_clusters, found.status) == (expected.n, expected.n_clusters, "estimated")
    assert [found.r, found.se_z, found.ci_low] == pytest.approx([expected.r, expected.se_z, expected.ci_low], rel=1e-12)
    assert (found.n, found.n_clusters) == (237, 24)


def test_too_few_therapists_take_clients_as_independent_and_say_so(data: np.ndarray) -> None:
    found = correlation(data[:, 0], data[:, 1], np.repeat([1, 2, 3, 4], 60))
    assert found.status == "flagged"
    assert "therapists (4)" in found.reason
    assert (found.df, found.se_z) == (None, pytest.approx(1 / np.sqrt(237)))


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        ([], [], "needs at least 4"),
        ([1, 2, 3], [3, 1, 2], "needs at least 4"),
        ([1, 1, 1, 1, 1], [1, 2, 3, 4, 5], "constant"),
        ([1, 2, 3, 4, 5], [2, 4, 6, 8, 10], "determine each other"),
    ],
)
def test_a_correlation_that_cannot_be_had_has_a_reason(x: list[float], y: list[float], reason: str) -> None:
    found = correlation(x, y)
    assert (found.r, found.status) == (None, "not_estimable")
    assert reason in found.reason


def test_controls_that_explain_everything_are_named_as_the_reason(data: np.ndarray) -> None:
    assert "controls" in correlation(data[:, 0], data[:, 1], controls=data[:, [0, 2]]).reason
    assert "controls" in correlation(data[:, 0], data[:, 1], controls=data[:, [2, 2]]).reason


def test_a_published_correlation_has_the_error_of_its_effective_sample() -> None:
    assert correlation_from_summary(0.3, 103).se_z == pytest.approx(0.1)
    assert correlation_from_summary(0.3, 500, effective_n=103, controls=0).se_z == pytest.approx(0.1)
    assert correlation_from_summary(0.3, 104, controls=1).se_z == pytest.approx(0.1)
    assert correlation_from_summary(1.0, 100).status == "not_estimable"
    assert correlation_from_summary(0.2, 3).status == "not_estimable"
    assert correlation_from_summary(float("nan"), 30).status == "not_estimable"


def test_effective_sample_size_predicts_the_spread_of_correlations() -> None:
    random = np.random.default_rng(4)
    pairs = clustered(random, 4000, 20, 20, 0.4, 0.0).reshape(4000, 400, 2)
    centred = pairs - pairs.mean(axis=1, keepdims=True)
    r = (centred[..., 0] * centred[..., 1]).sum(axis=1) / np.sqrt((centred**2).sum(axis=1).prod(axis=1))
    assert 1 / np.arctanh(r).var() == pytest.approx(effective_n([20] * 20, 0.4, 0.4), rel=0.08)
    assert effective_n([1] * 50, 0.5, 0.5) == 50
    assert effective_n([10, 30], 0.2, 0.1) == pytest.approx(40 / (1 + 24 * 0.02))


@pytest.mark.parametrize(("icc", "kind"), [(0.05, "sandwich"), (0.3, "jackknife")])
def test_cluster_robust_intervals_of_r_cover_and_naive_ones_do_not(icc: float, kind: str) -> None:
    samples = clustered(np.random.default_rng(5), 1000, 20, 10, icc, 0.3).reshape(1000, 200, 2)
    clusters = np.repeat(np.arange(20), 10)
    robust = [correlation(one[:, 0], one[:, 1], clusters, cluster_error=kind) for one in samples]
    assert 0.93 <= np.mean([found.ci_low <= 0.3 <= found.ci_high for found in robust]) <= 0.97
    if icc == 0.3:
        naive = [correlation(one[:, 0], one[:, 1]) for one in samples]
        assert np.mean([found.ci_low <= 0.3 <= found.ci_high for found in naive]) < 0.90


def test_jackknife_error_is_that_of_correlations_without_each_therapist(data: np.ndarray) -> None:
    for controls in (None, data[:, 2:]):
        left_out = []
        for group in range(24):
            kept = group != CLUSTERS
            held = None if controls is None else controls[kept]
            left_out.append(correlation(data[kept, 0], data[kept, 1], controls=held).z)
        found = correlation(data[:, 0], data[:, 1], CLUSTERS, controls=controls)
        assert found.se_z == pytest.approx(np.sqrt(23 * np.var(left_out)))


def test_random_numbers_depend_on_seed_and_names_only() -> None:
    code = (
        "from alliance.statistics.resampling import generator\n"
        "print(generator(1993, 'path_models', 'northgate').integers(0, 2**62, 4).tolist())"
    )
    scripts = str(Path(__file__).resolve().parents[2] / "scripts")
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": scripts, "PYTHONDONTWRITEBYTECODE": "1"},
        ).stdout
        for seed in ("0", "77")
    }
    assert printed == {f"{resampling.generator(1993, 'path_models', 'northgate').integers(0, 2**62, 4).tolist()}\n"}
    first = resampling.generator(1993, "path_models", "northgate").random()
    assert first != resampling.generator(1993, "path_models", "southgate").random()
    assert first != resampling.generator(1994, "path_models", "northgate").random()
    assert resampling.generator(1, "ab", "c").random() != resampling.generator(1, "a", "bc").random()


def test_weighted_cross_products_give_the_moments_of_the_resampled_rows(data: np.ndarray) -> None:
    products = resampling.cross_products(data, CLUSTERS)
    weights = resampling.multinomial_weights(np.random.default_rng(6), 24, 5)
    assert products.unit == "clusters"
    assert (weights.sum(axis=1) == 24).all()
    for found, counts in zip(resampling.covariances(products, weights), weights.astype(int), strict=True):
        rows = np.concatenate([data[group == CLUSTERS] for group, times in enumerate(counts) for _ in range(times)])
        assert found == pytest.approx(np.cov(rows.T, bias=True), rel=1e-8)


def test_few_clusters_are_not_resampled(data: np.ndarray) -> None:
    products = resampling.cross_products(data, np.repeat(np.arange(8), 30))
    assert (products.unit, len(products.sums)) == ("rows", 240)


def test_bootstrap_error_of_a_mean_free_statistic_is_its_sandwich_error(data: np.ndarray) -> None:
    products = resampling.cross_products((data - data.mean(axis=0)) / data.std(axis=0), CLUSTERS)
    drawn = resampling.bootstrap(products, lambda s: np.arctanh(covariance.correlations(s)), 4000, resampling.generator(1, "z"))
    assert drawn[:, 0].std() == pytest.approx(correlation(data[:, 0], data[:, 1], CLUSTERS, cluster_error="sandwich").se_z, rel=0.12)
    low, high = resampling.percentile_interval(drawn)
    assert low == pytest.approx(np.quantile(drawn, 0.025, axis=0))
    assert high == pytest.approx(np.quantile(drawn, 0.975, axis=0))
    wider = resampling.percentile_interval(drawn, units=24)
    assert (wider[0] < low).all()
    assert (wider[1] > high).all()
    assert resampling.percentile_interval(drawn, units=10**9)[0] == pytest.approx(low, rel=1e-6)
