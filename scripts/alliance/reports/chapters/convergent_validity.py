"""How much the alliance measures have in common."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from alliance.questions.contract import WITH_NUMBERS
from alliance.reports import figures, numbers
from alliance.reports.chapters import common, published
from alliance.reports.elements import Cell, Chapter, Column, Figure, Table, number_cell
from alliance.reports.inputs import ReportData

QUESTION = "convergent_validity"
PAIR = ("level", "comparison", "instrument1", "scale1", "rater1", "instrument2", "scale2", "rater2")
LIMITS = (
    "A high correlation does not show that both measure the alliance: one person filled in both, and a shared mood or halo raises it.",
    "Shared variance is not corrected for unreliability; two measures cannot share more variance than their reliabilities allow.",
    "Subscales with different names or facets are different variables; a correlation between them says nothing about which is right.",
    "Levels of two measures cannot be compared here, only the order of clients.",
)


def build(data: ReportData) -> Chapter:
    """Return the chapter on convergent validity."""
    tables = data.tables[QUESTION]
    pairs, overlap = common.distinct(tables["pairs"]), common.distinct(tables["overlap_summary"])
    correlations = pairs[pairs["estimate_type"] == "correlation"]
    pooled = common.pooled_rows(correlations)
    blocks: list[Table | Figure] = [overlap_table(data, overlap), *published.tables(data, QUESTION, benchmark_name)]
    blocks += correlation_maps(data, pooled)
    totals = common.select(pooled, level="total", comparison="instruments")
    blocks += pair_forest(data, correlations, totals)
    blocks += [
        pair_table(data, pairs, "total", "instruments", "Total scales of two instruments, one rater, pooled over sites"),
        pair_table(data, pairs, "total", "raters", "One instrument’s total scale, two raters, pooled over sites"),
        pair_table(data, pairs, "subscale", "instruments", "Subscales of two instruments, one rater, pooled over sites"),
    ]
    raters = common.select(pooled, level="subscale", comparison="raters")
    if len(raters):
        blocks.append(pair_table(data, pairs, "subscale", "raters", "One instrument’s subscales, two raters, pooled over sites"))
    findings = [sentence for level in ("total", "subscale") if (sentence := overlap_sentence(data, overlap, level))]
    return Chapter(
        id="convergent-validity",
        title="Do the measures of the alliance measure the same?",
        question="How strongly do alliance questionnaires filled in about the same sessions agree, and how much variance do they share?",
        headlines=tuple(findings[:1]),
        findings=tuple([*findings, *rater_sentences(data, pooled)]),
        blocks=tuple(blocks),
        limits=LIMITS,
        missing=common.not_estimable(data, correlations, pair_label),
    )


def pair_label(row: Any) -> str:
    """Return the two measures of a pair."""
    if row.rater1 == row.rater2:
        return f"{common.measure(row.instrument1, row.scale1)} and {common.measure(row.instrument2, row.scale2)}, {row.rater1}"
    return f"{common.measure(row.instrument1, row.scale1, row.rater1)} and {common.measure(row.instrument2, row.scale2, row.rater2)}"


def headline_rows(overlap: pd.DataFrame) -> pd.DataFrame:
    """Return the pooled rows to read first: means of the sites' means, and the smallest and the largest of the pooled pairs."""
    rows = common.pooled_rows(overlap, pairs_kind="all")
    basis = rows["estimate_type"].map({"r_squared_mean": "sites", "r_squared_minimum": "pairs", "r_squared_maximum": "pairs"})
    return rows[rows["basis"] == basis]


def _overlap_rows(overlap: pd.DataFrame, **keys: str) -> dict[str, Any]:
    rows = common.select(headline_rows(overlap), **keys)
    return {row.estimate_type.removeprefix("r_squared_"): row for row in rows.itertuples()}


def overlap_table(data: ReportData, overlap: pd.DataFrame) -> Table:
    """Return smallest, mean and largest shared variance by level and rater."""
    rows = []
    for (level, rater), _ in common.rows_by(headline_rows(overlap), ("level", "rater")):
        found = _overlap_rows(overlap, level=level, rater=rater)
        first = found.get("minimum") or next(iter(found.values()))
        rows.append(
            (
                Cell({"total": "Total scales", "subscale": "Subscales"}.get(level, level)),
                Cell(rater),
                common.count_cell(first.n_pairs),
                *(_share_cell(found.get(name)) for name in ("minimum", "mean", "maximum")),
                common.count_cell(first.n_sites),
                Cell(common.remark(first)),
            )
        )
    return Table(
        id="overlap",
        caption="Variance that pairs of alliance measures share (two instruments, one rater)",
        columns=(
            Column("Scales"),
            Column("Rater"),
            Column("Pairs", True),
            Column("Smallest", True),
            Column("Mean", True),
            Column("Largest", True),
            Column("Sites", True),
            Column("Remark", wide=True, optional=True),
        ),
        rows=tuple(rows),
        note="Shared variance is the squared correlation. Pairs that share items (a short form and its long form) are left out.",
        empty="No two alliance measures were sent for the same sessions.",
    )


def _share_cell(row: Any) -> Cell:
    if row is None:
        return Cell(numbers.UNKNOWN, "")
    if not common.has_number(row):
        return Cell(numbers.UNKNOWN, "")
    return number_cell(numbers.percent(row.estimate), row.estimate)


def benchmark_name(table: str, row: Any) -> str:
    """Return what a published figure is about; empty for rows that are not shown beside one."""
    if table != "overlap_summary" or row.pairs_kind != "all" or row.basis != ("sites" if row.estimate_type == "r_squared_mean" else "pairs"):
        return ""
    kind = {"minimum": "smallest", "mean": "mean", "maximum": "largest"}.get(
        row.estimate_type.removeprefix("r_squared_"), row.estimate_type
    )
    scales = {"total": "total scales", "subscale": "subscales"}.get(row.level, row.level)
    return f"Shared variance of {scales}, {kind}, rater: {row.rater}"


def overlap_sentence(data: ReportData, overlap: pd.DataFrame, level: str) -> str:
    """Return how much variance pairs of one level share, over all raters; empty where nothing was estimated."""
    rows = common.select(headline_rows(overlap), level=level)
    if not len(rows):
        return ""
    raters = list(dict.fromkeys(rows["rater"]))
    found = _overlap_rows(overlap, level=level, rater="all" if "all" in raters else raters[0])
    if not {"minimum", "maximum", "mean"} <= set(found) or not all(common.has_number(row) for row in found.values()):
        return ""
    name = {"total": "total scales", "subscale": "subscales"}.get(level, level)
    return (
        f"Pairs of {name} from two instruments rated by the same person share {numbers.percent(found['mean'].estimate)} of their "
        f"variance on average (from {numbers.percent(found['minimum'].estimate)} to {numbers.percent(found['maximum'].estimate)}; "
        f"{common.plural(found['minimum'].n_pairs, 'pair')}, {common.plural(found['mean'].n_sites, 'site')})."
    )


def rater_sentences(data: ReportData, pooled: pd.DataFrame) -> list[str]:
    """Return the strongest and the weakest agreement between raters on one instrument."""
    rows = common.select(pooled, level="total", comparison="raters")
    rows = rows[rows["status"].isin(WITH_NUMBERS)]
    if not len(rows):
        return []
    ordered = rows.sort_values("estimate", kind="stable")
    weakest, strongest = next(ordered.head(1).itertuples()), next(ordered.tail(1).itertuples())
    if len(rows) == 1:
        return [f"Two raters of one instrument: {pair_label(strongest)}, {common.sentence_estimate(data, strongest, 'r')}."]
    return [
        f"Two raters of the same sessions agree most for {pair_label(strongest)} ({common.sentence_estimate(data, strongest, 'r')}) "
        f"and least for {pair_label(weakest)} ({common.sentence_estimate(data, weakest, 'r')})."
    ]


def correlation_maps(data: ReportData, pooled: pd.DataFrame) -> list[Figure]:
    """Return the map of pooled correlations among total scales; none where there are fewer than three measures."""
    rows = [row for row in common.select(pooled, level="total").itertuples() if common.has_number(row)]
    order = {"client": 0, "therapist": 1, "observer": 2}
    measures = sorted(
        {(row.instrument1, row.scale1, row.rater1) for row in rows} | {(row.instrument2, row.scale2, row.rater2) for row in rows},
        key=lambda measure: (order.get(measure[2], 3), measure[2], measure),
    )
    if len(measures) < 3:
        return []
    index = {measure: position for position, measure in enumerate(measures)}
    matrix = [[math.nan] * len(measures) for _ in measures]
    for row in rows:
        first, second = index[row.instrument1, row.scale1, row.rater1], index[row.instrument2, row.scale2, row.rater2]
        matrix[first][second] = matrix[second][first] = row.estimate
    labels = [common.measure(*measure) for measure in measures]
    strongest = max(rows, key=lambda row: row.estimate)
    weakest = min(rows, key=lambda row: row.estimate)
    cells = tuple(
        (Cell(label), *(number_cell(numbers.bounded(value, data.decimals), value) for value in matrix[position]))
        for position, label in enumerate(labels)
    )
    return [
        Figure(
            id="correlation-map",
            title="Correlations among total scales, pooled over sites",
            alt=(
                f"Map of the correlations among {len(measures)} total scales. "
                f"The highest is {common.estimate_text(strongest, data.decimals)} between {pair_label(strongest)}; "
                f"the lowest is {common.estimate_text(weakest, data.decimals)} between {pair_label(weakest)}."
            ),
            svg=figures.correlation_map(labels, matrix),
            narrow=figures.correlation_map(labels, matrix, narrow=True),
            note="A dash marks pairs that no site sent for the same sessions, and pairs that differ in both instrument and rater.",
            data=Table(
                id="correlation-map-data",
                caption="Pooled correlations among total scales",
                columns=(Column("Measure"), *(Column(label, True) for label in labels)),
                rows=cells,
            ),
        )
    ]


def pair_forest(data: ReportData, correlations: pd.DataFrame, totals: pd.DataFrame) -> list[Figure]:
    """Return the forest plot of the pair of total scales that most sites sent."""
    estimated = totals[totals["status"].isin(WITH_NUMBERS)].sort_values(["n_sites", "n_clients"], ascending=False, kind="stable")
    if not len(estimated):
        return []
    row = next(estimated.head(1).itertuples())
    chosen = common.select(correlations, **{name: getattr(row, name) for name in PAIR})
    rows = common.forest_rows(data, chosen)
    arguments = {"axis": "Correlation r", "decimals": data.decimals}
    return [
        Figure(
            id="pair-forest",
            title=f"Site by site: {pair_label(row)}",
            alt=(
                f"Forest plot of the correlation of {pair_label(row)} at each site. Pooled {common.sentence_estimate(data, row, 'r')}; "
                f"{common.sureness(row)}."
            ),
            svg=figures.forest(rows, **arguments),
            narrow=figures.forest(rows, **arguments, narrow=True),
            note=f"The pair that most sites sent. Lines are {data.level} intervals, squares grow with the number of clients.",
            data=common.site_table(data, chosen, "pair-forest-data", f"Correlation of {pair_label(row)} by site", "r"),
        )
    ]


def pair_table(data: ReportData, pairs: pd.DataFrame, level: str, comparison: str, caption: str) -> Table:
    """Return the pooled correlations of the pairs of one level and comparison, with the variance they share."""
    chosen = common.pooled_rows(pairs, level=level, comparison=comparison)
    shared = {tuple(getattr(row, name) for name in PAIR): row for row in common.select(chosen, estimate_type="r_squared").itertuples()}
    rows = []
    for row in sorted(common.select(chosen, estimate_type="correlation").itertuples(), key=lambda row: not common.has_number(row)):
        cells = common.estimate_cells(data, row)
        label = pair_label(row) + (" (share items)" if row.shared_items == "yes" else "")
        rows.append((Cell(label), *cells[:2], _share_cell(shared.get(tuple(getattr(row, name) for name in PAIR))), *cells[2:]))
    columns = common.estimate_columns(data, "r")
    return Table(
        id=f"pairs-{level}-{comparison}",
        caption=caption,
        columns=(Column("Measures"), *columns[:2], Column("Shared variance", True), *columns[2:]),
        rows=tuple(rows),
        empty="No site sent such a pair.",
    )
