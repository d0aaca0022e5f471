"""The path model empathy -> alliance -> outcome with the intake level as covariate, at one site whose clients share therapists."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alliance.simulations.clients import clustered_normal, therapists_of_clients
from alliance.simulations.framework import LEVEL, SINGLE_SITE, Condition, Intervals
from alliance.statistics.distributions import critical_value
from alliance.statistics.structural_fit import fit_structural, parse_structural
from alliance.statistics.structural_resampling import bootstrap, jackknife

DRAWS = 2000
PATHS = {
    ("alliance", "empathy"): 0.45,
    ("alliance", "intake_level"): 0.10,
    ("outcome", "alliance"): 0.25,
    ("outcome", "empathy"): 0.08,
    ("outcome", "intake_level"): 0.40,
}
EXOGENOUS = 0.15
SYNTAX = """
alliance ~ a*empathy + intake_level
outcome ~ b*alliance + c*empathy + intake_level
indirect := a*b
total := c + a*b
"""
VARIABLES = ("empathy", "intake_level", "alliance", "outcome")
ERRORS = {"jackknife": "cluster_jackknife", "sandwich": "cluster_robust"}
FORMS = {
    "standardised": ("standardized", "standardized_low", "standardized_high", "std_error_standardized"),
    "unstandardised": ("estimate", "ci_low", "ci_high", "std_error"),
}


def conditions() -> list[Condition]:
    """Return sizes, the largest caseload over the smallest, and intraclass correlations; variables have variance 1."""
    return [
        Condition(
            f"n{n}_therapists{therapists}_largest{largest}_icc{icc:g}",
            {"n_clients": n, "n_therapists": therapists, "largest_caseload": largest, "icc": icc},
        )
        for n, therapists, largest, icc in (
            *((100, 20, 3, 0.05), (100, 20, 3, 0.2), (200, 20, 3, 0.2), (200, 20, 15, 0.2)),
            *((400, 40, 3, 0.2), (400, 40, 15, 0.2)),
        )
    ]


def population() -> np.ndarray:
    """Return the correlations of :data:`VARIABLES` that the true paths imply."""
    matrix = np.eye(4)
    matrix[0, 1] = matrix[1, 0] = EXOGENOUS
    for outcome in (2, 3):
        slopes = np.array([PATHS.get((VARIABLES[outcome], name), 0.0) for name in VARIABLES[:outcome]])
        matrix[outcome, :outcome] = matrix[:outcome, outcome] = matrix[:outcome, :outcome] @ slopes
    return matrix


def truths() -> dict[str, float]:
    """Return the true value of every path and effect, by the name of its row."""
    paths = {f"{outcome}~{predictor}": value for (outcome, predictor), value in PATHS.items()}
    indirect = paths["alliance~empathy"] * paths["outcome~alliance"]
    return {**paths, "indirect": indirect, "total": paths["outcome~empathy"] + indirect}


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return coefficients by both cluster errors, and indirect and total effects by the bootstrap."""
    sizes = condition.parameters
    therapists = therapists_of_clients(sizes["n_clients"], sizes["n_therapists"], sizes["largest_caseload"])
    model = parse_structural(SYNTAX, variables=list(VARIABLES))
    fits: dict[str, list[pd.DataFrame]] = {error: [] for error in ERRORS}
    drawn: list[pd.DataFrame] = []
    for rows in clustered_normal(random, population(), therapists, sizes["icc"], runs):
        fitted = fit_structural(model, rows=pd.DataFrame(rows, columns=list(VARIABLES)), clusters=[therapists])
        left_out = jackknife(fitted, level=LEVEL)
        fits["jackknife"].append(named(left_out.parameters, left_out.unit == "clusters"))
        fits["sandwich"].append(named(_by_t(fitted.parameters, left_out.df), fitted.method == "cluster_robust"))
        drawn.append(named(bootstrap(fitted, random, draws=DRAWS, level=LEVEL).parameters, True))
    true = truths()
    paths = [name for name in true if "~" in name]
    effects = [name for name in true if "~" not in name]
    results = []
    for form in FORMS:
        for error, method in ERRORS.items():
            what = f"{form} path coefficients"
            results += [intervals_of(fits[error], name, form, what, f"path_{form}", method, error, true[name]) for name in paths]
        what = f"{form} indirect and total effects"
        results += [
            intervals_of(drawn, name, form, what, f"defined_{form}", "bootstrap", "expanded_percentile", true[name]) for name in effects
        ]
    return results


def named(table: pd.DataFrame, usable: bool) -> pd.DataFrame:
    """Return a table by the names of its rows, without estimates where its method is another one than asked for."""
    names = table["lhs"] + np.where(table["op"] == ":=", "", table["op"] + table["rhs"])
    table = table.set_index(pd.Index(names))
    return table if usable else table.assign(estimate=np.nan, standardized=np.nan)


def _by_t(table: pd.DataFrame, df: float) -> pd.DataFrame:
    """Return a table with intervals by t(df)."""
    margin = float(critical_value(LEVEL, df))
    limits = {}
    for estimate, low, high, error in FORMS.values():
        limits[low], limits[high] = table[estimate] - margin * table[error], table[estimate] + margin * table[error]
    return table.assign(**limits)


def intervals_of(
    tables: list[pd.DataFrame], name: str, form: str, what: str, estimate_type: str, method: str, interval: str, truth: float
) -> Intervals:
    estimate, low, high, error = (np.array([table.at[name, column] for table in tables], dtype=float) for column in FORMS[form])
    return Intervals(name, what, estimate_type, method, interval, truth, estimate, low, high, (estimate, error), SINGLE_SITE)
