"""Pages of a study with 500 sites: bytes (limit 10 MB), elements, and seconds until a browser has opened them.

Prints processor seconds of rendering, size, elements on the page, and the time until the browser reports it as loaded (limit 3 s), with
and without script. Give a folder of results to measure its pages in place of those.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

from measure import PROJECT

sys.path.insert(0, str(PROJECT / "scripts"))
sys.path.insert(0, str(PROJECT / "tests"))
sys.path.insert(0, str(PROJECT / "tests" / "unit"))

import report_study
import report_study_large

SITES = 500
MOST_BYTES, MOST_SECONDS = 10_000_000, 3.0
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def rendered(folder: Path) -> list[Path]:
    """Write the pages of a study with very many sites: study and data quality."""
    made = []
    for name, page in report_study_large.pages(report_study_large.many_sites(SITES), report_study.TEMPLATES):
        start = time.process_time()
        path = folder / name
        path.write_text(page(), encoding="utf-8")
        print(f"{name}: rendered in {time.process_time() - start:.1f} s of processor time")
        made.append(path)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="?", type=Path, help="folder of results whose pages are measured")
    given = parser.parse_args()
    browser_file = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser_file is None:
        print("needs Chromium; install it (Debian: apt-get install chromium)")
        return
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        pages = sorted(given.results.rglob("*.html")) if given.results else rendered(Path(name))
        browser = playwright.chromium.launch(executable_path=browser_file, args=SWITCHES)
        for path in pages:
            text = path.read_text(encoding="utf-8")
            size, elements = path.stat().st_size, len(re.findall(r"<[a-z]", text))
            told = []
            for script in (True, False):
                page = browser.new_context(offline=True, java_script_enabled=script).new_page()
                start = time.perf_counter()
                page.goto(path.resolve().as_uri())
                told.append(time.perf_counter() - start)
                page.context.close()
            met = "met" if size <= MOST_BYTES and told[0] <= MOST_SECONDS else "MISSED"
            seconds = f"opens in {told[0]:.2f} s ({told[1]:.2f} s without script)"
            print(f"{path.name}: {size / 1e6:.2f} MB, {elements:,} elements, {seconds}; limits {met}")
        browser.close()


if __name__ == "__main__":
    main()
