"""Calling the script that builds the bundle of published results."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from alliance.configuration.code import PROJECT, SCRIPTS
from alliance.configuration.errors import Fault
from alliance.configuration.study import BASE, Study
from alliance.files import canonical_json

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


def build(study: Study, scenarios: list[str], lock_handle: int) -> subprocess.CompletedProcess[str]:
    """Build, check and put in place a bundle of some scenarios, ``base`` among them.

    Parameters
    ----------
    study : Study
        With all results of these scenarios up to date.
    scenarios : list of str
    lock_handle : int
        Open file of the run lock, which holds even if the launcher is killed.
    """
    workflow = PROJECT / "workflow"
    named = [BASE, *(name for name in scenarios if name != BASE)]
    folders = {name: {"scores": f"results/scores/{study.score_digest(name)}"} for name in named}
    call = [
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
        *("--output", FOLDER),
    ]
    environment = os.environ | {"PYTHONUTF8": "1"}
    environment.setdefault("OPENBLAS_NUM_THREADS", "1")
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.run(
        call, cwd=study.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", pass_fds=(lock_handle,)
    )


__all__ = ["FOLDER", "build", "faults", "private_words"]
