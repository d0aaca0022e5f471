"""Invented tables on path models: every model of the configuration over sites, comparisons, lagged effects, conditions."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pandas as pd
import yaml
from alliance.questions import benchmarks
from alliance.questions.contract import HETEROGENEITY, POOLED, finish
from alliance.statistics.structural_model import parse_structural
from support import PROJECT

SITES = ("birch", "cedar", "elm", "oak", "rowan")
LEFT_OUT = "willow"
BLANK = dict.fromkeys(("estimate", "std_error", "ci_low", "ci_high", "published", "difference", "share_missing", *HETEROGENEITY))
WITHIN, MULTIVARIATE, TWO_STAGE, RANDOM = "pooled_covariance", "multivariate_reml", "two_stage_sem", "two_stage_reml"
FEW = "not estimable: needs at least 2 sites with all variables of the model; has 1"
LOOSE = "order in time is not strict at 2 sites (see the sites' rows)"
SAME = "fits every data set as well as"
PATHS = {
    ("alliance", "empathy"): 0.44,
    ("alliance", "intake_level"): 0.06,
    ("outcome", "alliance"): 0.24,
    ("outcome", "empathy"): 0.07,
    ("outcome", "intake_level"): 0.41,
}
NOT_ESTIMATED = ("object_relations_alliance_outcome",)
SATURATED = ("empathy_alliance_outcome", "components")


def row(site: str, value: float | None, method: str, half: float | None = 0.08, **keys: Any) -> dict[str, Any]:
    """Return a row with a number, or without one where ``value`` is None (``reason`` among the keys says why)."""
    base = {**BLANK, "scenario": "base", "scale": "identity", "claim": "", "site": site, "n_sites": 1 if site != POOLED else len(SITES)}
    base |= {"n_clients": 70 if site != POOLED else 350, "n_therapists": 9 if site != POOLED else 45, "method": method}
    if value is None:
        return {**base, "status": "not_estimable", "method": "none", **keys}
    ends = {} if half is None else {"ci_low": value - half, "ci_high": value + half, "std_error": half / 2}
    status = "flagged" if keys.get("reason") else "estimated"
    return {**base, "estimate": value, **ends, "status": status, "reason": "", **keys}


def pooled(value: float, keys: dict[str, Any], *, defined: bool = False, **extra: Any) -> list[dict[str, Any]]:
    """Return the pooled rows of a coefficient by every way of pooling."""
    between = {"i2": 0.31, "tau2": 0.002, "prediction_low": value - 0.15, "prediction_high": value + 0.15, "p_value": 0.01}
    rows = []
    for method, shift, intervals in (
        (RANDOM, 0.0, ("random_effects",)),
        (MULTIVARIATE, 0.004, ("monte_carlo",)),
        (WITHIN, 0.009, ("delta", "monte_carlo")),
        (TWO_STAGE, -0.006, ("monte_carlo",)),
    ):
        for interval in intervals if defined else ("",):
            own = {"interval": interval} if defined else {}
            rows.append(row(POOLED, value + shift, method, 0.07, **keys, **(between if method == RANDOM else {}), **own, **extra))
    return rows


def terms_of(syntax: str) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]]]:
    """Return the paths, loadings and correlations a model writes, and what it defines."""
    model = parse_structural(syntax)
    shown = [(term.lhs, term.op, term.rhs) for term in model.terms if term.op in ("~", "=~", "~~")]
    return shown, [(item.name, item.expression) for item in model.defined]


KINDS = {"~": "path_standardised", "=~": "loading_standardised", "~~": "covariance_standardised"}


def coefficient(lhs: str, op: str, rhs: str, draw: random.Random) -> float:
    """Return an invented coefficient."""
    if op == "=~":
        return round(draw.uniform(0.6, 0.9), 3)
    return PATHS.get((lhs, rhs), round(draw.uniform(0.05, 0.4), 3))


def models(draw: random.Random, section: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of single models: parameters, defined, indirect, fit, site_paths, diagnostics, leave_one_out."""
    names = ("parameters", "defined", "indirect", "fit", "site_paths", "diagnostics", "leave_one_out")
    made: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for name, content in section["models"].items():
        terms, defined = terms_of(content["syntax"])
        silent = name in NOT_ESTIMATED
        groups = (content.get("groups") or {}).get("values", [""])
        for (lhs, op, rhs), group in itertools.product(terms, groups):
            keys = {"model": name, "parameter": f"{lhs} {op} {rhs}", "lhs": lhs, "op": op, "rhs": rhs, "group": group}
            keys |= {"estimate_type": KINDS[op]}
            if silent:
                made["parameters"] += [row(POOLED, None, RANDOM, **keys, reason=FEW)]
                continue
            value = coefficient(lhs, op, rhs, draw)
            for site in SITES:
                made["parameters"].append(row(site, value + draw.gauss(0, 0.05), "cluster_jackknife", 0.15, **keys))
                if group:
                    continue
                difference = {"model": name, "parameter": keys["parameter"], "index": "difference", "estimate_type": "path_difference"}
                made["site_paths"].append(row(site, draw.gauss(0, 0.05), "multiple_groups", 0.2, **difference))
                p = 0.012 if (site, lhs, rhs) == ("elm", "outcome", "alliance") and name == "empathy_alliance_outcome" else 0.8
                made["site_paths"].append(
                    row(site, p, "multiple_groups", None, **difference | {"index": "p_value_holm", "estimate_type": "equality_test"})
                )
            made["parameters"].append(row(LEFT_OUT, None, "none", **keys, reason="site left out"))
            loose = LOOSE if (name, lhs, rhs) == ("conditions_first", "alliance_3", "empathy") else ""
            ways = pooled(value, keys, reason=loose) if op != "~~" else [row(POOLED, value, WITHIN, **keys)]
            made["parameters"] += [one for one in ways if op == "~" or one["method"] != MULTIVARIATE]
            if op == "~":
                made["leave_one_out"] += [
                    row(
                        POOLED,
                        value + 0.003 * k,
                        RANDOM,
                        **{"model": name, "parameter": keys["parameter"], "group": group},
                        site_left_out=site,
                        estimate_type=KINDS[op],
                    )
                    for k, site in enumerate(SITES)
                ]
        if groups != [""]:
            share = {"model": name, "index": "clients_in_no_group", "estimate_type": "share", "n_clients": 350}
            made["diagnostics"].append(row(POOLED, 14 / 350, "counted", None, **share))
        for effect, expression in defined:
            effects(made, name, effect, expression, silent)
        fits(made, name, silent)
    return made


def effects(made: dict[str, list[dict[str, Any]]], model: str, effect: str, expression: str, silent: bool) -> None:
    """Add the rows of a defined effect."""
    value = {"indirect": 0.105, "total": 0.18}.get(effect, 0.1) if model == "empathy_alliance_outcome" else 0.062
    keys = {"model": model, "estimate_type": "defined_standardised"}
    shown = [("defined", {**keys, "parameter": effect, "definition": expression})]
    if effect == "indirect":
        told = f"{expression}: empathy -> alliance -> outcome"
        shown.append(("indirect", {**keys, "effect": effect, "level": "client", "definition": told}))
    for table, own in shown:
        if silent:
            made[table].append(row(POOLED, None, RANDOM, **own, interval="", reason=FEW))
            continue
        for k, site in enumerate(SITES):
            every = (("delta", 0.1), ("monte_carlo", 0.11), ("bootstrap_percentile", 0.12), ("bootstrap_bca", 0.13))
            for interval, half in every if table == "defined" else every[2:3]:
                method = "bootstrap" if interval.startswith("bootstrap") else "cluster_jackknife"
                made[table].append(row(site, value + 0.01 * (k - 2), method, half, **own, interval=interval))
        made[table].append(row(LEFT_OUT, None, "none", **own, interval="", reason="site left out"))
        ways = pooled(value, own, defined=True)
        made[table] += [one for one in ways if table == "defined" or one["interval"] != "delta"]
    if silent:
        return
    left = {"model": model, "parameter": effect, "estimate_type": "defined_standardised"}
    made["leave_one_out"] += [row(POOLED, value + 0.004 * k, RANDOM, **left, site_left_out=site) for k, site in enumerate(SITES)]
    if effect == "indirect":
        own = shown[-1][1] | {"interval": "", "definition": "alliance -> outcome"}
        for kind, value in (("confounder_correlation", 0.236), ("e_value", 1.82), ("e_value_limit", 1.31)):
            made["indirect"].append(row(POOLED, value, WITHIN, None, **own | {"estimate_type": kind}))
        why = "not estimable: needs resamples of clients or therapists of an effect with one chain"
        made["indirect"].append(row(POOLED, None, WITHIN, **own | {"estimate_type": "confounder_correlation_limit"}, reason=why))


def fits(made: dict[str, list[dict[str, Any]]], model: str, silent: bool) -> None:
    """Add fit, modification indices and the comparison with semopy."""
    keys = {"model": model, "estimate_type": "fit_index"}
    if silent:
        made["fit"].append(row(POOLED, None, WITHIN, **keys, index="chi2", reason=FEW))
        return
    saturated = model in SATURATED
    values = {"chi2": 9.31, "df": 4, "p_value": 0.054, "cfi": 0.981, "rmsea": 0.062, "rmsea_low": 0.0, "rmsea_high": 0.115, "srmr": 0.031}
    values |= {"chi2_scaled": 8.9, "p_value_scaled": 0.064, "aic": 3102.4, "bic": 3140.1}
    if saturated:
        values = {"chi2": 0.0, "df": 0, "cfi": 1.0, "rmsea": 0.0, "srmr": 0.0, "aic": 3102.4, "bic": 3140.1}
    for site in (*SITES, POOLED):
        for index, value in values.items():
            method = WITHIN if site == POOLED else "maximum_likelihood_robust"
            made["fit"].append(row(site, value, method, None, **keys, index=index))
    for index in ("chi2", "df"):
        made["fit"].append(row(POOLED, values[index], TWO_STAGE, None, **keys, index=index))
    semopy = {"model": model, "parameter": "", "index": "semopy_difference", "estimate_type": "largest_difference"}
    made["diagnostics"].append(row(POOLED, 2e-7, WITHIN, None, **semopy))
    for index, value in (("equal_paths_chi2", 22.1), ("equal_paths_df", 20), ("equal_paths_p_value", 0.335)):
        own = {"model": model, "parameter": "all paths", "index": index, "estimate_type": "equality_test"}
        made["diagnostics"].append(row(POOLED, value, "multiple_groups", None, **own))
    if saturated:
        return
    own = {"model": model, "lhs": "outcome", "op": "~", "rhs": "empathy", "parameter": "outcome ~ empathy"}
    own = {key: value for key, value in own.items() if key in ("model", "parameter")}
    for index, value in (("modification_index", 6.2), ("expected_change", 0.11)):
        made["diagnostics"].append(row(POOLED, value, WITHIN, None, **own, index=index, estimate_type=index))
    residual = {"model": model, "parameter": "outcome ~~ empathy", "index": "residual_correlation", "estimate_type": "residual_correlation"}
    made["diagnostics"].append(row(POOLED, 0.083, WITHIN, None, **residual))


def levels() -> list[dict[str, Any]]:
    """Return indirect effects over sessions, within and between clients."""
    rows = []
    for level, value in (("within", 0.031), ("between", 0.142)):
        keys = {"model": "alliance_adherence_symptoms", "effect": "indirect", "level": level, "estimate_type": "defined_standardised"}
        keys["definition"] = "alliance -> adherence -> symptoms"
        rows.append(row(POOLED, value, RANDOM, 0.05, **keys, interval="random_effects"))
    slopes = {
        "model": "alliance_adherence_symptoms",
        "level": "within_random_slopes",
        "definition": "mean over clients, whose slopes differ",
    }
    for effect, kind, value in (
        ("a", "path", 0.21),
        ("b", "path", 0.18),
        ("ab_covariance", "defined", 0.024),
        ("indirect", "defined", 0.062),
    ):
        keys = {**slopes, "effect": effect, "estimate_type": f"{kind}_standardised", "interval": "random_effects"}
        rows.append(row(POOLED, value, RANDOM, 0.05, **keys))
    for site, value in (("elm", 0.22), ("oak", 0.35)):
        keys = {**slopes, "effect": "a_sd", "estimate_type": "slope_sd_standardised", "interval": "delta"}
        rows.append(row(site, value, "cluster_jackknife", 0.1, **keys))
    return rows


def comparison(section: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of every comparison over sites."""
    rows = []
    for name, content in section["comparisons"].items():
        for k, model in enumerate(content["models"]):
            keys = {"comparison": name, "model": model, "against": ""}
            for index, value in (("chi2", 9.31 + 14 * k), ("df", 4), ("aic", 3102.4 + 14 * k), ("bic", 3140.1 + 14 * k)):
                equal = name == "one_or_two" and k == 2
                value = value - 14 if equal and index != "df" else value
                rows.append(row(POOLED, value, WITHIN, None, **keys, index=index, estimate_type="fit_index"))
            weight = {**keys, "index": "akaike_weight", "estimate_type": "akaike_weight"}
            if name == "one_or_two" and k:
                other = content["models"][3 - k]
                why = f"not estimable: {SAME} {other}: no data can weigh one against the other"
                rows.append(row(POOLED, None, WITHIN, **weight, reason=why))
            else:
                rows.append(row(POOLED, 0.9989 if k == 0 else 0.0009, WITHIN, None, **weight))
        if name == "mediation":
            for index, value in (("chi2", 1.21), ("df", 1), ("p_value", 0.271)):
                keys = {"comparison": name, "model": content["models"][0], "against": content["models"][1], "index": index}
                rows.append(row(POOLED, value, WITHIN, None, **keys, estimate_type="chi2_difference"))
    return rows


def cross_lagged() -> list[dict[str, Any]]:
    """Return the lagged effects of two pairs, one of which no model could be fitted to."""
    rows = []
    pair = {"pair": "alliance_symptoms"}
    for model, cross in (("random_intercepts_equal_lags", 0.11), ("classic_equal_lags", 0.19)):
        for predictor, outcome, value in (
            ("alliance", "symptoms", cross),
            ("symptoms", "alliance", cross - 0.05),
            ("alliance", "alliance", 0.3),
            ("symptoms", "symptoms", 0.4),
        ):
            keys = {**pair, "model": model, "parameter": f"{predictor} -> {outcome}", "outcome": outcome, "predictor": predictor}
            keys |= {"lag": "mean over lags", "index": "", "estimate_type": "path_standardised"}
            rows.append(row(POOLED, value, WITHIN, 0.06, **keys))
            rows.append(row("elm", value + 0.02, "maximum_likelihood_robust", 0.2, **keys))
        for index, value in (("chi2", 40.2), ("df", 21), ("p_value", 0.007), ("cfi", 0.97), ("rmsea", 0.05), ("srmr", 0.04)):
            keys = {**pair, "model": model, "parameter": "fit", "outcome": "", "predictor": "", "lag": "", "index": index}
            rows.append(row(POOLED, value, WITHIN, None, **keys, estimate_type="fit_index"))
    for what, chi2, p in (
        ("equal lags against free lags", 9.4, 0.31),
        ("equal residuals against free residuals", 19.0, 0.004),
        ("no random intercepts against random intercepts", 41.0, 0.00001),
    ):
        keys = {**pair, "model": "comparison", "parameter": what, "outcome": "", "predictor": "", "lag": ""}
        rows.append(row(POOLED, chi2, WITHIN, None, **keys, index="chi2", estimate_type="chi2_difference"))
        rows.append(row(POOLED, p, WITHIN, None, **keys, index="p_value", estimate_type="fit_index"))
    keys = {**pair, "model": "growth", "outcome": "", "predictor": "", "lag": "", "index": ""}
    rows.append(row(POOLED, 0.12, WITHIN, 0.03, **keys, parameter="slope of symptoms", estimate_type="mean"))
    rows.append(
        row(POOLED, 0.45, WITHIN, 0.2, **keys, parameter="slope of alliance with slope of symptoms", estimate_type="factor_correlation")
    )
    keys = {"pair": "empathy_alliance", "model": "random_intercepts_equal_lags", "parameter": "empathy -> alliance"}
    keys |= {"outcome": "alliance", "predictor": "empathy", "lag": "mean over lags", "index": "", "estimate_type": "path_standardised"}
    rows.append(
        row(POOLED, None, WITHIN, **keys, reason="not estimable: needs at least 2 sites that send the covariances of the waves; has 0")
    )
    return rows


def conditions() -> list[dict[str, Any]]:
    """Return what the conditions and social influence have to do with outcome and alliance."""
    base = dict.fromkeys(("topic", "variable", "rater", "window", "phase", "form", "where", "pair", "group", "contrast", "same_rater"), "")
    base |= {"rater": "client", "window": "session_3", "where": "within_sites", "same_rater": "yes"}
    between = {"i2": 0.2, "prediction_low": 0.0, "prediction_high": 0.5}
    rows = []

    def add(value: float | None, kind: str, half: float = 0.08, **keys: Any) -> None:
        spread = between if value is not None else {}
        rows.append(row(POOLED, value, RANDOM, half, **{**base, **keys}, estimate_type=kind, **spread))

    for variable, value in (("empathy", 0.27), ("regard", 0.21), ("expertness", 0.19), ("trustworthiness", 0.24)):
        for form, kind in (("ancova", "partial_correlation"), ("zero_order", "correlation")):
            add(value, kind, topic="outcome", variable=variable, form=form)
    add(
        None,
        "partial_correlation",
        topic="outcome",
        variable="congruence",
        form="ancova",
        reason="not estimable: no instrument at any site",
    )
    add(
        0.04,
        "correlation_contrast",
        topic="modality",
        variable="empathy",
        form="ancova",
        pair="cbt and psychodynamic",
        contrast="cbt - psychodynamic",
    )
    for rater, value in (("client", 0.27), ("observer", 0.15)):
        add(value, "partial_correlation", topic="raters", variable="empathy", rater=rater, form="ancova", pair="client and observer")
    add(
        0.12,
        "correlation_contrast",
        topic="raters",
        variable="empathy",
        form="ancova",
        pair="client and observer",
        contrast="client - observer",
    )
    for phase, value in (("early", 0.55), ("late", 0.47)):
        add(value, "correlation", topic="phase", variable="empathy", phase=phase, form="zero_order")
    add(0.06, "correlation_contrast", topic="phase", variable="empathy", form="zero_order", pair="early and late", contrast="early - late")
    for variable in ("empathy", "expertness"):
        own = {"topic": "beside_alliance", "variable": variable, "form": "ancova", "pair": f"alliance and {variable}"}
        add(0.07, "correlation_contrast", **own, contrast=f"alliance - {variable}")
        add(0.25, "slope_standardised", **own | {"variable": "alliance"}, contrast=f"alliance given {variable}")
        add(0.12, "slope_standardised", **own, contrast=f"{variable} given alliance")
        add(0.012, "r_squared_change", half=0.01, **own, contrast=f"{variable} given alliance")
    own = {"topic": "technique_by_alliance", "variable": "events.interpretation", "rater": "observer", "window": "", "same_rater": "no"}
    own |= {"form": "prior_symptoms", "where": "within_clients", "pair": "interpretation_by_alliance"}
    add(0.05, "slope_standardised", **own)
    add(0.083, "interaction_standardised", half=0.04, **own, contrast="technique x alliance")
    add(0.02, "interaction_standardised", **own | {"where": "across_levels"}, contrast="technique x client's mean alliance")
    return rows


def path_models(draw: random.Random) -> dict[str, pd.DataFrame]:
    """Return the tables of the question on path models."""
    section = yaml.safe_load((PROJECT / "config.yaml").read_text(encoding="utf-8"))["questions"]["path_models"]
    made = models(draw, section)
    made["indirect"] += levels()
    made |= {"comparison": comparison(section), "cross_lagged": cross_lagged(), "conditions": conditions()}
    known = benchmarks.read(PROJECT / "workflow" / "benchmarks.yaml")
    return {
        name: benchmarks.fill(finish(pd.DataFrame(rows), "path_models", name), known, "path_models", name) for name, rows in made.items()
    }
