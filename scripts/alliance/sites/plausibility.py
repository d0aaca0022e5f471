"""Answers that are possible one by one but suspicious together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alliance.instruments import Instrument, Response
from alliance.sites.records import NO_ANSWER

MIN_ROWS_FOR_RANGE = 50
MIN_SHARE_BELOW = 0.02
MIN_ROWS_FOR_CONSTANT = 10
MIN_ITEMS_FOR_STRAIGHT_LINE = 6


@dataclass(frozen=True)
class Finding:
    """Something suspicious; ``fatal`` where the answers cannot be scored as declared."""

    code: str
    message: str
    fix: str
    column: str = ""
    n_affected: int = 1
    fatal: bool = False


def _missing(answers: np.ndarray) -> np.ndarray:
    return answers == NO_ANSWER if answers.dtype == np.int8 else np.isnan(answers)


def check_items(name: str, items: dict[str, np.ndarray], response: Response, below: int) -> list[Finding]:
    """Look at the items of one instrument and rater (V15 to V18).

    Parameters
    ----------
    name : str
        How messages call the ratings.
    items : dict
        Item column to answers, each of shape (n_rows,).
    response : Response
        Possible answers.
    below : int
        Number of answers found one step below the smallest possible one.

    Returns
    -------
    list of Finding
    """
    if not items:
        return []
    n_rows = len(next(iter(items.values())))
    answered = {column: answers[~_missing(answers)] for column, answers in items.items()}
    n_answers = sum(map(len, answered.values()))
    highest = max((float(answers.max()) for answers in answered.values() if len(answers)), default=None)
    found = [_shifted(name, response, below, n_answers, highest)] if below else []
    if highest is not None and n_rows >= MIN_ROWS_FOR_RANGE and response.max - highest >= 2 * response.step and not any(found):
        text = f"No answer of {name} is above {highest:g} although {response.max:g} is possible ({n_rows} rows)."
        found.append(Finding("V17", text, "Check that the site used this response format; if not, declare the one it used."))
    for column, answers in answered.items():
        if not len(answers) and n_rows:
            found.append(
                Finding(
                    "V15", f"No row of {name} answers this item.", "Check the column; statistics of the item are not estimable.", column
                )
            )
        elif len(answers) >= MIN_ROWS_FOR_CONSTANT and answers.min() == answers.max():
            text = f"Every answer to this item of {name} is the same."
            found.append(Finding("V15", text, "Check the column; statistics of the item are not estimable.", column))
    return [finding for finding in (*found, *_rows(name, list(items.values()))) if finding]


def _shifted(name: str, response: Response, below: int, n_answers: int, highest: float | None) -> Finding | None:
    if below < MIN_SHARE_BELOW * (n_answers + below) or (highest is not None and highest >= response.max):
        return None
    text = f"{name} holds {response.min - response.step:g} ({below} times) and never {response.max:g}: the answers look shifted by one."
    fix = f"Export them as {response.min:g} to {response.max:g}, or map them with values: {{items: ...}}."
    return Finding("V18", text, fix, n_affected=below, fatal=True)


def _rows(name: str, items: list[np.ndarray]) -> list[Finding]:
    n_missing = np.zeros(len(items[0]), dtype=np.int16)
    low = np.full(len(items[0]), np.inf, dtype=np.float32)
    high = np.full(len(items[0]), -np.inf, dtype=np.float32)
    for answers in items:
        missing = _missing(answers)
        n_missing += missing
        np.minimum(low, answers, out=low, where=~missing, casting="unsafe")
        np.maximum(high, answers, out=high, where=~missing, casting="unsafe")
    found = []
    half_empty = int((n_missing > len(items) / 2).sum())
    if half_empty:
        text = f"More than half of the items of {name} are missing in {half_empty} rows."
        found.append(Finding("V16", text, "Nothing to do if they were skipped; the scoring rule decides.", n_affected=half_empty))
    straight = int(((low == high) & (n_missing == 0)).sum()) if len(items) >= MIN_ITEMS_FOR_STRAIGHT_LINE else 0
    if straight:
        text = f"All {len(items)} items of {name} have the same answer in {straight} rows."
        found.append(Finding("V16", text, "They are kept; look at them if they are many.", n_affected=straight))
    return found


def totals_that_differ(items: dict[int, np.ndarray], total: np.ndarray, instrument: Instrument, response: Response) -> np.ndarray:
    """Return where a sent total is neither the sum nor the mean of the items (V19).

    Parameters
    ----------
    items : dict
        Item number to answers (float64, NaN where missing).
    total : ndarray
        Totals as sent.
    instrument : Instrument
        For reversed items and the headline unit.
    response : Response
        For reversing.

    Returns
    -------
    ndarray of bool
        False where a total or an item is missing.
    """

    def summed(value: Callable[[int, np.ndarray], np.ndarray]) -> np.ndarray:
        return np.sum([value(item, answers) for item, answers in items.items()], axis=0)

    reverse = set(instrument.reverse)
    keyed = summed(lambda item, answers: response.min + response.max - answers if item in reverse else answers)
    plain = summed(lambda item, answers: answers)
    fits = np.isnan(total) | np.isnan(plain)
    for expected, tolerance in ((keyed, 1e-6), (plain, 1e-6), (keyed / len(items), 0.0051), (plain / len(items), 0.0051)):
        for factor in {1.0, float(instrument.score.multiply)}:
            fits |= np.abs(total - expected * factor) <= tolerance * factor
    return ~fits
