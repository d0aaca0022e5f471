"""What raters share and what is their own (CT-C(M-1)): consistency and reliability at one site with known method variance."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from alliance.simulations.clients import clustered_normal, therapists_of_clients
from alliance.simulations.framework import LEVEL, SINGLE_SITE, Condition, Intervals
from alliance.statistics.distributions import critical_value
from alliance.statistics.rater_model import RaterModel
from alliance.statistics.structural_fit import StructuralModel, fit_structural, parse_structural

RUNS = 500
TOLERANCE = 1e-5
SCALES = ("task", "bond", "goal")
MODEL = RaterModel("client", {"client": SCALES, "therapist": SCALES})
RELIABILITY = 0.7
ESTIMANDS = {
    "consistency of a scale": ("consistency4", "consistency", "shares of a rater's view that the client's view explains"),
    "consistency of the sum": ("consistency_therapist", "consistency", "shares of a rater's view that the client's view explains"),
    "reliability of a scale": ("reliability4", "reliability", "reliabilities of scales in the model of raters"),
}


def conditions() -> list[Condition]:
    """Return sizes, intraclass correlations of the scales, and the share of the therapist's view that the client's explains."""
    sizes = ((100, 20), (200, 40))
    return [
        Condition(
            f"n{n}_therapists{therapists}_icc{icc:g}_shared{consistency:g}",
            {"n_clients": n, "n_therapists": therapists, "icc": icc, "consistency": consistency},
        )
        for (n, therapists), icc, consistency in product(sizes, (0.0, 0.1), (0.4, 0.7))
    ]


def population(consistency: float) -> np.ndarray:
    """Return the correlations of the scales, the client's first."""
    trait = np.sqrt(RELIABILITY * np.array([1.0] * 3 + [consistency] * 3))
    own = np.sqrt(RELIABILITY * np.array([0.0] * 3 + [1 - consistency] * 3))
    matrix = np.outer(trait, trait) + np.outer(own, own)
    np.fill_diagonal(matrix, 1.0)
    return matrix


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return consistency and reliability with intervals by the delta method, on the logit and on -ln(1 - reliability), by t."""
    sizes = condition.parameters
    therapists = therapists_of_clients(sizes["n_clients"], sizes["n_therapists"])
    data = clustered_normal(random, population(sizes["consistency"]), therapists, float(sizes["icc"]), runs)
    model = parse_structural(MODEL.syntax, std_lv=True)
    found = np.array([_defined(model, rows, therapists) for rows in data])
    margin = float(critical_value(LEVEL, sizes["n_therapists"] - 1))
    results = []
    for place, (estimand, (_, kind, what)) in enumerate(ESTIMANDS.items()):
        truth = RELIABILITY if kind == "reliability" else float(sizes["consistency"])
        estimate, error = np.where((found[:, place, :1] > 0) & (found[:, place, :1] < 1), found[:, place], np.nan).T
        if kind == "reliability":
            y, scaled = -np.log1p(-estimate), error / (1 - estimate)
            low, high = -np.expm1(-(y - margin * scaled)), -np.expm1(-(y + margin * scaled))
        else:
            y, scaled = np.log(estimate / (1 - estimate)), error / (estimate * (1 - estimate))
            low, high = (1 / (1 + np.exp(-(y + side * margin * scaled))) for side in (-1, 1))
        given = (truth, estimate, low, high, (y, scaled), SINGLE_SITE)
        results.append(Intervals(estimand, what, kind, "maximum_likelihood_robust", "delta", *given))
    return results


def _defined(model: StructuralModel, rows: np.ndarray, therapists: np.ndarray) -> np.ndarray:
    """Return estimates and standard errors of the coefficients, shape (3, 2), of improper solutions too, as tables show them; else NaN."""
    fit = fit_structural(model, rows=pd.DataFrame(rows, columns=MODEL.names), clusters=[therapists])
    if fit.status == "not_estimable":
        return np.full((len(ESTIMANDS), 2), np.nan)
    table = fit.parameters[fit.parameters["op"].eq(":=")].set_index("lhs")
    return table.loc[[name for name, _, _ in ESTIMANDS.values()], ["estimate", "std_error"]].to_numpy(dtype=float)
