"""How far apart client and therapist are, who is higher, and how alike their profiles over items are (claims K1, J3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.alliance_outcome.measures import PREFERRED
from alliance.questions.congruence import profiles
from alliance.questions.congruence.dyads import (
    QUESTION,
    Dyads,
    SessionScores,
    dyads,
    instruments,
    named,
    not_estimable,
    notes,
    raters,
)
from alliance.questions.contract import WITH_NUMBERS
from alliance.questions.part import Part
from alliance.questions.sentences import Sentence, pooling_sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.dyads import limits_of_agreement, shares
from alliance.statistics.interrater import intraclass
from alliance.statistics.response_surface import bands

NAME = "agreement"
KEYS = ["instrument", "instrument_scale", "raters", "window", "statistic", "definition", "unit", "headline", "same_rater", "estimate_type"]
AGREEMENT_ICC, CONCORDANCE = "ICC(2,1)", "concordance"
DIFFERENCE, LOW, HIGH = "first minus second", "lower limit of agreement", "upper limit of agreement"
COMMON, OWN = "one mean and SD for both raters", "each rater's own mean and SD"
LEVELS = {"therapist": "between therapists", "client": "between clients", "residual": "between sessions"}
_SCALES = {
    effects.COMPLEMENT: ("icc",),
    "identity": ("mean_difference", "limit_of_agreement"),
    "fisher_z": ("concordance", "profile_likeness", "correlation", "partial_correlation"),
    "logit": ("share",),
}
_SHARES = ("variance_share",)
_METHOD = {"cluster_jackknife": "cluster_jackknife", "client_jackknife": "client_jackknife", "exact": "mean_squares"}


def band_names(options: Mapping[str, Any]) -> dict[int, str]:
    """Return what the bands of :func:`alliance.statistics.response_surface.bands` are called."""
    first, second = raters(options)
    return {0: "agree", -1: f"{first} higher", 1: f"{second} higher"}


def estimate(site: SiteData, table: SessionScores, options: Mapping[str, Any]) -> Part:
    """Return agreement at one site, for every scale, window and instrument of both raters."""
    part = Part()
    section = options["questions"][QUESTION]
    for scale in section["scales"]:
        for place, window in enumerate(section["windows"]):
            for instrument in instruments(site, table, options, scale):
                found = dyads(site, table, options, scale, window, instrument)
                headline = "yes" if instrument == PREFERRED and not place and scale == section["scales"][0] else "no"
                _add(part, found, options, headline)
    identity = {"raters": ", ".join(raters(options)), "headline": "no", "level": "client"}
    for row, variance in profiles.rows(site, table, options, identity):
        part.add(named(row, KEYS), variance)
    return part


def _identity(found: Dyads, options: Mapping[str, Any], headline: str) -> dict[str, Any]:
    return {
        "instrument": found.instrument,
        "instrument_scale": found.scale,
        "raters": ", ".join(raters(options)),
        "window": found.window,
        "headline": headline,
        "level": "session",
    }


def _row(keys: Mapping[str, Any], statistic: str, kind: str, **fields: Any) -> dict[str, Any]:
    return named({**keys, "statistic": statistic, "estimate_type": kind, **fields}, KEYS)


def _add(part: Part, found: Dyads, options: Mapping[str, Any], headline: str) -> None:
    minimum = options["pooling"]["min_clients"]
    keys = {**_identity(found, options, headline)}
    counts = found.counts if not found.reason else {"n_clients": 0}
    reason = found.reason
    if not reason and counts["n_clients"] < minimum:
        reason = f"needs at least {minimum} clients with sessions that both rated; has {counts['n_clients']}"
    if not reason and not found.spread > 0:
        reason = "needs ratings that vary"
    if reason:
        part.add(not_estimable(_row(keys, AGREEMENT_ICC, "icc"), reason, counts))
        part.add(not_estimable(_row(keys, DIFFERENCE, "mean_difference", unit=_unit(found)), reason, counts))
        return
    keys |= counts
    _add_icc(part, keys, found, options["pooling"]["level"])
    _add_limits(part, keys, found)
    if found.instrument == PREFERRED:
        _add_bands(part, keys, found, options)
        if headline == "yes" or found.window == options["questions"][QUESTION]["session_window"]:
            _add_levels(part, keys, found, options["pooling"]["level"])


def _unit(found: Dyads) -> str:
    return "sd" if found.instrument == PREFERRED else "points"


def _add_icc(part: Part, keys: Mapping[str, Any], found: Dyads, level: float) -> None:
    rows = found.rows
    target = np.arange(len(rows))
    frames = [
        pd.DataFrame({"target": target, "rater": name, "value": rows[name], "client": rows["client"]}).assign(
            **({"therapist": rows["therapist"]} if "therapist" in rows else {})
        )
        for name in ("first", "second")
    ]
    agreed = intraclass(pd.concat(frames, ignore_index=True), level=level)
    one = agreed.coefficients["ICC(2,1)"]
    row = _row(keys, AGREEMENT_ICC, "icc")
    if one.status == "not_estimable":
        part.add(not_estimable(row, one.reason))
        return
    limits = {"ci_low": one.ci_low, "ci_high": one.ci_high} if np.isfinite(one.ci_low) and np.isfinite(one.ci_high) else {}
    # With two raters who are always the same two, far limits of their variance say little; the reason is in the row.
    fields = {"estimate": one.estimate, "method": _METHOD[agreed.interval], **notes(found.note, one.reason), **limits}
    part.add({**row, **fields}, one.std_error**2)


def _add_limits(part: Part, keys: Mapping[str, Any], found: Dyads) -> None:
    rows, unit = found.rows, _unit(found)
    scale = found.spread if unit == "sd" else 1.0
    made = limits_of_agreement(rows["first"], rows["second"], rows["client"], found.therapist)
    wanted = ((DIFFERENCE, "mean_difference", 0), (LOW, "limit_of_agreement", 1), (HIGH, "limit_of_agreement", 2))
    for statistic, kind, place in wanted:
        row = _row(keys, statistic, kind, unit=unit)
        if made.reason:
            part.add(not_estimable(row, made.reason))
            continue
        fields = {"estimate": made.estimate[place] / scale, "method": made.method, **notes(found.note, made.caution)}
        part.add({**row, **fields}, made.vcov[place, place] / scale**2)
    row = _row(keys, CONCORDANCE, "concordance")
    if made.reason:
        part.add(not_estimable(row, made.reason))
        return
    concordance = float(np.tanh(made.estimate[5]))
    fields = {"estimate": concordance, "method": made.method, **notes(found.note, made.caution)}
    part.add({**row, **fields}, made.vcov[5, 5] * (1 - concordance**2) ** 2)


def _add_bands(part: Part, keys: Mapping[str, Any], found: Dyads, options: Mapping[str, Any]) -> None:
    """Add the share of clients of whom both raters agree within the band, and of whom either is higher, by means over sessions."""
    clients = found.clients()
    both = clients[["first", "second"]].to_numpy(dtype=float)
    therapist = clients["therapist"].to_numpy() if "therapist" in clients else None
    width = options["questions"][QUESTION]["band"]
    common = both / np.sqrt(both.var(axis=0, ddof=1).mean())
    deviations = both.std(axis=0, ddof=1)
    own = (both - both.mean(axis=0)) / np.where(deviations > 0, deviations, np.nan)
    for definition, scored in ((COMMON, common), (OWN, own)):
        names = band_names(options)
        if not np.isfinite(scored).all():
            for name in names.values():
                part.add(not_estimable(_row(keys, name, "share", definition=definition), "needs clients who differ in both ratings"))
            continue
        member = bands(scored[:, 0], scored[:, 1], width)
        made = shares(np.column_stack([member == code for code in names]), therapist)
        for place, name in enumerate(names.values()):
            row = _row(keys, name, "share", definition=definition, n_sessions=int(clients["sessions"].sum()))
            if made.reason:
                part.add(not_estimable(row, made.reason))
                continue
            fields = {"estimate": made.estimate[place], "method": made.method, **notes(found.note, made.caution)}
            part.add({**row, **fields}, made.vcov[place, place])


def _add_levels(part: Part, keys: Mapping[str, Any], found: Dyads, level: float) -> None:
    """Add where differences of the two raters lie: between therapists, between clients, or between sessions of a client."""
    from alliance.statistics.variance_parts import variance_parts

    rows = found.rows.assign(difference=found.rows["first"] - found.rows["second"])
    repeated = rows.duplicated("client").any()
    levels = [*(["therapist"] if "therapist" in rows else []), *(["client"] if repeated else [])]
    residual = "residual" if repeated else "client"
    split = variance_parts(rows, "difference", levels, residual=residual, level=level) if levels else None
    parts = {one.part: one for one in split.parts} if split is not None else {}
    for name in dict.fromkeys([*levels, residual]):
        row = _row(keys, f"variance of differences {LEVELS[name]}", "variance_share")
        if name not in parts:
            part.add(not_estimable(row, "needs clients with several sessions, or known therapists" if split is None else split.reason))
            continue
        one = parts[name]
        limits = {"ci_low": one.ci_low, "ci_high": one.ci_high}
        part.add({**row, "estimate": one.share, **limits, "method": "mixed_model", **notes(found.note, split.reason)})


def pool(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table: rows of the sites, and pooled rows; shares of variance have no standard error and are not pooled."""
    pooling, frames = options["pooling"], []
    for scale, kinds in _SCALES.items():
        own = gathered[gathered["estimate_type"].isin(kinds)]
        if own.empty:
            continue
        own = effects.scaled(own, scale)
        pooled = effects.pooled_rows(own, KEYS, scale, pooling)
        frames.append(effects.stack(effects.site_rows(own, scale, pooling["level"]), pooled))
    rest = gathered[gathered["estimate_type"].isin(_SHARES)]
    if len(rest):
        frames.append(effects.site_rows(effects.scaled(rest, "identity"), "identity", pooling["level"]))
    frames.append(effects.absent_site_rows(summaries, headline_keys(options), effects.COMPLEMENT))
    return effects.stack(*frames)


def headline_keys(options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the keys of the headline: agreement of the preferred measure."""
    section = options["questions"][QUESTION]
    row = {
        **dict.fromkeys(KEYS, ""),
        "instrument": PREFERRED,
        "instrument_scale": section["scales"][0],
        "raters": ", ".join(raters(options)),
    }
    return pd.DataFrame([{**row, "window": section["windows"][0], "statistic": AGREEMENT_ICC, "headline": "yes", "estimate_type": "icc"}])


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    first, second = raters(options)
    usable = table[table["status"].isin(WITH_NUMBERS)]
    if usable.empty:
        return [
            Sentence(f"Agreement of {first} and {second} could not be estimated: no site has the same scale of both at enough sessions.")
        ]
    section = options["questions"][QUESTION]
    percent = section["commensurable"] == "percent_of_range"
    text = (
        f"{first.capitalize()} and {second} were compared in sessions that both rated, on the same instrument with the same range of "
        f"answers"
        + (", or on forms of one family as percent of their range (flagged)" if percent else "")
        + "; short forms taken from long ones count where both raters have them."
    )
    sentences = [
        Sentence(text),
        Sentence(
            f"Agreement is ICC(2,1) and Lin's concordance correlation; differences are {first} minus {second}, with limits of agreement "
            f"from "
            "their variance between and within clients.",
            ("shrout_fleiss_1979", "lin_1989", "bland_altman_2007"),
        ),
        Sentence(
            f"{first.capitalize()} and {second} count as agreeing where their mean ratings of a client’s sessions differ by no more than "
            f"{section['band']:g} SD.",
            ("shanock_2010",),
        ),
    ]
    if usable["estimate_type"].eq("profile_likeness").any():
        text = (
            f"Whether {first} and {second} endorse the same was asked item by item: the correlation over items of both profiles of "
            "answers (means over the sessions in which both answered), averaged over clients, as given and less each rater's mean "
            "profile, since two people are alike already by what most people answer. Errors leave out each therapist, mean profiles "
            "included. Clients with a profile in which all answers are the same have none. Likeness (less the mean profiles) was related "
            "to outcome and dropout, also given the mean of both raters' answers."
        )
        sentences.append(Sentence(text, ("furr_2008", "wood_furr_2016")))
    if usable["site"].eq("(pooled)").any():
        sentences.append(pooling_sentence(options["pooling"], "Agreement (as ln(1 - ICC)), differences and shares (as logits) were pooled"))
    return sentences
