"""How reliable the scores are (claims A3, A4): every scale of every instrument by rater and window; raters of the same dyads compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from alliance.instruments.registry import TOTAL
from alliance.questions import effects
from alliance.questions.alliance_outcome.measures import PREFERRED
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.correlations import therapist_codes
from alliance.questions.item_answers import ALL_SESSIONS, SESSION, ItemAnswers, attended_for, item_answers
from alliance.questions.item_moments import block_keys, item_name, main_window, published_blocks
from alliance.questions.measurement.stability import add_stability
from alliance.questions.moments import read_block
from alliance.questions.part import Part
from alliance.questions.sentences import Sentence, pooling_sentence
from alliance.questions.site_data import CORRELATION, SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.jackknife import covariance_of_sums, cross_products, jackknife
from alliance.statistics.reliability_interval import Coefficient

RATERS = ("client", "therapist", "observer")
_KEYS = [
    *("instrument", "form", "derived_from", "rater", "window", "instrument_scale", "item", "coefficient", "contrast", "headline"),
    "estimate_type",
]
_POOLED_BY = [key for key in _KEYS if key != "headline"]
_ON_COMPLEMENT = (
    *("alpha", "omega_total", "omega_hierarchical", "omega_total_schmid_leiman", "alpha_ordinal", "omega_ordinal"),
    *("reliability_within", "reliability_between"),
)
_SCALES = {
    effects.COMPLEMENT: _ON_COMPLEMENT,
    "fisher_z": ("inter_item_correlation", "item_rest_correlation", "correlation"),
    "logit": ("share",),
    "identity": ("reliability_contrast", "correlation_contrast"),
}
_ACROSS_SESSIONS = {
    "omega_within": "reliability_within",
    "omega_between": "reliability_between",
    "omega_of_means": "reliability_between",
    "alpha_within": "reliability_within",
    "alpha_between": "reliability_between",
}
_GENERALIZED = {"r_1f": "reliability_between", "r_kf": "reliability_between", "r_c": "reliability_within", "r_cn": "reliability_within"}
_SIZED = ["instrument", "derived_from", "rater", "instrument_scale"]
_INTERVAL: dict[str, Any] = {"interval": "jackknife", "min_clusters": MIN_CLUSTERS}
_FROM_MOST_TO_LEAST = ("therapist", "client", "observer")


def estimate(site: SiteData, options: Mapping[str, Any]) -> Part:
    """Return one site's reliabilities.

    Units are clients, one form each (the first in the window), complete in the scale's items. Intervals by leaving out each therapist in
    turn.
    """
    part = Part()
    if site.published is not None:
        _from_published(part, site, options)
        return part
    add_stability(part, site, options, _FROM_MOST_TO_LEAST)
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


def _one_occasion(part: Part, site: SiteData, forms: ItemAnswers, window: str, options: Mapping[str, Any]) -> None:
    from alliance.statistics.reliability import reliability

    settings = options["questions"]["measurement"]
    level, minimum = options["pooling"]["level"], options["pooling"]["min_clients"]
    ordinal = forms.categories <= settings["ordinal_categories"]
    for name in forms.scales:
        scale = _scale(site, forms, window, name)
        if len(scale.items) < minimum:
            reason = f"not estimable: needs at least {minimum} clients who answered all items; has {len(scale.items)}"
            first = "omega_ordinal" if ordinal else "omega_total"
            part.add(_absent(scale.identity, reason, first, **scale.counts, headline="yes"))
            continue
        identity = {**scale.identity, **scale.counts}
        found = reliability(scale.items, scale.codes, **_INTERVAL, level=level, min_rows=minimum)
        _add_of_items(part, identity, found, ordinal, settings["low_reliability"])
        if name == TOTAL and len(forms.instrument.scales) > 2 and window == settings["windows"][0]:
            factors = len(forms.instrument.scales)
            of_factors = ("omega_hierarchical", "omega_total_schmid_leiman")
            found = reliability(scale.items, scale.codes, names=of_factors, factors=factors, **_INTERVAL, level=level, min_rows=minimum)
            _add_of_items(part, identity, found, ordinal, settings["low_reliability"])
        if ordinal:
            _add_ordinal(part, scale, level, settings["low_reliability"])
        is_part = name != TOTAL or len(forms.scales) == 1
        _add_correlations(part, scale, item_rest=is_part and window == settings["windows"][0])
        _add_share(part, scale, forms.maximum, level)


def _status(reasons: Sequence[str]) -> dict[str, str]:
    text = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
    return {"status": "flagged" if text else "estimated", "reason": text}


def _low(estimate: float, limit: float) -> str:
    return f"below {limit:g}: scores of single clients are not reliable (convention)" if estimate < limit else ""


def _add_coefficient(part: Part, identity: Mapping[str, Any], kind: str, one: Coefficient, method: str, low: float) -> None:
    """Add a coefficient of reliability; ``low`` is what is flagged below."""
    if one.status == "not_estimable":
        part.add(_absent(identity, f"not estimable: {one.reason}", kind))
        return
    limits = {"ci_low": one.ci_low, "ci_high": one.ci_high} if np.isfinite(one.ci_low) and np.isfinite(one.ci_high) else {}
    status = _status([one.reason, _low(one.estimate, low)])
    part.add(_row(identity, kind, estimate=one.estimate, method=method, **limits, **status), one.std_error**2)


def _method(found: Any) -> str:
    return "cluster_jackknife" if np.isfinite(found.df) else "client_jackknife"


def _add_of_items(part: Part, identity: Mapping[str, Any], found: Any, ordinal: bool, low: float) -> None:
    for one in found.coefficients:
        keys = {
            "headline": "yes" if one.name == "omega_total" and not ordinal else "no",
            "coefficient": "Schmid-Leiman" if one.name == "omega_hierarchical" else "",
        }
        # Of a general factor that shares its items with others little is a finding, not a fault.
        limit = 0.0 if one.name == "omega_hierarchical" else low
        _add_coefficient(part, {**identity, **keys}, one.name, one, _method(found), limit)


def _add_ordinal(part: Part, scale: _Scale, level: float, low: float) -> None:
    from alliance.statistics.ordinal_reliability import ordinal_reliability

    found = ordinal_reliability(scale.items, scale.codes, level=level)
    for kind, name, headline in (("omega_ordinal", "categorical_omega", "yes"), ("alpha_ordinal", "ordinal_alpha", "no")):
        one = getattr(found, name)
        _add_coefficient(part, {**scale.identity, **scale.counts, "headline": headline}, kind, one, found.method, low)


def _add_correlations(part: Part, scale: _Scale, item_rest: bool) -> None:
    """Add the mean correlation of two items and, where asked for, each item's with the rest; intervals by leaving out therapists."""
    from alliance.statistics.internal_consistency import item_rest_correlations, mean_inter_item_correlation

    deviation = scale.items.std(axis=0)
    size = 1 + scale.items.shape[1]
    if not (deviation > 0).all():
        reason = f"not estimable: needs items whose answers differ; {int((deviation == 0).sum())} of {size - 1} are constant"
        part.add(_absent(scale.identity, reason, "inter_item_correlation", **scale.counts))
        return

    def values(sums: np.ndarray) -> np.ndarray:
        covariance = covariance_of_sums(sums)
        return np.column_stack([mean_inter_item_correlation(covariance), item_rest_correlations(covariance)])

    found = jackknife(cross_products((scale.items - scale.items.mean(axis=0)) / deviation), _raw(values, deviation), size, scale.codes)
    if found.reason:
        part.add(_absent(scale.identity, f"not estimable: {found.reason}", "inter_item_correlation", **scale.counts))
        return
    kinds = [("inter_item_correlation", "")] + [("item_rest_correlation", str(item)) for item in scale.numbers if item_rest]
    for position, (kind, item) in enumerate(kinds):
        fields = {"item": item, "estimate": found.estimate[position], "method": found.method, **_status([found.caution])}
        part.add(_row(scale.identity, kind, **scale.counts, **fields), found.vcov[position, position])


def _raw(function: Any, deviation: np.ndarray) -> Any:
    """Return a function of sums of standardised items that is given covariances of the items as they are."""
    scale = np.outer(np.r_[1.0, deviation], np.r_[1.0, deviation])
    return lambda sums: function(sums * scale)


def _add_share(part: Part, scale: _Scale, maximum: float, level: float) -> None:
    from alliance.statistics.reliability import share_at_maximum

    found = share_at_maximum(scale.items.mean(axis=1), maximum, scale.codes, level)
    fields = {"coefficient": "at the highest possible score", "estimate": found.share, "method": "counted"}
    limits = (found.wilson_low, found.wilson_high) if found.ci_low is None else (found.ci_low, found.ci_high)
    row = _row(scale.identity, "share", **scale.counts, **fields, ci_low=limits[0], ci_high=limits[1], **_status([]))
    part.add(row, np.nan if found.std_error is None else found.std_error**2)


def _across_sessions(part: Part, site: SiteData, answers: ItemAnswers, options: Mapping[str, Any]) -> None:
    """Add reliabilities within and between clients of an instrument that clients answered session by session."""
    from alliance.statistics.multilevel_reliability import generalizability, two_level_reliability

    rated = answers.timepoint(SESSION)
    rated = rated.rows(rated.forms["session"].notna().to_numpy(dtype=bool))
    rated = rated.rows(~rated.forms.duplicated(["client_no", "session"]).to_numpy(dtype=bool))
    if not rated.forms["client_no"].duplicated().any():
        return
    name = TOTAL if TOTAL in rated.scales else next(iter(rated.scales), "")
    if not name:
        return
    level, low = options["pooling"]["level"], options["questions"]["measurement"]["low_reliability"]
    values = rated.scale(name)
    client = rated.forms["client_no"].to_numpy(dtype="int64")
    everyone = pd.Index(np.unique(client))
    codes, known = therapist_codes(everyone, site.clients, site.scores)
    therapists = codes[everyone.get_indexer(client)] if known else None
    identity = _identity(rated, ALL_SESSIONS, name)
    complete = np.isfinite(values).all(axis=1)
    counts = {
        "n_clients": len(np.unique(client[complete])),
        "n_sessions": int(complete.sum()),
        "n_therapists": len(set(codes)) if known else None,
        "share_missing": 1 - float(complete.mean()),
    }
    minimum = options["pooling"]["min_clients"]
    if counts["n_clients"] < minimum:
        reason = f"not estimable: needs at least {minimum} clients with a session whose items were all answered; has {counts['n_clients']}"
        absent = {**identity, **counts, "coefficient": "omega_within", "headline": "yes"}
        part.add(_absent(absent, reason, "reliability_within"))
        return
    two = two_level_reliability(values, client, therapists, level=level)
    over = generalizability(values, client, rated.forms["session"].to_numpy(dtype="int64"), therapists, level=level)
    # Components of variance need no complete forms.
    of_components = {
        **counts,
        "n_clients": over.n_clients,
        "n_sessions": over.n_sessions,
        "share_missing": 1 - over.n_sessions / len(values),
    }
    found = [(kind, name, getattr(two, name), two.method, counts) for name, kind in _ACROSS_SESSIONS.items()]
    found += [
        (kind, name.upper(), one, over.method, of_components) for name, kind in _GENERALIZED.items() if (one := over.coefficients.get(name))
    ]
    if not over.coefficients:
        part.add(_absent({**identity, **of_components, "coefficient": "R_C"}, f"not estimable: {over.reason}", "reliability_within"))
    for kind, name, one, method, behind in found:
        keys = {"coefficient": name, "headline": "yes" if name in ("omega_within", "omega_between") else "no"}
        _add_coefficient(part, {**identity, **behind, **keys}, kind, one, method, low)


def _preferred(
    part: Part,
    site: SiteData,
    found: Sequence[ItemAnswers],
    windows: Mapping[str, Any],
    attended: pd.DataFrame,
    options: Mapping[str, Any],
) -> None:
    """Add the reliability of each rater's first alliance instrument of the configuration, and differences between raters of the same dyads.

    So sites with different instruments can be pooled. Where two raters used different instruments, the difference is flagged.
    """
    from alliance.statistics.reliability import compare, reliability

    window, low = next(iter(windows)), options["questions"]["measurement"]["low_reliability"]
    level, minimum = options["pooling"]["level"], options["pooling"]["min_clients"]
    chosen: dict[str, _Scale] = {}
    for rater in RATERS:
        answers = _first(found, rater, options["alliance"]["instruments"])
        if answers is None:
            continue
        scale = _scale(site, answers.window(windows[window], attended).one_a_client(), window, TOTAL)
        chosen[rater] = scale
        identity = {**_preferred_identity(window), "rater": rater, **scale.counts, "n_items": scale.items.shape[1]}
        coefficients = reliability(scale.items, scale.codes, **_INTERVAL, level=level, min_rows=minimum)
        _add_of_items(part, identity, coefficients, False, low)
    for first, second in combinations(_FROM_MOST_TO_LEAST, 2):
        identity = {**_preferred_identity(window), "contrast": f"{first} minus {second}", "headline": "no"}
        if first not in chosen or second not in chosen:
            lacking = " and ".join(name for name in (first, second) if name not in chosen)
            reason = f"not estimable: needs answers to items by {first} and {second} of the same dyads; has none by {lacking}"
            part.add(_absent({**identity, "coefficient": "alpha"}, reason, "reliability_contrast"))
            continue
        one, two = chosen[first], chosen[second]
        both = one.clients.intersection(two.clients).sort_values()
        items = [scale.items[scale.clients.get_indexer(both)] for scale in (one, two)]
        codes, known = therapist_codes(both, site.clients, site.scores)
        compared = compare(items, codes if known else None, **_INTERVAL, level=level, min_rows=minimum)
        counts = {"n_clients": len(both), "n_sessions": len(both), "n_therapists": len(set(codes)) if known and len(both) else None}
        names = [scale.identity["instrument"] for scale in (one, two)]
        note = "" if names[0] == names[1] else f"the raters used different instruments ({names[0]} and {names[1]})"
        for difference in compared.differences:
            keys = {**identity, **counts, "coefficient": difference.name}
            if difference.status == "not_estimable":
                part.add(_absent(keys, f"not estimable: {difference.reason}", "reliability_contrast"))
                continue
            fields = {"estimate": difference.estimate, "ci_low": difference.ci_low, "ci_high": difference.ci_high}
            method = "cluster_jackknife" if compared.by_therapists else "client_jackknife"
            row = _row(keys, "reliability_contrast", **fields, method=method, **_status([difference.reason, note]))
            part.add(row, difference.difference_error**2)


def _preferred_identity(window: str) -> dict[str, Any]:
    return {"instrument": PREFERRED, "window": window, "instrument_scale": TOTAL, "level": "client", "headline": "no"}


def _first(found: Sequence[ItemAnswers], rater: str, instruments: Sequence[str]) -> ItemAnswers | None:
    """Return the answers by a rater of the first instrument of a list that was filled in itself and has a total."""
    own = {one.instrument.key: one for one in found if one.rater == rater and not one.derived_from and TOTAL in one.scales}
    return next((own[name] for name in instruments if name in own), None)


def _from_published(part: Part, site: SiteData, options: Mapping[str, Any]) -> None:
    """Add reliabilities from a published matrix of items: clients taken as independent and normal."""
    from alliance.statistics.reliability import from_covariance

    window, level = main_window(options), options["pooling"]["level"]
    blocks = published_blocks(site.published, site.instruments, window, options["pooling"]["min_clients"])
    for name in sorted(set(blocks["block"])):
        key, rater, _ = block_keys(name)
        instrument, block = site.instruments[key], read_block(blocks, name)
        for scale in instrument.scale_names if instrument.scored_from_items else ():
            items = [item_name(item) for item in instrument.scale_items(scale)]
            if len(items) < 2 or not set(items) <= set(block.names):
                continue
            own = block.of(items)
            n = int(own.n[0, 0])
            found = from_covariance(own.covariance, n, level=level)
            form = instrument.forms.get(rater, instrument.name)
            identity = {"instrument": key, "form": form, "rater": rater, "window": window, "instrument_scale": scale, "level": "client"}
            note = "from correlations: reliability of standardised items" if own.scale == CORRELATION else ""
            for one in found.coefficients:
                fields = {**identity, "n_items": len(items), "n_clients": n, "headline": "yes" if one.name == "omega_total" else "no"}
                noted = replace(one, reason="; ".join(text for text in (one.reason, note) if text))
                low = options["questions"]["measurement"]["low_reliability"]
                _add_coefficient(part, fields, one.name, noted, "normal_theory", low)
    if not part.rows:
        reason = "not estimable: needs covariances of the items of a scale (instrument.i<number>.<rater>); the published matrix holds none"
        part.add(_absent({}, reason))


def pool(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table: rows of the sites and pooled rows, reliabilities on the scale of ln(1 - reliability)."""
    pooling = options["pooling"]
    frames = []
    for scale, kinds in _SCALES.items():
        own = effects.scaled(gathered[gathered["estimate_type"].isin(kinds)], scale)
        if own.empty:
            continue
        named = own[own["instrument"].ne("")]
        pooled = effects.pooled_rows(named, _POOLED_BY, scale, pooling).join(_headlines(named), on=_POOLED_BY)
        if scale == "logit":
            pooled = _flag_empty_cells(pooled, named)
        # Sites may have asked on ranges of their own, and preferred instruments differ.
        sizes = named.groupby(_SIZED)[["n_items", "categories"]].agg(lambda size: size.iloc[0] if size.nunique(dropna=False) == 1 else None)
        pooled = pooled.join(sizes, on=_SIZED)
        frames += [effects.site_rows(own, scale, pooling["level"]), pooled]
    groups = pd.DataFrame([{**dict.fromkeys(_KEYS, ""), "estimate_type": "omega_total"}])
    frames.append(effects.absent_site_rows(summaries, groups, effects.COMPLEMENT))
    return effects.stack(*frames)


def _flag_empty_cells(pooled: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Flag pooled shares that rest on half clients, which sites without a client at the limit (or with all there) are given."""
    share, n = rows["estimate"].astype(float), rows["n_clients"].astype(float)
    parts = pd.DataFrame({"empty": share.isin((0.0, 1.0)), "at": share * n, "n": n.where(share.notna())})
    sums = parts.groupby([rows[key] for key in _POOLED_BY]).sum().reindex(pd.MultiIndex.from_frame(pooled[_POOLED_BY]))
    hit = pooled["status"].isin(WITH_NUMBERS).to_numpy() & (sums["empty"].to_numpy() > 0)
    notes = [
        f"half a client was added at {empty:.0f} sites where none or all are at the limit, so the share errs towards one half; "
        f"of all clients together it is {at / clients if clients else np.nan:.3f}"
        for empty, at, clients in sums.to_numpy(dtype=float)
    ]
    joined = ["; ".join(text for text in pair if text) for pair in zip(notes, pooled["reason"])]
    return pooled.assign(status=np.where(hit, "flagged", pooled["status"]), reason=np.where(hit, joined, pooled["reason"]))


def _headlines(rows: pd.DataFrame) -> pd.Series:
    """Return which coefficients are the headline of every site: one that has another headline does not split what is pooled."""
    every = rows["headline"].eq("yes").groupby([rows[key] for key in _POOLED_BY]).all()
    return every.map({True: "yes", False: "no"}).rename("headline")


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    with_numbers = table[table["status"].isin(WITH_NUMBERS)]
    kinds = set(with_numbers["estimate_type"])
    if not kinds:
        return [Sentence("Reliability could not be estimated: no site sent answers to items.")]
    sentences = [
        Sentence(
            "Reliability was estimated for every scale, rater and window from one form a client (the first in the window) whose items were "
            "all answered: coefficient alpha and omega total, the latter from a one-factor model of the covariances of the scored items.",
            ("cronbach_1951", "mcdonald_1999"),
        )
    ]
    if "omega_ordinal" in kinds:
        most = options["questions"]["measurement"]["ordinal_categories"]
        text = (
            f"For items with {most} answers or fewer categorical omega from polychoric correlations is the coefficient to read "
            "first, since it is the reliability of the score of such items; ordinal alpha stands beside it."
        )
        sentences.append(Sentence(text, ("green_yang_2009",)))
    if "omega_total_schmid_leiman" in kinds:
        text = "Omega hierarchical and Schmid-Leiman omega total come from exploratory factors with oblique rotation."
        sentences.append(Sentence(text, ("zinbarg_2005",)))
    if "correlation" in kinds:
        text = "Stability is the mean correlation of the scores of one rated session with those of the next."
        sentences.append(Sentence(text))
    if kinds & {"reliability_within", "reliability_between"}:
        text = (
            "Reliability over sessions was split into differences within and between clients by a two-level factor model and by "
            "generalizability theory."
        )
        sentences.append(Sentence(text, ("geldhof_2014", "cranford_2006")))
    if "cluster_jackknife" in set(with_numbers["method"]):
        text = "Their intervals come from leaving out each therapist in turn, with t on the scale of ln(1 - reliability)."
        sentences.append(Sentence(text, ("bell_mccaffrey_2002",)))
    if (with_numbers["site"].eq(POOLED) & with_numbers["estimate_type"].isin(_ON_COMPLEMENT)).any():
        pooled = pooling_sentence(options["pooling"], "Reliabilities were pooled as ln(1 - reliability)")
        sentences.append(replace(pooled, citations=("bonett_2010", *pooled.citations)))
    return sentences
