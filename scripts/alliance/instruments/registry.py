"""What the instruments are: item numbers, ranges, reversed items, scales, scoring and missing rules. No item wording."""

from __future__ import annotations

import functools
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from alliance.configuration.errors import ConfigurationError, Fault, nearest
from alliance.configuration.strict_yaml import KeyPath, load_text, read_text
from alliance.configuration.validation import StrictModel, parse

Rater = Literal["client", "therapist", "observer"]
Unit = Literal["mean", "sum"]
Direction = Literal["higher_is_better", "higher_is_worse"]
Approach = Literal["homogeneous", "blended"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Number = int | float
ItemNumber = Annotated[int, Field(ge=1, le=999)]
Share = Annotated[float, Field(ge=0, le=1)]

SHIPPED = Path(__file__).resolve().parents[3] / "workflow" / "instruments"
"""Folder of the instruments that come with the pipeline."""
TOTAL = "total"
WITHOUT_IMPROVEMENT = "total_without_improvement"

# pydantic warns that the field `construct` hides a method of the same name, which it has deprecated.
warnings.filterwarnings("ignore", message='Field name "construct"', category=UserWarning)


class Response(StrictModel):
    """Answers an item allows: from ``min`` to ``max`` in steps of ``step``, or just ``values``."""

    min: Number
    max: Number
    step: Annotated[float, Field(gt=0)] = 1
    values: list[Number] | None = None


class Content(StrictModel):
    """Why a construct is said to be measured: how sure it is, and where it stands."""

    certainty: Literal["high", "medium", "low"]
    source: Annotated[str, Field(min_length=1)]


class Scale(StrictModel):
    """One scale: its items, or the scales whose items it unites.

    Parameters
    ----------
    items : list of int, optional
        Item numbers.
    of : list of str, optional
        Scales whose items this one unites (in place of ``items``).
    n_items : int, optional
        Number of items where the item numbers are not known.
    facet : str, optional
        What is measured; scales of two instruments are the same variable only where their facets are equal.
    measures : dict of str to Content
        Constructs of the alliance that the scale is meant to measure (:mod:`alliance.instruments.content`), whatever its items; empty:
        not known. Scales of two instruments that share one are parallel.
    direction : str, optional
        Where it differs from the instrument's: what higher scores of this scale mean.
    reversed : bool
        False: reversed items enter this scale as they were answered.
    method : str, optional
        Where it differs from the instrument's: ``count_above_minimum`` (items above the lowest answer) or
        ``mean_above_minimum`` (mean of these items).
    max_missing : int, optional
        Unanswered items allowed, where it differs from the instrument's rule.
    scored : bool
        False: the items belong to a total but form no scale.
    """

    items: list[ItemNumber] | None = None
    of: list[Name] | None = None
    n_items: Annotated[int, Field(ge=1)] | None = None
    facet: Name | None = None
    measures: dict[Name, Content] = Field(default_factory=dict)
    direction: Direction | None = None
    reversed: bool = True
    method: Literal["sum", "mean", "count_above_minimum", "mean_above_minimum"] | None = None
    max_missing: Annotated[int, Field(ge=0)] | None = None
    scored: bool = True


class Score(StrictModel):
    """Headline unit of the scores: ``sum`` or ``mean`` of the items, times ``multiply``."""

    method: Unit = "mean"
    multiply: Annotated[Number, Field(gt=0)] = 1


class PublishedChange(StrictModel):
    """What counts as change, in the unit of the score: points of reliable change, and the score between clinical and functional."""

    reliable: Annotated[Number, Field(gt=0)] | None = None
    cutoff: Number | None = None
    source: str


class Missing(StrictModel):
    """What happens to unanswered items.

    Parameters
    ----------
    rule : str
        ``proration``: the mean of the answered items stands for the others. ``scale_mean_rounded``: a blank takes the mean of
        the answered items of its scale, rounded to a whole number (halves up), and totals add up the completed scales.
        ``strict``: nothing may be missing.
    min_answered_proportion : float
        Share of a scale's items that must be answered.
    max_missing : int, optional
        Number of items that may be missing, in place of the share.
    status : str
        ``published``: the authors' rule; ``convention``: ours, reported as such.
    note : str
        What else must be known about the rule.
    """

    rule: Literal["proration", "scale_mean_rounded", "strict"] = "proration"
    min_answered_proportion: Share = 0.8
    max_missing: Annotated[int, Field(ge=0)] | None = None
    status: Literal["published", "convention"] = "convention"
    note: str = ""


class Derivation(StrictModel):
    """Parent form that holds this form's items: own item number to the parent's."""

    instrument: Name
    items: dict[Annotated[str, Field(pattern=r"^[1-9][0-9]*$")], ItemNumber]
    caution: str = ""

    @property
    def parent_items(self) -> dict[int, int]:
        """Own item number to parent item number, in the order of the own numbers."""
        return {int(own): self.items[own] for own in sorted(self.items, key=int)}


class Instrument(StrictModel):
    """One questionnaire, rating scale or coding system; see ``docs/design.md`` section 4.

    ``content`` names the constructs of the alliance that the instrument as a whole monitors, ``approach`` whether its scales come from
    one theory (homogeneous) or several (blended).
    """

    key: Name
    name: str
    construct: Name
    kind: Literal["questionnaire", "single_rating", "idiographic", "event_coding", "interview", "covariate"] = "questionnaire"
    forms: dict[Rater, str] = Field(default_factory=dict)
    reference: list[Name] = Field(default_factory=list)
    n_items: Annotated[int, Field(ge=1, le=999)] | None = None
    response: Response | None = None
    response_from_site: bool = False
    reverse: list[ItemNumber] = Field(default_factory=list)
    scales: dict[Name, Scale] = Field(default_factory=dict)
    total: Scale | None = None
    shared_items: bool = False
    score: Score = Field(default_factory=Score)
    direction: Direction = "higher_is_better"
    content: dict[Name, Content] = Field(default_factory=dict)
    approach: Approach | None = None
    missing: Missing = Field(default_factory=Missing)
    derive_from: Derivation | None = None
    certainty: Literal["high", "medium", "low", "structure_only"]
    verified_by: Annotated[str, Field(min_length=1)] | None = None
    level: Literal["item", "scale"] = "item"
    improvement_items: list[ItemNumber] = Field(default_factory=list)
    change: PublishedChange | None = None
    version_note: str = ""
    source: list[str] = Field(default_factory=list)

    @property
    def scored_from_items(self) -> bool:
        """Whether the item map may be used: complete, and certain or verified by someone."""
        return self.why_not_scored == ""

    @property
    def why_not_scored(self) -> str:
        """Why items are not scored and what to do, or an empty text."""
        send = "send scale scores (`scales:` in site.yaml) instead of items"
        if self.level == "scale" or not any(scale.items for scale in self.scales.values()):
            return f"which items form its scales is not known here; {send}, or add the map in an instrument file of your own"
        if self.certainty != "high" and self.verified_by is None:
            return f"its item map is not certain ({self.certainty}); check it against the manual and set `verified_by`, or {send}"
        return ""

    @property
    def composites(self) -> dict[str, Scale]:
        """All scales by name, the total last."""
        return {**self.scales, **({TOTAL: self.total} if self.total else {})}

    @property
    def scale_names(self) -> list[str]:
        """Names of the scales that are scored, the total last."""
        return [name for name, scale in self.composites.items() if scale.scored]

    def scale_items(self, scale: str) -> list[int]:
        """Return the item numbers of a scale, ascending; those of its parts for a total; empty where unknown."""
        declared = self.composites[scale]
        if declared.of is not None:
            return sorted({item for part in declared.of for item in self.scale_items(part)})
        return sorted(declared.items or [])

    def scale_size(self, scale: str) -> int | None:
        """Return the number of items of a scale, None where it is not known."""
        declared = self.composites[scale]
        if declared.n_items is not None:
            return declared.n_items
        if declared.of is not None:
            sizes = [self.scale_size(part) for part in declared.of]
            return None if None in sizes else sum(sizes)
        if declared.items is not None:
            return len(declared.items)
        return self.n_items if list(self.composites) == [scale] else None

    def facet(self, scale: str) -> str:
        """Return what a scale measures; only scales with equal facets are one variable across instruments."""
        declared = self.composites.get(scale)
        return declared.facet if declared is not None and declared.facet else f"{self.key}.{scale}"

    def higher_is_worse(self, scale: str) -> bool:
        """Return whether higher scores of a scale mean less of what is wanted."""
        declared = self.composites.get(scale)
        return ((declared.direction if declared is not None else None) or self.direction) == "higher_is_worse"

    def possible_range(self, scale: str, unit: str, response: Response | None = None) -> tuple[float, float] | None:
        """Return the lowest and highest possible score of a scale.

        Parameters
        ----------
        scale : str
            Name of a scale.
        unit : str
            ``mean`` or ``sum``: of the items' units; ``headline``: as the column ``score`` holds it.
        response : Response, optional
            The answers the site used; default the instrument's.

        Returns
        -------
        tuple of float or None
            None where the range of answers or the number of items is not known.
        """
        response = response or self.response
        size = self.scale_size(scale)
        if response is None:
            return None
        low, high = float(response.min), float(response.max)
        method = self.composites[scale].method
        if method == "count_above_minimum":
            return None if size is None else (0.0, float(size))
        if method == "mean_above_minimum":
            return low + response.step, high
        factor = 1.0
        if unit == "headline":
            unit, factor = method or self.score.method, float(self.score.multiply)
        if unit == "sum":
            if size is None:
                return None
            factor *= size
        return low * factor, high * factor


def load_registry(folders: Iterable[Path]) -> dict[str, Instrument]:
    """Read instrument files; later folders add instruments or override single keys of earlier ones.

    Parameters
    ----------
    folders : iterable of Path
        Folders of ``<key>.yaml`` files. Mappings are merged key by key; numbers, texts and lists replace; null removes a key.

    Returns
    -------
    dict
        Instruments by key, in alphabetical order.

    Raises
    ------
    ConfigurationError
        With every fault of every file.
    """
    given = tuple(Path(os.path.abspath(folder)) for folder in folders)
    return dict(_registry(given, tuple(_content(path) for folder in given for path in sorted(folder.glob("*.yaml")))))


def _content(path: Path) -> tuple[Path, bytes | None]:
    """Return a file with what it holds; None where it cannot be read, which is told where it is read as an instrument."""
    try:
        return path, path.read_bytes()
    except OSError:
        return path, None


@functools.lru_cache(maxsize=8)
def _registry(folders: tuple[Path, ...], contents: tuple[tuple[Path, bytes | None], ...]) -> dict[str, Instrument]:
    """Return the instruments of folders; checked once as long as ``contents`` stay the same, since every job of a run needs them."""
    faults: list[Fault] = []
    merged: dict[str, _Source] = {}
    for folder in folders:
        _read_folder(folder, merged, faults)
    return _checked(merged, faults, whole=True)


def instrument_folders(files: Iterable[Path]) -> list[Path]:
    """Return the folders of instrument files, the shipped one first, so that a study's own come after it."""
    return sorted(dict.fromkeys(Path(file).parent for file in files), key=lambda folder: folder.resolve() != SHIPPED)


def load_files(files: Iterable[Path]) -> dict[str, Instrument]:
    """Read just these instrument files; of one key, later files override earlier ones as in :func:`load_registry`.

    An instrument may be derived from one that is not among the files.

    Raises
    ------
    ConfigurationError
        With every fault of every file.
    """
    faults: list[Fault] = []
    merged: dict[str, _Source] = {}
    for path in files:
        _read_file(Path(path), merged, faults)
    return _checked(merged, faults, whole=False)


def _checked(merged: dict[str, _Source], faults: list[Fault], whole: bool) -> dict[str, Instrument]:
    instruments: dict[str, Instrument] = {}
    for key in sorted(merged):
        source = merged[key]
        found = map_faults(source.data) + _derivation_faults(source.data, merged, whole)
        faults += [source.fault(path, message) for path, message in found]
        try:
            instruments[key] = parse(Instrument, source.data, {path: line for path, (_, line) in source.lines.items()}, source.file)
        except ConfigurationError as error:
            faults += [source.located(fault) for fault in error.faults]
    if faults:
        raise ConfigurationError(faults)
    return instruments


class _Source:
    """What the files of one instrument hold together, and where each key stands."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.lines: dict[KeyPath, tuple[str, int]] = {}
        self.file = ""

    def add(self, data: Mapping[str, Any], lines: Mapping[KeyPath, int], file: str) -> None:
        self.data = _deep_merge(self.data, data)
        self.lines |= {path: (file, line) for path, line in lines.items()}
        self.file = file

    def fault(self, path: KeyPath, message: str) -> Fault:
        known = next((path[:length] for length in range(len(path), 0, -1) if path[:length] in self.lines), ())
        file, line = self.lines.get(known, (self.file, 0))
        return Fault(file, line, ".".join(map(str, path)), message)

    def located(self, fault: Fault) -> Fault:
        """Return a fault found in the merged data with the file that wrote the key."""
        written = {".".join(map(str, path)): file for path, (file, _) in self.lines.items()}
        return Fault(written.get(fault.key, self.file), fault.line, fault.key, fault.message)


def _read_folder(folder: Path, merged: dict[str, _Source], faults: list[Fault]) -> None:
    if not folder.is_dir():
        faults.append(Fault(str(folder), 0, "", "this folder of instruments does not exist; check study.instruments_dir"))
        return
    by_lower = {key.lower(): key for key in merged}
    here: dict[str, str] = {}
    for path in sorted(folder.glob("*.yaml"), key=lambda path: path.name):
        key, name = path.stem, f"{folder.name}/{path.name}"
        if key.lower() in here:
            faults.append(Fault(name, 0, "", f"differs from {here[key.lower()]} in upper and lower case only; keep one"))
            continue
        here[key.lower()] = path.name
        if not re.fullmatch(r"[a-z][a-z0-9_]*", key):
            like = f" (overrides '{by_lower[key.lower()]}'?)" if key.lower() in by_lower else ""
            faults.append(Fault(name, 0, "", f"a file is named by its key: lower-case letters, digits and '_' only{like}"))
            continue
        _read_file(path, merged, faults)


def _read_file(path: Path, merged: dict[str, _Source], faults: list[Fault]) -> None:
    key, name = path.stem, f"{path.parent.name}/{path.name}"
    try:
        data, lines = _loaded(read_text(path, name), name)
    except ConfigurationError as error:
        faults += error.faults
        return
    if not isinstance(data, dict):
        faults.append(Fault(name, 0, "", "must hold keys with values"))
        return
    if data.get("key", key) != key:
        faults.append(Fault(name, lines.get(("key",), 0), "key", f"is '{data['key']}', but the file is named '{path.name}'"))
    merged.setdefault(key, _Source()).add({**data, "key": key}, lines, name)


@functools.cache
def _loaded(text: str, name: str) -> tuple[Any, dict[KeyPath, int]]:
    """Return what the text of an instrument's file holds, read once whatever other instruments a study has. Not to be changed."""
    return load_text(text, name)


def _deep_merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            below = result.get(key)
            result[key] = _deep_merge(below if isinstance(below, dict) else {}, value)
        else:
            result[key] = value
    return result


def map_faults(data: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    """Return what contradicts itself in one instrument's raw data, as key paths with messages.

    Wrong types are left to the model and skipped here, so that both kinds of faults are found in one pass.
    """
    faults: list[tuple[KeyPath, str]] = []
    scales = {name: scale for name, scale in _mapping(data.get("scales")).items() if isinstance(scale, dict)}
    total = _mapping(data.get("total"))
    n_items = data.get("n_items") if isinstance(data.get("n_items"), int) else None
    faults += _range_faults(_mapping(data.get("response")))
    faults += _scale_faults(scales, total, n_items, bool(data.get("shared_items")))
    if TOTAL in scales and total:
        faults.append((("total",), "stands beside a scale called total; keep one"))
    known = {item for scale in scales.values() for item in _items(scale.get("items"))}
    mapped = bool(known)
    for name in ("reverse", "improvement_items"):
        listed = _items(data.get(name))
        for item in sorted({item for item in listed if listed.count(item) > 1}):
            faults.append(((name,), f"item {item} stands twice"))
        for item in sorted(set(listed)):
            if n_items is not None and not 1 <= item <= n_items:
                faults.append(((name,), f"item {item} does not exist; items are 1 to {n_items}"))
            elif mapped and item not in known:
                faults.append(((name,), f"item {item} is in no scale; add it to a scale or take it out here"))
    if data.get("level", "item") == "item" and mapped and n_items is None:
        faults.append((("n_items",), "is missing; it is needed to check the item numbers"))
    if data.get("level", "item") == "item" and mapped and not data.get("response"):
        faults.append((("response",), "is missing; items are scored only with the range of their answers (min and max)"))
    return faults


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[int]:
    return [item for item in value if isinstance(item, int) and not isinstance(item, bool)] if isinstance(value, list) else []


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _range_faults(response: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    low, high = response.get("min"), response.get("max")
    if not (_number(low) and _number(high)):
        return []
    faults: list[tuple[KeyPath, str]] = []
    if low >= high:
        faults.append((("response", "min"), f"{low} is not below max ({high})"))
    values = response.get("values")
    if isinstance(values, list) and all(_number(value) for value in values):
        if values != sorted(set(values)):
            faults.append((("response", "values"), "must be ascending without repeats"))
        elif values and (values[0] != low or values[-1] != high):
            faults.append((("response", "values"), f"must begin with min ({low}) and end with max ({high})"))
    return faults


def _scale_faults(
    scales: Mapping[str, Mapping[str, Any]], total: Mapping[str, Any], n_items: int | None, shared: bool
) -> list[tuple[KeyPath, str]]:
    faults: list[tuple[KeyPath, str]] = []
    lower: dict[str, str] = {}
    first: dict[int, str] = {}
    for name, scale in scales.items():
        path = ("scales", name)
        if name.lower() in lower:
            faults.append((path, f"differs from '{lower[name.lower()]}' in upper and lower case only"))
        lower.setdefault(name.lower(), name)
        items = _items(scale.get("items"))
        if scale.get("items") is not None and not items:
            faults.append(((*path, "items"), "holds no item numbers"))
        if scale.get("items") is not None and scale.get("of") is not None:
            faults.append((path, "give items or of, not both"))
        for item in sorted({item for item in items if items.count(item) > 1}):
            faults.append(((*path, "items"), f"item {item} stands twice"))
        for item in sorted(set(items)):
            if n_items is not None and not 1 <= item <= n_items:
                faults.append(((*path, "items"), f"item {item} does not exist; items are 1 to {n_items}"))
            elif item in first and not shared:
                message = f"item {item} is also in scale '{first[item]}'; keep it in one, or set shared_items: true where this is meant"
                faults.append(((*path, "items"), message))
            first.setdefault(item, name)
        size = scale.get("n_items")
        if items and isinstance(size, int) and size != len(items):
            faults.append(((*path, "n_items"), f"is {size}, but {len(items)} items are listed"))
    composites = {("scales", name): scale for name, scale in scales.items()} | ({("total",): total} if total else {})
    for path, scale in composites.items():
        parts = scale.get("of")
        for part in parts if isinstance(parts, list) else []:
            if part not in scales:
                faults.append(((*path, "of"), f"'{part}' is not a scale of this instrument{nearest(str(part), scales)}"))
            elif scales[part].get("of") is not None:
                faults.append(((*path, "of"), f"'{part}' is itself made of scales; name those scales"))
    return faults


def _derivation_faults(data: Mapping[str, Any], merged: Mapping[str, _Source], whole: bool) -> list[tuple[KeyPath, str]]:
    derivation = _mapping(data.get("derive_from"))
    if not derivation:
        return []
    parent = derivation.get("instrument")
    if parent not in merged:
        return [(("derive_from", "instrument"), f"'{parent}' is not a known instrument{nearest(str(parent), merged)}")] if whole else []
    if parent == data.get("key"):
        return [(("derive_from", "instrument"), "an instrument cannot be derived from itself")]
    faults: list[tuple[KeyPath, str]] = []
    path = ("derive_from", "items")
    own_n, parent_n = data.get("n_items"), merged[parent].data.get("n_items")
    pairs = {int(own): item for own, item in _mapping(derivation.get("items")).items() if str(own).isdecimal() and isinstance(item, int)}
    if isinstance(own_n, int) and set(pairs) != set(range(1, own_n + 1)):
        faults.append((path, f"must name a parent item for each of the items 1 to {own_n}"))
    parents = list(pairs.values())
    for item in sorted({item for item in parents if parents.count(item) > 1}):
        faults.append((path, f"parent item {item} stands twice"))
    if isinstance(parent_n, int):
        faults += [
            (path, f"item {item} does not exist in '{parent}'; its items are 1 to {parent_n}")
            for item in sorted(set(parents))
            if not 1 <= item <= parent_n
        ]
    parent_reverse, own_reverse = set(_items(merged[parent].data.get("reverse"))), set(_items(data.get("reverse")))
    faults += [
        (
            path,
            f"item {own} is {'' if own in own_reverse else 'not '}reversed here, but its parent item {item} is the opposite in '{parent}'",
        )
        for own, item in sorted(pairs.items())
        if (own in own_reverse) != (item in parent_reverse)
    ]
    return faults
