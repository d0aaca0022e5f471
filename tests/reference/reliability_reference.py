"""Data of the reference tests of reliability, and the values that R gives for them.

``python tests/reference/reliability_reference.py`` computes the stored values again (needs Rscript with psych, lavaan, semTools, metafor).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import r_script
from needed import REAL_DATA
from statistics_reference import HERE, _normals, stored

SAI = REAL_DATA / "psychtools_sai" / "sai.csv"
ITEMS = [f"i{number}" for number in range(1, 13)]
SECOND = [f"j{number}" for number in range(1, 7)]


def rows() -> pd.DataFrame:
    """Return two scales answered by 240 simulated clients of 24 therapists: three kinds of items in the first, some answers missing."""
    therapist = np.repeat(np.arange(24), 10)
    general = np.sqrt(0.2) * _normals(700, 24)[therapist] + np.sqrt(0.8) * _normals(701, 240)
    group = _normals(702, 240, 3)[:, np.repeat(np.arange(3), 4)]
    first = general[:, None] * np.linspace(0.5, 0.9, 12) + 0.5 * group + 0.8 * _normals(703, 240, 12)
    second = (0.6 * general + 0.8 * _normals(704, 240))[:, None] * np.linspace(0.9, 0.5, 6) + 0.8 * _normals(705, 240, 6)
    frame = pd.DataFrame(np.column_stack([first, second]), columns=ITEMS + SECOND).round(4)
    frame.loc[[3, 50], "i2"] = np.nan
    return frame.assign(therapist=therapist)


def small_samples() -> pd.DataFrame:
    """Return 60 simulated samples of 25 clients and five items with low loadings, the last item hardly belonging to the scale."""
    factor = _normals(710, 1500)
    items = factor[:, None] * np.array([0.8, 0.6, 0.6, 0.4, 0.1]) + 0.8 * _normals(711, 1500, 5)
    return pd.DataFrame(items, columns=ITEMS[:5]).round(4).assign(sample=np.repeat(np.arange(60), 25))


def computed() -> dict:
    """Return what R gives now."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows().to_csv(folder / "rows.csv", index=False)
        small_samples().to_csv(folder / "small.csv", index=False)
        shutil.copy(SAI, folder / "sai.csv")
        return r_script.values("reliability.R", folder)


__all__ = ["ITEMS", "SAI", "SECOND", "computed", "rows", "small_samples", "stored"]

if __name__ == "__main__":
    (HERE / "reliability.json").write_text(json.dumps(computed(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
