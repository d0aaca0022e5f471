"""Calling the script that builds the bundle of published results."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from alliance.configuration.code import PROJECT, SCRIPTS
from alliance.configuration.errors import Fault
from alliance.configuration.study import BASE, Study
from alliance.files import canonical_json
from alliance.launch.exit_status import ExitStatus

FOLDER = "results/publish"


def faults(study: Study) -> list[Fault]:
    """Return what the configuration lacks before anything can be published."""
    found = []
    if not study.publish["released"]:
        message = "make publish needs the day of this version, as YYYY-MM-DD (results never depend on the clock)"
        found.append(Fault(study.config_file, 0, "publish.released", message))
    if not study.base["study"]["authors"]:
        found.append(Fault(study.config_file, 0, "study.authors", "make publish needs at least one author, whom archives ask for"))
    last = study.publish["last_bundle"]
    if last and not (study.folder / last).exists():
        found.append(Fault(study.config_file, 0, "publish.last_bundle", f"'{last}' does not exist; name a bundle's folder or its zip"))
    return found


def private_words(study: Study) -> list[str]:
    """Return what names this machine: folders of study and project, and the home folder."""
    folders = {study.folder.resolve(), PROJECT.resolve(), Path.home()}
    return sorted(str(folder) for folder in folders if len(folder.parts) > 1 and folder.name)


def not_published(study: Study, scenarios: list[str]) -> list[str]:
    """Return the scenarios that have results and are not among those that are published."""
    tables = {name: study.folder / "results" / name / "tables" for name in study.scenarios}
    return [name for name, folder in tables.items() if name not in (BASE, *scenarios) and folder.is_dir()]


def command(study: Study, scenarios: list[str], cores: int = 1, output: str = FOLDER) -> list[str]:
    """Return the call of the script that builds a bundle, in the study's folder; the parameters are those of :func:`build`."""
    workflow = PROJECT / "workflow"
    named = [BASE, *(name for name in scenarios if name != BASE)]
    folders = {name: {"scores": f"results/scores/{study.score_digest(name)}"} for name in named}
    return [
        *(sys.executable, str(SCRIPTS / "publish.py")),
        *("--scenarios", canonical_json(folders)),
        *("--sites", canonical_json(list(study.sites))),
        *("--publish", canonical_json(study.publish)),
        *("--multiverse", canonical_json(study.multiverse_options() if study.has_multiverse else {})),
        *("--preregistration", canonical_json(study.preregistration)),
        *("--private", canonical_json(private_words(study))),
        *("--results", "results"),
        *("--instruments", *(str(path) for paths in study.instrument_files.values() for path in paths)),
        *("--benchmarks", str(workflow / "benchmarks.yaml")),
        *("--references", str(workflow / "references.bib")),
        *("--coverage", str(workflow / "simulated_coverage.csv")),
        *("--guide", str(workflow / "guide")),
        *("--headlines", str(workflow / "headlines.yaml")),
        *("--templates", str(workflow / "templates")),
        *("--lock", str(PROJECT / "envs" / "requirements.lock")),
        *("--workflow", str(PROJECT / "Snakefile"), *(str(path) for path in sorted((workflow / "rules").glob("*.smk")))),
        *("--workflow-root", str(PROJECT)),
        *(("--last-bundle", study.publish["last_bundle"]) if study.publish["last_bundle"] else ()),
        *("--processes", str(cores)),
        *("--output", output),
    ]


def build(study: Study, scenarios: list[str], lock_handle: int, cores: int = 1) -> subprocess.CompletedProcess[str]:
    """Build, check and put in place a bundle of some scenarios, ``base`` among them.

    Parameters
    ----------
    study : Study
        With all results of these scenarios up to date.
    scenarios : list of str
    lock_handle : int
        Open file of the run lock, which holds even if the launcher is killed.
    cores : int
        At most so many processes at once.

    Returns
    -------
    CompletedProcess
        Ctrl-C and a request to end are left to the script, which ends its processes and leaves the bundle that stands.
    """
    call = command(study, scenarios, cores)
    environment = os.environ | {"PYTHONUTF8": "1"}
    environment.setdefault("OPENBLAS_NUM_THREADS", "1")
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    process = subprocess.Popen(
        call, cwd=study.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", pass_fds=(lock_handle,)
    )
    interrupted = False

    def forward(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        process.terminate()

    handlers = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        told, _ = process.communicate()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    ended = process.returncode in (ExitStatus.DONE, ExitStatus.REFUSED) or not interrupted
    return subprocess.CompletedProcess(call, process.returncode if ended else ExitStatus.INTERRUPTED, told)


__all__ = ["FOLDER", "build", "command", "faults", "not_published", "private_words"]
