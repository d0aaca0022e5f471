"""Tests of "no effect in any specification" by flipping the signs of whole therapists' scores, the same flips for every specification.

Each client contributes the product of alliance and outcome, both freed of what is held constant, to the score of a specification; without
an effect a therapist's sum is as likely negative as positive, however alike his or her clients are. Flipping signs at random therefore
shows what chance alone does to all specifications at once (Hemerik, Goeman & Finos, 2020; for multiverses Girardi et al., 2024).
Shuffling the alliance over the clients of a site, as specification curves were tested at first (Simonsohn, Simmons & Nelson, 2020),
breaks up what clients of one therapist have in common and rejects too often.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

SMALLEST_UNIT = 5
FEW_UNITS = 40
NORMAL_95 = 1.959963984540054
STEPS = 10_000


def freed(x: np.ndarray, y: np.ndarray, held: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y without what the controls explain of them, in SD, over the rows that have everything; NaN elsewhere.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
    held : ndarray, shape (n, q), or None
    """
    data = np.column_stack([x, y] if held is None else [x, y, held])
    used = np.isfinite(data).all(axis=1)
    design = np.column_stack([np.ones(int(used.sum())), data[used, 2:]])
    pair = data[used, :2]
    left = pair - design @ np.linalg.lstsq(design, pair, rcond=None)[0]
    spread = left.std(axis=0)
    left = left / np.where(spread > 0, spread, 1.0)
    both = np.full((2, len(x)), np.nan)
    both[:, used] = left.T
    return both[0], both[1]


def flip_units(therapists: ArrayLike, smallest: int = SMALLEST_UNIT) -> np.ndarray:
    """Return a code 0.. of the unit whose sign is flipped together, for every client.

    Units are therapists; those with fewer clients than ``smallest`` are joined with the next small ones, so that no number that leaves a
    site rests on fewer. Joined therapists stay independent of all others, so flips of them together are as sound.

    Parameters
    ----------
    therapists : array_like of int, shape (n,)
        Codes in the order of the study's therapist numbers; a client without therapist has a code of his or her own.
    smallest : int
    """
    codes, counts = np.unique(np.asarray(therapists), return_counts=True)
    unit = np.unique(_joined(counts, smallest), return_inverse=True)[1]
    return unit[np.searchsorted(codes, np.asarray(therapists))]


def _joined(counts: np.ndarray, smallest: int) -> np.ndarray:
    """Return for each group the first one of those that it is joined with, so that together they have enough clients."""
    owner = np.arange(len(counts))
    waiting: list[int] = []
    last = None
    for position, count in enumerate(counts):
        if count == 0:
            continue
        if count >= smallest:
            last = position
            continue
        waiting.append(position)
        if counts[waiting].sum() >= smallest:
            owner[waiting] = last = waiting[0]
            waiting = []
    if waiting:
        owner[waiting] = waiting[0] if last is None else owner[last]
    return owner


@dataclass(frozen=True)
class Flipped:
    """Scores of specifications at one site.

    Attributes
    ----------
    observed : ndarray, shape (m,)
        Sums over all clients.
    norm : ndarray, shape (m,)
        Square roots of the sums of squares of the units' sums: the standard deviation of a flipped score.
    draws : ndarray of int, shape (flips, m)
        Flipped scores in ten-thousandths of that standard deviation.
    """

    observed: np.ndarray
    norm: np.ndarray
    draws: np.ndarray


def flipped(scores: ArrayLike, units: ArrayLike, flips: int, random: np.random.Generator, smallest: int = SMALLEST_UNIT) -> Flipped:
    """Return the scores of every specification under the same random signs of the units.

    Parameters
    ----------
    scores : array_like, shape (n, m)
        Contribution of each client to each specification; NaN where not used.
    units : array_like of int, shape (n,)
        Codes 0.. of what is flipped together.
    flips : int
    random : Generator
    smallest : int
        In a specification that uses fewer clients of a unit, the unit has the sign of others, as in :func:`flip_units`.
    """
    values, units = np.asarray(scores, dtype=float), np.asarray(units)
    count = int(units.max()) + 1 if len(units) else 0
    members = np.zeros((count, len(units)))
    members[units, np.arange(len(units))] = 1.0
    sums, used = members @ np.nan_to_num(values), members @ np.isfinite(values)
    small = ((used > 0) & (used < smallest)).any(axis=0)
    patterns, which = np.unique(used[:, small], axis=1, return_inverse=True)
    columns = np.flatnonzero(small)
    for pattern, counts in enumerate(patterns.T):
        own = columns[np.ravel(which) == pattern]
        together = np.zeros((count, len(own)))
        np.add.at(together, _joined(counts, smallest), sums[:, own])
        sums[:, own] = together
    signs = random.integers(0, 2, (flips, count)) * 2.0 - 1.0
    return _steps(sums.sum(axis=0), np.sqrt((sums**2).sum(axis=0)), signs @ sums)


def shuffled(predictors: ArrayLike, outcomes: ArrayLike, shuffles: int, random: np.random.Generator) -> Flipped:
    """Return the scores of every specification with the alliance shuffled over the clients: the historical test, which ignores therapists.

    Parameters
    ----------
    predictors, outcomes : array_like, shape (n, m)
        Freed alliance and outcome of each client; NaN where not used.
    shuffles : int
    random : Generator
        Every specification shuffles in the same order.
    """
    x, y = np.asarray(predictors, dtype=float), np.asarray(outcomes, dtype=float)
    keys = random.random((shuffles, len(x)))
    observed, norm = np.nansum(x * y, axis=0), np.zeros(x.shape[1])
    draws = np.zeros((shuffles, x.shape[1]))
    orders: dict[bytes, np.ndarray] = {}
    for column in range(x.shape[1]):
        used = np.isfinite(x[:, column]) & np.isfinite(y[:, column])
        mask = used.tobytes()
        order = orders[mask] if mask in orders else orders.setdefault(mask, np.argsort(keys[:, used], axis=1))
        draws[:, column] = x[used, column][order] @ y[used, column]
        norm[column] = np.sqrt(max(int(used.sum()), 1))
    return _steps(observed, norm, draws)


def _steps(observed: np.ndarray, norm: np.ndarray, draws: np.ndarray) -> Flipped:
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.nan_to_num(draws / norm) * STEPS
    return Flipped(observed, norm, np.rint(steps).astype(int))


@dataclass(frozen=True)
class JointTest:
    """What chance alone does to all specifications.

    Attributes
    ----------
    p_values : ndarray, shape (m,)
        Of each specification by itself.
    p_adjusted : ndarray, shape (m,)
        Of each, given that the largest of all was looked for (Westfall & Young, 1993).
    p_any : float
        Of "no effect in any specification": by the largest standardised score.
    p_median : float
        By the median standardised score.
    p_share : float
        By the share of specifications that exclude zero in the direction that more of them have.
    """

    p_values: np.ndarray
    p_adjusted: np.ndarray
    p_any: float
    p_median: float
    p_share: float


def joint_test(observed: ArrayLike, draws: ArrayLike, weights: ArrayLike | None = None) -> JointTest:
    """Return the tests of all specifications over one set of flips.

    Parameters
    ----------
    observed : array_like, shape (m,)
        Standardised scores.
    draws : array_like, shape (flips, m)
        The same of every flip.
    weights : array_like of int, shape (m,), optional
        How many specifications share a score.
    """
    z, flips = np.asarray(observed, dtype=float), np.asarray(draws, dtype=float)
    counts = np.ones(len(z), dtype=int) if weights is None else np.asarray(weights, dtype=int)
    # A score and its own flip back must not differ by rounding.
    slack = 1.0 / STEPS

    def p_of(value: np.ndarray | float, null: np.ndarray) -> np.ndarray:
        return (1 + (null >= np.asarray(value)[..., None] - slack).sum(axis=-1)) / (null.shape[-1] + 1)

    largest = np.abs(flips).max(axis=1)
    order = np.argsort(z, kind="stable")
    every, all_flips = np.repeat(z[order], counts[order]), np.repeat(flips, counts, axis=1)
    median, null_median = np.median(every), np.median(all_flips, axis=1)
    share, null_share = dominant_share(every[None, :])[0], dominant_share(all_flips)
    return JointTest(
        p_values=p_of(np.abs(z), np.abs(flips).T),
        p_adjusted=p_of(np.abs(z), np.broadcast_to(largest, (len(z), len(largest)))),
        p_any=float(p_of(np.abs(z).max(), largest)),
        p_median=float(p_of(abs(median), np.abs(null_median))),
        p_share=float((1 + (null_share >= share).sum()) / (len(null_share) + 1)),
    )


def dominant_share(z: np.ndarray) -> np.ndarray:
    """Return the larger of the shares of standardised scores above and below the limits of a 95 % interval around zero."""
    return np.maximum((z > NORMAL_95).mean(axis=1), (z < -NORMAL_95).mean(axis=1))
