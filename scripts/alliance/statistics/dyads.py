"""Two raters of the same sessions, such as client and therapist: agreement, truth and bias, actor and partner effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.covariance import cluster_codes, cluster_sums
from alliance.statistics.distributions import critical_value
from alliance.statistics.jackknife import Jackknifed, jackknife
from alliance.statistics.normal_equations import solved

if TYPE_CHECKING:
    import pandas as pd

    from alliance.statistics.multilevel import MixedModel

AGREEMENT = ("mean_difference", "limit_low", "limit_high", "sd_between", "sd_within", "concordance_z")
BIAS, WITHIN, BETWEEN = "bias", "within", "between"
TRUTH, JUDGE, CLIENT, THERAPIST = "truth", "judge", "client", "therapist"


def limits_of_agreement(
    first: ArrayLike,
    second: ArrayLike,
    client: ArrayLike,
    therapist: ArrayLike | None = None,
    *,
    coverage: float = 0.95,
    min_clusters: int = MIN_CLUSTERS,
) -> Jackknifed:
    """Return how far two raters of the same sessions are apart, first minus second, named :data:`AGREEMENT`.

    Limits of agreement are those of Bland & Altman (2007) for repeated pairs whose true value varies: the mean difference of all sessions,
    plus and minus a normal quantile times the square root of the variance of differences between clients and within them (one-way analysis
    of variance, sessions unbalanced). ``concordance_z`` is Fisher's z of Lin's (1989) concordance correlation over sessions. Standard
    errors leave out each therapist in turn, else each client.

    Parameters
    ----------
    first, second : array_like, shape (n,)
        Complete ratings, one row a session.
    client : array_like, shape (n,)
    therapist : array_like, shape (n,), optional
        Therapist of each row's client.
    coverage : float
        Share (0-1) of differences inside the limits.
    min_clusters : int
        Fewer therapists: clients are taken as independent.

    Returns
    -------
    Jackknifed
        ``sd_within`` is 0, and all variance between clients, where every client has one session.
    """
    x, y = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    # Sums of squares are more exact about the middle.
    middle = float(np.mean([x.mean(), y.mean()])) if len(x) else 0.0
    x, y = x - middle, y - middle
    difference = x - y
    codes, count = cluster_codes(client)
    one = np.ones(len(x))
    sums = cluster_sums(np.column_stack([one, difference, difference**2, x, y, x * x, y * y, x * y]), codes, count)
    m, total = sums[:, :1], sums[:, 1:2]
    rows = np.column_stack([np.ones(count), m**2, total**2 / m, sums])
    quantile = float(special.ndtri(0.5 + coverage / 2))

    def values(total: np.ndarray) -> np.ndarray:
        clients, squared_m, by_client, n, d, dd, sx, sy, xx, yy, xy = np.moveaxis(total, -1, 0)
        mean = d / n
        between_square = (by_client - d**2 / n) / (clients - 1)
        repeated = n - clients
        within = np.where(repeated > 0, (dd - by_client) / np.where(repeated > 0, repeated, 1.0), 0.0)
        size = (n**2 - squared_m) / ((clients - 1) * n)
        between = np.maximum((between_square - within) / size, 0.0)
        reach = quantile * np.sqrt(between + within)
        x_mean, y_mean = sx / n, sy / n
        covariance = xy / n - x_mean * y_mean
        concordance = 2 * covariance / (xx / n - x_mean**2 + yy / n - y_mean**2 + (x_mean - y_mean) ** 2)
        return np.stack([mean, mean - reach, mean + reach, np.sqrt(between), np.sqrt(within), np.arctanh(concordance)], axis=-1)

    return jackknife(rows, values, len(AGREEMENT), _of_clients(therapist, codes, count), min_clusters=min_clusters)


def _of_clients(therapist: ArrayLike | None, codes: np.ndarray, count: int) -> np.ndarray | None:
    """Return the therapist of every client from that of the rows; a client's first row counts."""
    if therapist is None:
        return None
    first = np.zeros(count, dtype=int)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return np.asarray(therapist)[first]


def shares(member: ArrayLike, therapist: ArrayLike | None = None, *, min_clusters: int = MIN_CLUSTERS) -> Jackknifed:
    """Return shares of clients, with errors that respect therapists.

    Parameters
    ----------
    member : array_like of bool, shape (n, m)
        Whether a client belongs to each of m groups.
    therapist : array_like, shape (n,), optional
    min_clusters : int
        Fewer therapists: clients are taken as independent.
    """
    member = np.asarray(member, dtype=float)
    rows = np.column_stack([np.ones(len(member)), member])
    size = member.shape[1]
    return jackknife(rows, lambda total: total[..., 1:] / total[..., :1], size, therapist, min_clusters=min_clusters)


def truth_parts(rows: pd.DataFrame) -> pd.DataFrame:
    """Return ratings with the parts of the truth-and-bias model.

    Parameters
    ----------
    rows : DataFrame
        ``truth, judge, client``, one row a session, complete.

    Returns
    -------
    DataFrame
        The rows with ``distance`` (judge minus the mean of all truths), ``within`` (truth minus its client's mean) and ``between`` (the
        client's mean minus the mean of all truths).
    """
    centre = float(rows[TRUTH].mean())
    mean = rows.groupby(CLIENT)[TRUTH].transform("mean")
    return rows.assign(distance=rows[JUDGE] - centre, within=rows[TRUTH] - mean, between=mean - centre)


def truth_and_bias(rows: pd.DataFrame, *, level: float = 0.95) -> MixedModel:
    """Fit the truth-and-bias model (West & Kenny, 2011) to sessions of clients of therapists.

    Judgement and truth are measured from the mean truth: ``judge - mean = bias + within x (truth - client's mean) + between x (client's
    mean - mean)``. ``"1"`` is the directional bias (how much higher the judge rates at the average truth), ``within`` how the judge tracks
    a client's ups and downs, ``between`` how the judge tracks differences between clients. Bias varies over clients and therapists,
    tracking within clients over clients, and over therapists too where there are at least 20 of them.

    Parameters
    ----------
    rows : DataFrame
        ``truth, judge, client``, and ``therapist`` where known; one row a session. Rows without a rating are left out.
    level : float
        Confidence level.

    Returns
    -------
    MixedModel
        Without ``within`` where no client has two sessions.
    """
    from alliance.statistics.multilevel import FEW_UNITS, mixed_model

    names = [CLIENT, *([THERAPIST] if THERAPIST in rows.columns else [])]
    parts = truth_parts(rows[[TRUTH, JUDGE, *names]].dropna())
    repeated = len(parts) > 0 and parts.duplicated(CLIENT).any() and float(parts[WITHIN].abs().max()) > 0
    fixed = ["1", WITHIN, BETWEEN] if repeated else ["1", BETWEEN]
    levels = [THERAPIST] if THERAPIST in parts else []
    levels += [CLIENT] if repeated or not levels else []
    enough = THERAPIST not in parts or parts[THERAPIST].nunique() >= FEW_UNITS
    random = {name: ("1", WITHIN) for name in levels if name == CLIENT or enough} if repeated else {}
    return mixed_model(parts, "distance", fixed, levels, random=random, level=level)


def moderated(rows: pd.DataFrame, moderator: str, *, min_clusters: int = MIN_CLUSTERS) -> Jackknifed:
    """Return how bias and tracking within clients change with a moderator: per unit of it, by least squares.

    ``judge - mean = b0 + b1 within + b2 between + b3 m + b4 within x m``, of which b3 and b4 are returned (b3 alone where no client has two
    sessions). Standard errors leave out each therapist in turn, else each client.

    Parameters
    ----------
    rows : DataFrame
        ``truth, judge, client``, ``therapist`` where known, and the moderator, which may be one of sessions, clients or therapists;
        complete.
    moderator : str
        Its column.
    min_clusters : int
        Fewer therapists: clients are taken as independent.
    """
    parts = truth_parts(rows)
    codes, count = cluster_codes(parts[CLIENT])
    within, m = parts[WITHIN].to_numpy(dtype=float), parts[moderator].to_numpy(dtype=float)
    m = m - m.mean() if len(m) else m
    repeated = len(within) > 0 and float(np.abs(within).max()) > 0
    columns = [
        np.ones(len(m)),
        parts[BETWEEN].to_numpy(dtype=float),
        *([within] if repeated else []),
        m,
        *([within * m] if repeated else []),
    ]
    data = np.column_stack([*columns, parts["distance"].to_numpy(dtype=float)])
    rows_of_clients = cluster_sums(data[:, :, None] * data[:, None, :], codes, count)
    wanted = [-2, -1] if repeated else [-1]

    def effects(sums: np.ndarray) -> np.ndarray:
        return solved(sums[..., :-1, :-1], sums[..., :-1, -1])[..., wanted]

    therapist = parts[THERAPIST].to_numpy() if THERAPIST in parts else None
    return jackknife(rows_of_clients, effects, len(wanted), _of_clients(therapist, codes, count), min_clusters=min_clusters)


def tracking_by_scale(scales: Sequence[pd.DataFrame], *, min_clusters: int = MIN_CLUSTERS) -> Jackknifed:
    """Return bias and tracking of several scales rated in the same sessions, and their differences between scales.

    Least squares: bias is the mean of judge minus truth over sessions, tracking within clients the slope of deviations from the client's
    own means, tracking between clients the slope of the judge's on the truth's client means. The differences know that scales share
    clients.

    Parameters
    ----------
    scales : sequence of DataFrame
        ``truth, judge, client`` and ``therapist`` where known, in the same order of rows.
    min_clusters : int
        Fewer therapists: clients are taken as independent.

    Returns
    -------
    Jackknifed
        Of each scale bias, within, between; then of every two scales the first minus the second of each.
    """
    frame = scales[0]
    codes, count = cluster_codes(frame[CLIENT])
    size = np.bincount(codes, minlength=count).astype(float)
    columns = [np.ones(count), size]
    for one in scales:
        truth, judge = (one[name].to_numpy(dtype=float) for name in (TRUTH, JUDGE))
        truth, judge = truth - truth.mean(), judge - truth.mean()
        t_mean, j_mean = (cluster_sums(values, codes, count) / size for values in (truth, judge))
        within_truth, within_judge = truth - t_mean[codes], judge - j_mean[codes]
        products = cluster_sums(np.column_stack([within_truth * within_judge, within_truth**2]), codes, count)
        columns += [size * (j_mean - t_mean), products[:, 0], products[:, 1], t_mean, j_mean, t_mean * t_mean, t_mean * j_mean]

    def values(total: np.ndarray) -> np.ndarray:
        clients, sessions = total[..., 0], total[..., 1]
        found = []
        for place in range(len(scales)):
            d, wtj, wtt, t, j, tt, tj = np.moveaxis(total[..., 2 + 7 * place : 9 + 7 * place], -1, 0)
            found += [d / sessions, wtj / wtt, (tj - t * j / clients) / (tt - t * t / clients)]
        for one, other in combinations(range(len(scales)), 2):
            found += [found[3 * one + term] - found[3 * other + term] for term in range(3)]
        return np.stack(found, axis=-1)

    pairs = len(scales) * (len(scales) - 1) // 2
    therapist = frame[THERAPIST].to_numpy() if THERAPIST in frame else None
    return jackknife(
        np.column_stack(columns), values, 3 * (len(scales) + pairs), _of_clients(therapist, codes, count), min_clusters=min_clusters
    )


def actor_partner(
    actor: ArrayLike,
    partner: ArrayLike,
    outcome: ArrayLike,
    client: ArrayLike,
    controls: ArrayLike | None = None,
    therapist: ArrayLike | None = None,
    *,
    within: bool = True,
    min_clusters: int = MIN_CLUSTERS,
) -> Jackknifed:
    """Return the effects of a person's own and of the partner's rating on the person's outcome: actor, partner, actor minus partner.

    One equation of the actor-partner model of distinguishable dyads (Kenny, Kashy & Cook, 2006), by least squares; the equation of the
    other person is another call, since errors that leave out therapists need no model of what the two residuals share.

    Parameters
    ----------
    actor, partner, outcome : array_like, shape (n,)
        Complete; one row a session, both ratings in one unit.
    client : array_like, shape (n,)
    controls : array_like, shape (n, q), optional
        What is held constant.
    therapist : array_like, shape (n,), optional
        Therapist of each row's client.
    within : bool
        True: deviations of all variables from the client's means; False: the clients' means.
    min_clusters : int
        Fewer therapists: clients are taken as independent.
    """
    codes, count = cluster_codes(client)
    n = len(codes)
    held = np.zeros((n, 0)) if controls is None else np.asarray(controls, dtype=float).reshape(n, -1)
    data = np.column_stack([np.asarray(actor, float), np.asarray(partner, float), held, np.asarray(outcome, float)])
    data = data - data.mean(axis=0) if n else data
    size = np.bincount(codes, minlength=count)[:, None]
    means = cluster_sums(data, codes, count) / np.maximum(size, 1)
    p = data.shape[1] - 1
    if within:
        deviation = data - means[codes] if n else data
        rows = cluster_sums(deviation[:, :, None] * deviation[:, None, :], codes, count)
        # Clients with one session say nothing about changes within clients.
        several = size[:, 0] > 1
    else:
        augmented = np.column_stack([np.ones(count), means])
        rows, several = augmented[:, :, None] * augmented[:, None, :], np.ones(count, dtype=bool)

    def effects(sums: np.ndarray) -> np.ndarray:
        if not within:
            total, mean = sums[..., :1, :1], sums[..., 1:, :1] / sums[..., :1, :1]
            sums = sums[..., 1:, 1:] - total * mean @ np.swapaxes(mean, -1, -2)
        slopes = solved(sums[..., :p, :p], sums[..., :p, p])
        own, other = slopes[..., 0], slopes[..., 1]
        return np.stack([own, other, own - other], axis=-1)

    clusters = _of_clients(therapist, codes, count)
    clusters = None if clusters is None else clusters[several]
    return jackknife(rows[several], effects, 3, clusters, min_clusters=min_clusters)


@dataclass(frozen=True)
class Ratio:
    """A ratio of two estimates with Fieller's interval; NaN and ``reason`` where the denominator may be zero."""

    estimate: float
    std_error: float
    ci_low: float
    ci_high: float
    reason: str


def ratio(numerator: float, denominator: float, vcov: ArrayLike, df: float = np.inf, level: float = 0.95) -> Ratio:
    """Return a ratio such as k, the partner effect over the actor effect (Kenny & Ledermann, 2010).

    The interval is Fieller's (1954); the standard error is by the delta method. Where the denominator does not differ from zero at
    ``level`` the interval has no ends and the ratio means nothing.

    Parameters
    ----------
    numerator, denominator : float
    vcov : array_like, shape (2, 2)
        Their sampling covariance, numerator first.
    df : float
        Degrees of freedom of t.
    level : float
        Confidence level.
    """
    (vn, c), (_, vd) = np.asarray(vcov, dtype=float)
    t2 = float(critical_value(level, df)) ** 2
    a = denominator**2 - t2 * vd
    if not a > 0:
        return Ratio(
            *[float("nan")] * 4, "needs an actor effect that differs from zero: the ratio to an effect that may be none means nothing"
        )
    b, k = numerator * denominator - t2 * c, numerator / denominator
    root = np.sqrt(max(b**2 - a * (numerator**2 - t2 * vn), 0.0))
    error = np.sqrt(max(vn - 2 * k * c + k * k * vd, 0.0)) / abs(denominator)
    return Ratio(float(k), float(error), float((b - root) / a), float((b + root) / a), "")
