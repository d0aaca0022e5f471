"""Rows over sites that rest on numbers of sites that are hidden: no more is told than sums over these sites."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alliance.publishing import columns
from alliance.publishing.counts import rounded_numbers
from alliance.publishing.profiles import Profile
from alliance.publishing.rows import Rows
from alliance.questions.contract import HETEROGENEITY

SEPARATES = tuple(name for name in HETEROGENEITY if name not in ("p_value", "q_df"))
"""Heterogeneity: with exact numbers of the other sites, these are as many equations as two hidden estimates have unknowns."""


def learn(families: Sequence[Sequence[Rows]], profile: Profile) -> None:
    """Say which rows over sites rest on hidden numbers of sites (``Rows.over_hidden``).

    Estimate and standard error over sites follow from sums of weights and of weighted estimates; of two hidden sites they tell the sums.
    The heterogeneity, and rows that leave each site out, tell the two apart, where everything else is exact.

    Parameters
    ----------
    families : sequence of sequence of Rows
        Tables whose rows of sites and over sites belong together, judged.
    profile : Profile
    """
    hidden: dict[str, list[tuple[list[str], pd.DataFrame]]] = {}
    for family in families:
        keys = [key for key in columns.over_sites(family[0].schema) if all(key in columns.over_sites(rows.schema) for rows in family)]
        keys.append("estimate_type")
        groups = [rows.frame[keys].astype(object).fillna("").apply(tuple, axis=1) for rows in family if len(rows.frame)]
        filled = [rows for rows in family if len(rows.frame)]
        few = [_hidden_of_sites(rows, profile) for rows in filled]
        unsafe = {group for own, chosen in zip(groups, few) for group in own[chosen]}
        for rows, own in zip(filled, groups):
            rows.over_hidden = (rows.owner == "") & own.isin(unsafe).to_numpy()
        if unsafe:
            hidden.setdefault(family[0].schema.question, []).append((keys, pd.DataFrame(sorted(unsafe, key=repr), columns=keys)))
    for rows in (one for family in families for one in family):
        if rows.place in columns.WITHOUT_SITES:
            rows.over_hidden = np.ones(len(rows.frame), dtype=bool)
        elif columns.LEFT_OUT in rows.frame and len(rows.frame):
            rows.over_hidden = _leaves_out_beside(rows, hidden.get(rows.schema.question, []))


def _hidden_of_sites(rows: Rows, profile: Profile) -> np.ndarray:
    silent = ~rows.active & (rows.clients > 0) & (rows.clients < profile.min_clients)
    return (rows.owner != "") & (rows.withheld | silent)


def _leaves_out_beside(rows: Rows, hidden: Sequence[tuple[list[str], pd.DataFrame]]) -> np.ndarray:
    """Return which rows that leave a site out belong to a row over sites that rests on hidden ones."""
    found = np.zeros(len(rows.frame), dtype=bool)
    for keys, unsafe in hidden:
        shared = [key for key in keys if key in rows.frame]
        if {*rows.schema.identifying} - {columns.LEFT_OUT, *columns.VERDICTS} <= {*keys}:
            own = rows.frame[shared].astype(object).fillna("").apply(tuple, axis=1)
            found |= own.isin(set(unsafe[shared].apply(tuple, axis=1))).to_numpy()
    return found


def told(frame: pd.DataFrame, rows: Rows, profile: Profile) -> pd.DataFrame:
    """Return a table whose rows over hidden numbers have no heterogeneity, and the decimals that are printed.

    Where all numbers are rounded, a hidden estimate cannot be told from another far from it, and nothing more is done.

    Parameters
    ----------
    frame : DataFrame
        Rows of the table that ``rows`` judged.
    rows : Rows
    profile : Profile
    """
    if profile.round_counts_to > 1 or not rows.over_hidden.any():
        return frame
    chosen = pd.Series(rows.over_hidden, index=frame.index)
    made = {name: frame[name].mask(chosen, values) for name, values in rounded_numbers(frame, rows.kinds).items()}
    apart = [*SEPARATES, *(rows.schema.numbers if columns.LEFT_OUT in frame else ())]
    made |= {name: frame[name].mask(chosen) for name in apart if name in frame}
    return frame.assign(**made)
