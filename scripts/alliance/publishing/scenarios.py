"""The same number in several scenarios of a bundle: differences tell of the clients in between, and one tells what another hides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alliance.publishing import columns
from alliance.publishing.profiles import Profile
from alliance.publishing.rows import Rows, hashed

COUNTS = ("_clients", "_therapists", "_inside", "_outside")
HALF = 0.5


def exact(rows: Rows) -> pd.DataFrame:
    """Return what identifies the rows that came with numbers, with their exact counts; never to be published.

    Parameters
    ----------
    rows : Rows
        Judged.

    Returns
    -------
    DataFrame
        ``_key`` (equal for the same number of another scenario), ``_block`` (equal for the sites' rows and the row over them), ``_owner``,
        ``_place`` (equal for equal blocks and owners), ``_sites``, ``_withheld``, ``_clients``, ``_therapists``, and of shares ``_inside``
        and ``_outside``.
    """
    return _with_counts(rows)[rows.active].reset_index(drop=True)


def from_others(rows: Rows, others: Sequence[pd.DataFrame], profile: Profile) -> None:
    """Hide numbers that other scenarios hide, or that rest on few clients or therapists more or less than there.

    Of shares, the clients in between must be a share that would be shown itself. Numbers of equally many clients stay where the other
    scenario shows them: a difference is then one of method. What another scenario shows of the same count is known (``Rows.known``): here
    it hides nothing that stands beside it.

    Parameters
    ----------
    rows : Rows
        A table, judged.
    others : sequence of DataFrame
        From :func:`exact`, one a scenario.
    profile : Profile
    """
    if not len(rows.frame) or not others:
        return
    compared = ["_key", "_sites", "_withheld", *COUNTS]
    there = pd.concat([other[compared] for other in others], ignore_index=True).drop_duplicates()
    mine = _with_counts(rows)[compared]
    both = mine.assign(_row=np.arange(len(mine))).merge(there, on="_key", suffixes=("", "_there"))
    apart = {name: np.abs(both[name] - both[f"{name}_there"]) for name in COUNTS}
    hidden = both["_withheld_there"].to_numpy(dtype=bool)
    same = (apart["_clients"] == 0) & ~(apart["_inside"] >= HALF)
    between = np.fmin(apart["_clients"], np.fmin(apart["_inside"], apart["_outside"]))
    few = between < profile.min_clients - HALF
    few |= (apart["_therapists"] > 0) & (apart["_therapists"] < profile.min_therapists)
    # A row without rows of its sites: who is in between may be a single one that is not shown by itself.
    few |= ((both["_sites"] - both["_sites_there"]).abs() == 1) & (apart["_clients"] < profile.min_site_clients)
    rows.hide(_any(both, same & hidden, rows), "complement")
    rows.hide(_any(both, (apart["_clients"] > 0) & few & ~hidden, rows), "difference")
    rows.known = _any(both, same & ~hidden, rows)


def from_other_sites(family: Sequence[Rows], others: Sequence[Sequence[pd.DataFrame]], profile: Profile) -> None:
    """Hide rows over sites beside those of other scenarios over other sites, where the sites in between are hidden.

    Parameters
    ----------
    family : sequence of Rows
        The tables whose rows of sites and over sites belong together.
    others : sequence of sequence of DataFrame
        From :func:`exact`: for each other scenario, these tables.
    profile : Profile
    """
    if not others:
        return
    mine = pd.concat([exact(rows) for rows in family], ignore_index=True)
    keys = ["_block", "_owner"]
    for parts in others:
        there = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
        if not _only_in_one(mine, there)["_withheld"].any():
            continue
        sites = pd.concat([one[one["_owner"].ne("")].drop_duplicates(keys) for one in (mine, there)])
        in_between = sites[~sites.duplicated(keys, keep=False) & sites["_withheld"]]
        told = there.loc[there["_owner"].eq("") & ~there["_withheld"], "_block"]
        in_between = in_between[in_between["_block"].isin(told)]
        if not len(in_between):
            continue
        together = in_between.groupby("_block").agg(
            number=("_owner", "size"), clients=("_clients", "sum"), therapists=("_therapists", "sum")
        )
        enough = together["number"].gt(1) & together["clients"].ge(profile.min_clients) & together["therapists"].ge(profile.min_therapists)
        unsafe = together.index[~enough]
        for rows in family:
            rows.hide((rows.owner == "") & _blocks(rows).isin(unsafe).to_numpy(), "difference")


def _only_in_one(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of sites that have no row in the other table's block."""
    alone = [one[~one["_place"].isin(other["_place"]) & one["_owner"].ne("")] for one, other in ((first, second), (second, first))]
    return pd.concat(alone, ignore_index=True)


def _any(both: pd.DataFrame, chosen: pd.Series, rows: Rows) -> np.ndarray:
    found = np.zeros(len(rows.frame), dtype=bool)
    found[both.loc[chosen.to_numpy(dtype=bool), "_row"].to_numpy(dtype=int)] = True
    return found


def _with_counts(rows: Rows) -> pd.DataFrame:
    inside, outside = rows.counted()
    return pd.DataFrame(
        {
            "_key": rows.once("identity", lambda: hashed(rows.frame, columns.identity(rows.schema))),
            "_block": _blocks(rows),
            "_owner": rows.owner.astype(str),
            "_place": rows.once("place", lambda: hashed(pd.DataFrame({"block": _blocks(rows), "owner": rows.owner}), ["block", "owner"])),
            "_sites": rows.numbers("n_sites"),
            "_withheld": rows.withheld,
            **dict(zip(COUNTS, (rows.clients, rows.numbers("n_therapists"), inside, outside))),
        }
    )


def _blocks(rows: Rows) -> pd.Series:
    keys = [*columns.shared_over_sites(rows.schema), "estimate_type", "claim"]
    return rows.once("block", lambda: hashed(rows.frame, keys))
