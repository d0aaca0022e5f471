"""One value a client: alliance windows, outcomes, gains, dropout and single scores, from cleaned tables and scores.

A site is any object with the frames ``clients``, ``sessions``, ``events``, ``termination`` and ``scores`` and the registry ``instruments``
(``alliance.questions.site_data.SiteData``). ``options`` are the sections of the configuration that a question reads.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd

from alliance.variables.checks import CLIENTS_PREFIX, CONSTRUCTS, EVENTS_PREFIX, INTAKE_SEVERITY, PRODUCT, section

TIMEPOINT_ORDER = {"intake": 0, "session": 1, "post": 2, "follow_up": 3}
RATERS = ("client", "therapist", "observer")


class Site(Protocol):
    """The frames of one site that variables are made from."""

    clients: pd.DataFrame
    sessions: pd.DataFrame
    events: pd.DataFrame
    termination: pd.DataFrame
    scores: pd.DataFrame
    instruments: Mapping[str, Any]


@dataclass(frozen=True)
class Measure:
    """A study variable of one site.

    Attributes
    ----------
    values : Series
        One value a client, index ``client_no``; clients without a value are absent.
    times : DataFrame
        Index as ``values``; ``first_date, last_date`` (datetime), ``first_order, last_order`` (timepoint and session as one number that
        grows in time), ``n_sessions`` (ratings averaged). Empty where the variable has no time.
    construct, instrument, scale, rater, unit, when : str
        What it is, which measure supplied it, in what unit, and the window or timepoint; empty where it does not apply.
    turned : bool
        Whether the sign was turned so that higher is better.
    reason : str
        Why there are no values, in words.
    """

    values: pd.Series
    times: pd.DataFrame
    construct: str
    instrument: str = ""
    scale: str = ""
    rater: str = ""
    unit: str = ""
    when: str = ""
    turned: bool = False
    reason: str = ""

    @property
    def source(self) -> str:
        """The measure in one expression, for facts and for the comparison of units between sites."""
        if not self.instrument:
            return self.construct
        return f"{self.instrument}.{self.scale} ({self.rater}, {self.unit}{', turned' if self.turned else ''})"

    @property
    def in_sessions(self) -> bool:
        """Whether all its scores come from sessions."""
        order = self.times["first_order"] if len(self.times) else pd.Series(dtype="float64")
        last = self.times["last_order"] if len(self.times) else order
        start, end = (TIMEPOINT_ORDER[name] * _ORDER_STEP for name in ("session", "post"))
        return len(order) > 0 and bool((order >= start).all() and (last < end).all())

    @property
    def n_sessions(self) -> int | None:
        """Number of ratings behind the values; None where there are no sessions in it."""
        return int(self.times["n_sessions"].sum()) if "n_sessions" in self.times and len(self.times) else None


def client_level(site: Site, definition: Mapping[str, Any], options: Mapping[str, Any]) -> pd.Series:
    """Return one value a client.

    Parameters
    ----------
    site : Site
        The site's frames.
    definition : mapping
        ``construct`` and optionally ``window, rater, instrument, scale, timepoint``; for what is measured in sessions also
        ``equal_sessions``: average just so many ratings of the window, spread evenly over it.
    options : mapping
        Sections of the configuration, as far as the construct needs them: its own, ``alliance`` (windows), ``outcome``, ``early_gain``.

    Returns
    -------
    Series
        Index ``client_no``; ``attrs`` name ``construct, instrument, scale, rater, unit, when, turned`` and ``reason``.
    """
    found = measure(site, definition, options)
    values = found.values.copy()
    values.attrs = {
        name: getattr(found, name) for name in ("construct", "instrument", "scale", "rater", "unit", "when", "turned", "reason")
    }
    return values


def measure(site: Site, definition: Mapping[str, Any], options: Mapping[str, Any]) -> Measure:
    """Return a study variable with its source and times; see :func:`client_level` for the parameters."""
    construct = definition["construct"]
    if construct in ("outcome", "residual_gain", "change"):
        return _outcome(site, definition, options)
    if construct == "intake":
        chosen = _outcome_score(site, definition, options)
        if chosen.reason:
            return replace(chosen, construct="intake")
        return _intake_of(site, chosen)
    if construct == "early_gain":
        return _early_gain(site, definition, options)
    if construct == "dropout":
        return dropout(site, options["dropout"])
    if construct in CONSTRUCTS:
        return _process_score(site, definition, options)
    if construct == INTAKE_SEVERITY:
        return _intake_severity(site, options)
    if construct.startswith(EVENTS_PREFIX):
        return _events(site, definition, options)
    if construct.startswith(CLIENTS_PREFIX) or "." not in construct:
        return _column(site, construct.removeprefix(CLIENTS_PREFIX))
    return _single_score(site, definition, options)


def product(first: Measure, second: Measure) -> Measure:
    """Return the product of two variables, each standardised over the clients who have both, for an interaction of the two.

    It counts as measured when both were.
    """
    absent = next((one.reason for one in (first, second) if one.reason), "")
    if absent:
        return _absent(PRODUCT, absent)
    both = first.values.index.intersection(second.values.index)
    one, other = first.values.loc[both], second.values.loc[both]
    if not (len(both) > 1 and one.std() > 0 and other.std() > 0):
        return _absent(PRODUCT, "needs clients who differ in both variables")
    values = (one - one.mean()) / one.std() * ((other - other.mean()) / other.std())
    earlier, later = first.times.reindex(both), second.times.reindex(both)
    times = _no_times()
    if earlier.notna().any(axis=None) and later.notna().any(axis=None):
        times = pd.DataFrame(
            {
                "first_date": earlier["first_date"].where(earlier["first_date"] < later["first_date"], later["first_date"]),
                "last_date": earlier["last_date"].where(earlier["last_date"] > later["last_date"], later["last_date"]),
                "first_order": np.fmin(earlier["first_order"], later["first_order"]),
                "last_order": np.fmax(earlier["last_order"], later["last_order"]),
                "n_sessions": earlier["n_sessions"].fillna(0) + later["n_sessions"].fillna(0),
            },
            index=both,
        )
    return Measure(_by_client(values), times, f"{PRODUCT} of {first.source} and {second.source}", unit="product of z scores")


def factor_definition(factor: str) -> dict[str, Any]:
    """Return the definition of a client factor: ``instrument.scale`` at intake, ``intake_severity``, or a column of the clients table."""
    if "." in factor and not factor.startswith(CLIENTS_PREFIX):
        return {"construct": factor, "timepoint": "intake"}
    return {"construct": factor if factor == INTAKE_SEVERITY or factor.startswith(CLIENTS_PREFIX) else CLIENTS_PREFIX + factor}


def attended_sessions(site: Site) -> pd.DataFrame:
    """Return the sessions every client attended, in order.

    Returns
    -------
    DataFrame
        ``client_no, session, position`` (1-based), ``total``. Sessions marked as not attended are left out; where a site sends no
        sessions, the rated ones count as attended.
    """
    of_site = site.sessions if len(site.sessions) else site.scores
    kept = _kept(of_site)
    if "attended" not in kept:
        kept["attended"] = _attended(of_site, from_scores=not len(site.sessions))
    return kept["attended"].copy(deep=False)


def _attended(rows: pd.DataFrame, from_scores: bool) -> pd.DataFrame:
    if from_scores and len(rows):
        rows = rows[rows["timepoint"].eq("session")]
    elif not from_scores and "attended" in rows:
        rows = rows[rows["attended"].astype("boolean").fillna(True).to_numpy(dtype=bool)]
    rows = rows[["client_no", "session"]].dropna().drop_duplicates().astype("int64").sort_values(["client_no", "session"])
    grouped = rows.groupby("client_no")["session"]
    return rows.assign(position=grouped.cumcount() + 1, total=grouped.transform("size")).reset_index(drop=True)


def in_window(rows: pd.DataFrame, window: Mapping[str, Any], attended: pd.DataFrame) -> np.ndarray:
    """Return which session rows lie inside a window.

    Parameters
    ----------
    rows : DataFrame
        ``client_no, session``; rows without a session number lie in no window.
    window : mapping
        ``sessions: [first, last]``; ``phase: [from, to]`` (shares of the attended sessions, the p-th of T lies at (p - 0.5) / T); or
        ``last: n`` (the last n attended sessions).
    attended : DataFrame
        From :func:`attended_sessions`.

    Returns
    -------
    ndarray of bool, shape (len(rows),)
    """
    session = rows["session"].astype("float64").to_numpy()
    if window.get("sessions") is not None:
        first, last = window["sessions"]
        return (session >= first) & (session <= last)
    position, total = _positions(rows["client_no"].to_numpy(dtype=float), session, attended)
    if window.get("last") is not None:
        return position > total - window["last"]
    low, high = window["phase"]
    share = (position - 0.5) / total
    return (share >= low) & (share <= high)


def _positions(client: np.ndarray, session: np.ndarray, attended: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return which of a client's attended sessions given sessions are, and of how many; NaN where they were not attended."""
    position, total = np.full((2, len(session)), np.nan)
    if not len(attended):
        return position, total
    clients, sessions = (attended[name].to_numpy(dtype=float) for name in ("client_no", "session"))
    first, last = sessions.min(), sessions.max()
    known = (session >= first) & (session <= last)
    # Client and session as one number, ascending as the attended sessions are sorted.
    ordered = clients * (last - first + 1) + sessions
    asked = client[known] * (last - first + 1) + session[known]
    place = np.minimum(np.searchsorted(ordered, asked), len(ordered) - 1)
    found = ordered[place] == asked
    for values, name in ((position, "position"), (total, "total")):
        values[known] = np.where(found, attended[name].to_numpy(dtype=float)[place], np.nan)
    return position, total


def order_violations(earlier: Measure, later: Measure, same_time: bool = False) -> pd.Index:
    """Return the clients whose ``earlier`` variable was measured after their ``later`` one, or with ``same_time`` not before it.

    Dates decide where both are known, else timepoint and session number. Clients with only one of the two are not judged.
    """
    clients = earlier.times.index.intersection(later.times.index)
    return clients[measured_after([earlier], [later], clients, same_time)[:, 0, 0]]


def measured_after(earlier: Sequence[Measure], later: Sequence[Measure], clients: pd.Index, same_time: bool = False) -> np.ndarray:
    """Return for clients and pairs of variables whether the first was measured after the second; see :func:`order_violations`.

    Returns
    -------
    ndarray of bool, shape (len(clients), len(earlier), len(later))
    """
    last_dates, last_orders = (_at(earlier, name, clients)[:, :, None] for name in ("last_date", "last_order"))
    dates, orders = (_at(later, name, clients)[:, None, :] for name in ("first_date", "first_order"))
    dated = np.isfinite(dates) & np.isfinite(last_dates)
    after = np.where(dated, last_dates > dates, last_orders > orders)
    return after | np.where(dated, last_dates == dates, last_orders == orders) if same_time else after


def _at(measures: Sequence[Measure], name: str, clients: pd.Index) -> np.ndarray:
    """Return one column of times of several variables as numbers, shape (clients, measures), NaN where unknown; dates in days."""
    values = np.full((len(clients), len(measures)), np.nan)
    for column, one in enumerate(measures):
        if len(one.times):
            found = one.times[name].to_numpy()
            numbers = (found - np.datetime64(0, "D")) / np.timedelta64(1, "D") if name.endswith("date") else found.astype(float)
            position = one.times.index.get_indexer(clients)
            values[:, column] = np.where(position >= 0, numbers[position], np.nan)
    return values


def gain_window_overlap(alliance: Measure, options: Mapping[str, Any]) -> str:
    """Return in words that alliance sessions lie inside the early-gain window (claim E4); empty where none do."""
    if alliance.times.empty:
        return ""
    start, end = options["early_gain"]["window"]
    session = alliance.times["first_order"] - TIMEPOINT_ORDER["session"] * _ORDER_STEP
    inside = int((session < end).sum())
    if not inside:
        return ""
    return (
        f"alliance measured inside the early-gain window (sessions {start} to {end}) for {inside} of {len(session)} clients: "
        "part of the gain came after it"
    )


def dropout(site: Site, section_of_config: Mapping[str, Any]) -> Measure:
    """Return 1 for clients who dropped out by the chosen definition, else 0; clients still in treatment or of unknown fate are absent.

    Parameters
    ----------
    site : Site
        The site's frames.
    section_of_config : mapping
        ``definition`` and ``definitions``: ``reasons`` (as judged at termination), ``share_of_planned_below`` or ``sessions_below``.
    """
    name = section_of_config["definition"]
    definition = section_of_config["definitions"][name]
    ended = site.termination
    if ended.empty or "reason" not in ended:
        reasons = pd.Series(dtype="str")
    else:
        reasons = ended.dropna(subset=["reason"]).drop_duplicates("client_no", keep="last").set_index("client_no")["reason"]
    finished = reasons[reasons.ne("ongoing")]
    if definition.get("reasons") is not None:
        values = finished.isin(definition["reasons"]).astype("float64")
        missing = "no reasons of termination"
    else:
        attended = attended_sessions(site).groupby("client_no").size()
        attended = attended.loc[attended.index.intersection(finished.index)]
        if definition.get("sessions_below") is not None:
            values = (attended < definition["sessions_below"]).astype("float64")
            missing = "no ended treatments with attended sessions"
        else:
            planned = _column(site, "planned_sessions").values.reindex(attended.index)
            planned = planned[planned > 0]
            values = (attended.loc[planned.index] / planned < definition["share_of_planned_below"]).astype("float64")
            missing = "no ended treatments with planned and attended sessions"
    values = _by_client(values)
    return Measure(values, _no_times(), "dropout", when=name, unit="1 = dropped out", reason="" if len(values) else missing)


def residual_gain(post: pd.Series, intake: pd.Series) -> pd.Series:
    """Return the residuals of the regression of post on intake scores over the clients who have both.

    Empty where fewer than three clients have both or intake does not vary.
    """
    both = pd.concat({"post": post, "intake": intake}, axis=1, join="inner").dropna()
    centred = both["intake"] - both["intake"].mean()
    spread = float(centred @ centred)
    if len(both) < 3 or spread <= 1e-20 * max(1.0, float((both["intake"] ** 2).sum())):
        return pd.Series(dtype="float64")
    slope = float(centred @ both["post"]) / spread
    return both["post"] - both["post"].mean() - slope * centred


_ORDER_STEP = 1_000_000.0


def session_order(session: pd.Series) -> pd.Series:
    """Return session numbers as the numbers that grow in time of :class:`Measure`."""
    return TIMEPOINT_ORDER["session"] * _ORDER_STEP + session


def _no_times() -> pd.DataFrame:
    return _nothing()[1].copy(deep=False)


@functools.cache
def _nothing() -> tuple[pd.Series, pd.DataFrame]:
    """Return the values and times of a variable that nobody has; made once, since a site lacks many."""
    columns = {
        "first_date": "datetime64[ns]",
        "last_date": "datetime64[ns]",
        "first_order": "float64",
        "last_order": "float64",
        "n_sessions": "float64",
    }
    nobody = pd.Index([], dtype="int64", name="client_no")
    times = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()}, index=nobody)
    return pd.Series(dtype="float64", index=nobody), times


def _by_client(values: pd.Series) -> pd.Series:
    values = values.dropna().astype("float64")
    values.index = pd.Index(values.index.astype("int64"), name="client_no")
    return values.sort_index()


def _absent(construct: str, reason: str) -> Measure:
    values, times = (one.copy(deep=False) for one in _nothing())
    return Measure(values, times, construct, reason=reason)


def _higher_is_worse(site: Site, instrument: str) -> bool:
    known = site.instruments.get(instrument)
    return known is not None and str(getattr(known, "direction", "")) == "higher_is_worse"


_KEPT: dict[int, dict[Any, Any]] = {}


def _kept(frame: pd.DataFrame) -> dict[Any, Any]:
    """Return a place for what is made of one frame again and again; it goes with the frame."""
    if id(frame) not in _KEPT:
        _KEPT[id(frame)] = {}
        weakref.finalize(frame, _KEPT.pop, id(frame), None)
    return _KEPT[id(frame)]


def _rows(site: Site, instrument: str, scale: str, rater: str, timepoint: str) -> tuple[pd.DataFrame, str]:
    """Return the scores of one measure at a timepoint (``client_no, session, date, score``) and their unit.

    Item means where the measure has scores in several units.
    """
    if site.scores.empty:
        return site.scores, ""
    kept, asked = _kept(site.scores), (instrument, scale, rater, timepoint)
    if asked not in kept:
        kept[asked] = _selected(site.scores, *asked)
    return kept[asked]


def _selected(scores: pd.DataFrame, instrument: str, scale: str, rater: str, timepoint: str) -> tuple[pd.DataFrame, str]:
    kept = _kept(scores)
    if "measures" not in kept:
        kept["measures"] = scores.groupby(["instrument", "scale", "rater"], sort=False).indices
        kept["columns"] = {name: scores[name].to_numpy(dtype=float) for name in ("score", "score_mean") if name in scores}
        kept["columns"] |= {name: scores[name].to_numpy(dtype=object) for name in ("unit", "timepoint")}
        kept["when"] = scores[["client_no", "session", "date"]]
    columns = kept["columns"]
    place = kept["measures"].get((instrument, scale, rater), np.array([], dtype=np.intp))
    place = place[~np.isnan(columns["score"][place])]
    unit, column = columns["unit"][place], "score"
    if len(set(unit[~pd.isna(unit)])) > 1:
        column = "score_mean"
        place = place[~np.isnan(columns[column][place])]
    here = place[columns["timepoint"][place] == timepoint]
    rows = kept["when"].take(here).assign(score=columns[column][here])
    return rows, "mean" if column == "score_mean" else str(unit[0]) if len(unit) else ""


def _averages(
    site: Site, instrument: str, scale: str, rater: str, timepoint: str, window: Mapping[str, Any] | None, equal_sessions: int | None
) -> tuple[pd.Series, pd.DataFrame, str]:
    """Return clients' mean scores of one measure, their times, and the unit; made once for all variables that rest on it."""
    kept, asked = _kept(site.scores), (instrument, scale, rater, timepoint, str(window), equal_sessions)
    # Windows may depend on the sessions attended.
    if asked not in kept or kept[asked][0] is not site.sessions:
        rows, unit = _rows(site, instrument, scale, rater, timepoint)
        if window is not None and len(rows):
            attended = attended_sessions(site) if window.get("sessions") is None else pd.DataFrame()
            rows = rows[in_window(rows, window, attended)]
            rows = rows if equal_sessions is None else _equal_number(rows, equal_sessions)
        kept[asked] = site.sessions, *(_averaged(rows, timepoint) if len(rows) else (pd.Series(dtype="float64"), _no_times())), unit
    _, values, times, unit = kept[asked]
    return values.copy(deep=False), times.copy(deep=False), unit


def _averaged(rows: pd.DataFrame, timepoint: str) -> tuple[pd.Series, pd.DataFrame]:
    client, score = rows["client_no"].to_numpy(dtype="int64"), rows["score"].to_numpy(dtype=float)
    session = rows["session"].to_numpy(dtype=float, na_value=np.nan)
    order = TIMEPOINT_ORDER.get(timepoint, np.nan) * _ORDER_STEP + np.where(np.isnan(session), 0.0, session)
    dates = pd.to_datetime(rows["date"]).to_numpy()
    # In one order, so that means do not depend on that of the rows by a last digit.
    sort = np.lexsort((score, order, client))
    clients, start, count = np.unique(client[sort], return_index=True, return_counts=True)
    index = pd.Index(clients, name="client_no")
    times = pd.DataFrame(
        {
            # NaT where one of the dates is not known.
            "first_date": np.minimum.reduceat(dates[sort], start),
            "last_date": np.maximum.reduceat(dates[sort], start),
            "first_order": np.minimum.reduceat(order[sort], start),
            "last_order": np.maximum.reduceat(order[sort], start),
            "n_sessions": count.astype(float),
        },
        index=index,
    )
    return pd.Series(np.add.reduceat(score[sort], start) / count, index=index), times


def _score_at(
    site: Site,
    construct: str,
    instruments: Sequence[str],
    scale: str,
    rater: str,
    *,
    timepoint: str | None = None,
    window: Mapping[str, Any] | None = None,
    when: str,
    turn: bool,
    equal_sessions: int | None = None,
) -> Measure:
    """Return the first listed instrument, or ``instrument.scale``, that gives any client a value."""
    for entry in instruments:
        instrument, _, own_scale = entry.partition(".")
        own_scale = own_scale or scale
        values, times, unit = _averages(site, instrument, own_scale, rater, timepoint or "session", window, equal_sessions)
        if len(values):
            turned = turn and _higher_is_worse(site, instrument)
            return Measure(-values if turned else values, times, construct, instrument, own_scale, rater, unit, when, turned)
    listed = ", ".join(instruments) or "any instrument"
    place = f"in {when}" if window is not None else f"at {when}"
    return _absent(construct, f"no {rater}-rated {scale} score of {listed} {place}")


def _equal_number(rows: pd.DataFrame, sessions: int) -> pd.DataFrame:
    """Return the same number of ratings of every client, spread evenly over those given; clients with fewer are left out."""
    ordered = rows.sort_values(["client_no", "session"], kind="stable")
    grouped = ordered.groupby("client_no")["session"]
    position, total = grouped.cumcount().to_numpy(), grouped.transform("size").to_numpy()
    share = (np.arange(sessions) + 0.5) / sessions
    wanted = np.floor(share[None, :] * total[:, None]).astype(int)
    return ordered[(total >= sessions) & (wanted == position[:, None]).any(axis=1)]


def _instruments(definition: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """Return the measures to look for; a scale that the definition names takes the place of those of the section."""
    if definition.get("instrument"):
        return [definition["instrument"]]
    listed = list(defaults.get("instruments") or ())
    return [entry.partition(".")[0] for entry in listed] if definition.get("scale") else listed


def _process_score(site: Site, definition: Mapping[str, Any], options: Mapping[str, Any]) -> Measure:
    construct = definition["construct"]
    defaults = options[section(construct)]
    scale = definition.get("scale") or defaults.get("scale") or "total"
    rater = definition.get("rater") or defaults.get("rater") or "client"
    timepoint = definition.get("timepoint")
    turn = construct == "symptoms"
    if timepoint not in (None, "session"):
        return _score_at(site, construct, _instruments(definition, defaults), scale, rater, timepoint=timepoint, when=timepoint, turn=turn)
    name = definition.get("window") or defaults.get("window") or options["alliance"]["window"]
    window = options["alliance"]["windows"][name]
    equal = definition.get("equal_sessions")
    instruments = _instruments(definition, defaults)
    return _score_at(site, construct, instruments, scale, rater, window=window, when=name, turn=turn, equal_sessions=equal)


def _events(site: Site, definition: Mapping[str, Any], options: Mapping[str, Any]) -> Measure:
    """Return :func:`event_rates` averaged over the coded sessions of a window."""
    construct = definition["construct"]
    frame, reason = event_rates(site, construct)
    if reason:
        return _absent(construct, reason)
    keys = ["client_no", "session"]
    name = definition.get("window") or options["alliance"]["window"]
    frame = frame[in_window(frame, options["alliance"]["windows"][name], attended_sessions(site))]
    if frame.empty:
        return _absent(construct, f"no coded sessions in {name}")
    dates = site.sessions[[*keys, "date"]] if len(site.sessions) and "date" in site.sessions else frame[keys].assign(date=pd.NaT)
    dates = dates.dropna(subset=keys).astype({"client_no": "int64", "session": "int64"}).drop_duplicates(keys)
    frame = frame.merge(dates, on=keys, how="left")
    return Measure(*_averaged(frame, "session"), construct, rater="observer", unit="an hour", when=name)


def event_rates(site: Site, construct: str, target: str = "") -> tuple[pd.DataFrame, str]:
    """Return how often coders saw an event in every coded session, an hour of it, and why there is nothing.

    Parameters
    ----------
    site : Site
    construct : str
        ``events.<code>``: counts every code that is it or begins with it and ``_``. A coded session without such a row counts as none;
        sessions of unknown length count as one hour.
    target : str
        Count only events about this; empty: all.

    Returns
    -------
    DataFrame
        ``client_no, session, score``.
    str
        Empty where there are sessions.
    """
    keys = ["client_no", "session"]
    rows, wanted, reason = _coded(site, construct, target)
    if reason:
        return pd.DataFrame(columns=[*keys, "score"]), reason
    length = rows["exposure"].astype("float64").fillna(60.0) if "exposure" in rows else pd.Series(60.0, index=rows.index)
    rate = rows["count"].astype("float64").fillna(0.0).where(wanted, 0.0) / (length / 60.0)
    frame = rows[keys].assign(score=rate).dropna().astype({"client_no": "int64", "session": "int64"})
    return frame.groupby(keys, as_index=False)["score"].sum(), ""


def event_counts(site: Site, construct: str, target: str = "") -> tuple[pd.DataFrame, str]:
    """Return how often coders saw an event in every coded session, whatever its length; arguments and columns as :func:`event_rates`."""
    keys = ["client_no", "session"]
    rows, wanted, reason = _coded(site, construct, target)
    if reason:
        return pd.DataFrame(columns=[*keys, "score"]), reason
    count = rows["count"].astype("float64").fillna(0.0).where(wanted, 0.0)
    frame = rows[keys].assign(score=count).dropna().astype({"client_no": "int64", "session": "int64"})
    return frame.groupby(keys, as_index=False)["score"].sum(), ""


def event_intensities(site: Site, construct: str, target: str = "") -> tuple[pd.DataFrame, str]:
    """Return the mean intensity of an event (such as the accuracy of interpretations) in every session that had it, weighted by counts.

    Arguments and columns as :func:`event_rates`; sessions without the event, or without its intensity, have no row.
    """
    keys = ["client_no", "session"]
    rows, wanted, reason = _coded(site, construct, target)
    if reason or "intensity" not in rows:
        return pd.DataFrame(columns=[*keys, "score"]), reason or "no intensity of events"
    count, intensity = rows["count"].astype("float64").fillna(0.0), rows["intensity"].astype("float64")
    kept = wanted & count.gt(0) & intensity.notna() & rows[keys].notna().all(axis=1)
    if not kept.any():
        return pd.DataFrame(columns=[*keys, "score"]), f"no intensity of events coded {construct.removeprefix(EVENTS_PREFIX)}"
    frame = rows.loc[kept, keys].astype("int64").assign(weight=count[kept], total=(count * intensity)[kept])
    sums = frame.groupby(keys, as_index=False)[["weight", "total"]].sum()
    return sums[keys].assign(score=sums["total"] / sums["weight"]), ""


def _coded(site: Site, construct: str, target: str) -> tuple[pd.DataFrame, pd.Series, str]:
    """Return the rows of coded events, which of them are the one that is meant, and why none is."""
    code, rows = construct.removeprefix(EVENTS_PREFIX), site.events
    if rows.empty:
        return rows, pd.Series(dtype=bool), "no coded events"
    wanted = rows["code"].eq(code) | rows["code"].str.startswith(f"{code}_")
    if not wanted.any():
        return rows, wanted, f"no events coded {code}"
    if target:
        if "target" not in rows or not (wanted & rows["target"].eq(target)).any():
            return rows, wanted, f"no events coded {code} about {target}"
        wanted = wanted & rows["target"].eq(target)
    return rows, wanted.fillna(False).astype(bool), ""


def _single_score(site: Site, definition: Mapping[str, Any], options: Mapping[str, Any]) -> Measure:
    construct = definition["construct"]
    instrument, scale = construct.split(".")
    rater = definition.get("rater")
    if not rater:
        here = site.scores[site.scores["instrument"].eq(instrument).to_numpy() & site.scores["scale"].eq(scale).to_numpy()]
        present = set(here["rater"].dropna())
        rater = next((name for name in RATERS if name in present), "client")
    timepoint, name = definition.get("timepoint"), definition.get("window")
    if timepoint not in (None, "session"):
        return _score_at(site, construct, [instrument], scale, rater, timepoint=timepoint, when=timepoint, turn=False)
    if timepoint == "session" and not name:
        return _score_at(site, construct, [instrument], scale, rater, timepoint="session", when="session", turn=False)
    name = name or options["alliance"]["window"]
    window = options["alliance"]["windows"][name]
    return _score_at(site, construct, [instrument], scale, rater, window=window, when=name, turn=False)


def _outcome_score(site: Site, definition: Mapping[str, Any], options: Mapping[str, Any]) -> Measure:
    defaults = options["outcome"]
    timepoint = definition.get("timepoint") or defaults.get("timepoint") or "post"
    if timepoint in ("intake", "session"):
        timepoint = defaults.get("timepoint") or "post"
    scale = definition.get("scale") or defaults.get("scale") or "total"
    rater = definition.get("rater") or defaults.get("rater") or "client"
    return _score_at(site, "outcome", _instruments(definition, defaults), scale, rater, timepoint=timepoint, when=timepoint, turn=True)


def _intake_of(site: Site, outcome: Measure) -> Measure:
    return _score_at(site, "intake", [outcome.instrument], outcome.scale, outcome.rater, timepoint="intake", when="intake", turn=True)


def _outcome(site: Site, definition: Mapping[str, Any], options: Mapping[str, Any]) -> Measure:
    construct = definition["construct"]
    form = options["outcome"].get("form", "ancova") if construct == "outcome" else construct
    post = _outcome_score(site, definition, options)
    if post.reason or form == "ancova":
        return replace(post, construct=construct)
    intake = _intake_of(site, post)
    if intake.reason:
        return replace(_absent(construct, intake.reason), instrument=post.instrument, scale=post.scale, rater=post.rater)
    values = (post.values - intake.values).dropna() if form == "change" else residual_gain(post.values, intake.values)
    values = _by_client(values)
    reason = "" if len(values) else f"too few clients have {post.instrument} both at intake and at {post.when}"
    return replace(post, values=values, times=post.times.loc[values.index], construct=construct, unit=f"{post.unit}, {form}", reason=reason)


def _early_gain(site: Site, definition: Mapping[str, Any], options: Mapping[str, Any]) -> Measure:
    defaults = options["symptoms"]
    scale = definition.get("scale") or defaults.get("scale") or "total"
    rater = definition.get("rater") or defaults.get("rater") or "client"
    start, end = options["early_gain"]["window"]
    when = f"sessions {start} to {end}"

    def at(instrument: str, session: int) -> Measure:
        if session == 0:
            return _score_at(site, "early_gain", [instrument], scale, rater, timepoint="intake", when="intake", turn=True)
        window = {"sessions": [session, session]}
        return _score_at(site, "early_gain", [instrument], scale, rater, window=window, when=f"session {session}", turn=True)

    instruments = _instruments(definition, defaults)
    for instrument in instruments:
        first, last = at(instrument, start), at(instrument, end)
        values = _by_client((last.values - first.values).dropna())
        if len(values):
            times = last.times.loc[values.index].assign(
                first_date=first.times["first_date"].reindex(values.index), first_order=first.times["first_order"].reindex(values.index)
            )
            return replace(last, values=values, times=times, unit=f"{last.unit}, change", when=when)
    return _absent("early_gain", f"no {rater}-rated {scale} score of {', '.join(instruments) or 'any instrument'} at both ends of {when}")


def _column(site: Site, column: str) -> Measure:
    if column not in site.clients:
        return _absent(column, f"the clients table has no column {column}")
    values = site.clients[["client_no", column]].dropna().drop_duplicates("client_no").set_index("client_no")[column]
    if not pd.api.types.is_numeric_dtype(values):
        return _absent(column, f"the column {column} of the clients table holds no numbers")
    values = _by_client(values)
    return Measure(values, _no_times(), column, reason="" if len(values) else f"the column {column} of the clients table is empty")


def _intake_severity(site: Site, options: Mapping[str, Any]) -> Measure:
    """Return severity as sent with the clients, else the outcome instrument at intake in its own direction (higher is worse)."""
    sent = _column(site, INTAKE_SEVERITY)
    if not sent.reason:
        return sent
    defaults = options["outcome"]
    scale, rater = defaults.get("scale") or "total", defaults.get("rater") or "client"
    found = _score_at(site, INTAKE_SEVERITY, _instruments({}, defaults), scale, rater, timepoint="intake", when="intake", turn=True)
    if found.reason:
        return found
    return replace(found, values=-found.values, turned=not found.turned)
