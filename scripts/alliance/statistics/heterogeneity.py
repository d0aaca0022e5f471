"""Estimators of the variance between sites, written on sums over sites so that leaving out each site costs no pass over the others.

Everything that random-effects pooling needs at one value of tau2 is a function of the sums of ``w^p y^q`` over sites, w = 1 / (v + tau2).
:class:`Effects` takes them site by site; :class:`WithoutOne` takes them for all sites once and subtracts the site left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from alliance.statistics.distributions import chi_squared_quantile

SCORING_STEPS = 200
_NEWTON_STEPS = 100
_PANEL = 0.5
_NODES = 14


@dataclass(frozen=True)
class Sums:
    """Sums over sites at given values of tau2, each of shape (rows,).

    Attributes
    ----------
    one, two, three : ndarray
        Sums of w, w² and w³.
    mean : ndarray
        Weighted mean of the estimates.
    q, q2 : ndarray
        Sums of w (y - mean)² and of w² (y - mean)².
    """

    one: np.ndarray
    two: np.ndarray
    three: np.ndarray
    mean: np.ndarray
    q: np.ndarray
    q2: np.ndarray


class Rows(Protocol):
    """Sets of estimates to be pooled, one set a row.

    Attributes
    ----------
    count : ndarray of int, shape (rows,)
        Estimates in each set.
    start : ndarray, shape (rows,)
        Hedges and Olkin's estimate of tau2, where REML starts.
    scale : ndarray, shape (rows,)
        Smallest sampling variance.
    """

    count: np.ndarray
    start: np.ndarray
    scale: np.ndarray

    def sums(self, tau2: np.ndarray, rows: np.ndarray) -> Sums:
        """Return the sums of some rows at their values of tau2."""

    def single(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the estimates and variances of one row."""


@dataclass(frozen=True)
class Effects:
    """Estimates and variances, shape (effects, sites), with the cells in use."""

    y: np.ndarray
    v: np.ndarray
    used: np.ndarray
    count: np.ndarray = field(init=False)
    start: np.ndarray = field(init=False)
    scale: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        count = self.used.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(self.used, self.y, 0.0).sum(axis=1) / count
            spread = (np.where(self.used, self.y - mean[:, None], 0.0) ** 2).sum(axis=1) / (count - 1)
            start = np.maximum(0.0, np.nan_to_num(spread - np.where(self.used, self.v, 0.0).sum(axis=1) / count))
        object.__setattr__(self, "count", count)
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "scale", np.where(self.used, self.v, np.inf).min(axis=1, initial=np.inf))

    def weights(self, tau2: np.ndarray, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        return np.where(self.used[rows], 1 / (self.v[rows] + tau2[:, None]), 0.0)

    def sums(self, tau2: np.ndarray, rows: np.ndarray) -> Sums:
        chosen = slice(None) if rows.size == self.count.size else rows
        y, weights = self.y[chosen], self.weights(tau2, chosen)
        squared = weights * weights
        one = weights.sum(axis=1)
        mean = (weights * y).sum(axis=1) / one
        squares = (y - mean[:, None]) ** 2
        return Sums(
            one,
            squared.sum(axis=1),
            (squared * weights).sum(axis=1),
            mean,
            (weights * squares).sum(axis=1),
            (squared * squares).sum(axis=1),
        )

    def single(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        used = self.used[row]
        return self.y[row][used], self.v[row][used]


class SharedSums:
    """Sums of w^p y^q over the sites of one effect as functions of tau2, exact to rounding.

    In x = log(1 + tau2 / min(v)) every weight is analytic between the lines Im x = ±pi, so that its Chebyshev series over half a unit of x
    falls by a factor of about 20 a term (Trefethen, 2013, Approximation theory and approximation practice, theorem 8.2); 14 terms reach
    the precision of double numbers. Series are computed where they are first needed.
    """

    def __init__(self, y: np.ndarray, v: np.ndarray) -> None:
        self.v = v
        self.smallest = float(v.min())
        self.powers = np.stack([np.ones_like(y), y, y * y], axis=1)
        self.series: dict[int, np.ndarray] = {}

    def __call__(self, tau2: np.ndarray) -> np.ndarray:
        """Return sums at values of tau2, shape (rows,) to (rows, 9): p = 1 with q = 0, 1, 2, then p = 2, then p = 3."""
        x = np.log1p(tau2 / self.smallest) / _PANEL
        panel = np.floor(x).astype(int)
        basis = _chebyshev(2 * (x - panel) - 1)
        first = int(panel[0]) if panel.size else 0
        if (panel == first).all():
            return basis @ self._panel(first)
        result = np.empty((tau2.size, 9))
        for one in np.unique(panel):
            here = panel == one
            result[here] = basis[here] @ self._panel(int(one))
        return result

    def _panel(self, panel: int) -> np.ndarray:
        if panel not in self.series:
            nodes, transform = _nodes()
            tau2 = self.smallest * np.expm1((panel + (nodes + 1) / 2) * _PANEL)
            weights = 1 / (self.v + tau2[:, None])
            squared = weights * weights
            values = np.concatenate([power @ self.powers for power in (weights, squared, squared * weights)], axis=1)
            self.series[panel] = transform @ values
        return self.series[panel]


def _chebyshev(x: np.ndarray) -> np.ndarray:
    basis = np.empty((_NODES, x.size))
    basis[0], basis[1] = 1.0, x
    for term in range(2, _NODES):
        basis[term] = 2 * x * basis[term - 1] - basis[term - 2]
    return basis.T


def _nodes() -> tuple[np.ndarray, np.ndarray]:
    """Return Chebyshev's nodes and the matrix from values at them to coefficients."""
    nodes = np.cos(np.pi * (np.arange(_NODES) + 0.5) / _NODES)
    transform = 2 / _NODES * _chebyshev(nodes).T
    transform[0] /= 2
    return nodes, transform


class WithoutOne:
    """The sets that remain of one effect's estimates without each of them in turn, shape (k,) each."""

    def __init__(self, y: np.ndarray, v: np.ndarray) -> None:
        # Around the most precise estimates the sums of squares lose no digits.
        self.centre = float(np.average(y, weights=1 / v))
        self.y, self.v = y - self.centre, v
        self.count = np.full(y.size, y.size - 1)
        total = self.y.sum() - self.y
        squares = (self.y**2).sum() - self.y**2
        self.start = np.maximum(0.0, (squares - total**2 / self.count) / (self.count - 1) - (v.sum() - v) / self.count)
        ordered = np.argsort(v, kind="stable")
        self.scale = np.full(y.size, v[ordered[0]])
        self.scale[ordered[0]] = v[ordered[1]]
        self.shared = SharedSums(self.y, v)
        inverse = (v[ordered[0]] / v) ** 3
        # A site that makes up nearly all of a sum cannot be subtracted from it without losing digits.
        self.heavy = int(ordered[0]) if inverse.sum() < 1.01 else -1

    def sums(self, tau2: np.ndarray, rows: np.ndarray) -> Sums:
        w, y = 1 / (self.v[rows] + tau2), self.y[rows]
        own = np.stack([w, w * y, w * y * y], axis=1)
        total = self.shared(tau2) - np.concatenate([own, own * w[:, None], own * (w * w)[:, None]], axis=1)
        if self.heavy >= 0:
            for position in np.flatnonzero(rows == self.heavy):
                weight = 1 / (np.delete(self.v, self.heavy) + tau2[position])
                powers = np.delete(self.shared.powers, self.heavy, axis=0)
                total[position] = np.concatenate([weight**power @ powers for power in (1, 2, 3)])
        mean = total[:, 1] / total[:, 0]
        return Sums(
            total[:, 0],
            total[:, 3],
            total[:, 6],
            mean + self.centre,
            np.maximum(0.0, total[:, 2] - total[:, 1] * mean),
            np.maximum(0.0, total[:, 5] - 2 * mean * total[:, 4] + mean**2 * total[:, 3]),
        )

    def single(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        return np.delete(self.y, row), np.delete(self.v, row)


def between_variance(rows: Rows, method: str, zero: Sums, df: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return tau2 of every row and whether REML needed the bounded search.

    Parameters
    ----------
    rows : Rows
        What to pool.
    method : {"reml", "dersimonian_laird", "paule_mandel", "fixed"}
        Estimator.
    zero : Sums
        Sums at tau2 = 0.
    df : ndarray, shape (rows,)
        k - 1; NaN where there is nothing to pool.
    """
    not_searched = np.zeros(df.size, dtype=bool)
    if method == "fixed":
        return np.zeros(df.size), not_searched
    if method == "paule_mandel":
        return where_q_is(rows, zero.q, df), not_searched
    if method == "dersimonian_laird":
        return np.maximum(0.0, (zero.q - df) / (zero.one - zero.two / zero.one)), not_searched
    tau2, converged = _reml_by_scoring(rows, df)
    searched = ~converged & np.isfinite(df)
    for row in np.flatnonzero(searched):
        tau2[row] = _reml_by_search(*rows.single(int(row)))
    return tau2, searched


def _reml_by_scoring(rows: Rows, df: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fisher scoring from the Hedges-Olkin start, with halved steps where a step would leave zero."""
    tau2, scale = rows.start.copy(), rows.scale
    converged = np.zeros(tau2.size, dtype=bool)
    for _ in range(SCORING_STEPS):
        active = np.flatnonzero(~converged & np.isfinite(df))
        if not active.size:
            break
        now = rows.sums(tau2[active], active)
        score = now.q2 - (now.one - now.two / now.one)
        step = score / (now.two - 2 * now.three / now.one + (now.two / now.one) ** 2)
        at_zero = (tau2[active] == 0) & (step <= 0)
        for _ in range(60):
            outside = tau2[active] + step < 0
            if not outside.any():
                break
            step = np.where(outside, np.where(tau2[active] > 1e-12 * scale[active], step / 2, -tau2[active]), step)
        step = np.where(at_zero, 0.0, step)
        tau2[active] += step
        converged[active] = np.abs(step) <= 1e-10 * (tau2[active] + scale[active])
    return np.where(tau2 < 1e-8 * scale, 0.0, tau2), converged


def _reml_by_search(y: np.ndarray, v: np.ndarray) -> float:
    """Maximise the restricted likelihood of one effect on a grid, then between the grid's neighbours of the best point."""
    from scipy.optimize import minimize_scalar

    def deviance(tau2: float) -> float:
        weights = 1 / (v + tau2)
        mean = (weights * y).sum() / weights.sum()
        return float(np.log(weights.sum()) - np.log(weights).sum() + (weights * (y - mean) ** 2).sum())

    highest = 10 * float(np.var(y, ddof=1)) + 1e-8 * float(v.min())
    grid = np.concatenate([[0.0], np.geomspace(1e-8 * highest, highest, 200)])
    best = int(np.argmin([deviance(point) for point in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)]
    found = minimize_scalar(deviance, bounds=(low, high), method="bounded", options={"xatol": 1e-12 * highest})
    return float(found.x) if found.fun < deviance(grid[best]) else float(grid[best])


def where_q_is(rows: Rows, q: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the tau2 at which the generalised Q falls to ``target``; 0 where it is below already.

    Newton's method on 1 / Q, which grows and is concave in tau2 (Q' = -sum w² (y - mean)² and Q Q'' >= 2 Q'² by Cauchy and Schwarz), so
    that steps from zero never go too far and get ever shorter.
    """
    tau2 = np.zeros(q.size)
    moving = np.flatnonzero(np.isfinite(target) & (q > target))
    for _ in range(_NEWTON_STEPS):
        if not moving.size:
            break
        now = rows.sums(tau2[moving], moving)
        step = now.q * (now.q - target[moving]) / (target[moving] * now.q2)
        tau2[moving] = np.maximum(0.0, tau2[moving] + step)
        moving = moving[np.abs(step) > 1e-10 * (tau2[moving] + rows.scale[moving])]
    return tau2


def q_profile(rows: Rows, q: np.ndarray, df: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the Q-profile interval of tau2 (Viechtbauer, 2007)."""
    tail = (1 - level) / 2
    low, high = (where_q_is(rows, q, chi_squared_quantile(probability, df)) for probability in (1 - tail, tail))
    return low, high
