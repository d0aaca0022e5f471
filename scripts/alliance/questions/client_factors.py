"""Client factors at intake and the early alliance, by category of the review (claims F1 to F4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import CLUSTERED, POOLED, WITH_NUMBERS, finish
from alliance.questions.correlations import published_correlations, published_fields, row_fields, therapist_codes
from alliance.questions.sentences import Sentence, cluster_sentences, pooling_sentence
from alliance.questions.site_data import Published, SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.correlation import Correlations, correlations
from alliance.statistics.meta_analysis import Pooled, difference, n_weighted_mean
from alliance.statistics.meta_analysis import pool as pool_estimates
from alliance.variables.client import factor_definition, measure, order_violations

estimate_reads = (
    "alliance",
    "outcome.instruments",
    "outcome.scale",
    "outcome.rater",
    "pooling.min_clients",
    "questions.client_factors.window",
    "questions.client_factors.factors",
)
pool_reads = ("pooling", "questions.client_factors.window", "questions.client_factors.factors")
needs = ()
tables = ("factors", "categories", "leave_one_out")

MODEL = "factors"
UNKNOWN = "unknown"
ASSUMED_CORRELATION = 0.5
_KEYS = ("factor", "category", "reversed", "alliance_rater", "factor_rater", "same_rater", "window")


def estimate(site: SiteData, options: Mapping[str, Any], constants: Mapping[str, Any]) -> SiteSummary:
    """Return the correlation of every client factor with the early alliance at one site, with their covariances.

    A factor is a column of the clients table, ``<instrument>.<scale>`` at intake, or ``intake_severity`` (as sent with clients, else the
    outcome instrument at intake, higher is worse). The sign of reversed factors is turned.

    Parameters
    ----------
    site : SiteData
    options : mapping
        The keys of ``estimate_reads``.
    constants : mapping
        Not used.
    """
    if site.published is not None:
        rows, vcov, counts, facts = _from_published(site.published, options)
    else:
        rows, vcov, counts, facts = _from_rows(site, options)
    return SiteSummary(
        site=site.site,
        label=site.label,
        question="client_factors",
        n=counts,
        facts=facts,
        estimates=pd.DataFrame(rows),
        vcov=vcov,
    )


def _factors(options: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    factors = options["questions"]["client_factors"]["factors"]
    return {name: factors[name] for name in sorted(factors)}


def _keys(factor: str, content: Mapping[str, Any], alliance_rater: str, factor_rater: str, window: str) -> dict[str, Any]:
    known = bool(factor_rater)
    return {
        "model": MODEL,
        "parameter": factor,
        "level": "client",
        "factor": factor,
        "category": content["category"],
        "reversed": "yes" if content.get("reversed") else "no",
        "alliance_rater": alliance_rater,
        "factor_rater": factor_rater or UNKNOWN,
        "same_rater": ("yes" if factor_rater == alliance_rater else "no") if known else UNKNOWN,
        "window": window,
    }


def _from_rows(
    site: SiteData, options: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], pd.DataFrame, dict[str, int | None], dict[str, Any]]:
    window = options["questions"]["client_factors"]["window"]
    factors = _factors(options)
    alliance = measure(site, {"construct": "alliance", "window": window}, options)
    measures = {factor: measure(site, factor_definition(factor), options) for factor in factors}
    own = set(site.clients["client_no"].dropna().astype("int64")) if len(site.clients) else set()
    clients = pd.Index(sorted(own | set(alliance.values.index)), dtype="int64")
    codes, known = therapist_codes(clients, site.clients, site.scores)
    x = np.full((len(clients), len(factors)), np.nan)
    late = {}
    for column, (factor, found) in enumerate(measures.items()):
        turned = -found.values if factors[factor].get("reversed") else found.values
        violating = order_violations(found, alliance)
        late[factor] = len(violating)
        x[:, column] = turned.drop(violating, errors="ignore").reindex(clients).to_numpy(dtype=float)
    y = np.tile(alliance.values.reindex(clients).to_numpy(dtype=float)[:, None], (1, len(factors)))
    result = correlations(x, y, codes if known else None, min_rows=options["pooling"]["min_clients"])
    used = np.isfinite(x) & np.isfinite(y)
    ratings = alliance.times["n_sessions"].reindex(clients).fillna(0).to_numpy() if len(alliance.times) else np.zeros(len(clients))
    rows = []
    for position, (factor, content) in enumerate(factors.items()):
        found = measures[factor]
        fields = row_fields(result, position, known)
        missing = alliance.reason or found.reason
        if missing:
            fields |= {"reason": f"not estimable: {missing}"}
        fields["share_missing"] = 1 - fields["n_clients"] / len(clients) if len(clients) else None
        fields["n_sessions"] = int(ratings[used[:, position]].sum())
        rows.append({**_keys(factor, content, options["alliance"]["rater"], found.rater, window), **fields})
    facts = {
        "alliance": alliance.source if not alliance.reason else "",
        "sources": {factor: found.source for factor, found in measures.items() if not found.reason},
        "left_out_measured_after_alliance": late,
        "counts_by_category": _category_counts(factors, result, used, codes if known else None, ratings),
        "reason": f"not estimable: {alliance.reason}" if alliance.reason else "",
    }
    counts = {"clients": len(clients), "therapists": len(np.unique(codes)) if known else None, "sessions": alliance.n_sessions}
    return rows, _vcov(list(factors), result), counts, facts


def _vcov(names: Sequence[str], result: Correlations) -> pd.DataFrame:
    """Return the covariances of the correlations (of r, not of Fisher's z)."""
    slope = 1 - result.r**2
    matrix = result.vcov_z() * np.outer(slope, slope)
    rows = [
        {"model": MODEL, "parameter1": names[i], "parameter2": names[j], "cov": float(matrix[i, j])}
        for i, j in combinations_with_replacement(range(len(names)), 2)
        if np.isfinite(matrix[i, j])
    ]
    return pd.DataFrame(rows, columns=["model", "parameter1", "parameter2", "cov"])


def _contrast(first: str, second: str) -> str:
    return f"{first} - {second}"


def _category_counts(
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
        _contrast(first, second): of[first] + of[second] for first, second in combinations(of, 2) if of[first] and of[second]
    }
    counts = {}
    for name, positions in chosen.items():
        any_of = used[:, positions].any(axis=1)
        counts[name] = {"clients": int(any_of.sum()), "sessions": int(ratings[any_of].sum())}
        if codes is not None:
            counts[name]["therapists"] = len(np.unique(codes[any_of]))
    return counts


def _from_published(
    published: Published, options: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], pd.DataFrame, dict[str, int | None], dict[str, Any]]:
    window = options["questions"]["client_factors"]["window"]
    matrix = published_correlations(published)
    sent: dict[frozenset[str], tuple[float, Any]] = {
        frozenset((row.var1, row.var2)): (row.r, row.n) for row in matrix.itertuples(index=False)
    }
    own = published.effects
    direct = {row.parameter: row for row in own[own["question"].eq("client_factors")].itertuples(index=False)}
    rows, values = [], {}
    for factor, content in _factors(options).items():
        sign = -1.0 if content.get("reversed") else 1.0
        keys = _keys(factor, content, options["alliance"]["rater"], "", window)
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
        {"model": MODEL, "parameter1": first, "parameter2": second, "cov": _published_covariance(first, second, values, sent)}
        for position, first in enumerate(values)
        for second in list(values)[position:]
    ]
    largest = max((content[2] for content in values.values()), default=0)
    return rows, pd.DataFrame(covariances, columns=["model", "parameter1", "parameter2", "cov"]), {"clients": largest}, {"reason": ""}


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


def pool(summaries: list[SiteSummary], options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables ``factors``, ``categories`` and ``leave_one_out``; see the results dictionary.

    Parameters
    ----------
    summaries : list of SiteSummary
    options : mapping
        The keys of ``pool_reads``.
    tables : mapping
        Not used.
    """
    pooling = options["pooling"]
    scale = effects.pooling_scale(pooling)
    summaries = sorted(summaries, key=lambda one: one.site)
    gathered = effects.scaled(effects.gather(summaries), scale) if summaries else pd.DataFrame()
    if gathered.empty:
        factors = left_out = pd.DataFrame()
    else:
        factors, left_out = _factor_tables(gathered, summaries, scale, pooling)
    categories, categories_left_out = _category_tables(summaries, gathered, options, scale)
    return {
        "factors": finish(factors, "client_factors", "factors"),
        "categories": finish(categories, "client_factors", "categories"),
        "leave_one_out": finish(effects.stack(left_out, categories_left_out), "client_factors", "leave_one_out"),
    }


def _factor_tables(
    gathered: pd.DataFrame, summaries: Sequence[SiteSummary], scale: str, pooling: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return site, pooled and leave-one-out rows; sites are pooled whoever rated the factor, and the row says who did."""
    rater = gathered.groupby("factor")[["factor_rater", "same_rater"]].agg(_agreed)
    merged = gathered.assign(**{name: gathered["factor"].map(rater[name]) for name in rater})
    keys = [*_KEYS, "estimate_type"]
    pooled = effects.pooled_rows(merged, keys, scale, pooling)
    rows = effects.with_sites(pooled, gathered, summaries, keys, scale, pooling)
    left_out = effects.leave_one_out_rows(merged, ["factor", "category", "estimate_type"], scale, pooling)
    return rows, left_out


def _agreed(values: pd.Series) -> str:
    """Return what all sites that know it agree on, ``unknown`` where none knows, ``mixed`` where they differ."""
    known = sorted(set(values) - {UNKNOWN})
    return known[0] if len(known) == 1 else UNKNOWN if not known else "mixed"


def _site_means(summary: SiteSummary, categories: Sequence[str], scale: str) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return one site's estimated correlations, the weights of category means, and the covariance on a scale.

    The mean of a category at a site weighs its factors equally; its variance comes from the covariance of the correlations, which share
    clients and the alliance score.
    """
    usable = summary.estimates[summary.estimates["status"].isin(WITH_NUMBERS)].reset_index(drop=True)
    names = list(usable["parameter"])
    place = {name: position for position, name in enumerate(names)}
    vcov = np.zeros((len(names), len(names)))
    for row in summary.vcov.itertuples(index=False):
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


def _category_tables(
    summaries: Sequence[SiteSummary], gathered: pd.DataFrame, options: Mapping[str, Any], scale: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of category means and contrasts, and the means without each site in turn.

    The factors of a category are first combined within each site, then sites are pooled. A contrast is the difference of two pooled
    means on the scale of r.
    """
    pooling = options["pooling"]
    categories = sorted({content["category"] for content in _factors(options).values()})
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
            differences.append(_category_effect(summary, _contrast(first, second), "correlation_contrast", both, numbers))
    keys = ["category", "estimate_type"]
    rows, left_out = [], pd.DataFrame()
    if means:
        counts = dict.fromkeys(("n_sessions", "n_clients", "n_therapists"), "Int64")
        means, differences = (pd.DataFrame(content).astype(counts) for content in (means, differences or means[:0]))
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
    row = {"category": _contrast(*pair), "estimate_type": "correlation_contrast", "site": POOLED, "scale": "identity"}
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


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    factors = tables["factors"]
    sites = factors[factors["site"].ne(POOLED) & factors["status"].isin(WITH_NUMBERS)]
    if sites.empty:
        return [Sentence("Client factors could not be related to the alliance: no site has both.")]
    window = options["questions"]["client_factors"]["window"]
    turned = sorted(set(sites.loc[sites["reversed"].eq("yes"), "factor"]))
    sentences = [
        Sentence(
            f"{sites['factor'].nunique()} client factors at intake were correlated with the alliance in window {window} at "
            f"{sites['site'].nunique()} sites, each in the category of the review"
            + (f"; the sign of {', '.join(turned)} was turned, as higher means worse." if turned else "."),
            ("horvath_luborsky_1993",),
        )
    ]
    sentences += cluster_sentences(sites["method"])
    pooled = factors["site"].eq(POOLED) & factors["status"].isin(WITH_NUMBERS)
    if pooled.any():
        sentences.append(pooling_sentence(options["pooling"]))
        sentences.append(
            Sentence(
                "The mean of a category is the mean of its factors within each site, its variance from the covariance of their "
                "correlations, which share clients; then sites are pooled. Differences of categories know that the same clients stand in "
                "both. The mean weighted by clients is given as in the 1991 meta-analysis, without a standard error.",
                ("horvath_symonds_1991",),
            )
        )
    if sites["method"].eq("published_n").any():
        sentences.append(
            Sentence(
                "Where a site published correlations of factors with the alliance but not those among the factors, two of them were taken "
                f"to correlate {ASSUMED_CORRELATION:g} (convention).",
                ("olkin_siotani_1976",),
            )
        )
    return sentences
