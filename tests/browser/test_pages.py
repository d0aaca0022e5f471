"""Pages work in a real browser: for every reader, offline, on narrow screens and paper, without script, and with strange text in them."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import io
import re
from pathlib import Path

import browser_checks
import browser_pages
import page_checks
import pytest
import report_study
from alliance.reports import study_page
from alliance.reports.chapters import order
from alliance.reports.inputs import head
from alliance.reports.page import environment, render

KINDS = browser_pages.KINDS
needs_axe = pytest.mark.skipif(
    importlib.util.find_spec("axe_playwright_python") is None, reason="needs axe-playwright-python; run make to build the environment"
)


def opened(browser, path: Path, width: int = 1280, **options):
    """Return a page opened without network, and what its console says."""
    page = browser.new_context(viewport={"width": width, "height": 800}, offline=True, **options).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith(("file:", "data:", "blob:")) else None)
    page.goto(path.as_uri())
    return page, said


@pytest.mark.parametrize("name", KINDS)
def test_the_text_of_every_page_passes_all_checks(results, name):
    assert page_checks.findings((results / name).read_text(encoding="utf-8"), results / name) == {}


def test_every_page_of_a_run_is_one_of_the_kinds_that_are_tested_here(results):
    kinds = {Path(name).parent / ("*" if "/sites/" in name else Path(name).name) for name in KINDS}
    found = {path.relative_to(results) for path in results.rglob("*.html")}
    assert {one.parent / ("*" if one.parent.name == "sites" else one.name) for one in found} == kinds


@pytest.mark.parametrize("name", KINDS)
def test_pages_work_for_every_reader(results, browser, name):
    page, said = opened(browser, results / name)
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert browser_checks.focus_shows(page) == []
    assert browser_checks.large_enough(page) == []
    assert browser_checks.fits(page) == []
    assert browser_checks.captions_stay(page) == []
    assert browser_checks.reachable(page) == []
    assert browser_checks.heads_stay(page) == []
    assert browser_checks.low_rows(page) == []
    assert browser_checks.prints(page) == []
    assert said == []
    page.context.close()


@needs_axe
@pytest.mark.parametrize("name", KINDS)
def test_axe_finds_nothing_serious_on_light_or_dark_pages(results, browser, name):
    page, _ = opened(browser, results / name, bypass_csp=True)
    assert browser_checks.accessible(page) == []
    page.emulate_media(color_scheme="dark")
    assert browser_checks.accessible(page, "color-contrast", "link-in-text-block") == []
    page.context.close()


def column_of(page, name):
    """Return the place of a column of the table of sites."""
    return [text.strip() for text in page.locator("#sites-table thead th").all_text_contents()].index(name)


def test_a_table_is_sorted_by_the_button_in_its_head(report, browser):
    page, _ = opened(browser, report / "index.html")
    column = column_of(page, "Clients")
    head = page.locator("#sites-table thead th").nth(column)
    head.get_by_role("button").click()
    clients = f"[...document.querySelectorAll('#sites-table tbody tr')].map((row) => row.cells[{column}].textContent)"
    assert head.get_attribute("aria-sort") == "ascending"
    assert page.evaluate(clients) == ["120", "121", "122", "123", "124", "–"]
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert page.evaluate(clients) == ["124", "123", "122", "121", "120", "–"]
    page.context.close()


def test_a_table_is_saved_as_csv_with_full_precision(report, browser):
    page, said = opened(browser, report / "index.html", accept_downloads=True)
    with page.expect_download() as waiting:
        page.locator(".table", has=page.locator("#factors")).get_by_role("button", name="Download CSV").click()
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
    place = next(csv.reader(io.StringIO(text))).index("95% CI")
    intervals = [line[place] for line in csv.reader(io.StringIO(text))][1:]
    ends = [interval for interval in intervals if interval]
    assert ends and all(interval.startswith("[") and interval.endswith("]") for interval in ends), "an interval has two ends"
    assert said == []
    page.context.close()


def test_on_paper_tables_keep_their_heads_and_wide_ones_fit(report, browser):
    page, _ = opened(browser, report / "index.html", width=702)
    page.emulate_media(media="print")
    shown = page.evaluate("[...document.querySelectorAll('#sites-table thead th')].map((head) => head.innerText.trim())")
    assert shown[0] == "Site" and all(shown)
    assert page.evaluate("getComputedStyle(document.querySelector('.tools')).display") == "none"
    for name in ("congruence-surfaces", "dropout-models", "factors-time"):
        page.evaluate(f"document.querySelectorAll('details:has(#{name})').forEach((one) => {{ one.open = true; }})")
        assert 0 < page.evaluate(f"document.getElementById('{name}').getBoundingClientRect().right") <= 702
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


def test_strange_text_stays_text(browser, tmp_path):
    folder = browser_pages.write(tmp_path, browser_pages.hostile())
    for name in ("index.html", "quality.html", "sites/willow.html"):
        path = folder / "base" / "report" / name
        told = page_checks.findings(path.read_text(encoding="utf-8"), path)
        assert set(told) <= {"links"}, told
        page, said = opened(browser, path, width=320)
        page.on("dialog", lambda dialog, said=said: said.append(dialog.message))
        page.reload()
        assert "<script>alert(1)</script>" in page.evaluate("document.body.textContent") and "49" not in page.title()
        assert page.evaluate("document.scripts.length") == 1
        assert page.evaluate("document.querySelectorAll('[onerror], [src=x]').length") == 0
        assert browser_checks.fits(page) == []
        assert said == []
        page.context.close()


def test_a_page_is_printed_with_its_folds_open_and_its_heads(report, browser):
    page, _ = opened(browser, report / "sites" / "cedar.html")
    assert page.pdf(format="A4").startswith(b"%PDF-")
    page.context.close()
    page, _ = opened(browser, report / "index.html", java_script_enabled=False)
    page.emulate_media(media="print")
    assert not page.locator("nav.contents").is_visible()
    assert page.locator("details.printed").first.locator("p, table").first.is_visible(), "folds are printed without script too"
    page.context.close()


def many_rows(folder: Path, number: int) -> Path:
    """Write a study page whose table of sites has many rows."""
    data = report_study.only(report_study.study(), "early_gains")
    own = next(status for status in data.statuses if status["site"] == "elm")
    added = [
        {**own, "site": f"elm_{index}", "label": f"Elm {index}", "counts": {**own["counts"], "clients": 1000 + index}}
        for index in range(number)
    ]
    made = dataclasses.replace(data, statuses=[*data.statuses, *added])
    content = study_page.content(made, order.build(made))
    template = environment(report_study.TEMPLATES)
    sections = study_page.sections(content)
    text = render(template, "index.html.j2", head(made), title="Study report", current="index", sections=sections, **content)
    path = folder / "index.html"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_long_table_shows_a_hundred_rows_and_finds_sorts_and_saves_all(browser, tmp_path):
    path = many_rows(tmp_path, 250)
    page, said = opened(browser, path, accept_downloads=True)
    around = page.locator(".table", has=page.locator("#sites-table"))
    rows = page.locator("#sites-table tbody tr")
    assert rows.count() == 100
    more = around.get_by_role("button", name=re.compile("^Show 100 more"))
    assert "100 of 256 rows are shown" in more.text_content()
    more.click()
    assert rows.count() == 200
    column = column_of(page, "Clients")
    head = page.locator("#sites-table thead th").nth(column)
    head.get_by_role("button").click()
    head.get_by_role("button").click()
    assert rows.first.locator("th, td").nth(column).text_content() == "1,249"
    assert rows.first.get_by_role("link").get_attribute("href") == "sites/elm_249.html"
    around.get_by_role("searchbox").fill("elm 207")
    assert rows.all_text_contents()[0].startswith("Elm 207") and rows.count() == 1
    with page.expect_download() as waiting:
        around.get_by_role("button", name="Download CSV").click()
    lines = Path(waiting.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) == 257 and lines[1].startswith("Elm 249,")
    assert said == []
    page.context.close()
    page, _ = opened(browser, path, java_script_enabled=False)
    assert page.locator("#sites-table tbody tr").count() == 100
    page.locator("details.further summary").first.click()
    assert "Elm 249" in page.locator("details.further pre").first.inner_text()
    page.context.close()


def test_the_first_key_press_leads_to_the_content(report, browser):
    page, _ = opened(browser, report / "index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.context.close()
