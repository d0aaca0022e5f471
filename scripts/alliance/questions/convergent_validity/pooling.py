"""From the site summaries of convergent validity to its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.alliance_outcome.pooling import rows_by_scale, with_equivalence
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.convergent_validity.means import (
    APPROACH_CONTRAST,
    BLENDED,
    CONTRASTS,
    EVERY_INSTRUMENT,
    HOMOGENEOUS,
    MEANS,
    OVERLAP,
    R_SQUARED,
    WITHIN,
    WITHOUT_ERROR,
    chosen_pairs,
    groups,
    no_pairs,
)
from alliance.questions.convergent_validity.pairs import (
    BEYOND_ONE,
    DISATTENUATED,
    HTMT,
    LARGEST_HTMT,
    NOT_APART,
    PAIRS,
    SCALES,
    SHARED,
    SUBSCALE,
    R,
)
from alliance.questions.convergent_validity.prediction import CONTRAST, NEEDS_TWO, PREDICTION
from alliance.questions.summary import SiteSummary

KEYS = (
    "level",
    "comparison",
    "instrument1",
    "scale1",
    "rater1",
    "instrument2",
    "scale2",
    "rater2",
    "same_rater",
    "shared_items",
    "derived",
    "parallel",
    "opposed",
    "window",
)
OVERLAP_KEYS = ["level", "rater", "pairs_kind", "instrument", "approach", "estimate_type"]
PREDICTION_KEYS = [
    "comparison",
    "instrument1",
    "rater1",
    "instrument2",
    "rater2",
    "alliance_scale",
    "window",
    "outcome_instrument",
    "outcome_scale",
    "outcome_rater",
    "timepoint",
    "form",
    "contrast",
    "estimate_type",
]
LIMITS = {"r_squared_mean": (0, 1), "r_squared_contrast": (-1, 1), "correlation_mean": (-1, 1)}
SITE, SITES, OVER_PAIRS = "site", "sites", "pairs"


def pair_tables(
    gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any], no_pair: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of ``pairs`` and of ``leave_one_out``, not yet in their final form.

    Correlations are pooled on the scale of ``pooling.metric``; disattenuated ones and HTMT as they are, those at or above 1 too: cutting or
    dropping them would bias the mean downwards.
    """
    own = _of_model(gathered, PAIRS)
    if own.empty:
        return own, own
    keys, scale = [*KEYS, "estimate_type"], effects.pooling_scale(options["pooling"])
    sites, pooled = rows_by_scale(own, keys, summaries, options, no_pair)
    pooled = _flag_not_apart(_flag_beyond_one(_keep_shared_flag(pooled)))
    rows = effects.stack(sites, pooled)
    correlations = effects.scaled(own[own["estimate_type"].eq(R)], scale)
    left_out = _keep_shared_flag(effects.leave_one_out_rows(correlations, keys, scale, options["pooling"]))
    return effects.stack(rows, effects.squared(rows[rows["estimate_type"].eq(R)], {R: "r_squared"})), left_out


def _of_model(gathered: pd.DataFrame, model: str) -> pd.DataFrame:
    chosen = gathered[gathered["model"].eq(model)] if len(gathered) else gathered
    return chosen.assign(level=chosen["pair_level"]) if "pair_level" in chosen else chosen


def _keep_shared_flag(rows: pd.DataFrame) -> pd.DataFrame:
    if rows.empty:
        return rows
    shared = rows["shared_items"].eq("yes") & rows["status"].isin(WITH_NUMBERS)
    return rows.assign(status=rows["status"].where(~shared, "flagged"), reason=rows["reason"].where(~shared, SHARED))


def _flag_beyond_one(rows: pd.DataFrame) -> pd.DataFrame:
    beyond = rows["estimate_type"].str.startswith(DISATTENUATED) & rows["estimate"].astype(float).abs().ge(1)
    joined = [f"{BEYOND_ONE}; {text}" if text else BEYOND_ONE for text in rows["reason"]]
    return rows.assign(status=rows["status"].where(~beyond, "flagged"), reason=np.where(beyond, joined, rows["reason"]))


def _flag_not_apart(rows: pd.DataFrame) -> pd.DataFrame:
    alike = rows["estimate_type"].eq(HTMT) & rows["estimate"].astype(float).gt(LARGEST_HTMT)
    joined = [f"{NOT_APART}; {text}" if text else NOT_APART for text in rows["reason"]]
    return rows.assign(status=rows["status"].where(~alike, "flagged"), reason=np.where(alike, joined, rows["reason"]))


def overlap_table(
    gathered: pd.DataFrame, pairs: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]
) -> pd.DataFrame:
    """Return the rows of ``overlap_summary``, not yet in their final form.

    Parameters
    ----------
    gathered : DataFrame
        From :func:`alliance.questions.effects.gather`.
    pairs : DataFrame
        The finished table ``pairs``.
    summaries, options
        As for ``pool``.
    """
    own = _of_model(gathered, OVERLAP)
    sites = pooled = differences = pd.DataFrame()
    if len(own):
        own = effects.scaled(own, "identity")
        with_error = own[~own["estimate_type"].isin(WITHOUT_ERROR)]
        pooled = effects.pooled_rows(with_error, OVERLAP_KEYS, "identity", options["pooling"])
        pooled = _flag_beyond_one(pooled.assign(basis=SITES, n_pairs=_pairs_behind(with_error, pooled)))
        sites = effects.site_rows(own, "identity", options["pooling"]["level"]).assign(basis=SITE)
        differences = _differences_of_means(with_error, options["pooling"])
    grid = pd.DataFrame([(*one, "", "", kind) for one in groups() for kind in R_SQUARED], columns=OVERLAP_KEYS)
    keys = own[OVERLAP_KEYS].drop_duplicates() if len(own) else grid
    absent = effects.absent_site_rows(summaries, keys, "identity").assign(basis=SITE, n_pairs=0)
    return _inside_limits(effects.stack(sites, absent, pooled, differences, _over_pooled_pairs(pairs)))


def _inside_limits(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows whose intervals end where what they are of can end; a cut interval holds the true value as often as before."""
    ends = [name for name in ("ci_low", "ci_high", "prediction_low", "prediction_high") if name in rows]
    kinds = rows["estimate_type"]
    return rows.assign(
        **{
            name: rows[name].astype(float).clip(kinds.map(LIMITS).str[0].astype(float), kinds.map(LIMITS).str[1].astype(float))
            for name in ends
        }
    )


def _pairs_behind(rows: pd.DataFrame, pooled: pd.DataFrame) -> np.ndarray:
    """Return the number of pairs behind pooled rows, summed over the sites that were pooled."""
    used = rows[rows["y"].notna() & rows["v"].notna()]
    counted = used.groupby(OVERLAP_KEYS)["n_pairs"].sum()
    keys = pd.MultiIndex.from_frame(pooled[OVERLAP_KEYS])
    return counted.reindex(keys).fillna(0).to_numpy(dtype=int)


def _differences_of_means(rows: pd.DataFrame, pooling: Mapping[str, Any]) -> pd.DataFrame:
    """Return homogeneous minus blended instruments as the difference of their means over sites, which need not be the same sites.

    Where a site has both, the covariance of its means follows from the variance of its own difference.
    """
    from alliance.statistics.meta_analysis import difference, pool

    found = []
    chosen = rows[rows["instrument"].eq(EVERY_INSTRUMENT)]
    for (rater, kind), part in chosen[chosen["estimate_type"].isin(tuple(MEANS))].groupby(["rater", "estimate_type"], sort=True):
        own = {name: part[part["approach"].eq(name) & part["y"].notna() & part["v"].notna()] for name in (HOMOGENEOUS, BLENDED)}
        if any(one["site"].nunique() < pooling["min_sites"] for one in own.values()):
            continue
        settings = {name: pooling[name] for name in ("tau2", "interval", "level")}
        means = {name: pool(one["y"].to_numpy(), one["v"].to_numpy(), **settings) for name, one in own.items()}
        contrast = chosen[chosen["rater"].eq(rater) & chosen["estimate_type"].eq(CONTRASTS[kind])].set_index("site")["v"]
        places = {name: {site: position for position, site in enumerate(one["site"])} for name, one in own.items()}
        covariance = 0.0
        for site in sorted(set(places[HOMOGENEOUS]) & set(places[BLENDED])):
            i, j = places[HOMOGENEOUS][site], places[BLENDED][site]
            v = own[HOMOGENEOUS]["v"].iloc[i] + own[BLENDED]["v"].iloc[j] - contrast.get(site, np.nan)
            if np.isfinite(v):
                covariance += means[HOMOGENEOUS].weights[i] * means[BLENDED].weights[j] * v / 2
        one = difference(means[HOMOGENEOUS], means[BLENDED], covariance=covariance, level=pooling["level"])
        sites = pd.concat(list(own.values())).groupby("site")[["n_clients", "n_pairs"]].agg({"n_clients": "max", "n_pairs": "sum"})
        estimated = one.status != "not_estimable"
        found.append(
            {
                "level": SUBSCALE,
                "rater": rater,
                "pairs_kind": WITHIN,
                "instrument": EVERY_INSTRUMENT,
                "approach": APPROACH_CONTRAST,
                "basis": SITES,
                "estimate_type": CONTRASTS[kind],
                "site": POOLED,
                "scale": "identity",
                "method": "difference_of_means" if estimated else "none",
                "status": one.status,
                "reason": one.reason if estimated else f"not estimable: {one.reason}",
                "n_sites": len(sites),
                "n_pairs": int(sites["n_pairs"].sum()),
                "n_clients": sites["n_clients"].sum() if sites["n_clients"].notna().all() else None,
                **({name: getattr(one, name) for name in ("estimate", "std_error", "ci_low", "ci_high")} if estimated else {}),
                "p_value": one.p_value if estimated and len(sites) >= pooling["headline_sites"] else None,
            }
        )
    return pd.DataFrame(found)


def _over_pooled_pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return smallest, largest and mean over the pooled pairs, without standard error."""
    here = pairs[pairs["site"].eq(POOLED) & pairs["status"].isin(WITH_NUMBERS)]
    squares = here[here["estimate_type"].eq("r_squared")]
    arrays = {
        name: squares[name].to_numpy(dtype=object) for name in ("level", "comparison", "rater1", "shared_items", "derived", "parallel")
    }
    rows = []
    for level, rater, kind in groups():
        keys = {"level": level, "rater": rater, "pairs_kind": kind, "instrument": "", "approach": ""}
        chosen = squares[chosen_pairs(arrays, level, rater, kind).astype(bool)]
        rows += _of_pairs(keys, chosen, chosen["estimate"].to_numpy(dtype=float), R_SQUARED, no_pairs(level, rater, kind))
    within = here[here["estimate_type"].eq(R) & here["comparison"].eq(SCALES) & here["shared_items"].eq("no") & here["derived"].eq("no")]
    extremes = {"correlation_minimum": np.min, "correlation_maximum": np.max}
    for (instrument, rater), chosen in within.groupby(["instrument1", "rater1"], sort=True):
        keys = {"level": SUBSCALE, "rater": rater, "pairs_kind": WITHIN, "instrument": instrument, "approach": ""}
        turned = chosen["estimate"].to_numpy(dtype=float) * np.where(chosen["opposed"].eq("yes"), -1, 1)
        rows += _of_pairs(keys, chosen, turned, extremes, "")
    return pd.DataFrame(rows)


def _of_pairs(
    keys: Mapping[str, Any], chosen: pd.DataFrame, values: np.ndarray, functions: Mapping[str, Any], reason: str
) -> list[dict[str, Any]]:
    common = {**keys, "site": POOLED, "basis": OVER_PAIRS, "n_pairs": len(chosen), "scale": "identity"}
    if chosen.empty:
        absent = {**common, "status": "not_estimable", "reason": reason, "method": "none"}
        return [{**absent, "estimate_type": kind} for kind in functions]
    counted = {
        "n_sites": int(chosen["n_sites"].max()),
        "n_clients": chosen["n_clients"].max(),
        "status": "estimated",
        "method": "over_pairs",
    }
    return [{**common, **counted, "estimate_type": kind, "estimate": float(function(values))} for kind, function in functions.items()]


def prediction_table(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of ``predictive_contrast`` with the test of equivalence, not yet in their final form."""
    own = gathered[gathered["model"].eq(PREDICTION)] if len(gathered) else gathered
    nothing = f"not estimable: {NEEDS_TWO}; has none"
    if own.empty:
        keys = {"contrast": "first - second", "estimate_type": CONTRAST, "scale": "identity", "method": "none", "status": "not_estimable"}
        reasons = {one.site: nothing if one.status == "ok" else effects.absence(one) for one in summaries}
        return pd.DataFrame([{**keys, "site": site, "reason": reason} for site, reason in reasons.items()])
    sites, pooled = rows_by_scale(own, PREDICTION_KEYS, summaries, options, nothing)
    bound = options["questions"]["convergent_validity"]["equivalence_bound"]
    return effects.stack(*(with_equivalence(rows, bound, options["pooling"]) for rows in (sites, pooled)))
