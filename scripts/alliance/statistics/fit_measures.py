"""Fit measures of structural equation models, as lavaan defines them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from alliance.statistics.distributions import chi_squared_p

RMSEA_LEVEL = 0.90
CLOSE_FIT = 0.05


@dataclass(frozen=True)
class FitMeasures:
    """Fit of a model; rows are taken as independent.

    ``rmsea_low`` and ``rmsea_high`` bound a 90 % interval, ``rmsea_close_p`` is the p value of the hypothesis that RMSEA is at most .05.
    With no degrees of freedom the fit is perfect by construction. None where the measure does not exist.
    """

    chi2: float
    df: int
    p_value: float | None
    baseline_chi2: float
    baseline_df: int
    cfi: float | None
    tli: float | None
    rmsea: float
    rmsea_low: float
    rmsea_high: float
    srmr: float
    rmsea_close_p: float | None = None


@dataclass(frozen=True)
class ScaledMeasures:
    """Fit of a model whose chi-squared is divided by a scaling factor, since data are not normal or not independent.

    Attributes
    ----------
    scaling, baseline_scaling : float
        Scaling factors of the model's and the baseline model's chi-squared.
    scaled : FitMeasures
        From the scaled statistics (lavaan's ``.scaled``).
    cfi_robust, tli_robust, rmsea_robust, rmsea_robust_low, rmsea_robust_high : float or None
        Estimates of what the measures would be with normal independent data (Brosseau-Liard, Savalei & Li, 2012; Brosseau-Liard & Savalei,
        2014; lavaan's ``.robust``). None with missing values, for which they do not hold.
    """

    scaling: float
    baseline_scaling: float
    scaled: FitMeasures
    cfi_robust: float | None
    tli_robust: float | None
    rmsea_robust: float | None
    rmsea_robust_low: float | None
    rmsea_robust_high: float | None


def scaled_measures(plain: FitMeasures, scaling: float, baseline_scaling: float, n: float, groups: int, complete: bool) -> ScaledMeasures:
    """Return the scaled and robust fit measures of a model.

    Parameters
    ----------
    plain : FitMeasures
        Without scaling.
    scaling, baseline_scaling : float
        What chi-squared is divided by.
    n : float
        Sample size, the sum over groups.
    groups : int
    complete : bool
        Whether there are no missing values.
    """
    df, baseline_df = plain.df, plain.baseline_df
    scaled = measures(plain.chi2 / scaling, df, plain.baseline_chi2 / baseline_scaling, baseline_df, n, plain.srmr, groups)
    if df > 0:
        # As lavaan: the unscaled statistic is referred to the chi-squared with its mean, scaling times df.
        trace = scaling * df
        low, high = (float(np.sqrt(bound / n / trace * groups)) for bound in noncentrality_interval(plain.chi2, trace))
        close = _above(plain.chi2, trace, n * trace * CLOSE_FIT**2 / groups)
        scaled = replace(scaled, rmsea_low=low, rmsea_high=high, rmsea_close_p=close)
    if not complete or df == 0:
        return ScaledMeasures(scaling, baseline_scaling, scaled, None, None, None, None, None)
    excess, base = plain.chi2 - scaling * df, plain.baseline_chi2 - baseline_scaling * baseline_df
    largest = max(base, excess, 0.0)
    bounds = [float(np.sqrt(scaling * bound / n / df * groups)) for bound in noncentrality_interval(scaled.chi2, df)]
    return ScaledMeasures(
        scaling,
        baseline_scaling,
        scaled,
        1 - max(excess, 0.0) / largest if largest > 0 else 1.0,
        1 - excess * baseline_df / (base * df) if base > 0 else None,
        float(np.sqrt(max(excess, 0.0) / n / df * groups)),
        *bounds,
    )


def measures(chi2: float, df: int, baseline_chi2: float, baseline_df: int, n: float, srmr: float, groups: int = 1) -> FitMeasures:
    """Return the fit measures of a model from its test and that of the baseline model.

    Parameters
    ----------
    chi2, df : float, int
        Test of the model against the saturated one.
    baseline_chi2, baseline_df : float, int
        Test of the model in which variables do not covary.
    n : float
        Sample size, the sum over groups; multiplies the discrepancy in chi-squared.
    srmr : float
        From :func:`srmr`.
    groups : int
        Number of groups; RMSEA is multiplied by its root (Steiger, 1998).
    """
    chi2 = max(0.0, chi2) if df > 0 else 0.0
    excess, base_excess = max(chi2 - df, 0.0), max(baseline_chi2 - baseline_df, chi2 - df, 0.0)
    tli = 1.0 if df == 0 else None
    if df > 0 and baseline_df > 0 and baseline_chi2 != baseline_df:
        base = baseline_chi2 / baseline_df
        tli = (base - chi2 / df) / (base - 1)
    low, high = noncentrality_interval(chi2, df) if df > 0 else (0.0, 0.0)
    rmsea = [float(np.sqrt(value / n / df * groups)) if df > 0 else 0.0 for value in (excess, low, high)]
    return FitMeasures(
        chi2=chi2,
        df=df,
        p_value=float(chi_squared_p(chi2, df)) if df > 0 else None,
        baseline_chi2=baseline_chi2,
        baseline_df=baseline_df,
        cfi=1 - excess / base_excess if base_excess > 0 else 1.0,
        tli=tli,
        rmsea=rmsea[0],
        rmsea_low=rmsea[1],
        rmsea_high=rmsea[2],
        srmr=srmr,
        rmsea_close_p=_above(chi2, df, n * df * CLOSE_FIT**2 / groups) if df > 0 else None,
    )


def srmr(
    covariances: Sequence[np.ndarray],
    implied: Sequence[np.ndarray],
    n: Sequence[float],
    means: Sequence[np.ndarray] | None = None,
    implied_means: Sequence[np.ndarray] | None = None,
) -> float:
    """Return the standardised root mean square residual (Bentler, 1995), averaged over groups by size.

    Residuals of covariances are divided by the observed standard deviations, those of means too where means are given.

    Parameters
    ----------
    covariances, implied : sequence of ndarray, shape (p, p)
        Observed and implied covariances by group.
    n : sequence of float
        Sizes of the groups.
    means, implied_means : sequence of ndarray, shape (p,), optional
    """
    values = []
    for group, (observed, model) in enumerate(zip(covariances, implied)):
        deviation = np.sqrt(np.diagonal(observed))
        upper = np.triu_indices(len(deviation))
        residual = ((observed - model) / np.outer(deviation, deviation))[upper]
        if means is not None and implied_means is not None:
            residual = np.append(residual, (means[group] - implied_means[group]) / deviation)
        values.append(np.sqrt(np.mean(residual**2)))
    return float(np.average(values, weights=n))


def noncentrality_interval(chi2: float, df: float, level: float = RMSEA_LEVEL) -> tuple[float, float]:
    """Return the interval of the noncentrality parameter behind an observed chi-squared."""
    from scipy.optimize import brentq
    from scipy.special import chndtr

    bounds = []
    for probability in ((1 + level) / 2, (1 - level) / 2):
        if chndtr(chi2, df, 0.0) < probability:
            bounds.append(0.0)
            continue
        top = max(chi2, 1.0)
        while chndtr(chi2, df, top) > probability:
            top *= 2
        bounds.append(float(brentq(lambda value, target=probability: chndtr(chi2, df, value) - target, 0.0, top, xtol=1e-10)))
    return bounds[0], bounds[1]


def _above(chi2: float, df: float, noncentrality: float) -> float:
    from scipy.special import chndtr

    return float(1 - chndtr(chi2, df, noncentrality))
