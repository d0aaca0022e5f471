"""Which constructs of the alliance the instruments are meant to measure: the content matrix, and which scales are parallel.

The map stands in the instrument files (``content`` of an instrument, ``measures`` of a scale), each entry with its source and
certainty; a study overrides it in instrument files of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from alliance.instruments.registry import TOTAL, Instrument


@dataclass(frozen=True)
class Construct:
    """A construct that alliance instruments share (Horvath & Luborsky, 1993, lines 433-443).

    Parameters
    ----------
    label : str
        What the review calls it.
    core : bool
        Whether the review names it as common to all instruments.
    """

    label: str
    core: bool = False


SHARED_CONSTRUCTS = {
    "attachment": Construct("personal attachments", core=True),
    "collaboration": Construct("collaboration or willingness to invest in the therapy process", core=True),
    "client_contribution": Construct("clients' positive or negative contributions"),
    "therapist_contribution": Construct("therapists' positive or negative contributions"),
    "goals": Construct("shared or agreed goals"),
    "capacity": Construct("capacity to form a relationship"),
    "tasks": Construct("acceptance or endorsement of therapy tasks"),
    "participation": Construct("active participation in therapy"),
}
"""The review counts the contributions of therapists and clients as one construct; they are two here, since a scale of the one is not
parallel to a scale of the other. Instrument files may name further constructs."""

YES, NO, UNKNOWN = "yes", "no", "unknown"
MATRIX_COLUMNS = ("construct", "label", "core", "instrument", "scale", "certainty", "source")


def parallel(first: Instrument | None, scale1: str, second: Instrument | None, scale2: str) -> str:
    """Return whether two scales are meant to measure the same: ``yes``, ``no`` or ``unknown``.

    Totals of alliance instruments are: the alliance as a whole. Other scales are where their facets are equal or they share a
    construct, are not where the constructs of both are known and differ, and it is unknown where those of one are not known. A total
    and a part of an instrument are not compared.
    """
    if (scale1 == TOTAL) != (scale2 == TOTAL):
        return NO
    declared = [one.composites.get(scale) if _mapped(one) else None for one, scale in ((first, scale1), (second, scale2))]
    if scale1 == TOTAL:
        same = all(one is not None and getattr(one, "construct", "") == "alliance" for one in (first, second))
        return YES if same else UNKNOWN
    if any(one is None for one in declared):
        return UNKNOWN
    if declared[0].facet is not None and declared[0].facet == declared[1].facet:
        return YES
    measured = [set(one.measures) for one in declared]
    if not all(measured):
        return UNKNOWN
    return YES if measured[0] & measured[1] else NO


def content_matrix(instruments: Mapping[str, Any]) -> pd.DataFrame:
    """Return which instrument and which of its scales measure which construct, one row each (claim A10).

    Returns
    -------
    DataFrame
        ``construct, label, core, instrument, scale, certainty, source``; ``scale`` is empty where the instrument as a whole is said to
        monitor the construct. Shared constructs come first in the order of :data:`SHARED_CONSTRUCTS`, others after them by name.
    """
    rows = []
    for key in sorted(instruments):
        instrument = instruments[key]
        if not _mapped(instrument):
            continue
        stated = [("", instrument.content), *((name, scale.measures) for name, scale in instrument.composites.items())]
        for scale, measures in stated:
            for construct, content in measures.items():
                known = SHARED_CONSTRUCTS.get(construct)
                label, core = (known.label, known.core) if known else (construct.replace("_", " "), False)
                rows.append((construct, label, core, key, scale, content.certainty, content.source))
    order = {name: position for position, name in enumerate(SHARED_CONSTRUCTS)}
    rows.sort(key=lambda row: (order.get(row[0], len(order)), row[0], row[3]))
    return pd.DataFrame(rows, columns=list(MATRIX_COLUMNS))


def _mapped(instrument: Any) -> bool:
    return hasattr(instrument, "composites")
