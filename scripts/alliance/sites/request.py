"""What a hub asks a site that keeps its rows, and what the site may send back.

A request is a study folder: the site adds its files, runs the pipeline at home, and sends the summaries that answer the hub's options.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from alliance import __version__
from alliance.configuration.errors import ConfigurationError, Fault
from alliance.configuration.strict_yaml import load_file
from alliance.configuration.study import BASE, INSTRUMENTS, MULTIVERSE, SITE_ID, Study
from alliance.files import read_json, replacing, write_json, write_text
from alliance.issues import Issue, Severity
from alliance.questions.summary import SiteSummary, SummaryError
from alliance.sites.summaries import FILES, disclosive_cells, instruments_digest

SCHEMA_VERSION = 1
FOLDER = "request"
ANSWER = "answer"
SMALLEST_CELL = 10

README = """What the study asks of site {site}
{rule}

Study: {title}
Your rows stay with you. You run the same pipeline on them and send back a summary: counts, means, covariances and estimates.

1. Put this folder where you work with your data, and alliance-pipeline {version} beside it.
2. Copy your files into data/{site}/ and describe them in data/{site}/site.yaml (docs/add-a-site.md explains every key).
3. In the folder of alliance-pipeline:
       make check CONFIG=<this folder>/config.yaml
       make run   CONFIG=<this folder>/config.yaml SCENARIOS="{scenarios}"
       make send  CONFIG=<this folder>/config.yaml
4. Look at the tables in the folder answer/ (they are plain text), and send that folder.
   Do not open and save them in a spreadsheet: the numbers would lose digits and the study would have to refuse them.

`make send` leaves out a summary that gives away a group of fewer than {smallest} clients, and says which.
Change nothing in config.yaml, scenarios.yaml and instruments/: a summary made with other options does not answer the request.

Asked for:
{asked}
"""

SITE_FILE = """# Describe the files of this site here; docs/add-a-site.md explains every key.
label: {site}
data: rows
tables: []
# tables:
#   - table: ratings
#     files: ratings.csv
#     instrument: {instrument}
#     rater: client
#     timepoint: session
#     columns: {{client_id: ID, therapist_id: THERAPIST, session: SESSION, date: DATE}}
#     items: "item_{{item}}"
"""


@dataclass(frozen=True)
class Answer:
    """What a site can send back.

    Parameters
    ----------
    folder : Path
        Folder to send.
    packed : tuple of str
        ``<question>/<options digest>`` of every summary in it.
    issues : tuple of Issue
        What was left out, and why.
    """

    folder: Path
    packed: tuple[str, ...] = ()
    issues: tuple[Issue, ...] = field(default_factory=tuple)


def asked(study: Study, scenarios: list[str]) -> list[dict[str, Any]]:
    """Return what the study asks of every site: one record a question and set of options, with the scenarios that use it.

    Raises
    ------
    ConfigurationError
        Where a question needs constants that no run has computed yet.
    """
    records: dict[tuple[str, str], dict[str, Any]] = {}
    faults = []
    for scenario in scenarios:
        for question in study.enabled_questions(scenario):
            options_digest = study.estimate_digest(scenario, question)
            record = records.setdefault(
                (question, options_digest),
                {
                    "question": question,
                    "options_digest": options_digest,
                    "options": study.estimate_options(scenario, question),
                    "scoring": study.score_options(scenario),
                    "constants": {},
                    "instruments_digest": _fingerprint(study),
                    "scenarios": [],
                },
            )
            record["scenarios"].append(scenario)
            if study.questions[question].prepares:
                path = study.folder / "results" / "constants" / question / f"{options_digest}.json"
                if path.is_file():
                    record["constants"] = read_json(path)
                else:
                    faults.append(
                        Fault(
                            study.config_file,
                            0,
                            f"questions.{question}",
                            f"its constants for {scenario} are not computed yet; use make run",
                        )
                    )
    if study.has_multiverse and BASE in scenarios:
        records[MULTIVERSE, study.multiverse_digest()] = {
            "question": MULTIVERSE,
            "options_digest": study.multiverse_digest(),
            "options": study.multiverse_options(),
            "scoring": study.score_options(BASE),
            "constants": {},
            "instruments_digest": _fingerprint(study),
            "scenarios": [BASE],
        }
    if faults:
        raise ConfigurationError(faults)
    return [records[key] for key in sorted(records)]


def _fingerprint(study: Study) -> str:
    return instruments_digest(path for paths in study.instrument_files.values() for path in paths)


def write_request(study: Study, site: str, scenarios: list[str]) -> Path:
    """Write ``request/<site>/``, a study folder in which the site answers the study's questions at home.

    Parameters
    ----------
    study : Study
        The hub's study.
    site : str
        Id of the site; it need not have a folder yet.
    scenarios : list of str
        Scenarios that the site is to answer.

    Returns
    -------
    Path
        The folder. Files of an earlier request are replaced; what the site's folder ``data/`` holds stays.

    Raises
    ------
    ConfigurationError
        For an id that no site can have, or constants not computed yet.
    """
    if not SITE_ID.match(site):
        raise ConfigurationError([Fault("command line", 0, "SITE", "a site's id has small letters, digits, - and _, 1 to 32 of them")])
    folder = study.folder / FOLDER / site
    records = asked(study, scenarios)
    config = {name: dict(section) for name, section in study.base.items()}
    config["study"] |= {"sites_dir": "data", "strict": False}
    own = study.base["study"]["instruments_dir"]
    if own:
        config["study"]["instruments_dir"] = "instruments"
        for paths in study.instrument_files.values():
            for path in paths:
                if path.parent != INSTRUMENTS:
                    with replacing(folder / "instruments" / path.name) as temporary:
                        temporary.write_bytes(path.read_bytes())
    heading = f"# What the study asks of site {site}. Change nothing here; describe your files in data/{site}/site.yaml.\n"
    write_text(folder / "config.yaml", heading + _yaml(config))
    named = [name for name in scenarios if name != BASE]
    if named:
        entries, _ = load_file(study.folder / "scenarios.yaml")
        write_text(folder / "scenarios.yaml", _yaml({name: entries[name] for name in named}))
    else:
        (folder / "scenarios.yaml").unlink(missing_ok=True)
    write_json(
        folder / "request.json",
        {"schema_version": SCHEMA_VERSION, "site": site, "title": study.base["study"]["title"], "version": __version__, "asked": records},
    )
    site_yaml = folder / "data" / site / "site.yaml"
    if not site_yaml.exists():
        named = (key for section in ("alliance", "empathy", "outcome") for key in study.base[section]["instruments"])
        write_text(site_yaml, SITE_FILE.format(site=site, instrument=next(named, "wai_sr").partition(".")[0]))
    title = study.base["study"]["title"]
    write_text(
        folder / "README.txt",
        README.format(
            site=site,
            rule="=" * (29 + len(site)),
            title=title,
            version=__version__,
            scenarios=" ".join(scenarios),
            smallest=SMALLEST_CELL,
            asked="\n".join(f"  {r['question']} {r['options_digest']} ({', '.join(r['scenarios'])})" for r in records),
        ),
    )
    return folder


def pack_answer(folder: Path, smallest: int = SMALLEST_CELL) -> Answer:
    """Copy the summaries that answer a request into ``answer/``, except those that give away small groups of clients.

    Parameters
    ----------
    folder : Path
        The request's folder, after a run.
    smallest : int
        Groups of fewer clients are not given away.

    Returns
    -------
    Answer

    Raises
    ------
    ConfigurationError
        Where the folder holds no request.
    """
    folder = Path(folder)
    try:
        request = read_json(folder / "request.json")
        site, records = request["site"], request["asked"]
    except (OSError, ValueError, KeyError, TypeError):
        message = "is missing or damaged; `make send` works in the folder that the study sent (see its README.txt)"
        raise ConfigurationError([Fault("request.json", 0, "", message)]) from None
    shutil.rmtree(folder / ANSWER, ignore_errors=True)
    packed: list[str] = []
    issues: list[Issue] = []
    for record in records:
        name = f"{record['question']}/{record['options_digest']}"
        source = folder / "results" / "summaries" / name / site
        found = _why_not(source, site, name, smallest)
        issues += found
        if found:
            continue
        for file in FILES:
            if (source / file).is_file():
                with replacing(folder / ANSWER / name / site / file) as temporary:
                    temporary.write_bytes((source / file).read_bytes())
        packed.append(name)
    return Answer(folder / ANSWER, tuple(packed), tuple(issues))


def _why_not(source: Path, site: str, name: str, smallest: int) -> list[Issue]:
    """Return why a summary cannot be sent; empty where it can."""

    def issue(code: str, message: str, fix: str, **place: Any) -> Issue:
        return Issue(code=code, severity=Severity.SITE, site=site, file=name, message=message, fix=fix, **place)

    if not (source / "summary.json").is_file():
        return [
            issue(
                "A06", "This summary is not computed yet.", "Run `make run` with the scenarios that README.txt names, changing no option."
            )
        ]
    try:
        summary = SiteSummary.read(source)
    except SummaryError as error:
        return [issue("A10", f"The summary cannot be used ({error}).", "Delete results/ and run again.")]
    if summary.status != "ok":
        return [issue("A06", f"The summary holds nothing: {summary.reason}", "Mend what `make check` names and run again.")]
    cells = disclosive_cells(summary.moments, smallest)
    return [
        issue(
            "A06",
            f"The moments give away a group of fewer than {smallest} clients.",
            "Ask the study to leave this variable out for your site, or wait until more clients have been added.",
            column=" and ".join(dict.fromkeys(variable for variable in (row.var1, row.var2) if variable)),
        )
        for row in cells.drop_duplicates(["var1", "var2"]).itertuples()
    ]


class _Dumper(yaml.SafeDumper):
    pass


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def _yaml(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
