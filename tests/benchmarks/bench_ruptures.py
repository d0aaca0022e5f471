"""All rules of ruptures, with 200 surrogates of each kind, at 50 sites of 200 clients with 16 sessions, on two processor cores.

Prints wall-clock seconds of computing (no imports) with two processes and with one, and what each rule needs. The limit is 60 s with two.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import numpy as np
from alliance.statistics import ruptures
from alliance.statistics.resampling import generator

SITES, CLIENTS, SESSIONS, SURROGATES = 50, 200, 16, 200
LIMIT = 60.0
RULES = {
    "drop": {"rule": "drop", "sd": 1.0},
    "reliable_drop": {"rule": "reliable_drop", "critical": 1.96},
    "decline": {"rule": "decline", "sd": 1.0},
    "deep_decline": {"rule": "decline", "sd": 2.0},
    "v_shape": {"rule": "v_shape", "sd": 2.0, "recovery": 1.0, "within": 3},
    "control_chart": {"rule": "control_chart", "sigma": 3.0, "baseline": None, "two_of_three": True},
}


def series_of(site: int) -> ruptures.Series:
    """Return ratings of one site with a client's level, autocorrelated sessions and one session in ten not rated."""
    random = generator(1, "bench_ruptures", site)
    values = random.standard_normal((SESSIONS, CLIENTS))
    for step in range(1, SESSIONS):
        values[step] = 0.3 * values[step - 1] + np.sqrt(0.91) * values[step]
    values = 5 + 0.6 * random.standard_normal(CLIENTS) + 0.5 * values
    values[random.random(values.shape) < 0.1] = np.nan
    client, session = np.meshgrid(np.arange(CLIENTS), np.arange(1, SESSIONS + 1))
    return ruptures.series(client.ravel(), session.ravel(), values.ravel())


def one_site(site: int) -> dict[str, float]:
    """Return the seconds that each step of one site needs."""
    found = series_of(site)
    spent = {}
    start = time.perf_counter()
    sd = ruptures.scale(found, 0.8)
    random = generator(1, "bench_ruptures surrogates", site)
    correlation = ruptures.autocorrelation(found)
    noise = {kind: ruptures.surrogates(kind, found, SURROGATES, random, correlation) for kind in ruptures.SURROGATES}
    spent["surrogates"] = time.perf_counter() - start
    for name, rule in RULES.items():
        start = time.perf_counter()
        ruptures.ruptures(rule, found, sd)
        for values in noise.values():
            ruptures.surrogate_starts(rule, found, sd, values)
        spent[name] = time.perf_counter() - start
    return spent


def main() -> None:
    one_site(0)
    start = time.perf_counter()
    spent = [one_site(site) for site in range(SITES)]
    alone = time.perf_counter() - start
    with ProcessPoolExecutor(2) as processes:
        list(processes.map(one_site, range(2)))
        start = time.perf_counter()
        list(processes.map(one_site, range(SITES)))
        together = time.perf_counter() - start
    for name in spent[0]:
        print(f"{name}: {sum(one[name] for one in spent):.1f} s")
    size = f"{SITES} sites x {CLIENTS} clients x {SESSIONS} sessions, {SURROGATES} surrogates of each of {len(ruptures.SURROGATES)} kinds"
    print(f"{size}: {alone:.1f} s in one process, {together:.1f} s in two (limit {LIMIT:g} s)")
    sys.exit(together > LIMIT)


if __name__ == "__main__":
    main()
