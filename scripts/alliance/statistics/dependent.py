"""Contrasts of correlations that come from the same clients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.covariance import cluster_sums, delta, moments, normal_theory, sandwich
from alliance.statistics.distributions import critical_value, two_sided_p
from alliance.statistics.jackknife import covariance_of_sums, cross_products

_SINGULAR = 1e-12


@dataclass(frozen=True)
class DependentTest:
    """A test of two dependent correlations. Numbers are None where they do not exist; then ``reason`` says why.

    Attributes
    ----------
    difference : float or None
        First correlation minus second.
    statistic, p_value : float or None
        t or z, and its two-sided p.
    df : float or None
        Degrees of freedom of t; None for z.
    method, status, reason : str
        What was done; ``estimated`` or ``not_estimable``; and why.
    """

    difference: float | None
    statistic: float | None
    df: float | None
    p_value: float | None
    method: str
    status: str
    reason: str


@dataclass(frozen=True)
class DependentContrast:
    """A function of the covariance matrix of one sample. Numbers are None where they do not exist; then ``reason`` says why.

    Attributes
    ----------
    estimate, std_error, ci_low, ci_high : float or None
        Value, standard error and interval.
    df : float or None
        Clusters - 1 where the standard error respects clusters; None for the normal.
    statistic, p_value : float or None
        Two-sided test of zero.
    n, n_clusters : int
        Complete rows, and clusters among them (0 without clusters).
    method : str
        ``cluster_jackknife``, ``cluster_robust`` (sandwich) or ``independent``.
    status, reason : str
        ``estimated``, ``flagged`` or ``not_estimable``, and why.
    """

    estimate: float | None
    std_error: float | None
    df: float | None
    ci_low: float | None
    ci_high: float | None
    statistic: float | None
    p_value: float | None
    n: int
    n_clusters: int
    method: str
    status: str
    reason: str


def overlapping_correlations(r12: float, r13: float, r23: float, n: int) -> DependentTest:
    """Test whether two correlations that share a variable differ: r12 against r13 (Williams' T2; Steiger, 1980, formula 7).

    ``t(n - 3) = (r12 - r13) sqrt((n - 1)(1 + r23) / (2 |R| (n - 1) / (n - 3) + rbar² (1 - r23)³))``, ``rbar = (r12 + r13) / 2``,
    ``|R| = 1 - r12² - r13² - r23² + 2 r12 r13 r23``; as ``psych::r.test`` gives.

    Parameters
    ----------
    r12, r13, r23 : float
        Correlations of the three variables.
    n : int
        Clients.
    """
    method = "Williams' test"
    values = np.array([r12, r13, r23], dtype=float)
    refusal = _unusable(values, n, 4, ((1, r12, r13), (r12, 1, r23), (r13, r23, 1)))
    if refusal:
        return DependentTest(None, None, None, None, method, "not_estimable", refusal)
    determinant = 1 - (values**2).sum() + 2 * values.prod()
    mean = (r12 + r13) / 2
    spread = 2 * (n - 1) / (n - 3) * determinant + mean**2 * (1 - r23) ** 3
    statistic = float((r12 - r13) * np.sqrt((n - 1) * (1 + r23) / spread))
    return DependentTest(float(r12 - r13), statistic, float(n - 3), float(two_sided_p(statistic, n - 3)), method, "estimated", "")


def separate_correlations(
    r12: float, r34: float, r13: float, r14: float, r23: float, r24: float, n: int, *, pooled: bool = True
) -> DependentTest:
    """Test whether two correlations of different variables of the same clients differ: r12 against r34 (Steiger, 1980, formula 15).

    ``z = (atanh r12 - atanh r34) sqrt(n - 3) / sqrt(2 (1 - s))``, ``s = c / (1 - rbar²)²`` the covariance of the two z's and
    ``c = [(r13 - rbar r23)(r24 - r23 rbar) + (r14 - r13 rbar)(r23 - rbar r13) + (r13 - r14 rbar)(r24 - rbar r14) +
    (r14 - rbar r24)(r23 - r24 rbar)] / 2`` with ``rbar = (r12 + r34) / 2``; as ``psych::r.test`` gives.

    Parameters
    ----------
    r12, r34 : float
        Correlations to be compared.
    r13, r14, r23, r24 : float
        Correlations of the other pairs.
    n : int
        Clients.
    pooled : bool
        Without pooling, the covariance is taken at r12 and r34 instead of at their mean.
    """
    method = "Steiger's test" if pooled else "Steiger's test, not pooled"
    matrix = ((1, r12, r13, r14), (r12, 1, r23, r24), (r13, r23, 1, r34), (r14, r24, r34, 1))
    refusal = _unusable(np.array([r12, r34, r13, r14, r23, r24], dtype=float), n, 4, matrix)
    if refusal:
        return DependentTest(None, None, None, None, method, "not_estimable", refusal)
    a, b = ((r12 + r34) / 2, (r12 + r34) / 2) if pooled else (r12, r34)
    covariance = (
        (r13 - a * r23) * (r24 - r23 * b)
        + (r14 - r13 * b) * (r23 - a * r13)
        + (r13 - r14 * b) * (r24 - a * r14)
        + (r14 - a * r24) * (r23 - r24 * b)
    ) / 2
    shared = covariance / ((1 - a**2) * (1 - b**2))
    statistic = float((np.arctanh(r12) - np.arctanh(r34)) * np.sqrt(n - 3) / np.sqrt(2 * (1 - shared)))
    return DependentTest(float(r12 - r34), statistic, None, float(two_sided_p(statistic)), method, "estimated", "")


def dependent_contrast(
    data: ArrayLike,
    clusters: ArrayLike | None,
    function: Callable[[np.ndarray], np.ndarray],
    *,
    level: float = 0.95,
    min_clusters: int = MIN_CLUSTERS,
) -> DependentContrast:
    """Return a function of the covariance matrix, a difference of two correlations say, with a standard error that respects clusters.

    The standard error leaves out each cluster in turn: ``(G - 1) / G`` times the sum of squared deviations of the G values from their mean
    (delete-one-group jackknife), with t(G - 1). Where the function has no value without one of the clusters, the cluster sandwich of
    the covariances and the delta method take its place, with a caution. Without enough clusters, clients are taken as independent
    and normal (delta method from the Wishart covariance), with the normal distribution.

    Parameters
    ----------
    data : array_like, shape (n, p)
        Variables; rows with a missing value, or a missing cluster, are left out.
    clusters : array_like, shape (n,), optional
        Which cluster (therapist) a row belongs to.
    function : callable
        Takes a stack of covariance matrices (divisor n - 1), shape (b, p, p), and returns values, shape (b,).
        :func:`alliance.statistics.covariance.correlation_matrix` and ``partial_correlation`` take such stacks.
    level : float
        Confidence level.
    min_clusters : int
        Fewer clusters: rows are taken as independent, with a caution.

    Raises
    ------
    ValueError
        Shapes that do not fit each other, level outside 0-1.
    """
    data = np.asarray(data, dtype=float)
    if data.ndim != 2:
        raise ValueError(f"data need the shape (clients, variables); they have {data.shape}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    complete = np.isfinite(data).all(axis=1)
    codes, groups = np.zeros(len(data), dtype=int), 0
    if clusters is not None:
        codes = pd.factorize(np.asarray(clusters), use_na_sentinel=True)[0]
        if codes.size != len(data):
            raise ValueError(f"{len(data)} rows need as many clusters; there are {codes.size}")
        complete &= codes >= 0
        codes, names = pd.factorize(codes[complete])
        groups = len(names)
    data = data[complete]
    n, p = data.shape
    if n < p + 2:
        return _no_contrast(n, groups, f"needs at least {p + 2} clients with all {p} scores; has {n}")
    spread = data.std(axis=0)
    if (spread <= 1e-12 * np.abs(data).max(axis=0)).any():
        return _no_contrast(n, groups, "one of the scores is constant: the same for all clients")
    centred = data - data.mean(axis=0)
    covariance = moments(centred).covariance
    with np.errstate(all="ignore"):
        estimate = float(_values(function, covariance[None])[0])
        if not np.isfinite(estimate):
            return _no_contrast(n, groups, "the function has no value for these data")
        found = _error(function, centred, covariance, codes, groups, groups >= max(min_clusters, 2))
    error, df, method, caution = found
    if not (np.isfinite(error) and error > 0):
        return _no_contrast(n, groups, "the standard error is zero or has no value")
    if clusters is not None and method == "independent":
        caution = f"fewer than {max(min_clusters, 2)} therapists ({groups}): clients taken as independent"
    margin = float(critical_value(level, df)) * error
    return DependentContrast(
        estimate=estimate,
        std_error=error,
        df=df if np.isfinite(df) else None,
        ci_low=estimate - margin,
        ci_high=estimate + margin,
        statistic=estimate / error,
        p_value=float(two_sided_p(estimate / error, df)),
        n=n,
        n_clusters=groups,
        method=method,
        status="flagged" if caution else "estimated",
        reason=caution,
    )


def _error(
    function: Callable[[np.ndarray], np.ndarray], centred: np.ndarray, covariance: np.ndarray, codes: np.ndarray, groups: int, enough: bool
) -> tuple[float, float, str, str]:
    """Return the standard error, its degrees of freedom, its method and a caution."""

    def column(stack: np.ndarray) -> np.ndarray:
        return _values(function, stack)[:, None]

    if not enough:
        variance = delta(column, covariance, normal_theory(covariance, len(centred)))[1]
        return float(np.sqrt(variance[0, 0])), np.inf, "independent", ""
    values = _values(function, _without_each(centred, codes, groups))
    if np.isfinite(values).all():
        deviations = values - values.mean()
        return float(np.sqrt((groups - 1) / groups * (deviations**2).sum())), groups - 1.0, "cluster_jackknife", ""
    variance = delta(column, covariance, sandwich(centred, codes))[1]
    caution = "sandwich standard error: without one of the therapists the function has no value"
    return float(np.sqrt(variance[0, 0])), groups - 1.0, "cluster_robust", caution


def _values(function: Callable[[np.ndarray], np.ndarray], stack: np.ndarray) -> np.ndarray:
    """Return the function's values; NaN where a variable has no variance or variables determine each other."""
    varies = (np.diagonal(stack, axis1=-2, axis2=-1) > 0).all(axis=-1)
    values = np.full(len(stack), np.nan)
    if not varies.any():
        return values
    try:
        values[varies] = np.asarray(function(stack[varies]), dtype=float).reshape(-1)
    except np.linalg.LinAlgError:
        if len(stack) > 1:
            return np.concatenate([_values(function, one[None]) for one in stack])
    return values


def _without_each(centred: np.ndarray, codes: np.ndarray, groups: int) -> np.ndarray:
    """Return covariance matrices without each cluster, shape (clusters, p, p); NaN where too little is left."""
    products = cross_products(centred)
    remaining = products.sum(axis=0) - cluster_sums(products, codes, groups)
    left = remaining[:, 0, 0]
    covariance = covariance_of_sums(remaining) * (left / (left - 1))[:, None, None]
    spent = np.diagonal(covariance, axis1=1, axis2=2) <= _SINGULAR * (centred**2).mean(axis=0)
    covariance[spent.any(axis=1) | (left < 3)] = np.nan
    return covariance


def _unusable(values: np.ndarray, n: float, needed: int, matrix: tuple[tuple[float, ...], ...]) -> str:
    if not np.isfinite(values).all():
        return "one of the correlations is missing"
    if (np.abs(values) >= 1).any():
        return "one of the correlations is not inside (-1, 1)"
    if not n >= needed:
        return f"needs at least {needed} clients; has {n}"
    if np.linalg.eigvalsh(np.array(matrix, dtype=float))[0] < -1e-8:
        return "no data have these correlations together"
    return ""


def _no_contrast(n: int, groups: int, reason: str) -> DependentContrast:
    return DependentContrast(*[None] * 7, n, groups, "", "not_estimable", reason)
