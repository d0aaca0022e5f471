"""The same key twice: a fault within one delivery, a correction between deliveries; and session numbers that must be counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alliance.sites.records import NO_NUMBER, Records, empty_like, is_missing, join, same

RATING_KEY = ("client", "timepoint", "session", "rater", "rater_no")


@dataclass
class Combined:
    """Outcome of combining deliveries; all arrays are boolean masks over the records that came in.

    Parameters
    ----------
    kept : ndarray
        Records that stand.
    repeated : ndarray
        Exact repetitions within one delivery (R04); the first one stands.
    contradicting : ndarray
        Records of one delivery that share a key and differ (R05); none stands.
    superseded : ndarray
        Records that a later delivery holds again.
    correcting : ndarray
        Records that stand and differ from what an earlier delivery said.
    """

    kept: np.ndarray
    repeated: np.ndarray
    contradicting: np.ndarray
    superseded: np.ndarray
    correcting: np.ndarray


def key_numbers(records: Records, key: tuple[str, ...], extra: tuple[str, ...] = ()) -> np.ndarray:
    """Return one whole number a record that is equal where the key is equal and ascends with the key's parts.

    Parameters
    ----------
    records : Records
        The records.
    key : tuple of str
        Names of key arrays, the most important first.
    extra : tuple of str
        Names of value columns that belong to the key.

    Returns
    -------
    ndarray of int64, shape (n_records,)
    """
    numbers = np.zeros(len(records), dtype=np.int64)
    for name in key:
        part = records.keys[name].astype(np.int64) + 1
        numbers = numbers * (int(part.max(initial=0)) + 1) + part
    for name in extra:
        texts = [str(value) for value in records.values[name]]
        position = {text: index for index, text in enumerate(sorted(set(texts)))}
        numbers = numbers * (len(position) + 1) + np.array([position[text] for text in texts], dtype=np.int64)
    return numbers


def combine(records: Records, key: tuple[str, ...], extra: tuple[str, ...] = ()) -> Combined:
    """Decide which records stand.

    Parameters
    ----------
    records : Records
        Records of all deliveries of one table.
    key, extra : tuple of str
        What identifies a record; see :func:`key_numbers`.

    Returns
    -------
    Combined
    """
    n = len(records)
    none = np.zeros(n, dtype=bool)
    outcome = Combined(np.ones(n, dtype=bool), none, none.copy(), none.copy(), none.copy())
    numbers = key_numbers(records, key, extra)
    if n < 2 or np.all(numbers[1:] > numbers[:-1]):
        return outcome
    order = np.lexsort((records.keys["position"], records.keys["file"], records.keys["delivery"], numbers))
    ordered = numbers[order]
    again = np.r_[False, ordered[1:] == ordered[:-1]]
    if not again.any():
        return outcome
    within = again | np.r_[again[1:], False]
    order = order[within]
    _within_deliveries(records, numbers, order, outcome)
    standing = order[~(outcome.repeated | outcome.contradicting)[order]]
    _between_deliveries(records, numbers, standing, outcome)
    outcome.kept = ~(outcome.repeated | outcome.contradicting | outcome.superseded)
    return outcome


def _agree(records: Records, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    equal = np.ones(len(first), dtype=bool)
    compared = [records.keys["date"], records.keys["therapist"], *records.values.values()]
    for array in compared:
        equal &= same(array[first], array[second])
    return equal


def _within_deliveries(records: Records, numbers: np.ndarray, order: np.ndarray, outcome: Combined) -> None:
    delivery = records.keys["delivery"]
    starts = np.r_[True, (numbers[order][1:] != numbers[order][:-1]) | (delivery[order][1:] != delivery[order][:-1])]
    group = np.cumsum(starts) - 1
    first = order[np.flatnonzero(starts)][group]
    differs = ~_agree(records, order, first)
    contradicts = np.zeros(group[-1] + 1, dtype=bool)
    contradicts[group[differs]] = True
    outcome.contradicting[order[contradicts[group]]] = True
    outcome.repeated[order[~contradicts[group] & ~starts]] = True


def _between_deliveries(records: Records, numbers: np.ndarray, standing: np.ndarray, outcome: Combined) -> None:
    followed = np.r_[numbers[standing][1:] == numbers[standing][:-1], False] if len(standing) else np.zeros(0, dtype=bool)
    outcome.superseded[standing[followed]] = True
    later = np.flatnonzero(followed) + 1
    differs = ~_agree(records, standing[later], standing[later - 1])
    outcome.correcting[standing[later[differs]]] = True


def overlay(records: Records, key: tuple[str, ...], outcome: Combined) -> np.ndarray:
    """Fill what a standing record leaves out from the records it supersedes, and return which ones it uses.

    With one response a row, a later delivery may correct a single answer of a questionnaire; the others stay.
    """
    numbers = key_numbers(records, key)
    used = np.zeros(len(records), dtype=bool)
    superseded = np.flatnonzero(outcome.superseded)
    if not len(superseded):
        return used
    order = superseded[np.argsort(records.keys["delivery"][superseded], kind="stable")[::-1]]
    kept = np.flatnonzero(outcome.kept)
    position = kept[np.argsort(numbers[kept], kind="stable")]
    corrects = np.zeros(len(records), dtype=bool)
    for delivery in sorted(set(records.keys["delivery"][order].tolist()), reverse=True):
        earlier = order[records.keys["delivery"][order] == delivery]
        place = np.searchsorted(numbers[position], numbers[earlier])
        found = (place < len(position)) & (numbers[position[np.minimum(place, len(position) - 1)]] == numbers[earlier])
        target = position[place[found]]
        earlier = earlier[found]
        for array in records.values.values():
            unsaid = is_missing(array[target]) & ~is_missing(array[earlier])
            said_otherwise = ~is_missing(array[target]) & ~is_missing(array[earlier]) & ~same(array[target], array[earlier])
            corrects[target[said_otherwise]] = True
            array[target[unsaid]] = array[earlier[unsaid]]
            used[earlier[unsaid]] = True
    outcome.correcting[:] = corrects
    return used


def number_by_date(parts: list[Records], session_code: int) -> None:
    """Number sessions within clients by the order of their dates, over all tables of a site, in place."""
    chosen = [(part, np.flatnonzero((part.keys["timepoint"] == session_code) & ~np.isnan(part.keys["date"]))) for part in parts]
    clients = np.concatenate([part.keys["client"][rows] for part, rows in chosen] or [np.zeros(0, dtype=np.int64)])
    days = np.concatenate([part.keys["date"][rows] for part, rows in chosen] or [np.zeros(0)]).astype(np.int64)
    if not len(clients):
        return
    shifted = days - days.min()
    distinct, inverse = np.unique(clients * (int(shifted.max()) + 1) + shifted, return_inverse=True)
    owner = distinct // (int(shifted.max()) + 1)
    first = np.r_[True, owner[1:] != owner[:-1]]
    rank = np.arange(len(distinct)) - np.flatnonzero(first)[np.cumsum(first) - 1] + 1
    start = 0
    for part, rows in chosen:
        part.keys["session"][rows] = rank[inverse[start : start + len(rows)]]
        start += len(rows)


def number_by_position(records: Records, session_code: int) -> None:
    """Number the sessions of a client and rater by the order of their rows, in place, where no number was sent."""
    rows = np.flatnonzero((records.keys["timepoint"] == session_code) & (records.keys["session"] == NO_NUMBER))
    if not len(rows):
        return
    part = records.take(rows)
    groups = key_numbers(part, ("client", "rater", "rater_no"))
    order = np.lexsort((part.keys["position"], part.keys["delivery"], groups))
    first = np.r_[True, groups[order][1:] != groups[order][:-1]]
    rank = np.arange(len(order)) - np.flatnonzero(first)[np.cumsum(first) - 1] + 1
    records.keys["session"][rows[order]] = rank


def merge(parts: list[Records]) -> Records:
    """Return one record a key from tables that hold different columns of the same ratings."""
    whole = join(parts)
    numbers = key_numbers(whole, RATING_KEY)
    distinct, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    if len(distinct) == len(numbers):
        return whole
    result = whole.take(first)
    for name, array in whole.values.items():
        target = empty_like(array, len(distinct))
        given = np.flatnonzero(~is_missing(array))
        target[inverse[given]] = array[given]
        result.values[name] = target
    for name in ("date", "therapist"):
        array = whole.keys[name]
        given = np.flatnonzero(~np.isnan(array) if name == "date" else array >= 0)
        result.keys[name][inverse[given][::-1]] = array[given][::-1]
    return result
