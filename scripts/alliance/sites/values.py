"""Rules on single values, applied to the distinct texts of a column.

A column of a million answers holds a handful of distinct texts. Each is judged once and the verdict is spread over the rows, which
keeps every rule as plain Python and still costs little.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pyarrow as pa

FREQUENT_MISSING = frozenset(
    {"9", "77", "88", "99", "97", "98", "999", "888", "777", "9999", "-1", "-7", "-8", "-9", "-77", "-88", "-99", "-999"}
)
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?\Z")
_WORDS_FOR_NUMBERS = re.compile(r"[-+]?(inf|infinity|nan)\Z", re.IGNORECASE)
_OTHER_NUMBERS = re.compile(r"\+[0-9].*|--.*|0[xXbBoO][0-9a-fA-F]+|[-+]?[0-9.]+[eE][-+]?[0-9]+|[0-9]+(_[0-9]+)+\Z")
_DATE_LIKE = re.compile(
    r"([0-9]{1,2}[-. /][A-Za-zÀ-ÿ]{3,9}\.?|[A-Za-zÀ-ÿ]{3,9}[-. ][0-9]{1,2}|[0-9]{4}-[0-9]{2}-[0-9]{2}.*"
    r"|[0-9]{1,2}[./][0-9]{1,2}\.?([./][0-9]{2,4})?)\Z"
)
_EARLIEST_YEAR = 1900


@dataclass(frozen=True)
class Coded:
    """A column as its distinct texts and, for each row, the position of its text.

    Parameters
    ----------
    texts : list of str
        Distinct texts without outer space, in order of first appearance.
    codes : ndarray of int32, shape (n_rows,)
        Position in ``texts``.
    padded : ndarray of bool, shape (n_rows,) or (0,)
        Rows whose text had outer space (also no-break space) in the file; empty where no row had.
    """

    texts: list[str]
    codes: np.ndarray
    padded: np.ndarray


@dataclass
class Verdict:
    """What one text means: a value, or a fault, or a declared reason for a missing value."""

    value: object = None
    fault: str = ""
    text: str = ""
    fix: str = ""
    reason: str = ""


@dataclass
class CellFault:
    """Cells of one column that share a text and a fault."""

    code: str
    value: str
    message: str
    fix: str
    positions: np.ndarray


@dataclass
class Parsed:
    """Values of a column, the faults in it, and the declared reasons for missing values."""

    values: np.ndarray
    faults: list[CellFault] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    n_padded: int = 0


def encode(column: pa.ChunkedArray | pa.Array) -> Coded:
    """Return a text column as distinct texts and codes; nulls become empty texts."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    raw = ["" if text is None else text for text in column.dictionary.to_pylist()]
    codes = column.indices.fill_null(len(raw)).to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    if column.null_count:
        raw.append("")
    stripped = [text.strip() for text in raw]
    texts = list(dict.fromkeys(stripped))
    outer = np.array([after != "" and before != after for before, after in zip(raw, stripped)], dtype=bool)
    padded = outer[codes] if outer.any() else outer[:0]
    if len(texts) == len(raw):
        return Coded(texts, codes, padded)
    position = {text: index for index, text in enumerate(texts)}
    merged = np.array([position[text] for text in stripped], dtype=np.int32)
    return Coded(texts, merged[codes], padded)


def apply(coded: Coded, judge: Callable[[str], Verdict], alive: np.ndarray, missing_codes: Mapping[str, str], number: bool) -> Parsed:
    """Judge each distinct text once and spread the verdicts over the rows.

    Parameters
    ----------
    coded : Coded
        The column.
    judge : callable
        Returns the verdict of one non-empty text.
    alive : ndarray of bool, shape (n_rows,)
        Rows that count; others are neither reported nor given a value.
    missing_codes : mapping
        Declared missing code to its reason.
    number : bool
        Whether values are numbers (float64, NaN where missing) or objects (None where missing).

    Returns
    -------
    Parsed
    """
    counts = np.bincount(coded.codes[alive], minlength=len(coded.texts))
    present = counts > 0
    table = np.full(len(coded.texts), np.nan) if number else np.full(len(coded.texts), None, dtype=object)
    parsed = Parsed(values=table)
    faulty: list[tuple[int, Verdict]] = []
    for index in np.flatnonzero(present):
        text = coded.texts[index]
        if text == "":
            continue
        verdict = Verdict(reason=missing_codes[text]) if text in missing_codes else judge(text)
        if verdict.fault:
            faulty.append((index, verdict))
        elif verdict.reason:
            parsed.reasons[verdict.reason] = parsed.reasons.get(verdict.reason, 0) + int(counts[index])
        else:
            table[index] = verdict.value
    parsed.n_padded = int((coded.padded & alive).sum()) if len(coded.padded) else 0
    parsed.values = table[coded.codes]
    if not alive.all():
        parsed.values[~alive] = np.nan if number else None
    parsed.faults = _cell_faults(coded, faulty, alive)
    return parsed


def _cell_faults(coded: Coded, faulty: list[tuple[int, Verdict]], alive: np.ndarray) -> list[CellFault]:
    if not faulty:
        return []
    is_faulty = np.zeros(len(coded.texts), dtype=bool)
    is_faulty[[index for index, _ in faulty]] = True
    positions = np.flatnonzero(is_faulty[coded.codes] & alive)
    codes = coded.codes[positions]
    order = np.argsort(codes, kind="stable")
    positions, codes = positions[order], codes[order]
    faults = []
    for index, verdict in faulty:
        start, end = np.searchsorted(codes, [index, index + 1])
        faults.append(CellFault(verdict.fault, coded.texts[index], verdict.text, verdict.fix, positions[start:end]))
    return faults


@dataclass(frozen=True)
class NumberRule:
    """Numbers that a column may hold.

    Parameters
    ----------
    minimum, maximum : float or None
        Possible range; None: no bound.
    step : float or None
        Distance of possible values from ``minimum`` (or 0); None: any number.
    values : tuple of float or None
        The only possible values, in place of ``step``.
    decimal : str
        Decimal sign of the file.
    labels : mapping
        Text to number, for answers sent as words.
    what : str
        How messages call the value (``answer``, ``score``, ``age``).
    """

    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    values: tuple[float, ...] | None = None
    decimal: str = "."
    labels: Mapping[str, float] = field(default_factory=dict)
    what: str = "number"

    @property
    def range_text(self) -> str:
        """Say which numbers are possible."""
        if self.values is not None:
            return "one of " + ", ".join(f"{value:g}" for value in self.values)
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum:g} to {self.maximum:g}"
        if self.minimum is not None:
            return f"{self.minimum:g} or more"
        return f"at most {self.maximum:g}" if self.maximum is not None else "any number"


def judge_number(text: str, rule: NumberRule) -> Verdict:
    """Return the number a text means, or the fault in it (V01, V02, V04, V06 to V10, V14)."""
    if text in rule.labels:
        return Verdict(float(rule.labels[text]))
    plain = text if rule.decimal == "." else text.replace(".", "x").replace(",", ".")
    if not _NUMBER.match(plain):
        return _not_a_number(text, rule)
    number = float(plain)
    if not np.isfinite(number):
        return Verdict(fault="V08", text="is not a finite number", fix="Correct the cell or declare it in missing_codes.")
    outside = (rule.minimum is not None and number < rule.minimum) or (rule.maximum is not None and number > rule.maximum)
    if outside or (rule.values is not None and number not in rule.values):
        if outside and plain in FREQUENT_MISSING:
            fix = f'If {text} means missing, declare it: missing_codes: {{"{text}": reason}}.'
            return Verdict(fault="V02", text=f"is outside {rule.range_text} and looks like an undeclared missing code", fix=fix)
        return Verdict(
            fault="V01",
            text=f"is outside the possible {rule.what}s ({rule.range_text})",
            fix="Correct the value at the source; it is never clipped.",
        )
    if rule.values is None and rule.step is not None:
        steps = (number - (rule.minimum or 0)) / rule.step
        if abs(steps - round(steps)) > 1e-9:
            return Verdict(
                fault="V09",
                text=f"lies between the possible {rule.what}s",
                fix="Correct it, or set response: with a step if such values are possible.",
            )
    return Verdict(number)


def _not_a_number(text: str, rule: NumberRule) -> Verdict:
    decimal = "," if rule.decimal == "." else "."
    if any(character.isdigit() and not character.isascii() for character in text):
        return Verdict(fault="V06", text="holds digits that are not 0 to 9", fix="Type the number again with ordinary digits.")
    if _WORDS_FOR_NUMBERS.match(text):
        return Verdict(fault="V08", text="is not a finite number", fix="Correct the cell or declare it in missing_codes.")
    if re.fullmatch(r"-?[0-9]{1,3}([.,][0-9]{3})+([.,][0-9]+)?", text) and rule.decimal not in text:
        fix = f'Export without thousands separators, or set decimal: "{decimal}" if this is a decimal sign.'
        return Verdict(fault="V04", text="has a thousands separator or another decimal sign", fix=fix)
    if re.fullmatch(rf"-?[0-9]+{re.escape(decimal)}[0-9]+", text):
        return Verdict(
            fault="V04",
            text=f"has the decimal sign {decimal!r}",
            fix=f'Set decimal: "{decimal}" in site.yaml if the whole file is written so.',
        )
    if _OTHER_NUMBERS.match(text):
        return Verdict(fault="V07", text="is not a plainly written number", fix="Write it with digits only.")
    if _DATE_LIKE.match(text):
        return Verdict(
            fault="V14",
            text="looks like a date that a spreadsheet made of a number",
            fix="Format the column as text and enter the value again.",
        )
    return Verdict(
        fault="V10", text="is text where a number is expected", fix="Map it in values:, declare it in missing_codes:, or correct the cell."
    )


def parse_numbers(coded: Coded, rule: NumberRule, alive: np.ndarray, missing_codes: Mapping[str, str]) -> Parsed:
    """Return a column of numbers (float64, NaN where missing)."""
    return apply(coded, lambda text: judge_number(text, rule), alive, missing_codes, number=True)


def judge_date(text: str, date_format: str, latest: datetime | None) -> Verdict:
    """Return the day a text means, as days since 1970-01-01, or the fault in it (V06, V12, V13, R15)."""
    if not text.isascii() and any(character.isdigit() and not character.isascii() for character in text):
        return Verdict(fault="V06", text="holds digits that are not 0 to 9", fix="Type the date again with ordinary digits.")
    try:
        day = datetime.strptime(text, date_format)
    except ValueError:
        if re.fullmatch(r"[0-9]{5}(\.[0-9]+)?", text):
            fix = "Format the column as a date in the spreadsheet, or as text in the declared date_format."
            return Verdict(fault="V13", text="is a spreadsheet's day number in place of a date", fix=fix)
        return Verdict(
            fault="V12",
            text=f"is not a date in the declared format ({date_format})",
            fix="Correct it or set date_format in site.yaml; dates are never guessed.",
        )
    if day.year < _EARLIEST_YEAR:
        return Verdict(fault="V12", text=f"lies before {_EARLIEST_YEAR}", fix="Correct the date at the source.")
    if latest is not None and day.replace(tzinfo=None) > latest:
        return Verdict(
            fault="R15",
            text=f"lies after {latest:%Y-%m-%d} (cleaning.latest_date)",
            fix="Correct the date, or move latest_date in config.yaml.",
        )
    return Verdict(float((day.replace(tzinfo=None) - datetime(1970, 1, 1)).days))


def parse_dates(coded: Coded, date_format: str, latest: datetime | None, alive: np.ndarray, missing_codes: Mapping[str, str]) -> Parsed:
    """Return a column of dates as days since 1970-01-01 (float64, NaN where missing)."""
    return apply(coded, lambda text: judge_date(text, date_format, latest), alive, missing_codes, number=True)


def parse_choices(
    coded: Coded, mapping: Mapping[str, str], choices: tuple[str, ...] | None, alive: np.ndarray, missing_codes: Mapping[str, str]
) -> Parsed:
    """Return a column of words: mapped where a mapping is declared, else as sent if they are among the choices.

    Parameters
    ----------
    coded : Coded
        The column.
    mapping : mapping
        Their word to ours.
    choices : tuple of str or None
        Allowed words; None allows every word where no mapping is declared.
    alive, missing_codes
        See :func:`apply`.

    Returns
    -------
    Parsed
        Objects, None where missing.
    """

    def judge(text: str) -> Verdict:
        if text in mapping:
            return Verdict(mapping[text])
        if (choices is not None and text in choices) or (choices is None and not mapping):
            return Verdict(text)
        code = "V11" if mapping and set(mapping.values()) <= {"0", "1", "true", "false"} else "V10"
        known = ", ".join(sorted(mapping) or sorted(choices or ()))
        return Verdict(
            fault=code, text=f"is none of the known values ({known})", fix="Add it to values: in site.yaml, or correct the cell."
        )

    return apply(coded, judge, alive, missing_codes, number=False)
