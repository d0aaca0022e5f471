"""Do client factors act on the alliance at the start only, or throughout? (claim F8, an open question of the review)

Three views: the growth of the alliance over sessions, the correlation in parts of treatment on the same clients, and the first against the
second phase, with what the factor adds to the second phase beyond the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.alliance_outcome.contrasts import result_fields, z_scores
from alliance.questions.alliance_outcome.levels import session_scores
from alliance.questions.client_factors.measures import SiteFactors, alliance_measure, category_means, factor_keys, z_of_rated
from alliance.questions.client_factors.pooling import tables_by_scale, with_bounds
from alliance.questions.contract import WITH_NUMBERS
from alliance.questions.part import Part
from alliance.questions.sentences import Sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.covariance import partial_correlation
from alliance.statistics.growth_effects import growth_effects, working_variances
from alliance.statistics.jackknife import covariance_of_sums, cross_products, jackknife
from alliance.variables.client import Measure

GROWTH, BANDS, PHASES = "growth", "bands", "phases"
START, CHANGE = "start", "change in ten sessions"
FIRST, SECOND, LATER = "first", "second", "second given first"
SESSIONS = 10
CONTRAST = "correlation_contrast"
NO_ROWS = "not estimable: needs the alliance session by session; the site sent correlations only"
KEYS = (
    *("factor", "category", "reversed", "alliance_rater", "factor_rater", "same_rater", "analysis", "part", "window", "contrast"),
    "estimate_type",
)


def estimate(site: SiteData, own: SiteFactors, alliance: Measure, options: Mapping[str, Any]) -> Part:
    """Return the rows of one site, all factors and the means of categories at once.

    Parameters
    ----------
    site : SiteData
    own : SiteFactors
    alliance : Measure
        Alliance of the headline.
    options : mapping
        Sections ``alliance``, ``pooling`` and ``questions.client_factors``.
    """
    part, own = Part(), with_categories(own, alliance)
    _growth(part, site, own, options)
    question = options["questions"]["client_factors"]["over_time"]
    bands = {name: window for name, window in question["bands"].items() if window}
    contrasts = {f"early - {name}": {"early": 1.0, name: -1.0} for name in bands if name != "early" and "early" in bands}
    if bands:
        _compared(part, site, own, options, BANDS, bands, contrasts)
    if question["first"] and question["second"]:
        phases = {FIRST: question["first"], SECOND: question["second"]}
        _compared(part, site, own, options, PHASES, phases, {f"{FIRST} - {SECOND}": {FIRST: 1.0, SECOND: -1.0}})
    return part


def category_name(category: str) -> str:
    """Return what the mean of a category's factors is called among the factors."""
    return f"({category})"


def with_categories(own: SiteFactors, alliance: Measure) -> SiteFactors:
    """Return the factors with, for each category, the mean of a client's standardised factors: one answer with more certainty."""
    x = np.where(own.late([alliance])[:, :, 0], np.nan, own.x)
    factors, found = dict(own.factors), dict(own.found)
    categories, means = category_means(own, x)
    for category in categories:
        measured = own.measured(category)
        raters = sorted({own.found[list(own.factors)[position]].rater for position in measured})
        reason = "" if len(measured) > 1 else f"needs two factors of the category {category}; has {len(measured)}"
        name, rater = category_name(category), raters[0] if len(raters) == 1 else ""
        factors[name] = {"category": category, "reversed": False}
        found[name] = replace(alliance, values=alliance.values.iloc[:0], times=alliance.times.iloc[:0], rater=rater, reason=reason)
    x = np.hstack([x, means])
    return replace(own, factors=factors, found=found, x=x)


def _keys(own: SiteFactors, factor: str, options: Mapping[str, Any], analysis: str, name: str, window: str = "") -> dict[str, Any]:
    keys = factor_keys(factor, own.factors[factor], options["alliance"]["rater"], own.found[factor].rater, window)
    return keys | {"analysis": analysis, "part": name, "contrast": "", "parameter": f"{factor}/{analysis}/{name}"}


def _add_absent(part: Part, keys: Mapping[str, Any], kind: str, reason: str, counts: Mapping[str, Any] | None = None) -> None:
    absent = {"estimate_type": kind, "method": "none", "status": "not_estimable", "reason": f"not estimable: {reason}"}
    part.add({**keys, **(counts or {}), **absent})


def _growth(part: Part, site: SiteData, own: SiteFactors, options: Mapping[str, Any]) -> None:
    """Add the effect of every factor at the first session and its change, alliance and factor in SD of the site."""
    rows, alliance = session_scores(site, {"construct": "alliance", "rater": options["alliance"]["rater"]}, options)
    kinds = {START: "slope_standardised", CHANGE: "slope_change"}
    rows = rows[rows["client"].isin(own.clients)]
    spread = float(rows["value"].std()) if len(rows) > 1 else 0.0
    reason = alliance.reason or ("" if spread > 0 else "needs sessions that differ in the alliance")
    found = None
    if not reason:
        place = own.clients.get_indexer(rows["client"])
        score, time = (rows["value"] - rows["value"].mean()) / spread, (rows["session"] - 1) / SESSIONS
        frame = pd.DataFrame({"score": score, "time": time, "client": rows["client"]})
        if own.therapists_known:
            frame["therapist"] = own.codes[place]
        x = z_of_rated(np.where(own.late([alliance])[:, :, 0], np.nan, own.x), np.isin(np.arange(len(own.clients)), place))
        working = working_variances(frame)
        found = growth_effects(score, time, place, x, own.therapists, working, min_rows=options["pooling"]["min_clients"])
    for position, factor in enumerate(own.factors):
        missing = reason or own.found[factor].reason or found.reason[position]
        for number, (name, kind) in enumerate(kinds.items()):
            keys = _keys(own, factor, options, GROWTH, name)
            if missing:
                _add_absent(part, keys, kind, missing)
                continue
            fields = {
                "estimate": (found.start, found.change)[number][position],
                "n_clients": int(found.n[position]),
                "n_therapists": int(found.n_clusters[position]) if own.therapists_known else None,
                "n_sessions": int(found.n_sessions[position]),
                "share_missing": 1 - found.n[position] / len(own.clients),
                "method": found.method[position],
                "status": "flagged" if found.caution[position] else "estimated",
                "reason": found.caution[position],
            }
            part.add({**keys, "estimate_type": kind, **fields}, found.std_error[number, position] ** 2)


def _compared(
    part: Part,
    site: SiteData,
    own: SiteFactors,
    options: Mapping[str, Any],
    analysis: str,
    windows: Mapping[str, str],
    contrasts: Mapping[str, Mapping[str, float]],
) -> None:
    """Add the correlation of every factor with the alliance of each window, on the clients rated in all, and the contrasts of these.

    For the two phases also the partial correlation with the second, given the first.
    """
    equal, rater = options["questions"]["client_factors"]["over_time"]["equal_sessions"], options["alliance"]["rater"]
    measured = {name: alliance_measure(site, window, rater, options, equal) for name, window in windows.items()}
    names, weights = (
        list(windows),
        np.array([[one.get(name, 0.0) for name in windows] for one in contrasts.values()]).reshape(-1, len(windows)),
    )
    missing = next((one.reason for one in measured.values() if one.reason), "")
    alliances = np.column_stack([own.values(one) for one in measured.values()])
    ratings = sum(own.ratings(one) for one in measured.values())
    late = own.late(list(measured.values())).any(axis=2)
    later = [LATER] if analysis == PHASES else []

    def values(sums: np.ndarray) -> np.ndarray:
        covariance = covariance_of_sums(sums)
        r = np.stack([partial_correlation(covariance, 0, 1 + position, []) for position in range(len(names))], axis=-1)
        beyond = [partial_correlation(covariance, 0, 2, [1])[..., None]] if later else []
        return np.concatenate([r, r @ weights.T, *beyond], axis=-1)

    for position, factor in enumerate(own.factors):
        rows = [(_keys(own, factor, options, analysis, name, windows[name]), "correlation") for name in names]
        rows += [(_keys(own, factor, options, analysis, name) | {"part": "", "contrast": name}, CONTRAST) for name in contrasts]
        rows += [(_keys(own, factor, options, analysis, name, windows[SECOND]), "partial_correlation") for name in later]
        reason = own.found[factor].reason or missing
        data = np.column_stack([np.where(late[:, position], np.nan, own.x[:, position]), alliances])
        complete = np.isfinite(data).all(axis=1)
        therapists = None if own.therapists is None else own.therapists[complete]
        result = jackknife(
            cross_products(z_scores(data[complete])), values, len(rows), therapists, min_rows=options["pooling"]["min_clients"]
        )
        fields = result_fields(result, own.therapists_known)
        fields |= {"n_sessions": int(ratings[complete].sum()), "share_missing": 1 - result.n / len(data) if len(data) else None}
        for number, (keys, kind) in enumerate(rows):
            if reason or result.reason:
                _add_absent(part, keys, kind, reason or result.reason, {name: fields[name] for name in ("n_clients", "n_therapists")})
            else:
                part.add({**keys, "estimate_type": kind, **fields, "estimate": result.estimate[number]}, result.vcov[number, number])


def pool(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of ``over_time``, differences with the test that they are too small to matter."""
    rows = tables_by_scale(gathered, KEYS, summaries, options, NO_ROWS)
    if rows.empty:
        first = pd.DataFrame([{**dict.fromkeys(KEYS, ""), "analysis": PHASES, "estimate_type": CONTRAST}])
        return effects.absent_site_rows(summaries, first, "identity")
    bound = options["questions"]["client_factors"]["over_time"]["equivalence_bound"]
    return with_bounds(rows, bound, options["pooling"], ("correlation", "partial_correlation", CONTRAST))


def verdict(rows: pd.DataFrame, factor: str) -> str:
    """Return what the pooled rows of the two phases say of one factor.

    Parameters
    ----------
    rows : DataFrame
        Pooled rows of ``over_time``.
    factor : str

    Returns
    -------
    str
        ``start_only``: related to the first phase, less to the second, which it is equivalent to unrelated with; ``fades``: less to the
        second, yet related to it; ``throughout``: related to both, their difference equivalent to none; ``both_phases``: related to
        both, their difference open; ``grows``: more to the second;
        ``nowhere``: equivalent to unrelated in both; ``undecided``; empty where there is no estimate.
    """
    own = rows[rows["factor"].eq(factor) & rows["analysis"].eq(PHASES) & rows["status"].isin(WITH_NUMBERS)]
    named = {row.contrast or row.part: row for row in own.itertuples()}
    first, second, contrast = (named.get(name) for name in (FIRST, SECOND, f"{FIRST} - {SECOND}"))
    if first is None or second is None or contrast is None:
        return ""

    def none(row: Any) -> bool:
        return str(row.decision).startswith("equivalent")

    falls, rises = contrast.ci_low > 0, contrast.ci_high < 0
    related = [row.ci_low > 0 or row.ci_high < 0 for row in (first, second)]
    turned = first.estimate < 0
    falls, rises = (rises, falls) if turned else (falls, rises)
    if none(first) and none(second):
        return "nowhere"
    if all(related) and none(contrast):
        return "throughout"
    if related[0] and falls:
        return "start_only" if none(second) else "fades" if related[1] else "undecided"
    if rises and related[1]:
        return "grows"
    return "both_phases" if all(related) else "undecided"


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    if not table["status"].isin(WITH_NUMBERS).any():
        return []
    question = options["questions"]["client_factors"]["over_time"]
    number = question["equal_sessions"]
    ratings = f", each as the mean of {number} ratings spread over it, as more ratings would be more reliable" if number else ""
    return [
        Sentence(
            "Whether factors act throughout was looked at in three ways: growth models of the alliance over sessions, with lines of "
            "clients and intercepts of therapists, in which a factor may change start and slope (generalised least squares with the "
            "variances of the model without the factor; each therapist left out in turn); correlations in parts of treatment on the same "
            f"clients; and window {question['first']} against window {question['second']}{ratings}. A claim of no difference was tested "
            f"against ±{question['equivalence_bound']:g} by two one-sided tests.",
            ("bell_mccaffrey_2002", "steiger_1980", "schuirmann_1987"),
        )
    ]
