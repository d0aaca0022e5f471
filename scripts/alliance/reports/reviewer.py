"""Common faults that reviewers look for, checked by machine against the configuration and the tables of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from alliance.questions.contract import COMPUTED, POOLED, WITHHELD, WITHOUT_ERROR
from alliance.reports import numbers
from alliance.reports.chapters import common, path_models_comparison, path_models_rows
from alliance.reports.elements import listed
from alliance.reports.guide import Fault
from alliance.reports.inputs import ReportData

FLAGGED, IN_ORDER, NOT_APPLICABLE = "flagged", "in order", "not applicable"
EARLY_IN_PHASE = 0.34
INDEPENDENT = ("independent", "likelihood_independent", "client_jackknife", "normal_theory", "hazard_independent")


@dataclass(frozen=True)
class Found:
    """What a check found: one of flagged, in order or not applicable, and why, in a sentence."""

    verdict: str
    sentence: str


@dataclass(frozen=True)
class Checked:
    """A fault with what its check found in this run."""

    fault: Fault
    found: Found

    @property
    def flagged(self) -> bool:
        """True where a reviewer would ask."""
        return self.found.verdict == FLAGGED


def check_all(data: ReportData) -> list[Checked]:
    """Return every fault of the guide with what its check found, in the order of the guide."""
    return [Checked(fault, CHECKS[fault.key](data, fault)) for fault in data.guide.faults]


def _flagged(sentence: str) -> Found:
    return Found(FLAGGED, sentence)


def _in_order(sentence: str) -> Found:
    return Found(IN_ORDER, sentence)


def _not_asked(question: str) -> Found:
    return Found(NOT_APPLICABLE, f"The question “{common.words(question)}” is not asked in this run.")


def _asked(data: ReportData, question: str) -> bool:
    return bool(data.options["questions"].get(question, {}).get("enabled")) and bool(data.tables.get(question))


def _estimated(table: pd.DataFrame | None, **keys: str) -> pd.DataFrame:
    """Return the rows with numbers, shown or withheld, that have the given values."""
    if table is None:
        return pd.DataFrame()
    return common.select(table[table["status"].isin(COMPUTED)], **keys)


def _table(data: ReportData, question: str, name: str) -> pd.DataFrame | None:
    return data.tables.get(question, {}).get(name)


def _same_rater(data: ReportData, fault: Fault) -> Found:
    alliance, outcome = data.options["alliance"]["rater"], data.options["outcome"]["rater"]
    if alliance != outcome:
        return _in_order(f"The {alliance} rates the alliance of the main result, the {outcome} its outcome.")
    crossed = _estimated(_table(data, "alliance_outcome", "raters"), site=POOLED)
    beside = "; what other raters give stands beside it" if len(crossed) else "; no other rater can be set beside it"
    return _flagged(f"The {alliance} rates both the alliance and the outcome of the main result{beside}.")


def _window(data: ReportData) -> tuple[str, Mapping[str, Any]]:
    name = data.options["alliance"]["window"]
    return name, data.options["alliance"]["windows"][name]


def _alliance_after_change(data: ReportData, fault: Fault) -> Found:
    name, window = _window(data)
    last_of_gain = data.options["early_gain"]["window"][1]
    after = _estimated(_table(data, "early_gains", "partial"), site=POOLED)
    beside = " What is left beyond early gains is told." if len(after) else " What is left beyond early gains is not told in this run."
    if window.get("sessions") and window["sessions"][0] == 1 and window["sessions"][1] == 1:
        return _in_order(f"The alliance of the main result (window “{common.words(name)}”) is that of the first session.")
    if window.get("sessions"):
        reach = f"sessions {window['sessions'][0]} to {window['sessions'][1]}"
    else:
        reach = f"the last {common.plural(window['last'], 'session')}" if window.get("last") else "a part of each client’s sessions"
    return _flagged(
        f"The alliance of the main result (window “{common.words(name)}”: {reach}) is rated while or after the early gain "
        f"(to session {last_of_gain}) takes place.{beside}"
    )


def _sites_of_independent_clients(data: ReportData) -> int:
    """Return at how many sites the main result takes clients as independent."""
    sites = _estimated(_table(data, "alliance_outcome", "site_effects"), headline="yes")
    return int(sites.loc[sites["method"].isin(INDEPENDENT), "site"].nunique()) if len(sites) else 0


def _no_therapist_level(data: ReportData, fault: Fault) -> Found:
    if not _asked(data, "alliance_outcome"):
        return _not_asked("alliance_outcome")
    way = data.options["questions"]["alliance_outcome"]["headline"]["therapists"]
    if way == "ignored":
        return _flagged("The configuration ignores therapists in the main result (headline.therapists: ignored).")
    alone = _sites_of_independent_clients(data)
    if alone:
        return _flagged(f"At {common.plural(alone, 'site')} therapists are too few or unknown, and clients count as independent.")
    words = {"jackknife": "therapists are left out in turn", "random": "therapists have a random intercept"}
    return _in_order(f"Intervals of the main result respect therapists at every site ({words[way]}).")


def _uncentred(data: ReportData, fault: Fault) -> Found:
    if not _asked(data, "alliance_outcome"):
        return _not_asked("alliance_outcome")
    levels = _estimated(_table(data, "alliance_outcome", "levels"), site=POOLED)
    parts = set(levels["part"]) if len(levels) else set()
    if "within_client" in parts and parts & {"between_client", "between_therapist"}:
        return _in_order("Parts of the alliance within and between clients have coefficients of their own; a mixed one is not reported.")
    return _flagged("No coefficient within clients could be set apart from those between clients.")


def _difference_scores(data: ReportData, fault: Fault) -> Found:
    form = data.options["outcome"]["form"]
    if form == "change":
        return _flagged("The outcome of the main result is a plain difference of two scores (outcome.form: change).")
    words = {"ancova": "the intake level is held constant", "residual_gain": "it is what the intake level does not foretell"}
    return _in_order(f"The outcome of the main result is no plain difference: {words[form]}.")


def _averaged_as_early(data: ReportData, fault: Fault) -> Found:
    name, window = _window(data)
    label, limit = f"“{common.words(name)}”", f"{fault.limit:g}"
    if window.get("last"):
        return _in_order(f"The main window {label} is that of the last sessions and is not read as early.")
    if window.get("phase"):
        if window["phase"][0] == 0 and window["phase"][1] <= EARLY_IN_PHASE:
            return _flagged(
                f"The main window {label} is a share of each client’s sessions, which in long treatments goes beyond session {limit}."
            )
        return _in_order(f"The main window {label} is a later part of treatment and is not read as early.")
    first, last = window["sessions"]
    if first <= fault.limit < last:
        return _flagged(f"The main window {label} averages sessions {first} to {last}, of which those after session {limit} are not early.")
    if first > fault.limit:
        return _in_order(f"The main window {label} begins after session {limit} and is not read as early.")
    return _in_order(f"The main window {label} ends with session {last}; up to session {limit} counts as early.")


def _no_measurement_check(data: ReportData, fault: Fault) -> Found:
    if not _asked(data, "measurement"):
        return _flagged("The question of measurement is not asked, so that nothing is known of reliability and equality over groups.")
    reliable = _estimated(_table(data, "measurement", "reliability"), site=POOLED)
    table = _table(data, "measurement", "invariance")
    compared = sorted(set(_estimated(table)["across"])) if table is not None and len(_estimated(table)) else []
    if not len(reliable):
        return _flagged("No reliability could be estimated in this sample.")
    if not compared:
        return _flagged("Reliability is told, but equality of measures could not be tested over any groups.")
    wanted = data.options["questions"]["measurement"]["invariance"]["across"]
    untested = [name for name in wanted if name not in compared]
    told = f"Reliability is told; equality of measures was tested over {listed(compared)}"
    if untested:
        return _flagged(f"{told}, but could not be tested over {listed(untested)}.")
    return _in_order(f"{told}.")


def _nonsignificant(data: ReportData, fault: Fault) -> Found:
    if not _asked(data, "alliance_outcome"):
        return _not_asked("alliance_outcome")
    coding = data.options["questions"]["alliance_outcome"]["coding"]
    if coding in ("zero", "dropped"):
        done = {"zero": "count as zero", "dropped": "are left out"}[coding]
        return _flagged(f"Site effects that are not significant {done} in the main result (coding: {coding}).")
    if coding == "imputed":
        return _in_order("Of site effects that are not significant only that much is used in the main result; none counts as zero.")
    return _in_order("Effects enter as estimated; that there is no difference is only said where two one-sided tests show it.")


def _carried_forward(data: ReportData, fault: Fault) -> Found:
    if not _asked(data, "dropout"):
        return _not_asked("dropout")
    carry = data.options["questions"]["dropout"]["carry"]
    if carry:
        return _flagged(
            f"In models of dropout the last rating of the alliance stands in for up to {common.plural(carry, 'session')} without one; "
            "outcomes are carried forward nowhere."
        )
    return _in_order("Nothing is carried forward, neither ratings nor outcomes.")


def _post_treatment(data: ReportData, fault: Fault) -> Found:
    if not _asked(data, "alliance_outcome"):
        return _not_asked("alliance_outcome")
    section = data.options["questions"]["alliance_outcome"]
    used = {str(one["variable"]) for one in section["moderators"].values()} | set(section["headline"]["covariates"])
    late = sorted(used & set(fault.names))
    if late:
        return _flagged(f"A moderator or covariate is a result of treatment: {listed(late)}.")
    if not used:
        return Found(NOT_APPLICABLE, "No moderators and no covariates are used.")
    named = listed([name.replace("_", " ") for name in sorted(used)])
    return _in_order(f"By their names, moderators and covariates are known before treatment: {named}.")


def _ceiling(data: ReportData, fault: Fault) -> Found:
    rows = _estimated(_table(data, "ruptures", "criteria"), site=POOLED, statistic="sessions at the ceiling")
    shares = pd.to_numeric(rows["estimate"]).dropna() if len(rows) else pd.Series(dtype=float)
    if len(rows) and not len(shares):
        return Found(NOT_APPLICABLE, "How many ratings lie at the ceiling is withheld.")
    if not len(shares):
        return Found(NOT_APPLICABLE, "How many ratings lie at the ceiling is not known in this run (it needs the question of ruptures).")
    share = numbers.percent(shares.iloc[0])
    if shares.iloc[0] > fault.limit:
        return _flagged(f"{share} of the sessions are rated near the best possible value, more than {numbers.percent(fault.limit)}.")
    return _in_order(f"{share} of the sessions are rated near the best possible value, no more than {numbers.percent(fault.limit)}.")


def _versions(data: ReportData, fault: Fault) -> Found:
    used: dict[str, list[str]] = {}
    for name in ("alliance", "outcome"):
        section = data.options[name]
        first = {next((key for key in section["instruments"] if section["rater"] in _raters(status, key)), "") for status in data.included}
        used[name] = sorted(common.instrument_name(key) for key in first if key)
    mixed = [f"{name}: {listed(found)}" for name, found in used.items() if len(found) > 1]
    if not any(used.values()):
        return Found(NOT_APPLICABLE, "No site tells which instruments it used.")
    if mixed:
        return _flagged(f"Sites differ in the instrument of the main result ({'; '.join(mixed)}); only standardised results are pooled.")
    told = "; ".join(f"{name}: {found[0]}" for name, found in used.items() if found)
    return _in_order(f"All sites used the same instruments in the main result ({told}).")


def _raters(status: Mapping[str, Any], key: str) -> list[str]:
    return list(status.get("instruments", {}).get(key, {}).get("raters", ()))


def _clustering(data: ReportData, fault: Fault) -> Found:
    if not _asked(data, "alliance_outcome"):
        return _not_asked("alliance_outcome")
    pooled = _estimated(_table(data, "alliance_outcome", "pooled"), site=POOLED)
    main = pooled[pooled["headline"] == "yes"] if len(pooled) else pooled
    if not len(main):
        return Found(NOT_APPLICABLE, "There is no pooled correlation.")
    ignored = data.options["questions"]["alliance_outcome"]["headline"]["therapists"] == "ignored"
    if ignored or main["method"].isin(WITHOUT_ERROR).any():
        return _flagged("Correlations are averaged as if all clients were independent.")
    alone = _sites_of_independent_clients(data)
    if alone:
        return _flagged(f"Every site enters once, but the error of {common.plural(alone, 'site')} takes clients as independent.")
    together = pooled["method"].isin(("three_level_reml", "cluster_robust_cr2")).any()
    also = "; several outcomes of a site are pooled with their covariance" if together else ""
    return _in_order(f"Every site enters once with an error that respects therapists{also}.")


def _prediction(data: ReportData, fault: Fault) -> Found:
    if not _asked(data, "alliance_outcome"):
        return _not_asked("alliance_outcome")
    main = _estimated(_table(data, "alliance_outcome", "pooled"), site=POOLED, headline="yes")
    if not len(main):
        return Found(NOT_APPLICABLE, "There is no pooled correlation.")
    if main["status"].eq(WITHHELD).any():
        return Found(NOT_APPLICABLE, "The main result is withheld.")
    if main["prediction_low"].isna().any():
        why = "one effect for all sites is assumed" if data.options["pooling"]["tau2"] == "fixed" else "there are too few sites"
        return _flagged(f"The main result has no prediction interval: {why}.")
    return _in_order("The main result has a prediction interval.")


def _inseparable(data: ReportData, fault: Fault) -> Found:
    if not _asked(data, "components"):
        return _not_asked("components")
    pairs = _estimated(
        _table(data, "convergent_validity", "pairs"),
        site=POOLED,
        level="subscale",
        comparison="scales",
        estimate_type="correlation",
    )
    if len(pairs):
        pairs = pairs[pairs["scale1"].isin(data.options["questions"]["components"]["scales"]) & pairs["scale2"].isin(pairs["scale1"])]
    if not len(pairs):
        return Found(NOT_APPLICABLE, "How subscales of one instrument correlate is not known in this run.")
    told, known = common.more_withheld(pairs), pairs["estimate"].notna()
    if not known.any():
        return Found(NOT_APPLICABLE, "How subscales of one instrument correlate is withheld.")
    high = pairs[pd.to_numeric(pairs["estimate"]) > fault.limit]
    limit = numbers.bounded(fault.limit, 1)
    if len(high):
        named = listed(
            sorted({f"{common.words(row.scale1).lower()} with {common.words(row.scale2).lower()}" for row in common.tuples(high)})
        )
        return _flagged(f"Subscales that are read separately correlate above {limit}{told}: {named}.")
    top = numbers.bounded(pd.to_numeric(pairs["estimate"]).max(), data.decimals)
    return _in_order(f"Subscales of one instrument correlate up to {top}, no more than {limit}{told}.")


def _one_criterion(data: ReportData, fault: Fault) -> Found:
    if not _asked(data, "ruptures"):
        return _not_asked("ruptures")
    found = _estimated(_table(data, "ruptures", "criteria"))
    asked = data.options["questions"]["ruptures"]["criteria"]
    count = len(set(found["criterion"]) & set(asked)) if len(found) else 0
    if count == 0:
        return Found(NOT_APPLICABLE, "No site could be judged by any criterion.")
    if count < 2:
        return _flagged("Ruptures are told by one criterion alone.")
    return _in_order(f"{numbers.count(count)} criteria for ruptures stand side by side.")


def _concurrent(data: ReportData, fault: Fault) -> Found:
    if not _asked(data, "path_models"):
        return _not_asked("path_models")
    section = data.options["questions"]["path_models"]["mediation"]
    chains = section["chains"] if section["enabled"] else {}
    at_once = [str(chain.get("label") or name) for name, chain in chains.items() if 0 in _lags(chain)]
    told = []
    if at_once:
        named = listed([f"“{label}”" for label in at_once])
        told.append(f"A step is measured in the same session in {named}; its rows are flagged as concurrent and are not read as causal.")
    models = [f"“{path_models_rows.label(data, model)}”" for model in path_models_comparison.concurrent(data)]
    if models:
        told.append(f"Paths between what was measured at once stand in {listed(models)}; the chapter names them.")
    if told:
        return _flagged(" ".join(told))
    if not chains:
        return _in_order("No model has a path between what was measured at once; no chain over sessions is asked for.")
    return _in_order("In every chain each measure comes at least one session after the one before, and no model has a path within one.")


def _lags(chain: Mapping[str, Any]) -> list[int]:
    lags = chain.get("lags", 1)
    return list(lags) if isinstance(lags, list) else [lags]


def _directions(data: ReportData, fault: Fault) -> Found:
    section = data.options["outcome"]
    keys = [*section["instruments"], *(section[name]["instrument"] for name in ("tailored", "broad") if section.get(name))]
    unknown = [common.instrument_name(key) for key in keys if key not in data.instruments]
    if unknown:
        return _flagged(f"It is not known whether higher is better in {listed(unknown)}.")
    kinds = {getattr(data.instruments[key], "direction", "") for key in keys}
    turned = "Measures of outcome point in both directions" if len(kinds) > 1 else "Measures of outcome point in one direction"
    return _in_order(f"{turned}; all are turned so that higher is better.")


CHECKS: dict[str, Callable[[ReportData, Fault], Found]] = {
    "same_rater": _same_rater,
    "alliance_after_change": _alliance_after_change,
    "no_therapist_level": _no_therapist_level,
    "uncentred_alliance": _uncentred,
    "difference_scores": _difference_scores,
    "averaged_as_early": _averaged_as_early,
    "no_measurement_check": _no_measurement_check,
    "nonsignificant_as_none": _nonsignificant,
    "carried_forward": _carried_forward,
    "post_treatment_moderators": _post_treatment,
    "ceiling_ignored": _ceiling,
    "versions_mixed": _versions,
    "clustering_ignored": _clustering,
    "prediction_interval_omitted": _prediction,
    "inseparable_subscales": _inseparable,
    "one_rupture_criterion": _one_criterion,
    "concurrent_mediation": _concurrent,
    "mixed_directions": _directions,
}
"""The check of every fault, by its key in ``workflow/guide/reviewer.yaml``."""
