"""Structural equation models from rows: patterns of missing values, saturated moments, casewise scores, robust covariances and tests.

Scores and information matrices of the model, of the saturated model and of the baseline model come from one set of functions: the latter
two are models whose parameters are the moments themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance.statistics import structural_likelihood as likelihood
from alliance.statistics.covariance import cluster_codes, cluster_sums
from alliance.statistics.structural_likelihood import COVARIANCES, INTERCEPTS, Slots, State, Units
from alliance.statistics.structural_optimum import Parameters, maximise

_EM_STEPS = 5000
_EM_CLOSE = 1e-9
_EM_ROUGH = 1e-3
_NEWTON_LIMIT = 200


@dataclass(frozen=True)
class Cases:
    """Rows with at least one observed value.

    Attributes
    ----------
    values : ndarray, shape (n, p)
        Zero where missing.
    unit : ndarray of int, shape (n,)
        Pattern (within its group) of each row, an index of :class:`Units`.
    group : ndarray of int, shape (n,)
    cluster : ndarray of int, shape (n,), or None
        Codes, numbered within strata.
    n_clusters : tuple of int
        Clusters with rows in each group; empty without clusters.
    strata : tuple of int
        Stratum of each group: groups that have clusters in common are one, all others one each.
    n_in_strata : tuple of int
        Clusters of each stratum; empty without clusters.
    """

    values: np.ndarray
    unit: np.ndarray
    group: np.ndarray
    cluster: np.ndarray | None
    n_clusters: tuple[int, ...]
    strata: tuple[int, ...]
    n_in_strata: tuple[int, ...]

    @property
    def crossed(self) -> bool:
        """Whether any cluster has rows in more than one group."""
        return self.cluster is not None and len(set(self.strata)) < len(self.strata)

    def scaled(self, scale: np.ndarray) -> Cases:
        """Return the same with variables divided by ``scale``."""
        return replace(self, values=self.values / scale)


def cases_of(
    rows: Sequence[pd.DataFrame],
    clusters: Sequence[ArrayLike] | None,
    observed: Sequence[str],
    keep_incomplete: bool,
    shared_clusters: bool = False,
) -> tuple[Units, Cases]:
    """Return rows by group and pattern of missing values; rows without a cluster are left out.

    Parameters
    ----------
    rows : sequence of DataFrame
        One a group, with the columns ``observed``.
    clusters : sequence of array_like, optional
        Which cluster each row belongs to.
    keep_incomplete : bool
        Whether rows with some missing values are used; those with none observed never are.
    shared_clusters : bool
        Whether clusters of one name in several groups are one cluster.
    """
    values, units, groups, clustered = [], [], [], []
    patterns: list[tuple[int, np.ndarray]] = []
    for group, frame in enumerate(rows):
        matrix = frame[list(observed)].to_numpy(dtype=float)
        there = np.isfinite(matrix)
        usable = there.any(axis=1) if keep_incomplete else there.all(axis=1)
        if clusters is not None:
            named = np.asarray(clusters[group], dtype=object)
            if len(named) != len(matrix):
                raise ValueError("every row needs its cluster")
            usable &= ~pd.isna(named)
            clustered.append(named[usable])
        matrix, there = matrix[usable], there[usable]
        keys, where = np.unique(there, axis=0, return_inverse=True)
        values.append(np.where(there, matrix, 0.0))
        units.append(where.ravel() + len(patterns))
        groups.append(np.full(len(matrix), group))
        patterns.extend((group, key) for key in keys)
    joined, unit = np.concatenate(values), np.concatenate(units)
    p = len(observed)
    n, means, covariances = np.zeros(len(patterns)), np.zeros((len(patterns), p)), np.zeros((len(patterns), p, p))
    order = np.argsort(unit, kind="stable")
    bounds = np.searchsorted(unit[order], np.arange(len(patterns) + 1))
    for index in range(len(patterns)):
        part = joined[order[bounds[index] : bounds[index + 1]]]
        n[index], means[index] = len(part), part.mean(axis=0)
        centred = part - means[index]
        covariances[index] = centred.T @ centred / len(part)
    observed_here = np.array([key for _, key in patterns]).reshape(len(patterns), p)
    group_of = np.array([group for group, _ in patterns], dtype=int)
    found = Units(n, group_of, covariances, means, observed_here)
    if clusters is None:
        return found, Cases(joined, unit, np.concatenate(groups), None, (), tuple(range(len(rows))), ())
    strata = _strata(clustered) if shared_clusters else tuple(range(len(rows)))
    codes, in_strata = _codes(clustered, strata)
    counts = tuple(len(np.unique(code)) for code in codes)
    return found, Cases(joined, unit, np.concatenate(groups), np.concatenate(codes), counts, strata, in_strata)


def _strata(clusters: Sequence[np.ndarray]) -> tuple[int, ...]:
    """Return a number for each group, the same for groups that have clusters in common, directly or by way of others."""
    strata = list(range(len(clusters)))
    names = [set(one.tolist()) for one in clusters]
    for group in range(len(clusters)):
        for before in range(group):
            if strata[before] != strata[group] and names[before] & names[group]:
                joined = sorted((strata[before], strata[group]))
                strata = [joined[0] if one == joined[1] else one for one in strata]
    return tuple(sorted(set(strata)).index(one) for one in strata)


def _codes(clusters: Sequence[np.ndarray], strata: tuple[int, ...]) -> tuple[list[np.ndarray], tuple[int, ...]]:
    """Return codes of the clusters of each group, numbered within strata, and how many each stratum has."""
    codes: list[np.ndarray] = [np.array([], dtype=int)] * len(clusters)
    counts = []
    for stratum in range(max(strata) + 1):
        own = [group for group, one in enumerate(strata) if one == stratum]
        code, count = cluster_codes(np.concatenate([clusters[group] for group in own]))
        ends = np.cumsum([len(clusters[group]) for group in own])
        for group, part in zip(own, np.split(code, ends[:-1])):
            codes[group] = part
        counts.append(count)
    return codes, tuple(counts)


def saturated_slots(p: int, means: bool) -> Slots:
    """Return the slots of the model without restrictions: means, then elements of the covariance matrix."""
    first, second = np.triu_indices(p)
    level = np.arange(p if means else 0)
    kind = np.r_[np.full(level.size, INTERCEPTS), np.full(first.size, COVARIANCES)]
    return Slots(kind, np.r_[level, first], np.r_[np.zeros_like(level), second], p, p)


def baseline_slots(p: int, means: bool, exogenous: Sequence[int]) -> Slots:
    """Return the slots of the model in which only exogenous variables covary."""
    full = saturated_slots(p, means)
    keep = (full.kind == INTERCEPTS) | (full.row == full.col) | (np.isin(full.row, exogenous) & np.isin(full.col, exogenous))
    return Slots(full.kind[keep], full.row[keep], full.col[keep], p, p)


def moments_in(slots: Slots, covariances: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return the moments that slots of a saturated or baseline model stand for, shape (G, s)."""
    return np.where(slots.kind == INTERCEPTS, means[:, slots.row], covariances[:, slots.row, slots.col])


def own_parameters(groups: int, size: int) -> Parameters:
    """Return parameters of which every slot of every group is one."""
    columns = [np.arange(size) + group * size for group in range(groups)]
    return Parameters(columns, [np.eye(size)] * groups, np.zeros((groups, size)), np.array([], dtype=int), groups * size)


def fitted_moments(slots: Slots, units: Units, start: np.ndarray) -> np.ndarray | None:
    """Return the maximum likelihood estimates of a saturated model from incomplete data, None without convergence."""
    parameters = own_parameters(*start.shape)
    best = maximise(slots, parameters, units, True, start.ravel())
    return parameters.slots(best.free) if best.converged else None


def baseline_moments(units: Units, covariances: np.ndarray, means: np.ndarray, exogenous: Sequence[int]) -> np.ndarray | None:
    """Return the maximum likelihood estimates of a baseline model with means from incomplete data, None without convergence.

    Variables that covary with none have the moments of their own values; exogenous ones those of a saturated model of them alone.

    Parameters
    ----------
    units : Units
    covariances, means : ndarray, shapes (G, p, p) and (G, p)
        Start values of the exogenous ones.
    exogenous : sequence of int

    Returns
    -------
    ndarray, shape (G, s)
        Values of :func:`baseline_slots`.
    """
    groups, p = means.shape
    weight = units.n[:, None] * units.observed
    count = cluster_sums(weight, units.group, groups)
    mean = cluster_sums(weight * units.mean, units.group, groups) / count
    spread = np.diagonal(units.covariance, axis1=1, axis2=2) + (units.mean - mean[units.group]) ** 2
    covariance = np.zeros((groups, p, p))
    covariance[:, np.arange(p), np.arange(p)] = cluster_sums(weight * spread, units.group, groups) / count
    if len(exogenous) > 1:
        x = np.array(exogenous)
        some = np.flatnonzero(units.observed[:, x].any(axis=1))
        square = np.ix_(some, x, x)
        part = Units(units.n[some], units.group[some], units.covariance[square], units.mean[some][:, x], units.observed[some][:, x])
        slots = saturated_slots(x.size, True)
        found = fitted_moments(slots, part, moments_in(slots, covariances[:, x[:, None], x], means[:, x]))
        if found is None:
            return None
        mean[:, x], elements = found[:, : x.size], found[:, x.size :]
        one, two = x[slots.row[x.size :]], x[slots.col[x.size :]]
        covariance[:, one, two] = covariance[:, two, one] = elements
    return moments_in(baseline_slots(p, True, exogenous), covariance, mean)


def saturated_moments(units: Units, groups: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return means and covariances of incomplete data by maximum likelihood, shapes (G, p) and (G, p, p), and whether they converged.

    EM on the sufficient statistics of each pattern (Little & Rubin, 2002, ch. 11), then Newton's method while the number of moments is
    moderate; in units in which variables have standard deviations near 1.
    """
    p = units.mean.shape[1]
    means, covariances, converged = np.zeros((groups, p)), np.zeros((groups, p, p)), True
    slots = saturated_slots(p, True)
    quick = slots.kind.size <= _NEWTON_LIMIT
    for group in range(groups):
        here = units.group == group
        part = Units(units.n[here], np.zeros(here.sum(), dtype=int), units.covariance[here], units.mean[here], units.observed[here])
        mean, covariance, close = _em(part, _EM_ROUGH if quick else _EM_CLOSE)
        if quick and close:
            found = fitted_moments(slots, part, moments_in(slots, covariance[None], mean[None]))
            if found is not None:
                mean = found[0, :p]
                covariance[slots.row[p:], slots.col[p:]] = found[0, p:]
                covariance[slots.col[p:], slots.row[p:]] = found[0, p:]
            else:
                mean, covariance, close = _em(part, _EM_CLOSE)
        means[group], covariances[group], converged = mean, covariance, converged and close
    return means, covariances, converged


def _em(units: Units, tolerance: float) -> tuple[np.ndarray, np.ndarray, bool]:
    n = units.n
    weight = n[:, None] * units.observed
    count = weight.sum(axis=0)
    mean = (weight * units.mean).sum(axis=0) / count
    spread = np.diagonal(units.covariance, axis1=1, axis2=2) + (units.mean - mean) ** 2
    covariance = np.diag((weight * spread).sum(axis=0) / count)
    total = n.sum()
    for _ in range(_EM_STEPS):
        stacked = np.broadcast_to(covariance, units.covariance.shape)
        inverse, _ = likelihood.padded_inverse(stacked, units.observed)
        predict = covariance @ inverse
        gap = np.where(units.observed, units.mean - mean, 0.0)
        moved = (predict @ gap[..., None])[..., 0]
        second = predict @ units.covariance @ np.swapaxes(predict, 1, 2) + moved[:, :, None] * moved[:, None, :]
        second += covariance - predict @ covariance
        shift = n @ moved / total
        new = np.tensordot(n, second, axes=1) / total - np.outer(shift, shift)
        change = max(np.abs(new - covariance).max(), np.abs(shift).max())
        mean, covariance = mean + shift, (new + new.T) / 2
        if change < tolerance:
            return mean, covariance, True
    return mean, covariance, False


def scores(slots: Slots, at: State, cases: Cases, units: Units, means: bool, around_data: bool = False) -> np.ndarray:
    """Return each row's derivatives of the log-likelihood by the slots of its group, shape (n, s).

    ``around_data`` takes deviations from the observed in place of the implied means.
    """
    basis = np.concatenate([at.path[:, : slots.p], at.total[:, : slots.p]], axis=2)
    weight, row, other, unit = slots.weight, slots.row, slots.other, cases.unit
    centre = at.level[units.group, : slots.p] if means and not around_data else units.mean
    gap = np.where(units.observed[unit], cases.values - centre[unit], 0.0)
    left = at.inverse @ basis[units.group]
    product = (np.swapaxes(basis[units.group], 1, 2) @ left)[:, row, other]
    pulled = np.zeros((len(gap), basis.shape[2]))
    order = np.argsort(unit, kind="stable")
    for one, here in enumerate(np.split(order, np.searchsorted(unit[order], np.arange(1, len(units.n))))):
        pulled[here] = gap[here] @ left[one]
    result = weight * (pulled[:, row] * pulled[:, other] - product[unit])
    if not means:
        return result
    factor = np.where(slots.kind == INTERCEPTS, 1.0, np.where(slots.kind == COVARIANCES, 0.0, at.level[:, slots.col]))
    return result + factor[cases.group] * pulled[:, row]


def group_meats(values: np.ndarray, cases: Cases, groups: int) -> list[np.ndarray]:
    """Return the sum of squares of scores by group, of whole clusters where there are any (times G / (G - 1))."""
    blocks = []
    for group in range(groups):
        part, factor = _cluster_scores(values, cases, group)
        blocks.append(factor * (part.T @ part))
    return blocks


def between_groups(values: np.ndarray, cases: Cases, groups: int) -> dict[tuple[int, int], np.ndarray]:
    """Return the sum of products of the scores of two groups by cluster, for groups that have clusters in common."""
    if not cases.crossed:
        return {}
    parts = [_cluster_scores(values, cases, group) for group in range(groups)]
    return {
        (one, other): parts[one][1] * (parts[one][0].T @ parts[other][0])
        for one in range(groups)
        for other in range(one + 1, groups)
        if cases.strata[one] == cases.strata[other]
    }


def _cluster_scores(values: np.ndarray, cases: Cases, group: int) -> tuple[np.ndarray, float]:
    """Return a group's scores, summed by clusters of its stratum where there are any, and the factor of their products."""
    here = cases.group == group
    if cases.cluster is None:
        return values[here], 1.0
    count = cases.n_in_strata[cases.strata[group]]
    return cluster_sums(values[here], cases.cluster[here], count), count / (count - 1)


def meat(parameters: Parameters, blocks: Sequence[np.ndarray], between: Mapping[tuple[int, int], np.ndarray] | None = None) -> np.ndarray:
    """Return the middle of the sandwich of free parameters from that of the slots by group, and of pairs of groups that hang together."""
    total = np.zeros((parameters.count, parameters.count))
    for own, mixed, block in zip(parameters.columns, parameters.mixing, blocks):
        total[np.ix_(own, own)] += mixed.T @ block @ mixed
    for (one, other), block in (between or {}).items():
        part = parameters.mixing[one].T @ block @ parameters.mixing[other]
        total[np.ix_(parameters.columns[one], parameters.columns[other])] += part
        total[np.ix_(parameters.columns[other], parameters.columns[one])] += part.T
    return total


def trace_of_ratio(information: np.ndarray, blocks: Sequence[np.ndarray]) -> float:
    """Return the trace of the inverse information times the middle of the sandwich, summed over groups without shared parameters."""
    return float(sum(np.trace(np.linalg.solve(one, block)) for one, block in zip(information, blocks)))


def robust_trace(slots: Slots, values: np.ndarray, cases: Cases, units: Units, means: bool) -> float:
    """Return :func:`trace_of_ratio` for a saturated or baseline model at its estimates, shape (G, s), with the observed information."""
    at = likelihood.state(slots, values, units, means)
    blocks = group_meats(scores(slots, at, cases, units, means), cases, len(values))
    return trace_of_ratio(likelihood.observed_information(slots, at, units), blocks)


def centred(values: np.ndarray, cases: Cases) -> np.ndarray:
    """Return scores minus their mean in each group."""
    sums = cluster_sums(values, cases.group, int(cases.group.max()) + 1)
    return values - (sums / np.bincount(cases.group)[:, None])[cases.group]


def moment_trace(at: State, cases: Cases, units: Units, means: bool) -> float:
    """Return the trace of W Gamma by group, summed: W the normal-theory weight at the implied moments, Gamma the fourth moments.

    Complete data (Satorra & Bentler, 1994); never forms either matrix.
    """
    total = 0.0
    for unit in range(len(units.n)):
        gap = cases.values[cases.unit == unit] - units.mean[unit]
        inverse = at.inverse[unit]
        spread = inverse @ units.covariance[unit] @ inverse
        size = np.einsum("na,ab,nb->n", gap, inverse, gap)
        cross = np.einsum("na,ab,nb->n", gap, spread, gap)
        constant = np.trace(spread @ units.covariance[unit])
        total += float(np.mean((size**2 - 2 * cross + constant) / 2 + (size if means else 0.0)))
    return total


def moment_meat(slots: Slots, at: State, units: Units, acov: Sequence[np.ndarray], means: bool) -> list[np.ndarray]:
    """Return Delta' W acov W Delta by group, for a sampling covariance of the moments (means, then elements of the matrix)."""
    return [one.T @ spread @ one for one, spread in zip(_weighted_moments(slots, at, units, means), acov)]


def moments_between_groups(
    slots: Slots, at: State, units: Units, acov: Mapping[tuple[int, int], np.ndarray], means: bool
) -> dict[tuple[int, int], np.ndarray]:
    """Return the same for pairs of groups, from the sampling covariance of the moments of two groups."""
    if not acov:
        return {}
    turned = _weighted_moments(slots, at, units, means)
    return {(one, other): turned[one].T @ spread @ turned[other] for (one, other), spread in acov.items()}


def _weighted_moments(slots: Slots, at: State, units: Units, means: bool) -> list[np.ndarray]:
    """Return W Delta by group."""
    first, second = np.triu_indices(slots.p)
    half = np.where(first == second, 0.5, 1.0)
    level, change = likelihood.moment_slopes(slots, at)
    inverse = at.inverse[:, None]
    turned = np.moveaxis((inverse @ np.moveaxis(change, 3, 1) @ inverse)[:, :, first, second] * half, 1, 2)
    if means:
        turned = np.concatenate([at.inverse @ level, turned], axis=1)
    return list(units.n[:, None, None] * turned)
