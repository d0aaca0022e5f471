"""Reliability of the terms of a polynomial regression: two ratings, their squares and their product."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.jackknife import Jackknifed, jackknife

TERMS = ("x", "y", "xx", "xy", "yy")


def product_reliability(
    rel_x: ArrayLike, rel_y: ArrayLike, correlation: ArrayLike, mean_x: ArrayLike = 0.0, mean_y: ArrayLike = 0.0
) -> np.ndarray:
    """Return the reliability of the product of two normal variables (Bohrnstedt & Marwell, 1978).

    ``(a² Ry + b² Rx + 2 a b r + r² + Rx Ry) / (a² + b² + 2 a b r + r² + 1)``, a and b the means in SD; errors of the two are independent of
    each other.

    Parameters
    ----------
    rel_x, rel_y : array_like
        Reliabilities.
    correlation : array_like
        Observed correlation of the two.
    mean_x, mean_y : array_like
        Means in standard deviations of each. The reliability of a product depends on where zero is.
    """
    rx, ry, r, a, b = np.broadcast_arrays(*(np.asarray(one, dtype=float) for one in (rel_x, rel_y, correlation, mean_x, mean_y)))
    shared = 2 * a * b * r + r**2
    return (a**2 * ry + b**2 * rx + shared + rx * ry) / (a**2 + b**2 + shared + 1)


def square_reliability(reliability: ArrayLike, mean: ArrayLike = 0.0) -> np.ndarray:
    """Return the reliability of the square of a normal variable: ``(2 a² R + R²) / (2 a² + 1)``, a the mean in SD.

    Not that of a product of two variables with ``r = 1``: both factors have the same error here.
    """
    rx, a = np.broadcast_arrays(np.asarray(reliability, dtype=float), np.asarray(mean, dtype=float))
    return (2 * a**2 * rx + rx**2) / (2 * a**2 + 1)


def term_reliability(
    first: ArrayLike,
    second: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    therapist: ArrayLike | None = None,
    client: ArrayLike | None = None,
    *,
    min_clusters: int = MIN_CLUSTERS,
    min_rows: int = 4,
) -> Jackknifed:
    """Return the reliabilities of the terms of a polynomial of two ratings, named :data:`TERMS`.

    Of the ratings themselves Cronbach's alpha of their items, of squares and product what alpha, the means and the correlation imply where
    ratings are normal.

    Parameters
    ----------
    first, second : array_like, shape (n, items)
        Answers to the items behind each rating, complete, turned alike.
    x, y : array_like, shape (n,)
        The ratings as they enter the regression, measured from its constant.
    therapist : array_like, shape (n,), optional
    client : array_like, shape (n,), optional
        Given: rows are sessions, and all is about deviations from the client's means. Clients with one session say nothing.
    min_clusters, min_rows
        As in :func:`alliance.statistics.jackknife.jackknife`.
    """
    from alliance.statistics.covariance import cluster_codes, cluster_sums

    a, b = (np.asarray(one, dtype=float) for one in (first, second))
    data = np.column_stack([a, b, np.asarray(x, dtype=float), np.asarray(y, dtype=float)])
    k, m = a.shape[1], b.shape[1]
    therapist = None if therapist is None else np.asarray(therapist)
    if client is not None:
        codes, count = cluster_codes(client)
        size = np.bincount(codes, minlength=count)[:, None]
        data = data - (cluster_sums(data, codes, count) / np.maximum(size, 1))[codes]
        # Deviations have no mean of their own; a client's sessions stand together.
        n = np.where(size[:, 0] > 1, size[:, 0], 0.0)
        rows = np.zeros((count, data.shape[1] + 1, data.shape[1] + 1))
        rows[:, 0, 0] = n
        for place in range(data.shape[1]):
            rows[:, 1 + place, 1:] = cluster_sums(data[:, place : place + 1] * data, codes, count)
        several = n > 0
        first_row = np.zeros(count, dtype=int)
        first_row[codes[::-1]] = np.arange(len(codes))[::-1]
        rows = rows[several]
        therapist = None if therapist is None else therapist[first_row][several]
    else:
        augmented = np.column_stack([np.ones(len(data)), data])
        rows = augmented[:, :, None] * augmented[:, None, :]

    def values(sums: np.ndarray) -> np.ndarray:
        n = sums[..., :1, :1]
        mean = sums[..., 1:, 0] / n[..., 0]
        covariance = sums[..., 1:, 1:] / n - mean[..., :, None] * mean[..., None, :]
        rel = []
        for place, size in ((0, k), (k, m)):
            own = covariance[..., place : place + size, place : place + size]
            rel.append(size / (size - 1) * (1 - np.trace(own, axis1=-2, axis2=-1) / own.sum(axis=(-2, -1))))
        spread = np.sqrt(np.diagonal(covariance[..., -2:, -2:], axis1=-2, axis2=-1))
        at = mean[..., -2:] / spread
        r = covariance[..., -2, -1] / (spread[..., 0] * spread[..., 1])
        squares = [square_reliability(one, at[..., place]) for place, one in enumerate(rel)]
        return np.stack([rel[0], rel[1], squares[0], product_reliability(rel[0], rel[1], r, at[..., 0], at[..., 1]), squares[1]], axis=-1)

    return jackknife(rows, values, len(TERMS), therapist, min_clusters=min_clusters, min_rows=min_rows)
