"""Stability of scores over sessions: how far clients keep their order, and whether one rater's scores are more stable than another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.covariance import correlation_matrix
from alliance.statistics.distributions import critical_value
from alliance.statistics.jackknife import Jackknifed, covariance_of_sums, cross_products, jackknife

MIN_CLIENTS = 10
Pairs = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Stability:
    """Mean correlation of scores of the same clients at two sessions. Numbers are NaN where ``reason`` says why.

    Attributes
    ----------
    estimate : float
        Mean over pairs of sessions of the correlation over clients, weighted by the pairs' clients.
    std_error_z, ci_low, ci_high : float
        Standard error of its Fisher z, and the interval made from it.
    n_pairs : int
        Pairs of sessions with enough clients.
    n_clients, n_clusters : int
        Clients in any of these pairs, and therapists among them (0 where not known).
    method : str
        ``cluster_jackknife``, ``client_jackknife`` or ``none``.
    status, reason : str
        ``estimated``, ``flagged`` or ``not_estimable``, and why.
    """

    estimate: float
    std_error_z: float
    ci_low: float
    ci_high: float
    n_pairs: int
    n_clients: int
    n_clusters: int
    method: str
    status: str
    reason: str


@dataclass(frozen=True)
class StabilityContrast:
    """Difference of the stabilities of two raters' scores on the same clients and sessions. NaN where ``reason`` says why.

    Attributes
    ----------
    first, second : float
        The two stabilities, on what both raters rated.
    difference, std_error, ci_low, ci_high, p_value : float
        First minus second, with the error of leaving out therapists, and the two-sided p value of no difference.
    n_pairs, n_clients, n_clusters, method, status, reason
        As in :class:`Stability`.
    """

    first: float
    second: float
    difference: float
    std_error: float
    ci_low: float
    ci_high: float
    p_value: float
    n_pairs: int
    n_clients: int
    n_clusters: int
    method: str
    status: str
    reason: str


def lagged(n_sessions: int, lag: int = 1) -> list[tuple[int, int]]:
    """Return all pairs of sessions (counted from 0) that lie ``lag`` apart."""
    return [(one, one + lag) for one in range(n_sessions - lag)]


def stability(
    scores: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    pairs: Pairs | None = None,
    level: float = 0.95,
    min_clients: int = MIN_CLIENTS,
    min_clusters: int = MIN_CLUSTERS,
) -> Stability:
    """Return how far clients keep their order from one session to another.

    The error leaves out each therapist in turn (each client, with few therapists) on the scale of Fisher z, so that clients of one
    therapist, and pairs of sessions that share clients, may depend on each other.

    Parameters
    ----------
    scores : array_like, shape (clients, sessions)
        Scores by session in order; NaN where there is none.
    clusters : array_like, shape (clients,), optional
        Therapist of each client.
    pairs : sequence of pairs of int, optional
        Columns that are correlated; default each session with the next (:func:`lagged`).
    level : float
        Confidence level.
    min_clients : int
        A pair with fewer clients is left out.
    min_clusters : int
        Fewer therapists: clients are taken as independent.
    """
    found = _jackknifed([np.asarray(scores, dtype=float)], clusters, pairs, min_clients, min_clusters)
    if found.reason:
        empty = (np.nan,) * 4
        return Stability(*empty, found.n_pairs, found.rows.n, found.rows.n_clusters, "none", "not_estimable", found.reason)
    z, error = float(found.rows.estimate[0]), float(found.rows.std_error[0])
    margin = float(critical_value(level, found.rows.df)) * error
    counts = (found.n_pairs, found.rows.n, found.rows.n_clusters, found.rows.method)
    caution = found.rows.caution
    low, high = np.tanh(z - margin), np.tanh(z + margin)
    return Stability(float(np.tanh(z)), error, float(low), float(high), *counts, "flagged" if caution else "estimated", caution)


def stability_contrast(
    first: ArrayLike,
    second: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    pairs: Pairs | None = None,
    level: float = 0.95,
    min_clients: int = MIN_CLIENTS,
    min_clusters: int = MIN_CLUSTERS,
) -> StabilityContrast:
    """Return the difference of the stabilities of two raters' scores, on the clients and sessions that both rated.

    Parameters
    ----------
    first, second : array_like, shape (clients, sessions)
        Scores by the two raters; the same clients and sessions.
    clusters, pairs, level, min_clients, min_clusters
        As for :func:`stability`.

    Raises
    ------
    ValueError
        Arrays of different shapes.
    """
    arrays = [np.asarray(one, dtype=float) for one in (first, second)]
    if arrays[0].shape != arrays[1].shape:
        raise ValueError("both raters need the same clients and sessions")
    found = _jackknifed(arrays, clusters, pairs, min_clients, min_clusters)
    rows = found.rows
    if found.reason:
        empty = (np.nan,) * 7
        return StabilityContrast(*empty, found.n_pairs, rows.n, rows.n_clusters, "none", "not_estimable", found.reason)
    low, high = rows.interval(level)
    return StabilityContrast(
        *(float(value) for value in rows.estimate),
        float(rows.std_error[2]),
        float(low[2]),
        float(high[2]),
        float(rows.p_value()[2]),
        found.n_pairs,
        rows.n,
        rows.n_clusters,
        rows.method,
        "flagged" if rows.caution else "estimated",
        rows.caution,
    )


def stability_contrasts(
    scores: Mapping[str, ArrayLike], clusters: ArrayLike | None = None, **options: object
) -> dict[tuple[str, str], StabilityContrast]:
    """Return :func:`stability_contrast` of every two raters, each on what these two rated, in the order of the raters."""
    names = list(scores)
    return {
        (one, other): stability_contrast(scores[one], scores[other], clusters, **options)
        for at, one in enumerate(names)
        for other in names[at + 1 :]
    }


@dataclass(frozen=True)
class _Found:
    rows: Jackknifed
    n_pairs: int
    reason: str


def _jackknifed(scores: list[np.ndarray], clusters: ArrayLike | None, pairs: Pairs | None, min_clients: int, min_clusters: int) -> _Found:
    """Return Fisher z of one rater's stability, or both stabilities and their difference."""
    pairs = lagged(scores[0].shape[1]) if pairs is None else list(pairs)
    present = np.isfinite(np.array(scores)).all(axis=0)
    both = np.array([present[:, one] & present[:, other] for one, other in pairs], dtype=bool).reshape(len(pairs), len(scores[0]))
    enough = both.sum(axis=1) >= min_clients
    most = int(both.sum(axis=1).max(initial=0))
    chosen, both = [pair for pair, used in zip(pairs, enough, strict=True) if used], both[enough]
    anywhere = both.any(axis=0)
    therapists = None if clusters is None else np.asarray(clusters)[anywhere]
    products = np.empty((int(anywhere.sum()), len(scores), len(chosen), 3, 3))
    for rater, values in enumerate(scores):
        for at, pair in enumerate(chosen):
            two = values[:, pair]
            # Only differences between clients matter, and moments lose digits far from zero.
            mean, spread = two[both[at]].mean(axis=0), two[both[at]].std(axis=0)
            scaled = np.where(both[at][:, None], (two - mean) / np.where(spread > 0, spread, 1.0), 0.0)
            products[:, rater, at] = (cross_products(scaled) * both[at][:, None, None])[anywhere]

    def function(sums: np.ndarray) -> np.ndarray:
        covariance = covariance_of_sums(sums)
        varies = (np.diagonal(covariance, axis1=-2, axis2=-1) > 1e-12).all(axis=-1)
        r = correlation_matrix(np.where(varies[..., None, None], covariance, np.nan))[..., 0, 1]
        n = sums[..., 0, 0]
        mean = (r * n).sum(axis=-1) / n.sum(axis=-1)
        if len(scores) == 1:
            return np.arctanh(np.where(np.abs(mean) < 1, mean, np.nan))
        return np.column_stack([mean, mean[:, 0] - mean[:, 1]])

    size = 1 if len(scores) == 1 else 3
    rows = jackknife(products, function, size, therapists, min_clusters=min_clusters)
    if not chosen:
        return _Found(rows, 0, f"needs two sessions with scores of the same {min_clients} clients; has {most} at most")
    return _Found(rows, len(chosen), rows.reason)
