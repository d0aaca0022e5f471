"""Single steps of one site or one pooling: processor seconds beside their limits, and beside statsmodels' mixed model in the same run.

The best of three counts (no imports, no reading). On a machine that is slow or shared the ratios say more than the limits.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import numpy as np
from alliance.files import hold_text_as_python
from alliance.questions.course import question as course
from alliance.questions.dropout import question as dropout
from alliance.questions.ruptures import question as ruptures
from alliance.statistics.multilevel_reliability import generalizability, two_level_reliability
from alliance.statistics.multivariate_meta import pool_coefficients
from alliance.statistics.ordinal_reliability import ordinal_reliability
from alliance.statistics.polychoric import polychoric
from unit.leaving_site import leaving
from unit.ruptured_site import ruptured
from unit.session_sites import sessions_site
from unit.simulated_site import OPTIONS
from unit.test_statistics_multivariate_meta import simulated
from unit.test_statistics_polychoric import answers
from unit.test_statistics_site_equality import equality

RUNS = 3


def seconds(step: Callable[[], Any]) -> float:
    """Return the least processor time of some runs."""
    spent = []
    for _ in range(RUNS):
        start = time.process_time()
        step()
        spent.append(time.process_time() - start)
    return min(spent)


def peer() -> Callable[[], Any]:
    """Return statsmodels' fit of a mixed model."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    random = np.random.default_rng(1)
    therapist = np.repeat(np.arange(200), 10)
    predictors = np.column_stack([np.ones(2000), random.normal(size=2000)])
    outcome = predictors[:, 1] + random.normal(size=200)[therapist] + random.normal(size=2000)
    return lambda: MixedLM(outcome, predictors, therapist).fit()


def reliability() -> Callable[[], Any]:
    """Return what 200 clients rated with 12 items in 10 sessions says of reliability."""
    random = np.random.default_rng(15)
    client, session = np.repeat(np.arange(200), 10), np.tile(np.arange(10), 200)
    items = random.normal(size=(200, 12))[client] + random.normal(size=(2000, 1)) + random.normal(size=(2000, 12))
    return lambda: (two_level_reliability(items, client, client % 25), generalizability(items, client, session, client % 25))


def main() -> None:
    warnings.simplefilter("ignore")
    hold_text_as_python()
    y, v = simulated(100, 12, 2)
    names = [f"b{place}" for place in range(12)]
    of_sites = {
        "ruptures": (ruptures, ruptured("a", n=200, therapists=20)),
        "course": (course, sessions_site("a", n=200, therapists=25, seed=9)),
        "dropout": (dropout, leaving("a", n=200, therapists=40, seed=9)),
    }
    short, long = answers(500, 12, 10), answers(500, 36, 10)
    steps: list[tuple[str, Callable[[], Any], float]] = [
        *(
            (f"{name}, a site of 200 clients", lambda question=question, site=site: question.estimate(site, OPTIONS, {}), 2.0)
            for name, (question, site) in of_sites.items()
        ),
        ("reliability within and between, 200 clients x 10 sessions x 12 items", reliability(), 2.0),
        ("ordinal reliability, 500 clients x 12 items", lambda: ordinal_reliability(short, np.arange(500) % 30), 0.5),
        ("polychoric correlations, 500 clients x 12 items", lambda: polychoric(short), 0.5),
        ("polychoric correlations, 500 clients x 36 items", lambda: polychoric(long), 3.0),
        ("paths of 50 sites compared", lambda: equality(50), 6.0),
        ("12 coefficients of 100 sites pooled together", lambda: pool_coefficients(y, v, names), 10.0),
    ]
    unit = seconds(peer())
    print(f"{'statsmodels, mixed model of 2,000 clients':70} {unit:6.2f} s")
    for name, step, limit in steps:
        spent = seconds(step)
        print(f"{name:70} {spent:6.2f} s, limit {limit:g} s, {spent / unit:5.1f} times the mixed model", flush=True)


if __name__ == "__main__":
    main()
