"""Scores of the reference tests of stability, and what loops in base R give for them.

``python tests/reference/stability_reference.py`` computes the stored values again (needs Rscript).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import r_script
from statistics_reference import HERE, _normals, stored

CLIENTS, SESSIONS, THERAPISTS = 96, 6, 12
# Share of the variance of a rater's scores that stays over sessions.
RATERS = {"therapist": 0.75, "client": 0.6, "observer": 0.5}


def scores() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return scores of simulated clients by three raters, clients x sessions, some missing or after the last session; and therapists."""
    therapist = np.arange(CLIENTS) % THERAPISTS
    person = np.sqrt(0.3) * _normals(950, THERAPISTS)[therapist] + np.sqrt(0.7) * _normals(951, CLIENTS)
    last = 2 + (np.random.Generator(np.random.PCG64(952)).random(CLIENTS) * SESSIONS).astype(int)
    found = {}
    for index, (rater, stays) in enumerate(RATERS.items()):
        own = 0.8 * person + 0.6 * _normals(953 + index, CLIENTS)
        values = 4 + np.sqrt(stays) * own[:, None] + np.sqrt(1 - stays) * _normals(960 + index, CLIENTS, SESSIONS)
        missing = np.random.Generator(np.random.PCG64(970 + index)).random(values.shape) < 0.1
        found[rater] = np.where(missing | (np.arange(SESSIONS) >= last[:, None]), np.nan, values.round(3))
    return found, therapist


def computed() -> dict:
    """Return what R gives now."""
    values, therapist = scores()
    with tempfile.TemporaryDirectory() as name:
        for rater, table in values.items():
            pd.DataFrame(table).to_csv(Path(name) / f"{rater}.csv", index=False)
        pd.DataFrame({"therapist": therapist}).to_csv(Path(name) / "therapists.csv", index=False)
        return r_script.values("stability.R", name)


__all__ = ["computed", "scores", "stored"]

if __name__ == "__main__":
    (HERE / "stability.json").write_text(json.dumps(computed(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
