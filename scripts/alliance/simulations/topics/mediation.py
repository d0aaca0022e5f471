"""Mediation over sessions: indirect effects within and between clients of therapists, with sessions of different number and missing scores.

Each measure follows the one before it by a session; clients' levels follow other paths. Clients have 4 to 12 sessions.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from alliance.simulations.clients import clustered_normal, therapists_of_clients
from alliance.simulations.framework import LEVEL, SINGLE_SITE, Condition, Intervals
from alliance.statistics.multilevel_mediation import BETWEEN, DELTA, MONTE_CARLO, WITHIN, multilevel_mediation

RUNS = 500
# An optimiser stops where it stops.
TOLERANCE = 1e-5
SHORTEST, LONGEST = 4, 12
# Standardised paths: first measure to mediator, mediator to outcome, first measure to outcome.
PATHS = {WITHIN: (0.3, 0.3, 0.1), BETWEEN: (0.4, 0.4, 0.2)}
# Variance between clients over that within them.
RATIO = 0.6
DRAWS = 1000
LEVELS = {WITHIN: "within clients", BETWEEN: "between clients"}


def conditions() -> list[Condition]:
    """Return sizes, shares of the variance between clients that lie between therapists, and shares of scores that are missing."""
    sizes = ((60, 12), (150, 30))
    return [
        Condition(
            f"n{n}_therapists{therapists}_icc{icc:g}_missing{missing:g}",
            {"n_clients": n, "n_therapists": therapists, "icc": icc, "missing": missing},
        )
        for (n, therapists), icc, missing in product(sizes, (0.0, 0.1), (0.0, 0.2))
    ]


def correlations(level: str) -> np.ndarray:
    """Return the correlations of first measure, mediator and outcome."""
    a, b, direct = PATHS[level]
    first, second = direct + a * b, b + a * direct
    return np.array([[1, a, first], [a, 1, second], [first, second, 1]])


def sessions(condition: Condition, random: np.random.Generator, runs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return chains of every run, shape (runs, rows, 3), and client, therapist and session of the rows; missing ones are NaN."""
    sizes = condition.parameters
    n = int(sizes["n_clients"])
    therapists = therapists_of_clients(n, int(sizes["n_therapists"]))
    levels = np.sqrt(RATIO) * clustered_normal(random, correlations(BETWEEN), therapists, float(sizes["icc"]), runs)
    count = LONGEST - 2
    within = random.standard_normal((runs, n, count, 3)) @ np.linalg.cholesky(correlations(WITHIN)).T
    values = levels[:, :, None] + within
    values[random.random(values.shape) < float(sizes["missing"])] = np.nan
    last = random.integers(SHORTEST, LONGEST + 1, (runs, n, 1))
    values[np.arange(3, LONGEST + 1) > last] = np.nan
    client, session = np.repeat(np.arange(n), count), np.tile(np.arange(1, count + 1), n)
    return values.reshape(runs, n * count, 3), client, therapists[client], session


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return standardised indirect effects at both levels, with intervals by the delta method and by Monte Carlo."""
    values, client, therapist, session = sessions(condition, random, runs)
    held = session[:, None].astype(float)
    found = [multilevel_mediation(rows, client, therapist, held=held, random=random, draws=DRAWS, level=LEVEL) for rows in values]
    results = []
    for level, words in LEVELS.items():
        a, b, _ = PATHS[level]
        for interval in (DELTA, MONTE_CARLO):
            effects = [one.of(level, "indirect", True, interval) for one in found]
            estimate, low, high, error = np.array([(one.estimate, one.ci_low, one.ci_high, one.std_error) for one in effects]).T
            numbers = (a * b, estimate, low, high, (estimate, error), SINGLE_SITE)
            what = f"indirect effects over sessions {words}"
            results.append(Intervals(f"indirect, {level}", what, "defined_standardised", "cluster_jackknife", interval, *numbers))
    return results
