"""From the site summaries of alliance and outcome to its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import contract, effects
from alliance.questions.alliance_outcome.levels import HEADLINE
from alliance.questions.alliance_outcome.measures import FORMS, PREFERRED
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.sentences import Sentence, cluster_sentences, pooling_sentence
from alliance.questions.summary import SiteSummary
from alliance.statistics.distributions import critical_value

EFFECT_KEYS = [*contract.EFFECT_KEYS, "estimate_type"]
CONTRAST_KEYS = {
    "raters": [
        "outcome_instrument",
        "outcome_scale",
        "timepoint",
        "form",
        "window",
        "pair",
        "alliance_rater",
        "outcome_rater",
        "same_rater",
        "contrast",
        "estimate_type",
    ],
    "timing": ["alliance_rater", "outcome_rater", "form", "sessions", "phase", "window", "same_rater", "contrast", "estimate_type"],
    "moderators": ["moderator", "where", "form", "pair", "group", "contrast", "same_rater", "estimate_type"],
    "levels": ["explained", "part", "contrast", "same_rater", "estimate_type"],
}
POWER = 0.8
FORM_WORDS = {
    "ancova": "partial correlation given the intake level",
    "zero_order": "simple correlation",
    "residual_gain": "correlation with the residual gain",
    "change": "correlation with the change from intake",
}
AS_ESTIMATED = "as_estimated"
CODING_WORDS = {
    "zero": "counted as zero, as the 1991 meta-analysis had to count effects that were reported as not significant only",
    "dropped": "left out",
    "imputed": "taken as known only not to be significant (censored likelihood)",
}
ALL = "(all)"
GAIN = "mean gain of the site"
MIN_ALIKE = 4
NOTHING = "not estimable: needs the ratings of single clients that are compared here; the site sent none"


def correlation_scale(options: Mapping[str, Any]) -> str:
    """Return the scale on which correlations are pooled."""
    return "fisher_z" if options["pooling"]["metric"] == "fisher_z" else "identity"


def scaled(gathered: pd.DataFrame, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return effects with ``y, v`` and their ``scale``: correlations on the scale of pooling, everything else as it is."""
    of_r = gathered["estimate_type"].isin((*FORMS.values(), "semipartial_correlation"))
    parts = [
        effects.scaled(gathered[chosen], scale).assign(scale=scale)
        for chosen, scale in ((of_r, correlation_scale(options)), (~of_r, "identity"))
        if chosen.any()
    ]
    return pd.concat(parts).sort_index()


def rows_by_scale(
    chosen: pd.DataFrame,
    keys: Sequence[str],
    summaries: Sequence[SiteSummary],
    options: Mapping[str, Any],
    nothing: str = NOTHING,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the site rows (with those of absent sites) and the pooled rows of effects, each on its scale.

    ``nothing`` is the reason of a site that takes part but has none of these effects.
    """
    pooling = options["pooling"]
    sites, pooled = [], []
    for scale, part in scaled(chosen, options).groupby("scale", sort=True):
        together = effects.pooled_rows(part, list(keys), scale, pooling)
        groups = together[list(keys)]
        sites += [
            effects.site_rows(part, scale, pooling["level"]),
            effects.absent_site_rows(summaries, groups, scale),
            _without_rows(chosen, summaries, groups, scale, nothing),
        ]
        pooled.append(together)
    return effects.stack(*sites), effects.stack(*pooled)


def _without_rows(chosen: pd.DataFrame, summaries: Sequence[SiteSummary], groups: pd.DataFrame, scale: str, reason: str) -> pd.DataFrame:
    """Return a not-estimable row for every key and every site that takes part but has nothing of this kind."""
    present = set(chosen["site"])
    frames = [
        groups.assign(site=one.site, status="not_estimable", reason=reason, scale=scale, method="none", n_sites=0)
        for one in summaries
        if one.status == "ok" and one.site not in present
    ]
    return pd.concat(frames, ignore_index=True) if frames and len(groups) else pd.DataFrame()


def tables_of(
    gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    """Return all tables of the question, not yet in their final form."""
    names = ("effects", *CONTRAST_KEYS, "missing")
    models = {name: gathered[gathered["model"].eq(name)] if len(gathered) else gathered for name in names}
    one_stage = tables.get("one_stage", pd.DataFrame())
    found = dict.fromkeys(
        ("site_effects", "pooled", "levels", "moderators", "raters", "timing", "eligibility", "leave_one_out", "influence", "missing"),
        pd.DataFrame(),
    )
    if len(models["effects"]):
        found |= _effect_tables(models["effects"], summaries, options, one_stage)
    for name, keys in CONTRAST_KEYS.items():
        if len(models[name]):
            sites, pooled = rows_by_scale(models[name], keys, summaries, options)
            if name == "moderators":
                pooled = effects.stack(pooled, between_sites(models["effects"], summaries, options))
                bound = options["questions"]["alliance_outcome"]["equivalence_bound"]
                sites, pooled = (with_equivalence(rows, bound, options["pooling"]) for rows in (sites, pooled))
            if name == "levels":
                pooled = effects.stack(_with_one_stage(pooled, one_stage), between_site_part(summaries, options))
            found[name] = effects.stack(sites, pooled)
    if len(models["missing"]):
        found["missing"] = _missing(models["missing"], summaries, options)
    found["eligibility"] = eligibility(models["effects"], summaries, options)
    return found


def _effect_tables(
    chosen: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any], one_stage: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    pooling, scale = options["pooling"], correlation_scale(options)
    numbered = scaled(chosen, options)
    sites = effects.site_rows(numbered, scale, pooling["level"])
    sites = sites.assign(detectable_r=detectable(sites, scale, pooling["level"]))
    pooled = effects.pooled_rows(numbered, EFFECT_KEYS, scale, pooling)
    absent = effects.absent_site_rows(summaries, pooled.loc[pooled["headline"].eq("yes"), EFFECT_KEYS], scale)
    headline = numbered[numbered["headline"].eq("yes")]
    main = pooled[pooled["headline"].eq("yes")]
    pooled, coded = _headline_coding(
        pooled, coded_rows(headline, _first_keys(main), options), options["questions"]["alliance_outcome"]["coding"]
    )
    more = [
        _all_outcomes(numbered, summaries, options),
        coded,
        _negative_share(headline, main, options),
        _one_stage_headline(main, one_stage),
    ]
    preferred = numbered[numbered["alliance_instrument"].eq(PREFERRED) & numbered["outcome_instrument"].eq(PREFERRED)]
    return {
        "site_effects": effects.stack(sites, absent),
        "pooled": effects.stack(*(part.assign(coding=part.get("coding", AS_ESTIMATED)) for part in (pooled, *more) if len(part))),
        "leave_one_out": effects.leave_one_out_rows(preferred, EFFECT_KEYS, scale, pooling),
        "influence": _influence(headline, scale, options),
    }


def _missing(chosen: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return patterns of missing values (pooled as logits) and the imputed headline, by site and pooled."""
    pooling = options["pooling"]
    parts = []
    for kind, keys, scale in (
        (chosen["estimate_type"].eq("share"), ["pattern", "same_rater", "estimate_type"], "logit"),
        (chosen["estimate_type"].ne("share"), ["delta", "pattern", "same_rater", "estimate_type"], correlation_scale(options)),
    ):
        numbered = effects.scaled(chosen[kind], scale)
        pooled = effects.pooled_rows(numbered, keys, scale, pooling)
        parts += [effects.site_rows(numbered, scale, pooling["level"]), pooled, effects.absent_site_rows(summaries, pooled[keys], scale)]
    return effects.stack(*parts)


def _first_keys(rows: pd.DataFrame) -> dict[str, Any]:
    return {key: rows.iloc[0][key] for key in EFFECT_KEYS} if len(rows) else {}


def _all_outcomes(numbered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the headline alliance with all outcomes of a site at once: three levels, and the same mean with a robust error."""
    from alliance.statistics.multilevel_meta import cluster_robust, three_level

    pooling, scale = options["pooling"], correlation_scale(options)
    main = numbered[numbered["headline"].eq("yes")]
    if main.empty:
        return pd.DataFrame()
    keys = _first_keys(main)
    same = ["alliance_instrument", "alliance_scale", "alliance_rater", "window", "timepoint", "form"]
    chosen = numbered[(numbered[same] == pd.Series({key: keys[key] for key in same})).all(axis=1)]
    chosen = chosen[chosen["outcome_instrument"].ne(PREFERRED) & chosen["y"].notna() & chosen["v"].notna()].reset_index(drop=True)
    every = {**keys, "outcome_instrument": ALL, "outcome_scale": ALL, "outcome_rater": ALL, "same_rater": "mixed", "headline": "no"}
    common = {**every, "site": POOLED, "scale": scale, "n_sites": chosen["site"].nunique()}
    if chosen["site"].nunique() < pooling["min_sites"]:
        reason = effects.too_few_sites(chosen["site"].nunique(), pooling)
        return pd.DataFrame([{**common, "method": "none", "status": "not_estimable", "reason": reason}])
    fit = three_level(chosen["y"], _joint_covariance(chosen, summaries, scale), chosen["site"], level=pooling["level"])
    robust = cluster_robust(fit, level=pooling["level"]).iloc[0]
    flagged = int(chosen["status"].eq("flagged").sum())
    caution = f"{flagged} of {len(chosen)} site estimates are flagged (see their rows)" if flagged else ""
    counts = {
        "n_clients": chosen.groupby("site")["n_clients"].max().sum(),
        "n_therapists": chosen.groupby("site")["n_therapists"].max().sum() if chosen["n_therapists"].notna().all() else None,
    }
    rows = []
    for method, found in (("three_level_reml", vars(fit)), ("cluster_robust_cr2", dict(robust))):
        estimated = found["status"] != "not_estimable"
        reason = "; ".join(part for part in (found["reason"], caution) if part)
        row = {**common, **counts, "method": method}
        if estimated:
            row |= {name: effects.natural(np.float64(found[name]), scale) for name in ("estimate", "ci_low", "ci_high")}
            row |= {"std_error": found["std_error"], "p_value": found["p_value"] if row["n_sites"] >= pooling["headline_sites"] else None}
        if estimated and method == "three_level_reml":
            row |= {"tau2": fit.sigma2_site, "tau2_low": fit.sigma2_site_low, "tau2_high": fit.sigma2_site_high, "i2": _hundredth(fit.i2)}
            row |= {"q": fit.q, "q_df": fit.q_df, "q_p_value": fit.q_p}
            if fit.prediction_low is not None:
                row |= {
                    f"prediction_{end}": effects.natural(np.float64(getattr(fit, f"prediction_{end}")), scale) for end in ("low", "high")
                }
        status = "flagged" if estimated and reason else found["status"]
        rows.append({**row, "status": status, "reason": reason if estimated else f"not estimable: {found['reason']}"})
    return pd.DataFrame(rows)


def _hundredth(value: float | None) -> float | None:
    return None if value is None else value / 100


def _joint_covariance(chosen: pd.DataFrame, summaries: Sequence[SiteSummary], scale: str) -> np.ndarray:
    """Return the sampling covariance of effects: what the summaries know of the covariances within a site, zero between sites."""
    covariance = np.diag(chosen["v"].to_numpy(dtype=float))
    r = chosen["estimate"].to_numpy(dtype=float)
    slope = 1 / (1 - r**2) if scale == "fisher_z" else np.ones_like(r)
    place = {key: position for position, key in enumerate(zip(chosen["site"], chosen["parameter"]))}
    for summary in summaries:
        own = set(chosen.loc[chosen["site"].eq(summary.site), "parameter"])
        known = summary.vcov[summary.vcov["parameter1"].isin(own) & summary.vcov["parameter2"].isin(own)]
        for row in known.itertuples(index=False):
            i, j = place[summary.site, row.parameter1], place[summary.site, row.parameter2]
            if i != j:
                covariance[i, j] = covariance[j, i] = row.cov * slope[i] * slope[j]
    return covariance


def coded_rows(headline: pd.DataFrame, keys: Mapping[str, Any], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return one effect with site effects that are not significant coded as zero, dropped, and imputed (claim B2).

    Parameters
    ----------
    headline : DataFrame
        The effect at every site, from :func:`scaled`.
    keys : mapping
        Columns of every row.
    options : mapping
    """
    from alliance.statistics.distributions import two_sided_p
    from alliance.statistics.nonsignificant import pool_with_nonsignificant

    pooling, scale = options["pooling"], correlation_scale(options)
    used = headline[headline["y"].notna() & headline["v"].notna()]
    if len(used) < pooling["min_sites"]:
        return pd.DataFrame()
    alpha = options["questions"]["alliance_outcome"]["nonsignificant_p"]
    hidden = two_sided_p(used["y"] / np.sqrt(used["v"])) > alpha
    found = pool_with_nonsignificant(
        used["y"], used["v"], hidden, alpha=alpha, tau2=pooling["tau2"], interval=pooling["interval"], level=pooling["level"]
    )
    note = f"{int(hidden.sum())} of {len(used)} site effects are not significant at {alpha:g} (z test)"
    rows = []
    for one in found.to_dict("records"):
        estimated = one["status"] != "not_estimable"
        method = "censored_likelihood" if one["treatment"] == "imputed" else effects.BETWEEN_SITES[pooling["tau2"]]
        counted = used if one["treatment"] != "dropped" else used[~hidden]
        row = {
            **keys,
            "headline": "no",
            "coding": one["treatment"],
            "site": POOLED,
            "scale": scale,
            "n_sites": one["k"],
            "n_clients": counted["n_clients"].sum() if counted["n_clients"].notna().all() else None,
            "method": method if estimated else "none",
            "status": "flagged" if estimated else "not_estimable",
            "reason": "; ".join(part for part in (note, one["reason"]) if part) if estimated else f"not estimable: {one['reason']}",
        }
        if estimated:
            row |= {name: effects.natural(np.float64(one[name]), scale) for name in ("estimate", "ci_low", "ci_high")}
            row |= {"std_error": one["std_error"], "tau2": one["tau2"]}
        rows.append(row)
    return pd.DataFrame(rows)


def _headline_coding(pooled: pd.DataFrame, coded: pd.DataFrame, coding: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return pooled rows and rows of other codings with the headline moved to the coding of the configuration.

    Where no coding could be tried (too few sites), the headline stays where it is and tells why.
    """
    if coding == AS_ESTIMATED or coded.empty:
        return pooled, coded
    chosen = coded["coding"].eq(coding)
    return pooled.assign(headline=pooled["headline"].replace("yes", "no")), coded.assign(headline=np.where(chosen, "yes", "no"))


def _negative_share(headline: pd.DataFrame, main: pd.DataFrame, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the share of sites whose estimate is below zero (claim C9)."""
    used = headline[headline["y"].notna()]
    if used.empty:
        return pd.DataFrame()
    from alliance.statistics.change import wilson

    share, k = float((used["y"] < 0).mean()), len(used)
    low, high = wilson(share, k, critical_value(options["pooling"]["level"]))
    row = {**_first_keys(main), "headline": "no", "estimate_type": "share", "site": POOLED, "scale": "identity", "method": "counted"}
    numbers = {"estimate": share, "ci_low": float(low), "ci_high": float(high), "n_sites": k, "status": "estimated", "reason": ""}
    return pd.DataFrame([{**row, **numbers}])


def _one_stage_headline(main: pd.DataFrame, one_stage: pd.DataFrame) -> pd.DataFrame:
    if one_stage.empty or main.empty:
        return pd.DataFrame()
    chosen = one_stage[one_stage["explained"].eq(HEADLINE)]
    keys = {**_first_keys(main), "headline": "no"}
    return chosen.drop(columns=["explained", "part", "contrast", "same_rater", "estimate_type"]).assign(**keys)


def _with_one_stage(pooled: pd.DataFrame, one_stage: pd.DataFrame) -> pd.DataFrame:
    """Return pooled rows with those over all rows at once beside them, or in place of them where no pooling of sites exists.

    Shares of variance have no standard error that could be pooled.
    """
    rows = one_stage[one_stage["explained"].ne(HEADLINE)] if len(one_stage) else one_stage
    kinds = ("variance_share", "reliability_of_means")
    if len(rows):
        pooled = pooled[~pooled["estimate_type"].isin(kinds)]
    else:
        reason = "not estimable: needs the rows of several sites; shares of variance are not pooled from sites"
        pooled = pooled.assign(reason=pooled["reason"].where(~pooled["estimate_type"].isin(kinds), reason))
    return effects.stack(pooled, rows)


def between_site_part(summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return how the mean gain of sites goes with their mean alliance, over the sites that measured both alike.

    Gains are in SD at intake, the alliance in SD of clients within sites (their mean). Scores of other instruments cannot be compared, so
    the largest set of sites with the same measures is taken.
    """
    from alliance.statistics.meta_regression import meta_regression

    pooling = options["pooling"]
    means = [one.facts["means"] for one in summaries if one.status == "ok" and one.facts.get("means")]
    sets: dict[str, list[Mapping[str, Any]]] = {}
    for one in means:
        sets.setdefault(one["measures"], []).append(one)
    alike = max((sets[name] for name in sorted(sets)), key=len, default=[])
    row = {
        "explained": GAIN,
        "part": "between_site",
        "contrast": "",
        "same_rater": "yes" if options["alliance"]["rater"] == options["outcome"]["rater"] else "no",
        "estimate_type": "slope_standardised",
        "site": POOLED,
        "scale": "identity",
        "n_sites": len(alike),
        "n_clients": sum(one["n"] for one in alike),
    }
    if len(alike) < MIN_ALIKE:
        reason = f"needs at least {MIN_ALIKE} sites that measured alliance and outcome with the same instruments; has {len(alike)}"
        return pd.DataFrame([{**row, "method": "none", "status": "not_estimable", "reason": f"not estimable: {reason}"}])
    spread = np.mean([one["alliance_sd"] for one in alike])
    found = meta_regression(
        [one["gain"] for one in alike],
        [one["gain_variance"] for one in alike],
        np.array([one["alliance"] for one in alike]) / spread,
        ["alliance"],
        tau2=pooling["tau2"],
        interval=pooling["interval"],
        level=pooling["level"],
    )
    if found.status == "not_estimable":
        return pd.DataFrame([{**row, "method": "none", "status": "not_estimable", "reason": f"not estimable: {found.reason}"}])
    one = found.coefficients.iloc[1]
    row |= {key: one[key] for key in ("estimate", "std_error", "ci_low", "ci_high")}
    row |= {"tau2": found.tau2, "tau2_low": found.tau2_low, "tau2_high": found.tau2_high, "i2": _hundredth(found.i2)}
    row |= {"p_value": one["p_value"] if found.k >= pooling["headline_sites"] else None}
    return pd.DataFrame([{**row, "method": "meta_regression", "status": found.status, "reason": found.reason}])


def _influence(headline: pd.DataFrame, scale: str, options: Mapping[str, Any]) -> pd.DataFrame:
    from alliance.statistics.meta_analysis import influence

    pooling = options["pooling"]
    used = headline[headline["y"].notna() & headline["v"].notna()].reset_index(drop=True)
    if used.empty:
        return pd.DataFrame()
    found = influence(used["y"], used["v"], tau2=pooling["tau2"], interval=pooling["interval"], level=pooling["level"])
    names = {
        "rstudent": "rstudent",
        "dffits": "dffits",
        "cook_d": "cook_distance",
        "cov_r": "covariance_ratio",
        "tau2_del": "tau2_without",
        "qe_del": "q_without",
        "hat": "hat",
        "weight": "weight",
    }
    measures = found.rename(columns=names)[list(names.values())].assign(weight=found["weight"] / 100)
    estimated = found["status"].ne("not_estimable")
    rows = used[[*EFFECT_KEYS, "n_clients", "n_therapists", "n_sessions", "share_missing"]].assign(
        site=POOLED, scale=scale, n_sites=len(used) - 1
    )
    columns = ["estimate", "std_error", "ci_low", "ci_high"]
    left_out = effects.leave_one_out_rows(used, EFFECT_KEYS, scale, pooling).set_index("site_left_out")
    left_out = left_out.reindex(index=used["site"], columns=columns)
    numbers = {name: left_out[name].to_numpy() for name in columns}
    judged = estimated & np.isfinite(numbers["estimate"].astype(float))
    rows = rows.assign(
        **{name: np.where(judged, values.astype(float), np.nan) for name, values in numbers.items()},
        **{name: measures[name].where(judged) for name in measures},
        site_left_out=used["site"],
        influential=np.where(judged, np.where(found["influential"], "yes", "no"), ""),
        method=np.where(judged, effects.BETWEEN_SITES[pooling["tau2"]], "none"),
        status=np.where(judged, found["status"], "not_estimable"),
        reason=np.where(judged, found["reason"], [f"not estimable: {text or 'too few sites are left'}" for text in found["reason"]]),
    )
    return rows


def between_sites(chosen: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return meta-regressions of the headline on what the sites are like in each moderator, kept apart from effects within sites."""
    pooling, scale = options["pooling"], correlation_scale(options)
    numbered = scaled(chosen, options) if len(chosen) else chosen
    used = numbered[numbered["headline"].eq("yes") & numbered["y"].notna() & numbered["v"].notna()] if len(numbered) else numbered
    means = {summary.site: summary.facts.get("moderators", {}) for summary in summaries}
    rows = []
    for name, content in options["questions"]["alliance_outcome"]["moderators"].items():
        groups = sorted({group for one in means.values() for group in one.get(name, {})})
        # With two groups the second share says nothing new.
        groups = groups[: len(groups) - 1] if content["kind"] == "category" and len(groups) > 1 else groups
        for group in groups:
            known = used[np.array([bool(means.get(site, {}).get(name)) for site in used["site"]], dtype=bool)]
            values = np.array([means[site][name].get(group, 0.0) for site in known["site"]], dtype=float)
            label = f"share of {group}" if content["kind"] == "category" else f"mean {content['kind']} {content['variable']}"
            row = {
                "moderator": name,
                "where": "between_sites",
                "form": options["outcome"]["form"],
                "pair": "",
                "group": label,
                "contrast": "",
                "same_rater": "yes" if options["alliance"]["rater"] == options["outcome"]["rater"] else "no",
                "estimate_type": "slope_on_moderator",
                "scale": scale,
            }
            rows.append(row | slope_over_sites(known, values, pooling))
    return pd.DataFrame(rows)


def slope_over_sites(known: pd.DataFrame, values: Sequence[float], pooling: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a row that tells how site estimates change with one characteristic of sites.

    Parameters
    ----------
    known : DataFrame
        Site estimates with ``y``, ``v`` and ``n_clients``.
    values : sequence of float
        The characteristic of each site.
    pooling : mapping
        Section ``pooling`` of the configuration.
    """
    from alliance.statistics.meta_regression import meta_regression

    found = meta_regression(
        known["y"],
        known["v"],
        np.asarray(values, dtype=float),
        ["site"],
        tau2=pooling["tau2"],
        interval=pooling["interval"],
        level=pooling["level"],
    )
    clients = known["n_clients"].sum() if known["n_clients"].notna().all() else None
    row: dict[str, Any] = {"site": POOLED, "n_sites": found.k, "n_clients": clients}
    if found.status == "not_estimable":
        return row | {"method": "none", "status": "not_estimable", "reason": f"not estimable: {found.reason}"}
    one = found.coefficients.iloc[1]
    row |= {key: one[key] for key in ("estimate", "std_error", "ci_low", "ci_high")}
    row |= {"tau2": found.tau2, "tau2_low": found.tau2_low, "tau2_high": found.tau2_high, "i2": _hundredth(found.i2)}
    row |= {"p_value": one["p_value"] if found.k >= pooling["headline_sites"] else None}
    return row | {"method": "meta_regression", "status": found.status, "reason": found.reason}


def with_equivalence(rows: pd.DataFrame, bound: float, pooling: Mapping[str, Any]) -> pd.DataFrame:
    """Return rows of contrasts with the test that their difference is smaller than a bound.

    Parameters
    ----------
    rows : DataFrame
    bound : float
        Largest difference that counts as none, on the scale of the rows.
    pooling : mapping
        Section ``pooling`` of the configuration.
    """
    from alliance.statistics.equivalence import equivalence

    level = pooling["level"]
    tested = ("correlation_contrast", "interaction_standardised")
    filled = []
    for row in rows.to_dict("records"):
        if row.get("estimate_type") in tested and row.get("status") in WITH_NUMBERS and pd.notna(row.get("std_error")):
            df = _degrees_of_freedom(row, pooling)
            found = equivalence(row["estimate"], row["std_error"], (-bound, bound), df, level)
            row |= {"bound": bound, "p_equivalence": found.p_tost, "decision": found.decision}
        filled.append(row)
    return pd.DataFrame(filled)


def _degrees_of_freedom(row: Mapping[str, Any], pooling: Mapping[str, Any]) -> float | None:
    if row["site"] == POOLED:
        return None if pooling["interval"] == "z" else float(row["n_sites"]) - 1
    return float(row["n_therapists"]) - 1 if row["method"] == "cluster_jackknife" else None


def detectable(sites: pd.DataFrame, scale: str, level: float) -> np.ndarray:
    """Return the smallest true correlation that would be significant with 80 % power, given each standard error."""
    therapists = sites["n_therapists"].astype("float64").to_numpy()
    clustered = sites["method"].eq("cluster_jackknife").to_numpy() & (therapists > 1)
    df = np.where(clustered, therapists - 1, np.inf)
    size = (critical_value(level, df) + critical_value(2 * POWER - 1, df)) * sites["std_error"].to_numpy(dtype=float)
    return effects.natural(size, scale) if scale == "fisher_z" else np.minimum(size, 1.0)


CRITERIA = ("labelled_alliance", "time_lapse", "no_analog", "at_least_5_clients", "individual_treatment")


def eligibility(chosen: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the five criteria of the 1991 meta-analysis by site and effect, and the headline pooled over the sites that meet all."""
    if chosen.empty:
        return pd.DataFrame()
    form = options["outcome"]["form"]
    preferred = chosen[
        chosen["alliance_instrument"].eq(PREFERRED)
        & chosen["outcome_instrument"].eq(PREFERRED)
        & chosen["form"].eq(form)
        & chosen["status"].isin(WITH_NUMBERS)
    ]
    facts = {summary.site: summary.facts.get("site", {}) for summary in summaries}
    rows, meeting = [], []
    for effect in preferred.to_dict("records"):
        judged = _judged(effect, facts.get(effect["site"], {}))
        if effect["headline"] == "yes" and all(met for met, _ in judged.values()):
            meeting.append(effect["site"])
        known = [met for met, _ in judged.values()]
        reasons = "; ".join(f"{name}: {reason}" for name, (met, reason) in judged.items() if not met)
        judged["all"] = (False if False in known else None if None in known else True, reasons)
        rows += [_criterion_row(effect, name, met, reason) for name, (met, reason) in judged.items()]
    headline = preferred[preferred["headline"].eq("yes")]
    keys = ["alliance_rater", "window", "outcome_rater", "form", "same_rater", "estimate_type"]
    eligible = effects.pooled_rows(
        scaled(headline[headline["site"].isin(meeting)] if meeting else headline.iloc[:0], options) if meeting else _empty(headline),
        keys,
        correlation_scale(options),
        options["pooling"],
    )
    if eligible.empty and len(headline):
        first = headline.iloc[0]
        reason = "not estimable: no site is known to meet all five criteria; see the rows of the sites"
        eligible = pd.DataFrame(
            [
                {
                    **{key: first[key] for key in keys},
                    "site": POOLED,
                    "status": "not_estimable",
                    "reason": reason,
                    "method": "none",
                    "n_sites": 0,
                }
            ]
        ).assign(scale=correlation_scale(options))
    decision = f"met by {len(set(meeting))} of {headline['site'].nunique()} sites"
    return effects.stack(pd.DataFrame(rows), eligible.assign(criterion="all", decision=decision) if len(eligible) else eligible)


def _empty(template: pd.DataFrame) -> pd.DataFrame:
    return template.iloc[:0].assign(y=[], v=[])


def _judged(effect: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, tuple[bool | None, str]]:
    """Return for each criterion whether it is met (None: not known) and why not."""
    n = effect["n_clients"]
    design, treatment = str(facts.get("design", "")).lower(), str(facts.get("treatment_format", "")).lower()
    labelled = facts.get("labelled_alliance")
    return {
        "labelled_alliance": (labelled, "" if labelled else _unless(labelled, "the instrument is not listed as an alliance measure")),
        "time_lapse": (
            True if facts.get("dated") else None,
            "" if facts.get("dated") else "when alliance and outcome were measured is not known",
        ),
        "no_analog": (
            None if not design else "analog" not in design,
            "design is not stated in site.yaml" if not design else "an analog study" if "analog" in design else "",
        ),
        "at_least_5_clients": (
            None if pd.isna(n) else bool(n >= 5),
            "the number of clients is not known" if pd.isna(n) else f"{n} clients",
        ),
        "individual_treatment": (
            None if not treatment else treatment == "individual",
            "treatment_format is not stated in site.yaml" if not treatment else f"treatment is {treatment}",
        ),
    }


def _unless(value: bool | None, reason: str) -> str:
    return "which instrument was used is not known" if value is None else reason


def _criterion_row(effect: Mapping[str, Any], name: str, met: bool | None, reason: str) -> dict[str, Any]:
    row = {
        key: effect[key] for key in ("site", "alliance_rater", "window", "outcome_rater", "form", "same_rater", "n_clients", "n_therapists")
    }
    row |= {"criterion": name, "estimate_type": "criterion_met", "scale": "identity", "n_sites": 1}
    if met is None:
        return {**row, "decision": "not known", "status": "not_estimable", "reason": f"not estimable: {reason}", "method": "none"}
    return {
        **row,
        "decision": "met" if met else "not met",
        "estimate": float(met),
        "status": "estimated",
        "reason": "" if met else reason,
        "method": "counted",
    }


HEADLINE_METHODS = {
    "likelihood": "The headline also counts clients who lack the alliance or the outcome (full information maximum likelihood).",
    "mixed_model": "In the headline, clients of one therapist share a random intercept in a linear mixed model at each site.",
    "multiple_imputation": "The headline rests on imputed values where clients lack some.",
}


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    sites = tables["site_effects"]
    main = sites[sites["headline"].eq("yes") & sites["status"].isin(WITH_NUMBERS)]
    if main.empty:
        return [Sentence("Alliance and outcome could not be related: no site has both for enough clients.")]
    alliance, outcome, pooling = options["alliance"], options["outcome"], options["pooling"]
    question = options["questions"]["alliance_outcome"]
    held = question["headline"]["covariates"]
    sentences = [
        Sentence(
            f"The {alliance['rater']}-rated alliance in window {alliance['window']} was related to the {outcome['rater']}-rated outcome at "
            f"{outcome['timepoint'].replace('_', '-')} ({FORM_WORDS[outcome['form']]}) at {main['site'].nunique()} sites, with the first "
            "instrument of the configuration that each site has; higher outcomes are better. Clients whose alliance was measured after "
            "the outcome were left out.",
            ("horvath_symonds_1991",),
        ),
        *([Sentence(f"Also held constant in the headline: {', '.join(held)}.")] if held else []),
        *[Sentence(text) for method, text in HEADLINE_METHODS.items() if main["method"].str.startswith(method).any()],
        *cluster_sentences(sites["method"]),
        pooling_sentence(pooling),
    ]
    if question["coding"] != AS_ESTIMATED:
        text = (
            f"In the pooled headline, site effects that are not significant (two-sided p above {question['nonsignificant_p']:g}) were "
            f"{CODING_WORDS[question['coding']]}."
        )
        sentences.append(Sentence(text, ("horvath_symonds_1991",) if question["coding"] == "zero" else ()))
    pooled = tables["pooled"]
    if pooled["method"].eq("cluster_robust_cr2").any():
        text = (
            "All outcomes of a site together were pooled in three levels, with the covariance of their correlations from the clients they "
            "share; the same mean has a standard error by CR2 with Satterthwaite's degrees of freedom."
        )
        sentences.append(Sentence(text, ("konstantopoulos_2011", "pustejovsky_tipton_2018")))
    if pooled["method"].eq("one_stage").any():
        text = (
            "Beside the two stages, one mixed model was fitted to the rows of all sites that share them, standardised within sites and "
            "freed of the intake level, with site intercepts, slopes that vary over sites, and therapists; it weighs clients, not sites."
        )
        sentences.append(Sentence(text, ("kuznetsova_2017",)))
    if tables["influence"]["status"].isin(WITH_NUMBERS).any():
        sentences.append(Sentence("Influence of single sites follows metafor.", ("viechtbauer_cheung_2010",)))
    if tables["levels"]["status"].isin(WITH_NUMBERS).any():
        mean = "sessions before each session" if question["within"]["client_mean"] == "prior" else "all sessions"
        text = (
            f"The alliance was split into what varies within clients (around the mean of {mean}), between clients of a therapist and "
            "between therapists of a site, by linear mixed models with Satterthwaite's degrees of freedom; an uncentred coefficient, which "
            "mixes these, is not reported."
        )
        sentences.append(Sentence(text, ("kuznetsova_2017",)))
    if tables["moderators"]["decision"].ne("").any():
        text = (
            f"A claim of no difference was tested by two one-sided tests against ±{question['equivalence_bound']:g}; moderators within "
            "sites and between sites are kept apart."
        )
        sentences.append(Sentence(text, ("schuirmann_1987",)))
    if tables["missing"]["method"].eq("multiple_imputation").any():
        text = (
            f"Missing values were imputed at least {question['imputation']['imputations']} times at each site from a joint normal model "
            "with therapists, using symptoms and attendance beside the variables of the analysis, and combined by Rubin's rules; nothing "
            "was carried forward."
        )
        sentences.append(Sentence(text, ("barnard_rubin_1999",)))
    return sentences
