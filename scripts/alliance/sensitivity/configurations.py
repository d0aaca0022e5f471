"""Whether the configurations that a multiverse makes hold together: every option, and options of two nodes at once.

Checks compare two keys at most, so that pairs of options find what only combinations break. Each pair is checked in the first combination
that holds it and that no rule removes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from alliance.configuration.errors import ConfigurationError
from alliance.configuration.options import MULTIVERSE, merge
from alliance.configuration.strict_yaml import KeyPath
from alliance.sensitivity.specifications import removes, rules_of, within
from alliance.sensitivity.targets import TARGETS

Found = tuple[tuple[Any, ...], str]
Options = tuple[tuple[str, str], ...]
"""Options that are not the first of their nodes, as pairs of node and option."""

UNCHANGED = "changes nothing, config.yaml says so already: rename the first option to this one, or take this one out"


@dataclass(frozen=True)
class Checked:
    """What makes and checks configurations.

    Attributes
    ----------
    raw : mapping
        What the configuration file holds.
    base : mapping
        The same, resolved.
    lines : mapping
        Line of every key of the file.
    resolve : callable
        Returns a resolved configuration, or raises :class:`ConfigurationError`; takes the lines of keys, by which faults are named.
    checks : callable
        Returns the faults of a resolved configuration as (path, message).
    """

    raw: Mapping[str, Any]
    base: Mapping[str, Any]
    lines: Mapping[KeyPath, int]
    resolve: Callable[[dict[str, Any], dict[KeyPath, int]], dict[str, Any]]
    checks: Callable[[Mapping[str, Any]], list[Found]]


def faults_of_configurations(checked: Checked) -> Iterator[Found]:
    """Yield the faults of the configurations that options make, as (path in the configuration file, message).

    Parameters
    ----------
    checked : Checked
        Of a configuration whose grids have no faults by themselves (:func:`alliance.sensitivity.specifications.faults`).
    """
    of_base = set(checked.checks(checked.base))
    for name, grid in checked.base[MULTIVERSE]["grids"].items():
        yield from _Grid(checked, of_base, name, grid).faults()


class _Grid:
    """The configurations of one grid."""

    def __init__(self, checked: Checked, of_base: set[Found], name: str, grid: Mapping[str, Any]) -> None:
        self.checked, self.of_base = checked, of_base
        self.bare = {key: value for key, value in checked.raw.items() if key != MULTIVERSE}
        self.base = {key: value for key, value in checked.base.items() if key != MULTIVERSE}
        self.path = (MULTIVERSE, "grids", name, "nodes")
        self.nodes: Mapping[str, Mapping[str, Any]] = grid["nodes"]
        self.allowed = TARGETS[name].allowed
        self.first = {node: next(iter(options)) for node, options in self.nodes.items()}
        self.rules = rules_of(grid)
        self.alone: dict[tuple[str, str], dict[str, Any]] = {}

    def faults(self) -> Iterator[Found]:
        every = [(node, option) for node, options in self.nodes.items() for option in options if option != self.first[node]]
        refused = set()
        for one in every:
            found = self._of((one,))
            if one in self.alone and {**self.alone[one], MULTIVERSE: None} == {**self.base, MULTIVERSE: None}:
                yield (*self.path, *one), UNCHANGED
                refused.add(one)
            # An option that rules let stand beside others only is checked with these.
            elif found and not self._removed((one,)):
                refused.add(one)
                yield from (((*self.path, *one, *path), message) for path, message in sorted(found, key=str))
        told: set[tuple[Options, str]] = set()
        for first, second in itertools.combinations([one for one in every if one not in refused], 2):
            if first[0] == second[0]:
                continue
            remaining = self._remaining((first, second))
            if remaining is None or set(remaining) & refused:
                continue
            for path, message in sorted(self._of(remaining), key=str):
                clash = self._needed(remaining, (path, message))
                if (clash, message) not in told:
                    told.add((clash, message))
                    yield self._told(clash, path, message)

    def _told(self, clash: Options, path: tuple[Any, ...], message: str) -> Found:
        """Return a fault of some options together: where the last of them stands, and the rule that would remove the combination."""
        *others, last = clash
        if not others:
            return (*self.path, *last, *path), message
        beside = " and ".join(f"{node}={option}" for node, option in others)
        rule = ", ".join(f"{node}: {option}" for node, option in clash)
        key = ".".join(map(str, path))
        return (
            (*self.path, *last),
            f"does not go with {beside} ({key}: {message}); take one of them out, or remove the combination by a rule below `exclude:`, "
            f'as - {{when: {{{rule}}}, reason: "..."}}',
        )

    def _removed(self, options: Options) -> bool:
        return removes(self.rules, {**self.first, **dict(options)})

    def _remaining(self, pair: Options) -> Options | None:
        """Return the options of the first combination that holds a pair and that no rule removes; None where all are removed."""
        fixed = dict(pair)
        if any(set(when) <= set(fixed) and all(fixed[node] in wanted for node, wanted in when.items()) for when in self.rules):
            return None
        each = [[fixed[node]] if node in fixed else list(options) for node, options in self.nodes.items()]
        for combination in itertools.product(*each):
            choices = dict(zip(self.nodes, combination))
            if not removes(self.rules, choices):
                return tuple((node, option) for node, option in choices.items() if option != self.first[node])
        return None

    def _needed(self, options: Options, fault: Found) -> Options:
        """Return the options without which a fault would not be there."""
        needed = options
        for one in options:
            fewer = tuple(other for other in needed if other != one)
            if fewer and fault in self._of(fewer):
                needed = fewer
        return needed

    def _of(self, options: Options) -> set[Found]:
        """Return the faults of a configuration that the file as it stands does not have."""
        parts = [part for one in options for part in _parts(self.nodes[one[0]][one[1]])]
        if len(options) > 1 and len(set(parts)) == len(parts) and all(one in self.alone for one in options):
            return self._faults_of(self._joined(options))
        changes: dict[str, Any] = {}
        lines: dict[KeyPath, int] = {}
        for one in options:
            changes = merge(changes, self.nodes[one[0]][one[1]])
            above = (*self.path, *one)
            lines |= {at[len(above) :]: line for at, line in self.checked.lines.items() if at[: len(above)] == above}
        try:
            made = self.checked.resolve(merge(self.bare, changes), lines)
        except ConfigurationError as error:
            return {(tuple(fault.key.split(".")) if fault.key else (), fault.message) for fault in error.faults}
        if len(options) == 1:
            self.alone[options[0]] = made
        return self._faults_of(made)

    def _faults_of(self, configuration: Mapping[str, Any]) -> set[Found]:
        """Return faults of what the effect reads; other questions are not asked under these options."""
        found = set(self.checked.checks(configuration)) - self.of_base
        return {(path, message) for path, message in found if within(".".join(map(str, path)), self.allowed)}

    def _joined(self, options: Options) -> dict[str, Any]:
        """Return the configuration of options that change different sections, from those of the options alone."""
        made = {**self.base, "questions": {**self.base["questions"]}}
        for one in options:
            for section, *rest in _parts(self.nodes[one[0]][one[1]]):
                if rest:
                    made[section][rest[0]] = self.alone[one][section][rest[0]]
                else:
                    made[section] = self.alone[one][section]
        return made


def _parts(changes: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the sections that changes concern, each question by itself."""
    own = [(section,) for section in changes if section != "questions"]
    questions = changes.get("questions", {})
    return [*own, *(("questions", name) for name in questions)]
