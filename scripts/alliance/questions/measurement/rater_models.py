"""Rows of the model that tells what raters share from what is their own (:mod:`alliance.statistics.rater_model`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from alliance.questions.effects import COMPLEMENT, natural
from alliance.questions.measurement.factor_rows import (
    FIRST_INDEX,
    FIT,
    Row,
    Sample,
    fit_rows,
    fit_syntax,
    improper,
    margin_of,
    method_of,
    standardised,
    upright,
)
from alliance.statistics.rater_model import MIN_INDICATORS, TRAIT, RaterModel, own_factor

ALL = "(sum)"


def rater_rows(model: RaterModel, sample: Sample, fault: str, level: float) -> Iterator[Row]:
    """Yield the rows of a model: fit, consistency, method specificity and reliability of every scale, correlations of raters' own factors.

    Rows hold ``rater, indicator, factor, index, estimate_type, estimate, method, status, reason``; the row :data:`ALL` of a rater is of
    the sum of the scales.

    Parameters
    ----------
    model : RaterModel
    sample : Sample
        Of :attr:`RaterModel.names`.
    fault : str
        Why nothing can be fitted; empty where it can.
    level : float
        Confidence level.
    """
    found = None if fault else upright(fit_syntax(model.syntax, sample, level))
    reason = fault or (found.reason if found.status == "not_estimable" else "")
    if reason:
        fields = {"estimate_type": FIT, "index": FIRST_INDEX, "method": "none", "status": "not_estimable"}
        yield {**fields, "reason": f"not estimable: {reason}"}, np.nan
        return
    common = {"method": method_of(found, sample)}
    yield from fit_rows(found, common)
    two = [rater for rater in model.others if len(model.scales[rater]) == MIN_INDICATORS]
    table, margin = found.parameters, margin_of(found, sample, level)
    defined = table[table["op"].eq(":=")].set_index("lhs")
    note = improper(found)
    for place, (rater, scale) in enumerate(model.indicators, start=1):
        equal = "two scales: their loadings on the rater's own factor are set equal" if rater in two else ""
        keys = {**common, "rater": rater, "indicator": scale}
        yield _share(keys, "reliability", defined.loc[f"reliability{place}"], margin, note, equal)
        if rater != model.reference:
            yield from _consistency(keys, defined.loc[f"consistency{place}"], margin, note, equal)
    for rater in model.others:
        equal = "two scales: their loadings on the rater's own factor are set equal" if rater in two else ""
        yield from _consistency({**common, "rater": rater, "indicator": ALL}, defined.loc[f"consistency_{rater}"], margin, note, equal)
    status = tuple(_status(note).values())
    for row in table[table["op"].eq("=~")].itertuples():
        rater, _, scale = row.rhs.partition(".")
        keys = {**common, "rater": rater, "indicator": scale, "factor": TRAIT if row.lhs == TRAIT else "own"}
        yield standardised(row, margin, {**keys, "estimate_type": "loading_standardised"}, *status)
    own = {own_factor(rater): rater for rater in model.others}
    between = table[table["op"].eq("~~") & table["lhs"].isin(own) & table["rhs"].isin(own) & table["lhs"].ne(table["rhs"])]
    for row in between.itertuples():
        keys = {**common, "rater": f"{own[row.lhs]} ~~ {own[row.rhs]}", "factor": "own", "estimate_type": "factor_correlation"}
        yield standardised(row, margin, keys, *status)


def _status(*notes: str) -> dict[str, str]:
    reason = "; ".join(note for note in notes if note)
    return {"status": "flagged" if reason else "estimated", "reason": reason}


def _share(keys: Mapping[str, Any], kind: str, row: Any, margin: float, *notes: str) -> Row:
    estimate, error = float(row["estimate"]), float(row["std_error"])
    limits = _limits(estimate, margin * error, COMPLEMENT if kind == "reliability" else "logit") if 0 < estimate < 1 and error > 0 else {}
    return {**keys, "estimate_type": kind, "estimate": estimate, **_status(*notes), **limits}, error**2


def _limits(estimate: float, reach: float, scale: str) -> dict[str, float]:
    """Return the ends of an interval made on -ln(1 - share) or the logit; ``reach`` is its half width on the share itself."""
    if scale == COMPLEMENT:
        y, half = -np.log1p(-estimate), reach / (1 - estimate)
    else:
        y, half = np.log(estimate / (1 - estimate)), reach / (estimate * (1 - estimate))
    low, high = natural(np.array([y - half, y + half]), scale)
    return {"ci_low": float(low), "ci_high": float(high)}


def _consistency(keys: Mapping[str, Any], row: Any, margin: float, *notes: str) -> Iterator[Row]:
    fields, variance = _share(keys, "consistency", row, margin, *notes)
    yield fields, variance
    turned = {"ci_low": 1 - fields["ci_high"], "ci_high": 1 - fields["ci_low"]} if "ci_low" in fields else {}
    yield {**fields, "estimate_type": "method_specificity", "estimate": 1 - fields["estimate"], **turned}, variance
