"""Lagged effects within clients (random intercepts, equal lags): one site, clients of therapists, a fifth of the scores missing."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from alliance.simulations.clients import clustered_normal, therapists_of_clients
from alliance.simulations.framework import LEVEL, SINGLE_SITE, Condition, Intervals
from alliance.statistics.cross_lagged import EQUAL, MODELS, panel_syntax
from alliance.statistics.distributions import critical_value
from alliance.statistics.improper_solution import improper
from alliance.statistics.structural_fit import StructuralModel, fit_structural, parse_structural

RUNS = 200
TOLERANCE = 1e-4
SERIES = ("alliance", "symptoms")
WAVES = 4
MISSING = 0.2
ICC = 0.1
STABLE = np.array([[1.0, 0.3], [0.3, 1.0]])
SHOCKS = np.array([[1.0, 0.3], [0.3, 1.0]])
CARRIED = 0.3


def conditions() -> list[Condition]:
    """Return sizes and the effect of the alliance on the symptoms of the next session, in units of the shocks."""
    sizes = ((100, 20), (200, 40))
    return [
        Condition(
            f"n{n}_therapists{therapists}_effect{effect:g}",
            {"n_clients": n, "n_therapists": therapists, "waves": WAVES, "share_missing": MISSING, "icc": ICC, "effect": effect},
        )
        for (n, therapists), effect in product(sizes, (0.0, 0.15))
    ]


def lagged(effect: float) -> np.ndarray:
    """Return the lagged effects, rows outcomes."""
    return np.array([[CARRIED, 0.0], [effect, CARRIED]])


def within(effect: float) -> np.ndarray:
    """Return the covariances of deviations at any wave."""
    matrix = lagged(effect)
    return np.linalg.solve(np.eye(4) - np.kron(matrix, matrix), SHOCKS.ravel()).reshape(2, 2)


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return the standardised effect with intervals by the delta method and t (therapists - 1)."""
    sizes = condition.parameters
    effect = float(sizes["effect"])
    therapists = therapists_of_clients(sizes["n_clients"], sizes["n_therapists"])
    stable = clustered_normal(random, STABLE, therapists, ICC, runs)
    spread = within(effect)
    deviation = random.standard_normal(stable.shape) @ np.linalg.cholesky(spread).T
    waves = []
    for wave in range(WAVES):
        if wave:
            deviation = deviation @ lagged(effect).T + random.standard_normal(stable.shape) @ np.linalg.cholesky(SHOCKS).T
        waves.append(stable + deviation)
    values = np.stack(waves, axis=-1).reshape(runs, len(therapists), -1)
    values = np.where(random.uniform(size=values.shape) < MISSING, np.nan, values)
    model = parse_structural(panel_syntax(SERIES, WAVES, **MODELS[EQUAL]))
    estimate, error = np.array([_effect(model, rows, therapists) for rows in values]).T
    margin = float(critical_value(LEVEL, sizes["n_therapists"] - 1)) * error
    truth = effect * float(np.sqrt(spread[0, 0] / spread[1, 1]))
    what = "lagged effects within clients"
    given = (truth, estimate, estimate - margin, estimate + margin, (estimate, error), SINGLE_SITE)
    return [Intervals("lagged effect", what, "path_standardised", "maximum_likelihood_robust", "delta", *given)]


def _effect(model: StructuralModel, values: np.ndarray, therapists: np.ndarray) -> tuple[float, float]:
    """Return the mean effect over lags and its standard error; NaN without a proper solution, of which tables show no number."""
    columns = [f"{name}{wave}" for name in SERIES for wave in range(1, WAVES + 1)]
    rows = pd.DataFrame(values, columns=columns)
    there = rows.notna().any(axis=1).to_numpy()
    fit = fit_structural(model, rows=rows[there], clusters=[therapists[there]], missing="ml", errors="robust")
    if fit.status == "not_estimable" or improper(fit):
        return np.nan, np.nan
    found = fit.parameters[fit.parameters["lhs"].eq("symptoms_by_alliance")].iloc[0]
    return float(found["standardized"]), float(found["std_error_standardized"])
