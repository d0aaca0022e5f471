"""YAML as people mean it: YAML 1.2 scalars, and no tags, anchors, aliases or repeated keys.

PyYAML reads ``NO`` as False, ``1:30`` as 90 and ``010`` as 8, keeps the last of two equal keys, and expands aliases without a
bound. Here such words stay text (YAML 1.2 core schema, https://yaml.org/spec/1.2.2/#103-core-schema) and the rest is a fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from alliance.configuration.errors import ConfigurationError, Fault

KeyPath = tuple[str | int, ...]

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
_REAL = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | {
    word: value for value in (True, False) for word in (str(value), str(value).lower(), str(value).upper())
}
_DEEPEST = 30
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_file(path: Path, name: str | None = None) -> tuple[Any, dict[KeyPath, int]]:
    """Read a YAML file; see :func:`read_text` and :func:`load_text`."""
    name = name or Path(path).name
    return load_text(read_text(path, name), name)


def read_text(path: Path, name: str) -> str:
    """Read the text of a file that is called ``name`` in messages.

    Raises
    ------
    ConfigurationError
        The file is missing, a folder, unreadable or not UTF-8.
    """
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError([Fault(name, 0, "", "this file does not exist; check the path")]) from None
    except IsADirectoryError:
        raise ConfigurationError([Fault(name, 0, "", "this is a folder; name the file in it")]) from None
    except OSError as error:
        raise ConfigurationError([Fault(name, 0, "", f"cannot be read ({error.strerror}); check its permissions")]) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError([Fault(name, line, "", f"is not UTF-8 (byte {error.start}); save it as UTF-8")]) from None


def load_text(text: str, name: str) -> tuple[Any, dict[KeyPath, int]]:
    """Read YAML text.

    Parameters
    ----------
    text : str
        One YAML document.
    name : str
        How messages call the file.

    Returns
    -------
    data : dict, list, str, int, float, bool or None
        Mapping keys are always text.
    lines : dict
        Line (1-based) of every key path, for messages.

    Raises
    ------
    ConfigurationError
        With every tag, anchor, alias and repeated key; or with the first syntax error.
    """
    builder = _Builder(name)
    try:
        events = iter(yaml.parse(text, Loader=_Loader))
        data = builder.document(events)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        problem = error.problem or "is not valid YAML"
        if re.search(r"^ *\t", text, re.MULTILINE):
            problem += "; indent with spaces, not tabs"
        elif error.context_mark and error.context_mark.line + 1 < line and re.search("flow|quoted", error.context or ""):
            problem += f"; what is not closed begins on line {error.context_mark.line + 1}"
        raise ConfigurationError([Fault(name, line, "", f"is not valid YAML: {problem}")]) from None
    except yaml.reader.ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        message = f"is not valid YAML: holds a character that cannot be printed (number {error.character}); delete it"
        raise ConfigurationError([Fault(name, line, "", message)]) from None
    if builder.faults:
        raise ConfigurationError(builder.faults)
    return data, builder.lines


class _Builder:
    def __init__(self, name: str):
        self.name = name
        self.faults: list[Fault] = []
        self.lines: dict[KeyPath, int] = {}

    def fault(self, event: yaml.Event, path: KeyPath, message: str) -> None:
        self.faults.append(Fault(self.name, event.start_mark.line + 1, ".".join(map(str, path)), message))

    def document(self, events: Iterator[yaml.Event]) -> Any:
        data = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.fault(event, (), "holds a second document; keep one")
                    return data
                data = self.value(next(events), events, ())
        return data

    def value(self, event: yaml.Event, events: Iterator[yaml.Event], path: KeyPath) -> Any:
        if len(path) > _DEEPEST:
            raise ConfigurationError([Fault(self.name, event.start_mark.line + 1, "", f"is nested deeper than {_DEEPEST} levels")])
        self.lines.setdefault(path, event.start_mark.line + 1)
        if isinstance(event, yaml.AliasEvent):
            self.fault(event, path, f"aliases (*{event.anchor}) are not allowed; write the value out")
            return None
        if getattr(event, "anchor", None):
            self.fault(event, path, f"anchors (&{event.anchor}) are not allowed; write the value out where it is needed")
        if getattr(event, "tag", None):
            self.fault(event, path, f"tags ({event.tag}) are not allowed; write plain text, numbers, lists or keys")
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(events, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(events, path)
        return _scalar(event)

    def mapping(self, events: Iterator[yaml.Event], path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        first: dict[str, int] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            line = event.start_mark.line + 1
            if isinstance(event, yaml.ScalarEvent):
                self.value(event, events, (*path, event.value))
                key = event.value
            else:
                self.fault(event, path, "a key must be plain text")
                self.value(event, events, path)
                key = f"(line {line})"
            if key in first:
                self.fault(event, (*path, key), f"this key stands twice (lines {first[key]} and {line}); keep one")
            first[key] = line
            self.lines[(*path, key)] = line
            result[key] = self.value(next(events), events, (*path, key))
        return result

    def sequence(self, events: Iterator[yaml.Event], path: KeyPath) -> list[Any]:
        result: list[Any] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            result.append(self.value(event, events, (*path, len(result))))
        return result


def _scalar(event: yaml.ScalarEvent) -> str | int | float | bool | None:
    text = event.value
    if event.style in ("'", '"', "|", ">"):
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        return int(text)
    if _REAL.match(text):
        return float(text)
    return text
