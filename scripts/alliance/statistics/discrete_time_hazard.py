"""Discrete-time hazard models of person-periods, with a normal random intercept of therapists (frailty).

A row is a client and a session; the event is that the client did not come again after it. The hazard is a binomial regression with the
complementary log-log link (exponentiated coefficients are hazard ratios of the grouped proportional hazards model; Prentice & Gloeckler,
1978) or the logit link (odds ratios; Singer & Willett, 1993). The random intercept is integrated out by adaptive Gauss-Hermite quadrature
(Pinheiro & Bates, 1995). First and second derivatives of the integrated likelihood are posterior means and variances of those of the
rows (Louis, 1982), computed at the same nodes, so that Newton's method takes few steps. With the complementary log-log link rows without an
event add up within therapists before the nodes are visited: only rows with an event are evaluated at every node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, sparse, special

from alliance.statistics.covariance import cluster_codes
from alliance.statistics.distributions import chi_squared_p, chi_squared_quantile, critical_value, two_sided_p

if TYPE_CHECKING:
    import pandas as pd

LINKS = ("cloglog", "logit")
NODES = 15
MIN_CLUSTERS = 5
_STEPS = 60
# Twice the promised gain of log-likelihood below which a point is near the maximum, and below which it is the maximum.
_NEAR, _SMALL = 1e-4, 1e-11
# Standard deviations of the frailty below which it is zero, and above which nothing is sought.
_NO_FRAILTY = 1e-3
_LARGEST_FRAILTY = 5.0
# Coefficients per SD of their column, or Newton steps, from which on separation is looked for.
_LARGE_COEFFICIENT = 5.0
_MANY_STEPS = 14
_HALVINGS = 30


@dataclass(frozen=True)
class HazardModel:
    """A discrete-time hazard model. Where ``status`` is ``not_estimable`` there are no numbers, and ``reason`` says what is needed.

    Attributes
    ----------
    status, reason : str
        ``estimated`` or ``not_estimable``, and why, in plain words.
    link : str
        ``cloglog`` or ``logit``.
    coefficients : DataFrame
        One row a column of the design, indexed by its name: ``estimate`` (log hazard or log odds ratio), ``std_error`` (observed
        information), ``statistic``, ``p_value``, ``ci_low``, ``ci_high`` (normal).
    vcov : ndarray, shape (p, p)
        Covariance of the coefficients.
    intercepts : ndarray, shape (strata,)
        One intercept a stratum, in the order of its first row.
    frailty_sd, frailty_low, frailty_high : float or None
        Standard deviation of the therapists' intercepts, and its profile-likelihood interval; None without therapists.
    frailty_p : float or None
        Likelihood-ratio test of no frailty: half chi-squared with 0, half with 1 degree of freedom (Self & Liang, 1987).
    log_likelihood, log_likelihood_independent : float
        Of the model, and of the same without frailty.
    n_rows, n_events, n_clusters : int
        Rows, events and therapists (0: none given) behind the numbers.
    strata_left_out : tuple
        Strata in which no row, or every row, has the event: they tell nothing of the coefficients.
    level : float
        Confidence level.
    """

    status: str
    reason: str
    link: str
    coefficients: pd.DataFrame
    vcov: np.ndarray
    intercepts: np.ndarray
    frailty_sd: float | None
    frailty_low: float | None
    frailty_high: float | None
    frailty_p: float | None
    log_likelihood: float | None
    log_likelihood_independent: float | None
    n_rows: int
    n_events: int
    n_clusters: int
    strata_left_out: tuple[Any, ...]
    level: float


@dataclass(frozen=True)
class _Point:
    """Parameters: intercepts by stratum, coefficients, and the standard deviation of the frailty."""

    intercepts: np.ndarray
    slopes: np.ndarray
    sd: float


@dataclass(frozen=True)
class _Value:
    """Log-likelihood at a point with its gradient and negative Hessian in arrow form (strata against the rest)."""

    log_likelihood: float
    gradient_strata: np.ndarray
    gradient: np.ndarray
    diagonal: np.ndarray
    cross: np.ndarray
    block: np.ndarray
    modes: np.ndarray


def hazard_model(
    events: ArrayLike,
    design: ArrayLike,
    names: Sequence[str],
    clusters: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    *,
    link: str = "cloglog",
    weights: ArrayLike | None = None,
    nodes: int = NODES,
    level: float = 0.95,
    interval: bool = True,
) -> HazardModel:
    """Fit a discrete-time hazard model by maximum likelihood.

    Parameters
    ----------
    events : array_like, shape (n,)
        1 where the client did not come again after the session, else 0.
    design : array_like, shape (n, p)
        Predictors and the baseline's columns, without an intercept.
    names : sequence of str
        Names of the columns.
    clusters : array_like, shape (n,), optional
        Therapist of each row; without them rows are taken as independent given the design.
    strata : array_like, shape (n,), optional
        Each has an intercept of its own (sites); every cluster lies in one stratum.
    link : str
        ``cloglog`` or ``logit``.
    weights : array_like, shape (n,), optional
        Each row counts so many times; needs not be whole.
    nodes : int
        Points of the quadrature; at least 5.
    level : float
        Confidence level.
    interval : bool
        Whether the profile interval of the frailty is sought.

    Raises
    ------
    ValueError
        An unknown link, too few nodes, shapes that do not agree, missing values, or a cluster in several strata.
    """
    rows = _Rows.of(events, design, names, clusters, strata, link, weights, nodes)
    reason = rows.lacking()
    if reason:
        return _absent(rows, reason, level)
    start = _Point(rows.first_intercepts(), np.zeros(rows.width), 0.0)
    plain, steps = _maximise(rows, start, frailty=False)
    large = np.abs(plain.slopes) * rows.spread > _LARGE_COEFFICIENT
    if steps >= _MANY_STEPS or large.any():
        separating = _separating(rows)
        if separating:
            return _absent(rows, f"{separating} tells without error who has the event (separation)", level)
        if steps >= _STEPS:
            return _absent(rows, "the likelihood has no maximum that could be found", level)
    independent = _value(rows, plain, None)
    if clusters is None:
        return _model(rows, plain, independent, independent, level, False)
    best, value = _with_frailty(rows, plain, independent)
    model = _model(rows, best, value, independent, level, True)
    if interval:
        low, high = _profile(rows, best, value.log_likelihood, independent.log_likelihood, level)
        model = replace(model, frailty_low=low, frailty_high=high)
    return model


@dataclass(frozen=True)
class Coefficients:
    """Estimates of a model without frailty, for resampling.

    Attributes
    ----------
    intercepts : ndarray, shape (strata,)
        By stratum in ascending order of its label; minus (plus) infinity where no row (every row) has the event.
    slopes : ndarray, shape (p,)
        Coefficients.
    found : bool
        Whether there is a maximum.
    """

    intercepts: np.ndarray
    slopes: np.ndarray
    found: bool

    @property
    def both(self) -> np.ndarray:
        """Intercepts, then coefficients."""
        return np.concatenate([self.intercepts, self.slopes])


def fit_without_each(
    events: ArrayLike,
    design: ArrayLike,
    names: Sequence[str],
    groups: ArrayLike,
    strata: ArrayLike | None = None,
    *,
    link: str = "cloglog",
    weights: ArrayLike | None = None,
) -> tuple[Coefficients, np.ndarray]:
    """Return the model without frailty of all rows, and of the rows without each group in turn.

    Parameters
    ----------
    events, design, names, strata, link, weights
        As in :func:`hazard_model`; groups may reach over strata.
    groups : array_like of int, shape (n,)
        Codes 0.. of the groups left out in turn.

    Returns
    -------
    Coefficients
        Of all rows.
    ndarray, shape (groups, strata + p)
        Intercepts and coefficients without each group; NaN where there is no maximum.
    """
    groups, events = np.asarray(groups), np.asarray(events, dtype=float)
    design = np.asarray(design, dtype=float).reshape(len(events), len(names))
    weights = None if weights is None else np.asarray(weights, dtype=float)
    stratum = np.zeros(len(events), dtype=int) if strata is None else np.unique(np.asarray(strata), return_inverse=True)[1]
    size, count = int(stratum.max(initial=0)) + 1, int(groups.max(initial=-1)) + 1

    def fitted(kept: np.ndarray, start: Coefficients | None) -> Coefficients:
        own = None if weights is None else weights[kept]
        rows = _Rows.of(events[kept], design[kept], names, None, stratum[kept], link, own, NODES)
        nothing = Coefficients(np.full(size, np.nan), np.full(len(names), np.nan), False)
        if rows.lacking():
            return nothing
        told = np.array(rows.strata, dtype=int)
        first = _Point(rows.first_intercepts(), np.zeros(rows.width), 0.0)
        if start is not None and np.isfinite(start.intercepts[told]).all():
            first = _Point(start.intercepts[told], start.slopes, 0.0)
        point, found = _settled(rows, first)
        if not found:
            return nothing
        intercepts = np.where(np.bincount(stratum[kept], events[kept], size) > 0, np.inf, -np.inf)
        intercepts[told] = point.intercepts
        return Coefficients(intercepts, point.slopes, True)

    whole = fitted(np.ones(len(events), dtype=bool), None)
    if not whole.found:
        return whole, np.full((count, size + len(names)), np.nan)
    return whole, np.array([fitted(groups != group, whole).both for group in range(count)]).reshape(count, size + len(names))


def jackknife_covariance(without: ArrayLike) -> np.ndarray:
    """Return the delete-one-group jackknife covariance: ``(G - 1) / G`` times the cross-products of deviations from the mean.

    Parameters
    ----------
    without : array_like, shape (groups, m)
        Estimates without each group.
    """
    without = np.asarray(without, dtype=float)
    deviation = without - without.mean(axis=0)
    return deviation.T @ deviation * ((len(without) - 1) / len(without))


def _settled(rows: _Rows, start: _Point) -> tuple[_Point, bool]:
    """Return the maximum without frailty, and whether there is one."""
    point, steps = _maximise(rows, start, frailty=False)
    if steps < _MANY_STEPS and (np.abs(point.slopes) * rows.spread <= _LARGE_COEFFICIENT).all():
        return point, True
    return point, steps < _STEPS and not _separating(rows)


def hazard(linear: ArrayLike, link: str = "cloglog") -> np.ndarray:
    """Return the hazard of a linear predictor."""
    linear = np.asarray(linear, dtype=float)
    return -np.expm1(-np.exp(np.minimum(linear, 700.0))) if link == "cloglog" else special.expit(linear)


@dataclass(frozen=True)
class _Rows:
    """Rows sorted by cluster, with the sparse sums over clusters that every evaluation needs.

    ``pointwise`` are the rows evaluated at every node: those with an event (cloglog), or all (logit). The others' log-likelihood is
    ``-exp(linear predictor)``.
    """

    y: np.ndarray
    x: np.ndarray
    names: tuple[str, ...]
    w: np.ndarray
    cluster: np.ndarray
    stratum_of: np.ndarray
    strata: tuple[Any, ...]
    strata_left_out: tuple[Any, ...]
    link: str
    n_clusters: int
    n_rows: int
    pointwise: np.ndarray
    summed: np.ndarray
    point_x: np.ndarray
    rest_x: np.ndarray
    rest_products: np.ndarray
    point_sums: Any
    rest_sums: Any
    stratum_sums: Any
    nodes: np.ndarray
    log_weights: np.ndarray

    @property
    def width(self) -> int:
        return self.x.shape[1]

    @property
    def spread(self) -> np.ndarray:
        if not len(self.x):
            return np.zeros(self.width)
        return self.x.std(axis=0)

    @classmethod
    def of(
        cls,
        events: ArrayLike,
        design: ArrayLike,
        names: Sequence[str],
        clusters: ArrayLike | None,
        strata: ArrayLike | None,
        link: str,
        weights: ArrayLike | None,
        nodes: int,
    ) -> _Rows:
        y, x = np.asarray(events, dtype=float), np.asarray(design, dtype=float).reshape(len(np.asarray(events)), -1)
        w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=float)
        if link not in LINKS:
            raise ValueError(f"link must be one of {', '.join(LINKS)}, not {link}")
        if nodes < 5:
            raise ValueError("the quadrature needs at least 5 nodes: derivatives are computed at the nodes")
        if x.shape[1] != len(names) or len(w) != len(y):
            raise ValueError("events, design, names and weights do not agree in number")
        if not (np.isfinite(x).all() and np.isfinite(w).all() and np.isin(y, (0.0, 1.0)).all()):
            raise ValueError("events must be 0 or 1, and design and weights without missing values")
        stratum, labels = _codes(strata, len(y))
        total, happened = np.bincount(stratum, w, len(labels)), np.bincount(stratum, w * y, len(labels))
        telling = (happened > 0) & (happened < total)
        n_rows = int(telling[stratum].sum())
        kept = telling[stratum] & (w > 0)
        renumbered = np.cumsum(telling) - 1
        y, x, w, stratum = y[kept], x[kept], w[kept], renumbered[stratum[kept]]
        if clusters is None:
            code, count, given = stratum, int(telling.sum()), 0
        else:
            code, count = cluster_codes(np.asarray(clusters)[kept]) if kept.any() else (np.zeros(0, dtype=int), 0)
            given = count
        stratum_of = np.zeros(count, dtype=int)
        stratum_of[code] = stratum
        if (stratum_of[code] != stratum).any():
            raise ValueError("a cluster lies in several strata")
        y, x, w, code = _grouped(y, x, w, code)
        event = y > 0
        pointwise = np.flatnonzero(event) if link == "cloglog" else np.arange(len(y))
        summed = np.flatnonzero(~event) if link == "cloglog" else np.arange(0)
        with_one = np.column_stack([np.ones(len(y)), x])
        z, weight = special.roots_hermite(nodes)
        return cls(
            y=y,
            x=x,
            names=tuple(names),
            w=w,
            cluster=code,
            stratum_of=stratum_of,
            strata=tuple(label for label, one in zip(labels, telling) if one),
            strata_left_out=tuple(label for label, one in zip(labels, telling) if not one),
            link=link,
            n_clusters=given,
            n_rows=n_rows,
            pointwise=pointwise,
            summed=summed,
            point_x=with_one[pointwise],
            rest_x=with_one[summed],
            rest_products=_products(with_one[summed]),
            point_sums=_summing(code[pointwise], w[pointwise], count),
            rest_sums=_summing(code[summed], w[summed], count),
            stratum_sums=_summing(stratum_of, np.ones(count), int(telling.sum())),
            nodes=np.sqrt(2.0) * z,
            log_weights=np.log(weight) + z**2 - 0.5 * np.log(np.pi),
        )

    def lacking(self) -> str:
        """Return why there can be no estimate; empty where there can."""
        if not len(self.y):
            return "needs sessions with and without the event"
        centred = self.x - self._stratum_means()
        size = np.sqrt(np.average(centred**2, axis=0, weights=self.w)) if self.width else np.zeros(0)
        scale = np.sqrt(np.average(self.x**2, axis=0, weights=self.w)) if self.width else np.zeros(0)
        constant = size <= 1e-9 * np.maximum(scale, 1e-300)
        if constant.any():
            return f"{self.names[int(np.argmax(constant))]} does not vary"
        gram = (centred / size).T @ ((centred / size) * self.w[:, None]) / self.w.sum() if self.width else np.zeros((0, 0))
        for last in range(1, self.width):
            if np.linalg.eigvalsh(gram[: last + 1, : last + 1])[0] < 1e-8:
                return f"{self.names[last]} is determined by the others"
        return ""

    def _stratum_means(self) -> np.ndarray:
        row = self.stratum_of[self.cluster]
        total = np.bincount(row, self.w)
        sums = np.column_stack([np.bincount(row, self.w * column) for column in self.x.T]) if self.width else np.zeros((len(total), 0))
        return (sums / total[:, None])[row]

    def first_intercepts(self) -> np.ndarray:
        row = self.stratum_of[self.cluster]
        rate = np.bincount(row, self.w * self.y) / np.bincount(row, self.w)
        return np.log(-np.log1p(-rate)) if self.link == "cloglog" else special.logit(rate)


def _codes(labels: ArrayLike | None, n: int) -> tuple[np.ndarray, list[Any]]:
    import pandas as pd

    if labels is None:
        return np.zeros(n, dtype=int), [""]
    codes, names = pd.factorize(np.asarray(labels))
    return codes, list(names)


def _grouped(y: np.ndarray, x: np.ndarray, w: np.ndarray, code: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return rows sorted by cluster; rows alike in cluster, event and design in one, where that halves them at least."""
    import pandas as pd

    order = np.argsort(code, kind="stable")
    y, x, w, code = y[order], x[order], w[order], code[order]
    key, size = (2 * code + y.astype(np.int64)), 2 * (int(code.max()) + 1 if len(code) else 1)
    for column in x.T:
        values, distinct = pd.factorize(column)
        if len(distinct) > max(len(y) // 4, 1) or size * len(distinct) > 2**62:
            return y, x, w, code
        key, size = key * len(distinct) + values, size * len(distinct)
    groups, first = pd.factorize(key)
    if len(first) > len(y) / 2:
        return y, x, w, code
    position = np.zeros(len(first), dtype=int)
    position[groups[::-1]] = np.arange(len(y))[::-1]
    return y[position], x[position], np.bincount(groups, w), code[position]


def _summing(code: np.ndarray, w: np.ndarray, count: int) -> Any:
    """Return the sparse matrix that adds weighted rows up within clusters."""
    return sparse.csr_matrix((w, (code, np.arange(len(code)))), shape=(count, len(code)))


def _products(x: np.ndarray) -> np.ndarray:
    """Return the products of every two columns, each pair once."""
    first, second = np.triu_indices(x.shape[1])
    return x[:, first] * x[:, second]


def _square(pairs: np.ndarray, size: int) -> np.ndarray:
    """Return symmetric matrices from values of every pair of columns, as :func:`_products` orders them."""
    first, second = np.triu_indices(size)
    matrices = np.empty((len(pairs), size, size))
    matrices[:, first, second] = pairs
    matrices[:, second, first] = pairs
    return matrices


def _row_terms(y: np.ndarray, linear: np.ndarray, link: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return log-likelihood, first and second derivative of pointwise rows by their linear predictor."""
    if link == "logit":
        p = special.expit(linear)
        return y * linear - np.logaddexp(0.0, linear), y - p, -p * (1 - p)
    m = np.exp(np.clip(linear, -700.0, 6.5))
    grown = np.expm1(m)
    first = m / grown
    with np.errstate(divide="ignore"):
        value = np.log(-np.expm1(-m))
    return value, first, first * (1 - m - first)


def _value(rows: _Rows, point: _Point, modes: np.ndarray | None) -> _Value:
    """Return log-likelihood and derivatives at a point; ``modes`` starts the search for the modes of the random intercepts."""
    count, width = len(rows.stratum_of), rows.width
    linear = point.intercepts[rows.stratum_of[rows.cluster]] + rows.x @ point.slopes
    at, x = linear[rows.pointwise], rows.point_x
    y, code = rows.y[rows.pointwise], rows.cluster[rows.pointwise]
    rest = np.exp(np.minimum(linear[rows.summed], 700.0))
    first_order = rows.rest_sums @ (rows.rest_x * rest[:, None])
    second_order = _square(rows.rest_sums @ (rows.rest_products * rest[:, None]), 1 + width)
    hazards = first_order[:, 0]
    sd = point.sd
    if sd > 0:
        modes, curvature = _modes(rows, at, y, code, hazards, sd, np.zeros(count) if modes is None else modes)
        u = modes + rows.nodes[:, None] / np.sqrt(curvature)
    else:
        modes, curvature = np.zeros(count), np.ones(count)
        u = np.zeros((1, count))
    terms = _row_terms(y, at + sd * u[:, code], rows.link)
    grown = np.exp(np.minimum(sd * u, 700.0))
    of_cluster = (rows.point_sums @ terms[0].T).T - hazards * grown
    if sd > 0:
        joint = of_cluster - u**2 / 2 + rows.log_weights[:, None]
        cluster_log = special.logsumexp(joint, axis=0)
        posterior = np.exp(joint - cluster_log)
        cluster_log = cluster_log - 0.5 * np.log(curvature)
    else:
        cluster_log, posterior = of_cluster[0], np.ones((1, count))
    # Scores of every cluster at every node: intercept and slopes, then the frailty's standard deviation.
    nodes, size = len(u), 1 + width + (sd > 0)
    score = np.empty((nodes, count, size))
    for column in range(1 + width):
        score[:, :, column] = (rows.point_sums @ (terms[1] * x[:, column]).T).T - first_order[:, column] * grown
    if sd > 0:
        score[:, :, -1] = u * score[:, :, 0]
    mean_score = np.einsum("kg,kgi->gi", posterior, score)
    away = score - mean_score
    information = -np.einsum("kg,kgi,kgj->gij", posterior, away, away)
    held = posterior * grown
    information[:, : 1 + width, : 1 + width] += held.sum(axis=0)[:, None, None] * second_order
    curved = (posterior[:, code] * terms[2]).sum(axis=0)
    information[:, : 1 + width, : 1 + width] -= _square(rows.point_sums @ (_products(x) * curved[:, None]), 1 + width)
    if sd > 0:
        once = ((posterior * u)[:, code] * terms[2]).sum(axis=0)
        twice = ((posterior * u**2)[:, code] * terms[2]).sum(axis=0)
        cross = (held * u).sum(axis=0)[:, None] * first_order - rows.point_sums @ (x * once[:, None])
        information[:, : 1 + width, -1] += cross
        information[:, -1, : 1 + width] += cross
        information[:, -1, -1] += (held * u**2).sum(axis=0) * hazards - rows.point_sums @ twice
    by_stratum = rows.stratum_sums
    return _Value(
        log_likelihood=float(cluster_log.sum()),
        gradient_strata=by_stratum @ mean_score[:, 0],
        gradient=mean_score[:, 1:].sum(axis=0),
        diagonal=by_stratum @ information[:, 0, 0],
        cross=by_stratum @ information[:, 0, 1:],
        block=information[:, 1:, 1:].sum(axis=0),
        modes=modes,
    )


def _modes(
    rows: _Rows, at: np.ndarray, y: np.ndarray, code: np.ndarray, hazards: np.ndarray, sd: float, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mode of every cluster's standard normal intercept given its rows, and minus the second derivative there."""
    # The first derivative falls all the way, so that every value of it tells on which side the mode lies.
    u, below, above = start.copy(), np.full(len(start), -np.inf), np.full(len(start), np.inf)
    for _ in range(100):
        _, first, second = _row_terms(y, at + sd * u[code], rows.link)
        grown = hazards * np.exp(np.minimum(sd * u, 700.0))
        slope = sd * (rows.point_sums @ first - grown) - u
        curvature = 1 - sd**2 * (rows.point_sums @ second - grown)
        below, above = np.where(slope > 0, u, below), np.where(slope < 0, u, above)
        moved = u + np.clip(slope / curvature, -2.0, 2.0)
        outside = (moved < below) | (moved > above)
        moved = np.where(outside, (below + above) / 2, moved)
        far = np.abs(moved - u).max(initial=0.0)
        u = moved
        if far < 1e-7:
            break
    return u, curvature


def _direction(value: _Value, floor: float = 1e-10) -> tuple[np.ndarray, np.ndarray, float]:
    """Return Newton's step for the strata's intercepts and the rest, and the gain it promises (twice)."""
    diagonal = np.where(value.diagonal > 0, value.diagonal, 1.0)
    share = value.cross / diagonal[:, None]
    schur = value.block - value.cross.T @ share
    pull = value.gradient - share.T @ value.gradient_strata
    if len(pull):
        scale = np.sqrt(np.maximum(np.abs(np.diagonal(schur)), 1e-300))
        roots, vectors = np.linalg.eigh(schur / np.outer(scale, scale))
        roots = np.maximum(np.abs(roots), floor)
        rest = vectors @ ((vectors.T @ (pull / scale)) / roots) / scale
    else:
        rest = pull
    own = value.gradient_strata / diagonal - share @ rest
    return own, rest, float(value.gradient_strata @ own + value.gradient @ rest)


def _maximise(rows: _Rows, start: _Point, *, frailty: bool, fixed: bool = False) -> tuple[_Point, int]:
    """Return the maximum from a start and the number of steps, ``_STEPS`` where it was not reached.

    ``frailty``: the standard deviation moves too. ``fixed``: it stays where it starts.
    """
    point = start
    value = _value(rows, point, None)
    last_gain = np.inf
    for step in range(_STEPS):
        moving = _without_sd(value) if fixed and point.sd > 0 else value
        own, rest, gain = _direction(moving)
        if gain < _SMALL:
            # The last step costs nothing, and squares what is left of the error.
            sd = abs(point.sd + rest[-1]) if frailty else point.sd
            return _Point(point.intercepts + own, point.slopes + rest[: rows.width], sd), step
        if gain < _NEAR and gain > last_gain / 4:
            # Steps no longer shrink: the quadrature tells no more (very large frailty).
            return point, step
        last_gain = gain
        share = 1.0
        if frailty and abs(rest[-1]) > 1:
            share = 1 / abs(rest[-1])
        for _ in range(_HALVINGS):
            sd = point.sd + share * rest[-1] if frailty else point.sd
            # The likelihood is the same at sd and -sd.
            trial = _Point(
                point.intercepts + share * own,
                point.slopes + share * rest[: rows.width],
                float(np.clip(abs(sd), _NO_FRAILTY / 10, _LARGEST_FRAILTY)) if frailty else sd,
            )
            next_value = _value(rows, trial, value.modes)
            # Near the maximum the derivatives, which are those of the exact integral, decide: the quadrature's own maximum lies beside.
            if gain < _NEAR or next_value.log_likelihood >= value.log_likelihood:
                break
            share /= 2
        else:
            return point, _STEPS
        point, value = trial, next_value
        if frailty and point.sd < _NO_FRAILTY:
            return point, step
    return point, _STEPS


def _without_sd(value: _Value) -> _Value:
    return replace(value, gradient=value.gradient[:-1], cross=value.cross[:, :-1], block=value.block[:-1, :-1])


def _with_frailty(rows: _Rows, plain: _Point, independent: _Value) -> tuple[_Point, _Value]:
    """Return the maximum with frailty; that without it where no frailty makes the likelihood larger."""
    best, value = plain, independent
    for start in (0.4, 1.2):
        point, _ = _maximise(rows, replace(plain, sd=start), frailty=True)
        if point.sd < _NO_FRAILTY:
            continue
        found = _value(rows, point, None)
        if found.log_likelihood > value.log_likelihood + 1e-9:
            best, value = point, found
            break
    return best, value


def _profile(rows: _Rows, best: _Point, largest: float, independent: float, level: float) -> tuple[float, float | None]:
    """Return the profile-likelihood limits of the frailty's standard deviation; None where there is no upper one."""
    allowed = float(chi_squared_quantile(level, 1))
    last = best

    def excess(sd: float) -> float:
        nonlocal last
        if sd == best.sd:
            return -allowed
        if sd <= 0:
            return 2 * (largest - independent) - allowed
        last, _ = _maximise(rows, replace(last, sd=sd), frailty=False, fixed=True)
        return 2 * (largest - _value(rows, last, None).log_likelihood) - allowed

    low = 0.0
    if excess(0.0) > 0:
        low = float(optimize.brentq(excess, best.sd / 20 if excess(best.sd / 20) > 0 else 1e-6, best.sd, xtol=1e-6, rtol=1e-6))
    last = best
    upper = max(2 * best.sd, 0.5)
    while excess(upper) < 0:
        upper *= 2
        if upper > _LARGEST_FRAILTY:
            return low, None
    last = best
    return low, float(optimize.brentq(excess, best.sd, upper, xtol=1e-6, rtol=1e-6))


def _separating(rows: _Rows) -> str:
    """Return the predictor by which a line tells rows with the event from those without; empty where there is none.

    Linear programming (Konis, 2007): a direction along which no row becomes less likely and some become more likely.
    """
    sign = np.where(rows.y > 0, 1.0, -1.0)
    scale = np.where(rows.spread > 0, rows.spread, 1.0)
    strata = sparse.csr_matrix((sign, (np.arange(len(sign)), rows.stratum_of[rows.cluster])), shape=(len(sign), len(rows.strata)))
    moved = sparse.hstack([strata, sparse.csr_matrix(sign[:, None] * rows.x / scale)]).tocsr()
    found = optimize.linprog(-np.asarray(moved.sum(axis=0)).ravel(), A_ub=-moved, b_ub=np.zeros(len(sign)), bounds=(-1, 1))
    if found.status != 0 or -found.fun < 1e-6:
        return ""
    slopes = np.abs(found.x[len(rows.strata) :])
    return rows.names[int(np.argmax(slopes))] if len(slopes) else ""


def _model(rows: _Rows, point: _Point, value: _Value, independent: _Value, level: float, frailty: bool) -> HazardModel:
    import pandas as pd

    diagonal = np.where(value.diagonal > 0, value.diagonal, 1.0)
    schur = value.block - value.cross.T @ (value.cross / diagonal[:, None])
    vcov = np.linalg.inv(schur)[: rows.width, : rows.width] if len(schur) else np.zeros((0, 0))
    error = np.sqrt(np.diagonal(vcov))
    margin = critical_value(level) * error
    statistic = point.slopes / error
    difference = max(2 * (value.log_likelihood - independent.log_likelihood), 0.0)
    return HazardModel(
        status="estimated",
        reason="",
        link=rows.link,
        coefficients=pd.DataFrame(
            {
                "estimate": point.slopes,
                "std_error": error,
                "statistic": statistic,
                "p_value": two_sided_p(statistic),
                "ci_low": point.slopes - margin,
                "ci_high": point.slopes + margin,
            },
            index=list(rows.names),
        ),
        vcov=vcov,
        intercepts=point.intercepts,
        frailty_sd=point.sd if frailty else None,
        frailty_low=None,
        frailty_high=None,
        frailty_p=(0.5 * float(chi_squared_p(difference, 1)) if difference > 0 else 1.0) if frailty else None,
        log_likelihood=value.log_likelihood,
        log_likelihood_independent=independent.log_likelihood,
        n_rows=rows.n_rows,
        n_events=round(float((rows.w * rows.y).sum())),
        n_clusters=rows.n_clusters,
        strata_left_out=rows.strata_left_out,
        level=level,
    )


def _absent(rows: _Rows, reason: str, level: float) -> HazardModel:
    import pandas as pd

    columns = ("estimate", "std_error", "statistic", "p_value", "ci_low", "ci_high")
    nothing = pd.DataFrame(np.nan, index=list(rows.names), columns=list(columns))
    size = (rows.width, rows.width)
    events = round(float((rows.w * rows.y).sum()))
    counts = (rows.n_rows, events, rows.n_clusters, rows.strata_left_out, level)
    return HazardModel(
        "not_estimable", reason, rows.link, nothing, np.full(size, np.nan), np.array([]), None, None, None, None, None, None, *counts
    )
