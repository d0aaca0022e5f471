"""Simulated sites in which ruptures begin, are repaired or not, and change how treatments end, for tests of the question on ruptures."""

from __future__ import annotations

import numpy as np
import pandas as pd
from alliance.questions.site_data import SiteData
from unit.simulated_site import score_rows, site_of

UNREPAIRED, REPAIRED = -0.8, 0.0
SESSIONS = 14


def ruptured(
    site: str, n: int = 150, therapists: int = 15, seed: int = 1, depth: float = 3.0, rate: float = 0.05, leaving: float = 0.04
) -> SiteData:
    """Return a site whose clients rate the alliance in up to 14 sessions.

    In every session from the second on a rupture may begin; in each later one it is repaired with a chance of .5. Observers code every
    session, clients report ruptures; clients with odd numbers call all of theirs resolved, the others none. An unrepaired rupture at the
    end lowers the outcome by .8 of its residual SD, and the chance to leave is three times as large while a rupture is open. Symptoms are
    measured at intake, in session 3 and at the end.
    """
    random = np.random.default_rng(seed)
    client = np.arange(1, n + 1)
    therapist = np.sort(random.integers(1, therapists + 1, n))
    therapist[:therapists] = np.arange(1, therapists + 1)
    therapist.sort()
    level, severity = random.standard_normal(n), random.standard_normal(n)
    dip, going, last = np.zeros(n), np.ones(n, dtype=bool), np.zeros(n, dtype=int)
    reason = np.full(n, "planned", dtype=object)
    ratings, events, sessions, reports = [], [], [], []
    for session in range(1, SESSIONS + 1):
        here = client[going]
        repairs = going & (dip > 0) & (random.random(n) < 0.5)
        dip = np.where(repairs, 0.0, dip)
        begins = going & (dip == 0) & ~repairs & (random.random(n) < rate) & (session > 1)
        dip = np.where(begins, depth, dip)
        rating = 40 + 4 * level + 2 * (random.standard_normal(n) - dip)
        ratings.append(score_rows(here, rating[going], instrument="wai_36", session=session, unit="sum", therapist_no=therapist[going]))
        for code, happened in (("rupture", begins), ("repair", repairs)):
            events.append(pd.DataFrame({"client_no": here, "session": session, "code": code, "count": happened[going].astype(float)}))
        reported_of = {"occurred": begins.astype(float), "intensity": 1.0 + client % 5, "resolution": 2.0 + 2 * (client % 2)}
        for scale, values in reported_of.items():
            values = values if scale == "occurred" else np.where(begins, values, np.nan)
            reported = score_rows(here, values[going], instrument="psq_rupture", session=session, scale=scale)
            reports.append(reported[reported["score"].notna()])
        sessions.append(pd.DataFrame({"client_no": here, "session": session, "attended": True}))
        last[going] = session
        leaves = going & (session < SESSIONS) & (random.random(n) < leaving * np.where(dip > 0, 3.0, 1.0))
        reason[leaves] = "unilateral"
        going &= ~leaves
    early = severity - 0.3 * random.standard_normal(n)
    better = -0.5 * severity + UNREPAIRED * (dip > 0) + 0.8 * random.standard_normal(n)
    common = {"instrument": "core_10", "unit": "sum", "therapist_no": therapist}
    scores = [
        *ratings,
        *reports,
        score_rows(client, 20 + 6 * severity, timepoint="intake", **common),
        score_rows(client, 18 + 6 * early, session=3, **common),
        score_rows(client, 15 - 6 * better, timepoint="post", **common),
    ]
    coded = pd.concat(events, ignore_index=True).assign(rater="observer", intensity=np.nan)
    coded.loc[coded["count"].gt(0) & coded["code"].eq("rupture"), "intensity"] = 3.0
    return site_of(
        scores,
        site,
        clients=pd.DataFrame({"client_no": pd.array(client, dtype="Int64"), "therapist_no": pd.array(therapist, dtype="Int64")}),
        sessions=pd.concat(sessions, ignore_index=True),
        events=coded,
        termination=pd.DataFrame({"client_no": client, "last_session": last, "reason": reason, "judged_by": "therapist"}),
        ranges={"wai_36": {"client": (0.0, 80.0)}},
    )
