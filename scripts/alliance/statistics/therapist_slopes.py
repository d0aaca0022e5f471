"""Slopes of one variable on another within therapists and between them, many pairs at once, each therapist left out in turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.covariance import cluster_codes, cluster_sums

MIN_BETWEEN = 10
PARTS = ("within_therapists", "between_therapists", "contrast")
_NOTHING = 1e-10


@dataclass(frozen=True)
class TherapistSlopes:
    """Standardised slopes of paired columns, by the parts of :data:`PARTS`.

    Attributes
    ----------
    estimate, std_error : ndarray, shape (3, m)
        Slope within therapists, slope between their means, and the second minus the first (contextual effect); NaN where ``reason`` is not
        empty.
    n, n_clusters : ndarray of int, shape (m,)
        Clients with both variables, and their therapists.
    reason : list of list of str, 3 x m
        Why there is no slope.
    """

    estimate: np.ndarray
    std_error: np.ndarray
    n: np.ndarray
    n_clusters: np.ndarray
    reason: list[list[str]]


def therapist_slopes(
    x: ArrayLike, y: ArrayLike, therapists: ArrayLike, *, min_rows: int = 4, min_within: int = MIN_CLUSTERS, min_between: int = MIN_BETWEEN
) -> TherapistSlopes:
    """Return the slopes of each column of ``y`` on the same column of ``x`` within and between therapists.

    ``y`` is regressed on the deviation of ``x`` from its therapist's mean and on that mean (cluster-mean centring; Raudenbush & Bryk,
    2002), by least squares, so that a therapist's mean weighs as many times as there are clients. The slope within therapists is that of a
    mixed model with random intercepts; the slope between rests on observed means, which a few clients each make uncertain. Both are
    multiplied by SD(x) / SD(y) over all clients of the pair. Standard errors are those of the delete-one-therapist jackknife.

    Parameters
    ----------
    x, y : array_like, shape (n, m)
        Variables; a client who lacks one of a pair is left out of that pair.
    therapists : array_like, shape (n,)
        Therapist of each client.
    min_rows : int
        Fewer clients with both variables: no slope.
    min_within, min_between : int
        Fewer therapists: no slope within, between therapists.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    used = np.isfinite(x) & np.isfinite(y)
    x, y = _scored(x, used), _scored(y, used)
    codes, count = cluster_codes(therapists) if len(x) else (np.zeros(0, dtype=int), 0)
    columns = [used.astype(float), x, y, x * x, y * y, x * y]
    sums = np.stack([cluster_sums(values, codes, count) for values in columns])
    size = np.maximum(sums[0], 1.0)
    within = np.stack([sums[3] - sums[1] ** 2 / size, sums[5] - sums[1] * sums[2] / size])
    parts = np.concatenate([sums, within])
    present = sums[0] > 0
    groups, n = present.sum(axis=0), used.sum(axis=0)
    total = parts.sum(axis=1)
    estimate = _slopes(total)
    without = np.where(present, _slopes(total[:, None] - parts), np.nan)
    centre = np.nansum(without, axis=1) / np.maximum(groups, 1)
    squares = np.where(present, (without - centre[:, None]) ** 2, 0.0)
    with np.errstate(invalid="ignore"):
        error = np.sqrt(squares.sum(axis=1) * (groups - 1) / np.maximum(groups, 1))
    reason = [[_reason(part, pair, n, groups, total, min_rows, min_within, min_between) for pair in range(x.shape[1])] for part in range(3)]
    for part in range(3):
        for pair in range(x.shape[1]):
            if not reason[part][pair] and not (np.isfinite(estimate[part, pair]) and error[part, pair] > 0):
                reason[part][pair] = "without one of the therapists there is no estimate"
    absent = np.array([[bool(text) for text in one] for one in reason], dtype=bool).reshape(estimate.shape)
    return TherapistSlopes(np.where(absent, np.nan, estimate), np.where(absent, np.nan, error), n, groups, reason)


def _scored(values: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Return columns as z scores over the used rows, 0 elsewhere, so that sums of squares keep their digits."""
    n = np.maximum(used.sum(axis=0), 1)
    filled = np.where(used, values, 0.0)
    centred = np.where(used, filled - filled.sum(axis=0) / n, 0.0)
    spread = np.sqrt((centred**2).sum(axis=0) / n)
    return centred / np.where(spread > 1e-12 * np.abs(filled).max(axis=0, initial=0.0), spread, np.inf)


def _slopes(parts: np.ndarray) -> np.ndarray:
    """Return the slopes of sums, shape (8, ...) to (3, ...); NaN where a variable does not vary at that level."""
    n, sx, sy, sxx, syy, sxy, wxx, wxy = parts
    with np.errstate(divide="ignore", invalid="ignore"):
        txx, tyy, txy = sxx - sx**2 / n, syy - sy**2 / n, sxy - sx * sy / n
        scale = np.sqrt(txx / tyy)
        bxx = txx - wxx
        within = np.where(wxx > _NOTHING * txx, wxy / wxx, np.nan) * scale
        between = np.where(bxx > _NOTHING * txx, (txy - wxy) / bxx, np.nan) * scale
    return np.stack([within, between, between - within])


def _reason(
    part: int, pair: int, n: np.ndarray, groups: np.ndarray, total: np.ndarray, min_rows: int, min_within: int, min_between: int
) -> str:
    needed = min_within if part == 0 else min_between
    if n[pair] < min_rows:
        return f"needs at least {min_rows} clients with both scores; has {n[pair]}"
    if groups[pair] < needed:
        return f"needs at least {needed} therapists; has {groups[pair]}"
    if total[3, pair] <= 0 or total[4, pair] <= 0:
        return "one of the scores is constant: the same for all clients"
    if part != 1 and total[6, pair] <= _NOTHING * total[3, pair]:
        return "needs therapists with two or more clients who differ"
    return ""
