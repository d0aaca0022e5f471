"""The demo study in a copy of the project, computed once; every test works on its own copy of the result."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import Checkout, copy_project, made_once


def _run(checkout: Checkout) -> None:
    result = checkout.call("run")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="session")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The demo, computed. Tests must not change it."""

    def make(folder: Path) -> None:
        _run(copy_project(folder / "project"))

    return Checkout(made_once(tmp_path_factory, "demo", make) / "project")


@pytest.fixture(scope="session")
def two_sites(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Two sites of the demo with one window of the alliance, computed. Tests must not change it."""

    def make(folder: Path) -> None:
        checkout = copy_project(folder / "project", ("lindenhof", "northgate"))
        checkout.rewrite("config.yaml", "windows: [session_3, early, middle, late, all]", "windows: []")
        _run(checkout)

    return Checkout(made_once(tmp_path_factory, "two-sites", make) / "project")


@pytest.fixture(scope="session")
def one_question(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Two sites of the demo with client factors as the only question, computed. Tests must not change it."""

    def make(folder: Path) -> None:
        checkout = copy_project(folder / "project", ("lindenhof", "northgate"))
        checkout.ask_only("client_factors")
        _run(checkout)

    return Checkout(made_once(tmp_path_factory, "one-question", make) / "project")


def _copy(computed: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    target = tmp_path_factory.mktemp("copy") / "project"
    shutil.copytree(computed.folder, target, symlinks=True)
    return Checkout(target)


@pytest.fixture
def small(one_question: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy of the one computed question that a test may change: for what does not depend on the question."""
    return _copy(one_question, tmp_path_factory)


@pytest.fixture
def checkout(two_sites: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy of the two computed sites with all questions that a test may change."""
    return _copy(two_sites, tmp_path_factory)
