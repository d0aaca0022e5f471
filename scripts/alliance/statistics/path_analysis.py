"""Path models of observed variables: maximum likelihood, fit, standard errors, indirect effects.

Estimates come from semopy on the correlation matrix (z-scored units), are polished by Fisher scoring, compared with the closed form where
there is one, and turned back into raw units. Everything around the optimum is computed here, as lavaan computes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance.statistics import resampling
from alliance.statistics.covariance import cluster_codes, correlation_matrix, elements, matrix_of, moments, normal_theory, sandwich
from alliance.statistics.distributions import critical_value, two_sided_p
from alliance.statistics.fit_measures import FitMeasures, measures, srmr
from alliance.statistics.model_syntax import Defined, Model, ModelSyntaxError, Problem, Term, parse

__all__ = [
    "Bootstrap",
    "Defined",
    "FitMeasures",
    "Model",
    "ModelSyntaxError",
    "PathFit",
    "Problem",
    "Term",
    "bootstrap",
    "fit",
    "monte_carlo",
    "parse",
]

MIN_CLUSTERS = 5
ROWS_PER_PARAMETER = 3
AGREEMENT = 1e-6

COLUMNS = (
    "name",
    "lhs",
    "op",
    "rhs",
    "label",
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
    "df",
    "status",
    "reason",
)

_SCORING_STEPS = 500
_SMALLEST_EIGENVALUE = 1e-8


@dataclass(frozen=True)
class PathFit:
    """A fitted path model.

    Attributes
    ----------
    parameters : DataFrame
        One row a path (``~``), residual (co)variance (``~~``) and defined parameter (``:=``), columns :data:`COLUMNS`; NaN where not
        estimable.
    vcov, vcov_standardized : DataFrame
        Sampling covariance of the raw and the standardised estimates of all rows, named by ``name``.
    r2 : dict of str to float
        Explained share of the variance of each outcome.
    fit : FitMeasures or None
    n, n_clusters : int
        Complete rows, and clusters among them (0 without).
    method : str
        Standard errors: ``cluster_jackknife``, ``cluster_robust`` (sandwich) or ``normal_theory``; empty without a fit.
    status, reason : str
        ``estimated``, ``flagged`` or ``not_estimable``, and why.
    """

    parameters: pd.DataFrame
    vcov: pd.DataFrame
    vcov_standardized: pd.DataFrame
    r2: dict[str, float]
    fit: FitMeasures | None
    n: int
    n_clusters: int
    method: str
    status: str
    reason: str


@dataclass(frozen=True)
class Bootstrap:
    """Resampling intervals of a path model.

    Attributes
    ----------
    parameters : DataFrame
        ``name, estimate, ci_low, ci_high, standardized, standardized_low, standardized_high``; NaN where not estimable.
    draws, draws_standardized : DataFrame
        One row a resample, one column a parameter.
    unit : str
        What was resampled: ``clusters`` or ``rows``.
    n_units, n_failed : int
        Resampling units, and resamples without a solution (left out of the intervals).
    method, status, reason : str
    """

    parameters: pd.DataFrame
    draws: pd.DataFrame
    draws_standardized: pd.DataFrame
    unit: str
    n_units: int
    n_failed: int
    method: str
    status: str
    reason: str


def fit(
    model: Model,
    data: pd.DataFrame | None = None,
    *,
    covariance: ArrayLike | pd.DataFrame | None = None,
    n: float | None = None,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
    fixed_x: bool = False,
    engine: Literal["semopy", "closed_form"] = "semopy",
    cluster_error: Literal["jackknife", "sandwich"] = "jackknife",
    min_clusters: int = MIN_CLUSTERS,
    rows_per_parameter: float = ROWS_PER_PARAMETER,
) -> PathFit:
    """Fit a path model to rows, or to a covariance matrix and a sample size.

    Standard errors: with ``clusters`` the delete-one-cluster jackknife, with intervals by t(G - 1); otherwise the expected information
    (lavaan's default) with the normal.

    Parameters
    ----------
    model : Model
        From :func:`parse`.
    data : DataFrame, optional
        Has the model's variables as columns; rows with a missing value in them (or in ``clusters``) are left out.
    covariance : DataFrame or array_like, shape (p, p), optional
        Covariance (or correlation) matrix with divisor n - 1; a plain array is in the order of ``model.variables``.
    n : float, optional
        Sample size of ``covariance``.
    clusters : array_like, shape (rows,), optional
        Which cluster (therapist) a row of ``data`` belongs to.
    level : float
        Confidence level.
    fixed_x : bool
        Whether standard errors of standardised estimates take the variances of exogenous variables as known, as lavaan does by
        default. They vary from sample to sample, so the default here counts that (lavaan ``fixed.x = FALSE``). Raw estimates do not
        depend on it.
    engine : {"semopy", "closed_form"}
        ``closed_form`` goes without semopy.
    cluster_error : {"jackknife", "sandwich"}
        ``jackknife`` fits again without each cluster: ``(G - 1) / G`` times the sum of squared deviations from the mean. ``sandwich`` is
        that of the observed information and the rows' influences summed within clusters, times G / (G - 1) (lavaan ``cluster=``); smaller,
        so that its intervals cover less with few clusters.
    min_clusters : int
        Fewer clusters: rows are taken as independent, flagged with the reason.
    rows_per_parameter : float
        Fewer rows a free parameter: not estimable.

    Raises
    ------
    ValueError
        Neither data nor covariance and n, or variables of the model that are not among the columns.
    """
    sample = _sample(model, data, covariance, n, clusters)
    fault = _fault(model, sample, rows_per_parameter)
    if fault:
        return _no_fit(model, sample, fault)
    structure = _Structure.of(model, np.sqrt(np.diagonal(sample.covariance)))
    r = correlation_matrix(sample.covariance)
    estimate, notes = _optimum(structure, r, sample.n, engine)
    if estimate is None:
        return _no_fit(model, sample, notes[0])
    hessian = structure.information(estimate, r)
    if np.linalg.cond(hessian) > 1e10:
        return _no_fit(model, sample, "the model is not identified: its paths and residual covariances cannot be told apart")
    robust = sample.codes is not None and sample.n_clusters >= min_clusters
    if sample.codes is not None and not robust:
        notes.append(f"fewer than {min_clusters} therapists ({sample.n_clusters}): clients taken as independent")
    df = float(sample.n_clusters - 1) if robust else np.inf
    values, slopes = structure.outputs_with_slopes(estimate, r)
    vcov = _jackknife_vcov(structure, sample, np.isfinite(values)) if robust and cluster_error == "jackknife" else None
    if robust and cluster_error == "jackknife" and vcov is None:
        notes.append("sandwich in place of jackknife errors: the model has no solution without one of the therapists")
    method = "normal_theory" if not robust else "cluster_robust" if vcov is None else "cluster_jackknife"
    if vcov is None:
        joint = _cluster_vcov(structure, estimate, r, sample) if robust else _expected_vcov(structure, hessian, r, sample.n)
        if fixed_x:
            slopes = np.concatenate([slopes[:, : estimate.size], np.zeros((slopes.shape[0], slopes.shape[1] - estimate.size))], axis=1)
        vcov = slopes @ joint @ slopes.T
    count = values.size // 2
    names = structure.names
    table = _table(structure, values, np.sqrt(np.maximum(np.diagonal(vcov), 0)), df, level, notes)
    return PathFit(
        parameters=table,
        vcov=pd.DataFrame(vcov[:count, :count], index=names, columns=names),
        vcov_standardized=pd.DataFrame(vcov[count:, count:], index=names, columns=names),
        r2=structure.explained(estimate, r),
        fit=_fit_measures(structure, estimate, r, sample.n),
        n=int(sample.n),
        n_clusters=sample.n_clusters,
        method=method,
        status="flagged" if notes else "estimated",
        reason="; ".join(notes),
    )


def bootstrap(
    model: Model,
    data: pd.DataFrame,
    random: np.random.Generator,
    *,
    clusters: ArrayLike | None = None,
    draws: int = 2000,
    interval: Literal["expanded_percentile", "percentile", "bca"] = "expanded_percentile",
    level: float = 0.95,
    min_clusters: int = resampling.MIN_CLUSTERS,
    rows_per_parameter: float = ROWS_PER_PARAMETER,
) -> Bootstrap:
    """Bootstrap a path model by resampling whole clusters, or rows where there are fewer than ``min_clusters`` clusters.

    Parameters
    ----------
    model, data, clusters, level, rows_per_parameter
        As in :func:`fit`.
    random : numpy.random.Generator
        From :func:`alliance.statistics.resampling.generator`.
    draws : int
        Number of resamples.
    interval : {"expanded_percentile", "percentile", "bca"}
        Percentile, expanded for the number of resampling units (Hesterberg, 2015) or plain; or bias-corrected and accelerated (Efron,
        1987).
    """
    sample = _sample(model, data, None, None, clusters)
    fault = _fault(model, sample, rows_per_parameter)
    names = _names(model)
    empty = pd.DataFrame(columns=names, dtype=float)
    if fault:
        table = pd.DataFrame({"name": names}).reindex(columns=["name", *_INTERVAL_COLUMNS])
        return Bootstrap(table, empty, empty, "", 0, 0, "", "not_estimable", fault)
    scale = np.sqrt(np.diagonal(sample.covariance))
    structure = _Structure.of(model, scale)
    products = resampling.cross_products((sample.rows - sample.rows.mean(axis=0)) / scale, sample.codes, min_clusters)
    units = len(products.sums)

    def estimates(stack: np.ndarray) -> np.ndarray:
        return structure.outputs_of(stack)

    values = estimates(resampling.covariances(products, np.ones((1, units))))[0]
    drawn = resampling.bootstrap(products, estimates, draws, random)
    if interval == "bca":
        left_out = estimates(resampling.left_out_covariances(products))
        low, high = resampling.bca_interval(drawn, values, left_out, level)
    else:
        low, high = resampling.percentile_interval(drawn, level, units if interval == "expanded_percentile" else None)
    count = len(names)
    table = pd.DataFrame(
        {
            "name": names,
            "estimate": values[:count],
            "ci_low": low[:count],
            "ci_high": high[:count],
            "standardized": values[count:],
            "standardized_low": low[count:],
            "standardized_high": high[count:],
        }
    )
    failed = int((~np.isfinite(drawn).all(axis=1)).sum())
    notes = []
    if sample.codes is not None and products.unit == "rows":
        notes.append(f"clients were resampled, not therapists: fewer than {min_clusters} therapists ({sample.n_clusters})")
    if failed:
        notes.append(f"{failed} of {draws} resamples had no solution and were left out")
    unit = "therapists" if products.unit == "clusters" else "clients"
    kind = {"expanded_percentile": "expanded percentile", "percentile": "percentile", "bca": "bias-corrected and accelerated"}[interval]
    return Bootstrap(
        table,
        pd.DataFrame(drawn[:, :count], columns=names),
        pd.DataFrame(drawn[:, count:], columns=names),
        products.unit,
        units,
        failed,
        f"{kind} bootstrap, {draws} resamples of {unit}",
        "flagged" if notes else "estimated",
        "; ".join(notes),
    )


def monte_carlo(model: Model, fitted: PathFit, random: np.random.Generator, *, draws: int = 20000, level: float = 0.95) -> pd.DataFrame:
    """Return Monte Carlo intervals of defined parameters (MacKinnon, Lockwood & Williams, 2004).

    The labelled parameters are drawn from the normal with their estimated covariance, or from the multivariate t with the fit's degrees of
    freedom where its errors are cluster-robust.

    Parameters
    ----------
    model : Model
        The model that was fitted.
    fitted : PathFit
        From :func:`fit`.
    random : numpy.random.Generator
        From :func:`alliance.statistics.resampling.generator`.
    draws : int
        Number of draws.
    level : float
        Confidence level.

    Returns
    -------
    DataFrame
        ``name, ci_low, ci_high, standardized_low, standardized_high``, one row a defined parameter; NaN where not estimable.
    """
    first: dict[str, str] = {}
    for term in (*model.paths, *model.covariances):
        if term.label:
            first.setdefault(term.label, f"{term.lhs}{term.op}{term.rhs}")
    table = pd.DataFrame({"name": [item.name for item in model.defined]})
    noise = random.standard_normal((draws, len(first)))
    chi = random.chisquare(fitted.n_clusters - 1, size=draws) if fitted.parameters["df"].notna().any() else None
    if chi is not None:
        noise *= np.sqrt((fitted.n_clusters - 1) / chi)[:, None]
    tail = (1 - level) / 2
    names_of_rows = fitted.parameters["name"].tolist()
    where = [names_of_rows.index(name) for name in first.values()]
    for column, vcov, names in (
        ("estimate", fitted.vcov, ("ci_low", "ci_high")),
        ("standardized", fitted.vcov_standardized, ("standardized_low", "standardized_high")),
    ):
        intervals = np.full((2, len(table)), np.nan)
        if fitted.status != "not_estimable":
            size, directions = np.linalg.eigh(vcov.to_numpy()[np.ix_(where, where)])
            drawn = fitted.parameters[column].to_numpy()[where] + noise * np.sqrt(np.maximum(size, 0)) @ directions.T
            known: dict[str, np.ndarray] = {label: drawn[:, index] for index, label in enumerate(first)}
            for index, item in enumerate(model.defined):
                with np.errstate(all="ignore"):
                    known[item.name] = np.broadcast_to(item.value(known), (draws,))
                finite = known[item.name][np.isfinite(known[item.name])]
                if finite.size:
                    intervals[:, index] = np.quantile(finite, [tail, 1 - tail])
        table[names[0]], table[names[1]] = intervals
    return table


_INTERVAL_COLUMNS = ("estimate", "ci_low", "ci_high", "standardized", "standardized_low", "standardized_high")


@dataclass(frozen=True)
class _Sample:
    """What a model is fitted to; ``covariance`` has divisor n, ``rows`` and ``codes`` are None for a summary."""

    covariance: np.ndarray
    n: float
    rows: np.ndarray | None
    codes: np.ndarray | None
    n_clusters: int


def _sample(
    model: Model,
    data: pd.DataFrame | None,
    covariance: ArrayLike | pd.DataFrame | None,
    n: float | None,
    clusters: ArrayLike | None,
) -> _Sample:
    names = list(model.variables)
    if data is None:
        if covariance is None or n is None:
            raise ValueError("give data, or a covariance matrix and its n")
        if isinstance(covariance, pd.DataFrame):
            covariance = _columns(covariance, names).loc[names]
        matrix = np.asarray(covariance, dtype=float)
        if matrix.shape != (len(names), len(names)):
            raise ValueError(f"the covariance matrix needs {len(names)} rows and columns, in the order {', '.join(names)}")
        return _Sample(matrix * ((n - 1) / n) if n > 1 else matrix, float(n), None, None, 0)
    rows = _columns(data, names).astype("float64").to_numpy()
    complete = np.isfinite(rows).all(axis=1)
    codes, count = None, 0
    if clusters is not None:
        clusters = np.asarray(clusters, dtype=object)
        complete &= ~np.asarray(pd.isna(clusters))
        codes, count = cluster_codes(clusters[complete]) if complete.any() else (np.empty(0, dtype=int), 0)
    rows = rows[complete]
    matrix = moments(rows).maximum_likelihood if len(rows) > 1 else np.full((len(names), len(names)), np.nan)
    return _Sample(matrix, float(len(rows)), rows, codes, count)


def _columns(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise ValueError(f"variables of the model that the data lack: {', '.join(missing)}")
    return table[names]


def _fault(model: Model, sample: _Sample, rows_per_parameter: float) -> str:
    """Return why the model cannot be estimated, or nothing."""
    needed = int(np.ceil(max(rows_per_parameter * len(_free(model)), len(model.variables) + 2)))
    if sample.n < needed:
        return f"needs at least {needed} clients with complete values ({len(_free(model))} parameters), has {int(sample.n)}"
    if not np.isfinite(sample.covariance).all():
        return "the covariance matrix has holes"
    variances = np.diagonal(sample.covariance)
    size = np.abs(sample.rows).max(axis=0) ** 2 if sample.rows is not None else np.zeros(variances.size)
    constant = [name for name, variance, largest in zip(model.variables, variances, size) if variance <= 1e-20 * largest or variance <= 0]
    if constant:
        return f"constant: {', '.join(constant)}"
    values, vectors = np.linalg.eigh(correlation_matrix(sample.covariance))
    if values[0] < _SMALLEST_EIGENVALUE:
        involved = [name for name, weight in zip(model.variables, vectors[:, 0]) if abs(weight) > 0.1]
        if values[0] < -_SMALLEST_EIGENVALUE:
            return f"the covariance matrix is not possible (negative eigenvalue; look at {', '.join(involved)})"
        return f"these variables determine each other: {', '.join(involved)}"
    return ""


def _free(model: Model) -> list[str]:
    """Return the free parameters: residual variances and distinct labelled or unlabelled terms."""
    terms = [term.name for term in (*model.paths, *model.covariances) if term.fixed is None]
    return [*dict.fromkeys(terms), *(f"{name}~~{name}" for name in model.endogenous)]


def _rows(model: Model) -> list[tuple[str, str, str, str, str]]:
    """Return name, lhs, op, rhs and label of every row of the table of parameters."""
    terms = [*model.paths, *model.covariances]
    rows = [(f"{term.lhs}{term.op}{term.rhs}", term.lhs, term.op, term.rhs, term.label) for term in terms]
    rows += [(f"{name}~~{name}", name, "~~", name, "") for name in model.endogenous]
    return rows + [(item.name, item.name, ":=", item.expression, item.name) for item in model.defined]


def _names(model: Model) -> list[str]:
    return [row[0] for row in _rows(model)]


@dataclass(frozen=True)
class _Structure:
    """A model as positions in matrices, in units of the standard deviations ``scale``.

    ``first`` and ``second`` are the row and column of each term; the first ``n_paths`` are regressions, the others residual (co)variances.
    The terms equal ``mixing @ free + fixed``.
    """

    model: Model
    scale: np.ndarray
    first: np.ndarray
    second: np.ndarray
    n_paths: int
    mixing: np.ndarray
    fixed: np.ndarray
    exogenous: np.ndarray
    endogenous: np.ndarray
    simple: bool
    names: list[str] = field(repr=False)

    @classmethod
    def of(cls, model: Model, scale: np.ndarray) -> _Structure:
        position = {name: index for index, name in enumerate(model.variables)}
        terms = [*model.paths, *model.covariances, *(Term(name, "~~", name) for name in model.endogenous)]
        first = np.array([position[term.lhs] for term in terms])
        second = np.array([position[term.rhs] for term in terms])
        n_paths = len(model.paths)
        # A path is multiplied, a covariance divided, on its way to standard deviation units.
        unit = np.where(np.arange(len(terms)) < n_paths, scale[second] / scale[first], 1 / (scale[second] * scale[first]))
        free = _free(model)
        mixing, fixed = np.zeros((len(terms), len(free))), np.zeros(len(terms))
        for row, term in enumerate(terms):
            if term.fixed is not None:
                fixed[row] = term.fixed * unit[row]
            else:
                mixing[row, free.index(term.name)] = unit[row]
        leading = np.array([mixing[np.flatnonzero(mixing[:, column])[0], column] for column in range(len(free))])
        endogenous = np.array([position[name] for name in model.endogenous])
        exogenous = np.array([position[name] for name in model.exogenous], dtype=int)
        simple = not model.covariances and not fixed.any() and len(free) == len(terms)
        mixing = mixing / leading
        return cls(model, scale, first, second, n_paths, mixing, fixed, exogenous, endogenous, simple, _names(model))

    @property
    def plain(self) -> bool:
        """Whether no value is fixed at other than zero and none are set equal, so that z-scoring keeps the model."""
        return not self.fixed.any() and bool(((self.mixing != 0).sum(axis=0) == 1).all())

    def terms(self, free: np.ndarray) -> np.ndarray:
        return free @ self.mixing.T + self.fixed

    def implied(self, free: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return total effects (I - A)^-1, implied covariances and terms, for stacks of free parameters and sample matrices."""
        terms = self.terms(free)
        p = self.scale.size
        batch = np.broadcast_shapes(terms.shape[:-1], s.shape[:-2])
        kind = np.result_type(terms, s)
        direct, residual = np.zeros((*batch, p, p), dtype=kind), np.zeros((*batch, p, p), dtype=kind)
        paths, others = slice(None, self.n_paths), slice(self.n_paths, None)
        direct[..., self.first[paths], self.second[paths]] = terms[..., paths]
        residual[..., self.first[others], self.second[others]] = terms[..., others]
        residual[..., self.second[others], self.first[others]] = terms[..., others]
        x = self.exogenous
        residual[..., x[:, None], x[None, :]] = s[..., x[:, None], x[None, :]]
        total = np.linalg.inv(np.eye(p) - direct)
        return total, total @ residual @ np.swapaxes(total, -1, -2), terms

    def _derivative_parts(self, total: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return u and v, shape (..., p, terms), such that each term moves the implied matrix by u v' + v u'."""
        u = total[..., :, self.first]
        v = np.concatenate([sigma[..., :, self.second[: self.n_paths]], total[..., :, self.second[self.n_paths :]]], axis=-1)
        return u, np.where(self._is_variance, v / 2, v)

    @property
    def _is_variance(self) -> np.ndarray:
        return (self.first == self.second) & (np.arange(self.first.size) >= self.n_paths)

    def gradient(self, free: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Return derivatives of log|Sigma| + tr(S Sigma^-1), stacks as in :meth:`implied`; analytic, so complex steps may be used."""
        total, sigma, _ = self.implied(free, s)
        u, v = self._derivative_parts(total, sigma)
        inverse = np.linalg.inv(sigma)
        middle = inverse @ (sigma - s) @ inverse
        return 2 * (u * (middle @ v)).sum(axis=-2) @ self.mixing

    def information(self, free: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Return the expected second derivatives of the same function, shape (..., q, q)."""
        total, sigma, _ = self.implied(free, s)
        u, v = self._derivative_parts(total, sigma)
        inverse = np.linalg.inv(sigma)
        wu, wv = inverse @ u, inverse @ v
        ut, vt = np.swapaxes(u, -1, -2), np.swapaxes(v, -1, -2)
        return self.mixing.T @ (2 * ((vt @ wu) * (ut @ wv) + (vt @ wv) * (ut @ wu))) @ self.mixing

    def discrepancy(self, free: np.ndarray, s: np.ndarray) -> np.ndarray:
        _, sigma, _ = self.implied(free, s)
        sign, log = np.linalg.slogdet(sigma)
        with np.errstate(invalid="ignore"):
            value = log + np.trace(np.linalg.solve(sigma, s), axis1=-2, axis2=-1)
        return np.where((sign > 0) & self._admissible(free), value, np.inf)

    def _admissible(self, free: np.ndarray) -> np.ndarray:
        return (self.terms(free)[..., self._is_variance] > 0).all(axis=-1)

    def equationwise(self, s: np.ndarray) -> np.ndarray:
        """Return the terms of least squares equation by equation, shape (..., terms): maximum likelihood where the model is simple."""
        terms = np.zeros((*s.shape[:-2], self.first.size))
        residuals = np.zeros((*s.shape[:-2], self.scale.size, self.scale.size))
        residuals[..., np.arange(self.scale.size), np.arange(self.scale.size)] = 1
        for outcome in self.endogenous:
            rows = np.flatnonzero((self.first == outcome) & (np.arange(self.first.size) < self.n_paths))
            predictors = self.second[rows]
            slopes = np.linalg.solve(s[..., predictors[:, None], predictors[None, :]], s[..., predictors, outcome][..., None])[..., 0]
            terms[..., rows] = slopes
            residuals[..., outcome, predictors] = -slopes
        residual = residuals @ s @ np.swapaxes(residuals, -1, -2)
        others = slice(self.n_paths, None)
        terms[..., others] = residual[..., self.first[others], self.second[others]]
        return terms

    def start(self, s: np.ndarray) -> np.ndarray:
        """Return starting values: least squares, averaged over terms that are set equal."""
        used = (self.mixing != 0) / np.where(self.mixing == 0, 1, self.mixing)
        return (self.equationwise(s) @ used) / (self.mixing != 0).sum(axis=0)

    def scoring(self, s: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minimise the discrepancy by Fisher scoring with halved steps; return free parameters and whether each of the stack converged."""
        free, converged = start.copy(), np.zeros(start.shape[0], dtype=bool)
        value = self.discrepancy(free, s)
        without = ~np.isfinite(value)
        if without.any():
            # Residual covariances of least squares may be impossible together; without them the start always is possible.
            covariance = (np.arange(self.first.size) >= self.n_paths) & ~self._is_variance
            free[np.ix_(without, (self.mixing[covariance] != 0).any(axis=0))] = 0.0
            value = self.discrepancy(free, s)
        active = np.isfinite(value)
        for _ in range(_SCORING_STEPS):
            rows = np.flatnonzero(active)
            if not rows.size:
                break
            information = self.information(free[rows], s[rows])
            solvable = np.linalg.cond(information) < 1e12
            active[rows[~solvable]] = False
            rows, information = rows[solvable], information[solvable]
            step = -np.linalg.solve(information, self.gradient(free[rows], s[rows])[..., None])[..., 0]
            length = np.ones(rows.size)
            proposal = free[rows] + step
            new = self.discrepancy(proposal, s[rows])
            for _ in range(40):
                worse = ~(new <= value[rows] + 1e-13 * np.abs(value[rows]))
                if not worse.any():
                    break
                length = np.where(worse, length / 2, length)
                proposal = free[rows] + length[:, None] * step
                new = np.where(worse, self.discrepancy(proposal, s[rows]), new)
            moved = new <= value[rows] + 1e-13 * np.abs(value[rows])
            free[rows[moved]], value[rows[moved]] = proposal[moved], new[moved]
            small = np.abs(step).max(axis=1) < 1e-10
            converged[rows] = small
            active[rows] = moved & ~small
        return free, converged

    def solve(self, s: np.ndarray) -> np.ndarray:
        """Return the maximum likelihood estimates for a stack of matrices; NaN rows where there are none."""
        free = np.full((s.shape[0], self.mixing.shape[1]), np.nan)
        usable = np.flatnonzero(np.isfinite(s).all(axis=(1, 2)))
        usable = usable[np.linalg.eigvalsh(s[usable])[:, 0] > _SMALLEST_EIGENVALUE]
        start = self.start(s[usable])
        if self.simple:
            free[usable] = start
            return free
        found, converged = self.scoring(s[usable], start)
        free[usable] = np.where(converged[:, None], found, np.nan)
        return free

    def outputs(self, free: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Return raw then standardised values of every row of the table, shape (..., 2 m); analytic."""
        _, sigma, terms = self.implied(free, s)
        paths = np.arange(self.first.size) < self.n_paths
        scale = np.where(paths, self.scale[self.first] / self.scale[self.second], self.scale[self.first] * self.scale[self.second])
        deviation = np.sqrt(np.diagonal(sigma, axis1=-2, axis2=-1))
        of_first, of_second = deviation[..., self.first], deviation[..., self.second]
        variances = terms[..., self._is_variance]
        residual = np.ones((*terms.shape[:-1], self.scale.size), dtype=terms.dtype)
        residual[..., self.first[self._is_variance]] = np.sqrt(variances)
        between = (~paths) & ~self._is_variance
        # A standardised residual covariance is a correlation of residuals, as lavaan's std.all has it.
        standardised = np.where(paths, terms * of_second / of_first, terms / (of_first * of_second))
        correlated = terms / (residual[..., self.first] * residual[..., self.second])
        standardised = np.where(between, correlated, standardised)
        columns = []
        for values in (terms * scale, standardised):
            known: dict[str, np.ndarray] = {}
            for index, term in enumerate((*self.model.paths, *self.model.covariances)):
                if term.label:
                    known.setdefault(term.label, values[..., index])
            extra = []
            for item in self.model.defined:
                with np.errstate(all="ignore"):
                    known[item.name] = np.broadcast_to(item.value(known), values.shape[:-1])
                extra.append(known[item.name])
            columns.append(np.concatenate([values, np.stack(extra, axis=-1)] if extra else [values], axis=-1))
        return np.concatenate(columns, axis=-1)

    def outputs_of(self, s: np.ndarray) -> np.ndarray:
        """Return :meth:`outputs` at the estimates of a stack of matrices."""
        free = self.solve(s)
        usable = np.isfinite(free).all(axis=1)
        values = np.full((s.shape[0], 2 * len(self.names)), np.nan)
        if usable.any():
            values[usable] = self.outputs(free[usable], s[usable])
        return np.where(np.isfinite(values), values, np.nan)

    def outputs_with_slopes(self, free: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return :meth:`outputs` and their derivatives by free parameters and the exogenous elements of ``s``."""
        frees, matrices = _complex_steps(free, s, self._exogenous_elements)
        return self.outputs(free, s), self.outputs(frees, matrices).imag.T / _STEP

    @property
    def _exogenous_elements(self) -> np.ndarray:
        rows, columns = np.triu_indices(self.scale.size)
        return np.flatnonzero(np.isin(rows, self.exogenous) & np.isin(columns, self.exogenous))

    def explained(self, free: np.ndarray, s: np.ndarray) -> dict[str, float]:
        _, sigma, terms = self.implied(free, s)
        residual = dict(zip(self.first[self._is_variance], terms[self._is_variance]))
        return {self.model.variables[index]: float(1 - residual[index] / sigma[index, index]) for index in self.endogenous}


_STEP = 1e-30


def _complex_steps(free: np.ndarray, s: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return stacks with one free parameter or one element of the symmetric matrix moved by a complex step each."""
    frees = np.tile(free.astype(complex), (free.size + which.size, 1))
    frees[np.arange(free.size), np.arange(free.size)] += 1j * _STEP
    values = np.tile(elements(s).astype(complex), (free.size + which.size, 1))
    values[free.size + np.arange(which.size), which] += 1j * _STEP
    return frees, matrix_of(values, s.shape[0])


def _optimum(structure: _Structure, r: np.ndarray, n: float, engine: str) -> tuple[np.ndarray | None, list[str]]:
    """Return free parameters and remarks; None with the reason where there is no optimum."""
    notes = []
    start = structure.start(r[None])[0]
    found = None
    if engine == "semopy" and structure.plain:
        found, fault = _semopy(structure, r, n)
        if fault:
            notes.append(fault)
    closed = start if structure.simple else None
    if closed is None:
        for point in [start] if found is None else [found, start]:
            solution, converged = structure.scoring(r[None], point[None])
            if converged[0]:
                closed = solution[0]
                break
    if closed is None:
        return None, ["the likelihood has no maximum that could be found: the model may not be identified"]
    if found is not None and np.abs(found - closed).max() > AGREEMENT:
        notes.append(
            f"semopy stopped {np.abs(found - closed).max():.1e} standard deviation units from the maximum; the maximum is reported"
        )
    return closed, notes


def _semopy(structure: _Structure, r: np.ndarray, n: float) -> tuple[np.ndarray | None, str]:
    """Return semopy's optimum for a correlation matrix, or what went wrong."""
    import warnings

    import semopy

    names = [f"v{index}" for index in range(structure.scale.size)]
    operators = ["~" if index < structure.n_paths else "~~" for index in range(structure.first.size)]
    lines = [
        f"{names[a]} {operator} {'0*' if not mixed.any() else ''}{names[b]}"
        for a, operator, b, mixed in zip(structure.first, operators, structure.second, structure.mixing)
    ]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = semopy.Model("\n".join(lines))
            matrix = pd.DataFrame(r, index=names, columns=names)
            result = model.fit(cov=matrix, n_samples=int(n), obj="MLW", solver="SLSQP", options={"ftol": 1e-13, "maxiter": 1000})
            table = model.inspect(information=None)
    except Exception as fault:
        return None, f"semopy failed ({type(fault).__name__}); own maximum likelihood reported"
    values = {(row.lval, row.op, row.rval): row.Estimate for row in table.itertuples()}
    free = np.zeros(structure.mixing.shape[1])
    for index, (a, operator, b) in enumerate(zip(structure.first, operators, structure.second)):
        value = values.get((names[a], operator, names[b]), values.get((names[b], operator, names[a])))
        if structure.mixing[index].any():
            if value is None or not np.isfinite(float(value)):
                return None, "semopy left a parameter out; own maximum likelihood reported"
            free[np.flatnonzero(structure.mixing[index])[0]] = float(value)
    if not getattr(result, "success", True):
        return None, "semopy did not converge; own maximum likelihood reported"
    return free, ""


def _expected_vcov(structure: _Structure, information: np.ndarray, r: np.ndarray, n: float) -> np.ndarray:
    """Return the covariance of free parameters and exogenous elements under normality; the two are independent."""
    x = structure.exogenous
    q = information.shape[0]
    exogenous = normal_theory(r[np.ix_(x, x)], n + 1)
    joint = np.zeros((q + exogenous.shape[0],) * 2)
    joint[:q, :q] = 2 / n * np.linalg.inv(information)
    joint[q:, q:] = exogenous
    return joint


def _cluster_vcov(structure: _Structure, free: np.ndarray, r: np.ndarray, sample: _Sample) -> np.ndarray:
    """Return the same from the rows: the estimates' implicit derivatives by the elements of S, around its cluster-robust covariance."""
    p = structure.scale.size
    frees, matrices = _complex_steps(free, r, np.arange(p * (p + 1) // 2))
    slopes = structure.gradient(frees, matrices).imag.T / _STEP
    q = free.size
    implicit = -np.linalg.solve(slopes[:, :q], slopes[:, q:])
    exogenous = np.eye(p * (p + 1) // 2)[structure._exogenous_elements]
    parts = np.concatenate([implicit, exogenous])
    n = sample.n
    meat = sandwich((sample.rows - sample.rows.mean(axis=0)) / structure.scale, sample.codes) * ((n - 1) / n) ** 2
    return parts @ meat @ parts.T


def _jackknife_vcov(structure: _Structure, sample: _Sample, defined: np.ndarray) -> np.ndarray | None:
    """Return the covariance of all outputs from leaving out each cluster in turn; None where one of the refits has no solution.

    ``defined`` tells which outputs have a value with all clusters; the others have none (NaN).
    """
    products = resampling.cross_products((sample.rows - sample.rows.mean(axis=0)) / structure.scale, sample.codes, min_clusters=1)
    units = len(products.sums)
    left_out = structure.outputs_of(resampling.left_out_covariances(products))
    if not np.isfinite(left_out[:, defined]).all():
        return None
    deviation = left_out - left_out.mean(axis=0)
    return deviation.T @ deviation * ((units - 1) / units)


def _table(structure: _Structure, values: np.ndarray, errors: np.ndarray, df: float, level: float, notes: list[str]) -> pd.DataFrame:
    count = values.size // 2
    margin = float(critical_value(level, df)) * errors
    low, high = values - margin, values + margin
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(errors[:count] > 0, values[:count] / errors[:count], np.nan)
    numbers = {
        "estimate": values[:count],
        "std_error": errors[:count],
        "ci_low": low[:count],
        "ci_high": high[:count],
        "statistic": statistic,
        "p_value": two_sided_p(statistic, df),
        "standardized": values[count:],
        "std_error_standardized": errors[count:],
        "standardized_low": low[count:],
        "standardized_high": high[count:],
        "df": np.full(count, df if np.isfinite(df) else np.nan),
    }
    words = dict(zip(("name", "lhs", "op", "rhs", "label"), zip(*_rows(structure.model))))
    finite = np.isfinite(values[:count])
    status = np.where(finite, "flagged" if notes else "estimated", "not_estimable").tolist()
    reason = np.where(finite, "; ".join(notes), "the expression has no finite value").tolist()
    return pd.DataFrame({**words, **numbers, "status": status, "reason": reason}, columns=list(COLUMNS))


def _fit_measures(structure: _Structure, free: np.ndarray, r: np.ndarray, n: float) -> FitMeasures:
    _, sigma, _ = structure.implied(free, r)
    p, x, y = structure.scale.size, structure.exogenous, structure.endogenous
    log_s = np.linalg.slogdet(r)[1]
    chi2 = float(n * (structure.discrepancy(free, r) - log_s - p))
    df = p * (p + 1) // 2 - x.size * (x.size + 1) // 2 - free.size
    base = float(n * (np.linalg.slogdet(r[np.ix_(x, x)])[1] - log_s))
    base_df = y.size * (y.size - 1) // 2 + y.size * x.size
    return measures(chi2, df, base, base_df, n, srmr([r], [sigma], [n]))


def _no_fit(model: Model, sample: _Sample, reason: str) -> PathFit:
    table = pd.DataFrame(_rows(model), columns=["name", "lhs", "op", "rhs", "label"]).reindex(columns=list(COLUMNS))
    table["status"], table["reason"] = "not_estimable", reason
    names = _names(model)
    empty = pd.DataFrame(np.nan, index=names, columns=names)
    n = int(sample.n) if np.isfinite(sample.n) else 0
    return PathFit(table, empty, empty.copy(), {}, None, n, sample.n_clusters, "", "not_estimable", reason)
