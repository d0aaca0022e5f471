"""Ratings of the reference tests of generalizability, and the components of variance that lme4 gives for them.

``python tests/reference/generalizability_reference.py`` computes the stored values again (needs Rscript with lme4).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import r_script
from statistics_reference import HERE, _normals, stored

# clients, sessions of a client, raters, share missing, variances of client, session, rater, client x rater and rest, seed
SHAPES = {
    "balanced": (30, 4, 3, 0.0, (0.5, 0.3, 0.1, 0.15, 0.4), 1),
    "unbalanced": (40, 5, 4, 0.45, (0.5, 0.2, 0.2, 0.2, 0.5), 2),
    "no_interaction": (40, 4, 3, 0.3, (0.4, 0.4, 0.1, 0.0, 0.6), 3),
    "few_sessions": (60, 2, 3, 0.35, (0.4, 0.2, 0.05, 0.3, 0.3), 4),
}


def rows(name: str) -> pd.DataFrame:
    """Return ratings of sessions of clients."""
    clients, sessions, raters, missing, variances, seed = SHAPES[name]
    client, session, rater = (index.ravel() for index in np.indices((clients, sessions, raters)))
    target = client * sessions + session
    effects = [
        _normals(1000 + 10 * seed + at, count)[codes]
        for at, (count, codes) in enumerate(
            ((clients, client), (clients * sessions, target), (raters, rater), (clients * raters, client * raters + rater))
        )
    ]
    value = 50 + 10 * np.sqrt(variances) @ np.array([*effects, _normals(1009 + 10 * seed, len(client))])
    table = pd.DataFrame({"client": client, "target": target, "rater": rater, "value": value.round(3)})
    if missing:
        table = table[np.random.Generator(np.random.PCG64(seed)).random(len(table)) >= missing]
    return table.reset_index(drop=True)


def computed() -> dict:
    """Return what R gives now."""
    with tempfile.TemporaryDirectory() as name:
        for one in SHAPES:
            rows(one).to_csv(Path(name) / f"{one}.csv", index=False)
        return r_script.values("generalizability.R", name)


__all__ = ["SHAPES", "computed", "rows", "stored"]

if __name__ == "__main__":
    (HERE / "generalizability.json").write_text(json.dumps(computed(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
