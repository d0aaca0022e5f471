"""Does the therapist's reply confirm what the client expects of others? Interpersonal complementarity after challenges (claim J5)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.interventions.sessions import KEYS, CodedSessions
from alliance.variables.checks import EVENTS_PREFIX
from alliance.variables.client import event_intensities

AXES = ("affiliation", "dominance")
PEOPLE = ("client", "therapist")
ALONE, PRODUCT = "complementarity", "complementarity x client's affiliation"
HOSTILE, FRIENDLY = "complementarity, client's affiliation - 1 SD", "complementarity, client's affiliation + 1 SD"
TERMS = ((0, ALONE, "slope_standardised"), (2, PRODUCT, "interaction_standardised"))
TERMS += ((4, HOSTILE, "slope_standardised"), (5, FRIENDLY, "slope_standardised"))
"""Places in :data:`alliance.statistics.within_interaction.EFFECTS`, terms and estimate types of the rows."""


def complementarity(positions: pd.DataFrame) -> np.ndarray:
    """Return how well two positions on the interpersonal circle complement each other, shape (n,); 0 is perfect, less is worse.

    Alike in affiliation, opposite in dominance (Kiesler, 1983): minus the distance of the therapist's position from the one that
    complements the client's, ``-sqrt((a_c - a_t)² + (d_c + d_t)²)``.

    Parameters
    ----------
    positions : DataFrame
        ``client_affiliation, client_dominance, therapist_affiliation, therapist_dominance``, all of one scale about 0.
    """
    apart = positions["client_affiliation"] - positions["therapist_affiliation"]
    same = positions["client_dominance"] + positions["therapist_dominance"]
    return -np.hypot(apart.to_numpy(dtype=float), same.to_numpy(dtype=float))


def positions_of(coded: CodedSessions) -> tuple[pd.DataFrame, str]:
    """Return ``client, session`` and both people's positions where all are coded, and why there are none."""
    section = coded.section[ALONE]
    frame, lacking = pd.DataFrame(), []
    for person in PEOPLE:
        for axis in AXES:
            code = section[person][axis]
            one, reason = event_intensities(coded.site, f"{EVENTS_PREFIX}{code}")
            if reason:
                lacking.append(code)
                continue
            one = one.rename(columns={"client_no": "client", "score": f"{person}_{axis}"})
            frame = one if frame.empty else frame.merge(one, on=KEYS, how="inner")
    if lacking:
        return pd.DataFrame(), f"needs codes of the interpersonal circle for client and therapist; lacks {', '.join(lacking)}"
    return frame.sort_values(KEYS, ignore_index=True), ""


def sessions_of(coded: CodedSessions, rater: str) -> tuple[pd.DataFrame, str]:
    """Return sessions with the event, both positions, the alliance and the next one, and why there are none."""
    positions, reason = positions_of(coded)
    frame, other = coded.lagged(coded.section[ALONE]["after"], rater)
    reason = other or reason
    if reason:
        return frame.iloc[:0], reason
    frame = coded.inside(frame[frame["event"] > 0], coded.section["window"]).dropna(subset=["next_alliance"])
    frame = frame.merge(positions, on=KEYS, how="inner").sort_values(KEYS, ignore_index=True)
    return frame.assign(complementarity=complementarity(frame)), ""


def effects_of(frame: pd.DataFrame, coded: CodedSessions) -> Any:
    """Return effects of complementarity on the next alliance within clients, and by the client's affiliation.

    The alliance, the number of the session, and both people's positions are held constant, so that a friendly therapist alone does not
    look like a complementary one.
    """
    from alliance.statistics.within_interaction import within_interaction

    held = ["alliance", "session", "client_dominance", "therapist_affiliation", "therapist_dominance"]
    return within_interaction(
        *(frame[column].to_numpy(dtype=float) for column in ("complementarity", "client_affiliation", "next_alliance")),
        frame["client"].to_numpy(),
        coded.therapist_of(frame["client"]),
        held=frame[held].to_numpy(dtype=float),
        min_clients=coded.min_clients,
    ).found
