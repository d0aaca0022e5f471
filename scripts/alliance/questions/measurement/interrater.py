"""How far raters of the same sessions agree (claim A3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.instruments.registry import TOTAL
from alliance.instruments.scoring import score
from alliance.questions import effects
from alliance.questions.alliance_outcome.measures import PREFERRED
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.correlations import therapist_codes
from alliance.questions.item_answers import ALL_SESSIONS
from alliance.questions.part import Part
from alliance.questions.sentences import Sentence, pooling_sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.generalizability import generalizability_with_interval
from alliance.statistics.interrater import FORMS, Interrater, intraclass, mean_differences

HEADLINE = "ICC(2,k)"
CLIENT_MEANS, SESSION_SCORES = "clients' means over sessions", "scores of single sessions"
SAME_RATERS = 0.05
_KEYS = ["instrument", "rater", "window", "instrument_scale", "form", "definition", "headline", "estimate_type"]
_SCALES = {effects.COMPLEMENT: ("icc", "generalizability"), "identity": ("variance_component", "mean_difference")}
_METHOD = {"cluster_jackknife": "cluster_jackknife", "client_jackknife": "client_jackknife", "exact": "mean_squares"}


def estimate(site: SiteData, options: Mapping[str, Any]) -> Part:
    """Return the agreement of raters at one site: all sessions that at least two raters of one kind rated, for every scale."""
    part = Part()
    level, minimum = options["pooling"]["level"], options["pooling"]["min_clients"]
    found: dict[tuple[str, str, str], Interrater] = {}
    for instrument, rater, scale, ratings in _rated_together(site, options):
        identity = {"instrument": instrument, "rater": rater, "window": ALL_SESSIONS, "instrument_scale": scale, "level": "session"}
        clients = _clients_rated_twice(ratings)
        if clients < minimum:
            reason = f"not estimable: needs at least {minimum} clients with a session that several {rater}s rated; has {clients}"
            part.add(_row(identity, HEADLINE, "icc", status="not_estimable", reason=reason, method="none", headline="yes"))
            continue
        found[rater, scale, instrument] = intraclass(ratings, level=level)
        _add_agreement(part, identity, found[rater, scale, instrument])
        _add_generalizability(part, identity, ratings, _METHOD.get(found[rater, scale, instrument].interval, "client_jackknife"), level)
        if found[rater, scale, instrument].n_raters:
            _add_differences(part, identity, ratings, level, minimum)
    for rater in sorted({rater for rater, scale, _ in found if scale == TOTAL}):
        chosen = next((name for name in options["alliance"]["instruments"] if (rater, TOTAL, name) in found), None)
        if chosen is not None:
            identity = {"instrument": PREFERRED, "rater": rater, "window": ALL_SESSIONS, "instrument_scale": TOTAL, "level": "session"}
            _add_agreement(part, identity, found[rater, TOTAL, chosen])
    if not part.rows:
        what = "the site publishes correlations only" if site.published is not None else "has none"
        reason = f"not estimable: needs at least two raters of one kind at one session; {what}"
        part.add(_row({}, HEADLINE, "icc", status="not_estimable", reason=reason, method="none", headline="yes"))
    return part


def _row(identity: Mapping[str, Any], form: str, kind: str, **fields: Any) -> dict[str, Any]:
    merged = {"headline": "no", **identity, "form": form, "estimate_type": kind, **fields}
    names = ("instrument", "rater", "instrument_scale", "form", "estimate_type")
    return {**merged, "parameter": ".".join(str(merged[name]) for name in names if merged.get(name))}


def _rated_together(site: SiteData, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """Yield instrument, kind of rater, scale and single ratings, where some session has several raters of a kind."""
    for key in sorted(site.ratings):
        instrument = site.instruments.get(key)
        ratings = site.ratings[key]
        if instrument is None or "rater_no" not in ratings:
            continue
        for rater, rows in ratings.groupby("rater", sort=True, observed=True):
            occasion = ["client_no", "timepoint", "session"]
            rows = rows[rows["session"].notna().to_numpy(dtype=bool)]
            if not rows.duplicated(occasion).any():
                continue
            scored = [
                score(own.reset_index(drop=True), instrument, options["scoring"]).assign(rater_no=number)
                for number, own in rows.groupby("rater_no", sort=True)
            ]
            scores = pd.concat([one for one in scored if len(one)], ignore_index=True)
            for scale, own in scores.groupby("scale", sort=True, observed=True):
                own = own[own["score"].notna().to_numpy(dtype=bool)]
                if own.duplicated(occasion).any():
                    yield key, str(rater), str(scale), _long(own, site)


def _long(scores: pd.DataFrame, site: SiteData) -> pd.DataFrame:
    client = scores["client_no"].to_numpy(dtype="int64")
    ratings = pd.DataFrame(
        {
            "target": scores.groupby(["client_no", "timepoint", "session"], sort=True).ngroup().to_numpy(),
            "rater": scores["rater_no"].to_numpy(dtype="int64"),
            "value": scores["score"].to_numpy(dtype=float),
            "client": client,
        }
    )
    everyone = pd.Index(np.unique(client))
    codes, known = therapist_codes(everyone, site.clients, site.scores)
    return ratings.assign(therapist=codes[everyone.get_indexer(client)]) if known else ratings


def _clients_rated_twice(ratings: pd.DataFrame) -> int:
    several = ratings["target"].map(ratings["target"].value_counts()).gt(1).to_numpy(dtype=bool)
    return int(ratings.loc[several, "client"].nunique())


def _therapists(ratings: pd.DataFrame) -> int | None:
    """Return the therapists of the clients with these ratings; None where therapists are not known."""
    return int(ratings["therapist"].nunique()) if "therapist" in ratings else None


def _counts(found: Interrater) -> dict[str, Any]:
    return {
        "n_sessions": found.n_targets,
        "n_clients": found.n_clients,
        "n_therapists": found.n_therapists or None,
        "share_missing": None,
        "n_raters": found.raters_of_target,
    }


def _add_agreement(part: Part, identity: Mapping[str, Any], found: Interrater) -> None:
    counts = _counts(found)
    for form, meaning in FORMS.items():
        one = found.coefficients[form]
        n_raters = counts["n_raters"] if meaning.average else 1.0
        keys = {
            **identity,
            **counts,
            "definition": meaning.definition,
            "n_raters": n_raters,
            "headline": "yes" if form == HEADLINE else "no",
        }
        if one.status == "not_estimable":
            reason = f"not estimable: {one.reason}"
            part.add(_row(keys, form, "icc", status="not_estimable", reason=reason, method="none", n_raters=None))
            continue
        limits = {"ci_low": one.ci_low, "ci_high": one.ci_high} if np.isfinite(one.ci_low) and np.isfinite(one.ci_high) else {}
        fields = {"estimate": one.estimate, "method": _METHOD[found.interval], "status": one.status, "reason": one.reason, **limits}
        part.add(_row(keys, form, "icc", **fields), one.std_error**2)


def _add_generalizability(part: Part, identity: Mapping[str, Any], ratings: pd.DataFrame, method: str, level: float) -> None:
    """Add the sources of variance of single ratings, and how far means over raters (and sessions) order clients (and sessions)."""
    study, of_clients, of_sessions = generalizability_with_interval(ratings, level=level)
    counts = {"n_sessions": study.n_sessions, "n_clients": study.n_clients, "n_therapists": _therapists(ratings)}
    keys = {**identity, **counts, "definition": "consistency", "n_raters": study.raters_of_session if study.variances else None}
    for form, one in ((CLIENT_MEANS, of_clients), (SESSION_SCORES, of_sessions)):
        if one.status == "not_estimable":
            reason = f"not estimable: {one.reason}"
            part.add(_row(keys, form, "generalizability", status="not_estimable", reason=reason, method="none"))
            continue
        limits = {"ci_low": one.ci_low, "ci_high": one.ci_high} if np.isfinite(one.ci_low) and np.isfinite(one.ci_high) else {}
        fields = {"estimate": one.estimate, "method": method, "status": one.status, "reason": one.reason, **limits}
        part.add(_row(keys, form, "generalizability", **fields), one.std_error**2)
    for source, share in study.shares.items() if study.variances else ():
        status = {"status": study.status, "reason": study.reason}
        row = _row({**keys, "n_raters": 1.0}, source, "variance_component", estimate=share, method="mixed_model", **status)
        part.add({**row, "definition": ""})


def _add_differences(part: Part, identity: Mapping[str, Any], ratings: pd.DataFrame, level: float, minimum: int) -> None:
    for row in mean_differences(ratings, level=level).itertuples(index=False):
        both = ratings.loc[ratings["rater"].eq(row.first), "target"]
        therapists = _therapists(ratings[ratings["rater"].eq(row.second) & ratings["target"].isin(both)])
        counts = {"n_sessions": row.n_targets, "n_clients": row.n_clients, "n_therapists": therapists}
        keys = {**identity, **counts, "definition": "agreement", "n_raters": 2.0}
        form = f"rater {row.first} minus rater {row.second}"
        if row.status == "not_estimable" or row.n_clients < minimum:
            few = f"needs at least {minimum} clients with a session that both rated; has {row.n_clients}"
            reason = f"not estimable: {few if row.n_clients < minimum else row.reason}"
            part.add(_row(keys, form, "mean_difference", status="not_estimable", reason=reason, method="none"))
            continue
        fields = {"estimate": row.difference, "ci_low": row.ci_low, "ci_high": row.ci_high, "method": row.method}
        part.add(_row(keys, form, "mean_difference", **fields, status=row.status, reason=row.reason), row.std_error**2)


def pool(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table: rows of the sites, and coefficients pooled on the scale of ln(1 - ICC).

    Differences between two raters are of the raters of one site and are not pooled; shares of variance have no standard error.
    """
    pooling = options["pooling"]
    frames = []
    for scale, kinds in _SCALES.items():
        own = effects.scaled(gathered[gathered["estimate_type"].isin(kinds)], scale)
        if own.empty:
            continue
        frames.append(effects.site_rows(own, scale, pooling["level"]))
        if scale == effects.COMPLEMENT:
            named = own[own["instrument"].ne("")]
            frames.append(_with_raters(effects.pooled_rows(named, _KEYS, scale, pooling), named))
    groups = pd.DataFrame([{**dict.fromkeys(_KEYS, ""), "form": HEADLINE, "headline": "yes", "estimate_type": "icc"}])
    frames.append(effects.absent_site_rows(summaries, groups, effects.COMPLEMENT))
    return effects.stack(*frames)


def _with_raters(pooled: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """Return pooled rows with the number of raters behind a score, flagged where it differs between the sites."""
    if pooled.empty:
        return pooled
    numbers = own[own["status"].isin(WITH_NUMBERS)].groupby(_KEYS)["n_raters"].agg(["min", "max"])
    pooled = pooled.join(numbers, on=_KEYS)
    same = (pooled["max"] - pooled["min"]).abs() < SAME_RATERS
    differ = pooled["status"].isin(WITH_NUMBERS) & ~same & pooled["min"].notna()
    low, high = pooled["min"].map("{:.3g}".format), pooled["max"].map("{:.3g}".format)
    note = "scores rest on other numbers of raters at the sites (" + low + " to " + high + ")"
    reason = pooled["reason"].where(pooled["reason"].eq(""), pooled["reason"] + "; ") + note
    return pooled.assign(
        n_raters=pooled["min"].where(same),
        status=pooled["status"].mask(differ, "flagged"),
        reason=pooled["reason"].mask(differ, reason),
    ).drop(columns=["min", "max"])


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    found = table[table["status"].isin(WITH_NUMBERS) & table["estimate_type"].eq("icc")]
    if found.empty:
        return [Sentence("Agreement of raters could not be estimated: no site has two raters of one kind at one session.")]
    text = (
        "Agreement of raters of the same sessions is an intraclass correlation, its form named; the headline is ICC(2,k), agreement of the "
        "mean over the raters that a session has."
    )
    sentences = [Sentence(text, ("shrout_fleiss_1979", "mcgraw_wong_1996"))]
    if set(found["method"]) & {"cluster_jackknife", "client_jackknife"}:
        text = (
            "Intervals respect sessions of one client and clients of one therapist; those of agreement add how far other raters would "
            "differ in level. Where sessions differ in their raters, components of variance come from restricted maximum likelihood."
        )
        sentences.append(Sentence(text, ("zou_donner_2008",)))
    if (table["estimate_type"].eq("generalizability") & table["status"].isin(WITH_NUMBERS)).any():
        text = "Generalizability splits the variance of ratings into clients, their sessions, raters, clients × raters, and the rest."
        sentences.append(Sentence(text, ("brennan_2001",)))
    if found["site"].eq(POOLED).any():
        sentences.append(pooling_sentence(options["pooling"], "Intraclass correlations were pooled as ln(1 - ICC)"))
    return sentences
