"""One site with one conversation: empathy items with "does not apply", later confidence given earlier, against lavaan and lm."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from study_tables import POOLED, assert_same_values, assert_site_row, row, table

SITE = "mibot"

pytestmark = pytest.mark.slow


def test_the_stored_values_are_what_r_gives(reference, from_r):
    assert_same_values(from_r("mibot"), reference("mibot"))


def test_answers_that_do_not_apply_are_missing_not_zero(results_of, reference):
    ratings = pd.read_parquet(results_of("mibot") / "sites" / SITE / "ratings" / "care.parquet")
    items = ratings[[f"i{number}" for number in range(1, 11)]]
    assert len(ratings) == 106
    assert int(items.isna().sum().sum()) == reference("mibot")["n_not_applicable"]
    assert int(items.min().min()) == 1


def test_empathy_sums_are_those_of_r(results_of, reference):
    expected = reference("mibot")
    (path,) = results_of("mibot").glob(f"scores/*/{SITE}/scores.parquet")
    scores = pd.read_parquet(path)
    care = scores[(scores["instrument"] == "care") & scores["score"].notna()]["score"]
    assert len(care) == expected["n"]
    assert care.mean() == pytest.approx(expected["mean"], rel=1e-12)
    assert care.std() == pytest.approx(expected["sd"], rel=1e-12)


def test_later_confidence_given_earlier_is_that_of_r(results_of, reference):
    expected = reference("mibot")
    parameters = table(results_of("mibot"), "path_models/parameters")
    own = parameters[(parameters["site"] == SITE) & (parameters["model"] == "empathy_confidence")]
    for label, predictor in (("b", "empathy"), ("d", "earlier")):
        values = expected["one"][label]
        raw = row(own, parameter=f"confidence ~ {predictor}", estimate_type="path_unstandardised")
        assert_site_row(raw, values["estimate"], values["se"])
        assert raw["estimate"] == pytest.approx(expected["least_squares"][predictor], rel=1e-9)
        assert raw["n_clients"] == expected["n"]
        assert_site_row(row(own, parameter=f"confidence ~ {predictor}", estimate_type="path_standardised"), values["std"], values["std_se"])


def test_the_model_with_confidence_right_after_is_that_of_lavaan(results_of, reference):
    expected = reference("mibot")["two"]
    parameters = table(results_of("mibot"), "path_models/parameters")
    own = parameters[(parameters["site"] == SITE) & (parameters["model"] == "empathy_after_later")]
    for label, parameter in (("a", "after ~ empathy"), ("b", "later ~ after"), ("c", "later ~ empathy")):
        values = expected[label]
        assert_site_row(row(own, parameter=parameter, estimate_type="path_unstandardised"), values["estimate"], values["se"])
        assert_site_row(row(own, parameter=parameter, estimate_type="path_standardised"), values["std"], values["std_se"])
    indirect = table(results_of("mibot"), "path_models/indirect")
    found = row(indirect, site=SITE, effect="indirect", estimate_type="defined_standardised")
    assert found["estimate"] == pytest.approx(expected["indirect"]["std"], rel=1e-6)


def test_one_site_is_not_pooled_and_the_table_says_why(results_of):
    parameters = table(results_of("mibot"), "path_models/parameters")
    pooled = parameters[parameters["site"] == POOLED]
    assert set(pooled["status"]) <= {"not_estimable"}
    assert pooled["reason"].str.contains("site").all()


def test_no_id_of_the_data_set_is_in_the_results(results_of, realdata):
    ids = pd.read_csv(realdata / "mibot_care_empathy" / "mibot_survey_no_freetext.csv")["ParticipantID"]
    for path in results_of("mibot").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(identifier.encode() in content for identifier in ids), path.name


def test_rows_are_accounted_for(results_of):
    status = json.loads((results_of("mibot") / "sites" / SITE / "status.json").read_text())
    assert status["counts"]["clients"] == 106
    for file in status["files"]:
        assert file["rows_in"] == file["rows_used"] + file["rows_quarantined"] + file["rows_excluded_by_rule"]
