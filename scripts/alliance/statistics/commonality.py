"""Variance of an outcome that predictors explain alone, in common and together, from correlations or covariance matrices."""

from __future__ import annotations

import numpy as np

PARTS = ("unique_first", "unique_second", "shared", "together")


def two_predictors(first: np.ndarray, second: np.ndarray, between: np.ndarray) -> np.ndarray:
    """Return the shares of variance that two predictors explain: each beyond the other, what they share, and all (:data:`PARTS`).

    Commonality analysis (Mood, 1971): the shared part is what neither explains beyond the other; it is negative where one predictor
    suppresses what the other does not share with the outcome.

    Parameters
    ----------
    first, second : ndarray, shape (...)
        Correlation of each predictor with the outcome.
    between : ndarray, shape (...)
        Correlation of the two predictors.

    Returns
    -------
    ndarray, shape (..., 4)
    """
    first, second, between = (np.asarray(values, dtype=float) for values in (first, second, between))
    with np.errstate(divide="ignore", invalid="ignore"):
        together = (first**2 + second**2 - 2 * first * second * between) / (1 - between**2)
    return np.stack([together - second**2, together - first**2, first**2 + second**2 - together, together], axis=-1)


def partial(first: np.ndarray, second: np.ndarray, between: np.ndarray) -> np.ndarray:
    """Return the correlation of the first predictor with the outcome given the second, from three correlations."""
    return (first - second * between) / np.sqrt((1 - second**2) * (1 - between**2))


def explained(covariance: np.ndarray, outcome: int, predictors: list[int]) -> np.ndarray:
    """Return the share of an outcome's variance that predictors explain, from covariance matrices, shape (..., p, p) to (...)."""
    covariance = np.asarray(covariance)
    rows = np.array(predictors)
    given, cross = covariance[..., rows[:, None], rows[None, :]], covariance[..., rows, outcome]
    slopes = np.linalg.solve(given, cross[..., None])[..., 0]
    return (cross * slopes).sum(axis=-1) / covariance[..., outcome, outcome]


def adjusted(r_squared: np.ndarray, n: np.ndarray, predictors: int) -> np.ndarray:
    """Return R squared less what as many random predictors would explain (Ezekiel, 1930): ``1 - (1 - R²) (n - 1) / (n - p - 1)``."""
    return 1 - (1 - np.asarray(r_squared)) * (np.asarray(n) - 1) / (np.asarray(n) - predictors - 1)


def explained_elsewhere(sums: np.ndarray, outcome: int, predictors: list[int]) -> float:
    """Return the share of the variance explained in groups that the coefficients were not estimated from.

    Each group is left out in turn; its errors are those of the regression on all others, compared with the errors of the mean of all
    others.

    Parameters
    ----------
    sums : ndarray, shape (groups, p + 1, p + 1)
        Cross-products of (1, variables) by group, as :func:`alliance.statistics.jackknife.cross_products` makes them.
    outcome : int
        Which variable (counted without the 1) is predicted.
    predictors : list of int
    """
    others = sums.sum(axis=0) - sums
    rows = np.array([0, *(one + 1 for one in predictors)])
    weights = np.zeros((len(sums), sums.shape[-1]))
    weights[:, rows] = -np.linalg.solve(others[:, rows[:, None], rows[None, :]], others[:, rows, outcome + 1][..., None])[..., 0]
    weights[:, outcome + 1] = 1.0
    mean = np.zeros_like(weights)
    mean[:, 0], mean[:, outcome + 1] = -others[:, 0, outcome + 1] / others[:, 0, 0], 1.0
    errors = [np.einsum("ga,gab,gb->", one, sums, one) for one in (weights, mean)]
    return float(1 - errors[0] / errors[1])
