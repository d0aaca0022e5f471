"""The headline of alliance and outcome: at one site, pooled over sites, and contrasts of correlations of the same clients."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd

from alliance.simulations.clients import clustered_normal, therapists_of_clients
from alliance.simulations.framework import LEVEL, POOLED, SINGLE_SITE, Condition, Intervals
from alliance.statistics.correlation import correlations
from alliance.statistics.covariance import partial_correlation
from alliance.statistics.distributions import critical_value
from alliance.statistics.jackknife import covariance_of_sums, cross_products, jackknife
from alliance.statistics.meta_analysis import pool_many

RHO = 0.26
SIZES = ((60, 8), (90, 12), (140, 18), (200, 25))
ICC_OF_SITES = 0.1
CASELOADS = 3
# What the intake level says of alliance and of outcome.
ALLIANCE_ON_INTAKE, OUTCOME_ON_INTAKE = 0.2, 0.5
FORMS = {
    "partial_correlation": ("partial r", "partial correlations given the intake level", False),
    "part_correlation": ("residual-gain r", "correlations with the residual gain", True),
}
INTERVALS_OF_MEAN = {"guarded_hartung_knapp": POOLED, "hartung_knapp": SINGLE_SITE, "z": SINGLE_SITE}
WITH_PREDICTION = "guarded_hartung_knapp"

MEASURES = ("early alliance", "late alliance", "therapist's alliance", "tailored outcome", "broad outcome", "therapist's outcome")
# Correlations of the measures at one intake level; where raters are not named, the client rates.
GIVEN_INTAKE = np.array(
    [
        [1.00, 0.60, 0.35, 0.30, 0.09, 0.15],
        [0.60, 1.00, 0.30, 0.20, 0.10, 0.15],
        [0.35, 0.30, 1.00, 0.15, 0.10, 0.30],
        [0.30, 0.20, 0.15, 1.00, 0.50, 0.50],
        [0.09, 0.10, 0.10, 0.50, 1.00, 0.40],
        [0.15, 0.15, 0.30, 0.50, 0.40, 1.00],
    ]
)
CONTRASTS = {
    "tailored - broad": (((0, 3), 1.0), ((0, 4), -1.0)),
    "early - late": (((0, 3), 1.0), ((1, 3), -1.0)),
    "same rater - crossed": (((0, 3), 0.5), ((2, 5), 0.5), ((0, 5), -0.5), ((2, 3), -0.5)),
}


def conditions() -> list[Condition]:
    """Return sizes and intraclass correlations of single sites; numbers of sites and variances of Fisher's z between them."""
    single = [
        Condition(
            f"n{n}_therapists{therapists}_icc{icc:g}",
            {"sites": 1, "n_clients": n, "n_therapists": therapists, "tau2": 0, "icc": icc, "rho": RHO},
        )
        for n, therapists, icc in product((100, 200), (20, 40), (0.05, 0.2))
    ]
    several = [
        Condition(
            f"sites{sites}_tau2{tau2:g}",
            {"sites": sites, "n_clients": "60-200", "n_therapists": "8-25", "tau2": tau2, "icc": ICC_OF_SITES, "rho": RHO},
        )
        for sites, tau2 in product((5, 10, 30), (0.0, 0.01, 0.04))
    ]
    return [*single, *several]


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return correlations and contrasts of one site, or pooled correlations and prediction intervals."""
    sizes = condition.parameters
    if sizes["sites"] > 1:
        return _several_sites(int(sizes["sites"]), float(sizes["tau2"]), random, runs)
    therapists = therapists_of_clients(sizes["n_clients"], sizes["n_therapists"], CASELOADS)
    return [*_headline(therapists, float(sizes["icc"]), random, runs), *_contrasts(therapists, float(sizes["icc"]), random, runs)]


def part_of(partial: np.ndarray | float) -> np.ndarray:
    """Return the correlation with the residual gain that belongs to a partial correlation."""
    return np.sqrt(1 - ALLIANCE_ON_INTAKE**2) * np.asarray(partial, dtype=float)


def mean_part(tau2: float) -> float:
    """Return the mean correlation with the residual gain over sites whose Fisher z of the partial one is normal: the mean of its z."""
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    z = np.arctanh(part_of(np.tanh(np.arctanh(RHO) + np.sqrt(tau2) * points)))
    return float(np.tanh((weights * z).sum() / weights.sum()))


def contrast_truth(name: str) -> float:
    """Return the true difference of the partial correlations of a contrast."""
    return float(sum(weight * GIVEN_INTAKE[pair] for pair, weight in CONTRASTS[name]))


def population() -> np.ndarray:
    """Return the correlations of intake and :data:`MEASURES`."""
    loadings = np.array([ALLIANCE_ON_INTAKE] * 3 + [OUTCOME_ON_INTAKE] * 3)
    left = np.sqrt(1 - loadings**2)
    matrix = np.eye(7)
    matrix[0, 1:] = matrix[1:, 0] = loadings
    matrix[1:, 1:] = np.outer(loadings, loadings) + np.outer(left, left) * GIVEN_INTAKE
    return matrix


def _clients(rho: np.ndarray, therapists: np.ndarray, icc: float, random: np.random.Generator, runs: int) -> np.ndarray:
    """Return intake, alliance and outcome, shape (runs, n, 3), with a partial correlation of its own in each run."""
    intake, first, second = np.moveaxis(clustered_normal(random, np.eye(3), therapists, icc, runs), 2, 0)
    rho = rho[:, None]
    alliance = ALLIANCE_ON_INTAKE * intake + np.sqrt(1 - ALLIANCE_ON_INTAKE**2) * first
    outcome = OUTCOME_ON_INTAKE * intake + np.sqrt(1 - OUTCOME_ON_INTAKE**2) * (rho * first + np.sqrt(1 - rho**2) * second)
    return np.stack([intake, alliance, outcome], axis=2)


def _estimates(data: np.ndarray, therapists: np.ndarray, part: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Fisher's z, its standard error and degrees of freedom in each run; NaN where another error was taken than the jackknife."""
    found = [correlations(rows[:, [1]], rows[:, [2]], therapists, controls=rows[:, 0], part=part) for rows in data]
    asked = np.array([one.method[0] == "cluster_jackknife" for one in found])
    r, se_z, df = (np.array([getattr(one, name)[0] for one in found]) for name in ("r", "se_z", "df"))
    return np.arctanh(np.where(asked, r, np.nan)), se_z, df


def _headline(therapists: np.ndarray, icc: float, random: np.random.Generator, runs: int) -> list[Intervals]:
    data = _clients(np.full(runs, RHO), therapists, icc, random, runs)
    results = []
    for estimate_type, (estimand, what, part) in FORMS.items():
        z, se_z, df = _estimates(data, therapists, part)
        margin = critical_value(LEVEL, df) * se_z
        truth = float(part_of(RHO)) if part else RHO
        ends = np.tanh(z - margin), np.tanh(z + margin)
        results.append(
            Intervals(
                estimand, what, estimate_type, "cluster_jackknife", "jackknife", truth, np.tanh(z), *ends, (z, se_z), target=SINGLE_SITE
            )
        )
    return results


def _contrasts(therapists: np.ndarray, icc: float, random: np.random.Generator, runs: int) -> list[Intervals]:
    data = clustered_normal(random, population(), therapists, icc, runs)
    results = []
    for name, weighted in CONTRASTS.items():
        used = sorted({variable for pair, _ in weighted for variable in pair})
        pairs = [(used.index(first) + 1, used.index(second) + 1) for (first, second), _ in weighted]
        weights = np.array([weight for _, weight in weighted])
        chosen = data[:, :, [0, *(variable + 1 for variable in used)]]
        results.append(_contrast(name, chosen, pairs, weights, therapists))
    return results


def _contrast(name: str, data: np.ndarray, pairs: Sequence[tuple[int, int]], weights: np.ndarray, therapists: np.ndarray) -> Intervals:
    def difference(sums: np.ndarray) -> np.ndarray:
        covariance = covariance_of_sums(sums)
        return (np.stack([partial_correlation(covariance, *pair, [0]) for pair in pairs], axis=-1) @ weights)[:, None]

    found = [jackknife(cross_products(rows), difference, 1, therapists) for rows in data]
    asked = np.array([one.method == "cluster_jackknife" for one in found])
    estimate = np.where(asked, [one.estimate[0] for one in found], np.nan)
    low, high = np.array([[end[0] for end in one.interval(LEVEL)] for one in found]).T
    errors = np.array([one.std_error[0] for one in found])
    what = "differences of correlations of the same clients"
    return Intervals(
        name,
        what,
        "correlation_contrast",
        "cluster_jackknife",
        "jackknife",
        contrast_truth(name),
        estimate,
        low,
        high,
        (estimate, errors),
        SINGLE_SITE,
    )


def _several_sites(sites: int, tau2: float, random: np.random.Generator, runs: int) -> list[Intervals]:
    true = np.tanh(np.arctanh(RHO) + np.sqrt(tau2) * random.standard_normal((runs, sites + 1)))
    y, v = np.empty((2, len(FORMS), runs, sites))
    for site in range(sites):
        therapists = therapists_of_clients(*SIZES[site % len(SIZES)], CASELOADS)
        data = _clients(true[:, site], therapists, ICC_OF_SITES, random, runs)
        for form, (_, _, part) in enumerate(FORMS.values()):
            y[form, :, site], errors, _ = _estimates(data, therapists, part)
            v[form, :, site] = errors**2
    results = []
    for form, (estimate_type, (_, what, part)) in enumerate(FORMS.items()):
        truth = mean_part(tau2) if part else RHO
        for interval, target in INTERVALS_OF_MEAN.items():
            pooled = pool_many(y[form], v[form], tau2="reml", interval=interval, level=LEVEL)
            results.append(_pooled(pooled, "mean", f"pooled {what}", estimate_type, interval, "ci", truth, target))
            if interval == WITH_PREDICTION:
                new = part_of(true[:, -1]) if part else true[:, -1]
                of_new = f"true {what} of a new site"
                results.append(_pooled(pooled, "new site", of_new, estimate_type, "prediction", "prediction", truth, POOLED, new))
    return results


def _pooled(
    pooled: pd.DataFrame,
    estimand: str,
    what: str,
    estimate_type: str,
    interval: str,
    ends: str,
    truth: float,
    target: tuple[float, float],
    aims: np.ndarray | None = None,
) -> Intervals:
    z, error, low, high = (pooled[name].to_numpy(dtype=float) for name in ("estimate", "std_error", f"{ends}_low", f"{ends}_high"))
    given = (np.tanh(z), np.tanh(low), np.tanh(high), (z, error), target, aims)
    return Intervals(estimand, what, estimate_type, "two_stage_reml", interval, truth, *given)
