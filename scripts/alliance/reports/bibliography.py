"""References: a reader for the part of BibTeX that the bibliography uses, and their rendering in APA style."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

ENTRY = re.compile(r"@(\w+)\s*\{\s*([^,\s]+)\s*,")
FIELD = re.compile(r"\s*([A-Za-z]+)\s*=\s*")


class BibliographyError(ValueError):
    """The bibliography cannot be read; the message says where."""


@dataclass(frozen=True)
class Reference:
    """One entry: its key, its type and its fields, lower-case names."""

    key: str
    kind: str
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def authors(self) -> list[tuple[str, str]]:
        """Family names and initials, in order; an organisation has no initials."""
        people = re.split(r"\s+and\s+", self.fields.get("author", self.fields.get("editor", "")))
        return [_person(person) for person in people if person.strip()]

    @property
    def year(self) -> str:
        """Year as printed."""
        return self.fields.get("year", "n.d.")


def parse(text: str) -> dict[str, Reference]:
    """Read BibTeX entries with braced or quoted fields.

    Raises
    ------
    BibliographyError
        A key stands twice, or a value has no end.
    """
    references: dict[str, Reference] = {}
    position = 0
    while match := ENTRY.search(text, position):
        kind, key = match.group(1).lower(), match.group(2)
        if key in references:
            raise BibliographyError(f"references: the key {key} stands twice")
        fields, position = _fields(text, match.end(), key)
        references[key] = Reference(key, kind, fields)
    return references


def sources(text: str) -> dict[str, str]:
    """Return each entry of a bibliography as it is written there, by key."""
    found: dict[str, str] = {}
    position = 0
    while match := ENTRY.search(text, position):
        _, position = _fields(text, match.end(), match.group(2))
        found[match.group(2)] = text[match.start() : position]
    return found


def _fields(text: str, position: int, key: str) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    while match := FIELD.match(text, position):
        value, position = _value(text, match.end(), key)
        fields[match.group(1).lower()] = value
        separator = re.compile(r"\s*,").match(text, position)
        position = separator.end() if separator else position
    end = re.compile(r"\s*\}").match(text, position)
    if end is None:
        raise BibliographyError(f"references: the entry {key} has no end")
    return fields, end.end()


def _value(text: str, position: int, key: str) -> tuple[str, int]:
    opening = text[position : position + 1]
    if opening not in ("{", '"'):
        match = re.compile(r"[^,\s}]+").match(text, position)
        if match is None:
            raise BibliographyError(f"references: a field of {key} has no value")
        return match.group(), match.end()
    depth = 0
    for index in range(position, len(text)):
        character = text[index]
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
        closed = depth == 0 and (character == "}" if opening == "{" else character == '"' and index > position)
        if closed:
            return _plain(text[position + 1 : index]), index + 1
    raise BibliographyError(f"references: a field of {key} has no end")


def _plain(value: str) -> str:
    text = re.sub(r"\s+", " ", value).strip().replace("--", "\N{EN DASH}").replace(r"\&", "&")
    return text.replace("{", "").replace("}", "")


def _person(text: str) -> tuple[str, str]:
    if "," not in text:
        return text.strip(), ""
    family, given = (part.strip() for part in text.split(",", 1))
    initials = " ".join("-".join(f"{part[0]}." for part in name.split("-") if part) for name in given.split())
    return family, initials


def cited(references: dict[str, Reference], keys: list[str] | tuple[str, ...]) -> str:
    """Return a citation in parentheses, ``(Horvath & Luborsky, 1993; IntHout et al., 2016)``; unknown keys stand as they are."""
    parts = sorted(short(references[key]) if key in references else key for key in dict.fromkeys(keys))
    return f"({'; '.join(parts)})" if parts else ""


def short(reference: Reference) -> str:
    """Return authors and year as cited in text."""
    names = [family for family, _ in reference.authors]
    if not names:
        who = reference.fields.get("title", reference.key)
    elif len(names) == 1:
        who = names[0]
    elif len(names) == 2:
        who = f"{names[0]} & {names[1]}"
    else:
        who = f"{names[0]} et al."
    return f"{who}, {reference.year}"


def entry(reference: Reference) -> str:
    """Return an entry of the reference list."""
    fields = reference.fields
    parts = [f"{_authors(reference)} ({reference.year})." if reference.authors else f"({reference.year})."]
    parts.append(_ended(fields.get("title", "")))
    if "journal" in fields:
        volume = fields.get("volume", "") + (f"({fields['number']})" if "number" in fields else "")
        parts.append(_ended(", ".join(part for part in (fields["journal"], volume, fields.get("pages", "")) if part)))
    elif "booktitle" in fields:
        pages = f" (pp. {fields['pages']})" if "pages" in fields else ""
        parts.append(_ended(f"In {fields['booktitle']}{pages}"))
    for name in ("publisher", "school", "institution"):
        if name in fields:
            parts.append(_ended(fields[name]))
    if "doi" in fields:
        parts.append("https://doi.org/" + fields["doi"])
    elif "url" in fields:
        parts.append(fields["url"])
    return " ".join(part for part in parts if part)


def _authors(reference: Reference) -> str:
    people = [f"{family}, {initials}" if initials else family for family, initials in reference.authors]
    if len(people) > 20:
        people = [*people[:19], "…", people[-1]]
        return ", ".join(people[:-2]) + ", … " + people[-1]
    return people[0] if len(people) == 1 else ", ".join(people[:-1]) + ", & " + people[-1]


def _ended(text: str) -> str:
    return text if not text or text[-1] in ".?!" else text + "."


def listing(references: dict[str, Reference], keys: list[str] | set[str]) -> list[str]:
    """Return the reference list of the keys that were cited, in order of authors and year."""
    found = [references[key] for key in dict.fromkeys(keys) if key in references]
    return [entry(reference) for reference in sorted(found, key=lambda r: ([name.casefold() for name, _ in r.authors], r.year, r.key))]
