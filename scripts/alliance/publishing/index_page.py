"""The start page of a bundle: reports, files, how to cite, what is hidden, how to check."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from alliance.publishing.about import LICENCE_NAMES, About
from alliance.publishing.profiles import Profile
from alliance.reports.elements import Cell, Column, Table
from alliance.reports.inputs import ReportData, head
from alliance.reports.page import Section, environment, render

PAGES = {
    "index.html": "Study report",
    "quality.html": "Data quality",
    "dictionary.html": "Data dictionary",
    "checklist.html": "Checklist",
    "tables.xlsx": "All tables (Excel)",
}
SECTIONS = (
    Section("reports", "Reports"),
    Section("files", "Tables, figures and texts"),
    Section("disclosure", "What is hidden"),
    Section("cite", "How to cite"),
    Section("check", "How to check this bundle"),
)


def index_page(
    base: ReportData,
    about: About,
    scenarios: Mapping[str, ReportData],
    files: Mapping[str, bytes],
    descriptions: Mapping[str, str],
    profile: Profile,
    templates: Path,
) -> str:
    """Return the page.

    Parameters
    ----------
    base : ReportData
        Of scenario ``base``, as published.
    about : About
    scenarios : mapping
        Report data by scenario.
    files : mapping
        Files of the bundle, by address.
    descriptions : mapping
        What the files at the bundle's root are.
    profile : Profile
    templates : Path
        Folder of the templates.
    """
    facts = [("Version", about.version), ("Released", about.released), ("DOI", about.doi)]
    licence = LICENCE_NAMES[about.licence][0] if about.licence else "none is given; ask the authors"
    return render(
        environment(templates),
        "bundle.html.j2",
        head(base),
        title="Published results",
        current="overview",
        sections=list(SECTIONS),
        root="base/report/",
        description=about.description,
        facts=[*((name, value) for name, value in facts if value), ("Licence", licence)],
        authors=[author.name for author in about.authors],
        reports=_reports(scenarios, files),
        sites=[(f"base/report/sites/{status['site']}.html", base.labels[status["site"]]) for status in _with_page(base, files)],
        listed=[(name, text) for name, text in descriptions.items() if name in files and name != "index.html"],
        tables=_listing("tables", "Tables", files, ".csv"),
        figures=_listing("figures", "Figures", files, ".svg"),
        profile=profile,
    )


def _with_page(base: ReportData, files: Mapping[str, bytes]) -> list[dict[str, str]]:
    return [status for status in base.statuses if f"base/report/sites/{status['site']}.html" in files]


def _reports(scenarios: Mapping[str, ReportData], files: Mapping[str, bytes]) -> Table:
    rows = tuple(
        (
            Cell(name, link=f"{name}/report/index.html"),
            Cell(str(data.provenance.get("reason", ""))),
            *(Cell(label, link=f"{name}/report/{page}") if f"{name}/report/{page}" in files else Cell("") for page, label in PAGES.items()),
        )
        for name, data in scenarios.items()
    )
    columns = (Column("Scenario"), Column("What it is", wide=True), *(Column(label, optional=True) for label in PAGES.values()))
    return Table("reports-table", "Reports by scenario", columns, rows)


def _listing(folder: str, title: str, files: Mapping[str, bytes], ending: str) -> Table:
    """Return a folded list of the files of a folder."""
    names = [name for name in sorted(files) if name.startswith(f"{folder}/") and name.endswith(ending)]
    rows = []
    for name in names:
        beside = f"{name.removesuffix('.svg')}.csv"
        data = Cell("data", link=beside) if ending == ".svg" and beside in files else Cell("")
        rows.append((Cell(name.removeprefix(f"{folder}/"), link=name), data))
    return Table(f"{folder}-table", title, (Column("File"), Column("Data", optional=True)), tuple(rows), folded=True)
