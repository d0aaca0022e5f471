"""Ordinal items of the reference tests, and the values that lavaan, semTools, psych and polycor give for them.

``python tests/reference/measurement_reference.py`` computes the stored values again (needs Rscript).
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import r_script
from statistics_reference import HERE, _normals, stored

LOADINGS = (0.8, 0.7, 0.6, 0.75, 0.5, 0.65, 0.85, 0.55)


def _normal_items(seed: int, n: int, p: int) -> np.ndarray:
    loadings = np.resize(LOADINGS, p)
    return _normals(seed, n, 1) * loadings + np.sqrt(1 - loadings**2) * _normals(seed + 1, n, p)


def _answers(normal: np.ndarray, thresholds: list[tuple[float, ...]]) -> pd.DataFrame:
    columns = {f"i{j + 1}": 1 + np.searchsorted(cuts, normal[:, j]) for j, cuts in enumerate(thresholds)}
    return pd.DataFrame(columns)


def ordinal_sets() -> dict[str, pd.DataFrame]:
    """Return simulated ordinal items: complete, incomplete, of few clients, of two and of unequal numbers of categories."""
    five = [(-1.6, -0.9, -0.1, 0.8), (-2.0, -1.3, -0.6, 0.3), (-1.2, -0.5, 0.4, 1.1)]
    sets = {
        "five": _answers(_normal_items(200, 300, 8), [five[j % 3] for j in range(8)]),
        "sparse": _answers(_normal_items(210, 50, 5), [five[j % 3] for j in range(5)]),
        "binary": _answers(_normal_items(220, 40, 5), [(0.0,), (-0.9,), (0.8,), (-0.4,), (-1.0,)]),
        "unequal": _answers(_normal_items(230, 200, 5), [(0.2,), (-0.8, 0.5), (-1.1, -0.2, 0.9), five[0], five[1]]),
    }
    incomplete = sets["five"].astype(float)
    sets["incomplete"] = incomplete.mask(np.random.Generator(np.random.PCG64(240)).random(incomplete.shape) < 0.08)
    return sets


def computed(subject: str) -> dict:
    """Return what R gives now."""
    with tempfile.TemporaryDirectory() as folder:
        for name, table in {"ordinal": ordinal_sets}[subject]().items():
            table.to_csv(Path(folder) / f"{name}.csv", index=False)
        return r_script.values(f"{subject}.R", folder)


__all__ = ["computed", "ordinal_sets", "stored"]

if __name__ == "__main__":
    for chosen in sys.argv[1:] or ("ordinal",):
        (HERE / f"{chosen}.json").write_text(json.dumps(computed(chosen), indent=1, sort_keys=True) + "\n", encoding="utf-8")
