"""The first principal component of a correlation matrix of scores: loadings, share of variance, and their bootstrap over therapists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.covariance import correlation_matrix, delta, normal_theory
from alliance.statistics.distributions import critical_value
from alliance.statistics.resampling import CrossProducts, bootstrap, covariances, cross_products, percentile_interval

DRAWS = 2000
MIN_CLIENTS = 10
# A component is another one where its loadings, taken over resamples, are at more than 45 degrees to those of the sample.
SAME = np.sqrt(0.5)
OFTEN_ANOTHER = 0.05
MOST_FAILED = 0.2
_CONSTANT = 1e-12
_DETERMINED = 1e-9


@dataclass(frozen=True)
class FirstComponent:
    """The first principal component. Numbers are NaN where they do not exist; then ``reason`` says why.

    Attributes
    ----------
    names : tuple of str
        The p scores.
    loadings : ndarray, shape (p,)
        Correlations of the scores with the component.
    loading_low, loading_high : ndarray, shape (p,)
        Limits of their intervals.
    loading_error_z : ndarray, shape (p,)
        Standard errors of their Fisher z; of the loading itself times ``1 - loading**2``.
    share, share_low, share_high : float
        Share (0-1) of the variance of the standardised scores that the component takes.
    share_error_logit : float
        Standard error of the logit of the share; of the share itself times ``share * (1 - share)``.
    n, n_units : int
        Clients with all scores, and what was resampled (0: nothing).
    unit : str
        ``clusters``, ``rows``, or ``none`` where errors are those of normal theory.
    status, reason : str
        ``estimated``, ``flagged`` or ``not_estimable``, and why.
    draws : ndarray, shape (draws, p + 1)
        Loadings and share of the resamples, signs aligned.
    """

    names: tuple[str, ...]
    loadings: np.ndarray
    loading_low: np.ndarray
    loading_high: np.ndarray
    loading_error_z: np.ndarray
    share: float
    share_low: float
    share_high: float
    share_error_logit: float
    n: int
    n_units: int
    unit: str
    status: str
    reason: str
    draws: np.ndarray = field(repr=False)


def loadings_and_share(correlation: np.ndarray, towards: ArrayLike) -> np.ndarray:
    """Return loadings on the first principal component and its share of the variance, shape (..., p, p) to (..., p + 1).

    Loadings are the eigenvector of the largest eigenvalue times the root of that value: the correlations of the scores with the component
    (as psych's ``principal``). NaN where a matrix holds NaN.

    Parameters
    ----------
    correlation : ndarray, shape (..., p, p)
        Correlation matrices.
    towards : array_like, shape (p,)
        The sign is that which makes the sum of the loadings times these numbers positive: ones for the majority, the loadings of the sample
        for resamples.
    """
    correlation = np.asarray(correlation, dtype=float)
    p = correlation.shape[-1]
    usable = np.isfinite(correlation).all(axis=(-2, -1))
    values, vectors = np.linalg.eigh(np.where(usable[..., None, None], correlation, np.eye(p)))
    loadings = vectors[..., -1] * np.sqrt(np.maximum(values[..., -1:], 0.0))
    loadings = np.where((loadings @ np.asarray(towards, dtype=float))[..., None] < 0, -loadings, loadings)
    return np.where(usable[..., None], np.concatenate([loadings, values[..., -1:] / p], axis=-1), np.nan)


def first_component(
    data: ArrayLike,
    names: Sequence[str],
    random: np.random.Generator,
    clusters: ArrayLike | None = None,
    *,
    reference: str | None = None,
    draws: int = DRAWS,
    level: float = 0.95,
    min_clients: int = MIN_CLIENTS,
) -> FirstComponent:
    """Return the first principal component of scores with bootstrap intervals.

    Intervals are percentile intervals expanded for few units (Hesterberg, 2015) over resampled therapists (clients with fewer than ten);
    every resample takes the sign of the sample's component. Standard errors are those of the resamples, times the root of G / (G - 1).

    Parameters
    ----------
    data : array_like, shape (n, p)
        Scores; rows with a missing one are left out.
    names : sequence of str
        What the p columns are called.
    random : numpy.random.Generator
        From :func:`alliance.statistics.resampling.generator`.
    clusters : array_like, shape (n,), optional
        Therapist of each client.
    reference : str, optional
        The score whose loading is positive; without one, the sum of the loadings is.
    draws, level, min_clients
        Number of resamples, confidence level, fewest clients with all scores.

    Raises
    ------
    ValueError
        Names that are not those of the columns, or a reference that is none of them.
    """
    data, towards = np.asarray(data, dtype=float), _towards(names, reference)
    if data.ndim != 2 or data.shape[1] != len(names):
        raise ValueError("every column of the data needs a name")
    complete = np.isfinite(data).all(axis=1)
    data = data[complete]
    n, p = data.shape
    needed = max(min_clients, p + 1)
    if p < 2:
        return _none(names, n, f"needs at least two scores; has {p}")
    if n < needed:
        return _none(names, n, f"needs at least {needed} clients with all scores; has {n}")
    deviation = data.std(axis=0)
    constant = [name for name, spread, values in zip(names, deviation, data.T, strict=True) if spread <= _CONSTANT * np.abs(values).max()]
    if constant:
        return _none(names, n, f"the same for all clients: {', '.join(constant)}")
    products = cross_products((data - data.mean(axis=0)) / deviation, None if clusters is None else np.asarray(clusters)[complete])
    estimate = loadings_and_share(correlation_matrix(covariances(products, np.ones((1, len(products.sums))))), towards)[0]
    return _resampled(names, products, estimate, n, draws, random, level, few=clusters is not None and products.unit == "rows")


def first_component_of_matrix(
    correlation: ArrayLike, names: Sequence[str], n: float, *, reference: str | None = None, level: float = 0.95
) -> FirstComponent:
    """Return the first principal component of a published correlation matrix.

    Standard errors are those of normal theory for independent clients, by the delta method on the scale of Fisher z (share: logit), with
    normal intervals.

    Parameters
    ----------
    correlation : array_like, shape (p, p)
        Correlation matrix.
    names : sequence of str
        What its p scores are called.
    n : float
        Number of clients.
    reference, level
        As for :func:`first_component`.

    Raises
    ------
    ValueError
        As for :func:`first_component`.
    """
    matrix, towards = np.asarray(correlation, dtype=float), _towards(names, reference)
    p = len(names)
    if matrix.shape != (p, p):
        raise ValueError("every row of the matrix needs a name")
    if p < 2:
        return _none(names, int(n), f"needs at least two scores; has {p}")
    if not np.isfinite(matrix).all():
        return _none(names, int(n), "needs the correlations of all pairs of scores; the matrix has gaps")
    if n <= p:
        return _none(names, int(n), f"needs at least {p + 1} clients; has {n:g}")
    values = np.linalg.eigvalsh(matrix)
    if values[0] < -1e-8:
        return _none(names, int(n), "the correlation matrix is not positive semidefinite: no data can have given it")
    if values[-1] - values[-2] < 1e-8:
        return _none(names, int(n), "the two largest components take the same share: there is no first one")
    estimate = loadings_and_share(matrix, towards)
    if np.abs(estimate).max() > 1 - _DETERMINED:
        empty, reason = np.full(p + 1, np.nan), "no interval: a score and the component determine each other"
        return _result(names, estimate, empty, empty, empty, int(n), 0, "none", reason, np.empty((0, p + 1)))
    _, vcov = delta(lambda stack: loadings_and_share(correlation_matrix(stack), estimate[:-1]), matrix, normal_theory(matrix, n))
    scale, error = _scaled(estimate), np.sqrt(np.maximum(np.diagonal(vcov), 0.0)) * _slopes(estimate)
    margin = float(critical_value(level)) * error
    low, high = (_back(scale + sign * margin) for sign in (-1, 1))
    return _result(names, estimate, low, high, error, int(n), 0, "none", "", np.empty((0, p + 1)))


def _towards(names: Sequence[str], reference: str | None) -> np.ndarray:
    if reference is not None and reference not in names:
        raise ValueError(f"{reference} is none of the scores")
    return np.ones(len(names)) if reference is None else np.array([float(name == reference) for name in names])


def _resampled(
    names: Sequence[str],
    products: CrossProducts,
    estimate: np.ndarray,
    n: int,
    draws: int,
    random: np.random.Generator,
    level: float,
    few: bool,
) -> FirstComponent:
    def function(stack: np.ndarray) -> np.ndarray:
        # Scores are standardised: less is left of the variance of a resampled score than rounding where it is constant.
        constant = (np.diagonal(stack, axis1=-2, axis2=-1) < _CONSTANT).any(axis=-1)
        return loadings_and_share(correlation_matrix(np.where(constant[:, None, None], np.nan, stack)), estimate[:-1])

    found = bootstrap(products, function, draws, random)
    units = len(products.sums)
    usable = np.isfinite(found).all(axis=1)
    notes = ["fewer than 10 therapists: clients taken as independent"] if few else []
    lacking = "a score is constant in too many resamples" if 1 - usable.mean() > MOST_FAILED else ""
    if np.abs(estimate).max() > 1 - _DETERMINED:
        lacking = "a score and the component determine each other"
    if lacking:
        notes.append(f"no interval: {lacking}")
        empty = np.full(len(estimate), np.nan)
        return _result(names, estimate, empty, empty, empty, n, units, products.unit, "; ".join(notes), found)
    kept = found[usable]
    own, drawn = estimate[:-1], kept[:, :-1]
    cosine = drawn @ own / np.sqrt((own**2).sum() * (drawn**2).sum(axis=1))
    another = float((cosine < SAME).mean())
    if another > OFTEN_ANOTHER:
        notes.append(f"in {another:.0%} of the resamples another component is the first: do not rely on the loadings")
    error = _scaled(kept).std(axis=0, ddof=1) * np.sqrt(units / (units - 1))
    low, high = percentile_interval(kept, level, units)
    return _result(names, estimate, low, high, error, n, units, products.unit, "; ".join(notes), found)


def _scaled(values: np.ndarray) -> np.ndarray:
    """Return Fisher z of loadings and the logit of the share."""
    loadings, share = values[..., :-1], values[..., -1:]
    return np.concatenate([np.arctanh(loadings), np.log(share / (1 - share))], axis=-1)


def _slopes(values: np.ndarray) -> np.ndarray:
    """Return the derivatives of :func:`_scaled`."""
    return 1 / np.append(1 - values[:-1] ** 2, values[-1] * (1 - values[-1]))


def _back(values: np.ndarray) -> np.ndarray:
    return np.append(np.tanh(values[:-1]), 1 / (1 + np.exp(-values[-1])))


def _result(
    names: Sequence[str],
    estimate: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    error: np.ndarray,
    n: int,
    units: int,
    unit: str,
    reason: str,
    draws: np.ndarray,
) -> FirstComponent:
    return FirstComponent(
        tuple(names),
        estimate[:-1],
        low[:-1],
        high[:-1],
        error[:-1],
        float(estimate[-1]),
        float(low[-1]),
        float(high[-1]),
        float(error[-1]),
        n,
        units,
        unit,
        "flagged" if reason else "estimated",
        reason,
        draws,
    )


def _none(names: Sequence[str], n: int, reason: str) -> FirstComponent:
    empty, number = np.full(len(names), np.nan), np.nan
    none = np.empty((0, len(names) + 1))
    return FirstComponent(
        tuple(names), empty, empty, empty, empty, number, number, number, number, n, 0, "none", "not_estimable", reason, none
    )
