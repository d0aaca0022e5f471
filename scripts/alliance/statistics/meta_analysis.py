"""Pooling of site estimates: random-effects meta-analysis of one effect or of many at once.

Every estimator follows the conventions of the R package metafor (Viechtbauer, 2010), against which it is tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance.statistics.distributions import chi_squared_p, chi_squared_quantile, critical_value, two_sided_p

Tau2Method = Literal["reml", "dersimonian_laird", "paule_mandel", "fixed"]
IntervalMethod = Literal["guarded_hartung_knapp", "hartung_knapp", "z"]

TAU2_METHODS = ("reml", "dersimonian_laird", "paule_mandel", "fixed")
INTERVAL_METHODS = ("guarded_hartung_knapp", "hartung_knapp", "z")
PREDICTION_FORMULA = "estimate ± t(k - 1) × sqrt(tau2 + std_error²)"

_SCORING_STEPS = 200
_NEWTON_STEPS = 100


@dataclass(frozen=True)
class Pooled:
    """A pooled estimate. Numbers are None where they do not exist; then ``reason`` says why.

    Attributes
    ----------
    estimate, std_error, ci_low, ci_high : float or None
        Pooled mean, its standard error by ``interval`` and its confidence interval, in the unit of ``y``.
    df : float or None
        Degrees of freedom of the interval: k - 1 for Hartung-Knapp, None for the normal.
    statistic, p_value : float or None
        Two-sided test of zero.
    tau2, tau2_low, tau2_high : float or None
        Between-site variance and its Q-profile interval (Viechtbauer, 2007); None for the fixed-effect model.
    i2, h2 : float or None
        I2 in percent and H2 as metafor gives them: from tau2 and the typical variance of Higgins & Thompson (2002),
        for the fixed-effect model from Q.
    q, q_df, q_p : float, int, float or None
        Test of homogeneity.
    prediction_low, prediction_high : float or None
        Interval for the true effect in a new site, by ``prediction_formula``.
    k : int
        Number of estimates that were pooled.
    weights : tuple of float
        Share of every given estimate, summing to 1; 0 for those that could not be used.
    method : str
        What was done, in words.
    status : str
        ``estimated``, ``flagged`` or ``not_estimable``.
    reason : str
        Why, where status is not ``estimated``.
    """

    estimate: float | None
    std_error: float | None
    ci_low: float | None
    ci_high: float | None
    df: float | None
    statistic: float | None
    p_value: float | None
    tau2: float | None
    tau2_low: float | None
    tau2_high: float | None
    i2: float | None
    h2: float | None
    q: float | None
    q_df: int | None
    q_p: float | None
    prediction_low: float | None
    prediction_high: float | None
    k: int
    weights: tuple[float, ...]
    method: str
    status: str
    reason: str
    prediction_formula: str = PREDICTION_FORMULA


def fisher_z(r: ArrayLike) -> np.ndarray:
    """Return Fisher's z of correlations; NaN where a correlation is not inside (-1, 1)."""
    r = np.asarray(r, dtype=float)
    return np.arctanh(np.where(np.abs(r) < 1, r, np.nan))


def inverse_fisher_z(z: ArrayLike) -> np.ndarray:
    """Return the correlations that belong to values of Fisher's z."""
    return np.tanh(np.asarray(z, dtype=float))


def n_weighted_mean(r: ArrayLike, n: ArrayLike) -> float | None:
    """Return the mean of correlations weighted by sample size, as early reviews pooled them; None without any.

    Parameters
    ----------
    r, n : array_like, shape (k,)
        Correlations and sample sizes; pairs with a missing value or n <= 0 are left out.
    """
    r, n = np.asarray(r, dtype=float), np.asarray(n, dtype=float)
    usable = np.isfinite(r) & np.isfinite(n) & (n > 0)
    return float(np.average(r[usable], weights=n[usable])) if usable.any() else None


def pool(
    y: ArrayLike,
    v: ArrayLike,
    *,
    tau2: Tau2Method = "reml",
    interval: IntervalMethod = "guarded_hartung_knapp",
    level: float = 0.95,
) -> Pooled:
    """Pool independent estimates of one effect.

    Parameters
    ----------
    y, v : array_like, shape (k,)
        Estimates and their sampling variances. Pairs that are not finite, or whose variance is not positive, are left out.
    tau2 : {"reml", "dersimonian_laird", "paule_mandel", "fixed"}
        Estimator of the between-site variance; ``fixed`` sets it to zero (one common effect).
    interval : {"guarded_hartung_knapp", "hartung_knapp", "z"}
        Hartung & Knapp (2001) with t(k - 1); guarded: its variance factor is never below 1 (Knapp & Hartung, 2003).
    level : float
        Confidence level of all intervals.

    Returns
    -------
    Pooled
        Without an estimate for fewer than two usable values.

    Raises
    ------
    ValueError
        Unknown method, level outside 0-1, or lengths that differ.
    """
    y, v = np.atleast_1d(np.asarray(y, dtype=float)), np.atleast_1d(np.asarray(v, dtype=float))
    if y.ndim != 1 or y.shape != v.shape:
        raise ValueError(f"y and v need the same length; they have shapes {y.shape} and {v.shape}")
    columns, weights = _pool(y[None, :], v[None, :], tau2, interval, level)
    row = {name: values[0] for name, values in columns.items()}
    numbers = {
        name: (None if not np.isfinite(value) else float(value))
        for name, value in row.items()
        if name not in ("k", "q_df", "status", "reason")
    }
    return Pooled(
        **numbers,
        k=int(row["k"]),
        q_df=int(row["q_df"]) if np.isfinite(row["q_df"]) else None,
        weights=tuple(float(weight) for weight in weights[0]),
        method=method_text(tau2, interval),
        status=str(row["status"]),
        reason=str(row["reason"]),
    )


def pool_many(
    y: ArrayLike,
    v: ArrayLike,
    *,
    tau2: Tau2Method = "reml",
    interval: IntervalMethod = "guarded_hartung_knapp",
    level: float = 0.95,
) -> pd.DataFrame:
    """Pool many effects at once.

    Parameters
    ----------
    y, v : array_like, shape (effects, sites)
        Estimates and sampling variances; NaN where a site has none.
    tau2, interval, level
        As in :func:`pool`.

    Returns
    -------
    DataFrame
        One row an effect, with the numbers of :class:`Pooled` (NaN where there is none), ``method``, ``status`` and ``reason``.
    """
    y, v = np.asarray(y, dtype=float), np.asarray(v, dtype=float)
    if y.ndim != 2 or y.shape != v.shape:
        raise ValueError(f"y and v need the same shape (effects, sites); they have {y.shape} and {v.shape}")
    columns, _ = _pool(y, v, tau2, interval, level)
    table = pd.DataFrame(columns)
    table["q_df"] = table["q_df"].astype("Int64")
    table.insert(len(table.columns) - 2, "method", method_text(tau2, interval))
    return table


def leave_one_out(
    y: ArrayLike,
    v: ArrayLike,
    names: Sequence[object] | None = None,
    *,
    tau2: Tau2Method = "reml",
    interval: IntervalMethod = "guarded_hartung_knapp",
    level: float = 0.95,
) -> pd.DataFrame:
    """Pool again without each estimate in turn.

    Parameters
    ----------
    y, v : array_like, shape (k,)
        As in :func:`pool`.
    names : sequence, optional
        What to call the estimates; default their positions from 0.

    Returns
    -------
    DataFrame
        One row a usable estimate that was left out: ``omitted`` and the columns of :func:`pool_many`.
    """
    y, v = np.atleast_1d(np.asarray(y, dtype=float)), np.atleast_1d(np.asarray(v, dtype=float))
    usable = np.flatnonzero(_usable(y, v))
    without = np.tile(y, (usable.size, 1))
    without[np.arange(usable.size), usable] = np.nan
    table = pool_many(without, np.tile(v, (usable.size, 1)), tau2=tau2, interval=interval, level=level)
    table.insert(0, "omitted", [position if names is None else names[position] for position in usable.tolist()])
    return table


@dataclass(frozen=True)
class Difference:
    """Difference of two pooled means with its Wald test; None where it cannot be had."""

    estimate: float | None
    std_error: float | None
    ci_low: float | None
    ci_high: float | None
    df: float | None
    statistic: float | None
    p_value: float | None
    status: str
    reason: str


def difference(first: Pooled, second: Pooled, *, covariance: float = 0.0, level: float = 0.95) -> Difference:
    """Compare two pooled means: first minus second.

    The standard error is ``sqrt(se1² + se2² - 2 covariance)``. Its degrees of freedom are Welch's and Satterthwaite's from the
    k - 1 of the two Hartung-Knapp intervals; a normal interval counts as known variance. The two means are taken as independent
    unless their covariance is given, which makes the test conservative where the same sites stand in both and agree.

    Parameters
    ----------
    first, second : Pooled
        Pooled means in the same unit.
    covariance : float
        Covariance of the two estimates.
    level : float
        Confidence level.
    """
    if first.estimate is None or second.estimate is None:
        return Difference(*[None] * 7, "not_estimable", "one of the two groups has no pooled estimate")
    variances = np.array([first.std_error, second.std_error], dtype=float) ** 2
    variance = float(variances.sum() - 2 * covariance)
    if variance <= 0:
        return Difference(first.estimate - second.estimate, *[None] * 6, "flagged", "the difference has no positive variance")
    dfs = np.array([np.inf if pooled.df is None else pooled.df for pooled in (first, second)])
    spread = float((variances**2 / dfs).sum())
    df = variances.sum() ** 2 / spread if spread > 0 else np.inf
    estimate, error = first.estimate - second.estimate, float(np.sqrt(variance))
    margin = float(critical_value(level, df)) * error
    return Difference(
        estimate,
        error,
        estimate - margin,
        estimate + margin,
        float(df) if np.isfinite(df) else None,
        estimate / error,
        float(two_sided_p(estimate / error, df)),
        "estimated",
        "",
    )


def method_text(tau2: Tau2Method, interval: IntervalMethod) -> str:
    """Return in words how :func:`pool` pools."""
    model = {
        "reml": "random effects (REML)",
        "dersimonian_laird": "random effects (DerSimonian-Laird)",
        "paule_mandel": "random effects (Paule-Mandel)",
        "fixed": "fixed effect",
    }[tau2]
    width = {
        "guarded_hartung_knapp": "guarded Hartung-Knapp interval",
        "hartung_knapp": "Hartung-Knapp interval",
        "z": "normal interval",
    }[interval]
    return f"{model}, {width}"


def _usable(y: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.isfinite(y) & np.isfinite(v) & (v > 0)


def _pool(y: np.ndarray, v: np.ndarray, tau2: str, interval: str, level: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    if tau2 not in TAU2_METHODS:
        raise ValueError(f"unknown tau2 method {tau2!r}; one of {', '.join(TAU2_METHODS)}")
    if interval not in INTERVAL_METHODS:
        raise ValueError(f"unknown interval {interval!r}; one of {', '.join(INTERVAL_METHODS)}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    usable = _usable(y, v)
    refused = (np.isfinite(y) & np.isfinite(v) & ~usable).sum(axis=1)
    k = usable.sum(axis=1)
    enough = k >= 2
    used = usable & enough[:, None]
    effects = _Effects(np.where(used, y, 0.0), np.where(used, v, 1.0), used)
    df = np.where(enough, k - 1, np.nan)

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        q = effects.q(np.zeros(k.size))
        variance, searched = _tau2(effects, tau2, q, df)
        mean, weight_sum, squares = effects.moments(variance)
        shares = effects.weights(variance) / weight_sum[:, None]
        classic = 1 / np.sqrt(weight_sum)
        factor = squares / df
        if interval == "z":
            error, test_df = classic, np.full(k.size, np.inf)
        else:
            if interval == "guarded_hartung_knapp":
                factor = np.maximum(factor, 1.0)
            error, test_df = classic * np.sqrt(factor), df
        critical = critical_value(level, test_df)
        statistic = np.where(error > 0, mean / error, np.nan)
        columns = {
            "estimate": mean,
            "std_error": error,
            "ci_low": mean - critical * error,
            "ci_high": mean + critical * error,
            "df": test_df,
            "statistic": statistic,
            "p_value": two_sided_p(statistic, test_df),
        }
        if tau2 == "fixed":
            nothing = np.full(k.size, np.nan)
            columns |= {"tau2": nothing, "tau2_low": nothing, "tau2_high": nothing}
            columns |= {"i2": np.where(q > 0, np.maximum(0, 100 * (q - df) / q), 0.0), "h2": q / df}
            prediction = nothing
        else:
            low, high = _q_profile(effects, q, df, level)
            first, second = effects.power_sum(1), effects.power_sum(2)
            typical = df * first / (first**2 - second)
            columns |= {"tau2": variance, "tau2_low": low, "tau2_high": high}
            columns |= {"i2": 100 * variance / (typical + variance), "h2": variance / typical + 1}
            prediction = critical_value(level, df) * np.sqrt(variance + error**2)
        columns |= {"q": q, "q_df": df, "q_p": chi_squared_p(q, df)}
        columns |= {"prediction_low": mean - prediction, "prediction_high": mean + prediction}

    columns = {name: np.where(enough, values, np.nan) for name, values in columns.items()}
    reasons = [_reason(int(k[row]), int(refused[row]), bool(searched[row]), bool(enough[row] and error[row] == 0)) for row in range(k.size)]
    columns["k"] = k
    columns["status"] = np.array(
        ["not_estimable" if not enough[row] else "flagged" if reasons[row] else "estimated" for row in range(k.size)], dtype=object
    )
    columns["reason"] = np.array(reasons, dtype=object)
    return columns, np.where(used, shares, 0.0)


def _reason(k: int, refused: int, searched: bool, without_error: bool) -> str:
    parts = []
    if k < 2:
        parts.append(f"no pooled estimate (k = {k})")
    if refused:
        parts.append(f"left out, sampling variance not positive: {refused}")
    if searched:
        parts.append("REML by bounded search: Fisher scoring did not converge")
    if without_error:
        parts.append("all estimates are equal, so the Hartung-Knapp standard error is zero")
    return "; ".join(parts)


@dataclass(frozen=True)
class _Effects:
    """Estimates and variances, shape (effects, sites), with the cells in use."""

    y: np.ndarray
    v: np.ndarray
    used: np.ndarray

    def weights(self, tau2: np.ndarray) -> np.ndarray:
        return np.where(self.used, 1 / (self.v + tau2[:, None]), 0.0)

    def power_sum(self, power: int) -> np.ndarray:
        inverse = np.where(self.used, 1 / self.v, 0.0)
        return (inverse if power == 1 else inverse**power).sum(axis=1)

    def moments(self, tau2: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        weights = self.weights(tau2)
        total = weights.sum(axis=1)
        mean = (weights * self.y).sum(axis=1) / total
        return mean, total, (weights * (self.y - mean[:, None]) ** 2).sum(axis=1)

    def q(self, tau2: np.ndarray) -> np.ndarray:
        return self.moments(tau2)[2]

    def rows(self, selected: np.ndarray) -> _Effects:
        return _Effects(self.y[selected], self.v[selected], self.used[selected])


def _tau2(effects: _Effects, method: str, q: np.ndarray, df: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return tau2 and whether REML needed the bounded search."""
    not_searched = np.zeros(q.size, dtype=bool)
    if method == "fixed":
        return np.zeros(q.size), not_searched
    if method == "paule_mandel":
        return _where_q_is(effects, q, df), not_searched
    if method == "dersimonian_laird":
        first, second = effects.power_sum(1), effects.power_sum(2)
        return np.maximum(0.0, (q - df) / (first - second / first)), not_searched
    tau2, converged = _reml_by_scoring(effects, df)
    for row in np.flatnonzero(~converged & np.isfinite(df)):
        tau2[row] = _reml_by_search(effects.rows(np.array([row])))
    return tau2, ~converged & np.isfinite(df)


def _reml_by_scoring(effects: _Effects, df: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fisher scoring from the Hedges-Olkin start, with halved steps where a step would leave zero."""
    count = effects.used.sum(axis=1)
    mean = effects.y.sum(axis=1) / count
    spread = (np.where(effects.used, effects.y - mean[:, None], 0.0) ** 2).sum(axis=1) / df
    tau2 = np.maximum(0.0, np.nan_to_num(spread - np.where(effects.used, effects.v, 0.0).sum(axis=1) / count))
    scale = np.where(effects.used, effects.v, np.inf).min(axis=1, initial=np.inf)
    converged = np.zeros(tau2.size, dtype=bool)
    for _ in range(_SCORING_STEPS):
        active = np.flatnonzero(~converged & np.isfinite(df))
        if not active.size:
            break
        now = effects.rows(active)
        weights = now.weights(tau2[active])
        squared = weights * weights
        one, two, three = (np.sum(values, axis=1) for values in (weights, squared, squared * weights))
        residual = now.y - ((weights * now.y).sum(axis=1) / one)[:, None]
        score = ((weights * residual) ** 2).sum(axis=1) - (one - two / one)
        step = score / (two - 2 * three / one + (two / one) ** 2)
        at_zero = (tau2[active] == 0) & (step <= 0)
        for _ in range(60):
            outside = tau2[active] + step < 0
            if not outside.any():
                break
            step = np.where(outside, np.where(tau2[active] > 1e-12 * scale[active], step / 2, -tau2[active]), step)
        step = np.where(at_zero, 0.0, step)
        tau2[active] += step
        converged[active] = np.abs(step) <= 1e-10 * (tau2[active] + scale[active])
    return np.where(tau2 < 1e-8 * scale, 0.0, tau2), converged


def _reml_by_search(effects: _Effects) -> float:
    """Maximise the restricted likelihood of one effect on a grid, then between the grid's neighbours of the best point."""
    from scipy.optimize import minimize_scalar

    def deviance(tau2: float) -> float:
        weights = effects.weights(np.array([tau2]))[0][effects.used[0]]
        return float(np.log(weights.sum()) - np.log(weights).sum() + effects.q(np.array([tau2]))[0])

    y, v = effects.y[0][effects.used[0]], effects.v[0][effects.used[0]]
    highest = 10 * float(np.var(y, ddof=1)) + 1e-8 * float(v.min())
    grid = np.concatenate([[0.0], np.geomspace(1e-8 * highest, highest, 200)])
    best = int(np.argmin([deviance(point) for point in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)]
    found = minimize_scalar(deviance, bounds=(low, high), method="bounded", options={"xatol": 1e-12 * highest})
    return float(found.x) if found.fun < deviance(grid[best]) else float(grid[best])


def _where_q_is(effects: _Effects, q: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the tau2 at which the generalised Q falls to ``target``; 0 where it is below already.

    Newton's method on 1 / Q, which grows and is concave in tau2 (Q' = -sum w² (y - mean)² and Q Q'' >= 2 Q'² by Cauchy and Schwarz), so
    that steps from zero never go too far and get ever shorter.
    """
    tau2 = np.zeros(q.size)
    rows = np.flatnonzero(np.isfinite(target) & (q > target))
    now = effects.rows(rows)
    for _ in range(_NEWTON_STEPS):
        if not rows.size:
            break
        weights = now.weights(tau2[rows])
        mean = (weights * now.y).sum(axis=1) / weights.sum(axis=1)
        weighted = weights * (now.y - mean[:, None])
        value = (weighted * (now.y - mean[:, None])).sum(axis=1)
        step = value * (value - target[rows]) / (target[rows] * (weighted**2).sum(axis=1))
        tau2[rows] = np.maximum(0.0, tau2[rows] + step)
        moving = np.abs(step) > 1e-13 * tau2[rows]
        if not moving.all():
            rows, now = rows[moving], now.rows(moving)
    return tau2


def _q_profile(effects: _Effects, q: np.ndarray, df: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    tail = (1 - level) / 2
    return tuple(_where_q_is(effects, q, chi_squared_quantile(probability, df)) for probability in (1 - tail, tail))
