"""Solving many small least-squares problems at once."""

from __future__ import annotations

import numpy as np

_DEPENDENT = 1e-8


def solved(given: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """Return the solutions of stacks of normal equations, shape (..., p, p) and (..., p) to (..., p).

    NaN where the predictors are as good as dependent (smallest eigenvalue of their correlations, or cosines, below 1e-8).
    """
    size = np.sqrt(np.diagonal(given, axis1=-2, axis2=-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = given / (size[..., :, None] * size[..., None, :])
        sound = np.isfinite(scaled).all(axis=(-2, -1))
        safe = np.where(sound[..., None, None], scaled, np.eye(given.shape[-1]))
        sound &= np.linalg.eigvalsh(safe)[..., 0] > _DEPENDENT
        safe = np.where(sound[..., None, None], safe, np.eye(given.shape[-1]))
        solution = np.linalg.solve(safe, (cross / size)[..., None])[..., 0] / size
    return np.where(sound[..., None], solution, np.nan)
