"""Sampling covariances of the effects of one site, of which but few of all pairs are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Covariances:
    """Sampling covariances of some pairs of rows; ``first <= second`` are positions of rows, shape (pairs,), as has ``cov``."""

    first: np.ndarray
    second: np.ndarray
    cov: np.ndarray

    @classmethod
    def known(cls, first: np.ndarray, second: np.ndarray, cov: np.ndarray) -> Covariances:
        """Return those that are numbers, row by row."""
        there = np.isfinite(cov)
        order = np.lexsort((second[there], first[there]))
        return cls(*(one[there][order] for one in (first, second, cov)))


def variances_of(values: Sequence[float]) -> Covariances:
    """Return variances, NaN where there is none, without any covariance of two rows."""
    each = np.arange(len(values))
    return Covariances.known(each, each, np.array(values, dtype=float))


def covariances_of(matrix: np.ndarray) -> Covariances:
    """Return what a matrix holds, NaN where a covariance is not known."""
    first, second = np.triu_indices(len(matrix))
    return Covariances.known(first, second, matrix[first, second])
