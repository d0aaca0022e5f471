"""What the chapters of all questions share: labels, cells of estimates, rows of forest plots, sentences."""

from __future__ import annotations

import functools
import math
import re
from collections import namedtuple
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.issues import brief
from alliance.questions import contract
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.reports import numbers
from alliance.reports.elements import Cell, Column, Table, listed, number_cell
from alliance.reports.figures import ForestRow
from alliance.reports.inputs import ReportData

BOUNDED_TYPES = frozenset(
    {
        "correlation",
        "r_squared",
        "r_squared_minimum",
        "r_squared_maximum",
        "r_squared_mean",
        "path_standardised",
        "covariance_standardised",
        "defined_standardised",
        "correlation_n_weighted",
        "correlation_random_effects",
        "correlation_contrast",
        "partial_correlation",
        "part_correlation",
        "semipartial_correlation",
        "correlation_with_change",
        "profile_likeness",
        "concordance",
        "slope_standardised",
        "slope_contrast",
        "interaction_standardised",
        "curvature_standardised",
        "slope_change",
        "reliability_of_means",
        "alpha",
        "omega_total",
        "omega_hierarchical",
        "omega_total_schmid_leiman",
        "omega_subscale",
        "alpha_ordinal",
        "omega_ordinal",
        "inter_item_correlation",
        "item_rest_correlation",
        "reliability_within",
        "reliability_between",
        "reliability_contrast",
        "reliability",
        "icc",
        "generalizability",
        "loading_standardised",
        "factor_correlation",
        "component_loading",
        "correlation_disattenuated",
        "correlation_minimum",
        "correlation_maximum",
        "correlation_mean",
        "correlation_disattenuated_mean",
        "correlation_disattenuated_contrast",
        "htmt",
        "confounder_correlation",
        "confounder_correlation_limit",
        "path_difference",
        "residual_correlation",
        "expected_change",
        "akaike_weight",
        "kappa",
        "pabak",
        "autocorrelation",
        "r_squared_contrast",
        "synchrony",
        "term_reliability",
    }
)
RATIO_TYPES = frozenset({"hazard_ratio", "odds_ratio", "observed_to_expected", "transition_odds"})
PERCENT_TYPES = frozenset(
    {
        "share",
        "share_difference",
        "variance_share",
        "share_of_rest",
        "r_squared_change",
        "dominance",
        "dominance_contrast",
        "r_squared_others",
        "r_squared_shared",
        "r_squared_total",
        "r_squared_adjusted",
        "r_squared_elsewhere",
        "variance_component",
        "residual_variance_standardised",
        "explained_common_variance",
        "uncontaminated_correlations",
        "consistency",
        "method_specificity",
        "component_share",
        "cumulative_risk",
        "share_in_treatment",
    }
)
RELIABILITY_TYPES = frozenset(
    {
        "alpha",
        "omega_total",
        "omega_hierarchical",
        "omega_total_schmid_leiman",
        "omega_subscale",
        "alpha_ordinal",
        "omega_ordinal",
        "reliability_within",
        "reliability_between",
        "reliability_of_means",
        "reliability",
        "icc",
        "generalizability",
    }
)
TOO_WIDE = 0.8
BELOW_ZERO = f"<{numbers.SPACE}0"
BELOW_ZERO_NOTE = f"{BELOW_ZERO}: the limit lies below zero, where a reliability has no meaning."
NOT_ESTIMABLE = "not estimable"
SITE_LEFT_OUT = "site left out"
REMARK_CHARACTERS = 200
ROWS_WITHHELD = "A dash: few or none; such rows are not counted among those received."
NAMED_SUBJECTS = 8
READ_WITH_CARE = "Read with care: "
SHORT_NAMES = {
    "(preferred)": "first of the configuration",
    "haq_1": "HAq-I",
    "haq_2": "HAq-II",
    "blri_empathy16": "BLRI empathy",
    "empathy_scale": "Empathy Scale",
    "homework_adherence": "Homework done",
    "ha_cs": "HAcs",
    "ha_r": "HAr",
    "haq_6": "HAq-6",
    "iip_32_barkham": "IIP-32 (Barkham)",
    "iip_32_horowitz": "IIP-32 (Horowitz)",
    "psq_rupture": "PSQ rupture",
    "tas_marziali": "TAS",
}


def pooled_rows(table: pd.DataFrame, **keys: str) -> pd.DataFrame:
    """Return the rows over all sites that have the given values in their key columns."""
    return select(table, site=POOLED, **keys)


def site_rows(table: pd.DataFrame, **keys: str) -> pd.DataFrame:
    """Return the rows of single sites that have the given values in their key columns."""
    return table[table["site"].ne(POOLED).to_numpy() & _having(table, keys)]


def table_of(data: ReportData, question: str, name: str) -> pd.DataFrame:
    """Return a table, each row once; without rows where the question is off or has no such table."""
    found = data.tables_once.get(question, {}).get(name)
    return contract.typed(pd.DataFrame(), contract.table_types(contract.table(question, name))) if found is None else found


def tables_of(data: ReportData, question: str) -> dict[str, pd.DataFrame]:
    """Return all tables of a question, each row once."""
    return dict(data.tables_once[question])


def select(table: pd.DataFrame, **keys: str) -> pd.DataFrame:
    """Return the rows that have the given values in the given columns."""
    return table[_having(table, keys)]


def tuples(table: pd.DataFrame) -> Iterator[Any]:
    """Yield the rows as ``DataFrame.itertuples`` does, in a fraction of its time where few rows have many columns."""
    made = _row_type(tuple(table.columns))
    for index, values in zip(table.index, table.to_numpy(dtype=object)):
        yield made(index, *values)


@functools.cache
def _row_type(columns: tuple[str, ...]) -> Any:
    return namedtuple("Row", ("Index", *columns), rename=True)


def _having(table: pd.DataFrame, keys: Mapping[str, str]) -> np.ndarray:
    chosen = np.ones(len(table), dtype=bool)
    for name, value in keys.items():
        column = table[name]
        # Text is compared as plain objects, without what pandas does around it.
        same = column.to_numpy() == value if column.dtype == object else (column == value).to_numpy(dtype=bool, na_value=False)
        chosen &= np.asarray(same, dtype=bool)
    return chosen


def has_number(row: Any) -> bool:
    """Tell whether a row carries an estimate."""
    return row.status in WITH_NUMBERS and numbers.known(row.estimate)


def more_withheld(table: pd.DataFrame) -> str:
    """Return how many of the rows that a sentence counts or compares are withheld, in brackets; empty where none is."""
    number = int(table["status"].eq(contract.WITHHELD).sum())
    return f" ({numbers.count(number)} more {'is' if number == 1 else 'are'} withheld)" if number else ""


def withheld_of(table: pd.DataFrame, noun: str) -> str:
    """Return how many rows of a table are withheld, in a sentence; empty where none is."""
    number = int(table["status"].eq(contract.WITHHELD).sum())
    return f"Of {plural(len(table), noun)}, {numbers.count(number)} {'is' if number == 1 else 'are'} withheld." if number else ""


def words(name: str) -> str:
    """Return a name of the configuration as it is read: ``family_relations`` becomes ``Family relations``."""
    text = numbers.typeset(name.replace("_", " ").strip())
    return text[:1].upper() + text[1:]


def construct_words(construct: str) -> str:
    """Return a construct as it is read: ``outcome_general`` becomes ``outcome, general``."""
    return construct.replace("outcome_", "outcome, ").replace("therapist_offered", "therapist-offered").replace("_", " ")


def instrument_name(key: str) -> str:
    """Return the usual short name of an instrument (``wai_sr`` becomes ``WAI-SR``)."""
    return SHORT_NAMES.get(key, key.replace("_", "-").upper() if len(key) <= 9 else words(key))


def with_names(text: str, keys: Iterable[str]) -> str:
    """Return a sentence of a question in which instruments of these keys, and their scales, have their usual names."""
    for key in sorted((key for key in keys if "_" in key and key in text), key=len, reverse=True):
        text = re.sub(
            rf"(?<![\w./-]){re.escape(key)}(?:\.(\w+))?(?!\w)",
            lambda found, key=key: instrument_name(key) + (f" {found[1].replace('_', ' ')}" if found[1] else ""),
            text,
        )
    return text


def measure(instrument: str, scale: str, rater: str = "") -> str:
    """Return the label of a measure: instrument, scale and rater."""
    name, part = instrument_name(instrument), scale.replace("_", " ")
    label = name if name.lower().endswith(f" {part}") else f"{name} {part}"
    return f"{label}, {rater}" if rater else label


def estimate_text(row: Any, decimals: int) -> str:
    """Return an estimate as printed, or that it is not estimable."""
    if not has_number(row):
        return "withheld" if row.status == "withheld" else NOT_ESTIMABLE
    return form(row.estimate_type)(row.estimate, decimals)


def value(data: ReportData, row: Any) -> str:
    """Return an estimate as printed, with its interval where it has one: ``.32, 95% CI [.25, .40]``."""
    interval = f", {data.level} CI {interval_text(row, data.decimals)}" if numbers.known(row.ci_low) else ""
    return f"{estimate_text(row, data.decimals)}{interval}"


def form(estimate_type: str) -> Any:
    """Return the way numbers of a type are printed."""
    if estimate_type in PERCENT_TYPES:
        return _percent
    if estimate_type == "p_value":
        return _p_value
    return numbers.bounded if estimate_type in BOUNDED_TYPES else numbers.decimal


def _p_value(value: Any, decimals: int = 3) -> str:
    return numbers.p_alone(value)


def _percent(value: Any, decimals: int = 0) -> str:
    return numbers.percent(value)


def interval_text(row: Any, decimals: int, low: str = "ci_low", high: str = "ci_high") -> str:
    """Return an interval of a row as printed, a limit of a reliability below zero as that; a dash where there is no interval."""
    ends = getattr(row, low), getattr(row, high)
    if row.estimate_type in PERCENT_TYPES:
        return percent_interval(row, low, high)
    if row.estimate_type in RELIABILITY_TYPES and all(map(numbers.known, ends)) and ends[0] < 0:
        return f"[{BELOW_ZERO},{numbers.SPACE}{numbers.bounded(ends[1], decimals)}]"
    return numbers.interval(*ends, decimals, row.estimate_type in BOUNDED_TYPES)


def percent_interval(row: Any, low: str = "ci_low", high: str = "ci_high") -> str:
    """Return an interval of shares in percent; a dash where there is none."""
    ends = getattr(row, low), getattr(row, high)
    known = all(map(numbers.known, ends))
    return f"[{numbers.percent(ends[0])},{numbers.SPACE}{numbers.percent(ends[1])}]" if known else numbers.UNKNOWN


def estimate_columns(data: ReportData, label: str, *, pooled: bool = True) -> tuple[Column, ...]:
    """Return the columns that :func:`estimate_cells` fills."""
    columns = [Column(label, True), Column(f"{data.level} CI", True)]
    if pooled:
        columns += [Column("Prediction interval", True, optional=True), Column("I²", True, optional=True), Column("Sites", True)]
    return (*columns, Column("Clients", True), Column("Published", True, optional=True), Column("Remark", wide=True, optional=True))


def estimate_cells(data: ReportData, row: Any, *, pooled: bool = True, decimals: int | None = None) -> tuple[Cell, ...]:
    """Return the cells of an estimate: number, interval, heterogeneity, counts, published figure, reason."""
    decimals = data.decimals if decimals is None else decimals
    cells = [
        number_cell(estimate_text(row, decimals), row.estimate if has_number(row) else None),
        number_cell(interval_text(row, decimals), row.ci_low),
    ]
    if pooled:
        cells += [
            number_cell(interval_text(row, decimals, "prediction_low", "prediction_high"), row.prediction_low),
            number_cell(numbers.percent(row.i2), row.i2),
            count_cell(row.n_sites),
        ]
    return (
        *cells,
        count_cell(row.n_clients),
        number_cell(form(row.estimate_type)(row.published, decimals) if numbers.known(row.published) else numbers.UNKNOWN, row.published),
        Cell(said := "; ".join(one for one in (remark(row), width_remark(row)) if one), said),
    )


def too_wide(row: Any) -> bool:
    """Tell whether the interval of a pooled correlation, reliability or share covers so much of what is possible that it says little."""
    bounded = row.estimate_type in BOUNDED_TYPES or row.estimate_type in PERCENT_TYPES
    known = has_number(row) and numbers.known(row.ci_low) and numbers.known(row.ci_high)
    return bounded and row.site == POOLED and known and told(told(row.ci_high) - told(row.ci_low)) > TOO_WIDE


def told(value: float, decimals: int = contract.DECIMALS) -> float:
    """Return a number as it is published, so that what is said of it does not depend on digits that are not shown."""
    return round(float(value), decimals)


def width_remark(row: Any) -> str:
    """Return that an interval is too wide to say much, and over how many sites it is; empty where it is not."""
    return f"Interval too wide to say much ({plural(row.n_sites, 'site')})" if too_wide(row) else ""


def remark(row: Any) -> str:
    """Return why a row is flagged, withheld or not estimable."""
    if row.status == "estimated":
        return ""
    if row.reason.startswith(SITE_LEFT_OUT):
        return _sentence(SITE_LEFT_OUT)
    return numbers.typeset(brief(_sentence(row.reason.removeprefix(f"{NOT_ESTIMABLE}: ")), REMARK_CHARACTERS))


def ended(text: str) -> str:
    """Return a sentence with a full stop, unless it ends already."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if text else ""


def count_cell(value: Any) -> Cell:
    """Return a cell for a count that may be unknown."""
    if value is None or value is pd.NA or value != value:
        return Cell(numbers.UNKNOWN, "")
    return number_cell(numbers.count(value), int(value))


def forest_rows(data: ReportData, table: pd.DataFrame, *, published: bool = True) -> list[ForestRow]:
    """Return forest rows of one estimate: its sites, then the pooled row with its prediction interval and the published figure."""
    rows = [_forest_row(row, data.labels.get(row.site, row.site)) for row in tuples(site_rows(table))]
    for row in tuples(pooled_rows(table)):
        rows.append(pooled_forest_row(row, f"Pooled ({plural(row.n_sites, 'site')})", published=published))
    return rows


def _forest_row(row: Any, label: str) -> ForestRow:
    weight = (
        float(row.n_clients) if row.n_clients is not None and row.n_clients is not pd.NA and row.n_clients == row.n_clients else math.nan
    )
    if not has_number(row):
        return ForestRow(label)
    return ForestRow(label, row.estimate, row.ci_low, row.ci_high, weight=weight)


def pooled_forest_row(row: Any, label: str, *, published: bool = True, kind: str = "pooled") -> ForestRow:
    """Return the forest row of a pooled estimate."""
    figure = row.published if published else math.nan
    if not has_number(row):
        return ForestRow(label, kind=kind, published=figure)
    known = numbers.known(row.prediction_low) and numbers.known(row.prediction_high)
    prediction = (row.prediction_low, row.prediction_high) if known else None
    return ForestRow(label, row.estimate, row.ci_low, row.ci_high, kind=kind, prediction=prediction, published=figure)


def plural(number: Any, noun: str) -> str:
    """Return a count with its noun: ``1 site``, ``6 sites``."""
    if number is None or number is pd.NA or number != number:
        return f"an unknown number of {noun}s"
    return f"{numbers.count(number)} {noun}" + ("" if int(number) == 1 else "s")


def sentence_estimate(data: ReportData, row: Any, symbol: str) -> str:
    """Return an estimate in running text: ``r = .32, 95% CI [.25, .40], 6 sites, 812 clients``."""
    parts = [f"{symbol}{numbers.SPACE}={numbers.SPACE}{estimate_text(row, data.decimals)}"]
    if numbers.known(row.ci_low):
        parts.append(f"{data.level} CI {interval_text(row, data.decimals)}")
    parts.append(plural(row.n_sites, "site"))
    if row.n_clients is not None and row.n_clients is not pd.NA and row.n_clients == row.n_clients:
        parts.append(plural(row.n_clients, "client"))
    return ", ".join(parts)


def spread_sentence(data: ReportData, row: Any) -> str:
    """Return how much sites differ, in a sentence; empty where that is unknown."""
    if not numbers.known(row.prediction_low):
        return ""
    show = form(row.estimate_type)
    low, high = show(row.prediction_low, data.decimals), show(row.prediction_high, data.decimals)
    text = f"In a new site like these, the true value would be expected between {low} and {high} ({data.level} prediction interval)"
    if numbers.known(row.i2):
        text += f"; {numbers.percent(row.i2)} of the variance of the site estimates lies between sites"
    return text + "."


def sureness(row: Any) -> str:
    """Return what an interval says about the sign (of a ratio: whether it is above or below 1), in words."""
    if not (numbers.known(row.ci_low) and numbers.known(row.ci_high)):
        return "no interval could be computed"
    if row.estimate_type in RATIO_TYPES:
        if row.ci_low > 1 or row.ci_high < 1:
            return "the interval leaves out 1"
        return "the interval holds 1, so it stays open whether more or fewer leave"
    if row.ci_low > 0 or row.ci_high < 0:
        return "the interval leaves out zero"
    return "the interval holds zero, so the sign stays open"


def benchmark_sentence(data: ReportData, row: Any) -> str:
    """Return the published figure beside the new one, in a sentence; empty where there is none."""
    if not (has_number(row) and numbers.known(row.published)):
        return ""
    show = form(row.estimate_type)
    text = f"The published figure is {show(row.published, data.decimals)}"
    if numbers.known(row.difference):
        text += f"; the new one differs from it by {show(row.difference, data.decimals)}"
    return text + "."


def not_estimable(data: ReportData, table: pd.DataFrame, name: Any) -> tuple[str, ...]:
    """Return the pooled rows that have no number, with what they need, each reason once with all it concerns."""
    by_reason: dict[str, list[str]] = {}
    for row in tuples(pooled_rows(table)):
        if row.status not in contract.COMPUTED:
            subjects = by_reason.setdefault(row.reason.removeprefix(f"{NOT_ESTIMABLE}: "), [])
            if name(row) not in subjects:
                subjects.append(name(row))
    told = ((_named(subjects), brief(reason, REMARK_CHARACTERS)) for reason, subjects in by_reason.items())
    return tuple(numbers.typeset(ended(f"{subjects}: {reason}")) for subjects, reason in told)


def _named(subjects: list[str]) -> str:
    more = len(subjects) - NAMED_SUBJECTS
    return "; ".join(subjects[:NAMED_SUBJECTS]) + (f"; and {numbers.count(more)} more" if more > 0 else "")


def rows_by(table: pd.DataFrame, keys: Sequence[str]) -> Iterable[tuple[tuple[str, ...], pd.DataFrame]]:
    """Yield groups of rows in the order in which they first stand in the table."""
    for key, group in table.groupby(list(keys), sort=False, dropna=False):
        yield (key if isinstance(key, tuple) else (key,)), group


def contrast_list(data: ReportData, lead: str, named: Sequence[tuple[str, Any]]) -> str:
    """Return several differences in one sentence, with which of their intervals leave out zero; empty where none has a number."""
    known = [(name, row) for name, row in named if has_number(row) and numbers.known(row.ci_low) and numbers.known(row.ci_high)]
    if not known:
        return ""
    shown = "; ".join(f"{name} {estimate_text(row, data.decimals)} {interval_text(row, data.decimals)}" for name, row in known)
    clear = [name for name, row in known if row.ci_low > 0 or row.ci_high < 0]
    if len(known) == 1:
        tally = sureness(known[0][1])
    elif not clear:
        tally = "all these intervals hold zero, so the signs stay open"
    elif len(clear) == len(known):
        tally = "all these intervals leave out zero"
    else:
        tally = f"zero is left out by the interval of {listed(clear)} alone"
    opening = f"{lead[:-1]}; " if lead.endswith(")") else f"{lead} ("
    return f"{opening}{data.level} CI): {shown}; {tally}."


def influence_sentence(data: ReportData, table: pd.DataFrame, what: str) -> str:
    """Return between which values a pooled estimate moves when each site is left out in turn; empty where that was not computed."""
    known = table[table["status"].isin(WITH_NUMBERS) & table["estimate"].notna()]
    if len(known) < 2:
        return ""
    show = form(known["estimate_type"].iloc[0])
    values = known["estimate"].map(lambda value: told(value, data.decimals))
    ends = []
    for value in (values.min(), values.max()):
        sites = known.loc[values.eq(value), "site_left_out"]
        # Sites that lead to the same printed number are not told apart.
        named = f" (without {data.labels.get(sites.iloc[0], sites.iloc[0])})" if len(sites) == 1 else ""
        ends.append(f"{show(value, data.decimals)}{named}")
    lead = f"Leaving out one site at a time{more_withheld(table)}, {what} stays"
    return f"{lead} at {ends[0]}." if values.nunique() == 1 else f"{lead} between {ends[0]} and {ends[1]}."


def site_table(data: ReportData, table: pd.DataFrame, id: str, caption: str, label: str) -> Table:
    """Return one estimate by site, the pooled row last."""
    rows, emphasised = [], set()
    for row in tuples(pd.concat([site_rows(table), pooled_rows(table)])):
        if row.site == POOLED:
            emphasised.add(len(rows))
        rows.append((Cell(data.labels.get(row.site, row.site)), *estimate_cells(data, row)))
    return Table(id, caption, (Column("Site"), *estimate_columns(data, label)), tuple(rows), emphasised=frozenset(emphasised))


def cautions(told: Iterable[str]) -> str:
    """Return what several estimates must be read with care for (:func:`caution`), each reason once; empty where nothing is flagged."""
    reasons = dict.fromkeys(one for text in told if text for one in text.removeprefix(READ_WITH_CARE).rstrip(".").split("; "))
    return ended(f"{READ_WITH_CARE}{'; '.join(reasons)}") if reasons else ""


def caution(row: Any) -> str:
    """Return why an estimate must be read with care, in a sentence; empty where nothing is flagged."""
    return numbers.typeset(ended(f"{READ_WITH_CARE}{brief(row.reason, REMARK_CHARACTERS)}")) if row.status == "flagged" else ""
