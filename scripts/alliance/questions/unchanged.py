"""Parts of a site's answer that a scenario leaves as they are: taken from the site's summary for `base` instead of estimated again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from alliance.questions.part import Part
from alliance.questions.summary import SiteSummary


@dataclass(frozen=True)
class Unchanged:
    """What a question's `estimate` need not do again.

    Attributes
    ----------
    names : frozenset of str
        The parts that are given the same options as in `base`.
    summary : SiteSummary or None
        The site's summary for `base`; None where nothing is taken over.
    """

    names: frozenset[str] = frozenset()
    summary: SiteSummary | None = None

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def part(self, name: str) -> Part:
        """Return a part as it was estimated for `base`: the rows whose ``model`` is its name, blocks ``<name>:...`` and its facts."""
        assert self.summary is not None
        blocks = self.summary.moments["block"].str.startswith(f"{name}:")
        return part_of(self.summary, self.summary.estimates["model"].eq(name), {name}, blocks, self.summary.facts.get(name, {}))

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the site's summary for `base` says beside numbers."""
        assert self.summary is not None
        return self.summary.facts

    def rows(self, name: str, **keys: str) -> Part:
        """Return the rows of a part that have the given values in the given columns, with the variances of their estimates alone."""
        assert self.summary is not None
        table = self.summary.estimates
        chosen = table["model"].eq(name)
        for column, value in keys.items():
            chosen &= table[column].eq(value)
        found = _records(table[chosen].drop(columns="question"))
        known = self.summary.vcov[self.summary.vcov["model"].eq(name) & self.summary.vcov["parameter1"].eq(self.summary.vcov["parameter2"])]
        spread = dict(zip(known["parameter1"], known["cov"]))
        return Part(rows=found, variances=[spread.get(row["parameter"], float("nan")) for row in found])

    def estimates(self, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the rows of ``estimates.csv`` whose ``model`` is a part's name as they were for `base`, and those of ``vcov.csv``."""
        assert self.summary is not None
        rows = self.summary.estimates[self.summary.estimates["model"].eq(name)].drop(columns="question")
        return rows, self.summary.vcov[self.summary.vcov["model"].eq(name)]


NOTHING = Unchanged()


def unchanged(summary: SiteSummary, mine: Mapping[str, Mapping[str, Any]], of_base: Mapping[str, Mapping[str, Any]]) -> Unchanged:
    """Return what a site's summary for `base` holds of an answer to other options.

    Parameters
    ----------
    summary : SiteSummary
        Of the same question, scores and code.
    mine, of_base : mapping of str to mapping
        The options that each part is given, from the question's ``part_options``.
    """
    if summary.status != "ok":
        return NOTHING
    return Unchanged(frozenset(name for name, options in mine.items() if options == of_base.get(name)), summary)


def part_of(summary: SiteSummary, rows: pd.Series, models: Collection[str], blocks: pd.Series, facts: Mapping[str, Any]) -> Part:
    """Return some rows of a summary as a part.

    Parameters
    ----------
    summary : SiteSummary
    rows : Series of bool
        Which rows of ``estimates``.
    models : collection of str
        Models of ``vcov`` that belong to them.
    blocks : Series of bool
        Which rows of ``moments``.
    facts : mapping
    """
    found = _records(summary.estimates.loc[rows].drop(columns="question"))
    known = summary.vcov[summary.vcov["model"].isin(models)]
    own = known["parameter1"].eq(known["parameter2"])
    spread = {(row.model, row.parameter1): row.cov for row in known[own].itertuples(index=False)}
    variances = [spread.pop((row["model"], row["parameter"]), float("nan")) for row in found]
    # Variances that are left are those of moments, which have no row of their own.
    left = pd.Series([key in spread for key in zip(known["model"], known["parameter1"])], index=known.index, dtype=bool)
    return Part(
        rows=found,
        variances=variances,
        covariances=known[~own | left].reset_index(drop=True),
        moments=summary.moments[blocks].reset_index(drop=True),
        facts=dict(facts),
    )


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table, None where a cell is empty."""
    columns = [
        [cell if known else None for cell, known in zip(column.tolist(), column.notna().tolist(), strict=True)]
        for _, column in table.items()
    ]
    return [dict(zip(table.columns, cells, strict=True)) for cells in zip(*columns, strict=True)]
