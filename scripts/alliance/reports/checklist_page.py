"""The checklist page: every item of the reporting standard with its place in the report, and reviewers' common faults."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from alliance.reports import reviewer
from alliance.reports.elements import Cell, Column, Table, listed, slug
from alliance.reports.guide import Item
from alliance.reports.inputs import ReportData
from alliance.reports.page import Section
from alliance.reports.reviewer import Checked

IN_REPORT, STATED, NOT_APPLICABLE, OPEN = "in the report", "stated by the authors", "not applicable", "open"
STATEMENTS = "index.html#statements"
_ID = re.compile(r'<([a-z0-9]+)[^>]*? id="([^"]+)"[^>]*>([^<]*)')
_FIGURE = re.compile(r'<figure id="([^"]+)"[^>]*>\s*<figcaption>([^<]*)')
_HEADINGS = frozenset({"h2", "h3"})
_CAPTION = "-caption"


@dataclass(frozen=True)
class Resolved:
    """An item with what became of it in this run.

    ``places`` are addresses that exist, with their titles; ``broken`` are addresses that do not.
    """

    item: Item
    verdict: str
    reason: str = ""
    places: tuple[tuple[str, str], ...] = ()
    broken: tuple[str, ...] = ()


def titles(pages: Mapping[str, str]) -> dict[str, str]:
    """Return the title of every address (``page#id``) of rendered pages: heading, caption or, for other elements, the id in words."""
    found: dict[str, str] = {}
    for name, text in pages.items():
        found |= {f"{name}#{id}": html.unescape(title).strip() for id, title in _FIGURE.findall(text)}
        for tag, id, inner in _ID.findall(text):
            title = html.unescape(inner).strip()
            if id.endswith(_CAPTION) and title:
                found[f"{name}#{id.removesuffix(_CAPTION)}"] = title
            elif tag in _HEADINGS and title:
                found[f"{name}#{id}"] = title
            else:
                found.setdefault(f"{name}#{id}", id.replace("-", " "))
    return found


def resolve(data: ReportData, addresses: Mapping[str, str]) -> list[Resolved]:
    """Return what became of every item of the reporting standard.

    Parameters
    ----------
    data : ReportData
    addresses : mapping
        Title by address, from :func:`titles`.
    """
    return [_resolved(data, item, addresses) for item in data.guide.items]


def _resolved(data: ReportData, item: Item, addresses: Mapping[str, str]) -> Resolved:
    if item.not_applicable:
        return Resolved(item, NOT_APPLICABLE, item.not_applicable)
    if item.published and not data.scripts:
        return Resolved(item, NOT_APPLICABLE, item.published)
    if not _applies(data, item):
        return Resolved(item, NOT_APPLICABLE, item.otherwise)
    if item.statement and not any(place in addresses for place in item.places):
        if data.options["report"]["statements"].get(item.statement):
            return _in_report(item, (STATEMENTS,), addresses, STATED)
        if data.options["study"]["simulated"]:
            return Resolved(item, NOT_APPLICABLE, item.simulated)
        return Resolved(item, OPEN, f"the authors have yet to say it (report.statements.{item.statement} in config.yaml)")
    found = _in_report(item, item.places, addresses, IN_REPORT)
    return _with_statement(data, found, addresses) if item.statement else found


def _with_statement(data: ReportData, found: Resolved, addresses: Mapping[str, str]) -> Resolved:
    """Return an item that the report tells with what the authors add to it, or where they can."""
    if data.options["report"]["statements"].get(found.item.statement):
        return replace(found, places=(*found.places, (STATEMENTS, addresses.get(STATEMENTS, STATED))))
    if data.options["study"]["simulated"]:
        return found
    return replace(found, reason=f"the authors can add what the data do not hold (report.statements.{found.item.statement} in config.yaml)")


def _in_report(item: Item, places: Sequence[str], addresses: Mapping[str, str], verdict: str) -> Resolved:
    known = tuple((place, addresses[place]) for place in places if place in addresses)
    broken = tuple(place for place in places if place not in addresses)
    if not known:
        return Resolved(item, OPEN, f"this run has no {listed([place.partition('#')[2] for place in broken])}", broken=broken)
    return Resolved(item, verdict, places=known, broken=broken)


def _applies(data: ReportData, item: Item) -> bool:
    asked = not item.questions or any(data.tables.get(question) for question in item.questions)
    return asked and not (item.several_sites and len(data.statuses) < 2)


def content(data: ReportData, resolved: Sequence[Resolved], checked: Sequence[Checked], addresses: Mapping[str, str]) -> dict[str, Any]:
    """Return what the template of the checklist page draws."""
    open_items = [one for one in resolved if one.verdict == OPEN]
    flagged = [one for one in checked if one.flagged]
    verdicts = [one.found.verdict for one in checked]
    return {
        "told": [
            f"Of {len(resolved)} items {sum(one.verdict in (IN_REPORT, STATED) for one in resolved)} stand in the report, "
            f"{sum(one.verdict == NOT_APPLICABLE for one in resolved)} are not applicable, and {len(open_items)} are open."
        ],
        "parts_of_standard": [
            {"id": f"part-{slug(part)}", "title": part, "found": [one for one in resolved if one.item.part == part]}
            for part in dict.fromkeys(one.item.part for one in resolved)
        ],
        "checked_told": [
            f"Of {len(checked)} points at which reviewers find fault {len(flagged)} are flagged, {verdicts.count(reviewer.IN_ORDER)} are "
            f"in order, and {verdicts.count(reviewer.NOT_APPLICABLE)} are not applicable. A flag is a question that a reader should ask, "
            "not a proof of an error."
        ],
        "faults": fault_table(checked, addresses),
    }


def fault_table(checked: Sequence[Checked], addresses: Mapping[str, str]) -> Table:
    """Return the faults with what was found, the flagged ones first."""
    order = {reviewer.FLAGGED: 0, reviewer.IN_ORDER: 1, reviewer.NOT_APPLICABLE: 2}
    rows = [
        (
            Cell(one.fault.fault),
            Cell(one.found.verdict),
            Cell(one.found.sentence),
            Cell(one.fault.why),
            _place(f"index.html#{one.fault.section}", addresses),
        )
        for one in sorted(checked, key=lambda one: order[one.found.verdict])
    ]
    columns = (
        Column("What is looked at"),
        Column("This run"),
        Column("What was found", wide=True),
        Column("Why it matters", wide=True),
        Column("Where", optional=True),
    )
    return Table("reviewer-faults", "Common faults, checked by machine in this run", columns, tuple(rows))


def _place(address: str, addresses: Mapping[str, str]) -> Cell:
    return Cell(addresses[address], link=address) if address in addresses else Cell("")


def sections(content: dict[str, Any]) -> list[Section]:
    """Return the table of contents of the checklist page."""
    return [Section("faults", "What reviewers look for"), Section("standard", "Reporting standard")]
