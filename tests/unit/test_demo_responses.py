"""Avoidance of challenges is coded in files of its own, and never more often than challenges were left without involvement."""

from __future__ import annotations

import numpy as np
import pandas as pd
from alliance.demo.responses import UNANSWERED, avoidance

COLUMNS = ["client_id", "session", "code", "count", "intensity", "target", "exposure"]


def coded(challenges, involvement):
    """Return the coded events of sessions with these counts."""
    rows = []
    for session, (asked, met) in enumerate(zip(challenges, involvement, strict=True), start=1):
        rows.append(("A", session, "challenge", asked, np.nan, "", 50))
        if asked:
            rows.append(("A", session, "involvement", met, np.nan, "", 50))
    return pd.DataFrame(rows, columns=COLUMNS)


def test_only_sessions_with_a_challenge_have_a_row():
    found = avoidance(coded([0, 2, 1], [0, 1, 1]), np.random.default_rng(1))
    assert found["session"].tolist() == [2, 3] and found["code"].eq("avoidance").all()
    assert list(found.columns) == COLUMNS and found["count"].tolist()[1] == 0


def test_the_named_share_of_challenges_without_involvement_is_avoided():
    challenges = np.full(4000, 3)
    involvement = np.random.default_rng(2).binomial(challenges, 0.5)
    found = avoidance(coded(challenges, involvement), np.random.default_rng(3))
    left = challenges - involvement
    assert (found["count"].to_numpy() <= left).all()
    share, error = found["count"].sum() / left.sum(), np.sqrt(UNANSWERED * (1 - UNANSWERED) / left.sum())
    assert abs(share - UNANSWERED) < 4 * error
