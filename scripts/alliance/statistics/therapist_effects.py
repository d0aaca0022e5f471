"""Effects of what therapists bring on several scores of their clients at once, and how large an effect few therapists could show.

A predictor that differs between therapists only is a matter of the therapists' means: there are as many independent facts as therapists.
All scores are regressed on it together, each therapist weighted by what the mean is worth, so that contrasts of scores have their errors
from the scores' joint covariance and every test has degrees of freedom of therapists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.covariance import cluster_codes
from alliance.statistics.distributions import critical_value

_NORMAL = 1e6


def _unit_interval(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of Gauss and Legendre's quadrature over 0 to 1, after the substitution u = p² (3 - 2 p)."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    place = (nodes + 1) / 2
    return place**2 * (3 - 2 * place), weights / 2 * 6 * place * (1 - place)


_GAUSS = _unit_interval(200)


@dataclass(frozen=True)
class TherapistRegression:
    """Slopes of several scores on a predictor of therapists. Where ``reason`` is not empty there are no numbers.

    Attributes
    ----------
    estimate : ndarray, shape (m,)
        Change of each score per unit of the predictor.
    vcov : ndarray, shape (m, m)
        Covariance of the slopes.
    df : float
        Therapists - 2, or therapists - sites - 1: of t for any combination of the slopes.
    n, n_therapists : int
        Clients and therapists.
    reason : str
        What is needed.
    """

    estimate: np.ndarray
    vcov: np.ndarray
    df: float
    n: int
    n_therapists: int
    reason: str

    def combination(self, weights: ArrayLike) -> tuple[float, float]:
        """Return a weighted sum of the slopes and its standard error."""
        weights = np.asarray(weights, dtype=float)
        return float(weights @ self.estimate), float(np.sqrt(weights @ self.vcov @ weights))

    def joint_p(self, chosen: ArrayLike) -> float:
        """Return the p value that none of the chosen scores has a slope.

        Hotelling's T² of the multivariate linear model, F with m and df - m + 1 degrees of freedom (Rencher & Christensen, 2012); NaN
        where there are too few therapists for so many scores.
        """
        from scipy.special import fdtrc

        chosen = np.asarray(chosen)
        m = len(chosen)
        if self.df - m + 1 < 1:
            return np.nan
        own = self.vcov[np.ix_(chosen, chosen)]
        statistic = float(self.estimate[chosen] @ np.linalg.solve(own, self.estimate[chosen]))
        return float(fdtrc(m, self.df - m + 1, statistic * (self.df - m + 1) / (m * self.df)))


def mean_weights(sizes: ArrayLike, icc: float) -> np.ndarray:
    """Return ``n / (1 + (n - 1) icc)``: what the mean of n clients of a therapist is worth, as the inverse of its variance.

    Parameters
    ----------
    sizes : array_like
        Clients of each therapist.
    icc : float
        Share (0-1) of the variance of clients that lies between therapists.
    """
    sizes = np.asarray(sizes, dtype=float)
    return sizes / (1 + (sizes - 1) * icc)


def therapist_regression(
    scores: ArrayLike, predictor: ArrayLike, therapist: ArrayLike, icc: float, site: ArrayLike | None = None, *, min_therapists: int = 5
) -> TherapistRegression:
    """Regress the therapists' means of several scores on a predictor of therapists, all scores together.

    ``B = (X'WX)⁻¹X'WY`` with the weights of :func:`mean_weights`, ``S = E'WE / df`` over therapists, covariance of the slopes
    ``S (X'WX)⁻¹``. That is the generalised least squares of a mixed model in which every score has the same share of variance between
    therapists; with equally many clients each it gives the mixed model's slopes and standard errors whatever that share is.

    Parameters
    ----------
    scores : array_like, shape (n, m)
        One row a client, without missing values.
    predictor : array_like, shape (n,)
        The same for all clients of a therapist.
    therapist : array_like, shape (n,)
        Labels.
    icc : float
        Share of the variance between therapists (of a site), 0-1.
    site : array_like, shape (n,), optional
        Labels; with them every site has its own intercept, and labels of therapists count within sites.
    min_therapists : int
        Fewer: no estimate.
    """
    scores = np.asarray(scores, dtype=float)
    predictor = np.asarray(predictor, dtype=float)
    n, m = scores.shape
    site_code, n_sites = cluster_codes(np.zeros(n) if site is None else site)
    own, count = cluster_codes(therapist)
    _, first, code = np.unique(site_code * max(count, 1) + own, return_index=True, return_inverse=True)
    groups = len(first)
    sizes = np.bincount(code, minlength=groups)
    absent = _absent(m, n, groups)
    if groups < min_therapists or groups - n_sites - 1 < 1:
        return absent(f"needs at least {max(min_therapists, n_sites + 2)} therapists; has {groups}")
    means = np.column_stack([np.bincount(code, column, groups) / sizes for column in scores.T])
    weights = mean_weights(sizes, icc)
    own_site = site_code[first]
    x = _centred(predictor[first][:, None], weights, own_site, n_sites)[:, 0]
    y = _centred(means, weights, own_site, n_sites)
    spread = float(weights @ x**2)
    if not spread > 1e-12 * float(weights.sum()) * max(1.0, float(np.abs(predictor).max()) ** 2):
        return absent("needs therapists who differ in it")
    slopes = (weights * x) @ y / spread
    left = y - np.outer(x, slopes)
    df = float(groups - n_sites - 1)
    residual = (left * weights[:, None]).T @ left / df
    if not (np.diagonal(residual) > 1e-20).all():
        return absent("the therapists' means do not vary beside it")
    return TherapistRegression(slopes, residual / spread, df, n, groups, "")


def _absent(m: int, n: int, groups: int) -> Callable[[str], TherapistRegression]:
    def absent(reason: str) -> TherapistRegression:
        return TherapistRegression(np.full(m, np.nan), np.full((m, m), np.nan), np.nan, n, groups, reason)

    return absent


def _centred(values: np.ndarray, weights: np.ndarray, site: np.ndarray, n_sites: int) -> np.ndarray:
    """Return values of therapists minus the weighted mean of their site."""
    total = np.bincount(site, weights, n_sites)
    means = np.column_stack([np.bincount(site, weights * column, n_sites) / total for column in values.T])
    return values - means[site]


@lru_cache(maxsize=4096)
def detectable_noncentrality(df: float, power: float, level: float) -> float:
    """Return the true value, in standard errors, that a two-sided t test finds with some power.

    The noncentrality of t with ``df`` degrees of freedom at which the chance of a value outside ± the critical value is ``power``; about
    2.8 for many degrees of freedom, a power of .8 and a level of .95, and more for few (Cohen, 1988).

    Parameters
    ----------
    df : float
        Positive; infinite for the normal.
    power : float
        0-1, above 1 - level.
    level : float
        Confidence level that belongs to the test.

    Raises
    ------
    ValueError
        Degrees of freedom that are not positive, or a power not above the test's size.
    """
    from scipy.optimize import brentq

    if not df > 0 or not 1 - level < power < 1:
        raise ValueError(f"needs positive degrees of freedom and a power between {1 - level:g} and 1, not {df} and {power}")
    limit = float(critical_value(level, df))
    top = limit + 1.0
    while _chance(top, df, limit) < power:
        top *= 1.5
    return float(brentq(lambda noncentrality: _chance(noncentrality, df, limit) - power, 0.0, top, xtol=1e-10))


def _chance(noncentrality: float, df: float, limit: float) -> float:
    """Return the chance that noncentral t lies outside ± limit: that of a normal, averaged over how far the error is misjudged."""
    from scipy.special import chdtri, ndtr

    if df > _NORMAL:
        return float(ndtr(noncentrality - limit) + ndtr(-noncentrality - limit))
    nodes, weights = _GAUSS
    # Probabilities of chi-squared from 0 to 1; the nodes lie densest at both ends.
    error = np.sqrt(chdtri(df, nodes) / df)
    return float(weights @ (ndtr(noncentrality - limit * error) + ndtr(-noncentrality - limit * error)))


def detectable_r(n: float, power: float, level: float) -> float:
    """Return the smallest correlation with a predictor that ``n`` independent units show with some power.

    The noncentrality of a correlation r with a given predictor is ``r sqrt(n) / sqrt(1 - r²)`` with n - 2 degrees of freedom; NaN for
    fewer than three units.

    Parameters
    ----------
    n : float
        Therapists; over sites that have intercepts of their own, therapists minus sites plus one.
    power, level : float
        As in :func:`detectable_noncentrality`.
    """
    if not n > 2:
        return np.nan
    noncentrality = detectable_noncentrality(float(n) - 2, power, level)
    return noncentrality / float(np.sqrt(n + noncentrality**2))


def composite(traits: Mapping[str, ArrayLike]) -> np.ndarray:
    """Return the mean of standardised traits over those a client has, standardised again; NaN where a client has none.

    Parameters
    ----------
    traits : mapping of name to array_like, shape (n,)
        Turned so that they point one way; NaN where missing.
    """
    columns = []
    for values in traits.values():
        values = np.asarray(values, dtype=float)
        spread = np.nanstd(values, ddof=1) if np.isfinite(values).sum() > 1 else 0.0
        if spread > 0:
            columns.append((values - np.nanmean(values)) / spread)
    if not columns:
        return np.full(len(next(iter(traits.values()), [])), np.nan)
    stacked = np.column_stack(columns)
    known = np.isfinite(stacked)
    count = known.sum(axis=1)
    mean = np.where(count > 0, np.where(known, stacked, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)
    spread = np.nanstd(mean, ddof=1)
    return (mean - np.nanmean(mean)) / (spread if spread > 0 else np.nan)
