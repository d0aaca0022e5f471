"""How far raters of the same targets (sessions) agree: intraclass correlations, complete or unbalanced, and mean differences of raters.

Forms are those of Shrout & Fleiss (1979), beside the names of McGraw & Wong (1996). With complete ratings they come from mean squares, else
from the components of variance that restricted maximum likelihood gives (targets and raters crossed; targets alone for the one-way forms).
An average is that of the raters a target has: k is the harmonic mean of their numbers, which makes the error of the coefficient the mean
error variance of the targets' scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.crossed_effects import (
    MeanSquares,
    RatingSums,
    exact_rater_ratio,
    exact_target_ratio,
    mean_squares,
    non_negative,
    rating_sums,
    restricted_ml,
)
from alliance.statistics.distributions import critical_value
from alliance.statistics.jackknife import jackknife
from alliance.statistics.reliability_interval import Coefficient, LeftOut, leave_out, no_coefficient

if TYPE_CHECKING:
    import pandas as pd

MIN_TARGETS = 5
TARGET, RATER, VALUE, CLIENT, THERAPIST = "target", "rater", "value", "client", "therapist"
_DETERMINED = 1e-10

Definition = Literal["agreement", "consistency"]


@dataclass(frozen=True)
class Form:
    """What an intraclass correlation says.

    Attributes
    ----------
    mcgraw_wong : str
        Name by McGraw & Wong (1996).
    definition : str
        ``agreement``: differences of level between raters count as error; ``consistency``: they do not.
    average : bool
        Of the mean of a target's raters, or of one rater.
    raters : str
        ``unknown`` (a target's raters are any raters, one-way), ``random`` (a sample of raters) or ``fixed`` (these raters only).
    """

    mcgraw_wong: str
    definition: Definition
    average: bool
    raters: Literal["unknown", "random", "fixed"]


FORMS: dict[str, Form] = {
    "ICC(1,1)": Form("ICC(1)", "agreement", False, "unknown"),
    "ICC(1,k)": Form("ICC(k)", "agreement", True, "unknown"),
    "ICC(2,1)": Form("ICC(A,1)", "agreement", False, "random"),
    "ICC(2,k)": Form("ICC(A,k)", "agreement", True, "random"),
    "ICC(3,1)": Form("ICC(C,1)", "consistency", False, "fixed"),
    "ICC(3,k)": Form("ICC(C,k)", "consistency", True, "fixed"),
}


@dataclass(frozen=True)
class Interrater:
    """Intraclass correlations of raters.

    Attributes
    ----------
    coefficients : dict of str to Coefficient
        By the names in :data:`FORMS`; ``std_error / (1 - estimate)`` is the standard error of ln(1 - ICC).
    shares : dict of str to float
        Shares (0-1) of ``target``, ``rater`` and ``error`` in the variance of single ratings; empty where not estimable.
    n_targets, n_ratings, n_raters : int
        Raters is 0 where they are not identified.
    n_rated_twice : int
        Targets with at least two ratings.
    n_clients, n_therapists : int
        Therapists is 0 where they are unknown.
    raters_of_target : float
        k of the averages: harmonic mean over targets.
    estimator : str
        ``mean_squares`` (complete ratings), ``reml`` or ``none``.
    interval : str
        ``exact`` (F; targets independent), ``cluster_jackknife`` (therapists), ``client_jackknife`` or ``none``.
    """

    coefficients: dict[str, Coefficient]
    shares: dict[str, float]
    n_targets: int
    n_ratings: int
    n_raters: int
    n_rated_twice: int
    n_clients: int
    n_therapists: int
    raters_of_target: float
    estimator: str
    interval: str


def intraclass(
    ratings: pd.DataFrame, *, level: float = 0.95, min_targets: int = MIN_TARGETS, min_clusters: int = MIN_CLUSTERS
) -> Interrater:
    """Return the six intraclass correlations of raters of the same targets.

    Intervals. Independent targets (each of another client, therapists unknown or all different): exact for normal data for the one-way and
    consistency forms (Shrout & Fleiss, 1979, with complete ratings; Wald, 1947, with unbalanced ones); agreement by Satterthwaite's F with
    complete ratings (McGraw & Wong, 1996). Sessions nested in clients and therapists: by leaving out each therapist in turn (each client,
    or group of clients, with few therapists) on the scale of ln(1 - ICC) of the average, with t (units - 1). Since therapists and clients
    say nothing about how far other raters would differ, intervals of agreement join that of consistency with the exact one of the raters'
    variance over that of error (method of variance estimates recovery; Zou & Donner, 2008), as they do for unbalanced independent targets.
    Intervals of a single rater and of the average are one, by Spearman and Brown. Those of the one-way forms are too narrow where the
    same raters rate all sessions, and flagged there.

    Parameters
    ----------
    ratings : DataFrame
        One row a rating: ``target``, ``value``, ``rater`` (left out, or missing in a row: raters are not identified, and only the one-way
        forms are estimable), ``client`` and ``therapist`` of the target (where left out, each target is a client, and therapists are
        unknown). A client seen by two therapists is two cases. Rows without a value are not used.
    level : float
        Confidence level.
    min_targets : int
        Fewer targets with at least two ratings: not estimable.
    min_clusters : int
        Fewer therapists: clients are taken as independent.

    Raises
    ------
    ValueError
        A column is missing, a rater rated a target twice, or a target has several clients or therapists.
    """
    data = coded_ratings(ratings)
    twice = int((data.ratings >= 2).sum())
    reason = why_not_estimable(data, twice, min_targets)
    if reason:
        return _result(data, None, twice, "none", dict.fromkeys(FORMS, no_coefficient(reason)))
    crossed_reason = why_raters_are_not_separable(data)
    models = {"unknown": _model(data, None)}
    if not crossed_reason:
        models["fixed"] = _model(data, data.rater)
    limits, interval = _limits(data, models, level, min_clusters)
    coefficients = {
        name: no_coefficient(crossed_reason)
        if crossed_reason and form.raters != "unknown"
        else _coefficient(form, data, models, limits, level)
        for name, form in FORMS.items()
    }
    return _result(data, models.get("fixed", models["unknown"]), twice, interval, coefficients)


def mean_differences(ratings: pd.DataFrame, *, level: float = 0.95, min_clusters: int = MIN_CLUSTERS) -> pd.DataFrame:
    """Return the mean difference of every two raters over the targets that both rated.

    Standard errors leave out each therapist in turn, or each client where therapists are unknown or few.

    Parameters
    ----------
    ratings, level, min_clusters
        As for :func:`intraclass`; every rating needs its rater.

    Returns
    -------
    DataFrame
        ``first, second`` (raters), ``difference`` (first minus second), ``std_error, ci_low, ci_high, n_targets, n_clients, method, status,
        reason``.

    Raises
    ------
    ValueError
        As for :func:`intraclass`, or a rating has no rater.
    """
    import pandas as pd

    data = coded_ratings(ratings)
    if data.rater is None:
        raise ValueError("every rating needs its rater")
    table = np.full((len(data.client), data.n_raters), np.nan)
    table[data.target, data.rater] = data.values * data.scale
    records = []
    for first in range(data.n_raters):
        for second in range(first + 1, data.n_raters):
            difference = table[:, first] - table[:, second]
            both = np.isfinite(difference)
            clients, code = np.unique(data.client[both], return_inverse=True)
            sums = np.column_stack([np.bincount(code, minlength=len(clients)), np.bincount(code, difference[both], len(clients))])
            therapists = None if data.therapist is None else data.therapist[clients]
            found = jackknife(sums, lambda total: total[:, 1:] / total[:, :1], 1, therapists, min_clusters=min_clusters)
            low, high = found.interval(level)
            notes = found.reason or found.caution
            records.append(
                (
                    *(data.rater_names[first], data.rater_names[second], found.estimate[0], found.std_error[0], low[0], high[0]),
                    *(int(both.sum()), len(clients), found.method),
                    *("not_estimable" if found.reason else "flagged" if notes else "estimated", notes),
                )
            )
    columns = ["first", "second", "difference", "std_error", "ci_low", "ci_high", "n_targets", "n_clients", "method", "status", "reason"]
    return pd.DataFrame(records, columns=columns)


@dataclass(frozen=True)
class CodedRatings:
    """Ratings as codes, sorted by therapist, client, target and rater.

    Attributes
    ----------
    target, values : ndarray, shape (n,)
        Target of each rating, and its value, standardised over all ratings by ``scale``.
    rater : ndarray, shape (n,), or None
        Rater of each rating; None where raters are not identified.
    scale : float
        Standard deviation of the ratings as given.
    client : ndarray, shape (targets,)
        Client of each target.
    therapist : ndarray, shape (clients,), or None
        Therapist of each client; None where unknown.
    rater_names : list
        What the raters are called.
    n_raters : int
        Raters; 0 where they are not identified.
    """

    target: np.ndarray
    rater: np.ndarray | None
    values: np.ndarray
    scale: float
    client: np.ndarray
    therapist: np.ndarray | None
    rater_names: list[object]
    n_raters: int

    @property
    def ratings(self) -> np.ndarray:
        """Ratings of each target."""
        return np.bincount(self.target)

    @property
    def k(self) -> float:
        """Harmonic mean of the targets' numbers of ratings."""
        return float(1 / np.mean(1 / self.ratings))

    @property
    def independent(self) -> bool:
        """Whether every target stands for itself."""
        units = len(np.unique(self.client))
        if self.therapist is not None:
            units = min(units, len(np.unique(self.therapist)))
        return units == len(self.client)


def coded_ratings(ratings: pd.DataFrame) -> CodedRatings:
    """Return ratings as codes; columns and errors as for :func:`intraclass`."""
    import pandas as pd

    lacking = [name for name in (TARGET, VALUE) if name not in ratings.columns]
    if lacking:
        raise ValueError(f"ratings need a column {lacking[0]}")
    values = ratings[VALUE].to_numpy(dtype=float, na_value=np.nan)
    rows = ratings[np.isfinite(values)]
    client = CLIENT if CLIENT in rows.columns else TARGET
    if rows[[TARGET, client]].isna().any(axis=None):
        raise ValueError("every rating needs its target and client")
    known = THERAPIST in rows.columns and bool(rows[THERAPIST].notna().all())
    by = [name for name in dict.fromkeys((*((THERAPIST,) if known else ()), client, TARGET, RATER, VALUE)) if name in rows.columns]
    rows = rows.sort_values(by, kind="stable")
    therapist_of_row, therapists = pd.factorize(rows[THERAPIST]) if known else (np.zeros(len(rows), dtype=int), [0])
    client_of_row = pd.factorize(pd.factorize(rows[client])[0] * len(therapists) + therapist_of_row)[0]
    target = pd.factorize(rows[TARGET])[0]
    first, first_of_client = (~pd.Series(codes).duplicated().to_numpy(dtype=bool) for codes in (target, client_of_row))
    if (client_of_row[first][target] != client_of_row).any():
        raise ValueError("a target has several clients or therapists")
    therapist = therapist_of_row[first_of_client] if known else None
    rater, names = None, []
    if RATER in rows.columns and rows[RATER].notna().all():
        rater, found = pd.factorize(rows[RATER], sort=True)
        names = list(found)
        if rows.duplicated([TARGET, RATER]).any():
            raise ValueError("a rater rated a target twice")
    values = rows[VALUE].to_numpy(dtype=float)
    scale = float(values.std()) if len(values) and values.std() > 0 else 1.0
    centred = (values - values.mean()) / scale if len(values) else values
    return CodedRatings(target, rater, centred, scale, client_of_row[first], therapist, names, len(names))


def why_not_estimable(data: CodedRatings, twice: int, min_targets: int) -> str:
    """Return why no agreement of raters can be estimated, given how many targets have two ratings, or nothing."""
    if twice == 0:
        return f"needs at least two raters at one session; has {len(data.ratings)} sessions with one rater each"
    if twice < min_targets:
        return f"needs at least {min_targets} sessions with two or more raters; has {twice}"
    if data.values.std() == 0:
        return "all ratings are the same"
    found = mean_squares(rating_sums(data.target, np.zeros(len(data.client), dtype=int), None, data.values))
    if found.within[0] < _DETERMINED:
        return "the raters of a session never differ: there is no variance of error to compare with"
    if found.targets[0] < _DETERMINED:
        return "sessions do not differ: the mean rating of all is the same"
    return ""


def why_raters_are_not_separable(data: CodedRatings) -> str:
    """Return why differences between raters cannot be told from error, or nothing."""
    if data.rater is None:
        return "raters are not identified: only the one-way forms can be estimated"
    found = mean_squares(rating_sums(data.target, np.zeros(len(data.client), dtype=int), data.rater, data.values))
    if found.df_error[0] < 1:
        return "raters do not share enough sessions: differences between raters and error cannot be told apart"
    if found.error[0] < _DETERMINED:
        return "raters differ by the same amount at every session: there is no variance of error to compare with"
    return ""


@dataclass(frozen=True)
class _Model:
    """Components of variance with raters (two-way) or without them (one-way), as ratios to the variance of error."""

    by_client: RatingSums
    complete: bool
    squares: MeanSquares
    targets: float
    raters: float
    free: tuple[float, float]
    notes: tuple[str, ...]

    def average(self, targets: float | np.ndarray, k: float) -> float | np.ndarray:
        """Return the intraclass correlation of averages of k raters whose differences in level are no error."""
        return k * targets / (1 + k * targets)

    def without(self, codes: np.ndarray, count: int, k: float) -> np.ndarray:
        """Return that coefficient without each group of clients; NaN where it does not exist."""
        left = self.by_client.grouped(codes, count).without_each()
        if self.complete:
            return self.average(_by_mean_squares(mean_squares(left), left)[0], k)
        enough = mean_squares(left).df_error > 0
        found = restricted_ml(left, self.free, raters=self.two_way)
        return np.where(enough & found.converged, self.average(found.targets, k), np.nan)

    @property
    def two_way(self) -> bool:
        return self.by_client.rows.shape[-1] > 2


def _by_mean_squares(squares: MeanSquares, sums: RatingSums) -> tuple[np.ndarray, np.ndarray]:
    """Return the ratios of variances that the mean squares of complete ratings estimate."""
    raters = np.nan_to_num((squares.raters / squares.error - 1) / squares.ratings_of_rater)
    return (squares.targets / squares.error - 1) / sums.sizes.max(), raters


def _model(data: CodedRatings, rater: np.ndarray | None) -> _Model:
    by_client = rating_sums(data.target, data.client, rater, data.values)
    sums = by_client.total()
    wanted = data.ratings[0] if rater is None else data.n_raters
    complete, squares = bool((data.ratings == wanted).all()), mean_squares(sums)
    notes = []
    if complete:
        targets, raters = (float(ratio[0]) for ratio in _by_mean_squares(squares, sums))
        free = (targets, raters)
        if targets <= 0:
            notes.append("the variance of sessions is estimated as zero or below")
    else:
        best, bounded = restricted_ml(sums, raters=rater is not None), non_negative(sums, raters=rater is not None)
        targets, raters = float(bounded.targets[0]), float(bounded.raters[0])
        free = (float(best.targets[0]), float(best.raters[0]))
        if not bounded.converged[0]:
            notes.append("the optimum was not reached: do not rely on this")
        if targets == 0:
            notes.append("the variance of sessions is estimated as zero")
    return _Model(by_client, complete, squares, targets, raters, free, tuple(notes))


@dataclass(frozen=True)
class _Limits:
    """Interval of the average coefficient of a model, and the standard error of ln(1 - coefficient)."""

    low: float
    high: float
    error: float
    notes: tuple[str, ...]


def _independent(model: _Model, k: float, level: float) -> _Limits:
    low, high = exact_target_ratio(model.by_client.total(), level)
    squares = model.squares
    # ln F has about this variance, and ln(1 - ICC) of the average of complete ratings is -ln F.
    error = float(np.sqrt(2 / squares.df_targets[0] + 2 / squares.df_error[0]))
    return _Limits(float(model.average(low, k)), float(model.average(high, k)) if np.isfinite(high) else 1.0, error, ())


def _clustered(model: _Model, left_out: LeftOut, which: int, k: float, level: float) -> _Limits:
    error = float(left_out.std_error[which])
    margin = float(critical_value(level, left_out.df)) * error
    complement = 1 - float(model.average(model.free[0], k))
    notes = [left_out.caution] if left_out.caution else []
    if not np.isfinite(error):
        notes.append("no interval: without one of the clients there is no estimate")
    return _Limits(1 - complement * np.exp(margin), 1 - complement * np.exp(-margin), error, tuple(notes))


def _agreement(model: _Model, limits: _Limits, k: float, level: float, exact: bool) -> tuple[float, _Limits]:
    """Return the average agreement and its interval, from those of consistency and the interval of the raters' ratio.

    Agreement is s / (s + 1 + raters), s the signal-to-noise ratio of consistency.
    """
    sums, squares = model.by_client.total(), model.squares
    estimate = k * model.targets / (k * model.targets + 1 + model.raters)

    def log_complement(consistency: float, raters: float) -> float:
        signal = consistency / (1 - consistency)
        return float(np.log((1 + raters) / (signal + 1 + raters)))

    signal, per_rater = k * model.free[0], float(squares.ratings_of_rater[0])
    raters = max(model.free[1], -1 / per_rater)
    rater_error = (1 + per_rater * raters) / (per_rater * (1 + raters)) * np.sqrt(2 / squares.df_raters[0] + 2 / squares.df_error[0])
    weight = (1 + signal) / (signal + 1 + raters)
    error = float(np.hypot(weight * limits.error, signal / (signal + 1 + raters) * rater_error))
    if exact and model.complete:
        low, high = _mcgraw_wong(squares, int(sums.n_targets[0]), round(k), level)
        return estimate, _Limits(low, high, error, limits.notes)
    if not np.isfinite(limits.error):
        return estimate, limits
    consistency = float(model.average(model.free[0], k))
    centre = log_complement(consistency, raters)
    rater_low, rater_high = exact_rater_ratio(sums, level)
    ends = []
    for sign, bound, rater_bound in ((1, limits.low, rater_high), (-1, limits.high, rater_low)):
        by_targets = log_complement(bound, raters) - centre if bound < 1 else -np.inf
        by_raters = (log_complement(consistency, rater_bound) if np.isfinite(rater_bound) else 0.0) - centre
        ends.append(1 - float(np.exp(centre + sign * np.hypot(by_targets, by_raters))))
    return estimate, _Limits(ends[0], ends[1], error, limits.notes)


def _mcgraw_wong(squares: MeanSquares, n: int, k: int, level: float) -> tuple[float, float]:
    """Return the interval of ICC(A,k) of complete ratings by Satterthwaite's F (McGraw & Wong, 1996, table 7)."""
    from scipy.special import fdtri

    between, raters, error = (float(part[0]) for part in (squares.targets, squares.raters, squares.error))
    single = (between - error) / (between + (k - 1) * error + k * (raters - error) / n)
    a, b = k * single / (n * (1 - single)), 1 + k * single * (n - 1) / (n * (1 - single))
    df = (a * raters + b * error) ** 2 / ((a * raters) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1)))
    upper, lower = float(fdtri(n - 1, df, (1 + level) / 2)), float(fdtri(df, n - 1, (1 + level) / 2))
    shared = k * raters + (k * n - k - n) * error
    low = n * (between - upper * error) / (upper * shared + n * between)
    high = n * (lower * between - error) / (shared + n * lower * between)
    return tuple(k * limit / (1 + (k - 1) * limit) for limit in (low, high))


def _limits(data: CodedRatings, models: dict[str, _Model], level: float, min_clusters: int) -> tuple[dict[str, _Limits], str]:
    if data.independent:
        return {name: _independent(model, data.k, level) for name, model in models.items()}, "exact"

    def without(codes: np.ndarray, count: int) -> np.ndarray:
        return np.column_stack([model.without(codes, count, data.k) for model in models.values()])

    clients = int(data.client.max()) + 1
    left_out = leave_out(without, data.therapist, clients, min_clusters)
    return {name: _clustered(model, left_out, at, data.k, level) for at, (name, model) in enumerate(models.items())}, left_out.method


def _coefficient(form: Form, data: CodedRatings, models: dict[str, _Model], limits: dict[str, _Limits], level: float) -> Coefficient:
    model, k = models["unknown" if form.raters == "unknown" else "fixed"], data.k
    own = limits["unknown" if form.raters == "unknown" else "fixed"]
    estimate = float(model.average(model.targets, k))
    notes = list(model.notes)
    if form.raters == "random":
        estimate, own = _agreement(model, own, k, level, data.independent)
        if model.raters <= 0:
            notes.append("raters differ in level no more than by chance: their variance is estimated as zero or below")
    elif form.raters == "unknown" and 0 < data.n_raters < len(data.values):
        notes.append("the interval takes the raters of every session as other people; here some rate several: ICC(2) respects that")
    notes += own.notes
    error = (1 - estimate) * own.error
    values = np.array([estimate, own.low, own.high])
    if not form.average:
        error *= k / (k - (k - 1) * estimate) ** 2
        values = values / (k - (k - 1) * values)
    low, high = min(values[1], values[0]), max(values[2], values[0])
    status = "flagged" if notes else "estimated"
    return Coefficient(float(values[0]), float(error), float(low), float(high), status, "; ".join(dict.fromkeys(notes)))


def _result(data: CodedRatings, model: _Model | None, twice: int, interval: str, coefficients: dict[str, Coefficient]) -> Interrater:
    shares: dict[str, float] = {}
    if model is not None:
        parts = np.maximum([model.targets, model.raters, 1.0], 0.0)
        names = ("target", "rater", "error") if model.two_way else ("target", "", "error")
        shares = {name: float(part) for name, part in zip(names, parts / parts.sum(), strict=True) if name}
    return Interrater(
        coefficients,
        shares,
        len(data.client),
        len(data.values),
        data.n_raters,
        twice,
        int(data.client.max()) + 1 if len(data.client) else 0,
        0 if data.therapist is None else len(np.unique(data.therapist)),
        data.k if len(data.client) else np.nan,
        "none" if model is None else "mean_squares" if model.complete else "reml",
        interval,
    )
