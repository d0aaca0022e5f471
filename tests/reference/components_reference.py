"""Scores of the reference tests of the first principal component, and the values that psych and boot give for them.

``python tests/reference/components_reference.py`` computes the stored values again (needs Rscript with psych and boot).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import r_script
from statistics_reference import HERE, _normals, stored

NAMES = ("empathy", "regard", "congruence", "task", "bond", "goal")
DRAWS = 20000


def rows() -> pd.DataFrame:
    """Return six scores of 160 simulated clients of 20 therapists, which share a factor, in different units."""
    therapist = np.repeat(np.arange(20), 8)
    shared = np.sqrt(0.2) * _normals(900, 20)[therapist] + np.sqrt(0.8) * _normals(901, 160)
    scores = shared[:, None] * np.array([0.6, 0.5, 0.4, 0.8, 0.7, 0.8]) + 0.7 * _normals(902, 160, 6)
    return pd.DataFrame((scores * np.array([1, 2, 5, 1, 0.5, 10])).round(4), columns=list(NAMES)).assign(therapist=therapist)


def computed() -> dict:
    """Return what R gives now."""
    with tempfile.TemporaryDirectory() as name:
        rows().to_csv(Path(name) / "rows.csv", index=False)
        (Path(name) / "draws").write_text(str(DRAWS), encoding="utf-8")
        return r_script.values("components.R", name)


__all__ = ["DRAWS", "NAMES", "computed", "rows", "stored"]

if __name__ == "__main__":
    (HERE / "components.json").write_text(json.dumps(computed(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
