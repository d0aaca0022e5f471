"""How much of what predictors explain together each of them brings, averaged over all sets of the others: general dominance."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.commonality import explained


def general_dominance(covariance: ArrayLike, outcome: int, predictors: list[int], held: list[int] | None = None) -> np.ndarray:
    """Return the general dominance of each predictor and the R squared of all, beyond what is held constant.

    A predictor's general dominance is the mean, over sizes of sets of the other predictors, of the mean increase of R squared that it
    brings to sets of this size (Budescu, 1993; Azen & Budescu, 2003). The values add up to the R squared of all predictors together less
    that of ``held`` alone.

    Parameters
    ----------
    covariance : array_like, shape (..., p, p)
        Covariance or correlation matrices.
    outcome : int
        Which variable is explained.
    predictors : list of int
        Whose dominance is told.
    held : list of int, optional
        In every model.

    Returns
    -------
    ndarray, shape (..., len(predictors) + 1)
        Dominance of each predictor, then their sum.
    """
    covariance = np.asarray(covariance, dtype=float)
    held = held or []
    size = len(predictors)
    r_squared = {}
    for number in range(size + 1):
        for chosen in combinations(range(size), number):
            used = [*held, *(predictors[one] for one in chosen)]
            r_squared[chosen] = explained(covariance, outcome, used) if used else np.zeros(covariance.shape[:-2])
    values = []
    for one in range(size):
        others = [other for other in range(size) if other != one]
        total = np.zeros(covariance.shape[:-2])
        for number in range(size):
            for chosen in combinations(others, number):
                added = r_squared[tuple(sorted((*chosen, one)))] - r_squared[chosen]
                total = total + added / (size * comb(size - 1, number))
        values.append(total)
    return np.stack([*values, r_squared[tuple(range(size))] - r_squared[()]], axis=-1)


def shared_with_others(covariance: ArrayLike, predictors: list[int]) -> np.ndarray:
    """Return which share of each predictor's variance the other predictors explain, shape (..., len(predictors)): its collinearity."""
    covariance = np.asarray(covariance, dtype=float)
    return np.stack([explained(covariance, one, [other for other in predictors if other != one]) for one in predictors], axis=-1)
