"""Do client and therapist see the same? Agreement, tracking, whose rating predicts, and response surfaces (claims K1 to K5, J3, F10).

The parts lie in modules of their own, one a table; ``dyads`` finds what both raters rated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from alliance.questions import effects
from alliance.questions.congruence import actor_partner, agreement, response_surface, truth_and_bias
from alliance.questions.congruence.dyads import session_table
from alliance.questions.contract import finish
from alliance.questions.part import Part, summary_fields
from alliance.questions.sentences import Sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.questions.unchanged import NOTHING, Unchanged

estimate_reads = (
    "alliance.instruments",
    "alliance.scale",
    "alliance.rater",
    "alliance.windows",
    "symptoms",
    "outcome.instruments",
    "outcome.scale",
    "outcome.rater",
    "outcome.timepoint",
    "dropout",
    "pooling.min_clients",
    "pooling.min_sites",
    "pooling.level",
    "questions.congruence",
)
pool_reads = ("pooling", "outcome.rater", "symptoms.rater", "questions.congruence")
needs = ()
tables = ("agreement", "truth_and_bias", "actor_partner", "response_surface")
reads_ratings = True

REGION_KINDS = ("mean", "standard_deviation", "correlation")
PARTS = {
    "agreement": agreement,
    "truth_and_bias": truth_and_bias,
    "actor_partner": actor_partner,
    "response_surface": response_surface,
}

NO_INTERVAL = (
    (
        {"estimate_type": "random_effect_sd"},
        "a standard deviation that may be zero has no symmetric error, and its likelihood is not profiled",
    ),
    ({"estimate_type": "fit_index"}, "an index of how a model fits these cases"),
    ({"estimate_type": "akaike_weight"}, "a weight among the models that are compared"),
    ({"estimate_type": "criterion_met"}, "what the conditions of the claim say together"),
    *(({"estimate_type": kind, "method": "pooled_covariance"}, "it tells where the cases lie") for kind in REGION_KINDS),
)


def part_options(options: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the options of every part; only response surfaces read who rates the alliance of the main analyses."""
    both = {**options, "alliance": {key: value for key, value in options["alliance"].items() if key != "rater"}}
    return {name: options if part is response_surface else both for name, part in PARTS.items()}


def estimate(site: SiteData, options: Mapping[str, Any], constants: Mapping[str, Any], unchanged: Unchanged = NOTHING) -> SiteSummary:
    """Return one site's part of every table.

    Parameters
    ----------
    site : SiteData
    options : mapping
        The keys of ``estimate_reads``, and ``seed``.
    constants : mapping
        Not used.
    unchanged : Unchanged
        Parts that are taken over.
    """
    table, given = session_table(site, options), part_options(options)
    parts: dict[str, Part] = {
        name: unchanged.part(name) if name in unchanged else part.estimate(site, table, given[name]) for name, part in PARTS.items()
    }
    return SiteSummary(site=site.site, label=site.label, question="congruence", **summary_fields(parts))


def one_stage(sites: Iterable[SiteData], every_site: Sequence[str], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return response surfaces over the rows of all sites that share them.

    Parameters
    ----------
    sites : iterable of SiteData
        Sites that share rows, one in memory at a time.
    every_site : sequence of str
        All sites of the study.
    options : mapping
        The keys of ``estimate_reads``, and ``seed``.
    """
    return response_surface.one_stage(sites, every_site, options)


def pool(summaries: list[SiteSummary], options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables; see the results dictionary.

    Parameters
    ----------
    summaries : list of SiteSummary
    options : mapping
        The keys of ``pool_reads``, and ``seed``.
    tables : mapping
        ``one_stage``: the surfaces over the rows of all sites that share them.
    """
    summaries = sorted(summaries, key=lambda one: one.site)
    gathered = effects.gather(summaries)
    found = {}
    for name, part in PARTS.items():
        own = gathered[gathered["model"].eq(name)].reset_index(drop=True)
        further = {"one_stage": tables.get("one_stage")} if name == "response_surface" else {}
        rows = effects.say_why_no_interval(part.pool(own, summaries, options, **further), NO_INTERVAL)
        found[name] = finish(rows, "congruence", name)
    return found


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    return [sentence for name, part in PARTS.items() for sentence in part.methods(options, tables[name])]
