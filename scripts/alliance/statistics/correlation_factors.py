"""Factor models of simple structure fitted to a correlation matrix by least squares, weighted or not: arrays in place of syntax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.correlation_structure import fit_correlation_structure
from alliance.statistics.covariance import elements
from alliance.statistics.distributions import chi_squared_p, critical_value
from alliance.statistics.structural_model import parse_structural


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
    """Fit a factor model to correlations, by :func:`alliance.statistics.correlation_structure.fit_correlation_structure`.

    Factors have the sign that makes the sum of their loadings positive.

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
    sizes = np.bincount(of, minlength=q)
    fault = _fault(elements(r, diagonal=False), sizes)
    if fault:
        return _absent(p, q, level, fault)
    loads = [f"f{one} =~ " + " + ".join(f"v{place}" for place in np.flatnonzero(of == one)) for one in range(q)]
    found = fit_correlation_structure(parse_structural("\n".join(loads), std_lv=True), r, [f"v{place}" for place in range(p)], vcov)
    if found.status == "not_estimable":
        return _absent(p, q, level, found.reason)
    table = found.parameters
    is_loading = (table["op"] == "=~").to_numpy()
    order = table.loc[is_loading, "rhs"].str[1:].astype(int).to_numpy()
    one, other = (table.loc[~is_loading, side].str[1:].astype(int).to_numpy() for side in ("lhs", "rhs"))
    loadings, loading_errors = np.empty(p), np.empty(p)
    loadings[order], loading_errors[order] = table.loc[is_loading, "estimate"], table.loc[is_loading, "std_error"]
    phi, errors = np.eye(q), np.zeros((q, q))
    for matrix, column in ((phi, "estimate"), (errors, "std_error")):
        matrix[one, other] = matrix[other, one] = table.loc[~is_loading, column]
    sign = np.where(np.bincount(of, weights=loadings, minlength=q) < 0, -1.0, 1.0)
    loadings, phi = loadings * sign[of], phi * np.outer(sign, sign)
    notes = _improper(loadings, phi)
    weighted = vcov is not None
    return CorrelationFactors(
        loadings,
        loading_errors,
        phi,
        errors if weighted else np.full((q, q), np.nan),
        found.srmr,
        found.chi2,
        found.df,
        float(chi_squared_p(found.chi2, found.df)) if weighted and found.df > 0 else np.nan,
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
