"""Joint tests of no effect in any specification: how often they reject what is true, by flips of therapists and by shuffled clients.

Eight specifications of one study: two measures of the alliance, two of the outcome, with and without the intake level held constant.
Therapists differ in the alliance of their clients and in their outcome. What a test accepts is told as an interval: the statistic
minus and plus what the flips exceed in 5 % of all cases holds zero where the test at .05 does not reject.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from alliance.simulations.clients import clustered_normal, therapists_of_clients
from alliance.simulations.framework import POOLED, Condition, Intervals
from alliance.statistics.sign_flips import STEPS, Flipped, dominant_share, flip_units, flipped, freed, shuffled

RUNS = 1000
FLIPS, REJECTED = 199, 10
CLIENTS_PER_THERAPIST, CASELOADS = 8, 2
EFFECT = 0.15
# Two measures of the alliance, two outcomes, intake level.
AMONG_MEASURES, INTAKE_OUTCOME, INTAKE_ALLIANCE = 0.6, 0.5, 0.1
STATISTICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "any specification": lambda z: np.abs(z).max(axis=1),
    "median": lambda z: np.abs(np.median(z, axis=1)),
    "share excluding zero": dominant_share,
}


def conditions() -> list[Condition]:
    """Return numbers of sites and of therapists a site, and the share of the variance between therapists; last one with an effect."""
    none = [
        Condition(
            f"sites{sites}_therapists{therapists}_icc{icc:g}", {"sites": sites, "n_therapists": therapists, "icc": icc, "partial_r": 0.0}
        )
        for sites, therapists, icc in product((1, 5), (8, 20), (0.0, 0.1, 0.2))
    ]
    some = {"sites": 1, "n_therapists": 20, "icc": 0.1, "partial_r": EFFECT}
    return [*none, Condition(f"sites1_therapists20_icc0.1_r{EFFECT:g}", some)]


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return what the three joint tests accept, by flips and by shuffles."""
    sites, effect = int(condition.parameters["sites"]), float(condition.parameters["partial_r"])
    count = int(condition.parameters["n_therapists"])
    therapists = therapists_of_clients(CLIENTS_PER_THERAPIST * count, count, CASELOADS)
    data = [clustered_normal(random, _population(effect), therapists, float(condition.parameters["icc"]), runs) for _ in range(sites)]
    units = flip_units(therapists)
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"sign_flips": [], "shuffled_alliance": []}
    for run in range(runs):
        pairs = [_freed_pairs(site[run]) for site in data]
        found["sign_flips"].append(_together([flipped(x * y, units, FLIPS, random) for x, y in pairs]))
        found["shuffled_alliance"].append(_together([shuffled(x, y, FLIPS, random) for x, y in pairs]))
    kind = "power" if effect else "acceptance"
    return [
        _accepted(name, method, kind, [statistic(np.vstack(both)) for both in studies])
        for method, studies in found.items()
        for name, statistic in STATISTICS.items()
    ]


def _population(effect: float) -> np.ndarray:
    """Return the correlations of the variables; the effect is the partial r of every alliance with every outcome given the intake."""
    across = effect * np.sqrt((1 - INTAKE_ALLIANCE**2) * (1 - INTAKE_OUTCOME**2)) + INTAKE_ALLIANCE * INTAKE_OUTCOME if effect else 0.0
    intake_alliance = INTAKE_ALLIANCE if effect else 0.0
    matrix = np.full((5, 5), across)
    matrix[:2, :2] = matrix[2:4, 2:4] = AMONG_MEASURES
    matrix[4, :2] = matrix[:2, 4] = intake_alliance
    matrix[4, 2:4] = matrix[2:4, 4] = INTAKE_OUTCOME
    np.fill_diagonal(matrix, 1.0)
    return matrix


def _freed_pairs(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return alliance and outcome of every specification, each of shape (n, specifications)."""
    pairs = [freed(rows[:, alliance], rows[:, outcome], held) for alliance, outcome, held in product((0, 1), (2, 3), (None, rows[:, 4:]))]
    return np.column_stack([x for x, _ in pairs]), np.column_stack([y for _, y in pairs])


def _together(sites: list[Flipped]) -> tuple[np.ndarray, np.ndarray]:
    """Return the standardised scores over sites, shape (1, specifications), and those of every flip."""
    size = np.sqrt(sum(one.norm**2 for one in sites))
    observed = sum(one.observed for one in sites) / size
    return observed[None, :], sum(one.draws / STEPS * one.norm for one in sites) / size


def _accepted(name: str, method: str, kind: str, values: list[np.ndarray]) -> Intervals:
    """Return the acceptance region of a test from the statistic of every study (first) and of its flips."""
    observed = np.array([one[0] for one in values])
    limit = np.array([np.sort(one[1:])[-REJECTED] for one in values])
    what = "no effect, by the joint tests of all specifications"
    errors = (observed, limit)
    # Whoever shuffles clients rejects too often: told, not aimed at.
    target = POOLED if kind == "acceptance" else (0.0, 1.0)
    return Intervals(name, what, "p_value", method, kind, 0.0, observed, observed - limit, observed + limit, errors, target)
