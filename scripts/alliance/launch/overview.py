"""The page ``results/index.html``: made from what stands under the results' folder, after every run.

It is no step of the workflow, since which scenarios have a report depends on earlier runs too. Equal results give the same page.
"""

from __future__ import annotations

from pathlib import Path

from alliance.configuration.study import BASE, Study
from alliance.files import read_json, write_text
from alliance.reports.inputs import ReportData, head
from alliance.reports.overview_page import BESIDE, FILES, Shown, overview_page

PAGE = "results/index.html"


def write_overview(study: Study, templates: Path) -> Path | None:
    """Write the page that links all reports; leave it alone where nothing of it changes.

    Parameters
    ----------
    study : Study
    templates : Path
        Folder of the templates.

    Returns
    -------
    Path or None
        The page; None where ``base`` has no report yet.
    """
    results = study.folder / "results"
    if not _has_report(results, BASE):
        return None
    provenance = read_json(results / BASE / "provenance.json")
    data = ReportData(
        scenario=BASE,
        options=read_json(results / BASE / "resolved_config.json"),
        provenance=provenance,
        constants={},
        statuses=[read_json(path) for path in (results / "sites" / site / "status.json" for site in study.sites) if path.exists()],
        issues=(),
        tables={},
    )
    shown = [_shown(study, name, provenance["data_digest"]) for name in study.scenarios if _has_report(results, name)]
    labels = data.labels
    sites = {site: labels[site] for site in study.sites if site in labels and (results / BASE / f"report/sites/{site}.html").exists()}
    text = overview_page(head(data), shown, sites, [address for address in BESIDE if (results / address).exists()], templates)
    page = study.folder / PAGE
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        write_text(page, text)
    return page


def _has_report(results: Path, scenario: str) -> bool:
    return all((results / scenario / name).exists() for name in ("report/index.html", "provenance.json", "resolved_config.json"))


def _shown(study: Study, name: str, data_digest: str) -> Shown:
    folder = study.folder / "results" / name
    same_data = read_json(folder / "provenance.json")["data_digest"] == data_digest
    same_options = read_json(folder / "resolved_config.json") == study.scenarios[name]
    there = frozenset(file for file in FILES if (folder / file).exists())
    return Shown(name, study.reasons[name], there, same_data and same_options)
