"""Agreement of two yes-or-no judgments of the same clients beyond chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.jackknife import Jackknifed, jackknife


def kappa(first: ArrayLike, second: ArrayLike, clusters: ArrayLike | None = None, *, min_rows: int = 4) -> Jackknifed:
    """Return Cohen's (1960) kappa of two judgments, with its error from leaving out each therapist.

    Parameters
    ----------
    first, second : array_like of bool, shape (n,)
        Judgments of the same clients.
    clusters : array_like, shape (n,), optional
        Therapist of each client.
    min_rows : int
        Fewer clients: no estimate.

    Returns
    -------
    Jackknifed
        ``estimate`` has one element.
    """
    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    rows = np.column_stack([first & second, first & ~second, ~first & second, ~first & ~second]).astype(float)

    def of_counts(counts: np.ndarray) -> np.ndarray:
        n = counts.sum(axis=1)
        agreed = (counts[:, 0] + counts[:, 3]) / n
        yes = (counts[:, 0] + counts[:, 1]) / n, (counts[:, 0] + counts[:, 2]) / n
        chance = yes[0] * yes[1] + (1 - yes[0]) * (1 - yes[1])
        return ((agreed - chance) / (1 - chance))[:, None]

    return jackknife(rows, of_counts, 1, clusters, min_rows=min_rows)
