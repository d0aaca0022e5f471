"""49 army companies as sites: scale scores, reliability and a path model, against lavaan, psych and metafor."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
from statistics_reference import pooled_by_metafor
from study_tables import POOLED, assert_pooled_row, assert_same_values, assert_site_row, row, table

PATHS = {"a": "significance ~ leadership", "b": "hostility ~ significance", "c": "hostility ~ leadership"}
DEFINED = ("indirect", "total")

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
    indirect = table(results_of("lq2002"), "path_models/indirect")
    for site, values in reference("lq2002")["sites"].items():
        for form, key in (("defined_unstandardised", "estimate"), ("defined_standardised", "std")):
            found = row(indirect, site=site, parameter=label, estimate_type=form)
            assert found["estimate"] == pytest.approx(values[key][label], rel=1e-6, abs=1e-6)
            assert found["method"] == "bootstrap"
            assert found["ci_low"] < found["estimate"] < found["ci_high"]


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="Rscript is not installed; install R and metafor to pool the companies there")
@pytest.mark.parametrize("form", ["defined_unstandardised", "defined_standardised"])
def test_pooled_defined_effects_are_those_of_metafor_from_the_companies_effects_and_bootstrap_errors(results_of, form):
    indirect = table(results_of("lq2002"), "path_models/indirect")
    chosen = indirect[indirect["estimate_type"] == form]
    own = chosen[(chosen["site"] != POOLED) & chosen["estimate"].notna()].assign(effect=lambda rows: rows["parameter"])
    expected = pooled_by_metafor(own[["effect", "estimate", "std_error"]])
    assert set(expected) == set(DEFINED)
    pooled = chosen[(chosen["site"] == POOLED) & (chosen["method"] == "two_stage_reml")]
    for label in DEFINED:
        assert_pooled_row(row(pooled, parameter=label), expected[label])


def test_the_pooled_indirect_effect_is_negative_as_with_errors_by_the_delta_method_in_r(results_of, reference):
    indirect = table(results_of("lq2002"), "path_models/indirect")
    pooled = indirect[(indirect["site"] == POOLED) & (indirect["method"] == "two_stage_reml")]
    expected = reference("lq2002")["std"]["indirect"]
    found = row(pooled, parameter="indirect", estimate_type="defined_standardised")
    assert found["n_sites"] == expected["k"]
    assert expected["high"] < 0 and found["ci_high"] < 0


def test_the_report_says_what_the_data_are(results_of):
    page = (results_of("lq2002") / "base" / "report" / "index.html").read_text(encoding="utf-8")
    assert "no psychotherapy data" in page
    assert "simulated data" not in page.lower()
