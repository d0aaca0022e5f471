"""Rows without one site: their difference from the row of all sites tells of that site."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alliance.publishing import columns
from alliance.publishing.profiles import Profile
from alliance.publishing.rows import Rows


def protect(tables: Sequence[Rows], profile: Profile) -> None:
    """Hide rows that leave out a site whose own number is hidden, or of which it is not known what it rests on.

    Parameters
    ----------
    tables : sequence of Rows
        All tables of one question, judged.
    profile : Profile
    """
    for rows in tables:
        if columns.LEFT_OUT in rows.frame and len(rows.frame):
            rows.hide(~_by_site(rows, tables, profile), "difference")


def _by_site(rows: Rows, tables: Sequence[Rows], profile: Profile) -> np.ndarray:
    """Return which rows leave out a site whose own number is shown, or that is large enough by the sums of the group."""
    keys = [key for key in rows.schema.identifying if key not in (columns.LEFT_OUT, "influential")]
    safe = _by_sums(rows, keys, profile)
    for other in tables:
        if columns.LEFT_OUT in other.frame or not set(keys) <= set(other.schema.identifying) or not (other.owner != "").any():
            continue
        at = other.frame.assign(site=other.owner)[[*keys, "estimate_type", "site"]][other.active & (other.owner != "")]
        at = at.assign(hidden=other.withheld[at.index]).groupby([*keys, "estimate_type", "site"], dropna=False)["hidden"].any()
        wanted = rows.frame.assign(site=rows.frame[columns.LEFT_OUT])[[*keys, "estimate_type", "site"]]
        found = wanted.merge(at.reset_index(), how="left", on=[*keys, "estimate_type", "site"])["hidden"]
        known = found.notna().to_numpy()
        safe = np.where(known, ~found.fillna(True).astype(bool).to_numpy(), safe)
    return safe


def _by_sums(rows: Rows, keys: list[str], profile: Profile) -> np.ndarray:
    """Return which rows leave out enough clients and therapists, by the sums over all rows of a group that leaves out each site once."""
    group = rows.groups([*keys, "estimate_type", "claim", "method"])
    frame = pd.DataFrame(
        {"group": group, "clients": rows.clients, "therapists": rows.numbers("n_therapists"), "sites": rows.numbers("n_sites")}
    )
    of_group = frame.groupby("group")
    size = of_group["clients"].transform("count")
    complete = size.eq(of_group["sites"].transform("max") + 1) & size.gt(1)
    without = {name: of_group[name].transform("sum") / (size - 1) - frame[name] for name in ("clients", "therapists")}
    large = (without["clients"] >= rows.fewest(profile)) & (without["therapists"] >= profile.min_therapists)
    return (complete & large).to_numpy()
