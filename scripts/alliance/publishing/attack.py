"""The attacker: what can be worked out of hidden counts from everything that is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import linprog
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from alliance.publishing import columns
from alliance.publishing.rows import hashed
from alliance.publishing.wording import WITHHELD
from alliance.questions.contract import POOLED, WITH_NUMBERS, Table

ADDED_UP = ("counted", "described", "pooled_counts", "pooled_sums")
"""Methods by which a pooled share is the share of all clients together."""
MARGIN = 1e-6


@dataclass(frozen=True, order=True)
class Exposed:
    """A hidden count that can be worked out.

    Parameters
    ----------
    output : str
        Table, ``question/table``.
    row : int
        Row of the table.
    cell : str
        What it is, in words.
    low, high : float
        Between which values it must lie.
    """

    output: str
    row: int
    cell: str
    low: float
    high: float


@dataclass(frozen=True)
class Sum:
    """A cell that is the sum of others; both are known between limits only.

    Parameters
    ----------
    total : str
    parts : tuple of str
    """

    total: str
    parts: tuple[str, ...]


def exposed(
    limits: Mapping[str, tuple[float, float]], sums: Sequence[Sum], hidden: Sequence[str], within: float = 1.0
) -> list[tuple[str, float, float]]:
    """Return the hidden cells that the sums leave within less than a given width.

    Parameters
    ----------
    limits : mapping of str to (float, float)
        What is known of every cell by itself: a published count within its rounding, a hidden one at least 0.
    sums : sequence of Sum
        Which cells add up to which.
    hidden : sequence of str
        Cells that are not published.
    within : float
        Narrower bounds than this give a cell away; below 1: exactly.

    Returns
    -------
    list of (str, float, float)
        Cells that are given away, with their bounds.

    Raises
    ------
    ValueError
        Where the limits contradict the sums.

    Notes
    -----
    Each cell's least and largest value are linear programs over the cells that any sum joins to it (HiGHS), as in the auditing of
    suppressed tables (Fischetti & Salazar, 2001).
    """
    names = list(limits)
    place = {name: number for number, name in enumerate(names)}
    used = [one for one in sums if one.parts]
    rows = [number for number, one in enumerate(used) for _ in (one.total, *one.parts)]
    cells = [place[name] for one in used for name in (one.total, *one.parts)]
    signs = [sign for one in used for sign in (-1.0, *([1.0] * len(one.parts)))]
    matrix = coo_matrix((signs, (rows, cells)), shape=(len(used), len(names))).tocsr()
    _, component = connected_components(matrix.T @ matrix if len(used) else coo_matrix((len(names), len(names))), directed=False)
    row_component = {number: component[place[one.total]] for number, one in enumerate(used)}
    members: dict[int, list[int]] = {}
    for number in range(len(names)):
        members.setdefault(int(component[number]), []).append(number)
    equations: dict[int, list[int]] = {}
    for number, at in row_component.items():
        equations.setdefault(int(at), []).append(number)
    found = []
    for name in hidden:
        at = int(component[place[name]])
        if at not in equations:
            continue
        low, high = _bounds(
            matrix[equations[at]][:, members[at]], [limits[names[one]] for one in members[at]], members[at].index(place[name])
        )
        if high - low < within - MARGIN:
            found.append((name, low, high))
    return found


def _bounds(matrix: csr_matrix, limits: Sequence[tuple[float, float]], target: int) -> tuple[float, float]:
    if matrix.shape[0] == 1:
        return _one_sum(matrix.toarray()[0], np.array(limits, dtype=float), target)
    cost = np.zeros(matrix.shape[1])
    ends = []
    for sign in (1.0, -1.0):
        cost[target] = sign
        solved = linprog(cost, A_eq=matrix, b_eq=np.zeros(matrix.shape[0]), bounds=list(limits), method="highs")
        if solved.status == 3:
            ends.append(-sign * np.inf)
        elif not solved.success:
            raise ValueError(f"the published counts contradict each other ({solved.message})")
        else:
            ends.append(float(solved.x[target]))
    return ends[0], ends[1]


def _one_sum(signs: np.ndarray, limits: np.ndarray, target: int) -> tuple[float, float]:
    """Return the bounds of a cell in one equation, without a program."""
    others = np.arange(len(signs)) != target
    low = np.where(signs > 0, limits[:, 0], -limits[:, 1])[others].sum()
    high = np.where(signs > 0, limits[:, 1], -limits[:, 0])[others].sum()
    ends = (-high, -low) if signs[target] > 0 else (low, high)
    low, high = max(limits[target, 0], ends[0]), min(limits[target, 1], ends[1])
    if low > high + MARGIN:
        raise ValueError("the published counts contradict each other")
    return low, high


@dataclass(frozen=True)
class Told:
    """A published table with the exact counts behind its rows, which say which cells of two scenarios are the same.

    Parameters
    ----------
    frame : DataFrame
        The table.
    clients, inside : ndarray of float, shape (rows,)
        Clients behind each row, and of shares how many are counted; nan: not known.
    """

    frame: pd.DataFrame
    clients: np.ndarray
    inside: np.ndarray


def recoverable(
    tables: Mapping[str, pd.DataFrame | Told],
    schemas: Mapping[str, Table],
    round_to: int = 1,
    within: float = 1.0,
    beside: Sequence[Mapping[str, Told]] = (),
    few: float = np.inf,
) -> list[Exposed]:
    """Return the hidden counts of clients that published tables give away.

    Clients of the sites add up to those of the row over sites. Of shares, the clients in them add up over sites where all sites' clients
    were counted together, and to all clients of the row over the values of a key that splits them. Where the same number of several
    scenarios rests on the same count, the attacker is taken to know that it does, so that what one of them shows and what adds up in any
    of them is used for all.

    Parameters
    ----------
    tables : mapping of str to DataFrame or Told
        Published tables by ``question/table``.
    schemas : mapping of str to Table
        Their schemas.
    round_to : int
        To what counts are rounded; shares are then known to the second decimal.
    within : float
        See :func:`exposed`.
    beside : sequence of mapping
        The same tables of other scenarios, which give nothing away by themselves.
    few : float
        Hidden counts over sites that are not below this are no secret.

    Returns
    -------
    list of Exposed
        Rows of ``tables``; where a cell of another scenario is given away, a row that stands beside it.
    """
    found = []
    for output in sorted(tables):
        parts = [tables[output], *(other[output] for other in beside if output in other)]
        told = [one if isinstance(one, Told) else _each_by_itself(one) for one in parts]
        if columns.LEFT_OUT not in told[0].frame and any(one.frame["status"].eq(WITHHELD).any() for one in told):
            found += _recovered(output, told, schemas[output], round_to, within, few)
    return sorted(found)


def _of_people(frame: pd.DataFrame, schema: Table) -> pd.DataFrame:
    """Return a table whose numbers of clients are those of the people that its rows tell of."""
    return frame.assign(n_clients=columns.people(frame, (schema.question, schema.name)))


def _each_by_itself(frame: pd.DataFrame) -> Told:
    unknown = np.full(len(frame), np.nan)
    return Told(frame, unknown, unknown)


def _recovered(output: str, parts: Sequence[Told], schema: Table, round_to: int, within: float, few: float) -> list[Exposed]:
    split = columns.PARTITIONS.get((schema.question, schema.name))
    at = pd.concat([_places(one, schema, split).assign(part=place) for place, one in enumerate(parts)], ignore_index=True)
    hidden = at["hidden"]
    same = {"n": _same_cells(at, ["cell", "clients"]), "x": _same_cells(at, ["cell", "clients", "inside"])}
    state = pd.util.hash_pandas_object(pd.DataFrame({**same, "hidden": hidden, "shown": at["shown"]}), index=False)
    # What a block of a scenario tells; blocks that tell the same are one.
    tells = state.groupby([at["block"], at["part"]]).transform("sum")
    new = at.loc[at["part"].eq(0) & ~tells.isin(tells[at["part"].gt(0)]), "block"]
    chosen = at["block"].isin(at.loc[hidden, "block"]) & at["block"].isin(new)
    if not chosen.any():
        return []
    used = [*dict.fromkeys([*columns.over_sites(schema), *schema.identifying, "site", "estimate_type", "method"])]
    used += ["status", "n_clients", "n_sites", "estimate"]
    frame = pd.concat(
        [_of_people(one.frame, schema)[used][chosen[at["part"].eq(place)].to_numpy()] for place, one in enumerate(parts)], ignore_index=True
    )
    frame = frame.set_index(at.index[chosen]).assign(_part=at["part"])
    block = at.loc[chosen, "block"]
    things = (schema.question, schema.name) in columns.OF_THINGS
    found = []
    for _, rows in frame.groupby(block):
        shares = not things and rows["estimate_type"].iloc[0] in columns.SHARES
        wanted = [f"{'x' if shares else 'n'}{row}" for row in rows.index[rows["status"].eq(WITHHELD)]]
        try:
            limits, sums, names = _of_all_scenarios(rows, tells, same, split, shares, round_to)
            shown = {names[f"{cell[0]}{row}"] for cell in wanted[:1] for row in rows.index[rows["status"].isin(WITH_NUMBERS)]}
            secret = dict.fromkeys(names[cell] for cell in wanted if names[cell] not in shown)
            given_away = exposed(limits, sums, list(secret), within)
        except ValueError:
            # Not sums of each other after all: numbers of other clients, or joined by a model.
            continue
        own = rows.index[rows["_part"].eq(0)]
        over_sites = {names[one] for one in wanted if not shares and rows.loc[int(one[1:]), "site"] == POOLED}
        for cell, low, high in given_away:
            # A count over sites is hidden with its number; by itself it is a secret where it is small.
            if cell in over_sites and low >= few - MARGIN:
                continue
            row = next((int(one[1:]) for one in wanted if names[one] == cell and int(one[1:]) in own), int(own[0]))
            found.append(Exposed(output, row, _words(frame.loc[row], schema), low, high))
    return found


def _places(told: Told, schema: Table, split: str | None) -> pd.DataFrame:
    """Return for each row numbers of its block and of its cell, equal in all scenarios, with its counts and whether it is shown."""
    frame, keys = told.frame, [*columns.over_sites(schema), "estimate_type", "claim"]
    return pd.DataFrame(
        {
            "block": hashed(frame, [key for key in keys if key != split]),
            "cell": hashed(frame, [*keys, "site"]),
            "clients": told.clients,
            "inside": told.inside,
            "hidden": frame["status"].eq(WITHHELD).to_numpy(),
            "shown": frame["status"].isin(WITH_NUMBERS).to_numpy(),
        }
    )


def _same_cells(at: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Return for each row the first row of the same number that rests on the same count; rows whose count is not known are their own."""
    known = at["clients"].notna().to_numpy()
    codes = at.groupby(list(names), sort=False, dropna=False).ngroup()
    first = pd.Series(at.index).groupby(codes).transform("first").to_numpy()
    return np.where(known, first, at.index)


def _of_all_scenarios(
    rows: pd.DataFrame, tells: pd.Series, same: Mapping[str, np.ndarray], split: str | None, shares: bool, round_to: int
) -> tuple[dict[str, tuple[float, float]], list[Sum], dict[str, str]]:
    """Return what is known of the cells of a block and which add up to which, over all scenarios; and the cell of every row."""
    names: dict[str, str] = {}
    limits: dict[str, tuple[float, float]] = {}
    sums: dict[Sum, None] = {}
    for kind, first in same.items():
        names |= {f"{kind}{row}": f"{kind}{first[row]}" for row in rows.index}
    parts = rows["_part"].groupby(tells[rows.index], sort=False).first()
    for _, part in rows[rows["_part"].isin(parts)].groupby("_part"):
        own, added_up = _clients(part, split, round_to)
        if shares:
            more, further = _inside_shares(part, split, own, round_to)
            own, added_up = own | more, added_up + further
        for cell, (low, high) in own.items():
            known = limits.get(names.get(cell, cell), (0.0, np.inf))
            limits[names.get(cell, cell)] = (max(low, known[0]), min(high, known[1]))
        sums |= {Sum(names[one.total], tuple(names.get(cell, cell) for cell in one.parts)): None for one in added_up}
    if any(low > high for low, high in limits.values()):
        raise ValueError("the published counts contradict each other")
    return limits, list(sums), names


def _words(row: pd.Series, schema: Table) -> str:
    said = (row[key] for key in (*schema.identifying, "site", "estimate_type"))
    return ", ".join(str(value) for value in said if not pd.isna(value) and value != "")


def _rounding(count: float, to: int) -> tuple[float, float]:
    return max(0.0, count - to // 2), count + to - 1 - to // 2


def _clients(rows: pd.DataFrame, split: str | None, round_to: int) -> tuple[dict[str, tuple[float, float]], list[Sum]]:
    """Return what is known of the clients of each row, and which add up to which."""
    limits: dict[str, tuple[float, float]] = {}
    for row, count in rows["n_clients"].items():
        limits[f"n{row}"] = (0.0, np.inf) if pd.isna(count) else _rounding(float(count), round_to)
    if split:
        # All parts of one row have the same clients: what one of them tells, all do.
        for _, together in rows.groupby(["site", "method"], sort=False):
            known = [limits[f"n{row}"] for row in together.index]
            same = max(low for low, _ in known), min(high for _, high in known)
            limits |= {f"n{row}": same for row in together.index}
    sums = [
        Sum(f"n{total}", tuple(f"n{row}" for row in parts) + other)
        for total, parts, other in _added_up(rows, split, limits)
        if parts or other
    ]
    return limits, sums


def _added_up(rows: pd.DataFrame, split: str | None, limits: dict[str, tuple[float, float]]):
    """Yield each pooled row with the rows of sites that it is the sum of, and what stands for sites that have no row."""
    with_numbers = rows["status"].isin((*WITH_NUMBERS, WITHHELD))
    for _, alike in rows[with_numbers].groupby(split, sort=False) if split else ((None, rows[with_numbers]),):
        sites = alike[alike["site"].ne(POOLED)]
        for total, n_sites in alike.loc[alike["site"].eq(POOLED), "n_sites"].items():
            if pd.isna(n_sites) or n_sites < sites["site"].nunique() or sites["site"].duplicated().any():
                continue
            other: tuple[str, ...] = ()
            if n_sites > len(sites):
                other = (f"o{total}",)
                limits[other[0]] = (0.0, np.inf)
            yield total, list(sites.index), other


def _inside_shares(
    rows: pd.DataFrame, split: str | None, limits: dict[str, tuple[float, float]], round_to: int
) -> tuple[dict[str, tuple[float, float]], list[Sum]]:
    """Return what is known of the clients in each share, and which add up to which."""
    half = 0.005 if round_to > 1 else 0.0
    inside: dict[str, tuple[float, float]] = {}
    for row, share in rows["estimate"].items():
        low, high = limits[f"n{row}"]
        if pd.isna(share):
            inside[f"x{row}"] = (0.0, high)
        else:
            inside[f"x{row}"] = (max(0.0, np.ceil((share - half) * low - MARGIN)), np.floor((share + half) * high + MARGIN))
    counted = rows["status"].eq(WITHHELD) | rows["method"].isin(ADDED_UP)
    sums = [
        Sum(f"x{total}", tuple(f"x{row}" for row in parts) + tuple(f"p{one}" for one in other))
        for total, parts, other in _added_up(rows[counted], split, inside)
    ]
    inside |= {f"p{one}": (0.0, np.inf) for one in list(inside) if one.startswith("o")}
    if split:
        for _, together in rows[rows["status"].isin((*WITH_NUMBERS, WITHHELD))].groupby(["site", "method"], sort=False):
            whole = together.index[0]
            sums.append(Sum(f"n{whole}", tuple(f"x{row}" for row in together.index)))
    return inside, sums
