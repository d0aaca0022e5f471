"""The rows of one site's answer, and their sampling covariances, of which but few of all pairs are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.contract import EFFECT_KEYS, VCOV, estimates_schema, typed
from alliance.questions.part import stacked

NAMING = (
    *(name for name in EFFECT_KEYS if name not in ("same_rater", "headline")),
    *("pair", "contrast", "phase", "sessions", "moderator", "where", "group", "explained", "part", "pattern", "delta"),
)
"""Columns that tell the rows of a site apart."""
SCHEMA = estimates_schema("alliance_outcome")


@dataclass(frozen=True)
class Covariances:
    """Sampling covariances of some pairs of rows; ``first <= second`` are positions of rows, shape (pairs,), as has ``cov``."""

    first: np.ndarray
    second: np.ndarray
    cov: np.ndarray

    @classmethod
    def known(cls, first: np.ndarray, second: np.ndarray, cov: np.ndarray) -> Covariances:
        """Return those that are numbers, row by row."""
        there = np.isfinite(cov)
        order = np.lexsort((second[there], first[there]))
        return cls(*(one[there][order] for one in (first, second, cov)))


def variances_of(values: Sequence[float]) -> Covariances:
    """Return variances, NaN where there is none, without any covariance of two rows."""
    each = np.arange(len(values))
    return Covariances.known(each, each, np.array(values, dtype=float))


def covariances_of(matrix: np.ndarray) -> Covariances:
    """Return what a matrix holds, NaN where a covariance is not known."""
    first, second = np.triu_indices(len(matrix))
    return Covariances.known(first, second, matrix[first, second])


@dataclass
class Answer:
    """Rows in their order; those that are estimated are added, those of `base` are taken over."""

    _tables: list[pd.DataFrame] = field(default_factory=list)
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _vcov: list[pd.DataFrame] = field(default_factory=list)

    def add(self, model: str, rows: Sequence[Mapping[str, Any]], covariances: Covariances) -> None:
        """Add rows of a model, by the names that their columns give them, and what is known of their covariances."""
        names = np.array([_parameter(row) for row in rows], dtype=object)
        self._rows += [{**row, "model": model, "parameter": name} for row, name in zip(rows, names)]
        pairs = {"parameter1": names[covariances.first], "parameter2": names[covariances.second]}
        self._vcov.append(pd.DataFrame({"model": model, **pairs, "cov": covariances.cov}))

    def add_with_variances(self, model: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows that bring their own ``variance``."""
        variances = variances_of([row.get("variance", np.nan) for row in rows])
        self.add(model, [{name: value for name, value in row.items() if name != "variance"} for row in rows], variances)

    def take(self, rows: pd.DataFrame, vcov: pd.DataFrame) -> None:
        """Add rows of ``estimates.csv`` and of ``vcov.csv`` as they are."""
        self._close()
        self._tables.append(rows)
        self._vcov.append(vcov)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return ``estimates`` and ``vcov``."""
        self._close()
        return {"estimates": stacked(self._tables, list(SCHEMA)), "vcov": stacked(self._vcov, list(VCOV))}

    def _close(self) -> None:
        if self._rows:
            self._tables.append(typed(pd.DataFrame(self._rows), SCHEMA))
            self._rows = []


def _parameter(row: Mapping[str, Any]) -> str:
    """Return the name of a row: the descriptive columns that it fills."""
    return "; ".join([f"{name}={row[name]}" for name in NAMING if row.get(name) not in (None, "")])
