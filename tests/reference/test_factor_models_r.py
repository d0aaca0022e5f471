"""Rows of the structure and multitrait-multimethod tables equal what lavaan gives for the same clients."""

from __future__ import annotations

import factor_reference as reference
import numpy as np
import pandas as pd
import pytest
from alliance.questions.measurement import multitrait_multimethod as measurement_multitrait_multimethod
from alliance.questions.measurement import structure as measurement_structure
from alliance.questions.measurement.factor_models import FactorModel, instrument_models
from alliance.questions.measurement.factor_rows import Sample, model_rows
from alliance.questions.measurement.rater_models import rater_rows
from alliance.statistics.correlation_factors import fit_correlation_factors
from alliance.statistics.rater_model import model_of
from needed import needs_r, needs_real_data
from unit.simulated_items import REGISTRY
from unit.simulated_site import OPTIONS

STORED = reference.stored()
MODELS = ("one_factor", "theory", "bond_task_goal", "bifactor")
PLAIN = {"chi2": "chisq", "df": "df", "p_value": "pvalue", "cfi": "cfi", "tli": "tli", "rmsea": "rmsea", "srmr": "srmr", "aic": "aic"}
PLAIN |= {"bic": "bic", "rmsea_low": "rmsea.ci.lower", "rmsea_high": "rmsea.ci.upper"}
ROBUST = PLAIN | {"chi2": "chisq.scaled", "p_value": "pvalue.scaled"}
ROBUST |= {name: f"{PLAIN[name]}.robust" for name in ("cfi", "tli", "rmsea", "rmsea_low", "rmsea_high")}
CLOSE = {"rel": 1e-4, "abs": 1e-6}


def table_of(rows) -> pd.DataFrame:
    return pd.DataFrame([{**row, "std_error": np.sqrt(variance)} for row, variance in rows])


@pytest.fixture(scope="module")
def wai() -> dict[str, pd.DataFrame]:
    site = reference.wai()
    part = measurement_structure.estimate(site, OPTIONS)
    robust = table_of(zip(part.rows, part.variances))
    answers = reference.rows_of(site, "wai_s").drop(columns="therapist")
    sample = Sample.of_rows(list(answers), answers.to_numpy(dtype=float), None)
    normal = table_of(model_rows(instrument_models(REGISTRY["wai_s"], reference.ITEMS), sample, "", 0.95))
    return {"robust": robust, "normal": normal}


@needs_r
def test_stored_values_are_what_r_gives_now() -> None:
    now = reference.computed()
    absent = set(STORED) - set(now)
    assert absent == set() if reference.SAI.is_file() else all(name.startswith("sai.") for name in absent)
    assert now.pop("weighted") == {key: pytest.approx(value, rel=1e-5) for key, value in STORED["weighted"].items()}
    for name, case in now.items():
        for key, value in case["fit"].items():
            then = STORED[name]["fit"][key]
            assert value == then if then is None else value == pytest.approx(then, rel=1e-5, abs=1e-7), (name, key)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", ["robust", "normal"])
def test_loadings_and_correlations_of_factors_equal_lavaan(wai, kind, model) -> None:
    known = pd.DataFrame(STORED[f"{kind}.{model}"]["standardized"])
    own = wai[kind][wai[kind]["structure"].eq(model)]
    loadings = own[own["estimate_type"].eq("loading_standardised")].set_index(["factor", "indicator"])
    expected = known[known["op"].eq("=~")].set_index(["lhs", "rhs"])
    signs = np.sign(expected.groupby(level=0)["est.std"].transform("sum"))
    assert len(loadings) == len(expected)
    for column, theirs in (("estimate", expected["est.std"] * signs), ("std_error", expected["se"])):
        np.testing.assert_allclose(loadings[column].astype(float), theirs.reindex(loadings.index), rtol=1e-4, atol=1e-6)
    correlations = own[own["estimate_type"].eq("factor_correlation")]
    between = known[known["op"].eq("~~") & known["lhs"].ne(known["rhs"]) & known["se"].gt(0)]
    between = between.set_index(between["lhs"] + " ~~ " + between["rhs"])
    assert len(correlations) == len(between) == {"theory": 3, "bond_task_goal": 1}.get(model, 0)
    for row in correlations.itertuples():
        found = between.loc[row.factor]
        assert [row.estimate, row.std_error] == pytest.approx(list(found[["est.std", "se"]]), **CLOSE)
        if kind == "normal":
            assert [row.ci_low, row.ci_high] == pytest.approx(list(found[["ci.lower", "ci.upper"]]), **CLOSE)
        else:  # lavaan's intervals use the normal, ours t with the 30 therapists less one
            reach = 2.045229642 * found["se"]
            assert [row.ci_low, row.ci_high] == pytest.approx([found["est.std"] - reach, found["est.std"] + reach], **CLOSE)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", ["robust", "normal"])
def test_fit_equals_lavaan(wai, kind, model) -> None:
    own = wai[kind][wai[kind]["structure"].eq(model) & wai[kind]["estimate_type"].eq("fit_index")].set_index("index")["estimate"]
    names = ROBUST if kind == "robust" else PLAIN
    assert set(own.index) == set(names)
    for name, theirs in names.items():
        assert own[name] == pytest.approx(STORED[f"{kind}.{model}"]["fit"][theirs], **CLOSE), name


@pytest.mark.parametrize(("first", "second"), [("one_factor", "theory"), ("one_factor", "bond_task_goal"), ("theory", "bifactor")])
@pytest.mark.parametrize("kind", ["robust", "normal"])
def test_differences_of_chi_squares_equal_lavaan(wai, kind, first, second) -> None:
    own = wai[kind][wai[kind]["structure"].eq(f"{first} against {second}") & wai[kind]["estimate_type"].eq("chi2_difference")]
    known = STORED[f"{kind}.{second}"]["difference"]
    if known["chi2"] is None:
        # lavaan gives no number by Satorra & Bentler (2001); that of Satorra (2000) stands in its place, and says so.
        assert kind == "robust" and own["status"].eq("flagged").all() and own["reason"].str.contains("Satorra \\(2000\\)").all()
        given = own.set_index("index")["estimate"]
        assert given["df"] == known["df"] and given["chi2"] > 0 and given["p_value"] < 1e-6
        return
    assert own.set_index("index")["estimate"].to_dict() == pytest.approx(known, rel=1e-4, abs=1e-12)


@pytest.mark.parametrize("kind", ["robust", "normal"])
def test_shares_of_the_bifactor_model_equal_parameters_that_lavaan_defines(wai, kind) -> None:
    own = wai[kind][wai[kind]["structure"].eq("bifactor")].set_index(["estimate_type", "factor"])
    known = pd.DataFrame(STORED[f"{kind}.bifactor"]["defined"]).set_index("lhs")
    named = {("omega_hierarchical", "general"): "omega_hierarchical", ("explained_common_variance", "general"): "ecv"}
    named |= {("omega_subscale", scale): f"omega_{scale}" for scale in ("task", "bond", "goal")}
    for key, name in named.items():
        row = own.loc[key]
        row = row.iloc[0] if isinstance(row, pd.DataFrame) else row
        assert [row["estimate"], row["std_error"]] == pytest.approx(list(known.loc[name, ["est", "se"]]), **CLOSE), name


def test_polychoric_loadings_equal_unweighted_least_squares_of_lavaan() -> None:
    part = measurement_structure.estimate(reference.ordinal_site(), OPTIONS)
    own = pd.DataFrame([row for row in part.rows if row["method"] == measurement_structure.POLYCHORIC])
    known = pd.DataFrame(STORED["ordinal"]["standardized"])
    known = known[known["op"].eq("=~")].set_index("rhs")["est.std"]
    loadings = own[own["estimate_type"].eq("loading_standardised")].set_index("indicator")["estimate"]
    assert len(loadings) == 12
    np.testing.assert_allclose(loadings, known.reindex(loadings.index), rtol=1e-4)
    assert set(own["headline"]) == {"no"}


@pytest.mark.parametrize(
    ("case", "names"), [("raters.two", reference.TWO), ("raters.three", reference.THREE), ("raters.normal", reference.THREE)]
)
def test_shares_of_raters_equal_parameters_that_lavaan_defines(case, names) -> None:
    rows = reference.rater_rows(reference.raters())
    model = model_of("client", names)
    therapists = None if case == "raters.normal" else rows["therapist"].to_numpy()
    own = table_of(rater_rows(model, Sample.of_rows(model.names, rows[model.names].to_numpy(), therapists), "", 0.95))
    known = pd.DataFrame(STORED[case]["defined"]).set_index("lhs")
    compared = 0
    for place, (rater, scale) in enumerate(model.indicators, start=1):
        for kind in ("consistency", "reliability"):
            found = own[own["estimate_type"].eq(kind) & own["rater"].eq(rater) & own["indicator"].eq(scale)]
            if f"{kind}{place}" not in known.index:
                assert found.empty
                continue
            compared += 1
            theirs = list(known.loc[f"{kind}{place}", ["est", "se"]])
            assert found[["estimate", "std_error"]].iloc[0].tolist() == pytest.approx(theirs, **CLOSE)
    assert compared == 2 * len(names) - len(model.scales["client"])
    for rater in model.others:
        found = own[own["estimate_type"].eq("consistency") & own["rater"].eq(rater) & own["indicator"].eq("(sum)")]
        assert found[["estimate", "std_error"]].iloc[0].tolist() == pytest.approx(
            list(known.loc[f"consistency_{rater}", ["est", "se"]]), **CLOSE
        )
    fit = own[own["estimate_type"].eq("fit_index")].set_index("index")["estimate"]
    theirs = STORED[case]["fit"]
    for name, key in (PLAIN if case == "raters.normal" else ROBUST).items():
        assert fit[name] == pytest.approx(theirs[key], **CLOSE), name


def test_the_site_chooses_the_scales_that_were_compared() -> None:
    part = measurement_multitrait_multimethod.estimate(reference.raters(), OPTIONS)
    own = pd.DataFrame(part.rows)
    three = own[own["raters"].eq("client, observer, therapist") & own["index"].eq("chi2")]["estimate"]
    assert three.tolist() == pytest.approx([STORED["raters.three"]["fit"]["chisq.scaled"]], rel=1e-4)


@needs_real_data(reference.SAI)
def test_models_of_real_answers_equal_lavaan() -> None:
    rows = reference.sai().drop(columns="study")
    sample = Sample.of_rows(list(rows), rows.to_numpy(dtype=float), None)
    models = [FactorModel("one_factor", {"calmness": (*reference.POSITIVE, *reference.NEGATIVE)}), FactorModel("theory", reference.SCALES)]
    own = table_of(model_rows([*models, FactorModel("bifactor", reference.SCALES, "general")], sample, "", 0.95))
    for model in ("one_factor", "theory", "bifactor"):
        known = STORED[f"sai.{model}"]
        fit = own[own["structure"].eq(model) & own["estimate_type"].eq("fit_index")].set_index("index")["estimate"]
        for name, theirs in PLAIN.items():
            assert fit[name] == pytest.approx(known["fit"][theirs], **CLOSE), (model, name)
        expected = pd.DataFrame(known["standardized"])
        expected = expected[expected["op"].eq("=~")].set_index(["lhs", "rhs"])
        loadings = own[own["structure"].eq(model) & own["estimate_type"].eq("loading_standardised")].set_index(["factor", "indicator"])
        signs = np.sign(expected.groupby(level=0)["est.std"].transform("sum"))
        np.testing.assert_allclose(
            loadings["estimate"].astype(float), (expected["est.std"] * signs).reindex(loadings.index), rtol=1e-4, atol=1e-6
        )
    defined = pd.DataFrame(STORED["sai.bifactor"]["defined"]).set_index("lhs")["est"]
    shares = own[own["estimate_type"].isin(["omega_hierarchical", "explained_common_variance"])].set_index("estimate_type")
    shares = shares[shares["factor"].eq("general")]["estimate"]
    assert shares.to_dict() == pytest.approx(
        {"omega_hierarchical": defined["omega_hierarchical"], "explained_common_variance": defined["ecv"]}, rel=1e-4
    )


def test_weighted_least_squares_equals_direct_minimisation() -> None:
    known = STORED["weighted"]
    found = fit_correlation_factors(*reference.correlations()[:1], reference.FACTOR, reference.correlations()[1])
    assert [*found.loadings, found.correlations[0, 1]] == pytest.approx(known["estimate"], rel=1e-5)
    assert [*found.loading_errors, found.correlation_errors[0, 1]] == pytest.approx(known["std_error"], rel=1e-5)
    assert (found.chi2, found.df) == (pytest.approx(known["chi2"], rel=1e-7), 4)
