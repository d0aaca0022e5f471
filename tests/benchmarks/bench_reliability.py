"""Alpha and omega total of a long scale in 2,000 resamples of clients, with intervals. psych and lavaan do some of it beside.

lavaan is timed on fewer resamples, since a fit of 36 items takes it a tenth of a second; the time is scaled to all, and the line says so.
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
from measure import PROJECT, cost

sys.path.insert(0, str(PROJECT / "scripts"))

from alliance.statistics.reliability import reliability
from alliance.statistics.resampling import generator

LIMIT = 2.0
PEER = """
suppressMessages({library(psych); library(lavaan)}); given <- commandArgs(TRUE); d <- read.csv(given[1]); draws <- as.integer(given[2])
model <- paste("f =~", paste(names(d), collapse = " + "))
start <- proc.time()[["user.self"]]
for (i in seq_len(draws)) {
  one <- d[sample(nrow(d), replace = TRUE), ]
  a <- suppressWarnings(psych::alpha(cov(one), check.keys = FALSE))
  e <- lavInspect(cfa(model, sample.cov = cov(one), sample.nobs = nrow(one), std.lv = TRUE, se = "none", test = "none"), "est")
  omega <- sum(e$lambda)^2 / (sum(e$lambda)^2 + sum(diag(e$theta)))
}
cat(proc.time()[["user.self"]] - start)
"""


def simulated(clients: int, items: int) -> np.ndarray:
    """Return items of three kinds that share a general factor."""
    random = np.random.default_rng(1)
    general, group = random.normal(size=(clients, 1)), random.normal(size=(clients, 3))
    kinds = group[:, np.arange(items) * 3 // items]
    return general * random.uniform(0.4, 0.8, items) + 0.4 * kinds + 0.7 * random.normal(size=(clients, items))


def peer_seconds(items: np.ndarray, draws: int) -> float:
    """Return the processor seconds of psych and lavaan for so many resamples."""
    with tempfile.TemporaryDirectory() as name:
        table, script = Path(name) / "items.csv", Path(name) / "peer.R"
        header = ",".join(f"i{number}" for number in range(items.shape[1]))
        np.savetxt(table, items, delimiter=",", header=header, comments="")
        script.write_text(PEER, encoding="utf-8")
        run = subprocess.run(["Rscript", "--vanilla", str(script), str(table), str(draws)], capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"lavaan failed:\n{run.stderr}")
    return float(run.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--items", type=int, default=36)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--peer-draws", type=int, default=10, help="resamples that psych and lavaan are given")
    given = parser.parse_args()
    items = simulated(given.clients, given.items)
    start = time.process_time()
    found = reliability(items, None, generator(1, "benchmark"), draws=given.draws)
    spent = time.process_time() - start
    told = ", ".join(f"{one.name} {one.estimate:.3f} ({one.ci_low:.3f} to {one.ci_high:.3f})" for one in found.coefficients)
    print(f"{given.clients} clients, {given.items} items, {given.draws} resamples: {spent:.2f} s CPU (limit {LIMIT:.0f}); {told}")
    if shutil.which("Rscript") is None or cost(["Rscript", "--vanilla", "-e", "library(psych); library(lavaan)"]).status:
        print("no ratio: R with the packages psych and lavaan is not installed")
    else:
        seconds = peer_seconds(items, given.peer_draws) / given.peer_draws * given.draws
        ratio = seconds / spent
        print(f"psych and lavaan: {seconds:.0f} s CPU, scaled from {given.peer_draws} resamples, {ratio:.0f} times as long")
    return int(spent > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
