"""Means and covariances of rows with missing values, and the sampling covariance of the covariances by therapists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance.statistics.covariance import cluster_codes
from alliance.statistics.structural_fit import fit_structural
from alliance.statistics.structural_model import StructuralModel, StructuralTerm
from alliance.statistics.structural_resampling import MIN_CLUSTERS, jackknife

FEW_CLUSTERS = 20
COMPLETE, INCOMPLETE = "complete_cases", "maximum_likelihood"


@dataclass(frozen=True)
class RowMoments:
    """Moments of p variables.

    Attributes
    ----------
    mean : ndarray, shape (p,)
    covariance : ndarray, shape (p, p)
        With the divisor n - 1 of complete rows; with missing values the maximum likelihood estimate (divisor n) times n / (n - 1), n the
        rows that have anything.
    vcov : ndarray, shape (p + p (p + 1) / 2,) * 2
        Sampling covariance of the means and of the elements of the matrix (upper triangle row by row); NaN where leaving out one of the
        units leaves no estimate.
    method : str
        ``complete_cases`` or ``maximum_likelihood`` (rows with missing values too).
    unit : str
        What was left out in turn: ``clusters`` or ``rows``.
    reason : str
        Why there are no moments; empty where there are.
    """

    mean: np.ndarray
    covariance: np.ndarray
    vcov: np.ndarray
    method: str
    unit: str
    reason: str = ""

    @property
    def acov(self) -> np.ndarray:
        """Sampling covariance of the elements of the matrix alone."""
        return self.vcov[len(self.mean) :, len(self.mean) :]


@dataclass(frozen=True)
class GroupMoments:
    """Moments of p variables in each of several groups of clients.

    Attributes
    ----------
    means : ndarray, shape (G, p)
    covariances : ndarray, shape (G, p, p)
        As in :class:`RowMoments`.
    vcov : ndarray, shape (G (p + p (p + 1) / 2),) * 2
        Sampling covariance of the moments of all groups, one group after the other: of each the means and the elements of the matrix.
        Groups that have therapists in common are not independent.
    method, unit, reason : str
        As in :class:`RowMoments`.
    """

    means: np.ndarray
    covariances: np.ndarray
    vcov: np.ndarray
    method: str
    unit: str
    reason: str = ""

    @property
    def acov(self) -> np.ndarray:
        """Sampling covariance of the elements of the matrices alone, one group after the other."""
        groups, p = self.means.shape
        size = len(self.vcov) // groups
        chosen = np.concatenate([group * size + np.arange(p, size) for group in range(groups)])
        return self.vcov[np.ix_(chosen, chosen)]


def moments_of_rows(rows: pd.DataFrame, therapists: ArrayLike | None = None) -> RowMoments:
    """Return maximum likelihood moments of rows, missing at random, and what leaving out each therapist in turn says of their precision.

    The model that restricts nothing is fitted with full information (Enders, 2010, chapter 4); its jackknife leaves out whole therapists,
    clients where fewer than five are known. A matrix from fewer than 20 therapists is all but singular, and some of its variances are
    small by chance: its correlations are then those of leaving out clients, and its variances are never below theirs.

    Parameters
    ----------
    rows : DataFrame, shape (n, p)
        NaN where missing; every row has something.
    therapists : array_like, shape (n,), optional
    """
    found = moments_of_groups([rows], None if therapists is None else [therapists])
    return RowMoments(found.means[0], found.covariances[0], found.vcov, found.method, found.unit, found.reason)


def moments_of_groups(rows: Sequence[pd.DataFrame], therapists: Sequence[ArrayLike] | None = None) -> GroupMoments:
    """Return the same for several groups of clients at once; a therapist can have clients in several of them.

    Parameters
    ----------
    rows : sequence of DataFrame, shape (n_g, p)
        One a group, with the same columns; NaN where missing; every row has something.
    therapists : sequence of array_like, optional
        Of each group's rows; clients are left out where any group has fewer than five.
    """
    names = tuple(rows[0].columns)
    pairs = [StructuralTerm(a, "~~", b) for a, b in combinations_with_replacement(names, 2)]
    free = StructuralModel((), names, tuple(pairs), (), ())
    incomplete = any(bool(one.isna().to_numpy().any()) for one in rows)
    known = therapists is not None and min(cluster_codes(one)[1] for one in therapists) >= MIN_CLUSTERS
    fitted = fit_structural(
        free,
        rows=list(rows),
        clusters=[np.asarray(one) for one in therapists] if known else None,
        shared_clusters=True,
        missing="ml" if incomplete else "listwise",
        mean_structure=True,
        errors="robust",
    )
    method = INCOMPLETE if incomplete else COMPLETE
    groups, count, p = len(rows), len(pairs), len(names)
    if fitted.status == "not_estimable":
        empty = np.full((groups, p, p), np.nan)
        return GroupMoments(empty[:, 0], empty, np.full((groups * (p + count),) * 2, np.nan), method, "", fitted.reason)
    without = jackknife(fitted, clients_below=FEW_CLUSTERS)
    n = np.array([len(one) for one in rows])
    factor = n / (n - 1)
    place = {(row.group, row.lhs, row.op, row.rhs): position for position, row in enumerate(fitted.parameters.itertuples(index=False))}
    chosen, unit = [], []
    for group, name in enumerate(fitted.groups):
        chosen += [place[name, one, "~1", ""] for one in names] + [place[name, term.lhs, "~~", term.rhs] for term in pairs]
        unit += [np.ones(p), np.full(count, factor[group])]
    square, unit = np.ix_(chosen, chosen), np.concatenate(unit)
    vcov = without.vcov_estimates[square]
    if without.by_client is not None:
        by_client = without.by_client[0][square]
        size = np.sqrt(np.maximum(np.diagonal(vcov) / np.diagonal(by_client), 1.0))
        vcov = by_client * np.outer(size, size)
    vcov = vcov * np.outer(unit, unit)
    means = np.array([one.to_numpy(dtype=float) for one in fitted.implied_means])
    covariances = np.array([one.to_numpy(dtype=float) for one in fitted.implied_covariances]) * factor[:, None, None]
    return GroupMoments(means, covariances, vcov, method, without.unit)
