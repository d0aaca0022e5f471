"""Two-stage structural equation models: correlation matrices of many sites are pooled, then a model is fitted to the pooled matrix.

Cheung & Chan (2005) and Cheung (2014) describe the method; holes in the matrices are allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance.statistics.correlation_structure import fit_correlation_structure, parameter_rows
from alliance.statistics.covariance import matrix_of, olkin_finn
from alliance.statistics.distributions import critical_value, two_sided_p
from alliance.statistics.fit_measures import FitMeasures
from alliance.statistics.multivariate_meta import SiteVectors
from alliance.statistics.structural_model import StructuralModel

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
    """A model fitted to pooled correlations; all values are standardised.

    Attributes
    ----------
    parameters : DataFrame
        One row a loading, path, (residual) correlation (``~~``) and defined parameter: ``name, lhs, op, rhs, label, estimate,
        std_error, ci_low, ci_high, statistic, p_value, monte_carlo_low, monte_carlo_high, status, reason``.
    vcov : DataFrame
        Sampling covariance of the estimates.
    r2 : dict of str to float
        Of every variable that others predict.
    fit : FitMeasures or None
        Test of the model and measures of its fit; with no degrees of freedom it fits any correlations. Each is an attribute too.
    """

    parameters: pd.DataFrame
    vcov: pd.DataFrame
    r2: dict[str, float]
    fit: FitMeasures | None
    n_sites: int
    n_clients: int
    method: str
    status: str
    reason: str

    @property
    def chi2(self) -> float | None:
        return self.fit and self.fit.chi2

    @property
    def df(self) -> int | None:
        return self.fit and self.fit.df

    @property
    def p_value(self) -> float | None:
        return self.fit and self.fit.p_value

    @property
    def cfi(self) -> float | None:
        return self.fit and self.fit.cfi

    @property
    def rmsea(self) -> float | None:
        return self.fit and self.fit.rmsea

    @property
    def srmr(self) -> float | None:
        return self.fit and self.fit.srmr


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
    model: StructuralModel, pooled: PooledCorrelations, random: np.random.Generator, *, level: float = 0.95, draws: int = _DRAWS
) -> TwoStageFit:
    """Fit a structural equation model to pooled correlations by weighted least squares (second stage).

    See :func:`alliance.statistics.correlation_structure.fit_correlation_structure`. Every parameter has, beside the interval of its
    standard error (defined parameters by the delta method), a Monte Carlo interval from normal draws of the free parameters. RMSEA is on
    the number of clients of all sites.

    Parameters
    ----------
    model : StructuralModel
        Its observed variables are among those of ``pooled``. Labels and constraints hold for variables in units of their standard
        deviations and for factors in the units that the model gives them.
    pooled : PooledCorrelations
        From :func:`pool_correlations`.
    random : numpy.random.Generator
        For the Monte Carlo interval.
    level : float
        Confidence level.
    draws : int
        Monte Carlo draws.
    """
    absent = [name for name in model.observed if name not in pooled.variables]
    if absent:
        raise ValueError(f"variables of the model that the pooled correlations lack: {', '.join(absent)}")
    if pooled.status == "not_estimable":
        return _no_fit(model, pooled, pooled.reason)
    at = [pooled.variables.index(name) for name in model.observed]
    if np.linalg.eigvalsh(pooled.matrix[np.ix_(at, at)])[0] <= 1e-8:
        return _no_fit(model, pooled, "the pooled correlations are impossible together")
    found = fit_correlation_structure(model, pooled.matrix, pooled.variables, pooled.vcov, n=pooled.n_clients)
    if found.status == "not_estimable":
        return _no_fit(model, pooled, found.reason)
    notes = [text for text in (pooled.reason, found.reason) if text]
    table = found.parameters
    values, error = table["estimate"].to_numpy(), table["std_error"].to_numpy()
    margin = float(critical_value(level)) * error
    drawn = found.drawn(random, draws)
    tail = (1 - level) / 2
    known = np.isfinite(error)
    low, high = np.full(len(table), np.nan), np.full(len(table), np.nan)
    low[known], high[known] = np.nanquantile(np.where(np.isfinite(drawn), drawn, np.nan)[:, known], [tail, 1 - tail], axis=0)
    statistic = values / error
    table = table.assign(
        ci_low=values - margin,
        ci_high=values + margin,
        statistic=statistic,
        p_value=two_sided_p(statistic),
        monte_carlo_low=low,
        monte_carlo_high=high,
        status="flagged" if notes else "estimated",
        reason="; ".join(notes),
    )
    names = table["name"].tolist()
    return TwoStageFit(
        table[list(_PARAMETER_COLUMNS)],
        pd.DataFrame(found.vcov, index=names, columns=names),
        {name: 1 - left for name, left in found.residual_variances.items()},
        found.fit,
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


def _no_fit(model: StructuralModel, pooled: PooledCorrelations, reason: str) -> TwoStageFit:
    table = parameter_rows(model).reindex(columns=list(_PARAMETER_COLUMNS))
    table["status"], table["reason"] = "not_estimable", reason
    names = table["name"].tolist()
    empty = pd.DataFrame(np.nan, index=names, columns=names)
    return TwoStageFit(table, empty, {}, None, pooled.n_sites, pooled.n_clients, "", "not_estimable", reason)
