"""The checks of pages find what they are there for: faults planted into a good page, each found by the check that names it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import browser_checks
import page_checks
import pytest
import report_study

ADDRESS = Path("sites/cedar.html")


@pytest.fixture(scope="module")
def good() -> str:
    """A page with tables, a figure, a fold and links, without a fault."""
    return report_study.rendered()["sites/cedar.html"]


def first(old: str, new: str):
    """Return a change of the first place where a page has a text."""

    def change(page: str) -> str:
        return page.replace(old, new, 1)

    return change


def every(old: str, new: str):
    """Return a change of every place where a page has a text."""

    def change(page: str) -> str:
        return page.replace(old, new)

    return change


def matching(pattern: str, new: str):
    """Return a change of the first place that a pattern fits."""

    def change(page: str) -> str:
        return re.sub(pattern, new, page, count=1, flags=re.DOTALL)

    return change


def inside(new: str):
    """Return a change that adds to the end of the main part."""
    return first("</main>", f"{new}</main>")


def blank_column(page: str) -> str:
    """Return a page whose table of measures says nothing in its second column."""
    start = page.index('<table id="measures-table"')
    end = page.index("</table>", start)
    table = re.sub(r"(<th scope=\"row\">[^<]*</th>)<td[^>]*>.*?</td>", r"\1<td></td>", page[start:end])
    return page[:start] + table + page[end:]


def long_table(page: str) -> str:
    """Return a page whose table of measures has so many rows that it scrolls in a box of its own."""
    start = page.index('<table id="measures-table"')
    row = page.index("<tbody>", start) + len("<tbody>")
    text = page[row : page.index("</tr>", row) + len("</tr>")]
    longer = page[:row] + 40 * text + page[row:]
    box = longer.rindex('<div class="scroll', 0, start)
    return longer[:box] + longer[box:].replace('<div class="scroll"', '<div class="scroll tall"', 1)


FAULTS = [
    ("structure", first("</section>", "")),
    ("structure", inside("<h1>Another</h1>")),
    ("structure", first(' aria-label="Pages of this report"', "")),
    ("language", first('<html lang="en">', "<html>")),
    ("title", matching(r"<title>.*?</title>", "<title></title>")),
    ("narrow_screens", first("initial-scale=1", "initial-scale=1, maximum-scale=1")),
    ("narrow_screens", matching(r'<meta name="viewport"[^>]*>', "")),
    ("policy", matching(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "")),
    ("policy", first("default-src 'none'", "default-src *")),
    ("policy", first('"use strict";', '"use strict"; document.title = "taken";')),
    ("policy", inside("<script>document.title = 'taken'</script>")),
    ("inert", inside('<p onclick="alert(1)">text</p>')),
    ("inert", inside('<p style="color: red">text</p>')),
    ("inert", inside('<a href="javascript:alert(1)">more</a>')),
    ("inert", inside('<iframe title="another page" src="data:text/html,x"></iframe>')),
    ("offline", first("</head>", '<link rel="stylesheet" href="https://example.org/style.css"></head>')),
    ("offline", inside('<img alt="a picture from elsewhere" src="//example.org/picture.png">')),
    ("offline", first("<style>", "<style>@import 'https://example.org/style.css';")),
    ("unique_ids", inside('<p id="measures">again</p>')),
    ("references", inside('<section aria-labelledby="nowhere"><p>text</p></section>')),
    ("links", first('href="#measures"', 'href="#measure"')),
    ("links", inside('<a href="#measures"></a>')),
    ("contents", first('href="#measures"', 'href="#measure"')),
    ("contents", matching(r'<li><a href="#measures">.*?</li>', "")),
    ("contents", inside('<section><h2 id="more">More</h2></section>')),
    ("headings", inside("<h4>Far below</h4>")),
    ("headings", inside("<h3></h3>")),
    ("images", matching(r' alt="[^"]{20,}"', "")),
    ("images", matching(r' alt="[^"]{20,}"', ' alt="figure"')),
    ("images", inside('<svg width="10" height="10"><path d="M0 0h9"/></svg>')),
    ("images", matching(r"<figcaption>.*?</figcaption>", "")),
    ("table_heads", matching(r"<caption[^>]*>.*?</caption>", "")),
    ("table_heads", matching(r'<th scope="col"([^>]*)>(.*?)</th>', r"<td\1>\2</td>")),
    ("table_heads", first('<th scope="col">', "<th>")),
    ("table_heads", matching(r'<th scope="row">(.*?)</th>', r"<td>\1</td>")),
    ("table_heads", matching(r"(<tbody>.*?)<td[^>]*>.*?</td>", r"\1")),
    ("empty_columns", blank_column),
    ("keyboard_regions", first(' tabindex="0"', "")),
    ("keyboard_regions", first(' tabindex="0"', ' tabindex="3"')),
    ("invisible_characters", inside("<p>invoice\u202egnp.exe</p>")),
    ("broken_numbers", inside("<p>The mean is nan.</p>")),
    ("typography", inside("<p>The therapist's view.</p>")),
    ("typography", inside("<p>The sites' rows.</p>")),
    ("typography", inside("<p>Client x therapist.</p>")),
    ("typography", inside("<p>Early - late.</p>")),
    ("typography", inside("<p>Alliance -> outcome.</p>")),
    ("typography", inside("<p>Do they grow together?.</p>")),
    ("typography", inside("<p>Differences (claim) (95% CI).</p>")),
    ("typography", inside("<p>The the alliance.</p>")),
    ("typography", matching(r' alt="[^"]{20,}"', ' alt="The flow of a site\'s clients"')),
    ("figure_contrast", every("fill:%235a6673", "fill:%23cfd5db")),
    ("whole_figures", matching(r"translate\(\d[\d.]*", "translate(-40")),
]


def test_the_page_that_faults_are_planted_into_has_none(good):
    assert page_checks.findings(good, ADDRESS) == {}


@pytest.mark.parametrize(("check", "change"), FAULTS, ids=[f"{check}-{number}" for number, (check, _) in enumerate(FAULTS)])
def test_a_fault_in_the_text_of_a_page_is_found_by_its_check(good, check, change):
    broken = change(good)
    assert broken != good, "nothing was planted"
    assert check in page_checks.findings(broken, ADDRESS)


def test_every_check_of_the_text_has_a_planted_fault():
    assert {check for check, _ in FAULTS} == set(page_checks.CHECKS)


def test_a_link_to_a_file_that_is_not_there_is_found(good, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(good, encoding="utf-8")
    assert any("not there" in told for told in page_checks.findings(good, path)["links"])


def test_contrast_is_that_of_the_guidelines():
    assert page_checks.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert page_checks.contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)
    assert page_checks.contrast("#777777", "#fff") < 4.5


BROKEN = [
    ("fits", first("overflow-x: auto; max-width: 100%;", "overflow-x: visible; max-width: 100%;")),
    ("fits", first("overflow-x: auto; max-width: 100%;", "overflow-x: hidden; max-width: 100%;")),
    ("captions_stay", first("position: sticky; left: 0; max-width: 100cqi;", "")),
    ("captions_stay", first("max-width: 100cqi;", "")),
    ("heads_stay", lambda page: long_table(page).replace('box.classList.add("held")', "")),
    ("heads_stay", lambda page: long_table(page).replace(".held thead th { top: var(--caption); }", "")),
    ("low_rows", first("<td>", f"<td>{'<p>One line of many.</p>' * 9}")),
    ("reachable", lambda page: page.replace(' tabindex="0"', "").replace("table[data-file]", "table[data-none]")),
    ("focus_shows", first(":focus-visible { outline: 3px solid var(--accent)", ":focus-visible { outline: none")),
    ("focus_shows", first(":focus-visible { outline: 3px solid var(--accent)", ":focus-visible { outline: 3px solid var(--line)")),
    ("focus_shows", first(":focus-visible { outline: 3px solid var(--accent)", ":focus-visible { outline: 1px solid var(--accent)")),
    ("large_enough", first("min-height: 1.75rem; }", "line-height: 1; }")),
    ("prints", first(".contents, .tools, .skip", ".skip")),
    ("prints", first(".scroll, .tall, pre, pre.configuration { overflow: visible; max-height: none;", ".scroll { max-height: 2rem;")),
    ("prints", first("tbody th, .wide, .broad .wide { min-width: 0; }", "tbody th { min-width: 60rem; }")),
    ("prints", first("thead button { display: contents; }", "")),
    ("prints", first(".tall thead th { position: static; }", "thead th { position: sticky; top: 0; }")),
    ("prints", first("max-height: 225mm;", "height: 300mm;")),
    ("prints", first("--page: #fff;", "--page: #ddd;")),
    ("prints", first("table { font-size: 7.5pt; }", "table { font-size: 5.5pt; }")),
    ("prints", lambda page: first('class="table', 'class="table broadest')(page).replace("{ page: wide; }", "{ }")),
    (
        "prints",
        lambda page: first('class="table', 'class="table broadest')(page).replace("tbody th, .wide,", "th { min-width: 80rem; } .wide,"),
    ),
    ("prints", lambda page: page.replace('addEventListener("beforeprint"', 'addEventListener("never"').replace('"beside"', '"printed"')),
]


@pytest.mark.parametrize(("check", "change"), BROKEN, ids=[f"{check}-{number}" for number, (check, _) in enumerate(BROKEN)])
def test_a_fault_that_only_a_browser_shows_is_found_by_its_check(good, browser, tmp_path, check, change):
    page = planted(good, browser, tmp_path, change)
    if check == "reachable":
        page.set_viewport_size({"width": 320, "height": 800})
    assert getattr(browser_checks, check)(page) != []


def test_a_long_table_without_a_fault_keeps_caption_and_heads_in_view(good, browser, tmp_path):
    assert browser_checks.heads_stay(planted(good, browser, tmp_path, long_table)) == []


AXE = [
    ("color-contrast", "light", first("--soft: #4a5765;", "--soft: #b0b8c0;")),
    ("color-contrast", "dark", first("--soft: #b4bfca;", "--soft: #3a4550;")),
    ("button-name", "light", inside('<button type="button"></button>')),
    ("label", "light", inside('<input type="text">')),
    ("link-name", "light", inside('<a href="#measures"></a>')),
    ("aria-roles", "light", inside('<div role="tabel">text</div>')),
    ("aria-hidden-focus", "light", inside('<div aria-hidden="true"><a href="#measures">here</a></div>')),
    ("html-has-lang", "light", first('<html lang="en">', "<html>")),
    ("list", "light", inside("<ul><p>text</p></ul>")),
    ("scrollable-region-focusable", "light", every(' tabindex="0"', "")),
]


@pytest.mark.skipif(
    importlib.util.find_spec("axe_playwright_python") is None, reason="needs axe-playwright-python; run make to build the environment"
)
@pytest.mark.parametrize(("rule", "scheme", "change"), AXE, ids=[f"{rule}-{scheme}" for rule, scheme, _ in AXE])
def test_a_fault_is_found_by_axe(good, browser, tmp_path, rule, scheme, change):
    page = planted(good, browser, tmp_path, change)
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 320, "height": 800})
    assert any(told.startswith(f"{rule} ") for told in browser_checks.accessible(page, rule))


def planted(good: str, browser, folder: Path, change):
    """Return a page with a fault, opened; its style may differ from what its policy allows."""
    broken = change(good)
    assert broken != good, "nothing was planted"
    path = folder / "broken.html"
    path.write_text(broken, encoding="utf-8")
    browser_page = browser.new_context(viewport={"width": 1280, "height": 800}, offline=True, bypass_csp=True).new_page()
    browser_page.goto(path.as_uri())
    return browser_page
