"""Alliance and outcome at one site under many specifications: the functions of the main analysis, every measure read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.files import canonical_json
from alliance.questions.alliance_outcome import headline as outcome_headline
from alliance.questions.alliance_outcome.contrasts import main_outcome
from alliance.questions.alliance_outcome.measures import (
    FORMS,
    PREFERRED,
    AllianceKey,
    OutcomeKey,
    SiteMeasures,
    alliance_measure,
    as_at_its_timepoint,
    clients_of,
    effects_of,
    explained,
    gathered,
    outcome_values,
)
from alliance.questions.alliance_outcome.question import published_effect
from alliance.questions.site_data import SiteData
from alliance.sensitivity.site_effect import SiteEffect, absent
from alliance.statistics.sign_flips import freed

OTHER_MEASURES = "the site published the measures that config.yaml names, and no others"


def site_effects(site: SiteData, every: Sequence[Mapping[str, Any]], base: Mapping[str, Any]) -> list[SiteEffect]:
    """Return the effect of one site under each of many options.

    Parameters
    ----------
    site : SiteData
    every : sequence of mapping
        The keys that the target reads, one mapping a specification.
    base : mapping
        The same keys of the configuration as it stands: what a published matrix answers.
    """
    if site.published is not None:
        return [_published(site, options, base) for options in every]
    clients = clients_of(site)
    alliance = _variants(every, _alliance_part)
    outcomes = _variants(every, _outcome_part)
    found_alliance = {
        _alliance_key(options, number): alliance_measure(site, _alliance_key(options), options) for options, number in alliance.values()
    }
    found_outcomes = {
        _outcome_key(options, number): outcome_values(site, _outcome_key(options), clients, as_at_its_timepoint(options))
        for options, number in outcomes.values()
    }
    measures = gathered(site, clients, found_alliance, found_outcomes)
    groups: dict[str, list[int]] = {}
    for position, options in enumerate(every):
        chosen = [_outcome_part(options), options["outcome"]["form"], outcome_headline.settings(options), options["pooling"]]
        groups.setdefault(canonical_json(chosen), []).append(position)
    effects: list[SiteEffect | None] = [None] * len(every)
    covariates: dict[str, tuple[np.ndarray | None, str]] = {}
    for positions in groups.values():
        first = every[positions[0]]
        outcome = _outcome_key(first, outcomes[canonical_json(_outcome_part(first))][1])
        wanted = [_alliance_key(every[at], alliance[canonical_json(_alliance_part(every[at]))][1]) for at in positions]
        for at, effect in zip(positions, _of_group(site, measures, wanted, outcome, first, covariates)):
            effects[at] = effect
    return [effect for effect in effects if effect is not None]


def _alliance_part(options: Mapping[str, Any]) -> dict[str, Any]:
    section = options["alliance"]
    part = {name: section[name] for name in ("instruments", "scale", "rater", "window")}
    return {**part, "sessions": section["windows"][section["window"]]}


def _outcome_part(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options["outcome"].items() if name != "form"}


def _variants(every: Sequence[Mapping[str, Any]], part: Any) -> dict[str, tuple[Mapping[str, Any], int]]:
    """Return every different part of the options with the first options that hold it, and its number."""
    found: dict[str, tuple[Mapping[str, Any], int]] = {}
    for options in every:
        found.setdefault(canonical_json(part(options)), (options, len(found)))
    return found


def _alliance_key(options: Mapping[str, Any], number: int | None = None) -> AllianceKey:
    section = options["alliance"]
    instrument = PREFERRED if number is None else f"{PREFERRED} {number}"
    return AllianceKey(instrument, section["scale"], section["rater"], section["window"])


def _outcome_key(options: Mapping[str, Any], number: int | None = None) -> OutcomeKey:
    main = main_outcome(options)
    return main if number is None else OutcomeKey(f"{PREFERRED} {number}", main.scale, main.rater, main.timepoint)


def _of_group(
    site: SiteData,
    measures: SiteMeasures,
    wanted: Sequence[AllianceKey],
    outcome: OutcomeKey,
    options: Mapping[str, Any],
    known: dict[str, tuple[np.ndarray | None, str]],
) -> list[SiteEffect]:
    """Return the effects of several alliance measures on one outcome, estimated alike; covariates read once are kept in ``known``."""
    form, chosen = options["outcome"]["form"], outcome_headline.settings(options)
    kind = FORMS[form]
    if outcome not in measures.outcomes:
        return [absent(measures.reasons[outcome], kind) for _ in wanted]
    held_constant = form != "zero_order"
    names = chosen["covariates"] if held_constant else []
    key = canonical_json([names, _outcome_part(options), {name: options[name] for name in options if name not in ("outcome", "questions")}])
    if key not in known:
        known[key] = outcome_headline.covariates_of(site, measures.clients, names, options)
    covariates, lacking = known[key]
    values = measures.outcomes[outcome]
    lacking = lacking or (values.no_intake if held_constant else "")
    if lacking:
        return [absent(lacking, kind) for _ in wanted]
    together = chosen["missing"] == outcome_headline.COMPLETE and chosen["therapists"] != outcome_headline.RANDOM
    ignored = chosen["therapists"] == outcome_headline.IGNORED
    places = {key: position for position, key in enumerate(measures.alliance)}
    result = None
    if together and measures.alliance:
        minimum = options["pooling"]["min_clients"]
        result = effects_of(measures, outcome, form, minimum, covariates=covariates, ignore_therapists=ignored)
    y, held = explained(values, form, covariates)
    effects = []
    for key in wanted:
        if key not in places:
            effects.append(absent(measures.reasons[key], kind))
            continue
        if result is not None:
            fields, variance = outcome_headline.complete_fields(measures, outcome, form, result, places[key], covariates)
            fields = outcome_headline.with_ignored_therapists(fields) if ignored else fields
        else:
            fields, variance = outcome_headline.configured_effect(site, measures, key, outcome, form, options)
        if fields["status"] == "not_estimable" or not np.isfinite(variance):
            effects.append(SiteEffect(fields, variance))
            continue
        predictor, explained_values = (pd.Series(one, index=measures.clients) for one in freed(measures.of(key, outcome), y, held))
        effects.append(SiteEffect(fields, variance, predictor, explained_values, predictor * explained_values))
    return effects


def _published(site: SiteData, options: Mapping[str, Any], base: Mapping[str, Any]) -> SiteEffect:
    """Return what a published matrix says; nothing where a specification asks for other measures than those of the configuration."""
    form = options["outcome"]["form"]
    if _alliance_part(options) != _alliance_part(base) or _outcome_part(options) != _outcome_part(base):
        return absent(OTHER_MEASURES, FORMS[form])
    chosen = outcome_headline.settings(options)
    if chosen["missing"] != outcome_headline.COMPLETE or chosen["therapists"] == outcome_headline.RANDOM:
        return absent("needs the rows of single clients; the site published summaries only", FORMS[form])
    fields, variance = published_effect(site.published, form, options)
    return SiteEffect(fields, variance)
