"""Models whose values lavaan gives, and the rows it gets; run this file to store its values again."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import r_script
from alliance.statistics.resampling import generator

HERE = Path(__file__).resolve().parent
THREE = "visual =~ x1 + x2 + x3\ntextual =~ x4 + x5 + x6\nspeed =~ x7 + x8 + x9"
SCHOOLS = {"group": "school"}
DEMOCRACY = """
ind60 =~ x1 + x2 + x3
dem60 =~ y1 + {a}y2 + {b}y3 + {c}y4
dem65 =~ y5 + {a}y6 + {b}y7 + {c}y8
dem60 ~ p1*ind60
dem65 ~ p2*ind60 + p3*dem60
y1 ~~ y5
y2 ~~ y4 + y6
y3 ~~ y7
y4 ~~ y8
y6 ~~ y8
indirect := p1*p3
total := p2 + p1*p3
"""
GROWTH = """
i =~ 1*t1 + 1*t2 + 1*t3 + 1*t4
s =~ 0*t1 + 1*t2 + 2*t3 + 3*t4
t1 ~ 0*1
t2 ~ 0*1
t3 ~ 0*1
t4 ~ 0*1
"""
OCCASIONS = """
before =~ l1*a1 + l2*a2 + l3*a3 + l4*a4
after =~ l1*b1 + l2*b2 + l3*b3 + l4*b4
a1 ~~ b1
a2 ~~ b2
a3 ~~ b3
a4 ~~ b4
a1 ~ i1*1
a2 ~ i2*1
a3 ~ i3*1
a4 ~ i4*1
b1 ~ i1*1
b2 ~ i2*1
b3 ~ i3*1
b4 ~ i4*1
after ~ 1
"""
CASES: dict[str, dict] = {
    "three_factors": {"model": THREE, "scores": True},
    "three_factors_std_lv": {"model": THREE, "settings": {"std.lv": True, "meanstructure": True}},
    "orthogonal": {"model": THREE, "settings": {"orthogonal": True}},
    "configural": {"model": THREE, "settings": SCHOOLS},
    "metric": {"model": THREE, "settings": {**SCHOOLS, "group.equal": ["loadings"]}},
    "scalar": {"model": THREE, "settings": {**SCHOOLS, "group.equal": ["loadings", "intercepts"]}, "scores": True},
    "strict": {"model": THREE, "settings": {**SCHOOLS, "group.equal": ["loadings", "intercepts", "residuals"]}},
    "means": {
        "model": THREE,
        "settings": {
            **SCHOOLS,
            "group.equal": ["loadings", "intercepts", "residuals", "lv.variances", "lv.covariances", "means"],
        },
    },
    "partial": {
        "model": THREE,
        "settings": {**SCHOOLS, "group.equal": ["loadings", "intercepts"], "group.partial": ["visual=~x2", "x3~1", "x7~1"]},
        "scores": True,
    },
    "scalar_std_lv": {"model": THREE, "settings": {**SCHOOLS, "std.lv": True, "group.equal": ["loadings", "intercepts"]}},
    "group_labels": {
        "model": "visual =~ x1 + c(a, b)*x2 + c(0.7, NA)*x3 + x9\ntextual =~ x4 + d*x5 + x6\n"
        "visual ~~ c(v1, v2)*visual\nratio := v1/v2\ndiff := a - b",
        "settings": SCHOOLS,
    },
    "effects_coding": {
        "model": "visual =~ NA*x1 + a*x1 + b*x2 + c*x3\ntextual =~ NA*x4 + d*x4 + e*x5 + f*x6\na + b + c == 3\nd == 1\ne == f",
    },
    "bifactor": {
        "model": "general =~ x1 + x2 + x3 + x4 + x5 + x6 + x7 + x8 + x9\nverbal =~ x4 + x5 + x6\nspeed =~ x7 + x8 + x9",
        "settings": {"std.lv": True, "orthogonal": True},
    },
    "second_order": {"model": THREE + "\nability =~ visual + textual + speed"},
    "regression_on_factors": {
        "model": THREE + "\nspeed ~ visual + ageyr + sex\ntextual ~ ageyr\nvisual ~ sex",
        "settings": {"fixed.x": False},
    },
    "regression_known_x": {
        "model": THREE + "\nspeed ~ visual + ageyr + sex\ntextual ~ ageyr\nvisual ~ sex",
        "settings": {"fixed.x": True, "meanstructure": True},
    },
    "one_indicator": {"model": "visual =~ x1 + x2 + x3\nage =~ ageyr\nage ~ visual"},
    "democracy": {"model": DEMOCRACY.format(a="", b="", c=""), "data": "PoliticalDemocracy", "scores": True},
    "democracy_equal": {"model": DEMOCRACY.format(a="a*", b="b*", c="c*"), "data": "PoliticalDemocracy", "scores": True},
    "growth": {"model": GROWTH + "i ~ 1\ns ~ 1", "data": "Demo.growth"},
    "growth_covariates": {
        "model": GROWTH + "i ~ x1 + x2 + 1\ns ~ x1 + x2 + 1\nt1 ~ c1\nt2 ~ c2\nt3 ~ c3\nt4 ~ c4",
        "data": "Demo.growth",
        "settings": {"fixed.x": False},
    },
    "occasions": {"model": OCCASIONS, "data": "simulated"},
    "four_groups": {
        "model": "before =~ a1 + a2 + a3 + a4\nafter =~ b1 + b2 + b3 + b4\nafter ~ before",
        "data": "simulated",
        "settings": {"group": "site", "group.equal": ["loadings", "intercepts", "regressions"]},
        "scores": True,
    },
    "methods": {
        "model": "trait =~ a1 + a2 + b1 + b2 + b3\nmethod =~ b1 + b2 + b3 + b4\ntrait ~~ 0*method\na3 ~~ 0.2*a1\na3 ~ a4 + method",
        "data": "simulated",
        "settings": {"fixed.x": False},
    },
}  # fmt: skip


TWO = "f =~ x1 + x2 + x3\ng =~ y1 + b*y2 + y3\ng ~ a*f\nproduct := a*b"
ROW_CASES: dict[str, dict] = {
    "mlr": {"model": TWO, "data": "skewed", "settings": {"estimator": "MLR"}},
    "mlr_means": {"model": TWO, "data": "skewed", "settings": {"estimator": "MLR", "meanstructure": True}},
    "mlm": {"model": TWO, "data": "skewed", "settings": {"estimator": "MLM"}},
    "mlm_means": {"model": TWO, "data": "skewed", "settings": {"estimator": "MLM", "meanstructure": True}},
    "cluster": {"model": TWO, "data": "skewed", "settings": {"estimator": "MLR", "cluster": "therapist"}},
    "mlr_groups": {
        "model": "f =~ x1 + x2 + x3\ng =~ y1 + y2 + y3",
        "data": "skewed",
        "settings": {"estimator": "MLR", "group": "site", "group.equal": ["loadings", "intercepts"]},
    },
    "mlr_groups_free": {
        "model": "f =~ x1 + x2 + x3\ng =~ y1 + y2 + y3",
        "data": "skewed",
        "settings": {"estimator": "MLR", "group": "site", "group.equal": ["loadings"]},
    },
    "mlm_groups": {
        "model": "f =~ x1 + x2 + x3\ng =~ y1 + y2 + y3",
        "data": "skewed",
        "settings": {"estimator": "MLM", "group": "site", "group.equal": ["loadings"]},
    },
    "cluster_groups": {
        "model": "f =~ x1 + x2 + x3\ng =~ y1 + y2 + y3",
        "data": "skewed",
        "settings": {"estimator": "MLR", "cluster": "therapist", "group": "site", "group.equal": ["loadings"]},
    },
    "ml_missing": {"model": TWO, "data": "holes", "settings": {"missing": "ml"}},
    "ml_missing_covariates": {
        "model": "f =~ x1 + x2 + x3\nf ~ y1 + y2\ny3 ~ f + y1",
        "data": "holes",
        "settings": {"missing": "ml"},
    },
    "mlr_missing": {"model": TWO, "data": "holes", "settings": {"missing": "ml", "estimator": "MLR"}},
    "cluster_missing": {"model": TWO, "data": "holes", "settings": {"missing": "ml", "estimator": "MLR", "cluster": "therapist"}},
    "ml_missing_groups": {
        "model": "f =~ x1 + x2 + x3\ng =~ y1 + y2 + y3",
        "data": "holes",
        "settings": {"missing": "ml", "group": "site", "group.equal": ["loadings", "intercepts"]},
    },
    "holzinger_missing": {"model": THREE, "data": "holzinger", "settings": {"missing": "ml"}},
    "holzinger_missing_mlr": {"model": THREE, "data": "holzinger", "settings": {"missing": "ml", "estimator": "MLR"}},
    "holzinger_missing_schools": {
        "model": THREE,
        "data": "holzinger",
        "settings": {"missing": "ml", "group": "school", "group.equal": ["loadings", "intercepts"]},
    },
}  # fmt: skip


def skewed_rows(holes: bool = False) -> pd.DataFrame:
    """Return six skewed items of clients of 40 therapists at two sites, some missing more often where another item is high."""
    random = generator(2, "structural_reference")
    count = 400
    therapist = random.integers(0, 40, count)
    level = random.normal(size=(40, 2))[therapist] * 0.5
    f = level[:, 0] + random.gamma(2.0, size=count) / 2
    g = 0.5 * f + level[:, 1] + random.gamma(1.5, size=count) / 2
    columns = {}
    for item, (name, factor) in enumerate((("x1", f), ("x2", f), ("x3", f), ("y1", g), ("y2", g), ("y3", g))):
        columns[name] = 5 + item + (0.8 + 0.1 * item) * factor + random.gamma(1.0, size=count)
    rows = pd.DataFrame(columns)
    rows["site"] = np.where(therapist < 18, "s1", "s2")
    rows["therapist"] = therapist
    rows = rows.sort_values(["site", "therapist"], kind="stable").reset_index(drop=True)
    if holes:
        for name, other in (("x2", "x1"), ("y1", "x1"), ("y3", "y2")):
            rows.loc[random.uniform(size=count) < 1 / (1 + np.exp(-(rows[other] - rows[other].mean()) + 1.5)), name] = np.nan
        rows.loc[random.uniform(size=count) < 0.08, "x1"] = np.nan
        rows.loc[random.uniform(size=count) < 0.05, "y2"] = np.nan
        rows.loc[[3, 77], ["x1", "x2", "x3", "y1", "y2", "y3"]] = np.nan
    return rows


def computed_rows(data: tuple[str, ...] = ("skewed", "holes")) -> dict:
    """Return what lavaan gives now for models from rows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        skewed_rows().to_csv(folder / "skewed.csv", index=False, float_format="%.17g")
        skewed_rows(holes=True).to_csv(folder / "holes.csv", index=False, float_format="%.17g")
        cases = {key: case for key, case in ROW_CASES.items() if case["data"] in data}
        (folder / "row_models.json").write_text(json.dumps(cases), encoding="utf-8")
        return r_script.values("structural_rows.R", folder)


def simulated_rows() -> pd.DataFrame:
    """Return four items on two occasions of clients of four sites, with means and scales far from 0 and 1."""
    random = generator(1, "structural_reference")
    count = 480
    first = random.normal(size=count)
    second = 0.6 * first + 0.8 * random.normal(size=count) + 0.4
    own = random.normal(size=(count, 4))
    columns = {}
    for name, factor in (("a", first), ("b", second)):
        for item in range(4):
            noise = 0.5 * own[:, item] + 0.7 * random.normal(size=count)
            columns[f"{name}{item + 1}"] = 1.5**item * (3 + (0.7 + 0.1 * item) * factor + noise)
    rows = pd.DataFrame(columns)
    rows["site"] = [f"s{index}" for index in random.integers(1, 5, count)]
    return rows.sort_values("site", kind="stable").reset_index(drop=True)


def computed() -> dict:
    """Return what lavaan gives now."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulated_rows().to_csv(folder / "simulated.csv", index=False, float_format="%.17g")
        cases = {key: {"data": "HolzingerSwineford1939", "settings": {}, **case} for key, case in CASES.items()}
        (folder / "models.json").write_text(json.dumps(cases), encoding="utf-8")
        return r_script.values("structural.R", folder)


def stored(name: str = "structural") -> dict:
    """Return what lavaan gave when the values were stored."""
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))


def table(rows: list[dict]) -> pd.DataFrame:
    """Return a table of lavaan with an index by term and group; covariances in alphabetical order."""
    frame = pd.DataFrame(rows)
    swap = (frame["op"] == "~~") & (frame["lhs"] > frame["rhs"])
    first, second = np.where(swap, frame["rhs"], frame["lhs"]), np.where(swap, frame["lhs"], frame["rhs"])
    group = np.where(frame["op"] == ":=", "", frame["group"].astype(str))
    frame["term"] = [f"{one}{op}{'' if op == ':=' else two}@{which}" for one, op, two, which in zip(first, frame["op"], second, group)]
    return frame.set_index("term")


if __name__ == "__main__":
    (HERE / "structural_rows.json").write_text(json.dumps(computed_rows(), sort_keys=True) + "\n", encoding="utf-8")
    (HERE / "structural.json").write_text(json.dumps(computed(), sort_keys=True) + "\n", encoding="utf-8")
