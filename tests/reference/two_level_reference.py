"""Data sets of two levels whose reference values come from R; run as a script to compute them again."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from r_script import values

HERE = Path(__file__).resolve().parent
PATHS = {"within": (0.4, 0.5, 0.1), "between": (0.5, 0.4, 0.2)}


def chain(kind: str, *, balanced: bool, seed: int, clients: int = 80) -> pd.DataFrame:
    """Return sessions of clients with x, m, y: ``both`` (1-1-1), ``above`` (2-1-1: x of clients) or ``held`` (a trend over sessions)."""
    random = np.random.default_rng(seed)
    size = np.full(clients, 6) if balanced else random.integers(1, 10, clients)
    client = np.repeat(np.arange(clients), size)
    parts = {}
    for level, n in (("within", len(client)), ("between", clients)):
        a, b, direct = PATHS[level]
        x = random.standard_normal(n) if level == "between" or kind != "above" else np.zeros(n)
        m = a * x + 0.9 * random.standard_normal(n)
        y = direct * x + b * m + 0.8 * random.standard_normal(n)
        parts[level] = np.column_stack([x, m, y])
    rows = parts["within"] + 0.7 * parts["between"][client] + [3.0, 20.0, -1.0]
    if kind == "above":
        rows[:, 0] = parts["between"][client, 0]
    table = pd.DataFrame(rows, columns=["x", "m", "y"]).assign(client=client + 1)
    if kind == "held":
        table["t"] = table.groupby("client").cumcount() + 1.0
        table[["x", "m", "y"]] += table[["t"]].to_numpy() * [0.3, 0.2, -0.25]
    return table


def _of_clients(table: pd.DataFrame, seed: int) -> pd.Series:
    """Return a variable of clients that goes with what differs between them."""
    noise = np.random.default_rng(seed).standard_normal(int(table["client"].max()) + 1)
    return table.groupby("client")[["x", "y"]].transform("mean").sum(axis=1) + noise[table["client"]]


def two_level_sets() -> dict[str, pd.DataFrame]:
    """Return the tables by name."""
    return {
        "both_balanced": chain("both", balanced=True, seed=1),
        "both_unbalanced": chain("both", balanced=False, seed=2),
        "above_balanced": chain("above", balanced=True, seed=3),
        "above_unbalanced": chain("above", balanced=False, seed=4),
        "given": chain("above", balanced=False, seed=6).assign(z=lambda table: _of_clients(table, seed=7)),
        "held": chain("held", balanced=False, seed=5, clients=120),
    }


def computed() -> Any:
    """Return what R gives now."""
    with tempfile.TemporaryDirectory() as folder:
        for name, table in two_level_sets().items():
            table.to_csv(Path(folder) / f"{name}.csv", index=False, float_format="%.17g")
        return values("two_level.R", folder)


def stored() -> Any:
    """Return the stored values."""
    return json.loads((HERE / "two_level.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    (HERE / "two_level.json").write_text(json.dumps(computed(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
