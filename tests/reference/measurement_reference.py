"""Items of the reference tests of reliability, and the values that lavaan, semTools, psych, polycor and lme4 give for them.

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


def sessions_of(seed: int, clients: int, most: int, items: int, balanced: bool) -> pd.DataFrame:
    """Return simulated ratings in several sessions: factors and errors within and between clients, and effects of sessions and items."""
    random = np.random.Generator(np.random.PCG64(seed))
    size = np.full(clients, most) if balanced else random.integers(1, most + 1, clients)
    client = np.repeat(np.arange(clients), size)
    session = np.concatenate([np.arange(one) for one in size])
    n, within, between = len(client), np.resize([0.7, 0.6, 0.8, 0.5], items), np.resize([0.8, 0.5, 0.6, 0.7], items)
    values = (
        0.15 * _normals(seed + 1, most, items)[session] + 0.3 * _normals(seed + 2, most, 1)[session] + 0.5 * _normals(seed + 3, 1, items)
    )
    values = values + (_normals(seed + 4, clients, 1) * between + 0.5 * _normals(seed + 5, clients, items))[client]
    values = values + _normals(seed + 6, n, 1) * within + 0.8 * _normals(seed + 7, n, items)
    table = pd.DataFrame(values.round(4), columns=[f"i{j + 1}" for j in range(items)])
    if not balanced:
        table = table.mask(random.random(table.shape) < 0.02)
    return table.assign(client=client, session=session, therapist=client % 20)


def session_sets() -> dict[str, pd.DataFrame]:
    """Return ratings of clients in several sessions: the same number for all, or unequal numbers with some answers missing."""
    return {"balanced": sessions_of(300, 40, 6, 5, True), "unbalanced": sessions_of(320, 120, 9, 6, False)}


def computed(subject: str) -> dict:
    """Return what R gives now."""
    with tempfile.TemporaryDirectory() as folder:
        for name, table in {"ordinal": ordinal_sets, "sessions": lambda: {**session_sets(), "many": sessions_of(340, 1000, 6, 5, True)}}[
            subject
        ]().items():
            table.to_csv(Path(folder) / f"{name}.csv", index=False)
        return r_script.values(f"{subject}.R", folder)


__all__ = ["computed", "ordinal_sets", "session_sets", "sessions_of", "stored"]

if __name__ == "__main__":
    for chosen in sys.argv[1:] or ("ordinal", "sessions"):
        (HERE / f"{chosen}.json").write_text(json.dumps(computed(chosen), indent=1, sort_keys=True) + "\n", encoding="utf-8")
