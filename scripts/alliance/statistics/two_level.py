"""Covariances of sessions within clients and of clients, by maximum likelihood, and functions of them.

The likelihood needs rows only once: cross-products of sessions within clients, and sums of clients' means by the number of sessions
(McDonald & Goldstein, 1989). Leaving out a therapist or client subtracts from these sums, and all such sets are fitted at once. Variables
that exist only between clients, or only within them, are predictors of the others with a covariance of their own: the joint likelihood is
theirs times that of the others given them, so that a saturated model of all is a regression of two levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.covariance import cluster_codes
from alliance.statistics.reliability_interval import leave_out

# Scoring nears the maximum slowly where clients hardly differ: some hundred steps.
MAX_STEPS = 1000
_TOLERANCE = 1e-10
_LEFT_OUT_TOLERANCE = 1e-7
_HALVINGS = 12
_DETERMINED = 1e-8
# Without such a limit the likelihood grows for ever where fewer clients than variables have the largest number of sessions.
_LEAST_SHARE = 0.05
_STEP = 1e-4


@dataclass(frozen=True)
class Sums:
    """What two-level likelihoods need, for a stack of data sets: sums of clients by their number of sessions.

    ``clients`` (b, s), ``means`` (b, s, m) and ``products`` (b, s, m, m) of clients' means for ``sizes`` (s,); ``within`` (b, m, m) and
    ``freedom`` (b,) of sessions around them. Where there are predictors, they stand before the other variables.
    """

    sizes: np.ndarray
    clients: np.ndarray
    means: np.ndarray
    products: np.ndarray
    within: np.ndarray
    freedom: np.ndarray

    def scatter(self, mean: np.ndarray) -> np.ndarray:
        """Return sizes times the products of clients' means around a mean (b, m), shape (b, s, m, m)."""
        cross = self.means[:, :, :, None] * mean[:, None, None, :]
        centred = self.products - cross - np.swapaxes(cross, 2, 3)
        centred = centred + self.clients[:, :, None, None] * (mean[:, :, None] * mean[:, None, :])[:, None]
        return self.sizes[:, None, None] * centred

    def around(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``within`` and :meth:`scatter` of what predictors leave of the other variables.

        ``coefficients`` (b, 1 + predictors, p) hold the intercepts in their first row.
        """
        if coefficients.shape[1] == 1:
            return self.within, self.scatter(coefficients[:, 0])
        minus = np.swapaxes(coefficients, 1, 2)
        left = np.concatenate([-minus, np.broadcast_to(np.eye(minus.shape[1]), (len(minus), *[minus.shape[1]] * 2))], axis=2)
        turned = np.swapaxes(left, 1, 2)
        scatter = self.sizes[:, None, None] * (left[:, None] @ self.augmented() @ turned[:, None])
        return left[:, :, 1:] @ self.within @ turned[:, 1:], scatter

    def augmented(self) -> np.ndarray:
        """Return sums of (1, mean)(1, mean)' of clients, shape (b, s, 1 + m, 1 + m)."""
        top = np.concatenate([self.clients[:, :, None], self.means], axis=2)
        return np.concatenate([top[:, :, None], np.concatenate([self.means[:, :, :, None], self.products], axis=3)], axis=2)

    def at(self, which: np.ndarray) -> Sums:
        """Return some data sets of the stack."""
        return replace(self, **{name: getattr(self, name)[which] for name in _STACKED})


_STACKED = ("clients", "means", "products", "within", "freedom")


@dataclass(frozen=True)
class ClientSums:
    """Means, number of sessions and cross-products around the mean of every client."""

    size: np.ndarray
    mean: np.ndarray
    within: np.ndarray

    def total(self) -> Sums:
        """Return the sums over all clients, a stack of one."""
        return self.of(np.zeros(len(self.size), dtype=int), 1)

    def without(self, units: np.ndarray, groups: int) -> Sums:
        """Return the sums without each unit of clients in turn."""
        parts, total = self.of(units, groups), self.total()
        return replace(total, **{name: getattr(total, name) - getattr(parts, name) for name in _STACKED})

    def of(self, units: np.ndarray, groups: int) -> Sums:
        """Return the sums of each unit of clients, codes 0.. in ``units``."""
        sizes, which = np.unique(self.size, return_inverse=True)
        cell, m = units * len(sizes) + which, self.mean.shape[1]

        def summed(values: np.ndarray, code: np.ndarray, count: int) -> np.ndarray:
            sums = np.zeros((count, *values.shape[1:]))
            np.add.at(sums, code, values)
            return sums

        cells = groups * len(sizes)
        return Sums(
            sizes.astype(float),
            np.bincount(cell, minlength=cells).astype(float).reshape(groups, -1),
            summed(self.mean, cell, cells).reshape(groups, -1, m),
            summed(self.mean[:, :, None] * self.mean[:, None, :], cell, cells).reshape(groups, -1, m, m),
            summed(self.within, units, groups),
            np.bincount(units, self.size - 1.0, minlength=groups),
        )


def client_sums(rows: np.ndarray, client: np.ndarray, count: int) -> ClientSums:
    """Return the sums of every client, codes 0.. in ``client``, each with at least one row."""
    size = np.bincount(client, minlength=count)
    mean = np.column_stack([np.bincount(client, column, minlength=count) for column in rows.T]) / size[:, None]
    around = rows - mean[client]
    order = np.argsort(client, kind="stable")
    starts = np.r_[0, np.cumsum(size)[:-1]]
    return ClientSums(size, mean, np.add.reduceat(around[order, :, None] * around[order, None, :], starts, axis=0))


@dataclass(frozen=True)
class Diagonal:
    """Both covariance matrices made diagonal by one transform T: T within T' = 1, T between T' = diag(``ratio``).

    ``transform`` and its ``inverse`` (b, p, p), ``ratio`` (b, p), ``log_within`` (b,) the log determinant within, ``proper`` (b,) whether
    the covariances within are positive definite, and no combination of variables varies much less between means than within clients.
    """

    transform: np.ndarray
    inverse: np.ndarray
    ratio: np.ndarray
    log_within: np.ndarray
    proper: np.ndarray

    @classmethod
    def of(cls, within: np.ndarray, between: np.ndarray, sizes: np.ndarray) -> Diagonal:
        """Return the transform of a stack of covariances."""
        values, vectors = np.linalg.eigh(within)
        proper = values[:, 0] > 1e-10
        root = np.sqrt(np.maximum(values, 1e-10))
        half = np.swapaxes(vectors, 1, 2) / root[:, :, None]
        ratio, turn = np.linalg.eigh(half @ between @ np.swapaxes(half, 1, 2))
        largest = sizes.max() if len(sizes) else 0.0
        proper = proper & (1 + largest * ratio[:, 0] > _LEAST_SHARE)
        inverse = (vectors * root[:, None, :]) @ turn
        return cls(np.swapaxes(turn, 1, 2) @ half, inverse, ratio, 2 * np.log(root).sum(axis=1), proper)

    def factors(self, sizes: np.ndarray) -> np.ndarray:
        """Variances 1 + size ratio of transformed means times sizes, shape (b, s, p)."""
        return np.maximum(1 + sizes[:, None] * self.ratio[:, None, :], 1e-10)

    def mean(self, sums: Sums) -> np.ndarray:
        """The most likely mean without predictors, shape (b, p)."""
        weights = sums.sizes[:, None] / self.factors(sums.sizes)
        numerator = (weights * np.einsum("bij,bsj->bsi", self.transform, sums.means)).sum(axis=1)
        return np.einsum("bij,bj->bi", self.inverse, numerator / (weights * sums.clients[:, :, None]).sum(axis=1))

    def coefficients(self, sums: Sums) -> np.ndarray:
        """The most likely intercepts and slopes on the predictors, shape (b, 1 + predictors, p)."""
        p = self.ratio.shape[1]
        predictors = sums.within.shape[1] - p
        if not predictors:
            return self.mean(sums)[:, None]
        weights = sums.sizes[:, None] / self.factors(sums.sizes)
        products, first = sums.augmented(), 1 + predictors
        left = np.einsum("bsi,bsuv->biuv", weights, products[:, :, :first, :first])
        left[:, :, 1:, 1:] += sums.within[:, None, :predictors, :predictors]
        right = np.einsum("bsi,bij,bsuj->biu", weights, self.transform, products[:, :, :first, first:])
        right[:, :, 1:] += np.einsum("bij,buj->biu", self.transform, sums.within[:, :predictors, predictors:])
        turned = np.linalg.solve(left, right[..., None])[..., 0]
        return np.einsum("bij,bju->bui", self.inverse, turned)

    def turned(self, matrices: np.ndarray) -> np.ndarray:
        """T matrix T' of matrices (b, p, p) or (b, s, p, p)."""
        t = self.transform if matrices.ndim == 3 else self.transform[:, None]
        return t @ matrices @ np.swapaxes(t, -1, -2)

    def deviance(self, sums: Sums, scatter: np.ndarray, within: np.ndarray | None = None) -> np.ndarray:
        """Minus twice the log-likelihood without its constant, shape (b,); infinite where improper.

        ``within`` are the cross-products within clients where predictors leave less than ``sums.within``.
        """
        factors = self.factors(sums.sizes)
        diagonal = ((self.transform[:, None] @ scatter) * self.transform[:, None]).sum(axis=3)
        around_means = (sums.clients * np.log(factors).sum(axis=2)).sum(axis=1) + (diagonal / factors).sum(axis=(1, 2))
        around_clients = ((self.transform @ (sums.within if within is None else within)) * self.transform).sum(axis=(1, 2))
        value = (sums.freedom + sums.clients.sum(axis=1)) * self.log_within + around_means + around_clients
        return np.where(self.proper, value, np.inf)


@dataclass(frozen=True)
class Covariances:
    """Saturated covariances within and between (b, p, p), and where they were found (b,)."""

    within: np.ndarray
    between: np.ndarray
    found: np.ndarray


def saturated_covariances(sums: Sums, start: Covariances | None, tolerance: float, predictors: int = 0) -> Covariances:
    """Return maximum likelihood covariances by Fisher scoring, which in transformed variables is a 2 x 2 system for each element.

    Parameters
    ----------
    sums : Sums
        Of variables with a standard deviation near 1.
    start : Covariances, optional
        A stack of one to start from.
    tolerance : float
        Largest step at which the search ends.
    predictors : int
        How many of the first variables are held constant: the covariances are those that they leave of the others.
    """
    stack, p = len(sums.within), sums.within.shape[1] - predictors
    if start is None:
        alike = Diagonal.of(np.repeat(np.eye(p)[None], stack, axis=0), np.zeros((stack, p, p)), sums.sizes)
        around_clients, scatter = sums.around(alike.coefficients(sums))
        within = around_clients / sums.freedom[:, None, None]
        count = sums.clients.sum(axis=1)[:, None, None]
        of_means = (scatter / sums.sizes[:, None, None]).sum(axis=1) / count
        between = raised(of_means - within * (sums.clients / sums.sizes).sum(axis=1)[:, None, None] / count)
    else:
        within, between = (np.repeat(matrix, stack, axis=0) for matrix in (start.within, start.between))
    found, active = np.zeros(stack, dtype=bool), np.arange(stack)
    for _ in range(MAX_STEPS):
        part, w, b = sums.at(active), within[active], between[active]
        diagonal = Diagonal.of(w, b, sums.sizes)
        around_clients, scatter = part.around(diagonal.coefficients(part))
        before = diagonal.deviance(part, scatter, around_clients)
        v = diagonal.factors(sums.sizes)
        each = 1 / (v[:, :, :, None] * v[:, :, None, :])
        left = diagonal.turned(scatter) - part.clients[:, :, None, None] * (v[:, :, :, None] * np.eye(p))
        weight, size = part.clients[:, :, None, None] * each, sums.sizes[:, None, None]
        score_within = diagonal.turned(around_clients) - part.freedom[:, None, None] * np.eye(p) + (left * each).sum(axis=1)
        score_between = (size * left * each).sum(axis=1)
        h_ww, h_wb = part.freedom[:, None, None] + weight.sum(axis=1), (size * weight).sum(axis=1)
        h_bb = (size**2 * weight).sum(axis=1)
        determinant = h_ww * h_bb - h_wb**2
        step_w = (h_bb * score_within - h_wb * score_between) / determinant
        step_b = (h_ww * score_between - h_wb * score_within) / determinant
        back = [diagonal.inverse @ step @ np.swapaxes(diagonal.inverse, 1, 2) for step in (step_w, step_b)]

        def worth(length: np.ndarray, which: np.ndarray, w=w, b=b, back=back, part=part) -> np.ndarray:
            at = length[:, None, None]
            tried = Diagonal.of(w[which] + at * back[0][which], b[which] + at * back[1][which], sums.sizes)
            some = part.at(which)
            around, between_means = some.around(tried.coefficients(some))
            return tried.deviance(some, between_means, around)

        length = step_lengths(worth, before)
        within[active], between[active] = w + length[:, None, None] * back[0], b + length[:, None, None] * back[1]
        moved = np.maximum(np.abs(back[0]).max(axis=(1, 2)), np.abs(back[1]).max(axis=(1, 2)))
        found[active[(moved < tolerance) & (length > 0)]] = True
        active = active[(moved >= tolerance) & (length > 0)]
        if not len(active):
            break
    return Covariances(within, between, found)


def pooled_within(sums: Sums, predictors: int = 0) -> Covariances:
    """Return the covariances of sessions around clients' means, without those between clients (NaN)."""
    stack, p = len(sums.within), sums.within.shape[1] - predictors
    before, others = slice(None, predictors), slice(predictors, None)
    cross = sums.within[:, before, others]
    explained = np.swapaxes(cross, 1, 2) @ np.linalg.pinv(sums.within[:, before, before], hermitian=True) @ cross if predictors else 0.0
    within = (sums.within[:, others, others] - explained) / sums.freedom[:, None, None]
    return Covariances(within, np.full((stack, p, p), np.nan), np.ones(stack, dtype=bool))


def step_lengths(worth: Callable[[np.ndarray, np.ndarray], np.ndarray], before: np.ndarray) -> np.ndarray:
    """Return how far to go: 1, or halved until the deviance does not rise; 0 where it always does.

    ``worth`` takes lengths and the positions in the stack that they belong to, and returns the deviance there.
    """
    length, open_ = np.ones(len(before)), np.arange(len(before))
    for _ in range(_HALVINGS):
        rises = ~(worth(length[open_], open_) <= before[open_] + 1e-9 * (1 + np.abs(before[open_])))
        open_ = open_[rises]
        if not len(open_):
            return length
        length[open_] /= 2
    length[open_] = 0.0
    return length


def positive_definite(covariances: np.ndarray) -> np.ndarray:
    """Return which matrices of a stack are known and positive definite."""
    known = np.isfinite(covariances).all(axis=(1, 2))
    return known & (np.linalg.eigvalsh(np.where(known[:, None, None], covariances, 0.0))[:, 0] > 0)


def raised(covariance: np.ndarray) -> np.ndarray:
    """Return matrices whose eigenvalues are at least a hundredth of the largest, to start a search from."""
    values, vectors = np.linalg.eigh(covariance)
    lifted = np.maximum(values, 0.01 * np.maximum(values[:, -1:], 1e-4))
    return (vectors * lifted[:, None, :]) @ np.swapaxes(vectors, 1, 2)


def sorted_codes(labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Return codes in the order of the labels, so that the order of rows does not matter, and their number."""
    codes, count = cluster_codes(labels)
    names = labels[np.unique(codes, return_index=True)[1]]
    rank = np.empty(count, dtype=int)
    rank[np.argsort(names, kind="stable")] = np.arange(count)
    return rank[codes], count


def of_clients(therapists: np.ndarray, client: np.ndarray, n_clients: int) -> np.ndarray:
    """Return the code of the therapist of each client, given those of rows; ``ValueError`` where a client has several."""
    codes, _ = cluster_codes(therapists)
    of_client = np.zeros(n_clients, dtype=int)
    of_client[client] = codes
    if (of_client[client] != codes).any():
        raise ValueError("every client needs one therapist")
    return of_client


@dataclass(frozen=True)
class Derived:
    """Functions of two-level covariances with their errors. NaN where a function, or its error, does not exist.

    Attributes
    ----------
    estimates : ndarray, shape (m,)
    vcov : ndarray, shape (m, m)
    df : float
        For t intervals; infinite for ``observed_information``.
    method : str
        ``cluster_jackknife``, ``client_jackknife``, ``cluster_robust``, ``observed_information`` or ``none``.
    caution : str
        Why therapists were not left out, where they were not.
    """

    estimates: np.ndarray
    vcov: np.ndarray
    df: float
    method: str
    caution: str = ""


@dataclass(frozen=True)
class TwoLevel:
    """Saturated model of two levels. Where ``status`` is ``not_estimable``, ``reason`` says what is needed; arrays are then NaN.

    Attributes
    ----------
    status, reason : str
        ``estimated``, ``flagged`` (nothing can be said between clients; ``reason`` says why) or ``not_estimable``.
    within : ndarray, shape (p, p)
        Covariances within clients of the variables of sessions, given those that are held constant; where ``flagged``, of the sessions
        around clients' means alone.
    between : ndarray, shape (q + p, q + p)
        Covariances between clients of the variables of clients, then of those of sessions (their true means); NaN where they have no
        maximum, or are not positive definite there.
    coefficients : ndarray, shape (1 + q + r, p)
        Intercepts, slopes on the variables of clients, slopes on those held constant; NaN where ``flagged``.
    log_likelihood : float
        Of the variables of clients and sessions (``client_values`` included, ``held`` given); NaN where there is no maximum.
    n_sessions, n_clients, n_clusters, n_incomplete : int
        Sessions with all variables, their clients and therapists (0 where not known), and sessions left out because a variable is missing.
    """

    status: str
    reason: str
    within: np.ndarray
    between: np.ndarray
    coefficients: np.ndarray
    log_likelihood: float
    n_sessions: int
    n_clients: int
    n_clusters: int
    n_incomplete: int
    _problem: _Problem | None = None

    def derived(self, function: Function, errors: str = "left_out") -> Derived:
        """Return functions of the model with their errors.

        Parameters
        ----------
        function : callable
            Takes stacks ``within`` (b, p, p), ``between`` (b, q + p, q + p) and ``coefficients`` (b, 1 + q + r, p), and returns (b, m).
        errors : str
            ``left_out``: each therapist in turn (fewer than ``min_clusters``: clients, see
            :func:`alliance.statistics.reliability_interval.leave_out`), and the sandwich where one of them leaves no estimate;
            ``cluster_robust``: the sandwich over therapists (over clients where they are not known), times G / (G - 1);
            ``observed_information``.
        """
        if self._problem is None:
            raise ValueError(f"the model was not estimated: {self.reason}")
        return self._problem.derived(function, errors)


Function = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def two_level(
    sessions: ArrayLike,
    clients: ArrayLike,
    therapists: ArrayLike | None = None,
    *,
    client_values: ArrayLike | None = None,
    held: ArrayLike | None = None,
    min_clusters: int = MIN_CLUSTERS,
) -> TwoLevel:
    """Return the saturated covariances within and between clients, as lavaan's ``sem(cluster = )`` does, of unbalanced data.

    A variable of sessions varies within and between clients. A variable of clients (X of 2-1-1 mediation) exists between clients only. A
    variable that is held constant (the number of the session) exists within clients only: others are regressed on it.
    Sessions that lack a variable are left out.

    Parameters
    ----------
    sessions : array_like, shape (n, p)
        One row a session of a client; NaN where missing.
    clients : array_like, shape (n,)
        Client of each row.
    therapists : array_like, shape (n,), optional
        Therapist of each row; one a client.
    client_values : array_like, shape (n, q), optional
        Variables of clients, the same in all rows of a client.
    held : array_like, shape (n, r), optional
        Variables of sessions that are held constant.
    min_clusters : int
        Fewer therapists: clients are taken as independent.

    Raises
    ------
    ValueError
        Shapes that do not fit, a row without a client or therapist, a client with several therapists or values of a client's variable.
    """
    values, of_client, of_held = (_columns(part, len(np.asarray(clients))) for part in (sessions, client_values, held))
    every = np.column_stack([of_client, of_held, values])
    complete = np.isfinite(every).all(axis=1)
    rows, q, r, p = every[complete], of_client.shape[1], of_held.shape[1], values.shape[1]
    client, n_clients = sorted_codes(np.asarray(clients)[complete])
    therapist = None if therapists is None else of_clients(np.asarray(therapists)[complete], client, n_clients)
    counts = (len(rows), n_clients, 0 if therapist is None or not len(rows) else int(therapist.max()) + 1, int((~complete).sum()))
    fault = _too_few(len(rows), n_clients, q, r, p)
    if not fault:
        constant = int((rows.std(axis=0) <= _DETERMINED * (1 + np.abs(rows).max(axis=0))).sum())
        fault = f"needs variables that differ; {constant} of {q + r + p} are constant" if constant else ""
    if fault:
        return _none(fault, q, r, p, counts)
    shift, scale = rows.mean(axis=0), rows.std(axis=0)
    sums = client_sums((rows - shift) / scale, client, n_clients)
    if q and np.abs(sums.within[:, :q, :q]).max() > 1e-12 * len(rows):
        raise ValueError("a variable of clients differs between sessions of a client")
    total = sums.total()
    if q and np.linalg.eigvalsh(_client_moments(total, q)[0][0])[0] < _DETERMINED:
        return _none("the variables of clients do not differ, or one of them is determined by the others", q, r, p, counts)
    alone = pooled_within(total, q + r)
    fault = _determined(alone.within[0], total.within[0], q, r)
    if fault:
        return _none(fault, q, r, p, counts)
    found = saturated_covariances(total, None, _TOLERANCE, q + r)
    reason = ""
    if not found.found[0]:
        reason = "covariances between clients have no proper maximum of the likelihood: too few clients, or they hardly differ"
    elif not positive_definite(found.between)[0]:
        reason = "the covariances between clients are not positive definite: clients hardly differ in one or more of the variables"
    problem = _Problem(sums, alone if reason else found, shift, scale, q, r, therapist, min_clusters)
    within, between, coefficients = (part[0] for part in problem.parts(problem.parameters[None]))
    log_likelihood = np.nan if reason else problem.log_likelihood()
    status = "flagged" if reason else "estimated"
    return TwoLevel(status, reason, within, between, coefficients, log_likelihood, *counts, problem)


def _columns(part: ArrayLike | None, n: int) -> np.ndarray:
    values = np.empty((n, 0)) if part is None else np.asarray(part, dtype=float)
    if values.ndim != 2 or len(values) != n:
        raise ValueError("sessions, client_values and held need one row for every session, and every session a client")
    return values


def _too_few(n: int, n_clients: int, q: int, r: int, p: int) -> str:
    if n_clients < 2 * (p + q) + 2:
        return f"needs at least {2 * (p + q) + 2} clients; has {n_clients}"
    if n - n_clients < 2 * (p + r):
        return f"needs at least {2 * (p + r)} sessions beyond the first of each client; has {n - n_clients}"
    return ""


def _determined(left: np.ndarray, within: np.ndarray, q: int, r: int) -> str:
    """Return why the covariances within clients are singular; ``left``: given what is held constant."""
    size = np.sqrt(np.maximum(np.diagonal(left), 0))
    if r and np.linalg.eigvalsh(within[q : q + r, q : q + r])[0] < _DETERMINED:
        return "needs variables held constant that differ between sessions of a client"
    if (size**2 < _DETERMINED).any():
        return f"needs variables that differ between sessions of a client; {int((size**2 < _DETERMINED).sum())} of {len(size)} hardly do"
    if np.linalg.eigvalsh(left / np.outer(size, size))[0] < _DETERMINED:
        return "within clients, one of the variables is determined by the others"
    return ""


def _none(reason: str, q: int, r: int, p: int, counts: tuple[int, int, int, int]) -> TwoLevel:
    arrays = (np.full((p, p), np.nan), np.full((q + p, q + p), np.nan), np.full((1 + q + r, p), np.nan))
    return TwoLevel("not_estimable", reason, *arrays, np.nan, *counts)


@dataclass(frozen=True)
class _Problem:
    """A fitted model on standardised variables: clients' variables, held ones, those of sessions.

    Parameters are the covariances within and between of the last given all others, the coefficients, and the covariances of the first.
    """

    sums: ClientSums
    fitted: Covariances
    shift: np.ndarray
    scale: np.ndarray
    q: int
    r: int
    therapist: np.ndarray | None
    min_clusters: int

    @property
    def p(self) -> int:
        return len(self.scale) - self.q - self.r

    @property
    def parameters(self) -> np.ndarray:
        return self._packed(self.sums.total(), self.fitted)[0]

    def _packed(self, sums: Sums, fitted: Covariances) -> np.ndarray:
        """Return the parameters of a stack of fitted sets, shape (b, count)."""
        rows, columns = np.triu_indices(self.p)
        b = len(fitted.within)
        known = np.isfinite(fitted.between).all(axis=(1, 2))
        between = np.where(known[:, None, None], fitted.between, 0.0)
        coefficients = Diagonal.of(fitted.within, between, sums.sizes).coefficients(sums)
        of_clients_own = _client_moments(sums, self.q)[0][(slice(None), *np.triu_indices(self.q))]
        parts = [fitted.within[:, rows, columns], between[:, rows, columns], coefficients.reshape(b, -1)]
        parts = [parts[0], *(np.where(known[:, None], part, np.nan) for part in parts[1:]), of_clients_own]
        return np.where(fitted.found[:, None], np.concatenate(parts, axis=1), np.nan)

    def _unpacked(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        p, q, count = self.p, self.q, self.p * (self.p + 1) // 2
        first = 1 + q + self.r
        within, between, slopes, own = np.split(parameters, np.cumsum([count, count, first * p]), axis=1)
        return _symmetric(within, p), _symmetric(between, p), slopes.reshape(-1, first, p), _symmetric(own, q)

    def parts(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ``within``, ``between`` and ``coefficients`` of :class:`TwoLevel`, on the scale of the data."""
        q = self.q
        within, rest, coefficients, own = self._unpacked(parameters)
        slopes = coefficients[:, 1 : 1 + q]
        cross = own @ slopes
        below = np.concatenate([np.swapaxes(cross, 1, 2), rest + np.swapaxes(slopes, 1, 2) @ cross], axis=2)
        between = np.concatenate([np.concatenate([own, cross], axis=2), below], axis=1)
        first, last = np.split(self.scale, [q + self.r])
        shift_first, shift_last = np.split(self.shift, [q + self.r])
        both = np.r_[self.scale[:q], last]
        slopes = coefficients[:, 1:] * last / first[:, None]
        intercepts = shift_last + coefficients[:, 0] * last - np.einsum("u,bui->bi", shift_first, slopes)
        coefficients = np.concatenate([intercepts[:, None], slopes], axis=1)
        return within * np.outer(last, last), between * np.outer(both, both), coefficients

    def log_likelihood(self) -> float:
        """Return the log-likelihood of the data, held variables given."""
        total, q, p = self.sums.total(), self.q, self.p
        diagonal = Diagonal.of(self.fitted.within, self.fitted.between, total.sizes)
        around, scatter = total.around(diagonal.coefficients(total))
        n, clients = float(self.sums.size.sum()), float(len(self.sums.size))
        deviance = float(diagonal.deviance(total, scatter, around)[0]) + n * p * np.log(2 * np.pi)
        deviance += 2 * n * np.log(self.scale[q + self.r :]).sum()
        own = _client_moments(total, q)[0][0]
        deviance += clients * (q * (np.log(2 * np.pi) + 1) + np.linalg.slogdet(own)[1] + 2 * np.log(self.scale[:q]).sum())
        return -deviance / 2

    def scores(self, parameters: np.ndarray, sums: Sums) -> np.ndarray:
        """Return gradients of the log-likelihood, shape (b, count), for stacks of parameters or of sums, or both."""
        q, p, predictors = self.q, self.p, self.q + self.r
        within, between, coefficients, own = self._unpacked(parameters)
        stack = max(len(parameters), len(sums.within))
        if len(coefficients) < len(sums.within):
            coefficients = np.repeat(coefficients, len(sums.within), axis=0)
        around, scatter = sums.around(coefficients)
        inverse_w = np.linalg.inv(within)
        inverse = np.linalg.inv(within[:, None] + sums.sizes[:, None, None] * between[:, None])
        slope_w = sums.freedom[:, None, None] * inverse_w - inverse_w @ around @ inverse_w
        slope = sums.clients[:, :, None, None] * inverse - inverse @ scatter @ inverse
        by_within = slope_w + slope.sum(axis=1)
        by_between = (sums.sizes[:, None, None] * slope).sum(axis=1)
        products, first = sums.augmented(), 1 + predictors
        cross = products[:, :, :first, first:] - products[:, :, :first, :first] @ coefficients[:, None]
        by_slopes = (sums.sizes[:, None, None] * (cross @ inverse)).sum(axis=1)
        inside = sums.within[:, :predictors, predictors:] - sums.within[:, :predictors, :predictors] @ coefficients[:, 1:]
        by_slopes = by_slopes + np.concatenate([np.zeros((len(by_slopes), 1, p)), inside @ inverse_w], axis=1)
        moments, clients = _client_moments(sums, q, _client_moments(self.sums.total(), q)[2])[:2]
        inverse_own = np.linalg.inv(own)
        by_own = clients[:, None, None] * (inverse_own - inverse_own @ moments @ inverse_own)
        parts = [_doubled(by_within), _doubled(by_between), -2 * by_slopes.reshape(len(by_slopes), -1), _doubled(by_own)]
        return -np.concatenate([np.broadcast_to(part, (stack, part.shape[1])) for part in parts], axis=1) / 2

    def information(self) -> np.ndarray:
        """Return the observed information: central differences of the gradient."""
        at, total = self.parameters, self.sums.total()
        steps = _STEP * np.eye(len(at))
        plus, minus = (self.scores(at + sign * steps, total) for sign in (1, -1))
        hessian = (plus - minus) / (2 * _STEP)
        return -(hessian + hessian.T) / 2

    def derived(self, function: Function, errors: str) -> Derived:
        at = self.parameters
        estimates = self._values(function, at[None])[0]
        if errors == "left_out":
            values = np.empty((0, len(estimates)))

            def without(units: np.ndarray, groups: int) -> np.ndarray:
                nonlocal values
                values = self._values(function, self._left_out(units, groups))
                return np.zeros((groups, 1))

            # Only the units are taken from it: errors of reliabilities are those of another scale, and have no covariances.
            left_out = leave_out(without, self.therapist, len(self.sums.size), self.min_clusters)
            vcov = _jackknife(values)
            if np.isfinite(np.diagonal(vcov))[np.isfinite(estimates)].all() or not np.isfinite(at).all():
                return Derived(estimates, vcov, left_out.df, left_out.method, left_out.caution)
        unknown = np.full((len(estimates), len(estimates)), np.nan)
        information = self.information() if np.isfinite(at).all() else np.zeros((1, 1))
        if not np.linalg.eigvalsh(information)[0] > 0:
            return Derived(estimates, unknown, np.inf, "none")
        inverse = np.linalg.inv(information)
        steps = _STEP * np.eye(len(at))
        plus, minus = (self._values(function, at + sign * steps) for sign in (1, -1))
        jacobian = ((plus - minus) / (2 * _STEP)).T
        if errors == "observed_information":
            return Derived(estimates, jacobian @ inverse @ jacobian.T, np.inf, "observed_information")
        several = self.therapist is not None and int(self.therapist.max()) + 1 >= self.min_clusters
        units = self.therapist if several else np.arange(len(self.sums.size))
        groups = int(units.max()) + 1
        scores = self.scores(at[None], self.sums.of(units, groups))
        meat = groups / (groups - 1) * scores.T @ scores
        cautions = []
        if errors == "left_out":
            cautions.append(f"leaving out one of the {'therapists' if several else 'clients'} leaves no estimate: sandwich standard error")
        if not several and self.therapist is not None:
            cautions.append(f"fewer than {self.min_clusters} therapists: clients taken as independent")
        vcov = jacobian @ inverse @ meat @ inverse @ jacobian.T
        return Derived(estimates, vcov, groups - 1.0, "cluster_robust", "; ".join(cautions))

    def _values(self, function: Function, parameters: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            values = function(*self.parts(parameters))
        return np.where(np.isfinite(values), values, np.nan)

    def _left_out(self, units: np.ndarray, groups: int) -> np.ndarray:
        stack, predictors = self.sums.without(units, groups), self.q + self.r
        if np.isfinite(self.fitted.between).all():
            fitted = saturated_covariances(stack, self.fitted, _LEFT_OUT_TOLERANCE, predictors)
        else:
            fitted = pooled_within(stack, predictors)
        return self._packed(stack, fitted)


def _client_moments(sums: Sums, q: int, mean: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return covariances (divisor n) of clients' variables around their mean or a given one, numbers of clients, and the mean."""
    count = sums.clients.sum(axis=1)
    total = sums.means[:, :, :q].sum(axis=1)
    products = sums.products[:, :, :q, :q].sum(axis=1) / count[:, None, None]
    own = total / count[:, None]
    mean = own if mean is None else mean
    cross = own[:, :, None] * mean[:, None, :]
    return products - cross - np.swapaxes(cross, 1, 2) + mean[:, :, None] * mean[:, None, :], count, mean


def _symmetric(values: np.ndarray, p: int) -> np.ndarray:
    matrices = np.empty((len(values), p, p))
    rows, columns = np.triu_indices(p)
    matrices[:, rows, columns] = matrices[:, columns, rows] = values
    return matrices


def _doubled(matrices: np.ndarray) -> np.ndarray:
    """Return the upper triangle of derivatives by a symmetric matrix, whose other elements stand twice in it."""
    rows, columns = np.triu_indices(matrices.shape[-1])
    return matrices[:, rows, columns] * np.where(rows == columns, 1.0, 2.0)


def _jackknife(values: np.ndarray) -> np.ndarray:
    around = values - values.mean(axis=0)
    return (len(values) - 1) / len(values) * around.T @ around
