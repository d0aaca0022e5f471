"""Coefficients of a scale that follow from the covariances of its items without a model: alpha, inter-item and item-rest correlations."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.distributions import two_sided_p

_NO_VARIANCE = 1e-12
_NO_PRODUCT = 1e-20


def alpha(covariance: ArrayLike) -> np.ndarray:
    """Return coefficient alpha (Cronbach, 1951, eq. 2) from covariances of scored items, shape (..., k, k) to (...).

    NaN for fewer than two items, undefined covariances or a sum that does not vary.
    """
    covariance = np.asarray(covariance, dtype=float)
    k = covariance.shape[-1]
    total = covariance.sum(axis=(-2, -1))
    usable = np.isfinite(total) & (total > _NO_VARIANCE) & (k > 1)
    share = np.trace(covariance, axis1=-2, axis2=-1) / np.where(usable, total, 1.0)
    return np.where(usable, k / max(k - 1, 1) * (1 - share), np.nan)


def mean_inter_item_correlation(covariance: ArrayLike) -> np.ndarray:
    """Return the mean correlation of two different items, shape (..., k, k) to (...); NaN where an item does not vary, or k < 2."""
    covariance = np.asarray(covariance, dtype=float)
    k = covariance.shape[-1]
    variance = np.diagonal(covariance, axis1=-2, axis2=-1)
    deviation = np.sqrt(np.where(variance > _NO_VARIANCE, variance, np.nan))
    if k < 2:
        return np.full(covariance.shape[:-2], np.nan)
    correlation = covariance / (deviation[..., :, None] * deviation[..., None, :])
    return (correlation.sum(axis=(-2, -1)) - k) / (k * (k - 1))


def item_rest_correlations(covariance: ArrayLike) -> np.ndarray:
    """Return each item's correlation with the sum of the other items, shape (..., k, k) to (..., k).

    NaN where the item or the rest does not vary, or k < 2.
    """
    covariance = np.asarray(covariance, dtype=float)
    variance = np.diagonal(covariance, axis1=-2, axis2=-1)
    with_all = covariance.sum(axis=-1)
    rest_variance = covariance.sum(axis=(-2, -1))[..., None] - 2 * with_all + variance
    product = variance * rest_variance
    defined = product > _NO_PRODUCT
    return np.where(defined, (with_all - variance) / np.sqrt(np.where(defined, product, 1.0)), np.nan)


def feldt_interval(alpha: ArrayLike, n: int, k: int, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact interval of alpha (Feldt, 1965): ``(1 - alpha) / (1 - sample alpha)`` follows F(n - 1, (n - 1)(k - 1)).

    It supposes normal, independent clients and items that are compound symmetric (parallel up to their means).

    Parameters
    ----------
    alpha : array_like
        Sample alpha.
    n, k : int
        Clients and items.
    level : float
        Confidence level.
    """
    from scipy.special import fdtri

    tail, df = (1 - level) / 2, (n - 1, (n - 1) * (k - 1))
    odds = 1 - np.asarray(alpha, dtype=float)
    return 1 - odds * fdtri(*df, 1 - tail), 1 - odds * fdtri(*df, tail)


def alpha_variance(covariance: ArrayLike, n: int) -> np.ndarray:
    """Return the sampling variance of alpha of normal, independent clients (van Zyl, Neudecker & Nel, 2000, eq. 21).

    It does not suppose that items are parallel.

    Parameters
    ----------
    covariance : array_like, shape (..., k, k)
        Covariances of the items.
    n : int
        Clients; the variance has the divisor n - 1.
    """
    s = np.asarray(covariance, dtype=float)
    k = s.shape[-1]
    total, trace = s.sum(axis=(-2, -1)), np.trace(s, axis1=-2, axis2=-1)
    rows = s.sum(axis=-1)
    squares = (s**2).sum(axis=(-2, -1))
    of_rows = (rows**2).sum(axis=-1)
    factor = 2 * k**2 / ((k - 1) ** 2 * total**3)
    return factor * (total * (squares + trace**2) - 2 * trace * of_rows) / (n - 1)


def bonett_variance(n: int, k: int) -> float:
    """Return the variance of ln(1 - alpha) of parallel items (Bonett, 2002, eq. 4): 2 k / ((k - 1)(n - 2))."""
    return 2 * k / ((k - 1) * (n - 2))


def feldt_dependent(first: float, second: float, correlation: float, n: int) -> tuple[float, float, float]:
    """Return t, its degrees of freedom and p of the difference of two alphas of the same clients (Feldt, 1980).

    ``t = (first - second) sqrt(n - 2) / (2 sqrt((1 - first)(1 - second)(1 - r^2)))``; supposes normal, independent clients
    and many items: it leaves out a factor of about k / (k - 1) in the variance, so that with four items it rejects a true hypothesis in
    about 10 % at a level of 5 %.

    Parameters
    ----------
    first, second : float
        Alphas.
    correlation : float
        Correlation of the two scores.
    n : int
        Clients with both.
    """
    statistic = (first - second) * math.sqrt(n - 2) / (2 * math.sqrt((1 - first) * (1 - second) * (1 - correlation**2)))
    return statistic, n - 2.0, float(two_sided_p(statistic, n - 2.0))
