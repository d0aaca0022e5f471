"""Cases of measurement invariance whose values lavaan gives, and the rows it gets; run this file to store its values again."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import r_script
from alliance.statistics.resampling import generator

HERE = Path(__file__).resolve().parent
FACTORS = {"task": ("i1", "i2", "i3", "i4"), "bond": ("i5", "i6", "i7", "i8")}
SCHOOL_FACTORS = {"visual": ("x1", "x2", "x3"), "textual": ("x4", "x5", "x6"), "speed": ("x7", "x8", "x9")}
ITEMS = tuple(item for items in FACTORS.values() for item in items)
SCHOOL_ITEMS = tuple(item for items in SCHOOL_FACTORS.values() for item in items)
OCCASIONS = ("client", "therapist", "observer")
EQUAL = {
    "configural": [],
    "metric": ["loadings"],
    "scalar": ["loadings", "intercepts"],
    "strict": ["loadings", "intercepts", "residuals"],
}
PARTIAL = {"metric": ["bond=~i6"], "scalar": ["bond=~i6", "i6~1", "i3~1"]}
"""Freed in the rows of groups, where these differ."""


def groups() -> pd.DataFrame:
    """Return answers of clients of three sites; the loading of i6 and the intercepts of i3 and i6 differ at one of them."""
    random = generator(3, "invariance_reference", "groups")
    frames = []
    for site, n, mean, spread in (("north", 160, 0.0, 1.0), ("east", 120, 0.4, 1.2), ("west", 90, -0.3, 0.8)):
        task = random.standard_normal(n)
        factors = {"task": mean + spread * task, "bond": mean + spread * (0.6 * task + 0.8 * random.standard_normal(n))}
        answers = {}
        for factor, items in FACTORS.items():
            for place, item in enumerate(items):
                loading = 0.35 if (item, site) == ("i6", "east") else 0.7 + 0.1 * place
                level = 4 + 0.2 * place + (0.9 if site == "east" and item in ("i3", "i6") else 0.0)
                answers[item] = level + loading * factors[factor] + 0.7 * random.standard_normal(n)
        frames.append(pd.DataFrame(answers).assign(site=site))
    return pd.concat(frames, ignore_index=True)


def occasions() -> pd.DataFrame:
    """Return answers of the same clients by three raters; the intercept of i2 differs for therapists."""
    random = generator(3, "invariance_reference", "occasions")
    n = 260
    common = random.standard_normal((n, 2)) @ np.array([[1.0, 0.5], [0.0, 0.9]])
    own = 0.4 * random.standard_normal((n, len(ITEMS)))
    answers = {}
    for rater, mean, spread in zip(OCCASIONS, (0.0, -0.4, 0.3), (1.0, 0.8, 0.9)):
        factors = mean + spread * (0.7 * common + 0.7 * random.standard_normal((n, 2)))
        for place, item in enumerate(ITEMS):
            level = 4 + 0.1 * place + (0.7 if (item, rater) == ("i2", "therapist") else 0.0)
            answers[f"{item}.{rater}"] = level + 0.8 * factors[:, place // 4] + own[:, place] + 0.6 * random.standard_normal(n)
    return pd.DataFrame(answers)


def occasions_model(step: str, freed: tuple[str, ...] = (), raters: tuple[str, ...] = OCCASIONS) -> str:
    """Return lavaan's syntax of one step over raters; ``freed`` are intercepts."""
    equal = EQUAL[step]
    lines = []
    for place, rater in enumerate(raters):
        for factor, items in FACTORS.items():
            label = (lambda item: f"l{item}*") if "loadings" in equal else (lambda item: "")
            lines.append(f"{factor}.{rater} =~ " + " + ".join(f"{label(item)}{item}.{rater}" for item in items))
            if place and "loadings" in equal:
                lines.append(f"{factor}.{rater} ~~ NA*{factor}.{rater}")
            if place and "intercepts" in equal:
                lines.append(f"{factor}.{rater} ~ NA*1")
        for item in ITEMS:
            lines.append(f"{item}.{rater} ~ {f'm{item}*' if 'intercepts' in equal and item not in freed else ''}1")
            lines.append(f"{item}.{rater} ~~ {f'e{item}*' if 'residuals' in equal else ''}{item}.{rater}")
    for item in ITEMS:
        lines += [f"{item}.{one} ~~ {item}.{other}" for at, one in enumerate(raters) for other in raters[at + 1 :]]
    return "\n".join(lines)


def _measured(factors: dict[str, tuple[str, ...]]) -> str:
    return "\n".join(f"{name} =~ {' + '.join(items)}" for name, items in factors.items())


def _terms(step: str, factors: dict[str, tuple[str, ...]]) -> list[list[str]]:
    """Return, for each item, the parameter whose equality a step adds."""
    if step == "metric":
        return [[f"{factor} =~ {item}"] for factor, items in factors.items() for item in items]
    return [[f"{item} ~1 "] for items in factors.values() for item in items]


def cases() -> dict[str, dict]:
    """Return the models that lavaan fits."""
    found = {}
    for rows, factors, group in (("schools", SCHOOL_FACTORS, "school"), ("groups", FACTORS, "site")):
        for step, equal in EQUAL.items():
            release = _terms(step, factors) if step in ("metric", "scalar") else []
            found[f"{rows}_{step}"] = {
                "model": _measured(factors), "rows": rows, "group": group, "group_equal": equal, "release": release
            }  # fmt: skip
    for step, partial in PARTIAL.items():
        found[f"groups_partial_{step}"] = {
            "model": _measured(FACTORS), "rows": "groups", "group": "site", "group_equal": EQUAL[step], "group_partial": partial
        }  # fmt: skip
    for step in EQUAL:
        release = []
        if step in ("metric", "scalar"):
            release = [[f"{name}.{rater} =~ {item}.{rater}" for rater in OCCASIONS] for name, items in FACTORS.items() for item in items]
        if step == "scalar":
            release = [[f"{item}.{rater} ~1 " for rater in OCCASIONS] for item in ITEMS]
        found[f"occasions_{step}"] = {"model": occasions_model(step), "rows": "occasions", "release": release}
    found["occasions_partial_scalar"] = {"model": occasions_model("scalar", ("i2",)), "rows": "occasions"}
    for factor in FACTORS:
        found[f"aligned_{factor}"] = {"model": _measured({factor: FACTORS[factor]}), "rows": "groups", "group": "site", "align": True}
    return found


def computed() -> dict:
    """Return what lavaan gives now."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        groups().to_csv(folder / "groups.csv", index=False, float_format="%.17g")
        occasions().to_csv(folder / "occasions.csv", index=False, float_format="%.17g")
        (folder / "cases.json").write_text(json.dumps(cases()), encoding="utf-8")
        return r_script.values("invariance.R", folder)


def stored() -> dict:
    """Return what lavaan gave when the values were stored."""
    return json.loads((HERE / "invariance.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    (HERE / "invariance.json").write_text(json.dumps(computed(), indent=1) + "\n", encoding="utf-8")
