"""Correlations and partial correlations with standard errors that respect clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.covariance import cluster_codes, cluster_sums, partial_correlation
from alliance.statistics.distributions import critical_value, two_sided_p
from alliance.statistics.resampling import covariances, cross_products, jackknife_weights

MIN_CLUSTERS = 5


@dataclass(frozen=True)
class Correlation:
    """A correlation with its interval. Numbers are None where they do not exist; then ``reason`` says why.

    Attributes
    ----------
    r, z, se_z : float or None
        Correlation, its Fisher z and the standard error of z.
    ci_low, ci_high : float or None
        Interval of r, symmetric around z.
    statistic, p_value : float or None
        z / se_z and its two-sided test of zero.
    n, n_clusters : int
        Complete rows, and clusters among them (0 without clusters).
    df : float or None
        n_clusters - 1 where the standard error is cluster-robust; None for the normal.
    method : str
        ``cluster-robust`` or ``independent clients``.
    status, reason : str
        ``estimated``, ``flagged`` or ``not_estimable``, and why.
    """

    r: float | None
    z: float | None
    se_z: float | None
    ci_low: float | None
    ci_high: float | None
    statistic: float | None
    p_value: float | None
    n: int
    n_clusters: int
    df: float | None
    method: str
    status: str
    reason: str


def correlation(
    x: ArrayLike,
    y: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    controls: ArrayLike | None = None,
    level: float = 0.95,
    cluster_error: Literal["sandwich", "jackknife"] = "sandwich",
    min_clusters: int = MIN_CLUSTERS,
) -> Correlation:
    """Return the correlation of two variables, given controls if there are any.

    The standard error of z is the delta-method sandwich: influences ``zx zy - r (zx² + zy²) / 2`` of the standardised variables (or of
    their residuals on the controls) are summed within clusters and their squares multiplied by G / (G - 1); the interval uses t(G - 1).
    Without enough clusters it is ``1 / sqrt(n - 3 - controls)`` with the normal.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Variables; rows with a missing value (also of controls or clusters) are left out.
    clusters : array_like, shape (n,), optional
        Which cluster (therapist) a row belongs to.
    controls : array_like, shape (n,) or (n, q), optional
        Variables to be held constant.
    level : float
        Confidence level.
    cluster_error : {"sandwich", "jackknife"}
        ``jackknife`` takes the error of z from leaving out each cluster in turn: larger, and with few clusters nearer to the truth.
    min_clusters : int
        Fewer clusters: rows are taken as independent, flagged with the reason.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    controls = np.empty((x.size, 0)) if controls is None else np.asarray(controls, dtype=float).reshape(x.size, -1)
    table = np.column_stack([x, y, controls])
    usable = np.isfinite(table).all(axis=1)
    if clusters is not None:
        import pandas as pd

        clusters = np.asarray(clusters, dtype=object)
        usable &= ~np.asarray(pd.isna(clusters))
    table = table[usable]
    n, held = len(table), controls.shape[1]
    codes, count = (None, 0) if clusters is None else cluster_codes(clusters[usable]) if n else (None, 0)
    if n < 4 + held:
        return _none(n, count, f"needs at least {4 + held} clients, has {n}")
    spread = table.std(axis=0)
    if (spread <= 1e-12 * np.abs(table).max(axis=0)).any():
        return _none(n, count, "a variable is constant")
    standardised = (table - table.mean(axis=0)) / spread
    pair = standardised[:, :2]
    if held:
        given = standardised[:, 2:]
        coefficients, _, rank, _ = np.linalg.lstsq(given, pair, rcond=1e-10)
        if rank < held:
            return _none(n, count, "the controls determine each other")
        pair = pair - given @ coefficients
        left = pair.std(axis=0)
        if (left <= 1e-6).any():
            return _none(n, count, "the controls determine a variable completely")
        pair = pair / left
    r = float(np.mean(pair[:, 0] * pair[:, 1]))
    if abs(r) >= 1 - 1e-12:
        return _none(n, count, "the two variables determine each other (r = ±1)")
    if clusters is not None and count >= min_clusters:
        error = _jackknife_error(standardised, codes) if cluster_error == "jackknife" else _sandwich_error(pair, r, codes, count)
        return _summary(r, error, n, count, float(count - 1), "cluster-robust", "", level)
    reason = "" if clusters is None else f"fewer than {min_clusters} therapists ({count}): clients taken as independent"
    return _summary(r, 1 / np.sqrt(n - 3 - held), n, count, None, "independent clients", reason, level)


def correlation_from_summary(
    r: float, n: float, *, controls: int = 0, effective_n: float | None = None, level: float = 0.95
) -> Correlation:
    """Return a correlation known only by its value and sample size, with standard error ``1 / sqrt(n - 3 - controls)``.

    Parameters
    ----------
    r, n : float
        Correlation and number of clients.
    controls : int
        Number of variables held constant.
    effective_n : float, optional
        Sample size of independent clients worth as much, from :func:`effective_n`; default ``n``.
    """
    if not (np.isfinite(r) and np.isfinite(n)):
        return _none(int(n) if np.isfinite(n) else 0, 0, "correlation or sample size is missing")
    if abs(r) >= 1:
        return _none(int(n), 0, "the correlation is not inside (-1, 1)")
    independent = n if effective_n is None else effective_n
    if independent - 3 - controls <= 0:
        return _none(int(n), 0, f"needs more than {3 + controls} independent clients")
    return _summary(float(r), 1 / np.sqrt(independent - 3 - controls), int(n), 0, None, "independent clients", "", level)


def effective_n(cluster_sizes: ArrayLike, icc_x: float, icc_y: float) -> float:
    """Return the number of independent clients that tell as much about a correlation as the clustered ones.

    ``n / (1 + (m - 1) icc_x icc_y)`` with ``m = sum(size²) / n``, the size of the cluster of an average client. The product of both
    intraclass correlations enters because clients of one cluster share products of deviations only as far as both variables are shared.

    Parameters
    ----------
    cluster_sizes : array_like
        Clients in each cluster.
    icc_x, icc_y : float
        Intraclass correlations of the two variables, 0-1; below zero counts as zero.
    """
    sizes = np.asarray(cluster_sizes, dtype=float)
    n = sizes.sum()
    return float(n / (1 + ((sizes**2).sum() / n - 1) * max(icc_x, 0.0) * max(icc_y, 0.0)))


def _sandwich_error(pair: np.ndarray, r: float, codes: np.ndarray, count: int) -> float:
    scores = pair[:, 0] * pair[:, 1] - r * (pair**2).sum(axis=1) / 2
    sums = cluster_sums(scores, codes, count)
    return float(np.sqrt(count / (count - 1) * (sums**2).sum()) / len(pair) / (1 - r * r))


def _jackknife_error(standardised: np.ndarray, codes: np.ndarray) -> float:
    products = cross_products(standardised, codes, min_clusters=1)
    count = len(products.sums)
    left_out = covariances(products, jackknife_weights(count))
    z = np.arctanh(partial_correlation(left_out, 0, 1, list(range(2, standardised.shape[1]))))
    return float(np.sqrt((count - 1) / count * ((z - z.mean()) ** 2).sum()))


def _summary(r: float, error: float, n: int, count: int, df: float | None, method: str, reason: str, level: float) -> Correlation:
    if not error > 0:
        return _none(n, count, "the standard error is zero")
    z = float(np.arctanh(r))
    spread = np.inf if df is None else df
    margin = float(critical_value(level, spread)) * error
    return Correlation(
        r,
        z,
        float(error),
        float(np.tanh(z - margin)),
        float(np.tanh(z + margin)),
        z / float(error),
        float(two_sided_p(z / error, spread)),
        n,
        count,
        df,
        method,
        "flagged" if reason else "estimated",
        reason,
    )


def _none(n: int, count: int, reason: str) -> Correlation:
    return Correlation(None, None, None, None, None, None, None, n, count, None, "", "not_estimable", reason)
