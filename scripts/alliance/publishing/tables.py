"""Result tables as they are published: hidden rows without numbers, small counts empty, counts and numbers rounded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.publishing import columns, complement, curves, left_out, over_hidden, personal, same_numbers, scenarios, wording
from alliance.publishing.counts import coarse
from alliance.publishing.decisions import DisclosureError, Ledger
from alliance.publishing.profiles import Profile
from alliance.publishing.rows import Rows, in_order, judge, learn_therapists, rows_of
from alliance.publishing.sites import Shown
from alliance.questions import contract
from alliance.questions.contract import TEXT, Table, table_types

UNPLACED = ("clients", "therapists", "dominance", "complement")
"""Rules of which decisions tell no site: which of two hidden numbers is the small one would narrow it down."""
NAMES_SITES = ("reason", "groups", "group", "changes", "choices", "reason_for_scenario", columns.LEFT_OUT)
"""Text that may name sites; a site's id may be a word that other keys use for something else."""
PROGRAM = ("site", "scenario", "status", "method", "scale", "estimate_type", "claim")
"""Text that the program or the configuration chooses from a list."""


def judged(
    tables: Mapping[str, Mapping[str, pd.DataFrame]],
    schema: Callable[[str, str], Table],
    shown: Shown,
    profile: Profile,
    beside: Sequence[Mapping[str, pd.DataFrame]] = (),
) -> list[Rows]:
    """Return all tables with the rule by which each row is hidden.

    Parameters
    ----------
    tables : mapping
        Tables by question and name.
    schema : callable
        Returns a table's schema by question and name.
    shown : Shown
    profile : Profile
    beside : sequence of mapping
        What other scenarios of the bundle show, by ``question/table`` (:func:`alliance.publishing.scenarios.exact`).

    Raises
    ------
    DisclosureError
        Where a number column of a table is not declared.
    """
    made = [rows_of(frame, schema(question, name), shown) for question in tables for name, frame in tables[question].items()]
    for question in tables:
        learn_therapists([rows for rows in made if rows.schema.question == question])
    for rows in made:
        judge(rows, shown, profile)
        curves.thin(rows, profile)
        scenarios.from_others(rows, [other[rows.output] for other in beside if rows.output in other], profile)
    families = _families(made)
    same_numbers.tie(made)
    touched = {rows.output for rows in made}
    while touched:
        for family in families:
            if touched & {rows.output for rows in family}:
                complement.protect(family, profile)
        touched = same_numbers.tie(made)
        for question in tables:
            complement.kappas([rows for rows in made if rows.schema.question == question])
    for family in families:
        told = [[other[one.output] for one in family if one.output in other] for other in beside]
        scenarios.from_other_sites(family, [parts for parts in told if parts], profile)
    over_hidden.learn(families, profile)
    for question in tables:
        left_out.protect([rows for rows in made if rows.schema.question == question], profile)
    return made


def _families(made: Sequence[Rows]) -> list[list[Rows]]:
    """Return the tables whose rows of sites and over sites belong together; most stand alone."""
    by_place = {rows.place: rows for rows in made}
    families = []
    for rows in made:
        sites = columns.FAMILIES.get(rows.place)
        if rows.place not in columns.FAMILIES.values() or not {*columns.FAMILIES} & {*by_place}:
            families.append([rows, by_place[sites]] if sites in by_place else [rows])
    return families


def published(rows: Rows, shown: Shown, profile: Profile, rename: Callable[[str], str], ledger: Ledger) -> pd.DataFrame:
    """Return a table as it may be published.

    Parameters
    ----------
    rows : Rows
        Judged.
    shown : Shown
    profile : Profile
    rename : callable
        Puts other names in place of hidden sites.
    ledger : Ledger
        Takes what is hidden.

    Raises
    ------
    DisclosureError
        Where text holds personal details.
    """
    frame = _without_part_counts(rows, profile, ledger)
    frame = _without_base_counts(rows, frame, profile, ledger)
    frame = over_hidden.told(frame, rows, profile)
    hidden = rows.withheld
    frame = withheld(frame, rows, hidden, pd.Series([_why(rule, profile) if rule else "" for rule in rows.rule], index=frame.index))
    frame["reason"] = frame["reason"].where(hidden, _reasons(frame))
    gone = _gone(rows, shown)
    for rule, site in zip(rows.rule[hidden & ~gone], rows.owner[hidden & ~gone]):
        ledger.add(rows.output, "" if rule in UNPLACED else site, rule)
    ledger.add(rows.output, "", "site", int(gone.sum()))
    if profile.round_counts_to > 1 and len(frame):
        ledger.add(rows.output, "", "rounding", int((~gone & ~hidden).sum()))
    frame = coarse(frame, rows.kinds, profile)[~gone].reset_index(drop=True)
    return in_order(_clean_text(frame, rows, rename, ledger), rows.schema)


def withheld(frame: pd.DataFrame, rows: Rows, chosen: np.ndarray, why: pd.Series) -> pd.DataFrame:
    """Return a table in which some rows have no numbers, and a reason instead.

    Parameters
    ----------
    frame : DataFrame
        Rows of the table that ``rows`` judged.
    rows : Rows
    chosen : ndarray of bool
        Rows to hide.
    why : Series of str
        Reasons.
    """
    if not chosen.any():
        return frame
    hidden = pd.Series(chosen, index=frame.index)
    numbers = [name for name, kind in rows.kinds.items() if kind != columns.SAFE or name in contract.NUMBERS_OF_ESTIMATE]
    words = {name: frame[name].mask(hidden, "") for name in columns.VERDICTS if name in frame}
    return frame.assign(
        **{name: frame[name].mask(hidden) for name in numbers},
        **words,
        status=frame["status"].mask(hidden, wording.WITHHELD),
        reason=frame["reason"].mask(hidden, why),
    )


def without_neighbours(rows: Rows, frame: pd.DataFrame, exposed: Sequence[int], profile: Profile, ledger: Ledger) -> pd.DataFrame:
    """Return a table without the numbers that stand beside some of its hidden rows: of the same key at other sites and over them.

    Parameters
    ----------
    rows : Rows
        The table before publishing.
    frame : DataFrame
        The table as it would be published.
    exposed : sequence of int
        Rows whose number of clients could be worked out.
    profile : Profile
    ledger : Ledger
    """
    split = columns.PARTITIONS.get(rows.place)
    keys = [*(key for key in columns.over_sites(rows.schema) if key != split), "estimate_type", "claim"]
    block = frame.groupby(keys, sort=False, dropna=False).ngroup()
    chosen = (block.isin(block.iloc[list(exposed)]) & frame["status"].isin(contract.WITH_NUMBERS)).to_numpy()
    ledger.add(rows.output, "", "complement", int(chosen.sum()))
    return withheld(frame, rows, chosen, pd.Series(_why("complement", profile), index=frame.index))


def _reasons(frame: pd.DataFrame) -> pd.Series:
    """Return the reasons of rows without counts of people."""
    said = {reason: wording.without_counts(reason) for reason in frame["reason"].unique()}
    return frame["reason"].map(said)


def _why(rule: str, profile: Profile) -> str:
    """Return in words why a row is hidden; the same words for a number of few clients and one beside it."""
    few = f"under {profile.min_clients} clients"
    of_few = f"withheld: {few}, a share that tells of {few}, or a number by which such a one could be worked out"
    words = {
        "clients": of_few,
        "therapists": f"withheld: under {profile.min_therapists} therapists, or not known how many",
        "dominance": f"withheld: one therapist may have over {profile.max_therapist_share:.0%} of the clients, or of a side of a share",
        "df": f"withheld: under {profile.min_df} residual degrees of freedom",
        "site": f"withheld: one site of under {profile.min_site_clients} clients",
        "complement": of_few,
        "difference": f"withheld: its difference from a number beside it would tell of under {profile.min_clients} clients",
    }
    return words[rule]


def _without_part_counts(rows: Rows, profile: Profile, ledger: Ledger) -> pd.DataFrame:
    """Return a table without counts of few people, and what follows from them: events, people at risk, people who lack something."""
    frame = rows.frame.copy()
    hidden = np.zeros(len(frame), dtype=bool)
    for name, kind in rows.kinds.items():
        values = rows.numbers(name)
        if kind == columns.PART:
            small = values < rows.fewest(profile)
            if rows.schema.question == "dropout" and name == "n_events":
                small |= rows.clients - values < rows.fewest(profile)
            if not curves.counts_told(rows, profile):
                small = np.ones(len(values), dtype=bool)
            small = _protected_cells(rows, small & ~np.isnan(values), values, profile)
            hidden |= small
        elif kind == columns.LACKING:
            with np.errstate(divide="ignore", invalid="ignore"):
                lack = rows.clients / (1 - values) - rows.clients
            small = ~np.isnan(values) & (values != 0) & ~(lack >= profile.min_clients - 0.5)
        else:
            continue
        frame[name] = frame[name].mask(small)
        for site in rows.owner[small & rows.shown]:
            ledger.add(rows.output, site, "count")
    following = [name for name, kind in rows.kinds.items() if kind == columns.OF_COUNT]
    return frame.assign(**{name: frame[name].mask(hidden) for name in following})


def _protected_cells(rows: Rows, small: np.ndarray, values: np.ndarray, profile: Profile) -> np.ndarray:
    """Return hidden counts with those of pooled rows from which a hidden one of a single site could be worked out."""
    group = rows.groups([*columns.over_sites(rows.schema), "estimate_type", "claim"])
    sites = rows.owner != ""
    hidden = sites & ~np.isnan(values) & (small | ~rows.shown)
    lacking = pd.DataFrame({"group": group[hidden], "value": values[hidden]}).groupby("group")["value"].agg(["size", "sum"])
    unsafe = lacking.index[lacking["size"].eq(1) | lacking["sum"].lt(profile.min_clients)]
    return small | (~sites & ~np.isnan(values) & np.isin(group, unsafe))


def _without_base_counts(rows: Rows, frame: pd.DataFrame, profile: Profile, ledger: Ledger) -> pd.DataFrame:
    """Return a table in which rows that came without numbers do not tell small counts either, nor the shares that follow from them."""
    silent = ~rows.active
    few = silent & ~(rows.clients >= profile.min_clients)
    # What is lacking of a site's clients tells how many are there.
    of_clients = [name for name, kind in rows.kinds.items() if kind == columns.LACKING]
    for name in ("n_clients", "n_therapists", "n_sessions", *of_clients):
        few_here = few | (silent & (name == "n_therapists") & (rows.numbers(name) < profile.min_therapists))
        hidden = few_here & frame[name].notna().to_numpy()
        frame[name] = frame[name].mask(pd.Series(hidden, index=frame.index))
        for site in rows.owner[hidden]:
            ledger.add(rows.output, site, "count")
    return frame


def _clean_text(frame: pd.DataFrame, rows: Rows, rename: Callable[[str], str], ledger: Ledger) -> pd.DataFrame:
    """Return a table whose text names no hidden site and holds no personal details."""
    hits = []
    for name, kind in table_types(rows.schema).items():
        if kind != TEXT or name in PROGRAM:
            continue
        named = rename if name in NAMES_SITES else str
        said = {value: personal.generalised(named(str(value))) for value in frame[name].unique()}
        kinds = sorted({kind for value in said.values() for kind in personal.found_in_table(value)})
        hits += [f"{rows.output}, column {name}, holds {kind}: change the name where the value comes from" for kind in kinds]
        changed = [value for value, instead in said.items() if instead != value]
        if changed:
            ledger.add(rows.output, "", "site" if name in NAMES_SITES else "personal", len(changed))
            frame[name] = frame[name].map(said).astype(frame[name].dtype)
    if hits:
        raise DisclosureError(hits)
    return frame


def counts_of(rows: Rows, frame: pd.DataFrame, shown: Shown) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact counts behind the rows of a published table: clients, and those in a share; nan where not known.

    Parameters
    ----------
    rows : Rows
        The table before publishing.
    frame : DataFrame
        From :func:`published`.
    shown : Shown
    """
    kept = ~_gone(rows, shown)
    keys = columns.identity(rows.schema)
    there = rows.frame.loc[kept, keys].reset_index(drop=True)
    # Rows stand in the order in which they came, except where a name was replaced; then they are other cells to an attacker.
    alike = (there.astype(object).fillna("") == frame[keys].astype(object).fillna("")).all(axis=1).to_numpy()
    inside, _ = rows.counted()
    return np.where(alike, rows.clients[kept], np.nan), np.where(alike, inside[kept], np.nan)


def _gone(rows: Rows, shown: Shown) -> np.ndarray:
    """Return which rows are of hidden sites, or leave one out."""
    gone = np.isin(rows.owner.astype(str), shown.hidden)
    return gone | rows.frame[columns.LEFT_OUT].isin(shown.hidden).to_numpy() if columns.LEFT_OUT in rows.frame else gone


def by_name(tables: Sequence[Rows], frames: Sequence[pd.DataFrame]) -> dict[str, dict[str, pd.DataFrame]]:
    """Return tables by question and name, in the order in which they were judged."""
    made: dict[str, dict[str, Any]] = {}
    for rows, frame in zip(tables, frames):
        made.setdefault(rows.schema.question, {})[rows.schema.name] = frame
    return made
