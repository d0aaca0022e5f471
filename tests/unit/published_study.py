"""Small invented studies for disclosure control: rows of any result table, statuses of sites."""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd
import report_study
from alliance.publishing.disclosure import Gated, gate
from alliance.publishing.profiles import profile
from alliance.questions.contract import POOLED, WITH_NUMBERS, finish
from alliance.reports.inputs import ReportData

PUBLIC = profile({"profile": "public"})
SHARE = profile({"profile": "share"})
EFFECT = {
    "alliance_instrument": "wai_sr",
    "alliance_scale": "total",
    "alliance_rater": "client",
    "window": "early",
    "outcome_instrument": "core_10",
    "outcome_scale": "total",
    "outcome_rater": "client",
    "timepoint": "post",
    "form": "zero_order",
    "same_rater": "yes",
    "headline": "yes",
}


def row(site: str = "elm", clients: int | None = 40, therapists: int | None = 8, **other: Any) -> dict[str, Any]:
    """Return a row with a number; what it is about is for the caller to say."""
    return {
        "scenario": "base",
        "site": site,
        "claim": "",
        "estimate_type": "correlation",
        "scale": "fisher_z",
        "estimate": 0.31234,
        "std_error": 0.12345,
        "ci_low": 0.05,
        "ci_high": 0.55,
        "n_clients": clients,
        "n_therapists": therapists,
        "n_sites": 5 if site == POOLED else 1,
        "method": "two_stage_reml" if site == POOLED else "cluster_jackknife",
        "status": "estimated",
        "reason": "",
        **other,
    }


def table(question: str, name: str, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return rows as a table of the contract."""
    return finish(pd.DataFrame(rows), question, name)


def status(site: str, clients: int = 60, therapists: int = 10, **other: Any) -> dict[str, Any]:
    """Return the status of a site in the results."""
    return {
        "site": site,
        "label": f"Clinic {site.title()}",
        "data": "rows",
        "status": "ok",
        "reasons": [],
        "site_facts": {"country": "DE"},
        "files": [
            {"file": "ratings.csv", "sha256": "0" * 64, "rows_in": 600, "rows_used": 600, "rows_quarantined": 0, "rows_excluded_by_rule": 0}
        ],
        "counts": {"clients": clients, "therapists": therapists, "sessions": 10 * clients, "ratings": 40 * clients},
        "instruments": {"wai_sr": {"n": 10 * clients}},
        "flow": {"sent": clients, "withdrawn": 0, "cleaned": clients, "with_ratings": clients, "with_session_ratings": clients},
        **other,
    }


SITES = ("birch", "cedar", "elm", "oak", "rowan")


def study(
    tables: dict[str, dict[str, pd.DataFrame]] | None = None, statuses: list[dict[str, Any]] | None = None, **other: Any
) -> ReportData:
    """Return a study with the given tables and sites, and nothing else."""
    return dataclasses.replace(
        report_study.study(),
        tables=tables or {},
        statuses=[status(site) for site in SITES] if statuses is None else statuses,
        issues=[],
        scale_moments=pd.DataFrame(),
        **other,
    )


def gated(tables: dict[str, dict[str, pd.DataFrame]], profile=PUBLIC, before=None, statuses=None, **other: Any) -> Gated:
    """Return what may be published of some tables."""
    return gate(study(tables, statuses), {}, profile, before, **other)


def gated_rows(question: str, name: str, rows: list[dict[str, Any]], profile=PUBLIC, **other: Any) -> pd.DataFrame:
    """Return what may be published of the rows of one table."""
    return gated({question: {name: table(question, name, rows)}}, profile, **other).data.tables[question][name]


def with_numbers(frame: pd.DataFrame) -> list[bool]:
    """Return which rows carry numbers."""
    return frame["status"].isin(WITH_NUMBERS).tolist()
