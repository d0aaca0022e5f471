"""Structural equation models, against lavaan on the same rows in the same run.

Prints processor seconds of each fit alone (best of three, no imports, no reading), and the ratio. With missing values (2,000 clients, nine
items, three factors) the limit is lavaan's time.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from measure import PROJECT

sys.path.insert(0, str(PROJECT / "scripts"))

from alliance.statistics.covariance import moments
from alliance.statistics.resampling import generator
from alliance.statistics.structural_fit import Moments, fit_structural, parse_structural

LIMIT = 1.0
CLIENTS, SHARE_MISSING = 2000, 0.10
R_SCRIPT = """
suppressMessages(library(lavaan))
folder <- commandArgs(TRUE)[1]
models <- jsonlite::fromJSON(file.path(folder, "models.json"))
read <- function(name) read.csv(file.path(folder, paste0(name, ".csv")))
seconds <- function(f) min(sapply(1:3, function(i) sum(system.time(f())[1:2])))
nine <- read("nine"); holes <- read("holes"); many <- read("many"); sites <- read("sites")
groups <- function() sem(models$twelve, sites, group = "site", group.equal = c("loadings", "intercepts"))
cat(jsonlite::toJSON(list(
  missing = seconds(function() sem(models$nine, holes, missing = "ml")),
  missing_robust = seconds(function() sem(models$nine, holes, missing = "ml", estimator = "MLR")),
  complete = seconds(function() sem(models$nine, nine)),
  items_36 = seconds(function() sem(models$many, many)),
  sites_6 = seconds(groups),
  chi2 = fitMeasures(sem(models$nine, holes, missing = "ml"), "chisq")[[1]]), digits = NA, auto_unbox = TRUE))
"""


def rows_of(items: int, clients: int, name: str) -> pd.DataFrame:
    """Return items of three correlated factors."""
    random = generator(1, "bench_structural", name)
    factors = random.multivariate_normal(np.zeros(3), 0.5 * np.eye(3) + 0.5, clients)
    loadings = random.uniform(0.5, 0.9, items)
    values = 3 + factors[:, np.arange(items) % 3] * loadings + 0.6 * random.normal(size=(clients, items))
    return pd.DataFrame(values, columns=[f"i{item}" for item in range(items)])


def model_of(items: int) -> str:
    return "\n".join(f"f{factor} =~ " + " + ".join(f"i{item}" for item in range(factor, items, 3)) for factor in range(3))


def seconds(function: object, runs: int = 3) -> float:
    """Return the least processor time of some calls."""
    spent = []
    for _ in range(runs):
        start = time.process_time()
        function()
        spent.append(time.process_time() - start)
    return min(spent)


def of_r(tables: dict[str, pd.DataFrame], models: dict[str, str]) -> dict | None:
    """Return what lavaan needed, or None where R or lavaan is not installed."""
    if shutil.which("Rscript") is None:
        return None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for key, table in tables.items():
            table.to_csv(folder / f"{key}.csv", index=False, float_format="%.17g")
        (folder / "models.json").write_text(json.dumps(models), encoding="utf-8")
        (folder / "fit.R").write_text(R_SCRIPT, encoding="utf-8")
        run = subprocess.run(["Rscript", "--vanilla", str(folder / "fit.R"), name], capture_output=True, text=True, check=False)
    return json.loads(run.stdout) if run.returncode == 0 else None


def summary(rows: pd.DataFrame) -> Moments:
    found = moments(rows)
    return Moments(found.n, found.covariance, found.mean, list(rows.columns))


def main() -> None:
    nine, many = rows_of(9, CLIENTS, "nine"), rows_of(36, 500, "many")
    holes = nine.mask(generator(1, "bench_structural", "holes").uniform(size=nine.shape) < SHARE_MISSING)
    sites = [rows_of(12, 200, f"site {index}") for index in range(50)]
    models = {"nine": model_of(9), "many": model_of(36), "twelve": model_of(12)}
    nine_model, many_model, twelve = (parse_structural(models[name]) for name in ("nine", "many", "twelve"))
    of_sites = [summary(rows) for rows in sites]
    equal = {"group_equal": ["loadings", "intercepts"]}
    ours = {
        "missing": seconds(lambda: fit_structural(nine_model, rows=holes, missing="ml")),
        "missing_robust": seconds(lambda: fit_structural(nine_model, rows=holes, missing="ml", errors="robust")),
        "complete": seconds(lambda: fit_structural(nine_model, summary(nine))),
        "items_36": seconds(lambda: fit_structural(many_model, summary(many))),
        "sites_6": seconds(lambda: fit_structural(twelve, of_sites[:6], **equal)),
        "sites_50": seconds(lambda: fit_structural(twelve, of_sites, **equal)),
    }
    six = pd.concat([rows.assign(site=index) for index, rows in enumerate(sites[:6])])
    theirs = of_r({"nine": nine, "holes": holes, "many": many, "sites": six}, models)
    if theirs is None:
        print("lavaan could not be run: no ratios")
    for name, spent in ours.items():
        reference = (theirs or {}).get(name)
        ratio = "" if reference is None else f"  lavaan {reference:7.3f} s  ratio {spent / reference:5.2f}"
        print(f"{name:15s} {spent:7.3f} s{ratio}")
    if theirs is not None:
        found = fit_structural(nine_model, rows=holes, missing="ml").fit.chi2
        print(f"chi-squared with missing values: {found:.6f}, lavaan {theirs['chi2']:.6f}")
        if ours["missing"] > LIMIT * theirs["missing"]:
            sys.exit("slower than lavaan with missing values")


if __name__ == "__main__":
    main()
