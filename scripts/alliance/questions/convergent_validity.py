"""Convergent validity: how much variance two alliance measures share when they rate the same sessions (claims A5 to A8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from alliance.instruments.registry import WITHOUT_IMPROVEMENT
from alliance.questions import effects
from alliance.questions.contract import HETEROGENEITY, POOLED, WITH_NUMBERS, finish
from alliance.questions.correlations import published_correlations, published_fields, row_fields, therapist_codes, variances
from alliance.questions.sentences import Sentence, cluster_sentences, pooling_sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.correlation import correlations
from alliance.variables.client import attended_sessions, in_window

estimate_reads = (
    "alliance.instruments",
    "alliance.windows",
    "pooling.min_clients",
    "questions.convergent_validity.timepoint_window",
)
pool_reads = ("pooling", "questions.convergent_validity.timepoint_window")
needs = ()
tables = ("pairs", "overlap_summary", "leave_one_out")

MODEL = "pairs"
TOTAL = "total"
UNKNOWN = "unknown"
_KEYS = (
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
    "window",
)
_STATISTICS = {"r_squared_minimum": np.min, "r_squared_maximum": np.max, "r_squared_mean": np.mean}


@dataclass(frozen=True, order=True)
class _Variable:
    instrument: str
    scale: str
    rater: str

    @property
    def name(self) -> str:
        return f"{self.instrument}.{self.scale}.{self.rater}"

    @property
    def level(self) -> str:
        return "total" if self.scale == TOTAL else "subscale"


def estimate(site: SiteData, options: Mapping[str, Any], constants: Mapping[str, Any]) -> SiteSummary:
    """Return the correlations of every pair of alliance measures at one site.

    Pairs are two instruments with one rater, totals with totals and subscales with subscales, and one scale with two raters. Both scores
    are averaged over the sessions of the window that have both. Clients, not sessions, are the units.

    Parameters
    ----------
    site : SiteData
    options : mapping
        The keys of ``estimate_reads``.
    constants : mapping
        Not used.
    """
    window = options["questions"]["convergent_validity"]["timepoint_window"]
    if site.published is not None:
        rows, values, counts = _from_published(site, options, window)
    else:
        rows, values, counts = _from_rows(site, options, window)
    facts = {"window": window, "pairs": len(rows), "reason": "" if rows else _no_pairs(window)}
    return SiteSummary(
        site=site.site,
        label=site.label,
        question="convergent_validity",
        n=counts,
        facts=facts,
        estimates=pd.DataFrame(rows),
        vcov=variances(rows, values),
    )


def _no_pairs(window: str) -> str:
    return f"not estimable: needs two alliance measures of the same sessions in window {window}; has none"


def _is_alliance(site: SiteData, instrument: str, listed: Sequence[str]) -> bool:
    known = site.instruments.get(instrument)
    return instrument in listed or (known is not None and getattr(known, "construct", "") == "alliance")


def _from_rows(site: SiteData, options: Mapping[str, Any], window: str) -> tuple[list[dict[str, Any]], list[float], dict[str, int | None]]:
    scores = site.scores
    listed = options["alliance"].get("instruments") or ()
    definition = options["alliance"]["windows"][window]
    if scores.empty:
        return [], [], {"clients": 0}
    alliance = [name for name in scores["instrument"].unique() if _is_alliance(site, name, listed)]
    rows = scores[scores["instrument"].isin(alliance).to_numpy() & scores["timepoint"].eq("session").to_numpy()]
    measured = rows["score"].notna() & rows["session"].notna() & rows["scale"].ne(WITHOUT_IMPROVEMENT)
    rows = rows[measured.to_numpy(dtype=bool)]
    attended = attended_sessions(site) if definition.get("sessions") is None else pd.DataFrame()
    rows = rows[in_window(rows, definition, attended)] if len(rows) else rows
    if rows.empty:
        return [], [], {"clients": 0}
    parents = _parents(rows)
    wide = rows.pivot_table(index=["client_no", "session"], columns=["instrument", "scale", "rater"], values="score", aggfunc="mean")
    variables = [_Variable(*column) for column in wide.columns]
    pairs = [pair for pair in combinations(range(len(variables)), 2) if _comparison(variables[pair[0]], variables[pair[1]])]
    clients = wide.index.get_level_values("client_no")
    codes, known = therapist_codes(pd.Index(clients.unique()), site.clients, rows)
    starts = np.flatnonzero(np.r_[True, clients[1:] != clients[:-1]])
    values = wide.to_numpy(dtype=float)
    n_clients = site.clients["client_no"].nunique() if len(site.clients) else len(starts)
    found: list[dict[str, Any]] = []
    spread: list[float] = []
    for first in sorted({pair[0] for pair in pairs}):
        seconds = np.array([pair[1] for pair in pairs if pair[0] == first])
        x, y, sessions = _client_means(values[:, first], values[:, seconds], starts)
        result = correlations(x, y, codes if known else None, min_rows=options["pooling"]["min_clients"])
        variance = (result.se_z * (1 - result.r**2)) ** 2
        for position, second in enumerate(seconds):
            keys = _pair_keys(variables[first], variables[second], _shared_items(variables[first], variables[second], parents), window)
            fields = row_fields(result, position, known)
            fields["n_sessions"] = int(sessions[:, position].sum())
            fields["share_missing"] = 1 - fields["n_clients"] / n_clients
            found.append(_flag_shared({**keys, **fields}))
            spread.append(float(variance[position]))
    counts = {"clients": len(starts), "therapists": int(codes.max()) + 1 if known else None, "sessions": len(wide)}
    return found, spread, counts


def _client_means(first: np.ndarray, others: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return client means over the sessions that have both, and the number of these sessions; shape (clients, others) each."""
    both = np.isfinite(first)[:, None] & np.isfinite(others)
    sessions = np.add.reduceat(both.astype(float), starts, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        x = np.add.reduceat(np.where(both, first[:, None], 0.0), starts, axis=0) / sessions
        y = np.add.reduceat(np.where(both, others, 0.0), starts, axis=0) / sessions
    return x, y, sessions


def _parents(rows: pd.DataFrame) -> dict[_Variable, frozenset[str]]:
    """Return which long forms each score was derived from at this site."""
    if "derived_from" not in rows:
        return {}
    derived = rows[["instrument", "scale", "rater", "derived_from"]].dropna().drop_duplicates()
    derived = derived[derived["derived_from"].ne("")]
    parents: dict[_Variable, set[str]] = {}
    for instrument, scale, rater, parent in derived.itertuples(index=False):
        parents.setdefault(_Variable(instrument, scale, rater), set()).add(parent)
    return {variable: frozenset(names) for variable, names in parents.items()}


def _shared_items(first: _Variable, second: _Variable, parents: Mapping[_Variable, frozenset[str]]) -> bool:
    if first.rater != second.rater:
        return False
    one, two = parents.get(first, frozenset()), parents.get(second, frozenset())
    return second.instrument in one or first.instrument in two or bool(one & two)


def _comparison(first: _Variable, second: _Variable) -> str:
    """Return how two variables are compared; empty where they are not."""
    if first.instrument == second.instrument:
        return "raters" if first.scale == second.scale and first.rater != second.rater else ""
    return "instruments" if first.rater == second.rater and first.level == second.level else ""


def _pair_keys(first: _Variable, second: _Variable, shared: bool, window: str) -> dict[str, Any]:
    first, second = sorted((first, second))
    same = UNKNOWN if UNKNOWN in (first.rater, second.rater) else "yes" if first.rater == second.rater else "no"
    return {
        "model": MODEL,
        "parameter": f"{first.name} ~~ {second.name}",
        "level": "client",
        "pair_level": first.level,
        "comparison": _comparison(first, second),
        "instrument1": first.instrument,
        "scale1": first.scale,
        "rater1": first.rater,
        "instrument2": second.instrument,
        "scale2": second.scale,
        "rater2": second.rater,
        "same_rater": same,
        "shared_items": "yes" if shared else "no",
        "window": window,
    }


def _flag_shared(row: dict[str, Any]) -> dict[str, Any]:
    if row["shared_items"] == "yes" and row["status"] in WITH_NUMBERS:
        note = "the two scores share items, so the correlation is not one of two measures"
        row["reason"] = "; ".join(part for part in (note, row["reason"]) if part)
        row["status"] = "flagged"
    return row


def _published_variable(name: str, site: SiteData, listed: Sequence[str]) -> _Variable | None:
    parts = name.split(".")
    if len(parts) not in (2, 3) or not _is_alliance(site, parts[0], listed):
        return None
    return _Variable(parts[0], parts[1], parts[2] if len(parts) == 3 else UNKNOWN)


def _from_published(
    site: SiteData, options: Mapping[str, Any], window: str
) -> tuple[list[dict[str, Any]], list[float], dict[str, int | None]]:
    listed = options["alliance"].get("instruments") or ()
    sent = [(row.var1, row.var2, row.r, row.n, None) for row in published_correlations(site.published).itertuples(index=False)]
    own = site.published.effects
    for row in own[own["question"].eq("convergent_validity")].itertuples(index=False):
        names = [part.strip() for part in row.parameter.split("~~")]
        if len(names) == 2:
            sent.append((names[0], names[1], row.estimate, row.n, row.std_error))
    found: list[dict[str, Any]] = []
    spread: list[float] = []
    for name1, name2, r, n, error in sent:
        first, second = (_published_variable(name, site, listed) for name in (name1, name2))
        if first is None or second is None or not _comparison(first, second):
            continue
        keys = _pair_keys(first, second, False, window)
        if any(row["parameter"] == keys["parameter"] for row in found):
            continue
        fields, variance = published_fields(r, n, error, options["pooling"]["min_clients"])
        found.append({**keys, **fields})
        spread.append(variance)
    largest = max((row["n_clients"] for row in found if row["n_clients"] is not None), default=0)
    return found, spread, {"clients": largest}


def pool(summaries: list[SiteSummary], options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables ``pairs``, ``overlap_summary`` and ``leave_one_out``; see the results dictionary.

    Parameters
    ----------
    summaries : list of SiteSummary
    options : mapping
        The keys of ``pool_reads``.
    tables : mapping
        Not used.
    """
    pooling = options["pooling"]
    window = options["questions"]["convergent_validity"]["timepoint_window"]
    scale = effects.pooling_scale(pooling)
    gathered = effects.gather(summaries)
    gathered = gathered.assign(level=gathered["pair_level"]) if "pair_level" in gathered else gathered
    keys = [*_KEYS, "estimate_type"]
    if gathered.empty:
        pairs = pd.DataFrame()
        left_out = pd.DataFrame()
    else:
        gathered = effects.scaled(gathered, scale)
        pooled = _keep_shared_flag(effects.pooled_rows(gathered, keys, scale, pooling))
        rows = effects.with_sites(pooled, gathered, summaries, keys, scale, pooling)
        pairs = effects.stack(rows, _squared(rows))
        left_out = _keep_shared_flag(effects.leave_one_out_rows(gathered, keys, scale, pooling))
    pairs = finish(pairs, "convergent_validity", "pairs")
    return {
        "pairs": pairs,
        "overlap_summary": finish(_overlap(pairs, summaries, window), "convergent_validity", "overlap_summary"),
        "leave_one_out": finish(left_out, "convergent_validity", "leave_one_out"),
    }


def _keep_shared_flag(rows: pd.DataFrame) -> pd.DataFrame:
    if rows.empty:
        return rows
    shared = rows["shared_items"].eq("yes") & rows["status"].isin(WITH_NUMBERS)
    note = "the two scores share items, so the correlation is not one of two measures"
    return rows.assign(status=rows["status"].where(~shared, "flagged"), reason=rows["reason"].where(~shared, note))


def _squared(rows: pd.DataFrame) -> pd.DataFrame:
    """Return shared variances: squares of the correlations, the interval being that of r squared (from 0 where it spans 0).

    Standard error and heterogeneity are those of the correlation and stand in its row.
    """
    low, high = (rows[name].astype(float) for name in ("ci_low", "ci_high"))
    spans = (low <= 0) & (high >= 0)
    squares = pd.concat([low**2, high**2], axis=1)
    nothing = dict.fromkeys((name for name in rows if name in ("std_error", *HETEROGENEITY)), np.nan)
    return rows.assign(
        **nothing,
        estimate_type="r_squared",
        scale="identity",
        estimate=rows["estimate"].astype(float) ** 2,
        ci_low=squares.min(axis=1, skipna=False).where(~spans, 0.0),
        ci_high=squares.max(axis=1, skipna=False),
    )


def _overlap(pairs: pd.DataFrame, summaries: Sequence[SiteSummary], window: str) -> pd.DataFrame:
    """Return minimum, maximum and mean of shared variance by level and rater, for every site and over the pooled pairs."""
    usable = pairs[
        pairs["estimate_type"].eq("r_squared")
        & pairs["comparison"].eq("instruments")
        & pairs["shared_items"].eq("no")
        & pairs["status"].isin(WITH_NUMBERS)
    ]
    rows = []
    sites = [summary.site for summary in sorted(summaries, key=lambda one: one.site)]
    reasons = {one.site: effects.absence(one) if one.status != "ok" else _no_pairs(window) for one in summaries}
    of_site = dict(list(usable.groupby("site")))
    for site in [*sites, POOLED]:
        here = of_site.get(site, usable.iloc[:0])
        for level in ("total", "subscale"):
            for rater in ("all", "client", "observer", "therapist"):
                chosen = here[here["level"].eq(level) & (here["rater1"].eq(rater) | (rater == "all"))] if len(here) else here
                rows += _statistics(chosen, site, level, rater, reasons.get(site))
    return pd.DataFrame(rows)


def _statistics(chosen: pd.DataFrame, site: str, level: str, rater: str, reason: str | None) -> list[dict[str, Any]]:
    common = {"site": site, "level": level, "rater": rater, "n_pairs": len(chosen), "scale": "identity"}
    if chosen.empty:
        by = "" if rater == "all" else f" by the {rater}"
        reason = reason if reason and not reason.startswith("not estimable") else f"not estimable: needs two {level} scores{by}; has none"
        return [{**common, "estimate_type": kind, "status": "not_estimable", "reason": reason, "method": "none"} for kind in _STATISTICS]
    values = chosen["estimate"].to_numpy(dtype=float)
    largest = int(chosen["n_sites"].max()) if site == POOLED else 1
    counted = {"n_sites": largest, "n_clients": chosen["n_clients"].max(), "status": "estimated", "method": "over_pairs"}
    return [{**common, **counted, "estimate_type": kind, "estimate": float(function(values))} for kind, function in _STATISTICS.items()]


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    pairs = tables["pairs"]
    r = pairs[pairs["estimate_type"].eq("correlation")]
    sites = r[r["site"].ne(POOLED) & r["status"].isin(WITH_NUMBERS)]
    if sites.empty:
        return [Sentence("Convergent validity could not be estimated: no site has two alliance measures of the same sessions.")]
    window = options["questions"]["convergent_validity"]["timepoint_window"]
    sentences = [
        Sentence(
            f"Shared variance of alliance measures is the squared correlation of client scores averaged over the sessions of window "
            f"{window} in which both were rated, {len(r[list(_KEYS)].drop_duplicates())} pairs at {sites['site'].nunique()} sites.",
            ("horvath_luborsky_1993", "tichenor_hill_1989"),
        )
    ]
    sentences += cluster_sentences(sites["method"])
    if r["shared_items"].eq("yes").any():
        sentences.append(
            Sentence("Pairs of a short form and the long form it was derived from share items; they are flagged and not summarised.")
        )
    if (r["site"].eq(POOLED) & r["status"].isin(WITH_NUMBERS)).any():
        sentences.append(pooling_sentence(options["pooling"]))
    return sentences
