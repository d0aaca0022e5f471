"""Curves over sessions tell of few clients neither by a step, nor beside each other, nor by the counts at their points."""

from __future__ import annotations

import pytest
from unit.published_study import PUBLIC, SHARE, gated_rows, row, status

CLIENTS = 100


def points(sessions, kind):
    """Return the points of a curve: at each session how many clients are inside the share, came, and dropped out after it."""
    keys = {"definition": "unilateral", "group": "all", "scale": "identity", "ci_low": 0, "ci_high": 1, "estimate_type": kind}
    return [
        row(clients=CLIENTS, session=session, estimate=inside / CLIENTS, n_at_risk=came, n_events=events, **keys)
        for session, (inside, came, events) in sessions.items()
    ]


def published(dropped, stayed, profile):
    """Return the sessions at which each curve is shown, and the table."""
    rows = [*points(dropped, "cumulative_risk"), *points(stayed, "share_in_treatment")]
    made = gated_rows("dropout", "survival", rows, profile, statuses=[status("elm", 120, 20), status("oak", 120, 20)])
    shown = made[made["status"].eq("estimated")]
    return {kind: own["session"].tolist() for kind, own in shown.groupby("estimate_type")}, made


@pytest.mark.parametrize("profile", [PUBLIC, SHARE], ids=["public", "share"])
def test_who_ended_as_planned_is_not_what_two_curves_leave_over(profile):
    # After session 4, 20 dropped out and 79 stayed: one client ended as planned. After session 8 these are 20.
    dropped, stayed = {4: (20, 90, 12), 8: (40, 60, 12)}, {4: (79, 90, 12), 8: (40, 60, 12)}
    found, _ = published(dropped, stayed, profile)
    assert found == {"cumulative_risk": [4, 8], "share_in_treatment": [8]}


def test_with_exact_counts_no_count_beside_a_point_tells_of_the_sessions_before_and_after():
    # Of 60 who came to session 8, 59 came back: with the 60, the point would tell that one left there.
    dropped, stayed = {4: (20, 90, 12), 8: (21, 60, 12)}, {4: (50, 90, 12), 8: (39, 60, 21)}
    _, made = published(dropped, stayed, SHARE)
    assert made["status"].eq("estimated").sum() == 3
    assert made[["n_at_risk", "n_events"]].isna().all(axis=None)
    _, rounded = published(dropped, stayed, PUBLIC)
    assert rounded.loc[rounded["session"].eq(4), "n_at_risk"].tolist() == [90, 90]
