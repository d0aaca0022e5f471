"""Mean correlations of categories of client factors with the alliance over sites, and the difference of two categories.

Factors of a category are averaged within each site on Fisher's z, sites are pooled, and two pooled means are compared on r with the
covariance that they owe to the same clients, as the question on client factors does it.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np

from alliance.simulations.clients import clustered_normal, therapists_of_clients
from alliance.simulations.framework import LEVEL, POOLED, Condition, Intervals
from alliance.statistics.correlation import correlations
from alliance.statistics.meta_analysis import Difference, Pooled, difference, pool

# An optimiser stops where it stops.
TOLERANCE = 1e-7
SIZES = ((60, 8), (90, 12), (140, 18), (200, 25))
CASELOADS, ICC, TAU2 = 3, 0.1, 0.01
CATEGORIES = {"interpersonal": (0.2, 0.3, 0.4), "intrapersonal": (0.1, 0.2, 0.3)}
# Correlation of the factors beside what they share with the alliance.
AMONG_FACTORS = 0.3


def conditions() -> list[Condition]:
    """Return numbers of sites, and the correlation over sites of the true means of the two categories."""
    return [
        Condition(
            f"sites{sites}_together{together:g}",
            {"sites": sites, "n_clients": "60-200", "n_therapists": "8-25", "tau2": TAU2, "icc": ICC, "together": together},
        )
        for sites, together in product((5, 10), (0.0, 0.5))
    ]


def truth(category: str) -> float:
    """Return the mean correlation of a category: r of the mean z."""
    return float(np.tanh(np.arctanh(CATEGORIES[category]).mean()))


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return pooled means with their intervals and prediction intervals, and the contrast of the two categories."""
    sites, together = int(condition.parameters["sites"]), float(condition.parameters["together"])
    spread = np.sqrt(TAU2) * np.linalg.cholesky([[1, together], [together, 1]])
    true = random.standard_normal((runs, sites + 1, 2)) @ spread.T
    y, vcov = np.empty((runs, sites, 2)), np.empty((runs, sites, 2, 2))
    for site in range(sites):
        therapists = therapists_of_clients(*SIZES[site % len(SIZES)], CASELOADS)
        alliance, factors = _clients(true[:, site], therapists, random)
        for run in range(runs):
            y[run, site], vcov[run, site] = _site_means(factors[run], alliance[run], therapists)
    pooled = [[pool(y[run, :, i], vcov[run, :, i, i], level=LEVEL) for i in (0, 1)] for run in range(runs)]
    results = []
    for i, category in enumerate(CATEGORIES):
        new = np.tanh(np.arctanh(truth(category)) + true[:, -1, i])
        results += _means(category, [both[i] for both in pooled], new)
    return [*results, _contrast([_difference(*both, vcov[run]) for run, both in enumerate(pooled)])]


def _clients(shift: np.ndarray, therapists: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the alliance, shape (runs, n), and factors, shape (runs, n, 6), that correlate with it as each run's site has it."""
    z = np.arctanh(np.concatenate(list(CATEGORIES.values())))
    rho = np.tanh(z + np.repeat(shift, [len(values) for values in CATEGORIES.values()], axis=1))[:, None, :]
    matrix = np.full((len(z) + 1, len(z) + 1), AMONG_FACTORS)
    matrix[0, :] = matrix[:, 0] = 0.0
    np.fill_diagonal(matrix, 1.0)
    data = clustered_normal(random, matrix, therapists, ICC, len(shift))
    return data[:, :, 0], rho * data[:, :, :1] + np.sqrt(1 - rho**2) * data[:, :, 1:]


def _site_means(factors: np.ndarray, alliance: np.ndarray, therapists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a site's mean z of each category, and their covariance."""
    found = correlations(factors, np.broadcast_to(alliance[:, None], factors.shape), therapists)
    sizes = [len(values) for values in CATEGORIES.values()]
    weights = np.repeat(np.eye(2), sizes, axis=1) / np.array(sizes)[:, None]
    return weights @ np.arctanh(found.r), weights @ found.vcov_z() @ weights.T


def _difference(first: Pooled, second: Pooled, vcov: np.ndarray) -> Difference:
    on_r = [
        replace(one, estimate=np.tanh(one.estimate), std_error=one.std_error * (1 - np.tanh(one.estimate) ** 2)) for one in (first, second)
    ]
    shared = float((np.array(first.weights) * np.array(second.weights) * vcov[:, 0, 1]).sum())
    slopes = [1 - one.estimate**2 for one in on_r]
    return difference(*on_r, covariance=shared * slopes[0] * slopes[1], level=LEVEL)


def _means(category: str, pooled: list[Pooled], new: np.ndarray) -> list[Intervals]:
    names = ("estimate", "std_error", "ci_low", "ci_high", "prediction_low", "prediction_high")
    z, error, *ends = np.array([[getattr(one, name) for name in names] for one in pooled], dtype=float).T
    low, high, prediction_low, prediction_high = np.tanh(ends)
    identity = ("correlation_random_effects", "two_stage_reml")
    mean = (np.tanh(z), low, high, (z, error), POOLED)
    site = (np.tanh(z), prediction_low, prediction_high, (z, error), POOLED, new)
    true = truth(category)
    return [
        Intervals(f"mean, {category}", "mean correlations of categories", *identity, "guarded_hartung_knapp", true, *mean),
        Intervals(f"new site, {category}", "the true mean correlation of a category at a new site", *identity, "prediction", true, *site),
    ]


def _contrast(found: list[Difference]) -> Intervals:
    names = ("estimate", "std_error", "ci_low", "ci_high")
    estimate, error, low, high = np.array([[getattr(one, name) for name in names] for one in found], dtype=float).T
    first, second = CATEGORIES
    given = (truth(first) - truth(second), estimate, low, high, (estimate, error), POOLED)
    what = "differences of mean correlations of two categories"
    return Intervals(f"{first} - {second}", what, "correlation_contrast", "difference_of_means", "difference", *given)
