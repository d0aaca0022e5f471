"""How treatments end, session by session: incidence of one ending where others compete, from counts; what hazards imply for clients.

Time is the number of the session attended. Clients at risk at session t are those who came to it and of whom it is known whether and
how they ended after it; a client whose treatment was broken off from outside, or still goes on, is at risk until the session before
the last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.distributions import critical_value


@dataclass(frozen=True)
class Incidence:
    """Estimates by session, shape (..., sessions) each.

    Attributes
    ----------
    staying, staying_error : ndarray
        Share still in treatment after the session (Kaplan & Meier, all endings), and its standard error (Greenwood).
    incidence, incidence_error : ndarray
        Share who ended in the first way up to the session (Aalen & Johansen), and its standard error.
    by_hazard : ndarray, shape (..., sessions, sessions, 2, 2)
        Derivatives of (staying, incidence) at a session (third last axis but one) by the two hazards at each session.
    """

    staying: np.ndarray
    staying_error: np.ndarray
    incidence: np.ndarray
    incidence_error: np.ndarray
    by_hazard: np.ndarray


def cumulative_incidence(at_risk: ArrayLike, ended: ArrayLike, ended_otherwise: ArrayLike) -> Incidence:
    """Return the share still in treatment and the cumulative incidence of the first ending.

    Errors by the delta method from the multinomial hazards of each session, which are independent over sessions: for the share still in
    treatment this is Greenwood's formula, and for both it equals the infinitesimal jackknife over clients (survival's ``survfit``).

    Parameters
    ----------
    at_risk, ended, ended_otherwise : array_like, shape (..., sessions)
        Clients at risk at each session, who ended in the first way after it, and in another way. Sessions with nobody at risk give NaN
        from there on.
    """
    n, first, other = (np.asarray(values, dtype=float) for values in (at_risk, ended, ended_otherwise))
    sessions = n.shape[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        h1, h2 = first / n, other / n
    h = h1 + h2
    after = np.cumprod(1 - h, axis=-1)
    before = np.concatenate([np.ones_like(after[..., :1]), after[..., :-1]], axis=-1)
    incidence = np.cumsum(before * h1, axis=-1)
    # Axis -2 is the session at which a share is told, axis -1 the session whose hazard moves it.
    earlier = np.tril(np.ones((sessions, sessions), dtype=bool))
    with np.errstate(divide="ignore", invalid="ignore"):
        staying_by = np.where(earlier & (h[..., None, :] < 1), -after[..., :, None] / (1 - h[..., None, :]), 0.0)
        left = (incidence[..., :, None] - incidence[..., None, :]) / (1 - h[..., None, :])
    left = np.where(earlier & (h[..., None, :] < 1), left, 0.0)
    # All who are left end here: the share still in treatment falls by what was there before.
    everyone = earlier & (h[..., None, :] >= 1) & np.eye(sessions, dtype=bool)
    staying_by = np.where(everyone, -before[..., None, :], staying_by)
    by = np.empty((*n.shape, sessions, 2, 2))
    by[..., 0, 0] = by[..., 0, 1] = staying_by
    by[..., 1, 1] = -left
    by[..., 1, 0] = np.where(earlier, before[..., None, :], 0.0) - left
    covariance = np.empty((*n.shape, 2, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance[..., 0, 0], covariance[..., 1, 1] = h1 * (1 - h1) / n, h2 * (1 - h2) / n
        covariance[..., 0, 1] = covariance[..., 1, 0] = -h1 * h2 / n
    variance = np.einsum("...stqi,...tij,...stqj->...stq", by, covariance, by)
    # Sessions after the one told about have no weight, though nobody may be at risk there.
    variance = np.where(earlier[..., None], variance, 0.0).sum(axis=-2)
    error = np.sqrt(np.maximum(variance, 0.0))
    return Incidence(after, error[..., 0], incidence, error[..., 1], by)


def clustered_error(found: Incidence, at_risk: ArrayLike, ended: ArrayLike, ended_otherwise: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return standard errors of both shares that respect therapists.

    The infinitesimal jackknife with the influence of clients added up within therapists, as ``survfit(..., cluster =)`` gives, times
    sqrt(G / (G - 1)).

    Parameters
    ----------
    found : Incidence
        Of the sums over therapists, shape (sessions,).
    at_risk, ended, ended_otherwise : array_like, shape (therapists, sessions)
        Counts of each therapist's clients.

    Returns
    -------
    tuple of ndarray, shape (sessions,) each
        Of the share still in treatment, and of the incidence.
    """
    n, first, other = (np.asarray(values, dtype=float) for values in (at_risk, ended, ended_otherwise))
    total = n.sum(axis=0)
    sessions, therapists = len(total), len(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        influence = np.stack([(one - n * (one.sum(axis=0) / total)) / total for one in (first, other)], axis=-1)
    influence = np.where(np.isfinite(influence), influence, 0.0)
    weights = np.where(np.tril(np.ones((sessions, sessions), dtype=bool))[..., None, None], found.by_hazard, 0.0)
    moved = np.einsum("stqi,gti->gsq", np.nan_to_num(weights), influence)
    error = np.sqrt((moved**2).sum(axis=0) * (therapists / (therapists - 1) if therapists > 1 else np.nan))
    known = np.isfinite(found.staying)
    return np.where(known, error[:, 0], np.nan), np.where(known, error[:, 1], np.nan)


def share_interval(share: ArrayLike, error: ArrayLike, level: float, df: ArrayLike = np.inf) -> tuple[np.ndarray, np.ndarray]:
    """Return limits of shares on the scale of log(-log(share)), which stay inside 0 and 1; NaN where the share is 0 or 1."""
    share, error = np.asarray(share, dtype=float), np.asarray(error, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = (share > 0) & (share < 1) & (error > 0)
        log_share = np.log(np.where(inside, share, 0.5))
        reach = critical_value(level, df) * error / (np.where(inside, share, 0.5) * np.abs(log_share))
        low, high = np.exp(log_share * np.exp(reach)), np.exp(log_share * np.exp(-reach))
    return np.where(inside, low, np.nan), np.where(inside, high, np.nan)


def cumulative_risk(hazard: ArrayLike, other_hazard: ArrayLike) -> np.ndarray:
    """Return the share of alike clients who ended in the first way up to each session, from two cause-specific hazards.

    Parameters
    ----------
    hazard, other_hazard : array_like, shape (..., sessions)
        Hazards after each session among those who came to it. Where they add up to more than 1, the second gives way.
    """
    first, other = np.asarray(hazard, dtype=float), np.asarray(other_hazard, dtype=float)
    staying = np.cumprod(1 - np.minimum(first + other, 1.0), axis=-1)
    before = np.concatenate([np.ones_like(staying[..., :1]), staying[..., :-1]], axis=-1)
    return np.cumsum(before * first, axis=-1)


def subdistribution_rows(last: ArrayLike, ending: ArrayLike, sessions: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the person-periods of the discrete subdistribution hazard of the first ending (Berger et al., 2020).

    Clients who ended in another way stay at risk, with the weight ``P(C >= t) / P(C >= last)`` that they would not have been censored
    until then; C is estimated by the life table of censoring.

    Parameters
    ----------
    last : array_like of int, shape (n,)
        Last session at which the client was at risk; 0 for clients censored before it was known whether they came to a second.
    ending : array_like of int, shape (n,)
        1: in the first way, 2: in another way, 0: censored (known to have come again after ``last``).
    sessions : int
        Last session of the model.

    Returns
    -------
    client, session, event, weight : ndarray, shape (rows,)
        ``client`` is the position in the input; rows of weight zero are left out.
    """
    last, ending = np.asarray(last, dtype=int), np.asarray(ending, dtype=int)
    at = np.arange(0, sessions + 1)
    censored = np.array([((last == t) & (ending == 0)).sum() for t in at], dtype=float)
    exposed = np.array([((last > t) | ((last == t) & (ending == 0))).sum() for t in at], dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = np.where(exposed > 0, 1 - censored / exposed, 1.0)
    # reaching[t] = P(C >= t), the chance of not being censored at 0, ..., t - 1.
    reaching = np.concatenate([[1.0], np.cumprod(kept)])[: sessions + 1]
    until = np.where(ending == 2, sessions, np.minimum(last, sessions))
    client = np.repeat(np.arange(len(last)), until)
    session = np.concatenate([np.arange(1, count + 1) for count in until]) if len(until) else np.zeros(0, dtype=int)
    own = np.minimum(last[client], sessions)
    weight = np.where(session <= own, 1.0, reaching[session] / np.where(reaching[own] > 0, reaching[own], 1.0))
    event = ((ending[client] == 1) & (session == last[client])).astype(float)
    used = weight > 0
    return client[used], session[used], event[used], weight[used]
