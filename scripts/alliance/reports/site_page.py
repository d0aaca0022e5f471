"""A site's page: what it sent, what was found in its files, its estimates beside the pooled ones."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from alliance.questions import contract
from alliance.reports import numbers, participants
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
from alliance.reports.inputs import EXCLUDED, ReportData, distinct
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


@dataclass(frozen=True)
class Compared:
    """The estimates of a question that site pages show: the rows of every site, the pooled rows, and other sites by what they estimate."""

    id: str
    title: str
    label: Callable[[Any], str]
    rows: Mapping[str, Sequence[Any]]
    pooled: Mapping[tuple[str, ...], Any]
    sites: Mapping[tuple[str, ...], Sequence[Any]]


def content(
    data: ReportData,
    status: dict[str, Any],
    compared: Sequence[Compared] | None = None,
    took_part: Mapping[str, participants.Rows] | None = None,
) -> dict[str, Any]:
    """Return what the template of a site's page draws.

    ``compared`` from :func:`compare` and ``took_part`` from :func:`participants.by_site` are made once for all sites.
    """
    site = status["site"]
    own = [issue for issue in data.issues if issue.site == site]
    return {
        "status": status["status"],
        "status_words": STATUS_WORDS.get(status["status"], status["status"]),
        "reasons": list(status.get("reasons", ())),
        "excluded": status["status"] == EXCLUDED,
        "facts": facts(status),
        "flow": flow_figure(data, only=site),
        "participants": participants.site_table(data, site, took_part),
        "measures": measures_table(data, only=site),
        "account": account_table(data, [status], with_site=False),
        "issues": issue_table(data, own, "site-issues", "What was found in the files of this site", with_site=False),
        "comparing": COMPARING.format(sites=FEWEST_OTHERS, clients=data.options["pooling"]["min_clients"]),
        "estimates": estimate_tables(data, site, compare(data) if compared is None else compared),
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


def compare(data: ReportData) -> list[Compared]:
    """Return what the pages of all sites show of every question."""
    made = []
    for question, (rows, types, label, title) in ESTIMATES.items():
        if not data.tables.get(question):
            continue
        table = rows(data)
        chosen = distinct(table[table["estimate_type"].isin(types)] if types else table)
        if "op" in chosen:
            chosen = chosen[chosen["op"] == "~"]
        name = functools.partial(NAMES[question], data) if label is None else label
        by_site: dict[str, list[Any]] = {}
        by_identity: dict[tuple[str, ...], list[Any]] = {}
        pooled: dict[tuple[str, ...], Any] = {}
        for row in common.tuples(chosen):
            if row.site != contract.POOLED:
                by_site.setdefault(row.site, []).append(row)
                by_identity.setdefault(_identity(row, name), []).append(row)
            elif row.method != "two_stage_sem":
                pooled.setdefault(_identity(row, name), row)
        made.append(Compared(f"estimates-{slug(question)}", title, name, by_site, pooled, by_identity))
    return made


def estimate_tables(data: ReportData, site: str, compared: Sequence[Compared] | None = None) -> list[Table]:
    """Return the site's estimates with the pooled ones and the range of the other sites beside them, one table a question."""
    return [_beside(data, one, site) for one in (compare(data) if compared is None else compared)]


def _beside(data: ReportData, compared: Compared, site: str) -> Table:
    rows = []
    for row in compared.rows.get(site, ()):
        identity = _identity(row, compared.label)
        beside = compared.pooled.get(identity)
        shown = beside is not None and not (common.has_number(beside) and _tells_of_few(data, row, beside))
        rows.append(
            (
                Cell(compared.label(row)),
                number_cell(common.estimate_text(row, data.decimals), row.estimate if common.has_number(row) else None),
                number_cell(common.interval_text(row, data.decimals), row.ci_low),
                common.count_cell(row.n_clients),
                _pooled_cell(data, beside) if shown or beside is None else Cell("withheld", ""),
                Cell(common.interval_text(beside, data.decimals) if shown else numbers.UNKNOWN),
                Cell(_range_of_others(data, compared.sites.get(identity, ()), site)),
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
        Column("Other sites, lowest to highest", True, optional=True),
        Column("Remark", wide=True, optional=True),
    )
    return Table(compared.id, compared.title, columns, tuple(rows), empty="This site contributes nothing here.")


FEWEST_OTHERS = 3
"""Sites below whose number the range of the others would tell of single sites."""
COMPARING = (
    "The range of the other sites is shown where at least {sites} of them have a number that rests on {clients} clients or more; the "
    "result over all sites is withheld where it would tell of fewer than {clients} clients elsewhere. No row of another site stands "
    "on this page."
)


def _tells_of_few(data: ReportData, own: Any, pooled: Any) -> bool:
    """Tell whether a pooled row, with the site's own row taken away, would tell of few clients of other sites."""
    if not (numbers.known(pooled.n_clients) and numbers.known(own.n_clients) and common.has_number(own)):
        return False
    fewest, others = data.options["pooling"]["min_clients"], pooled.n_clients - own.n_clients
    if 0 < others < fewest:
        return True
    # Of two sites, each can tell the share of the other, and so how few clients it is of.
    if own.estimate_type != "share" or not (common.has_number(pooled) and numbers.known(pooled.n_sites)) or pooled.n_sites > 2:
        return False
    inside = round(pooled.n_clients * pooled.estimate - own.n_clients * own.estimate)
    return 0 < inside < fewest or 0 < others - inside < fewest


def _range_of_others(data: ReportData, rows: Sequence[Any], site: str) -> str:
    """Return the lowest and highest estimate of other sites; a dash where single sites could be told from it."""
    fewest = data.options["pooling"]["min_clients"]
    others = [
        row for row in rows if row.site != site and common.has_number(row) and numbers.known(row.n_clients) and row.n_clients >= fewest
    ]
    if len({row.site for row in others}) < FEWEST_OTHERS:
        return numbers.UNKNOWN
    show = common.form(others[0].estimate_type)
    values = [row.estimate for row in others]
    return f"{show(min(values), data.decimals)} to {show(max(values), data.decimals)}"


def _identity(row: Any, label: Any) -> tuple[str, ...]:
    return (label(row), *(str(getattr(row, name)) for name in ("model", "alliance_rater", "window", "level") if hasattr(row, name)))


def _pooled_cell(data: ReportData, row: Any) -> Cell:
    if row is None:
        return Cell(numbers.UNKNOWN, "")
    return number_cell(common.estimate_text(row, data.decimals), row.estimate if common.has_number(row) else None)
