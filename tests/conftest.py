"""Folders that several test modules share, and the order in which workers take the modules."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from alliance.files import hold_text_as_python
from support import PROJECT

# As the scripts do.
hold_text_as_python()

LONG = ("workflow", "studies", "browser")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let workers start with the modules that run the pipeline: taken last, one of these would keep a single worker busy at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.path.parent.name not in LONG)


@pytest.fixture
def study_folder(tmp_path: Path) -> Path:
    """A study folder with the project's configuration and one site that has no data."""
    folder = tmp_path / "study"
    site = folder / "data" / "demo" / "northgate"
    site.mkdir(parents=True)
    (site / "site.yaml").write_text("label: Northgate\ndata: rows\ntables: []\n", encoding="utf-8")
    shutil.copy(PROJECT / "config.yaml", folder / "config.yaml")
    return folder
