"""Means of client factors by category of the review, and the contrasts between categories (claims F1, F2, F4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.client_factors.correlations import HEADLINE, contrast_name
from alliance.questions.client_factors.measures import factors_of
from alliance.questions.contract import CLUSTERED, POOLED, WITH_NUMBERS
from alliance.questions.summary import SiteSummary
from alliance.statistics.meta_analysis import Pooled, difference, n_weighted_mean
from alliance.statistics.meta_analysis import pool as pool_estimates


def _site_means(summary: SiteSummary, categories: Sequence[str], scale: str) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return one site's estimated correlations, the weights of category means, and the covariance on a scale.

    The mean of a category at a site weighs its factors equally; its variance comes from the covariance of the correlations, which share
    clients and the alliance score.
    """
    estimates = summary.estimates
    usable = estimates[estimates["status"].isin(WITH_NUMBERS) & estimates["model"].eq(HEADLINE)].reset_index(drop=True)
    names = list(usable["parameter"])
    place = {name: position for position, name in enumerate(names)}
    vcov = np.zeros((len(names), len(names)))
    for row in summary.vcov[summary.vcov["model"].eq(HEADLINE)].itertuples(index=False):
        if row.parameter1 in place and row.parameter2 in place:
            first, second = place[row.parameter1], place[row.parameter2]
            vcov[first, second] = vcov[second, first] = row.cov
    r = usable["estimate"].to_numpy(dtype=float)
    slope = 1 / (1 - r**2) if scale == "fisher_z" else np.ones_like(r)
    weights = np.zeros((len(categories), len(names)))
    for position, category in enumerate(categories):
        chosen = usable["category"].eq(category).to_numpy()
        weights[position, chosen] = 1 / chosen.sum() if chosen.any() else 0.0
    return usable, weights, vcov * np.outer(slope, slope)


def category_tables(
    summaries: Sequence[SiteSummary], gathered: pd.DataFrame, options: Mapping[str, Any], scale: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of category means and contrasts, and the means without each site in turn.

    The factors of a category are first combined within each site, then sites are pooled. A contrast is the difference of two pooled
    means on the scale of r.
    """
    pooling = options["pooling"]
    categories = sorted({content["category"] for content in factors_of(options).values()})
    contrasts = list(combinations(categories, 2))
    means, differences = [], []
    covariances: dict[str, np.ndarray] = {}
    for summary in summaries:
        if summary.status != "ok":
            continue
        usable, weights, vcov = _site_means(summary, categories, scale)
        r = usable["estimate"].to_numpy(dtype=float)
        y = weights @ (np.arctanh(r) if scale == "fisher_z" else r)
        joint = weights @ vcov @ weights.T
        covariances[summary.site] = joint
        natural = effects.natural(y, scale)
        slope = 1 - natural**2 if scale == "fisher_z" else np.ones_like(natural)
        on_r = joint * np.outer(slope, slope)
        of = {category: usable[usable["category"].eq(category)] for category in categories}
        for i, category in enumerate(categories):
            numbers = {"y": y[i], "v": joint[i, i], "estimate": natural[i]} if len(of[category]) else None
            means.append(_category_effect(summary, category, "correlation_random_effects", of[category], numbers))
        for first, second in contrasts:
            i, j = categories.index(first), categories.index(second)
            value, variance = natural[i] - natural[j], on_r[i, i] + on_r[j, j] - 2 * on_r[i, j]
            numbers = {"y": value, "v": variance, "estimate": value} if len(of[first]) and len(of[second]) else None
            both = pd.concat([of[first], of[second]])
            differences.append(_category_effect(summary, contrast_name(first, second), "correlation_contrast", both, numbers))
    keys = ["category", "estimate_type"]
    rows, left_out = [], pd.DataFrame()
    if means:
        counts = dict.fromkeys(("n_sessions", "n_clients", "n_therapists"), "Int64")
        means = pd.DataFrame(means).astype(counts)
        differences = pd.DataFrame(differences).astype(counts) if differences else means.iloc[:0]
        pooled = effects.pooled_rows(means, keys, scale, pooling)
        behind = means[means["y"].notna()].groupby("category")["n_correlations"].sum()
        pooled["n_correlations"] = pooled["category"].map(behind).fillna(0).astype(int)
        against = pd.DataFrame([_pooled_contrast(means, differences, covariances, categories, pair, scale, pooling) for pair in contrasts])
        rows = [
            effects.site_rows(means, scale, pooling["level"]),
            pooled,
            effects.absent_site_rows(summaries, pooled[keys], scale),
            effects.site_rows(differences, "identity", pooling["level"]) if len(differences) else differences,
            against,
            effects.absent_site_rows(summaries, against[keys], "identity") if len(against) else against,
        ]
        left_out = effects.leave_one_out_rows(means, keys, scale, pooling).assign(factor="")
    weighted = [_n_weighted(gathered, means, category, pooling) for category in categories]
    return effects.stack(*rows, pd.DataFrame(weighted)), left_out


def _category_effect(
    summary: SiteSummary, category: str, kind: str, here: pd.DataFrame, numbers: Mapping[str, float] | None
) -> dict[str, Any]:
    """Return one site's category mean or contrast as an effect with ``y`` and ``v``; ``numbers`` is None where there is none."""
    common = {"site": summary.site, "category": category, "estimate_type": kind, "n_correlations": len(here)}
    if numbers is None:
        reason = f"not estimable: needs a correlation in {category.replace(' - ', ' and in ')}; has none"
        absent = {"y": np.nan, "v": np.nan, "estimate": np.nan, "status": "not_estimable", "reason": reason, "method": "none"}
        return {**common, **absent, "n_sessions": pd.NA, "n_clients": pd.NA, "n_therapists": pd.NA, "share_missing": np.nan}
    counts = _counts(summary, category, here)
    total = summary.n["clients"]
    known = summary.facts.get("counts_by_category") and total and not pd.isna(counts["n_clients"])
    return {
        **common,
        **numbers,
        **counts,
        "share_missing": 1 - counts["n_clients"] / total if known else np.nan,
        "method": _joint_method(set(here["method"])),
        "status": "flagged" if here["status"].eq("flagged").any() else "estimated",
        "reason": "; ".join(sorted(set(here.loc[here["status"].eq("flagged"), "reason"]))),
    }


def _counts(summary: SiteSummary, category: str, here: pd.DataFrame) -> dict[str, Any]:
    """Return clients, therapists and sessions behind a category at a site, every client counted once.

    Exact where the summary carries them; else the largest of the factors, which is the least it can be.
    """
    carried = summary.facts.get("counts_by_category")
    exact = carried.get(category) if isinstance(carried, Mapping) else None
    if isinstance(exact, Mapping):
        values = {f"n_{name}": exact.get(name) for name in ("clients", "therapists", "sessions")}
        return {name: value if isinstance(value, int) else pd.NA for name, value in values.items()}
    return {name: here[name].max() if here[name].notna().all() else pd.NA for name in ("n_sessions", "n_clients", "n_therapists")}


def _joint_method(used: set[str]) -> str:
    if len(used) == 1:
        return next(iter(used))
    if used <= set(CLUSTERED):
        return "cluster_robust"
    return "independent" if "independent" in used else "published"


def _pooled_contrast(
    means: pd.DataFrame,
    differences: pd.DataFrame,
    covariances: Mapping[str, np.ndarray],
    categories: Sequence[str],
    pair: tuple[str, str],
    scale: str,
    pooling: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the row of the difference of two pooled category means.

    The means covary because the same clients stand in both: the covariance is that of the site means, weighted as the two poolings weigh
    them. Between sites the two are taken as independent, which is conservative where they go together.
    """
    row = {"category": contrast_name(*pair), "estimate_type": "correlation_contrast", "site": POOLED, "scale": "identity"}
    own = [means[means["category"].eq(category) & means["y"].notna() & means["v"].gt(0)].set_index("site") for category in pair]
    sites = own[0].index.union(own[1].index)
    k = min(len(one) for one in own)
    row |= {"n_sites": len(sites), "n_correlations": int(sum(one["n_correlations"].sum() for one in own))}
    if k < pooling["min_sites"]:
        reason = effects.too_few_sites(k, pooling) + " in one of the categories"
        return {**row, "method": "none", "status": "not_estimable", "reason": reason}
    settings = {"tau2": pooling["tau2"], "interval": pooling["interval"], "level": pooling["level"]}
    pooled = [pool_estimates(one["y"], one["v"], **settings) for one in own]
    weights = [pd.Series(found.weights, index=one.index).reindex(sites, fill_value=0.0) for found, one in zip(pooled, own)]
    i, j = (categories.index(category) for category in pair)
    shared = sum(weights[0][site] * weights[1][site] * covariances[site][i, j] for site in sites)
    on_r = [_on_r(found, scale) for found in pooled]
    slopes = [1 - found.estimate**2 if scale == "fisher_z" else 1.0 for found in on_r]
    found = difference(*on_r, covariance=float(shared * slopes[0] * slopes[1]), level=pooling["level"])
    counted = differences[differences["category"].eq(row["category"])].set_index("site")
    single = pd.concat(own)
    counts = {}
    for name in ("n_sessions", "n_clients", "n_therapists"):
        at_site = counted[name].reindex(sites).fillna(single.groupby(level=0)[name].max())
        counts[name] = int(at_site.sum()) if at_site.notna().all() else None
    flagged = int(single["status"].eq("flagged").groupby(level=0).any().sum())
    reason = "; ".join(
        part
        for part in (found.reason, f"flagged estimates at {flagged} of {len(sites)} sites (see the sites' rows)" if flagged else "")
        if part
    )
    return {
        **row,
        **counts,
        "estimate": found.estimate,
        "std_error": found.std_error,
        "ci_low": found.ci_low,
        "ci_high": found.ci_high,
        "p_value": found.p_value if k >= pooling["headline_sites"] else None,
        "method": "difference_of_means",
        "status": "flagged" if reason else "estimated",
        "reason": reason,
    }


def _on_r(pooled: Pooled, scale: str) -> Pooled:
    """Return a pooled mean and its standard error on the scale of r."""
    if scale != "fisher_z":
        return pooled
    r = float(np.tanh(pooled.estimate))
    return replace(pooled, estimate=r, std_error=pooled.std_error * (1 - r**2))


def _n_weighted(gathered: pd.DataFrame, means: pd.DataFrame | list[Any], category: str, pooling: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mean of all site x factor correlations of a category weighted by clients, as the 1991 meta-analysis took it.

    It has no standard error, as none was given then: the correlations of one site share clients.
    """
    row = {
        "category": category,
        "estimate_type": "correlation_n_weighted",
        "site": POOLED,
        "scale": "identity",
    }
    if gathered.empty:
        here = gathered
    else:
        here = gathered[gathered["category"].eq(category) & gathered["status"].isin(WITH_NUMBERS) & gathered["n_clients"].notna()]
    k = int(here["site"].nunique()) if len(here) else 0
    row |= {"n_correlations": len(here), "n_sites": k}
    if k < pooling["min_sites"]:
        return {**row, "method": "none", "status": "not_estimable", "reason": effects.too_few_sites(k, pooling)}
    counted = means[means["category"].eq(category) & means["site"].isin(here["site"])]
    counts = {name: counted[name].sum() if counted[name].notna().all() else None for name in ("n_sessions", "n_clients", "n_therapists")}
    return {
        **row,
        **counts,
        "estimate": n_weighted_mean(here["estimate"], here["n_clients"].astype("float64")),
        "method": "n_weighted",
        "status": "estimated",
    }
