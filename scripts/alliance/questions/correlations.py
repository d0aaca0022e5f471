"""Correlations of one site as rows of its summary: from its clients, or as it published them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.site_data import COVARIANCE, Published
from alliance.statistics.correlation import DETERMINED, Correlations


def therapist_codes(clients: pd.Index, tables: pd.DataFrame, scores: pd.DataFrame) -> tuple[np.ndarray, bool]:
    """Return a code 0.. of the therapist of every client, and whether therapists are known at all.

    Therapists are those of :func:`therapists_of`; a client whose therapist is not known gets a code of its own.
    """
    known = therapists_of(clients, tables, scores)
    alone = known.isna()
    labels = known.where(~alone, -1.0 - np.arange(len(clients)))
    return pd.factorize(labels.to_numpy())[0], not bool(alone.all())


def therapists_of(clients: pd.Index, tables: pd.DataFrame, scores: pd.DataFrame) -> pd.Series:
    """Return ``therapist_no`` of every client, NaN where not known.

    The therapist of the clients table counts, else the one most often named with the client's scores (the lower number in a tie).
    """
    known = pd.Series(index=clients, dtype="float64")
    for frame in (tables, scores):
        if known.isna().any() and len(frame) and "therapist_no" in frame:
            known = known.where(known.notna(), _most_named(frame).reindex(clients).to_numpy())
    return known


def _most_named(frame: pd.DataFrame) -> pd.Series:
    """Return the therapist most often named with each client, the lower number in a tie."""
    named = frame["client_no"].notna().to_numpy() & frame["therapist_no"].notna().to_numpy()
    client, therapist = (frame[name].to_numpy(dtype=float, na_value=np.nan)[named] for name in ("client_no", "therapist_no"))
    pairs, count = np.unique(np.column_stack([client, therapist]), axis=0, return_counts=True)
    order = np.lexsort((pairs[:, 1], -count, pairs[:, 0]))
    clients, first = np.unique(pairs[order, 0], return_index=True)
    return pd.Series(pairs[order, 1][first], index=pd.Index(clients.astype("int64"), name="client_no"))


def row_fields(found: Correlations, position: int, therapists_known: bool) -> dict[str, Any]:
    """Return estimate, counts, method, status and reason of one correlation as columns of ``estimates.csv``."""
    reason, caution = found.reason[position], found.caution[position]
    return {
        "estimate_type": "correlation",
        "estimate": found.r[position],
        "n_clients": int(found.n[position]),
        "n_therapists": int(found.n_clusters[position]) if therapists_known else None,
        "method": "none" if reason else found.method[position],
        "status": "not_estimable" if reason else "flagged" if caution else "estimated",
        "reason": f"not estimable: {reason}" if reason else caution,
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


def published_matrix(
    names: Sequence[str], matrix: Mapping[frozenset[str], tuple[float, Any]], min_clients: int
) -> tuple[np.ndarray, int | None, str]:
    """Return the correlations of some variables in a published matrix, the smallest number of clients, and why they cannot be used.

    Parameters
    ----------
    names : sequence of str
    matrix : mapping
        Correlation and number of clients by pair of names.
    min_clients : int
        Fewer clients: not usable.
    """
    pairs = list(combinations(range(len(names)), 2))
    absent = [f"{names[i]} with {names[j]}" for i, j in pairs if frozenset((names[i], names[j])) not in matrix]
    n = None
    if not absent:
        sizes = [matrix[frozenset((names[i], names[j]))][1] for i, j in pairs]
        n = None if any(size is None or not np.isfinite(float(size)) for size in sizes) else int(min(sizes))
    reason = f"the site published no correlation of {' and of '.join(absent)}" if absent else ""
    reason = reason or ("the site published no number of clients" if n is None else "")
    reason = reason or (f"needs at least {min_clients} clients; has {n}" if n is not None and n < min_clients else "")
    r = np.eye(len(names))
    if not reason:
        for i, j in pairs:
            r[i, j] = r[j, i] = matrix[frozenset((names[i], names[j]))][0]
        if np.linalg.eigvalsh(r)[0] <= 1e-9:
            reason = "the published correlations contradict each other: their matrix is not positive definite"
    return r, n, reason


def published_fields(r: float, n: Any, std_error: float | None, min_clients: int, held: int = 0) -> tuple[dict[str, Any], float]:
    """Return the columns of ``estimates.csv`` and the variance of a correlation a site published, ``held`` variables held constant."""
    fields: dict[str, Any] = {"estimate_type": "correlation", "n_clients": None if pd.isna(n) else int(n), "method": "none"}
    if pd.isna(n):
        reason = "not estimable: the site published no number of clients"
    elif n < min_clients:
        reason = f"not estimable: needs at least {min_clients} clients; has {n}"
    elif not abs(r) < DETERMINED:
        reason = "not estimable: the published correlation is not inside -1 and 1"
    else:
        given = std_error is not None and np.isfinite(std_error) and std_error > 0
        variance = std_error**2 if given else (1 - r * r) ** 2 / (int(n) - 3 - held)
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
