"""Ruptures in series of session ratings by several rules, whether they are repaired, and how many noise alone would give.

No rule is the rule: they disagree (Gumz et al., 2012), and all of them also flag noise. Rules work on all clients, and on all surrogates of
all clients, at once: arrays have ratings in the first axis and series in the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.change import wilson
from alliance.statistics.distributions import critical_value
from alliance.statistics.jackknife import Jackknifed, jackknife

D2 = 1.128
"""Expected range of two normal values in standard deviations, of the chart of individual values and moving ranges (XmR)."""
RULES = ("drop", "v_shape", "decline", "control_chart", "reliable_drop")
SURROGATES = ("shuffled", "autoregressive")
_HAIR = 1e-9


@dataclass(frozen=True)
class Series:
    """The rated sessions of several clients, packed: a client's k-th rating stands in row k.

    Attributes
    ----------
    clients : ndarray, shape (n,)
        Clients in ascending order.
    values : ndarray, shape (k, n)
        Ratings, higher is better; 0 where a client has fewer ratings than k.
    sessions : ndarray of int, shape (k, n)
        Number of the session of each rating.
    rated : ndarray of bool, shape (k, n)
        Where there is a rating.
    """

    clients: np.ndarray
    values: np.ndarray
    sessions: np.ndarray
    rated: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Ratings of each client, shape (n,)."""
        return self.rated.sum(axis=0)

    def adjacent(self, largest_gap: int) -> np.ndarray:
        """Return which ratings have one at most ``largest_gap`` sessions before, shape (k, n)."""
        near = np.zeros_like(self.rated)
        near[1:] = self.rated[1:] & (np.diff(self.sessions, axis=0) <= largest_gap)
        return near


def series(clients: ArrayLike, sessions: ArrayLike, scores: ArrayLike) -> Series:
    """Pack ratings into series; the order of rows does not matter, rows without a score are left out.

    Parameters
    ----------
    clients, sessions : array_like of int, shape (rows,)
        One row a client and session.
    scores : array_like, shape (rows,)
        Higher is better.

    Raises
    ------
    ValueError
        A client has two ratings of one session.
    """
    clients, sessions, scores = np.asarray(clients), np.asarray(sessions), np.asarray(scores, dtype=float)
    known = np.isfinite(scores)
    clients, sessions, scores = clients[known], sessions[known].astype(int), scores[known]
    order = np.lexsort((sessions, clients))
    clients, sessions, scores = clients[order], sessions[order], scores[order]
    if len(clients) > 1 and ((np.diff(clients) == 0) & (np.diff(sessions) == 0)).any():
        raise ValueError("a client has two ratings of one session")
    names, first, counts = np.unique(clients, return_index=True, return_counts=True)
    column = np.repeat(np.arange(len(names)), counts)
    row = np.arange(len(clients)) - np.repeat(first, counts)
    shape = (int(counts.max(initial=0)), len(names))
    values, numbers, rated = np.zeros(shape), np.zeros(shape, dtype=int), np.zeros(shape, dtype=bool)
    values[row, column], numbers[row, column], rated[row, column] = scores, sessions, True
    return Series(names, values, numbers, rated)


@dataclass(frozen=True)
class Scale:
    """Standard deviations that rules measure falls by.

    Attributes
    ----------
    within : float
        Standard deviation of ratings around their client's mean, pooled over clients (divisor ratings - clients).
    between : float
        Standard deviation of the clients' means.
    reliability : float
        Reliability (0-1) of differences between sessions of one client; NaN where not known.
    """

    within: float
    between: float
    reliability: float = np.nan


def scale(found: Series, reliability: float = np.nan) -> Scale:
    """Return the standard deviations of some series; NaN where clients are too few."""
    counts = found.counts
    mean, squares = mean_and_squares(found.values, found.rated)
    freedom = int((counts - 1).sum())
    within = np.sqrt(squares.sum() / freedom) if freedom > 0 else np.nan
    return Scale(float(within), float(mean.std(ddof=1)) if len(mean) > 1 else np.nan, reliability)


def mean_and_squares(values: np.ndarray, rated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each series' mean and sum of squares around it; ratings in the first axis."""
    counts = np.maximum(rated.sum(axis=0), 1)
    mean = np.where(rated, values, 0.0).sum(axis=0) / counts
    return mean, np.where(rated, (values - mean) ** 2, 0.0).sum(axis=0)


@dataclass(frozen=True)
class Onsets:
    """Where a rule sees the beginning of a rupture; arrays of shape (k, ..., n).

    Attributes
    ----------
    starts : ndarray of bool
        Ratings at which the rule is met.
    before : ndarray
        Level from which the alliance fell.
    begins : ndarray of int
        Session in which the fall began.
    judged : ndarray of bool
        Ratings at which the rule could have been met.
    target : ndarray or None
        Level at which it counts as repaired, where the rule says; else a share of the fall decides.
    within : int or None
        Sessions in which that has to happen, where the rule says.
    """

    starts: np.ndarray
    before: np.ndarray
    begins: np.ndarray
    judged: np.ndarray
    target: np.ndarray | None = None
    within: int | None = None


def onsets(rule: Mapping[str, Any], found: Series, sd: Scale, largest_gap: int, values: np.ndarray | None = None) -> Onsets:
    """Return where a rule is met.

    Parameters
    ----------
    rule : mapping
        ``rule`` (one of :data:`RULES`) and its numbers:

        - ``drop``: a fall from one session to the next by ``sd`` standard deviations within clients (family of Strauss et al., 2006);
        - ``reliable_drop``: the same by ``critical`` * sqrt(2) * SD within * sqrt(1 - reliability);
        - ``decline``: a fall over one or more sessions in a row by ``sd`` times the larger of the client's own SD and that between clients
          (Gumz et al., 2012);
        - ``v_shape``: a fall by ``sd`` residual standard deviations around the client's own line, and within ``within`` sessions back to
          at most ``recovery`` of them below the level before; only where the line does not fall (Stiles et al., 2004);
        - ``control_chart``: below the client's mean less ``sigma`` times mean moving range / 1.128 (XmR; Eubanks-Carter et al., 2012);
          with ``baseline``: mean and range of the client's first ratings, only later ones are judged; with ``two_of_three``: or two of
          three ratings in a row below two thirds of that distance.
    found : Series
    sd : Scale
    largest_gap : int
        Sessions from one rating to the next; over a longer gap there is no fall.
    values : ndarray, shape (k, ..., n), optional
        Surrogates in place of the ratings.
    """
    extra = (1,) * (0 if values is None else values.ndim - 2)
    shape = (found.values.shape[0], *extra, found.values.shape[1])
    values = found.values if values is None else values
    rated, near = found.rated.reshape(shape), found.adjacent(largest_gap).reshape(shape)
    sessions = found.sessions.reshape(shape)
    return _RULES[rule["rule"]](rule, values, rated, near, sessions, sd)


def _fall(values: np.ndarray, near: np.ndarray) -> np.ndarray:
    fall = np.zeros_like(values)
    np.subtract(values[:-1], values[1:], out=fall[1:])
    return np.where(near, fall, 0.0)


def _before(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values[:1], values[:-1]])


def _drop(rule: Mapping[str, Any], values: np.ndarray, rated: np.ndarray, near: np.ndarray, sessions: np.ndarray, sd: Scale) -> Onsets:
    return _by_threshold(rule["sd"] * sd.within, values, near, sessions)


def _reliable(rule: Mapping[str, Any], values: np.ndarray, rated: np.ndarray, near: np.ndarray, sessions: np.ndarray, sd: Scale) -> Onsets:
    return _by_threshold(reliable_fall(rule["critical"], sd), values, near, sessions)


def reliable_fall(critical: float, sd: Scale) -> float:
    """Return the fall between two sessions that measurement error gives with the probability of a critical value of z."""
    return float(critical * np.sqrt(2 * (1 - sd.reliability)) * sd.within)


def _by_threshold(threshold: float, values: np.ndarray, near: np.ndarray, sessions: np.ndarray) -> Onsets:
    starts = near & (_fall(values, near) >= threshold - _HAIR) & (threshold > 0)
    return Onsets(starts, _before(values), sessions, near)


def _decline(rule: Mapping[str, Any], values: np.ndarray, rated: np.ndarray, near: np.ndarray, sessions: np.ndarray, sd: Scale) -> Onsets:
    _, squares = mean_and_squares(values, rated)
    own = np.sqrt(squares / np.maximum(rated.sum(axis=0) - 1, 1))
    threshold = rule["sd"] * np.maximum(own, np.nan_to_num(sd.between))
    fall = _fall(values, near)
    top, begins = values.copy(), np.broadcast_to(sessions, values.shape).copy()
    deep = np.zeros(values.shape, dtype=bool)
    for k in range(1, len(values)):
        going = fall[k] > _HAIR
        # The fall began in the first session below the top.
        begins[k] = np.where(going & (fall[k - 1] > _HAIR), begins[k - 1], begins[k])
        top[k] = np.where(going, top[k - 1], values[k])
        deep[k] = going & (top[k] - values[k] >= threshold - _HAIR) & (threshold > 0)
    starts = deep.copy()
    starts[1:] &= ~deep[:-1]
    return Onsets(starts, top, begins, near)


def _v_shape(rule: Mapping[str, Any], values: np.ndarray, rated: np.ndarray, near: np.ndarray, sessions: np.ndarray, sd: Scale) -> Onsets:
    counts = rated.sum(axis=0)
    time = np.where(rated, sessions - sessions.sum(axis=0, where=rated) / np.maximum(counts, 1), 0.0)
    mean, squares = mean_and_squares(values, rated)
    spread = np.maximum((time**2).sum(axis=0), _HAIR)
    cross = (time * (values - mean)).sum(axis=0)
    residual = np.sqrt(np.maximum(squares - cross**2 / spread, 0.0) / np.maximum(counts - 2, 1))
    rising = (cross >= -_HAIR * spread) & (counts > 2)
    least = rule["sd"] * residual
    starts = near & rising & (_fall(values, near) >= least - _HAIR) & (residual > _HAIR)
    before = _before(values)
    target = before - rule["recovery"] * residual
    back = np.zeros(starts.shape, dtype=bool)
    for step in range(1, min(rule["within"], len(values) - 1) + 1):
        soon = rated[step:] & (sessions[step:] - sessions[:-step] <= rule["within"])
        back[:-step] |= soon & (values[step:] >= target[:-step] - _HAIR)
    return Onsets(starts & back, before, sessions, near & rising, target, rule["within"])


def _control_chart(
    rule: Mapping[str, Any], values: np.ndarray, rated: np.ndarray, near: np.ndarray, sessions: np.ndarray, sd: Scale
) -> Onsets:
    place = np.arange(len(values)).reshape(-1, *(1,) * (values.ndim - 1))
    first = rule.get("baseline") or len(values)
    used, pairs = rated & (place < first), near & (place < first)
    n_pairs = pairs.sum(axis=0)
    centre = mean_and_squares(values, used)[0]
    sigma = np.where(pairs, np.abs(_fall(values, near)), 0.0).sum(axis=0) / np.maximum(n_pairs, 1) / D2
    judged = rated & (n_pairs > 0) & ((place >= first) if rule.get("baseline") else True)
    # Ratings that do not move from session to session set no limit that a lower one could cross.
    limited = judged & (sigma > _HAIR)
    below = limited & (values < centre - rule["sigma"] * sigma - _HAIR)
    if rule.get("two_of_three"):
        warned = limited & (values < centre - rule["sigma"] * 2 / 3 * sigma - _HAIR)
        one, two = _earlier(warned & near, warned), _earlier(_earlier(warned, warned), warned)
        below = below | (warned & near & (one | two))
    starts = below & ~_earlier(below, below)
    return Onsets(starts, np.broadcast_to(centre, values.shape), sessions, judged)


def _earlier(flags: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return flags of the rating before."""
    moved = np.zeros_like(like)
    moved[1:] = flags[:-1]
    return moved


_RULES = {
    "drop": _drop,
    "v_shape": _v_shape,
    "decline": _decline,
    "control_chart": _control_chart,
    "reliable_drop": _reliable,
}


@dataclass(frozen=True)
class Ruptures:
    """Ruptures of some series; all arrays but ``eligible`` have the shape of the series' ratings (surrogates included).

    Attributes
    ----------
    starts : ndarray of bool
        Ratings at which a rupture is first seen. A fall inside an open rupture is no new one.
    judged : ndarray of bool
        Ratings at which it could have been seen, of eligible clients.
    eligible : ndarray of bool, shape (..., n)
        Clients with enough ratings, at least one of which could be judged.
    repaired : ndarray of bool
        Whether the rupture that starts here was repaired in time.
    followed : ndarray of bool
        Whether the client was rated until it was repaired or the time for it had passed.
    depth : ndarray
        Level before less the lowest rating of the rupture that starts here, unit of the ratings; 0 elsewhere.
    length : ndarray
        Sessions from the beginning of the fall until it is repaired, else until the last rating in its time; 0 elsewhere.
    repairs_at : ndarray of int
        Session in which it was repaired; 0 where it was not.
    """

    starts: np.ndarray
    judged: np.ndarray
    eligible: np.ndarray
    repaired: np.ndarray
    followed: np.ndarray
    depth: np.ndarray
    length: np.ndarray
    repairs_at: np.ndarray


def ruptures(
    rule: Mapping[str, Any],
    found: Series,
    sd: Scale,
    *,
    largest_gap: int = 1,
    min_sessions: int = 4,
    repair_share: float = 0.5,
    repair_within: int = 3,
) -> Ruptures:
    """Return the ruptures that a rule sees, and which of them were repaired.

    A rupture is repaired when the rating has risen from its lowest point by ``repair_share`` of the fall, within ``repair_within``
    sessions of that point. One that was not is over when that time has passed.

    Parameters
    ----------
    rule, found, sd, largest_gap
        As in :func:`onsets`.
    min_sessions : int
        Clients with fewer ratings are not judged.
    repair_share : float
        0-1; of the fall from the level before to the lowest rating.
    repair_within : int
        Sessions.
    """
    began = onsets(rule, found, sd, largest_gap)
    eligible = (found.counts >= min_sessions) & began.judged.any(axis=0)
    recorded = _follow(found.values, found.rated, found.sessions, began, began.starts & eligible, repair_share, repair_within)
    return Ruptures(recorded.pop("starts"), began.judged & eligible, eligible, **recorded)


def surrogate_starts(
    rule: Mapping[str, Any],
    found: Series,
    sd: Scale,
    values: np.ndarray,
    *,
    largest_gap: int = 1,
    min_sessions: int = 4,
    repair_share: float = 0.5,
    repair_within: int = 3,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of surrogates how many ruptures each has, how many ratings could be judged, and which clients.

    Parameters
    ----------
    values : ndarray, shape (k, surrogates, n)
        From :func:`surrogates`.
    rule, found, sd, largest_gap, min_sessions, repair_share, repair_within
        As in :func:`ruptures`.

    Returns
    -------
    counts, judged : ndarray of int, shape (surrogates, n)
    eligible : ndarray of bool, shape (surrogates, n)
    """
    k, n = found.values.shape
    many = found.counts >= min_sessions
    rated, sessions = found.rated.reshape(k, 1, n), found.sessions.reshape(k, 1, n)
    counts, judged = (np.zeros(values.shape[1:], dtype=int) for _ in range(2))
    step = max(1, _CHUNK // max(n, 1))
    # A few surrogates at a time stay in the processor's cache.
    for first in range(0, values.shape[1], step):
        part = slice(first, first + step)
        began = onsets(rule, found, sd, largest_gap, values[:, part])
        counts[part] = _counted(values[:, part], rated, sessions, began, began.starts & many, repair_share, repair_within)
        judged[part] = began.judged.sum(axis=0) * many
    return counts, judged, judged > 0


_CHUNK = 4000


def _counted(
    values: np.ndarray, rated: np.ndarray, sessions: np.ndarray, began: Onsets, wanted: np.ndarray, share: float, within: int
) -> np.ndarray:
    """Return how many ruptures each series has, as :func:`_follow` finds them."""
    within = began.within or within
    shape = values.shape[1:]
    counts, lowest_at = np.zeros(shape, dtype=int), np.zeros(shape, dtype=int)
    is_open = np.zeros(shape, dtype=bool)
    lowest, goal, before = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for step in range(len(values)):
        value, session = values[step], np.broadcast_to(sessions[step], shape)
        back = value >= goal - _HAIR
        if began.target is None:
            falls = is_open & (value < lowest - _HAIR) & (session - lowest_at <= within) & rated[step]
            np.copyto(lowest, value, where=falls)
            np.copyto(lowest_at, session, where=falls)
            np.copyto(goal, lowest + share * (before - lowest), where=falls)
            back &= ~falls
        is_open &= ~(rated[step] & (back | (session - lowest_at > within)))
        new = wanted[step] & ~is_open
        counts += new
        np.copyto(lowest, value, where=new)
        np.copyto(lowest_at, session, where=new)
        np.copyto(before, began.before[step], where=new)
        np.copyto(goal, value + share * (before - value) if began.target is None else began.target[step], where=new)
        is_open |= new
    return counts


def _follow(
    values: np.ndarray, rated: np.ndarray, sessions: np.ndarray, began: Onsets, wanted: np.ndarray, share: float, within: int
) -> dict[str, np.ndarray]:
    """Return ruptures of series, shape (k, n), one rating after the other."""
    k, n = values.shape
    within = began.within or within
    starts, repaired, followed = (np.zeros((k, n), dtype=bool) for _ in range(3))
    depth, length = np.zeros((k, n)), np.zeros((k, n))
    repairs_at = np.zeros((k, n), dtype=int)
    everyone = np.arange(n)
    is_open = np.zeros(n, dtype=bool)
    start, since, lowest_at, last = (np.zeros(n, dtype=int) for _ in range(4))
    before, lowest, target = np.zeros(n), np.zeros(n), np.zeros(n)
    for step in range(k):
        value, session = values[step], sessions[step]
        here = is_open & rated[step]
        over = here & (session - lowest_at > within)
        here &= ~over
        if began.target is None:
            falls = here & (value < lowest - _HAIR)
            lowest, lowest_at = np.where(falls, value, lowest), np.where(falls, session, lowest_at)
            back = here & ~falls & (value >= lowest + share * (before - lowest) - _HAIR)
        else:
            lowest = np.where(here & (value < lowest), value, lowest)
            back = here & (value >= target - _HAIR)
        last = np.where(here, session, last)
        ends = over | back
        at = start[ends], everyone[ends]
        repaired[at], followed[at] = back[ends], True
        repairs_at[at] = np.where(back, session, 0)[ends]
        length[at] = np.where(back, session - since, last - since + 1)[ends]
        depth[at] = (before - lowest)[ends]
        is_open &= ~ends
        new = wanted[step] & ~is_open
        starts[step] = new
        start, since = np.where(new, step, start), np.where(new, began.begins[step], since)
        before, lowest = np.where(new, began.before[step], before), np.where(new, value, lowest)
        lowest_at, last = np.where(new, session, lowest_at), np.where(new, session, last)
        if began.target is not None:
            target = np.where(new, began.target[step], target)
        is_open |= new
    at = start[is_open], everyone[is_open]
    length[at], depth[at] = (last - since + 1)[is_open], (before - lowest)[is_open]
    followed[at] = (last - lowest_at >= within)[is_open]
    return {
        "starts": starts,
        "repaired": repaired,
        "followed": followed,
        "depth": depth,
        "length": length,
        "repairs_at": repairs_at,
    }


STEP = 0.1
"""Share by which a standard deviation is changed to see how a number depends on it."""
MOVED_BY = {"drop": "within", "reliable_drop": "within", "decline": "between"}
"""The standard deviation of the sample that a rule's threshold depends on; other rules look at each client alone."""


def changed(sd: Scale, rule: str, step: float) -> Scale:
    """Return the standard deviations with the one that a rule depends on changed by a share."""
    which = MOVED_BY[rule]
    return replace(sd, **{which: getattr(sd, which) * (1 + step)})


def slope(up: float, down: float) -> float:
    """Return the change of a number per unit of the logarithm of a standard deviation, from its values one step up and down; 0: unknown."""
    found = (up - down) / np.log((1 + STEP) / (1 - STEP))
    return float(found) if np.isfinite(found) else 0.0


def jackknifed_ratio(
    parts: np.ndarray, therapists: ArrayLike | None = None, moved: tuple[Series, str, float] | None = None, *, min_rows: int = 2
) -> Jackknifed:
    """Return a ratio of sums over clients with its error from leaving out each therapist.

    A threshold in standard deviations of the sample moves when a therapist is left out: the ratio without a therapist is that of the
    other clients as they were judged, plus ``slope`` times the change of the logarithm of the standard deviation.

    Parameters
    ----------
    parts : ndarray, shape (n, 2)
        What each client adds to numerator and denominator.
    therapists : array_like, shape (n,), optional
    moved : tuple, optional
        Series of the same n clients, ``within`` or ``between``, and the slope (:func:`slope`).
    min_rows : int
        Fewer clients: no estimate.
    """
    parts = np.asarray(parts, dtype=float)
    if moved is None:
        return jackknife(parts, lambda stack: stack[:, :1] / stack[:, 1:2], 1, therapists, min_rows=min_rows)
    found, which, change = moved
    mean, squares = mean_and_squares(found.values, found.rated)
    spread = np.column_stack([squares, found.counts - 1]) if which == "within" else np.column_stack([np.ones(len(mean)), mean, mean**2])
    rows = np.column_stack([parts, spread])

    def variance(stack: np.ndarray) -> np.ndarray:
        if which == "within":
            return stack[:, 2] / stack[:, 3]
        return (stack[:, 4] - stack[:, 3] ** 2 / stack[:, 2]) / (stack[:, 2] - 1)

    whole = variance(rows.sum(axis=0)[None])[0]

    def moved_ratio(stack: np.ndarray) -> np.ndarray:
        return (stack[:, 0] / stack[:, 1] + change * np.log(variance(stack) / whole) / 2)[:, None]

    return jackknife(rows, moved_ratio, 1, therapists, min_rows=min_rows)


def score_interval(found: Jackknifed, n: int, level: float) -> tuple[float, float]:
    """Return Wilson's interval of a share with as many independent clients, at most n, as its error is worth, by t of the jackknife.

    See :func:`alliance.statistics.change.proportion`, which does the same where thresholds do not move.
    """
    share, error = float(found.estimate[0]), float(found.std_error[0])
    worth = min(n, share * (1 - share) / error**2) if error > 0 else n
    low, high = wilson(share, worth, critical_value(level, found.df))
    return float(low), float(high)


_GRID = np.linspace(-0.95, 0.95, 191)


def autocorrelation(found: Series, largest_gap: int = 1) -> float:
    """Return the correlation of neighbouring ratings of a client, pooled over clients with at least four ratings.

    Around their own mean short series correlate less than they do in truth. The correlation returned is that of the first-order
    autoregressive series whose expected products of neighbours, divided by their expected squares around the mean, are those observed.
    Limits -0.95 and 0.95; NaN where there are no neighbours or no variance.
    """
    mean, squares = mean_and_squares(found.values, found.rated)
    enough = (found.counts >= 4) & (squares > 0)
    near = found.adjacent(largest_gap)[:, enough]
    pairs = near.sum(axis=0)
    if not pairs.sum():
        return np.nan
    centred = np.where(found.rated, found.values - mean, 0.0)[:, enough]
    observed = (centred[1:] * centred[:-1])[near[1:]].sum() / squares[enough].sum()
    counts = found.counts[enough]
    products, expected = np.zeros(len(_GRID)), np.zeros(len(_GRID))
    for k in np.unique(counts):
        own = counts == k
        of_neighbours, of_squares = _expected_moments(int(k))
        products += of_neighbours * pairs[own].sum()
        expected += of_squares * own.sum()
    return float(np.interp(observed, products / expected, _GRID))


def _expected_moments(k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for every correlation of the grid the expected product of two neighbours, and sum of squares, around the mean of k ratings."""
    place = np.arange(1, k + 1)
    phi = _GRID[:, None]
    with_mean = (1 + (2 * phi - phi**place - phi ** (k + 1 - place)) / (1 - phi)) / k
    of_mean = with_mean.mean(axis=1)
    return _GRID - (with_mean[:, 1:] + with_mean[:, :-1]).mean(axis=1) + of_mean, k * (1 - of_mean)


def surrogates(kind: str, found: Series, count: int, random: np.random.Generator, correlation: float = 0.0) -> np.ndarray:
    """Return series of noise with each client's own mean and standard deviation, at the sessions the client rated.

    Parameters
    ----------
    kind : str
        ``shuffled``: the client's own ratings in random order; ``autoregressive``: normal values whose neighbours correlate.
    found : Series
    count : int
        Surrogates of each client.
    random : numpy.random.Generator
    correlation : float
        Of neighbouring sessions, of ``autoregressive``; over a gap of g sessions its g-th power.

    Returns
    -------
    ndarray, shape (k, count, n)
    """
    k, n = found.values.shape
    rated = found.rated[:, None]
    if kind == "shuffled":
        keys = np.where(found.rated.T, random.random((count, n, k)), 2.0)
        order = keys.argsort(axis=-1)
        return np.ascontiguousarray(np.take_along_axis(np.broadcast_to(found.values.T, keys.shape), order, axis=-1).transpose(2, 0, 1))
    noise = random.standard_normal((k, count, n))
    gaps = np.diff(found.sessions, axis=0, prepend=0)
    for step in range(1, k):
        gap = np.maximum(gaps[step], 1)
        kept = np.sign(correlation) ** gap * np.abs(correlation) ** gap
        noise[step] = kept * noise[step - 1] + np.sqrt(1 - kept**2) * noise[step]
    mean, squares = mean_and_squares(found.values, found.rated)
    own_mean, own_squares = mean_and_squares(noise, rated)
    stretched = mean + (noise - own_mean) * np.sqrt(squares / np.maximum(own_squares, _HAIR))
    return np.where(rated, stretched, 0.0)
