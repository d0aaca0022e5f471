"""From combined records to the cleaned tables that every later step reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa

from alliance.instruments import Instrument, Response
from alliance.sites.deliveries import key_numbers
from alliance.sites.identifiers import keyed_hash
from alliance.sites.records import NO_ANSWER, NO_NUMBER, Records, is_missing, join, keys_for
from alliance.sites.site_file import RATERS, TIMEPOINTS

SESSION = TIMEPOINTS.index("session")
CLIENT_COLUMNS = ("age", "gender", "treatment", "planned_sessions", "start_date")
THERAPIST_COLUMNS = ("training", "years", "cases")
EVENT_COLUMNS = ("code", "count", "intensity", "target", "exposure")
WORD_COLUMNS = ("gender", "treatment", "training", "code", "target", "reason", "judged_by")
PRIVATE_COLUMNS = ("birth_date",)
PEOPLE = ("site", "client_id", "client_no", "therapist_id", "therapist_no")


@dataclass(frozen=True)
class People:
    """Ids of one kind: their numbers in the order of the raw ids, and the hashes that stand for them.

    Parameters
    ----------
    number : ndarray of int64, shape (n_codes + 1,)
        Number from 1 by code; -1 where the id is not used; the last entry serves the code -1.
    hashes : list of str
        Hash by number - 1.
    """

    number: np.ndarray
    hashes: list[str]

    def numbers(self, codes: np.ndarray) -> np.ndarray:
        """Return the number of each code, -1 for none."""
        return self.number[codes]


def number_people(texts: list[str], used: Iterable[int], key: bytes, kind: str, site: str) -> People:
    """Number the used ids in the order of their codes, which is that of their raw texts, and hash them."""
    codes = sorted(set(used) - {NO_NUMBER})
    number = np.full(len(texts) + 1, NO_NUMBER, dtype=np.int64)
    number[codes] = np.arange(1, len(codes) + 1)
    return People(number, [keyed_hash(texts[code], key, kind, site) for code in codes])


@dataclass
class Parts:
    """Combined records by table; ``ratings`` by instrument and ``outcomes`` (scale scores) by instrument."""

    clients: Records | None = None
    therapists: Records | None = None
    sessions: Records | None = None
    events: Records | None = None
    termination: Records | None = None
    ratings: dict[str, Records] = field(default_factory=dict)
    outcomes: dict[str, Records] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    def everything(self) -> list[Records]:
        """Return all records, in a fixed order."""
        single = [self.clients, self.therapists, self.sessions, self.events, self.termination]
        grouped = [group[name] for group in (self.ratings, self.outcomes) for name in sorted(group)]
        return [records for records in (*single, *grouped) if records is not None]


def fill_therapists(parts: Parts) -> dict[int, int]:
    """Give every record the therapist of its session or else of its client, in place; return the therapist of each client."""
    by_session = _therapist_by_session(parts.sessions)
    with_time = [parts.sessions, parts.events, *parts.ratings.values(), *parts.outcomes.values()]
    for records in with_time:
        if records is not None and records is not parts.sessions and len(by_session[0]):
            keys = records.keys["client"] * 100_000 + np.maximum(records.keys["session"], 0)
            place = np.minimum(np.searchsorted(by_session[0], keys), len(by_session[0]) - 1)
            found = (by_session[0][place] == keys) & (records.keys["therapist"] == NO_NUMBER) & (records.keys["session"] != NO_NUMBER)
            records.keys["therapist"][found] = by_session[1][place[found]]
    of_client = _therapist_by_client([parts.clients, *with_time, parts.termination])
    if of_client:
        table = np.full(max(of_client) + 2, NO_NUMBER, dtype=np.int64)
        for client, therapist in of_client.items():
            table[client] = therapist
        for records in (parts.clients, parts.termination, *with_time):
            if records is not None:
                blank = records.keys["therapist"] == NO_NUMBER
                records.keys["therapist"][blank] = table[np.minimum(records.keys["client"][blank], len(table) - 1)]
    return of_client


def _therapist_by_session(sessions: Records | None) -> tuple[np.ndarray, np.ndarray]:
    if sessions is None:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    known = np.flatnonzero(sessions.keys["therapist"] != NO_NUMBER)
    keys = sessions.keys["client"][known] * 100_000 + sessions.keys["session"][known]
    keys, first = np.unique(keys, return_index=True)
    return keys, sessions.keys["therapist"][known][first]


def _therapist_by_client(tables: list[Records | None]) -> dict[int, int]:
    """Return the therapist of each client: as the first table says it, within a table at the earliest occasion."""
    result: dict[int, int] = {}
    for records in tables:
        if records is None:
            continue
        known = np.flatnonzero((records.keys["therapist"] != NO_NUMBER) & (records.keys["client"] != NO_NUMBER))
        order = known[
            np.lexsort(
                (
                    records.keys["therapist"][known],
                    records.keys["session"][known],
                    records.keys["timepoint"][known],
                    records.keys["client"][known],
                )
            )
        ]
        clients, first = np.unique(records.keys["client"][order], return_index=True)
        for client, therapist in zip(clients.tolist(), records.keys["therapist"][order[first]].tolist()):
            result.setdefault(client, therapist)
    return result


def transfers(parts: Parts) -> list[int]:
    """Return the codes of clients with more than one therapist."""
    every = parts.everything()
    width = max((int(records.keys["therapist"].max(initial=0)) for records in every), default=0) + 1
    pairs = [np.zeros(0, dtype=np.int64)]
    for records in every:
        client, therapist = records.keys["client"], records.keys["therapist"]
        known = (client >= 0) & (therapist >= 0)
        pair = client[known] * width + therapist[known]
        if len(pair):
            pairs.append(pair[np.r_[True, pair[1:] != pair[:-1]]])
    clients, count = np.unique(np.unique(np.concatenate(pairs)) // width, return_counts=True)
    return clients[count > 1].tolist()


@dataclass
class Builder:
    """Builds cleaned tables of one site."""

    site: str
    clients: People
    therapists: People

    def sorted_records(self, records: Records) -> Records:
        """Return records by client number, time and rater."""
        numbered = Records({**records.keys, "client": self.clients.numbers(records.keys["client"])})
        order_key = key_numbers(numbered, ("client", "timepoint", "session", "rater", "rater_no"))
        if np.all(order_key[1:] > order_key[:-1]):
            return records
        return records.take(np.lexsort((records.keys["position"], records.keys["file"], order_key)))

    def people(self, records: Records) -> dict[str, object]:
        """Return the columns that every cleaned table begins with."""
        client = self.clients.numbers(records.keys["client"])
        therapist = self.therapists.numbers(records.keys["therapist"])
        return {
            "site": _texts(np.zeros(len(records), dtype=np.int64), [self.site]),
            "client_id": _texts(client - 1, self.clients.hashes),
            "client_no": _whole(client),
            "therapist_id": _texts(therapist - 1, self.therapists.hashes),
            "therapist_no": _whole(therapist),
        }

    def occasion(self, records: Records) -> dict[str, object]:
        """Return the columns that say when and by whom."""
        session = np.where(records.keys["timepoint"] == SESSION, records.keys["session"], NO_NUMBER)
        return {
            "timepoint": _texts(records.keys["timepoint"], list(TIMEPOINTS)),
            "session": _whole(session),
            "date": as_dates(records.keys["date"]),
            "rater": _texts(records.keys["rater"], list(RATERS)),
            "rater_no": _whole(records.keys["rater_no"]),
        }

    def ratings(self, records: Records, instrument: Instrument | None, unit: str | None, declared: dict[str, Response]) -> pd.DataFrame:
        """Return the table of one instrument; ``declared`` holds the range of answers of each rater where the site says it."""
        records = self.sorted_records(records)
        columns = {**self.people(records), **self.occasion(records)}
        items = sorted((name for name in records.values if name.startswith("i")), key=lambda name: int(name[1:]))
        for name in items:
            columns[name] = _answers(records.values[name])
        scales = [name for name in records.values if name.startswith("s_")]
        for name in sorted(scales, key=lambda name: _scale_order(name[2:], instrument)):
            columns[name] = pd.array(records.values[name], dtype="Float64")
        if scales:
            columns["unit"] = _texts(np.zeros(len(records), dtype=np.int64), [unit or "mean"])
        if declared:
            for name, bound in (("response_min", "min"), ("response_max", "max")):
                by_code = [float(getattr(declared[rater], bound)) if rater in declared else np.nan for rater in RATERS]
                columns[name] = pd.array(np.array([*by_code, np.nan])[records.keys["rater"]], dtype="Float64")
        return pd.DataFrame(columns)

    def outcomes(self, by_instrument: dict[str, Records], units: dict[str, str]) -> pd.DataFrame:
        """Return scale-level outcomes, one row a score."""
        frames = []
        for instrument in sorted(by_instrument):
            records = self.sorted_records(by_instrument[instrument])
            for name in sorted(records.values):
                chosen = records.take(np.flatnonzero(~is_missing(records.values[name])))
                columns = {**self.people(chosen), **self.occasion(chosen)}
                same = np.zeros(len(chosen), dtype=np.int64)
                columns["instrument"] = _texts(same, [instrument])
                columns |= {
                    "scale": _texts(same, [name[2:]]),
                    "value": chosen.values[name],
                    "unit": _texts(same, [units.get(instrument, "mean")]),
                }
                frames.append(pd.DataFrame(columns))
        if not frames:
            return self.no_outcomes()
        table = pd.concat(frames, ignore_index=True)
        time = table["timepoint"].map({name: index for index, name in enumerate(TIMEPOINTS)})
        rater = table["rater"].map({name: index for index, name in enumerate(RATERS)})
        order = table.assign(time=time, order=rater).sort_values(
            ["client_no", "time", "session", "instrument", "scale", "order", "rater_no"], kind="stable", na_position="first"
        )
        columns = [*PEOPLE, "timepoint", "session", "date", "instrument", "rater", "rater_no", "scale", "value", "unit"]
        return order[columns].reset_index(drop=True)

    def no_outcomes(self) -> pd.DataFrame:
        """Return the table of outcomes without rows."""
        none = _no_records()
        text = _texts(np.zeros(0, dtype=np.int64), [""])
        columns = {**self.people(none), **self.occasion(none)}
        rater, number = columns.pop("rater"), columns.pop("rater_no")
        columns |= {"instrument": text, "rater": rater, "rater_no": number, "scale": text, "value": np.zeros(0), "unit": text}
        return pd.DataFrame(columns)

    def clients_table(self, sent: Records | None, of_client: dict[int, int], n_codes: int) -> pd.DataFrame:
        """Return one row a client, also for clients that only ratings name."""
        present = np.flatnonzero(self.clients.number[:n_codes] > 0)
        codes = present[np.argsort(self.clients.number[present])]
        given = np.full(n_codes + 1, NO_NUMBER, dtype=np.int64)
        if sent is not None:
            given[sent.keys["client"]] = np.arange(len(sent))
        place = given[codes]
        therapist = np.array([of_client.get(code, NO_NUMBER) for code in codes.tolist()], dtype=np.int64)
        base = Records(
            {"client": codes, "therapist": therapist, "position": codes}, _aligned(sent, place, CLIENT_COLUMNS, exclude=PRIVATE_COLUMNS)
        )
        return pd.DataFrame({**self.people(base), **{name: _value(name, array) for name, array in base.values.items()}})

    def therapists_table(self, sent: Records | None, n_codes: int) -> pd.DataFrame:
        """Return one row a therapist, also for therapists that only other tables name."""
        present = np.flatnonzero(self.therapists.number[:n_codes] > 0)
        codes = present[np.argsort(self.therapists.number[present])]
        given = np.full(n_codes + 1, NO_NUMBER, dtype=np.int64)
        if sent is not None:
            given[sent.keys["therapist"]] = np.arange(len(sent))
        base = Records(
            {"client": np.full(len(codes), NO_NUMBER), "therapist": codes, "position": codes},
            _aligned(sent, given[codes], THERAPIST_COLUMNS),
        )
        people = {name: column for name, column in self.people(base).items() if not name.startswith("client")}
        return pd.DataFrame({**people, **{name: _value(name, array) for name, array in base.values.items()}})

    def sessions_table(self, sessions: Records) -> pd.DataFrame:
        """Return one row a client and session."""
        records = self.sorted_records(sessions)
        extra = {name: array for name, array in records.values.items() if name != "attended"}
        columns = self.people(records) | {"session": _whole(records.keys["session"]), "date": as_dates(records.keys["date"])}
        columns["attended"] = pd.array(np.where(np.isnan(records.values["attended"]), np.nan, records.values["attended"]), dtype="Int8")
        return pd.DataFrame({**columns, **{name: _value(name, array) for name, array in extra.items()}})

    def events_table(self, events: Records | None) -> pd.DataFrame:
        """Return one row a coded event."""
        records = self.sorted_records(events) if events is not None else _no_records()
        columns = self.people(records) | {"session": _whole(records.keys["session"]), "rater": _texts(records.keys["rater"], list(RATERS))}
        aligned = _aligned(records, np.arange(len(records)), EVENT_COLUMNS)
        if events is not None and "count" not in events.values:
            aligned["count"] = np.ones(len(records))
        return _in_full_order(pd.DataFrame({**columns, **{name: _value(name, aligned[name]) for name in EVENT_COLUMNS}}))

    def termination_table(self, termination: Records | None) -> pd.DataFrame:
        """Return how treatments ended."""
        records = self.sorted_records(termination) if termination is not None else _no_records()
        aligned = _aligned(records, np.arange(len(records)), ("last_session", "reason", "judged_by"))
        last = aligned["last_session"]
        columns = {**self.people(records), "last_session": _whole(np.where(np.isnan(last), NO_NUMBER, last).astype(np.int64))}
        words = {name: _value(name, aligned[name]) for name in ("reason", "judged_by")}
        return _in_full_order(pd.DataFrame({**columns, **words}))


def _in_full_order(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose rows may share client, session and rater in an order that no order of rows in files decides."""
    raters = {rater: position for position, rater in enumerate(RATERS)}
    keys = {
        name: table[name].map(raters) if name == "rater" else table[name] for name in table if name not in ("client_id", "therapist_id")
    }
    leading = [name for name in ("client_no", "session", "rater") if name in keys]
    names = [*leading, *(name for name in keys if name not in leading)]
    order = pd.DataFrame(keys).sort_values(names, kind="stable", na_position="first").index
    return table.loc[order].reset_index(drop=True)


def whole_sessions(parts: Parts) -> tuple[Records, int]:
    """Return the sessions that were sent and those that only ratings name, and how many of the latter stand beside sent ones."""
    sent = parts.sessions
    rated = [records for group in (parts.ratings, parts.outcomes) for records in group.values()]
    keys, dates, therapists = [], [], []
    for records in rated:
        rows = np.flatnonzero((records.keys["timepoint"] == SESSION) & (records.keys["session"] != NO_NUMBER))
        keys.append(records.keys["client"][rows] * 100_000 + records.keys["session"][rows])
        dates.append(records.keys["date"][rows])
        therapists.append(records.keys["therapist"][rows])
    every = np.concatenate(keys) if keys else np.zeros(0, dtype=np.int64)
    ascending = np.all(every[1:] > every[:-1])
    distinct, inverse = (every, np.arange(len(every))) if ascending else np.unique(every, return_inverse=True)
    day = np.full(len(distinct), np.inf)
    therapist = np.full(len(distinct), NO_NUMBER, dtype=np.int64)
    if len(every):
        when, who = np.concatenate(dates), np.concatenate(therapists)
        np.fmin.at(day, inverse, when)
        known = np.flatnonzero(who != NO_NUMBER)
        first_known = np.full(len(distinct), np.iinfo(np.int64).max)
        np.minimum.at(first_known, inverse[known], who[known])
        therapist = np.where(first_known == np.iinfo(np.int64).max, NO_NUMBER, first_known)
    day[np.isinf(day)] = np.nan
    if sent is not None:
        held = sent.keys["client"] * 100_000 + sent.keys["session"]
        if "attended" not in sent.values:
            sent.values["attended"] = np.ones(len(sent))
        _take_over_dates(sent, held, distinct, day)
        fresh = ~np.isin(distinct, held)
    else:
        fresh = np.ones(len(distinct), dtype=bool)
    chosen = distinct[fresh]
    keys_new = keys_for(
        len(chosen),
        client=chosen // 100_000,
        session=chosen % 100_000,
        date=day[fresh],
        therapist=therapist[fresh],
        position=chosen,
        timepoint=SESSION,
    )
    added = Records(keys_new, {"attended": np.ones(len(chosen))})
    if sent is None:
        return added, 0
    return (join([Records(sent.keys, sent.values), added]) if len(added) else sent), len(added)


def _take_over_dates(sent: Records, held: np.ndarray, distinct: np.ndarray, day: np.ndarray) -> None:
    if not len(distinct):
        return
    place = np.minimum(np.searchsorted(distinct, held), len(distinct) - 1)
    undated = np.isnan(sent.keys["date"]) & (distinct[place] == held)
    sent.keys["date"][undated] = day[place[undated]]


def _no_records() -> Records:
    return Records(keys_for(0))


def _aligned(sent: Records | None, place: np.ndarray, first: tuple[str, ...], exclude: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Return value arrays at the given places (-1: nothing sent), the known columns first."""
    names = [*first, *sorted(set(sent.values if sent is not None else ()) - set(first) - set(exclude))]
    result = {}
    for name in names:
        words = name in WORD_COLUMNS
        array = np.full(len(place), None, dtype=object) if words else np.full(len(place), np.nan)
        if sent is not None and name in sent.values:
            there = place >= 0
            array[there] = sent.values[name][place[there]]
        result[name] = array
    return result


def _value(name: str, array: np.ndarray) -> object:
    if name in WORD_COLUMNS:
        return pd.Series(array, dtype="str")
    return as_dates(array) if name == "start_date" else array.astype(np.float64)


def _texts(codes: np.ndarray, texts: list[str]) -> pd.Series:
    indices = pa.array(codes.astype(np.int32), mask=codes < 0)
    words = pa.DictionaryArray.from_arrays(indices, pa.array(texts or [""], pa.string())).cast(pa.string())
    return pd.Series(words.to_pandas(), dtype="str")


def _whole(numbers: np.ndarray) -> pd.array:
    return pd.arrays.IntegerArray(np.asarray(numbers, dtype=np.int64), np.asarray(numbers) == NO_NUMBER)


def _answers(answers: np.ndarray) -> pd.array:
    if answers.dtype == np.int8:
        missing = answers == NO_ANSWER
        return pd.arrays.IntegerArray(np.where(missing, np.int8(1), answers), missing)
    return pd.array(answers, dtype="Float64")


def as_dates(days: np.ndarray) -> pd.Series:
    """Return days since 1970-01-01 as dates, missing where NaN."""
    known = ~np.isnan(days)
    dates = np.full(len(days), np.datetime64("NaT", "ns"), dtype="datetime64[ns]")
    dates[known] = days[known].astype("datetime64[D]").astype("datetime64[ns]")
    return pd.Series(dates)


def _scale_order(scale: str, instrument: Instrument | None) -> tuple[int, str]:
    names = instrument.scale_names if instrument is not None else []
    return (names.index(scale), scale) if scale in names else (len(names), scale)
