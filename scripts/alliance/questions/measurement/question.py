"""Measurement: are the measures reliable, which factors do they have, and what may be compared? (claims A3, A4, A10, A15, I5, J4)

The parts lie in modules of their own, one a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import finish
from alliance.questions.measurement import components, interrater, invariance, multitrait_multimethod, reliability, structure
from alliance.questions.part import Part, summary_fields
from alliance.questions.sentences import Sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary

estimate_reads = (
    "scoring",
    "alliance.instruments",
    "alliance.windows",
    "empathy.instruments",
    "empathy.scale",
    "regard.instruments",
    "regard.scale",
    "unconditionality.instruments",
    "unconditionality.scale",
    "congruence.instruments",
    "congruence.scale",
    "pooling.min_clients",
    "pooling.level",
    "resampling.draws",
    "questions.measurement",
)
pool_reads = ("pooling", "alliance.instruments", "resampling.draws", "questions.measurement")
needs = ()
tables = ("reliability", "interrater", "structure", "invariance", "multitrait_multimethod", "components")
reads_ratings = True

PARTS = {
    "reliability": reliability,
    "interrater": interrater,
    "structure": structure,
    "invariance": invariance,
    "multitrait_multimethod": multitrait_multimethod,
    "components": components,
}


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
    parts: dict[str, Part] = {name: part.estimate(site, options) for name, part in PARTS.items()}
    return SiteSummary(
        site=site.site,
        label=site.label,
        question="measurement",
        facts={"language": site.facts.get("language"), **{name: part.facts for name, part in parts.items() if part.facts}},
        **summary_fields(parts),
    )


def pool(summaries: list[SiteSummary], options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables; see the results dictionary.

    Parameters
    ----------
    summaries : list of SiteSummary
    options : mapping
        The keys of ``pool_reads``, and ``seed``.
    tables : mapping
        Not used.
    """
    summaries = sorted(summaries, key=lambda one: one.site)
    gathered = effects.gather(summaries)
    found = {}
    for name, part in PARTS.items():
        own = gathered[gathered["model"].eq(name)].reset_index(drop=True)
        found[name] = finish(part.pool(own, summaries, options), "measurement", name)
    return found


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    return [sentence for name, part in PARTS.items() for sentence in part.methods(options, tables[name])]
