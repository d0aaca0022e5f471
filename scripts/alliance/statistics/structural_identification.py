"""Whether a structural model can be estimated at all, before there are data: feedback loops, parameters that no data tell apart."""

from __future__ import annotations

from collections.abc import Sequence

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


def not_identified(model: StructuralModel, groups: int = 1, group_equal: Sequence[str] = (), group_partial: Sequence[str] = ()) -> str:
    """Return why no data could tell the parameters apart, empty where they could.

    A model is locally identified where the derivatives of its implied moments by its parameters are linearly independent (Bollen,
    1989, chapter 8); they are taken at several random points, so that a model is refused only where they fail at all of them. Of one
    group the moments are covariances, of several means too.

    Parameters
    ----------
    model : StructuralModel
    groups : int
        Number of groups.
    group_equal, group_partial : sequence of str
        See :func:`alliance.statistics.structural_model.layout`.

    Raises
    ------
    ModelSyntaxError
        The model does not go with the groups.
    """
    plan = layout(model, groups, mean_structure=groups > 1, group_equal=group_equal, group_partial=group_partial)
    p = len(plan.observed)
    free, moments = len(plan.free_names), groups * (p * (p + 1) // 2 + (p if groups > 1 else 0))
    if free > moments:
        several = f" in {groups} groups" if groups > 1 else ""
        return f"it has {free} free parameters; {p} observed variables{several} allow {moments}"
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


def implied_moments(plan: Layout, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """Return means (G, p) and covariance matrices (G, p, p) that a model implies at random values of its parameters.

    None where the values are impossible together.
    """
    slots = slots_of(plan)
    at = _random_state(plan, slots, Parameters.of(plan), random)
    return None if at is None else (at.level[:, : slots.p], at.total[:, : slots.p, : slots.p])


def _slopes(plan: Layout, slots: Slots, parameters: Parameters, random: np.random.Generator) -> np.ndarray | None:
    """Return the derivatives of implied moments at a random point, shape (moments, free); None at an impossible point."""
    at = _random_state(plan, slots, parameters, random)
    if at is None:
        return None
    level, change = likelihood.moment_slopes(slots, at)
    blocks = []
    for own, mixed, of_means, of_covariances in zip(parameters.columns, parameters.mixing, level, change):
        by_slot = of_covariances[np.triu_indices(slots.p)]
        if plan.mean_structure:
            by_slot = np.concatenate([of_means, by_slot])
        whole = np.zeros((len(by_slot), parameters.count))
        whole[:, own] = by_slot @ mixed
        blocks.append(whole)
    return np.concatenate(blocks)


def _random_state(plan: Layout, slots: Slots, parameters: Parameters, random: np.random.Generator) -> State | None:
    variance = (slots.kind == COVARIANCES) & (slots.row == slots.col)
    groups, size = plan.column.shape
    drawn = []
    for _ in range(groups):
        wanted = np.where(slots.kind == PATHS, random.uniform(0.3, 0.7, size), random.uniform(-0.1, 0.1, size))
        wanted[variance] = random.uniform(1.0, 2.0, variance.sum())
        drawn.append(wanted)
    free = parameters.nearest(np.where(plan.column < 0, plan.constant, np.array(drawn)))
    p, everyone = len(plan.observed), np.arange(groups)
    unit = Units(np.ones(groups), everyone, np.tile(np.eye(p), (groups, 1, 1)), np.zeros((groups, p)), np.ones((groups, p), dtype=bool))
    return likelihood.state(slots, parameters.slots(free), unit, plan.mean_structure)
