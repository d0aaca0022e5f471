"""Removing what belongs to nothing any more: dropped sites, dropped scenarios, options no scenario has, half-written files, old exports."""

from __future__ import annotations

import shutil
from pathlib import Path

from alliance.configuration.study import RESERVED_SCENARIOS, Study
from alliance.files import read_json, remove_partial_files
from alliance.portable import FOLDER, FORMATS, origin_file


def remove_leftovers(study: Study) -> list[str]:
    """Delete results of sites, scenarios and options that the study no longer has.

    Parameters
    ----------
    study : Study

    Returns
    -------
    list of str
        What was removed, for people: sites and scenarios.
    """
    # What Snakemake set aside for a job that was then killed: it would stop that job, and it may hold withdrawn clients.
    shutil.rmtree(study.folder / ".snakemake" / "backups", ignore_errors=True)
    results = study.folder / "results"
    if not results.is_dir():
        return []
    remove_partial_files(results)
    removed: set[str] = set()
    for stage in ("sites", "private/quarantine"):
        for folder in _folders(results / stage):
            if folder.name not in study.sites:
                shutil.rmtree(folder)
                removed.add(f"site {folder.name}")
    score_digests = {study.score_digest(scenario) for scenario in study.scenarios}
    estimate_digests = {
        (question, study.estimate_digest(scenario, question))
        for scenario in study.scenarios
        for question in study.enabled_questions(scenario)
    }
    for folder in _folders(results / "scores"):
        _keep(folder, folder.name in score_digests, study)
    for question in _folders(results / "summaries"):
        for folder in _folders(question):
            _keep(folder, (question.name, folder.name) in estimate_digests, study)
        _remove_if_empty(question)
    one_stage_digests = {
        (question, study.one_stage_digest(scenario, question))
        for scenario in study.scenarios
        for question in study.enabled_questions(scenario)
    }
    for stage, digests in (("constants", estimate_digests), ("one_stage", one_stage_digests)):
        for question in _folders(results / stage):
            for path in sorted(question.iterdir()):
                if (question.name, path.stem) not in digests:
                    path.unlink()
            _remove_if_empty(question)
    for folder in _folders(results):
        if folder.name in RESERVED_SCENARIOS or folder.name == "sites":
            continue
        if folder.name not in study.scenarios:
            shutil.rmtree(folder)
            removed.add(f"scenario {folder.name}")
            continue
        if "path_models" not in study.enabled_questions(folder.name):
            shutil.rmtree(folder / "lavaan", ignore_errors=True)
        for question in _folders(folder / "tables"):
            if question.name not in study.enabled_questions(folder.name):
                shutil.rmtree(question)
        for page in (folder / "report" / "sites").glob("*.html"):
            if page.stem not in study.sites:
                page.unlink()
    for log in (results / "logs").rglob("*.log") if (results / "logs").is_dir() else ():
        if log.parent.name in ("clean_site",) and log.stem not in study.sites:
            log.unlink()
    return sorted(removed)


def remove_outdated_exports(study: Study) -> list[str]:
    """Delete exports that hold a site or a client that the study no longer has, or whose scenario is gone.

    An export says which sites and which withdrawals it rests on; one that does not say so is not kept.

    Parameters
    ----------
    study : Study

    Returns
    -------
    list of str
        Scenario and format of each, for people.
    """
    removed = []
    for folder in _folders(study.folder / FOLDER):
        if folder.name not in study.scenarios:
            shutil.rmtree(folder)
            removed.append(folder.name)
            continue
        for ending in FORMATS:
            files = [path for path in (folder / f"sessions.{ending}", folder / f"clients.{ending}") if path.exists()]
            origin = folder / origin_file(ending)
            held = read_json(origin) if origin.exists() else None
            if held is not None and all(site in study.sites and study.withdrawn.get(site, "") == left for site, left in held.items()):
                continue
            for path in files:
                path.unlink()
            origin.unlink(missing_ok=True)
            if files:
                removed.append(f"{folder.name} as {ending}")
    return removed


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _keep(folder: Path, wanted: bool, study: Study) -> None:
    """Delete a folder of one digest, or only its sites that are gone."""
    if not wanted:
        shutil.rmtree(folder)
        return
    for site in _folders(folder):
        if site.name not in study.sites:
            shutil.rmtree(site)


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()
