"""Which factors the items have (claims A4, A10, A15, J4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.instruments.registry import Instrument
from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.correlations import therapist_codes
from alliance.questions.item_moments import (
    ItemRows,
    block_keys,
    item_block,
    main_window,
    pooled_within,
    published_blocks,
    rows_of_items,
    usual_range,
)
from alliance.questions.measurement import cores
from alliance.questions.measurement.factor_models import ONE_FACTOR, AbsentModel, FactorModel, instrument_models
from alliance.questions.measurement.factor_rows import FIT, POOLED_COVARIANCE, ROBUST, SAME_FACTOR, Row, Sample, model_rows, not_estimable
from alliance.questions.moments import COLUMNS, Block, read_block
from alliance.questions.part import Part, stacked
from alliance.questions.sentences import Sentence
from alliance.questions.site_data import COVARIANCE, SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.ordinal_reliability import one_factor
from alliance.statistics.polychoric import polychoric

CONSTRUCTS = ("alliance", "empathy", "therapist_offered_conditions")
POLYCHORIC = "polychoric_least_squares"
_IDENTIFYING = ("instrument", "rater", "window", "structure", "estimate_type", "headline", "factor", "indicator", "index")


def estimate(site: SiteData, options: Mapping[str, Any]) -> Part:
    """Return the factor models of one site's measures, and the moments from which they are fitted over sites.

    Models of an instrument's items: see
    :func:`alliance.questions.measurement.factor_models.instrument_models`; models of several measures: see
    :mod:`alliance.questions.measurement.cores`. Clients are the units: one form a client, the first in the main window, complete.
    """
    part = Part()
    window = main_window(options)
    frames = []
    if site.published is not None:
        moments = published_blocks(site.published, site.instruments, window, options["pooling"]["min_clients"])
        frames.append(moments)
        for name in dict.fromkeys(moments["block"]):
            instrument, rater, _ = block_keys(name)
            block = read_block(moments, name)
            sample = Sample(list(block.names), int(block.n[0, 0]), block.covariance)
            _add(part, site, site.instruments[instrument], rater, [int(item[1:]) for item in block.names], sample, options)
    for rows in rows_of_items(site, options, CONSTRUCTS, window):
        frames.append(item_block(rows, window, options["pooling"]["min_clients"]))
        codes, known = therapist_codes(rows.client_no, site.clients, site.scores)
        sample = Sample.of_rows(rows.names, rows.values, codes if known else None)
        answers = rows.answers
        _add(part, site, answers.instrument, answers.rater, rows.items, sample, options, rows)
    together, blocks, groups = cores.estimate(site, options)
    for row, variance in together:
        part.add({**row, "parameter": _parameter(row)}, variance)
    part.facts.update(groups)
    part.moments = stacked([*frames, blocks], COLUMNS)
    if not part.rows:
        row, variance = not_estimable(ONE_FACTOR, f"needs answers to the items of an alliance measure in window {window}; has none")
        row = {**row, "window": window, "level": "client", "headline": "yes"}
        part.add({**row, "parameter": _parameter(row)}, variance)
    return part


def _parameter(row: Mapping[str, Any]) -> str:
    return ".".join(str(row[name]) for name in _IDENTIFYING if row.get(name))


def _add(
    part: Part,
    site: SiteData,
    instrument: Instrument,
    rater: str,
    items: list[int],
    sample: Sample,
    options: Mapping[str, Any],
    rows: ItemRows | None = None,
) -> None:
    """Add the rows of an instrument's models, and the models themselves as facts."""
    measurement = options["questions"]["measurement"]
    models = instrument_models(instrument, items)
    common = {
        "instrument": instrument.key,
        "form": instrument.forms.get(rater, instrument.name),
        "rater": rater,
        "window": main_window(options),
        "level": "client",
        "n_clients": sample.n,
        "n_sessions": sample.n if rows is not None else None,
        "n_therapists": sample.n_therapists,
        "n_items": len(items),
    }
    if len(site.clients):
        common["share_missing"] = 1 - sample.n / site.clients["client_no"].nunique()
    fault = sample.fault(measurement["clients_per_variable"], options["pooling"]["min_clients"])
    found = [({**row, "headline": "yes"}, v) for row, v in model_rows(models, sample, fault, options["pooling"]["level"])]
    if rows is not None and not fault and rows.answers.categories <= measurement["ordinal_categories"]:
        found += [({**row, "headline": "no"}, v) for row, v in _polychoric_rows(instrument, rows)]
    for row, variance in found:
        complete = {**common, **row}
        part.add({**complete, "parameter": _parameter(complete)}, variance)
    described = {"form": common["form"], "answers": rows.answers.answer_range if rows is not None else "", "models": _plain(models)}
    part.facts.setdefault("models", {})[f"{instrument.key}.{rater}"] = described


def _plain(models: Sequence[FactorModel | AbsentModel]) -> list[dict[str, Any]]:
    """Return models as facts: without the keys and long lists that a check of sent summaries takes for rows of clients."""
    return [
        {"model": one.name, "reason": one.reason}
        if isinstance(one, AbsentModel)
        else {"model": one.name, "general": one.general, "factors": [[factor, " ".join(names)] for factor, names in one.factors.items()]}
        for one in models
    ]


def _read(models: Sequence[Mapping[str, Any]]) -> list[FactorModel | AbsentModel]:
    return [
        AbsentModel(one["model"], one["reason"])
        if "reason" in one
        else FactorModel(one["model"], {factor: tuple(names.split()) for factor, names in one["factors"]}, one["general"])
        for one in models
    ]


def _polychoric_rows(instrument: Instrument, rows: ItemRows) -> Iterator[Row]:
    """Yield loadings and SRMR of one factor behind the polychoric correlations, by unweighted least squares."""
    found = polychoric(rows.values)
    fields = {"structure": ONE_FACTOR, "method": POLYCHORIC}
    reason = found.reason if found.status == "not_estimable" or found.at_limit.any() else ""
    loadings = np.full(len(rows.items), np.nan) if reason or np.isnan(found.correlation).any() else one_factor(found.correlation)
    if np.isnan(loadings).any():
        row, variance = not_estimable(ONE_FACTOR, reason or found.reason or "the search for loadings of one factor did not end")
        yield {**row, "index": "srmr"}, variance
        return
    improper = [f"{name} {value:.2f}" for name, value in zip(rows.names, loadings) if abs(value) > 1]
    notes = [found.reason, f"improper solution: loadings beyond 1 ({', '.join(improper)})" if improper else ""]
    note = "; ".join(one for one in notes if one)
    fields |= {"status": "flagged" if note else "estimated", "reason": note}
    k = len(loadings)
    residual = (found.correlation - np.outer(loadings, loadings))[np.triu_indices(k, 1)]
    yield {**fields, "estimate_type": FIT, "index": "srmr", "estimate": float(np.sqrt((residual**2).sum() / (k * (k + 1) / 2)))}, np.nan
    for name, value in zip(rows.names, loadings):
        keys = {"factor": instrument.construct, "indicator": name, "estimate_type": "loading_standardised"}
        yield {**fields, **keys, "estimate": float(value)}, np.nan


def pool(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table: rows of the sites, and models fitted to the covariances within sites, pooled."""
    window = main_window(options)
    sites = effects.site_rows(gathered, "identity", options["pooling"]["level"]) if len(gathered) else pd.DataFrame()
    pooled = pd.DataFrame([*_pooled(summaries, options), *cores.pooled_rows(summaries, options)])
    found = effects.stack(sites, pooled)
    nowhere = pd.DataFrame(list(cores.nowhere(found, window)))
    rows = effects.stack(found, nowhere, pd.DataFrame(list(_gaps(found, summaries, window))))
    return rows.assign(model=rows["structure"], scale="identity")


def _pooled(summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    window = main_window(options)
    described: dict[str, Mapping[str, Any]] = {}
    ranges: dict[str, dict[str, str]] = {}
    for summary in summaries:
        for key, models in ((summary.facts.get("structure") or {}).get("models") or {}).items():
            described.setdefault(key, models)
            ranges.setdefault(key, {})[summary.site] = models.get("answers", "")
    blocks: dict[tuple[str, str], dict[str, Block]] = {}
    for summary in summaries:
        for name in sorted(set(summary.moments["block"])):
            keys = block_keys(name)
            if keys is not None and keys[2] == window and f"{keys[0]}.{keys[1]}" in described:
                blocks.setdefault(keys[:2], {})[summary.site] = read_block(summary.moments, name)
    for (instrument, rater), of_site in sorted(blocks.items()):
        form = described[f"{instrument}.{rater}"]
        common = {"site": POOLED, "instrument": instrument, "form": form["form"], "rater": rater, "window": window, "headline": "yes"}
        yield from (
            {**common, **row} for row in _pooled_instrument(_read(form["models"]), of_site, ranges[f"{instrument}.{rater}"], options)
        )


def _pooled_instrument(
    models: list[FactorModel | AbsentModel], of_site: Mapping[str, Block], ranges: Mapping[str, str], options: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    pooling = options["pooling"]
    items = next((list(model.indicators) for model in models if isinstance(model, FactorModel)), [])
    usual = usual_range(ranges, {site: int(block.n[0, 0]) for site, block in of_site.items()})
    alike = {site: block for site, block in of_site.items() if ranges.get(site, "") in ("", usual)}
    used = [b for b in alike.values() if b.scale == COVARIANCE and b.complete and set(items) <= set(b.names)]
    left = sorted(site for site, block in alike.items() if not any(block is one for one in used))
    counts: dict[str, Any] = {"n_sites": len(used), "n_clients": int(sum(block.n[0, 0] for block in used))}
    other = sorted(f"{site} ({ranges[site]})" for site in of_site if site not in alike)
    notes = [f"without {', '.join(left)}: pooling needs covariances of all {len(items)} items"] if left else []
    notes += [f"without {', '.join(other)}: answers on another range than elsewhere ({usual})"] if other else []
    note = "; ".join(notes)
    if len(used) < pooling["min_sites"] or not items:
        reason = effects.too_few_sites(len(used), pooling)
        yield {**not_estimable(ONE_FACTOR, f"{reason}; {note}" if note else reason)[0], **counts}
        return
    covariance, n, _ = pooled_within(used, items)
    sample = Sample(items, n, covariance, method=POOLED_COVARIANCE)
    fault = sample.fault(options["questions"]["measurement"]["clients_per_variable"], pooling["min_clients"])
    for row, variance in model_rows(models, sample, fault, pooling["level"]):
        reason = "; ".join(one for one in (row["reason"], note) if one)
        status = "flagged" if row["status"] == "estimated" and reason else row["status"]
        error = {"std_error": float(np.sqrt(variance))} if np.isfinite(variance) else {}
        yield {**row, **counts, **error, "status": status, "reason": reason}


def _gaps(found: pd.DataFrame, summaries: Sequence[SiteSummary], window: str) -> Iterator[dict[str, Any]]:
    """Yield a row for every site and every measure (instrument by rater) that some site has and this one has not."""
    measures = []
    if len(found):
        listed = found[["instrument", "form", "rater", "site"]].astype(object).fillna("")
        listed = listed[~listed["instrument"].isin(["", *(one.label for one in cores.SETS)])]
        measures = sorted(set(zip(listed["instrument"], listed["form"], listed["rater"])))
        there = set(zip(listed["site"], listed["instrument"], listed["rater"]))
    for summary in sorted(summaries, key=lambda one: one.site):
        absent = effects.absence(summary) if summary.status != "ok" else ""
        for instrument, form, rater in measures or [("", "", "")]:
            if not measures and not absent:
                continue
            if not absent and (summary.site, instrument, rater) in there:
                continue
            reason = absent or f"needs answers to the items of {instrument} by the {rater} in window {window}; has none"
            row = not_estimable(ONE_FACTOR, reason)[0] | ({"reason": absent} if absent else {})
            keys = {"instrument": instrument, "form": form, "rater": rater, "window": window, "headline": "yes"}
            yield {**keys, **row, "site": summary.site, "n_sites": 0}


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    found = table[table["status"].isin(WITH_NUMBERS)]
    measurement = options["questions"]["measurement"]
    if found.empty:
        return [Sentence("No factor model could be fitted: no site has enough clients with complete answers to the items of a measure.")]
    sentences = [
        Sentence(
            "Factor models of the items (one factor; the scales as correlated factors; bond against task and goal; a general factor beside "
            f"the scales) were fitted by maximum likelihood to one form a client, the first in window {main_window(options)}, where a site "
            f"has at least {measurement['clients_per_variable']:g} clients an item with complete answers.",
            ("joreskog_1969",),
        )
    ]
    used = set(found["method"])
    if ROBUST in used:
        text = (
            "With ten therapists or more, standard errors (intervals by t with therapists - 1) and chi-squares respect clients who share a "
            "therapist, CFI, TLI and RMSEA are corrected likewise, and differences of chi-squares are scaled."
        )
        sentences.append(Sentence(text, ("yuan_bentler_2000", "satorra_bentler_2001", "brosseau_liard_savalei_2014")))
    if POOLED_COVARIANCE in used:
        text = (
            "Over sites the models were fitted to the covariances within sites, pooled by degrees of freedom: one structure is assumed for "
            "all sites, which the table of invariance tests."
        )
        sentences.append(Sentence(text))
    if found["model"].str.contains(" against ").any():
        text = (
            "Models are compared by CFI, AIC and BIC, and by the difference of chi-squares where one is the other with restrictions; where "
            "the restriction is a correlation of factors of 1, that test errs towards the simpler model."
        )
        sentences.append(Sentence(text, ("yung_1999",)))
    if found["estimate_type"].eq("omega_hierarchical").any():
        text = (
            "From the bifactor model follow omega hierarchical, omega of the subscales beyond the general factor, and the shares of common "
            "variance and of correlations that the general factor alone explains (ECV, PUC), with intervals by the delta method."
        )
        sentences.append(Sentence(text, ("reise_2012", "rodriguez_2016")))
    if found["estimate_type"].eq("factor_correlation").any():
        sentences.append(Sentence(f"Factors that correlate above {SAME_FACTOR:g} are flagged: they are not to be interpreted apart."))
    if POLYCHORIC in used:
        text = (
            f"Where items allow {measurement['ordinal_categories']} answers or fewer, one factor was also fitted to their polychoric "
            "correlations by unweighted least squares. The headline stays the model of the answers as scored, since scores are sums of "
            "answers and only it has a test and can be compared and pooled; loadings that are clearly higher beside it show what coarse "
            "answers hide."
        )
        sentences.append(Sentence(text, ("flora_curran_2004",)))
    if cores.TWO_STAGE in used:
        text = (
            "Scales of all measures were combined over sites that have different ones by pooling their correlations (random effects), and "
            "fitted by least squares weighted with the inverse of their sampling covariance."
        )
        sentences.append(Sentence(text, ("cheung_chan_2005",)))
    return sentences
