"""Every path model at one site: coefficients, defined effects, fit, and what the fit leaves unexplained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.moments import matrix_rows, no_moments
from alliance.questions.part import VCOV, Part
from alliance.questions.path_models.sample import (
    PathSample,
    PublishedSample,
    block,
    published_samples,
    samples,
    shared_labels,
)
from alliance.questions.site_data import Published, SiteData
from alliance.statistics import structural_resampling
from alliance.statistics.distributions import critical_value
from alliance.statistics.improper_solution import improper, no_number
from alliance.statistics.indirect_effects import monte_carlo
from alliance.statistics.resampling import generator
from alliance.statistics.row_moments import GroupMoments, moments_of_groups
from alliance.statistics.structural_fit import Moments, StructuralFit, fit_structural, modification_indices
from alliance.statistics.structural_model import StructuralModel, linear_effects
from alliance.statistics.structural_resampling import Bootstrap, Jackknife
from alliance.statistics.two_stage import TwoStageFit
from alliance.variables.path_model import PathModel, equalities, groups_of, plan

FIXED = "fixed by the model, not estimated"
STANDARDISED = " (standardised)"
FORMS = ("unstandardised", "standardised")
TYPES = {
    "~": ("path_unstandardised", "path_standardised"),
    "=~": ("loading", "loading_standardised"),
    "~~": ("covariance_unstandardised", "covariance_standardised"),
    ":=": ("defined_unstandardised", "defined_standardised"),
}
FIT_INDICES = (
    *("chi2", "df", "p_value", "scaling", "chi2_scaled", "p_value_scaled"),
    *("cfi", "tli", "rmsea", "rmsea_low", "rmsea_high", "rmsea_close_p", "srmr", "aic", "bic"),
)
FIT = "fit_index"
DELTA, MONTE_CARLO, PERCENTILE, BCA = "delta", "monte_carlo", "bootstrap_percentile", "bootstrap_bca"
JACKKNIFE = "jackknife"
MODIFICATION, CHANGE, RESIDUAL = "modification_index", "expected_change", "residual_correlation"
IN_NO_GROUP = "clients_in_no_group"
LARGEST = 3
MIN_CLUSTERS = 5


@dataclass(frozen=True)
class SiteFit:
    """A model fitted at one site.

    Attributes
    ----------
    name : str
    model : PathModel
    sample : PathSample or PublishedSample
    fitted : StructuralFit or None
        None where the model could not be fitted.
    table : DataFrame
        Rows of the fit that are shown: neither intercepts nor moments of exogenous variables. ``parameter, lhs, op, rhs, group, estimate,
        standardized`` and their standard errors.
    vcov, vcov_standardized : ndarray, shape (rows, rows)
        Sampling covariance of the table's estimates; NaN where not known.
    effects : DataFrame
        Intervals of defined effects: ``name, form, interval, std_error, ci_low, ci_high, method, reason``.
    drawn : Bootstrap or None
        Resamples of therapists or clients; None without rows, and where the model defines no effects but sums of coefficients.
    method : str
        How the coefficients' standard errors were made.
    reason : str
        Why nothing was estimated, or why what was is flagged.
    """

    name: str
    model: PathModel
    sample: PathSample | PublishedSample
    fitted: StructuralFit | None
    table: pd.DataFrame
    vcov: np.ndarray
    vcov_standardized: np.ndarray
    effects: pd.DataFrame
    drawn: Bootstrap | None
    method: str
    reason: str

    @property
    def estimated(self) -> bool:
        """Whether there are numbers."""
        return self.fitted is not None

    @property
    def counts(self) -> dict[str, Any]:
        """Columns of every row of the site's summary."""
        if isinstance(self.sample, PathSample):
            return self.sample.counts
        return {"n_clients": int(self.sample.n) or None}

    def counts_of(self, group: str) -> dict[str, Any]:
        """Return the same for rows of one group; empty: of all."""
        return {**self.counts, **(self.sample.counts_by_group.get(group, {}) if isinstance(self.sample, PathSample) else {})}

    @property
    def likelihood_method(self) -> str:
        """How fit and comparisons of fit were made."""
        robust = self.fitted is not None and self.fitted.method == "cluster_robust"
        return "maximum_likelihood_robust" if robust else "maximum_likelihood"


def site_fits(site: SiteData, options: Mapping[str, Any]) -> dict[str, SiteFit]:
    """Return every model of the configuration fitted at a site, from its rows or the matrix it published."""
    if site.published is not None:
        return {name: _of_matrix(one, options) for name, one in published_samples(site.published, options).items()}
    return {name: _of_rows(one, site.site, options) for name, one in samples(site, options).items()}


def terms(model: StructuralModel) -> list[tuple[str, str, str, str]]:
    """Return the terms of a model that are shown, with their group, defined ones last: no intercepts, no moments of exogenous variables.

    The group is empty for models of all clients and for defined effects.
    """
    found = plan(model)
    outside = set(found.exogenous)
    shown = [
        (term.lhs, term.op, term.rhs)
        for term in found.terms
        if term.op != "~1" and not (term.op == "~~" and term.lhs in outside and term.rhs in outside)
    ]
    by_group = [(*term, group) for group in groups_of(model) or ("",) for term in shown]
    return [*by_group, *((item.name, ":=", item.expression, "") for item in model.defined)]


def parameter_of(lhs: str, op: str, rhs: str, group: str = "") -> str:
    """Return a parameter's name in tables; with a group the name by which a site's summary tells it from those of other groups."""
    name = lhs if op == ":=" else f"{lhs} {op} {rhs}"
    return f"{name} in {group}" if group else name


def shown(rows: pd.DataFrame, model: StructuralModel) -> tuple[pd.DataFrame, list[int]]:
    """Return the rows of a fit's parameters that are shown, with their names and groups, and their positions."""
    several = bool(groups_of(model))
    place = {
        (row.lhs, row.op, row.rhs, row.group if several else ""): position for position, row in enumerate(rows.itertuples(index=False))
    }
    positions = [place[term] for term in terms(model)]
    table = rows.iloc[positions].reset_index(drop=True)
    if not several:
        table = table.assign(group="")
    return table.assign(parameter=[parameter_of(row.lhs, row.op, row.rhs, row.group) for row in table.itertuples(index=False)]), positions


def unusable(fitted: StructuralFit | TwoStageFit) -> str:
    """Return why no number of a fit is told, because there is no maximum or no population could have it; empty where all is well."""
    if fitted.status == "not_estimable":
        return f"not estimable: {fitted.reason}"
    why = improper(fitted)
    return no_number(why) if why else ""


def _none(name: str, model: PathModel, sample: PathSample | PublishedSample, reason: str) -> SiteFit:
    nothing = np.empty((0, 0))
    return SiteFit(name, model, sample, None, pd.DataFrame(), nothing, nothing, pd.DataFrame(), None, "none", reason)


def _of_rows(sample: PathSample, site: str, options: Mapping[str, Any]) -> SiteFit:
    if sample.reason:
        return _none(sample.name, sample.model, sample, sample.reason)

    level = options["pooling"]["level"]
    fitted = _fitted(sample.model, sample, options)
    why = unusable(fitted)
    if why:
        return _none(sample.name, sample.model, sample, why)
    without = structural_resampling.jackknife(fitted, level=level, min_clusters=MIN_CLUSTERS, clients_below=np.inf)
    few = sample.clustered is not None and sample.clustered < MIN_CLUSTERS
    notes = [fitted.reason, f"fewer than {MIN_CLUSTERS} therapists ({sample.clustered}): clients taken as independent" if few else ""]
    if without.status == "not_estimable":
        table, positions = shown(fitted.parameters, sample.model)
        method = "cluster_robust" if fitted.method == "cluster_robust" else "normal_theory"
        vcov, standardized = (np.diag(table[column].to_numpy(dtype=float) ** 2) for column in ("std_error", "std_error_standardized"))
        notes.append(without.reason)
    else:
        table, positions = shown(without.parameters, sample.model)
        method = "cluster_jackknife" if without.unit == "clusters" else "client_jackknife"
        square = np.ix_(positions, positions)
        vcov, standardized = without.vcov_estimates[square], without.vcov_standardized[square]
        if without.by_client is not None:
            vcov, standardized = (
                _with_correlations_of(*pair) for pair in zip((vcov, standardized), (one[square] for one in without.by_client))
            )
    seed = (options["seed"], "path_models", site, sample.name)
    skewed = {item.name for item in sample.model.defined} - linear_effects(sample.model)
    effects, drawn = _effect_intervals(fitted, without, seed, options) if skewed else (pd.DataFrame(), None)
    reason = "; ".join(dict.fromkeys(note for note in notes if note))
    return SiteFit(sample.name, sample.model, sample, fitted, table, vcov, standardized, effects, drawn, method, reason)


def _with_correlations_of(variances: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return a covariance matrix with the variances of one and the correlations of another.

    How a site's coefficients hang together is taken from leaving out clients: a matrix from a handful of therapists is all but singular.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.sqrt(np.diagonal(variances) / np.diagonal(other))
    mixed = other * np.outer(size, size)
    np.fill_diagonal(mixed, np.diagonal(variances))
    return mixed


def _fitted(model: PathModel, sample: PathSample, options: Mapping[str, Any]) -> StructuralFit:
    """Return the fit to a site's rows, by therapists where there are at least five, with incomplete rows unless they were left out.

    A therapist with clients in several groups is one.
    """
    known = sample.clustered is not None and sample.clustered >= MIN_CLUSTERS
    names = list(model.observed)
    return fit_structural(
        model,
        rows=[rows[names] for rows, _ in sample.parts],
        clusters=[therapists for _, therapists in sample.parts] if known else None,
        shared_clusters=True,
        missing="ml" if sample.rows[names].isna().to_numpy().any() else "listwise",
        mean_structure=True,
        errors="robust",
        groups=model.groups or None,
        level=options["pooling"]["level"],
        **equalities(model),
    )


def _effect_intervals(
    fitted: StructuralFit, without: Jackknife, seed: Sequence[Any], options: Mapping[str, Any]
) -> tuple[pd.DataFrame, Bootstrap]:
    """Return intervals of defined effects by delta method, Monte Carlo and bootstrap of therapists (clients, with few therapists)."""

    level, draws = options["pooling"]["level"], options["resampling"]["draws"]
    robust = "cluster_robust" if fitted.method == "cluster_robust" else "normal_theory"
    jackknifed = {"clusters": "cluster_jackknife", "rows": "client_jackknife"}.get(without.unit, robust)
    usable = without.status != "not_estimable"
    margin = float(critical_value(level, without.df if usable else np.inf))
    rows = []

    def add(name: str, interval: str, method: str, forms: Sequence[tuple[float, float, float]], reason: str) -> None:
        for form, (error, low, high) in zip(FORMS, forms):
            rows.append(
                {
                    **{"name": name, "form": form, "interval": interval, "method": method, "reason": reason},
                    **{"std_error": error, "ci_low": low, "ci_high": high},
                }
            )

    table = fitted.parameters[fitted.parameters["op"].eq(":=")]
    for row in table.itertuples(index=False):
        forms = [
            (error, value - margin * error, value + margin * error)
            for value, error in ((row.estimate, row.std_error), (row.standardized, row.std_error_standardized))
        ]
        add(row.lhs, DELTA, robust, forms, "")
    if usable:
        simulated = monte_carlo(fitted, generator(*seed, "monte carlo"), vcov=without.vcov, df=without.df, level=level)
        for row in simulated.itertuples(index=False):
            forms = [(np.nan, row.ci_low, row.ci_high), (np.nan, row.standardized_low, row.standardized_high)]
            add(row.name, MONTE_CARLO, jackknifed, forms, "")
    resampled = structural_resampling.bootstrap(fitted, generator(*seed), draws=draws, level=level)
    accelerated = structural_resampling.with_interval(fitted, resampled, "bca", level)
    for interval, drawn in ((PERCENTILE, resampled), (BCA, accelerated)):
        for row in drawn.parameters[drawn.parameters["op"].eq(":=")].itertuples(index=False):
            forms = [
                (row.std_error, row.ci_low, row.ci_high),
                (row.std_error_standardized, row.standardized_low, row.standardized_high),
            ]
            add(row.lhs, interval, "bootstrap", forms, drawn.reason)
    return pd.DataFrame(rows), resampled


def _of_matrix(sample: PublishedSample, options: Mapping[str, Any]) -> SiteFit:
    if sample.reason:
        return _none(sample.name, sample.model, sample, sample.reason)
    names = list(sample.model.observed)
    moments = Moments(sample.n, sample.covariance.loc[names, names].to_numpy(dtype=float), None, names)
    fitted = fit_structural(sample.model, moments, level=options["pooling"]["level"])
    why = unusable(fitted)
    if why:
        return _none(sample.name, sample.model, sample, why)
    table, _ = shown(fitted.parameters, sample.model)
    vcov, standardized = (np.diag(table[column].to_numpy(dtype=float) ** 2) for column in ("std_error", "std_error_standardized"))
    return SiteFit(
        sample.name, sample.model, sample, fitted, table, vcov, standardized, pd.DataFrame(), None, "normal_theory", fitted.reason
    )


def estimate(site: SiteData, fits: Mapping[str, SiteFit], options: Mapping[str, Any]) -> Part:
    """Return every model's rows, moments and covariances at one site.

    Parameters
    ----------
    site : SiteData
    fits : mapping of str to SiteFit
        From :func:`site_fits`.
    options : mapping
    """
    part = Part()
    covariances, moments, models = [], [], {}
    known: dict[tuple[Any, ...], GroupMoments] = {}
    for name, found in fits.items():
        rows, variances, vcov = _rows(found, site.published, options)
        for row, variance in zip(rows, variances):
            part.add({"model": name, "level": "client", **row}, variance)
        own, spread = _moments(found, options, known)
        covariances += [vcov, spread]
        moments.append(own)
        models[name] = _facts(found)
    part.moments = _stacked(moments, no_moments())
    part.covariances = _stacked(covariances, pd.DataFrame(columns=VCOV))
    part.facts = models
    return part


def _stacked(frames: Sequence[pd.DataFrame], empty: pd.DataFrame) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else empty


def _facts(found: SiteFit) -> dict[str, Any]:
    if isinstance(found.sample, PathSample):
        return found.sample.facts
    return {"sources": {}, "not_measured": {}, "published": True}


def _rows(
    found: SiteFit, published: Published | None, options: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[float], pd.DataFrame]:
    """Return rows of the summary, the variances of their estimates, and covariances of different ones."""
    if not found.estimated:
        rows = [{**row, **_group_counts(found, row)} for row in absent_rows(found.model, found.reason, found.counts)]
        rows += _in_no_group_row(found)
        variances = [float("nan")] * len(rows)
        if published is not None:
            own = _published_effects(published, found, options["pooling"]["min_clients"])
            for position, row in enumerate(rows):
                if row["parameter"] in own:
                    rows[position], variances[position] = own[row["parameter"]]
        return rows, variances, pd.DataFrame(columns=VCOV)
    silent = isinstance(found.sample, PublishedSample) and found.sample.correlations_only
    rows, variances, covariances = [], [], []
    for form, column, vcov in zip(FORMS, ("estimate", "standardized"), (found.vcov, found.vcov_standardized)):
        names = []
        for position, row in enumerate(found.table.itertuples(index=False)):
            identity = identity_of(row.parameter, row.lhs, row.op, row.rhs, form, row.group)
            names.append(identity["parameter"])
            if silent and form == FORMS[0]:
                rows.append(_absent(found, identity, "the site published correlations, so units are unknown"))
                variances.append(float("nan"))
                continue
            told, variance = _told(found, identity, form, getattr(row, column), float(vcov[position, position]))
            rows.append(told)
            variances.append(variance)
        covariances += _covariance_rows(found, names, vcov)
    for row, variance in _other_intervals(found):
        rows.append(row)
        variances.append(variance)
    for row in [*_fit_rows(found), *diagnostic_rows(found.fitted, found.model), *_in_no_group_row(found)]:
        rows.append({**found.counts, "method": found.likelihood_method, **row})
        variances.append(float("nan"))
    return rows, variances, pd.DataFrame(covariances, columns=VCOV)


def _group_counts(found: SiteFit, row: Mapping[str, Any]) -> dict[str, Any]:
    return found.counts_of(row["group"]) if row.get("group") else {}


def _in_no_group_row(found: SiteFit) -> list[dict[str, Any]]:
    """Return the share of clients who are in none of a model's groups; nothing for models of all clients."""
    sample = found.sample
    if not found.model.groups or not isinstance(sample, PathSample):
        return []
    identity = {"parameter": f"{IN_NO_GROUP} {found.model.by}", "lhs": found.model.by, "index": IN_NO_GROUP, "estimate_type": "share"}
    everyone = sample.facts["clients_with_any"]
    if not everyone:
        silent = {"status": "not_estimable", "method": "none", "reason": "not estimable: no client has any of the model's variables"}
        return [{**found.counts, **identity, **silent}]
    left_out = sample.facts["left_out_group_unknown"] + sample.facts["left_out_other_group"]
    numbers = {"n_clients": everyone, "estimate": left_out / everyone, "method": "counted", "status": "estimated", "reason": ""}
    return [{**found.counts, **identity, **numbers}]


def identity_of(parameter: str, lhs: str, op: str, rhs: str, form: str, group: str = "") -> dict[str, Any]:
    """Return the columns that tell a row of a parameter apart."""
    return {
        "parameter": parameter + (STANDARDISED if form == FORMS[1] else ""),
        "lhs": lhs,
        "op": op,
        "rhs": rhs,
        "group": group,
        "estimate_type": TYPES[op][FORMS.index(form)],
        "interval": PERCENTILE if op == ":=" else "",
    }


def _absent(found: SiteFit, identity: Mapping[str, Any], reason: str) -> dict[str, Any]:
    silent = {"method": "none", "status": "not_estimable", "reason": f"not estimable: {reason}"}
    return {**found.counts_of(identity["group"]), **identity, **silent}


def _told(found: SiteFit, identity: Mapping[str, Any], form: str, value: float, variance: float) -> tuple[dict[str, Any], float]:
    """Return one row with its number, and the variance of the number; a defined effect takes both from the bootstrap."""
    if not np.isfinite(value):
        return _absent(found, identity, found.reason or "no finite value"), float("nan")
    reasons = [found.reason, *_cautions(found, parameter_of(identity["lhs"], identity["op"], identity["rhs"]), form)]
    reasons.append("" if variance > 0 or identity["op"] == ":=" else FIXED)
    row = {**found.counts_of(identity["group"]), **identity, "estimate": float(value), "method": found.method}
    if identity["op"] == ":=" and len(found.effects):
        drawn = found.effects[
            found.effects["name"].eq(identity["lhs"]) & found.effects["form"].eq(form) & found.effects["interval"].eq(PERCENTILE)
        ].iloc[0]
        if np.isfinite(drawn["ci_low"]):
            row |= {"method": "bootstrap", "ci_low": float(drawn["ci_low"]), "ci_high": float(drawn["ci_high"])}
            variance = float(drawn["std_error"]) ** 2
            reasons.append(drawn["reason"])
        else:
            row["interval"] = DELTA
    elif identity["op"] == ":=":
        row["interval"] = JACKKNIFE if found.method in ("cluster_jackknife", "client_jackknife") else DELTA
    reason = "; ".join(dict.fromkeys(text for text in reasons if text))
    return {**row, "status": "flagged" if reason else "estimated", "reason": reason}, variance


def _cautions(found: SiteFit, parameter: str, form: str) -> tuple[str, str, str]:
    """Return what is to be said of the order in time, of all rows of a model and of one parameter, and of labels."""
    cautions = getattr(found.sample, "cautions", {})
    of_labels = shared_labels(found.model).get(parameter, "") if form == FORMS[1] else ""
    return cautions.get("", ""), cautions.get(parameter, ""), of_labels


def _other_intervals(found: SiteFit) -> list[tuple[dict[str, Any], float]]:
    """Return the defined effects with every other kind of interval, and the variance where the interval rests on one."""
    rows = []
    values = {row.lhs: (row.estimate, row.standardized) for row in found.table.itertuples(index=False) if row.op == ":="}
    definition = {row.lhs: row.rhs for row in found.table.itertuples(index=False) if row.op == ":="}
    for one in found.effects.itertuples(index=False):
        value = values[one.name][FORMS.index(one.form)]
        if one.interval == PERCENTILE or not np.isfinite(value):
            continue
        identity = identity_of(one.name, one.name, ":=", definition[one.name], one.form)
        cautions = _cautions(found, one.name, one.form)
        identity |= {"parameter": f"{identity['parameter']} [{one.interval}]", "interval": one.interval}
        if not np.isfinite(one.ci_low):
            rows.append((_absent(found, identity, one.reason or "the interval has no finite limits"), float("nan")))
            continue
        reason = "; ".join(dict.fromkeys(text for text in (found.reason, *cautions, one.reason) if text))
        limits = {"estimate": float(value), "ci_low": float(one.ci_low), "ci_high": float(one.ci_high)}
        status = "flagged" if reason else "estimated"
        row = {**found.counts, **identity, **limits, "method": one.method, "status": status, "reason": reason}
        rows.append((row, float(one.std_error) ** 2))
    return rows


def _covariance_rows(found: SiteFit, parameters: Sequence[str], matrix: np.ndarray) -> list[dict[str, Any]]:
    """Return how different coefficients covary; of effects from the bootstrap it is not known how they covary with coefficients."""
    drawn = {name for name, op in zip(parameters, found.table["op"]) if op == ":="} if len(found.effects) else set()
    return [
        {"model": found.name, "parameter1": parameters[i], "parameter2": parameters[j], "cov": float(matrix[i, j])}
        for i, j in combinations_with_replacement(range(len(parameters)), 2)
        if i != j and np.isfinite(matrix[i, j]) and not {parameters[i], parameters[j]} & drawn
    ]


def fit_values(fitted: StructuralFit) -> dict[str, float | None]:
    """Return the measures of fit of :data:`FIT_INDICES`; scaled ones where errors are robust."""
    fit, scaled = fitted.fit, fitted.scaled
    if fit is None:
        return {}
    values: dict[str, float | None] = {name: getattr(fit, name, None) for name in FIT_INDICES}
    values |= {"aic": fitted.aic, "bic": fitted.bic}
    if scaled is not None:
        values |= {"scaling": scaled.scaling, "chi2_scaled": scaled.scaled.chi2, "p_value_scaled": scaled.scaled.p_value}
    return values


def _fit_rows(found: SiteFit) -> list[dict[str, Any]]:
    values = fit_values(found.fitted)
    caution = found.fitted.reason
    rows = []
    for index in FIT_INDICES:
        value = values.get(index)
        identity = {"parameter": f"fit {index}", "op": "fit", "rhs": index, "index": index, "estimate_type": FIT}
        if value is None or not np.isfinite(value):
            robust = found.fitted.method in ("expected", "observed")
            lacking = "errors are not robust" if robust else caution or "no finite value"
            lacking = "the model has no degrees of freedom for it" if found.fitted.fit.df == 0 else lacking
            rows.append({**identity, "status": "not_estimable", "method": "none", "reason": f"not estimable: {lacking}"})
        else:
            rows.append({**identity, "estimate": float(value), "status": "flagged" if caution else "estimated", "reason": caution})
    return rows


def diagnostic_rows(fitted: StructuralFit, model: StructuralModel) -> list[dict[str, Any]]:
    """Return the largest modification indices, with the change to be expected, and the largest residual correlations."""
    rows = []
    several = bool(groups_of(model))

    def add(index: str, lhs: str, op: str, rhs: str, group: str, value: float) -> None:
        own = group if several else ""
        parameter = f"{index} {parameter_of(lhs, op, rhs, own)}"
        row = {"parameter": parameter, "lhs": lhs, "op": op, "rhs": rhs, "group": own, "index": index, "estimate_type": index}
        rows.append({**row, "estimate": float(value), "status": "flagged" if fitted.reason else "estimated", "reason": fitted.reason})

    if fitted.fit.df > 0:
        indices = modification_indices(fitted)
        finite = np.isfinite(indices[["chi2", "change_standardized"]].to_numpy(dtype=float)).all(axis=1)
        indices = indices[indices["op"].ne("~1").to_numpy() & finite]
        for row in indices.head(LARGEST).itertuples(index=False):
            add(MODIFICATION, row.lhs, row.op, row.rhs, row.group, row.chi2)
            add(CHANGE, row.lhs, row.op, row.rhs, row.group, row.change_standardized)
    for group, residuals in zip(fitted.groups, fitted.residuals):
        first, second = np.triu_indices(len(residuals), 1)
        values = residuals.to_numpy(dtype=float)[first, second]
        order = [position for position in np.argsort(-np.abs(values), kind="stable")[:LARGEST] if abs(values[position]) > 1e-6]
        names = list(residuals.index)
        for position in order:
            add(RESIDUAL, names[first[position]], "~~", names[second[position]], group, values[position])
    return rows


def absent_rows(model: StructuralModel, reason: str, counts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a not-estimable row for every coefficient, effect and measure of fit of a model."""
    silent = {**counts, "method": "none", "status": "not_estimable", "reason": reason}
    rows = [
        {**identity_of(parameter_of(lhs, op, rhs, group), lhs, op, rhs, form, group), **silent, "interval": ""}
        for form in FORMS
        for lhs, op, rhs, group in terms(model)
    ]
    indices = ("chi2", "df", "p_value", "cfi", "rmsea", "srmr")
    return rows + [
        {"parameter": f"fit {index}", "op": "fit", "rhs": index, "index": index, "estimate_type": FIT, **silent} for index in indices
    ]


def _published_effects(published: Published, found: SiteFit, minimum: int) -> dict[str, tuple[dict[str, Any], float]]:
    """Return standardised coefficients a site published with standard errors, with their variances, by parameter."""
    own = published.effects
    own = own[own["question"].eq("path_models") & own["model"].eq(found.name)]
    known = {parameter_of(*term).replace(" ", ""): term for term in terms(found.model)}
    made: dict[str, tuple[dict[str, Any], float]] = {}
    for row in own.itertuples(index=False):
        if row.parameter.replace(" ", "") not in known or not np.isfinite(row.estimate):
            continue
        lhs, op, rhs, group = known[row.parameter.replace(" ", "")]
        identity = {**identity_of(parameter_of(lhs, op, rhs, group), lhs, op, rhs, FORMS[1], group), "interval": ""}
        n = None if pd.isna(row.n) else int(row.n)
        if n is None or n < minimum or not row.std_error > 0:
            reason = f"a published coefficient needs a standard error and at least {minimum} clients"
            made[identity["parameter"]] = (_absent(found, identity, reason), float("nan"))
            continue
        numbers = {"estimate": float(row.estimate), "n_clients": n, "method": "published", "status": "estimated", "reason": ""}
        made[identity["parameter"]] = ({**identity, **numbers}, float(row.std_error) ** 2)
    return made


def _moments(found: SiteFit, options: Mapping[str, Any], known: dict[tuple[Any, ...], GroupMoments]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a model's blocks of moments, one a group, and their sampling covariance, as rows of ``moments.csv`` and ``vcov.csv``.

    Of the variables that enough clients of every group have together. Incomplete rows count too (maximum likelihood without a model).
    ``known`` keeps what models of the same values and clients share.
    """
    nothing = pd.DataFrame(columns=VCOV)
    if isinstance(found.sample, PublishedSample):
        return found.sample.moments, nothing
    groups, minimum = found.model.groups or ("",), options["pooling"]["min_clients"]
    parts = found.sample.parts
    shared = set.intersection(*(set(_together(rows, minimum)) for rows, _ in parts))
    names = sorted(shared)
    if len(names) < 2:
        return no_moments(), nothing
    there = [rows[names].notna().any(axis=1).to_numpy() for rows, _ in parts]
    frames = [rows.loc[kept, names] for (rows, _), kept in zip(parts, there)]
    therapists = None if found.sample.therapists is None else [own[kept] for (_, own), kept in zip(parts, there)]
    key = (*names, *(part for rows in frames for part in (len(rows), *rows.index, rows.to_numpy(dtype=float).tobytes())))
    moments = known[key] = known.get(key) or moments_of_groups(frames, therapists)
    if moments.reason:
        return no_moments(), nothing
    first, second = np.triu_indices(len(names))
    tables, labels = [], []
    for place, (group, rows) in enumerate(zip(groups, frames)):
        present = rows.notna().to_numpy(dtype=float)
        table = matrix_rows(block(found.name, group), names, moments.means[place], moments.covariances[place], 0, method=moments.method)
        table["n"] = (present.T @ present)[first, second].astype(int)
        tables.append(table)
        labels += [moment_name(names[a], names[b], group) for a, b in zip(first, second)]
    acov = moments.acov
    spread = [
        {"model": block(found.name), "parameter1": labels[a], "parameter2": labels[b], "cov": float(acov[a, b])}
        for a, b in combinations_with_replacement(range(len(labels)), 2)
        if np.isfinite(acov[a, b])
    ]
    return pd.concat(tables, ignore_index=True), pd.DataFrame(spread, columns=VCOV)


def _together(rows: pd.DataFrame, minimum: int) -> list[str]:
    """Return the variables of which every two are known of enough clients; the rarest go first where some are not."""
    names = list(rows.columns)
    while len(names) > 1:
        present = rows[names].notna().to_numpy(dtype=float)
        together = present.T @ present
        if together.min() >= minimum:
            return names
        short = (together < minimum).sum(axis=0) - np.diagonal(together) / (together.max() + 1)
        names.pop(int(np.argmax(short)))
    return names


def moment_name(first: str, second: str, group: str = "") -> str:
    """Return how a covariance, of one group of clients where there are several, is named in ``vcov.csv``."""
    return f"{first} with {second}{f' in {group}' if group else ''}"
