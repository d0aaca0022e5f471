"""Running the R scripts beside this file."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from needed import WITHOUT_R, without_package

HERE = Path(__file__).resolve().parent
# Pytest's own folder for what outlives a run: `pytest --cache-clear` empties it.
KEPT = HERE.parents[1] / ".pytest_cache" / "d" / "r"


def values(script: str, inputs: str | Path) -> Any:
    """Return what an R script prints as JSON, given the folder or file of its inputs; skips the test where R or a package is lacking.

    R runs once for the same scripts, inputs and version of R and its packages; what it printed is kept beside pytest's cache.
    """
    kept = KEPT / f"{Path(script).stem}-{_digest(script, Path(inputs))}.json"
    if not kept.exists():
        printed = output([str(HERE / script), str(inputs)])
        KEPT.mkdir(parents=True, exist_ok=True)
        half = kept.with_suffix(f".{os.getpid()}")
        half.write_text(printed, encoding="utf-8")
        half.replace(kept)
    return json.loads(kept.read_text(encoding="utf-8"))


def output(arguments: list[str]) -> str:
    """Return what ``Rscript`` prints; skips the test where R or a package is lacking."""
    if shutil.which("Rscript") is None:
        pytest.skip(WITHOUT_R)
    run = subprocess.run(["Rscript", "--vanilla", *arguments], capture_output=True, text=True, check=False)
    lacking = re.search(r"there is no package called .(\w+).", run.stderr)
    if run.returncode and lacking:
        pytest.skip(without_package(lacking[1]))
    if run.returncode:
        raise RuntimeError(f"{arguments[0]} failed:\n{run.stderr}")
    return run.stdout


@functools.cache
def _surroundings() -> bytes:
    """Return the versions of R, its numerical libraries and its packages, and the scripts, some of which read others."""
    told = output(["-e", 'print(sessionInfo()); write.csv(installed.packages()[, c("Package", "Version", "Built")])'])
    return b"\0".join([told.encode(), *(path.name.encode() + path.read_bytes() for path in sorted(HERE.glob("*.R")))])


def _digest(script: str, inputs: Path) -> str:
    files = sorted(path for path in inputs.rglob("*") if path.is_file()) if inputs.is_dir() else [inputs]
    parts = [_surroundings(), script.encode()]
    for path in files:
        parts += [path.relative_to(inputs).as_posix().encode(), path.read_bytes()]
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).hexdigest()[:32]
