"""Measurement invariance: whether items measure the same in several groups, or by several raters or at several sessions of one group.

Models are set equal step by step (Meredith, 1993; Vandenberg & Lance, 2000): the same factors (configural), the same loadings (metric),
also the same intercepts (scalar), also the same residual variances (strict). A step is judged by how much worse it fits than the step
before (Cheung & Rensvold, 2002; Chen, 2007). Nothing is tested after a step that fails, except through partial invariance (Byrne,
Shavelson & Muthén, 1989). Factors are scaled by a variance of 1 and a mean of 0 in the first group, so that no item is taken to be
invariant beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from alliance.statistics.alignment import align
from alliance.statistics.distributions import chi_squared_p
from alliance.statistics.structural_fit import Comparison, Moments, StructuralFit, StructuralModel, compare, fit_structural, score_test
from alliance.statistics.structural_model import Layout, layout, parse_structural

CONFIGURAL, METRIC, SCALAR, STRICT = "configural", "metric", "scalar", "strict"
PARTIAL = {METRIC: "partial_metric", SCALAR: "partial_scalar"}
HOLDS, FAILS, NOT_ESTIMABLE = "holds", "fails", "not_estimable"
LOADING, INTERCEPT = "loading", "intercept"
FEWEST_EQUAL = 2
"""Items a factor whose parameters stay equal: one alone only scales the factor."""
_EQUAL = {
    CONFIGURAL: (),
    METRIC: ("loadings",),
    SCALAR: ("loadings", "intercepts"),
    STRICT: ("loadings", "intercepts", "residuals"),
}
_KIND = {METRIC: LOADING, SCALAR: INTERCEPT}
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Cutoffs:
    """Changes of fit at which a step fails; conventions.

    Attributes
    ----------
    cfi_drop : float
        Fall of CFI.
    rmsea_rise : float
        Rise of RMSEA.
    srmr_rise_loadings, srmr_rise_intercepts : float
        Rise of SRMR when loadings are set equal, and when intercepts or residual variances are.
    """

    cfi_drop: float = 0.010
    rmsea_rise: float = 0.015
    srmr_rise_loadings: float = 0.030
    srmr_rise_intercepts: float = 0.010


def fit_falls(step: str, delta_cfi: float, delta_rmsea: float, delta_srmr: float, cutoffs: Cutoffs) -> bool:
    """Return whether a step fails: CFI falls by the cut-off or more, and RMSEA or SRMR rises by its cut-off or more (Chen, 2007).

    Parameters
    ----------
    step : str
        ``metric``, ``scalar`` or ``strict``.
    delta_cfi, delta_rmsea, delta_srmr : float
        Fit of the step minus that of the step before.
    cutoffs : Cutoffs
    """
    srmr_rise = cutoffs.srmr_rise_loadings if step == METRIC else cutoffs.srmr_rise_intercepts
    # A change that equals its cut-off counts, whatever the last binary digit of the difference.
    falls = -delta_cfi >= cutoffs.cfi_drop - _ROUNDING
    rises = delta_rmsea >= cutoffs.rmsea_rise - _ROUNDING or delta_srmr >= srmr_rise - _ROUNDING
    return falls and rises


@dataclass(frozen=True)
class Freed:
    """A parameter that differs between groups in a partial model.

    Attributes
    ----------
    kind : str
        ``loading`` or ``intercept``.
    item : str
    chi2, df, p_value : float, int, float or None
        Score test of its equality in all groups, in the model from which it was freed; None for an intercept that is free because the
        item's loading is.
    """

    kind: str
    item: str
    chi2: float | None = None
    df: int | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Step:
    """One step of the sequence.

    Attributes
    ----------
    model : str
        ``configural``, ``metric``, ``partial_metric``, ``scalar``, ``partial_scalar`` or ``strict``.
    decision : str
        ``holds``, ``fails`` or ``not_estimable``.
    reason : str
        Why it is not estimable, or a caution.
    fitted : StructuralFit or None
        None where it was not tested.
    against : str
        The model it is compared with.
    comparison : Comparison or None
    freed : tuple of Freed
        In the order in which they were freed.
    """

    model: str
    decision: str
    reason: str = ""
    fitted: StructuralFit | None = None
    against: str = ""
    comparison: Comparison | None = None
    freed: tuple[Freed, ...] = ()


@dataclass(frozen=True)
class Invariance:
    """Results of all steps.

    Attributes
    ----------
    steps : tuple of Step
    groups : tuple of str
        Groups or occasions; the first is the reference.
    factors : dict of str to tuple of str
        Items of each factor.
    n_items : int
    """

    steps: tuple[Step, ...]
    groups: tuple[str, ...]
    factors: Mapping[str, tuple[str, ...]]
    n_items: int

    @property
    def highest(self) -> Step | None:
        """The most restricted step that holds; None where the first one is not estimable."""
        holding = [step for step in self.steps if step.decision == HOLDS]
        return holding[-1] if holding else None

    @property
    def means_step(self) -> Step | None:
        """The step that gives means of factors: scalar, or else partial scalar, where it holds."""
        holding = [step for step in self.steps if step.decision == HOLDS and step.model in (SCALAR, PARTIAL[SCALAR])]
        return holding[-1] if holding else None

    def latent_means(self) -> pd.DataFrame:
        """Return the means of factors against the first group, in its standard deviations.

        Returns
        -------
        DataFrame
            ``group, factor, mean, std_error, ci_low, ci_high``; the reference has 0 without a standard error. Empty without scalar
            invariance, at least in part.
        """
        step = self.means_step
        columns = ["group", "factor", "mean", "std_error", "ci_low", "ci_high"]
        if step is None:
            return pd.DataFrame(columns=columns)
        rows = []
        for group in self.groups:
            for factor in self.factors:
                found = _of_factor(step.fitted, factor, group, "~1")
                rows.append((group, factor, found["estimate"], found["std_error"], found["ci_low"], found["ci_high"]))
        return pd.DataFrame(rows, columns=columns)

    def freed_parameters(self) -> pd.DataFrame:
        """Return the values of freed parameters in every group, from the least restricted partial model that holds or ends the search.

        Returns
        -------
        DataFrame
            ``model, kind, item, group, estimate, std_error, ci_low, ci_high``. Loadings are for one standard deviation of the factor in the
            reference group, intercepts the answer expected of a client at that group's mean.
        """
        rows = []
        for step in self.steps:
            if step.fitted is None or step.fitted.fit is None:
                continue
            for freed in step.freed:
                for group in self.groups:
                    found = _of_item(step.fitted, freed, group)
                    ends = (found["estimate"], found["std_error"], found["ci_low"], found["ci_high"])
                    rows.append((step.model, freed.kind, freed.item, group, *ends))
        return pd.DataFrame(rows, columns=["model", "kind", "item", "group", "estimate", "std_error", "ci_low", "ci_high"])


def _of_factor(fitted: StructuralFit, factor: str, group: str, op: str) -> pd.Series:
    rows = fitted.parameters
    named = rows[rows["op"].eq(op)]
    own = named[named["lhs"].eq(variable(factor, group))] if len(fitted.groups) == 1 else named[named["lhs"].eq(factor)]
    return own.iloc[0] if len(fitted.groups) == 1 else own[own["group"].eq(group)].iloc[0]


def _of_item(fitted: StructuralFit, freed: Freed, group: str) -> pd.Series:
    rows, op, side = fitted.parameters, *(("=~", "rhs") if freed.kind == LOADING else ("~1", "lhs"))
    name = variable(freed.item, group) if len(fitted.groups) == 1 else freed.item
    own = rows[rows["op"].eq(op) & rows[side].eq(name)]
    return own.iloc[0] if len(fitted.groups) == 1 else own[own["group"].eq(group)].iloc[0]


def aligned_differences(
    configural: StructuralFit, factors: Mapping[str, Sequence[str]], moments: Sequence[Moments], groups: Sequence[str]
) -> pd.DataFrame:
    """Return how far each group's loadings and intercepts lie from their means over groups, after alignment.

    For many groups, where exact tests always fail (Asparouhov & Muthén, 2014).

    Parameters
    ----------
    configural : StructuralFit
        Of :func:`invariance_of_groups`.
    factors, moments, groups
        As there.

    Returns
    -------
    DataFrame
        ``kind, factor, item, group, difference, std_error``, in standard deviations of the item within groups. Standard errors take the
        factor's means and standard deviations as known.
    """
    sizes = np.array([one.n for one in moments], dtype=float)
    rows, frames = configural.parameters, []
    for factor, items in factors.items():
        names = list(items)
        variances = []
        for one in moments:
            places = [list(one.names).index(name) for name in names]
            variances.append((one.n - 1) * np.diagonal(np.asarray(one.covariance, dtype=float))[places])
        unit = np.sqrt(np.sum(variances, axis=0) / (sizes - 1).sum())
        loadings = rows[rows["op"].eq("=~") & rows["lhs"].eq(factor)].set_index(["group", "rhs"])
        levels = rows[rows["op"].eq("~1")].set_index(["group", "lhs"])
        index = pd.MultiIndex.from_product([groups, names])
        shape = (len(groups), len(names))
        slope, slope_error, level, level_error = (
            table[column].reindex(index).to_numpy().reshape(shape) / unit
            for table in (loadings, levels)
            for column in ("estimate", "std_error")
        )
        aligned = align(slope, level, sizes)
        scale = aligned.deviation[:, None]
        errors = {LOADING: slope_error / scale, INTERCEPT: np.hypot(level_error, aligned.mean[:, None] * slope_error / scale)}
        for kind, values in ((LOADING, aligned.loadings), (INTERCEPT, aligned.intercepts)):
            difference = values - np.average(values, axis=0, weights=sizes)
            table = {"item": np.tile(names, len(groups)), "group": np.repeat(list(groups), len(names))}
            frames.append(
                pd.DataFrame({"kind": kind, "factor": factor, **table, "difference": difference.ravel(), "std_error": errors[kind].ravel()})
            )
    return pd.concat(frames, ignore_index=True)


def variable(name: str, occasion: str) -> str:
    """Return what an item or factor of an occasion (rater, session) is called in moments and models."""
    return f"{name}.{occasion}"


def identified(factors: Mapping[str, Sequence[str]]) -> bool:
    """Return whether the configural model is identified: a factor alone needs three items, correlated ones two each."""
    fewest = 3 if len(factors) == 1 else 2
    return bool(factors) and all(len(items) >= fewest for items in factors.values())


@dataclass(frozen=True)
class _Models:
    """The models of one design: how a step is fitted and which parameters it has, given what is freed."""

    fit: Callable[[str, frozenset[str], frozenset[str]], StructuralFit]
    plan: Callable[[str, frozenset[str], frozenset[str]], Layout]
    factors: Mapping[str, tuple[str, ...]]
    groups: tuple[str, ...]

    @property
    def items(self) -> list[str]:
        return list(dict.fromkeys(item for items in self.factors.values() for item in items))


def invariance_of_groups(
    factors: Mapping[str, Sequence[str]],
    moments: Sequence[Moments],
    groups: Sequence[str],
    cutoffs: Cutoffs | None = None,
    largest_freed_share: float = 0.2,
    level: float = 0.95,
) -> Invariance:
    """Test invariance over independent groups.

    Parameters
    ----------
    factors : mapping of str to sequence of str
        Items of each factor.
    moments : sequence of Moments
        One a group, with means; the first group is the reference.
    groups : sequence of str
    cutoffs : Cutoffs, optional
    largest_freed_share : float
        Share of the items of which a loading or an intercept may be freed for partial invariance.
    level : float
        Confidence level of intervals.

    Raises
    ------
    ValueError
        Fewer than two groups, or moments without means.
    """
    if len(moments) < 2 or len(moments) != len(groups):
        raise ValueError("invariance needs at least two groups, each with a name")
    if any(one.mean is None for one in moments):
        raise ValueError("invariance needs the means of every group")
    factors = {name: tuple(items) for name, items in factors.items()}
    model = _measured(factors)

    def partial(loadings: frozenset[str], intercepts: frozenset[str]) -> list[str]:
        free = [f"{name} =~ {item}" for name, items in factors.items() for item in items if item in loadings]
        return [*free, *(f"{item} ~ 1" for item in sorted(intercepts))]

    def fit(step: str, loadings: frozenset[str], intercepts: frozenset[str]) -> StructuralFit:
        released = partial(loadings, intercepts)
        return fit_structural(
            model, moments, groups=groups, mean_structure=True, group_equal=_EQUAL[step], group_partial=released, level=level
        )

    def plan(step: str, loadings: frozenset[str], intercepts: frozenset[str]) -> Layout:
        released = partial(loadings, intercepts)
        return layout(model, len(groups), mean_structure=True, group_equal=_EQUAL[step], group_partial=released)

    return _tested(_Models(fit, plan, factors, tuple(groups)), cutoffs or Cutoffs(), largest_freed_share)


def inadmissible_groups(factors: Mapping[str, Sequence[str]], moments: Sequence[Moments], groups: Sequence[str]) -> dict[str, str]:
    """Return the groups in which the factors alone have no admissible solution, and why.

    Parameters
    ----------
    factors, moments, groups
        As in :func:`invariance_of_groups`.
    """
    fits = (fit_structural(_measured(factors), one, mean_structure=True) for one in moments)
    return {group: fitted.reason for group, fitted in zip(groups, fits) if fitted.status != "estimated"}


def _measured(factors: Mapping[str, Sequence[str]]) -> StructuralModel:
    return parse_structural("\n".join(f"{name} =~ {' + '.join(items)}" for name, items in factors.items()), std_lv=True)


def invariance_of_occasions(
    factors: Mapping[str, Sequence[str]],
    moments: Moments,
    occasions: Sequence[str],
    cutoffs: Cutoffs | None = None,
    largest_freed_share: float = 0.2,
    level: float = 0.95,
) -> Invariance:
    """Test invariance over occasions (raters, sessions) of the same clients.

    One sample with factors of every occasion; residuals of the same item are correlated over occasions (Vandenberg & Lance, 2000).

    Parameters
    ----------
    factors : mapping of str to sequence of str
        Items of each factor, without the occasion.
    moments : Moments
        With means; variables are called as :func:`variable` has it.
    occasions : sequence of str
        The first is the reference.
    cutoffs, largest_freed_share, level
        As in :func:`invariance_of_groups`.

    Raises
    ------
    ValueError
        Fewer than two occasions, or moments without means.
    """
    if len(occasions) < 2:
        raise ValueError("invariance needs at least two occasions")
    if moments.mean is None:
        raise ValueError("invariance needs means")
    factors = {name: tuple(items) for name, items in factors.items()}

    def model(step: str, loadings: frozenset[str], intercepts: frozenset[str]) -> StructuralModel:
        return parse_structural(_occasion_syntax(factors, tuple(occasions), step, loadings, intercepts), std_lv=True)

    def fit(step: str, loadings: frozenset[str], intercepts: frozenset[str]) -> StructuralFit:
        return fit_structural(model(step, loadings, intercepts), moments, mean_structure=True, level=level)

    def plan(step: str, loadings: frozenset[str], intercepts: frozenset[str]) -> Layout:
        return layout(model(step, loadings, intercepts), mean_structure=True)

    return _tested(_Models(fit, plan, factors, tuple(occasions)), cutoffs or Cutoffs(), largest_freed_share)


def _occasion_syntax(
    factors: Mapping[str, Sequence[str]], occasions: Sequence[str], step: str, loadings: frozenset[str], intercepts: frozenset[str]
) -> str:
    """Return the model of one step; all steps have the same terms in the same order."""
    equal = _EQUAL[step]

    def term(letter: str, item: str, name: str, released: bool) -> str:
        return name if released else f"{letter}.{item}*{name}"

    lines = []
    for place, occasion in enumerate(occasions):
        for factor, items in factors.items():
            own = variable(factor, occasion)
            measured = (term("l", item, variable(item, occasion), "loadings" not in equal or item in loadings) for item in items)
            lines.append(f"{own} =~ {' + '.join(measured)}")
            lines.append(f"{own} ~~ {'NA' if place and 'loadings' in equal else '1'}*{own}")
            lines.append(f"{own} ~ {'NA' if place and 'intercepts' in equal else '0'}*1")
    for item in dict.fromkeys(item for items in factors.values() for item in items):
        names = [variable(item, occasion) for occasion in occasions]
        lines += [f"{name} ~ {term('i', item, '1', 'intercepts' not in equal or item in intercepts)}" for name in names]
        lines += [f"{name} ~~ {term('r', item, name, 'residuals' not in equal)}" for name in names]
        lines += [f"{one} ~~ {other}" for first, one in enumerate(names) for other in names[first + 1 :]]
    return "\n".join(lines)


def _tested(models: _Models, cutoffs: Cutoffs, largest_freed_share: float) -> Invariance:
    """Go through the steps until one fails for good."""
    none: frozenset[str] = frozenset()
    steps = [_judged(CONFIGURAL, models.fit(CONFIGURAL, none, none), None, cutoffs)]
    loadings = intercepts = none
    for step in (METRIC, SCALAR, STRICT):
        before = steps[-1]
        if before.decision != HOLDS or (step == STRICT and before.model != SCALAR):
            steps.append(Step(step, NOT_ESTIMABLE, _why_not_tested(before)))
            break
        if step == SCALAR and loadings:
            steps.append(Step(SCALAR, NOT_ESTIMABLE, "not tested: loadings are equal only in part; see partial_scalar"))
        else:
            steps.append(_judged(step, models.fit(step, loadings, intercepts), before, cutoffs))
        full = steps[-1]
        if step in PARTIAL and (full.decision == FAILS or (step == SCALAR and loadings)):
            found = _partial(models, step, full, before, loadings, cutoffs, largest_freed_share)
            steps.append(found)
            freed = frozenset(one.item for one in found.freed)
            loadings, intercepts = (freed, none) if step == METRIC else (loadings, freed)
    return Invariance(tuple(steps), models.groups, models.factors, len(models.items))


def _why_not_tested(before: Step) -> str:
    if before.decision == HOLDS:
        return f"not tested: intercepts are equal only in part ({before.model})"
    return f"not tested: {before.model} {'fails' if before.decision == FAILS else 'is not estimable'}"


def _judged(model: str, fitted: StructuralFit, before: Step | None, cutoffs: Cutoffs, freed: tuple[Freed, ...] = ()) -> Step:
    """Return a fitted step with its decision; improper solutions and models without a maximum are not judged."""
    against = before.model if before else ""
    if fitted.status != "estimated":
        comparison = compare(fitted, before.fitted) if before and fitted.fit else None
        return Step(model, NOT_ESTIMABLE, fitted.reason, fitted, against, comparison, freed)
    if before is None:
        return Step(model, HOLDS, "", fitted)
    comparison = compare(fitted, before.fitted)
    if comparison.chi2 is None:
        return Step(model, NOT_ESTIMABLE, comparison.reason, fitted, against, comparison, freed)
    step = next((full for full, partial in PARTIAL.items() if partial == model), model)
    fails = fit_falls(step, comparison.delta_cfi, comparison.delta_rmsea, comparison.delta_srmr, cutoffs)
    alone = not fails and -comparison.delta_cfi >= cutoffs.cfi_drop - _ROUNDING
    note = f"CFI falls by {-comparison.delta_cfi:.3f}, but neither RMSEA nor SRMR rises by its cut-off" if alone else ""
    return Step(model, FAILS if fails else HOLDS, note, fitted, against, comparison, freed)


def _partial(
    models: _Models, step: str, full: Step, before: Step, loadings: frozenset[str], cutoffs: Cutoffs, largest_freed_share: float
) -> Step:
    """Free one parameter at a time, the one with the largest score test, until the step holds or no more may be freed.

    Items whose loadings are free keep free intercepts: where lines have different slopes, their origins are not comparable.
    """
    model, kind = PARTIAL[step], _KIND[step]
    allowed = int(largest_freed_share * len(models.items) + 1e-9)
    freed = tuple(Freed(kind, item) for item in models.items if step == SCALAR and item in loadings)

    def sets(items: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
        return (items, frozenset()) if step == METRIC else (loadings, items)

    now = full
    if freed:
        now = _judged(model, models.fit(step, *sets(frozenset(one.item for one in freed))), before, cutoffs, freed)
    while now.decision == FAILS and len(freed) < allowed:
        gone = frozenset(one.item for one in freed)
        candidates = [item for item in models.items if item not in gone and _may_go(models.factors, item, gone)]
        if not candidates:
            break
        tests = score_test(now.fitted, [models.plan(step, *sets(gone | {item})) for item in candidates])
        best = int(np.argmax([np.nan_to_num(chi2, nan=-1.0) for chi2, _ in tests]))
        chi2, df = tests[best]
        freed = (*freed, Freed(kind, candidates[best], chi2, df, float(chi_squared_p(chi2, df))))
        now = _judged(model, models.fit(step, *sets(gone | {candidates[best]})), before, cutoffs, freed)
    if now.model != model:
        limits = f"at most {largest_freed_share:.0%} of {len(models.items)} items, and {FEWEST_EQUAL} a factor stay equal"
        return Step(model, NOT_ESTIMABLE, f"no {kind} may be freed: {limits}")
    return now


def _may_go(factors: Mapping[str, Sequence[str]], item: str, gone: frozenset[str]) -> bool:
    """Return whether enough items of every factor stay equal without one more."""
    return all(len(set(items) - gone - {item}) >= FEWEST_EQUAL for items in factors.values() if item in items)
