"""Nested data of the reference tests of ``alliance.statistics.multilevel``, and the values that lme4 and lmerTest give for them.

``python tests/reference/multilevel_reference.py`` computes the stored values again (needs Rscript with lme4 and lmerTest).
"""

from __future__ import annotations

import functools
import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import r_script
from statistics_reference import HERE, _normals, stored

# name: sites, therapists a site, most clients a therapist, most sessions a client, standard deviation of therapists, of clients, seed
SHAPES = {
    "balanced": (1, 20, 5, 6, 0.5, 0.8, 1),
    "unbalanced": (1, 25, 9, 12, 0.6, 0.9, 2),
    "singular": (1, 15, 5, 4, 0.0, 0.8, 3),
    "tiny": (1, 6, 3, 2, 0.5, 0.7, 4),
    "sites": (12, 6, 5, 3, 0.4, 0.6, 5),
}
MODELS = {
    "balanced": "y ~ x + t + (1 | therapist/client)",
    "unbalanced": "y ~ x + t + (1 | therapist/client)",
    "singular": "y ~ x + (1 | therapist/client)",
    "tiny": "y ~ x + (1 | therapist/client)",
    "sites": "y ~ x + t + (1 | site/therapist/client)",
    "client_slope": "y ~ x + t + (1 | therapist) + (1 + t | therapist:client)",
    "therapist_slope": "y ~ x + t + (1 + x | therapist) + (1 | therapist:client)",
    "therapists_only": "y ~ x + (1 | therapist)",
    "one_stage": "y ~ 0 + factor(site) + factor(site):z + xs + (0 + xs | site) + (1 | therapist)",
}
ROWS_OF = {
    "client_slope": "unbalanced",
    "therapist_slope": "unbalanced",
    "therapists_only": "unbalanced",
    "one_stage": "one_stage",
}


def rows(name: str) -> pd.DataFrame:
    """Return simulated sessions of clients of therapists, some of them without the outcome where the shape is not balanced."""
    if name == "one_stage":
        return _clients_of_sites()
    sites, therapists, clients, sessions, sd_therapist, sd_client, seed = SHAPES[name]
    uneven = name not in ("balanced", "tiny")
    random = np.random.Generator(np.random.PCG64(100 + seed))
    n_therapists = sites * therapists
    clients_of = 1 + (random.random(n_therapists) * clients).astype(int) if uneven else np.full(n_therapists, clients)
    therapist = np.repeat(np.arange(n_therapists), clients_of)
    sessions_of = 1 + (random.random(len(therapist)) * sessions).astype(int) if uneven else np.full(len(therapist), sessions)
    client = np.repeat(np.arange(len(therapist)), sessions_of)
    t = np.concatenate([np.arange(1, n + 1) for n in sessions_of]).astype(float)
    n = len(client)
    client_effect, slope = _normals(seed + 40, len(therapist)), 0.15 * _normals(seed + 50, len(therapist))
    x = 5 + 0.6 * _normals(seed + 60, len(therapist))[client] + 0.7 * _normals(seed + 70, n)
    by_therapist = _normals(seed + 80, n_therapists, 2)[therapist[client]]
    y = 20 + (0.4 + 0.2 * by_therapist[:, 1] * (name == "unbalanced")) * x - 0.2 * t + sd_therapist * by_therapist[:, 0]
    y += sd_client * client_effect[client] + slope[client] * t * (name == "unbalanced") + _normals(seed + 90, n)
    y += 0.5 * _normals(seed + 95, sites)[therapist[client] // therapists]
    if name == "singular":
        y -= pd.Series(y - 0.4 * x).groupby(therapist[client]).transform("mean").to_numpy()
    table = pd.DataFrame(
        {"y": y, "x": x, "t": t, "site": therapist[client] // therapists, "therapist": therapist[client], "client": client}
    )
    table = table.round(4)
    if uneven:
        table.loc[random.random(n) < 0.05, "y"] = np.nan
    return table


def _clients_of_sites() -> pd.DataFrame:
    therapist = np.repeat(np.arange(15 * 8), 6)
    site = therapist // 8
    noise = _normals(31, len(site), 3)
    x = 5 + 0.5 * _normals(32, 15)[site] + noise[:, 0]
    z = 60 + 10 * noise[:, 1]
    slope = 0.4 + 0.2 * _normals(33, 15)[site]
    y = 50 + 5 * _normals(34, 15)[site] + 4 * slope * x + 0.5 * z + 2 * _normals(35, 120)[therapist] + 5 * noise[:, 2]
    table = pd.DataFrame({"y": y, "x": x, "z": z, "site": site, "therapist": therapist}).round(4)
    table["xs"] = table["x"] - table.groupby("site")["x"].transform("mean")
    return table


def one_way() -> dict[str, pd.DataFrame]:
    """Return clients of therapists, one row a client: as many for each therapist, and not."""
    tables = {}
    for index, sizes in enumerate(([5] * 12, [2, 3, 3, 5, 8, 12, 4, 7, 2, 20, 6, 9])):
        therapist = np.repeat(np.arange(12), sizes)
        y = 0.6 * _normals(300 + index, 12)[therapist] + _normals(310 + index, len(therapist))
        tables[("balanced", "unbalanced")[index]] = pd.DataFrame({"y": y, "therapist": therapist}).round(4)
    return tables


def computed() -> dict:
    """Return what R gives now."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for shape in [*SHAPES, "one_stage"]:
            rows(shape).to_csv(folder / f"{shape}.csv", index=False, na_rep="NA")
        for shape, table in one_way().items():
            table.to_csv(folder / f"one_way_{shape}.csv", index=False)
        models = {key: {"rows": ROWS_OF.get(key, key), "formula": formula} for key, formula in MODELS.items()}
        (folder / "models.json").write_text(json.dumps(models), encoding="utf-8")
        return r_script.values("multilevel.R", name)


def data_of_r(name: str, package: str) -> pd.DataFrame:
    """Return a data set that comes with an R package; skips the test where R or the package is not installed."""
    return pd.read_csv(io.StringIO(_text_of_r(name, package)))


@functools.cache
def _text_of_r(name: str, package: str) -> str:
    return r_script.output(["-e", f'data("{name}", package = "{package}"); write.csv({name}, stdout(), row.names = FALSE)'])


if __name__ == "__main__":
    (HERE / "multilevel.json").write_text(json.dumps(computed(), indent=1, sort_keys=True) + "\n", encoding="utf-8")

__all__ = ["MODELS", "ROWS_OF", "SHAPES", "computed", "data_of_r", "one_way", "rows", "stored"]
