"""Differences that tell of few clients: between scenarios, and from the last version that was published."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from alliance.publishing import columns
from alliance.publishing.decisions import Ledger
from alliance.publishing.profiles import Profile
from alliance.publishing.rows import Rows
from alliance.publishing.tables import withheld
from alliance.publishing.wording import WITHHELD
from alliance.questions.contract import POOLED, WITH_NUMBERS

BASE = "base"
HOW = ("method", "claim")
"""What tells rows apart that hold the same number of the same clients."""
SCENARIOS = ("sensitivity", "scenario_comparison")
LAST_SHOWN = "withheld: under {limit} clients came or left since it was last shown (of about {clients} clients)"
NEWLY = "withheld: it was hidden before, and too few clients came since"
_LAST_SHOWN = re.compile(r"since it was last shown \(of about (\d+) clients\)$")


def between_scenarios(tables: Sequence[Rows], profile: Profile) -> None:
    """Hide headline numbers of scenarios that leave out few of the clients of one before, or add few; and what rests on hidden ones."""
    for rows in tables:
        if rows.place != SCENARIOS or not len(rows.frame):
            continue
        base = rows.frame["scenario"].eq(BASE).to_numpy()
        headline = rows.frame["headline"]
        rows.hide(_near_another(rows, np.argsort(~base, kind="stable"), profile), "difference")
        gone = headline.isin(headline[base & rows.withheld])
        rows.frame.loc[gone, ["base_estimate", "change"]] = np.nan


def _near_another(rows: Rows, order: np.ndarray, profile: Profile) -> np.ndarray:
    """Return which rows have few clients or therapists more or less than one that stands before them in an order, and is shown."""
    headline, therapists = rows.frame["headline"].to_numpy(), rows.numbers("n_therapists")
    near = np.zeros(len(headline), dtype=bool)
    kept: dict[str, list[int]] = {}
    for place in order:
        if not rows.shown[place]:
            continue
        before = kept.setdefault(headline[place], [])
        clients, of_therapists = np.abs(rows.clients[before] - rows.clients[place]), np.abs(therapists[before] - therapists[place])
        few = (clients < profile.min_clients) | ((of_therapists > 0) & (of_therapists < profile.min_therapists))
        near[place] = bool(((clients > 0) & few).any())
        if not near[place]:
            before.append(place)
    return near


def from_last(
    rows: Rows, frame: pd.DataFrame, before: Mapping[str, pd.DataFrame], profile: Profile, same_data: bool, ledger: Ledger
) -> pd.DataFrame:
    """Return a table without the rows whose difference from the last published version tells of few clients.

    A row whose numbers changed is shown where at least as many clients came or left as a number must rest on, of a share also as many in it
    and in its rest; counts of the last version are known as rounded as they were published. The number of another method counts as the
    same where there was none of this one. A row that was hidden then had fewer clients than the limit, so as many more are asked
    for. What is hidden says how many clients it had when it was last shown, so that the next version compares with that.

    Parameters
    ----------
    rows : Rows
        The table before publishing, with exact counts.
    frame : DataFrame
        The table as it would be published.
    before : mapping of str to DataFrame
        Last published tables by ``question/table``.
    profile : Profile
    same_data : bool
        Whether both versions rest on the same data. Then only rows count on whose clients the configuration decides otherwise.
    ledger : Ledger
    """
    last = before.get(rows.output)
    if last is None or not len(last) or not len(frame):
        return frame
    keys = [key for key in columns.identity(rows.schema) if key in last]
    old = _last_of(frame, last, keys)
    of_another = _last_of(frame, last, [key for key in keys if key not in HOW])
    old = old.where(old["status"].notna(), of_another)
    matched = old["status"].notna().to_numpy()
    shown = frame["status"].isin(WITH_NUMBERS).to_numpy()
    exact = _exact(rows, frame)
    counts = {name: pd.to_numeric(old[name], errors="coerce") for name in ("n_clients", "n_therapists")}
    n_old = columns.people(old.assign(**counts), rows.place).to_numpy(dtype=float)
    memory = old["reason"].astype(str).str.extract(_LAST_SHOWN)[0].to_numpy(dtype=float)
    held = matched & ~np.isnan(memory)
    n_old = np.where(held, memory, n_old)
    changed = held | (matched & _numbers_differ(frame, old, rows))
    was_hidden = matched & old["status"].eq(WITHHELD).to_numpy() & ~held
    inside_old = pd.to_numeric(old["estimate"], errors="coerce").to_numpy(dtype=float) * _base_of_shares(rows, old, n_old)
    moved = np.abs(exact["clients"] - n_old)
    for name, count in (("inside", inside_old), ("outside", _base_of_shares(rows, old, n_old) - inside_old)):
        moved = np.fmin(moved, np.where(held, np.nan, np.abs(exact[name] - count)))
    enough = moved >= profile.min_clients + profile.round_counts_to // 2
    if same_data:
        enough |= np.abs(_rounded(exact["clients"], profile) - n_old) == 0
    few = shown & matched & ~was_hidden & changed & ~enough & ~np.isnan(n_old)
    size = np.fmin(exact["clients"], np.fmin(exact["inside"], exact["outside"]))
    newly = (
        shown
        & was_hidden
        & (not same_data)
        & ~((size >= 2 * profile.min_clients - 1) & (exact["therapists"] >= 2 * profile.min_therapists - 1))
    )
    why = pd.Series(NEWLY, index=frame.index, dtype=object)
    why[few] = [LAST_SHOWN.format(limit=profile.min_clients, clients=f"{count:g}") for count in n_old[few]]
    for site in frame.loc[few | newly, "site"]:
        ledger.add(rows.output, "" if site == POOLED else site, "difference")
    return withheld(frame, rows, few | newly, why)


def _last_of(frame: pd.DataFrame, last: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return for each row the first row of another table that agrees in some columns; empty where none does."""
    known = _keyed(last, keys)
    known = known[~known["_key"].duplicated()].set_index("_key")
    return known.reindex(_keyed(frame, keys)["_key"]).reset_index(drop=True)


def _base_of_shares(rows: Rows, old: pd.DataFrame, clients: np.ndarray) -> np.ndarray:
    """Return of how many people or events the shares of the last version are shares."""
    if rows.place != ("interventions", "transitions"):
        return clients
    return np.fmin(clients, pd.to_numeric(old["n_events"], errors="coerce").to_numpy(dtype=float))


def _rounded(counts: np.ndarray, profile: Profile) -> np.ndarray:
    return (counts + profile.round_counts_to // 2) // profile.round_counts_to * profile.round_counts_to


def _keyed(frame: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return rows with what identifies them as one text, the same for a table in memory and one read from a file."""
    parts = []
    for key in keys:
        numbers = pd.to_numeric(frame[key], errors="coerce").astype("float64") if key in ("session", "specification") else None
        text = frame[key].astype(object).where(frame[key].notna(), "").astype(str)
        # A file that people open has a quote before text that a spreadsheet would run.
        text = text.str.replace(r"^'(?=[=+\-@\t\r])", "", regex=True)
        parts.append(text if numbers is None else numbers.map(lambda value: "" if value != value else f"{value:g}"))
    return frame.assign(_key=list(zip(*parts)) if parts else [()] * len(frame))


def _exact(rows: Rows, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the exact counts behind the rows of the published table."""
    keys = columns.identity(rows.schema)
    inside, outside = rows.counted()
    own = _keyed(rows.frame, keys).assign(_clients=rows.clients, _therapists=rows.therapists, _inside=inside, _outside=outside)
    own = own[~own["_key"].duplicated()].set_index("_key")
    there = own.reindex(_keyed(frame, keys)["_key"])
    return {name: there[f"_{name}"].to_numpy(dtype=float) for name in ("clients", "therapists", "inside", "outside")}


def _numbers_differ(frame: pd.DataFrame, old: pd.DataFrame, rows: Rows) -> np.ndarray:
    differ = np.zeros(len(frame), dtype=bool)
    for name, kind in rows.kinds.items():
        if kind == columns.SAFE or name not in old:
            continue
        mine = frame[name].to_numpy(dtype=float, na_value=np.nan)
        theirs = pd.to_numeric(old[name], errors="coerce").to_numpy(dtype=float)
        differ |= ~(np.isclose(mine, theirs, rtol=1e-9, atol=1e-12) | (np.isnan(mine) & np.isnan(theirs)))
    return differ
