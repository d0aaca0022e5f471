"""Data sets of chains whose slopes differ between clients, whose reference values come from R; run as a script to compute them again."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from r_script import values

HERE = Path(__file__).resolve().parent
DEVIATIONS = (0.35, 0.4, 0.3)


def chain(*, correlation: float, shortest: int, seed: int, clients: int = 50, trend: bool = False) -> pd.DataFrame:
    """Return sessions of clients with x, m and y (and t), slopes of a and b correlated; units and residual variances differ."""
    random = np.random.default_rng(seed)
    correlations = np.array([[1, correlation, 0.2], [correlation, 1, -0.1], [0.2, -0.1, 1]])
    slopes = [0.3, 0.4, 0.1] + random.standard_normal((clients, 3)) @ np.linalg.cholesky(np.outer(DEVIATIONS, DEVIATIONS) * correlations).T
    size = random.integers(shortest, 13, clients)
    client = np.repeat(np.arange(clients), size)
    x = random.standard_normal(len(client))
    m = slopes[client, 0] * x + 0.6 * random.standard_normal(len(client))
    y = slopes[client, 1] * m + slopes[client, 2] * x + 1.2 * random.standard_normal(len(client))
    table = pd.DataFrame({"x": 2 * x, "m": 5 * m, "y": 0.5 * y}) + random.standard_normal((clients, 3))[client]
    table = table.assign(client=client + 1)
    if trend:
        table["t"] = table.groupby("client").cumcount() + 1.0
        table[["x", "m", "y"]] += table[["t"]].to_numpy() * [0.3, 0.2, -0.25]
    return table


def random_slopes_sets() -> dict[str, pd.DataFrame]:
    """Return the tables by name."""
    return {
        "together": chain(correlation=0.6, shortest=8, seed=1, clients=80),
        "opposed": chain(correlation=-0.5, shortest=12, seed=2),
        "held": chain(correlation=0.3, shortest=2, seed=3, trend=True, clients=70),
        "boundary": chain(correlation=0.6, shortest=5, seed=4),
    }


def computed() -> Any:
    """Return what R gives now."""
    with tempfile.TemporaryDirectory() as folder:
        for name, table in random_slopes_sets().items():
            table.to_csv(Path(folder) / f"{name}.csv", index=False, float_format="%.17g")
        return values("random_slopes.R", folder)


def stored() -> Any:
    """Return the stored values."""
    return json.loads((HERE / "random_slopes.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    (HERE / "random_slopes.json").write_text(json.dumps(computed(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
