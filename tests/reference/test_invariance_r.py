"""Tests of measurement invariance give what lavaan gives: fit of every step, score tests, means of factors."""

from __future__ import annotations

import invariance_reference as reference
import numpy as np
import pandas as pd
import pytest
from alliance.statistics.alignment import align
from alliance.statistics.invariance import (
    Cutoffs,
    Invariance,
    Step,
    aligned_differences,
    invariance_of_groups,
    invariance_of_occasions,
)
from alliance.statistics.structural_fit import Moments, fit_structural, parse_structural, score_test
from alliance.statistics.structural_model import layout
from needed import needs_r
from test_statistics_r import leaves

NEVER = Cutoffs(2.0, 2.0, 2.0, 2.0)
STEPS = tuple(reference.EQUAL)
FIT = {
    "chisq": "chi2",
    "df": "df",
    "pvalue": "p_value",
    "cfi": "cfi",
    "rmsea": "rmsea",
    "rmsea.ci.lower": "rmsea_low",
    "rmsea.ci.upper": "rmsea_high",
    "srmr": "srmr",
}


def moments_of(frame: pd.DataFrame) -> Moments:
    return Moments(len(frame), frame.cov().to_numpy(), frame.mean().to_numpy(), tuple(frame.columns))


def of_groups() -> tuple[list[Moments], list[str]]:
    rows = reference.groups()
    names = list(dict.fromkeys(rows["site"]))
    return [moments_of(rows.loc[rows["site"].eq(name), list(reference.ITEMS)]) for name in names], names


@pytest.fixture(scope="module")
def groups() -> Invariance:
    return invariance_of_groups(reference.FACTORS, *of_groups(), NEVER)


@pytest.fixture(scope="module")
def occasions() -> Invariance:
    return invariance_of_occasions(reference.FACTORS, moments_of(reference.occasions()), reference.OCCASIONS, NEVER)


def step_of(found: Invariance, model: str) -> Step:
    return next(step for step in found.steps if step.model == model)


def equal_fit(step: Step, expected: dict) -> None:
    assert step.fitted.status == "estimated"
    for theirs, ours in FIT.items():
        # Where lavaan's optimiser stops, chi-squared is right to 1e-6; its p value is that of a chi-squared far in the tail.
        assert getattr(step.fitted.fit, ours) == pytest.approx(expected["fit"][theirs], rel=1e-4, abs=1e-6), theirs


@needs_r
def test_stored_values_are_what_r_gives_now() -> None:
    then, now = leaves(reference.stored()), leaves(reference.computed())
    assert then.keys() == now.keys()
    for path, value in then.items():
        if isinstance(value, float):
            assert now[path] == pytest.approx(value, rel=1e-5, abs=1e-6), path
        else:
            assert now[path] == value, path


@pytest.mark.parametrize("model", STEPS)
@pytest.mark.parametrize("rows", ["groups", "occasions"])
def test_every_step_fits_as_in_lavaan(rows: str, model: str, request: pytest.FixtureRequest) -> None:
    equal_fit(step_of(request.getfixturevalue(rows), model), reference.stored()[f"{rows}_{model}"])


@pytest.mark.parametrize("model", ["metric", "scalar", "strict"])
def test_differences_of_chi_squared_are_those_of_the_fits(groups: Invariance, model: str) -> None:
    expected, before = reference.stored()[f"groups_{model}"], reference.stored()[f"groups_{STEPS[STEPS.index(model) - 1]}"]
    found = step_of(groups, model).comparison
    assert found.chi2 == pytest.approx(expected["fit"]["chisq"] - before["fit"]["chisq"], rel=1e-4)
    assert found.df == expected["fit"]["df"] - before["fit"]["df"]
    assert found.delta_cfi == pytest.approx(expected["fit"]["cfi"] - before["fit"]["cfi"], abs=1e-6)
    assert found.delta_rmsea == pytest.approx(expected["fit"]["rmsea"] - before["fit"]["rmsea"], abs=1e-6)
    assert found.delta_srmr == pytest.approx(expected["fit"]["srmr"] - before["fit"]["srmr"], abs=1e-6)


def test_schools_of_holzinger_and_swineford_fit_as_published() -> None:
    """lavaan's own example; the table of its tutorial has chi-squared 115.851, 124.044, 164.103 and 181.511."""
    stored = [reference.stored()[f"schools_{model}"]["fit"]["chisq"] for model in STEPS]
    assert [round(value, 3) for value in stored] == [115.851, 124.044, 164.103, 181.511]


@pytest.mark.parametrize("rows", ["groups", "occasions"])
def test_means_of_factors_and_their_errors_equal_lavaan(rows: str, request: pytest.FixtureRequest) -> None:
    found = request.getfixturevalue(rows).latent_means()
    labels = reference.stored()["groups_scalar"]["labels"]
    expected = reference.stored()[f"{rows}_scalar"]["means"]
    assert len(expected) == 2 * (len(found["group"].unique()) - 1)
    for one in expected:
        factor, group = one["factor"].split(".") if rows == "occasions" else (one["factor"], labels[one["group"] - 1])
        own = found[found["factor"].eq(factor) & found["group"].eq(group)]
        # lavaan's optimiser stops at a chi-squared 5e-8 higher.
        assert own["mean"].item() == pytest.approx(one["estimate"], rel=1e-4)
        assert own["std_error"].item() == pytest.approx(one["std_error"], rel=1e-4)


@pytest.mark.parametrize("model", ["metric", "scalar"])
def test_score_tests_of_groups_equal_lavaan(model: str) -> None:
    moments, names = of_groups()
    text = "\n".join(f"{name} =~ {' + '.join(items)}" for name, items in reference.FACTORS.items())
    measured = parse_structural(text, std_lv=True)
    equal = reference.EQUAL[model]
    fitted = fit_structural(measured, moments, groups=names, mean_structure=True, group_equal=equal)
    freed = [f"{name} =~ {item}" for name, items in reference.FACTORS.items() for item in items]
    freed = freed if model == "metric" else [f"{item} ~ 1" for item in reference.ITEMS]
    plans = [layout(measured, 3, mean_structure=True, group_equal=equal, group_partial=[one]) for one in freed]
    tests = score_test(fitted, plans)
    assert [df for _, df in tests] == [2] * len(plans)
    assert [chi2 for chi2, _ in tests] == pytest.approx(reference.stored()[f"groups_{model}"]["scores"], rel=1e-4, abs=1e-4)


def test_score_tests_of_occasions_equal_lavaan() -> None:
    fitted = fit_structural(parse_structural(reference.occasions_model("scalar"), std_lv=True), moments_of(reference.occasions()))
    plans = [
        layout(parse_structural(reference.occasions_model("scalar", (item,)), std_lv=True), mean_structure=True) for item in reference.ITEMS
    ]
    tests = score_test(fitted, plans)
    assert [df for _, df in tests] == [2] * len(plans)
    assert [chi2 for chi2, _ in tests] == pytest.approx(reference.stored()["occasions_scalar"]["scores"], rel=1e-4, abs=1e-4)


def test_score_tests_need_models_with_the_same_terms() -> None:
    moments, names = of_groups()
    fitted = fit_structural(parse_structural("f =~ i1 + i2 + i3", std_lv=True), moments, groups=names, group_equal=["loadings"])
    with pytest.raises(ValueError, match="same terms"):
        score_test(fitted, [layout(parse_structural("f =~ i1 + i2", std_lv=True), 3, mean_structure=True)])


@pytest.mark.parametrize("factor", reference.FACTORS)
def test_alignment_equals_a_plain_search_in_r(factor: str) -> None:
    expected = reference.stored()[f"aligned_{factor}"]
    found = align(expected["loadings_before"], expected["intercepts_before"], expected["n"])
    assert found.loss == pytest.approx(expected["loss"], rel=1e-9)
    for name in ("mean", "deviation"):
        assert getattr(found, name) == pytest.approx(np.array(expected[name]), abs=1e-5)
    for name in ("loadings", "intercepts"):
        assert getattr(found, name) == pytest.approx(np.array(expected[name]), abs=1e-5)


def test_differences_after_alignment_are_those_of_lavaan_and_r() -> None:
    moments, names = of_groups()
    one = {"task": reference.FACTORS["task"]}
    found = invariance_of_groups(one, moments, names)
    table = aligned_differences(found.steps[0].fitted, one, moments, names)
    expected = reference.stored()["aligned_task"]
    for kind, name in (("loading", "loadings"), ("intercept", "intercepts")):
        values = np.array(expected[name])
        away = values - np.average(values, axis=0, weights=expected["n"])
        own = table[table["kind"].eq(kind)]
        assert own["difference"].to_numpy() == pytest.approx(away.ravel(), abs=1e-4)
    planted = table[table["kind"].eq("intercept") & table["item"].eq("i3") & table["group"].eq("east")]
    others = table[table["kind"].eq("intercept") & table["item"].ne("i3")]
    assert planted["difference"].item() > 0.5 and others["difference"].abs().max() < 0.2


def test_partial_invariance_of_groups_frees_what_differs_and_fits_as_in_lavaan() -> None:
    found = invariance_of_groups(reference.FACTORS, *of_groups(), largest_freed_share=0.25)
    assert [(step.model, step.decision) for step in found.steps] == [
        ("configural", "holds"),
        ("metric", "fails"),
        ("partial_metric", "holds"),
        ("scalar", "not_estimable"),
        ("partial_scalar", "holds"),
        ("strict", "not_estimable"),
    ]
    metric, scalar = step_of(found, "partial_metric"), step_of(found, "partial_scalar")
    assert [(one.kind, one.item) for one in metric.freed] == [("loading", "i6")]
    assert metric.freed[0].chi2 == pytest.approx(max(reference.stored()["groups_metric"]["scores"]), rel=1e-4)
    assert [(one.kind, one.item, one.chi2 is None) for one in scalar.freed] == [("intercept", "i6", True), ("intercept", "i3", False)]
    equal_fit(metric, reference.stored()["groups_partial_metric"])
    equal_fit(scalar, reference.stored()["groups_partial_scalar"])
    means = found.latent_means().set_index(["group", "factor"])
    for one in reference.stored()["groups_partial_scalar"]["means"]:
        own = means.loc[reference.stored()["groups_scalar"]["labels"][one["group"] - 1], one["factor"]]
        assert own["mean"] == pytest.approx(one["estimate"], rel=1e-4)
        assert own["std_error"] == pytest.approx(one["std_error"], rel=1e-4)


def test_partial_invariance_of_occasions_frees_what_differs_and_fits_as_in_lavaan() -> None:
    found = invariance_of_occasions(reference.FACTORS, moments_of(reference.occasions()), reference.OCCASIONS, Cutoffs(rmsea_rise=0.01))
    step = step_of(found, "partial_scalar")
    assert step.decision == "holds"
    assert [(one.kind, one.item) for one in step.freed] == [("intercept", "i2")]
    assert step.freed[0].chi2 == pytest.approx(max(reference.stored()["occasions_scalar"]["scores"]), rel=1e-4)
    equal_fit(step, reference.stored()["occasions_partial_scalar"])
