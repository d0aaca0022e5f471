"""semopy's maximum agrees with ours where it can be compared, and the reason is named where not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from alliance.statistics import semopy_check
from alliance.statistics.semopy_check import largest_difference
from alliance.statistics.structural_fit import Moments, fit_structural, parse_structural

MODELS = {
    "saturated": "m ~ a*x + z\ny ~ b*m + x + z\nindirect := a*b",
    "overidentified": "m ~ x + z\nm2 ~ m\ny ~ m2",
    "two_outcomes": "m ~ x\ny ~ m\nm2 ~ m + z",
    "fixed": "m ~ x + 0*z\nm2 ~ 2*m\ny ~ m2 + x",
    "latent": "f =~ i1 + i2 + i3\nf ~ x\ny ~ f + z",
    "measurement": "f =~ i1 + i2 + i3\ng =~ m + m2 + y",
}


def rows() -> pd.DataFrame:
    random = np.random.default_rng(3)
    x, z, f = random.standard_normal((3, 300))
    m = 0.4 * x + 0.2 * z + random.standard_normal(300)
    m2 = 0.5 * m + random.standard_normal(300)
    y = 0.3 * m + 0.2 * m2 + 0.3 * f + random.standard_normal(300)
    items = {f"i{item}": f + 0.3 * x + 0.7 * random.standard_normal(300) for item in (1, 2, 3)}
    return pd.DataFrame({"x": x, "z": 100 * z, "m": m / 50, "m2": m2, "y": 20 + 9 * y, **items})


@pytest.mark.parametrize("name", list(MODELS))
def test_semopy_finds_the_same_maximum(name: str) -> None:
    data = rows()
    moments = Moments(300, data.cov(), None, list(data.columns))
    difference, reason = largest_difference(fit_structural(parse_structural(MODELS[name]), moments))
    assert reason == ""
    assert difference == pytest.approx(0, abs=2e-5)


def test_a_solution_that_is_not_the_maximum_is_found_out() -> None:
    fitted = fit_structural(parse_structural(MODELS["overidentified"]), rows=rows())
    solution = fitted._solution
    moved = dataclasses.replace(fitted, _solution=dataclasses.replace(solution, free=solution.free + 0.01))
    assert largest_difference(moved)[0] == pytest.approx(0.01, abs=1e-4)


@pytest.mark.parametrize(
    ("syntax", "settings", "reason"),
    [
        ("m ~ a*x\nm2 ~ a*x", {}, "constraints"),
        ("m ~ x\nm ~ 0*1", {}, "means"),
        ("m ~ x", {"missing": "ml"}, "complete"),
        ("m ~ x\nx ~~ 0*z\ny ~ z", {}, "exogenous"),
    ],
)
def test_what_semopy_cannot_fit_has_a_reason(syntax: str, settings: dict, reason: str) -> None:
    data = rows()
    if settings:
        data.loc[:5, "m"] = np.nan
    difference, why = largest_difference(fit_structural(parse_structural(syntax), rows=data, **settings))
    assert difference is None
    assert reason in why


def test_groups_and_factors_of_unit_variance_have_a_reason() -> None:
    data = rows()
    assert "one group" in largest_difference(fit_structural(parse_structural("m ~ x"), rows=[data, data]))[1]
    free = fit_structural(parse_structural("f =~ i1 + i2 + i3", std_lv=True), rows=data)
    assert "first loading" in largest_difference(free)[1]


def test_a_semopy_that_stops_before_the_maximum_is_told_from_one_that_fits_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = Moments(200, np.array([[1.0, 0.4], [0.4, 1.0]]), None, ["m", "x"])
    fitted = fit_structural(parse_structural("m ~ x"), moments)
    true = semopy_check._estimates

    def early(*given: object) -> tuple[dict[tuple[str, str, str], float], str]:
        found, fault = true(*given)
        return {key: value + (0.05 if key[1] == "~" else 0.0) for key, value in found.items()}, fault

    assert largest_difference(fitted)[1] == ""
    monkeypatch.setattr(semopy_check, "_estimates", early)
    difference, reason = largest_difference(fitted)
    assert difference == pytest.approx(0.05, abs=1e-5)
    assert reason.startswith("semopy stopped before the maximum")
