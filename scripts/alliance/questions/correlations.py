"""Many correlations of one site at once, with standard errors that respect therapists; and correlations a site published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.site_data import COVARIANCE, Published
from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.covariance import cluster_sums

DETERMINED = 1 - 1e-12


@dataclass(frozen=True)
class Pairs:
    """Correlations of paired columns.

    Attributes
    ----------
    r, variance : ndarray, shape (m,)
        Correlations and their sampling variances; NaN where ``reason`` is not empty.
    n, therapists : ndarray of int, shape (m,)
        Complete clients and their therapists.
    clustered : ndarray of bool, shape (m,)
        Whether the variance respects therapists.
    reason : list of str
        Why there is no correlation; empty where there is one.
    influence : ndarray, shape (clients, m)
        Each client's share in the error of each r (sums to zero within a column); 0 where the client has no pair.
    """

    r: np.ndarray
    variance: np.ndarray
    n: np.ndarray
    therapists: np.ndarray
    clustered: np.ndarray
    reason: list[str]
    influence: np.ndarray


def therapist_codes(clients: pd.Index, tables: pd.DataFrame, scores: pd.DataFrame) -> tuple[np.ndarray, bool]:
    """Return a code 0.. of the therapist of every client, and whether therapists are known at all.

    The therapist of the clients table counts, else the one most often named with the client's scores (the lower number in a tie). A client
    whose therapist is not known gets a code of its own.
    """
    known = pd.Series(index=clients, dtype="float64")
    for frame in (scores, tables):
        if len(frame) and "therapist_no" in frame:
            rows = frame[["client_no", "therapist_no"]].dropna().astype("int64")
            counted = rows.value_counts(sort=False).rename("count").reset_index()
            counted = counted.sort_values(["client_no", "count", "therapist_no"], ascending=[True, False, True])
            named = counted.drop_duplicates("client_no").set_index("client_no")["therapist_no"].astype("float64")
            known = named.reindex(clients).combine_first(known)
    alone = known.isna()
    labels = known.where(~alone, -1.0 - np.arange(len(clients)))
    return pd.factorize(labels.to_numpy())[0], not bool(alone.all())


def correlate(x: np.ndarray, y: np.ndarray, codes: np.ndarray, therapists_known: bool, min_clients: int, what: str) -> Pairs:
    """Return the correlation of each column of ``x`` with the same column of ``y``.

    The variance is the sandwich of ``alliance.statistics.correlation`` for each column: influences ``zx zy - r (zx² + zy²) / 2`` summed
    within therapists, times G / (G - 1). With fewer than five therapists, or none known, it is that of Fisher's z, ``1 / (n - 3)``, turned
    to the scale of r.

    Parameters
    ----------
    x, y : ndarray, shape (clients, m)
        NaN where a client lacks the value.
    codes : ndarray of int, shape (clients,)
        Therapist codes from :func:`therapist_codes`.
    therapists_known : bool
        Whether they are therapists or single clients.
    min_clients : int
        Fewer complete clients: not estimable.
    what : str
        What a client needs two of, for the reason (``scores``, ...).
    """
    both = np.isfinite(x) & np.isfinite(y)
    n = both.sum(axis=0)
    used = np.maximum(n, 1)
    standardised = []
    constant = np.zeros(n.size, dtype=bool)
    for values in (x, y):
        filled = np.where(both, values, 0.0)
        centred = np.where(both, filled - filled.sum(axis=0) / used, 0.0)
        spread = np.sqrt((centred**2).sum(axis=0) / used)
        constant |= spread <= 1e-12 * np.abs(filled).max(axis=0, initial=0.0)
        standardised.append(centred / np.where(spread > 0, spread, 1.0))
    first, second = standardised
    r = (first * second).sum(axis=0) / used
    influence = (first * second - r * (first**2 + second**2) / 2) / used
    count = int(codes.max()) + 1 if codes.size else 0
    sums = cluster_sums(influence, codes, count)
    groups = (cluster_sums(both.astype(float), codes, count) > 0).sum(axis=0)
    clustered = therapists_known & (groups >= MIN_CLUSTERS)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(clustered, groups / (groups - 1) * (sums**2).sum(axis=0), (1 - r**2) ** 2 / (n - 3))
    reason = [
        f"not estimable: needs at least {min_clients} clients with both {what}; has {n[i]}"
        if n[i] < min_clients
        else f"not estimable: one of the two {what} is the same for all clients"
        if constant[i]
        else f"not estimable: the two {what} determine each other (r = {'-' if r[i] < 0 else ''}1)"
        if abs(r[i]) >= DETERMINED
        else "not estimable: the standard error is zero"
        if not variance[i] > 0
        else ""
        for i in range(n.size)
    ]
    absent = np.array([bool(text) for text in reason], dtype=bool)
    return Pairs(
        np.where(absent, np.nan, r), np.where(absent, np.nan, variance), n, groups, np.broadcast_to(clustered, n.shape), reason, influence
    )


def row_fields(pairs: Pairs, position: int, therapists_known: bool) -> dict[str, Any]:
    """Return estimate, counts, method, status and reason of one correlation as columns of ``estimates.csv``."""
    reason = pairs.reason[position]
    clustered = bool(pairs.clustered[position])
    few = therapists_known and not clustered and not reason
    return {
        "estimate_type": "correlation",
        "estimate": pairs.r[position],
        "n_clients": int(pairs.n[position]),
        "n_therapists": int(pairs.therapists[position]) if therapists_known else None,
        "method": "none" if reason else "cluster_robust" if clustered else "independent",
        "status": "not_estimable" if reason else "flagged" if few else "estimated",
        "reason": reason
        or (f"fewer than {MIN_CLUSTERS} therapists ({pairs.therapists[position]}): clients taken as independent" if few else ""),
    }


def published_correlations(published: Published) -> pd.DataFrame:
    """Return the correlations in a published matrix: ``var1, var2, r, n``, one row a pair of different variables.

    Covariances are turned to correlations by the diagonal of their block; pairs without it are left out. The first block, by name, that
    holds a pair supplies it.
    """
    rows = published.moments.sort_values(["block", "level", "var1", "var2"], kind="stable")
    same = rows["var1"] == rows["var2"]
    diagonal = {(b, v): value for b, v, value in rows.loc[same, ["block", "var1", "cov"]].itertuples(index=False)}
    found = []
    for row in rows[~same].itertuples(index=False):
        value = row.cov
        if row.method == COVARIANCE:
            spread = diagonal.get((row.block, row.var1), np.nan) * diagonal.get((row.block, row.var2), np.nan)
            value = value / np.sqrt(spread) if spread > 0 else np.nan
        if np.isfinite(value):
            found.append({"pair": frozenset((row.var1, row.var2)), "var1": row.var1, "var2": row.var2, "r": float(value), "n": row.n})
    frame = pd.DataFrame(found, columns=["pair", "var1", "var2", "r", "n"])
    return frame.drop_duplicates("pair").drop(columns="pair").reset_index(drop=True)


def published_fields(r: float, n: Any, std_error: float | None, min_clients: int) -> tuple[dict[str, Any], float]:
    """Return the columns of ``estimates.csv`` and the variance of a correlation a site published."""
    fields: dict[str, Any] = {"estimate_type": "correlation", "n_clients": None if pd.isna(n) else int(n), "method": "none"}
    if pd.isna(n):
        reason = "not estimable: the site published no number of clients"
    elif n < min_clients:
        reason = f"not estimable: needs at least {min_clients} clients; has {n}"
    elif not abs(r) < DETERMINED:
        reason = "not estimable: the published correlation is not inside -1 and 1"
    else:
        given = std_error is not None and np.isfinite(std_error) and std_error > 0
        variance = std_error**2 if given else (1 - r * r) ** 2 / (int(n) - 3)
        return {**fields, "estimate": r, "method": "published" if given else "published_n", "status": "estimated"}, float(variance)
    return {**fields, "status": "not_estimable", "reason": reason}, np.nan


def variances(estimates: list[Mapping[str, Any]], values: list[float]) -> pd.DataFrame:
    """Return ``vcov`` rows that hold variances only."""
    rows = [
        {"model": row["model"], "parameter1": row["parameter"], "parameter2": row["parameter"], "cov": value}
        for row, value in zip(estimates, values)
        if np.isfinite(value)
    ]
    return pd.DataFrame(rows, columns=["model", "parameter1", "parameter2", "cov"])
