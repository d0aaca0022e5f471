"""Parts of a variance within sites, with slopes that vary over units among them, and intervals of every part's share.

The parts are independent of each other: a slope over therapists does not correlate with their intercepts (``(x || therapist)`` in lme4).
With a predictor of mean 0 and variance 1 a slope's variance is what it adds to the variance of the outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alliance.statistics.distributions import chi_squared_quantile
from alliance.statistics.multilevel import INTERCEPT, MixedModel, mixed_model

if TYPE_CHECKING:
    import pandas as pd

SLOPES = "slopes"
_UNITS = "therapists"
# Likelihoods that differ by less are equal: an optimiser stops where it stops.
_NOTHING = 1e-6


@dataclass(frozen=True)
class VariancePart:
    """One part of the variance.

    Attributes
    ----------
    part : str
        Level, :data:`SLOPES`, or what a row is.
    variance : float
        In squared units of the outcome.
    share : float
        Of all parts, 0-1.
    ci_low, ci_high : float
        Of the share; NaN where not asked for.
    """

    part: str
    variance: float
    share: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class VarianceParts:
    """All parts, outermost level first; ``reason`` says why there are none.

    Attributes
    ----------
    parts : tuple of VariancePart
    p_no_slopes : float
        p value of no variance of the slopes; NaN without slopes.
    status, reason : str
        Of the model.
    """

    parts: tuple[VariancePart, ...]
    p_no_slopes: float
    status: str
    reason: str


def variance_parts(
    rows: pd.DataFrame,
    outcome: str,
    levels: Sequence[str],
    *,
    residual: str,
    site: str | None = None,
    fixed: Sequence[str] = (),
    slope: str | None = None,
    intervals: Sequence[str] | None = None,
    level: float = 0.95,
) -> VarianceParts:
    """Split the variance that the fixed effects leave by restricted maximum likelihood.

    Intervals profile the restricted likelihood of a part's share, the other parts chosen anew at each of its values; they may begin at 0.
    The p value of no slopes is that of the half and half mixture of chi-squared with 0 and 1 degrees of freedom (Self & Liang, 1987).

    Parameters
    ----------
    rows : DataFrame
        One row an observation.
    outcome : str
        Column.
    levels : sequence of str
        Columns of nested units, outermost first.
    residual : str
        What a row is.
    site : str, optional
        Column; with it every site has its own mean.
    fixed : sequence of str
        Predictors held constant.
    slope : str, optional
        Predictor whose effect varies over units of the first level; its own fixed effect is added.
    intervals : sequence of str, optional
        Parts whose intervals are wanted; default all.
    level : float
        Confidence level.
    """
    model = _fitted(rows, outcome, levels, site, fixed, slope, level)
    if model.fit is None:
        return VarianceParts((), np.nan, "not_estimable", model.reason)
    names = [levels[0], *([SLOPES] if slope else []), *levels[1:], residual]
    variances = model.variances["variance"].to_numpy()
    shares = variances / variances.sum()
    if slope:
        spread = float(rows[slope].std(ddof=0))
        scaled = variances * np.where(np.array(names) == SLOPES, spread**2, 1.0)
        shares = scaled / scaled.sum()
    limits = [
        profiled_share(model, index, shares, level) if intervals is None or name in intervals else (np.nan, np.nan)
        for index, name in enumerate(names)
    ]
    found = tuple(
        VariancePart(name, float(variance), float(share), low, high)
        for name, variance, share, (low, high) in zip(names, variances, shares, limits, strict=True)
    )
    p = np.nan
    if slope:
        without = _fitted(rows, outcome, levels, site, [*fixed, slope], None, level)
        p = zero_variance_p(2 * (model.log_likelihood - without.log_likelihood)) if without.fit is not None else np.nan
    return VarianceParts(found, p, model.status, model.reason if model.status == "flagged" else "")


def _fitted(
    rows: pd.DataFrame, outcome: str, levels: Sequence[str], site: str | None, fixed: Sequence[str], slope: str | None, level: float
) -> MixedModel:
    """Return the model; slopes stand on a level of their own with the same units, which keeps them apart from the intercepts."""
    units, effects = list(levels), list(fixed)
    random: dict[str, Sequence[str]] = {}
    if slope:
        rows = rows.assign(**{_UNITS: rows[levels[0]]})
        units.insert(1, _UNITS)
        random[_UNITS] = (slope,)
        effects.append(slope)
    if site is None:
        return mixed_model(rows, outcome, [INTERCEPT, *effects], units, random=random, level=level)
    return mixed_model(rows, outcome, effects, [site, *units], random={site: (), **random}, absorbed={site: [INTERCEPT]}, level=level)


def profiled_share(model: MixedModel, index: int, shares: np.ndarray, level: float) -> tuple[float, float]:
    """Return the profile interval of one part's share of the variance.

    Parameters
    ----------
    model : MixedModel
        With one variance a level (none over sites), estimable.
    index : int
        Part, outermost first; rows last.
    shares : ndarray
        Estimated shares of all parts.
    level : float
        Confidence level.
    """
    from scipy.optimize import brentq

    criterion = model.fit.criterion
    limit = model.fit.deviance + float(chi_squared_quantile(level, 1))
    others = np.arange(len(shares)) != index
    start = np.maximum(shares[others], 1e-3)
    start = start / start.sum()

    def excess(share: float) -> float:
        def deviance(sticks: np.ndarray) -> float:
            parts = np.empty(len(shares))
            parts[index], parts[others] = share, (1 - share) * _broken(sticks)
            return criterion.profiled(np.sqrt(parts[:-1] / max(parts[-1], 1e-12))[::-1])

        return _lowest(deviance, _sticks(start)) - limit

    share = float(shares[index])
    low, high, step = 0.0, 1.0, 0.05
    if not excess(share) < 0:
        # Without variance of what a row is, as where no client's ratings change, the likelihood has no maximum to profile from.
        return float("nan"), float("nan")
    if share > 1e-6 and excess(1e-7) > 0:
        low = float(brentq(excess, 1e-7, share, xtol=1e-6, rtol=1e-6))
    upper = min(share + step, (1 + share) / 2)
    for _ in range(40):
        if excess(upper) > 0:
            return low, float(brentq(excess, share, upper, xtol=1e-6, rtol=1e-6))
        step *= 2
        upper = min(upper + step, (1 + upper) / 2)
    return low, high


def _broken(sticks: np.ndarray) -> np.ndarray:
    """Return shares that add up to one: each takes a part of what the ones before have left."""
    return np.cumprod(np.append(1.0, 1 - sticks)) * np.append(sticks, 1.0)


def _sticks(shares: np.ndarray) -> np.ndarray:
    left = np.cumsum(shares[::-1])[::-1]
    return np.clip(shares[:-1] / left[:-1], 1e-3, 1 - 1e-3)


def _lowest(function: Callable[[np.ndarray], float], start: np.ndarray) -> float:
    """Return the least value of a function over the unit cube."""
    from scipy.optimize import minimize, minimize_scalar

    if len(start) == 0:
        return function(start)
    if len(start) == 1:
        found = minimize_scalar(lambda value: function(np.array([value])), bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-5})
        return min(float(found.fun), function(np.zeros(1)))
    options = {"ftol": 1e-10, "gtol": 1e-5, "eps": 1e-6}
    return float(minimize(function, start, method="L-BFGS-B", bounds=[(0.0, 1 - 1e-6)] * len(start), options=options).fun)


def zero_variance_p(statistic: float) -> float:
    """Return the p value of a variance of zero from twice the difference of the (restricted) log-likelihoods; negative ones are zero."""
    from scipy.special import chdtrc

    return 1.0 if statistic < _NOTHING else float(0.5 * chdtrc(1, statistic))
