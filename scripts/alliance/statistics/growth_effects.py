"""How characteristics of clients go with where a session-by-session score starts and how it changes, many characteristics at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.covariance import cluster_codes, cluster_sums
from alliance.statistics.distributions import critical_value

if TYPE_CHECKING:
    import pandas as pd

    from alliance.statistics.multilevel import MixedModel

PARTS = ("start", "change")


@dataclass(frozen=True)
class Working:
    """Variances and covariances that weigh the sessions of a growth model.

    Attributes
    ----------
    client : ndarray, shape (2, 2)
        Covariance of intercept and slope over clients.
    therapist, residual : float
        Variance of therapists' intercepts, and of sessions around a client's line.
    reason : str
        Why there are none; then the numbers are NaN.
    """

    client: np.ndarray
    therapist: float
    residual: float
    reason: str = ""


@dataclass(frozen=True)
class GrowthEffects:
    """Effects of characteristics on a growth curve; NaN where ``reason`` is not empty.

    Attributes
    ----------
    start, change : ndarray, shape (m,)
        Difference of the score at time 0, and of its slope on time, per unit of each characteristic.
    std_error : ndarray, shape (2, m)
        Of ``start`` and ``change``.
    df : ndarray, shape (m,)
        Therapists - 1; infinite where clients are taken as independent.
    n, n_clusters, n_sessions : ndarray of int, shape (m,)
        Clients, therapists among them, and their sessions.
    method, reason, caution : list of str
        ``cluster_jackknife`` or ``client_jackknife``; why there is no estimate; why clients are taken as independent.
    """

    start: np.ndarray
    change: np.ndarray
    std_error: np.ndarray
    df: np.ndarray
    n: np.ndarray
    n_clusters: np.ndarray
    n_sessions: np.ndarray
    method: list[str]
    reason: list[str]
    caution: list[str]

    def interval(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the limits of the intervals of ``start`` and ``change`` by t, each of shape (2, m)."""
        margin = critical_value(level, self.df) * self.std_error
        estimate = np.stack([self.start, self.change])
        return estimate - margin, estimate + margin


def working_variances(rows: pd.DataFrame, fixed: Sequence[str] = ("1", "time")) -> Working:
    """Return the variances of a growth model without any characteristic of clients (REML).

    Parameters
    ----------
    rows : DataFrame
        ``score, time, client`` and, where therapists are known, ``therapist``; one row a session. Where too few clients have three
        sessions for slopes of their own, clients differ in their intercepts alone.
    fixed : sequence of str
        Columns that give the mean curve; ``"1"`` is the intercept.
    """
    from alliance.statistics.multilevel import mixed_model

    levels = ["therapist", "client"] if "therapist" in rows else ["client"]
    reason = ""
    for random in ({"client": ("1", "time")}, {"client": ("1",)}):
        model = mixed_model(rows, "score", list(fixed), levels, random=random)
        if model.fit is not None:
            return working_of(model)
        reason = reason or model.reason
    return Working(np.full((2, 2), np.nan), np.nan, np.nan, reason)


def working_of(model: MixedModel) -> Working:
    """Return the variances of a fitted model with lines of ``client`` on ``time`` and, where known, intercepts of ``therapist``."""
    found = {(row.level, row.term1, row.term2): row.variance for row in model.variances.itertuples()}
    client = np.zeros((2, 2))
    for i, one in enumerate(("1", "time")):
        for j, two in enumerate(("1", "time")):
            client[i, j] = found.get(("client", one, two), found.get(("client", two, one), 0.0))
    return Working(client, float(found.get(("therapist", "1", "1"), 0.0)), float(model.residual_variance))


def growth_effects(
    score: ArrayLike,
    time: ArrayLike,
    client: ArrayLike,
    x: ArrayLike,
    therapists: ArrayLike | None,
    working: Working,
    *,
    min_rows: int = 4,
    min_clusters: int = MIN_CLUSTERS,
) -> GrowthEffects:
    """Return the effects of each characteristic in ``score = 1 + time + x + x time``, with lines of clients and intercepts of therapists.

    Generalised least squares with the given variances, which are those of the model without ``x``: any variances give estimates without
    bias, these are close to the best. Standard errors do not rely on them: each therapist is left out in turn (Bell & McCaffrey, 2002);
    with fewer than ``min_clusters`` therapists each client, and clients are taken as independent.

    Parameters
    ----------
    score, time : array_like, shape (rows,)
        One row a session.
    client : array_like of int, shape (rows,)
        Row of ``x`` that the session belongs to.
    x : array_like, shape (n, m)
        Characteristics of clients; NaN where missing.
    therapists : array_like, shape (n,) or None
        Therapist of each client.
    working : Working
    min_rows, min_clusters : int
        Fewer clients: no estimate. Fewer therapists: clients are taken as independent.
    """
    score, time, x = (np.asarray(values, dtype=float) for values in (score, time, x))
    client = np.asarray(client, dtype=int)
    n, m = x.shape
    if working.reason:
        return _absent(m, working.reason)
    lines, scores, sessions = _by_client(score, time, client, n, working)
    used = np.isfinite(x) & (sessions > 0)[:, None]
    known = therapists is not None
    codes, count = cluster_codes(np.asarray(therapists)) if known else (np.arange(n), n)
    groups = _groups(used, codes, count) if known else np.zeros(m, dtype=int)
    pieces = _pieces(lines, scores, np.where(used, x, 0.0), used, codes, count, working.therapist if known else 0.0)
    alone = _pieces(lines, scores, np.where(used, x, 0.0), used, np.arange(n), n, 0.0) if (groups < min_clusters).any() else None
    numbers = np.full((4, m), np.nan)
    df, method, reason, caution = np.full(m, np.inf), ["none"] * m, [""] * m, [""] * m
    clients = used.sum(axis=0)
    for column in range(m):
        if clients[column] < min_rows:
            reason[column] = f"needs at least {min_rows} clients with the factor and the alliance in sessions; has {clients[column]}"
            continue
        enough = groups[column] >= min_clusters
        found = _jackknifed(*(piece[column] for piece in (pieces if enough else alone)))
        if found is None:
            reason[column] = "needs clients who differ in the factor, and sessions at different times"
            continue
        numbers[:, column] = found
        df[column] = groups[column] - 1.0 if enough else np.inf
        method[column] = "cluster_jackknife" if enough else "client_jackknife"
        if known and not enough:
            caution[column] = f"fewer than {min_clusters} therapists ({groups[column]}): clients taken as independent"
    counted = (sessions[:, None] * used).sum(axis=0)
    return GrowthEffects(numbers[0], numbers[1], numbers[2:], df, clients, groups, counted.astype(int), method, reason, caution)


def _by_client(
    score: np.ndarray, time: np.ndarray, client: np.ndarray, n: int, working: Working
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Z'V^-1 Z, shape (n, 2, 2), Z'V^-1 y, shape (n, 2), and the number of sessions, with Z = (1, time) and V of one client.

    ``Z'V^-1 Z = (I + P Psi)^-1 P`` with ``P = Z'Z / residual``, which needs no inverse of Psi.
    """
    z = np.column_stack([np.ones(len(time)), time])
    products = cluster_sums((z[:, :, None] * z[:, None, :]).reshape(len(z), 4), client, n).reshape(n, 2, 2) / working.residual
    right = cluster_sums(z * score[:, None], client, n) / working.residual
    shrink = np.eye(2) + products @ working.client
    return np.linalg.solve(shrink, products), np.linalg.solve(shrink, right[:, :, None])[:, :, 0], np.bincount(client, minlength=n)


def _groups(used: np.ndarray, codes: np.ndarray, count: int) -> np.ndarray:
    return (cluster_sums(used.astype(float), codes, count) > 0).sum(axis=0)


def _pieces(
    lines: np.ndarray, scores: np.ndarray, x: np.ndarray, used: np.ndarray, codes: np.ndarray, count: int, therapist: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return X'V^-1 X, shape (m, groups, 4, 4), and X'V^-1 y, shape (m, groups, 4), of every group and characteristic.

    X has the columns 1, time, x, x time. The therapist's intercept, one number for all clients of a group, enters by the rank-one update
    ``V^-1 = D^-1 - D^-1 1 1' D^-1 / (1 / variance + 1' D^-1 1)``.
    """
    n, m = x.shape
    h = np.stack([used.astype(float), x], axis=-1)
    outer = np.einsum("nma,nmb,nij->nmaibj", h, h, lines).reshape(n, m * 16)
    left = cluster_sums(outer, codes, count).reshape(count, m, 4, 4)
    right = cluster_sums(np.einsum("nma,ni->nmai", h, scores).reshape(n, m * 4), codes, count).reshape(count, m, 4)
    ones = cluster_sums(np.einsum("nma,ni->nmai", h, lines[:, :, 0]).reshape(n, m * 4), codes, count).reshape(count, m, 4)
    weight = therapist / (1 + therapist * ones[..., 0])
    with_y = cluster_sums(used * scores[:, :1], codes, count)
    left = left - weight[..., None, None] * ones[..., :, None] * ones[..., None, :]
    right = right - (weight * with_y)[..., None] * ones
    return np.swapaxes(left, 0, 1), np.swapaxes(right, 0, 1)


def _jackknifed(left: np.ndarray, right: np.ndarray) -> np.ndarray | None:
    """Return effect at the start, on the change, and their standard errors; None where the characteristic or time does not vary."""
    present = left[:, 0, 0] > 0
    left, right = left[present], right[present]
    total, cross = left.sum(axis=0), right.sum(axis=0)
    stack = np.concatenate([total[None], total[None] - left])
    size = np.sqrt(np.diagonal(stack, axis1=-2, axis2=-1))
    if not (size > 0).all() or np.linalg.eigvalsh(stack / (size[:, :, None] * size[:, None, :]))[:, 0].min() < 1e-10:
        return None
    found = np.linalg.solve(stack, np.concatenate([cross[None], cross[None] - right])[:, :, None])[:, 2:, 0]
    groups = len(left)
    deviation = found[1:] - found[1:].mean(axis=0)
    return np.concatenate([found[0], np.sqrt((groups - 1) / groups * (deviation**2).sum(axis=0))])


def _absent(m: int, reason: str) -> GrowthEffects:
    empty, none = np.full(m, np.nan), np.zeros(m, dtype=int)
    return GrowthEffects(empty, empty, np.full((2, m), np.nan), np.full(m, np.inf), none, none, none, ["none"] * m, [reason] * m, [""] * m)
