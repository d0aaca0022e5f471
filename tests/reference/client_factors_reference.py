"""Sites with client factors, sessions and outcomes for the reference tests of that question, and what R gives for them.

``python tests/reference/client_factors_reference.py`` computes the stored values again (needs Rscript with lme4 and metafor).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import r_script

HERE = Path(__file__).resolve().parent
STORED = HERE / "client_factors.json"
SITES = (("a", 70, 12), ("b", 90, 15), ("c", 60, 4), ("d", 110, 20), ("e", 80, 11))
FACTORS = {
    "social_relations": {"category": "interpersonal", "reversed": False},
    "life_events": {"category": "interpersonal", "reversed": True},
    "motivation": {"category": "intrapersonal", "reversed": False},
    "openness": {"category": "intrapersonal", "reversed": False},
}
SESSIONS = 10


def clients() -> pd.DataFrame:
    """Return one row a client: site, client, therapist, factors with holes, intake and post (higher is better)."""
    frames = []
    for number, (site, n, therapists) in enumerate(SITES):
        random = np.random.default_rng(100 + number)
        therapist = random.integers(1, therapists + 1, n)
        shared = random.standard_normal(n)
        frame = pd.DataFrame({"site": site, "client": np.arange(1, n + 1), "therapist": therapist})
        for factor in FACTORS:
            frame[factor] = 0.6 * shared * (-1 if factor == "life_events" else 1) + 0.8 * random.standard_normal(n)
        frame["level"] = 0.4 * shared + 0.4 * random.standard_normal(therapists + 1)[therapist] + 0.7 * random.standard_normal(n)
        frame["slope"] = 0.15 * frame["motivation"] + 0.3 * random.standard_normal(n)
        frame["intake"] = random.standard_normal(n)
        frame["post"] = 0.4 * frame["intake"] + 0.4 * frame["level"] + 0.2 * shared + random.standard_normal(n)
        for factor in FACTORS:
            frame.loc[random.random(n) < 0.05, factor] = np.nan
        frame.loc[random.random(n) < 0.1, "post"] = np.nan
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def sessions() -> pd.DataFrame:
    """Return one row a session that was rated: site, client, session, alliance."""
    own = clients()
    random = np.random.default_rng(77)
    rows = own.loc[own.index.repeat(SESSIONS), ["site", "client", "level", "slope"]].reset_index(drop=True)
    rows["session"] = np.tile(np.arange(1, SESSIONS + 1), len(own))
    last = np.repeat(random.integers(2, SESSIONS + 1, len(own)), SESSIONS)
    rows["alliance"] = 5 + rows["level"] + rows["slope"] * (rows["session"] - 1) / 10 + 0.5 * random.standard_normal(len(rows))
    kept = (rows["session"] <= last) & (random.random(len(rows)) > 0.1)
    return rows.loc[kept, ["site", "client", "session", "alliance"]].reset_index(drop=True)


def computed() -> Any:
    """Return what R gives now."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clients().drop(columns=["level", "slope"]).to_csv(folder / "clients.csv", index=False)
        sessions().to_csv(folder / "sessions.csv", index=False)
        (folder / "factors.json").write_text(json.dumps(FACTORS), encoding="utf-8")
        return r_script.values("client_factors.R", folder)


def stored() -> Any:
    """Return what R gave when the values were stored."""
    return json.loads(STORED.read_text(encoding="utf-8"))


if __name__ == "__main__":
    STORED.write_text(json.dumps(computed(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
