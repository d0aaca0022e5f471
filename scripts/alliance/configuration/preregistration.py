"""What was registered before the data were looked at (``prereg.yaml``), and where a run deviates from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from alliance.configuration.code import PROJECT
from alliance.configuration.errors import ConfigurationError, Fault, similar
from alliance.configuration.strict_yaml import KeyPath, load_file
from alliance.configuration.validation import StrictModel, calendar_day, parse
from alliance.files import canonical_json

if TYPE_CHECKING:
    import pandas as pd

NAME = "prereg.yaml"
CLAIM_FILES = (PROJECT / "workflow" / "benchmarks.yaml", PROJECT / "workflow" / "headlines.yaml")
COLUMNS = {
    "scenario": "scenario of the study",
    "kind": "configuration, sample, scenario, question or claim",
    "key": "what was registered: dotted key of the configuration; `sample.`, `scenarios.`, `questions.` or `claims.` before its name",
    "registered": "what was registered (values of the configuration as JSON)",
    "this_run": "what this run has; empty: not there",
    "deviates": "yes, no, by_scenario (base has what was registered, this scenario is there to change it), or unknown",
    "explanation": "why it deviates, as `prereg.yaml` has it; empty: not explained, or nothing to explain",
}
"""Columns of ``deviations.csv`` and what they mean."""

DESCRIBED = {
    "results/<scenario>/deviations.csv": (
        "What was registered in `prereg.yaml` beside what this scenario has, kept or not; without rows where nothing was registered.",
        COLUMNS,
    )
}
"""What the file holds, by path: a sentence, and columns with their meanings."""

Text = Annotated[str, Field(min_length=1)]
Amount = Annotated[int, Field(ge=1)]


class Registered(StrictModel):
    registry: Text
    identifier: Text
    date: Annotated[str, AfterValidator(calendar_day)]


class Confirmatory(StrictModel):
    questions: list[Text] = Field(default_factory=list)
    claims: list[Text] = Field(default_factory=list)


class Sample(StrictModel):
    sites: Amount | None = None
    clients: Amount | None = None
    clients_per_site: Amount | None = None


class Preregistration(StrictModel):
    """What ``prereg.yaml`` may hold."""

    registered: Registered
    config: dict[str, Any] = Field(default_factory=dict)
    scenarios: list[Text] = Field(default_factory=list)
    confirmatory: Confirmatory = Field(default_factory=Confirmatory)
    sample: Sample = Field(default_factory=Sample)
    explanations: dict[str, Text] = Field(default_factory=dict)


def load(folder: Path) -> tuple[dict[str, Any], dict[KeyPath, int]] | None:
    """Read a study's ``prereg.yaml``.

    Parameters
    ----------
    folder : Path
        The study's folder.

    Returns
    -------
    (dict, dict) or None
        What it holds, with defaults filled in, and the line of every key; None where there is no such file.

    Raises
    ------
    ConfigurationError
        With every fault that can be found without the configuration.
    """
    if not (Path(folder) / NAME).exists():
        return None
    raw, lines = load_file(Path(folder) / NAME)
    if raw is not None and not isinstance(raw, dict):
        raise ConfigurationError([Fault(NAME, 1, "", "is no mapping: write `registered:` with registry, identifier and date below it")])
    return parse(Preregistration, raw, lines, NAME).model_dump(), lines


def faults_beside(
    prereg: Mapping[str, Any], lines: Mapping[KeyPath, int], questions: Iterable[str], claims: Mapping[str, Sequence[str]]
) -> list[Fault]:
    """Return what a registration names that does not exist: questions, claims, and explanations of what was not registered."""
    faults = []
    for kind, known in (("questions", list(questions)), ("claims", list(claims))):
        for place, name in enumerate(prereg["confirmatory"][kind]):
            if name not in known:
                path = ("confirmatory", kind, place)
                message = f"there is no {kind[:-1]} '{name}'{similar(name, known)}"
                faults.append(Fault(NAME, lines.get(path, 0), f"confirmatory.{kind}", message))
    registered = [*_parents(leaves(prereg["config"])), *(f"sample.{name}" for name, amount in prereg["sample"].items() if amount)]
    registered += [f"scenarios.{name}" for name in prereg["scenarios"]]
    registered += [f"{kind}.{name}" for kind in ("questions", "claims") for name in prereg["confirmatory"][kind]]
    for key in prereg["explanations"]:
        if key not in registered:
            message = f"explains a deviation from '{key}', which was not registered{similar(key, registered)}"
            faults.append(Fault(NAME, lines.get(("explanations", key), 0), f"explanations.{key}", message))
    return faults


def _parents(keys: Iterable[str]) -> list[str]:
    """Return dotted keys and all keys above them."""
    found = {}
    for key in keys:
        parts = key.split(".")
        found |= {".".join(parts[:length]): None for length in range(1, len(parts) + 1)}
    return list(found)


def leaves(configuration: Mapping[str, Any], above: str = "") -> list[str]:
    """Return the dotted keys of a nested configuration that hold a value; lists are values."""
    found = []
    for key, value in configuration.items():
        found += leaves(value, f"{above}{key}.") if isinstance(value, Mapping) and value else [f"{above}{key}"]
    return found


def part(configuration: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Return the part of a nested configuration that dotted keys name; keys that are not there are left out."""
    chosen: dict[str, Any] = {}
    for key in keys:
        found, value = _held(configuration, key)
        if found:
            *parents, last = key.split(".")
            target = chosen
            for parent in parents:
                target = target.setdefault(parent, {})
            target[last] = value
    return chosen


def _held(configuration: Mapping[str, Any], key: str) -> tuple[bool, Any]:
    held: Any = configuration
    for one in key.split("."):
        if not isinstance(held, Mapping) or one not in held:
            return False, None
        held = held[one]
    return True, held


def questions_of_claims() -> dict[str, list[str]]:
    """Return the claims of the review that the project knows, each with the questions that speak to it."""
    found: dict[str, set[str]] = {}
    benchmarks, _ = load_file(CLAIM_FILES[0])
    for claim, entries in benchmarks.items():
        found.setdefault(claim, set()).update(entry["question"] for entry in entries)
    headlines, _ = load_file(CLAIM_FILES[1])
    for entry in headlines.values():
        if entry.get("claim"):
            found.setdefault(entry["claim"], set()).add(entry["question"])
    return {claim: sorted(questions) for claim, questions in sorted(found.items())}


def deviations(
    prereg: Mapping[str, Any] | None, config: Mapping[str, Any], achieved: Mapping[str, Any], base: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """Return everything that was registered beside what a run has.

    Parameters
    ----------
    prereg : mapping or None
        A checked registration (``Study.preregistration``); None gives no rows.
    config : mapping
        The run's resolved configuration, or the part of it that was registered.
    achieved : mapping
        ``scenario``: name of the scenario; ``clients``: clients of every site in the results, by site (None: not known); ``scenarios``:
        those that the study has; ``questions``: those that are asked.
    base : mapping or None
        The same part of the configuration without the scenario's changes; None where the run is that of ``base``.

    Returns
    -------
    DataFrame
        With the columns of :data:`COLUMNS`, in this order: configuration, sample, scenarios, questions, claims.
    """
    import pandas as pd

    rows = []
    if prereg is not None:
        rows += _configuration(prereg, config, base)
        rows += _sample(prereg["sample"], achieved["clients"])
        rows += [_named("scenario", name, "planned", "defined", name in achieved["scenarios"]) for name in prereg["scenarios"]]
        asked = set(achieved["questions"])
        rows += [_named("question", name, "confirmatory", "asked", name in asked) for name in prereg["confirmatory"]["questions"]]
        speak = prereg["claims"]
        rows += [
            _named("claim", name, "confirmatory", "asked", bool(asked & set(speak[name]))) for name in prereg["confirmatory"]["claims"]
        ]
    told = [
        {"scenario": achieved["scenario"], **row, "explanation": _explanation(prereg, row["key"]) if row["deviates"] != "no" else ""}
        for row in rows
    ]
    return pd.DataFrame(told, columns=list(COLUMNS)).astype(str)


def _configuration(prereg: Mapping[str, Any], config: Mapping[str, Any], base: Mapping[str, Any] | None) -> Iterable[dict[str, str]]:
    for key in leaves(prereg["config"]):
        wanted = _held(prereg["config"], key)[1]
        there, value = _held(config, key)
        same = there and value == wanted
        of_scenario = not same and base is not None and _held(base, key) == (True, wanted)
        yield {
            "kind": "configuration",
            "key": key,
            "registered": canonical_json(wanted),
            "this_run": canonical_json(value) if there else "",
            "deviates": "no" if same else "by_scenario" if of_scenario else "yes",
        }


def _sample(planned: Mapping[str, int | None], clients: Mapping[str, int | None]) -> Iterable[dict[str, str]]:
    known = [amount for amount in clients.values() if amount is not None]
    complete = len(known) == len(clients)
    total = sum(known) if known or not clients else None
    smallest = min(known) if known else None
    few = sum(amount < (planned["clients_per_site"] or 0) for amount in known)
    found: dict[str, tuple[str, int | None, bool]] = {
        "sites": (str(len(clients)), len(clients), True),
        "clients": (str(total), total, complete),
        "clients_per_site": (f"{smallest} at the smallest site; {few} of {len(known)} below", smallest, complete),
    }
    for name, amount in planned.items():
        if amount is None:
            continue
        text, reached, sure = found[name]
        if not sure:
            text += f"; not known of {len(clients) - len(known)}"
        enough = reached is not None and reached >= amount
        # Sites that do not tell their clients can only add to a total, but may be small themselves.
        doubt = not sure and enough == (name == "clients_per_site")
        yield {
            "kind": "sample",
            "key": f"sample.{name}",
            "registered": f"at least {amount}",
            "this_run": text if reached is not None else "not known",
            "deviates": "unknown" if doubt or reached is None else "no" if enough else "yes",
        }


def _named(kind: str, name: str, registered: str, done: str, there: bool) -> dict[str, str]:
    key = f"{kind}s.{name}"
    return {
        "kind": kind,
        "key": key,
        "registered": registered,
        "this_run": done if there else f"not {done}",
        "deviates": "no" if there else "yes",
    }


def _explanation(prereg: Mapping[str, Any] | None, key: str) -> str:
    """Return the explanation of a key, or of the nearest key above it."""
    explained = prereg["explanations"] if prereg else {}
    parts = key.split(".")
    return next((explained[above] for length in range(len(parts), 0, -1) if (above := ".".join(parts[:length])) in explained), "")
