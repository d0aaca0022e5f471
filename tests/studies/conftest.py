"""Real studies: written from data that stay outside the project, run through the whole pipeline, compared with values from R."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import r_script
from needed import without_real_data
from study_files import REALDATA, maker
from support import PROJECT, pipeline

REFERENCE = PROJECT / "tests" / "reference"


@pytest.fixture(scope="session")
def realdata() -> Path:
    if not REALDATA.is_dir():
        pytest.skip(without_real_data(REALDATA))
    return REALDATA


@pytest.fixture(scope="session")
def results_of(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """A function that runs a study once and returns its folder of results."""
    done: dict[str, Path] = {}

    def results(name: str) -> Path:
        if name not in done:
            config = maker(name).make_study(tmp_path_factory.mktemp(name), realdata)
            run = pipeline("run", config, "--cores", "2", OPENBLAS_NUM_THREADS="1")
            assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
            done[name] = config.parent / "results"
        return done[name]

    yield results
    for folder in done.values():
        shutil.rmtree(folder.parent, ignore_errors=True)


@pytest.fixture(scope="session")
def reference() -> Callable[[str], dict[str, Any]]:
    """A function that returns the values R gave for a study."""
    return lambda name: json.loads((REFERENCE / f"study_{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def from_r(realdata: Path) -> Callable[[str], dict[str, Any]]:
    """A function that computes a study's values in R again."""
    return lambda name: r_script.values(f"study_{name}.R", realdata)
