"""A second maximum of the likelihood of a structural model, by semopy, as a check of ours.

semopy's optimum can be relied on when variables are z-scored and the tolerance is tight (Igolkina & Meshcheryakov, 2020, describe the
package); its standard errors and fit measures are not used.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from alliance.statistics.structural_fit import StructuralFit
from alliance.statistics.structural_likelihood import COVARIANCES, INTERCEPTS, discrepancy, state

__all__ = ["largest_difference"]

_OPTIONS = {"ftol": 1e-13, "maxiter": 1000}
_WORSE = 1e-8


def largest_difference(fitted: StructuralFit) -> tuple[float | None, str]:
    """Return how far semopy's estimates are from those of a fit, at most, in standard deviations of the variables.

    Parameters
    ----------
    fitted : StructuralFit
        Of one group, from moments or complete rows.

    Returns
    -------
    difference : float or None
        The largest absolute difference of a free path, loading or (residual) covariance; factors in units of their marker's standard
        deviation. None where semopy cannot fit the model.
    reason : str
        Why there is none; where there is one, that semopy stopped before the maximum, if its estimates fit worse.
    """
    found = fitted._solution
    if found is None:
        return None, f"no fit to compare with: {fitted.reason}"
    plan, slots = found.layout, found.slots
    column = plan.column[0]
    free = column >= 0
    if len(fitted.groups) > 1:
        return None, "semopy fits one group only"
    if not found.data.complete:
        return None, "semopy fits complete rows only"
    if plan.mixing is not None or np.unique(column[free]).size < free.sum():
        return None, "semopy fits models without constraints only: z-scored variables change them"
    if found.means and (free & (slots.kind == INTERCEPTS)).sum() < slots.p:
        return None, "semopy leaves out the means, which the model restricts"
    marked = [
        any(term.op == "=~" and term.lhs == name and not free[index] for index, term in enumerate(plan.terms)) for name in plan.latent
    ]
    if not all(marked):
        return None, "semopy scales every factor by a first loading"
    exogenous = set(plan.exogenous)
    names = {name: f"v{index}" for index, name in enumerate((*plan.observed, *plan.latent))}
    ours = found.parameters.slots(found.free)[0]
    lines, places = [], []
    for index, term in enumerate(plan.terms):
        known = {term.lhs, term.rhs} <= exogenous if slots.kind[index] == COVARIANCES else False
        if slots.kind[index] == INTERCEPTS or (known and free[index]):
            continue
        if slots.kind[index] == COVARIANCES and {term.lhs, term.rhs} & exogenous:
            return None, "semopy takes covariances of exogenous variables as observed"
        value = "" if free[index] else f"{float(ours[index])!r}*"
        lines.append(f"{names[term.lhs]} {term.op} {value}{names[term.rhs]}")
        first, second = (term.rhs, term.lhs) if term.op == "=~" else (term.lhs, term.rhs)
        places.append((index, names[first], "~~" if term.op == "~~" else "~", names[second]))
    estimates, fault = _estimates(lines, found.data.covariances[0], [names[name] for name in plan.observed], float(found.data.n[0]))
    if fault:
        return None, fault
    largest, theirs = 0.0, ours.copy()
    for index, first, operator, second in places:
        if not free[index]:
            continue
        value = estimates.get((first, operator, second), estimates.get((second, operator, first)))
        if value is None or not np.isfinite(value):
            return None, "semopy left a parameter out"
        largest = max(largest, abs(value - float(ours[index])))
        theirs[index] = value
    at = state(slots, theirs[None], found.units, found.means)
    worse = np.inf if at is None else discrepancy(at, found.units) - discrepancy(found.state, found.units)
    stopped = f"semopy stopped before the maximum: chi-squared is {worse:.2g} higher at its estimates"
    return largest, stopped if worse > _WORSE else ""


def _estimates(lines: list[str], covariance: np.ndarray, names: list[str], n: float) -> tuple[dict[tuple[str, str, str], float], str]:
    """Return semopy's estimates by term, or what went wrong."""
    import semopy

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = semopy.Model("\n".join(lines))
            matrix = pd.DataFrame(covariance, index=names, columns=names)
            result = model.fit(cov=matrix, n_samples=int(n), obj="MLW", solver="SLSQP", options=_OPTIONS)
            table = model.inspect(information=None)
    except Exception as fault:
        return {}, f"semopy failed ({type(fault).__name__})"
    if not getattr(result, "success", True):
        return {}, "semopy did not converge"
    return {(row.lval, row.op, row.rval): float(row.Estimate) for row in table.itertuples()}, ""
