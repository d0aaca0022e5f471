"""The study and what every rule needs of it.

Requires: a configuration file in the working directory.
Provides: STUDY, SCENARIOS, and functions that name inputs and options of the rules. Options travel as canonical JSON, so
that equal options never cause a rerun; so do digests of the code and of the instruments, so that a change of their content does. As inputs,
hundreds of files would be looked at and recorded again for every job.
"""

import functools
import os
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

from snakemake.exceptions import WorkflowError

PROJECT = Path(workflow.basedir)
sys.path.insert(0, str(PROJECT / "scripts"))

from alliance.configuration.code import code_files
from alliance.configuration.errors import ConfigurationError
from alliance.configuration.study import BASE, MULTIVERSE, load, scoring_digest
from alliance.files import canonical_json, digest, sha256
from alliance.provenance import ensure_id_key
from alliance.questions import contract
from alliance.questions.headlines import load_headlines
from alliance.sites.published import names_in_use

# The launcher has checked the study and goes on when Snakemake has ended.
BY_LAUNCHER = os.environ.get("ALLIANCE_CHECKED") == "1"
try:
    STUDY = load(
        Path(config.get("study_config", "config.yaml")),
        check_all=not BY_LAUNCHER,
    )
    ensure_id_key(Path("."))
except ConfigurationError as error:
    raise WorkflowError(f"The study is not ready to run:\n{error}") from None

SCENARIOS = str(config.get("scenarios", BASE)).split()
if SCENARIOS == ["all"]:
    SCENARIOS = list(STUDY.scenarios)
QUESTIONS = str(config.get("questions") or "").split()


def from_here(path):
    """A file of the project as seen from the study's folder, so that both can move together."""
    return os.path.relpath(path)


# Starts a script at once where the launcher keeps a process with the libraries, else as Python does.
PYTHON = shlex.join([sys.executable, "-I", "-S", from_here(PROJECT / "scripts" / "alliance" / "launch" / "start_job.py")])
LOCK = from_here(PROJECT / "envs" / "requirements.lock")
TEMPLATES = from_here(PROJECT / "workflow" / "templates")
BENCHMARKS = from_here(PROJECT / "workflow" / "benchmarks.yaml")
HEADLINES = from_here(PROJECT / "workflow" / "headlines.yaml")
GUIDE = from_here(PROJECT / "workflow" / "guide")
REFERENCES = from_here(PROJECT / "workflow" / "references.bib")
COVERAGE = from_here(PROJECT / "workflow" / "simulated_coverage.csv")


def script(name):
    return from_here(PROJECT / "scripts" / name)


sha256_of = functools.cache(sha256)


@functools.cache
def digest_of_files(*paths):
    """A digest of the names and contents of files."""
    return digest([[from_here(path), sha256_of(path)] for path in paths])


def code_of(name, *questions):
    """A script, with the modules of questions that it loads by name, and every file of the project that these import."""
    return code_files(PROJECT / "scripts" / name, *(STUDY.questions[question].path for question in questions))


@functools.cache
def code(name, *questions):
    """A digest of the same files."""
    return digest_of_files(*code_of(name, *questions))


def instrument_files(keys=None):
    """Instrument files by key, in the order shipped, own."""
    chosen = STUDY.instrument_files if keys is None else keys
    return [from_here(path) for key in chosen for path in STUDY.instrument_files[key]]


INSTRUMENTS = instrument_files()
INSTRUMENTS_DIGEST = digest_of_files(*INSTRUMENTS)


def chosen_questions(scenario):
    enabled = STUDY.enabled_questions(scenario)
    return [question for question in enabled if not QUESTIONS or question in QUESTIONS]


SCORE_OPTIONS = {STUDY.score_digest(scenario): STUDY.score_options(scenario) for scenario in [*SCENARIOS, BASE]}
if STUDY.has_multiverse:
    SCORE_OPTIONS |= {scoring_digest(section): section for section in STUDY.multiverse_scorings()}
ESTIMATE_SCENARIO = {
    (question, STUDY.estimate_digest(scenario, question)): scenario
    for scenario in reversed(SCENARIOS + [BASE])
    for question in STUDY.enabled_questions(scenario)
}
ONE_STAGE_SCENARIO = {
    (question, STUDY.one_stage_digest(scenario, question)): scenario
    for scenario in reversed(SCENARIOS + [BASE])
    for question in STUDY.enabled_questions(scenario)
}
# Base is computed beside any scenario, since scenarios are compared with it.
COMPUTED = [scenario for scenario in STUDY.scenarios if scenario == BASE or scenario in SCENARIOS]


def pooled_in():
    """For each scenario of this run and question the first scenario whose tables rest on the same options."""
    first = {}
    return {
        (scenario, question): first.setdefault((question, STUDY.pool_digest(scenario, question)), scenario)
        for scenario in COMPUTED
        for question in STUDY.enabled_questions(scenario)
    }


POOLED_IN = pooled_in()


@functools.cache
def scores_folder(scenario):
    return f"results/scores/{STUDY.score_digest(scenario)}"


@functools.cache
def summaries_folder(scenario, question):
    return f"results/summaries/{question}/{STUDY.estimate_digest(scenario, question)}"


HEADLINE_TABLES = sorted({(one.question, one.table) for one in load_headlines(Path(HEADLINES))})


def page_in_report(path, name):
    """A page with a caption, for those who make a report with `snakemake --report`."""
    return report(path, caption=f"../report/{name}.rst", category="Pages", labels={"scenario": "{scenario}", "page": name})


def table_in_report(question, table):
    """A table of a question; in a report of Snakemake stand those from which the headline numbers come."""
    path = f"results/{{scenario}}/tables/{question}/{table}.csv"
    if (question, table) not in HEADLINE_TABLES:
        return path
    return report(
        path,
        caption="../report/table.rst",
        category="Tables",
        subcategory=question,
        labels={"scenario": "{scenario}", "table": table, "what it holds": contract.table(question, table).description},
    )
