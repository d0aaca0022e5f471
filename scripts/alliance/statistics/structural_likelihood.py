"""The normal likelihood of structural equation models: implied moments, gradient, expected and observed information.

A model is written for all variables v, observed and latent: ``v = a + A v + e`` with ``cov(e) = S`` (McArdle & McDonald, 1984), so that
``M = (I - A)^-1``, ``C = M S M'`` and ``eta = M a`` are the moments of all variables, and those of the observed ones a part of them. The
derivative of the implied covariance matrix by one parameter has rank two, ``u w' + w u'``, so that all second-order quantities are
products of elements of one small matrix. Everything works on stacks: of groups (index g), and within a group of patterns of missing
values (units, index j).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

PATHS, COVARIANCES, INTERCEPTS = 0, 1, 2
_CHUNK = 4_000_000
_PRODUCTS = 300


@dataclass(frozen=True)
class Slots:
    """Where the parameters of a model stand, the same in every group.

    Attributes
    ----------
    kind : ndarray of int, shape (s,)
        ``PATHS`` (elements of A), ``COVARIANCES`` (of S) or ``INTERCEPTS`` (of a).
    row, col : ndarray of int, shape (s,)
        Variables: the dependent one and the predictor, or the two that covary; ``col`` is 0 for intercepts.
    p, m : int
        Number of observed variables, which come first, and of all variables.
    """

    kind: np.ndarray
    row: np.ndarray
    col: np.ndarray
    p: int
    m: int

    @cached_property
    def weight(self) -> np.ndarray:
        """Factor of the rank-two derivative of the covariance matrix: 1/2 for variances, 0 for intercepts."""
        half = (self.kind == COVARIANCES) & (self.row == self.col)
        return np.where(self.kind == INTERCEPTS, 0.0, np.where(half, 0.5, 1.0))

    @cached_property
    def other(self) -> np.ndarray:
        """Column of the second vector of the derivative in ``[M, C]``."""
        return np.where(self.kind == PATHS, self.m + self.col, self.col)

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Indices of the slots of each kind."""
        return tuple(np.flatnonzero(self.kind == kind) for kind in (PATHS, COVARIANCES, INTERCEPTS))

    @cached_property
    def order(self) -> tuple[int, ...] | None:
        """Variables with causes before effects, None where paths run in a circle."""
        is_path = self.kind == PATHS
        causes = {variable: set(self.col[is_path & (self.row == variable)].tolist()) for variable in range(self.m)}
        order: list[int] = []
        while len(order) < self.m:
            ready = [variable for variable in range(self.m) if variable not in order and causes[variable] <= set(order)]
            if not ready:
                return None
            order += ready
        return tuple(order)

    @cached_property
    def ordered_paths(self) -> tuple[tuple[int, int, int], ...]:
        """Slot, row and column of every path, those of a cause before those of its effects; only without circles."""
        place = {variable: index for index, variable in enumerate(self.order)}
        slots = sorted(self.places[PATHS].tolist(), key=lambda slot: place[int(self.row[slot])])
        return tuple((slot, int(self.row[slot]), int(self.col[slot])) for slot in slots)


@dataclass(frozen=True)
class Units:
    """What the likelihood needs of the data: sizes, means and covariances (divisor n) by group and pattern of observed variables.

    Attributes
    ----------
    n : ndarray, shape (J,)
    group : ndarray of int, shape (J,)
    covariance : ndarray, shape (J, p, p)
        Zero where a variable is not observed.
    mean : ndarray, shape (J, p)
    observed : ndarray of bool, shape (J, p)
    """

    n: np.ndarray
    group: np.ndarray
    covariance: np.ndarray
    mean: np.ndarray
    observed: np.ndarray

    @property
    def complete(self) -> bool:
        return bool(self.observed.all())


@dataclass(frozen=True)
class Implied:
    """Implied moments at a point, by group: ``path`` M, ``total`` C, ``level`` eta of all variables."""

    path: np.ndarray
    total: np.ndarray
    level: np.ndarray


@dataclass(frozen=True)
class State(Implied):
    """Implied moments at a point, and weights of the data, by unit.

    ``inverse`` is the inverse of the implied covariance of the observed variables (zero elsewhere), ``gap`` the data's mean minus the
    implied one, ``spread`` the data's second moments around the implied mean.
    """

    inverse: np.ndarray
    gap: np.ndarray
    spread: np.ndarray
    log_det: np.ndarray


def matrices(slots: Slots, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return A, S and a by group, shapes (G, m, m), (G, m, m), (G, m), for values of shape (G, s)."""
    groups, m = values.shape[0], slots.m
    a, s, level = np.zeros((groups, m, m)), np.zeros((groups, m, m)), np.zeros((groups, m))
    paths, covariances, intercepts = slots.places
    a[:, slots.row[paths], slots.col[paths]] = values[:, paths]
    s[:, slots.row[covariances], slots.col[covariances]] = values[:, covariances]
    s[:, slots.col[covariances], slots.row[covariances]] = values[:, covariances]
    level[:, slots.row[intercepts]] = values[:, intercepts]
    return a, s, level


def implied(slots: Slots, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return M, C and eta of all variables by group; LinAlgError where I - A has no inverse."""
    a, s, level = matrices(slots, values)
    if not slots.places[PATHS].size:
        return np.tile(np.eye(slots.m), (len(values), 1, 1)), s, level
    path = np.linalg.inv(np.eye(slots.m) - a)
    total = path @ s @ np.swapaxes(path, -1, -2)
    return path, (total + np.swapaxes(total, -1, -2)) / 2, (path @ level[..., None])[..., 0]


def recursive(slots: Slots, values: np.ndarray) -> np.ndarray:
    """Return the inverses of I - A without circles, shape (s, b) to (m, m, b): an effect is itself and its causes, times the paths."""
    path = np.zeros((slots.m, slots.m, values.shape[1]))
    path[np.arange(slots.m), np.arange(slots.m)] = 1.0
    for slot, row, col in slots.ordered_paths:
        path[row] += values[slot] * path[col]
    return path


def state(slots: Slots, values: np.ndarray, units: Units, means: bool) -> State | None:
    """Return what the likelihood is made of; None where the implied covariance matrix is not positive definite."""
    p = slots.p
    try:
        path, total, level = implied(slots, values)
        sigma = total[:, :p, :p]
        np.linalg.cholesky(sigma)
    except np.linalg.LinAlgError:
        return None
    if units.complete and len(units.n) == values.shape[0]:
        inverse, log_det = np.linalg.inv(sigma), np.linalg.slogdet(sigma)[1]
    else:
        inverse, log_det = padded_inverse(sigma[units.group], units.observed)
    gap = np.where(units.observed, units.mean - level[units.group, :p], 0.0) if means else np.zeros_like(units.mean)
    spread = units.covariance + gap[:, :, None] * gap[:, None, :]
    return State(path, total, level, inverse, gap, spread, log_det)


def padded_inverse(sigma: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the inverses of the observed parts of covariance matrices, zero elsewhere, and the logarithms of their determinants."""
    both = observed[:, :, None] & observed[:, None, :]
    diagonal = np.arange(observed.shape[1])
    padded = np.where(both, sigma, 0.0)
    padded[:, diagonal, diagonal] += ~observed
    inverse = np.where(both, np.linalg.inv(padded), 0.0)
    return inverse, np.linalg.slogdet(padded)[1]


def discrepancy(at: State, units: Units) -> float:
    """Return minus twice the log-likelihood without its constant."""
    return float(np.sum(units.n * (at.log_det + np.einsum("jab,jba->j", at.inverse, at.spread))))


def gradient(slots: Slots, at: State, units: Units) -> np.ndarray:
    """Return the derivatives of half the discrepancy (minus the log-likelihood) by group and slot, shape (G, s)."""
    return slopes(slots, at, *_residual_weights(at, units, at.path.shape[0]))


def slopes(slots: Slots, at: Implied, weighted: np.ndarray, pull: np.ndarray) -> np.ndarray:
    """Return :func:`gradient` from the sums of n (P - P S P) and of n P d over a group's data, shapes (G, p, p) and (G, p).

    P is the inverse of the implied covariance of the observed variables, S the data's second moments around the implied mean, d the
    data's mean minus the implied one.
    """
    basis = _basis(slots, at)
    product = np.swapaxes(basis, 1, 2) @ weighted @ basis
    level = (np.swapaxes(basis, 1, 2) @ pull[..., None])[..., 0]
    values = slots.weight * product[:, slots.row, slots.other]
    return values - _mean_factor(slots, at) * level[:, slots.row]


def expected_information(slots: Slots, at: State, units: Units) -> np.ndarray:
    """Return the expected information of the slots, shape (G, s, s)."""
    groups, size = at.path.shape[0], slots.kind.size
    if _by_products(slots, units, groups):
        return _summed_information(slots, at, units, observed=False)
    basis, factor = _basis(slots, at), _mean_factor(slots, at)
    result = np.zeros((groups, size, size))
    for chunk in _chunks(units, size):
        group = units.group[chunk]
        left = basis[group]
        product = np.swapaxes(left, 1, 2) @ at.inverse[chunk] @ left
        blocks = _crossed(slots, product, product)
        blocks += factor[group][:, :, None] * factor[group][:, None, :] * product[:, slots.row[:, None], slots.row]
        _add(result, group, units.n[chunk], blocks)
    return result


def observed_information(slots: Slots, at: State, units: Units) -> np.ndarray:
    """Return the second derivatives of minus the log-likelihood by the slots, shape (G, s, s)."""
    groups, size = at.path.shape[0], slots.kind.size
    weight, row, other = slots.weight, slots.row, slots.other
    if _by_products(slots, units, groups):
        return _summed_information(slots, at, units, observed=True) + _curvature(slots, at, units)
    basis, factor = _basis(slots, at), _mean_factor(slots, at)
    result = np.zeros((groups, size, size))
    for chunk in _chunks(units, 2 * size):
        group = units.group[chunk]
        left = basis[group]
        turned = np.swapaxes(left, 1, 2)
        inverse = at.inverse[chunk]
        product = turned @ inverse @ left
        around = turned @ (inverse @ at.spread[chunk] @ inverse) @ left
        pull = (turned @ (inverse @ at.gap[chunk][..., None]))[..., 0]
        shift = factor[group]
        blocks = 2 * _crossed(slots, product, around) - _crossed(slots, product, product)
        blocks += shift[:, :, None] * shift[:, None, :] * product[:, row[:, None], row]
        mixed = pull[:, row, None] * product[:, other[:, None], row] + pull[:, other, None] * product[:, row[:, None], row]
        mixed *= weight[:, None] * shift[:, None, :]
        blocks += mixed + np.swapaxes(mixed, 1, 2)
        _add(result, group, units.n[chunk], blocks)
    return result + _curvature(slots, at, units)


def _by_products(slots: Slots, units: Units, groups: int) -> bool:
    """Return whether summing products over patterns costs less than summing the information of each pattern."""
    return len(units.n) > groups and slots.p**4 < _PRODUCTS * slots.kind.size**2


def _summed_information(slots: Slots, at: State, units: Units, observed: bool) -> np.ndarray:
    """Return the information without the curvature of the moments, from products of elements summed over patterns first.

    For derivatives E of the covariances and e of the means it is tr(E P E' D) / 2 + e' P e, D = P or, observed, 2 P S P - P, and then
    with the mixed terms d' P E P e: products of elements of P, D and P d are all that differs between patterns.
    """
    groups, size, p = at.path.shape[0], slots.kind.size, slots.p
    level, change = moment_slopes(slots, at)
    result = np.zeros((groups, size, size))
    for group in range(groups):
        here = units.group == group
        n, inverse, spread = units.n[here], at.inverse[here], at.spread[here]
        flat = inverse.reshape(len(n), -1)
        weighted = n[:, None] * flat
        second = 2 * (inverse @ spread @ inverse).reshape(len(n), -1) - flat if observed else flat
        table = (weighted.T @ second).reshape(p, p, p, p).transpose(1, 2, 3, 0).reshape(p * p, p * p)
        slopes = change[group].reshape(p * p, size)
        block = slopes.T @ table @ slopes / 2
        # Each of the two matrices stands first in half of the terms of the trace.
        block = (block + block.T) / 2
        block += level[group].T @ weighted.sum(axis=0).reshape(p, p) @ level[group]
        if observed:
            pull = (inverse @ at.gap[here][..., None])[..., 0]
            mixed = slopes.T @ (pull.T @ weighted).reshape(p * p, p) @ level[group]
            block += mixed + mixed.T
        result[group] = block
    return result


def _curvature(slots: Slots, at: State, units: Units) -> np.ndarray:
    """Return the part of the second derivatives that the curvature of the implied moments adds."""
    groups, size, m = at.path.shape[0], slots.kind.size, slots.m
    weighted, pull = _residual_weights(at, units, groups)
    basis = _basis(slots, at)
    product = np.swapaxes(basis, 1, 2) @ weighted @ basis
    level = (np.swapaxes(basis, 1, 2) @ pull[..., None])[..., 0]
    result = np.zeros((groups, size, size))
    paths, covariances, intercepts = slots.places
    i, j = slots.row[paths][:, None], slots.col[paths][:, None]
    k, n = slots.row[paths], slots.col[paths]
    block = at.path[:, n, i] * product[:, k, m + j] + at.total[:, n, j] * product[:, i, k] + at.path[:, j, k] * product[:, i, m + n]
    block -= level[:, None, k] * at.path[:, n, i] * at.level[:, j] + level[:, i] * at.path[:, j, k] * at.level[:, None, n]
    result[:, paths[:, None], paths] = block
    k, n = slots.row[covariances], slots.col[covariances]
    block = slots.weight[covariances] * (at.path[:, j, n] * product[:, i, k] + at.path[:, j, k] * product[:, i, n])
    result[:, paths[:, None], covariances] = block
    result[:, covariances[:, None], paths] = np.swapaxes(block, 1, 2)
    block = -level[:, i] * at.path[:, j, slots.row[intercepts]]
    result[:, paths[:, None], intercepts] = block
    result[:, intercepts[:, None], paths] = np.swapaxes(block, 1, 2)
    return result


def moment_slopes(slots: Slots, at: State) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivatives of implied means and covariances by the slots, shapes (G, p, s) and (G, p, p, s)."""
    basis = _basis(slots, at)
    first, second = basis[:, :, slots.row], basis[:, :, slots.other]
    outer = slots.weight * first[:, :, None] * second[:, None, :]
    return _mean_factor(slots, at)[:, None, :] * first, outer + np.swapaxes(outer, 1, 2)


def _basis(slots: Slots, at: Implied) -> np.ndarray:
    return np.concatenate([at.path[:, : slots.p], at.total[:, : slots.p]], axis=2)


def _mean_factor(slots: Slots, at: Implied) -> np.ndarray:
    """Return the factor of ``M[:, row]`` in the derivative of the means, shape (G, s)."""
    return np.where(slots.kind == PATHS, at.level[:, slots.col], np.where(slots.kind == INTERCEPTS, 1.0, 0.0))


def _residual_weights(at: State, units: Units, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Return n (P - P S P) and n P d, summed over the units of a group."""
    weighted = units.n[:, None, None] * (at.inverse - at.inverse @ at.spread @ at.inverse)
    pull = units.n[:, None] * (at.inverse @ at.gap[..., None])[..., 0]
    if len(units.n) == groups:
        return weighted, pull
    return _summed(weighted, units.group, groups), _summed(pull, units.group, groups)


def _summed(values: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    total = np.zeros((groups, *values.shape[1:]))
    np.add.at(total, group, values)
    return total


def _crossed(slots: Slots, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Return, for all pairs of slots, half the trace of the product of their derivatives with ``one`` and ``two`` between them."""
    u, v = slots.row, slots.other
    values = one[:, u[:, None], u] * two[:, v[:, None], v] + one[:, u[:, None], v] * two[:, v[:, None], u]
    if one is not two:
        values += one[:, v[:, None], v] * two[:, u[:, None], u] + one[:, v[:, None], u] * two[:, u[:, None], v]
        values /= 2
    return values * (slots.weight[:, None] * slots.weight)


def _chunks(units: Units, size: int) -> Sequence[slice]:
    step = max(1, _CHUNK // max(1, size * size))
    return [slice(start, start + step) for start in range(0, len(units.n), step)]


def _add(result: np.ndarray, group: np.ndarray, n: np.ndarray, blocks: np.ndarray) -> None:
    if len(np.unique(group)) == len(group):
        result[group] += n[:, None, None] * blocks
        return
    for one in np.unique(group):
        of_group = group == one
        result[one] += np.tensordot(n[of_group], blocks[of_group], axes=1)
