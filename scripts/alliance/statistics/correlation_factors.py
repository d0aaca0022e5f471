"""Factor models of simple structure fitted to a correlation matrix by least squares, weighted or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.covariance import matrix_of
from alliance.statistics.distributions import chi_squared_p, critical_value

_STEPS = 500
_TOLERANCE = 1e-11
_SINGULAR = 1e12


@dataclass(frozen=True)
class CorrelationFactors:
    """A factor model of correlations: every variable loads on one factor, factors have a variance of 1 and correlate.

    Numbers are NaN where ``status`` is ``not_estimable``.

    Attributes
    ----------
    loadings, loading_errors : ndarray, shape (p,)
    correlations, correlation_errors : ndarray, shape (q, q)
        Of the factors; errors are 0 on the diagonal.
    srmr : float
        Root mean square residual of the correlations, each pair once, over p (p + 1) / 2 as lavaan's SRMR (the diagonal fits).
    chi2, df, p_value : float, int, float
        Test of the model; NaN without the sampling covariance of the correlations.
    level : float
        Confidence level of :meth:`loading_interval` and :meth:`correlation_interval`.
    status, reason : str
        ``estimated``, ``flagged`` (improper solution) or ``not_estimable``, and why.
    """

    loadings: np.ndarray
    loading_errors: np.ndarray
    correlations: np.ndarray
    correlation_errors: np.ndarray
    srmr: float
    chi2: float
    df: int
    p_value: float
    level: float
    status: str
    reason: str

    def loading_interval(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the loadings' intervals, by the normal."""
        margin = critical_value(self.level) * self.loading_errors
        return self.loadings - margin, self.loadings + margin

    def correlation_interval(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the intervals of the factors' correlations, by the normal."""
        margin = critical_value(self.level) * self.correlation_errors
        return self.correlations - margin, self.correlations + margin


def fit_correlation_factors(
    correlation: ArrayLike, factor: Sequence[int], vcov: ArrayLike | None = None, *, level: float = 0.95
) -> CorrelationFactors:
    """Fit a factor model to correlations by minimising ``(r - rho)' W (r - rho)`` over the pairs of variables.

    With the sampling covariance V of the correlations, W is its inverse: asymptotically distribution-free estimates with standard errors
    ``(D' W D)^-1`` and a chi-squared test (Browne, 1984; the second stage of Cheung & Chan, 2005). Without it W is the identity:
    unweighted least squares, without errors and test.

    Parameters
    ----------
    correlation : array_like, shape (p, p)
    factor : sequence of int, length p
        Factor of each variable, from 0 without gaps.
    vcov : array_like, shape (m, m), optional
        Sampling covariance of the m = p (p - 1) / 2 correlations in the order (0, 1), (0, 2), ..., (1, 2), ...
    level : float
        Confidence level.
    """
    r = np.asarray(correlation, dtype=float)
    of = np.asarray(factor, dtype=int)
    p, q = len(of), int(of.max()) + 1
    first, second = np.triu_indices(p, 1)
    observed = r[first, second]
    sizes = np.bincount(of, minlength=q)
    fault = _fault(observed, sizes)
    if fault:
        return _absent(p, q, level, fault)
    weight = np.eye(len(observed))
    if vcov is not None:
        given = np.asarray(vcov, dtype=float)
        if not np.isfinite(given).all() or np.linalg.cond(given) > _SINGULAR:
            return _absent(p, q, level, "the sampling covariance of the correlations is not known for all pairs")
        weight = np.linalg.inv(given)
    found = _minimise(observed, weight, of, q)
    if found is None:
        return _absent(p, q, level, "least squares did not converge: the model may not be identified")
    loadings, phi, slopes = found
    residual = observed - _implied(loadings, phi, of)
    loading_errors, correlation_errors = np.full(p, np.nan), np.full((q, q), np.nan)
    chi2, p_value, df = np.nan, np.nan, len(observed) - p - q * (q - 1) // 2
    if vcov is not None:
        errors = np.sqrt(np.diagonal(np.linalg.inv(slopes.T @ weight @ slopes)))
        loading_errors, correlation_errors = errors[:p], matrix_of(errors[p:], q, diagonal=False) - np.eye(q)
        chi2 = float(residual @ weight @ residual)
        p_value = float(chi_squared_p(chi2, df)) if df > 0 else np.nan
    notes = _improper(loadings, phi)
    return CorrelationFactors(
        loadings,
        loading_errors,
        phi,
        correlation_errors,
        float(np.sqrt((residual**2).sum() / (p * (p + 1) / 2))),
        chi2,
        df,
        p_value,
        level,
        "flagged" if notes else "estimated",
        "; ".join(notes),
    )


def _fault(observed: np.ndarray, sizes: np.ndarray) -> str:
    if not np.isfinite(observed).all():
        return f"needs the correlations of all pairs; lacks {int((~np.isfinite(observed)).sum())}"
    if len(sizes) == 1 and sizes[0] < 3:
        return f"needs at least 3 variables; has {sizes[0]}"
    if (sizes < 2).any():
        return f"needs at least 2 variables a factor; has {sizes.min()}"
    return ""


def _absent(p: int, q: int, level: float, reason: str) -> CorrelationFactors:
    vector, square = np.full(p, np.nan), np.full((q, q), np.nan)
    return CorrelationFactors(vector, vector, square, square, np.nan, np.nan, 0, np.nan, level, "not_estimable", reason)


def _implied(loadings: np.ndarray, phi: np.ndarray, of: np.ndarray) -> np.ndarray:
    first, second = np.triu_indices(len(of), 1)
    return loadings[first] * loadings[second] * phi[of[first], of[second]]


def _slopes(loadings: np.ndarray, phi: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Return derivatives of the implied correlations by the loadings and the correlations of factors, shape (m, p + q (q - 1) / 2)."""
    p, q = len(of), len(phi)
    first, second = np.triu_indices(p, 1)
    pair = np.arange(len(first))
    slopes = np.zeros((len(first), p + q * (q - 1) // 2))
    between = phi[of[first], of[second]]
    slopes[pair, first] = loadings[second] * between
    slopes[pair, second] = loadings[first] * between
    place = np.full((q, q), -1)
    place[np.triu_indices(q, 1)] = p + np.arange(q * (q - 1) // 2)
    column = np.maximum(place, place.T)[of[first], of[second]]
    apart = column >= 0
    slopes[pair[apart], column[apart]] = (loadings[first] * loadings[second])[apart]
    return slopes


def _minimise(observed: np.ndarray, weight: np.ndarray, of: np.ndarray, q: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return loadings, correlations of factors and slopes by damped Gauss-Newton steps; None where the search does not end."""
    p = len(of)
    free = _start(matrix_of(observed, p, diagonal=False), of, q)

    def parts(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return values[:p], matrix_of(values[p:], q, diagonal=False)

    residual = observed - _implied(*parts(free), of)
    value, damping = residual @ weight @ residual, 1e-3
    for _ in range(_STEPS):
        slopes = _slopes(*parts(free), of)
        information = slopes.T @ weight @ slopes
        size = np.diagonal(information)
        if not (size > 0).all():
            return None
        step = np.linalg.solve(information + damping * np.diag(size), slopes.T @ weight @ residual)
        moved = observed - _implied(*parts(free + step), of)
        new = moved @ weight @ moved
        if new <= value + 1e-14 * (1 + value):
            free, residual, value, damping = free + step, moved, new, damping / 10
            if np.abs(step).max() < _TOLERANCE:
                slopes = _slopes(*parts(free), of)
                scaled = slopes.T @ weight @ slopes
                if np.linalg.cond(scaled / np.sqrt(np.outer(np.diagonal(scaled), np.diagonal(scaled)))) > _SINGULAR:
                    return None
                sign = np.where(np.bincount(of, weights=free[:p], minlength=q) < 0, -1.0, 1.0)
                loadings, phi = parts(free)
                loadings, phi = loadings * sign[of], phi * np.outer(sign, sign)
                return loadings, phi, _slopes(loadings, phi, of)
        else:
            damping *= 10
            if damping > 1e14:
                return None
    return None


def _start(r: np.ndarray, of: np.ndarray, q: int) -> np.ndarray:
    """Return first principal components of each factor's variables, and correlations of their sums that are corrected for error."""
    loadings = np.zeros(len(of))
    for factor in range(q):
        own = np.flatnonzero(of == factor)
        values, vectors = np.linalg.eigh(r[np.ix_(own, own)])
        vector = vectors[:, -1] * (1.0 if vectors[:, -1].sum() >= 0 else -1.0)
        loadings[own] = np.clip(vector * np.sqrt(values[-1]) * 0.85, -0.95, 0.95)
    phi = [
        np.clip(np.sum(r[np.ix_(of == a, of == b)] * np.outer(loadings[of == a], loadings[of == b])) / scale, -0.95, 0.95)
        for a in range(q)
        for b in range(a + 1, q)
        if (scale := np.sum(loadings[of == a] ** 2) * np.sum(loadings[of == b] ** 2)) > 0
    ]
    return np.concatenate([loadings, phi])


def _improper(loadings: np.ndarray, phi: np.ndarray) -> list[str]:
    notes = []
    if (np.abs(loadings) > 1).any():
        notes.append(f"improper solution: a loading of {loadings[np.abs(loadings).argmax()]:.2f} leaves its variable a negative variance")
    off = phi - np.eye(len(phi))
    if (np.abs(off) > 1).any():
        notes.append(f"improper solution: two factors correlate {off.ravel()[np.abs(off).argmax()]:.2f}")
    elif len(phi) > 2 and np.linalg.eigvalsh(phi)[0] < 0:
        notes.append("improper solution: the correlations of the factors are impossible together")
    return notes
