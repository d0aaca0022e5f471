"""Pooling of several coefficients a site at once: multivariate random effects with known sampling covariances.

``y_i = mean + b_i + e_i`` with ``cov(b_i) = T`` between sites and ``cov(e_i) = V_i`` known (van Houwelingen, Arends & Stijnen, 2002).
Likelihoods are those of metafor's ``rma.mv`` (Viechtbauer, 2010), against which all is tested; with one coefficient the results are those
of :func:`alliance.statistics.meta_analysis.pool`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance.statistics.covariance import jacobian
from alliance.statistics.distributions import chi_squared_p, critical_value, two_sided_p
from alliance.statistics.heterogeneity import Effects, q_profile
from alliance.statistics.meta_analysis import INTERVAL_METHODS, PREDICTION_FORMULA, IntervalMethod

Likelihood = Literal["reml", "ml", "fixed"]
Structure = Literal["diagonal", "unstructured"]

LIKELIHOODS = ("reml", "ml", "fixed")
STRUCTURES = ("diagonal", "unstructured")
FEWEST_FOR_COVARIANCES = 10
SITES_A_COEFFICIENT = 3

_STEPS = 500
_CLOSE = 1e-10
_SINGULAR = 1e-10
_COLUMNS = (
    *("name", "estimate", "std_error", "ci_low", "ci_high", "df", "statistic", "p_value", "tau2", "tau2_low", "tau2_high", "i2"),
    *("prediction_low", "prediction_high", "k", "status", "reason"),
)


@dataclass(frozen=True)
class MultivariatePooled:
    """Pooled coefficients of many sites.

    Attributes
    ----------
    coefficients : DataFrame
        One row a coefficient: ``name, estimate, std_error, ci_low, ci_high, df, statistic, p_value, tau2, tau2_low, tau2_high, i2,
        prediction_low, prediction_high, k, status, reason``, as in :class:`alliance.statistics.meta_analysis.Pooled`. ``df`` is k - 1
        with k the sites that have the coefficient (infinite for the normal). The interval of ``tau2`` is the Q-profile of the coefficient
        alone. ``i2`` (percent) is ``tau2 / (tau2 + (k - 1) / trace(P_jj))``, P_jj the coefficient's block of
        ``W - W X (X' W X)^-1 X' W`` with the within-site covariances (metafor website; Jackson, White & Riley, 2012).
    vcov : ndarray, shape (p, p)
        Sampling covariance of the estimates, with the factor of the interval; NaN where not estimable.
    between : ndarray, shape (p, p)
        T, the covariance between sites.
    factor : float or None
        What the model-based covariance was multiplied by.
    q, q_df, q_p : float, int, float or None
        Test that all sites have the same coefficients.
    log_likelihood : float or None
        Maximum of the (restricted) likelihood, as metafor gives it.
    structure : str
        ``diagonal`` or ``unstructured``, empty with common effects.
    rank : int or None
        Rank of ``between``; below p some coefficients vary between sites only together, or not at all.
    k : int
        Sites in use.
    method, status, reason : str
    """

    coefficients: pd.DataFrame
    vcov: np.ndarray
    between: np.ndarray
    factor: float | None
    q: float | None
    q_df: int | None
    q_p: float | None
    log_likelihood: float | None
    structure: str
    rank: int | None
    k: int
    method: str
    status: str
    reason: str
    prediction_formula: str = PREDICTION_FORMULA


@dataclass(frozen=True)
class PooledFunction:
    """A function of pooled coefficients; None where there is none.

    ``std_error``, ``ci_low`` and ``ci_high`` are by the delta method, ``monte_carlo_low`` and ``monte_carlo_high`` percentiles of draws.
    """

    estimate: float | None
    std_error: float | None
    ci_low: float | None
    ci_high: float | None
    df: float | None
    statistic: float | None
    p_value: float | None
    monte_carlo_low: float | None
    monte_carlo_high: float | None
    status: str
    reason: str


@dataclass(frozen=True)
class SiteVectors:
    """Estimates of sites with known sampling covariances; cells not in use are zero in both.

    Attributes
    ----------
    y : ndarray, shape (k, p)
    used : ndarray of bool, shape (k, p)
    v : ndarray, shape (k, p, p)
    """

    y: np.ndarray
    used: np.ndarray
    v: np.ndarray

    def inverses(self, between: np.ndarray) -> tuple[np.ndarray, float]:
        """Return inverse covariances with zeros for holes, and the sum of their log determinants."""
        both = self.used[:, :, None] & self.used[:, None, :]
        total = self.v + np.where(both, between, 0.0) + np.eye(between.shape[0]) * ~self.used[:, :, None]
        return np.where(both, np.linalg.inv(total), 0.0), float(np.linalg.slogdet(total)[1].sum())

    def estimates(self, between: np.ndarray, restricted: bool) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Return generalised least squares means, their covariance, the log-likelihood and the weighted squares of the residuals."""
        weights, log = self.inverses(between)
        mean, vcov, residual = self._mean(weights)
        squares = float(np.einsum("ia,iab,ib->", residual, weights, residual))
        count = int(self.used.sum())
        value = log + squares + (count - mean.size if restricted else count) * np.log(2 * np.pi)
        if restricted:
            # metafor's restricted likelihood leaves out the constant log|X'X| of the design, here the product of the cells' counts.
            value -= float(np.linalg.slogdet(vcov)[1]) + float(np.log(self.used.sum(axis=0)).sum())
        return mean, vcov, -value / 2, squares

    def _mean(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        vcov = np.linalg.inv(weights.sum(axis=0))
        mean = vcov @ np.einsum("iab,ib->a", weights, self.y)
        return mean, vcov, np.where(self.used, self.y - mean, 0.0)

    def _rounding(self, value: float) -> float:
        """Return how far two log-likelihoods may differ by rounding: it sums a term for each estimate."""
        return 1e-12 * (abs(value) + self.used.sum())

    def traces(self) -> np.ndarray:
        """Return the trace of each coefficient's block of ``W - W X (X' W X)^-1 X' W`` without variance between sites."""
        weights, _ = self.inverses(np.zeros(self.v.shape[1:]))
        spread = np.einsum("iab,bc,ica->a", weights, np.linalg.inv(weights.sum(axis=0)), weights)
        return np.einsum("iaa->a", weights) - spread

    def _diagonal_score(self, tau2: np.ndarray, restricted: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the derivatives of the log-likelihood by the variances, their expected and their observed information."""
        weights, _ = self.inverses(np.diag(tau2))
        _, vcov, residual = self._mean(weights)
        pulled = np.einsum("iab,ib->ia", weights, residual)
        trace = np.einsum("iaa->a", weights)
        products = (weights**2).sum(axis=0)
        if restricted:
            crossed = np.einsum("iba,ica->abc", weights, weights)
            trace = trace - np.einsum("bc,acb->a", vcov, crossed)
            products = products - 2 * ((weights @ vcov @ weights) * weights).sum(axis=0)
            moved = vcov @ crossed
            products = products + np.einsum("abc,dcb->ad", moved, moved)
        shifted = np.einsum("iab,ib->ab", weights, pulled)
        average = pulled[:, :, None] * weights * pulled[:, None, :]
        return ((pulled**2).sum(axis=0) - trace) / 2, products / 2, average.sum(axis=0) - shifted.T @ vcov @ shifted - products / 2

    def variances(self, estimated: np.ndarray, restricted: bool) -> tuple[np.ndarray, bool]:
        """Maximise the likelihood over variances without covariances inside their bounds at zero.

        Newton's method where the observed information is positive definite, else Fisher scoring.

        Parameters
        ----------
        estimated : ndarray of bool, shape (p,)
            The other variances are zero.
        restricted : bool

        Returns
        -------
        tau2 : ndarray, shape (p,)
        converged : bool
        """
        count = np.maximum(self.used.sum(axis=0), 2)
        mean = self.y.sum(axis=0) / self.used.sum(axis=0)
        spread = np.where(self.used, (self.y - mean) ** 2, 0).sum(axis=0) / (count - 1)
        typical = np.einsum("iaa->a", self.v) / count
        tau2 = np.where(estimated, np.maximum(spread - typical, 0.1 * spread), 0.0)
        value = self.estimates(np.diag(tau2), restricted)[2]
        for _ in range(_STEPS):
            score, expected, observed = self._diagonal_score(tau2, restricted)
            free = estimated & ((tau2 > 0) | (score > 0))
            if not free.any():
                return tau2, True
            part = np.ix_(free, free)
            # Near the maximum scoring steps can go from one side of it to the other without end.
            near = np.linalg.eigvalsh(observed[part] / np.sqrt(np.outer(*[np.diagonal(expected)[free]] * 2)))[0] > 0.05
            step = np.zeros(tau2.size)
            step[free] = np.linalg.solve((observed if near else expected)[part], score[free])
            length = 1.0
            for _ in range(50):
                proposal = np.maximum(tau2 + length * step, 0.0)
                new = self.estimates(np.diag(proposal), restricted)[2]
                if new >= value - self._rounding(value):
                    break
                length /= 2
            else:
                return tau2, False
            change = np.abs(proposal - tau2)
            tau2, value = proposal, new
            if (change <= _CLOSE * (tau2 + typical)).all():
                return tau2, True
        return tau2, False

    def _score(self, between: np.ndarray, restricted: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return S, with which the log-likelihood changes by ``trace(S dT)``, and K of the observed information ``vec' K vec / 2``.

        The observed information is twice the average of itself and the expected one (Johnson & Thompson, 1995), minus the expected one.
        """
        weights, _ = self.inverses(between)
        _, vcov, residual = self._mean(weights)
        pulled = np.einsum("iab,ib->ia", weights, residual)
        score = pulled.T @ pulled - weights.sum(axis=0)
        information = _kronecker_sum(weights, weights)
        if restricted:
            spread = weights @ vcov @ weights
            score = score + spread.sum(axis=0)
            mixed = _kronecker_sum(spread, weights)
            corrected = information @ np.kron(vcov, vcov) @ information
            information = information - mixed - _kronecker_sum(weights, spread) + corrected
        shifted = np.einsum("ia,idc->dac", pulled, weights).reshape(len(vcov), -1)
        average = _kronecker_sum(pulled[:, :, None] * pulled[:, None, :], weights) - shifted.T @ vcov @ shifted
        return score / 2, 2 * average - information

    def covariance_between(self, restricted: bool) -> tuple[np.ndarray, bool]:
        """Maximise the likelihood over a covariance matrix without restrictions, from two starts.

        Returns
        -------
        between : ndarray, shape (p, p)
            At least positive semidefinite.
        converged : bool
        """
        p = self.y.shape[1]
        tau2, _ = self.variances(np.ones(p, dtype=bool), restricted)
        typical = np.einsum("iaa->a", self.v) / self.used.sum(axis=0)
        plain = np.sqrt(np.maximum(tau2, 0.05 * typical))
        mean = self.y.sum(axis=0) / self.used.sum(axis=0)
        gap = np.where(self.used, self.y - mean, 0.0)
        together = self.used.T.astype(float) @ self.used
        moment = (gap.T @ gap - self.v.sum(axis=0)) / np.maximum(together - 1, 1)
        values, vectors = np.linalg.eigh(moment / np.outer(plain, plain))
        full = (vectors * np.clip(values, 0.1, None)) @ vectors.T * np.outer(plain, plain)
        found = [self._climbed(np.linalg.cholesky(start), restricted) for start in (np.diag(plain**2), full)]
        between, converged, _ = max(found, key=lambda one: one[2])
        return between, converged

    def _climbed(self, root: np.ndarray, restricted: bool) -> tuple[np.ndarray, bool, float]:
        """Climb from ``T = L L'`` by damped Newton steps in L, which reach singular T as well as others."""
        p = len(root)
        row, col = np.tril_indices(p)
        same = col[:, None] == col
        value = self.estimates(root @ root.T, restricted)[2]
        damping = 1e-3
        for _ in range(_STEPS):
            score, information = self._score(root @ root.T, restricted)
            slope = 2 * (score @ root)[row, col]
            change = np.zeros((row.size, p, p))
            at = np.arange(row.size)
            change[at, row] += root[:, col].T
            change[at, :, row] += root[:, col].T
            flat = change.reshape(row.size, -1)
            curvature = flat @ information @ flat.T / 2 - 2 * np.where(same, score[row[:, None], row], 0.0)
            values, vectors = np.linalg.eigh(curvature)
            size = np.maximum(np.abs(values), 1e-12 * np.abs(values).max())
            accepted = False
            while damping < 1e12:
                step = vectors @ ((vectors.T @ slope) / (size * (1 + damping) + damping * 1e-6 * size.max()))
                proposal = root.copy()
                proposal[row, col] += step
                new = self.estimates(proposal @ proposal.T, restricted)[2]
                if new >= value - self._rounding(value):
                    accepted = True
                    break
                damping *= 10
            if not accepted:
                return root @ root.T, False, value
            gain = float(slope @ step)
            root, value, damping = proposal, new, damping / 10
            if gain < self._rounding(value) / 10:
                return root @ root.T, True, value
        return root @ root.T, False, value


def _kronecker_sum(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Return the sum over sites of the Kronecker products of two stacks of matrices, shape (p², p²)."""
    k, p, _ = one.shape
    product = one.reshape(k, -1).T @ two.reshape(k, -1)
    return product.reshape(p, p, p, p).transpose(0, 2, 1, 3).reshape(p * p, p * p)


def default_structure(used: ArrayLike) -> Structure:
    """Return how T is estimated unless told: without restrictions where sites suffice, else diagonal.

    Without restrictions where every two coefficients stand together at no fewer sites than 10 and than 3 times the number of coefficients
    (p (p + 1) / 2 variances and covariances then rest on at least 6 estimates each), else without covariances.

    Parameters
    ----------
    used : array_like of bool, shape (k, p)
        Which site has which coefficient.
    """
    there = np.asarray(used, dtype=float)
    together = int((there.T @ there).min(initial=np.inf)) if there.size else 0
    return "unstructured" if together >= max(FEWEST_FOR_COVARIANCES, SITES_A_COEFFICIENT * there.shape[1]) else "diagonal"


def pool_coefficients(
    y: ArrayLike,
    v: ArrayLike,
    names: Sequence[str],
    *,
    likelihood: Likelihood = "reml",
    structure: Structure | None = None,
    interval: IntervalMethod = "guarded_hartung_knapp",
    level: float = 0.95,
) -> MultivariatePooled:
    """Pool vectors of coefficients over independent sites.

    The variance factor of Hartung & Knapp is that of Jackson & Riley (2014): weighted squares of the residuals of all coefficients over
    their number minus p. Guarded, it is never below 1. Test and interval of a coefficient are by t with one degree of freedom fewer than
    sites that have it (Jackson & Riley take the larger number of all estimates minus p).

    Parameters
    ----------
    y : array_like, shape (k, p)
        Coefficients of the sites; NaN where a site has none.
    v : array_like, shape (k, p, p)
        Their sampling covariances; cells of coefficients that a site lacks are not looked at.
    names : sequence of str
        The p coefficients.
    likelihood : {"reml", "ml", "fixed"}
        How T is estimated; ``fixed`` takes the sites to have the same coefficients.
    structure : {"diagonal", "unstructured"}, optional
        Of T; by default :func:`default_structure`. Where two coefficients are never at fewer than two sites together, T is diagonal.
    interval : {"guarded_hartung_knapp", "hartung_knapp", "z"}
    level : float
        Confidence level.

    Returns
    -------
    MultivariatePooled
        Coefficients of fewer than two sites are not estimable. Sites whose covariance is not positive definite are left out and counted.

    Raises
    ------
    ValueError
        Shapes that do not go together, unknown settings, level outside 0-1.
    """
    y, v = np.asarray(y, dtype=float), np.asarray(v, dtype=float)
    p = len(names)
    if y.ndim != 2 or y.shape[1] != p or v.shape != (len(y), p, p):
        raise ValueError(f"{p} coefficients need y of shape (sites, {p}) and v of (sites, {p}, {p}); they have {y.shape} and {v.shape}")
    if likelihood not in LIKELIHOODS or interval not in INTERVAL_METHODS or structure not in (None, *STRUCTURES):
        raise ValueError(f"unknown setting among {likelihood!r}, {interval!r}, {structure!r}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    used, refused = _usable(y, v)
    count = used.sum(axis=0)
    kept = count >= 2
    used = used & kept
    rows = used.any(axis=1)
    notes = [f"left out, sampling covariance not positive definite: {refused}"] if refused else []
    if not kept.any():
        most = int(count.max(initial=0))
        return _not_pooled(names, count, f"not estimable: needs at least 2 sites with a coefficient; has {most}", int(rows.sum()))
    here = np.ix_(rows, kept)
    scale = np.sqrt(np.nanmean(np.where(used[here], np.diagonal(v, axis1=1, axis2=2)[here], np.nan), axis=0))
    data = _data(y[here] / scale, v[rows][:, kept][:, :, kept] / np.outer(scale, scale), used[here])
    form: str = structure or default_structure(data.used)
    together = (data.used.T.astype(float) @ data.used).min()
    if form == "unstructured" and together < 2:
        form = "diagonal"
        notes.append("no covariances between sites: some coefficients are not at two sites together")
    restricted, size = likelihood == "reml", int(kept.sum())
    between, converged = np.zeros((size, size)), True
    if likelihood == "fixed":
        form = ""
    elif form == "unstructured" and size > 1:
        between, converged = data.covariance_between(restricted)
    else:
        tau2, converged = data.variances(np.ones(size, dtype=bool), restricted)
        between = np.diag(tau2)
    if not converged:
        notes.append("the covariance between sites did not converge")
    mean, vcov, value, squares = data.estimates(between, restricted)
    n_values = int(data.used.sum())
    factor = 1.0 if interval == "z" else squares / (n_values - size)
    if interval == "guarded_hartung_knapp":
        factor = max(factor, 1.0)
    q = data.estimates(np.zeros((size, size)), False)[3]
    variance = np.diagonal(between)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = 100 * variance / (variance + (count[kept] - 1) / data.traces())
    if likelihood == "fixed":
        share = np.full(size, np.nan)
    # In the units of the coefficients.
    log_likelihood = value - float((data.used * np.log(scale)).sum()) + (float(np.log(scale).sum()) if restricted else 0.0)
    square = np.outer(scale, scale)
    between, vcov, mean = between * square, factor * vcov * square, mean * scale
    profile = _profiles(y, v, used, level)
    table = _table(names, kept, count, mean, vcov, between, share, profile, likelihood, interval, level)
    spread = between / square
    eigenvalues = np.linalg.eigvalsh(spread)
    place = np.full((p, p), np.nan)
    whole_vcov, whole_between = place.copy(), place.copy()
    whole_vcov[np.ix_(kept, kept)], whole_between[np.ix_(kept, kept)] = vcov, between
    absent = [name for name, there in zip(names, kept) if not there]
    if absent:
        notes.append(f"at fewer than 2 sites: {', '.join(absent)}")
    return MultivariatePooled(
        coefficients=table,
        vcov=whole_vcov,
        between=whole_between,
        factor=factor,
        q=q,
        q_df=n_values - size,
        q_p=float(chi_squared_p(q, n_values - size)),
        log_likelihood=log_likelihood,
        structure=form,
        rank=int((eigenvalues > 1e-6 * max(float(eigenvalues[-1]), 1e-6)).sum()) if form else None,
        k=int(rows.sum()),
        method=_method(likelihood, form, interval),
        status="flagged" if notes else "estimated",
        reason="; ".join(notes),
    )


def pooled_function(
    pooled: MultivariatePooled,
    function: Callable[[np.ndarray], np.ndarray],
    random: np.random.Generator,
    *,
    level: float = 0.95,
    draws: int = 20000,
) -> PooledFunction:
    """Return a function of pooled coefficients, as the product of two or their difference.

    Degrees of freedom are the smallest of the coefficients that the function uses. Monte Carlo draws are multivariate t with these degrees
    of freedom, so that of a single coefficient the limits are those of its interval (MacKinnon, Lockwood & Williams, 2004, with normal
    draws).

    Parameters
    ----------
    pooled : MultivariatePooled
    function : callable
        Takes coefficients of shape (b, p), returns shape (b,). At p coefficients of the average site, so that a product is that of the two
        averages; the average of the sites' products is larger by their covariance between sites.
    random : numpy.random.Generator
    level : float
        Confidence level.
    draws : int
    """
    estimate = pooled.coefficients["estimate"].to_numpy()
    there = np.isfinite(estimate)
    centre = np.where(there, estimate, np.nan)
    value = float(np.asarray(function(centre[None]), dtype=float)[0]) if there.any() else np.nan
    if not np.isfinite(value):
        lacking = pooled.coefficients.loc[~there, "name"].tolist()
        reason = pooled.reason if not there.any() else f"not estimable: needs coefficients that were not pooled ({', '.join(lacking)})"
        return PooledFunction(*[None] * 9, "not_estimable", reason)
    vcov = np.where(there[:, None] & there, pooled.vcov, 0.0)
    error = np.where(there, np.sqrt(np.diagonal(vcov)), 0.0)

    def of_known(points: np.ndarray) -> np.ndarray:
        whole = np.tile(centre, (len(points), 1))
        whole[:, there] = points
        return np.asarray(function(whole), dtype=float)[:, None]

    slope = jacobian(of_known, centre[there], np.maximum(error[there], 1e-12))[0]
    part = vcov[np.ix_(there, there)]
    variance = float(slope @ part @ slope)
    moving = np.abs(slope) * error[there] > 1e-9 * np.sqrt(max(variance, 0.0))
    dfs = pooled.coefficients["df"].to_numpy()[there]
    df = float(dfs[moving].min(initial=np.inf))
    if variance <= 0:
        return PooledFunction(value, *[None] * 8, "flagged", "the function does not change with the coefficients here")
    spread, margin = float(np.sqrt(variance)), float(critical_value(level, df)) * float(np.sqrt(variance))
    values, vectors = np.linalg.eigh(part)
    noise = random.standard_normal((draws, int(there.sum()))) @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
    if np.isfinite(df):
        noise *= np.sqrt(df / random.chisquare(df, draws))[:, None]
    drawn = of_known(centre[there] + noise)[:, 0]
    low, high = np.nanquantile(np.where(np.isfinite(drawn), drawn, np.nan), [(1 - level) / 2, (1 + level) / 2])
    return PooledFunction(
        estimate=value,
        std_error=spread,
        ci_low=value - margin,
        ci_high=value + margin,
        df=df if np.isfinite(df) else None,
        statistic=value / spread,
        p_value=float(two_sided_p(value / spread, df)),
        monte_carlo_low=float(low),
        monte_carlo_high=float(high),
        status=pooled.status,
        reason=pooled.reason,
    )


def _usable(y: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the cells in use, and the number of sites left out because their covariance is none."""
    variance = np.diagonal(v, axis1=1, axis2=2)
    used = np.isfinite(y) & np.isfinite(variance) & (variance > 0)
    there = np.isfinite(y) & np.isfinite(variance)
    both = used[:, :, None] & used[:, None, :]
    deviation = np.sqrt(np.where(used, variance, 1.0))
    correlation = np.where(both, v, np.eye(y.shape[1])) / (deviation[:, :, None] * deviation[:, None, :])
    known = np.isfinite(correlation).all(axis=(1, 2))
    sound = known & (np.linalg.eigvalsh(np.where(known[:, None, None], correlation, np.eye(y.shape[1])))[:, 0] > _SINGULAR)
    refused = int(((there & ~used).any(axis=1) | (used.any(axis=1) & ~sound)).sum())
    return used & sound[:, None], refused


def _data(y: np.ndarray, v: np.ndarray, used: np.ndarray) -> SiteVectors:
    return SiteVectors(np.where(used, y, 0.0), used, np.where(used[:, :, None] & used[:, None, :], v, 0.0))


def _profiles(y: np.ndarray, v: np.ndarray, used: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    variance = np.diagonal(v, axis1=1, axis2=2)
    cells = used.T
    effects = Effects(np.where(cells, y.T, 0.0), np.where(cells, variance.T, 1.0), cells)
    enough = effects.count >= 2
    df = np.where(enough, effects.count - 1, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        q = effects.sums(np.zeros(len(df)), np.arange(len(df))).q
    return q_profile(effects, q, df, level)


def _table(
    names: Sequence[str],
    kept: np.ndarray,
    count: np.ndarray,
    mean: np.ndarray,
    vcov: np.ndarray,
    between: np.ndarray,
    share: np.ndarray,
    profile: tuple[np.ndarray, np.ndarray],
    likelihood: str,
    interval: str,
    level: float,
) -> pd.DataFrame:
    error = np.sqrt(np.diagonal(vcov))
    degrees = (count[kept] - 1).astype(float)
    df = np.full(degrees.size, np.inf) if interval == "z" else degrees
    margin = critical_value(level, df) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(error > 0, mean / error, np.nan)
    known = {
        "estimate": mean,
        "std_error": error,
        "ci_low": mean - margin,
        "ci_high": mean + margin,
        "df": df,
        "statistic": statistic,
        "p_value": two_sided_p(statistic, df),
    }
    if likelihood != "fixed":
        variance = np.diagonal(between)
        reach = critical_value(level, degrees) * np.sqrt(variance + error**2)
        known |= {"tau2": variance, "tau2_low": profile[0][kept], "tau2_high": profile[1][kept], "i2": share}
        known |= {"prediction_low": mean - reach, "prediction_high": mean + reach}
    columns: dict[str, object] = {"name": list(names)}
    for column in _COLUMNS[1:-3]:
        columns[column] = np.full(len(names), np.nan)
        if column in known:
            columns[column][kept] = known[column]
    status, reason = np.full(len(names), "estimated", dtype=object), np.full(len(names), "", dtype=object)
    for row in np.flatnonzero(~kept):
        status[row], reason[row] = "not_estimable", f"not estimable: needs at least 2 sites; has {int(count[row])}"
    for row in np.flatnonzero(kept)[error == 0]:
        status[row], reason[row] = "flagged", "all estimates are equal, so the Hartung-Knapp standard error is zero"
    return pd.DataFrame(columns | {"k": count, "status": status, "reason": reason})


def _method(likelihood: str, structure: str, interval: str) -> str:
    width = {
        "guarded_hartung_knapp": "guarded Hartung-Knapp interval (Jackson & Riley)",
        "hartung_knapp": "Hartung-Knapp interval (Jackson & Riley)",
        "z": "normal interval",
    }[interval]
    model = "multivariate common effects" if likelihood == "fixed" else f"multivariate random effects ({likelihood.upper()}, {structure} T)"
    return f"{model}, {width}"


def _not_pooled(names: Sequence[str], count: np.ndarray, reason: str, sites: int) -> MultivariatePooled:
    p = len(names)
    table = pd.DataFrame({"name": list(names)}).reindex(columns=list(_COLUMNS))
    table["k"], table["status"] = count, "not_estimable"
    table["reason"] = [f"not estimable: needs at least 2 sites; has {int(one)}" for one in count]
    holes = np.full((p, p), np.nan)
    return MultivariatePooled(table, holes, holes, None, None, None, None, None, "", None, sites, "", "not_estimable", reason)
