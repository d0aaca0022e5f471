"""The same path model where a fifth of alliance and outcome is missing at random: full information, by therapists."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alliance.simulations.clients import clustered_normal, therapists_of_clients
from alliance.simulations.framework import LEVEL, Condition, Intervals
from alliance.simulations.topics.path_models import FORMS, SYNTAX, VARIABLES, intervals_of, named, population, truths
from alliance.statistics.indirect_effects import monte_carlo
from alliance.statistics.structural_fit import fit_structural, parse_structural
from alliance.statistics.structural_resampling import bootstrap, jackknife, with_interval

RUNS = 500
DRAWS = 1000
KINDS = ("delta", "monte_carlo", "expanded_percentile", "bca")


def conditions() -> list[Condition]:
    """Return sizes; therapists' shares of the variance 0.1, caseloads from 1 to 3."""
    return [
        Condition(f"n{n}_therapists{therapists}_missing0.2", {"n_clients": n, "n_therapists": therapists, "icc": 0.1, "share_missing": 0.2})
        for n, therapists in ((100, 20), (200, 20), (400, 40))
    ]


def with_gaps(rows: np.ndarray, share: float, random: np.random.Generator) -> pd.DataFrame:
    """Return clients of whom a share lacks the alliance and a share the outcome, more often those with little empathy or early alliance."""
    frame = pd.DataFrame(rows, columns=list(VARIABLES))
    for variable, cause in (("alliance", "empathy"), ("outcome", "intake_level")):
        worse = random.standard_normal(len(frame)) - frame[cause].to_numpy()
        frame.loc[worse > np.quantile(worse, 1 - share), variable] = np.nan
    return frame


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return path coefficients by the jackknife of therapists, and the indirect effect with every kind of interval."""
    sizes = condition.parameters
    therapists = therapists_of_clients(sizes["n_clients"], sizes["n_therapists"])
    model = parse_structural(SYNTAX, variables=list(VARIABLES))
    jackknifed: list[pd.DataFrame] = []
    effects: dict[str, list[pd.DataFrame]] = {kind: [] for kind in KINDS}
    for rows in clustered_normal(random, population(), therapists, sizes["icc"], runs):
        data = with_gaps(rows, sizes["share_missing"], random)
        fitted = fit_structural(model, rows=data, clusters=[therapists], missing="ml")
        left_out = jackknife(fitted, level=LEVEL)
        jackknifed.append(named(left_out.parameters, left_out.unit == "clusters"))
        drawn = bootstrap(fitted, random, draws=DRAWS, level=LEVEL)
        tables = {
            "delta": left_out.parameters,
            "monte_carlo": _with_limits(fitted.parameters, monte_carlo(fitted, random, vcov=left_out.vcov, df=left_out.df, level=LEVEL)),
            "expanded_percentile": drawn.parameters,
            "bca": with_interval(fitted, drawn, "bca", LEVEL).parameters,
        }
        for kind, table in tables.items():
            effects[kind].append(named(table, fitted.method == "cluster_robust"))
    true = truths()
    results = []
    for form in FORMS:
        paths = [name for name in true if "~" in name]
        what = f"{form} path coefficients, values missing"
        results += [
            intervals_of(jackknifed, name, form, what, f"path_{form}", "cluster_jackknife", "jackknife", true[name]) for name in paths
        ]
        for kind, tables in effects.items():
            method = "bootstrap" if kind in ("expanded_percentile", "bca") else "cluster_jackknife"
            what = f"{form} indirect effects, values missing"
            results.append(intervals_of(tables, "indirect", form, what, f"defined_{form}", method, kind, true["indirect"]))
    return results


def _with_limits(table: pd.DataFrame, limits: pd.DataFrame) -> pd.DataFrame:
    """Return the defined rows of a fit's table with other limits."""
    columns = ["ci_low", "ci_high", "standardized_low", "standardized_high"]
    defined = table[table["op"].eq(":=")].drop(columns=columns)
    return defined.merge(limits.rename(columns={"name": "lhs"}), on="lhs")
