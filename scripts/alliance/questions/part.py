"""What one part of a question adds to a site's summary."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from alliance.questions.correlations import variances
from alliance.questions.moments import COLUMNS, no_moments
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


def summary_fields(parts: Mapping[str, Part], own_models: Collection[str] = ()) -> dict[str, Any]:
    """Return ``n``, ``moments``, ``estimates`` and ``vcov`` of a site's summary from all its parts.

    Parameters
    ----------
    parts : mapping of str to Part
        By name, which is the ``model`` of a part's rows and covariances.
    own_models : collection of str
        Parts whose rows and covariances bring a ``model`` of their own.
    """
    rows, spread, covariances = [], [], []
    for name, part in parts.items():
        kept = name in own_models
        rows += [row if kept else {**row, "model": name} for row in part.rows]
        spread += part.variances
        covariances.append(part.covariances if kept else part.covariances.assign(model=name))
    return {
        "n": largest_counts(rows),
        "moments": stacked([part.moments for part in parts.values()], COLUMNS),
        "estimates": pd.DataFrame(rows),
        "vcov": stacked([variances(rows, spread), *covariances], VCOV),
    }


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
