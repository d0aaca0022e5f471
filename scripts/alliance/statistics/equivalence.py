"""Whether an estimate is small enough to count as none: two one-sided tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from alliance.statistics.distributions import critical_value, two_sided_p


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests of an estimate against bounds, beside its test of zero. Numbers are None where they do not exist.

    Attributes
    ----------
    p_above_lower, p_below_upper : float or None
        One-sided p that the true value is not above the lower, not below the upper bound.
    p_tost : float or None
        The larger of the two: p of the hypothesis that the true value lies on or outside the bounds.
    p_difference : float or None
        Two-sided p of zero.
    ci_low, ci_high : float or None
        Interval of level ``1 - 2 alpha``; it lies inside the bounds exactly where ``p_tost`` is below alpha.
    interval_level : float
        ``1 - 2 alpha``.
    decision : str
        ``equivalent``, ``different``, ``equivalent_and_different`` or ``undecided``; empty where there is none.
    sentence : str
        The decision in words.
    status, reason : str
        ``estimated`` or ``not_estimable``, and why.
    """

    p_above_lower: float | None
    p_below_upper: float | None
    p_tost: float | None
    p_difference: float | None
    ci_low: float | None
    ci_high: float | None
    interval_level: float
    decision: str
    sentence: str
    status: str
    reason: str


_SENTENCES = {
    "equivalent": "The effect is smaller than the bounds {bounds}: values outside them are rejected, zero is not.",
    "different": "The effect differs from zero, and values outside the bounds {bounds} cannot be ruled out.",
    "equivalent_and_different": "The effect differs from zero but is smaller than the bounds {bounds}: present, but too small.",
    "undecided": "Undecided: neither zero nor values outside the bounds {bounds} can be ruled out; no difference must not be claimed.",
}


def equivalence(
    estimate: float | None, std_error: float | None, bounds: tuple[float, float], df: float | None = None, level: float = 0.95
) -> Equivalence:
    """Test an estimate against bounds by two one-sided tests (Schuirmann, 1987; Lakens, 2017).

    ``t = (estimate - lower) / se`` and ``t = (estimate - upper) / se``, each one-sided at ``alpha = 1 - level``.

    Parameters
    ----------
    estimate, std_error : float or None
        Estimate and its standard error on the scale of the bounds; None where there is none.
    bounds : (float, float)
        Smallest effects of interest, below and above zero.
    df : float, optional
        Degrees of freedom of t; None for the normal.
    level : float
        1 - alpha, 0.5-1.

    Raises
    ------
    ValueError
        Bounds that do not hold zero between them, a level outside 0.5-1, or df that is not positive.
    """
    lower, upper = (float(bound) for bound in bounds)
    if not lower < 0 < upper:
        raise ValueError(f"bounds need a value below and one above zero, not {bounds}")
    if not 0.5 < level < 1:
        raise ValueError(f"level must lie between 0.5 and 1, not {level}")
    spread = np.inf if df is None else float(df)
    if not spread > 0:
        raise ValueError(f"degrees of freedom must be positive, not {df}")
    alpha = 1 - level
    if estimate is None or std_error is None or not np.isfinite(estimate) or not np.isfinite(std_error) or std_error <= 0:
        reason = "needs an estimate with a positive standard error"
        return Equivalence(None, None, None, None, None, None, 1 - 2 * alpha, "", f"Not tested: {reason}.", "not_estimable", reason)
    above, below = _upper_tail((estimate - lower) / std_error, spread), _upper_tail((upper - estimate) / std_error, spread)
    p_tost, p_difference = max(above, below), float(two_sided_p(estimate / std_error, spread))
    margin = float(critical_value(1 - 2 * alpha, spread)) * std_error
    decision = {
        (True, True): "equivalent_and_different",
        (True, False): "equivalent",
        (False, True): "different",
        (False, False): "undecided",
    }[(p_tost < alpha, p_difference < alpha)]
    return Equivalence(
        p_above_lower=above,
        p_below_upper=below,
        p_tost=p_tost,
        p_difference=p_difference,
        ci_low=float(estimate - margin),
        ci_high=float(estimate + margin),
        interval_level=1 - 2 * alpha,
        decision=decision,
        sentence=_SENTENCES[decision].format(bounds=f"{lower:g} and {upper:g}"),
        status="estimated",
        reason="",
    )


def _upper_tail(statistic: float, df: float) -> float:
    return float(special.ndtr(-statistic) if np.isinf(df) else special.stdtr(df, -statistic))
