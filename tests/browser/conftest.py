"""A browser without network, and the pages of a small invented study of every kind that a run writes."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

import browser_pages

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A browser; tests that ask for it are skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium; install it (Debian: apt-get install chromium) to test pages in a browser")
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("needs playwright; run make to build the environment")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield started
        started.close()


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results with every kind of page, rendered once."""
    return browser_pages.write(tmp_path_factory.mktemp("results"), browser_pages.pages())


@pytest.fixture(scope="session")
def report(results: Path) -> Path:
    """The folder of the report of the configuration as it stands."""
    return results / "base" / "report"
