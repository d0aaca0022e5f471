"""How strongly the alliance goes with the outcome: the number every reader looks for first, in all its forms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from alliance.questions.contract import POOLED
from alliance.reports import figures, numbers
from alliance.reports.chapters import common, outcome_parts, published
from alliance.reports.drawing import LABELLED_ROWS
from alliance.reports.elements import Cell, Chapter, Column, Figure, Part, Table
from alliance.reports.figures import ForestRow
from alliance.reports.inputs import ReportData, distinct

QUESTION = "alliance_outcome"
AS_ESTIMATED = "as_estimated"
PREFERRED = "(preferred)"
BESIDE_THE_REVIEW = ("zero_order", "residual_gain")
FORMS = {
    "ancova": "given the intake level (partial r)",
    "zero_order": "simple correlation (zero-order r)",
    "residual_gain": "with the residual gain (part r)",
    "change": "with the change from intake (r)",
}
SYMBOLS = {"ancova": "partial r given the intake level", "zero_order": "r", "residual_gain": "part r", "change": "r"}
CODINGS = {
    "zero": "site effects that are not significant coded as zero, as the 1991 review had to",
    "dropped": "site effects that are not significant left out",
    "imputed": "of site effects that are not significant only that much is used",
}
CRITERIA = {
    "labelled_alliance": "Measure named alliance",
    "time_lapse": "Outcome after alliance",
    "no_analog": "No analog study",
    "at_least_5_clients": "At least 5 clients",
    "individual_treatment": "Individual treatment",
    "all": "All five",
}
LIMITS = (
    "Nobody was assigned to a good or a poor alliance: these are associations, not proof that the alliance causes the outcome.",
    "Where one person rated alliance and outcome, the correlation also holds that person’s way of seeing things (halo).",
    "The headline mixes differences between clients with differences between therapists; only the coefficients by level keep them apart, "
    "and only those within clients speak of change from session to session.",
    "Many correlations stand in this chapter. Only the headline was named in advance by the configuration; with so many intervals, some "
    "leave out zero by chance alone.",
    "Where a site has few therapists, the error that therapists bring is poorly known, and effects of therapists cannot be told apart.",
    "Figures of the review come from other studies, measures and forms of the outcome; they are there for orientation, not as a test.",
)


def build(data: ReportData) -> Chapter:
    """Return the chapter on alliance and outcome."""
    tables = common.tables_of(data, QUESTION)
    rows = headline_rows(data)
    main = first(common.pooled_rows(rows, headline="yes"))
    return Chapter(
        id="alliance-outcome",
        title="Alliance and outcome",
        question="How strongly does the alliance go with the outcome, for whom, when, and in whose eyes?",
        sources=(QUESTION,),
        headlines=tuple(text for text in (headline(data, main), beside_the_review(data, rows)) if text) if main is not None else (),
        findings=findings(data, tables, rows, main),
        blocks=(
            *headline_forest(data, rows),
            Part("outcome-forms", "The headline in other forms", form_sentences(data, tables, main)),
            forms_table(data, tables, rows),
            *outcome_parts.raters(data, tables),
            *outcome_parts.timing(data, tables["timing"]),
            *outcome_parts.levels(data, tables["levels"]),
            *outcome_parts.moderators(data, tables["moderators"]),
            eligibility_table(data, tables["eligibility"]),
            *published.tables(data, QUESTION, lambda table, row: benchmark_name(data, tables, table, row)),
            instrument_table(data, tables["pooled"]),
        ),
        limits=LIMITS,
        missing=missing(data, tables, rows),
    )


def first(rows: pd.DataFrame) -> Any:
    """Return the first row with a number; None where there is none."""
    return next((row for row in common.tuples(rows) if common.has_number(row)), None)


def headline_rows(data: ReportData) -> pd.DataFrame:
    """Return the headline and its other forms, site by site and pooled; the review’s figure only where it may stand.

    A partial correlation given the intake level is not what the review averaged, so nothing published stands beside it.
    """
    tables = data.tables[QUESTION]
    sites = tables["site_effects"][tables["site_effects"]["headline"].isin(("yes", "beside"))]
    pooled = tables["pooled"]
    # The headline may be coded otherwise by the configuration; its other forms are always as estimated.
    pooled = pooled[pooled["headline"].eq("yes") | (pooled["headline"].eq("beside") & pooled["coding"].eq(AS_ESTIMATED))]
    rows = distinct(pd.concat([common.site_rows(sites), common.pooled_rows(pooled)], ignore_index=True))
    may_stand = rows["form"].isin(BESIDE_THE_REVIEW)
    return rows.assign(published=rows["published"].where(may_stand), difference=rows["difference"].where(may_stand))


def window_words(name: str) -> str:
    """Return a window of sessions as it is read: ``session_3`` becomes ``session 3``."""
    return name.replace("_", " ")


def subject(data: ReportData) -> str:
    """Return what the headline relates, in words."""
    alliance, outcome = data.options["alliance"], data.options["outcome"]
    return (
        f"{alliance['rater']}-rated alliance ({window_words(alliance['window'])}) and {outcome['rater']}-rated outcome "
        f"({outcome['timepoint'].replace('_', '-')})"
    )


def direction(row: Any) -> str:
    """Return what an interval says about the relation, in words."""
    if not (numbers.known(row.ci_low) and numbers.known(row.ci_high)):
        return "is shown without an interval"
    if row.ci_low > 0:
        return "goes with a better outcome"
    if row.ci_high < 0:
        return "goes with a worse outcome"
    return "shows neither a clear relation with the outcome nor the absence of one"


def headline(data: ReportData, row: Any) -> str:
    """Return the headline in one sentence."""
    alliance = data.options["alliance"]
    return (
        f"A better {window_words(alliance['window'])} alliance, as rated by the {alliance['rater']}, {direction(row)}: "
        f"{common.sentence_estimate(data, row, SYMBOLS[row.form])}." + prediction(data, row)
    )


def prediction(data: ReportData, row: Any) -> str:
    """Return the prediction interval in a sentence; empty where there is none."""
    if not numbers.known(row.prediction_low):
        return ""
    shown = common.interval_text(row, data.decimals, "prediction_low", "prediction_high")
    return f" {data.level} prediction interval for a new site {shown}."


def findings(data: ReportData, tables: dict[str, pd.DataFrame], rows: pd.DataFrame, main: Any) -> tuple[str, ...]:
    """Return what was found, how sure it is, and what was left out."""
    if main is None:
        return ()
    name = subject(data)
    told = f"{name[:1].upper()}{name[1:]}: {common.sentence_estimate(data, main, SYMBOLS[main.form])}; {common.sureness(main)}."
    left_out = tables["leave_one_out"][tables["leave_one_out"]["headline"] == "yes"]
    sentences = [
        " ".join(part for part in (told, common.spread_sentence(data, main), common.caution(main)) if part),
        beside_the_review(data, rows),
        " ".join(part for part in (common.influence_sentence(data, left_out, "the headline"), influential(data, tables)) if part),
        missing_sentence(data, tables["missing"], main),
    ]
    return tuple(sentence for sentence in sentences if sentence)


def beside_the_review(data: ReportData, rows: pd.DataFrame) -> str:
    """Return the forms that may be compared with the review, with its figure."""
    parts = []
    for row in common.tuples(common.pooled_rows(rows)):
        if row.form in BESIDE_THE_REVIEW and common.has_number(row) and numbers.known(row.published):
            parts.append(
                f"{FORMS[row.form].partition(' (')[0]} {common.estimate_text(row, data.decimals)} "
                f"{common.interval_text(row, data.decimals)} against {numbers.bounded(row.published, data.decimals)} in the review"
            )
    if not parts:
        return ""
    return f"Comparable with the review’s average are only these forms: {'; '.join(parts)}. A partial r given the intake level is not."


def influential(data: ReportData, tables: dict[str, pd.DataFrame]) -> str:
    """Return which sites move the headline more than the rules of thumb allow."""
    table = tables["influence"]
    judged = table[table["influential"].isin(("yes", "no"))]
    if judged.empty:
        return ""
    named = [data.labels.get(site, site) for site in judged.loc[judged["influential"] == "yes", "site_left_out"]]
    return f"Influential by the usual measures: {', '.join(named)}." if named else "No single site is influential by the usual measures."


def imputed_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the pooled headline with missing values imputed, outcomes as imputed first, then shifted ever further."""
    chosen = common.pooled_rows(table[table["delta"].ne("")])
    chosen = chosen.assign(delta=pd.to_numeric(chosen["delta"]).astype(float))
    return chosen.loc[chosen["delta"].abs().sort_values(kind="stable").index]


def not_in_headline(share: float, missing: str) -> str:
    """Return how many clients lack what the headline needs, by the way in which missing values are handled, without a full stop."""
    lacking = {
        "complete": "lack the alliance, the intake level or the outcome and are not in the headline",
        "likelihood": "lack both the alliance and the outcome and are not in the headline, which counts those who lack one of them",
        "imputed": "lack some value of the headline, which is imputed for them",
    }[missing]
    return f"{numbers.percent(share)} of the clients of these sites {lacking}"


def missing_sentence(data: ReportData, table: pd.DataFrame, main: Any) -> str:
    """Return how many clients are not in the headline, and what imputing their values gives."""
    if not numbers.known(main.share_missing):
        return ""
    text = f"{not_in_headline(main.share_missing, data.options['questions'][QUESTION]['headline']['missing'])}."
    imputed = imputed_rows(table)
    zero = first(imputed[imputed["delta"] == 0])
    if zero is not None:
        text += (
            f" With missing values imputed it is {common.estimate_text(zero, data.decimals)} {common.interval_text(zero, data.decimals)}"
        )
        known = imputed[imputed["status"].isin(common.WITH_NUMBERS)]
        if len(known) > 1:
            ends = (numbers.bounded(value, data.decimals) for value in (known["estimate"].min(), known["estimate"].max()))
            text += f", and {' to '.join(ends)} where imputed outcomes are shifted from worse to better"
        text += "."
    return text


def headline_forest(data: ReportData, rows: pd.DataFrame) -> list[Figure]:
    """Return the forest plot of the headline over sites, its other forms below it."""
    main = common.select(rows, headline="yes")
    drawn = common.forest_rows(data, main)
    if not any(numbers.known(row.estimate) for row in drawn):
        return []
    beside = common.pooled_rows(rows, headline="beside")
    if len(beside):
        drawn.append(ForestRow("Other forms, pooled", kind="heading"))
        drawn += [common.pooled_forest_row(row, FORM_LABELS[row.form]) for row in common.tuples(beside)]
    pooled = first(common.pooled_rows(main))
    told = "No pooled estimate."
    if pooled is not None:
        told = (
            f"Pooled {common.sentence_estimate(data, pooled, SYMBOLS[pooled.form])}; {common.sureness(pooled)}.{prediction(data, pooled)}"
        )
    form = data.options["outcome"]["form"]
    arguments = {"axis": "Correlation of alliance and outcome", "decimals": data.decimals}
    name = subject(data)
    return [
        Figure(
            id="alliance-outcome-forest",
            title=f"{name[:1].upper()}{name[1:]} by site",
            alt=f"Forest plot of the correlation at each site. {told} {beside_the_review(data, rows)}".strip(),
            svg=figures.forest(drawn, **arguments),
            narrow=figures.forest(drawn, **arguments, narrow=True),
            note=f"Sites and first diamond: {FORMS[form]}. Lines are {data.level} intervals; squares grow with the number of clients. The "
            "review’s figure stands only beside the forms that it averaged.",
            data=site_table(data, main),
        )
    ]


FORM_LABELS = {
    "ancova": "Given the intake level",
    "zero_order": "Simple correlation",
    "residual_gain": "With the residual gain",
    "change": "With the change",
}


def site_table(data: ReportData, main: pd.DataFrame) -> Table:
    """Return the headline site by site with what each site could have found; just the pooled row where there are very many sites."""
    sites = common.site_rows(main)
    many = len(sites) > LABELLED_ROWS
    cells, emphasised = [], set()
    for row in common.tuples(pd.concat([sites.iloc[:0] if many else sites, common.pooled_rows(main)])):
        if row.site == POOLED:
            emphasised.add(len(cells))
        cells.append(
            (
                Cell(data.labels.get(row.site, row.site)),
                *common.estimate_cells(data, row, pooled=False),
                _number(row.detectable_r, data.decimals),
            )
        )
    note = f"The {numbers.count(len(sites))} sites one by one stand in tables/alliance_outcome/site_effects.csv. " if many else ""
    return Table(
        "alliance-outcome-sites",
        "Headline by site",
        (Column("Site"), *common.estimate_columns(data, "r", pooled=False), Column("Could find r of", True, optional=True)),
        tuple(cells),
        note=f"{note}“Could find”: the smallest true correlation that a site of this size would find in four of five studies.",
        emphasised=frozenset(emphasised),
    )


def _number(value: Any, decimals: int) -> Cell:
    return Cell(numbers.bounded(value, decimals), float(value) if numbers.known(value) else "")


def forms(data: ReportData, tables: dict[str, pd.DataFrame], rows: pd.DataFrame) -> Iterator[tuple[str, str, Any]]:
    """Yield the headline in every form: what is pooled, how, and the row."""
    effects, missed = tables["pooled"], tables["missing"]
    for state in ("yes", "beside"):
        for row in common.tuples(common.pooled_rows(rows, headline=state)):
            coded = f", {CODINGS[row.coding]}" if row.coding in CODINGS else ""
            yield "Headline" if state == "yes" else "Other form of the outcome", FORMS[row.form] + coded, row
    main = data.options["questions"][QUESTION]["coding"]
    if main != AS_ESTIMATED:
        for row in common.tuples(common.pooled_rows(headline_as_estimated(data, effects))):
            yield "Non-significant effects", "as estimated", row
    for coding, words in CODINGS.items():
        for row in common.tuples(common.pooled_rows(effects, coding=coding, headline="no")):
            yield "Non-significant effects", words, row
    for row in common.tuples(common.pooled_rows(effects, method="one_stage")):
        yield "One stage", "one mixed model over the clients of all sites that share rows", row
    for method, words in (("three_level_reml", "three levels"), ("cluster_robust_cr2", "same mean, robust standard error (CR2)")):
        for row in common.tuples(common.pooled_rows(effects, method=method)):
            yield "All outcomes of a site at once", words, row
    for row in common.tuples(imputed_rows(missed)):
        shift = "missing values imputed" if row.delta == 0 else f"imputed outcomes shifted by {numbers.decimal(row.delta)} SD"
        yield "Missing values", shift, row
    for row in common.tuples(common.pooled_rows(tables["eligibility"], criterion="all")):
        yield "Criteria of the 1991 review", f"only sites that meet all five ({row.decision})", row


def headline_as_estimated(data: ReportData, effects: pd.DataFrame) -> pd.DataFrame:
    """Return the pooled row of the headline's measures with every site effect as estimated, where the headline is coded otherwise."""
    alliance, outcome = data.options["alliance"], data.options["outcome"]
    keys = {"alliance_instrument": PREFERRED, "alliance_scale": alliance["scale"], "alliance_rater": alliance["rater"]}
    keys |= {"window": alliance["window"], "outcome_instrument": PREFERRED, "outcome_rater": outcome["rater"]}
    keys |= {"timepoint": outcome["timepoint"], "form": outcome["form"], "coding": AS_ESTIMATED}
    rows = common.select(effects, **keys)
    return rows[rows["method"].str.startswith("two_stage")]


def forms_table(data: ReportData, tables: dict[str, pd.DataFrame], rows: pd.DataFrame) -> Table:
    """Return the headline in every form."""
    cells = tuple((Cell(f"{what}: {how}"), *common.estimate_cells(data, row)) for what, how, row in forms(data, tables, rows))
    return Table(
        id="alliance-outcome-forms",
        caption="The pooled headline in all its forms",
        columns=(Column("Form", wide=True), *common.estimate_columns(data, "r")),
        rows=cells,
        note=f"{subject(data)[:1].upper()}{subject(data)[1:]}. Unless said otherwise: {FORMS[data.options['outcome']['form']]}, pooled in "
        "two stages.",
        empty="The headline could not be estimated.",
        emphasised=frozenset({0}) if cells else frozenset(),
    )


def form_sentences(data: ReportData, tables: dict[str, pd.DataFrame], main: Any) -> tuple[str, ...]:
    """Return why one and two stages differ, what coding does, and how many sites point the other way."""
    effects = tables["pooled"]
    sentences = []
    one = first(common.pooled_rows(effects, method="one_stage"))
    if one is not None and main is not None:
        sentences.append(
            f"One model over all rows gives {common.estimate_text(one, data.decimals)}, the two stages "
            f"{common.estimate_text(main, data.decimals)}. The model counts every client alike, the two stages weigh each site by how sure "
            "its estimate is and average on the scale of Fisher’s z; the two part where large and small sites differ."
        )
    coded = [(coding, first(common.pooled_rows(effects, coding=coding))) for coding in CODINGS]
    shown = [f"{coding} {common.estimate_text(row, data.decimals)}" for coding, row in coded if row is not None]
    if shown:
        sentences.append(f"Effects that are not significant at their site, treated in three ways: {', '.join(shown)}.")
    negative = first(common.pooled_rows(effects, estimate_type="share"))
    if negative is not None:
        sentences.append(
            f"{numbers.percent(negative.estimate)} of the sites have an estimate below zero, {data.level} CI "
            f"{common.interval_text(negative, data.decimals)}."
        )
    return tuple(sentences)


def eligibility_table(data: ReportData, table: pd.DataFrame) -> Table:
    """Return which site meets which criterion of the 1991 review with its headline; counts where there are very many sites."""
    alliance, outcome = data.options["alliance"], data.options["outcome"]
    chosen = common.site_rows(table, alliance_rater=alliance["rater"], window=alliance["window"], outcome_rater=outcome["rater"])
    chosen = chosen[chosen["estimate_type"] == "criterion_met"]
    decisions = chosen.pivot_table(index="site", columns="criterion", values="decision", aggfunc="first", sort=False)
    reasons = chosen[chosen["criterion"].eq("all")].set_index("site")["reason"].to_dict()
    if len(decisions) > LABELLED_ROWS:
        states = ("met", "not met", "not known")
        rows = tuple(
            (Cell(label), *(common.count_cell(int(decisions[name].eq(state).sum()) if name in decisions else 0) for state in states))
            for name, label in CRITERIA.items()
        )
        columns = (Column("Criterion"), *(Column(f"Sites: {state}", True) for state in states))
    else:
        rows = tuple(
            (
                Cell(data.labels.get(site, site)),
                *(Cell(str(given.get(name) or numbers.UNKNOWN)) for name in CRITERIA),
                Cell(str(reasons.get(site) or "").removeprefix("not estimable: ").replace("_", " ")),
            )
            for site, given in decisions.iterrows()
        )
        columns = (Column("Site"), *(Column(label) for label in CRITERIA.values()), Column("Why not", wide=True, optional=True))
    return Table(
        id="alliance-outcome-eligibility",
        caption="Criteria of the 1991 meta-analysis, headline by site",
        columns=columns,
        rows=rows,
        note="Judged by machine from what each site states; “not known” means that the site does not say. All other effects: "
        "tables/alliance_outcome/eligibility.csv.",
        empty="No site has a headline estimate that could be judged.",
    )


def instrument_table(data: ReportData, pooled: pd.DataFrame) -> Table:
    """Return the pooled effects of other windows and of single instruments, in the form of the headline, folded."""
    alliance, outcome = data.options["alliance"], data.options["outcome"]
    chosen = common.pooled_rows(
        pooled,
        coding=AS_ESTIMATED,
        form=outcome["form"],
        timepoint=outcome["timepoint"],
        alliance_scale=alliance["scale"],
        outcome_rater=outcome["rater"],
        headline="no",
    )
    chosen = chosen[~chosen["method"].isin(("one_stage", "three_level_reml", "cluster_robust_cr2", "counted"))]
    preferred = chosen["alliance_instrument"].eq(PREFERRED) & chosen["outcome_instrument"].eq(PREFERRED)
    single = ~chosen["alliance_instrument"].eq(PREFERRED) & ~chosen["outcome_instrument"].eq(PREFERRED)
    single &= chosen["window"].eq(alliance["window"]) & chosen["alliance_rater"].eq(alliance["rater"])
    rows = tuple(
        (
            Cell(_measure(row.alliance_instrument, row.alliance_scale)),
            Cell(row.alliance_rater),
            Cell(window_words(row.window)),
            Cell(_measure(row.outcome_instrument, row.outcome_scale)),
            *common.estimate_cells(data, row),
        )
        for row in common.tuples(pd.concat([chosen[preferred], chosen[single]]))
    )
    return Table(
        id="alliance-outcome-instruments",
        caption="Other windows and raters of the alliance, and single instruments",
        columns=(Column("Alliance"), Column("Rated by"), Column("Window"), Column("Outcome"), *common.estimate_columns(data, "r")),
        rows=rows,
        note=f"Outcome rated by the {outcome['rater']}, {FORMS[outcome['form']]}. All other pairs: tables/alliance_outcome/pooled.csv.",
        empty="There is no other measure.",
        folded=True,
    )


def _measure(instrument: str, scale: str) -> str:
    return "first of the configuration" if instrument == PREFERRED else common.measure(instrument, scale)


def benchmark_name(data: ReportData, tables: dict[str, pd.DataFrame], table: str, row: Any) -> str:
    """Return what a published figure is about; empty for rows that this chapter does not show."""
    if table == "pooled":
        if row.estimate_type == "share":
            return "Share of sites with an estimate below zero"
        if row.coding != AS_ESTIMATED:
            return f"Headline, {CODINGS[row.coding]}"
        return f"Alliance and outcome, {FORMS[row.form]}" if row.form in BESIDE_THE_REVIEW else ""
    return outcome_parts.benchmark_name(data, tables, table, row)


def missing(data: ReportData, tables: dict[str, pd.DataFrame], rows: pd.DataFrame) -> tuple[str, ...]:
    """Return what could not be estimated and what it needs."""
    named = [
        (row, f"Headline, {how}" if what == "Headline" else f"{what}, {how}") for what, how, row in forms(data, tables, rows)
    ] + outcome_parts.named_rows(data, tables)
    absent = [(row, name) for row, name in named if not common.has_number(row)]
    if not absent:
        return ()
    frame = pd.DataFrame([{**row._asdict(), "site": POOLED, "subject": name} for row, name in absent])
    return common.not_estimable(data, frame, lambda row: row.subject)
