"""Polychoric correlations: bivariate normal probabilities, maxima, order of rows, and what is refused or flagged."""

from __future__ import annotations

import numpy as np
import pytest
from alliance.statistics.polychoric import LIMIT, bivariate_density, bivariate_normal, polychoric
from scipy.optimize import minimize_scalar
from scipy.special import ndtri
from scipy.stats import multivariate_normal


def answers(n: int, p: int, seed: int, categories: int = 5, loading: float = 0.7) -> np.ndarray:
    random = np.random.default_rng(seed)
    normal = loading * random.normal(size=(n, 1)) + np.sqrt(1 - loading**2) * random.normal(size=(n, p))
    return 1.0 + np.digitize(normal, np.linspace(-1.5, 1.0, categories - 1))


def test_bivariate_probabilities_equal_those_of_scipy() -> None:
    random = np.random.default_rng(1)
    at = 2 * random.normal(size=(400, 2))
    rho = np.r_[random.uniform(-1, 1, 300), 1 - 10.0 ** -random.uniform(1, 8, 50), -1 + 10.0 ** -random.uniform(1, 8, 50)]
    at[:30, 0] = at[20:50, 1] = 0.0
    at[60:70, 0] = at[60:70, 1]
    expected = [multivariate_normal.cdf(one, cov=[[1, r], [r, 1]], allow_singular=True) for one, r in zip(at, rho, strict=True)]
    assert bivariate_normal(at[:, 0], at[:, 1], rho) == pytest.approx(np.array(expected), abs=1e-14)


def test_bivariate_probabilities_at_the_ends_are_known() -> None:
    assert bivariate_normal(0.0, 0.0, 0.5) == pytest.approx(1 / 3, abs=1e-15)
    assert bivariate_normal(np.inf, 0.3, 0.5) == pytest.approx(0.617911422188953, abs=1e-14)
    assert bivariate_normal(-np.inf, 0.3, 0.5) == 0
    assert bivariate_normal([0.2, 0.2, -1.0], [1.0, 1.0, 0.5], [1.0, -1.0, -1.0]) == pytest.approx(
        [0.579259709439103, 0.579259709439103 + 0.841344746068543 - 1, 0.0], abs=1e-14
    )


def test_density_is_the_slope_of_the_probability() -> None:
    at = np.array([[0.0, 0.0, 0.3], [1.2, -0.4, -0.8], [2.0, 1.9, 0.98]]).T
    slope = (bivariate_normal(at[0], at[1], at[2] + 1e-6) - bivariate_normal(at[0], at[1], at[2] - 1e-6)) / 2e-6
    assert bivariate_density(*at) == pytest.approx(slope, rel=1e-7)
    assert bivariate_density(0.3, -1.0, 0.6) == pytest.approx(multivariate_normal.pdf([0.3, -1.0], cov=[[1, 0.6], [0.6, 1]]))


@pytest.mark.parametrize("seed", range(5))
def test_every_correlation_is_where_its_likelihood_is_highest(seed: int) -> None:
    items = answers(40, 4, seed, categories=4, loading=0.5)
    found = polychoric(items, correction="none")
    for i, j in zip(*np.triu_indices(4, 1), strict=True):
        table = np.array([[((items[:, i] == a) & (items[:, j] == b)).sum() for b in found.categories] for a in found.categories])
        edges = [np.r_[-np.inf, found.thresholds[item], np.inf] for item in (i, j)]

        def deviance(r: float, table: np.ndarray = table, edges: list = edges) -> float:
            cumulative = bivariate_normal(edges[0][:, None], edges[1][None, :], r)
            cells = np.diff(np.diff(cumulative, axis=0), axis=1)
            return -(table[table > 0] * np.log(np.maximum(cells[table > 0], 1e-300))).sum()

        grid = np.linspace(-0.99, 0.99, 199)
        near = grid[np.argmin([deviance(r) for r in grid])]
        best = minimize_scalar(deviance, bounds=(near - 0.01, near + 0.01), method="bounded", options={"xatol": 1e-9})
        assert found.correlation[i, j] == pytest.approx(best.x, abs=1e-6)


def test_large_samples_give_back_the_correlations_of_the_normals() -> None:
    found = polychoric(answers(40_000, 4, 3))
    off = found.correlation[np.triu_indices(4, 1)]
    assert off == pytest.approx(np.full(6, 0.49), abs=0.02)
    assert found.thresholds == pytest.approx(np.tile(np.linspace(-1.5, 1.0, 4), (4, 1)), abs=0.03)


def test_clients_in_another_order_give_the_same_numbers() -> None:
    items = answers(200, 5, 4)
    order = np.random.default_rng(5).permutation(200)
    assert np.array_equal(polychoric(items).correlation, polychoric(items[order]).correlation)


def test_a_category_without_answers_has_no_width() -> None:
    items = answers(300, 3, 6)
    items[items[:, 0] == 3, 0] = 2
    items[items[:, 1] == 5, 1] = 4
    found = polychoric(items)
    share = (items[:, 0] <= 2).mean()
    assert found.thresholds[0, 1] == found.thresholds[0, 2] == pytest.approx(ndtri(share))
    assert np.isposinf(found.thresholds[1, 3])
    named_anew = items.copy()
    named_anew[named_anew[:, 0] > 3, 0] -= 1
    assert found.correlation == pytest.approx(polychoric(named_anew).correlation, abs=1e-9)


def test_missing_answers_leave_out_clients_pair_by_pair() -> None:
    items = answers(200, 3, 7)
    items[:50, 0] = np.nan
    items[40:60, 1] = np.nan
    found = polychoric(items)
    assert found.n.tolist() == [[150, 140, 150], [140, 180, 180], [150, 180, 200]]
    assert found.status == "estimated"


def test_an_item_that_determines_another_is_flagged() -> None:
    items = answers(100, 2, 8)
    found = polychoric(np.column_stack([items, items[:, 0]]))
    assert found.correlation[0, 2] == LIMIT
    assert found.at_limit[0, 2] and found.at_limit.sum() == 2
    assert (found.status, found.reason) == ("flagged", "1 pairs of items all but determine each other (correlation at the limit of 0.9999)")


def test_a_matrix_that_is_not_positive_definite_is_smoothed_only_if_asked() -> None:
    items = answers(12, 6, 1, categories=4)
    found, asked = polychoric(items), polychoric(items, smooth=True)
    assert found.smallest_eigenvalue < 0
    assert (found.status, found.smoothed) == ("flagged", False)
    assert found.reason.startswith("the correlations are not positive definite")
    assert (asked.status, asked.smoothed) == ("flagged", True)
    assert "eigenvalues were raised" in asked.reason
    assert np.linalg.eigvalsh(asked.correlation)[0] > -1e-12
    assert asked.smallest_eigenvalue == found.smallest_eigenvalue


def test_what_cannot_be_estimated_says_what_it_needs() -> None:
    items = answers(50, 3, 9)
    constant = items.copy()
    constant[:, 1] = 4
    assert polychoric(constant).reason == "needs at least 2 categories chosen in every item; 1 of 3 items have fewer"
    assert polychoric(items[:, :1]).reason == "needs at least 2 items; has 1"
    assert polychoric(np.full((5, 3), np.nan)).reason == "needs clients with answers; has none among 5"
    many = np.arange(60.0).reshape(20, 3)
    assert polychoric(many).reason == "needs items of at most 10 categories; has 60"
    apart = items.copy()
    apart[:25, 0] = apart[25:, 1] = np.nan
    found = polychoric(apart)
    assert (found.status, found.reason[:40]) == ("flagged", "1 pairs of items have no correlation: ne")
    assert np.isnan(found.correlation[0, 1]) and np.isnan(found.smallest_eigenvalue)
    with pytest.raises(ValueError, match="two-dimensional"):
        polychoric(items[:, 0])
    with pytest.raises(ValueError, match="no correction"):
        polychoric(items, correction="both")
