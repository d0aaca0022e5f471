"""Reliability of ratings of clients in several sessions: two-level omega and alpha, and generalizability over sessions and items.

The two-level models need rows only once: cross-products of sessions within clients, and sums of clients' means by the number of sessions
(McDonald & Goldstein, 1989). Leaving out a therapist or client subtracts from these sums, and all such sets are fitted at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.ordinal_reliability import one_factor
from alliance.statistics.reliability_interval import Coefficient, LeftOut, leave_out, no_coefficient
from alliance.statistics.two_level import (
    MAX_STEPS,
    Covariances,
    Diagonal,
    Sums,
    client_sums,
    of_clients,
    pooled_within,
    positive_definite,
    raised,
    saturated_covariances,
    sorted_codes,
    step_lengths,
)

MIN_ITEMS = 3
MIN_CLIENTS = 10
TWO_LEVEL = ("omega_within", "omega_between", "omega_of_means", "alpha_within", "alpha_between")
_FIXED = ("person", "person:item", "residual")
_RANDOM = ("person", "session", "person:session", "person:item", "residual")
# Coefficients and the components of variance they rest on.
GENERALIZABILITY = {
    "r_1f": _FIXED,
    "r_kf": _FIXED,
    "r_1r": _RANDOM,
    "r_kr": _RANDOM,
    "r_c": ("person:session", "residual"),
    "r_krn": ("person", "session", "residual"),
    "r_cn": ("session", "residual"),
}
_TOLERANCE = 1e-8
_LEFT_OUT_TOLERANCE = 1e-6
_DETERMINED = 1e-8
_PERSON, _DAY, _ITEM = 0, 1, 2
_CROSSED = ((_PERSON,), (_DAY,), (_ITEM,), (_PERSON, _DAY), (_PERSON, _ITEM), (_DAY, _ITEM), (_PERSON, _DAY, _ITEM))
_NESTED = ((_PERSON,), (_PERSON, _DAY), (_PERSON, _DAY, _ITEM))
_NESTED_NAMES = ("person", "session", "residual")
_NAMES = ("person", "session", "item", "person:session", "person:item", "session:item", "residual")


@dataclass(frozen=True)
class TwoLevelReliability:
    """Reliability of a sum of items within and between clients. Where ``status`` is ``not_estimable``, ``reason`` says what is needed.

    Attributes
    ----------
    status, reason : str
        ``estimated``, ``flagged`` (some coefficients are not estimable or flagged) or ``not_estimable``, and why.
    omega_within : Coefficient
        Of differences between sessions of one client.
    omega_between : Coefficient
        Of clients' true means: share of the factor between clients in the variance between clients (Geldhof, Preacher & Zyphur, 2014).
    omega_of_means : Coefficient
        Of observed means over the sessions that clients have, by their harmonic mean (Lai, 2021; "shared" construct of semTools).
    alpha_within, alpha_between : Coefficient
        Alpha of the covariances within and between clients, without a factor model.
    icc : float
        Share of clients in the variance of the sum of items, without a factor model; NaN where not estimable.
    loadings_within, errors_within, loadings_between, errors_between : ndarray, shape (p,)
        Unstandardised loadings of factors with variance 1, and error variances; NaN where not estimated. Improper ones are shown.
    covariance_within, covariance_between : ndarray, shape (p, p)
        Without a factor model, by maximum likelihood.
    log_likelihood : float
        Of the one-factor model of both levels; NaN where it was not fitted.
    n_sessions, n_clients, n_clusters : int
        Sessions with all items, their clients and therapists (0 where not known).
    n_incomplete : int
        Sessions left out because an item is missing.
    df : float
        Of the intervals.
    method : str
        ``cluster_jackknife``, ``client_jackknife`` or ``none``.
    """

    status: str
    reason: str
    omega_within: Coefficient
    omega_between: Coefficient
    omega_of_means: Coefficient
    alpha_within: Coefficient
    alpha_between: Coefficient
    icc: float
    loadings_within: np.ndarray
    errors_within: np.ndarray
    loadings_between: np.ndarray
    errors_between: np.ndarray
    covariance_within: np.ndarray
    covariance_between: np.ndarray
    log_likelihood: float
    n_sessions: int
    n_clients: int
    n_clusters: int
    n_incomplete: int
    df: float
    method: str


def two_level_reliability(
    items: ArrayLike,
    clients: ArrayLike,
    therapists: ArrayLike | None = None,
    *,
    level: float = 0.95,
    min_clusters: int = MIN_CLUSTERS,
) -> TwoLevelReliability:
    """Return omega and alpha within and between clients, of items that are all scored in one direction.

    One factor within and one between clients are fitted together by maximum likelihood (Fisher scoring), as lavaan fits a model of two
    levels; loadings may differ between levels. Sessions that lack an item are left out. With fewer clients than two for each item, or
    where the model has no maximum, the level within clients is fitted alone, to the covariances around clients' means.

    Intervals come from leaving out each therapist in turn, with t(G - 1) on the scale of ln(1 - reliability); clients in their stead as in
    :func:`alliance.statistics.reliability_interval.leave_out`. In simulations (40 to 300 clients, 2 to 10 sessions, 6 items, 15 or 30
    therapists or none, 400 runs a cell) they covered 92 to 97 %.

    Parameters
    ----------
    items : array_like, shape (n, p)
        Answers, one row a session of a client; NaN where missing.
    clients : array_like, shape (n,)
        Client of each row.
    therapists : array_like, shape (n,), optional
        Therapist of each row; one a client.
    level : float
        Confidence level.
    min_clusters : int
        Fewer therapists: clients are taken as independent.

    Raises
    ------
    ValueError
        Shapes that do not fit, a row without a client or therapist, or a client with several therapists.
    """
    answers = np.asarray(items, dtype=float)
    if answers.ndim != 2 or len(answers) != len(np.asarray(clients)):
        raise ValueError("items need one row for every session, and every session a client")
    complete = np.isfinite(answers).all(axis=1)
    rows = answers[complete]
    client, n_clients = sorted_codes(np.asarray(clients)[complete])
    therapist = None if therapists is None else of_clients(np.asarray(therapists)[complete], client, n_clients)
    n, p = rows.shape
    counts = (n, n_clients, 0 if therapist is None or not n else int(therapist.max()) + 1, int((~complete).sum()))
    fault = _too_few(n, n_clients, p)
    if not fault:
        deviation = rows.std(axis=0)
        fault = "" if (deviation > 0).all() else f"needs items whose answers differ; {int((deviation == 0).sum())} of {p} are constant"
    if fault:
        return _no_two_level(fault, p, counts)
    scale = rows.std(axis=0)
    sums = client_sums((rows - rows.mean(axis=0)) / scale, client, n_clients)
    total = sums.total()
    fault = _singular(total.within[0] / total.freedom[0])
    if fault:
        return _no_two_level(fault, p, counts)
    saturated = saturated_covariances(total, None, _TOLERANCE)
    separable = bool(saturated.found[0])
    start_covariances = saturated
    if not separable:
        saturated = pooled_within(total)
    enough = n_clients >= 2 * p
    factors = _one_factor(total, _factor_start(start_covariances), _TOLERANCE, between=True) if enough else None
    together = factors is not None and bool(factors.found[0])
    if not together:
        factors = _one_factor(total, _factor_start(start_covariances), _TOLERANCE, between=False)
    values = _two_level_values(total, saturated, factors, scale, together=together, proper_only=True)[0]

    def without(units: np.ndarray, groups: int) -> np.ndarray:
        stack = sums.without(units, groups)
        covariances = saturated_covariances(stack, saturated, _LEFT_OUT_TOLERANCE) if separable else pooled_within(stack)
        fitted = _one_factor(stack, factors, _LEFT_OUT_TOLERANCE, between=together)
        left_out = _two_level_values(stack, covariances, fitted, scale, together=together, proper_only=False)
        # What has no estimate with all clients needs none without some.
        return np.where(np.isfinite(values), left_out, 0.0)

    reasons = _two_level_reasons(saturated, factors, values, n_clients, p, together=together, separable=separable)
    left_out = leave_out(without, therapist, n_clients, min_clusters)
    log_likelihood = np.nan
    if together:
        log_likelihood = -float(factors.deviance(total)[0]) / 2 - n * (np.log(scale).sum() + p * np.log(2 * np.pi) / 2)
    return _two_level_result(values, reasons, left_out, level, saturated, factors, scale, log_likelihood, counts)


@dataclass(frozen=True)
class Generalizability:
    """Reliability over sessions and items from components of variance. Where ``status`` is ``not_estimable``, ``reason`` says why.

    Attributes
    ----------
    status, reason : str
        ``estimated``, ``flagged`` or ``not_estimable``, and why.
    coefficients : dict of str to Coefficient
        ``r_1f``, ``r_kf``, ``r_1r``, ``r_kr``, ``r_c`` (Cranford et al., 2006: sessions of one number belong together over clients), and
        ``r_krn``, ``r_cn`` (sessions nested in clients; Shrout & Lane, 2012).
    components : dict of str to float
        Variances of person, session, item, their interactions and the residual, as estimated: negative ones are shown.
    nested_components : dict of str to float
        Variances of person, session in person, and residual.
    n_items, n_clients, n_sessions, n_answers : int
        Items; clients; sessions of clients; answers.
    sessions_averaged : float
        k of ``r_kf``, ``r_kr``, ``r_krn``.
    df : float
        Of the intervals.
    method : str
        ``cluster_jackknife``, ``client_jackknife`` or ``none``.
    """

    status: str
    reason: str
    coefficients: dict[str, Coefficient]
    components: dict[str, float]
    nested_components: dict[str, float]
    n_items: int
    n_clients: int
    n_sessions: int
    n_answers: int
    sessions_averaged: float
    df: float
    method: str


def generalizability(
    items: ArrayLike,
    clients: ArrayLike,
    sessions: ArrayLike,
    therapists: ArrayLike | None = None,
    *,
    sessions_averaged: float | None = None,
    level: float = 0.95,
    min_clusters: int = MIN_CLUSTERS,
) -> Generalizability:
    """Return the reliabilities of Cranford, Shrout, Iida, Rafaeli, Yip & Bolger (2006) for ratings of clients in several sessions.

    Components of variance equate sums of squares to what is expected of them with the answers that there are (Henderson, 1953, method I):
    equal to analysis of variance where every client has every session and item (``psych::multilevel.reliability``), and without bias
    where they do not, if what is missing does not depend on the answers. With m items and k sessions:

    - ``r_1f = (P + PI/m) / (P + PI/m + E/m)``, ``r_kf`` with E/(k m): between clients, on one fixed session and the mean of k;
    - ``r_1r = (P + PI/m) / (P + PI/m + S + PS + E/m)``, ``r_kr`` with S/k, PS/k and E/(k m): on random sessions;
    - ``r_c = PS / (PS + E/m)``: of change within clients;
    - ``r_krn = P / (P + S(P)/k + E/(k m))``, ``r_cn = S(P) / (S(P) + E/m)``: the same with sessions nested in clients and items as error.

    A negative component counts as zero, with a flag. Intervals as in :func:`two_level_reliability`: they tell of other clients, and take
    session numbers and items as those of the sample.

    Parameters
    ----------
    items : array_like, shape (n, m)
        Answers, one row a session of a client; NaN where missing.
    clients, sessions : array_like, shape (n,)
        Client and number of the session of each row.
    therapists : array_like, shape (n,), optional
        Therapist of each row; one a client.
    sessions_averaged : float, optional
        Sessions k over which is averaged; by default the harmonic mean of the sessions that clients have.
    level : float
        Confidence level.
    min_clusters : int
        Fewer therapists: clients are taken as independent.

    Raises
    ------
    ValueError
        Shapes that do not fit, a session that stands twice, a row without a client or therapist, or a client with several therapists.
    """
    answers = np.asarray(items, dtype=float)
    if answers.ndim != 2 or not len(answers) == len(np.asarray(clients)) == len(np.asarray(sessions)):
        raise ValueError("items need one row for every session, and every session a client and a number")
    used = np.isfinite(answers).any(axis=1)
    rows = answers[used]
    client, n_clients = sorted_codes(np.asarray(clients)[used])
    session, n_numbers = sorted_codes(np.asarray(sessions)[used])
    if len(np.unique(client * max(n_numbers, 1) + session)) < len(client):
        raise ValueError("a session of a client stands in several rows")
    therapist = None if therapists is None else of_clients(np.asarray(therapists)[used], client, n_clients)
    m, counts = rows.shape[1], (rows.shape[1], n_clients, len(rows), int(np.isfinite(rows).sum()))
    per_client = np.bincount(client, minlength=n_clients)
    fault = ""
    if m < 2:
        fault = f"needs at least 2 items; has {m}"
    elif (per_client > 1).sum() < MIN_CLIENTS:
        fault = f"needs at least {MIN_CLIENTS} clients with 2 sessions; has {int((per_client > 1).sum())}"
    if fault:
        return _no_generalizability(fault, counts)
    k = float(n_clients / (1 / per_client).sum()) if sessions_averaged is None else float(sessions_averaged)
    values = np.full((n_clients, n_numbers, m), np.nan)
    values[client, session] = rows - np.nanmean(rows)
    crossed, nested = _components(values, _CROSSED), _components(values, _NESTED)
    if not np.isfinite(np.r_[crossed, nested]).all():
        return _no_generalizability("needs sessions and items that clients have in common, to tell their variances apart", counts)
    estimates = _generalizability_values(crossed, nested, m, k)

    def without(units: np.ndarray, groups: int) -> np.ndarray:
        kept = (values[units != unit] for unit in range(groups))
        return np.array([_generalizability_values(_components(left, _CROSSED), _components(left, _NESTED), m, k) for left in kept])

    left_out = leave_out(without, therapist, n_clients, min_clusters)
    components = {name: float(value) for name, value in zip(_NAMES, crossed, strict=True)}
    nested_components = {name: float(value) for name, value in zip(_NESTED_NAMES, nested, strict=True)}
    coefficients = {}
    for which, (name, used_by) in enumerate(GENERALIZABILITY.items()):
        of = nested_components if name in ("r_krn", "r_cn") else components
        negative = [component for component in used_by if of[component] < 0]
        caution = f"negative variance taken as zero: {', '.join(negative)}" if negative else ""
        if np.isfinite(estimates[which]):
            coefficients[name] = left_out.coefficient(which, estimates[which], level, caution)
        else:
            coefficients[name] = no_coefficient("needs differences between clients, sessions or answers; has none")
    reasons = "; ".join(dict.fromkeys(one.reason for one in coefficients.values() if one.reason))
    status = "flagged" if reasons else "estimated"
    return Generalizability(status, reasons, coefficients, components, nested_components, *counts, k, left_out.df, left_out.method)


def _components(values: np.ndarray, effects: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Return variances of random effects of an array (persons, days, items) with holes; NaN where they cannot be told apart.

    ``effects`` are given by their axes, the last with all of them.
    """
    known = np.isfinite(values)
    filled, present = np.where(known, values, 0.0), known.astype(float)
    axes = range(values.ndim)

    def over(array: np.ndarray, kept: tuple[int, ...]) -> np.ndarray:
        return array.sum(axis=tuple(axis for axis in axes if axis not in kept), keepdims=True)

    subsets = ((), *effects)
    unions = {tuple(sorted({*one, *other})) for one in subsets for other in subsets}
    n = {kept: over(present, kept) for kept in unions}
    squares = {kept: n[kept] ** 2 for kept in unions}
    expected, found = np.empty((len(subsets), len(subsets))), np.empty(len(subsets))
    for row, of in enumerate(subsets):
        divisor = np.maximum(n[of], 1.0)
        found[row] = (over(filled, of) ** 2 / divisor).sum()
        for column, effect in enumerate(subsets):
            union = tuple(sorted({*of, *effect}))
            expected[row, column] = (over(squares[union], of) / divisor).sum() if effect else n[()].sum()
    if np.linalg.matrix_rank(expected) < len(subsets):
        return np.full(len(effects), np.nan)
    return np.linalg.solve(expected, found)[1:]


def _generalizability_values(crossed: np.ndarray, nested: np.ndarray, m: int, k: float) -> np.ndarray:
    person, session, _, person_session, person_item, _, residual = np.maximum(crossed, 0)
    nested_person, nested_session, nested_residual = np.maximum(nested, 0)
    between = person + person_item / m
    pairs = (
        (between, residual / m),
        (between, residual / (k * m)),
        (between, session + person_session + residual / m),
        (between, (session + person_session + residual / m) / k),
        (person_session, residual / m),
        (nested_person, (nested_session + nested_residual / m) / k),
        (nested_session, nested_residual / m),
    )
    return np.array([true / (true + error) if error > 0 else np.nan for true, error in pairs])


@dataclass(frozen=True)
class _Factors:
    """Loadings and error variances within, then between (b, 4 p), and where they were found (b,)."""

    parameters: np.ndarray
    found: np.ndarray

    def deviance(self, sums: Sums) -> np.ndarray:
        diagonal = _implied(self.parameters, sums.sizes)
        return diagonal.deviance(sums, sums.scatter(diagonal.mean(sums)))

    def parts(self) -> list[np.ndarray]:
        return np.split(self.parameters, 4, axis=1)


def _factor_start(saturated: Covariances) -> _Factors:
    parts = []
    for covariance in (saturated.within, raised(saturated.between)):
        size = np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 1e-4))
        loadings = one_factor(covariance / (size[:, :, None] * size[:, None, :]))
        loadings = np.clip(np.where(np.isfinite(loadings), loadings, 0.6), -0.95, 0.95)
        parts += [loadings * size, (1 - loadings**2) * size**2]
    return _Factors(np.concatenate(parts, axis=1), np.ones(len(saturated.within), dtype=bool))


def _one_factor(sums: Sums, start: _Factors, tolerance: float, *, between: bool) -> _Factors:
    """Return the one-factor model of both levels by Fisher scoring, or of the level within alone; error variances may be negative."""
    stack, p = sums.within.shape[:2]
    if not between:
        empty = {"clients": 0, "means": 0, "products": 0}
        sums = replace(sums, sizes=sums.sizes[:0], **{name: getattr(sums, name)[:, :0] for name in empty})
    free = 4 * p if between else 2 * p
    values = np.repeat(start.parameters, stack, axis=0) if len(start.parameters) == 1 else start.parameters.copy()
    if not between:
        values[:, 2 * p :] = 0.0
    found, active = np.zeros(stack, dtype=bool), np.arange(stack)
    for _ in range(MAX_STEPS):
        part, at = sums.at(active), values[active]
        diagonal = _implied(at, sums.sizes)
        scatter = part.scatter(diagonal.mean(part)) if between else part.products
        before = diagonal.deviance(part, scatter)
        gradient, information = _slopes(part, at, diagonal, scatter)
        information, gradient = information[:, :free, :free], gradient[:, :free]
        ridge = 1e-12 * np.trace(information, axis1=1, axis2=2)[:, None, None] * np.eye(free)
        step = np.zeros_like(at)
        step[:, :free] = -np.linalg.solve(information + ridge, gradient[:, :, None])[:, :, 0]

        def worth(length: np.ndarray, which: np.ndarray, at=at, step=step, part=part) -> np.ndarray:
            tried = _implied(at[which] + length[:, None] * step[which], sums.sizes)
            some = part.at(which)
            return tried.deviance(some, some.scatter(tried.mean(some)) if between else some.products)

        length = step_lengths(worth, before)
        values[active] = at + length[:, None] * step
        moved = np.abs(step).max(axis=1)
        found[active[(moved < tolerance) & (length > 0)]] = True
        active = active[(moved >= tolerance) & (length > 0)]
        if not len(active):
            break
    turn = np.ones_like(values)
    for level in (0, 2):
        turn[:, level * p : (level + 1) * p] = np.where(values[:, level * p : (level + 1) * p].sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
    return _Factors(values * turn, found)


def _implied(parameters: np.ndarray, sizes: np.ndarray) -> Diagonal:
    covariances = []
    for loadings, errors in zip(*[iter(np.split(parameters, 4, axis=1))] * 2, strict=True):
        covariances.append(loadings[:, :, None] * loadings[:, None, :] + errors[:, :, None] * np.eye(errors.shape[1]))
    return Diagonal.of(*covariances, sizes)


def _slopes(sums: Sums, parameters: np.ndarray, diagonal: Diagonal, scatter: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient of the deviance and the expectation of its second derivatives, parameters as in :class:`_Factors`.

    The level within adds a group of size 0: the sessions around clients' means.
    """
    p = parameters.shape[1] // 4
    sizes = np.r_[0.0, sums.sizes]
    n = np.column_stack([sums.freedom, sums.clients])
    t = diagonal.transform[:, None]
    inverse = np.swapaxes(t, -1, -2) @ (t / diagonal.factors(sizes)[..., None])
    observed = np.concatenate([sums.within[:, None], scatter], axis=1)
    slope = n[:, :, None, None] * inverse - inverse @ observed @ inverse
    loadings = (parameters[:, :p], parameters[:, 2 * p : 3 * p])
    turned = [np.einsum("bsij,bj->bsi", inverse, one) for one in loadings]
    gradient = []
    for level, one in enumerate(loadings):
        weighted = np.einsum("s,bsij->bij", sizes**level, slope)
        gradient += [2 * np.einsum("bij,bj->bi", weighted, one), np.diagonal(weighted, axis1=1, axis2=2)]
    information = np.empty((len(parameters), 4 * p, 4 * p))
    for i in (0, 1):
        for j in (0, 1):
            weight = n * sizes ** (i + j)
            common = weight * np.einsum("bi,bsi->bs", loadings[i], turned[j])
            both = np.einsum("bs,bsa,bsc->bac", weight, turned[j], turned[i]) + np.einsum("bs,bsac->bac", common, inverse)
            cross = np.einsum("bs,bsac,bsc->bac", weight, inverse, turned[i])
            rows, columns = slice(2 * p * i, 2 * p * i + p), slice(2 * p * j, 2 * p * j + p)
            error_rows, error_columns = slice(2 * p * i + p, 2 * p * (i + 1)), slice(2 * p * j + p, 2 * p * (j + 1))
            information[:, rows, columns] = 2 * both
            information[:, rows, error_columns] = 2 * cross
            information[:, error_columns, rows] = 2 * np.swapaxes(cross, 1, 2)
            information[:, error_rows, error_columns] = np.einsum("bs,bsac->bac", weight, inverse**2)
    return np.concatenate(gradient, axis=1), information


def _two_level_values(
    sums: Sums, saturated: Covariances, factors: _Factors, scale: np.ndarray, *, together: bool, proper_only: bool
) -> np.ndarray:
    """Return the coefficients of :data:`TWO_LEVEL` on the scale of the answers, shape (b, 5); NaN where not estimable.

    ``proper_only``: NaN where improper too. Sets that leave out some clients may be improper where all clients are not: the coefficients
    stay smooth there.
    """
    loadings_w, errors_w, loadings_b, errors_b = factors.parts()
    count = sums.clients.sum(axis=1)
    inverse_size = (sums.clients / sums.sizes).sum(axis=1) / count
    common = [(one @ scale) ** 2 for one in (loadings_w, loadings_b)]
    error = [one @ scale**2 for one in (errors_w, errors_b)]
    within, between = common[0] + error[0], common[1] + error[1]
    proper = [factors.found & (one > 0).all(axis=1) for one in (errors_w, errors_b)]
    p = len(scale)
    values = np.full((len(count), len(TWO_LEVEL)), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        values[:, 0] = np.where(factors.found, common[0] / within, np.nan)
        if together:
            values[:, 1] = np.where(factors.found, common[1] / between, np.nan)
            values[:, 2] = np.where(factors.found, common[1] / (between + within * inverse_size), np.nan)
        for which, matrix in ((3, saturated.within), (4, saturated.between)):
            raw = matrix * scale[:, None] * scale
            trace, total = np.trace(raw, axis1=1, axis2=2), raw.sum(axis=(1, 2))
            values[:, which] = np.where(saturated.found & (total > 0), p / (p - 1) * (1 - trace / total), np.nan)
    if proper_only:
        values[~proper[0], 0] = np.nan
        values[~(proper[0] & proper[1]), 1:3] = np.nan
        values[~positive_definite(saturated.between), 4] = np.nan
    return np.where(values < 1, values, np.nan)


def _two_level_reasons(
    saturated: Covariances, factors: _Factors, values: np.ndarray, n_clients: int, p: int, *, together: bool, separable: bool
) -> list[str]:
    """Return why coefficients have no estimate, empty where they have one."""
    _, errors_w, _, errors_b = (part[0] for part in factors.parts())
    reasons = [""] * len(TWO_LEVEL)
    if not factors.found[0]:
        reasons[0] = "the search for one factor within clients did not end: the items hardly share any differences between sessions"
    elif (errors_w <= 0).any():
        reasons[0] = f"improper solution within clients: {int((errors_w <= 0).sum())} of {p} items have a negative error variance"
    if n_clients < 2 * p:
        reasons[1] = f"needs at least {2 * p} clients (two for each item); has {n_clients}"
    elif not together:
        reasons[1] = "one factor between clients has no proper maximum of the likelihood: too few clients, or they hardly differ"
    elif (errors_b <= 0).any():
        reasons[1] = f"improper solution between clients: {int((errors_b <= 0).sum())} of {p} items have a negative error variance"
    else:
        reasons[1] = reasons[0]
    reasons[2] = reasons[1]
    if not separable:
        reasons[4] = "covariances between clients have no proper maximum of the likelihood: too few clients, or they hardly differ"
    elif not positive_definite(saturated.between)[0]:
        reasons[4] = "improper solution: the covariances between clients are not positive definite"
    unshared = ["" if np.isfinite(value) else "the items do not share positive variance" for value in values]
    return [reason or other for reason, other in zip(reasons, unshared, strict=True)]


def _two_level_result(
    values: np.ndarray,
    reasons: list[str],
    left_out: LeftOut,
    level: float,
    saturated: Covariances,
    factors: _Factors,
    scale: np.ndarray,
    log_likelihood: float,
    counts: tuple[int, int, int, int],
) -> TwoLevelReliability:
    coefficients = [
        no_coefficient(reason) if reason else left_out.coefficient(which, values[which], level) for which, reason in enumerate(reasons)
    ]
    raw = [matrix[0] * scale[:, None] * scale for matrix in (saturated.within, saturated.between)]
    loadings_w, errors_w, loadings_b, errors_b = (part[0] for part in factors.parts())
    if not (loadings_b.any() or errors_b.any()):
        loadings_b, errors_b = np.full((2, len(scale)), np.nan)
    sums = [matrix.sum() for matrix in raw]
    said = "; ".join(dict.fromkeys(one.reason for one in coefficients if one.reason))
    status = "not_estimable" if all(one.status == "not_estimable" for one in coefficients) else "flagged" if said else "estimated"
    icc = sums[1] / sum(sums) if sums[1] > 0 else np.nan
    return TwoLevelReliability(
        status,
        said,
        *coefficients,
        float(icc),
        loadings_w * scale,
        errors_w * scale**2,
        loadings_b * scale,
        errors_b * scale**2,
        *raw,
        log_likelihood,
        *counts,
        left_out.df,
        left_out.method,
    )


def _too_few(n: int, n_clients: int, p: int) -> str:
    if p < MIN_ITEMS:
        return f"needs at least {MIN_ITEMS} items; has {p}"
    if n_clients < MIN_CLIENTS:
        return f"needs at least {MIN_CLIENTS} clients; has {n_clients}"
    if n - n_clients < 2 * p:
        return f"needs at least {2 * p} sessions beyond the first of each client (two for each item); has {n - n_clients}"
    return ""


def _singular(within: np.ndarray) -> str:
    size = np.sqrt(np.diagonal(within))
    constant = int((size**2 < _DETERMINED).sum())
    if constant:
        return f"needs items whose answers differ between sessions of a client; {constant} of {len(size)} hardly do"
    if np.linalg.eigvalsh(within / np.outer(size, size))[0] < _DETERMINED:
        return "within clients, one of the items is determined by the others"
    return ""


def _no_two_level(reason: str, p: int, counts: tuple[int, int, int, int]) -> TwoLevelReliability:
    none, absent, matrix = no_coefficient(reason), np.full(p, np.nan), np.full((p, p), np.nan)
    return TwoLevelReliability(
        "not_estimable", reason, *[none] * 5, np.nan, absent, absent, absent, absent, matrix, matrix, np.nan, *counts, np.inf, "none"
    )


def _no_generalizability(reason: str, counts: tuple[int, int, int, int]) -> Generalizability:
    absent = {name: no_coefficient(reason) for name in GENERALIZABILITY}
    return Generalizability("not_estimable", reason, absent, {}, {}, *counts, np.nan, np.inf, "none")
