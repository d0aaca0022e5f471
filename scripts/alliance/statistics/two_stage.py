"""Two-stage structural equation models: correlation matrices of many sites are pooled, then a path model is fitted to the pooled matrix.

Cheung & Chan (2005) and Cheung (2014) describe the method; holes in the matrices are allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance.statistics.covariance import matrix_of, olkin_finn
from alliance.statistics.distributions import chi_squared_p, critical_value, two_sided_p
from alliance.statistics.model_syntax import Model, Term
from alliance.statistics.multivariate_meta import SiteVectors

_STEPS = 500
_DRAWS = 20000


@dataclass(frozen=True)
class PooledCorrelations:
    """Pooled correlations of a set of variables.

    Attributes
    ----------
    cells : DataFrame
        One row a pair: ``var1, var2, estimate, std_error, ci_low, ci_high, tau2, prediction_low, prediction_high, n_sites, n_clients,
        status, reason``. Intervals by the normal, prediction by t(n_sites - 1).
    vcov : ndarray, shape (m, m)
        Sampling covariance of the estimates; NaN where not estimable.
    variables : tuple of str
    matrix : ndarray, shape (p, p)
        The pooled correlation matrix.
    log_likelihood : float or None
        Maximum of the (restricted) likelihood.
    n_sites, n_clients : int
        Sites with at least one correlation, and the sum of their largest sample sizes.
    method, status, reason : str
    """

    cells: pd.DataFrame
    vcov: np.ndarray
    variables: tuple[str, ...]
    matrix: np.ndarray
    log_likelihood: float | None
    n_sites: int
    n_clients: int
    method: str
    status: str
    reason: str


@dataclass(frozen=True)
class TwoStageFit:
    """A path model fitted to pooled correlations; all values are standardised.

    Attributes
    ----------
    parameters : DataFrame
        One row a path, correlation (``~~``) and defined parameter: ``name, lhs, op, rhs, label, estimate, std_error, ci_low, ci_high,
        statistic, p_value, monte_carlo_low, monte_carlo_high, status, reason``.
    vcov : DataFrame
        Sampling covariance of the estimates.
    r2 : dict of str to float
    chi2, p_value : float or None
        Test of the model; ``df`` its degrees of freedom. With none the model fits any correlations.
    """

    parameters: pd.DataFrame
    vcov: pd.DataFrame
    r2: dict[str, float]
    chi2: float | None
    df: int | None
    p_value: float | None
    n_sites: int
    n_clients: int
    method: str
    status: str
    reason: str


def pairs(variables: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of variables in the order of the cells: (0,1), (0,2), ..., (1,2), ..."""
    return [(first, second) for index, first in enumerate(variables) for second in variables[index + 1 :]]


def pool_correlations(
    correlations: ArrayLike,
    n: ArrayLike,
    variables: Sequence[str],
    *,
    likelihood: Literal["reml", "ml"] = "reml",
    random_effects: bool = True,
    level: float = 0.95,
) -> PooledCorrelations:
    """Pool correlation matrices with holes by a multivariate random-effects model (first stage).

    Between-site variances differ by cell and are independent of each other (diagonal T). The sampling covariance within a site is that of
    Olkin & Finn (1990) at the n-weighted mean correlations of all sites, as is usual because single matrices are too noisy for it, divided
    by n - 1; cells of one site with different n count as nested samples, so that the larger n divides their covariance.

    Parameters
    ----------
    correlations : array_like, shape (sites, m)
        Correlations in the order of :func:`pairs`; NaN where a site has none.
    n : array_like, shape (sites,) or (sites, m)
        Sample sizes, of the site or of each cell.
    variables : sequence of str
        The p variables, m = p (p - 1) / 2.
    likelihood : {"reml", "ml"}
        How the variances are estimated.
    random_effects : bool
        False: one common correlation matrix.
    level : float
        Confidence level.
    """
    r = np.atleast_2d(np.asarray(correlations, dtype=float))
    sizes = np.asarray(n, dtype=float)
    sizes = np.broadcast_to(sizes[:, None] if sizes.ndim == 1 else sizes, r.shape)
    p, m = len(variables), len(variables) * (len(variables) - 1) // 2
    if r.shape[1] != m:
        raise ValueError(f"{p} variables have {m} correlations; {r.shape[1]} were given")
    used = np.isfinite(r) & (np.abs(r) < 1) & np.isfinite(sizes) & (sizes > 3)
    refused = int((np.isfinite(r) & ~used).sum())
    rows = used.any(axis=1)
    r, sizes, used = r[rows], sizes[rows], used[rows]
    names = pairs(variables)
    method = f"multivariate {'random' if random_effects else 'fixed'} effects ({likelihood.upper()}, diagonal T)"
    clients = int(np.where(used, sizes, 0).max(axis=1, initial=0).sum())
    count = used.sum(axis=0)
    cells = pd.DataFrame({"var1": [a for a, _ in names], "var2": [b for _, b in names]})
    cells["n_sites"], cells["n_clients"] = count, np.where(used, sizes, 0).sum(axis=0).astype(int)
    missing = [f"{a}-{b}" for (a, b), sites in zip(names, count) if sites == 0]
    if missing or rows.sum() < 2:
        reason = f"no site has the correlation {', '.join(missing)}" if missing else f"needs at least 2 sites, has {int(rows.sum())}"
        return _not_pooled(cells, tuple(variables), int(rows.sum()), clients, method, reason)
    common = matrix_of((np.where(used, r * sizes, 0).sum(axis=0) / np.where(used, sizes, 0).sum(axis=0)), p, diagonal=False)
    if np.linalg.eigvalsh(common)[0] <= 1e-8:
        reason = "the mean correlations of the sites are impossible together (too many holes)"
        return _not_pooled(cells, tuple(variables), int(rows.sum()), clients, method, reason)
    data = _stacked(np.where(used, r, 0.0), used, olkin_finn(common, 2.0), np.where(used, sizes, 2.0))
    single = count == 1
    estimated = ~single if random_effects else np.zeros(m, dtype=bool)
    tau2, converged = data.variances(estimated, likelihood == "reml")
    mean, vcov, value, _ = data.estimates(np.diag(tau2), likelihood == "reml")
    error = np.sqrt(np.diagonal(vcov))
    margin = float(critical_value(level)) * error
    many = random_effects & ~single
    prediction = np.where(many, critical_value(level, np.maximum(count - 1, 1)) * np.sqrt(tau2 + error**2), np.nan)
    cells["estimate"], cells["std_error"] = mean, error
    cells["ci_low"], cells["ci_high"] = mean - margin, mean + margin
    cells["tau2"] = np.where(many, tau2, np.nan)
    cells["prediction_low"], cells["prediction_high"] = mean - prediction, mean + prediction
    remarks = ["one site only: its difference from other sites is unknown" if alone and random_effects else "" for alone in single.tolist()]
    cells["status"], cells["reason"] = np.where(np.array(remarks) == "", "estimated", "flagged"), remarks
    notes = [] if converged else ["the between-site variances did not converge"]
    if refused:
        notes.append(f"left out, outside (-1, 1) or of fewer than 4 clients: {refused} correlations")
    if random_effects and single.any():
        notes.append("correlations of one site only: " + ", ".join(f"{a}-{b}" for (a, b), alone in zip(names, single) if alone))
    matrix = matrix_of(mean, p, diagonal=False)
    if np.linalg.eigvalsh(matrix)[0] <= 1e-8:
        notes.append("the pooled correlations are impossible together")
    return PooledCorrelations(
        cells[list(_CELL_COLUMNS)],
        vcov,
        tuple(variables),
        matrix,
        value,
        int(rows.sum()),
        clients,
        method,
        "flagged" if notes else "estimated",
        "; ".join(notes),
    )


def fit_pooled(
    model: Model, pooled: PooledCorrelations, random: np.random.Generator, *, level: float = 0.95, draws: int = _DRAWS
) -> TwoStageFit:
    """Fit a path model to pooled correlations by weighted least squares (second stage).

    Minimises ``(r - rho)' V^-1 (r - rho)`` over standardised paths, correlations of exogenous variables and residual covariances; residual
    variances are what is left of one. Standard errors are ``(D' V^-1 D)^-1``; defined parameters have the delta method and a Monte Carlo
    interval from normal draws of the parameters.

    Parameters
    ----------
    model : Model
        Its variables are among those of ``pooled``. Labels make standardised values equal.
    pooled : PooledCorrelations
        From :func:`pool_correlations`.
    random : numpy.random.Generator
        For the Monte Carlo interval.
    level : float
        Confidence level.
    draws : int
        Monte Carlo draws.
    """
    structure = _Correlated.of(model)
    absent = [name for name in model.variables if name not in pooled.variables]
    if absent:
        raise ValueError(f"variables of the model that the pooled correlations lack: {', '.join(absent)}")
    if pooled.status == "not_estimable":
        return _no_fit(structure, pooled, pooled.reason)
    position = {frozenset(pair): index for index, pair in enumerate(pairs(pooled.variables))}
    cells = [position[frozenset(pair)] for pair in pairs(model.variables)]
    r, v = pooled.cells["estimate"].to_numpy()[cells], pooled.vcov[np.ix_(cells, cells)]
    if np.linalg.eigvalsh(matrix_of(r, len(model.variables), diagonal=False))[0] <= 1e-8:
        return _no_fit(structure, pooled, "the pooled correlations are impossible together")
    weight = np.linalg.inv(v)
    free, converged = structure.minimise(r, weight)
    if not converged:
        return _no_fit(structure, pooled, "weighted least squares did not converge: the model may not be identified")
    slopes = structure.slopes(structure.correlations, free)
    vcov = np.linalg.inv(slopes.T @ weight @ slopes)
    residual = r - structure.correlations(free)
    chi2, df = float(residual @ weight @ residual), r.size - free.size
    variances = 1 - structure.explained(free)
    values, outward = structure.outputs(free), structure.slopes(structure.outputs, free)
    covariance = outward @ vcov @ outward.T
    error = np.sqrt(np.maximum(np.diagonal(covariance), 0))
    margin = float(critical_value(level)) * error
    root = np.linalg.cholesky(vcov)
    drawn = structure.outputs(free + random.standard_normal((draws, free.size)) @ root.T)
    tail = (1 - level) / 2
    low, high = np.nanquantile(np.where(np.isfinite(drawn), drawn, np.nan), [tail, 1 - tail], axis=0)
    notes = [pooled.reason] if pooled.reason else []
    if (variances <= 0).any():
        notes.append("a residual variance is not positive")
    table = structure.table()
    table["estimate"], table["std_error"] = values, error
    table["ci_low"], table["ci_high"] = values - margin, values + margin
    with np.errstate(divide="ignore", invalid="ignore"):
        table["statistic"] = np.where(error > 0, values / error, np.nan)
    table["p_value"] = two_sided_p(table["statistic"])
    table["monte_carlo_low"], table["monte_carlo_high"] = low, high
    table["status"], table["reason"] = "flagged" if notes else "estimated", "; ".join(notes)
    names = table["name"].tolist()
    return TwoStageFit(
        table[list(_PARAMETER_COLUMNS)],
        pd.DataFrame(covariance, index=names, columns=names),
        dict(zip(model.endogenous, (1 - variances).tolist())),
        chi2 if df > 0 else 0.0,
        df,
        float(chi_squared_p(chi2, df)) if df > 0 else None,
        pooled.n_sites,
        pooled.n_clients,
        f"{pooled.method}, then weighted least squares",
        "flagged" if notes else "estimated",
        "; ".join(notes),
    )


_CELL_COLUMNS = (
    *("var1", "var2", "estimate", "std_error", "ci_low", "ci_high", "tau2", "prediction_low", "prediction_high"),
    *("n_sites", "n_clients", "status", "reason"),
)
_PARAMETER_COLUMNS = (
    *("name", "lhs", "op", "rhs", "label", "estimate", "std_error", "ci_low", "ci_high", "statistic", "p_value"),
    *("monte_carlo_low", "monte_carlo_high", "status", "reason"),
)


def _not_pooled(cells: pd.DataFrame, variables: tuple[str, ...], sites: int, clients: int, method: str, reason: str) -> PooledCorrelations:
    cells = cells.reindex(columns=list(_CELL_COLUMNS))
    cells["status"], cells["reason"] = "not_estimable", reason
    p, m = len(variables), len(cells)
    holes = np.full((p, p), np.nan)
    return PooledCorrelations(cells, np.full((m, m), np.nan), variables, holes, None, sites, clients, method, "not_estimable", reason)


def _stacked(r: np.ndarray, used: np.ndarray, unit: np.ndarray, sizes: np.ndarray) -> SiteVectors:
    """Return correlations with their sampling covariances: ``unit`` is that of two clients."""
    larger = np.maximum(sizes[:, :, None], sizes[:, None, :])
    both = used[:, :, None] & used[:, None, :]
    return SiteVectors(r, used, np.where(both, unit / (larger - 1), 0.0))


def _no_fit(structure: _Correlated, pooled: PooledCorrelations, reason: str) -> TwoStageFit:
    table = structure.table().reindex(columns=list(_PARAMETER_COLUMNS))
    table["status"], table["reason"] = "not_estimable", reason
    names = table["name"].tolist()
    empty = pd.DataFrame(np.nan, index=names, columns=names)
    return TwoStageFit(table, empty, {}, None, None, None, pooled.n_sites, pooled.n_clients, "", "not_estimable", reason)


@dataclass(frozen=True)
class _Correlated:
    """A path model of standardised variables: paths, residual covariances and exogenous correlations; residual variances follow."""

    model: Model
    terms: tuple[Term, ...]
    free: tuple[str, ...]

    @classmethod
    def of(cls, model: Model) -> _Correlated:
        exogenous = tuple(Term(a, "~~", b) for a, b in pairs(model.exogenous))
        terms = (*model.paths, *model.covariances, *exogenous)
        return cls(model, terms, tuple(dict.fromkeys(term.name for term in terms if term.fixed is None)))

    def values(self, free: np.ndarray) -> list[np.ndarray]:
        """Return the value of each term for stacks of free parameters, shape (..., q)."""
        column = {name: index for index, name in enumerate(self.free)}
        return [
            free[..., column[term.name]] if term.fixed is None else np.full(free.shape[:-1], term.fixed, dtype=free.dtype)
            for term in self.terms
        ]

    def _matrix(self, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return implied correlations and explained variances, built up along the causal order (exogenous variables first)."""
        names = (*self.model.exogenous, *self.model.endogenous)
        at = {name: index for index, name in enumerate(names)}
        r = np.zeros((*free.shape[:-1], len(names), len(names)), dtype=free.dtype)
        r[..., np.arange(len(names)), np.arange(len(names))] = 1
        direct, residual = np.zeros_like(r), np.zeros_like(r)
        for term, value in zip(self.terms, self.values(free)):
            first, second = at[term.lhs], at[term.rhs]
            if term.op == "~":
                direct[..., first, second] = value
            elif term.lhs in self.model.exogenous:
                r[..., first, second] = r[..., second, first] = value
            else:
                residual[..., first, second] = residual[..., second, first] = value
        explained = np.zeros((*free.shape[:-1], len(self.model.endogenous)), dtype=free.dtype)
        # cov(e_k, y_j) for j before k: residual covariances reach y_j through the paths that lead to it.
        carried = np.zeros_like(r)
        for index, name in enumerate(self.model.endogenous):
            row = at[name]
            for other in range(row):
                carried[..., row, other] = residual[..., row, other] + (direct[..., other, :row] * carried[..., row, :row]).sum(axis=-1)
            cross = (direct[..., row, None, :row] @ r[..., :row, :row])[..., 0, :] + carried[..., row, :row]
            r[..., row, :row] = cross
            r[..., :row, row] = cross
            paths = direct[..., row, :row]
            explained[..., index] = (paths * cross).sum(axis=-1) + (paths * carried[..., row, :row]).sum(axis=-1)
        order = [at[name] for name in self.model.variables]
        return r[..., order, :][..., order], explained

    def correlations(self, free: np.ndarray) -> np.ndarray:
        rows, columns = np.triu_indices(len(self.model.variables), 1)
        return self._matrix(free)[0][..., rows, columns]

    def explained(self, free: np.ndarray) -> np.ndarray:
        return self._matrix(free)[1]

    def outputs(self, free: np.ndarray) -> np.ndarray:
        """Return the values of all terms and defined parameters, shape (..., q) to (..., rows)."""
        values = self.values(free)
        known: dict[str, np.ndarray] = {}
        for term, value in zip(self.terms, values):
            if term.label:
                known.setdefault(term.label, value)
        for item in self.model.defined:
            with np.errstate(all="ignore"):
                known[item.name] = np.broadcast_to(item.value(known), free.shape[:-1])
            values.append(known[item.name])
        return np.stack(values, axis=-1)

    def slopes(self, function: object, free: np.ndarray) -> np.ndarray:
        step = 1e-30
        return function(free + 1j * step * np.eye(free.size)).imag.T / step

    def minimise(self, r: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, bool]:
        """Gauss-Newton with halved steps from the pooled correlations' regressions."""
        free = self._start(r)
        residual = r - self.correlations(free)
        value = residual @ weight @ residual
        for _ in range(_STEPS):
            slopes = self.slopes(self.correlations, free)
            information = slopes.T @ weight @ slopes
            if np.linalg.cond(information) > 1e12:
                return free, False
            step = np.linalg.solve(information, slopes.T @ weight @ residual)
            for _ in range(50):
                proposal = free + step
                moved = r - self.correlations(proposal)
                new = moved @ weight @ moved
                if new <= value + 1e-13 * (1 + value):
                    break
                step = step / 2
            free, residual, value = proposal, moved, new
            if np.abs(step).max() < 1e-11:
                return free, True
        return free, False

    def _start(self, r: np.ndarray) -> np.ndarray:
        names = self.model.variables
        matrix = matrix_of(r, len(names), diagonal=False)
        at = {name: index for index, name in enumerate(names)}
        start = {}
        for outcome in self.model.endogenous:
            predictors = [at[term.rhs] for term in self.model.paths if term.lhs == outcome]
            slopes = np.linalg.solve(matrix[np.ix_(predictors, predictors)], matrix[predictors, at[outcome]])
            start |= dict(zip([term.name for term in self.model.paths if term.lhs == outcome], slopes))
        for term in self.terms:
            if term.op == "~~":
                start[term.name] = matrix[at[term.lhs], at[term.rhs]] if term.lhs in self.model.exogenous else 0.0
        return np.array([start[name] for name in self.free])

    def table(self) -> pd.DataFrame:
        rows = [(f"{term.lhs}{term.op}{term.rhs}", term.lhs, term.op, term.rhs, term.label) for term in self.terms]
        rows += [(item.name, item.name, ":=", item.expression, item.name) for item in self.model.defined]
        return pd.DataFrame(rows, columns=["name", "lhs", "op", "rhs", "label"])
