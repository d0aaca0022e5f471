"""Quantiles and tail probabilities of the normal, t and chi-squared distributions, on arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special


def critical_value(level: float, df: ArrayLike = np.inf) -> np.ndarray:
    """Return the two-sided critical value of t, or of the normal where ``df`` is infinite.

    Parameters
    ----------
    level : float
        Confidence level, 0-1.
    df : array_like
        Degrees of freedom; infinite for the normal.
    """
    # Quantiles are slow and degrees of freedom few.
    distinct, where = np.unique(np.asarray(df, dtype=float), return_inverse=True)
    upper = 0.5 + level / 2
    finite = np.where(np.isfinite(distinct), distinct, 1.0)
    values = np.where(np.isposinf(distinct), special.ndtri(upper), special.stdtrit(finite, upper))
    return values[where].reshape(np.shape(df))


def two_sided_p(statistic: ArrayLike, df: ArrayLike = np.inf) -> np.ndarray:
    """Return the two-sided p value of a t statistic, or of z where ``df`` is infinite; no underflow at large values."""
    statistic, df = np.abs(np.asarray(statistic, dtype=float)), np.asarray(df, dtype=float)
    finite = np.where(np.isfinite(df), df, 1.0)
    return np.where(np.isposinf(df), 2 * special.ndtr(-statistic), 2 * special.stdtr(finite, -statistic))


def chi_squared_quantile(probability: float, df: ArrayLike) -> np.ndarray:
    """Return the quantile of chi-squared below which ``probability`` lies."""
    distinct, where = np.unique(np.asarray(df, dtype=float), return_inverse=True)
    return special.chdtri(distinct, 1 - probability)[where].reshape(np.shape(df))


def chi_squared_p(statistic: ArrayLike, df: ArrayLike) -> np.ndarray:
    """Return the upper tail probability of chi-squared; 1 where ``df`` is 0."""
    df = np.asarray(df, dtype=float)
    return np.where(df > 0, special.chdtrc(np.where(df > 0, df, 1.0), np.asarray(statistic, dtype=float)), 1.0)
