"""Study variables of all sites, one row a client."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.portable.names import legal_names
from alliance.portable.session_table import direction, site_columns
from alliance.portable.tables import Column, PortableTable
from alliance.questions.correlations import therapists_of
from alliance.questions.site_data import SiteData
from alliance.variables.checks import CLIENTS_PREFIX, OUTCOMES, PROCESS, PRODUCT, section
from alliance.variables.client import Measure, factor_definition, measure
from alliance.variables.path_models import definitions

_IDENTIFYING = ("site", "client_id", "client_no", "therapist_id", "therapist_no")


def study_variables(options: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Return the study variables of a configuration by name and definition.

    Parameters
    ----------
    options : mapping
        The keys of :data:`alliance.portable.READS`.

    Returns
    -------
    dict
        Variables of the path models first, then the alliance in every window, what else is rated in sessions (empathy, ...), intake,
        outcome in its forms, early gain, dropout and the client factors. A definition that has the same name twice stands once.
    """
    models = options["questions"]["path_models"]
    listed: list[tuple[str, Mapping[str, Any]]] = list((models["variables"] or {}).items())
    for model in sorted(models["models"]):
        listed += definitions(models, model).items()
    listed += [(f"alliance_{window}", {"construct": "alliance", "window": window}) for window in options["alliance"]["windows"]]
    in_sessions = [name for name in PROCESS if name != "alliance" and options.get(name, {}).get("instruments")]
    listed += [(name, {"construct": name}) for name in (*in_sessions, "intake", *OUTCOMES, "early_gain", "dropout")]
    listed += [(factor, factor_definition(factor)) for factor in sorted(options["questions"]["client_factors"]["factors"])]
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for name, definition in listed:
        if definition["construct"] == PRODUCT:
            continue
        found.setdefault((name, json.dumps(_complete(definition, options), sort_keys=True)), definition)
    return found


def _complete(definition: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a definition with the window it takes where it names none, so that equal ones are seen to be equal."""
    complete = {key: value for key, value in definition.items() if value is not None}
    construct = str(complete["construct"]).removeprefix(CLIENTS_PREFIX)
    if construct in PROCESS and "window" not in complete:
        complete["window"] = options[section(construct)].get("window") or options["alliance"]["window"]
    return complete | {"construct": construct}


def client_table(
    sites: Sequence[SiteData],
    names: Sequence[str],
    options: Mapping[str, Any],
    ranges: Mapping[tuple[str, ...], tuple[float, float]],
) -> PortableTable:
    """Return one row a client: who, and every study variable.

    Parameters
    ----------
    sites : sequence of SiteData
        Those that share rows.
    names : sequence of str
        Ids of all sites of the study, which number them.
    options : mapping
        The keys of :data:`alliance.portable.READS`.
    ranges : mapping
        Lowest and highest possible score by instrument, scale and rater.

    Returns
    -------
    PortableTable
        Rows by site and client. Texts of the clients table (gender, treatment) become codes. A site that lacks a variable has no values.
    """
    clients = [_clients(site) for site in sites]
    places = [np.full(len(index), names.index(site.site) + 1) for site, index in zip(sites, clients)]
    therapists = [therapists_of(index, site.clients, site.scores).to_numpy(dtype=float) for site, index in zip(sites, clients)]
    columns = [
        *site_columns(names, _joined(places).astype(int)),
        Column(("client_no",), "Number of the client within the site", _joined(clients), whole=True),
        Column(("therapist_no",), "Number of the therapist within the site", _joined(therapists), whole=True),
    ]
    variables = study_variables(options)
    for (name, _), definition in variables.items():
        measures = [measure(site, definition, options) for site in sites]
        values = _joined([found.values.reindex(index) for found, index in zip(measures, clients)])
        columns.append(_study_column(name, definition, measures, values, [site.site for site in sites], sites, ranges))
    columns += _sent_columns(sites, clients, {name for name, _ in variables})
    return PortableTable(
        "clients", "Study variables, one row a client", dict(zip(legal_names([column.parts for column in columns]), columns))
    )


def _clients(site: SiteData) -> pd.Index:
    frames = [frame["client_no"] for frame in (site.clients, site.scores) if len(frame)]
    numbers = pd.concat(frames).dropna().astype("int64").unique() if frames else []
    return pd.Index(np.sort(numbers), dtype="int64", name="client_no")


def _joined(parts: Sequence[Any]) -> np.ndarray:
    return np.concatenate([np.asarray(part, dtype=float) for part in parts]) if parts else np.empty(0)


def _study_column(
    name: str,
    definition: Mapping[str, Any],
    measures: Sequence[Measure],
    values: np.ndarray,
    ids: Sequence[str],
    sites: Sequence[SiteData],
    ranges: Mapping[tuple[str, ...], tuple[float, float]],
) -> Column:
    given = [(site, found) for site, found in zip(ids, measures) if not found.reason]
    sources = _by_value([(site, found.source if found.instrument else "") for site, found in given])
    one = given[0][1] if len(sources) == 1 else None
    registry = {key: instrument for site in reversed(sites) for key, instrument in site.instruments.items()}
    directions = {direction(registry.get(found.instrument), found.scale, found.turned) if found.instrument else "" for _, found in given}
    when = next((found.when for _, found in given if found.when), str(definition.get("window") or definition.get("timepoint") or ""))
    notes = [f"at {', '.join(of)}: {source}" for source, of in sources.items()] if len(sources) > 1 else []
    lacking = _by_value([(site, found.reason) for site, found in zip(ids, measures) if found.reason])
    notes += [f"not at {', '.join(of)}: {reason}" for reason, of in lacking.items()]
    dropout = definition["construct"] == "dropout"
    limits = _limits(one, ranges) if one is not None else None
    return Column(
        parts=(name,),
        label=_label(name, when, list(sources)),
        values=values,
        codes={0: "stayed", 1: "dropped out"} if dropout else {},
        instrument=_listed(found.instrument for _, found in given),
        scale=_listed(found.scale for _, found in given),
        rater=_listed(found.rater for _, found in given),
        window=when,
        unit=_listed((found.unit for _, found in given), ", or "),
        direction=directions.pop() if len(directions) == 1 else "differs by site" if directions else "",
        note="; ".join(notes),
        limits=(0.0, 1.0) if dropout else limits,
        whole=dropout,
    )


def _label(name: str, when: str, sources: Sequence[str]) -> str:
    """Return a variable's label: its name in words, when it was measured, and by what."""
    words, time = name.replace("_", " "), when.replace("_", " ")
    label = words if not time or time in words else f"{words}, {time}"
    source = "measures differ by site" if len(sources) > 1 else "".join(sources)
    return label[:1].upper() + label[1:] + (f": {source}" if source else "")


def _listed(texts: Iterable[str], between: str = ", ") -> str:
    return between.join(dict.fromkeys(text for text in texts if text))


def _limits(found: Measure, ranges: Mapping[tuple[str, ...], tuple[float, float]]) -> tuple[float, float] | None:
    """Return the possible range of a score as it stands; None for gains and residuals, whose unit has a second word."""
    known = ranges.get((found.instrument, found.scale, found.rater))
    if known is None or "," in found.unit:
        return None
    return (0.0 - known[1], 0.0 - known[0]) if found.turned else known


def _by_value(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the sites that share each text."""
    found: dict[str, list[str]] = {}
    for site, text in pairs:
        found.setdefault(text, []).append(site)
    return found


def _sent_columns(sites: Sequence[SiteData], clients: Sequence[pd.Index], known: set[str]) -> list[Column]:
    """Return the columns of the clients tables that are no study variables: numbers as sent, texts as codes; no dates."""
    sent = list(dict.fromkeys(name for site in sites for name in site.clients))
    columns = []
    for name in sent:
        if name in _IDENTIFYING or name in known:
            continue
        parts = [
            site.clients.drop_duplicates("client_no").set_index("client_no")[name].reindex(index)
            if name in site.clients
            else pd.Series(np.nan, index=index)
            for site, index in zip(sites, clients)
        ]
        if any(pd.api.types.is_datetime64_any_dtype(part) for part in parts):
            continue
        words = sorted({str(word) for part in parts if not pd.api.types.is_numeric_dtype(part) for word in part.dropna()})
        if words:
            numbers = {word: number for number, word in enumerate(words, start=1)}
            parts = [part.astype("object").map(numbers) for part in parts]
        codes = dict(enumerate(words, start=1))
        label = name.replace("_", " ").capitalize() + " (clients table)"
        columns.append(Column((name,), label, _joined(parts), codes=codes, whole=bool(words)))
    return columns
