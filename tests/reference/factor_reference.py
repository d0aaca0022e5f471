"""Simulated answers of the reference test of factor models, and the values that lavaan gives for them.

``PYTHONPATH=scripts:tests python tests/reference/factor_reference.py`` computes the stored values again (needs Rscript).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import r_script
from alliance.questions.measurement.factor_models import FactorModel, instrument_models
from alliance.questions.site_data import SiteData
from alliance.statistics.covariance import olkin_finn
from alliance.statistics.rater_model import model_of
from needed import REAL_DATA
from unit.simulated_items import REGISTRY, bifactor_answers, item_frame, item_site, raters_scores, wai_site

HERE = Path(__file__).resolve().parent
SAI = REAL_DATA / "psychtools_sai" / "sai.csv"
ITEMS = list(range(1, 13))
TWO = ["client.task", "client.bond", "therapist.task", "therapist.bond"]
THREE = [f"{rater}.{scale}" for rater in ("client", "observer", "therapist") for scale in ("bond", "goal", "task")]
FACTOR = [0, 0, 1, 1, 1]


def wai() -> SiteData:
    """Return a site with the WAI-S of 300 clients of 30 therapists."""
    return wai_site("a", 300, 30, 5)


def ordinal_site() -> SiteData:
    """Return a site with the WAI-SR (five answers an item) of 250 clients, therapists not known."""
    return item_site("o", {"wai_sr": item_frame("wai_sr", bifactor_answers("wai_sr", 250, np.random.default_rng(8)))})


def raters() -> SiteData:
    """Return a site whose clients, therapists and observers rated the same sessions of 280 clients."""
    random = np.random.default_rng(11)
    therapist_no = random.integers(1, 31, 280)
    scores = raters_scores(280, random, observer=(0.4, 0.5), therapist_no=therapist_no)
    return item_site("r", {}, scores=scores, n=280, therapist_no=therapist_no)


def rows_of(site: SiteData, instrument: str) -> pd.DataFrame:
    """Return turned answers and therapists."""
    known = REGISTRY[instrument]
    frame = site.ratings[instrument]
    answers = frame[[f"i{item}" for item in range(1, known.n_items + 1)]].copy()
    for item in known.reverse:
        answers[f"i{item}"] = known.response.min + known.response.max - answers[f"i{item}"]
    return answers.assign(therapist=frame["therapist_no"].astype("float64"))


def rater_rows(site: SiteData) -> pd.DataFrame:
    """Return the scales of all raters and therapists, one row a client."""
    named = site.scores.assign(name=site.scores["rater"] + "." + site.scores["scale"])
    wide = named.pivot(index="client_no", columns="name", values="score_mean")
    therapists = site.clients.set_index("client_no")["therapist_no"].astype("float64")
    return wide.assign(therapist=therapists.reindex(wide.index)).reset_index(drop=True)


def _bifactor(model: FactorModel) -> str:
    """Return the bifactor model with omega hierarchical, omegas of subscales and ECV as defined parameters."""
    items = list(model.indicators)
    at = {item: place + 1 for place, item in enumerate(items)}
    lines = ["general =~ " + " + ".join(f"g{at[item]}*{item}" for item in items)]
    lines += [f"{factor} =~ " + " + ".join(f"s{at[item]}*{item}" for item in names) for factor, names in model.factors.items()]
    lines += [f"{item} ~~ e{at[item]}*{item}" for item in items]

    def total(letter: str, names: Any) -> str:
        return "(" + " + ".join(f"{letter}{at[item]}" for item in names) + ")"

    of_scales = {factor: f"{total('s', names)}^2" for factor, names in model.factors.items()}
    general = f"{total('g', items)}^2"
    lines.append(f"omega_hierarchical := {general}/({general} + {' + '.join(of_scales.values())} + {total('e', items)})")
    for factor, names in model.factors.items():
        own, shared = of_scales[factor], f"{total('g', names)}^2"
        lines.append(f"omega_{factor} := {own}/({own} + {shared} + {total('e', names)})")
    shares = {letter: [f"{letter}{p}^2/(g{p}^2 + s{p}^2 + e{p})" for p in at.values()] for letter in "gs"}
    lines.append(f"ecv := ({' + '.join(shares['g'])})/({' + '.join(shares['g'] + shares['s'])})")
    return "\n".join(lines)


POSITIVE = ("calm", "secure", "at.ease", "rested", "comfortable", "confident", "relaxed", "content", "joyful", "pleasant")
NEGATIVE = ("tense", "regretful", "upset", "worrying", "anxious", "nervous", "jittery", "high.strung", "worried", "rattled")
SCALES = {"positive": POSITIVE, "negative": NEGATIVE}


def sai() -> pd.DataFrame:
    """Return real answers to twenty items (SOURCE.txt beside the file): the first occasion of every person of three studies, complete."""
    table = pd.read_csv(SAI)
    table = table[table["study"].isin(["RIM", "SAM", "XRAY"])].sort_values(["study", "id", "time"], kind="stable")
    items = table.drop_duplicates(["study", "id"])[["study", *POSITIVE, *NEGATIVE]].dropna()
    items[list(NEGATIVE)] = 5 - items[list(NEGATIVE)]
    return items.reset_index(drop=True)


def correlations() -> tuple[np.ndarray, np.ndarray]:
    """Return correlations of five variables of two factors in 200 clients, and their sampling covariance."""
    loadings = np.array([0.8, 0.7, 0.6, 0.75, 0.65])
    between = np.where(np.equal.outer(FACTOR, FACTOR), 1, 0.7)
    population = np.outer(loadings, loadings) * between
    np.fill_diagonal(population, 1)
    rows = np.random.default_rng(13).multivariate_normal(np.zeros(5), population, 200)
    r = np.corrcoef(rows, rowvar=False)
    return r, olkin_finn(r, 200)


def cases() -> dict[str, dict[str, Any]]:
    """Return the models that lavaan fits, by name."""
    models = {model.name: model for model in instrument_models(REGISTRY["wai_s"], ITEMS)}
    against = {"theory": "one_factor", "bond_task_goal": "one_factor", "bifactor": "theory"}
    found: dict[str, dict[str, Any]] = {}
    for name, model in models.items():
        syntax = _bifactor(model) if model.general else model.syntax
        common = {"data": "wai_s", "model": syntax, "orthogonal": bool(model.general)}
        found[f"robust.{name}"] = {**common, "cluster": True}
        found[f"normal.{name}"] = common
        for kind in ("robust", "normal"):
            if name in against:
                found[f"{kind}.{name}"] = {**found[f"{kind}.{name}"], "against": f"{kind}.{against[name]}"}
    one = "alliance =~ " + " + ".join(f"i{item}" for item in ITEMS)
    for model in (FactorModel("one_factor", {"calmness": (*POSITIVE, *NEGATIVE)}), FactorModel("theory", SCALES)):
        found[f"sai.{model.name}"] = {"data": "sai", "model": model.syntax}
    found["sai.bifactor"] = {"data": "sai", "model": _bifactor(FactorModel("bifactor", SCALES, "general")), "orthogonal": True}
    found["sai.theory"]["against"] = "sai.one_factor"
    found["ordinal"] = {"data": "wai_sr", "model": one, "ordinal": True}
    found["raters.two"] = {"data": "raters", "model": model_of("client", TWO).syntax, "cluster": True}
    found["raters.three"] = {"data": "raters", "model": model_of("client", THREE).syntax, "cluster": True}
    found["raters.normal"] = {"data": "raters", "model": model_of("client", THREE).syntax}
    return found


def computed() -> dict[str, Any]:
    """Return what R gives now; without the real data where they are not there."""
    with tempfile.TemporaryDirectory() as folder:
        rows_of(wai(), "wai_s").to_csv(Path(folder) / "wai_s.csv", index=False)
        rows_of(ordinal_site(), "wai_sr").drop(columns="therapist").to_csv(Path(folder) / "wai_sr.csv", index=False)
        models = cases()
        if SAI.is_file():
            sai().drop(columns="study").to_csv(Path(folder) / "sai.csv", index=False)
        else:
            models = {name: case for name, case in models.items() if case["data"] != "sai"}
        rater_rows(raters()).to_csv(Path(folder) / "raters.csv", index=False)
        (Path(folder) / "models.json").write_text(json.dumps(models), encoding="utf-8")
        r, v = correlations()
        given = {"correlation": r.ravel().tolist(), "vcov": v.ravel().tolist(), "factor": FACTOR}
        (Path(folder) / "correlations.json").write_text(json.dumps(given), encoding="utf-8")
        return r_script.values("factor_models.R", folder)


def stored() -> dict[str, Any]:
    """Return what R gave when the values were stored."""
    return json.loads((HERE / "factor_models.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    (HERE / "factor_models.json").write_text(json.dumps(computed(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
