"""From pydantic's findings to faults in plain words, with line numbers and the nearest valid key."""

from __future__ import annotations

from datetime import date
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from alliance.configuration.errors import ConfigurationError, Fault, nearest, similar
from alliance.configuration.strict_yaml import KeyPath

ModelType = TypeVar("ModelType", bound=BaseModel)

_WANTED = {
    "string_type": "text in quotes is expected",
    "int_type": "a whole number is expected",
    "int_parsing": "a whole number is expected",
    "int_from_float": "a whole number is expected",
    "float_type": "a number is expected",
    "float_parsing": "a number is expected",
    "bool_type": "true or false is expected",
    "bool_parsing": "true or false is expected",
    "list_type": "a list is expected",
    "dict_type": "keys with values are expected",
    "model_type": "keys with values are expected",
    "model_attributes_type": "keys with values are expected",
    "finite_number": "a finite number is expected",
    "missing": "is missing and has no default; add it",
}


class StrictModel(BaseModel):
    """A section of a configuration file: unknown keys and silent conversions are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def calendar_day(text: str) -> str:
    """Refuse what is no day of the calendar, written as YYYY-MM-DD."""
    try:
        if date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise ValueError("must be a day as YYYY-MM-DD")


def parse(model: type[ModelType], data: Any, lines: dict[KeyPath, int], file: str) -> ModelType:
    """Check data against a model.

    Parameters
    ----------
    model : type
        The model of the file.
    data : dict
        What the file holds.
    lines : dict
        Line of every key path, from :func:`alliance.configuration.strict_yaml.load_text`.
    file : str
        How messages call the file.

    Returns
    -------
    BaseModel
        The checked values with defaults filled in.

    Raises
    ------
    ConfigurationError
        With every fault.
    """
    try:
        return model.model_validate(data if data is not None else {})
    except ValidationError as error:
        raise ConfigurationError([_fault(model, detail, lines, file) for detail in error.errors()]) from None


def _fault(model: type[BaseModel], detail: Any, lines: dict[KeyPath, int], file: str) -> Fault:
    path: KeyPath = ()
    for part in detail["loc"]:
        if (*path, part) in lines:
            path = (*path, part)
    if detail["type"] in ("missing", "extra_forbidden") and path[-1:] != detail["loc"][-1:]:
        path = (*path, detail["loc"][-1])
    line = next((lines[path[:length]] for length in range(len(path), -1, -1) if path[:length] in lines), 0)
    key = ".".join(str(part) for part in path)
    if detail["type"] == "extra_forbidden":
        known = known_keys(model, path[:-1])
        message = f"unknown key{_nested(str(path[-1])) or nearest(str(path[-1]), known)}"
    elif detail["type"] == "literal_error":
        message = f"{_shown(detail['input'])} is not allowed; allowed: {detail['ctx']['expected'].replace(chr(39), '')}"
        message += _suggest(str(detail["input"]), detail["ctx"]["expected"])
    elif detail["type"] == "value_error":
        message = str(detail["ctx"]["error"])
    elif detail["type"] == "missing":
        message = _WANTED["missing"]
    else:
        wanted = _WANTED.get(detail["type"], detail["msg"][0].lower() + detail["msg"][1:])
        message = f"{_shown(detail['input'])} does not fit: {wanted}"
    return Fault(file, line, key, message)


def _suggest(word: str, expected: str) -> str:
    known = [part.strip().strip("'") for part in expected.replace(" or ", ",").split(",")]
    return similar(word, known)


def _nested(key: str) -> str:
    """Return how a key written with dots is written in YAML; empty for others."""
    parts = key.split(".")
    if len(parts) < 2 or not all(parts):
        return ""
    return f"; keys do not take dots, write {'{'.join(f'{part}: ' for part in parts)}...{'}' * (len(parts) - 1)}"


def _shown(value: Any) -> str:
    """Return a value as messages show it; words of YAML as they are written there."""
    text = {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def known_keys(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """Return the keys allowed at a path of a model; none where any name may stand, or nothing."""
    current: list[Any] = [model]
    for part in path:
        following: list[Any] = []
        for candidate in current:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                field = candidate.model_fields.get(str(part))
                following += _models(field.annotation) if field else []
            else:
                following += _models(get_args(candidate)[-1]) if get_args(candidate) else []
        current = following
    return [
        name for candidate in current if isinstance(candidate, type) and issubclass(candidate, BaseModel) for name in candidate.model_fields
    ]


def _models(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation] if issubclass(annotation, BaseModel) else []
    if getattr(annotation, "__origin__", None) in (dict, list, tuple):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models(argument)]
