"""Delete-one-cluster jackknife of what is no function of sums over clients, such as means of correlations within clients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.covariance import cluster_codes
from alliance.statistics.jackknife import Jackknifed


def jackknife_subsets(
    function: Callable[[np.ndarray], np.ndarray],
    n: int,
    size: int,
    clusters: ArrayLike | None = None,
    *,
    min_clusters: int = MIN_CLUSTERS,
    min_rows: int = 4,
) -> Jackknifed:
    """Return a function of a set of clients, and its covariance by leaving out each cluster in turn.

    As :func:`alliance.statistics.jackknife.jackknife`, but the function is called once for every cluster, else once for every client.

    Parameters
    ----------
    function : callable
        Takes a mask of clients, shape (n,), and returns shape (m,); NaN where there is no value.
    n : int
        Clients.
    size : int
        Number m of values.
    clusters : array_like, shape (n,), optional
        Therapist of each client.
    min_clusters, min_rows : int
        Fewer clusters: clients are taken as independent. Fewer clients: no estimate.
    """
    codes, count = (np.zeros(n, dtype=int), 0) if clusters is None or not n else cluster_codes(clusters)

    def absent(reason: str) -> Jackknifed:
        return Jackknifed(np.full(size, np.nan), np.full((size, size), np.nan), np.inf, n, count, "none", reason, "")

    if n < min_rows:
        return absent(f"needs at least {min_rows} clients with all scores; has {n}")
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = np.asarray(function(np.ones(n, dtype=bool)), dtype=float)
        if not np.isfinite(estimate).all():
            return absent("one of the scores is constant or determined by the others")
        if count >= min_clusters:
            without = np.array([function(codes != one) for one in range(count)], dtype=float)
            if np.isfinite(without).all():
                return Jackknifed(estimate, _covariance(without), count - 1.0, n, count, "cluster_jackknife", "", "")
        without = np.array([function(np.arange(n) != one) for one in range(n)], dtype=float)
    if not np.isfinite(without).all():
        return absent("without one of the clients there is no estimate")
    caution = ""
    if clusters is not None:
        few = f"fewer than {min_clusters} therapists ({count})"
        caution = f"{few if count < min_clusters else 'without one of the therapists there is no estimate'}: clients taken as independent"
    return Jackknifed(estimate, _covariance(without), np.inf, n, count, "client_jackknife", "", caution)


def _covariance(without: np.ndarray) -> np.ndarray:
    deviation = without - without.mean(axis=0)
    return deviation.T @ deviation * ((len(without) - 1) / len(without))
