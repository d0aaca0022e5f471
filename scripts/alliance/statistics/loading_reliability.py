"""Reliability that follows from the loadings of a factor model with several factors: a bifactor model, or correlated factors.

All take loadings, shape (..., k, f), residual variances, shape (..., k), or residual covariances, shape (..., k, k), and covariances of the
factors, shape (..., f, f), uncorrelated with variance 1 by default. From raw loadings the omegas are of the sum of the items as scored,
from standardised ones of the sum of standardised items.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def omega_of_model(
    loadings: ArrayLike, residuals: ArrayLike, factor_covariance: ArrayLike | None = None, items: Sequence[int] | None = None
) -> np.ndarray:
    """Return omega total of a sum of items: its variance due to all factors over its variance in the model (McDonald, 1999).

    Parameters
    ----------
    loadings, residuals, factor_covariance
        See the module.
    items : sequence of int, optional
        Which items are summed; default all.
    """
    common, total = _parts(loadings, residuals, factor_covariance, items, None)
    return common / total


def omega_hierarchical(
    loadings: ArrayLike,
    residuals: ArrayLike,
    factor: int = 0,
    factor_covariance: ArrayLike | None = None,
    items: Sequence[int] | None = None,
) -> np.ndarray:
    """Return the share of one factor in the variance of a sum of items (McDonald, 1999; Reise, 2012).

    With the general factor and all items it is omega hierarchical; with a group factor and the items of its subscale, omega hierarchical
    of the subscale: what the subscale measures beside the general factor.

    Parameters
    ----------
    loadings, residuals, factor_covariance
        See the module.
    factor : int
        Position of the factor.
    items : sequence of int, optional
        Which items are summed; default all.

    Raises
    ------
    ValueError
        The factor correlates with others: then it has no share of its own.
    """
    if factor_covariance is not None:
        others = np.delete(np.asarray(factor_covariance, dtype=float)[..., factor, :], factor, axis=-1)
        if (np.abs(others) > 1e-12).any():
            raise ValueError("a factor that correlates with others has no share of the variance of its own")
    common, total = _parts(loadings, residuals, factor_covariance, items, factor)
    return common / total


def explained_common_variance(loadings: ArrayLike, general: int = 0) -> np.ndarray:
    """Return the share of the general factor in the common variance (ECV; Reise, 2012), from standardised loadings of a bifactor model."""
    squares = np.asarray(loadings, dtype=float) ** 2
    return squares[..., general].sum(axis=-1) / squares.sum(axis=(-2, -1))


def uncontaminated_correlations(groups: Sequence[int | None]) -> float:
    """Return the share of correlations between items that only the general factor explains (PUC; Bonifay et al., 2015).

    Parameters
    ----------
    groups : sequence of int or None
        Group factor of each item; None for an item with the general factor only.

    Raises
    ------
    ValueError
        Fewer than two items.
    """
    k = len(groups)
    if k < 2:
        raise ValueError("needs at least two items")
    groups = list(groups)
    sizes = [groups.count(group) for group in {group for group in groups if group is not None}]
    return 1 - sum(size * (size - 1) for size in sizes) / (k * (k - 1))


def _parts(
    loadings: ArrayLike, residuals: ArrayLike, factor_covariance: ArrayLike | None, items: Sequence[int] | None, factor: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the variance of a sum of items due to one factor or all, and all its variance."""
    loadings, residuals = np.asarray(loadings, dtype=float), np.asarray(residuals, dtype=float)
    k, f = loadings.shape[-2:]
    rows = np.arange(k) if items is None else np.asarray(items, dtype=int)
    phi = np.eye(f) if factor_covariance is None else np.asarray(factor_covariance, dtype=float)
    if residuals.ndim == loadings.ndim and residuals.shape[-2:] == (k, k):
        error = residuals[..., rows[:, None], rows].sum(axis=(-2, -1))
    else:
        error = residuals[..., rows].sum(axis=-1)
    sums = loadings[..., rows, :].sum(axis=-2)
    common = np.einsum("...i,...ij,...j->...", sums, phi, sums)
    part = common if factor is None else sums[..., factor] ** 2 * phi[..., factor, factor]
    return part, common + error
