"""Instruments and scales that a configuration names, checked against the instrument files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from alliance.configuration.errors import nearest
from alliance.instruments.registry import TOTAL, WITHOUT_IMPROVEMENT, Instrument
from alliance.variables.checks import (
    ALLIANCE_PREFIX,
    CLIENTS_PREFIX,
    EVENTS_PREFIX,
    PROCESS,
    THERAPISTS_PREFIX,
    Found,
    score_names,
    section,
)

SECTIONS = (*PROCESS, "symptoms", "outcome")
_NO_SCORES = (CLIENTS_PREFIX, THERAPISTS_PREFIX, ALLIANCE_PREFIX, EVENTS_PREFIX)


def score_faults(config: Mapping[str, Any], instruments: Mapping[str, Instrument]) -> Iterator[Found]:
    """Yield instruments that do not exist and scales that no instrument meant has.

    Parameters
    ----------
    config : mapping
        The whole resolved configuration.
    instruments : mapping
        The registry by key.

    Yields
    ------
    (path, message)
        As :func:`alliance.variables.checks.checks`.
    """
    for name in SECTIONS:
        settings = config[name]
        unknown = False
        for position, entry in enumerate(settings["instruments"]):
            key, _, scale = entry.partition(".")
            found = list(_score((name, "instruments", position), key, scale, instruments))
            unknown |= bool(found)
            yield from found
        plain = [entry for entry in settings["instruments"] if "." not in entry]
        if plain and not unknown:
            yield from _scale((name, "scale"), settings["scale"], plain, instruments)
    for role in ("tailored", "broad"):
        named = config["outcome"].get(role)
        if named:
            path = ("outcome", role)
            yield from _score((*path, "instrument"), named["instrument"], "", instruments)
            yield from _scale((*path, "scale"), named["scale"], [named["instrument"]], instruments)
    if config["questions"]["path_models"]["enabled"]:
        for path, definition in _definitions(config["questions"]["path_models"]):
            yield from _definition(path, definition, config, instruments)
        keys = [instrument for instrument, _ in score_names(config["social_influence"])]
        for position, scale in enumerate(config["questions"]["path_models"]["conditions"]["influence"] if keys else ()):
            yield from _scale(("questions", "path_models", "conditions", "influence", position), scale, keys, instruments)


def _definitions(question: Mapping[str, Any]) -> Iterator[tuple[tuple[Any, ...], Mapping[str, Any]]]:
    """Yield every variable that path models define, with its path."""
    base = ("questions", "path_models")
    for name, definition in question["variables"].items():
        yield (*base, "variables", name), definition
    for model, content in question["models"].items():
        for name, definition in content["variables"].items():
            yield (*base, "models", model, "variables", name), definition
    parts = {part: question[part] for part in ("cross_lagged", "mediation", "technique") if question[part]["enabled"]}
    for pair, content in parts.get("cross_lagged", {}).get("pairs", {}).items():
        for name, definition in content["series"].items():
            yield (*base, "cross_lagged", "pairs", pair, "series", name), definition
    for chain, content in parts.get("mediation", {}).get("chains", {}).items():
        path = (*base, "mediation", "chains", chain)
        for role in ("from", "through", "to"):
            yield (*path, role), content[role]
        for position, definition in enumerate(content["given"]):
            yield (*path, "given", position), definition
    for pair, content in parts.get("technique", {}).get("pairs", {}).items():
        for role in ("technique", "alliance", "outcome"):
            yield (*base, "technique", "pairs", pair, role), content[role]


def _definition(
    path: tuple[Any, ...], definition: Mapping[str, Any], config: Mapping[str, Any], instruments: Mapping[str, Instrument]
) -> Iterator[Found]:
    construct = definition["construct"]
    if "." in construct:
        if not construct.startswith(_NO_SCORES):
            key, _, scale = construct.partition(".")
            yield from _score((*path, "construct"), key, scale, instruments)
        return
    of = section(construct)
    if not of:
        return
    own = definition.get("instrument")
    if own and own not in instruments:
        yield (*path, "instrument"), _no_instrument(own, instruments)
    elif definition.get("scale"):
        keys = [own] if own else [instrument for instrument, _ in score_names(config[of])]
        yield from _scale((*path, "scale"), definition["scale"], keys, instruments)


def _score(path: tuple[Any, ...], key: str, scale: str, instruments: Mapping[str, Instrument]) -> Iterator[Found]:
    """Yield why ``instrument.scale`` is none; an empty scale is not asked for."""
    if key not in instruments:
        yield path, _no_instrument(key, instruments)
    elif scale:
        yield from _scale(path, scale, [key], instruments)


def _scale(path: tuple[Any, ...], scale: str, keys: list[str], instruments: Mapping[str, Instrument]) -> Iterator[Found]:
    """Yield why none of some instruments has a scale; nothing where one of them is not known, or its scales are not."""
    if not keys or any(key not in instruments or not instruments[key].scales for key in keys):
        return
    known = {name for key in keys for name in (*instruments[key].scale_names, TOTAL)}
    known |= {WITHOUT_IMPROVEMENT for key in keys if instruments[key].improvement_items}
    if scale not in known:
        yield path, f"{' or '.join(keys)} has no scale '{scale}'{nearest(scale, known)}"


def _no_instrument(key: str, instruments: Mapping[str, Instrument]) -> str:
    return f"no instrument has the key '{key}'{nearest(key, instruments)}"
