"""28 student studies as sites: reversed items, occasions as sessions, reliability by site, against psych, lavaan and metafor."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from study_tables import POOLED, assert_pooled_row, assert_same_values, assert_site_row, row, table

REVERSED = (1, 2, 5, 8, 10, 11, 15, 16, 19, 20)
STABILITY = "second ~ first"

pytestmark = pytest.mark.slow


def test_the_stored_values_are_what_r_gives(reference, from_r):
    assert_same_values(from_r("sai"), reference("sai"))


def test_every_study_is_a_site_and_no_row_is_lost(results_of, reference):
    expected = reference("sai")["sites"]
    for name, values in expected.items():
        status = json.loads((results_of("sai") / "sites" / name / "status.json").read_text())
        assert status["status"] in ("ok", "warnings")
        (file,) = status["files"]
        assert file["rows_in"] == values["n_rows"]
        assert file["rows_in"] == file["rows_used"] + file["rows_quarantined"] + file["rows_excluded_by_rule"]
        assert file["rows_quarantined"] == 0
    assert len(list(results_of("sai").glob("sites/*/status.json"))) == len(expected) == 28


def test_alpha_of_every_study_is_that_of_psych(results_of, reference):
    expected = reference("sai")["sites"]
    moments = pd.concat([pd.read_csv(path) for path in results_of("sai").glob("scores/*/*/scale_moments.csv")])
    assert sorted(moments["site"]) == sorted(expected)
    for found in moments.itertuples():
        assert found.alpha == pytest.approx(expected[found.site]["all"]["alpha"], rel=1e-9)
        assert found.n_rows == expected[found.site]["n_scored"]
        if found.n_clients == found.n_rows:
            assert found.mean == pytest.approx(expected[found.site]["mean"], rel=1e-9)


def test_item_statistics_of_every_study_are_those_of_r(results_of, reference):
    expected = reference("sai")["sites"]
    items = pd.concat([pd.read_csv(path) for path in results_of("sai").glob("scores/*/*/item_statistics.csv")])
    assert len(items) == 28 * 20
    for found in items.itertuples():
        values = expected[found.site]["all"]
        mean = values["item_mean"][found.item - 1]
        assert found.n == values["n_items"][found.item - 1]
        assert found.mean == pytest.approx(5 - mean if found.item in REVERSED else mean, rel=1e-9)
        assert found.item_rest_r == pytest.approx(values["item_rest"][found.item - 1], rel=1e-9)


def test_stability_of_every_study_with_two_occasions_is_that_of_r(results_of, reference):
    parameters = table(results_of("sai"), "path_models/parameters")
    twice = {name: values["stability"] for name, values in reference("sai")["sites"].items() if "stability" in values}
    for site, values in twice.items():
        found = row(parameters, site=site, parameter=STABILITY, estimate_type="path_standardised")
        assert_site_row(found, values["r"], values["std_se"])
        assert found["n_clients"] == values["n"]
        slope = row(parameters, site=site, parameter=STABILITY, estimate_type="path_unstandardised")
        assert slope["estimate"] == pytest.approx(values["slope"], rel=1e-8)
    once = parameters[(parameters["site"] != POOLED) & ~parameters["site"].isin(twice)]
    assert set(once["status"]) == {"not_estimable"}


def test_pooled_stability_is_that_of_metafor(results_of, reference):
    parameters = table(results_of("sai"), "path_models/parameters")
    pooled = parameters[(parameters["site"] == POOLED) & (parameters["method"] == "two_stage_reml")]
    assert_pooled_row(row(pooled, parameter=STABILITY, estimate_type="path_standardised"), reference("sai")["stability"])


def test_reliability_of_the_first_occasion_is_that_of_r(results_of, reference):
    reliability = table(results_of("sai"), "measurement/reliability")
    chosen = reliability[reliability["instrument_scale"].eq("total") & reliability["window"].eq("first")]
    for site, values in reference("sai")["sites"].items():
        expected = values["first"]
        own = chosen[chosen["site"].eq(site)].set_index("estimate_type")
        if "alpha" not in expected:
            assert own["status"].get("alpha", "not_estimable") == "not_estimable"
            continue
        assert own.loc["alpha", "n_clients"] == expected["n"]
        assert own.loc["alpha", "estimate"] == pytest.approx(expected["alpha"], rel=1e-9)
        assert own.loc["alpha", "std_error"] == pytest.approx(expected["alpha_error"], rel=1e-6)
        if "omega" in expected:
            assert own.loc["omega_total", "estimate"] == pytest.approx(expected["omega"], rel=1e-5)


def test_pooled_reliability_is_that_of_metafor(results_of, reference):
    reliability = table(results_of("sai"), "measurement/reliability")
    pooled = row(reliability, site=POOLED, instrument_scale="total", window="first", estimate_type="alpha")
    assert_pooled_row(pooled, reference("sai")["reliability"])
