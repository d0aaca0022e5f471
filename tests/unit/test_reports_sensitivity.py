"""The page of sensitivity in sentences: what all specifications say, which decision matters most, and by how much."""

from __future__ import annotations

import dataclasses
import re

import pytest
import report_study
from alliance.questions.contract import WITH_NUMBERS
from alliance.reports.multiverse_chapter import multiverse_chapter
from alliance.sensitivity.specifications import multiverses
from unit.multiverse_sites import options, sites
from unit.test_sensitivity_multiverse import some, tables_of


@pytest.fixture(scope="module")
def told():
    given = options(some("rater", "change", "pooling"), flips=100)
    tables = tables_of(given, sites())
    data = dataclasses.replace(report_study.study(), tables={"sensitivity": tables})
    [one] = multiverses(given)
    return tables, multiverse_chapter(data, one, given).findings


NO_OBSERVERS = {"client": {}, "observer": {"alliance": {"rater": "observer"}}}


def number(value: float) -> str:
    return f"{value:.2f}".replace("-", "−").replace("0.", ".", 1)


def test_the_middle_half_lies_between_its_quartiles(told):
    tables, findings = told
    values = tables["specifications"]["estimate"].astype(float)
    low, high = (number(values.quantile(q)) for q in (0.25, 0.75))
    assert any(f"the middle half lies between {low} and {high}, all between" in one for one in findings), findings


def test_the_decision_that_matters_most_is_told_with_the_median_of_each_of_its_options(told):
    tables, findings = told
    influence = tables["node_influence"]
    shares = influence[influence["share_of"].eq("with_interactions")].set_index("node")["estimate"].astype(float)
    most = shares.idxmax()
    [sentence] = [one for one in findings if one.startswith("The decision that matters most is")]
    assert f"“{most}”" in sentence
    rows = tables["specifications"]
    rows = rows[rows["status"].isin(WITH_NUMBERS)]
    option = rows["choices"].str.extract(rf"\b{most}=(\w+)")[0]
    medians = {name: own["estimate"].astype(float).median() for name, own in rows.groupby(option)}
    expected = [(number(value), name.replace("_", " ")) for name, value in sorted(medians.items(), key=lambda one: one[1])]
    assert len(expected) > 1 and re.findall(r"(−?\.\d\d) with “([^”]+)”", sentence) == expected


def test_a_decision_with_one_option_that_can_be_estimated_is_not_said_to_matter_little():
    given = options(some("change", "pooling") | {"rater": NO_OBSERVERS}, flips=100)
    data = dataclasses.replace(report_study.study(), tables={"sensitivity": tables_of(given, sites())})
    [one] = multiverses(given)
    [sentence] = [one for one in multiverse_chapter(data, one, given).findings if one.startswith("The decision that matters most is")]
    little, _, open_ = sentence.partition(" Nothing can be said of ")
    assert "rater" not in little and open_ == "“rater”, of which one option only can be estimated."
