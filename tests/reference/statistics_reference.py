"""Data of the reference tests of ``alliance.statistics``, and the values that R gives for them.

``python tests/reference/statistics_reference.py`` computes the stored values again (needs Rscript).
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import r_script
from needed import REAL_DATA
from scipy.special import ndtri

if TYPE_CHECKING:
    from alliance.statistics.two_stage import TwoStageFit

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
ROORDA = REAL_DATA / "metasem_corr_matrices" / "Roorda11_long.csv"

# Table III of Cooper, Hedges & Valentine (2009), Handbook of research synthesis and meta-analysis (2nd ed.): n and r of 20 studies.
COOPER_N = (10, 20, 13, 22, 28, 12, 12, 36, 19, 12, 36, 75, 33, 121, 37, 14, 40, 16, 14, 20)
COOPER_R = (0.68, 0.56, 0.23, 0.64, 0.49, -0.04, 0.49, 0.33, 0.58, 0.18, -0.11, 0.27, 0.26, 0.4, 0.49, 0.51, 0.4, 0.34, 0.42, 0.16)
COOPER_MODERATOR = (1, 2, 3, 4, 1, 2, 8, 7, 5, 3, 9, 7, 5, 4, 3, 2, 3, 5, 7, 1)

MODELS = {
    "saturated": "m ~ a*x + z\ny ~ b*m + c*x + z\nindirect := a*b\ntotal := c + a*b",
    "overidentified": "m ~ a*x + z\nm2 ~ m\ny ~ b*m\nindirect := a*b",
    "two_outcomes": "m ~ a*x\ny ~ b*m\ny2 ~ b2*m + z\nindirect := a*b\nratio := b2/exp(a)",
    "equal_and_fixed": "m ~ a*x + z\nm2 ~ a*x + m\ny ~ 2*m + m2\ndouble := a*2",
    "parallel": "m ~ x + z\nm2 ~ x + z\ny ~ m + m2\nm ~~ m2",
    "zero": "m ~ x + 0*z\ny ~ m + 0*x",
}
ROORDA_VARIABLES = ("pos", "neg", "enga", "achiev")
ROORDA_MODELS = {
    "mediated": "enga ~ a*pos + a2*neg\nachiev ~ b*enga\nind := a*b\nind2 := a2*b",
    "saturated": "enga ~ a*pos + a2*neg\nachiev ~ b*enga + pos + neg\nind := a*b",
    "two_outcomes": "enga ~ pos\nachiev ~ pos + neg",
}

TWO_STAGE_MEASURES = {
    "chisq": "chi2",
    "df": "df",
    "baseline.chisq": "baseline_chi2",
    "baseline.df": "baseline_df",
    "cfi": "cfi",
    "tli": "tli",
    "rmsea": "rmsea",
    "rmsea.ci.lower": "rmsea_low",
    "rmsea.ci.upper": "rmsea_high",
    "srmr": "srmr",
}

QUESTION_SITES = (("a", 60, 8), ("b", 90, 12), ("c", 75, 6), ("d", 120, 15), ("e", 50, 3), ("f", 80, 10), ("g", 150, 20))
FACTORS = {
    "social_relations": {"category": "interpersonal", "reversed": False},
    "life_events": {"category": "interpersonal", "reversed": True},
    "motivation": {"category": "intrapersonal", "reversed": False},
    "openness": {"category": "intrapersonal", "reversed": False},
    "severity_rating": {"category": "diagnostic", "reversed": True},
}
# Instrument, scale, rater, slope on the alliance, long form it was derived from.
QUESTION_MEASURES = (
    ("wai_36", "total", "client", 1.0, ""),
    ("haq_2", "total", "client", 0.8, ""),
    ("wai_sr", "total", "client", 0.9, "wai_36"),
    ("wai_36", "total", "therapist", 0.4, ""),
    ("haq_2", "total", "therapist", 0.5, ""),
    ("wai_36", "bond", "client", 0.7, ""),
    ("wai_36", "task", "client", 0.5, ""),
    ("haq_2", "positive", "client", 0.6, ""),
)


def _normals(seed: int, *shape: int) -> np.ndarray:
    return ndtri(np.random.Generator(np.random.PCG64(seed)).random(shape))


def simulated_rows() -> pd.DataFrame:
    """Return 300 simulated clients of 30 therapists: a skewed covariate, variables of unlike units, therapist effects."""
    therapist = np.repeat(np.arange(30), 10)
    shared = 0.5 * _normals(1, 30, 3)[therapist]
    noise = _normals(2, 300, 6)
    x = noise[:, 0] + shared[:, 0]
    z = np.exp(0.5 * noise[:, 1])
    m = 3 + 0.5 * x + 0.3 * z + shared[:, 1] + noise[:, 2]
    m2 = 0.3 * x + 0.5 * m + 2 * noise[:, 3]
    y = 10 * (0.4 * m + 0.1 * x + shared[:, 2] + noise[:, 4])
    y2 = 0.3 * m - 0.2 * m2 + noise[:, 5] + y / 20
    return pd.DataFrame({"x": x, "z": z, "m": m, "m2": m2, "y": y, "y2": y2, "therapist": therapist}).round(4)


def effects() -> pd.DataFrame:
    """Return effects to be pooled: Cooper's correlations as Fisher z, and simulated ones from homogeneous to very heterogeneous."""
    tables = [pd.DataFrame({"effect": "cooper", "y": np.arctanh(COOPER_R), "v": 1 / (np.array(COOPER_N) - 3)})]
    for index, (name, k, spread) in enumerate((("homogeneous", 8, 0.0), ("few", 3, 0.2), ("two", 2, 0.3), ("wild", 12, 1.0))):
        v = np.exp(_normals(10 + index, k)) / 50
        tables.append(pd.DataFrame({"effect": name, "y": 0.2 + _normals(20 + index, k) * np.sqrt(v + spread**2), "v": v}))
    return pd.concat(tables, ignore_index=True).round(6)


def bca_case() -> tuple[np.ndarray, np.ndarray, float]:
    """Return skewed draws, estimates without each of 25 units, and an estimate."""
    return np.exp(0.5 * ndtri((np.arange(4000) + 0.5) / 4000)).round(6), (1 + 0.05 * _normals(30, 25) ** 2).round(6), 0.95


def moderated() -> pd.DataFrame:
    """Return Cooper's correlations as Fisher z with two numeric moderators, a category, and regions of sites."""
    k = len(COOPER_N)
    table = pd.DataFrame({"y": np.arctanh(COOPER_R), "v": 1 / (np.array(COOPER_N) - 3), "mod1": COOPER_MODERATOR}).round(6)
    return table.assign(
        year=(2000 + 8 * _normals(40, k)).round(2),
        setting=np.array(["clinic", "ward", "practice"])[np.arange(k) % 3],
        region=np.arange(k) // 3,
    )


def site_effects() -> tuple[pd.DataFrame, np.ndarray]:
    """Return 1-4 simulated effects of each of 14 sites, and their sampling covariance, correlated .6 within sites."""
    site = np.repeat(np.arange(14), np.array([3, 1, 2, 4, 2, 3, 1, 4, 2, 3, 4, 1, 2, 3]))
    v = np.round(np.exp(0.6 * _normals(50, site.size)) / 30, 6)
    errors = _normals(51, site.size) * np.sqrt(0.4) + _normals(52, 14)[site] * np.sqrt(0.6)
    y = 0.25 + errors * np.sqrt(v) + 0.25 * _normals(53, 14)[site] + 0.15 * _normals(54, site.size)
    same = site[:, None] == site[None, :]
    covariance = np.where(same, 0.6 * np.sqrt(np.outer(v, v)), 0.0)
    covariance[np.diag_indices(site.size)] = v
    return pd.DataFrame({"site": site, "y": y.round(6), "v": v}), covariance.round(10)


def partly_reported() -> pd.DataFrame:
    """Return simulated effects, some of them known only not to be significant; those of set ``equal`` have one sampling variance."""
    tables = []
    for index, (name, k, spread) in enumerate((("mixed", 25, 0.2), ("common", 20, 0.0), ("equal", 30, 0.25))):
        v = np.full(k, 0.03) if name == "equal" else np.round(np.exp(0.5 * _normals(60 + index, k)) / 40, 6)
        y = 0.3 + _normals(70 + index, k) * np.sqrt(v + spread**2)
        hidden = (np.abs(y) < ndtri(0.975) * np.sqrt(v)) & (np.arange(k) % 3 > 0)
        tables.append(pd.DataFrame({"set": name, "y": y.round(6), "v": v, "hidden": hidden.astype(int)}))
    return pd.concat(tables, ignore_index=True)


def independent_rows() -> pd.DataFrame:
    """Return four correlated variables of 4,000 clients who have nothing in common."""
    noise = _normals(80, 4000, 5)
    return pd.DataFrame({name: noise[:, column] + 0.3 * (column + 1) * noise[:, 4] for column, name in enumerate("abcd")}).round(4)


def question_clients() -> pd.DataFrame:
    """Return simulated clients of seven sites with factors that share a source; gaps, unknown therapists, a site with three therapists."""
    sites = []
    for index, (site, n, therapists) in enumerate(QUESTION_SITES):
        noise = _normals(100 + index, n, 8)
        gaps = np.random.Generator(np.random.PCG64(200 + index)).random((n, len(FACTORS)))
        therapist = np.arange(n) % therapists + 1.0
        shared = 0.4 * _normals(300 + index, therapists + 1)[therapist.astype(int)]
        if site == "b":
            therapist[:4] = np.nan
        alliance = noise[:, 0] + shared
        table = {"site": site, "client": np.arange(1, n + 1), "therapist": therapist, "alliance": alliance}
        for column, (name, slope) in enumerate(zip(FACTORS, (0.5, -0.3, 0.2, 0.1, -0.25), strict=True)):
            factor = (slope + 0.1 * index / 7) * alliance + 0.5 * np.sign(slope) * noise[:, 6] + 0.8 * noise[:, column + 1] + 0.3 * shared
            absent = site == "c" and FACTORS[name]["category"] == "intrapersonal"
            table[name] = np.where(absent | (gaps[:, column] < 0.12), np.nan, factor)
        sites.append(pd.DataFrame(table))
    return pd.concat(sites, ignore_index=True).round(4)


def question_scores() -> pd.DataFrame:
    """Return simulated alliance scores of the clients in two sessions, some not rated; two sites derived a short form from the long one."""
    rows = []
    for index, (site, own) in enumerate(question_clients().groupby("site", sort=True)):
        measures = [measure for measure in QUESTION_MEASURES if measure[0] != "wai_sr" or site in ("a", "d")]
        noise = _normals(400 + index, len(own), 2, len(measures))
        rated = np.random.Generator(np.random.PCG64(500 + index)).random(noise.shape) > 0.15
        for column, (instrument, scale, rater, slope, parent) in enumerate(measures):
            for session in (2, 3):
                score = 4 + slope * own["alliance"].to_numpy() + 0.7 * noise[:, session - 2, column]
                keys = {"site": site, "client": own["client"], "session": session, "instrument": instrument, "scale": scale}
                frame = pd.DataFrame(keys | {"rater": rater, "derived_from": parent, "score": score})
                rows.append(frame[rated[:, session - 2, column]])
    return pd.concat(rows, ignore_index=True).round(4)


def inputs(subject: str, folder: Path) -> None:
    """Write what the R script of a subject reads."""
    if subject == "meta_analysis":
        effects().to_csv(folder / "effects.csv", index=False)
    elif subject == "pooling":
        effects().to_csv(folder / "effects.csv", index=False)
        moderated().to_csv(folder / "moderated.csv", index=False)
        table, covariance = site_effects()
        table.to_csv(folder / "site_effects.csv", index=False)
        pd.DataFrame(covariance).to_csv(folder / "covariance.csv", index=False)
        partly_reported().to_csv(folder / "partly_reported.csv", index=False)
        simulated_rows().to_csv(folder / "rows.csv", index=False)
        independent_rows().to_csv(folder / "independent.csv", index=False)
    elif subject == "alliance_outcome":
        import outcome_rows

        outcome_rows.write(folder)
    elif subject == "question_tables":
        question_clients().drop(columns="alliance").to_csv(folder / "clients.csv", index=False)
        question_scores().to_csv(folder / "scores.csv", index=False)
        (folder / "factors.json").write_text(json.dumps(FACTORS), encoding="utf-8")
    elif subject == "path_analysis":
        simulated_rows().to_csv(folder / "rows.csv", index=False)
        (folder / "models.json").write_text(json.dumps(MODELS), encoding="utf-8")
        draws, left_out, _ = bca_case()
        pd.DataFrame({"value": draws}).to_csv(folder / "draws.csv", index=False)
        pd.DataFrame({"value": left_out}).to_csv(folder / "left_out.csv", index=False)
    else:
        shutil.copy(ROORDA, folder / "matrices.csv")
        (folder / "variables.json").write_text(json.dumps(ROORDA_VARIABLES), encoding="utf-8")
        (folder / "models.json").write_text(json.dumps(ROORDA_MODELS), encoding="utf-8")


def computed(subject: str) -> dict:
    """Return what R gives now."""
    with tempfile.TemporaryDirectory() as folder:
        inputs(subject, Path(folder))
        return r_script.values(f"{subject}.R", folder)


def assert_two_stage_equal(fitted: TwoStageFit, expected: dict) -> None:
    """Assert that a model of pooled correlations is lavaan's, which holds variances at one only nearly."""
    for row in fitted.parameters.itertuples():
        key = row.name if row.name in expected["estimate"] else "~~".join(reversed(row.name.split("~~")))
        assert row.estimate == pytest.approx(expected["estimate"][key], abs=5e-6), row.name
        if np.isfinite(row.std_error):
            assert row.std_error == pytest.approx(expected["std_error"][key], rel=1e-4), row.name
        else:
            assert expected["std_error"][key] < 1e-5, row.name
    for key, name in TWO_STAGE_MEASURES.items():
        assert getattr(fitted.fit, name) == pytest.approx(expected["fit"][key], rel=1e-4, abs=2e-6), key
    assert (fitted.chi2, fitted.df) == (fitted.fit.chi2, expected["fit"]["df"])


def pooled_by_metafor(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return what metafor makes of site estimates, by effect.

    Parameters
    ----------
    rows : DataFrame
        ``effect, estimate, std_error``, one row a site and effect.

    Returns
    -------
    dict
        For every effect ``estimate, se, low, high, tau2, q, k``.
    """
    with tempfile.TemporaryDirectory() as folder:
        rows.to_csv(Path(folder) / "rows.csv", index=False)
        return r_script.values("pool_rows.R", Path(folder) / "rows.csv")


def stored(subject: str) -> dict:
    """Return what R gave when the values were stored."""
    return json.loads((HERE / f"{subject}.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    for chosen in sys.argv[1:] or ("alliance_outcome", "meta_analysis", "path_analysis", "pooling", "question_tables", "two_stage"):
        (HERE / f"{chosen}.json").write_text(json.dumps(computed(chosen), indent=1, sort_keys=True) + "\n", encoding="utf-8")
