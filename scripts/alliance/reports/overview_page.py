"""The page that leads to all others: every scenario's report, the comparison of scenarios, what changed, what is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alliance.reports.elements import Cell, Column, Table
from alliance.reports.page import Section, StudyHead, environment, render


@dataclass(frozen=True)
class Shown:
    """A scenario whose report is there: its name, why it is, which of its files there are, and whether it rests on today's study."""

    name: str
    reason: str
    files: frozenset[str]
    current: bool


FILES = {
    "report/quality.html": "Data quality",
    "report/checklist.html": "Checklist",
    "report/tables.xlsx": "All tables (Excel)",
}
BESIDE = {
    "sensitivity/index.html": ("Sensitivity", "the scenarios side by side, and all combinations of reasonable choices"),
    "changes/index.html": ("What changed", "since the run before"),
    "publish/index.html": ("Published bundle", "what may leave the house, with small groups withheld"),
}
"""Pages over scenarios, by their address under the results' folder."""


def overview_page(head: StudyHead, scenarios: Sequence[Shown], sites: Mapping[str, str], beside: Sequence[str], templates: Path) -> str:
    """Return the page.

    Parameters
    ----------
    head : StudyHead
        Of ``base``.
    scenarios : sequence of Shown
        Those with a report, in the order of the study.
    sites : mapping
        Label of each site that has a page in ``base``, by its id.
    beside : sequence of str
        Addresses of :data:`BESIDE` that are there.
    templates : Path
        Folder of the templates.
    """
    sections = [Section("reports", "Reports"), Section("site-reports", "Sites")]
    if beside:
        sections.insert(1, Section("beside", "Over all scenarios"))
    return render(
        environment(templates),
        "overview.html.j2",
        head,
        title="All reports",
        current="overview",
        sections=sections,
        root="base/report/",
        scenarios=_table(scenarios),
        beside=[(address, *BESIDE[address]) for address in BESIDE if address in beside],
        sites=list(sites.items()),
    )


def _table(scenarios: Sequence[Shown]) -> Table:
    rows = [
        (
            Cell(one.name, link=f"{one.name}/report/index.html"),
            Cell(one.reason),
            *(Cell(label, link=f"{one.name}/{file}") if file in one.files else Cell("") for file, label in FILES.items()),
            Cell("" if one.current else "from an earlier state of the study; run it again"),
        )
        for one in scenarios
    ]
    columns = (Column("Scenario"), Column("What it is", wide=True), *(Column(label, optional=True) for label in FILES.values()))
    return Table("scenarios", "Study reports by scenario", (*columns, Column("Remark", wide=True, optional=True)), tuple(rows))
