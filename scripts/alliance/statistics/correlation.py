"""Correlations and partial correlations with standard errors that respect clusters, one at a time or many at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.covariance import cluster_sums, part_correlation, partial_correlation
from alliance.statistics.distributions import critical_value, two_sided_p

MIN_CLUSTERS = 5
DETERMINED = 1 - 1e-12
_SINGULAR = 1e-12

ClusterError = Literal["jackknife", "sandwich"]


@dataclass(frozen=True)
class Correlations:
    """Correlations of paired columns.

    Attributes
    ----------
    r, se_z : ndarray, shape (m,)
        Correlations and the standard errors of their Fisher z; NaN where ``reason`` is not empty.
    n, n_clusters : ndarray of int, shape (m,)
        Complete rows, and clusters among them (0 without clusters).
    df : ndarray, shape (m,)
        n_clusters - 1 where the standard error respects clusters; infinite for the normal.
    method : list of str
        ``cluster_jackknife``, ``cluster_robust`` (sandwich) or ``independent``.
    reason : list of str
        Why there is no correlation; empty where there is one.
    caution : list of str
        Why another standard error than the one asked for is given; empty where it is that one.
    rows : ndarray, shape (rows, m)
        Share of each row in the error of each z; 0 where a row lacks a value.
    clusters : ndarray, shape (clusters, m)
        Share of each cluster, squares summing to the variance of z; 0 where the error does not respect clusters.
    """

    r: np.ndarray
    se_z: np.ndarray
    n: np.ndarray
    n_clusters: np.ndarray
    df: np.ndarray
    method: list[str]
    reason: list[str]
    caution: list[str]
    rows: np.ndarray
    clusters: np.ndarray

    def vcov_z(self) -> np.ndarray:
        """Return the sampling covariance of the Fisher z's, shape (m, m); NaN where there is no correlation.

        Two z's that both respect clusters covary by the shares of the clusters; otherwise they correlate as the shares of their rows do.
        """
        size = np.sqrt((self.rows**2).sum(axis=0))
        scaled = self.rows / np.where(size > 0, size, 1.0) * self.se_z
        respected = np.isfinite(self.df)
        both = respected[:, None] & respected[None, :]
        vcov = np.where(both, self.clusters.T @ self.clusters, scaled.T @ scaled)
        absent = ~np.isfinite(self.se_z)
        vcov[absent, :] = vcov[:, absent] = np.nan
        vcov[np.diag_indices(len(vcov))] = self.se_z**2
        return vcov


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
        n_clusters - 1 where the standard error respects clusters; None for the normal.
    method : str
        ``cluster_jackknife``, ``cluster_robust`` (sandwich) or ``independent``.
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


def correlations(
    x: ArrayLike,
    y: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    controls: ArrayLike | None = None,
    part: bool = False,
    cluster_error: ClusterError = "jackknife",
    min_clusters: int = MIN_CLUSTERS,
    min_rows: int = 0,
) -> Correlations:
    """Return the correlation of each column of ``x`` with the same column of ``y``, given controls if there are any.

    The standard error of z leaves out each cluster in turn: ``(G - 1) / G`` times the sum of squared deviations of the G values of z from
    their mean (delete-one-group jackknife; Bell & McCaffrey, 2002, on how it relates to the sandwich), with t(G - 1). The sandwich sums the
    influences ``zx zy - r (zx² + zy²) / 2`` of the standardised variables (or of their residuals on the controls) within clusters and
    multiplies their squares by G / (G - 1), as lavaan does. Without enough clusters it is ``1 / sqrt(n - 3 - controls)`` with the normal;
    for a part correlation the sandwich over single rows.

    Parameters
    ----------
    x, y : array_like, shape (n, m)
        Variables; a row with a missing value in x, y, controls or clusters is left out of that pair.
    clusters : array_like, shape (n,), optional
        Which cluster (therapist) a row belongs to.
    controls : array_like, shape (n,) or (n, q), optional
        Variables to be held constant in every pair.
    part : bool
        Hold the controls constant in ``y`` only (part correlation, the r of a residual gain); otherwise in both (partial correlation).
    cluster_error : {"jackknife", "sandwich"}
        The jackknife is larger and covers better with few clusters; the sandwich is given in its place, with a caution, where a pair has
        no correlation without one of its clusters.
    min_clusters : int
        Fewer clusters: rows are taken as independent, with a caution.
    min_rows : int
        Fewer complete rows (at least 4 + q): no correlation.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    controls = np.empty((len(x), 0)) if controls is None else np.asarray(controls, dtype=float).reshape(len(x), -1)
    held, m = controls.shape[1], x.shape[1]
    codes, count = _codes(clusters, len(x))
    used = np.isfinite(x) & np.isfinite(y) & (np.isfinite(controls).all(axis=1) & (codes >= 0))[:, None]
    n = used.sum(axis=0)
    needed = max(min_rows, 4 + held)
    variables, constant = _standardised([x, y, *(np.broadcast_to(one[:, None], x.shape) for one in controls.T)], used)
    codes = np.maximum(codes, 0)
    sums = _products(variables, used, codes, max(count, 1))
    total = sums.sum(axis=0)
    covariance = _covariance(total)
    pair, reason = _residual_pair(variables, covariance, constant)
    left = pair[0]
    if part:
        # The slopes on the controls are estimated too: what the controls explain of x does not inform about the part correlation.
        pair = (variables[0], pair[1])
        left = _residual(variables, covariance, 0)
    reason = [f"needs at least {needed} clients with both scores; has {n[i]}" if n[i] < needed else reason[i] for i in range(m)]
    r = (pair[0] * pair[1]).sum(axis=0) / np.maximum(n, 1)
    for i in np.flatnonzero(np.abs(r) >= DETERMINED):
        reason[i] = reason[i] or f"the two scores determine each other (r = {'-' if r[i] < 0 else ''}1)"
    absent = np.array([bool(text) for text in reason], dtype=bool)
    r = np.where(absent, np.nan, r)
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = np.nan_to_num((left * pair[1] - r * (pair[0] ** 2 + pair[1] ** 2) / 2) / np.maximum(n, 1) / (1 - r**2))
        groups = (sums[:, :, 0, 0] > 0).sum(axis=0) if count else np.zeros(m, dtype=int)
        enough = (groups >= min_clusters) & (groups > 1) & ~absent
        robust = cluster_sums(rows, codes, max(count, 1)) * np.sqrt(groups / (groups - 1))
        shares, left_out = robust, np.zeros(m, dtype=bool)
        if cluster_error == "jackknife" and enough.any():
            without, left_out = _left_out(sums[:, enough], total[enough], part), enough.copy()
            left_out[enough] = np.isfinite(without).all(axis=0)
            shares = robust.copy()
            shares[:, left_out] = without[:, left_out[enough]]
        independent = np.sqrt((rows**2).sum(axis=0) * n / (n - 1)) if part else 1 / np.sqrt(n - 3 - held)
        se_z = np.where(enough, np.sqrt((shares**2).sum(axis=0)), independent)
    for i in np.flatnonzero(~absent & ~(se_z > 0)):
        reason[i], absent[i] = "the standard error is zero", True
    few = [clusters is not None and not enough[i] and not absent[i] for i in range(m)]
    replaced = [cluster_error == "jackknife" and enough[i] and not left_out[i] for i in range(m)]
    return Correlations(
        r=np.where(absent, np.nan, r),
        se_z=np.where(absent, np.nan, se_z),
        n=n,
        n_clusters=groups,
        df=np.where(enough, groups - 1.0, np.inf),
        method=["cluster_jackknife" if left_out[i] else "cluster_robust" if enough[i] else "independent" for i in range(m)],
        reason=reason,
        caution=[
            f"fewer than {min_clusters} therapists ({groups[i]}): clients taken as independent"
            if few[i]
            else "sandwich standard error: without one of the therapists there is no correlation"
            if replaced[i]
            else ""
            for i in range(m)
        ],
        rows=rows,
        clusters=np.where(enough & ~absent, shares, 0.0),
    )


def correlation(
    x: ArrayLike,
    y: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    controls: ArrayLike | None = None,
    level: float = 0.95,
    cluster_error: ClusterError = "jackknife",
    min_clusters: int = MIN_CLUSTERS,
) -> Correlation:
    """Return the correlation of two variables, given controls if there are any, with its interval; see :func:`correlations`.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Variables.
    level : float
        Confidence level.
    clusters, controls, cluster_error, min_clusters
        As in :func:`correlations`.
    """
    columns = (np.asarray(values, dtype=float)[:, None] for values in (x, y))
    found = correlations(*columns, clusters, controls=controls, cluster_error=cluster_error, min_clusters=min_clusters)
    n, count = int(found.n[0]), int(found.n_clusters[0])
    if found.reason[0]:
        return _none(n, count, found.reason[0])
    df = float(found.df[0]) if np.isfinite(found.df[0]) else None
    return _summary(float(found.r[0]), float(found.se_z[0]), n, count, df, found.method[0], found.caution[0], level)


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
    return _summary(float(r), 1 / np.sqrt(independent - 3 - controls), int(n), 0, None, "independent", "", level)


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


def _codes(clusters: ArrayLike | None, n: int) -> tuple[np.ndarray, int]:
    """Return clusters as codes 0.. (-1: missing) and their number; zeros and 0 without clusters."""
    if clusters is None:
        return np.zeros(n, dtype=int), 0
    import pandas as pd

    codes, names = pd.factorize(np.asarray(clusters), use_na_sentinel=True)
    return codes, len(names)


def _standardised(variables: list[np.ndarray], used: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Return variables z-scored over the used rows of each column (0 elsewhere), and in which columns one of them is constant."""
    n = np.maximum(used.sum(axis=0), 1)
    constant = np.zeros(used.shape[1], dtype=bool)
    scored = []
    for values in variables:
        filled = np.where(used, values, 0.0)
        centred = np.where(used, filled - filled.sum(axis=0) / n, 0.0)
        spread = np.sqrt((centred**2).sum(axis=0) / n)
        constant |= spread <= 1e-12 * np.abs(filled).max(axis=0, initial=0.0)
        scored.append(centred / np.where(spread > 0, spread, 1.0))
    return scored, constant


def _products(variables: list[np.ndarray], used: np.ndarray, codes: np.ndarray, count: int) -> np.ndarray:
    """Return sums of (1, v)(1, v)' within clusters for every column, shape (clusters, m, p + 1, p + 1)."""
    augmented = [used.astype(float), *variables]
    size = len(augmented)
    sums = np.empty((count, used.shape[1], size, size))
    for i in range(size):
        for j in range(i, size):
            sums[:, :, i, j] = sums[:, :, j, i] = cluster_sums(augmented[i] * augmented[j], codes, count)
    return sums


def _covariance(products: np.ndarray) -> np.ndarray:
    """Return covariance matrices (divisor n) of sums of products, shape (..., p + 1, p + 1) to (..., p, p)."""
    n = np.maximum(products[..., :1, :1], 1.0)
    mean = products[..., 1:, :1] / n
    return products[..., 1:, 1:] / n - mean @ np.swapaxes(mean, -1, -2)


def _residual_pair(
    variables: list[np.ndarray], covariance: np.ndarray, constant: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], list[str]]:
    """Return the first two variables, standardised given the others, and why they do not exist in a column."""
    reason = ["one of the scores is constant: the same for all clients" if here else "" for here in constant]
    if len(variables) == 2:
        return (variables[0], variables[1]), reason
    given, cross = covariance[:, 2:, 2:], covariance[:, 2:, :2]
    singular = np.linalg.eigvalsh(given)[:, 0] <= _SINGULAR
    slopes = _slopes(covariance, cross)
    left = np.diagonal(covariance[:, :2, :2] - np.swapaxes(cross, 1, 2) @ slopes, axis1=1, axis2=2)
    for i in range(len(reason)):
        if singular[i]:
            reason[i] = reason[i] or "the controls determine each other"
        elif (left[i] <= _SINGULAR).any():
            reason[i] = reason[i] or "the controls determine a variable completely"
    pair = [_residual(variables, covariance, side) / np.sqrt(np.maximum(left[:, side], _SINGULAR)) for side in (0, 1)]
    return (pair[0], pair[1]), reason


def _slopes(covariance: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """Return slopes on the controls (variables from the third on); arbitrary where the controls determine each other."""
    given = covariance[:, 2:, 2:]
    singular = np.linalg.eigvalsh(given)[:, 0] <= _SINGULAR
    return np.linalg.solve(np.where(singular[:, None, None], np.eye(given.shape[-1]), given), cross)


def _residual(variables: list[np.ndarray], covariance: np.ndarray, side: int) -> np.ndarray:
    """Return one variable minus what the controls explain of it; the variable itself without controls."""
    if len(variables) == 2:
        return variables[side]
    slopes = _slopes(covariance, covariance[:, 2:, side : side + 1])[:, :, 0]
    return variables[side] - np.einsum("nmq,mq->nm", np.stack(variables[2:], axis=-1), slopes)


def _left_out(sums: np.ndarray, total: np.ndarray, part: bool) -> np.ndarray:
    """Return each cluster's share in the jackknife error of z, shape (clusters, m); NaN where a value without a cluster does not exist."""
    covariance = _covariance(total - sums)
    given = covariance[..., 2:, 2:]
    impossible = np.zeros(covariance.shape[:2], dtype=bool)
    if given.shape[-1]:
        impossible = np.linalg.eigvalsh(given)[..., 0] <= _SINGULAR
        covariance[impossible] = np.eye(covariance.shape[-1])
    impossible |= (np.diagonal(covariance[..., :2, :2], axis1=-2, axis2=-1) <= _SINGULAR).any(axis=-1)
    of = part_correlation if part else partial_correlation
    r = of(covariance, 0, 1, list(range(2, covariance.shape[-1])))
    z = np.arctanh(np.where(impossible | ~(np.abs(r) < DETERMINED), np.nan, r))
    present = sums[..., 0, 0] > 0
    groups = present.sum(axis=0)
    mean = np.where(present, z, 0.0).sum(axis=0) / groups
    return np.where(present, (z - mean) * np.sqrt((groups - 1) / groups), 0.0)


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
