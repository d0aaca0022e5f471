"""Cluster bootstrap from sufficient statistics, and generators of random numbers that depend on names only."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.covariance import cluster_codes, cluster_sums
from alliance.statistics.distributions import critical_value

MIN_CLUSTERS = 10


def generator(seed: int, *names: object) -> np.random.Generator:
    """Return a generator of random numbers for one task.

    The stream depends on the seed and the names (question, site, ...) only: not on hash seeds, platforms or the order of tasks.
    """
    text = "\x1f".join([str(int(seed)), *(str(name) for name in names)])
    key = hashlib.sha256(text.encode("utf-8")).digest()
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(int.from_bytes(key, "big"))))


@dataclass(frozen=True)
class CrossProducts:
    """Sums of (1, x)(1, x)' within resampling units.

    Attributes
    ----------
    sums : ndarray, shape (units, p + 1, p + 1)
        The count stands at [0, 0], sums of the variables in row 0.
    unit : str
        ``clusters`` or ``rows``.
    """

    sums: np.ndarray
    unit: str


def cross_products(data: ArrayLike, clusters: ArrayLike | None = None, min_clusters: int = MIN_CLUSTERS) -> CrossProducts:
    """Return what a bootstrap of moments needs, by cluster, or by row where there are fewer than ``min_clusters`` clusters.

    Parameters
    ----------
    data : array_like, shape (n, p)
        Complete data.
    clusters : array_like, shape (n,), optional
        Which cluster a row belongs to.
    """
    data = np.asarray(data, dtype=float)
    augmented = np.column_stack([np.ones(data.shape[0]), data])
    products = augmented[:, :, None] * augmented[:, None, :]
    if clusters is not None:
        codes, count = cluster_codes(clusters)
        if count >= min_clusters:
            return CrossProducts(cluster_sums(products, codes, count), "clusters")
    return CrossProducts(products, "rows")


def multinomial_weights(random: np.random.Generator, units: int, draws: int) -> np.ndarray:
    """Return how often each unit stands in each resample, shape (draws, units)."""
    return random.multinomial(units, np.full(units, 1 / units), size=draws).astype(float)


def covariances(products: CrossProducts, weights: np.ndarray) -> np.ndarray:
    """Return covariance matrices (divisor n of the resample) for rows of weights, shape (draws, units) to (draws, p, p)."""
    size = products.sums.shape[1]
    return _covariances((weights @ products.sums.reshape(len(products.sums), -1)).reshape(-1, size, size))


def left_out_covariances(products: CrossProducts) -> np.ndarray:
    """Return covariance matrices (divisor n of what is left) without each unit in turn, shape (units, p, p)."""
    return _covariances(products.sums.sum(axis=0) - products.sums)


def _covariances(total: np.ndarray) -> np.ndarray:
    n = total[:, 0, 0][:, None, None]
    mean = total[:, 0, 1:] / n[:, :, 0]
    return total[:, 1:, 1:] / n - mean[:, :, None] * mean[:, None, :]


def bootstrap(products: CrossProducts, function: Callable[[np.ndarray], np.ndarray], draws: int, random: np.random.Generator) -> np.ndarray:
    """Return draws of a function of the covariance matrix.

    Parameters
    ----------
    products : CrossProducts
        From :func:`cross_products`; best of z-scored data.
    function : callable
        Takes a stack of covariance matrices, shape (b, p, p), and returns shape (b, m); NaN where it has no value.
    draws : int
        Number of resamples.
    random : numpy.random.Generator
        From :func:`generator`.

    Returns
    -------
    ndarray, shape (draws, m)
    """
    units = len(products.sums)
    return function(covariances(products, multinomial_weights(random, units, draws)))


def percentile_interval(draws: np.ndarray, level: float = 0.95, units: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the percentile interval of draws, by linear interpolation (type 7 of R); NaN draws are left out.

    Parameters
    ----------
    draws : ndarray, shape (draws, m)
        Bootstrap draws.
    level : float
        Confidence level.
    units : int, optional
        Number of resampling units: the interval is expanded for it (Hesterberg, 2015), since resampling G units shows (G - 1) / G of the
        variance and a normal in place of t(G - 1).
    """
    tail = (1 - level) / 2
    if units is not None:
        from scipy.special import ndtr

        tail = float(ndtr(-np.sqrt(units / (units - 1)) * critical_value(level, units - 1)))
    low, high = np.nanquantile(draws, [tail, 1 - tail], axis=0)
    return low, high


def bca_interval(draws: np.ndarray, estimate: np.ndarray, leave_one_out: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the bias-corrected and accelerated interval (Efron, 1987).

    Parameters
    ----------
    draws : ndarray, shape (draws, m)
        Bootstrap draws; NaN draws are left out.
    estimate : ndarray, shape (m,)
        Estimates in the sample.
    leave_one_out : ndarray, shape (units, m)
        Estimates without each resampling unit in turn.
    level : float
        Confidence level.

    Returns
    -------
    low, high : ndarray, shape (m,)
        NaN where all draws lie on one side of the estimate.
    """
    from scipy.special import ndtr, ndtri

    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    intervals = np.full((2, draws.shape[1]), np.nan)
    for column in range(draws.shape[1]):
        values = draws[np.isfinite(draws[:, column]), column]
        if not values.size:
            continue
        below = np.mean(values < estimate[column]) + np.mean(values == estimate[column]) / 2
        if not 0 < below < 1:
            continue
        deviation = np.nanmean(leave_one_out[:, column]) - leave_one_out[:, column]
        spread = np.nansum(deviation**2) ** 1.5
        acceleration = np.nansum(deviation**3) / (6 * spread) if spread > 0 else 0.0
        shifted = ndtri(below) + ndtri(tails)
        intervals[:, column] = np.quantile(values, ndtr(ndtri(below) + shifted / (1 - acceleration * shifted)))
    return intervals[0], intervals[1]
