"""Path models of the shipped configuration at many sites: processor seconds of what one site costs, part by part, and of pooling.

50 sites of 200 clients, a seventh of the measures missing; 20 therapists a site. Six sites are estimated and the rest counted as they.
How fast one model with missing values is beside lavaan stands in ``bench_structural.py``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from measure import PROJECT

sys.path.insert(0, str(PROJECT / "tests"))
sys.path.insert(0, str(PROJECT / "scripts"))

from alliance.configuration import study
from alliance.questions.path_models import fits as path_models_fits
from alliance.questions.path_models import question as path_models
from alliance.statistics.resampling import generator
from unit.simulated_site import INSTRUMENTS, SiteData, score_rows, site_of

SITES, ESTIMATED, CLIENTS, THERAPISTS, LIMIT = 50, 6, 200, 20, 120.0


def site_data(number: int) -> SiteData:
    """Return a site with every variable of the shipped models."""
    random = generator(1, "bench_path_models", number)
    client = np.arange(1, CLIENTS + 1)
    therapist = random.integers(1, THERAPISTS + 1, CLIENTS)
    general = random.normal(size=CLIENTS) + 0.3 * random.normal(size=THERAPISTS)[therapist - 1]
    rows = []

    def add(
        instrument: str, timepoint: str, session: int | None, scale: str = "total", rater: str = "client", missing: float = 0.14
    ) -> None:
        there = random.uniform(size=CLIENTS) >= missing
        values = 3 + 0.6 * general + 0.8 * random.normal(size=CLIENTS)
        known = {"instrument": instrument, "timepoint": timepoint, "session": session, "scale": scale, "rater": rater}
        rows.append(score_rows(client[there], values[there], **known))

    add("core_10", "intake", None, missing=0.0)
    add("core_10", "post", None)
    for session in range(1, 9):
        add("core_10", "session", session)
        for scale in ("total", "task", "bond", "goal"):
            add("wai_36", "session", session, scale)
        add("care", "session", session)
        add("homework_adherence", "session", session, rater="therapist")
    for scale in ("regard", "congruence", "unconditionality"):
        add("blri_os64", "session", 3, scale)
    for scale in ("total", "expertness", "trustworthiness", "attractiveness"):
        add("crf_s", "session", 3, scale)
    clients = pd.DataFrame({"client_no": client, "therapist_no": therapist, "object_relations": general + random.normal(size=CLIENTS)})
    clients = clients.assign(treatment=np.array(["cognitive", "psychodynamic"], dtype=object)[random.integers(0, 2, CLIENTS)])
    found = site_of(rows, f"s{number:02d}", clients=clients.astype({"client_no": "Int64", "therapist_no": "Int64"}))
    return replace(found, instruments=INSTRUMENTS)


def options() -> dict[str, Any]:
    """Return the shipped configuration, in the form that questions read."""
    return study.load(PROJECT / "config.yaml").pool_options(study.BASE, "path_models")


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    found = function()
    return time.process_time() - start, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--estimated", type=int, default=ESTIMATED, help="sites to estimate; pooled ones are copies of them")
    given, chosen = parser.parse_args(), options()
    sites = [site_data(number) for number in range(given.estimated)]
    path_models.estimate(sites[0], chosen, {})
    spent = {"models": 0.0, **dict.fromkeys(path_models.PARTS, 0.0)}
    total, summaries = 0.0, []
    for site in sites:
        spent["models"] += seconds(lambda site=site: path_models_fits.site_fits(site, chosen))[0]
        for name, part in path_models.PARTS.items():
            spent[name] += seconds(lambda site=site, part=part: part.estimate(site, chosen))[0]
        own, summary = seconds(lambda site=site: path_models.estimate(site, chosen, {}))
        total += own
        summaries.append(summary)
    of_site = total / len(sites)
    print(f"a site in all {of_site:.2f} s: " + ", ".join(f"{name} {value / len(sites):.2f}" for name, value in spent.items()))
    copies = [replace(summaries[number % len(sites)], site=f"s{number:02d}") for number in range(SITES)]
    pooling, tables = seconds(lambda: path_models.pool(copies, chosen, {}))
    whole = SITES * of_site + pooling
    print(f"{SITES} sites: estimated {SITES * of_site:.1f} s, pooled {pooling:.1f} s, together {whole:.1f} s (limit {LIMIT:.0f})")
    print("rows: " + ", ".join(f"{name} {len(table)}" for name, table in tables.items()))
    if whole > LIMIT:
        sys.exit("slower than the limit")


if __name__ == "__main__":
    main()
