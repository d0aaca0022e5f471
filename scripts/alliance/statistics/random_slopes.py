"""Mediation within clients whose slopes differ from client to client (1-1-1 with random slopes).

Both equations of a chain are one model (Bauer, Preacher & Gil, 2006): m on x, and y on m and x, with residual variances of their own and
slopes that vary and covary over clients. Then the mean over clients of what goes through the mediator is ``a b + cov(a_j, b_j)`` (Kenny,
Korchmaros & Bolger, 2003). Every client has intercepts of its own, which are eliminated: all variables are deviations from a client's
mean, so that nothing between clients, and no covariance of intercepts and slopes, enters. The restricted likelihood needs rows only once,
as cross-products of deviations; one evaluation costs the number of clients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.distributions import critical_value
from alliance.statistics.reliability_interval import leave_out
from alliance.statistics.two_level import of_clients, sorted_codes

# The slopes of y on m and x, and one session more to tell error.
SESSIONS = 4
MIN_CLIENTS = 20
DELTA, MONTE_CARLO = "delta", "monte_carlo"
AT_BOUNDARY = (
    "the covariance matrix of slopes is at its boundary: one of them hardly differs between clients, or the others as good as determine it"
)
MEANS = ("a", "b", "direct", "indirect", "total")
EFFECTS = (*MEANS, "ab_covariance", "a_sd", "b_sd")
_SLOPES = 3
_ROWS, _COLUMNS = np.triu_indices(_SLOPES)
_LOWER = np.tril_indices(_SLOPES)
_PATTERNS = np.zeros((len(_ROWS), _SLOPES, _SLOPES))
_PATTERNS[np.arange(len(_ROWS)), _ROWS, _COLUMNS] = _PATTERNS[np.arange(len(_ROWS)), _COLUMNS, _ROWS] = 1.0
_START = np.concatenate([np.zeros(2), (0.3 * np.eye(_SLOPES))[_LOWER]])
_TOLERANCE, _LEFT_OUT_TOLERANCE = 1e-8, 1e-3
_MAX_STEPS, _HALVINGS = 200, 25
_STEP, _DAMPING, _GAIN = 1e-3, 0.7, 1e-8
# Longest step of a logarithm of a variance, or a standard deviation of a standardised slope.
_LONGEST = 1.0
_DETERMINED = 1e-8
# At a standard deviation of exactly zero no slope of the likelihood leads away from it.
_OFF_ZERO = 0.03
# An eigenvalue of the covariances of standardised slopes below this is zero.
_BOUNDARY = 1e-6


@dataclass(frozen=True)
class SlopeEffect:
    """One number of the model. Where there is none, ``reason`` says why, else what to keep in mind.

    Attributes
    ----------
    effect : str
        Means over clients: ``a`` (first variable to mediator), ``b`` (mediator to outcome given the first), ``direct``, ``indirect``
        (a b and the covariance of a and b), ``total``. Over clients: ``ab_covariance``, and standard deviations ``a_sd``, ``b_sd``.
    standardised : bool
        In standard deviations within clients.
    interval : str
        ``delta``, or ``monte_carlo`` (indirect effect only).
    estimate, std_error, ci_low, ci_high : float
    status, reason : str
        ``estimated``, ``flagged`` or ``not_estimable``, and why.
    """

    effect: str
    standardised: bool
    interval: str
    estimate: float
    std_error: float
    ci_low: float
    ci_high: float
    status: str
    reason: str


@dataclass(frozen=True)
class RandomSlopes:
    """Model of a chain with slopes that vary over clients. Where ``status`` is ``not_estimable`` there are no numbers.

    Attributes
    ----------
    status, reason : str
        ``estimated``, ``flagged`` or ``not_estimable``, and why.
    effects : tuple of SlopeEffect
        Empty where not estimable.
    slopes : ndarray, shape (3,)
        Mean a, b and direct slope.
    slopes_vcov : ndarray, shape (3, 3)
        Their covariance by the model, clients taken as independent and normal.
    covariance : ndarray, shape (3, 3)
        T, of the slopes a_j, b_j and the direct one, over clients.
    residual_variances : ndarray, shape (2,)
        Of sessions: mediator, outcome.
    log_likelihood : float
        Restricted, of the deviations within clients.
    n_sessions, n_clients, n_clusters : int
        Sessions of clients with at least two, these clients, and their therapists (0 where not known).
    method : str
        Of the errors: ``cluster_jackknife``, ``client_jackknife`` or ``none``.
    df : float
        Of the intervals.
    """

    status: str
    reason: str
    effects: tuple[SlopeEffect, ...] = ()
    slopes: np.ndarray | None = None
    slopes_vcov: np.ndarray | None = None
    covariance: np.ndarray | None = None
    residual_variances: np.ndarray | None = None
    log_likelihood: float = np.nan
    n_sessions: int = 0
    n_clients: int = 0
    n_clusters: int = 0
    method: str = "none"
    df: float = np.inf

    def of(self, effect: str, standardised: bool = False, interval: str = DELTA) -> SlopeEffect:
        """Return one number; ``KeyError`` where there is none."""
        for one in self.effects:
            if (one.effect, one.standardised, one.interval) == (effect, standardised, interval):
                return one
        raise KeyError((effect, standardised, interval))


def random_slopes(
    chain: ArrayLike,
    clients: ArrayLike,
    therapists: ArrayLike | None = None,
    *,
    held: ArrayLike | None = None,
    random: np.random.Generator,
    draws: int = 2000,
    level: float = 0.95,
    min_clients: int = MIN_CLIENTS,
    min_clusters: int = MIN_CLUSTERS,
) -> RandomSlopes:
    """Return the mean paths of a chain within clients, how its slopes vary over them, and the indirect effect that this makes.

    For session i of client j, as deviations from the client's means of what variables held constant leave (in all clients alike),

        m_ij = a_j x_ij + e_ij,    y_ij = b_j m_ij + c_j x_ij + f_ij,

    with normal slopes (a_j, b_j, c_j) of any covariance matrix T and independent errors of two variances, by restricted maximum likelihood.
    The indirect effect is ``a b + T_ab``, the total one ``c + a b + T_ab``. Direct slopes vary too: where they do, and go along with a_j or
    b_j, b and the indirect effect would be wrong without.

    Errors come from leaving out each therapist in turn (fewer than ``min_clusters``: clients, see
    :func:`alliance.statistics.reliability_interval.leave_out`), each time with a maximum of its own. Intervals of ``delta`` are those of t
    with units - 1 degrees of freedom (standard deviations: not below zero); ``monte_carlo`` are percentiles of the effect at ``draws``
    values of (a, b, T_ab) from a t distribution with the same degrees of freedom.

    Parameters
    ----------
    chain : array_like, shape (n, 3)
        First variable, mediator and outcome, one row a session of a client; NaN where missing.
    clients, therapists : array_like, shape (n,)
        Client and therapist of each row.
    held : array_like, shape (n, r), optional
        Variables of sessions held constant, with the same effect in all clients.
    random : numpy.random.Generator
        Of the Monte Carlo draws.
    draws, level, min_clusters
        Number of draws, confidence level, and fewest therapists.
    min_clients : int
        Fewest clients with at least four whole sessions.

    Raises
    ------
    ValueError
        Data that do not fit.
    """
    values = np.asarray(chain, dtype=float)
    if values.ndim != 2 or values.shape[1] != 3:
        raise ValueError("a chain has three variables")
    constant = np.empty((len(values), 0)) if held is None else np.asarray(held, dtype=float)
    if constant.ndim != 2 or not len(values) == len(constant) == len(np.asarray(clients)):
        raise ValueError("every session needs a client and all variables held constant")
    every = np.column_stack([values, constant])
    complete = np.isfinite(every).all(axis=1)
    client, count = sorted_codes(np.asarray(clients)[complete])
    size = np.bincount(client, minlength=count)
    enough = int((size >= SESSIONS).sum())
    several = size[client] > 1
    if enough < min_clients:
        return RandomSlopes(
            "not_estimable",
            f"slopes that vary over clients need at least {min_clients} clients with {SESSIONS} such sessions; has {enough}",
        )
    rows = every[complete][several]
    client, count = sorted_codes(np.asarray(clients)[complete][several])
    therapist = None if therapists is None else of_clients(np.asarray(therapists)[complete][several], client, count)
    counts = {"n_sessions": len(rows), "n_clients": count, "n_clusters": 0 if therapist is None else int(therapist.max()) + 1}
    products, freedom = _products(rows, client, count)
    spread = _spread(products.sum(axis=0)[None], freedom.sum())[0]
    if not (spread > 0).all():
        return RandomSlopes("not_estimable", "needs variables that differ between sessions of a client, and not by one another", **counts)
    scale = np.sqrt(np.r_[spread, np.diagonal(products.sum(axis=0))[3:] / freedom.sum()])
    model = _Model(products / np.outer(scale, scale), freedom)
    at, total, found = model.maximum(_START)
    if not found:
        return RandomSlopes("not_estimable", "the likelihood of slopes that vary over clients has no maximum: too few sessions", **counts)
    return _result(model, at, total, scale, therapist, counts, random, draws, level, min_clusters)


def _products(rows: np.ndarray, client: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return cross-products of deviations from the client's means, shape (clients, k, k), and their degrees of freedom."""
    size = np.bincount(client, minlength=count)
    mean = np.column_stack([np.bincount(client, column, minlength=count) for column in rows.T]) / size[:, None]
    around = rows - mean[client]
    order = np.argsort(client, kind="stable")
    starts = np.r_[0, np.cumsum(size)[:-1]]
    return np.add.reduceat(around[order, :, None] * around[order, None, :], starts, axis=0), size - 1.0


def _spread(products: np.ndarray, freedom: ArrayLike) -> np.ndarray:
    """Return the variances of x, m and y within clients that held variables leave, shape (b, 3); 0 where one is determined."""
    inside, r = products[:, :3, :3], products.shape[1] - 3
    left = inside - products[:, :3, 3:] @ _on_held(products)
    variance = np.diagonal(left, axis1=1, axis2=2)
    total = np.diagonal(inside, axis1=1, axis2=2)
    spread = np.where(variance > _DETERMINED * np.maximum(total, 1e-300), variance, 0.0)
    size = np.sqrt(np.where(spread > 0, spread, 1.0))
    whole = np.linalg.eigvalsh(left / (size[:, :, None] * size[:, None, :]))[:, 0] > _DETERMINED
    return np.where(whole[:, None], spread, 0.0) / np.reshape(np.asarray(freedom, dtype=float) - r, (-1, 1))


def _on_held(products: np.ndarray) -> np.ndarray:
    """Return the slopes of x, m and y on held variables within clients, shape (..., r, 3)."""
    return np.linalg.pinv(products[..., 3:, 3:], hermitian=True) @ products[..., 3:, :3]


@dataclass(frozen=True)
class _Parts:
    """What every client adds to the likelihood at some parameters, or sums of it over clients.

    ``log_det`` (b,), cross-products of fixed effects and outcome weighted by the inverse covariance ``weighted`` (b, p + 1, p + 1), and the
    derivatives of both by the parameters, shapes (b, k) and (b, k, p + 1, p + 1).
    """

    log_det: np.ndarray
    weighted: np.ndarray
    log_det_slopes: np.ndarray
    weighted_slopes: np.ndarray

    def sum(self) -> _Parts:
        """Return the sums over clients, a stack of one."""
        return _Parts(*(getattr(self, name).sum(axis=0)[None] for name in _PARTS))

    def without(self, units: np.ndarray, groups: int) -> _Parts:
        """Return the sums without each unit of clients in turn."""
        found = []
        for name in _PARTS:
            values = getattr(self, name)
            sums = np.zeros((groups, *values.shape[1:]))
            np.add.at(sums, units, values)
            found.append(values.sum(axis=0) - sums)
        return _Parts(*found)

    def coefficients(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the fixed effects (b, p) and the inverse of their information (b, p, p)."""
        inverse = np.linalg.inv(self.weighted[:, :-1, :-1])
        return np.einsum("bij,bj->bi", inverse, self.weighted[:, :-1, -1]), inverse

    def deviance(self) -> np.ndarray:
        """Return minus twice the restricted log-likelihood without its constants, shape (b,)."""
        coefficients, _ = self.coefficients()
        rest = self.weighted[:, -1, -1] - (self.weighted[:, :-1, -1] * coefficients).sum(axis=1)
        return self.log_det + np.linalg.slogdet(self.weighted[:, :-1, :-1])[1] + rest

    def gradient(self) -> np.ndarray:
        """Return the derivatives of the deviance by the parameters, shape (b, k)."""
        coefficients, inverse = self.coefficients()
        turned = np.column_stack([-coefficients, np.ones(len(coefficients))])
        rest = np.einsum("bi,bkij,bj->bk", turned, self.weighted_slopes, turned)
        return self.log_det_slopes + np.einsum("bij,bkij->bk", inverse, self.weighted_slopes[:, :, :-1, :-1]) + rest


_PARTS = ("log_det", "weighted", "log_det_slopes", "weighted_slopes")


class _Model:
    """Two equations on variables x, m, y and held ones with a standard deviation near 1 within clients.

    Parameters are the logarithms of both residual variances, and the elements of L, lower triangular: T = L L' is a covariance matrix
    at all of them. Fixed effects are a, b, c, then those of held variables on m, and on y.

    Parameters
    ----------
    products : ndarray, shape (clients, k, k)
        Cross-products of deviations from clients' means.
    freedom : ndarray, shape (clients,)
        Sessions - 1.
    """

    def __init__(self, products: np.ndarray, freedom: np.ndarray) -> None:
        self.products, self.freedom = products, freedom
        n, k = len(products), products.shape[1]
        r = k - 3
        p = _SLOPES + 2 * r
        # Slopes are those of what held variables leave, or a trend that x and y share would be taken for slopes that vary.
        left = np.eye(k)
        left[:3, 3:] = -_on_held(products.sum(axis=0)).T
        products = left @ products @ left.T
        self.of_m, self.of_y = np.zeros((n, p + 1, p + 1)), np.zeros((n, p + 1, p + 1))
        # Which variable each fixed effect, and the outcome, is in each equation.
        in_m, in_y = [0, *range(3, k), 1], [1, 0, *range(3, k), 2]
        at_m, at_y = [0, *range(3, 3 + r), p], [1, 2, *range(3 + r, p), p]
        self.of_m[np.ix_(range(n), at_m, at_m)] = products[np.ix_(range(n), in_m, in_m)]
        self.of_y[np.ix_(range(n), at_y, at_y)] = products[np.ix_(range(n), in_y, in_y)]

    def parts(self, parameters: np.ndarray) -> tuple[_Parts, np.ndarray]:
        """Return what every client adds, and the expected information of the likelihood, both by the variances and the elements of T."""
        q, t = _SLOPES, _covariance(parameters)
        of_m, of_y = self.of_m * np.exp(-parameters[0]), self.of_y * np.exp(-parameters[1])
        both = of_m + of_y
        first = both[:, :q]
        turned = np.swapaxes(first, 1, 2)
        # With residuals R, slopes' columns Z and A = Z' R^-1 Z: (1 + A T)^-1, H = T (1 + A T)^-1, W = Z' V^-1 Z, B = Z' V^-1 (F, outcome).
        keep = np.linalg.inv(np.eye(q) + first[:, :, :q] @ t)
        h, w, b = t @ keep, keep @ first[:, :, :q], keep @ first
        through = h @ first
        by_equation, own, inside = [], [], []
        for part in (of_m, of_y):
            cross = np.swapaxes(part[:, :q], 1, 2) @ through
            around = h @ part[:, :q, :q]
            by_equation.append(cross + np.swapaxes(cross, 1, 2) - part - turned @ (around @ through))
            own.append(around)
            inside.append(keep @ part[:, :q, :q] @ np.swapaxes(keep, 1, 2))
        of_equations = [self.freedom - np.trace(one, axis1=1, axis2=2) for one in own]
        by_t = np.swapaxes(b, 1, 2)[:, None] @ _PATTERNS @ b[:, None]
        parts = _Parts(
            self.freedom * parameters[:2].sum() - np.linalg.slogdet(keep)[1],
            both - turned @ through,
            np.column_stack([*of_equations, w.reshape(len(w), -1) @ _PATTERNS.reshape(len(_PATTERNS), -1).T]),
            np.concatenate([np.stack(by_equation, axis=1), -by_t], axis=1),
        )
        return parts, self._information(w, own, inside)

    def _information(self, w: np.ndarray, own: Sequence[np.ndarray], inside: Sequence[np.ndarray]) -> np.ndarray:
        """Return twice the expected information: traces of V^-1 times derivatives of V, in pairs."""
        flat = _PATTERNS.reshape(len(_PATTERNS), -1)
        k = 2 + len(flat)
        information = np.empty((k, k))
        pairs = np.einsum("nuv,nwz->uzvw", w, w).reshape(_SLOPES**2, _SLOPES**2)
        information[2:, 2:] = flat @ pairs @ flat.T
        for i in range(2):
            information[i, 2:] = information[2:, i] = flat @ inside[i].sum(axis=0).ravel()
            for j in range(2):
                pair = np.einsum("nuv,nvu->", own[i], own[j])
                information[i, j] = pair + (i == j) * (self.freedom.sum() - 2 * np.trace(own[i], axis1=1, axis2=2).sum())
        return information

    def maximum(self, start: np.ndarray, tolerance: float = _TOLERANCE) -> tuple[np.ndarray, _Parts, bool]:
        """Return the logarithms of both variances and the elements of L where the likelihood is largest, the sums there, and whether it is.

        Fisher scoring by the elements of L, to whose information the curvature of T = L L' is added: without it steps towards
        a singular T would never end.
        """
        at, damping, last = start, 1.0, np.zeros(len(start))
        parts, information = self.parts(at)
        total = parts.sum()
        for _ in range(_MAX_STEPS):
            factor = _factor(at)
            (gradient,), (by_t,) = _chained(total.gradient(), factor)
            jacobian = _jacobian(factor)
            curvature = jacobian.T @ information @ jacobian
            curvature[2:, 2:] += 2 * by_t[np.ix_(_LOWER[0], _LOWER[0])] * (_LOWER[1][:, None] == _LOWER[1])
            values, vectors = np.linalg.eigh(curvature)
            values = np.maximum(np.abs(values), 1e-6 * values[-1])
            step = np.clip(-(vectors / values) @ (vectors.T @ gradient), -_LONGEST, _LONGEST)
            # Expected information that is too small makes steps go to and fro around the maximum.
            damping *= _DAMPING if step @ last < -0.5 * (last @ last) else 1.0
            last, step = step, damping * step
            # What a step can still gain, should rounding errors end the search: a ten thousandth of a standard error.
            near = -float(gradient @ step) < _GAIN
            if np.abs(step).max() < tolerance:
                return at, total, True
            before = total.deviance()[0]
            for _ in range(_HALVINGS):
                tried = at + step
                parts, information = self.parts(tried)
                total = parts.sum()
                if total.deviance()[0] <= before + 1e-11 * (1 + abs(before)):
                    break
                step = step / 2
            else:
                return at, total, near
            at = tried
        return at, total, near

    def near(self, at: np.ndarray, units: np.ndarray, groups: int) -> np.ndarray:
        """Return one Newton step from the maximum to that without each unit of clients, shape (groups, k)."""

        def gradient(point: np.ndarray) -> np.ndarray:
            return _chained(self.parts(point)[0].without(units, groups).gradient(), _factor(point))[0]

        columns = [(gradient(at + step) - gradient(at - step)) / (2 * _STEP) for step in _STEP * np.eye(len(at))]
        hessian = np.stack(columns, axis=1)
        values, vectors = np.linalg.eigh((hessian + np.swapaxes(hessian, 1, 2)) / 2)
        known = values > 1e-4 * values[:, -1:]
        turned = np.einsum("gij,gi->gj", vectors, gradient(at)) * np.where(known, 1 / np.where(known, values, 1.0), 0.0)
        return at - np.clip(np.einsum("gij,gj->gi", vectors, turned), -_LONGEST, _LONGEST)

    def left_out(self, at: np.ndarray, units: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
        """Return T (groups, 3, 3) and fixed effects (groups, p) without each unit of clients; NaN where there is no maximum."""
        before = self.parts(at)[0].without(units, groups).deviance()
        diagonal = 2 + np.flatnonzero(_LOWER[0] == _LOWER[1])
        covariances, coefficients = [], []
        for unit, start in enumerate(self.near(at, units, groups)):
            kept = units != unit
            start[diagonal] = np.where(np.abs(start[diagonal]) < _OFF_ZERO, _OFF_ZERO, start[diagonal])
            model = _Model(self.products[kept], self.freedom[kept])
            point, total, found = model.maximum(start, _LEFT_OUT_TOLERANCE)
            if not found or total.deviance()[0] > before[unit]:
                point, total, found = model.maximum(at, _LEFT_OUT_TOLERANCE)
            covariances.append(_covariance(point) if found else np.full((_SLOPES, _SLOPES), np.nan))
            coefficients.append(total.coefficients()[0][0])
        return np.array(covariances), np.array(coefficients)


def _factor(parameters: np.ndarray) -> np.ndarray:
    """Return L, shape (3, 3)."""
    factor = np.zeros((_SLOPES, _SLOPES))
    factor[_LOWER] = parameters[2:]
    return factor


def _covariance(parameters: np.ndarray) -> np.ndarray:
    """Return T = L L'."""
    factor = _factor(parameters)
    return factor @ factor.T


def _chained(gradient: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return derivatives by the variances and the elements of L, shape (b, k), and those by T as symmetric matrices."""
    by_t = 0.5 * np.tensordot(gradient[:, 2:], _PATTERNS, axes=1) * (1 + np.eye(_SLOPES))
    return np.concatenate([gradient[:, :2], 2 * (by_t @ factor)[:, _LOWER[0], _LOWER[1]]], axis=1), by_t


def _jacobian(factor: np.ndarray) -> np.ndarray:
    """Return how the variances and the elements of T change with the variances and the elements of L."""
    change = np.eye(_SLOPES)[_LOWER[0]][:, :, None] * factor.T[_LOWER[1]][:, None, :]
    change = change + np.swapaxes(change, 1, 2)
    jacobian = np.eye(2 + len(_ROWS))
    jacobian[2:, 2:] = change[:, _ROWS, _COLUMNS].T
    return jacobian


def _functions(slopes: np.ndarray, t: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return all effects, unstandardised, then standardised, shape (b, 2 * effects); ``scale`` (b, 3) is that of x, m and y."""
    a, b, c = slopes[:, 0], slopes[:, 1], slopes[:, 2]
    covariance = t[:, 0, 1]
    indirect = a * b + covariance
    of_a, of_b, of_c = (scale[:, i] / scale[:, j] for i, j in ((0, 1), (1, 2), (0, 2)))
    plain = (a, b, c, indirect, c + indirect, covariance, np.sqrt(t[:, 0, 0]), np.sqrt(t[:, 1, 1]))
    factors = (of_a, of_b, of_c, of_c, of_c, of_c, of_a, of_b)
    return np.column_stack([*plain, *(one * factor for one, factor in zip(plain, factors, strict=True))])


def _result(
    model: _Model,
    at: np.ndarray,
    total: _Parts,
    scale: np.ndarray,
    therapist: np.ndarray | None,
    counts: dict[str, int],
    random: np.random.Generator,
    draws: int,
    level: float,
    min_clusters: int,
) -> RandomSlopes:
    freedom = model.freedom
    # What a slope on standardised variables is in the units of the data.
    unit = np.array([scale[1] / scale[0], scale[2] / scale[1], scale[2] / scale[0]])
    (coefficients,), (inverse,) = total.coefficients()
    t = _covariance(at)

    def values(t: np.ndarray, fixed: np.ndarray, products: np.ndarray, df: np.ndarray) -> np.ndarray:
        spread = _spread(products, df)
        deviation = np.sqrt(np.where(spread > 0, spread, np.nan)) * scale[:3]
        return _functions(fixed[:, :3] * unit, t * np.outer(unit, unit), deviation)

    every = model.products.sum(axis=0)
    estimates = values(t[None], coefficients[None], every[None], np.array([freedom.sum()]))[0]
    without = np.empty((0, len(estimates)))

    def left_out(units: np.ndarray, groups: int) -> np.ndarray:
        nonlocal without
        products, df = np.zeros((groups, *every.shape)), np.bincount(units, freedom, minlength=groups)
        np.add.at(products, units, model.products)
        without = values(*model.left_out(at, units, groups), every - products, freedom.sum() - df)
        return np.zeros((groups, 1))

    # Only the units are taken from it: errors of reliabilities are those of another scale, and have no covariances.
    errors = leave_out(left_out, therapist, len(freedom), min_clusters)
    around = without - without.mean(axis=0)
    vcov = (len(without) - 1) / len(without) * around.T @ around
    caution = "; ".join(part for part in (AT_BOUNDARY if np.linalg.eigvalsh(t)[0] <= _BOUNDARY else "", errors.caution) if part)
    effects = []
    for standardised in (False, True):
        offset = len(EFFECTS) if standardised else 0
        for where, name in enumerate(EFFECTS, start=offset):
            estimate, error = float(estimates[where]), float(np.sqrt(vcov[where, where]))
            margin = float(critical_value(level, errors.df)) * error
            low = max(0.0, estimate - margin) if name.endswith("_sd") else estimate - margin
            effects.append(_effect((name, standardised, DELTA), (estimate, error, low, estimate + margin), caution))
            if name == "indirect":
                pick = [offset + EFFECTS.index(part) for part in ("a", "b", "ab_covariance")]
                limits = _drawn(estimates[pick], vcov[np.ix_(pick, pick)], errors.df, random, draws, level)
                effects.append(_effect((name, standardised, MONTE_CARLO), (estimate, error, *limits), caution))
    return RandomSlopes(
        "flagged" if caution else "estimated",
        caution,
        tuple(effects),
        coefficients[:3] * unit,
        inverse[:3, :3] * np.outer(unit, unit),
        t * np.outer(unit, unit),
        np.exp(at[:2]) * scale[1:3] ** 2,
        float(-(total.deviance()[0] + _constants(model, scale)) / 2),
        **counts,
        method=errors.method,
        df=errors.df,
    )


def _constants(model: _Model, scale: np.ndarray) -> float:
    """Return what the deviance lacks, so that it is that of the data's deviations, whose fixed effects have orthonormal columns."""
    p = model.of_m.shape[1] - 1
    df = 2 * model.freedom.sum() - p
    columns = (model.of_m + model.of_y)[:, :-1, :-1].sum(axis=0)
    outcomes = np.log(scale[1:3]) * (model.freedom.sum() - p / 2 + np.array([0.5, -0.5]))
    return float(df * np.log(2 * np.pi) - np.linalg.slogdet(columns)[1] + 2 * outcomes.sum())


def _effect(key: tuple[str, bool, str], numbers: tuple[float, float, float, float], caution: str) -> SlopeEffect:
    if not np.isfinite(numbers[0]):
        return SlopeEffect(*key, *[np.nan] * 4, "not_estimable", "no finite value")
    if not np.isfinite(numbers[1]):
        caution = "; ".join(part for part in (caution, "no interval: without one of the units there is no estimate") if part)
    return SlopeEffect(*key, *numbers, "flagged" if caution else "estimated", caution)


def _drawn(
    estimates: np.ndarray, vcov: np.ndarray, df: float, random: np.random.Generator, draws: int, level: float
) -> tuple[float, float]:
    """Return the limits of a b + cov(a, b) over draws of the three."""
    normal = random.standard_normal((draws, 3))
    spread = random.chisquare(df, draws) / df if np.isfinite(df) else np.ones(draws)
    if not np.isfinite(vcov).all():
        return np.nan, np.nan
    values, vectors = np.linalg.eigh(vcov)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    drawn = estimates + normal @ root.T / np.sqrt(spread)[:, None]
    low, high = np.quantile(drawn[:, 0] * drawn[:, 1] + drawn[:, 2], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
