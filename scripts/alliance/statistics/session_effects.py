"""What happens in one session and what follows in the next, within clients, where the two may act on each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.covariance import cluster_sums
from alliance.statistics.jackknife import Jackknifed, jackknife
from alliance.statistics.normal_equations import solved
from alliance.statistics.two_level import of_clients

ALL, PRIOR = "all", "prior"
SESSIONS = {ALL: 2, PRIOR: 3}
"""Fewest sessions of a client that say something, by what a session is compared with."""


def within_slopes(
    predictors: ArrayLike,
    outcome: ArrayLike,
    clients: ArrayLike,
    therapists: ArrayLike | None = None,
    *,
    held: ArrayLike | None = None,
    contrasts: ArrayLike | None = None,
    centring: str = ALL,
    standardised: bool = True,
    min_clients: int = 10,
    min_clusters: int = MIN_CLUSTERS,
) -> Jackknifed:
    """Return slopes of an outcome on predictors of sessions within clients.

    ``all``: deviations from the mean of all sessions of a client (least squares with an intercept for every client). Where the outcome of
    one session changes predictors of later ones, or an earlier outcome is held, the mean holds what came later, and slopes are biased by
    about one over the number of sessions (Nickell, 1981). ``prior``: outcome and predictors lose the mean of what is still to come (forward
    orthogonal deviations; Arellano & Bover, 1995), and what a session differs by from the client's earlier sessions is the instrument
    (backward orthogonal deviations; Hayakawa, 2009): no later session enters, and slopes are consistent for few sessions; less precise.

    Standardised slopes are in standard deviations within clients (about means of all sessions). Errors leave out each therapist in turn
    (:func:`alliance.statistics.jackknife.jackknife`).

    Parameters
    ----------
    predictors : array_like, shape (n, p)
        One row a session of a client, in the order of sessions; NaN where missing.
    outcome, clients, therapists : array_like, shape (n,)
    held : array_like, shape (n, r), optional
        Variables of sessions held constant.
    contrasts : array_like, shape (m, p), optional
        Weights of further estimates, sums of slopes.
    centring : str
        ``all`` or ``prior``.
    standardised : bool
        False: slopes in the units of the data.
    min_clients : int
        Fewest clients with enough whole sessions (two, or three with ``prior``).
    min_clusters : int
        Fewer therapists: clients are taken as independent.

    Returns
    -------
    Jackknifed
        p slopes, then m contrasts.

    Raises
    ------
    ValueError
        An unknown centring, or a client with several therapists.
    """
    if centring not in SESSIONS:
        raise ValueError(f"centring is {ALL} or {PRIOR}, not {centring}")
    x = np.asarray(predictors, dtype=float)
    n, p = x.shape
    constant = np.empty((n, 0)) if held is None else np.asarray(held, dtype=float).reshape(n, -1)
    weights = np.eye(p) if contrasts is None else np.vstack([np.eye(p), np.asarray(contrasts, dtype=float)])
    rows, client, therapist = whole_sessions(np.column_stack([x, constant, outcome]), clients, therapists, SESSIONS[centring])
    count = int(client[-1]) + 1 if len(client) else 0
    k = rows.shape[1]
    if not count:
        return jackknife(np.zeros((0, 1)), lambda sums: sums, len(weights), None, min_rows=max(min_clients, 1))
    around = rows - client_means(rows, client)[client]
    turned, instruments = (around, around) if centring == ALL else (forward_deviations(rows, client), backward_deviations(rows, client))
    products = cluster_sums(instruments[:, : k - 1, None] * turned[:, None, :], client, count).reshape(count, -1)
    squares = cluster_sums(around**2, client, count)
    sums = np.column_stack([products, squares])

    def slopes(total: np.ndarray) -> np.ndarray:
        matrix = total[:, : (k - 1) * k].reshape(-1, k - 1, k)
        spread = np.sqrt(total[:, (k - 1) * k :])
        found = _instrumented(matrix[..., :-1], matrix[..., -1]) if centring == PRIOR else solved(matrix[..., :-1], matrix[..., -1])
        found = found[:, :p] * (spread[:, :p] / spread[:, -1:] if standardised else 1.0)
        return found @ weights.T

    return jackknife(sums, slopes, len(weights), therapist, min_clusters=min_clusters, min_rows=min_clients)


def between_slopes(
    predictor: ArrayLike,
    outcome: ArrayLike,
    clients: ArrayLike,
    therapists: ArrayLike | None = None,
    *,
    held: ArrayLike | None = None,
    min_clients: int = 10,
    min_clusters: int = MIN_CLUSTERS,
) -> Jackknifed:
    """Return the slope of clients' means of the outcome on their means of a predictor, and how far it exceeds the slope within clients.

    The first is in standard deviations between clients. The second (contextual effect) is the difference of the slopes between and within
    (deviations from means of all sessions, ``held`` constant), both in standard deviations within clients.

    Parameters
    ----------
    predictor, outcome, clients, therapists, held, min_clients, min_clusters
        As in :func:`within_slopes`, one predictor. Clients with one session count between clients.
    """
    x, y = np.asarray(predictor, dtype=float), np.asarray(outcome, dtype=float)
    constant = np.empty((len(x), 0)) if held is None else np.asarray(held, dtype=float).reshape(len(x), -1)
    rows, client, therapist = whole_sessions(np.column_stack([x, constant, y]), clients, therapists, 1)
    count = int(client[-1]) + 1 if len(client) else 0
    if not count:
        return jackknife(np.zeros((0, 1)), lambda sums: sums, 2, None, min_rows=max(min_clients, 1))
    means = client_means(rows, client)
    around = rows - means[client]
    k = rows.shape[1]
    centred = means[:, [0, -1]] - means[:, [0, -1]].mean(axis=0)
    augmented = np.column_stack([np.ones(count), centred])
    sums = np.column_stack(
        [
            (augmented[:, :, None] * augmented[:, None, :]).reshape(count, -1),
            cluster_sums(around[:, :, None] * around[:, None, :], client, count).reshape(count, -1),
        ]
    )

    def slopes(total: np.ndarray) -> np.ndarray:
        between = total[:, :9].reshape(-1, 3, 3)
        within = total[:, 9:].reshape(-1, k, k)
        n = between[:, 0, 0][:, None, None]
        covariance = between[:, 1:, 1:] - between[:, 1:, :1] @ between[:, :1, 1:] / n
        raw = covariance[:, 0, 1] / covariance[:, 0, 0]
        own = solved(within[:, :-1, :-1], within[:, :-1, -1])[:, 0]
        scale = np.sqrt(within[:, 0, 0] / within[:, -1, -1])
        return np.column_stack([raw * np.sqrt(covariance[:, 0, 0] / covariance[:, 1, 1]), (raw - own) * scale])

    return jackknife(sums, slopes, 2, therapist, min_clusters=min_clusters, min_rows=min_clients)


def whole_sessions(
    rows: np.ndarray, clients: ArrayLike, therapists: ArrayLike | None, fewest: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return rows without missing values of clients with at least so many, a code 0.. of their client, and each client's therapist.

    Rows are sorted by client, and stay in their order within clients.
    """
    complete = np.isfinite(rows).all(axis=1)
    labels = np.asarray(clients)[complete]
    if not len(labels):
        return rows[:0], np.zeros(0, dtype=int), None
    codes = np.unique(labels, return_inverse=True)[1]
    enough = np.bincount(codes)[codes] >= fewest
    order = np.argsort(codes[enough], kind="stable")
    kept = np.flatnonzero(complete)[enough][order]
    if not len(kept):
        return rows[:0], np.zeros(0, dtype=int), None
    client = np.unique(codes[enough][order], return_inverse=True)[1]
    therapist = None if therapists is None else of_clients(np.asarray(therapists)[kept], client, int(client.max()) + 1)
    return rows[kept], client, therapist


def client_means(rows: np.ndarray, client: np.ndarray) -> np.ndarray:
    """Return means of every client, shape (clients, columns); ``client`` holds codes 0.. ."""
    size = np.bincount(client)
    return cluster_sums(rows, client, len(size)) / size[:, None]


def forward_deviations(rows: np.ndarray, client: np.ndarray) -> np.ndarray:
    """Return what sessions differ by from the mean of the client's m later ones, times sqrt(m / (m + 1)); of the last: 0."""
    return _deviations(rows[::-1], client[::-1])[::-1]


def backward_deviations(rows: np.ndarray, client: np.ndarray) -> np.ndarray:
    """Return what sessions differ by from the mean of the client's m earlier ones, times sqrt(m / (m + 1)); of the first: 0."""
    return _deviations(rows, client)


def _deviations(rows: np.ndarray, client: np.ndarray) -> np.ndarray:
    n = len(client)
    begins = np.flatnonzero(np.r_[True, client[1:] != client[:-1]])
    length = np.diff(np.r_[begins, n])
    before = (np.arange(n) - np.repeat(begins, length))[:, None].astype(float)
    # Sums about each client's first session lose no digits.
    about = rows - np.repeat(rows[begins], length, axis=0)
    total = np.cumsum(about, axis=0) - about
    total = total - np.repeat(total[begins], length, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = np.sqrt(before / (before + 1)) * (about - total / before)
    return np.where(before > 0, deviation, 0.0)


def _instrumented(given: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """Return solutions of stacks of systems that are not symmetric; NaN where one is as good as singular."""
    size = np.abs(given).max(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = given / size
        column = np.abs(scaled).max(axis=-2, keepdims=True)
        scaled = scaled / column
        sound = np.isfinite(scaled).all(axis=(-2, -1))
        safe = np.where(sound[..., None, None], scaled, np.eye(given.shape[-1]))
        sound &= np.linalg.cond(safe) < 1e8
        safe = np.where(sound[..., None, None], safe, np.eye(given.shape[-1]))
        solution = np.linalg.solve(safe, (cross / size[..., 0])[..., None])[..., 0] / column[..., 0, :]
    return np.where(sound[..., None], solution, np.nan)


def stacked_contrasts(size: int, first: Sequence[int], second: Sequence[int]) -> np.ndarray:
    """Return the weights of the mean of some slopes minus the mean of others, shape (1, size)."""
    weights = np.zeros((1, size))
    weights[0, list(first)] += 1 / len(first)
    weights[0, list(second)] -= 1 / len(second)
    return weights


def pooled_slopes(
    predictors: ArrayLike,
    outcome: ArrayLike,
    clients: ArrayLike,
    therapists: ArrayLike | None = None,
    *,
    held: ArrayLike | None = None,
    contrasts: ArrayLike | None = None,
    min_clients: int = 10,
    min_clusters: int = MIN_CLUSTERS,
) -> Jackknifed:
    """Return slopes by least squares over all sessions with one intercept, in the units of the data; arguments as :func:`within_slopes`."""
    x = np.asarray(predictors, dtype=float)
    n, p = x.shape
    constant = np.empty((n, 0)) if held is None else np.asarray(held, dtype=float).reshape(n, -1)
    weights = np.eye(p) if contrasts is None else np.vstack([np.eye(p), np.asarray(contrasts, dtype=float)])
    rows, client, therapist = whole_sessions(np.column_stack([x, constant, np.ones(n), outcome]), clients, therapists, 1)
    count = int(client[-1]) + 1 if len(client) else 0
    if not count:
        return jackknife(np.zeros((0, 1)), lambda sums: sums, len(weights), None, min_rows=max(min_clients, 1))
    sums = cluster_sums(rows[:, :, None] * rows[:, None, :], client, count)

    def slopes(total: np.ndarray) -> np.ndarray:
        return solved(total[:, :-1, :-1], total[:, :-1, -1])[:, :p] @ weights.T

    return jackknife(sums, slopes, len(weights), therapist, min_clusters=min_clusters, min_rows=min_clients)
