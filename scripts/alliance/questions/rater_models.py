"""The model that tells what raters share from what is their own: correlated traits, correlated methods less one, with one trait.

CT-C(M-1) of Eid (2000): the factor of the reference rater's scales is the trait. The scales of every other rater load on it, and on a
factor of their own that is uncorrelated with it: what the reference rater's view does not explain. Factors of different raters correlate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alliance.questions.factor_rows import FIRST_INDEX, FIT, Row, Sample, fit_rows, fit_syntax, improper, method_of, upright

TRAIT = "trait"
ALL = "(sum)"
MIN_INDICATORS = 2


@dataclass(frozen=True)
class RaterModel:
    """A CT-C(M-1) model.

    Attributes
    ----------
    reference : str
        The rater whose view is the trait.
    scales : dict of str to tuple of str
        Scales of every rater, the reference among them.
    """

    reference: str
    scales: dict[str, tuple[str, ...]]

    @property
    def others(self) -> list[str]:
        """Raters beside the reference."""
        return [rater for rater in self.scales if rater != self.reference]

    @property
    def indicators(self) -> list[tuple[str, str]]:
        """Pairs of rater and scale, the reference first."""
        return [(rater, scale) for rater in (self.reference, *self.others) for scale in self.scales[rater]]

    @property
    def names(self) -> list[str]:
        """Names of the indicators in blocks and in the model."""
        return [indicator_name(rater, scale) for rater, scale in self.indicators]

    @property
    def syntax(self) -> str:
        """The model and its coefficients in the notation of lavaan; factors are to have a variance of 1.

        With two scales a rater's own factor is known from their one covariance: its loadings are equal.
        """
        at = {pair: place + 1 for place, pair in enumerate(self.indicators)}
        loads = [f"t{place}*{indicator_name(*pair)}" for pair, place in at.items()]
        lines = [f"{TRAIT} =~ {' + '.join(loads)}"]
        lines += [f"{indicator_name(*pair)} ~~ e{place}*{indicator_name(*pair)}" for pair, place in at.items()]
        for rater in self.others:
            own = [(f"m{at[rater, scale]}", indicator_name(rater, scale)) for scale in self.scales[rater]]
            if len(own) == MIN_INDICATORS:
                own = [(own[0][0], name) for _, name in own]
            lines.append(f"{own_factor(rater)} =~ {' + '.join(f'{label}*{name}' for label, name in own)}")
            lines.append(f"{TRAIT} ~~ 0*{own_factor(rater)}")
            trait = [f"t{at[rater, scale]}" for scale in self.scales[rater]]
            method = [label for label, _ in own]
            for scale, t, m in zip(self.scales[rater], trait, method):
                place = at[rater, scale]
                lines.append(f"consistency{place} := {t}^2/({t}^2 + {m}^2)")
                lines.append(f"reliability{place} := ({t}^2 + {m}^2)/({t}^2 + {m}^2 + e{place})")
            total = f"({' + '.join(trait)})^2"
            lines.append(f"consistency_{rater} := {total}/({total} + ({' + '.join(method)})^2)")
        for scale in self.scales[self.reference]:
            place = at[self.reference, scale]
            lines.append(f"reliability{place} := t{place}^2/(t{place}^2 + e{place})")
        return "\n".join(lines)


def indicator_name(rater: str, scale: str) -> str:
    """Return what a rater's scale is called in blocks and in the model."""
    return f"{rater}.{scale}"


def own_factor(rater: str) -> str:
    """Return the name of the factor that is a rater's own."""
    return f"{rater}_own"


def model_of(reference: str, names: Sequence[str]) -> RaterModel:
    """Return the model of indicators named ``<rater>.<scale>``."""
    scales: dict[str, list[str]] = {}
    for name in names:
        rater, _, scale = name.partition(".")
        scales.setdefault(rater, []).append(scale)
    return RaterModel(reference, {rater: tuple(own) for rater, own in scales.items()})


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
    table = found.parameters
    defined = table[table["op"].eq(":=")].set_index("lhs")
    note = improper(found)
    for place, (rater, scale) in enumerate(model.indicators, start=1):
        equal = "two scales: their loadings on the rater's own factor are set equal" if rater in two else ""
        keys = {**common, "rater": rater, "indicator": scale}
        yield _share(keys, "reliability", defined.loc[f"reliability{place}"], note, equal)
        if rater != model.reference:
            yield from _consistency(keys, defined.loc[f"consistency{place}"], note, equal)
    for rater in model.others:
        equal = "two scales: their loadings on the rater's own factor are set equal" if rater in two else ""
        yield from _consistency({**common, "rater": rater, "indicator": ALL}, defined.loc[f"consistency_{rater}"], note, equal)
    for row in table[table["op"].eq("=~")].itertuples():
        rater, _, scale = row.rhs.partition(".")
        keys = {**common, "rater": rater, "indicator": scale, "factor": TRAIT if row.lhs == TRAIT else "own"}
        fields = {"estimate_type": "loading_standardised", "estimate": row.standardized, **_limits(row)}
        yield {**keys, **fields, **_status(note)}, row.std_error_standardized**2
    own = {own_factor(rater): rater for rater in model.others}
    between = table[table["op"].eq("~~") & table["lhs"].isin(own) & table["rhs"].isin(own) & table["lhs"].ne(table["rhs"])]
    for row in between.itertuples():
        keys = {**common, "rater": f"{own[row.lhs]} ~~ {own[row.rhs]}", "factor": "own"}
        fields = {"estimate_type": "factor_correlation", "estimate": row.standardized}
        yield {**keys, **fields, **_status(note)}, row.std_error_standardized**2


def _limits(row: Any) -> dict[str, float]:
    known = np.isfinite(row.std_error_standardized)
    return {"ci_low": row.standardized_low, "ci_high": row.standardized_high} if known else {}


def _status(*notes: str) -> dict[str, str]:
    reason = "; ".join(note for note in notes if note)
    return {"status": "flagged" if reason else "estimated", "reason": reason}


def _share(keys: Mapping[str, Any], kind: str, row: Any, *notes: str) -> Row:
    return {**keys, "estimate_type": kind, "estimate": float(row["estimate"]), **_status(*notes)}, float(row["std_error"]) ** 2


def _consistency(keys: Mapping[str, Any], row: Any, *notes: str) -> Iterator[Row]:
    yield _share(keys, "consistency", row, *notes)
    fields, variance = _share(keys, "method_specificity", row, *notes)
    yield {**fields, "estimate": 1 - fields["estimate"]}, variance
