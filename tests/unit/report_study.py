"""A small invented study as the report sees it: statuses, faults and tables, all aggregated."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import random
from pathlib import Path
from typing import Any

import pandas as pd
import report_study_paths
from alliance.configuration import study as configuration
from alliance.instruments import load_registry
from alliance.issues import Issue, Severity
from alliance.questions import benchmarks, coverage
from alliance.questions.contract import HETEROGENEITY, POOLED, finish
from alliance.questions.dropout import question as questions_dropout
from alliance.questions.ruptures import question as questions_ruptures
from alliance.questions.summary import SiteSummary
from alliance.reports import bibliography, guide, pages
from alliance.reports.chapters import order
from alliance.reports.elements import Chapter
from alliance.reports.inputs import ReportData
from support import PROJECT
from unit import participating_sites
from unit.leaving_site import leaving
from unit.ruptured_site import ruptured

TEMPLATES = PROJECT / "workflow" / "templates"
SITES = ("birch", "cedar", "elm", "oak", "rowan", "willow")
LABELS = {
    "birch": "Birch Hill outpatient clinic",
    "cedar": "Cedar Street counselling centre",
    "elm": "Elm Court",
    "oak": "Oak Tree day hospital",
    "rowan": "Rowan",
    "willow": "Willow practice network",
}
ESTIMATED = {"scenario": "base", "scale": "fisher_z", "status": "estimated", "reason": "", "claim": "", "method": "cluster_robust"}
PUBLISHED = benchmarks.read(PROJECT / "workflow" / "benchmarks.yaml")
NO_NUMBERS = dict.fromkeys(("estimate", "std_error", "ci_low", "ci_high", "published", "difference", "share_missing", *HETEROGENEITY))


def estimates(keys: dict[str, Any], estimate_type: str, centre: float, draw: random.Random, **extra: Any) -> list[dict[str, Any]]:
    """Return the rows of all sites and the pooled row of one estimate."""
    rows = []
    for site in SITES[:-1]:
        value = max(-0.95, min(0.95, draw.gauss(centre, 0.06)))
        clients = draw.randint(45, 95)
        rows.append(
            {
                **NO_NUMBERS,
                **keys,
                **ESTIMATED,
                "site": site,
                "estimate_type": estimate_type,
                "estimate": value,
                "std_error": 0.09,
                "ci_low": value - 0.15,
                "ci_high": value + 0.14,
                "n_clients": clients,
                "n_therapists": clients // 6,
                "n_sites": 1,
            }
        )
    pooled = sum(row["estimate"] for row in rows) / len(rows)
    rows.append(
        {
            **rows[0],
            "site": POOLED,
            "method": "two_stage_reml",
            "estimate": pooled,
            "ci_low": pooled - 0.071,
            "ci_high": pooled + 0.069,
            "n_clients": sum(row["n_clients"] for row in rows),
            "n_therapists": sum(row["n_therapists"] for row in rows),
            "n_sites": len(rows),
            "i2": 0.413,
            "tau2": 0.004,
            "prediction_low": pooled - 0.181,
            "prediction_high": pooled + 0.178,
            **extra,
        }
    )
    return rows


def absent(keys: dict[str, Any], estimate_type: str, site: str, reason: str) -> dict[str, Any]:
    """Return a row that could not be estimated."""
    return {
        **NO_NUMBERS,
        **keys,
        **ESTIMATED,
        "site": site,
        "estimate_type": estimate_type,
        "method": "none",
        "status": "not_estimable",
        "reason": reason,
    }


def finished(frame: pd.DataFrame, question: str, name: str) -> pd.DataFrame:
    """Return a table as ``pool`` and the published figures leave it."""
    return benchmarks.fill(finish(frame, question, name), PUBLISHED, question, name)


def convergent_validity(draw: random.Random) -> dict[str, pd.DataFrame]:
    """Return the tables of the question on overlap."""
    pairs = [
        ("total", "instruments", "wai_sr", "total", "client", "haq_2", "total", "client", 0.78),
        ("total", "instruments", "vtas", "total", "observer", "wai_36", "total", "observer", 0.61),
        ("total", "raters", "wai_sr", "total", "client", "wai_sr", "total", "therapist", 0.38),
        ("total", "raters", "wai_sr", "total", "client", "wai_sr", "total", "observer", 0.27),
        ("subscale", "instruments", "wai_sr", "bond", "client", "haq_2", "total", "client", 0.58),
    ]
    rows: list[dict[str, Any]] = []
    names = ("level", "comparison", "instrument1", "scale1", "rater1", "instrument2", "scale2", "rater2")
    left_out: list[dict[str, Any]] = []
    for pair in pairs:
        keys = dict(zip(names, pair)) | {"shared_items": "no", "window": "session_3", "same_rater": "yes" if pair[4] == pair[7] else "no"}
        keys |= {"parallel": "unknown" if pair[0] == "subscale" else "yes", "opposed": "no"}
        found = estimates(keys, "correlation", pair[8], draw)
        rows += found
        for row in found:
            square = {"estimate_type": "r_squared", "scale": "identity", "estimate": row["estimate"] ** 2}
            ends = {"ci_low": max(row["ci_low"], 0) ** 2, "ci_high": row["ci_high"] ** 2}
            rows.append({**row, **square, **ends, **dict.fromkeys(("std_error", *HETEROGENEITY))})
        left_out += [{**found[-1], "site_left_out": site, "estimate": found[-1]["estimate"] + draw.gauss(0, 0.01)} for site in SITES[:-1]]
    keys = dict(zip(names, ("total", "instruments", "calpas_p", "total", "client", "wai_sr", "total", "client")))
    keys |= {"shared_items": "no", "window": "session_3", "same_rater": "yes", "parallel": "yes", "opposed": "no"}
    rows.append(
        absent(keys, "correlation", POOLED, "not estimable: needs calpas_p total and wai_sr total of one session at 2 sites or more; has 0")
    )
    overlap = []
    for level, values in (("total", (0.37, 0.49, 0.61)), ("subscale", (0.05, 0.29, 0.44))):
        for rater in ("all", "client"):
            for kind, value in zip(("minimum", "mean", "maximum"), values):
                keys = {
                    "level": level,
                    "rater": rater,
                    "pairs_kind": "all",
                    "instrument": "",
                    "approach": "",
                    "basis": "pairs",
                    "n_pairs": 4,
                }
                row = estimates(keys, f"r_squared_{kind}", value, draw)[-1]
                if kind == "mean":
                    overlap.append({**row, "basis": "sites", "scale": "identity", "n_pairs": 9})
                row |= {"estimate": value, "ci_low": None, "ci_high": None, "method": "over_pairs", "scale": "identity", "std_error": None}
                overlap.append({**row, **dict.fromkeys(HETEROGENEITY)})
    keys = {"comparison": "instruments", "instrument1": "haq_2", "rater1": "client", "instrument2": "wai_sr", "rater2": "client"}
    keys |= {"alliance_scale": "total", "window": "early", "outcome_instrument": "core_10", "outcome_scale": "total"}
    keys |= {"outcome_rater": "client", "timepoint": "post", "form": "ancova", "contrast": "first - second"}
    predicted = [{**row, "scale": "identity"} for row in estimates(keys, "correlation_contrast", -0.03, draw)]
    return {
        "pairs": finished(pd.DataFrame(rows), "convergent_validity", "pairs"),
        "overlap_summary": finished(pd.DataFrame(overlap), "convergent_validity", "overlap_summary"),
        "predictive_contrast": finished(pd.DataFrame(predicted), "convergent_validity", "predictive_contrast"),
        "leave_one_out": finished(pd.DataFrame(left_out), "convergent_validity", "leave_one_out"),
    }


def measure_keys(instrument: str = "wai_sr", rater: str = "client", **other: str) -> dict[str, str]:
    """Return the keys of a measure in the main window."""
    return {"instrument": instrument, "form": instrument, "derived_from": "", "rater": rater, "window": "session_3", **other}


def reliabilities(draw: random.Random) -> list[dict[str, Any]]:
    """Return the rows on reliability."""
    rows: list[dict[str, Any]] = []
    for instrument, rater, scale, centre in (
        ("wai_sr", "client", "total", 0.91),
        ("wai_sr", "client", "bond", 0.66),
        ("wai_sr", "therapist", "total", 0.93),
        ("haq_2", "client", "total", 0.88),
    ):
        keys = measure_keys(instrument, rater, instrument_scale=scale, item="", coefficient="", contrast="")
        sizes = {"n_items": 12, "categories": 5.0 if instrument == "wai_sr" else 6.0}
        ordinal = instrument == "wai_sr"
        for kind, shift, first in (("alpha", -0.01, False), ("omega_total", 0.0, not ordinal), ("omega_ordinal", 0.005, ordinal)):
            found = estimates({**keys, "headline": "yes" if first else "no"}, kind, centre + shift, draw, scale="log", **sizes)
            rows += [{**row, **sizes, "ci_low": row["estimate"] - 0.02, "ci_high": min(row["estimate"] + 0.015, 0.99)} for row in found]
        rows += estimates({**keys, "coefficient": "at the highest possible score"}, "share", 0.06, draw, scale="logit")[-1:]
        rows += estimates({**keys, "item": "7"}, "item_rest_correlation", 0.41, draw)[-1:]
        rows += estimates({**keys, "item": "9"}, "item_rest_correlation", 0.62, draw)[-1:]
    keys = measure_keys("calpas_p", instrument_scale="total", item="", coefficient="", contrast="", headline="yes")
    rows.append(absent(keys, "omega_total", POOLED, "not estimable: needs 2 sites with answers to the items of calpas_p; has 1"))
    keys = measure_keys(instrument_scale="total", item="", contrast="", headline="no") | {"window": "all sessions"}
    for coefficient, kind, centre in (("omega_within", "within", 0.71), ("omega_of_means", "between", 0.92)):
        rows += estimates({**keys, "coefficient": coefficient}, f"reliability_{kind}", centre, draw, scale="log")[-1:]
    preferred = {**measure_keys("(preferred)", instrument_scale="total", item="", headline="no"), "form": ""}
    for rater, centre in (("client", 0.9), ("therapist", 0.92)):
        rows += estimates({**preferred, "rater": rater, "coefficient": "", "contrast": ""}, "alpha", centre, draw, scale="log")[-1:]
    keys = {**preferred, "rater": "", "coefficient": "alpha", "contrast": "therapist minus client"}
    rows += estimates(keys, "reliability_contrast", 0.02, draw, scale="identity")[-1:]
    return rows


def structures(draw: random.Random) -> list[dict[str, Any]]:
    """Return the rows on factors: two models of one instrument, one of which has an improper solution, and the two cores."""
    rows: list[dict[str, Any]] = []
    plain = {"method": "pooled_covariance", "scale": "identity", **dict.fromkeys(HETEROGENEITY)}

    def pooled(keys: dict[str, str], kind: str, value: float, **extra: Any) -> None:
        blank = {"factor": "", "indicator": "", "index": "", "headline": "yes"}
        row = {**estimates({**blank, **keys}, kind, 0.5, draw)[-1], **plain, "estimate": value, "ci_low": None, "ci_high": None}
        rows.append({**row, "std_error": None, **extra})

    for model, cfi, bic, status in (
        ("one_factor", 0.912, 9120.0, {}),
        ("bond_task_goal", 0.957, 9040.5, {}),
        ("theory", 0.958, 9030.0, {"status": "flagged", "reason": "task and goal correlate beyond 1"}),
    ):
        keys = measure_keys(model=model)
        for index, value in {"chi2": 141.3, "df": 53.0, "cfi": cfi, "rmsea": 0.061, "srmr": 0.042, "bic": bic}.items():
            ends = {"ci_low": 0.05, "ci_high": 0.071} if index == "rmsea" else {}
            pooled({**keys, "index": index}, "fit_index", value, **status, **ends)
        factors = {"one_factor": ["alliance"] * 12}.get(model, ["bond"] * 4 + ["task_goal"] * 8)
        for item, factor in enumerate(factors, 1):
            value = 0.6 + item / 100
            ends = {"ci_low": value - 0.06, "ci_high": value + 0.06}
            pooled({**keys, "factor": factor, "indicator": f"i{item}"}, "loading_standardised", value, **ends, **status)
        if model != "one_factor":
            pooled({**keys, "factor": "bond ~~ task_goal"}, "factor_correlation", 0.83, ci_low=0.77, ci_high=0.89, **status)
    pooled(measure_keys(model="one_factor against bond_task_goal", index="cfi"), "fit_difference", -0.045)
    keys = measure_keys(model="bifactor")
    pooled({**keys, "factor": "general"}, "omega_hierarchical", 0.84)
    pooled({**keys, "factor": "bond"}, "omega_subscale", 0.12)
    keys = measure_keys("(all measures)", model="two_cores")
    for index, value in {"chi2": 4.1, "df": 4.0, "cfi": 0.999, "rmsea": 0.012, "srmr": 0.01, "bic": 812.0}.items():
        pooled({**keys, "index": index}, "fit_index", value)
    for factor, indicator in (
        ("attachment", "wai_sr.bond"),
        ("attachment", "haq_2.total"),
        ("collaboration", "wai_sr.task"),
        ("collaboration", "wai_sr.goal"),
    ):
        pooled({**keys, "factor": factor, "indicator": indicator}, "loading_standardised", 0.77, ci_low=0.7, ci_high=0.84)
    pooled({**keys, "factor": "attachment ~~ collaboration"}, "factor_correlation", 0.9, ci_low=0.84, ci_high=0.96)
    return rows


def measurement(draw: random.Random) -> dict[str, pd.DataFrame]:
    """Return the tables of the question on measurement."""
    agreement: list[dict[str, Any]] = []
    for instrument in ("vtas", "(preferred)"):
        keys = {
            "instrument": instrument,
            "rater": "observer",
            "window": "all sessions",
            "instrument_scale": "total",
            "definition": "agreement",
        }
        for form, centre, raters in (("ICC(2,1)", 0.7, 1.0), ("ICC(2,k)", 0.82, 2.0)):
            headline = "yes" if form == "ICC(2,k)" else "no"
            agreement += estimates({**keys, "form": form, "headline": headline, "n_raters": raters}, "icc", centre, draw, scale="log")
    keys = {"instrument": "vtas", "rater": "observer", "window": "all sessions", "instrument_scale": "total", "headline": "no"}
    for site, shares in {
        "elm": {"client": 0.5, "session": 0.17, "rater": 0.02, "client x rater": 0.07, "residual": 0.24},
        "oak": {"client": 0.62, "session": 0.09, "rater": 0.04, "residual": 0.25},
    }.items():
        at_site = {**NO_NUMBERS, **ESTIMATED, **keys, "site": site, "n_clients": 48, "n_therapists": 8, "n_sites": 1, "n_sessions": 70}
        for source, share in shares.items():
            one = {"form": source, "definition": "", "n_raters": 1.0, "estimate_type": "variance_component", "scale": "identity"}
            agreement.append({**at_site, **one, "estimate": share})
        for form, value in (("clients' means over sessions", 0.81), ("scores of single sessions", 0.78)):
            one = {"form": form, "definition": "consistency", "n_raters": 2.0, "estimate_type": "generalizability", "scale": "log"}
            agreement.append({**at_site, **one, "estimate": value, "ci_low": value - 0.1, "ci_high": value + 0.08})
    compared: list[dict[str, Any]] = []
    for across, model, decision in (
        ("sites", "metric", "correlations may be compared; means may not"),
        ("sessions", "strict", "correlations and means may be compared, also of observed scores; their errors are equal too"),
    ):
        keys = measure_keys(across=across, groups="all", index="may_compare", model=model, decision=decision)
        row = {**estimates(keys, "count", 0.5, draw)[-1], "method": "multiple_groups", "scale": "identity", "estimate": 5.0}
        compared.append({**row, "ci_low": None, "ci_high": None, "std_error": None})
        for index, value in {"cfi": 0.952, "rmsea": 0.058}.items():
            fit = {**compared[-1], "index": index, "estimate_type": "fit_index", "estimate": value, "decision": "holds"}
            change = {**fit, "estimate_type": "fit_difference", "estimate": -0.004}
            compared += [fit, change]
    keys = measure_keys(across="languages", groups="", index="chi2", model="configural", decision="not_estimable")
    compared.append(absent(keys, "fit_index", POOLED, "not estimable: needs two languages; has de only"))
    views: list[dict[str, Any]] = []
    for rater, consistency in (("client", 1.0), ("therapist", 0.22)):
        keys = {"instruments": "wai_sr", "raters": "client, therapist", "window": "session_3", "reference": "client"}
        keys |= {"rater": rater, "indicator": "bond", "factor": "", "index": ""}
        shares = {"consistency": consistency, "method_specificity": 1 - consistency, "reliability": 0.87}
        for kind, share in shares.items():
            row = estimates(keys, kind, 0.5, draw, scale="identity")[-1]
            views.append({**row, "estimate": share, "ci_low": max(share - 0.1, 0), "ci_high": min(share + 0.1, 1)})
    loadings: list[dict[str, Any]] = []
    for group, variable, centre in (
        ("condition", "empathy", 0.76),
        ("alliance", "task", 0.93),
        ("alliance", "bond", 0.9),
        ("condition", "(smallest)", 0.76),
        ("alliance", "(smallest)", 0.9),
        ("alliance", "(largest)", 0.93),
    ):
        keys = {"set": "conditions and alliance", "window": "session_3", "rater": "client", "group": group, "variable": variable}
        row = estimates(keys, "component_loading", centre, draw)[-1]
        loadings.append({**row, "estimate": centre, "ci_low": centre - 0.04, "ci_high": centre + 0.03})
    tables = {"reliability": reliabilities(draw), "interrater": agreement, "structure": structures(draw)}
    tables |= {"invariance": compared, "multitrait_multimethod": views, "components": loadings}
    return {name: finished(pd.DataFrame(rows), "measurement", name) for name, rows in tables.items()}


def client_factors(draw: random.Random) -> dict[str, pd.DataFrame]:
    """Return the tables of the question on client factors."""
    factors = {
        "social_relations": ("interpersonal", 0.31),
        "family_relations": ("interpersonal", 0.27),
        "motivation": ("intrapersonal", 0.33),
        "object_relations": ("intrapersonal", 0.22),
        "intake_severity": ("diagnostic", -0.04),
    }
    of_factor = {"alliance_rater": "client", "factor_rater": "unknown", "same_rater": "unknown", "window": "early"}
    constant = {**of_factor, "headline": "yes", "part": ""}
    rows: list[dict[str, Any]] = []
    for factor, (category, centre) in factors.items():
        keys = {"factor": factor, "category": category, "reversed": "yes" if category == "diagnostic" else "no", **constant}
        rows += estimates(keys, "correlation", centre, draw)
    prognosis = {"factor": "prognosis", "category": "diagnostic", "reversed": "no", **constant}
    rows.append(absent(prognosis, "correlation", POOLED, "not estimable: needs 2 sites with prognosis and an early alliance; has 1"))
    categories, left_out = [], []
    for category in ("interpersonal", "intrapersonal", "diagnostic"):
        centre = {"interpersonal": 0.29, "intrapersonal": 0.28, "diagnostic": -0.04}[category]
        for kind in ("correlation_random_effects", "correlation_n_weighted"):
            keys = {"category": category, "n_correlations": 10}
            found = estimates(keys, kind, centre, draw)[-1]
            categories.append(found | {"method": "two_stage_reml" if kind.endswith("effects") else "n_weighted"})
    contrast = estimates({"category": "interpersonal_minus_intrapersonal", "n_correlations": 20}, "correlation_contrast", 0.01, draw)[-1]
    categories.append(contrast)
    for site in SITES[:-1]:
        row = estimates({"factor": "", "category": "interpersonal", "site_left_out": site}, "correlation_random_effects", 0.29, draw)[-1]
        left_out.append(row)
    for factor, (category, centre) in factors.items():
        keys = {
            "factor": factor,
            "category": category,
            "reversed": "yes" if category == "diagnostic" else "no",
            **of_factor,
            "headline": "no",
        }
        rows += estimates({**keys, "part": "", "window": "late"}, "correlation", centre, draw)
        rows += estimates({**keys, "part": "within_therapists"}, "slope_standardised", centre, draw)
    over_time, beside = factors_over_time(draw, of_factor), factors_beside(draw, of_factor)
    return {
        "over_time": finished(pd.DataFrame(over_time), "client_factors", "over_time"),
        "unique_shared": finished(pd.DataFrame(beside), "client_factors", "unique_shared"),
        "instruments": finished(pd.DataFrame(factors_instruments(draw, of_factor)), "client_factors", "instruments"),
        "factors": finished(pd.DataFrame(rows), "client_factors", "factors"),
        "categories": finished(pd.DataFrame(categories), "client_factors", "categories"),
        "leave_one_out": finished(pd.DataFrame(left_out), "client_factors", "leave_one_out"),
        "participants": took_part(),
    }


def took_part() -> pd.DataFrame:
    """Return who took part; a few clients are of a gender of their own, some do not tell theirs, and the last site is left out."""
    sites = [participating_sites.taking_part(name, 50 + 6 * place, place) for place, name in enumerate(SITES[:-1])]
    sites[1] = participating_sites.taking_part(SITES[1], 60, 11, {"female": 36, "male": 18, "other": 2})
    sites[2] = participating_sites.taking_part(SITES[2], 60, 12, {"female": 36, "male": 21, "other": 3})
    out = SiteSummary(site=SITES[-1], question="client_factors", status="excluded", reason="no session was sent")
    return participating_sites.table(sites, out)


def therapist_factors(draw: random.Random) -> dict[str, pd.DataFrame]:
    """Return the tables of the question on therapist factors."""
    effects, variance = [], []

    def told(topic: str, factor: str, kind: str, scale: str, contrast: str, estimate_type: str, centre: float, method: str) -> None:
        keys = {"topic": topic, "factor": factor, "factor_kind": kind, "alliance_scale": scale, "contrast": contrast}
        keys |= {"alliance_rater": "client", "window": "early", "same_rater": "no", "bound": 0.1, "p_equivalence": 0.4}
        keys |= {"decision": "undecided", "minimum_detectable": 0.31, "detectable_r": 0.67, "p_joint": 0.021 if contrast else None}
        found = estimates(keys, estimate_type, centre, draw)
        best = found[-1] | {"method": method, "i2": None, "detectable_r": 0.345, "decision": "different" if contrast else "undecided"}
        effects.extend([*found, best])

    for factor, kind, contrast in (
        ("training", "training", "(task + goal) / 2 - bond"),
        ("attachment_anxiety", "attachment", "bond - (task + goal) / 2"),
        ("introject", "introject", "bond - (task + goal) / 2"),
        ("alliance_training", "alliance_training", "(task + goal) / 2 - bond"),
    ):
        for scale in ("total", "task", "goal", "bond"):
            told("level", factor, kind, scale, "", "slope_standardised", 0.12, "one_stage_therapist_means")
        told("level", factor, kind, "", contrast, "slope_contrast", 0.14, "one_stage_therapist_means")
    told("course", "alliance_training", "alliance_training", "total", "", "slope_over_sessions", 0.02, "one_stage")
    told("interaction", "client dominance x therapist dominance", "dyad", "total", "", "interaction_standardised", -0.18, "one_stage")
    keys = {"topic": "before_after", "factor": "after_training", "factor_kind": "alliance_training", "alliance_scale": "total"}
    keys |= {"contrast": "after - before", "alliance_rater": "client", "window": "every session", "same_rater": "no"}
    lacking = "not estimable: needs the column after_training of the sessions table (0 before, 1 after the training)"
    effects += [absent(keys, "mean_difference", site, lacking) for site in (*SITES[:-1], POOLED)]
    for basis, part, trait, case_mix, share in (
        ("sessions", "constant", "", "not held constant", 0.093),
        ("sessions", "between_client", "", "not held constant", 0.462),
        ("sessions", "within_client", "", "not held constant", 0.445),
        ("sessions", "constant", "", "not held constant, same clients", 0.091),
        ("sessions", "constant", "", "held constant", 0.088),
        ("sessions", "client_specific", "all client factors", "not held constant", 0.012),
        ("clients", "constant", "", "not held constant", 0.124),
        ("clients", "client_specific", "object_relations", "not held constant", 0.033),
    ):
        window = "every session" if basis == "sessions" else "early"
        keys = {"basis": basis, "part": part, "trait": trait, "case_mix": case_mix, "window": window}
        keys |= {"alliance_scale": "total", "alliance_rater": "client", "component": share}
        numbers = {"method": "one_stage", "estimate": share, "ci_low": share / 3, "ci_high": share * 2, "n_therapists": 59}
        variance.append(estimates(keys, "variance_share", share, draw)[-1] | numbers | {"i2": None})
        if trait:
            variance.append(variance[-1] | {"estimate_type": "slope_variance", "p_boundary": 0.212})
    reliability = {**variance[0], "basis": "clients", "window": "early", "estimate_type": "reliability_of_means", "estimate": 0.46}
    return {
        "effects": finished(pd.DataFrame(effects), "therapist_factors", "effects"),
        "variance": finished(pd.DataFrame([*variance, reliability]), "therapist_factors", "variance"),
    }


@functools.cache
def dropout() -> dict[str, pd.DataFrame]:
    """Return the tables of the question on dropout, computed from simulated sites; one site without an answer."""
    options = configuration.load(PROJECT / "config.yaml").scenarios["base"] | {"seed": 1}
    sites = [leaving(name, n=70 + 5 * number, therapists=9, seed=30 + number) for number, name in enumerate(SITES[:-1])]
    summaries = [questions_dropout.estimate(site, options, {}) for site in sites]
    summaries.append(SiteSummary(SITES[-1], "dropout", status="missing", reason="sent no summary"))
    beside = {"one_stage": questions_dropout.one_stage(iter(sites), list(SITES), options)}
    tables = questions_dropout.pool(summaries, options, beside)
    filled = {name: benchmarks.fill(table, PUBLISHED, "dropout", name) for name, table in tables.items()}
    return {name: table.assign(scenario="base") for name, table in filled.items()}


def ruptures() -> dict[str, pd.DataFrame]:
    """Return the tables of the question on ruptures, computed from simulated sites; one site without an answer."""
    options = configuration.load(PROJECT / "config.yaml").scenarios["base"] | {"seed": 1}
    question = options["questions"]["ruptures"] | {"surrogates": 50, "reliability_within": 0.8}
    options = options | {"questions": options["questions"] | {"ruptures": question}}
    sites = [ruptured(name, n=70 + 5 * number, therapists=11, seed=60 + number) for number, name in enumerate(SITES[:-1])]
    summaries = [questions_ruptures.estimate(site, options, {}) for site in sites]
    summaries.append(SiteSummary(SITES[-1], "ruptures", status="missing", reason="sent no summary"))
    tables = questions_ruptures.pool(summaries, options, {})
    filled = {name: benchmarks.fill(table, PUBLISHED, "ruptures", name) for name, table in tables.items()}
    return {name: table.assign(scenario="base") for name, table in filled.items()}


def factors_over_time(draw: random.Random, of_factor: dict[str, str]) -> list[dict[str, Any]]:
    """Return rows of growth and of the two phases, of one factor and of the mean of a category."""
    rows: list[dict[str, Any]] = []
    for factor in ("motivation", "(intrapersonal)"):
        keys = {"factor": factor, "category": "intrapersonal", "reversed": "no", **of_factor, "contrast": ""}
        rows += estimates({**keys, "analysis": "growth", "part": "start"}, "slope_standardised", 0.3, draw)
        rows += estimates({**keys, "analysis": "growth", "part": "change in ten sessions"}, "slope_change", -0.1, draw)
        for part, centre in (("first", 0.32), ("second", 0.2)):
            rows += estimates({**keys, "analysis": "phases", "part": part}, "correlation", centre, draw)
        rows += estimates({**keys, "analysis": "phases", "part": "second given first"}, "partial_correlation", 0.05, draw)
        contrast = {**keys, "analysis": "phases", "part": "", "contrast": "first - second"}
        rows += estimates(contrast, "correlation_contrast", 0.12, draw)
    return rows


def factors_instruments(draw: random.Random, of_factor: dict[str, str]) -> list[dict[str, Any]]:
    """Return rows of one factor with two instruments of the alliance, and of sites with different instruments."""
    keys = {"factor": "motivation", "category": "intrapersonal", "reversed": "no", **of_factor, "where": "within_sites"}
    keys |= {"pair": "(other) - (preferred)", "contrast": "", "alliance_instrument": ""}
    rows = estimates({**keys, "alliance_instrument": "(preferred)"}, "correlation", 0.31, draw)
    rows += estimates({**keys, "alliance_instrument": "(other)"}, "correlation", 0.27, draw)
    judged = {"contrast": "(other) - (preferred)", "bound": 0.1, "p_equivalence": 0.21, "decision": "undecided"}
    rows += estimates({**keys, **judged}, "correlation_contrast", -0.04, draw)
    test = {**keys, "where": "between_sites", "pair": "", "contrast": "all instruments", "index": "p_value"}
    rows.append(estimates(test, "equality_test", 0.2, draw)[-1] | {"method": "meta_regression", "ci_low": None, "ci_high": None})
    return rows


def factors_beside(draw: random.Random, of_factor: dict[str, str]) -> list[dict[str, Any]]:
    """Return rows of one factor beside the alliance, and of all factors together."""
    rows: list[dict[str, Any]] = []
    keys = {"category": "intrapersonal", "reversed": "no", **of_factor, "outcome_rater": "client", "form": "zero_order"}
    for quantity, kind, centre in (
        ("factor with alliance", "correlation", 0.3),
        ("factor with outcome", "correlation", 0.2),
        ("alliance with outcome", "correlation", 0.28),
        ("factor with outcome given alliance", "partial_correlation", 0.12),
        ("alliance with outcome given factor", "partial_correlation", 0.24),
        ("alliance - factor", "correlation_contrast", 0.08),
        ("factor alone", "r_squared_change", 0.012),
        ("alliance alone", "r_squared_change", 0.05),
        ("in common", "r_squared_shared", 0.03),
        ("together", "r_squared_total", 0.09),
    ):
        rows += estimates({**keys, "factor": "object_relations", "quantity": quantity}, kind, centre, draw)
    together = {**keys, "factor": "(all)", "category": "", "outcome_rater": ""}
    rows += estimates({**together, "quantity": "alliance by factors"}, "r_squared_total", 0.3, draw)
    rows += estimates({**together, "quantity": "alliance by factors, adjusted"}, "r_squared_adjusted", 0.22, draw)
    return rows


FORM_TYPES = {"ancova": "partial_correlation", "zero_order": "correlation", "residual_gain": "part_correlation"}


def effect_keys(form: str = "ancova", **other: str) -> dict[str, str]:
    """Return the keys of an effect of the preferred measures in the headline's window."""
    keys = {"alliance_instrument": "(preferred)", "alliance_scale": "total", "alliance_rater": "client", "window": "early"}
    keys |= {"outcome_instrument": "(preferred)", "outcome_scale": "total", "outcome_rater": "client", "timepoint": "post"}
    keys |= {"form": form, "headline": "yes" if form == "ancova" else "beside", **other}
    return keys | {"same_rater": "yes" if keys["alliance_rater"] == keys["outcome_rater"] else "no"}


def alliance_outcome(draw: random.Random) -> dict[str, pd.DataFrame]:
    """Return the tables of the question on alliance and outcome."""
    sites, pooled, left_out, influence = [], [], [], []
    for form, centre in (("ancova", 0.31), ("zero_order", 0.24), ("residual_gain", 0.29)):
        found = estimates(effect_keys(form), FORM_TYPES[form], centre, draw, share_missing=0.213)
        sites += [row | {"detectable_r": 0.37} for row in found[:-1]]
        pooled.append(found[-1] | {"coding": "as_estimated"})
        left_out += [
            {**found[-1], "site_left_out": site, "estimate": found[-1]["estimate"] + 0.007 * k} for k, site in enumerate(SITES[:-1])
        ]
    main = pooled[0]
    influence += [{**main, "site_left_out": site, "influential": "yes" if site == "elm" else "no"} for site in SITES[:-1]]
    sites.append(absent(effect_keys(), FORM_TYPES["ancova"], "willow", "site left out"))
    for coding, shift, method in (
        ("zero", -0.04, "two_stage_reml"),
        ("dropped", 0.03, "two_stage_reml"),
        ("imputed", 0.01, "censored_likelihood"),
    ):
        pooled.append({**main, "headline": "no", "coding": coding, "estimate": main["estimate"] + shift, "method": method})
    pooled.append({**main, "headline": "no", "coding": "as_estimated", "estimate": main["estimate"] + 0.02, "method": "one_stage"})
    every = {"outcome_instrument": "(all)", "outcome_scale": "(all)", "outcome_rater": "(all)", "headline": "no", "coding": "as_estimated"}
    pooled += [{**main, **every, "estimate": 0.222, "method": method} for method in ("three_level_reml", "cluster_robust_cr2")]
    share = {"headline": "no", "coding": "as_estimated", "estimate_type": "share", "estimate": 0.2, "ci_low": 0.04, "ci_high": 0.62}
    pooled.append({**main, **share, "scale": "identity", "method": "counted"})
    raters = []
    for alliance in ("client", "therapist"):
        for outcome in ("client", "therapist"):
            keys = effect_keys(
                outcome_instrument="target_complaints",
                outcome_scale="severity",
                headline="no",
                alliance_rater=alliance,
                outcome_rater=outcome,
            )
            pooled.append(estimates(keys, "partial_correlation", 0.36 if alliance == outcome else 0.19, draw, coding="as_estimated")[-1])
    shared = {
        "outcome_instrument": "target_complaints",
        "outcome_scale": "severity",
        "timepoint": "post",
        "form": "ancova",
        "window": "early",
    }
    for contrast, pair, rated in (
        ("same rater - crossed raters (client and therapist)", "client x therapist", ""),
        ("client - therapist alliance", "client and therapist", "client"),
    ):
        keys = {**shared, "pair": pair, "alliance_rater": "", "outcome_rater": rated, "same_rater": "", "contrast": contrast}
        raters += estimates(keys, "correlation_contrast", 0.11, draw, scale="identity")
    levels, timing, moderators, eligibility, missed = [], [], [], [], []
    for part, centre in (("within_client", 0.12), ("between_client", 0.25), ("between_therapist", 0.05)):
        keys = {"explained": "symptoms of the next session", "part": part, "contrast": "", "same_rater": "yes"}
        levels.append(estimates(keys, "slope_standardised", centre, draw, scale="identity")[-1] | {"method": "one_stage"})
    keys |= {"contrast": "between_therapist - between_client"}
    levels.append(estimates(keys, "slope_contrast", -0.2, draw, scale="identity")[-1] | {"method": "one_stage"})
    for part, value in (("therapist", 0.09), ("client", 0.91)):
        keys = {"explained": "alliance, early mean of clients", "part": part, "contrast": "", "same_rater": ""}
        levels.append(estimates(keys, "variance_share", value, draw)[-1] | {"estimate": value, "scale": "identity", "method": "one_stage"})
    for sessions in ("as_rated", "equalised"):
        constant = {"alliance_rater": "client", "outcome_rater": "client", "form": "ancova", "sessions": sessions, "same_rater": "yes"}
        for phase, centre in (("early", 0.3), ("middle", 0.21), ("late", 0.27), ("averaged", 0.29)):
            keys = {**constant, "phase": phase, "window": phase, "contrast": ""}
            timing.append(estimates(keys, "partial_correlation", centre, draw)[-1])
        for contrast in ("early - late", "early and late - middle"):
            keys = {**constant, "phase": "", "window": "", "contrast": contrast}
            timing.append(estimates(keys, "correlation_contrast", 0.05, draw, scale="identity")[-1])
    for group, contrast, centre, decision in (
        ("tailored", "", 0.38, ""),
        ("broad", "", 0.12, ""),
        ("", "tailored - broad", 0.26, "different"),
    ):
        keys = {"moderator": "kind_of_outcome", "where": "within_clients", "form": "ancova", "pair": "", "group": group, "same_rater": ""}
        kind = "correlation_contrast" if contrast else "partial_correlation"
        moderators.append(estimates({**keys, "contrast": contrast, "decision": decision}, kind, centre, draw)[-1])
    keys |= {"moderator": "treatment", "where": "within_sites", "contrast": "cognitive - psychodynamic", "decision": "undecided"}
    moderators.append(estimates(keys, "correlation_contrast", 0.02, draw)[-1])
    keys = {"alliance_rater": "client", "window": "early", "outcome_rater": "client", "form": "ancova", "same_rater": "yes"}
    for site in SITES[:-1]:
        for criterion in ("labelled_alliance", "time_lapse", "no_analog", "at_least_5_clients", "individual_treatment", "all"):
            met = site != "oak" or criterion not in ("individual_treatment", "all")
            row = {**sites[0], **keys, "site": site, "criterion": criterion, "estimate_type": "criterion_met", "method": "counted"}
            row |= {"scale": "identity", "std_error": None, "ci_low": None, "ci_high": None, "estimate": float(met)}
            eligibility.append(row | {"decision": "met" if met else "not met", "reason": "" if met else "treatment is group"})
    eligibility.append({**main, **keys, "criterion": "all", "decision": "met by 4 of 5 sites", "estimate": 0.327})
    for delta in (-0.5, 0.0, 0.25):
        missed.append({**main, "pattern": "", "delta": delta, "estimate": main["estimate"] - 0.02 + 0.01 * delta})
    tables = {"site_effects": sites, "pooled": pooled, "leave_one_out": left_out, "influence": influence, "levels": levels}
    tables |= {"raters": raters, "timing": timing, "moderators": moderators, "eligibility": eligibility, "missing": missed}
    return {name: finished(pd.DataFrame(rows), "alliance_outcome", name) for name, rows in tables.items()}


def early_gains(draw: random.Random, decision: str = "contradicts") -> dict[str, pd.DataFrame]:
    """Return the tables of the question on early gains; ``decision`` is what the test of hypothesis c says."""
    partial, hypotheses, sudden, change = [], [], [], []
    for covariates, centre in (("intake", 0.28), ("intake and early symptoms", 0.21)):
        keys = {"window": "session_3", "alliance_rater": "client", "outcome_rater": "client", "same_rater": "yes", "items": "as_scored"}
        keys["covariates"] = covariates
        found = {kind: estimates(keys, f"{kind}_correlation", centre, draw) for kind in ("partial", "semipartial")}
        partial += [row for rows in found.values() for row in rows]
        for kind, square in (("partial", "share_of_rest"), ("semipartial", "r_squared_change")):
            row = found[kind][-1]
            ends = {"estimate": row["estimate"] ** 2, "ci_low": row["ci_low"] ** 2, "ci_high": row["ci_high"] ** 2}
            nothing = dict.fromkeys(("std_error", *HETEROGENEITY))
            partial.append({**row, **nothing, **ends, "estimate_type": square, "scale": "identity"})
    statements = {"a": "the alliance follows progress", "b": "early measures predict worse than late ones", "c": "nothing is left"}
    for hypothesis, statistic, group, kind, said in (
        ("a", "slope per session", "successful - other", "mean_difference", "undecided"),
        ("b", "r of early minus r of late alliance with the outcome", "", "correlation_contrast", "undecided"),
        ("c", "partial r given intake and early symptoms", "", "partial_correlation", decision),
    ):
        keys = {"hypothesis": hypothesis, "statement": statements[hypothesis], "statistic": statistic, "group": group, "decision": said}
        row = estimates(keys, kind, 0.02, draw, scale="identity")[-1]
        if hypothesis == "c" and said == "not estimable":
            row = absent(keys, kind, POOLED, "not estimable: needs at least 2 sites with early symptoms; has 1")
        elif hypothesis == "c":
            numbers = {name: found["partial"][-1][name] for name in ("estimate", "ci_low", "ci_high")}
            row |= numbers if said == "contradicts" else {"estimate": 0.05, "ci_low": -0.04, "ci_high": 0.14}
        hypotheses.append(row)
    keys = {"shift": "gain", "statistic": "clients with one", "rule": "core_10: 6 points"}
    sudden += [row | {"scale": "logit"} for row in estimates(keys, "share", 0.2, draw)]
    for category, value in (("recovered", 0.24), ("unchanged", 0.61)):
        keys = {"denominator": "treated", "category": category, "rule": "core_10: reliable change 6, cut-off 11"}
        change += [row | {"scale": "logit"} for row in estimates(keys, "share", value, draw)]
    tables = {"partial": partial, "hypotheses": hypotheses, "sudden_gains": sudden, "change_categories": change}
    return {name: finished(pd.DataFrame(rows), "early_gains", name) for name, rows in tables.items()}


def congruence(draw: random.Random) -> dict[str, pd.DataFrame]:
    """Return the tables of the question on client and therapist; the surface of dominance speaks for its claim over all sites."""
    pair = {"instrument": "(preferred)", "raters": "client, therapist"}
    agreement, tracking, partner, surface = [], [], [], []
    for scale in ("total", "task", "bond", "goal"):
        keys = {**pair, "instrument_scale": scale, "window": "early", "headline": "yes" if scale == "total" else "no"}
        agreement += estimates({**keys, "statistic": "ICC(2,1)"}, "icc", 0.55, draw)
        agreement += estimates({**keys, "statistic": "concordance"}, "concordance", 0.54, draw)
        for statistic, kind, centre in (
            ("first minus second", "mean_difference", 0.31),
            ("lower limit of agreement", "limit_of_agreement", -0.9),
            ("upper limit of agreement", "limit_of_agreement", 0.9),
        ):
            agreement += estimates({**keys, "statistic": statistic, "unit": "sd"}, kind, centre, draw)
        for band, share in (("agree", 0.45), ("client higher", 0.35), ("therapist higher", 0.2)):
            about = {**keys, "statistic": band, "definition": "one mean and SD for both raters"}
            agreement += [row | {"scale": "logit"} for row in estimates(about, "share", share, draw)]
    named = {**pair, "instrument": "wai_36", "instrument_scale": "total", "window": "early", "headline": "no", "unit": "points"}
    agreement += estimates({**named, "statistic": "first minus second"}, "mean_difference", 0.3, draw)
    for scale in ("total", "task", "bond", "goal"):
        keys = {**pair, "instrument_scale": scale, "window": "all", "headline": "yes" if scale == "total" else "no"}
        tracking += estimates({**keys, "term": "bias", "unit": "sd"}, "directional_bias", -0.3, draw)
        for term, centre in (("tracking within clients", 0.45), ("tracking between clients", 0.6)):
            tracking += estimates({**keys, "term": term, "unit": "slope"}, "tracking", centre, draw)
    keys = {**pair, "instrument_scale": "", "window": "all", "headline": "no", "term": "tracking within clients", "unit": "slope"}
    tracking += estimates({**keys, "contrast": "task - bond"}, "tracking_contrast", -0.2, draw)
    keys |= {"instrument_scale": "total", "contrast": ""}
    for moderator, centre in (("training", 0.2), ("session", 0.01)):
        tracking += estimates({**keys, "moderator": moderator}, "tracking_moderated", centre, draw)
        about = {**keys, "term": "bias", "unit": "sd", "moderator": moderator}
        tracking += estimates(about, "bias_moderated", 0.0, draw)
    about = {**keys, "moderator": "client_attachment_anxiety"}
    needs = "not estimable: needs the column attachment_anxiety of the clients table"
    tracking.append(absent(about, "tracking_moderated", POOLED, needs))
    for effect, predictor, kind, centre in (
        ("actor", "client", "slope_standardised", 0.3),
        ("partner", "therapist", "slope_standardised", 0.02),
        ("actor - partner", "", "slope_contrast", 0.28),
    ):
        keys = {**pair, "instrument_scale": "total", "explained": "symptoms, next session", "explained_rater": "client"}
        keys |= {
            "part": "within_client",
            "effect": effect,
            "predictor_rater": predictor,
            "same_rater": "yes" if effect == "actor" else "no",
        }
        partner += estimates(keys, kind, centre, draw)
    about = {**keys, "effect": "partner / actor", "predictor_rater": "", "same_rater": "mixed"}
    partner.append(absent(about, "partner_actor_ratio", POOLED, "not estimable: needs an actor effect that differs from zero"))
    for name, kind, first, second, method, b, decision in (
        (
            "alliance_outcome",
            "congruence",
            "alliance.client",
            "alliance.therapist",
            "multivariate_reml",
            (0, 0.3, 0.2, 0.01, 0, 0),
            "undecided",
        ),
        (
            "dominance_alliance",
            "complementarity",
            "clients.dominance",
            "therapists.dominance",
            "one_stage",
            (0, 0, 0, -0.2, -0.4, -0.2),
            "supported",
        ),
    ):
        keys = {"surface": name, "kind": kind, "outcome": name.split("_")[1], "first": first, "second": second, "part": "client"}
        values = dict(zip((f"b{place}" for place in range(6)), b, strict=True))
        values |= {"a1": b[1] + b[2], "a2": sum(b[3:]), "a3": b[1] - b[2], "a4": b[3] - b[4] + b[5]}
        for term, value in values.items():
            row = estimates({**keys, "term": term}, "surface_coefficient", value, draw)[-1]
            surface.append(row | {"method": method, "estimate": value, "ci_low": value - 0.1, "ci_high": value + 0.1})
        for term, value in (("p10", 0.0), ("p11", -1.0)):
            row = estimates({**keys, "term": term}, "surface_axis", value, draw)[-1]
            row |= {"method": method, "estimate": value, "ci_low": value - 0.3, "ci_high": value + 0.3}
            surface.append(row)
            condition = {"term": f"{term} = {value:g}", "index": "condition", "decision": "met", "bound": 0.5, "p_equivalence": 0.01}
            surface.append(row | condition)
        row = estimates({**keys, "term": "verdict", "decision": decision}, "criterion_met", 1.0, draw)[-1]
        blank = {"ci_low": math.nan, "ci_high": math.nan, "std_error": math.nan}
        surface.append(row | {"method": method, "estimate": 1.0, **blank})
        for term, value in (("x_mean", 0.1), ("y_mean", -0.1), ("x_sd", 1.0), ("y_sd", 0.9), ("xy_correlation", 0.5)):
            form = "correlation" if "corr" in term else "mean" if "mean" in term else "standard_deviation"
            row = estimates({**keys, "term": term}, form, value, draw)[-1]
            surface.append(row | {"method": "pooled_covariance", "estimate": value, **blank})
        for term, value in (("full", 0.6), ("additive", 0.4)):
            row = estimates({**keys, "term": term, "index": "weight"}, "akaike_weight", value, draw)[-1]
            surface.append(row | {"method": "pooled_covariance", "estimate": value, **blank})
    keys = {"surface": "alliance_dropout", "kind": "congruence", "outcome": "dropout", "part": "client", "term": "verdict"}
    keys |= {"first": "alliance.client", "second": "alliance.therapist"}
    surface.append(absent(keys, "criterion_met", POOLED, "not estimable: needs at least 12 clients with and without the event; has 5"))
    tables = {"agreement": agreement, "truth_and_bias": tracking, "actor_partner": partner, "response_surface": surface}
    return {name: finished(pd.DataFrame(rows), "congruence", name) for name, rows in tables.items()}


def interventions(draw: random.Random) -> dict[str, pd.DataFrame]:
    """Return the tables of the question on interventions; challenges are followed by a weaker alliance, a middle amount is best."""
    rater = {"alliance_rater": "client", "same_rater": "no"}
    base = {**rater, "topic": "frequency", "explained": "alliance", "term": "event", "window": "all", "treatment": ""}
    events, curves, transitions = [], [], []
    further = random.Random(17)
    for event, centre in (("interpretations", 0.0), ("here_and_now", 0.05), ("challenges", -0.3), ("involvement", 0.3)):
        for part, compared in (("within_clients", "all_sessions"), ("within_clients", "earlier_sessions"), ("between_clients", "")):
            keys = {**base, "event": event, "part": part, "compared_with": compared}
            kept = {"decision": "different" if abs(centre) > 0.2 else "undecided", "bound": 0.1, "p_equivalence": 0.4}
            events += [row | kept for row in estimates(keys, "slope_standardised", centre, draw)]
        keys = {**base, "event": event, "explained": "event", "term": "alliance", "part": "within_clients", "compared_with": "all_sessions"}
        events += estimates(keys, "slope_standardised", 0.02, draw)
        events += estimates({**keys, "compared_with": "earlier_sessions"}, "slope_standardised", -0.3 if centre else 0.0, further)
        keys = {**base, "event": event, "part": "within_clients", "compared_with": "all_sessions", "window": "early"}
        events += estimates(keys, "slope_standardised", centre, draw)
    for event, kind in (("wish_and_response", "slope_standardised"), ("wish_and_response - others", "slope_contrast")):
        keys = {**base, "topic": "accuracy", "event": event, "term": "accuracy", "part": "within_clients", "compared_with": "all_sessions"}
        events += estimates(keys, kind, 0.25, draw)
    keys = {**base, "topic": "in_ruptures", "event": "here_and_now - outside", "part": "within_clients", "window": "rupture"}
    events += estimates(keys, "slope_contrast", 0.3, draw)
    keys = {**base, "topic": "moderation", "event": "interpretations", "moderator": "timing", "part": "within_clients"}
    events += estimates({**keys, "term": "event x moderator"}, "interaction_standardised", 0.1, draw)
    keys = {**base, "topic": "complementarity", "event": "challenges", "part": "within_clients"}
    events += estimates({**keys, "term": "complementarity, client's affiliation - 1 SD"}, "slope_standardised", -0.3, further)
    events += estimates({**keys, "term": "complementarity x client's affiliation"}, "interaction_standardised", 0.2, further)
    keys = {**base, "topic": "initially_poor", "event": "here_and_now", "part": "clients", "window": ""}
    for term, centre in (
        ("attention, initial level - 1 SD", 0.3),
        ("gain of the lowest third", 0.5),
        ("gain of the lowest third that noise alone brings", 0.4),
    ):
        kind = "slope_standardised" if term.startswith("attention") else "mean_difference"
        events += estimates({**keys, "term": term}, kind, centre, draw)
    events.append(
        absent(
            {**base, "event": "avoidance", "part": "within_clients", "compared_with": "all_sessions"},
            "slope_standardised",
            POOLED,
            "not estimable: needs at least 2 sites with an estimate; has 0",
        )
    )
    for part in ("within_clients", "between_clients"):
        keys = {**rater, "event": "interpretations", "part": part, "window": "all"}
        for term, kind, centre in (
            ("linear", "slope_standardised", 0.0),
            ("quadratic", "curvature_standardised", -0.3),
            ("line_below", "slope_standardised", 0.4),
            ("line_above", "slope_standardised", -0.4),
        ):
            curves += estimates({**keys, "term": term}, kind, centre, draw)
        blank = {"ci_low": math.nan, "ci_high": math.nan, "std_error": math.nan, "decision": "inverted_u", "estimate": 1.0}
        curves += [row | blank for row in estimates({**keys, "term": "inverted_u"}, "criterion_met", 0.9, draw)]
        bend = {"estimate": 3.4, "decision": ""}
        curves += [row | blank | bend for row in estimates({**keys, "term": "bend"}, "turning_point", 0.9, draw) if row["site"] != POOLED]
    for topic, after, response, groups in (
        ("after_event", "challenges", "involvement", ("low", "high")),
        ("repair", "rupture", "repaired", ("outside", "here_and_now")),
    ):
        keys = {**rater, "topic": topic, "after": after, "response": response, "model": "counted", "n_events": 240}
        for group, share in zip(groups, (0.35, 0.6), strict=True):
            transitions += [row | {"scale": "logit"} for row in estimates({**keys, "group": group}, "share", share, draw)]
        contrast = f"{groups[1]} - {groups[0]}"
        for model in ("counted", "multilevel"):
            rows = estimates({**keys, "group": contrast, "model": model}, "odds_ratio", 0.5, draw)
            ratio = {"estimate": 2.5, "ci_low": 1.6, "ci_high": 3.9, "scale": "log", "prediction_low": 1.2, "prediction_high": 5.0}
            transitions += [row | (ratio if row["site"] == POOLED else {"scale": "log"}) for row in rows]
    tables = {"events": events, "curvilinear": curves, "transitions": transitions}
    return {name: finished(pd.DataFrame(rows), "interventions", name) for name, rows in tables.items()}


def statuses() -> list[dict[str, Any]]:
    """Return every site's status; the last site is left out."""
    made = []
    for index, site in enumerate(SITES):
        excluded = site == "willow"
        rows = 1200 + 35 * index
        made.append(
            {
                "site": site,
                "label": LABELS[site],
                "data": "rows",
                "status": "excluded" if excluded else ("warnings" if index % 2 else "ok"),
                "reasons": ["ratings.csv has no column for the client (PID)"] if excluded else [],
                "site_facts": {"country": "DE", "setting": "outpatient"},
                "files": [
                    {
                        "file": "ratings.csv",
                        "sha256": f"{index:x}" * 64,
                        "rows_in": rows,
                        "rows_used": 0 if excluded else rows - 12,
                        "rows_quarantined": rows if excluded else 9,
                        "rows_excluded_by_rule": 0 if excluded else 3,
                    }
                ],
                "counts": {} if excluded else {"clients": 120 + index, "therapists": 14, "sessions": 1100, "ratings": rows - 12},
                "instruments": {} if excluded else {"wai_sr": {}, "haq_2": {}, "core_10": {}},
                "flow": {}
                if excluded
                else {
                    "sent": 124 + index,
                    "withdrawn": 1,
                    "cleaned": 120 + index,
                    "with_ratings": 104 + index,
                    "with_session_ratings": 98 - index,
                },
            }
        )
    return made


def issues() -> list[Issue]:
    """Return faults of several reaches."""
    fix = "Correct the value in the file, or declare a missing code."
    return [
        Issue("V01", Severity.CELL, "the value lies outside 1 to 5", fix, "cedar", "ratings.csv", "", 17, "WAI3", "9"),
        Issue("V01", Severity.CELL, "the value lies outside 1 to 5", fix, "cedar", "ratings.csv", "", 44, "WAI3", "7"),
        Issue("R04", Severity.ROW, "the row stands twice", "Send it once.", "oak", "ratings.csv", "", 203, "", "", 4),
        Issue(
            "H09",
            Severity.WARN,
            "columns that are not mapped were left out",
            "Map them in site.yaml if needed.",
            "oak",
            "clients.csv",
            n_affected=3,
        ),
        Issue(
            "H02", Severity.SITE, "ratings.csv has no column for the client (PID)", "Name the column in site.yaml.", "willow", "ratings.csv"
        ),
    ]


def scale_moments(draw: random.Random) -> pd.DataFrame:
    """Return statistics of scales at every site."""
    rows = []
    for site in SITES[:-1]:
        for instrument, rater in (("wai_sr", "client"), ("wai_sr", "therapist"), ("haq_2", "client")):
            rows.append(
                {
                    "site": site,
                    "instrument": instrument,
                    "rater": rater,
                    "scale": "total",
                    "timepoint": "session",
                    "n_clients": draw.randint(60, 120),
                    "n_rows": 700,
                    "mean": 3.9,
                    "alpha": draw.uniform(0.84, 0.94),
                }
            )
    return pd.DataFrame(rows)


@functools.cache
def study() -> ReportData:
    """Return the invented study, made once. Tests must not change it."""
    return made()


@functools.cache
def rendered() -> dict[str, str]:
    """Return all pages of the invented study, rendered once."""
    return pages.render_all(study(), TEMPLATES)


@functools.cache
def chapters_built() -> tuple[Chapter, ...]:
    """Return all chapters of the invented study, built once."""
    return tuple(order.build(study()))


def only(data: ReportData, *questions: str) -> ReportData:
    """Return a study with the tables of some questions, for what the others have no part in."""
    return dataclasses.replace(data, tables={question: data.tables[question] for question in questions})


def made(seed: int = 1) -> ReportData:
    """Make the invented study."""
    draw = random.Random(seed)
    options = configuration.load(PROJECT / "config.yaml").scenarios["base"]
    return ReportData(
        scenario="base",
        options=options,
        provenance={
            "version": "0.1.0",
            "scenario": "base",
            "reason": "the configuration as it stands",
            "inputs": [
                {"site": one["site"], "file": file["file"], "sha256": file["sha256"]} for one in statuses() for file in one["files"]
            ],
            "data_digest": "0123456789ab",
            "config_digest": "abcdef012345",
            "code_digest": "99aa88bb77cc",
            "instruments_digest": "112233445566",
            "lock_digest": "665544332211",
            "packages": {"numpy": "2.4.6", "pandas": "3.1.1"},
            "seed": 1993,
        },
        constants={},
        statuses=statuses(),
        issues=issues(),
        tables={
            "measurement": measurement(random.Random(seed + 1)),
            "convergent_validity": convergent_validity(draw),
            "path_models": report_study_paths.path_models(random.Random(seed + 2)),
            "client_factors": client_factors(draw),
            "therapist_factors": therapist_factors(random.Random(seed + 3)),
            "alliance_outcome": alliance_outcome(draw),
            "early_gains": early_gains(draw),
            "dropout": dropout(),
            "ruptures": ruptures(),
            "congruence": congruence(random.Random(seed + 3)),
            "interventions": interventions(random.Random(seed + 4)),
        },
        scale_moments=scale_moments(draw),
        instruments=load_registry([PROJECT / "workflow" / "instruments"]),
        benchmarks=PUBLISHED,
        references=bibliography.parse((PROJECT / "workflow" / "references.bib").read_text(encoding="utf-8")),
        coverage=coverage.read(PROJECT / "workflow" / "simulated_coverage.csv"),
        guide=guide.read(PROJECT / "workflow" / "guide", PROJECT / "workflow" / "headlines.yaml"),
        workbook="tables.xlsx",
    )


def write(data: ReportData, folder: Path) -> None:
    """Write a study's results the way the earlier steps do, for the command line."""
    from alliance import issues as records
    from alliance.files import write_csv, write_json, write_text

    for status in data.statuses:
        write_json(folder / "sites" / status["site"] / "status.json", status)
        own = data.scale_moments[data.scale_moments["site"] == status["site"]]
        write_csv(folder / "scores" / status["site"] / "scale_moments.csv", own)
    for question, tables in data.tables.items():
        for name, table in tables.items():
            write_csv(folder / "tables" / question / f"{name}.csv", table)
    write_text(folder / "issues.csv", records.to_csv(list(data.issues)))
    for name in ("options", "constants", "provenance"):
        write_text(folder / f"{name}.json", json.dumps(getattr(data, name)))
