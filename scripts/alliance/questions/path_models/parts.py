"""What each part of the path models is given of the options, so that a scenario leaves alone what it does not concern."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from alliance.configuration.options import without_windows_unused
from alliance.questions.moments import no_moments
from alliance.questions.part import VCOV, Part, stacked
from alliance.questions.path_models.sample import block, model_of
from alliance.questions.unchanged import Unchanged, part_of
from alliance.variables.checks import CLIENTS_PREFIX, EVENTS_PREFIX, PROCESS, PRODUCT, section
from alliance.variables.path_models import definitions

Options = Mapping[str, Any]
WITHIN_SESSIONS = "1-1-1"
"""Kind of a chain all of whose links are measured session by session."""
_OF_ALL_MODELS = ("missing", "clients_per_parameter")


def part_options(options: Options) -> dict[str, Options]:
    """Return the options of every part: of each model by its name, and of the parts that read clients or sessions themselves.

    Models that are compared leave out the same clients, so they have their options together. ``alliance.window`` stands in the options of
    a part only where one of its variables is averaged over it.
    """
    own = options["questions"]["path_models"]
    chains = own["mediation"]["chains"].values()
    averaged = [one for chain in chains for one in (*([] if chain["kind"] == WITHIN_SESSIONS else [chain["from"]]), *chain["given"])]
    conditions = [{"construct": name, "window": options[name].get("window")} for name in PROCESS[1:] if options[name].get("instruments")]
    conditions.append({"construct": "alliance", "window": own["conditions"]["window"]})
    return {
        **{name: models_options(options, together) for together in compared(own) for name in together},
        "cross_lagged": _part(options, ["cross_lagged"]),
        "mediation": _part(options, ["mediation"], averaged),
        "conditions": _part(options, ["conditions"], conditions),
        "technique": _part(options, ["technique"]),
    }


def models_options(options: Options, names: Sequence[str]) -> Options:
    """Return the options of some models that are compared with no others."""
    own = options["questions"]["path_models"]
    used, shared = [], set()
    for name in names:
        defined, private = definitions(own, name), own["models"][name].get("variables") or {}
        for variable in model_of(own, name).observed:
            factors = defined[variable].get("of") or () if defined[variable]["construct"] == PRODUCT else ()
            used += [defined[one] for one in (variable, *factors)]
            shared |= {variable, *factors} - set(private)
    content = {
        "variables": {name: own["variables"][name] for name in sorted(shared)},
        "models": {name: own["models"][name] for name in names},
        "comparisons": {key: one for key, one in own["comparisons"].items() if set(one["models"]) <= set(names)},
    }
    return _part(options, _OF_ALL_MODELS, used, content)


def compared(own: Mapping[str, Any]) -> list[list[str]]:
    """Return the models of ``questions.path_models`` in groups: together are those that are compared, directly or by way of others."""
    groups = {name: {name} for name in own["models"]}
    for content in own["comparisons"].values():
        together = set().union(*(groups[name] for name in content["models"]))
        groups |= dict.fromkeys(together, together)
    return [sorted(group) for name, group in sorted(groups.items()) if name == min(group)]


def _part(
    options: Options, keys: Sequence[str], averaged: Sequence[Mapping[str, Any]] = (), content: Mapping[str, Any] | None = None
) -> Options:
    """Return options with these keys of the question alone, and with ``alliance.window`` where a variable needs it."""
    own = options["questions"]["path_models"]
    needed = any(_over_main_window(definition, options) for definition in averaged)
    alliance = {key: value for key, value in options["alliance"].items() if key != "window" or needed}
    chosen = {**{key: own[key] for key in keys}, **(content or {})}
    return without_windows_unused({**options, "alliance": alliance, "questions": {"path_models": chosen}})


def _over_main_window(definition: Mapping[str, Any], options: Options) -> bool:
    """Return whether a variable is averaged over ``alliance.window``; :mod:`alliance.variables.client` says when."""
    construct, timepoint = definition["construct"], definition.get("timepoint")
    if definition.get("window"):
        return False
    if construct.startswith(EVENTS_PREFIX):
        return True
    if timepoint not in (None, "session"):
        return False
    if construct in (*PROCESS, "symptoms"):
        return construct == "alliance" or not options[section(construct)].get("window")
    return "." in construct and not construct.startswith(CLIENTS_PREFIX)


def with_unchanged_models(part: Part, unchanged: Unchanged, names: Sequence[str], of_effects: bool) -> Part:
    """Return a part with the rows of all models in the order of their names: those estimated, and those taken over.

    Parameters
    ----------
    part : Part
        Of the models that were estimated.
    unchanged : Unchanged
    names : sequence of str
        All models, in order.
    of_effects : bool
        Whether the part tells of the models' indirect effects, or of the models.
    """
    kept = [_of_model(unchanged, name, of_effects) for name in names if name in unchanged]
    return _in_order([part, *kept], lambda row: names.index(row["model"]), names) if kept else part


def with_unchanged_comparisons(part: Part, unchanged: Unchanged, comparisons: Mapping[str, Any]) -> Part:
    """Return the comparisons that were estimated and those of which all models are taken over, in the order of their names."""
    names = [name for name in sorted(comparisons) if comparisons[name]["models"][0] in unchanged]
    if not names:
        return part
    estimates, moments = unchanged.summary.estimates, unchanged.summary.moments
    chosen = estimates["model"].eq("comparison") & estimates["comparison"].isin(names)
    kept = part_of(unchanged.summary, chosen, ("comparison",), pd.Series(False, index=moments.index), {})
    return _in_order([part, kept], lambda row: row["comparison"])


def _of_model(unchanged: Unchanged, name: str, of_effects: bool) -> Part:
    summary = unchanged.summary
    rows = summary.estimates["model"].eq(name) & summary.estimates["effect"].ne("").eq(of_effects)
    blocks = summary.moments["block"].map(_model).eq(name) & (not of_effects)
    models = () if of_effects else (name, block(name))
    return part_of(summary, rows, models, blocks, {} if of_effects else {name: summary.facts["models"][name]})


def _model(label: str) -> str:
    """Return the model of a block of moments, or of their covariances, which bear its name."""
    kind, _, name = label.partition(":")
    return name.partition(":")[0] if kind == block("").rstrip(":") else label


def _in_order(parts: Sequence[Part], place: Callable[[Mapping[str, Any]], Any], names: Sequence[str] = ()) -> Part:
    pairs = sorted((pair for part in parts for pair in zip(part.rows, part.variances)), key=lambda pair: place(pair[0]))

    def by_model(labels: pd.Series) -> pd.Series:
        return labels.map(_model).map(names.index)

    covariances = stacked([part.covariances for part in parts], VCOV)
    moments = stacked([part.moments for part in parts], no_moments().columns)
    return Part(
        rows=[row for row, _ in pairs],
        variances=[variance for _, variance in pairs],
        covariances=covariances.sort_values("model", key=by_model, kind="stable", ignore_index=True) if len(covariances) else covariances,
        moments=moments.sort_values("block", key=by_model, kind="stable", ignore_index=True) if len(moments) else moments,
        facts={name: told for part in parts for name, told in part.facts.items()},
    )
