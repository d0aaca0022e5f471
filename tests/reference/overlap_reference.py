"""Item answers for the reference tests of overlap, and what R makes of them.

``python tests/reference/overlap_reference.py`` computes the stored values again (needs Rscript with psych, semTools and jsonlite).
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import r_script
from scipy.special import ndtri

HERE = Path(__file__).resolve().parent
INSTRUMENTS_FOLDER = HERE.parents[1] / "workflow" / "instruments"
# Instrument, rater, lowest and highest answer, reversed items, items of its scales.
FORMS = (
    ("wai_sr", "client", 1, 5, ()),
    ("wai_s", "client", 1, 7, (4, 10)),
    ("wai_s", "therapist", 1, 7, (4, 10)),
)
SCALES = {
    "wai_sr": {"task": (1, 2, 10, 12), "bond": (3, 5, 7, 9), "goal": (4, 6, 8, 11)},
    "wai_s": {"task": (1, 2, 8, 12), "bond": (3, 5, 7, 9), "goal": (4, 6, 10, 11)},
}
SESSIONS = (3, 4)
CLIENTS, THERAPISTS = 140, 14


def _normals(seed: int, *shape: int) -> np.ndarray:
    return ndtri(np.random.Generator(np.random.PCG64(seed)).random(shape))


def ratings() -> pd.DataFrame:
    """Return answers of two client forms and a therapist form in two sessions: parallel scales, gaps in items and in forms."""
    therapist = np.arange(CLIENTS) % THERAPISTS + 1
    shared = 0.4 * _normals(1, THERAPISTS)[therapist - 1]
    common = 0.8 * _normals(2, CLIENTS) + shared
    facets = dict(zip(("task", "bond", "goal"), 0.6 * _normals(3, 3, CLIENTS)))
    rows = []
    for number, (instrument, rater, low, high, reverse) in enumerate(FORMS):
        own = 0.4 * _normals(10 + number, CLIENTS)
        weight = 1.0 if rater == "client" else 0.5
        for session in SESSIONS:
            occasion = 0.3 * _normals(20 + 10 * number + session, CLIENTS)
            noise = _normals(60 + 10 * number + session, CLIENTS, 12)
            gaps = np.random.Generator(np.random.PCG64(100 + 10 * number + session)).random((CLIENTS, 13))
            frame = {
                "client": np.arange(1, CLIENTS + 1),
                "therapist": therapist,
                "session": session,
                "instrument": instrument,
                "rater": rater,
            }
            for scale, items in SCALES[instrument].items():
                view = weight * (common + facets[scale]) + own + occasion
                for item in items:
                    value = (low + high) / 2 + (high - low) / 5 * (view + 0.8 * noise[:, item - 1])
                    answer = np.clip(np.rint(value), low, high)
                    answer = low + high - answer if item in reverse else answer
                    frame[f"i{item}"] = np.where(gaps[:, item - 1] < 0.01, np.nan, answer)
            rows.append(pd.DataFrame(frame)[gaps[:, 12] > 0.1])
    columns = ["client", "therapist", "session", "instrument", "rater", *(f"i{item}" for item in range(1, 13))]
    return pd.concat(rows, ignore_index=True)[columns]


def outcomes() -> pd.DataFrame:
    """Return outcome scores (higher is worse) at intake and at the end, some missing."""
    therapist = np.arange(CLIENTS) % THERAPISTS
    common = 0.8 * _normals(2, CLIENTS) + 0.4 * _normals(1, THERAPISTS)[therapist]
    noise = _normals(200, CLIENTS, 2)
    intake = 20 + 6 * noise[:, 0]
    post = 0.5 * intake - 2.5 * common + 4 * noise[:, 1]
    missing = np.random.Generator(np.random.PCG64(201)).random(CLIENTS) < 0.15
    return pd.DataFrame({"client": np.arange(1, CLIENTS + 1), "intake": intake.round(3), "post": np.where(missing, np.nan, post.round(3))})


def computed() -> dict:
    """Return what R gives now."""
    with tempfile.TemporaryDirectory() as folder:
        ratings().to_csv(Path(folder) / "ratings.csv", index=False)
        outcomes().to_csv(Path(folder) / "outcomes.csv", index=False)
        forms = [{"instrument": i, "rater": r, "low": low, "high": high, "reverse": list(reverse)} for i, r, low, high, reverse in FORMS]
        (Path(folder) / "forms.json").write_text(json.dumps({"forms": forms, "scales": SCALES}), encoding="utf-8")
        return r_script.values("overlap.R", folder)


def stored() -> dict:
    """Return what R gave when the values were stored."""
    return json.loads((HERE / "overlap.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    (HERE / "overlap.json").write_text(json.dumps(computed(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
