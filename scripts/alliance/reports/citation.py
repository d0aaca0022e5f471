"""How a study's report is cited, in APA style and as BibTeX."""

from __future__ import annotations

import re

from alliance.reports.bibliography import Reference, entry
from alliance.reports.inputs import ReportData

_ESCAPED = {"&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "$": r"\$", "{": "(", "}": ")", "\\": "/", "~": "-", "^": "-"}


def apa(data: ReportData) -> str:
    """Return the reference of the report in APA style; without a year in the configuration it is "n.d."."""
    fields = {"author": " and ".join(_authors(data)), "title": _titled(data), "publisher": _made_from(data)}
    if year := _year(data):
        fields["year"] = year
    return entry(Reference("report", "misc", fields))


def bibtex(data: ReportData) -> str:
    """Return the reference as a BibTeX entry."""
    people = [author if "," in author else f"{{{author}}}" for author in map(_plain, _authors(data))]
    first = re.sub(r"[^a-z]", "", (_authors(data) or ["study"])[0].split(",")[0].lower())[:30] or "study"
    lines = [
        f"@misc{{{first}_{_year(data) or 'nd'},",
        *([f"  author = {{{' and '.join(people)}}},"] if people else []),
        f"  title = {{{_plain(_titled(data))}}},",
        *([f"  year = {{{_year(data)}}},"] if _year(data) else []),
        f"  note = {{{_plain(_made_from(data))}}}",
        "}",
    ]
    return "\n".join(lines)


def _authors(data: ReportData) -> list[str]:
    return [author["name"] for author in data.options["study"].get("authors", [])]


def _year(data: ReportData) -> str:
    year = data.options["study"].get("year")
    return "" if year is None else str(year)


def _titled(data: ReportData) -> str:
    study = data.options["study"]
    version = f" (Version {study['version']})" if study.get("version") else ""
    scenario = "" if data.scenario == "base" else f", scenario {data.scenario}"
    return f"{study['title']}{version} [{'Report on simulated data' if study['simulated'] else 'Study report'}{scenario}]"


def _made_from(data: ReportData) -> str:
    given = data.provenance
    return f"alliance-pipeline {given['version']}, data {given['data_digest']}, configuration {given['config_digest']}"


def _plain(text: str) -> str:
    return "".join(_ESCAPED.get(character, character) for character in text)
