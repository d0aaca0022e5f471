"""Simulated sites and configurations of a multiverse, for tests of specifications, of what sites say of them, and of their pooling."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from alliance.configuration.options import merge
from alliance.files import canonical_json
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.sensitivity import multiverse
from alliance.sensitivity.specifications import options_of, scorings
from unit.simulated_site import OPTIONS
from unit.test_questions_alliance_outcome import treated

# What no specification reads and the main analysis would spend its time on.
QUICK = {"questions": {"alliance_outcome": {"windows": [], "forms": [], "phases": {}, "imputation": {"imputations": 2, "deltas": [0]}}}}


def headline(**changes: Any) -> dict[str, Any]:
    """Return changes of how the headline is estimated."""
    return {"questions": {"alliance_outcome": {"headline": changes}}}


def options(
    nodes: Mapping[str, Any], exclude: Sequence[Mapping[str, Any]] = (), target: str = "alliance_outcome", flips: int = 200, **more: Any
) -> dict[str, Any]:
    """Return what one multiverse reads: the options of the simulated sites, with a grid; ``more`` are changes of the configuration."""
    made = merge(merge(copy.deepcopy(OPTIONS), QUICK), more)
    grids = {target: {"nodes": dict(nodes), "exclude": list(exclude)}}
    section = {"enabled": True, "flips": flips, "shuffles": False, "grids": grids}
    given = options_of(made | {"scoring": {"missing_rule": "instrument"}, "multiverse": section})
    # As a job is given them.
    return json.loads(canonical_json({**made, **{name: given[name] for name in ("scoring", "multiverse")}}))


def sites(names: str = "abc", therapists: int = 12, **more: Any) -> list[SiteData]:
    """Return sites of 60 to 100 clients; every fifth client has no outcome, and some have no intake or no alliance."""
    made = []
    for seed, name in enumerate(names, start=1):
        one = treated(name, n=50 + 10 * seed, seed=seed, therapists=therapists, **more)
        client = one.scores["client_no"].astype(int).to_numpy()
        gone = (client % 5 == 0) & one.scores["timepoint"].eq("post").to_numpy()
        gone |= (client % 17 == 0) & one.scores["timepoint"].eq("intake").to_numpy()
        gone |= (client % 11 == 0) & one.scores["instrument"].eq("wai_36").to_numpy()
        made.append(dataclasses.replace(one, scores=one.scores[~gone].reset_index(drop=True)))
    return made


def answer(site: SiteData, given: Mapping[str, Any], other_scores: Mapping[str, SiteData] | None = None) -> SiteSummary:
    """Return what a site says of every specification; scored alike under every way of scoring that is not given."""
    ways = {canonical_json(section): site for section in scorings(given)}
    return multiverse.estimate({**ways, **(other_scores or {})}, given)


def statuses(given: Sequence[SiteData]) -> list[dict[str, Any]]:
    """Return the statuses of sites, with their numbers of clients."""
    return [{"site": one.site, "status": "ok", "counts": {"clients": int(np.unique(one.scores["client_no"]).size)}} for one in given]
