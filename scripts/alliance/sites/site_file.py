"""What ``site.yaml`` may hold, and every fault of one such file found in one pass."""

from __future__ import annotations

import codecs
import contextlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from alliance.configuration import strict_yaml
from alliance.configuration.errors import ConfigurationError, Fault, nearest, similar
from alliance.configuration.validation import StrictModel, parse
from alliance.instruments import Instrument, Response
from alliance.instruments.registry import TOTAL
from alliance.issues import Issue, Severity, shown

NAME = "site.yaml"

Rater = Literal["client", "therapist", "observer"]
Timepoint = Literal["intake", "session", "post", "follow_up"]
TableName = Literal["clients", "therapists", "sessions", "ratings", "outcomes", "events", "termination"]

RATERS = ("client", "therapist", "observer")
TIMEPOINTS = ("intake", "session", "post", "follow_up")
REASONS = ("planned", "unilateral", "administrative", "ongoing")

_RATING_COLUMNS = (
    *("client_id", "therapist_id", "session", "date", "rater", "rater_no", "timepoint"),
    *("item", "value", "scale", "instrument"),
)
COLUMNS = {
    "clients": ("client_id", "therapist_id", "age", "gender", "treatment", "planned_sessions", "start_date", "birth_date"),
    "therapists": ("therapist_id", "training", "years", "cases"),
    "sessions": ("client_id", "therapist_id", "session", "date", "attended"),
    "ratings": _RATING_COLUMNS,
    "outcomes": _RATING_COLUMNS,
    "events": ("client_id", "therapist_id", "session", "date", "rater", "code", "count", "intensity", "target", "exposure"),
    "termination": ("client_id", "therapist_id", "last_session", "reason", "judged_by"),
}
OPEN_TABLES = ("clients", "therapists", "sessions")
RESERVED = ("site", "client_no", "therapist_no", "row")
VALUE_CHOICES = {"rater": RATERS, "judged_by": RATERS, "timepoint": TIMEPOINTS, "reason": REASONS}


def _relative(path: str) -> str:
    """Refuse a file name that is not a plain path inside the site's folder."""
    parts = path.split("/")
    if not path or path.startswith(("/", "~", "-")) or "\\" in path or "$" in path or re.match(r"[A-Za-z]:", path):
        raise ValueError(f"{shown(path)!r} must be the name of a file inside the site's folder, with forward slashes and no variables")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{shown(path)!r} must not leave the site's folder (no '..')")
    if len(path.encode()) > 255 or any(unicodedata.category(character)[0] == "C" for character in path):
        raise ValueError(f"{shown(path)!r} has control characters or is too long: rename the file")
    if path == NAME:
        raise ValueError("names site.yaml itself; name a data file")
    return path


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return text


def _encoding(text: str) -> str:
    try:
        codecs.lookup(text)
    except LookupError:
        raise ValueError(f"{shown(text)!r} is not an encoding; usual ones: utf-8, cp1252, latin-1, utf-16") from None
    return text


def _date_format(text: str) -> str:
    day = datetime(2026, 11, 23)
    try:
        whole = datetime.strptime(day.strftime(text), text).date() == day.date()
    except ValueError:
        whole = False
    if not whole:
        raise ValueError(f"{shown(text)!r} does not describe a whole date; write for example %d.%m.%Y or %Y-%m-%d")
    return text


def _sha256(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ValueError("a SHA-256 has 64 hexadecimal digits")
    return text.lower()


def _one_character(text: str) -> str:
    text = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(text) != 1 or text in '"\r\n':
        raise ValueError("must be one character (write tab for a tabulator)")
    return text


RelativePath = Annotated[str, AfterValidator(_relative)]
MissingCodes = dict[str, str]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


FileNames = Annotated[list[RelativePath], Field(min_length=1), BeforeValidator(_listed)]


class TableSpec(StrictModel):
    """One entry of ``tables``."""

    table: TableName
    files: FileNames
    deliveries: Literal["cumulative", "incremental"] = "cumulative"
    format: Literal["csv", "xlsx", "sav", "dta", "redcap", "qualtrics"] | None = None
    encoding: Annotated[str, AfterValidator(_encoding)] | None = None
    separator: Annotated[str, AfterValidator(_one_character)] | None = None
    decimal: Literal[".", ","] | None = None
    sheet: str | None = None
    header_row: Annotated[int, Field(ge=1)] | None = None
    layout: Literal["one_row_per_session", "one_row_per_client", "one_row_per_response"] = "one_row_per_session"
    form: str | None = None
    events: dict[str, Timepoint] | None = None
    instrument: str | None = None
    rater: Rater | None = None
    timepoint: Timepoint | None = None
    columns: dict[str, str]
    values: dict[str, dict[str, str | int | float | bool]] = Field(default_factory=dict)
    items: str | dict[str, str] | None = None
    scales: dict[str, str] | None = None
    unit: Literal["mean", "sum"] | None = None
    response: Response | None = None
    total: str | None = None
    missing_codes: MissingCodes = Field(default_factory=dict)
    date_format: Annotated[str, AfterValidator(_date_format)] | None = None

    @property
    def file_names(self) -> list[str]:
        """Return the files in order of delivery."""
        return list(self.files)

    @property
    def is_rating(self) -> bool:
        """Whether the rows hold answers or scores of an instrument."""
        return self.table in ("ratings", "outcomes")

    @property
    def placed_in_time(self) -> bool:
        """Whether a record belongs to a session or another timepoint."""
        return self.table in ("ratings", "outcomes", "sessions", "events")

    @property
    def session_in_header(self) -> bool:
        """Whether the session's number stands in column names."""
        names = [*self.columns.values(), *(self.scales or {}).values()]
        names += [self.items] if isinstance(self.items, str) else list((self.items or {}).values())
        return any("{session}" in name for name in names)


class Matrix(StrictModel):
    """A published matrix of correlations or covariances."""

    file: RelativePath
    scale: Literal["correlation", "covariance"] = "correlation"


class Effects(StrictModel):
    """Published effect sizes."""

    file: RelativePath


class SiteFile(StrictModel):
    """Content of one ``site.yaml``."""

    label: str | None = None
    data: Literal["rows", "summary"] = "rows"
    country: str | None = None
    language: str | None = None
    setting: str | None = None
    design: str | None = None
    treatment_format: Literal["individual", "group", "couple", "family", "mixed"] | None = None
    treatment_menu: Annotated[list[str], BeforeValidator(_listed)] | None = None
    contact: str | None = None
    recruiting: bool = False
    missing_codes: MissingCodes = Field(default_factory=dict)
    date_format: Annotated[str, AfterValidator(_date_format)] = "%Y-%m-%d"
    id_pattern: Annotated[str, AfterValidator(_pattern)] | None = None
    test_ids: list[str] = Field(default_factory=list)
    session_numbers: Literal["number", "date", "file"] = "number"
    transfers: Literal["warn", "accept"] = "warn"
    checksums: dict[RelativePath, Annotated[str, AfterValidator(_sha256)]] = Field(default_factory=dict)
    expected_rows: dict[RelativePath, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    codebook: RelativePath | None = None
    tables: list[TableSpec] = Field(default_factory=list)
    summaries: FileNames | None = None
    matrix: Matrix | None = None
    effects: Effects | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """Return what describes the site, for moderators and reports."""
        names = ("country", "language", "setting", "design", "treatment_format", "treatment_menu")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def load_site_file(path: Path, site: str, instruments: Mapping[str, Instrument]) -> tuple[SiteFile | None, list[Issue]]:
    """Read and check one ``site.yaml``.

    Parameters
    ----------
    path : Path
        The file.
    site : str
        Id of the site.
    instruments : mapping of str to Instrument
        Known instruments.

    Returns
    -------
    SiteFile or None
        None where a fault was found.
    list of Issue
        Every fault, severity SITE; ``row`` is the line in ``site.yaml`` and ``column`` the key.
    """
    try:
        data, lines = strict_yaml.load_file(path, NAME)
    except ConfigurationError as error:
        return None, [_issue(fault, site) for fault in error.faults]
    if data is None:
        data = {}
    faults: list[Fault] = []
    site_file = None
    if isinstance(data, dict):
        with contextlib.suppress(ConfigurationError):
            site_file = parse(SiteFile, data, lines, NAME)
        if site_file is None:
            faults += _type_faults(data, lines)
        faults += [Fault(NAME, _line(lines, path), ".".join(map(str, path)), text) for path, text in _cross_checks(data, instruments)]
    else:
        faults.append(Fault(NAME, 1, "", "must hold keys with values, such as 'label: My clinic'"))
    faults = sorted(set(faults))
    return (None if faults else site_file), [_issue(fault, site) for fault in faults]


def _type_faults(data: dict, lines: dict) -> list[Fault]:
    try:
        parse(SiteFile, data, lines, NAME)
    except ConfigurationError as error:
        return error.faults
    return []


def _line(lines: dict, path: tuple) -> int:
    return next((lines[path[:length]] for length in range(len(path), -1, -1) if path[:length] in lines), 0)


def _issue(fault: Fault, site: str) -> Issue:
    return Issue(
        code=_code(fault.message),
        severity=Severity.SITE,
        site=site,
        file=NAME,
        row=fault.line or None,
        column=fault.key,
        message=fault.message[:1].upper() + fault.message[1:].rstrip(".") + ("" if fault.message.endswith("?") else "."),
        fix="Correct site.yaml; docs/add-a-site.md lists every key.",
    )


def _code(message: str) -> str:
    signs = (
        ("unknown key", "C01"),
        ("stands twice", "C02"),
        ("tags (", "C04"),
        ("aliases (", "C05"),
        ("anchors (", "C05"),
        ("is also a valid", "V03"),
        ("unknown instrument", "C07"),
        ("unknown item", "C07"),
        ("unknown scale", "C07"),
        ("inside the site's folder", "C10"),
        ("must not leave the site's folder", "C10"),
        ("rename the file", "P05"),
        ("is not valid YAML", "C17"),
        ("is not UTF-8", "C17"),
        ("this is a folder", "C17"),
        ("does not exist", "C17"),
        ("cannot be read", "C17"),
        ("one row per client and one row", "R16"),
    )
    return next((code for sign, code in signs if sign in message), "C06")


Found = Iterator[tuple[tuple, str]]


def _cross_checks(data: dict, instruments: Mapping[str, Instrument]) -> Found:
    """Yield the faults that concern several keys, also where other parts of the file do not fit their types."""
    kind = data.get("data", "rows")
    specs = _valid_tables(data)
    names = {name for spec in specs.values() for name in spec.file_names}
    if kind == "rows":
        if not data.get("tables"):
            yield ("tables",), "is missing: list at least one table of this site"
        for key in ("matrix", "effects", "summaries"):
            if data.get(key) is not None:
                yield (key,), "belongs to sites with 'data: summary'; remove it or set data: summary"
        for key in ("checksums", "expected_rows"):
            for name in data.get(key) if isinstance(data.get(key), dict) else ():
                if specs and name not in names:
                    yield (key, name), f"no table reads this file{nearest(name, names)}"
    elif kind == "summary":
        if data.get("tables"):
            yield ("tables",), "a site with 'data: summary' sends no tables; send rows or a summary, not both"
        if data.get("codebook") is not None:
            yield ("codebook",), "belongs to sites that send rows; remove it"
        if data.get("matrix") is not None and data.get("summaries") is not None:
            yield ("summaries",), "give either summaries or a matrix"
    complete = kind == "rows" and isinstance(data.get("tables"), list) and len(specs) == len(data["tables"])
    if complete and specs and not any(spec.is_rating for spec in specs.values()):
        yield ("tables",), "no table of ratings or outcomes is listed; a site needs at least one"
    for index, spec in specs.items():
        for path, text in _table_faults(spec, data, instruments):
            yield ("tables", index, *path), text
    yield from _range_clashes(specs, instruments)
    site_codes = data.get("missing_codes") if isinstance(data.get("missing_codes"), dict) else {}
    for code in site_codes:
        for spec in specs.values():
            reason = _valid_score(code, spec, instruments)
            if reason:
                yield ("missing_codes", code), reason
                break


def _range_clashes(specs: Mapping[int, TableSpec], instruments: Mapping[str, Instrument]) -> Found:
    """Yield tables that give the same instrument and rater another range of answers than a table before."""
    first: dict[tuple[str, str], Response] = {}
    for index, spec in specs.items():
        if spec.is_rating and spec.instrument and spec.response is not None:
            for rater in _raters_of(spec, instruments.get(spec.instrument)):
                known = first.setdefault((spec.instrument, rater), spec.response)
                if known != spec.response:
                    text = f"differs from another table of {spec.instrument} ({rater}); one rater's answers need one range"
                    yield ("tables", index, "response"), text
                    break


def _valid_tables(data: dict) -> dict[int, TableSpec]:
    tables = data.get("tables") if isinstance(data.get("tables"), list) else []
    specs = {}
    for index, table in enumerate(tables):
        with contextlib.suppress(ValidationError):
            specs[index] = TableSpec.model_validate(table)
    return specs


def _table_faults(spec: TableSpec, data: dict, instruments: Mapping[str, Instrument]) -> Found:
    yield from _column_faults(spec)
    yield from _value_faults(spec)
    yield from _time_faults(spec, str(data.get("session_numbers", "number")))
    if spec.is_rating:
        yield from _rating_faults(spec, instruments)
        for code in spec.missing_codes:
            reason = _valid_score(code, spec, instruments)
            if reason:
                yield ("missing_codes", code), reason
    else:
        for key in ("instrument", "items", "scales", "unit", "response", "total", "rater"):
            if getattr(spec, key) is not None and not (key == "rater" and spec.table == "events"):
                yield (key,), "belongs to tables of ratings or outcomes"
    if spec.separator is not None and spec.separator == spec.decimal:
        yield ("decimal",), "is the same character as the separator"
    if spec.form is not None and spec.format != "redcap":
        yield ("form",), "belongs to REDCap exports; add 'format: redcap' or remove it"
    if spec.events is not None and spec.format != "redcap":
        yield ("events",), "belongs to REDCap exports; add 'format: redcap' or remove it"
    if spec.sheet is not None and not (spec.format == "xlsx" or all(name.lower().endswith(".xlsx") for name in spec.file_names)):
        yield ("sheet",), "belongs to spreadsheets; remove it or add 'format: xlsx'"
    if len(set(spec.file_names)) < len(spec.file_names):
        yield ("files",), "names the same file twice"


def _column_faults(spec: TableSpec) -> Found:
    known = COLUMNS[spec.table]
    for name in spec.columns:
        if name in RESERVED or (name not in known and spec.table not in OPEN_TABLES):
            yield ("columns", name), f"unknown key{nearest(name, known)}"
        elif not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            yield ("columns", name), "must be lower-case letters, digits and underscores"
        elif spec.table == "therapists" and name == "client_id":
            yield ("columns", name), "the table of therapists holds no clients"
    needed = "therapist_id" if spec.table == "therapists" else "client_id"
    if needed not in spec.columns:
        yield ("columns",), f"does not say which column holds {needed}; add '{needed}: <column>'"
    for name in ("client_id", "therapist_id"):
        if "{" in spec.columns.get(name, "") and name == "client_id":
            yield ("columns", name), "must be one column for the whole row"
    required = {"events": ("code",), "termination": ("reason",)}.get(spec.table, ())
    for name in required:
        if name not in spec.columns:
            yield ("columns",), f"does not say which column holds {name}; add '{name}: <column>'"


def _value_faults(spec: TableSpec) -> Found:
    allowed = {*spec.columns, *(("items",) if spec.is_rating else ())}
    for name, mapping in spec.values.items():
        if name not in allowed:
            yield ("values", name), f"unknown key{nearest(name, allowed)}"
        choices = VALUE_CHOICES.get(name)
        for theirs, ours in mapping.items():
            if choices and ours not in choices:
                yield ("values", name, theirs), f"{ours!r} is not allowed; allowed: {', '.join(choices)}{similar(str(ours), choices)}"
            elif name in ("items", "value", "age", "rater_no") and (isinstance(ours, bool) or not _number(ours)):
                yield ("values", name, theirs), f"{ours!r} does not fit: a number is expected"
            elif name == "attended" and str(ours).lower() not in ("0", "1", "true", "false"):
                yield ("values", name, theirs), f"{ours!r} does not fit: true or false is expected"


def _number(value: object) -> bool:
    return isinstance(value, int | float) or re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", str(value)) is not None


def _time_faults(spec: TableSpec, session_numbers: str) -> Found:
    if spec.layout == "one_row_per_client" and not spec.is_rating and spec.table not in ("sessions", "events", "clients", "termination"):
        yield ("layout",), f"one_row_per_client does not fit a table of {spec.table}"
    if spec.session_in_header and spec.layout != "one_row_per_client":
        yield ("layout",), "{session} in a column name needs 'layout: one_row_per_client'"
    if not spec.placed_in_time:
        return
    if spec.table in ("sessions", "events"):
        timepoint = "session"
        if spec.timepoint not in (None, "session"):
            yield ("timepoint",), f"a table of {spec.table} is always at sessions; remove the key"
    else:
        timepoint = spec.timepoint
        ways = [
            key
            for key, given in (("timepoint", timepoint), ("events", spec.events), ("columns.timepoint", spec.columns.get("timepoint")))
            if given
        ]
        if not ways and spec.table == "outcomes":
            yield ("timepoint",), "is missing: say when these outcomes were measured (intake, session, post or follow_up), or map a column"
        if len(ways) > 1:
            yield ("timepoint",), f"is given twice ({' and '.join(ways)}); keep one"
        timepoint = timepoint or (None if ways else "session")
    may_be_session = timepoint == "session" or (timepoint is None and (not spec.events or "session" in spec.events.values()))
    if not may_be_session:
        if "session" in spec.columns and timepoint is not None:
            yield ("columns", "session"), f"does not fit 'timepoint: {timepoint}'; remove one of the two"
        return
    if spec.session_in_header:
        if "session" in spec.columns:
            yield ("columns", "session"), "stands beside {session} in column names; keep one"
        return
    if spec.layout == "one_row_per_client" and "session" not in spec.columns and timepoint == "session" and session_numbers == "number":
        yield ("items",), "with one row per client the column names need {session}, such as 's{session}_wai{item}'; or set timepoint"
        return
    if session_numbers == "number" and "session" not in spec.columns and "timepoint" not in spec.columns:
        yield ("columns",), "does not say which column holds the session's number; add 'session: <column>' or set session_numbers"
    if session_numbers == "date":
        if "date" not in spec.columns:
            yield ("columns",), "session_numbers: date needs the session's date; add 'date: <column>'"
        if "session" in spec.columns:
            yield (
                ("columns", "session"),
                "session_numbers: date numbers the sessions by their dates; remove this column or use session_numbers: number",
            )


def _rating_faults(spec: TableSpec, instruments: Mapping[str, Instrument]) -> Found:
    by_response = spec.layout == "one_row_per_response"
    if spec.rater is not None and "rater" in spec.columns:
        yield ("rater",), "is given twice (rater and columns.rater); keep one"
    if by_response:
        if "value" not in spec.columns:
            yield ("columns",), "one_row_per_response needs 'value: <column>'"
        if ("item" in spec.columns) == ("scale" in spec.columns):
            yield ("columns",), "one_row_per_response needs either 'item: <column>' or 'scale: <column>'"
        for key in ("scales", "total"):
            if getattr(spec, key) is not None:
                yield (key,), "does not fit one_row_per_response"
        if isinstance(spec.items, dict):
            yield ("items",), "must be a pattern such as 'wai_{item}' that the item column holds"
    else:
        for name in ("item", "value", "scale", "instrument"):
            if name in spec.columns:
                yield ("columns", name), "belongs to 'layout: one_row_per_response'"
        if (spec.items is None) == (spec.scales is None):
            yield ("items",), "give either items or scales"
    if isinstance(spec.items, str) and spec.items.count("{item}") != 1:
        yield ("items",), "a pattern needs {item} once, such as 'wai_{item}'"
    if (spec.scales is not None or "scale" in spec.columns) and spec.unit is None:
        yield ("unit",), "is missing: say whether the sent scale scores are item means or sums (unit: mean or unit: sum)"
    if spec.instrument is None:
        if "instrument" not in spec.columns:
            yield ("instrument",), f"is missing{nearest('', instruments)}"
        elif spec.rater is None and "rater" not in spec.columns:
            yield ("rater",), "is missing: say who answered (client, therapist or observer), or map a column"
        return
    if "instrument" in spec.columns:
        yield ("instrument",), "is given twice (instrument and columns.instrument); keep one"
    instrument = instruments.get(spec.instrument)
    if instrument is None:
        yield ("instrument",), f"unknown instrument {spec.instrument!r}{nearest(spec.instrument, instruments)}"
        return
    yield from _instrument_faults(spec, instrument)


def _instrument_faults(spec: TableSpec, instrument: Instrument) -> Found:
    forms = sorted(instrument.forms)
    if spec.rater is None and "rater" not in spec.columns and len(forms) != 1:
        yield ("rater",), f"is missing: {spec.instrument} exists for {', '.join(forms) or 'several raters'}; say who answered"
    scales = known_scales(instrument)
    for name in spec.scales or ():
        if scales and name not in scales:
            yield ("scales", name), f"unknown scale of {spec.instrument}{nearest(name, scales)}"
    n_items = instrument.n_items
    if isinstance(spec.items, dict) and n_items:
        for item in spec.items:
            if not (item.isascii() and item.isdigit() and 1 <= int(item) <= n_items):
                yield ("items", item), f"unknown item: {spec.instrument} has items 1 to {n_items}"
        left_out = [str(item) for item in range(1, n_items + 1) if str(item) not in spec.items]
        if left_out:
            yield ("items",), f"does not name item {', '.join(left_out)} of {spec.instrument}"
    uses_items = spec.scales is None and "scale" not in spec.columns
    if uses_items and not n_items:
        yield ("items",), f"the items of {spec.instrument} are not known to the registry; send scale scores (scales:) instead"
    yield from _response_faults(spec, instrument, uses_items)


def _response_faults(spec: TableSpec, instrument: Instrument, uses_items: bool) -> Found:
    fixed = None if instrument.response_from_site else instrument.response
    if spec.response is not None and spec.response.min >= spec.response.max:
        yield ("response",), "min must be smaller than max"
    elif spec.response is None and uses_items and fixed is None:
        yield (
            ("response",),
            f"is missing: {spec.instrument} was used with several response ranges; add 'response: {{min: 1, max: 5}}' as printed",
        )
    elif spec.response is not None and fixed is not None and (spec.response.min, spec.response.max) != (fixed.min, fixed.max):
        text = f"differs from the range of {spec.instrument} ({fixed.min:g} to {fixed.max:g}); remove it, or add an instrument file"
        yield ("response",), text


def known_scales(instrument: Instrument) -> list[str]:
    """Return the scales of an instrument including its total; empty where the registry does not know them."""
    return sorted({*instrument.scale_names, TOTAL}) if instrument.scales else []


def item_range(spec: TableSpec, instrument: Instrument | None) -> Response | None:
    """Return the answers that a table's items allow, from the site or the instrument."""
    return spec.response or (instrument.response if instrument is not None else None)


def ranges_by_rater(specs: Iterable[TableSpec], instrument: Instrument | None) -> dict[str, Response | None]:
    """Return the answers that items of one instrument allow, by rater; the tables of one instrument may declare different ranges."""
    found: dict[str, Response | None] = {}
    for spec in specs:
        for rater in _raters_of(spec, instrument):
            found.setdefault(rater, item_range(spec, instrument))
    return found


def _raters_of(spec: TableSpec, instrument: Instrument | None) -> list[str]:
    if spec.rater is not None:
        return [spec.rater]
    if "rater" in spec.columns:
        mapped = {str(rater) for rater in spec.values.get("rater", {}).values()}
        return [rater for rater in RATERS if rater in mapped or not mapped]
    return list(instrument.forms) if instrument is not None else list(RATERS)


def scale_range(spec: TableSpec, instrument: Instrument | None, scale: str) -> tuple[float, float] | None:
    """Return the possible range of a sent scale score; None where the registry cannot tell."""
    if instrument is None or spec.unit is None or scale not in instrument.composites:
        return None
    return instrument.possible_range(scale, spec.unit, item_range(spec, instrument))


def _valid_score(code: str, spec: TableSpec, instruments: Mapping[str, Instrument]) -> str:
    """Say why a missing code is ambiguous: it is a value that this table's instrument can take."""
    instrument = instruments.get(spec.instrument or "")
    if not spec.is_rating or instrument is None or not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", code):
        return ""
    number = float(code)
    if spec.scales:
        for name in spec.scales:
            limits = scale_range(spec, instrument, name)
            if limits is not None and limits[0] <= number <= limits[1]:
                return _ambiguous(code, f"score of {name} ({limits[0]:g} to {limits[1]:g})", spec)
    else:
        response = item_range(spec, instrument)
        if response is not None and allowed_answer(number, response):
            return _ambiguous(code, f"answer ({response.min:g} to {response.max:g})", spec)
    return ""


def _ambiguous(code: str, what: str, spec: TableSpec) -> str:
    return f"{code} is also a valid {what} of {spec.instrument}; declare it only for the tables where it means missing"


def allowed_answer(number: float, response: Response) -> bool:
    """Whether a number is one of the answers an item allows."""
    if response.values is not None:
        return number in response.values
    steps = (number - response.min) / response.step
    return response.min <= number <= response.max and abs(steps - round(steps)) < 1e-9
