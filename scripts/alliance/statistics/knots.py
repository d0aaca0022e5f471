"""At which session a growth curve bends: the likelihood of every knot, and the interval of knots that data do not rule out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.covariance import cluster_sums
from alliance.statistics.distributions import critical_value
from alliance.statistics.growth_effects import Working

# Log likelihoods that differ by less are equal: the variances are known to no more digits.
_EQUAL = 1e-6


@dataclass(frozen=True)
class Knot:
    """Best knot with the interval of knots whose likelihood is not much lower.

    Attributes
    ----------
    estimate, low, high : float
        On the scale of the knots.
    at_edge : bool
        Whether the interval reaches the first or the last knot searched: the data set no limit on that side.
    """

    estimate: float
    low: float
    high: float
    at_edge: bool


def knot_profile(
    score: ArrayLike, time: ArrayLike, client: ArrayLike, therapists: ArrayLike | None, working: Working, knots: ArrayLike
) -> np.ndarray:
    """Return the log likelihood of ``score = 1 + time + max(time - knot, 0)`` at every knot, less that of the straight line.

    The variances (lines of clients, intercepts of therapists, sessions) are taken as known, so that each knot takes least squares alone:
    means and variances of a normal model are orthogonal (Pinheiro & Bates, 2000, chapter 2).

    Parameters
    ----------
    score, time : array_like, shape (rows,)
        One row a session.
    client : array_like of int, shape (rows,)
        Codes 0.. of clients.
    therapists : array_like of int, shape (clients,) or None
        Codes 0.. of each client's therapist; None: not known.
    working : Working
        From :func:`alliance.statistics.growth_effects.working_variances`, on the scale of ``time``.
    knots : array_like, shape (k,)
        On the scale of ``time``.

    Returns
    -------
    ndarray, shape (k,)
        0 at a knot before or after all sessions, where the curve is the straight line.
    """
    score, time, knots = (np.asarray(values, dtype=float) for values in (score, time, knots))
    client = np.asarray(client, dtype=int)
    n = int(client.max()) + 1
    z = np.column_stack([np.ones(len(time)), time])
    x = np.column_stack([z, np.maximum(time[:, None] - knots, 0.0), score])
    size = x.shape[1]
    zz = cluster_sums((z[:, :, None] * z[:, None, :]).reshape(len(z), 4), client, n).reshape(n, 2, 2)
    zx = cluster_sums((z[:, :, None] * x[:, None, :]).reshape(len(z), 2 * size), client, n).reshape(n, 2, size)
    residual = working.residual
    shrink = np.linalg.solve(np.eye(2) + working.client @ zz / residual, np.broadcast_to(working.client, (n, 2, 2)))
    products = x.T @ x / residual - np.einsum("nia,nij,njb->ab", zx, shrink, zx) / residual**2
    if therapists is not None and working.therapist > 0:
        codes = np.asarray(therapists, dtype=int)
        groups = int(codes.max()) + 1
        weighed = (zx / residual - zz @ shrink @ zx / residual**2)[:, 0]
        sums = cluster_sums(weighed, codes, groups)
        weight = working.therapist / (1 + working.therapist * sums[:, 0])
        products = products - (sums * weight[:, None]).T @ sums

    # What knots and score hold beside the straight line.
    line = np.linalg.solve(products[:2, :2], products[:2, 2:])
    beside = products[2:, 2:] - products[2:, :2] @ line
    size_of = np.diagonal(products)[2:-1]
    own, with_score = np.diagonal(beside)[:-1], beside[:-1, -1]
    bends = own > 1e-9 * size_of
    return np.where(bends, with_score**2 / np.where(bends, own, 1.0), 0.0) / 2


def best_knot(knots: ArrayLike, profile: ArrayLike, level: float = 0.95) -> Knot:
    """Return the knot with the largest likelihood and its profile interval (likelihood ratio, chi-squared with 1 degree of freedom).

    Where few sessions were rated, knots between two of them can fit equally well: the first of such knots counts.

    Ends are interpolated linearly between knots. Where likelihoods have several maxima, the interval runs from the first to the last knot
    that is not ruled out.

    Parameters
    ----------
    knots : array_like, shape (k,)
        In increasing order.
    profile : array_like, shape (k,)
        Log likelihoods; those of several sites may be added.
    level : float
        Confidence level.
    """
    knots, profile = np.asarray(knots, dtype=float), np.asarray(profile, dtype=float)
    limit = profile.max() - float(critical_value(level)) ** 2 / 2
    inside = np.flatnonzero(profile >= limit)
    first, last = int(inside[0]), int(inside[-1])

    def end(out: int, within: int) -> float:
        share = (limit - profile[out]) / (profile[within] - profile[out])
        return float(knots[out] + share * (knots[within] - knots[out]))

    low = float(knots[0]) if first == 0 else end(first - 1, first)
    high = float(knots[-1]) if last == len(knots) - 1 else end(last + 1, last)
    best = int(np.flatnonzero(profile >= profile.max() - _EQUAL)[0])
    return Knot(float(knots[best]), low, high, first == 0 or last == len(knots) - 1)
