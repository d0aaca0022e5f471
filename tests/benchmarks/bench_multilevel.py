"""A three-level mixed model on 100,000 session rows, against lme4 on the same rows in the same run.

Prints processor seconds of the fit alone (best of three, no imports, no reading), and the ratio; the limit is three times lme4. lme4
reports no degrees of freedom: those of lmerTest are timed beside it.
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

from alliance.statistics.multilevel import mixed_model, variance_shares
from alliance.statistics.resampling import generator

ROWS = 100_000
LIMIT = 3.0
R_SCRIPT = """
suppressMessages({library(lme4); library(lmerTest)})
rows <- read.csv(commandArgs(TRUE)[1])
seconds <- function(f) min(sapply(1:3, function(i) sum(system.time(f())[1:2])))
formula <- y ~ x + t + (1 | therapist/client)
slope <- y ~ x + t + (1 + x | therapist) + (1 | therapist:client)
fit <- lme4::lmer(formula, rows)
cat(jsonlite::toJSON(list(intercepts = seconds(function() lme4::lmer(formula, rows)), slope = seconds(function() lme4::lmer(slope, rows)),
    df = seconds(function() coef(summary(lmerTest::lmer(formula, rows)))), estimate = unname(lme4::fixef(fit)),
    variance = as.data.frame(lme4::VarCorr(fit))$vcov), digits = NA, auto_unbox = TRUE))
"""


def session_rows() -> pd.DataFrame:
    """Return sessions of about 10,000 clients of 800 therapists."""
    random = generator(1, "bench_multilevel")
    therapist = np.repeat(np.arange(850), random.integers(5, 21, 850))
    client = np.repeat(np.arange(len(therapist)), random.integers(6, 15, len(therapist)))[:ROWS]
    t = pd.Series(client).groupby(client).cumcount().to_numpy() + 1.0
    x = 5 + random.normal(size=len(client)) + 0.5 * random.normal(size=len(therapist))[client]
    y = 20 + (0.3 + 0.1 * random.normal(size=850)[therapist[client]]) * x - 0.1 * t + 0.5 * random.normal(size=850)[therapist[client]]
    y += 0.8 * random.normal(size=len(therapist))[client] + random.normal(size=len(client))
    return pd.DataFrame({"y": y, "x": x, "t": t, "therapist": therapist[client], "client": client})


def seconds(function: object, runs: int = 3) -> float:
    """Return the least processor time of some calls."""
    spent = []
    for _ in range(runs):
        start = time.process_time()
        function()
        spent.append(time.process_time() - start)
    return min(spent)


def of_r(rows: pd.DataFrame) -> dict | None:
    """Return what R needed and found, or None where R, lme4 or lmerTest is not installed."""
    if shutil.which("Rscript") is None:
        return None
    with tempfile.TemporaryDirectory() as name:
        table, script = Path(name) / "rows.csv", Path(name) / "fit.R"
        rows.to_csv(table, index=False, float_format="%.17g")
        script.write_text(R_SCRIPT, encoding="utf-8")
        run = subprocess.run(["Rscript", "--vanilla", str(script), str(table)], capture_output=True, text=True, check=False)
    return json.loads(run.stdout) if run.returncode == 0 else None


def main() -> None:
    rows = session_rows()
    levels, fixed = ["therapist", "client"], ["1", "x", "t"]
    model = mixed_model(rows, "y", fixed, levels)
    ours = seconds(lambda: mixed_model(rows, "y", fixed, levels))
    slope = seconds(lambda: mixed_model(rows, "y", fixed, levels, random={"therapist": ["1", "x"]}))
    shares = seconds(lambda: variance_shares(rows, "y", levels, residual="session"), 1)
    print(f"three-level mixed model, {len(rows)} rows, {model.n_units['client']} clients, {model.n_units['therapist']} therapists")
    print(f"  random intercepts, with degrees of freedom  {ours:6.2f} s CPU")
    print(f"  with a slope over therapists                {slope:6.2f} s CPU")
    print(f"  shares of variance with intervals           {shares:6.2f} s CPU")
    r = of_r(rows)
    if r is None:
        print("  no ratio: Rscript with lme4, lmerTest and jsonlite is not installed")
        return
    variances = model.variances["variance"].to_numpy()[[1, 0, 2]]
    assert np.abs(model.coefficients["estimate"].to_numpy() - r["estimate"]).max() < 1e-4
    assert np.abs(variances - r["variance"]).max() < 1e-3
    print(f"  lme4                    {r['intercepts']:6.2f} s: ratio {ours / r['intercepts']:.2f} (limit {LIMIT:.0f})")
    print(f"  lmerTest, same output   {r['df']:6.2f} s: ratio {ours / r['df']:.2f}")
    print(f"  lme4 with a slope       {r['slope']:6.2f} s: ratio {slope / r['slope']:.2f} (limit {LIMIT:.0f})")
    assert max(ours / r["intercepts"], slope / r["slope"]) < LIMIT


if __name__ == "__main__":
    main()
