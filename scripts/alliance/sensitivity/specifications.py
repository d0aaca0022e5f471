"""From the nodes of a multiverse to its specifications: every combination of choices that no rule removes.

A choice is a set of changes of ``config.yaml``, as in a scenario, so that every specification is a whole configuration; the first choice of
each node changes nothing. What a specification asks of a site and what it asks of the pooling are kept apart: sites answer each
different request once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alliance.configuration.errors import nearest, similar
from alliance.configuration.options import merge, restrict
from alliance.files import canonical_json, digest
from alliance.sensitivity.targets import SCORING, TARGETS, Target

MOST_SPECIFICATIONS = 20_000
MOST_DRAWS = 800_000
"""Flipped scores that one file of a site's summary holds."""

Fault = tuple[tuple[str, ...], str]
_SWITCHES = frozenset(f"{read}.enabled" for target in TARGETS.values() for read in target.reads if read.startswith("questions."))


@dataclass(frozen=True)
class Specification:
    """One combination of choices.

    Attributes
    ----------
    number : int
        From 1 in the order of the nodes; 1 is the configuration as it stands. Removed combinations keep their numbers.
    choices : dict of str to str
        Option by node.
    changes : dict
        What it changes of ``config.yaml``.
    site_key : str
        Digest of what it asks of a site; equal for specifications that differ in the pooling alone.
    """

    number: int
    choices: dict[str, str]
    changes: dict[str, Any]
    site_key: str

    @property
    def words(self) -> str:
        """The choices as text."""
        return "; ".join(f"{node}={option}" for node, option in self.choices.items())


@dataclass(frozen=True)
class Removed:
    """A rule and the combinations that it removed.

    Attributes
    ----------
    when : dict of str to list of str
    reason : str
    count : int
        Combinations that this rule is the first to remove.
    """

    when: dict[str, list[str]]
    reason: str
    count: int

    @property
    def words(self) -> str:
        """The rule as text."""
        return " and ".join(f"{node}={' or '.join(options)}" for node, options in self.when.items())


@dataclass(frozen=True)
class Multiverse:
    """The specifications of one effect.

    Attributes
    ----------
    target : Target
    nodes : dict of str to list of str
        Options by node.
    specifications : list of Specification
    removed : list of Removed
    changes : dict of str to dict
        What every option changes, by node.
    requests : dict of str to dict
        What sites are asked, by ``site_key``: ``options`` (the keys the target reads) and ``scoring``.
    """

    target: Target
    nodes: dict[str, list[str]]
    changes: dict[str, dict[str, dict[str, Any]]]
    specifications: list[Specification]
    removed: list[Removed]
    requests: dict[str, dict[str, Any]]

    def pool_options(self, options: Mapping[str, Any], specification: Specification) -> dict[str, Any]:
        """Return what the pooling of a specification reads."""
        read = restrict(dict(options), self.target.pool_reads)
        return restrict(merge(read, specification.changes), self.target.pool_reads)


def options_of(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the multiverse reads of a resolved configuration: its own section and the keys of the effects it varies.

    Grids, nodes and options stand as lists of pairs, since their order counts and JSON of the options sorts mappings.
    """
    section = configuration["multiverse"]
    keys = {key for name in section["grids"] for key in (*TARGETS[name].reads, *TARGETS[name].pool_reads)}
    ordered = [
        [name, {"nodes": _paired(grid["nodes"], 2), "exclude": [_paired(rule, 2) for rule in grid["exclude"]]}]
        for name, grid in section["grids"].items()
    ]
    return restrict(dict(configuration), (SCORING, *sorted(keys))) | {"multiverse": {**section, "grids": ordered}}


def _paired(value: Any, levels: int) -> Any:
    """Return a mapping, and mappings down to a number of levels, as lists of pairs."""
    if not isinstance(value, Mapping) or not levels:
        return value
    return [[name, _paired(content, levels - 1)] for name, content in value.items()]


def _grids(options: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the grids of :func:`options_of` as mappings."""
    found = []
    for name, grid in options["multiverse"]["grids"]:
        rules = [dict(rule) for rule in grid["exclude"]]
        nodes = {node: dict(choices) for node, choices in grid["nodes"]}
        found.append((name, {"nodes": nodes, "exclude": [{**rule, "when": dict(rule["when"])} for rule in rules]}))
    return found


def multiverses(options: Mapping[str, Any]) -> list[Multiverse]:
    """Return the multiverses that the configuration declares, in its order.

    Parameters
    ----------
    options : mapping
        From :func:`options_of`, with ``seed``.
    """
    return [_multiverse(options, TARGETS[name], grid) for name, grid in _grids(options)]


def _multiverse(options: Mapping[str, Any], target: Target, grid: Mapping[str, Any]) -> Multiverse:
    nodes = grid["nodes"]
    rules = [({node: _listed(wanted) for node, wanted in rule["when"].items()}, rule["reason"]) for rule in grid["exclude"]]
    counts = [0] * len(rules)
    read = restrict(dict(options), target.reads)
    found: list[Specification] = []
    requests: dict[str, dict[str, Any]] = {}
    asked = touching(nodes, (*target.reads, SCORING))
    known: dict[tuple[str, ...], str] = {}
    for number, choices, hit in _combinations(grid):
        if hit is not None:
            counts[hit] += 1
            continue
        changes: dict[str, Any] = {}
        for node, option in choices.items():
            changes = merge(changes, nodes[node][option])
        of_site = tuple(choices[node] for node in asked)
        if of_site not in known:
            request = {
                "options": restrict(merge(read, changes), target.reads),
                SCORING: merge(dict(options[SCORING]), changes.get(SCORING, {})),
            }
            known[of_site] = digest({"target": target.name, "request": request, "seed": options.get("seed")})
            requests.setdefault(known[of_site], request)
        found.append(Specification(number, choices, changes, known[of_site]))
    removed = [Removed(when, reason, count) for (when, reason), count in zip(rules, counts)]
    return Multiverse(target, {node: list(choices) for node, choices in nodes.items()}, nodes, found, removed, requests)


def scorings(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every different section ``scoring`` that specifications can ask for, that of the configuration first."""
    base = dict(options[SCORING])
    found = {canonical_json(base): base}
    for _, grid in _grids(options):
        own = [
            [changes.get(SCORING, {}) for changes in choices.values()]
            for choices in grid["nodes"].values()
            if any(SCORING in changes for changes in choices.values())
        ]
        for combination in itertools.product(*own):
            section = base
            for changes in combination:
                section = merge(section, changes)
            found.setdefault(canonical_json(section), section)
    return list(found.values())


def dotted(changes: Mapping[str, Any], before: tuple[str, ...] = ()) -> list[str]:
    """Return the dotted keys that changes set, in their order."""
    keys: list[str] = []
    for name, value in changes.items():
        path = (*before, str(name))
        keys += dotted(value, path) if isinstance(value, Mapping) and value else [".".join(path)]
    return keys


def faults(section: Mapping[str, Any]) -> list[Fault]:
    """Return the faults of the section ``multiverse`` that concern nodes, options and rules, as ``(path, message)``."""
    found: list[Fault] = []
    for name, grid in section["grids"].items():
        found += _grid_faults(("multiverse", "grids", name), TARGETS[name], grid)
    if found:
        return found
    each = section["flips"] * (2 if section["shuffles"] else 1)
    asked = sum(_site_questions(TARGETS[name], grid) for name, grid in section["grids"].items())
    if asked * each > MOST_DRAWS:
        message = (
            f"{asked} different estimates of a site with {each} flipped scores each are more than the {MOST_DRAWS} that a summary holds; "
            f"at most {MOST_DRAWS // asked}, or take out options or nodes"
        )
        return [(("multiverse", "flips"), message)]
    return []


def _site_questions(target: Target, grid: Mapping[str, Any]) -> int:
    """Return how many different combinations of options that sites read remain."""
    own = touching(grid["nodes"], (*target.reads, SCORING))
    return len({tuple(choices[node] for node in own) for _, choices, hit in _combinations(grid) if hit is None})


def touching(nodes: Mapping[str, Mapping[str, Any]], roots: Sequence[str]) -> list[str]:
    """Return the nodes of which an option changes a key that is one of some keys or below one."""
    return [name for name, choices in nodes.items() if any(within(key, roots) for changes in choices.values() for key in dotted(changes))]


def within(key: str, roots: Sequence[str]) -> bool:
    """Return whether a dotted key is one of some keys or below one."""
    return any(key == root or key.startswith(f"{root}.") for root in roots)


def _overlap(one: str, other: str) -> bool:
    """Return whether two dotted keys are the same, or one stands below the other."""
    return within(one, (other,)) or within(other, (one,))


def _combinations(grid: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, str], int | None]]:
    """Yield every combination with its number, its choices, and the place of the first rule that removes it."""
    rules = rules_of(grid)
    for number, combination in enumerate(itertools.product(*grid["nodes"].values()), start=1):
        choices = dict(zip(grid["nodes"], combination))
        yield number, choices, next((place for place, when in enumerate(rules) if all(choices[node] in when[node] for node in when)), None)


def rules_of(grid: Mapping[str, Any]) -> list[dict[str, list[str]]]:
    """Return the options that each rule of a grid names, by node."""
    return [{node: _listed(wanted) for node, wanted in rule["when"].items()} for rule in grid["exclude"]]


def removes(rules: Sequence[Mapping[str, Sequence[str]]], choices: Mapping[str, str]) -> bool:
    """Return whether a rule removes a combination."""
    return any(all(choices[node] in wanted for node, wanted in when.items()) for when in rules)


def _grid_faults(path: tuple[str, ...], target: Target, grid: Mapping[str, Any]) -> list[Fault]:
    nodes = grid["nodes"]
    allowed = target.allowed
    found: list[Fault] = []
    owners: dict[str, str] = {}
    for node, choices in nodes.items():
        at = (*path, "nodes", node)
        if len(choices) < 2:
            found.append((at, "a node needs at least two options; the first is `{}`, what config.yaml says"))
            continue
        first, *others = choices
        if choices[first]:
            found.append((((*at, first)), "the first option of a node changes nothing: write `{}`"))
        seen = {canonical_json(choices[first]): first}
        for option in others:
            changes = choices[option]
            same = seen.setdefault(canonical_json(changes), option)
            if same != option:
                found.append(((*at, option), f"changes the same as '{same}'; take one of them out"))
            for key in dotted(changes):
                if not within(key, allowed):
                    message = f"'{key}' has no bearing on {target.label}{similar(key, allowed)}; it may change: {', '.join(allowed)}"
                    found.append(((*at, option), message))
                elif key in _SWITCHES:
                    message = f"'{key}' says whether a question has a chapter of its own; it has no bearing on {target.label}"
                    found.append(((*at, option), message))
                elif owner := next((other for known, other in owners.items() if other != node and _overlap(key, known)), None):
                    found.append(((*at, option), f"'{key}' is changed by node '{owner}' too; one key belongs to one node"))
                owners.setdefault(key, node)
    for place, rule in enumerate(grid["exclude"]):
        at = (*path, "exclude", place)
        if not rule["when"]:
            found.append(((*at, "when"), "names no node: it would remove every combination"))
        for node, wanted in rule["when"].items():
            if node not in nodes:
                found.append(((*at, "when", node), f"there is no node '{node}'{nearest(node, nodes)}"))
                continue
            if not wanted:
                found.append(((*at, "when", node), "names no option, so that the rule removes nothing; name one, or take the rule out"))
            for option in _listed(wanted):
                if option not in nodes[node]:
                    found.append(((*at, "when", node), f"node '{node}' has no option '{option}'{nearest(option, nodes[node])}"))
    if not nodes:
        found.append(((*path, "nodes"), "the multiverse is empty: it needs at least one node with two options"))
    if found:
        return found
    total = math.prod(len(choices) for choices in nodes.values())
    if total > MOST_SPECIFICATIONS:
        return [((*path, "nodes"), f"{total} combinations are more than {MOST_SPECIFICATIONS}; take out options or nodes")]
    if removes(rules_of(grid), {node: next(iter(choices)) for node, choices in nodes.items()}):
        return [((*path, "exclude"), "a rule removes the configuration as it stands (the first option of every node); it must stay")]
    if not any(hit is None for number, _, hit in _combinations(grid) if number > 1):
        return [((*path, "exclude"), "the rules leave the configuration as it stands alone; at least one other combination must stay")]
    return []


def _listed(wanted: str | Sequence[str]) -> list[str]:
    return [wanted] if isinstance(wanted, str) else list(wanted)
