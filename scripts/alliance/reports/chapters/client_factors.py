"""What clients bring to treatment and the alliance."""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance.reports import figures, numbers
from alliance.reports.chapters import client_factors_parts, common, published
from alliance.reports.elements import Cell, Chapter, Column, Figure, Fold, Table, number_cell
from alliance.reports.figures import ForestRow
from alliance.reports.inputs import ReportData

QUESTION = "client_factors"
RANDOM_EFFECTS = "correlation_random_effects"
TYPE_WORDS = {
    "correlation_n_weighted": "mean weighted by clients",
    RANDOM_EFFECTS: "random-effects mean",
    "correlation_contrast": "difference",
}
LIMITS = (
    "Factors were observed, not varied: a correlation does not show that changing the factor would change the alliance.",
    "Which factor belongs to which category follows the review and the configuration; another map gives other category means.",
    "A factor and an alliance rated by the same person share that person’s way of answering.",
    "Slopes between therapists rest on the means of a few clients each, so they say little where therapists are few.",
    "What factors and the alliance explain in common does not say which of them comes first.",
)
REVIEWED = ("interpersonal", "intrapersonal", "diagnostic")
"""Categories of the review; the configuration may have more."""


def build(data: ReportData) -> Chapter:
    """Return the chapter on client factors."""
    tables = {name: common.table_of(data, QUESTION, name) for name in data.tables[QUESTION]}
    every, categories = tables["factors"], tables["categories"]
    factors = headline_rows(data)
    pooled = common.pooled_rows(categories)
    means = [row for row in common.select(pooled, estimate_type=RANDOM_EFFECTS).itertuples() if common.has_number(row)]
    categories = categories[~categories["category"].isin(_further_contrasts(categories))]
    compared = common.pooled_rows(categories, estimate_type="correlation_contrast")
    contrasts = [(category_words(row.category), row) for row in compared.itertuples()]
    left_out = tables["leave_one_out"]
    over_time, beside, instruments = (common.table_of(data, QUESTION, name) for name in ("over_time", "unique_shared", "instruments"))
    findings = [
        *(told(data, row, left_out) for row in means),
        common.contrast_list(data, "Differences of categories", contrasts),
        client_factors_parts.sign_sentence(common.pooled_rows(factors), REVIEWED),
        client_factors_parts.weight_sentence(data, common.pooled_rows(factors, category="diagnostic")),
        *client_factors_parts.beside_sentences(data, beside),
        *client_factors_parts.together_sentences(data, beside),
        *client_factors_parts.time_sentences(data, over_time),
        *client_factors_parts.instrument_sentences(data, instruments),
    ]
    return Chapter(
        id="client-factors",
        title="What clients bring: factors at intake and the alliance",
        question="Which characteristics of clients at intake go with a better alliance, early in treatment and throughout?",
        sources=(QUESTION,),
        headlines=(headline(data, means),) if means else (),
        findings=tuple(sentence for sentence in findings if sentence),
        blocks=(
            category_table(data, categories),
            *published.tables(data, QUESTION, benchmark_name),
            *factor_forest(data, factors, means),
            factor_table(data, factors),
            *client_factors_parts.measured_figure(data, factors),
            *client_factors_parts.beside_blocks(data, beside),
            *client_factors_parts.time_blocks(data, over_time),
            *client_factors_parts.instrument_blocks(data, instruments),
            Fold("factors-sites-fold", "Factors site by site", (site_factor_table(data, factors),)),
            *client_factors_parts.more_blocks(data, every),
        ),
        limits=LIMITS,
        missing=common.not_estimable(data, factors, lambda row: common.words(row.factor)),
    )


def _further_contrasts(categories: pd.DataFrame) -> set[str]:
    """Return the contrasts with categories that the review does not have; they stand in the table of the results."""
    pairs = set(categories.loc[categories["estimate_type"].eq("correlation_contrast"), "category"])
    return {pair for pair in pairs if not set(pair.split(" - ")) <= set(REVIEWED)}


def headline_rows(data: ReportData) -> pd.DataFrame:
    """Return the correlations with the alliance that the question is about: one rater, one window."""
    factors = common.table_of(data, QUESTION, "factors")
    return factors[factors["headline"].eq("yes")]


def benchmark_name(table: str, row: Any) -> str:
    """Return what a published figure is about."""
    if table == "factors":
        return client_factors_parts.factor_words(row)
    if table in ("over_time", "instruments"):
        return ""
    if table == "unique_shared":
        return client_factors_parts.beside_name(row) if numbers.known(row.published) else ""
    return f"{common.words(row.category)} factors, {TYPE_WORDS.get(row.estimate_type, row.estimate_type)}"


def category_words(category: str) -> str:
    """Return a category, or the two that are compared, in words."""
    return category.replace(" - ", " minus ").replace("_", " ")


def headline(data: ReportData, means: list[Any]) -> str:
    """Return the category means in one sentence."""
    parts = [
        f"{category_words(row.category)} factors {common.estimate_text(row, data.decimals)} {common.interval_text(row, data.decimals)}"
        + (f" (review: {numbers.bounded(row.published, data.decimals)})" if numbers.known(row.published) else "")
        for row in means
    ]
    return f"Mean correlation of client factors at intake with the early alliance, {data.level} CI: {'; '.join(parts)}."


def told(data: ReportData, row: Any, left_out: pd.DataFrame) -> str:
    """Return a category's mean, how much sites differ, and how much it rests on single sites."""
    alone = common.select(left_out, category=row.category, factor="", estimate_type=RANDOM_EFFECTS)
    sentences = (
        mean_sentence(data, row),
        common.spread_sentence(data, row),
        common.influence_sentence(data, alone, f"the mean of {category_words(row.category)} factors"),
        common.caution(row),
    )
    return " ".join(sentence for sentence in sentences if sentence)


def mean_sentence(data: ReportData, row: Any) -> str:
    """Return the mean correlation of a category in a sentence."""
    said = published.in_words(data, QUESTION, "categories", row)
    review = common.benchmark_sentence(data, row) or (said.note if said is not None else "")
    return (
        f"{common.words(row.category)} factors correlate with the early alliance by {common.sentence_estimate(data, row, 'mean r')}; "
        f"{common.sureness(row)}. {review}"
    ).strip()


def contrast_sentence(data: ReportData, row: Any) -> str:
    """Return the difference of two categories in a sentence."""
    return (
        f"Difference of categories ({category_words(row.category)}): {numbers.bounded(row.estimate, data.decimals)}, "
        f"{data.level} CI {common.interval_text(row, data.decimals)}; {common.sureness(row)}."
    )


def category_table(data: ReportData, categories: pd.DataFrame) -> Table:
    """Return the category means and their differences."""
    rows = tuple(
        (
            Cell(common.words(category_words(row.category))),
            Cell(TYPE_WORDS.get(row.estimate_type, common.words(row.estimate_type))),
            common.count_cell(row.n_correlations),
            *_beside_the_review(data, row),
        )
        for row in common.pooled_rows(categories).itertuples()
    )
    return Table(
        id="factor-categories",
        caption="Mean correlation with the early alliance by category of client factors",
        columns=(Column("Category"), Column("Form"), Column("Correlations", True), *common.estimate_columns(data, "Mean r")),
        rows=rows,
        note="Factors where higher means worse were turned before pooling: a positive correlation means better at intake, better alliance.",
        empty="No category could be estimated.",
    )


def _beside_the_review(data: ReportData, row: Any) -> tuple[Cell, ...]:
    """Return the cells of an estimate, with the review's word where it gives no figure."""
    *cells, figure, remark = common.estimate_cells(data, row)
    said = published.in_words(data, QUESTION, "categories", row)
    return (*cells, Cell(said.words, "") if said is not None else figure, remark)


def factor_forest(data: ReportData, factors: pd.DataFrame, means: list[Any]) -> list[Figure]:
    """Return the forest plot of pooled factors, by category, each with its category's mean."""
    pooled = common.pooled_rows(factors)
    by_category = {row.category: row for row in means}
    rows: list[ForestRow] = []
    for (category,), group in common.rows_by(pooled, ("category",)):
        rows.append(ForestRow(f"{common.words(category)} factors", kind="heading"))
        rows += [
            common.pooled_forest_row(row, client_factors_parts.factor_words(row) + _rater(pooled, row), kind="estimate", published=False)
            for row in group.itertuples()
        ]
        if category in by_category:
            rows.append(common.pooled_forest_row(by_category[category], f"Mean, {category_words(category)}"))
    if not any(numbers.known(row.estimate) for row in rows):
        return []
    told = "; ".join(
        f"{row.label} {numbers.bounded(row.estimate, data.decimals)} {numbers.interval(row.low, row.high, data.decimals)}"
        for row in rows
        if numbers.known(row.estimate)
    )
    arguments = {"axis": "Correlation with the early alliance", "decimals": data.decimals}
    return [
        Figure(
            id="factor-forest",
            title="Client factors at intake and the early alliance, pooled over sites",
            alt=f"Forest plot of pooled correlations with {data.level} intervals: {told}.",
            svg=figures.forest(rows, **arguments, narrow=True),
            note=f"Squares are factors, diamonds category means; lines are {data.level} intervals. The table that follows has the numbers.",
        )
    ]


def _rater(pooled: pd.DataFrame, row: Any) -> str:
    same = common.select(pooled, factor=row.factor)
    return f", {row.alliance_rater}" if len(same) > 1 else ""


def factor_table(data: ReportData, factors: pd.DataFrame) -> Table:
    """Return the pooled correlation of every factor."""
    rows = tuple(
        (
            Cell(common.words(row.factor)),
            Cell(category_words(row.category)),
            Cell("yes" if row.reversed == "yes" else "no"),
            Cell(row.alliance_rater),
            Cell(row.same_rater),
            *common.estimate_cells(data, row),
        )
        for row in common.pooled_rows(factors).itertuples()
    )
    return Table(
        id="factors",
        caption="Client factors at intake and the early alliance, pooled over sites",
        columns=(
            Column("Factor"),
            Column("Category"),
            Column("Sign turned"),
            Column("Alliance rated by"),
            Column("Same rater"),
            *common.estimate_columns(data, "r"),
        ),
        rows=rows,
        empty="No client factor was sent together with an early alliance.",
    )


def site_factor_table(data: ReportData, factors: pd.DataFrame) -> Table:
    """Return the correlation of every factor at every site, the fewer of both as columns; all else stands on the site's own page."""
    own = common.site_rows(factors)
    sites, names = sorted(set(own["site"])), list(dict.fromkeys(own["factor"]))
    found = {(row.factor, row.site): row for row in own.itertuples()}
    words = {row.factor: client_factors_parts.factor_words(row) for row in own.itertuples()}

    def cell(row: Any) -> Cell:
        if row is None or not common.has_number(row):
            return Cell(numbers.UNKNOWN, "")
        return number_cell(numbers.bounded(row.estimate, data.decimals), row.estimate)

    labels = [data.labels.get(site, site) for site in sites]
    factor_labels = [words[name] for name in names]
    cells = [[cell(found.get((name, site))) for site in sites] for name in names]
    upright = len(sites) > len(names)
    first, across, down = ("Site", factor_labels, labels) if upright else ("Factor", labels, factor_labels)
    return Table(
        id="factors-sites",
        caption="Client factors at intake and the early alliance, site by site",
        columns=(Column(first), *(Column(label, True) for label in across)),
        rows=tuple((Cell(label), *row) for label, row in zip(down, zip(*cells) if upright else cells)),
        note="Correlations. Intervals, numbers of clients and remarks stand on the page of each site.",
        empty="No site sent a client factor together with an early alliance.",
    )
