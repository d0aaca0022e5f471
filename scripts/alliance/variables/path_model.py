"""A path model as it is configured: its syntax, and the groups of clients it is fitted to together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alliance.statistics.structural_model import Layout, StructuralModel, layout, parse_structural
from alliance.variables.checks import CLIENTS_PREFIX
from alliance.variables.path_models import definitions

_OF_MEANS = ("intercepts", "means")


@dataclass(frozen=True)
class PathModel(StructuralModel):
    """A structural model with the groups it is fitted to.

    Attributes
    ----------
    by : str
        Column of the clients table that tells the groups apart; empty for a model of all clients.
    groups : tuple of str
        Its values, in the order of labels and values by group; empty for a model of all clients.
    group_equal, group_partial : tuple of str
        What is equal over groups, and which terms are free all the same; see
        :func:`alliance.statistics.structural_model.layout`.
    """

    by: str = ""
    groups: tuple[str, ...] = ()
    group_equal: tuple[str, ...] = ()
    group_partial: tuple[str, ...] = ()

    @property
    def restricts_means(self) -> bool:
        """Whether it says more of means than that every group has its own."""
        return any(term.op == "~1" for term in self.terms) or any(name in _OF_MEANS for name in self.group_equal)


def path_model(section: Mapping[str, Any], name: str) -> PathModel:
    """Return a model of the configuration's section ``questions.path_models``.

    Parameters
    ----------
    section : mapping
    name : str

    Raises
    ------
    ModelSyntaxError
        With every fault of its syntax; what does not go with its groups is not among them, see :func:`plan`.
    """
    content = section["models"][name]
    parsed = parse_structural(content["syntax"], variables=sorted(definitions(section, name)))
    groups = content.get("groups") or {}
    return PathModel(
        **{field: getattr(parsed, field) for field in StructuralModel.__dataclass_fields__},
        by=str(groups.get("by", "")).removeprefix(CLIENTS_PREFIX),
        groups=tuple(groups.get("values", ())),
        group_equal=tuple(content.get("group_equal") or ()),
        group_partial=tuple(content.get("group_partial") or ()),
    )


def plan(model: StructuralModel, *, mean_structure: bool = False, fixed_x: bool = False) -> Layout:
    """Return the parameters of a configured model in each of its groups.

    Raises
    ------
    ModelSyntaxError
        As :func:`alliance.statistics.structural_model.layout`.
    """
    return layout(model, max(len(groups_of(model)), 1), mean_structure=mean_structure, fixed_x=fixed_x, **equalities(model))


def groups_of(model: StructuralModel) -> tuple[str, ...]:
    """Return the groups of a model, empty for a model of all clients."""
    return model.groups if isinstance(model, PathModel) else ()


def in_groups(model: StructuralModel) -> tuple[int, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return the number of groups of a model, and ``group_equal`` and ``group_partial``."""
    equal = equalities(model)
    return max(len(groups_of(model)), 1), (equal["group_equal"], equal["group_partial"])


def equalities(model: StructuralModel) -> dict[str, tuple[str, ...]]:
    """Return ``group_equal`` and ``group_partial`` of a model, by name."""
    if not isinstance(model, PathModel):
        return {"group_equal": (), "group_partial": ()}
    return {"group_equal": model.group_equal, "group_partial": model.group_partial}
