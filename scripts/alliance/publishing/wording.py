"""Reasons and labels without counts of people, without sites that are not shown, without personal details."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from alliance.publishing.sites import ANOTHER

WITHHELD = "withheld"
SITES_LISTED = "leave_out"
"""Key of the configuration that lists sites."""

_NUMBER = re.compile(r"(?<![\w.\-/])\d+(?:,\d{3})*(?:\.\d+)?(?![\w/]|\.\d)")
_LEADS = re.compile(
    r"(?:at least|fewer than|more than|under|below|above|or above|convention|power|wave|step|steps|sessions?|to|first|last|level|mean|SD|"
    r"beyond|needs|limit|points|knots?|percent|than the|of the first|negative|clients_per_parameter|"
    r"correlation of(?: -?)?|factor is not positive|"
    r"models|that of Satorra|and DeRubeis|window|sessions? \d+ and|\b[rk] =|\w(?=\())\s*\(?\s*$",
    re.IGNORECASE,
)
_PEOPLE = re.compile(r"\s*(?:clients?|therapists?|dropouts?|patients?|people|sessions?|of \d)", re.IGNORECASE)
_NEEDED = re.compile(r"\bneeds\b[^;:]*$")
"""What is needed is a limit, up to what there is."""
_FOLLOWERS = re.compile(
    r"\s*(?:sites?|items?|scales?|variables?|factors?|free parameters?|coefficients?|parameters?|models?|correlations?|languages?|points?|"
    r"pairs?|specifications?|site estimates|site effects|%|of \d+ (?:items?|scales?|sites?|site estimates|site effects|pairs)|"
    r"or (?:above|more)|for each free|a coefficient|steps?|before\b|after\b)",
    re.IGNORECASE,
)
_PHRASES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(;|,) has (?=[^;]*(?<![\w.])\d)(?:\([^()]*\)|[^;()])*"), r"\1 has fewer"),
    (re.compile(r"\bfor \d+ of \d+ clients?\b"), "for some clients"),
    (re.compile(r"\((?:mean over|two|2) [^)]*\)"), ""),
    (re.compile(r"(fewer than \d+ \w+) \(\d+\)"), r"\1"),
    (re.compile(r"(few \w+): \d+(?:\.\d+)? (for each|a )"), r"\1 \2"),
    (re.compile(r"\d+(?:\.\d+)? events per coefficient, fewer than"), "few events per coefficient: fewer than"),
    (re.compile(r"; of all clients together it is [\d.]+"), ""),
    (re.compile(r"with \d+ therapists only a correlation of [\d.]+ or more"), "with so few therapists only a large correlation"),
    (re.compile(r"\b\d+ therapists tell little"), "so few therapists tell little"),
)
_OWN_FILES = r"(?!site\.yaml|withdrawn\.csv|summary\.json|moments\.csv)"
_DETAILS: tuple[tuple[re.Pattern[str], str], ...] = (
    # What follows a colon is a list of names, a value, or the message of another fault.
    (re.compile(r":\s.*", re.DOTALL), "."),
    (re.compile(r"(?<!\w)(?:'(?:[^'\\]|\\.)*'|\"[^\"]*\"|“[^”]*”)(?!\w)"), "…"),
    (re.compile(rf"(?<![\w.]){_OWN_FILES}[^\s,;:()]+\.(?:csv|tsv|txt|xls[xmb]?|ods|z?sav|por|dta|docx?|pdf|json|ya?ml)\b"), "…"),
)
_DUPLICATE = re.compile(r"\bduplicate of .*", re.DOTALL)
_PLACE = re.compile(rf"^(?:(?P<own>site\.yaml): (?:\S+: )?|{_OWN_FILES}[^:]*\.\w{{2,5}}: )")


def without_details(message: str) -> str:
    """Return what a fault's message says without what it lists and quotes: names of columns and files, values."""
    message = _DUPLICATE.sub("duplicate of another file.", message)
    place = _PLACE.match(message)
    before = f"{place['own']}: " if place and place["own"] else ""
    said = message[place.end() :] if place else message
    for pattern, instead in _DETAILS:
        said = pattern.sub(instead, said)
    return before + said


def without_counts(reason: str) -> str:
    """Return a reason without the counts of people that it names; limits, measures and sessions stay."""
    for pattern, instead in _PHRASES:
        reason = pattern.sub(instead, reason)

    def word(match: re.Match[str]) -> str:
        before, after = reason[: match.start()], reason[match.end() :]
        if "." in match[0] or _LEADS.search(before) or _NEEDED.search(before) or _FOLLOWERS.match(after):
            return match[0]
        # None is not some, except of people, of whom that there are none is not told either.
        return "0" if match[0] == "0" and not _PEOPLE.match(after) else "some"

    told = _NUMBER.sub(word, reason).replace("some of some", "some")
    return re.sub(r" +(?=[ ;,)]|\.(?!\d))", "", told).strip()


def renamed(names: Mapping[str, str]) -> Callable[[str], str]:
    """Return a function that puts other names in the place of sites that are not shown, wherever they stand as words.

    Parameters
    ----------
    names : mapping of str to str
        What stands in place of each id and label.
    """
    known = sorted((name for name in names if name), key=lambda name: (-len(name), name))
    if not known:
        return lambda text: text
    pattern = re.compile(r"(?<![\w-])(?:" + "|".join(re.escape(name) for name in known) + r")(?![\w-])")
    return lambda text: pattern.sub(lambda match: names[match[0]], text)


def everywhere(
    value: Any, labels: Callable[[str], str], ids: Callable[[str], str], without: Iterable[str] = (), named: bool = False
) -> Any:
    """Return nested settings that name no hidden site.

    An id may be a word that settings use for something else (a site called ``early``): ids are replaced only where sites are listed.

    Parameters
    ----------
    value : object
        Text, list, mapping or anything else.
    labels, ids : callable
        Put other names in place of labels, and of ids, of hidden sites.
    without : iterable of str
        Keys to leave out.
    named : bool
        Whether the value is a list of sites.
    """
    left_out = frozenset(without)
    if isinstance(value, str):
        return ids(value) if named else labels(value)
    if isinstance(value, Mapping):
        return {
            key: everywhere(one, labels, ids, left_out, named or key == SITES_LISTED) for key, one in value.items() if key not in left_out
        }
    if isinstance(value, (list, tuple)):
        return type(value)(everywhere(one, labels, ids, left_out, named) for one in value)
    return value


def names_of(hidden: Iterable[str], labels: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return what stands in place of the ids, and of the labels, of hidden sites."""
    sites = list(hidden)
    return dict.fromkeys(sites, ANOTHER), {label: ANOTHER for site in sites if (label := labels.get(site, site)) != site}
