"""Whether scores mean the same at every site, in every language, for every rater and at every session (claim A15)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil
from typing import Any

import numpy as np
import pandas as pd

from alliance.instruments.registry import TOTAL, Instrument
from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.correlations import therapist_codes
from alliance.questions.item_answers import ItemAnswers, attended_for, item_answers
from alliance.questions.item_moments import (
    block_keys,
    block_name,
    item_name,
    item_rows,
    main_window,
    modelled_items,
    pooled_within,
    published_blocks,
    usual_range,
)
from alliance.questions.measurement.factor_models import own_scales
from alliance.questions.measurement.invariance_rows import (
    ALIGNMENT,
    DIFFERS,
    MANY_GROUPS,
    TOO_FEW_ITEMS,
    alignment_rows,
    listed,
    no_row,
    one_factor_in_place,
    sequence_rows,
    with_one_factor,
)
from alliance.questions.moments import COLUMNS, Block, moment_rows, read_block
from alliance.questions.part import Part, stacked
from alliance.questions.sentences import Sentence
from alliance.questions.site_data import COVARIANCE, SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics import invariance
from alliance.statistics.invariance import Cutoffs, Invariance
from alliance.statistics.structural_fit import Moments

SITES, LANGUAGES, RATERS, SESSIONS = "sites", "languages", "raters", "sessions"
CONSTRUCTS = ("alliance",)
MOST_PARAMETERS = 3000
"""Parameters of the configural model of all groups together; above, the groups with most clients are compared (time and memory)."""


def estimate(site: SiteData, options: Mapping[str, Any]) -> Part:
    """Return one site's rows over raters and sessions, and the moments from which sites, languages and all sites together are tested.

    The items of one rater in the main window are sent by :mod:`alliance.questions.measurement.structure`.
    """
    settings = options["questions"]["measurement"]
    across = settings["invariance"]["across"]
    part = Part()
    forms = [one for one in item_answers(site, CONSTRUCTS) if not one.derived_from]
    part.facts = _facts(site, forms, options)
    if not forms:
        reason = "needs answers to the items of an alliance instrument; has none"
        for kind in (kind for kind in (RATERS, SESSIONS) if kind in across):
            _add(part, no_row({"across": kind}, reason))
        return part
    windows = {name: options["alliance"]["windows"][name] for name in settings["windows"][:2]}
    attended = attended_for(site, windows)
    frames = []
    for one in _pairs(forms, windows, attended, settings["reference_rater"], across):
        # Where an item does not vary there is no model, and a summary with a variance of zero would be refused.
        if len(one.values) >= max(options["pooling"]["min_clients"], 2) and np.ptp(one.values, axis=0).all():
            frames.append(moment_rows(one.block, one.names, one.values))
            part.facts["therapists"] |= {one.block: number} if (number := _n_therapists(one.client_no, site)) is not None else {}
        for row in _site_rows(one, site, options):
            _add(part, row)
    part.moments = stacked(frames, COLUMNS)
    if RATERS in across:
        for instrument in {one.instrument.key: one.instrument for one in forms}.values():
            raters = [one.rater for one in forms if one.instrument.key == instrument.key]
            if len(raters) < 2:
                keys = {"instrument": instrument.key, "rater": raters[0], "window": main_window(options), "across": RATERS}
                _add(part, no_row(keys, f"needs two raters of the same sessions; has {raters[0]} only"))
    return part


def theory_factors(instrument: Instrument) -> dict[str, list[int]]:
    """Return the items of each factor of an instrument's theory: its scales in the order of their first items, or one factor of all items.

    One factor where it has one scale, where scales share items, or where a scale has fewer than two.
    """
    items = modelled_items(instrument)
    number = {item_name(item): item for item in items}
    scales = {name: [number[item] for item in names] for name, names in own_scales(instrument, items).items() if name != TOTAL}
    sizes = [len(members) for members in scales.values()]
    if len(scales) > 1 and sum(sizes) == len(set().union(*scales.values())) and min(sizes) > 1:
        return dict(sorted(scales.items(), key=lambda one: one[1]))
    return {TOTAL: items}


def _facts(site: SiteData, forms: Sequence[ItemAnswers], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return how many clients answered all items, by instrument and rater, and the factors of each instrument as item numbers."""
    window = main_window(options)
    definition = options["alliance"]["windows"][window]
    attended = attended_for(site, {window: definition})
    complete = {f"{one.instrument.key}:{one.rater}": item_rows(one, definition, attended) for one in forms}
    counts = {name: len(rows.values) for name, rows in complete.items()}
    therapists = {name: _n_therapists(rows.client_no, site) for name, rows in complete.items()}
    if site.published is not None:
        blocks = published_blocks(site.published, site.instruments, window, options["pooling"]["min_clients"])
        for block, rows in blocks.groupby("block", sort=True):
            instrument, rater, _ = block_keys(str(block))
            if site.instruments[instrument].construct in CONSTRUCTS:
                counts.setdefault(f"{instrument}:{rater}", int(rows["n"].min()))
    instruments: dict[str, Any] = {}
    for name in sorted(counts):
        key, rater = name.split(":")
        known = site.instruments[key]
        named = instruments.setdefault(key, {"forms": {}, "factors": {}})
        # Texts, since a list of as many items as there are clients could be taken for rows; 'client' alone is a key of rows.
        named["forms"][f"by_{rater}"] = known.forms.get(rater, known.name)
        named["factors"] = {factor: " ".join(map(str, items)) for factor, items in theory_factors(known).items()}
    ranges = {f"{one.instrument.key}:{one.rater}": one.answer_range for one in forms}
    known = {name: number for name, number in therapists.items() if number is not None}
    return {"clients": counts, "therapists": known, "answers": ranges, "instruments": instruments}


def _n_therapists(client_no: pd.Index, site: SiteData) -> int | None:
    """Return how many therapists some clients have; None where therapists are not known."""
    codes, known = therapist_codes(client_no, site.clients, site.scores)
    return int(codes.max()) + 1 if known and len(codes) else None


@dataclass(frozen=True)
class _Occasions:
    """Answers of the same clients by two raters or in two windows, complete in both.

    ``values`` has the items of the first occasion, then those of the second; ``n_forms`` counts clients with a form on either.
    """

    across: str
    instrument: Instrument
    form: str
    rater: str
    window: str
    occasions: tuple[str, str]
    items: tuple[int, ...]
    values: np.ndarray
    client_no: pd.Index
    n_forms: int

    @property
    def names(self) -> list[str]:
        return [invariance.variable(item_name(item), one) for one in self.occasions for item in self.items]

    @property
    def block(self) -> str:
        return f"{self.across}:{self.instrument.key}:{self.rater}:{self.window}".replace(", ", "+")

    @property
    def keys(self) -> dict[str, Any]:
        return {
            "instrument": self.instrument.key,
            "form": self.form,
            "rater": self.rater,
            "window": self.window,
            "across": self.across,
            "groups": ", ".join(self.occasions),
        }


def _pairs(
    forms: Sequence[ItemAnswers], windows: Mapping[str, Any], attended: pd.DataFrame, reference: str, across: Sequence[str]
) -> Iterator[_Occasions]:
    """Yield pairs of raters of the same sessions in the main window, the reference rater first, and the first two windows of each rater."""
    ordered = sorted(forms, key=lambda one: (one.instrument.key, one.rater != reference, one.rater))
    main = next(iter(windows))
    if RATERS in across:
        for first, second in combinations(ordered, 2):
            if first.instrument.key == second.instrument.key:
                sides = [one.window(windows[main], attended) for one in (first, second)]
                yield _matched(RATERS, sides, (first.rater, second.rater), main)
    if SESSIONS in across and len(windows) > 1:
        for one in ordered:
            sides = [one.window(definition, attended) for definition in windows.values()]
            yield _matched(SESSIONS, sides, tuple(windows), ", ".join(windows))


def _matched(across: str, sides: Sequence[ItemAnswers], occasions: tuple[str, str], window: str) -> _Occasions:
    """Return one pair of complete forms a client: the first session that both rated, or the first forms of two sessions."""
    instrument = sides[0].instrument
    items = [item for item in modelled_items(instrument) if all(item in one.items for one in sides)]
    keys = ["client_no", "session"]
    values, tables = [], []
    for one in sides:
        answers = one.answers[:, [one.items.index(item) for item in items]]
        complete = np.isfinite(answers).all(axis=1) if items else np.zeros(len(answers), dtype=bool)
        table = one.forms.loc[complete, keys].astype("int64").assign(row=np.flatnonzero(complete)).drop_duplicates(keys)
        values.append(answers)
        tables.append(table)
    if across == RATERS:
        both = tables[0].merge(tables[1], on=keys, suffixes=("1", "2"))
    else:
        # In short therapies windows overlap; a form is not compared with itself.
        both = tables[0].drop_duplicates("client_no").merge(tables[1], on="client_no", suffixes=("1", "2"))
        both = both[both["session1"] != both["session2"]]
    both = both.sort_values(list(both.columns), kind="stable").drop_duplicates("client_no")
    return _Occasions(
        across=across,
        instrument=instrument,
        form=", ".join(dict.fromkeys(one.form for one in sides)),
        rater=", ".join(dict.fromkeys(one.rater for one in sides)),
        window=window,
        occasions=occasions,
        items=tuple(items),
        values=np.hstack([answers[both[f"row{place}"].to_numpy()] for place, answers in enumerate(values, start=1)]),
        client_no=pd.Index(both["client_no"]),
        n_forms=len(set().union(*(one.forms["client_no"].tolist() for one in sides))),
    )


def _site_rows(one: _Occasions, site: SiteData, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    factors = {name: [item_name(item) for item in items] for name, items in theory_factors(one.instrument).items()}
    n, needed = len(one.values), _needed(2 * sum(map(len, factors.values())), options)
    lacking = [item for items in theory_factors(one.instrument).values() for item in items if item not in one.items]
    if lacking:
        return [no_row(one.keys, f"needs all items on both occasions; without {listed([str(item) for item in lacking])}")]
    if n < needed:
        what = "rated by both in the same session" if one.across == RATERS else "with a form in both windows"
        return [no_row(one.keys, f"needs {needed} clients {what} who have answers to all items; has {n}")]
    counts = {
        "n_clients": n,
        "n_sessions": n if one.across == RATERS else 2 * n,
        "n_therapists": _n_therapists(one.client_no, site),
        "share_missing": 1 - n / one.n_forms,
        "method": "maximum_likelihood",
    }
    moments = Moments(n, np.cov(one.values, rowvar=False), one.values.mean(axis=0), one.names)
    return sequence_rows(*_occasions_tested(factors, moments, one.occasions, options), {**one.keys, **counts})


def _occasions_tested(
    factors: Mapping[str, Sequence[str]], moments: Moments, occasions: Sequence[str], options: Mapping[str, Any]
) -> tuple[Invariance | None, str]:
    cutoffs, share = _cutoffs(options)
    level = options["pooling"]["level"]
    return with_one_factor(factors, lambda chosen: invariance.invariance_of_occasions(chosen, moments, occasions, cutoffs, share, level))


def _cutoffs(options: Mapping[str, Any]) -> tuple[Cutoffs, float]:
    settings = options["questions"]["measurement"]["invariance"]
    names = ("cfi_drop", "rmsea_rise", "srmr_rise_loadings", "srmr_rise_intercepts")
    return Cutoffs(**{name: settings[name] for name in names}), settings["largest_freed_share"]


def _needed(variables: int, options: Mapping[str, Any]) -> int:
    """Return how many clients a group needs for a model of so many variables."""
    return ceil(options["questions"]["measurement"]["clients_per_variable"] * variables)


def _add(part: Part, row: Mapping[str, Any]) -> None:
    """Add a row to a site's summary."""
    written = {name: value for name, value in row.items() if name not in ("model", "std_error")}
    names = [str(row.get(name, "")) for name in ("across", "instrument", "rater", "window", "groups", "model", "estimate_type", "index")]
    error = row.get("std_error")
    identity = ".".join(name.replace(", ", "+") for name in names if name)
    part.add(
        {"parameter": identity, "level": "client", "structure": row["model"], "share_missing": None, **written},
        float("nan") if error is None else error**2,
    )


def pool(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table: rows of the sites, and rows over sites and languages and over raters and sessions of all sites together."""
    across = options["questions"]["measurement"]["invariance"]["across"]
    own = effects.site_rows(gathered, "identity", options["pooling"]["level"]) if len(gathered) else pd.DataFrame()
    if len(own):
        own = own.assign(model=own["structure"])
    usable = [one for one in summaries if one.status == "ok"]
    rows: list[dict[str, Any]] = []
    if SITES in across:
        rows += _over_sites(usable, options)
    if LANGUAGES in across:
        rows += _over_languages(usable, options)
    for kind in (RATERS, SESSIONS):
        if kind in across:
            rows += _over_occasions(kind, usable, options)
    for one in summaries:
        if one.status != "ok":
            kinds = [kind for kind in (SITES, RATERS, SESSIONS) if kind in across]
            rows += [no_row({"across": kind, "site": one.site}, effects.absence(one), "latent_mean") for kind in kinds]
    shared = pd.DataFrame([{"site": POOLED, **row} for row in rows])
    table = effects.stack(own, shared)
    return table.assign(scale="identity") if len(table) else table


@dataclass(frozen=True)
class _Measure:
    """An instrument as one rater filled it in at all sites: its form, the items of each factor, clients with all answers by site.

    ``answers`` is the range of answers of most clients; empty where it is not known.
    """

    instrument: str
    rater: str
    form: str
    factors: dict[str, list[str]]
    clients: dict[str, int]
    answers: str

    @property
    def items(self) -> list[str]:
        return [item for items in self.factors.values() for item in items]


def _measures(summaries: Sequence[SiteSummary]) -> list[_Measure]:
    """Return what the sites have; factors and forms as the first site by name has them."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    forms: dict[tuple[str, str], str] = {}
    instruments: dict[str, Any] = {}
    for one in sorted(summaries, key=lambda one: one.site):
        facts = _facts_of(one)
        for name, count in facts["clients"].items():
            instrument, rater = name.split(":")
            if instrument in facts["instruments"]:
                found.setdefault((instrument, rater), {})[one.site] = count
                named = facts["instruments"][instrument]
                instruments.setdefault(instrument, named)
                forms.setdefault((instrument, rater), named["forms"].get(f"by_{rater}", instrument))
    measures = []
    for (instrument, rater), clients in sorted(found.items()):
        ranges = {one.site: _range_at(one, instrument, rater) for one in summaries}
        form, factors = forms[instrument, rater], _factors_of(instruments[instrument])
        measures.append(_Measure(instrument, rater, form, factors, clients, usual_range(ranges, clients)))
    return measures


def _facts_of(summary: SiteSummary) -> Mapping[str, Any]:
    return summary.facts.get("invariance", {"clients": {}, "instruments": {}})


def _range_at(summary: SiteSummary, instrument: str, rater: str) -> str:
    return _facts_of(summary).get("answers", {}).get(f"{instrument}:{rater}", "")


def _factors_of(named: Mapping[str, Any]) -> dict[str, list[str]]:
    # Keys of a summary come back in the order of the alphabet.
    numbers = {name: [int(item) for item in items.split()] for name, items in named["factors"].items()}
    return {name: [item_name(item) for item in items] for name, items in sorted(numbers.items(), key=lambda one: one[1])}


@dataclass(frozen=True)
class _Group:
    """Moments of a group that is compared, and the sites behind them."""

    name: str
    moments: Moments
    n_clients: int
    n_therapists: int | None
    sites: tuple[str, ...]


def _site_block(summary: SiteSummary, measure: _Measure, options: Mapping[str, Any]) -> tuple[Block | None, str]:
    """Return the moments of a measure's items at a site, or why they can't be used."""
    block = read_block(summary.moments, block_name(measure.instrument, measure.rater, main_window(options)))
    named = _facts_of(summary)["instruments"].get(measure.instrument)
    if block is None:
        count = measure.clients.get(summary.site, 0)
        return None, f"needs {_needed(len(measure.items), options)} clients who answered all {len(measure.items)} items; has {count}"
    if named is not None and _factors_of(named) != measure.factors:
        return None, "its items form other scales than elsewhere"
    answers = _range_at(summary, measure.instrument, measure.rater)
    if answers not in ("", measure.answers):
        return None, f"its answers go from {answers}, elsewhere from {measure.answers}"
    lacking = [item for item in measure.items if item not in block.names]
    if lacking:
        return None, f"needs all {len(measure.items)} items; without {listed(lacking)}"
    block = block.of(measure.items)
    if block.scale != COVARIANCE:
        return None, "needs covariances and means of the items; has correlations"
    if not np.isfinite(block.mean).all():
        return None, "needs the means of the items; has covariances only"
    if not block.complete:
        return None, "needs covariances of all items from the same clients"
    return block, ""


def _blocks(summaries: Sequence[SiteSummary], measure: _Measure, options: Mapping[str, Any]) -> tuple[dict[str, Block], dict[str, str]]:
    """Return usable moments by site, and why others are left out."""
    blocks, left_out = {}, {}
    for one in summaries:
        block, reason = _site_block(one, measure, options)
        if block is not None:
            blocks[one.site] = block
        else:
            left_out[one.site] = reason
    return blocks, left_out


def _over_sites(summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with_any: set[str] = set()
    for measure in _measures(summaries):
        with_any |= set(measure.clients)
        blocks, left_out = _blocks([one for one in summaries if one.site in measure.clients], measure, options)
        groups = [_group(name, {name: block}, measure, summaries) for name, block in blocks.items()]
        rows += _groups_tested(SITES, measure, groups, left_out, options)
    reason = "needs answers to the items of an alliance instrument; has none"
    without = [one.site for one in summaries if one.site not in with_any]
    return rows + [no_row({"across": SITES, "site": site}, reason, "latent_mean") for site in without]


def _over_languages(summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    languages = {one.site: str(one.facts.get("language") or "") for one in summaries}
    rows: list[dict[str, Any]] = []
    for measure in _measures(summaries):
        blocks, left_out = _blocks([one for one in summaries if one.site in measure.clients], measure, options)
        left_out |= {site: "needs its language in site.yaml" for site in blocks if not languages[site]}
        members: dict[str, list[str]] = {}
        for site in blocks:
            if languages[site]:
                members.setdefault(languages[site], []).append(site)
        groups = []
        for language, sites in sorted(members.items()):
            groups.append(_group(language, {site: blocks[site] for site in sites}, measure, summaries))
        rows += _groups_tested(LANGUAGES, measure, groups, left_out, options)
    return rows


def _group(name: str, blocks: Mapping[str, Block], measure: _Measure, summaries: Sequence[SiteSummary]) -> _Group:
    told = {one.site: _facts_of(one).get("therapists", {}).get(f"{measure.instrument}:{measure.rater}") for one in summaries}
    clients = sum(int(block.n[0, 0]) for block in blocks.values())
    return _Group(name, _moments_of(list(blocks.values()), measure.items), clients, _summed(told[site] for site in blocks), tuple(blocks))


def _summed(counts: Iterable[int | None]) -> int | None:
    """Return a sum of counts; None where one of them is not known."""
    known = list(counts)
    return None if None in known else sum(known)


def _moments_of(blocks: Sequence[Block], names: Sequence[str]) -> Moments:
    """Return moments of one site, or of several: covariance within sites (``n``: its degrees of freedom + 1), means weighted by clients."""
    covariance, n, _ = pooled_within(blocks, names)
    sizes = np.array([block.n[0, 0] for block in blocks])
    mean = np.average([block.of(names).mean for block in blocks], axis=0, weights=sizes)
    return Moments(n, covariance, mean, tuple(names))


def _groups_tested(
    across: str, measure: _Measure, groups: Sequence[_Group], left_out: Mapping[str, str], options: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the rows of one measure over sites or languages."""
    p = len(measure.items)
    needed = _needed(p, options)
    enough = [one for one in groups if one.n_clients >= needed]
    what = f"clients who answered all {p} items"
    small = {one.name: f"needs {needed} {what}; has {one.n_clients}" for one in groups if one.n_clients < needed}
    # The largest group is the reference, so that its mean of 0 and SD of 1 rest on most clients.
    ordered = sorted(enough, key=lambda one: (-one.n_clients, one.name))
    most = max(2, MOST_PARAMETERS // (3 * p + len(measure.factors) * (len(measure.factors) - 1) // 2))
    beyond = {one.name: f"more than {most} groups: those with most clients are compared" for one in ordered[most:]}
    factors, caution, improper = _admissible(measure.factors, ordered[:most])
    ordered = [one for one in ordered[:most] if one.name not in improper]
    kept = [*ordered[:1], *sorted(ordered[1:], key=lambda one: one.name)]
    keys = {
        "instrument": measure.instrument,
        "form": measure.form,
        "rater": measure.rater,
        "window": main_window(options),
        "across": across,
    }
    left_out = dict(sorted({**left_out, **small, **improper, **beyond}.items()))
    rows = []
    if across == SITES:
        rows = [no_row({**keys, "site": site, "groups": site}, why, "latent_mean") for site, why in left_out.items()]
    if len(kept) < 2:
        have = [f"{one.name} ({one.n_clients})" for one in sorted(groups, key=lambda one: one.name)]
        reason = f"needs two {across} with at least {needed} {what}; has {listed(have) or 'none'}"
        others = sorted({why for site, why in left_out.items() if site not in small})
        return [*rows, no_row(keys, "; ".join([reason, *others[:3]]))]
    names = [one.name for one in kept]
    many = len(names) > MANY_GROUPS
    notes = [f"left out: {listed([f'{name} ({why})' for name, why in left_out.items()], 3)}"] if left_out else []
    if across == LANGUAGES and all(len(one.sites) == 1 for one in kept):
        notes.append("every language is one site: differences of languages and of sites can't be told apart")
    common = {
        **keys,
        "groups": f"{len(names)} {across}, reference {names[0]}" if many else ", ".join(names),
        "n_clients": sum(one.n_clients for one in kept),
        "n_therapists": _summed(one.n_therapists for one in kept),
        "n_sites": sum(len(one.sites) for one in kept),
        "method": "multiple_groups",
        "reason": "; ".join(notes),
    }
    moments = [one.moments for one in kept]
    cutoffs, share = _cutoffs(options)
    result = None
    if invariance.identified(factors):
        result = invariance.invariance_of_groups(factors, moments, names, cutoffs, share, options["pooling"]["level"])
    found = sequence_rows(result, caution, common, site_of_group=across == SITES)
    if many and result is not None and result.steps[0].fitted.fit is not None:
        configural = result.steps[0].fitted
        differences = invariance.aligned_differences(configural, result.factors, moments, names)
        found += alignment_rows(differences, [caution, configural.reason], common)
    counts = {one.name: {"n_clients": one.n_clients, "n_therapists": one.n_therapists, "n_sites": len(one.sites)} for one in kept}
    for row in found:
        if row.get("groups") in counts and row["status"] != "not_estimable":
            row |= counts[row["groups"]]
    return rows + found


def _admissible(factors: Mapping[str, Sequence[str]], groups: Sequence[_Group]) -> tuple[Mapping[str, Sequence[str]], str, dict[str, str]]:
    """Return the factors that are tested, a caution where they are not those of the theory, and groups without an admissible solution.

    Groups without one are left out; where half of all groups or more would be, or all but one, one factor of all items is tested.
    """
    if not invariance.identified(factors):
        return factors, TOO_FEW_ITEMS, {}
    moments, names = [one.moments for one in groups], [one.name for one in groups]
    improper = invariance.inadmissible_groups(factors, moments, names)
    left, caution = len(groups) - len(improper), ""
    if improper and len(factors) > 1 and (left < 2 or 2 * left <= len(groups)):
        one = {TOTAL: [item for items in factors.values() for item in items]}
        still = invariance.inadmissible_groups(one, moments, names)
        if len(still) < len(improper):
            first = min(set(improper) - set(still))
            caution = one_factor_in_place(factors, f"{first}: {improper[first]}")
            factors, improper = one, still
    return factors, caution, {name: f"no admissible solution: {reason}" for name, reason in improper.items()}


def _over_occasions(across: str, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return rows of raters or sessions of the same clients, on covariances within sites."""
    windows = options["questions"]["measurement"]["windows"]
    if across == SESSIONS and len(windows) < 2:
        return [no_row({"across": SESSIONS}, f"needs two windows in questions.measurement.windows; has {windows[0]}")]
    names = sorted({name for one in summaries for name in one.moments["block"].unique() if name.startswith(f"{across}:")})
    measures = {(one.instrument, one.rater): one for one in _measures(summaries)}
    rows = []
    for name in names:
        _, instrument, raters, window = name.split(":")
        occasions = tuple((raters if across == RATERS else window).split("+"))
        first = measures.get((instrument, raters.split("+")[0]))
        if first is None:
            continue
        variables = [invariance.variable(item, one) for one in occasions for item in first.items]
        found = {one.site: read_block(one.moments, name) for one in summaries}
        known = [measures[instrument, rater] for rater in raters.split("+") if (instrument, rater) in measures]
        ranges = {(one.site, own.rater): _range_at(one, instrument, own.rater) for one in summaries for own in known}
        other = {one.site for one in summaries for own in known if ranges[one.site, own.rater] not in ("", own.answers)}
        usable = {site: block for site, block in found.items() if block is not None and set(variables) <= set(block.names)}
        blocks = {site: block for site, block in usable.items() if site not in other}
        forms = [measures[instrument, rater].form for rater in raters.split("+") if (instrument, rater) in measures]
        keys = {
            "instrument": instrument,
            "form": ", ".join(dict.fromkeys(forms)),
            "rater": raters.replace("+", ", "),
            "window": window.replace("+", ", "),
            "across": across,
            "groups": ", ".join(occasions),
        }
        n_clients, needed = sum(int(block.n[0, 0]) for block in blocks.values()), _needed(len(variables), options)
        if len(blocks) < options["pooling"]["min_sites"] or n_clients < needed:
            reason = f"needs {options['pooling']['min_sites']} sites and {needed} clients with both; has {len(blocks)} and {n_clients}"
            rows.append(no_row(keys, reason))
            continue
        n_sessions = n_clients if across == RATERS else 2 * n_clients
        told = {one.site: _facts_of(one).get("therapists", {}).get(name) for one in summaries}
        counts = {"n_clients": n_clients, "n_therapists": _summed(told[site] for site in blocks), "n_sessions": n_sessions}
        common = {**keys, **counts, "n_sites": len(blocks), "method": "pooled_covariance"}
        left_out = sorted(other & set(usable))
        if left_out:
            common["reason"] = f"left out: {listed(left_out)} (answers on another range than elsewhere)"
        moments = _moments_of(list(blocks.values()), variables)
        rows += sequence_rows(*_occasions_tested(first.factors, moments, occasions, options), common)
    if not names:
        what = "two raters of the same sessions" if across == RATERS else f"forms in both windows ({', '.join(windows[:2])})"
        rows.append(no_row({"across": across}, f"needs {what} at {options['pooling']['min_sites']} sites; has none"))
    return rows


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    tested = table[table["estimate_type"].eq("fit_index") & table["status"].ne("not_estimable")]
    if tested.empty:
        return []
    settings = options["questions"]["measurement"]["invariance"]
    kinds = [kind for kind in (SITES, LANGUAGES, RATERS, SESSIONS) if tested["across"].eq(kind).any()]
    sentences = [
        Sentence(
            f"Measurement invariance over {_joined(kinds)} was tested by setting loadings (metric), intercepts (scalar) and residual "
            "variances (strict) equal step by step, by maximum likelihood; nothing was tested after a step that failed.",
            ("meredith_1993", "vandenberg_lance_2000"),
        ),
        Sentence(
            f"A step failed where CFI fell by {settings['cfi_drop']:.3f} or more and RMSEA rose by {settings['rmsea_rise']:.3f} or more or "
            f"SRMR by {settings['srmr_rise_loadings']:.3f} (loadings) or {settings['srmr_rise_intercepts']:.3f} (intercepts, residual "
            "variances) or more; these cut-offs are conventions.",
            ("cheung_rensvold_2002", "chen_2007"),
        ),
        Sentence(
            "Clients were taken as independent and answers as normal: where clients share therapists, chi-squared is too large and "
            "standard errors of means are too small."
        ),
        Sentence(
            "CFI compares with uncorrelated items whose means and variances are free in every group and occasion; against a baseline that "
            "sets them equal wherever the models do, CFI would differ.",
            ("widaman_thompson_2003",),
        ),
    ]
    if table["model"].str.startswith("partial").any():
        sentences.append(
            Sentence(
                "Where a step failed, the parameter with the largest score test was freed in all groups, one at a time, in at most "
                f"{settings['largest_freed_share']:.0%} of the items and with at least {invariance.FEWEST_EQUAL} items a factor equal.",
                ("byrne_shavelson_muthen_1989", "sorbom_1989"),
            )
        )
    if table["model"].eq(ALIGNMENT).any():
        sentences.append(
            Sentence(
                f"Over more than {MANY_GROUPS} groups, where exact tests nearly always fail, the configural loadings and intercepts were "
                f"aligned, and the share that differs from the mean by more than {DIFFERS:g} standard deviations of the item and by two "
                "standard errors is stated beside the tests.",
                ("asparouhov_muthen_2014",),
            )
        )
    if LANGUAGES in kinds:
        sentences.append(
            Sentence(
                "Sites of one language were taken together by their covariances within sites and means weighted by clients: loadings are "
                "taken as equal at them, and differences of their means are no part of the standard errors."
            )
        )
    if {RATERS, SESSIONS} & set(kinds):
        sentences.append(
            Sentence("Raters and sessions of the same clients were tested in one model with correlated residuals of the same item.")
        )
    if (table["estimate_type"].eq("latent_mean") & table["status"].isin(WITH_NUMBERS)).any():
        sentences.append(
            Sentence(
                "Means of factors are in standard deviations of the reference group: the site or language with most clients, the reference "
                "rater, the first window."
            )
        )
    return sentences


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
