"""Every pair of alliance measures of one site: correlation, the same corrected for unreliability, and HTMT (claims A5 to A7, A11)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any, Protocol

import numpy as np
import pandas as pd

from alliance.instruments.content import parallel
from alliance.instruments.registry import WITHOUT_IMPROVEMENT
from alliance.questions.contract import WITH_NUMBERS
from alliance.questions.correlations import published_correlations, published_fields, row_fields, therapist_codes
from alliance.questions.item_answers import ItemAnswers, item_answers
from alliance.questions.moments import read_block
from alliance.questions.site_data import SiteData
from alliance.statistics.correlation import DETERMINED, MIN_CLUSTERS, correlations
from alliance.statistics.covariance import correlation_matrix
from alliance.statistics.one_factor import one_factor
from alliance.statistics.overlap import (
    Omegas,
    Units,
    correlations_without,
    disattenuated,
    htmt,
    htmt_of_matrix,
    item_correlations_without,
    jackknife_variance,
    mean_within,
    normal_theory_variance,
    omega_without,
)
from alliance.variables.client import attended_sessions, in_window

PAIRS = "pairs"
TOTAL, SUBSCALE = "total", "subscale"
UNKNOWN = "unknown"
INSTRUMENTS, RATERS, SCALES = "instruments", "raters", "scales"
R, DISATTENUATED, HTMT = "correlation", "correlation_disattenuated", "htmt"
NEEDS_ITEMS = "needs item answers"
SHARED = "the two scores share items, so the correlation is not one of two measures"
BEYOND_ONE = (
    "1 or above: the scores agree as far as their reliabilities allow, or a reliability is underestimated; the number is left as it is"
)
LARGEST_HTMT = 0.9
NOT_APART = f"above {LARGEST_HTMT:g}: the items do not tell the two scales apart (convention)"
_ITEM = re.compile(r"i([1-9][0-9]*)")


@dataclass(frozen=True, order=True)
class Variable:
    """One alliance score: scale of an instrument by one rater."""

    instrument: str
    scale: str
    rater: str

    @property
    def name(self) -> str:
        """Name in parameters of summaries."""
        return f"{self.instrument}.{self.scale}.{self.rater}"

    @property
    def level(self) -> str:
        """Total or subscale."""
        return TOTAL if self.scale == TOTAL else SUBSCALE

    @property
    def form(self) -> tuple[str, str]:
        """Instrument and rater: scores of one form are given at once."""
        return self.instrument, self.rater


def comparison(first: Variable, second: Variable) -> str:
    """Return how two variables are compared; empty where they are not."""
    if first.instrument != second.instrument:
        return INSTRUMENTS if first.rater == second.rater and first.level == second.level else ""
    if first.rater == second.rater:
        return SCALES if TOTAL not in (first.scale, second.scale) else ""
    return RATERS if first.scale == second.scale else ""


@dataclass(frozen=True)
class Judged:
    """A statistic of one site with the variance of its estimate (NaN: not known), and what stands behind it."""

    estimate: float
    variance: float
    n_clients: int | None
    n_therapists: int | None
    method: str
    caution: str


class Pairs(Protocol):
    """Pairs of measures of one site: from its rows, or as it published them.

    Attributes
    ----------
    keys : list of dict
        Descriptive columns of each pair (P of them).
    values : dict of str to ndarray, shape (P,)
        Correlations and disattenuated correlations; NaN where there is none.
    """

    keys: list[dict[str, Any]]

    @property
    def values(self) -> dict[str, np.ndarray]: ...

    def judged(self, kind: str, chosen: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> Judged:
        """Return a function of some pairs' values, shape (b, chosen) to (b,), with its variance."""
        ...

    def of_the_same_clients(self, first: np.ndarray, second: np.ndarray) -> Pairs:
        """Return the pairs on the clients who have one of the first and one of the second; these pairs where clients are not known."""
        ...


@dataclass(frozen=True)
class SitePairs:
    """Pairs of measures from a site's rows.

    Attributes
    ----------
    variables : list of Variable
    keys : list of dict
        Columns of each pair.
    ends : ndarray, shape (P, 2)
        Positions of each pair's variables.
    x, y : ndarray, shape (clients, P)
        Client means over the sessions that have both scores.
    therapists : Units or None
        Codes of the clients' therapists.
    items : ItemsOfSite
        Answers behind the scores.
    min_clients : int
    """

    variables: list[Variable]
    keys: list[dict[str, Any]]
    ends: np.ndarray
    x: np.ndarray
    y: np.ndarray
    therapists: Units | None
    items: ItemsOfSite
    min_clients: int

    @cached_property
    def used(self) -> np.ndarray:
        """Clients behind each pair, shape (clients, P)."""
        return np.isfinite(self.x) & np.isfinite(self.y)

    @cached_property
    def _cache(self) -> dict[tuple[str, str], np.ndarray]:
        return {}

    def _units(self, unit: str) -> Units:
        return self.therapists if unit == "therapists" else Units.of_clients(len(self.x))

    def _without(self, kind: str, unit: str) -> np.ndarray:
        """Return a kind of value over all clients and without each unit, shape (1 + units, P)."""
        if (kind, unit) not in self._cache:
            if kind == R:
                found = correlations_without(self.x, self.y, self._units(unit))
                found[:, (self.used.sum(axis=0) < self.min_clients) | ~(np.abs(found[0]) < DETERMINED)] = np.nan
            elif kind == DISATTENUATED:
                found = disattenuated(self._without(R, unit), *self._reliabilities(unit))
            else:
                found = self._htmt(unit)
            self._cache[kind, unit] = found
        return self._cache[kind, unit]

    @property
    def _first_unit(self) -> str:
        return "clients" if self.therapists is None or self.therapists.count < MIN_CLUSTERS else "therapists"

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        return {kind: self._without(kind, self._first_unit)[0] for kind in (R, DISATTENUATED)}

    def _reliabilities(self, unit: str) -> tuple[np.ndarray, np.ndarray]:
        sides = []
        for side in (0, 1):
            columns = [self.omega(pair, side, unit) for pair in range(len(self.keys))]
            empty = np.full(1 + self._units(unit).count, np.nan)
            sides.append(np.stack([empty if isinstance(one, str) else one.values for one in columns], axis=-1))
        return sides[0], sides[1]

    def omega(self, pair: int, side: int, unit: str) -> Omegas | str:
        """Return omega total of one scale of a pair at the sessions of both forms, or why there is none."""
        own, other = self.ends[pair][side], self.ends[pair][1 - side]
        return self.items.omega(self.variables[own], self.variables[other], self._units(unit), unit, self.min_clients)

    def why_no_omega(self, pair: int) -> str:
        """Return why a pair's correlation cannot be corrected; empty where it can."""
        found = [self.omega(pair, side, self._first_unit) for side in (0, 1)]
        reasons = [one if isinstance(one, str) else one.reason for one in found]
        named = [
            reason if reason == NEEDS_ITEMS else f"{self.variables[end].name}: {reason}"
            for reason, end in zip(reasons, self.ends[pair])
            if reason
        ]
        return "; ".join(dict.fromkeys(named))

    def _htmt(self, unit: str) -> np.ndarray:
        columns = []
        for pair, keys in enumerate(self.keys):
            first, second = (self.variables[end] for end in self.ends[pair])
            found = None
            if keys["comparison"] != RATERS and self.used[:, pair].sum() >= self.min_clients:
                found = self.items.htmt(first, second, self._units(unit), unit)
            columns.append(np.full(1 + self._units(unit).count, np.nan) if found is None else found)
        return np.stack(columns, axis=-1)

    def judged(self, kind: str, chosen: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> Judged:
        used = self.used[:, chosen].any(axis=1)
        n, known = int(used.sum()), self.therapists is not None
        count = int(self.therapists.holding(used).sum()) if known else 0
        caution = f"fewer than {MIN_CLUSTERS} therapists ({count}): clients taken as independent" if known else ""
        estimate = float(function(self._without(kind, self._first_unit)[:1, chosen])[0])
        for unit, method in (("therapists", "cluster_jackknife"), ("clients", "client_jackknife")):
            if unit == "therapists" and count < MIN_CLUSTERS:
                continue
            held = self._units(unit).holding(used)
            values = function(self._without(kind, unit)[:, chosen])
            if np.isfinite(values[1:][held]).all():
                variance = float(jackknife_variance(values, held))
                return Judged(estimate, variance, n, count if known else None, method, caution if unit == "clients" else "")
            caution = "without one of the therapists there is no estimate: clients taken as independent"
        caution = "no standard error: without one of the clients there is no estimate"
        return Judged(estimate, np.nan, n, count if known else None, "client_jackknife", caution)

    def of_the_same_clients(self, first: np.ndarray, second: np.ndarray) -> SitePairs:
        both = self.used[:, first].any(axis=1) & self.used[:, second].any(axis=1)
        return replace(self, x=np.where(both[:, None], self.x, np.nan))


class ItemsOfSite:
    """Item answers behind a site's scores, by scale and at the sessions of two forms.

    Parameters
    ----------
    site : SiteData
    window : mapping
        Window of the configuration.
    attended : DataFrame
        Attended sessions, where the window needs them.
    index : MultiIndex
        ``client_no, session`` of the scores, sorted.
    given : dict of (instrument, rater) to ndarray of bool, shape (sessions,)
        Sessions at which a form was given.
    """

    def __init__(
        self,
        site: SiteData,
        window: Mapping[str, Any],
        attended: pd.DataFrame,
        index: pd.MultiIndex,
        given: Mapping[tuple[str, str], np.ndarray],
    ):
        self._index, self._given = index, given
        clients = index.get_level_values("client_no")
        self._starts = np.flatnonzero(np.r_[True, clients[1:] != clients[:-1]])
        self._forms: dict[tuple[str, str], ItemAnswers] = {}
        for one in item_answers(site) if len(site.ratings) else ():
            if (one.instrument.key, one.rater) in given:
                self._forms[one.instrument.key, one.rater] = one.window(window, attended)
        self._sessions: dict[Variable, np.ndarray | str] = {}
        # Most forms are given at the same sessions: what depends on the sessions of two forms is kept by these sessions.
        self._means: dict[tuple[Variable, bytes], np.ndarray | str] = {}
        self._omegas: dict[tuple[Variable, bytes, str], Omegas | str] = {}
        self._within: dict[tuple[Variable, bytes, str], np.ndarray] = {}

    def _of_sessions(self, variable: Variable) -> np.ndarray | str:
        """Return the answers at every session, shape (sessions, items); several observers averaged."""
        if variable not in self._sessions:
            form = self._forms.get(variable.form)
            found: np.ndarray | str
            if form is None:
                found = NEEDS_ITEMS
            elif variable.scale not in form.scales:
                known = variable.scale in form.instrument.composites and len(form.instrument.scale_items(variable.scale))
                found = "a scale of one item" if known == 1 else NEEDS_ITEMS
            else:
                keys = [form.forms["client_no"].astype("int64"), form.forms["session"].astype("int64")]
                frame = pd.DataFrame(form.scale(variable.scale)).groupby(keys).mean()
                frame.index.names = self._index.names
                found = frame.reindex(self._index).to_numpy(dtype=float)
            self._sessions[variable] = found
        return self._sessions[variable]

    def _both(self, variable: Variable, other: Variable) -> np.ndarray:
        return self._given[variable.form] & self._given[other.form]

    def answers(self, variable: Variable, other: Variable) -> np.ndarray | str:
        """Return client means of a scale's items over the sessions of both variables' forms, shape (clients, items), or why not."""
        both = self._both(variable, other)
        key = variable, both.tobytes()
        if key not in self._means:
            found = self._of_sessions(variable)
            if not isinstance(found, str):
                answered = np.isfinite(found) & both[:, None]
                count = np.add.reduceat(answered.astype(float), self._starts, axis=0)
                with np.errstate(invalid="ignore", divide="ignore"):
                    found = np.add.reduceat(np.where(answered, found, 0.0), self._starts, axis=0) / count
            self._means[key] = found
        return self._means[key]

    def omega(self, variable: Variable, other: Variable, units: Units, unit: str, min_clients: int) -> Omegas | str:
        """Return omega total of a scale with and without each unit, or why not."""
        key = variable, self._both(variable, other).tobytes(), unit
        if key not in self._omegas:
            items = self.answers(variable, other)
            self._omegas[key] = items if isinstance(items, str) else omega_without(items, units, min_clients)
        return self._omegas[key]

    def htmt(self, first: Variable, second: Variable, units: Units, unit: str) -> np.ndarray | None:
        """Return HTMT of two scales with and without each unit, shape (1 + units,); None without items."""
        items = [self.answers(first, second), self.answers(second, first)]
        if any(isinstance(one, str) for one in items):
            return None
        within = []
        for own, other, values in ((first, second, items[0]), (second, first, items[1])):
            key = own, self._both(own, other).tobytes(), unit
            if key not in self._within:
                self._within[key] = mean_within(item_correlations_without(values, values, units))
            within.append(self._within[key])
        return htmt(item_correlations_without(items[0], items[1], units), *within)


def is_alliance(site: SiteData, instrument: str, listed: Sequence[str]) -> bool:
    """Return whether an instrument counts as a measure of the alliance: by its construct, or because the configuration lists it."""
    known = site.instruments.get(instrument)
    return instrument in listed or (known is not None and getattr(known, "construct", "") == "alliance")


@dataclass(frozen=True)
class Found:
    """What a site has: its pairs (None: none), their rows and variances, and its counts."""

    pairs: Pairs | None
    rows: list[dict[str, Any]]
    variances: list[float]
    counts: dict[str, int | None]


def from_rows(site: SiteData, options: Mapping[str, Any], window: str) -> Found:
    """Return the pairs of a site's scores.

    Both scores are averaged over the sessions of the window that have both; reliabilities and HTMT are those of the items at the sessions
    of both forms. Clients, not sessions, are the units.
    """
    scores = site.scores
    listed = options["alliance"].get("instruments") or ()
    definition = options["alliance"]["windows"][window]
    nothing = Found(None, [], [], {"clients": 0})
    if scores.empty:
        return nothing
    alliance = [name for name in scores["instrument"].unique() if is_alliance(site, name, listed)]
    rows = scores[scores["instrument"].isin(alliance).to_numpy() & scores["timepoint"].eq("session").to_numpy()]
    measured = rows["score"].notna() & rows["session"].notna() & rows["scale"].ne(WITHOUT_IMPROVEMENT)
    rows = rows[measured.to_numpy(dtype=bool)]
    attended = attended_sessions(site) if definition.get("sessions") is None else pd.DataFrame()
    rows = rows[in_window(rows, definition, attended)] if len(rows) else rows
    if rows.empty:
        return nothing
    parents = _parents(rows)
    wide = rows.pivot_table(index=["client_no", "session"], columns=["instrument", "scale", "rater"], values="score", aggfunc="mean")
    wide.index = pd.MultiIndex.from_arrays(
        [wide.index.get_level_values(level).astype("int64") for level in (0, 1)], names=["client_no", "session"]
    )
    variables = [Variable(*column) for column in wide.columns]
    ends = [pair for pair in combinations(range(len(variables)), 2) if comparison(variables[pair[0]], variables[pair[1]])]
    clients = wide.index.get_level_values("client_no")
    codes, known = therapist_codes(pd.Index(clients.unique()), site.clients, rows)
    starts = np.flatnonzero(np.r_[True, clients[1:] != clients[:-1]])
    counts = {"clients": len(starts), "therapists": int(codes.max()) + 1 if known else None, "sessions": len(wide)}
    if not ends:
        return Found(None, [], [], counts)
    values = wide.to_numpy(dtype=float)
    positions = np.array(ends)
    x, y, sessions = _client_means(values[:, positions[:, 0]], values[:, positions[:, 1]], starts)
    given = {form: np.isfinite(values[:, [v.form == form for v in variables]]).any(axis=1) for form in {v.form for v in variables}}
    keys = [pair_keys(site, variables[i], variables[j], parents, window) for i, j in ends]
    pairs = SitePairs(
        variables,
        keys,
        positions,
        x,
        y,
        Units(codes, int(codes.max()) + 1) if known else None,
        ItemsOfSite(site, definition, attended, wide.index, given),
        options["pooling"]["min_clients"],
    )
    n_clients = site.clients["client_no"].nunique() if len(site.clients) else len(starts)
    found, spread = _rows_of(pairs, sessions, n_clients)
    return Found(pairs, found, spread, counts)


def _rows_of(pairs: SitePairs, sessions: np.ndarray, n_clients: int) -> tuple[list[dict[str, Any]], list[float]]:
    known = pairs.therapists is not None
    result = correlations(pairs.x, pairs.y, pairs.therapists.codes if known else None, min_rows=pairs.min_clients)
    variance = (result.se_z * (1 - result.r**2)) ** 2
    found: list[dict[str, Any]] = []
    spread: list[float] = []
    for position, keys in enumerate(pairs.keys):
        fields = row_fields(result, position, known)
        fields["n_sessions"] = int(sessions[:, position].sum())
        fields["share_missing"] = 1 - fields["n_clients"] / n_clients
        found.append(_flag_shared({**keys, **fields}))
        spread.append(float(variance[position]))
        refused = fields["reason"] if fields["status"] not in WITH_NUMBERS else ""
        for kind in (DISATTENUATED, HTMT) if keys["comparison"] != RATERS else (DISATTENUATED,):
            row, value = _further(pairs, position, kind, refused)
            counted = {name: fields[name] for name in ("n_sessions", "share_missing", "n_clients", "n_therapists")}
            found.append(_flag_shared({**keys, **counted, **row, "parameter": f"{keys['parameter']} ({kind})"}))
            spread.append(value)
    return found, spread


def _further(pairs: SitePairs, position: int, kind: str, refused: str) -> tuple[dict[str, Any], float]:
    """Return estimate, method, status and reason of a pair's disattenuated correlation or HTMT, and its variance."""
    absent = {"estimate_type": kind, "method": "none", "status": "not_estimable"}
    reason = refused or (f"not estimable: {why}" if (why := pairs.why_no_omega(position)) and kind == DISATTENUATED else "")
    if not reason and kind == HTMT:
        ends = [pairs.variables[end] for end in pairs.ends[position]]
        lacking = [pairs.items.answers(ends[0], ends[1]), pairs.items.answers(ends[1], ends[0])]
        reason = next((f"not estimable: {one}" for one in lacking if isinstance(one, str)), "")
    if reason:
        return {**absent, "reason": reason}, np.nan
    judged = pairs.judged(kind, np.array([position]), lambda stack: stack[:, 0])
    return judged_fields(judged, kind), judged.variance


def judged_fields(judged: Judged, kind: str) -> dict[str, Any]:
    """Return estimate, method, status and reason of a judged statistic as columns of ``estimates.csv``."""
    if not np.isfinite(judged.estimate):
        reason = "not estimable: an item does not vary" if kind == HTMT else "not estimable: there is no estimate"
        return {"estimate_type": kind, "method": "none", "status": "not_estimable", "reason": reason}
    beyond = kind.startswith(DISATTENUATED) and abs(judged.estimate) >= 1
    alike = kind == HTMT and judged.estimate > LARGEST_HTMT
    reason = "; ".join(part for part in (BEYOND_ONE if beyond else "", NOT_APART if alike else "", judged.caution) if part)
    return {
        "estimate_type": kind,
        "estimate": judged.estimate,
        "method": judged.method,
        "status": "flagged" if reason else "estimated",
        "reason": reason,
    }


def _client_means(first: np.ndarray, second: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return client means over the sessions that have both, and the number of these sessions; shape (clients, pairs) each."""
    both = np.isfinite(first) & np.isfinite(second)
    sessions = np.add.reduceat(both.astype(float), starts, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        x = np.add.reduceat(np.where(both, first, 0.0), starts, axis=0) / sessions
        y = np.add.reduceat(np.where(both, second, 0.0), starts, axis=0) / sessions
    return x, y, sessions


def _parents(rows: pd.DataFrame) -> dict[Variable, frozenset[str]]:
    """Return which long forms each score was derived from at this site."""
    if "derived_from" not in rows:
        return {}
    derived = rows[["instrument", "scale", "rater", "derived_from"]].dropna().drop_duplicates()
    derived = derived[derived["derived_from"].ne("")]
    parents: dict[Variable, set[str]] = {}
    for instrument, scale, rater, parent in derived.itertuples(index=False):
        parents.setdefault(Variable(instrument, scale, rater), set()).add(parent)
    return {variable: frozenset(names) for variable, names in parents.items()}


def _shared_items(site: SiteData, first: Variable, second: Variable, parents: Mapping[Variable, frozenset[str]]) -> bool:
    if first.rater != second.rater:
        return False
    if first.instrument == second.instrument:
        known = site.instruments.get(first.instrument)
        return bool(getattr(known, "shared_items", False))
    one, two = parents.get(first, frozenset()), parents.get(second, frozenset())
    return second.instrument in one or first.instrument in two or bool(one & two)


def pair_keys(site: SiteData, first: Variable, second: Variable, parents: Mapping[Variable, frozenset[str]], window: str) -> dict[str, Any]:
    """Return the descriptive columns of a pair; ``parents`` are the long forms that scores were derived from at this site."""
    first, second = sorted((first, second))
    same = UNKNOWN if UNKNOWN in (first.rater, second.rater) else "yes" if first.rater == second.rater else "no"
    instruments = (site.instruments.get(one.instrument) for one in (first, second))
    one, two = instruments
    alike = "yes" if comparison(first, second) == RATERS else parallel(one, first.scale, two, second.scale)
    return {
        "model": PAIRS,
        "parameter": f"{first.name} ~~ {second.name}",
        "level": "client",
        "pair_level": first.level,
        "comparison": comparison(first, second),
        "instrument1": first.instrument,
        "scale1": first.scale,
        "rater1": first.rater,
        "instrument2": second.instrument,
        "scale2": second.scale,
        "rater2": second.rater,
        "same_rater": same,
        "shared_items": "yes" if _shared_items(site, first, second, parents) else "no",
        "derived": "yes" if parents.get(first) or parents.get(second) else "no",
        "parallel": alike,
        "opposed": "yes" if _worse(one, first.scale) != _worse(two, second.scale) else "no",
        "window": window,
    }


def _worse(instrument: Any, scale: str) -> bool:
    return instrument.higher_is_worse(scale) if hasattr(instrument, "higher_is_worse") else False


def _flag_shared(row: dict[str, Any]) -> dict[str, Any]:
    if row["shared_items"] == "yes" and row["status"] in WITH_NUMBERS:
        row["reason"] = "; ".join(part for part in (SHARED, row.get("reason", "")) if part)
        row["status"] = "flagged"
    return row


@dataclass(frozen=True)
class PublishedPairs:
    """Pairs of measures as a site published them.

    Attributes
    ----------
    keys : list of dict
    r, corrected : ndarray, shape (P,)
        NaN where there is none.
    names : list of str
        Variables of the matrix.
    matrix : ndarray, shape (p, p)
        Correlations of the variables; NaN where not published.
    place : ndarray, shape (P, 2)
        Positions of each pair in the matrix.
    n : int or None
        Clients behind the matrix: the smallest number that any pair has.
    """

    keys: list[dict[str, Any]]
    r: np.ndarray
    corrected: np.ndarray
    matrix: np.ndarray
    place: np.ndarray
    n: int | None

    @property
    def values(self) -> dict[str, np.ndarray]:
        return {R: self.r, DISATTENUATED: self.corrected}

    def judged(self, kind: str, chosen: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> Judged:
        estimate = float(function(self.values[kind][None, chosen])[0])
        places = self.place[chosen]
        needed = np.unique(places)
        block = self.matrix[np.ix_(needed, needed)]
        whole = bool(np.isfinite(block).all()) and self.n is not None and np.allclose(block[_at(needed, places)], self.r[chosen])
        if not whole:
            caution = "no standard error: the site did not publish all correlations of these measures with one number of clients"
            return Judged(estimate, np.nan, self.n, None, "over_pairs", caution)
        factor = self.values[kind][chosen] / self.r[chosen] if kind == DISATTENUATED else np.ones(len(chosen))
        at = _at(needed, places)
        variance = normal_theory_variance(lambda stack: function(stack[:, at[0], at[1]] * factor), block, self.n)
        caution = "standard error takes the reliabilities as known" if kind == DISATTENUATED else ""
        return Judged(estimate, variance, self.n, None, "normal_theory", caution)

    def of_the_same_clients(self, first: np.ndarray, second: np.ndarray) -> PublishedPairs:
        return self


def _at(needed: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = np.searchsorted(needed, places)
    return found[:, 0], found[:, 1]


def _published_variable(name: str, site: SiteData, listed: Sequence[str]) -> Variable | None:
    parts = name.split(".")
    if len(parts) not in (2, 3) or _ITEM.fullmatch(parts[1]) or not is_alliance(site, parts[0], listed):
        return None
    return Variable(parts[0], parts[1], parts[2] if len(parts) == 3 else UNKNOWN)


def from_published(site: SiteData, options: Mapping[str, Any], window: str) -> Found:
    """Return the pairs that a site published.

    Reliabilities are those of published items (variables ``<instrument>.i<number>.<rater>``, turned by the scoring key), or as sent
    among the effects (question ``convergent_validity``, model ``reliability``, parameter ``<instrument>.<scale>.<rater>``).
    """
    published, minimum = site.published, options["pooling"]["min_clients"]
    listed = options["alliance"].get("instruments") or ()
    sent = [(row.var1, row.var2, row.r, row.n, None) for row in published_correlations(published).itertuples(index=False)]
    own = published.effects[published.effects["question"].eq("convergent_validity")]
    for row in own[own["model"].ne("reliability")].itertuples(index=False):
        names = [part.strip() for part in row.parameter.split("~~")]
        if len(names) == 2:
            sent.append((names[0], names[1], row.estimate, row.n, row.std_error))
    given = {row.parameter: float(row.estimate) for row in own[own["model"].eq("reliability")].itertuples(index=False)}
    found: list[dict[str, Any]] = []
    spread: list[float] = []
    ends: list[tuple[Variable, Variable]] = []
    for name1, name2, r, n, error in sent:
        first, second = (_published_variable(name, site, listed) for name in (name1, name2))
        if first is None or second is None or not comparison(first, second):
            continue
        keys = pair_keys(site, first, second, {}, window)
        if any(row["parameter"] == keys["parameter"] for row in found):
            continue
        fields, variance = published_fields(r, n, error, minimum)
        found.append(_flag_shared({**keys, **fields}))
        spread.append(variance)
        ends.append((min(first, second), max(first, second)))
    if not found:
        return Found(None, [], [], {"clients": 0})
    reliabilities = {one: _published_reliability(site, one, given) for pair in ends for one in pair}
    more, further = [], []
    corrected = np.full(len(found), np.nan)
    for position, (row, pair) in enumerate(zip(found, ends)):
        fields, variance = _corrected(row, spread[position], [reliabilities[one] for one in pair], pair)
        corrected[position] = fields.get("estimate", np.nan)
        more.append(_flag_shared(fields))
        further.append(variance)
        if row["comparison"] != RATERS:
            fields, variance = _published_htmt(site, row, pair, minimum)
            more.append(_flag_shared(fields))
            further.append(variance)
    pairs = _published_pairs(site, found, ends, corrected, listed)
    largest = max((row["n_clients"] for row in (*found, *more) if row["n_clients"] is not None), default=0)
    return Found(pairs, [*found, *more], [*spread, *further], {"clients": largest})


def _published_pairs(
    site: SiteData, rows: list[dict[str, Any]], ends: list[tuple[Variable, Variable]], corrected: np.ndarray, listed: Sequence[str]
) -> PublishedPairs:
    names = sorted({one for pair in ends for one in pair})
    matrix = np.eye(len(names)) + np.where(np.eye(len(names)) > 0, 0, np.nan)
    n: set[Any] = set()
    for row in published_correlations(site.published).itertuples(index=False):
        first, second = (_published_variable(name, site, listed) for name in (row.var1, row.var2))
        if first in names and second in names:
            i, j = names.index(first), names.index(second)
            matrix[i, j] = matrix[j, i] = row.r
            n.add(None if pd.isna(row.n) else int(row.n))
    place = np.array([[names.index(one) for one in pair] for pair in ends])
    r = np.array([row["estimate"] if row["status"] in WITH_NUMBERS else np.nan for row in rows], dtype=float)
    return PublishedPairs(rows, r, corrected, matrix, place, min(n) if n and None not in n else None)


def _published_items(site: SiteData, variables: Sequence[Variable]) -> tuple[np.ndarray, list[list[int]], float] | str:
    """Return the covariances of the items of some scales, the positions of each scale's items, and the number of clients."""
    names: list[list[str]] = []
    for one in variables:
        instrument = site.instruments.get(one.instrument)
        items = instrument.scale_items(one.scale) if one.scale in getattr(instrument, "composites", {}) else []
        if not items:
            return NEEDS_ITEMS
        ending = "" if one.rater == UNKNOWN else f".{one.rater}"
        names.append([f"{one.instrument}.i{item}{ending}" for item in items])
    every = list(dict.fromkeys(name for part in names for name in part))
    moments = site.published.moments
    for block, level in moments[["block", "level"]].drop_duplicates().itertuples(index=False):
        found = read_block(moments, block, level)
        if found is not None and set(every) <= set(found.names):
            chosen = found.of(every)
            n = np.nanmin(chosen.n) if np.isfinite(chosen.n).any() else np.nan
            if np.isfinite(chosen.covariance).all():
                return chosen.covariance, [[every.index(name) for name in part] for part in names], float(n)
    return NEEDS_ITEMS


def _published_reliability(site: SiteData, variable: Variable, given: Mapping[str, float]) -> float | str:
    ending = f"{variable.instrument}.{variable.scale}"
    sent = given.get(variable.name, given.get(ending) if variable.rater == UNKNOWN else None)
    if sent is not None:
        return sent if 0 < sent <= 1 else f"{variable.name}: the published reliability is not inside 0 and 1"
    found = _published_items(site, [variable])
    if isinstance(found, str):
        return "the reliability is not known: the site published neither it nor the items"
    solution = one_factor(found[0])
    return f"{variable.name}: {solution.problem}" if solution.problem != "" else float(solution.omega())


def _corrected(
    row: Mapping[str, Any], variance: float, reliabilities: Sequence[float | str], pair: tuple[Variable, Variable]
) -> tuple[dict[str, Any], float]:
    common = {**row, "parameter": f"{row['parameter']} ({DISATTENUATED})", "estimate_type": DISATTENUATED}
    common.pop("estimate", None)
    reasons = [one for one in reliabilities if isinstance(one, str)]
    if row["status"] not in WITH_NUMBERS or reasons:
        reason = row["reason"] if row["status"] not in WITH_NUMBERS else f"not estimable: {reasons[0]}"
        return {**common, "method": "none", "status": "not_estimable", "reason": reason}, np.nan
    estimate = float(disattenuated(row["estimate"], *reliabilities))
    notes = [BEYOND_ONE] if abs(estimate) >= 1 else []
    notes.append("standard error takes the reliabilities as known")
    return {**common, "estimate": estimate, "status": "flagged", "reason": "; ".join(notes)}, variance / (
        reliabilities[0] * reliabilities[1]
    )


def _published_htmt(site: SiteData, row: Mapping[str, Any], pair: tuple[Variable, Variable], minimum: int) -> tuple[dict[str, Any], float]:
    common = {**row, "parameter": f"{row['parameter']} ({HTMT})", "estimate_type": HTMT}
    common.pop("estimate", None)
    absent = {**common, "method": "none", "status": "not_estimable"}
    found = _published_items(site, pair)
    if isinstance(found, str):
        return {**absent, "reason": f"not estimable: {found}"}, np.nan
    covariance, places, n = found
    counted = {"n_clients": None if np.isnan(n) else int(n)}
    if not n >= minimum:
        return {
            **absent,
            **counted,
            "reason": f"not estimable: needs at least {minimum} clients; has {'' if np.isnan(n) else int(n)}",
        }, np.nan
    r = correlation_matrix(covariance)
    variance = normal_theory_variance(lambda stack: htmt_of_matrix(stack, *places), r, n)
    judged = Judged(float(htmt_of_matrix(r, *places)), variance, counted["n_clients"], None, "normal_theory", "")
    return {**common, **counted, **judged_fields(judged, HTMT)}, variance
