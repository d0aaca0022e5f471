"""Names of study variables, and the check of a configuration that uses them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from alliance.configuration.errors import nearest
from alliance.variables.path_models import RESERVED

CONDITIONS = ("empathy", "regard", "unconditionality", "congruence")
PROCESS = ("alliance", *CONDITIONS, "social_influence", "adherence")
OUTCOMES = ("outcome", "residual_gain", "change")
SYMPTOM_BASED = ("symptoms", "early_gain")
CONSTRUCTS = (*PROCESS, *OUTCOMES, "intake", *SYMPTOM_BASED, "dropout")
CLIENT_COLUMNS = ("age", "planned_sessions")
GROUPING_COLUMNS = ("treatment", "gender")
CLIENTS_PREFIX = "clients."
THERAPISTS_PREFIX = "therapists."
ALLIANCE_PREFIX = "alliance."
EVENTS_PREFIX = "events."
PRODUCT = "product"
INTAKE_SEVERITY = "intake_severity"

_SECTION = {
    **{name: name for name in PROCESS},
    "outcome": "outcome",
    "residual_gain": "outcome",
    "change": "outcome",
    "intake": "outcome",
    "symptoms": "symptoms",
    "early_gain": "symptoms",
}

RATED_RULES = ("drop", "decline", "v_shape", "control_chart")
"""Rules for ruptures that need nothing but the ratings of sessions."""

Found = tuple[tuple[str, ...], str]


def score_names(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return instrument and scale of a section's measures in order of preference; ``instrument.scale`` names a scale of its own."""
    pairs = (entry.partition(".") for entry in settings.get("instruments") or ())
    return [(instrument, scale or settings.get("scale") or "total") for instrument, _, scale in pairs]


def section(construct: str) -> str:
    """Return the configuration section that gives a construct its defaults; empty for columns and single scores."""
    return _SECTION.get(construct, "")


def checks(config: Mapping[str, Any]) -> list[Found]:
    """Return the faults of a configuration that concern study variables.

    Parameters
    ----------
    config : mapping
        The whole resolved configuration.

    Returns
    -------
    list of (path, message)
        ``path`` is a tuple of keys; ``message`` says what is wrong and names the nearest valid name.
    """
    return [
        *_window_faults(config),
        *_variable_faults(config),
        *_chain_faults(config),
        *_technique_faults(config),
        *_factor_faults(config),
        *_therapist_faults(config),
        *_outcome_faults(config),
        *_measurement_faults(config),
        *_congruence_faults(config),
        *_dropout_faults(config),
        *_intervention_faults(config),
        *_rupture_faults(config),
    ]


def _window_faults(config: Mapping[str, Any]) -> Iterator[Found]:
    windows = config["alliance"]["windows"]
    questions = config["questions"]
    uses = [
        (("alliance", "window"), config["alliance"].get("window")),
        *(((name, "window"), config[name].get("window")) for name in PROCESS[1:] if config[name].get("instruments")),
        (
            ("questions", "convergent_validity", "timepoint_window"),
            questions["convergent_validity"].get("timepoint_window") if questions["convergent_validity"]["enabled"] else None,
        ),
        (
            ("questions", "client_factors", "window"),
            questions["client_factors"].get("window") if questions["client_factors"]["enabled"] else None,
        ),
    ]
    if questions["client_factors"]["enabled"]:
        base = ("questions", "client_factors")
        over_time = questions["client_factors"].get("over_time") or {}
        uses += [((*base, "windows", position), name) for position, name in enumerate(questions["client_factors"].get("windows") or ())]
        uses += [((*base, "over_time", "bands", band), name) for band, name in (over_time.get("bands") or {}).items()]
        uses += [((*base, "over_time", phase), over_time.get(phase)) for phase in ("first", "second")]
    if questions["path_models"]["enabled"]:
        base = ("questions", "path_models", "conditions")
        uses.append(((*base, "window"), questions["path_models"]["conditions"]["window"]))
        uses += [((*base, "phases", phase), name) for phase, name in questions["path_models"]["conditions"]["phases"].items()]
    outcome = questions["alliance_outcome"]
    if outcome["enabled"]:
        base = ("questions", "alliance_outcome")
        uses += [((*base, "windows", position), name) for position, name in enumerate(outcome["windows"])]
        uses += [((*base, "phases", phase), name) for phase, name in outcome["phases"].items()]
    if questions["measurement"]["enabled"]:
        of_measurement = enumerate(questions["measurement"]["windows"])
        uses += [(("questions", "measurement", "windows", position), name) for position, name in of_measurement]
    if questions["therapist_factors"]["enabled"]:
        of_therapists = enumerate(questions["therapist_factors"]["windows"])
        uses += [(("questions", "therapist_factors", "windows", position), name) for position, name in of_therapists]
    if questions["early_gains"]["enabled"]:
        windows_of = enumerate(questions["early_gains"]["windows"])
        uses += [(("questions", "early_gains", "windows", position), name) for position, name in windows_of]
    if questions["congruence"]["enabled"]:
        base = ("questions", "congruence")
        uses += [((*base, "windows", position), name) for position, name in enumerate(questions["congruence"]["windows"])]
        uses.append(((*base, "session_window"), questions["congruence"]["session_window"]))
    if questions["components"]["enabled"]:
        base = ("questions", "components", "phases")
        uses += [((*base, phase), name) for phase, name in questions["components"]["phases"].items()]
    if questions["dropout"]["enabled"]:
        uses.append((("questions", "dropout", "window"), questions["dropout"]["window"]))
    if questions["interventions"]["enabled"]:
        base = ("questions", "interventions")
        uses.append(((*base, "window"), questions["interventions"]["window"]))
        uses += [((*base, "phases", position), name) for position, name in enumerate(questions["interventions"]["phases"])]
    for path, name in uses:
        if name is not None and name not in windows:
            yield path, f"there is no window '{name}' in alliance.windows{nearest(name, windows)}"


def _variable_faults(config: Mapping[str, Any]) -> Iterator[Found]:
    question = config["questions"]["path_models"]
    if not question["enabled"]:
        return
    base = ("questions", "path_models")
    own = [((*base, "models", model, "variables"), content.get("variables") or {}) for model, content in question["models"].items()]
    for path, variables in [((*base, "variables"), question.get("variables") or {}), *own]:
        known = {**(question.get("variables") or {}), **variables}
        for variable, definition in variables.items():
            yield from _definition_faults((*path, variable), definition, config)
            yield from _product_faults((*path, variable), definition, known)
    lagged = question.get("cross_lagged") or {"enabled": False}
    for pair, content in lagged["pairs"].items() if lagged["enabled"] else ():
        for series, definition in content["series"].items():
            yield from _definition_faults((*base, "cross_lagged", "pairs", pair, "series", series), definition, config)
    for model, content in question["models"].items():
        if model in RESERVED:
            yield (*base, "models", model), f"'{model}' is the name of a part of this question; choose another name"
        if content.get("groups"):
            yield from _group_faults((*base, "models", model, "groups", "by"), content["groups"]["by"], config)
    for comparison, content in (question.get("comparisons") or {}).items():
        for position, model in enumerate(content["models"]):
            if model not in question["models"]:
                path = (*base, "comparisons", comparison, "models", position)
                yield path, f"there is no model '{model}' in questions.path_models.models{nearest(model, question['models'])}"


def _group_faults(path: tuple[str, ...], by: str, config: Mapping[str, Any]) -> Iterator[Found]:
    """Yield faults of the column that tells groups of clients apart."""
    if by.startswith(CLIENTS_PREFIX):
        return
    factors = config["questions"]["client_factors"].get("factors") or {}
    known = (*GROUPING_COLUMNS, *(factor for factor in factors if "." not in factor and factor != INTAKE_SEVERITY))
    if "." in by:
        yield path, f"'{by}' is no column of the clients table: groups of clients are told apart by what is written once for every client"
    elif by not in known:
        yield path, f"'{by}' is no column that is known to tell groups apart{nearest(by, known)} (another one is written clients.column)"


def _product_faults(path: tuple[str, ...], definition: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[Found]:
    """Yield faults of a product of two variables."""
    of = definition.get("of") or []
    if definition["construct"] != PRODUCT:
        if of:
            yield (*path, "of"), "goes with construct: product only"
        return
    if len(of) != 2:
        yield (*path, "of"), "a product names two variables, as of: [alliance, empathy]"
    for position, name in enumerate(of):
        if name not in known:
            yield (*path, "of", position), f"there is no variable '{name}'{nearest(name, known)}"
        elif known[name]["construct"] == PRODUCT:
            yield (*path, "of", position), f"'{name}' is a product itself; name the variables it is made of"


def _chain_faults(config: Mapping[str, Any]) -> Iterator[Found]:
    models = config["questions"]["path_models"]
    section = models.get("mediation") or {}
    if not (models["enabled"] and section.get("enabled")):
        return
    for chain, content in section["chains"].items():
        path = ("questions", "path_models", "mediation", "chains", chain)
        if chain in models["models"] or chain in RESERVED:
            yield path, f"'{chain}' is the name of a path model or of a part of this question; choose another name"
        for role in ("from", "through", "to"):
            definition = content[role]
            found = list(_definition_faults((*path, role), definition, config))
            yield from found
            if found or (role == "from" and content["kind"] == "2-1-1"):
                continue
            yield from _session_faults((*path, role), definition, "; a chain 2-1-1 may begin with it")
        for position, definition in enumerate(content["given"]):
            yield from _definition_faults((*path, "given", position), definition, config)


def _session_faults(path: tuple[str, ...], definition: Mapping[str, Any], hint: str = "") -> Iterator[Found]:
    """Yield why a variable is no measure of single sessions."""
    construct = definition["construct"]
    if construct == PRODUCT or construct.startswith(EVENTS_PREFIX):
        yield (*path, "construct"), f"{construct} is no score of sessions"
    elif not (construct in PROCESS or construct == "symptoms" or ("." in construct and not construct.startswith(CLIENTS_PREFIX))):
        yield (*path, "construct"), f"{construct} is not measured in sessions{hint}"
    elif definition.get("window") is not None or definition.get("timepoint") not in (None, "session"):
        yield path, "takes no window or timepoint: every session counts"


def _technique_faults(config: Mapping[str, Any]) -> Iterator[Found]:
    models = config["questions"]["path_models"]
    section = models.get("technique") or {}
    if not (models["enabled"] and section.get("enabled")):
        return
    windows = config["alliance"]["windows"]
    for pair, content in section["pairs"].items():
        path = ("questions", "path_models", "technique", "pairs", pair)
        for role in ("technique", "alliance", "outcome"):
            definition = content[role]
            found = list(_definition_faults((*path, role), definition, config))
            events = role == "technique" and definition["construct"].startswith(EVENTS_PREFIX)
            yield from found or (() if events else _session_faults((*path, role), definition))
            if events and (definition.get("window") is not None or definition.get("timepoint") not in (None, "session")):
                yield (*path, role), "takes no window or timepoint of its own; give the pair a window"
        if content["window"] is not None and content["window"] not in windows:
            yield (*path, "window"), f"there is no window '{content['window']}' in alliance.windows{nearest(content['window'], windows)}"


def _definition_faults(path: tuple[str, ...], definition: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[Found]:
    construct, window, timepoint = (definition.get(key) for key in ("construct", "window", "timepoint"))
    if construct == PRODUCT:
        return
    factors = tuple(config["questions"]["client_factors"].get("factors") or ())
    is_score = "." in construct and not construct.startswith(CLIENTS_PREFIX)
    known = (*CONSTRUCTS, *CLIENT_COLUMNS, *factors)
    if "." in construct:
        if not all(construct.split(".")) or construct.count(".") != 1:
            yield (*path, "construct"), f"'{construct}' is not of the form instrument.scale or clients.column"
    elif construct not in known:
        yield (
            (*path, "construct"),
            f"'{construct}' is no construct{nearest(construct, known)} (a score is written instrument.scale, "
            "a column of the clients table clients.column)",
        )
        return
    if window is not None and window not in config["alliance"]["windows"]:
        yield (*path, "window"), f"there is no window '{window}' in alliance.windows{nearest(window, config['alliance']['windows'])}"
    if window is not None and timepoint not in (None, "session"):
        yield path, "give window or timepoint, not both: a window averages sessions"
    if construct in PROCESS and timepoint not in (None, "session"):
        yield (*path, "timepoint"), f"{construct} is measured in sessions; give a window"
    if construct in OUTCOMES and timepoint not in (None, "post", "follow_up"):
        yield (*path, "timepoint"), f"{construct} is measured at post or follow_up, not at {timepoint}"
    takes_window = construct in PROCESS or construct == "symptoms" or is_score
    if window is not None and not takes_window:
        yield (*path, "window"), f"{construct} takes no window"
    needed = section(construct)
    if needed and not definition.get("instrument") and not config[needed].get("instruments"):
        yield (*path, "construct"), f"{construct} needs an instrument: list some under {needed}.instruments or name one here"


def _factor_faults(config: Mapping[str, Any]) -> Iterator[Found]:
    question = config["questions"]["client_factors"]
    if not question["enabled"]:
        return
    factors = question.get("factors") or {}
    if not factors:
        yield ("questions", "client_factors", "factors"), "no factor is given; add one or set enabled: false"
    for factor in factors:
        path = ("questions", "client_factors", "factors", factor)
        if "." in factor and (factor.count(".") != 1 or not all(factor.split("."))):
            yield path, f"'{factor}' is not of the form instrument.scale"
        elif factor in CONSTRUCTS:
            yield path, f"'{factor}' is not a client factor: name a column of the clients table, instrument.scale or {INTAKE_SEVERITY}"
    for position, factor in enumerate(question.get("unique_shared") or ()):
        if factor not in factors:
            path = ("questions", "client_factors", "unique_shared", position)
            yield path, f"there is no factor '{factor}' in questions.client_factors.factors{nearest(factor, factors)}"
    if (question.get("unique_shared") or ()) and not config["outcome"].get("instruments"):
        yield ("outcome", "instruments"), "unique_shared of client_factors needs an outcome; list some or name no factor there"
    if INTAKE_SEVERITY in factors and not config["outcome"].get("instruments"):
        yield (
            ("questions", "client_factors", "factors", INTAKE_SEVERITY),
            "the intake score of the outcome instrument is meant, but outcome.instruments lists none",
        )
    if not config["alliance"].get("instruments"):
        yield ("alliance", "instruments"), "client_factors needs an alliance instrument; list one or set its enabled: false"


def _therapist_faults(config: Mapping[str, Any]) -> Iterator[Found]:
    question = config["questions"]["therapist_factors"]
    if not question["enabled"]:
        return
    base = ("questions", "therapist_factors")
    if not config["alliance"].get("instruments"):
        yield ("alliance", "instruments"), "therapist_factors needs an alliance instrument; list one or set its enabled: false"
    if not question["factors"]:
        yield (*base, "factors"), "no factor is given; add a column of the therapists table or set enabled: false"
    traits = [((*base, "variance", "traits", position), name) for position, name in enumerate(question["variance"]["traits"])]
    traits += [((*base, "pairs", position, "client"), pair["client"]) for position, pair in enumerate(question["pairs"])]
    for path, name in traits:
        if "." in name and (name.count(".") != 1 or not all(name.split("."))):
            yield path, f"'{name}' is not of the form instrument.scale"
        elif name in CONSTRUCTS:
            yield path, f"'{name}' is not what a client brings: name a column of the clients table, instrument.scale or {INTAKE_SEVERITY}"
    pairs = [(pair["client"], pair["therapist"]) for pair in question["pairs"]]
    for position, pair in enumerate(pairs):
        if pair in pairs[:position]:
            yield (*base, "pairs", position), f"{pair[0]} by {pair[1]} is named twice"


def _outcome_faults(config: Mapping[str, Any]) -> Iterator[Found]:
    questions = config["questions"]
    for name in ("alliance_outcome", "early_gains"):
        if not questions[name]["enabled"]:
            continue
        for needed in ("alliance", "outcome", *(("symptoms",) if name == "early_gains" else ())):
            if not config[needed].get("instruments"):
                yield (needed, "instruments"), f"{name} needs one; list some or set questions.{name}.enabled: false"


def _measurement_faults(config: Mapping[str, Any]) -> Iterator[Found]:
    question = config["questions"]["measurement"]
    if not question["enabled"]:
        return
    base = ("questions", "measurement")
    if "sessions" in question["invariance"]["across"] and len(question["windows"]) < 2:
        yield (
            (*base, "invariance", "across"),
            "sessions are compared between the first two windows of questions.measurement.windows; name two",
        )


def _congruence_faults(config: Mapping[str, Any]) -> Iterator[Found]:
    question = config["questions"]["congruence"]
    if not question["enabled"]:
        return
    base = ("questions", "congruence")
    if not config["alliance"].get("instruments"):
        yield ("alliance", "instruments"), "congruence needs an alliance instrument; list one or set questions.congruence.enabled: false"
    for name, content in question["surfaces"].items():
        for side in ("x", "y"):
            rater = content[side].removeprefix(ALLIANCE_PREFIX)
            if content[side].startswith(ALLIANCE_PREFIX) and rater not in question["raters"]:
                yield (
                    (*base, "surfaces", name, side),
                    f"'{rater}' is none of questions.congruence.raters{nearest(rater, question['raters'])}",
                )
        if content["outcome"] in ("outcome", "symptoms") and not config[content["outcome"]].get("instruments"):
            yield (content["outcome"], "instruments"), f"surface {name} needs one; list some or drop questions.congruence.surfaces.{name}"


def _rupture_faults(config: Mapping[str, Any]) -> Iterator[Found]:
    if not config["questions"]["ruptures"]["enabled"]:
        return
    for needed in ("alliance", "outcome"):
        if not config[needed].get("instruments"):
            yield (needed, "instruments"), "ruptures needs one; list some or set questions.ruptures.enabled: false"


def _dropout_faults(config: Mapping[str, Any]) -> Iterator[Found]:
    question = config["questions"]["dropout"]
    if not question["enabled"]:
        return
    if not config["alliance"].get("instruments"):
        yield ("alliance", "instruments"), "dropout needs an alliance instrument; list one or set questions.dropout.enabled: false"
    for name, pair in question["combinations"].items():
        for role, column in pair.items():
            if column in CONSTRUCTS:
                path = ("questions", "dropout", "combinations", name, role)
                yield path, f"'{column}' is a construct; name a column of the {role}s table"


def _intervention_faults(config: Mapping[str, Any]) -> Iterator[Found]:
    question = config["questions"]["interventions"]
    if not question["enabled"]:
        return
    base = ("questions", "interventions")
    if not config["alliance"].get("instruments"):
        yield (
            ("alliance", "instruments"),
            "interventions needs an alliance instrument; list one or set questions.interventions.enabled: false",
        )
    events = question["events"]
    if not events:
        yield (*base, "events"), "no event is given; add one or set enabled: false"
        return
    uses: list[tuple[tuple[Any, ...], str | None]] = [
        ((*base, "complementarity", "after"), question["complementarity"]["after"]),
        ((*base, "initially_poor", "attention"), question["initially_poor"]["attention"]),
        ((*base, "transitions", "after"), question["transitions"]["after"]),
    ]
    lists = {
        (*base, "accuracy"): question["accuracy"],
        (*base, "curvilinear"): question["curvilinear"],
        (*base, "ruptures", "contrast"): question["ruptures"]["contrast"],
        (*base, "transitions", "responses"): question["transitions"]["responses"],
    }
    uses += [((*path, position), name) for path, names in lists.items() for position, name in enumerate(names)]
    for name, content in question["moderations"].items():
        path = (*base, "moderations", name)
        uses.append(((*path, "event"), content["event"]))
        if content["by"] != "session" and content["by"].split(".")[0] != "alliance":
            uses.append(((*path, "by"), content["by"]))
        if content["outcome"] == "symptoms" and not config["symptoms"].get("instruments"):
            yield ("symptoms", "instruments"), f"moderation {name} needs one; list some or drop questions.interventions.moderations.{name}"
    for path, name in uses:
        if name is not None and name not in events:
            yield path, f"'{name}' is none of questions.interventions.events{nearest(name, events)}"
    if question["ruptures"]["contrast"]:
        name, criteria = question["ruptures"]["criterion"], config["questions"]["ruptures"]["criteria"]
        usable = [key for key, rule in criteria.items() if rule["rule"] in RATED_RULES]
        if name not in usable:
            yield (
                (*base, "ruptures", "criterion"),
                f"'{name}' is no criterion of ratings in questions.ruptures.criteria{nearest(name, usable)}",
            )
