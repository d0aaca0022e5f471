"""Do both endorse the same tasks and goals: likeness of two raters' profiles over items, and what it predicts (claim J3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.alliance_outcome.measures import PREFERRED
from alliance.questions.congruence.actor_partner import before_outcome, outcomes
from alliance.questions.congruence.dyads import QUESTION, SUMMARIES_ONLY, SessionScores, lacking, not_estimable, notes, pairs, raters
from alliance.questions.item_answers import ItemAnswers, attended_for, item_answers
from alliance.questions.site_data import SiteData
from alliance.statistics.jackknife import Jackknifed
from alliance.statistics.profile_likeness import differs, likeness_predicts, profile_likeness
from alliance.variables.client import dropout

LIKENESS, NORMATIVE = "profile likeness", "likeness of the mean profiles"
RANKS = f"{LIKENESS}, by ranks"
AS_GIVEN, LESS_MEAN = "answers as given", "answers less each rater's mean profile"
WITH_OUTCOME, WITH_STAYING = f"{LIKENESS} with the outcome given intake", f"{LIKENESS} with staying (not dropping out)"
LEVELS_TOO = "{} and both levels"
_ROWS = (
    (LIKENESS, AS_GIVEN, "profile_likeness"),
    (LIKENESS, LESS_MEAN, "profile_likeness"),
    (RANKS, AS_GIVEN, "profile_likeness"),
    (RANKS, LESS_MEAN, "profile_likeness"),
    (NORMATIVE, AS_GIVEN, "correlation"),
)
FEWEST_ITEMS = 4
"""Correlations over fewer items hardly take another value than those of chance (a convention)."""

Rows = Iterator[tuple[dict[str, Any], float]]


@dataclass(frozen=True)
class Profiles:
    """Answers of both raters to the items of one scale, one profile a client: means over the sessions in which both answered.

    Attributes
    ----------
    first, second : ndarray, shape (clients, items)
        Complete, turned by the scoring key, and with answers that differ.
    clients : Index
    last : Series
        Date of the last session of each client.
    n_sessions : ndarray, shape (clients,)
    n_forms : int
        Clients whom both rated, also those whose profiles are flat or incomplete.
    reason : str
    """

    first: np.ndarray
    second: np.ndarray
    clients: pd.Index
    last: pd.Series
    n_sessions: np.ndarray
    n_forms: int
    reason: str = ""


def _none(reason: str) -> Profiles:
    nothing = np.zeros((0, 0))
    return Profiles(nothing, nothing, pd.Index([], dtype="int64"), pd.Series(dtype="datetime64[ns]"), np.zeros(0), 0, reason)


def rows(site: SiteData, table: SessionScores, options: Mapping[str, Any], identity: Mapping[str, Any]) -> Rows:
    """Yield the rows of the table and the variance of each estimate.

    Parameters
    ----------
    site : SiteData
    table : SessionScores
        From :func:`alliance.questions.congruence.dyads.session_table`.
    options : mapping
        Configuration.
    identity : mapping
        Columns of every row.
    """
    section = options["questions"][QUESTION]
    forms = {} if site.published is not None else _forms(site, options)
    for scale in section["scales"]:
        for place, window in enumerate(section["windows"]):
            main = scale == section["scales"][0] and not place
            for instrument in (PREFERRED, *(sorted(forms) if main else ())):
                keys = {**identity, "instrument": instrument, "instrument_scale": scale, "window": window}
                found = _profiles(site, table, options, forms, scale, window, instrument)
                yield from _likeness(keys, found, table, options)
                if main and instrument == PREFERRED:
                    yield from _predictions(keys, found, site, table, options)


def _forms(site: SiteData, options: Mapping[str, Any]) -> dict[str, tuple[ItemAnswers, ItemAnswers]]:
    """Return the answers of both raters by instrument, in order of preference; forms that both filled in themselves."""
    if not len(site.ratings):
        return {}
    found: dict[str, dict[str, ItemAnswers]] = {}
    for one in item_answers(site, ("alliance",)):
        if not one.derived_from:
            found.setdefault(one.instrument.key, {})[one.rater] = one
    order = {name: place for place, name in enumerate(options["alliance"]["instruments"])}
    both = [name for name, own in found.items() if all(rater in own for rater in raters(options))]
    both = sorted(both, key=lambda name: (order.get(name, len(order)), name))
    return {name: tuple(found[name][rater] for rater in raters(options)) for name in both}


def _profiles(
    site: SiteData,
    table: SessionScores,
    options: Mapping[str, Any],
    forms: Mapping[str, tuple[ItemAnswers, ItemAnswers]],
    scale: str,
    window: str,
    instrument: str,
) -> Profiles:
    first, second = raters(options)
    if site.published is not None:
        return _none(SUMMARIES_ONLY)
    chosen = [name for name in forms if instrument in (PREFERRED, name)]
    if not chosen:
        shared = any(one == other for one, other in pairs(site, table, options, scale))
        items = f"needs answers to the items of the same instrument from {first} and {second}, not scale scores alone"
        return _none(items if shared else lacking(table, options, scale))
    own = forms[chosen[0]]
    key = own[0].instrument
    items = [item for item in (key.scale_items(scale) if scale in key.scale_names else ()) if all(item in one.items for one in own)]
    if len(items) < FEWEST_ITEMS:
        return _none(f"needs at least {FEWEST_ITEMS} items of the {scale} scale of {chosen[0]} that both answered; has {len(items)}")
    x, y = both_answers(site, own, items, options["alliance"]["windows"][window])
    shared = x.index
    x, y = x.to_numpy(), y.to_numpy()
    client = shared.get_level_values("client_no")
    means = [pd.DataFrame(side, index=client).groupby(level=0).mean() for side in (x, y)]
    clients = means[0].index
    both = [side.to_numpy(dtype=float) for side in means]
    kept = np.isfinite(both[0]).all(axis=1)
    kept[kept] = differs(both[0][kept]) & differs(both[1][kept])
    dates = pd.Series(table.dates.reindex(shared.set_names(["client", "session"])).to_numpy(), index=client).groupby(level=0).max()
    counted = pd.Series(1, index=client).groupby(level=0).sum().to_numpy()
    return Profiles(both[0][kept], both[1][kept], clients[kept], dates.reindex(clients[kept]), counted[kept], len(clients))


def both_answers(
    site: SiteData, own: tuple[ItemAnswers, ItemAnswers], items: Sequence[int], window: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the answers of two raters in the sessions of a window that both rated, index ``client_no, session``, one column an item.

    An item counts in the sessions in which both answered it.
    """
    attended = attended_for(site, {"window": window})
    sides = []
    for one in own:
        rated = one.window(window, attended)
        answers = rated.answers[:, [rated.items.index(item) for item in items]]
        index = rated.forms[["client_no", "session"]].astype("int64")
        sides.append(pd.DataFrame(answers).assign(**index).groupby(["client_no", "session"]).mean())
    shared = sides[0].index.intersection(sides[1].index).sort_values()
    x, y = (side.reindex(shared).astype("float64") for side in sides)
    return x.where(y.notna()), y.where(x.notna())


def _counts(found: Profiles, kept: np.ndarray, codes: np.ndarray | None, result: Jackknifed) -> dict[str, Any]:
    return {
        "n_clients": int(kept.sum()),
        "n_sessions": int(found.n_sessions[kept].sum()),
        "n_therapists": None if codes is None else result.n_clusters,
        "share_missing": 1 - kept.sum() / found.n_forms if found.n_forms else None,
    }


def _likeness(keys: Mapping[str, Any], found: Profiles, table: SessionScores, options: Mapping[str, Any]) -> Rows:
    codes = None if found.reason else table.codes(found.clients)
    minimum = options["pooling"]["min_clients"]
    result = None if found.reason else profile_likeness(found.first, found.second, codes, min_rows=minimum)
    for position, (statistic, definition, kind) in enumerate(_ROWS):
        row = {**keys, "statistic": statistic, "definition": definition, "estimate_type": kind}
        if result is None:
            yield not_estimable(row, found.reason, {"n_clients": 0}), np.nan
            continue
        counts = _counts(found, np.ones(len(found.clients), dtype=bool), codes, result)
        yield _row(row, result, position, counts), float(result.vcov[position, position])


def _row(row: Mapping[str, Any], result: Jackknifed, position: int, counts: Mapping[str, Any]) -> dict[str, Any]:
    if result.reason:
        return not_estimable(row, result.reason, counts)
    return {**row, **counts, "estimate": float(result.estimate[position]), "method": result.method, **notes(result.caution)}


def _predictions(keys: Mapping[str, Any], found: Profiles, site: SiteData, table: SessionScores, options: Mapping[str, Any]) -> Rows:
    rater = options["outcome"]["rater"]
    post, intake, dates, told = next(outcomes(site, options, [rater]))[1:]
    left = dropout(site, options["dropout"])
    told_left = f"needs dropout: {left.reason}" if left.reason else ""
    same = "mixed" if rater in raters(options) else "no"
    wanted = (
        (WITH_OUTCOME, post, intake, dates, told, same),
        (WITH_STAYING, 1 - left.values, None, dates.iloc[:0], told_left, "no"),
    )
    minimum = options["pooling"]["min_clients"]
    for statistic, values, control, when, needed, whose in wanted:
        names = (statistic, LEVELS_TOO.format(statistic if control is not None else f"{statistic} given"))
        names = (names[0], names[1].replace("given and both", "given both"))
        kinds = ("partial_correlation" if control is not None else "correlation", "partial_correlation")
        reason = found.reason or needed
        result, counts = None, {"n_clients": 0}
        if not reason:
            outcome = values.reindex(found.clients).to_numpy(dtype=float)
            held = None if control is None else control.reindex(found.clients).to_numpy(dtype=float)[:, None]
            kept = np.isfinite(outcome) & before_outcome(found.last, when)
            kept &= True if held is None else np.isfinite(held[:, 0])
            codes = table.codes(found.clients[kept]) if kept.any() else None
            own = [found.first[kept], found.second[kept], outcome[kept], None if held is None else held[kept], codes]
            result = likeness_predicts(*own, min_rows=minimum)
            counts = _counts(found, kept, codes, result)
        for position, (name, kind) in enumerate(zip(names, kinds, strict=True)):
            row = {**keys, "statistic": name, "definition": LESS_MEAN, "estimate_type": kind, "same_rater": whose}
            if result is None:
                yield not_estimable(row, reason, counts), np.nan
            else:
                yield _row(row, result, position, counts), float(result.vcov[position, position])
