"""The course of the alliance: growth, where it peaks, how much single clients vary, and whether they go in cycles."""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance.questions.course import growth, series
from alliance.reports import figures_course, numbers
from alliance.reports.chapters import common, published
from alliance.reports.elements import Cell, Chapter, Column, Figure, Fold, Table, listed, number_cell
from alliance.reports.inputs import ReportData

QUESTION = "course"
SURROGATES = {series.WHITE: "against white noise", series.FIRST_ORDER: "against autocorrelated series"}
PARTS = {growth.LINEAR: "Line", growth.QUADRATIC: "Curved line", growth.PIECEWISE: "Line with a bend", growth.OUTCOME: "With the outcome"}
LIMITS = (
    "The mean curve is that of no client: clients who rise and clients who fall cancel out in it. Read it with the band.",
    "Clients who leave early have few sessions; late sessions rest on those who stayed. Growth models use all sessions, which is right "
    "where leaving goes back to earlier ratings.",
    "The highest of five sessions is somewhere for every client, also where nothing but chance moves the alliance; so peaks are compared "
    "with sessions that could be exchanged.",
    "With ten to twenty sessions a client, only strong cycles can be found; that few are found does not show that there are none.",
    "A session’s rating holds measurement error, which adds to variability and lowers the autocorrelation.",
)


def build(data: ReportData) -> Chapter:
    """Return the chapter on the course of the alliance."""
    tables = common.tables_of(data, QUESTION)
    rater = data.options["alliance"]["rater"]
    lead = slope(tables["growth"], rater)
    known = lead is not None and common.has_number(lead)
    return Chapter(
        id="course",
        title="How does the alliance develop over sessions?",
        question="Does the alliance grow, stay or fall, does it peak early, and how different are single clients from the mean?",
        sources=(QUESTION,),
        headlines=(slope_sentence(data, lead),) if known else (),
        findings=findings(data, tables, rater),
        blocks=(
            *curve_figure(data, tables["growth"], rater),
            growth_table(data, tables["growth"]),
            Fold("course-peak", "Where clients peak", (peak_table(data, tables["peak"]),), peak_told(data, tables["peak"], rater)),
            Fold(
                "course-single",
                "Single clients: variability and cycles",
                (variability_table(data, tables["variability"]), cycle_table(data, tables["cycles"])),
            ),
            *published.tables(data, QUESTION, lambda table, row: published_name(row, rater)),
        ),
        limits=LIMITS,
        missing=tuple(
            dict.fromkeys(
                said
                for table in tables.values()
                for said in common.not_estimable(data, table[table["session"].isna()] if "session" in table else table, row_name)
            )
        ),
    )


def pooled(table: pd.DataFrame, **keys: str) -> Any:
    """Return the pooled row of some keys: that of the sites' estimates, else of all rows at once; None where there is none."""
    rows = sorted(common.tuples(common.pooled_rows(table, **keys)), key=lambda row: (not common.has_number(row), row.method == "one_stage"))
    return rows[0] if rows else None


def slope(table: pd.DataFrame, rater: str) -> Any:
    """Return the pooled mean slope of one rater's alliance."""
    return pooled(table, alliance_rater=rater, growth_model=growth.LINEAR, term=growth.SLOPE)


def row_name(row: Any) -> str:
    """Return what a row of any table of the question tells, in words."""
    if hasattr(row, "growth_model"):
        name = f"{PARTS.get(row.growth_model, 'Mean curve')}: {row.term.replace(' - ', ' minus ')}"
    else:
        name = row.statistic[:1].upper() + row.statistic[1:]
    extra = [SURROGATES.get(getattr(row, "surrogates", ""), ""), f"{row.sessions} averaged" if getattr(row, "sessions", "") else ""]
    if numbers.known(getattr(row, "session", None)):
        extra.append(f"session {numbers.count(row.session)}")
    return ", ".join([name, *(one for one in extra if one), row.alliance_rater])


def published_name(row: Any, rater: str) -> str:
    """Return what a row beside a published figure is about: rows of the main rater, pooled from sites; empty leaves a row out."""
    return row_name(row) if row.alliance_rater == rater and row.method != "one_stage" else ""


def shown(data: ReportData, table: pd.DataFrame) -> list[Any]:
    """Return the pooled rows for a table: all of the main rater, those with a number of the others."""
    rater = data.options["alliance"]["rater"]
    return [row for row in common.tuples(common.pooled_rows(table)) if row.alliance_rater == rater or common.has_number(row)]


def slope_sentence(data: ReportData, row: Any) -> str:
    """Return whether the alliance grows on average, in one sentence that claims no more than interval and equivalence test show."""
    bound = data.options["questions"][QUESTION]["slope_bound"]
    behind = f"{common.plural(row.n_sites, 'site')}, {common.plural(row.n_clients, 'client')}"
    numbers_told = f"mean change over ten sessions {common.value(data, row)} SD, {behind}"
    direction = "rises" if row.estimate > 0 else "falls"
    words = {
        "equivalent": f"On average over clients the alliance stays where it is: any change is smaller than ±{bound:g} SD over ten sessions",
        "equivalent_and_different": f"On average over clients the alliance {direction}, but by less than {bound:g} SD over ten sessions",
        "different": f"On average over clients the alliance {direction}",
    }
    return f"{words.get(row.decision, 'Whether the alliance changes on average over clients stays open')} ({numbers_told})."


def findings(data: ReportData, tables: dict[str, pd.DataFrame], rater: str) -> tuple[str, ...]:
    """Return what was found, in sentences."""
    lead = slope(tables["growth"], rater)
    told = []
    if lead is not None and common.has_number(lead):
        told += [f"{slope_sentence(data, lead)} {common.spread_sentence(data, lead)}".strip()]
    told += [
        single_sentence(data, tables, rater),
        outcome_sentence(data, tables["growth"], rater),
        bend_sentence(data, tables["growth"], rater),
        peak_sentence(data, tables["peak"], rater),
        lasting_sentence(data, tables["variability"], rater),
        cycle_sentence(data, tables["cycles"], rater),
    ]
    return tuple(sentence for sentence in told if sentence)


def single_sentence(data: ReportData, tables: dict[str, pd.DataFrame], rater: str) -> str:
    """Return how far single clients are from the mean curve."""
    falling = pooled(tables["growth"], alliance_rater=rater, growth_model=growth.LINEAR, term=growth.FALLING)
    ratio = pooled(tables["variability"], alliance_rater=rater, statistic=series.RATIO)
    parts = []
    if falling is not None and common.has_number(falling):
        parts.append(f"by the model the line falls in {numbers.percent(falling.estimate)} of the clients and rises in the others")
    if ratio is not None and common.has_number(ratio):
        last = data.options["questions"][QUESTION]["outcome_sessions"]
        share = numbers.percent(max(float(ratio.estimate), 0.0))
        parts.append(
            f"over the first {last} sessions the variance of the mean curve is {share} of that of a single client’s curve, in which chance "
            "has its part"
        )
    text = "; ".join(parts)
    return f"The mean hides single clients: {text}." if text else ""


def outcome_sentence(data: ReportData, table: pd.DataFrame, rater: str) -> str:
    """Return whether clients whose alliance grows have better outcomes."""
    row = pooled(table, alliance_rater=rater, growth_model=growth.OUTCOME, term=growth.SLOPE_PATH)
    if row is None or not common.has_number(row):
        return ""
    if row.decision.startswith("equivalent"):
        words = "A growing alliance goes with no better or worse outcome"
    elif numbers.known(row.ci_low) and row.ci_low > 0:
        words = "Clients whose alliance grows more have better outcomes"
    elif numbers.known(row.ci_high) and row.ci_high < 0:
        words = "Clients whose alliance grows more have worse outcomes"
    else:
        words = "Whether clients whose alliance grows have better outcomes stays open"
    return f"{words}, at the same first level and intake severity (standardised effect of the slope {common.value(data, row)})."


def bend_sentence(data: ReportData, table: pd.DataFrame, rater: str) -> str:
    """Return where the mean curve bends, and how it goes before and after the session the review names."""
    knot = pooled(table, alliance_rater=rater, growth_model=growth.PIECEWISE, term=growth.KNOT)
    before, after = (
        pooled(table, alliance_rater=rater, growth_model=growth.PIECEWISE, term=term) for term in (growth.BEFORE, growth.AFTER)
    )
    parts = []
    if knot is not None and common.has_number(knot):
        first, last = data.options["questions"][QUESTION]["knots"]
        searched = knot.ci_low <= first and knot.ci_high >= last
        parts.append(
            f"where between sessions {first} and {last} the mean curve bends cannot be told"
            if searched
            else f"the mean curve bends at session {numbers.decimal(knot.estimate, data.decimals)} ({data.level} CI "
            f"{numbers.interval(knot.ci_low, knot.ci_high, data.decimals, False)})"
        )
    if all(row is not None and common.has_number(row) for row in (before, after)):
        at = data.options["questions"][QUESTION]["knot"]
        first_part, second_part = common.value(data, before), common.value(data, after)
        parts.append(f"per ten sessions it changes by {first_part} SD up to session {at} and by {second_part} SD after it")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def peak_sentence(data: ReportData, table: pd.DataFrame, rater: str) -> str:
    """Return whether clients peak at one of the first sessions more often than chance lets expect."""
    test = pooled(table, alliance_rater=rater, statistic=series.EXCHANGEABLE)
    every = common.pooled_rows(table, alliance_rater=rater, statistic=series.PEAKING)
    rows = [row for row in common.tuples(every) if common.has_number(row)]
    if test is None or not common.has_number(test) or not rows:
        return ""
    first, last = data.options["questions"][QUESTION]["peak_sessions"]
    most = max(rows, key=lambda row: row.estimate)
    clear = test.estimate < 1 - data.options["pooling"]["level"]
    words = (
        f"Some of sessions {first} to {last} are the peak more often than others"
        if clear
        else f"No session among {first} to {last} stands out as the peak"
    )
    return (
        f"{words} (permutation test, p {numbers.p_value(test.estimate)}): the largest share{common.more_withheld(every)}, "
        f"{common.estimate_text(most, 0)}, has its peak at session {numbers.count(most.session)}, against {numbers.percent(most.expected)} "
        "by chance alone."
    )


def lasting_sentence(data: ReportData, table: pd.DataFrame, rater: str) -> str:
    """Return how much a client's alliance moves from session to session, and what single ratings are worth."""
    step, lasting = (pooled(table, alliance_rater=rater, statistic=name) for name in (series.STEP, series.CORRELATION))
    reliable = [
        row
        for row in common.tuples(common.pooled_rows(table, alliance_rater=rater, statistic=series.RELIABILITY))
        if common.has_number(row)
    ]
    parts = []
    if step is not None and common.has_number(step):
        parts.append(f"from one session to the next a client’s rating moves by {common.value(data, step)} SD (root mean square)")
    if lasting is not None and common.has_number(lasting):
        parts.append(f"deviations from the client’s line carry over to the next session by {common.value(data, lasting)}")
    if reliable:
        told = listed(
            [
                f"of {row.sessions} session{'s' if row.sessions != '1' else ''} {common.estimate_text(row, data.decimals)}"
                for row in reliable
            ]
        )
        parts.append(f"as a measure of the client’s usual alliance, the reliability of the mean is {told}")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def cycle_sentence(data: ReportData, table: pd.DataFrame, rater: str) -> str:
    """Return how many clients go in cycles, beside the share that series without cycles would show; if there are any, whether in step."""
    share = pooled(table, alliance_rater=rater, surrogates=series.FIRST_ORDER, statistic=series.WITH_CYCLE)
    step = pooled(table, alliance_rater=rater, statistic=series.TOGETHER)
    if share is None or not common.has_number(share):
        return ""
    text = (
        f"{common.estimate_text(share, 0)} of the clients go up and down in cycles ({data.level} CI {common.interval_text(share, 0)}); "
        f"{numbers.percent(share.expected)} would show one if there were none"
    )
    shown = numbers.known(share.ci_low) and share.ci_low > share.expected
    if shown:
        text += ", so there are cycles"
    elif numbers.known(share.ci_low) and share.expected <= share.ci_high:
        text += ", so that cycles are not shown"
    # Where no cycles are shown, whether they are in step is no question.
    if shown and step is not None and common.has_number(step):
        clear = step.p_phases < 1 - data.options["pooling"]["level"]
        text += (
            "; clients’ cycles are in step with each other"
            if clear
            else "; clients’ cycles are not shown to be in step, so that a mean curve may hide them"
        )
    return f"{text}."


def curve_figure(data: ReportData, table: pd.DataFrame, rater: str) -> list[Figure]:
    """Return the mean curve with the band of clients, over all sites; none where fewer than three sessions can be shown."""
    own = {
        name: {
            int(row.session): row
            for row in common.tuples(common.pooled_rows(table, alliance_rater=rater, growth_model=growth.CURVE, term=name))
            if common.has_number(row)
        }
        for name in (growth.MEAN, growth.SPREAD)
    }
    sessions = sorted(set(own[growth.MEAN]) & set(own[growth.SPREAD]))
    if len(sessions) < 3:
        return []
    means, spreads = ([float(own[name][session].estimate) for session in sessions] for name in (growth.MEAN, growth.SPREAD))
    clients = [int(own[growth.SPREAD][session].n_clients) for session in sessions]
    rows = tuple(
        (
            number_cell(str(session), session),
            common.count_cell(own[growth.MEAN][session].n_clients),
            number_cell(numbers.decimal(mean, data.decimals), mean),
            number_cell(common.interval_text(own[growth.MEAN][session], data.decimals), own[growth.MEAN][session].ci_low),
            number_cell(numbers.decimal(spread, data.decimals), spread),
        )
        for session, mean, spread in zip(sessions, means, spreads)
    )
    last = len(sessions) - 1
    return [
        Figure(
            id="course-curve",
            title="Mean course of the alliance, with the band of single clients",
            alt=(
                f"Mean alliance by session: {numbers.decimal(means[0], data.decimals)} SD at session {sessions[0]}, "
                f"{numbers.decimal(means[last], data.decimals)} at session {sessions[last]}; clients differ at each session by a standard "
                f"deviation of {numbers.decimal(min(spreads), data.decimals)} to {numbers.decimal(max(spreads), data.decimals)}."
            ),
            svg=figures_course.mean_course(sessions, means, spreads, clients, axis="Alliance (SD of session scores)", across="Session"),
            note="0 is the mean of all session scores of a site. The band holds about two thirds of the clients at each session; single "
            "clients rise and fall inside and outside of it. Sessions with fewer than ten clients at a site are left out.",
            data=Table(
                id="course-curve-table",
                caption="Mean alliance and standard deviation of clients by session",
                columns=(
                    Column("Session", True),
                    Column("Clients", True),
                    Column("Mean", True),
                    Column(f"{data.level} CI", True),
                    Column("SD of clients", True),
                ),
                rows=rows,
            ),
        )
    ]


def _table(data: ReportData, id: str, caption: str, rows: list[Any], note: str = "") -> Table:
    return Table(
        id=id,
        caption=caption,
        columns=(Column("What", wide=True), *common.estimate_columns(data, "Estimate")),
        rows=tuple((Cell(row_name(row)), *common.estimate_cells(data, row)) for row in rows),
        note=note,
        empty="No site has the alliance session by session.",
        folded=True,
    )


def growth_table(data: ReportData, table: pd.DataFrame) -> Table:
    """Return the pooled rows of the growth models."""
    rows = [row for row in shown(data, table) if row.growth_model != growth.CURVE and not _doubled(table, row)]
    note = (
        "Slopes are changes over ten sessions in SD of session scores. The session of the knot is searched; slopes before and after are "
        "those at the session of the configuration."
    )
    return _table(data, "course-growth", "Growth of the alliance, over all sites", rows, note)


def _doubled(table: pd.DataFrame, row: Any) -> bool:
    """Return whether a row of all sessions in one model stands beside a pooled one that is told."""
    if row.method != "one_stage":
        return False
    return pooled(table, alliance_rater=row.alliance_rater, growth_model=row.growth_model, term=row.term).method != "one_stage"


def peak_table(data: ReportData, table: pd.DataFrame) -> Table:
    """Return where clients peak, with what chance would give."""
    rows = [row for row in shown(data, table) if row.statistic != series.DEPARTURE]
    return Table(
        id="course-peaks",
        caption="Where clients’ alliance is highest",
        columns=(
            Column("What", wide=True),
            Column("Estimate", True),
            Column(f"{data.level} CI", True),
            Column("By chance", True),
            Column("p (permutation)", True, optional=True),
            Column("Clients", True),
            Column("Remark", wide=True, optional=True),
        ),
        rows=tuple(
            (
                Cell(row_name(row)),
                number_cell(common.estimate_text(row, data.decimals), row.estimate),
                number_cell(common.interval_text(row, data.decimals), row.ci_low),
                number_cell(common.form(row.estimate_type)(row.expected, data.decimals), row.expected),
                number_cell(numbers.p_value(row.p_permutation), row.p_permutation),
                common.count_cell(row.n_clients),
                Cell(common.remark(row)),
            )
            for row in rows
        ),
        note="Clients rated at all of these sessions. Equal scores share the peak.",
        empty="No site has clients rated at all of these sessions.",
    )


def peak_told(data: ReportData, table: pd.DataFrame, rater: str) -> tuple[str, ...]:
    """Return at which session the mean of the same clients is highest."""
    every = common.pooled_rows(table, alliance_rater=rater, statistic=series.DEPARTURE)
    rows = [row for row in common.tuples(every) if common.has_number(row)]
    if not rows:
        return ()
    most = max(rows, key=lambda row: row.estimate)
    return (
        f"The mean of these clients is highest at session {numbers.count(most.session)}{common.more_withheld(every)}: "
        f"{common.value(data, most)} SD above their mean over these sessions; {common.sureness(most)}.",
    )


def variability_table(data: ReportData, table: pd.DataFrame) -> Table:
    """Return the pooled measures of variability."""
    return _table(
        data, "course-variability", "How much the alliance of single clients varies", list(common.tuples(common.pooled_rows(table)))
    )


def cycle_table(data: ReportData, table: pd.DataFrame) -> Table:
    """Return the pooled rows on cycles."""
    note = f"Series without cycles would give {numbers.percent(series.LEVEL)} of clients with one, and no power beyond surrogates."
    return _table(data, "course-cycles", "Cycles", shown(data, table), note)


def site_rows(data: ReportData) -> pd.DataFrame:
    """Return the rows that a site's page shows beside those of all sites."""
    table = common.table_of(data, QUESTION, "growth")
    return table[table["alliance_rater"].eq(data.options["alliance"]["rater"]) & table["term"].isin([growth.SLOPE, growth.SLOPE_PATH])]
