"""Configurations as nested options: laid over each other, restricted to keys, compared."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

MULTIVERSE = "multiverse"
"""The section that varies the configuration as it stands."""


def restrict(configuration: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Return the part of a nested configuration that dotted keys name."""
    part: dict[str, Any] = {}
    for key in sorted(set(keys)):
        source: Any = configuration
        target = part
        *parents, last = key.split(".")
        for parent in parents:
            source = source[parent]
            target = target.setdefault(parent, {})
        target[last] = copy.deepcopy(source[last])
    return part


def without_windows_unused(part: dict[str, Any]) -> dict[str, Any]:
    """Return a part of a configuration with just those of ``alliance.windows`` that a value in it names.

    So a window that is added, or defined anew, concerns only what uses it.

    Parameters
    ----------
    part : dict
        From :func:`restrict`.
    """
    windows = part.get("alliance", {}).get("windows")
    if not windows:
        return part
    rest = {**part, "alliance": {key: value for key, value in part["alliance"].items() if key != "windows"}}
    used = set(_texts(rest))
    return {**part, "alliance": {**part["alliance"], "windows": {name: windows[name] for name in windows if name in used}}}


def _texts(value: Any) -> Iterator[str]:
    """Yield every text among the values of nested mappings and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration with changes laid over it: keys merge, lists and values replace; what did not change is shared with it."""
    merged = dict(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def keys_changed(base: dict[str, Any], other: dict[str, Any], above: str = "") -> list[str]:
    """Return the dotted keys in which two resolved configurations differ, in the order of their names.

    A key that just one of them has, as in a mapping that a study names itself, counts as changed as a whole.
    """
    changed = []
    for key in sorted({*base, *other}):
        name = f"{above}{key}"
        mine, theirs = base.get(key), other.get(key)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            changed += keys_changed(mine, theirs, f"{name}.")
        elif mine != theirs or (key in base) != (key in other):
            changed.append(name)
    return changed
