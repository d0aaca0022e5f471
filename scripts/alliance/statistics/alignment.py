"""Alignment of loadings and intercepts over many groups (Asparouhov & Muthén, 2014): how far they differ where exact tests always fail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

EPSILON = 0.01
"""Smooths the component loss, as the authors chose it; loadings and intercepts are in standard deviations of their items."""


@dataclass(frozen=True)
class Alignment:
    """Aligned parameters of one factor.

    Attributes
    ----------
    mean, deviation : ndarray, shape (groups,)
        Mean and standard deviation of the factor; 0 and 1 in the first group.
    loadings, intercepts : ndarray, shape (groups, items)
        On the common scale of the factor.
    loss : float
    """

    mean: np.ndarray
    deviation: np.ndarray
    loadings: np.ndarray
    intercepts: np.ndarray
    loss: float


def align(loadings: ArrayLike, intercepts: ArrayLike, n: ArrayLike) -> Alignment:
    """Find means and standard deviations of a factor under which as many loadings and intercepts as possible are nearly equal.

    With a factor of mean 0 and variance 1 in every group, loadings l and intercepts v become ``l / s`` and ``v - a l / s`` where its
    mean is a and its standard deviation s. The sum over items and pairs of groups of ``sqrt(n1 n2) (d^2 + epsilon)^(1/4)`` is made
    smallest, d being the differences ("fixed" alignment, first group the reference).

    Parameters
    ----------
    loadings, intercepts : array_like, shape (groups, items)
        Of the configural model, in standard deviations of the items.
    n : array_like, shape (groups,)
        Sizes of the groups.
    """
    from scipy.optimize import minimize

    first, level = np.asarray(loadings, dtype=float), np.asarray(intercepts, dtype=float)
    groups = len(first)
    root = np.sqrt(np.asarray(n, dtype=float) / np.sum(n))
    weight = np.triu(np.outer(root, root), 1)
    weight = weight + weight.T

    def placed(free: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        log_deviation, mean = np.append(0.0, free[: groups - 1]), np.append(0.0, free[groups - 1 :])
        aligned = first * np.exp(-log_deviation)[:, None]
        return log_deviation, mean, aligned, level - mean[:, None] * aligned

    def loss(free: np.ndarray) -> tuple[float, np.ndarray]:
        _, mean, aligned, origin = placed(free)
        total, slopes = 0.0, []
        for values in (aligned, origin):
            difference = values[:, None] - values[None]
            smooth = difference**2 + EPSILON
            total += float((weight[:, :, None] * smooth**0.25).sum()) / 2
            slopes.append((weight[:, :, None] * difference * smooth**-0.75).sum(axis=1) / 2)
        by_deviation = (slopes[1] * mean[:, None] * aligned - slopes[0] * aligned).sum(axis=1)
        by_mean = -(slopes[1] * aligned).sum(axis=1)
        return total, np.append(by_deviation[1:], by_mean[1:])

    # The loss has several minima; medians over items are near the one that leaves most items equal.
    ratio = np.median(first / np.where(first[0] == 0, np.nan, first[0]), axis=1)
    spread = np.log(np.clip(np.nan_to_num(ratio, nan=1.0), 0.2, 5.0))
    slope = first * np.exp(-spread)[:, None]
    shift = np.median((level - level[0]) / np.where(np.abs(slope) < 1e-6, np.nan, slope), axis=1)
    starts = [np.zeros(2 * groups - 2), np.append(spread[1:], np.nan_to_num(shift)[1:])]
    found = [minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-14, "gtol": 1e-9}) for start in starts]
    best = min(found, key=lambda one: one.fun)
    log_deviation, mean, aligned, origin = placed(best.x)
    return Alignment(mean, np.exp(log_deviation), aligned, origin, float(best.fun))
