"""Overlap of measures: correlations corrected for unreliability, HTMT, Williams' test, and jackknives over pairs of measures.

Measures of one sample have gaps in different places, so that every pair rests on clients of its own. What is left out in turn are
therefore units of the whole sample (therapists, or clients): a statistic of several pairs, or of correlations and reliabilities, is
computed again without each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.correlation import DETERMINED
from alliance.statistics.covariance import cluster_sums, elements, matrix_of, olkin_finn
from alliance.statistics.distributions import two_sided_p
from alliance.statistics.jackknife import covariance_of_sums, cross_products
from alliance.statistics.one_factor import one_factor

_CONSTANT = 1e-10


@dataclass(frozen=True)
class Units:
    """What is left out in turn.

    Attributes
    ----------
    codes : ndarray of int, shape (n,)
        Unit of each client, 0 to ``count`` - 1.
    count : int
        Number of units.
    """

    codes: np.ndarray
    count: int

    @classmethod
    def of_clients(cls, n: int) -> Units:
        """Return units of one client each."""
        return cls(np.arange(n), n)

    def holding(self, clients: np.ndarray) -> np.ndarray:
        """Return which units hold any of some clients (a mask), shape (count,)."""
        return np.bincount(self.codes[clients], minlength=self.count) > 0


def correlations_without(x: ArrayLike, y: ArrayLike, units: Units) -> np.ndarray:
    """Return the correlation of each column of ``x`` with the same column of ``y``, over all clients and without each unit.

    Parameters
    ----------
    x, y : array_like, shape (n, m)
        A client with a missing value is left out of that pair.
    units : Units

    Returns
    -------
    ndarray, shape (1 + count, m)
        First over all clients; NaN where a variable does not vary.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    used = np.isfinite(x) & np.isfinite(y)
    a, b = (_scaled(values, used) for values in (x, y))
    parts = [cluster_sums(part, units.codes, units.count) for part in (used.astype(float), a, b, a * a, b * b, a * b)]
    return _pearson(*(_with_and_without(part) for part in parts))


def item_correlations_without(first: ArrayLike, second: ArrayLike, units: Units) -> np.ndarray:
    """Return the correlations of one set of items with another, from clients who answered both items, with and without each unit.

    Parameters
    ----------
    first, second : array_like, shape (n, k1) and (n, k2)
        Answers; NaN where unanswered.
    units : Units

    Returns
    -------
    ndarray, shape (1 + count, k1, k2)
        First over all clients; NaN where an item does not vary.
    """
    sides = []
    for values in (np.asarray(first, dtype=float), np.asarray(second, dtype=float)):
        given = np.isfinite(values)
        sides.append((given.astype(float), _scaled(values, given)))
    (here, a), (there, b) = sides
    products = ((here, there), (a, there), (here, b), (a * a, there), (here, b * b), (a, b))
    parts = [cluster_sums(one[:, :, None] * other[:, None, :], units.codes, units.count) for one, other in products]
    return _pearson(*(_with_and_without(part) for part in parts))


def _scaled(values: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Return columns centred and scaled over the used rows, 0 elsewhere, so that sums of squares keep their digits."""
    filled = np.where(used, values, 0.0)
    n = np.maximum(used.sum(axis=0), 1)
    centred = np.where(used, filled - filled.sum(axis=0) / n, 0.0)
    spread = np.sqrt((centred**2).sum(axis=0) / n)
    return centred / np.where(spread > 1e-12 * np.abs(filled).max(axis=0, initial=0.0), spread, np.inf)


def _with_and_without(sums: np.ndarray) -> np.ndarray:
    total = sums.sum(axis=0)
    return np.concatenate([total[None], total - sums])


def _pearson(n: np.ndarray, a: np.ndarray, b: np.ndarray, aa: np.ndarray, bb: np.ndarray, ab: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (aa / n - (a / n) ** 2, bb / n - (b / n) ** 2)
        varies = (variance[0] > _CONSTANT) & (variance[1] > _CONSTANT)
        return np.where(varies, (ab / n - a * b / n**2) / np.sqrt(variance[0] * variance[1]), np.nan)


@dataclass(frozen=True)
class Omegas:
    """Omega total over all clients and without each unit.

    Attributes
    ----------
    values : ndarray, shape (1 + count,)
        NaN where the one-factor model has no proper solution.
    n : int
        Clients with all items.
    reason : str
        Why there is no value over all clients.
    """

    values: np.ndarray
    n: int
    reason: str


def omega_without(items: ArrayLike, units: Units, min_rows: int = 0) -> Omegas:
    """Return omega total of a scale (:mod:`alliance.statistics.one_factor`), over all clients and without each unit.

    Parameters
    ----------
    items : array_like, shape (n, k)
        Scored items; a client enters with all items answered or not at all.
    units : Units
    min_rows : int
        Fewer complete clients: no value.
    """
    items = np.asarray(items, dtype=float)
    complete = np.isfinite(items).all(axis=1)
    n, empty = int(complete.sum()), np.full(1 + units.count, np.nan)
    if n < max(min_rows, items.shape[1] + 1):
        return Omegas(empty, n, f"needs at least {max(min_rows, items.shape[1] + 1)} clients with all items of a scale; has {n}")
    used = items[complete]
    sums = cluster_sums(cross_products(used - used.mean(axis=0)), units.codes[complete], units.count)
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = covariance_of_sums(_with_and_without(sums))
    full = one_factor(covariance[0])
    if full.problem != "":
        return Omegas(empty, n, str(full.problem))
    held = units.holding(complete)
    values = np.full(1 + units.count, float(full.omega()))
    values[1:][held] = one_factor(covariance[1:][held], full).omega()
    return Omegas(values, n, "")


def disattenuated(r: ArrayLike, reliability_x: ArrayLike, reliability_y: ArrayLike) -> np.ndarray:
    """Return correlations corrected for unreliability, r / sqrt(rel_x rel_y) (Spearman, 1904), as they are, also beyond 1.

    NaN where a reliability is not above zero.
    """
    product = np.asarray(reliability_x, dtype=float) * np.asarray(reliability_y, dtype=float)
    positive = (np.asarray(reliability_x) > 0) & (np.asarray(reliability_y) > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(positive, np.asarray(r, dtype=float) / np.sqrt(np.where(positive, product, np.nan)), np.nan)


def mean_within(correlation: np.ndarray) -> np.ndarray:
    """Return the mean absolute correlation of a set of items, shape (..., k, k) to (...); NaN for fewer than two items."""
    if correlation.shape[-1] < 2:
        return np.full(correlation.shape[:-2], np.nan)
    return np.abs(elements(correlation, diagonal=False)).mean(axis=-1)


def htmt(between: np.ndarray, within_first: np.ndarray, within_second: np.ndarray) -> np.ndarray:
    """Return the heterotrait-monotrait ratio of correlations (Henseler, Ringle & Sarstedt, 2015), of absolute correlations.

    Mean correlation of the items of two scales over the geometric mean of the mean correlations within each, as semTools' ``htmt`` with
    ``absolute = TRUE, htmt2 = FALSE``.

    Parameters
    ----------
    between : ndarray, shape (..., k1, k2)
        Correlations of the items of one scale with those of the other.
    within_first, within_second : ndarray, shape (...)
        From :func:`mean_within`.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.abs(between).mean(axis=(-1, -2)) / np.sqrt(within_first * within_second)


def htmt_of_matrix(correlation: ArrayLike, first: list[int], second: list[int]) -> np.ndarray:
    """Return HTMT of two sets of variables of correlation matrices, shape (..., p, p) to (...)."""
    r = np.asarray(correlation, dtype=float)
    blocks = [r[..., np.array(rows)[:, None], np.array(columns)] for rows, columns in ((first, second), (first, first), (second, second))]
    return htmt(blocks[0], mean_within(blocks[1]), mean_within(blocks[2]))


def jackknife_variance(values: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Return the delete-one-unit jackknife variance of statistics, (G - 1) / G times the squares around their mean.

    Parameters
    ----------
    values : ndarray, shape (1 + count, ...)
        Statistics over all clients (not used) and without each unit.
    held : ndarray of bool, shape (count,)
        Units that hold clients behind the statistics; the others are no units of it.
    """
    without = values[1:][held]
    deviation = without - without.mean(axis=0)
    return (deviation**2).sum(axis=0) * (len(without) - 1) / len(without)


def normal_theory_variance(function: Callable[[np.ndarray], np.ndarray], correlation: ArrayLike, n: float) -> float:
    """Return the variance of a function of a correlation matrix of normal data by the delta method (Olkin & Finn, 1990).

    Parameters
    ----------
    function : callable
        Takes a stack of correlation matrices, shape (b, p, p), and returns shape (b,).
    correlation : array_like, shape (p, p)
    n : float
        Clients; the covariance of the correlations has divisor n - 1.
    """
    correlation = np.asarray(correlation, dtype=float)
    values = elements(correlation, diagonal=False)
    steps = 1e-5 * np.eye(len(values))
    stack = matrix_of(np.concatenate([values + steps, values - steps]), len(correlation), diagonal=False)
    up, down = np.asarray(function(stack), dtype=float).reshape(2, -1)
    slope = (up - down) / 2e-5
    return float(slope @ olkin_finn(correlation, n) @ slope)


@dataclass(frozen=True)
class DependentTest:
    """Test of two correlations with one variable in common; NaN where it does not exist."""

    statistic: float
    df: float
    p_value: float


def williams_test(r12: float, r13: float, r23: float, n: float) -> DependentTest:
    """Test whether variable 1 correlates alike with 2 and 3 (Williams, 1959; T2 of Steiger, 1980), clients independent and normal.

    Parameters
    ----------
    r12, r13, r23 : float
        The two correlations, and that of the two variables compared.
    n : float
        Clients; for partial correlations less the number of variables held constant.
    """
    determinant = 1 - r12**2 - r13**2 - r23**2 + 2 * r12 * r13 * r23
    mean = (r12 + r13) / 2
    below = 2 * (n - 1) / (n - 3) * determinant + mean**2 * (1 - r23) ** 3 if n > 3 else np.nan
    if not below > 0 or abs(r23) >= DETERMINED:
        return DependentTest(np.nan, np.nan, np.nan)
    statistic = (r12 - r13) * np.sqrt((n - 1) * (1 + r23) / below)
    return DependentTest(float(statistic), float(n - 3), float(two_sided_p(statistic, n - 3)))
