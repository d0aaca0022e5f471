"""Scores of all sites, one row a client and occasion, one column a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.portable.names import legal_names
from alliance.portable.tables import Column, PortableTable
from alliance.questions.site_data import SCORE_COLUMNS, SiteData
from alliance.variables.client import TIMEPOINT_ORDER

MEASURE = ["instrument", "scale", "rater"]
_ROW = ["site_no", "client_no", "time", "session_no", "occasion"]
_COLUMNS = [*MEASURE, "client_no", "therapist_no", "timepoint", "session", "date", "score", "score_mean", "unit", "derived_from"]


def site_columns(names: Sequence[str], numbers: np.ndarray) -> list[Column]:
    """Return the columns that name the site of every row, as text and as number.

    Parameters
    ----------
    names : sequence of str
        Ids of the study's sites, in order.
    numbers : ndarray of int
        1-based place of each row's site among them.
    """
    text = np.array(names, dtype=object)[numbers - 1] if len(numbers) else np.array([], dtype=object)
    codes = dict(enumerate(names, start=1))
    return [
        Column(("site",), "Site", text),
        Column(("site_no",), "Number of the site", numbers.astype(float), codes=codes, whole=True),
    ]


def session_table(sites: Sequence[SiteData], names: Sequence[str], ranges: Mapping[tuple[str, ...], tuple[float, float]]) -> PortableTable:
    """Return all scores of all sites.

    Parameters
    ----------
    sites : sequence of SiteData
        Those that share rows.
    names : sequence of str
        Ids of all sites of the study, which number them.
    ranges : mapping
        Lowest and highest possible score by instrument, scale and rater, in the unit of the scores.

    Returns
    -------
    PortableTable
        Rows by site, client, timepoint, session and occasion (1; 2 and more where a measure was given again at one timepoint without
        session number). Dates are left out; ``days`` counts from the client's first dated rating. A score that sites have in different
        units is the mean of its items everywhere.
    """
    scores = _all_scores(sites, names)
    row, keys = _rows(scores)
    measures = scores[MEASURE].drop_duplicates().sort_values(MEASURE, ignore_index=True)
    columns = [
        *site_columns(names, keys["site_no"].to_numpy(dtype=int)),
        Column(("client_no",), "Number of the client within the site", keys["client_no"].to_numpy(dtype=float), whole=True),
        Column(("therapist_no",), "Number of the therapist within the site", _first(scores["therapist_no"], row, len(keys)), whole=True),
        Column(
            ("timepoint",),
            "When in treatment",
            keys["time"].to_numpy(dtype=float),
            codes={order: name.replace("_", " ") for name, order in TIMEPOINT_ORDER.items()},
            whole=True,
        ),
        Column(("session",), "Number of the session", keys["session_no"].where(keys["session_no"].gt(0)).to_numpy(dtype=float), whole=True),
        Column(("occasion",), "Which rating of its kind at this timepoint", keys["occasion"].to_numpy(dtype=float), whole=True),
        Column(("days",), "Days since the client's first dated rating", _first(_days(scores), row, len(keys)), unit="days", whole=True),
    ]
    place = pd.MultiIndex.from_frame(measures).get_indexer(pd.MultiIndex.from_frame(scores[MEASURE]))
    registry = {key: instrument for site in reversed(sites) for key, instrument in site.instruments.items()}
    for position, key in enumerate(measures.itertuples(index=False, name=None)):
        here = place == position
        columns.append(_score_column(key, scores[here], row[here], len(keys), registry, ranges))
    return PortableTable(
        "sessions",
        "Scores, one row a client and occasion",
        dict(zip(legal_names([column.parts for column in columns]), columns)),
    )


def _all_scores(sites: Sequence[SiteData], names: Sequence[str]) -> pd.DataFrame:
    empty = pd.DataFrame(columns=list(SCORE_COLUMNS))[_COLUMNS].assign(site_no=0)
    parts = [site.scores[_COLUMNS].assign(site_no=names.index(site.site) + 1) for site in sites if len(site.scores)]
    scores = pd.concat(parts, ignore_index=True) if parts else empty
    scores = scores.assign(
        date=pd.to_datetime(scores["date"]),
        time=scores["timepoint"].map(TIMEPOINT_ORDER).astype("int64"),
        session_no=scores["session"].fillna(0).astype("int64"),
        client_no=scores["client_no"].astype("int64"),
        therapist_no=scores["therapist_no"].astype("float64"),
        derived_from=scores["derived_from"].fillna(""),
    )
    measure = ["site_no", "client_no", "time", "session_no", *MEASURE]
    scores = scores.sort_values([*measure, "date", "derived_from", "score"], kind="stable", ignore_index=True)
    return scores.assign(occasion=scores.groupby(measure).cumcount() + 1)


def _rows(scores: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """Return the row of every score and what identifies the rows."""
    keys = scores[_ROW].drop_duplicates().sort_values(_ROW, ignore_index=True)
    return pd.MultiIndex.from_frame(keys).get_indexer(pd.MultiIndex.from_frame(scores[_ROW])), keys


def _first(values: pd.Series, row: np.ndarray, n: int) -> np.ndarray:
    """Return the lowest value known of each row."""
    return values.groupby(row).min().reindex(range(n)).to_numpy(dtype=float)


def _days(scores: pd.DataFrame) -> pd.Series:
    first = scores.groupby(["site_no", "client_no"])["date"].transform("min")
    return (scores["date"] - first).dt.days.astype("float64")


def _score_column(
    key: tuple[str, ...],
    scores: pd.DataFrame,
    row: np.ndarray,
    n: int,
    registry: Mapping[str, Any],
    ranges: Mapping[tuple[str, ...], tuple[float, float]],
) -> Column:
    instrument, scale, rater = key
    units = sorted(scores["unit"].unique())
    one_unit = len(units) == 1
    unit = units[0] if one_unit else "mean"
    known, words = registry.get(instrument), scale.replace("_", " ")
    values = np.full(n, np.nan)
    values[row] = scores["score" if one_unit else "score_mean"].to_numpy(dtype=float)
    derived = sorted(set(scores["derived_from"]) - {""})
    notes = [f"at some sites from the items of {', '.join(derived)}"] if derived else []
    if not one_unit:
        notes.append(f"sites have {' and '.join(units)}: the mean of the items is given")
    return Column(
        parts=key,
        label=f"{words[:1].upper()}{words[1:]}, {rater} ({unit}): {known.name if known is not None else instrument}",
        values=values,
        instrument=instrument,
        scale=scale,
        rater=rater,
        unit=unit,
        direction=direction(known, scale),
        note="; ".join(notes),
        limits=ranges.get(key) if one_unit else None,
    )


def direction(instrument: Any, scale: str, turned: bool = False) -> str:
    """Return in words what higher scores of a scale mean; empty where the instrument is not known."""
    if instrument is None:
        return ""
    return "higher is worse" if instrument.higher_is_worse(scale) != turned else "higher is better"
