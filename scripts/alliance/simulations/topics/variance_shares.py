"""Shares of the variance of the alliance, session by session, that lie between therapists, between clients and between sessions."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from alliance.simulations.framework import LEVEL, SINGLE_SITE, Condition, Intervals
from alliance.statistics.multilevel import variance_shares

RUNS = 200
# An optimiser stops where it stops.
TOLERANCE = 1e-5
CLIENTS, SESSIONS = 5, 8
BETWEEN_CLIENTS = 0.4


def conditions() -> list[Condition]:
    """Return numbers of therapists and shares of the variance that lie between them; 40 % lies between clients of a therapist."""
    return [
        Condition(
            f"therapists{therapists}_icc{icc:g}",
            {"n_therapists": therapists, "clients_of_each": CLIENTS, "sessions_of_each": SESSIONS, "icc": icc},
        )
        for therapists, icc in product((10, 20, 40), (0.0, 0.05, 0.2))
    ]


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return the shares of therapists, clients and sessions with profile-likelihood intervals."""
    therapists, icc = int(condition.parameters["n_therapists"]), float(condition.parameters["icc"])
    true = {"therapist": icc, "client": BETWEEN_CLIENTS, "session": 1 - BETWEEN_CLIENTS - icc}
    client = np.repeat(np.arange(therapists * CLIENTS), SESSIONS)
    therapist = client // CLIENTS
    found = []
    for _ in range(runs):
        values = [random.standard_normal(int(codes.max()) + 1)[codes] for codes in (therapist, client)]
        alliance = np.sqrt(list(true.values())) @ np.array([*values, random.standard_normal(len(client))])
        frame = pd.DataFrame({"therapist": therapist, "client": client, "alliance": alliance})
        found.append(variance_shares(frame, "alliance", ["therapist", "client"], residual="session", level=LEVEL).set_index("level"))
    results = []
    for level, truth in true.items():
        estimate, low, high = (np.array([one.at[level, name] for one in found], dtype=float) for name in ("share", "ci_low", "ci_high"))
        what = f"shares of the variance of sessions between {level}s"
        given = (truth, estimate, low, high, (estimate, np.full(runs, np.nan)), SINGLE_SITE)
        results.append(Intervals(level, what, "variance_share", "mixed_model", "profile", *given))
    return results
