"""All client factors of one site, in windows and by raters, and their pooling over 50 sites, in processor seconds besides imports."""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from measure import PROJECT

sys.path.insert(0, str(PROJECT / "scripts"))
sys.path.insert(0, str(PROJECT / "tests" / "unit"))

from alliance.configuration import study
from alliance.questions.client_factors import question as client_factors
from alliance.questions.site_data import SiteData
from simulated_site import INSTRUMENTS, score_rows, site_of

CLIENTS, THERAPISTS, SESSIONS, SITES, LIMIT = 200, 20, 12, 50, 2.0
CATEGORIES = ("interpersonal", "intrapersonal", "diagnostic")
RATERS = ("client", "therapist", "observer")


def site_data(factors: int, number: int) -> SiteData:
    """Return one simulated site with factors (some missing), the alliance of three raters in every session, intake and post scores."""
    random = np.random.default_rng(number)
    client = np.arange(1, CLIENTS + 1)
    therapist = random.integers(1, THERAPISTS + 1, CLIENTS)
    shared = random.normal(size=CLIENTS)
    level = 0.5 * shared + 0.4 * random.normal(size=THERAPISTS + 1)[therapist] + 0.7 * random.normal(size=CLIENTS)
    slope = 0.03 * random.normal(size=CLIENTS)
    frame = pd.DataFrame({"client_no": client, "therapist_no": therapist}).astype("Int64")
    for position in range(factors):
        values = 0.4 * shared + random.normal(size=CLIENTS)
        frame[f"factor_{position}"] = np.where(random.random(CLIENTS) < 0.05, np.nan, values)
    rows = []
    last = random.integers(4, SESSIONS + 1, CLIENTS)
    for rater in RATERS:
        for session in range(1, SESSIONS + 1):
            rated = (last >= session) & (random.random(CLIENTS) > 0.1)
            scores = 5 + level + slope * session + 0.6 * random.normal(size=CLIENTS)
            rows.append(score_rows(client[rated], scores[rated], instrument="wai_36", session=session, rater=rater))
    intake = 20 + 5 * random.normal(size=CLIENTS)
    rows.append(score_rows(client, intake, instrument="core_10", timepoint="intake", unit="sum"))
    post = 8 + 0.4 * intake - 2 * level + 4 * random.normal(size=CLIENTS)
    rows.append(score_rows(client, post, instrument="core_10", timepoint="post", unit="sum"))
    return replace(site_of(rows, f"s{number:02d}", clients=frame), instruments=INSTRUMENTS)


def options(factors: int) -> dict[str, Any]:
    """Return the shipped configuration with so many factors, three windows and three raters."""
    chosen = copy.deepcopy(study.load(PROJECT / "config.yaml").base) | {"seed": 1}
    question = chosen["questions"]["client_factors"]
    question |= {"windows": ["session_3", "late"], "raters": list(RATERS), "unique_shared": ["factor_0"]}
    question["factors"] = {
        f"factor_{position}": {"category": CATEGORIES[position % len(CATEGORIES)], "reversed": False} for position in range(factors)
    }
    return chosen


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    found = function()
    return time.process_time() - start, found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factors", type=int, default=30)
    parser.add_argument("--estimated", type=int, default=3, help="sites to estimate; pooled ones are copies of them")
    given = parser.parse_args()
    chosen = options(given.factors)
    # Modules are imported where they are first needed.
    client_factors.estimate(site_data(2, 99), options(2), {})
    spent, summaries = [], []
    for number in range(given.estimated):
        site = site_data(given.factors, number)
        one, summary = seconds(lambda site=site: client_factors.estimate(site, chosen, {}))
        spent.append(one)
        summaries.append(summary)
    slowest = max(spent)
    print(
        f"{CLIENTS} clients, {given.factors} factors x 3 windows x 3 raters: {np.mean(spent):.2f} s CPU a site, slowest {slowest:.2f} "
        f"(limit {LIMIT:.0f}), {len(summaries[0].estimates)} estimates"
    )
    copies = [replace(summaries[number % len(summaries)], site=f"s{number:02d}") for number in range(SITES)]
    pooling, tables = seconds(lambda: client_factors.pool(copies, chosen, {}))
    print(f"{SITES} sites pooled: {pooling:.1f} s CPU; rows: " + ", ".join(f"{name} {len(table)}" for name, table in tables.items()))
    return int(slowest > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
