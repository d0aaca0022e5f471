"""The same number in several rows of a scenario: where one of them is hidden so that another cannot be worked out, all are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alliance.publishing.rows import Rows, hashed

OF_FEW = ("clients", "complement")
DIGITS = 10


def tie(tables: Sequence[Rows]) -> set[str]:
    """Hide the rows that hold the number of a hidden one; what is known of one row is known of all.

    A measure stands in a table by its own name and as the preferred one, a share beside two kinds of noise, the mean of a single
    correlation beside that correlation: rows of a site that agree in clients, estimate and standard error are one number to who reads both.
    Shares without a standard error are not judged: that so many of as many clients did two different things is no rare event.

    Parameters
    ----------
    tables : sequence of Rows
        All tables of a scenario, judged.

    Returns
    -------
    set of str
        Tables in which rows were hidden.
    """
    if not tables:
        return set()
    at = pd.concat([_numbers(rows).assign(table=place) for place, rows in enumerate(tables)], ignore_index=True)
    number = at.groupby("number")
    known = number["known"].transform("any").to_numpy(dtype=bool)
    chosen = number["hidden"].transform("any").to_numpy(dtype=bool) & ~known
    touched = set()
    for place, rows in enumerate(tables):
        own = at["table"].eq(place).to_numpy()
        rows.known[at.loc[own & known, "row"].to_numpy(dtype=int)] = True
        mask = np.zeros(len(rows.frame), dtype=bool)
        mask[at.loc[own & chosen, "row"].to_numpy(dtype=int)] = True
        if rows.hide(mask, "complement"):
            touched.add(rows.output)
    return touched


def _numbers(rows: Rows) -> pd.DataFrame:
    """Return the rows that hold a number that is told from others by its size, with a hash of it."""
    values = pd.DataFrame(
        {
            "owner": rows.owner.astype(str),
            "clients": rows.clients,
            "estimate": np.round(rows.numbers("estimate"), DIGITS) + 0.0,
            "std_error": np.round(rows.numbers("std_error"), DIGITS) + 0.0,
        }
    )
    told = rows.active & ~values[["clients", "estimate"]].isna().any(axis=1).to_numpy()
    told &= ~(rows.shares() & values["std_error"].isna().to_numpy())
    return pd.DataFrame(
        {
            "row": np.arange(len(values)),
            "number": hashed(values, list(values)),
            "known": rows.known,
            "hidden": rows.withheld & np.isin(rows.rule.astype(str), OF_FEW),
        }
    )[told]
