"""Reliability of a scale from its scored items, one occasion a client: alpha, omega total and omega hierarchical with intervals.

Intervals are found on the scale of ln(1 - coefficient), on which coefficients are pooled over sites (Bonett, 2010).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance.statistics import resampling
from alliance.statistics.change import Proportion, named_clusters, proportion
from alliance.statistics.covariance import cluster_codes, delta, normal_theory
from alliance.statistics.distributions import critical_value, two_sided_p
from alliance.statistics.internal_consistency import alpha, item_rest_correlations, mean_inter_item_correlation
from alliance.statistics.one_factor import CONSTANT, MIN_ITEMS, NOT_IDENTIFIED, OneFactor, one_factor
from alliance.statistics.reliability_interval import Coefficient, no_coefficient
from alliance.statistics.schmid_leiman import SchmidLeiman, schmid_leiman

Name = Literal["alpha", "omega_total", "omega_hierarchical", "omega_total_schmid_leiman"]
NAMES: tuple[Name, ...] = ("alpha", "omega_total", "omega_hierarchical", "omega_total_schmid_leiman")
HEADLINE: tuple[Name, ...] = ("alpha", "omega_total")
Interval = Literal["expanded_percentile", "jackknife"]
MIN_CLIENTS = 10
FACTORS = 3
MOST_FAILED = 0.2
_OF_SCHMID_LEIMAN = {"omega_hierarchical": "omega_hierarchical", "omega_total_schmid_leiman": "omega_t"}


@dataclass(frozen=True)
class Reliability:
    """Reliability of one scale.

    Attributes
    ----------
    coefficients : tuple of Coefficient
        In the order they were asked for, named as in :data:`NAMES`.
    vcov : ndarray, shape (m, m)
        Sampling covariance of the ln(1 - coefficient)s.
    mean_inter_item : float
        Mean correlation of two items.
    item_rest : ndarray, shape (k,)
        Each item's correlation with the sum of the others.
    covariance : ndarray, shape (k, k)
        Covariances of the items, divisor n - 1.
    n, n_left_out, n_clusters : int
        Clients with all items, clients left out for a missing item, therapists of those used (0 where not known).
    df : float
        Therapists - 1 where they were resampled; infinite where clients are taken as independent.
    method : str
        How intervals were made, in words.
    """

    coefficients: tuple[Coefficient, ...]
    vcov: np.ndarray
    mean_inter_item: float
    item_rest: np.ndarray
    covariance: np.ndarray
    n: int
    n_left_out: int
    n_clusters: int
    df: float
    method: str

    def __getitem__(self, name: Name) -> Coefficient:
        return next(one for one in self.coefficients if one.name == name)


@dataclass(frozen=True)
class _Found:
    """Coefficients of one covariance matrix, why some are absent or doubtful, and how to find them in resamples."""

    values: np.ndarray
    reasons: list[str]
    doubts: list[str]
    function: Callable[[np.ndarray], np.ndarray]


def omega_total(covariance: ArrayLike) -> np.ndarray:
    """Return omega total of the one-factor model of covariances of scored items, shape (..., k, k) to (...).

    Sum of loadings squared, over that plus the residual variances: reliability of the unweighted sum with the total variance that the
    model implies, semTools' ``reliability`` (row ``omega``) and ``compRelSEM(obs.var = FALSE)``. NaN without a proper solution;
    :func:`alliance.statistics.one_factor.one_factor` says why.
    """
    return one_factor(covariance).omega()


def reliability(
    items: ArrayLike,
    clusters: ArrayLike | None = None,
    random: np.random.Generator | None = None,
    *,
    names: Sequence[Name] = HEADLINE,
    factors: int = FACTORS,
    draws: int = 2000,
    level: float = 0.95,
    interval: Interval = "expanded_percentile",
    min_clusters: int = resampling.MIN_CLUSTERS,
    min_rows: int = MIN_CLIENTS,
) -> Reliability:
    """Return the reliability of a scale with intervals that respect therapists.

    Whole therapists are resampled (or left out), clients where therapists are unknown or fewer than ``min_clusters``. A client enters with
    all items answered or not at all: covariances from pairs of items are of different clients and need not be those of any sample.

    Parameters
    ----------
    items : array_like, shape (n, k)
        Scored items (reversed ones turned), one row a client.
    clusters : array_like, shape (n,), optional
        Therapist of each client; a client without one is taken as a therapist's only one.
    random : numpy.random.Generator, optional
        From :func:`alliance.statistics.resampling.generator`; without it the bootstrap gives no intervals.
    names : sequence of str
        Which of :data:`NAMES`.
    factors : int
        Group factors of omega hierarchical.
    draws : int
        Number of resamples.
    level : float
        Confidence level.
    interval : {"expanded_percentile", "jackknife"}
        Percentiles of the bootstrap, expanded for the number of units (Hesterberg, 2015), with the standard error of the resamples times
        sqrt(G / (G - 1)); or each therapist left out in turn, with ln(1 - coefficient) by t(G - 1) turned back.
    min_clusters : int
        With fewer known therapists clients take their place.
    min_rows : int
        With fewer clients nothing is estimated.
    """
    data, therapists, left_out = _complete(items, clusters)
    n, k = data.shape
    n_clusters = _known(therapists)
    fault = _too_few(n, min_rows)
    if fault:
        return _absent(names, fault, k, n, left_out, n_clusters)
    sample = np.cov(data.T).reshape(k, k)
    found = _coefficients(sample, names, factors)
    described = (float(mean_inter_item_correlation(sample)), item_rest_correlations(sample), sample, n, left_out, n_clusters)
    resampler = _Resampler.of(n, therapists, interval, draws, random, min_clusters)
    df = resampler.df if resampler.unit == "therapists" else np.inf
    if random is None and interval != "jackknife":
        coefficients = tuple(_coefficient(name, found, place) for place, name in enumerate(names))
        return Reliability(coefficients, np.full((len(names),) * 2, np.nan), *described, df, "no interval asked for")
    summary = resampler.summary(found.values, resampler.replicates(data, found.function), level)
    coefficients = _with_intervals(names, found, summary, _notes(therapists, n_clusters, min_clusters))
    return Reliability(coefficients, summary.vcov, *described, df, resampler.method)


def from_covariance(
    covariance: ArrayLike, n: int, *, names: Sequence[Name] = HEADLINE, factors: int = FACTORS, level: float = 0.95
) -> Reliability:
    """Return the reliability of a scale from the covariances of its items alone, of independent and normal clients.

    The delta method on ln(1 - coefficient), from the sampling covariance of normal data; for alpha it is the variance of van Zyl,
    Neudecker & Nel (2000), for omega that of lavaan where the one-factor model holds (``likelihood = "wishart"``). It does not suppose
    that the model holds.

    Parameters
    ----------
    covariance : array_like, shape (k, k)
        Covariances of scored items.
    n : int
        Clients.
    names, factors, level
        As in :func:`reliability`.
    """
    covariance = np.asarray(covariance, dtype=float)
    k = len(covariance)
    fault = _too_few(n, MIN_CLIENTS)
    if fault:
        return _absent(names, fault, k, n, 0, 0)
    found = _coefficients(covariance, names, factors)
    vcov = np.full((len(names),) * 2, np.nan)
    present = np.flatnonzero(np.isfinite(found.values))
    notes: dict[int, list[str]] = {}
    if len(present):
        with np.errstate(divide="ignore", invalid="ignore"):
            slopes = delta(lambda stack: np.log1p(-found.function(stack)[:, present]), covariance, normal_theory(covariance, n))[1]
        vcov[np.ix_(present, present)] = slopes
    errors = np.sqrt(np.diagonal(vcov))
    coefficients = []
    for place, name in enumerate(names):
        margin = critical_value(level) * errors[place]
        with np.errstate(divide="ignore", invalid="ignore"):
            centre = np.log1p(-found.values[place])
        if place in present and not np.isfinite(margin):
            notes[place] = ["no interval: without a solution for covariances close by"]
        ends = -np.expm1(centre + margin), -np.expm1(centre - margin)
        coefficients.append(_coefficient(name, found, place, float(errors[place]), *map(float, ends), notes.get(place, [])))
    described = (float(mean_inter_item_correlation(covariance)), item_rest_correlations(covariance), covariance, n, 0, 0)
    return Reliability(tuple(coefficients), vcov, *described, np.inf, "normal theory, clients taken as independent")


@dataclass(frozen=True)
class Difference:
    """Difference of one coefficient between two scales that the same clients (or dyads) answered.

    Attributes
    ----------
    first, second : int
        Positions of the scales.
    name : str
        One of :data:`NAMES`.
    estimate, difference_error, ci_low, ci_high : float
        Coefficient of the first minus that of the second, its standard error and interval.
    ln_difference, std_error : float
        ln(1 - second) - ln(1 - first), positive where the first is the more reliable, and its standard error.
    df, p_value : float
        Test of no difference: ``ln_difference / std_error`` by t with as many degrees of freedom as resampled units less one.
    status, reason : str
        ``estimated``, ``flagged`` or ``not_estimable``, and why.
    """

    first: int
    second: int
    name: Name
    estimate: float
    difference_error: float
    ci_low: float
    ci_high: float
    ln_difference: float
    std_error: float
    df: float
    p_value: float
    status: str
    reason: str


@dataclass(frozen=True)
class Comparison:
    """Reliability of several scales answered by the same clients, and all differences between two of them.

    ``by_therapists`` tells whether therapists were resampled or left out; else clients were.
    """

    differences: tuple[Difference, ...]
    scales: tuple[tuple[Coefficient, ...], ...]
    n: int
    n_left_out: int
    n_clusters: int
    by_therapists: bool
    method: str


def compare(
    scales: Sequence[ArrayLike],
    clusters: ArrayLike | None = None,
    random: np.random.Generator | None = None,
    *,
    names: Sequence[Name] = HEADLINE,
    factors: int = FACTORS,
    draws: int = 2000,
    level: float = 0.95,
    interval: Interval = "expanded_percentile",
    min_clusters: int = resampling.MIN_CLUSTERS,
    min_rows: int = MIN_CLIENTS,
) -> Comparison:
    """Compare the reliability of scales answered by the same clients or about the same dyads.

    All scales are found in the same resamples, so that errors of differences know how far the scales hang together. Rows with an item
    missing in any scale are left out of all.

    Parameters
    ----------
    scales : sequence of array_like, shapes (n, k_1), (n, k_2), ...
        Scored items of each scale; a row is the same client or dyad in all.
    clusters, random, names, factors, draws, level, interval, min_clusters, min_rows
        As in :func:`reliability`.

    Raises
    ------
    ValueError
        A bootstrap without ``random``.
    """
    arrays = [np.asarray(scale, dtype=float) for scale in scales]
    data, therapists, left_out = _complete(np.concatenate(arrays, axis=1), clusters)
    n, n_clusters = len(data), _known(therapists)
    ends = np.cumsum([array.shape[1] for array in arrays])
    fault = _too_few(n, min_rows)
    if fault:
        empty = tuple(_absent(names, fault, array.shape[1], n, left_out, n_clusters).coefficients for array in arrays)
        absent = tuple(Difference(i, j, name, *[np.nan] * 8, "not_estimable", fault) for i, j, name in _pairs(len(arrays), names))
        return Comparison(absent, empty, n, left_out, n_clusters, False, "")
    if random is None and interval != "jackknife":
        raise ValueError("a bootstrap needs a generator of random numbers")
    resampler = _Resampler.of(n, therapists, interval, draws, random, min_clusters)
    notes = _notes(therapists, n_clusters, min_clusters)
    found, drawn, coefficients = [], [], []
    for part in np.split(data, ends[:-1], axis=1):
        found.append(_coefficients(np.cov(part.T).reshape(part.shape[1], -1), names, factors))
        drawn.append(resampler.replicates(part, found[-1].function))
        coefficients.append(_with_intervals(names, found[-1], resampler.summary(found[-1].values, drawn[-1], level), notes))
    differences = []
    for i, j, name in _pairs(len(arrays), names):
        m = list(names).index(name)
        reason = "; ".join(dict.fromkeys(filter(None, (found[i].reasons[m], found[j].reasons[m]))))
        if reason:
            differences.append(Difference(i, j, name, *[np.nan] * 8, "not_estimable", reason))
            continue
        values, replicates = (np.array([one[m] for one in pair]) for pair in ((found[i].values, found[j].values), (drawn[i].T, drawn[j].T)))
        doubts = [*notes, *dict.fromkeys(filter(None, (found[i].doubts[m], found[j].doubts[m])))]
        differences.append(_difference((i, j, name), values, replicates.T, resampler, level, doubts))
    return Comparison(tuple(differences), tuple(coefficients), n, left_out, n_clusters, resampler.unit == "therapists", resampler.method)


def _difference(
    identity: tuple[int, int, Name], values: np.ndarray, replicates: np.ndarray, resampler: _Resampler, level: float, notes: list[str]
) -> Difference:
    """Return the difference of two coefficients from their replicates, shape (replicates, 2)."""
    plain = resampler.summary(values[:1] - values[1:], replicates[:, :1] - replicates[:, 1:], level, logs=False)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs, each = np.log1p(-values), np.log1p(-replicates)
    in_logs = resampler.summary(logs[1:] - logs[:1], each[:, 1:] - each[:, :1], level, logs=False)
    ln_difference, error = float(logs[1] - logs[0]), in_logs.of(0)[0]
    p_value = float(two_sided_p(ln_difference / error, resampler.df)) if error > 0 else np.nan
    notes = [*notes, *in_logs.failures(0)]
    return Difference(
        *identity,
        float(values[0] - values[1]),
        *plain.of(0),
        ln_difference,
        error,
        resampler.df,
        p_value,
        "flagged" if notes else "estimated",
        "; ".join(notes),
    )


def share_at_maximum(scores: ArrayLike, maximum: float, clusters: ArrayLike | None = None, level: float = 0.95) -> Proportion:
    """Return the share of clients at the highest possible score, with Wilson's interval and one that respects therapists.

    Parameters
    ----------
    scores : array_like, shape (n,)
        One score a client; NaN is left out.
    maximum : float
        Highest possible score.
    clusters : array_like, shape (n,), optional
        Therapist of each client.
    level : float
        Confidence level.

    Raises
    ------
    ValueError
        A score lies above ``maximum``.
    """
    scores = np.asarray(scores, dtype=float)
    # A mean of items is a quotient: its last digits may differ from those of the maximum.
    near = 1e-9 * max(1.0, abs(maximum))
    given = ~np.isnan(scores)
    if (scores[given] > maximum + near).any():
        raise ValueError(f"a score lies above the highest possible score {maximum:g}")
    return proportion(scores[given] >= maximum - near, None if clusters is None else np.asarray(clusters)[given], level)


def _complete(items: ArrayLike, clusters: ArrayLike | None) -> tuple[np.ndarray, np.ndarray | None, int]:
    data = np.asarray(items, dtype=float)
    if data.ndim != 2:
        raise ValueError("items need the shape (clients, items)")
    whole = np.isfinite(data).all(axis=1)
    return data[whole], None if clusters is None else np.asarray(clusters)[whole], int((~whole).sum())


def _too_few(n: int, least: int) -> str:
    return f"needs at least {least} clients with all items; has {n}" if n < least else ""


def _known(therapists: np.ndarray | None) -> int:
    """Return the number of known therapists."""
    return 0 if therapists is None else int(pd.Series(therapists, dtype=object).nunique())


def _notes(therapists: np.ndarray | None, n_clusters: int, least: int) -> list[str]:
    if therapists is None or n_clusters >= least:
        return []
    return [f"clients were resampled or left out, not therapists: fewer than {least} therapists ({n_clusters})"]


def _pairs(count: int, names: Sequence[Name]) -> list[tuple[int, int, Name]]:
    return [(i, j, name) for name in names for i in range(count) for j in range(i + 1, count)]


def _coefficients(covariance: np.ndarray, names: Sequence[Name], factors: int) -> _Found:
    """Return the coefficients of the sample, and the function that finds them in resamples from the sample's solutions."""
    k = len(covariance)
    reasons, doubts, functions, values = [], [], [], []
    usable = _fault(covariance)
    for name in names:
        doubt, reason, function = "", usable, None
        if name == "alpha":
            reason = usable if k > 1 else f"alpha needs at least 2 items; has {k}"
            value, function = alpha(covariance), alpha
            if not reason and not np.isfinite(value):
                reason = "the sum of the items does not vary"
        elif name == "omega_total":
            fit = one_factor(covariance)
            reason = f"{NOT_IDENTIFIED}; has {k}" if k < MIN_ITEMS else usable or _not_definite(covariance) or str(fit.problem)
            value, function = fit.omega(), partial(_omega_total_from, start=fit)
            doubt = f"{int((fit.loadings < 0).sum())} of {k} items have a negative loading" if fit.negative else ""
        elif name in _OF_SCHMID_LEIMAN:
            solution = schmid_leiman(covariance, factors)
            reason = usable or str(solution.problem)
            which = _OF_SCHMID_LEIMAN[name]
            value, function = getattr(solution, which), partial(_of_schmid_leiman_from, start=solution, which=which)
            doubt = str(solution.doubt)
        else:
            raise ValueError(f"no coefficient {name!r}; there are {', '.join(NAMES)}")
        reasons.append(reason)
        doubts.append("" if reason else doubt)
        functions.append(function)
        values.append(np.nan if reason else float(value))

    def of_stack(stack: np.ndarray) -> np.ndarray:
        columns = [np.full(len(stack), np.nan) if reason else function(stack) for reason, function in zip(reasons, functions)]
        return np.column_stack(columns)

    return _Found(np.array(values), reasons, doubts, of_stack)


def _omega_total_from(stack: np.ndarray, start: OneFactor) -> np.ndarray:
    return one_factor(stack, start).omega()


def _of_schmid_leiman_from(stack: np.ndarray, start: SchmidLeiman, which: str) -> np.ndarray:
    return getattr(schmid_leiman(stack, start.group.shape[-1], start), which)


def _fault(covariance: np.ndarray) -> str:
    variance = np.diagonal(covariance)
    if not np.isfinite(covariance).all():
        return "the covariances are not all known"
    constant = int((variance <= 1e-12).sum())
    return f"{CONSTANT} ({constant} of {len(variance)})" if constant else ""


def _not_definite(covariance: np.ndarray) -> str:
    deviation = np.sqrt(np.diagonal(covariance))
    smallest = np.linalg.eigvalsh(covariance / np.outer(deviation, deviation))[0]
    return "" if smallest > 1e-8 else "items determine each other, or there are too few clients: the covariance matrix is singular"


@dataclass(frozen=True)
class _Summary:
    """Limits of intervals, sampling covariance, and how many of the replicates have no value."""

    low: np.ndarray
    high: np.ndarray
    vcov: np.ndarray
    failed: np.ndarray
    shown: np.ndarray
    replicates: int

    def of(self, place: int) -> tuple[float, float, float]:
        """Return standard error, lower and upper limit."""
        return float(np.sqrt(self.vcov[place, place])), float(self.low[place]), float(self.high[place])

    def failures(self, place: int) -> list[str]:
        failed = int(self.failed[place])
        if not failed:
            return []
        share = f"{failed} of {self.replicates} resamples had no proper solution"
        return [f"{share} and were left out" if self.shown[place] else f"no interval: {share}"]


@dataclass(frozen=True)
class _Resampler:
    """What is resampled or left out, for several scales alike."""

    kind: Interval
    unit: str
    units: int
    clusters: np.ndarray | None
    weights: np.ndarray | None
    draws: int

    @classmethod
    def of(
        cls,
        n: int,
        therapists: np.ndarray | None,
        kind: Interval,
        draws: int,
        random: np.random.Generator | None,
        min_clusters: int,
    ) -> _Resampler:
        if kind not in ("expanded_percentile", "jackknife"):
            raise ValueError(f"no interval {kind!r}; there are expanded_percentile and jackknife")
        clusters = named_clusters(therapists) if therapists is not None and _known(therapists) >= min_clusters else None
        units = n if clusters is None else cluster_codes(clusters)[1]
        weights = None if random is None or kind == "jackknife" else resampling.multinomial_weights(random, units, draws)
        return cls(kind, "clients" if clusters is None else "therapists", units, clusters, weights, draws)

    @property
    def df(self) -> float:
        """Units less one."""
        return self.units - 1.0

    @property
    def method(self) -> str:
        """How intervals are made, in words."""
        if self.kind == "jackknife":
            return f"jackknife, each of {self.units} {self.unit} left out in turn"
        return f"expanded percentile bootstrap, {self.draws} resamples of {self.unit}"

    def replicates(self, data: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return a function of the covariances of resamples of complete rows, shape (replicates, m)."""
        scale = data.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        products = resampling.cross_products((data - data.mean(axis=0)) / scale, self.clusters, 0)
        stack = resampling.left_out_covariances(products) if self.weights is None else resampling.covariances(products, self.weights)
        return function(stack * np.outer(scale, scale))

    def summary(self, values: np.ndarray, replicates: np.ndarray, level: float, logs: bool = True) -> _Summary:
        """Return intervals of values from replicates, and the covariance of ln(1 - value), or where not ``logs`` of the values."""
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled, centre = (np.log1p(-values), np.log1p(-replicates))[::-1] if logs else (replicates, values)
        jackknife = self.kind == "jackknife"
        failed = (~np.isfinite(scaled)).sum(axis=0)
        shown = failed <= (0 if jackknife else MOST_FAILED * len(replicates))
        factor = (self.units - 1) ** 2 / self.units if jackknife else self.units / (self.units - 1)
        m = len(values)
        low, high, vcov = np.full(m, np.nan), np.full(m, np.nan), np.full((m, m), np.nan)
        places = np.flatnonzero(shown)
        for i in places:
            for j in places:
                both = np.isfinite(scaled[:, i]) & np.isfinite(scaled[:, j])
                vcov[i, j] = np.cov(scaled[both, i], scaled[both, j])[0, 1] * factor
        if jackknife:
            margin = critical_value(level, self.df) * np.sqrt(np.diagonal(vcov))
            low, high = centre - margin, centre + margin
            if logs:
                low, high = -np.expm1(high), -np.expm1(low)
        elif len(places):
            low[places], high[places] = resampling.percentile_interval(replicates[:, places], level, self.units)
        return _Summary(low, high, vcov, failed, shown, len(replicates))


def _with_intervals(names: Sequence[Name], found: _Found, summary: _Summary, notes: list[str]) -> tuple[Coefficient, ...]:
    return tuple(
        _coefficient(name, found, place, *summary.of(place), [*notes, *summary.failures(place)]) for place, name in enumerate(names)
    )


def _coefficient(
    name: Name,
    found: _Found,
    place: int,
    ln_error: float = np.nan,
    low: float = np.nan,
    high: float = np.nan,
    notes: Sequence[str] = (),
) -> Coefficient:
    value, reason = float(found.values[place]), found.reasons[place]
    if reason:
        return no_coefficient(reason, name)
    notes = [*filter(None, [found.doubts[place]]), *notes]
    return Coefficient(value, (1 - value) * ln_error, low, high, "flagged" if notes else "estimated", "; ".join(notes), name)


def _absent(names: Sequence[Name], reason: str, k: int, n: int, left_out: int, n_clusters: int) -> Reliability:
    coefficients = tuple(no_coefficient(reason, name) for name in names)
    empty = np.full((len(names),) * 2, np.nan)
    return Reliability(coefficients, empty, np.nan, np.full(k, np.nan), np.full((k, k), np.nan), n, left_out, n_clusters, np.inf, "")
