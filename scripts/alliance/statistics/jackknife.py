"""Delete-one-cluster jackknife of any function of sums over clients: differences of dependent correlations, interactions, shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.covariance import cluster_codes, cluster_sums
from alliance.statistics.distributions import critical_value, two_sided_p


@dataclass(frozen=True)
class Jackknifed:
    """Estimates with the covariance that leaving out one cluster in turn gives.

    Attributes
    ----------
    estimate : ndarray, shape (m,)
        NaN where ``reason`` is not empty.
    vcov : ndarray, shape (m, m)
        Covariance of the estimates.
    df : float
        Clusters - 1; infinite where clients are taken as independent.
    n, n_clusters : int
        Clients, and clusters among them (0 where not known).
    method : str
        ``cluster_jackknife`` or ``client_jackknife``.
    reason : str
        Why there are no estimates.
    caution : str
        Why clients are taken as independent, where clusters were given.
    """

    estimate: np.ndarray
    vcov: np.ndarray
    df: float
    n: int
    n_clusters: int
    method: str
    reason: str
    caution: str

    @property
    def std_error(self) -> np.ndarray:
        """Standard errors, shape (m,)."""
        return np.sqrt(np.diagonal(self.vcov))

    def interval(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the limits of the confidence intervals, by t with ``df``."""
        margin = critical_value(level, self.df) * self.std_error
        return self.estimate - margin, self.estimate + margin

    def p_value(self) -> np.ndarray:
        """Return two-sided p values of zero."""
        return two_sided_p(self.estimate / self.std_error, self.df)


def cross_products(data: ArrayLike) -> np.ndarray:
    """Return (1, x)(1, x)' of every row, shape (n, p) to (n, p + 1, p + 1): what sums to moments."""
    data = np.asarray(data, dtype=float)
    augmented = np.column_stack([np.ones(len(data)), data])
    return augmented[:, :, None] * augmented[:, None, :]


def covariance_of_sums(sums: np.ndarray) -> np.ndarray:
    """Return covariance matrices (divisor n) of sums of :func:`cross_products`, shape (..., p + 1, p + 1) to (..., p, p)."""
    n = sums[..., :1, :1]
    mean = sums[..., 1:, :1] / n
    return sums[..., 1:, 1:] / n - mean @ np.swapaxes(mean, -1, -2)


def jackknife(
    rows: np.ndarray,
    function: Callable[[np.ndarray], np.ndarray],
    size: int,
    clusters: ArrayLike | None = None,
    *,
    min_clusters: int = MIN_CLUSTERS,
    min_rows: int = 4,
) -> Jackknifed:
    """Return a function of the sum of rows, and its covariance by leaving out each cluster in turn.

    ``(G - 1) / G`` times the cross-products of the G values around their mean, with t(G - 1) (delete-one-group jackknife; Bell &
    McCaffrey, 2002). With fewer than ``min_clusters`` clusters, or where there is no value without one of them, each client is
    left out in turn instead, with a caution.

    Parameters
    ----------
    rows : ndarray, shape (n, ...)
        What each client adds to the sums, for example from :func:`cross_products`.
    function : callable
        Takes a stack of sums, shape (b, ...), and returns shape (b, m); NaN where there is no value. A singular matrix counts as none.
    size : int
        Number m of values.
    clusters : array_like, shape (n,), optional
        Therapist of each client.
    min_clusters, min_rows : int
        Fewer clusters: clients are taken as independent. Fewer clients: no estimate.
    """
    n = len(rows)
    codes, count = (np.zeros(n, dtype=int), 0) if clusters is None or not n else cluster_codes(clusters)
    if n < min_rows:
        return _absent(size, n, count, f"needs at least {min_rows} clients with all scores; has {n}")
    total = rows.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = _values(function, total[None], size)[0]
        if not np.isfinite(estimate).all():
            return _absent(size, n, count, "one of the scores is constant or determined by the others")
        if count >= min_clusters:
            without = _values(function, total - cluster_sums(rows, codes, count), size)
            if np.isfinite(without).all():
                return Jackknifed(estimate, _spread(without), count - 1.0, n, count, "cluster_jackknife", "", "")
        without = _values(function, total - rows, size)
    if not np.isfinite(without).all():
        return _absent(size, n, count, "without one of the clients there is no estimate")
    caution = ""
    if clusters is not None:
        few = (
            f"fewer than {min_clusters} therapists ({count})"
            if count < min_clusters
            else "without one of the therapists there is no estimate"
        )
        caution = f"{few}: clients taken as independent"
    return Jackknifed(estimate, _spread(without), np.inf, n, count, "client_jackknife", "", caution)


def _spread(without: np.ndarray) -> np.ndarray:
    groups = len(without)
    deviation = without - without.mean(axis=0)
    return deviation.T @ deviation * ((groups - 1) / groups)


def _values(function: Callable[[np.ndarray], np.ndarray], sums: np.ndarray, size: int) -> np.ndarray:
    try:
        return np.asarray(function(sums), dtype=float)
    except np.linalg.LinAlgError:
        if len(sums) == 1:
            return np.full((1, size), np.nan)
        return np.concatenate([_values(function, one[None], size) for one in sums])


def _absent(size: int, n: int, count: int, reason: str) -> Jackknifed:
    return Jackknifed(np.full(size, np.nan), np.full((size, size), np.nan), np.inf, n, count, "none", reason, "")
