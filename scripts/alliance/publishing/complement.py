"""Hiding what would let a hidden number be worked out from those beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alliance.publishing import columns
from alliance.publishing.profiles import Profile
from alliance.publishing.rows import ROUNDING, Rows

SPLITS_CLIENTS = ("group", "pattern", "treatment", "category")
"""Keys whose values split the clients of one row into rows of their own."""
DIFFERENCES = ("contrast", "difference")


def protect(family: Sequence[Rows], profile: Profile) -> None:
    """Hide rows until no hidden one is the only one that is lacking.

    Rows of single sites stand beside the row over all sites: at least two of them are hidden where one is, with enough clients and
    therapists together. A row that came without numbers since its clients are few is hidden in this sense too, of a site where the row
    over sites rests on it. The same holds of rows that split the clients of one site: categories, groups, and shares that add up to one.

    Parameters
    ----------
    family : sequence of Rows
        A table, or the tables whose rows of sites and over sites belong together.
    profile : Profile
    """
    hidden = 1
    while hidden:
        hidden = _over_sites(family, profile) + sum(_beside(rows, profile) for rows in family)


def _over_sites(family: Sequence[Rows], profile: Profile) -> int:
    """Hide rows of sites beside pooled rows; return how many."""
    keys = [key for key in columns.over_sites(family[0].schema) if all(key in columns.over_sites(rows.schema) for rows in family)]
    if any(columns.LEFT_OUT in rows.frame for rows in family):
        return 0
    rows = _stacked(family, [*keys, "estimate_type", "claim"])
    pooled = rows["owner"].eq("")
    told = rows[pooled & rows["shown"]].groupby("group")["clients"].max()
    with_numbers = rows[~pooled & ~rows["silent"]].groupby("group")["clients"].sum()
    rests_on_silent = told.index[told > with_numbers.reindex(told.index).fillna(0)]
    hidden = rows["withheld"] | (_silent_and_few(rows, profile) & rows["group"].isin(rests_on_silent))
    lacking = rows[~pooled & hidden & ~rows["known"] & rows["group"].isin(told.index)]
    return _hide_smallest(family, rows[~pooled], lacking, profile, rows[pooled])


def _silent_and_few(rows: pd.DataFrame, profile: Profile) -> pd.Series:
    """Return which rows came without numbers and have few clients, but some."""
    return rows["silent"] & rows["clients"].gt(0) & rows["clients"].lt(profile.min_clients)


def _beside(rows: Rows, profile: Profile) -> int:
    """Hide rows of the same clients split into parts; return how many."""
    hidden = 0
    for key in columns.variants(rows.schema):
        names = [name for name in rows.schema.identifying if name not in (key, *columns.VERDICTS)] + [
            "owner",
            "method",
            "estimate_type",
            "claim",
        ]
        frame = _stacked([rows], names)
        shares = frame[rows.shares()]
        hidden += _hide_smallest([rows], shares, shares[shares["withheld"] & ~shares["known"]], profile)
        if key in SPLITS_CLIENTS:
            few = rows.withheld & np.isin(rows.rule.astype(str), ("clients", "therapists", "dominance"))
            few = frame[(few | _silent_and_few(frame, profile).to_numpy()) & ~rows.shares()]
            hidden += _hide_smallest([rows], frame[~rows.shares()], few, profile)
            hidden += _hide_contrasts(rows, [name for name in names if name not in ("estimate_type", "contrast", "method")], few)
    return hidden


def _hide_contrasts(rows: Rows, names: list[str], few: pd.DataFrame) -> int:
    group = rows.groups(names)
    types = rows.frame["estimate_type"].astype(str)
    contrast = types.str.endswith(DIFFERENCES).to_numpy()
    return rows.hide(contrast & np.isin(group, group[few["row"].to_numpy(dtype=int)]), "complement")


def _stacked(family: Sequence[Rows], names: list[str]) -> pd.DataFrame:
    """Return what is judged of all rows with numbers, tables below each other."""
    parts = []
    for place, rows in enumerate(family):
        inside, outside = rows.counted()
        part = pd.DataFrame(
            {
                "table": place,
                "row": np.arange(len(rows.frame)),
                "owner": rows.owner,
                "shown": rows.shown,
                "withheld": rows.withheld,
                "known": rows.known,
                "silent": ~rows.active,
                "clients": rows.clients,
                "therapists": rows.therapists,
                "largest": np.nan_to_num(rows.largest),
                "inside": inside,
                "outside": outside,
            }
        )
        parts.append(part)
    stacked = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    stacked["group"] = family[0].once(("stacked", len(family), *names), lambda: _groups(family, names))
    return stacked


def _groups(family: Sequence[Rows], names: Sequence[str]) -> np.ndarray:
    names = [*dict.fromkeys(names)]
    keys = pd.concat([rows.frame.assign(owner=rows.owner)[names].astype(object) for rows in family], ignore_index=True)
    return keys.groupby(names, sort=False, dropna=False).ngroup().to_numpy()


def _hide_smallest(
    family: Sequence[Rows], rows: pd.DataFrame, lacking: pd.DataFrame, profile: Profile, over: pd.DataFrame | None = None
) -> int:
    """Hide in each group with hidden rows the smallest shown ones until the hidden ones cannot be told apart; return how many.

    What another scenario shows cannot be hidden any more. Where nothing else is left, the rows ``over`` them go.
    """
    if not len(lacking):
        return 0
    filled = lacking.assign(therapists=lacking["therapists"].where(np.isfinite(lacking["therapists"]), profile.min_therapists))
    together = filled.groupby("group").agg(
        number=("row", "size"),
        clients=("clients", "sum"),
        therapists=("therapists", "sum"),
        largest=("largest", "max"),
        inside=("inside", lambda values: values.sum() if values.notna().any() else np.inf),
        outside=("outside", lambda values: values.sum() if values.notna().any() else np.inf),
    )
    enough = together["number"].gt(1) & together[["clients", "inside", "outside"]].ge(profile.min_clients).all(axis=1)
    enough &= together["therapists"].ge(profile.min_therapists)
    enough &= together["largest"].le(profile.max_therapist_share * together[["clients", "inside", "outside"]].min(axis=1) + ROUNDING)
    open_groups = together.index[~enough]
    shown = rows[rows["shown"] & ~rows["known"] & rows["group"].isin(open_groups)]
    # One a round: what is hidden counts towards the others of its group in the next round.
    size = shown[["clients", "inside", "outside"]].min(axis=1)
    smallest = shown.assign(size=size).sort_values(["size", "clients", "inside", "owner", "row"], kind="stable").drop_duplicates("group")
    hidden = 0
    for place, chosen in smallest.groupby("table"):
        mask = np.zeros(len(family[place].frame), dtype=bool)
        mask[chosen["row"].to_numpy()] = True
        hidden += family[place].hide(mask, "complement")
    if over is not None:
        told_elsewhere = set(rows.loc[rows["known"] & rows["group"].isin(open_groups), "group"]) - set(shown["group"])
        for place, chosen in over[over["shown"] & over["group"].isin(told_elsewhere)].groupby("table"):
            mask = np.zeros(len(family[place].frame), dtype=bool)
            mask[chosen["row"].to_numpy()] = True
            hidden += family[place].hide(mask, "complement")
    return hidden
