"""Structural equation models with latent variables by maximum likelihood, for one or several groups.

From means and covariances, from complete rows, or from rows with missing values (full information maximum likelihood).

Defaults and definitions are those of lavaan (Rosseel, 2012) with ``likelihood = "normal"``: covariances have the divisor n, chi-squared is
n times the discrepancy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance.statistics import structural_likelihood as likelihood
from alliance.statistics.distributions import chi_squared_p, critical_value, two_sided_p
from alliance.statistics.fit_measures import FitMeasures, ScaledMeasures, measures, scaled_measures, srmr
from alliance.statistics.model_syntax import Defined
from alliance.statistics.structural_cases import (
    Cases,
    baseline_moments,
    baseline_slots,
    between_groups,
    cases_of,
    centred,
    group_meats,
    meat,
    moment_meat,
    moment_trace,
    moments_between_groups,
    moments_in,
    robust_trace,
    saturated_moments,
    saturated_slots,
    scores,
    trace_of_ratio,
)
from alliance.statistics.structural_likelihood import COVARIANCES, INTERCEPTS, PATHS, Slots, State, Units
from alliance.statistics.structural_model import Layout, ModelSyntaxError, Problem, StructuralModel, layout, parse_structural
from alliance.statistics.structural_optimum import DIVERGED, SINGULAR, Arrow, Parameters, maximise, slots_of, start_values

__all__ = [
    "Comparison",
    "FitMeasures",
    "ModelSyntaxError",
    "Moments",
    "Problem",
    "StructuralFit",
    "StructuralModel",
    "chi_squared",
    "compare",
    "fit_structural",
    "information_vcov",
    "modification_indices",
    "parse_structural",
    "score_test",
]

COLUMNS = (
    "group",
    "lhs",
    "op",
    "rhs",
    "label",
    "free",
    "estimate",
    "std_error",
    "ci_low",
    "ci_high",
    "statistic",
    "p_value",
    "standardized",
    "std_error_standardized",
    "standardized_low",
    "standardized_high",
)
_NEGATIVE = 1e-8
_BEYOND_ONE = 1 + 1e-8
_STEP = 1e-30
_SMALLEST_FACTOR = 0.2
_UNLINKED = 1e-12
_SCALED = ("robust", "satorra_bentler", "moment_covariance")


@dataclass(frozen=True)
class Moments:
    """Moments of one group.

    Attributes
    ----------
    n : float
        Number of clients.
    covariance : array_like, shape (p, p)
        Covariances with divisor n - 1.
    mean : array_like, shape (p,), or None
        Means.
    names : sequence of str
        Variables, in the order of the matrix; the model picks those it needs.
    """

    n: float
    covariance: ArrayLike
    mean: ArrayLike | None
    names: Sequence[str]


@dataclass(frozen=True)
class StructuralFit:
    """A fitted structural equation model.

    Attributes
    ----------
    parameters : DataFrame
        One row a parameter and group, and one a defined parameter; columns :data:`COLUMNS`. ``op`` is ``=~``, ``~``, ``~~``, ``~1`` or
        ``:=`` (``rhs`` its expression, ``group`` empty). ``standardized`` is standardised by observed and latent variables (lavaan's
        std.all). Fixed parameters have no standard error. NaN where not estimable.
    vcov : DataFrame
        Sampling covariance of the free parameters, by name.
    implied_covariances : tuple of DataFrame
        By group.
    implied_means : tuple of Series
        By group; the observed means without a mean structure, empty where there are none.
    latent_covariances : tuple of DataFrame
        Covariances of the factors (not of their residuals) by group.
    residuals : tuple of DataFrame
        Observed minus implied correlations by group.
    r2 : DataFrame
        ``group, variable, r2``: explained share of the variance of every variable that others predict.
    fit : FitMeasures or None
    log_likelihood, aic, bic : float or None
        ``bic`` with the number of clients of all groups.
    n_parameters : int
        Number of free parameters.
    n : tuple of int
        Clients by group.
    groups : tuple of str
    n_clusters : tuple of int
        Clusters with rows in each group; empty without.
    scaled : ScaledMeasures or None
        Scaled chi-squared and what follows from it, with robust errors.
    method : str
        How standard errors were made: ``expected`` or ``observed`` information, ``robust``, ``cluster_robust``, ``satorra_bentler`` or
        ``moment_covariance``.
    status, reason : str
        ``estimated``, ``flagged`` or ``not_estimable``, and why.
    """

    parameters: pd.DataFrame
    vcov: pd.DataFrame
    implied_covariances: tuple[pd.DataFrame, ...]
    implied_means: tuple[pd.Series, ...]
    latent_covariances: tuple[pd.DataFrame, ...]
    residuals: tuple[pd.DataFrame, ...]
    r2: pd.DataFrame
    fit: FitMeasures | None
    log_likelihood: float | None
    aic: float | None
    bic: float | None
    n_parameters: int
    n: tuple[int, ...]
    n_clusters: tuple[int, ...]
    groups: tuple[str, ...]
    scaled: ScaledMeasures | None
    method: str
    status: str
    reason: str
    _solution: _Solution | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Comparison:
    """Chi-squared difference of two nested models.

    Attributes
    ----------
    chi2 : float or None
    df : int or None
    p_value : float or None
    delta_cfi, delta_rmsea, delta_srmr : float or None
        Restricted minus full.
    status, reason : str
        ``estimated``, ``flagged`` or ``not_estimable``, and why.
    """

    chi2: float | None
    df: int | None
    p_value: float | None
    delta_cfi: float | None
    delta_rmsea: float | None
    delta_srmr: float | None
    status: str
    reason: str


@dataclass(frozen=True)
class _Data:
    """The data of all groups: moments of each (saturated estimates, divisor n), and of each pattern of missing values."""

    n: np.ndarray
    covariances: np.ndarray
    means: np.ndarray
    units: Units
    cases: Cases | None = None
    acov: list[np.ndarray] | None = None
    acov_between: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    fault: str = ""

    @property
    def complete(self) -> bool:
        return self.units.complete

    def scaled(self, scale: np.ndarray) -> _Data:
        """Return the same with observed variables divided by ``scale``."""
        square = np.outer(scale, scale)
        units = replace(self.units, covariance=self.units.covariance / square, mean=self.units.mean / scale)
        cases = None if self.cases is None else self.cases.scaled(scale)
        acov, between = None, {}
        if self.acov is not None:
            elements = square[np.triu_indices(scale.size)]
            size = np.r_[scale, elements] if len(self.acov[0]) > elements.size else elements
            unit = np.outer(size, size)
            acov, between = [one / unit for one in self.acov], {pair: one / unit for pair, one in self.acov_between.items()}
        return _Data(self.n, self.covariances / square, self.means / scale, units, cases, acov, between)


@dataclass(frozen=True)
class _Solution:
    """What later computations need: everything in units in which variables have pooled standard deviations of 1."""

    layout: Layout
    slots: Slots
    parameters: Parameters
    data: _Data
    means: bool
    free: np.ndarray
    state: State
    arrow: Arrow
    slot_scale: np.ndarray
    free_scale: np.ndarray
    variable_scale: np.ndarray
    vcov: np.ndarray
    errors: str
    defined: tuple[Defined, ...]

    @property
    def units(self) -> Units:
        return self.data.units

    def information(self, slots: Slots) -> np.ndarray:
        """Return the information that score tests use, shape (G, s, s)."""
        make = likelihood.observed_information if self.errors in ("observed", "robust") else likelihood.expected_information
        return make(slots, self.state, self.units)


def fit_structural(
    model: StructuralModel,
    moments: Sequence[Moments] | Moments | None = None,
    *,
    rows: Sequence[pd.DataFrame] | pd.DataFrame | None = None,
    clusters: Sequence[ArrayLike] | None = None,
    shared_clusters: bool = False,
    missing: Literal["listwise", "ml"] = "listwise",
    errors: Literal["expected", "observed", "robust", "satorra_bentler"] | None = None,
    acov: Sequence[ArrayLike] | None = None,
    acov_between: Mapping[tuple[int, int], ArrayLike] | None = None,
    groups: Sequence[str] | None = None,
    mean_structure: bool | None = None,
    group_equal: Sequence[str] = (),
    group_partial: Sequence[str] = (),
    fixed_x: bool = False,
    level: float = 0.95,
) -> StructuralFit:
    """Fit a structural equation model to one or several groups, from their moments or their rows.

    Parameters
    ----------
    model : StructuralModel
        From :func:`parse_structural`.
    moments : Moments or sequence of Moments, optional
        One a group, with the model's variables.
    rows : DataFrame or sequence of DataFrame, optional
        One a group, in place of moments.
    clusters : sequence of array_like, optional
        For each group, which cluster (therapist) each of its rows belongs to; rows without one are left out.
    shared_clusters : bool
        Whether clusters of one name in several groups are one cluster, so that the groups are not independent; by default, as in lavaan,
        they are others.
    missing : {"listwise", "ml"}
        Whether rows with missing values are left out or used (full information maximum likelihood, lavaan's ``missing = "ml"``; always with
        a mean structure).
    errors : {"expected", "observed", "robust", "satorra_bentler"}, optional
        Standard errors and test. ``expected`` and ``observed`` information suppose normal independent rows. ``robust``: sandwich of the
        observed information, with clusters of whole clusters (times G / (G - 1)), and the chi-squared of Yuan & Bentler as Mplus and
        lavaan (``MLR``) scale it. ``satorra_bentler``: expected information, and the chi-squared of Satorra & Bentler (1994; ``MLM``), for
        complete rows. By default ``robust`` with clusters, else ``observed`` with ``missing = "ml"``, else ``expected``.
    acov : sequence of array_like, optional
        For each group of ``moments`` the sampling covariance of its means (with a mean structure) and then the elements of its covariance
        matrix (upper triangle row by row, as :func:`alliance.statistics.covariance.elements` has them), in the order of ``names``: from
        :func:`alliance.statistics.covariance.sandwich` or a jackknife. Standard errors and a scaled chi-squared then rest on it.
    acov_between : mapping of (int, int) to array_like, optional
        The same for the moments of two groups (positions, the smaller first; its moments are the rows) that are not independent.
    groups : sequence of str, optional
        Names of the groups; their numbers from 1 otherwise.
    mean_structure : bool, optional
        Whether intercepts are parameters. By default as in lavaan: with several groups that all have means, with clusters, with
        ``missing = "ml"``, and where the model or ``group_equal`` needs them.
    group_equal, group_partial : sequence of str
        What is equal over groups, and which terms are free all the same; see :func:`alliance.statistics.structural_model.layout`.
    fixed_x : bool
        Whether moments of exogenous observed variables are taken as known, as lavaan's ``sem`` does by default; they then count neither
        as parameters nor in the likelihood. Only with ``errors = "expected"``.
    level : float
        Confidence level of the intervals.

    Raises
    ------
    ModelSyntaxError
        The model does not go with the groups.
    ValueError
        Neither moments nor rows; a variable of the model is not among them; means are needed and missing; settings that exclude each
        other.
    """
    if (moments is None) == (rows is None):
        raise ValueError("give either moments or rows")
    given = [moments] if isinstance(moments, Moments) else None if moments is None else list(moments)
    frames = [rows] if isinstance(rows, pd.DataFrame) else None if rows is None else list(rows)
    count = len(given if given is not None else frames)
    names = tuple(str(index + 1) for index in range(count)) if groups is None else tuple(str(name) for name in groups)
    if not count or len(names) != count:
        raise ValueError("every group needs its data and a name")
    kind = errors or ("robust" if clusters is not None else "observed" if missing == "ml" else "expected")
    _check_settings(kind, given is not None, clusters is not None, missing, acov is not None, fixed_x)
    if acov_between and acov is None:
        raise ValueError("acov_between goes with acov")
    with_means = given is None or all(one.mean is not None for one in given)
    written = any(term.op == "~1" for term in model.terms) or any(name in ("intercepts", "means") for name in group_equal)
    means = mean_structure
    if means is None:
        means = written or missing == "ml" or clusters is not None or (count > 1 and with_means)
    if means and not with_means:
        raise ValueError("a mean structure needs the means of every group")
    if missing == "ml" and not means:
        raise ValueError("with missing values the means are part of the model")
    plan = layout(model, count, mean_structure=means, group_equal=group_equal, group_partial=group_partial, fixed_x=fixed_x)
    if given is not None:
        data = _data_of_moments(given, model.observed, acov, acov_between or {}, means)
    else:
        data = _data_of_rows(frames, clusters, shared_clusters, model.observed, missing == "ml", names)
    fault = data.fault or _fault(plan, data, names, model.observed)
    if fault:
        return _no_fit(model, plan, data, names, fault)
    return _fitted(model, plan, data, names, means, level, "moment_covariance" if acov is not None else kind)


def chi_squared(plan: Layout, moments: Sequence[Moments]) -> float | None:
    """Return the chi-squared of a model fitted to moments, and nothing else; None where it cannot be fitted.

    Parameters
    ----------
    plan : Layout
        The model's parameters, from :func:`alliance.statistics.structural_model.layout`.
    moments : sequence of Moments
        One a group, with the model's variables.
    """
    data = _data_of_moments(moments, plan.observed, None, {}, plan.mean_structure)
    if data.fault or _fault(plan, data, [""] * len(moments), plan.observed):
        return None
    best = _maximum(plan, data, plan.mean_structure, observed=False)
    if isinstance(best, str):
        return None
    return likelihood.discrepancy(best.state, best.data.units) - _saturated_discrepancy(best.data, plan.mean_structure)


def _check_settings(errors: str, summaries: bool, clustered: bool, missing: str, with_acov: bool, fixed_x: bool) -> None:
    if summaries and (errors not in ("expected", "observed") or clustered or missing == "ml"):
        raise ValueError("robust errors, clusters and missing values need rows")
    if with_acov and not summaries:
        raise ValueError("acov goes with moments; rows give their own")
    if clustered and errors != "robust":
        raise ValueError("with clusters the errors are robust")
    if errors == "satorra_bentler" and missing == "ml":
        raise ValueError("the Satorra-Bentler test is for complete rows")
    if fixed_x and (errors != "expected" or with_acov or missing == "ml"):
        raise ValueError("fixed_x goes with errors of the expected information only")


def compare(restricted: StructuralFit, full: StructuralFit) -> Comparison:
    """Return the chi-squared difference test of a model that is nested in another, fitted to the same data.

    With robust errors the difference is scaled (Satorra & Bentler, 2001). Its factor, from those of the two models, can be zero or negative
    in samples; below a fifth of theirs, and where a model has none, it is that of Satorra (2000), flagged: the restrictions' share of the
    sandwich of the full model, which is always positive.

    Parameters
    ----------
    restricted, full : StructuralFit
        ``restricted`` has the more degrees of freedom.
    """
    for fitted in (restricted, full):
        if fitted.fit is None:
            return Comparison(None, None, None, None, None, None, "not_estimable", f"one of the models was not estimated: {fitted.reason}")
    if restricted.n != full.n:
        return Comparison(
            None, None, None, None, None, None, "not_estimable", f"the models rest on different clients: {restricted.n} and {full.n}"
        )
    one, two = restricted.fit, full.fit
    df, chi2 = one.df - two.df, one.chi2 - two.chi2
    changes = [one.cfi - two.cfi, one.rmsea - two.rmsea, one.srmr - two.srmr]
    if df <= 0:
        reason = f"the first model is not more restricted than the second: {one.df} and {two.df} degrees of freedom"
        return Comparison(None, None, None, *changes, "not_estimable", reason)
    notes = [fitted.reason for fitted in (restricted, full) if fitted.status == "flagged"]
    if chi2 < -1e-6 * max(1.0, two.chi2):
        notes.append("the restricted model fits better than the full one: they are not nested")
    if full._solution.errors in _SCALED:
        factor, why = _factor_of_difference(restricted, full)
        chi2 /= factor
        notes += [why] if why else []
    p_value = float(chi_squared_p(max(chi2, 0.0), df))
    return Comparison(chi2, df, p_value, *changes, "flagged" if notes else "estimated", "; ".join(dict.fromkeys(notes)))


def _factor_of_difference(restricted: StructuralFit, full: StructuralFit) -> tuple[float, str]:
    """Return what a difference of chi-squares is divided by, and why it is not what the factors of the models give."""
    # Of a model without degrees of freedom there is no factor, and none is needed.
    scalings = [0.0 if one.fit.df == 0 else np.nan if one.scaled is None else one.scaled.scaling for one in (restricted, full)]
    weighted = [one.fit.df * scaling for one, scaling in zip((restricted, full), scalings)]
    factor = (weighted[0] - weighted[1]) / (restricted.fit.df - full.fit.df)
    if factor >= _SMALLEST_FACTOR * min(scaling for scaling in scalings if scaling != 0):
        return factor, ""
    told = f"{factor:.3f}" if np.isfinite(factor) else "one of the models has none"
    return _restrictions_factor(restricted._solution, full._solution), (
        f"the difference has no usable scaling factor from those of the models ({told}); that of Satorra (2000) was taken"
    )


def _restrictions_factor(restricted: _Solution, full: _Solution) -> float:
    """Return the mean of the sandwich over the information in the directions of the full model that the restrictions close.

    Satorra (2000): the trace of ``(A V A')^-1 A S A'`` over its number of rows, A the restrictions, V the inverse information and S the
    sandwich of the full model; here as the trace in all directions minus that in those that stay open.
    """
    information = np.linalg.inv(full.arrow.inverse())
    middle = information @ full.vcov @ information
    open_ = _directions_by_terms(restricted, full)
    if open_ is None:
        open_ = np.linalg.lstsq(_weighted_slopes(full, full), _weighted_slopes(restricted, full), rcond=None)[0]
    left = np.trace(np.linalg.solve(open_.T @ information @ open_, open_.T @ middle @ open_))
    count = full.parameters.count - restricted.parameters.count
    return float((np.sum(full.vcov * information) - left) / count)


def _directions_by_terms(restricted: _Solution, full: _Solution) -> np.ndarray | None:
    """Return the full model's free parameters by the restricted ones, shape (q of full, q); None where terms do not tell it."""
    matrices = [_by_term(one) for one in (full, restricted)]
    if not matrices[1].keys() <= matrices[0].keys():
        return None
    absent = np.zeros(restricted.parameters.count + 1)
    wide, narrow = (np.array([one.get(key, absent) for key in matrices[0]]) for one in matrices)
    # Linear and constant part of the restricted terms, the latter without the constant of the full ones.
    wanted = np.column_stack([narrow[:, :-1], narrow[:, -1] - wide[:, -1]])
    found = np.linalg.lstsq(wide[:, :-1], wanted, rcond=None)[0]
    if np.abs(wide[:, :-1] @ found - wanted).max() > 1e-8:
        return None
    return found[:, :-1] * restricted.free_scale / full.free_scale[:, None]


def _by_term(found: _Solution) -> dict[tuple[int, str, str, str], np.ndarray]:
    """Return how every term of every group is made of the free parameters, and its constant (last), in the data's units."""
    parameters = Parameters.of(found.layout)
    rows = {}
    for group, (own, mixed) in enumerate(zip(parameters.columns, parameters.mixing)):
        for index, term in enumerate(found.layout.terms):
            row = np.zeros(parameters.count + 1)
            row[own], row[-1] = mixed[index], parameters.constant[group, index]
            ends = sorted((term.lhs, term.rhs)) if term.op == "~~" else (term.lhs, term.rhs)
            rows[group, term.op, *ends] = row
    return rows


def _weighted_slopes(found: _Solution, at: _Solution) -> np.ndarray:
    """Return derivatives of the implied moments by the free parameters, weighted by the normal theory at another solution."""
    level, change = likelihood.moment_slopes(found.slots, found.state)
    p, blocks = found.slots.p, []
    for group, n in enumerate(found.data.n):
        root = np.linalg.inv(np.linalg.cholesky(at.state.total[group, :p, :p]))
        slopes = np.sqrt(n / 2) * np.einsum("ab,bcs,dc->ads", root, change[group], root, optimize=True).reshape(p * p, -1)
        if found.means:
            slopes = np.concatenate([np.sqrt(n) * root @ level[group], slopes])
        whole = np.zeros((len(slopes), found.parameters.count))
        whole[:, found.parameters.columns[group]] = slopes @ found.parameters.mixing[group]
        blocks.append(whole)
    return np.concatenate(blocks)


def information_vcov(fitted: StructuralFit) -> pd.DataFrame:
    """Return the sampling covariance of the free parameters that the information alone gives, with robust errors too.

    Raises
    ------
    ValueError
        There is no fit.
    """
    found = fitted._solution
    if found is None:
        raise ValueError(f"no information without a fit: {fitted.reason}")
    names = list(found.layout.free_names)
    return pd.DataFrame(found.arrow.inverse() * np.outer(found.free_scale, found.free_scale), index=names, columns=names)


def modification_indices(fitted: StructuralFit) -> pd.DataFrame:
    """Return what freeing one parameter would do: score tests (Sörbom, 1989), 1 df each.

    With the expected information, or the observed one where the errors rest on it.

    Candidates are cross-loadings, residual covariances and covariances of factors that the model leaves out, fixed parameters, and each
    term that is equal to others (``kind`` ``equal``): what releasing it in its group would do.

    Returns
    -------
    DataFrame
        ``kind`` (``added``, ``fixed``, ``equal``), ``group, lhs, op, rhs, chi2, p_value, change`` (expected change of the parameter) and
        ``change_standardized`` (in units of std.all), largest first. Empty without a fit.
    """
    columns = ["kind", "group", "lhs", "op", "rhs", "chi2", "p_value", "change", "change_standardized"]
    found = fitted._solution
    if found is None:
        return pd.DataFrame(columns=columns)
    terms, wide = _extended(found)
    slope = likelihood.gradient(wide, found.state, found.units)
    information = found.information(wide)
    known = found.slots.kind.size
    scale = _slot_scale(wide, found.variable_scale)
    inverse = found.arrow.inverse()
    deviation = np.sqrt(np.abs(np.diagonal(found.state.total, axis1=1, axis2=2)))
    residual = np.sqrt(np.abs(np.diagonal(likelihood.matrices(found.slots, found.parameters.slots(found.free))[1], axis1=1, axis2=2)))
    uses = np.bincount(found.layout.column[found.layout.column >= 0], minlength=len(found.layout.names))
    first = {}
    rows = []
    for group, name in enumerate(fitted.groups):
        own, mixed = found.parameters.columns[group], found.parameters.mixing[group]
        to_free = information[group][:, :known] @ mixed
        left = np.diagonal(information[group]) - np.einsum("ab,bc,ac->a", to_free, inverse[np.ix_(own, own)], to_free)
        for index, (lhs, op, rhs) in enumerate(terms):
            kind = "added"
            if index < known:
                distinct = found.layout.column[group, index]
                kind = "fixed" if distinct < 0 else "equal"
                if kind == "equal" and uses[distinct] < 2:
                    continue
                if kind == "equal" and uses[distinct] == 2 and first.setdefault(distinct, (group, index)) == (group, index):
                    continue
            if left[index] <= 1e-8 * information[group][index, index]:
                continue
            change = -slope[group, index] / left[index]
            row, col = wide.row[index], wide.col[index]
            if wide.kind[index] == COVARIANCES:
                size = deviation if row == col else residual
                unit = 1 / (size[group, row] * size[group, col])
            else:
                unit = (deviation[group, col] if wide.kind[index] == PATHS else 1.0) / deviation[group, row]
            chi2 = slope[group, index] ** 2 / left[index]
            rows.append((kind, name, lhs, op, rhs, chi2, np.nan, change / scale[index], change * unit))
    table = pd.DataFrame(rows, columns=columns)
    table["p_value"] = chi_squared_p(table["chi2"].to_numpy(dtype=float), np.ones(len(table)))
    return table.sort_values("chi2", ascending=False, kind="stable").reset_index(drop=True)


def score_test(fitted: StructuralFit, plans: Sequence[Layout], *, robust: bool = False) -> list[tuple[float, int]]:
    """Return the score tests of less restricted forms of a fitted model, with the expected information (Sörbom, 1989).

    The generalised score test (Boos, 1992) takes the covariance of the scores that the robust errors rest on:
    ``u' (H A^-1 B A^-1 H')^-1 u`` with ``u = H A^-1 s``, s the score, A the information, B the covariance of s, and H the restrictions.

    Parameters
    ----------
    fitted : StructuralFit
    plans : sequence of Layout
        Models with the same terms in the same order that give up some of the fitted model's restrictions.
    robust : bool
        Whether the generalised test is made, for a fit with robust errors or the sampling covariance of its moments.

    Returns
    -------
    list of (float, int)
        Chi-squared and degrees of freedom of each; NaN where the less restricted model is not identified.

    Raises
    ------
    ValueError
        There is no fit, a model has other terms, or ``robust`` without robust errors.
    """
    found = fitted._solution
    if found is None:
        raise ValueError(f"no score test without a fit: {fitted.reason}")
    slope = likelihood.gradient(found.slots, found.state, found.units)
    information = likelihood.expected_information(found.slots, found.state, found.units)
    blocks = _middle_blocks(found.slots, found.state, found.data, found.means, found.errors) if robust else None
    if robust and blocks is None:
        raise ValueError("the generalised score test needs robust errors or the sampling covariance of the moments")
    keys = [term.key for term in found.layout.terms]
    tests = []
    for plan in plans:
        if [term.key for term in plan.terms] != keys:
            raise ValueError("the models of a score test have the same terms")
        raw = Parameters.of(plan)
        parameters = raw.scaled(found.slot_scale, _free_scale(raw, found.slot_scale))
        arrow = Arrow.of(parameters, information)
        free = parameters.gathered(slope)
        df = len(plan.free_names) - len(found.layout.free_names)
        chi2 = np.nan
        if arrow.smallest >= SINGULAR and not robust:
            chi2 = float(free @ arrow.solve(free))
        elif arrow.smallest >= SINGULAR:
            restrictions = _restrictions(found.parameters, parameters)
            turned = arrow.solve(restrictions)
            step = turned.T @ free
            chi2 = float(step @ np.linalg.solve(turned.T @ meat(parameters, *blocks) @ turned, step))
        tests.append((chi2, df))
    return tests


def _restrictions(few: Parameters, many: Parameters) -> np.ndarray:
    """Return what is zero of the free parameters of a model where a more restricted one holds, shape (count, restrictions)."""
    groups, size = few.constant.shape
    slots = np.zeros((few.count, groups, size))
    for group, (own, mixed) in enumerate(zip(few.columns, few.mixing)):
        slots[own, group] = mixed.T
    squares = Arrow.of(many, np.broadcast_to(np.eye(size), (groups, size, size)))
    inside = squares.solve(many.gathered(slots).T)
    # A parameter that is one and the same in both models is not restricted: what is left is small, however many groups there are.
    linked = np.abs(inside) > _UNLINKED
    same = linked & (linked.sum(axis=1) == 1)[:, None] & (linked.sum(axis=0) == 1)
    rows, columns = np.flatnonzero(~same.any(axis=1)), np.flatnonzero(~same.any(axis=0))
    outside = np.linalg.qr(inside[np.ix_(rows, columns)], mode="complete")[0][:, columns.size :]
    result = np.zeros((many.count, outside.shape[1]))
    result[rows] = outside
    return result


def _extended(found: _Solution) -> tuple[list[tuple[str, str, str]], Slots]:
    """Return the terms of a model and those it leaves out."""
    plan, slots = found.layout, found.slots
    terms = [(term.lhs, term.op, term.rhs) for term in plan.terms]
    there = {term.key for term in plan.terms}
    at = {name: index for index, name in enumerate((*plan.observed, *plan.latent))}
    candidates = []
    measured = {term.rhs for term in plan.terms if term.op == "=~"}
    for factor in plan.latent:
        for name in plan.observed:
            if name in measured and ("=~", factor, name) not in there:
                candidates.append((factor, "=~", name, PATHS, at[name], at[factor]))
    for pool in ([name for name in plan.observed if name not in plan.exogenous], list(plan.latent)):
        for first, one in enumerate(pool):
            for other in pool[first + 1 :]:
                if ("~~", *sorted((one, other))) not in there:
                    candidates.append((one, "~~", other, COVARIANCES, at[one], at[other]))
    terms += [candidate[:3] for candidate in candidates]
    kind, row, col = (np.array([candidate[place] for candidate in candidates], dtype=int) for place in (3, 4, 5))
    wide = Slots(np.r_[slots.kind, kind], np.r_[slots.row, row], np.r_[slots.col, col], slots.p, slots.m)
    return terms, wide


def _data_of_moments(
    given: Sequence[Moments],
    observed: Sequence[str],
    acov: Sequence[ArrayLike] | None,
    between: Mapping[tuple[int, int], ArrayLike],
    means: bool,
) -> _Data:
    covariances, levels, picks = [], [], []
    for one in given:
        names = list(one.names)
        which = _places(names, observed)
        factor = (one.n - 1) / one.n
        covariances.append(np.asarray(one.covariance, dtype=float)[np.ix_(which, which)] * factor)
        levels.append(np.zeros(len(which)) if one.mean is None else np.asarray(one.mean, dtype=float)[which])
        picks.append(_picked(len(names), which, factor, means))
    count = len(given)
    n, covariance, mean = np.array([float(one.n) for one in given]), np.stack(covariances), np.stack(levels)
    units = Units(n, np.arange(count), covariance, mean, np.ones((count, len(observed)), dtype=bool))
    if acov is None:
        return _Data(n, covariance, mean, units)
    sampling = [_sampling(np.asarray(acov[group], dtype=float), picks[group], picks[group]) for group in range(count)]
    crossed = {(one, other): _sampling(np.asarray(part, dtype=float), picks[one], picks[other]) for (one, other), part in between.items()}
    return _Data(n, covariance, mean, units, None, sampling, crossed)


def _places(names: list[str], observed: Sequence[str]) -> list[int]:
    lacking = [name for name in observed if name not in names]
    if lacking:
        raise ValueError(f"the data lack the variable '{lacking[0]}'")
    return [names.index(name) for name in observed]


def _picked(size: int, which: list[int], factor: float, means: bool) -> tuple[int, np.ndarray, np.ndarray]:
    """Return how many moments a group's data have, which of them the model needs, in its order, and what makes their divisor n."""
    count = size * (size + 1) // 2 + (size if means else 0)
    place = np.zeros((size, size), dtype=int)
    rows, columns = np.triu_indices(size)
    place[rows, columns] = place[columns, rows] = np.arange(rows.size) + (size if means else 0)
    chosen = place[np.ix_(which, which)][np.triu_indices(len(which))]
    scale = np.full(chosen.size, factor)
    if means:
        chosen, scale = np.r_[which, chosen], np.r_[np.ones(len(which)), scale]
    return count, chosen, scale


def _sampling(acov: np.ndarray, one: tuple[int, np.ndarray, np.ndarray], other: tuple[int, np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the part of a sampling covariance of the moments of one group, or of two, that the model needs."""
    shape = (one[0], other[0])
    if acov.shape != shape:
        raise ValueError(f"acov has the shape {acov.shape}, {one[0]} moments need {shape}")
    return acov[np.ix_(one[1], other[1])] * np.outer(one[2], other[2])


def _data_of_rows(
    frames: Sequence[pd.DataFrame],
    clusters: Sequence[ArrayLike] | None,
    shared_clusters: bool,
    observed: Sequence[str],
    keep_incomplete: bool,
    names: tuple[str, ...],
) -> _Data:
    for frame in frames:
        _places([str(name) for name in frame.columns], observed)
    count, p = len(frames), len(observed)
    units, cases = cases_of(frames, clusters, observed, keep_incomplete, shared_clusters)
    n = np.bincount(cases.group, minlength=count).astype(float)
    means, covariances = np.zeros((count, p)), np.tile(np.eye(p), (count, 1, 1))
    empty = _Data(n, covariances, means, units, cases)
    for group, name in enumerate(names):
        where = f" in group {name}" if count > 1 else ""
        if n[group] < p + 1:
            return replace(empty, fault=f"needs more clients than variables{where}: {n[group]:g} clients, {p} variables")
        if cases.cluster is not None and cases.n_clusters[group] < 2:
            return replace(empty, fault=f"needs at least two clusters{where}: has {cases.n_clusters[group]}")
        here = units.group == group
        together = np.einsum("j,ja,jb->ab", units.n[here], units.observed[here], units.observed[here])
        if together.min() < 2:
            one, two = np.unravel_index(np.argmin(together), together.shape)
            return replace(empty, fault=f"'{observed[one]}' and '{observed[two]}' are not observed together{where}")
    if units.complete:
        return _Data(n, units.covariance, units.mean, units, cases)
    weight = units.n[:, None] * units.observed
    centre = (weight * units.mean).sum(axis=0) / weight.sum(axis=0)
    spread = np.diagonal(units.covariance, axis1=1, axis2=2) + (units.mean - centre) ** 2
    scale = np.sqrt((weight * spread).sum(axis=0) / weight.sum(axis=0))
    if not (scale > 0).all():
        return replace(empty, fault=f"'{observed[int(np.argmin(scale))]}' does not vary")
    # EM starts at the means of each group; values are moved so that large means cost no digits.
    moved = np.where(units.observed, (units.mean - centre) / scale, 0.0)
    standard = replace(units, covariance=units.covariance / np.outer(scale, scale), mean=moved)
    means, covariances, converged = saturated_moments(standard, count)
    fault = "" if converged else "no convergence: means and covariances cannot be estimated from the incomplete rows"
    return _Data(n, covariances * np.outer(scale, scale), means * scale + centre, units, cases, fault=fault)


def _degrees_of_freedom(plan: Layout) -> int:
    p, x, groups = len(plan.observed), len(plan.exogenous) if plan.fixed_x else 0, plan.column.shape[0]
    moments = p * (p + 1) // 2 - x * (x + 1) // 2 + (p - x if plan.mean_structure else 0)
    return groups * moments - len(plan.free_names)


def _fault(plan: Layout, data: _Data, names: tuple[str, ...], observed: tuple[str, ...]) -> str:
    """Return why a model cannot be fitted, empty if it can."""
    df = _degrees_of_freedom(plan)
    if df < 0:
        count = df + len(plan.free_names)
        return f"not identified: {len(plan.free_names)} free parameters, the moments allow {count}"
    for group, name in enumerate(names):
        where = f" in group {name}" if len(names) > 1 else ""
        if data.n[group] < len(observed) + 1:
            return f"needs more clients than variables{where}: {data.n[group]:g} clients, {len(observed)} variables"
        matrix = data.covariances[group]
        if not np.isfinite(matrix).all() or not np.isfinite(data.means[group]).all():
            return f"the moments have missing values{where}"
        variance = np.diagonal(matrix)
        constant = [name for name, value in zip(observed, variance) if value <= 0]
        if constant:
            return f"'{constant[0]}' does not vary{where}"
        smallest = np.linalg.eigvalsh(matrix / np.sqrt(np.outer(variance, variance)))[0]
        if smallest < 1e-8:
            return f"the covariance matrix is singular{where}: some variables determine others (smallest eigenvalue {smallest:.1e})"
    return ""


def _slot_scale(slots: Slots, scale: np.ndarray) -> np.ndarray:
    """Return what slots are multiplied by when every variable is divided by ``scale``."""
    first, second = scale[slots.row], scale[slots.col]
    return np.where(slots.kind == PATHS, second / first, np.where(slots.kind == COVARIANCES, 1 / (first * second), 1 / first))


def _variable_scale(plan: Layout, slots: Slots, data: _Data) -> np.ndarray:
    """Return pooled standard deviations of observed variables, and for factors that of their marker."""
    scale = np.ones(slots.m)
    scale[: slots.p] = np.sqrt(np.diagonal(np.average(data.covariances, axis=0, weights=data.n)))
    for _ in plan.latent:
        for index, term in enumerate(plan.terms):
            if term.op == "=~" and plan.column[0, index] < 0 and plan.constant[0, index] != 0:
                scale[slots.col[index]] = scale[slots.row[index]] / abs(plan.constant[0, index])
    return scale


@dataclass(frozen=True)
class _Maximum:
    """Where the likelihood of a model is highest, in units in which variables have pooled standard deviations of 1."""

    layout: Layout
    slots: Slots
    parameters: Parameters
    data: _Data
    free: np.ndarray
    state: State
    arrow: Arrow
    slot_scale: np.ndarray
    free_scale: np.ndarray
    variable_scale: np.ndarray


def _maximum(plan: Layout, data: _Data, means: bool, observed: bool) -> _Maximum | str:
    """Return the maximum with its expected or observed information, or why there is none."""
    slots = slots_of(plan)
    scale = _variable_scale(plan, slots, data)
    slot_scale = _slot_scale(slots, scale)
    if plan.fixed_x:
        plan = _with_known_x(plan, slots, data)
    raw = Parameters.of(plan)
    free_scale = _free_scale(raw, slot_scale)
    parameters = raw.scaled(slot_scale, free_scale)
    scaled = data.scaled(scale[: slots.p])
    constant = np.where(plan.column < 0, parameters.constant, np.nan)
    best = None
    for plain in (False, True):
        if plain:
            start = _plain_start(plan, slots, constant, scaled)
        else:
            start = start_values(plan, slots, constant, scaled.covariances, scaled.means)
        found = maximise(slots, parameters, scaled.units, means, parameters.nearest(start))
        if best is None or (found.converged and not best.converged):
            best = found
        if best.converged:
            break
    if best.state is None:
        return "no start values with a positive definite covariance matrix were found"
    arrow = Arrow.of(parameters, likelihood.expected_information(slots, best.state, scaled.units))
    if arrow.smallest < SINGULAR:
        weight = np.abs(arrow.direction)
        most = [plan.free_names[index] for index in np.argsort(-weight, kind="stable")[:3] if weight[index] > 0.1 * weight.max()]
        return f"not identified: the data do not tell apart {', '.join(most)} (smallest eigenvalue {arrow.smallest:.1e})"
    if not best.converged:
        what = "estimates grow without bound" if float(np.abs(best.free).max()) > DIVERGED else "the likelihood still rose"
        return f"no convergence: {what} after {best.steps} steps"
    if observed:
        arrow = Arrow.of(parameters, likelihood.observed_information(slots, best.state, scaled.units))
        if arrow.smallest < SINGULAR:
            return f"no maximum: the observed information is not positive definite (smallest eigenvalue {arrow.smallest:.1e})"
    return _Maximum(plan, slots, parameters, scaled, best.free, best.state, arrow, slot_scale, free_scale, scale)


def _fitted(
    model: StructuralModel, plan: Layout, data: _Data, names: tuple[str, ...], means: bool, level: float, errors: str
) -> StructuralFit:
    best = _maximum(plan, data, means, observed=errors in ("observed", "robust"))
    if isinstance(best, str):
        return _no_fit(model, plan, data, names, best)
    slots, parameters, scaled, arrow = best.slots, best.parameters, best.data, best.arrow
    vcov = arrow.inverse()
    middle = _middle(slots, parameters, best.state, scaled, means, errors)
    solution = _Solution(
        best.layout,
        slots,
        parameters,
        scaled,
        means,
        best.free,
        best.state,
        arrow,
        best.slot_scale,
        best.free_scale,
        best.variable_scale,
        vcov if middle is None else arrow.solve(arrow.solve(middle).T),
        errors,
        model.defined,
    )
    baseline = _baseline(solution)
    traces = None if middle is None else _traces(solution, baseline, float(np.sum(vcov * middle)))
    return _report(model, solution, data, names, level, baseline, traces)


def _middle(slots: Slots, parameters: Parameters, at: State, data: _Data, means: bool, errors: str) -> np.ndarray | None:
    """Return the middle of the sandwich of free parameters, None where errors rest on the information alone."""
    found = _middle_blocks(slots, at, data, means, errors)
    return None if found is None else meat(parameters, *found)


def _middle_blocks(
    slots: Slots, at: State, data: _Data, means: bool, errors: str
) -> tuple[list[np.ndarray], dict[tuple[int, int], np.ndarray]] | None:
    """Return the middle of the sandwich of the slots by group, and of pairs of groups that are not independent."""
    if errors == "moment_covariance":
        blocks = moment_meat(slots, at, data.units, data.acov, means)
        return blocks, moments_between_groups(slots, at, data.units, data.acov_between, means)
    if errors not in ("robust", "satorra_bentler"):
        return None
    centre = errors == "satorra_bentler"
    values = scores(slots, at, data.cases, data.units, means, around_data=centre)
    values, groups = centred(values, data.cases) if centre else values, len(data.n)
    return group_meats(values, data.cases, groups), between_groups(values, data.cases, groups)


def _with_known_x(plan: Layout, slots: Slots, data: _Data) -> Layout:
    constant = plan.constant.copy()
    exogenous = {plan.observed.index(name) for name in plan.exogenous}
    for index in range(slots.kind.size):
        row, col = int(slots.row[index]), int(slots.col[index])
        if row not in exogenous:
            continue
        if slots.kind[index] == COVARIANCES and col in exogenous:
            constant[:, index] = data.covariances[:, row, col]
        elif slots.kind[index] == INTERCEPTS:
            constant[:, index] = data.means[:, row]
    return replace(plan, constant=constant)


def _free_scale(raw: Parameters, slot_scale: np.ndarray) -> np.ndarray:
    """Return a typical size of each free parameter: the mean of what its slots are divided by."""
    total, count = np.zeros(raw.count), np.zeros(raw.count)
    for own, mixed in zip(raw.columns, raw.mixing):
        uses = (mixed != 0).astype(float)
        total[own] += (uses / slot_scale[:, None]).sum(axis=0)
        count[own] += uses.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), 1.0)


def _plain_start(plan: Layout, slots: Slots, constant: np.ndarray, scaled: _Data) -> np.ndarray:
    """Return a second start: equal loadings, small factor variances, half of every observed variance unexplained."""
    values = np.zeros_like(constant)
    is_loading = np.array([term.op == "=~" for term in plan.terms], dtype=bool)
    variance = (slots.kind == COVARIANCES) & (slots.row == slots.col)
    observed = variance & (slots.row < slots.p)
    values[:, is_loading] = 1.0
    values[:, variance] = 0.05
    exogenous = np.isin(slots.row, [plan.observed.index(name) for name in plan.exogenous])
    values[:, observed] = 0.5 * np.diagonal(scaled.covariances, axis1=1, axis2=2)[:, slots.row[observed]]
    known = (slots.kind == COVARIANCES) & exogenous & np.isin(slots.col, slots.row[exogenous]) & (slots.row < slots.p)
    values[:, known] = scaled.covariances[:, slots.row[known], np.minimum(slots.col[known], slots.p - 1)]
    intercepts = (slots.kind == INTERCEPTS) & (slots.row < slots.p)
    values[:, intercepts] = scaled.means[:, slots.row[intercepts]]
    return np.where(np.isfinite(constant), constant, values)


def standardized(slots: Slots, at: State, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the completely standardised slots, shape (G, s), and their derivatives by the slots, shape (G, s, s).

    Residual covariances are divided by the residual standard deviations, as lavaan does. NaN where a variance is negative.
    """
    total = np.diagonal(at.total, axis1=1, axis2=2)
    row, col, kind = slots.row, slots.col, slots.kind
    unit = _standard_units(slots, at.total, values)
    result = _times_units(slots, values, unit)
    size = values.shape[1]
    # Derivative of the logarithm of each variable's standard deviation by each slot.
    logs = slots.weight * at.path[:, :, row] * np.where(kind == PATHS, at.total[:, :, col], at.path[:, :, col])
    logs = logs / total[:, :, None]
    slopes = np.zeros((*values.shape, size))
    between = (kind == COVARIANCES) & (row != col)
    place = _own_variance(slots)
    index = np.arange(size)
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes[:, index, index] = unit
        sign = np.where(kind == PATHS, 1.0, np.where(kind == COVARIANCES, -1.0, 0.0))
        change = (values * unit)[:, :, None] * (sign[:, None] * logs[:, col, :] - logs[:, row, :])
        slopes += np.where(between[:, None], 0.0, change)
        for slot in np.flatnonzero(between):
            for end in (row[slot], col[slot]):
                if place[end] >= 0:
                    slopes[:, slot, place[end]] -= values[:, slot] * unit[:, slot] / (2 * values[:, place[end]])
    return result, slopes


def standardized_values(slots: Slots, total: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return what :func:`standardized` does without the derivatives, for ``total`` (G, m, m) the covariances of all variables."""
    return _times_units(slots, values, _standard_units(slots, total, values))


def _own_variance(slots: Slots) -> np.ndarray:
    """Return the slot of each variable's (residual) variance, -1 without one."""
    own = np.flatnonzero((slots.kind == COVARIANCES) & (slots.row == slots.col))
    place = np.full(slots.m, -1)
    place[slots.row[own]] = own
    return place


def _standard_units(slots: Slots, total: np.ndarray, values: np.ndarray) -> np.ndarray:
    row, col, kind = slots.row, slots.col, slots.kind
    place = _own_variance(slots)
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = np.sqrt(np.diagonal(total, axis1=1, axis2=2))
        unit = np.where(kind == PATHS, deviation[:, col] / deviation[:, row], 1 / deviation[:, row])
        unit = np.where(kind == COVARIANCES, 1 / (deviation[:, row] * deviation[:, col]), unit)
        residual = np.where(place >= 0, values[:, np.maximum(place, 0)], np.nan)
        return np.where((kind == COVARIANCES) & (row != col), 1 / np.sqrt(residual[:, row] * residual[:, col]), unit)


def _times_units(slots: Slots, values: np.ndarray, unit: np.ndarray) -> np.ndarray:
    absent = (slots.kind == COVARIANCES) & (slots.row != slots.col) & (values == 0)
    with np.errstate(invalid="ignore"):
        return np.where(absent, 0.0, values * unit)


def _report(
    model: StructuralModel,
    found: _Solution,
    data: _Data,
    names: tuple[str, ...],
    level: float,
    baseline: tuple[Slots, np.ndarray | None],
    traces: tuple[float, float] | None,
) -> StructuralFit:
    plan, slots, parameters, at = found.layout, found.slots, found.parameters, found.state
    values = parameters.slots(found.free)
    standard, slopes = standardized(slots, at, values)
    errors, errors_standard = np.zeros_like(values), np.zeros_like(values)
    to_free = []
    for group, (own, mixed) in enumerate(zip(parameters.columns, parameters.mixing)):
        block = found.vcov[np.ix_(own, own)]
        errors[group] = np.sqrt(np.maximum(np.einsum("ab,bc,ac->a", mixed, block, mixed), 0.0))
        slope = slopes[group] @ mixed
        errors_standard[group] = np.sqrt(np.maximum(np.einsum("ab,bc,ac->a", slope, block, slope), 0.0))
        to_free.append(slope)
    raw, errors = values / found.slot_scale, errors / found.slot_scale
    is_free = plan.column >= 0
    known = _identities(model, plan, names)
    estimate, standard_flat = raw.ravel(), standard.ravel()
    error, error_standard = np.where(is_free & (errors * found.slot_scale > 1e-10), errors, np.nan).ravel(), errors_standard.ravel()
    error_standard = np.where(error_standard > 1e-12, error_standard, np.nan)
    if model.defined:
        extra = [_defined(model, found, raw, errors, None), _defined(model, found, standard, errors_standard, to_free)]
        estimate, error = np.append(estimate, extra[0][0]), np.append(error, extra[0][1])
        standard_flat, error_standard = np.append(standard_flat, extra[1][0]), np.append(error_standard, extra[1][1])
    margin = float(critical_value(level))
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(error > 0, estimate / error, np.nan)
    numbers = {
        "estimate": estimate,
        "std_error": error,
        "ci_low": estimate - margin * error,
        "ci_high": estimate + margin * error,
        "statistic": statistic,
        "p_value": two_sided_p(statistic),
        "standardized": standard_flat,
        "std_error_standardized": error_standard,
        "standardized_low": standard_flat - margin * error_standard,
        "standardized_high": standard_flat + margin * error_standard,
    }
    notes = _improper(plan, slots, at, values, names)
    fit, log_likelihood, notes_of_fit = _measures(plan, found, baseline)
    notes += notes_of_fit
    count = len(plan.free_names)
    scaled = None if traces is None else _scaled(fit, traces, data, notes)
    raw_vcov = found.vcov * np.outer(found.free_scale, found.free_scale)
    p, scale = slots.p, found.variable_scale
    sigma = at.total[:, :p, :p] * np.outer(scale[:p], scale[:p])
    latent = at.total[:, p:, p:] * np.outer(scale[p:], scale[p:])
    mean = at.level[:, :p] * scale[:p] if found.means else data.means
    labels, factors, free_names = (pd.Index(one) for one in (plan.observed, list(plan.latent), plan.free_names))
    deviation = np.sqrt(np.diagonal(data.covariances, axis1=1, axis2=2))
    residuals = (data.covariances - sigma) / (deviation[:, :, None] * deviation[:, None, :])
    return StructuralFit(
        parameters=pd.DataFrame(known | numbers, columns=list(COLUMNS)),
        vcov=pd.DataFrame(raw_vcov, index=free_names, columns=free_names),
        implied_covariances=tuple(pd.DataFrame(one, index=labels, columns=labels) for one in sigma),
        implied_means=tuple(pd.Series(one, index=labels) for one in mean),
        latent_covariances=tuple(pd.DataFrame(one, index=factors, columns=factors) for one in latent),
        residuals=tuple(pd.DataFrame(one, index=labels, columns=labels) for one in residuals),
        r2=_explained(plan, slots, at, values, names),
        fit=fit,
        log_likelihood=log_likelihood,
        aic=-2 * log_likelihood + 2 * count,
        bic=-2 * log_likelihood + count * float(np.log(data.n.sum())),
        n_parameters=count,
        n=tuple(int(value) for value in data.n),
        n_clusters=() if data.cases is None else data.cases.n_clusters,
        groups=names,
        scaled=scaled,
        method="cluster_robust" if data.cases is not None and data.cases.cluster is not None else found.errors,
        status="flagged" if notes else "estimated",
        reason="; ".join(notes),
        _solution=found,
    )


def _defined(
    model: StructuralModel, found: _Solution, values: np.ndarray, errors: np.ndarray, standard: list[np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return defined parameters and their standard errors by the delta method, of raw or standardised values of the slots."""
    plan, parameters = found.layout, found.parameters
    known: dict[str, float] = {}
    rows: list[np.ndarray] = []
    for group, labels in enumerate(plan.labels):
        for index, label in enumerate(labels):
            if not label or label in known:
                continue
            known[label] = float(values[group, index])
            row = np.zeros(parameters.count)
            if standard is not None:
                row[parameters.columns[group]] = standard[group][index]
            else:
                row[parameters.columns[group]] = parameters.mixing[group][index] / found.slot_scale[index]
            rows.append(row)
    slopes = np.array(rows).reshape(len(rows), parameters.count)
    steps = {label: value + 1j * _STEP * np.eye(len(known))[place] for place, (label, value) in enumerate(known.items())}
    results = []
    with np.errstate(all="ignore"):
        for item in model.defined:
            steps[item.name] = np.broadcast_to(np.asarray(item.value(steps), dtype=complex), (len(known),))
            results.append(steps[item.name])
    table = np.array(results)
    slope = table.imag / _STEP @ slopes
    variance = np.einsum("ab,bc,ac->a", slope, found.vcov, slope)
    return table.real[:, 0], np.sqrt(np.maximum(variance, 0.0))


def _improper(plan: Layout, slots: Slots, at: State, values: np.ndarray, names: tuple[str, ...]) -> list[str]:
    """Return what no population could have: negative variances, correlations beyond 1, matrices that are no covariance matrices."""
    notes = []
    everyone = (*plan.observed, *plan.latent)
    for group, name in enumerate(names):
        where = f" in group {name}" if len(names) > 1 else ""
        own = (slots.kind == COVARIANCES) & (slots.row == slots.col)
        negative = [everyone[slots.row[index]] for index in np.flatnonzero(own & (values[group] < -_NEGATIVE))]
        if negative:
            notes.append(f"negative variance of {', '.join(negative)}{where}")
        residual = likelihood.matrices(slots, values[group : group + 1])[1][0]
        for matrix, what in ((residual, "residuals"), (at.total[group, slots.p :, slots.p :], "factors")):
            labels = everyone if what == "residuals" else plan.latent
            variance = np.diagonal(matrix)
            usable = np.flatnonzero(variance > _NEGATIVE)
            if not usable.size:
                continue
            correlation = matrix[np.ix_(usable, usable)] / np.sqrt(np.outer(variance[usable], variance[usable]))
            beyond = np.argwhere(np.triu(np.abs(correlation) > _BEYOND_ONE, 1))
            for one, two in beyond[:3]:
                value = correlation[one, two]
                notes.append(f"correlation of {value:.2f} of the {what} {labels[usable[one]]} and {labels[usable[two]]}{where}")
            if not len(beyond) and not negative and np.linalg.eigvalsh(correlation)[0] < -_NEGATIVE:
                notes.append(f"the covariance matrix of the {what} is not positive definite{where}")
    return list(dict.fromkeys(notes))


def _explained(plan: Layout, slots: Slots, at: State, values: np.ndarray, names: tuple[str, ...]) -> pd.DataFrame:
    everyone = (*plan.observed, *plan.latent)
    own = {int(slots.row[index]): index for index in np.flatnonzero((slots.kind == COVARIANCES) & (slots.row == slots.col))}
    predicted = np.unique(slots.row[slots.kind == PATHS])
    rows = []
    for group, name in enumerate(names):
        for variable in predicted.tolist():
            residual = values[group, own[variable]]
            share = 1 - residual / at.total[group, variable, variable] if residual >= 0 else np.nan
            rows.append((name, everyone[variable], share))
    return pd.DataFrame(rows, columns=["group", "variable", "r2"])


def _baseline(found: _Solution) -> tuple[Slots, np.ndarray | None]:
    """Return the slots of the baseline model and its estimates, None without convergence.

    Covariances of exogenous variables stay in it, as in lavaan.
    """
    plan, data, p = found.layout, found.data, found.slots.p
    exogenous = [plan.observed.index(name) for name in plan.exogenous]
    slots = baseline_slots(p, found.means, exogenous)
    if data.complete:
        return slots, moments_in(slots, data.covariances, data.means)
    return slots, baseline_moments(found.units, data.covariances, data.means, exogenous)


def _discrepancies(found: _Solution, baseline: tuple[Slots, np.ndarray | None]) -> tuple[float, float, float | None]:
    """Return minus twice the log-likelihood, without its constant, of the model, the saturated and the baseline model."""
    units, means = found.units, found.means
    saturated = _saturated_discrepancy(found.data, means)
    slots, values = baseline
    of_baseline = None if values is None else likelihood.discrepancy(likelihood.state(slots, values, units, means), units)
    return likelihood.discrepancy(found.state, units), saturated, of_baseline


def _saturated_discrepancy(data: _Data, means: bool) -> float:
    slots = saturated_slots(data.means.shape[1], means)
    values = moments_in(slots, data.covariances, data.means)
    return likelihood.discrepancy(likelihood.state(slots, values, data.units, means), data.units)


def _measures(plan: Layout, found: _Solution, of_baseline: tuple[Slots, np.ndarray | None]) -> tuple[FitMeasures, float, list[str]]:
    at, data, p, means = found.state, found.data, found.slots.p, found.means
    n, total, scale = data.n, float(data.n.sum()), found.variable_scale[:p]
    discrepancy, saturated, baseline = _discrepancies(found, of_baseline)
    x = [plan.observed.index(name) for name in plan.exogenous]
    notes = [] if baseline is not None else ["the baseline model did not converge: no CFI and TLI"]
    baseline_df = len(n) * (p * (p - 1) // 2 - len(x) * (len(x) - 1) // 2)
    value = srmr(
        list(data.covariances), list(at.total[:, :p, :p]), n, list(data.means) if means else None, list(at.level[:, :p]) if means else None
    )
    base = np.nan if baseline is None else baseline - saturated
    fit = measures(discrepancy - saturated, _degrees_of_freedom(plan), base, baseline_df, total, value, len(n))
    if baseline is None:
        fit = replace(fit, cfi=None, tli=None)
    per_row = found.units.observed * (np.log(2 * np.pi) + 2 * np.log(scale))
    log_likelihood = -(discrepancy + float(found.units.n @ per_row.sum(axis=1))) / 2
    if x and plan.fixed_x:
        known = np.linalg.slogdet(data.covariances[:, x][:, :, x])[1]
        log_likelihood += float(n @ (known + 2 * np.log(scale[x]).sum() + len(x) * (1 + np.log(2 * np.pi)))) / 2
    return fit, log_likelihood, notes


def _traces(found: _Solution, baseline: tuple[Slots, np.ndarray | None], of_model: float) -> tuple[float, float]:
    """Return the traces that scale the chi-squared of the model and of the baseline model: scaling factor times degrees of freedom."""
    data, units, means, at = found.data, found.units, found.means, found.state
    base, base_values = baseline
    if base_values is None:
        return np.nan, np.nan
    full = saturated_slots(found.slots.p, means)
    if found.errors == "robust":
        values = moments_in(full, data.covariances, data.means)
        saturated = robust_trace(full, values, data.cases, units, means)
        return saturated - of_model, saturated - robust_trace(base, base_values, data.cases, units, means)
    base_at = likelihood.state(base, base_values, units, means)
    information = likelihood.expected_information(base, base_at, units)
    if found.errors == "satorra_bentler":
        values = centred(scores(base, base_at, data.cases, units, means, around_data=True), data.cases)
        whole, base_whole = (moment_trace(one, data.cases, units, means) for one in (at, base_at))
        return whole - of_model, base_whole - trace_of_ratio(information, group_meats(values, data.cases, len(data.n)))
    wholes = []
    for one in (at, base_at):
        sigma, level = one.total[:, : full.p, : full.p], one.level[:, : full.p]
        weight = likelihood.expected_information(full, likelihood.state(full, moments_in(full, sigma, level), units, means), units)
        wholes.append(sum(float(np.sum(block * sampling)) for block, sampling in zip(weight, data.acov)))
    return wholes[0] - of_model, wholes[1] - trace_of_ratio(information, moment_meat(base, base_at, units, data.acov, means))


def _scaled(fit: FitMeasures, traces: tuple[float, float], data: _Data, notes: list[str]) -> ScaledMeasures | None:
    if fit.df == 0:
        return None
    scaling, baseline_scaling = traces[0] / fit.df, traces[1] / fit.baseline_df
    if not (scaling > 0 and baseline_scaling > 0):
        notes.append(f"no scaled chi-squared: its scaling factor is not positive ({scaling:.3f})")
        return None
    return scaled_measures(fit, scaling, baseline_scaling, float(data.n.sum()), len(data.n), data.complete)


def _identities(model: StructuralModel, plan: Layout, names: tuple[str, ...]) -> dict[str, list[Any]]:
    """Return the first columns of a fit's table: what each row is, and whether it is free."""
    rows = [
        (name, term.lhs, term.op, term.rhs, plan.labels[group][index], bool(plan.column[group, index] >= 0))
        for group, name in enumerate(names)
        for index, term in enumerate(plan.terms)
    ]
    rows += [("", item.name, ":=", item.expression, item.name, False) for item in model.defined]
    return dict(zip(COLUMNS[:6], map(list, zip(*rows))))


def _no_fit(model: StructuralModel, plan: Layout, data: _Data, names: tuple[str, ...], reason: str) -> StructuralFit:
    table = pd.DataFrame(_identities(model, plan, names)).reindex(columns=list(COLUMNS))
    free = list(plan.free_names)
    return StructuralFit(
        parameters=table,
        vcov=pd.DataFrame(np.nan, index=free, columns=free),
        implied_covariances=(),
        implied_means=(),
        latent_covariances=(),
        residuals=(),
        r2=pd.DataFrame(columns=["group", "variable", "r2"]),
        fit=None,
        log_likelihood=None,
        aic=None,
        bic=None,
        n_parameters=len(free),
        n=tuple(int(value) if np.isfinite(value) else 0 for value in data.n),
        n_clusters=() if data.cases is None else data.cases.n_clusters,
        groups=names,
        scaled=None,
        method="",
        status="not_estimable",
        reason=reason,
    )
