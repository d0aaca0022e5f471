"""How clients answer challenges without involvement: coded at some sites, in a file of its own, so that no other value depends on it."""

from __future__ import annotations

import numpy as np
import pandas as pd

AVOIDANCE = "avoidance"
UNANSWERED = 0.8
"""Share of challenges without involvement that are met with avoidance; the others with neither."""


def avoidance(events: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return rows of avoidance, 0 included, of every coded session with a challenge.

    Parameters
    ----------
    events : DataFrame
        Coded events of a site: ``client_id, session, code, count, ...``, one row of involvement for every session with a challenge.
    rng : Generator
        Stream of its own.
    """
    keys = ["client_id", "session"]
    challenges = events.loc[events["code"].eq("challenge"), [*keys, "count"]].rename(columns={"count": "challenges"})
    met = events[events["code"].eq("involvement")].merge(challenges, on=keys, how="left")
    count = rng.binomial((met["challenges"] - met["count"]).to_numpy(dtype=int), UNANSWERED)
    return met.assign(code=AVOIDANCE, count=count)[list(events.columns)]
