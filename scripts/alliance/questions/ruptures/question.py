"""Ruptures and repairs: several criteria side by side, beside noise, and what follows from them (claims D6, D8, D9, G3 to G5, G8, G9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import finish
from alliance.questions.part import of_rows, summary_fields, with_names
from alliance.questions.ruptures import pooling
from alliance.questions.ruptures.agreement import agreement_rows
from alliance.questions.ruptures.criteria import base_rate_rows, criteria_rows
from alliance.questions.ruptures.outcome import outcome_rows
from alliance.questions.ruptures.sample import sample
from alliance.questions.sentences import Sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary

estimate_reads = (
    "alliance.instruments",
    "alliance.scale",
    "alliance.rater",
    "alliance.windows",
    "outcome.instruments",
    "outcome.scale",
    "outcome.rater",
    "outcome.timepoint",
    "symptoms",
    "early_gain",
    "dropout",
    "pooling.min_clients",
    "pooling.level",
    "questions.ruptures",
    "questions.dropout.events_per_parameter",
)
pool_reads = ("pooling", "alliance.rater", "questions.ruptures")
needs = ()
reads_ratings = True
tables = ("criteria", "base_rates", "agreement", "outcome")

SUMMARIES_ONLY = "not estimable: needs sessions of single clients; the site published summaries only"


def estimate(site: SiteData, options: Mapping[str, Any], constants: Mapping[str, Any]) -> SiteSummary:
    """Return what one site says about ruptures.

    Parameters
    ----------
    site : SiteData
    options : mapping
        The keys of ``estimate_reads``.
    constants : mapping
        Not used.
    """
    found = sample(site, options)
    lacking = SUMMARIES_ONLY if site.published is not None else ""
    rows = {
        "criteria": criteria_rows(found, options),
        "base_rates": base_rate_rows(found, options),
        "agreement": agreement_rows(found, options),
        "outcome": outcome_rows(site, found, options),
    }
    fields = summary_fields({table: with_names(of_rows(rows[table]), pooling.NAMING[table], "client", lacking) for table in rows})
    return SiteSummary(
        site=site.site,
        label=site.label,
        question="ruptures",
        facts={"measures": found.facts, "reason": lacking},
        **{**fields, "n": {**fields["n"], "clients": len(found.clients)}},
    )


def pool(summaries: list[SiteSummary], options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables of the question; see the results dictionary.

    Parameters
    ----------
    summaries : list of SiteSummary
    options : mapping
        The keys of ``pool_reads``.
    tables : mapping
        Not used.
    """
    summaries = sorted(summaries, key=lambda one: one.site)
    gathered = effects.gather(summaries)
    found = pooling.tables_of(gathered, summaries, options)
    return {name: finish(frame, "ruptures", name) for name, frame in found.items()}


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    return pooling.methods(options, tables)
