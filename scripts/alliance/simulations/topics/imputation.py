"""The headline where the outcome is missing at random: multiple imputation, and the clients who have all scores."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from alliance.simulations.clients import clustered_normal, therapists_of_clients
from alliance.simulations.framework import LEVEL, SINGLE_SITE, Condition, Intervals
from alliance.statistics.correlation import correlations
from alliance.statistics.covariance import partial_correlation
from alliance.statistics.distributions import critical_value
from alliance.statistics.imputation import impute, pool_rubin

RUNS = 200
# Draws of a chain hand on how a processor rounds.
TOLERANCE = 1e-7
IMPUTATIONS = 20
CASELOADS = 3
VARIABLES = ("alliance", "intake", "outcome", "symptoms early")
POPULATION = np.array([[1, 0.15, 0.3, 0.3], [0.15, 1, 0.5, 0.6], [0.3, 0.5, 1, 0.6], [0.3, 0.6, 0.6, 1]])
# How far early symptoms decide who has no outcome: their correlation with the normal variable behind it.
DECIDED = 0.7


def conditions() -> list[Condition]:
    """Return sizes, shares of clients without the outcome, and intraclass correlations."""
    return [
        Condition(
            f"n{n}_therapists{therapists}_missing{missing:g}_icc{icc:g}",
            {"n_clients": n, "n_therapists": therapists, "missing": missing, "icc": icc, "imputations": IMPUTATIONS},
        )
        for (n, therapists), missing, icc in product(((100, 20), (200, 40)), (0.2, 0.4), (0.05, 0.2))
    ]


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return partial correlations given the intake level: imputed, and of clients with all scores."""
    sizes = condition.parameters
    therapists = therapists_of_clients(sizes["n_clients"], sizes["n_therapists"], CASELOADS)
    _, data = with_gaps(therapists, float(sizes["icc"]), float(sizes["missing"]), random, runs)
    truth = float(partial_correlation(POPULATION, 0, 2, [1]))
    lacking = "where 20 to 40 % of clients have no outcome, at random given early symptoms"
    rows = {
        ("imputed", f"partial correlations {lacking}", "multiple_imputation", "rubin"): [_imputed(one, therapists, random) for one in data],
        ("complete clients", f"partial correlations of clients with all scores {lacking}", "cluster_jackknife", "jackknife"): [
            _estimate(one, therapists) for one in data
        ],
    }
    results = []
    for (estimand, what, method, interval), found in rows.items():
        z, error, df = np.array(found, dtype=float).T
        margin = critical_value(LEVEL, df) * error
        given = (truth, np.tanh(z), np.tanh(z - margin), np.tanh(z + margin), (z, error), SINGLE_SITE)
        results.append(Intervals(estimand, what, "partial_correlation", method, interval, *given))
    return results


def with_gaps(therapists: np.ndarray, icc: float, missing: float, random: np.random.Generator, runs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return :data:`VARIABLES` of all clients, and the same without the outcome of those who rather had many early symptoms."""
    from scipy.special import ndtri

    whole = clustered_normal(random, POPULATION, therapists, icc, runs)
    # Higher is better here, so low values are many symptoms.
    stays = DECIDED * whole[:, :, 3] + np.sqrt(1 - DECIDED**2) * random.standard_normal(whole.shape[:2])
    data = whole.copy()
    data[:, :, 2][stays < ndtri(missing)] = np.nan
    return whole, data


def _estimate(data: np.ndarray, therapists: np.ndarray) -> tuple[float, float, float]:
    """Return Fisher's z of the partial correlation, its standard error and degrees of freedom; NaN where it is not the jackknife's."""
    found = correlations(data[:, [0]], data[:, [2]], therapists, controls=data[:, 1])
    if found.method[0] != "cluster_jackknife" or found.reason[0]:
        return np.nan, np.nan, np.nan
    return float(np.arctanh(found.r[0])), float(found.se_z[0]), float(found.df[0])


def _imputed(data: np.ndarray, therapists: np.ndarray, random: np.random.Generator) -> tuple[float, float, float]:
    completed = impute(pd.DataFrame(data, columns=list(VARIABLES)), random, therapists, imputations=IMPUTATIONS).values
    z, error, df = np.array([_estimate(values, therapists) for values in completed]).T
    if not (len(completed) and np.isfinite(z).all()):
        return np.nan, np.nan, np.nan
    pooled = pool_rubin(z, error**2, df[0])
    return float(pooled.estimate[0]), float(pooled.std_error[0]), float(pooled.df[0])
