"""Polynomial regression of an outcome on two ratings of one scale, and its response surface (Edwards & Parry, 1993; Humberg et al., 2019).

``z = b0 + b1 x + b2 y + b3 x² + b4 x y + b5 y²`` with both ratings measured from one constant in one unit, so that ``x = y`` means that
they agree. A difference of ratings is never a predictor: it would force ``b1 = -b2`` and hide which rating matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.covariance import cluster_codes, cluster_sums
from alliance.statistics.distributions import critical_value, two_sided_p
from alliance.statistics.jackknife import Jackknifed, covariance_of_sums, cross_products, jackknife
from alliance.statistics.normal_equations import solved

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["congruence", "complementarity"]

COEFFICIENTS = ("b0", "b1", "b2", "b3", "b4", "b5")
LINES = ("a1", "a2", "a3", "a4", "a5")
AXES = ("x0", "y0", "p10", "p11", "p20", "p21")
CURVED = (3, 4, 5)
MODELS = ("null", "first only", "second only", "additive", "interaction", "squared difference", "rising ridge", "full")
"""Models of :func:`compare_models`. ``squared difference``: z depends on (x - y)² alone; ``rising ridge``: on x + y and (x - y)²; for
complementarity both with -y in place of y."""
CONDITIONS = {
    "congruence": ("p10 = 0", "p11 = 1", "a4 < 0", "a3 = 0"),
    "complementarity": ("p10 = 0", "p11 = -1", "a2 < 0", "a1 = 0"),
}
FEWEST_EVENTS = 2
COMFORTABLE_EVENTS = 10
MOST_REFITS = 150
_DEPENDENT = 1e-8
_STEPS = 50
_LARGEST_LOGIT = 15.0


def polynomial_terms(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Return ``x, y, x², x y, y²`` as columns, shape (n,) to (n, 5)."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    return np.column_stack([x, y, x * x, x * y, y * y])


def surface_parameters(b: ArrayLike) -> np.ndarray:
    """Return what describes the surface of polynomial coefficients, shape (..., 6) to (..., 11), named :data:`LINES` and :data:`AXES`.

    ``a1 = b1 + b2`` and ``a2 = b3 + b4 + b5`` are slope and curvature along ``y = x`` (agreement), ``a3 = b1 - b2`` and
    ``a4 = b3 - b4 + b5`` along ``y = -x``, ``a5 = b3 - b5``. ``(x0, y0)`` is the stationary point; ``y = p10 + p11 x`` is the first
    principal axis, along which the surface curves up most (the ridge of a surface that curves down), ``y = p20 + p21 x`` the second
    (Edwards & Parry, 1993). Axes are not finite where there is no curvature, or where ``b4`` is zero.
    """
    b = np.asarray(b, dtype=float)
    _, b1, b2, b3, b4, b5 = np.moveaxis(b, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = 4 * b3 * b5 - b4**2
        x0 = (b2 * b4 - 2 * b1 * b5) / determinant
        y0 = (b1 * b4 - 2 * b2 * b3) / determinant
        root = np.sqrt((b3 - b5) ** 2 + b4**2)
        p11, p21 = (b5 - b3 + root) / b4, (b5 - b3 - root) / b4
        axes = (x0, y0, y0 - p11 * x0, p11, y0 - p21 * x0, p21)
    return np.stack([b1 + b2, b3 + b4 + b5, b1 - b2, b3 - b4 + b5, b3 - b5, *axes], axis=-1)


def surface_slopes(b: ArrayLike) -> np.ndarray:
    """Return the derivatives of :func:`surface_parameters` by the six coefficients, shape (11, 6); not finite where a value is not."""
    _, b1, b2, b3, b4, b5 = np.asarray(b, dtype=float)
    values = surface_parameters(b)
    x0, y0, _, p11, _, p21 = values[5:]
    lines = np.array([[0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [0, 1, -1, 0, 0, 0], [0, 0, 0, 1, -1, 1], [0, 0, 0, 1, 0, -1]], dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = 4 * b3 * b5 - b4**2
        of_determinant = np.array([0, 0, 0, 4 * b5, -2 * b4, 4 * b3])
        of_x0 = (np.array([0, -2 * b5, b4, 0, b2, -2 * b1]) - x0 * of_determinant) / determinant
        of_y0 = (np.array([0, b4, -2 * b3, -2 * b2, b1, 0]) - y0 * of_determinant) / determinant
        root = np.sqrt((b3 - b5) ** 2 + b4**2)
        of_root = np.array([0, 0, 0, b3 - b5, b4, b5 - b3]) / root
        of_p11, of_p21 = ((np.array([0, 0, 0, -1, -slope, 1]) + sign * of_root) / b4 for sign, slope in ((1, p11), (-1, p21)))
        of_p10, of_p20 = (of_y0 - of_slope * x0 - slope * of_x0 for of_slope, slope in ((of_p11, p11), (of_p21, p21)))
    return np.vstack([lines, of_x0, of_y0, of_p10, of_p11, of_p20, of_p21])


def surface(b: ArrayLike, vcov: ArrayLike, df: float = np.inf, level: float = 0.95) -> pd.DataFrame:
    """Return the surface of polynomial coefficients with standard errors by the delta method.

    Parameters
    ----------
    b : array_like, shape (6,)
        ``b0`` to ``b5``.
    vcov : array_like, shape (6, 6)
        Their sampling covariance.
    df : float
        Degrees of freedom of t for the intervals.
    level : float
        Confidence level.

    Returns
    -------
    DataFrame
        ``name, estimate, std_error, ci_low, ci_high, p_value`` (of zero), one row for each of :data:`LINES` and :data:`AXES`; NaN where a
        value is not finite.
    """
    import pandas as pd

    b, vcov = np.asarray(b, dtype=float), np.asarray(vcov, dtype=float)
    values = surface_parameters(b)
    slopes = surface_slopes(b)
    with np.errstate(invalid="ignore"):
        error = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", slopes, vcov, slopes), 0.0))
    sound = np.isfinite(values) & np.isfinite(error)
    values, error = np.where(sound, values, np.nan), np.where(sound, error, np.nan)
    margin = float(critical_value(level, df)) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = two_sided_p(values / error, df)
    return pd.DataFrame(
        {
            "name": [*LINES, *AXES],
            "estimate": values,
            "std_error": error,
            "ci_low": values - margin,
            "ci_high": values + margin,
            "p_value": p_value,
        }
    )


@dataclass(frozen=True)
class Polynomial:
    """A polynomial regression.

    Attributes
    ----------
    b : ndarray, shape (6,)
        ``b0`` to ``b5``; NaN where ``reason`` is not empty. ``b0`` is NaN within clients, where each has a level of its own.
    vcov : ndarray, shape (6, 6)
        Sampling covariance by leaving out each therapist in turn (each client where therapists are few).
    correlation : ndarray, shape (6, 6)
        Sampling correlations from leaving out clients: a dozen therapists tell standard errors, not a matrix.
    df : float
        Degrees of freedom of t.
    curvature_p : float
        p of the hypothesis that ``b3``, ``b4`` and ``b5`` are zero (Hotelling's T² with the therapists' covariance; chi-squared where
        clients are taken as independent); NaN where therapists are too few for it.
    products : ndarray, shape (q, q), or None
        Cross-products, about the means, of the terms, what is held constant, and the outcome: what :func:`compare_models` reads. None for
        a logistic regression.
    n_rows, n_clients, n_clusters : int
        Sessions or clients, clients, and therapists (0 where not known).
    method : str
        ``cluster_jackknife``, ``client_jackknife``, ``cluster_robust`` or ``none``.
    reason, caution : str
        Why there are no estimates, and what must be known about them.
    """

    b: np.ndarray
    vcov: np.ndarray
    correlation: np.ndarray
    df: float
    curvature_p: float
    products: np.ndarray | None
    n_rows: int
    n_clients: int
    n_clusters: int
    method: str
    reason: str
    caution: str

    @property
    def vcov_to_pool(self) -> np.ndarray:
        """Standard errors of ``vcov`` with the correlations of ``correlation``."""
        error = np.sqrt(np.diagonal(self.vcov))
        return self.correlation * np.outer(error, error)


def polynomial(
    x: ArrayLike,
    y: ArrayLike,
    outcome: ArrayLike,
    controls: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    *,
    min_clusters: int = MIN_CLUSTERS,
) -> Polynomial:
    """Fit the polynomial regression over clients by least squares.

    Parameters
    ----------
    x, y, outcome : array_like, shape (n,)
        Complete; one row a client.
    controls : array_like, shape (n, q), optional
        What is held constant (the intake level).
    clusters : array_like, shape (n,), optional
        Therapist of each client.
    min_clusters : int
        Fewer therapists: clients are taken as independent.
    """
    data = _columns(x, y, outcome, controls)
    p = data.shape[1] - 1
    reason = _dependent(data[:, :p])
    if reason:
        return _absent(len(data), len(data), reason)

    def coefficients(sums: np.ndarray) -> np.ndarray:
        covariance = covariance_of_sums(sums)
        slopes = solved(covariance[..., :p, :p], covariance[..., :p, p])
        means = sums[..., 0, 1:] / sums[..., 0, :1]
        level = means[..., p] - (slopes * means[..., :p]).sum(axis=-1)
        return np.concatenate([level[..., None], slopes[..., :5]], axis=-1)

    rows = cross_products(data - _shift(data, p))
    found = jackknife(rows, coefficients, 6, clusters, min_clusters=min_clusters)
    alone = jackknife(rows, coefficients, 6)
    products = np.cov(data, rowvar=False) * (len(data) - 1)
    return _fitted(found, alone, products, len(data), _shift(data, p)[p])


def polynomial_within(
    x: ArrayLike,
    y: ArrayLike,
    outcome: ArrayLike,
    client: ArrayLike,
    controls: ArrayLike | None = None,
    therapist: ArrayLike | None = None,
    *,
    min_clusters: int = MIN_CLUSTERS,
) -> Polynomial:
    """Fit the polynomial regression over sessions, within clients.

    Both ratings are measured from the client's own means, and every client has a level of the outcome of his or her own, so that nothing
    that differs between clients enters (Nestler, Humberg & Schönbrodt, 2019, with fixed client effects).

    Parameters
    ----------
    x, y, outcome : array_like, shape (n,)
        Complete; one row a session. Clients with one session do not count.
    client : array_like, shape (n,)
    controls : array_like, shape (n, q), optional
        What is held constant (the number of the session).
    therapist : array_like, shape (n,), optional
        Therapist of each row's client.
    min_clusters : int
        Fewer therapists: clients are taken as independent.
    """
    codes, count = cluster_codes(client)
    size = np.bincount(codes, minlength=count)
    several = size[codes] > 1
    codes = np.unique(codes[several], return_inverse=True)[1] if several.any() else np.zeros(0, dtype=int)
    count = int(codes.max()) + 1 if len(codes) else 0
    x, y, outcome = (np.asarray(values, dtype=float)[several] for values in (x, y, outcome))
    held = None if controls is None else np.asarray(controls, dtype=float).reshape(len(several), -1)[several]
    centre = _deviations(np.column_stack([x, y]), codes, count)
    data = _deviations(_columns(centre[:, 0], centre[:, 1], outcome, held), codes, count)
    p = data.shape[1] - 1
    reason = _dependent(data[:, :p]) if count else "needs clients with two sessions or more"
    if reason:
        return _absent(len(data), count, reason)

    def coefficients(sums: np.ndarray) -> np.ndarray:
        return solved(sums[..., :p, :p], sums[..., :p, p])[..., :5]

    rows = cluster_sums(data[:, :, None] * data[:, None, :], codes, count)
    first = np.zeros(count, dtype=int)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    clusters = None if therapist is None else np.asarray(therapist)[several][first]
    found = jackknife(rows, coefficients, 5, clusters, min_clusters=min_clusters)
    alone = jackknife(rows, coefficients, 5)
    return _fitted(found, alone, rows.sum(axis=0), len(data), None)


def polynomial_over_sites(
    x: ArrayLike,
    y: ArrayLike,
    outcome: ArrayLike,
    site: ArrayLike,
    controls: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    *,
    min_clusters: int = MIN_CLUSTERS,
) -> Polynomial:
    """Fit the polynomial regression over the clients of several sites, each with an intercept of its own (``b0`` is NaN).

    Parameters
    ----------
    x, y, outcome, controls : array_like
        As in :func:`polynomial`.
    site : array_like, shape (n,)
    clusters : array_like, shape (n,), optional
        Therapist of each client, labels of two sites differing; a therapist is left out with the site's intercept estimated anew.
    min_clusters : int
        Fewer therapists: clients are taken as independent.
    """
    sites, n_sites = cluster_codes(site)
    columns = _columns(x, y, outcome, controls)
    p = columns.shape[1] - 1
    centred = _deviations(columns, sites, n_sites)
    reason = _dependent(centred[:, :p]) if len(columns) else "needs clients"
    if reason:
        return _absent(len(columns), len(columns), reason)

    def spread(codes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return all cross-products about the sites' means, and those without each group of clients."""
        sums = cluster_sums(cross_products(centred), codes, count)
        home = np.zeros(count, dtype=int)
        home[codes] = sites
        whole = cluster_sums(sums, home, n_sites)
        about = _about_means(whole)
        total = about.sum(axis=0)
        return total, total - about[home] + _about_means(whole[home] - sums)

    def slopes(products: np.ndarray) -> np.ndarray:
        return solved(products[..., :p, :p], products[..., :p, p])[..., :5]

    alone = spread(np.arange(len(columns)), len(columns))
    codes, count = (np.arange(len(columns)), 0) if clusters is None else cluster_codes(clusters)
    clustered = count >= min_clusters
    total, without = spread(codes, count) if clustered else alone
    values, by_client = slopes(without), slopes(alone[1])
    estimate = slopes(total)
    if not (np.isfinite(estimate).all() and np.isfinite(values).all() and np.isfinite(by_client).all()):
        return _absent(len(columns), len(columns), "without one of the therapists or clients there is no estimate")
    n = len(columns)
    told = "" if clustered or clusters is None else f"fewer than {min_clusters} therapists ({count}): clients taken as independent"
    method, df = ("cluster_jackknife", count - 1.0) if clustered else ("client_jackknife", np.inf)
    none = ("", told)
    found = Jackknifed(estimate, _jackknife_covariance(values), df, n, count, method, *none)
    return _fitted(found, Jackknifed(estimate, _jackknife_covariance(by_client), np.inf, n, 0, method, "", ""), total, n, None)


def _about_means(sums: np.ndarray) -> np.ndarray:
    """Return cross-products about the means from sums of :func:`cross_products`; zeros where nothing is left."""
    n = sums[..., :1, :1]
    mean = sums[..., 1:, :1] / np.where(n > 0, n, 1.0)
    return sums[..., 1:, 1:] - n * mean @ np.swapaxes(mean, -1, -2)


def _jackknife_covariance(without: np.ndarray) -> np.ndarray:
    deviation = without - without.mean(axis=0)
    return deviation.T @ deviation * ((len(without) - 1) / len(without))


def logistic_polynomial(
    x: ArrayLike,
    y: ArrayLike,
    event: ArrayLike,
    controls: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    *,
    min_clusters: int = MIN_CLUSTERS,
) -> Polynomial:
    """Fit the polynomial regression of an event (0 or 1) by maximum likelihood on the logit scale.

    Standard errors leave out each therapist in turn. Where that leaves no estimate, with more than 150 therapists (when it would say the
    same), or where therapists are few, the sandwich over therapists or clients takes its place.

    Parameters
    ----------
    x, y, event, controls, clusters, min_clusters
        As in :func:`polynomial`.
    """
    data = _columns(x, y, event, controls)
    design = np.column_stack([np.ones(len(data)), data[:, :-1]])
    z = data[:, -1]
    n, p = design.shape
    fewer = int(min(z.sum(), n - z.sum()))
    reason = _dependent(data[:, :-1])
    if not reason and fewer < FEWEST_EVENTS * p:
        reason = f"needs at least {FEWEST_EVENTS * p} clients with and without the event ({FEWEST_EVENTS} a coefficient); has {fewer}"
    full = None if reason else _logistic(design, z, np.zeros(p))
    if full is None:
        return _absent(n, n, reason or "the event is separated: some surface tells all clients with it from all others")
    codes, count = (np.arange(n), 0) if clusters is None else cluster_codes(clusters)
    clustered = count >= min_clusters
    fitted = special.expit(design @ full)
    information = np.linalg.inv((design * (fitted * (1 - fitted))[:, None]).T @ design)
    scores = design * (z - fitted)[:, None]
    by_client = information @ (scores.T @ scores) @ information
    error = np.sqrt(np.diagonal(by_client)[:6])
    correlation = by_client[:6, :6] / np.outer(error, error)
    cautions = []
    if clusters is not None and not clustered:
        cautions.append(f"fewer than {min_clusters} therapists ({count}): clients taken as independent")
    if fewer < COMFORTABLE_EVENTS * p:
        cautions.append(f"few events: {fewer / p:.1f} for each coefficient (convention: at least {COMFORTABLE_EVENTS})")
    vcov, method, df = by_client * n / (n - 1), "client_jackknife", np.inf
    if clustered:
        refitted = count <= MOST_REFITS
        without = [_logistic(design[codes != one], z[codes != one], full) for one in range(count)] if refitted else [None]
        df = count - 1.0
        if all(one is not None for one in without):
            deviation = np.array(without) - np.mean(without, axis=0)
            vcov, method = (count - 1) / count * deviation.T @ deviation, "cluster_jackknife"
        else:
            summed = cluster_sums(scores, codes, count)
            vcov, method = count / (count - 1) * information @ (summed.T @ summed) @ information, "cluster_robust"
    vcov = vcov[:6, :6]
    curvature = _curvature(full[:6], vcov, count if clustered else 0)
    return Polynomial(full[:6], vcov, correlation, df, curvature, None, n, n, count, method, "", "; ".join(cautions))


def compare_models(products: ArrayLike, n: int, levels: int, kind: Kind = "congruence") -> pd.DataFrame:
    """Return how well simpler models do beside the full polynomial, by corrected AIC.

    Parameters
    ----------
    products : array_like, shape (q, q)
        As in :class:`Polynomial`; of several sites their sum, each about its own means.
    n : int
        Rows.
    levels : int
        Intercepts that the cross-products are free of: 1, the number of sites, or the number of clients.
    kind : str
        Decides what the restricted models mean.

    Returns
    -------
    DataFrame
        ``model, aicc, weight, r_squared`` (of what the controls and intercepts leave), in the order of :data:`MODELS`; NaN where rows are
        too few. Least squares, rows taken as independent and normal; ``weight`` is Akaike's.
    """
    import pandas as pd

    products = np.asarray(products, dtype=float)
    q = len(products)
    held = list(range(5, q - 1))
    sign = 1.0 if kind == "congruence" else -1.0
    squared = np.array([0, 0, 1, -2 * sign, 1.0])
    unit = np.eye(5)
    terms = {
        "null": [],
        "first only": [unit[0]],
        "second only": [unit[1]],
        "additive": [unit[0], unit[1]],
        "interaction": [unit[0], unit[1], unit[3]],
        "squared difference": [squared],
        "rising ridge": [unit[0] + sign * unit[1], squared],
        "full": list(unit),
    }
    records = []
    for model in MODELS:
        weights = np.zeros((q, len(terms[model]) + len(held)))
        for column, vector in enumerate(terms[model]):
            weights[:5, column] = vector
        weights[held, len(terms[model]) + np.arange(len(held))] = 1.0
        left = _residual(products, weights)
        k = weights.shape[1] + levels + 1
        aic = n * (np.log(2 * np.pi * left / n) + 1) + 2 * k if left > 0 else np.nan
        records.append((model, aic + 2 * k * (k + 1) / (n - k - 1) if n > k + 1 else np.nan, left))
    frame = pd.DataFrame(records, columns=["model", "aicc", "left"])
    relative = np.exp(-(frame["aicc"] - frame["aicc"].min()) / 2)
    return frame.assign(weight=relative / relative.sum(), r_squared=1 - frame["left"] / frame["left"].iloc[0]).drop(columns="left")


def _residual(products: np.ndarray, weights: np.ndarray) -> float:
    total = float(products[-1, -1])
    if not weights.shape[1]:
        return total
    given, cross = weights.T @ products @ weights, weights.T @ products[:, -1]
    return total - float(cross @ np.linalg.solve(given, cross))


@dataclass(frozen=True)
class Condition:
    """One condition of a claim about a surface.

    Attributes
    ----------
    name : str
        One of :data:`CONDITIONS`.
    estimate, std_error, ci_low, ci_high : float
        Of the parameter it is about.
    bound : float
        How far from the value the parameter may lie and still count as equal to it; NaN for a condition on a sign.
    p_value : float
        One-sided p of the wrong sign, or p of the hypothesis that the parameter lies outside the bounds (two one-sided tests).
    decision : str
        ``met`` (shown), ``not_met`` (the interval excludes it), ``undecided``, or empty where there is no estimate.
    """

    name: str
    estimate: float
    std_error: float
    ci_low: float
    ci_high: float
    bound: float
    p_value: float
    decision: str


def conditions(
    found: pd.DataFrame, kind: Kind, bounds: dict[str, float], df: float = np.inf, level: float = 0.95, *, curved: bool = True
) -> list[Condition]:
    """Return the conditions of a claim of congruence or complementarity, each judged (Humberg, Nestler & Back, 2019).

    A surface speaks for congruence where its ridge is the line of agreement (``p10 = 0``, ``p11 = 1``) and the outcome falls off on both
    sides of it alike (``a4 < 0``, ``a3 = 0``); for complementarity the ridge is ``y = -x``.

    Parameters
    ----------
    found : DataFrame
        From :func:`surface`.
    kind : str
    bounds : dict
        Bound of equality by kind of parameter: ``axis`` (p10 and p11) and ``slope`` (a1, a3).
    df, level : float
        Of the intervals; tests of equality have size ``(1 - level)`` by the interval of ``2 level - 1``.
    curved : bool
        False: the surface may be flat. Its axes may then lie anywhere and decide nothing.
    """
    table = found.set_index("name")
    made = []
    for name in CONDITIONS[kind]:
        parameter, relation, value = name.split(" ")
        row = table.loc[parameter]
        target, error = float(value), float(row["std_error"])
        distance = float(row["estimate"]) - target
        bound = np.nan if relation == "<" else bounds["axis" if parameter.startswith("p") else "slope"]
        if not (np.isfinite(distance) and error > 0):
            p_value, decision = np.nan, ""
        elif relation == "<":
            half = float(two_sided_p(distance / error, df)) / 2
            p_value = half if distance < 0 else 1 - half
            decision = "met" if row["ci_high"] < target else "not_met" if row["ci_low"] > target else "undecided"
        else:
            outside = (bound - abs(distance)) / error
            half = float(two_sided_p(outside, df)) / 2
            p_value = half if outside > 0 else 1 - half
            excluded = row["ci_low"] > target or row["ci_high"] < target
            decision = "met" if p_value < 1 - level else "not_met" if excluded else "undecided"
        if decision and parameter.startswith("p") and not curved:
            decision = "undecided"
        made.append(Condition(name, *(float(row[key]) for key in ("estimate", "std_error", "ci_low", "ci_high")), bound, p_value, decision))
    return made


def verdict(judged: Sequence[Condition]) -> str:
    """Return what all conditions together say of the claim.

    ``supported``: all are met, equalities inside their bounds; ``compatible``: the curvature is met and no equality is excluded, though not
    all are shown (the rule of Humberg et al., 2019); ``not_supported``: one is excluded by its interval; ``undecided``: all else. Empty
    where a parameter could not be estimated.
    """
    decisions = [one.decision for one in judged]
    if "" in decisions:
        return ""
    if all(decision == "met" for decision in decisions):
        return "supported"
    if "not_met" in decisions:
        return "not_supported"
    curved = [one.decision for one in judged if "<" in one.name]
    return "compatible" if all(decision == "met" for decision in curved) else "undecided"


def bands(x: ArrayLike, y: ArrayLike, width: float) -> np.ndarray:
    """Return 0 where two ratings differ by no more than ``width``, -1 where the first is higher, 1 where the second is (Shanock et al.,
    2010).

    Parameters
    ----------
    x, y : array_like, shape (n,)
        In standard deviations.
    width : float
        Half a standard deviation by convention.
    """
    difference = np.asarray(y, dtype=float) - np.asarray(x, dtype=float)
    return np.where(np.abs(difference) <= width, 0, np.sign(difference)).astype(int)


def _columns(x: ArrayLike, y: ArrayLike, outcome: ArrayLike, controls: ArrayLike | None) -> np.ndarray:
    terms = polynomial_terms(x, y)
    held = np.zeros((len(terms), 0)) if controls is None else np.asarray(controls, dtype=float).reshape(len(terms), -1)
    return np.column_stack([terms, held, np.asarray(outcome, dtype=float)])


def _shift(data: np.ndarray, p: int) -> np.ndarray:
    """Return what is subtracted before sums are made, for accuracy: means of what is held constant and of the outcome, never of terms."""
    return np.where(np.arange(data.shape[1]) < 5, 0.0, data.mean(axis=0)) if p >= 5 else np.zeros(data.shape[1])


def _deviations(data: np.ndarray, codes: np.ndarray, count: int) -> np.ndarray:
    sizes = np.bincount(codes, minlength=count)[:, None]
    return data - (cluster_sums(data, codes, count) / np.maximum(sizes, 1))[codes] if count else data


def _dependent(predictors: np.ndarray) -> str:
    """Return why a polynomial cannot be fitted to these predictors, or nothing."""
    n, p = predictors.shape
    if n < p + 3:
        return f"needs at least {p + 3} rows for {p} terms; has {n}"
    spread = predictors.std(axis=0)
    if not (spread > 1e-12 * np.maximum(np.abs(predictors).max(axis=0), 1e-300)).all():
        return "one of the ratings, or what is held constant, does not vary"
    if np.linalg.eigvalsh(np.corrcoef(predictors, rowvar=False))[0] < _DEPENDENT:
        return "the terms determine each other: the ratings take too few different values"
    return ""


def _fitted(found: Jackknifed, alone: Jackknifed, products: np.ndarray, n_rows: int, level: float | None) -> Polynomial:
    """Return a polynomial from its jackknives; ``level`` is added to the intercept, None where there is none."""
    if found.reason or alone.reason:
        return _absent(n_rows, found.n, found.reason or alone.reason)
    size = len(found.estimate)
    place = slice(6 - size, 6)
    b, vcov, correlation = np.full(6, np.nan), np.full((6, 6), np.nan), np.full((6, 6), np.nan)
    b[place], vcov[place, place] = found.estimate, found.vcov
    if level is not None:
        b[0] += level
    error = alone.std_error
    correlation[place, place] = alone.vcov / np.outer(error, error)
    groups = found.n_clusters if found.method == "cluster_jackknife" else 0
    curvature = _curvature(b, vcov, groups)
    return Polynomial(
        b, vcov, correlation, found.df, curvature, products, n_rows, found.n, found.n_clusters, found.method, "", found.caution
    )


def _curvature(b: np.ndarray, vcov: np.ndarray, groups: int) -> float:
    """Return p of no curvature; ``groups`` is 0 where clients are taken as independent."""
    places = list(CURVED)
    wald = float(b[places] @ np.linalg.pinv(vcov[np.ix_(places, places)]) @ b[places])
    if not groups:
        return float(special.chdtrc(3, wald))
    if groups <= 4:
        return float("nan")
    return float(special.fdtrc(3, groups - 3, wald * (groups - 3) / (3 * (groups - 1))))


def _logistic(design: np.ndarray, z: np.ndarray, start: np.ndarray) -> np.ndarray | None:
    """Return maximum likelihood coefficients by Newton's method with halved steps; None where they grow without end."""

    def deviance(at: np.ndarray) -> float:
        eta = design @ at
        return float(2 * (np.logaddexp(0, eta) - z * eta).sum())

    size = np.maximum(np.sqrt((design**2).mean(axis=0)), 1e-300)
    b, value = start.copy(), deviance(start)
    for _ in range(_STEPS):
        fitted = special.expit(design @ b)
        information = (design * (fitted * (1 - fitted))[:, None]).T @ design
        try:
            step = np.linalg.solve(information, design.T @ (z - fitted))
        except np.linalg.LinAlgError:
            return None
        length = 1.0
        while length > 1e-6 and not deviance(b + length * step) <= value + 1e-12 * abs(value):
            length /= 2
        b, value = b + length * step, deviance(b + length * step)
        if (np.abs(b) * size).max() > 10 * _LARGEST_LOGIT or np.abs(design @ b).max() > 2 * _LARGEST_LOGIT:
            return None
        if (np.abs(step) * size).max() < 1e-10:
            return b
    return None


def _absent(n_rows: int, n_clients: int, reason: str) -> Polynomial:
    holes = np.full((6, 6), np.nan)
    return Polynomial(np.full(6, np.nan), holes, holes, np.inf, np.nan, None, n_rows, n_clients, 0, "none", reason, "")
