"""The first principal component of the therapist-offered conditions and the alliance scales (claim I5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.correlations import therapist_codes
from alliance.questions.part import Part
from alliance.questions.sentences import Sentence, pooling_sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.components import first_component
from alliance.statistics.resampling import generator
from alliance.variables.client import measure

SET = "conditions_and_alliance"
GROUPS = ("condition", "alliance")
SMALLEST, LARGEST = "(smallest)", "(largest)"
_KEYS = ["set", "window", "rater", "group", "variable", "estimate_type"]
_FEWEST = {"condition": 2, "alliance": 2}


def estimate(site: SiteData, options: Mapping[str, Any]) -> Part:
    """Return the loadings of one site's scores on their first principal component.

    Scores of the reference rater, averaged over the sessions of the main window; the first instrument that the site has counts, for the
    alliance the first that has all scales. Clients with all scores. Intervals by bootstrap over therapists.
    """
    part = Part()
    settings = options["questions"]["measurement"]
    window, rater = settings["windows"][0], settings["reference_rater"]
    common = {"set": SET, "window": window, "rater": rater, "level": "client", "estimate_type": "component_loading"}
    scores, sources, sessions = _scores(site, options, window, rater)
    reason = _lacking(scores, settings)
    data = pd.DataFrame({name: values for (_, name), values in scores.items()}).dropna()
    if not reason and len(data) < options["pooling"]["min_clients"]:
        reason = f"needs at least {options['pooling']['min_clients']} clients with all scores; has {len(data)}"
    if reason:
        part.add(_row(common, "", "", "component_share", status="not_estimable", reason=f"not estimable: {reason}", method="none"))
        return part
    codes, known = therapist_codes(pd.Index(data.index), site.clients, site.scores)
    found = first_component(
        data.to_numpy(dtype=float),
        generator(options["seed"], "measurement", "components", site.site),
        clusters=codes if known else None,
        draws=options["resampling"]["draws"],
        level=options["pooling"]["level"],
    )
    clients = len(site.clients) or len(pd.DataFrame(dict(scores)).index)
    missing = _missing_conditions(scores, settings)
    notes = [text for text in (found.reason, f"without {', '.join(missing)}: not measured here" if missing else "") if text]
    counts = {
        "n_clients": len(data),
        "n_therapists": int(codes.max()) + 1 if known else None,
        "n_sessions": sessions,
        "share_missing": 1 - len(data) / clients,
        "method": "bootstrap",
        "status": "flagged" if notes else "estimated",
        "reason": "; ".join(notes),
    }
    if found.status == "not_estimable":
        part.add(
            _row(common, "", "", "component_share", status="not_estimable", reason=f"not estimable: {found.reason}", method="none")
        )
        return part
    share = {"estimate": found.share, "ci_low": found.share_low, "ci_high": found.share_high}
    part.add(_row(common, "", "", "component_share", **counts, **share), found.share_variance)
    for position, (group, name) in enumerate(scores):
        numbers = {"estimate": found.loadings[position], "ci_low": found.low[position], "ci_high": found.high[position]}
        part.add(_row(common, group, name, "component_loading", **counts, **numbers), found.variance[position])
    part.facts = {"sources": sources}
    return part


def _row(common: Mapping[str, Any], group: str, variable: str, kind: str, **fields: Any) -> dict[str, Any]:
    parameter = f"{common['window']}.{common['rater']}.{variable or 'component'}"
    return {**common, "parameter": parameter, "group": group, "variable": variable, "estimate_type": kind, **fields}
