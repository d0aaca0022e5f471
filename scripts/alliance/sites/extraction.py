"""From the rows of one file to records of one table: who, when, by whom, and the answers; with every fault on the way."""

from __future__ import annotations

import difflib
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np

from alliance.instruments import Instrument, Response
from alliance.issues import Severity, shown
from alliance.sites import identifiers, plausibility, values
from alliance.sites.accounting import FileLedger, IssueLog
from alliance.sites.codebook import Codebook, Field, disagreements
from alliance.sites.deliveries import RATING_KEY, combine, key_numbers
from alliance.sites.records import NO_ANSWER, NO_NUMBER, Records, join, keys_for
from alliance.sites.reshaping import Block, Resolved, resolve
from alliance.sites.site_file import RATERS, REASONS, TIMEPOINTS, SiteFile, TableSpec, item_range, scale_range

SESSION = TIMEPOINTS.index("session")
MAX_SESSION = 9999
MAX_WORD = 60
EVENT = "redcap_event_name"
SESSION_RULE = values.NumberRule(1, MAX_SESSION, 1, what="session number")
RATER_NUMBER_RULE = values.NumberRule(1, 999, 1, what="rater number")
NUMBER_RULES = {
    "age": values.NumberRule(0, 120, what="age"),
    "planned_sessions": values.NumberRule(0, MAX_SESSION, 1, what="number of session"),
    "years": values.NumberRule(0, 80, what="number of year"),
    "cases": values.NumberRule(0, None, 1, what="number of case"),
    "count": values.NumberRule(0, None, 1, what="count"),
    "last_session": values.NumberRule(0, MAX_SESSION, 1, what="session number"),
}
WORDS = ("gender", "treatment", "training", "code", "target", "reason", "judged_by")
CHOICES = {"reason": REASONS, "judged_by": RATERS}
DATES = ("start_date", "birth_date")
NOT_VALUES = ("client_id", "therapist_id", "session", "date", "rater", "rater_no", "timepoint", "item", "value", "scale", "instrument")


class Vocabulary:
    """Raw ids of a site, each with a code, and where it was first seen."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.first: list[tuple[str, int]] = []
        self._codes: dict[str, int] = {}

    def sort(self) -> np.ndarray:
        """Give ids codes in the order of their texts, and return the new code of each old one."""
        order = sorted(range(len(self.texts)), key=self.texts.__getitem__)
        new = np.empty(len(order), dtype=np.int64)
        new[order] = np.arange(len(order))
        self.texts = [self.texts[code] for code in order]
        self.first = [self.first[code] for code in order]
        self._codes = {text: code for code, text in enumerate(self.texts)}
        return new

    def encode(self, coded: values.Coded, alive: np.ndarray, ledger: FileLedger) -> np.ndarray:
        """Return the code of each row's id, -1 where there is none or the row does not count."""
        table = np.full(len(coded.texts) + 1, NO_NUMBER, dtype=np.int64)
        rows = np.flatnonzero(alive)
        first = np.full(len(coded.texts), NO_NUMBER, dtype=np.int64)
        first[coded.codes[rows[::-1]]] = rows[::-1]
        for index, row in enumerate(first.tolist()):
            if row == NO_NUMBER:
                continue
            text = coded.texts[index]
            if text == "":
                continue
            if text not in self._codes:
                self._codes[text] = len(self.texts)
                self.texts.append(text)
                self.first.append((ledger.name, int(ledger.physical(np.array([row]))[0])))
            table[index] = self._codes[text]
        return np.where(alive, table[coded.codes], NO_NUMBER)


@dataclass
class Source:
    """One file that was read: its ledger, and columns as distinct texts."""

    number: int
    ledger: FileLedger
    decimal: str
    header: list[str]
    kept: dict[str, values.Coded] = field(default_factory=dict)

    def coded(self, column: str, keep: bool = True) -> values.Coded:
        """Return a column as distinct texts; ids and the like are kept because several tables read them."""
        if column not in self.kept:
            coded = values.encode(self.ledger.raw.cells.column(column))
            if not keep:
                return coded
            self.kept[column] = coded
        return self.kept[column]


@dataclass
class Context:
    """What all tables of a site share while it is cleaned."""

    site_file: SiteFile
    instruments: dict[str, Instrument]
    log: IssueLog
    withdrawn: set[str]
    latest: datetime | None
    clients: Vocabulary = field(default_factory=Vocabulary)
    therapists: Vocabulary = field(default_factory=Vocabulary)
    missing_reasons: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))
    below: Counter = field(default_factory=Counter)
    padded: Counter = field(default_factory=Counter)
    sent: set[str] = field(default_factory=set)
    tests: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    codebook: Codebook = field(default_factory=dict)


def map_columns(spec: TableSpec, source: Source, context: Context) -> Resolved:
    """Find the table's columns in the file's header and record what is missing or does not fit (H08, H11, H15, H16, R16)."""
    instrument = context.instruments.get(spec.instrument or "")
    resolved = resolve(spec, source.header, instrument.n_items if instrument else None)
    name, log = source.ledger.name, context.log
    checkboxes = [
        column for column in resolved.missing if "___" in column and any(_stem(column) == _stem(other) for other in source.header)
    ]
    others = [column for column in resolved.missing if column not in checkboxes]
    if spec.events and EVENT not in (*source.header, *others):
        others.append(EVENT)
    if checkboxes:
        text = f"These answers of a checkbox field are missing: {_listed(checkboxes)}."
        log.site_fault("H15", text, "Export all columns of the field.", file=name, n_affected=len(checkboxes))
    if others:
        redcap = [column for column in others if column.startswith("redcap_")]
        hints = [f"{column}{_nearest(column, source.header)}" for column in others[:20]]
        more = f" and {len(others) - 20} more" if len(others) > 20 else ""
        text = (
            f"The table of {spec.table} needs columns that the file does not have: {', '.join(shown(hint, 120) for hint in hints)}{more}."
        )
        fix = "Correct columns, items or scales in site.yaml, or export these columns."
        if redcap:
            fix = "Export the project with its event and repeat columns (raw data, all records)."
        elif _looks_wide(others, source.header):
            fix = "The file seems to hold one row per client: set layout: one_row_per_client, or send the usual layout."
        log.site_fault("H16" if redcap else "H08", text, fix, file=name, n_affected=len(others))
    for first, second in resolved.repeated:
        text = f"The columns {shown(first)} and {shown(second)} both fit the same place of the column map."
        log.site_fault("H01", text, "Remove one of them, or name the columns one by one in site.yaml.", file=name)
    if resolved.surplus_items and instrument is not None:
        text = f"The header has items up to {max(resolved.surplus_items)}, but {spec.instrument} has {instrument.n_items}: another version?"
        fix = "Set the instrument that was used, or name the items one by one in site.yaml."
        log.site_fault("H11", text, fix, file=name, n_affected=len(resolved.surplus_items))
    return resolved


def _stem(column: str) -> str:
    return column.split("___")[0] if "___" in column else ""


def _listed(names: list[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown(name) for name in names[:most]) + more


def _nearest(column: str, header: list[str]) -> str:
    close = difflib.get_close_matches(column, header, n=1, cutoff=0.6)
    return f" (nearest: {close[0]})" if close else ""


def _looks_wide(missing: list[str], header: list[str]) -> bool:
    return any(re.search(rf"[0-9].*{re.escape(column)}\Z|^{re.escape(column)}.*[0-9]", name) for column in missing[:3] for name in header)


def extract(spec: TableSpec, resolved: Resolved, source: Source, delivery: int, superseded: bool, context: Context) -> dict[str, Records]:
    """Return the records that one file adds to one table.

    Parameters
    ----------
    spec : TableSpec
        The table.
    resolved : Resolved
        Its columns in this file.
    source : Source
        The file.
    delivery : int
        Position among the table's files.
    superseded : bool
        Whether a later cumulative delivery holds all of it again; then every row is left out by rule.
    context : Context
        What the site's tables share.

    Returns
    -------
    dict
        Records by instrument (empty text for tables that are not about instruments).
    """
    common = resolved.blocks[0].columns
    alive = _rows_of_people(spec, common, source, context)
    if superseded:
        source.ledger.exclude(np.flatnonzero(alive), "superseded")
        return {}
    alive = _rows_of_form(spec, source, alive)
    alive = _rows_with_valid_ids(spec, common, source, alive, context)
    keys, alive = _placed(spec, common, source, alive, context)
    keys["delivery"] = np.full(source.ledger.n, delivery, dtype=np.int64)
    if spec.is_rating and spec.layout == "one_row_per_response":
        return _responses(spec, common, source, alive, keys, context)
    parts = []
    empty = alive.copy()
    for block in resolved.blocks:
        records, occupied = _block(spec, block, source, alive, keys, context)
        empty &= ~occupied
        parts.append(records)
    source.ledger.exclude(np.flatnonzero(empty), "R11")
    return {spec.instrument or "" if spec.is_rating else "": join(parts)}


def _quarantine(source: Source, mask: np.ndarray, code: str, message: str, fix: str, context: Context, column: str = "") -> None:
    positions = np.flatnonzero(mask)
    if len(positions):
        source.ledger.quarantine(positions, code)
        rows, sheet = source.ledger.physical(positions), source.ledger.raw.sheet
        context.log.at_rows(code, Severity.ROW, source.ledger.name, rows, message, fix, column, sheet)


def _rows_of_people(spec: TableSpec, columns: dict[str, str], source: Source, context: Context) -> np.ndarray:
    """Leave out, by rule, clients who withdrew and test records."""
    alive = np.ones(source.ledger.n, dtype=bool)
    if "client_id" not in columns:
        return alive
    coded = source.coded(columns["client_id"])
    tests = set(context.site_file.test_ids)
    gone = np.array([text in context.withdrawn for text in coded.texts], dtype=bool)[coded.codes]
    test = np.array([text in tests for text in coded.texts], dtype=bool)[coded.codes]
    context.gone.update(text for text in coded.texts if text in context.withdrawn)
    context.tests.update(text for text in coded.texts if text in tests)
    source.ledger.exclude(np.flatnonzero(gone), "withdrawn")
    source.ledger.exclude(np.flatnonzero(test & ~gone), "R10")
    return ~gone & ~test


def _rows_of_form(spec: TableSpec, source: Source, alive: np.ndarray) -> np.ndarray:
    """Keep the REDCap rows of the table's form and events; the others belong to other tables."""
    if spec.format != "redcap":
        return alive
    chosen = alive.copy()
    events = None
    if EVENT in source.header:
        events = source.coded(EVENT)
        if spec.events:
            chosen &= np.array([text in spec.events for text in events.texts], dtype=bool)[events.codes]
    if "redcap_repeat_instrument" in source.header:
        forms = source.coded("redcap_repeat_instrument")
        is_form = np.array([text == spec.form for text in forms.texts], dtype=bool)[forms.codes]
        plain = np.array([text == "" for text in forms.texts], dtype=bool)[forms.codes]
        if spec.form is None:
            chosen &= plain
        else:
            event = events.codes if events is not None else np.zeros(source.ledger.n, dtype=np.int32)
            repeats = np.zeros(int(event.max(initial=0)) + 1, dtype=bool)
            repeats[event[is_form]] = True
            chosen &= is_form | (plain & ~repeats[event])
    source.ledger.exclude(np.flatnonzero(alive & ~chosen), "R11")
    return chosen


def _rows_with_valid_ids(spec: TableSpec, columns: dict[str, str], source: Source, alive: np.ndarray, context: Context) -> np.ndarray:
    name = "client_id" if "client_id" in columns else "therapist_id"
    column = columns[name]
    coded = source.coded(column)
    empty = np.array([text == "" for text in coded.texts], dtype=bool)[coded.codes] & alive
    who = name.removesuffix("_id")
    _quarantine(source, empty, "R07", f"The row has no {who} id.", "Add the id, or remove the row from the export.", context, column)
    alive = alive & ~empty
    if name == "client_id":
        pattern = context.site_file.id_pattern
        if pattern is not None:
            wrong_text = [text != "" and re.fullmatch(pattern, text) is None for text in coded.texts]
            message = "The id does not have the form that id_pattern declares (a summary row, a note, a typing error?)."
        else:
            wrong_text = [identifiers.is_footer(text) for text in coded.texts]
            message = "The row looks like a summary row, not like a client."
        wrong = np.array(wrong_text, dtype=bool)[coded.codes] & alive
        fix = "Correct the id or remove the row; id_pattern in site.yaml says which ids are right."
        _quarantine(source, wrong, "R09", message, fix, context, column)
        alive = alive & ~wrong
        present = np.bincount(coded.codes[alive], minlength=len(coded.texts)) > 0
        context.sent.update(text for text, there in zip(coded.texts, present) if there)
    _count_padding(coded, alive, source, column, context)
    return alive


def _count_padding(coded: values.Coded, alive: np.ndarray, source: Source, column: str, context: Context) -> None:
    if len(coded.padded):
        context.padded[source.ledger.name, column] = int((coded.padded & alive).sum())


def _placed(spec: TableSpec, columns: dict[str, str], source: Source, alive: np.ndarray, context: Context) -> tuple[dict, np.ndarray]:
    """Return client, therapist, timepoint, rater and rater number of every row, and the rows that have all they need."""
    n = source.ledger.n
    keys: dict[str, np.ndarray] = {}
    missing = _missing_codes(spec, context)
    alive, timepoint = _timepoints(spec, columns, source, alive, context)
    keys["timepoint"] = timepoint
    rater = _constant_rater(spec, context)
    keys["rater"] = np.full(n, RATERS.index(rater) if rater else NO_NUMBER, dtype=np.int8)
    if "rater" in columns:
        parsed = values.parse_choices(source.coded(columns["rater"]), _words(spec, "rater"), RATERS, alive, missing)
        known = np.array([value is not None for value in parsed.values], dtype=bool)
        if spec.table == "events":
            _report_cells(parsed, source, columns["rater"], context)
        else:
            text, fix = "The row does not say who answered, or says it in an unknown word.", "Map the word in values: {rater: ...}."
            _quarantine(source, alive & ~known, "V10", text, fix, context, columns["rater"])
            alive = alive & known
        keys["rater"] = _positions(parsed.values, RATERS)
    keys["rater_no"] = np.ones(n, dtype=np.int16)
    if "rater_no" in columns:
        rule = replace(RATER_NUMBER_RULE, labels=_numbers(spec, "rater_no"))
        parsed = values.parse_numbers(source.coded(columns["rater_no"]), rule, alive, missing)
        wrong = np.zeros(n, dtype=bool)
        for fault in parsed.faults:
            wrong[fault.positions] = True
        text = "The rater's number is not a whole number from 1."
        _quarantine(
            source,
            wrong,
            "V10",
            text,
            "Number the observers 1, 2, ... or map them in values: {rater_no: ...}.",
            context,
            columns["rater_no"],
        )
        alive = alive & ~wrong
        keys["rater_no"] = np.where(np.isnan(parsed.values), 1, parsed.values).astype(np.int16)
    if "client_id" in columns:
        keys["client"] = context.clients.encode(source.coded(columns["client_id"]), alive, source.ledger)
    else:
        keys["client"] = np.full(n, NO_NUMBER, dtype=np.int64)
    keys["therapist"] = np.full(n, NO_NUMBER, dtype=np.int64)
    if "therapist_id" in columns and "{" not in spec.columns["therapist_id"]:
        keys["therapist"] = _therapists(columns["therapist_id"], source, alive, missing, context)
    return keys, alive


def _therapists(column: str, source: Source, alive: np.ndarray, missing: dict[str, str], context: Context) -> np.ndarray:
    coded = source.coded(column)
    named = np.array([text not in missing for text in coded.texts], dtype=bool)[coded.codes]
    _count_padding(coded, alive, source, column, context)
    return context.therapists.encode(coded, alive & named, source.ledger)


def _constant_rater(spec: TableSpec, context: Context) -> str | None:
    if spec.rater is not None or not spec.is_rating or "rater" in spec.columns:
        return spec.rater
    forms = list(context.instruments[spec.instrument].forms) if spec.instrument in context.instruments else []
    return forms[0] if len(forms) == 1 else None


def _timepoints(
    spec: TableSpec, columns: dict[str, str], source: Source, alive: np.ndarray, context: Context
) -> tuple[np.ndarray, np.ndarray]:
    n = source.ledger.n
    if not spec.placed_in_time:
        return alive, np.full(n, NO_NUMBER, dtype=np.int8)
    if "timepoint" in columns:
        parsed = values.parse_choices(source.coded(columns["timepoint"]), _words(spec, "timepoint"), TIMEPOINTS, alive, {})
        known = np.array([value is not None for value in parsed.values], dtype=bool)
        text, fix = "The row's timepoint is empty or an unknown word.", "Map the word in values: {timepoint: ...}."
        _quarantine(source, alive & ~known, "V10", text, fix, context, columns["timepoint"])
        return alive & known, _positions(parsed.values, TIMEPOINTS)
    if spec.events and spec.is_rating and EVENT in source.header:
        events = source.coded(EVENT)
        table = np.array(
            [TIMEPOINTS.index(spec.events[text]) if text in spec.events else NO_NUMBER for text in events.texts], dtype=np.int8
        )
        return alive, table[events.codes]
    return alive, np.full(n, TIMEPOINTS.index(spec.timepoint or "session"), dtype=np.int8)


def _positions(words: np.ndarray, known: tuple[str, ...]) -> np.ndarray:
    position = {word: index for index, word in enumerate(known)}
    return np.fromiter((position.get(word, NO_NUMBER) for word in words), dtype=np.int8, count=len(words))


def _missing_codes(spec: TableSpec, context: Context, column: str = "", source: Source | None = None) -> dict[str, str]:
    declared = {**context.site_file.missing_codes, **spec.missing_codes}
    typed = source.ledger.raw.missing_reasons.get(column, {}) if source is not None else {}
    return {**typed, **declared}


def _words(spec: TableSpec, name: str) -> dict[str, str]:
    return {theirs: str(ours).lower() if isinstance(ours, bool) else str(ours) for theirs, ours in spec.values.get(name, {}).items()}


def _numbers(spec: TableSpec, name: str) -> dict[str, float]:
    return {theirs: float(ours) for theirs, ours in spec.values.get(name, {}).items()}


def _report_cells(parsed: values.Parsed, source: Source, column: str, context: Context, hidden: bool = False, what: str = "") -> None:
    """Record the faulty cells of a column; what was found is not shown for dates and free text."""
    ledger = source.ledger
    for fault in parsed.faults:
        value = "" if hidden else fault.value
        rows = ledger.physical(fault.positions)
        times = f" ({len(rows)} times in this column)" if fault.code == "V02" else ""
        message = f"The value {fault.message}{times}; the cell is treated as missing."
        context.log.at_rows(fault.code, Severity.CELL, ledger.name, rows, message, fault.fix, column, ledger.raw.sheet, value)
    if parsed.n_padded:
        context.padded[ledger.name, column] = parsed.n_padded
    for reason, count in parsed.reasons.items():
        context.missing_reasons[what or "other"][reason] += count


def _dates(spec: TableSpec, column: str, source: Source, alive: np.ndarray, context: Context) -> np.ndarray:
    declared = spec.date_format or context.site_file.date_format
    coded = source.coded(column)
    missing = _missing_codes(spec, context, column, source)
    parsed = values.parse_dates(coded, declared, context.latest, alive, missing)
    typed = source.ledger.raw.date_typed.get(column)
    if typed is not None and len(typed):
        is_typed = np.isin(source.ledger.raw.rows, np.asarray(typed))
        plain = values.parse_dates(coded, declared, context.latest, alive & ~is_typed, missing)
        iso = values.Coded([text[:10] for text in coded.texts], coded.codes, coded.padded)
        parsed = values.parse_dates(iso, "%Y-%m-%d", context.latest, alive & is_typed, missing)
        parsed.values = np.where(is_typed, parsed.values, plain.values)
        parsed.faults += plain.faults
    _report_cells(parsed, source, column, context, hidden=True, what="date")
    return parsed.values


def _block(spec: TableSpec, block: Block, source: Source, alive: np.ndarray, keys: dict, context: Context) -> tuple[Records, np.ndarray]:
    """Return the records of one occasion and the rows that hold something for it."""
    instrument = context.instruments.get(spec.instrument or "")
    columns = block.columns
    found: dict[str, np.ndarray] = {}
    occupied = np.zeros(source.ledger.n, dtype=bool)
    whole_row = spec.layout != "one_row_per_client" and spec.format != "redcap" and not spec.is_rating
    if spec.is_rating:
        occupied = _answers(spec, block, source, alive, keys, instrument, found, context)
    else:
        named = [name for name in columns if name not in ("client_id", "therapist_id")]
        if block.session is not None:
            named = [name for name in named if "{session}" in spec.columns[name]]
        for name in named:
            occupied |= _filled(source.coded(columns[name]))
        occupied = alive.copy() if whole_row or not named else occupied & alive
    good = occupied.copy()
    own = dict(keys)
    if "therapist_id" in columns and "{" in spec.columns.get("therapist_id", ""):
        own["therapist"] = _therapists(columns["therapist_id"], source, good, _missing_codes(spec, context), context)
    dates = _dates(spec, columns["date"], source, good, context) if "date" in columns else np.full(source.ledger.n, np.nan)
    good, session = _sessions(spec, block, source, good, keys["timepoint"], dates, context)
    if not spec.is_rating:
        for name, column in columns.items():
            if name not in NOT_VALUES:
                found[name] = _column(spec, name, column, source, good, context)
    rows = np.flatnonzero(good)
    every = len(rows) == source.ledger.n
    given = {name: array if every else array[rows] for name, array in own.items()}
    given |= {"session": session[rows], "date": dates[rows], "position": rows, "file": source.number}
    return Records(keys_for(len(rows), **given), {name: array if every else array[rows] for name, array in found.items()}), occupied


def _answers(
    spec: TableSpec,
    block: Block,
    source: Source,
    alive: np.ndarray,
    keys: dict,
    instrument: Instrument | None,
    found: dict[str, np.ndarray],
    context: Context,
) -> np.ndarray:
    """Read items or scale scores into ``found`` and return the rows that hold any."""
    occupied = np.zeros(source.ledger.n, dtype=bool)
    response = item_range(spec, instrument)
    _compare_labels(block, source, context)
    _compare_with_codes(spec, block, response, source, context)
    total = _total(spec, block, source, alive, context) if block.total else None
    exact: dict[int, np.ndarray] = {}
    for item, column in block.items.items():
        coded = source.coded(column, keep=False)
        occupied |= _filled(coded)
        answers = _item(spec, column, coded, response, source, alive, keys, context)
        if total is not None:
            exact[item] = answers
        found[f"i{item}"] = as_answers(answers, response)
    for scale, column in block.scales.items():
        coded = source.coded(column, keep=False)
        occupied |= _filled(coded)
        found[f"s_{scale}"] = _score(spec, scale, column, coded, source, alive, context)
    if total is not None and exact and instrument is not None and response is not None:
        wrong = plausibility.totals_that_differ(exact, total, instrument, response) & alive
        rows = source.ledger.physical(np.flatnonzero(wrong))
        text = "The total that was sent differs from the sum and the mean of its items."
        fix = "Compare with the source: an item or the total was changed, or reversed items were treated otherwise."
        context.log.at_rows("V19", Severity.WARN, source.ledger.name, rows, text, fix, block.total or "", source.ledger.raw.sheet)
    return occupied & alive


def _filled(coded: values.Coded) -> np.ndarray:
    if "" not in coded.texts:
        return np.ones(len(coded.codes), dtype=bool)
    return coded.codes != coded.texts.index("")


def as_answers(numbers: np.ndarray, response: Response | None) -> np.ndarray:
    """Return whole answers as int8, others as they are."""
    whole = response is not None and all(
        float(bound).is_integer() and abs(bound) <= 127 for bound in (response.min, response.max, *(response.values or ()))
    )
    if not whole or (response.values is None and not float(response.step).is_integer()):
        return numbers
    missing = np.isnan(numbers)
    if not missing.any():
        return numbers.astype(np.int8)
    return np.where(missing, float(NO_ANSWER), numbers).astype(np.int8)


def _item_rule(spec: TableSpec, column: str, response: Response | None, source: Source, context: Context) -> values.NumberRule:
    labels = _numbers(spec, "items")
    described = context.codebook.get(column, Field()).choices
    for code, label in [*source.ledger.raw.labels.get(column, {}).items(), *described.items()]:
        if re.fullmatch(r"-?[0-9]+(\.0+)?", code) and not re.fullmatch(r"-?[0-9.,]+", label.strip()):
            labels.setdefault(label.strip(), float(code))
    if response is None:
        return values.NumberRule(decimal=source.decimal, labels=labels, what="answer")
    allowed = tuple(map(float, response.values)) if response.values is not None else None
    return values.NumberRule(float(response.min), float(response.max), response.step, allowed, source.decimal, labels, "answer")


def _item(
    spec: TableSpec,
    column: str,
    coded: values.Coded,
    response: Response | None,
    source: Source,
    alive: np.ndarray,
    keys: dict,
    context: Context,
) -> np.ndarray:
    missing = _missing_codes(spec, context, column, source)
    parsed = values.parse_numbers(coded, _item_rule(spec, column, response, source, context), alive, missing)
    _report_cells(parsed, source, column, context, what=spec.instrument or "")
    _count_below(parsed, spec.instrument or "", response, keys["rater"], context)
    return parsed.values


def _count_below(parsed: values.Parsed, instrument: str, response: Response | None, rater: np.ndarray, context: Context) -> None:
    if response is None:
        return
    for fault in parsed.faults:
        if (
            fault.code in ("V01", "V02")
            and re.fullmatch(r"-?[0-9]+(\.0+)?", fault.value)
            and float(fault.value) == response.min - response.step
        ):
            for code, count in zip(*np.unique(rater[fault.positions], return_counts=True)):
                context.below[instrument, int(code)] += int(count)


def _score(
    spec: TableSpec, scale: str, column: str, coded: values.Coded, source: Source, alive: np.ndarray, context: Context
) -> np.ndarray:
    limits = scale_range(spec, context.instruments.get(spec.instrument or ""), scale) or (None, None)
    rule = values.NumberRule(limits[0], limits[1], decimal=source.decimal, what="score")
    parsed = values.parse_numbers(coded, rule, alive, _missing_codes(spec, context, column, source))
    _report_cells(parsed, source, column, context, what=spec.instrument or "")
    return parsed.values


def _total(spec: TableSpec, block: Block, source: Source, alive: np.ndarray, context: Context) -> np.ndarray:
    column = block.total or ""
    rule = values.NumberRule(decimal=source.decimal, what="total")
    parsed = values.parse_numbers(source.coded(column, keep=False), rule, alive, _missing_codes(spec, context, column, source))
    _report_cells(parsed, source, column, context, what=spec.instrument or "")
    return parsed.values


def _compare_with_codes(spec: TableSpec, block: Block, response: Response | None, source: Source, context: Context) -> None:
    """Refuse items whose value labels in the file name other codes than site.yaml or the codebook does (F31)."""
    declared = {label.strip().casefold(): code for label, code in _numbers(spec, "items").items()}
    found = []
    for column in block.items.values():
        labels = source.ledger.raw.labels.get(column, {})
        for code, label in labels.items():
            mapped = declared.get(label.strip().casefold())
            if mapped is not None and code != f"{mapped:g}":
                found.append(f"{shown(label)!r} in {shown(column)} is {shown(code)} in the file and {mapped:g} in site.yaml")
        if column in context.codebook:
            named = {**labels, **{f"{code:g}": label for label, code in _numbers(spec, "items").items()}}
            missing = set(_missing_codes(spec, context, column, source))
            found += disagreements(column, context.codebook[column], response, missing, named)
    if found:
        more = f" and {len(found) - 10} more" if len(found) > 10 else ""
        text = f"Labels and codes disagree: {'; '.join(found[:10])}{more}. Items may be stored reversed, or in another range."
        fix = "Correct the labels, values: {items: ...}, response: or the codebook, whichever is wrong."
        context.log.site_fault("F31", text, fix, file=source.ledger.name, n_affected=len(found))
    absent = [column for column in block.items.values() if column not in context.codebook] if context.codebook else []
    if absent:
        text = f"The codebook does not describe these columns: {_listed(absent)}."
        context.log.remark("F31", text, "Check that it is the codebook of this export.", file=source.ledger.name, n_affected=len(absent))


def _compare_labels(block: Block, source: Source, context: Context) -> None:
    """Refuse items of one questionnaire whose value labels name the same answer with different codes (F31)."""
    codes: dict[str, dict[str, str]] = defaultdict(dict)
    for column in block.items.values():
        for code, label in source.ledger.raw.labels.get(column, {}).items():
            codes[label.strip().casefold()].setdefault(code, column)
    clashes = [(label, found) for label, found in codes.items() if label and len(found) > 1]
    if clashes:
        label, found = clashes[0]
        places = ", ".join(f"{code} in {shown(column)}" for code, column in sorted(found.items()))
        text = f"Value labels disagree between items: {shown(label)!r} is {places} ({len(clashes)} labels); are items stored reversed?"
        fix = "Correct the value labels or the codes, and export the items as they were answered."
        context.log.site_fault("F31", text, fix, file=source.ledger.name, n_affected=len(clashes))


def _column(spec: TableSpec, name: str, column: str, source: Source, alive: np.ndarray, context: Context) -> np.ndarray:
    """Return a column of a table that is not about an instrument."""
    if name in DATES:
        return _dates(spec, column, source, alive, context)
    coded = source.coded(column)
    missing = _missing_codes(spec, context, column, source)
    if name == "attended":
        mapping = _words(spec, name)
        truth = {"0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0}
        parsed = values.parse_choices(coded, mapping, tuple(truth), alive, missing)
        _report_cells(parsed, source, column, context, what=spec.table)
        return np.array([np.nan if value is None else truth[value] for value in parsed.values])
    if name in WORDS:
        mapping = _words(spec, name)
        _compare_with_labels(spec, name, column, mapping, source, context)
        parsed = values.parse_choices(coded, mapping, CHOICES.get(name), alive, missing)
        _refuse_long_words(parsed, coded, source, column, context)
        _report_cells(parsed, source, column, context, hidden=not mapping and name not in CHOICES, what=spec.table)
        return parsed.values
    rule = replace(NUMBER_RULES.get(name, values.NumberRule()), decimal=source.decimal, labels=_numbers(spec, name))
    parsed = values.parse_numbers(coded, rule, alive, missing)
    _report_cells(parsed, source, column, context, what=spec.table)
    return parsed.values


def _compare_with_labels(spec: TableSpec, name: str, column: str, mapping: dict[str, str], source: Source, context: Context) -> None:
    labels = source.ledger.raw.labels.get(column, {})
    ours = {value.casefold() for value in mapping.values()}
    for code, label in labels.items():
        if code in mapping and label.strip().casefold() in ours - {mapping[code].casefold()}:
            text = f"site.yaml maps {shown(code)!r} to {shown(mapping[code])!r}, but the file labels it {shown(label)!r}."
            context.log.site_fault("F31", text, f"Correct values: {{{name}: ...}} or the labels.", file=source.ledger.name, column=column)


def _refuse_long_words(parsed: values.Parsed, coded: values.Coded, source: Source, column: str, context: Context) -> None:
    long = np.fromiter((value is not None and len(value) > MAX_WORD for value in parsed.values), dtype=bool, count=len(parsed.values))
    if long.any():
        parsed.values[long] = None
        rows = source.ledger.physical(np.flatnonzero(long))
        text = f"The text is longer than {MAX_WORD} characters; the column must hold categories. The cell is treated as missing."
        context.log.at_rows("V23", Severity.CELL, source.ledger.name, rows, text, "Send a category, or leave the column out.", column)


def _sessions(
    spec: TableSpec, block: Block, source: Source, good: np.ndarray, timepoint: np.ndarray, dates: np.ndarray, context: Context
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that can be placed in time and their session numbers (-1: to be counted later, or none)."""
    n = source.ledger.n
    session = np.full(n, NO_NUMBER, dtype=np.int64)
    at_session = good & (timepoint == SESSION) if spec.placed_in_time else np.zeros(n, dtype=bool)
    if block.session is not None:
        session[at_session] = block.session
        if block.session < 1:
            fix = "Number sessions from 1; what comes before the first session is timepoint: intake."
            _quarantine(source, at_session, "R14", f"The header numbers a session {block.session}.", fix, context)
            return good & ~at_session, session
        return good, session
    column = block.columns.get("session")
    numbering = context.site_file.session_numbers
    if column is None and numbering == "file" and spec.format == "redcap" and "redcap_repeat_instance" in source.header:
        column = "redcap_repeat_instance"
    if column is None:
        if numbering == "date" and spec.placed_in_time:
            undated = at_session & np.isnan(dates)
            text = "The session cannot be numbered: its date is missing or wrong."
            _quarantine(
                source, undated, "R14", text, "Add the date, or number the sessions in a column.", context, block.columns.get("date", "")
            )
            good = good & ~undated
        elif numbering == "number":
            text, fix = (
                "The row belongs to a session, but no column holds the session's number.",
                "Map the column: columns: {session: ...}.",
            )
            _quarantine(source, at_session, "R14", text, fix, context)
            good = good & ~at_session
        return good, session
    coded = source.coded(column)
    rule = replace(SESSION_RULE, decimal=source.decimal, labels=_numbers(spec, "session"))
    parsed = values.parse_numbers(coded, rule, at_session, {})
    by_instance = column == "redcap_repeat_instance" and "session" not in block.columns
    wrong = at_session & np.isnan(parsed.values)
    if by_instance:
        faulty = np.zeros(n, dtype=bool)
        for fault in parsed.faults:
            faulty[fault.positions] = True
        wrong = faulty
    for fault in parsed.faults:
        text = f"The session number {shown(fault.value)!r} is not a whole number from 1."
        fix = "Correct it; what comes before the first session is timepoint: intake."
        mask = np.zeros(n, dtype=bool)
        mask[fault.positions] = True
        _quarantine(source, mask, "R14", text, fix, context, column)
    _quarantine(
        source,
        wrong,
        "R14",
        "The row has no session number.",
        "Add it, or say how sessions are numbered (session_numbers).",
        context,
        column,
    )
    placed = at_session & ~np.isnan(parsed.values)
    session[placed] = parsed.values[placed].astype(np.int64)
    return good & ~wrong, session


def _responses(
    spec: TableSpec, columns: dict[str, str], source: Source, alive: np.ndarray, keys: dict, context: Context
) -> dict[str, Records]:
    """Return records from a file with one answer a row."""
    dates = _dates(spec, columns["date"], source, alive, context) if "date" in columns else np.full(source.ledger.n, np.nan)
    filled = _filled(source.coded(columns["value"]))
    source.ledger.exclude(np.flatnonzero(alive & ~filled), "R11")
    block = Block(None, columns)
    alive, session = _sessions(spec, block, source, alive & filled, keys["timepoint"], dates, context)
    keys = {**keys, "session": session, "date": dates}
    result = {}
    for instrument, rows in _rows_by_instrument(spec, columns, source, alive, context).items():
        part = _pivot(spec, instrument, columns, source, rows, keys, context)
        if part is not None:
            result[instrument] = part
    return result


def _rows_by_instrument(
    spec: TableSpec, columns: dict[str, str], source: Source, alive: np.ndarray, context: Context
) -> dict[str, np.ndarray]:
    if spec.instrument is not None:
        return {spec.instrument: alive}
    known = tuple(context.instruments)
    parsed = values.parse_choices(source.coded(columns["instrument"]), _words(spec, "instrument"), known, alive, {})
    right = np.fromiter((value in context.instruments for value in parsed.values), dtype=bool, count=len(parsed.values))
    text, fix = "The row names no known instrument.", "Map it in values: {instrument: ...}."
    _quarantine(source, alive & ~right, "C07", text, fix, context, columns["instrument"])
    return {name: alive & (parsed.values == name) for name in sorted({value for value in parsed.values[alive & right]})}


def _places(
    spec: TableSpec, instrument: Instrument, columns: dict[str, str], source: Source, rows: np.ndarray, context: Context
) -> np.ndarray:
    """Return for each row the item or scale it answers, as a column name of ours; None where unknown."""
    by_item = "item" in columns
    column = columns["item"] if by_item else columns["scale"]
    coded = source.coded(column)
    known = {f"i{item}" for item in range(1, (instrument.n_items or 0) + 1)} if by_item else None
    pattern = None
    if by_item and isinstance(spec.items, str):
        pattern = re.compile("0*([0-9]+)".join(re.escape(part) for part in spec.items.split("{item}")) + r"\Z")
    mapped = _words(spec, "item" if by_item else "scale")

    def place(text: str) -> str | None:
        text = mapped.get(text, text)
        if not by_item:
            scales = set(instrument.scale_names) | {"total"}
            return f"s_{text}" if text in scales or not instrument.scales else None
        match = pattern.match(text) if pattern else re.match(r"0*([0-9]+)\Z", text)
        name = f"i{int(match.group(1))}" if match and match.group(1).isascii() else None
        return name if name in known else None

    places = np.array([place(text) for text in coded.texts], dtype=object)[coded.codes]
    wrong = rows & np.fromiter((value is None for value in places), dtype=bool, count=len(places))
    what = f"items 1 to {instrument.n_items}" if by_item else "scales " + ", ".join(instrument.scale_names)
    text = f"The row answers none of the {what} of {instrument.key}."
    _quarantine(source, wrong, "V10", text, "Correct the row, or the pattern in items:.", context, column)
    return places


def _pivot(
    spec: TableSpec, key: str, columns: dict[str, str], source: Source, rows: np.ndarray, keys: dict, context: Context
) -> Records | None:
    instrument = context.instruments[key]
    own = spec.model_copy(update={"instrument": key})
    places = _places(own, instrument, columns, source, rows, context)
    rows = rows & np.fromiter((value is not None for value in places), dtype=bool, count=len(places))
    positions = np.flatnonzero(rows)
    if not len(positions):
        return None
    response = item_range(own, instrument)
    coded = source.coded(columns["value"])
    if "item" in columns:
        numbers = _item(own, columns["value"], coded, response, source, rows, keys, context)
    else:
        numbers = np.full(source.ledger.n, np.nan)
        for name in sorted(set(places[positions])):
            mask = rows & (places == name)
            numbers[mask] = _score(own, name[2:], columns["value"], coded, source, mask, context)[mask]
    given = {
        name: keys[name][positions] for name in ("client", "therapist", "timepoint", "session", "date", "rater", "rater_no", "delivery")
    }
    answers = Records(
        keys_for(len(positions), position=positions, file=source.number, **given),
        {"place": places[positions], "number": numbers[positions]},
    )
    answers = _without_repeated_answers(answers, source, context)
    names = [f"i{item}" for item in range(1, instrument.n_items + 1)] if "item" in columns else sorted(set(answers.values["place"]))
    if spec.placed_in_time and context.site_file.session_numbers == "file" and "session" not in columns:
        context.log.site_fault(
            "R14", "One response a row cannot be numbered by its position.", "Map a session column or use dates.", file=source.ledger.name
        )
    return _wide(answers, names, response if "item" in columns else None)


def _without_repeated_answers(answers: Records, source: Source, context: Context) -> Records:
    sessionless = (answers.keys["session"] == NO_NUMBER) & (answers.keys["timepoint"] == SESSION)
    if sessionless.any():
        day = np.nan_to_num(answers.keys["date"], nan=-1).astype(np.int64)
        session = np.where(sessionless, day, answers.keys["session"])
        outcome = combine(replace(answers, keys={**answers.keys, "session": session}), RATING_KEY, ("place",))
    else:
        outcome = combine(answers, RATING_KEY, ("place",))
    report_repetitions(answers, outcome, [source], context)
    return answers.take(np.flatnonzero(outcome.kept))


def report_repetitions(records: Records, outcome: Any, sources: list[Source], context: Context) -> None:
    """Quarantine repeated and contradicting records and name their rows (R04, R05)."""
    told = (
        (outcome.repeated, "R04", "The row repeats another one exactly; the first is kept.", "Remove the repetition at the source."),
        (
            outcome.contradicting,
            "R05",
            "The row has the same client, occasion and rater as another one of this delivery, and differs; neither is used.",
            "Keep the right one at the source, or give the rows their own session, timepoint or rater number.",
        ),
    )
    by_number = {source.number: source for source in sources}
    for mask, code, message, fix in told:
        files, positions = records.rows_of(mask)
        for number in np.unique(files).tolist():
            source = by_number[number]
            chosen = np.zeros(source.ledger.n, dtype=bool)
            chosen[positions[files == number]] = True
            _quarantine(source, chosen, code, message, fix, context)


def _wide(answers: Records, names: list[str], response: Response | None) -> Records:
    """Return one record an occasion from one record an answer."""
    day = np.nan_to_num(answers.keys["date"], nan=-1).astype(np.int64)
    by_day = np.where((answers.keys["session"] == NO_NUMBER) & (answers.keys["timepoint"] == SESSION), day, NO_NUMBER)
    occasion = key_numbers(answers, ("client", "timepoint", "session", "rater", "rater_no"))
    occasion = occasion * (int(by_day.max(initial=0)) + 2) + by_day + 1
    _, first, inverse = np.unique(occasion, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place_of = np.empty(len(order), dtype=np.int64)
    place_of[order] = np.arange(len(order))
    record = place_of[inverse]
    result = answers.take(first[order])
    result.members = answers.keys["position"], record
    result.values = {}
    for name in names:
        numbers = np.full(len(result), np.nan)
        chosen = answers.values["place"] == name
        numbers[record[chosen]] = answers.values["number"][chosen]
        result.values[name] = as_answers(numbers, response) if name.startswith("i") else numbers
    return result
