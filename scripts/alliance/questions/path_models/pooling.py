"""Path models over sites: random effects, one model of the correlations within sites, and two-stage models where matrices have holes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import HETEROGENEITY, POOLED, WITH_NUMBERS
from alliance.questions.path_models.fits import (
    DELTA,
    FIT,
    FIT_INDICES,
    FIXED,
    FORMS,
    IN_NO_GROUP,
    MONTE_CARLO,
    STANDARDISED,
    TYPES,
    diagnostic_rows,
    fit_values,
    identity_of,
    parameter_of,
    shown,
    terms,
    unusable,
)
from alliance.questions.path_models.sample import (
    block,
    model_of,
    shared_labels,
    touched_over_sites,
)
from alliance.questions.path_models.sent import Sent, placed, site_groups, site_moments
from alliance.questions.sentences import Sentence, cluster_sentences, pooling_sentence
from alliance.questions.summary import SiteSummary
from alliance.statistics.distributions import two_sided_p
from alliance.statistics.indirect_effects import monte_carlo
from alliance.statistics.model_relations import scale_invariant_of
from alliance.statistics.multivariate_meta import pool_coefficients, pooled_function
from alliance.statistics.resampling import generator
from alliance.statistics.semopy_check import largest_difference
from alliance.statistics.structural_fit import Moments, StructuralFit, fit_structural
from alliance.statistics.structural_model import StructuralModel
from alliance.statistics.two_stage import TwoStageFit, fit_pooled, pool_correlations
from alliance.statistics.within_sites import GroupsWithinSites, SiteGroups, SiteMoments, WithinSites, groups_within_sites
from alliance.statistics.within_sites import within_sites as pool_within
from alliance.variables.path_model import PathModel, equalities, groups_of, in_groups

TWO_STAGE_FIT = ("chi2", "df", "p_value", "cfi", "rmsea", "srmr")
RANDOM_EFFECTS = "random_effects"
WITHIN, MULTIVARIATE, TWO_STAGE = "pooled_covariance", "multivariate_reml", "two_stage_sem"
BETWEEN = ("tau2", "tau2_low", "tau2_high", "prediction_low", "prediction_high")
AGREEMENT = 1e-4
KEYS = ["model", "parameter", "lhs", "op", "rhs", "group", "estimate_type"]
OTHER_UNITS = (
    "coefficients that the model sets equal or fixes are so here in standard deviations, at the sites in the units of the variables: "
    "another model"
)
NO_MEANS = "not estimable: the model restricts means, of which the covariances within sites say nothing"
ONE_MATRIX = (
    "not estimable: correlations pooled pair by pair are standardised in every group by itself, so that nothing can be equal over groups "
    "or compared between them; see pooled_covariance"
)
Fit = TypeVar("Fit", StructuralFit, TwoStageFit)


@dataclass(frozen=True)
class PooledFit:
    """A model fitted to the correlations within sites, pooled.

    Attributes
    ----------
    model : PathModel
    fitted : StructuralFit or None
    within : WithinSites or GroupsWithinSites or None
        What it was fitted to.
    sites : tuple of str
        Sites whose complete matrices are pooled.
    counts : dict
        Columns of its rows.
    counts_by_group : dict of str to dict
        What differs in the rows of one group.
    reason : str
        Why there is no fit.
    """

    model: PathModel
    fitted: StructuralFit | None
    within: WithinSites | GroupsWithinSites | None
    sites: tuple[str, ...]
    counts: dict[str, Any]
    counts_by_group: dict[str, dict[str, Any]]
    reason: str


def pooled_fits(sent: Sequence[Sent], options: Mapping[str, Any]) -> dict[str, PooledFit]:
    """Return every model fitted to the correlations within all sites that have all its variables."""
    section, pooling = options["questions"]["path_models"], options["pooling"]
    found = {name: _pooled_fit(sent, name, model_of(section, name), pooling) for name in sorted(section["models"])}
    return {name: one if one.fitted is None else replace(one, fitted=_units_told(one.fitted, section, name)) for name, one in found.items()}


def _units_told(fitted: Fit, section: Mapping[str, Any], name: str) -> Fit:
    """Return a fit to correlations, flagged where the model is not the same in standard deviations as in the units of the variables."""
    if fitted.status not in WITH_NUMBERS or scale_invariant_of(section["models"][name]["syntax"], *in_groups(model_of(section, name))):
        return fitted
    return replace(fitted, status="flagged", reason="; ".join(text for text in (fitted.reason, OTHER_UNITS) if text))


def _pooled_fit(sent: Sequence[Sent], name: str, model: PathModel, pooling: Mapping[str, Any]) -> PooledFit:
    moments = {one.site: (site_groups if model.groups else site_moments)(one, name, model) for one in sent}
    used = {site: one for site, one in moments.items() if one is not None}
    there = [one for one in sent if one.site in used]
    counts = {"n_sites": len(used), "n_clients": sum(one.clients.get((name, ""), 0) for one in there)}
    by_group = {group: {"n_clients": sum(one.clients.get((name, group), 0) for one in there)} for group in model.groups}
    reason = ""
    if len(used) < pooling["min_sites"]:
        reason = effects.too_few_sites(len(used), pooling).replace("an estimate", "all variables of the model")
    elif model.groups and model.restricts_means:
        reason = NO_MEANS
    if reason:
        return PooledFit(model, None, None, tuple(used), counts, by_group, reason)
    within, fitted = (_fit_groups_within if model.groups else _fit_within)(list(used.values()), model, pooling["level"])
    why = unusable(fitted)
    if why:
        return PooledFit(model, None, within, tuple(used), counts, by_group, why)
    return PooledFit(model, fitted, within, tuple(used), counts, by_group, "")


def _fit_within(sites: Sequence[SiteMoments], model: PathModel, level: float) -> tuple[WithinSites, StructuralFit]:
    """Return the correlations within sites and the model fitted to them."""
    within = pool_within(sites)
    moments = Moments(within.n, within.correlation, None, list(model.observed))
    return within, fit_structural(model, moments, acov=[within.acov], level=level, mean_structure=False)


def _fit_groups_within(sites: Sequence[SiteGroups], model: PathModel, level: float) -> tuple[GroupsWithinSites, StructuralFit]:
    """Return the covariances within sites by group and the model fitted to all groups; groups share therapists."""
    within = groups_within_sites(sites)
    everyone = range(len(model.groups))
    return within, fit_structural(
        model,
        [Moments(n, covariance, None, list(model.observed)) for n, covariance in zip(within.n, within.covariances)],
        acov=[within.acov_of(group, group) for group in everyone],
        acov_between={(one, other): within.acov_of(one, other) for one in everyone for other in everyone if one < other},
        groups=model.groups,
        level=level,
        mean_structure=False,
        **equalities(model),
    )


def pool(
    gathered: pd.DataFrame, pooled: Mapping[str, PooledFit], sent: Sequence[Sent], options: Mapping[str, Any]
) -> dict[str, pd.DataFrame]:
    """Return the rows of ``parameters``, ``defined``, ``fit``, ``diagnostics`` and ``leave_one_out``.

    Parameters
    ----------
    gathered : DataFrame
        Rows of :func:`estimate` of all sites.
    pooled : mapping of str to PooledFit
        From :func:`pooled_fits`.
    sent : sequence of Sent
    options : mapping
    """
    section, pooling = options["questions"]["path_models"], options["pooling"]
    summaries = [one.summary for one in sent]
    models = {name: model_of(section, name) for name in sorted(section["models"])}
    gathered = effects.scaled(gathered, "identity")
    gathered = gathered.assign(parameter=_without_group(gathered["parameter"].str.removesuffix(STANDARDISED), gathered["group"]))
    coefficients = gathered[gathered["op"].isin(list(TYPES)) & gathered["index"].eq("")]
    main = coefficients[~coefficients["parameter"].str.endswith("]")]
    other = coefficients[coefficients["parameter"].str.endswith("]")]
    other = other.assign(parameter=other["parameter"].str.replace(r"(?: \(standardised\))? \[\w+\]$", "", regex=True))
    to_pool = main[main["op"].isin(["~", "=~", ":="])]
    random_effects = effects.pooled_rows(to_pool, KEYS, "identity", pooling)
    if len(random_effects):
        random_effects = _fixed_told(_same_units_only(random_effects, sent), to_pool).assign(interval=RANDOM_EFFECTS)
    overlaps = _overlaps(summaries, models)
    multivariate = _multivariate_rows(models, sent, main, overlaps, options)
    within = _within_rows(models, pooled, overlaps, options)
    two_stage, two_stage_fit = _two_stage(models, sent, overlaps, options)
    rows = effects.stack(
        effects.site_rows(main, "identity", pooling["level"]),
        effects.site_rows(other, "identity", pooling["level"]) if len(other) else other,
        random_effects,
        multivariate,
        within,
        two_stage,
        effects.absent_site_rows(summaries, _all_groups(models), "identity"),
    )
    rows = rows.assign(definition=rows["rhs"], interval=rows["interval"].fillna(""))
    rows.loc[rows["op"].ne(":="), "interval"] = ""
    is_defined = rows["op"].eq(":=")
    standard = to_pool[to_pool["estimate_type"].isin(["path_standardised", "defined_standardised"])]
    single = gathered[gathered["index"].ne("")]
    single = effects.site_rows(single, "identity", pooling["level"])
    of_pooled = effects.stack(_pooled_single_rows(models, pooled, options), _in_no_group_rows(models, summaries))
    fit = effects.stack(
        single[single["estimate_type"].eq(FIT)],
        of_pooled[of_pooled["estimate_type"].eq(FIT)],
        two_stage_fit,
        effects.absent_site_rows(summaries, _fit_groups(models), "identity"),
    )
    diagnostics = effects.stack(single[single["estimate_type"].ne(FIT)], of_pooled[of_pooled["estimate_type"].ne(FIT)])
    if len(diagnostics):
        named = diagnostics.reindex(columns=["lhs", "op", "rhs"]).itertuples(index=False)
        diagnostics = diagnostics.assign(parameter=[parameter_of(row.lhs, row.op, row.rhs) if row.op in TYPES else "" for row in named])
    leave_one_out = effects.leave_one_out_rows(standard, ["model", "parameter", "group", "estimate_type"], "identity", pooling)
    return {
        "parameters": rows[~is_defined],
        "defined": rows[is_defined],
        "fit": fit,
        "diagnostics": diagnostics,
        "leave_one_out": leave_one_out,
    }


def _without_group(parameters: pd.Series, groups: pd.Series) -> pd.Series:
    """Return names of parameters without the group that a summary tells them apart by."""
    ending = " in " + groups
    named = groups.ne("") & pd.Series([name.endswith(end) for name, end in zip(parameters, ending)], index=parameters.index, dtype=bool)
    return parameters.where(~named, [name.removesuffix(end) for name, end in zip(parameters, ending)])


def _all_groups(models: Mapping[str, StructuralModel]) -> pd.DataFrame:
    rows = [
        {
            "model": name,
            **identity_of(parameter_of(lhs, op, rhs), lhs, op, rhs, form, group),
            "parameter": parameter_of(lhs, op, rhs),
            "interval": "",
        }
        for name, model in models.items()
        for lhs, op, rhs, group in terms(model)
        for form in FORMS
    ]
    return pd.DataFrame(rows, columns=[*KEYS, "interval"])


def _in_no_group_rows(models: Mapping[str, PathModel], summaries: Sequence[SiteSummary]) -> pd.DataFrame:
    """Return for models with groups the share of all sites' clients who are in none of them."""
    rows = []
    for name, model in models.items():
        if not model.groups:
            continue
        facts = [summary.facts.get("models", {}).get(name, {}) for summary in summaries if summary.status == "ok"]
        known = [one for one in facts if "left_out_other_group" in one]
        everyone = sum(one["clients_with_any"] for one in known)
        left_out = sum(one["left_out_group_unknown"] + one["left_out_other_group"] for one in known)
        common = {"model": name, "site": POOLED, "scale": "identity", "index": IN_NO_GROUP, "estimate_type": "share", "n_sites": len(known)}
        if everyone:
            numbers = {"n_clients": everyone, "estimate": left_out / everyone}
            rows.append({**common, **numbers, "method": "counted", "status": "estimated", "reason": ""})
        else:
            reason = "not estimable: no client has any of the model's variables"
            rows.append({**common, "method": "none", "status": "not_estimable", "reason": reason})
    return pd.DataFrame(rows)


def _fit_groups(models: Mapping[str, StructuralModel]) -> pd.DataFrame:
    rows = [{"model": name, "index": index, "estimate_type": FIT} for name in models for index in ("chi2", "df", "p_value")]
    return pd.DataFrame(rows, columns=["model", "index", "estimate_type"])


def _fixed_told(pooled: pd.DataFrame, of_sites: pd.DataFrame) -> pd.DataFrame:
    """Return pooled rows that say why parameters fixed by the model at every site have nothing to pool."""
    numbers = of_sites[of_sites["status"].isin(WITH_NUMBERS)]
    fixed = numbers["reason"].str.contains(FIXED, regex=False).groupby([numbers[key] for key in KEYS]).all()
    keys = pd.MultiIndex.from_frame(pooled[KEYS])
    where = fixed.reindex(keys).eq(True).to_numpy()
    return pooled.assign(reason=pooled["reason"].mask(where, f"not estimable: {FIXED}, so there is nothing to pool"))


def _same_units_only(pooled: pd.DataFrame, sent: Sequence[Sent]) -> pd.DataFrame:
    """Empty the pooled unstandardised rows of models whose variables were measured in different ways at the sites that estimated them."""
    differing = set()
    for name in sorted(set(pooled["model"])):
        estimating = [one.summary for one in sent if one.usable and name in one.estimated]
        sources = [summary.facts.get("models", {}).get(name, {}).get("sources") for summary in estimating]
        if any(source != sources[0] or not source for source in sources):
            differing.add(name)
    raw = [kinds[0] for kinds in TYPES.values()]
    silent = pooled["model"].isin(differing) & pooled["estimate_type"].isin(raw) & pooled["status"].isin(WITH_NUMBERS)
    numbers = [column for column in ("estimate", "std_error", "ci_low", "ci_high", *HETEROGENEITY) if column in pooled]
    pooled = pooled.copy()
    pooled.loc[silent, numbers] = np.nan
    pooled.loc[silent, "status"] = "not_estimable"
    pooled.loc[silent, "reason"] = (
        "not estimable: sites measured the variables with different instruments or units; see the standardised row"
    )
    return pooled


def _overlaps(summaries: Sequence[SiteSummary], models: Mapping[str, StructuralModel]) -> dict[str, dict[str, str]]:
    """Return, by model, the rows over sites whose two ends some sites did not measure strictly one after the other."""
    found = {}
    for name, model in models.items():
        counted: Counter[str] = Counter()
        for summary in summaries:
            facts = summary.facts.get("models", {}).get(name, {})
            counted.update(list(facts.get("not_strictly_ordered", ())) if summary.status == "ok" else ())
        found[name] = touched_over_sites(model, counted)
    return found


def _standard_rows(
    name: str,
    model: StructuralModel,
    values: Mapping[str, Mapping[str, Any]],
    common: Mapping[str, Any],
    touched: Mapping[str, str],
    by_group: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Return standardised rows over sites from values by parameter: estimate, std_error, ci_low, ci_high, p_value, status, reason.

    Parameters of one group of clients go by their name with the group; ``by_group`` are their counts.
    """
    rows = []
    for lhs, op, rhs, group in terms(model):
        parameter = parameter_of(lhs, op, rhs)
        identity = {**identity_of(parameter, lhs, op, rhs, FORMS[1], group), "parameter": parameter, "interval": ""}
        own = values.get(parameter_of(lhs, op, rhs, group))
        if own is None:
            continue
        counts = (by_group or {}).get(group, {})
        row = {"model": name, "site": POOLED, "scale": "identity", **common, **counts, **identity, **own}
        if row["status"] in WITH_NUMBERS and not np.isfinite(row["estimate"]):
            row |= {"status": "not_estimable", "reason": "not estimable: no finite value", "method": "none"}
        elif row["status"] in WITH_NUMBERS and parameter in touched:
            row |= {"status": "flagged", "reason": "; ".join(text for text in (row["reason"], touched[parameter]) if text)}
        if row["status"] not in WITH_NUMBERS:
            row |= dict.fromkeys(("estimate", "std_error", "ci_low", "ci_high", "p_value"), np.nan) | {"interval": ""}
        rows.append(row)
    return rows


def _absent_values(model: StructuralModel, ops: Sequence[str], reason: str) -> dict[str, dict[str, Any]]:
    silent = {"estimate": np.nan, "status": "not_estimable", "reason": reason}
    return {parameter_of(*term): silent for term in terms(model) if term[1] in ops}


def _within_rows(
    models: Mapping[str, StructuralModel],
    pooled: Mapping[str, PooledFit],
    overlaps: Mapping[str, Mapping[str, str]],
    options: Mapping[str, Any],
) -> pd.DataFrame:
    """Return the rows of the models fitted to the correlations within sites; defined effects with delta and Monte Carlo intervals."""
    pooling, rows = options["pooling"], []
    for name, model in models.items():
        found = pooled[name]
        common = {**found.counts, "method": WITHIN}
        if found.fitted is None:
            rows += _standard_rows(name, model, _absent_values(model, list(TYPES), found.reason), common, {}, found.counts_by_group)
            continue
        table, _ = shown(found.fitted.parameters, model)
        drawn = (
            monte_carlo(found.fitted, generator(options["seed"], "path_models", "within", name), level=pooling["level"]).set_index("name")
            if model.defined
            else None
        )
        values: dict[str, dict[str, Any]] = {}
        by_monte_carlo: dict[str, dict[str, Any]] = {}
        headline = found.counts["n_sites"] >= pooling["headline_sites"]
        for row in table.itertuples(index=False):
            own = {
                "estimate": row.standardized,
                "std_error": row.std_error_standardized,
                "ci_low": row.standardized_low,
                "ci_high": row.standardized_high,
                "p_value": _p_value(row.standardized, row.std_error_standardized) if headline else np.nan,
                "status": "flagged" if found.fitted.reason else "estimated",
                "reason": found.fitted.reason,
            }
            values[row.parameter] = own | ({"interval": DELTA} if row.op == ":=" else {})
            if row.op == ":=":
                limits = {"ci_low": drawn.loc[row.lhs, "standardized_low"], "ci_high": drawn.loc[row.lhs, "standardized_high"]}
                by_monte_carlo[row.parameter] = {**own, **limits, "interval": MONTE_CARLO}
        rows += _standard_rows(name, model, values, common, overlaps[name], found.counts_by_group)
        rows += _standard_rows(name, model, by_monte_carlo, common, overlaps[name])
    return pd.DataFrame(rows)


def _p_value(estimate: float, error: float) -> float:
    return float(two_sided_p(estimate / error)) if error > 0 else np.nan


def _multivariate_rows(
    models: Mapping[str, StructuralModel],
    sent: Sequence[Sent],
    main: pd.DataFrame,
    overlaps: Mapping[str, Mapping[str, str]],
    options: Mapping[str, Any],
) -> pd.DataFrame:
    """Return the coefficients of each model pooled together, with their covariance, and the effects defined by them."""
    pooling, rows, by_site = options["pooling"], [], {one.site: one for one in sent}
    settings = {"likelihood": "fixed" if pooling["tau2"] == "fixed" else "reml", "interval": pooling["interval"], "level": pooling["level"]}
    for name, model in models.items():
        names = [parameter_of(*term) for term in terms(model) if term[1] in ("~", "=~")]
        own = main[main["model"].eq(name) & main["estimate_type"].isin(["path_standardised", "loading_standardised"])]
        own = own[own["status"].isin(WITH_NUMBERS) & own["v"].notna()]
        own = own.assign(full=[parameter_of(row.lhs, row.op, row.rhs, row.group) for row in own.itertuples(index=False)])
        sites = sorted(set(own["site"]))
        common = {"method": MULTIVARIATE, "n_sites": len(sites), "n_clients": _sum_of_clients(own)}
        by_group = {group: {"n_clients": _sum_of_clients(own[own["group"].eq(group)])} for group in groups_of(model)}
        if len(sites) < pooling["min_sites"]:
            reason = effects.too_few_sites(len(sites), pooling)
            rows += _standard_rows(name, model, _absent_values(model, ("~", "=~", ":="), reason), common, {})
            continue
        y, v = _site_vectors(own, [by_site[site] for site in sites], name, names)
        found = pool_coefficients(y, v, names, **settings)
        headline = len(sites) >= pooling["headline_sites"]
        flagged = own[own["status"].eq("flagged")]
        by_coefficient, all_sites = flagged["full"].value_counts(), own["full"].value_counts()
        of_sites = effects.flagged_sites(flagged["site"].nunique(), len(sites))
        values: dict[str, dict[str, Any]] = {}
        for row in found.coefficients.itertuples(index=False):
            told = {column: getattr(row, column) for column in ("estimate", "std_error", "ci_low", "ci_high", *BETWEEN)}
            at_sites = effects.flagged_sites(int(by_coefficient.get(row.name, 0)), int(all_sites.get(row.name, 0)))
            reason = "; ".join(dict.fromkeys(text for text in (row.reason, found.reason, at_sites) if text))
            status = "not_estimable" if row.status == "not_estimable" else "flagged" if reason else "estimated"
            values[row.name] = {
                **told,
                "i2": row.i2 / 100,
                "p_value": row.p_value if headline else np.nan,
                "status": status,
                "reason": reason,
            }
        random = generator(options["seed"], "path_models", "multivariate", name)
        shared = shared_labels(model)
        for item in model.defined:
            told = pooled_function(found, _defined_of(model, names, item.name), random, level=pooling["level"])
            if told.status == "not_estimable":
                values[item.name] = {"estimate": np.nan, "status": "not_estimable", "reason": told.reason}
                continue
            remarks = [text for text in (told.reason, of_sites, shared.get(item.name, "")) if text]
            values[item.name] = {
                "estimate": told.estimate,
                "std_error": np.nan if told.std_error is None else told.std_error,
                "ci_low": np.nan if told.monte_carlo_low is None else told.monte_carlo_low,
                "ci_high": np.nan if told.monte_carlo_high is None else told.monte_carlo_high,
                "p_value": told.p_value if headline and told.p_value is not None else np.nan,
                "status": "flagged" if remarks else told.status,
                "reason": "; ".join(remarks),
                "interval": MONTE_CARLO,
            }
        rows += _standard_rows(name, model, values, common, overlaps[name], by_group)
    return pd.DataFrame(rows)


def _sum_of_clients(own: pd.DataFrame) -> int:
    return int(own.groupby(["site", "group"])["n_clients"].max().sum()) if len(own) else 0


def _site_vectors(own: pd.DataFrame, sent: Sequence[Sent], name: str, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return standardised coefficients of sites, shape (sites, p), and their covariances; those not known are taken as 0."""
    place = {parameter: position for position, parameter in enumerate(names)}
    standardised = {parameter + STANDARDISED: position for parameter, position in place.items()}
    index = {one.site: position for position, one in enumerate(sent)}
    y = np.full((len(sent), len(names)), np.nan)
    v = np.zeros((len(sent), len(names), len(names)))
    site, position = own["site"].map(index).to_numpy(dtype=int), own["full"].map(place).to_numpy(dtype=int)
    y[site, position], v[site, position, position] = own["y"].to_numpy(dtype=float), own["v"].to_numpy(dtype=float)
    for one in sent:
        i, j, values = placed(one, name, standardised)
        off = i != j
        v[index[one.site], i[off], j[off]] = v[index[one.site], j[off], i[off]] = values[off]
    return y, v


def _defined_of(model: StructuralModel, names: Sequence[str], wanted: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a defined effect as a function of a stack of coefficients, shape (b, p) to (b,)."""
    groups = groups_of(model) or ("",)
    labels = {
        term.label(place): names.index(parameter_of(term.lhs, term.op, term.rhs, groups[place]))
        for place in reversed(range(len(groups)))
        for term in reversed(model.terms)
        if term.op in ("~", "=~") and term.label(place)
    }

    def value(stack: np.ndarray) -> np.ndarray:
        known = {label: stack[:, position] for label, position in labels.items()}
        for item in model.defined:
            if set(item.names) <= set(known):
                known[item.name] = np.broadcast_to(item.value(known), (len(stack),))
        return known.get(wanted, np.full(len(stack), np.nan))

    return value


def _correlation_cells(sent: Sequence[Sent], name: str, model: StructuralModel) -> tuple[np.ndarray, np.ndarray]:
    """Return correlations and numbers of clients of every site with moments, shape (sites, cells)."""
    cells = np.triu_indices(len(model.observed), 1)
    place = {variable: position for position, variable in enumerate(model.observed)}
    correlations, sizes = [], []
    for one in sent:
        found = one.blocks.get(block(name))
        if found is None:
            continue
        r, n = np.full((len(place),) * 2, np.nan), np.full((len(place),) * 2, np.nan)
        own = [variable for variable in found.names if variable in place]
        where = [place[variable] for variable in own]
        part = found.of(own)
        with np.errstate(invalid="ignore"):
            deviation = np.sqrt(np.diagonal(part.covariance))
            r[np.ix_(where, where)] = part.covariance / np.outer(deviation, deviation)
        n[np.ix_(where, where)] = part.n
        correlations.append(r[cells])
        sizes.append(n[cells])
    shape = (len(correlations), len(cells[0]))
    return np.array(correlations).reshape(shape), np.array(sizes).reshape(shape)


def _two_stage(
    models: Mapping[str, StructuralModel],
    sent: Sequence[Sent],
    overlaps: Mapping[str, Mapping[str, str]],
    options: Mapping[str, Any],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of two-stage SEM: coefficients and effects (standardised), and fit. Holes in sites' matrices are allowed."""
    pooling = options["pooling"]
    rows, fits = [], []
    shown_ops = ("~", "=~", ":=")
    for name, model in models.items():
        if groups_of(model):
            rows += _standard_rows(name, model, _absent_values(model, shown_ops, ONE_MATRIX), {"n_sites": 0, "method": TWO_STAGE}, {})
            continue
        correlations, sizes = _correlation_cells(sent, name, model)
        k = int(np.isfinite(correlations).any(axis=1).sum())
        common = {"n_sites": k, "method": TWO_STAGE}
        if k < pooling["min_sites"]:
            reason = effects.too_few_sites(k, pooling).replace("an estimate", "correlations of the model's variables")
            rows += _standard_rows(name, model, _absent_values(model, shown_ops, reason), common, {})
            continue
        stage = pool_correlations(correlations, sizes, model.observed, random_effects=pooling["tau2"] != "fixed", level=pooling["level"])
        fitted = fit_pooled(model, stage, generator(options["seed"], "path_models", "two_stage", name), level=pooling["level"])
        common |= {"n_sites": fitted.n_sites}
        why = unusable(fitted)
        if why:
            rows += _standard_rows(name, model, _absent_values(model, shown_ops, why), common, {})
            continue
        fitted = _units_told(fitted, options["questions"]["path_models"], name)
        common |= {"n_clients": fitted.n_clients}
        values = {}
        for row in fitted.parameters.itertuples(index=False):
            if row.op not in shown_ops:
                continue
            defined = row.op == ":="
            values[parameter_of(row.lhs, row.op, row.rhs)] = {
                "estimate": row.estimate,
                "std_error": row.std_error,
                "ci_low": row.monte_carlo_low if defined else row.ci_low,
                "ci_high": row.monte_carlo_high if defined else row.ci_high,
                "p_value": row.p_value if fitted.n_sites >= pooling["headline_sites"] else np.nan,
                "status": fitted.status,
                "reason": fitted.reason,
                **({"interval": MONTE_CARLO} if defined else {}),
            }
        rows += _standard_rows(name, model, values, common, overlaps[name])
        told = {"model": name, "site": POOLED, "scale": "identity", "status": fitted.status, "reason": fitted.reason, **common}
        for index in TWO_STAGE_FIT:
            value = getattr(fitted, index, None)
            if value is not None:
                fits.append({**told, "index": index, "estimate_type": FIT, "estimate": float(value)})
    return pd.DataFrame(rows), pd.DataFrame(fits)


def _pooled_single_rows(models: Mapping[str, StructuralModel], pooled: Mapping[str, PooledFit], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return fit and diagnostics of the models fitted to the correlations within sites."""
    rows = []
    for name, model in models.items():
        found = pooled[name]
        common = {"model": name, "site": POOLED, "scale": "identity", "method": WITHIN, **found.counts}
        if found.fitted is None:
            rows.append(
                {**common, "index": "chi2", "estimate_type": FIT, "method": "none", "status": "not_estimable", "reason": found.reason}
            )
            continue
        values = fit_values(found.fitted)
        caution = found.fitted.reason
        for index in FIT_INDICES:
            value = values.get(index)
            if value is not None and np.isfinite(value):
                status = "flagged" if caution else "estimated"
                rows.append({**common, "index": index, "estimate_type": FIT, "estimate": float(value), "status": status, "reason": caution})
        rows += [{**common, **row} for row in diagnostic_rows(found.fitted, model)]
        rows.append({**common, **_semopy_row(found)})
    return pd.DataFrame(rows)


def _semopy_row(found: PooledFit) -> dict[str, Any]:
    """Return how far semopy's estimates lie from the engine's, in SD."""
    difference, reason = largest_difference(found.fitted)
    row = {"index": "semopy_difference", "estimate_type": "largest_difference"}
    if difference is None:
        return {**row, "status": "not_estimable", "method": "none", "reason": f"not estimable: {reason}"}
    flag = (reason or "semopy finds other estimates that fit as well") if difference > AGREEMENT else ""
    return {**row, "estimate": difference, "status": "flagged" if flag else "estimated", "reason": flag}


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    parameters, defined = tables["parameters"], tables["defined"]
    usable = parameters["status"].isin(WITH_NUMBERS)
    sites = parameters[usable & parameters["site"].ne(POOLED)]
    pooled = parameters[usable & parameters["site"].eq(POOLED)]
    if sites.empty and pooled.empty:
        return [Sentence("The path models could not be estimated: no site has all their variables.")]
    section = options["questions"]["path_models"]
    sentences = []
    if len(sites):
        with_holes = section["missing"] == "likelihood"
        who = "clients with any variable of a model, by full information" if with_holes else "the clients with all variables of a model"
        sentences.append(
            Sentence(
                f"Path models were fitted by maximum likelihood at {sites['site'].nunique()} sites to {who}; clients whose alliance or "
                "empathy was rated after the outcome were left out.",
                ("enders_2010",) if with_holes else (),
            )
        )
    by = sorted({content["groups"]["by"] for content in section["models"].values() if content.get("groups")})
    if by:
        sentences.append(
            Sentence(
                f"Models with groups of clients (by {', '.join(by)}) were fitted to all groups of a site at once; clients in none of them "
                "were left out. A therapist with clients in several groups is left out, and drawn, as one."
            )
        )
    sentences += cluster_sentences(sites["method"])
    drawn = defined["status"].isin(WITH_NUMBERS)
    if defined.loc[drawn, "method"].eq("bootstrap").any():
        sentences.append(
            Sentence(
                "Indirect and total effects of a site have percentile intervals, expanded for the number of therapists, from a bootstrap "
                f"({options['resampling']['draws']:,} draws) of therapists (of clients where therapists are unknown or "
                "fewer than ten); intervals by delta method, Monte Carlo and "
                "bias-corrected and accelerated bootstrap stand beside.",
                ("field_welsh_2007", "hesterberg_2015", "mackinnon_2004", "efron_1987"),
            )
        )
    loose = usable & parameters["site"].ne(POOLED) & parameters["reason"].str.contains("order in time is not strict")
    if loose.any():
        named = ", ".join(sorted(set(parameters.loc[loose, "parameter"])))
        n = parameters.loc[loose, "site"].nunique()
        sentences.append(
            Sentence(
                f"At {n} site{'s' if n > 1 else ''} some clients' ratings were not taken strictly one after the other ({named}); these "
                "paths and the effects made of them are flagged."
            )
        )
    if pooled["method"].isin(list(effects.BETWEEN_SITES.values())).any():
        sentences.append(pooling_sentence(options["pooling"], "Standardised coefficients and effects of the sites were pooled"))
    if pooled["method"].eq(MULTIVARIATE).any():
        sentences.append(
            Sentence(
                "Beside this, all coefficients of a model were pooled together, with the covariances of a site's coefficients.",
                ("vanhouwelingen_2002", "jackson_riley_2014"),
            )
        )
    if pooled["method"].eq(WITHIN).any():
        sentences.append(
            Sentence(
                "Each model was also fitted to the correlations within sites, pooled over sites with all its variables; standard errors "
                "and the scaled chi-square rest on the sampling covariance that the sites found by leaving out therapists. The optimum was "
                "found a second time by semopy.",
                ("igolkina_meshcheryakov_2020", "satorra_bentler_1994"),
            )
        )
    if pooled["method"].eq(TWO_STAGE).any():
        sentences.append(
            Sentence(
                "And to the correlation matrix pooled over all sites, published matrices and matrices with holes included (two-stage "
                "structural equation modelling); its first stage takes clients as independent.",
                ("cheung_chan_2005",),
            )
        )
    return sentences
