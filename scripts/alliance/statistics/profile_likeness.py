"""How alike two raters' profiles of answers over the items of one form are, and what that predicts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.covariance import partial_correlation
from alliance.statistics.jackknife import Jackknifed
from alliance.statistics.jackknife_subsets import jackknife_subsets

LIKENESS = ("overall", "distinctive", "overall_ranks", "distinctive_ranks", "normative")


def differs(profiles: ArrayLike) -> np.ndarray:
    """Return of which profiles the answers differ at all, shape (n,): others have no shape."""
    profiles = np.asarray(profiles, dtype=float)
    return np.ptp(profiles, axis=1) > 1e-9 * np.maximum(np.abs(profiles).max(axis=1, initial=0.0), 1e-300)


def profile_correlations(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    """Return the correlation over items of every two profiles, shape (n,); NaN where one of them is flat.

    Parameters
    ----------
    first, second : array_like, shape (n, items)
    """
    x, y = (np.asarray(one, dtype=float) for one in (first, second))
    x, y = (one - one.mean(axis=1, keepdims=True) for one in (x, y))
    with np.errstate(divide="ignore", invalid="ignore"):
        return (x * y).sum(axis=1) / np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))


def distinctive(profiles: ArrayLike) -> np.ndarray:
    """Return profiles less the mean profile of all, which is what answers to these items are like whoever is meant (Furr, 2008)."""
    profiles = np.asarray(profiles, dtype=float)
    return profiles - profiles.mean(axis=0)


def _ranks(profiles: np.ndarray) -> np.ndarray:
    import pandas as pd

    # Deviations that are equal but for their last digits are ties.
    return pd.DataFrame(np.round(profiles, 9)).rank(axis=1).to_numpy()


def profile_likeness(
    first: ArrayLike, second: ArrayLike, therapist: ArrayLike | None = None, *, min_clusters: int = MIN_CLUSTERS, min_rows: int = 4
) -> Jackknifed:
    """Return the mean likeness of two raters' profiles, named :data:`LIKENESS`.

    ``overall``: mean over dyads of the correlation of both profiles over the items. ``distinctive``: the same of profiles less each
    rater's mean profile (Furr, 2008): dyads seem alike because most people agree most with the same items, and two people taken at random
    are alike by just that; without it they are alike by zero. ``..._ranks``: by Spearman's correlation. ``normative``: correlation of the
    two mean profiles. Standard errors leave out each therapist, and mean profiles are made again without the therapist's clients.

    Parameters
    ----------
    first, second : array_like, shape (n, items)
        Complete answers, one row a dyad; profiles that differ (:func:`differs`).
    therapist : array_like, shape (n,), optional
    min_clusters, min_rows : int
        As in :func:`alliance.statistics.jackknife.jackknife`.
    """
    x, y = (np.asarray(one, dtype=float) for one in (first, second))
    whole, ranked = profile_correlations(x, y), profile_correlations(_ranks(x), _ranks(y))

    def values(kept: np.ndarray) -> np.ndarray:
        own_x, own_y = distinctive(x[kept]), distinctive(y[kept])
        means = [whole[kept], profile_correlations(own_x, own_y), ranked[kept], profile_correlations(_ranks(own_x), _ranks(own_y))]
        normative = profile_correlations(x[kept].mean(axis=0)[None], y[kept].mean(axis=0)[None])[0]
        return np.array([*(one.mean() for one in means), normative])

    return jackknife_subsets(values, len(x), len(LIKENESS), therapist, min_clusters=min_clusters, min_rows=min_rows)


def likeness_predicts(
    first: ArrayLike,
    second: ArrayLike,
    outcome: ArrayLike,
    held: ArrayLike | None = None,
    therapist: ArrayLike | None = None,
    *,
    min_clusters: int = MIN_CLUSTERS,
    min_rows: int = 4,
) -> Jackknifed:
    """Return the partial correlation of distinctive likeness with an outcome: given what is held constant, and given both levels as well.

    A profile's level is its mean over the items. Likeness may go with the outcome because both raters think well of the treatment; the
    second number leaves that out (Wood & Furr, 2016).

    Parameters
    ----------
    first, second, therapist, min_clusters, min_rows
        As in :func:`profile_likeness`.
    outcome : array_like, shape (n,)
    held : array_like, shape (n, q), optional
        What is held constant, such as the intake level.
    """
    x, y = (np.asarray(one, dtype=float) for one in (first, second))
    held = np.zeros((len(x), 0)) if held is None else np.asarray(held, dtype=float).reshape(len(x), -1)
    others = np.column_stack([np.asarray(outcome, dtype=float), held, x.mean(axis=1), y.mean(axis=1)])
    q = held.shape[1]

    def values(kept: np.ndarray) -> np.ndarray:
        data = np.column_stack([profile_correlations(distinctive(x[kept]), distinctive(y[kept])), others[kept]])
        covariance = np.atleast_2d(np.cov(data, rowvar=False))[None]
        wanted = [list(range(2, 2 + q)), list(range(2, 4 + q))]
        return np.array([partial_correlation(covariance, 0, 1, columns)[0] for columns in wanted])

    return jackknife_subsets(values, len(x), 2, therapist, min_clusters=min_clusters, min_rows=min_rows)
