"""The rows of one result table on their way through disclosure control: what they rest on, and by which rule they are hidden."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from alliance.publishing import columns
from alliance.publishing.profiles import Profile
from alliance.publishing.sites import Shown
from alliance.questions.contract import NUMBER, POOLED, TEXT, WITH_NUMBERS, Table, table_types

ROUNDING = 1e-9
T = TypeVar("T")


@dataclass
class Rows:
    """One table with what disclosure control knows of its rows.

    Parameters
    ----------
    schema : Table
    frame : DataFrame
        Rows numbered from 0.
    kinds : dict of str to str
        What each number column tells of people.
    owner : ndarray of str, shape (rows,)
        Site whose numbers a row holds; empty: several sites together.
    active : ndarray of bool, shape (rows,)
        Rows that came with numbers.
    clients, therapists : ndarray of float, shape (rows,)
        Clients behind a row (nan: not known; where therapists are described, these), and at least so many therapists.
    caseload : ndarray of float, shape (rows,)
        At most so many clients of one therapist are behind a row, from the caseloads of its sites; nan: not known.
    rule : ndarray of object, shape (rows,)
        Rule by which a row is hidden; empty: it is shown.
    known : ndarray of bool, shape (rows,)
        Rows whose counts another scenario of the bundle shows.
    """

    schema: Table
    frame: pd.DataFrame
    kinds: dict[str, str]
    owner: np.ndarray
    active: np.ndarray
    clients: np.ndarray
    therapists: np.ndarray
    caseload: np.ndarray
    rule: np.ndarray = field(init=False)
    known: np.ndarray = field(init=False)
    made: dict[Any, Any] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.rule = np.full(len(self.frame), "", dtype=object)
        self.known = np.zeros(len(self.frame), dtype=bool)

    @property
    def output(self) -> str:
        """Name of the table in decisions."""
        return f"{self.schema.question}/{self.schema.name}"

    @property
    def place(self) -> tuple[str, str]:
        """Question and name of the table."""
        return self.schema.question, self.schema.name

    @property
    def shown(self) -> np.ndarray:
        """Rows with numbers that no rule hides so far."""
        return self.active & (self.rule == "")

    @property
    def withheld(self) -> np.ndarray:
        """Rows with numbers that a rule hides."""
        return self.active & (self.rule != "")

    def hide(self, chosen: np.ndarray, rule: str) -> int:
        """Hide rows that are shown so far, and return how many."""
        new = self.shown & chosen
        self.rule[new] = rule
        return int(new.sum())

    @property
    def largest(self) -> np.ndarray:
        """At most so many clients of one therapist are behind each row: those of a caseload, less one for each further therapist."""
        further = np.where(np.isfinite(self.therapists), np.fmax(self.therapists - 1, 0), 0)
        return np.where(np.isnan(self.caseload), np.nan, np.fmin(self.caseload, self.clients - further))

    def fewest(self, profile: Profile) -> np.ndarray:
        """Return how many clients any cell inside a row needs, so that they are not few, and that no therapist can have most of them."""
        return np.fmax(profile.min_clients, np.ceil(np.nan_to_num(self.largest) / profile.max_therapist_share - ROUNDING))

    def numbers(self, name: str) -> np.ndarray:
        """Return a column as numbers, nan where unknown; all unknown where the table has no such column."""
        if name not in self.frame:
            return np.full(len(self.frame), np.nan)
        return self.frame[name].to_numpy(dtype=float, na_value=np.nan)

    def groups(self, names: list[str]) -> np.ndarray:
        """Return for each row the number of its group of rows that agree in some columns (``owner`` is the site behind a row)."""
        frame = self.frame.assign(owner=self.owner)[names] if "owner" in names else self.frame[names]
        if not names:
            return np.zeros(len(self.frame), dtype=int)
        return frame.groupby(names, sort=False, dropna=False).ngroup().to_numpy()

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what rests on the columns of the table and on no rule, made the first time that it is asked for."""
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def shares(self) -> np.ndarray:
        """Return which rows are shares of clients."""
        if self.place in columns.OF_THINGS:
            return np.zeros(len(self.frame), dtype=bool)
        return self.frame["estimate_type"].isin(columns.SHARES).to_numpy()

    def counted(self) -> tuple[np.ndarray, np.ndarray]:
        """Return for shares of clients how many these are, and how many are left; nan in other rows."""
        base = np.fmin(self.clients, self.numbers("n_events")) if self.place == ("interventions", "transitions") else self.clients
        inside = np.where(self.shares(), self.numbers("estimate") * base, np.nan)
        return inside, base - inside


def hashed(frame: pd.DataFrame, names: Sequence[str]) -> pd.Series:
    """Return a number for each row that is equal for rows that agree in some columns, also of another table."""
    texts = {name: frame[name].astype(object).where(frame[name].notna(), "") for name in names}
    return pd.util.hash_pandas_object(pd.DataFrame(texts, index=frame.index), index=False)


def in_order(frame: pd.DataFrame, schema: Table) -> pd.DataFrame:
    """Return a table with the types and in the order of its schema, so that the order of what came does not matter.

    Tables over scenarios and specifications keep their rows as they come: their order says which scenario is which.
    """
    types = table_types(schema)
    typed = frame.astype({name: "float64" if kind == NUMBER else "Int64" for name, kind in types.items() if kind != TEXT})[
        list(schema.columns)
    ]
    if schema.question == "sensitivity":
        return typed.reset_index(drop=True)
    keys = [*schema.identifying, "estimate_type", "claim", "_pooled", "site", "method"]
    ordered = typed.assign(_pooled=typed["site"].eq(POOLED)).sort_values(keys, kind="stable")
    return ordered.drop(columns="_pooled").reset_index(drop=True)


def rows_of(frame: pd.DataFrame, schema: Table, shown: Shown) -> Rows:
    """Return a table's rows with what they rest on.

    Where a row of a site does not tell its therapists, at least as many are behind it as the site has, less the clients that the row
    lacks (each therapist who is lacking has at least one). Behind a row over sites stands at least one therapist a site.

    Parameters
    ----------
    frame : DataFrame
    schema : Table
    shown : Shown

    Raises
    ------
    DisclosureError
        Where a number column is not declared.
    """
    kinds = columns.kinds(schema)
    frame = in_order(frame, schema)
    owner = frame["site"].where(frame["site"].ne(POOLED), "").to_numpy(dtype=object)
    if "groups" in frame:
        of_one = frame["groups"].isin([*shown.alone, *shown.hidden]) & frame["site"].eq(POOLED)
        owner = np.where(of_one, frame["groups"], owner)
    clients = columns.people(frame, (schema.question, schema.name)).to_numpy(dtype=float, na_value=np.nan)
    known = frame["n_therapists"].to_numpy(dtype=float, na_value=np.nan)
    n_sites = frame["n_sites"].to_numpy(dtype=float, na_value=np.nan)
    of_site = pd.Series(owner)
    at_site = of_site.map(shown.therapists).to_numpy(dtype=float)
    lacking = of_site.map(shown.clients).to_numpy(dtype=float) - clients
    of_all = sum(shown.therapists.values()) - (sum(shown.clients.values()) - clients)
    least = np.where(owner == "", np.fmax(n_sites, of_all), at_site - np.fmax(lacking, 0))
    therapists = np.where(np.isnan(known), np.fmax(np.nan_to_num(least, nan=0.0), 0), known)
    # Clients whose therapist is not known count as one therapist each in some tables; a site has no more than it has.
    therapists = np.where((owner != "") & (at_site > 0), np.fmin(therapists, at_site), therapists)
    therapists = np.where(of_site.isin(shown.published), np.inf, therapists)
    caseload = np.where(owner == "", _largest_anywhere(shown), of_site.map(shown.caseloads).to_numpy(dtype=float))
    caseload = np.where(of_site.isin(shown.published), np.nan, caseload)
    active = frame["status"].isin(WITH_NUMBERS).to_numpy()
    return Rows(schema, frame, kinds, owner, active, clients, therapists, caseload)


def _largest_anywhere(shown: Shown) -> float:
    """Return at most how many clients one therapist of any site has, of the sites that tell."""
    known = [caseload for site, caseload in shown.caseloads.items() if site not in shown.published and not np.isnan(caseload)]
    return float(max(known, default=np.nan))


def learn_therapists(tables: Sequence[Rows]) -> None:
    """Fill in the therapists behind rows that do not tell them, where others do.

    A row over sites has those of the sites' rows, where these are of as many sites and clients. Other tables tell of the same model, site
    and clients.

    Parameters
    ----------
    tables : sequence of Rows
        All tables of one question.
    """
    for rows in tables:
        rows.therapists = np.fmax(rows.therapists, _summed_over_sites(rows))
    keys = ["model", "owner", "clients"]
    having = [rows for rows in tables if "model" in rows.schema.identifying]
    if not having:
        return
    parts = [
        pd.DataFrame({"model": rows.frame["model"], "owner": rows.owner, "clients": rows.clients, "known": rows.numbers("n_therapists")})
        for rows in having
    ]
    told = pd.concat(parts).dropna().groupby(keys, sort=False)["known"].min()
    for rows, part in zip(having, parts):
        found = part[keys].join(told, on=keys)["known"].to_numpy(dtype=float)
        unknown = part["known"].isna().to_numpy() & ~np.isnan(found)
        rows.therapists = np.where(unknown, np.fmax(rows.therapists, found), rows.therapists)


def _summed_over_sites(rows: Rows) -> np.ndarray:
    """Return for rows over sites the therapists of the sites' rows that they are made from; nan where these are not all known."""
    unknown = (rows.owner == "") & np.isnan(rows.numbers("n_therapists"))
    if not unknown.any():
        return np.full(len(rows.frame), np.nan)
    group = rows.groups([*columns.over_sites(rows.schema), "estimate_type"])
    counts = {"clients": rows.clients, "therapists": rows.numbers("n_therapists")}
    sites = pd.DataFrame({"group": group, "owner": rows.owner, **counts})[rows.active & (rows.owner != "")]
    together = sites.groupby("group").agg(
        sites=("owner", "nunique"),
        rows=("owner", "size"),
        clients=("clients", "sum"),
        therapists=("therapists", lambda n: n.sum(skipna=False)),
    )
    found = together.reindex(group)
    alike = found["sites"].eq(found["rows"]) & found["sites"].eq(rows.numbers("n_sites")) & found["clients"].eq(rows.clients)
    return np.where(unknown & alike.to_numpy(), found["therapists"].to_numpy(dtype=float), np.nan)


def judge(rows: Rows, shown: Shown, profile: Profile) -> None:
    """Hide the rows that break a limit by themselves."""
    over_specifications = rows.place in columns.OVER_SPECIFICATIONS
    things = rows.place in columns.OF_THINGS and not over_specifications
    of_things = rows.frame["estimate_type"].isin(columns.SHARES).to_numpy() & things
    rows.hide(np.isin(rows.owner.astype(str), shown.hidden), "site")
    if columns.LEFT_OUT in rows.frame:
        rows.hide(rows.frame[columns.LEFT_OUT].isin(shown.hidden).to_numpy(), "site")
    if not over_specifications:
        rows.hide(~(rows.clients >= profile.min_clients) & ~(of_things & np.isnan(rows.clients)), "clients")
        rows.hide((rows.therapists < profile.min_therapists) & ~of_things, "therapists")
        rows.hide((rows.largest > profile.max_therapist_share * rows.clients + ROUNDING) & ~of_things, "dominance")
        rows.hide(rows.clients - _coefficients(rows) < profile.min_df, "df")
    rows.hide(rows.numbers("n_at_risk") < profile.min_clients, "clients")
    alone = (rows.owner == "") & (rows.numbers("n_sites") == 1) & (columns.LEFT_OUT not in rows.frame)
    rows.hide(alone & (rows.clients < profile.min_site_clients), "site")
    inside, outside = rows.counted()
    rows.hide(~_many(inside, outside, profile.min_clients) & rows.shares(), "clients")
    rows.hide(~_many(inside, outside, rows.fewest(profile)) & rows.shares(), "dominance")
    _judge_functions_of_shares(rows, profile)


def _many(inside: np.ndarray, outside: np.ndarray, fewest: np.ndarray | int) -> np.ndarray:
    # Pooled shares are no counts; half a client is their rounding.
    return (np.fmin(inside, outside) >= fewest - 0.5) & ~np.isnan(inside)


def _judge_functions_of_shares(rows: Rows, profile: Profile) -> None:
    """Hide odds, agreements and differences that would give away a share that is hidden."""
    types = rows.frame["estimate_type"]
    follow = types.isin(columns.FROM_SHARES).to_numpy()
    if not follow.any() or rows.place in columns.OF_THINGS:
        return
    estimate = rows.numbers("estimate")
    share = np.select(
        [types.eq("pabak").to_numpy(), types.eq("transition_odds").to_numpy()], [(estimate + 1) / 2, estimate / (1 + estimate)], np.nan
    )
    events = rows.numbers("n_events")
    base = np.fmin(rows.clients, events) if rows.place == ("interventions", "transitions") else rows.clients
    for fewest, rule in ((profile.min_clients, "clients"), (rows.fewest(profile), "dominance")):
        rows.hide(follow & ~np.isnan(share) & ~_many(share * base, (1 - share) * base, fewest), rule)
        rows.hide(types.eq("observed_to_expected").to_numpy() & ~(events >= fewest), rule)
    beside = [key for key in rows.schema.identifying if key not in (*columns.VARIANTS, "compared_with")]
    group = rows.groups([*beside, "owner"])
    hidden = np.isin(group, group[rows.withheld & (rows.shares() | follow) & np.isin(rows.rule.astype(str), ("clients", "dominance"))])
    rows.hide(follow & hidden, "complement")


def _coefficients(rows: Rows) -> np.ndarray:
    """Return at least how many coefficients the model behind a row has."""
    least = rows.frame["estimate_type"].map(columns.COEFFICIENTS).fillna(0).to_numpy(dtype=float)
    parts = [key for key in columns.PARTS_OF_A_MODEL if key in rows.schema.keys]
    if not parts:
        return least
    model = rows.groups([key for key in rows.schema.identifying if key not in parts] + ["owner", "site", "estimate_type", "method"])
    part = rows.groups(parts)
    counted = pd.Series(part[rows.active]).groupby(model[rows.active]).nunique()
    return np.fmax(least, pd.Series(model).map(counted).fillna(0).to_numpy(dtype=float))
