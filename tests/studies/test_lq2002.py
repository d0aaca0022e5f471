"""49 army companies as sites: scores, reliability, structure, invariance and a path model, against lavaan, psych and metafor."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from needed import needs_r
from statistics_reference import pooled_by_metafor
from study_tables import POOLED, assert_pooled_row, assert_same_values, assert_site_row, row, table

PATHS = {"a": "significance ~ leadership", "b": "hostility ~ significance", "c": "hostility ~ leadership"}
DEFINED = ("indirect", "total")
FIT = {
    "chi2": "chisq",
    "df": "df",
    "p_value": "pvalue",
    "cfi": "cfi",
    "tli": "tli",
    "rmsea": "rmsea",
    "srmr": "srmr",
    "aic": "aic",
    "bic": "bic",
}
FIT |= {"rmsea_low": "rmsea.ci.lower", "rmsea_high": "rmsea.ci.upper"}
SCALES = ("lq_leadership", "lq_task_significance", "lq_hostility")

pytestmark = pytest.mark.slow


def test_the_stored_values_are_what_r_gives(reference, from_r):
    assert_same_values(from_r("lq2002"), reference("lq2002"))


def test_every_company_is_a_site_and_no_row_is_lost(results_of):
    statuses = [json.loads(path.read_text()) for path in sorted(results_of("lq2002").glob("sites/*/status.json"))]
    assert len(statuses) == 49
    assert {status["status"] for status in statuses} <= {"ok", "warnings"}
    assert sum(status["counts"]["clients"] for status in statuses) == 2042
    for file in (file for status in statuses for file in status["files"]):
        assert file["rows_in"] == file["rows_used"] + file["rows_quarantined"] + file["rows_excluded_by_rule"]


def test_means_and_alphas_of_every_company_are_those_of_psych(results_of, reference):
    expected = reference("lq2002")["alphas"]
    moments = pd.concat([pd.read_csv(path) for path in results_of("lq2002").glob("scores/*/*/scale_moments.csv")])
    assert len(moments) == 3 * 49
    for found in moments.itertuples():
        values = expected[found.site][found.instrument]
        assert found.n_clients == values["n"]
        assert found.mean == pytest.approx(values["mean"], rel=1e-9)
        assert found.alpha == pytest.approx(values["alpha"], rel=1e-9)


@pytest.mark.parametrize("label", PATHS)
def test_paths_of_every_company_are_those_of_lavaan(results_of, reference, label):
    parameters = table(results_of("lq2002"), "path_models/parameters")
    for site, values in reference("lq2002")["sites"].items():
        raw = row(parameters, site=site, parameter=PATHS[label], estimate_type="path_unstandardised")
        assert_site_row(raw, values["estimate"][label], values["se"][label])
        assert raw["n_clients"] == values["n"]
        assert_site_row(
            row(parameters, site=site, parameter=PATHS[label], estimate_type="path_standardised"),
            values["std"][label],
            values["std_se"][label],
        )


def test_companies_too_small_for_the_model_are_named_not_estimable(results_of, reference):
    parameters = table(results_of("lq2002"), "path_models/parameters")
    small = parameters[(parameters["site"] != POOLED) & ~parameters["site"].isin(reference("lq2002")["sites"])]
    assert small["site"].nunique() == 10
    assert set(small["status"]) == {"not_estimable"}
    assert small["reason"].str.contains("15").all()
    assert small[["estimate", "std_error"]].isna().all(axis=None)


@pytest.mark.parametrize("label", PATHS)
def test_pooled_paths_are_those_of_metafor(results_of, reference, label):
    parameters = table(results_of("lq2002"), "path_models/parameters")
    pooled = parameters[(parameters["site"] == POOLED) & (parameters["method"] == "two_stage_reml")]
    for form, key in (("path_unstandardised", "raw"), ("path_standardised", "std")):
        assert_pooled_row(row(pooled, parameter=PATHS[label], estimate_type=form), reference("lq2002")[key][label])


@pytest.mark.parametrize("label", DEFINED)
def test_defined_effects_of_every_company_are_products_of_lavaans_paths(results_of, reference, label):
    defined = table(results_of("lq2002"), "path_models/defined")
    for site, values in reference("lq2002")["sites"].items():
        for form, key in (("defined_unstandardised", "estimate"), ("defined_standardised", "std")):
            found = row(defined, site=site, parameter=label, estimate_type=form, interval="bootstrap_percentile")
            assert found["estimate"] == pytest.approx(values[key][label], rel=1e-6, abs=1e-6)
            assert found["method"] == "bootstrap"
            assert found["ci_low"] < found["estimate"] < found["ci_high"]


@needs_r
@pytest.mark.parametrize("form", ["defined_unstandardised", "defined_standardised"])
def test_pooled_defined_effects_are_those_of_metafor_from_the_companies_effects_and_bootstrap_errors(results_of, form):
    defined = table(results_of("lq2002"), "path_models/defined")
    chosen = defined[defined["estimate_type"] == form]
    own = chosen[(chosen["site"] != POOLED) & (chosen["interval"] == "bootstrap_percentile") & chosen["estimate"].notna()]
    own = own.assign(effect=lambda rows: rows["parameter"])
    expected = pooled_by_metafor(own[["effect", "estimate", "std_error"]])
    assert set(expected) == set(DEFINED)
    pooled = chosen[(chosen["site"] == POOLED) & (chosen["method"] == "two_stage_reml")]
    for label in DEFINED:
        assert_pooled_row(row(pooled, parameter=label), expected[label])


def test_the_pooled_indirect_effect_is_negative_as_with_errors_by_the_delta_method_in_r(results_of, reference):
    indirect = table(results_of("lq2002"), "path_models/indirect")
    pooled = indirect[(indirect["site"] == POOLED) & (indirect["method"] == "two_stage_reml")]
    expected = reference("lq2002")["std"]["indirect"]
    found = row(pooled, effect="indirect", estimate_type="defined_standardised")
    assert found["n_sites"] == expected["k"]
    assert expected["high"] < 0 and found["ci_high"] < 0


def test_the_report_says_what_the_data_are(results_of):
    page = (results_of("lq2002") / "base" / "report" / "index.html").read_text(encoding="utf-8")
    assert "no psychotherapy data" in page
    assert "simulated data" not in page.lower()


@pytest.fixture(scope="module")
def reliability(results_of):
    return table(results_of("lq2002"), "measurement/reliability")


def own_row(frame: pd.DataFrame, kind: str) -> pd.Series:
    return row(frame, estimate_type=kind)


def each_scale(reliability: pd.DataFrame, reference):
    """Yield the rows of every scale at every company, and what R found."""
    by_scale = dict(tuple(reliability[reliability["instrument"].isin(SCALES)].groupby(["site", "instrument"])))
    for site, scales in reference("lq2002")["reliability"].items():
        for scale, values in scales.items():
            yield (site, scale), by_scale[site, scale], values


def test_alpha_of_every_scale_is_that_of_r_with_its_error(reliability, reference):
    compared = 0
    for key, rows, values in each_scale(reliability, reference):
        found = own_row(rows, "alpha")
        assert found["n_clients"] == values["n"]
        if values["constant"]:
            # The formula holds with an item that all answered alike; a reliability of answers that do not vary is refused.
            assert found["status"] == "not_estimable" and "an item does not vary (1 of 5)" in found["reason"]
            continue
        assert found["estimate"] == pytest.approx(values["alpha"], rel=1e-9), key
        assert found["std_error"] == pytest.approx(values["alpha_error"], rel=1e-9), key
        compared += 1
    assert compared == 3 * 49 - 1


def test_omega_total_of_every_scale_is_that_of_lavaan_where_it_is_proper(reliability, reference):
    compared = improper = 0
    for key, rows, values in each_scale(reliability, reference):
        found = own_row(rows, "omega_total")
        if values["n"] <= values["k"]:
            # lavaan stops somewhere, though the likelihood has no maximum: the covariance matrix is singular.
            assert "too few clients" in found["reason"], key
        elif "omega" in values:
            assert found["estimate"] == pytest.approx(values["omega"], rel=1e-6), key
            compared += 1
        else:
            assert found["status"] == "not_estimable" and np.isnan(found["estimate"]), key
            improper += 1
    assert (compared, improper) == (122, 21)


def test_correlations_of_items_are_those_of_r_with_their_errors(reliability, reference):
    items = without = 0
    for key, rows, values in each_scale(reliability, reference):
        mean, rest = own_row(rows, "inter_item_correlation"), rows[rows["estimate_type"].eq("item_rest_correlation")]
        if mean["status"] == "not_estimable":
            assert values["constant"] or values["r_error"] == "NaN", key
            without += 1
            continue
        found = [mean, *(row for _, row in rest.assign(item=rest["item"].astype(int)).sort_values("item").iterrows())]
        expected = zip([values["r"], *values["rest"]], [values["r_error"], *values["rest_error"]], strict=True)
        for one, (r, error) in zip(found, expected, strict=True):
            assert one["estimate"] == pytest.approx(r, abs=1e-9), key
            # Standard errors of correlations are those of Fisher's z.
            assert one["std_error"] == pytest.approx(error / (1 - r**2), rel=1e-8), key
            items += 1
    assert without == 4 and items == 49 * (1 + 11) + 49 * (1 + 3) + 45 * (1 + 5)


def test_shares_at_the_highest_score_are_counted_as_in_r(reliability, reference):
    for key, rows, values in each_scale(reliability, reference):
        assert own_row(rows, "share")["estimate"] == pytest.approx(values["at_maximum"], abs=1e-12), key


@pytest.mark.parametrize("scale", SCALES)
def test_pooled_reliability_is_that_of_metafor(reliability, reference, scale):
    pooled = reliability[reliability["site"].eq(POOLED) & reliability["instrument"].eq(scale)]
    for kind, key, back in (("alpha", "alpha", lambda y: 1 - np.exp(-y)), ("inter_item_correlation", "r", np.tanh)):
        expected = reference("lq2002")["pooled_reliability"][scale][key]
        assert_pooled_row(own_row(pooled, kind), expected | {name: back(expected[name]) for name in ("estimate", "low", "high")})


@needs_r
def test_pooled_omega_is_that_of_metafor_from_the_companies_omegas_and_errors(reliability):
    own = reliability[reliability["instrument"].isin(SCALES) & reliability["estimate_type"].eq("omega_total")]
    sites = own[own["site"].ne(POOLED) & own["estimate"].notna() & own["std_error"].notna()]
    rows = pd.DataFrame({"effect": sites["instrument"], "estimate": -np.log(1 - sites["estimate"]), "std_error": sites["std_error"]})
    expected = pooled_by_metafor(rows)
    assert set(expected) == set(SCALES)
    for scale, values in expected.items():
        found = row(own, site=POOLED, instrument=scale)
        assert_pooled_row(found, values | {name: 1 - np.exp(-values[name]) for name in ("estimate", "low", "high")})


def test_one_factor_of_leadership_is_that_of_lavaan(results_of, reliability, reference):
    structure = table(results_of("lq2002"), "measurement/structure")
    structure = structure[structure["instrument"].eq("lq_leadership") & structure["headline"].eq("yes")]
    expected = reference("lq2002")["structure"]
    for site, values in ((expected["largest"]["company"], expected["largest"]), (POOLED, expected["within"])):
        own = structure[structure["site"].eq(site)]
        assert set(own["n_clients"]) == {values.get("n_clients", values["n"])}
        for index, name in FIT.items():
            found = row(own, index=index, estimate_type="fit_index")["estimate"]
            assert found == pytest.approx(values["fit"][name], rel=1e-7, abs=1e-12), (site, index)
        loadings = own[own["estimate_type"].eq("loading_standardised")].set_index("indicator")
        assert len(loadings) == 11
        for item, (loading, error) in enumerate(zip(values["loadings"], values["loading_errors"], strict=True), start=1):
            assert loadings.loc[f"i{item}", "estimate"] == pytest.approx(loading, rel=1e-6)
            assert loadings.loc[f"i{item}", "std_error"] == pytest.approx(error, rel=1e-5)
    largest = row(reliability, site=expected["largest"]["company"], instrument="lq_leadership", estimate_type="omega_total")
    assert largest["std_error"] == pytest.approx(expected["largest"]["omega_error"], rel=1e-4)


def test_companies_without_three_members_an_item_have_no_model(results_of, reference):
    structure = table(results_of("lq2002"), "measurement/structure")
    own = structure[structure["site"].ne(POOLED) & structure["instrument"].eq("lq_leadership")]
    fitted = own.groupby("site")["status"].agg(lambda status: not status.eq("not_estimable").any())
    sizes = {site: values["lq_leadership"]["n"] for site, values in reference("lq2002")["reliability"].items()}
    assert fitted.to_dict() == {site: n >= 33 for site, n in sizes.items()}
    assert own.loc[own["status"].eq("not_estimable"), "reason"].str.contains("needs at least 33 clients").all()


@pytest.mark.parametrize("model", ["configural", "metric", "scalar", "partial_scalar"])
def test_invariance_over_companies_is_that_of_lavaan(results_of, reference, model):
    invariance = table(results_of("lq2002"), "measurement/invariance")
    own = invariance[invariance["site"].eq(POOLED) & invariance["model"].eq(model)]
    expected = reference("lq2002")["invariance"]
    for index in ("chi2", "df", "p_value", "cfi", "rmsea", "srmr"):
        found = row(own, index=index, estimate_type="fit_index")
        # lavaan's optimiser stops in the sixth digit of 24 groups; of what is at its best there that costs nothing, of SRMR it does.
        close = 1e-5 if index == "srmr" else 1e-6
        assert found["estimate"] == pytest.approx(expected[model][FIT[index]], rel=close, abs=1e-12), index
        assert found["n_sites"] == expected["n_sites"] and found["n_clients"] == expected["n_clients"]
    if model == "partial_scalar":
        assert row(own, index="intercept of i6")["estimate_type"] == "score_test"


def test_what_may_be_compared_over_companies_is_said(results_of):
    invariance = table(results_of("lq2002"), "measurement/invariance")
    steps = invariance[invariance["site"].eq(POOLED)].drop_duplicates("model").set_index("model")["decision"]
    assert steps["metric"] == "holds" and steps["scalar"] == "fails" and steps["strict"] == "not_estimable"
    decided = row(invariance, site=POOLED, index="may_compare")
    assert decided["decision"] == "correlations and means of factors may be compared with caution; means of observed scores may not"
    assert "the configural model fits poorly" in decided["reason"] and "1 of 11 items differ (i6)" in decided["reason"]
    page = (results_of("lq2002") / "base" / "report" / "index.html").read_text(encoding="utf-8")
    assert decided["decision"].capitalize() in page
