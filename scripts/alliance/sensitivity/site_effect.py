"""What one site says of one specification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class SiteEffect:
    """An effect of one site under one specification.

    Attributes
    ----------
    fields : dict
        Columns of ``estimates.csv``: estimate, counts, method, status, reason.
    variance : float
        Sampling variance of the estimate; NaN where there is none.
    predictor, outcome : Series or None
        Where the effect has one value a client: both freed of what is held constant, in SD, by client number; NaN where not used.
    scores : Series or None
        Each client's contribution to the score of "no effect", by client number; their sum is zero on average if there is none.
    """

    fields: dict[str, Any]
    variance: float
    predictor: pd.Series | None = None
    outcome: pd.Series | None = None
    scores: pd.Series | None = None


def absent(reason: str, estimate_type: str) -> SiteEffect:
    """Return an effect that a site cannot give, with the reason."""
    fields = {
        "estimate_type": estimate_type,
        "method": "none",
        "status": "not_estimable",
        "reason": f"not estimable: {reason}",
        "n_clients": 0,
    }
    return SiteEffect(fields, np.nan)
