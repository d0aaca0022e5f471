"""What one part of a question adds to a site's summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from alliance.questions.moments import no_moments
from alliance.questions.summary import COUNTED

VCOV = ["model", "parameter1", "parameter2", "cov"]


@dataclass
class Part:
    """Rows of a site summary that answer one part of a question.

    Parameters
    ----------
    rows : list of dict
        Rows of ``estimates.csv``.
    variances : list of float
        Variance of each row's estimate; NaN where it is not known.
    covariances : DataFrame
        Further rows of ``vcov.csv`` (pairs of different estimates).
    moments : DataFrame
        Rows of ``moments.csv``.
    facts : dict
        Plain values for reports.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    variances: list[float] = field(default_factory=list)
    covariances: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=VCOV))
    moments: pd.DataFrame = field(default_factory=no_moments)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, row: Mapping[str, Any], variance: float = float("nan")) -> None:
        """Add one row with the variance of its estimate."""
        self.rows.append(dict(row))
        self.variances.append(float(variance))


def largest_counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, int | None]:
    """Return the largest number of clients, therapists and sessions behind any row."""
    counts: dict[str, int | None] = {}
    for name in COUNTED:
        known = [int(row[f"n_{name}"]) for row in rows if row.get(f"n_{name}") is not None and not pd.isna(row[f"n_{name}"])]
        counts[name] = max(known) if known else None
    return counts


def stacked(frames: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """Return rows of several frames in one, leaving out empty frames."""
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(columns))
