"""Running the R scripts beside this file."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent


def values(script: str, inputs: str | Path) -> Any:
    """Return what an R script prints as JSON, given the folder or file of its inputs; skips the test where R lacks a package of it."""
    run = subprocess.run(["Rscript", "--vanilla", str(HERE / script), str(inputs)], capture_output=True, text=True, check=False)
    lacking = re.search(r"there is no package called .(\w+).", run.stderr)
    if run.returncode and lacking:
        pytest.skip(f"R lacks the package {lacking[1]}; install it to compute the values of {script} again")
    if run.returncode:
        raise RuntimeError(f"{script} failed:\n{run.stderr}")
    return json.loads(run.stdout)
