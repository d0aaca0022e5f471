"""Truth and bias of therapists' ratings: directional bias, tracking within and between clients, and a moderator that differs by therapist.

Clients' ratings vary between therapists, clients and sessions; therapists follow them with slopes that differ between clients. The model
sees means of six sessions: the slope of these is what it estimates between clients (see :func:`observed_between`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from alliance.simulations.framework import LEVEL, SINGLE_SITE, Condition, Intervals
from alliance.statistics.dyads import moderated, truth_and_bias

RUNS = 500
# An optimiser stops where it stops.
TOLERANCE = 1e-5
CLIENTS, SESSIONS = 5, 6
BIAS, WITHIN, BETWEEN = -0.3, 0.5, 0.7
# How bias and tracking within clients change per SD of the moderator.
BIAS_MODERATED, TRACKING_MODERATED = 0.2, 0.1
# Standard deviations: of the truth between therapists and clients (of sessions 1), of the bias over both, of tracking over clients.
TRUTH_OF_THERAPISTS, TRUTH_OF_CLIENTS = 0.4, 0.8
BIAS_OF_THERAPISTS, BIAS_OF_CLIENTS, TRACKING_OF_CLIENTS = 0.3, 0.5, 0.2


def conditions() -> list[Condition]:
    """Return numbers of therapists."""
    sizes = {"clients_of_each": CLIENTS, "sessions_of_each": SESSIONS}
    return [Condition(f"therapists{number}", {"n_therapists": number, **sizes}) for number in (10, 15, 30)]


def observed_between() -> float:
    """Return the slope of observed client means: the true ones weigh by their reliability, the rest follows tracking within clients."""
    true = TRUTH_OF_THERAPISTS**2 + TRUTH_OF_CLIENTS**2
    reliability = true / (true + 1 / SESSIONS)
    return reliability * BETWEEN + (1 - reliability) * WITHIN


def sessions(therapists: int, random: np.random.Generator) -> pd.DataFrame:
    """Return one row a session: ``truth, judge, client, therapist, moderator``."""
    clients = therapists * CLIENTS
    client = np.repeat(np.arange(clients), SESSIONS)
    therapist = client // CLIENTS
    moderator = random.standard_normal(therapists)
    moderator = (moderator - moderator.mean()) / moderator.std(ddof=1)
    mean = TRUTH_OF_THERAPISTS * random.standard_normal(therapists)[therapist] + TRUTH_OF_CLIENTS * random.standard_normal(clients)[client]
    within = random.standard_normal(len(client))
    bias = (
        BIAS
        + BIAS_OF_THERAPISTS * random.standard_normal(therapists)[therapist]
        + BIAS_OF_CLIENTS * random.standard_normal(clients)[client]
    )
    slope = WITHIN + TRACKING_OF_CLIENTS * random.standard_normal(clients)[client]
    judge = bias + BETWEEN * mean + slope * within + 0.7 * random.standard_normal(len(client))
    changed = BIAS_MODERATED * moderator[therapist] + TRACKING_MODERATED * moderator[therapist] * within
    columns = {"truth": mean + within, "judge": judge, "client": client, "therapist": therapist, "moderator": moderator[therapist]}
    return pd.DataFrame({**columns, "changed": judge + changed})


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return bias and tracking of the mixed model, and of the moderator by least squares."""
    therapists = int(condition.parameters["n_therapists"])
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    # Bias is told at the average truth of a sample, which differs from that of all clients.
    at_average = []
    for _ in range(runs):
        rows = sessions(therapists, random)
        at_average.append(BIAS + (observed_between() - 1) * rows["truth"].mean())
        model = truth_and_bias(rows[["truth", "judge", "client", "therapist"]], level=LEVEL)
        for name in ("1", "within", "between"):
            one = model.coefficients.loc[name]
            found.setdefault(name, []).append((one["estimate"], one["ci_low"], one["ci_high"], one["std_error"]))
        made = moderated(rows.assign(judge=rows["changed"]), "moderator")
        low, high = made.interval(LEVEL)
        for place, name in enumerate(("bias moderated", "tracking moderated")):
            found.setdefault(name, []).append((made.estimate[place], low[place], high[place], made.std_error[place]))
    told = {
        "1": ("bias", "directional bias", "directional_bias", "mixed_model", "satterthwaite", BIAS),
        "within": ("tracking within clients", "tracking within clients", "tracking", "mixed_model", "satterthwaite", WITHIN),
        "between": (
            *("tracking between clients", "tracking between clients (of observed means)"),
            *("tracking", "mixed_model", "satterthwaite", observed_between()),
        ),
        "bias moderated": (
            *("bias by moderator", "moderators of bias that differ by therapist", "bias_moderated"),
            *("cluster_jackknife", "jackknife", BIAS_MODERATED),
        ),
        "tracking moderated": (
            *("tracking by moderator", "moderators of tracking that differ by therapist", "tracking_moderated"),
            *("cluster_jackknife", "jackknife", TRACKING_MODERATED),
        ),
    }
    results = []
    for name, numbers in found.items():
        estimand, what, estimate_type, method, interval, truth = told[name]
        estimate, low, high, error = np.array(numbers).T
        given = (truth, estimate, low, high, (estimate, error), SINGLE_SITE)
        aims = np.array(at_average) if name == "1" else None
        results.append(Intervals(estimand, what, estimate_type, method, interval, *given, aims))
    return results
