"""At which session each client's score is highest, against sessions that could be exchanged."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike


def peak_weights(scores: ArrayLike) -> np.ndarray:
    """Return 1 at each client's highest session, shared equally where several are highest.

    Parameters
    ----------
    scores : array_like, shape (n, sessions)
        Complete rows.

    Returns
    -------
    ndarray, shape (n, sessions)
        Rows add up to 1.
    """
    scores = np.asarray(scores, dtype=float)
    highest = np.isclose(scores, scores.max(axis=1, keepdims=True), rtol=0, atol=1e-9)
    return highest / highest.sum(axis=1, keepdims=True)


def tied(weights: np.ndarray) -> np.ndarray:
    """Return how many clients have 1, 2, ... highest sessions, shape (sessions,), from :func:`peak_weights`."""
    size = weights.shape[1]
    return np.bincount((weights > 0).sum(axis=1), minlength=size + 1)[1 : size + 1]


def exchangeable_counts(ties: ArrayLike, draws: int, random: np.random.Generator) -> np.ndarray:
    """Return numbers of peaks by session after each client's sessions are permuted at random.

    Permuting the sessions of a client puts the m highest ones at any m sessions alike, independently of other clients; so that counts are
    drawn at once from multinomial distributions over the sets of m sessions.

    Parameters
    ----------
    ties : array_like of int, shape (sessions,)
        From :func:`tied`; those of several sites may be added.
    draws : int
    random : numpy.random.Generator

    Returns
    -------
    ndarray, shape (draws, sessions)
    """
    ties = np.asarray(ties, dtype=int)
    size = len(ties)
    counts = np.zeros((draws, size))
    for number, clients in enumerate(ties, start=1):
        if not clients:
            continue
        sets = np.array([np.isin(range(size), one) / number for one in combinations(range(size), number)])
        counts += random.multinomial(int(clients), np.full(len(sets), 1 / len(sets)), size=draws) @ sets
    return counts


def exchangeability(counts: ArrayLike, ties: ArrayLike, draws: int, random: np.random.Generator) -> tuple[float, np.ndarray]:
    """Return p values of permutation tests that every session is alike the peak: over all sessions, and of each session.

    Over all sessions the sum of squared deviations from equal numbers is compared; of each session the absolute deviation. The observed
    arrangement counts as one of the permutations.

    Parameters
    ----------
    counts : array_like, shape (sessions,)
        Sums of :func:`peak_weights`.
    ties, draws, random
        As in :func:`exchangeable_counts`.
    """
    counts = np.asarray(counts, dtype=float)
    drawn = exchangeable_counts(ties, draws, random)
    expected = counts.sum() / len(counts)
    far, of_draws = np.abs(counts - expected), np.abs(drawn - expected)
    whole = 1 + int(((of_draws**2).sum(axis=1) >= (far**2).sum() - 1e-9).sum())
    each = 1 + (of_draws >= far - 1e-9).sum(axis=0)
    return whole / (draws + 1), each / (draws + 1)
