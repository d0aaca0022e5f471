"""Does the therapist track the client, who is rated too low or too high, and what predicts misjudgement (claims K2, K3, J3)?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from alliance.instruments.registry import TOTAL
from alliance.questions import effects
from alliance.questions.alliance_outcome.measures import PREFERRED
from alliance.questions.congruence.dyads import QUESTION, Dyads, SessionScores, column, dyads, named, not_estimable, notes, raters
from alliance.questions.contract import WITH_NUMBERS
from alliance.questions.part import Part
from alliance.questions.sentences import Sentence, pooling_sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.dyads import moderated, tracking_by_scale, truth_and_bias

NAME = "truth_and_bias"
KEYS = ["instrument", "instrument_scale", "raters", "window", "term", "moderator", "contrast", "unit", "headline", "estimate_type"]
BIAS, WITHIN, BETWEEN = "bias", "tracking within clients", "tracking between clients"
TERMS = (BIAS, WITHIN, BETWEEN)
KINDS = {BIAS: "directional_bias", WITHIN: "tracking", BETWEEN: "tracking"}
CONTRASTS = {"directional_bias": "directional_bias_contrast", "tracking": "tracking_contrast"}
SESSION = "session"
MIN_SESSIONS = "needs clients with two sessions or more that both rated"
_POOLED = (*KINDS.values(), *CONTRASTS.values(), "bias_moderated", "tracking_moderated")


def estimate(site: SiteData, table: SessionScores, options: Mapping[str, Any]) -> Part:
    """Return one site's estimates: the model of the main scale, all subscales and their differences, and moderators."""
    part = Part()
    section = options["questions"][QUESTION]
    window = section["session_window"]
    main = dyads(site, table, options, section["scales"][0], window)
    _add_model(part, main, options)
    _add_scales(part, site, table, options)
    _add_moderators(part, site, table, main, options)
    return part


def _row(found: Dyads, options: Mapping[str, Any], term: str, kind: str, **fields: Any) -> dict[str, Any]:
    row = {
        "instrument": found.instrument,
        "instrument_scale": found.scale,
        "raters": ", ".join(raters(options)),
        "window": found.window,
        "term": term,
        "unit": "sd" if kind in ("directional_bias", "directional_bias_contrast", "bias_moderated") else "slope",
        "headline": "no",
        "level": "session",
        "estimate_type": kind,
        **fields,
    }
    return named(row, KEYS)


def _why_not(found: Dyads, options: Mapping[str, Any]) -> str:
    minimum = options["pooling"]["min_clients"]
    if found.reason:
        return found.reason
    if found.counts["n_clients"] < minimum:
        return f"needs at least {minimum} clients with sessions that both rated; has {found.counts['n_clients']}"
    return "" if found.spread > 0 else "needs ratings that vary"


def _frame(found: Dyads) -> pd.DataFrame:
    """Return the rows in the words of the statistics, in SD of both raters."""
    rows = found.rows.rename(columns={"first": "truth", "second": "judge"})
    names = ["client", "session", "truth", "judge", *(["therapist"] if "therapist" in rows else [])]
    return rows[names].assign(truth=rows["truth"] / found.spread, judge=rows["judge"] / found.spread)


def _add_model(part: Part, found: Dyads, options: Mapping[str, Any]) -> None:
    reason = _why_not(found, options)
    counts = found.counts if not found.reason else {"n_clients": 0}
    model = None if reason else truth_and_bias(_frame(found), level=options["pooling"]["level"])
    if model is not None and model.fit is None:
        reason = model.reason
    for term, name in zip(TERMS, ("1", "within", "between"), strict=True):
        row = _row(found, options, term, KINDS[term], headline="yes", **counts)
        if reason or name not in model.coefficients.index:
            part.add(not_estimable(row, reason or MIN_SESSIONS))
            continue
        one = model.coefficients.loc[name]
        fields = {"estimate": one["estimate"], "ci_low": one["ci_low"], "ci_high": one["ci_high"], "method": "mixed_model"}
        part.add({**row, **fields, **notes(found.note, model.reason)}, one["std_error"] ** 2)
    if reason:
        return
    if "within" in model.coefficients.index:
        one = model.combination({"between": 1.0, "within": -1.0})
        row = _row(found, options, WITHIN, "tracking_contrast", contrast=f"{BETWEEN} - {WITHIN}", **counts)
        fields = {"estimate": one.estimate, "ci_low": one.ci_low, "ci_high": one.ci_high, "method": "mixed_model"}
        part.add({**row, **fields, **notes(found.note, model.reason)}, one.std_error**2)
    own = model.variances[model.variances["term1"].eq(model.variances["term2"]) & model.variances["level"].ne("residual")]
    for one in own.itertuples():
        what = BIAS if one.term1 == "1" else WITHIN
        row = _row(found, options, f"SD of {what} over {one.level}s", "random_effect_sd", unit="sd" if what == BIAS else "slope", **counts)
        fields = {"estimate": float(one.sd_or_correlation), "method": "mixed_model", **notes(found.note, model.reason)}
        part.add({**row, **fields})


def _add_scales(part: Part, site: SiteData, table: SessionScores, options: Mapping[str, Any]) -> None:
    """Add bias and tracking of every subscale, and the differences of subscales in the same sessions."""
    section = options["questions"][QUESTION]
    scales = [scale for scale in section["scales"] if scale != TOTAL]
    if not scales:
        return
    total = dyads(site, table, options, section["scales"][0], section["session_window"])
    found = {scale: dyads(site, table, options, scale, section["session_window"]) for scale in scales}
    usable = [scale for scale in scales if not _why_not(found[scale], options)]
    frames = [found[scale].rows.set_index(["client", "session"]) for scale in usable]
    if frames:
        common = frames[0].index
        for frame in frames[1:]:
            common = common.intersection(frame.index)
        common = common.sort_values()
        kept = [_frame(found[scale]).set_index(["client", "session"]).loc[common].reset_index() for scale in usable]
    same = bool(frames) and len({found[scale].source.split(" ")[0] for scale in usable}) == 1
    several = bool(frames) and kept[0]["client"].nunique() >= options["pooling"]["min_clients"] and kept[0].duplicated("client").any()
    made = tracking_by_scale(kept) if several else None
    pairs = list(combinations(range(len(usable)), 2))
    note = total.note
    for scale in scales:
        for place, term in enumerate(TERMS):
            counts = found[scale].counts if not found[scale].reason else {"n_clients": 0}
            row = _row(found[scale], options, term, KINDS[term], **counts)
            if scale not in usable or made is None or made.reason:
                reason = _why_not(found[scale], options) or (made.reason if made is not None else MIN_SESSIONS)
                part.add(not_estimable(row, reason))
                continue
            at = 3 * usable.index(scale) + place
            _add_jackknifed(part, {**row, **_counts(kept[0])}, made, at, note)
    for number, (one, other) in enumerate(pairs):
        for place, term in enumerate(TERMS):
            kind = CONTRASTS[KINDS[term]]
            base = dict(contrast=f"{usable[one]} - {usable[other]}", instrument_scale="", **_counts(kept[0]))
            row = named({**_row(found[usable[one]], options, term, kind), **base}, KEYS)
            if made is None or made.reason or not same:
                reason = MIN_SESSIONS if made is None else made.reason or "needs subscales of one instrument"
                part.add(not_estimable(row, reason))
                continue
            _add_jackknifed(part, row, made, 3 * (len(usable) + number) + place, note)


def _counts(frame: pd.DataFrame) -> dict[str, Any]:
    return {
        "n_sessions": len(frame),
        "n_clients": int(frame["client"].nunique()),
        "n_therapists": int(frame["therapist"].nunique()) if "therapist" in frame else None,
    }


def _add_jackknifed(part: Part, row: Mapping[str, Any], made: Any, at: int, note: str) -> None:
    fields = {"estimate": float(made.estimate[at]), "method": made.method, **notes(note, made.caution)}
    part.add({**row, **fields}, float(made.vcov[at, at]))


def _add_moderators(part: Part, site: SiteData, table: SessionScores, found: Dyads, options: Mapping[str, Any]) -> None:
    minimum = options["pooling"]["min_clients"]
    reason = _why_not(found, options)
    for name, variable in options["questions"][QUESTION]["moderators"].items():
        kinds = ((BIAS, "bias_moderated"), (WITHIN, "tracking_moderated"))
        rows = [_row(found, options, term, kind, moderator=name, n_clients=0) for term, kind in kinds]
        told, frame = reason, pd.DataFrame()
        if not told:
            frame = _frame(found)
            if variable == SESSION:
                values = frame[SESSION].to_numpy(dtype=float)
            else:
                clients = pd.Index(np.unique(frame["client"]), dtype="int64")
                of, told = column(site, table, variable, clients)
                spread = np.nanstd(of, ddof=1) if np.isfinite(of).sum() > 1 else np.nan
                of = (of - np.nanmean(of)) / spread if spread > 0 else np.full(len(of), np.nan)
                told = told or ("" if spread > 0 else f"needs {variable} that varies")
                values = of[clients.get_indexer(frame["client"])]
            frame = frame.assign(moderator=values)
            frame = frame[np.isfinite(values)].reset_index(drop=True)
            if not told and frame["client"].nunique() < minimum:
                told = f"needs at least {minimum} clients with {variable} and sessions that both rated; has {frame['client'].nunique()}"
        made = None if told else moderated(frame, "moderator")
        told = told or made.reason
        for place, row in enumerate(rows):
            row = {**row, **(_counts(frame) if len(frame) else {})}
            if told or place >= len(made.estimate):
                part.add(not_estimable(row, told or MIN_SESSIONS))
            else:
                _add_jackknifed(part, row, made, place, found.note)


def pool(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table: rows of the sites, and pooled rows; standard deviations of random effects are not pooled."""
    pooling = options["pooling"]
    own = effects.scaled(gathered, "identity")
    pooled = effects.pooled_rows(own[own["estimate_type"].isin(_POOLED)], KEYS, "identity", pooling)
    absent = effects.absent_site_rows(summaries, headline_keys(options), "identity")
    return effects.stack(effects.site_rows(own, "identity", pooling["level"]), pooled, absent)


def headline_keys(options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the keys of the headline: bias and tracking of the preferred measure."""
    section = options["questions"][QUESTION]
    found = Dyads(pd.DataFrame(), PREFERRED, section["scales"][0], section["session_window"])
    rows = [_row(found, options, term, KINDS[term], headline="yes") for term in TERMS]
    return pd.DataFrame([{key: row.get(key, "") for key in KEYS} for row in rows])


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    first, second = raters(options)
    usable = table[table["status"].isin(WITH_NUMBERS)]
    if usable.empty:
        return []
    sentences = [
        Sentence(
            f"In the truth-and-bias model the {first}'s rating is the truth and the {second}'s the judgement, both measured from the "
            f"{first}s' "
            f"mean: directional bias is how much higher the {second} rates at the average truth (in SD of both raters); tracking is how "
            f"far "
            f"the judgement follows a {first}'s ups and downs (within clients) and differences between clients. Bias and tracking vary "
            f"over "
            "clients and therapists.",
            ("west_kenny_2011",),
        )
    ]
    if usable["estimate_type"].isin(["tracking_moderated", "tracking_contrast"]).any():
        sentences.append(
            Sentence("Subscales and moderators were compared by least squares, with standard errors that leave out each therapist in turn.")
        )
    if usable["site"].eq("(pooled)").any():
        sentences.append(pooling_sentence(options["pooling"], "Bias and tracking were pooled"))
    return sentences
