"""Means and covariances of rows with missing values, and the sampling covariance of the covariances by therapists."""

from __future__ import annotations

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
    names = tuple(rows.columns)
    pairs = [StructuralTerm(a, "~~", b) for a, b in combinations_with_replacement(names, 2)]
    free = StructuralModel((), names, tuple(pairs), (), ())
    incomplete = bool(rows.isna().to_numpy().any())
    clusters = None if therapists is None or cluster_codes(therapists)[1] < MIN_CLUSTERS else [np.asarray(therapists)]
    fitted = fit_structural(
        free, rows=rows, clusters=clusters, missing="ml" if incomplete else "listwise", mean_structure=True, errors="robust"
    )
    method = INCOMPLETE if incomplete else COMPLETE
    count, p = len(pairs), len(names)
    if fitted.status == "not_estimable":
        empty = np.full((p, p), np.nan)
        return RowMoments(empty[0], empty, np.full((p + count,) * 2, np.nan), method, "", fitted.reason)
    without = jackknife(fitted)
    factor = len(rows) / (len(rows) - 1)
    place = {(row.lhs, row.op, row.rhs): position for position, row in enumerate(fitted.parameters.itertuples(index=False))}
    chosen = [place[name, "~1", ""] for name in names] + [place[term.lhs, "~~", term.rhs] for term in pairs]
    unit = np.r_[np.ones(p), np.full(count, factor)]
    square = np.ix_(chosen, chosen)
    vcov = without.vcov_estimates[square]
    if without.unit == "clusters" and without.n_units[0] < FEW_CLUSTERS:
        by_client = jackknife(fitted, min_clusters=len(rows) + 1).vcov_estimates[square]
        size = np.sqrt(np.maximum(np.diagonal(vcov) / np.diagonal(by_client), 1.0))
        vcov = by_client * np.outer(size, size)
    vcov = vcov * np.outer(unit, unit)
    mean = fitted.implied_means[0].to_numpy(dtype=float)
    return RowMoments(mean, fitted.implied_covariances[0].to_numpy(dtype=float) * factor, vcov, method, without.unit)
