"""Competing path models of the same clients and variables: which fits better, and which no data could tell apart (claim I6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.part import Part
from alliance.questions.path_models.sample import model_of
from alliance.questions.sentences import Sentence
from alliance.questions.summary import SiteSummary
from alliance.statistics.model_relations import Relation, relation_of
from alliance.statistics.structural_fit import StructuralFit, compare
from alliance.variables.path_model import in_groups

CRITERIA = ("aic", "bic")
WEIGHT, DIFFERENCE, FIT = "akaike_weight", "chi2_difference", "fit_index"
KEYS = ["comparison", "model", "against", "index", "estimate_type"]


def related(section: Mapping[str, Any], first: str, second: str) -> Relation:
    """Return how two models of the configuration, for the same groups, relate."""
    groups, equal = in_groups(model_of(section, first))
    syntax = (section["models"][name]["syntax"] for name in (first, second))
    return relation_of(*syntax, groups, (equal, in_groups(model_of(section, second))[1]))


def equivalents(section: Mapping[str, Any], models: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return, for each of some models, the others that fit every data set equally well."""
    same: dict[str, list[str]] = {name: [] for name in models}
    for first, second in combinations(models, 2):
        if related(section, first, second) == "equivalent":
            same[first].append(second)
            same[second].append(first)
    return {name: tuple(others) for name, others in same.items()}


def akaike_weights(aic: Mapping[str, float], same: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return Akaike weights of models that data can tell apart (Burnham & Anderson, 2002, section 2.9).

    Models that fit every data set equally well stand for one model in the sum and get no weight of their own; a weight between them would
    be nothing but their number.

    Parameters
    ----------
    aic : mapping of str to float
        By model.
    same : mapping of str to sequence of str
        The models equivalent to each.
    """
    distinct, counted = [], set()
    for name in aic:
        if name not in counted:
            distinct.append(name)
            counted.update((name, *same[name]))
    if len(distinct) < 2:
        return {}
    lowest = min(aic[name] for name in distinct)
    likelihood = {name: float(np.exp(-(aic[name] - lowest) / 2)) for name in distinct}
    total = sum(likelihood.values())
    return {name: likelihood[name] / total for name in distinct if not same[name]}


def comparison_rows(
    section: Mapping[str, Any], comparison: str, fits: Mapping[str, StructuralFit | None], why: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the rows of one comparison for one site or over sites.

    Parameters
    ----------
    section : mapping
        ``questions.path_models`` of the configuration.
    comparison : str
        Its name.
    fits : mapping of str to StructuralFit or None
        By model; all from the same clients.
    why : mapping of str to str
        Why a model was not fitted.
    """
    models = section["comparisons"][comparison]["models"]
    same = equivalents(section, models)
    usable = {name: fits[name] for name in models if fits.get(name) is not None and fits[name].fit is not None}
    rows: list[dict[str, Any]] = []

    def add(model: str, index: str, kind: str, value: float | None, reason: str = "", against: str = "", flag: str = "") -> None:
        known = value is not None and np.isfinite(value)
        status = "flagged" if known and flag else "estimated" if known else "not_estimable"
        rows.append(
            {
                "comparison": comparison,
                "model": model,
                "against": against,
                "index": index,
                "estimate_type": kind,
                "estimate": float(value) if known else np.nan,
                "status": status,
                "reason": flag if known else f"not estimable: {reason}",
            }
        )

    weights = akaike_weights({name: fitted.aic for name, fitted in usable.items()}, same) if len(usable) == len(models) else {}
    for name in models:
        fitted = usable.get(name)
        lacking = (why.get(name) or "the model was not estimated").removeprefix("not estimable: ")
        flag = fitted.reason if fitted is not None and fitted.status == "flagged" else ""
        values = {} if fitted is None else {"chi2": fitted.fit.chi2, "df": fitted.fit.df, "aic": fitted.aic, "bic": fitted.bic}
        for index in ("chi2", "df", *CRITERIA):
            add(name, index, FIT, values.get(index), lacking, flag=flag)
        if len(usable) < len(models):
            missing = next(one for one in models if one not in usable)
            add(name, WEIGHT, WEIGHT, None, lacking if fitted is None else f"needs all models of the comparison; lacks {missing}")
        elif same[name]:
            add(
                name,
                WEIGHT,
                WEIGHT,
                None,
                f"fits every data set as well as {', '.join(same[name])}: no data can weigh one against the other",
            )
        else:
            add(name, WEIGHT, WEIGHT, weights.get(name), "the comparison has one distinct model only", flag=flag)
    for first, second in combinations(models, 2):
        kind = related(section, first, second)
        if kind not in ("nested", "contains"):
            continue
        small, large = (first, second) if kind == "nested" else (second, first)
        if small not in usable or large not in usable:
            lacking = why.get(small if small not in usable else large) or "the model was not estimated"
            for index in ("chi2", "df", "p_value"):
                add(small, index, DIFFERENCE, None, lacking.removeprefix("not estimable: "), against=large)
            continue
        found = compare(usable[small], usable[large])
        flag = found.reason if found.status == "flagged" else ""
        for index in ("chi2", "df", "p_value"):
            add(small, index, DIFFERENCE, getattr(found, index), found.reason, against=large, flag=flag)
    return rows


def estimate(fits: Mapping[str, Any], options: Mapping[str, Any]) -> Part:
    """Return the comparisons at one site.

    Parameters
    ----------
    fits : mapping of str to SiteFit
        From :func:`alliance.questions.path_models.fits.site_fits`.
    options : mapping
    """
    section, part = options["questions"]["path_models"], Part()
    for comparison in sorted(section["comparisons"]):
        models = section["comparisons"][comparison]["models"]
        fitted = {name: fits[name].fitted if fits[name].estimated else None for name in models}
        own = next((fits[name] for name in models if fits[name].estimated), fits[models[0]])
        for row in comparison_rows(section, comparison, fitted, {name: fits[name].reason for name in models}):
            method = own.likelihood_method if row["status"] in WITH_NUMBERS else "none"
            name = ".".join((comparison, row["model"], row["against"], row["index"], row["estimate_type"]))
            compared = row.pop("model")
            part.add({**row, **own.counts, "compared_model": compared, "parameter": name, "level": "client", "method": method})
    return part


def pool(gathered: pd.DataFrame, pooled: Mapping[str, Any], summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the site rows and those of the models fitted to the correlations within sites.

    Parameters
    ----------
    gathered : DataFrame
        Rows of :func:`estimate` of all sites.
    pooled : mapping of str to PooledFit
        From :func:`alliance.questions.path_models.pooling.pooled_fits`.
    summaries : sequence of SiteSummary
    options : mapping
    """
    section = options["questions"]["path_models"]
    rows: list[dict[str, Any]] = []
    for comparison in sorted(section["comparisons"]):
        models = section["comparisons"][comparison]["models"]
        sites = {pooled[name].sites for name in models}
        why = {name: pooled[name].reason.removeprefix("not estimable: ") for name in models}
        fitted = {name: pooled[name].fitted for name in models}
        if len(sites) > 1:
            fitted = dict.fromkeys(models)
            why = dict.fromkeys(models, "the models rest on different sites")
        own = pooled[models[0]]
        for row in comparison_rows(section, comparison, fitted, why):
            method = "pooled_covariance" if row["status"] in WITH_NUMBERS else "none"
            rows.append({**row, "site": POOLED, "method": method, **own.counts})
    groups = [{key: row[key] for key in KEYS} for row in rows]
    absent = effects.absent_site_rows(summaries, pd.DataFrame(groups, columns=KEYS), "identity")
    sites = gathered.assign(model=gathered["compared_model"], n_sites=1)
    return effects.stack(sites, pd.DataFrame(rows), absent).assign(scale="identity")


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return how models were compared."""
    if not table["status"].isin(WITH_NUMBERS).any():
        return []
    section = options["questions"]["path_models"]
    sentences = [
        Sentence(
            "Competing models were compared on the same clients and variables: by the difference of chi-squares where one is nested in the "
            "other, and by AIC, BIC and Akaike weights; which models are nested or fit every data set equally well was found by fitting "
            "each to what the other implies.",
            ("bentler_satorra_2010", "burnham_anderson_2002"),
        )
    ]
    for comparison, content in sorted(section["comparisons"].items()):
        named = [sorted({name, *others}) for name, others in equivalents(section, content["models"]).items() if others]
        for group in {tuple(one) for one in named}:
            sentences.append(
                Sentence(f"In the comparison {comparison}, {' and '.join(group)} fit every data set equally well; they got no weights.")
            )
    return sentences
