"""Scores of several scales at one occasion a client: the first session in a window at which all of them were rated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alliance.instruments.registry import TOTAL, WITHOUT_IMPROVEMENT
from alliance.questions.correlations import published_correlations
from alliance.questions.item_answers import SESSION, attended_for
from alliance.questions.moments import Block
from alliance.questions.site_data import CORRELATION, COVARIANCE, SiteData
from alliance.variables.client import in_window

_PUBLISHED = re.compile(r"(?P<instrument>[a-z][a-z0-9_]*)\.(?P<scale>[a-z][a-z0-9_]*)\.(?P<rater>client|therapist|observer)\Z")
_ITEM = re.compile(r"i[1-9][0-9]*\Z")


@dataclass(frozen=True, order=True)
class ScaleBy:
    """A scale of an instrument by one rater."""

    instrument: str
    scale: str
    rater: str

    @property
    def name(self) -> str:
        """Instrument and scale."""
        return f"{self.instrument}.{self.scale}"


@dataclass(frozen=True)
class Occasions:
    """Scores of one occasion a client, complete.

    Attributes
    ----------
    variables : tuple of ScaleBy
    client_no : Index
    values : ndarray, shape (clients, variables)
        Turned so that higher is better.
    """

    variables: tuple[ScaleBy, ...]
    client_no: pd.Index
    values: np.ndarray


def session_scores(site: SiteData, window: str, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the scores of a window's sessions, one row a client and session, one column a scale (:class:`ScaleBy`), higher is better.

    Subscales as well as totals, of instruments that were filled in themselves. Scores are item means where a site's scores have them.
    """
    scores = site.scores
    if scores.empty:
        return pd.DataFrame()
    definition = options["alliance"]["windows"][window]
    rated = scores["timepoint"].eq(SESSION) & scores["score"].notna() & scores["session"].notna()
    rated &= scores["scale"].ne(WITHOUT_IMPROVEMENT) & scores["instrument"].isin(list(site.instruments))
    rows = scores[rated.to_numpy(dtype=bool)]
    if "derived_from" in rows:
        rows = rows[rows["derived_from"].fillna("").eq("").to_numpy(dtype=bool)]
    rows = rows[in_window(rows, definition, attended_for(site, {window: definition}))] if len(rows) else rows
    if rows.empty:
        return pd.DataFrame()
    keys = ["instrument", "scale", "rater"]
    means = rows["score_mean"].notna().groupby([rows[key] for key in keys], observed=True).transform("all").to_numpy(dtype=bool)
    value = np.where(means, rows["score_mean"].to_numpy(dtype=float), rows["score"].to_numpy(dtype=float))
    worse = {(key, scale) for key, scale in set(zip(rows["instrument"], rows["scale"])) if _is_worse(site.instruments[key], scale)}
    sign = np.array([-1.0 if pair in worse else 1.0 for pair in zip(rows["instrument"], rows["scale"])])
    wide = rows.assign(value=value * sign).pivot_table(index=["client_no", "session"], columns=keys, values="value", aggfunc="mean")
    wide.columns = pd.Index([ScaleBy(*column) for column in wide.columns], dtype=object)
    return wide


def _is_worse(instrument: Any, scale: str) -> bool:
    return bool(getattr(instrument, "higher_is_worse", lambda _: False)(scale))


def subscales(variables: Sequence[ScaleBy], instrument: str, rater: str) -> list[ScaleBy]:
    """Return an instrument's scales by a rater, without the total."""
    return sorted(one for one in variables if (one.instrument, one.rater) == (instrument, rater) and one.scale != TOTAL)


def occasions(scores: pd.DataFrame, variables: Sequence[ScaleBy]) -> Occasions:
    """Return one occasion a client: the first session with all variables."""
    complete = scores[list(variables)].dropna().sort_index()
    client = complete.index.get_level_values("client_no")
    first = complete[~client.duplicated()]
    return Occasions(tuple(variables), first.index.get_level_values("client_no"), first.to_numpy(dtype=float))


def published_scales(site: SiteData) -> list[ScaleBy]:
    """Return the scales in a site's published matrix, raters named."""
    if site.published is None:
        return []
    found = [_PUBLISHED.match(name) for name in sorted({*site.published.moments["var1"], *site.published.moments["var2"]})]
    return [ScaleBy(m["instrument"], m["scale"], m["rater"]) for m in found if m and not _ITEM.match(m["scale"])]


def published_block(site: SiteData, variables: Sequence[ScaleBy], names: Sequence[str]) -> Block | None:
    """Return the covariances of scales from one block of a site's published matrix, else their correlations; None where pairs are absent.

    ``n`` is the smallest number of clients behind a pair. Scales whose higher scores are worse are turned.
    """
    moments = site.published.moments
    sent = [f"{one.name}.{one.rater}" for one in variables]
    sign = np.array(
        [
            -1.0 if one.instrument in site.instruments and _is_worse(site.instruments[one.instrument], one.scale) else 1.0
            for one in variables
        ]
    )
    for _, rows in moments[moments["method"].eq(COVARIANCE)].groupby(["block", "level"], sort=True):
        matrix, n = _matrix(rows["var1"], rows["var2"], rows["cov"], rows["n"], sent)
        if np.isfinite(matrix).all():
            return _block(names, n, matrix * np.outer(sign, sign), COVARIANCE)
    pairs = published_correlations(site.published)
    matrix, n = _matrix(pairs["var1"], pairs["var2"], pairs["r"], pairs["n"], sent)
    np.fill_diagonal(matrix, 1.0)
    return _block(names, n, matrix * np.outer(sign, sign), CORRELATION) if np.isfinite(matrix).all() else None


def _matrix(first: pd.Series, second: pd.Series, values: pd.Series, n: pd.Series, names: Sequence[str]) -> tuple[np.ndarray, float]:
    at = {name: position for position, name in enumerate(names)}
    inside = (first.isin(at) & second.isin(at)).to_numpy(dtype=bool)
    matrix = np.full((len(names), len(names)), np.nan)
    i, j = first[inside].map(at).to_numpy(dtype=int), second[inside].map(at).to_numpy(dtype=int)
    matrix[i, j] = matrix[j, i] = values[inside].to_numpy(dtype=float)
    sizes = n[inside].astype("float64").to_numpy()
    return matrix, float(sizes.min()) if len(sizes) else np.nan


def _block(names: Sequence[str], n: float, matrix: np.ndarray, scale: str) -> Block | None:
    if not np.isfinite(n):
        return None
    size = len(names)
    return Block(tuple(names), np.full((size, size), n), np.full(size, np.nan), matrix, scale)
