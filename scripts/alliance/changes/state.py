"""What is kept of a run for the next to be compared with: inputs, configuration, digests and headline numbers of each scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from alliance.configuration.study import Study
from alliance.files import digest, read_json, sha256, write_json
from alliance.issues import why_left_out
from alliance.questions.headlines import Headline, headline_numbers
from alliance.reports.inputs import EXCLUDED, read_table
from alliance.withdrawals import NAME as WITHDRAWN_FILE

FORMAT = 1
COUNTED = ("clients", "sessions")
DIGESTS = ("version", "data_digest", "config_digest", "code_digest", "lock_digest", "instruments_digest")
SITE_FILE = "site.yaml"


@dataclass(frozen=True)
class Snapshot:
    """What one scenario rested on, and its headline numbers, when it was last run.

    Parameters
    ----------
    inputs : dict
        By site: ``label, status, reason, counts`` (clients, sessions) and ``files``, with sha256 and rows of each.
    configuration : dict
        The resolved configuration.
    digests : dict
        The digests of ``provenance.json``.
    listed : str
        Digest of the list of headline numbers.
    tables : dict
        SHA-256 of every table that holds a headline number, by ``question/table``.
    headlines : list of dict
        The headline numbers (:data:`alliance.questions.headlines.COLUMNS`); unknown numbers are None.
    """

    inputs: Mapping[str, Mapping[str, Any]]
    configuration: Mapping[str, Any]
    digests: Mapping[str, str]
    listed: str
    tables: Mapping[str, str]
    headlines: Sequence[Mapping[str, Any]]


def site_inputs(study: Study) -> dict[str, dict[str, Any]]:
    """Return what every site of the study sent, as cleaning left it."""
    return {site: _of_site(study, site) for site in study.sites if _status_file(study, site).exists()}


def _status_file(study: Study, site: str) -> Path:
    return study.folder / "results" / "sites" / site / "status.json"


def _of_site(study: Study, site: str) -> dict[str, Any]:
    status = read_json(_status_file(study, site))
    folder = study.sites[site]
    files: dict[str, dict[str, Any]] = {}
    for entry in status["files"]:
        seen = files.setdefault(entry["file"], {"sha256": entry["sha256"], "rows": 0})
        seen["rows"] += entry["rows_in"]
    for path in folder.files:
        name = path.removeprefix(f"{folder.folder}/")
        if name not in files and (name == SITE_FILE or folder.sends_summary):
            files[name] = {"sha256": sha256(study.folder / path), "rows": None}
    if site in study.withdrawn:
        files[WITHDRAWN_FILE] = {"sha256": study.withdrawn[site], "rows": status.get("flow", {}).get("withdrawn")}
    return {
        "label": status.get("label") or site,
        "status": status["status"],
        "reason": why_left_out(status.get("reasons", ())) if status["status"] == EXCLUDED else "",
        "counts": {name: status.get("counts", {}).get(name) for name in COUNTED},
        "files": files,
    }


def snapshot(
    study: Study, scenario: str, headlines: Sequence[Headline], inputs: Mapping[str, Mapping[str, Any]], before: Snapshot | None
) -> Snapshot | None:
    """Return how a scenario stands now; None where it was not computed.

    Parameters
    ----------
    study : Study
    scenario : str
    headlines : sequence of Headline
    inputs : mapping
        What the sites sent (:func:`site_inputs`).
    before : Snapshot or None
        How it stood; its numbers are taken over where the tables they come from are the same, byte for byte.
    """
    folder = study.folder / "results" / scenario
    if not (folder / "provenance.json").exists():
        return None
    configuration = read_json(folder / "resolved_config.json")
    provenance = read_json(folder / "provenance.json")
    listed = digest([[one.key, one.label, one.question, one.table, dict(one.where), one.claim] for one in headlines])
    paths = {f"{one.question}/{one.table}": folder / "tables" / one.question / f"{one.table}.csv" for one in headlines}
    # A question that is off may have left tables behind.
    asked = {question for question, chosen in configuration["questions"].items() if chosen.get("enabled")}
    paths = {name: path for name, path in sorted(paths.items()) if path.exists() and name.partition("/")[0] in asked}
    tables = {name: sha256(path) for name, path in paths.items()}
    if before and (before.tables, before.listed, before.configuration) == (tables, listed, configuration):
        numbers = list(before.headlines)
    else:
        numbers = _numbers(headlines, paths, configuration)
    return Snapshot(inputs, configuration, {name: str(provenance[name]) for name in DIGESTS}, listed, tables, numbers)


def _numbers(headlines: Sequence[Headline], paths: Mapping[str, Path], configuration: Mapping[str, Any]) -> list[dict[str, Any]]:
    tables: dict[str, dict[str, pd.DataFrame]] = {}
    for name, path in paths.items():
        question, _, table = name.partition("/")
        tables.setdefault(question, {})[table] = read_table(path, question)
    found = headline_numbers(headlines, tables, configuration).astype(object)
    return found.where(found.notna(), None).to_dict("records")


def write_state(path: Path, scenarios: Mapping[str, Snapshot], mode: int) -> None:
    """Keep the snapshots of all scenarios; inputs that several share are written once. ``mode`` says who may read the file."""
    keys = {name: digest(one.inputs) for name, one in scenarios.items()}
    content = {
        "format": FORMAT,
        "inputs": {keys[name]: one.inputs for name, one in scenarios.items()},
        "scenarios": {name: {**vars(one), "inputs": keys[name]} for name, one in scenarios.items()},
    }
    write_json(path, content, mode)


def read_state(path: Path) -> dict[str, Snapshot]:
    """Read what :func:`write_state` kept; nothing where there is no such file, or one that cannot be used."""
    try:
        content = read_json(path)
        if content["format"] != FORMAT:
            return {}
        return {name: Snapshot(**{**one, "inputs": content["inputs"][one["inputs"]]}) for name, one in content["scenarios"].items()}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}
