"""Actor and partner effects: on the symptoms of the next session within clients, their ratio, and on the next rating of the alliance.

Client and therapist rate five sessions. What is stable of their ratings correlates; deviations carry over to the next session (own and
partner's).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from alliance.simulations.clients import clustered_normal, therapists_of_clients
from alliance.simulations.framework import LEVEL, SINGLE_SITE, Condition, Intervals
from alliance.statistics.distributions import critical_value
from alliance.statistics.dyads import actor_partner, ratio
from alliance.statistics.lagged_dyads import lagged_model
from alliance.statistics.structural_fit import fit_structural, parse_structural

# An optimiser stops where it stops.
TOLERANCE = 1e-5
WAVES = 5
# Own and the partner's deviation on the symptoms of the next session, and on one's next rating.
ACTOR, PARTNER = 0.4, 0.2
CARRIED, CROSSED = 0.3, 0.15


def conditions() -> list[Condition]:
    """Return sizes and the share of stable differences that lies between therapists."""
    return [
        Condition(f"n{n}_therapists{therapists}", {"n_clients": n, "n_therapists": therapists, "icc": 0.1})
        for n, therapists in ((80, 16), (160, 32))
    ]


def ratings(condition: Condition, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ratings (clients, waves, 2), symptoms of the session after each (clients, waves), and therapists."""
    n, icc = int(condition.parameters["n_clients"]), float(condition.parameters["icc"])
    therapists = therapists_of_clients(n, int(condition.parameters["n_therapists"]))
    stable = clustered_normal(random, [[1, 0.4, 0.3], [0.4, 1, 0.2], [0.3, 0.2, 1]], therapists, icc, 1)[0]
    carry = np.array([[CARRIED, CROSSED], [CROSSED, CARRIED]])
    root = np.linalg.cholesky(np.array([[1, 0.3], [0.3, 1]]))
    deviation = np.zeros((n, WAVES, 2))
    state = np.zeros((n, 2))
    # Sessions before the first rating bring the process to its long-run distribution.
    for wave in range(-10, WAVES):
        state = state @ carry.T + random.standard_normal((n, 2)) @ root.T
        if wave >= 0:
            deviation[:, wave] = state
    symptoms = stable[:, 2:] + ACTOR * deviation[:, :, 0] + PARTNER * deviation[:, :, 1] + random.standard_normal((n, WAVES))
    return stable[:, None, :2] + deviation, symptoms, therapists


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return actor and partner effects on symptoms with their ratio, and those on the next rating."""
    model = parse_structural(lagged_model(WAVES))
    found: dict[str, list[tuple[float, float, float, float]]] = {}

    def keep(name: str, *numbers: float) -> None:
        found.setdefault(name, []).append(numbers)

    for _ in range(runs):
        rated, symptoms, therapists = ratings(condition, random)
        n = len(rated)
        client = np.repeat(np.arange(n), WAVES)
        made = actor_partner(*rated.reshape(-1, 2).T, symptoms.ravel(), client, None, therapists[client])
        low, high = made.interval(LEVEL)
        for place, name in enumerate(("actor", "partner")):
            keep(name, made.estimate[place], low[place], high[place], made.std_error[place])
        k = ratio(made.estimate[1], made.estimate[0], made.vcov[1::-1, 1::-1], made.df, LEVEL)
        keep("ratio", k.estimate, k.ci_low, k.ci_high, k.std_error)
        frame = pd.DataFrame(
            {f"{name}{wave + 1}": rated[:, wave, place] for place, name in enumerate(("first", "second")) for wave in range(WAVES)}
        )
        fitted = fit_structural(model, rows=frame, missing="ml", errors="robust", clusters=[therapists], level=LEVEL)
        table = fitted.parameters[fitted.parameters["op"].isin(("~", ":="))].drop_duplicates("label").set_index("label")
        margin = float(critical_value(LEVEL, len(np.unique(therapists)) - 1))
        for name, label in (("carried", "first_by_first"), ("crossed", "first_by_second")):
            estimate, error = table.loc[label, ["estimate", "std_error"]]
            keep(name, estimate, estimate - margin * error, estimate + margin * error, error)
    on_symptoms, on_rating = "on symptoms of the next session", "on the next rating of the alliance (panel model)"
    told = {
        "actor": (f"actor, {on_symptoms}", f"actor effects {on_symptoms}", "slope_standardised", "cluster_jackknife", "jackknife", ACTOR),
        "partner": (
            f"partner, {on_symptoms}",
            f"partner effects {on_symptoms}",
            "slope_standardised",
            "cluster_jackknife",
            "jackknife",
            PARTNER,
        ),
        "ratio": (
            "partner over actor",
            "ratios of partner to actor effects",
            "partner_actor_ratio",
            "cluster_jackknife",
            "fieller",
            PARTNER / ACTOR,
        ),
        "carried": (
            *(f"actor, {on_rating}", f"actor effects {on_rating}", "slope_standardised"),
            *("maximum_likelihood_robust", "delta", CARRIED),
        ),
        "crossed": (
            *(f"partner, {on_rating}", f"partner effects {on_rating}", "slope_standardised"),
            *("maximum_likelihood_robust", "delta", CROSSED),
        ),
    }
    results = []
    for name, numbers in found.items():
        *words, truth = told[name]
        estimate, low, high, error = np.array(numbers, dtype=float).T
        results.append(Intervals(*words, truth, estimate, low, high, (estimate, error), SINGLE_SITE))
    return results
