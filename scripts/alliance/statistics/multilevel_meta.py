"""Pooling several correlated effects of each site: three-level meta-analysis, and standard errors that are robust against its assumptions.

Follows metafor's ``rma.mv(y, V, random = ~ 1 | site/effect)`` and clubSandwich's CR2 (Viechtbauer, 2010; Pustejovsky & Tipton, 2018),
against which it is tested.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance.statistics.covariance import cluster_codes
from alliance.statistics.distributions import chi_squared_p, chi_squared_quantile, critical_value, two_sided_p
from alliance.statistics.meta_regression import COLUMNS, MetaRegression

Test = Literal["contain", "t", "z"]

FEW_SITES = 5
MIN_DF = 4
PREDICTION_FORMULA = "estimate ± t(df) × sqrt(sigma2_site + sigma2_effect + std_error²)"
I2_FORMULA = (
    "sigma2 / (sigma2_site + sigma2_effect + (k - 1) / trace(P)), P = W - W 1 (1' W 1)^-1 1' W, W = V^-1 (metafor website; Cheung, 2014)"
)
INTERPRET = f"do not interpret: fewer than {MIN_DF} degrees of freedom"


@dataclass(frozen=True)
class ThreeLevel:
    """A three-level meta-analysis. Numbers are None where they do not exist; then ``reason`` says why.

    Attributes
    ----------
    estimate, std_error, ci_low, ci_high : float or None
        Pooled mean, its model-based standard error and confidence interval.
    df : float or None
        Degrees of freedom of test and interval; None for the normal.
    statistic, p_value : float or None
        Two-sided test of zero.
    sigma2_site, sigma2_site_low, sigma2_site_high : float or None
        Variance between sites and its profile-likelihood interval.
    sigma2_effect, sigma2_effect_low, sigma2_effect_high : float or None
        Variance between effects of a site and its profile-likelihood interval.
    i2_site, i2_effect, i2 : float or None
        Shares of the variance by level and together, percent, by ``i2_formula``.
    q, q_df, q_p : float, int, float or None
        Test of homogeneity.
    log_likelihood : float or None
        Restricted log-likelihood, as metafor gives it.
    prediction_low, prediction_high : float or None
        Interval for the true value of one effect in a new site, by ``prediction_formula``.
    k, n_sites : int
        Effects and sites that were used.
    design, residuals, covariance, clusters : ndarray, shapes (k, 1), (k,), (k, k), (k,)
        What :func:`cluster_robust` needs: design, residuals, marginal covariance, and the site of each effect.
    used : ndarray of bool
        Which of the given effects were used.
    method, status, reason : str
        What was done; ``estimated``, ``flagged`` or ``not_estimable``; and why.
    """

    estimate: float | None
    std_error: float | None
    ci_low: float | None
    ci_high: float | None
    df: float | None
    statistic: float | None
    p_value: float | None
    sigma2_site: float | None
    sigma2_site_low: float | None
    sigma2_site_high: float | None
    sigma2_effect: float | None
    sigma2_effect_low: float | None
    sigma2_effect_high: float | None
    i2_site: float | None
    i2_effect: float | None
    i2: float | None
    q: float | None
    q_df: int | None
    q_p: float | None
    log_likelihood: float | None
    prediction_low: float | None
    prediction_high: float | None
    k: int
    n_sites: int
    design: np.ndarray
    residuals: np.ndarray
    covariance: np.ndarray
    clusters: np.ndarray
    used: np.ndarray
    method: str
    status: str
    reason: str
    prediction_formula: str = PREDICTION_FORMULA
    i2_formula: str = I2_FORMULA


def three_level(y: ArrayLike, v: ArrayLike, sites: ArrayLike, *, level: float = 0.95, test: Test = "contain") -> ThreeLevel:
    """Pool effects within sites and sites by restricted maximum likelihood.

    ``y_ij = mean + site_i + effect_ij + error_ij``, errors with covariance ``v``.

    Parameters
    ----------
    y : array_like, shape (k,)
        Estimates; those that are not finite are left out.
    v : array_like, shape (k,) or (k, k)
        Sampling variances of independent errors, or the sampling covariance, zero between sites.
    sites : array_like, shape (k,)
        Site of each effect.
    level : float
        Confidence level of all intervals.
    test : {"contain", "t", "z"}
        Degrees of freedom of the mean: sites - 1 (metafor's ``dfs = "contain"``), effects - 1 (metafor's ``test = "t"``), or the normal.

    Returns
    -------
    ThreeLevel
        Without numbers for fewer than two sites, where no site has two effects (then the two variances cannot be told apart), and where
        the sampling covariance is not positive definite. Fewer than five sites: flagged.

    Raises
    ------
    ValueError
        Lengths that differ, sampling covariance between sites, unknown test, level outside 0-1.
    """
    if test not in ("contain", "t", "z"):
        raise ValueError(f"unknown test {test!r}; one of contain, t, z")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    y, v = np.asarray(y, dtype=float), np.asarray(v, dtype=float)
    clusters, _ = cluster_codes(sites)
    if y.ndim != 1 or v.shape not in (y.shape, y.shape * 2) or clusters.size != y.size:
        raise ValueError(f"y, v and sites need the same length; they have {y.shape}, {v.shape} and {clusters.shape}")
    variances = v if v.ndim == 1 else np.diagonal(v)
    used = np.isfinite(y) & np.isfinite(variances) & (variances > 0)
    y, clusters = y[used], pd.factorize(clusters[used])[0]
    covariance = np.diag(v[used]) if v.ndim == 1 else v[np.ix_(used, used)]
    if (covariance[clusters[:, None] != clusters[None, :]] != 0).any():
        raise ValueError("v holds sampling covariances between effects of different sites")
    count = int(clusters.max(initial=-1)) + 1
    method = {"contain": f"t(sites - 1 = {count - 1})", "t": f"t(effects - 1 = {y.size - 1})", "z": "normal"}[test]
    method = f"three-level random effects (REML), {method} interval"
    if count < 2:
        return _refused(used, y.size, count, method, f"needs at least 2 sites; has {count}")
    if count == y.size:
        return _refused(used, y.size, count, method, "every site has one effect: needs sites with several, or pooling in two levels")
    model = _Likelihood.of(y, covariance, clusters, count)
    if model is None:
        return _refused(used, y.size, count, method, "the sampling covariance of a site's effects is not positive definite")

    site, effect = _maximum(model)
    one, cross, _ = model.at(effect).totals(site)
    mean, error = cross / one, 1 / np.sqrt(one)
    df = {"contain": count - 1.0, "t": y.size - 1.0, "z": np.inf}[test]
    margin = float(critical_value(level, df))
    spread = margin * np.sqrt(site + effect + error**2)
    limits = _profile_intervals(model, site, effect, level)
    plain = model.at(0.0)
    one_plain, cross_plain, square_plain = plain.totals(0.0)
    q = square_plain - cross_plain**2 / one_plain
    typical = (y.size - 1) / plain.trace
    share = 100 / (site + effect + typical)
    reasons = []
    if (~used).any():
        reasons.append(f"left out, without an estimate or a positive sampling variance: {int((~used).sum())}")
    if count < FEW_SITES:
        reasons.append(f"fewer than {FEW_SITES} sites ({count})")
    return ThreeLevel(
        estimate=mean,
        std_error=float(error),
        ci_low=float(mean - margin * error),
        ci_high=float(mean + margin * error),
        df=df if np.isfinite(df) else None,
        statistic=float(mean / error),
        p_value=float(two_sided_p(mean / error, df)),
        sigma2_site=site,
        sigma2_site_low=limits[0][0],
        sigma2_site_high=limits[0][1],
        sigma2_effect=effect,
        sigma2_effect_low=limits[1][0],
        sigma2_effect_high=limits[1][1],
        i2_site=share * site,
        i2_effect=share * effect,
        i2=share * (site + effect),
        q=q,
        q_df=y.size - 1,
        q_p=float(chi_squared_p(q, y.size - 1)),
        log_likelihood=float(-(model.at(effect).deviance(site) + (y.size - 1) * np.log(2 * np.pi) - np.log(y.size)) / 2),
        prediction_low=float(mean - spread),
        prediction_high=float(mean + spread),
        k=y.size,
        n_sites=count,
        design=np.ones((y.size, 1)),
        residuals=y - mean,
        covariance=covariance + site * (clusters[:, None] == clusters[None, :]) + effect * np.eye(y.size),
        clusters=clusters,
        used=used,
        method=method,
        status="flagged" if reasons else "estimated",
        reason="; ".join(reasons),
    )


def cluster_robust(fit: ThreeLevel | MetaRegression, clusters: ArrayLike | None = None, *, level: float = 0.95) -> pd.DataFrame:
    """Return coefficients with CR2 standard errors and Satterthwaite degrees of freedom.

    Bell & McCaffrey (2002), Pustejovsky & Tipton (2018). The working model is the fitted one; the errors hold also where it takes the wrong
    covariances of effects within clusters.

    Parameters
    ----------
    fit : ThreeLevel or MetaRegression
        Fitted model.
    clusters : array_like, optional
        Cluster of each effect given to the model, those left out included; default the sites of a three-level model, each estimate of its
        own for a meta-regression. A cluster must hold whole sites.
    level : float
        Confidence level.

    Returns
    -------
    DataFrame
        One row a coefficient: ``name, estimate, std_error, statistic, df, p_value, ci_low, ci_high, n_clusters, method, status, reason``;
        flagged "do not interpret" where df is below 4. Not estimable, with a reason, where the fit is or with fewer than two clusters.

    Raises
    ------
    ValueError
        Clusters of another length than the effects, or that divide a site.
    """
    three = isinstance(fit, ThreeLevel)
    names = ["intercept"] if three else fit.names
    if fit.status == "not_estimable":
        return _no_robust(["intercept"], 0, fit.reason)
    estimates = np.array([fit.estimate]) if three else fit.coefficients["estimate"].to_numpy(dtype=float)
    codes = (fit.clusters if three else np.arange(fit.k)) if clusters is None else _given_clusters(clusters, fit.used)
    count = int(codes.max()) + 1
    if count < 2:
        return _no_robust(names, count, "a cluster-robust standard error needs at least 2 clusters")
    covariance = fit.covariance if three else np.diag(fit.variance)
    if three and (covariance[codes[:, None] != codes[None, :]] != 0).any():
        raise ValueError("a cluster must hold all effects of a site")
    vcov, df = _cr2(fit.design, fit.residuals, covariance, codes, count)
    error = np.sqrt(np.diagonal(vcov))
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(error > 0, estimates / error, np.nan)
    margin = critical_value(level, df) * error
    low_df = df < MIN_DF
    return pd.DataFrame(
        {
            "name": names,
            "estimate": estimates,
            "std_error": error,
            "statistic": statistic,
            "df": df,
            "p_value": two_sided_p(statistic, df),
            "ci_low": estimates - margin,
            "ci_high": estimates + margin,
            "n_clusters": count,
            "method": "cluster-robust (CR2), Satterthwaite degrees of freedom",
            "status": np.where(low_df, "flagged", "estimated"),
            "reason": [f"{INTERPRET} ({value:.1f})" if low else "" for value, low in zip(df, low_df)],
        }
    )


def _given_clusters(clusters: ArrayLike, used: np.ndarray) -> np.ndarray:
    codes, _ = cluster_codes(clusters)
    if codes.size != used.size:
        raise ValueError(f"{used.size} effects need as many clusters; there are {codes.size}")
    return pd.factorize(codes[used])[0]


def _cr2(x: np.ndarray, residuals: np.ndarray, covariance: np.ndarray, codes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the CR2 covariance of the coefficients and their Satterthwaite degrees of freedom.

    With D'D the working covariance of a cluster and M the model-based covariance of the coefficients, residuals are adjusted by
    ``D' (D (I - X M X' W) D'D D')^(-1/2) D``. The degrees of freedom are those of the estimator's expectation and variance under the
    working model: ``tr(P)² / sum(P²)`` with ``P = diag(g'g) - h'h``, g and h the weights of a cluster's errors and of its fitted values.
    """
    members = [np.flatnonzero(codes == cluster) for cluster in range(count)]
    blocks = [covariance[np.ix_(rows, rows)] for rows in members]
    weighted = [np.linalg.solve(block, x[rows]) for block, rows in zip(blocks, members)]
    model = np.linalg.inv(sum(x[rows].T @ one for rows, one in zip(members, weighted)))
    root = np.linalg.cholesky(model)
    p = x.shape[1]
    scores = np.empty((count, p))
    own, fitted = np.empty((count, p)), np.empty((count, p, p))
    for cluster, (rows, block, one) in enumerate(zip(members, blocks, weighted)):
        upper = np.linalg.cholesky(block).T
        inner = upper @ (block - x[rows] @ model @ x[rows].T) @ upper.T
        values, vectors = np.linalg.eigh((inner + inner.T) / 2)
        kept = values > 1e-12 * max(1e-300, float(np.max(np.diagonal(block))) ** 2)
        power = np.where(kept, 1 / np.sqrt(np.where(kept, values, 1.0)), 0.0)
        adjusted = model @ one.T @ upper.T @ ((vectors * power) @ vectors.T) @ upper
        scores[cluster] = adjusted @ residuals[rows]
        own[cluster] = ((adjusted @ upper.T) ** 2).sum(axis=1)
        fitted[cluster] = adjusted @ x[rows] @ root
    df = np.empty(p)
    for column in range(p):
        spread = np.diag(own[:, column]) - fitted[:, column] @ fitted[:, column].T
        df[column] = np.trace(spread) ** 2 / (spread**2).sum()
    return scores.T @ scores, df


@dataclass(frozen=True)
class _Likelihood:
    """Restricted likelihood of the two variances.

    Each site's sampling covariance is rotated to its eigenvalues ``roots``; ``ones`` and ``y`` are the rotated constant and estimates. A
    variance between effects adds to the eigenvalues, a variance between sites is a rank-one change (Sherman-Morrison).
    """

    roots: np.ndarray
    ones: np.ndarray
    y: np.ndarray
    codes: np.ndarray
    count: int

    @classmethod
    def of(cls, y: np.ndarray, covariance: np.ndarray, codes: np.ndarray, count: int) -> _Likelihood | None:
        roots, ones, rotated = np.empty(y.size), np.empty(y.size), np.empty(y.size)
        for site in range(count):
            rows = np.flatnonzero(codes == site)
            values, vectors = np.linalg.eigh(covariance[np.ix_(rows, rows)])
            if values[0] <= 1e-12 * values[-1]:
                return None
            roots[rows], ones[rows], rotated[rows] = values, vectors.sum(axis=0), vectors.T @ y[rows]
        return cls(roots, ones, rotated, codes, count)

    def at(self, effect: float) -> _AtEffect:
        """Return the likelihood at one variance between effects as a function of the variance between sites."""
        inverse = 1 / (self.roots + effect)
        products = (self.ones**2, self.ones * self.y, self.y**2)
        sums = [np.bincount(self.codes, weight * product, self.count) for weight in (inverse, inverse**2) for product in products]
        return _AtEffect(*sums, -float(np.log(inverse).sum()), float(inverse.sum()))

    @property
    def highest(self) -> float:
        """A variance that the spread of the estimates makes implausibly large, where searches start."""
        mean = (self.ones * self.y).sum() / self.y.size
        spread = (self.y**2).sum() - self.y.size * mean**2
        return float(10 * spread / (self.y.size - 1) + 1e-8 * self.roots.min())

    def best_site(self, effect: float) -> float:
        return _minimum(self.at(effect).slope_site, self.highest)

    def best_effect(self, site: float) -> float:
        return _minimum(lambda effect: self.at(effect).slope_effect(site), self.highest)


@dataclass(frozen=True)
class _AtEffect:
    """Sums within each site at one variance between effects: of products of ones and y over the eigenvalues, and over their squares."""

    one: np.ndarray
    cross: np.ndarray
    square: np.ndarray
    one2: np.ndarray
    cross2: np.ndarray
    square2: np.ndarray
    determinant: float
    inverse: float

    def totals(self, site: float) -> tuple[float, float, float]:
        """Return 1' M^-1 1, 1' M^-1 y and y' M^-1 y of the marginal covariance M."""
        grown = 1 + site * self.one
        square = self.square - site * self.cross**2 / grown
        return float((self.one / grown).sum()), float((self.cross / grown).sum()), float(square.sum())

    @property
    def trace(self) -> float:
        """Trace of P without a variance between sites."""
        return self.inverse - float(self.one2.sum() / self.one.sum())

    def deviance(self, site: float) -> float:
        """Return -2 times the restricted log-likelihood, without its constants."""
        one, cross, square = self.totals(site)
        return float(self.determinant + np.log1p(site * self.one).sum() + np.log(one) + square - cross**2 / one)

    def slope_site(self, site: float) -> float:
        """Return the derivative of the deviance by the variance between sites."""
        share = self.one / (1 + site * self.one)
        total, _, left = self._left(site)
        return float(share.sum() - (share**2).sum() / total - (left**2).sum())

    def slope_effect(self, site: float) -> float:
        """Return the derivative of the deviance by the variance between effects."""
        grown = 1 + site * self.one
        total, mean, left = self._left(site)
        left2 = self.square2 - 2 * mean * self.cross2 + mean**2 * self.one2
        both = left2 - 2 * site * left * (self.cross2 - mean * self.one2) + site**2 * left**2 * self.one2
        return float(self.inverse - (site * self.one2 / grown).sum() - (self.one2 / grown**2).sum() / total - both.sum())

    def _left(self, site: float) -> tuple[float, float, np.ndarray]:
        """Return 1' M^-1 1, the mean, and each site's 1' M^-1 (y - mean)."""
        grown = 1 + site * self.one
        total = (self.one / grown).sum()
        mean = (self.cross / grown).sum() / total
        return total, mean, (self.cross - mean * self.one) / grown


def _maximum(model: _Likelihood) -> tuple[float, float]:
    """Return the variances between sites and effects at the top of the restricted likelihood.

    For every variance between effects the best variance between sites is found; the first is searched on a grid, then between neighbours,
    so that a second, lower top is not taken for the highest.
    """
    grid = np.concatenate([[0.0], np.geomspace(1e-6 * model.highest, model.highest, 25)])
    values = [model.at(point).deviance(model.best_site(point)) for point in grid]
    best = int(np.argmin(values))
    low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, grid.size - 1)])
    effect = _stationary(lambda value: model.at(value).slope_effect(model.best_site(value)), low, high)
    effect = effect if model.at(effect).deviance(model.best_site(effect)) < values[best] else float(grid[best])
    return model.best_site(effect), effect


def _minimum(slope: Callable[[float], float], highest: float) -> float:
    """Return where a deviance is least on [0, inf) from its slope."""
    if slope(0.0) >= 0:
        return 0.0
    high = highest
    while slope(high) < 0:
        high *= 4
    return _stationary(slope, 0.0, high)


def _stationary(slope: Callable[[float], float], low: float, high: float) -> float:
    from scipy.optimize import brentq

    if slope(low) >= 0:
        return low
    if slope(high) <= 0:
        return high
    return float(brentq(slope, low, high, xtol=1e-13 * high, rtol=1e-12))


def _profile_intervals(model: _Likelihood, site: float, effect: float, level: float) -> list[tuple[float, float]]:
    """Return the profile-likelihood intervals of both variances: where the deviance exceeds its least by chi-squared's quantile."""
    ceiling = model.at(effect).deviance(site) + float(chi_squared_quantile(level, 1.0))
    return [
        _crossings(lambda value: model.at(model.best_effect(value)).deviance(value) - ceiling, site, model.highest),
        _crossings(lambda value: model.at(value).deviance(model.best_site(value)) - ceiling, effect, model.highest),
    ]


def _crossings(excess: Callable[[float], float], best: float, highest: float) -> tuple[float, float]:
    from scipy.optimize import brentq

    low = 0.0 if best == 0 or excess(0.0) <= 0 else float(brentq(excess, 0.0, best, xtol=1e-10 * highest, rtol=1e-10))
    high = max(2 * best, 1e-3 * highest)
    while excess(high) < 0:
        high *= 2
    return low, float(brentq(excess, best, high, xtol=1e-10 * highest, rtol=1e-10))


def _no_robust(names: list[str], count: int, reason: str) -> pd.DataFrame:
    table = pd.DataFrame({"name": names}).reindex(columns=list(COLUMNS))
    return table.assign(n_clusters=count, method="", status="not_estimable", reason=reason)


def _refused(used: np.ndarray, k: int, sites: int, method: str, reason: str) -> ThreeLevel:
    empty = np.empty(0)
    return ThreeLevel(*[None] * 22, k, sites, np.empty((0, 1)), empty, np.empty((0, 0)), empty, used, method, "not_estimable", reason)
