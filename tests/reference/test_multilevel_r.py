"""Mixed models, shares of variance and their intervals equal what lme4, lmerTest and psych give in R, and published worked examples."""

from __future__ import annotations

import json

import multilevel_reference as reference
import numpy as np
import pandas as pd
import pytest
from alliance.statistics import multilevel
from needed import EXAMPLES, REFERENCE, needs_examples, needs_r
from test_statistics_r import leaves

LEVELS = {"sites": ["site", "therapist", "client"], "one_stage": ["site", "therapist"], "therapists_only": ["therapist"]}
RANDOM = {"client_slope": {"client": ["1", "t"]}, "therapist_slope": {"therapist": ["1", "x"]}, "one_stage": {"site": ["xs"]}}
NAMES = {"client:therapist": "client", "therapist:client": "client", "client:(therapist:site)": "client", "therapist:site": "therapist"}
THREE_LEVELS = ("balanced", "unbalanced", "tiny")


def fitted(name: str, **options: object) -> multilevel.MixedModel:
    rows = reference.rows(reference.ROWS_OF.get(name, name))
    fixed = ["xs"] if name == "one_stage" else ["1", "x"] if " t " not in reference.MODELS[name] else ["1", "x", "t"]
    absorbed = {"site": ["1", "z"]} if name == "one_stage" else None
    levels = LEVELS.get(name, ["therapist", "client"])
    return multilevel.mixed_model(rows, "y", fixed, levels, random=RANDOM.get(name), absorbed=absorbed, **options)


@needs_r
def test_stored_values_are_what_r_gives_now() -> None:
    then, now = leaves(reference.stored("multilevel")), leaves(reference.computed())
    assert then.keys() == now.keys()
    for path, value in then.items():
        if isinstance(value, float):
            assert now[path] == pytest.approx(value, rel=1e-4, abs=1e-6), path
        else:
            assert now[path] == value, path


@pytest.mark.parametrize("criterion", ["reml", "ml"])
@pytest.mark.parametrize("name", sorted(reference.MODELS))
def test_mixed_models_equal_lme4(name: str, criterion: str) -> None:
    expected = reference.stored("multilevel")[name][criterion]
    model = fitted(name, reml=criterion == "reml")
    assert model.converged
    assert model.n_rows == expected["n"]
    assert [effect.replace("(Intercept)", "1") for effect in expected["names"]] == list(model.coefficients.index)
    assert model.coefficients["estimate"].to_numpy() == pytest.approx(np.array(expected["estimate"]), abs=1e-5)
    assert model.coefficients["std_error"].to_numpy() == pytest.approx(np.array(expected["std_error"]), rel=1e-4)
    assert model.vcov.to_numpy() == pytest.approx(np.array(expected["vcov"]), rel=1e-3, abs=1e-6)
    for level, first, second, value in zip(*(expected[key] for key in ("level", "term1", "term2", "vcov_random")), strict=True):
        row = model.variances[
            (model.variances["level"] == NAMES.get(level, level).replace("Residual", "residual"))
            & (model.variances["term1"] == (first or "1").replace("(Intercept)", "1"))
            & (model.variances["term2"] == (second or first or "1").replace("(Intercept)", "1"))
        ]
        assert row["variance"].item() == pytest.approx(value, rel=1e-3, abs=1e-6), level
    if name != "one_stage":
        assert model.log_likelihood == pytest.approx(expected["log_likelihood"], abs=1e-5)


@pytest.mark.parametrize("criterion", ["reml", "ml"])
@pytest.mark.parametrize("name", sorted(reference.MODELS))
def test_degrees_of_freedom_equal_lmertest(name: str, criterion: str) -> None:
    expected = reference.stored("multilevel")[name][criterion]
    model = fitted(name, reml=criterion == "reml")
    assert model.coefficients["df"].to_numpy() == pytest.approx(np.array(expected["df"]), rel=1e-3)
    assert model.coefficients["p_value"].to_numpy() == pytest.approx(np.array(expected["p_value"]), rel=2e-3, abs=1e-12)


@pytest.mark.parametrize("name", ["balanced", "unbalanced", "sites", "client_slope"])
def test_a_difference_of_effects_equals_lmertest(name: str) -> None:
    expected = reference.stored("multilevel")[name]["difference"]
    effect = multilevel.contextual(fitted(name), within="t", between="x")
    assert effect.estimate == pytest.approx(expected["estimate"], abs=1e-5)
    assert effect.std_error == pytest.approx(expected["std_error"], rel=1e-4)
    assert effect.df == pytest.approx(expected["df"], rel=1e-3)


@pytest.mark.parametrize("name", [*THREE_LEVELS, "therapists_only", "client_slope"])
def test_profile_intervals_of_a_likelihood_fit_equal_confint(name: str) -> None:
    stored = reference.stored("multilevel")[name]
    table = multilevel.variance_intervals(fitted(name, reml=False))
    compared = 0
    for label, interval in zip(stored["confint_names"], stored["confint"], strict=True):
        if label.startswith("cor_"):
            continue
        term, _, level = label.removeprefix("sd_").partition("|")
        level, term = NAMES.get(level, level) or "residual", "1" if term in ("(Intercept)", "sigma") else term
        row = table[(table["level"] == level) & (table["term"] == term)]
        low, high = row["ci_low"].item(), row["ci_high"].item()
        # confint interpolates between points of the profile.
        assert (low, high) == pytest.approx((interval[0] or 0.0, interval[1]), rel=2e-3, abs=2e-3), label
        compared += 1
    assert compared == len(table)


@pytest.mark.parametrize("name", THREE_LEVELS)
def test_restricted_profile_intervals_equal_those_of_lme4s_criterion(name: str) -> None:
    inner_first = reference.stored("multilevel")[name]["restricted_sd"]
    table = multilevel.variance_intervals(fitted(name))
    expected = [inner_first[1], inner_first[0], inner_first[2]]
    assert table[["ci_low", "ci_high"]].to_numpy() == pytest.approx(np.array(expected), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", THREE_LEVELS)
def test_intervals_of_variance_shares_equal_those_of_lme4s_criterion(name: str) -> None:
    inner_first = reference.stored("multilevel")[name]["restricted_share"]
    rows = reference.rows(name)
    table = multilevel.variance_shares(rows, "y", ["therapist", "client"], residual="session")
    expected = [inner_first[1], inner_first[0], inner_first[2]]
    assert set(table["method"]) == {"reml_profile"}
    assert table[["ci_low", "ci_high"]].to_numpy() == pytest.approx(np.array(expected), abs=1e-4)


@pytest.mark.parametrize("name", ["balanced", "unbalanced"])
def test_exact_interval_of_one_level_equals_walds(name: str) -> None:
    stored = reference.stored("multilevel")["one_way"]
    therapists = multilevel.variance_shares(reference.one_way()[name], "y", ["therapist"], residual="client").iloc[0]
    assert therapists["method"] == "exact"
    assert therapists["share"] == pytest.approx(stored[name]["share"], abs=1e-5)
    assert (therapists["ci_low"], therapists["ci_high"]) == pytest.approx((stored[name]["ci_low"], stored[name]["ci_high"]), abs=1e-6)
    if name == "balanced":
        assert (therapists["ci_low"], therapists["ci_high"]) == pytest.approx(
            (max(stored["psych"]["ci_low"], 0), stored["psych"]["ci_high"]), abs=1e-6
        )


@needs_examples
def test_published_example_beat_the_blues_is_reproduced() -> None:
    expected = json.loads(EXAMPLES.read_text(encoding="utf-8"))["mlm_btheb"]
    wide = pd.read_csv(REFERENCE / "BtheB.csv").rename(columns={"id": "client"})
    columns = {"bdi.2m": 2, "bdi.3m": 3, "bdi.5m": 5, "bdi.8m": 8}
    long = wide.melt(["client", "drug", "length", "treatment", "bdi.pre"], list(columns), var_name="time", value_name="bdi")
    long["time"] = long["time"].map(columns)
    for name, column, value in (("treatmentBtheB", "treatment", "BtheB"), ("drugYes", "drug", "Yes"), ("length>6m", "length", ">6m")):
        long[name] = (long[column] == value).astype(float)
    fixed = ["bdi.pre", "time", "treatmentBtheB", "drugYes", "length>6m"]
    model = multilevel.mixed_model(long, "bdi", ["1", *fixed], ["client"], reml=False)
    for name in fixed:
        assert model.coefficients.loc[name, "estimate"] == pytest.approx(expected["ML"][name], abs=1e-5)
    assert model.coefficients.loc["1", "estimate"] == pytest.approx(expected["ML"]["Intercept"], abs=1e-5)
    assert model.variances["sd_or_correlation"].tolist() == pytest.approx(
        [expected["ML"]["sd_subject"], expected["ML"]["sd_resid"]], abs=1e-4
    )
    assert model.log_likelihood == pytest.approx(expected["ML"]["logLik"], abs=1e-4)
    assert model.n_rows == expected["n_obs"]


@needs_examples
def test_sleepstudy_dyestuff_and_exam_are_reproduced() -> None:
    expected = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    sleep = expected["mlm_sleepstudy"]
    model = multilevel.mixed_model(
        reference.data_of_r("sleepstudy", "lme4"), "Reaction", ["1", "Days"], ["Subject"], random={"Subject": ["1", "Days"]}
    )
    assert model.coefficients["estimate"].tolist() == pytest.approx([sleep["b0"], sleep["b1"]], abs=1e-5)
    assert model.variances["variance"].tolist()[:2] == pytest.approx([sleep["var0"], sleep["var1"]], rel=1e-4)
    assert model.variances["sd_or_correlation"].iloc[2] == pytest.approx(sleep["corr"], abs=1e-4)
    assert model.residual_variance == pytest.approx(sleep["sigma2"], rel=1e-4)
    assert -2 * model.log_likelihood == pytest.approx(sleep["REMLcrit"], abs=1e-4)
    dye = expected["icc_dyestuff"]
    shares = multilevel.variance_shares(reference.data_of_r("Dyestuff", "lme4"), "Yield", ["Batch"], residual="sample")
    assert shares["variance"].tolist() == pytest.approx([dye["between"], dye["residual"]], rel=1e-5)
    assert shares["share"].iloc[0] == pytest.approx(dye["ICC"], abs=1e-5)


@needs_examples
def test_effect_over_schools_is_reproduced() -> None:
    expected = json.loads(EXAMPLES.read_text(encoding="utf-8"))["two_stage_exam"]["one_stage_slope"]
    exam = reference.data_of_r("Exam", "mlmRev")
    model = multilevel.mixed_model(exam, "normexam", ["1", "standLRT"], ["school"], random={"school": ["1", "standLRT"]})
    slope = model.variances[(model.variances["term1"] == "standLRT") & (model.variances["term2"] == "standLRT")]
    assert model.coefficients.loc["standLRT", "estimate"] == pytest.approx(expected["b"], abs=1e-6)
    assert model.coefficients.loc["standLRT", "std_error"] == pytest.approx(expected["se"], abs=1e-6)
    assert slope["variance"].item() == pytest.approx(expected["tau2_slope"], abs=1e-6)


def test_one_stage_model_equals_lme4_with_site_specific_effects() -> None:
    stored = reference.stored("multilevel")["one_stage"]["reml"]
    rows = reference.rows("one_stage").drop(columns="xs")
    result = multilevel.one_stage(rows, "y", "x", "site", therapist="therapist", covariates=["z"])
    assert result.effect.estimate == pytest.approx(stored["estimate"][0], abs=1e-5)
    assert result.effect.std_error == pytest.approx(stored["std_error"][0], rel=1e-4)
    assert result.effect.df == pytest.approx(stored["df"][0], rel=1e-3)
    assert result.slope_sd**2 == pytest.approx(stored["vcov_random"][stored["level"].index("site")], rel=1e-3)
    assert result.slope_sd_low < result.slope_sd < result.slope_sd_high
