"""Exploratory bifactor solution of Schmid & Leiman (1957): a general factor and group factors, omega hierarchical and its companions.

Minres factors of the correlation matrix, oblimin rotation, one minres factor of the correlations of the factors, as in psych's ``omega``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.covariance import correlation_matrix
from alliance.statistics.resampling import generator

MIN_FACTORS = 3
MIN_ITEMS_PER_FACTOR = 2
FLOOR = 0.005
STARTS = 20
_NO_VARIANCE = 1e-6
_TOLERANCE = 1e-9
_ROTATED = 1e-7
_STEPS = 200
_ROTATION_STEPS = 5000
_SINGULAR = 1e-12

IMPROPER = "improper solution: an item has no residual variance left"
IMPROPER_GENERAL = "improper solution: a group factor has no variance of its own beside the general factor"
NO_FACTOR = "items have fewer factors in common than asked for"
NOT_CONVERGED = "the factors did not converge"
NOT_ROTATED = "the rotation did not converge"


@dataclass(frozen=True)
class SchmidLeiman:
    """Schmid-Leiman solutions of a stack of correlation matrices; NaN where ``problem`` is not empty.

    Attributes
    ----------
    general : ndarray, shape (..., k)
        Standardised loadings on the general factor.
    group : ndarray, shape (..., k, factors)
        Standardised loadings on the group factors.
    residuals : ndarray, shape (..., k)
        Standardised residual variances.
    factor_correlations : ndarray, shape (..., factors, factors)
        Correlations of the rotated factors.
    omega_hierarchical : ndarray, shape (...)
        (Sum of general loadings)^2 over the sum of the correlation matrix (McDonald, 1999; Zinbarg et al., 2005): of standardised items.
    omega_t : ndarray, shape (...)
        1 - sum of residual variances over the sum of the correlation matrix: psych's ``omega.tot``, not the omega total of one factor.
    explained_common_variance : ndarray, shape (...)
        Share of the general factor in the common variance.
    problem : ndarray of str, shape (...)
        Why there is no solution; empty where there is one.
    doubt : ndarray of str, shape (...)
        What to know of a solution; empty where nothing.
    oblique : ndarray, shape (..., k, factors)
        Pattern of the rotated factors.
    """

    general: np.ndarray
    group: np.ndarray
    residuals: np.ndarray
    factor_correlations: np.ndarray
    omega_hierarchical: np.ndarray
    omega_t: np.ndarray
    explained_common_variance: np.ndarray
    problem: np.ndarray
    doubt: np.ndarray
    oblique: np.ndarray


def schmid_leiman(covariance: ArrayLike, factors: int = MIN_FACTORS, start: SchmidLeiman | None = None) -> SchmidLeiman:
    """Return the Schmid-Leiman solution of covariance matrices.

    Without ``start`` the rotation begins at varimax (as in psych) and at fixed random rotations; the lowest criterion is taken, and where
    the one from varimax is higher than that, a doubt is told. With ``start`` (the sample's solution) it begins at the rotation that brings
    each matrix's factors nearest to those of the sample.

    Parameters
    ----------
    covariance : array_like, shape (..., k, k)
        Covariances or correlations of scored items.
    factors : int
        Number of group factors.
    start : SchmidLeiman, optional
        Solution of one matrix.
    """
    covariance = np.asarray(covariance, dtype=float)
    k, shape = covariance.shape[-1], covariance.shape[:-2]
    stack = covariance.reshape(-1, k, k)
    count = len(stack)
    problem, doubt = np.full(count, "", dtype=object), np.full(count, "", dtype=object)
    general, group, residuals = np.full((count, k), np.nan), np.full((count, k, factors), np.nan), np.full((count, k), np.nan)
    phi, oblique = np.full((count, factors, factors), np.nan), np.full((count, k, factors), np.nan)
    variance = np.diagonal(stack, axis1=1, axis2=2)
    usable = np.isfinite(stack).all(axis=(1, 2)) & (variance > 1e-12).all(axis=1)
    problem[~usable] = "an item does not vary"
    refusal = _refusal(k, factors)
    if refusal:
        problem[:] = refusal
    elif usable.any():
        where = np.flatnonzero(usable)
        correlation = correlation_matrix(stack[where])
        loadings, residuals[where], problem[where] = minres(correlation, factors, None if start is None else start.residuals)
        where = where[problem[where] == ""]
        if len(where):
            loadings = loadings[problem[usable] == ""]
            if start is None:
                turned = [_best_rotation(one) for one in loadings]
                oblique[where], phi[where], rotated, doubt[where] = (np.array(part) for part in zip(*turned))
            else:
                oblique[where], phi[where], rotated, _ = oblimin(loadings, _nearest(loadings, start.oblique))
            rotated = np.asarray(rotated, dtype=bool)
            problem[where[~rotated]] = NOT_ROTATED
            where = where[rotated]
        if len(where):
            second, _, faults = minres(phi[where], 1)
            second = second[:, :, 0]
            problem[where[faults != ""]] = IMPROPER_GENERAL
            general[where] = (oblique[where] @ second[:, :, None])[:, :, 0]
            group[where] = oblique[where] * np.sqrt(np.maximum(1 - second**2, 0))[:, None, :]
            # Turned so that their items load positively, factors should load positively on the general factor.
            turned = np.sign(oblique[where].sum(axis=1)) * second
            turned *= np.sign(turned.sum(axis=1))[:, None]
            for place, below in zip(where, (turned < 0).sum(axis=1)):
                if below:
                    _add(doubt, place, f"{below} of {factors} group factors have a negative loading on the general factor")
        bad = problem != ""
        doubt[bad] = ""
        for one in (general, group, residuals, phi, oblique):
            one[bad] = np.nan
    general *= np.where(general.sum(axis=1) < 0, -1, 1)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = np.sqrt(variance)
        total = (stack / (deviation[:, :, None] * deviation[:, None, :])).sum(axis=(1, 2))
        common = (general**2).sum(axis=1)
        results = (
            general.sum(axis=1) ** 2 / total,
            1 - residuals.sum(axis=1) / total,
            common / (common + (group**2).sum(axis=(1, 2))),
        )
    negative = (general < 0).sum(axis=1)
    for place in np.flatnonzero(negative):
        _add(doubt, place, f"{negative[place]} of {k} items have a negative loading on the general factor")
    shaped = [np.reshape(one, (*shape, *one.shape[1:])) for one in (general, group, residuals, phi, *results, problem, doubt, oblique)]
    return SchmidLeiman(*shaped)


def _add(told: np.ndarray, place: int, words: str) -> None:
    told[place] = "; ".join(filter(None, (told[place], words)))


def _refusal(k: int, factors: int) -> str:
    if factors < MIN_FACTORS:
        return f"a general factor beside group factors needs at least {MIN_FACTORS} factors; asked for {factors}"
    least = MIN_ITEMS_PER_FACTOR * factors
    if k < least:
        return f"{factors} factors need at least {least} items; has {k}"
    return ""


def minres(correlation: np.ndarray, factors: int, start: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return minimum residual (unweighted least squares) factors of correlation matrices (Harman & Jones, 1966).

    Newton on residual variances between ``FLOOR`` and 1, with the exact second derivatives of Joereskog (1977); where these do not lead
    downhill, with their first part, which always does.

    Parameters
    ----------
    correlation : ndarray, shape (b, k, k)
    factors : int
        Number of factors.
    start : ndarray, shape (k,), optional
        Residual variances.

    Returns
    -------
    loadings : ndarray, shape (b, k, factors)
        Unrotated.
    residuals : ndarray, shape (b, k)
    problem : ndarray of str, shape (b,)
        Not empty where there is no proper solution.
    """
    count, k, _ = correlation.shape
    loadings, residuals, problem = (
        np.full((count, k, factors), np.nan),
        np.full((count, k), np.nan),
        np.full(count, NOT_CONVERGED, dtype=object),
    )
    left = np.broadcast_to(_first_residuals(correlation) if start is None else start, (count, k)).clip(FLOOR, 1.0)
    where, active, length = np.arange(count), correlation, np.ones(count)
    value, gradient, step, load = _minres_point(active, left, factors)
    for _ in range(_STEPS):
        trial = (left + length[:, None] * step).clip(FLOOR, 1.0)
        found = _minres_point(active, trial, factors)
        better = found[0] <= value + 1e-15
        moved = np.abs(trial - left).max(axis=1)
        left = np.where(better[:, None], trial, left)
        value = np.where(better, found[0], value)
        gradient, step = (np.where(better[:, None], new, old) for new, old in zip(found[1:3], (gradient, step)))
        load = np.where(better[:, None, None], found[3], load)
        length = np.where(better, 1.0, length / 2)
        converged = better & (moved < _TOLERANCE)
        done = converged | (length < 1e-6)
        if done.any():
            at_floor = ((left <= FLOOR) & (gradient > 0)).any(axis=1)
            empty = (load**2).sum(axis=1).min(axis=1) < _NO_VARIANCE
            problem[where[converged]] = np.select([empty, at_floor], [NO_FACTOR, IMPROPER], "")[converged]
            loadings[where[converged]], residuals[where[converged]] = load[converged], left[converged]
            keep = ~done
            if not keep.any():
                break
            where, active, length, left, value = where[keep], active[keep], length[keep], left[keep], value[keep]
            gradient, step, load = gradient[keep], step[keep], load[keep]
    return loadings, residuals, problem


def _first_residuals(correlation: np.ndarray) -> np.ndarray:
    """Return one over the diagonal of the inverse: what the other items leave of each."""
    ridge = 1e-6 * np.eye(correlation.shape[1])
    return 1 / np.diagonal(np.linalg.inv(correlation + ridge), axis1=1, axis2=2)


def _minres_point(correlation: np.ndarray, left: np.ndarray, factors: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return half the sum of squared residuals, its derivatives by residual variances, Newton's step and the loadings."""
    k = correlation.shape[1]
    values, vectors = np.linalg.eigh(correlation - left[:, :, None] * np.eye(k))
    rest, rest_vectors = values[:, : k - factors], vectors[:, :, : k - factors]
    top, top_vectors = values[:, k - factors :][:, ::-1], vectors[:, :, k - factors :][:, :, ::-1]
    gradient = -np.einsum("bm,bim->bi", rest, rest_vectors**2)
    first = (rest_vectors @ np.swapaxes(rest_vectors, 1, 2)) ** 2
    gap = np.maximum(top[:, None, :] - rest[:, :, None], 1e-8)
    second = np.zeros_like(first)
    for factor in range(factors):
        ratio = -2 * rest / gap[:, :, factor]
        inner = (rest_vectors * ratio[:, None, :]) @ np.swapaxes(rest_vectors, 1, 2)
        vector = top_vectors[:, :, factor]
        second += inner * vector[:, :, None] * vector[:, None, :]
    fixed = ((left <= FLOOR) & (gradient > 0)) | ((left >= 1) & (gradient < 0))
    free = ~fixed
    both = free[:, :, None] & free[:, None, :]
    still = fixed[:, :, None] * np.eye(k)
    ridge = 1e-10 * np.eye(k)
    downhill = np.where(free, -gradient, 0.0)
    step = np.linalg.solve(np.where(both, first + second, 0.0) + still + ridge, downhill[:, :, None])[:, :, 0]
    uphill = np.einsum("bi,bi->b", step, downhill) <= 0
    if uphill.any():
        step[uphill] = np.linalg.solve((np.where(both, first, 0.0) + still + ridge)[uphill], downhill[uphill][:, :, None])[:, :, 0]
    load = top_vectors * np.sqrt(np.maximum(top, 0.0))[:, None, :]
    return (rest**2).sum(axis=1) / 2, gradient, step, load


def oblimin(loadings: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return direct oblimin rotations (gamma 0, quartimin; Jennrich & Sampson, 1966) by gradient projection (Jennrich, 2002).

    Parameters
    ----------
    loadings : ndarray, shape (b, k, f)
        Unrotated.
    start : ndarray, shape (b, f, f)
        Rotations to start from, columns of length one.

    Returns
    -------
    rotated : ndarray, shape (b, k, f)
        Pattern.
    phi : ndarray, shape (b, f, f)
        Correlations of the factors.
    converged : ndarray of bool, shape (b,)
    criterion : ndarray, shape (b,)
        Sum over pairs of factors of the products of squared loadings, halved.
    """
    count = len(loadings)
    turn = np.array(np.broadcast_to(start, (count, *start.shape[-2:])))
    converged = np.zeros(count, dtype=bool)
    where, active, length = np.arange(count), loadings, np.ones(count)
    here, now = turn.copy(), _quartimin(loadings, turn)
    for _ in range(_ROTATION_STEPS):
        value, slope = now
        projected = slope - here * (here * slope).sum(axis=1)[:, None, :]
        size = np.sqrt((projected**2).sum(axis=(1, 2)))
        done = size < _ROTATED
        if done.any():
            converged[where[done]] = True
            keep = ~done
            if not keep.any():
                break
            where, active, here, length, projected, size, value, slope = (
                one[keep] for one in (where, active, here, length, projected, size, value, slope)
            )
        length = length * 2
        trial, found, open_ = here, (value, slope), np.ones(len(where), dtype=bool)
        for _ in range(11):
            step = here - length[:, None, None] * projected
            step = step / np.sqrt((step**2).sum(axis=1))[:, None, :]
            new = _quartimin(active, step)
            enough = value - new[0] > 0.5 * size**2 * length
            trial = np.where(open_[:, None, None], step, trial)
            found = np.where(open_, new[0], found[0]), np.where(open_[:, None, None], new[1], found[1])
            open_ &= ~enough
            if not open_.any():
                break
            length = np.where(open_, length / 2, length)
        here, now = trial, found
        turn[where] = here
    rotated = loadings @ np.swapaxes(_inverse(turn), 1, 2)
    return rotated, np.swapaxes(turn, 1, 2) @ turn, converged, _quartimin(loadings, turn)[0]


def _quartimin(loadings: np.ndarray, turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inverse = _inverse(turn)
    rotated = loadings @ np.swapaxes(inverse, 1, 2)
    squares = rotated**2
    others = squares.sum(axis=2, keepdims=True) - squares
    slope = -np.swapaxes(np.swapaxes(rotated, 1, 2) @ (rotated * others) @ inverse, 1, 2)
    return (squares * others).sum(axis=(1, 2)) / 4, slope


def _inverse(stack: np.ndarray) -> np.ndarray:
    """Return inverses, shape (b, f, f); NaN where a matrix has none, so that one resample in which factors collapse leaves the others."""
    try:
        return np.linalg.inv(stack)
    except np.linalg.LinAlgError:
        singular = np.abs(np.linalg.det(stack)) < _SINGULAR
        inverse = np.linalg.inv(np.where(singular[:, None, None], np.eye(stack.shape[-1]), stack))
        inverse[singular] = np.nan
        return inverse


def _best_rotation(loadings: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool, str]:
    """Return the oblimin rotation with the lowest criterion among fixed starts, and a doubt where that from varimax is not it."""
    factors = loadings.shape[1]
    random = generator(0, "schmid_leiman", "starts", factors)
    others = np.linalg.qr(random.standard_normal((STARTS, factors, factors)))[0]
    starts = np.concatenate([_varimax(loadings)[None], others])
    rotated, phi, converged, criterion = oblimin(np.broadcast_to(loadings, (len(starts), *loadings.shape)), starts)
    criterion = np.where(converged, criterion, np.inf)
    best = int(np.argmin(criterion))
    if not converged.any() or criterion[0] <= criterion[best] + 1e-6:
        best = 0
    doubt = "" if best == 0 else "the rotation has several minima; the lowest of 21 starts was taken"
    return rotated[best], phi[best], bool(converged[best]), doubt


def _varimax(loadings: np.ndarray) -> np.ndarray:
    """Return the varimax rotation (Kaiser, 1958) of rows scaled to length one."""
    scaled = loadings / np.sqrt(np.maximum((loadings**2).sum(axis=1), 1e-12))[:, None]
    turn, before = np.eye(loadings.shape[1]), 0.0
    for _ in range(1000):
        turned = scaled @ turn
        left, values, right = np.linalg.svd(scaled.T @ (turned**3 - turned * (turned**2).mean(axis=0)))
        turn, total = left @ right, values.sum()
        if total < before * (1 + 1e-10):
            break
        before = total
    return turn


def _nearest(loadings: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """Return starts of the rotation that bring unrotated loadings nearest to a pattern by least squares."""
    cross = np.swapaxes(loadings, 1, 2) @ loadings
    inverse = np.linalg.solve(cross, np.swapaxes(loadings, 1, 2) @ pattern)
    turn = np.swapaxes(np.linalg.inv(inverse), 1, 2)
    return turn / np.sqrt((turn**2).sum(axis=1))[:, None, :]
