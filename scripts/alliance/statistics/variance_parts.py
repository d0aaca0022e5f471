"""Parts of a variance within sites, with slopes that vary over units among them, and intervals of every part's share.

The parts are independent of each other: a slope over therapists does not correlate with their intercepts (``(x || therapist)`` in lme4).
With a predictor of mean 0 and variance 1 a slope's variance is what it adds to the variance of the outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alliance.statistics.multilevel import INTERCEPT, MixedModel, mixed_model, profiled_share

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


def zero_variance_p(statistic: float) -> float:
    """Return the p value of a variance of zero from twice the difference of the (restricted) log-likelihoods; negative ones are zero."""
    from scipy.special import chdtrc

    return 1.0 if statistic < _NOTHING else float(0.5 * chdtrc(1, statistic))
