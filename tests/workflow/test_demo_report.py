"""The report of the demo: items of the checklist have places, numbers in methods are those of the run, links lead somewhere, APA style."""

from __future__ import annotations

import html
import math
import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from alliance.files import read_json
from alliance.instruments import load_files
from alliance.questions import contract, coverage
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.measurement.factor_rows import SAME_FACTOR
from alliance.reports import bibliography, checklist_page, inputs, methods_text, numbers, summary
from alliance.reports.inputs import ReportData
from alliance.reports.page import typographic
from alliance.statistics.ruptures import D2
from support import PROJECT

VOID = {"meta", "img", "source", "br", "hr", "input", "link", "col"}
LARGEST, MOST_ELEMENTS = 3_000_000, 20_000


class Page(HTMLParser):
    """What is read on a page: its sentences, and its tables by row and cell. Code and addresses are no sentences."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sentences: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag in VOID:
            return
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data):
        if {"style", "script", "pre", "code"} & set(self.open):
            return
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data
        else:
            self.sentences.append(data)


@pytest.fixture(scope="module")
def results(computed) -> Path:
    return computed.results


@pytest.fixture(scope="module")
def pages(results) -> dict[str, str]:
    """Every page under the results' folder that anybody may read, by its address."""
    found = sorted(path for path in results.rglob("*.html") if "private" not in path.relative_to(results).parts)
    return {path.relative_to(results).as_posix(): path.read_text(encoding="utf-8") for path in found}


@pytest.fixture(scope="module")
def data(results) -> ReportData:
    base, workflow = results / "base", PROJECT / "workflow"
    options = read_json(base / "resolved_config.json")
    sites = sorted(path.name for path in (results / "sites").iterdir() if path.is_dir())
    return inputs.ReportData(
        scenario="base",
        options=options,
        provenance=read_json(base / "provenance.json"),
        constants={},
        statuses=[read_json(results / "sites" / site / "status.json") for site in sites],
        issues=(),
        tables=inputs.read_tables(base / "tables", [name for name, chosen in options["questions"].items() if chosen.get("enabled")]),
        instruments=load_files(sorted((workflow / "instruments").glob("*.yaml"))),
        references=bibliography.parse((workflow / "references.bib").read_text(encoding="utf-8")),
        coverage=coverage.read(workflow / "simulated_coverage.csv"),
        guide=inputs.report_guide.read(workflow / "guide", workflow / "headlines.yaml"),
    )


def test_every_item_of_the_reporting_standard_is_resolved_and_every_place_exists(data, pages):
    report = "base/report/"
    own = {name.removeprefix(report): text for name, text in pages.items() if name.startswith(report) and "/sites/" not in name}
    addresses = checklist_page.titles(own)
    for one in checklist_page.resolve(data, addresses):
        assert one.verdict != checklist_page.OPEN, one
        assert one.broken == (), one
        assert one.verdict != checklist_page.NOT_APPLICABLE or one.reason
    for fault in data.guide.faults:
        assert f"index.html#{fault.section}" in addresses, fault
    for priority in data.guide.priorities:
        assert f"index.html#{priority.chapter}" in addresses


def test_every_priority_is_answered_with_an_estimate(data):
    for one in summary.priorities(data, []):
        for sentence in one.sentences:
            assert "not estimable" not in sentence and "95% CI [" in sentence, sentence


def test_every_link_of_every_page_leads_to_a_file_or_place_that_is_there(results, pages):
    ids = {name: set(re.findall(r' id="([^"]+)"', text)) for name, text in pages.items()}
    checked = 0
    for name, text in pages.items():
        for address in set(re.findall(r'<a [^>]*?href="([^"]+)"', text)):
            path, _, place = html.unescape(address).partition("#")
            target = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
            assert (results / target).is_file(), (name, address)
            assert not place or target not in ids or place in ids[target], (name, address)
            checked += 1
    assert checked > 100


def test_pages_of_the_demo_are_small_enough(pages):
    for name, text in pages.items():
        assert len(text.encode()) <= LARGEST and len(re.findall(r"<[a-z]", text)) <= MOST_ELEMENTS, name


FAULTS = {
    "a hyphen in place of a minus sign": re.compile(r"(?<![\w.\]–-])-\.?\d"),
    "a leading zero of a number that cannot exceed one": re.compile(r"(?<!\w)(?:r|β|α|ω|κ|R²|I²|p|ICC|ICC\(2,1\))\s*[=<>]\s*−?0\.\d"),
    "a p value of zero": re.compile(r"\bp\s*=\s*0?\.000"),
    "a blank before a percent sign": re.compile(r"\d %"),
    "a number that is none": re.compile(r"\b(?:nan|NaN|inf)\b|^None$"),
    "powers of ten of a program": re.compile(r"\d[eE][-−+]\d"),
    "a negative zero": re.compile(r"−0?\.0+(?!\d)"),
}
BOUNDED_HEADS = {"r", "p", "α", "ω", "κ", "R²", "CFI", "SRMR", "RMSEA", "ICC", "α, median site", "Loading"}


@pytest.mark.parametrize("fault", FAULTS)
def test_numbers_are_in_apa_style_on_all_pages(pages, fault):
    for name, text in pages.items():
        read = Page(text)
        cells = [cell for table in read.tables for row in table for cell in row]
        for piece in (*read.sentences, *cells):
            assert not FAULTS[fault].search(piece), (name, piece)


def test_columns_of_numbers_that_cannot_exceed_one_have_no_leading_zero(pages):
    checked = 0
    for name, text in pages.items():
        for table in Page(text).tables:
            for place, head in enumerate(table[0]):
                if head in BOUNDED_HEADS:
                    assert not any(re.match(r"[<>= −]*0\.\d", row[place]) for row in table[1:]), (name, head)
                    checked += 1
    assert checked > 10


def test_faults_of_style_are_found():
    wrong = ["-0.3", "r = 0.30", "p = .000", "25 %", "nan", "3e-08", "−.00"]
    assert all(pattern.search(text) for pattern, text in zip(FAULTS.values(), wrong, strict=True))
    right = "−0.30, r = .30, p < .001, 25%, WAI-36, 1-1-1, 95% CI [−.10, .20], k − 1, −0.01"
    assert not any(pattern.search(right) for pattern in FAULTS.values())


NUMBER = re.compile(r"(?<![\w.,])[−-]?(?:\d[\d,]*)?\.?\d+(?!\w)")
COUNTED = re.compile(r"(?<![\w.])(\d[\d,]*) (sites?|clients?|therapists?)\b(?! factors)")
YEAR_OF_THE_META_ANALYSIS, AGREEMENT_OF_SINGLE_RATERS = 1991, 21
LAGGED_EFFECTS = {".03": 0.03, ".07": 0.07, ".12": 0.12}
CONSTANTS = {
    "client_factors": {"1991": YEAR_OF_THE_META_ANALYSIS},
    "congruence": {"2,1": AGREEMENT_OF_SINGLE_RATERS},
    "measurement": {"0.9": SAME_FACTOR},
    "path_models": LAGGED_EFFECTS,
    "ruptures": {"1.128": D2},
}
"""Numbers in methods that are neither chosen nor found, by question: those of the program, of conventions and of names."""


def numbers_in(value: Any) -> Iterator[float]:
    """Yield every number in a part of the configuration, in keys and text too."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers_in(key)
            yield from numbers_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers_in(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)
    elif isinstance(value, str):
        yield from (float(found) for found in re.findall(r"\d+(?:\.\d+)?", value))


def counted(data: ReportData, question: str) -> dict[str, set[int]]:
    """Return every number of sites, clients and therapists in the tables of a question."""
    found: dict[str, set[int]] = {"site": set(), "client": set(), "therapist": set()}
    for table in data.tables[question].values():
        for noun in found:
            found[noun] |= {int(value) for value in table[f"n_{noun}s"].dropna().unique()}
        used = table[table["status"].isin(WITH_NUMBERS) & table["site"].ne(POOLED)]
        found["site"].add(used["site"].nunique())
    return found


def test_every_number_in_methods_is_that_of_the_configuration_or_of_the_tables(data):
    checked = 0
    for question in data.tables:
        simulated = set(coverage.sentences(coverage.of_rows(data.coverage, _used(data, question), data.options["pooling"]["interval"])))
        shared = {name: part for name, part in data.options.items() if name not in ("questions", "multiverse", "report", "cleaning")}
        asked = [shared, data.options["questions"][question], data.options["questions"]["alliance_outcome"]]
        chosen = {number for part in asked for number in numbers_in(part)}
        chosen |= {round(100 * number, 9) for number in chosen}
        tables = counted(data, question)
        sizes = {len(part) for part in _lists(data.options["questions"][question])} | _rows(data, question)
        for sentence in methods_text.of_question(data, question):
            if sentence.text in simulated:
                continue
            text = sentence.text.replace(numbers.SPACE, " ")
            for number in NUMBER.findall(text):
                value = abs(float(number.replace("−", "-").replace(",", "")))
                if number in CONSTANTS.get(question, {}):
                    assert value == CONSTANTS[question][number], (number, text)
                else:
                    assert value in chosen or value in sizes or value in set().union(*tables.values()), (number, text)
                checked += 1
            for number, noun in COUNTED.findall(text):
                value = int(number.replace(",", ""))
                assert value in tables[noun.removesuffix("s")] or value in chosen, (number, noun, text)
    assert checked > 40


def _used(data: ReportData, question: str) -> set[tuple[str, str]]:
    rows = [table.loc[table["status"].isin(WITH_NUMBERS), ["estimate_type", "method"]] for table in data.tables[question].values()]
    return {tuple(pair) for part in rows for pair in part.drop_duplicates().itertuples(index=False)}


def _lists(section: Any) -> Iterator[Any]:
    if isinstance(section, dict | list):
        yield section
        for inner in section.values() if isinstance(section, dict) else section:
            yield from _lists(inner)


def _rows(data: ReportData, question: str) -> set[int]:
    """Return how many things each table tells of at sites: distinct rows with a number of one type, whatever the site."""
    found = set()
    for name, table in data.tables[question].items():
        keys = [key for key, kind in contract.table_types(contract.table(question, name)).items() if kind == contract.TEXT]
        keys = [key for key in keys if key in contract.table(question, name).keys]
        used = table[table["status"].isin(WITH_NUMBERS) & table["site"].ne(POOLED)]
        found |= {len(part[keys].drop_duplicates()) for _, part in used.groupby("estimate_type")}
    return found


def test_numbers_of_simulations_in_methods_are_those_of_the_simulations(data):
    lows = {math.floor(round(1000 * one.lowest, 6)) / 10 for one in data.coverage}
    highs = {math.ceil(round(1000 * one.highest, 6)) / 10 for one in data.coverage}
    checked = 0
    for question in data.tables:
        for told in coverage.sentences(coverage.of_rows(data.coverage, _used(data, question), data.options["pooling"]["interval"])):
            for first, last in re.findall(r"(\d+\.\d) to (\d+\.\d) %", told):
                assert float(first) in lows and float(last) in highs, told
                checked += 1
    assert checked > 20


def test_every_work_cited_in_methods_is_in_the_bibliography_and_in_the_list_of_references(data, pages):
    listed = html.unescape(pages["base/report/index.html"].split('<h2 id="references">')[1])
    cited = [methods_text.general(data), *(methods_text.of_question(data, question) for question in data.tables)]
    keys = {key for sentences in cited for key in methods_text.cited_keys(sentences)}
    assert len(keys) > 40
    for key in keys:
        assert key in data.references, key
        assert typographic(bibliography.entry(data.references[key])) in listed, key


def test_the_workbook_of_the_demo_has_every_table_of_it(data, results):
    book = openpyxl.load_workbook(results / "base" / "report" / "tables.xlsx", read_only=True)
    sizes = {(row[1], row[2]): row[4] for row in book["Contents"].iter_rows(values_only=True) if len(row) > 4 and isinstance(row[4], int)}
    expected = {(question, name): len(table) for question, tables in data.tables.items() for name, table in tables.items()}
    assert sizes == expected and len(book.sheetnames) == 1 + len(expected)


def test_the_page_of_all_reports_names_every_report_of_the_run(pages):
    assert 'href="base/report/index.html"' in pages["index.html"] and 'href="sensitivity/index.html"' in pages["index.html"]
    assert 'href="base/report/tables.xlsx"' in pages["index.html"] and 'href="changes/index.html"' in pages["index.html"]
