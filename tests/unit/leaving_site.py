"""Simulated sites whose clients leave with a known hazard, for tests of the question on dropout."""

from __future__ import annotations

import numpy as np
import pandas as pd
from alliance.questions.site_data import SiteData
from unit.simulated_site import score_rows, site_of

LOG_HAZARD_RATIO = -0.6


def leaving(site: str, n: int = 120, therapists: int = 12, seed: int = 1, rate: float = 0.06, missed: float = 0.1) -> SiteData:
    """Return a site in which one SD of first-session alliance multiplies the hazard of leaving by exp(-0.6).

    Treatments are planned for 8, 12 or 16 sessions; few are broken off from outside or still go on. The alliance is rated at every attended
    session and drifts; some sessions are missed.
    """
    random = np.random.default_rng(seed)
    client = np.arange(1, n + 1)
    therapist = np.sort(random.integers(1, therapists + 1, n))
    therapist[:therapists] = np.arange(1, therapists + 1)
    first, severity = random.standard_normal(n), random.standard_normal(n)
    frailty = 0.3 * random.standard_normal(therapists)[therapist - 1]
    planned = random.choice([8, 12, 16], n)
    sessions, reason = planned.copy(), np.full(n, "planned", dtype=object)
    going = np.ones(n, dtype=bool)
    for session in range(1, 16):
        hazard = -np.expm1(-rate * np.exp(LOG_HAZARD_RATIO * first + 0.2 * severity + frailty))
        here = going & (session < planned)
        leaves = here & (random.random(n) < hazard)
        broken = here & ~leaves & (random.random(n) < 0.006)
        sessions[leaves | broken], going[leaves | broken] = session, False
        reason[leaves], reason[broken] = "unilateral", random.choice(["administrative", "ongoing"], int(broken.sum()))
    rows, scores = [], []
    for session in range(1, int(sessions.max()) + 1):
        came = (session <= sessions) & ((session == 1) | (session == sessions) | (random.random(n) >= missed))
        rows.append(pd.DataFrame({"client_no": client, "session": session, "attended": came})[session <= sessions])
        drift = first + (0.03 * (session - 1) + 0.4 * random.standard_normal(n)) * (session > 1)
        scores.append(score_rows(client[came], 5 + drift[came], instrument="wai_36", session=session, therapist_no=therapist[came]))
    better = 0.3 * first - 0.4 * severity + random.standard_normal(n)
    scores += [
        score_rows(client, 20 + 6 * severity, instrument="core_10", timepoint="intake", unit="sum", therapist_no=therapist),
        score_rows(client, 15 - 6 * better, instrument="core_10", timepoint="post", unit="sum", therapist_no=therapist),
    ]
    clients = pd.DataFrame(
        {
            "client_no": pd.array(client, dtype="Int64"),
            "therapist_no": pd.array(therapist, dtype="Int64"),
            "planned_sessions": planned.astype(float),
            "affiliation": random.standard_normal(n),
        }
    )
    numbers = np.arange(1, therapists + 1)
    return site_of(
        scores,
        site,
        clients=clients,
        therapists=pd.DataFrame({"therapist_no": pd.array(numbers, dtype="Int64"), "affiliation": random.standard_normal(therapists)}),
        sessions=pd.concat(rows, ignore_index=True),
        termination=pd.DataFrame({"client_no": client, "last_session": sessions, "reason": reason, "judged_by": "therapist"}),
    )
