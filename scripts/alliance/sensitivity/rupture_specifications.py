"""Outcome after an unrepaired rupture against none, at one site under many specifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.files import canonical_json
from alliance.questions.ruptures import outcome as outcomes
from alliance.questions.ruptures import sample as samples
from alliance.questions.site_data import SiteData
from alliance.sensitivity.site_effect import SiteEffect, absent
from alliance.statistics.sign_flips import freed

KIND = outcomes.DIFFERENCE
CONTRAST = f"{samples.UNREPAIRED} - {samples.NONE}"


def site_effects(site: SiteData, every: Sequence[Mapping[str, Any]], base: Mapping[str, Any]) -> list[SiteEffect]:
    """Return the effect of one site under each of many options; see :mod:`alliance.sensitivity.alliance_outcome_specifications`."""
    if site.published is not None:
        return [absent("needs sessions of single clients; the site published summaries only", KIND) for _ in every]
    found: dict[str, samples.Sample] = {}
    effects = []
    for options in every:
        question = options["questions"]["ruptures"]
        # Only the criterion of the specification is asked for; a sample holds every pattern and covariate.
        asked = {**question, "criteria": {question["headline"]: question["criteria"][question["headline"]]}}
        own = {**options, "questions": {**options["questions"], "ruptures": asked}}
        whole = {name: value for name, value in asked.items() if name not in ("covariates", "at_the_end", "min_group")}
        key = canonical_json([whole, options["alliance"], options["outcome"], options["symptoms"], options["early_gain"]])
        if key not in found:
            found[key] = samples.sample(site, own)
        effects.append(_effect(found[key], own))
    return effects


def _effect(found: samples.Sample, options: Mapping[str, Any]) -> SiteEffect:
    question = options["questions"]["ruptures"]
    one, covariates = found.criteria[0], question["covariates"]
    row = next(row for row in outcomes.pattern_rows(found, one, covariates, options) if row["term"] == CONTRAST)
    kept = ("estimate", "estimate_type", "n_sessions", "n_clients", "n_therapists", "share_missing", "status", "reason", "method")
    fields = {name: row[name] for name in kept if name in row}
    variance = float(row.get("variance", np.nan))
    if fields["status"] == "not_estimable" or not np.isfinite(variance):
        return SiteEffect({**fields, "n_clients": fields.get("n_clients", 0)}, np.nan)
    pattern = one.pattern(question["at_the_end"])
    own = found.columns.reindex(pattern.index)
    held = own[outcomes.HELD[covariates]].to_numpy(dtype=float)
    present = np.isfinite(np.column_stack([own["outcome"], held])).all(axis=1)
    compared, terms, _ = outcomes.pattern_terms(pattern, present, question["min_group"])
    at = pattern.index.get_indexer(compared.index)
    unrepaired = compared.eq(samples.UNREPAIRED).to_numpy(dtype=float)
    # The other pattern is held constant where it is compared too.
    others = [column for column in terms.values.T if not np.array_equal(column, unrepaired)]
    controls = np.column_stack([held[at], *others])
    pair = freed(unrepaired, own["outcome"].to_numpy(dtype=float)[at], controls)
    predictor, explained = (pd.Series(values, index=compared.index).reindex(found.clients) for values in pair)
    return SiteEffect(fields, variance, predictor, explained, predictor * explained)
