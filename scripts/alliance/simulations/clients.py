"""Simulated clients of therapists: normal variables of which a known share lies between therapists."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def therapists_of_clients(n_clients: int, n_therapists: int, largest: float = 3) -> np.ndarray:
    """Return the therapist (0..) of every client; every caseload is larger than the one before it by the same factor.

    Parameters
    ----------
    n_clients, n_therapists : int
    largest : float
        The largest caseload over the smallest, before rounding.

    Raises
    ------
    ValueError
        A therapist would be without clients.
    """
    shares = np.geomspace(1, largest, n_therapists)
    ends = np.rint(np.cumsum(shares) / shares.sum() * n_clients).astype(int)
    sizes = np.diff(ends, prepend=0)
    if (sizes < 1).any():
        raise ValueError(f"{n_clients} clients are too few for {n_therapists} therapists")
    return np.repeat(np.arange(n_therapists), sizes)


def clustered_normal(random: np.random.Generator, correlation: ArrayLike, therapists: np.ndarray, icc: float, runs: int) -> np.ndarray:
    """Return standard normal variables that correlate alike between and within therapists.

    Parameters
    ----------
    random : numpy.random.Generator
    correlation : array_like, shape (p, p)
        Correlations of the variables, at both levels and so in total.
    therapists : ndarray, shape (n,)
        From :func:`therapists_of_clients`.
    icc : float
        Share (0-1) of each variable's variance that lies between therapists.
    runs : int
        Independent data sets.

    Returns
    -------
    ndarray, shape (runs, n, p)
    """
    root = np.linalg.cholesky(np.asarray(correlation, dtype=float))
    shared = random.standard_normal((runs, int(therapists.max()) + 1, len(root)))
    own = random.standard_normal((runs, len(therapists), len(root)))
    return (np.sqrt(icc) * shared[:, therapists] + np.sqrt(1 - icc) * own) @ root.T
