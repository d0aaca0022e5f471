"""The maximum of the likelihood of a structural equation model: start values, scoring, the covariance of the estimates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from alliance.statistics import structural_likelihood as likelihood
from alliance.statistics.structural_likelihood import COVARIANCES, INTERCEPTS, PATHS, Slots, State, Units
from alliance.statistics.structural_model import Layout

STEPS = 150
DIVERGED = 1e4
SINGULAR = 1e-10
_SCORING_STEPS = 5
_NEAR = 0.1
_CLOSE = 1e-9


def slots_of(layout: Layout) -> Slots:
    """Return where the terms of a model stand; observed variables come first."""
    at = {name: index for index, name in enumerate((*layout.observed, *layout.latent))}
    kind, row, col = [], [], []
    for term in layout.terms:
        kind.append(INTERCEPTS if term.op == "~1" else COVARIANCES if term.op == "~~" else PATHS)
        first, second = (term.rhs, term.lhs) if term.op == "=~" else (term.lhs, term.rhs or term.lhs)
        row.append(at[first])
        col.append(0 if term.op == "~1" else at[second])
    return Slots(np.array(kind), np.array(row), np.array(col), len(layout.observed), len(at))


@dataclass(frozen=True)
class Alike:
    """Groups that use as many free parameters, of which the same ones, by position, are shared with other groups.

    Attributes
    ----------
    groups : ndarray of int, shape (g,)
    own : ndarray of int, shape (g, k)
        Free parameters of one group only.
    at : ndarray of int, shape (g, l)
        Places of the others among :attr:`Parameters.shared`.
    mine, theirs : ndarray of int, shapes (k,) and (l,)
        Positions of both among the free parameters of a group.
    columns : ndarray of int, shape (g, k + l)
    mixing : ndarray, shape (g, s, k + l)
    """

    groups: np.ndarray
    own: np.ndarray
    at: np.ndarray
    mine: np.ndarray
    theirs: np.ndarray
    columns: np.ndarray
    mixing: np.ndarray


@dataclass(frozen=True)
class Parameters:
    """How the free parameters make up the slots of every group: ``slots = mixing[g] @ free[columns[g]] + constant[g]``.

    Attributes
    ----------
    columns : list of ndarray of int
        Free parameters that a group uses.
    mixing : list of ndarray, shape (s, len(columns[g]))
    constant : ndarray, shape (G, s)
    shared : ndarray of int
        Free parameters of more than one group.
    count : int
        Number of free parameters.
    """

    columns: list[np.ndarray]
    mixing: list[np.ndarray]
    constant: np.ndarray
    shared: np.ndarray
    count: int

    @classmethod
    def of(cls, layout: Layout) -> Parameters:
        count = len(layout.free_names)
        constant = np.where(layout.column < 0, layout.constant, layout.offset[layout.column] if layout.offset.size else 0.0)
        columns, mixing = [], []
        for distinct in layout.column:
            used = np.flatnonzero(distinct >= 0)
            if layout.mixing is None:
                own, where = np.unique(distinct[used], return_inverse=True)
                mixed = np.zeros((distinct.size, own.size))
                mixed[used, where] = 1
            else:
                rows = layout.mixing[distinct[used]]
                own = np.flatnonzero(rows.any(axis=0))
                mixed = np.zeros((distinct.size, own.size))
                mixed[used] = rows[:, own]
            columns.append(own)
            mixing.append(mixed)
        uses = np.bincount(np.concatenate(columns), minlength=count) if columns else np.zeros(count, dtype=int)
        return cls(columns, mixing, constant, np.flatnonzero(uses > 1), count)

    @cached_property
    def alike(self) -> list[Alike]:
        """Groups whose blocks of an information matrix can be worked on together."""
        is_shared, place = np.zeros(self.count, dtype=bool), np.zeros(self.count, dtype=int)
        is_shared[self.shared], place[self.shared] = True, np.arange(self.shared.size)
        found: dict[tuple[bool, ...], list[int]] = {}
        for group, columns in enumerate(self.columns):
            found.setdefault(tuple(is_shared[columns].tolist()), []).append(group)
        parts = []
        for shared, groups in found.items():
            mine, theirs = np.flatnonzero(~np.array(shared, dtype=bool)), np.flatnonzero(shared)
            columns, mixing = (np.stack([one[group] for group in groups]) for one in (self.columns, self.mixing))
            parts.append(Alike(np.array(groups), columns[:, mine], place[columns[:, theirs]], mine, theirs, columns, mixing))
        return parts

    def scaled(self, slot: np.ndarray, free: np.ndarray) -> Parameters:
        """Return the same for slots multiplied by ``slot`` and free parameters divided by ``free``."""
        mixing = [slot[:, None] * mixed * free[own] for own, mixed in zip(self.columns, self.mixing)]
        return Parameters(self.columns, mixing, self.constant * slot, self.shared, self.count)

    def slots(self, free: np.ndarray) -> np.ndarray:
        """Return the values of all slots, shape (..., count) to (..., G, s)."""
        return np.stack([free[..., own] @ mixed.T for own, mixed in zip(self.columns, self.mixing)], axis=-2) + self.constant

    def gathered(self, slopes: np.ndarray) -> np.ndarray:
        """Return derivatives by the free parameters from those by the slots, shape (..., G, s) to (..., count)."""
        total = np.zeros((*slopes.shape[:-2], self.count))
        for group, (own, mixed) in enumerate(zip(self.columns, self.mixing)):
            total[..., own] += slopes[..., group, :] @ mixed
        return total

    def nearest(self, values: np.ndarray) -> np.ndarray:
        """Return free parameters whose slots are nearest to ``values``, shape (G, s), by least squares."""
        squares = Arrow.of(self, np.broadcast_to(np.eye(values.shape[1]), (len(self.columns), values.shape[1], values.shape[1])))
        return squares.solve(self.gathered(values - self.constant))


@dataclass(frozen=True)
class Arrow:
    """An information matrix of free parameters: blocks of each group's own ones, bordered by those that groups share.

    Solved block by block, so that many groups cost no more than the sum of each.
    """

    own: list[np.ndarray]
    inverses: list[np.ndarray]
    borders: list[np.ndarray]
    shared: np.ndarray
    corner: np.ndarray
    scale: np.ndarray
    smallest: float
    direction: np.ndarray

    @classmethod
    def of(cls, parameters: Parameters, information: np.ndarray, ridge: float = 0.0) -> Arrow:
        """Return the information of the free parameters from that of the slots, shape (G, s, s).

        ``smallest`` is the smallest eigenvalue of the scaled blocks, ``direction`` the parameters that belong to it.
        """
        count, shared = parameters.count, parameters.shared
        blocks = [np.swapaxes(one.mixing, 1, 2) @ information[one.groups] @ one.mixing for one in parameters.alike]
        diagonal = np.zeros(count)
        for one, block in zip(parameters.alike, blocks):
            np.add.at(diagonal, one.columns, np.diagonal(block, axis1=1, axis2=2))
        scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        corner = np.zeros((shared.size, shared.size))
        inverses, borders = [], []
        smallest, direction = np.inf, np.zeros(count)
        for one, block in zip(parameters.alike, blocks):
            block = block * scale[one.columns][:, :, None] * scale[one.columns][:, None, :]
            np.add.at(corner, (one.at[:, :, None], one.at[:, None, :]), block[:, one.theirs[:, None], one.theirs])
            border = np.zeros((*one.own.shape, shared.size))
            border[np.arange(len(border))[:, None], :, one.at] = block[:, one.theirs[:, None], one.mine]
            inverse = block[:, one.mine[:, None], one.mine] + ridge * np.eye(one.mine.size)
            if one.mine.size:
                values, vectors = np.linalg.eigh(inverse)
                least = int(np.argmin(values[:, 0]))
                if values[least, 0] < smallest:
                    smallest, direction = float(values[least, 0]), np.zeros(count)
                    direction[one.own[least]] = vectors[least, :, 0]
                inverse = (vectors / np.where(np.abs(values) > 1e-300, values, 1e-300)[:, None, :]) @ np.swapaxes(vectors, 1, 2)
            inverses.append(inverse)
            borders.append(border)
            corner -= (np.swapaxes(border, 1, 2) @ inverse @ border).sum(axis=0)
        corner += ridge * np.eye(shared.size)
        if shared.size:
            values, vectors = np.linalg.eigh((corner + corner.T) / 2)
            if values[0] < smallest:
                smallest, direction = float(values[0]), np.zeros(count)
                direction[shared] = vectors[:, 0]
            corner = (vectors / np.where(np.abs(values) > 1e-300, values, 1e-300)) @ vectors.T
        own = [one.own for one in parameters.alike]
        return cls(own, inverses, borders, shared, corner, scale, smallest if count else np.inf, direction * scale)

    def solve(self, right: np.ndarray) -> np.ndarray:
        """Return the solution for one right-hand side or for columns of them."""
        scaled = right.reshape(len(right), -1) * self.scale[:, None]
        result = np.zeros_like(scaled)
        rest = scaled[self.shared].copy()
        for own, inverse, border in zip(self.own, self.inverses, self.borders):
            rest -= (np.swapaxes(border, 1, 2) @ (inverse @ scaled[own])).sum(axis=0)
        result[self.shared] = self.corner @ rest
        for own, inverse, border in zip(self.own, self.inverses, self.borders):
            result[own] = inverse @ (scaled[own] - border @ result[self.shared])
        return (result * self.scale[:, None]).reshape(right.shape)

    def inverse(self) -> np.ndarray:
        """Return the inverse of the whole matrix."""
        return self.solve(np.eye(self.scale.size))


@dataclass(frozen=True)
class Optimum:
    """The free parameters at the maximum, the state there, and whether it is one; ``steps`` is the number of iterations."""

    free: np.ndarray
    state: State | None
    converged: bool
    steps: int


def maximise(slots: Slots, parameters: Parameters, units: Units, means: bool, start: np.ndarray) -> Optimum:
    """Find the maximum from a start by Fisher scoring, near it by Newton's method where the information is positive definite.

    Parameters
    ----------
    start : ndarray, shape (count,)
        Free parameters, in units in which variables have standard deviations near 1.
    """
    free = start.copy()
    at = likelihood.state(slots, parameters.slots(free), units, means)
    if at is None:
        return Optimum(free, None, False, 0)
    value = likelihood.discrepancy(at, units)
    ridge, decrement = 0.0, np.inf
    for count in range(1, STEPS + 1):
        slope = parameters.gathered(likelihood.gradient(slots, at, units))
        information = None
        if count > _SCORING_STEPS or decrement < _NEAR:
            information = Arrow.of(parameters, likelihood.observed_information(slots, at, units))
        if information is None or information.smallest < SINGULAR:
            expected = likelihood.expected_information(slots, at, units)
            information = Arrow.of(parameters, expected, ridge)
            if information.smallest < SINGULAR:
                information = Arrow.of(parameters, expected, max(ridge, 1e-6))
        step = -information.solve(slope)
        decrement = float(-slope @ step)
        length, proposal = 1.0, None
        for _ in range(40):
            moved = likelihood.state(slots, parameters.slots(free + length * step), units, means)
            new = likelihood.discrepancy(moved, units) if moved is not None else np.inf
            if new <= value - 2e-4 * length * decrement + 1e-13 * abs(value):
                proposal = moved
                break
            length /= 2
        small = float(np.abs(step).max(initial=0.0)) < _CLOSE and decrement < 1e-10
        if proposal is None:
            if small:
                return Optimum(free, at, True, count)
            if ridge >= 1e3:
                return Optimum(free, at, False, count)
            ridge = max(1e-3, 10 * ridge)
            continue
        free, at, value = free + length * step, proposal, new
        ridge = ridge / 10 if length == 1.0 else ridge
        if small:
            return Optimum(free, at, True, count)
        if float(np.abs(free).max()) > DIVERGED:
            return Optimum(free, at, False, count)
    return Optimum(free, at, False, STEPS)


def start_values(layout: Layout, slots: Slots, constant: np.ndarray, covariances: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return start values of the slots by group, shape (G, s), in units in which variables have standard deviations near 1.

    Loadings come from principal axes of each factor's indicators, covariances of factors from composites of them, paths among observed
    variables from least squares.

    Parameters
    ----------
    constant : ndarray, shape (G, s)
        Fixed values in those units; NaN where free.
    covariances, means : ndarray, shapes (G, p, p) and (G, p)
    """
    among_observed = _paths_among_observed(slots)
    return np.stack([_start_of_group(layout, slots, among_observed, *one) for one in zip(constant, covariances, means)])


def _start_of_group(
    layout: Layout, slots: Slots, among_observed: list[np.ndarray], constant: np.ndarray, r: np.ndarray, mean: np.ndarray
) -> np.ndarray:
    p, m = slots.p, slots.m
    values = np.where(np.isfinite(constant), constant, 0.0)
    is_loading = np.array([term.op == "=~" for term in layout.terms], dtype=bool)
    variance_slot = {
        int(slots.row[index]): index for index in np.flatnonzero((slots.kind == COVARIANCES) & (slots.row == slots.col)).tolist()
    }
    variance = np.ones(m)
    variance[:p] = np.diagonal(r)
    explained = np.zeros((p, p))
    weights = np.zeros((p, m))
    loadings = {factor: np.flatnonzero(is_loading & (slots.col == factor)) for factor in range(p, m)}
    for factor in sorted(loadings, key=lambda one: (-(slots.row[loadings[one]] < p).sum(), one)):
        here = loadings[factor]
        items = slots.row[here]
        observed = items < p
        given = constant[here]
        if not observed.all():
            marker = np.flatnonzero(np.isfinite(given) & (given != 0))
            values[here] = np.where(np.isfinite(given), given, 1.0 if marker.size else 0.7)
            variance[factor] = 0.5 if marker.size else 1.0
            continue
        axis = _principal_axis((r - explained)[np.ix_(items, items)], np.diagonal(r)[items])
        marker = np.flatnonzero(np.isfinite(given) & (given != 0))
        if marker.size:
            first = marker[0]
            axis = axis if axis[first] >= 0 else -axis
            unit = max(axis[first], 0.2) / given[first]
        else:
            axis = axis if axis.sum() >= 0 else -axis
            slot = variance_slot.get(factor)
            fixed = constant[slot] if slot is not None else np.nan
            unit = 1 / np.sqrt(fixed) if np.isfinite(fixed) and fixed > 0 else 1.0
        if items.size == 1 and marker.size:
            unit = np.sqrt(variance[items[0]] * 0.9) / abs(given[0])
        values[here] = np.where(np.isfinite(given), given, axis / unit)
        variance[factor] = unit**2
        explained[np.ix_(items, items)] += np.outer(axis, axis)
        weights[items, factor] = axis / max(float(axis @ axis), 1e-6) * unit
    residual = np.maximum(np.diagonal(r) - np.diagonal(explained), 0.2 * np.diagonal(r))
    measured = np.isin(np.arange(p), slots.row[is_loading])
    for variable, slot in variance_slot.items():
        if variable < p:
            values[slot] = residual[variable] if measured[variable] else r[variable, variable]
        else:
            values[slot] = variance[variable]
    composites = weights.T @ (r - np.diag(residual)) @ weights
    composites[:p, :p] = r
    correlation = composites / np.sqrt(np.outer(variance, variance))
    between = np.flatnonzero((slots.kind == COVARIANCES) & (slots.row != slots.col))
    start = np.eye(m)
    dependent = np.isin(np.arange(p), slots.row[slots.kind == PATHS])
    outside = np.append(~dependent, np.ones(m - p, dtype=bool))
    for slot in between:
        one, two = slots.row[slot], slots.col[slot]
        if outside[one] and outside[two] and not np.isfinite(constant[slot]):
            limit = 0.99 if max(one, two) < p else 0.7
            start[one, two] = start[two, one] = np.clip(correlation[one, two], -limit, limit)
    smallest = np.linalg.eigvalsh(start)[0]
    shrink = min(1.0, 0.9 / (1 - smallest)) if smallest < 0.1 else 1.0
    for slot in between:
        one, two = slots.row[slot], slots.col[slot]
        values[slot] = shrink * start[one, two] * np.sqrt(variance[one] * variance[two])
    for paths in among_observed:
        outcome, causes = slots.row[paths[0]], slots.col[paths]
        square, cross = r[causes[:, None], causes], r[causes, outcome]
        slopes = np.where(np.isfinite(constant[paths]), constant[paths], np.linalg.solve(square, cross))
        values[paths] = slopes
        if outcome in variance_slot:
            values[variance_slot[outcome]] = r[outcome, outcome] - 2 * slopes @ cross + slopes @ square @ slopes
    intercepts = np.flatnonzero((slots.kind == INTERCEPTS) & (slots.row < p))
    if intercepts.size:
        paths = np.flatnonzero((slots.kind == PATHS) & (slots.row < p) & (slots.col < p))
        explained_mean = np.bincount(slots.row[paths], weights=values[paths] * mean[slots.col[paths]], minlength=p)
        values[intercepts] = (mean - explained_mean)[slots.row[intercepts]]
    return np.where(np.isfinite(constant), constant, values)


def _paths_among_observed(slots: Slots) -> list[np.ndarray]:
    """Return the paths to each variable that only observed ones predict; none where paths run in a circle."""
    paths = np.flatnonzero((slots.kind == PATHS) & (slots.row < slots.p))
    inside = paths[slots.col[paths] < slots.p]
    among = np.zeros((slots.p, slots.p))
    among[slots.row[inside], slots.col[inside]] = 1
    if np.linalg.matrix_power(among, slots.p).any():
        return []
    latent = np.isin(slots.row[paths], slots.row[paths[slots.col[paths] >= slots.p]])
    return [paths[slots.row[paths] == outcome] for outcome in np.unique(slots.row[paths[~latent]])]


def _principal_axis(block: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return loadings of one factor by a few steps of principal axes."""
    size = block.shape[0]
    if size == 1:
        return np.sqrt(0.7 * total)
    if size == 2:
        shared = np.sqrt(max(abs(block[0, 1]), 0.1))
        return np.array([shared, shared * (1 if block[0, 1] >= 0 else -1)])
    off = np.abs(block - np.diag(np.diagonal(block)))
    communality = off.max(axis=0)
    axis = np.zeros(size)
    for _ in range(5):
        values, vectors = np.linalg.eigh(block - np.diag(np.diagonal(block)) + np.diag(communality))
        axis = vectors[:, -1] * np.sqrt(max(values[-1], 0.05))
        communality = np.clip(axis**2, 0.05 * total, 0.9 * total)
    return np.sign(axis) * np.sqrt(np.minimum(axis**2, 0.9 * total))
