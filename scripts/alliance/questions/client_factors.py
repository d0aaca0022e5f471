"""Client factors at intake and the early alliance, by category of the review (claims F1 to F4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS, finish
from alliance.questions.correlations import correlate, published_correlations, published_fields, row_fields, therapist_codes
from alliance.questions.sentences import Sentence, pooling_sentence
from alliance.questions.site_data import Published, SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.covariance import cluster_sums
from alliance.statistics.meta_analysis import n_weighted_mean
from alliance.variables.checks import CLIENTS_PREFIX, INTAKE_SEVERITY
from alliance.variables.client import Measure, measure, order_violations

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


def _factor_measure(site: SiteData, factor: str, options: Mapping[str, Any]) -> Measure:
    if "." in factor and not factor.startswith(CLIENTS_PREFIX):
        return measure(site, {"construct": factor, "timepoint": "intake"}, options)
    if factor == INTAKE_SEVERITY:
        return measure(site, {"construct": factor}, options)
    return measure(site, {"construct": factor if factor.startswith(CLIENTS_PREFIX) else CLIENTS_PREFIX + factor}, options)


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
    measures = {factor: _factor_measure(site, factor, options) for factor in factors}
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
    result = correlate(x, y, codes, known, options["pooling"]["min_clients"], "scores")
    rows = []
    for position, (factor, content) in enumerate(factors.items()):
        found = measures[factor]
        fields = row_fields(result, position, known)
        missing = alliance.reason or found.reason
        if missing:
            fields |= {"reason": f"not estimable: {missing}"}
        fields["share_missing"] = 1 - fields["n_clients"] / len(clients) if len(clients) else None
        used = np.isfinite(x[:, position]) & np.isfinite(y[:, position])
        ratings = alliance.times["n_sessions"].reindex(clients).to_numpy(dtype=float) if len(alliance.times) else np.zeros(len(clients))
        fields["n_sessions"] = int(np.nansum(np.where(used, ratings, 0.0)))
        rows.append({**_keys(factor, content, options["alliance"]["rater"], found.rater, window), **fields})
    facts = {
        "alliance": alliance.source if not alliance.reason else "",
        "sources": {factor: found.source for factor, found in measures.items() if not found.reason},
        "left_out_measured_after_alliance": late,
        "reason": f"not estimable: {alliance.reason}" if alliance.reason else "",
    }
    counts = {"clients": len(clients), "therapists": len(np.unique(codes)) if known else None, "sessions": alliance.n_sessions}
    return rows, _vcov(list(factors), result, codes), counts, facts


def _vcov(names: Sequence[str], result: Any, codes: np.ndarray) -> pd.DataFrame:
    """Return the covariances of the correlations.

    The variances are those of the single correlations; the correlation of two of them is that of their clients' influences, summed within
    therapists where both respect therapists.
    """
    rows = []
    estimated = [position for position in range(len(names)) if not result.reason[position]]
    if estimated:
        by_therapist = cluster_sums(result.influence, codes, int(codes.max()) + 1)
        for a, first in enumerate(estimated):
            for second in estimated[a:]:
                both = result.clustered[first] and result.clustered[second]
                scores = by_therapist if both else result.influence
                product = float(scores[:, first] @ scores[:, second])
                size = float(np.sqrt((scores[:, first] @ scores[:, first]) * (scores[:, second] @ scores[:, second])))
                error = float(np.sqrt(result.variance[first] * result.variance[second]))
                value = float(result.variance[first]) if first == second else product / size * error
                rows.append({"model": MODEL, "parameter1": names[first], "parameter2": names[second], "cov": value})
    return pd.DataFrame(rows, columns=["model", "parameter1", "parameter2", "cov"])


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
    scale = "fisher_z" if pooling["metric"] == "fisher_z" else "identity"
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
    rows = effects.stack(
        effects.site_rows(gathered, scale, pooling["level"]), pooled, effects.absent_site_rows(summaries, pooled[keys], scale)
    )
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
    categories = sorted({content["category"] for content in _factors(options).values()})
    contrasts = list(combinations(categories, 2))
    means, differences = [], []
    for summary in summaries:
        if summary.status != "ok":
            continue
        usable, weights, vcov = _site_means(summary, categories, scale)
        y = np.arctanh(usable["estimate"].to_numpy(dtype=float)) if scale == "fisher_z" else usable["estimate"].to_numpy(dtype=float)
        for position, category in enumerate(categories):
            here = usable[usable["category"].eq(category)]
            means.append(_category_effect(summary, category, "correlation_random_effects", here, weights[position], y, vcov, scale))
        _, _, natural = _site_means(summary, categories, "identity")
        for first, second in contrasts:
            a, b = categories.index(first), categories.index(second)
            here = usable[usable["category"].isin([first, second])]
            complete = bool(weights[a].any() and weights[b].any())
            weight = weights[a] - weights[b] if complete else np.zeros(len(usable))
            r = usable["estimate"].to_numpy(dtype=float)
            differences.append(
                _category_effect(summary, f"{first} - {second}", "correlation_contrast", here, weight, r, natural, "identity")
            )
    keys = ["category", "estimate_type"]
    pooling = options["pooling"]
    rows, left_out = [], []
    for frame, on in ((pd.DataFrame(means), scale), (pd.DataFrame(differences), "identity")):
        if frame.empty:
            continue
        frame = frame.astype(dict.fromkeys(("n_sessions", "n_clients", "n_therapists"), "Int64"))
        pooled = effects.pooled_rows(frame, keys, on, pooling)
        pooled["n_correlations"] = [
            int(frame.loc[frame["category"].eq(category) & frame["y"].notna(), "n_correlations"].sum()) for category in pooled["category"]
        ]
        rows += [effects.site_rows(frame, on, pooling["level"]), pooled, effects.absent_site_rows(summaries, pooled[keys], on)]
        if frame["estimate_type"].iloc[0] == "correlation_random_effects":
            left_out.append(effects.leave_one_out_rows(frame, keys, on, pooling).assign(factor=""))
    weighted = [_n_weighted(gathered, category, pooling) for category in categories]
    return effects.stack(*rows, pd.DataFrame(weighted)), effects.stack(*left_out)


def _category_effect(
    summary: SiteSummary,
    category: str,
    kind: str,
    here: pd.DataFrame,
    weight: np.ndarray,
    y: np.ndarray,
    vcov: np.ndarray,
    scale: str,
) -> dict[str, Any]:
    """Return one site's category mean or contrast as an effect with ``y`` and ``v``."""
    common = {"site": summary.site, "category": category, "estimate_type": kind, "n_correlations": len(here)}
    if not weight.any():
        reason = f"not estimable: needs a correlation in {category.replace(' - ', ' and in ')}; has none"
        absent = {"y": np.nan, "v": np.nan, "estimate": np.nan, "status": "not_estimable", "reason": reason, "method": "none"}
        return {**common, **absent, "n_sessions": pd.NA, "n_clients": pd.NA, "n_therapists": pd.NA, "share_missing": np.nan}
    mean = float(weight @ y)
    methods_here = set(here["method"])
    largest = {name: here[name].max() if here[name].notna().all() else pd.NA for name in ("n_sessions", "n_clients", "n_therapists")}
    return {
        **common,
        **largest,
        "y": mean,
        "v": float(weight @ vcov @ weight),
        "estimate": float(effects.natural(np.array(mean), scale)),
        "share_missing": here["share_missing"].mean(skipna=False),
        "method": methods_here.pop() if len(methods_here) == 1 else "independent",
        "status": "flagged" if here["status"].eq("flagged").any() else "estimated",
        "reason": "; ".join(sorted(set(here.loc[here["status"].eq("flagged"), "reason"]))),
    }


def _n_weighted(gathered: pd.DataFrame, category: str, pooling: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mean of all site x factor correlations of a category weighted by clients, as the 1991 meta-analysis took it."""
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
    n = here.groupby("site")["n_clients"].max()
    return {
        **row,
        "estimate": n_weighted_mean(here["estimate"], here["n_clients"].astype("float64")),
        "n_clients": int(n.sum()),
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
    if sites["method"].eq("cluster_robust").any():
        sentences.append(
            Sentence("Standard errors respect clients who share a therapist (sandwich, G / (G - 1), t with G - 1).", ("liang_zeger_1986",))
        )
    pooled = factors["site"].eq(POOLED) & factors["status"].isin(WITH_NUMBERS)
    if pooled.any():
        sentences.append(pooling_sentence(options["pooling"]))
        sentences.append(
            Sentence(
                "The mean of a category is the mean of its factors at each site, its variance from the covariance of their correlations, "
                "pooled over sites; the mean weighted by clients is given as in the 1991 meta-analysis.",
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
