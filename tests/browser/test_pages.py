"""Pages work in a real browser: offline, at 320 px, without script, and with a policy that keeps strange scripts out."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

import report_study

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium; install it (Debian: apt-get install chromium) to test pages in a browser"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="needs playwright; run make to build the environment"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    for name, text in report_study.rendered().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield started
        started.close()


def opened(browser, path: Path, width: int = 1280, **options):
    """Return a page opened without network, and what its console says."""
    page = browser.new_context(viewport={"width": width, "height": 800}, offline=True, **options).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith(("file:", "data:", "blob:")) else None)
    page.goto(path.as_uri())
    return page, said


@pytest.mark.parametrize("name", ["index.html", "quality.html", "dictionary.html", "sites/cedar.html", "sites/willow.html"])
def test_pages_fit_into_320_pixels_and_ask_for_nothing(report, browser, name):
    page, said = opened(browser, report / name, width=320)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert said == []
    page.context.close()


def test_a_table_is_sorted_by_the_button_in_its_head(report, browser):
    page, _ = opened(browser, report / "index.html")
    head = page.locator("#sites-table thead th").nth(4)
    head.get_by_role("button").click()
    clients = "[...document.querySelectorAll('#sites-table tbody tr')].map((row) => row.cells[4].textContent)"
    assert head.get_attribute("aria-sort") == "ascending"
    assert page.evaluate(clients) == ["120", "121", "122", "123", "124", "–"]
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert page.evaluate(clients) == ["124", "123", "122", "121", "120", "–"]
    page.context.close()


def test_a_table_is_saved_as_csv_with_full_precision(report, browser):
    page, said = opened(browser, report / "index.html", accept_downloads=True)
    with page.expect_download() as waiting:
        page.locator("#factors").locator("xpath=ancestor::div[@class='table']").get_by_role("button", name="Download CSV").click()
    text = Path(waiting.value.path()).read_text(encoding="utf-8-sig")
    assert waiting.value.suggested_filename == "factors.csv"
    assert text.splitlines()[0].startswith("Factor,Category,")
    pooled = (
        report_study.study()
        .tables["client_factors"]["factors"]
        .query("site == '(pooled)' and factor == 'motivation' and headline == 'yes' and estimate_type == 'correlation'")
    )
    assert len(pooled) == 1
    assert repr(float(pooled["estimate"].iloc[0])) in text
    assert said == []
    page.context.close()


def test_on_paper_tables_keep_their_heads_and_wide_ones_fit(report, browser):
    page, _ = opened(browser, report / "index.html", width=718)
    page.emulate_media(media="print")
    shown = page.evaluate("[...document.querySelectorAll('#sites-table thead th')].map((head) => head.innerText.trim())")
    assert shown[0] == "Site" and all(shown)
    assert page.evaluate("getComputedStyle(document.querySelector('.tools')).display") == "none"
    for name in ("congruence-surfaces", "dropout-models", "factors-time"):
        page.evaluate(f"document.querySelectorAll('details:has(#{name})').forEach((one) => {{ one.open = true; }})")
        assert 0 < page.evaluate(f"document.getElementById('{name}').getBoundingClientRect().right") <= 718
    page.context.close()


def test_everything_can_be_read_without_script(report, browser):
    page, _ = opened(browser, report / "index.html", java_script_enabled=False)
    assert page.locator("button").count() == 0
    assert page.locator("#sites-table").is_visible()
    assert page.locator("figure img").first.is_visible()
    page.context.close()


def test_a_script_that_got_into_a_page_does_not_run(report, browser, tmp_path):
    text = (report / "quality.html").read_text(encoding="utf-8")
    broken = tmp_path / "broken.html"
    broken.write_text(
        text.replace("</main>", "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"></main>"),
        encoding="utf-8",
    )
    page, _ = opened(browser, broken)
    assert page.title().startswith("Data quality")
    page.context.close()


def test_the_first_key_press_leads_to_the_content(report, browser):
    page, _ = opened(browser, report / "index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.context.close()
