"""Whether two variables of sessions depend on each other in what they have to do with a third, within clients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.covariance import cluster_codes
from alliance.statistics.jackknife import Jackknifed, jackknife
from alliance.statistics.two_level import of_clients, sorted_codes

# With two sessions of a client the product of deviations is the same in both.
SESSIONS = 3
EFFECTS = ("first", "second", "interaction", "cross_level", "first_low", "first_high")


@dataclass(frozen=True)
class WithinInteraction:
    """Standardised slopes within clients.

    Attributes
    ----------
    found : Jackknifed
        Estimates in the order of :data:`EFFECTS` with their covariance: slopes of the ``first`` and the ``second`` variable, their
        ``interaction``, that of the first with clients' means of the second (``cross_level``), and the slope of the first where the
        second lies a standard deviation below and above the client's own mean.
    coefficients : ndarray, shape (4,)
        The first four in the units of the data; NaN where not estimable.
    n_sessions : int
        Sessions behind them.
    """

    found: Jackknifed
    coefficients: np.ndarray
    n_sessions: int


def within_interaction(
    first: ArrayLike,
    second: ArrayLike,
    outcome: ArrayLike,
    clients: ArrayLike,
    therapists: ArrayLike | None = None,
    *,
    held: ArrayLike | None = None,
    min_clients: int = 10,
    min_clusters: int = MIN_CLUSTERS,
) -> WithinInteraction:
    """Return the interaction of two variables of sessions within clients, and that of the first with clients' means of the second.

    All variables are deviations from the client's means; the product of two deviations is made a deviation in its turn (double demeaning;
    Giesselmann & Schmidt-Catran, 2022), so that no difference between clients enters it. The slopes are those of a mixed model with an
    intercept for every client: with such predictors its variances do not matter. Standardised: sessions' variables in standard deviations
    within clients, clients' means in standard deviations between clients. Errors leave out each therapist in turn
    (:func:`alliance.statistics.jackknife.jackknife`).

    Parameters
    ----------
    first, second, outcome : array_like, shape (n,)
        One row a session of a client; NaN where missing.
    clients, therapists : array_like, shape (n,)
        Client and therapist of each row.
    held : array_like, shape (n, r), optional
        Variables of sessions held constant.
    min_clients : int
        Fewest clients with at least three whole sessions; others are left out.
    min_clusters : int
        Fewer therapists: clients are taken as independent.

    Raises
    ------
    ValueError
        A client with several therapists.
    """
    constant = np.empty((len(np.asarray(first)), 0)) if held is None else np.asarray(held, dtype=float)
    rows = np.column_stack([first, second, constant, outcome]).astype(float)
    complete = np.isfinite(rows).all(axis=1)
    labels = np.asarray(clients)[complete]
    codes, count = cluster_codes(labels) if len(labels) else (np.zeros(0, dtype=int), 0)
    enough = np.bincount(codes, minlength=count)[codes] >= SESSIONS
    rows, labels = rows[complete][enough], labels[enough]
    client, count = sorted_codes(labels) if len(labels) else (np.zeros(0, dtype=int), 0)
    therapist = None
    if therapists is not None and count:
        therapist = of_clients(np.asarray(therapists)[complete][enough], client, count)
    products = _products(rows, client, count) if count else np.zeros((0, 1, 1))
    found = jackknife(products, _standardised, len(EFFECTS), therapist, min_clusters=min_clusters, min_rows=min_clients)
    known = not found.reason
    coefficients = (
        _slopes(products.sum(axis=0)[None])[0, :4] / (1, 1, 1, _spread_between(rows, client, count)) if known else np.full(4, np.nan)
    )
    return WithinInteraction(found, coefficients, len(rows))


def _spread_between(rows: np.ndarray, client: np.ndarray, count: int) -> float:
    return float(_means(rows[:, 1:2], client, count).std(ddof=1))


def _means(rows: np.ndarray, client: np.ndarray, count: int) -> np.ndarray:
    size = np.bincount(client, minlength=count)
    return np.column_stack([np.bincount(client, column, minlength=count) for column in rows.T]) / size[:, None]


def _products(rows: np.ndarray, client: np.ndarray, count: int) -> np.ndarray:
    """Return of every client the cross-products of first, second, both interactions, held ones and outcome, and the degrees of freedom."""
    means = _means(rows, client, count)
    around = rows - means[client]
    level, spread = means[:, 1], _spread_between(rows, client, count)
    level = (level - level.mean()) / spread if spread > 0 else np.zeros(count)
    product = around[:, 0] * around[:, 1]
    product = product - _means(product[:, None], client, count)[client, 0]
    every = np.column_stack([around[:, :2], product, around[:, 0] * level[client], around[:, 2:]])
    k = every.shape[1]
    sums = np.zeros((count, k + 1, k + 1))
    np.add.at(sums[:, :k, :k], client, every[:, :, None] * every[:, None, :])
    sums[:, k, k] = np.bincount(client, minlength=count) - 1.0
    return sums


def _slopes(sums: np.ndarray) -> np.ndarray:
    """Return the slopes of the outcome on all others, shape (b, k); NaN where one is determined by the others."""
    inside, cross = sums[:, :-2, :-2], sums[:, :-2, -2]
    size = np.sqrt(np.diagonal(inside, axis1=1, axis2=2))
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = inside / (size[:, :, None] * size[:, None, :])
        usable = np.isfinite(scaled).all(axis=(1, 2))
        usable[usable] = np.linalg.eigvalsh(scaled[usable])[:, 0] > 1e-10
        slopes = np.full(cross.shape, np.nan)
        slopes[usable] = np.linalg.solve(scaled[usable], (cross / size)[usable][:, :, None])[:, :, 0] / size[usable]
    return slopes


def _standardised(sums: np.ndarray) -> np.ndarray:
    """Return :data:`EFFECTS` of sums, shape (b, 6)."""
    slopes = _slopes(sums)
    spread = np.sqrt(np.diagonal(sums, axis1=1, axis2=2)[:, [0, 1, -2]] / sums[:, -1, -1][:, None])
    of_first, of_second, of_outcome = spread.T
    first, interaction = slopes[:, 0] * of_first / of_outcome, slopes[:, 2] * of_first * of_second / of_outcome
    second, cross_level = slopes[:, 1] * of_second / of_outcome, slopes[:, 3] * of_first / of_outcome
    return np.column_stack([first, second, interaction, cross_level, first - interaction, first + interaction])
