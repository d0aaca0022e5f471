"""From the site summaries of alliance and outcome to its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.outcome_measures import FORMS, PREFERRED
from alliance.questions.summary import SiteSummary
from alliance.statistics.distributions import critical_value

EFFECT_KEYS = [
    "alliance_instrument",
    "alliance_scale",
    "alliance_rater",
    "window",
    "outcome_instrument",
    "outcome_scale",
    "outcome_rater",
    "timepoint",
    "form",
    "same_rater",
    "headline",
    "estimate_type",
]
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
    "levels": ["part", "contrast", "same_rater", "estimate_type"],
}
POWER = 0.8


def correlation_scale(options: Mapping[str, Any]) -> str:
    """Return the scale on which correlations are pooled."""
    return "fisher_z" if options["pooling"]["metric"] == "fisher_z" else "identity"


def scaled(gathered: pd.DataFrame, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return effects with ``y, v`` and their ``scale``: correlations on the scale of pooling, everything else as it is."""
    of_r = gathered["estimate_type"].isin(tuple(FORMS.values()))
    parts = [
        effects.scaled(gathered[chosen], scale).assign(scale=scale)
        for chosen, scale in ((of_r, correlation_scale(options)), (~of_r, "identity"))
        if chosen.any()
    ]
    return pd.concat(parts).sort_index()


def rows_by_scale(
    chosen: pd.DataFrame, keys: Sequence[str], summaries: Sequence[SiteSummary], options: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the site rows (with those of absent sites) and the pooled rows of effects, each on its scale."""
    pooling = options["pooling"]
    sites, pooled = [], []
    for scale, part in scaled(chosen, options).groupby("scale", sort=True):
        together = effects.pooled_rows(part, list(keys), scale, pooling)
        sites += [effects.site_rows(part, scale, pooling["level"]), effects.absent_site_rows(summaries, together[list(keys)], scale)]
        pooled.append(together)
    return effects.stack(*sites), effects.stack(*pooled)


def tables_of(
    gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    """Return all tables of the question, not yet in their final form."""
    models = {name: gathered[gathered["model"].eq(name)] for name in ("effects", "raters", "timing", "moderators", "levels", "missing")}
    found = dict.fromkeys(
        ("site_effects", "pooled", "levels", "moderators", "raters", "timing", "eligibility", "leave_one_out", "influence", "missing"),
        pd.DataFrame(),
    )
    if len(models["effects"]):
        found |= _effect_tables(models["effects"], summaries, options)
    for name, keys in CONTRAST_KEYS.items():
        if len(models[name]):
            found[name] = effects.stack(*rows_by_scale(models[name], keys, summaries, options))
    found["eligibility"] = eligibility(models["effects"], summaries, options)
    return found


def _effect_tables(chosen: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    pooling, scale = options["pooling"], correlation_scale(options)
    numbered = scaled(chosen, options)
    sites = effects.site_rows(numbered, scale, pooling["level"])
    sites = sites.assign(detectable_r=detectable(sites, scale, pooling["level"]))
    pooled = effects.pooled_rows(numbered, EFFECT_KEYS, scale, pooling).assign(coding="as_estimated")
    absent = effects.absent_site_rows(summaries, pooled.loc[pooled["headline"].eq("yes"), EFFECT_KEYS], scale)
    preferred = numbered[numbered["alliance_instrument"].eq(PREFERRED) & numbered["outcome_instrument"].eq(PREFERRED)]
    return {
        "site_effects": effects.stack(sites, absent),
        "pooled": pooled,
        "leave_one_out": effects.leave_one_out_rows(preferred, EFFECT_KEYS, scale, pooling),
    }


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
