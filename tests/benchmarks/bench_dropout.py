"""Hazard models with therapists' frailty on 100,000 person-periods, against lme4's glmer on the same rows in the same run.

Prints processor seconds of the fit alone (no imports, no reading; the best of three, of one for glmer), and the ratios, for both links:
with as many quadrature nodes in both programs, and against glmer with one node (Laplace), which is its fastest. The limit is a ratio of 1.
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

from alliance.statistics.discrete_time_hazard import NODES, HazardModel, hazard_model
from alliance.statistics.resampling import generator

ROWS, THERAPISTS = 100_000, 850
PREDICTORS = ["alliance", "severity", "session"]
LIMIT = 1.0
R_SCRIPT = """
suppressMessages(library(lme4))
rows <- read.csv(commandArgs(TRUE)[1])
out <- list()
for (link in c("cloglog", "logit")) for (nodes in c(%d, 1)) {
  spent <- system.time(fit <- glmer(event ~ alliance + severity + session + (1 | therapist), rows, binomial(link), nAGQ = nodes))
  out[[paste(link, nodes)]] <- list(seconds = sum(spent[1:2]), estimate = unname(fixef(fit))[-1], sd = unname(getME(fit, "theta")))
}
cat(jsonlite::toJSON(out, digits = NA, auto_unbox = TRUE))
"""


def person_periods() -> pd.DataFrame:
    """Return sessions of about 13,000 clients of 850 therapists until they leave or come to the twelfth session."""
    random = generator(1, "bench_dropout")
    therapist = np.repeat(np.arange(THERAPISTS), random.integers(5, 31, THERAPISTS))
    n = len(therapist)
    alliance, severity = random.standard_normal((2, n))
    frailty = 0.4 * random.standard_normal(THERAPISTS)
    staying, periods = np.ones(n, dtype=bool), []
    for session in range(1, 13):
        linear = -2.8 - 0.2 * np.log2(session) - 0.5 * alliance + 0.2 * severity + frailty[therapist]
        leaves = staying & (random.random(n) < -np.expm1(-np.exp(linear)))
        here = np.flatnonzero(staying)
        periods.append(
            pd.DataFrame(
                {
                    "event": leaves[here].astype(int),
                    "alliance": alliance[here],
                    "severity": severity[here],
                    "session": np.log2(session),
                    "therapist": therapist[here],
                    "client": here,
                }
            )
        )
        staying &= ~leaves
    rows = pd.concat(periods, ignore_index=True).sort_values(["client", "session"], kind="stable")
    return rows.iloc[:ROWS].reset_index(drop=True)


def fitted(rows: pd.DataFrame, link: str) -> HazardModel:
    """Return the model that is timed."""
    return hazard_model(rows["event"], rows[PREDICTORS], PREDICTORS, rows["therapist"], link=link, interval=False)


def seconds(function: object, runs: int = 3) -> float:
    """Return the least processor time of some calls."""
    spent = []
    for _ in range(runs):
        start = time.process_time()
        function()
        spent.append(time.process_time() - start)
    return min(spent)


def of_r(rows: pd.DataFrame) -> dict | None:
    """Return what R needed and found, or None where R or lme4 is not installed."""
    if shutil.which("Rscript") is None:
        return None
    with tempfile.TemporaryDirectory() as name:
        table, script = Path(name) / "rows.csv", Path(name) / "fit.R"
        rows.to_csv(table, index=False, float_format="%.17g")
        script.write_text(R_SCRIPT % NODES, encoding="utf-8")
        run = subprocess.run(["Rscript", "--vanilla", str(script), str(table)], capture_output=True, text=True, check=False)
    return json.loads(run.stdout) if run.returncode == 0 else None


def main() -> None:
    rows = person_periods()
    print(f"{len(rows):,} person-periods, {rows['client'].nunique():,} clients, {THERAPISTS} therapists, {rows['event'].sum():,} events")
    reference, slowest = of_r(rows), 0.0
    for link in ("cloglog", "logit"):
        model, ours = fitted(rows, link), seconds(lambda link=link: fitted(rows, link))
        print(f"{link}: ours, {NODES} nodes: {ours:.2f} s, frailty SD {model.frailty_sd:.4f}")
        if reference is None:
            continue
        for nodes in (NODES, 1):
            theirs = reference[f"{link} {nodes}"]
            ratio = ours / theirs["seconds"]
            slowest = max(slowest, ratio)
            away = np.abs(model.coefficients["estimate"].to_numpy() - np.array(theirs["estimate"])).max()
            print(
                f"{link}: glmer, {nodes} node{'s' if nodes > 1 else ''}: {theirs['seconds']:.2f} s, frailty SD {theirs['sd']:.4f}; "
                f"ratio {ratio:.3f}, coefficients differ by at most {away:.1e}"
            )
    if reference is None:
        print("R or lme4 is not installed: nothing to compare with")
    else:
        print(f"largest ratio {slowest:.3f} (limit {LIMIT:g}): {'within' if slowest <= LIMIT else 'ABOVE'} the limit")
        sys.exit(slowest > LIMIT)


if __name__ == "__main__":
    main()
