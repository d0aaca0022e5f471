"""Numbers as they are printed in reports: American Psychological Association style, the same in every locale."""

from __future__ import annotations

import math
import re

MINUS = "\N{MINUS SIGN}"
SPACE = "\N{NO-BREAK SPACE}"
UNKNOWN = "\N{EN DASH}"


def known(value: object) -> bool:
    """Tell whether a value is a finite number."""
    try:
        return value is not None and math.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def _signed(text: str) -> str:
    """Turn the sign of a formatted number into a true minus and drop it from a zero."""
    if not text.startswith("-"):
        return text
    return text[1:] if not text.strip("-0.,") else MINUS + text[1:]


def decimal(value: object, decimals: int = 2) -> str:
    """Return a number that can exceed 1, with its leading zero (``0.52``); a dash where it is unknown."""
    return _signed(f"{float(value):,.{decimals}f}") if known(value) else UNKNOWN  # type: ignore[arg-type]


def bounded(value: object, decimals: int = 2) -> str:
    """Return a number that cannot exceed 1 (a correlation, a reliability) without its leading zero (``.52``)."""
    text = decimal(value, decimals)
    return text.replace("0.", ".", 1) if text.lstrip(MINUS).startswith("0.") else text


_HYPHEN = re.compile(r"(?<![^\s([=<>±,;])-(?=\.?\d)")
_APOSTROPHE = re.compile(r"(?<=[a-z])'(?=[a-z])|(?<=s)'(?= [a-z])")
_PERCENT = re.compile(r"(?<=\d) (?=%)")
_BOUNDED = re.compile(r"\b(at|[Bb]elow|above|correlate|correlation of|r =|p =|p <) (\N{MINUS SIGN}?)0(?=\.\d++(?! SD))")


def typeset(text: str) -> str:
    """Return a sentence of a table or question as it is printed.

    Minus signs before numbers are true ones, apostrophes are curved, no blank stands before a percent sign, and levels of significance,
    reliabilities and correlations have no leading zero.
    """
    if not any(mark in text for mark in "-%.'"):
        return text
    return _APOSTROPHE.sub("’", _BOUNDED.sub(r"\1 \2", _PERCENT.sub("", _HYPHEN.sub(MINUS, text))))


def p_value(value: object) -> str:
    """Return a p value with its relation: ``= .032``, ``< .001``, ``> .999``."""
    if not known(value):
        return UNKNOWN
    p = float(value)  # type: ignore[arg-type]
    if p < 0.001:
        return "< .001"
    if p > 0.999:
        return "> .999"
    return "= " + bounded(p, 3)


def p_alone(value: object) -> str:
    """Return a p value as a number of its own (``.032``, ``< .001``, ``> .999``), as in a column of estimates."""
    return p_value(value).removeprefix("= ")


def count(value: object) -> str:
    """Return a whole number with commas between thousands; a dash where it is unknown."""
    return decimal(value, 0)


def percent(value: object, decimals: int = 0) -> str:
    """Return a share (0 to 1) in percent."""
    return f"{_signed(f'{100 * float(value):.{decimals}f}')}%" if known(value) else UNKNOWN  # type: ignore[arg-type]


def points(value: object) -> str:
    """Return a difference of two shares (each 0 to 1) in percentage points (``−20 points``), so that it is not read as a share."""
    if not known(value):
        return UNKNOWN
    number = _signed(f"{100 * float(value):.0f}")  # type: ignore[arg-type]
    return f"{number}{SPACE}point{'' if number.lstrip(MINUS) == '1' else 's'}"


def level(value: float) -> str:
    """Return a confidence level (0 to 1) in percent without needless decimals (``95%``, ``97.5%``)."""
    return f"{100 * value:.10g}%"


def interval(low: object, high: object, decimals: int = 2, bound: bool = True) -> str:
    """Return an interval in brackets (``[.10, .42]``, never broken over lines); a dash where an end is unknown."""
    if not (known(low) and known(high)):
        return UNKNOWN
    form = bounded if bound else decimal
    return f"[{form(low, decimals)},{SPACE}{form(high, decimals)}]"
