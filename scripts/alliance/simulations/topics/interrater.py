"""Intraclass correlations of observers: sessions of clients of therapists, rated by the same few observers or by some of them each."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alliance.simulations.clients import therapists_of_clients
from alliance.simulations.framework import LEVEL, SINGLE_SITE, Condition, Intervals
from alliance.statistics.interrater import FORMS, Interrater, intraclass

# The restricted likelihood of unbalanced ratings is maximised by steps.
TOLERANCE = 1e-6
# Shares of the variance of true session scores between therapists, between their clients, and between sessions of a client.
TRUE_SCORE = (0.1, 0.4, 0.5)
# Clients, therapists, sessions, raters (0: other raters at every session), raters of one session, true agreement of single raters. Where
# not all raters rate all sessions, one session in five has one rater.
SIZES = (
    (20, 8, 30, 2, 2, 0.6),
    (20, 8, 30, 4, 4, 0.6),
    (20, 8, 30, 3, 2, 0.6),
    (20, 8, 30, 0, 2, 0.6),
    (50, 15, 100, 2, 2, 0.6),
    (50, 15, 100, 3, 3, 0.3),
    (50, 15, 100, 4, 2, 0.6),
    (50, 15, 100, 4, 2, 0.8),
    (50, 15, 100, 0, 3, 0.3),
    (50, 3, 100, 3, 2, 0.6),
)
WHAT = {
    "unknown": "agreement of observers who are others at every session, ICC(1)",
    "random": "agreement of observers, ICC(2)",
    "fixed": "consistency of observers, ICC(3)",
}
# Share of the disagreement of raters that is a difference in level.
OF_LEVEL = 0.2


def conditions() -> list[Condition]:
    """Return numbers of clients, therapists, sessions and raters, how many raters a session has, and the true ICC(2,1)."""
    names = ("n_clients", "n_therapists", "n_sessions", "n_raters", "raters_of_session", "icc")
    return [
        Condition("clients{}_therapists{}_sessions{}_raters{}_of_each{}_icc{:g}".format(*sizes), dict(zip(names, sizes, strict=True)))
        for sizes in SIZES
    ]


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return the two-way forms, or the one-way forms of raters who are not the same; averages are those of the sessions' raters."""
    clients, therapists, sessions, raters, of_each, icc = condition.parameters.values()
    client = np.arange(sessions) * clients // sessions
    therapist = therapists_of_clients(clients, therapists)[client]
    number = np.full(sessions, of_each)
    if of_each != raters:
        number[::5] = 1
    pool = raters or of_each
    target, rater = np.nonzero((np.arange(pool) - np.arange(sessions)[:, None]) % pool < number[:, None])
    rows = {"target": target, "client": client[target], "therapist": therapist[target]}
    if raters:
        rows["rater"] = rater
    else:
        rater = np.arange(len(target))
    units, disagreement = (therapist, client, np.arange(sessions)), 1 / icc - 1
    found = []
    for _ in range(runs):
        score = np.sqrt(TRUE_SCORE) @ np.array([random.standard_normal(codes[-1] + 1)[codes] for codes in units])
        level, error = random.standard_normal(rater.max() + 1)[rater], random.standard_normal(len(rater))
        value = score[target] + np.sqrt(disagreement) * (np.sqrt(OF_LEVEL) * level + np.sqrt(1 - OF_LEVEL) * error)
        found.append(intraclass(pd.DataFrame({**rows, "value": value}), level=LEVEL))
    return [_judged(name, found, disagreement) for name, form in FORMS.items() if (form.raters != "unknown") == (raters > 0)]


def _judged(name: str, found: list[Interrater], disagreement: float) -> Intervals:
    form, first = FORMS[name], found[0]
    noise = disagreement * (1 - OF_LEVEL if form.definition == "consistency" else 1.0)
    noise /= first.raters_of_target if form.average else 1.0
    estimate, low, high, error = (
        np.array([getattr(run.coefficients[name], part) for run in found]) for part in ("estimate", "ci_low", "ci_high", "std_error")
    )
    errors = (np.log1p(-estimate), error / (1 - estimate))
    what = WHAT[form.raters]
    return Intervals(name, what, "icc", first.interval, "jackknife", 1 / (1 + noise), estimate, low, high, errors, SINGLE_SITE)
