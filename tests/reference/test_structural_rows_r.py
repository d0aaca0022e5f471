"""Structural equation models from rows equal what lavaan gives: robust errors and tests, clusters, missing values."""

from __future__ import annotations

import pandas as pd
import pytest
import structural_reference as reference
from alliance.statistics.structural_fit import StructuralFit, compare, fit_structural, parse_structural
from needed import needs_r

STORED = reference.stored("structural_rows")
SIMULATED = sorted(name for name, case in reference.ROW_CASES.items() if case["data"] != "holzinger")
HOLZINGER = sorted(set(reference.ROW_CASES) - set(SIMULATED))
PLAIN = {
    "chisq": "chi2",
    "df": "df",
    "baseline.chisq": "baseline_chi2",
    "baseline.df": "baseline_df",
    "cfi": "cfi",
    "tli": "tli",
    "rmsea": "rmsea",
    "srmr": "srmr",
}
SCALED = {
    "chisq.scaled": "chi2",
    "pvalue.scaled": "p_value",
    "baseline.chisq.scaled": "baseline_chi2",
    "cfi.scaled": "cfi",
    "tli.scaled": "tli",
    "rmsea.scaled": "rmsea",
    "rmsea.ci.lower.scaled": "rmsea_low",
    "rmsea.ci.upper.scaled": "rmsea_high",
    "rmsea.pvalue.scaled": "rmsea_close_p",
}
FACTORS = {"chisq.scaling.factor": "scaling", "baseline.chisq.scaling.factor": "baseline_scaling"}
ROBUST = {
    "cfi.robust": "cfi_robust",
    "tli.robust": "tli_robust",
    "rmsea.robust": "rmsea_robust",
    "rmsea.ci.lower.robust": "rmsea_robust_low",
    "rmsea.ci.upper.robust": "rmsea_robust_high",
}


def fitted(name: str, rows: pd.DataFrame | None = None) -> StructuralFit:
    case = reference.ROW_CASES[name]
    settings = case["settings"]
    if rows is None:
        rows = reference.skewed_rows(holes=case["data"] == "holes")
    group = settings.get("group")
    parts = [rows] if group is None else [rows[rows[group] == one] for one in dict.fromkeys(rows[group])]
    return fit_structural(
        parse_structural(case["model"]),
        rows=parts,
        clusters=[part[settings["cluster"]] for part in parts] if "cluster" in settings else None,
        missing=settings.get("missing", "listwise"),
        errors={"MLR": "robust", "MLM": "satorra_bentler", None: None}[settings.get("estimator")],
        mean_structure=settings.get("meanstructure"),
        group_equal=settings.get("group.equal", ()),
    )


def assert_equal(found: StructuralFit, expected: dict) -> None:
    ours = reference.table(found.parameters.to_dict("records"))
    theirs = reference.table(expected["parameters"]).loc[ours.index]
    assert len(theirs) == len(expected["parameters"])
    assert ours["estimate"].to_numpy() == pytest.approx(theirs["estimate"].to_numpy(), rel=1e-5, abs=1e-7)
    assert ours["standardized"].to_numpy() == pytest.approx(theirs["standardized"].to_numpy(), rel=1e-5, abs=1e-7)
    for column in ("std_error", "std_error_standardized"):
        moving = theirs[column] > 1e-8
        assert moving.sum() > 10
        assert ours.loc[moving, column].to_numpy() == pytest.approx(theirs.loc[moving, column].to_numpy(), rel=1e-4), column
    measures = expected["fit"]
    for key, name in PLAIN.items():
        assert getattr(found.fit, name) == pytest.approx(measures[key], rel=1e-4, abs=1e-6), key
    assert found.n_parameters == measures["npar"]
    for key, value in (("logl", found.log_likelihood), ("aic", found.aic), ("bic", found.bic)):
        assert value == pytest.approx(measures[key], rel=1e-7), key
    if "chisq.scaled" not in measures:
        assert found.scaled is None
        return
    for key, name in SCALED.items():
        assert getattr(found.scaled.scaled, name) == pytest.approx(measures[key], rel=1e-4, abs=1e-6), key
    complete = found.scaled.cfi_robust is not None
    for key, name in {**FACTORS, **(ROBUST if complete else {})}.items():
        assert getattr(found.scaled, name) == pytest.approx(measures[key], rel=1e-4, abs=1e-6), key


@needs_r
def test_stored_values_are_what_r_gives_now() -> None:
    now = reference.computed_rows()
    assert now.keys() == STORED.keys()
    for name in SIMULATED:
        for key, value in now[name]["fit"].items():
            then = STORED[name]["fit"][key]
            assert value == then if then is None else value == pytest.approx(then, rel=1e-5, abs=1e-7), (name, key)


@pytest.mark.parametrize("name", SIMULATED)
def test_models_from_rows_equal_lavaan(name: str) -> None:
    assert_equal(fitted(name), STORED[name])


@needs_r
def test_holzinger_and_swineford_with_holes_equal_lavaan() -> None:
    expected = reference.computed_rows(("holzinger",))
    for name in HOLZINGER:
        rows = pd.DataFrame(expected[name]["rows"])
        assert rows[[f"x{item}" for item in range(1, 10)]].isna().to_numpy().mean() > 0.05
        assert_equal(fitted(name, rows), expected[name])


def test_scaled_difference_equals_lavaan() -> None:
    step, expected = compare(fitted("mlr_groups"), fitted("mlr_groups_free")), STORED["difference"]
    assert step.df == expected["df"]
    assert [step.chi2, step.p_value] == pytest.approx([expected["chi2"], expected["p_value"]], rel=1e-4)


def test_robust_measures_are_left_out_with_missing_values() -> None:
    assert fitted("mlr_missing").scaled.cfi_robust is None
    assert fitted("mlr").scaled.cfi_robust is not None
