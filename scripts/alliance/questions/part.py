"""What one part of a question adds to a site's summary."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from alliance.questions.contract import WITH_NUMBERS
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


def of_rows(rows: Iterable[Mapping[str, Any]]) -> Part:
    """Return rows as a part; each may bring the ``variance`` of its estimate, which is no column of it."""
    part = Part()
    for row in rows:
        part.add({name: value for name, value in row.items() if name != "variance"}, row.get("variance", float("nan")))
    return part


def with_names(part: Part, keys: Sequence[str], level: str, lacking: str = "", numbers: Sequence[str] = ()) -> Part:
    """Return a part whose rows are named by what tells them apart, without numbers where they have none.

    Parameters
    ----------
    part : Part
    keys : sequence of str
        Columns that together name a row (its ``parameter``); empty values are left out.
    level : str
        Level of rows that name none.
    lacking : str
        What the site lacks for the whole part, in place of the reasons of single rows.
    numbers : sequence of str
        Further columns that only rows with a number have.
    """
    made = Part(covariances=part.covariances, moments=part.moments, facts=part.facts)
    for row, variance in zip(part.rows, part.variances):
        known = row["status"] in WITH_NUMBERS
        own = row if known else {**row, **dict.fromkeys(("estimate", "ci_low", "ci_high", *numbers))}
        if lacking and row["status"] == "not_estimable":
            own = {**own, "reason": lacking}
        parameter = "; ".join(f"{key}={row[key]}" for key in keys if row.get(key))
        made.add({"level": level, **own, "parameter": parameter}, variance if known else float("nan"))
    return made


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
