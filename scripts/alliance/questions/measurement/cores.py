"""Factors of several measures together: two cores of the alliance (claim A10), alliance, transference and real relationship (claim J4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alliance.instruments.registry import TOTAL
from alliance.questions import effects
from alliance.questions.contract import POOLED
from alliance.questions.correlations import therapist_codes
from alliance.questions.item_moments import main_window
from alliance.questions.measurement.factor_models import CORES, FactorModel, core_of
from alliance.questions.measurement.factor_rows import FIRST_INDEX, FIT, Row, Sample, model_rows, not_apart, not_estimable
from alliance.questions.moments import COLUMNS, Block, matrix_rows, moment_rows, read_block
from alliance.questions.part import stacked
from alliance.questions.score_occasions import ScaleBy, occasions, published_block, published_scales, session_scores
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.correlation_factors import CorrelationFactors, fit_correlation_factors
from alliance.statistics.covariance import correlation_matrix, elements
from alliance.statistics.distributions import chi_squared_p
from alliance.statistics.two_stage import pool_correlations

CONSTRUCTS = ("alliance", "real_relationship", "transference")
MIN_SCALES = 2
TWO_STAGE = "two_stage_sem"


@dataclass(frozen=True)
class ScaleSet:
    """Measures whose scales are put into one model.

    Attributes
    ----------
    name : str
        What blocks of moments and facts call it.
    label : str
        Stands in the column ``instrument``.
    one, several : str
        Names of the model with one factor and of that with a factor a group.
    factor : str
        The one factor.
    groups : tuple of str
        Groups of scales; the model needs two of them.
    needs : str
        What a site needs, in words.
    """

    name: str
    label: str
    one: str
    several: str
    factor: str
    groups: tuple[str, ...]
    needs: str

    def group_of(self, instrument: Any, scale: str) -> str:
        """Return the group of a scale; empty where it belongs to none."""
        if scale == TOTAL or not hasattr(instrument, "composites"):
            return ""
        if self.name == "cores":
            return core_of(instrument, scale) if instrument.construct == "alliance" else ""
        return instrument.construct if instrument.construct in self.groups else ""

    def models(self, groups: Mapping[str, str]) -> list[FactorModel]:
        """Return the two models, given the group of every scale."""
        several = {group: tuple(name for name, own in groups.items() if own == group) for group in self.groups}
        several = {group: names for group, names in several.items() if names}
        return [FactorModel(self.one, {self.factor: tuple(groups)}), FactorModel(self.several, several)]

    def lacking(self, groups: Mapping[str, str]) -> str:
        """Return in words why the models cannot be told apart; empty where they can."""
        counts = {group: list(groups.values()).count(group) for group in self.groups}
        enough = [group for group, count in counts.items() if count >= MIN_SCALES]
        if len(enough) >= 2 and all(count in (0, *range(MIN_SCALES, 99)) for count in counts.values()):
            return ""
        there = ", ".join(f"{group.replace('_', ' ')} {count}" for group, count in counts.items())
        return f"{self.needs}; has scales of {there}"


SETS = (
    ScaleSet(
        "cores",
        "(all measures)",
        "one_core",
        "two_cores",
        "alliance",
        tuple(CORES),
        f"needs at least {MIN_SCALES} scales of attachment and {MIN_SCALES} of collaboration by one rater at the same sessions",
    ),
    ScaleSet(
        "constructs",
        "(relationship)",
        "one_construct",
        "constructs",
        "relationship",
        CONSTRUCTS,
        f"needs at least {MIN_SCALES} scales of the alliance and {MIN_SCALES} of transference or of the real relationship, by one rater at "
        "the same sessions",
    ),
)


def block_name(scales: ScaleSet, rater: str, window: str) -> str:
    """Return the name of the block of moments of a set's scales by one rater."""
    return f"{scales.name}:{rater}:{window}"


def estimate(site: SiteData, options: Mapping[str, Any]) -> tuple[list[Row], pd.DataFrame, dict[str, dict[str, str]]]:
    """Return a site's rows, its blocks of moments, and the group of every scale (for facts)."""
    window = main_window(options)
    scores = session_scores(site, window, options)
    available = [*published_scales(site), *([] if scores.empty else scores.columns)]
    rows: list[Row] = []
    blocks: list[pd.DataFrame] = []
    facts: dict[str, dict[str, str]] = {}
    for scales in SETS:
        for rater in sorted({one.rater for one in available}):
            groups = {
                one: scales.group_of(site.instruments.get(one.instrument), one.scale) for one in sorted(available) if one.rater == rater
            }
            groups = {one: group for one, group in groups.items() if group}
            if len(groups) < 2 or (scales.name == "constructs" and len(set(groups.values())) < 2):
                continue
            named = {one.name: group for one, group in groups.items()}
            facts.setdefault(scales.name, {}).update(named)
            sample, clients, moments = _sample(site, scores, list(groups), block_name(scales, rater, window), options)
            blocks.append(moments)
            measurement = options["questions"]["measurement"]
            fault = scales.lacking(named) or sample.fault(measurement["clients_per_variable"], options["pooling"]["min_clients"])
            common = _common(scales, rater, window)
            counts = {"n_clients": sample.n, "n_sessions": clients, "n_therapists": sample.n_therapists}
            if len(site.clients):
                counts["share_missing"] = 1 - sample.n / site.clients["client_no"].nunique()
            if fault:
                row, variance = not_estimable(scales.several, fault)
                rows.append(({**common, **counts, **row}, variance))
                continue
            rows += [
                ({**common, **counts, **row}, v) for row, v in model_rows(scales.models(named), sample, "", options["pooling"]["level"])
            ]
    return rows, stacked(blocks, COLUMNS), facts


def _common(scales: ScaleSet, rater: str, window: str) -> dict[str, Any]:
    return {"instrument": scales.label, "rater": rater, "window": window, "level": "client", "headline": "yes"}


def _sample(
    site: SiteData, scores: pd.DataFrame, variables: list[ScaleBy], block: str, options: Mapping[str, Any]
) -> tuple[Sample, int | None, pd.DataFrame]:
    """Return what the models are fitted to, the sessions behind it, and its block of moments."""
    names = [one.name for one in variables]
    none = pd.DataFrame(columns=COLUMNS)
    min_clients = options["pooling"]["min_clients"]
    if site.published is not None:
        found = published_block(site, variables, names)
        if found is None:
            return Sample(names, 0, np.full((len(names),) * 2, np.nan)), None, none
        n = int(found.n[0, 0])
        rows = matrix_rows(block, names, found.mean, found.covariance, n, method=found.scale)
        return Sample(names, n, found.covariance), None, rows if n >= min_clients else none
    found = occasions(scores, variables)
    codes, known = therapist_codes(found.client_no, site.clients, site.scores)
    sample = Sample.of_rows(names, found.values, codes if known else None)
    rows = moment_rows(block, names, found.values) if sample.n >= max(min_clients, 2) else none
    return sample, sample.n, rows


def pooled_rows(summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield rows of the models fitted to correlations pooled over sites, which may have different measures.

    Correlations are pooled by :func:`alliance.statistics.two_stage.pool_correlations`, the factor models are fitted to them by weighted
    least squares with the inverse of their sampling covariance. Scales without a correlation with every other are left out.
    """
    window = main_window(options)
    for scales in SETS:
        groups: dict[str, str] = {}
        for summary in summaries:
            groups |= (summary.facts.get("structure") or {}).get(scales.name, {})
        raters = {block.split(":")[1] for one in summaries for block in one.moments["block"] if block.startswith(f"{scales.name}:")}
        for rater in sorted(raters):
            found = [read_block(one.moments, block_name(scales, rater, window)) for one in summaries]
            blocks = [block for block in found if block is not None]
            for row in _pooled_set(scales, rater, groups, blocks, options):
                yield {**_common(scales, rater, window), **row, "site": POOLED}


def _pooled_set(
    scales: ScaleSet, rater: str, groups: Mapping[str, str], blocks: list[Block], options: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    pooling = options["pooling"]
    names = sorted({name for block in blocks for name in block.names if name in groups})
    kept, left = _without_holes(names, blocks)
    used = [block for block in blocks if len(set(block.names) & set(kept)) > 1]
    counts = {"n_sites": len(used), "n_clients": int(sum(block.n[0, 0] for block in used))}
    own = {name: groups[name] for name in kept}
    fault = effects.too_few_sites(len(used), pooling) if len(used) < pooling["min_sites"] else scales.lacking(own)
    if fault:
        yield {**not_estimable(scales.several, fault)[0], **counts}
        return
    cells = np.full((len(used), len(kept), len(kept)), np.nan)
    for place, block in enumerate(used):
        at = [kept.index(name) for name in block.names if name in kept]
        chosen = block.of([name for name in block.names if name in kept])
        cells[place][np.ix_(at, at)] = correlation_matrix(chosen.covariance)
    sizes = np.array([block.n[0, 0] for block in used], dtype=float)
    pooled = pool_correlations(
        elements(cells, diagonal=False), sizes, kept, random_effects=pooling["tau2"] != "fixed", level=pooling["level"]
    )
    if pooled.status == "not_estimable":
        yield {**not_estimable(scales.several, pooled.reason)[0], **counts}
        return
    notes = [pooled.reason] if pooled.reason else []
    if left:
        notes.append(f"left out, since no site has them beside every other scale: {', '.join(left)}")
    fits = []
    for model in scales.models(own):
        factors = list(model.factors)
        of = [next(i for i, factor in enumerate(factors) if name in model.factors[factor]) for name in kept]
        found = fit_correlation_factors(pooled.matrix, of, pooled.vcov, level=pooling["level"])
        fits.append(found)
        for row in _correlation_rows(model, kept, of, found, notes):
            yield {**row, **counts}
    for row in _difference(scales, *fits, notes):
        yield {**row, **counts}


def _without_holes(names: list[str], blocks: list[Block]) -> tuple[list[str], list[str]]:
    """Return the scales that all have a correlation with each other at some site, and those left out for that."""
    seen = {(a, b) for block in blocks for a in block.names for b in block.names}
    kept = list(names)
    while True:
        holes = [sum((name, other) not in seen for other in kept) for name in kept]
        if not kept or max(holes) == 0:
            return kept, [name for name in names if name not in kept]
        kept.pop(len(holes) - 1 - int(np.argmax(holes[::-1])))


def _correlation_rows(
    model: FactorModel, names: list[str], of: list[int], found: CorrelationFactors, notes: list[str]
) -> Iterator[dict[str, Any]]:
    if found.status == "not_estimable":
        yield not_estimable(model.name, found.reason)[0]
        return
    reason = "; ".join(note for note in (found.reason, *notes) if note)
    common = {"structure": model.name, "method": TWO_STAGE, "status": "flagged" if reason else "estimated", "reason": reason}
    for index in ("chi2", "df", "p_value", "srmr"):
        if np.isfinite(getattr(found, index)):
            yield {**common, "estimate_type": FIT, "index": index, "estimate": float(getattr(found, index))}
    low, high = found.loading_interval()
    factors = list(model.factors)
    for place, name in enumerate(names):
        ends = {"std_error": found.loading_errors[place], "ci_low": low[place], "ci_high": high[place]}
        keys = {"factor": factors[of[place]], "indicator": name, "estimate_type": "loading_standardised"}
        yield {**common, **keys, "estimate": found.loadings[place], **ends}
    low, high = found.correlation_interval()
    for a in range(len(factors)):
        for b in range(a + 1, len(factors)):
            ends = {"std_error": found.correlation_errors[a, b], "ci_low": low[a, b], "ci_high": high[a, b]}
            keys = {"factor": f"{factors[a]} ~~ {factors[b]}", "estimate_type": "factor_correlation"}
            noted = "; ".join(note for note in (reason, not_apart(found.correlations[a, b])) if note)
            keys |= {"status": "flagged" if noted else "estimated", "reason": noted}
            yield {**common, **keys, "estimate": found.correlations[a, b], **ends}


def _difference(scales: ScaleSet, one: CorrelationFactors, several: CorrelationFactors, notes: list[str]) -> Iterator[dict[str, Any]]:
    if "not_estimable" in (one.status, several.status):
        return
    df, chi2 = one.df - several.df, one.chi2 - several.chi2
    reason = "; ".join(note for note in (one.reason, several.reason, *notes) if note)
    common = {"structure": f"{scales.one} against {scales.several}", "method": TWO_STAGE, "estimate_type": "chi2_difference"}
    common |= {"status": "flagged" if reason else "estimated", "reason": reason}
    for index, value in ((FIRST_INDEX, chi2), ("df", df), ("p_value", float(chi_squared_p(max(chi2, 0.0), df)))):
        yield {**common, "index": index, "estimate": float(value)}


def nowhere(rows: pd.DataFrame, window: str) -> Iterator[dict[str, Any]]:
    """Yield one row for every set of measures that no site has."""
    for scales in SETS:
        if rows.empty or not rows["instrument"].eq(scales.label).any():
            row = not_estimable(scales.several, f"{scales.needs}; no site has")[0]
            yield {**_common(scales, "", window), **row, "site": POOLED, "n_sites": 0}
