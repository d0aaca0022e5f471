"""What archives and readers ask about a bundle: who made it, what it is, which version, under which licence."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alliance.reports.elements import slug

REVIEW = "10.1037/0022-006X.61.4.561"
SOFTWARE = "alliance-pipeline"
PUBLIC = "public"
OF_PROFILE = {
    PUBLIC: "",
    "share": " For partners who have agreed to keep it to themselves.",
    "internal": " For the study’s own people: nothing is hidden, and it may not be given away.",
}
LICENCE_NAMES = {
    "CC-BY-4.0": ("Creative Commons Attribution 4.0 International", "https://creativecommons.org/licenses/by/4.0/"),
    "CC-BY-SA-4.0": ("Creative Commons Attribution-ShareAlike 4.0 International", "https://creativecommons.org/licenses/by-sa/4.0/"),
    "CC-BY-NC-4.0": ("Creative Commons Attribution-NonCommercial 4.0 International", "https://creativecommons.org/licenses/by-nc/4.0/"),
    "CC0-1.0": ("Creative Commons Zero 1.0 Universal", "https://creativecommons.org/publicdomain/zero/1.0/"),
    "ODC-By-1.0": ("Open Data Commons Attribution License 1.0", "https://opendatacommons.org/licenses/by/1-0/"),
    "ODbL-1.0": ("Open Data Commons Open Database License 1.0", "https://opendatacommons.org/licenses/odbl/1-0/"),
    "PDDL-1.0": ("Open Data Commons Public Domain Dedication and License 1.0", "https://opendatacommons.org/licenses/pddl/1-0/"),
}


@dataclass(frozen=True)
class Author:
    """Who made it. ``Family, Given`` is a person, a name without a comma a group."""

    name: str
    affiliation: str = ""
    orcid: str = ""

    @property
    def person(self) -> tuple[str, str] | None:
        """Family and given names; None for a group."""
        family, comma, given = self.name.partition(",")
        return (family.strip(), given.strip()) if comma and given.strip() else None


@dataclass(frozen=True)
class About:
    """What is told of a bundle as a whole.

    Parameters
    ----------
    title, description, version, released : str
        ``released`` is the day of the version, YYYY-MM-DD.
    authors : tuple of Author
    keywords : tuple of str
    licence : str
        SPDX identifier; empty: none given.
    doi : str
        Empty: none.
    simulated : bool
        Whether the data are simulated.
    software_version : str
        Version of the program that computed it.
    for_everyone : bool
        Whether it may be given to everyone.
    """

    title: str
    description: str
    version: str
    released: str
    authors: tuple[Author, ...]
    keywords: tuple[str, ...]
    licence: str
    doi: str
    simulated: bool
    software_version: str
    for_everyone: bool = True

    @property
    def slug(self) -> str:
        """Name of the archive: letters, digits, points and hyphens."""
        return "-".join(part for part in (slug(self.title)[:60].strip("-"), self.version) if part)

    @property
    def full_title(self) -> str:
        """The title, which says so where the data are simulated."""
        return f"{self.title} (simulated data)" if self.simulated and "simulated" not in self.title.lower() else self.title


def about(study: Mapping[str, Any], publish: Mapping[str, Any], n_sites: int, questions: Sequence[str], software_version: str) -> About:
    """Return what the configuration tells of a bundle.

    Parameters
    ----------
    study, publish : mapping
        Sections of the configuration with defaults filled in.
    n_sites : int
        Sites in the results, as published.
    questions : sequence of str
        Titles of the chapters.
    software_version : str
    """
    simulated = bool(study["simulated"])
    profile = publish.get("profile") or PUBLIC
    return About(
        title=study["title"],
        description=(publish.get("description") or _description(study["title"], simulated, n_sites, questions))
        + OF_PROFILE.get(profile, ""),
        version=study.get("version") or "",
        released=publish.get("released") or "",
        authors=tuple(Author(one["name"], one.get("affiliation") or "", one.get("orcid") or "") for one in study["authors"]),
        keywords=tuple(publish.get("keywords") or ()),
        licence=publish.get("licence") or "",
        doi=publish.get("doi") or "",
        simulated=simulated,
        software_version=software_version,
        for_everyone=profile == PUBLIC,
    )


def _description(title: str, simulated: bool, n_sites: int, questions: Sequence[str]) -> str:
    sites = f"{n_sites} {'site' if n_sites == 1 else 'sites'}"
    told = [f"Reports, tables and figures of “{title}”: the therapeutic alliance in psychotherapy at {sites}."]
    if questions:
        told.append(f"Chapters: {'; '.join(questions)}.")
    told.append(
        "The data are simulated; no real client, therapist or clinic stands behind any number." if simulated else "Aggregated results only."
    )
    return " ".join(told)


def citation_cff(about: About) -> dict[str, Any]:
    """Return the content of ``CITATION.cff`` (Citation File Format 1.2.0)."""
    content: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "If you use these results, please cite them, and the review whose questions they answer.",
        "type": "dataset",
        "title": about.full_title,
        "abstract": about.description,
        "authors": [_cff_author(author) for author in about.authors],
    }
    for key, value in (("version", about.version), ("date-released", about.released), ("license", about.licence), ("doi", about.doi)):
        if value:
            content[key] = value
    if about.keywords:
        content["keywords"] = list(about.keywords)
    content["references"] = [
        {
            "type": "article",
            "title": "The role of the therapeutic alliance in psychotherapy",
            "authors": [{"family-names": "Horvath", "given-names": "Adam O."}, {"family-names": "Luborsky", "given-names": "Lester"}],
            "journal": "Journal of Consulting and Clinical Psychology",
            "year": 1993,
            "volume": 61,
            "issue": "4",
            "start": 561,
            "end": 573,
            "doi": REVIEW,
        }
    ]
    return content


def _cff_author(author: Author) -> dict[str, str]:
    orcid = {"orcid": f"https://orcid.org/{author.orcid}"} if author.orcid else {}
    if author.person is None:
        return {"name": author.name, **orcid}
    family, given = author.person
    affiliation = {"affiliation": author.affiliation} if author.affiliation else {}
    return {"family-names": family, "given-names": given, **affiliation, **orcid}


def zenodo(about: About) -> dict[str, Any]:
    """Return the content of ``.zenodo.json``, the metadata of a deposit at Zenodo."""
    content: dict[str, Any] = {
        "title": about.full_title,
        "upload_type": "dataset",
        "description": f"<p>{html.escape(about.description, quote=False)}</p>",
        "creators": [_creator(author) for author in about.authors],
        "access_right": "open" if about.for_everyone else "closed",
        "language": "eng",
        "related_identifiers": [{"identifier": REVIEW, "relation": "cites", "scheme": "doi", "resource_type": "publication-article"}],
    }
    for key, value in (
        ("version", about.version),
        ("publication_date", about.released),
        ("license", about.licence.lower() if about.for_everyone else ""),
        ("doi", about.doi),
    ):
        if value:
            content[key] = value
    if about.keywords:
        content["keywords"] = list(about.keywords)
    return content


def _creator(author: Author) -> dict[str, str]:
    person = author.person
    told = {"name": f"{person[0]}, {person[1]}" if person else author.name}
    return told | {key: value for key, value in (("affiliation", author.affiliation), ("orcid", author.orcid)) if value}


def package_keys(about: About) -> dict[str, Any]:
    """Return what the data package says of itself."""
    keys: dict[str, Any] = {"name": slug(about.title), "title": about.full_title, "description": about.description}
    if about.version:
        keys["version"] = about.version
    if about.doi:
        keys["id"] = f"https://doi.org/{about.doi}"
    if about.keywords:
        keys["keywords"] = list(about.keywords)
    keys["contributors"] = [
        {"title": author.name, "role": "author"} | ({"organization": author.affiliation} if author.affiliation else {})
        for author in about.authors
    ]
    if about.licence:
        name, address = LICENCE_NAMES[about.licence]
        keys["licenses"] = [{"name": about.licence, "title": name, "path": address}]
    return keys
