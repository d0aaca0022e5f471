"""Pooling 200 effects of 500 sites, and again without each site: REML, guarded Hartung-Knapp, Q-profile. Metafor does some of it beside.

Metafor is timed on fewer effects, since leaving out 500 sites costs it minutes; its time is scaled to all effects, and the line says so.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from measure import PROJECT, cost

sys.path.insert(0, str(PROJECT / "scripts"))

from alliance.statistics.meta_analysis import leave_one_out_many, pool_many

LIMIT = 2.0
METAFOR = """
suppressMessages(library(metafor)); d <- read.csv(commandArgs(TRUE)[1])
start <- proc.time()[["user.self"]]
for (one in split(d, d$effect)) {
  full <- rma(y, v, data = one, method = "REML", test = "adhoc"); full.between <- confint(full)
  for (i in seq_len(LEFT_OUT)) { fit <- rma(y, v, data = one[-i, ], method = "REML", test = "adhoc"); between <- confint(fit) }
}
cat(proc.time()[["user.self"]] - start)
"""


def simulated(effects: int, sites: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    v = 1 / random.integers(10, 150, (effects, sites))
    return 0.3 + random.normal(size=v.shape) * np.sqrt(v + 0.02), v


def metafor_seconds(y: np.ndarray, v: np.ndarray, left_out: int) -> float:
    """Return metafor's processor seconds for the effects given, ``left_out`` sites left out in turn."""
    with tempfile.TemporaryDirectory() as name:
        table = Path(name) / "effects.csv"
        effect = np.repeat(np.arange(len(y)), y.shape[1])
        pd.DataFrame({"effect": effect, "y": y.ravel(), "v": v.ravel()}).to_csv(table, index=False)
        script = Path(name) / "pool.R"
        script.write_text(METAFOR.replace("LEFT_OUT", str(left_out)), encoding="utf-8")
        run = subprocess.run(["Rscript", "--vanilla", str(script), str(table)], capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"metafor failed:\n{run.stderr}")
    return float(run.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=500)
    parser.add_argument("--effects", type=int, default=200)
    parser.add_argument("--left-out", type=int, default=20, help="sites that metafor leaves out of one effect")
    given = parser.parse_args()
    y, v = simulated(given.effects, given.sites)
    start = time.process_time()
    pool_many(y, v)
    pooled = time.process_time() - start
    start = time.process_time()
    leave_one_out_many(y, v)
    left_out = time.process_time() - start
    spent = pooled + left_out
    print(f"{given.sites} sites, {given.effects} effects: {spent:.2f} s CPU, {left_out:.2f} of it without each site (limit {LIMIT:.0f})")
    if shutil.which("Rscript") is None or cost(["Rscript", "--vanilla", "-e", "library(metafor)"]).status:
        print("no ratio: metafor is not installed (R with the package metafor)")
    else:
        some = min(given.left_out, given.sites)
        fits = (given.sites + 1) * given.effects
        seconds = metafor_seconds(y[:1], v[:1], some) / (some + 1) * fits
        print(f"metafor: {seconds:.0f} s CPU, scaled from {some + 1} of {fits} fits, {seconds / spent:.0f} times as long")
    return int(spent > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
