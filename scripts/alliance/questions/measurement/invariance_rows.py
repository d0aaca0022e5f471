"""What tests of invariance say, as rows of the table ``measurement/invariance``, and what follows for other comparisons (claim A15)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.instruments.registry import TOTAL
from alliance.questions.contract import POOLED
from alliance.statistics import invariance
from alliance.statistics.invariance import Invariance, Step

MAY_COMPARE = "may_compare"
ALIGNMENT = "alignment"
MANY_GROUPS = 10
DIFFERS, ERRORS = 0.2, 2.0
"""Convention: after alignment a parameter differs where it lies further from the mean over groups, in SD of the item and in errors."""
POOR_CFI, POOR_RMSEA = 0.90, 0.10
"""Conventions: below and above, the configural model is said to fit poorly."""
TOO_FEW_ITEMS = "a factor alone needs three items, each of several factors two"
KEYS = ("instrument", "form", "derived_from", "rater", "window", "across", "groups")
_FIT = ("chi2", "df", "p_value", "cfi", "rmsea", "srmr")


def with_one_factor(
    factors: Mapping[str, Sequence[str]], test: Callable[[Mapping[str, Sequence[str]]], Invariance]
) -> tuple[Invariance | None, str]:
    """Test with the factors of the theory; where they have no admissible solution, with one factor of all items.

    Returns the result (None: the model is not identified) and a caution.
    """
    if not invariance.identified(factors):
        return None, TOO_FEW_ITEMS
    result = test(factors)
    first = result.steps[0]
    if first.decision == invariance.HOLDS or len(factors) == 1:
        return result, ""
    one = test({TOTAL: [item for items in factors.values() for item in items]})
    if one.steps[0].decision != invariance.HOLDS:
        return result, ""
    return one, one_factor_in_place(factors, first.reason)


def one_factor_in_place(factors: Mapping[str, Sequence[str]], reason: str) -> str:
    """Return the caution of tests with one factor in place of the theory's."""
    return f"one factor of all items in place of {', '.join(factors)}, which have no admissible solution ({_cut(reason)})"


def _cut(text: str, length: int = 200) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."


def listed(names: Sequence[str], most: int = MANY_GROUPS) -> str:
    """Return names joined, the first few of many."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def no_row(keys: Mapping[str, Any], reason: str, estimate_type: str = "fit_index", **columns: Any) -> dict[str, Any]:
    """Return a row that says what an analysis needs and has."""
    return {
        "model": invariance.CONFIGURAL if estimate_type == "fit_index" else invariance.SCALAR,
        "index": "chi2" if estimate_type == "fit_index" else "",
        "decision": invariance.NOT_ESTIMABLE,
        "estimate_type": estimate_type,
        "estimate": None,
        "status": "not_estimable",
        "reason": f"not estimable: {reason}",
        "method": "none",
        **keys,
        **columns,
    }


def sequence_rows(result: Invariance | None, caution: str, common: Mapping[str, Any], site_of_group: bool = False) -> list[dict[str, Any]]:
    """Return the rows of one sequence of tests.

    Parameters
    ----------
    result, caution
        From :func:`with_one_factor`.
    common : mapping
        Columns of all rows: keys, counts and the method.
    site_of_group : bool
        Groups are sites: rows of a group stand with its site.
    """
    if result is None:
        return [no_row({name: value for name, value in common.items() if name in (*KEYS, "site")}, f"needs more items: {caution}")]
    cautions = [caution, _poor_fit(result.steps[0])]
    if result.steps[0].fitted.fit is None:
        means = _mean_rows(result, cautions, common, site_of_group) if site_of_group else []
        return [*_step_rows(result.steps[0], cautions, common), _decision_row(result, cautions, common), *means]
    rows = [row for step in result.steps for row in _step_rows(step, cautions, common)]
    rows.append(_decision_row(result, cautions, common))
    values = result.freed_parameters() if len(result.groups) <= MANY_GROUPS else result.freed_parameters().iloc[:0]
    for one in values.itertuples():
        place = {"groups": one.group, **({"site": one.group} if site_of_group else {})}
        numbers = {name: getattr(one, name) for name in ("estimate", "std_error", "ci_low", "ci_high")}
        step = next(step for step in result.steps if step.model == one.model)
        identity = {"model": one.model, "index": f"{one.kind} of {one.item}", "decision": step.decision, "estimate_type": one.kind}
        rows.append({**common, **place, **identity, **numbers, **_status(cautions, step.fitted.reason)})
    return rows + _mean_rows(result, cautions, common, site_of_group)


def alignment_rows(differences: pd.DataFrame, cautions: Sequence[str], common: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the shares of loadings and intercepts that differ, from :func:`alliance.statistics.invariance.aligned_differences`."""
    size = differences["difference"].abs()
    differs = (size > DIFFERS) & (size > ERRORS * differences["std_error"])
    words = f"share that differs from the mean over groups by more than {DIFFERS:g} SD of the item and {ERRORS:g} standard errors"
    rows = []
    for kind, chosen in differs.groupby(differences["kind"], sort=True):
        identity = {"model": ALIGNMENT, "index": f"{kind}s", "decision": words, "estimate_type": "share"}
        rows.append({**common, **identity, **_status(cautions), "estimate": float(chosen.mean())})
    return rows


def _poor_fit(step: Step) -> str:
    fit = step.fitted.fit if step.fitted is not None else None
    if fit is None or fit.cfi is None or (fit.cfi >= POOR_CFI and fit.rmsea <= POOR_RMSEA):
        return ""
    return f"the configural model fits poorly (CFI {fit.cfi:.3f}, RMSEA {fit.rmsea:.3f}; convention: {POOR_CFI} and {POOR_RMSEA:.2f})"


def _status(*reasons: Any) -> dict[str, str]:
    """Return status and reason of a row with a number, given reasons for caution (texts or lists of texts)."""
    flat = [text for one in reasons for text in ([one] if isinstance(one, str) else one) if text]
    return {"status": "flagged" if flat else "estimated", "reason": _cut("; ".join(dict.fromkeys(flat)), 400)}


def _step_rows(step: Step, cautions: Sequence[str], common: Mapping[str, Any]) -> list[dict[str, Any]]:
    common = {**common, "model": step.model, "decision": step.decision}
    fit = step.fitted.fit if step.fitted is not None else None
    if fit is None:
        kept = {name: value for name, value in common.items() if name in (*KEYS, "site", "model")}
        return [no_row(kept, step.reason)]
    status = _status(cautions, step.fitted.reason, step.reason)
    rows = []
    for index in _FIT:
        value = getattr(fit, index)
        if value is not None:
            ends = {"ci_low": fit.rmsea_low, "ci_high": fit.rmsea_high} if index == "rmsea" else {}
            rows.append({**common, **status, **ends, "index": index, "estimate_type": "fit_index", "estimate": value})
    found = step.comparison
    if found is not None:
        changes = {"cfi": found.delta_cfi, "rmsea": found.delta_rmsea, "srmr": found.delta_srmr}
        tests = {"chi2": found.chi2, "df": found.df, "p_value": found.p_value}
        for estimate_type, values in (("fit_difference", changes), ("chi2_difference", tests)):
            for index, value in values.items():
                if value is not None:
                    rows.append({**common, **status, "index": index, "estimate_type": estimate_type, "estimate": value})
    if step.freed:
        kind = step.freed[0].kind
        rows.append({**common, **status, "index": f"freed {kind}s", "estimate_type": "count", "estimate": len(step.freed)})
        for one in step.freed:
            if one.chi2 is not None and np.isfinite(one.chi2):
                name = {"index": f"{kind} of {one.item}", "estimate_type": "score_test"}
                rows.append({**common, **status, **name, "estimate": one.chi2})
    return rows


def _decision_row(result: Invariance, cautions: Sequence[str], common: Mapping[str, Any]) -> dict[str, Any]:
    words, caution = what_may_be_compared(result)
    highest = result.highest
    identity = {"model": highest.model if highest else invariance.CONFIGURAL, "index": MAY_COMPARE, "decision": words}
    row = {**common, **identity, "estimate_type": "count"}
    if highest is None:
        kept = {name: value for name, value in row.items() if name in (*KEYS, "site", "model", "index", "decision", "estimate_type")}
        return {**no_row(kept, result.steps[0].reason), **kept}
    notes = common.get("reason", "")
    return {**row, "estimate": len(result.groups), **_status(cautions, caution, notes)}


def what_may_be_compared(result: Invariance) -> tuple[str, str]:
    """Return in words what follows from the tests, and a caution.

    Correlations may be compared after metric invariance, means of factors after scalar invariance (with caution where it is partial),
    means of observed scores after full scalar invariance only (Meredith, 1993; Byrne, Shavelson & Muthén, 1989).
    """
    step = result.highest
    if step is None:
        return "nothing may be compared: the configural model is not estimable", ""
    freed = {one.item for other in result.steps if other.decision == invariance.HOLDS for one in other.freed}
    some = f"{len(freed)} of {result.n_items} items differ ({listed(sorted(freed, key=_number))})" if freed else ""
    words = {
        invariance.STRICT: "correlations and means may be compared, also of observed scores; their errors are equal too",
        invariance.SCALAR: "correlations and means may be compared, also of observed scores",
        "partial_scalar": "correlations and means of factors may be compared with caution; means of observed scores may not",
        invariance.METRIC: "correlations may be compared; means may not",
        "partial_metric": "correlations of factors may be compared with caution; means may not",
        invariance.CONFIGURAL: "neither correlations nor means may be compared: loadings differ",
    }[step.model]
    unjudged = next((one for one in result.steps[1:] if one.decision == invariance.NOT_ESTIMABLE and one.fitted is not None), None)
    if unjudged is not None and step.model == invariance.CONFIGURAL:
        words = "neither correlations nor means may be compared: equal loadings could not be judged"
    notes = [f"{one.model}: {one.reason}" for one in result.steps if one.reason and (one.decision == invariance.HOLDS or one is unjudged)]
    return words, "; ".join(text for text in (some, *notes) if text)


def _number(item: str) -> tuple[int, str]:
    digits = item.lstrip("i")
    return (int(digits), item) if digits.isdigit() else (0, item)


def _mean_rows(result: Invariance, cautions: Sequence[str], common: Mapping[str, Any], site_of_group: bool) -> list[dict[str, Any]]:
    step = result.means_step
    if step is None:
        reason = f"needs equal intercepts (scalar invariance, at least in part); {_last_words(result)}"
        keys = {name: value for name, value in common.items() if name in (*KEYS, "site")}
        groups = result.groups if site_of_group else [common["groups"]]
        return [no_row({**keys, "groups": one, **({"site": one} if site_of_group else {})}, reason, "latent_mean") for one in groups]
    partial = what_may_be_compared(result)[1] if step.freed else ""
    rows = []
    for one in result.latent_means().itertuples():
        reference = one.group == result.groups[0]
        place = {"groups": one.group, **({"site": one.group, "n_sites": 1} if site_of_group else {})}
        identity = {"model": step.model, "index": one.factor, "decision": step.decision, "estimate_type": "latent_mean"}
        ends = {} if reference else {"std_error": one.std_error, "ci_low": one.ci_low, "ci_high": one.ci_high}
        status = _status(cautions, partial)
        if reference:
            status = {"status": status["status"], "reason": "; ".join(filter(None, ("reference: mean 0, SD 1", status["reason"])))}
        rows.append({**common, **place, **identity, **ends, **status, "estimate": one.mean})
    return rows


def _last_words(result: Invariance) -> str:
    """Return which step was the last that was judged."""
    judged = [step for step in result.steps if step.fitted is not None]
    last = judged[-1] if judged else result.steps[-1]
    if last.decision == invariance.FAILS:
        return f"{last.model} fails"
    return f"{last.model} is not estimable: {_cut(last.reason)}" if last.decision == invariance.NOT_ESTIMABLE else f"{last.model} holds"


def may_compare(table: pd.DataFrame, instrument: str, across: str, rater: str = "", site: str = POOLED) -> str:
    """Return in words what may be compared over sites, languages, raters or sessions, for other chapters.

    Parameters
    ----------
    table : DataFrame
        ``measurement/invariance``.
    instrument, across : str
    rater : str
        Just this rater's form; by default all, each named where they differ.
    site : str
    """
    rows = table[table["instrument"].eq(instrument) & table["across"].eq(across) & table["site"].eq(site)]
    rows = rows[rows["rater"].eq(rater)] if rater else rows
    decided = rows[rows["index"].eq(MAY_COMPARE)]
    if decided.empty:
        reasons = rows.loc[rows["status"].eq("not_estimable"), "reason"]
        return f"means may not be compared: invariance was not tested ({reasons.iloc[0] if len(reasons) else 'no such measure'})"
    words = dict(zip(decided["rater"], decided["decision"]))
    return next(iter(words.values())) if len(set(words.values())) == 1 else "; ".join(f"{one}: {said}" for one, said in words.items())
