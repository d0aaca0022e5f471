"""Proportions of clients whose therapists differ, and the share of the outcome that the alliance has to itself."""

from __future__ import annotations

from itertools import product

import numpy as np

from alliance.simulations.clients import clustered_normal, therapists_of_clients
from alliance.simulations.framework import LEVEL, SINGLE_SITE, Condition, Intervals
from alliance.statistics.change import proportion
from alliance.statistics.covariance import partial_correlation, regression
from alliance.statistics.gain_share import gain_share

CASELOADS = 3
PROPORTIONS = (0.1, 0.5)
# Outcome, alliance, intake level, early symptoms.
POPULATION = np.array([[1, 0.3, 0.5, 0.6], [0.3, 1, 0.15, 0.25], [0.5, 0.15, 1, 0.6], [0.6, 0.25, 0.6, 1]])
TYPES = {
    "partial_r": ("partial_correlation", "partial correlations given intake level and early symptoms"),
    "semipartial_r": ("semipartial_correlation", "semipartial correlations"),
    "delta_r2": ("r_squared_change", "shares of the outcome variance that the alliance adds"),
    "share_of_rest": ("share_of_rest", "shares of the variance that the covariates leave"),
}


def conditions() -> list[Condition]:
    """Return sizes and intraclass correlations (of proportions: of the normal variable behind them)."""
    return [
        Condition(f"n{n}_therapists{therapists}_icc{icc:g}", {"n_clients": n, "n_therapists": therapists, "icc": icc})
        for n, therapists, icc in product((100, 200), (20, 40), (0.0, 0.05, 0.2))
    ]


def truths() -> dict[str, float]:
    """Return the true value of each measure of :func:`alliance.statistics.gain_share.gain_share`."""
    held = [2, 3]
    explained = float(regression(POPULATION, 0, held) @ POPULATION[0, held])
    partial = float(partial_correlation(POPULATION, 0, 1, held))
    part2 = partial**2 * (1 - explained)
    return {"partial_r": partial, "semipartial_r": float(np.sqrt(part2)), "delta_r2": part2, "share_of_rest": partial**2}


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return proportions with the interval that respects therapists, and the measures of the alliance's share."""
    sizes = condition.parameters
    therapists = therapists_of_clients(sizes["n_clients"], sizes["n_therapists"], CASELOADS)
    return [*_proportions(therapists, float(sizes["icc"]), random, runs), *_shares(therapists, float(sizes["icc"]), random, runs)]


def _proportions(therapists: np.ndarray, icc: float, random: np.random.Generator, runs: int) -> list[Intervals]:
    from scipy.special import ndtri

    latent = clustered_normal(random, np.eye(1), therapists, icc, runs)[:, :, 0]
    results = []
    for share in PROPORTIONS:
        found = [proportion(rows < ndtri(share), therapists, LEVEL) for rows in latent]
        names = ("share", "ci_low", "ci_high", "std_error")
        estimate, low, high, error = np.array([[getattr(one, name) for name in names] for one in found], dtype=float).T
        given = (share, estimate, low, high, (estimate, error), SINGLE_SITE)
        results.append(Intervals(f"proportion {share:g}", "proportions of clients", "share", "counted", "clustered_score", *given))
    return results


def _shares(therapists: np.ndarray, icc: float, random: np.random.Generator, runs: int) -> list[Intervals]:
    data = clustered_normal(random, POPULATION, therapists, icc, runs)
    tables = [gain_share(rows[:, 0], rows[:, 1], rows[:, 2:], therapists, level=LEVEL).set_index("measure") for rows in data]
    tables = [table if table["method"].eq("cluster_jackknife").all() else table.assign(estimate=np.nan) for table in tables]
    results = []
    for measure, truth in truths().items():
        estimate, low, high, error = (
            np.array([table.at[measure, column] for table in tables], dtype=float)
            for column in ("estimate", "ci_low", "ci_high", "std_error")
        )
        estimate_type, what = TYPES[measure]
        given = (truth, estimate, low, high, (estimate, error), SINGLE_SITE)
        results.append(Intervals(measure, what, estimate_type, "cluster_jackknife", "jackknife", *given))
    return results
