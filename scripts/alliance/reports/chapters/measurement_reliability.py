"""Parts of the chapter on measurement: how reliable the scores are, who rates most reliably, how far observers agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.contract import WITH_NUMBERS
from alliance.reports import figures, numbers
from alliance.reports.chapters import common
from alliance.reports.chapters.outcome_parts import RATERS, minus, value
from alliance.reports.drawing import LABELLED_ROWS
from alliance.reports.elements import Cell, Column, Figure, Part, Table, listed, number_cell
from alliance.reports.figures import ForestRow
from alliance.reports.inputs import ReportData

Blocks = list[Table | Figure | Part]
QUESTION = "measurement"
PREFERRED = "(preferred)"
TOTAL = "total"
SYMBOLS = {
    "alpha": "α",
    "omega_total": "ω",
    "omega_hierarchical": "hierarchical ω",
    "omega_total_schmid_leiman": "Schmid-Leiman ω",
    "alpha_ordinal": "ordinal α",
    "omega_ordinal": "categorical ω",
}
MEANINGS = {
    "alpha": "alpha",
    "omega_total": "omega of one common factor",
    "omega_ordinal": "omega of ordered answers",
}
COEFFICIENTS = {
    "omega_within": "within clients (ω)",
    "omega_between": "between clients, of their true means (ω)",
    "omega_of_means": "between clients, of their observed means (ω)",
    "alpha_within": "within clients (α)",
    "alpha_between": "between clients, of their true means (α)",
    "R_1F": "between clients, one session (R1F)",
    "R_KF": "between clients, mean of their sessions (RKF)",
    "R_C": "of change from session to session, sessions fixed (RC)",
    "R_CN": "of change from session to session, sessions nested (RCN)",
    "lag 1": "from one session to the next",
}
SOURCES = {
    "client": "clients",
    "session": "sessions of a client",
    "rater": "raters’ general level",
    "client x rater": "raters’ own views of a client",
    "residual": "the rest",
}
ERRORS = {
    "rater": "the general level of their ratings",
    "client x rater": "their own views of a client, which last over sessions",
    "residual": "what one rater sees in one session, together with error",
}
GENERALIZABILITY = {
    "clients' means over sessions": "Generalizability, clients’ means",
    "scores of single sessions": "Generalizability, single sessions",
}
ONE_SCALE = ["instrument", "rater", "instrument_scale", "derived_from"]
MOST_GROUPS = 30


def reliability_of(data: ReportData) -> pd.DataFrame:
    """Return the rows on scales of named instruments, not items."""
    table = common.table_of(data, QUESTION, "reliability")
    return table[table["item"].eq("") & ~table["instrument"].isin(("", PREFERRED))]


def preferred_rows(data: ReportData, **keys: str) -> pd.DataFrame:
    """Return the pooled rows on each rater's first alliance instrument of the configuration, whichever a site has."""
    return common.pooled_rows(common.table_of(data, QUESTION, "reliability"), instrument=PREFERRED, **keys)


def main_window(data: ReportData) -> str:
    """Return the main window of the question."""
    return data.options["questions"][QUESTION]["windows"][0]


def scale_name(row: Any) -> str:
    """Return the scale that a row is about, and where its answers came from."""
    name = common.measure(row.instrument, row.instrument_scale)
    return f"{name} (from {common.instrument_name(row.derived_from)})" if row.derived_from else name


def scale_label(row: Any) -> str:
    """Return the scale that a row is about with its rater, for sentences and lists."""
    return f"{scale_name(row)}, {row.rater}"


def in_order(rows: pd.DataFrame, data: ReportData) -> pd.DataFrame:
    """Return rows by rater, then instrument in the order of the configuration, totals before other scales, derived forms last."""
    listed_first = {name: place for place, name in enumerate(data.options["alliance"]["instruments"])}
    keys = pd.DataFrame(
        {
            "rater": rows["rater"].map({name: place for place, name in enumerate(RATERS)}).fillna(len(RATERS)),
            "derived": rows["derived_from"].ne("") if "derived_from" in rows else False,
            "instrument": rows["instrument"].map(listed_first).fillna(len(listed_first)),
            "name": rows["instrument"],
            "scale": rows["instrument_scale"].ne(TOTAL) if "instrument_scale" in rows else False,
        },
        index=rows.index,
    )
    return rows.loc[keys.sort_values(list(keys), kind="stable").index]


def headline_rows(data: ReportData) -> pd.DataFrame:
    """Return the coefficient to read first of every scale, at every site and pooled, in the main window."""
    table = reliability_of(data)
    return in_order(common.select(table, contrast="", headline="yes", window=main_window(data)), data)


def of_totals(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of total scores of forms that were filled in themselves; all scales where there is no such total."""
    own = common.select(rows, derived_from="")
    totals = common.select(own, instrument_scale=TOTAL)
    return totals if len(totals) else own


def with_number(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that carry an estimate."""
    return rows[rows["status"].isin(WITH_NUMBERS) & rows["estimate"].notna()]


def symbol(row: Any) -> str:
    """Return the sign of a coefficient."""
    return SYMBOLS.get(row.estimate_type, row.estimate_type.replace("_", " "))


def findings(data: ReportData) -> list[str]:
    """Return how reliable total scores are, in a sentence that says what that means."""
    every = common.pooled_rows(of_totals(headline_rows(data)))
    rows = with_number(every).assign(estimate=lambda found: found["estimate"].map(lambda value: common.told(value, data.decimals)))
    if rows.empty:
        return []
    low, high = (next(common.tuples(rows.loc[[at]])) for at in (rows["estimate"].idxmin(), rows["estimate"].idxmax()))
    if len(rows) == 1:
        told = f"The reliability of {scale_label(low)} is {common.sentence_estimate(data, low, symbol(low))}"
    else:
        told = (
            f"The reliabilities of total scores lie between {common.estimate_text(low, data.decimals)} ({scale_label(low)}) and "
            f"{common.estimate_text(high, data.decimals)} ({scale_label(high)}), pooled over sites{common.more_withheld(every)}"
        )
    meaning = (
        f"{numbers.percent(low.estimate)} of the differences between clients in the {'' if len(rows) == 1 else 'least reliable '}score are "
        "differences in what its items have in common, the rest is error of measurement"
    )
    return [f"{told}; that is, {meaning}."]


def low_sentence(data: ReportData) -> str:
    """Return which scales are less reliable than the limit of the configuration."""
    limit = data.options["questions"][QUESTION]["low_reliability"]
    every = common.pooled_rows(headline_rows(data))
    rows = with_number(every)
    if rows.empty:
        return ""
    shown = numbers.bounded(limit, data.decimals)
    below = rows["estimate"].map(lambda value: common.told(value, data.decimals)) < limit
    low = [f"{scale_label(row)} ({value(data, row)})" for row in common.tuples(rows[below])]
    if not low:
        return f"No scale is below {shown}, the limit of the configuration, pooled over sites{common.more_withheld(every)}."
    more = len(low) - common.NAMED_SUBJECTS
    named = "; ".join(low[: common.NAMED_SUBJECTS]) + (f"; and {numbers.count(more)} more" if more > 0 else "")
    return (
        f"Below {shown}, the limit of the configuration, pooled over sites{common.more_withheld(every)}: {named}. Correlations with "
        f"{'it' if len(low) == 1 else 'them'} are lower than those of the thing measured."
    )


def reliability(data: ReportData) -> Blocks:
    """Return the reliability of every scale: dot plot by site, table, coefficients over sessions, comparison of raters."""
    table = reliability_of(data)
    if table.empty:
        return []
    sentences = [low_sentence(data), *rater_sentences(data), *change_sentences(data)]
    return [
        Part("measurement-reliability", "How reliable are the scores?", tuple(sentence for sentence in sentences if sentence)),
        *dot_plot(data),
        scale_table(data),
        *session_table(data),
        *contrast_table(data),
    ]


def dot_plot(data: ReportData) -> list[Figure]:
    """Return reliabilities by site, one group an instrument and rater; each group in one row where there are very many sites."""
    rows = of_totals(headline_rows(data))
    groups = [group for _, group in common.rows_by(rows, ("instrument", "instrument_scale", "rater", "estimate_type"))]
    groups = [group for group in groups if len(with_number(group))][:MOST_GROUPS]
    if not groups:
        return []
    summarised = sum(len(group) + 1 for group in groups) > LABELLED_ROWS
    drawn, told = [], []
    for group in groups:
        first = next(common.tuples(group))
        label = f"{scale_label(first)} ({symbol(first)})"
        pooled = next((row for row in common.tuples(common.pooled_rows(with_number(group)))), None)
        drawn += [_summary(data, group, label)] if summarised else [ForestRow(label, kind="heading"), *common.forest_rows(data, group)]
        if pooled is not None:
            told.append(f"{label} {common.estimate_text(pooled, data.decimals)} {common.interval_text(pooled, data.decimals)}")
    limit = data.options["questions"][QUESTION]["low_reliability"]
    arguments = {"axis": "Reliability", "decimals": data.decimals, "reference": limit}
    sites = "; bars hold the middle 80% of the sites" if summarised else f"; lines are {data.level} intervals of sites"
    return [
        Figure(
            id="reliability-by-site",
            title=f"Reliability of total scores by site, {main_window(data).replace('_', ' ')}",
            alt=f"Dot plot of reliabilities at each site by instrument and rater. Pooled over sites: {'; '.join(told) or 'none'}.",
            svg=figures.forest(drawn, **arguments, narrow=True),
            note=f"Diamonds are pooled over sites{sites}. The upright line marks {numbers.bounded(limit, data.decimals)}, below which the "
            "configuration calls a reliability low (a convention).",
            data=_site_data(data, groups, summarised),
        )
    ]


def _summary(data: ReportData, group: pd.DataFrame, label: str) -> ForestRow:
    """Return all sites of a group as one row: the pooled value, and between which values the middle of the sites lies."""
    sites = with_number(common.site_rows(group))["estimate"]
    spread = (float(sites.quantile(0.1)), float(sites.quantile(0.9))) if len(sites) else None
    pooled = next((row for row in common.tuples(common.pooled_rows(with_number(group)))), None)
    if pooled is None:
        return ForestRow(label, kind="heading", spread=spread)
    return ForestRow(label, pooled.estimate, pooled.ci_low, pooled.ci_high, kind="pooled", published=pooled.published, spread=spread)


def _site_data(data: ReportData, groups: list[pd.DataFrame], summarised: bool) -> Table:
    rows, emphasised = [], set()
    for group in groups:
        for row in common.tuples(
            common.pooled_rows(group) if summarised else pd.concat([common.site_rows(group), common.pooled_rows(group)])
        ):
            if row.site == common.POOLED:
                emphasised.add(len(rows))
            place = Cell(data.labels.get(row.site, row.site))
            rows.append((Cell(scale_label(row)), Cell(symbol(row)), place, *common.estimate_cells(data, row)))
    return Table(
        "reliability-by-site-data",
        "Reliability of total scores by site",
        (Column("Measure"), Column("Coefficient"), Column("Site"), *common.estimate_columns(data, "Reliability")),
        tuple(rows),
        note="The sites one by one stand in tables/measurement/reliability.csv." if summarised else "",
        emphasised=frozenset(emphasised),
    )


def scale_table(data: ReportData) -> Table:
    """Return alpha, omega and what stands beside them for every scale, pooled over sites."""
    pooled = common.pooled_rows(reliability_of(data), contrast="", window=main_window(data))
    items = common.pooled_rows(
        common.table_of(data, QUESTION, "reliability"), window=main_window(data), estimate_type="item_rest_correlation"
    )
    weakest = {}
    for key, group in common.rows_by(with_number(items), ONE_SCALE):
        told = group["estimate"].map(lambda value: common.told(value, data.decimals))
        # Items that lead to the same printed number are not told apart.
        named = group.loc[told.eq(told.min()), "item"].tolist()
        label = f"item {named[0]}" if len(named) == 1 else f"items {listed(named)}"
        weakest[key] = (f"{label} ({numbers.bounded(told.min(), data.decimals)})", told.min())
    rows = []
    for key, group in common.rows_by(in_order(pooled, data), ONE_SCALE):
        found = {row.estimate_type: row for row in common.tuples(group)}
        shown = [row for kind, row in found.items() if kind in SYMBOLS]
        if not any(map(common.has_number, shown)):
            continue
        first = next((row for row in shown if row.headline == "yes"), None)
        counted = next(row for row in (first, *shown) if row is not None and common.has_number(row))
        remarks: dict[str, list[str]] = {}
        for row in shown:
            for one in filter(None, (common.remark(row), common.width_remark(row))):
                remarks.setdefault(one, []).append(symbol(row))
        rows.append(
            (
                Cell(scale_name(shown[0])),
                Cell(shown[0].rater),
                Cell(symbol(first) if first is not None else numbers.UNKNOWN),
                *(cell for kind in ("alpha", "omega_total", "omega_ordinal") for cell in _two_cells(data, found.get(kind))),
                *(_cell(data, found.get(kind)) for kind in ("alpha_ordinal", "omega_hierarchical", "omega_total_schmid_leiman")),
                _cell(data, found.get("inter_item_correlation")),
                Cell(*weakest.get(key, (numbers.UNKNOWN, ""))),
                _cell(data, found.get("share")),
                common.count_cell(shown[0].n_items),
                common.count_cell(counted.n_sites),
                common.count_cell(counted.n_clients),
                Cell("; ".join(f"{one}: {', '.join(symbols)}" for one, symbols in remarks.items())),
            )
        )
    interval = f"{data.level} CI"
    columns = (
        *(Column("Measure"), Column("Rater"), Column("Read first")),
        *(Column("α", True), Column(interval, True), Column("ω", True), Column(interval, True)),
        *(Column("Categorical ω", True, optional=True), Column(interval, True, optional=True)),
        *(Column(name, True, optional=True) for name in ("Ordinal α", "Hierarchical ω", "Schmid-Leiman ω", "Mean inter-item r")),
        *(Column("Weakest item (item-rest r)", optional=True), Column("At the ceiling", True, optional=True)),
        *(Column("Items", True), Column("Sites", True), Column("Clients", True), Column("Remark", wide=True, optional=True)),
    )
    few = data.options["questions"][QUESTION]["ordinal_categories"]
    return Table(
        "reliability-scales",
        "Reliability of every scale, pooled over sites",
        columns,
        tuple(rows),
        note=f"Read first: the coefficient the study calls the reliability of that score. With {numbers.count(few)} answers an item or "
        "fewer that is categorical ω, since answers are ordered steps; ordinal α is of answers thought continuous, not of the score. At "
        "the ceiling: share of clients with the highest possible score. Sites and clients are those of the coefficient to read first or of "
        f"the first that could be estimated. {common.BELOW_ZERO_NOTE} Other windows and all items: tables/measurement/reliability.csv.",
        empty="No scale could be pooled over sites.",
    )


def _cell(data: ReportData, row: Any) -> Cell:
    if row is None or not common.has_number(row):
        return Cell(numbers.UNKNOWN, "")
    return number_cell(common.estimate_text(row, data.decimals), row.estimate)


def _two_cells(data: ReportData, row: Any) -> tuple[Cell, Cell]:
    if row is None or not common.has_number(row):
        return Cell(numbers.UNKNOWN, ""), Cell(numbers.UNKNOWN, "")
    return _cell(data, row), number_cell(common.interval_text(row, data.decimals), row.ci_low)


def session_rows(data: ReportData) -> pd.DataFrame:
    """Return the pooled reliabilities within and between clients, and the stability over sessions."""
    pooled = common.pooled_rows(reliability_of(data), contrast="")
    chosen = pooled["estimate_type"].isin(("reliability_within", "reliability_between"))
    return in_order(pooled[chosen | pooled["estimate_type"].eq("correlation")], data)


def session_name(row: Any) -> str:
    """Return what a coefficient over sessions is about, in words."""
    kinds = {"reliability_within": "within clients", "reliability_between": "between clients", "correlation": "stability"}
    return COEFFICIENTS.get(row.coefficient, row.coefficient.replace("_", " ")) or kinds[row.estimate_type]


def change_sentences(data: ReportData) -> list[str]:
    """Return how reliable changes within clients are against differences between clients, of total scores."""
    rows = with_number(of_totals(session_rows(data)))
    of_alliance = [getattr(data.instruments.get(key), "construct", "alliance") == "alliance" for key in rows["instrument"]]
    rows = rows[np.array(of_alliance, dtype=bool)]
    told = []
    for (instrument, rater), group in common.rows_by(rows, ("instrument", "rater")):
        found = {row.coefficient: row for row in common.tuples(group)}
        for change, persons in (("omega_within", "omega_of_means"), ("R_C", "R_KF")):
            if change in found and persons in found:
                told.append(
                    f"{common.instrument_name(instrument)}, {rater}: {common.estimate_text(found[change], data.decimals)} for change from "
                    f"session to session, {common.estimate_text(found[persons], data.decimals)} for differences between clients’ means"
                )
                break
    if not told:
        return []
    return [f"Reliability over sessions. {'; '.join(told)}. A score that tells clients apart well need not tell sessions apart."]


def session_table(data: ReportData) -> list[Table]:
    """Return reliabilities within and between clients and stability over sessions; none without repeated sessions."""
    rows = with_number(common.select(session_rows(data), derived_from=""))
    if rows.empty:
        return []
    cells = tuple(
        (Cell(scale_name(row)), Cell(row.rater), Cell(session_name(row)), *common.estimate_cells(data, row)) for row in common.tuples(rows)
    )
    columns = (Column("Measure"), Column("Rater"), Column("Reliability"), *common.estimate_columns(data, "Estimate"))
    return [
        Table(
            "reliability-sessions",
            "Reliability within and between clients, stability over sessions, pooled over sites",
            columns,
            cells,
            note="Within clients: how far differences between sessions of one client are more than error. Stability is no reliability: it "
            f"falls where clients truly change. {common.BELOW_ZERO_NOTE}",
            folded=True,
        )
    ]


def contrast_rows(data: ReportData) -> pd.DataFrame:
    """Return the pooled differences of reliability between raters of the same dyads."""
    table = common.table_of(data, QUESTION, "reliability")
    return common.pooled_rows(table, window=main_window(data), estimate_type="reliability_contrast")


def contrast_name(row: Any) -> str:
    """Return a difference of raters in words."""
    name = "" if row.instrument == PREFERRED else f"{common.measure(row.instrument, row.instrument_scale)}, "
    return f"{name}{minus(row.contrast)}" + (f" ({SYMBOLS.get(row.coefficient, row.coefficient)})" if row.coefficient else "")


def rater_sentences(data: ReportData) -> list[str]:
    """Return what raters' reliabilities are beside the review's, and their differences on the same dyads."""
    by_rater = []
    rows = preferred_rows(data, window=main_window(data), contrast="", estimate_type="alpha")
    agreed = common.pooled_rows(common.table_of(data, QUESTION, "interrater"), instrument=PREFERRED, headline="yes")
    for rater in RATERS:
        own = [*common.tuples(common.select(rows, rater=rater)), *common.tuples(common.select(agreed, rater=rater))]
        shown = [f"{_coefficient(row)} {value(data, row)}{_review(data, row)}" for row in own if common.has_number(row)]
        if shown:
            by_rater.append(f"{rater} {', '.join(shown)}")
    named = [(contrast_name(row), row) for row in common.tuples(contrast_rows(data))]
    sentences = [f"By rater (the first alliance instrument of the configuration at each site): {'; '.join(by_rater)}."] if by_rater else []
    return [*sentences, common.contrast_list(data, "Differences of reliability between raters of the same dyads", named)]


def _coefficient(row: Any) -> str:
    return SYMBOLS.get(row.estimate_type) or f"agreement {row.form}"


def _review(data: ReportData, row: Any) -> str:
    return f" (the review: about {numbers.bounded(row.published, data.decimals)})" if numbers.known(row.published) else ""


def contrast_table(data: ReportData) -> list[Table]:
    """Return the differences between raters; none where no site has two raters of the same dyads."""
    rows = contrast_rows(data)
    if rows.empty:
        return []
    cells = tuple((Cell(contrast_name(row)), *common.estimate_cells(data, row)) for row in common.tuples(with_number(rows)))
    return [
        Table(
            "reliability-raters",
            "Differences of reliability between raters of the same dyads, pooled over sites",
            (Column("First minus second", wide=True), *common.estimate_columns(data, "Difference")),
            cells,
            note="On the clients whom both rated, so that dyads and not samples are compared.",
            folded=True,
        )
    ]


def observer_rows(data: ReportData) -> pd.DataFrame:
    """Return the pooled rows on agreement of several raters of the same sessions."""
    table = common.table_of(data, QUESTION, "interrater")
    return in_order(common.pooled_rows(table[table["instrument"].ne(PREFERRED)]), data)


def agreement_name(row: Any) -> str:
    """Return what a row on agreement is about, for lists."""
    form = row.form or row.estimate_type.replace("_", " ")
    return f"Agreement of {row.rater}s, {common.measure(row.instrument, row.instrument_scale)}, {form}"


def observers(data: ReportData) -> Blocks:
    """Return how far observers agree, with the form of the coefficient named."""
    rows = observer_rows(data)
    if rows.empty:
        return []
    sentences = []
    for row in common.tuples(with_number(common.select(rows, headline="yes", instrument_scale=TOTAL))):
        average = row.form.endswith(",k)")
        amount = (
            f"{numbers.decimal(row.n_raters, 1).removesuffix('.0')} raters" if numbers.known(row.n_raters) else "all raters of a session"
        )
        what = f"the mean of {amount}" if average else "a single rater"
        sentences.append(
            f"{common.measure(row.instrument, row.instrument_scale)}, {row.rater}: {what} has "
            f"{row.form}{numbers.SPACE}={numbers.SPACE}{value(data, row)}, "
            f"{'absolute agreement' if row.definition == 'agreement' else row.definition}{_vague(row)}."
        )
    shown = with_number(rows)
    used = shown["headline"].eq("yes")
    note = (
        "ICC(2,k): raters drawn from many, mean of k of them; agreement counts differences in level as error, consistency does not. "
        f"{common.BELOW_ZERO_NOTE}"
    )
    return [
        Part("measurement-observers", "How far do raters of the same session agree?", tuple([*sentences, *source_sentences(data)])),
        _agreement_table(
            data, shown[used], "interrater", "Agreement of raters of the same sessions, pooled over sites", note, folded=False
        ),
        *source_table(data),
        *(
            [_agreement_table(data, shown[~used], "interrater-forms", "Other forms of agreement, pooled over sites", note, folded=True)]
            if len(shown[~used])
            else []
        ),
    ]


def _agreement_table(data: ReportData, rows: pd.DataFrame, id: str, caption: str, note: str, *, folded: bool) -> Table:
    cells = tuple(
        (
            Cell(common.measure(row.instrument, row.instrument_scale)),
            Cell(row.rater),
            Cell(_agreement_kind(row)),
            Cell(row.definition or numbers.UNKNOWN),
            number_cell(numbers.decimal(row.n_raters, 1).removesuffix(".0"), row.n_raters),
            *common.estimate_cells(data, row),
        )
        for row in common.tuples(rows)
    )
    columns = (
        *(Column("Measure"), Column("Rater"), Column("Form"), Column("Definition", optional=True)),
        *(Column("Raters", True, optional=True), *common.estimate_columns(data, "Estimate")),
    )
    return Table(id, caption, columns, cells, note=note, empty="No agreement could be pooled over sites.", folded=folded)


def source_rows(data: ReportData) -> pd.DataFrame:
    """Return the shares of the sources of variance of single ratings, at sites; shares are not pooled."""
    table = common.site_rows(common.table_of(data, QUESTION, "interrater"), estimate_type="variance_component")
    return in_order(with_number(table[table["instrument"].ne(PREFERRED) & table["form"].isin(SOURCES)]), data)


def source_sentences(data: ReportData) -> list[str]:
    """Return where the disagreement of raters comes from, one sentence a measure: sources in the middle of the sites, the largest named."""
    sentences = []
    totals = common.select(source_rows(data), instrument_scale=TOTAL)
    for (instrument, rater), group in common.rows_by(totals, ("instrument", "rater")):
        middle = {source: own["estimate"].median() for (source,), own in common.rows_by(group, ("form",))}
        known = {source: middle[source] for source in SOURCES if source in middle}
        errors = {source: known[source] for source in ERRORS if source in known}
        if not errors:
            continue
        sites = group["site"].nunique()
        where = "at one site" if sites == 1 else f"median of {common.plural(sites, 'site')}"
        told = ", ".join(f"{SOURCES[source]} {numbers.percent(share)}" for source, share in known.items())
        largest = max(errors, key=lambda source: errors[source])
        mixed = largest == "residual" and "client x rater" not in known
        through = "what is left, in which their own views of a client can’t be told from error" if mixed else ERRORS[largest]
        sentences.append(
            f"Where ratings differ ({common.measure(instrument, TOTAL)}, {rater}, shares of the variance of one rating, {where}): {told}. "
            f"Raters disagree most through {through}."
        )
    return sentences


def source_table(data: ReportData) -> list[Table]:
    """Return the sources of variance of single ratings by site, with how far means over raters order clients and sessions."""
    rows = source_rows(data)
    totals = common.select(rows, instrument_scale=TOTAL)
    rows = totals if len(totals) else rows
    if rows.empty:
        return []
    table = common.site_rows(common.table_of(data, QUESTION, "interrater"), estimate_type="generalizability")
    orders = {(row.instrument, row.rater, row.instrument_scale, row.site, row.form): row for row in common.tuples(table)}
    cells = []
    groups = list(common.rows_by(rows, ("instrument", "rater", "instrument_scale", "site")))
    for key, group in groups[:MOST_GROUPS]:
        found = {row.form: row for row in common.tuples(group)}
        first = next(common.tuples(group))
        ordered = [orders.get((*key, form)) for form in GENERALIZABILITY]
        remarks = dict.fromkeys(common.remark(row) for row in (first, *ordered) if row is not None and common.remark(row))
        cells.append(
            (
                Cell(common.measure(first.instrument, first.instrument_scale)),
                Cell(first.rater),
                Cell(data.labels.get(first.site, first.site)),
                *(_source_cell(found.get(source)) for source in SOURCES),
                *(_cell(data, row) if row is None or common.has_number(row) else Cell(common.NOT_ESTIMABLE, "") for row in ordered),
                common.count_cell(first.n_sessions),
                common.count_cell(first.n_clients),
                Cell("; ".join(remarks)),
            )
        )
    more = " All others: tables/measurement/interrater.csv." * (len(groups) > MOST_GROUPS or len(totals) > 0)
    return [
        Table(
            "interrater-sources",
            "Where ratings of the same sessions differ: shares of the variance of one rating, by site",
            (
                *(Column("Measure"), Column("Rater"), Column("Site")),
                *(Column(common.words(label), True, optional=True) for label in SOURCES.values()),
                *(Column(label, True, optional=True) for label in GENERALIZABILITY.values()),
                *(Column("Sessions", True), Column("Clients", True), Column("Remark", wide=True, optional=True)),
            ),
            tuple(cells),
            note="Clients and their sessions are what raters should tell apart; the other sources are disagreement. “In the rest”: that "
            "source can’t be told apart from the rest at the site. Generalizability: how far means over the raters (and a client’s "
            f"sessions) put clients, or sessions, in the same order. Shares have no interval and are not pooled over sites.{more}",
            folded=len(cells) > 6,
        )
    ]


def _source_cell(row: Any) -> Cell:
    return Cell("in the rest", "") if row is None else number_cell(numbers.percent(row.estimate), row.estimate)


def _vague(row: Any) -> str:
    """Say where an interval holds zero and so leaves open whether raters agree at all; intervals of two sites easily do."""
    return "; the interval holds zero, so how far raters agree is not known" if numbers.known(row.ci_low) and row.ci_low <= 0 else ""


def _agreement_kind(row: Any) -> str:
    kinds = {
        "variance_component": "share of variance: ",
        "generalizability": "generalizability: ",
        "mean_difference": "difference of means: ",
    }
    return kinds.get(row.estimate_type, "") + (row.form or row.estimate_type.replace("_", " "))


def named_rows(data: ReportData) -> list[tuple[Any, str]]:
    """Return the pooled rows that these parts show, with their names."""
    first = common.pooled_rows(common.select(headline_rows(data), derived_from=""))
    sessions = session_rows(data)
    sessions = sessions[sessions["headline"].eq("yes") & sessions["derived_from"].eq("")]
    named = [(row, f"Reliability of {headline_name(row)}") for row in common.tuples(first)]
    named += [(row, f"Reliability over sessions of {scale_label(row)}, {session_name(row)}") for row in common.tuples(sessions)]
    named += [(row, contrast_name(row)) for row in common.tuples(contrast_rows(data))]
    return named + [(row, agreement_name(row)) for row in common.tuples(observer_rows(data)) if row.headline == "yes"]


def benchmark_name(data: ReportData, table: str, row: Any) -> str:
    """Return what a published figure is about; empty for rows that the chapter does not show."""
    if row.instrument != PREFERRED:
        return ""
    if table == "reliability":
        first = row.window == main_window(data) and not row.contrast
        return f"Reliability of the first instrument of the configuration, {row.rater} ({symbol(row)})" if first else ""
    return f"Agreement on the first instrument of the configuration, {row.rater}, {row.form}"


def headline_name(row: Any) -> str:
    """Return which coefficient of which scale a headline is, for lists."""
    return f"{scale_label(row)} ({symbol(row)})"
