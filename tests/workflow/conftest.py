"""The demo study in a copy of the project, computed once; every test works on its own copy of the result."""

from __future__ import annotations

import shutil

import pytest
from support import Checkout, copy_project


@pytest.fixture(scope="session")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The demo, computed. Tests must not change it."""
    checkout = copy_project(tmp_path_factory.mktemp("demo") / "project")
    result = checkout.call("run")
    assert result.returncode == 0, result.stdout + result.stderr
    return checkout


@pytest.fixture(scope="session")
def two_sites(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Two sites of the demo with one window of the alliance, computed. Tests must not change it."""
    checkout = copy_project(tmp_path_factory.mktemp("two-sites") / "project", ("lindenhof", "northgate"))
    checkout.rewrite("config.yaml", "windows: [session_3, early, middle, late, all]", "windows: []")
    result = checkout.call("run")
    assert result.returncode == 0, result.stdout + result.stderr
    return checkout


@pytest.fixture
def checkout(two_sites: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy of the two computed sites that a test may change."""
    target = tmp_path_factory.mktemp("copy") / "project"
    shutil.copytree(two_sites.folder, target, symlinks=True)
    return Checkout(target)
