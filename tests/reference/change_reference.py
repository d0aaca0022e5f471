"""Data of the reference tests of change, sudden gains and imputation, and the values that R gives for them.

``python tests/reference/change_reference.py`` computes the stored values again (needs Rscript with mice; some minutes).
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import r_script
from statistics_reference import HERE, _normals, simulated_rows, stored

DATA_SETS = 60
THERAPISTS, PER_THERAPIST = 25, 8


def gain_sessions() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the alliance of 40 simulated clients of 8 therapists in up to 10 sessions, and 12 sudden gains of 10 of them."""
    client = np.repeat(np.arange(40), 10)
    session = np.tile(np.arange(1, 11), 40)
    therapist = client // 5
    alliance = 5 + 0.3 * _normals(41, 8)[therapist] + 0.6 * _normals(42, 40)[client] + 0.05 * session + 0.4 * _normals(43, 400)
    rows = pd.DataFrame({"client": client, "session": session, "therapist": therapist, "alliance": alliance.round(3)})
    rows.loc[np.random.Generator(np.random.PCG64(44)).random(400) < 0.15, "alliance"] = np.nan
    gains = pd.DataFrame({"client": [0, 3, 3, 7, 11, 14, 18, 21, 26, 30, 33, 33], "session": [2, 3, 7, 4, 2, 5, 6, 3, 8, 4, 5, 9]})
    return rows, gains


def rubin_cases() -> list[dict]:
    """Return estimates and variances of imputed data sets, with degrees of freedom of complete data."""
    cases = []
    for index, (m, df, spread) in enumerate(((5, 19, 0.1), (20, 24, 0.3), (40, 300, 0.02), (20, None, 0.2), (3, 8, 1.0))):
        estimates = 0.3 + spread * _normals(50 + index, m)
        variances = 0.04 * np.exp(0.1 * _normals(60 + index, m))
        cases.append({"estimates": estimates.round(6).tolist(), "variances": variances.round(8).tolist(), "complete_df": df})
    return cases


def complete_data(seed: int) -> pd.DataFrame:
    """Return what :func:`incomplete_data` is made from."""
    therapist = np.repeat(np.arange(THERAPISTS), PER_THERAPIST)
    shared = np.sqrt(0.1) * _normals(1000 + seed, THERAPISTS, 4)[therapist]
    noise = _normals(3000 + seed, len(therapist), 4)
    intake = noise[:, 0] + shared[:, 0]
    alliance = -0.2 * intake + noise[:, 1] + 2 * shared[:, 1]
    early = 0.6 * intake - 0.2 * alliance + 0.8 * noise[:, 2] + shared[:, 2]
    final = 0.3 * intake + 0.4 * early - 0.3 * alliance + 0.8 * noise[:, 3] + shared[:, 3]
    return pd.DataFrame({"therapist": therapist, "intake": intake, "alliance": alliance, "early": early, "final": final}).round(5)


def incomplete_data(seed: int) -> pd.DataFrame:
    """Return simulated clients in therapists: complete intake, and alliance, early and final symptoms missing at random.

    Early symptoms depend on intake and alliance, final symptoms on all three; therapists differ in all of them. About 20 % of the alliance
    (by intake), 20 % of the early and 40 % of the final symptoms (both by intake and alliance where measured) are missing.
    """
    frame = complete_data(seed)
    intake = frame["intake"].to_numpy()
    chance = np.random.Generator(np.random.PCG64(5000 + seed)).random((len(frame), 3))
    frame.loc[chance[:, 0] < _logistic(-1.6 + 0.8 * intake), "alliance"] = np.nan
    known = frame["alliance"].fillna(0).to_numpy()
    frame.loc[chance[:, 1] < _logistic(-1.6 + 0.5 * intake - 0.5 * known), "early"] = np.nan
    frame.loc[chance[:, 2] < _logistic(-0.5 + 0.6 * intake - 0.6 * known), "final"] = np.nan
    return frame


def population_covariance() -> np.ndarray:
    """Return the covariance of intake, alliance, early and final symptoms over all therapists, as :func:`incomplete_data` draws them."""
    source = np.diag(np.r_[np.ones(4), np.full(4, np.sqrt(0.1))])
    intake = source[0] + source[4]
    alliance = -0.2 * intake + source[1] + 2 * source[5]
    early = 0.6 * intake - 0.2 * alliance + 0.8 * source[2] + source[6]
    final = 0.3 * intake + 0.4 * early - 0.3 * alliance + 0.8 * source[3] + source[7]
    loadings = np.stack([intake, alliance, early, final])
    return loadings @ loadings.T


def _logistic(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


def inputs(subject: str, folder: Path, data_sets: int = DATA_SETS) -> None:
    """Write what the R script of a subject reads; of the imputations, only so many simulated data sets."""
    if subject == "change":
        simulated_rows().to_csv(folder / "rows.csv", index=False)
        sessions, gains = gain_sessions()
        sessions.to_csv(folder / "sessions.csv", index=False)
        gains.to_csv(folder / "gains.csv", index=False)
    elif subject == "rubin":
        (folder / "cases.json").write_text(json.dumps(rubin_cases()), encoding="utf-8")
    else:
        pd.concat([incomplete_data(seed).assign(data_set=seed) for seed in range(data_sets)]).to_csv(folder / "incomplete.csv", index=False)


def computed(subject: str, data_sets: int = DATA_SETS) -> dict:
    """Return what R gives now; see :func:`inputs`."""
    with tempfile.TemporaryDirectory() as folder:
        inputs(subject, Path(folder), data_sets)
        return r_script.values(f"{subject}.R", folder)


__all__ = [
    "complete_data",
    "computed",
    "gain_sessions",
    "incomplete_data",
    "population_covariance",
    "rubin_cases",
    "simulated_rows",
    "stored",
]

if __name__ == "__main__":
    for chosen in sys.argv[1:] or ("change", "rubin", "imputation"):
        (HERE / f"{chosen}.json").write_text(json.dumps(computed(chosen), indent=1, sort_keys=True) + "\n", encoding="utf-8")
