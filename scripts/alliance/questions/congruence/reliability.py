"""How reliable the terms of a response surface are: two ratings of the alliance, their squares and their product (claim K4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.congruence.dyads import QUESTION, Dyads, not_estimable, notes, raters
from alliance.questions.congruence.profiles import both_answers
from alliance.questions.item_answers import ItemAnswers, item_answers
from alliance.questions.site_data import SiteData
from alliance.statistics.jackknife import Jackknifed
from alliance.statistics.term_reliability import term_reliability
from alliance.variables.checks import ALLIANCE_PREFIX

INDEX, KIND = "reliability", "term_reliability"
OF_TERM = {"b1": "x", "b2": "y", "b3": "xx", "b4": "xy", "b5": "yy"}
"""Which term each coefficient belongs to, in the order of :data:`alliance.statistics.term_reliability.TERMS`."""


def alliance_items(site: SiteData) -> dict[tuple[str, str], ItemAnswers]:
    """Return the answers to alliance instruments by instrument and rater; a form that was filled in goes before one derived from it."""
    found: dict[tuple[str, str], ItemAnswers] = {}
    for one in item_answers(site, ("alliance",)) if site.published is None and len(site.ratings) else ():
        found.setdefault((one.instrument.key, one.rater), one)
    return found


def reliabilities(
    site: SiteData,
    answers: Mapping[tuple[str, str], ItemAnswers],
    found: Dyads,
    content: Mapping[str, Any],
    x: pd.Series,
    y: pd.Series,
    therapist: pd.Series | None,
    within: bool,
    options: Mapping[str, Any],
) -> tuple[Jackknifed | None, dict[str, Any], str]:
    """Return the reliabilities of the terms, the counts behind them, and why there are none.

    Parameters
    ----------
    site : SiteData
    answers : mapping
        From :func:`alliance_items`.
    found : Dyads
        What both rated.
    content : mapping
        The surface of the configuration.
    x, y : Series
        Ratings as they enter the regression, by client, or by client and session where ``within``.
    therapist : Series or None
        Therapist, by the same index.
    within : bool
        Deviations of sessions from the client's means, else clients.
    options : mapping
        Configuration.
    """
    first, second = raters(options)
    scale = options["questions"][QUESTION]["scales"][0]
    own = tuple(answers.get((form, rater)) for form, rater in zip(found.forms, (first, second), strict=True))
    if found.forms[0] != found.forms[1]:
        return None, {}, f"needs answers of {first} and {second} to one form; has {' and '.join(found.forms)}"
    if None in own:
        lacking = " and ".join(rater for rater, one in zip((first, second), own, strict=True) if one is None)
        return None, {}, f"needs answers to the items of {found.forms[0]} from the {lacking}, not scale scores alone"
    key = own[0].instrument
    items = [item for item in (key.scale_items(scale) if scale in key.scale_names else ()) if all(item in one.items for one in own)]
    if len(items) < 2:
        return None, {}, f"needs two items of the {scale} scale of {key.key} that both answered"
    sides = both_answers(site, own, items, options["alliance"]["windows"][found.window])
    sides = sides[::-1] if content["x"] != f"{ALLIANCE_PREFIX}{first}" else sides
    if not within:
        sides = tuple(side.groupby(level="client_no").mean() for side in sides)
    joined = [side.reindex(x.index).to_numpy(dtype=float) for side in sides]
    kept = np.isfinite(np.hstack(joined)).all(axis=1)
    codes = None if therapist is None else therapist.to_numpy()[kept]
    client = x.index.get_level_values(0).to_numpy()[kept]
    minimum = options["pooling"]["min_clients"]
    result = term_reliability(
        *(side[kept] for side in joined), x.to_numpy()[kept], y.to_numpy()[kept], codes, client if within else None, min_rows=minimum
    )
    counts = {
        "n_sessions": int(kept.sum()) if within else None,
        "n_clients": result.n,
        "n_therapists": None if codes is None else result.n_clusters,
    }
    return result, counts, result.reason


def fields_of(
    result: Jackknifed | None, counts: Mapping[str, Any], reason: str, note: str, low: float
) -> dict[str, tuple[dict[str, Any], float]]:
    """Return the columns of each term's row and the variance of its reliability; of the product alone where there are none.

    Low ones are flagged, never left out.

    Parameters
    ----------
    result, counts, reason
        From :func:`reliabilities`.
    note : str
        What must be known about the measures.
    low : float
        Reliability below which a term is flagged.
    """
    if result is None or reason:
        return {"b4": (not_estimable({}, reason, counts), np.nan)}
    told = {}
    for place, term in enumerate(OF_TERM):
        value = float(result.estimate[place])
        fields = {**counts, "estimate": value, "method": result.method, **notes(note, result.caution, below(value, low))}
        told[term] = (fields, float(result.vcov[place, place]))
    return told


def below(value: float, low: float) -> str:
    """Return in words that a reliability is low; empty where it is not."""
    return f"below {low:g} (convention): error draws this coefficient towards zero, and a curvature may stay hidden" if value < low else ""
