"""How often intervals of intraclass correlations hold the truth, by method.

``python tests/reference/multilevel_coverage.py --runs 2000 --profile-runs 400`` prints the table that docs/design.md quotes.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from alliance.statistics.multilevel import variance_shares
from alliance.statistics.resampling import generator
from scipy.special import fdtri

TRUTHS = (0.0, 0.05, 0.2)
THERAPISTS = (10, 20, 40)


def one_way(random: np.random.Generator, therapists: int, icc: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the therapist of each client (3 to 20 clients each) and an outcome with variance one."""
    therapist = np.repeat(np.arange(therapists), random.integers(3, 21, therapists))
    return therapist, np.sqrt(icc) * random.normal(size=therapists)[therapist] + np.sqrt(1 - icc) * random.normal(size=len(therapist))


def closed_forms(therapist: np.ndarray, y: np.ndarray) -> dict[str, tuple[float, float]]:
    """Return intervals by Searle's F with the average size n0, and by Thomas & Hultquist (1978) with the harmonic mean size."""
    n = np.bincount(therapist).astype(float)
    k, total = len(n), n.sum()
    means = np.bincount(therapist, y) / n
    within = ((y - means[therapist]) ** 2).sum() / (total - k)
    average = (total - (n**2).sum() / total) / (k - 1)
    harmonic = k / (1 / n).sum()
    statistics = {"searle": ((n * (means - y.mean()) ** 2).sum() / (k - 1) / within, average)}
    statistics["thomas_hultquist"] = (harmonic * means.var(ddof=1) / within, harmonic)
    intervals = {}
    for name, (f, size) in statistics.items():
        ratios = [max(f / fdtri(k - 1, total - k, p) - 1, 0.0) / size for p in (0.975, 0.025)]
        intervals[name] = (ratios[0] / (1 + ratios[0]), ratios[1] / (1 + ratios[1]))
    return intervals


def coverage_one_way(therapists: int, icc: float, runs: int) -> dict[str, float]:
    """Return the share of runs whose interval holds the truth, for clients in therapists."""
    random = generator(1991, "coverage", therapists, icc)
    hits: dict[str, int] = {}
    for _ in range(runs):
        therapist, y = one_way(random, therapists, icc)
        intervals = closed_forms(therapist, y)
        row = variance_shares(pd.DataFrame({"y": y, "therapist": therapist}), "y", ["therapist"], residual="client").iloc[0]
        intervals["exact"] = (row["ci_low"], row["ci_high"])
        for name, (low, high) in intervals.items():
            hits[name] = hits.get(name, 0) + (low <= icc <= high)
    return {name: count / runs for name, count in hits.items()}


def coverage_three_levels(therapists: int, icc: float, runs: int) -> dict[str, float]:
    """Return the same for the profile intervals of sessions in clients in therapists; clients have a share of .4."""
    random = generator(1991, "three levels", therapists, icc)
    hits = {"therapist": 0, "client": 0}
    for _ in range(runs):
        therapist = np.repeat(np.arange(therapists), random.integers(3, 21, therapists))
        client = np.repeat(np.arange(len(therapist)), random.integers(2, 9, len(therapist)))
        y = np.sqrt(icc) * random.normal(size=therapists)[therapist][client] + np.sqrt(0.4) * random.normal(size=len(therapist))[client]
        y += np.sqrt(0.6 - icc) * random.normal(size=len(client))
        rows = pd.DataFrame({"y": y, "therapist": therapist[client], "client": client})
        table = variance_shares(rows, "y", ["therapist", "client"], residual="session").set_index("level")
        for level, truth in (("therapist", icc), ("client", 0.4)):
            hits[level] += table.loc[level, "ci_low"] <= truth <= table.loc[level, "ci_high"]
    return {name: count / runs for name, count in hits.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--profile-runs", type=int, default=400)
    given = parser.parse_args()
    for therapists in THERAPISTS:
        for icc in TRUTHS:
            one = coverage_one_way(therapists, icc, given.runs)
            print(therapists, icc, "clients in therapists", {name: round(value, 3) for name, value in one.items()}, flush=True)
    for therapists in THERAPISTS:
        for icc in TRUTHS:
            three = coverage_three_levels(therapists, icc, given.profile_runs)
            print(
                therapists, icc, "sessions in clients in therapists", {name: round(value, 3) for name, value in three.items()}, flush=True
            )


if __name__ == "__main__":
    main()
