"""Correlations and partial correlations at one site whose clients share therapists."""

from __future__ import annotations

from itertools import product

import numpy as np

from alliance.simulations.clients import clustered_normal, therapists_of_clients
from alliance.simulations.framework import LEVEL, SINGLE_SITE, Condition, Intervals
from alliance.statistics.correlation import Correlations, correlations
from alliance.statistics.covariance import partial_correlation
from alliance.statistics.distributions import critical_value

CONTROL = 0.3
ERRORS = {"jackknife": "cluster_jackknife", "sandwich": "cluster_robust"}


def conditions() -> list[Condition]:
    """Return sizes, the largest caseload over the smallest, intraclass and true correlations; the control correlates .3 with both."""
    sizes = [*product((100, 200, 400), (20, 40), (3,), (0.0, 0.05, 0.2)), (200, 20, 15, 0.2), (400, 40, 15, 0.2)]
    return [
        Condition(
            f"n{n}_therapists{therapists}_largest{largest}_icc{icc:g}_rho{rho:g}",
            {"n_clients": n, "n_therapists": therapists, "largest_caseload": largest, "icc": icc, "rho": rho},
        )
        for n, therapists, largest, icc in sizes
        for rho in (0.0, 0.26, 0.5)
    ]


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return correlations, and partial correlations, by both cluster errors."""
    sizes = condition.parameters
    therapists = therapists_of_clients(sizes["n_clients"], sizes["n_therapists"], sizes["largest_caseload"])
    population = np.array([[1, sizes["rho"], CONTROL], [sizes["rho"], 1, CONTROL], [CONTROL, CONTROL, 1]])
    data = clustered_normal(random, population, therapists, sizes["icc"], runs)
    first, second = data[:, :, 0].T, data[:, :, 1].T
    results = []
    for error, method in ERRORS.items():
        together = correlations(first, second, therapists, cluster_error=error)
        results.append(_intervals([together], "r", "correlations", "correlation", method, error, population[0, 1]))
        # Every run has a control variable of its own, so runs cannot be taken together.
        one_by_one = [correlations(rows[:, [0]], rows[:, [1]], therapists, controls=rows[:, 2], cluster_error=error) for rows in data]
        truth = float(partial_correlation(population, 0, 1, [2]))
        results.append(_intervals(one_by_one, "partial r", "partial correlations", "partial_correlation", method, error, truth))
    return results


def _intervals(found: list[Correlations], estimand: str, what: str, estimate_type: str, method: str, error: str, truth: float) -> Intervals:
    """Return intervals on the scale of r; NaN where another method was taken than the one asked for."""
    r, se_z, df = (np.concatenate([getattr(one, name) for one in found]) for name in ("r", "se_z", "df"))
    asked = np.array([name == method for one in found for name in one.method])
    z, margin = np.arctanh(np.where(asked, r, np.nan)), critical_value(LEVEL, df) * se_z
    ends = np.tanh(z - margin), np.tanh(z + margin)
    return Intervals(estimand, what, estimate_type, method, error, float(truth), np.tanh(z), *ends, (z, se_z), SINGLE_SITE)
