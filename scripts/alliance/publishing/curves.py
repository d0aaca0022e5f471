"""Curves over sessions: points are shown between which, and counts beside them by which, no few clients are told of."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alliance.publishing import columns
from alliance.publishing.profiles import Profile
from alliance.publishing.rows import Rows


def thin(rows: Rows, profile: Profile) -> None:
    """Hide the points of curves between which too few clients left: each step of a curve is a count of those who did.

    Parameters
    ----------
    rows : Rows
        Points by session; the curve of those who stay starts at 1, that of those who left at 0.
    profile : Profile
    """
    if rows.place not in columns.CURVES:
        return
    curve = rows.groups(
        [key for key in rows.schema.identifying if key not in rows.schema.steps] + ["owner", "estimate_type", "claim", "method"]
    )
    step = rows.schema.steps[0]
    inside, outside = rows.counted()
    falling = rows.frame["estimate_type"].eq("share_in_treatment").to_numpy()
    left = np.where(falling, outside, inside)
    order = np.lexsort((rows.numbers(step), curve))
    fewest = rows.fewest(profile)
    last: dict[int, float] = {}
    chosen = np.zeros(len(rows.frame), dtype=bool)
    for row in order:
        if not rows.shown[row]:
            continue
        if left[row] - last.get(curve[row], 0.0) >= fewest[row] - 0.5:
            last[curve[row]] = left[row]
        else:
            chosen[row] = True
    rows.hide(chosen, "difference")
    _without_rest(rows, profile)


def _without_rest(rows: Rows, profile: Profile) -> None:
    """Hide the share in treatment where it would tell, beside the share who dropped out, that few ended in another way."""
    at = rows.groups([*rows.schema.identifying, "owner"])
    inside, _ = rows.counted()
    stayed = rows.frame["estimate_type"].eq("share_in_treatment").to_numpy()
    both = pd.DataFrame({"at": at, "inside": np.where(rows.shown, inside, np.nan), "clients": rows.clients}).groupby("at")
    rest = both["clients"].transform("max") - both["inside"].transform("sum")
    rows.hide(stayed & both["inside"].transform("count").gt(1).to_numpy() & (rest < profile.min_clients - 0.5).to_numpy(), "complement")


def counts_told(rows: Rows, profile: Profile) -> bool:
    """Return whether the counts at the points of a table may stand.

    With them and exact shares, the points before and after could be worked out: who came to a session are those in treatment before it.
    """
    return rows.place not in columns.CURVES or profile.round_counts_to > 1
