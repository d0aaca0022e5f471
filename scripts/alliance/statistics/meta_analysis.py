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
from alliance.statistics.heterogeneity import Effects, Rows, SharedSums, WithoutOne, between_variance, q_profile

Tau2Method = Literal["reml", "dersimonian_laird", "paule_mandel", "fixed"]
IntervalMethod = Literal["guarded_hartung_knapp", "hartung_knapp", "z"]

TAU2_METHODS = ("reml", "dersimonian_laird", "paule_mandel", "fixed")
INTERVAL_METHODS = ("guarded_hartung_knapp", "hartung_knapp", "z")
PREDICTION_FORMULA = "estimate ± t(k - 1) × sqrt(tau2 + std_error²)"

# From this number of sites on, sums shared by all sets without one site cost less than summing each set.
_SHARED_FROM = 40


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
    return _table(_pool(y, v, tau2, interval, level)[0], method_text(tau2, interval))


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
    table = leave_one_out_many(y[None, :], v[None, :], tau2=tau2, interval=interval, level=level).drop(columns="effect")
    if names is not None:
        table["omitted"] = [names[position] for position in table["omitted"]]
    return table


def leave_one_out_many(
    y: ArrayLike,
    v: ArrayLike,
    *,
    tau2: Tau2Method = "reml",
    interval: IntervalMethod = "guarded_hartung_knapp",
    level: float = 0.95,
) -> pd.DataFrame:
    """Pool many effects again without each estimate in turn.

    Parameters
    ----------
    y, v : array_like, shape (effects, sites)
        As in :func:`pool_many`.

    Returns
    -------
    DataFrame
        One row an effect and usable estimate that was left out: ``effect`` and ``omitted``, positions from 0, and the columns of
        :func:`pool_many`.
    """
    y, v = np.asarray(y, dtype=float), np.asarray(v, dtype=float)
    if y.ndim != 2 or y.shape != v.shape:
        raise ValueError(f"y and v need the same shape (effects, sites); they have {y.shape} and {v.shape}")
    _checked(tau2, interval, level)
    usable = _usable(y, v)
    effect, omitted = np.nonzero(usable)
    shared = usable.sum(axis=1) >= _SHARED_FROM
    parts, order = [], []
    direct = np.flatnonzero(~shared[effect])
    if direct.size or not effect.size:
        without = y[effect[direct]]
        without[np.arange(direct.size), omitted[direct]] = np.nan
        parts.append(_pool(without, v[effect[direct]], tau2, interval, level)[0])
        order.append(direct)
    refused = (np.isfinite(y) & np.isfinite(v) & ~usable).sum(axis=1)
    starts = np.searchsorted(effect, np.arange(len(y)))
    for row in np.flatnonzero(shared):
        here = usable[row]
        rows = WithoutOne(y[row][here], v[row][here])
        k = rows.count
        parts.append(_columns(rows, k, np.full(k.size, refused[row]), tau2, interval, level)[0])
        order.append(starts[row] + np.arange(k.size))
    back = np.argsort(np.concatenate(order), kind="stable")
    columns = {name: np.concatenate([part[name] for part in parts])[back] for name in parts[0]}
    table = _table(columns, method_text(tau2, interval))
    table.insert(0, "effect", effect)
    table.insert(1, "omitted", omitted)
    return table


def influence(
    y: ArrayLike,
    v: ArrayLike,
    names: Sequence[object] | None = None,
    *,
    tau2: Tau2Method = "reml",
    interval: IntervalMethod = "guarded_hartung_knapp",
    level: float = 0.95,
) -> pd.DataFrame:
    """Return how much each estimate moves the pooled result, as metafor's ``influence`` does for a model without moderators.

    Viechtbauer & Cheung (2010), Outlier and influence diagnostics for meta-analysis. "Influential" is metafor's rule: |dffits| above
    ``3 / sqrt(k - 1)``, Cook's distance above the median of chi-squared with 1 df, hat above 3 / k, or |dfbs| above 1.

    Parameters
    ----------
    y, v, names, tau2, interval, level
        As in :func:`leave_one_out`.

    Returns
    -------
    DataFrame
        One row a usable estimate: ``name``, ``rstudent``, ``dffits``, ``cook_d``, ``cov_r``, ``tau2_del``, ``qe_del``, ``hat``, ``weight``
        (percent), ``dfbs``, ``influential``, ``status`` and ``reason``. Fewer than three usable estimates: no numbers.
    """
    y, v = np.atleast_1d(np.asarray(y, dtype=float)), np.atleast_1d(np.asarray(v, dtype=float))
    full = pool(y, v, tau2=tau2, interval=interval, level=level)
    usable = np.flatnonzero(_usable(y, v))
    y, v = y[usable], v[usable]
    table = pd.DataFrame({"name": [position if names is None else names[position] for position in usable.tolist()]})
    numbers = ["rstudent", "dffits", "cook_d", "cov_r", "tau2_del", "qe_del", "hat", "weight", "dfbs"]
    if usable.size < 3:
        reason = f"influence needs at least 3 sites (k = {usable.size})"
        return table.assign(**dict.fromkeys(numbers, np.nan), influential=False, status="not_estimable", reason=reason)
    without = leave_one_out(y, v, tau2=tau2, interval=interval, level=level)
    deleted = np.zeros(y.size) if tau2 == "fixed" else without["tau2"].to_numpy()
    hat = 1 / (v + (full.tau2 or 0.0))
    hat = hat / hat.sum()
    variance = without["std_error"].to_numpy() ** 2
    shared = SharedSums(y, v)(deleted)[:, 0]
    shift = full.estimate - without["estimate"].to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        # The variance factor of Hartung and Knapp without each site.
        factor = variance * (shared - 1 / (v + deleted))
        table["rstudent"] = (y - without["estimate"].to_numpy()) / np.sqrt((v + deleted) * factor + variance)
        table["dffits"] = shift / np.sqrt(factor * hat * (v + deleted))
        table["cook_d"] = shift**2 / full.std_error**2
        table["cov_r"] = variance / full.std_error**2
        table["tau2_del"] = deleted
        table["qe_del"] = without["q"].to_numpy()
        table["hat"] = hat
        table["weight"] = 100 * hat
        table["dfbs"] = shift / np.sqrt(factor / shared)
    far = table["dffits"].abs() > 3 / np.sqrt(y.size - 1)
    table["influential"] = (
        far | (table["cook_d"] > chi_squared_quantile(0.5, 1.0)) | (table["hat"] > 3 / y.size) | (table["dfbs"].abs() > 1)
    )
    absent = ~np.isfinite(table[numbers]).all(axis=1)
    reason = np.where(absent, "without it the others are equal, so their standard error is zero", "")
    return table.assign(status=np.where(absent, "flagged", "estimated"), reason=reason)


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


def _table(columns: dict[str, np.ndarray], method: str) -> pd.DataFrame:
    table = pd.DataFrame(columns)
    table["q_df"] = table["q_df"].astype("Int64")
    table.insert(len(table.columns) - 2, "method", method)
    return table


def _usable(y: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.isfinite(y) & np.isfinite(v) & (v > 0)


def _checked(tau2: str, interval: str, level: float) -> None:
    if tau2 not in TAU2_METHODS:
        raise ValueError(f"unknown tau2 method {tau2!r}; one of {', '.join(TAU2_METHODS)}")
    if interval not in INTERVAL_METHODS:
        raise ValueError(f"unknown interval {interval!r}; one of {', '.join(INTERVAL_METHODS)}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")


def _pool(y: np.ndarray, v: np.ndarray, tau2: str, interval: str, level: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    _checked(tau2, interval, level)
    usable = _usable(y, v)
    k = usable.sum(axis=1)
    used = usable & (k >= 2)[:, None]
    effects = Effects(np.where(used, y, 0.0), np.where(used, v, 1.0), used)
    refused = (np.isfinite(y) & np.isfinite(v) & ~usable).sum(axis=1)
    columns, variance = _columns(effects, k, refused, tau2, interval, level)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = effects.weights(np.nan_to_num(variance))
        return columns, np.where(used, weights / weights.sum(axis=1)[:, None], 0.0)


def _columns(
    rows: Rows, k: np.ndarray, refused: np.ndarray, tau2: str, interval: str, level: float
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the columns of :func:`pool_many` for every row, and the between-site variance that was used."""
    enough = k >= 2
    df = np.where(enough, k - 1, np.nan)
    everything = np.arange(k.size)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        zero = rows.sums(np.zeros(k.size), everything)
        variance, searched = between_variance(rows, tau2, zero, df)
        found = rows.sums(variance, everything)
        mean, classic, critical_k = found.mean, 1 / np.sqrt(found.one), critical_value(level, df)
        factor = found.q / df
        if interval == "z":
            error, test_df, critical = classic, np.full(k.size, np.inf), critical_value(level)
        else:
            if interval == "guarded_hartung_knapp":
                factor = np.maximum(factor, 1.0)
            error, test_df, critical = classic * np.sqrt(factor), df, critical_k
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
            columns |= {"i2": np.where(zero.q > 0, np.maximum(0, 100 * (zero.q - df) / zero.q), 0.0), "h2": zero.q / df}
            prediction = nothing
        else:
            low, high = q_profile(rows, zero.q, df, level)
            typical = df * zero.one / (zero.one**2 - zero.two)
            columns |= {"tau2": variance, "tau2_low": low, "tau2_high": high}
            columns |= {"i2": 100 * variance / (typical + variance), "h2": variance / typical + 1}
            prediction = critical_k * np.sqrt(variance + error**2)
        columns |= {"q": zero.q, "q_df": df, "q_p": chi_squared_p(zero.q, df)}
        columns |= {"prediction_low": mean - prediction, "prediction_high": mean + prediction}

    columns = {name: np.where(enough, values, np.nan) for name, values in columns.items()}
    without_error = enough & (error == 0)
    reason, status = np.full(k.size, "", dtype=object), np.full(k.size, "estimated", dtype=object)
    for row in np.flatnonzero(~enough | (refused > 0) | searched | without_error):
        reason[row] = _reason(int(k[row]), int(refused[row]), bool(searched[row]), bool(without_error[row]))
        status[row] = "flagged" if enough[row] else "not_estimable"
    columns |= {"k": k, "status": status, "reason": reason}
    return columns, variance


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
