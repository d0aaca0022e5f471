"""What a hub asks of a site that keeps its rows, and what the site may send back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from alliance.configuration.errors import ConfigurationError
from alliance.configuration.study import load
from alliance.files import digest, read_json
from alliance.issues import Severity
from alliance.questions.summary import SiteSummary
from alliance.sites import request, summaries
from alliance.sites.site_file import SiteFile

CONFIG = """
study: {title: "Two clinics: Ærø & NO", sites_dir: clinics, instruments_dir: own, seed: 7}
alliance:
  instruments: [wai_sr]
  window: early
  windows: {early: {sessions: [1, 5]}, third: {sessions: [3, 3]}}
outcome: {instruments: [mood]}
questions:
  path_models:
    enabled: true
    models:
      short:
        label: "Alliance, then outcome"
        variables:
          alliance: {construct: alliance}
          outcome: {construct: outcome}
        syntax: |
          outcome ~ a*alliance
"""
SCENARIOS = """
third_session:
  reason: "Alliance at session 3"
  changes: {alliance: {window: third}}
other:
  reason: "Not asked for"
  changes: {pooling: {metric: r}}
"""
MOOD = """
key: mood
name: Mood
construct: symptoms
forms: {client: Mood}
reference: []
n_items: 2
response: {min: 0, max: 4}
scales: {total: {items: [1, 2]}}
score: {method: mean}
direction: higher_is_worse
missing: {status: convention}
certainty: high
source: ["Made for this test"]
"""


@pytest.fixture
def study(tmp_path):
    (tmp_path / "clinics" / "south").mkdir(parents=True)
    (tmp_path / "clinics" / "south" / "site.yaml").write_text("data: summary\n")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mood.yaml").write_text(MOOD)
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "scenarios.yaml").write_text(SCENARIOS)
    return load(tmp_path / "config.yaml")


def summary(question: str, options_digest: str, n: int = 40, small: int = 20) -> SiteSummary:
    values = np.random.default_rng(3).normal(size=n)
    data = pd.DataFrame({"alliance": values, "group": np.repeat([0, 1], [n - small, small])})
    covariance = data.cov()
    rows = [
        {"block": "short", "level": "client", "var1": a, "var2": b, "n": n, "mean1": data[a].mean(), "mean2": data[b].mean()}
        | {"cov": covariance.loc[a, b], "method": "robust"}
        for a, b in (("alliance", "alliance"), ("alliance", "group"), ("group", "group"))
    ]
    counts = {"clients": n, "therapists": 5, "sessions": 100}
    return SiteSummary(site="south", question=question, label="South", n=counts, moments=pd.DataFrame(rows), options_digest=options_digest)


def test_a_request_is_a_study_that_asks_the_same_questions(study):
    folder = request.write_request(study, "south", ["base", "third_session"])
    home = load(folder / "config.yaml")
    assert list(home.sites) == ["south"]
    assert list(home.scenarios) == ["base", "third_session"]
    assert home.base["study"]["title"] == "Two clinics: Ærø & NO"
    (asked_at_home,), (asked,) = request.asked(home, ["base"]), request.asked(study, ["base"])
    assert asked_at_home == asked
    assert home.enabled_questions("base") == ["path_models"]
    for scenario in home.scenarios:
        assert home.estimate_digest(scenario, "path_models") == study.estimate_digest(scenario, "path_models")
        assert home.score_digest(scenario) == study.score_digest(scenario)


def test_a_request_names_options_and_digests_of_every_scenario_asked_for(study):
    folder = request.write_request(study, "south", ["base", "third_session"])
    content = read_json(folder / "request.json")
    assert content["site"] == "south"
    assert [record["scenarios"] for record in sorted(content["asked"], key=lambda r: r["scenarios"])] == [["base"], ["third_session"]]
    for record in content["asked"]:
        assert record["options_digest"] == digest({"options": record["options"], "scoring": record["scoring"]})
    readme = (folder / "README.txt").read_text(encoding="utf-8")
    for word in ("make run", "make send", "base third_session", *(record["options_digest"] for record in content["asked"])):
        assert word in readme


def test_scenarios_that_ask_the_same_share_one_record(study):
    folder = request.write_request(study, "south", ["base", "other"])
    (record,) = read_json(folder / "request.json")["asked"]
    assert record["scenarios"] == ["base", "other"]


def test_a_second_request_keeps_what_the_site_has_put_into_its_folder(study):
    folder = request.write_request(study, "south", ["base", "third_session"])
    (folder / "data" / "south" / "site.yaml").write_text("label: mine\n")
    request.write_request(study, "south", ["base"])
    assert (folder / "data" / "south" / "site.yaml").read_text() == "label: mine\n"
    assert not (folder / "scenarios.yaml").exists()


@pytest.mark.parametrize("site", ["", "../up", "North", "a b", "-x"])
def test_a_name_that_no_site_can_have_is_refused(study, site):
    with pytest.raises(ConfigurationError, match="site's id"):
        request.write_request(study, site, ["base"])


def test_what_a_site_sends_is_accepted_by_the_hub(study):
    folder = request.write_request(study, "south", ["base"])
    (record,) = read_json(folder / "request.json")["asked"]
    name = f"{record['question']}/{record['options_digest']}"
    summary(record["question"], record["options_digest"]).write(folder / "results" / "summaries" / name / "south")
    answer = request.pack_answer(folder)
    assert answer.issues == ()
    assert answer.packed == (name,)
    delivery = summaries.clean_summary_site(answer.folder, "south", SiteFile(data="summary"), {})
    assert [(kept.question, kept.options_digest) for kept in delivery.summaries] == [(record["question"], record["options_digest"])]


def test_a06_a_summary_that_gives_away_a_small_group_is_not_sent(study):
    folder = request.write_request(study, "south", ["base"])
    (record,) = read_json(folder / "request.json")["asked"]
    source = folder / "results" / "summaries" / record["question"] / record["options_digest"] / "south"
    summary(record["question"], record["options_digest"], small=3).write(source)
    answer = request.pack_answer(folder)
    assert answer.packed == ()
    (issue,) = answer.issues
    assert (issue.code, issue.severity, issue.column) == ("A06", Severity.SITE, "group")
    assert not list(answer.folder.rglob("*.csv"))


def test_a_summary_not_computed_yet_is_named(study):
    folder = request.write_request(study, "south", ["base"])
    (issue,) = request.pack_answer(folder).issues
    assert "make run" in issue.fix


def test_a_folder_that_is_no_request_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"request\.json"):
        request.pack_answer(tmp_path)
