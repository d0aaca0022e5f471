"""Hazard ratios of dropout with therapists' frailty, where planned endings depend on what drives dropout.

Clients come to up to sixteen sessions; after each they may leave, by a hazard with a random intercept of their therapist, or end as
planned, by a hazard that depends on the same alliance and severity and, in some conditions, on the therapist's frailty too. Ratios of the
cause-specific hazard of dropout are judged: given the frailty, planned endings do not bias them unless they depend on it.
"""

from __future__ import annotations

import numpy as np

from alliance.simulations.clients import therapists_of_clients
from alliance.simulations.framework import LEVEL, SINGLE_SITE, Condition, Intervals
from alliance.statistics.discrete_time_hazard import hazard_model

# An optimiser stops where it stops.
TOLERANCE = 1e-5
SESSIONS, CLIENTS_OF_EACH = 16, 6
ALLIANCE, SEVERITY, SESSION = -0.5, 0.2, -0.1
DROPOUT, PLANNED = np.log(0.04), np.log(0.06)
NAMES = ["alliance", "severity", "session"]


def conditions() -> list[Condition]:
    """Return numbers of therapists, the frailty's standard deviation, and what planned endings depend on."""
    kinds = ((0.0, "none"), (0.5, "none"), (0.5, "client"), (0.5, "client and therapist"))
    return [
        Condition(
            f"therapists{therapists}_frailty{frailty:g}_endings_{ending.replace(' ', '_')}",
            {"n_therapists": therapists, "clients_of_each": CLIENTS_OF_EACH, "frailty_sd": frailty, "planned_endings_depend_on": ending},
        )
        for therapists in (20, 40)
        for frailty, ending in kinds
    ]


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return log hazard ratios of alliance and severity by the model with frailty."""
    therapists, frailty = int(condition.parameters["n_therapists"]), float(condition.parameters["frailty_sd"])
    ending = str(condition.parameters["planned_endings_depend_on"])
    found = np.array([_run(therapists, frailty, ending, random) for _ in range(runs)])
    results = []
    for place, (name, truth) in enumerate((("alliance", ALLIANCE), ("severity", SEVERITY))):
        estimate, low, high, error = found[:, place].T
        given = (truth, estimate, low, high, (estimate, error), SINGLE_SITE)
        what = "log hazard ratios of dropout with therapists' frailty"
        results.append(Intervals(f"log hazard ratio, {name}", what, "hazard_ratio", "hazard_frailty", "wald", *given))
    return results


def _run(therapists: int, frailty: float, ending: str, random: np.random.Generator) -> np.ndarray:
    """Return estimate, limits and error of alliance and severity, shape (2, 4); NaN where there is no estimate."""
    event, design, therapist = person_periods(therapists, frailty, ending, random)
    model = hazard_model(event, design, NAMES, therapist, level=LEVEL, interval=False)
    return model.coefficients[["estimate", "ci_low", "ci_high", "std_error"]].to_numpy()[:2]


def person_periods(therapists: int, frailty: float, ending: str, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return event, design (alliance, severity, session) and therapist of every session at risk."""
    therapist = therapists_of_clients(therapists * CLIENTS_OF_EACH, therapists)
    n = len(therapist)
    alliance, severity = random.standard_normal((2, n))
    shared = frailty * random.standard_normal(therapists)[therapist]
    session = np.log2(np.arange(1, SESSIONS + 1))
    leaving = DROPOUT + (ALLIANCE * alliance + SEVERITY * severity + shared)[:, None] + SESSION * session
    drive = {"none": -np.inf, "client": 0.4 * alliance - 0.3 * severity, "client and therapist": 0.4 * alliance - 0.3 * severity - shared}
    planned = PLANNED + np.broadcast_to(np.asarray(drive[ending], dtype=float).reshape(-1, 1), (n, SESSIONS))
    leaves, ends = (random.random((n, SESSIONS)) < -np.expm1(-np.exp(linear)) for linear in (leaving, planned))
    over = leaves | ends
    last = np.where(over.any(axis=1), over.argmax(axis=1), SESSIONS - 1)
    client, at = np.nonzero(np.arange(SESSIONS) <= last[:, None])
    event = (leaves[client, at] & (at == last[client])).astype(float)
    return event, np.column_stack([alliance[client], severity[client], session[at]]), therapist[client]
