"""Pooling where some effects are reported only as "not significant": they count as zero, are dropped, or are taken as what they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special

from alliance.statistics.distributions import critical_value, two_sided_p
from alliance.statistics.meta_analysis import IntervalMethod, Tau2Method, method_text, pool

TREATMENTS = ("zero", "dropped", "imputed")
IMPUTED = "random effects (maximum likelihood), nonsignificant effects censored, normal interval"


def pool_with_nonsignificant(
    y: ArrayLike,
    v: ArrayLike,
    nonsignificant: ArrayLike,
    *,
    alpha: float = 0.05,
    tau2: Tau2Method = "reml",
    interval: IntervalMethod = "guarded_hartung_knapp",
    level: float = 0.95,
) -> pd.DataFrame:
    """Pool effects of which some are only known not to be significant, in three ways.

    ``zero`` counts them as zero and ``dropped`` leaves them out, both pooled as :func:`alliance.statistics.meta_analysis.pool` does.
    ``imputed`` is the maximum-likelihood random-effects model in which such an effect is known only to lie within
    ``±z(1 - alpha / 2) sqrt(v)``: it adds ``log(Phi((c - mean) / s) - Phi((-c - mean) / s))``, ``s² = v + tau2``, to the log-likelihood
    (censored regression: Tobin, 1958; as MetaNSUE does for meta-analyses: Albajes-Eizagirre, Solanes & Radua, 2019).

    Parameters
    ----------
    y, v : array_like, shape (k,)
        Estimates (ignored where not significant, may be NaN) and sampling variances.
    nonsignificant : array_like of bool, shape (k,)
        Effects known only not to be significant at ``alpha``, two-sided.
    alpha : float
        Level of the tests that gave no significant result.
    tau2, interval, level
        As in :func:`alliance.statistics.meta_analysis.pool`.

    Returns
    -------
    DataFrame
        One row a treatment: ``treatment, estimate, std_error, ci_low, ci_high, df, p_value, tau2, k, k_nonsignificant, method, status,
        reason``. ``imputed`` needs two reported estimates; its tau2 is of maximum likelihood, smaller than REML's with few effects.

    Raises
    ------
    ValueError
        Unknown method, level or alpha outside 0-1, or lengths that differ.
    """
    y, v, hidden = np.asarray(y, dtype=float), np.asarray(v, dtype=float), np.asarray(nonsignificant, dtype=bool)
    if y.ndim != 1 or not y.shape == v.shape == hidden.shape:
        raise ValueError(f"y, v and nonsignificant need the same length; they have {y.shape}, {v.shape} and {hidden.shape}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha}")
    settings = {"tau2": tau2, "interval": interval, "level": level}
    rows = []
    for treatment, values in (("zero", np.where(hidden, 0.0, y)), ("dropped", np.where(hidden, np.nan, y))):
        found = pool(values, v, **settings)
        numbers = {name: getattr(found, name) for name in ("estimate", "std_error", "ci_low", "ci_high", "df", "p_value", "tau2", "k")}
        known = hidden & np.isfinite(v) & (v > 0) if treatment == "zero" else np.zeros(1, dtype=bool)
        rows.append(
            {"treatment": treatment, **numbers, "k_nonsignificant": int(known.sum())}
            | {"method": method_text(tau2, interval), "status": found.status, "reason": found.reason}
        )
    rows.append({"treatment": "imputed", **_censored(y, v, hidden, alpha, level), "method": IMPUTED})
    numbers = ["estimate", "std_error", "ci_low", "ci_high", "df", "p_value", "tau2"]
    return pd.DataFrame(rows).astype(dict.fromkeys(numbers, float))


def _censored(y: np.ndarray, v: np.ndarray, hidden: np.ndarray, alpha: float, level: float) -> dict[str, object]:
    usable = np.isfinite(v) & (v > 0) & (hidden | np.isfinite(y))
    y, v, hidden = y[usable], v[usable], hidden[usable]
    counts = {"k": int(y.size), "k_nonsignificant": int(hidden.sum()), "df": None}
    nothing = dict.fromkeys(("estimate", "std_error", "ci_low", "ci_high", "p_value", "tau2"))
    reported = int((~hidden).sum())
    if reported < 2:
        reason = f"needs at least 2 reported estimates besides those known not to be significant; has {reported}"
        return nothing | counts | {"status": "not_estimable", "reason": reason}
    limit = float(critical_value(1 - alpha)) * np.sqrt(v[hidden])
    unit = float(np.sqrt(np.median(v)))
    found = _maximum(y[~hidden] / unit, v[~hidden] / unit**2, limit / unit, v[hidden] / unit**2)
    if found is None:
        return (
            nothing | counts | {"status": "not_estimable", "reason": "the likelihood of the censored effects has no maximum that was found"}
        )
    mean, variance, tau2 = found[0] * unit, found[1] * unit**2, found[2] * unit**2
    error = float(np.sqrt(variance))
    margin = float(critical_value(level)) * error
    return {
        "estimate": mean,
        "std_error": error,
        "ci_low": mean - margin,
        "ci_high": mean + margin,
        "p_value": float(two_sided_p(mean / error)),
        "tau2": tau2,
        **counts,
        "status": "estimated",
        "reason": "",
    }


def _maximum(y: np.ndarray, v: np.ndarray, limit: np.ndarray, hidden_v: np.ndarray) -> tuple[float, float, float] | None:
    """Return mean, its variance from the observed information, and tau2 at the top of the likelihood; None where there is no top.

    The best mean at a given tau2 is unique (the likelihood is log-concave in it); tau2 is searched on a grid, then between neighbours. At
    tau2 = 0 the information is that of the mean alone.
    """
    from scipy.optimize import brentq, minimize_scalar

    def best_mean(tau2: float) -> float:
        bound = 1.0 + float(np.abs(y).max())
        return float(brentq(lambda mean: _slopes(mean, tau2, y, v, limit, hidden_v)[0], -bound, bound, xtol=1e-14, rtol=1e-14))

    def deviance(tau2: float) -> float:
        return -2 * _log_likelihood(best_mean(tau2), tau2, y, v, limit, hidden_v)

    highest = 10 * float(np.var(y) + np.median(v) + y.mean() ** 2)
    grid = np.concatenate([[0.0], np.geomspace(1e-6 * highest, highest, 30)])
    values = [deviance(point) for point in grid]
    best = int(np.argmin(values))
    if best == grid.size - 1:
        return None
    low, high = grid[max(best - 1, 0)], grid[best + 1]

    def slope(tau2: float) -> float:
        return _slopes(best_mean(tau2), tau2, y, v, limit, hidden_v)[1]

    if best == 0 and slope(0.0) <= 0:
        tau2 = 0.0
    elif slope(low) * slope(high) < 0:
        tau2 = float(brentq(slope, low, high, xtol=1e-14, rtol=1e-13))
    else:
        tau2 = float(minimize_scalar(deviance, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x)
    mean = best_mean(tau2)
    variance = _mean_variance(mean, tau2, y, v, limit, hidden_v)
    return (mean, variance, tau2) if variance > 0 else None


def _mean_variance(mean: float, tau2: float, y: np.ndarray, v: np.ndarray, limit: np.ndarray, hidden_v: np.ndarray) -> float:
    """Return the mean's variance from the observed information, by central differences of the slopes."""
    step = 1e-5
    by_mean = (_slopes(mean + step, tau2, y, v, limit, hidden_v) - _slopes(mean - step, tau2, y, v, limit, hidden_v)) / (2 * step)
    if tau2 == 0:
        return -1 / float(by_mean[0])
    step = min(1e-5, tau2 / 2)
    by_tau2 = (_slopes(mean, tau2 + step, y, v, limit, hidden_v) - _slopes(mean, tau2 - step, y, v, limit, hidden_v)) / (2 * step)
    return float(np.linalg.inv(-np.stack([by_mean, by_tau2]))[0, 0])


def _log_likelihood(mean: float, tau2: float, y: np.ndarray, v: np.ndarray, limit: np.ndarray, hidden_v: np.ndarray) -> float:
    spread, hidden = v + tau2, np.sqrt(hidden_v + tau2)
    reported = -(np.log(2 * np.pi * spread) + (y - mean) ** 2 / spread).sum() / 2
    return float(reported + _log_between((-limit - mean) / hidden, (limit - mean) / hidden).sum())


def _slopes(mean: float, tau2: float, y: np.ndarray, v: np.ndarray, limit: np.ndarray, hidden_v: np.ndarray) -> np.ndarray:
    """Return the derivatives of the log-likelihood by the mean and by tau2."""
    spread, hidden = v + tau2, np.sqrt(hidden_v + tau2)
    low, high = (-limit - mean) / hidden, (limit - mean) / hidden
    inside = _log_between(low, high)
    at_low, at_high = (np.exp(-(point**2) / 2 - np.log(2 * np.pi) / 2 - inside) for point in (low, high))
    by_mean = ((y - mean) / spread).sum() + ((at_low - at_high) / hidden).sum()
    by_tau2 = ((y - mean) ** 2 / spread**2 - 1 / spread).sum() / 2 + ((at_low * low - at_high * high) / (2 * hidden**2)).sum()
    return np.array([by_mean, by_tau2])


def _log_between(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return log(Phi(high) - Phi(low)) without loss in either tail."""
    mirrored = low > 0
    low, high = np.where(mirrored, -high, low), np.where(mirrored, -low, high)
    upper = special.log_ndtr(high)
    return upper + np.log1p(-np.exp(special.log_ndtr(low) - upper))
