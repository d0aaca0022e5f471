"""The registry as entries of a data dictionary."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from alliance.instruments.registry import Instrument
from alliance.instruments.scoring import allowed_missing, headline_unit

_SWITCH_ON = (
    "To score items: check the map against the manual, then write an instrument file of your own with `verified_by: <who checked it>`."
)


def dictionary_entries(registry: Mapping[str, Instrument], used: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return one entry an instrument for a data dictionary.

    Parameters
    ----------
    registry : mapping of str to Instrument
        All instruments.
    used : collection of str
        Keys that sites of the study sent; they come first.

    Returns
    -------
    list of dict
        Keys: ``key, name, construct, kind, used, forms`` (rater: form), ``reference`` (citation keys), ``n_items, response``
        (text), ``reversed_items, scales`` (list of ``name, items, n_items, of, unit, range, facet, turned, allowed_missing``),
        ``unit, direction, missing_rule`` (text), ``missing_status, derived_from, derivation_caution, certainty, verified_by,
        scored_from_items, why_off, switch_on, version_note, source``. Unknown is None or empty.
    """
    chosen = set(used)
    keys = sorted(registry, key=lambda key: (key not in chosen, key))
    return [_entry(registry[key], key in chosen) for key in keys]


def _entry(instrument: Instrument, used: bool) -> dict[str, Any]:
    derivation = instrument.derive_from
    return {
        "key": instrument.key,
        "name": instrument.name,
        "construct": instrument.construct,
        "kind": instrument.kind,
        "used": used,
        "forms": dict(instrument.forms),
        "reference": list(instrument.reference),
        "n_items": instrument.n_items,
        "response": _response(instrument),
        "reversed_items": sorted(instrument.reverse),
        "scales": [_scale(instrument, name) for name in instrument.scale_names],
        "unit": _unit(instrument),
        "direction": instrument.direction,
        "missing_rule": _missing_rule(instrument),
        "missing_status": instrument.missing.status,
        "derived_from": derivation.instrument if derivation else "",
        "derivation_caution": derivation.caution if derivation else "",
        "certainty": instrument.certainty,
        "verified_by": instrument.verified_by or "",
        "scored_from_items": instrument.scored_from_items,
        "why_off": instrument.why_not_scored,
        "switch_on": _SWITCH_ON if instrument.why_not_scored and any(scale.items for scale in instrument.scales.values()) else "",
        "version_note": instrument.version_note,
        "source": list(instrument.source),
    }


def _scale(instrument: Instrument, name: str) -> dict[str, Any]:
    scale = instrument.composites[name]
    items = instrument.scale_items(name)
    return {
        "name": name,
        "items": items,
        "n_items": instrument.scale_size(name),
        "of": list(scale.of or []),
        "unit": headline_unit(instrument, name),
        "range": instrument.possible_range(name, "headline"),
        "facet": instrument.facet(name),
        "turned": sorted(set(items) & set(instrument.reverse)) if scale.reversed else [],
        "allowed_missing": allowed_missing(instrument, name) if items and instrument.scored_from_items else None,
    }


def _unit(instrument: Instrument) -> str:
    factor = f" x {instrument.score.multiply:g}" if instrument.score.multiply != 1 else ""
    return f"{instrument.score.method}{factor}"


def _response(instrument: Instrument) -> str:
    declared = "declared by the site" if instrument.response_from_site else ""
    if instrument.response is None:
        return declared or "unknown"
    response = instrument.response
    if response.values is not None:
        text = ", ".join(f"{value:g}" for value in response.values)
    else:
        text = f"{response.min:g} to {response.max:g}" + (f" in steps of {response.step:g}" if response.step != 1 else "")
    return f"{text} (usual; {declared})" if declared else text


def _missing_rule(instrument: Instrument) -> str:
    rule = instrument.missing
    if not instrument.scored_from_items:
        return ""
    if rule.rule == "strict":
        text = "every item must be answered"
    else:
        if rule.max_missing is not None:
            limit = f"at most {rule.max_missing} unanswered"
        elif any(scale.max_missing is not None for scale in instrument.composites.values()):
            limit = "a limit for each scale"
        else:
            limit = f"at least {100 * rule.min_answered_proportion:g}% answered"
        rounded = rule.rule == "scale_mean_rounded"
        filled = (
            "each blank takes the scale's mean rounded to a whole number"
            if rounded
            else "the mean of the answered items stands for the others"
        )
        text = f"{limit}; {filled}"
    return f"{text}; {rule.note}".rstrip(". ") if rule.note else text
