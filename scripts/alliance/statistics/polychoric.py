"""Polychoric correlations of ordinal items: correlations of the normal variables that are thought to lie under the categories.

Two steps (Olsson, 1979): thresholds from the margins of each item, then the correlation of each pair by maximum likelihood. All pairs are
solved at once by Fisher scoring within a bracket. Bivariate normal probabilities come from Owen's T function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from alliance.statistics.covariance import matrix_of

MAX_CATEGORIES = 10
# Correlations are sought between -LIMIT and LIMIT (as in polycor).
LIMIT = 0.9999
_NEAR_LIMIT = 1e-6
_FARTHEST = 37.0
_TINY = 1e-17
_LEAST_PROBABILITY = 1e-16
_TOLERANCE = 1e-10
_MAX_STEPS = 100
# Beyond this correlation, a likelihood that tells less than this for each client is one that rises up to the limit.
_STRONG = 0.9
_LEAST_INFORMATION = 1e-6
_SMALLEST_EIGENVALUE = 1e-12

Correction = Literal["margins_kept", "half", "none"]


@dataclass(frozen=True)
class Polychoric:
    """Polychoric correlations of items. Where ``status`` is ``not_estimable``, ``reason`` says what is needed.

    Attributes
    ----------
    status, reason : str
        ``estimated``, ``flagged`` or ``not_estimable``, and why, in plain words.
    correlation : ndarray, shape (p, p)
        NaN for pairs without an estimate.
    thresholds : ndarray, shape (p, k - 1)
        Of each item, from all its answers. A category that nobody chose has two equal thresholds, or one at infinity at either end.
    categories : ndarray, shape (k,)
        Distinct answers over all items, ascending.
    n : ndarray of int, shape (p, p)
        Clients with an answer to both items; on the diagonal to the item.
    empty_cells : ndarray of int, shape (p, p)
        Combinations of two chosen categories that no client has.
    at_limit : ndarray of bool, shape (p, p)
        Pairs whose likelihood rises up to the limit of .9999: one item all but determines the other.
    smallest_eigenvalue : float
        Of the correlations before smoothing; NaN where pairs have no estimate.
    smoothed : bool
        Whether eigenvalues were raised to make the matrix positive definite.
    """

    status: str
    reason: str
    correlation: np.ndarray
    thresholds: np.ndarray
    categories: np.ndarray
    n: np.ndarray
    empty_cells: np.ndarray
    at_limit: np.ndarray
    smallest_eigenvalue: float
    smoothed: bool


def polychoric(items: ArrayLike, *, correction: Correction = "margins_kept", smooth: bool = False) -> Polychoric:
    """Return polychoric correlations of all pairs of items, each from the clients with an answer to both.

    Empty combinations of categories ("zero cells") are treated by one of three rules:

    - ``margins_kept``: a table of two by two categories with one empty cell gets half an answer in it, taken from its neighbours, so that
      the margins stay; larger tables are left as they are. lavaan's default (``zero.add = c(0.5, 0)``, ``zero.keep.margins = TRUE``).
    - ``none``: tables are left as they are (polycor's ``polychor``; psych's ``polychoric`` of items with equal numbers of categories,
      whatever its ``correct``; lavaan's ``zero.add = c(0, 0)``).
    - ``half``: every empty cell gets half an answer and the thresholds of the pair follow from its new margins. psych does so only where
      the items differ in the number of categories (or with ``global = FALSE``), and there without dividing by the new total, so that its
      values differ a little; ``polychor`` of the corrected table gives the values here.

    Parameters
    ----------
    items : array_like, shape (n, p)
        Answers of clients; NaN where missing.
    correction : {"margins_kept", "half", "none"}
        Rule for empty cells.
    smooth : bool
        Make a matrix that is not positive definite so, by :func:`smoothed` and with a flag.

    Raises
    ------
    ValueError
        No two-dimensional array of items, or an unknown correction.
    """
    if correction not in ("margins_kept", "half", "none"):
        raise ValueError(f"no correction {correction!r}: margins_kept, half or none")
    codes, categories = coded(items)
    p, k = codes.shape[1], len(categories)
    fault = _fault(codes, k)
    if fault:
        return _absent(codes, categories, fault)
    joint = joint_counts(codes, k)
    fitted = fit_counts(joint[None], p, correction)
    return _described(fitted, joint, p, categories, smooth)


def _described(fitted: FittedCounts, joint: np.ndarray, p: int, categories: np.ndarray, smooth: bool) -> Polychoric:
    correlation, at_limit = fitted.matrices()[0], np.zeros((p, p), dtype=bool)
    first, second = np.triu_indices(p, 1)
    at_limit[first, second] = at_limit[second, first] = fitted.at_limit[0]
    tables = joint.reshape(p, len(categories), p, len(categories)).transpose(0, 2, 1, 3)
    chosen = (tables.sum(axis=3) > 0)[..., :, None] & (tables.sum(axis=2) > 0)[..., None, :]
    empty = (chosen & (tables == 0)).sum(axis=(2, 3))
    np.fill_diagonal(empty, 0)
    flags = []
    missing = int(np.isnan(correlation[first, second]).sum())
    smallest, is_smoothed = np.nan, False
    if missing:
        flags.append(f"{missing} pairs of items have no correlation: needs at least 2 categories of each item among the clients with both")
    else:
        smallest = float(np.linalg.eigvalsh(correlation)[0])
        if smallest <= _SMALLEST_EIGENVALUE:
            flags.append("the correlations are not positive definite" + (": eigenvalues were raised" if smooth else ""))
            if smooth:
                correlation, is_smoothed = smoothed(correlation), True
    if fitted.at_limit.any():
        flags.append(f"{int(fitted.at_limit.sum())} pairs of items all but determine each other (correlation at the limit of {LIMIT})")
    status = "not_estimable" if missing == len(first) else "flagged" if flags else "estimated"
    counts = tables.sum(axis=(2, 3)).astype(int)
    return Polychoric(
        status, "; ".join(flags), correlation, fitted.thresholds[0], categories, counts, empty, at_limit, smallest, is_smoothed
    )


def bivariate_normal(h: ArrayLike, k: ArrayLike, rho: ArrayLike) -> np.ndarray:
    """Return P(X <= h, Y <= k) of standard normal variables with correlation ``rho``, by Owen's (1956) T function; arrays broadcast."""
    h, k, rho = (np.asarray(value, dtype=float) for value in (h, k, rho))
    h, k = (np.clip(np.where(np.abs(value) < _TINY, _TINY, value), -_FARTHEST, _FARTHEST) for value in (h, k))
    left = np.maximum(np.sqrt((1 - rho) * (1 + rho)), 1e-150)
    # Thresholds at zero were moved by 1e-17: nothing is divided by zero.
    t = special.owens_t(h, (k - rho * h) / (h * left)) + special.owens_t(k, (h - rho * k) / (k * left))
    return np.clip((special.ndtr(h) + special.ndtr(k)) / 2 - t - np.where(h * k < 0, 0.5, 0.0), 0.0, 1.0)


def bivariate_density(h: ArrayLike, k: ArrayLike, rho: ArrayLike) -> np.ndarray:
    """Return the density at (h, k) of standard normal variables with correlation ``rho``: the slope of their probability over ``rho``."""
    h, k, rho = (np.asarray(value, dtype=float) for value in (h, k, rho))
    left = (1 - rho) * (1 + rho)
    return np.exp(-((h - k) ** 2 / left + 2 * h * k / (1 + rho)) / 2) / (2 * np.pi * np.sqrt(left))


def smoothed(correlation: ArrayLike) -> np.ndarray:
    """Return a positive definite correlation matrix near one that is not: eigenvalues below 1e-12 become 1e-10.

    The eigenvalues are scaled to their former sum, and the result to a unit diagonal (``cor.smooth`` of psych; Wothke, 1993).
    """
    r = np.asarray(correlation, dtype=float)
    values, vectors = np.linalg.eigh(r)
    raised = np.where(values < _SMALLEST_EIGENVALUE, 100 * _SMALLEST_EIGENVALUE, values)
    raised *= len(r) / raised.sum()
    matrix = (vectors * raised) @ vectors.T
    size = np.sqrt(np.diagonal(matrix))
    matrix = matrix / np.outer(size, size)
    np.fill_diagonal(matrix, 1.0)
    return (matrix + matrix.T) / 2


def coded(items: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return answers as codes 0.. of the distinct answers over all items (-1: missing), and these answers.

    Raises
    ------
    ValueError
        No two-dimensional array.
    """
    items = np.asarray(items, dtype=float)
    if items.ndim != 2:
        raise ValueError("items have to stand in the columns of a two-dimensional array")
    known = np.isfinite(items)
    categories = np.unique(items[known])
    codes = np.full(items.shape, -1)
    codes[known] = np.searchsorted(categories, items[known])
    return codes, categories


def joint_counts(codes: np.ndarray, k: int) -> np.ndarray:
    """Return how many clients gave each pair of answers, shape (n, p) to (p k, p k): the tables of all pairs of items side by side."""
    chosen = (codes[:, :, None] == np.arange(k)).reshape(len(codes), -1).astype(float)
    return chosen.T @ chosen


@dataclass(frozen=True)
class FittedCounts:
    """Thresholds and correlations of a stack of counts.

    Attributes
    ----------
    thresholds : ndarray, shape (b, p, k - 1)
        Of each item, from all its answers.
    correlation : ndarray, shape (b, p (p - 1) / 2)
        Pairs in the order (0, 1), (0, 2), ..., (1, 2), ...; NaN where there is none.
    at_limit : ndarray of bool, of the same shape
        Where the likelihood rises up to the limit.
    """

    thresholds: np.ndarray
    correlation: np.ndarray
    at_limit: np.ndarray

    def matrices(self) -> np.ndarray:
        """Return correlation matrices, shape (b, p, p)."""
        return matrix_of(self.correlation, self.thresholds.shape[1], diagonal=False)


def fit_counts(
    joint: np.ndarray, p: int, correction: Correction = "margins_kept", start: np.ndarray | None = None, tolerance: float = _TOLERANCE
) -> FittedCounts:
    """Return thresholds and polychoric correlations of a stack of counts from :func:`joint_counts`.

    Parameters
    ----------
    joint : ndarray, shape (b, p k, p k)
        Counts.
    p : int
        Number of items.
    correction : {"margins_kept", "half", "none"}
        Rule for empty cells; see :func:`polychoric`.
    start : ndarray, shape (p (p - 1) / 2,), optional
        Where the search starts, for example at the correlations of all clients where each stack leaves some out.
    tolerance : float
        The search of a correlation ends with a step below this.
    """
    stack, k = len(joint), joint.shape[1] // p
    counts = joint.reshape(stack, p, k, p, k)
    margins = np.diagonal(np.diagonal(counts, axis1=1, axis2=3), axis1=1, axis2=2).astype(float)
    thresholds = _thresholds(margins)
    first, second = np.triu_indices(p, 1)
    tables = np.moveaxis(counts[:, first, :, second, :], 0, 1).reshape(-1, k, k)
    rows, columns = (thresholds[:, which].reshape(-1, k - 1) for which in (first, second))
    if correction == "margins_kept":
        tables = _margins_kept(tables, *(np.tile(margins.sum(axis=0)[which] > 0, (stack, 1)) for which in (first, second)))
    elif correction == "half":
        tables = _half_added(tables)
        rows, columns = _thresholds(tables.sum(axis=2)), _thresholds(tables.sum(axis=1))
    begin = None if start is None else np.tile(start, stack)
    r, at_limit = _maximum_likelihood(tables, rows, columns, begin, tolerance)
    return FittedCounts(thresholds, r.reshape(stack, -1), at_limit.reshape(stack, -1))


def _thresholds(margins: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return special.ndtri(np.cumsum(margins, axis=-1)[..., :-1] / margins.sum(axis=-1, keepdims=True))


def _margins_kept(tables: np.ndarray, row_chosen: np.ndarray, column_chosen: np.ndarray) -> np.ndarray:
    two = np.flatnonzero((row_chosen.sum(axis=1) == 2) & (column_chosen.sum(axis=1) == 2))
    if not len(two):
        return tables
    row, column = (np.nonzero(chosen[two])[1].reshape(-1, 2) for chosen in (row_chosen, column_chosen))
    at = (two[:, None, None], row[:, :, None], column[:, None, :])
    cells = tables[at]
    empty = cells == 0
    on_diagonal = empty[:, 0, 0] | empty[:, 1, 1]
    sign = np.where(on_diagonal, 0.5, -0.5) * (empty.sum(axis=(1, 2)) == 1)
    tables = tables.copy()
    tables[at] = cells + sign[:, None, None] * np.array([[1, -1], [-1, 1]])
    return tables


def _half_added(tables: np.ndarray) -> np.ndarray:
    chosen = (tables.sum(axis=2) > 0)[:, :, None] & (tables.sum(axis=1) > 0)[:, None, :]
    return np.where(chosen & (tables == 0), 0.5, tables)


def _maximum_likelihood(
    tables: np.ndarray, rows: np.ndarray, columns: np.ndarray, start: np.ndarray | None, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return correlations, and whether they lie at the limit, of tables (m, k, k) with thresholds (m, k - 1)."""
    total = tables.sum(axis=(1, 2))
    possible = ((tables.sum(axis=2) > 0).sum(axis=1) > 1) & ((tables.sum(axis=1) > 0).sum(axis=1) > 1)
    r = np.where(possible, np.clip(_product_moment(tables) if start is None else start, -0.95, 0.95), np.nan)
    low, high = np.full(len(r), -LIMIT), np.full(len(r), LIMIT)
    rows, columns = np.clip(rows, -_FARTHEST, _FARTHEST), np.clip(columns, -_FARTHEST, _FARTHEST)
    known = np.zeros(len(r))
    active = np.flatnonzero(possible)
    for _ in range(_MAX_STEPS):
        at, edges = r[active], (rows[active][:, :, None], columns[active][:, None, :], r[active][:, None, None])
        probability = np.maximum(_cells(edges, special.ndtr(edges[0][:, :, 0]), special.ndtr(edges[1][:, 0, :])), _LEAST_PROBABILITY)
        slope = _differences(np.pad(bivariate_density(*edges), ((0, 0), (1, 1), (1, 1))))
        score = (tables[active] * slope / probability).sum(axis=(1, 2))
        known[active] = (slope**2 / probability).sum(axis=(1, 2))
        low[active] = np.where(score > 0, at, low[active])
        high[active] = np.where(score > 0, high[active], at)
        with np.errstate(divide="ignore", invalid="ignore"):
            proposal = at + score / (total * known)[active]
        inside = (proposal > low[active]) & (proposal < high[active])
        halfway = (at + np.where(score > 0, high[active], low[active])) / 2
        r[active] = np.where(score == 0, at, np.where(inside, proposal, halfway))
        active = active[np.abs(r[active] - at) > tolerance]
        if not len(active):
            break
    r[active] = np.nan
    at_limit = (np.abs(r) > LIMIT - _NEAR_LIMIT) | ((np.abs(r) > _STRONG) & (known < _LEAST_INFORMATION))
    return np.where(at_limit, np.sign(r) * LIMIT, r), at_limit


def _cells(edges: tuple[np.ndarray, np.ndarray, np.ndarray], below_rows: np.ndarray, below_columns: np.ndarray) -> np.ndarray:
    inner = bivariate_normal(*edges)
    m, rows, columns = inner.shape
    cumulative = np.zeros((m, rows + 2, columns + 2))
    cumulative[:, 1:-1, 1:-1] = inner
    cumulative[:, 1:-1, -1], cumulative[:, -1, 1:-1], cumulative[:, -1, -1] = below_rows, below_columns, 1.0
    return _differences(cumulative)


def _differences(cumulative: np.ndarray) -> np.ndarray:
    return np.diff(np.diff(cumulative, axis=1), axis=2)


def _product_moment(tables: np.ndarray) -> np.ndarray:
    score = np.arange(tables.shape[1], dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = tables / tables.sum(axis=(1, 2), keepdims=True)
        row, column = share.sum(axis=2), share.sum(axis=1)
        mean_row, mean_column = row @ score, column @ score
        variances = (row @ score**2 - mean_row**2) * (column @ score**2 - mean_column**2)
        r = (np.einsum("mij,i,j->m", share, score, score) - mean_row * mean_column) / np.sqrt(variances)
    return np.where(np.isfinite(r), r, 0.0)


def _fault(codes: np.ndarray, k: int) -> str:
    n, p = codes.shape
    if p < 2:
        return f"needs at least 2 items; has {p}"
    if not (codes >= 0).any():
        return f"needs clients with answers; has none among {n}"
    if k > MAX_CATEGORIES:
        return f"needs items of at most {MAX_CATEGORIES} categories; has {k}"
    constant = sum(len(np.unique(column[column >= 0])) < 2 for column in codes.T)
    if constant:
        return f"needs at least 2 categories chosen in every item; {constant} of {p} items have fewer"
    return ""


def _absent(codes: np.ndarray, categories: np.ndarray, reason: str) -> Polychoric:
    p = codes.shape[1]
    known = (codes >= 0).astype(int)
    return Polychoric(
        "not_estimable",
        reason,
        np.full((p, p), np.nan),
        np.full((p, max(len(categories) - 1, 0)), np.nan),
        categories,
        known.T @ known,
        np.zeros((p, p), dtype=int),
        np.zeros((p, p), dtype=bool),
        np.nan,
        False,
    )
