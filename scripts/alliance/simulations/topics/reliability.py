"""Alpha and omega total of a scale at one site whose clients share therapists."""

from __future__ import annotations

from itertools import product

import numpy as np

from alliance.simulations.clients import clustered_normal, therapists_of_clients
from alliance.simulations.framework import LEVEL, SINGLE_SITE, Condition, Intervals
from alliance.statistics.internal_consistency import alpha
from alliance.statistics.reliability import HEADLINE, from_covariance, omega_total, reliability
from alliance.statistics.reliability_interval import Coefficient

DRAWS = 400
TOLERANCE = 1e-6
CASELOADS = 3
LOADINGS = np.linspace(0.45, 0.8, 12)
GROUPS = np.repeat(np.arange(3), 4)
BETWEEN_GROUPS = {"one_factor": 1.0, "three_factors": 0.7}
METHODS = {"expanded_percentile": "bootstrap", "jackknife": "cluster_jackknife", "z": "normal_theory"}


def conditions() -> list[Condition]:
    """Return sizes, intraclass correlations, and the structure of twelve items: one factor, or three that correlate .7."""
    sizes = [*product((100, 200), (20,), (0.0, 0.2)), (200, 40, 0.2)]
    structures = [*((*size, "one_factor") for size in sizes), (200, 20, 0.2, "three_factors")]
    return [
        Condition(
            f"n{n}_therapists{therapists}_icc{icc:g}_{structure}",
            {"n_clients": n, "n_therapists": therapists, "icc": icc, "structure": structure},
        )
        for n, therapists, icc, structure in structures
    ]


def population(structure: str) -> np.ndarray:
    """Return the correlations of the items."""
    factors = np.where(GROUPS[:, None] == GROUPS, 1.0, BETWEEN_GROUPS[structure])
    matrix = np.outer(LOADINGS, LOADINGS) * factors
    np.fill_diagonal(matrix, 1.0)
    return matrix


def truths(structure: str) -> dict[str, float]:
    """Return the true coefficients; with three factors omega total is that of the one-factor model nearest to the population."""
    matrix = population(structure)
    return {"alpha": float(alpha(matrix)), "omega_total": float(omega_total(matrix))}


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return both coefficients with bootstrap and jackknife intervals, and where therapists do not differ with those of normal theory."""
    sizes = condition.parameters
    structure, icc = str(sizes["structure"]), float(sizes["icc"])
    therapists = therapists_of_clients(sizes["n_clients"], sizes["n_therapists"], CASELOADS)
    found: dict[str, list[tuple[Coefficient, ...]]] = {"expanded_percentile": [], "jackknife": []}
    for rows in clustered_normal(random, population(structure), therapists, icc, runs):
        for interval in ("expanded_percentile", "jackknife"):
            one = reliability(rows, therapists, random, draws=DRAWS, level=LEVEL, interval=interval)
            found[interval].append(one.coefficients)
        if icc == 0:
            found.setdefault("z", []).append(from_covariance(one.covariance, one.n, level=LEVEL).coefficients)
    return [
        _intervals([one[place] for one in several], name.replace("_", " "), interval, truths(structure)[name])
        for interval, several in found.items()
        for place, name in enumerate(HEADLINE)
    ]


def _intervals(found: list[Coefficient], name: str, interval: str, truth: float) -> Intervals:
    columns = ("estimate", "ci_low", "ci_high", "ln_complement", "ln_error")
    estimate, low, high, *error = np.array([[getattr(one, column) for column in columns] for one in found]).T
    given = (METHODS[interval], interval, truth, estimate, low, high, tuple(error), SINGLE_SITE)
    return Intervals(name, f"coefficients {name}", name.replace(" ", "_"), *given)
