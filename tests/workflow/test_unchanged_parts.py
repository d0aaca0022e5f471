"""What a scenario takes over from base is what it would have estimated itself, to the last byte."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from alliance.configuration.study import BASE, load
from alliance.files import canonical_json
from alliance.instruments import load_registry
from alliance.questions.path_models import fits as path_models_fits
from alliance.questions.path_models.parts import compared, part_options
from alliance.questions.site_data import read
from alliance.questions.summary import SiteSummary
from alliance.questions.unchanged import unchanged
from support import PROJECT

SITE = "lindenhof"
SCENARIOS = """\
late:
  reason: "Another window"
  changes:
    alliance: {window: late}
    questions: {path_models: {variables: {alliance: {window: late}}}}
another_model:
  reason: "One model, the chains, and the conditions in the window of the alliance"
  changes:
    questions:
      path_models:
        models: {components: {syntax: "outcome ~ task + bond + intake_level"}}
        mediation: {session_trend: false}
        conditions: {window: null}
therapist:
  reason: "Another rater"
  changes: {alliance: {rater: therapist}}
other_raters:
  reason: "Another rater beside the main one"
  changes: {questions: {course: {raters: [observer]}}}
no_trend:
  reason: "No model at all"
  changes:
    questions: {path_models: {mediation: {session_trend: false}}}
"""
LEFT = {
    ("alliance_outcome", "therapist"): {"timing", "moderators", "levels", "missing"},
    ("alliance_outcome", "late"): {"effects", "raters", "timing", "moderators", "levels", "missing"},
    ("congruence", "therapist"): {"response_surface"},
    ("convergent_validity", "late"): set(),
    ("course", "therapist"): set(),
    ("course", "other_raters"): {"observer"},
    ("path_models", "late"): {
        *("adherence_as_mechanism", "alliance_carries_all", "empathy_alliance_outcome", "object_relations_alliance_outcome"),
        *("alliance_outcome_by_treatment", "alliance_outcome_same_in_treatments", "technique_and_alliance"),
    },
    ("path_models", "another_model"): {"components", "mediation", "conditions"},
    ("path_models", "no_trend"): {"mediation"},
}
"""Parts that are estimated again."""


@pytest.fixture(scope="module")
def site_of_study(two_sites, tmp_path_factory):
    """The study with its scenarios, and one of its sites."""
    config = tmp_path_factory.mktemp("study") / "config.yaml"
    config.write_text((two_sites.folder / "config.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    config.with_name("scenarios.yaml").write_text(SCENARIOS, encoding="utf-8")
    config.with_name("data").symlink_to(two_sites.folder / "data")
    study = load(config)
    scores = two_sites.results / "scores" / study.score_digest(BASE) / SITE
    return study, read(SITE, two_sites.results / "sites" / SITE, scores, load_registry([PROJECT / "workflow" / "instruments"]))


def options_of(study, scenario, question):
    """Return what `estimate` is given by a job for a site with rows: options as they come out of JSON."""
    options = json.loads(canonical_json(study.estimate_options(scenario, question)))
    options.pop("published_without", None)
    return options


def files_of(summary: SiteSummary, folder: Path) -> dict[str, bytes]:
    summary.write(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("question", "scenario"), LEFT)
def test_an_answer_that_takes_parts_over_is_the_one_estimated_anew(site_of_study, tmp_path, question, scenario):
    study, site = site_of_study
    module = importlib.import_module(f"alliance.questions.{question}.question")
    of_base, own = options_of(study, BASE, question), options_of(study, scenario, question)
    files_of(module.estimate(site, of_base, {}), tmp_path / "base")
    kept = unchanged(SiteSummary.read(tmp_path / "base"), module.part_options(own), module.part_options(of_base))
    assert set(module.part_options(own)) - kept.names == LEFT[question, scenario]
    assert files_of(module.estimate(site, own, {}, kept), tmp_path / "kept") == files_of(module.estimate(site, own, {}), tmp_path / "anew")


def test_the_workflow_knows_which_questions_have_parts(site_of_study):
    study, _ = site_of_study
    modules = {name: importlib.import_module(f"alliance.questions.{name}.question") for name in study.questions}
    having = {name for name, module in modules.items() if hasattr(module, "part_options")}
    assert having == {name for name, question in study.questions.items() if question.has_parts} == {question for question, _ in LEFT}
    assert all(study.base_digest(scenario, name) == study.estimate_digest(BASE, name) for name, scenario in LEFT)
    assert not any(study.base_digest(BASE, name) for name in having)


def test_path_models_need_no_options_but_their_own(site_of_study):
    study, site = site_of_study
    options = options_of(study, BASE, "path_models")
    given = part_options(options)
    together = path_models_fits.site_fits(site, options)
    assert {name for name, own in given.items() if "window" in own["alliance"]} == {"technique_and_alliance"}
    for first, *others in compared(options["questions"]["path_models"]):
        for name, fit in path_models_fits.site_fits(site, given[first]).items():
            assert name in {first, *others} and fit.table.equals(together[name].table) and fit.reason == together[name].reason


def test_only_questions_that_a_key_concerns_are_asked_again_and_parts_are_taken_from_base(checkout):
    (checkout.folder / "scenarios.yaml").write_text(SCENARIOS, encoding="utf-8")
    asked = {job.split(" (")[1].split(",")[0] for job in checkout.planned_jobs("late") if job.startswith("estimate site")}
    assert asked == {"alliance_outcome", "convergent_validity", "path_models"}
