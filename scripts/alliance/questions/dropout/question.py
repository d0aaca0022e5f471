"""Who leaves: alliance and dropout in discrete time, with planned endings that compete (claims G1, G2, F11)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import POOLED, finish
from alliance.questions.dropout import curves, models, pooling
from alliance.questions.dropout import periods as spans
from alliance.questions.part import Part, summary_fields
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
    "dropout",
    "pooling.min_clients",
    "pooling.level",
    "questions.dropout",
)
pool_reads = ("pooling", "dropout", "questions.dropout")
needs = ()
tables = ("hazard", "survival", "definitions", "calibration")

SUMMARIES_ONLY = "not estimable: needs sessions and endings of single clients; the site published summaries only"
NO_INTERVAL = {
    "calibration": (({"statistic": "predicted"}, "the mean of what the model expects of these clients"),),
    "survival": (
        ({"estimate_type": "cumulative_risk", "estimate": 0.0}, "nobody has dropped out yet"),
        ({"estimate_type": "share_in_treatment", "estimate": 1.0}, "nobody has left yet"),
        ({"estimate_type": "share_in_treatment", "estimate": 0.0}, "nobody is left"),
    ),
}
_KEYS = {
    "hazard": [name for name in pooling.HAZARD_KEYS if name != "same_rater"],
    "survival": pooling.SURVIVAL_KEYS,
    "definitions": pooling.DEFINITION_KEYS,
    "calibration": pooling.CALIBRATION_KEYS,
}


def estimate(site: SiteData, options: Mapping[str, Any], constants: Mapping[str, Any]) -> SiteSummary:
    """Return what one site says about who leaves.

    Parameters
    ----------
    site : SiteData
    options : mapping
        The keys of ``estimate_reads``.
    constants : mapping
        Not used.
    """
    found = spans.course(site, _raw(options))
    made = models.resampled(found, options)
    survival, counts = curves.survival(found, options)
    calibration, groups = curves.calibration(found, made, options)
    hazards = [
        *models.all_frailty_rows([found], options),
        *models.jackknife_rows(made, options),
        *models.subdistribution(found, options),
        *models.risk_rows(made, options),
        curves.phase_one_outcome(found, options),
    ]
    rater, every = options["alliance"]["rater"], options["dropout"]["definitions"]
    raters = {name: spans.same_rater(found, every[name], rater) for name in every}
    raters[""] = "yes" if rater == options["outcome"]["rater"] else "no"
    part = Part(facts={"survival": counts, "calibration": groups, "measures": found.facts})
    for name, rows in {
        "hazard": [{**row, "same_rater": raters[row["definition"]]} for row in hazards],
        "survival": survival,
        "definitions": curves.definitions(found, options),
        "calibration": calibration,
    }.items():
        for row in rows:
            _add(part, name, row, site.published is not None)
    fields = summary_fields({"dropout": part}, own_models=("dropout",))
    fields["n"] |= {"clients": len(found.clients)}
    facts = {**part.facts, "reason": SUMMARIES_ONLY if site.published is not None else ""}
    return SiteSummary(site=site.site, label=site.label, question="dropout", facts=facts, **fields)


def _raw(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with the outcome as it is at its timepoint: the intake level is held constant where it is used."""
    return {**options, "outcome": {**options["outcome"], "form": "ancova"}}


def _add(part: Part, table: str, row: Mapping[str, Any], published: bool) -> None:
    """Add one row of a table to the site's summary; sites that published summaries say so in place of other reasons."""
    named = "; ".join(f"{key}={row[key]}" for key in _KEYS[table] if row.get(key))
    own = {name: value for name, value in row.items() if name != "variance"}
    if published and row["status"] == "not_estimable":
        own["reason"] = SUMMARIES_ONLY
    if row["status"] in ("not_estimable", "withheld"):
        own |= dict.fromkeys(("estimate", "ci_low", "ci_high", "p_boundary"))
    variance = row.get("variance", np.nan) if row["status"] in ("estimated", "flagged") else np.nan
    part.add({"level": "client", **own, "model": table, "parameter": named}, variance)


def one_stage(sites: Iterable[SiteData], every_site: Sequence[str], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the models over the rows of all sites that share them, and how each site is foretold by the others.

    Parameters
    ----------
    sites : iterable of SiteData
        The sites that share rows.
    every_site : sequence of str
        All sites; those that share none are named in the rows.
    options : mapping
        The keys of ``estimate_reads``.
    """
    raw = _raw(options)
    courses = sorted((spans.course(site, raw) for site in sites), key=lambda one: one.site)
    if len(courses) < 2:
        return pd.DataFrame(columns=["table"])
    rows = []
    for spec in models.specs(options):
        behind = models.design(courses, spec, options)
        present = set(behind.rows["site"]) if len(behind.rows) else set()
        absent = [site for site in every_site if site not in present]
        note = f"without {', '.join(absent)}, which share no rows or lack the measures" if absent else ""
        for row in models.frailty_rows(courses, spec, options, one_stage=True):
            if row["status"] == "not_estimable":
                # The pooled row says what is needed.
                continue
            reason = "; ".join(part for part in (row["reason"], note) if part)
            rows.append(
                {
                    "table": "hazard",
                    **_with_interval(row, options["pooling"]["level"]),
                    "site": POOLED,
                    "n_sites": len(present),
                    "reason": reason,
                    "status": "flagged" if reason else row["status"],
                }
            )
    rows += [{"table": "calibration", **row} for row in curves.site_calibration(courses, options)]
    return pd.DataFrame(rows)


def _with_interval(row: Mapping[str, Any], level: float) -> dict[str, Any]:
    """Return a row over all sites with standard error and interval on its scale."""
    from alliance.statistics.distributions import critical_value

    if row["estimate_type"] == pooling.NOT_POOLED:
        return {**row, "scale": "identity"}
    error = float(np.sqrt(row["variance"])) / row["estimate"]
    margin = float(critical_value(level)) * error
    low, high = (float(np.exp(np.log(row["estimate"]) + side)) for side in (-margin, margin))
    return {**row, "scale": effects.LABELS[effects.RATIO], "std_error": error, "ci_low": low, "ci_high": high}


def pool(summaries: list[SiteSummary], options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables of the question; see the results dictionary.

    Parameters
    ----------
    summaries : list of SiteSummary
    options : mapping
        The keys of ``estimate_reads`` and ``pool_reads``.
    tables : mapping
        ``one_stage``: the models over the rows of all sites that share them.
    """
    summaries = sorted(summaries, key=lambda one: one.site)
    found = pooling.tables_of(effects.gather(summaries), summaries, options, tables)
    told = {name: effects.say_why_no_interval(found[name], NO_INTERVAL.get(name, ())) for name in found}
    return {name: finish(told[name], "dropout", name) for name in found}


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    return pooling.methods(options, tables)
