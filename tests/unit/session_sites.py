"""Sites with the alliance session by session and a known course, for tests of the questions about it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from alliance.questions.site_data import SiteData
from unit.simulated_site import score_rows, site_of


def sessions_site(
    name: str = "a",
    n: int = 100,
    therapists: int = 20,
    seed: int = 1,
    *,
    slope: float = 0.0,
    cycle: float = 0.0,
    slope_outcome: float = 0.3,
    sessions: int = 16,
    missed: float = 0.1,
) -> SiteData:
    """Return a site whose clients have lines of their own over 8 to ``sessions`` sessions.

    Parameters
    ----------
    slope : float
        Mean change over ten sessions, in SD of clients' levels; single slopes vary by 0.5.
    cycle : float
        Amplitude of a cycle of four sessions, each client's at a time of its own.
    slope_outcome : float
        How much a client's slope adds to the outcome.
    missed : float
        Share of sessions without a rating.
    """
    random = np.random.default_rng(seed)
    client, therapist = np.arange(1, n + 1), random.integers(1, therapists + 1, n)
    level, own = random.standard_normal(n), slope + 0.5 * random.standard_normal(n)
    last, start = random.integers(min(8, sessions), sessions + 1, n), random.uniform(0, 2 * np.pi, n)
    of_therapist = 0.3 * random.standard_normal(therapists + 1)[therapist]
    scores = []
    for session in range(1, sessions + 1):
        came = (last >= session) & (random.random(n) >= missed)
        wave = cycle * np.sin(2 * np.pi * session / 4 + start)
        value = 5 + level + of_therapist + own * (session - 1) / 10 + wave + 0.6 * random.standard_normal(n)
        if came.any():
            scores.append(score_rows(client[came], value[came], instrument="wai_36", session=session, therapist_no=therapist[came]))
    severity = random.standard_normal(n)
    better = slope_outcome * own + 0.2 * level - 0.4 * severity + 0.8 * random.standard_normal(n)
    common = {"instrument": "core_10", "unit": "sum", "therapist_no": therapist}
    scores.append(score_rows(client, 20 + 6 * severity, timepoint="intake", **common))
    scores.append(score_rows(client, 15 - 6 * better, timepoint="post", **common))
    numbers = {"client_no": pd.array(client, dtype="Int64"), "therapist_no": pd.array(therapist, dtype="Int64")}
    return site_of(scores, name, clients=pd.DataFrame(numbers))


def session_rows(site: SiteData) -> pd.DataFrame:
    """Return what another program starts from: site, client, therapist, session, score, outcome, intake; nothing scaled."""
    scores = site.scores
    rated = scores[scores["instrument"].eq("wai_36")]
    values = {
        name: scores[scores["instrument"].eq("core_10") & scores["timepoint"].eq(timepoint)].set_index("client_no")["score"]
        for name, timepoint in (("outcome", "post"), ("intake", "intake"))
    }
    therapists = site.clients.set_index("client_no")["therapist_no"]
    rows = pd.DataFrame({"site": site.site, "client": rated["client_no"].astype(int), "session": rated["session"].astype(int)})
    rows["therapist"] = therapists.loc[rows["client"]].to_numpy()
    rows["score"] = rated["score"].to_numpy()
    for name, of in values.items():
        rows[name] = of.loc[rows["client"]].to_numpy()
    return rows.reset_index(drop=True)
