"""How much of what predictors explain together each of them brings, averaged over all sets of the others: general dominance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.commonality import explained
from alliance.statistics.jackknife import Jackknifed, covariance_of_sums, cross_products, jackknife
from alliance.statistics.multivariate_meta import MultivariatePooled, PooledFunction, pooled_function


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


def clustered_correlations(data: ArrayLike, clusters: ArrayLike | None = None, *, min_rows: int = 4) -> Jackknifed:
    """Return the correlations of every two columns (upper triangle by rows) with their covariance.

    A matrix of many correlations needs more units than therapists often are: clients tell how correlations covary, therapists how sure
    each is. So the covariance is that of leaving out clients, scaled to the standard errors of leaving out therapists.

    Parameters
    ----------
    data : array_like, shape (n, p)
        Complete rows, best standardised.
    clusters : array_like, shape (n,), optional
        Therapist of each client.
    min_rows : int
        Fewer clients: no estimate.
    """
    data = np.asarray(data, dtype=float)
    upper = np.triu_indices(data.shape[1], 1)

    def correlations(sums: np.ndarray) -> np.ndarray:
        covariance = covariance_of_sums(sums)
        spread = np.sqrt(np.einsum("...ii->...i", covariance))
        return (covariance / (spread[..., :, None] * spread[..., None, :]))[..., upper[0], upper[1]]

    products, size = cross_products(data), len(upper[0])
    found = jackknife(products, correlations, size, clusters, min_rows=min_rows)
    if found.reason:
        return found
    alone = jackknife(products, correlations, size, None, min_rows=min_rows).vcov
    spread = np.sqrt(np.diagonal(found.vcov) / np.diagonal(alone))
    return replace(found, vcov=alone * np.outer(spread, spread))


def of_pooled_correlations(
    pooled: MultivariatePooled,
    quantities: Callable[[np.ndarray], np.ndarray],
    position: int,
    random: np.random.Generator,
    *,
    size: int,
    level: float = 0.95,
) -> PooledFunction:
    """Return a quantity of the correlation matrix that pooled correlations (as Fisher's z) imply, with its interval by the delta method.

    Parameters
    ----------
    pooled : MultivariatePooled
        Correlations of :func:`clustered_correlations` as z, over sites.
    quantities : callable
        Takes matrices, shape (b, size, size), returns shape (b, m).
    position : int
        Which of the m quantities.
    random : numpy.random.Generator
    size : int
        Number of variables.
    level : float
        Confidence level.
    """
    upper = np.triu_indices(size, 1)

    def value(points: np.ndarray) -> np.ndarray:
        matrix = np.broadcast_to(np.eye(size), (*points.shape[:-1], size, size)).copy()
        matrix[..., upper[0], upper[1]] = matrix[..., upper[1], upper[0]] = np.tanh(points)
        return quantities(matrix)[..., position]

    return pooled_function(pooled, value, random, level=level, draws=200)
