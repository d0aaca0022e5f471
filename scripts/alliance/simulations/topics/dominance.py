"""Dominance of three components over the outcome given the intake level, at one site and over sites.

Components correlate by .6 or .75, as those of one form do. At one site therapists are resampled; over sites dominance is that of the pooled
correlations. Where sites differ, each has correlations of its own, which differ from the common ones by a standard deviation in Fisher's z.
"""

from __future__ import annotations

import numpy as np

from alliance.simulations.clients import clustered_normal, therapists_of_clients
from alliance.simulations.framework import LEVEL, POOLED, SINGLE_SITE, Condition, Intervals
from alliance.statistics.dominance import clustered_correlations, general_dominance, of_pooled_correlations
from alliance.statistics.multivariate_meta import pool_coefficients
from alliance.statistics.resampling import bootstrap, cross_products, percentile_interval

RUNS = 400
# Likelihoods are searched for.
TOLERANCE = 1e-4
N_CLIENTS, N_THERAPISTS, ICC, DRAWS = 60, 12, 0.05, 200
SIZE = 5
COMPONENTS = (2, 3, 4)
# Correlations of the outcome with intake level and three components.
WITH_OUTCOME = {"strong": (0.4, 0.45, 0.3, 0.35), "weak": (0.4, 0.2, 0.1, 0.15)}
QUANTITIES = {"dominance": 0, "dominance_contrast": 3}
WORDS = {
    "dominance": "what a component brings to the outcome (general dominance)",
    "dominance_contrast": "differences between what two components bring",
}
_UPPER = np.triu_indices(SIZE, 1)
_NAMES = [f"{one},{other}" for one, other in zip(*_UPPER)]


def conditions() -> list[Condition]:
    """Return sites, how components go with the outcome and with each other, and how far sites differ."""
    sizes = {"n_clients": N_CLIENTS, "n_therapists": N_THERAPISTS}
    return [
        Condition(
            f"sites{sites}_{strength}_r{shared:g}_tau{tau:g}",
            {**sizes, "sites": sites, "strength": strength, "components_r": shared, "tau": tau},
        )
        for sites, strength, shared, tau in (
            (6, "strong", 0.6, 0.0),
            (6, "strong", 0.75, 0.0),
            (6, "strong", 0.6, 0.1),
            (6, "weak", 0.6, 0.0),
            (15, "strong", 0.6, 0.1),
        )
    ]


def truth(strength: str, shared: float) -> np.ndarray:
    """Return the true correlations of outcome, intake level and components, shape (5, 5)."""
    matrix = np.eye(SIZE)
    matrix[0, 1:] = matrix[1:, 0] = WITH_OUTCOME[strength]
    matrix[1, 2:] = matrix[2:, 1] = 0.2
    for one in COMPONENTS:
        for other in COMPONENTS:
            matrix[one, other] = 1.0 if one == other else shared
    return matrix


def quantities(matrices: np.ndarray) -> np.ndarray:
    """Return dominance of three components and the first less the second, shape (..., 4); NaN where a matrix is none of correlations."""
    usable = np.linalg.eigvalsh(matrices)[..., 0] > 1e-9
    safe = np.where(usable[..., None, None], matrices, np.eye(SIZE))
    own = general_dominance(safe, 0, list(COMPONENTS), [1])[..., :-1]
    return np.where(usable[..., None], np.concatenate([own, own[..., :1] - own[..., 1:2]], axis=-1), np.nan)


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return dominance and contrasts at the first site, and over all sites."""
    sizes = condition.parameters
    common = truth(str(sizes["strength"]), float(sizes["components_r"]))
    therapists = therapists_of_clients(N_CLIENTS, N_THERAPISTS)
    found: dict[tuple[str, str], list[tuple[float, ...]]] = {(where, name): [] for where in ("site", "pooled") for name in QUANTITIES}
    for _ in range(runs):
        own = [_site(common, float(sizes["tau"]), random) for _ in range(int(sizes["sites"]))]
        data = [clustered_normal(random, matrix, therapists, ICC, 1)[0] for matrix in own]
        alone = _bootstrapped(data[0], therapists, random)
        whole = _pooled(data, therapists)
        for name, position in QUANTITIES.items():
            found["site", name].append((*alone[position], float(quantities(own[0][None])[0, position])))
            one = of_pooled_correlations(whole, quantities, position, random, size=SIZE)
            known = one.estimate is not None and one.ci_low is not None
            numbers = (one.estimate, one.ci_low, one.ci_high, one.std_error) if known else (np.nan,) * 4
            found["pooled", name].append((*numbers, np.nan))
    results = []
    for (where, name), rows in found.items():
        estimate, low, high, error, aims = np.array(rows, dtype=float).T
        at_site = where == "site"
        how = ("bootstrap", "expanded_percentile") if at_site else ("multivariate_reml", "delta")
        words = WORDS[name] if at_site else f"{WORDS[name]}, over sites"
        numbers = (float(quantities(common[None])[0, QUANTITIES[name]]), estimate, low, high, (estimate, error))
        target = SINGLE_SITE if at_site else POOLED
        results.append(Intervals(f"{name}, {where}", words, name, *how, *numbers, target, aims if at_site else None))
    return results


def _site(common: np.ndarray, tau: float, random: np.random.Generator) -> np.ndarray:
    """Return a site's true correlations; drawn again where they are none of correlations."""
    for _ in range(100):
        matrix = np.eye(SIZE)
        z = np.arctanh(common[_UPPER]) + tau * random.standard_normal(len(_UPPER[0]))
        matrix[_UPPER] = matrix.T[_UPPER] = np.tanh(z)
        if np.linalg.eigvalsh(matrix)[0] > 0.01:
            return matrix
    raise ValueError("no correlations of a site were found")


def _bootstrapped(data: np.ndarray, therapists: np.ndarray, random: np.random.Generator) -> list[tuple[float, ...]]:
    """Return estimate, limits and standard error of every quantity at one site, therapists resampled."""
    products = cross_products((data - data.mean(axis=0)) / data.std(axis=0), therapists)
    draws = bootstrap(products, quantities, DRAWS, random)
    estimate = quantities(np.corrcoef(data.T)[None])[0]
    units = len(products.sums)
    low, high = percentile_interval(draws, LEVEL, units)
    error = np.nanstd(draws, axis=0, ddof=1) * np.sqrt(units / (units - 1))
    return list(zip(estimate, np.minimum(low, estimate), np.maximum(high, estimate), error))


def _pooled(data: list[np.ndarray], therapists: np.ndarray):
    y, v = [], []
    for one in data:
        found = clustered_correlations(one, therapists)
        slope = 1 / (1 - found.estimate**2)
        y.append(np.arctanh(found.estimate))
        v.append(found.vcov * np.outer(slope, slope))
    return pool_coefficients(np.array(y), np.array(v), _NAMES)
