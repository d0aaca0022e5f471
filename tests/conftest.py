"""Folders and helpers that several test modules share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture
def study_folder(tmp_path: Path) -> Path:
    """A study folder with the project's configuration and one site that has no data."""
    folder = tmp_path / "study"
    site = folder / "data" / "demo" / "northgate"
    site.mkdir(parents=True)
    (site / "site.yaml").write_text("label: Northgate\ndata: rows\ntables: []\n", encoding="utf-8")
    shutil.copy(PROJECT / "config.yaml", folder / "config.yaml")
    return folder


def pipeline(command: str, config: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call the launcher as a user's make does."""
    return subprocess.run(
        [sys.executable, str(PROJECT / "scripts" / "pipeline.py"), command, "--config", str(config), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )
