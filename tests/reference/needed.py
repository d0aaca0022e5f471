"""What some tests need beside the project: R, data of others, worked examples. The reason says what to do where one is lacking."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[3] / "shared"
REFERENCE = Path(os.environ.get("ALLIANCE_REFERENCE") or _BESIDE / "reference")
REAL_DATA = Path(os.environ.get("ALLIANCE_REAL_DATA") or _BESIDE / "realdata")
EXAMPLES = REFERENCE / "reference-values.json"

WITHOUT_R = "needs R; install it (Debian: apt-get install r-base) with the packages that CONTRIBUTING.md names, so that Rscript is found"
WITHOUT_REAL_DATA = "needs the real data; set ALLIANCE_REAL_DATA to the folder that holds {path}"

needs_r = pytest.mark.skipif(shutil.which("Rscript") is None, reason=WITHOUT_R)
needs_examples = pytest.mark.skipif(
    not EXAMPLES.exists(), reason=f"needs the worked examples; set ALLIANCE_REFERENCE to the folder that holds {EXAMPLES.name}"
)


def without_real_data(path: Path) -> str:
    """Return why a test of real data does not run, and what to do."""
    return WITHOUT_REAL_DATA.format(path=path.relative_to(REAL_DATA) if path != REAL_DATA else "them")


def needs_real_data(path: Path) -> pytest.MarkDecorator:
    """Return a mark that skips a test where a file or folder of the real data is lacking."""
    return pytest.mark.skipif(not path.exists(), reason=without_real_data(path))


def without_package(package: str) -> str:
    """Return why a test does not run where R lacks a package, and what to do."""
    return f'needs the R package {package}; install it in R: install.packages("{package}")'
