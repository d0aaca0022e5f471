"""More than 1,000 specifications of the pooled effect of the alliance on outcome over 50 sites of 200 clients, against a loop in R.

Prints processor seconds. Closed-form decisions: every specification at every site and pooled (limit 5 s on two cores: sites side by side,
then pooling), and the same with 500 sign flips, summaries written and read (limit 180 s on two cores). Iterative decisions are timed
apart, as seconds a specification of one site. R fits some of the specifications at some sites with lm, leaving out therapists in turn,
and pools them with metafor; its time is scaled to all.
"""

from __future__ import annotations

import argparse
import dataclasses
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
sys.path.insert(0, str(PROJECT / "tests"))

from alliance.files import canonical_json
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.sensitivity import multiverse, pooled_multiverse
from alliance.sensitivity.specifications import SCORING, multiverses
from unit.multiverse_sites import headline, options, statuses
from unit.test_questions_alliance_outcome import treated

CLIENTS, THERAPISTS, FLIPS = 200, 25, 500
FAST_LIMIT, FLIPS_LIMIT = 5.0, 180.0
CLOSED = {
    "rater": {"client": {}, "therapist": {"alliance": {"rater": "therapist"}}},
    "window": {"early": {}, **{name: {"alliance": {"window": name}} for name in ("sessions_2_to_5", "session_3", "all")}},
    "change": {
        "intake_held_constant": {},
        **{name: {"outcome": {"form": name}} for name in ("residual_gain", "change", "zero_order")},
    },
    "therapists": {"left_out_in_turn": {}, "ignored": headline(therapists="ignored")},
    "covariates": {"none": {}, "motivation": headline(covariates=["motivation"])},
    "pooling": {
        "guarded": {},
        "z": {"pooling": {"interval": "z"}},
        "one_effect": {"pooling": {"tau2": "fixed", "interval": "z"}},
        "moments": {"pooling": {"tau2": "dersimonian_laird"}},
    },
    "metric": {"fisher_z": {}, "r": {"pooling": {"metric": "r"}}},
}
ITERATIVE = {"random therapists": {"therapists": "random"}, "likelihood": {"missing": "likelihood"}, "imputed": {"missing": "imputed"}}
R_SPECIFICATIONS, R_SITES, R_POOLED = 4, 2, 20
R_SCRIPT = """
suppressMessages(library(metafor))
rows <- read.csv(commandArgs(TRUE)[1])
z_of <- function(d) atanh(cor(residuals(lm(x ~ intake, d)), residuals(lm(post ~ intake, d))))
sites <- split(rows, rows$site)
estimating <- system.time(for (s in seq_len(%d)) for (d in sites) {
  d <- d[complete.cases(d), ]
  z <- z_of(d); left <- sapply(unique(d$therapist), function(g) z_of(d[d$therapist != g, ]))
})
y <- rnorm(50, .3, .1); v <- rep(.006, 50)
pooling <- system.time(for (s in seq_len(%d)) rma.uni(y, v, method = "REML", test = "adhoc"))
cat(jsonlite::toJSON(list(estimating = sum(estimating[1:2]), pooling = sum(pooling[1:2])), auto_unbox = TRUE, digits = NA))
"""


def seconds(function: Callable[[], object]) -> tuple[float, object]:
    """Return processor seconds and result of a call."""
    start = time.process_time()
    found = function()
    return time.process_time() - start, found


def of_r(site: SiteData) -> tuple[float, float] | None:
    """Return R's seconds for one specification at one site and for pooling one, or None where R or metafor is not installed."""
    if shutil.which("Rscript") is None:
        return None
    scores = site.scores.assign(client=site.scores["client_no"].astype(int))
    early = scores[scores["instrument"].eq("wai_36") & scores["rater"].eq("client") & scores["session"].le(5) & scores["scale"].eq("total")]
    own = scores[scores["instrument"].eq("core_10") & scores["rater"].eq("client")]
    levels = {name: own[own["timepoint"].eq(name)].groupby("client")["score"].mean() for name in ("intake", "post")}
    rows = pd.DataFrame({"x": early.groupby("client")["score"].mean(), **levels})
    rows["therapist"] = site.clients.set_index(site.clients["client_no"].astype(int))["therapist_no"].astype(int)
    with tempfile.TemporaryDirectory() as name:
        table, script = Path(name) / "rows.csv", Path(name) / "loop.R"
        pd.concat([rows.assign(site=number) for number in range(R_SITES)]).to_csv(table, index=False)
        script.write_text(R_SCRIPT % (R_SPECIFICATIONS, R_POOLED), encoding="utf-8")
        run = subprocess.run(["Rscript", "--vanilla", str(script), str(table)], capture_output=True, text=True, check=False)
    if run.returncode:
        return None
    spent = json.loads(run.stdout)
    return spent["estimating"] / (R_SPECIFICATIONS * R_SITES), spent["pooling"] / R_POOLED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=50)
    given = parser.parse_args()
    closed = options(CLOSED, flips=FLIPS)
    [one] = multiverses(closed)
    sites = [incomplete(treated(f"s{number:02}", n=CLIENTS, therapists=THERAPISTS, seed=number)) for number in range(1, given.sites + 1)]
    count, asked = len(one.specifications), len(one.requests)
    print(f"{count:,} specifications ({asked} of a site) over {given.sites} sites of {CLIENTS} clients")
    scored = [{canonical_json(closed[SCORING]): site} for site in sites]
    # Modules are loaded before anything is timed.
    pooled_multiverse.tables_of([multiverse.estimate(site, closed) for site in scored[:2]], statuses(sites[:2]), closed)
    without, _ = seconds(lambda: [multiverse._site_effects(one, site, closed) for site in scored])
    estimating, summaries = seconds(lambda: [multiverse.estimate(site, closed) for site in scored])
    bare = [summary_without_draws(summary) for summary in summaries]
    pooling, tables = seconds(lambda: pooled_multiverse.tables_of(bare, statuses(sites), closed))
    known = int(tables["specifications"]["status"].ne("not_estimable").sum())
    fast = without / 2 + pooling
    cost = f"sites {without:.2f} s, pooling {pooling:.2f} s; on two cores {fast:.2f} s (limit {FAST_LIMIT:g})"
    print(f"closed form: {cost}; {known:,} estimated")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writing, _ = seconds(lambda: [summary.write(folder / summary.site) for summary in summaries])
        size = sum(path.stat().st_size for path in (folder / sites[0].site).iterdir()) / 1e6
        reading, read = seconds(lambda: [SiteSummary.read(folder / site.site) for site in sites])
        testing, _ = seconds(lambda: pooled_multiverse.tables_of(read, statuses(sites), closed))
    flips = (estimating + writing) / 2 + reading + testing
    print(
        f"{FLIPS} flips of all: sites {estimating:.1f} s, writing {writing:.1f} s ({size:.1f} MB a site), reading {reading:.1f} s, pooling "
        f"and joint tests {testing:.1f} s; on two cores {flips:.1f} s (limit {FLIPS_LIMIT:g})"
    )
    for name, chosen in ITERATIVE.items():
        draws = {"alliance_outcome": {"imputation": {"imputations": 20}}}
        slow = options({"how": {"usual": {}, "chosen": headline(**chosen)}}, questions=draws)
        [two] = multiverses(slow)
        usual, both = (
            seconds(lambda two=two, slow=slow, keys=keys: evaluated(two, keys, sites[0], slow))[0] for keys in (slice(0, 1), slice(0, 2))
        )
        print(f"{name}: {max(both - usual, 0.0):.2f} s a specification of one site")

    reference = of_r(sites[0])
    if reference is None:
        print("R or metafor is not installed: nothing to compare with")
    else:
        theirs = reference[0] * asked * given.sites + reference[1] * count
        print(f"R loop (lm, metafor), scaled: {theirs:.0f} s; ratio {(without + pooling) / theirs:.4f}")
    sys.exit(fast > FAST_LIMIT or flips > FLIPS_LIMIT)


def incomplete(site: SiteData) -> SiteData:
    """Return a site of which every sixth client has no outcome."""
    gone = site.scores["timepoint"].eq("post") & (site.scores["client_no"].astype(int) % 6 == 0)
    return dataclasses.replace(site, scores=site.scores[~gone].reset_index(drop=True))


def evaluated(one: object, keys: slice, site: SiteData, given: dict) -> object:
    """Return the effects of some of the requests of a multiverse at one site."""
    from alliance.sensitivity.alliance_outcome_specifications import site_effects

    requests = [request["options"] | {"seed": given["seed"]} for request in list(one.requests.values())[keys]]
    return site_effects(site, requests, given)


def summary_without_draws(summary: SiteSummary) -> SiteSummary:
    """Return a summary as a site would send it that flips nothing."""
    parts = {name: getattr(summary, name) for name in ("site", "question", "label", "facts", "n", "estimates", "vcov")}
    return SiteSummary(**{name: value.copy() if isinstance(value, pd.DataFrame) else value for name, value in parts.items()})


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
