"""What therapists bring: slopes of scores on a trait of therapists, their contrast, and products of a client's and a therapist's trait.

Clients are unevenly divided over therapists. All scores share what therapists and clients differ in; task has a part of its own, on which
the trait works more. Products come from a mixed model in which the slope on the client's trait varies over therapists for other reasons
too.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from alliance.simulations.framework import LEVEL, SINGLE_SITE, Condition, Intervals
from alliance.statistics.distributions import critical_value
from alliance.statistics.multilevel import Effect, mixed_model
from alliance.statistics.therapist_effects import therapist_regression

RUNS = 600
# An optimiser stops where it stops.
TOLERANCE = 1e-5
FEWEST, MOST = 3, 7
SLOPES = {"task": 0.3, "bond": 0.1}
PRODUCT, CLIENT_TRAIT, SLOPE_SD = 0.15, 0.3, 0.2
Numbers = tuple[float, float, float, float]


def conditions() -> list[Condition]:
    """Return numbers of therapists and shares of the variance between them; each therapist has three to seven clients."""
    return [
        Condition(f"therapists{therapists}_icc{icc:g}", {"n_therapists": therapists, "icc": icc})
        for therapists, icc in product((10, 30), (0.0, 0.05, 0.2))
    ]


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return slopes of task and bond and their contrast by therapists' means, and the product by a mixed model."""
    therapists, icc = int(condition.parameters["n_therapists"]), float(condition.parameters["icc"])
    found = [_run(therapists, icc, random) for _ in range(runs)]
    truths = {**SLOPES, "task - bond": SLOPES["task"] - SLOPES["bond"], "product": PRODUCT}
    kinds = {
        "task": ("slopes on a trait of therapists", "slope_standardised", "therapist_means", "t"),
        "bond": ("slopes on a trait of therapists", "slope_standardised", "therapist_means", "t"),
        "task - bond": ("differences of two such slopes", "slope_contrast", "therapist_means", "t"),
        "product": (
            "products of a client's and a therapist's trait",
            "interaction_standardised",
            "mixed_model",
            "satterthwaite",
        ),
    }
    results = []
    for name, (what, kind, method, interval) in kinds.items():
        estimate, low, high, error = np.array([one[name] for one in found]).T
        results.append(Intervals(name, what, kind, method, interval, truths[name], estimate, low, high, (estimate, error), SINGLE_SITE))
    return results


def _run(therapists: int, icc: float, random: np.random.Generator) -> dict[str, Numbers]:
    therapist = np.repeat(np.arange(therapists), random.integers(FEWEST, MOST + 1, therapists))
    n = len(therapist)
    trait, client_trait = random.standard_normal(therapists)[therapist], random.standard_normal(n)
    common = np.sqrt(icc) * random.standard_normal(therapists)[therapist] + np.sqrt(0.8 - icc) * random.standard_normal(n)
    scores = np.column_stack([common + slope * trait + np.sqrt(0.2) * random.standard_normal(n) for slope in SLOPES.values()])
    frame = pd.DataFrame({"therapist": therapist, "mean": scores.mean(axis=1)})
    model = mixed_model(frame, "mean", ["1"], ["therapist"], level=LEVEL)
    between, within = (float(value) for value in model.variances["variance"])
    fitted = therapist_regression(scores, trait, therapist, between / (between + within))
    margin = float(critical_value(LEVEL, fitted.df))
    numbers: dict[str, Numbers] = {}
    for name, weights in (("task", [1, 0]), ("bond", [0, 1]), ("task - bond", [1, -1])):
        estimate, error = fitted.combination(weights)
        numbers[name] = (estimate, estimate - margin * error, estimate + margin * error, error)
    slope = CLIENT_TRAIT + SLOPE_SD * random.standard_normal(therapists)[therapist] + PRODUCT * trait
    frame = frame.assign(alliance=scores[:, 0] + slope * client_trait, client=client_trait, trait=trait, product=trait * client_trait)
    fixed = ["1", "client", "trait", "product"]
    effect = mixed_model(frame, "alliance", fixed, ["therapist"], random={"therapist": ("1", "client")}, level=LEVEL)
    numbers["product"] = _numbers(effect.combination({"product": 1.0})) if effect.fit is not None else (np.nan,) * 4
    return numbers


def _numbers(effect: Effect) -> Numbers:
    return effect.estimate, effect.ci_low, effect.ci_high, effect.std_error
