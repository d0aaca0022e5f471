"""How two structural models of the same variables relate: the same fit whatever the data, one nested in the other, or neither."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

import numpy as np

from alliance.statistics.structural_fit import Moments, chi_squared
from alliance.statistics.structural_identification import implied_moments
from alliance.statistics.structural_model import Layout, StructuralModel, layout, parse_structural

Relation = Literal["equivalent", "nested", "contains", "different"]
Equalities = tuple[tuple[str, ...], tuple[str, ...]]

NOTHING_EQUAL: Equalities = ((), ())

_CLIENTS = 1000
_SAME = 1e-6
_POINTS = 3


def relation(
    first: StructuralModel,
    second: StructuralModel,
    groups: int = 1,
    equal: tuple[Equalities, Equalities] = (NOTHING_EQUAL, NOTHING_EQUAL),
) -> Relation:
    """Return how two models relate, by what they can imply (Bentler & Satorra, 2010).

    ``equivalent``: they imply the same covariance matrices, so that no data can tell them apart; ``nested``: all that the first implies
    the second can imply too; ``contains``: the other way round; ``different``: neither. The model with more degrees of freedom is put at
    several random values of its parameters, and the other one is fitted to what it implies there. Where the other one is not identified at
    what the first implies (one factor within a bifactor model) they count as different: a difference of their chi-squares has no
    chi-square distribution. With several groups the moments are covariances and means.

    Parameters
    ----------
    first, second : StructuralModel
        With the same observed variables.
    groups : int
        Number of groups.
    equal : tuple
        For each model ``group_equal`` and ``group_partial``, see :func:`alliance.statistics.structural_model.layout`.

    Raises
    ------
    ValueError
        The models have different observed variables.
    """
    if set(first.observed) != set(second.observed):
        raise ValueError("the models have different observed variables")
    one, other = _Restricted(first, groups, *equal[0]), _Restricted(second, groups, *equal[1])
    if one.size > other.size:
        return "contains" if _can_imply(one, other) else "different"
    if not _can_imply(other, one):
        return "different"
    return "nested" if one.size < other.size else "equivalent"


def scale_invariant(model: StructuralModel, groups: int = 1, equal: Equalities = NOTHING_EQUAL) -> bool:
    """Return whether a model says the same whatever the units of its observed variables.

    Coefficients set equal or fixed (other than at zero, or to give a factor its unit) often hold in one unit only; such a model, fitted to
    correlations, is another model than the one fitted to covariances (Cudeck, 1989). What the model implies at random values of its
    parameters is put in other units, the same in all groups, and the model is fitted to it.

    Parameters
    ----------
    model : StructuralModel
    groups : int
        Number of groups.
    equal : tuple
        ``group_equal`` and ``group_partial``.
    """
    random = np.random.default_rng(1989)
    restricted = _Restricted(model, groups, *equal)
    for _ in range(_POINTS):
        implied = restricted.implied(random)
        units = random.uniform(0.5, 2.0, len(model.observed))
        if implied is None:
            continue
        if not restricted.fits(implied[0] * units, implied[1] * np.outer(units, units), model.observed):
            return False
    return True


@dataclass(frozen=True)
class _Restricted:
    """A model for some groups, with what is equal over them."""

    model: StructuralModel
    groups: int
    group_equal: tuple[str, ...]
    group_partial: tuple[str, ...]

    @cached_property
    def plan(self) -> Layout:
        means, equal = self.groups > 1, {"group_equal": self.group_equal, "group_partial": self.group_partial}
        return layout(self.model, self.groups, mean_structure=means, **equal)

    @property
    def size(self) -> int:
        return len(self.plan.free_names)

    def implied(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
        return implied_moments(self.plan, random)

    def fits(self, means: np.ndarray, covariances: np.ndarray, names: tuple[str, ...]) -> bool:
        """Return whether the model can imply these moments."""
        moments = [
            Moments(_CLIENTS, one * _CLIENTS / (_CLIENTS - 1), level if self.groups > 1 else None, names)
            for level, one in zip(means, covariances)
        ]
        found = chi_squared(self.plan, moments)
        return found is not None and found / (_CLIENTS * self.groups) <= _SAME


@cache
def scale_invariant_of(syntax: str, groups: int = 1, equal: Equalities = NOTHING_EQUAL) -> bool:
    """Return :func:`scale_invariant` of a model as text."""
    return scale_invariant(parse_structural(syntax), groups, equal)


@cache
def relation_of(
    first: str, second: str, groups: int = 1, equal: tuple[Equalities, Equalities] = (NOTHING_EQUAL, NOTHING_EQUAL)
) -> Relation:
    """Return :func:`relation` of two models as text."""
    return relation(parse_structural(first), parse_structural(second), groups, equal)


def _can_imply(large: _Restricted, small: _Restricted) -> bool:
    random = np.random.default_rng(2010)
    for _ in range(_POINTS):
        implied = small.implied(random)
        if implied is not None and not large.fits(*implied, small.model.observed):
            return False
    return True
