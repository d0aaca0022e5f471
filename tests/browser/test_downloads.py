"""What a reader takes away from a page in a real browser: tables for word processors, data of figures, the citation."""

from __future__ import annotations

import json
from pathlib import Path

import browser_pages
import pytest
import report_study
from alliance.configuration.options import merge
from alliance.reports import citation
from unit.multiverse_sites import options
from unit.test_sensitivity_multiverse import NODES, some


@pytest.fixture
def page(report, browser):
    """The study page, opened without network by a reader who lets it use the clipboard."""
    context = browser.new_context(offline=True, accept_downloads=True, permissions=["clipboard-read", "clipboard-write"])
    opened = context.new_page()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto((report / "index.html").as_uri())
    yield opened
    assert said == []
    context.close()


CLIPBOARD = """async () => {
  const item = (await navigator.clipboard.read())[0];
  return Object.fromEntries(await Promise.all(item.types.map(async (type) => [type, await (await item.getType(type)).text()])));
}"""


def test_a_table_is_copied_for_word_processors_with_caption_rules_and_all_that_is_shown(page):
    page.get_by_role("button", name="Copy table: Sites and what they sent").click()
    page.get_by_role("status").filter(has_text="Sites and what they sent copied").wait_for(state="attached")
    copied = page.evaluate(CLIPBOARD)
    assert set(copied) == {"text/html", "text/plain"}
    lines = copied["text/plain"].splitlines()
    assert lines[0] == "Sites and what they sent" and lines[1].startswith("Site\tStatus\tSends")
    assert len(lines) == 2 + len(report_study.SITES)
    html = copied["text/html"]
    assert html.count("<tr>") == 1 + len(report_study.SITES) and 'frame="hsides"' in html and 'align="right"' in html
    assert "<button" not in html and "style=" not in html
    assert "Birch Hill outpatient clinic" in html


def test_the_citation_is_copied_as_it_stands(page):
    for id, text in (("citation-apa", citation.apa(report_study.study())), ("citation-bibtex", citation.bibtex(report_study.study()))):
        page.locator(f"#{id} + .tools").get_by_role("button").click()
        named = page.locator(f"#{id}").get_attribute("data-copy")
        page.get_by_role("status").filter(has_text=f"{named} copied").wait_for(state="attached")
        assert page.evaluate("navigator.clipboard.readText()").strip() == text


def test_every_figure_can_be_saved_as_data(page):
    figures = page.locator("figure[data-file]")
    assert figures.count() > 10
    assert figures.locator("button", has_text="Download data").count() == figures.count()


def test_the_data_of_a_figure_are_those_of_its_table_even_while_it_is_folded(page):
    figure = page.locator("#flow")
    with page.expect_download() as waiting:
        figure.get_by_role("button", name="Download data").click()
    assert waiting.value.suggested_filename == "flow-data.csv"
    lines = Path(waiting.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert lines[0].startswith("Site,Clients sent") and lines[-1].startswith("All sites,")
    assert len(lines) == page.evaluate("document.querySelectorAll('#flow-data tr').length")


def test_without_a_clipboard_the_table_is_saved_instead(report, browser):
    context = browser.new_context(offline=True, accept_downloads=True)
    opened = context.new_page()
    opened.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    opened.goto((report / "index.html").as_uri())
    with opened.expect_download() as waiting:
        opened.get_by_role("button", name="Copy table: Sites and what they sent").click()
    assert waiting.value.suggested_filename == "copy.html"
    context.close()


def test_a_specification_is_found_and_its_configuration_copied_whatever_decisions_are_called(browser, tmp_path):
    data = report_study.study()
    # The first decision is called like a column of numbers before it.
    given = options({"sites": NODES["rater"], **some("change", "pooling")}, flips=100)
    path = tmp_path / "index.html"
    path.write_text(browser_pages.sensitivity(data, given), encoding="utf-8")
    context = browser.new_context(offline=True, permissions=["clipboard-read", "clipboard-write"])
    opened = context.new_page()
    opened.goto(path.as_uri())
    fold = opened.locator("#find-alliance-outcome")
    fold.locator("summary").first.click()
    fold.get_by_label("Show rows that contain").fill("therapist difference one effect")
    rows = fold.locator("tbody tr")
    assert rows.count() == 1
    number = rows.evaluate("row => row.cells[0].dataset.value")
    rows.get_by_role("button").click()
    opened.get_by_role("status").filter(has_text=f"Configuration of specification {number} copied").wait_for(state="attached")
    copied = json.loads(opened.evaluate("navigator.clipboard.readText()"))
    changes = {"alliance": {"rater": "therapist"}, "outcome": {"form": "change"}, "pooling": {"tau2": "fixed", "interval": "z"}}
    assert copied == merge({name: value for name, value in data.options.items() if name != "multiverse"}, changes)
    context.close()
