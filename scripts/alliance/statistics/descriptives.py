"""Mean and standard deviation of several groups together, from those of each group."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def of_all_groups(n: ArrayLike, mean: ArrayLike, sd: ArrayLike) -> tuple[float, float, float]:
    """Return number, mean and standard deviation of all cases of several groups, as if their values stood in one list.

    Parameters
    ----------
    n, mean, sd : array_like, shape (groups,)
        Number of cases, mean and standard deviation (divisor n - 1) of each group. Groups without cases add nothing; of a group of one
        the standard deviation may be nan.

    Returns
    -------
    n, mean, sd : float
        nan where there is no case; the standard deviation also where there is one.

    Notes
    -----
    The sum of squares about the common mean is that within groups plus that of their means (the one-way analysis of variance):
    ``(N - 1) SD² = Σ (n - 1) sd² + Σ n (mean - M)²``, so nothing is approximated.
    """
    n, mean, sd = (np.asarray(values, dtype=float) for values in (n, mean, sd))
    there = n > 0
    n, mean, sd = n[there], mean[there], sd[there]
    total = n.sum()
    if not total:
        return 0.0, np.nan, np.nan
    common = float((n * mean).sum() / total)
    if total < 2:
        return float(total), common, np.nan
    within = np.where(n > 1, (n - 1) * sd**2, 0.0).sum()
    return float(total), common, float(np.sqrt((within + (n * (mean - common) ** 2).sum()) / (total - 1)))
