"""Mediation within clients whose slopes differ: the indirect effect with the covariance of slopes, for clients of therapists.

Slopes of clients of one therapist are alike. Clients have 4 to 12 sessions, of which some lack a measure; measures drift over sessions.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from alliance.simulations.clients import clustered_normal, therapists_of_clients
from alliance.simulations.framework import LEVEL, SINGLE_SITE, Condition, Intervals
from alliance.statistics.random_slopes import DELTA, MONTE_CARLO, random_slopes

RUNS = 500
# An optimiser stops where it stops.
TOLERANCE = 1e-3
SHORTEST, LONGEST = 4, 12
# Means and standard deviations over clients: first measure to mediator, mediator to outcome, first measure to outcome.
MEANS, DEVIATIONS = np.array([0.3, 0.3, 0.1]), np.array([0.3, 0.3, 0.2])
ICC, MISSING = 0.1, 0.1
DRIFT = (0.1, 0.1, -0.1)
DRAWS = 1000
WORDS = {"indirect": "indirect effects within clients whose slopes differ", "ab_covariance": "covariances of two slopes over clients"}


def conditions() -> list[Condition]:
    """Return sizes, and correlations over clients of the slopes that make the indirect effect."""
    sizes = ((40, 10), (120, 24))
    return [
        Condition(
            f"n{n}_therapists{therapists}_correlation{correlation:g}",
            {"n_clients": n, "n_therapists": therapists, "correlation": correlation},
        )
        for (n, therapists), correlation in product(sizes, (-0.4, 0.0, 0.6))
    ]


def sessions(condition: Condition, random: np.random.Generator, runs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return chains of every run, shape (runs, rows, 3), and client, therapist and session of the rows; missing ones are NaN."""
    sizes = condition.parameters
    n, correlation = int(sizes["n_clients"]), float(sizes["correlation"])
    therapists = therapists_of_clients(n, int(sizes["n_therapists"]))
    together = np.array([[1, correlation, 0.2], [correlation, 1, 0.2], [0.2, 0.2, 1]])
    slopes = MEANS + DEVIATIONS * clustered_normal(random, together, therapists, ICC, runs)
    x, m, y = random.standard_normal((3, runs, n, LONGEST))
    m += slopes[:, :, :1] * x
    y += slopes[:, :, 1:2] * m + slopes[:, :, 2:] * x
    session = np.arange(1, LONGEST + 1)
    values = np.stack([x, m, y], axis=-1) + random.standard_normal((runs, n, 1, 3)) + session[:, None] * np.array(DRIFT)
    values[random.random(values.shape) < MISSING] = np.nan
    values[session > random.integers(SHORTEST, LONGEST + 1, (runs, n, 1))] = np.nan
    client = np.repeat(np.arange(n), LONGEST)
    return values.reshape(runs, n * LONGEST, 3), client, therapists[client], np.tile(session, n)


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return indirect effects and covariances of slopes, with intervals by leaving out therapists and by Monte Carlo."""
    values, client, therapist, session = sessions(condition, random, runs)
    held = session[:, None].astype(float)
    found = [random_slopes(rows, client, therapist, held=held, random=random, draws=DRAWS, level=LEVEL) for rows in values]
    a, b, _ = MEANS
    covariance = float(condition.parameters["correlation"]) * DEVIATIONS[0] * DEVIATIONS[1]
    truth = {"indirect": a * b + covariance, "ab_covariance": covariance}
    results = []
    for effect, interval in (("indirect", DELTA), ("indirect", MONTE_CARLO), ("ab_covariance", DELTA)):
        effects = [one.of(effect, False, interval) for one in found]
        estimate, low, high, error = np.array([(one.estimate, one.ci_low, one.ci_high, one.std_error) for one in effects]).T
        numbers = (truth[effect], estimate, low, high, (estimate, error), SINGLE_SITE)
        name = f"{effect}, slopes that differ"
        results.append(Intervals(name, WORDS[effect], "defined_unstandardised", "cluster_jackknife", interval, *numbers))
    return results
