"""The declared list of headline numbers: checked against the tables' schemas, and one row each."""

from __future__ import annotations

import pandas as pd
import pytest
from alliance.configuration.study import load
from alliance.configuration.validation import known_keys
from alliance.questions.contract import POOLED, finish
from alliance.questions.headlines import COLUMNS, Headline, HeadlineError, headline_numbers, load_headlines
from support import PROJECT

SHIPPED = PROJECT / "workflow" / "headlines.yaml"
HAZARD = {"cause": "dropout", "hazard_model": "first_session", "link": "cloglog", "therapists": "frailty", "term": "alliance_first"}
ENTRY = """
leaving:
  label: "First-session alliance and dropout"
  question: dropout
  table: hazard
  where: {definition: "{dropout.definition}", term: alliance_first, method: ["two_stage_{pooling.tau2}", hazard_one_stage]}
  claim: G1
"""
CONFIGURATION = {"dropout": {"definition": "unilateral"}, "pooling": {"tau2": "reml"}, "questions": {"congruence": {"windows": ["early"]}}}


def written(tmp_path, text):
    path = tmp_path / "headlines.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def hazard(*rows):
    """A table of hazards with rows over sites that differ in the given columns."""
    common = {**HAZARD, "definition": "unilateral", "site": POOLED, "estimate_type": "hazard_ratio", "scale": "log"}
    numbers = {"estimate": 0.6, "ci_low": 0.4, "ci_high": 0.9, "n_clients": 300, "n_sites": 6, "status": "estimated"}
    return finish(pd.DataFrame([{**common, **numbers, "method": "two_stage_reml", **row} for row in rows]), "dropout", "hazard")


def number(tmp_path, table, configuration=CONFIGURATION):
    chosen = load_headlines(written(tmp_path, ENTRY))
    return headline_numbers(chosen, {"dropout": {"hazard": table}}, configuration).iloc[0]


def test_the_shipped_list_fits_the_schemas_and_names_every_question_of_the_study():
    headlines = load_headlines(SHIPPED)
    questions = load(PROJECT / "config.yaml", check_all=False).enabled_questions("base")
    counted = {question: sum(one.question == question for one in headlines) for question in questions}
    assert all(1 <= amount <= 4 for amount in counted.values()), counted
    assert len({one.label for one in headlines}) == len(headlines)


def test_the_shipped_list_refers_to_keys_that_every_shipped_scenario_holds():
    study = load(PROJECT / "config.yaml", check_all=False)
    empty = {
        question.name: {name: finish(pd.DataFrame(), question.name, name) for name in question.tables}
        for question in study.questions.values()
    }
    for configuration in study.scenarios.values():
        reasons = headline_numbers(load_headlines(SHIPPED), empty, configuration)["reason"]
        assert reasons.str.contains("there is none").all(), reasons.tolist()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("question: dropout", "question: dropot", "there is no question 'dropot'; did you mean 'dropout'?"),
        ("table: hazard", "table: hazards", "'dropout' has no table 'hazards'; did you mean 'hazard'?"),
        ("term: alliance_first", "terms: alliance_first", "the table has no column 'terms'; did you mean 'term'?"),
        ("{dropout.definition}", "{dropout.definitoin}", "no key 'dropout.definitoin'; did you mean 'definition'?"),
        ("{pooling.tau2}", "{poling.tau2}", "no key 'poling.tau2'; did you mean 'pooling'?"),
        ("claim: G1", "clam: G1", "unknown key 'clam'; did you mean 'claim'?"),
        ("term: alliance_first", "term: 5", "'term' is neither text nor a list of texts"),
        ("  table: hazard\n", "", "'table' is missing"),
        ("where: {", "were: {", "'where' is missing"),
        ("claim: G1", "most_sites: 6", "'most_sites' is neither true nor false"),
    ],
)
def test_a_fault_of_the_list_names_the_headline_and_the_nearest_name(tmp_path, old, new, told):
    assert old in ENTRY
    with pytest.raises(HeadlineError, match="leaving: ") as error:
        load_headlines(written(tmp_path, ENTRY.replace(old, new)))
    assert told in str(error.value)


@pytest.mark.parametrize(("most", "method"), [(True, "hazard_one_stage"), (False, "two_stage_reml")])
def test_the_row_of_most_sites_counts_where_the_list_says_so(tmp_path, most, method):
    table = hazard({"n_sites": 4}, {"method": "hazard_one_stage", "estimate": 0.7, "n_sites": 6})
    entry = ENTRY + ("  most_sites: true\n" if most else "")
    (chosen,) = load_headlines(written(tmp_path, entry))
    assert headline_numbers([chosen], {"dropout": {"hazard": table}}, CONFIGURATION)["method"].tolist() == [method]
    alike = table.assign(n_sites=6)
    assert headline_numbers([chosen], {"dropout": {"hazard": alike}}, CONFIGURATION)["method"].tolist() == ["two_stage_reml"]
    silent = table.assign(status=["estimated" if one == "two_stage_reml" else "withheld" for one in table["method"]])
    assert headline_numbers([chosen], {"dropout": {"hazard": silent}}, CONFIGURATION)["method"].tolist() == ["two_stage_reml"]


def test_a_headline_is_the_row_over_sites_that_its_columns_name(tmp_path):
    table = hazard(
        {}, {"site": "elm", "estimate": 0.1}, {"term": "session_doubled", "estimate": 0.2}, {"definition": "other", "estimate": 0.3}
    )
    row = number(tmp_path, table)
    assert (row["headline"], row["claim"], row["estimate"], row["ci_low"], row["ci_high"]) == ("leaving", "G1", 0.6, 0.4, 0.9)
    assert (row["n_clients"], row["n_sites"], row["status"], row["scale"], row["method"]) == (300, 6, "estimated", "log", "two_stage_reml")
    assert list(row.index) == list(COLUMNS)


def test_values_of_the_configuration_decide_which_row_it_is(tmp_path):
    table = hazard({}, {"definition": "few_sessions", "estimate": 0.3}, {"method": "two_stage_paule_mandel", "estimate": 0.5})
    assert number(tmp_path, table)["estimate"] == 0.6
    assert number(tmp_path, table, {**CONFIGURATION, "dropout": {"definition": "few_sessions"}})["estimate"] == 0.3
    assert number(tmp_path, table, {**CONFIGURATION, "pooling": {"tau2": "paule_mandel"}})["estimate"] == 0.5


def test_the_preferred_row_with_a_number_is_taken(tmp_path):
    one_stage = {"method": "hazard_one_stage", "estimate": 0.5}
    assert number(tmp_path, hazard(one_stage, {}))["method"] == "two_stage_reml"
    silent = {"status": "not_estimable", "reason": "not estimable: needs 2 sites", "estimate": None, "ci_low": None, "ci_high": None}
    assert number(tmp_path, hazard(one_stage, silent))["method"] == "hazard_one_stage"
    row = number(tmp_path, hazard({**one_stage, **silent}, silent))
    assert row["method"] == "two_stage_reml" and row["reason"] == "not estimable: needs 2 sites" and pd.isna(row["estimate"])


def test_a_row_that_stands_once_for_each_of_its_claims_is_one_number(tmp_path):
    assert number(tmp_path, hazard({"claim": "G1"}, {"claim": "F11", "published": 0.5}))["status"] == "estimated"


def test_a_number_that_is_not_there_says_why(tmp_path):
    chosen = load_headlines(written(tmp_path, ENTRY))
    told = headline_numbers(chosen, {}, CONFIGURATION).iloc[0]
    assert told["status"] == "not_estimable" and "dropout, which is not asked" in told["reason"]
    told = number(tmp_path, hazard({"definition": "other"}))
    assert told["status"] == "not_estimable" and "definition unilateral" in told["reason"] and "there is none" in told["reason"]
    told = number(tmp_path, hazard({}, {"session": 5}))
    assert told["status"] == "not_estimable" and "2 fit the description" in told["reason"]
    told = number(tmp_path, hazard({}), {**CONFIGURATION, "dropout": {"definition": None}})
    assert told["status"] == "not_estimable" and "needs a value of dropout.definition" in told["reason"]
    assert told[["estimate", "ci_low", "ci_high", "n_clients", "n_sites"]].isna().all()


def test_items_of_lists_are_named_by_position():
    one = Headline("k", "label", "congruence", "agreement", {"window": ("{questions.congruence.windows.0}",)})
    table = pd.DataFrame([{"window": "early", "estimate_type": "icc", "site": POOLED, "status": "estimated", "estimate": 0.5}])
    tables = {"congruence": {"agreement": finish(table, "congruence", "agreement")}}
    assert headline_numbers([one], tables, CONFIGURATION)["estimate"].tolist() == [0.5]
    told = headline_numbers([one], tables, {"questions": {"congruence": {"windows": []}}}).iloc[0]
    assert told["status"] == "not_estimable" and "questions.congruence.windows.0" in told["reason"]


def test_keys_of_free_names_are_not_checked():
    from alliance.configuration.model import Configuration

    assert known_keys(Configuration, ("alliance", "windows")) == []


def test_no_headline_names_a_value_that_scenarios_change():
    """Windows, raters, outcomes and codings stand in the list as keys of the configuration, so that every scenario has its row."""
    changed = ("window", "alliance_rater", "outcome_rater", "outcome_instrument", "coding", "alliance_scale")
    for one in load_headlines(SHIPPED):
        named = {column: one.where[column] for column in changed if column in one.where}
        if one.table in ("pairs", "predictive_contrast", "timing", "partial", "effects", "pooled"):
            assert named, one.key
        assert all(values[0] == "" or values[0].startswith("{") for values in named.values()), one.key
