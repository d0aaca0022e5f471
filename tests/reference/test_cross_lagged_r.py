"""Cross-lagged models and growth equal what lavaan gives for the same text, from rows with missing values and clients of therapists."""

from __future__ import annotations

import cross_lagged_reference as reference
import pytest
import structural_reference
from alliance.statistics.cross_lagged import EQUAL, GROWTH, LAGS, RANDOM_INTERCEPTS, CrossLagged, cross_lagged, growth_syntax
from alliance.statistics.structural_fit import Moments, StructuralFit, fit_structural, parse_structural
from needed import needs_r

STORED = reference.stored()
PLAIN = {"chisq": "chi2", "df": "df", "srmr": "srmr", "rmsea": "rmsea", "cfi": "cfi"}
SCALED = {"chisq.scaled": "chi2", "pvalue.scaled": "p_value", "rmsea.scaled": "rmsea", "cfi.scaled": "cfi"}


@pytest.fixture(scope="module")
def found() -> CrossLagged:
    rows = reference.rows()
    return cross_lagged(reference.SERIES, reference.TIMES, rows=rows.drop(columns="therapist"), clusters=rows["therapist"].to_numpy())


@pytest.fixture(scope="module")
def with_errors() -> StructuralFit:
    rows = reference.rows()
    given = {"rows": rows.drop(columns="therapist"), "clusters": rows["therapist"].to_numpy(), "error_variances": reference.ERRORS}
    return cross_lagged(reference.SERIES, reference.TIMES, **given).fits[EQUAL]


@needs_r
def test_stored_values_are_what_r_gives_now() -> None:
    now = reference.computed()
    assert now.keys() == STORED.keys() == reference.TEXTS.keys()
    for name, case in now.items():
        for key, value in case["fit"].items():
            then = STORED[name]["fit"][key]
            assert value == then if then is None else value == pytest.approx(then, rel=1e-5, abs=1e-7), (name, key)


@pytest.mark.parametrize("name", sorted(reference.TEXTS))
def test_models_equal_lavaan(name: str, found: CrossLagged, with_errors: StructuralFit) -> None:
    fitted = with_errors if name == "known_errors" else found.fits[name]
    ours = structural_reference.table(fitted.parameters.to_dict("records"))
    theirs = structural_reference.table(STORED[name]["parameters"]).loc[ours.index]
    assert len(theirs) == len(STORED[name]["parameters"])
    for column, error in (("estimate", "std_error"), ("standardized", "std_error_standardized")):
        assert ours[column].to_numpy() == pytest.approx(theirs[column].to_numpy(), rel=1e-5, abs=1e-7), column
        moving = theirs[error] > 1e-8
        assert moving.sum() > 15
        assert ours.loc[moving, error].to_numpy() == pytest.approx(theirs.loc[moving, error].to_numpy(), rel=1e-4), error
    measures = STORED[name]["fit"]
    assert fitted.n_parameters == measures["npar"]
    assert fitted.aic == pytest.approx(measures["aic"], rel=1e-7)
    assert fitted.bic == pytest.approx(measures["bic"], rel=1e-7)
    for which, names in ((fitted.fit, PLAIN), (fitted.scaled.scaled, SCALED)):
        for key, own in names.items():
            # lavaan gives no baseline where all error variances are fixed at zero.
            if measures.get(key) is not None:
                assert getattr(which, own) == pytest.approx(measures[key], rel=1e-4, abs=1e-6), key
    assert name not in ("known_errors", GROWTH) or measures["cfi"] is not None


def test_equal_lags_are_tested_as_by_the_scaled_difference_of_lavaan_s_fits(found: CrossLagged) -> None:
    free, equal = STORED[RANDOM_INTERCEPTS]["fit"], STORED[EQUAL]["fit"]
    df = equal["df"] - free["df"]
    factor = (equal["df"] * equal["chisq.scaling.factor"] - free["df"] * free["chisq.scaling.factor"]) / df
    test = found.comparisons[LAGS]
    assert (test.df, test.status) == (df, "estimated")
    assert test.chi2 == pytest.approx((equal["chisq"] - free["chisq"]) / factor, rel=1e-4)


def test_growth_of_one_series_equals_the_growth_demo_of_lavaan() -> None:
    case = structural_reference.stored()["growth"]
    fitted = fit_structural(parse_structural(growth_syntax(("t",), (0, 1, 2, 3))), [Moments(**one) for one in case["moments"]])
    assert fitted.fit.chi2 == pytest.approx(8.069, abs=5e-4)
    assert (fitted.fit.df, fitted.fit.chi2) == (5, pytest.approx(case["fit"]["chisq"], rel=1e-6))
    values = fitted.parameters.set_index(fitted.parameters["lhs"] + fitted.parameters["op"] + fitted.parameters["rhs"])["estimate"]
    names = ["level_t~1", "slope_t~1", "level_t~~level_t", "slope_t~~slope_t", "level_t~~slope_t"]
    assert values[names].to_numpy() == pytest.approx([0.615, 1.006, 1.932, 0.587, 0.618], abs=6e-4)
