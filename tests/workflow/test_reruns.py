"""Only what a change affects runs again, and what is gone leaves nothing behind."""

from __future__ import annotations

import csv
import os
import shutil

import pytest

QUESTIONS = (
    "alliance outcome",
    "client factors",
    "components",
    "congruence",
    "convergent validity",
    "course",
    "dropout",
    "early gains",
    "interventions",
    "measurement",
    "path models",
    "ruptures",
    "therapist factors",
)
# What tells of the configuration and of the code: they are recorded for every scenario and shown on every page.
TOLD = {"record provenance", "compare scenarios", "write workbook", "render reports", "render sensitivity"}


def rule_of(job: str) -> str:
    return job.split(" (")[0]


def test_a_second_run_says_nothing_to_do(checkout):
    assert list((checkout.results / "base" / "lavaan").glob("*.R"))
    result = checkout.call("run")
    assert result.returncode == 0 and "Nothing to do" in result.stdout
    assert result.stdout.strip().splitlines()[-1].startswith("exit status 0:")


def test_a_page_that_was_deleted_is_rendered_again(small):
    page = small.results / "base" / "report" / "index.html"
    before = page.read_bytes()
    small.jobs_of_run()
    page.unlink()
    assert {rule_of(job) for job in small.jobs_of_run()} == {"render reports"}
    assert page.read_bytes() == before


def test_touching_every_file_runs_nothing(checkout):
    for path in checkout.folder.rglob("*"):
        if path.is_file() and not {"results", ".snakemake"} & set(path.relative_to(checkout.folder).parts):
            os.utime(path)
    assert checkout.planned_jobs() == set()


def test_adding_a_site_runs_that_site_and_the_pooled_steps_only(checkout):
    first = checkout.sites()[0]
    shutil.copytree(checkout.folder / "data" / "demo" / first, checkout.folder / "data" / "demo" / "newcomer")
    jobs = checkout.planned_jobs()
    of_sites = {job for job in jobs if rule_of(job) in ("clean site", "score site", "estimate site")}
    assert of_sites and all("newcomer" in job for job in of_sites)
    assert {rule_of(job) for job in jobs} >= {"clean site", "score site", "estimate site", "compare sites", "render reports"}


def test_dropping_a_site_removes_it_everywhere(checkout):
    gone = checkout.sites()[-1]
    shutil.rmtree(checkout.folder / "data" / "demo" / gone)
    jobs = checkout.jobs_of_run()
    assert not {rule_of(job) for job in jobs} & {"clean site", "score site", "estimate site"}
    left = [path for path in checkout.results.rglob("*") if gone in path.name and "logs" not in path.parts]
    assert left == []
    for path in (checkout.results / "base").rglob("*"):
        if path.is_file():
            assert gone not in path.read_text(encoding="utf-8", errors="replace"), path


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "tau2: reml ",
            "tau2: paule_mandel ",
            TOLD | {"write lavaan scripts", "estimate multiverse", "pool multiverse"} | {f"pool {question}" for question in QUESTIONS},
        ),
        ("decimals: 2", "decimals: 3", TOLD),
        (
            'title: "Demo study of the therapeutic alliance"',
            'title: "Demo"',
            TOLD | {"write lavaan scripts"},
        ),
    ],
)
def test_changing_a_key_that_only_late_steps_read_runs_only_these(checkout, old, new, expected):
    checkout.rewrite("config.yaml", old, new)
    assert {rule_of(job) for job in checkout.planned_jobs()} == expected


def test_changing_a_key_of_one_question_runs_that_question_only(checkout):
    checkout.rewrite("config.yaml", "timepoint_window: session_3", "timepoint_window: early")
    jobs = checkout.planned_jobs()
    assert {rule_of(job) for job in jobs} == TOLD | {"estimate site", "pool convergent validity"}
    assert all("convergent_validity" in job for job in jobs if rule_of(job) == "estimate site")


def test_changing_scoring_leaves_cleaning_alone_and_keeps_no_old_scores(small):
    small.rewrite("config.yaml", "missing_rule: instrument ", "missing_rule: strict ")
    rules = {rule_of(job) for job in small.jobs_of_run()}
    assert "clean site" not in rules and {"score site", "estimate site"} <= rules
    small.jobs_of_run()
    assert len(list((small.results / "scores").iterdir())) == 1


def test_a_comment_in_the_configuration_runs_nothing(checkout):
    checkout.rewrite("config.yaml", "# How items become scores.", "# How items become scores, in words.")
    assert checkout.planned_jobs() == set()


def test_editing_a_question_module_runs_that_question_only(checkout):
    path = checkout.folder / "scripts" / "alliance" / "questions" / "client_factors" / "question.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n# edited\n", encoding="utf-8")
    jobs = checkout.planned_jobs()
    assert {rule_of(job) for job in jobs} == TOLD | {"estimate site", "pool client factors"}
    assert all("client_factors" in job for job in jobs if rule_of(job) == "estimate site")


def test_editing_the_report_code_renders_again_and_computes_nothing(checkout):
    path = checkout.folder / "scripts" / "alliance" / "reports" / "numbers.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n# edited\n", encoding="utf-8")
    assert {rule_of(job) for job in checkout.planned_jobs()} == TOLD


def test_a_changed_lock_file_computes_everything_again(checkout):
    path = checkout.folder / "envs" / "requirements.lock"
    path.write_text(path.read_text(encoding="utf-8") + "\n# edited\n", encoding="utf-8")
    result = checkout.call("why")
    for site in checkout.sites():
        assert f"clean site ({site})" in result.stdout


def test_why_says_what_would_run_and_runs_nothing(small):
    small.rewrite("config.yaml", "decimals: 2", "decimals: 3")
    before = small.bytes_below("base")
    result = small.call("why")
    assert result.returncode == 0 and "record provenance" in result.stdout
    assert small.bytes_below("base") == before


def test_a_scenario_shares_the_steps_it_agrees_on_and_leaves_nothing_when_it_goes(small):
    (small.folder / "scenarios.yaml").write_text(
        "other_variance:\n  reason: test\n  changes:\n    pooling: {tau2: paule_mandel}\n", encoding="utf-8"
    )
    rules = {rule_of(job) for job in small.jobs_of_run("--scenarios", "base other_variance")}
    assert not rules & {"clean site", "score site", "estimate site"}
    assert (small.results / "other_variance" / "report" / "index.html").exists()
    (small.folder / "scenarios.yaml").unlink()
    small.jobs_of_run()
    assert not (small.results / "other_variance").exists()


def test_a_site_with_a_fatal_fault_is_left_out_and_the_others_go_on(small):
    bad, *others = small.sites()
    (small.folder / "data" / "demo" / bad / "site.yaml").write_text("label: Broken\ndata: rows\ntabels: []\n", encoding="utf-8")
    result = small.call("run")
    assert result.returncode == 3, result.stdout
    assert f"1 of {len(others) + 1} sites not included" in result.stdout and bad in result.stdout
    assert result.stdout.strip().splitlines()[-1].startswith("exit status 3:")
    page = (small.results / "base" / "report" / "index.html").read_text(encoding="utf-8")
    assert f"1 of {len(others) + 1} sites" in page
    with open(small.results / "issues.csv", encoding="utf-8", newline="") as file:
        assert any(row["site"] == bad and row["severity"] == "SITE" for row in csv.DictReader(file))


def test_strict_stops_instead_of_leaving_a_site_out(small):
    bad = small.sites()[0]
    (small.folder / "data" / "demo" / bad / "site.yaml").write_text("label: Broken\ndata: rows\ntabels: []\n", encoding="utf-8")
    small.rewrite("config.yaml", "strict: false", "strict: true")
    before = small.bytes_below("base")
    result = small.call("run")
    assert result.returncode == 2 and "strict" in result.stdout
    assert small.bytes_below("base") == before


def test_check_of_one_site_cleans_that_site_only(small):
    site = small.sites()[0]
    shutil.rmtree(small.results)
    shutil.rmtree(small.folder / ".snakemake")
    (small.folder / ".id_key").unlink()
    result = small.call("check", "--site", site)
    assert result.returncode == 0, result.stdout
    assert [path.name for path in (small.results / "sites").iterdir()] == [site]
    assert not (small.results / "base").exists()


def test_another_id_key_is_refused_while_results_exist(small):
    result = small.call("run", ALLIANCE_ID_KEY="another key of sufficient length")
    assert result.returncode == 2 and "make clean" in result.stdout


def test_clean_keeps_data_configuration_and_key(small):
    key = (small.folder / ".id_key").read_bytes()
    assert small.call("clean").returncode == 0
    assert not small.results.exists() and (small.folder / ".id_key").read_bytes() == key and small.sites()
