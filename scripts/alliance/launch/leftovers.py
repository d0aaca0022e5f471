"""Removing what belongs to nothing any more: dropped sites, dropped scenarios, options no scenario has, half-written files, old exports."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from alliance import folders
from alliance.configuration.study import MULTIVERSE, RESERVED_SCENARIOS, Study, scoring_digest
from alliance.files import PRIVATE, read_json, remove_partial_files, write_json
from alliance.launch.publish_bundle import FOLDER as BUNDLE
from alliance.portable import FOLDER, FORMATS, origin_file
from alliance.sensitivity.targets import MULTIVERSE_TABLES

WITHDRAWALS = "private/withdrawals.json"


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
    # What make publish had not finished when it was killed; a bundle moved aside is brought back.
    folders.recover(study.folder / BUNDLE)
    removed: set[str] = set()
    for stage in ("sites", "private/quarantine"):
        for folder in _folders(results / stage):
            if folder.name not in study.sites:
                shutil.rmtree(folder)
                removed.add(f"site {folder.name}")
    score_digests = {study.score_digest(scenario) for scenario in study.scenarios} | _multiverse_scores(study)
    estimate_digests = {
        (question, study.estimate_digest(scenario, question))
        for scenario in study.scenarios
        for question in study.enabled_questions(scenario)
    }
    if study.has_multiverse:
        estimate_digests.add((MULTIVERSE, study.multiverse_digest()))
    else:
        _remove_multiverse(results / "sensitivity")
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


def remove_outdated_scenarios(study: Study, asked: Sequence[str]) -> list[str]:
    """Delete results of scenarios that this run does not compute again, where a client withdrew or a site left since they were computed.

    What the scenarios asked for rest on is computed again by the run itself.

    Parameters
    ----------
    study : Study
    asked : sequence of str
        Scenarios of this run.

    Returns
    -------
    list of str
        The scenarios, for people.
    """
    results = study.folder / "results"
    known = read_json(results / WITHDRAWALS) if (results / WITHDRAWALS).exists() else {}
    withdrawn = {site for site, ids in study.withdrawn.items() if known.get(site) != ids}
    others = [folder for folder in _folders(results) if folder.name in study.scenarios and folder.name not in asked]
    gone = any(_sites_behind(folder) - set(study.sites) for folder in others)
    if not withdrawn and not gone:
        return []
    scores = {study.score_digest(scenario) for scenario in asked} | _multiverse_scores(study)
    asks = [(scenario, question) for scenario in asked for question in study.enabled_questions(scenario)]
    summaries = {(question, study.estimate_digest(scenario, question)) for scenario, question in asks}
    summaries |= {(MULTIVERSE, study.multiverse_digest())} if study.has_multiverse else set()
    joined = {(question, study.one_stage_digest(scenario, question)) for scenario, question in asks}
    for folder in _folders(results / "scores"):
        _remove_sites(folder, withdrawn if folder.name not in scores else set())
    for question in _folders(results / "summaries"):
        for folder in _folders(question):
            _remove_sites(folder, withdrawn if (question.name, folder.name) not in summaries else set())
    for question in _folders(results / "one_stage"):
        for path in sorted(question.glob("*.csv")):
            if (question.name, path.stem) not in joined:
                path.unlink()
    for folder in others:
        shutil.rmtree(folder)
    return [folder.name for folder in others]


def record_withdrawals(study: Study) -> None:
    """Remember which withdrawals the results of a run that ended well respect."""
    path = study.folder / "results" / WITHDRAWALS
    if study.withdrawn or path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json(path, study.withdrawn, PRIVATE)


def _multiverse_scores(study: Study) -> set[str]:
    """Return the digests of the scores that the multiverse rests on."""
    return {scoring_digest(section) for section in study.multiverse_scorings()} if study.has_multiverse else set()


def _remove_multiverse(folder: Path) -> None:
    """Delete the tables of a multiverse that the configuration no longer asks for."""
    for name in MULTIVERSE_TABLES:
        (folder / "tables" / f"{name}.csv").unlink(missing_ok=True)


def _sites_behind(scenario: Path) -> set[str]:
    """Return the sites that a scenario's results rest on, as far as they say so."""
    path = scenario / "provenance.json"
    return {entry["site"] for entry in read_json(path)["inputs"]} if path.exists() else set()


def _remove_sites(folder: Path, sites: set[str]) -> None:
    for site in _folders(folder):
        if site.name in sites:
            shutil.rmtree(site)


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
