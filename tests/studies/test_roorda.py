"""45 sites that send a correlation matrix with holes and nothing else: two-stage path model, against metafor and lavaan."""

from __future__ import annotations

import json

import pytest
from study_tables import POOLED, assert_same_values, assert_site_row, row, table

PATHS = {"a": "engagement ~ relation", "b": "achievement ~ engagement", "c": "achievement ~ relation"}

pytestmark = pytest.mark.slow


def test_the_stored_values_are_what_r_gives(reference, from_r):
    assert_same_values(from_r("roorda"), reference("roorda"))


def test_every_matrix_is_accepted_with_its_holes(results_of):
    statuses = [json.loads(path.read_text()) for path in results_of("roorda").glob("sites/*/status.json")]
    assert len(statuses) == 45
    assert {(status["data"], status["status"]) for status in statuses} == {("summary", "ok")}
    assert sum(status["counts"]["clients"] for status in statuses) == 29438


@pytest.mark.parametrize("label", PATHS)
def test_the_two_stage_paths_are_those_of_r(results_of, reference, label):
    parameters = table(results_of("roorda"), "path_models/parameters")
    pooled = parameters[(parameters["site"] == POOLED) & (parameters["method"] == "two_stage_sem")]
    found = row(pooled, parameter=PATHS[label], estimate_type="path_standardised")
    values = reference("roorda")["paths"][label]
    assert found["estimate"] == pytest.approx(values["estimate"], rel=1e-5)
    assert found["std_error"] == pytest.approx(values["se"], rel=1e-5)
    assert found["n_sites"] == reference("roorda")["n_sites"]
    assert found["n_clients"] == reference("roorda")["n_clients"]


def test_the_two_stage_indirect_effect_is_that_of_r(results_of, reference):
    indirect = table(results_of("roorda"), "path_models/indirect")
    pooled = indirect[(indirect["site"] == POOLED) & (indirect["method"] == "two_stage_sem")]
    found = row(pooled, effect="indirect", estimate_type="defined_standardised")
    values = reference("roorda")["paths"]["indirect"]
    assert found["estimate"] == pytest.approx(values["estimate"], rel=1e-5)
    assert found["std_error"] == pytest.approx(values["se"], rel=1e-5)


def test_sites_with_whole_matrices_have_their_own_paths_and_the_others_say_what_they_lack(results_of, reference):
    parameters = table(results_of("roorda"), "path_models/parameters")
    own = parameters[(parameters["site"] != POOLED) & (parameters["estimate_type"] == "path_standardised")]
    whole = reference("roorda")["sites"]
    for site, values in whole.items():
        for label, parameter in PATHS.items():
            assert_site_row(row(own, site=site, parameter=parameter), values[label]["estimate"], values[label]["se"])
    others = own[~own["site"].isin(whole)]
    assert others["site"].nunique() == 45 - len(whole)
    assert set(others["status"]) == {"not_estimable"}
    assert others["reason"].str.contains("published no usable correlation").all()


def test_a_correlation_gives_no_coefficient_in_units(results_of):
    parameters = table(results_of("roorda"), "path_models/parameters")
    raw = parameters[parameters["estimate_type"] == "path_unstandardised"]
    assert raw["estimate"].isna().all()
