"""Path models of the configuration: coefficients, indirect effects and fit at every site and over sites (claims I6, J1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import HETEROGENEITY, POOLED, WITH_NUMBERS, finish
from alliance.questions.correlations import therapist_codes
from alliance.questions.moments import moment_rows, no_moments
from alliance.questions.sentences import Sentence, cluster_sentences, pooling_sentence
from alliance.questions.site_data import CORRELATION, COVARIANCE, Published, SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.model_syntax import Model, parse
from alliance.statistics.resampling import generator
from alliance.variables.checks import OUTCOMES, PROCESS
from alliance.variables.client import Measure, gain_window_overlap, measure, order_violations

estimate_reads = (
    "alliance",
    "empathy",
    "symptoms",
    "outcome",
    "early_gain",
    "dropout",
    "pooling.min_clients",
    "pooling.level",
    "resampling.draws",
    "questions.path_models.models",
)
pool_reads = ("pooling", "questions.path_models.models")
needs = ()
tables = ("parameters", "indirect", "fit", "leave_one_out")

STANDARDISED = " (standardised)"
FIT = "fit "
FIT_INDICES = ("chi2", "df", "p_value", "cfi", "tli", "rmsea", "srmr")
_LATER = (*OUTCOMES, "symptoms")
_KIND = {"~": "path", "~~": "covariance", ":=": "defined"}
_KEYS = ["model", "parameter", "lhs", "op", "rhs", "estimate_type"]


def estimate(site: SiteData, options: Mapping[str, Any], constants: Mapping[str, Any]) -> SiteSummary:
    """Fit every path model at one site.

    From rows: clients with all variables, maximum likelihood, standard errors that respect clients who share a therapist (each therapist
    left out in turn), expanded percentile bootstrap of therapists for defined (indirect, total) effects. From a published matrix: maximum
    likelihood on it, with the harmonic mean of its numbers of clients. Clients whose alliance or empathy was measured after the outcome it
    should predict are left out and counted; paths between session measures that were not taken strictly one after the other are flagged.

    Parameters
    ----------
    site : SiteData
    options : mapping
        The keys of ``estimate_reads``, and ``seed``.
    constants : mapping
        Not used.
    """
    models = options["questions"]["path_models"]["models"]
    parts = [
        _from_published(site.published, name, models[name], options)
        if site.published is not None
        else _from_rows(site, name, models[name], options)
        for name in sorted(models)
    ]
    sizes = [part["counts"] for part in parts]
    return SiteSummary(
        site=site.site,
        label=site.label,
        question="path_models",
        n={key: _largest([size.get(key) for size in sizes]) for key in ("clients", "therapists", "sessions")},
        facts={"models": {name: part["facts"] for name, part in zip(sorted(models), parts)}},
        moments=pd.concat([part["moments"] for part in parts], ignore_index=True),
        estimates=pd.DataFrame([row for part in parts for row in part["rows"]]),
        vcov=pd.concat([part["vcov"] for part in parts], ignore_index=True),
    )


def _largest(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return max(known) if known else None


def block(model: str) -> str:
    """Return the name of a model's block of moments."""
    return f"path_models:{model}"


def _model(content: Mapping[str, Any]) -> Model:
    return parse(content["syntax"], variables=list(content["variables"]))


def _from_rows(site: SiteData, name: str, content: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    model = _model(content)
    measures = {variable: measure(site, content["variables"][variable], options) for variable in model.variables}
    construct = {variable: content["variables"][variable]["construct"] for variable in model.variables}
    clients = _clients(site, measures)
    data = pd.DataFrame({variable: found.values.reindex(clients) for variable, found in measures.items()}, index=clients)
    violating = _order_violations(model, measures, construct)
    data = data.drop(violating, errors="ignore")
    available = [variable for variable in model.variables if not measures[variable].reason]
    complete = data[available].dropna() if available else data.iloc[:0]
    codes, known = therapist_codes(pd.Index(complete.index), site.clients, site.scores)
    facts: dict[str, Any] = {
        "sources": {variable: measures[variable].source for variable in available},
        "not_measured": {variable: measures[variable].reason for variable in model.variables if variable not in available},
        "clients_with_any": len(clients),
        "clients_complete": len(complete) if len(available) == len(model.variables) else 0,
        "left_out_predictor_after_outcome": len(violating),
    }
    minimum = options["pooling"]["min_clients"]
    enough = len(complete) >= minimum
    moments = moment_rows(block(name), complete.columns, complete.to_numpy(dtype=float)) if enough and len(available) > 1 else no_moments()
    reason = _not_estimable(model, measures, len(complete), minimum)
    n_sessions = _largest([found.n_sessions for found in measures.values()])
    therapists = int(codes.max()) + 1 if known and len(codes) else None
    counts = {"clients": len(complete), "therapists": therapists, "sessions": n_sessions}
    share = 1 - len(complete) / len(clients) if len(clients) else None
    common = {"n_clients": len(complete), "n_therapists": therapists, "share_missing": share}
    if reason:
        return {"rows": _absent_rows(name, model, reason, common), "vcov": _no_vcov(), "moments": moments, "facts": facts, "counts": counts}
    from alliance.statistics import path_analysis

    level = options["pooling"]["level"]
    clusters = codes if known else None
    fitted = path_analysis.fit(model, complete, clusters=clusters, level=level)
    if fitted.status == "not_estimable":
        reason = f"not estimable: {fitted.reason}"
        return {"rows": _absent_rows(name, model, reason, common), "vcov": _no_vcov(), "moments": moments, "facts": facts, "counts": counts}
    drawn = None
    if model.defined:
        random = generator(options["seed"], "path_models", site.site, name)
        drawn = path_analysis.bootstrap(model, complete, random, clusters=clusters, draws=options["resampling"]["draws"], level=level)
    caution = _gain_caution(measures, construct, options)
    common["method"] = fitted.method
    overlaps = _overlaps(model, measures, complete.index)
    facts["not_strictly_ordered"] = overlaps
    rows, vcov = _fitted_rows(name, fitted, drawn, common, caution, _touched(model, overlaps))
    return {"rows": rows, "vcov": vcov, "moments": moments, "facts": facts, "counts": counts}


def _clients(site: SiteData, measures: Mapping[str, Measure]) -> pd.Index:
    found: set[int] = set(site.clients["client_no"].dropna().astype("int64")) if len(site.clients) else set()
    for one in measures.values():
        found |= set(one.values.index)
    return pd.Index(sorted(found), dtype="int64", name="client_no")


def _order_violations(model: Model, measures: Mapping[str, Measure], construct: Mapping[str, str]) -> pd.Index:
    """Return clients whose alliance or empathy was measured after an outcome that a path of the model predicts from it."""
    violating = pd.Index([], dtype="int64")
    for path in model.paths:
        if construct[path.rhs] in PROCESS and construct[path.lhs] in _LATER:
            violating = violating.union(order_violations(measures[path.rhs], measures[path.lhs]))
    return violating


def _overlaps(model: Model, measures: Mapping[str, Measure], clients: pd.Index) -> dict[str, str]:
    """Return why the two ends of a path were not measured strictly one after the other, by path; only those of measures in sessions."""
    found = {}
    for path in model.paths:
        earlier, later = measures[path.rhs], measures[path.lhs]
        if not (earlier.in_sessions and later.in_sessions):
            continue
        n = len(order_violations(earlier, later, same_time=True).intersection(clients))
        if n:
            found[f"{path.lhs} ~ {path.rhs}"] = (
                f"order in time is not strict: {path.lhs} was rated in the same session as {path.rhs}, or before it, "
                f"for {n} of {len(clients)} clients"
            )
    return found


def _touched(model: Model, overlaps: Mapping[str, str]) -> dict[str, str]:
    """Return the cautions of paths, and of the defined effects that are made of them, by the name of their row."""
    cautions = dict(overlaps)
    by_label = {path.label: overlaps.get(f"{path.lhs} ~ {path.rhs}", "") for path in model.paths if path.label}
    for item in model.defined:
        texts = [by_label.get(name, cautions.get(name, "")) for name in item.names]
        if any(texts):
            cautions[item.name] = next(text for text in texts if text)
    return cautions


def _gain_caution(measures: Mapping[str, Measure], construct: Mapping[str, str], options: Mapping[str, Any]) -> str:
    if "early_gain" not in construct.values():
        return ""
    found = [gain_window_overlap(measures[name], options) for name, what in construct.items() if what == "alliance"]
    return next((text for text in found if text), "")


def _not_estimable(model: Model, measures: Mapping[str, Measure], n: int, minimum: int) -> str:
    absent = [f"{variable}: {measures[variable].reason}" for variable in model.variables if measures[variable].reason]
    if absent:
        return f"not estimable: {'; '.join(absent)}"
    if n < minimum:
        return f"not estimable: needs at least {minimum} clients with all variables of the model; has {n}"
    return ""


def _no_vcov() -> pd.DataFrame:
    return pd.DataFrame(columns=["model", "parameter1", "parameter2", "cov"])


def _parameter_rows(model: Model) -> list[tuple[str, str, str, str]]:
    """Return ``parameter, lhs, op, rhs`` of every path, covariance, residual variance and defined effect."""
    terms = [(term.lhs, term.op, term.rhs) for term in (*model.paths, *model.covariances)]
    terms += [(name, "~~", name) for name in model.endogenous]
    rows = [(f"{lhs} {op} {rhs}", lhs, op, rhs) for lhs, op, rhs in terms]
    return rows + [(item.name, item.name, ":=", item.expression) for item in model.defined]


def _absent_rows(name: str, model: Model, reason: str, common: Mapping[str, Any]) -> list[dict[str, Any]]:
    status = {"status": "not_estimable", "reason": reason, "method": "none"}
    rows = [
        {**common, **_identity(name, parameter, lhs, op, rhs, form), **status}
        for parameter, lhs, op, rhs in _parameter_rows(model)
        for form in ("unstandardised", "standardised")
    ]
    return rows + [{**common, **_fit_identity(name, index), **status} for index in FIT_INDICES]


def _identity(name: str, parameter: str, lhs: str, op: str, rhs: str, form: str) -> dict[str, Any]:
    return {
        "model": name,
        "parameter": parameter + (STANDARDISED if form == "standardised" else ""),
        "level": "client",
        "lhs": lhs,
        "op": op,
        "rhs": rhs,
        "estimate_type": f"{_KIND[op]}_{form}",
    }


def _fit_identity(name: str, index: str) -> dict[str, Any]:
    return {"model": name, "parameter": FIT + index, "level": "client", "op": "fit", "rhs": index, "estimate_type": "fit_index"}


def _fitted_rows(
    name: str, fitted: Any, drawn: Any, common: Mapping[str, Any], caution: str, touched: Mapping[str, str]
) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """Return estimates and their covariance; defined effects take interval and variances from the bootstrap where there is one.

    ``caution`` holds for all rows, ``touched`` for single ones. How bootstrapped effects covary with coefficients is not stated.
    """
    rows, covariances = [], []
    table = fitted.parameters
    for form, column, vcov in (
        ("unstandardised", "estimate", fitted.vcov),
        ("standardised", "standardized", fitted.vcov_standardized),
    ):
        identities = [
            _identity(name, row.lhs if row.op == ":=" else f"{row.lhs} {row.op} {row.rhs}", row.lhs, row.op, row.rhs, form)
            for row in table.itertuples(index=False)
        ]
        values = table[column].to_numpy(dtype=float)
        matrix = np.array(vcov, dtype=float)
        replaced, among = _bootstrapped(table, drawn, form) if drawn is not None else ({}, np.empty((0, 0)))
        drawn_rows = list(replaced)
        matrix[drawn_rows, :] = matrix[:, drawn_rows] = np.nan
        matrix[np.ix_(drawn_rows, drawn_rows)] = among
        for position, identity in enumerate(identities):
            own = dict(common)
            special = touched.get(identity["parameter"].removesuffix(STANDARDISED), "")
            reasons = [text for text in (str(table["reason"].iloc[position]), caution, special) if text]
            if position in replaced:
                low, high, note = replaced[position]
                own |= {"method": "bootstrap", "ci_low": low, "ci_high": high}
                reasons += [note] if note and note not in reasons else []
            if not np.isfinite(values[position]):
                reason = f"not estimable: {reasons[0] if reasons else 'no finite value'}"
                absent = {"status": "not_estimable", "reason": reason, "method": "none", "ci_low": None, "ci_high": None}
                rows.append({**own, **identity, **absent})
                continue
            status = {"estimate": values[position], "status": "flagged" if reasons else "estimated", "reason": "; ".join(reasons)}
            rows.append({**own, **identity, **status})
        covariances += _covariance_rows(name, [identity["parameter"] for identity in identities], matrix)
    rows += _fit_rows(name, fitted, common, caution)
    return rows, pd.DataFrame(covariances, columns=["model", "parameter1", "parameter2", "cov"])


def _bootstrapped(table: pd.DataFrame, drawn: Any, form: str) -> tuple[dict[int, tuple[float, float, str]], np.ndarray]:
    """Return interval and remark of every defined effect by its row, and the covariance of these effects over resamples.

    The covariance is multiplied by G / (G - 1), G the number of resampled units, of which a resample shows (G - 1) / G.
    """
    draws = drawn.draws if form == "unstandardised" else drawn.draws_standardized
    prefix = "ci" if form == "unstandardised" else "standardized"
    intervals = drawn.parameters.set_index("name")
    found = {}
    for position, row in enumerate(table.itertuples(index=False)):
        if row.op == ":=" and row.name in draws and np.isfinite(draws[row.name]).sum() > 1:
            low, high = (float(intervals.loc[row.name, f"{prefix}_{end}"]) for end in ("low", "high"))
            found[position] = (low, high, drawn.reason)
    covariance = draws[[table["name"].iloc[position] for position in found]].cov().to_numpy(dtype=float)
    return found, covariance * (drawn.n_units / max(drawn.n_units - 1, 1))


def _covariance_rows(name: str, parameters: Sequence[str], matrix: np.ndarray) -> list[dict[str, Any]]:
    return [
        {"model": name, "parameter1": parameters[i], "parameter2": parameters[j], "cov": float(matrix[i, j])}
        for i, j in combinations_with_replacement(range(len(parameters)), 2)
        if np.isfinite(matrix[i, j])
    ]


def _fit_rows(name: str, fitted: Any, common: Mapping[str, Any], caution: str) -> list[dict[str, Any]]:
    rows = []
    common = {**common, "method": "normal_theory"}
    for index in FIT_INDICES:
        value = getattr(fitted.fit, index) if fitted.fit is not None else None
        if value is None:
            status = {"status": "not_estimable", "method": "none", "reason": "not estimable: the model has no degrees of freedom for it"}
        else:
            status = {"estimate": float(value), "status": "flagged" if caution else "estimated", "reason": caution}
        rows.append({**common, **_fit_identity(name, index), **status})
    return rows


def _from_published(published: Published, name: str, content: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    model = _model(content)
    moments = _published_moments(published, name, content, model, options["pooling"]["min_clients"])
    matrix, smallest, n = _published_matrix(moments, model)
    counts = {"clients": int(n)}
    facts: dict[str, Any] = {"sources": {}, "not_measured": {}, "published": True}
    common = {"n_clients": int(n) or None, "method": "normal_theory"}
    correlations_only = bool(len(moments)) and not moments["method"].eq(COVARIANCE).any()
    holes = [
        f"{first} with {second}"
        for position, first in enumerate(model.variables)
        for second in model.variables[position + 1 :]
        if not np.isfinite(matrix.loc[first, second])
    ]
    reason = ""
    if holes:
        reason = f"not estimable at this site: it published no usable correlation of {', '.join(holes)}"
    elif smallest < options["pooling"]["min_clients"]:
        reason = f"not estimable: needs at least {options['pooling']['min_clients']} clients; has {smallest}"
    own = _published_effects(published, name, model, options["pooling"]["min_clients"])
    vcov = _no_vcov()
    if not reason:
        from alliance.statistics import path_analysis

        fitted = path_analysis.fit(model, covariance=matrix, n=float(n), level=options["pooling"]["level"])
        if fitted.status != "not_estimable":
            rows, vcov = _fitted_rows(name, fitted, None, common, "", {})
            if correlations_only:
                rows, vcov = _without_units(rows, vcov)
            return {"rows": rows, "vcov": vcov, "moments": moments, "facts": facts, "counts": counts}
        reason = f"not estimable: {fitted.reason}"
    rows = _absent_rows(name, model, reason, {**common, "method": "none"})
    if own:
        rows = [own.get(row["parameter"], (row, None))[0] for row in rows]
        vcov = pd.DataFrame(
            [{"model": name, "parameter1": key, "parameter2": key, "cov": value} for key, (_, value) in own.items() if value is not None]
        )
    return {"rows": rows, "vcov": vcov, "moments": moments, "facts": facts, "counts": counts}


def _without_units(rows: list[dict[str, Any]], vcov: pd.DataFrame) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """Return rows in which a matrix of correlations gives standardised coefficients only."""
    reason = "not estimable: the site published correlations, so units are unknown"
    silent = {"status": "not_estimable", "reason": reason, "method": "none", "estimate": None, "ci_low": None, "ci_high": None}
    rows = [{**row, **silent} if row["estimate_type"].endswith("_unstandardised") else row for row in rows]
    return rows, vcov[vcov["parameter1"].str.endswith(STANDARDISED)].reset_index(drop=True)


def _published_effects(published: Published, name: str, model: Model, minimum: int) -> dict[str, tuple[dict[str, Any], float | None]]:
    """Return standardised coefficients a site published with standard errors, by parameter."""
    own = published.effects
    own = own[own["question"].eq("path_models") & own["model"].eq(name)]
    known = {parameter.replace(" ", ""): (parameter, lhs, op, rhs) for parameter, lhs, op, rhs in _parameter_rows(model)}
    found: dict[str, tuple[dict[str, Any], float | None]] = {}
    for row in own.itertuples(index=False):
        if row.parameter.replace(" ", "") not in known or not np.isfinite(row.estimate):
            continue
        identity = _identity(name, *known[row.parameter.replace(" ", "")], "standardised")
        n = None if pd.isna(row.n) else int(row.n)
        if n is None or n < minimum or not row.std_error > 0:
            reason = f"not estimable: a published coefficient needs a standard error and at least {minimum} clients"
            found[identity["parameter"]] = ({**identity, "status": "not_estimable", "reason": reason, "method": "none"}, None)
            continue
        numbers = {"estimate": float(row.estimate), "n_clients": n, "method": "published", "status": "estimated"}
        found[identity["parameter"]] = ({**identity, **numbers}, float(row.std_error) ** 2)
    return found


def _published_moments(published: Published, name: str, content: Mapping[str, Any], model: Model, minimum: int) -> pd.DataFrame:
    """Return the rows of a published matrix that concern a model, under the names of its variables.

    A published variable is a model's variable by its name, else by its construct where only one variable of the model has it.
    """
    rows = published.moments
    own = rows[rows["block"].eq(block(name))]
    rows = own if len(own) else rows
    names = {variable: variable for variable in model.variables}
    constructs = [content["variables"][variable]["construct"] for variable in model.variables]
    for variable, construct in zip(model.variables, constructs):
        if constructs.count(construct) == 1:
            names.setdefault(construct, variable)
    rows = rows.assign(var1=rows["var1"].map(names), var2=rows["var2"].map(names)).dropna(subset=["var1", "var2"])
    place = {variable: position for position, variable in enumerate(model.variables)}
    swapped = rows["var1"].map(place) > rows["var2"].map(place)
    columns = {"var1": "var2", "var2": "var1", "mean1": "mean2", "mean2": "mean1"}
    rows = pd.concat([rows[~swapped], rows[swapped].rename(columns=columns)])
    rows = rows[rows["cov"].notna() & rows["n"].fillna(0).ge(minimum)]
    rows = rows.assign(block=block(name), level="client", first=rows["var1"].map(place), second=rows["var2"].map(place))
    rows = rows.sort_values(["first", "second"], kind="stable").drop_duplicates(["var1", "var2"])
    return rows.drop(columns=["first", "second"]).reset_index(drop=True).reindex(columns=no_moments().columns)


def _published_matrix(moments: pd.DataFrame, model: Model) -> tuple[pd.DataFrame, int, float]:
    """Return the matrix (NaN in holes), the smallest and the harmonic mean number of clients of its cells."""
    names = list(model.variables)
    matrix = pd.DataFrame(np.nan, index=names, columns=names)
    for row in moments.itertuples(index=False):
        matrix.loc[row.var1, row.var2] = matrix.loc[row.var2, row.var1] = row.cov
    correlations = not len(moments) or not moments["method"].eq(COVARIANCE).any()
    for name in names:
        if correlations:
            matrix.loc[name, name] = 1.0
    n = moments.loc[moments["var1"].ne(moments["var2"]), "n"].astype("float64")
    if not correlations:
        lacking = [name for name in names if not matrix.loc[name, name] > 0]
        matrix.loc[lacking, :] = np.nan
        matrix.loc[:, lacking] = np.nan
    return matrix, int(n.min()) if len(n) else 0, float(np.floor(len(n) / (1 / n).sum())) if len(n) else 0.0


def pool(summaries: list[SiteSummary], options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables ``parameters``, ``indirect``, ``fit`` and ``leave_one_out``; see the results dictionary.

    Standardised coefficients of the sites are pooled as they are; unstandardised ones only where all sites used the same measures and
    units. Beside them stands the model fitted to the correlation matrix pooled over all sites (two-stage SEM), holes allowed.

    Parameters
    ----------
    summaries : list of SiteSummary
    options : mapping
        The keys of ``pool_reads``, and ``seed``.
    tables : mapping
        Not used.
    """
    pooling = options["pooling"]
    models = options["questions"]["path_models"]["models"]
    summaries = sorted(summaries, key=lambda one: one.site)
    gathered = effects.scaled(effects.gather(summaries), "identity")
    gathered = gathered.assign(parameter=gathered["parameter"].str.removesuffix(STANDARDISED))
    coefficients = gathered[gathered["op"].isin(list(_KIND))]
    pooled_kinds = coefficients["op"].isin(["~", ":="])
    pooled = effects.pooled_rows(coefficients[pooled_kinds], _KEYS, "identity", pooling)
    if len(pooled):
        pooled = _same_units_only(pooled, summaries)
    two_stage, two_stage_fit = _two_stage(summaries, models, options)
    groups = _all_groups(models)
    rows = effects.stack(
        effects.site_rows(coefficients, "identity", pooling["level"]),
        pooled,
        two_stage,
        effects.absent_site_rows(summaries, groups, "identity"),
    )
    if rows.empty:
        rows = pd.DataFrame(columns=[*_KEYS, "site"])
    is_defined = rows["op"].eq(":=")
    defined = rows[is_defined]
    standard = coefficients[pooled_kinds & coefficients["estimate_type"].str.endswith("_standardised")]
    fit = gathered[gathered["op"].eq("fit")]
    fit = effects.site_rows(fit, "identity", pooling["level"])
    fit = fit.assign(index=fit["rhs"])
    absent_fit = effects.absent_site_rows(summaries, _fit_groups(models), "identity")
    return {
        "parameters": finish(rows[~is_defined], "path_models", "parameters"),
        "indirect": finish(defined.assign(definition=defined["rhs"]), "path_models", "indirect"),
        "fit": finish(effects.stack(fit, two_stage_fit, absent_fit), "path_models", "fit"),
        "leave_one_out": finish(
            effects.leave_one_out_rows(standard, ["model", "parameter", "estimate_type"], "identity", pooling),
            "path_models",
            "leave_one_out",
        ),
    }


def _all_groups(models: Mapping[str, Any]) -> pd.DataFrame:
    rows = [
        {**_identity(name, parameter, lhs, op, rhs, form), "parameter": parameter}
        for name in sorted(models)
        for parameter, lhs, op, rhs in _parameter_rows(_model(models[name]))
        for form in ("unstandardised", "standardised")
    ]
    return pd.DataFrame(rows, columns=_KEYS)


def _fit_groups(models: Mapping[str, Any]) -> pd.DataFrame:
    rows = [{"model": name, "index": index, "estimate_type": "fit_index"} for name in sorted(models) for index in FIT_INDICES]
    return pd.DataFrame(rows, columns=["model", "index", "estimate_type"])


def _same_units_only(pooled: pd.DataFrame, summaries: Sequence[SiteSummary]) -> pd.DataFrame:
    """Empty the pooled unstandardised rows of models whose variables were measured in different ways at the sites that estimated them."""
    differing = set()
    for name in sorted(set(pooled["model"])):
        sources = []
        for summary in summaries:
            own = summary.estimates[summary.estimates["model"].eq(name) & summary.estimates["estimate_type"].eq("path_unstandardised")]
            if summary.status == "ok" and own["status"].isin(WITH_NUMBERS).any():
                sources.append(summary.facts.get("models", {}).get(name, {}).get("sources"))
        if any(source != sources[0] or not source for source in sources):
            differing.add(name)
    silent = pooled["model"].isin(differing) & pooled["estimate_type"].str.endswith("_unstandardised")
    silent &= pooled["status"].isin(WITH_NUMBERS)
    numbers = [column for column in ("estimate", "std_error", "ci_low", "ci_high", *HETEROGENEITY) if column in pooled]
    pooled = pooled.copy()
    pooled.loc[silent, numbers] = np.nan
    pooled.loc[silent, "status"] = "not_estimable"
    pooled.loc[silent, "reason"] = (
        "not estimable: sites measured the variables with different instruments or units; see the standardised row"
    )
    return pooled


def _correlation_cells(summaries: Sequence[SiteSummary], name: str, model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Return correlations and numbers of clients of every site with moments, shape (sites, cells)."""
    from alliance.statistics.two_stage import pairs

    cells = {frozenset(pair): position for position, pair in enumerate(pairs(model.variables))}
    correlations, sizes = [], []
    for summary in summaries:
        own = summary.moments[summary.moments["block"].eq(block(name))]
        if summary.status != "ok" or own.empty:
            continue
        same = own["var1"] == own["var2"]
        variance = dict(zip(own.loc[same, "var1"], own.loc[same, "cov"]))
        r, n = np.full(len(cells), np.nan), np.full(len(cells), np.nan)
        for row in own[~same].itertuples(index=False):
            cell = cells.get(frozenset((row.var1, row.var2)))
            spread = 1.0 if row.method == CORRELATION else variance.get(row.var1, np.nan) * variance.get(row.var2, np.nan)
            if cell is not None and spread > 0:
                r[cell], n[cell] = row.cov / np.sqrt(spread), row.n
        correlations.append(r)
        sizes.append(n)
    shape = (len(correlations), len(cells))
    return np.array(correlations).reshape(shape), np.array(sizes).reshape(shape)


def _two_stage(
    summaries: Sequence[SiteSummary], models: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of two-stage SEM: coefficients and effects (standardised), and fit."""
    from alliance.statistics.two_stage import fit_pooled, pool_correlations

    pooling = options["pooling"]
    rows, fits = [], []
    for name in sorted(models):
        model = _model(models[name])
        correlations, sizes = _correlation_cells(summaries, name, model)
        k = int(np.isfinite(correlations).any(axis=1).sum())
        common = {"model": name, "site": POOLED, "scale": "identity", "n_sites": k}
        if k < pooling["min_sites"]:
            reason = effects.too_few_sites(k, pooling).replace("an estimate", "correlations of the model's variables")
            rows += _absent_two_stage(model, common, reason)
            continue
        stage = pool_correlations(correlations, sizes, model.variables, random_effects=pooling["tau2"] != "fixed", level=pooling["level"])
        fitted = fit_pooled(model, stage, generator(options["seed"], "path_models", "two_stage", name), level=pooling["level"])
        common |= {"n_sites": fitted.n_sites}
        if fitted.status == "not_estimable":
            rows += _absent_two_stage(model, common, f"not estimable: {fitted.reason}")
            continue
        common |= {"n_clients": fitted.n_clients, "method": "two_stage_sem", "status": fitted.status, "reason": fitted.reason}
        touched = _touched(model, _sites_with_overlaps(summaries, name))
        for row in fitted.parameters.itertuples(index=False):
            is_defined = row.op == ":="
            parameter = row.lhs if is_defined else f"{row.lhs} {row.op} {row.rhs}"
            identity = {**_identity(name, parameter, row.lhs, row.op, row.rhs, "standardised"), "parameter": parameter}
            if not np.isfinite(row.estimate):
                reason = "not estimable: no finite value"
                rows.append({**common, **identity, "method": "none", "status": "not_estimable", "reason": reason})
                continue
            low, high = (row.monte_carlo_low, row.monte_carlo_high) if is_defined else (row.ci_low, row.ci_high)
            p_value = row.p_value if fitted.n_sites >= pooling["headline_sites"] else np.nan
            numbers = {"estimate": row.estimate, "std_error": row.std_error, "ci_low": low, "ci_high": high, "p_value": p_value}
            if parameter in touched:
                numbers |= {"status": "flagged", "reason": "; ".join(text for text in (fitted.reason, touched[parameter]) if text)}
            rows.append({**common, **identity, **numbers})
        for index in ("chi2", "df", "p_value"):
            value = getattr(fitted, index)
            if value is not None:
                fits.append({**common, "index": index, "estimate_type": "fit_index", "estimate": float(value)})
    return pd.DataFrame(rows), pd.DataFrame(fits)


def _sites_with_overlaps(summaries: Sequence[SiteSummary], name: str) -> dict[str, str]:
    """Return the paths whose two ends some sites did not measure strictly one after the other, and at how many sites."""
    found: Counter[str] = Counter()
    for summary in summaries:
        facts = summary.facts.get("models", {}).get(name, {})
        found.update(list(facts.get("not_strictly_ordered", ())) if summary.status == "ok" else ())
    return {path: f"order in time is not strict at {n} site{'s' if n > 1 else ''} (see the sites' rows)" for path, n in found.items()}


def _absent_two_stage(model: Model, common: Mapping[str, Any], reason: str) -> list[dict[str, Any]]:
    return [
        {
            **common,
            **_identity(common["model"], parameter, lhs, op, rhs, "standardised"),
            "parameter": parameter,
            "method": "two_stage_sem",
            "status": "not_estimable",
            "reason": reason,
        }
        for parameter, lhs, op, rhs in _parameter_rows(model)
        if op in ("~", ":=")
    ]


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    parameters, indirect = tables["parameters"], tables["indirect"]
    usable = parameters["status"].isin(WITH_NUMBERS)
    sites = parameters[usable & parameters["site"].ne(POOLED)]
    pooled = parameters[usable & parameters["site"].eq(POOLED)]
    if sites.empty and pooled.empty:
        return [Sentence("The path models could not be estimated: no site has all their variables.")]
    sentences = []
    if len(sites):
        sentences.append(
            Sentence(
                f"Path models of observed variables were fitted by maximum likelihood at {sites['site'].nunique()} sites, to the clients "
                "with all variables of a model; clients whose alliance or empathy was rated after the outcome were left out.",
                ("igolkina_meshcheryakov_2020",),
            )
        )
    sentences += cluster_sentences(sites["method"])
    if indirect.loc[indirect["status"].isin(WITH_NUMBERS), "method"].eq("bootstrap").any():
        sentences.append(
            Sentence(
                "Indirect and total effects of a site have percentile intervals, expanded for the number of therapists, from a bootstrap "
                "of therapists (of clients where therapists are unknown or fewer than ten).",
                ("field_welsh_2007", "hesterberg_2015"),
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
    if pooled["method"].str.startswith("two_stage").any() and pooled["method"].ne("two_stage_sem").any():
        sentences.append(pooling_sentence(options["pooling"], "Standardised coefficients and effects of the sites were pooled"))
    if pooled["method"].eq("two_stage_sem").any():
        sentences.append(
            Sentence(
                "Beside this, each model was fitted to the correlation matrix pooled over all sites, published matrices included "
                "(two-stage structural equation modelling); its first stage takes clients as independent.",
                ("cheung_chan_2005",),
            )
        )
    return sentences
