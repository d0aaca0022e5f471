"""How far criteria of ruptures agree, and which of two sees what the other sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.alliance_outcome.contrasts import result_fields
from alliance.questions.ruptures.criteria import CLIENTS, SESSIONS, Row, absent, ratio
from alliance.questions.ruptures.sample import Sample, Seen
from alliance.statistics.agreement import agreement

MEASURES = {"agreement": "share", "kappa": "kappa", "pabak": "pabak"}
DETECTED = "also seen"


@dataclass(frozen=True)
class Grid:
    """What a criterion sees, clients by sessions.

    Attributes
    ----------
    judged, ruptures : ndarray of bool, shape (clients, sessions)
        Sessions that could be judged, and those in which a rupture is first seen.
    """

    judged: np.ndarray
    ruptures: np.ndarray


def grid(one: Seen, clients: pd.Index, sessions: int) -> Grid:
    """Return what a criterion sees as arrays over all clients of a site and sessions 0 to the last."""
    judged, seen = (np.zeros((len(clients), sessions + 1), dtype=bool) for _ in range(2))
    row, column = clients.get_indexer(one.sessions["client"]), one.sessions["session"].to_numpy()
    judged[row, column] = True
    seen[row, column] = one.sessions["rupture"]
    return Grid(judged, seen)


def agreement_rows(found: Sample, options: Mapping[str, Any]) -> list[Row]:
    """Return agreement of every two criteria about clients and about sessions, and which ruptures of one the other sees too."""
    last = max((int(one.sessions["session"].max()) for one in found.criteria if len(one.sessions)), default=0)
    grids = {one.name: grid(one, found.clients, last) for one in found.criteria}
    rows: list[Row] = []
    for first, second in combinations(found.criteria, 2):
        rows += _pair(found, first, second, grids, options)
    return rows


def _identity(first: Seen, second: Seen, unit: str, statistic: str, kind: str) -> Row:
    return {
        "criterion": first.name,
        "compared_with": second.name,
        "unit": unit,
        "statistic": statistic,
        "same_rater": "yes" if first.rater == second.rater else "no",
        "estimate_type": kind,
    }


def _pair(found: Sample, first: Seen, second: Seen, grids: Mapping[str, Grid], options: Mapping[str, Any]) -> Iterator[Row]:
    minimum, near = options["pooling"]["min_clients"], options["questions"]["ruptures"]["match_within"]
    reason = " and ".join(sorted({one.reason for one in (first, second) if one.reason}))
    for unit in (CLIENTS, SESSIONS):
        identities = [_identity(first, second, unit, name, kind) for name, kind in MEASURES.items()]
        if reason:
            yield from (absent(identity, reason) for identity in identities)
            continue
        counts, sessions = both_judged(grids[first.name], grids[second.name], unit)
        used = counts.sum(axis=1) > 0
        counts, codes = counts[used], None if found.therapists is None else found.therapists[used]
        if len(counts) < minimum:
            lacks = f"needs at least {minimum} clients judged by both criteria; has {len(counts)}"
            yield from (absent(identity, lacks) for identity in identities)
            continue
        for identity, name in zip(identities, MEASURES):
            result = agreement(counts, codes, name, min_rows=minimum)
            fields = result_fields(result, codes is not None)
            if result.reason:
                fields["reason"] = f"not estimable: needs {unit} that differ by both criteria"
            yield {
                **identity,
                **fields,
                "n_sessions": sessions,
                "share_missing": 1 - len(counts) / len(found.clients),
                "estimate": result.estimate[0],
                "variance": result.vcov[0, 0],
            }
    for one, other in ((first, second), (second, first)):
        identity = _identity(one, other, "ruptures", DETECTED, "share")
        if reason:
            yield absent(identity, reason)
            continue
        sums = detected(grids[one.name], grids[other.name], near)
        used = sums[:, 1] > 0
        codes = None if found.therapists is None else found.therapists[used]
        needs = f"needs ruptures of at least two clients in sessions that both criteria judged; has those of {int(used.sum())}"
        row = ratio(sums[used], codes, needs)
        yield {**identity, **row, "n_sessions": int(sums[:, 1].sum()), "share_missing": 1 - used.mean()}


def both_judged(first: Grid, second: Grid, unit: str) -> tuple[np.ndarray, int]:
    """Return every client's counts of both, first only, second only, neither, over what both criteria judged, and their sessions.

    Parameters
    ----------
    first, second : Grid
    unit : str
        ``clients``: whether there is a rupture in any session that the criterion judged; ``sessions``: in the same session.
    """
    if unit == CLIENTS:
        judged = (first.judged.any(axis=1) & second.judged.any(axis=1))[:, None]
        one, two = (grid.ruptures.any(axis=1)[:, None] for grid in (first, second))
        sessions = int((first.judged & judged).sum())
    else:
        judged, one, two = first.judged & second.judged, first.ruptures, second.ruptures
        sessions = int(judged.sum())
    cells = (one & two, one & ~two, ~one & two, ~one & ~two)
    return np.stack([(cell & judged).sum(axis=1) for cell in cells], axis=1).astype(float), sessions


def detected(one: Grid, other: Grid, within: int) -> np.ndarray:
    """Return by client how many ruptures of one criterion the other sees too, and how many it could judge, shape (clients, 2).

    A rupture counts where the other judged a session at most ``within`` sessions away, and is seen where the other's begins there.
    """
    could, also = one.ruptures & _near(other.judged, within), one.ruptures & _near(other.ruptures, within)
    return np.stack([also.sum(axis=1), could.sum(axis=1)], axis=1).astype(float)


def _near(flags: np.ndarray, within: int) -> np.ndarray:
    """Return which sessions have a flag at most so many sessions away."""
    found = flags.copy()
    for step in range(1, min(within, flags.shape[1] - 1) + 1):
        found[:, step:] |= flags[:, :-step]
        found[:, :-step] |= flags[:, step:]
    return found
