"""A site's page: what it sent, what was found in its files, its estimates beside the pooled ones."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pandas as pd

from alliance.reports import numbers
from alliance.reports.chapters import (
    alliance_outcome,
    client_factors,
    common,
    components,
    congruence,
    course,
    dropout,
    early_gains,
    interventions,
    measurement_overlap,
    measurement_reliability,
    path_models,
    ruptures,
)
from alliance.reports.elements import Cell, Column, Table, listed, number_cell, slug
from alliance.reports.inputs import EXCLUDED, ReportData
from alliance.reports.page import Section
from alliance.reports.quality_page import account_table, issue_table
from alliance.reports.study_page import COUNTED, STATUS_WORDS, flow_figure, measures_table


def _rows_of(question: str, name: str) -> Callable[[ReportData], pd.DataFrame]:
    return lambda data: data.tables[question][name]


NAMES: dict[str, Callable[[ReportData, Any], str]] = {
    "congruence": congruence.statistic_name,
    "interventions": lambda data, row: interventions.event_name(data, row.event),
}
"""Names of rows that the configuration has a say in."""

ESTIMATES: dict[str, tuple[Callable[[ReportData], pd.DataFrame], tuple[str, ...] | None, Callable[[Any], str] | None, str]] = {
    "alliance_outcome": (alliance_outcome.headline_rows, None, lambda row: alliance_outcome.FORM_LABELS[row.form], "Alliance and outcome"),
    "early_gains": (_rows_of("early_gains", "partial"), ("partial_correlation",), early_gains.partial_name, "Alliance beyond early gains"),
    "measurement": (measurement_reliability.headline_rows, None, measurement_reliability.headline_name, "Reliability of the scores"),
    "convergent_validity": (
        _rows_of("convergent_validity", "pairs"),
        ("correlation",),
        measurement_overlap.pair_label,
        "Alliance measures with each other",
    ),
    "path_models": (path_models.site_rows, None, path_models.site_label, "Paths, standardised"),
    "client_factors": (
        client_factors.headline_rows,
        None,
        lambda row: common.words(row.factor),
        "Client factors and early alliance",
    ),
    "congruence": (congruence.site_rows, None, None, "Client and therapist of the same sessions"),
    "interventions": (
        interventions.site_rows,
        None,
        None,
        "Coded events and the alliance one session later, within clients",
    ),
    "course": (course.site_rows, None, course.row_name, "Course of the alliance"),
    "components": (components.site_rows, None, components.row_name, "Components of the alliance"),
    "dropout": (dropout.site_rows, None, dropout.estimate_name, "First-session alliance and dropout (hazard ratio)"),
    "ruptures": (ruptures.site_rows, None, ruptures.criterion_name, "Clients with at least one rupture, by criterion"),
}


def content(data: ReportData, status: dict[str, Any]) -> dict[str, Any]:
    """Return what the template of a site's page draws."""
    site = status["site"]
    own = [issue for issue in data.issues if issue.site == site]
    return {
        "status": status["status"],
        "status_words": STATUS_WORDS.get(status["status"], status["status"]),
        "reasons": list(status.get("reasons", ())),
        "excluded": status["status"] == EXCLUDED,
        "facts": facts(status),
        "flow": flow_figure(data, only=site),
        "measures": measures_table(data, only=site),
        "account": account_table(data, [status], with_site=False),
        "issues": issue_table(data, own, "site-issues", "What was found in the files of this site", with_site=False),
        "estimates": estimate_tables(data, site),
    }


def sections(content: dict[str, Any]) -> list[Section]:
    """Return the table of contents of a site's page."""
    return [
        Section("overview", "Overview"),
        Section("measures", "Measures"),
        Section("estimates", "Results beside all sites"),
        Section("rows", "Rows received and used"),
        Section("issues", "What was found"),
    ]


def facts(status: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what is known about a site, as names and values."""
    known = [(common.words(name), str(value)) for name, value in sorted(status.get("site_facts", {}).items()) if value not in (None, "")]
    counts = status.get("counts", {})
    known += [(name.capitalize(), numbers.count(counts[name])) for name in COUNTED if counts.get(name) is not None]
    instruments = listed([common.instrument_name(key) for key in sorted(status.get("instruments", {}))])
    return [*known, *([("Instruments", instruments)] if instruments else [])]


def estimate_tables(data: ReportData, site: str) -> list[Table]:
    """Return the site's estimates with the pooled ones beside them, one table a question."""
    made = []
    for question, (rows, types, label, title) in ESTIMATES.items():
        if not data.tables.get(question):
            continue
        table = rows(data)
        chosen = common.distinct(table[table["estimate_type"].isin(types)] if types else table)
        if "op" in chosen:
            chosen = chosen[chosen["op"] == "~"]
        label = functools.partial(NAMES[question], data) if label is None else label
        made.append(_beside(data, chosen, site, label, title, f"estimates-{slug(question)}"))
    return made


def _beside(data: ReportData, table: pd.DataFrame, site: str, label: Any, title: str, id: str) -> Table:
    pooled = {}
    for row in common.tuples(common.pooled_rows(table)):
        if row.method != "two_stage_sem":
            pooled.setdefault(_identity(row, label), row)
    rows = []
    for row in common.tuples(common.select(table, site=site)):
        beside = pooled.get(_identity(row, label))
        rows.append(
            (
                Cell(label(row)),
                number_cell(common.estimate_text(row, data.decimals), row.estimate if common.has_number(row) else None),
                number_cell(common.interval_text(row, data.decimals), row.ci_low),
                common.count_cell(row.n_clients),
                _pooled_cell(data, beside),
                Cell(common.interval_text(beside, data.decimals) if beside is not None else numbers.UNKNOWN),
                Cell(common.remark(row)),
            )
        )
    columns = (
        Column("Estimate of"),
        Column("This site", True),
        Column(f"{data.level} CI", True),
        Column("Clients", True),
        Column("All sites", True),
        Column(f"{data.level} CI, all sites", True),
        Column("Remark", wide=True, optional=True),
    )
    return Table(id, title, columns, tuple(rows), empty="This site contributes nothing here.")


def _identity(row: Any, label: Any) -> tuple[str, ...]:
    return (label(row), *(str(getattr(row, name)) for name in ("model", "alliance_rater", "window", "level") if hasattr(row, name)))


def _pooled_cell(data: ReportData, row: Any) -> Cell:
    if row is None:
        return Cell(numbers.UNKNOWN, "")
    return number_cell(common.estimate_text(row, data.decimals), row.estimate if common.has_number(row) else None)
