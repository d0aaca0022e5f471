"""Personal details in text that a site wrote: dates, contacts, postcodes, ages above 89."""

from __future__ import annotations

import re

_MONTHS = (
    "January|February|March|April|May|June|July|August|September|October|November|December|"
    "Januar|Februar|März|Mai|Juni|Juli|Oktober|Dezember"
)
PATTERNS = {
    "a date": re.compile(
        r"(?<!\d)(?:(?:19|20)\d\d[-/.](?:0?[1-9]|1[0-2])[-/.](?:[12]\d|3[01]|0?[1-9])|(?:[12]\d|3[01]|0?[1-9])[-/.](?:1[0-2]|0?[1-9])[-/.](?:19|20)?\d\d)(?!\d)"
        rf"|\b(?:[12]\d|3[01]|[1-9])(?:st|nd|rd|th|\.)? (?:{_MONTHS})\b|\b(?:{_MONTHS}) (?:[12]\d|3[01]|[1-9])(?:st|nd|rd|th)?\b(?!\d)",
        re.IGNORECASE,
    ),
    "an e-mail address": re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+"),
    "a postcode": re.compile(
        r"\b(?:GIR 0AA|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|[A-Z]\d[A-Z] \d[A-Z]\d"
        r"|[A-Z]{2} \d{5}(?:-\d{4})?|[A-Z]{1,2}-\d{4,5}|\d{4} [A-Z]{2})\b"
        r"|(?<![\d.])\d{5}(?:-\d{4})?(?= [A-ZÄÖÜ][a-zäöüß]+)"
    ),
    "a telephone number": re.compile(r"(?<![\w.])\+?\d[\d ()/-]{7,}\d(?![\w.])"),
    "a web address": re.compile(r"\b(?:https?|ftp)://\S+|\bwww\.\S+", re.IGNORECASE),
}
_AGE = re.compile(r"(?i)(\bage[ds]?\b(?: of)?[ :=_-]{0,3})(?:9\d|1[0-2]\d)\b(?!\+)|\b(?:9\d|1[0-2]\d)(?=[ -]years?(?:[ -]old)?\b)")
HIGHEST_AGE = "90+"


def found(text: str) -> list[str]:
    """Return which kinds of personal details a text holds, in words; ages are generalised elsewhere."""
    return [kind for kind, pattern in PATTERNS.items() if pattern.search(text)]


def generalised(text: str) -> str:
    """Return a text in which ages above 89 are 90+."""
    return _AGE.sub(lambda match: (match[1] or "") + HIGHEST_AGE, text)


def found_in_table(text: str) -> list[str]:
    """Return which kinds of personal details a value of a result table holds: numbers of models look like telephone numbers."""
    return [kind for kind in ("a date", "an e-mail address", "a postcode") if PATTERNS[kind].search(text)]
