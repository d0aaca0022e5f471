"""Reliability of ordinal items: categorical omega of the observed sum score, ordinal alpha and omega of the normal variables under them.

For instruments with five or fewer categories, beside alpha and omega of the answers as numbers. Only categorical omega is the
reliability of the score that is used; ordinal alpha and omega are those of a score that nobody can observe (Chalmers, 2018).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from alliance.statistics import polychoric as poly
from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.covariance import cluster_codes
from alliance.statistics.reliability_interval import Coefficient, leave_out, no_coefficient

MIN_ITEMS = 3
MIN_CLIENTS = 10
COEFFICIENTS = ("categorical_omega", "ordinal_omega", "ordinal_alpha")
_MAX_STEPS = 200
_TOLERANCE = 1e-10
# Steps of correlations when a unit is left out: far below what leaving it out changes.
_LEFT_OUT_TOLERANCE = 1e-7
_NUMBERS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class OrdinalReliability:
    """Reliability of a scale of ordinal items. Where ``status`` is ``not_estimable``, ``reason`` says what is needed.

    Attributes
    ----------
    status, reason : str
        ``estimated``, ``flagged`` or ``not_estimable``, and why.
    categorical_omega : Coefficient
        Share of one common factor in the variance of the observed sum score (Green & Yang, 2009).
    ordinal_omega : Coefficient
        The same share in a sum of the normal variables under the items: (sum of loadings)^2 over the sum of the polychoric correlations.
    ordinal_alpha : Coefficient
        Alpha of the polychoric correlations (Zumbo, Gadermann & Zeisser, 2007).
    loadings : ndarray, shape (p,)
        Standardised loadings of the normal variables; the sum of them is positive.
    n, n_clusters : int
        Clients with an answer, and therapists among them (0 where not known).
    df : float
        Of the intervals: therapists - 1, or groups of clients - 1.
    method : str
        ``cluster_jackknife``, ``client_jackknife``, or ``none`` without estimates.
    """

    status: str
    reason: str
    categorical_omega: Coefficient
    ordinal_omega: Coefficient
    ordinal_alpha: Coefficient
    loadings: np.ndarray
    n: int
    n_clusters: int
    df: float
    method: str


def ordinal_reliability(
    items: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    level: float = 0.95,
    min_clusters: int = MIN_CLUSTERS,
    correction: poly.Correction = "margins_kept",
) -> OrdinalReliability:
    """Return categorical omega, ordinal omega and ordinal alpha of items that are all scored in one direction.

    One factor is fitted to the polychoric correlations by unweighted least squares (lavaan's ``estimator = "ULS"`` with ordered items),
    which in small samples estimates loadings at least as well as diagonally weighted least squares (Forero, Maydeu-Olivares &
    Gallardo-Pujol, 2009). The variance of the sum score is that of the polychoric correlations, not of the model
    (``compRelSEM(obs.var = TRUE)`` of semTools). Answers are summed as they are: a category that nobody chose counts as a step.

    Intervals come from leaving out each therapist in turn (all correlations, the factor and the coefficients are computed again), with
    t(G - 1) on the scale of ln(1 - reliability). With fewer than ``min_clusters`` therapists clients are taken as independent, flagged
    where therapists are known: each is left out in turn, or, of more than 100, each of 50 random groups that depend on the answers only.
    In simulations (15 to 60 therapists of 8 clients, 6 items of 4 and 5 categories, 400 runs a cell) they covered 93 to 96 %.

    Parameters
    ----------
    items : array_like, shape (n, p)
        Answers; NaN where missing. Each correlation is that of the clients with both answers.
    clusters : array_like, shape (n,), optional
        Therapist of each client.
    level : float
        Confidence level.
    min_clusters : int
        Fewer therapists: clients are taken as independent.
    correction : {"margins_kept", "half", "none"}
        Rule for empty cells; see :func:`alliance.statistics.polychoric.polychoric`.

    Raises
    ------
    ValueError
        No two-dimensional array of items, an unknown correction, or a client without a therapist.
    """
    answers = np.asarray(items, dtype=float)
    found = poly.polychoric(answers, correction=correction)
    answered = np.isfinite(answers).any(axis=1)
    units, count = (None, 0) if clusters is None else cluster_codes(np.asarray(clusters)[answered])
    n, p = int(answered.sum()), answers.shape[1]
    fault = found.reason if found.status == "not_estimable" else _fault(found, n, p)
    if fault:
        return _absent(fault, p, n, count)
    codes, categories = poly.coded(answers[answered])
    # Sorted, so that groups of clients do not depend on the order of rows.
    order = np.lexsort(codes.T)
    codes, units = codes[order], None if units is None else units[order]
    steps = np.diff(categories)
    upper = np.triu_indices(p, 1)
    fitted = poly.FittedCounts(found.thresholds[None], found.correlation[upper][None], found.at_limit[upper][None])
    values, loadings = _coefficients(fitted, steps)
    fault = _improper(found, loadings[0], values[0])
    if fault:
        return _absent(fault, p, n, count)

    def without(code: np.ndarray, groups: int) -> np.ndarray:
        stacks = _counts_without(codes, len(categories), code, groups)
        fits = (poly.fit_counts(stack, p, correction, fitted.correlation[0], _LEFT_OUT_TOLERANCE) for stack in stacks)
        return np.concatenate([_coefficients(fit, steps, loadings[0])[0] for fit in fits])

    cautions = [found.reason] if found.reason else []
    if (loadings[0] < 0).any():
        cautions.append(f"{int((loadings[0] < 0).sum())} of {p} items load against the others: are they to be reversed?")
    left_out = leave_out(without, units, n, min_clusters)
    coefficients = [left_out.coefficient(which, value, level, "; ".join(cautions)) for which, value in enumerate(values[0])]
    status, reason = coefficients[0].status, coefficients[0].reason
    return OrdinalReliability(status, reason, *coefficients, loadings[0], n, count, left_out.df, left_out.method)


def categorical_omega(
    loadings: ArrayLike, thresholds: ArrayLike, correlation: ArrayLike | None = None, steps: ArrayLike = 1.0
) -> np.ndarray:
    """Return the reliability of sums of ordinal items with one factor under them (Green & Yang, 2009, formula 21).

    Parameters
    ----------
    loadings : array_like, shape (..., p)
        Standardised loadings of the normal variables.
    thresholds : array_like, shape (..., p, k - 1)
        Ascending; infinite where an item has fewer categories.
    correlation : array_like, shape (..., p, p), optional
        Polychoric correlations; without them those that the loadings imply.
    steps : array_like, shape (k - 1,)
        What the score gains at each threshold.
    """
    loadings, thresholds = np.asarray(loadings, dtype=float), np.asarray(thresholds, dtype=float)
    steps = np.broadcast_to(np.asarray(steps, dtype=float), thresholds.shape[-1:])
    common = loadings[..., :, None] * loadings[..., None, :]
    total = common.copy() if correlation is None else np.array(correlation, dtype=float)
    diagonal = np.arange(loadings.shape[-1])
    total[..., diagonal, diagonal] = 1.0
    return _sum_variance(common, thresholds, steps) / _sum_variance(total, thresholds, steps)


def one_factor(correlation: ArrayLike, start: ArrayLike | None = None) -> np.ndarray:
    """Return unweighted least squares loadings of one factor, shape (..., p, p) to (..., p); NaN where the search does not end.

    Minimises the squared residuals of the correlations off the diagonal by damped Newton steps. Loadings beyond 1 are returned as
    they are: an improper solution.

    Parameters
    ----------
    correlation : array_like, shape (..., p, p)
        Correlation matrices.
    start : array_like, shape (p,), optional
        Loadings to begin with; by default from the largest principal component.
    """
    r = np.asarray(correlation, dtype=float)
    shape, p = r.shape[:-2], r.shape[-1]
    r = r.reshape(-1, p, p)
    off = r * (1 - np.eye(p))
    loadings = np.full((len(r), p), np.nan)
    usable = np.flatnonzero(np.isfinite(r).all(axis=(1, 2)))
    if start is None:
        values, vectors = np.linalg.eigh(r[usable])
        loadings[usable] = vectors[:, :, -1] * np.sqrt(np.maximum(values[:, -1:], 0) * 0.8)
    else:
        loadings[usable] = start
    damping = np.full(len(r), 1e-3)
    misfit = _misfit(off, loadings)
    rounding = 1e-13 * (1 + (off**2).sum(axis=(1, 2)))
    active = usable
    for _ in range(_MAX_STEPS):
        if not len(active):
            break
        at, target = loadings[active], off[active]
        product = at[:, :, None] * at[:, None, :]
        squares = (at**2).sum(axis=1, keepdims=True) - at**2
        gradient = np.einsum("bij,bj->bi", target, at) - at * squares
        hessian = 2 * product * (1 - np.eye(p)) - target
        hessian[:, np.arange(p), np.arange(p)] = squares + damping[active][:, None]
        proposal = at + np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        better = _misfit(target, proposal)
        accept = better <= misfit[active] + rounding[active]
        loadings[active] = np.where(accept[:, None], proposal, at)
        misfit[active] = np.where(accept, better, misfit[active])
        damping[active] = np.clip(np.where(accept, damping[active] / 100, np.maximum(damping[active], 1e-6) * 30), 0, 1e12)
        active = active[np.abs(gradient).max(axis=1) > _TOLERANCE]
    loadings[active] = np.nan
    sign = np.where(loadings.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
    return (loadings * sign).reshape(*shape, p)


def _misfit(off: np.ndarray, loadings: np.ndarray) -> np.ndarray:
    squares = loadings**2
    cross = np.einsum("bi,bij,bj->b", loadings, off, loadings)
    return (off**2).sum(axis=(1, 2)) - 2 * cross + squares.sum(axis=1) ** 2 - (squares**2).sum(axis=1)


def _sum_variance(correlation: np.ndarray, thresholds: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the variance of the sum score whose items have normal variables with these correlations (diagonal included) under them."""
    first, second = np.triu_indices(correlation.shape[-1])
    rows, columns = thresholds[..., first, :, None], thresholds[..., second, None, :]
    both = poly.bivariate_normal(rows, columns, correlation[..., first, second][..., None, None])
    covariance = np.einsum("...pij,i,j->...p", both - ndtr(rows) * ndtr(columns), steps, steps)
    return covariance @ np.where(first == second, 1.0, 2.0)


def _coefficients(fitted: poly.FittedCounts, steps: np.ndarray, start: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficients, shape (b, 3), NaN where improper, and the loadings, shape (b, p)."""
    r = fitted.matrices()
    p = r.shape[1]
    loadings = one_factor(r, start)
    proper = (np.abs(loadings) < 1).all(axis=1)
    total = r.sum(axis=(1, 2))
    values = np.full((len(r), len(COEFFICIENTS)), np.nan)
    values[proper, 0] = categorical_omega(loadings[proper], fitted.thresholds[proper], r[proper], steps)
    values[proper, 1] = loadings[proper].sum(axis=1) ** 2 / total[proper]
    values[:, 2] = p / (p - 1) * (1 - p / total)
    return np.where(values < 1, values, np.nan), loadings


def _counts_without(codes: np.ndarray, k: int, units: np.ndarray, groups: int) -> Iterator[np.ndarray]:
    """Yield counts (see :func:`alliance.statistics.polychoric.joint_counts`) without each unit in turn, some units at a time."""
    total = poly.joint_counts(codes, k)
    members = np.split(np.argsort(units, kind="stable"), np.cumsum(np.bincount(units, minlength=groups))[:-1])
    at_once = max(1, _NUMBERS_AT_ONCE // total.size)
    for begin in range(0, groups, at_once):
        yield np.stack([total - poly.joint_counts(codes[rows], k) for rows in members[begin : begin + at_once]])


def _fault(found: poly.Polychoric, n: int, p: int) -> str:
    if p < MIN_ITEMS:
        return f"needs at least {MIN_ITEMS} items; has {p}"
    if n < MIN_CLIENTS:
        return f"needs at least {MIN_CLIENTS} clients; has {n}"
    if np.isnan(found.correlation).any() or found.at_limit.any():
        return found.reason
    return ""


def _improper(found: poly.Polychoric, loadings: np.ndarray, values: np.ndarray) -> str:
    if np.isnan(loadings).any():
        return "the search for loadings of one factor did not end"
    if (np.abs(loadings) >= 1).any():
        return f"improper solution: the loading of an item is {np.abs(loadings).max():.2f}, which leaves it no error"
    if not np.isfinite(values).all():
        return "improper solution: the correlations of the items do not sum to a positive variance"
    return ""


def _absent(reason: str, p: int, n: int, count: int) -> OrdinalReliability:
    none = no_coefficient(reason)
    return OrdinalReliability("not_estimable", reason, none, none, none, np.full(p, np.nan), n, count, np.inf, "none")
