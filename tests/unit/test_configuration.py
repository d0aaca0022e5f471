"""A wrong configuration is refused before anything starts, with every fault named at once."""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from alliance.configuration.errors import ConfigurationError
from alliance.configuration.model import Chain, Configuration
from alliance.configuration.options import merge, restrict
from alliance.configuration.strict_yaml import load_file
from alliance.configuration.study import load
from alliance.configuration.validation import parse
from alliance.instruments import load_registry
from alliance.launch.new_study import start_study
from alliance.questions.site_data import Published
from alliance.sites.site_file import load_site_file
from support import PROJECT, pipeline


def rewrite(folder: Path, *changes: tuple[str, str]) -> Path:
    """Replace text in a study's configuration; every change must find its text."""
    config = folder / "config.yaml"
    text = config.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    config.write_text(text, encoding="utf-8")
    return config


def faults_of(config: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        load(config)
    return [str(fault) for fault in error.value.faults]


def test_the_shipped_configuration_names_every_key_of_the_model_and_no_other():
    data, lines = load_file(PROJECT / "config.yaml")
    resolved = parse(Configuration, data, lines, "config.yaml").model_dump(by_alias=True)

    def keys(value, path=()):
        free = {
            ("alliance", "windows"),
            ("dropout", "definitions"),
            ("questions", "path_models", "variables"),
            ("questions", "path_models", "models"),
            ("questions", "path_models", "comparisons"),
            ("questions", "path_models", "cross_lagged", "pairs"),
            ("questions", "path_models", "mediation", "chains"),
            ("questions", "path_models", "technique", "pairs"),
            ("questions", "client_factors", "factors"),
            ("multiverse", "grids"),
        }
        if not isinstance(value, dict) or path in free or path[:-1] == ("outcome",):
            return {path}
        return {found for key, child in value.items() for found in keys(child, (*path, key))}

    assert keys(resolved) == keys(data)


def test_the_shipped_study_loads():
    study = load(PROJECT / "config.yaml")
    assert study.base["study"]["simulated"] is True
    assert next(iter(study.scenarios)) == "base"


def test_a_site_with_an_unknown_instrument_is_told_the_nearest_one(study_folder):
    folder = study_folder / "data" / "demo" / "northgate"
    table = "{table: ratings, files: a.csv, instrument: hag_2, rater: client, columns: {client_id: a, session: b}, items: 'h{item}'}"
    (folder / "site.yaml").write_text(f"label: Northgate\ntables: [{table}]\n", encoding="utf-8")
    assert "haq_2" in load(study_folder / "config.yaml").sites["northgate"].instruments
    _, issues = load_site_file(folder / "site.yaml", "northgate", load_registry([PROJECT / "workflow/instruments"]))
    assert any("did you mean 'haq_2'" in issue.message for issue in issues)


def test_a_scenario_that_changes_what_it_may_not_is_checked_all_the_same(study_folder):
    text = "late: {reason: Late, changes: {study: {seed: 3}, alliance: {windw: late}}}\n"
    (study_folder / "scenarios.yaml").write_text(text, encoding="utf-8")
    faults = faults_of(study_folder / "config.yaml")
    assert len(faults) == 2 and any("late.alliance.windw" in fault and "'window'" in fault for fault in faults)


@pytest.mark.parametrize("text", ["- late\n", "late\n", "1\n", "late: 3\n", "late: [reason]\n"])
def test_scenarios_that_are_no_mapping_are_a_fault(study_folder, text):
    (study_folder / "scenarios.yaml").write_text(text, encoding="utf-8")
    assert len(faults_of(study_folder / "config.yaml")) == 1


@pytest.mark.parametrize("row", ["northgate", "northgate,", ",C1", "northgate;C1"])
def test_a_withdrawal_that_names_nobody_stops_the_run(study_folder, row):
    (study_folder / "withdrawn.csv").write_text(f"site,client_id\nnorthgate,C2\n\n{row}\n", encoding="utf-8")
    (fault,) = faults_of(study_folder / "config.yaml")
    assert "withdrawn.csv, line 4" in fault


def test_a_withdrawal_counts_with_spaces_around_it(study_folder):
    config = study_folder / "config.yaml"
    before = load(config).withdrawn
    (study_folder / "withdrawn.csv").write_text('site,client_id\n"northgate ", C2\n', encoding="utf-8")
    with_spaces = load(config).withdrawn
    (study_folder / "withdrawn.csv").write_text("site,client_id\nnorthgate,C2\n", encoding="utf-8")
    assert before == {} and set(with_spaces) == {"northgate"} and with_spaces == load(config).withdrawn


def test_a_wrong_command_line_ends_with_its_status_and_meaning(study_folder):
    result = pipeline("run", study_folder / "config.yaml", "--cores", "two")
    assert result.returncode == 2 and result.stdout.splitlines()[-1].startswith("exit status 2: ")


def test_all_faults_are_reported_at_once_with_line_key_and_nearest_name(study_folder):
    config = rewrite(
        study_folder,
        ("strict: false", "strikt: false"),
        ("form: ancova ", "form: anvoca "),
        ("level: 0.95", "level: 2"),
        ("sessions: [1, 5]", "sessions: [5, 1]"),
        ("min_sites: 2", 'min_sites: "2"'),
    )
    faults = faults_of(config)
    assert len(faults) == 5
    assert any("study.strikt" in fault and "'strict'" in fault and "line" in fault for fault in faults)
    assert any("outcome.form" in fault and "'ancova'" in fault for fault in faults)
    assert any("pooling.level" in fault for fault in faults)
    assert any("alliance.windows.early.sessions" in fault for fault in faults)
    assert any("pooling.min_sites" in fault and "whole number" in fault for fault in faults)


@pytest.mark.parametrize("path", ["../elsewhere", "/etc", "~/data", "$HOME/data", "data/../../x", "C:/data", "results/x", ".", "a\\\\b"])
def test_a_path_that_leaves_the_study_or_meets_its_results_is_refused(study_folder, path):
    config = rewrite(study_folder, ("sites_dir: data/demo", f'sites_dir: "{path}"'))
    assert any("study.sites_dir" in fault for fault in faults_of(config))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("alliance ~ a*empathy + intake_level", "alliance ~ a*empathi + intake_level", "empathy"),
        ("alliance ~ a*empathy + intake_level", "alliance ~ alliance + intake_level", "alliance"),
        ("alliance ~ a*empathy + intake_level", "alliance ~ a*empathy + outcome", "outcome"),
        ("empathy: {construct: empathy, window: session_1}", "empathy: {construct: empathie, window: session_1}", "empathy"),
        ("empathy: {construct: empathy, window: session_1}", "empathy: {construct: empathy, window: sesion_1}", "session_1"),
        ("indirect := a*b", "indirect := a*d", "d"),
        ("instruments: [core_10, phq_9]  # in order of preference; the main outcome", "instruments: [core_01]", "core_10"),
        (
            "x: alliance.client, y: alliance.therapist, outcome: outcome",
            "x: alliance.clients, y: alliance.therapist, outcome: outcome",
            "client",
        ),
        ("x: alliance.client, y: alliance.therapist, outcome: outcome", "x: alliance.client, y: clients.age, outcome: outcome", "x and y"),
        (
            "x: clients.affiliation, y: therapists.affiliation, outcome: alliance",
            "x: clients.age, y: clients.age, outcome: alliance",
            "same",
        ),
        (
            "x: clients.dominance, y: therapists.dominance, outcome: alliance",
            "x: clients.age, y: clients.cases, outcome: symptoms",
            "sessions",
        ),
        ("windows: [early, all]        # windows of alliance.windows in which raters", "windows: [erly]  # windows", "early"),
        ("raters: [client, therapist]  # two of", "raters: [client, client]  # two of", "differ"),
    ],
)
def test_a_model_or_measure_that_cannot_be_is_refused_before_any_job(study_folder, old, new, expected):
    config = rewrite(study_folder, (old, new))
    faults = faults_of(config)
    assert any(expected in fault and "line" in fault for fault in faults), faults


@pytest.mark.parametrize("name", ["Nord", "a b", "con", "-x", "x-", "a" * 33, "é", "$(id)", "{x}", "pooled"])
def test_a_site_folder_with_a_name_that_is_no_id_stops_the_run(study_folder, name):
    shutil.copytree(study_folder / "data" / "demo" / "northgate", study_folder / "data" / "demo" / name)
    assert any("site folder" in fault for fault in faults_of(study_folder / "config.yaml"))


def test_a09_rows_and_a_summary_in_one_folder_stop_the_run(study_folder):
    site = study_folder / "data" / "demo" / "northgate"
    (site / "path_models").mkdir()
    (site / "path_models" / "summary.json").write_text("{}", encoding="utf-8")
    assert any("A09" in fault and "northgate" in fault for fault in faults_of(study_folder / "config.yaml"))
    (site / "site.yaml").write_text("data: summary\n", encoding="utf-8")
    assert list(load(study_folder / "config.yaml").sites) == ["northgate"]


def test_c08_two_sites_whose_ids_differ_only_by_case_cannot_both_be(study_folder):
    shutil.copytree(study_folder / "data" / "demo" / "northgate", study_folder / "data" / "demo" / "NorthGate")
    assert any("NorthGate" in fault for fault in faults_of(study_folder / "config.yaml"))


def test_a_folder_without_site_yaml_is_no_site_and_is_named(study_folder):
    (study_folder / "data" / "demo" / "drafts").mkdir()
    study = load(study_folder / "config.yaml")
    assert list(study.sites) == ["northgate"] and study.not_sites == ("drafts",)


def test_a_study_without_sites_is_a_fault(study_folder):
    shutil.rmtree(study_folder / "data" / "demo" / "northgate")
    assert any("holds no site" in fault for fault in faults_of(study_folder / "config.yaml"))


def test_scenarios_are_checked_merged_with_their_own_lines(study_folder):
    (study_folder / "scenarios.yaml").write_text(
        "late:\n  reason: later\n  changes:\n    alliance: {window: lat}\n"
        "seeded:\n  reason: other seed\n  changes:\n    study: {seed: 2}\n"
        "typo:\n  reason: x\n  changes:\n    aliance: {window: late}\n"
        "Base:\n  reason: x\n  changes: {}\n",
        encoding="utf-8",
    )
    faults = faults_of(study_folder / "config.yaml")
    assert any("late." in fault and "line 4" in fault and "late" in fault for fault in faults), faults
    assert any("seeded.changes.study" in fault for fault in faults)
    assert any("typo." in fault and "'alliance'" in fault for fault in faults)
    assert any("Base" in fault for fault in faults)


def test_scenarios_that_agree_on_what_a_step_reads_share_its_digest(study_folder):
    (study_folder / "scenarios.yaml").write_text(
        "wide:\n  reason: other interval\n  changes:\n    pooling: {level: 0.9}\n"
        "strict_missing:\n  reason: no proration\n  changes:\n    scoring: {missing_rule: strict}\n",
        encoding="utf-8",
    )
    study = load(study_folder / "config.yaml")
    for question in study.enabled_questions("base"):
        reads_level = any(key.split(".")[0] == "pooling" for key in study.questions[question].estimate_reads)
        same = study.estimate_digest("base", question) == study.estimate_digest("wide", question)
        assert same or reads_level
        assert study.estimate_digest("base", question) != study.estimate_digest("strict_missing", question)
    assert study.score_digest("base") == study.score_digest("wide") != study.score_digest("strict_missing")


def test_comments_and_key_order_do_not_change_what_is_resolved(study_folder):
    before = load(study_folder / "config.yaml")
    rewrite(study_folder, ("# How items become scores.", "# Another comment."))
    after = load(study_folder / "config.yaml")
    assert before.base == after.base


def test_merging_replaces_lists_and_values_and_merges_keys():
    assert merge({"a": {"b": 1, "c": [1, 2]}, "d": 1}, {"a": {"c": [3]}}) == {"a": {"b": 1, "c": [3]}, "d": 1}


def test_restricting_keeps_only_the_named_keys():
    assert restrict({"a": {"b": 1, "c": 2}, "d": 3}, ("a.c",)) == {"a": {"c": 2}}


def test_withdrawing_a_client_concerns_that_client_s_site_only(study_folder):
    (study_folder / "withdrawn.csv").write_text("site,client_id\nnorthgate,NG001\n", encoding="utf-8")
    study = load(study_folder / "config.yaml")
    assert list(study.withdrawn) == ["northgate"] and "NG001" not in str(study.withdrawn)


@pytest.mark.skipif(os.geteuid() == 0, reason="needs an ordinary user, for the superuser may read every file; run the tests as one")
def test_a_configuration_that_may_not_be_read_is_one_plain_fault(study_folder):
    (study_folder / "config.yaml").chmod(0)
    assert any("permissions" in fault for fault in faults_of(study_folder / "config.yaml"))


def test_new_study_starts_with_a_commented_valid_configuration(tmp_path):
    folder = tmp_path / "my study é"
    start_study(folder)
    with pytest.raises(ConfigurationError) as error:
        load(folder / "config.yaml")
    assert ["holds no site" in str(fault) for fault in error.value.faults] == [True]
    text = (folder / "config.yaml").read_text(encoding="utf-8")
    assert "simulated: false" in text and text.count("#") > 40 and "demo" not in text.lower().split("study:")[1].split("cleaning:")[0]


def test_new_study_never_writes_into_a_folder_that_holds_something(tmp_path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigurationError):
        start_study(tmp_path)


def test_the_launcher_reports_faults_without_a_traceback_and_exits_2(study_folder):
    rewrite(study_folder, ("strict: false", "strikt: false"))
    result = pipeline("run", study_folder / "config.yaml")
    assert result.returncode == 2
    assert result.stdout.strip().splitlines()[-1].startswith("exit status 2: ")
    assert "Traceback" not in result.stdout + result.stderr
    assert not (study_folder / "results").exists()


@pytest.mark.parametrize(("kind", "lags", "needed"), [("1-1-1", [1], 2), ("2-1-1", [1, 1], 1)])
def test_a_chain_has_one_lag_for_every_link_of_sessions(kind, lags, needed):
    sides = {"from": {"construct": "alliance"}, "through": {"construct": "alliance"}, "to": {"construct": "symptoms"}}
    with pytest.raises(ValueError, match=f"lags needs {needed} number"):
        Chain.model_validate({"kind": kind, "lags": lags, **sides})


def line_of(config: Path, text: str) -> int:
    """Return the number of the only line that holds a text."""
    (number,) = (number for number, line in enumerate(config.read_text(encoding="utf-8").splitlines(), start=1) if text in line)
    return number


def test_an_unknown_variable_of_a_path_model_is_told_with_its_line_and_the_nearest_name(study_folder):
    config = rewrite(study_folder, ("outcome ~ b*alliance + c*empathy + intake_level", "outcome ~ b*alliance + c*empaty + intake_level"))
    (fault,) = faults_of(config)
    assert f"config.yaml, line {line_of(config, 'c*empaty')}: questions.path_models.models.empathy_alliance_outcome.syntax" in fault
    assert "empaty" in fault and "did you mean 'empathy'" in fault


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ("scale: bond, window", "scale: bnd, window", "variables.bond.scale", "has no scale 'bnd'; did you mean 'bond'?"),
        ("blri_os64.regard,", "blri_os64.regrd,", "variables.regard_3.construct", "blri_os64 has no scale 'regrd'; did you mean 'regard'?"),
        ("blri_os64.regard,", "blri_os46.regard,", "variables.regard_3.construct", "the key 'blri_os46'; did you mean 'blri_os64'?"),
        (
            "influence: {construct: social_influence}",
            "influence: {construct: social_influence, instrument: crf_35}",
            "variables.influence.instrument",
            "the key 'crf_35'; did you mean 'crf_36'?",
        ),
        ("[expertness,", "[expertnes,", "conditions.influence.0", "crf_s or crf_36 has no scale 'expertnes'; did you mean 'expertness'?"),
        (
            "empathy: {construct: empathy}",
            "empathy: {construct: empathy, scale: totl}",
            "cross_lagged.pairs.empathy_alliance.series.empathy.scale",
            "did you mean 'total'?",
        ),
        (
            "{construct: events.interpretation}   #",
            "{construct: homework_adherence.totl}   #",
            "technique.pairs.interpretation_by_alliance.technique.construct",
            "did you mean 'total'?",
        ),
    ],
)
def test_an_instrument_or_scale_of_a_variable_that_does_not_exist_is_told_with_its_line_and_the_nearest_name(
    study_folder, old, new, key, said
):
    (fault,) = faults_of(rewrite(study_folder, (old, new)))
    assert f"config.yaml, line {line_of(study_folder / 'config.yaml', new)}: questions.path_models.{key}: " in fault and said in fault


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("scale: severity}", "scale: severty}", "outcome.tailored.scale: target_complaints has no scale 'severty'"),
        ("instrument: scl_90_r", "instrument: scl_90", "outcome.broad.instrument: no instrument has the key 'scl_90'"),
        ("blri_os64.empathy,", "blri_os64.empaty,", "empathy.instruments.2: blri_os64 has no scale 'empaty'; did you mean 'empathy'?"),
        ("  scale: regard\n", "  scale: regrd\n", "regard.scale: blri_os64 or blri_os40 has no scale 'regrd'; did you mean 'regard'?"),
    ],
)
def test_a_measure_with_a_scale_that_its_instruments_lack_is_refused(study_folder, old, new, said):
    (fault,) = faults_of(rewrite(study_folder, (old, new)))
    assert said in fault and f"line {line_of(study_folder / 'config.yaml', new.strip())}:" in fault


def test_regressions_that_run_in_a_circle_are_refused(study_folder):
    config = rewrite(study_folder, ("          total := c + a*b\n", "          total := c + a*b\n          empathy ~ outcome\n"))
    (fault,) = faults_of(config)
    assert "the regressions run in a circle (" in fault
    circle = fault.split("(")[1].split(")")[0].split(" -> ")
    assert circle[0] == circle[-1] and set(circle) <= {"empathy", "alliance", "outcome"} and len(circle) > 2


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["work =~ task + bond"], "it has 4 free parameters; 2 observed variables allow 3"),
        (["work =~ task + bond", "rest =~ goal + intake_level", "work ~~ 0*rest"], "no data could tell these parameters apart: "),
    ],
)
def test_a_path_model_that_no_data_could_estimate_is_refused_with_the_reason(study_folder, lines, said):
    syntax = "".join(f"          {line}\n" for line in lines)
    (fault,) = faults_of(rewrite(study_folder, ("          outcome ~ task + bond + goal + intake_level\n", syntax)))
    assert "questions.path_models.models.components.syntax" in fault
    assert f"the model cannot be estimated: {said}" in fault


GROUPED = "outcome ~ c(in_cognitive, in_psychodynamic)*alliance + intake_level"
SAME = "outcome ~ c(same, same)*alliance + intake_level"


def test_labels_that_are_not_one_a_group_are_told_with_their_line(study_folder):
    config = rewrite(study_folder, (GROUPED, "outcome ~ c(in_cognitive, in_psychodynamic, third)*alliance + intake_level"))
    (fault,) = faults_of(config)
    assert f"line {line_of(config, 'third)*alliance')}: questions.path_models.models.alliance_outcome_by_treatment.syntax" in fault
    assert "'outcome~alliance' has 3 labels or values, there are 2 groups; give one a group" in fault


def test_labels_by_group_need_groups(study_folder):
    config = rewrite(study_folder, ("outcome ~ task + bond + goal + intake_level", "outcome ~ c(a, b)*task + bond + goal + intake_level"))
    (fault,) = faults_of(config)
    assert f"line {line_of(config, 'c(a, b)*task')}: questions.path_models.models.components.syntax" in fault
    assert "the model is for one group; give one, or name the groups it is for" in fault


def test_an_effect_over_groups_names_labels_that_there_are(study_folder):
    (fault,) = faults_of(rewrite(study_folder, ("difference := in_cognitive - in_psychodynamic", "difference := in_cognitive - in_psycho")))
    assert "did you mean 'in_psychodynamic'" in fault


def test_what_is_equal_over_groups_is_written_as_lavaan_has_it(study_folder):
    config = rewrite(study_folder, ("group_equal: []  ", "group_equal: [regression]"))
    (fault,) = faults_of(config)
    assert f"line {line_of(config, 'group_equal: [regression]')}: " in fault and "did you mean 'regressions'" in fault


def test_a_term_that_differs_between_groups_all_the_same_is_one_of_the_model(study_folder):
    config = rewrite(study_folder, ("group_partial: []  ", 'group_partial: ["outcome ~ empathy"]'))
    (fault,) = faults_of(config)
    line = line_of(config, 'group_partial: ["outcome ~ empathy"]')
    assert f"line {line}: " in fault
    assert "alliance_outcome_same_in_treatments.group_partial: 'outcome ~ empathy' is no term of the model" in fault


@pytest.mark.parametrize(
    ("by", "said"),
    [
        (
            "treatmnt",
            "'treatmnt' is no column that is known to tell groups apart; did you mean 'treatment'?",
        ),
        ("core_10.total", "'core_10.total' is no column of the clients table"),
    ],
)
def test_groups_are_told_apart_by_a_column_of_the_clients_table(study_folder, by, said):
    before = "groups: {by: treatment, values: [cognitive, psychodynamic]}"
    config = rewrite(study_folder, (before, before.replace("treatment", by)), (before, before.replace("treatment", by)))
    faults = faults_of(config)
    assert len(faults) == 2 and all(said in fault for fault in faults)
    assert "questions.path_models.models.alliance_outcome_by_treatment.groups.by" in faults[0]


@pytest.mark.parametrize("by", ["clients.setting", "gender", "object_relations"])
def test_any_column_of_the_clients_table_can_tell_groups_apart(study_folder, by):
    before = "groups: {by: treatment, values: [cognitive, psychodynamic]}"
    after = f'groups: {{by: {by}, values: ["1", "2"]}}'
    load(rewrite(study_folder, (before, after), (before, after)))


@pytest.mark.parametrize(
    ("values", "said"),
    [("[cognitive]", "at least 2"), ("[cognitive, cognitive]", "'cognitive' stands twice"), ("[1, 2]", "text in quotes is expected")],
)
def test_groups_are_two_or_more_different_texts(study_folder, values, said):
    faults = faults_of(rewrite(study_folder, ("values: [cognitive, psychodynamic]", f"values: {values}")))
    assert any(said in fault and "alliance_outcome_by_treatment.groups" in fault for fault in faults)


def test_equality_over_groups_needs_groups(study_folder):
    label = '        label: "Task, bond and goal side by side"\n'
    (fault,) = faults_of(rewrite(study_folder, (label, label + "        group_equal: [regressions]\n")))
    assert "group_equal and group_partial need groups" in fault


def test_models_for_different_groups_are_not_compared(study_folder):
    (fault,) = faults_of(rewrite(study_folder, ("values: [cognitive, psychodynamic]", "values: [psychodynamic, cognitive]")))
    assert "questions.path_models.comparisons.treatments.models" in fault
    assert "models can only be compared for the same groups; 'alliance_outcome_same_in_treatments' and 'alliance_outcome_by_tre" in fault


@pytest.mark.parametrize(
    ("syntax", "said"),
    [
        (["work =~ task + bond"], "it has 12 free parameters; 2 observed variables in 2 groups allow 10"),
        (
            ["work =~ c(NA, 1)*task + bond + goal", "rest =~ alliance + intake_level + outcome"],
            "no data could tell these parameters apart: ",
        ),
    ],
)
def test_a_model_that_no_data_of_its_groups_could_estimate_is_refused_with_the_reason(study_folder, syntax, said):
    lines = "".join(f"          {line}\n" for line in syntax)
    own = f"          {GROUPED}\n          difference := in_cognitive - in_psychodynamic\n"
    together = "models: [alliance_outcome_same_in_treatments, alliance_outcome_by_treatment]"
    other = together.replace("alliance_outcome_by_treatment", "alliance_outcome_same_in_treatments")
    (fault,) = faults_of(rewrite(study_folder, (own, lines), (together, other)))
    assert "questions.path_models.models.alliance_outcome_by_treatment.syntax" in fault
    assert f"the model cannot be estimated: {said}" in fault


def test_equality_over_groups_can_identify_a_model(study_folder):
    # Two indicators do not identify a factor in one group; where loadings and unexplained variances are equal they do in two.
    own = f"        syntax: |\n          {GROUPED}\n          difference := in_cognitive - in_psychodynamic\n"
    equal = "        group_equal: [loadings, residuals]\n        syntax: |\n          work =~ task + bond\n"
    together = "models: [alliance_outcome_same_in_treatments, alliance_outcome_by_treatment]"
    other = together.replace("alliance_outcome_by_treatment", "alliance_outcome_same_in_treatments")
    load(rewrite(study_folder, (own, equal), (together, other)))


def test_models_of_different_variables_are_not_compared_and_the_missing_one_is_named(study_folder):
    with_level = "          alliance ~ a*empathy + intake_level\n          outcome ~ b*alliance + intake_level\n"
    config = rewrite(study_folder, (with_level, with_level.replace(" + intake_level", "")))
    (fault,) = faults_of(config)
    assert "questions.path_models.comparisons.mediation.models" in fault
    assert "'alliance_carries_all' lacks intake_level" in fault


def test_models_that_give_a_variable_another_meaning_are_not_compared(study_folder):
    label = '        label: "Empathy works through the alliance alone"\n'
    own = "        variables: {alliance: {construct: alliance, window: early, rater: therapist}}\n"
    (fault,) = faults_of(rewrite(study_folder, (label, label + own)))
    assert "questions.path_models.comparisons.mediation.models" in fault
    assert "'alliance' is not the same in 'alliance_carries_all' and 'empathy_alliance_outcome'" in fault


def test_a_comparison_names_models_that_are_there(study_folder):
    config = rewrite(
        study_folder,
        ("models: [alliance_carries_all, empathy_alliance_outcome]", "models: [alliance_carries_al, empathy_alliance_outcome]"),
    )
    (fault,) = faults_of(config)
    assert "there is no model 'alliance_carries_al'" in fault and "did you mean 'alliance_carries_all'" in fault


@pytest.mark.parametrize("name", ["comparison", "cross_lagged", "mediation", "conditions"])
def test_a_path_model_may_not_bear_the_name_of_a_part_of_its_question(study_folder, name):
    (fault,) = faults_of(rewrite(study_folder, ('      components:\n        label: "Task', f'      {name}:\n        label: "Task')))
    assert f"'{name}' is the name of a part of this question; choose another name" in fault


def test_all_faults_of_path_models_are_told_at_once(study_folder):
    config = rewrite(
        study_folder,
        ("          total := c + a*b\n", "          total := c + a*b\n          empathy ~ outcome\n"),
        ("          outcome ~ task + bond + goal + intake_level\n", "          outcome ~ task + bnd + goal + intake_level\n"),
        ("          adherence ~ a*alliance + intake_level\n", "          adherence ~ a*alliance + intake_level + (\n"),
    )
    faults = faults_of(config)
    assert len(faults) >= 3
    for model in ("empathy_alliance_outcome", "components", "adherence_as_mechanism"):
        assert any(f"questions.path_models.models.{model}.syntax" in fault for fault in faults)


def test_a_scenario_names_the_variables_that_stand_for_other_measures_than_those_a_site_published():
    study = load(PROJECT / "config.yaml")

    def changed(scenario: str, question: str) -> list[str]:
        return study.estimate_options(scenario, question).get("published_without", [])

    assert all(not changed("base", question) for question in study.enabled_questions("base"))
    assert changed("therapist_alliance", "alliance_outcome") == ["alliance"]
    assert changed("tailored_outcome", "alliance_outcome") == ["change", "intake", "outcome", "residual_gain"]
    assert changed("session_3", "path_models") == ["alliance", "alliance_early"]
    assert changed("without_largest_site", "alliance_outcome") == changed("strict_missing", "alliance_outcome") == []


def test_published_figures_without_a_variable_hold_nothing_that_concerns_it():
    moments = pd.DataFrame({"var1": ["alliance", "alliance", "intake"], "var2": ["outcome", "intake", "outcome"], "cov": [0.3, 0.1, 0.4]})
    published = Published(moments, pd.DataFrame({"parameter": ["ancova"], "estimate": [0.3]}))
    assert published.without(["alliance"]).moments["cov"].tolist() == [0.4] and published.without(["alliance"]).effects.empty
    assert published.without([]).moments.equals(moments) and len(published.without([]).effects) == 1
