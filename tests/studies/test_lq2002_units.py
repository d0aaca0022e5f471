"""Army companies in the place of therapists: their part of the variance, by kind of member, and what their size tells, against lme4."""

from __future__ import annotations

import pandas as pd
import pytest
from study_tables import POOLED, assert_same_values, row, table

SITES = ("even-numbers", "odd-numbers")
TRAITS = ("significance", "hostility")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def expected(reference) -> dict:
    return reference("lq2002_units")


@pytest.fixture(scope="module")
def variance(results_of) -> pd.DataFrame:
    return table(results_of("lq2002_units"), "therapist_factors/variance").fillna({"trait": ""})


@pytest.fixture(scope="module")
def effects(results_of) -> pd.DataFrame:
    return table(results_of("lq2002_units"), "therapist_factors/effects").fillna({"contrast": "", "alliance_scale": ""})


def values_of(expected: dict, site: str) -> dict:
    return expected["all"] if site == POOLED else expected["sites"][site]


def test_the_stored_values_are_what_r_gives(expected, from_r):
    assert_same_values(from_r("lq2002_units"), expected)


@pytest.mark.parametrize("site", [*SITES, POOLED])
def test_share_of_the_variance_between_companies_is_that_of_lme4(variance, expected, site):
    keys = {"basis": "clients", "part": "constant", "trait": "", "case_mix": "not held constant", "estimate_type": "variance_share"}
    assert row(variance, site=site, **keys)["estimate"] == pytest.approx(values_of(expected, site)["share"], rel=1e-4)


@pytest.mark.parametrize("site", SITES)
def test_interval_of_that_share_is_exact(variance, expected, site):
    keys = {"basis": "clients", "part": "constant", "trait": "", "case_mix": "not held constant", "estimate_type": "variance_share"}
    found = row(variance, site=site, **keys)
    assert [found["ci_low"], found["ci_high"]] == pytest.approx(expected["sites"][site]["exact"], rel=1e-6)
    assert found["n_clients"] == expected["sites"][site]["n"] and found["n_therapists"] == expected["sites"][site]["companies"]


@pytest.mark.parametrize("trait", TRAITS)
@pytest.mark.parametrize("site", [*SITES, POOLED])
def test_what_companies_have_with_some_kinds_of_member_is_that_of_lme4(variance, expected, site, trait):
    values = values_of(expected, site)["reactive"][trait]
    keys = {"basis": "clients", "trait": trait, "site": site}
    for part, name in (("constant", "constant"), ("client_specific", "specific")):
        found = row(variance, part=part, estimate_type="variance_share", **keys)
        assert found["estimate"] == pytest.approx(values[name], rel=1e-3, abs=1e-6)
    assert row(variance, estimate_type="slope_variance", **keys)["p_boundary"] == pytest.approx(values["p"], rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("site", [*SITES, POOLED])
def test_size_of_companies_and_its_product_with_a_trait_are_those_of_r(effects, expected, site):
    values = values_of(expected, site)
    level = {"method": "one_stage_therapist_means"} if site == POOLED else {}
    found = row(effects, site=site, topic="level", alliance_scale="total", **level)
    assert found["estimate"] == pytest.approx(values["size"]["estimate"], rel=1e-4, abs=1e-6)
    assert found["std_error"] == pytest.approx(values["size"]["se"], rel=1e-4)
    product = row(effects, site=site, topic="interaction", **({"method": "one_stage"} if site == POOLED else {}))
    assert product["estimate"] == pytest.approx(values["product"]["estimate"], rel=1e-3, abs=2e-5)
    assert product["std_error"] == pytest.approx(values["product"]["se"], rel=2e-3)


def test_one_survey_each_is_refused_where_members_and_surveys_cannot_be_told_apart(variance):
    found = variance[variance["basis"].eq("sessions") & variance["case_mix"].eq("not held constant")]
    assert set(found["status"]) == {"not_estimable"}
    assert found.loc[found["trait"].eq(""), "reason"].str.contains("more than one row in a unit of client").all()


def test_scales_that_the_instrument_does_not_have_are_named(effects):
    lacking = effects[effects["site"].isin(SITES) & effects["alliance_scale"].isin(["task", "goal", "bond"])]
    assert len(lacking) == 6 and lacking["reason"].str.startswith("not estimable: needs the scale").all()
