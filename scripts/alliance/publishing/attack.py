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
from alliance.publishing.wording import WITHHELD
from alliance.questions.contract import POOLED, WITH_NUMBERS, Table

ADDED_UP = ("counted", "pooled_counts", "pooled_sums")
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


def recoverable(tables: Mapping[str, pd.DataFrame], schemas: Mapping[str, Table], round_to: int = 1, within: float = 1.0) -> list[Exposed]:
    """Return the hidden counts of clients that published tables give away.

    Clients of the sites add up to those of the row over sites. Of shares, the clients in them add up over sites where all sites' clients
    were counted together, and to all clients of the row over the values of a key that splits them.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Published tables by ``question/table``.
    schemas : mapping of str to Table
        Their schemas.
    round_to : int
        To what counts are rounded; shares are then known to the second decimal.
    within : float
        See :func:`exposed`.
    """
    found = []
    for output in sorted(tables):
        frame = tables[output].reset_index(drop=True)
        if frame["status"].eq(WITHHELD).any() and columns.LEFT_OUT not in frame:
            found += _recovered(output, frame, schemas[output], round_to, within)
    return sorted(found)


def _recovered(output: str, frame: pd.DataFrame, schema: Table, round_to: int, within: float) -> list[Exposed]:
    keys = [*columns.over_sites(schema), "estimate_type", "claim"]
    split = columns.PARTITIONS.get((schema.question, schema.name))
    block = frame.groupby([key for key in keys if key != split], sort=False, dropna=False).ngroup()
    hidden = frame["status"].eq(WITHHELD)
    things = (schema.question, schema.name) in columns.OF_THINGS
    found = []
    for _, rows in frame[block.isin(block[hidden])].groupby(block):
        shares = not things and rows["estimate_type"].iloc[0] in columns.SHARES
        limits, sums = _clients(rows, split, round_to)
        if shares:
            more, further = _inside_shares(rows, split, limits, round_to)
            limits, sums = limits | more, sums + further
        wanted = [f"{'x' if shares else 'n'}{row}" for row in rows.index[rows["status"].eq(WITHHELD)]]
        try:
            given_away = exposed(limits, sums, wanted, within)
        except ValueError:
            # Not sums of each other after all: numbers of other clients, or joined by a model.
            continue
        found += [Exposed(output, int(cell[1:]), _words(frame.loc[int(cell[1:])], schema), low, high) for cell, low, high in given_away]
    return found


def _words(row: pd.Series, schema: Table) -> str:
    return ", ".join(str(row[key]) for key in (*schema.identifying, "site", "estimate_type") if row[key] not in ("", None))


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
