"""Reliable and clinically significant change of clients (Jacobson & Truax, 1991), and proportions of clients with their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.covariance import cluster_codes, cluster_sums
from alliance.statistics.distributions import critical_value

RELIABLE = 1.96
NOT_MEASURED = "not_measured"
CATEGORIES = ("recovered", "improved", "unchanged", "deteriorated", NOT_MEASURED)
DENOMINATORS = ("treated", "measured", "beyond_cutoff", "beyond_cutoff_measured")

CutoffKind = Literal["a", "b", "c"]


@dataclass(frozen=True)
class ReliableChange:
    """What counts as reliable change.

    Attributes
    ----------
    threshold : float
        Change in points of the measure.
    inclusive : bool
        Whether a change of exactly the threshold is reliable.
    source : str
        Where the threshold comes from, or the standard deviation and the reliability behind it.
    sd, reliability, se_measurement, se_difference : float or None
        What it was computed from; None for a published threshold.
    """

    threshold: float
    inclusive: bool
    source: str
    sd: float | None = None
    reliability: float | None = None
    se_measurement: float | None = None
    se_difference: float | None = None

    def index(self, before: ArrayLike, after: ArrayLike) -> np.ndarray:
        """Return the reliable change index, ``(after - before) / se_difference``.

        Raises
        ------
        ValueError
            The threshold is a published one, without a standard error.
        """
        if self.se_difference is None:
            raise ValueError("a published threshold has no standard error of the difference, so there is no index")
        return (np.asarray(after, dtype=float) - np.asarray(before, dtype=float)) / self.se_difference


def reliable_change(sd: float, reliability: float, source: str, critical: float = RELIABLE) -> ReliableChange:
    """Return reliable change from a standard deviation and a reliability (Jacobson & Truax, 1991).

    The standard error of the difference of two scores is ``sqrt(2) sd sqrt(1 - reliability)``; a change beyond ``critical`` of them is
    reliable.

    Parameters
    ----------
    sd : float
        Standard deviation of the scores before treatment.
    reliability : float
        Reliability of the scores, 0 to below 1.
    source : str
        Where both come from, as a reader should be told: a published norm, or this sample.
    critical : float
        Critical value of the index.

    Raises
    ------
    ValueError
        A standard deviation that is not positive, or a reliability outside [0, 1).
    """
    if not (np.isfinite(sd) and sd > 0):
        raise ValueError(f"reliable change needs a positive standard deviation; it is {sd}")
    if not 0 <= reliability < 1:
        raise ValueError(f"reliable change needs a reliability from 0 to below 1; it is {reliability}")
    measurement = float(sd * np.sqrt(1 - reliability))
    difference = float(np.sqrt(2) * measurement)
    return ReliableChange(critical * difference, False, source, float(sd), float(reliability), measurement, difference)


def published_reliable_change(threshold: float, source: str) -> ReliableChange:
    """Return reliable change by a published number of points; a change of exactly as many points is reliable."""
    if not (np.isfinite(threshold) and threshold > 0):
        raise ValueError(f"a threshold of reliable change is a positive number of points; it is {threshold}")
    return ReliableChange(float(threshold), True, source)


def cutoff(
    kind: CutoffKind,
    *,
    clinical: tuple[float, float] | None = None,
    functional: tuple[float, float] | None = None,
    higher_is_better: bool = False,
) -> float:
    """Return the score between the clinical and the functional population (Jacobson & Truax, 1991).

    Parameters
    ----------
    kind : {"a", "b", "c"}
        a: two standard deviations of the clinical population beyond its mean, towards health; b: two of the functional population within
        its mean, towards illness; c: between both means, nearer to the one with the smaller standard deviation.
    clinical, functional : tuple of float
        Mean and standard deviation of each population; a needs the first, b the second, c both.
    higher_is_better : bool
        Whether higher scores mean better health.

    Raises
    ------
    ValueError
        The population that the kind needs is not given, or both means contradict the direction.
    """
    needed = {"a": (clinical,), "b": (functional,), "c": (clinical, functional)}
    if kind not in needed:
        raise ValueError(f"a cut-off is a, b or c, not {kind!r}")
    if any(population is None or not (np.isfinite(population).all() and population[1] > 0) for population in needed[kind]):
        raise ValueError(f"cut-off {kind} needs means and positive standard deviations of the population(s) it is made from")
    towards_health = 1.0 if higher_is_better else -1.0
    if clinical is not None and functional is not None and (functional[0] - clinical[0]) * towards_health <= 0:
        raise ValueError("the functional mean is not on the healthy side of the clinical mean; check the direction of the measure")
    if kind == "a" and clinical is not None:
        return float(clinical[0] + towards_health * 2 * clinical[1])
    if kind == "b" and functional is not None:
        return float(functional[0] - towards_health * 2 * functional[1])
    assert clinical is not None and functional is not None
    return float((functional[1] * clinical[0] + clinical[1] * functional[0]) / (clinical[1] + functional[1]))


def beyond_cutoff(scores: ArrayLike, cutoff: float, higher_is_better: bool = False) -> np.ndarray:
    """Return whether scores lie on the clinical side of the cut-off; a score at it does not, nor does a missing one."""
    scores = np.asarray(scores, dtype=float)
    return scores < cutoff if higher_is_better else scores > cutoff


def classify(before: ArrayLike, after: ArrayLike, change: ReliableChange, cutoff: float, higher_is_better: bool = False) -> np.ndarray:
    """Return each client's category of change.

    ``recovered``: reliable change for the better from beyond the cut-off to within it; ``improved``: other reliable change for the better;
    ``deteriorated``: reliable change for the worse; ``unchanged``: no reliable change; ``not_measured``: a score is missing. Nothing is
    carried forward in place of a missing score.

    Parameters
    ----------
    before, after : array_like, shape (n,)
        Scores at intake and at the end.
    change : ReliableChange
        What counts as reliable.
    cutoff : float
        Score between both populations, see :func:`beyond_cutoff`.
    higher_is_better : bool
        Whether higher scores mean better health.

    Returns
    -------
    ndarray of str, shape (n,)
    """
    before, after = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    better = (after - before) if higher_is_better else (before - after)
    # Decimal scores differ by a hair from the threshold they equal on paper.
    hair = 1e-9 * max(1.0, change.threshold)
    least = change.threshold - hair if change.inclusive else change.threshold + hair
    up, down = better >= least, better <= -least
    crossed = beyond_cutoff(before, cutoff, higher_is_better) & ~beyond_cutoff(after, cutoff, higher_is_better)
    measured = np.isfinite(before) & np.isfinite(after)
    return np.select([~measured, up & crossed, up, down], [NOT_MEASURED, "recovered", "improved", "deteriorated"], "unchanged")


def named_clusters(clusters: ArrayLike) -> np.ndarray:
    """Return clusters with a name of its own for every missing one: such a client is a therapist's only one."""
    names = pd.Series(np.asarray(clusters, dtype=object))
    return np.where(names.isna(), [f"\x1fclient {row}" for row in range(len(names))], names)


@dataclass(frozen=True)
class Proportion:
    """A proportion of clients with its intervals. Numbers are None where they do not exist; then ``reason`` says why.

    Attributes
    ----------
    count, n : int
        Clients counted, and clients altogether.
    share : float or None
        count / n.
    wilson_low, wilson_high : float or None
        Interval of independent clients (Wilson, 1927).
    std_error : float or None
        Delete-one-therapist jackknife.
    ci_low, ci_high : float or None
        Interval that respects therapists: Wilson's, with the number of independent clients that the jackknife error is worth and t(G - 1).
    n_clusters : int
        Therapists (0: unknown).
    status, reason : str
        ``estimated``, ``flagged`` or ``not_estimable``, and why.
    """

    count: int
    n: int
    share: float | None
    wilson_low: float | None
    wilson_high: float | None
    std_error: float | None
    ci_low: float | None
    ci_high: float | None
    n_clusters: int
    status: str
    reason: str


def wilson(share: ArrayLike, n: ArrayLike, critical: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the score interval of a proportion (Wilson, 1927) for a critical value of z or t."""
    share, n, critical = (np.asarray(value, dtype=float) for value in (share, n, critical))
    squared = critical**2 / n
    centre = (share + squared / 2) / (1 + squared)
    margin = critical * np.sqrt(share * (1 - share) / n + squared / (4 * n)) / (1 + squared)
    return np.where(share > 0, centre - margin, 0.0), np.where(share < 1, centre + margin, 1.0)


def proportion(counted: ArrayLike, clusters: ArrayLike | None = None, level: float = 0.95, min_clusters: int = MIN_CLUSTERS) -> Proportion:
    """Return the proportion of clients that are counted, with intervals that do and do not respect therapists.

    The error that respects therapists leaves out each of G therapists in turn: ``(G - 1) / G`` times the sum of squared deviations of the
    G proportions from their mean. The interval is Wilson's with ``share (1 - share) / std_error²`` clients, at most n, and t(G - 1): the
    score interval of clustered samples (Dean & Pagano, 2015; Franco et al., 2019), which stays inside 0-1.

    Parameters
    ----------
    counted : array_like of bool, shape (n,)
        Whether a client is counted.
    clusters : array_like, shape (n,), optional
        Each client's therapist; clients without one count as therapists of their own.
    level : float
        Confidence level.
    min_clusters : int
        Fewer therapists: clients taken as independent, with a caution.
    """
    counted = np.asarray(counted, dtype=bool)
    n, count = counted.size, int(counted.sum())
    if n == 0:
        return Proportion(0, 0, None, None, None, None, None, None, 0, "not_estimable", "needs at least one client")
    share = count / n
    low, high = (float(limit) for limit in wilson(share, n, critical_value(level)))
    if clusters is None:
        return Proportion(
            count, n, share, low, high, None, None, None, 0, "flagged", "therapists are unknown: clients taken as independent"
        )
    codes, groups = cluster_codes(named_clusters(clusters))
    if groups < max(min_clusters, 2):
        reason = f"fewer than {min_clusters} therapists ({groups}): clients taken as independent"
        return Proportion(count, n, share, low, high, None, None, None, groups, "flagged", reason)
    if count in (0, n):
        reason = "no client or every client is counted: therapists cannot be seen to differ, clients taken as independent"
        return Proportion(count, n, share, low, high, None, None, None, groups, "flagged", reason)
    sums = cluster_sums(np.column_stack([counted, np.ones(n)]).astype(float), codes, groups)
    left = np.array([count, n]) - sums
    without = left[:, 0] / left[:, 1]
    error = float(np.sqrt((groups - 1) / groups * ((without - without.mean()) ** 2).sum()))
    worth = min(n, share * (1 - share) / error**2) if error > 0 else n
    robust = [float(limit) for limit in wilson(share, worth, critical_value(level, groups - 1))]
    return Proportion(count, n, share, low, high, error, *robust, groups, "estimated", "")


def change_categories(
    before: ArrayLike,
    after: ArrayLike,
    change: ReliableChange,
    cutoff: float,
    *,
    higher_is_better: bool = False,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
    min_clusters: int = MIN_CLUSTERS,
) -> pd.DataFrame:
    """Return how many clients recovered, improved, did not change, deteriorated or were not measured, by every denominator.

    Denominators: ``treated``, all clients; ``measured``, those with both scores; ``beyond_cutoff``, those beyond the cut-off at intake,
    who alone can recover; ``beyond_cutoff_measured``, those of them with both scores.

    Parameters
    ----------
    before, after, change, cutoff, higher_is_better
        As in :func:`classify`.
    clusters, level, min_clusters
        As in :func:`proportion`.

    Returns
    -------
    DataFrame
        One row per denominator and category: ``denominator``, ``category``, the fields of :class:`Proportion`, ``threshold``,
        ``cutoff``, ``source``.
    """
    before, after = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    category = classify(before, after, change, cutoff, higher_is_better)
    beyond, measured = beyond_cutoff(before, cutoff, higher_is_better), category != NOT_MEASURED
    chosen = dict(zip(DENOMINATORS, (np.ones(len(before), dtype=bool), measured, beyond, beyond & measured)))
    therapists = None if clusters is None else named_clusters(clusters)
    rows = []
    for denominator, rows_of in chosen.items():
        held = None if therapists is None else therapists[rows_of]
        for name in CATEGORIES:
            if name == NOT_MEASURED and denominator in ("measured", "beyond_cutoff_measured"):
                continue
            found = proportion(category[rows_of] == name, held, level, min_clusters)
            rows.append({"denominator": denominator, "category": name, **found.__dict__})
    return pd.DataFrame(rows).assign(threshold=change.threshold, cutoff=float(cutoff), source=change.source)
