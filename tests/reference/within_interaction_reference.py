"""Data sets of technique, alliance and symptoms whose reference values come from R; run as a script to compute them again."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from r_script import values

HERE = Path(__file__).resolve().parent


def sessions(*, longest: int, seed: int, clients: int = 60, therapists: int = 9, missing: float = 0.1) -> pd.DataFrame:
    """Return sessions of clients: technique helps more where the alliance is better, within clients (.3) and between them (.2)."""
    random = np.random.default_rng(seed)
    client = np.repeat(np.arange(clients), random.integers(1, longest + 1, clients))
    n, level = len(client), random.standard_normal((clients, 3))
    technique = random.poisson(2.0, n) + level[client, 0]
    alliance = 5 + random.standard_normal(n) + level[client, 1]
    prior = random.standard_normal(n) + level[client, 2]
    session = np.concatenate([np.arange(count) for count in np.bincount(client, minlength=clients)])
    slope = 0.2 + 0.3 * (alliance - 5 - level[client, 1]) + 0.2 * level[client, 1]
    y = slope * technique + 0.3 * alliance + 0.4 * prior + 0.1 * session + random.standard_normal(n)
    table = pd.DataFrame({"technique": technique, "alliance": alliance, "prior": prior, "session": session * 1.0, "y": y})
    table = table.mask(random.random(table.shape) < missing / 5)
    return table.assign(client=client + 1, therapist=client % therapists + 1)


def within_interaction_sets() -> dict[str, pd.DataFrame]:
    """Return the tables by name."""
    return {"long": sessions(longest=12, seed=1, clients=80), "short": sessions(longest=6, seed=2)}


def computed() -> Any:
    """Return what R gives now."""
    with tempfile.TemporaryDirectory() as folder:
        for name, table in within_interaction_sets().items():
            table.to_csv(Path(folder) / f"{name}.csv", index=False, float_format="%.17g")
        return values("within_interaction.R", folder)


def stored() -> Any:
    """Return the stored values."""
    return json.loads((HERE / "within_interaction.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    (HERE / "within_interaction.json").write_text(json.dumps(computed(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
