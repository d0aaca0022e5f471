"""Structural equation models equal what lavaan gives: estimates, standard errors, fit, score tests."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import structural_reference as reference
from alliance.statistics.structural_fit import Moments, StructuralFit, compare, fit_structural, modification_indices, parse_structural
from needed import needs_r

STORED = reference.stored()
MEASURES = {
    "chisq": "chi2",
    "df": "df",
    "pvalue": "p_value",
    "baseline.chisq": "baseline_chi2",
    "baseline.df": "baseline_df",
    "cfi": "cfi",
    "tli": "tli",
    "rmsea": "rmsea",
    "rmsea.ci.lower": "rmsea_low",
    "rmsea.ci.upper": "rmsea_high",
    "rmsea.pvalue": "rmsea_close_p",
    "srmr": "srmr",
}


def fitted(name: str) -> StructuralFit:
    case = reference.CASES[name]
    settings = case.get("settings", {})
    model = parse_structural(case["model"], std_lv=settings.get("std.lv", False), orthogonal=settings.get("orthogonal", False))
    moments = [Moments(**one) for one in STORED[name]["moments"]]
    return fit_structural(
        model,
        moments,
        mean_structure=settings.get("meanstructure"),
        group_equal=settings.get("group.equal", ()),
        group_partial=settings.get("group.partial", ()),
        fixed_x=settings.get("fixed.x", True),
    )


@needs_r
def test_stored_values_are_what_r_gives_now() -> None:
    now = reference.computed()
    assert now.keys() == STORED.keys()
    for name, case in now.items():
        for key, value in case["fit"].items():
            then = STORED[name]["fit"][key]
            assert value == then if then is None else value == pytest.approx(then, rel=1e-5, abs=1e-7), (name, key)


@pytest.mark.parametrize("name", sorted(reference.CASES))
def test_estimates_and_standard_errors_equal_lavaan(name: str) -> None:
    found = fitted(name)
    assert found.status in ("estimated", "flagged"), found.reason
    ours = reference.table(found.parameters.to_dict("records"))
    theirs = reference.table(STORED[name]["parameters"])
    standard = reference.table(STORED[name]["standardized"])
    assert set(ours.index) == set(theirs.index)
    theirs, standard = theirs.loc[ours.index], standard.loc[ours.index]
    # Units of the estimates differ by the variables' scales: tolerances are relative to the larger of estimate and standard error.
    size = np.maximum(theirs["estimate"].abs(), theirs["std_error"])
    assert ((ours["estimate"] - theirs["estimate"]).abs() / np.maximum(size, 1e-8)).max() < 1e-5
    free = theirs["std_error"] > 0
    assert ours.loc[~free, "std_error"].isna().all()
    assert ours.loc[free, "std_error"].to_numpy() == pytest.approx(theirs.loc[free, "std_error"].to_numpy(), rel=1e-4)
    assert ours["standardized"].to_numpy() == pytest.approx(standard["standardized"].to_numpy(), rel=1e-5, abs=1e-5)
    moving = standard["std_error_standardized"] > 1e-8
    assert ours.loc[moving, "std_error_standardized"].to_numpy() == pytest.approx(
        standard.loc[moving, "std_error_standardized"].to_numpy(), rel=1e-4
    )


@pytest.mark.parametrize("name", sorted(reference.CASES))
def test_fit_measures_equal_lavaan(name: str) -> None:
    found, expected = fitted(name), STORED[name]["fit"]
    assert found.fit is not None
    for key, ours in MEASURES.items():
        if expected[key] is None:
            continue
        assert getattr(found.fit, ours) == pytest.approx(expected[key], rel=1e-4, abs=1e-6), key
    assert found.n_parameters == expected["npar"]
    for key, value in (("logl", found.log_likelihood), ("aic", found.aic), ("bic", found.bic)):
        assert value == pytest.approx(expected[key], rel=1e-7), key


@pytest.mark.parametrize("name", sorted(name for name, case in reference.CASES.items() if case.get("scores")))
def test_score_tests_equal_lavaan(name: str) -> None:
    ours = modification_indices(fitted(name))
    expected = STORED[name]["scores"]
    added = reference.table(ours[ours["kind"] != "equal"].to_dict("records"))
    theirs = reference.table(expected["added"])
    # lavaan turns regressions round, too; such a model is not one to choose from.
    common = theirs.index[theirs["op"] != "~"]
    assert len(common) > 20
    assert set(common) == set(added.index)
    for column, key, tolerance in (("chi2", "chi2", 1e-4), ("change", "change", 1e-4), ("change_standardized", "standardized", 1e-4)):
        assert added.loc[common, column].to_numpy() == pytest.approx(theirs.loc[common, key].to_numpy(), rel=tolerance, abs=1e-5), column
    if expected["equal"]:
        equal = reference.table(ours[ours["kind"] == "equal"].to_dict("records"))
        theirs = reference.table(expected["equal"])
        assert equal.loc[theirs.index, "chi2"].to_numpy() == pytest.approx(theirs["chi2"].to_numpy(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", ["second_order", "democracy", "occasions", "methods"])
def test_covariances_of_factors_equal_lavaan(name: str) -> None:
    for ours, theirs in zip(fitted(name).latent_covariances, STORED[name]["latent"], strict=True):
        assert ours.to_numpy() == pytest.approx(np.array(theirs), rel=1e-5, abs=1e-7)


def test_invariance_of_holzinger_and_swineford_is_reproduced() -> None:
    # Published in lavaan's tutorial (Rosseel, 2012).
    chain = [fitted(name) for name in ("configural", "metric", "scalar", "strict")]
    assert [one.fit.chi2 for one in chain] == pytest.approx([115.851, 124.044, 164.103, 181.511], abs=5e-4)
    assert [one.fit.df for one in chain] == [48, 54, 60, 69]
    step = compare(chain[2], chain[1])
    assert (step.chi2, step.df) == (pytest.approx(40.059, abs=5e-4), 6)
    assert math.isclose(step.delta_cfi, chain[2].fit.cfi - chain[1].fit.cfi)


def test_growth_of_the_demo_is_reproduced() -> None:
    assert fitted("growth").fit.chi2 == pytest.approx(8.069, abs=5e-4)
    assert isinstance(fitted("growth").parameters, pd.DataFrame)
