"""How much of the alliance is the therapist's: with all clients alike, or with some kinds of client (claim F12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import WITH_NUMBERS
from alliance.questions.part import Part
from alliance.questions.sentences import Sentence
from alliance.questions.summary import SiteSummary
from alliance.questions.therapist_factors.effects import absent, counted, few_sites
from alliance.questions.therapist_factors.sample import COMPOSITE, SUMMARIES_ONLY, Sample, of_client
from alliance.statistics.variance_parts import SLOPES, VariancePart, VarianceParts, variance_parts

KEYS = ["basis", "part", "trait", "case_mix", "alliance_scale", "alliance_rater", "window", "estimate_type"]
BY_SESSION, BY_CLIENT = "sessions", "clients"
CONSTANT, SPECIFIC, BETWEEN, WITHIN = "constant", "client_specific", "between_client", "within_client"
PARTS = {BY_SESSION: (CONSTANT, BETWEEN, WITHIN), BY_CLIENT: (CONSTANT, BETWEEN)}
RESIDUAL = {BY_SESSION: "session", BY_CLIENT: "client"}
LEVELS = {BY_SESSION: ("therapist", "client"), BY_CLIENT: ("therapist",)}
EVERY_SESSION = "every session"
NONE, SAME, HELD = "not held constant", "not held constant, same clients", "held constant"
CLIENTS_PER_FACTOR = 5
LOW_RELIABILITY = 0.7


def estimate(found: Sample, options: Mapping[str, Any], published: bool) -> Part:
    """Return the rows of one site; see :func:`alliance.questions.therapist_factors.effects.estimate`."""
    part = Part()
    for row in _rows(found, options, one_stage=False):
        part.add((absent(row, SUMMARIES_ONLY) if published else row) | {"level": "therapist"})
    return part


def one_stage(found: Sample, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return rows over all sites that share rows; every site has its own mean."""
    return _rows(found, options, one_stage=True)


def parameter(row: Mapping[str, Any]) -> str:
    """Return the name of a row within a site summary."""
    return "; ".join(f"{key}={row[key]}" for key in KEYS if row.get(key))


def _rows(found: Sample, options: Mapping[str, Any], one_stage: bool) -> list[dict[str, Any]]:
    question = options["questions"]["therapist_factors"]
    rows = _split(found, BY_SESSION, EVERY_SESSION, options, one_stage)
    for window in question["windows"]:
        rows += _split(found, BY_CLIENT, window, options, one_stage)
    rows += _reactive(found, BY_SESSION, EVERY_SESSION, COMPOSITE, options, one_stage)
    for trait in question["variance"]["traits"]:
        rows += _reactive(found, BY_CLIENT, question["windows"][0], trait, options, one_stage)
    return rows


def _frame(found: Sample, basis: str, window: str, options: Mapping[str, Any]) -> tuple[pd.DataFrame, str]:
    """Return the rows of a basis with the column ``alliance``, and why there are none."""
    scale = options["alliance"]["scale"]
    if basis == BY_SESSION:
        frame, names = found.sessions, ("therapist", "sessions")
    else:
        frame, names = found.clients.get(window, pd.DataFrame()), ("therapist", "alliance", scale)
        frame = frame.assign(alliance=frame[scale]) if scale in frame else pd.DataFrame()
    frame = frame[frame["alliance"].notna()] if "alliance" in frame else frame.iloc[:0]
    return frame, next((found.reasons[name] for name in names if name in found.reasons), "")


def _key(basis: str, part: str, trait: str, case_mix: str, window: str, kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "basis": basis,
        "part": part,
        "trait": trait,
        "case_mix": case_mix,
        "alliance_scale": options["alliance"]["scale"],
        "alliance_rater": options["alliance"]["rater"],
        "window": window,
        "estimate_type": kind,
    }


def _too_few(used: pd.DataFrame, what: str, options: Mapping[str, Any], one_stage: bool) -> str:
    """Return which therapists (or sites) are lacking, or nothing."""
    if one_stage and (lacking := few_sites(used)):
        return lacking
    chosen = options["questions"]["therapist_factors"]["variance"]
    sizes = used.groupby("therapist")["client"].nunique() if len(used) else pd.Series(dtype="int64")
    enough, clients = int((sizes >= chosen["min_clients"]).sum()), int(sizes.sum())
    minimum = options["pooling"]["min_clients"]
    if enough >= chosen["min_therapists"] and clients >= minimum:
        return ""
    if clients < minimum:
        return f"needs at least {minimum} clients with {what}; has {clients}"
    wanted = f"needs at least {chosen['min_therapists']} therapists with {chosen['min_clients']} clients each who have {what}"
    return f"{wanted}; has {enough}"


def _split(found: Sample, basis: str, window: str, options: Mapping[str, Any], one_stage: bool) -> list[dict[str, Any]]:
    """Return the shares of therapists, clients and sessions, before and after holding the client factors constant."""
    frame, reason = _frame(found, basis, window, options)
    rows = _shares(found, frame, basis, window, NONE, (), reason, options, one_stage)
    mix = tuple(name for name in found.case_mix if name in frame)
    complete = _with_case_mix(frame, mix)
    lacking = reason or _why_no_case_mix(found, mix, complete)
    same = lacking or _too_few(complete, "the alliance and the client factors", options, one_stage)
    if len(complete) == len(frame) and not same:
        rows += [{**row, "case_mix": SAME} for row in rows]
    else:
        rows += _shares(found, complete, basis, window, SAME, (), same, options, one_stage)
    rows += _shares(found, complete, basis, window, HELD, mix, same, options, one_stage)
    if basis == BY_CLIENT:
        rows.append(_reliability(found, frame, window, reason, options, one_stage))
    return rows


def _with_case_mix(frame: pd.DataFrame, mix: Sequence[str]) -> pd.DataFrame:
    """Return the clients who have all client factors that their site measures; others are at the site's mean, and so not held there."""
    if not mix:
        return frame.iloc[:0]
    values = frame[list(mix)]
    unmeasured = values.groupby(frame["site"]).transform("count") == 0
    complete = (values.notna() | unmeasured).all(axis=1) & ~unmeasured.all(axis=1)
    return frame[complete].assign(**{name: values.loc[complete, name].fillna(0.0) for name in mix})


def _why_no_case_mix(found: Sample, mix: Sequence[str], complete: pd.DataFrame) -> str:
    if not mix:
        return found.reasons.get(of_client(COMPOSITE), "no site that shares rows has client factors")
    clients, wanted = complete["client"].nunique() if len(complete) else 0, CLIENTS_PER_FACTOR * len(mix)
    if clients < wanted:
        return f"needs at least {CLIENTS_PER_FACTOR} clients a client factor with all of them ({wanted}); has {clients}"
    return ""


def _shares(
    found: Sample,
    used: pd.DataFrame,
    basis: str,
    window: str,
    case_mix: str,
    fixed: Sequence[str],
    reason: str,
    options: Mapping[str, Any],
    one_stage: bool,
) -> list[dict[str, Any]]:
    counts = counted(used, found.everybody, one_stage)
    rows = [{**_key(basis, part, "", case_mix, window, "variance_share", options), **counts} for part in PARTS[basis]]
    reason = reason or _too_few(used, "the alliance", options, one_stage)
    if reason:
        return [absent(row, reason) for row in rows]
    if one_stage:
        split = variance_parts(
            used, "alliance", LEVELS[basis], residual=RESIDUAL[basis], site="site", fixed=fixed, level=options["pooling"]["level"]
        )
        return _filled(rows, split, "one_stage")
    return _shares_of_site(rows, used, basis, fixed, options)


def _shares_of_site(
    rows: Sequence[Mapping[str, Any]], used: pd.DataFrame, basis: str, fixed: Sequence[str], options: Mapping[str, Any]
) -> list[dict[str, Any]]:
    from alliance.statistics.multilevel import variance_shares

    level = options["pooling"]["level"]
    shares = variance_shares(used, "alliance", list(LEVELS[basis]), residual=RESIDUAL[basis], fixed=["1", *fixed], level=level)
    done = []
    for row, one in zip(rows, shares.to_dict("records"), strict=True):
        if one["status"] == "not_estimable":
            done.append(absent(row, one["reason"]))
            continue
        numbers = {"estimate": one["share"], "ci_low": one["ci_low"], "ci_high": one["ci_high"], "component": one["variance"]}
        status = {"status": one["status"], "reason": one["reason"] if one["status"] == "flagged" else "", "method": "mixed_model"}
        done.append({**row, **numbers, **status})
    return done


def _filled(rows: Sequence[Mapping[str, Any]], split: VarianceParts, method: str) -> list[dict[str, Any]]:
    """Return rows with the parts of a variance, in the same order."""
    if not split.parts:
        return [absent(row, split.reason) for row in rows]
    return [
        {
            **row,
            "estimate": one.share,
            "ci_low": one.ci_low,
            "ci_high": one.ci_high,
            "component": one.variance,
            "method": method,
            "status": split.status,
            "reason": split.reason,
        }
        for row, one in zip(rows, split.parts, strict=True)
    ]


def _reactive(found: Sample, basis: str, window: str, trait: str, options: Mapping[str, Any], one_stage: bool) -> list[dict[str, Any]]:
    """Return the parts of the variance where the alliance of therapists depends on a kind of client, and that of the slopes itself."""
    frame, reason = _frame(found, basis, window, options)
    column = of_client(trait)
    reason = reason or found.reasons.get(column, "")
    used = frame[frame[column].notna()] if column in frame else frame.iloc[:0]
    parts = (CONSTANT, SPECIFIC, *PARTS[basis][1:])
    counts = counted(used, found.everybody, one_stage)
    rows = [{**_key(basis, part, trait, NONE, window, "variance_share", options), **counts} for part in parts]
    slope = {**_key(basis, SPECIFIC, trait, NONE, window, "slope_variance", options), **counts}
    reason = reason or _too_few(used, f"{trait} and the alliance", options, one_stage)
    if reason:
        return [absent(row, reason) for row in (*rows, slope)]
    centred = used[column] - used.groupby("site")[column].transform("mean")
    split = variance_parts(
        used.assign(**{trait: centred / centred.std(ddof=0)}),
        "alliance",
        LEVELS[basis],
        residual=RESIDUAL[basis],
        site="site" if one_stage else None,
        slope=trait,
        intervals=(LEVELS[basis][0], SLOPES),
        level=options["pooling"]["level"],
    )
    if not split.parts:
        return [absent(row, split.reason) for row in (*rows, slope)]
    filled = _filled(
        [*rows, slope], replace(split, parts=(*split.parts, _slope_variance(split))), "one_stage" if one_stage else "mixed_model"
    )
    filled[-1]["p_boundary"] = split.p_no_slopes
    return filled


def _slope_variance(split: VarianceParts) -> VariancePart:
    """Return the variance of the slopes as a number of its own; its interval is that of the share, all variance as it is estimated."""
    one = next(part for part in split.parts if part.part == SLOPES)
    total = sum(part.variance for part in split.parts)
    return VariancePart(SLOPES, one.variance, one.variance, one.ci_low * total, one.ci_high * total)


def _reliability(
    found: Sample, frame: pd.DataFrame, window: str, reason: str, options: Mapping[str, Any], one_stage: bool
) -> dict[str, Any]:
    """Return the reliability of the mean of a therapist's clients, median over therapists."""
    from alliance.statistics.multilevel import mixed_model, reliability_of_means, variance_shares

    row = {
        **_key(BY_CLIENT, CONSTANT, "", NONE, window, "reliability_of_means", options),
        **counted(frame, found.everybody, one_stage),
    }
    reason = reason or _too_few(frame, "the alliance", options, one_stage)
    if reason:
        return absent(row, reason)
    if one_stage:
        model = mixed_model(frame, "alliance", [], ["site", "therapist"], random={"site": ()}, absorbed={"site": ["1"]})
    else:
        model = mixed_model(frame, "alliance", ["1"], ["therapist"])
    if model.fit is None:
        return absent(row, model.reason)
    between, within = (float(value) for value in model.variances["variance"].iloc[-2:])
    sizes = frame.groupby("therapist").size()
    median = reliability_of_means(between, within, sizes).median
    level = options["pooling"]["level"]
    if one_stage:
        split = variance_parts(frame, "alliance", ("therapist",), residual="client", site="site", intervals=("therapist",), level=level)
        ends = (split.parts[0].ci_low, split.parts[0].ci_high) if split.parts else ()
    else:
        share = variance_shares(frame, "alliance", ["therapist"], residual="client", level=level).iloc[0]
        ends = (share["ci_low"], share["ci_high"])
    # The reliability of a mean of so many clients grows with the share between therapists, so that its interval is that of the share.
    limits = [reliability_of_means(end, 1 - end, sizes).median for end in ends if np.isfinite(end)]
    limits = dict(zip(("ci_low", "ci_high"), limits, strict=True)) if len(limits) == 2 else {}
    low = median < LOW_RELIABILITY
    return {
        **row,
        "estimate": median,
        **limits,
        "method": "one_stage" if one_stage else "mixed_model",
        "status": "flagged" if low else "estimated",
        "reason": f"below {LOW_RELIABILITY:g}: therapists cannot be told apart by the means of their clients" if low else "",
    }


def pool(
    gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any], one_stage_rows: pd.DataFrame
) -> pd.DataFrame:
    """Return the table ``variance``: rows of sites, and of all sites at once. Variances near zero have no error that could be pooled."""
    pooling = options["pooling"]
    pooled = effects.pooled_rows(gathered, KEYS, "identity", pooling) if len(gathered) else pd.DataFrame()
    if pooled.empty:
        return one_stage_rows
    sites = effects.with_sites(pooled, gathered, summaries, KEYS, "identity", pooling)
    if len(one_stage_rows):
        return effects.stack(sites[sites["site"].ne(effects.POOLED)], one_stage_rows)
    reason = "not estimable: needs the rows of several sites; shares of variance are not pooled from sites"
    return sites.assign(reason=sites["reason"].where(sites["site"].ne(effects.POOLED), reason))


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    if not table["status"].isin(WITH_NUMBERS).any():
        return []
    chosen = options["questions"]["therapist_factors"]["variance"]
    text = (
        "The variance of the alliance was split by linear mixed models (restricted maximum likelihood) into what a therapist has with all "
        "clients, what depends on the kind of client (slopes of clients' traits that vary over therapists), clients and sessions, with "
        "intervals that may begin at zero; over sites from all rows at once, every site with its own mean. At least "
        f"{chosen['min_therapists']} therapists with {chosen['min_clients']} clients each were needed."
    )
    return [Sentence(text, ("kuznetsova_2017", "self_liang_1987"))]
