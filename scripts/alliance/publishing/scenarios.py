"""The same number in several scenarios of one bundle: their difference tells of the clients in between."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alliance.publishing import columns
from alliance.publishing.profiles import Profile
from alliance.publishing.rows import Rows

COUNTS = ("_clients", "_therapists", "_inside", "_outside")


def exact(rows: Rows) -> pd.DataFrame:
    """Return what identifies the rows that are shown, with their exact counts; never to be published.

    Parameters
    ----------
    rows : Rows
        Judged.

    Returns
    -------
    DataFrame
        The columns that identify a row, ``_clients``, ``_therapists``, and of shares ``_inside`` and ``_outside``.
    """
    return _with_counts(rows)[rows.shown].reset_index(drop=True)


def from_others(rows: Rows, others: Sequence[pd.DataFrame], profile: Profile) -> None:
    """Hide numbers that rest on few clients or therapists more or less than the same number of another scenario.

    Of shares, the clients in between must be a share that would be shown itself. Numbers of equally many clients stay: a difference is
    then one of method.

    Parameters
    ----------
    rows : Rows
        A table, judged.
    others : sequence of DataFrame
        From :func:`exact`, one a scenario.
    profile : Profile
    """
    if not len(rows.frame):
        return
    mine = _with_counts(rows)
    keys = columns.identity(rows.schema)
    for other in others:
        there = mine[keys].merge(other.drop_duplicates(keys), how="left", on=keys)
        apart = {name: np.abs(mine[name].to_numpy(dtype=float) - there[name].to_numpy(dtype=float)) for name in COUNTS}
        between = np.fmin(apart["_clients"], np.fmin(apart["_inside"], apart["_outside"]))
        few = between < profile.min_clients - 0.5
        few |= (apart["_therapists"] > 0) & (apart["_therapists"] < profile.min_therapists)
        rows.hide((apart["_clients"] > 0) & few, "difference")


def _with_counts(rows: Rows) -> pd.DataFrame:
    inside, outside = rows.counted()
    counts = dict(zip(COUNTS, (rows.clients, rows.numbers("n_therapists"), inside, outside)))
    return rows.frame[columns.identity(rows.schema)].assign(**counts)
