"""First-session alliance and dropout at one site under many specifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.files import canonical_json
from alliance.questions.alliance_outcome.measures import as_at_its_timepoint
from alliance.questions.dropout import models
from alliance.questions.dropout import periods as spans
from alliance.questions.site_data import SiteData
from alliance.sensitivity.site_effect import SiteEffect, absent

KIND = "hazard_ratio"


def site_effects(site: SiteData, every: Sequence[Mapping[str, Any]], base: Mapping[str, Any]) -> list[SiteEffect]:
    """Return the effect of one site under each of many options; see :mod:`alliance.sensitivity.alliance_outcome_specifications`."""
    if site.published is not None:
        return [absent("needs sessions and endings of single clients; the site published summaries only", KIND) for _ in every]
    courses: dict[str, spans.Course] = {}
    effects = []
    for options in every:
        # A course holds every definition; only its measures depend on the options.
        key = canonical_json([options["alliance"], options["outcome"], options["questions"]["dropout"], options["pooling"]])
        if key not in courses:
            courses[key] = spans.course(site, as_at_its_timepoint(options))
        effects.append(_effect(courses[key], options))
    return effects


def _effect(found: spans.Course, options: Mapping[str, Any]) -> SiteEffect:
    spec = models.specs(options)[0]
    row = next(one for one in models.frailty_rows([found], spec, options) if one["term"] == spans.FIRST)
    kept = ("estimate", "estimate_type", "n_sessions", "n_clients", "n_therapists", "share_missing", "status", "reason", "method")
    fields = {name: row[name] for name in kept if name in row}
    variance = float(row.get("variance", np.nan))
    if fields["status"] == "not_estimable" or not np.isfinite(variance):
        return SiteEffect({**fields, "n_clients": fields.get("n_clients", 0)}, np.nan)
    return SiteEffect(fields, variance, scores=_scores(found, spec, options))


def _scores(found: spans.Course, spec: models.Spec, options: Mapping[str, Any]) -> pd.Series:
    """Return each client's contribution to the score of no effect of the alliance, in a model without it and without frailty.

    The alliance is first freed of the other predictors with the weights of that model (the efficient score).
    """
    from alliance.statistics.discrete_time_hazard import hazard_model

    made = models.design([found], spec, options)
    others = [name for name in made.names if name != spans.FIRST]
    rows = made.rows
    linear = np.full(len(rows), np.log(-np.log1p(-rows[made.event].mean())))
    if others:
        without = hazard_model(rows[made.event], rows[others], others, link=spec.link, interval=False)
        if without.status == "not_estimable":
            return pd.Series(dtype="float64")
        linear = rows[others].to_numpy(dtype=float) @ without.coefficients.loc[others, "estimate"].to_numpy() + without.intercepts[0]
    hazard = np.exp(linear)
    chance = -np.expm1(-hazard)
    event = rows[made.event].to_numpy(dtype=float)
    slope = hazard * (event / chance - 1)
    weight = hazard**2 * (1 - chance) / chance
    design = np.column_stack([np.ones(len(rows)), rows[others].to_numpy(dtype=float)])
    alliance = rows[spans.FIRST].to_numpy(dtype=float)
    weighted = design * weight[:, None]
    left = alliance - design @ np.linalg.lstsq(weighted.T @ design, weighted.T @ alliance, rcond=None)[0]
    return pd.Series(left * slope, index=rows["client"].astype("int64").to_numpy()).groupby(level=0).sum()
