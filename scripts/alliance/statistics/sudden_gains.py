"""Sudden gains and losses between sessions (Tang & DeRubeis, 1999), and the alliance around them.

The rules are those of the R package suddengains (Wiedemann et al., 2020), which differ from a t test in one point: the third criterion
compares the difference of means with the critical value of t times the pooled standard deviation, not times the standard error of the
difference (no ``sqrt(1 / n1 + 1 / n2)``), and is stricter for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance.statistics.change import named_clusters
from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.covariance import cluster_codes, cluster_sums
from alliance.statistics.distributions import critical_value, two_sided_p

Shift = Literal["gain", "loss"]

POSITIONS = ("before", "at", "after", "change")


@dataclass(frozen=True)
class Intervals:
    """Which intervals between sessions hold a sudden gain (or loss).

    Attributes
    ----------
    names : list of str
        ``2to3`` and so on; ``1to2`` first where the first column is a baseline.
    met : ndarray, shape (clients, intervals)
        1: all criteria are met, 0: one is not, NaN: too few values to tell.
    size, share, stable : ndarray, shape (clients, intervals)
        The three criteria one by one, coded likewise.
    """

    names: list[str]
    met: np.ndarray
    size: np.ndarray
    share: np.ndarray
    stable: np.ndarray


@dataclass(frozen=True)
class SuddenShifts:
    """Counts of sudden gains (or losses).

    Attributes
    ----------
    clients : int
        Clients looked at.
    clients_evaluable : int
        Clients with at least one interval that could be judged.
    intervals_not_evaluable : int
        Intervals with too few values.
    shifts, persons, multiple, reversals : int
        Gains, clients with one, clients with more than one, and gains that were reversed.
    percent_persons : float or None
        Clients with a gain in percent of all clients looked at.
    magnitude_mean, magnitude_sd : float or None
        Size of the gains in points, negative for a rise; the standard deviation needs two gains.
    """

    clients: int
    clients_evaluable: int
    intervals_not_evaluable: int
    shifts: int
    persons: int
    multiple: int
    reversals: int
    percent_persons: float | None
    magnitude_mean: float | None
    magnitude_sd: float | None


def intervals(
    scores: ArrayLike,
    cutoff: float,
    *,
    shift: Shift = "gain",
    least_share: float = 0.25,
    alpha: float = 0.05,
    first_is_baseline: bool = False,
    higher_is_better: bool = False,
) -> Intervals:
    """Return in which intervals between sessions the criteria of a sudden gain (or loss) are met.

    For the interval from session n to n + 1: (1) the score falls by at least ``cutoff`` points; (2) by at least ``least_share`` of the
    score at n; (3) the mean of up to three scores until n less the mean of up to three from n + 1 exceeds the two-sided critical value of
    t (n_before + n_after - 2 degrees of freedom) times the pooled standard deviation, with at least two scores on either side. Without
    a score at n or n + 1, or with fewer than two on a side, the interval is not judged. The first and the last interval never are. Losses
    are the mirror image: rises, the share again of the score at n (suddengains 0.7 compares with a fall of that share, so its second
    criterion excludes no loss).

    Parameters
    ----------
    scores : array_like, shape (clients, sessions)
        Symptom scores in the order of sessions; NaN where missing.
    cutoff : float
        Points of the first criterion, positive; often the threshold of reliable change.
    shift : {"gain", "loss"}
        What to look for.
    least_share : float
        Share of the score at n.
    alpha : float
        Level of the third criterion.
    first_is_baseline : bool
        Whether the first column was measured before the first session: intervals are then named from 1to2.
    higher_is_better : bool
        Whether a gain is a rise.

    Raises
    ------
    ValueError
        A cut-off that is not positive, or scores without the two dimensions.
    """
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 2:
        raise ValueError("scores need the shape (clients, sessions)")
    if not cutoff > 0:
        raise ValueError(f"the cut-off is a positive number of points; it is {cutoff}")
    first = 1 if first_is_baseline else 2
    columns = np.arange(2, scores.shape[1] - 1)
    names = [f"{first + i}to{first + i + 1}" for i in range(len(columns))]
    if not len(columns):
        empty = np.empty((len(scores), 0))
        return Intervals([], empty, empty, empty, empty)
    sign = _sign(shift, higher_is_better)
    last, following = scores[:, columns - 1], scores[:, columns]
    fall = sign * (last - following)
    known = np.isfinite(fall)
    # Decimal scores differ by a hair from the threshold they equal on paper.
    size = _coded(fall >= cutoff - 1e-9 * max(1.0, cutoff), known)
    needed = least_share * last
    share = _coded(fall >= needed - 1e-9 * np.maximum(1.0, np.abs(needed)), known)
    before = _windows(scores, columns, (-3, -2, -1))
    after = _windows(scores, columns, (0, 1, 2))
    (n1, mean1, squares1), (n2, mean2, squares2) = _summed(before), _summed(after)
    enough = (n1 >= 2) & (n2 >= 2)
    df = np.where(enough, n1 + n2 - 2, 1)
    least = critical_value(1 - alpha, df) * np.sqrt((squares1 + squares2) / df)
    difference = sign * (mean1 - mean2)
    stable = _coded(difference > least + 1e-9 * np.maximum(1.0, np.abs(least)), enough)
    return Intervals(names, size * share * stable, size, share, stable)


def shifts(
    scores: ArrayLike, clients: ArrayLike, found: Intervals, *, shift: Shift = "gain", higher_is_better: bool = False
) -> pd.DataFrame:
    """Return one row per sudden gain (or loss).

    A gain is reversed if a later score, from session n + 2 on, loses more than half of it.

    Parameters
    ----------
    scores : array_like, shape (clients, sessions)
        As given to :func:`intervals`.
    clients : array_like, shape (clients,)
        Names of the clients.
    found : Intervals
        From :func:`intervals`.
    shift, higher_is_better
        As given to :func:`intervals`.

    Returns
    -------
    DataFrame
        ``client``, ``interval``, ``session`` (the session before the gain, n), ``score_before``, ``score_after``, ``magnitude`` (score
        at n less score at n + 1), ``reversal_value``, ``reversed``; in the order of clients and sessions.
    """
    scores = np.asarray(scores, dtype=float)
    sign = _sign(shift, higher_is_better)
    row, column = np.nonzero(found.met == 1)
    last, following = scores[row, column + 1], scores[row, column + 2]
    limit = following + (last - following) / 2
    later = np.arange(scores.shape[1])[None, :] > (column + 2)[:, None]
    beyond = sign * (scores[row] - limit[:, None]) > 1e-9
    return pd.DataFrame(
        {
            "client": np.asarray(clients)[row],
            "interval": np.array(found.names, dtype=object)[column],
            "session": [int(found.names[i].split("to")[0]) for i in column],
            "score_before": last,
            "score_after": following,
            "magnitude": last - following,
            "reversal_value": limit,
            "reversed": (beyond & later).any(axis=1),
        }
    )


def summary(found: Intervals, rows: pd.DataFrame) -> SuddenShifts:
    """Return counts of the intervals and of the rows that :func:`shifts` gave for them."""
    clients = len(found.met)
    per_client = rows["client"].value_counts()
    magnitude = rows["magnitude"].to_numpy(dtype=float)
    return SuddenShifts(
        clients=clients,
        clients_evaluable=int(np.isfinite(found.met).any(axis=1).sum()),
        intervals_not_evaluable=int(np.isnan(found.met).sum()),
        shifts=len(rows),
        persons=len(per_client),
        multiple=int((per_client > 1).sum()),
        reversals=int(rows["reversed"].sum()),
        percent_persons=100 * len(per_client) / clients if clients else None,
        magnitude_mean=float(magnitude.mean()) if len(rows) else None,
        magnitude_sd=float(magnitude.std(ddof=1)) if len(rows) > 1 else None,
    )


def around(
    sessions: pd.DataFrame,
    rows: pd.DataFrame,
    *,
    evaluable: ArrayLike | None = None,
    window: int = 1,
    level: float = 0.95,
    min_clusters: int = MIN_CLUSTERS,
) -> pd.DataFrame:
    """Return the alliance around sudden gains, less that of clients without one at the same sessions.

    For a gain from session n to n + 1: ``before`` is the mean of the ``window`` sessions before n, ``at`` session n, after which the gain
    followed, ``after`` the mean of the ``window`` sessions from n + 1, and ``change`` after less before. From each the mean of the clients
    without a gain at the same session numbers is taken away; the differences are averaged over gains. The standard error leaves out each
    therapist in turn, with all clients, and the interval has t(G - 1).

    Parameters
    ----------
    sessions : DataFrame
        ``client``, ``session`` (whole numbers), ``alliance`` and, if known, ``therapist`` (the first named counts for the client); one row
        per client and session.
    rows : DataFrame
        ``client`` and ``session`` of the gains, from :func:`shifts`.
    evaluable : array_like, optional
        Clients whose intervals could be judged; others are no clients without a gain. Default: all clients.
    window : int
        Sessions before and after.
    level : float
        Confidence level.
    min_clusters : int
        Fewer therapists: the error leaves out clients in turn, with a caution.

    Returns
    -------
    DataFrame
        One row per position: ``position``, ``mean_gain``, ``mean_without``, ``difference``, ``std_error``, ``ci_low``, ``ci_high``,
        ``df``, ``p_value``, ``n_gains``, ``n_unmatched`` (gains without a comparison), ``n_unmeasured`` (gains without the alliance),
        ``n_clients`` (with a gain), ``n_without``, ``n_clusters``, ``status``, ``reason``; NaN with a reason where there is no number.

    Raises
    ------
    ValueError
        Two rows of one client and session, or session numbers that are not whole.
    """
    matrix, clients, offset, therapists = _wide(sessions)
    placed = pd.Series(np.arange(len(clients)), index=clients)
    known = rows[rows["client"].isin(clients)]
    who = placed.loc[known["client"]].to_numpy(dtype=int)
    column = known["session"].to_numpy(dtype=int) - offset
    without = ~np.isin(clients, rows["client"].to_numpy())
    if evaluable is not None:
        without &= np.isin(clients, np.asarray(evaluable))
    values = _positions(matrix, window)
    inside = (column >= 0) & (column < matrix.shape[1])
    who, column = who[inside], column[inside]
    codes, count, reason = _units(therapists, len(clients), min_clusters)
    table = [
        {"position": name, **_matched(values[name], who, column, len(rows), without, codes, count, level, reason)} for name in POSITIONS
    ]
    return pd.DataFrame(table)


def _sign(shift: Shift, higher_is_better: bool) -> float:
    if shift not in ("gain", "loss"):
        raise ValueError(f"a sudden shift is a gain or a loss, not {shift!r}")
    return 1.0 if (shift == "gain") != higher_is_better else -1.0


def _coded(met: np.ndarray, known: np.ndarray) -> np.ndarray:
    return np.where(known, met.astype(float), np.nan)


def _windows(scores: np.ndarray, columns: np.ndarray, steps: tuple[int, ...]) -> np.ndarray:
    """Return scores some steps from each column, shape (clients, columns, steps); NaN beyond the first and last session."""
    at = columns[:, None] + np.array(steps)[None, :]
    inside = (at >= 0) & (at < scores.shape[1])
    return np.where(inside, scores[:, np.where(inside, at, 0)], np.nan)


def _summed(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return count, mean and sum of squared deviations along the last axis, missing values left out."""
    present = np.isfinite(values)
    n = present.sum(axis=-1)
    mean = np.where(present, values, 0.0).sum(axis=-1) / np.maximum(n, 1)
    return n, mean, np.where(present, (values - mean[..., None]) ** 2, 0.0).sum(axis=-1)


def _wide(sessions: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, int, np.ndarray | None]:
    """Return alliance by client and session, the clients, the number of the first session, and each client's therapist."""
    if sessions.duplicated(["client", "session"]).any():
        raise ValueError("a client has two rows of one session")
    numbers = sessions["session"].to_numpy(dtype=float)
    if not (np.isfinite(numbers).all() and (numbers == np.round(numbers)).all()):
        raise ValueError("session numbers must be whole numbers")
    codes, clients = pd.factorize(sessions["client"], sort=True)
    numbers = numbers.astype(int)
    offset = int(numbers.min()) if len(numbers) else 0
    matrix = np.full((len(clients), int(numbers.max()) - offset + 1 if len(numbers) else 0), np.nan)
    matrix[codes, numbers - offset] = sessions["alliance"].to_numpy(dtype=float)
    therapists = None
    if "therapist" in sessions:
        therapists = sessions.groupby(codes)["therapist"].first().to_numpy(dtype=object)
    return matrix, np.asarray(clients), offset, therapists


def _positions(matrix: np.ndarray, window: int) -> dict[str, np.ndarray]:
    """Return what each client's alliance is before, at and after a gain that started at each session."""
    columns = np.arange(matrix.shape[1])
    averaged = {}
    for name, steps in (("before", range(-window, 0)), ("after", range(1, window + 1))):
        n, mean, _ = _summed(_windows(matrix, columns, tuple(steps)))
        averaged[name] = np.where(n > 0, mean, np.nan)
    return {"before": averaged["before"], "at": matrix, "after": averaged["after"], "change": averaged["after"] - averaged["before"]}


def _units(therapists: np.ndarray | None, clients: int, min_clusters: int) -> tuple[np.ndarray, int, str]:
    """Return which unit each client is left out with, the number of units, and a caution if units are clients."""
    alone = np.arange(clients)
    if therapists is None:
        return alone, clients, "therapists are unknown: clients taken as independent"
    codes, count = cluster_codes(named_clusters(therapists))
    if count < min_clusters:
        return alone, clients, f"fewer than {min_clusters} therapists ({count}): clients taken as independent"
    return codes, count, ""


def _matched(
    values: np.ndarray,
    who: np.ndarray,
    column: np.ndarray,
    gains_given: int,
    without: np.ndarray,
    codes: np.ndarray,
    count: int,
    level: float,
    caution: str,
) -> dict[str, object]:
    """Return the mean difference of gains from clients without one at the same sessions, and its jackknife error."""
    width = values.shape[1]
    own = values[who, column]
    present = np.isfinite(own)
    gains = np.zeros((count, width, 2))
    np.add.at(gains, (codes[who[present]], column[present]), np.column_stack([own[present], np.ones(present.sum())]))
    held = np.isfinite(values) & without[:, None]
    others = cluster_sums(np.stack([np.where(held, values, 0.0), held.astype(float)], axis=-1), codes, count)
    total_gains, total_others = gains.sum(axis=0), others.sum(axis=0)
    matched = (total_others[:, 1] > 0)[:, None]
    estimate = _difference(total_gains[None], total_others[None])[:, 0]
    taken = (total_gains * matched).sum(axis=0)
    used = present & matched[column, 0]
    involved = (gains[:, :, 1] * matched[:, 0]).any(axis=1) | (others[:, total_gains[:, 1] > 0, 1] > 0).any(axis=1)
    units = int(involved.sum())
    missing = ("mean_gain", "mean_without", "difference", "std_error", "ci_low", "ci_high", "df", "p_value")
    result: dict[str, object] = {
        **dict.fromkeys(missing, np.nan),
        "n_gains": int(used.sum()),
        "n_unmatched": int((present & ~used).sum()),
        "n_unmeasured": gains_given - int(present.sum()),
        "n_clients": len(np.unique(who[used])),
        "n_without": int(held[:, total_gains[:, 1] > 0].any(axis=1).sum()),
        "n_clusters": units,
    }
    if result["n_gains"] == 0 or result["n_without"] == 0:
        reason = "needs a gain with the alliance measured, and a client without one measured at the same session"
        return {**result, "status": "not_estimable", "reason": reason}
    mean = taken[0] / taken[1]
    result.update(mean_gain=mean, mean_without=mean - estimate[0], difference=estimate[0])
    left = _difference(total_gains - gains[involved], total_others - others[involved])[:, 0]
    if units < 2 or not np.isfinite(left).all():
        reason = "no standard error: without one of the therapists or clients no gain can be compared"
        return {**result, "status": "flagged", "reason": "; ".join(filter(None, (caution, reason)))}
    error = float(np.sqrt((units - 1) / units * ((left - left.mean()) ** 2).sum()))
    margin = float(critical_value(level, units - 1)) * error
    result.update(std_error=error, ci_low=estimate[0] - margin, ci_high=estimate[0] + margin, df=units - 1.0)
    if error > 0:
        result["p_value"] = float(two_sided_p(estimate[0] / error, units - 1))
    return {**result, "status": "flagged" if caution else "estimated", "reason": caution}


def _difference(gains: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return mean differences over gains, shape (units, 1), from sums and counts by session, shape (units, sessions, 2)."""
    matched = others[..., 1] > 0
    mean = others[..., 0] / np.where(matched, others[..., 1], 1.0)
    number = (gains[..., 1] * matched).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (((gains[..., 0] - gains[..., 1] * mean) * matched).sum(axis=-1) / number)[:, None]
