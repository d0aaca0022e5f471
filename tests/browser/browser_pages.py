"""Every kind of page that a run writes, of a small invented study: from the tables that the tests of each page use."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import report_study
from alliance.changes.page import page as changes_page
from alliance.reports import pages as report_pages
from alliance.reports.inputs import ReportData, head
from alliance.reports.overview_page import FILES, Shown, overview_page
from alliance.reports.sensitivity_page import sensitivity_page
from alliance.sensitivity import pooled_multiverse
from alliance.sensitivity.scenario_comparison import scenario_comparison
from unit import test_changes, test_scenarios
from unit.multiverse_sites import answer, options, sites, statuses
from unit.test_reports_pages import HOSTILE
from unit.test_sensitivity_multiverse import some

KINDS = (
    "base/report/index.html",
    "base/report/quality.html",
    "base/report/dictionary.html",
    "base/report/checklist.html",
    "base/report/sites/cedar.html",
    "base/report/sites/willow.html",
    "sensitivity/index.html",
    "changes/index.html",
    "index.html",
)


@functools.cache
def pages() -> dict[str, str]:
    """Return the pages by their address below the results."""
    made = {f"base/report/{name}": text for name, text in report_study.rendered().items()}
    return {
        **made,
        "sensitivity/index.html": sensitivity(report_study.study()),
        "changes/index.html": changes(),
        "index.html": overview(report_study.study()),
    }


def sensitivity(data: ReportData, given: dict[str, Any] | None = None) -> str:
    """Return the page of sensitivity: two scenarios, and a multiverse over three sites, of 16 specifications where none is given."""
    given = given or options(some("rater", "change", "pooling"), flips=50)
    of_sites = sites()
    tables = pooled_multiverse.tables_of([answer(site, given) for site in of_sites], statuses(of_sites), given)
    computed = [test_scenarios.computed("base", 0.3), test_scenarios.computed("by_therapist", 0.2, 0.9, "therapist")]
    tables["scenario_comparison"] = scenario_comparison(test_scenarios.HEADLINES, computed)
    return sensitivity_page(dataclasses.replace(data, tables={"sensitivity": tables}), given, report_study.TEMPLATES)


def changes() -> str:
    """Return the page of what changed since the run before."""
    before, now = test_changes.snapshot(), test_changes.snapshot(headlines=[test_changes.number("first", 0.25)])
    return changes_page(test_changes.one(before, now), report_study.TEMPLATES, "base")


def overview(data: ReportData) -> str:
    """Return the page that leads to all reports, of one scenario."""
    sites = {status["site"]: data.labels[status["site"]] for status in data.statuses}
    shown = Shown("base", "the configuration as it stands", frozenset(FILES), True)
    return overview_page(head(data), [shown], sites, ["sensitivity/index.html", "changes/index.html"], report_study.TEMPLATES)


def hostile() -> dict[str, str]:
    """Return the pages of a study whose titles, labels, reasons and file names try to break out of their place."""
    data = report_study.only(report_study.study(), "early_gains", "path_models", "client_factors")
    settings = json.loads(json.dumps(data.options))
    settings["study"]["title"] = HOSTILE
    settings["questions"]["path_models"]["models"]["empathy_alliance_outcome"]["label"] = HOSTILE
    told = [
        {
            **status,
            "label": HOSTILE,
            "reasons": [HOSTILE],
            "site_facts": {"country": HOSTILE},
            "files": [{**file, "file": HOSTILE} for file in status["files"]],
        }
        for status in data.statuses
    ]
    faults = [dataclasses.replace(issue, message=HOSTILE, fix=HOSTILE, value_shown=HOSTILE, file=HOSTILE) for issue in data.issues]
    inputs = [{**entry, "file": HOSTILE} for entry in data.provenance["inputs"]]
    changed = dataclasses.replace(
        data, options=settings, statuses=told, issues=faults, provenance={**data.provenance, "inputs": inputs, "reason": HOSTILE}
    )
    return {f"base/report/{name}": text for name, text in report_pages.render_all(changed, report_study.TEMPLATES).items()}


def write(folder: Path, texts: dict[str, str]) -> Path:
    """Write pages below a folder, with empty files in place of the workbook and the scripts for R that they link to."""
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for model in report_study.study().options["questions"]["path_models"]["models"]:
        path = folder / "base" / "lavaan" / f"{model}.R"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (folder / "base" / "report" / "tables.xlsx").touch()
    return folder
