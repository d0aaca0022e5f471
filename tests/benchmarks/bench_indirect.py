"""Resampling an indirect effect: ours, lavaan's bootstrap and pingouin's, on the same rows in the same run.

400 clients, one mediator, two covariates, 5,000 resamples; then 5,000 resamples of 40 therapists, and of the same model and one with a
factor with a fifth of the values missing. Processor seconds, best of three, without imports; lavaan has fewer resamples, and its time is
scaled up to 5,000.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from measure import PROJECT

sys.path.insert(0, str(PROJECT / "scripts"))

from alliance.statistics.resampling import generator
from alliance.statistics.structural_fit import StructuralFit, fit_structural, parse_structural
from alliance.statistics.structural_resampling import Bootstrap, bootstrap, jackknife

CLIENTS, THERAPISTS, DRAWS, LAVAAN_DRAWS = 400, 40, 5000, 250
FASTER_THAN_LAVAAN, FASTER_THAN_PINGOUIN, THERAPISTS_LIMIT = 200, 5, 0.3
MODEL = "m ~ a*x + c1 + c2\ny ~ b*m + c*x + c1 + c2\nindirect := a*b\ntotal := c + a*b"
FACTOR = "f =~ i1 + i2 + i3\nf ~ a*x + c1\ny ~ b*f + c*x + c1\nindirect := a*b"
R_SCRIPT = """
suppressMessages(library(lavaan))
arguments <- commandArgs(TRUE)
rows <- read.csv(file.path(arguments[1], "rows.csv"))
model <- paste(readLines(file.path(arguments[1], "model.txt")), collapse = "\\n")
set.seed(1)
spent <- sum(system.time(fit <- sem(model, rows, se = "bootstrap", bootstrap = as.integer(arguments[2])))[c(1, 2, 4, 5)])
without <- sum(system.time(sem(model, rows))[1:2])
limits <- subset(parameterEstimates(fit, boot.ci.type = "perc"), lhs == "indirect")
cat(jsonlite::toJSON(list(seconds = spent, fit = without, limits = c(limits$ci.lower, limits$ci.upper)), digits = NA, auto_unbox = TRUE))
"""


def clients() -> tuple[pd.DataFrame, np.ndarray]:
    """Return the rows, and the therapist of each."""
    random = generator(1, "bench_indirect")
    therapist = np.repeat(np.arange(THERAPISTS), CLIENTS // THERAPISTS)

    def noise() -> np.ndarray:
        return 0.9 * random.normal(size=CLIENTS) + 0.4 * random.normal(size=THERAPISTS)[therapist]

    x, c1, c2 = noise(), noise(), noise()
    m, f = 0.4 * x + 0.2 * c1 + noise(), 0.4 * x + noise()
    items = {f"i{item}": f + 0.7 * noise() for item in (1, 2, 3)}
    return pd.DataFrame({"x": x, "m": m, "y": 0.3 * m + 0.3 * f + 0.1 * x + 0.3 * c2 + noise(), "c1": c1, "c2": c2, **items}), therapist


def seconds(function: Callable[[], object], runs: int = 3) -> float:
    """Return the least processor time of some calls."""
    spent = []
    for _ in range(runs):
        start = time.process_time()
        function()
        spent.append(time.process_time() - start)
    return min(spent)


def of_lavaan(rows: pd.DataFrame) -> dict | None:
    """Return what lavaan needed, or None where R or lavaan is not installed."""
    if shutil.which("Rscript") is None:
        return None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows.to_csv(folder / "rows.csv", index=False, float_format="%.17g")
        (folder / "model.txt").write_text(MODEL, encoding="utf-8")
        (folder / "fit.R").write_text(R_SCRIPT, encoding="utf-8")
        command = ["Rscript", "--vanilla", str(folder / "fit.R"), name, str(LAVAAN_DRAWS)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(run.stdout) if run.returncode == 0 else None


def indirect(found: Bootstrap) -> np.ndarray:
    return found.parameters.set_index("label").loc["indirect", ["ci_low", "ci_high"]].to_numpy(dtype=float)


def main() -> None:
    import pingouin

    rows, therapist = clients()
    holes = rows.mask(generator(1, "bench_indirect", "holes").uniform(size=rows.shape) < 0.2)
    holes["x"] = rows["x"]
    model, factor = parse_structural(MODEL), parse_structural(FACTOR)

    def resampled(fitted: StructuralFit, interval: str = "percentile") -> Bootstrap:
        return bootstrap(fitted, generator(1, "draws"), draws=DRAWS, interval=interval)

    def of_pingouin() -> pd.DataFrame:
        return pingouin.mediation_analysis(data=rows, x="x", m="m", y="y", covar=["c1", "c2"], n_boot=DRAWS, seed=1)

    ours = seconds(lambda: resampled(fit_structural(model, rows=rows)))
    whole = fit_structural(model, rows=rows, clusters=[therapist])
    therapists = seconds(lambda: resampled(whole))
    print(f"ours, {DRAWS} resamples of clients, fit included: {ours:.3f} s; limits {indirect(resampled(fit_structural(model, rows=rows)))}")
    print(f"ours, {DRAWS} resamples of therapists: {therapists:.3f} s; leaving out each: {seconds(lambda: jackknife(whole)):.3f} s")
    for name, syntax in (("observed variables", model), ("a factor", factor)):
        some = fit_structural(syntax, rows=holes, clusters=[therapist], missing="ml")
        print(f"ours, {DRAWS} resamples of therapists, a fifth missing, {name}: {seconds(lambda some=some: resampled(some), 1):.3f} s")
    theirs = seconds(of_pingouin, 2)
    corrected = indirect(resampled(fit_structural(model, rows=rows), "bias_corrected"))
    found = of_pingouin().set_index("path").loc["Indirect"].filter(like="CI").to_numpy(dtype=float)
    print(f"pingouin: {theirs:.3f} s, ratio {theirs / ours:.1f}; limits {found}, ours bias-corrected {corrected}")
    faults = []
    if theirs < FASTER_THAN_PINGOUIN * ours:
        faults.append(f"less than {FASTER_THAN_PINGOUIN} times faster than pingouin")
    if therapists > THERAPISTS_LIMIT:
        faults.append(f"resampling therapists takes more than {THERAPISTS_LIMIT} s")
    lavaan = of_lavaan(rows)
    if lavaan is None:
        print("lavaan could not be run: no ratio")
    else:
        full = (lavaan["seconds"] - lavaan["fit"]) / LAVAAN_DRAWS * DRAWS + lavaan["fit"]
        print(f"lavaan: {full:.1f} s (scaled from {LAVAAN_DRAWS} resamples), ratio {full / ours:.0f}; limits {np.array(lavaan['limits'])}")
        if full < FASTER_THAN_LAVAAN * ours:
            faults.append(f"less than {FASTER_THAN_LAVAAN} times faster than lavaan")
    if faults:
        sys.exit("; ".join(faults))


if __name__ == "__main__":
    main()
