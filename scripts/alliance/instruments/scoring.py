"""Scale scores from items, or from scale scores that a site sent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from alliance.instruments.derivation import derivable, derive
from alliance.instruments.registry import TOTAL, WITHOUT_IMPROVEMENT, Instrument, Scale

KEYS = ("site", "client_id", "client_no", "therapist_id", "therapist_no", "timepoint", "session", "date", "rater")
SCORE_TYPES = {
    "site": "str",
    "client_id": "str",
    "client_no": "Int64",
    "therapist_id": "str",
    "therapist_no": "Int64",
    "timepoint": "str",
    "session": "Int64",
    "date": "datetime64[ns]",
    "rater": "str",
    "n_raters": "Int64",
    "instrument": "str",
    "scale": "str",
    "score": "float64",
    "unit": "str",
    "score_mean": "float64",
    "score_sum": "float64",
    "n_items": "Int64",
    "n_answered": "Int64",
    "prorated": "bool",
    "level": "str",
    "derived_from": "str",
}
SCORE_COLUMNS = tuple(SCORE_TYPES)
_ROWS_AT_ONCE = 25_000


def empty_scores() -> pd.DataFrame:
    """Return a table of scores without rows, with the columns and types of ``scores.parquet``."""
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in SCORE_TYPES.items()})


def score_site(
    ratings: Mapping[str, pd.DataFrame],
    outcomes: pd.DataFrame | None,
    registry: Mapping[str, Instrument],
    options: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Score all that a site sent, as one table; see :func:`parts_of_site` and :func:`score`.

    Returns
    -------
    DataFrame
        Long scores (columns ``SCORE_COLUMNS``), ordered by part, scale and the order of the ratings. Forms without any answer
        have no row; forms with too many unanswered items have a row without a score.
    """
    options = options or {}
    parts = (score(table, registry[key], options, parent) for key, parent, table in parts_of_site(ratings, outcomes, registry, options))
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else empty_scores()


def parts_of_site(
    ratings: Mapping[str, pd.DataFrame],
    outcomes: pd.DataFrame | None,
    registry: Mapping[str, Instrument],
    options: Mapping[str, Any],
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield all tables of ratings that a site's scores come from.

    Parameters
    ----------
    ratings : mapping of str to DataFrame
        Cleaned ``ratings/<instrument>`` by instrument.
    outcomes : DataFrame or None
        Cleaned ``outcomes`` (long).
    registry : mapping of str to Instrument
        Known instruments.
    options : mapping
        Configuration section ``scoring``; ``derive_short_forms`` says whether short forms are derived.

    Yields
    ------
    tuple of str, str, DataFrame
        Instrument, instrument it is derived from (or empty), ratings: first what was sent, then short forms, then outcomes.
    """
    for key in sorted(ratings):
        yield key, "", ratings[key]
    if options.get("derive_short_forms", True):
        yield from derived_ratings(ratings, registry)
    if outcomes is not None and len(outcomes):
        for key, table in outcomes_as_ratings(outcomes):
            yield key, "", table


def derived_ratings(ratings: Mapping[str, pd.DataFrame], registry: Mapping[str, Instrument]) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield short forms derived from long ones as (key, parent, ratings); raters who filled in the short form itself are left out."""
    for key in derivable(ratings, registry):
        parent = registry[key].derive_from.instrument
        if not registry[parent].scored_from_items:
            continue
        table = derive(ratings[parent], registry[key], registry[parent])
        if key in ratings:
            table = table[~table["rater"].isin(ratings[key]["rater"].unique())]
        if len(table):
            yield key, parent, table.reset_index(drop=True)


def outcomes_as_ratings(outcomes: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the long table of scale-level outcomes as one table of ratings an instrument (columns ``s_<scale>``)."""
    tables = []
    keys = [*KEYS, "rater_no"]
    for instrument, rows in outcomes.groupby("instrument", sort=True, observed=True):
        frames = []
        for unit, same_unit in rows.groupby("unit", sort=True, dropna=False, observed=True):
            names = [name for name in keys if name in same_unit.columns]
            wide = same_unit.drop_duplicates(names)[names].reset_index(drop=True)
            for scale, values in same_unit.groupby("scale", sort=True, observed=True):
                wide = wide.merge(values[[*names, "value"]].rename(columns={"value": f"s_{scale}"}), on=names, how="left")
            wide["unit"] = unit
            frames.append(wide)
        tables.append((str(instrument), pd.concat(frames, ignore_index=True)))
    return tables


def score(ratings: pd.DataFrame, instrument: Instrument, options: Mapping[str, Any] | None = None, derived_from: str = "") -> pd.DataFrame:
    """Score one instrument.

    A reversed answer is min + max - x, on the range that the site used (columns ``response_min`` and ``response_max`` where they are
    filled, else the instrument's). A total unites the items of its scales, and its missing rule counts these items; it does not need
    every scale to have a score (except under ``scale_mean_rounded``, where it adds the completed scales). Several observers
    of one session are averaged. Nothing is clipped: a form with an answer outside the range gets no score.

    Parameters
    ----------
    ratings : DataFrame
        Cleaned ratings with items ``i1..ik`` as answered, scale scores ``s_<scale>`` with their ``unit``, or both.
    instrument : Instrument
        The instrument of all rows.
    options : mapping, optional
        Configuration section ``scoring``: ``missing_rule``, ``min_answered_proportion``, ``exclude_improvement_items``.
    derived_from : str
        Parent instrument where the items come from a longer form.

    Returns
    -------
    DataFrame
        Long scores (columns ``SCORE_COLUMNS``). ``unit`` names the headline unit: ``mean``, ``sum``, ``count``, or either of the first
        two with its factor (``mean x 10``).
    """
    options = dict(options or {})
    sent = [name.removeprefix("s_") for name in ratings.columns if name.startswith("s_")]
    if options.get("exclude_improvement_items") and instrument.improvement_items:
        instrument, sent = without_improvement_items(instrument), []
    by_items = item_scores(ratings, instrument, options)
    by_scale = _sent_scores(ratings, instrument, sent)
    if instrument.improvement_items and not options.get("exclude_improvement_items"):
        instrument, by_items = _with_reduced_total(ratings, instrument, options, by_items)
    groups = _observer_groups(ratings)
    blocks = []
    for name in [*instrument.scale_names, *sorted(set(sent) - set(instrument.scale_names))]:
        forms = _prefer_items(by_items.get(name), by_scale.get(name))
        if forms is not None:
            blocks.append((name, groups.average(forms)))
    return _long(groups.keys(ratings), instrument, blocks, derived_from)


@dataclass
class ScaleScores:
    """Scores of one scale, one value a form (arrays of shape (n_forms,), unknown as NaN).

    Parameters
    ----------
    score : ndarray of float64
        In the headline unit.
    mean, total : ndarray of float64
        Mean and sum of the scored items, unanswered ones completed by the rule.
    n_items : int or None
        Number of items of the scale.
    answered : ndarray of float64
        Number of items answered.
    prorated : ndarray of bool
        Whether there is a score although an item was unanswered.
    present : ndarray of bool
        Whether the form says anything about this scale.
    unit : ndarray of int8
        Position of the unit in ``units``.
    units : tuple of str
        Units that occur.
    from_items : ndarray of bool
        Whether the score comes from items.
    n_raters : ndarray of int64
        Raters whose score entered.
    """

    score: np.ndarray
    mean: np.ndarray
    total: np.ndarray
    n_items: int | None
    answered: np.ndarray
    prorated: np.ndarray
    present: np.ndarray
    unit: np.ndarray
    units: tuple[str, ...]
    from_items: np.ndarray
    n_raters: np.ndarray


def allowed_missing(instrument: Instrument, scale: str, options: Mapping[str, Any] | None = None) -> int:
    """Return how many items of a scale may be unanswered under an instrument's rule and the configuration section ``scoring``."""
    options = options or {}
    size = len(instrument.scale_items(scale))
    choice = options.get("missing_rule", "instrument")
    if choice == "strict":
        return 0
    if choice == "proration":
        return size - _least_answered(options.get("min_answered_proportion", 0.8), size)
    rule = instrument.missing
    if rule.rule == "strict":
        return 0
    for limit in (instrument.composites[scale].max_missing, rule.max_missing):
        if limit is not None:
            return min(limit, size - 1)
    return size - _least_answered(rule.min_answered_proportion, size)


def _least_answered(share: float, size: int) -> int:
    return max(1, math.ceil(share * size - 1e-9))


def without_improvement_items(instrument: Instrument) -> Instrument:
    """Return an instrument whose scales leave out the items that describe improvement; scales without other items vanish."""
    left_out = set(instrument.improvement_items)
    scales = {}
    for name, scale in instrument.scales.items():
        if scale.items is None:
            scales[name] = scale
        elif kept := [item for item in scale.items if item not in left_out]:
            scales[name] = scale.model_copy(update={"items": kept, "n_items": None})
    reduced = {
        name: scale.model_copy(update={"of": [part for part in scale.of if part in scales]}) if scale.of else scale
        for name, scale in {**scales, TOTAL: instrument.total}.items()
        if scale is not None
    }
    total = reduced.pop(TOTAL, None) if instrument.total is not None else None
    return instrument.model_copy(update={"scales": reduced, "total": total})


def _with_reduced_total(
    ratings: pd.DataFrame, instrument: Instrument, options: Mapping[str, Any], by_items: dict[str, ScaleScores]
) -> tuple[Instrument, dict[str, ScaleScores]]:
    """Return the instrument and its scores with the total without improvement items beside the total (claim E5)."""
    reduced = item_scores(ratings, without_improvement_items(instrument), options).get(TOTAL)
    if reduced is None:
        return instrument, by_items
    items = [item for item in instrument.scale_items(TOTAL) if item not in instrument.improvement_items]
    scales = {**instrument.scales, WITHOUT_IMPROVEMENT: Scale(items=items)}
    return instrument.model_copy(update={"scales": scales}), {**by_items, WITHOUT_IMPROVEMENT: reduced}


def response_limits(ratings: pd.DataFrame, instrument: Instrument) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest possible answer of each form: the site's where declared, else the instrument's (NaN: unknown)."""
    limits = []
    for name in ("min", "max"):
        default = float(getattr(instrument.response, name)) if instrument.response is not None else math.nan
        column = f"response_{name}"
        if column in ratings:
            values = ratings[column].to_numpy("float64", na_value=np.nan)
            limits.append(np.where(np.isnan(values), default, values))
        else:
            limits.append(np.full(len(ratings), default))
    return limits[0], limits[1]


def item_columns(ratings: pd.DataFrame, instrument: Instrument) -> list[int]:
    """Return the item numbers of an instrument that a table of ratings has columns for."""
    return [item for item in range(1, (instrument.n_items or 0) + 1) if f"i{item}" in ratings.columns]


def answers(ratings: pd.DataFrame, items: list[int]) -> np.ndarray:
    """Return answers as float64 of shape (n_items, n_forms), unanswered as NaN."""
    matrix = np.empty((len(items), len(ratings)))
    for row, item in enumerate(items):
        matrix[row] = ratings[f"i{item}"].to_numpy("float64", na_value=np.nan)
    return matrix


def item_scores(ratings: pd.DataFrame, instrument: Instrument, options: Mapping[str, Any] | None = None) -> dict[str, ScaleScores]:
    """Score every scale of an instrument from its items.

    Parameters
    ----------
    ratings : DataFrame
        Cleaned ratings of one instrument.
    instrument : Instrument
        Where its item map may not be used, the result is empty.
    options : mapping, optional
        Configuration section ``scoring``.

    Returns
    -------
    dict of str to ScaleScores
        By scale, of shape (n_forms,); ``present`` is False for forms without any answer.
    """
    items = item_columns(ratings, instrument)
    if not instrument.scored_from_items or not items:
        return {}
    low, high = response_limits(ratings, instrument)
    chunks = []
    for start in range(0, max(len(ratings), 1), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        chunks.append(_score_chunk(_Answers(ratings.iloc[rows], instrument, items, low[rows], high[rows]), instrument, options or {}))
    return {name: _joined([chunk[name] for chunk in chunks]) for name in instrument.scale_names}


class _Answers:
    """Answers of some forms, as given and turned; unanswered ones are zero and not in ``given``."""

    def __init__(self, ratings: pd.DataFrame, instrument: Instrument, items: list[int], low: np.ndarray, high: np.ndarray):
        self.raw = answers(ratings, items)
        self.low = low
        self.row = {item: row for row, item in enumerate(items)}
        missing = np.isnan(self.raw)
        self.given = ~missing
        self.any_given = self.given.any(axis=0)
        self.outside = (self.raw < low) | (self.raw > high) if self._leaves(low, high) else None
        self.raw[missing] = 0.0
        self.turned = self.raw
        reverse = [self.row[item] for item in instrument.reverse if item in self.row]
        if reverse:
            self.turned = self.raw.copy()
            self.turned[reverse] = (low + high) * self.given[reverse] - self.raw[reverse]

    def _leaves(self, low: np.ndarray, high: np.ndarray) -> bool:
        lowest, highest = np.fmin.reduce(self.raw, axis=0), np.fmax.reduce(self.raw, axis=0)
        return bool(((lowest < low) | (highest > high)).any())

    def inside(self, rows: list[int]) -> np.ndarray | bool:
        """Return which forms have no answer outside the possible range among some items."""
        return True if self.outside is None else ~self.outside[rows].any(axis=0)

    def rows(self, items: list[int]) -> list[int]:
        return [self.row[item] for item in items if item in self.row]


def _score_chunk(forms: _Answers, instrument: Instrument, options: Mapping[str, Any]) -> dict[str, ScaleScores]:
    rounded = instrument.missing.rule == "scale_mean_rounded" and options.get("missing_rule", "instrument") == "instrument"
    scores: dict[str, ScaleScores] = {}
    for name, scale in instrument.composites.items():
        items = instrument.scale_items(name)
        rows = forms.rows(items)
        values = (forms.turned if scale.reversed else forms.raw)[rows]
        answered = forms.given[rows].sum(axis=0).astype("float64")
        enough = (answered >= max(len(items) - allowed_missing(instrument, name, options), 1)) & forms.inside(rows)
        if scale.method in ("count_above_minimum", "mean_above_minimum"):
            mean, total, score = _above_minimum(values, forms.given[rows], forms.low, scale.method, enough)
        else:
            parts = [scores[part] for part in scale.of] if rounded and scale.of is not None else None
            mean, total = _completed(values.sum(axis=0), answered, len(items), enough, rounded, parts)
            score = (total if _method(instrument, scale) == "sum" else mean) * instrument.score.multiply
        scores[name] = ScaleScores(
            score=score,
            mean=mean,
            total=total,
            n_items=len(items),
            answered=answered,
            prorated=(answered < len(items)) & ~np.isnan(score),
            present=forms.any_given,
            unit=np.zeros(len(score), dtype="int8"),
            units=(headline_unit(instrument, name),),
            from_items=np.ones(len(score), dtype=bool),
            n_raters=np.where(np.isnan(score), 0, 1),
        )
    return scores


def _completed(
    total: np.ndarray, answered: np.ndarray, size: int, enough: np.ndarray, rounded: bool, parts: list[ScaleScores] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and sum of a scale with its unanswered items completed, NaN where too few were answered."""
    mean = np.divide(total, answered, out=np.full(len(total), np.nan), where=enough)
    if parts is not None:
        whole = np.sum([part.total for part in parts], axis=0)
        return whole / size, whole
    if rounded:
        whole = total + (size - answered) * np.floor(mean + 0.5)
        return whole / size, whole
    return mean, np.where(answered == size, np.where(enough, total, np.nan), mean * size)


def _above_minimum(
    values: np.ndarray, given: np.ndarray, low: np.ndarray, method: str, enough: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, sum (both unknown) and score of an index over the items answered above the lowest answer."""
    above = given & (values > low)
    count = above.sum(axis=0).astype("float64")
    unknown = np.full(len(count), np.nan)
    if method == "count_above_minimum":
        return unknown, unknown, np.where(enough, count, np.nan)
    total = np.where(above, values, 0.0).sum(axis=0)
    return unknown, unknown, np.divide(total, count, out=unknown.copy(), where=enough & (count > 0))


def _method(instrument: Instrument, scale: Scale | None) -> str:
    return (scale.method if scale is not None else None) or instrument.score.method


def headline_unit(instrument: Instrument, scale: str) -> str:
    """Return the unit of a scale's score as tables name it: ``sum``, ``mean``, ``count``, or with the factor (``mean x 10``)."""
    method = _method(instrument, instrument.composites.get(scale))
    if method in ("sum", "mean"):
        return method if instrument.score.multiply == 1 else f"{method} x {instrument.score.multiply:g}"
    return "count" if method == "count_above_minimum" else "mean"


def _joined(chunks: list[ScaleScores]) -> ScaleScores:
    if len(chunks) == 1:
        return chunks[0]
    names = ("score", "mean", "total", "answered", "prorated", "present", "unit", "from_items", "n_raters")
    return replace(chunks[0], **{name: np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in names})


def _sent_scores(ratings: pd.DataFrame, instrument: Instrument, sent: list[str]) -> dict[str, ScaleScores]:
    """Return scale scores as sent, and totals that unite them where a site sent the parts and no total."""
    scores = {name: _sent_scale(ratings, instrument, name) for name in sent}
    for name, scale in instrument.composites.items():
        if name in scores or scale.of is None or scale.method is not None or not set(scale.of) <= set(sent):
            continue
        sizes = [instrument.scale_size(part) for part in scale.of]
        if None in sizes or not all(instrument.composites[part].reversed for part in scale.of):
            continue
        total = np.sum([scores[part].total for part in scale.of], axis=0)
        scores[name] = _as_sent(instrument, name, total, np.zeros(len(total), dtype=bool))
    return scores


def _sent_scale(ratings: pd.DataFrame, instrument: Instrument, name: str) -> ScaleScores:
    values = ratings[f"s_{name}"].to_numpy("float64", na_value=np.nan)
    units = ratings["unit"] if "unit" in ratings else pd.Series(pd.NA, index=ratings.index, dtype="str")
    by_mean = units.fillna(instrument.score.method).eq("mean").to_numpy(dtype=bool)
    return _as_sent(instrument, name, values, by_mean)


def _as_sent(instrument: Instrument, name: str, values: np.ndarray, by_mean: np.ndarray) -> ScaleScores:
    """Return sent values in the headline unit, or as they are where the number of items needed to convert them is not known."""
    scale = instrument.composites.get(name)
    size = instrument.scale_size(name) if scale is not None else None
    n_items = math.nan if size is None else float(size)
    method = _method(instrument, scale)
    mean = np.where(by_mean, values, values / n_items)
    total = np.where(by_mean, values * n_items, values)
    if method in ("sum", "mean"):
        score = (total if method == "sum" else mean) * instrument.score.multiply
        unit = np.where(np.isnan(score) & ~np.isnan(values), np.where(by_mean, 1, 2), 0).astype("int8")
        score = np.where(unit > 0, values, score)
    else:
        mean, total, score = np.full_like(values, np.nan), np.full_like(values, np.nan), values
        unit = np.zeros(len(values), dtype="int8")
    return ScaleScores(
        score=score,
        mean=mean,
        total=total,
        n_items=size,
        answered=np.full(len(values), np.nan),
        prorated=np.zeros(len(values), dtype=bool),
        present=~np.isnan(values),
        unit=unit,
        units=(headline_unit(instrument, name), "mean", "sum"),
        from_items=np.zeros(len(values), dtype=bool),
        n_raters=np.where(np.isnan(values), 0, 1),
    )


def _prefer_items(items: ScaleScores | None, sent: ScaleScores | None) -> ScaleScores | None:
    """Return the item scores where a form has items, else the scores as sent."""
    if items is None or sent is None:
        return items if sent is None else sent
    names = ("score", "mean", "total", "answered", "prorated", "unit", "n_raters")
    chosen = {name: np.where(items.present, getattr(items, name), getattr(sent, name)) for name in names}
    return replace(sent, **chosen, present=items.present | sent.present, from_items=items.present, n_items=items.n_items)


class _ObserverGroups:
    """Forms that several raters filled in about the same session, and how their scores are averaged."""

    def __init__(self, codes: np.ndarray | None, first: np.ndarray | None):
        self.codes = codes
        self.first = first

    def keys(self, ratings: pd.DataFrame) -> pd.DataFrame:
        keys = ratings if self.first is None else ratings.iloc[self.first]
        return keys[[name for name in KEYS if name in keys.columns]].reset_index(drop=True)

    def average(self, forms: ScaleScores) -> ScaleScores:
        if self.codes is None:
            return forms
        n, codes = len(self.first), self.codes
        scored = ~np.isnan(forms.score)
        count = np.bincount(codes[scored], minlength=n)

        def mean(values: np.ndarray) -> np.ndarray:
            total = np.bincount(codes[scored], weights=values[scored], minlength=n)
            return np.divide(total, count, out=np.full(n, np.nan), where=count > 0)

        least = pd.Series(np.where(scored | ~forms.from_items, forms.answered, np.nan)).groupby(codes).min().to_numpy()
        most = pd.Series(forms.answered).groupby(codes).max().to_numpy()
        return replace(
            forms,
            score=mean(forms.score),
            mean=mean(forms.mean),
            total=mean(forms.total),
            answered=np.where(np.isnan(least), most, least),
            prorated=np.bincount(codes, weights=forms.prorated, minlength=n) > 0,
            present=np.bincount(codes, weights=forms.present, minlength=n) > 0,
            unit=forms.unit[self.first],
            from_items=np.bincount(codes, weights=forms.from_items & forms.present, minlength=n) > 0,
            n_raters=count,
        )


def _observer_groups(ratings: pd.DataFrame) -> _ObserverGroups:
    if "rater_no" not in ratings or ratings["rater_no"].nunique() < 2:
        return _ObserverGroups(None, None)
    names = [name for name in ("client_no", "timepoint", "session", "rater") if name in ratings]
    codes = ratings.groupby(names, dropna=False, sort=False, observed=True).ngroup().to_numpy()
    first = np.unique(codes, return_index=True)[1]
    return _ObserverGroups(None, None) if len(first) == len(codes) else _ObserverGroups(codes, first)


def _long(keys: pd.DataFrame, instrument: Instrument, blocks: list[tuple[str, ScaleScores]], derived_from: str) -> pd.DataFrame:
    """Stack the scores of all scales, leaving out forms that say nothing about a scale."""
    kept = [np.flatnonzero(block.present) for _, block in blocks]
    if not sum(map(len, kept)):
        return empty_scores()
    whole = [len(rows) == len(keys) for rows in kept]
    long = pd.concat([keys if all_rows else keys.iloc[rows] for rows, all_rows in zip(kept, whole)], ignore_index=True)

    def stacked(name: str) -> np.ndarray:
        return np.concatenate([getattr(block, name)[rows] for (_, block), rows in zip(blocks, kept)])

    lengths = [len(rows) for rows in kept]
    units = sorted({unit for _, block in blocks for unit in block.units})
    unit_codes = [np.array([units.index(unit) for unit in block.units])[block.unit[rows]] for (_, block), rows in zip(blocks, kept)]
    long["n_raters"] = pd.array(stacked("n_raters"), dtype="Int64")
    long["instrument"] = _labels(np.zeros(len(long), dtype="int8"), [instrument.key])
    long["scale"] = _labels(np.repeat(np.arange(len(blocks)), lengths), [name for name, _ in blocks])
    long["score"] = stacked("score")
    long["unit"] = _labels(np.concatenate(unit_codes), units)
    long["score_mean"] = stacked("mean")
    long["score_sum"] = stacked("total")
    sizes = np.array([math.nan if block.n_items is None else block.n_items for _, block in blocks])
    long["n_items"] = _whole_numbers(np.repeat(sizes, lengths))
    long["n_answered"] = _whole_numbers(stacked("answered"))
    long["prorated"] = stacked("prorated").astype(bool)
    long["level"] = _labels(stacked("from_items").astype("int8"), ["scale", "item"])
    long["derived_from"] = _labels(np.zeros(len(long), dtype="int8"), [derived_from])
    for name in SCORE_COLUMNS:
        if name not in long:
            long[name] = pd.Series(pd.NA, index=long.index).astype(SCORE_TYPES[name])
    return long[list(SCORE_COLUMNS)].astype({name: kind for name, kind in SCORE_TYPES.items() if str(long[name].dtype) != kind})


def _labels(codes: np.ndarray, names: list[str]) -> pd.Series:
    arrow = pa.DictionaryArray.from_arrays(pa.array(codes.astype("int32")), pa.array(names, pa.large_string())).cast(pa.large_string())
    return pd.Series(arrow, dtype="str")


def _whole_numbers(values: np.ndarray) -> pd.array:
    missing = np.isnan(values)
    return pd.arrays.IntegerArray(np.where(missing, 0, values).astype("int64"), missing)
