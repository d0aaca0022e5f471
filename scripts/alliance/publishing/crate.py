"""The bundle as a research object: RO-Crate 1.1 with the Workflow Run profile, written without a clock."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from alliance.publishing.about import LICENCE_NAMES, SOFTWARE, About

WORKFLOW = "workflow/Snakefile"
METADATA = "ro-crate-metadata.json"
CONTEXT = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
_CRATE = "https://w3id.org/ro/crate/1.1"
_WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    _WORKFLOW_CRATE: ("Workflow RO-Crate", "1.0"),
}
_LANGUAGE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
_PARAMETER = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
_FORMATS = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".md": "text/markdown",
    ".yaml": "application/yaml",
    ".cff": "application/yaml",
    ".bib": "application/x-bibtex",
    ".py": "text/x-python",
    ".txt": "text/plain",
    ".lock": "text/plain",
    ".smk": "text/plain",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def research_object(
    about: About,
    files: Mapping[str, bytes],
    described: Mapping[str, str],
    digests: Mapping[str, str],
    packages: Mapping[str, str],
    beside: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the content of ``ro-crate-metadata.json``.

    Parameters
    ----------
    about : About
    files : mapping
        Content of every file by its address.
    described : mapping
        What a file is, by its address; files without an entry have their name alone.
    digests : mapping
        What the run rests on (data, configuration, code), by name.
    packages : mapping
        Versions of packages by name.
    beside : sequence of str
        Files that are in the bundle too, whose content rests on this file.
    """
    authors, people = _authors(about)
    results = [name for name in files if name.endswith((".html", ".svg", ".csv"))]
    graph = [
        {
            "@id": METADATA,
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": [{"@id": _CRATE}, {"@id": _WORKFLOW_CRATE}],
        },
        _root(about, authors, [*files, *beside]),
        *({"@id": profile, "@type": "CreativeWork", "name": name, "version": version} for profile, (name, version) in _PROFILES.items()),
        *people,
        *_licence(about),
        {
            "@id": "#software",
            "@type": "SoftwareApplication",
            "name": SOFTWARE,
            "version": about.software_version,
            "softwareRequirements": [f"{name} {version}" for name, version in sorted(packages.items())],
        },
        {
            "@id": _LANGUAGE,
            "@type": "ComputerLanguage",
            "name": "Snakemake",
            "identifier": {"@id": "https://doi.org/10.1093/bioinformatics/bts480"},
            "url": {"@id": "https://snakemake.readthedocs.io"},
            **({"version": packages["snakemake"]} if "snakemake" in packages else {}),
        },
        {
            "@id": "#configuration",
            "@type": "FormalParameter",
            "additionalType": "File",
            "conformsTo": {"@id": _PARAMETER},
            "name": "configuration",
            "description": "Every choice of the analysis, with defaults filled in.",
            "valueRequired": True,
        },
        {
            "@id": "#data",
            "@type": "CreativeWork",
            "name": "Files received from the sites",
            "description": "Not published. The digest identifies them.",
            "identifier": digests["data"],
        },
        {
            "@id": "#run",
            "@type": "CreateAction",
            "name": f"Run of {SOFTWARE} {about.software_version}",
            "description": "; ".join(f"{name} {value}" for name, value in digests.items()),
            "instrument": {"@id": WORKFLOW},
            "agent": authors,
            "object": [{"@id": "config.yaml"}, {"@id": "#data"}],
            "result": [{"@id": quote(name)} for name in results],
        },
        *(_file(name, files[name], described.get(name, "")) for name in files),
        *({"@id": quote(name), "@type": "File", "name": described.get(name, name), "encodingFormat": _format(name)} for name in beside),
    ]
    return {"@context": CONTEXT, "@graph": graph}


def _root(about: About, authors: list[dict[str, str]], names: Sequence[str]) -> dict[str, Any]:
    root: dict[str, Any] = {
        "@id": "./",
        "@type": "Dataset",
        "name": about.full_title,
        "description": about.description,
        "datePublished": about.released,
        "author": authors,
        "conformsTo": [{"@id": profile} for profile in _PROFILES],
        "license": {"@id": LICENCE_NAMES[about.licence][1]} if about.licence else "No licence is given; ask the authors.",
        "mainEntity": {"@id": WORKFLOW},
        "mentions": [{"@id": "#run"}],
        "hasPart": [{"@id": quote(name)} for name in names],
    }
    if about.keywords:
        root["keywords"] = ", ".join(about.keywords)
    if about.version:
        root["version"] = about.version
    if about.doi:
        root["identifier"] = f"https://doi.org/{about.doi}"
    return root


def _authors(about: About) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    """Return references to the authors, and the entities they refer to."""
    references, entities = [], []
    for position, author in enumerate(about.authors, 1):
        id = f"https://orcid.org/{author.orcid}" if author.orcid else f"#author-{position}"
        entity: dict[str, Any] = {"@id": id, "@type": "Person" if author.person else "Organization", "name": author.name}
        if author.person:
            family, given = author.person
            entity |= {"name": f"{given} {family}", "familyName": family, "givenName": given}
            if author.affiliation:
                entity["affiliation"] = {"@id": f"#affiliation-{position}"}
                entities.append({"@id": f"#affiliation-{position}", "@type": "Organization", "name": author.affiliation})
        references.append({"@id": id})
        entities.append(entity)
    return references, entities


def _licence(about: About) -> list[dict[str, Any]]:
    if not about.licence:
        return []
    name, address = LICENCE_NAMES[about.licence]
    return [{"@id": address, "@type": "CreativeWork", "name": name, "identifier": about.licence}]


def _format(name: str) -> str:
    ending = name[name.rfind(".") :] if "." in name else ""
    return _FORMATS.get(ending) or mimetypes.types_map.get(ending) or "text/plain"


def _file(name: str, content: bytes, description: str) -> dict[str, Any]:
    entity: dict[str, Any] = {
        "@id": quote(name),
        "@type": "File",
        "name": description or name.rsplit("/", 1)[-1],
        "encodingFormat": _format(name),
        "contentSize": str(len(content)),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    if name == WORKFLOW:
        entity |= {
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
            "name": f"{SOFTWARE}: from raw site exports to published reports",
            "programmingLanguage": {"@id": _LANGUAGE},
            "input": [{"@id": "#configuration"}],
            "isPartOf": {"@id": "#software"},
        }
    if name == "config.yaml":
        entity["exampleOfWork"] = {"@id": "#configuration"}
    return entity
