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

    return agreement(rows, clusters, "kappa", min_rows=min_rows)


def agreement(counts: ArrayLike, clusters: ArrayLike | None = None, measure: str = "kappa", *, min_rows: int = 4) -> Jackknifed:
    """Return a measure of agreement of two yes-or-no judgments, which each client may have had several times.

    Parameters
    ----------
    counts : array_like, shape (n, 4)
        How often each client was judged yes by both, by the first alone, by the second alone, and by neither.
    clusters : array_like, shape (n,), optional
        Therapist of each client.
    measure : str
        ``agreement``: share on which both agree; ``kappa`` (Cohen, 1960); ``pabak``: twice the share less 1, which is kappa where both
        judgments say yes in half of the cases (Byrt et al., 1993).
    min_rows : int
        Fewer clients: no estimate.

    Returns
    -------
    Jackknifed
        ``estimate`` has one element.
    """

    def of_counts(sums: np.ndarray) -> np.ndarray:
        n = sums.sum(axis=1)
        agreed = (sums[:, 0] + sums[:, 3]) / n
        if measure == "agreement":
            return agreed[:, None]
        if measure == "pabak":
            return 2 * agreed[:, None] - 1
        yes = (sums[:, 0] + sums[:, 1]) / n, (sums[:, 0] + sums[:, 2]) / n
        chance = yes[0] * yes[1] + (1 - yes[0]) * (1 - yes[1])
        return ((agreed - chance) / (1 - chance))[:, None]

    return jackknife(np.asarray(counts, dtype=float), of_counts, 1, clusters, min_rows=min_rows)
