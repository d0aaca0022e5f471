"""Folders that several test modules share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import PROJECT


@pytest.fixture
def study_folder(tmp_path: Path) -> Path:
    """A study folder with the project's configuration and one site that has no data."""
    folder = tmp_path / "study"
    site = folder / "data" / "demo" / "northgate"
    site.mkdir(parents=True)
    (site / "site.yaml").write_text("label: Northgate\ndata: rows\ntables: []\n", encoding="utf-8")
    shutil.copy(PROJECT / "config.yaml", folder / "config.yaml")
    return folder
