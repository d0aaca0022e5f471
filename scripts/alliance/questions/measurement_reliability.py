"""How reliable the scores are (claims A3, A4): every scale of every instrument by rater and window; raters of the same dyads compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from alliance.instruments.registry import TOTAL
from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.correlations import therapist_codes
from alliance.questions.item_answers import SESSION, ItemAnswers, attended_for, item_answers
from alliance.questions.item_moments import block_keys, item_name, main_window, published_blocks
from alliance.questions.moments import read_block
from alliance.questions.part import Part
from alliance.questions.sentences import Sentence, pooling_sentence
from alliance.questions.site_data import CORRELATION, SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.jackknife import covariance_of_sums, cross_products, jackknife
from alliance.statistics.resampling import generator

PREFERRED = "(preferred)"
ALL_SESSIONS = "all sessions"
RATERS = ("client", "therapist", "observer")
_KEYS = [
    *("instrument", "form", "derived_from", "rater", "window", "instrument_scale", "item", "coefficient", "contrast", "headline"),
    "estimate_type",
]
_ON_COMPLEMENT = (
    *("alpha", "omega_total", "omega_hierarchical", "omega_total_schmid_leiman", "alpha_ordinal", "omega_ordinal"),
    *("reliability_within", "reliability_between"),
)
_SCALES = {
    effects.COMPLEMENT: _ON_COMPLEMENT,
    "fisher_z": ("inter_item_correlation", "item_rest_correlation"),
    "logit": ("share",),
    "identity": ("reliability_contrast",),
}
_ACROSS_SESSIONS = {
    "omega_within": "reliability_within",
    "omega_between": "reliability_between",
    "omega_of_means": "reliability_between",
    "alpha_within": "reliability_within",
    "alpha_between": "reliability_between",
}
_GENERALIZED = {"r_1f": "reliability_between", "r_kf": "reliability_between", "r_c": "reliability_within", "r_cn": "reliability_within"}
_BY_RESAMPLES = {"expanded_percentile": "bootstrap"}


def estimate(site: SiteData, options: Mapping[str, Any]) -> Part:
    """Return one site's reliabilities.

    Units are clients, one form each (the first in the window), complete in the scale's items. Intervals of alpha and omega by bootstrap
    over therapists; categorical omega, reliability within and between clients, inter-item and item-rest correlations by leaving out each
    therapist in turn.
    """
    part = Part()
    if site.published is not None:
        _from_published(part, site, options)
        return part
    found = list(item_answers(site))
    if not found:
        part.add(_absent({}, "not estimable: needs answers to items; the site sends scale scores only"))
        return part
    windows = {name: options["alliance"]["windows"][name] for name in options["questions"]["measurement"]["windows"]}
    attended = attended_for(site, windows)
    for answers in found:
        for window, forms in _occasions(answers, windows, attended):
            _one_occasion(part, site, forms, window, options)
        _across_sessions(part, site, answers, options)
    _preferred(part, site, found, windows, attended, options)
    return part


@dataclass(frozen=True)
class _Scale:
    """Complete forms of one scale, one a client."""

    identity: dict[str, Any]
    items: np.ndarray
    numbers: list[int]
    clients: pd.Index
    codes: np.ndarray | None
    therapists: int | None
    n_forms: int

    @property
    def counts(self) -> dict[str, Any]:
        n = len(self.items)
        share = 1 - n / self.n_forms if self.n_forms else None
        return {"n_clients": n, "n_sessions": n, "n_therapists": self.therapists, "share_missing": share}


def _identity(answers: ItemAnswers, window: str, scale: str) -> dict[str, Any]:
    return {
        "instrument": answers.instrument.key,
        "form": answers.form,
        "derived_from": answers.derived_from,
        "rater": answers.rater,
        "window": window,
        "instrument_scale": scale,
        "n_items": len(answers.scales[scale]) if scale in answers.scales else None,
        "categories": answers.categories,
        "level": "client",
        "headline": "no",
    }


def _row(identity: Mapping[str, Any], kind: str, **fields: Any) -> dict[str, Any]:
    merged = {**identity, **fields, "estimate_type": kind}
    names = ("instrument", "derived_from", "rater", "window", "instrument_scale", "item", "coefficient", "contrast")
    return {**merged, "parameter": ".".join(str(merged[name]) for name in (*names, "estimate_type") if merged.get(name))}


def _absent(identity: Mapping[str, Any], reason: str, kind: str = "omega_total", **fields: Any) -> dict[str, Any]:
    return _row(identity, kind, **fields, method="none", status="not_estimable", reason=reason)


def _occasions(answers: ItemAnswers, windows: Mapping[str, Any], attended: pd.DataFrame) -> Iterator[tuple[str, ItemAnswers]]:
    """Yield the windows of sessions and the other timepoints at which an instrument was filled in, one form a client."""
    present = set(answers.forms["timepoint"])
    for name, definition in windows.items() if SESSION in present else ():
        yield name, answers.window(definition, attended).one_a_client()
    for name in sorted(present - {SESSION}):
        yield name, answers.timepoint(name).one_a_client()


def _scale(site: SiteData, forms: ItemAnswers, window: str, name: str) -> _Scale:
    values = forms.scale(name)
    complete = np.isfinite(values).all(axis=1)
    clients = pd.Index(forms.forms["client_no"][complete])
    codes, known = therapist_codes(clients, site.clients, site.scores)
    therapists = len(set(codes)) if known and len(codes) else None
    identity = _identity(forms, window, name)
    return _Scale(identity, values[complete], forms.scales[name], clients, codes if known else None, therapists, len(forms.forms))


def _random(site: SiteData, options: Mapping[str, Any], *names: str) -> np.random.Generator:
    return generator(options["seed"], "measurement", "reliability", site.site, *names)


def _one_occasion(part: Part, site: SiteData, forms: ItemAnswers, window: str, options: Mapping[str, Any]) -> None:
    from alliance.statistics.reliability import reliability, share_at_maximum

    settings = options["questions"]["measurement"]
    level, minimum = options["pooling"]["level"], options["pooling"]["min_clients"]
    ordinal = forms.categories <= settings["ordinal_categories"]
    for name in forms.scales:
        scale = _scale(site, forms, window, name)
        if len(scale.items) < minimum:
            reason = f"not estimable: needs at least {minimum} clients who answered all items; has {len(scale.items)}"
            part.add(_absent(scale.identity, reason, **scale.counts, headline="yes"))
            continue
        fine = name == TOTAL and len(forms.instrument.scales) > 2 and window == settings["windows"][0]
        found = reliability(
            scale.items,
            scale.codes,
            _random(site, options, forms.instrument.key, forms.derived_from, forms.rater, window, name),
            names=("alpha", "omega_total", "omega_hierarchical") if fine else ("alpha", "omega_total"),
            factors=max(3, len(forms.instrument.scales)),
            draws=options["resampling"]["draws"],
            level=level,
            min_rows=minimum,
        )
        for one in found.coefficients:
            headline = "yes" if one.name == "omega_total" and not ordinal else "no"
            _add_coefficient(part, scale, one.name, one, headline, "bootstrap", settings["low_reliability"], on_logs=True)
        if fine:
            _add_schmid_leiman(part, scale, max(3, len(forms.instrument.scales)))
        if ordinal:
            _add_ordinal(part, scale, level, settings["low_reliability"])
        is_part = name != TOTAL or len(forms.scales) == 1
        _add_correlations(part, scale, item_rest=is_part and window == settings["windows"][0], level=level)
        share = share_at_maximum(scale.items.sum(axis=1), forms.maximum * scale.items.shape[1], scale.codes, level)
        _add_share(part, scale, share)
