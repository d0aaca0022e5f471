"""Knowing without Snakemake that nothing has changed since the last complete run.

Starting Snakemake takes seconds. A run that ended well leaves a digest of all files it rests on and all it wrote (path, size,
time of change); while the digest is the same there is nothing to do. Any difference, also a mere touch, is left to Snakemake to
judge by content.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from alliance.configuration.code import PROJECT
from alliance.configuration.study import Study
from alliance.files import digest, write_text

RECORD = ".snakemake/last_complete_run"
PROJECT_PARTS = ("Snakefile", "workflow", "scripts", "profiles", "envs")
STUDY_FILES = ("scenarios.yaml", "withdrawn.csv", "prereg.yaml")
NOT_RESULTS = {"logs", "__pycache__"}
PUBLISHED = "publish"
"""Folder below the results that no run writes or reads."""


def is_complete(study: Study, targets: Iterable[str], given: str) -> bool:
    """Return whether the last complete run computed these targets and no file has changed since.

    Parameters
    ----------
    study : Study
    targets : iterable of str
    given : str
        From :func:`given_files`.
    """
    record = study.folder / RECORD
    return record.is_file() and record.read_text(encoding="ascii") == _state(study, targets, given)


def record(study: Study, targets: Iterable[str], given: str) -> None:
    """Remember that these targets are complete; parameters as in :func:`is_complete`.

    ``given`` is that of the run's start: a file that is replaced while the run goes on is looked at by the next one.
    """
    write_text(study.folder / RECORD, _state(study, targets, given))


def given_files(study: Study) -> str:
    """Return the digest of all files that a run rests on, as they stand now."""
    section = study.base["study"]
    parts = [PROJECT / name for name in PROJECT_PARTS]
    parts += [study.folder / name for name in (study.config_file, *STUDY_FILES, section["sites_dir"])]
    if section["instruments_dir"]:
        parts.append(study.folder / section["instruments_dir"])
    return _digest_of(parts)


def _state(study: Study, targets: Iterable[str], given: str) -> str:
    results = study.folder / "results"
    computed = sorted(path for path in results.iterdir() if path.name != PUBLISHED) if results.is_dir() else []
    return digest([sys.version, sorted(targets), given, _digest_of(computed)])


def _digest_of(parts: Iterable[Path]) -> str:
    return digest([entry for part in parts for entry in _files(part)])


def _files(root: Path) -> Iterator[list[str | int]]:
    """Yield path, size and time of change of a file, or of every file below a folder, in a fixed order."""
    if not root.is_dir():
        if root.exists():
            yield _described(root)
        return
    for parent, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - NOT_RESULTS)
        for name in sorted(names):
            yield _described(Path(parent, name))


def _described(path: Path) -> list[str | int]:
    found = path.lstat()
    return [str(path), found.st_size, found.st_mtime_ns]
