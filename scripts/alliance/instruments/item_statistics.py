"""What the items and scales of a site look like: item-rest correlations, reliability, moments of the scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alliance.instruments.registry import Instrument, Response
from alliance.instruments.scoring import answers, item_columns, response_limits, without_improvement_items
from alliance.statistics.internal_consistency import alpha, item_rest_correlations

ITEM_COLUMNS = (
    *("site", "instrument", "rater", "timepoint", "scale", "item", "n", "mean", "sd", "minimum", "maximum", "share_at_maximum"),
    *("item_rest_r", "item_rest_se", "response_min", "response_max"),
)
MOMENT_COLUMNS = (
    *("site", "instrument", "rater", "scale", "timepoint", "n_clients", "n_rows", "mean", "sd_within_client", "sd_between_client"),
    *("minimum_possible", "maximum_possible", "alpha"),
)
MIN_CLIENTS = 3
_ROWS_AT_ONCE = 25_000


@dataclass
class ItemMoments:
    """Moments of the items of one instrument among the forms of one rater at one timepoint.

    Parameters
    ----------
    items : list of int
        Item numbers, in the order of the arrays below (length k).
    n_clients : int
        Clients.
    n, mean, sd, minimum, maximum, share_at_maximum : ndarray of shape (k,)
        Of the answers as given, not turned.
    covariance : ndarray of shape (k, k)
        Of the answers turned by the scoring key, from all forms that answer both items; NaN below two such forms.
    response : Response
        The narrowest range that holds all declared ranges of these forms.
    """

    items: list[int]
    n_clients: int
    n: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray
    share_at_maximum: np.ndarray
    covariance: np.ndarray
    response: Response


Grouped = list[tuple[str, str, ItemMoments]]


def item_moments(ratings: pd.DataFrame, instrument: Instrument) -> ItemMoments:
    """Return the moments of an instrument's items.

    Parameters
    ----------
    ratings : DataFrame, shape (n_forms, ...)
        Cleaned ratings with at least one form.
    instrument : Instrument
        An instrument that is scored from items.

    Returns
    -------
    ItemMoments
    """
    items = item_columns(ratings, instrument)
    low, high = response_limits(ratings, instrument)
    k, middle = len(items), float(low[0] + high[0]) / 2
    sign = np.array([-1.0 if item in set(instrument.reverse) else 1.0 for item in items])[:, None]
    n_pairs, sums, products = np.zeros((k, k)), np.zeros((k, k)), np.zeros((k, k))
    raw_sums, at_maximum = np.zeros(k), np.zeros(k)
    minimum, maximum = np.full(k, np.nan), np.full(k, np.nan)
    for start in range(0, len(ratings), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        raw = answers(ratings.iloc[rows], items)
        minimum = np.fmin(minimum, np.fmin.reduce(raw, axis=1))
        maximum = np.fmax(maximum, np.fmax.reduce(raw, axis=1))
        at_maximum += (raw >= high[rows]).sum(axis=1)
        missing = np.isnan(raw)
        given = (~missing).astype("float64")
        raw[missing] = 0.0
        raw_sums += raw.sum(axis=1)
        centre = (low[rows] + high[rows]) / 2
        turned = sign * (raw - centre) + (centre - middle)
        turned[missing] = 0.0
        n_pairs += given @ given.T
        sums += turned @ given.T
        products += turned @ turned.T
    n = np.diag(n_pairs).copy()
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = (products - sums * sums.T / n_pairs) / (n_pairs - 1)
        covariance[n_pairs < 2] = np.nan
        mean = np.where(n > 0, raw_sums / n, np.nan)
        share = np.where(n > 0, at_maximum / n, np.nan)
    return ItemMoments(
        items=items,
        n_clients=int(ratings["client_no"].nunique()),
        n=n.astype(int),
        mean=mean,
        sd=np.sqrt(np.clip(np.diag(covariance), 0, None)),
        minimum=minimum,
        maximum=maximum,
        share_at_maximum=share,
        covariance=covariance,
        response=Response(min=float(low.min()), max=float(high.max())),
    )


def scale_covariance(moments: ItemMoments, instrument: Instrument, scale: str) -> tuple[list[int], np.ndarray]:
    """Return the answered items of a scale and their covariance matrix as they enter the scale."""
    wanted = set(instrument.scale_items(scale))
    rows = [row for row, item in enumerate(moments.items) if item in wanted and moments.n[row] >= 2]
    items = [moments.items[row] for row in rows]
    covariance = moments.covariance[np.ix_(rows, rows)]
    if not instrument.composites[scale].reversed:
        sign = np.array([-1.0 if item in set(instrument.reverse) else 1.0 for item in items])
        covariance = covariance * np.outer(sign, sign)
    return items, covariance


def item_statistics(
    ratings: pd.DataFrame, instrument: Instrument, options: Mapping[str, Any] | None = None, grouped: Grouped | None = None
) -> pd.DataFrame:
    """Describe the items of one instrument by rater, timepoint and scale.

    Parameters
    ----------
    ratings : DataFrame
        Cleaned ratings.
    instrument : Instrument
        Without a usable item map the result has no rows.
    options : mapping, optional
        Configuration section ``scoring``.
    grouped : list, optional
        What :func:`groups` gave for these ratings, where it is known already.

    Returns
    -------
    DataFrame
        Columns ``ITEM_COLUMNS``. Moments are of the answers as given; ``item_rest_r`` is of the scored item with the sum of the other
        items of the scale, from pairwise complete covariances. ``item_rest_se`` is the standard error of its Fisher z,
        1 / sqrt(n_clients - 3): sessions of one client are not counted as independent, so it errs on the large side. Groups
        below three clients have no row.
    """
    instrument = _reduced(instrument, options)
    records = []
    for rater, timepoint, moments in groups(ratings, instrument) if grouped is None else grouped:
        for scale in _item_scales(instrument):
            items, covariance = scale_covariance(moments, instrument, scale)
            rest = dict(zip(items, item_rest_correlations(covariance)))
            error = 1 / math.sqrt(moments.n_clients - 3) if moments.n_clients > 3 else math.nan
            for item in instrument.scale_items(scale):
                row = moments.items.index(item) if item in moments.items else None
                r = rest.get(item, math.nan)
                numbers = (math.nan,) * 5 if row is None else tuple(getattr(moments, name)[row] for name in ITEM_COLUMNS[7:12])
                n = 0 if row is None else int(moments.n[row])
                place = (_site(ratings), instrument.key, rater, timepoint, scale, item)
                shown_error = math.nan if math.isnan(r) else error
                records.append((*place, n, *numbers, r, shown_error, moments.response.min, moments.response.max))
    return pd.DataFrame(records, columns=list(ITEM_COLUMNS)).astype(_types(ITEM_COLUMNS, whole=("item", "n")))


def reliabilities(
    ratings: pd.DataFrame, instrument: Instrument, options: Mapping[str, Any] | None = None, grouped: Grouped | None = None
) -> pd.DataFrame:
    """Return Cronbach's alpha by rater, timepoint and scale (columns ``rater, timepoint, scale, alpha``).

    All forms of a timepoint enter, so that over sessions it mixes differences between clients and between sessions.
    """
    instrument = _reduced(instrument, options)
    records = [
        (rater, timepoint, scale, float(alpha(covariance)) if len(items) == len(instrument.scale_items(scale)) else math.nan)
        for rater, timepoint, moments in (groups(ratings, instrument) if grouped is None else grouped)
        for scale in _item_scales(instrument)
        for items, covariance in [scale_covariance(moments, instrument, scale)]
    ]
    table = pd.DataFrame(records, columns=["rater", "timepoint", "scale", "alpha"])
    return table.astype({"rater": "str", "timepoint": "str", "scale": "str", "alpha": "float64"})


def groups(ratings: pd.DataFrame, instrument: Instrument) -> Grouped:
    """Return rater, timepoint and item moments of every group of forms with at least three clients."""
    items = item_columns(ratings, instrument)
    if not instrument.scored_from_items or not items or not len(ratings):
        return []
    found = []
    for (rater, timepoint), rows in ratings.groupby(["rater", "timepoint"], sort=True, observed=True):
        if rows["client_no"].nunique() >= MIN_CLIENTS:
            found.append((str(rater), str(timepoint), item_moments(rows, instrument)))
    return found


def empty_items() -> pd.DataFrame:
    """Return a table without rows, with the columns of ``item_statistics.csv``."""
    return pd.DataFrame(columns=list(ITEM_COLUMNS)).astype(_types(ITEM_COLUMNS, whole=("item", "n")))


def empty_moments() -> pd.DataFrame:
    """Return a table without rows, with the columns of ``scale_moments.csv``."""
    return pd.DataFrame(columns=list(MOMENT_COLUMNS)).astype(_types(MOMENT_COLUMNS, whole=("n_clients", "n_rows")))


def scale_moments(
    scores: pd.DataFrame,
    registry: Mapping[str, Instrument],
    options: Mapping[str, Any] | None = None,
    alphas: pd.DataFrame | None = None,
    responses: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Describe scores by instrument, rater, scale and timepoint.

    Parameters
    ----------
    scores : DataFrame
        Long scores of one site.
    registry : mapping of str to Instrument
        Known instruments.
    options : mapping, optional
        Configuration section ``scoring``.
    alphas : DataFrame, optional
        ``instrument, rater, timepoint, scale, alpha``.
    responses : DataFrame, optional
        ``instrument, rater, response_min, response_max`` where the site declared the range of answers.

    Returns
    -------
    DataFrame
        Columns ``MOMENT_COLUMNS``, all in the headline unit. ``mean`` is the mean of the client means, ``sd_between_client`` their
        standard deviation, ``sd_within_client`` the pooled one around them (empty without repeated scores). Numbers are empty
        below three clients.
    """
    table = _moments_of_groups(scores)
    table.loc[table["n_clients"] < MIN_CLIENTS, ["mean", "sd_within_client", "sd_between_client"]] = np.nan
    known = () if responses is None else responses.itertuples(index=False)
    declared = {(row.instrument, row.rater): Response(min=row.response_min, max=row.response_max) for row in known}
    reduced = {key: _reduced(registry[key], options) for key in table["instrument"].unique() if key in registry}
    limits = [_limits(reduced, row, declared.get((row.instrument, row.rater))) for row in table.itertuples()]
    table["minimum_possible"] = [low for low, _ in limits]
    table["maximum_possible"] = [high for _, high in limits]
    if alphas is not None and len(alphas):
        table = table.merge(alphas, on=["instrument", "rater", "timepoint", "scale"], how="left")
    else:
        table["alpha"] = math.nan
    return table[list(MOMENT_COLUMNS)].astype(_types(MOMENT_COLUMNS, whole=("n_clients", "n_rows")))


def _moments_of_groups(scores: pd.DataFrame) -> pd.DataFrame:
    """Return counts, mean and standard deviations of the scores by site, instrument, rater, scale and timepoint."""
    keys = ["site", "instrument", "rater", "scale", "timepoint"]
    codes, levels = np.zeros(len(scores), dtype="int64"), []
    for key in keys:
        position, labels = _positions(scores[key])
        codes = codes * len(labels) + position
        levels.append(labels)
    client, score = scores["client_no"].to_numpy("int64", na_value=0), scores["score"].to_numpy()
    scored = ~np.isnan(score)
    records = []
    for code in np.flatnonzero(np.bincount(codes[scored])) if scored.any() else ():
        rows = scored & (codes == code)
        place = np.unravel_index(code, [len(labels) for labels in levels])
        records.append((*(labels[i] for labels, i in zip(levels, place)), *_client_moments(client[rows], score[rows])))
    return pd.DataFrame(records, columns=[*keys, "n_clients", "n_rows", "mean", "sd_within_client", "sd_between_client"])


def _positions(words: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Return each word's position among the sorted distinct ones; most of these columns hold one word, which is quick to see."""
    if len(words) and bool((words == words.iloc[0]).all()):
        return np.zeros(len(words), dtype="int64"), [words.iloc[0]]
    position, labels = pd.factorize(words, sort=True)
    return position, list(labels)


def _client_moments(client: np.ndarray, score: np.ndarray) -> tuple[int, int, float, float, float]:
    n = np.bincount(client)
    sums = np.bincount(client, weights=score)
    seen = n > 0
    means = np.divide(sums, n, out=np.zeros(len(n)), where=seen)
    freedom = len(score) - int(seen.sum())
    within = math.sqrt(float(((score - means[client]) ** 2).sum()) / freedom) if freedom else math.nan
    between = float(means[seen].std(ddof=1)) if seen.sum() > 1 else math.nan
    return int(seen.sum()), len(score), float(means[seen].mean()), within, between


def _limits(registry: Mapping[str, Instrument], row: Any, response: Response | None) -> tuple[float, float]:
    instrument = registry.get(row.instrument)
    if instrument is None or row.scale not in instrument.composites:
        return math.nan, math.nan
    return instrument.possible_range(row.scale, "headline", response) or (math.nan, math.nan)


def _item_scales(instrument: Instrument) -> list[str]:
    return [
        name
        for name in instrument.scale_names
        if instrument.scale_items(name) and instrument.composites[name].method in (None, "sum", "mean")
    ]


def _reduced(instrument: Instrument, options: Mapping[str, Any] | None) -> Instrument:
    return without_improvement_items(instrument) if (options or {}).get("exclude_improvement_items") else instrument


def _site(ratings: pd.DataFrame) -> str:
    return str(ratings["site"].iloc[0]) if "site" in ratings and len(ratings) else ""


def _types(columns: tuple[str, ...], whole: tuple[str, ...]) -> dict[str, str]:
    text = ("site", "instrument", "rater", "timepoint", "scale")
    return {name: "str" if name in text else "Int64" if name in whole else "float64" for name in columns}
