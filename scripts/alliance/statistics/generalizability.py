"""Generalizability of observers' scores: sessions nested in clients, crossed with raters (Cronbach and others, 1972; Brennan, 2001).

A rating is the sum of effects of the client, of the session in the client, of the rater, of the rater with this client, and the rest.
Components are those of the restricted likelihood, balanced or not, and never negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.crossed_effects import RatingSums, newton, rater_block, rating_sums
from alliance.statistics.interrater import (
    MIN_TARGETS,
    CodedRatings,
    coded_ratings,
    why_not_estimable,
    why_raters_are_not_separable,
)
from alliance.statistics.reliability_interval import Coefficient, leave_out, no_coefficient

if TYPE_CHECKING:
    import pandas as pd

CLIENT, SESSION, RATER, CLIENT_RATER, RESIDUAL = "client", "session", "rater", "client x rater", "residual"
SOURCES = (CLIENT, SESSION, RATER, CLIENT_RATER)
MIN_CLIENTS = 5
_START = (1.0, 1.0, 0.1, 0.1)
_FARTHEST = 12.0
_ZERO = 1e-8


@dataclass(frozen=True)
class GStudy:
    """Components of variance of ratings. Where ``status`` is ``not_estimable`` there are none, and ``reason`` says what is needed.

    Attributes
    ----------
    variances : dict of str to float
        Variance by source: ``client``, ``session`` (in the client), ``rater``, ``client x rater`` and ``residual``. Sources that cannot be
        told apart from the residual are not listed and part of it.
    log_likelihood : float
        Restricted; NaN where not estimable.
    raters_of_session, sessions_of_client : float
        Harmonic means of what sessions and clients have.
    n_ratings, n_sessions, n_clients, n_raters : int
        Raters is 0 where they are not identified.
    status, reason : str
        ``estimated``, ``flagged`` or ``not_estimable``, and why.
    """

    variances: dict[str, float]
    log_likelihood: float
    raters_of_session: float
    sessions_of_client: float
    n_ratings: int
    n_sessions: int
    n_clients: int
    n_raters: int
    status: str
    reason: str

    @property
    def shares(self) -> dict[str, float]:
        """Shares (0-1) of the sources in the variance of single ratings."""
        total = sum(self.variances.values())
        return {source: variance / total for source, variance in self.variances.items()}

    def generalizability(self, raters: float, sessions: float) -> float:
        """Return the generalizability coefficient of clients' means over raters and sessions: how far they order clients alike.

        Relative error is that of sessions, of client x rater and of the rest, divided by their numbers (Brennan, 2001; sessions nested in
        clients, the same raters for all).
        """
        return self._coefficient(self._of(CLIENT), self._relative(raters, sessions))

    def dependability(self, raters: float, sessions: float) -> float:
        """Return the index of dependability of these means: as generalizability, with differences in the raters' level as error."""
        return self._coefficient(self._of(CLIENT), self._relative(raters, sessions) + self._of(RATER) / raters)

    def session_generalizability(self, raters: float) -> float:
        """Return the generalizability of scores of single sessions over raters; differences of clients and of sessions are both true."""
        return self._coefficient(self._of(CLIENT) + self._of(SESSION), (self._of(CLIENT_RATER) + self._of(RESIDUAL)) / raters)

    def session_dependability(self, raters: float) -> float:
        """Return the dependability of scores of single sessions over raters."""
        error = (self._of(CLIENT_RATER) + self._of(RESIDUAL) + self._of(RATER)) / raters
        return self._coefficient(self._of(CLIENT) + self._of(SESSION), error)

    def _of(self, source: str) -> float:
        return self.variances.get(source, 0.0)

    def _relative(self, raters: float, sessions: float) -> float:
        return self._of(SESSION) / sessions + self._of(CLIENT_RATER) / raters + self._of(RESIDUAL) / (raters * sessions)

    def _coefficient(self, true: float, error: float) -> float:
        return true / (true + error) if self.variances and true + error > 0 else np.nan


def g_study(ratings: pd.DataFrame, *, min_targets: int = MIN_TARGETS, min_clients: int = MIN_CLIENTS) -> GStudy:
    """Return the components of variance of ratings of sessions of clients.

    Parameters
    ----------
    ratings : DataFrame
        As for :func:`alliance.statistics.interrater.intraclass`, with ``client``; targets are sessions.
    min_targets : int
        Fewer sessions with at least two ratings: not estimable.
    min_clients : int
        Fewer clients with at least two rated sessions: not estimable. Fewer clients of whom two raters each rated two sessions:
        client x rater is part of the residual.

    Raises
    ------
    ValueError
        As for ``intraclass``.
    """
    return _study(coded_ratings(ratings), min_targets, min_clients)[0]


def generalizability_with_interval(
    ratings: pd.DataFrame,
    *,
    raters: float | None = None,
    sessions: float | None = None,
    level: float = 0.95,
    min_targets: int = MIN_TARGETS,
    min_clients: int = MIN_CLIENTS,
    min_clusters: int = MIN_CLUSTERS,
) -> tuple[GStudy, Coefficient, Coefficient]:
    """Return the components, and the generalizability of clients' means and of sessions' scores with intervals.

    Intervals leave out each therapist in turn (clients or groups of them, with few therapists) on the scale of ln(1 - coefficient).
    Dependability has none here: how far other raters would differ in level cannot be learned from therapists.

    Parameters
    ----------
    ratings, min_targets, min_clients
        As for :func:`g_study`.
    raters, sessions : float, optional
        Numbers that are averaged over; default the harmonic means of what sessions and clients have.
    level : float
        Confidence level.
    min_clusters : int
        Fewer therapists: clients are taken as independent.
    """
    data = coded_ratings(ratings)
    study, by_client, ratios = _study(data, min_targets, min_clients)
    if by_client is None:
        return study, no_coefficient(study.reason), no_coefficient(study.reason)
    numbers = (raters or study.raters_of_session, sessions or study.sessions_of_client)

    def both(each: np.ndarray) -> np.ndarray:
        client, session, _, interaction = np.moveaxis(each, -1, 0)
        noise = session / numbers[1] + interaction / numbers[0] + 1 / (numbers[0] * numbers[1])
        true = client + session
        return np.stack([client / (client + noise), true / (true + (interaction + 1) / numbers[0])], axis=-1)

    left_out = leave_out(
        lambda codes, count: both(_without(by_client, ratios, codes, count)), data.therapist, int(data.client.max()) + 1, min_clusters
    )
    return study, *(left_out.coefficient(which, value, level, study.reason) for which, value in enumerate(both(ratios)))


def _study(data: CodedRatings, min_targets: int, min_clients: int) -> tuple[GStudy, RatingSums | None, np.ndarray]:
    sessions = np.bincount(data.client) if len(data.client) else np.zeros(0)
    counts = (len(data.values), len(data.client), len(sessions), data.n_raters)
    means = (data.k, float(1 / np.mean(1 / sessions))) if len(sessions) else (np.nan, np.nan)
    several = int((sessions >= 2).sum())
    reason = why_not_estimable(data, int((data.ratings >= 2).sum()), min_targets)
    if not reason and several < min_clients:
        reason = f"needs at least two rated sessions of at least {min_clients} clients; has {several}"
    if reason:
        return GStudy({}, np.nan, *means, *counts, "not_estimable", reason), None, np.zeros(len(SOURCES))
    notes, varying = [], np.ones(len(SOURCES), dtype=bool)
    inseparable = why_raters_are_not_separable(data)
    if inseparable:
        varying[2:] = False
        notes.append(f"{inseparable}; they are part of the residual")
    elif _clients_with_repeated_raters(data) < min_clients:
        varying[3] = False
        notes.append(f"client x rater is part of the residual: fewer than {min_clients} clients have two raters of two sessions each")
    by_client = rating_sums(data.target, data.client, None if inseparable else data.rater, data.values)
    ratios, deviance, converged = _fitted(by_client, varying)
    if not converged:
        notes.append("the optimum was not reached: do not rely on this")
    zero = [source for source, ratio, varies in zip(SOURCES, ratios, varying, strict=True) if varies and ratio == 0]
    if zero:
        notes.append(f"variance estimated as zero: {', '.join(zero)}")
    df = len(data.values) - 1
    error = float(_deviance(by_client, ratios, np.ones(len(sessions)))[1]) / df * data.scale**2
    variances = {source: float(ratio * error) for source, ratio, varies in zip(SOURCES, ratios, varying, strict=True) if varies}
    likelihood = -(deviance + 2 * df * np.log(data.scale)) / 2
    status = "flagged" if notes else "estimated"
    study = GStudy({**variances, RESIDUAL: float(error)}, float(likelihood), *means, *counts, status, "; ".join(notes))
    return study, by_client, ratios


def _clients_with_repeated_raters(data: CodedRatings) -> int:
    pair = data.client[data.target] * data.n_raters + data.rater
    repeated = np.flatnonzero(np.bincount(pair) >= 2) // data.n_raters
    return int((np.bincount(repeated) >= 2).sum()) if len(repeated) else 0


def _deviance(by_client: RatingSums, ratios: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return -2 times the restricted log-likelihood at variances over that of the rest, and the residual sum of squares.

    Sessions are eliminated within clients, then the client and its interactions with raters, then raters.

    Parameters
    ----------
    by_client : RatingSums
    ratios : ndarray, shape (..., 4)
        In the order of :data:`SOURCES`.
    used : ndarray, shape (..., clients)
        1 for clients that count, 0 for those left out.
    """
    client, session, rater, interaction = np.moveaxis(ratios, -1, 0)
    spread = 1 + by_client.sizes * session[..., None]
    reduced = by_client.rows - np.einsum("...d,cdij->...cij", session[..., None] / spread, by_client.totals)
    block, cross = reduced[..., :-1, :-1], reduced[..., :-1, :]
    p = block.shape[-1]
    random = (client[..., None, None] + interaction[..., None, None] * np.eye(p))[..., None, :, :]
    inner = np.eye(p) + block @ random
    sign, value = np.linalg.slogdet(inner)
    taken = np.swapaxes(cross, -1, -2) @ random @ np.linalg.solve(inner, cross)
    total = np.einsum("...c,...cij->...ij", used, reduced - taken)
    left = rater_block(total, (used @ by_client.rows.diagonal(axis1=1, axis2=2)[:, :-1]).max(axis=-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        last, rss = left.log_det_and_rss(rater)
        by_session = np.einsum("cd,...d->...c", by_client.targets, np.log(spread))
        log_det = (used * (np.where(sign > 0, value, np.nan) + by_session)).sum(axis=-1)
        df = used @ by_client.n - 1
        return log_det + last + df * (1 + np.log(2 * np.pi * rss / df)), rss


def _shared(by_client: RatingSums) -> np.ndarray:
    """Return how many ratings share an effect at most; the logarithm of 1 + these x ratio is nearly that of a mean square."""
    of_rater = by_client.rows.diagonal(axis1=1, axis2=2)[:, :-1]
    return np.array([of_rater.sum(axis=1).max(), by_client.sizes.max(), of_rater.sum(axis=0).max(), of_rater.max()])


def _fitted(by_client: RatingSums, varying: np.ndarray) -> tuple[np.ndarray, float, bool]:
    """Return the ratios of the largest restricted likelihood, none negative, its deviance, and whether it was reached."""
    from scipy.optimize import minimize

    shared, everyone = _shared(by_client), np.ones(len(by_client.rows))

    def many(points: np.ndarray) -> np.ndarray:
        return _deviance(by_client, np.expm1(points) / shared, everyone)[0]

    def with_slope(point: np.ndarray) -> tuple[float, np.ndarray]:
        # Slightly negative variances leave the likelihood as smooth as at zero.
        found = many(point + 1e-5 * np.concatenate([np.zeros((1, len(point))), np.eye(len(point)), -np.eye(len(point))]))
        return float(found[0]), (found[1 : 1 + len(point)] - found[1 + len(point) :]) / 2e-5

    bounds = [(0.0, _FARTHEST if varies else 0.0) for varies in varying]
    starts = [np.where(varying, np.log1p(shared * np.array(_START) * size), 0.0) for size in (1.0, 0.1)]
    tries = [minimize(with_slope, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12}) for start in starts]
    point = min(tries, key=lambda one: one.fun).x
    point = np.where(point < _ZERO, 0.0, point)
    polished, converged = newton(many, point[None], point > 0)
    if (polished >= 0).all():
        point = polished[0]
    return np.expm1(point) / shared, float(many(point)), bool(converged[0])


def _without(by_client: RatingSums, ratios: np.ndarray, codes: np.ndarray, count: int) -> np.ndarray:
    """Return the ratios without each group of clients, shape (count, 4); NaN where there are none.

    Those that are zero with all clients stay zero; others may come out negative, unless the likelihood has no maximum there: then they are
    zero.
    """
    shared = _shared(by_client)
    used = (codes != np.arange(count)[:, None]).astype(float)

    def deviance(points: np.ndarray, used: np.ndarray = used) -> np.ndarray:
        return _deviance(by_client, np.expm1(points) / shared, used)[0]

    start = np.log1p(ratios * shared)
    points, converged = newton(deviance, np.broadcast_to(start, (count, len(ratios))), ratios > 0)
    for one in np.flatnonzero(~converged):
        kept = (ratios > 0) & (points[one] > 0)
        again, converged[[one]] = newton(lambda p, own=used[one]: deviance(p, own), np.where(kept, start, 0.0)[None], kept)
        points[one] = again[0]
    return np.where(converged[:, None], np.expm1(points) / shared, np.nan)
