"""Therapist factors: what therapists bring to the alliance, and to which clients (claims F9, F10, F12, H7, H8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import POOLED, finish
from alliance.questions.part import Part, summary_fields
from alliance.questions.sentences import Sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.questions.therapist_factors import effects as therapist_factors_effects
from alliance.questions.therapist_factors import variance
from alliance.questions.therapist_factors.sample import sample, together

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
    "questions.therapist_factors",
    "questions.client_factors.factors",
)
pool_reads = ("pooling", "alliance.rater", "alliance.scale", "questions.therapist_factors")
needs = ()
tables = ("effects", "variance")

NO_INTERVAL = (
    ({"estimate_type": "variance_share"}, "what therapists, all clients alike or some kinds of client, leave; their shares have one"),
    ({"estimate_type": "reliability_of_means"}, "the share between therapists that it follows from has none"),
)
PARTS = {"effects": therapist_factors_effects, "variance": variance}


def estimate(site: SiteData, options: Mapping[str, Any], constants: Mapping[str, Any]) -> SiteSummary:
    """Return what one site says about its therapists.

    Parameters
    ----------
    site : SiteData
    options : mapping
        The keys of ``estimate_reads``.
    constants : mapping
        Not used.
    """
    found = sample(site, options)
    parts: dict[str, Part] = {name: part.estimate(found, options, site.published is not None) for name, part in PARTS.items()}
    for name, part in parts.items():
        part.rows = [{**row, "parameter": PARTS[name].parameter(row)} for row in part.rows]
    return SiteSummary(site=site.site, label=site.label, question="therapist_factors", **summary_fields(parts))


def one_stage(sites: Iterable[SiteData], every_site: Sequence[str], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the estimates over the therapists and clients of all sites that share rows, within sites.

    Parameters
    ----------
    sites : iterable of SiteData
        The sites that share rows.
    every_site : sequence of str
        All sites; those that share none are named in the rows.
    options : mapping
        The keys of ``estimate_reads``.
    """
    samples = sorted((sample(site, options) for site in sites), key=_site_of)
    samples = [one for one in samples if _site_of(one)]
    if len(samples) < 2:
        return pd.DataFrame(columns=["model", "estimate_type", "site", "status"])
    present = {_site_of(one) for one in samples}
    absent = [name for name in every_site if name not in present]
    note = f"without {', '.join(absent)}, which share no rows or lack the alliance" if absent else ""
    rows = [{**row, "model": name} for name, part in PARTS.items() for row in part.one_stage(together(samples), options)]
    for row in rows:
        estimated = row["status"] != "not_estimable"
        row["reason"] = "; ".join(part for part in (row["reason"], note) if part)
        row["status"] = "flagged" if estimated and row["reason"] else row["status"]
        row["std_error"] = np.sqrt(row.pop("variance", np.nan))
    return pd.DataFrame(rows).assign(site=POOLED, scale="identity")


def _site_of(one: Any) -> str:
    frames = [frame for frame in (*one.clients.values(), one.sessions) if len(frame)]
    return str(frames[0]["site"].iloc[0]) if frames else ""


def pool(summaries: list[SiteSummary], options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables of the question; see the results dictionary.

    Parameters
    ----------
    summaries : list of SiteSummary
    options : mapping
        The keys of ``pool_reads``.
    tables : mapping
        ``one_stage``: the estimates over the rows of all sites that share them.
    """
    summaries = sorted(summaries, key=lambda one: one.site)
    gathered = effects.gather(summaries)
    together_rows = tables.get("one_stage", pd.DataFrame(columns=["model"]))
    found = {}
    for name, part in PARTS.items():
        own = gathered[gathered["model"].eq(name)].reset_index(drop=True)
        beside = together_rows[together_rows["model"].eq(name)].drop(columns="model").reset_index(drop=True)
        rows = effects.say_why_no_interval(part.pool(own, summaries, options, beside), NO_INTERVAL)
        found[name] = finish(rows, "therapist_factors", name)
    return found


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    return [sentence for name, part in PARTS.items() for sentence in part.methods(options, tables[name])]
