"""What was registered is checked before anything starts, and stands beside what a run has."""

from __future__ import annotations

import dataclasses
import html
import json
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import report_study
from alliance.configuration.errors import ConfigurationError
from alliance.configuration.preregistration import COLUMNS, deviations, leaves, part
from alliance.configuration.study import load
from alliance.files import canonical_json, write_json
from alliance.launch.new_study import start_study
from alliance.reports import pages
from alliance.reports.inputs import read_deviations
from alliance.reports.registration import NONE_GIVEN, registration_chapter, standing
from support import PROJECT, pipeline
from unit.test_reports_pages import HOSTILE, Tree

WHOLE = """
registered: {registry: OSF, identifier: osf.io/abcde, date: "2025-03-01"}
config:
  alliance:
    window: late
    instruments: [wai_sr, haq_2]
  pooling: {level: 0.95}
  questions: {dropout: {enabled: false}}
scenarios: [late_alliance, never_written]
confirmatory:
  questions: [alliance_outcome]
  claims: [C4, G1]
sample: {sites: 5, clients: 300, clients_per_site: 40}
explanations:
  alliance.window: "Ratings of late sessions came from two sites only."
  questions: "Dropout was recorded after all."
  sample.clients: "Two sites left."
"""


@pytest.fixture
def registered(study_folder):
    """The study folder with a registration, loaded."""
    (study_folder / "prereg.yaml").write_text(WHOLE, encoding="utf-8")
    (study_folder / "scenarios.yaml").write_text(
        "late_alliance:\n  reason: later\n  changes:\n    alliance: {window: late}\n"
        "wide:\n  reason: other interval\n  changes:\n    pooling: {level: 0.9}\n",
        encoding="utf-8",
    )
    return load(study_folder / "config.yaml")


def achieved(study, scenario="base", **clients):
    return {
        "scenario": scenario,
        "clients": clients,
        "scenarios": list(study.scenarios),
        "questions": study.enabled_questions(scenario),
    }


def listed(study, scenario="base", **clients):
    base = None if scenario == "base" else study.base
    return deviations(study.preregistration, study.scenarios[scenario], achieved(study, scenario, **clients), base)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("  alliance:\n    window", "  aliance:\n    window", "line 4: config.aliance: unknown key; did you mean 'alliance'?"),
        ("    window: late", "    windw: late", "line 5: config.alliance.windw: unknown key; did you mean 'window'?"),
        ("window: late", "window: lat", "config.alliance: window 'lat' is not among windows"),
        ("window: late", "window: lat", "did you mean 'late'?"),
        ("level: 0.95", "level: high", "line 7: config.pooling.level: 'high' does not fit: a number is expected"),
        ("registered:", "registred:", "did you mean 'registered'?"),
        ("registered:", "registred:", "registered: is missing and has no default; add it"),
        ('"2025-03-01"', '"1 March 2025"', "registered.date"),
        ('"2025-03-01"', '"2025-13-45"', "registered.date: must be a day as YYYY-MM-DD"),
        ("alliance_outcome]", "aliance_outcome]", "there is no question 'aliance_outcome'; did you mean 'alliance_outcome'?"),
        ("[C4, G1]", "[C4, Z9]", "line 12: confirmatory.claims: there is no claim 'Z9'"),
        ("clients_per_site: 40", "clients_per_site: 0", "sample.clients_per_site"),
        ("sample.clients:", "sample.client:", "which was not registered; did you mean 'sample.clients'?"),
        ("  alliance.window:", "  outcome.form:", "explains a deviation from 'outcome.form', which was not registered"),
    ],
)
def test_a_fault_is_told_with_its_line_and_the_nearest_name(study_folder, old, new, told):
    assert old in WHOLE
    (study_folder / "prereg.yaml").write_text(WHOLE.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigurationError) as error:
        load(study_folder / "config.yaml")
    faults = [str(fault) for fault in error.value.faults]
    assert any(told in fault and fault.startswith("prereg.yaml") for fault in faults), faults


@pytest.mark.parametrize("text", ["- a\n", "just text\n", "", "registered: [1]\n", "registered: *x\n", "a: b: c\n"])
def test_a_file_that_is_no_registration_stops_the_launcher_without_a_traceback(study_folder, text):
    (study_folder / "prereg.yaml").write_text(text, encoding="utf-8")
    result = pipeline("run", study_folder / "config.yaml")
    assert result.returncode == 2 and "prereg.yaml" in result.stdout and "Traceback" not in result.stdout + result.stderr


def test_a_study_without_the_file_has_no_registration(study_folder):
    assert load(study_folder / "config.yaml").preregistration is None
    table = deviations(None, {}, {"scenario": "base", "clients": {}, "scenarios": [], "questions": []})
    assert list(table.columns) == list(COLUMNS) and table.empty


def test_values_stand_as_a_run_resolves_them(registered):
    config = registered.preregistration["config"]
    assert leaves(config) == ["alliance.window", "alliance.instruments", "pooling.level", "questions.dropout.enabled"]
    assert part(registered.base, [*leaves(config), "not.there"])["pooling"] == {"level": 0.95}
    assert registered.preregistration["claims"]["G1"] == ["dropout"]


def test_every_item_stands_beside_what_the_run_has(registered):
    table = listed(registered, elm=100, oak=38, ash=90)
    found = {row.key: (row.registered, row.this_run, row.deviates, row.explanation) for row in table.itertuples()}
    instruments = canonical_json(registered.base["alliance"]["instruments"])
    assert found == {
        "alliance.window": ('"late"', '"early"', "yes", "Ratings of late sessions came from two sites only."),
        "alliance.instruments": ('["wai_sr","haq_2"]', instruments, "yes", ""),
        "pooling.level": ("0.95", "0.95", "no", ""),
        "questions.dropout.enabled": ("false", "true", "yes", "Dropout was recorded after all."),
        "sample.sites": ("at least 5", "3", "yes", ""),
        "sample.clients": ("at least 300", "228", "yes", "Two sites left."),
        "sample.clients_per_site": ("at least 40", "38 at the smallest site; 1 of 3 below", "yes", ""),
        "scenarios.late_alliance": ("planned", "defined", "no", ""),
        "scenarios.never_written": ("planned", "not defined", "yes", ""),
        "questions.alliance_outcome": ("confirmatory", "asked", "no", ""),
        "claims.C4": ("confirmatory", "asked", "no", ""),
        "claims.G1": ("confirmatory", "asked", "no", ""),
    }
    assert set(table["scenario"]) == {"base"}


def test_a_scenario_that_changes_a_registered_key_does_so_on_purpose(registered):
    base, late, wide = (listed(registered, name, elm=400).set_index("key")["deviates"] for name in ("base", "late_alliance", "wide"))
    assert (base["pooling.level"], wide["pooling.level"]) == ("no", "by_scenario")
    assert (base["alliance.window"], late["alliance.window"], wide["alliance.window"]) == ("yes", "no", "yes")


def test_sites_that_do_not_tell_their_clients_leave_open_what_they_could_decide(registered):
    deviates = listed(registered, elm=290, oak=None).set_index("key")["deviates"]
    assert (deviates["sample.clients"], deviates["sample.clients_per_site"]) == ("unknown", "unknown")
    deviates = listed(registered, elm=310, oak=None).set_index("key")["deviates"]
    assert (deviates["sample.clients"], deviates["sample.clients_per_site"]) == ("no", "unknown")
    deviates = listed(registered, elm=30, oak=None).set_index("key")["deviates"]
    assert deviates["sample.clients_per_site"] == "yes"
    assert listed(registered, oak=None).set_index("key").loc["sample.clients", "this_run"] == "not known"
    assert listed(registered).set_index("key").loc["sample.sites", "this_run"] == "0"


def test_a_confirmatory_question_that_is_not_asked_deviates(study_folder):
    (study_folder / "prereg.yaml").write_text(WHOLE.replace("[alliance_outcome]", "[dropout]"), encoding="utf-8")
    text = (study_folder / "config.yaml").read_text(encoding="utf-8")
    place = text.index("  dropout:                       #")
    text = text[:place] + text[place:].replace("enabled: true", "enabled: false", 1)
    (study_folder / "config.yaml").write_text(text, encoding="utf-8")
    deviates = listed(load(study_folder / "config.yaml"), elm=400).set_index("key")["deviates"]
    assert (deviates["questions.dropout"], deviates["claims.G1"], deviates["claims.C4"]) == ("yes", "yes", "no")
    assert deviates["questions.dropout.enabled"] == "no"


def test_the_step_writes_what_the_function_returns_and_leaves_out_excluded_sites(registered, tmp_path):
    paths = []
    for site, status, clients in (("elm", "ok", 310), ("oak", "excluded", 90)):
        paths.append(tmp_path / site / "status.json")
        write_json(paths[-1], {"site": site, "status": status, "counts": {"clients": clients}})
    run = achieved(registered) | {"config": registered.base, "base": None}
    call = [sys.executable, str(PROJECT / "scripts" / "list_deviations.py"), "--run", json.dumps(run), "--statuses", *map(str, paths)]
    for given, expected in ((registered.preregistration, listed(registered, elm=310)), (None, deviations(None, {}, achieved(registered)))):
        subprocess.run([*call, "--preregistration", json.dumps(given), "--output", str(tmp_path / "deviations.csv")], check=True)
        pd.testing.assert_frame_equal(read_deviations(tmp_path / "deviations.csv"), expected, check_dtype=False)


def test_a_report_without_registration_says_so_in_one_sentence():
    rendered = pages.render_all(report_study.study(), report_study.TEMPLATES)["index.html"]
    assert html.unescape(rendered).count(NONE_GIVEN) == 1
    assert "in this chapter is exploratory" not in rendered and "this chapter reports is exploratory" not in rendered


def with_registration(registered, **changes):
    """The invented study of the reports with a registration."""
    table = listed(registered, elm=100, oak=38, ash=90)
    made = dataclasses.replace(report_study.study(), preregistration=registered.preregistration, deviations=table)
    return dataclasses.replace(made, **changes)


def test_the_report_lists_deviations_with_their_explanations_and_the_sample(registered):
    text = html.unescape(pages.render_all(with_registration(registered), report_study.TEMPLATES)["index.html"])
    tree = Tree(text)
    said = " ".join(tree.text)
    assert "The study was registered at OSF (osf.io/abcde) on 2025-03-01." in said
    assert "Registered as confirmatory: the headline of “Alliance outcome”; claims C4 and G1." in said
    assert "Of 12 registered items 7 deviate, 4 of them without an explanation." in said
    chapter = registration_chapter(registered.preregistration, listed(registered, elm=100, oak=38, ash=90), ["base"])
    open_items, sample, kept = chapter.blocks
    assert [row[0].text for row in open_items.rows] == [
        *("alliance.window", "alliance.instruments", "questions.dropout.enabled", "scenarios.never_written"),
    ]
    assert [row[-1].text for row in open_items.rows][:2] == ["Ratings of late sessions came from two sites only.", "not explained"]
    assert [cell.text for cell in open_items.rows[0][1:3]] == ["late", "early"]
    assert [(row[1].text, row[2].text) for row in sample.rows][:2] == [("at least 5", "3"), ("at least 300", "228")]
    assert {row[0].text for row in kept.rows} >= {"pooling.level", "claims.C4"} and kept.folded
    assert "preregistration" in {attributes.get("id") for _, attributes in tree.tags}


def test_chapters_say_what_of_them_is_confirmatory(registered):
    given = registered.preregistration
    assert standing(given, ["alliance_outcome"]) == (
        "Registered as confirmatory: the headline and claim C4. All else in this chapter is exploratory."
    )
    assert standing(given, ["dropout"]) == "Registered as confirmatory: claim G1. All else in this chapter is exploratory."
    assert standing(given, ["congruence"]) == "Not registered: what this chapter reports is exploratory."
    assert standing(None, ["congruence"]) == ""
    text = html.unescape(pages.render_all(with_registration(registered), report_study.TEMPLATES)["index.html"])
    assert "claim G1. All else in this chapter" in text and "Not registered: what this chapter reports" in text


def test_a_page_of_several_scenarios_says_which_were_registered(registered):
    table = pd.concat([listed(registered, name, elm=400) for name in registered.scenarios])
    chapter = registration_chapter(registered.preregistration, table, list(registered.scenarios))
    assert "Registered as a scenario: “late_alliance”." in chapter.findings
    assert "Not registered, and so exploratory: scenario “wide”." in chapter.findings
    assert [column.label for column in chapter.blocks[0].columns][1] == "Scenario"
    told = {(row[0].text, row[1].text): row[-1].text for row in chapter.blocks[0].rows}
    assert told["pooling.level", "wide"] == "changed by this scenario on purpose"


def test_hostile_text_is_only_ever_text(registered):
    given = json.loads(json.dumps(registered.preregistration))
    given["registered"] |= {"registry": HOSTILE, "identifier": HOSTILE}
    table = listed(registered, elm=100).assign(
        key=HOSTILE, registered=json.dumps(HOSTILE), this_run=json.dumps(HOSTILE), explanation=HOSTILE
    )
    for text in pages.render_all(with_registration(registered, preregistration=given, deviations=table), report_study.TEMPLATES).values():
        tree = Tree(text)
        assert len(tree.all("script")) == 1 and "\u202e" not in text and "\x07" not in text
        assert all(image["src"].startswith("data:image/svg+xml") for image in tree.all("img"))


def test_the_example_that_a_new_study_gets_fits_the_shipped_configuration(study_folder, tmp_path):
    start_study(tmp_path / "new")
    for name in ("prereg.yaml", "scenarios.yaml"):
        shutil.copy(tmp_path / "new" / name.replace("prereg", "prereg.example"), study_folder / name)
    study = load(study_folder / "config.yaml")
    assert study.preregistration["registered"]["registry"] == "OSF"
    deviates = listed(study, elm=400).set_index("key")["deviates"]
    assert deviates.drop(["sample.sites"]).eq("no").all() and deviates["sample.sites"] == "yes"


def test_the_demo_is_not_said_to_be_registered():
    assert not (PROJECT / "prereg.yaml").exists()
