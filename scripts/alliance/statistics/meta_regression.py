"""Meta-regression: pooled estimates as a linear function of what sites are like.

Follows the R package metafor (``rma`` with moderators; Viechtbauer, 2010), against which it is tested.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance.statistics import meta_analysis
from alliance.statistics.distributions import chi_squared_p, chi_squared_quantile, critical_value, two_sided_p
from alliance.statistics.meta_analysis import IntervalMethod, Tau2Method

DESCRIPTIVE_BELOW = 10
COLUMNS = ("name", "estimate", "std_error", "statistic", "df", "p_value", "ci_low", "ci_high")
_STEPS = 200
_COLLINEAR = 1e-10


@dataclass(frozen=True)
class MetaRegression:
    """A meta-regression. Numbers are None where they do not exist; then ``reason`` says why.

    Attributes
    ----------
    coefficients : DataFrame
        One row a coefficient, the intercept first: ``name, estimate, std_error, statistic, df, p_value, ci_low, ci_high``; empty where
        there is no fit. ``df`` is k - p for Hartung-Knapp, infinite for the normal.
    vcov : ndarray, shape (p, p)
        Sampling covariance of the coefficients.
    qm, qm_df, qm_df_residual, qm_p : float or None
        Test of all moderators together: F with (p - 1, k - p) degrees of freedom for Hartung-Knapp, else chi-squared with p - 1.
    qe, qe_df, qe_p : float or None
        Test of the heterogeneity that moderators leave.
    tau2, tau2_low, tau2_high : float or None
        Variance between sites that moderators leave, and its Q-profile interval; None for the fixed-effect model.
    i2 : float or None
        Share of the unexplained variance that is not sampling error, percent; None for the fixed-effect model.
    r2 : float or None
        Share of the variance between sites that moderators explain, percent: ``(tau2 without them - tau2) / tau2 without them``, not below
        0 (Raudenbush, 2009); 0 where there is none to explain, None for the fixed-effect model.
    k, p : int
        Sites and coefficients.
    design, residuals, variance : ndarray, shapes (k, p), (k,), (k,)
        Design matrix, estimates minus fitted values, and marginal variances of the sites that were used.
    used : ndarray of bool
        Which of the given estimates were used.
    method, status, reason : str
        What was done; ``estimated``, ``flagged`` or ``not_estimable``; and why.
    """

    coefficients: pd.DataFrame
    vcov: np.ndarray
    qm: float | None
    qm_df: int | None
    qm_df_residual: int | None
    qm_p: float | None
    qe: float | None
    qe_df: int | None
    qe_p: float | None
    tau2: float | None
    tau2_low: float | None
    tau2_high: float | None
    i2: float | None
    r2: float | None
    k: int
    p: int
    design: np.ndarray
    residuals: np.ndarray
    variance: np.ndarray
    used: np.ndarray
    method: str
    status: str
    reason: str

    @property
    def names(self) -> list[str]:
        return self.coefficients["name"].tolist()


def meta_regression(
    y: ArrayLike,
    v: ArrayLike,
    moderators: pd.DataFrame | ArrayLike,
    names: Sequence[str] | None = None,
    *,
    tau2: Tau2Method = "reml",
    interval: IntervalMethod = "guarded_hartung_knapp",
    level: float = 0.95,
) -> MetaRegression:
    """Regress independent estimates on moderators, with an intercept.

    Parameters
    ----------
    y, v : array_like, shape (k,)
        Estimates and their sampling variances.
    moderators : DataFrame or array_like, shape (k,) or (k, m)
        Moderators, numbers or booleans; text and categories of a DataFrame are compared with their first value in order. A row with a
        missing moderator, or an estimate that cannot be used, is left out.
    names : sequence of str, optional
        Names of the moderators; default a DataFrame's columns, or ``moderator_1``...
    tau2, interval, level
        As in :func:`alliance.statistics.meta_analysis.pool`.

    Returns
    -------
    MetaRegression
        Without numbers where there are not more than p + 1 sites (p coefficients with the intercept), or where moderators determine each
        other. Fewer than 10 sites: flagged, descriptive only (a convention).

    Raises
    ------
    ValueError
        Unknown method, level outside 0-1, or lengths that differ.
    """
    meta_analysis.pool([], [], tau2=tau2, interval=interval, level=level)
    y, v = np.asarray(y, dtype=float), np.asarray(v, dtype=float)
    table, complete = _design(moderators, names)
    if y.ndim != 1 or y.shape != v.shape or len(table) != y.size:
        raise ValueError(f"y, v and moderators need the same length; they have {y.shape}, {v.shape} and {len(table)}")
    used = np.isfinite(y) & np.isfinite(v) & (v > 0) & complete
    y, v, x = y[used], v[used], table.to_numpy(dtype=float)[used]
    coefficients = list(table.columns)
    k, p = x.shape
    method = meta_analysis.method_text(tau2, interval) + ", meta-regression"
    if k <= p + 1:
        return _refused(used, k, p, method, f"needs more than {p + 1} sites for {p} coefficients; has {k}")
    determined = _determined(x, coefficients)
    if determined:
        return _refused(used, k, p, method, f"moderators that the others determine: {', '.join(determined)}")

    df = k - p
    between, converged = _tau2(y, v, x, tau2)
    beta, vcov, q = _weighted(y, v + between, x)
    factor = 1.0 if interval == "z" else q / df
    vcov = vcov * (max(1.0, factor) if interval == "guarded_hartung_knapp" else factor)
    error = np.sqrt(np.diagonal(vcov))
    test_df = np.inf if interval == "z" else float(df)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(error > 0, beta / error, np.nan)
    margin = critical_value(level, test_df) * error
    qe = _weighted(y, v, x)[2]
    reasons = []
    if (~used).any():
        reasons.append(f"left out, without an estimate or a moderator: {int((~used).sum())}")
    if k < DESCRIPTIVE_BELOW:
        reasons.append(f"descriptive only: fewer than {DESCRIPTIVE_BELOW} sites ({k})")
    if not converged:
        reasons.append("the estimate of tau2 did not converge")
    if not (error > 0).all():
        reasons.append("the moderators fit exactly, so the Hartung-Knapp standard error is zero")
    return MetaRegression(
        coefficients=pd.DataFrame(
            {
                "name": coefficients,
                "estimate": beta,
                "std_error": error,
                "statistic": statistic,
                "df": test_df,
                "p_value": two_sided_p(statistic, test_df),
                "ci_low": beta - margin,
                "ci_high": beta + margin,
            }
        ),
        vcov=vcov,
        **_omnibus(beta, vcov, interval, df),
        qe=qe,
        qe_df=df,
        qe_p=float(chi_squared_p(qe, df)),
        **_heterogeneity(y, v, x, tau2, between, level),
        k=k,
        p=p,
        design=x,
        residuals=y - x @ beta,
        variance=v + between,
        used=used,
        method=method,
        status="flagged" if reasons else "estimated",
        reason="; ".join(reasons),
    )


def _omnibus(beta: np.ndarray, vcov: np.ndarray, interval: str, df: int) -> dict[str, float | int | None]:
    from scipy import special

    m = beta.size - 1
    if m == 0 or not np.isfinite(np.linalg.cond(vcov)) or not (np.diagonal(vcov) > 0).all():
        return {"qm": None, "qm_df": None, "qm_df_residual": None, "qm_p": None}
    wald = float(beta[1:] @ np.linalg.solve(vcov[1:, 1:], beta[1:]))
    if interval == "z":
        return {"qm": wald, "qm_df": m, "qm_df_residual": None, "qm_p": float(chi_squared_p(wald, m))}
    return {"qm": wald / m, "qm_df": m, "qm_df_residual": df, "qm_p": float(special.fdtrc(m, df, wald / m))}


def _heterogeneity(y: np.ndarray, v: np.ndarray, x: np.ndarray, tau2: str, between: float, level: float) -> dict[str, float | None]:
    if tau2 == "fixed":
        return dict.fromkeys(("tau2", "tau2_low", "tau2_high", "i2", "r2"))
    df = y.size - x.shape[1]
    tail = (1 - level) / 2
    low, high = (_where_q_is(y, v, x, float(chi_squared_quantile(probability, df))) for probability in (1 - tail, tail))
    typical = df / float(np.trace(_projection(v, x)))
    without = meta_analysis.pool(y, v, tau2=tau2, level=level).tau2
    r2 = max(0.0, 100 * (without - between) / without) if without > 0 else 0.0
    return {"tau2": between, "tau2_low": low, "tau2_high": high, "i2": 100 * between / (typical + between), "r2": r2}


def _design(moderators: pd.DataFrame | ArrayLike, names: Sequence[str] | None) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the design matrix with its intercept, and which rows are complete."""
    if isinstance(moderators, pd.DataFrame):
        table = moderators.reset_index(drop=True)
    else:
        values = np.asarray(moderators)
        values = values[:, None] if values.ndim == 1 else values
        table = pd.DataFrame(values, columns=[f"moderator_{i + 1}" for i in range(values.shape[1])]).infer_objects()
    if names is not None:
        if len(names) != table.shape[1]:
            raise ValueError(f"{table.shape[1]} moderators need as many names; there are {len(names)}")
        table = table.set_axis(list(names), axis=1)
    complete = table.notna().all(axis=1).to_numpy(copy=True)
    columns = {"intercept": np.ones(len(table))}
    for name in table.columns:
        values = table[name]
        if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
            columns[str(name)] = values.astype("float64").to_numpy()
            complete &= np.isfinite(columns[str(name)])
        else:
            for category in sorted(values[complete].unique(), key=str)[1:]:
                columns[f"{name}: {category}"] = values.eq(category).fillna(False).to_numpy(dtype=float)
    return pd.DataFrame(columns), complete


def _determined(x: np.ndarray, names: list[str]) -> list[str]:
    """Return the columns that those before them determine."""
    found, kept = [], np.empty((x.shape[0], 0))
    for column, name in enumerate(names):
        value = x[:, column]
        left = value - kept @ (kept.T @ value)
        left = left - kept @ (kept.T @ left)
        size = np.linalg.norm(left)
        if size <= _COLLINEAR * np.linalg.norm(value):
            found.append(name)
        else:
            kept = np.column_stack([kept, left / size])
    return found


def _weighted(y: np.ndarray, variance: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return coefficients, their covariance and the weighted squares left over."""
    root = 1 / np.sqrt(variance)
    orthogonal, upper = np.linalg.qr(x * root[:, None])
    scaled = y * root
    projected = orthogonal.T @ scaled
    inverse = np.linalg.inv(upper)
    left = scaled - orthogonal @ projected
    return inverse @ projected, inverse @ inverse.T, float(left @ left)


def _projection(variance: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return P = W - W X (X' W X)^-1 X' W."""
    root = 1 / np.sqrt(variance)
    orthogonal = np.linalg.qr(x * root[:, None])[0]
    return root[:, None] * (np.eye(variance.size) - orthogonal @ orthogonal.T) * root


def _tau2(y: np.ndarray, v: np.ndarray, x: np.ndarray, method: str) -> tuple[float, bool]:
    df = y.size - x.shape[1]
    if method == "fixed":
        return 0.0, True
    if method == "paule_mandel":
        return _where_q_is(y, v, x, float(df)), True
    if method == "dersimonian_laird":
        return max(0.0, (_weighted(y, v, x)[2] - df) / float(np.trace(_projection(v, x)))), True
    plain = _projection(np.ones_like(v), x)
    tau2, scale = max(0.0, float(y @ plain @ y - np.diagonal(plain) @ v) / df), float(v.min())
    for _ in range(_STEPS):
        p = _projection(v + tau2, x)
        residual = p @ y
        step = (float(residual @ residual) - float(np.trace(p))) / float((p * p).sum())
        if tau2 == 0 and step <= 0:
            return 0.0, True
        while tau2 + step < 0:
            step = step / 2 if tau2 > 1e-12 * scale else -tau2
        tau2 += step
        if abs(step) <= 1e-10 * (tau2 + scale):
            return (0.0 if tau2 < 1e-8 * scale else tau2), True
    return _by_search(lambda value: _restricted_deviance(y, v + value, x), 10 * float(np.var(y, ddof=1))), False


def _restricted_deviance(y: np.ndarray, variance: np.ndarray, x: np.ndarray) -> float:
    _, vcov, q = _weighted(y, variance, x)
    return float(np.log(variance).sum() - np.linalg.slogdet(vcov)[1] + q)


def _by_search(deviance: Callable[[float], float], highest: float) -> float:
    from scipy.optimize import minimize_scalar

    grid = np.concatenate([[0.0], np.geomspace(1e-8 * highest, highest, 200)])
    best = int(np.argmin([deviance(point) for point in grid]))
    bounds = (grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)])
    found = minimize_scalar(deviance, bounds=bounds, method="bounded", options={"xatol": 1e-12 * highest})
    return float(found.x) if found.fun < deviance(grid[best]) else float(grid[best])


def _where_q_is(y: np.ndarray, v: np.ndarray, x: np.ndarray, target: float) -> float:
    """Return the tau2 at which the generalised Q falls to ``target``; 0 where it is below already. Newton's method on 1 / Q."""
    tau2, scale = 0.0, float(v.min())
    for _ in range(_STEPS):
        beta, _, q = _weighted(y, v + tau2, x)
        if tau2 == 0 and q <= target:
            return 0.0
        step = q * (q - target) / (target * float((((y - x @ beta) / (v + tau2)) ** 2).sum()))
        tau2 = max(0.0, tau2 + step)
        if abs(step) <= 1e-10 * (tau2 + scale):
            break
    return tau2


def _refused(used: np.ndarray, k: int, p: int, method: str, reason: str) -> MetaRegression:
    nothing = dict.fromkeys(
        ("qm", "qm_df", "qm_df_residual", "qm_p", "qe", "qe_df", "qe_p", "tau2", "tau2_low", "tau2_high", "i2", "r2"), None
    )
    return MetaRegression(
        coefficients=pd.DataFrame(columns=list(COLUMNS)),
        vcov=np.empty((0, 0)),
        **nothing,
        k=k,
        p=p,
        design=np.empty((0, p)),
        residuals=np.empty(0),
        variance=np.empty(0),
        used=used,
        method=method,
        status="not_estimable",
        reason=reason,
    )
