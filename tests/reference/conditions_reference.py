"""Clients and ratings of the reference test of therapist-offered conditions and social influence, six sites unlike each other.

``python tests/reference/conditions_reference.py`` computes the stored values again (needs Rscript with metafor).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import r_script
from statistics_reference import HERE, _normals, stored

# Site, clients, therapists, design.
SITES = (
    ("a", 120, 15, "naturalistic"),
    ("b", 90, 12, "trial"),
    ("c", 100, 11, "analog"),
    ("d", 80, 10, "analog"),
    ("e", 60, 3, "naturalistic"),
    ("f", 110, 14, ""),
)
# What is added at each site to the slope of the outcome on the alliance, so that sites differ.
STRENGTHS = (0.2, -0.3, 0.1, 0.4, -0.2, 0.0)
# Instrument, scale, rater, slope on empathy, on the alliance, size of the error.
MEASURES = (
    ("wai_36", "total", "client", 0.4, 0.8, 0.4),
    ("care", "total", "client", 0.9, 0.2, 0.5),
    ("blri_empathy16", "total", "observer", 0.4, 0.1, 0.9),
    ("blri_os64", "regard", "client", 0.6, 0.2, 0.7),
    ("crf_s", "expertness", "client", 0.2, 0.4, 0.8),
)
NOT_MEASURED = {"b": ("crf_s",), "d": ("blri_empathy16",), "f": ("blri_os64", "crf_s")}
DAYS = 7


def rows() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return clients (``site, client, therapist, treatment``) and scores in days.

    b lacks social influence, d observers, f regard, social influence and a treatment besides one; e has three therapists. Of some clients
    the outcome was taken on day 10 already. Empathy fades as treatments go on.
    """
    clients, scores = [], []
    for index, (site, n, therapists, _) in enumerate(SITES):
        random = np.random.Generator(np.random.PCG64(2000 + index))
        base = _normals(2100 + index, n, 4)
        therapist = np.arange(n) % therapists
        shared = 0.5 * _normals(2200 + index, therapists)[therapist]
        severity, empathy = base[:, 0], 0.85 * base[:, 1] + shared
        alliance = 0.5 * empathy + 0.85 * base[:, 2]
        cbt = random.random(n) < 0.35 + 0.06 * index
        treatment = "pdt" if site == "f" else np.where(cbt, "cbt", "pdt")
        own = pd.DataFrame({"site": site, "client": np.arange(1, n + 1), "therapist": therapist + 1, "treatment": treatment})
        clients.append(own)
        n_sessions = 5 + (random.random(n) * 6).astype(int)
        last_day = np.where(random.random(n) < 0.08, 10, DAYS * n_sessions)

        def add(who, day, timepoint, session, measure, score, own=own, site=site):
            instrument, scale, rater = measure[:3]
            frame = {"site": site, "client": own["client"].to_numpy()[who], "timepoint": timepoint, "session": session}
            frame |= {"day": np.broadcast_to(day, len(own))[who], "rater": rater, "instrument": instrument, "scale": scale}
            scores.append(pd.DataFrame({**frame, "score": score[who]}))

        noise = _normals(2300 + index, n, 10, len(MEASURES))
        for session in range(1, 11):
            there = n_sessions >= session
            fading = 1 - 0.06 * session
            for column, measure in enumerate(MEASURES):
                if measure[0] in NOT_MEASURED.get(site, ()):
                    continue
                score = 5 + measure[3] * fading * empathy + measure[4] * alliance + measure[5] * noise[:, session - 1, column]
                add(there & (random.random(n) < 0.8), DAYS * (session - 1), "session", session, measure, score)
        outcome = ("core_10", "total", "client")
        level = _normals(2400 + index, n, 2)
        slope = 0.35 + STRENGTHS[index] + np.where(cbt, 0.1, -0.1)
        worse = 14 + 6 * (0.5 * severity - slope * alliance - 0.1 * empathy - 0.3 * shared + 0.8 * level[:, 1])
        add(random.random(n) < 0.93, 0, "intake", np.nan, outcome, 15 + 6 * (0.8 * severity + 0.5 * level[:, 0]))
        add(random.random(n) < 0.85, last_day, "post", np.nan, outcome, worse)
    return pd.concat(clients, ignore_index=True), pd.concat(scores, ignore_index=True).round(4)


def computed() -> dict:
    """Return what R gives now."""
    with tempfile.TemporaryDirectory() as name:
        clients, scores = rows()
        clients.to_csv(Path(name) / "clients.csv", index=False)
        scores.to_csv(Path(name) / "scores.csv", index=False)
        pd.DataFrame(SITES, columns=["site", "n", "therapists", "design"]).to_csv(Path(name) / "sites.csv", index=False)
        return r_script.values("conditions.R", name)


__all__ = ["SITES", "computed", "rows", "stored"]

if __name__ == "__main__":
    (HERE / "conditions.json").write_text(json.dumps(computed(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
