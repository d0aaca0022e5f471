"""Alliance of a session and symptoms of the next, within clients, at one site under many specifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.files import canonical_json
from alliance.questions.alliance_outcome.levels import session_frame, within_client_row
from alliance.questions.alliance_outcome.measures import SiteMeasures, clients_of
from alliance.questions.correlations import therapist_codes
from alliance.questions.site_data import SiteData
from alliance.sensitivity.site_effect import SiteEffect, absent

KIND = "slope_standardised"


def site_effects(site: SiteData, every: Sequence[Mapping[str, Any]], base: Mapping[str, Any]) -> list[SiteEffect]:
    """Return the effect of one site under each of many options; see :mod:`alliance.sensitivity.alliance_outcome_specifications`."""
    if site.published is not None:
        return [absent("needs the sessions of single clients; the site published summaries only", KIND) for _ in every]
    clients = clients_of(site)
    codes, known = therapist_codes(clients, site.clients, site.scores)
    found = SiteMeasures(clients, codes if known else None, {}, {}, {}, {})
    kept: dict[str, pd.DataFrame] = {}
    effects = []
    for options in every:
        part = [options["alliance"], options["symptoms"], options["questions"]["alliance_outcome"]["within"]["client_mean"]]
        key = canonical_json(part)
        if key not in kept:
            kept[key] = session_frame(site, found, options)
        row = within_client_row(kept[key], options)
        variance = float(row.pop("variance", np.nan))
        fields = {name: value for name, value in row.items() if name not in ("explained", "part", "contrast", "same_rater")}
        if fields["status"] == "not_estimable" or not np.isfinite(variance):
            effects.append(SiteEffect(fields, variance))
            continue
        trend = options["questions"]["alliance_outcome"]["within"]["session_trend"]
        effects.append(SiteEffect(fields, variance, scores=_scores(kept[key], trend, clients)))
    return effects


def _scores(frame: pd.DataFrame, trend: bool, clients: pd.Index) -> pd.Series:
    """Return each client's sum of products of alliance and next symptoms, both as deviations within the client, freed of the trend."""
    rows = frame[frame[["symptoms", "within_client"]].notna().all(axis=1)]
    values = rows[["within_client", "symptoms", "session"]].astype("float64")
    inside = (values - values.groupby(rows["client"]).transform("mean")).to_numpy()
    pair = inside[:, :2]
    if trend:
        session = inside[:, 2:]
        size = float((session**2).sum())
        pair = pair - session @ (session.T @ pair) / size if size > 0 else pair
    spread = pair.std(axis=0)
    product = pd.Series((pair / np.where(spread > 0, spread, 1.0)).prod(axis=1), index=rows["client"].astype("int64").to_numpy())
    return product.groupby(level=0).sum().reindex(clients)
