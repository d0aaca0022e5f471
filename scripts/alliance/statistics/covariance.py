"""Covariance matrices of complete data, the sampling covariance of their elements, and functions of them.

Elements of a symmetric p x p matrix are taken as its upper triangle row by row, (0,0), (0,1), ..., (1,1), ...; elements of a correlation
matrix likewise without the diagonal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

_NOTHING_LEFT = 1e-12


@dataclass(frozen=True)
class Moments:
    """First and second moments of complete data.

    Attributes
    ----------
    mean : ndarray, shape (p,)
        Means.
    covariance : ndarray, shape (p, p)
        Covariances with divisor n - 1.
    n : int
        Number of rows.
    """

    mean: np.ndarray
    covariance: np.ndarray
    n: int

    @property
    def maximum_likelihood(self) -> np.ndarray:
        """Covariances with divisor n."""
        return self.covariance * ((self.n - 1) / self.n)


def moments(data: ArrayLike) -> Moments:
    """Return the moments of complete data.

    Parameters
    ----------
    data : array_like, shape (n, p)
        Rows are independent or clustered observations; no missing values.

    Raises
    ------
    ValueError
        Missing values, or fewer than two rows.
    """
    data = _complete(data)
    mean = data.mean(axis=0)
    centred = data - mean
    return Moments(mean, centred.T @ centred / (data.shape[0] - 1), data.shape[0])


def elements(matrix: np.ndarray, diagonal: bool = True) -> np.ndarray:
    """Return the distinct elements of symmetric matrices, shape (..., p, p) to (..., p (p + 1) / 2), or without the diagonal."""
    rows, columns = np.triu_indices(matrix.shape[-1], 0 if diagonal else 1)
    return matrix[..., rows, columns]


def matrix_of(values: np.ndarray, p: int, diagonal: bool = True) -> np.ndarray:
    """Return symmetric matrices from their distinct elements; without ``diagonal`` the diagonal is one."""
    values = np.asarray(values)
    matrix = np.zeros((*values.shape[:-1], p, p), dtype=values.dtype)
    rows, columns = np.triu_indices(p, 0 if diagonal else 1)
    matrix[..., rows, columns] = values
    matrix[..., columns, rows] = values
    if not diagonal:
        matrix[..., np.arange(p), np.arange(p)] = 1
    return matrix


def cluster_codes(clusters: ArrayLike) -> tuple[np.ndarray, int]:
    """Return clusters as codes 0.., in the order of first appearance, and their number."""
    import pandas as pd

    codes, names = pd.factorize(np.asarray(clusters), use_na_sentinel=True)
    if (codes < 0).any():
        raise ValueError("every row needs a cluster")
    return codes, len(names)


def cluster_sums(values: np.ndarray, codes: np.ndarray, count: int) -> np.ndarray:
    """Return sums of rows within clusters, shape (n, ...) to (count, ...)."""
    sums = np.zeros((count, *values.shape[1:]), dtype=values.dtype)
    if len(codes):
        order = np.argsort(codes, kind="stable")
        sorted_codes = codes[order]
        starts = np.flatnonzero(np.r_[True, sorted_codes[1:] != sorted_codes[:-1]])
        sums[sorted_codes[starts]] = np.add.reduceat(values[order], starts, axis=0)
    return sums


def influence(data: ArrayLike) -> np.ndarray:
    """Return each row's influence on the elements of the covariance matrix (divisor n), shape (n, p (p + 1) / 2); columns sum to zero."""
    data = _complete(data)
    centred = data - data.mean(axis=0)
    rows, columns = np.triu_indices(data.shape[1])
    products = centred[:, rows] * centred[:, columns]
    return products - products.mean(axis=0)


def sandwich(data: ArrayLike, clusters: ArrayLike | None = None) -> np.ndarray:
    """Return the distribution-free sampling covariance of the elements of the covariance matrix (divisor n - 1).

    Rows of one cluster may depend on each other: the influences are summed within clusters, and the sum of their squares is multiplied by
    G / (G - 1), G the number of clusters (rows, without clusters).

    Parameters
    ----------
    data : array_like, shape (n, p)
        Complete data.
    clusters : array_like, shape (n,), optional
        Which cluster a row belongs to.

    Returns
    -------
    ndarray, shape (p (p + 1) / 2, p (p + 1) / 2)

    Raises
    ------
    ValueError
        Missing values, or fewer than two clusters.
    """
    scores = influence(data)
    n = scores.shape[0]
    if clusters is not None:
        scores = cluster_sums(scores, *cluster_codes(clusters))
    count = scores.shape[0]
    if count < 2:
        raise ValueError("a cluster-robust covariance needs at least two clusters")
    return scores.T @ scores * (count / (count - 1) / (n - 1) ** 2)


def normal_theory(covariance: ArrayLike, n: float) -> np.ndarray:
    """Return the sampling covariance of the elements of a covariance matrix of normal data.

    ``cov(s_ij, s_kl) = (s_ik s_jl + s_il s_jk) / (n - 1)``, the covariance of a Wishart matrix with divisor n - 1.

    Parameters
    ----------
    covariance : array_like, shape (p, p)
        Covariance matrix.
    n : float
        Number of independent observations.
    """
    s = np.asarray(covariance, dtype=float)
    i, j = np.triu_indices(s.shape[0])
    return (s[np.ix_(i, i)] * s[np.ix_(j, j)] + s[np.ix_(i, j)] * s[np.ix_(j, i)]) / (n - 1)


def olkin_finn(correlation: ArrayLike, n: float) -> np.ndarray:
    """Return the sampling covariance of the correlations of normal data (Olkin & Siotani, 1976; Olkin & Finn, 1990), divisor n - 1.

    Parameters
    ----------
    correlation : array_like, shape (p, p)
        Correlation matrix.
    n : float
        Number of independent observations.
    """
    r = np.asarray(correlation, dtype=float)
    first, second = np.triu_indices(r.shape[0], 1)
    i, j = first[:, None], second[:, None]
    k, m = first[None, :], second[None, :]
    squares = r[i, k] ** 2 + r[i, m] ** 2 + r[j, k] ** 2 + r[j, m] ** 2
    triples = r[i, j] * (r[i, k] * r[i, m] + r[j, k] * r[j, m]) + r[k, m] * (r[i, k] * r[j, k] + r[i, m] * r[j, m])
    return (r[i, j] * r[k, m] * squares / 2 + r[i, k] * r[j, m] + r[i, m] * r[j, k] - triples) / (n - 1)


def jacobian(function: Callable[[np.ndarray], np.ndarray], values: ArrayLike, scale: ArrayLike) -> np.ndarray:
    """Return the derivatives of a function by fourth-order central differences.

    Parameters
    ----------
    function : callable
        Takes a stack of points, shape (b, q), and returns a stack of results, shape (b, m).
    values : array_like, shape (q,)
        Point of differentiation.
    scale : array_like, shape (q,)
        Size of each value, positive; steps are 1/1000 of it.

    Returns
    -------
    ndarray, shape (m, q)
    """
    values = np.asarray(values, dtype=float)
    steps = np.diag(1e-3 * np.asarray(scale, dtype=float))
    stack = np.concatenate([values + factor * steps for factor in (1, -1, 2, -2)])
    result = np.asarray(function(stack), dtype=float)
    plus, minus, plus2, minus2 = result.reshape(4, values.size, -1)
    return ((8 * (plus - minus) - (plus2 - minus2)) / (12 * np.diagonal(steps)[:, None])).T


def delta(function: Callable[[np.ndarray], np.ndarray], covariance: ArrayLike, vcov: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return functions of a covariance matrix and their sampling covariance by the delta method.

    Parameters
    ----------
    function : callable
        Takes a stack of matrices, shape (b, p, p), and returns a stack of results, shape (b, m).
    covariance : array_like, shape (p, p)
        Covariance matrix.
    vcov : array_like, shape (p (p + 1) / 2, p (p + 1) / 2)
        Sampling covariance of its elements, from :func:`sandwich` or :func:`normal_theory`.

    Returns
    -------
    values : ndarray, shape (m,)
    vcov : ndarray, shape (m, m)
    """
    covariance = np.asarray(covariance, dtype=float)
    p = covariance.shape[0]
    deviation = np.sqrt(np.diagonal(covariance))
    slopes = jacobian(
        lambda stack: function(matrix_of(stack, p)),
        elements(covariance),
        elements(np.outer(deviation, deviation)),
    )
    return np.asarray(function(covariance[None]), dtype=float)[0], slopes @ np.asarray(vcov, dtype=float) @ slopes.T


def correlations(covariance: np.ndarray) -> np.ndarray:
    """Return the correlations of covariance matrices, shape (..., p, p) to (..., p (p - 1) / 2)."""
    return elements(correlation_matrix(covariance), diagonal=False)


def correlation_matrix(covariance: np.ndarray) -> np.ndarray:
    """Return covariance matrices, shape (..., p, p), as correlation matrices."""
    covariance = np.asarray(covariance)
    deviation = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    return covariance / (deviation[..., :, None] * deviation[..., None, :])


def partial_correlation(covariance: np.ndarray, x: int, y: int, controls: list[int]) -> np.ndarray:
    """Return the correlation of ``x`` and ``y`` given ``controls`` from covariance matrices, shape (..., p, p) to (...).

    NaN where a variable does not vary, or where the controls leave nothing of it or determine each other.
    """
    covariance = np.asarray(covariance)
    pair = [x, y]
    block = covariance[..., np.ix_(pair, pair)[0], np.ix_(pair, pair)[1]]
    spread = np.diagonal(block, axis1=-2, axis2=-1)
    if controls:
        cross = covariance[..., np.array(pair)[:, None], np.array(controls)[None, :]]
        given = _controls(covariance, controls)
        block = block - cross @ np.linalg.solve(given, np.swapaxes(cross, -1, -2))
    left = _left(np.diagonal(block, axis1=-2, axis2=-1), spread)
    return block[..., 0, 1] / np.sqrt(left[..., 0] * left[..., 1])


def part_correlation(covariance: np.ndarray, x: int, y: int, controls: list[int]) -> np.ndarray:
    """Return the correlation of ``x`` with ``y`` given ``controls``, from covariance matrices, shape (..., p, p) to (...).

    With ``y`` an outcome and its intake level as control this is the correlation with the residual gain. NaN as in
    :func:`partial_correlation`.
    """
    covariance = np.asarray(covariance)
    with_x, with_y, spread = covariance[..., x, y], covariance[..., y, y], covariance[..., x, x]
    if controls:
        held = np.array(controls)
        given = _controls(covariance, controls)
        slopes = np.linalg.solve(given, covariance[..., held, y][..., None])[..., 0]
        with_x = with_x - (covariance[..., held, x] * slopes).sum(axis=-1)
        with_y = with_y - (covariance[..., held, y] * slopes).sum(axis=-1)
    return with_x / np.sqrt(_left(spread, spread) * _left(with_y, covariance[..., y, y]))


def _left(variance: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return variances; NaN where no more is left of them than rounding."""
    return np.where(variance > _NOTHING_LEFT * before, variance, np.nan)


def _controls(covariance: np.ndarray, controls: list[int]) -> np.ndarray:
    """Return the covariance matrices of controls; NaN where they determine each other or do not vary."""
    held = np.array(controls)
    given = covariance[..., held[:, None], held[None, :]]
    spread = np.diagonal(given, axis1=-2, axis2=-1)
    usable = (spread > 0).all(axis=-1)
    if len(controls) > 1:
        with np.errstate(divide="ignore", invalid="ignore"):
            correlation = given / np.sqrt(spread[..., :, None] * spread[..., None, :])
        safe = np.where(usable[..., None, None], correlation, np.eye(len(controls)))
        usable &= np.linalg.eigvalsh(safe)[..., 0] > _NOTHING_LEFT
    return np.where(usable[..., None, None], given, np.nan)


def regression(covariance: np.ndarray, outcome: int, predictors: list[int]) -> np.ndarray:
    """Return regression coefficients from covariance matrices, shape (..., p, p) to (..., len(predictors))."""
    covariance = np.asarray(covariance)
    rows = np.array(predictors)
    given = covariance[..., rows[:, None], rows[None, :]]
    return np.linalg.solve(given, covariance[..., rows, outcome][..., None])[..., 0]


def _complete(data: ArrayLike) -> np.ndarray:
    data = np.asarray(data, dtype=float)
    if data.ndim != 2 or data.shape[0] < 2:
        raise ValueError("data need at least two rows and the shape (rows, variables)")
    if not np.isfinite(data).all():
        raise ValueError("data hold missing values; leave out incomplete rows first")
    return data
