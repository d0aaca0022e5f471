"""Mediation within and between clients: 1-1-1 (all in sessions) and 2-1-1 (the first variable is one of clients).

Paths are regressions on the covariances within clients, and on those between clients of their true means, which leaves neither part in the
other (Preacher, Zyphur & Zhang, 2010). Slopes within clients are taken as equal over clients; where they vary together, the mean of the
clients' indirect effects also holds their covariance (Kenny, Korchmaros & Bolger, 2003).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.distributions import critical_value
from alliance.statistics.two_level import Derived, TwoLevel, two_level

KINDS = ("1-1-1", "2-1-1")
WITHIN, BETWEEN = "within", "between"
DELTA, MONTE_CARLO = "delta", "monte_carlo"
PATHS = ("a", "b", "direct", "total")
# A variance between clients of fewer standard errors is too little to divide by.
_LEAST_ERRORS = 2.0


@dataclass(frozen=True)
class MediationEffect:
    """One path or effect at one level. Where there is no number, ``reason`` says why, else what to keep in mind.

    Attributes
    ----------
    level : str
        ``within`` or ``between``.
    effect : str
        ``a`` (first variable to mediator), ``b`` (mediator to outcome given the first), ``direct``, ``indirect`` (a b), ``total``.
    standardised : bool
        In standard deviations of the level.
    interval : str
        ``delta``, or ``monte_carlo`` (indirect effects only).
    estimate, std_error, ci_low, ci_high : float
    status, reason : str
        ``estimated``, ``flagged`` or ``not_estimable``, and why.
    """

    level: str
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
class MultilevelMediation:
    """Effects of one chain and what they rest on.

    Attributes
    ----------
    effects : tuple of MediationEffect
        In a fixed order, also those that are not estimable.
    model : TwoLevel
        The covariances within and between clients, and the numbers of sessions, clients and therapists.
    method : str
        Of the errors, as in :class:`alliance.statistics.two_level.Derived`.
    df : float
        Of the intervals.
    """

    effects: tuple[MediationEffect, ...]
    model: TwoLevel
    method: str
    df: float

    def of(self, level: str, effect: str, standardised: bool = False, interval: str = DELTA) -> MediationEffect:
        """Return one effect; ``KeyError`` where the kind of chain has none."""
        for one in self.effects:
            if (one.level, one.effect, one.standardised, one.interval) == (level, effect, standardised, interval):
                return one
        raise KeyError((level, effect, standardised, interval))


def multilevel_mediation(
    chain: ArrayLike,
    clients: ArrayLike,
    therapists: ArrayLike | None = None,
    *,
    kind: str = "1-1-1",
    held: ArrayLike | None = None,
    given: ArrayLike | None = None,
    random: np.random.Generator,
    draws: int = 2000,
    level: float = 0.95,
    errors: str = "left_out",
    min_clusters: int = MIN_CLUSTERS,
    names: Sequence[str] = ("the first variable", "the mediator", "the outcome"),
) -> MultilevelMediation:
    """Return the paths and the indirect effect of a chain within and between clients.

    With covariances S of a level, ``a = S_xm / S_xx``, ``b`` and ``direct`` are the regression of y on m and x, ``total = S_xy / S_xx``.
    In a 2-1-1 chain x has no part within clients: there, only ``b = S_my / S_mm`` remains.
    Intervals of ``delta`` are those of t with the degrees of freedom of the errors. Those of ``monte_carlo`` are percentiles of products of
    ``draws`` pairs from a bivariate t with the same degrees of freedom, whose standard error is that of a product of two normal
    variables (MacKinnon, Lockwood & Williams, 2004; Goodman, 1960).

    Parameters
    ----------
    chain : array_like, shape (n, 3)
        First variable, mediator and outcome, one row a session of a client; NaN where missing. In a 2-1-1 chain the first is the same in
        all rows of a client.
    clients, therapists : array_like, shape (n,)
        Client and therapist of each row.
    kind : str
        ``1-1-1`` or ``2-1-1``.
    held : array_like, shape (n, r), optional
        Variables of sessions held constant within clients, as in :func:`alliance.statistics.two_level.two_level`.
    given : array_like, shape (n, g), optional
        Variables of clients held constant between clients: paths and standard deviations there are those of what they leave.
    random : numpy.random.Generator
        Of the Monte Carlo draws.
    draws, level, errors, min_clusters
        Number of draws, confidence level, and whose errors (see :meth:`alliance.statistics.two_level.TwoLevel.derived`).
    names : sequence of str
        What messages call the three variables.

    Raises
    ------
    ValueError
        Another kind of chain, or data that do not fit (see :func:`alliance.statistics.two_level.two_level`).
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; known: {', '.join(KINDS)}")
    values = np.asarray(chain, dtype=float)
    if values.ndim != 2 or values.shape[1] != 3:
        raise ValueError("a chain has three variables")
    above = kind == "2-1-1"
    constant = np.empty((len(values), 0)) if given is None else np.asarray(given, dtype=float)
    of_client = np.column_stack([constant, values[:, :1]]) if above else constant
    sessions = values[:, 1:] if above else values
    model = two_level(sessions, clients, therapists, client_values=of_client, held=held, min_clusters=min_clusters)
    wanted = [(WITHIN, name) for name in (("b",) if above else PATHS)] + [(BETWEEN, name) for name in PATHS]
    if model.status == "not_estimable":
        return MultilevelMediation(tuple(_absent(wanted, dict.fromkeys((WITHIN, BETWEEN), model.reason))), model, "none", np.inf)

    def paths(within: np.ndarray, between: np.ndarray, _: np.ndarray) -> np.ndarray:
        inside = [_slope(within, 0, 1)] if above else _paths(within)
        inside_standard = [inside[0] * _ratio(within, 0, 1)] if above else _standardised(within, inside)
        left = _left(between, constant.shape[1])
        outside = _paths(left)
        return np.column_stack([*inside, *outside, *inside_standard, *_standardised(left, outside), np.diagonal(left, axis1=1, axis2=2)])

    found = model.derived(paths, errors)
    reasons = {WITHIN: "", BETWEEN: model.reason}
    cautions = {WITHIN: found.caution, BETWEEN: "; ".join(part for part in (found.caution, _vague(found, names)) if part)}
    effects = []
    for standardised in (False, True):
        offset = len(wanted) if standardised else 0
        at = {pair: offset + position for position, pair in enumerate(wanted)}
        for name, where in (((one, name), place) for (one, name), place in at.items()):
            effects.append(_path(*name, standardised, where, found, reasons, cautions, level))
        for one in (WITHIN, BETWEEN):
            if (one, "a") in at:
                pair = [at[one, "a"], at[one, "b"]]
                effects += _indirect(one, standardised, pair, found, reasons, cautions, level, draws, random)
    return MultilevelMediation(tuple(effects), model, found.method, found.df)


def _left(covariance: np.ndarray, first: int) -> np.ndarray:
    """Return the covariances of the last variables that the first ones leave."""
    if not first:
        return covariance
    cross = covariance[:, :first, first:]
    return covariance[:, first:, first:] - np.swapaxes(cross, 1, 2) @ np.linalg.solve(covariance[:, :first, :first], cross)


def _slope(covariance: np.ndarray, x: int, y: int) -> np.ndarray:
    return covariance[:, x, y] / covariance[:, x, x]


def _ratio(covariance: np.ndarray, x: int, y: int) -> np.ndarray:
    """Return the standard deviation of x over that of y; NaN where there is none."""
    return np.sqrt(covariance[:, x, x]) / np.sqrt(covariance[:, y, y])


def _paths(covariance: np.ndarray) -> list[np.ndarray]:
    """Return a, b, direct and total of covariances of x, m, y, shape (b, 3, 3)."""
    xx, xm, xy = (covariance[:, 0, column] for column in range(3))
    mm, my = covariance[:, 1, 1], covariance[:, 1, 2]
    determinant = xx * mm - xm**2
    return [xm / xx, (xx * my - xm * xy) / determinant, (mm * xy - xm * my) / determinant, xy / xx]


def _standardised(covariance: np.ndarray, paths: list[np.ndarray]) -> list[np.ndarray]:
    ends = ((0, 1), (1, 2), (0, 2), (0, 2))
    return [one * _ratio(covariance, *pair) for one, pair in zip(paths, ends, strict=True)]


def _vague(found: Derived, names: Sequence[str]) -> str:
    """Return which variables hardly differ between clients."""
    variances, errors = found.estimates[-3:], np.sqrt(np.diagonal(found.vcov)[-3:])
    little = [name for name, variance, error in zip(names, variances, errors, strict=True) if variance < _LEAST_ERRORS * error]
    return f"clients hardly differ in {', '.join(little)}: a variance between them of less than two standard errors" if little else ""


def _path(
    level_of: str,
    effect: str,
    standardised: bool,
    where: int,
    found: Derived,
    reasons: dict[str, str],
    cautions: dict[str, str],
    level: float,
) -> MediationEffect:
    error = float(np.sqrt(found.vcov[where, where]))
    margin = float(critical_value(level, found.df)) * error
    estimate = float(found.estimates[where])
    numbers = (estimate, error, estimate - margin, estimate + margin)
    return _effect((level_of, effect, standardised, DELTA), numbers, reasons[level_of], cautions[level_of])


def _indirect(
    level_of: str,
    standardised: bool,
    pair: list[int],
    found: Derived,
    reasons: dict[str, str],
    cautions: dict[str, str],
    level: float,
    draws: int,
    random: np.random.Generator,
) -> list[MediationEffect]:
    paths, vcov = found.estimates[pair], found.vcov[np.ix_(pair, pair)]
    product = float(paths.prod())
    turned = paths[::-1]
    delta_variance = float(turned @ vcov @ turned)
    exact_variance = delta_variance + float(vcov[0, 0] * vcov[1, 1] + vcov[0, 1] ** 2)
    margin = float(critical_value(level, found.df)) * np.sqrt(delta_variance)
    low = high = np.nan
    normal = random.standard_normal((draws, 2))
    spread = random.chisquare(found.df, draws) / found.df if np.isfinite(found.df) else np.ones(draws)
    if np.isfinite(vcov).all():
        values, vectors = np.linalg.eigh(vcov)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        drawn = (paths + normal @ root.T / np.sqrt(spread)[:, None]).prod(axis=1)
        low, high = (float(one) for one in np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]))
    key = (level_of, "indirect", standardised)
    reason, caution = reasons[level_of], cautions[level_of]
    by_delta = (product, float(np.sqrt(delta_variance)), product - margin, product + margin)
    return [
        _effect((*key, DELTA), by_delta, reason, caution),
        _effect((*key, MONTE_CARLO), (product, float(np.sqrt(exact_variance)), low, high), reason, caution),
    ]


def _effect(key: tuple[str, str, bool, str], numbers: tuple[float, float, float, float], reason: str, caution: str) -> MediationEffect:
    if not reason and not np.isfinite(numbers[0]):
        reason = "no finite value"
    if reason:
        return MediationEffect(*key, *[np.nan] * 4, "not_estimable", reason)
    if not np.isfinite(numbers[1]):
        caution = "; ".join(part for part in (caution, "no interval: without one of the units there is no estimate") if part)
    return MediationEffect(*key, *numbers, "flagged" if caution else "estimated", caution)


def _absent(wanted: Sequence[tuple[str, str]], reasons: dict[str, str]) -> list[MediationEffect]:
    none = (np.nan,) * 4
    effects = []
    for standardised in (False, True):
        effects += [_effect((*pair, standardised, DELTA), none, reasons[pair[0]], "") for pair in wanted]
        levels = dict.fromkeys(one for one, name in wanted if name == "a")
        effects += [_effect((one, "indirect", standardised, way), none, reasons[one], "") for one in levels for way in (DELTA, MONTE_CARLO)]
    return effects
