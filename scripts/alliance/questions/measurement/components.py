"""The first principal component of the therapist-offered conditions and the alliance scales (claim I5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.correlations import published_correlations, therapist_codes
from alliance.questions.item_moments import main_window
from alliance.questions.part import Part
from alliance.questions.sentences import Sentence, pooling_sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.components import FirstComponent, first_component, first_component_of_matrix
from alliance.statistics.resampling import generator
from alliance.variables.checks import score_names
from alliance.variables.client import Measure, measure

SET = "conditions_and_alliance"
CONDITION, ALLIANCE = "condition", "alliance"
SMALLEST, LARGEST = "(smallest)", "(largest)"
FEWEST = 2
_KEYS = ["set", "window", "rater", "group", "variable", "estimate_type"]
_SCALES = {"fisher_z": "component_loading", "logit": "component_share"}
_METHODS = {"clusters": "bootstrap", "rows": "bootstrap", "none": "normal_theory"}

Variable = tuple[str, str]


def estimate(site: SiteData, options: Mapping[str, Any]) -> Part:
    """Return the loadings of one site's scores on their first principal component.

    Scores of the reference rater, averaged over the sessions of the main window; of several instruments the first that the site has counts,
    for the alliance the first that has all scales. Clients with all scores; intervals by bootstrap over therapists.
    """
    part = Part()
    settings = options["questions"]["measurement"]
    common = {"set": SET, "window": main_window(options), "rater": settings["reference_rater"], "level": "client"}
    if site.published is not None:
        _from_published(part, site, options, common)
        return part
    measures = _measures(site, options)
    reason = _lacking(list(measures), settings)
    data = pd.DataFrame({f"{group}.{name}": one.values for (group, name), one in measures.items()}).dropna()
    minimum = options["pooling"]["min_clients"]
    if not reason and len(data) < minimum:
        reason = f"needs at least {minimum} clients with all scores; has {len(data)}"
    if reason:
        _add_absent(part, common, reason)
        return part
    codes, known = therapist_codes(pd.Index(data.index), site.clients, site.scores)
    random = generator(options["seed"], "measurement", "components", site.site)
    clusters = codes if known else None
    draws, level = options["resampling"]["draws"], options["pooling"]["level"]
    found = first_component(data.to_numpy(dtype=float), list(data), random, clusters, draws=draws, level=level, min_clients=minimum)
    everyone = len(site.clients) or len(data)
    counts = {
        "n_clients": len(data),
        "n_sessions": max((one.n_sessions or 0 for one in measures.values()), default=0) or None,
        "n_therapists": len(set(codes)) if known else None,
        "share_missing": max(0.0, 1 - len(data) / everyone),
    }
    part.facts = {"sources": {f"{group}.{name}": one.source for (group, name), one in measures.items()}}
    _add_component(part, common, list(measures), found, counts, settings)
    return part


def _measures(site: SiteData, options: Mapping[str, Any]) -> dict[Variable, Measure]:
    """Return the scores of a site by group and name, conditions first."""
    settings = options["questions"]["measurement"]
    rater, window = settings["reference_rater"], main_window(options)

    def scores(construct: str) -> Measure:
        return measure(site, {"construct": construct, "window": window, "rater": rater}, options)

    conditions = {condition: scores(condition) for condition in settings["composite"]["conditions"]}
    found: dict[Variable, Measure] = {(CONDITION, name): one for name, one in conditions.items() if not one.reason}
    scales = settings["composite"]["alliance"]
    for instrument in options["alliance"]["instruments"]:
        own = {scale: scores(f"{instrument}.{scale}") for scale in scales}
        if not any(one.reason for one in own.values()):
            return found | {(ALLIANCE, scale): one for scale, one in own.items()}
    return found


def _lacking(variables: Sequence[Variable], settings: Mapping[str, Any]) -> str:
    """Return what is missing for a component; empty where nothing is."""
    counts = {group: sum(one == group for one, _ in variables) for group in (CONDITION, ALLIANCE)}
    scales, conditions = settings["composite"]["alliance"], settings["composite"]["conditions"]
    if counts[ALLIANCE] < len(scales):
        return f"needs the alliance scales {', '.join(scales)} of one instrument by the {settings['reference_rater']} in these sessions"
    if counts[CONDITION] < min(FEWEST, len(conditions)):
        return f"needs at least {FEWEST} of the conditions {', '.join(conditions)} in these sessions; has {counts[CONDITION]}"
    return ""


def _row(common: Mapping[str, Any], group: str, variable: str, kind: str, **fields: Any) -> dict[str, Any]:
    parameter = ".".join(part for part in (common["window"], common["rater"], group, variable or "component") if part)
    return {**common, "parameter": parameter, "group": group, "variable": variable, "estimate_type": kind, **fields}


def _add_absent(part: Part, common: Mapping[str, Any], reason: str) -> None:
    fields = {"status": "not_estimable", "reason": f"not estimable: {reason}", "method": "none"}
    part.add(_row(common, "", "", "component_share", **fields))


def _add_component(
    part: Part,
    common: Mapping[str, Any],
    variables: Sequence[Variable],
    found: FirstComponent,
    counts: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    if found.status == "not_estimable":
        _add_absent(part, common, found.reason)
        return
    missing = [name for name in settings["composite"]["conditions"] if (CONDITION, name) not in variables]
    note = f"without {', '.join(missing)}, which was not measured here" if missing else ""
    reason = "; ".join(text for text in (found.reason, note) if text)
    fields = {**counts, "method": _METHODS[found.unit], "status": "flagged" if reason else "estimated", "reason": reason}
    share = _limits(found.share, found.share_low, found.share_high)
    variance = (found.share_error_logit * found.share * (1 - found.share)) ** 2
    part.add(_row(common, "", "", "component_share", **fields, **share), variance)
    for position, (group, name) in enumerate(variables):
        loading = float(found.loadings[position])
        numbers = _limits(loading, found.loading_low[position], found.loading_high[position])
        variance = (found.loading_error_z[position] * (1 - loading**2)) ** 2
        part.add(_row(common, group, name, "component_loading", **fields, **numbers), variance)


def _limits(estimate: float, low: float, high: float) -> dict[str, float]:
    limits = {"ci_low": float(low), "ci_high": float(high)} if np.isfinite(low) and np.isfinite(high) else {}
    return {"estimate": float(estimate), **limits}


def _from_published(part: Part, site: SiteData, options: Mapping[str, Any], common: Mapping[str, Any]) -> None:
    """Add the component of a published correlation matrix of the scores, clients taken as independent and normal."""
    settings = options["questions"]["measurement"]
    rows = published_correlations(site.published)
    known = set(rows["var1"]) | set(rows["var2"])
    rater = settings["reference_rater"]

    def present(construct: str) -> str | None:
        return next((name for name in (f"{construct}.{rater}", construct) if name in known), None)

    chosen: dict[Variable, str] = {}
    for condition in settings["composite"]["conditions"]:
        sources = (".".join(score) for score in score_names(options[condition]))
        name = next((name for name in map(present, sources) if name), None)
        if name:
            chosen[CONDITION, condition] = name
    for instrument in options["alliance"]["instruments"]:
        own = {scale: present(f"{instrument}.{scale}") for scale in settings["composite"]["alliance"]}
        if all(own.values()):
            chosen |= {(ALLIANCE, scale): name for scale, name in own.items()}
            break
    reason = _lacking(list(chosen), settings)
    if reason:
        _add_absent(part, common, reason)
        return
    at = {name: position for position, name in enumerate(chosen.values())}
    matrix, n = np.eye(len(at)), []
    matrix[~np.eye(len(at), dtype=bool)] = np.nan
    for row in rows.itertuples(index=False):
        if row.var1 in at and row.var2 in at:
            matrix[at[row.var1], at[row.var2]] = matrix[at[row.var2], at[row.var1]] = row.r
            n.append(row.n)
    if not np.isfinite(matrix).all() or any(pd.isna(size) for size in n):
        _add_absent(part, common, "needs all correlations of the scores, with numbers of clients; the published matrix lacks some")
        return
    found = first_component_of_matrix(matrix, list(at), int(min(n)), level=options["pooling"]["level"])
    _add_component(part, common, list(chosen), found, {"n_clients": int(min(n))}, settings)


def pool(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table: rows of the sites, pooled rows, and the smallest and the largest loading of either group."""
    pooling = options["pooling"]
    frames = []
    for scale, kind in _SCALES.items():
        own = effects.scaled(gathered[gathered["estimate_type"].eq(kind)], scale)
        if len(own):
            frames += [effects.site_rows(own, scale, pooling["level"]), effects.pooled_rows(own, _KEYS, scale, pooling)]
    settings = options["questions"]["measurement"]
    group = {"set": SET, "window": main_window(options), "rater": settings["reference_rater"], "group": "", "variable": ""}
    absent = effects.absent_site_rows(summaries, pd.DataFrame([{**group, "estimate_type": "component_share"}]), "logit")
    rows = effects.stack(*frames, absent)
    return effects.stack(rows, _ranges(rows))


def _ranges(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the smallest and the largest loading of the conditions and of the alliance scales, at every site and pooled."""
    if rows.empty:
        return rows
    loadings = rows[rows["estimate_type"].eq("component_loading") & rows["status"].isin(WITH_NUMBERS)]
    found = []
    for _, own in loadings.groupby(["site", "group"], sort=True):
        ordered = own.sort_values(["estimate", "variable"])
        for name, row in ((SMALLEST, ordered.iloc[0]), (LARGEST, ordered.iloc[-1])):
            kept = {
                key: row[key]
                for key in (*_KEYS, "site", "estimate", "n_sessions", "n_clients", "n_therapists", "n_sites", "status", "reason")
            }
            found.append({**kept, "variable": name, "scale": "identity", "method": "over_pairs"})
    return pd.DataFrame(found)


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    found = table[table["status"].isin(WITH_NUMBERS) & table["estimate_type"].eq("component_loading")]
    if found.empty:
        return [Sentence("No site has therapist-offered conditions and alliance scales of the same sessions.")]
    text = (
        "The composite of therapist-offered conditions and alliance scales is the first principal component of their correlations; "
        "intervals come from resampling therapists, with signs aligned to the component of the sample."
    )
    sentences = [Sentence(text, ("salvio_1992", "hesterberg_2015"))]
    if found["site"].eq(POOLED).any():
        sentences.append(pooling_sentence(options["pooling"], "Loadings were pooled as Fisher's z"))
    return sentences
