"""Sites with task, bond and goal over eight sessions, for tests of the question on components."""

from __future__ import annotations

import numpy as np
import pandas as pd
from alliance.questions.site_data import SiteData
from unit.simulated_site import score_rows, site_of

SCALES = ("task", "bond", "goal")
TYPES = ("type_1", "type_2")


def component_site(name: str = "a", n: int = 120, therapists: int = 15, seed: int = 1, task: float = 0.5) -> tuple[SiteData, pd.DataFrame]:
    """Return a site in which the early task alone adds ``task`` to the outcome, and what another program starts from.

    The frame has one row a client: site, therapist, outcome and intake (higher is better), empathy, and the mean of each component in
    sessions 1 to 5 (``task.early``, ...) and in the last three (``task.late``, ...), and so of both types of helping alliance that
    observers rated (``type_1.early``, ...), the second of which goes with the outcome.
    """
    random, observers = np.random.default_rng(seed), np.random.default_rng(1000 + seed)
    client, therapist = np.arange(1, n + 1), random.integers(1, therapists + 1, n)
    common, severity = random.standard_normal(n), random.standard_normal(n)
    series = {scale: 0.6 * common + 0.6 * random.standard_normal(n) + 0.6 * random.standard_normal((8, n)) for scale in SCALES}
    empathy = 0.5 * common + 0.8 * random.standard_normal(n)
    better = task * series["task"][:5].mean(axis=0) - 0.4 * severity + 0.7 * random.standard_normal(n)
    series["type_1"] = observers.standard_normal((8, n)) + common
    series["type_2"] = observers.standard_normal((8, n)) + 1.5 * better
    rated_by = {scale: {"instrument": "ha_cs", "rater": "observer"} if scale in TYPES else {"instrument": "wai_36"} for scale in series}
    scores = [
        score_rows(client, 5 + values[at], scale=scale, session=at + 1, therapist_no=therapist, **rated_by[scale])
        for scale, values in series.items()
        for at in range(8)
    ]
    scores += [
        score_rows(client, 30 + 5 * empathy, instrument="care", session=1, unit="sum", therapist_no=therapist),
        score_rows(client, 20 + 6 * severity, instrument="core_10", timepoint="intake", unit="sum", therapist_no=therapist),
        score_rows(client, 15 - 6 * better, instrument="core_10", timepoint="post", unit="sum", therapist_no=therapist),
    ]
    numbers = {"client_no": pd.array(client, dtype="Int64"), "therapist_no": pd.array(therapist, dtype="Int64")}
    columns = {f"{scale}.{phase}": series[scale][part].mean(axis=0) for scale in series for phase, part in _PARTS.items()}
    frame = pd.DataFrame({"site": name, "therapist": therapist, "outcome": better, "intake": -severity, "empathy": empathy, **columns})
    return site_of(scores, name, clients=pd.DataFrame(numbers)), frame


_PARTS = {"early": slice(0, 5), "late": slice(5, 8)}
