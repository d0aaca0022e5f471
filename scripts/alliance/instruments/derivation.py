"""Short forms from the items of the long form that holds them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from alliance.instruments.registry import Instrument


def derive(parent_ratings: pd.DataFrame, child: Instrument, parent: Instrument) -> pd.DataFrame:
    """Return the parent's ratings as ratings of a short form.

    The answers stay as they were given, on the parent's range, which the columns ``response_min`` and ``response_max`` carry: a short
    form calibrated on fewer points is scored on the points that were used, and its norms do not apply
    (:attr:`alliance.instruments.registry.Derivation.caution`).

    Parameters
    ----------
    parent_ratings : DataFrame
        ``ratings/<parent>`` of the cleaned tables.
    child : Instrument
        Short form with ``derive_from``.
    parent : Instrument
        Long form.

    Returns
    -------
    DataFrame
        Item columns of the child in place of the parent's, for the raters that the child has a form for; without rows where the
        parent was sent as scale scores only.
    """
    derivation = child.derive_from
    columns = {f"i{item}": f"i{own}" for own, item in derivation.parent_items.items()}
    if not set(columns) <= set(parent_ratings.columns):
        return parent_ratings.iloc[:0].filter(regex=r"^(?!i\d+$|s_)").copy()
    rows = parent_ratings["rater"].isin(sorted(child.forms)) if child.forms else slice(None)
    keys = [name for name in parent_ratings.columns if not _is_score(name)]
    derived = parent_ratings.loc[rows, [*keys, *columns]].rename(columns=columns)
    for name in ("min", "max"):
        column = f"response_{name}"
        if column not in derived:
            derived[column] = pd.NA
        derived[column] = derived[column].astype("Float64").fillna(float(getattr(parent.response, name)))
    return derived.reset_index(drop=True)


def derivable(ratings: Mapping[str, pd.DataFrame], registry: Mapping[str, Instrument]) -> list[str]:
    """Return the short forms that can be derived from the instruments a site sent, in alphabetical order."""
    return [
        key
        for key, instrument in sorted(registry.items())
        if instrument.derive_from is not None
        and instrument.scored_from_items
        and instrument.derive_from.instrument in ratings
        and registry[instrument.derive_from.instrument].response is not None
    ]


def _is_score(column: str) -> bool:
    return column.startswith("s_") or column == "unit" or (column[:1] == "i" and column[1:].isdecimal())
