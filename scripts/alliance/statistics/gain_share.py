"""How much of the outcome the alliance accounts for beyond intake severity and early change, with errors that respect therapists."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance.statistics.correlation import MIN_CLUSTERS, correlation
from alliance.statistics.covariance import correlation_matrix, moments, partial_correlation
from alliance.statistics.distributions import critical_value, two_sided_p
from alliance.statistics.resampling import cross_products, left_out_covariances

MEASURES = ("partial_r", "semipartial_r", "delta_r2", "share_of_rest")
_ROUNDING = 1e-12


def gain_share(
    outcome: ArrayLike,
    alliance: ArrayLike,
    covariates: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    level: float = 0.95,
    min_clusters: int = MIN_CLUSTERS,
) -> pd.DataFrame:
    """Return the unique share of the alliance in the outcome, given covariates such as intake severity and early symptoms.

    ``partial_r`` is the correlation of what the covariates leave of both; ``semipartial_r`` (part correlation) that of the outcome with
    what they leave of the alliance; ``delta_r2``, its square, the outcome variance that the alliance adds to theirs; ``share_of_rest``, the
    square of the partial, the same in parts of the variance that they leave: ``delta_r2 / (1 - r2_covariates)`` (the figure of Gaston et
    al., 1991). Errors leave out each of G therapists in turn, intervals have t(G - 1) on Fisher's z of the two correlations; those of the
    squares are the squares of their limits, from zero where the interval of the correlation holds zero.

    Parameters
    ----------
    outcome, alliance : array_like, shape (n,)
        Scores; a row with a missing value is left out.
    covariates : array_like, shape (n,) or (n, q)
        What is held constant.
    clusters : array_like, shape (n,), optional
        Each client's therapist.
    level : float
        Confidence level.
    min_clusters : int
        Fewer therapists: clients taken as independent, with a caution; the semipartial correlation then leaves out each client in turn.

    Returns
    -------
    DataFrame
        One row per measure: ``measure``, ``estimate``, ``std_error`` (in the unit of the estimate), ``ci_low``, ``ci_high``, ``z`` and
        ``se_z`` (of the correlations, to be pooled), ``df`` (infinite: normal), ``p_value`` (of the correlations), ``n``,
        ``n_clusters``, ``r2_covariates``, ``r2_total``, ``method``, ``status``, ``reason``. NaN with a reason where there is no number.
    """
    outcome, alliance = np.asarray(outcome, dtype=float), np.asarray(alliance, dtype=float)
    covariates = np.asarray(covariates, dtype=float).reshape(len(outcome), -1)
    found = correlation(alliance, outcome, clusters, controls=covariates, level=level, min_clusters=min_clusters)
    if found.r is None or found.se_z is None:
        return _table({}, found.n, found.n_clusters, np.nan, np.nan, "", "not_estimable", found.reason)
    used = np.isfinite(outcome) & np.isfinite(alliance) & np.isfinite(covariates).all(axis=1)
    if clusters is not None:
        used &= ~pd.isna(np.asarray(clusters, dtype=object))
    data = np.column_stack([alliance, outcome, covariates])[used]
    scored = (data - data.mean(axis=0)) / data.std(axis=0)
    values = _measures(moments(scored).covariance[None])[0]
    robust = found.method != "independent"
    products = cross_products(scored, np.asarray(clusters)[used] if robust and clusters is not None else None, min_clusters=0)
    left = _measures(left_out_covariances(products))
    z, df = _jackknife(np.arctanh(left[:, 1])), len(left) - 1.0
    partial = {"estimate": found.r, "std_error": found.se_z * (1 - found.r**2), "ci_low": found.ci_low, "ci_high": found.ci_high}
    partial.update(z=found.z, se_z=found.se_z)
    partial.update(df=np.inf if found.df is None else found.df, p_value=found.p_value)
    reason = found.reason
    part = {
        "estimate": values[1],
        "std_error": np.nan,
        "ci_low": np.nan,
        "ci_high": np.nan,
        "z": np.nan,
        "se_z": np.nan,
        "df": df,
        "p_value": np.nan,
    }
    if np.isfinite(z) and z > 0:
        centre, margin = np.arctanh(values[1]), float(critical_value(level, df)) * z
        part.update(std_error=z * (1 - values[1] ** 2), ci_low=np.tanh(centre - margin), ci_high=np.tanh(centre + margin), z=centre, se_z=z)
        part["p_value"] = float(two_sided_p(centre / z, df))
    else:
        without = "semipartial correlation without interval: it does not exist without one of the therapists or clients"
        reason = "; ".join(filter(None, (reason, without)))
    rows = {"partial_r": partial, "semipartial_r": part, "delta_r2": _squared(part), "share_of_rest": _squared(partial)}
    return _table(rows, found.n, found.n_clusters, values[2], values[3], found.method, "flagged" if reason else "estimated", reason)


def _measures(covariance: np.ndarray) -> np.ndarray:
    """Return partial r, semipartial r, R² of the covariates and of all; covariances are of (alliance, outcome, covariates)."""
    r = correlation_matrix(covariance)
    controls = list(range(2, r.shape[-1]))
    given, cross = r[:, 2:, 2:], r[:, 2:, :2]
    singular = np.linalg.eigvalsh(given)[:, 0] <= _ROUNDING
    r2 = np.einsum(
        "bi,bi->b", cross[:, :, 1], np.linalg.solve(np.where(singular[:, None, None], np.eye(len(controls)), given), cross)[:, :, 1]
    )
    safe = np.where(singular[:, None, None], np.eye(r.shape[-1]), r)
    partial = partial_correlation(safe, 0, 1, controls)
    part = partial * np.sqrt(np.maximum(1 - r2, 0.0))
    return np.where(singular[:, None], np.nan, np.column_stack([partial, part, r2, r2 + part**2]))


def _jackknife(values: np.ndarray) -> float:
    groups = len(values)
    return float(np.sqrt((groups - 1) / groups * ((values - values.mean()) ** 2).sum()))


def _squared(one: dict[str, float]) -> dict[str, float]:
    """Return the square of a correlation with its interval."""
    low, high = sorted((one["ci_low"] ** 2, one["ci_high"] ** 2))
    if one["ci_low"] < 0 < one["ci_high"]:
        low = 0.0
    error = 2 * abs(one["estimate"]) * one["std_error"]
    return {"estimate": one["estimate"] ** 2, "std_error": error, "ci_low": low, "ci_high": high, "df": one["df"], "p_value": np.nan}


def _table(
    rows: dict[str, dict[str, float]], n: int, n_clusters: int, r2_covariates: float, r2_total: float, method: str, status: str, reason: str
) -> pd.DataFrame:
    none = dict.fromkeys(("estimate", "std_error", "ci_low", "ci_high", "z", "se_z", "df", "p_value"), np.nan)
    table = pd.DataFrame([{"measure": name, **rows.get(name, none)} for name in MEASURES])
    return table.assign(
        n=n, n_clusters=n_clusters, r2_covariates=r2_covariates, r2_total=r2_total, method=method, status=status, reason=reason
    )
