"""Curves over sessions: a point is shown where enough clients left since the last one shown."""

from __future__ import annotations

import numpy as np

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
    last: dict[int, float] = {}
    chosen = np.zeros(len(rows.frame), dtype=bool)
    for row in order:
        if not rows.shown[row]:
            continue
        if left[row] - last.get(curve[row], 0.0) >= profile.min_clients - 0.5:
            last[curve[row]] = left[row]
        else:
            chosen[row] = True
    rows.hide(chosen, "difference")
