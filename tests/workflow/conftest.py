"""The demo study in a copy of the project, computed once; every test works on its own copy of the result."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import Checkout, copy_project


@pytest.fixture(scope="session")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The demo, computed. Tests must not change it."""
    checkout = copy_project(tmp_path_factory.mktemp("demo") / "project")
    result = checkout.call("run")
    assert result.returncode == 0, result.stdout + result.stderr
    return checkout


@pytest.fixture
def checkout(computed: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the computed demo that a test may change."""
    target = tmp_path / "project"
    shutil.copytree(computed.folder, target, symlinks=True)
    return Checkout(target)
