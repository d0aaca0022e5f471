"""The page that leads to all reports lists what is there, in the order of the study, and says what is of an earlier state."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest
import report_study
from alliance.launch.overview import write_overview
from support import PROJECT

TEMPLATES = PROJECT / "workflow" / "templates"


@pytest.fixture
def study(tmp_path):
    """A study folder with the reports of two of three scenarios."""
    data = report_study.study()
    other = json.loads(json.dumps(data.options))
    other["alliance"]["rater"] = "therapist"
    scenarios = {"base": data.options, "by_therapist": other, "not_run": data.options}
    results = tmp_path / "results"
    for name in ("base", "by_therapist"):
        (results / name / "report" / "sites").mkdir(parents=True)
        for page in ("index", "quality", "checklist", "sites/elm"):
            (results / name / "report" / f"{page}.html").write_text("page", encoding="utf-8")
        (results / name / "provenance.json").write_text(json.dumps(data.provenance), encoding="utf-8")
        (results / name / "resolved_config.json").write_text(json.dumps(scenarios[name]), encoding="utf-8")
    for status in data.statuses:
        (results / "sites" / status["site"]).mkdir(parents=True)
        (results / "sites" / status["site"] / "status.json").write_text(json.dumps(status), encoding="utf-8")
    reasons = {name: f"why {name} <is>" for name in scenarios}
    return SimpleNamespace(folder=tmp_path, scenarios=scenarios, reasons=reasons, sites=dict.fromkeys(report_study.SITES))


def links(text: str) -> list[str]:
    return re.findall(r'<a href="([^"#]+)"', text.split('id="content"')[1])


def test_all_reports_that_are_there_are_linked_and_no_other(study):
    page = write_overview(study, TEMPLATES)
    text = page.read_text(encoding="utf-8")
    assert page == study.folder / "results" / "index.html"
    assert [link for link in links(text) if link.endswith("/index.html")] == ["base/report/index.html", "by_therapist/report/index.html"]
    assert all((page.parent / link).exists() for link in links(text))
    assert "base/report/sites/elm.html" in links(text) and "not_run" not in text and "tables.xlsx" not in text
    assert "why base &lt;is&gt;" in text and "earlier state" not in text


def test_pages_over_scenarios_and_the_workbook_are_linked_once_they_are_there(study):
    results = study.folder / "results"
    for name in ("sensitivity/index.html", "changes/index.html", "publish/index.html", "base/report/tables.xlsx"):
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).write_text("page", encoding="utf-8")
        assert name in links(write_overview(study, TEMPLATES).read_text(encoding="utf-8"))


@pytest.mark.parametrize(("file", "key"), [("provenance.json", "data_digest"), ("resolved_config.json", "study")])
def test_a_report_of_other_data_or_another_configuration_says_so(study, file, key):
    path = study.folder / "results" / "by_therapist" / file
    content = json.loads(path.read_text(encoding="utf-8"))
    content[key] = "other"
    path.write_text(json.dumps(content), encoding="utf-8")
    text = write_overview(study, TEMPLATES).read_text(encoding="utf-8")
    assert text.count("from an earlier state of the study; run it again") == 1


def test_the_page_is_left_alone_where_nothing_changes_and_not_made_without_a_report(study):
    page = write_overview(study, TEMPLATES)
    before = page.stat().st_mtime_ns
    assert write_overview(study, TEMPLATES) == page and page.stat().st_mtime_ns == before
    (study.folder / "results" / "base" / "report" / "index.html").unlink()
    assert write_overview(study, TEMPLATES) is None


def test_every_page_leads_back_to_it():
    for name, text in report_study.rendered().items():
        back = "../" * (name.count("/") + 2) + "index.html"
        assert f'<a href="{back}">All reports</a>' in text, name
