"""A study folder: its configuration, scenarios, sites and instruments, checked before anything starts."""

from __future__ import annotations

import functools
import os
import re
import stat
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alliance import withdrawals
from alliance.configuration import preregistration
from alliance.configuration.code import PROJECT, SCRIPTS, declarations
from alliance.configuration.errors import ConfigurationError, Fault, nearest, similar
from alliance.configuration.model import Configuration
from alliance.configuration.options import MULTIVERSE, merge, restrict, without_windows_unused
from alliance.configuration.publishing import PUBLISH, Publish
from alliance.configuration.strict_yaml import KeyPath, load_file
from alliance.configuration.validation import parse
from alliance.files import digest

if TYPE_CHECKING:
    from alliance.instruments.registry import Instrument

BASE = "base"
SCENARIOS_FILE = "scenarios.yaml"
SCENARIO_KEYS = ("reason", "changes")
SITE_ID = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?\Z")
SCENARIO_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}\Z")
RESERVED_IDS = {"con", "prn", "aux", "nul", "pooled", "all"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)}
RESERVED_SCENARIOS = {
    # All scenarios, where scenarios are asked for.
    "all",
    "sites",
    "scores",
    "summaries",
    "constants",
    "one_stage",
    "private",
    "sensitivity",
    "changes",
    "publish",
    "logs",
    "issues",
    # Folders of a published bundle, beside those of its scenarios.
    "tables",
    "figures",
    "workflow",
}
REQUEST = "request.json"
NOT_IN_SCENARIOS = {
    "study": "paths, seed and cleaning are the same for all",
    "cleaning": "paths, seed and cleaning are the same for all",
    MULTIVERSE: "it varies the configuration as it stands",
    PUBLISH: "a study is published by one rule",
}
INSTRUMENTS = PROJECT / "workflow" / "instruments"
QUESTION_MODULES = SCRIPTS / "alliance" / "questions"
JUNK = re.compile(r"\.|~\$|Thumbs\.db\Z|desktop\.ini\Z", re.IGNORECASE)
SAFE_FILE_NAME = re.compile(r"[^\x00-\x1f\x7f{}*?\"<>|\\]{1,200}\Z")


@dataclass(frozen=True)
class SiteFolder:
    """One site's folder.

    Parameters
    ----------
    site : str
        The site's id, the folder's name.
    folder : str
        The folder, relative to the study's folder.
    files : tuple of str
        Regular files below it with plain names, relative to the study's folder, sorted.
    listing : tuple of str
        Everything found below it, so that a file that cannot be used is noticed when it comes and goes.
    instruments : tuple of str
        Keys of the instruments that its ``site.yaml`` names; all for a site that sends a summary.
    sends_summary : bool
        Whether its ``site.yaml`` says so.
    """

    site: str
    folder: str
    files: tuple[str, ...]
    listing: tuple[str, ...]
    instruments: tuple[str, ...]
    sends_summary: bool

    @property
    def sends_rows_and_summary(self) -> bool:
        """Whether a site that sends rows also holds a summary as ``estimate`` writes it."""
        return not self.sends_summary and any(name.endswith("/summary.json") for name in self.listing)


@dataclass(frozen=True)
class Question:
    """What a question module declares about itself.

    Parameters
    ----------
    name : str
    path : Path
        The module.
    estimate_reads, pool_reads : tuple of str
        Dotted configuration keys that each step reads.
    needs : tuple of str
        Questions whose tables ``pool`` reads.
    tables : tuple of str
        Tables that ``pool`` writes.
    prepares : bool
        Whether a ``prepare`` step runs over all sites first.
    one_stage : bool
        Whether models are fitted over the rows of all sites that share them, beside the pooled summaries.
    reads_ratings : bool
        Whether ``estimate`` reads answers to items beside the scores.
    has_parts : bool
        Whether ``estimate`` takes over parts of base's answer that a scenario leaves as they are.
    """

    name: str
    path: Path
    estimate_reads: tuple[str, ...]
    pool_reads: tuple[str, ...]
    needs: tuple[str, ...]
    tables: tuple[str, ...]
    prepares: bool
    one_stage: bool
    reads_ratings: bool
    has_parts: bool


def _made_once(method: Callable[[Study, str, str], str]) -> Callable[[Study, str, str], str]:
    """Have a digest of a scenario and a question made once for a study, whose options do not change."""

    @functools.wraps(method)
    def remembered(study: Study, scenario: str, question: str) -> str:
        key = (method.__name__, scenario, question)
        if key not in study._digests:
            study._digests[key] = method(study, scenario, question)
        return study._digests[key]

    return remembered


@dataclass(frozen=True)
class Study:
    """A checked study.

    Parameters
    ----------
    folder : Path
        The study's folder; every relative path starts here.
    config_file : str
        Name of the configuration file.
    scenarios : dict
        Resolved configuration of each scenario, ``base`` first.
    reasons : dict
        Why each scenario is run.
    sites : dict
        The site folders by id, in the order of the ids.
    not_sites : tuple of str
        Folders beside the sites that hold no ``site.yaml``.
    questions : dict
        All question modules by name.
    instrument_files : dict
        The instrument files by key (a study's own file after the shipped one).
    withdrawn : dict
        A digest of the clients who withdrew, by site.
    preregistration : dict or None
        What ``prereg.yaml`` holds, values of the configuration as a run resolves them; ``claims`` has the questions of each claim.
    publish : dict
        Section ``publish``, kept apart from ``scenarios``: no number rests on it, so that no digest may.
    """

    folder: Path
    config_file: str
    scenarios: dict[str, dict[str, Any]]
    reasons: dict[str, str]
    sites: dict[str, SiteFolder]
    not_sites: tuple[str, ...]
    questions: dict[str, Question]
    instrument_files: dict[str, tuple[Path, ...]]
    withdrawn: dict[str, str] = field(default_factory=dict)
    preregistration: dict[str, Any] | None = None
    publish: dict[str, Any] = field(default_factory=dict)
    _digests: dict[tuple[str, str, str], str] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def base(self) -> dict[str, Any]:
        """The configuration without any scenario."""
        return self.scenarios[BASE]

    def enabled_questions(self, scenario: str) -> list[str]:
        """Return the questions that a scenario asks, in the order of the modules."""
        chosen = self.scenarios[scenario]["questions"]
        return [name for name in self.questions if chosen.get(name, {}).get("enabled", False)]

    def score_options(self, scenario: str) -> dict[str, Any]:
        """Return what scoring reads."""
        return self.scenarios[scenario]["scoring"]

    def score_digest(self, scenario: str) -> str:
        """Return the digest that names a scenario's scores."""
        return scoring_digest(self.score_options(scenario))

    @property
    def has_multiverse(self) -> bool:
        """Whether the configuration asks for the multiverse."""
        section = self.base[MULTIVERSE]
        return bool(section["enabled"] and section["grids"])

    def multiverse_options(self) -> dict[str, Any]:
        """Return what the multiverse reads."""
        from alliance.sensitivity.specifications import options_of

        return options_of(self.base) | {"seed": self.base["study"]["seed"]}

    def multiverse_digest(self) -> str:
        """Return the digest that names the sites' answers to the multiverse."""
        return digest(self.multiverse_options())

    def multiverse_scorings(self) -> list[dict[str, Any]]:
        """Return every section ``scoring`` that the multiverse needs, that of the configuration first."""
        from alliance.sensitivity.specifications import scorings

        return scorings(self.multiverse_options())

    def estimate_options(self, scenario: str, question: str) -> dict[str, Any]:
        """Return what a question's ``estimate`` reads.

        ``published_without`` names the study variables that mean something else in a scenario than in the configuration as it stands: a
        matrix published elsewhere holds none of these. Where no key that the question reads is changed, nothing is for it.
        """
        options = self._options(scenario, self.questions[question].estimate_reads)
        if options == self._options(BASE, self.questions[question].estimate_reads):
            return options
        changed = _changed_variables(self.base, self.scenarios[scenario], question)
        read = {key.split(".")[0] for key in self.questions[question].estimate_reads}
        return options | {"published_without": changed} if changed and read & set(changed) else options

    def pool_options(self, scenario: str, question: str) -> dict[str, Any]:
        """Return what a question's ``pool`` and methods sentences read."""
        module = self.questions[question]
        return self._options(scenario, (*module.estimate_reads, *module.pool_reads))

    @_made_once
    def estimate_digest(self, scenario: str, question: str) -> str:
        """Return the digest that names a question's site summaries: all options that they rest on."""
        return digest({"options": self.estimate_options(scenario, question), "scoring": self.score_options(scenario)})

    def base_digest(self, scenario: str, question: str) -> str:
        """Return the digest of base's summaries whose parts a scenario's may take over; empty where there are none."""
        if not self.questions[question].has_parts or question not in self.enabled_questions(BASE):
            return ""
        of_base = self.estimate_digest(BASE, question)
        alike = self.score_digest(scenario) == self.score_digest(BASE)
        return of_base if alike and of_base != self.estimate_digest(scenario, question) else ""

    @_made_once
    def one_stage_digest(self, scenario: str, question: str) -> str:
        """Return the digest that names a question's models over all rows: what its summaries rest on, and which sites are pooled."""
        sites = self.scenarios[scenario]["pooling"]["sites"]
        return digest({"estimate": self.estimate_digest(scenario, question), "sites": sites})

    @_made_once
    def pool_digest(self, scenario: str, question: str) -> str:
        """Return the digest of all options that a question's result tables rest on; scenarios that agree on it have the same tables."""
        module = self.questions[question]
        return digest(
            {
                "options": self.pool_options(scenario, question),
                "summaries": self.estimate_digest(scenario, question),
                "one_stage": self.one_stage_digest(scenario, question) if module.one_stage else "",
                "needs": {needed: self.pool_digest(scenario, needed) for needed in module.needs},
            }
        )

    def _options(self, scenario: str, keys: tuple[str, ...]) -> dict[str, Any]:
        return without_windows_unused(restrict(self.scenarios[scenario], keys)) | {"seed": self.base["study"]["seed"]}


def _changed_variables(base: dict[str, Any], other: dict[str, Any], question: str) -> list[str]:
    """Return the study variables that stand for other measures in another configuration, sorted."""
    from alliance.variables.checks import PROCESS, section

    def measure(config: dict[str, Any], name: str, definition: dict[str, Any]) -> list[Any]:
        part = {**config[name], **{key: value for key, value in definition.items() if value is not None}}
        window = config["alliance"]["windows"].get(part.get("window"))
        return [window, *(part.get(key) for key in ("instruments", "instrument", "scale", "rater", "timepoint"))]

    def differs(name: str, mine: dict[str, Any], theirs: dict[str, Any]) -> bool:
        return measure(base, name, mine) != measure(other, name, theirs)

    own, before = other["questions"].get(question, {}), base["questions"].get(question, {})
    changed = {name for name in (*PROCESS, "symptoms", "outcome") if differs(name, {}, {})}
    if question == "client_factors" and differs("alliance", {"window": before["window"]}, {"window": own["window"]}):
        changed.add("alliance")
    changed |= {"intake", "residual_gain", "change"} if "outcome" in changed else set()
    changed |= {"early_gain"} if "symptoms" in changed else set()
    if question == "path_models":
        for name, definition in own["variables"].items():
            mine, at = before["variables"].get(name), section(definition["construct"])
            new = mine is None or mine["construct"] != definition["construct"]
            changed |= {name} if new or (at and differs(at, mine, definition)) else set()
    return sorted(changed)


def scoring_digest(section: dict[str, Any]) -> str:
    """Return the digest that names the scores made with a section ``scoring``."""
    return digest({"scoring": section})


def load(config_path: Path, check_all: bool = True) -> Study:
    """Read and check a study.

    Parameters
    ----------
    config_path : Path
        The one configuration file that is read.
    check_all : bool
        Whether to check more than each value by itself: values against each other and the instruments, the options of the multiverse;
        False where the caller has just done so.

    Returns
    -------
    Study

    Raises
    ------
    ConfigurationError
        With every fault found in the configuration, the scenarios, the instruments and the sites' names.
    """
    config_path = Path(config_path)
    folder = config_path.resolve().parent
    raw, lines = load_file(config_path, config_path.name)
    if not isinstance(raw, dict):
        raise ConfigurationError([Fault(config_path.name, 0, "", "is empty or not a mapping of keys; see `make new-study`")])
    faults: list[Fault] = []
    base: dict[str, Any] | None = None
    try:
        base = _resolved(raw, lines, config_path.name)
    except ConfigurationError as error:
        faults += error.faults
    questions = _question_modules()
    scenarios, reasons = ({BASE: base}, {BASE: "the configuration as it stands"}) if base else ({}, {})
    scenario_lines: dict[KeyPath, int] = {}
    if base:
        faults += _cross_checks(base, lines, config_path.name) if check_all else []
        more, why, scenario_lines, scenario_faults = _scenarios(folder, raw, base, check_all)
        scenarios |= more
        reasons |= why
        faults += scenario_faults
    section = raw.get("study") if isinstance(raw.get("study"), dict) else {}
    instrument_files: dict[str, tuple[Path, ...]] = {}
    registry: dict[str, Instrument] = {}
    if not any(fault.key == "study.instruments_dir" for fault in faults):
        instrument_files, found = _instrument_files(folder, section.get("instruments_dir"), config_path.name, lines)
        faults += found
        if check_all and not found:
            registry, found = _registry(instrument_files)
            faults += found or _instrument_faults(registry, scenarios, config_path.name, lines, scenario_lines)
    sites: dict[str, SiteFolder] = {}
    not_sites: tuple[str, ...] = ()
    if base:
        sites, not_sites, found = find_sites(folder, base["study"]["sites_dir"], tuple(instrument_files), config_path.name, lines)
        faults += found
        # A site that answers a request has the hub's configuration, but none of the other sites.
        names = sites if sites and not found and not (folder / REQUEST).exists() else None
        if names:
            faults += _pooled_site_faults(names, scenarios, config_path.name, lines, scenario_lines)
        # Options of the multiverse would repeat every fault of the configuration that they change; all would, without instruments.
        if registry and not any(fault.file == config_path.name for fault in faults):
            faults += _multiverse_faults(raw, base, registry, names, lines, config_path.name)
    withdrawn, found = _withdrawn(folder)
    faults += found
    registered, found = _preregistration(folder, raw if base else None, list(questions))
    faults += found
    if faults:
        raise ConfigurationError(faults)
    return Study(
        folder, config_path.name, scenarios, reasons, sites, not_sites, questions, instrument_files, withdrawn, registered, _publish(raw)
    )


def _resolved(raw: dict[str, Any], lines: dict[KeyPath, int], name: str) -> dict[str, Any]:
    """Return a configuration with defaults filled in, without the section that no result rests on."""
    return parse(Configuration, raw, lines, name).model_dump(by_alias=True, exclude_none=False, exclude={PUBLISH})


def _publish(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the section ``publish`` with defaults filled in, of a configuration without faults."""
    return parse(Publish, raw.get(PUBLISH), {}, "").model_dump()


def _cross_checks(config: dict[str, Any], lines: dict[KeyPath, int], name: str, beside: dict[str, Any] | None = None) -> list[Fault]:
    """Return faults that concern several keys at once: windows, variables and model syntax, where that is not as in one ``beside``."""
    from alliance.variables import checks

    faults = []

    def add(path: KeyPath, message: str) -> None:
        faults.append(Fault(name, _line(lines, path), ".".join(map(str, path)), message))

    for path, message in checks(config):
        add(tuple(path), message)
    alike = beside is not None and config["questions"]["path_models"] == beside["questions"]["path_models"]
    return faults if alike else faults + _path_model_faults(config, lines, name)


def _multiverse_faults(
    raw: dict[str, Any],
    base: dict[str, Any],
    registry: dict[str, Instrument],
    sites: dict[str, SiteFolder] | None,
    lines: dict[KeyPath, int],
    name: str,
) -> list[Fault]:
    """Return faults of the grids of the multiverse, and of the configurations that their options make; ``sites``: None is not known."""
    from alliance.sensitivity.configurations import Checked, faults_of_configurations
    from alliance.sensitivity.specifications import faults as grid_faults
    from alliance.variables.checks import checks
    from alliance.variables.score_checks import score_faults

    section = base[MULTIVERSE]
    if section["enabled"] and not section["grids"]:
        path = (MULTIVERSE, "grids")
        names = "alliance_outcome, within_clients, dropout or rupture_outcome"
        message = f"the multiverse is empty: declare a grid ({names}), or set multiverse.enabled: false"
        return [Fault(name, _line(lines, path), ".".join(path), message)]

    def every_check(config: dict[str, Any]) -> list[tuple[tuple[Any, ...], str]]:
        found = [*checks(config), *score_faults(config, registry)]
        return found if sites is None else [*found, *_unknown_sites(config, sites)]

    def resolve(merged: dict[str, Any], at: dict[KeyPath, int]) -> dict[str, Any]:
        return _resolved(merged, at, name)

    found = grid_faults(section) or faults_of_configurations(Checked(raw, base, lines, resolve, every_check))
    return [Fault(name, _line(lines, path), ".".join(map(str, path)), message) for path, message in found]


def _path_model_faults(config: dict[str, Any], lines: dict[KeyPath, int], name: str) -> list[Fault]:
    """Return faults of the syntax of path models: unknown names, feedback loops, no identification, comparisons of unlike models."""
    from alliance.statistics.model_syntax import ModelSyntaxError
    from alliance.statistics.structural_identification import feedback_loop, not_identified
    from alliance.variables.path_model import in_groups, path_model
    from alliance.variables.path_models import definitions

    section = config["questions"]["path_models"]
    base: KeyPath = ("questions", "path_models")
    faults, observed = [], {}
    for key, content in section["models"].items():
        path = (*base, "models", key, "syntax")
        first = lines.get(path, 0)
        try:
            model = path_model(section, key)
            groups, equal = in_groups(model)
            loop = feedback_loop(model)
            reason = "" if loop else not_identified(model, groups, *equal)
        except ModelSyntaxError as error:
            for problem in error.problems:
                message = f"{problem.message}; {problem.suggestion}" if problem.suggestion else problem.message
                at = path if problem.line or not content["group_partial"] else (*path[:-1], "group_partial")
                line = first + problem.line if first and problem.line else _line(lines, at)
                faults.append(Fault(name, line, ".".join(at), message))
            continue
        observed[key] = set(model.observed)
        message = f"the model cannot be estimated: {reason}; fix or set equal some of them" if reason else ""
        if loop:
            message = f"the regressions run in a circle ({' -> '.join(loop)}); take one of them out, or measure the variables at two times"
        if message:
            faults.append(Fault(name, first, ".".join(path), message))
    for key, content in section["comparisons"].items():
        known = [model for model in content["models"] if model in observed]
        path = (*base, "comparisons", key, "models")
        everything = set().union(*(observed[model] for model in known))
        groups = {model: section["models"][model]["groups"] for model in known}
        for model in known[1:]:
            if groups[model] != groups[known[0]]:
                message = f"models can only be compared for the same groups; '{known[0]}' and '{model}' have others"
                faults.append(Fault(name, _line(lines, path), ".".join(path), message))
        for model in known:
            lacking = sorted(everything - observed[model])
            if lacking:
                message = (
                    f"models can only be compared on the same variables; '{model}' lacks {', '.join(lacking)} (a variable without a "
                    "path of its own is written as 'name ~~ name', or beside the other predictors of an outcome)"
                )
                faults.append(Fault(name, _line(lines, path), ".".join(path), message))
        meanings = {model: definitions(section, model) for model in known}
        for variable in sorted(everything):
            own = [model for model in known if variable in observed[model]]
            other = next((model for model in own if meanings[model][variable] != meanings[own[0]][variable]), None)
            if other:
                message = f"models can only be compared on the same variables; '{variable}' is not the same in '{own[0]}' and '{other}'"
                faults.append(Fault(name, _line(lines, path), ".".join(path), message))
    return faults


def _scenarios(
    folder: Path, raw: dict[str, Any], base: dict[str, Any], check_all: bool
) -> tuple[dict[str, dict[str, Any]], dict[str, str], dict[KeyPath, int], list[Fault]]:
    """Return the resolved scenarios, their reasons, the line of every key of their file, and its faults."""
    path = folder / SCENARIOS_FILE
    if not path.exists():
        return {}, {}, {}, []
    try:
        entries, lines = load_file(path)
    except ConfigurationError as error:
        return {}, {}, {}, error.faults
    if entries is not None and not isinstance(entries, dict):
        message = "is no mapping: write each scenario's name, then `reason:` and `changes:` below it"
        return {}, {}, {}, [Fault(SCENARIOS_FILE, 1, "", message)]
    # What is wrong with the configuration as it stands is told once, not again for every scenario.
    of_base = {(fault.key, fault.message) for fault in _cross_checks(base, {}, "")} if check_all else set()
    scenarios: dict[str, dict[str, Any]] = {}
    reasons: dict[str, str] = {}
    faults: list[Fault] = []
    for name, entry in (entries or {}).items():
        fault = functools.partial(_scenario_fault, lines, faults, name)
        if name == BASE or name in RESERVED_SCENARIOS or not SCENARIO_NAME.match(name):
            fault("choose another name: small letters, digits and _, beginning with a letter; not base, all or a folder of results/")
            continue
        if not isinstance(entry, dict):
            fault("a scenario holds `reason:` (text) and `changes:` (keys of config.yaml with their new values), nothing else")
            continue
        unknown = [key for key in entry if key not in SCENARIO_KEYS]
        for key in unknown:
            below = "; keys of config.yaml stand below `changes:`" if key in Configuration.model_fields else ""
            fault(f"unknown key{below or similar(key, SCENARIO_KEYS)}; a scenario holds `reason:` and `changes:`, nothing else", key)
        if unknown:
            continue
        if not isinstance(entry.get("changes"), dict):
            fault("a scenario holds `reason:` (text) and `changes:` (keys of config.yaml with their new values), nothing else")
            continue
        if not isinstance(entry.get("reason"), str) or not entry["reason"].strip():
            fault("say why this scenario is run", "reason")
        if not entry["changes"]:
            fault("changes nothing; name a key of config.yaml and its new value, or remove the scenario", "changes")
        refused = [key for key in NOT_IN_SCENARIOS if key in entry["changes"]]
        for key in refused:
            fault(f"'{key}' cannot differ between scenarios ({NOT_IN_SCENARIOS[key]})", "changes", key)
        changes = {key: value for key, value in entry["changes"].items() if key not in refused}
        shifted = {at[2:]: line for at, line in lines.items() if at[:2] == (name, "changes")}
        try:
            merged = _resolved(merge(raw, changes), shifted, SCENARIOS_FILE)
        except ConfigurationError as error:
            faults += [Fault(f.file, f.line, f"{name}.{f.key}", f.message) for f in error.faults]
            continue
        found = _cross_checks(merged, shifted, SCENARIOS_FILE, base) if check_all else []
        found = [fault for fault in found if (fault.key, fault.message) not in of_base]
        faults += [Fault(f.file, f.line, f"{name}.{f.key}", f.message) for f in found]
        scenarios[name] = merged
        reasons[name] = str(entry.get("reason", ""))
    return scenarios, reasons, lines, faults


def _scenario_fault(lines: dict[KeyPath, int], faults: list[Fault], name: str, message: str, *key: str) -> None:
    faults.append(Fault(SCENARIOS_FILE, _line(lines, (name, *key)), ".".join((name, *key)), message))


def _line(lines: dict[KeyPath, int], path: KeyPath) -> int:
    """Return the line of a key, or of the nearest key above it that stands in the file."""
    return next((lines[path[:length]] for length in range(len(path), 0, -1) if path[:length] in lines), 0)


def _question_modules() -> dict[str, Question]:
    questions = {}
    for path in sorted(QUESTION_MODULES.glob("*/question.py")):
        found = declarations(path)
        questions[path.parent.name] = Question(
            name=path.parent.name,
            path=path,
            estimate_reads=tuple(found["estimate_reads"]),
            pool_reads=tuple(found["pool_reads"]),
            needs=tuple(found.get("needs", ())),
            tables=tuple(found["tables"]),
            prepares="prepare" in found,
            one_stage="one_stage" in found,
            reads_ratings=bool(found.get("reads_ratings", False)),
            has_parts="part_options" in found,
        )
    return questions


def _instrument_files(
    folder: Path, own: str | None, name: str, lines: dict[KeyPath, int]
) -> tuple[dict[str, tuple[Path, ...]], list[Fault]]:
    files: dict[str, tuple[Path, ...]] = {path.stem: (path,) for path in sorted(INSTRUMENTS.glob("*.yaml"))}
    if own:
        own_folder = folder / own
        if not own_folder.is_dir():
            line = lines.get(("study", "instruments_dir"), 0)
            return files, [Fault(name, line, "study.instruments_dir", f"the folder {own} does not exist")]
        for path in sorted(own_folder.glob("*.yaml")):
            files[path.stem] = (*files.get(path.stem, ()), path)
    return files, []


def _registry(files: dict[str, tuple[Path, ...]]) -> tuple[dict[str, Instrument], list[Fault]]:
    from alliance.instruments import load_registry

    folders = list(dict.fromkeys(path.parent for paths in files.values() for path in paths))
    try:
        return load_registry(sorted(folders, key=lambda path: path != INSTRUMENTS)), []
    except ConfigurationError as error:
        return {}, error.faults


def _instrument_faults(
    registry: dict[str, Instrument],
    scenarios: dict[str, dict[str, Any]],
    name: str,
    lines: dict[KeyPath, int],
    scenario_lines: dict[KeyPath, int],
) -> list[Fault]:
    from alliance.variables.score_checks import score_faults

    faults = []
    of_base = list(score_faults(scenarios[BASE], registry)) if BASE in scenarios else []
    for scenario, config in scenarios.items():
        for path, message in score_faults(config, registry):
            where = ".".join(map(str, path))
            if scenario == BASE:
                faults.append(Fault(name, _line(lines, tuple(path)), where, message))
            elif (path, message) not in of_base:
                line = _line(scenario_lines, (scenario, "changes", *path))
                faults.append(Fault(SCENARIOS_FILE, line, f"{scenario}.{where}", message))
    return faults


def find_sites(
    folder: Path, sites_dir: str, instruments: tuple[str, ...], name: str, lines: dict[KeyPath, int]
) -> tuple[dict[str, SiteFolder], tuple[str, ...], list[Fault]]:
    """Return the site folders, the folders that are none, and faults in the sites' names."""
    at = lines.get(("study", "sites_dir"), 0)
    root = folder / sites_dir
    if not root.is_dir():
        return {}, (), [Fault(name, at, "study.sites_dir", f"the folder {sites_dir} does not exist; create it or correct the path")]
    sites: dict[str, SiteFolder] = {}
    not_sites: list[str] = []
    faults: list[Fault] = []
    seen: dict[str, str] = {}
    for entry in sorted(os.scandir(root), key=lambda e: e.name):
        if not entry.is_dir() or JUNK.match(entry.name):
            continue
        if not os.path.lexists(os.path.join(entry.path, "site.yaml")):
            not_sites.append(entry.name)
            continue
        shown = entry.name.encode("unicode_escape").decode("ascii")
        if not SITE_ID.match(entry.name) or entry.name in RESERVED_IDS:
            faults.append(
                Fault(
                    f"{sites_dir}/{shown}",
                    0,
                    "",
                    "a site folder is named by small letters, digits, - and _ (1 to 32, no - or _ at either end, no name that "
                    "Windows reserves); rename the folder",
                )
            )
            continue
        folded = unicodedata.normalize("NFKC", entry.name).casefold()
        if folded in seen:
            faults.append(Fault(f"{sites_dir}/{shown}", 0, "", f"has the same id as {seen[folded]}; rename one"))
            continue
        seen[folded] = entry.name
        sites[entry.name] = _site_folder(folder, sites_dir, entry.name, instruments)
        if sites[entry.name].sends_rows_and_summary:
            faults.append(
                Fault(
                    f"{sites_dir}/{entry.name}",
                    0,
                    "",
                    "sends rows and a summary of the same clients, which would count them twice (A09); keep one: remove the summary "
                    "files, or set `data: summary` in site.yaml and remove the tables",
                )
            )
    if not sites and not faults:
        faults.append(Fault(name, at, "study.sites_dir", f"{sites_dir} holds no site (a folder with a site.yaml); see `make new-site`"))
    return sites, tuple(not_sites), faults


def _pooled_site_faults(
    sites: dict[str, SiteFolder],
    scenarios: dict[str, dict[str, Any]],
    name: str,
    lines: dict[KeyPath, int],
    scenario_lines: dict[KeyPath, int],
) -> list[Fault]:
    """Return faults of sites that are left out of pooling by a name that no site has; of scenarios, those that base does not have."""
    of_base = _unknown_sites(scenarios[BASE], sites)
    faults = [Fault(name, _line(lines, path), ".".join(path), message) for path, message in of_base]
    for scenario, config in scenarios.items():
        for path, message in _unknown_sites(config, sites):
            if (path, message) not in of_base:
                line = _line(scenario_lines, (scenario, "changes", *path))
                faults.append(Fault(SCENARIOS_FILE, line, ".".join((scenario, *path)), message))
    return faults


def _unknown_sites(config: dict[str, Any], sites: dict[str, SiteFolder]) -> list[tuple[tuple[str, ...], str]]:
    """Return the names of sites left out of pooling that no site has, as (path, message)."""
    names = [site for site in config["pooling"]["sites"]["leave_out"] if site not in sites]
    return [(("pooling", "sites", "leave_out"), f"no site is called '{site}'{nearest(site, sites)}") for site in names]


def _site_folder(folder: Path, sites_dir: str, site: str, instruments: tuple[str, ...]) -> SiteFolder:
    root = folder / sites_dir / site
    files: list[str] = []
    listing: list[str] = []
    for parent, folders, names in os.walk(root, followlinks=False):
        folders[:] = sorted(name for name in folders if not JUNK.match(name))
        for name in sorted(names):
            if JUNK.match(name):
                continue
            path = os.path.join(parent, name)
            relative = os.path.relpath(path, folder).replace(os.sep, "/")
            listing.append(relative)
            if SAFE_FILE_NAME.match(name) and stat.S_ISREG(os.lstat(path).st_mode) and os.access(path, os.R_OK):
                files.append(relative)
    text = ""
    if f"{sites_dir}/{site}/site.yaml" in files:
        text = (root / "site.yaml").read_text(encoding="utf-8", errors="replace")
    named = set(re.findall(r"[A-Za-z0-9_]+", text))
    # A summary carries a fingerprint of all instruments it was scored with.
    summary = re.search(r"^data:\s*summary\b", text, re.MULTILINE) is not None
    # A name that no instrument has is answered with the nearest one, so all must be at hand.
    unknown = set(re.findall(r"\binstrument:\s*[\"']?([A-Za-z0-9_]+)", text)).difference(instruments)
    used = tuple(key for key in instruments if summary or unknown or key in named)
    return SiteFolder(site, f"{sites_dir}/{site}", tuple(files), tuple(listing), used, summary)


def _preregistration(folder: Path, raw: dict[str, Any] | None, questions: list[str]) -> tuple[dict[str, Any] | None, list[Fault]]:
    """Return what was registered, and its faults; keys are checked as if they stood in a sound configuration file."""
    try:
        found = preregistration.load(folder)
    except ConfigurationError as error:
        return None, error.faults
    if found is None:
        return None, []
    registered, lines = found
    speak = preregistration.questions_of_claims()
    faults = preregistration.faults_beside(registered, lines, questions, speak)
    if PUBLISH in registered["config"]:
        del registered["config"][PUBLISH]
        message = "how a study is published is no choice of the analysis; take it out of the registration"
        faults.append(Fault(preregistration.NAME, lines.get(("config", PUBLISH), 0), f"config.{PUBLISH}", message))
    if raw is not None:
        within = {at[1:]: line for at, line in lines.items() if at[:1] == ("config",)}
        try:
            resolved = _resolved(merge(raw, registered["config"]), within, preregistration.NAME)
            registered["config"] = preregistration.part(resolved, preregistration.leaves(registered["config"]))
        except ConfigurationError as error:
            faults += [Fault(f.file, f.line, f"config.{f.key}", f.message) for f in error.faults]
    registered["claims"] = {claim: speak.get(claim, []) for claim in registered["confirmatory"]["claims"]}
    return registered, faults


def _withdrawn(folder: Path) -> tuple[dict[str, str], list[Fault]]:
    """Return for each site a digest of its clients who withdrew, so that only that site is cleaned again."""
    try:
        by_site = withdrawals.read_withdrawals(folder / withdrawals.NAME)
    except withdrawals.UnusableList as unusable:
        return {}, [Fault(withdrawals.NAME, line, "", message) for line, message in unusable.faults]
    return {site: digest(sorted(ids)) for site, ids in sorted(by_site.items())}, []


__all__ = ["BASE", "MULTIVERSE", "Question", "SiteFolder", "Study", "load", "scoring_digest"]
