"""Scenarios: what they may change, which sites they pool, and how their headline numbers are put beside those of base."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pipeline
import pytest
import share_tables
from alliance.configuration.errors import ConfigurationError
from alliance.configuration.options import keys_changed
from alliance.configuration.study import Study, load
from alliance.files import write_csv, write_json
from alliance.launch.leftovers import record_withdrawals, remove_leftovers, remove_outdated_scenarios
from alliance.questions import contract, effects, pooled_sites
from alliance.questions.headlines import Headline, load_headlines
from alliance.questions.summary import SiteSummary
from alliance.reports.scenario_section import scenario_section
from alliance.sensitivity.contract import SCENARIO_COMPARISON, check
from alliance.sensitivity.scenario_comparison import IDENTITY, ComputedScenario, scenario_comparison
from support import PROJECT

TEMPLATES = PROJECT / "workflow" / "templates"
NOBODY_LEFT_OUT = {"leave_out": [], "leave_out_largest": 0, "min_clients": 0}


def scenarios_of(folder: Path, text: str) -> Study:
    (folder / "scenarios.yaml").write_text(text, encoding="utf-8")
    return load(folder / "config.yaml")


def faults_of(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        scenarios_of(folder, text)
    return [str(fault) for fault in error.value.faults]


def status(site: str, clients: int, state: str = "ok") -> dict:
    return {"site": site, "status": state, "counts": {"clients": clients}}


# What a scenario may change


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ("{study: {seed: 2}}", "odd.changes.study"),
        ("{study: {sites_dir: elsewhere}}", "odd.changes.study"),
        ("{cleaning: {link_check: true}}", "odd.changes.cleaning"),
        ("{poling: {level: 0.9}}", "did you mean 'pooling'"),
        ("{pooling: {levl: 0.9}}", "did you mean 'level'"),
        ("{pooling: {sites: {leave_out_bigest: 1}}}", "did you mean 'leave_out_largest'"),
        ("{pooling: {sites: {leave_out_largest: -1}}}", "odd.pooling.sites.leave_out_largest"),
        ("{pooling: {sites: {leave_out: [nortgate]}}}", "did you mean 'northgate'"),
        ("{alliance: {rater: clinet}}", "did you mean 'client'"),
        ("{alliance: {window: erly}}", "did you mean 'early'"),
        ("{alliance: null}", "odd.alliance: null does not fit"),
        ("{alliance.rater: therapist}", "keys do not take dots, write alliance: {rater: ...}"),
        ("{outcome: {instruments: [scl_90]}}", "no instrument has the key 'scl_90'"),
        ("{outcome: {instruments: [scl_90_r], scale: gsx}}", "did you mean 'gsi'"),
        ("{questions: {alliance_outcome: {coding: zro}}}", "did you mean 'zero'"),
        ("{questions: {alliance_outcome: {enabled: false}}}", "early_gains needs"),
        ("{}", "changes nothing"),
    ],
)
def test_a_wrong_scenario_is_refused_with_its_name_the_key_and_the_nearest_valid_one(study_folder, changes, named):
    found = faults_of(study_folder, f"odd:\n  reason: why\n  changes: {changes}\n")
    assert len(found) == 1 and named in found[0] and "odd" in found[0] and "scenarios.yaml, line 3" in found[0], found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("all: {reason: x, changes: {report: {decimals: 3}}}\n", "line 1: all: choose another name"),
        ("one:\n  reason: x\n  change: {report: {decimals: 3}}\n", "line 3: one.change: unknown key; did you mean 'changes'"),
        (
            "one:\n  reason: x\n  alliance: {rater: therapist}\n",
            "line 3: one.alliance: unknown key; keys of config.yaml stand below `changes:`",
        ),
        ("one:\n  reason: x\n  changes: {report: {decimals: 3}}\n  note: y\n", "line 4: one.note: unknown key"),
        ('one:\n  reason: "x\n  changes: {}\n', "what is not closed begins on line 2"),
        ("one:\n  reason: x\n  changes: {report: {decimals: 3}\nb: 1\n", "what is not closed begins on line 3"),
        ("one:\n  reason: \0x\n", "line 2: is not valid YAML: holds a character that cannot be printed"),
    ],
)
def test_a_file_of_scenarios_that_is_no_such_file_is_refused_with_the_line_and_what_is_wrong(study_folder, text, said):
    found = faults_of(study_folder, text)
    assert len(found) == 1 and said in found[0] and "scenarios.yaml, line" in found[0], found


def test_a_file_that_is_not_utf_8_is_refused_with_the_line(study_folder):
    (study_folder / "scenarios.yaml").write_bytes(b"one:\n  reason: \xe9\n")
    with pytest.raises(ConfigurationError, match=r"scenarios.yaml, line 2: is not UTF-8"):
        load(study_folder / "config.yaml")


def test_a_scenario_that_says_what_the_configuration_says_is_run_with_a_note(study_folder, capsys):
    study = scenarios_of(study_folder, "one:\n  reason: x\n  changes: {alliance: {rater: client}}\n")
    pipeline.report_scenarios_without_effect(study, ["base", "one"])
    assert capsys.readouterr().out == "note: scenario one changes nothing, config.yaml says so already; its numbers are those of base\n"


def test_a_fault_of_the_configuration_is_not_told_again_for_every_scenario(study_folder):
    config = study_folder / "config.yaml"
    text = config.read_text(encoding="utf-8").replace("leave_out: []", "leave_out: [nowhere]").replace("[core_10, phq_9]", "[core_11]")
    text = text.replace("{construct: empathy, window: session_1}", "{construct: empathy, window: session_11}")
    config.write_text(text, encoding="utf-8")
    found = faults_of(study_folder, "one:\n  reason: why\n  changes: {report: {decimals: 3}}\n")
    assert found and not [fault for fault in found if "one." in fault]


def test_all_scenarios_are_asked_for_by_one_word_and_unknown_ones_refused_beside_it(study_folder):
    study = scenarios_of(study_folder, "one:\n  reason: x\n  changes: {alliance: {rater: therapist}}\n")
    assert pipeline.chosen_scenarios(study, []) == ["base"]
    assert pipeline.chosen_scenarios(study, ["one", "base", "one"]) == ["one", "base"]
    assert pipeline.chosen_scenarios(study, ["all"]) == pipeline.chosen_scenarios(study, ["one", "all"]) == ["base", "one"]
    with pytest.raises(ConfigurationError, match="oen: no such scenario; did you mean 'one'"):
        pipeline.chosen_scenarios(study, ["all", "oen"])


def test_a_scenario_merges_keys_and_replaces_lists(study_folder):
    study = scenarios_of(
        study_folder, "one:\n  reason: why\n  changes: {alliance: {windows: {second: {sessions: [2, 2]}}, instruments: [wai_sr]}}\n"
    )
    merged, base = study.scenarios["one"]["alliance"], study.base["alliance"]
    assert merged["instruments"] == ["wai_sr"] and set(merged["windows"]) == {*base["windows"], "second"}
    assert keys_changed(study.base, study.scenarios["one"]) == ["alliance.instruments", "alliance.windows.second"]


def test_keys_changed_are_those_whose_values_differ_not_those_that_are_named(study_folder):
    study = scenarios_of(study_folder, "one:\n  reason: x\n  changes: {alliance: {rater: client, window: late}, pooling: {level: 0.95}}\n")
    assert keys_changed(study.base, study.scenarios["one"]) == ["alliance.window"]
    assert keys_changed(study.base, study.base) == []


def test_the_demo_ships_the_scenarios_that_the_review_suggests():
    study = load(PROJECT / "config.yaml")
    changed = {name: keys_changed(study.base, config) for name, config in study.scenarios.items() if name != "base"}
    assert len(changed) >= 8 and all(changed.values()) and all(study.reasons.values())
    every = {key for keys in changed.values() for key in keys}
    assert every >= {
        "alliance.rater",
        "alliance.window",
        "outcome.instruments",
        "pooling.sites.min_clients",
        "pooling.sites.leave_out_largest",
        "questions.alliance_outcome.coding",
        "scoring.missing_rule",
        "scoring.exclude_improvement_items",
    }
    assert {study.scenarios[name]["alliance"]["rater"] for name in changed} == {"client", "therapist", "observer"}
    assert study.base["alliance"]["rater"] == "client" and study.base["alliance"]["windows"]["early"]["sessions"] == [1, 5]


def test_a_tailored_or_broad_outcome_is_the_outcome_of_every_question_that_reads_one():
    study = load(PROJECT / "config.yaml")
    for name, instrument in (("tailored_outcome", "target_complaints"), ("broad_outcome", "scl_90_r")):
        for question, module in study.questions.items():
            if any(key in ("outcome", "outcome.instruments") for key in module.estimate_reads):
                assert study.estimate_options(name, question)["outcome"]["instruments"] == [instrument]
                assert study.estimate_digest(name, question) != study.estimate_digest("base", question)


# What is computed once


def test_only_what_reads_a_key_gets_results_of_its_own():
    study = load(PROJECT / "config.yaml")

    def own(scenario: str) -> set[str]:
        return {name for name in study.questions if study.estimate_digest(scenario, name) != study.estimate_digest("base", name)}

    assert own("without_largest_site") == own("without_small_sites") == own("nonsignificant_as_zero") == set()
    assert own("strict_missing") == own("without_improvement_items") == set(study.questions)
    assert not own("therapist_alliance") & {"measurement", "convergent_validity"}
    assert not own("session_3") & {"measurement", "dropout", "early_gains"}
    assert not own("late_alliance") & {"measurement", "dropout"}
    for question, module in study.questions.items():
        if module.one_stage:
            assert study.one_stage_digest("without_largest_site", question) != study.one_stage_digest("base", question)
            assert study.one_stage_digest("nonsignificant_as_zero", question) == study.one_stage_digest("base", question)


def test_a_window_concerns_only_the_questions_that_use_it(study_folder):
    changes = {
        "another": "sessions_3_to_6: {sessions: [3, 6]}",
        "same": "session_3: {sessions: [3, 3]}",
        "session_3": "session_3: {sessions: [3, 4]}",
        "session_1": "session_1: {sessions: [1, 2]}",
    }
    lines = [f"{name}:\n  reason: why\n  changes: {{alliance: {{windows: {{{window}}}}}}}\n" for name, window in changes.items()]
    study = scenarios_of(study_folder, "".join(lines))

    def own(scenario: str) -> set[str]:
        return {name for name in study.questions if study.estimate_digest(scenario, name) != study.estimate_digest("base", name)}

    assert own("another") == own("same") == set()
    assert own("session_1") == {"components", "dropout", "path_models"}
    assert own("session_3") == {"alliance_outcome", "client_factors", "convergent_validity", "early_gains", "measurement", "path_models"}


def test_the_form_of_the_outcome_concerns_only_the_questions_that_compare_forms(study_folder):
    study = scenarios_of(study_folder, "gain:\n  reason: why\n  changes: {outcome: {form: residual_gain}}\n")
    own = {name for name in study.questions if study.estimate_digest("gain", name) != study.estimate_digest("base", name)}
    assert own == {"alliance_outcome", "path_models", "client_factors", "early_gains"}


def test_a_scenario_that_is_gone_leaves_nothing_behind(study_folder):
    study = scenarios_of(study_folder, "late:\n  reason: why\n  changes: {alliance: {window: late}, scoring: {missing_rule: strict}}\n")
    results = study_folder / "results"
    files = [results / "late" / "tables" / "x.csv"]
    for scenario in ("base", "late"):
        files += [results / "scores" / study.score_digest(scenario) / "northgate" / "scores.parquet"]
        files += [results / "one_stage" / "dropout" / f"{study.one_stage_digest(scenario, 'dropout')}.csv"]
        files += [results / "summaries" / "dropout" / study.estimate_digest(scenario, "dropout") / "northgate" / "summary.json"]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")
    assert remove_leftovers(study) == [] and all(path.exists() for path in files)
    (study_folder / "scenarios.yaml").unlink()
    assert remove_leftovers(load(study_folder / "config.yaml")) == ["scenario late"]
    assert {path for path in results.rglob("*") if path.is_file()} == set(files[1:4])


@pytest.fixture
def two_computed(study_folder) -> Study:
    """A study with results of base and of one more scenario, as far as removing them is concerned."""
    study = scenarios_of(study_folder, "late:\n  reason: why\n  changes: {alliance: {window: late}, scoring: {missing_rule: strict}}\n")
    results = study_folder / "results"
    for scenario in ("base", "late"):
        write_json(results / scenario / "provenance.json", {"inputs": [{"site": "northgate"}]})
        for site in ("northgate", "other"):
            folder = results / "scores" / study.score_digest(scenario) / site
            folder.mkdir(parents=True)
            (folder / "scores.parquet").touch()
    return study


def test_scenarios_that_are_not_computed_again_keep_nothing_of_a_client_who_withdrew(study_folder, two_computed):
    results = study_folder / "results"
    assert remove_outdated_scenarios(two_computed, ["base"]) == []
    (study_folder / "withdrawn.csv").write_text("site,client_id\nnorthgate,NG001\n", encoding="utf-8")
    study = load(study_folder / "config.yaml")
    assert remove_outdated_scenarios(study, ["base"]) == ["late"]
    assert not (results / "late").exists() and (results / "base").exists()
    left = {path.relative_to(results / "scores").parts[:2] for path in (results / "scores").rglob("scores.parquet")}
    base, late = study.score_digest("base"), study.score_digest("late")
    assert left == {(base, "northgate"), (base, "other"), (late, "other")}
    (results / "late").mkdir()
    record_withdrawals(study)
    assert remove_outdated_scenarios(study, ["base"]) == [] and (results / "late").exists()
    assert "NG001" not in (results / "private" / "withdrawals.json").read_text(encoding="utf-8")


def test_scenarios_that_are_not_computed_again_keep_nothing_of_a_site_that_left(study_folder, two_computed):
    write_json(study_folder / "results" / "late" / "provenance.json", {"inputs": [{"site": "northgate"}, {"site": "gone"}]})
    assert remove_outdated_scenarios(two_computed, ["base"]) == ["late"]
    assert not (study_folder / "results" / "late").exists()


# Which sites are pooled


def test_sites_are_left_out_of_pooling_by_name_by_size_and_the_largest_of_the_rest():
    statuses = [status("a", 50), status("b", 80), status("c", 80), status("d", 20), status("e", 500, "excluded")]
    assert pooled_sites.left_out(statuses, NOBODY_LEFT_OUT) == {}
    assert pooled_sites.left_out(statuses, {**NOBODY_LEFT_OUT, "leave_out_largest": 1}) == {"b": "the largest site"}
    assert pooled_sites.left_out(statuses[::-1], {**NOBODY_LEFT_OUT, "leave_out_largest": 1}) == {"b": "the largest site"}
    found = pooled_sites.left_out(statuses, {"leave_out": ["b"], "leave_out_largest": 1, "min_clients": 30})
    assert list(found) == ["b", "c", "d"] and found["c"] == "the largest site"
    assert found["b"] == "named in pooling.sites.leave_out" and found["d"].startswith("20 clients, fewer than the 30")
    assert set(pooled_sites.left_out(statuses, {**NOBODY_LEFT_OUT, "leave_out_largest": 9})) == {"a", "b", "c", "d"}


def test_a_site_that_is_not_pooled_keeps_its_name_and_tells_why():
    given = [
        SiteSummary(
            site=site,
            question="client_factors",
            label=site.upper(),
            facts={"x": 1},
            estimates=pd.DataFrame({"model": ["m"], "parameter": ["p"], "estimate": [0.2], "status": ["estimated"]}),
        )
        for site in ("a", "b")
    ]
    given.append(SiteSummary(site="c", question="client_factors", status="excluded", reason="no rows"))
    kept = pooled_sites.without(given, {"b": "the largest site", "c": "the largest site"})
    assert [one.status for one in kept] == ["ok", "left_out", "excluded"] and kept[1].label == "B" and kept[1].facts == {}
    assert effects.absence(kept[1]) == "left out by pooling: the largest site" and effects.absence(kept[2]) == "site left out: no rows"
    assert set(effects.gather(kept)["site"]) == {"a"}


# Their headline numbers

HEADLINES = [
    Headline("main", "Alliance & outcome", "alliance_outcome", "pooled", {"headline": ("yes",)}, "B1"),
    Headline("leaving", "Alliance and dropout", "dropout", "hazard", {"term": ("alliance_first",)}, "G1"),
]


def table(question: str, name: str, estimate: float, **row) -> pd.DataFrame:
    known = np.isfinite(estimate)
    kind = "hazard_ratio" if question == "dropout" else "partial_correlation"
    base = {"site": contract.POOLED, "scale": "identity", "estimate_type": kind, "n_sites": 4, "n_clients": 200}
    base |= {"estimate": estimate, "ci_low": estimate - 0.1, "ci_high": estimate + 0.1, "method": "two_stage_reml" if known else "none"}
    base |= {"status": "estimated" if known else "not_estimable", "reason": "" if known else "not estimable: needs more"}
    return contract.finish(pd.DataFrame([{**base, **row}]), question, name)


def computed(name: str, r: float, hazard: float | None = 0.8, rater: str = "client", **of_r) -> ComputedScenario:
    tables = {"alliance_outcome": {"pooled": table("alliance_outcome", "pooled", r, headline="yes", **of_r)}}
    if hazard is not None:
        tables["dropout"] = {"hazard": table("dropout", "hazard", hazard, term="alliance_first")}
    return ComputedScenario(name, f"because of {name}", {"alliance": {"rater": rater, "window": "early"}}, tables)


def test_every_scenario_has_a_row_for_every_headline_with_its_change_from_base():
    found = scenario_comparison(
        HEADLINES,
        [
            computed("base", 0.3, claim="B1", published=0.26, difference=0.04),
            computed("by_therapist", 0.2, 0.9, "therapist"),
            computed("other", np.nan),
        ],
    )
    check(found, SCENARIO_COMPARISON, IDENTITY)
    assert list(zip(found["scenario"], found["headline"])) == [
        (scenario, headline) for scenario in ("base", "by_therapist", "other") for headline in ("main", "leaving")
    ]
    assert set(contract.COLUMNS) <= set(found.columns)
    by = found.set_index(["scenario", "headline"])
    assert by.loc[("by_therapist", "main"), "change"] == pytest.approx(-0.1)
    assert by.loc[("by_therapist", "leaving"), ["base_estimate", "change"]].tolist() == pytest.approx([0.8, 0.1])
    assert by.loc[("base", "main"), "change"] == 0 and by.loc[("base", "main"), "published"] == pytest.approx(0.26)
    assert np.isnan(by.loc[("by_therapist", "main"), "published"])
    lacking = by.loc[("other", "main")]
    assert lacking["status"] == "not_estimable" and lacking["reason"] == "not estimable: needs more"
    assert np.isnan(lacking["estimate"]) and np.isnan(lacking["change"]) and lacking["base_estimate"] == pytest.approx(0.3)
    assert by.loc[("by_therapist", "main"), "keys_changed"] == "alliance.rater"
    assert by.loc[("base", "main"), "keys_changed"] == "" == by.loc[("other", "main"), "keys_changed"]
    assert by.loc[("other", "leaving"), "reason_for_scenario"] == "because of other"


def test_a_question_that_one_scenario_does_not_ask_is_a_row_with_the_reason():
    found = scenario_comparison(HEADLINES, [computed("base", 0.3), computed("without_dropout", 0.3, None)])
    row = found[found["scenario"].eq("without_dropout") & found["headline"].eq("leaving")].iloc[0]
    assert row["status"] == "not_estimable" and "dropout, which is not asked in this scenario" in row["reason"]


def test_base_alone_is_a_table_of_base_and_without_base_nothing_is_compared():
    assert scenario_comparison(HEADLINES, [computed("base", 0.3)])["scenario"].unique().tolist() == ["base"]
    assert scenario_comparison([], [computed("base", 0.3)]).empty
    with pytest.raises(ValueError, match="base"):
        scenario_comparison(HEADLINES, [computed("late", 0.3)])


def test_the_headline_of_alliance_and_outcome_follows_its_coding():
    main = next(one for one in load_headlines(PROJECT / "workflow" / "headlines.yaml") if one.question == "alliance_outcome")
    study = load(PROJECT / "config.yaml")
    config = study.scenarios["nonsignificant_as_zero"]
    coded = table("alliance_outcome", "pooled", 0.2, headline="yes", coding="zero")
    tables = {"alliance_outcome": {"pooled": coded}}
    found = scenario_comparison([main], [ComputedScenario("base", "", config, tables)])
    assert found["estimate"].tolist() == [0.2]


# As they are told

WORDS = re.compile(r"<[^>]+>")


def told(*scenarios: ComputedScenario) -> str:
    return " ".join(WORDS.sub(" ", scenario_section(scenario_comparison(HEADLINES, scenarios), TEMPLATES)).split())


def test_the_section_names_the_scenario_that_moves_each_number_most_and_by_how_much():
    text = told(computed("base", 0.3, 1.0), computed("small", 0.28, 0.5), computed("large", -0.05, 1.6))
    assert "Alliance &amp; outcome: .30 [.20, .40] in base. It moves most in large, to −.05 (−.35)" in text
    assert "over all scenarios it lies between −.05 and .30, and lies on the other side of 0 in large" in text
    assert "Unlike in base, the interval includes 0 in large" in text
    # Half the hazard is further from no difference than 1.6 times.
    assert "Alliance and dropout: 1.00 [0.90, 1.10] in base. It moves most in small, to 0.50 (−0.50)" in text
    assert "because of large" in text


def test_what_does_not_change_and_what_cannot_be_estimated_is_told():
    text = told(computed("base", 0.3), computed("same", 0.3001, np.nan))
    assert "As in base wherever they can be estimated, to 2 decimals: “Alliance &amp; outcome”" in text
    assert "Alliance and dropout, in same: Needs more." in text


def test_a_number_that_prints_as_no_effect_has_no_side():
    text = told(computed("base", 0.003), computed("higher", 0.02), computed("lower", -0.02))
    assert "It moves most in lower" in text and "other side" not in text


def test_a_section_of_base_alone_says_how_to_compute_the_others():
    assert "make run SCENARIOS=all" in told(computed("base", 0.3))


def test_the_section_is_the_same_for_the_same_table_and_shows_text_as_text():
    def made() -> str:
        odd = computed("late", 0.1)
        odd = ComputedScenario(odd.name, "<script>alert(1)</script>", odd.configuration, odd.tables)
        return str(scenario_section(scenario_comparison(HEADLINES, [computed("base", 0.3), odd]), TEMPLATES))

    text = made()
    assert text == made() and "<script>alert" not in text and "&lt;script&gt;" in text
    assert text.count("<figure") == 1 and "data:image/svg+xml" in text and 'id="scenarios"' in text


# Tables that scenarios share


def test_scenarios_that_agree_on_what_tables_rest_on_share_them():
    study = load(PROJECT / "config.yaml")

    def pooled_again(scenario: str) -> set[str]:
        return {name for name in study.questions if study.pool_digest(scenario, name) != study.pool_digest("base", name)}

    # Early gains read a table of alliance and outcome.
    assert pooled_again("nonsignificant_as_zero") == {"alliance_outcome", "early_gains"}
    assert pooled_again("without_largest_site") == pooled_again("strict_missing") == set(study.questions)
    assert not pooled_again("therapist_alliance") & {"measurement", "convergent_validity"}


def test_a_shared_table_differs_in_nothing_but_the_scenario(tmp_path):
    odd = pd.DataFrame(
        {
            "label": ['one, "two"', "'=~", "", "line\nbreak", "naïve"],
            "scenario": "base",
            "estimate": [0.1, 1e-17, None, 1 / 3, -0.0],
            "reason": ["base", "", "a;b", " x ", "not base"],
        }
    )
    write_csv(tmp_path / "base" / "tables" / "dropout" / "hazard.csv", odd)
    write_csv(tmp_path / "wanted.csv", odd.assign(scenario="late"))
    given = tmp_path / "base" / "tables" / "dropout" / "hazard.csv"
    share_tables.main(["--scenario", "late", "--tables", str(given), "--output", str(tmp_path / "late" / "tables")])
    assert (tmp_path / "late" / "tables" / "dropout" / "hazard.csv").read_bytes() == (tmp_path / "wanted.csv").read_bytes()
