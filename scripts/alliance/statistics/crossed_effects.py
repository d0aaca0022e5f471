"""Restricted likelihood of two crossed random factors, many targets rated by few raters: value = mean + target + rater + error.

Sums over targets are all that is needed: the effects of targets are eliminated one by one, those of raters as a small dense block (Bates,
Mächler, Bolker & Walker, 2015). Sums add up over groups of targets, so that many data sets (each without one group) are fitted at once.
Variances may come out negative here, as those of the analysis of variance may: with complete ratings the two are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alliance.statistics.covariance import cluster_sums

_NOTHING = 1e-10
_ITERATIONS = 60
_STEP = 1e-4
_FLAT = 1e-10
_FARTHEST = 60.0
_GRID = ((-0.5, 0.5, 1.5, 3.0, 5.0), (-0.3, 1.0, 3.0))


@dataclass(frozen=True)
class RatingSums:
    """Sums over ratings of one or more data sets; the leading axes of all arrays are the data sets.

    Columns are one a rater (1 where the rating is that rater's), and the value last. One column of ones in place of raters leaves raters
    out: the one-way model.

    Attributes
    ----------
    sizes : ndarray, shape (d,)
        Numbers of ratings that a target can have.
    targets : ndarray, shape (..., d)
        How many targets have so many ratings.
    rows : ndarray, shape (..., p + 1, p + 1)
        Cross-products of the columns over ratings.
    totals : ndarray, shape (..., d, p + 1, p + 1)
        Cross-products of targets' sums of the columns, over the targets that have so many ratings.
    """

    sizes: np.ndarray
    targets: np.ndarray
    rows: np.ndarray
    totals: np.ndarray

    @property
    def n(self) -> np.ndarray:
        """Numbers of ratings."""
        return self.targets @ self.sizes

    @property
    def n_targets(self) -> np.ndarray:
        """Numbers of targets."""
        return self.targets.sum(axis=-1)

    def total(self) -> RatingSums:
        """Return the sums over all data sets, as one data set (the leading axis has length 1)."""
        return RatingSums(self.sizes, *(part.sum(axis=0, keepdims=True) for part in (self.targets, self.rows, self.totals)))

    def grouped(self, codes: np.ndarray, count: int) -> RatingSums:
        """Return the sums over groups of the data sets, given as codes 0..count - 1."""
        return RatingSums(self.sizes, *(cluster_sums(part, codes, count) for part in (self.targets, self.rows, self.totals)))

    def without_each(self) -> RatingSums:
        """Return the sums over all data sets but each in turn."""
        return RatingSums(self.sizes, *(part.sum(axis=0) - part for part in (self.targets, self.rows, self.totals)))

    def reduced(self, weights: np.ndarray) -> np.ndarray:
        """Return cross-products after targets, whose sums get a weight by number of ratings, shape (..., d), are taken out."""
        return self.rows - np.einsum("...d,...dij->...ij", weights, self.totals)


def rating_sums(target: np.ndarray, group: np.ndarray, rater: np.ndarray | None, values: np.ndarray) -> RatingSums:
    """Return the sums of ratings by groups of targets.

    Parameters
    ----------
    target, rater : ndarray of int, shape (n,)
        Codes 0.. of the target and rater of each rating; ``rater`` None: the one-way model.
    group : ndarray of int, shape (targets,)
        Code 0.. of the group of each target.
    values : ndarray, shape (n,)
    """
    rater = np.zeros(len(target), dtype=int) if rater is None else rater
    width = int(rater.max()) + 2
    columns = np.zeros((len(target), width))
    columns[np.arange(len(target)), rater] = 1.0
    columns[:, -1] = values
    n_groups, n_targets = int(group.max()) + 1, len(group)
    ratings = np.bincount(target, minlength=n_targets)
    sums = cluster_sums(columns, target, n_targets)
    sizes, size = np.unique(ratings, return_inverse=True)
    cell = group * len(sizes) + size
    shape = (n_groups, len(sizes))
    return RatingSums(
        sizes.astype(float),
        np.bincount(cell, minlength=n_groups * len(sizes)).reshape(shape).astype(float),
        cluster_sums(columns[:, :, None] * columns[:, None, :], group[target], n_groups),
        cluster_sums(sums[:, :, None] * sums[:, None, :], cell, n_groups * len(sizes)).reshape(*shape, width, width),
    )


@dataclass(frozen=True)
class RaterBlock:
    """What is left of ratings when targets are eliminated, along the eigenvectors of the raters' block; leading axes are data sets.

    Attributes
    ----------
    values : ndarray, shape (..., p)
        Eigenvalues, in ascending order, zero where nothing of a direction is left.
    ones, outcome : ndarray, shape (..., p)
        The intercept and the raters' sums of the value, in these directions.
    square : ndarray, shape (...)
        Sum of squares of the value.
    """

    values: np.ndarray
    ones: np.ndarray
    outcome: np.ndarray
    square: np.ndarray

    def log_det_and_rss(self, ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the log determinant (raters and intercept) and residual sum of squares at the raters' variance over that of error."""
        spread = 1 + np.asarray(ratio)[..., None] * self.values
        given = (self.ones**2 * self.values / spread).sum(axis=-1)
        cross = (self.ones * self.outcome / spread).sum(axis=-1)
        rss = self.square - np.asarray(ratio) * (self.outcome**2 / spread).sum(axis=-1) - cross**2 / given
        return np.log(spread).sum(axis=-1) + np.log(given), rss

    @property
    def rank(self) -> np.ndarray:
        """Number of directions of which something is left."""
        return (self.values > 0).sum(axis=-1)

    def explained(self, ratio: float = 0.0) -> np.ndarray:
        """Return the sum of squares of raters' fixed effects, weighted by 1 / (1 + ratio x eigenvalue)."""
        left = self.values > 0
        return np.where(left, self.outcome**2 / (np.where(left, self.values, 1.0) * (1 + ratio * self.values)), 0.0).sum(axis=-1)


def rater_block(reduced: np.ndarray, scale: np.ndarray) -> RaterBlock:
    """Return the raters' block of cross-products without targets; eigenvalues below 1e-10 of ``scale`` are zero."""
    values, vectors = np.linalg.eigh(reduced[..., :-1, :-1])
    values = np.where(values > _NOTHING * np.asarray(scale)[..., None], values, 0.0)
    outcome = np.einsum("...ij,...i->...j", vectors, reduced[..., :-1, -1])
    return RaterBlock(values, vectors.sum(axis=-2), np.where(values > 0, outcome, 0.0), reduced[..., -1, -1])


@dataclass(frozen=True)
class MeanSquares:
    """Analysis of variance of ratings; leading axes are data sets. Degrees of freedom and mean squares belong together.

    ``targets`` are adjusted for raters, ``raters`` for targets, ``error`` is left of both; ``within`` is left of targets alone.

    Attributes
    ----------
    targets, raters, error, within : ndarray
        Mean squares; NaN without degrees of freedom.
    df_targets, df_raters, df_error, df_within : ndarray
        Degrees of freedom.
    ratings_of_rater : ndarray
        Ratings of a rater that tell raters apart: the mean square of raters expects error + this x the raters' variance.
    """

    targets: np.ndarray
    raters: np.ndarray
    error: np.ndarray
    within: np.ndarray
    df_targets: np.ndarray
    df_raters: np.ndarray
    df_error: np.ndarray
    df_within: np.ndarray
    ratings_of_rater: np.ndarray


def mean_squares(sums: RatingSums) -> MeanSquares:
    """Return the mean squares of targets, raters and error."""
    largest = sums.rows.diagonal(axis1=-2, axis2=-1)[..., :-1].max(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        within = rater_block(sums.reduced(np.broadcast_to(1 / sums.sizes, sums.targets.shape)), largest)
        alone = rater_block(sums.rows, largest)
        df_within = sums.n - sums.n_targets
        df_error = df_within - within.rank
        left = within.square - within.explained()
        df_targets = sums.n - alone.rank - df_error
        between = alone.square - alone.explained() - left
        return MeanSquares(
            between / df_targets,
            within.explained() / np.where(within.rank > 0, within.rank, np.nan),
            np.where(df_error > 0, left / df_error, np.nan),
            np.where(df_within > 0, within.square / df_within, np.nan),
            df_targets,
            within.rank,
            df_error,
            df_within,
            within.values.sum(axis=-1) / np.where(within.rank > 0, within.rank, np.nan),
        )


@dataclass(frozen=True)
class VarianceRatios:
    """Variances of targets and raters over that of error, one a data set, with the variance of error.

    Attributes
    ----------
    targets, raters : ndarray
        May be negative unless they were held at zero or above.
    error : ndarray
        Variance of error.
    deviance : ndarray
        -2 times the restricted log-likelihood.
    converged : ndarray of bool
    """

    targets: np.ndarray
    raters: np.ndarray
    error: np.ndarray
    deviance: np.ndarray
    converged: np.ndarray


def restricted_ml(sums: RatingSums, start: tuple[float, float] | None = None, *, raters: bool = True) -> VarianceRatios:
    """Return the variance ratios of the largest restricted likelihood; that of raters is not negative, that of targets may be.

    Parameters
    ----------
    sums : RatingSums
        One leading axis of data sets.
    start : tuple of float, optional
        Ratios near the largest likelihood; found on a grid where not given.
    raters : bool
        Whether raters vary; otherwise their ratio is zero.
    """
    alone = _searched(sums, (start[0], 0.0) if start else None, targets=True, raters=False)
    if not raters:
        return alone
    both = _searched(sums, start, targets=True, raters=True)
    better = both.converged & (both.raters > 0)
    return VarianceRatios(*(np.where(better, *pair) for pair in zip(vars(both).values(), vars(alone).values(), strict=True)))


def non_negative(sums: RatingSums, *, raters: bool = True) -> VarianceRatios:
    """Return the ratios of the largest restricted likelihood of one data set among those that are not negative."""
    found = restricted_ml(sums, raters=raters)
    if found.targets[0] >= 0:
        return found
    only_raters = _searched(sums, None, targets=False, raters=raters)
    return only_raters if only_raters.raters[0] >= 0 else _searched(sums, None, targets=False, raters=False)


def _searched(sums: RatingSums, start: tuple[float, float] | None, *, targets: bool, raters: bool) -> VarianceRatios:
    """Return the ratios that Newton's method finds; those of targets or raters that do not vary are zero."""
    largest_target = sums.sizes.max()
    largest_rater = np.maximum(sums.rows.diagonal(axis1=-2, axis2=-1)[..., :-1].max(axis=-1), 1.0)

    def ratios(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Logarithms of mean squares over that of error: the deviance is nearly a parabola in them, and any value is allowed.
        return np.expm1(point[..., 0]) / largest_target, np.expm1(point[..., 1]) / largest_rater

    def deviance(point: np.ndarray) -> np.ndarray:
        return restricted_deviance(sums, *ratios(point), largest_rater)[0]

    if start is None:
        grid = [np.array([a, b]) for a in (_GRID[0] if targets else (0.0,)) for b in (_GRID[1] if raters else (0.0,))]
        tried = np.array([deviance(np.broadcast_to(one, (len(sums.rows), 2))) for one in grid])
        point = np.array(grid)[np.argmin(np.where(np.isfinite(tried), tried, np.inf), axis=0)]
    else:
        point = np.stack(np.broadcast_arrays(np.log1p(start[0] * largest_target), np.log1p(start[1] * largest_rater)), axis=-1)
    point, converged = newton(deviance, point, np.array([targets, raters]))
    by_target, by_rater = ratios(point)
    value, rss = restricted_deviance(sums, by_target, by_rater, largest_rater)
    return VarianceRatios(by_target, by_rater, rss / (sums.n - 1), value, converged)


def restricted_deviance(sums: RatingSums, targets: np.ndarray, raters: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return -2 times the restricted log-likelihood at ratios of variances, and the residual sum of squares."""
    spread = 1 + sums.sizes * np.asarray(targets)[..., None]
    block = rater_block(sums.reduced(np.asarray(targets)[..., None] / spread), scale)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_det, rss = block.log_det_and_rss(raters)
        df = sums.n - 1
        return (sums.targets * np.log(spread)).sum(axis=-1) + log_det + df * (1 + np.log(2 * np.pi * rss / df)), rss


def newton(function: Callable[[np.ndarray], np.ndarray], point: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the points that minimise a function of many data sets at once, and which of them are minima.

    Parameters
    ----------
    function : callable
        Takes points, shape (..., b, m), and returns shape (..., b).
    point : ndarray, shape (b, m)
        Where to start.
    free : ndarray of bool, shape (m,)
        Which coordinates move.
    """
    point = np.array(point, dtype=float)
    at = np.flatnonzero(free)
    if not len(at):
        return point, np.ones(len(point), dtype=bool)
    steps = _STEP * np.eye(point.shape[1])[at]
    pairs = [(i, j) for i in range(len(at)) for j in range(i)]
    moves = np.concatenate([np.zeros((1, point.shape[1])), steps, -steps, *(steps[i : i + 1] + steps[j : j + 1] for i, j in pairs)])
    done = np.zeros(len(point), dtype=bool)
    for _ in range(_ITERATIONS):
        here, ups, downs, corners = np.split(function(point + moves[:, None]), [1, 1 + len(at), 1 + 2 * len(at)])
        here = here[0]
        gradient = ((ups - downs) / (2 * _STEP)).T
        hessian = np.empty((len(point), len(at), len(at)))
        hessian[:, range(len(at)), range(len(at))] = ((ups - 2 * here + downs) / _STEP**2).T
        for (i, j), corner in zip(pairs, corners, strict=True):
            hessian[:, i, j] = hessian[:, j, i] = (corner - ups[i] - ups[j] + here) / _STEP**2
        usable = np.isfinite(hessian).all(axis=(1, 2)) & np.isfinite(gradient).all(axis=1)
        values, vectors = np.linalg.eigh(np.where(usable[:, None, None], hessian, np.eye(len(at))))
        along = np.einsum("bij,bi->bj", vectors, np.where(usable[:, None], gradient, 0.0))
        move = np.clip(-np.einsum("bij,bj->bi", vectors, along / np.maximum(np.abs(values), 1e-3)), -2.0, 2.0)
        done = usable & (-(gradient * move).sum(axis=1) < _FLAT) & (values[:, 0] > -1e-3)
        size = np.where(done | ~usable, 0.0, 1.0)
        if not size.any():
            point[:, at] += np.where(done[:, None], move, 0.0)
            break
        for _ in range(30):
            moved = point.copy()
            moved[:, at] += size[:, None] * move
            worse = (size > 0) & ~(function(moved) <= here)
            if not worse.any():
                break
            size = np.where(worse, size / 2, size)
        point = np.where(worse[:, None], point, moved)
        if (worse | (size == 0)).all():
            break
    return point, done


def exact_target_ratio(sums: RatingSums, level: float) -> tuple[float, float]:
    """Return the interval of the variance of targets over that of error that is exact for independent normal targets and any raters.

    At the true ratio the reduction of the residual sum of squares by targets, over what is left, has an F distribution (Wald, 1947); with
    complete ratings this is the F interval of Shrout & Fleiss (1979). Limits may be negative.

    Parameters
    ----------
    sums : RatingSums
        Of one data set, with at least one degree of freedom for targets and for error.
    level : float
        Confidence level.
    """
    squares = mean_squares(sums)
    df_targets, df_error = int(squares.df_targets[0]), int(squares.df_error[0])
    left = float(squares.error[0]) * df_error
    largest, scale = sums.sizes.max(), sums.rows.diagonal(axis1=-2, axis2=-1)[..., :-1].max(axis=-1)

    def statistic(point: float) -> float:
        ratio = np.expm1(point) / largest
        block = rater_block(sums.reduced(np.broadcast_to(ratio / (1 + sums.sizes * ratio), sums.targets.shape)), scale)
        return (float((block.square - block.explained())[0]) - left) / df_targets / float(squares.error[0])

    return _pivot_limits(statistic, largest, df_targets, df_error, level)


def exact_rater_ratio(sums: RatingSums, level: float) -> tuple[float, float]:
    """Return the interval of the variance of raters over that of error that is exact for normal raters and any targets (Wald, 1947)."""
    squares = mean_squares(sums)
    df_raters, df_error = int(squares.df_raters[0]), int(squares.df_error[0])
    scale = sums.rows.diagonal(axis1=-2, axis2=-1)[..., :-1].max(axis=-1)
    block = rater_block(sums.reduced(np.broadcast_to(1 / sums.sizes, sums.targets.shape)), scale)
    largest = float(block.values.max())

    def statistic(point: float) -> float:
        return float(block.explained(np.expm1(point) / largest)[0]) / df_raters / float(squares.error[0])

    return _pivot_limits(statistic, largest, df_raters, df_error, level)


def _pivot_limits(statistic: Callable[[float], float], largest: float, df1: int, df2: int, level: float) -> tuple[float, float]:
    """Return the ratios at which a statistic that falls with ln(1 + largest x ratio) meets the quantiles of F."""
    from scipy.optimize import brentq
    from scipy.special import fdtri

    limits = []
    for probability in ((1 + level) / 2, (1 - level) / 2):
        quantile = float(fdtri(df1, df2, probability))
        low, high = -1.0, 1.0
        while statistic(low) < quantile and low > -_FARTHEST:
            low *= 2
        while statistic(high) > quantile and high < _FARTHEST:
            high *= 2
        if statistic(low) < quantile or statistic(high) > quantile:
            limits.append(-1 / largest if statistic(low) < quantile else np.inf)
        else:
            limits.append(float(np.expm1(brentq(lambda point, q=quantile: statistic(point) - q, low, high, xtol=1e-13))) / largest)
    return limits[0], limits[1]
