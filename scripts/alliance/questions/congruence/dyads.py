"""Client and therapist (or two other raters) of the same sessions on the same scale: measures that a site has of both, by sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from alliance.instruments.registry import WITHOUT_IMPROVEMENT
from alliance.questions.alliance_outcome.measures import PREFERRED
from alliance.questions.correlations import therapists_of
from alliance.questions.site_data import SiteData
from alliance.variables.checks import CLIENTS_PREFIX, THERAPISTS_PREFIX
from alliance.variables.client import attended_sessions, in_window

QUESTION = "congruence"
SUMMARIES_ONLY = "needs sessions of single clients; the site published summaries only"
COLUMNS = ["client", "session", "date", "first", "second"]


@dataclass(frozen=True)
class Dyads:
    """Sessions that both raters rated on one scale.

    Attributes
    ----------
    rows : DataFrame
        ``client, session, date, first, second``, and ``therapist`` (a code) where therapists are known; ratings in the unit of items.
    instrument, scale, window : str
    source : str
        What was compared, in words.
    low, high : float
        Smallest and largest possible rating; NaN where unknown.
    forms : tuple of str
        Instrument of the first and of the second rater.
    note : str
        What must be known about the measures; flags every row made of them.
    reason : str
        What is needed, where there are no rows.
    """

    rows: pd.DataFrame
    instrument: str
    scale: str
    window: str
    source: str = ""
    low: float = float("nan")
    high: float = float("nan")
    note: str = ""
    reason: str = ""
    forms: tuple[str, str] = ("", "")

    @property
    def therapist(self) -> np.ndarray | None:
        """Therapist of every row; None where therapists are not known."""
        return self.rows["therapist"].to_numpy() if "therapist" in self.rows else None

    @property
    def spread(self) -> float:
        """The one standard deviation that stands for both raters: the root of their mean variance."""
        return float(np.sqrt((self.rows["first"].var() + self.rows["second"].var()) / 2)) if len(self.rows) > 1 else float("nan")

    @property
    def counts(self) -> dict[str, int | None]:
        """Sessions, clients and therapists behind the rows."""
        return {
            "n_sessions": len(self.rows),
            "n_clients": int(self.rows["client"].nunique()),
            "n_therapists": int(self.rows["therapist"].nunique()) if "therapist" in self.rows else None,
        }

    def clients(self) -> pd.DataFrame:
        """Return one row a client: means of both raters over the sessions both rated, ``sessions``, the last ``date`` and therapist."""
        grouped = self.rows.groupby("client", sort=True)
        frame = grouped[["first", "second"]].mean()
        frame = frame.assign(sessions=grouped.size(), date=grouped["date"].max())
        return frame.assign(therapist=grouped["therapist"].first()) if "therapist" in self.rows else frame


@dataclass(frozen=True)
class SessionScores:
    """All session scores of both raters at one site.

    Attributes
    ----------
    wide : DataFrame
        Index ``client, session``; columns ``(instrument, scale, rater)``, in the unit of items where the scores have it.
    dates : Series
        First date of every session, index as ``wide``.
    derived : set of (instrument, rater)
        Scores that were taken from the answers to a longer form.
    units : dict of (instrument, scale, rater) to str
    parents : dict of (instrument, rater) to str
        The form that was filled in.
    therapist : Series or None
        ``therapist_no`` of every client of the site, NaN where not known.
    attended : DataFrame
        From :func:`alliance.variables.client.attended_sessions`.
    """

    wide: pd.DataFrame
    dates: pd.Series
    derived: frozenset[tuple[str, str]] = frozenset()
    units: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    parents: Mapping[tuple[str, str], str] = field(default_factory=dict)
    therapist: pd.Series = field(default_factory=lambda: pd.Series(dtype="float64"))
    attended: pd.DataFrame = field(default_factory=pd.DataFrame)

    def therapists(self, clients: pd.Index) -> pd.Series:
        """Return ``therapist_no`` of clients, NaN where not known."""
        return self.therapist.reindex(clients)

    def codes(self, clients: pd.Index) -> np.ndarray | None:
        """Return a code of every client's therapist, one of its own where not known; None where no therapist is known."""
        known = self.therapists(clients)
        alone = known.isna().to_numpy()
        if alone.all():
            return None
        return pd.factorize(np.where(alone, -1.0 - np.arange(len(clients)), known.to_numpy(dtype=float)))[0]


def raters(options: Mapping[str, Any]) -> tuple[str, str]:
    """Return the two raters: the first's rating is the truth, the second's the judgement."""
    first, second = options["questions"][QUESTION]["raters"]
    return first, second


def session_table(site: SiteData, options: Mapping[str, Any]) -> SessionScores:
    """Return the session scores of the alliance instruments by both raters."""
    scores = site.scores
    everybody = set(site.clients["client_no"].dropna().astype("int64")) if len(site.clients) else set()
    everybody |= set(scores["client_no"].dropna().astype("int64")) if len(scores) else set()
    clients = pd.Index(sorted(everybody), dtype="int64")
    of_site = {"therapist": therapists_of(clients, site.clients, scores)}
    empty = SessionScores(pd.DataFrame(), pd.Series(dtype="datetime64[ns]"), **of_site)
    if scores.empty:
        return empty
    listed = set(options["alliance"]["instruments"])
    known = {key for key, one in site.instruments.items() if one.construct == "alliance"} | listed
    keep = (
        scores["timepoint"].eq("session").to_numpy(dtype=bool)
        & scores["score"].notna().to_numpy(dtype=bool)
        & scores["session"].notna().to_numpy(dtype=bool)
        & scores["rater"].isin(raters(options)).to_numpy(dtype=bool)
        & scores["instrument"].isin(known).to_numpy(dtype=bool)
        & scores["scale"].ne(WITHOUT_IMPROVEMENT).to_numpy(dtype=bool)
    )
    rows = scores[keep]
    if rows.empty:
        return empty
    keys = ["instrument", "scale", "rater"]
    means = rows["score_mean"].notna().groupby([rows[key] for key in keys], observed=True).transform("all").to_numpy(dtype=bool)
    value = np.where(means, rows["score_mean"].to_numpy(dtype=float), rows["score"].to_numpy(dtype=float))
    unit = np.where(means, "mean", rows["unit"].to_numpy(dtype=object))
    frame = rows[keys].assign(
        client=rows["client_no"].astype("int64"), session=rows["session"].astype("int64"), value=value, unit=unit, date=rows["date"]
    )
    frame = frame.sort_values([*keys, "client", "session", "value"], kind="stable")
    wide = frame.pivot_table(index=["client", "session"], columns=keys, values="value", aggfunc="mean", observed=True).sort_index()
    wide.columns = pd.Index([tuple(column) for column in wide.columns], dtype=object, tupleize_cols=False)
    dates = frame.groupby(["client", "session"])["date"].min().reindex(wide.index)
    units = {key: "/".join(sorted(set(own))) for key, own in frame.groupby(keys, observed=True)["unit"]}
    origin = rows["derived_from"].fillna("") if "derived_from" in rows else pd.Series("", index=rows.index)
    parents = {(i, r): str(own.max()) for (i, r), own in origin.groupby([rows["instrument"], rows["rater"]], observed=True)}
    derived = frozenset(key for key, parent in parents.items() if parent)
    return SessionScores(wide, dates, derived, units, parents, attended=attended_sessions(site), **of_site)


def _family(site: SiteData, instrument: str) -> str:
    """Return the longest form an instrument goes back to."""
    known = site.instruments.get(instrument)
    derivation = getattr(known, "derive_from", None)
    return derivation.instrument if derivation is not None else instrument


def pairs(site: SiteData, table: SessionScores, options: Mapping[str, Any], scale: str) -> list[tuple[str, str]]:
    """Return the instruments of both raters that may be compared, in order of preference; forms that were filled in come first.

    The same instrument; with ``commensurable: percent_of_range`` also two forms of one family.
    """
    first, second = raters(options)
    order = {name: place for place, name in enumerate(options["alliance"]["instruments"])}
    of = {rater: sorted({key[0] for key in table.wide.columns if key[1:] == (scale, rater)}) for rater in (first, second)}
    found = [(one, other) for one in of[first] for other in of[second] if one == other]
    if options["questions"][QUESTION]["commensurable"] == "percent_of_range":
        family = {name: _family(site, name) for name in (*of[first], *of[second])}
        found += [(one, other) for one in of[first] for other in of[second] if one != other and family[one] == family[other]]

    def preference(pair: tuple[str, str]) -> tuple[Any, ...]:
        short = sum((name, rater) in table.derived for name, rater in zip(pair, (first, second), strict=True))
        last = len(order)
        return (pair[0] != pair[1], short, order.get(pair[0], last), order.get(pair[1], last), pair)

    return sorted(found, key=preference)


def _range(site: SiteData, table: SessionScores, instrument: str, rater: str) -> tuple[float, float] | None:
    """Return the smallest and largest answer behind a score; None where it is not known."""
    parent = table.parents.get((instrument, rater)) or instrument
    known = site.ranges.get(parent, {}).get(rater)
    if known is not None:
        return known
    response = getattr(site.instruments.get(parent), "response", None)
    if response is None or getattr(site.instruments.get(parent), "response_from_site", False):
        return None
    return float(response.min), float(response.max)


def dyads(site: SiteData, table: SessionScores, options: Mapping[str, Any], scale: str, window: str, instrument: str = PREFERRED) -> Dyads:
    """Return the sessions of a window that both raters rated on one scale.

    Parameters
    ----------
    site : SiteData
    table : SessionScores
        From :func:`session_table`.
    options : mapping
        Configuration.
    scale, window : str
    instrument : str
        One instrument, or the first that both raters have.
    """
    nothing = pd.DataFrame(columns=COLUMNS)
    if site.published is not None:
        return Dyads(nothing, instrument, scale, window, reason=SUMMARIES_ONLY)
    first, second = raters(options)
    found = [pair for pair in pairs(site, table, options, scale) if instrument in (PREFERRED, pair[0])]
    reasons = []
    for one, other in found:
        made = _pair(site, table, options, scale, window, (one, other), instrument)
        if not made.reason and len(made.rows):
            return made
        reasons.append(made.reason or f"needs sessions of window {window} that {first} and {second} both rated on {one}; has none")
    return Dyads(nothing, instrument, scale, window, reason=reasons[0] if reasons else lacking(table, options, scale))


def lacking(table: SessionScores, options: Mapping[str, Any], scale: str) -> str:
    """Return what is needed where the two raters have no instrument in common, and what each has."""
    told = []
    for rater in raters(options):
        names = sorted({key[0] for key in table.wide.columns if key[1:] == (scale, rater)})
        told.append(f"{rater}: {', '.join(names) or 'none'}")
    return f"needs the {scale} scale of the same instrument from {' and '.join(raters(options))}; has {'; '.join(told)}"


def _pair(
    site: SiteData,
    table: SessionScores,
    options: Mapping[str, Any],
    scale: str,
    window: str,
    pair: tuple[str, str],
    instrument: str,
) -> Dyads:
    first, second = raters(options)
    keys = [(pair[0], scale, first), (pair[1], scale, second)]
    ranges = [_range(site, table, name, rater) for name, _, rater in keys]
    nothing = pd.DataFrame(columns=COLUMNS)
    rescale = options["questions"][QUESTION]["commensurable"] == "percent_of_range" and (pair[0] != pair[1] or ranges[0] != ranges[1])
    if not rescale and None not in ranges and ranges[0] != ranges[1]:
        told = " and ".join(f"{rater} {low:g} to {high:g}" for (_, _, rater), (low, high) in zip(keys, ranges, strict=True))
        return Dyads(
            nothing, instrument, scale, window, reason=f"needs the same range of answers from both raters of {pair[0]}; has {told}"
        )
    units = {table.units[key] for key in keys}
    if len(units) > 1 or "/" in next(iter(units)):
        return Dyads(
            nothing, instrument, scale, window, reason=f"needs {pair[0]} scores of both raters in one unit; has {', '.join(sorted(units))}"
        )
    if rescale and (None in ranges or units != {"mean"}):
        return Dyads(
            nothing, instrument, scale, window, reason=f"needs the range of answers to {pair[0]} and {pair[1]} to put them on one scale"
        )
    frame = table.wide[keys].dropna()
    frame = pd.DataFrame({"first": frame[keys[0]], "second": frame[keys[1]], "date": table.dates.reindex(frame.index)}).reset_index()
    definition = options["alliance"]["windows"][window]
    inside = in_window(frame.rename(columns={"client": "client_no"}), definition, table.attended) if len(frame) else np.zeros(0, dtype=bool)
    frame = frame[inside].reset_index(drop=True)[COLUMNS]
    low, high = ranges[0] if ranges[0] is not None and units == {"mean"} else (float("nan"), float("nan"))
    note = ""
    if rescale:
        for name, (smallest, largest) in zip(("first", "second"), ranges, strict=True):
            frame[name] = 100 * (frame[name] - smallest) / (largest - smallest)
        low, high = 0.0, 100.0
        note = f"{pair[0]} and {pair[1]} were put on one scale as percent of their range: what the words of the answers say may differ"
    clients = pd.Index(np.unique(frame["client"].to_numpy(dtype="int64")), dtype="int64")
    codes = table.codes(clients) if len(frame) else None
    if codes is not None:
        frame["therapist"] = codes[clients.get_indexer(frame["client"])]
    derived = any((name, rater) in table.derived for name, _, rater in keys)
    source = f"{pair[0]} {scale}" if pair[0] == pair[1] else f"{pair[0]} and {pair[1]} {scale}"
    source += " (short form taken from the long one)" if derived else ""
    return Dyads(frame, instrument, scale, window, source, low, high, note, forms=pair)


def instruments(site: SiteData, table: SessionScores, options: Mapping[str, Any], scale: str) -> list[str]:
    """Return what has rows of its own: the preferred measure, then every instrument that both raters filled in themselves."""
    first, second = raters(options)
    own = sorted(
        one for one, other in pairs(site, table, options, scale) if one == other and not {(one, first), (one, second)} & table.derived
    )
    return [PREFERRED, *own]


def column(site: SiteData, table: SessionScores, name: str, clients: pd.Index) -> tuple[np.ndarray, str]:
    """Return the values of ``clients.<column>`` or ``therapists.<column>`` over clients, and why there are none.

    Those of a therapist stand with each of the therapist's clients. Text that holds numbers counts as numbers.
    """
    own = name.startswith(THERAPISTS_PREFIX)
    key = name.removeprefix(THERAPISTS_PREFIX if own else CLIENTS_PREFIX)
    frame, unit = (site.therapists, "therapist_no") if own else (site.clients, "client_no")
    where = "therapists" if own else "clients"
    empty = np.full(len(clients), np.nan)
    if site.published is not None:
        return empty, SUMMARIES_ONLY
    if key not in frame or unit not in frame:
        return empty, f"needs the column {key} of the {where} table"
    values = pd.to_numeric(frame[key], errors="coerce")
    if values.notna().sum() == 0:
        return empty, f"needs numbers in the column {key} of the {where} table"
    known = pd.Series(values.to_numpy(dtype=float), index=frame[unit].astype("Int64")).dropna()
    known = known[known.index.notna() & ~known.index.duplicated()]
    who = table.therapists(clients) if own else pd.Series(clients, index=clients, dtype="float64")
    return who.map(dict(zip(known.index.astype("int64"), known.to_numpy()))).to_numpy(dtype=float), ""


def not_estimable(row: Mapping[str, Any], reason: str, counts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a row of a summary without a number."""
    return {**row, **(counts or {}), "status": "not_estimable", "reason": f"not estimable: {reason}", "method": "none"}


def notes(*texts: str) -> dict[str, str]:
    """Return status and reason of an estimate from what must be known about it."""
    told = [text for text in dict.fromkeys(texts) if text]
    return {"status": "flagged" if told else "estimated", "reason": "; ".join(told)}


def named(row: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Return a row with its ``parameter``, which tells it from all others of its part."""
    return {**row, "parameter": ".".join(str(row[key]) for key in keys if row.get(key))}
