"""Maximum likelihood factor analysis with one factor, of one covariance matrix or many at once.

Fisher scoring on loadings and residual variances together. With one factor the information matrix is a diagonal plus matrices of rank
one (Lawley & Maxwell, 1971, ch. 4), so that a step costs one product of the covariance matrix and a vector: thousands of resamples take
as long as a few fits by a general optimiser.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

MIN_ITEMS = 3
FLOOR = 1e-4
_TOLERANCE = 1e-8
_STEPS = 500
_SHORTEST = 2.0**-20


@dataclass(frozen=True)
class OneFactor:
    """One-factor solutions of a stack of covariance matrices.

    Attributes
    ----------
    loadings, residuals : ndarray, shape (..., k)
        Loadings on a factor with variance 1, their sum not negative, and residual variances, in the units of the items; NaN where
        ``problem`` is not empty.
    discrepancy : ndarray, shape (...)
        ln|Sigma| + tr(S Sigma^-1) - ln|S| - k, times n the likelihood ratio; NaN where S is singular.
    problem : ndarray of str, shape (...)
        Why there is no proper solution; empty where there is one.
    negative : ndarray of bool, shape (...)
        Whether an item has a negative loading.
    """

    loadings: np.ndarray
    residuals: np.ndarray
    discrepancy: np.ndarray
    problem: np.ndarray
    negative: np.ndarray

    def omega(self) -> np.ndarray:
        """Return omega total, (sum of loadings)^2 over that plus the residual variances (McDonald, 1999); NaN without a solution."""
        common = self.loadings.sum(axis=-1) ** 2
        return common / (common + self.residuals.sum(axis=-1))


NOT_IDENTIFIED = f"one factor needs at least {MIN_ITEMS} items"
CONSTANT = "an item does not vary"
HEYWOOD = "improper solution: a residual variance at or below zero"
NOT_CONVERGED = "the one-factor model did not converge"


def one_factor(covariance: ArrayLike, start: OneFactor | None = None) -> OneFactor:
    """Fit one factor by maximum likelihood.

    Residual variances are searched above ``FLOOR`` of the item's variance. Where the likelihood pushes one below, the solution without
    bounds has a negative or no residual variance (Heywood case), and no numbers are given.

    Parameters
    ----------
    covariance : array_like, shape (..., k, k)
        Covariance matrices of scored items; the divisor does not matter.
    start : OneFactor, optional
        One solution, of the full sample, to start resamples from.
    """
    covariance = np.asarray(covariance, dtype=float)
    k, shape = covariance.shape[-1], covariance.shape[:-2]
    stack = covariance.reshape(-1, k, k)
    count = len(stack)
    loadings, residuals, problem = np.full((count, k), np.nan), np.full((count, k), np.nan), np.full(count, "", dtype=object)
    variance = np.diagonal(stack, axis1=1, axis2=2)
    varies = np.isfinite(stack).all(axis=(1, 2)) & (variance > 1e-12).all(axis=1)
    problem[~varies] = CONSTANT
    if k < MIN_ITEMS:
        problem[:] = NOT_IDENTIFIED
    elif varies.any():
        deviation = np.sqrt(variance[varies])
        correlation = stack[varies] / (deviation[:, :, None] * deviation[:, None, :])
        warm = None
        if start is not None and start.problem == "":
            warm = (start.loadings / deviation, np.maximum(start.residuals / deviation**2, 0.01))
        found, left, faults = _solved(correlation, warm)
        loadings[varies], residuals[varies], problem[varies] = found * deviation, left * deviation**2, faults
    loadings *= np.where(loadings.sum(axis=1) < 0, -1, 1)[:, None]
    return OneFactor(
        loadings.reshape(*shape, k),
        residuals.reshape(*shape, k),
        _discrepancy(stack, loadings, residuals).reshape(shape),
        problem.reshape(shape),
        (loadings < 0).any(axis=1).reshape(shape),
    )


def _solved(correlation: np.ndarray, warm: tuple[np.ndarray, np.ndarray] | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return loadings, residual variances and problems, from a start that is near, or else the best of several."""
    if warm is not None:
        loadings, residuals, problem, _ = _scoring(correlation, *warm)
        lost = problem == NOT_CONVERGED
        if lost.any():
            loadings[lost], residuals[lost], problem[lost] = _solved(correlation[lost], None)
        return loadings, residuals, problem
    runs = [_scoring(correlation, *begin) for begin in _starts(correlation)]
    best = np.argmin([run[3] for run in runs], axis=0)
    return tuple(np.choose(best.reshape(-1, *[1] * (runs[0][part].ndim - 1)), [run[part] for run in runs]) for part in range(3))


def _starts(correlation: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return starting loadings and residual variances: the likelihood of a small sample can have several maxima.

    The first principal component given what items leave of each other (Joereskog, 1967), equal loadings, and the two largest principal
    components.
    """
    count, k, _ = correlation.shape
    ridge = 1e-6 * np.eye(k)
    residuals = np.clip((1 - 1 / (2 * k)) / np.diagonal(np.linalg.inv(correlation + ridge), axis1=1, axis2=2), 0.05, 0.95)
    scale = np.sqrt(residuals)
    values, vectors = np.linalg.eigh(correlation / (scale[:, :, None] * scale[:, None, :]))
    first = scale * vectors[:, :, -1] * np.sqrt(np.maximum(values[:, -1] - 1, 0.1))[:, None]
    values, vectors = np.linalg.eigh(correlation)
    components = [np.clip(vectors[:, :, -place] * np.sqrt(values[:, -place])[:, None], -0.95, 0.95) for place in (1, 2)]
    half = np.full((count, k), 0.5)
    return [(first, residuals), (np.sqrt(half), half), *((one, 1 - one**2) for one in components)]


def _scoring(correlation: np.ndarray, load: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return loadings, residual variances, problems and half the discrepancy of correlation matrices.

    Full steps can swing round the minimum where the model fits badly: the length of the next one is that which would have ended where the
    slope along the last is zero. A trial that does not lower the discrepancy is halved. Each matrix goes for itself and leaves the stack
    when it is done.
    """
    count, k, _ = correlation.shape
    loadings, residuals, problem = np.full((count, k), np.nan), np.full((count, k), np.nan), np.full(count, NOT_CONVERGED, dtype=object)
    halves = np.full(count, np.inf)
    where, active, length = np.arange(count), correlation, np.ones(count)
    here = _Point.at(active, load, left)
    step, slope = here.step()
    for _ in range(_STEPS):
        trial = _Point.at(
            active,
            here.load + length[:, None] * step[0],
            # A residual variance shrinks at most fivefold a step: a first step that is too long is not a Heywood case.
            np.maximum(here.left + length[:, None] * step[1], here.left / 5),
        )
        better = trial.half <= here.half + 1e-12
        moved = np.maximum(np.abs(trial.load - here.load).max(axis=1), np.abs(trial.left - here.left).max(axis=1))
        here = trial.where(better, here)
        before, (step, after) = (step, slope), here.step()
        start, end = _along(before[1], before[0]), _along(after, before[0])
        straight = np.clip(length * start / np.where(end > start, start - end, start), 0.25, 2.0)
        slope, length = after, np.where(better, straight, length / 2)
        heywood = better & (here.left < FLOOR).any(axis=1)
        converged = better & (moved < _TOLERANCE) & ~heywood
        done = heywood | converged | (length < _SHORTEST) | ~np.isfinite(here.half)
        if done.any():
            problem[where[heywood]] = HEYWOOD
            problem[where[converged]] = ""
            known = heywood | converged
            halves[where[known]] = here.half[known]
            loadings[where[converged]], residuals[where[converged]] = here.load[converged], here.left[converged]
            keep = ~done
            if not keep.any():
                break
            where, active, length, here = where[keep], active[keep], length[keep], here.kept(keep)
            step, slope = (step[0][keep], step[1][keep]), (slope[0][keep], slope[1][keep])
    return loadings, residuals, problem, halves


def _along(slope: tuple[np.ndarray, np.ndarray], step: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return _dot(slope[0], step[0]) + _dot(slope[1], step[1])


@dataclass(frozen=True)
class _Point:
    """Loadings ``load`` and residual variances ``left`` of correlation matrices, half the discrepancy there and its derivatives."""

    load: np.ndarray
    left: np.ndarray
    half: np.ndarray
    weight: np.ndarray
    signal: np.ndarray
    product: np.ndarray

    @classmethod
    def at(cls, correlation: np.ndarray, load: np.ndarray, left: np.ndarray) -> _Point:
        weight = load / left
        signal = _dot(load, weight)
        product = (correlation @ weight[:, :, None])[:, :, 0]
        total = 1 + signal
        half = (np.log(left).sum(axis=1) + np.log(total) + (1 / left).sum(axis=1) - _dot(weight, product) / total) / 2
        return cls(load, left, half, weight, signal, product)

    def where(self, chosen: np.ndarray, other: _Point) -> _Point:
        if chosen.all():
            return self
        return _Point(*(_pick(chosen, getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__))

    def kept(self, keep: np.ndarray) -> _Point:
        return _Point(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))

    def step(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Return the step of Fisher scoring and the derivatives of half the discrepancy, by loadings and by residual variances.

        Written P for the inverse of Sigma, v for P times the loadings and c for the loadings times v, the information is c P + v v' for
        the loadings and P o P / 2 for the residual variances (o: element by element). Without the loadings the latter becomes
        Phi o Phi / 2 with Phi = P - v v' / c = D - w w' / signal, whose square is a diagonal and a matrix of rank one.
        """
        load, left, w, signal = self.load, self.left, self.weight, self.signal[:, None]
        total = 1 + signal
        v, c = w / total, signal / total

        def inverse(x: np.ndarray) -> np.ndarray:
            return x / left - w * (_dot(w, x)[:, None] / total)

        s_v = self.product / total
        of_load = v - inverse(s_v)
        of_left = (1 / left - w**2 / total - 1 / left**2 + 2 * w * s_v / left - w**2 * (_dot(w, s_v)[:, None] / total)) / 2
        across = _dot(load, of_load)[:, None]
        rest = of_left - v * (of_load / c - v * across / (2 * c**2))
        share = load**2 / left / signal
        # At a share of exactly one half the formula, not the matrix, is singular.
        diagonal = 1 - 2 * share
        diagonal = np.where(np.abs(diagonal) < 1e-6, 1e-6, diagonal) / left**2
        square = w**2 / signal
        solved = rest / diagonal
        solved -= square / diagonal * (_dot(square, solved) / (1 + _dot(square, square / diagonal)))[:, None]
        d_left = -2 * solved
        z = v * d_left
        d_load = -(left * of_load + load * across) / c + load * across / (2 * c**2) - z / c + load * (_dot(v, z)[:, None] / (2 * c**2))
        return (d_load, d_left), (of_load, of_left)


def _pick(chosen: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.where(chosen.reshape(-1, *[1] * (first.ndim - 1)), first, second)


def _dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.einsum("bi,bi->b", x, y)


def _discrepancy(stack: np.ndarray, loadings: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    result = np.full(len(stack), np.nan)
    known = np.flatnonzero(np.isfinite(residuals).all(axis=1))
    if len(known):
        s, load, left = stack[known], loadings[known], residuals[known]
        weight = load / left
        total = 1 + _dot(load, weight)
        variance = np.diagonal(s, axis1=1, axis2=2)
        trace = (variance / left).sum(axis=1) - np.einsum("bi,bij,bj->b", weight, s, weight) / total
        sign, size = np.linalg.slogdet(s)
        full = np.log(left).sum(axis=1) + np.log(total) + trace - size - s.shape[1]
        result[known] = np.where(sign > 0, full, np.nan)
    return result
