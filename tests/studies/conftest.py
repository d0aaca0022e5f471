"""Real studies: written from data that stay outside the project, run through the whole pipeline, compared with values from R."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import PROJECT, pipeline

STUDIES = Path(__file__).resolve().parent
REFERENCE = PROJECT / "tests" / "reference"
REALDATA = Path(os.environ.get("ALLIANCE_REAL_DATA") or PROJECT.parent / "shared" / "realdata")


def maker(name: str) -> Any:
    """Return the module that writes a study."""
    specification = importlib.util.spec_from_file_location(f"make_{name}", STUDIES / name / "make_study.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def realdata() -> Path:
    if not REALDATA.is_dir():
        pytest.skip(f"the real data are not at {REALDATA}; set ALLIANCE_REAL_DATA to their folder")
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
    if shutil.which("Rscript") is None:
        pytest.skip("Rscript is not installed; the stored values were not computed again")

    def values(name: str) -> dict[str, Any]:
        run = subprocess.run(
            ["Rscript", "--vanilla", str(REFERENCE / f"study_{name}.R"), str(realdata)], capture_output=True, text=True, check=False
        )
        if "there is no package called" in run.stderr:
            pytest.skip("R lacks a package: " + run.stderr.strip().splitlines()[0])
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)

    return values
