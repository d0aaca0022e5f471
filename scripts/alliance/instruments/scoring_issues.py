"""Faults that show when items become scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from alliance.instruments.registry import Instrument
from alliance.instruments.scoring import item_columns, response_limits
from alliance.issues import Issue, Severity


def scoring_issues(site: str, ratings: pd.DataFrame, instrument: Instrument, options: Mapping[str, Any] | None = None) -> list[Issue]:
    """Return what keeps the ratings of one instrument from being scored as they stand, all as warnings.

    Parameters
    ----------
    site : str
        Id of the site.
    ratings : DataFrame
        Cleaned ratings of the instrument.
    instrument : Instrument
        The instrument.
    options : mapping, optional
        Configuration section ``scoring``.

    Returns
    -------
    list of Issue
        S01 items of an uncertain map, V01 answers outside the range, S02 scale scores that could not be converted, S03 another range
        than the instrument's, S04 scale scores that hold improvement items.
    """
    items = item_columns(ratings, instrument)
    sent = [name for name in ratings.columns if name.startswith("s_")]
    found: list[Issue] = []

    def warn(code: str, message: str, fix: str, n_affected: int, column: str = "") -> None:
        found.append(Issue(code, Severity.WARN, message, fix, site=site, column=column, n_affected=n_affected))

    if items and not instrument.scored_from_items:
        unscored = int(ratings[[f"i{item}" for item in items]].notna().any(axis=1).sum())
        if unscored:
            warn("S01", f"The items of {instrument.key} were not scored: {instrument.why_not_scored}.", "", unscored)
    elif items:
        found += _range_issues(site, ratings, instrument, items)
    if options and options.get("exclude_improvement_items") and instrument.improvement_items and sent:
        text = f"Scale scores of {instrument.key} hold items that describe improvement; they were left out with them."
        warn("S04", text, "Send items instead of scale scores to use this instrument here.", len(ratings))
        return found
    for name in sent:
        scale = name.removeprefix("s_")
        known = scale in instrument.composites
        if (known and instrument.scale_size(scale) is not None) or "unit" not in ratings:
            continue
        other = ratings[name].notna() & ratings["unit"].fillna(instrument.score.method).ne(instrument.score.method)
        if other.any():
            text = f"{instrument.key} {scale} was not sent as {instrument.score.method}, and its number of items is not known here."
            warn("S02", text, f"The scores stay as sent; send {instrument.score.method}s to compare their level.", int(other.sum()), scale)
    return found


def _range_issues(site: str, ratings: pd.DataFrame, instrument: Instrument, items: list[int]) -> list[Issue]:
    found = []
    low, high = response_limits(ratings, instrument)
    for item in items:
        column = ratings[f"i{item}"]
        if not column.notna().any() or (column.min() >= low.max() and column.max() <= high.min()):
            continue
        values = column.to_numpy("float64", na_value=np.nan)
        if outside := int(((values < low) | (values > high)).sum()):
            text = f"Answers to {instrument.key} item {item} lie outside the possible range; scales with it have no score there."
            fix = "Correct the answers at the source, or declare the range the site used (response: in site.yaml)."
            found.append(Issue("V01", Severity.WARN, text, fix, site=site, column=f"i{item}", n_affected=outside))
    published = instrument.response
    if published is not None and len(low) and ((low != published.min) | (high != published.max)).any():
        n = int(((low != published.min) | (high != published.max)).sum())
        used, usual = f"{np.min(low):g} to {np.max(high):g}", f"{published.min:g} to {published.max:g}"
        text = f"{instrument.key} was used with answers from {used} instead of {usual}."
        fix = "Correlations can be pooled; levels, norms and cut-offs do not apply."
        found.append(Issue("S03", Severity.WARN, text, fix, site=site, n_affected=n))
    return found
