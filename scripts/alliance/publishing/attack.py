"""The attacker: what can be worked out of hidden counts from everything that is published."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import linprog

from alliance.publishing import columns
from alliance.publishing.rows import hashed
from alliance.publishing.wording import WITHHELD
from alliance.questions.contract import POOLED, WITH_NUMBERS, Table

ADDED_UP = ("counted", "described", "pooled_counts", "pooled_sums")
"""Methods by which a pooled share is the share of all clients together."""
MARGIN = 1e-6
LARGE = 1e6
"""More clients than any study has."""


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
    found = {}
    for cells, equations in _joined(sums):
        secret = [name for name in hidden if name in cells]
        for name, (low, high) in _narrow(cells, equations, limits, secret, within).items():
            found[name] = low, high
    return [(name, *found[name]) for name in hidden if name in found]


def _joined(sums: Sequence[Sum]) -> list[tuple[dict[str, int], list[Sum]]]:
    """Return the cells that sums join, numbered, with these sums."""
    of_cell: dict[str, int] = {}
    groups: dict[int, list[Sum]] = {}
    for number, one in enumerate(one for one in sums if one.parts):
        met = {of_cell[name] for name in (one.total, *one.parts) if name in of_cell}
        groups[number] = [sum_ for at in sorted(met) for sum_ in groups.pop(at)] + [one]
        of_cell |= {name: number for sum_ in groups[number] for name in (sum_.total, *sum_.parts)}
    return [
        ({name: place for place, name in enumerate(dict.fromkeys(n for one in group for n in (one.total, *one.parts)))}, group)
        for group in groups.values()
    ]


def _narrow(
    cells: Mapping[str, int], sums: Sequence[Sum], limits: Mapping[str, tuple[float, float]], secret: Sequence[str], within: float
) -> dict[str, tuple[float, float]]:
    """Return the bounds of the secret cells that joined sums leave within less than a width."""
    if not secret:
        return {}
    matrix = np.zeros((len(sums), len(cells)))
    for row, one in enumerate(sums):
        np.add.at(matrix[row], [cells[one.total], *(cells[name] for name in one.parts)], [-1.0, *([1.0] * len(one.parts))])
    known = np.array([limits[name] for name in cells], dtype=float)
    places = np.array([cells[name] for name in secret])
    # Counts that are possible together show of many cells at once that they are not told.
    least, most = _possible(matrix, known, places)
    found = {}
    for name, place in zip(secret, places.tolist()):
        if most[place] - least[place] >= within:
            continue
        low, high, points = _bounds(matrix, known, place)
        for point in points:
            least, most = np.fmin(least, point), np.fmax(most, point)
        if high - low < within - MARGIN:
            found[name] = low, high
    return found


def _possible(matrix: np.ndarray, limits: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest of two counts of each cell that are possible with all others."""
    least, most = np.full(len(limits), np.inf), np.full(len(limits), -np.inf)
    if len(matrix) == 1 or len(places) == 1:
        return least, most
    capped = np.column_stack([limits[:, 0], np.fmin(limits[:, 1], np.fmax(limits[:, 0], LARGE))])
    for sign in (1.0, -1.0):
        cost = np.zeros(len(limits))
        cost[places] = sign
        solved = linprog(cost, A_eq=matrix, b_eq=np.zeros(len(matrix)), bounds=capped, method="highs")
        if solved.success:
            least, most = np.fmin(least, solved.x), np.fmax(most, solved.x)
    return least, most


def _bounds(matrix: np.ndarray, limits: np.ndarray, target: int) -> tuple[float, float, list[np.ndarray]]:
    """Return the bounds of a cell, and the counts of all cells with which it has them."""
    if len(matrix) == 1:
        return *_one_sum(matrix[0], limits, target), []
    cost = np.zeros(matrix.shape[1])
    ends, points = [], []
    for sign in (1.0, -1.0):
        cost[target] = sign
        solved = linprog(cost, A_eq=matrix, b_eq=np.zeros(len(matrix)), bounds=limits, method="highs")
        if solved.status == 3:
            ends.append(-sign * np.inf)
        elif not solved.success:
            raise ValueError(f"the published counts contradict each other ({solved.message})")
        else:
            ends.append(float(solved.x[target]))
            points.append(solved.x)
    return ends[0], ends[1], points


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
    places : dict
        Where its cells stand (:func:`_places`), made when the table is first attacked: each further scenario is attacked beside it.
    """

    frame: pd.DataFrame
    clients: np.ndarray
    inside: np.ndarray
    places: dict[str, pd.DataFrame] = field(init=False, default_factory=dict, repr=False, compare=False)


def recoverable(
    tables: Mapping[str, pd.DataFrame | Told],
    schemas: Mapping[str, Table],
    round_to: int = 1,
    within: float = 1.0,
    beside: Sequence[Mapping[str, Told]] = (),
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
            found += _recovered(output, told, schemas[output], round_to, within)
    return sorted(found)


def _of_people(frame: pd.DataFrame, schema: Table) -> pd.DataFrame:
    """Return a table whose numbers of clients are those of the people that its rows tell of."""
    return frame.assign(n_clients=columns.people(frame, (schema.question, schema.name)))


def _each_by_itself(frame: pd.DataFrame) -> Told:
    unknown = np.full(len(frame), np.nan)
    return Told(frame, unknown, unknown)


def _recovered(output: str, parts: Sequence[Told], schema: Table, round_to: int, within: float) -> list[Exposed]:
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
    told = tells.to_numpy()
    for rows in _blocks(frame, block, split):
        shares = not things and rows[0].estimate_type in columns.SHARES
        wanted = [f"{'x' if shares else 'n'}{row.place}" for row in rows if row.status == WITHHELD]
        try:
            limits, sums, names = _of_all_scenarios(rows, told, same, split, shares, round_to)
            shown = {names[f"{cell[0]}{row.place}"] for cell in wanted[:1] for row in rows if row.status in WITH_NUMBERS}
            secret = dict.fromkeys(names[cell] for cell in wanted if names[cell] not in shown)
            given_away = exposed(limits, sums, list(secret), within)
        except ValueError:
            # Not sums of each other after all: numbers of other clients, or joined by a model.
            continue
        own = [row.place for row in rows if row.part == 0]
        for cell, low, high in given_away:
            row = next((int(one[1:]) for one in wanted if names[one] == cell and int(one[1:]) in own), int(own[0]))
            found.append(Exposed(output, row, _words(frame.loc[row], schema), low, high))
    return found


class _Row(NamedTuple):
    """A row in the eyes of the attacker; ``place`` is its number among the rows of all scenarios, ``part`` that of its scenario."""

    place: int
    part: int
    site: str
    status: str
    method: str
    estimate_type: str
    clients: float
    sites: float
    estimate: float
    split: Any


def _blocks(frame: pd.DataFrame, block: pd.Series, split: str | None) -> list[list[_Row]]:
    """Return the rows of each block in their order."""
    numbers = [frame[name].to_numpy(dtype=float, na_value=np.nan).tolist() for name in ("n_clients", "n_sites", "estimate")]
    texts = [frame[name].tolist() for name in ("site", "status", "method", "estimate_type")]
    parts = frame[split].tolist() if split else [None] * len(frame)
    rows = [_Row(*row) for row in zip(frame.index.tolist(), frame["_part"].tolist(), *texts, *numbers, parts)]
    blocks: dict[int, list[_Row]] = {}
    for number, row in zip(block.tolist(), rows):
        blocks.setdefault(number, []).append(row)
    return [blocks[number] for number in sorted(blocks)]


def _grouped(rows: Sequence[_Row], key: Callable[[_Row], Any]) -> list[list[_Row]]:
    """Return rows that agree in a key, in the order in which keys come; rows without one are in no group."""
    groups: dict[Any, list[_Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return [group for one, group in groups.items() if not (pd.api.types.is_scalar(one) and pd.isna(one))]


def _places(told: Told, schema: Table, split: str | None) -> pd.DataFrame:
    """Return for each row numbers of its block and of its cell, equal in all scenarios, with its counts and whether it is shown."""
    frame, keys = told.frame, [*columns.over_sites(schema), "estimate_type", "claim"]
    output = f"{schema.question}/{schema.name}"
    if output in told.places:
        return told.places[output]
    told.places[output] = pd.DataFrame(
        {
            "block": hashed(frame, [key for key in keys if key != split]),
            "cell": hashed(frame, [*keys, "site"]),
            "clients": told.clients,
            "inside": told.inside,
            "hidden": frame["status"].eq(WITHHELD).to_numpy(),
            "shown": frame["status"].isin(WITH_NUMBERS).to_numpy(),
        }
    )
    return told.places[output]


def _same_cells(at: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Return for each row the first row of the same number that rests on the same count; rows whose count is not known are their own."""
    known = at["clients"].notna().to_numpy()
    codes = at.groupby(list(names), sort=False, dropna=False).ngroup()
    first = pd.Series(at.index).groupby(codes).transform("first").to_numpy()
    return np.where(known, first, at.index)


def _of_all_scenarios(
    rows: Sequence[_Row], tells: np.ndarray, same: Mapping[str, np.ndarray], split: str | None, shares: bool, round_to: int
) -> tuple[dict[str, tuple[float, float]], list[Sum], dict[str, str]]:
    """Return what is known of the cells of a block and which add up to which, over all scenarios; and the cell of every row."""
    names: dict[str, str] = {}
    limits: dict[str, tuple[float, float]] = {}
    sums: dict[Sum, None] = {}
    for kind, first in same.items():
        names |= {f"{kind}{row.place}": f"{kind}{first[row.place]}" for row in rows}
    parts = {tells[row.place]: row.part for row in reversed(rows)}
    for part in _grouped([row for row in rows if row.part in set(parts.values())], lambda row: row.part):
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
    return ", ".join(str(row[key]) for key in (*schema.identifying, "site", "estimate_type") if row[key] not in ("", None))


def _rounding(count: float, to: int) -> tuple[float, float]:
    return max(0.0, count - to // 2), count + to - 1 - to // 2


def _clients(rows: Sequence[_Row], split: str | None, round_to: int) -> tuple[dict[str, tuple[float, float]], list[Sum]]:
    """Return what is known of the clients of each row, and which add up to which."""
    limits = {f"n{row.place}": (0.0, np.inf) if np.isnan(row.clients) else _rounding(row.clients, round_to) for row in rows}
    if split:
        # All parts of one row have the same clients: what one of them tells, all do.
        for together in _grouped(rows, lambda row: (row.site, row.method)):
            known = [limits[f"n{row.place}"] for row in together]
            same = max(low for low, _ in known), min(high for _, high in known)
            limits |= {f"n{row.place}": same for row in together}
    sums = [
        Sum(f"n{total}", tuple(f"n{row}" for row in parts) + other)
        for total, parts, other in _added_up(rows, split, limits)
        if parts or other
    ]
    return limits, sums


def _added_up(
    rows: Sequence[_Row], split: str | None, limits: dict[str, tuple[float, float]]
) -> Iterator[tuple[int, list[int], tuple[str, ...]]]:
    """Yield each pooled row with the rows of sites that it is the sum of, and what stands for sites that have no row."""
    counted = [row for row in rows if row.status in WITH_NUMBERS or row.status == WITHHELD]
    for alike in _grouped(counted, lambda row: row.split) if split else [counted]:
        sites = [row for row in alike if row.site != POOLED]
        names = {row.site for row in sites}
        for row in alike:
            if row.site != POOLED or np.isnan(row.sites) or row.sites < len(names) or len(names) < len(sites):
                continue
            other: tuple[str, ...] = ()
            if row.sites > len(sites):
                other = (f"o{row.place}",)
                limits[other[0]] = (0.0, np.inf)
            yield row.place, [one.place for one in sites], other


def _inside_shares(
    rows: Sequence[_Row], split: str | None, limits: dict[str, tuple[float, float]], round_to: int
) -> tuple[dict[str, tuple[float, float]], list[Sum]]:
    """Return what is known of the clients in each share, and which add up to which."""
    half = 0.005 if round_to > 1 else 0.0
    inside: dict[str, tuple[float, float]] = {}
    for row in rows:
        low, high = limits[f"n{row.place}"]
        if np.isnan(row.estimate):
            inside[f"x{row.place}"] = (0.0, high)
        else:
            least, most = np.ceil((row.estimate - half) * low - MARGIN), np.floor((row.estimate + half) * high + MARGIN)
            inside[f"x{row.place}"] = (max(0.0, least), most)
    counted = [row for row in rows if row.status == WITHHELD or row.method in ADDED_UP]
    sums = [
        Sum(f"x{total}", tuple(f"x{row}" for row in parts) + tuple(f"p{one}" for one in other))
        for total, parts, other in _added_up(counted, split, inside)
    ]
    inside |= {f"p{one}": (0.0, np.inf) for one in list(inside) if one.startswith("o")}
    if split:
        with_numbers = [row for row in rows if row.status in WITH_NUMBERS or row.status == WITHHELD]
        for together in _grouped(with_numbers, lambda row: (row.site, row.method)):
            sums.append(Sum(f"n{together[0].place}", tuple(f"x{row.place}" for row in together)))
    return inside, sums
