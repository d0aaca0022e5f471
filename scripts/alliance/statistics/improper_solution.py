"""Improper solutions of structural models: maxima of the likelihood that no population could have."""

from __future__ import annotations

import re
from typing import Any

_SIGN = re.compile(
    r"^(negative variance of "
    r"|correlation of \S+ of the (residuals|factors) "
    r"|the covariance matrix of the (residuals|factors) is not positive definite"
    r"|a residual variance is not positive"
    r"|the variance of .* is not positive$"
    r"|the correlations of the (residuals|factors) are impossible together$)"
)


def improper(fitted: Any) -> str:
    """Return why a solution is improper, as the engines say it: negative variances, correlations beyond 1, impossible matrices.

    Parameters
    ----------
    fitted : StructuralFit or TwoStageFit
        Or anything whose ``reason`` holds what was noted of it, joined by semicolons.

    Returns
    -------
    str
        Empty for a proper solution.
    """
    # Factors that nothing predicts are told of twice: what is left of them is all of them.
    noted = {part.replace(" of the factors", " of the residuals"): part for part in reversed((fitted.reason or "").split("; "))}
    return ", ".join(part for part in reversed(noted.values()) if _SIGN.match(part))


def no_number(why: str) -> str:
    """Return why nothing is told of an improper solution."""
    return f"not estimable: improper solution ({why}), from which no number is taken"
