"""From sites to the table of conditions, as the question of path models makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from alliance.questions import effects
from alliance.questions.contract import finish
from alliance.questions.correlations import variances
from alliance.questions.part import VCOV, largest_counts, stacked
from alliance.questions.path_models import conditions as path_models_conditions
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary


def summary_of(site: SiteData, options: Mapping[str, Any]) -> SiteSummary:
    """Return what the part adds to a site's summary."""
    part = path_models_conditions.estimate(site, options)
    rows = [{**row, "model": "conditions"} for row in part.rows]
    return SiteSummary(
        site=site.site,
        label=site.label,
        question="path_models",
        n=largest_counts(rows),
        facts={"conditions": part.facts},
        estimates=pd.DataFrame(rows),
        vcov=stacked([variances(rows, part.variances)], VCOV),
    )


def table_of(sites: Sequence[SiteData], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table of several sites."""
    summaries = [summary_of(site, options) for site in sites]
    return finish(path_models_conditions.pool(effects.gather(summaries), summaries, options), "path_models", "conditions")
