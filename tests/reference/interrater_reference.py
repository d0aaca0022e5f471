"""Ratings of the reference tests of agreement between raters, and the values that psych and lme4 give for them.

``python tests/reference/interrater_reference.py`` computes the stored values again (needs Rscript with psych and lme4).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import r_script
from statistics_reference import HERE, _normals, stored

# Shrout & Fleiss (1979), table 2: six targets rated by four judges.
SHROUT_FLEISS = ((9, 2, 5, 8), (6, 1, 3, 2), (8, 4, 6, 8), (7, 1, 2, 6), (10, 5, 6, 9), (6, 2, 4, 7))
# sessions, raters, share of ratings missing, standard deviation of sessions and of raters, seed
SHAPES = {
    "complete": (40, 3, 0.0, 1.0, 0.5, 1),
    "few_missing": (60, 4, 0.15, 1.0, 0.4, 2),
    "many_missing": (120, 5, 0.6, 0.7, 0.6, 3),
    "two_raters": (50, 2, 0.3, 1.2, 0.3, 4),
    "same_level": (60, 3, 0.3, 0.8, 0.0, 5),
    "no_sessions": (60, 4, 0.3, 0.0, 0.8, 6),
}


def table(name: str) -> np.ndarray:
    """Return a table of ratings, sessions x raters, NaN where a rater did not rate a session."""
    if name == "shrout_fleiss":
        return np.array(SHROUT_FLEISS, dtype=float)
    sessions, raters, missing, sd_session, sd_rater, seed = SHAPES[name]
    values = 4 + sd_session * _normals(800 + seed, sessions, 1) + _normals(830 + seed, sessions, raters)
    level = sd_rater * _normals(820 + seed, 1, raters)
    if name == "no_sessions":
        values -= values.mean(axis=1, keepdims=True)
    if name == "same_level":
        values -= values.mean(axis=0)
    values = (values + level).round(3)
    values[np.random.Generator(np.random.PCG64(840 + seed)).random(values.shape) < missing] = np.nan
    return values[np.isfinite(values).any(axis=1)]


def long(values: np.ndarray) -> pd.DataFrame:
    """Return a table of ratings as rows."""
    target, rater = np.nonzero(np.isfinite(values))
    return pd.DataFrame({"target": target, "rater": rater, "value": values[target, rater]})


NAMES = ("shrout_fleiss", *SHAPES)


def computed() -> dict:
    """Return what R gives now."""
    with tempfile.TemporaryDirectory() as name:
        for one in NAMES:
            pd.DataFrame(table(one)).to_csv(Path(name) / f"{one}.csv", index=False)
        return r_script.values("interrater.R", name)


__all__ = ["NAMES", "SHAPES", "SHROUT_FLEISS", "computed", "long", "stored", "table"]

if __name__ == "__main__":
    (HERE / "interrater.json").write_text(json.dumps(computed(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
