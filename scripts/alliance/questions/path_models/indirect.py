"""Indirect effects of the path models, one value a client: the chain, and what confounding would undo it (claims F6, I6, J1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.part import Part
from alliance.questions.path_models.fits import BCA, DELTA, SiteFit
from alliance.questions.path_models.pooling import PooledFit
from alliance.questions.path_models.sample import model_of
from alliance.questions.sentences import Sentence
from alliance.statistics.indirect_effects import IndirectEffect, confounding, e_value, indirect_effects
from alliance.statistics.structural_fit import StructuralFit
from alliance.statistics.structural_model import StructuralModel
from alliance.statistics.structural_resampling import Bootstrap
from alliance.variables.path_model import groups_of

CONFOUNDER, CONFOUNDER_LIMIT = "confounder_correlation", "confounder_correlation_limit"
E_VALUE, E_VALUE_LIMIT = "e_value", "e_value_limit"
SENSITIVITY = (CONFOUNDER, CONFOUNDER_LIMIT, E_VALUE, E_VALUE_LIMIT)
LEVEL = "client"


def chain_in_words(effect: IndirectEffect) -> str:
    """Return the variables of an effect's chains, cause first."""
    return "; ".join(" -> ".join(chain) for chain in effect.chains)


def estimate(fits: Mapping[str, SiteFit], options: Mapping[str, Any]) -> Part:
    """Return how robust every indirect effect at a site is against an unmeasured confounder of mediator and outcome.

    Parameters
    ----------
    fits : mapping of str to SiteFit
    options : mapping
    """
    part, level = Part(), options["pooling"]["level"]
    for name, found in fits.items():
        if not found.estimated:
            continue
        for row in _sensitivity(found.model, found.fitted, found.drawn, level):
            key = ".".join(text for text in (row["estimate_type"], row["effect"], row["definition"], row["group"]) if text)
            common = {"model": name, "parameter": key, "level": LEVEL, "method": found.likelihood_method}
            part.add({**found.counts_of(row["group"]), **common, **row})
    return part


def _sensitivity(model: StructuralModel, fitted: StructuralFit, drawn: Bootstrap | None, level: float) -> Iterator[dict[str, Any]]:
    """Yield correlations of residuals and E-values that would explain the path after each mediator away."""
    groups = groups_of(model) or ("",)
    table = fitted.parameters[fitted.parameters["op"].eq("~")]
    paths = {(row.group, row.rhs, row.lhs): row for row in table.itertuples()}
    seen = set()
    for effect in indirect_effects(model):
        for place in _groups_of_effect(model, effect, len(groups)):
            for one in confounding(model, fitted, effect, drawn, group=place, level=level):
                path = paths[fitted.groups[place], one.mediator, one.outcome]
                identity = {"effect": effect.name, "definition": f"{one.mediator} -> {one.outcome}", "group": groups[place]}
                if tuple(identity.values()) in seen:
                    continue
                seen.add(tuple(identity.values()))
                flag = fitted.reason
                yield _row(identity, CONFOUNDER, one.rho, "the path has no finite value", flag)
                limit, reason = _limit(one.rho, one.rho_low, one.rho_high)
                yield _row(identity, CONFOUNDER_LIMIT, limit, reason, flag)
                value = e_value(path.standardized, path.standardized_low, path.standardized_high)
                yield _row(identity, E_VALUE, value.estimate, "the path has no finite value", flag)
                yield _row(identity, E_VALUE_LIMIT, value.limit, "the path has no interval", flag)


def _groups_of_effect(model: StructuralModel, effect: IndirectEffect, groups: int) -> list[int]:
    """Return the groups in which the paths of an effect have the labels that it names."""
    wanted = {label for labels in effect.labels for label in labels}
    return [group for group in range(groups) if wanted <= {term.label(group) for term in model.terms}]


def _limit(rho: float, low: float, high: float) -> tuple[float, str]:
    """Return the correlation nearest to zero at which the interval of the indirect effect includes zero, and why there is none."""
    if np.isnan(low) or np.isnan(high):
        return np.nan, "needs resamples of clients or therapists of an effect with one chain"
    if low <= 0 <= high:
        return 0.0, ""
    nearest = low if low > 0 else high
    return (float(nearest), "") if np.isfinite(nearest) and abs(nearest) <= abs(rho) else (np.nan, "no correlation does")


def _row(identity: Mapping[str, Any], kind: str, value: float, reason: str, flag: str) -> dict[str, Any]:
    if np.isfinite(value):
        status = "flagged" if flag else "estimated"
        return {**identity, "estimate_type": kind, "estimate": float(value), "status": status, "reason": flag}
    return {**identity, "estimate_type": kind, "status": "not_estimable", "method": "none", "reason": f"not estimable: {reason}"}


def pool(gathered: pd.DataFrame, defined: pd.DataFrame, pooled: Mapping[str, PooledFit], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the indirect effects with one interval a method, and their robustness, by site and over sites.

    Parameters
    ----------
    gathered : DataFrame
        Rows of :func:`estimate` of all sites.
    defined : DataFrame
        Rows of all defined effects, from :func:`alliance.questions.path_models.pooling.pool`.
    pooled : mapping of str to PooledFit
    options : mapping
    """
    section = options["questions"]["path_models"]
    chains = {
        (name, effect.name): chain_in_words(effect)
        for name in sorted(section["models"])
        for effect in indirect_effects(model_of(section, name))
    }
    known = [key in chains for key in zip(defined["model"], defined["parameter"])]
    own = defined[np.array(known, dtype=bool)]
    # One interval a row's method: by resampling at a site, by simulation where coefficients were pooled.
    other = own["interval"].eq(BCA) | (own["interval"].eq(DELTA) & _has_another(own))
    other |= own["interval"].eq("monte_carlo") & own["site"].ne(POOLED) & _has_another(own)
    own = own[~other]
    words = [f"{row.rhs}: {chains[row.model, row.parameter]}" for row in own.itertuples()]
    own = own.assign(effect=own["parameter"], level=LEVEL, definition=words)
    sites = effects.site_rows(effects.scaled(gathered[gathered["effect"].ne("")], "identity"), "identity", options["pooling"]["level"])
    rows = []
    for name, found in pooled.items():
        if found.fitted is None:
            continue
        common = {"model": name, "site": POOLED, "level": LEVEL, "scale": "identity", "method": "pooled_covariance", **found.counts}
        rows += [{**common, **row} for row in _sensitivity(found.model, found.fitted, None, options["pooling"]["level"])]
    return effects.stack(own, sites, pd.DataFrame(rows))


def _has_another(own: pd.DataFrame) -> pd.Series:
    """Return whether an effect of a model, site and method family stands there with an interval by resampling or simulation too."""
    better = own["interval"].isin(["bootstrap_percentile", "monte_carlo", "random_effects"])
    keys = ["model", "parameter", "site", "estimate_type"]
    at_site = own["site"].ne(POOLED)
    by_site = own[better & own["interval"].eq("bootstrap_percentile")].set_index(keys).index
    by_method = own[better].set_index([*keys, "method"]).index
    whole = pd.Series([key in by_site for key in own[keys].itertuples(index=False, name=None)], index=own.index)
    same = pd.Series([key in by_method for key in own[[*keys, "method"]].itertuples(index=False, name=None)], index=own.index)
    return (whole & at_site) | (same & ~at_site)


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return how robustness of indirect effects was found."""
    told = table["estimate_type"].isin(SENSITIVITY) & table["status"].isin(WITH_NUMBERS)
    if not told.any():
        return []
    return [
        Sentence(
            "An indirect effect supposes that nothing unmeasured moves mediator and outcome together. How strong it would have to be is "
            "told as the correlation of their residuals at which the effect is zero, and as an E-value of the path between them.",
            ("imai_keele_yamamoto_2010", "vanderweele_ding_2017"),
        )
    ]
