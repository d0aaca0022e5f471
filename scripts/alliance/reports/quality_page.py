"""The quality page: every fault that was found, and what became of every row received."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from alliance.issues import Issue, Severity
from alliance.reports import numbers
from alliance.reports.chapters import common
from alliance.reports.elements import Cell, Column, Table, listed, number_cell, text_cell
from alliance.reports.inputs import ReportData
from alliance.reports.page import Section

REACH = {
    Severity.RUN: "study",
    Severity.SITE: "site left out",
    Severity.ROW: "row not used",
    Severity.CELL: "value not used",
    Severity.WARN: "warning",
}
LISTED = 400
ROWS_NAMED = 5
PUBLISHED = "Faults are told by their kind; files, rows and values stay with the study."


def content(data: ReportData) -> dict[str, Any]:
    """Return what the template of the quality page draws."""
    return {
        "summary": summary(data),
        "reach": reach_table(data),
        "issues": issue_table(data, list(data.issues), "issues-table", "What was found, by site and kind", with_site=True),
        "account": account_table(data, list(data.statuses)),
    }


def sections(content: dict[str, Any]) -> list[Section]:
    """Return the table of contents of the quality page."""
    return [Section("summary", "Summary"), Section("issues", "What was found"), Section("rows", "Rows received and used")]


def summary(data: ReportData) -> list[str]:
    """Return in sentences how the data stand."""
    if not data.issues:
        return ["Nothing was found wrong in any file."]
    sites = {issue.site for issue in data.issues if issue.site}
    affected = sum(issue.n_affected for issue in data.issues)
    if data.withholds:
        together = any(not issue.site for issue in data.issues)
        more = ["Kinds that concern few rows or values are counted together and not told by site."] if together else []
        return [f"{numbers.count(affected)} faults and warnings were found in all.", *more]
    sentences = [
        f"{numbers.count(affected)} faults and warnings of {common.plural(_kinds(data.issues), 'kind')} were found "
        f"at {common.plural(len(sites), 'site')}."
    ]
    clean = [data.labels[status["site"]] for status in data.statuses if status["site"] not in sites]
    if clean:
        sentences.append(f"Nothing was found at {listed(clean)}.")
    return sentences


def _kinds(issues: Sequence[Issue]) -> int:
    return len({issue.code for issue in issues})


def reach_table(data: ReportData) -> Table:
    """Return how many faults reach how far."""
    together = [issue for issue in data.issues if data.withholds and not issue.site and not issue.code]
    rows = []
    for severity, meaning in REACH.items():
        own = [issue for issue in data.issues if issue.severity == severity and issue not in together]
        sites = {issue.site for issue in own if issue.site}
        # Where few are not told, none is not told either.
        number = sum(issue.n_affected for issue in own) or (pd.NA if data.withholds else 0)
        rows.append(
            (
                Cell(meaning),
                common.count_cell(number),
                common.count_cell(len(sites) if sites or not (own or data.withholds) else None),
            )
        )
    if together:
        number = sum(issue.n_affected for issue in together)
        rows.append((Cell("few each, of any reach"), common.count_cell(number), common.count_cell(None)))
    return Table("reach", "Faults by how far they reach", (Column("Reach"), Column("Number", True), Column("Sites", True)), tuple(rows))


def issue_table(data: ReportData, issues: list[Issue], id: str, caption: str, *, with_site: bool) -> Table:
    """Return faults grouped by site, code, file and column, most far-reaching first, with their number and what to do."""
    groups: dict[tuple[str, ...], list[Issue]] = {}
    for issue in issues:
        groups.setdefault((issue.site, issue.severity.value, issue.code, issue.file, issue.sheet, issue.column, issue.fix), []).append(
            issue
        )
    order = {severity.value: rank for rank, severity in enumerate(REACH)}
    ordered = sorted(groups.items(), key=lambda item: (item[0][0], order[item[0][1]], item[0][2:]))
    rows = []
    for (site, severity, code, file, sheet, column, fix), members in ordered[:LISTED]:
        place = " · ".join(part for part in (file, sheet and f"sheet {sheet}", column and f"column {column}") if part)
        cells = (
            text_cell(code),
            Cell(REACH[Severity(severity)]),
            Cell(place or numbers.UNKNOWN, place),
            common.count_cell(sum(member.n_affected for member in members)),
            Cell(_lines(members), ""),
            Cell(_messages(members)),
            Cell(fix),
        )
        rows.append((Cell(data.labels.get(site, site) or "Study"), *cells) if with_site else cells)
    columns = (
        *((Column("Site"),) if with_site else ()),
        Column("Code"),
        Column("Reach"),
        Column("Where"),
        Column("Number", True),
        Column("Rows"),
        Column("What happened", wide=True),
        Column("What to do", wide=True),
    )
    more = len(ordered) - LISTED
    note = (
        PUBLISHED
        if data.withholds
        else f"{numbers.count(more)} further kinds are in results/issues.csv."
        if more > 0
        else "Each fault stands in full in results/issues.csv."
    )
    return Table(
        id,
        caption,
        columns,
        tuple(rows),
        note=note,
        empty="Nothing that may be told was found." if data.withholds else "Nothing was found.",
    )


def _lines(members: list[Issue]) -> str:
    lines = sorted({member.row for member in members if member.row is not None})
    if not lines:
        return numbers.UNKNOWN
    return ", ".join(str(line) for line in lines[:ROWS_NAMED]) + (" …" if len(lines) > ROWS_NAMED else "")


def _messages(members: list[Issue]) -> str:
    messages = list(dict.fromkeys(member.message for member in members))
    values = list(dict.fromkeys(member.value_shown for member in members if member.value_shown))
    text = messages[0] + (f" (and {numbers.count(len(messages) - 1)} like it)" if len(messages) > 1 else "")
    return text + (f" Seen: {', '.join(values[:ROWS_NAMED])}{' …' if len(values) > ROWS_NAMED else ''}" if values else "")


def account_table(data: ReportData, statuses: list[dict[str, Any]], with_site: bool = True) -> Table:
    """Return for each file what became of its rows; without the column of sites on the page of one."""
    rows = [
        (
            Cell(file["file"]),
            Cell(file.get("sheet") or numbers.UNKNOWN, file.get("sheet") or ""),
            *((Cell(data.labels[status["site"]]),) if with_site else ()),
            *(
                number_cell(numbers.count(file[name]), file[name])
                for name in ("rows_in", "rows_used", "rows_quarantined", "rows_excluded_by_rule")
            ),
        )
        for status in statuses
        for file in status["files"]
    ]
    return Table(
        id="row-account",
        caption="What became of every row received",
        columns=(
            Column("File"),
            Column("Sheet", optional=True),
            *((Column("Site"),) if with_site else ()),
            Column("Received", True),
            Column("Used", True),
            Column("Unusable", True),
            Column("Left out by rule", True),
        ),
        rows=tuple(rows),
        note="Received = used + unusable + left out by rule. "
        + (common.ROWS_WITHHELD if data.withholds else "Unusable rows are kept in the private folder with the reason."),
        empty="No file with rows was received.",
    )
