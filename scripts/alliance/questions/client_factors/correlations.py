"""Correlations and multilevel slopes of client factors with the alliance: the headline, other windows and raters (claims F1 to F4, F13).

A row's ``model`` is :data:`HEADLINE` (the rater and the window of the configuration), :data:`WINDOWS` (other windows and raters) or
:data:`SLOPES` (slopes within and between therapists).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.client_factors.measures import SiteFactors, factor_keys, factors_of, windows_and_raters
from alliance.questions.client_factors.pooling import one_rater, tables_by_scale, with_bounds
from alliance.questions.correlations import published_correlations, published_fields, row_fields
from alliance.questions.part import VCOV, Part
from alliance.questions.site_data import Published
from alliance.questions.summary import SiteSummary
from alliance.statistics.correlation import Correlations, correlations
from alliance.statistics.therapist_slopes import therapist_slopes
from alliance.variables.client import Measure

HEADLINE, WINDOWS, SLOPES = "factors", "windows", "slopes"
ASSUMED_CORRELATION = 0.5
NO_ROWS = "not estimable: needs the ratings of single clients; the site sent correlations only"
_SLOPE_PARTS = {
    "within_therapists": "slope_standardised",
    "between_therapists": "slope_standardised",
    "between_therapists - within_therapists": "slope_contrast",
}
KEYS = (
    *("factor", "category", "reversed", "alliance_rater", "factor_rater", "same_rater", "window", "headline", "part"),
    "estimate_type",
)


def _keys(model: str, keys: Mapping[str, Any], part: str = "") -> dict[str, Any]:
    return {**keys, "model": model, "headline": "yes" if model == HEADLINE else "no", "part": part}


def headline(own: SiteFactors, alliance: Measure, window: str, options: Mapping[str, Any]) -> Part:
    """Return the correlation of every factor with the headline's alliance, with the covariances of the correlations."""
    rater = options["alliance"]["rater"]
    late = own.late([alliance])[:, :, 0]
    x = np.where(late, np.nan, own.x)
    y = np.tile(own.values(alliance)[:, None], (1, x.shape[1]))
    result = correlations(x, y, own.therapists, min_rows=options["pooling"]["min_clients"])
    used, ratings = np.isfinite(x) & np.isfinite(y), own.ratings(alliance)
    part = Part(covariances=_vcov(list(own.factors), result))
    for position, (factor, content) in enumerate(own.factors.items()):
        found = own.found[factor]
        keys = _keys(HEADLINE, factor_keys(factor, content, rater, found.rater, window))
        part.add(keys | _fields(own, result, position, used[:, position], ratings, alliance.reason or found.reason))
    part.facts = {
        "alliance": alliance.source if not alliance.reason else "",
        "alliance_instrument": alliance.instrument if not alliance.reason else "",
        "sources": {factor: found.source for factor, found in own.found.items() if not found.reason},
        "left_out_measured_after_alliance": {factor: int(late[:, position].sum()) for position, factor in enumerate(own.factors)},
        "counts_by_category": category_counts(own.factors, result, used, own.therapists, ratings),
        "reason": f"not estimable: {alliance.reason}" if alliance.reason else "",
    }
    return part


def _fields(own: SiteFactors, result: Correlations, position: int, used: np.ndarray, ratings: np.ndarray, missing: str) -> dict[str, Any]:
    fields = row_fields(result, position, own.therapists_known)
    if missing:
        fields |= {"reason": f"not estimable: {missing}"}
    clients = len(own.clients)
    fields["share_missing"] = 1 - fields["n_clients"] / clients if clients else None
    return fields | {"n_sessions": int(ratings[used].sum())}


def others(own: SiteFactors, alliances: Mapping[tuple[str, str], Measure], options: Mapping[str, Any]) -> Part:
    """Return the correlations in other windows and with other raters, and the slopes within and between therapists in all of them.

    Parameters
    ----------
    own : SiteFactors
    alliances : mapping of (window, rater) to Measure
        That of the headline first.
    options : mapping
        Configuration.
    """
    part, minimum = Part(), options["pooling"]["min_clients"]
    factors = list(own.factors)
    late = own.late(list(alliances.values()))
    x = np.where(late, np.nan, own.x[:, :, None])
    y = np.broadcast_to(np.column_stack([own.values(one) for one in alliances.values()])[:, None, :], x.shape)
    used = np.isfinite(x) & np.isfinite(y)
    columns = len(factors) * len(alliances)
    flat = (x.reshape(len(x), columns), y.reshape(len(y), columns))
    result = correlations(*flat, own.therapists, min_rows=minimum)
    slopes = therapist_slopes(*flat, own.codes, min_rows=minimum) if own.therapists_known else None
    for column, ((window, rater), alliance) in enumerate(alliances.items()):
        ratings = own.ratings(alliance)
        for row, factor in enumerate(factors):
            position, found = row * len(alliances) + column, own.found[factor]
            keys = factor_keys(factor, own.factors[factor], rater, found.rater, window)
            keys["parameter"] = f"{factor}@{window}.{rater}"
            fields = _fields(own, result, position, used[:, row, column], ratings, alliance.reason or found.reason)
            if column:
                part.add(_keys(WINDOWS, keys) | fields, result.se_z[position] ** 2 * (1 - result.r[position] ** 2) ** 2)
            counted = {name: fields[name] for name in ("n_clients", "n_therapists", "n_sessions", "share_missing")}
            for number, (name, kind) in enumerate(_SLOPE_PARTS.items()):
                slope = _keys(SLOPES, keys | {"parameter": f"{keys['parameter']}/{name}"}, name) | {**counted, "estimate_type": kind}
                none = "needs to know which therapist saw each client" if slopes is None else slopes.reason[number][position]
                missing = alliance.reason or found.reason or none
                if missing:
                    part.add({**slope, "method": "none", "status": "not_estimable", "reason": f"not estimable: {missing}"})
                    continue
                value, error = slopes.estimate[number, position], slopes.std_error[number, position]
                numbers = {"estimate": value, "method": "cluster_jackknife", "status": "estimated", "reason": ""}
                part.add(slope | numbers, error**2)
    return part


def _vcov(names: Sequence[str], result: Correlations) -> pd.DataFrame:
    """Return the covariances of the correlations (of r, not of Fisher's z)."""
    slope = 1 - result.r**2
    matrix = result.vcov_z() * np.outer(slope, slope)
    rows = [
        {"model": HEADLINE, "parameter1": names[i], "parameter2": names[j], "cov": float(matrix[i, j])}
        for i, j in combinations_with_replacement(range(len(names)), 2)
        if np.isfinite(matrix[i, j])
    ]
    return pd.DataFrame(rows, columns=VCOV)


def contrast_name(first: str, second: str) -> str:
    """Return what the difference of two categories is called."""
    return f"{first} - {second}"


def category_counts(
    factors: Mapping[str, Mapping[str, Any]],
    result: Correlations,
    used: np.ndarray,
    codes: np.ndarray | None,
    ratings: np.ndarray,
) -> dict[str, dict[str, int]]:
    """Return, for every category and pair of categories, how many clients have an estimated factor of it, their therapists and sessions."""
    of = {
        category: [
            position for position, content in enumerate(factors.values()) if content["category"] == category and not result.reason[position]
        ]
        for category in sorted({content["category"] for content in factors.values()})
    }
    chosen = dict(of) | {
        contrast_name(first, second): of[first] + of[second] for first, second in combinations(of, 2) if of[first] and of[second]
    }
    counts = {}
    for name, positions in chosen.items():
        any_of = used[:, positions].any(axis=1)
        counts[name] = {"clients": int(any_of.sum()), "sessions": int(ratings[any_of].sum())}
        if codes is not None:
            counts[name]["therapists"] = len(np.unique(codes[any_of]))
    return counts


def published_headline(published: Published, options: Mapping[str, Any]) -> Part:
    """Return the correlations that a site published, with what is known of their covariance."""
    window = options["questions"]["client_factors"]["window"]
    matrix = published_correlations(published)
    sent: dict[frozenset[str], tuple[float, Any]] = {
        frozenset((row.var1, row.var2)): (row.r, row.n) for row in matrix.itertuples(index=False)
    }
    own = published.effects
    direct = {row.parameter: row for row in own[own["question"].eq("client_factors")].itertuples(index=False)}
    rows, values = [], {}
    for factor, content in factors_of(options).items():
        sign = -1.0 if content.get("reversed") else 1.0
        keys = _keys(HEADLINE, factor_keys(factor, content, options["alliance"]["rater"], "", window))
        pair = frozenset(("alliance", factor))
        if pair in sent:
            fields, variance = published_fields(sign * sent[pair][0], sent[pair][1], None, options["pooling"]["min_clients"])
        elif factor in direct:
            effect = direct[factor]
            fields, variance = published_fields(sign * effect.estimate, effect.n, effect.std_error, options["pooling"]["min_clients"])
        else:
            reason = f"not estimable: the site published no correlation of {factor} with the alliance"
            fields, variance = {"estimate_type": "correlation", "status": "not_estimable", "reason": reason, "method": "none"}, np.nan
        rows.append({**keys, **fields})
        if np.isfinite(variance):
            values[factor] = (fields["estimate"], variance, fields["n_clients"], sign)
    covariances = [
        {"model": HEADLINE, "parameter1": first, "parameter2": second, "cov": _published_covariance(first, second, values, sent)}
        for position, first in enumerate(values)
        for second in list(values)[position:]
    ]
    return Part(rows, [np.nan] * len(rows), pd.DataFrame(covariances, columns=VCOV), facts={"reason": ""})


def _published_covariance(
    first: str, second: str, values: Mapping[str, tuple[float, float, int, float]], sent: Mapping[frozenset[str], tuple[float, Any]]
) -> float:
    """Return the covariance of two published correlations with the alliance.

    Olkin and Siotani's (1976) correlation of two dependent correlations where the site published how the factors correlate, else one of .5.
    """
    (r1, v1, _, sign1), (r2, v2, _, sign2) = values[first], values[second]
    if first == second:
        return v1
    between = sent.get(frozenset((first, second)))
    share = ASSUMED_CORRELATION
    if between is not None:
        r3 = sign1 * sign2 * between[0]
        numerator = r3 * (1 - r1**2 - r2**2) - r1 * r2 * (1 - r1**2 - r2**2 - r3**2) / 2
        share = float(np.clip(numerator / ((1 - r1**2) * (1 - r2**2)), -1, 1))
    return share * float(np.sqrt(v1 * v2))


def tables(
    gathered: pd.DataFrame, main: pd.DataFrame, summaries: Sequence[SiteSummary], scale: str, options: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of ``factors`` and, of the headline, the pooled rows without each site in turn.

    Sites are pooled whoever rated the factor, and the row says who did.

    Parameters
    ----------
    gathered : DataFrame
        Estimates of all sites.
    main : DataFrame
        Those of the headline, with ``y`` and ``v`` on the scale of pooling.
    summaries : sequence of SiteSummary
    scale : str
        Scale of pooling of correlations.
    options : mapping
        Sections ``pooling`` and ``questions.client_factors``.
    """
    pooling, keys = options["pooling"], list(KEYS)
    merged = one_rater(main)
    pooled = effects.pooled_rows(merged, keys, scale, pooling)
    rows = [effects.with_sites(pooled, main, summaries, keys, scale, pooling)]
    left_out = effects.leave_one_out_rows(merged, ["factor", "category", "estimate_type"], scale, pooling)
    window, rater = windows_and_raters(options)[0]
    for model, only in ((WINDOWS, {}), (SLOPES, {"window": window, "alliance_rater": rater})):
        rows.append(tables_by_scale(gathered[gathered["model"].eq(model)], keys, summaries, options, NO_ROWS, **only))
    bound = options["questions"]["client_factors"]["severity_bound"]
    return with_bounds(effects.stack(*rows), bound, pooling, ("correlation",)), left_out
