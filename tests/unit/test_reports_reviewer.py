"""Every fault that reviewers look for is flagged by a configuration or table that has it, and by none that has not."""

from __future__ import annotations

import copy
import dataclasses
import html
from typing import Any

import pandas as pd
import pytest
import report_study
from alliance.questions.contract import POOLED
from alliance.reports import pages, reviewer
from alliance.reports.chapters import path_models_comparison
from alliance.reports.inputs import ReportData
from support import PROJECT


def with_options(data: ReportData, *changes: tuple[str, Any]) -> ReportData:
    """Return the study with keys of its configuration (``a.b.c``) set."""
    options = copy.deepcopy(data.options)
    for key, value in changes:
        *path, last = key.split(".")
        section = options
        for name in path:
            section = section[name]
        section[last] = value
    return dataclasses.replace(data, options=options)


def with_table(data: ReportData, question: str, name: str, table: pd.DataFrame) -> ReportData:
    """Return the study with one table in place of its own."""
    return dataclasses.replace(data, tables={**data.tables, question: {**data.tables.get(question, {}), name: table}})


def found(data: ReportData, key: str) -> reviewer.Found:
    """Return what the check of a fault finds in a study."""
    return next(one.found for one in reviewer.check_all(data) if one.fault.key == key)


def only_session(data: ReportData, first: int, last: int) -> ReportData:
    return with_options(data, ("alliance.windows.early", {"sessions": [first, last], "phase": None, "last": None}))


def subscales(data: ReportData, r: float) -> ReportData:
    """Return the study with the components question asked and one correlation of task and bond over sites."""
    pairs = data.tables["convergent_validity"]["pairs"]
    row = pairs[pairs["site"].eq(POOLED) & pairs["status"].eq("estimated") & pairs["estimate_type"].eq("correlation")].iloc[:2].copy()
    row[["level", "comparison"]] = ["subscale", "scales"]
    row["scale1"], row["scale2"], row["estimate"] = ["task", "bond"], ["bond", "task"], r
    asked = with_table(data, "components", "dominance", pairs.iloc[:1])
    return with_table(asked, "convergent_validity", "pairs", row)


def ceiling(data: ReportData, share: float) -> ReportData:
    criteria = data.tables["ruptures"]["criteria"]
    row = criteria[criteria["site"].eq(POOLED)].iloc[:1].assign(statistic="sessions at the ceiling", estimate=share, status="estimated")
    return with_table(data, "ruptures", "criteria", row)


def headline(data: ReportData, **values: Any) -> ReportData:
    pooled = data.tables["alliance_outcome"]["pooled"]
    return with_table(data, "alliance_outcome", "pooled", pooled.assign(**values))


def invariance(data: ReportData, across: tuple[str, ...]) -> ReportData:
    table = data.tables["measurement"]["invariance"]
    row = table.iloc[[0] * len(across)].assign(status="estimated", site=POOLED)
    return with_table(data, "measurement", "invariance", row.assign(across=list(across)))


def instruments(data: ReportData, *keys: str) -> ReportData:
    """Return the study whose sites use these instruments of the alliance, in turn."""
    statuses = []
    for place, status in enumerate(data.statuses):
        used = {key: {"raters": ["client"]} for key in (keys[place % len(keys)], "core_10")}
        statuses.append({**status, "instruments": used})
    return dataclasses.replace(data, statuses=statuses)


def chains(data: ReportData, lags: list[int]) -> ReportData:
    chain = {"label": "A, then B, then C", "kind": "1-1-1", "lags": lags}
    return with_options(data, ("questions.path_models.mediation", {"enabled": True, "chains": {"one": chain}}))


def ordered(data: ReportData) -> ReportData:
    """Return the study without models that have a path between what was measured at once."""
    parameters = data.tables["path_models"]["parameters"]
    at_once = path_models_comparison.concurrent(data)
    return with_table(data, "path_models", "parameters", parameters[~parameters["model"].isin(at_once)])


def sites_method(data: ReportData, method: str) -> ReportData:
    effects = data.tables["alliance_outcome"]["site_effects"]
    return with_table(data, "alliance_outcome", "site_effects", effects.assign(method=method))


def levels_part(data: ReportData, parts: list[str]) -> ReportData:
    levels = data.tables["alliance_outcome"]["levels"]
    kept = levels[~levels["part"].isin(("within_client", "between_client", "between_therapist")) | levels["part"].isin(parts)]
    return with_table(data, "alliance_outcome", "levels", kept)


HEADLINE = "questions.alliance_outcome.headline"
MODERATORS = "questions.alliance_outcome.moderators"
CASES = {
    "same_rater": (lambda d: with_options(d, ("outcome.rater", "client")), lambda d: with_options(d, ("outcome.rater", "observer"))),
    "alliance_after_change": (lambda d: only_session(d, 1, 5), lambda d: only_session(d, 1, 1)),
    "no_therapist_level": (
        lambda d: with_options(d, (f"{HEADLINE}.therapists", "ignored")),
        lambda d: sites_method(d, "cluster_jackknife"),
    ),
    "uncentred_alliance": (lambda d: levels_part(d, []), lambda d: levels_part(d, ["within_client", "between_client"])),
    "difference_scores": (lambda d: with_options(d, ("outcome.form", "change")), lambda d: with_options(d, ("outcome.form", "ancova"))),
    "averaged_as_early": (lambda d: only_session(d, 1, 10), lambda d: only_session(d, 1, 5)),
    "no_measurement_check": (
        lambda d: with_options(d, ("questions.measurement.enabled", False)),
        lambda d: invariance(d, ("sites", "languages", "raters", "sessions")),
    ),
    "nonsignificant_as_none": (
        lambda d: with_options(d, ("questions.alliance_outcome.coding", "zero")),
        lambda d: with_options(d, ("questions.alliance_outcome.coding", "as_estimated")),
    ),
    "carried_forward": (
        lambda d: with_options(d, ("questions.dropout.carry", 1)),
        lambda d: with_options(d, ("questions.dropout.carry", 0)),
    ),
    "post_treatment_moderators": (
        lambda d: with_options(d, (MODERATORS, {"length": {"variable": "attended_sessions", "kind": "log"}})),
        lambda d: with_options(d, (MODERATORS, {"length": {"variable": "planned_sessions", "kind": "log"}})),
    ),
    "ceiling_ignored": (lambda d: ceiling(d, 0.16), lambda d: ceiling(d, 0.15)),
    "versions_mixed": (lambda d: instruments(d, "wai_sr", "wai_36"), lambda d: instruments(d, "wai_sr")),
    "clustering_ignored": (
        lambda d: headline(d, method="n_weighted"),
        lambda d: sites_method(headline(d, method="two_stage_reml"), "cluster_jackknife"),
    ),
    "prediction_interval_omitted": (lambda d: headline(d, prediction_low=float("nan")), lambda d: headline(d, prediction_low=0.1)),
    "inseparable_subscales": (lambda d: subscales(d, 0.91), lambda d: subscales(d, 0.9)),
    "one_rupture_criterion": (
        lambda d: with_options(d, ("questions.ruptures.criteria", {"drop": {"rule": "drop", "sd": 1.0}})),
        lambda d: d,
    ),
    "concurrent_mediation": (lambda d: chains(d, [1, 0]), lambda d: ordered(chains(d, [1, 1]))),
    "mixed_directions": (lambda d: with_options(d, ("outcome.instruments", ["own_scale"])), lambda d: d),
}


def test_every_fault_of_the_guide_has_a_check_and_every_check_a_fault():
    assert [fault.key for fault in report_study.study().guide.faults] == list(reviewer.CHECKS) == list(CASES)


@pytest.mark.parametrize("key", CASES)
def test_a_fault_is_flagged_where_it_is_and_nowhere_else(key):
    study = report_study.study()
    faulty, sound = CASES[key]
    assert found(faulty(study), key).verdict == reviewer.FLAGGED
    assert found(sound(study), key).verdict == reviewer.IN_ORDER


@pytest.mark.parametrize(
    ("key", "changed", "words"),
    [
        ("no_therapist_level", lambda d: sites_method(d, "client_jackknife"), "clients count as independent"),
        ("no_measurement_check", lambda d: invariance(d, ("sites",)), "could not be tested over languages, raters, and sessions"),
        ("clustering_ignored", lambda d: with_options(d, (f"{HEADLINE}.therapists", "ignored")), "independent"),
        ("clustering_ignored", lambda d: sites_method(headline(d, method="two_stage_reml"), "independent"), "takes clients as independent"),
        ("averaged_as_early", lambda d: with_options(d, ("alliance.windows.early", {"phase": [0, 0.33]})), "beyond session 5"),
        ("nonsignificant_as_none", lambda d: with_options(d, ("questions.alliance_outcome.coding", "dropped")), "are left out"),
        ("post_treatment_moderators", lambda d: with_options(d, (f"{HEADLINE}.covariates", ["last_session"])), "last_session"),
    ],
)
def test_the_other_ways_to_a_fault_are_flagged_too(key, changed, words):
    one = found(changed(report_study.study()), key)
    assert one.verdict == reviewer.FLAGGED and words in one.sentence


def test_how_results_that_are_not_significant_enter_is_said_as_it_is():
    study = report_study.study()
    one = found(with_options(study, ("questions.alliance_outcome.coding", "imputed")), "nonsignificant_as_none")
    assert one.verdict == reviewer.IN_ORDER and "only that much is used" in one.sentence and "as estimated" not in one.sentence


def test_only_criteria_of_ruptures_that_some_site_could_use_are_counted():
    study = report_study.study()
    criteria = study.tables["ruptures"]["criteria"]
    names = sorted(set(criteria.loc[criteria["status"].isin(("estimated", "flagged")), "criterion"]) - {""})
    lost = criteria.assign(status=criteria["status"].mask(criteria["criterion"].isin(names[1:]), "not_estimable"))
    assert found(with_table(study, "ruptures", "criteria", lost), "one_rupture_criterion").verdict == reviewer.FLAGGED
    none = criteria.assign(status="not_estimable")
    assert found(with_table(study, "ruptures", "criteria", none), "one_rupture_criterion").verdict == reviewer.NOT_APPLICABLE


def test_a_path_between_what_was_measured_at_once_is_flagged_also_without_chains():
    study = with_options(report_study.study(), ("questions.path_models.mediation.enabled", False))
    assert path_models_comparison.concurrent(study)
    one = found(study, "concurrent_mediation")
    assert one.verdict == reviewer.FLAGGED and "measured at once" in one.sentence
    assert found(ordered(study), "concurrent_mediation").verdict == reviewer.IN_ORDER


@pytest.mark.parametrize(
    ("key", "question"),
    [
        ("no_therapist_level", "alliance_outcome"),
        ("carried_forward", "dropout"),
        ("one_rupture_criterion", "ruptures"),
        ("concurrent_mediation", "path_models"),
        ("inseparable_subscales", "components"),
    ],
)
def test_a_fault_of_a_question_that_is_not_asked_is_not_applicable(key, question):
    one = found(with_options(report_study.study(), (f"questions.{question}.enabled", False)), key)
    assert one.verdict == reviewer.NOT_APPLICABLE and "not asked" in one.sentence


def test_flagged_faults_stand_in_the_summary_and_all_faults_on_the_checklist():
    study = with_options(report_study.only(report_study.study(), "early_gains", "alliance_outcome"), ("outcome.form", "change"))
    rendered = pages.render_all(study, PROJECT / "workflow" / "templates")
    summary = html.unescape(rendered["index.html"].split('<h2 id="sites">')[0])
    listed = html.unescape(rendered["checklist.html"])
    checked = reviewer.check_all(study)
    assert {one.found.verdict for one in checked} == {reviewer.FLAGGED, reviewer.IN_ORDER, reviewer.NOT_APPLICABLE}
    for one in checked:
        assert one.found.sentence in listed and one.fault.why in listed
        assert (one.found.sentence in summary) == one.flagged
    assert f"flags {sum(one.flagged for one in checked)} of 18 points" in summary


def test_what_each_fault_points_to_is_a_section_that_the_study_page_can_have():
    study = report_study.study()
    known = set(html.unescape(part) for page in report_study.rendered().values() for part in _ids(page))
    missing = {fault.section for fault in study.guide.faults} - known
    assert missing <= {"components", "alliance-outcome-instruments"}, "sections of questions that the invented study does not ask"


def _ids(text: str) -> list[str]:
    return [part.split('"')[0] for part in text.split(' id="')[1:]]
