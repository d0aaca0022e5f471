"""How two structural models of the same variables relate: the same fit whatever the data, one nested in the other, or neither."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np

from alliance.statistics.structural_fit import Moments, fit_structural
from alliance.statistics.structural_identification import implied_covariance
from alliance.statistics.structural_model import StructuralModel, layout, parse_structural

Relation = Literal["equivalent", "nested", "contains", "different"]

_CLIENTS = 1000
_SAME = 1e-6
_POINTS = 3


def relation(first: StructuralModel, second: StructuralModel) -> Relation:
    """Return how two models relate, by what they can imply (Bentler & Satorra, 2010).

    ``equivalent``: they imply the same covariance matrices, so that no data can tell them apart; ``nested``: all that the first implies
    the second can imply too; ``contains``: the other way round; ``different``: neither. The model with more degrees of freedom is put at
    several random values of its parameters, and the other one is fitted to what it implies there. Where the other one is not identified at
    what the first implies (one factor within a bifactor model) they count as different: a difference of their chi-squares has no
    chi-square distribution.

    Parameters
    ----------
    first, second : StructuralModel
        For one group, with the same observed variables.

    Raises
    ------
    ValueError
        The models have different observed variables.
    """
    if set(first.observed) != set(second.observed):
        raise ValueError("the models have different observed variables")
    sizes = [len(layout(model).free_names) for model in (first, second)]
    if sizes[0] > sizes[1]:
        return "contains" if _can_imply(first, second) else "different"
    if not _can_imply(second, first):
        return "different"
    return "nested" if sizes[0] < sizes[1] else "equivalent"


def scale_invariant(model: StructuralModel) -> bool:
    """Return whether a model says the same whatever the units of its observed variables.

    Coefficients set equal or fixed (other than at zero, or to give a factor its unit) often hold in one unit only; such a model, fitted to
    correlations, is another model than the one fitted to covariances (Cudeck, 1989). What the model implies at random values of its
    parameters is put in other units, and the model is fitted to it.

    Parameters
    ----------
    model : StructuralModel
        For one group.
    """
    random = np.random.default_rng(1989)
    for _ in range(_POINTS):
        covariance = implied_covariance(model, random)
        units = random.uniform(0.5, 2.0, len(model.observed))
        if covariance is None:
            continue
        moments = Moments(_CLIENTS, covariance * np.outer(units, units) * _CLIENTS / (_CLIENTS - 1), None, model.observed)
        fitted = fit_structural(model, moments)
        if fitted.fit is None or fitted.fit.chi2 / _CLIENTS > _SAME:
            return False
    return True


@cache
def scale_invariant_of(syntax: str) -> bool:
    """Return :func:`scale_invariant` of a model as text."""
    return scale_invariant(parse_structural(syntax))


@cache
def relation_of(first: str, second: str) -> Relation:
    """Return :func:`relation` of two models as text."""
    return relation(parse_structural(first), parse_structural(second))


def _can_imply(large: StructuralModel, small: StructuralModel) -> bool:
    random = np.random.default_rng(2010)
    for _ in range(_POINTS):
        covariance = implied_covariance(small, random)
        if covariance is None:
            continue
        fitted = fit_structural(large, Moments(_CLIENTS, covariance * _CLIENTS / (_CLIENTS - 1), None, small.observed))
        if fitted.fit is None or fitted.fit.chi2 / _CLIENTS > _SAME:
            return False
    return True
