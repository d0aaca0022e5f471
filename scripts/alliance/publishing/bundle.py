"""A bundle: every file that is published, from results that disclosure control has seen."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from alliance.publishing import about as citation
from alliance.publishing import crate, figures, methods, statement
from alliance.publishing.about import About, about
from alliance.publishing.archive import archive, manifest
from alliance.publishing.changes import LastBundle, changes_markdown
from alliance.publishing.disclosure import Decision, Gated, Results, gate_together
from alliance.publishing.index_page import index_page
from alliance.publishing.profiles import Profile
from alliance.publishing.published_tables import Published, codebook, data_package, published, table_files
from alliance.questions.headlines import Headline, headline_numbers
from alliance.reports import pages, workbook
from alliance.reports.bibliography import sources
from alliance.reports.elements import Chapter
from alliance.reports.inputs import ReportData
from alliance.reports.page import BASE_SCENARIO
from alliance.reports.sensitivity_page import sensitivity_page
from alliance.side_by_side import Each

MANIFEST = "manifest-sha256.txt"
SENSITIVITY = "sensitivity"
WORKBOOK = "tables.xlsx"
OTHER_SITE = "(a site that is not shown by itself)"
RESTS_ON_THE_LAST = {"CHANGES.md", "DISCLOSURE.md", "disclosure.csv", "disclosure.json", crate.METADATA, MANIFEST}
"""Files that differ between two bundles of the same results where one was published before."""

DESCRIPTIONS = {
    "index.html": "Start page",
    "sensitivity/index.html": "Scenarios side by side, and the multiverse",
    "README.md": "What is in the bundle",
    "methods.md": "Methods, with citations",
    "references.bib": "The works that are cited, as BibTeX",
    "config.yaml": "Every choice of the analysis",
    "codebook.csv": "Every column of every table",
    "datapackage.json": "The tables as a data package (Frictionless)",
    "requirements.lock": "Versions of all packages",
    "CITATION.cff": "How to cite",
    ".zenodo.json": "Metadata for Zenodo",
    "CHANGES.md": "What differs from the bundle before",
    "DISCLOSURE.md": "What is hidden, and by which rules",
    "disclosure.csv": "Every decision of disclosure control",
    "disclosure.json": "Limits of disclosure control, for machines",
    "verify_bundle.py": "Checks the bundle: python verify_bundle.py .",
    crate.METADATA: "The bundle as a research object (RO-Crate)",
    MANIFEST: "SHA-256 of every file",
    crate.WORKFLOW: "The workflow",
}


@dataclass(frozen=True)
class Source:
    """What a bundle is made of.

    Parameters
    ----------
    scenarios : mapping
        Report data by scenario, ``base`` first; nothing of them is hidden yet.
    sensitivity : mapping
        Tables over scenarios, by name.
    multiverse : mapping
        What the multiverse reads; empty where there is none.
    publish : mapping
        Section ``publish`` of the configuration with defaults filled in.
    headlines : sequence of Headline
    bibliography : str
        All works that reports may cite, as BibTeX.
    lock : bytes
        The lock file.
    workflow : mapping
        Files of the workflow by their names.
    verifier : bytes
        The script that checks a bundle.
    templates : Path
        Folder of the templates.
    last : LastBundle or None
        What was published last.
    """

    scenarios: Mapping[str, ReportData]
    sensitivity: Mapping[str, pd.DataFrame]
    multiverse: Mapping[str, Any]
    publish: Mapping[str, Any]
    headlines: Sequence[Headline]
    bibliography: str
    lock: bytes
    workflow: Mapping[str, bytes]
    verifier: bytes
    templates: Path
    last: LastBundle | None = None


@dataclass(frozen=True)
class Bundle:
    """Every file of a bundle by its address, and the words that stand in none of them: sites that are not shown by themselves."""

    files: dict[str, bytes]
    forbidden: tuple[str, ...] = ()
    decisions: Mapping[str, tuple[Decision, ...]] = field(default_factory=dict)


def build(source: Source, profile: Profile, each: Each = map) -> Bundle:
    """Return a bundle.

    Parameters
    ----------
    source : Source
    profile : Profile
    each : callable
        Does jobs, as ``map`` does, such as :func:`alliance.side_by_side.in_processes`; the bundle is the same whichever does them.

    Raises
    ------
    DisclosureError
        Where something cannot be made safe.
    """
    gated = gate_together({name: to_gate(source, name, data) for name, data in source.scenarios.items()}, profile, each)
    hidden = {name: hidden_sites(source.scenarios[name], one.data) for name, one in gated.items()}
    shown = {name: replace(one.data, options=public_options(one.data.options, source.publish, hidden[name])) for name, one in gated.items()}
    tables = _tables(source, gated, shown)
    makers = _makers(source, gated, shown, tables)
    parts = dict(zip(makers, each(_made, makers.values())))
    files = {name: content for part in parts.values() for name, content in part.files.items()}
    chapters = parts["pages", BASE_SCENARIO].chapters
    base = shown[BASE_SCENARIO]
    described = about(
        base.options["study"], source.publish, len(base.included), [chapter.title for chapter in chapters], base.provenance["version"]
    )
    decisions = {name: one.decisions for name, one in gated.items()}
    files |= _texts(source, shown, tables, chapters, described, files, profile, decisions)
    files["index.html"] = index_page(base, described, shown, files, DESCRIPTIONS, profile, source.templates).encode("utf-8")
    files[crate.METADATA] = _json_bytes(_research_object(files, base, described, tables))
    files[MANIFEST] = manifest(files).encode("utf-8")
    files[f"{described.slug}.zip"] = archive(files, described.slug)
    words = sorted({word for sites in hidden.values() for site in sites for word in site})
    return Bundle(dict(sorted(files.items())), tuple(words), decisions)


def to_gate(source: Source, name: str, data: ReportData) -> Results:
    """Return the results of a scenario with what was published of them last."""
    last = source.last
    over = source.sensitivity if name == BASE_SCENARIO else {}
    if last is None:
        return Results(data, over)
    # A scenario that is new may show the numbers of one that was published under another name.
    names = [name] if name in last.scenarios else last.scenarios
    before = [last.of_scenario(one) | (last.over_scenarios if name == BASE_SCENARIO else {}) for one in names]
    return Results(data, over, before, same_data=last.data_digest == data.provenance["data_digest"])


def hidden_sites(before: ReportData, after: ReportData) -> list[tuple[str, str]]:
    """Return id and label of each site that disclosure control has taken out."""
    shown = {status["site"] for status in after.statuses}
    return [(status["site"], before.labels[status["site"]]) for status in before.statuses if status["site"] not in shown]


def public_options(options: Mapping[str, Any], publish: Mapping[str, Any], hidden: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return a resolved configuration without folders, exact dates of data and sites that are not shown; the year of the day of release.

    Parameters
    ----------
    options, publish : mapping
        Resolved configuration, and its section ``publish``.
    hidden : sequence of (str, str)
        Id and label of each site that is not shown.
    """
    names = {name for site in hidden for name in site}
    made = _without(copy.deepcopy(dict(options)), names)
    for key in ("sites_dir", "instruments_dir"):
        made["study"].pop(key, None)
    made.get("cleaning", {}).pop("latest_date", None)
    if publish.get("released") and made["study"].get("year") is None:
        made["study"]["year"] = int(publish["released"][:4])
    return made


def _without(value: Any, names: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [_without(part, names) for part in value]
    return OTHER_SITE if isinstance(value, str) and value in names else value


def _tables(source: Source, gated: Mapping[str, Gated], shown: Mapping[str, ReportData]) -> list[Published]:
    headlines = {name: headline_numbers(source.headlines, data.tables, data.options) for name, data in shown.items()}
    return published(
        {name: data.tables for name, data in shown.items()},
        gated[BASE_SCENARIO].sensitivity,
        headlines,
        {name: data.deviations for name, data in shown.items()},
    )


@dataclass(frozen=True)
class _Part:
    """Some files of a bundle, and the chapters of a study page."""

    files: dict[str, bytes]
    chapters: tuple[Chapter, ...] = ()


def _makers(
    source: Source, gated: Mapping[str, Gated], shown: Mapping[str, ReportData], tables: Sequence[Published]
) -> dict[tuple[str, str], Callable[[], _Part]]:
    """Return what makes each part, by kind and scenario or table; what takes longest stands first."""
    pages_of = {("pages", name): partial(_pages, data, source.templates, name) for name, data in shown.items()}
    deviations = [data.deviations for data in shown.values() if len(data.deviations.columns)]
    over = replace(
        shown[BASE_SCENARIO],
        tables={SENSITIVITY: gated[BASE_SCENARIO].sensitivity},
        deviations=pd.concat(deviations, ignore_index=True) if deviations else shown[BASE_SCENARIO].deviations,
    )
    workbooks = {("workbook", name): partial(_workbook, data, name) for name, data in shown.items()}
    longest_first = sorted(tables, key=lambda table: -sum(map(len, table.parts)))
    return {
        **pages_of,
        ("sensitivity", ""): partial(_sensitivity, over, source.multiverse, source.templates),
        **workbooks,
        **{("table", table.key): partial(_table, table) for table in longest_first},
    }


def _made(maker: Callable[[], _Part]) -> _Part:
    return maker()


def _pages(data: ReportData, templates: Path, name: str) -> _Part:
    """Return the pages of a scenario and the figures of its study page."""
    drawn: dict[str, Mapping[str, Any]] = {}
    told = pages.render_all(replace(data, workbook=WORKBOOK, scripts="", csv_folder="../../tables"), templates, drawn.__setitem__)
    files = {f"{name}/report/{address}": text.encode("utf-8") for address, text in told.items()}
    files |= figures.figure_files(drawn["index.html"], name)
    return _Part(files, tuple(part for part in drawn["index.html"]["chapters"] if isinstance(part, Chapter)))


def _workbook(data: ReportData, name: str) -> _Part:
    made = workbook.build(data.tables, workbook.facts(data.options, name, data.provenance))
    return _Part({f"{name}/report/{WORKBOOK}": made, f"{name}/provenance.json": _json_bytes(data.provenance)})


def _sensitivity(over: ReportData, multiverse: Mapping[str, Any], templates: Path) -> _Part:
    """Return the page of all scenarios and its figures."""
    drawn: dict[str, Mapping[str, Any]] = {}
    page = sensitivity_page(over, multiverse, templates, drawn.__setitem__)
    content = {name: value for held in drawn.values() for name, value in held.items()}
    return _Part({f"{SENSITIVITY}/index.html": page.encode("utf-8"), **figures.figure_files(content, SENSITIVITY)})


def _table(table: Published) -> _Part:
    return _Part(table_files([table]))


def _texts(
    source: Source,
    shown: Mapping[str, ReportData],
    tables: Sequence[Published],
    chapters: Sequence[Chapter],
    described: About,
    files: Mapping[str, bytes],
    profile: Profile,
    decisions: Mapping[str, Sequence[Decision]],
) -> dict[str, bytes]:
    base = shown[BASE_SCENARIO]
    told = methods.told_methods(base, chapters)
    others = {name: data.provenance.get("reason", "") for name, data in shown.items() if name != BASE_SCENARIO}
    known = sources(source.bibliography)
    keys = [key for key in (*methods.cited(told), *_instrument_sources(base)) if key in known]
    not_leaks = [*source.publish.get("not_leaks", ()), described.released, *_registered_dates(base)]
    made: dict[str, str] = {
        "README.md": readme(described, shown, profile),
        "methods.md": methods.methods_markdown(described.title, described.simulated, told, others, base),
        "references.bib": methods.bibliography(source.bibliography, keys),
        "codebook.csv": codebook(tables),
        "CITATION.cff": yaml.safe_dump(citation.citation_cff(described), sort_keys=False, allow_unicode=True, width=100),
        "CHANGES.md": changes_markdown(source.last, tables, described.version, base.decimals),
        "DISCLOSURE.md": statement.statement(profile, decisions),
        "disclosure.csv": statement.decision_table(decisions),
    }
    for name, data in shown.items():
        made["config.yaml" if name == BASE_SCENARIO else f"{name}/config.yaml"] = configuration_yaml(name, data.options)
    made_json = {
        "datapackage.json": data_package(tables, files, citation.package_keys(described)),
        ".zenodo.json": citation.zenodo(described),
        "disclosure.json": statement.for_machines(profile, decisions, [text for text in not_leaks if text]),
    }
    return {
        **{name: text.encode("utf-8") for name, text in made.items()},
        **{name: _json_bytes(value) for name, value in made_json.items()},
        "requirements.lock": source.lock,
        "verify_bundle.py": source.verifier,
        **{f"workflow/{name}": content for name, content in source.workflow.items()},
    }


def _instrument_sources(data: ReportData) -> list[str]:
    used = {key for status in data.included for key in status.get("instruments", {})}
    return [reference for key in sorted(used & set(data.instruments)) for reference in data.instruments[key].reference]


def _registered_dates(data: ReportData) -> list[str]:
    return [] if data.preregistration is None else [str(data.preregistration["registered"]["date"])]


def configuration_yaml(scenario: str, options: Mapping[str, Any]) -> str:
    """Return a resolved configuration as YAML; what is missing to run it are the folders of a study."""
    opening = (
        f"# The configuration of scenario {scenario} with all defaults filled in. Folders of the study are not named (study.sites_dir,\n"
        "# study.instruments_dir), nor the last date of the data (cleaning.latest_date).\n"
    )
    return opening + yaml.safe_dump(dict(options), sort_keys=False, allow_unicode=True, width=120)


def readme(described: About, shown: Mapping[str, ReportData], profile: Profile) -> str:
    """Return ``README.md``: what is in the bundle and how to check it."""
    lines = [f"# {described.full_title}", "", described.description, ""]
    told = [f"Version {described.version}" if described.version else "", f"Released on {described.released}" if described.released else ""]
    lines += [f"{'. '.join(text for text in told if text)}.", ""] if any(told) else []
    lines += ["Open `index.html` in a browser; it works without a network.", ""]
    kinds = {
        **{f"{name}/report/": f"pages of scenario `{name}`, and all its tables as a workbook" for name in shown},
        "tables/": "every table as CSV, described in `datapackage.json` and `codebook.csv`",
        "figures/": "figures as SVG, with the numbers that they draw as CSV",
        "workflow/": "the workflow that made the numbers",
    }
    lines += ["| file | what it is |", "| --- | --- |", *(f"| `{name}` | {text} |" for name, text in kinds.items())]
    lines += [f"| `{name}` | {text} |" for name, text in DESCRIPTIONS.items() if name not in ("README.md", crate.WORKFLOW)]
    lines += [
        "",
        "Text in tables that a spreadsheet would run (it begins with =, +, - or @) has an apostrophe before it.",
        f"What is hidden: profile {profile.name}, see `DISCLOSURE.md`.",
        f"Licence: {described.licence or 'none is given; ask the authors'}.",
        "To check that nothing was altered: `python verify_bundle.py .` or `sha256sum --check manifest-sha256.txt`.",
    ]
    return "\n".join(lines) + "\n"


def _research_object(files: Mapping[str, bytes], base: ReportData, described: About, tables: Sequence[Published]) -> dict[str, Any]:
    keys = {"data": "data_digest", "configuration": "config_digest", "code": "code_digest"}
    digests = {name: str(base.provenance[key]) for name, key in keys.items()}
    names = {**DESCRIPTIONS, **{table.path: table.description for table in tables}}
    return crate.research_object(described, dict(sorted(files.items())), names, digests, base.provenance["packages"], (MANIFEST,))


def _json_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, sort_keys=False) + "\n").encode("utf-8")


def same_results(first: Mapping[str, bytes], second: Mapping[str, bytes]) -> bool:
    """Tell whether two bundles differ in nothing but what rests on the bundle that was published before each."""

    def results(files: Mapping[str, bytes]) -> dict[str, bytes]:
        return {name: content for name, content in files.items() if name not in RESTS_ON_THE_LAST and not name.endswith(".zip")}

    return results(first) == results(second)
