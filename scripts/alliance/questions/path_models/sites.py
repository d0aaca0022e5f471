"""Which paths differ between sites: one model for all sites at once, every site a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.path_models.fits import parameter_of
from alliance.questions.path_models.pooling import OTHER_UNITS
from alliance.questions.path_models.sample import model_of
from alliance.questions.path_models.sent import Sent, site_moments
from alliance.questions.sentences import Sentence
from alliance.questions.summary import SiteSummary
from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.model_relations import scale_invariant_of
from alliance.statistics.site_equality import SiteEquality, site_equality
from alliance.statistics.structural_fit import Moments
from alliance.statistics.within_sites import correlation_acov, correlation_matrix

METHOD = "multiple_groups"
DIFFERENCE, TEST = "path_difference", "equality_test"
KEYS = ["model", "parameter", "index", "estimate_type"]
TESTS = ("chi2", "df", "p_value", "p_value_holm")
GROUPED = (
    "not estimable: the groups of this test are the sites, and the model has groups of its own; how each path differs between sites is "
    "told by tau2 and Q of its pooled row"
)


def equalities(sent: Sequence[Sent], options: Mapping[str, Any]) -> dict[str, SiteEquality]:
    """Return for every model the tests that its standardised paths are equal at all sites that have all its variables.

    Variables are standardised within sites, since sites may measure them with other instruments.
    """
    section, pooling = options["questions"]["path_models"], options["pooling"]
    found = {}
    for name in sorted(section["models"]):
        model = model_of(section, name)
        if model.groups:
            continue
        sites, moments, acov, units = [], [], [], []
        for one in sent:
            own = site_moments(one, name, model)
            if own is None:
                continue
            sites.append(one.site)
            moments.append(Moments(own.n, correlation_matrix(own.covariance), None, list(model.observed)))
            acov.append(correlation_acov(own))
            units.append(_units(one, name))
        if len(sites) >= max(2, pooling["min_sites"]) and any(term.op == "~" for term in model.terms):
            needed = pooling["min_clients"]
            tested = site_equality(model, moments, sites, acov=acov, units=units, min_clients=needed, level=pooling["level"])
            found[name] = tested if scale_invariant_of(section["models"][name]["syntax"]) else _units_told(tested)
    return found


def _units(sent: Sent, name: str) -> float:
    """Return the therapists that a site's sampling covariance rests on; infinite where clients are taken as independent."""
    therapists = sent.therapists.get(name, 0)
    return therapists if therapists >= MIN_CLUSTERS else np.inf


def _units_told(tested: SiteEquality) -> SiteEquality:
    """Return tests of a model that is not the same in standard deviations as in the units of the variables, flagged."""

    def told(one: Any) -> dict[str, str]:
        if one.status not in WITH_NUMBERS:
            return {"status": one.status, "reason": one.reason}
        return {"status": "flagged", "reason": "; ".join(text for text in (one.reason, OTHER_UNITS) if text)}

    def of_rows(rows: pd.DataFrame) -> pd.DataFrame:
        texts = [told(row) for row in rows.itertuples()]
        return rows.assign(status=[one["status"] for one in texts], reason=[one["reason"] for one in texts])

    overall = replace(tested.overall, **told(tested.overall))
    return replace(tested, overall=overall, paths=of_rows(tested.paths), site_paths=of_rows(tested.site_paths), **told(tested))


def site_rows(found: Mapping[str, SiteEquality], summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of ``site_paths``: how far each site's path lies from the mean of the other sites, with its test."""
    section, rows = options["questions"]["path_models"], []
    for name in sorted(section["models"]):
        model = model_of(section, name)
        paths = [(term.lhs, term.rhs) for term in model.terms if term.op == "~"]
        tested = found.get(name)
        told = {} if tested is None else {(row.site, row.lhs, row.rhs): row for row in tested.site_paths.itertuples(index=False)}
        left_out = {} if tested is None else dict(zip(tested.left_out["site"], tested.left_out["reason"]))
        for summary in summaries:
            therapists = _therapists(summary, name)
            why = _why_not(tested, left_out.get(summary.site, ""), summary)
            why = GROUPED if model.groups and summary.status == "ok" else why
            for lhs, rhs in paths:
                common = {"model": name, "parameter": parameter_of(lhs, "~", rhs), "site": summary.site, "scale": "identity", "n_sites": 1}
                row = told.get((summary.site, lhs, rhs))
                rows += _path_rows(common, row, why, therapists)
    return pd.DataFrame(rows)


def _therapists(summary: SiteSummary, name: str) -> int | None:
    """Return the therapists of the clients behind a site's moments of a model; None where they are not known."""
    told = summary.estimates
    # Shares are of everyone, also of clients whom the model leaves out.
    counts = told.loc[told["model"].eq(name) & told["estimate_type"].ne("share"), "n_therapists"].dropna()
    return int(counts.max()) if len(counts) else None


def _why_not(tested: SiteEquality | None, left_out: str, summary: SiteSummary) -> str:
    if summary.status != "ok":
        return effects.absence(summary)
    if tested is None:
        return "not estimable: needs at least two sites with all variables of a model with paths"
    if tested.status == "not_estimable":
        return f"not estimable: {tested.reason.removeprefix('not estimable: ')}"
    return f"not estimable: {left_out or 'the site lacks variables of the model, or clients who have them'}"


def _path_rows(common: Mapping[str, Any], row: Any, why: str, therapists: int | None) -> list[dict[str, Any]]:
    if row is None or row.status not in WITH_NUMBERS or not np.isfinite(row.difference):
        lacking = "" if row is None else row.reason.removeprefix("not estimable: ") or "the other sites say nothing beside this one"
        reason = f"not estimable: {lacking}" if lacking else why
        silent = {"index": "difference", "estimate_type": DIFFERENCE, "method": "none", "status": "not_estimable", "reason": reason}
        return [{**common, **silent}]
    counts = {"n_clients": int(row.n_clients), "n_therapists": therapists}
    known = {**common, **counts, "method": METHOD, "status": row.status, "reason": row.reason}
    difference = {
        "index": "difference",
        "estimate_type": DIFFERENCE,
        "estimate": row.difference,
        "std_error": row.difference_std_error,
        "ci_low": row.difference_low,
        "ci_high": row.difference_high,
    }
    tests = [("p_value", row.p_value), ("p_value_holm", row.p_holm)]
    return [
        {**known, **difference},
        *({**known, "index": index, "estimate_type": TEST, "estimate": value} for index, value in tests if np.isfinite(value)),
    ]


def pooled_rows(found: Mapping[str, SiteEquality]) -> pd.DataFrame:
    """Return rows of ``diagnostics``: whether all paths, and each path, are equal over sites."""
    rows = []
    for name, tested in found.items():
        common = {
            "model": name,
            "site": POOLED,
            "scale": "identity",
            "estimate_type": TEST,
            "n_sites": tested.n_sites,
            "n_clients": tested.n_clients,
        }
        overall = tested.overall
        values = {"chi2": overall.chi2, "df": overall.df, "p_value": overall.p_value}
        rows += _test_rows({**common, "parameter": "all paths"}, values, overall.status, overall.reason)
        for row in tested.paths.itertuples(index=False):
            values = {"chi2": row.wald_chi2, "df": row.wald_df, "p_value": row.wald_p, "p_value_holm": row.wald_p_holm}
            rows += _test_rows({**common, "parameter": parameter_of(row.lhs, "~", row.rhs)}, values, row.status, row.reason)
    return pd.DataFrame(rows)


def _test_rows(common: Mapping[str, Any], values: Mapping[str, float | None], status: str, reason: str) -> list[dict[str, Any]]:
    known = {name: value for name, value in values.items() if value is not None and np.isfinite(value)}
    if status not in WITH_NUMBERS or not known:
        told = f"not estimable: {(reason or 'no test').removeprefix('not estimable: ')}"
        return [{**common, "index": "equal_paths_chi2", "method": "none", "status": "not_estimable", "reason": told}]
    return [
        {**common, "index": f"equal_paths_{name}", "estimate": float(value), "method": METHOD, "status": status, "reason": reason}
        for name, value in known.items()
    ]


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return how paths were compared between sites."""
    if not table["status"].isin(WITH_NUMBERS).any():
        return []
    return [
        Sentence(
            "Whether standardised paths differ between sites was tested in one model with every site a group, by the scaled difference of "
            "chi-squares and by Wald tests of each path; each site's path was compared with that of the others, by t with degrees of "
            "freedom from the numbers of therapists (p values by Holm).",
            ("satorra_bentler_2001", "satterthwaite_1946", "holm_1979"),
        )
    ]
