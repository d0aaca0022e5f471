"""Indirect effects of structural models: which defined parameters they are, Monte Carlo intervals, and unmeasured confounding."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from alliance.statistics.model_syntax import expression
from alliance.statistics.structural_fit import StructuralFit, StructuralModel
from alliance.statistics.structural_resampling import Bootstrap, outputs

__all__ = ["Confounding", "EValue", "IndirectEffect", "confounding", "e_value", "indirect_effects", "monte_carlo"]

# Log risk ratio a standard deviation of a normal outcome amounts to (Chinn, 2000; VanderWeele & Ding, 2017).
LOG_RISK_RATIO = 0.91
_ROUNDING = 1e-12


@dataclass(frozen=True)
class IndirectEffect:
    """A defined parameter that is a product of paths in a row, or a sum of such products with the same ends.

    Attributes
    ----------
    name : str
    chains : tuple of tuple of str
        The variables of each product, cause first: ``("empathy", "alliance", "outcome")``.
    labels : tuple of tuple of str
        The labels of each product's paths, in the same order.
    """

    name: str
    chains: tuple[tuple[str, ...], ...]
    labels: tuple[tuple[str, ...], ...]

    @property
    def cause(self) -> str:
        return self.chains[0][0]

    @property
    def outcome(self) -> str:
        return self.chains[0][-1]

    @property
    def mediators(self) -> tuple[str, ...]:
        """Variables between cause and outcome, in the order of the chains."""
        return tuple(dict.fromkeys(name for chain in self.chains for name in chain[1:-1]))


@dataclass(frozen=True)
class Confounding:
    """How strong unmeasured confounding of one path that follows a mediator would have to be.

    Attributes
    ----------
    mediator, outcome : str
        The ends of the path.
    rho : float
        Correlation of the residuals of mediator and outcome at which the path, and with it the indirect effect, is zero.
    rho_low, rho_high : float
        Correlations between which the interval of the indirect effect includes zero; NaN where nothing was resampled, or infinite where
        it does for any.
    """

    mediator: str
    outcome: str
    rho: float
    rho_low: float
    rho_high: float


@dataclass(frozen=True)
class EValue:
    """E-value of an effect and of the limit of its interval that is nearer to none.

    Attributes
    ----------
    risk_ratio : float
        The approximate risk ratio.
    estimate, limit : float
        ``limit`` is 1 where the interval includes no effect.
    """

    risk_ratio: float
    estimate: float
    limit: float


def indirect_effects(model: StructuralModel) -> tuple[IndirectEffect, ...]:
    """Return the defined parameters that are indirect effects, in the order in which they are defined.

    Expressions may refer to earlier defined parameters (``total_indirect := ab + cd``). What holds a direct path too (a total effect),
    a difference, a number or a function is none.
    """
    paths: dict[str, list[tuple[str, str]]] = {}
    groups: dict[str, set[int]] = {}
    for term in model.terms:
        for group, label in enumerate(term.labels):
            if term.op == "~" and label:
                if (term.rhs, term.lhs) not in paths.setdefault(label, []):
                    paths[label].append((term.rhs, term.lhs))
                groups.setdefault(label, set()).update(range(100) if len(term.labels) == 1 else [group])
    expanded: dict[str, list[tuple[str, ...]] | None] = {}
    found = []
    for item in model.defined:
        products = expanded[item.name] = _products(expression(item.expression), expanded)
        if not products:
            continue
        chains = []
        for product in products:
            together = set.intersection(*(groups.get(label, set()) for label in product)) if product else set()
            chains.append(_chain(product, paths) if together and len(product) > 1 else None)
        if any(chain is None for chain in chains) or len({(chain[0][0], chain[0][-1]) for chain in chains}) > 1:
            continue
        found.append(IndirectEffect(item.name, tuple(chain[0] for chain in chains), tuple(chain[1] for chain in chains)))
    return tuple(found)


def _products(node: ast.expr, expanded: dict[str, list[tuple[str, ...]] | None]) -> list[tuple[str, ...]] | None:
    """Return an expression as a sum of products of labels, None where it is none."""
    if isinstance(node, ast.Name):
        return expanded.get(node.id, [(node.id,)])
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Add | ast.Mult):
        return None
    left, right = _products(node.left, expanded), _products(node.right, expanded)
    if left is None or right is None:
        return None
    return left + right if isinstance(node.op, ast.Add) else [one + other for one in left for other in right]


def _chain(product: Sequence[str], paths: dict[str, list[tuple[str, str]]]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return the variables and labels of a product of paths in a row, None where they make none."""

    def follow(variables: tuple[str, ...], labels: tuple[str, ...], left: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
        if not left:
            return variables, labels
        for index, label in enumerate(left):
            for start, end in paths[label]:
                if (not variables or start == variables[-1]) and end not in variables:
                    whole = follow((variables or (start,)) + (end,), (*labels, label), left[:index] + left[index + 1 :])
                    if whole is not None:
                        return whole
        return None

    return follow((), (), list(product))


def monte_carlo(
    fitted: StructuralFit,
    random: np.random.Generator,
    *,
    vcov: pd.DataFrame | None = None,
    df: float = np.inf,
    draws: int = 20000,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return Monte Carlo intervals of defined parameters (MacKinnon, Lockwood & Williams, 2004).

    The free parameters are drawn from the normal with their estimated covariance, or from the multivariate t; raw and standardised values
    are computed in every draw.

    Parameters
    ----------
    fitted : StructuralFit
    random : numpy.random.Generator
        From :func:`alliance.statistics.resampling.generator`.
    vcov : DataFrame, optional
        Covariance of the free parameters in place of the fit's, as ``vcov`` of a jackknife.
    df : float
        Degrees of freedom of the t; infinite for the normal.
    draws : int
        Number of draws.
    level : float
        Confidence level.

    Returns
    -------
    DataFrame
        ``name, ci_low, ci_high, standardized_low, standardized_high``, one row a defined parameter; NaN where not estimable.
    """
    defined = (fitted.parameters["op"] == ":=").to_numpy()
    table = pd.DataFrame({"name": fitted.parameters.loc[defined, "lhs"].to_numpy()})
    limits = np.full((2, 2, len(table)), np.nan)
    found = fitted._solution
    covariance = (fitted.vcov if vcov is None else vcov).to_numpy(dtype=float)
    if found is not None and np.isfinite(covariance).all():
        size, directions = np.linalg.eigh(covariance / np.outer(found.free_scale, found.free_scale))
        noise = random.standard_normal((draws, size.size))
        if np.isfinite(df):
            noise *= np.sqrt(df / random.chisquare(df, size=draws))[:, None]
        # A covariance from few clusters is singular: beyond rounding, its other directions say nothing.
        deviation = np.sqrt(np.where(size > _ROUNDING * size[-1], size, 0.0))
        # The symmetric root is the same whichever way round the directions are given, which rounding decides.
        values = outputs(fitted, found.free + noise @ (directions * deviation @ directions.T))
        tail = (1 - level) / 2
        for form, drawn in enumerate(values[:2]):
            for column, one in enumerate(drawn[:, defined].T):
                finite = one[np.isfinite(one)]
                if finite.size:
                    limits[form, :, column] = np.quantile(finite, [tail, 1 - tail])
    (table["ci_low"], table["ci_high"]), (table["standardized_low"], table["standardized_high"]) = limits
    return table


def confounding(
    model: StructuralModel,
    fitted: StructuralFit,
    effect: IndirectEffect,
    drawn: Bootstrap | None = None,
    *,
    group: int = 0,
    level: float = 0.95,
) -> tuple[Confounding, ...]:
    """Return how strongly residuals of mediator and outcome would have to correlate to explain an indirect effect away.

    Imai, Keele & Yamamoto (2010, theorem 4): with a correlation rho of the two residuals the path from mediator to outcome is
    ``s_y / s_m (r - rho sqrt((1 - r^2) / (1 - rho^2)))``, where r, s_m and s_y are correlation and standard deviations of mediator and
    outcome given the causes of both (without the mediator); it is zero at ``rho = r``. Where the outcome has causes that the mediator
    itself brings about, the same argument gives ``r = t / sqrt(1 + t^2)`` with ``t = b s_m / s``: b the path, s_m the standard deviation
    of the mediator given causes that do not depend on it, s that of the outcome given all its causes; without such causes the two are
    the same. Taken from the covariances that the model implies, so that missing values are treated as in the fit.

    Parameters
    ----------
    model : StructuralModel
    fitted : StructuralFit
    effect : IndirectEffect
        From :func:`indirect_effects`.
    drawn : Bootstrap, optional
        Resamples of the same fit, for the range of rho in which the percentile interval of the indirect effect includes zero.
    group : int
        Which group's covariances count.
    level : float
        Confidence level of the interval.

    Returns
    -------
    tuple of Confounding
        One for every path of the chains that begins at a mediator.
    """
    found = fitted._solution
    if found is None:
        return ()
    everyone = [*found.layout.observed, *found.layout.latent]
    whole = outputs(fitted, found.free[None])[2][:, group]
    results = []
    for mediator, outcome in dict.fromkeys(pair for chain in effect.chains for pair in pairwise(chain[1:])):
        causes = [term.rhs for term in model.terms if term.op == "~" and term.lhs in (mediator, outcome) and term.rhs != mediator]
        later = _later(model, mediator)
        order = [mediator, outcome, *sorted(dict.fromkeys(causes), key=lambda name: name in later)]
        places, before_it = [everyone.index(name) for name in order], sum(name not in later for name in order[2:])
        rho = float(_explaining(whole, places, before_it)[0])
        low = high = np.nan
        if drawn is not None and len(drawn.covariances) and len(effect.chains) == 1:
            before = list(pairwise(effect.chains[0])).index((mediator, outcome))
            others = [label for index, label in enumerate(effect.labels[0]) if index != before]
            sign = np.sign(drawn.draws[others].to_numpy(dtype=float)).prod(axis=1)
            low, high = _zero_range(_explaining(drawn.covariances[:, group], places, before_it), sign, level)
        results.append(Confounding(mediator, outcome, rho, low, high))
    return tuple(results)


def _later(model: StructuralModel, cause: str) -> set[str]:
    """Return the variables that depend on one of them."""
    effects = [(term.rhs, term.lhs) for term in model.terms if term.op == "~"]
    effects += [(term.lhs, term.rhs) for term in model.terms if term.op == "=~"]
    found, left = set(), [cause]
    while left:
        name = left.pop()
        fresh = {end for start, end in effects if start == name} - found
        found |= fresh
        left.extend(fresh)
    return found


def _explaining(covariances: np.ndarray, places: Sequence[int], before: int) -> np.ndarray:
    """Return the correlation of the residuals at which the path between the first two variables is zero, shape (b, m, m) to (b,).

    The other variables are the causes of both; the first ``before`` of them do not depend on the mediator.
    """
    s = covariances[:, places][:, :, places]
    slopes = np.linalg.solve(np.delete(np.delete(s, 1, 1), 1, 2), np.delete(s[:, :, 1], 1, 1)[..., None])[..., 0]
    rest = s[:, 1, 1] - (slopes * np.delete(s[:, :, 1], 1, 1)).sum(axis=1)
    cross = s[:, 2 : 2 + before, 0]
    own = s[:, 0, 0] - (cross * np.linalg.solve(s[:, 2 : 2 + before, 2 : 2 + before], cross[..., None])[..., 0]).sum(axis=1)
    path = slopes[:, 0] * np.sqrt(own)
    return path / np.sqrt(path**2 + rest)


def _zero_range(r: np.ndarray, sign: np.ndarray, level: float) -> tuple[float, float]:
    """Return the values of rho at which an effect with the sign of ``sign (r - rho)`` is not clearly positive or negative.

    The share of draws in which it is negative changes by one draw at every r, so that the range is between order statistics.
    """
    tail = (1 - level) / 2
    order = np.argsort(r, kind="stable")
    # Just above the k-th smallest r the draws up to it have turned their sign.
    turned = np.r_[0, np.cumsum(sign[order])]
    negative = ((sign < 0).sum() + turned) / len(r)
    open_ = np.flatnonzero((negative > tail) & (negative < 1 - tail))
    edges = np.r_[-np.inf, r[order], np.inf]
    if not open_.size:
        return np.nan, np.nan
    return float(edges[open_[0]]), float(edges[open_[-1] + 1])


def e_value(standardized: float, low: float, high: float) -> EValue:
    """Return the E-value of a standardised coefficient and of its confidence limit (VanderWeele & Ding, 2017).

    How strongly, as a risk ratio, an unmeasured confounder would have to be associated with both cause and outcome to explain the
    coefficient away: ``RR + sqrt(RR (RR - 1))``, with the approximation ``RR = exp(0.91 d)`` for the difference d in standard deviations
    of the outcome that one standard deviation of the cause makes.

    Parameters
    ----------
    standardized, low, high : float
        Coefficient and limits of its interval, in standard deviations.
    """
    ratio = float(np.exp(LOG_RISK_RATIO * standardized))
    nearer = low if standardized > 0 else high
    limit = 1.0 if low <= 0 <= high else risk_ratio_e_value(float(np.exp(LOG_RISK_RATIO * nearer)))
    return EValue(ratio, risk_ratio_e_value(ratio), limit)


def risk_ratio_e_value(ratio: float) -> float:
    """Return the E-value of a risk ratio; below 1 that of its inverse."""
    ratio = max(ratio, 1 / ratio)
    return float(ratio + np.sqrt(ratio * (ratio - 1)))
