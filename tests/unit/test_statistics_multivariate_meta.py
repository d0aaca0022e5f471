"""Multivariate pooling of coefficients."""

from __future__ import annotations

import numpy as np
import pytest
from alliance.statistics.meta_analysis import pool
from alliance.statistics.multivariate_meta import default_structure, pool_coefficients, pooled_function
from alliance.statistics.resampling import generator

SAME = ("estimate", "std_error", "ci_low", "ci_high", "df", "statistic", "p_value", "tau2", "tau2_low", "tau2_high", "i2")


def simulated(k: int, p: int, seed: int, spread: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    root = random.normal(0, 0.1, (k, p, p + 4))
    v = root @ np.swapaxes(root, 1, 2) / 2
    between = spread**2 * (0.5 * np.eye(p) + 0.5)
    y = np.linspace(0.1, 0.5, p) + random.multivariate_normal(np.zeros(p), between, k)
    return y + np.stack([random.multivariate_normal(np.zeros(p), one) for one in v]), v


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.4])
@pytest.mark.parametrize("interval", ["guarded_hartung_knapp", "hartung_knapp", "z"])
def test_one_coefficient_is_pooled_as_by_the_univariate_function(spread: float, interval: str) -> None:
    y, v = simulated(8, 1, 3, spread)
    found = pool_coefficients(y, v, ["b"], interval=interval)
    expected = pool(y[:, 0], v[:, 0, 0], interval=interval)
    row = found.coefficients.iloc[0]
    for name in (*SAME, "prediction_low", "prediction_high"):
        value = getattr(expected, name)
        assert row[name] == pytest.approx(np.inf if value is None else value, rel=1e-7, abs=1e-9), name
    assert (found.q, found.q_df, found.q_p) == (pytest.approx(expected.q), expected.q_df, pytest.approx(expected.q_p))


def test_coefficients_without_covariances_are_pooled_one_by_one() -> None:
    y, v = simulated(12, 3, 5)
    v = v * np.eye(3)
    found = pool_coefficients(y, v, list("abc"), structure="diagonal", interval="z").coefficients
    for place in range(3):
        expected = pool(y[:, place], v[:, place, place], interval="z")
        for name in ("estimate", "std_error", "tau2", "i2"):
            assert found.loc[place, name] == pytest.approx(getattr(expected, name), rel=1e-6, abs=1e-9)


def test_units_and_order_do_not_matter() -> None:
    y, v = simulated(40, 3, 8)
    y[5:15, 1] = np.nan
    size = np.array([1e4, 1.0, 1e-3])
    plain = pool_coefficients(y, v, list("abc"))
    other = pool_coefficients((y * size)[::-1], (v * np.outer(size, size))[::-1], list("abc"))
    assert plain.structure == other.structure == "unstructured"
    np.testing.assert_allclose(other.coefficients["estimate"], plain.coefficients["estimate"] * size, rtol=1e-7)
    np.testing.assert_allclose(other.between, plain.between * np.outer(size, size), rtol=1e-5)
    assert other.q == pytest.approx(plain.q)
    permuted = pool_coefficients(y[:, [2, 0, 1]], v[:, [2, 0, 1]][:, :, [2, 0, 1]], list("cab"))
    assert permuted.log_likelihood == pytest.approx(plain.log_likelihood, abs=1e-8)


def test_covariances_between_sites_are_estimated_where_sites_suffice() -> None:
    assert default_structure(np.ones((10, 3), dtype=bool)) == "unstructured"
    assert default_structure(np.ones((9, 2), dtype=bool)) == "diagonal"
    assert default_structure(np.ones((30, 12), dtype=bool)) == "diagonal"
    holes = np.ones((30, 3), dtype=bool)
    holes[:22, 1] = False
    assert default_structure(holes) == "diagonal"


def test_a_covariance_matrix_on_its_border_is_reached_and_its_rank_told() -> None:
    y, v = simulated(12, 4, 21, spread=0.02)
    found = pool_coefficients(y, v, list("abcd"), structure="unstructured")
    assert found.rank < 4 and found.status == "estimated"
    assert np.linalg.eigvalsh(found.between)[0] > -1e-12
    better = pool_coefficients(y, v, list("abcd"), structure="diagonal")
    assert found.log_likelihood >= better.log_likelihood


def test_twelve_coefficients_of_a_hundred_sites_are_pooled_unstructured() -> None:
    y, v = simulated(100, 12, 2)
    found = pool_coefficients(y, v, [f"b{place}" for place in range(12)])
    assert (found.structure, found.status) == ("unstructured", "estimated")


def test_intervals_cover_what_they_should() -> None:
    hits, runs = np.zeros(2), 400
    for seed in range(runs):
        y, v = simulated(8, 2, 5000 + seed)
        table = pool_coefficients(y, v, ["a", "b"]).coefficients
        hits += (table["ci_low"].to_numpy() <= [0.1, 0.5]) & (table["ci_high"].to_numpy() >= [0.1, 0.5])
    # Monte Carlo error of a coverage of 95 %: 1.1 points.
    assert ((hits / runs > 0.92) & (hits / runs < 0.985)).all()


def test_what_cannot_be_pooled_is_said() -> None:
    y, v = simulated(3, 2, 1)
    y[1:, 1] = np.nan
    found = pool_coefficients(y, v, ["a", "b"])
    assert found.coefficients["status"].tolist() == ["estimated", "not_estimable"]
    assert found.coefficients.loc[1, "reason"] == "not estimable: needs at least 2 sites; has 1"
    assert found.reason == "at fewer than 2 sites: b"
    alone = pool_coefficients(y[:1], v[:1], ["a", "b"])
    assert (alone.status, alone.reason) == ("not_estimable", "not estimable: needs at least 2 sites with a coefficient; has 1")
    assert pool_coefficients(np.empty((0, 2)), np.empty((0, 2, 2)), ["a", "b"]).status == "not_estimable"
    y, v = simulated(4, 2, 1)
    v[2, 0, 1] = v[2, 1, 0] = 5.0
    bad = pool_coefficients(y, v, ["a", "b"])
    assert bad.k == 3 and bad.reason == "left out, sampling covariance not positive definite: 1"
    with pytest.raises(ValueError, match="coefficients need"):
        pool_coefficients(y, v, ["a"])


def test_coefficients_that_are_never_together_have_no_covariance() -> None:
    y, v = simulated(8, 2, 1)
    y[:4, 0], y[4:, 1] = np.nan, np.nan
    found = pool_coefficients(y, v, ["a", "b"], structure="unstructured")
    assert found.structure == "diagonal" and found.status == "flagged"
    assert "not at two sites together" in found.reason


def test_a_product_has_delta_and_monte_carlo_intervals() -> None:
    y, v = simulated(40, 3, 8)
    found = pool_coefficients(y, v, list("abc"))
    product = pooled_function(found, lambda b: b[:, 1] * b[:, 2], generator(1, "product"))
    table = found.coefficients
    a, b = table.loc[1, "estimate"], table.loc[2, "estimate"]
    variance = b**2 * found.vcov[1, 1] + a**2 * found.vcov[2, 2] + 2 * a * b * found.vcov[1, 2]
    assert product.estimate == pytest.approx(a * b)
    assert product.std_error == pytest.approx(np.sqrt(variance), rel=1e-8)
    assert product.df == 39
    assert product.monte_carlo_low < product.estimate < product.monte_carlo_high
    single = pooled_function(found, lambda b: b[:, 0], generator(1, "single"), draws=200_000)
    assert (single.ci_low, single.ci_high) == (pytest.approx(table.loc[0, "ci_low"]), pytest.approx(table.loc[0, "ci_high"]))
    assert single.monte_carlo_high == pytest.approx(single.ci_high, abs=0.02 * single.std_error)
    again = pooled_function(found, lambda b: b[:, 1] * b[:, 2], generator(1, "product"))
    assert again == product


def test_a_function_of_a_coefficient_that_was_not_pooled_is_refused() -> None:
    y, v = simulated(5, 2, 1)
    y[1:, 1] = np.nan
    found = pool_coefficients(y, v, ["a", "b"])
    product = pooled_function(found, lambda b: b[:, 0] * b[:, 1], generator(1))
    assert product.status == "not_estimable" and "(b)" in product.reason
    assert pooled_function(found, lambda b: b[:, 0], generator(1)).status == "flagged"
