"""The course of the alliance over sessions: growth, peaks, variability and cycles (claims D1 to D5, D7)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import POOLED, finish
from alliance.questions.course import growth, pooling, series
from alliance.questions.course.sample import Course, site_course
from alliance.questions.part import Part, of_rows, summary_fields, with_names
from alliance.questions.sentences import Sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.questions.unchanged import NOTHING, Unchanged

estimate_reads = (
    "alliance.instruments",
    "alliance.scale",
    "alliance.rater",
    "alliance.windows",
    "outcome.instruments",
    "outcome.scale",
    "outcome.rater",
    "outcome.timepoint",
    "pooling.min_clients",
    "pooling.level",
    "questions.course",
)
pool_reads = ("pooling", "outcome.rater", "alliance.rater", "questions.course")
needs = ()
tables = ("growth", "peak", "variability", "cycles")

SUMMARIES_ONLY = "not estimable: needs the alliance session by session; the site published summaries only"
ONLY_WITH_NUMBERS = ("p_permutation", "p_phases", "resultant")


def raters(options: Mapping[str, Any]) -> list[str]:
    """Return whose ratings are followed over sessions, the main rater first."""
    return list(dict.fromkeys([options["alliance"]["rater"], *options["questions"]["course"]["raters"]]))


def part_options(options: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the options of every part: each rater's ratings are followed by themselves, whoever else's are."""
    alliance = {key: value for key, value in options["alliance"].items() if key != "rater"}
    own = {key: value for key, value in options["questions"]["course"].items() if key != "raters"}
    given = {**options, "alliance": alliance, "questions": {"course": own}}
    return {rater: given for rater in raters(options)}


def rows_of(course: Course, options: Mapping[str, Any]) -> tuple[dict[str, list[dict[str, Any]]], dict[str, Any]]:
    """Return one rater's rows of every table, and the sums that pooling needs beside them."""
    grown, curve = growth.rows(course, options)
    peaks, counts = series.peak_rows(course, options)
    told = {
        "growth": grown,
        "peak": peaks,
        "variability": series.variability_rows(course, options),
        "cycles": series.cycle_rows(course, options),
    }
    return told, {**curve, **counts}


def estimate(site: SiteData, options: Mapping[str, Any], constants: Mapping[str, Any], unchanged: Unchanged = NOTHING) -> SiteSummary:
    """Return what one site says about the course of the alliance.

    Parameters
    ----------
    site : SiteData
    options : mapping
        The keys of ``estimate_reads``, and ``seed``.
    constants : mapping
        Not used.
    unchanged : Unchanged
        Raters whose part is taken over.
    """
    lacking = SUMMARIES_ONLY if site.published is not None else ""
    sums: dict[str, Any] = {}
    parts = {table: Part() for table in tables}
    clients = 0
    for rater in raters(options):
        course = site_course(site, rater, options)
        clients = max(clients, len(course.clients))
        if rater in unchanged:
            sums[pooling.sums_of(rater)] = unchanged.facts["sums"][pooling.sums_of(rater)]
            of_rater = {table: unchanged.rows(table, alliance_rater=rater) for table in tables}
        else:
            told, sums[pooling.sums_of(rater)] = rows_of(course, options)
            of_rater = {
                table: with_names(of_rows(told[table]), pooling.NAMING[table], "session", lacking, ONLY_WITH_NUMBERS) for table in tables
            }
        for table, part in of_rater.items():
            parts[table].rows += part.rows
            parts[table].variances += part.variances
    fields = summary_fields(parts)
    return SiteSummary(
        site=site.site,
        label=site.label,
        question="course",
        facts={"sums": sums, "reason": lacking},
        **{**fields, "n": {**fields["n"], "clients": clients}},
    )


def one_stage(sites: Iterable[SiteData], every_site: Sequence[str], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return growth models over the sessions of all sites that share rows; each site has its own level.

    Parameters
    ----------
    sites : iterable of SiteData
        The sites that share rows.
    every_site : sequence of str
        All sites; those without the alliance by session are named in the rows.
    options : mapping
        The keys of ``estimate_reads``.
    """
    by_rater: dict[str, list[Course]] = {rater: [] for rater in raters(options)}
    for site in sites:
        for rater, found in by_rater.items():
            found.append(site_course(site, rater, options))
    rows = []
    for found in by_rater.values():
        usable = sorted((one for one in found if not one.reason), key=lambda one: one.site)
        if len(usable) < 2:
            continue
        absent = sorted(set(every_site) - {one.site for one in usable})
        note = f"without {', '.join(absent)}, which share no rows or lack the alliance session by session" if absent else ""
        for row in growth.line_rows(usable, options)[0]:
            if row["status"] == "not_estimable":
                # The pooled row says what is needed.
                continue
            reason = "; ".join(part for part in (row["reason"], note) if part)
            told = {"status": "flagged" if reason else row["status"], "reason": reason, "method": "one_stage"}
            error = float(np.sqrt(row["variance"])) if row.get("variance") is not None else np.nan
            rows.append(
                {key: value for key, value in row.items() if key != "variance"}
                | told
                | {"std_error": error, "site": POOLED, "n_sites": len(usable), "scale": "identity"}
            )
    return pd.DataFrame(rows)


def pool(summaries: list[SiteSummary], options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables of the question; see the results dictionary.

    Parameters
    ----------
    summaries : list of SiteSummary
    options : mapping
        The keys of ``estimate_reads`` and ``pool_reads``, and ``seed``.
    tables : mapping
        ``one_stage``: growth models over the rows of all sites that share them.
    """
    summaries = sorted(summaries, key=lambda one: one.site)
    every = {name: pd.DataFrame() for name in pooling.KEYS}
    for rater in raters(options):
        told, _ = rows_of(pooling.nobody(rater), options)
        every = {name: effects.stack(every[name], pd.DataFrame(told[name])) for name in every}
    found = pooling.tables_of(effects.gather(summaries), summaries, every, options, tables.get("one_stage", pd.DataFrame()))
    return {name: finish(found[name], "course", name) for name in found}


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    return pooling.methods(options, tables)
