"""Structural equation models of a correlation matrix by least squares, weighted or not: paths and factors.

The model is that of :mod:`alliance.statistics.structural_fit` for variables in units of their standard deviations: implied variances of
the observed variables are constrained to 1, the implied covariances are compared with the correlations (Browne, 1984, for the weighted
estimates; Cheung & Chan, 2005, for the constraint and the use on pooled correlations).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance.statistics import structural_likelihood as likelihood
from alliance.statistics.covariance import elements, jacobian
from alliance.statistics.fit_measures import FitMeasures, measures, srmr
from alliance.statistics.structural_likelihood import COVARIANCES, PATHS, Slots, State
from alliance.statistics.structural_model import Layout, StructuralModel, layout
from alliance.statistics.structural_optimum import Parameters, slots_of, start_values

_STEPS = 500
_CLOSE = 1e-11
_SINGULAR = 1e12
_BEYOND_ONE = 1 + 1e-8
_CHUNK = 2_000_000


@dataclass(frozen=True)
class CorrelationStructure:
    """A model fitted to correlations; all values are standardised (lavaan's std.all).

    Attributes
    ----------
    parameters : DataFrame
        One row a loading, path, covariance and defined parameter: ``name, lhs, op, rhs, label, estimate, std_error``. Errors are NaN
        without the sampling covariance of the correlations, and of fixed values.
    vcov : ndarray, shape (rows, rows)
        Sampling covariance of the rows, defined parameters by the delta method.
    implied : ndarray, shape (p, p)
        Implied correlations, in the order of the model's observed variables.
    residual_variances : dict of str to float
        Unexplained share of the variance of every variable that others predict.
    srmr : float
        With p (p + 1) / 2 residuals, of which the diagonal's are zero.
    chi2 : float
        Weighted squares of the residuals; NaN without the sampling covariance.
    df : int
    fit : FitMeasures or None
        None without the sampling covariance or the number of clients. The baseline model has correlations of exogenous variables only.
    status, reason : str
        ``estimated``, ``flagged`` (improper) or ``not_estimable``, and why.
    """

    parameters: pd.DataFrame
    vcov: np.ndarray
    implied: np.ndarray
    residual_variances: dict[str, float]
    srmr: float
    chi2: float
    df: int
    fit: FitMeasures | None
    status: str
    reason: str
    _solution: tuple[_Structure, np.ndarray, np.ndarray] | None = field(default=None, repr=False, compare=False)

    def drawn(self, random: np.random.Generator, draws: int) -> np.ndarray:
        """Return the rows for normal draws of the free parameters, shape (draws, rows)."""
        structure, free, vcov = self._solution
        values, vectors = np.linalg.eigh(vcov)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        return structure.outputs(free + random.standard_normal((draws, free.size)) @ root.T)


@dataclass(frozen=True)
class _Structure:
    """A model of one group without means: from its free parameters to implied moments and standardised values."""

    model: StructuralModel
    plan: Layout
    slots: Slots
    parameters: Parameters

    @classmethod
    def of(cls, model: StructuralModel) -> _Structure:
        plan = layout(model, 1)
        return cls(model, plan, slots_of(plan), Parameters.of(plan))

    @property
    def shown(self) -> np.ndarray:
        """Return the slots that have rows: all but variances."""
        return np.flatnonzero((self.slots.kind == PATHS) | (self.slots.row != self.slots.col))

    def table(self) -> pd.DataFrame:
        rows = []
        for index in self.shown.tolist():
            term = self.plan.terms[index]
            rows.append((term.name, term.lhs, term.op, term.rhs, self.plan.labels[0][index]))
        rows += [(item.name, item.name, ":=", item.expression, item.name) for item in self.model.defined]
        return pd.DataFrame(rows, columns=["name", "lhs", "op", "rhs", "label"])

    def values(self, free: np.ndarray) -> np.ndarray:
        """Return the slots for stacks of free parameters, shape (..., q) to (..., s)."""
        own, mixed = self.parameters.columns[0], self.parameters.mixing[0]
        return free[..., own] @ mixed.T + self.parameters.constant[0]

    def at(self, free: np.ndarray) -> State | None:
        try:
            path, total, level = likelihood.implied(self.slots, self.values(free)[None])
        except np.linalg.LinAlgError:
            return None
        return State(path, total, level, *[total] * 4) if np.isfinite(total).all() else None

    def standardised(self, values: np.ndarray) -> np.ndarray:
        """Return slots in units of standard deviations, which for observed variables are 1, shape (b, s)."""
        slots, p = self.slots, self.slots.p
        _, total, _ = likelihood.implied(slots, values)
        variance = np.array(np.diagonal(total, axis1=1, axis2=2))
        variance[:, :p] = 1.0
        residual = np.full((len(values), slots.m), np.nan)
        own = np.flatnonzero((slots.kind == COVARIANCES) & (slots.row == slots.col))
        residual[:, slots.row[own]] = values[:, own]
        with np.errstate(invalid="ignore", divide="ignore"):
            deviation, left = np.sqrt(variance), np.sqrt(residual)
            scale = np.where(
                slots.kind == PATHS, deviation[:, slots.col] / deviation[:, slots.row], 1 / (left[:, slots.row] * left[:, slots.col])
            )
            return np.where(values == 0, 0.0, values * scale)

    def outputs(self, free: np.ndarray) -> np.ndarray:
        """Return the rows of :meth:`table` for stacks of free parameters, shape (b, q) to (b, rows)."""
        step = max(1, _CHUNK // self.slots.m**2)
        return np.concatenate([self._outputs(free[start : start + step]) for start in range(0, len(free), step)])

    def _outputs(self, free: np.ndarray) -> np.ndarray:
        standard = self.standardised(self.values(free))
        known: dict[str, np.ndarray] = {}
        for index, label in enumerate(self.plan.labels[0]):
            if label:
                known.setdefault(label, standard[:, index])
        extra = []
        for item in self.model.defined:
            with np.errstate(all="ignore"):
                known[item.name] = np.broadcast_to(np.asarray(item.value(known), dtype=float), len(free))
            extra.append(known[item.name])
        return np.column_stack([standard[:, self.shown], *extra])


def fit_correlation_structure(
    model: StructuralModel, correlation: ArrayLike, variables: Sequence[str], vcov: ArrayLike | None = None, *, n: float | None = None
) -> CorrelationStructure:
    """Fit a model to correlations by minimising ``(r - rho)' W (r - rho)`` over the pairs of its observed variables.

    With the sampling covariance V of the correlations, W is its inverse: estimates have the covariance ``Z (Z' D' W D Z)^-1 Z'``, D the
    derivatives of the correlations, Z a basis of what the unit variances leave free, and the minimum is a chi-squared test. Without it W
    is the identity (unweighted least squares), without errors and test. Written values, labels and constraints hold for the variables in
    units of their standard deviations and for factors in the units that the model gives them.

    Parameters
    ----------
    model : StructuralModel
        Of one group; intercepts are left out.
    correlation : array_like, shape (p, p)
    variables : sequence of str
        Its p variables, among them all of the model.
    vcov : array_like, shape (m, m), optional
        Sampling covariance of the m = p (p - 1) / 2 correlations in the order (0, 1), (0, 2), ..., (1, 2), ...
    n : float, optional
        Number of clients, for RMSEA (which takes n - 1 with weighted least squares, as in lavaan).

    Raises
    ------
    ValueError
        A variable of the model is not among the variables; shapes that do not go together.
    """
    absent = [name for name in model.observed if name not in variables]
    if absent:
        raise ValueError(f"variables of the model that the correlations lack: {', '.join(absent)}")
    whole = np.asarray(correlation, dtype=float)
    if whole.shape != (len(variables), len(variables)):
        raise ValueError(f"{len(variables)} variables do not go with correlations of the shape {whole.shape}")
    where = [list(variables).index(name) for name in model.observed]
    matrix = whole[np.ix_(where, where)]
    p = len(where)
    structure = _Structure.of(model)
    r = elements(matrix, diagonal=False)
    if not np.isfinite(r).all():
        return _absent(structure, f"needs the correlations of all pairs; lacks {int((~np.isfinite(r)).sum())}")
    count = structure.parameters.count
    if count > r.size + p:
        return _absent(structure, f"not identified: {count} free parameters, the correlations and unit variances allow {r.size + p}")
    weight = np.eye(r.size)
    if vcov is not None:
        given = np.asarray(vcov, dtype=float)
        place = np.zeros((len(variables), len(variables)), dtype=int)
        place[np.triu_indices(len(variables), 1)] = np.arange(len(given))
        cells = elements(np.maximum(place, place.T)[np.ix_(where, where)], diagonal=False)
        given = given[np.ix_(cells, cells)]
        if not np.isfinite(given).all() or np.linalg.cond(given) > _SINGULAR:
            return _absent(structure, "the sampling covariance of the correlations is not known for all pairs")
        weight = np.linalg.inv(given)
    found = _minimised(structure, matrix, r, weight)
    if isinstance(found, str):
        return _absent(structure, found)
    free, covariance, at, dimension = found
    implied = at.total[0, :p, :p]
    residual = r - elements(implied, diagonal=False)
    df = r.size - dimension
    outputs = structure.outputs(free[None])[0]
    values = structure.values(free)
    table = structure.table().assign(estimate=outputs, std_error=np.nan)
    vcov_rows = np.full((outputs.size, outputs.size), np.nan)
    chi2, fit = np.nan, None
    value = srmr([matrix], [implied], [1.0])
    notes = _improper(structure, values, at)
    if vcov is not None:
        chi2 = float(residual @ weight @ residual)
        usable = np.isfinite(outputs)
        slopes = np.full((outputs.size, free.size), np.nan)
        slopes[usable] = jacobian(lambda stack: structure.outputs(stack)[:, usable], free, np.maximum(np.abs(free), 0.1))
        vcov_rows = slopes @ covariance @ slopes.T
        error = np.sqrt(np.maximum(np.diagonal(vcov_rows), 0.0))
        table["std_error"] = np.where(error > 1e-9, error, np.nan)
        if n is not None:
            baseline, baseline_df = _baseline(structure, r, weight)
            fit = measures(chi2, df, baseline, baseline_df, n - 1, value)
    own = {
        int(structure.slots.row[i]): i
        for i in np.flatnonzero((structure.slots.kind == COVARIANCES) & (structure.slots.row == structure.slots.col))
    }
    everyone = (*model.observed, *model.latent)
    predicted = np.unique(structure.slots.row[structure.slots.kind == PATHS]).tolist()
    left = {everyone[one]: float(values[own[one]] / at.total[0, one, one]) for one in predicted}
    return CorrelationStructure(
        table,
        vcov_rows,
        implied,
        left,
        value,
        chi2,
        df,
        fit,
        "flagged" if notes else "estimated",
        "; ".join(notes),
        (structure, free, covariance),
    )


def parameter_rows(model: StructuralModel) -> pd.DataFrame:
    """Return ``name, lhs, op, rhs, label`` of the rows that a fitted model has."""
    return _Structure.of(model).table()


def _absent(structure: _Structure, reason: str) -> CorrelationStructure:
    table = structure.table().assign(estimate=np.nan, std_error=np.nan)
    p, rows = structure.slots.p, len(table)
    holes = np.full((rows, rows), np.nan)
    return CorrelationStructure(table, holes, np.full((p, p), np.nan), {}, np.nan, np.nan, 0, None, "not_estimable", reason)


def _minimised(
    structure: _Structure, matrix: np.ndarray, r: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, State, int] | str:
    """Return free parameters, their covariance, the state and the number of directions left free, or why there are none.

    Damped Gauss-Newton steps within the linearised constraints, accepted where they lower the objective plus a multiple of the violations.
    """
    slots, parameters, plan, p = structure.slots, structure.parameters, structure.plan, structure.slots.p
    own, mixed = parameters.columns[0], parameters.mixing[0]
    upper = np.triu_indices(p, 1)
    constant = np.where(plan.column < 0, parameters.constant, np.nan)
    free = parameters.nearest(start_values(plan, slots, constant, matrix[None], np.zeros((1, p))))
    at = structure.at(free)
    if at is None:
        return "no start values with finite implied correlations were found"

    def gaps(one: State) -> tuple[np.ndarray, np.ndarray]:
        return r - one.total[0][upper], 1 - np.diagonal(one.total[0])[:p]

    def objective(residual: np.ndarray, violation: np.ndarray) -> float:
        return residual @ weight @ residual / 2 + price * np.abs(violation).sum()

    size = float(np.diagonal(weight).mean())
    damping, price = 1e-4, size
    residual, violation = gaps(at)
    for _ in range(_STEPS):
        change = likelihood.moment_slopes(slots, at)[1][0]
        slopes, bounds = np.zeros((r.size, parameters.count)), np.zeros((p, parameters.count))
        slopes[:, own], bounds[:, own] = change[upper] @ mixed, change[np.arange(p), np.arange(p)] @ mixed
        left, strengths, right = np.linalg.svd(bounds, full_matrices=True)
        rank = int((strengths > 1e-9 * max(float(strengths.max(initial=0.0)), 1.0)).sum())
        basis = right[rank:].T
        towards = right[:rank].T @ ((left[:, :rank].T @ violation) / strengths[:rank])
        information, pull = slopes.T @ weight @ slopes, slopes.T @ weight @ residual
        inner = basis.T @ information @ basis
        diagonal = np.diagonal(inner)
        accepted, step = False, towards
        while damping < 1e12:
            if basis.shape[1]:
                solved = np.linalg.solve(
                    inner + damping * np.diag(diagonal) + 1e-14 * size * np.eye(len(inner)), basis.T @ (pull - information @ towards)
                )
                step = towards + basis @ solved
            forces = pull - information @ step
            multipliers = left[:, :rank] @ ((right[:rank] @ forces) / strengths[:rank])
            price = max(price, 2 * float(np.abs(multipliers).max(initial=0.0)))
            moved = structure.at(free + step)
            if moved is not None:
                now = gaps(moved)
                before = objective(residual, violation)
                if objective(*now) <= before + 1e-13 * (size + before):
                    accepted = True
                    break
            damping *= 10
        if not accepted:
            return "weighted least squares did not converge: the model may not be identified"
        free, at, (residual, violation) = free + step, moved, now
        damping = max(damping / 10, 1e-14)
        if np.abs(step).max(initial=0.0) < _CLOSE * max(1.0, float(np.abs(free).max(initial=0.0))):
            break
    else:
        return "weighted least squares did not converge: the model may not be identified"
    held = np.flatnonzero(np.abs(violation) > 1e-7)
    if held.size:
        return (
            f"the fixed values leave '{plan.observed[held[0]]}' a variance of {1 - violation[held[0]]:.3f}; correlations go with one of 1"
        )
    scale = np.sqrt(np.diagonal(inner))
    if inner.size and (not (scale > 0).all() or np.linalg.cond(inner / np.outer(scale, scale)) > _SINGULAR):
        return "not identified: the correlations do not tell the free parameters apart"
    covariance = basis @ np.linalg.inv(inner) @ basis.T
    return free, covariance, at, basis.shape[1]


def _baseline(structure: _Structure, r: np.ndarray, weight: np.ndarray) -> tuple[float, int]:
    """Return chi-squared and degrees of freedom of the model in which only exogenous variables correlate."""
    exogenous = np.isin(structure.plan.observed, structure.plan.exogenous)
    free = elements(exogenous[:, None] & exogenous, diagonal=False)
    rest = ~free
    pull = weight[np.ix_(free, rest)] @ r[rest]
    square = r[rest] @ weight[np.ix_(rest, rest)] @ r[rest]
    if free.any():
        square -= pull @ np.linalg.solve(weight[np.ix_(free, free)], pull)
    return float(square), int(rest.sum())


def _improper(structure: _Structure, values: np.ndarray, at: State) -> list[str]:
    slots, everyone = structure.slots, (*structure.plan.observed, *structure.plan.latent)
    own = np.flatnonzero((slots.kind == COVARIANCES) & (slots.row == slots.col))
    predicted = np.isin(slots.row[own], slots.row[slots.kind == PATHS])
    notes = []
    # A variance fixed at zero was asked for.
    free = structure.plan.column[0, own] >= 0
    negative = (values[own] < -1e-9) | (free & (np.abs(values[own]) <= 1e-9))
    if (negative & predicted & (slots.row[own] < slots.p)).any():
        notes.append("a residual variance is not positive")
    factors = own[negative & (slots.row[own] >= slots.p)]
    if factors.size:
        notes.append(f"the variance of {', '.join(everyone[slots.row[one]] for one in factors)} is not positive")
    residual = likelihood.matrices(slots, values[None])[1][0]
    for matrix, what, names in (
        (residual, "residuals", everyone),
        (at.total[0, slots.p :, slots.p :], "factors", structure.plan.latent),
    ):
        usable = np.flatnonzero(np.diagonal(matrix) > 1e-9)
        if usable.size < 2:
            continue
        deviation = np.sqrt(np.diagonal(matrix)[usable])
        correlation = matrix[np.ix_(usable, usable)] / np.outer(deviation, deviation)
        beyond = np.argwhere(np.triu(np.abs(correlation) > _BEYOND_ONE, 1))
        for one, two in beyond[:3]:
            notes.append(f"correlation of {correlation[one, two]:.2f} of the {what} {names[usable[one]]} and {names[usable[two]]}")
        if not len(beyond) and np.linalg.eigvalsh(correlation)[0] < -1e-8:
            notes.append(f"the correlations of the {what} are impossible together")
    return list(dict.fromkeys(notes))
