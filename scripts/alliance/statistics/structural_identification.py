"""Whether a structural model can be estimated at all, before there are data: feedback loops, parameters that no data tell apart."""

from __future__ import annotations

import numpy as np

from alliance.statistics import structural_likelihood as likelihood
from alliance.statistics.structural_likelihood import COVARIANCES, PATHS, Slots, State, Units
from alliance.statistics.structural_model import Layout, StructuralModel, layout
from alliance.statistics.structural_optimum import Parameters, slots_of

_POINTS = 3
_RANK = 1e-9


def feedback_loop(model: StructuralModel) -> tuple[str, ...]:
    """Return the variables of a loop of regressions, as ``("a", "b", "a")``; empty where there is none."""
    causes: dict[str, list[str]] = {}
    for term in model.terms:
        if term.op == "~":
            causes.setdefault(term.lhs, []).append(term.rhs)
    done: set[str] = set()

    def search(name: str, trail: tuple[str, ...]) -> tuple[str, ...]:
        if name in trail:
            return (*trail[trail.index(name) :], name)
        if name in done:
            return ()
        for cause in causes.get(name, ()):
            found = search(cause, (*trail, name))
            if found:
                return found
        done.add(name)
        return ()

    for name in causes:
        loop = search(name, ())
        if loop:
            return tuple(reversed(loop))
    return ()


def not_identified(model: StructuralModel) -> str:
    """Return why no data could tell the parameters apart, empty where they could.

    A model is locally identified where the derivatives of its implied covariances by its parameters are linearly independent (Bollen,
    1989, chapter 8); they are taken at several random points, so that a model is refused only where they fail at all of them.

    Parameters
    ----------
    model : StructuralModel
        For one group.
    """
    plan = layout(model)
    p = len(plan.observed)
    free, moments = len(plan.free_names), p * (p + 1) // 2
    if free > moments:
        return f"it has {free} free parameters; {p} observed variables allow {moments}"
    slots, parameters = slots_of(plan), Parameters.of(plan)
    random = np.random.default_rng(1989)
    weakest = None
    for _ in range(_POINTS):
        slopes = _slopes(plan, slots, parameters, random)
        if slopes is None:
            continue
        size = np.linalg.norm(slopes, axis=0)
        _, values, directions = np.linalg.svd(slopes / np.where(size > 0, size, 1.0), full_matrices=False)
        if values[-1] > _RANK * values[0] and size.min() > 0:
            return ""
        weakest = np.abs(directions[-1])
    if weakest is None:
        return ""
    involved = [plan.free_names[index] for index in np.flatnonzero(weakest > 0.1 * weakest.max())]
    return f"no data could tell these parameters apart: {', '.join(involved)}"


def implied_covariance(model: StructuralModel, random: np.random.Generator) -> np.ndarray | None:
    """Return the covariance matrix that a model implies at random values of its parameters, in the order of ``model.observed``.

    None where the values are impossible together.
    """
    plan = layout(model)
    slots, parameters = slots_of(plan), Parameters.of(plan)
    at = _random_state(plan, slots, parameters, random)
    return None if at is None else at.total[0, : slots.p, : slots.p]


def _slopes(plan: Layout, slots: Slots, parameters: Parameters, random: np.random.Generator) -> np.ndarray | None:
    """Return the derivatives of implied covariances at a random point, shape (moments, free); None at an impossible point."""
    at = _random_state(plan, slots, parameters, random)
    if at is None:
        return None
    by_slot = likelihood.moment_slopes(slots, at)[1][0]
    return by_slot[np.triu_indices(slots.p)] @ _mixing(parameters, slots.kind.size)


def _random_state(plan: Layout, slots: Slots, parameters: Parameters, random: np.random.Generator) -> State | None:
    variance = (slots.kind == COVARIANCES) & (slots.row == slots.col)
    wanted = np.where(slots.kind == PATHS, random.uniform(0.3, 0.7, slots.kind.size), random.uniform(-0.1, 0.1, slots.kind.size))
    wanted[variance] = random.uniform(1.0, 2.0, variance.sum())
    fixed = plan.column[0] < 0
    free = parameters.nearest(np.where(fixed, plan.constant[0], wanted)[None])
    p = len(plan.observed)
    unit = Units(np.ones(1), np.zeros(1, dtype=int), np.eye(p)[None], np.zeros((1, p)), np.ones((1, p), dtype=bool))
    return likelihood.state(slots, parameters.slots(free), unit, False)


def _mixing(parameters: Parameters, slots: int) -> np.ndarray:
    whole = np.zeros((slots, parameters.count))
    whole[:, parameters.columns[0]] = parameters.mixing[0]
    return whole
