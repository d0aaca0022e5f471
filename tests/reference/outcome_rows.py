"""Simulated clients and scores of the reference test of alliance and outcome, seven sites unlike each other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from statistics_reference import _normals

# Site, clients, therapists.
SITES = (("a", 120, 15), ("b", 90, 12), ("c", 80, 11), ("d", 140, 14), ("e", 50, 3), ("f", 80, 10), ("g", 110, 12))
# What is added at each site to the slopes of the outcomes on the alliance: unlike enough to have a variance between sites.
STRENGTHS = (0.2, -0.6, -0.2, 0.25, -0.3, -0.3, 0.0)
FIRST_DAY = pd.Timestamp("2020-01-06")
SETTINGS = {"equal_sessions": 3, "reliable_change": 6, "cutoff": 15, "sudden_gain_points": 4}
OUTCOMES = (
    ("core_10", "total", "client", 0.35, 6.0, 14.0),
    ("core_10", "total", "therapist", 0.2, 5.0, 13.0),
    ("ors", "total", "client", 0.3, -7.0, 25.0),
    ("target_complaints", "severity", "client", 0.5, 2.0, 7.0),
    ("scl_90_r", "gsi", "client", 0.1, 0.6, 1.2),
)
FACTS = {
    "a": {"design": "naturalistic", "treatment_format": "individual"},
    "b": {"design": "trial", "treatment_format": "individual"},
    "c": {"design": "analog", "treatment_format": "individual"},
    "d": {"design": "naturalistic", "treatment_format": "group"},
    "e": {"design": "", "treatment_format": "individual"},
    "f": {},
    "g": {"design": "naturalistic", "treatment_format": ""},
}


def rows() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return clients (``site, client, therapist, treatment, planned_sessions``) and scores in days from :data:`FIRST_DAY`.

    Four clients of b have no known therapist; c uses another alliance form, d another outcome; e has three therapists; f measures
    nothing at intake; g has one treatment and no ratings by therapists. Of some clients the outcome was taken in session 3 already.
    """
    clients, scores = [], []
    for index, (site, n, therapists) in enumerate(SITES):
        random = np.random.Generator(np.random.PCG64(900 + index))
        base = _normals(1000 + index, n, 6)
        therapist = np.arange(n) % therapists
        shared = 0.45 * _normals(1100 + index, therapists)[therapist]
        severity, alliance = base[:, 0], 0.85 * base[:, 1] + shared
        planned = np.round(np.exp(2.6 + 0.5 * base[:, 2])) + 3
        cbt = random.random(n) < 0.35 + 0.04 * index
        own = pd.DataFrame(
            {
                "site": site,
                "client": np.arange(1, n + 1),
                "therapist": np.where((site == "b") & (np.arange(n) < 4), np.nan, therapist + 1.0),
                "treatment": "pdt" if site == "g" else np.where(cbt, "cbt", "pdt"),
                "planned_sessions": np.where(random.random(n) < 0.1, np.nan, planned),
            }
        )
        clients.append(own)
        strength = STRENGTHS[index] + np.where(cbt, 0.1, -0.1)
        n_sessions = 4 + (random.random(n) * 7).astype(int)
        last_day = np.where(random.random(n) < 0.06, 20, 7 * n_sessions)

        def add(who, day, timepoint, session, rater, instrument, scale, score, own=own, site=site):
            frame = {"site": site, "client": own["client"].to_numpy()[who], "timepoint": timepoint, "session": session}
            frame |= {"day": np.broadcast_to(day, len(own))[who], "rater": rater, "instrument": instrument, "scale": scale}
            scores.append(pd.DataFrame({**frame, "score": score[who]}))

        noise = _normals(1200 + index, n, 10, 4)
        form = "haq_2" if site == "c" else "wai_36"
        state = np.zeros(n)
        for session in range(1, 11):
            there = n_sessions >= session
            state = 0.4 * state + 0.6 * noise[:, session - 1, 0]
            at = 7 * (session - 1)
            rated = alliance + 0.3 * state + 0.04 * session * alliance
            add(there & (random.random(n) < 0.85), at, "session", session, "client", form, "total", 5 + rated)
            if site != "g" and session in (2, 3, 4, 7):
                score = 5 + 0.6 * alliance + 0.8 * noise[:, session - 1, 1]
                add(there & (random.random(n) < 0.85), at, "session", session, "therapist", form, "total", score)
            symptoms = 18 + 4 * severity - 0.5 * session - 0.25 * session * alliance - 1.5 * state + 3.5 * noise[:, session - 1, 2]
            add(there & (random.random(n) < 0.9), at, "session", session, "client", "core_10", "total", symptoms)
        for column, (instrument, scale, rater, slope, unit, middle) in enumerate(OUTCOMES):
            if (site == "d") == (instrument == "core_10") or (site != "d" and instrument == "ors"):
                continue
            if rater == "therapist" and site in ("f", "g"):
                continue
            level = _normals(1300 + 10 * index + column, n, 2)
            before = middle + unit * (0.8 * severity + 0.5 * level[:, 0]) * (0.8 if instrument == "ors" else 1.0)
            worse = 0.5 * severity - (slope + strength) * alliance - 0.3 * shared + 0.8 * level[:, 1]
            if site != "f":
                add(random.random(n) < 0.93, 0, "intake", np.nan, rater, instrument, scale, before)
            add(random.random(n) < 0.85, last_day, "post", np.nan, rater, instrument, scale, middle - 0.4 * unit + unit * worse)
    return pd.concat(clients, ignore_index=True), pd.concat(scores, ignore_index=True).round(4)


def write(folder: Path) -> None:
    """Write what ``alliance_outcome.R`` reads."""
    clients, scores = rows()
    clients.to_csv(folder / "clients.csv", index=False)
    scores.to_csv(folder / "scores.csv", index=False)
    (folder / "settings.json").write_text(json.dumps(SETTINGS), encoding="utf-8")
