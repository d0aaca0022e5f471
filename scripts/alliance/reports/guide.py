"""What a report is held against: the review's priorities, the reporting standard, reviewers' common faults, and what cannot be tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alliance.configuration.strict_yaml import load_file
from alliance.questions.headlines import Headline, load_headlines


class GuideError(ValueError):
    """A file of the guide is not as described; the message says where."""


@dataclass(frozen=True)
class Answer:
    """A number that answers a priority, and the sentence around it.

    ``says`` is the sentence where its sign is no question; else ``above``, ``below`` and ``open`` are for intervals above, below and around
    "no effect". ``percent`` prints shares, such as shared variance, in percent.
    """

    headline: Headline
    says: str = ""
    above: str = ""
    below: str = ""
    open: str = ""
    symbol: str = ""
    unit: str = ""
    percent: bool = False


@dataclass(frozen=True)
class Priority:
    """One of the review's most urgent priorities: its letter, the lines that name it, what it asks, and what answers it."""

    letter: str
    lines: str
    asks: str
    chapter: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Item:
    """One item of the reporting standard; see ``workflow/guide/jars.yaml``."""

    key: str
    part: str
    asks: str
    places: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    several_sites: bool = False
    otherwise: str = ""
    statement: str = ""
    simulated: str = ""
    not_applicable: str = ""
    published: str = ""


@dataclass(frozen=True)
class Fault:
    """A common fault that reviewers look for; see ``workflow/guide/reviewer.yaml``."""

    key: str
    fault: str
    why: str
    section: str
    limit: float = 0.0
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class NotTestable:
    """A claim of the review that no routine data can test."""

    key: str
    lines: str
    says: str
    needs: str


@dataclass(frozen=True)
class Guide:
    """All of it; empty where a page is made without."""

    headlines: tuple[Headline, ...] = ()
    priorities: tuple[Priority, ...] = ()
    items: tuple[Item, ...] = ()
    faults: tuple[Fault, ...] = ()
    not_testable: tuple[NotTestable, ...] = field(default=())


FILES = ("priorities.yaml", "jars.yaml", "reviewer.yaml", "not_testable.yaml")


def read(folder: Path, headlines: Path) -> Guide:
    """Read the files of ``workflow/guide`` and the list of headline numbers.

    Raises
    ------
    GuideError
        An entry has an unknown or missing key, or names a headline that does not exist.
    """
    listed = load_headlines(headlines)
    known = {one.key: one for one in listed}
    priorities, items, faults, claims = (_entries(Path(folder) / name) for name in FILES)
    return Guide(
        tuple(listed),
        tuple(
            _made(Priority, {**entry, "letter": letter, "answers": tuple(_answer(letter, one, known) for one in entry.get("answers", ()))})
            for letter, entry in priorities.items()
        ),
        tuple(_made(Item, {"key": key, **entry}) for key, entry in items.items()),
        tuple(_made(Fault, {"key": key, **entry}) for key, entry in faults.items()),
        tuple(_made(NotTestable, {"key": key, **entry}) for key, entry in claims.items()),
    )


def _entries(path: Path) -> dict[str, dict[str, Any]]:
    content, _ = load_file(path)
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise GuideError(f"{path.name}: holds no mapping of entries")
    return content


def _answer(letter: str, entry: Mapping[str, Any], known: Mapping[str, Headline]) -> Answer:
    own = {name: value for name, value in entry.items() if name in ("question", "table", "where", "claim")}
    said = {name: value for name, value in entry.items() if name not in own and name != "headline"}
    if own:
        where = {column: (value,) if isinstance(value, str) else tuple(value) for column, value in own.pop("where", {}).items()}
        headline = _made(Headline, {"key": f"priority_{letter}", "label": said.get("open") or said.get("says", ""), "where": where, **own})
    elif entry.get("headline") in known:
        headline = known[entry["headline"]]
    else:
        raise GuideError(f"priority {letter}: there is no headline '{entry.get('headline')}'")
    if not said.get("says") and not all(said.get(name) for name in ("above", "below", "open")):
        raise GuideError(f"priority {letter}: give says, or above, below and open, of {headline.key}")
    return _made(Answer, {"headline": headline, **said})


def _made(kind: type, entry: Mapping[str, Any]) -> Any:
    try:
        return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()})
    except TypeError as error:
        raise GuideError(f"{entry.get('key') or entry.get('letter') or kind.__name__}: {error}") from None
