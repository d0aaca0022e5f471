"""What the general and the group factors of a bifactor model explain, with intervals by the delta method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.covariance import jacobian
from alliance.statistics.distributions import critical_value
from alliance.statistics.loading_reliability import explained_common_variance, omega_hierarchical, uncontaminated_correlations


@dataclass(frozen=True)
class Share:
    """A share (0 to 1) with its standard error; the interval is made on the scale of -ln(1 - share) and lies below 1."""

    estimate: float
    std_error: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class Bifactor:
    """Shares of variance in a bifactor model.

    Attributes
    ----------
    omega_hierarchical : Share
        Of the variance of the sum of all items, by the general factor.
    omega_subscale : tuple of Share
        Of the variance of the sum of each group's items, by the group factor (Reise, 2012).
    explained_common_variance : Share
        Of the variance that factors explain, by the general factor (standardised loadings).
    uncontaminated_correlations : float
        Share of correlations that only the general factor explains; it follows from the model alone.
    """

    omega_hierarchical: Share
    omega_subscale: tuple[Share, ...]
    explained_common_variance: Share
    uncontaminated_correlations: float


def bifactor(
    general: ArrayLike,
    group_loadings: ArrayLike,
    residuals: ArrayLike,
    groups: Sequence[int],
    vcov: ArrayLike,
    *,
    level: float = 0.95,
    df: float = np.inf,
) -> Bifactor:
    """Return what the factors of a bifactor model explain.

    Parameters
    ----------
    general, group_loadings : array_like, shape (k,)
        Raw loadings of the items on the general factor and on their group factor; all factors are uncorrelated with variance 1.
    residuals : array_like, shape (k,)
        Residual variances.
    groups : sequence of int, length k
        Group factor of every item, from 0.
    vcov : array_like, shape (3 k, 3 k)
        Sampling covariance of the three vectors, one after the other.
    level : float
        Confidence level.
    df : float
        Degrees of freedom of the intervals' t.
    """
    of = np.asarray(groups, dtype=int)
    k, count = len(of), int(of.max()) + 1
    values = np.concatenate([np.asarray(one, dtype=float) for one in (general, group_loadings, residuals)])

    def shares(stack: np.ndarray) -> np.ndarray:
        loadings = np.zeros((len(stack), k, count + 1))
        loadings[:, :, 0] = stack[:, :k]
        loadings[:, np.arange(k), of + 1] = stack[:, k : 2 * k]
        error = stack[:, 2 * k :]
        deviation = np.sqrt((loadings**2).sum(axis=2) + error)
        found = [omega_hierarchical(loadings, error)]
        found += [omega_hierarchical(loadings, error, group + 1, items=np.flatnonzero(of == group)) for group in range(count)]
        found.append(explained_common_variance(loadings / deviation[:, :, None]))
        return np.stack(found, axis=1)

    estimates = shares(values[None])[0]
    deviation = np.sqrt(values[:k] ** 2 + values[k : 2 * k] ** 2 + values[2 * k :])
    slopes = jacobian(shares, values, np.concatenate([deviation, deviation, deviation**2]))
    errors = np.sqrt(np.maximum(np.einsum("ab,bc,ac->a", slopes, np.asarray(vcov, dtype=float), slopes), 0.0))
    margin = float(critical_value(level, df)) * errors / (1 - estimates)
    centre = -np.log1p(-estimates)
    found = [
        Share(*(float(value) for value in one))
        for one in zip(estimates, errors, np.maximum(-np.expm1(-(centre - margin)), 0.0), -np.expm1(-(centre + margin)))
    ]
    return Bifactor(found[0], tuple(found[1:-1]), found[-1], uncontaminated_correlations(of.tolist()))
