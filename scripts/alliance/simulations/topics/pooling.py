"""Correlations pooled over sites whose clients share therapists: the mean, and the interval for a new site's true value."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from alliance.simulations.clients import clustered_normal, therapists_of_clients
from alliance.simulations.framework import LEVEL, POOLED, SINGLE_SITE, Condition, Intervals
from alliance.statistics.correlation import correlations
from alliance.statistics.meta_analysis import pool_many

RHO = 0.26
SIZES = ((60, 8), (90, 12), (140, 18), (200, 25))
ESTIMATORS = {
    ("reml", "guarded_hartung_knapp"): "two_stage_reml",
    ("reml", "hartung_knapp"): "two_stage_reml",
    ("reml", "z"): "two_stage_reml",
    ("dersimonian_laird", "guarded_hartung_knapp"): "two_stage_dersimonian_laird",
    ("paule_mandel", "guarded_hartung_knapp"): "two_stage_paule_mandel",
}
WITH_PREDICTION = "guarded_hartung_knapp"


def conditions() -> list[Condition]:
    """Return numbers of sites (of the sizes :data:`SIZES`), variances of Fisher's z between sites and intraclass correlations."""
    return [
        Condition(
            f"sites{sites}_tau2{tau2:g}_icc{icc:g}",
            {"sites": sites, "tau2": tau2, "icc": icc, "rho": RHO, "n_clients": "60-200", "n_therapists": "8-25"},
        )
        for sites, tau2, icc in product((5, 10, 30), (0.0, 0.01, 0.04), (0.05, 0.2))
    ]


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return pooled correlations by every estimator, and prediction intervals."""
    sizes = condition.parameters
    mean = np.arctanh(RHO)
    true = mean + np.sqrt(sizes["tau2"]) * random.standard_normal((runs, sizes["sites"] + 1))
    y, v = np.empty((2, runs, sizes["sites"]))
    for site in range(sizes["sites"]):
        therapists = therapists_of_clients(*SIZES[site % len(SIZES)])
        first, second = np.moveaxis(clustered_normal(random, np.eye(2), therapists, sizes["icc"], runs), 2, 0)
        rho = np.tanh(true[:, [site]])
        found = correlations(first.T, (rho * first + np.sqrt(1 - rho**2) * second).T, therapists)
        y[:, site], v[:, site] = np.arctanh(found.r), found.se_z**2
    results = []
    for (tau2, interval), method in ESTIMATORS.items():
        pooled = pool_many(y, v, tau2=tau2, interval=interval, level=LEVEL)
        target = POOLED if interval == "guarded_hartung_knapp" else SINGLE_SITE
        results.append(_intervals(pooled, "mean r", "pooled correlations", method, interval, ("ci_low", "ci_high"), target))
        if interval == WITH_PREDICTION:
            ends = ("prediction_low", "prediction_high")
            new = np.tanh(true[:, -1])
            what = "the true correlation of a new site"
            results.append(_intervals(pooled, "new site", what, method, "prediction", ends, POOLED, new))
    return results


def _intervals(
    pooled: pd.DataFrame,
    estimand: str,
    what: str,
    method: str,
    interval: str,
    ends: tuple[str, str],
    target: tuple[float, float],
    aims: np.ndarray | None = None,
) -> Intervals:
    z, error, low, high = (pooled[name].to_numpy(dtype=float) for name in ("estimate", "std_error", *ends))
    return Intervals(
        estimand, what, "correlation", method, interval, RHO, np.tanh(z), np.tanh(low), np.tanh(high), (z, error), target, aims
    )
