"""Whose view of the alliance is it: what raters share and what is their own (claim A9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.instruments.registry import TOTAL
from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.correlations import therapist_codes
from alliance.questions.item_moments import main_window, pooled_within
from alliance.questions.measurement.factor_rows import FIRST_INDEX, FIT, POOLED_COVARIANCE, ROBUST, Sample
from alliance.questions.measurement.rater_models import rater_rows
from alliance.questions.moments import COLUMNS, Block, matrix_rows, moment_rows, read_block
from alliance.questions.part import Part, stacked
from alliance.questions.score_occasions import ScaleBy, occasions, published_block, published_scales, session_scores, subscales
from alliance.questions.sentences import Sentence, pooling_sentence
from alliance.questions.site_data import COVARIANCE, SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.rater_model import MIN_INDICATORS, RaterModel, model_of

PREFIX = "raters"
OTHER_INSTRUMENTS = "the raters used different instruments: what is particular to a rater holds the instrument too"
_SCALES = {
    "logit": ("consistency", "method_specificity"),
    effects.COMPLEMENT: ("reliability",),
    "fisher_z": ("factor_correlation",),
    "identity": ("loading_standardised", FIT),
}
_POOLED = ("consistency", "method_specificity", "reliability", "factor_correlation")
_KEYS = ["instruments", "raters", "window", "reference", "rater", "indicator", "factor", "index", "headline", "estimate_type"]
_IDENTIFYING = ("instruments", "raters", "rater", "estimate_type", "factor", "indicator", "index")


def estimate(site: SiteData, options: Mapping[str, Any]) -> Part:
    """Return one site's CT-C(M-1) models: the reference rater with each other rater, and with all of them where there are several.

    Scores are the subscales of one alliance instrument a rater, the same for all raters where they have one in common; clients enter with
    the first session of the main window that all raters of the model rated.
    """
    part = Part()
    window = main_window(options)
    measurement = options["questions"]["measurement"]
    reference = measurement["reference_rater"]
    scores = session_scores(site, window, options)
    available = [*published_scales(site), *([] if scores.empty else scores.columns)]
    available = [one for one in available if getattr(site.instruments.get(one.instrument), "construct", "") == "alliance"]
    having = _instruments(available, options["alliance"]["instruments"])
    others = sorted(set(having) - {reference})
    if reference not in having or not others:
        there = ", ".join(sorted(having)) or "no rater"
        reason = (
            f"needs at least {MIN_INDICATORS} scales of an alliance measure by the {reference} and by another rater at the same session "
            f"(window {window}); has them by {there}"
        )
        _add(part, {"window": window, "reference": reference}, _refused(reason), np.nan)
        return part
    frames = []
    for raters in [*([reference, other] for other in others), *([[reference, *others]] if len(others) > 1 else [])]:
        variables = [one for rater, key in _chosen(raters, having).items() for one in subscales(available, key, rater)]
        model = model_of(reference, [f"{one.rater}.{one.scale}" for one in variables])
        identity = {
            "instruments": _label(_chosen(raters, having)),
            "raters": ", ".join(raters),
            "window": window,
            "reference": reference,
            "level": "client",
        }
        sample, moments = _sample(site, scores, variables, model, identity, options)
        frames.append(moments)
        counts = {"n_clients": sample.n, "n_therapists": sample.n_therapists, "n_sessions": sample.n if sample.rows is not None else None}
        if len(site.clients):
            counts["share_missing"] = 1 - sample.n / site.clients["client_no"].nunique()
        fault = sample.fault(measurement["clients_per_variable"], options["pooling"]["min_clients"])
        note = OTHER_INSTRUMENTS if len(set(_chosen(raters, having).values())) > 1 else ""
        for row, variance in rater_rows(model, sample, fault, options["pooling"]["level"]):
            _add(part, {**identity, **counts}, _noted(row, note), variance)
    part.moments = stacked(frames, COLUMNS)
    return part


def _noted(row: Mapping[str, Any], note: str) -> dict[str, Any]:
    """Return a row with numbers flagged by a note; other rows, and all without a note, as they are."""
    if not note or row["status"] not in WITH_NUMBERS:
        return dict(row)
    return {**row, "status": "flagged", "reason": "; ".join(text for text in (row.get("reason"), note) if text)}


def _refused(reason: str) -> dict[str, Any]:
    fields = {"estimate_type": FIT, "index": FIRST_INDEX, "method": "none", "status": "not_estimable"}
    return {**fields, "reason": f"not estimable: {reason}"}


def _add(part: Part, identity: Mapping[str, Any], row: Mapping[str, Any], variance: float) -> None:
    merged = {"level": "client", "headline": "yes", **identity, **row}
    part.add({**merged, "parameter": "|".join(str(merged[name]) for name in _IDENTIFYING if merged.get(name))}, variance)


def _instruments(available: Sequence[ScaleBy], preferred: Sequence[str]) -> dict[str, list[str]]:
    """Return by rater the instruments with enough scales, in order of preference, then by name."""
    order = {name: place for place, name in enumerate(preferred)}
    found: dict[str, list[str]] = {}
    for rater, key in sorted({(one.rater, one.instrument) for one in available if one.scale != TOTAL}):
        if len(subscales(available, key, rater)) >= MIN_INDICATORS:
            found.setdefault(rater, []).append(key)
    return {rater: sorted(keys, key=lambda key: (order.get(key, len(order)), key)) for rater, keys in found.items()}


def _chosen(raters: Sequence[str], having: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the instrument of each rater: the first that all have, else the first of each."""
    common = [key for key in having[raters[0]] if all(key in having[rater] for rater in raters)]
    return {rater: common[0] if common else having[rater][0] for rater in raters}


def _label(chosen: Mapping[str, str]) -> str:
    return next(iter(chosen.values())) if len(set(chosen.values())) == 1 else ", ".join(f"{rater} {key}" for rater, key in chosen.items())


def block_name(identity: Mapping[str, Any]) -> str:
    """Return the name of the block of moments of a model's scales."""
    return f"{PREFIX}:{identity['instruments']}:{identity['raters']}:{identity['window']}"


def _sample(
    site: SiteData,
    scores: pd.DataFrame,
    variables: Sequence[ScaleBy],
    model: RaterModel,
    identity: Mapping[str, Any],
    options: Mapping[str, Any],
) -> tuple[Sample, pd.DataFrame]:
    """Return what a model is fitted to, and its block of moments."""
    names, none = model.names, pd.DataFrame(columns=COLUMNS)
    ordered = [next(one for one in variables if f"{one.rater}.{one.scale}" == name) for name in names]
    min_clients = options["pooling"]["min_clients"]
    if site.published is not None:
        found = published_block(site, ordered, names)
        if found is None:
            return Sample(names, 0, np.full((len(names),) * 2, np.nan)), none
        n = int(found.n[0, 0])
        rows = matrix_rows(block_name(identity), names, found.mean, found.covariance, n, method=found.scale)
        return Sample(names, n, found.covariance), rows if n >= min_clients else none
    seen = occasions(scores, ordered)
    codes, known = therapist_codes(seen.client_no, site.clients, site.scores)
    sample = Sample.of_rows(names, seen.values, codes if known else None)
    return sample, moment_rows(block_name(identity), names, seen.values) if sample.n >= max(min_clients, 2) else none


def pool(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table: rows of the sites, their random-effects means, and the model of the covariances within sites, pooled.

    Shares are pooled on the logit, reliabilities as -ln(1 - reliability), correlations of factors as Fisher's z.
    """
    pooling = options["pooling"]
    frames = [*_on_scales(gathered, pooling, means=True), *_on_scales(_pooled_models(summaries, options), pooling, means=False)]
    found = effects.stack(*frames)
    return effects.stack(found, pd.DataFrame(list(_gaps(found, summaries, options))))


def _on_scales(rows: pd.DataFrame, pooling: Mapping[str, Any], means: bool) -> list[pd.DataFrame]:
    """Return rows with intervals on their scales, and the means of sites where wanted."""
    frames = []
    for scale, kinds in _SCALES.items():
        own = rows[rows["estimate_type"].isin(kinds)] if len(rows) else rows
        if own.empty:
            continue
        estimate = own["estimate"].astype("float64").to_numpy()
        inside = (estimate > 0) & (estimate < 1) if scale in ("logit", effects.COMPLEMENT) else np.abs(estimate) < 1
        usable = inside & (own["variance"].to_numpy(dtype=float) > 0) if scale != "identity" else np.ones(len(own), dtype=bool)
        # An estimate at or beyond a bound has no place on the scale of its interval; it is shown without one.
        frames.append(effects.site_rows(own[~usable].assign(variance=np.nan), "identity", pooling["level"]))
        frames[-1]["scale"] = effects.LABELS[scale]
        scaled = effects.scaled(own[usable], scale)
        frames.append(effects.site_rows(scaled, scale, pooling["level"]))
        if means and kinds[0] in _POOLED:
            named = scaled[scaled["instruments"].ne("")]
            frames.append(effects.pooled_rows(named, _KEYS, scale, pooling))
    if not means:
        frames = [frame.assign(site=POOLED, n_sites=frame["sites_behind"]).drop(columns="sites_behind") for frame in frames if len(frame)]
    return frames


def _pooled_models(summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return rows of the models fitted to the covariances within sites, pooled."""
    pooling, measurement = options["pooling"], options["questions"]["measurement"]
    blocks: dict[str, list[Block]] = {}
    for summary in summaries:
        for name in sorted({name for name in summary.moments["block"] if name.startswith(f"{PREFIX}:")}):
            blocks.setdefault(name, []).append(read_block(summary.moments, name))
    rows = []
    for name, found in sorted(blocks.items()):
        _, instruments, raters, window = name.split(":")
        identity = {"instruments": instruments, "raters": raters, "window": window, "reference": measurement["reference_rater"]}
        names = list(found[0].names)
        used = [block for block in found if block.scale == COVARIANCE and block.complete and set(block.names) == set(names)]
        if len(used) < max(pooling["min_sites"], 2):
            continue
        model = model_of(measurement["reference_rater"], names)
        covariance, n, n_clients = pooled_within(used, model.names)
        sample = Sample(model.names, n, covariance, method=POOLED_COVARIANCE)
        fault = sample.fault(measurement["clients_per_variable"], pooling["min_clients"])
        left = len(found) - len(used)
        note = f"without {left} of {len(found)} sites, whose matrices are correlations or of other scales" if left else ""
        for row, variance in rater_rows(model, sample, fault, pooling["level"]):
            reason = "; ".join(one for one in (row["reason"], note) if one)
            status = "flagged" if row["status"] == "estimated" and reason else row["status"]
            behind = {"n_clients": n_clients, "sites_behind": len(used), "variance": variance, "n_therapists": None, "n_sessions": None}
            headline = "no" if row["estimate_type"] in _POOLED else "yes"
            rows.append({**identity, **row, **behind, "headline": headline, "status": status, "reason": reason})
    frame = pd.DataFrame(rows)
    if len(frame):
        frame = frame.reindex(columns=sorted({*frame.columns, "estimate", "ci_low", "ci_high", "rater", "indicator", "factor", "index"}))
    return frame


def _gaps(found: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row for every site left out, by the models that other sites have, and for every model that a site lacks."""
    window, reference = main_window(options), options["questions"]["measurement"]["reference_rater"]
    models: list[tuple[str, str]] = []
    there: set[tuple[str, str, str]] = set()
    if len(found):
        named = found[found["instruments"].astype(object).fillna("").ne("")]
        models = sorted(set(zip(named["instruments"], named["raters"])))
        there = set(zip(named["site"], named["instruments"], named["raters"]))
    silent = set(found["site"]) - {site for site, _, _ in there} if len(found) else set()
    for summary in sorted(summaries, key=lambda one: one.site):
        absent = effects.absence(summary) if summary.status != "ok" else ""
        if not absent and summary.site in silent:
            continue
        for instruments, raters in models or ([("", "")] if absent else []):
            if (summary.site, instruments, raters) in there:
                continue
            reason = f"needs the scales of {instruments} by {raters} at the same session; has other measures or raters"
            row = _refused(reason) | ({"reason": absent} if absent else {})
            keys = {"instruments": instruments, "raters": raters, "window": window, "reference": reference, "headline": "yes"}
            yield {**keys, **row, "site": summary.site, "scale": "identity", "n_sites": 0}


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    found = table[table["status"].isin(WITH_NUMBERS)]
    reference = options["questions"]["measurement"]["reference_rater"]
    if found.empty:
        text = f"What raters share could not be estimated: no site has scales by the {reference} and by another rater at the same sessions."
        return [Sentence(text)]
    text = (
        "What raters share was estimated by a model of correlated traits and correlated methods less one: the factor of the scales rated "
        f"by the {reference} is the trait, scales of other raters load on it and on a factor of their own. Consistency is the share of "
        f"a scale's true variance that the view of the {reference} explains, method specificity the rest; the choice of the reference "
        "decides what the numbers mean."
    )
    sentences = [Sentence(text, ("eid_2000", "eid_2003", "eid_2008"))]
    text = "Intervals of these shares come from the delta method on the logit (reliabilities: -ln(1 - reliability))"
    robust = ROBUST in set(found["method"])
    ending = ", with standard errors that respect clients who share a therapist where a site has ten therapists or more." if robust else "."
    sentences.append(Sentence(text + ending, ("yuan_bentler_2000",) if robust else ()))
    pooled = set(found.loc[found["site"].eq(POOLED), "method"])
    if pooled - {POOLED_COVARIANCE}:
        sentences.append(pooling_sentence(options["pooling"], "Coefficients of sites were pooled on these scales"))
    if POOLED_COVARIANCE in pooled:
        text = "Beside these means, which let sites differ, stands the model of the pooled covariances within sites, one for all."
        sentences.append(Sentence(text))
    return sentences
