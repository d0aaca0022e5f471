"""What therapists do in sessions and how the alliance goes on (claims G3, G6, G7, H1 to H6, H10, J6).

The parts lie in modules of their own, one a table; ``sessions`` puts events and the alliance of sessions side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import finish
from alliance.questions.interventions import curvilinear, events, transitions
from alliance.questions.interventions.sessions import QUESTION, CodedSessions
from alliance.questions.part import summary_fields
from alliance.questions.sentences import Sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary

estimate_reads = (
    "alliance.instruments",
    "alliance.scale",
    "alliance.rater",
    "alliance.windows",
    "symptoms",
    "pooling.min_clients",
    "pooling.min_sites",
    "pooling.level",
    "questions.interventions",
    "questions.ruptures.criteria",
    "questions.ruptures.largest_gap",
    "questions.ruptures.min_sessions",
    "questions.ruptures.repair",
)
pool_reads = ("pooling", "questions.interventions")
needs = ()
tables = ("events", "curvilinear", "transitions")

PARTS = {"events": events, "curvilinear": curvilinear, "transitions": transitions}


def estimate(site: SiteData, options: Mapping[str, Any], constants: Mapping[str, Any]) -> SiteSummary:
    """Return one site's part of every table.

    Parameters
    ----------
    site : SiteData
    options : mapping
        The keys of ``estimate_reads``, and ``seed``.
    constants : mapping
        Not used.
    """
    coded = CodedSessions(site, options)
    parts = {name: part.estimate(coded) for name, part in PARTS.items()}
    return SiteSummary(site=site.site, label=site.label, question=QUESTION, **summary_fields(parts))


def one_stage(sites: Iterable[SiteData], every_site: Sequence[str], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the transition models over the rows of all sites that share them.

    Parameters
    ----------
    sites : iterable of SiteData
        Sites that share rows, one in memory at a time.
    every_site : sequence of str
        All sites of the study.
    options : mapping
        The keys of ``estimate_reads``, and ``seed``.
    """
    return transitions.one_stage(sites, every_site, options)


def pool(summaries: list[SiteSummary], options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables; see the results dictionary.

    Parameters
    ----------
    summaries : list of SiteSummary
    options : mapping
        The keys of ``pool_reads``, and ``seed``.
    tables : mapping
        ``one_stage``: the transition models over the rows of all sites that share them.
    """
    summaries = sorted(summaries, key=lambda one: one.site)
    gathered = effects.gather(summaries)
    found = {}
    for name, part in PARTS.items():
        own = gathered[gathered["model"].eq(name)].reset_index(drop=True)
        further = {"one_stage": tables.get("one_stage")} if name == "transitions" else {}
        found[name] = finish(part.pool(own, summaries, options, **further), QUESTION, name)
    return found


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    return [sentence for name, part in PARTS.items() for sentence in part.methods(options, tables[name])]
