"""Parts of the chapter on client factors: who measured what, beside the alliance, over time, in other windows and by therapist."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from alliance.questions.alliance_outcome.measures import PREFERRED
from alliance.questions.client_factors.instruments import ANOTHER, BETWEEN, OTHER, P_VALUE, WITHIN
from alliance.questions.client_factors.over_time import CHANGE, FIRST, LATER, SECOND, START, verdict
from alliance.questions.client_factors.unique_shared import (
    ADJUSTED,
    ALL,
    ALL_DIFFERENCE,
    ALL_GIVEN,
    ALLIANCE_GIVEN,
    ALLIANCE_OUTCOME,
    BY_CATEGORY,
    DIFFERENCE,
    ELSEWHERE,
    EXPLAINED,
    FACTOR_ALLIANCE,
    FACTOR_GIVEN,
    FACTOR_OUTCOME,
    SHARED,
    TOGETHER,
    UNIQUE_ALLIANCE,
    UNIQUE_FACTOR,
)
from alliance.reports import figures_factors, numbers
from alliance.reports.chapters import common
from alliance.reports.elements import Cell, Column, Figure, Fold, Table, listed, number_cell, slug
from alliance.reports.inputs import ReportData

CONTRAST = f"{FIRST} - {SECOND}"
VERDICTS = {
    "start_only": "acts at the start only",
    "fades": "is weaker later, yet still there",
    "throughout": "acts throughout",
    "both_phases": "acts in both phases: whether equally strongly is open",
    "grows": "grows over time",
    "nowhere": "has no weight early or later",
    "undecided": "stays undecided: the intervals are too wide to tell",
}
DECISIONS = {
    "equivalent": "smaller than that",
    "equivalent_and_different": "there, but smaller than that",
    "different": "not zero, and larger values cannot be ruled out",
    "undecided": "undecided: neither zero nor larger values can be ruled out",
}
QUANTITY_WORDS = {
    FACTOR_ALLIANCE: "{factor} with the alliance",
    FACTOR_OUTCOME: "{factor} with the outcome",
    ALLIANCE_OUTCOME: "Alliance with the outcome",
    FACTOR_GIVEN: "{factor} with the outcome, given the alliance",
    ALLIANCE_GIVEN: "Alliance with the outcome, given {lower}",
    DIFFERENCE: "Alliance minus {lower}, as predictors of the outcome",
    UNIQUE_FACTOR: "Variance of the outcome that {lower} alone explains",
    UNIQUE_ALLIANCE: "Variance that the alliance alone explains",
    SHARED: "Variance explained in common",
    TOGETHER: "Variance explained together",
    EXPLAINED: "Variance of the alliance explained by {lower}",
    ADJUSTED: "The same, adjusted for the number of predictors",
    ELSEWHERE: "The same, with therapists not used to estimate it",
    ALL_GIVEN: "Alliance with the outcome, given {lower}",
    ALL_DIFFERENCE: "Difference: given {lower}, minus not given",
}
FORM_WORDS = {
    "zero_order": "as it is",
    "ancova": "given the intake level",
    "residual_gain": "residual gain",
    "change": "change from intake",
}
_TOGETHER_WORDS = {ALL: "all factors", BY_CATEGORY: "the means of the categories"}


def factor_words(row: Any) -> str:
    """Return a factor in words, and whether its sign was turned, since higher means worse."""
    return common.words(row.factor) + (" (sign turned)" if row.reversed == "yes" else "")


def sign_sentence(pooled: pd.DataFrame, reviewed: Sequence[str]) -> str:
    """Return how many of the review's factors have the sign that it found: better at intake, better alliance."""
    every = pooled[pooled["category"].isin(reviewed)]
    rows = [row for row in common.tuples(every) if common.has_number(row) and numbers.known(row.ci_low)]
    if not rows:
        return ""
    above = [row for row in rows if row.ci_low > 0]
    below = [common.words(row.factor).lower() for row in rows if row.ci_high < 0]
    open_sign = len(rows) - len(above) - len(below)
    against = f"; against it: {listed(below)}" if below else ""
    return (
        f"The review’s sign (better at intake, better alliance) is clear for {len(above)} of {len(rows)} factors of its categories, "
        f"open for {open_sign}{against}{common.more_withheld(every)}."
    )


def weight_sentence(data: ReportData, pooled: pd.DataFrame) -> str:
    """Return whether severity and other diagnostic factors are too weak to matter, by equivalence tests."""
    rows = [row for row in common.tuples(pooled) if common.has_number(row) and row.decision in DECISIONS]
    if not rows:
        return ""
    parts = [
        f"{factor_words(row).lower()} {numbers.bounded(row.estimate, data.decimals)} "
        f"{common.interval_text(row, data.decimals)} is {DECISIONS[row.decision]} (p {numbers.p_value(row.p_equivalence)})"
        for row in rows
    ]
    turned = [common.words(row.factor).lower() for row in rows if row.reversed == "yes"]
    meaning = f" Of {listed(turned)} the sign was turned: above zero, less of it goes with a better alliance." if turned else ""
    return f"Tested against a correlation of {numbers.bounded(rows[0].bound, data.decimals)} either way: {'; '.join(parts)}.{meaning}"


def measured_figure(data: ReportData, factors: pd.DataFrame) -> list[Figure]:
    """Return the map of which site measured which factor; counts below ten are not shown."""
    rows = common.site_rows(factors)
    names, sites = list(dict.fromkeys(rows["factor"])), sorted(set(rows["site"]))
    if not names or not sites:
        return []
    values = {
        (row.factor, row.site): float(row.n_clients) if row.n_clients is not pd.NA and row.n_clients == row.n_clients else math.nan
        for row in common.tuples(rows)
    }
    counts = [[values.get((factor, site), math.nan) for site in sites] for factor in names]
    labels = [common.words(factor) for factor in names]
    somewhere = [sum(numbers.known(value) and value >= figures_factors.FEWEST for value in row) for row in counts]
    told = "; ".join(f"{label} {number} of {len(sites)} sites" for label, number in zip(labels, somewhere))
    key = ", ".join(f"{number} {data.labels.get(site, site)}" for number, site in enumerate(sites, start=1))
    return [
        Figure(
            id="factors-measured",
            title="Who measured what: clients with the factor and the alliance, by site",
            alt=f"Map of factors by sites. With ten or more clients: {told}.",
            svg=figures_factors.measured_map(labels, counts),
            note=f"Every factor is pooled over the sites that have it. Sites: {key}.",
        )
    ]


def _row(table: pd.DataFrame, **keys: str) -> Any:
    found = [row for row in common.tuples(common.pooled_rows(table, **keys)) if common.has_number(row)]
    return found[0] if found else None


def _told(data: ReportData, row: Any) -> str:
    return f"{common.estimate_text(row, data.decimals)} {common.interval_text(row, data.decimals)}"


def beside_sentences(data: ReportData, table: pd.DataFrame) -> list[str]:
    """Return what each chosen factor and the alliance explain of the outcome, alone and in common."""
    made = []
    for factor in sorted(set(table["factor"]) - {ALL, BY_CATEGORY, ""}):
        name = common.words(factor)
        for form in sorted(set(table.loc[table["factor"].eq(factor), "form"]), reverse=True):
            own = common.select(table, factor=factor, form=form)
            found = {quantity: _row(own, quantity=quantity) for quantity in set(own["quantity"])}
            needed = (FACTOR_OUTCOME, ALLIANCE_OUTCOME, FACTOR_GIVEN, ALLIANCE_GIVEN, DIFFERENCE)
            if any(found.get(quantity) is None for quantity in needed):
                continue
            text = (
                f"{name} and the outcome ({FORM_WORDS[form]}): r {_told(data, found[FACTOR_OUTCOME])}, and given the alliance "
                f"{_told(data, found[FACTOR_GIVEN])}; alliance and the outcome {_told(data, found[ALLIANCE_OUTCOME])}, and given "
                f"{name.lower()} {_told(data, found[ALLIANCE_GIVEN])}. The alliance minus {name.lower()} as predictors: "
                f"{_told(data, found[DIFFERENCE])}; {common.sureness(found[DIFFERENCE])}."
            )
            if all(found.get(quantity) is not None for quantity in (UNIQUE_FACTOR, UNIQUE_ALLIANCE, SHARED)):
                text += (
                    f" Of the outcome’s variance{'' if form == 'zero_order' else ' in this form'}, {name.lower()} alone explains "
                    f"{numbers.percent(found[UNIQUE_FACTOR].estimate, data.percent_decimals)}, the alliance alone "
                    f"{numbers.percent(found[UNIQUE_ALLIANCE].estimate, data.percent_decimals)}, both in common "
                    f"{numbers.percent(found[SHARED].estimate, data.percent_decimals)}."
                )
            made.append(text)
    if made:
        made.append("Whether such a factor works through the alliance is asked in the chapter on path models.")
    return made


def together_sentences(data: ReportData, table: pd.DataFrame) -> list[str]:
    """Return how much of the alliance all factors explain, and what is left of alliance and outcome given all of them."""
    made = []
    for together, words in _TOGETHER_WORDS.items():
        own = common.select(table, factor=together)
        whole, row, elsewhere = (_row(own, quantity=name) for name in (EXPLAINED, ADJUSTED, ELSEWHERE))
        if row is not None:
            optimism = f" (unadjusted {numbers.percent(whole.estimate)}, which is optimistic" if whole is not None else ""
            if elsewhere is not None:
                optimism += f"; with therapists left out of the estimation {numbers.percent(elsewhere.estimate)}"
            made.append(
                f"Together, {words} explain {numbers.percent(row.estimate)} {_share_interval(row)} of the variance of the alliance"
                f"{optimism + ')' if optimism else ''}, over {common.plural(row.n_sites, 'site')}: "
                f"{_influence(row)}."
            )
        for form in sorted(set(own["form"]), reverse=True):
            before, after, change = (_row(own, quantity=name, form=form) for name in (ALLIANCE_OUTCOME, ALL_GIVEN, ALL_DIFFERENCE))
            if before is not None and after is not None and change is not None:
                made.append(
                    f"Given {words}, the alliance correlates with the outcome ({FORM_WORDS[form]}) by {_told(data, after)}, "
                    f"without them by {_told(data, before)} on the same clients (difference {_told(data, change)})."
                )
    return made


def _influence(row: Any) -> str:
    if not (numbers.known(row.ci_low) and numbers.known(row.ci_high)) or row.ci_high >= 1:
        return "how far that is below all of it stays open"
    return (
        "they influence it but do not determine it" if row.ci_low > 0 else "they do not determine it; whether they influence it stays open"
    )


def _share_interval(row: Any) -> str:
    if not (numbers.known(row.ci_low) and numbers.known(row.ci_high)):
        return ""
    return f"[{numbers.percent(row.ci_low)},{numbers.SPACE}{numbers.percent(row.ci_high)}]"


def beside_name(row: Any) -> str:
    """Return what a row of ``unique_shared`` is about."""
    name = _TOGETHER_WORDS.get(row.factor, common.words(row.factor))
    text = QUANTITY_WORDS.get(row.quantity, row.quantity).format(factor=name, lower=name.lower())
    if row.quantity == ADJUSTED:
        text = f"Variance of the alliance explained by {name.lower()}, adjusted"
    return f"{text[:1].upper()}{text[1:]} ({FORM_WORDS[row.form]})" if row.outcome_rater else f"{text[:1].upper()}{text[1:]}"


def beside_blocks(data: ReportData, table: pd.DataFrame) -> list[Fold]:
    """Return the table of what each chosen factor and the alliance explain, one column a form of the outcome."""
    pooled = common.pooled_rows(table)
    forms = sorted(set(pooled["form"]), reverse=True)
    rows = []
    for factor in sorted(set(pooled["factor"]), key=lambda name: (name.startswith("("), name)):
        own = pooled[pooled["factor"].eq(factor)]
        for quantity, words in QUANTITY_WORDS.items():
            found = [_row(own, quantity=quantity, form=form) for form in forms]
            if any(row is not None for row in found):
                name = _TOGETHER_WORDS.get(factor, common.words(factor))
                label = words.format(factor=name, lower=name.lower())
                rows.append((Cell(f"{label[:1].upper()}{label[1:]}"), *(_share_or_r(data, row) for row in found)))
    if not rows:
        return []
    shown = Table(
        id="factors-beside",
        caption="Factors and the alliance beside each other, pooled over sites",
        columns=(Column("Number"), *(Column(f"Outcome {FORM_WORDS[form]}", True) for form in forms)),
        rows=tuple(rows),
        note=f"Correlations and shares of variance with {data.level} intervals. Given the intake level, shares are of the variance of the "
        "outcome that the intake level leaves. A negative common part: one of the two brings out what the other explains.",
    )
    return [Fold("factors-beside-fold", "Factors and the alliance as predictors", (shown,))]


def _share_or_r(data: ReportData, row: Any) -> Cell:
    if row is None or not row.estimate_type.startswith("r_squared"):
        return _short(data, row)
    return number_cell(f"{numbers.percent(row.estimate, data.percent_decimals)} {_share_interval(row)}".strip(), row.estimate)


def _time_label(pooled: pd.DataFrame, factor: str) -> str:
    if factor.startswith("("):
        return f"{common.words(factor[1:-1])} factors (mean)"
    return _label(pooled, factor)


def _label(rows: pd.DataFrame, factor: str) -> str:
    """Return a factor in words, and whether its sign was turned in these rows."""
    return factor_words(next(common.tuples(rows[rows["factor"].eq(factor)])))


def time_sentences(data: ReportData, table: pd.DataFrame) -> list[str]:
    """Return whether the means of categories act at the start only or throughout, and how single factors are judged."""
    pooled = common.pooled_rows(table)
    made = []
    for factor in [name for name in dict.fromkeys(pooled["factor"]) if name.startswith("(")]:
        judged = verdict(pooled, factor)
        first, second, change = (
            _row(table, factor=factor, analysis="phases", **keys)
            for keys in ({"part": FIRST, "contrast": ""}, {"part": SECOND, "contrast": ""}, {"contrast": CONTRAST})
        )
        if not judged or first is None or second is None or change is None:
            continue
        text = (
            f"{'' if made else 'At the start only, or throughout (open in the review)? '}The mean of {factor[1:-1].replace('_', ' ')} "
            f"factors {VERDICTS[judged]} (first phase r {_told(data, first)}, second phase {_told(data, second)} on the same clients, "
            f"difference {_told(data, change)}"
        )
        later = _row(table, factor=factor, analysis="phases", part=LATER)
        text += f"; second phase given the first {_told(data, later)})." if later is not None else ")."
        growth = _row(table, factor=factor, analysis="growth", part=CHANGE)
        if growth is not None:
            text += f" Session by session, the slope changes by {_told(data, growth)} in ten sessions; {common.sureness(growth)}."
        made.append(text)
    single = [name for name in dict.fromkeys(pooled["factor"]) if not name.startswith("(")]
    judged = {name: verdict(pooled, name) for name in single}
    tally = [
        f"{words.split(':')[0]} {sum(value == key for value in judged.values())}"
        for key, words in VERDICTS.items()
        if key in judged.values()
    ]
    if tally:
        silent = common.more_withheld(pooled[pooled["factor"].isin(single)])
        made.append(f"Single factors, each judged in the same way: {'; '.join(tally)}{silent.replace(' more', ' of their numbers')}.")
    return made


def time_blocks(data: ReportData, table: pd.DataFrame) -> list[Fold]:
    """Return the table of all factors over time."""
    pooled = common.pooled_rows(table)
    cells = tuple(
        (
            Cell(_time_label(pooled, factor)),
            *(
                _short(data, _row(pooled, factor=factor, **keys))
                for keys in (
                    {"analysis": "growth", "part": START},
                    {"analysis": "growth", "part": CHANGE},
                    {"analysis": "phases", "part": FIRST, "contrast": ""},
                    {"analysis": "phases", "part": SECOND, "contrast": ""},
                    {"analysis": "phases", "contrast": CONTRAST},
                    {"analysis": "phases", "part": LATER},
                    {"analysis": "bands", "contrast": "early - late"},
                )
            ),
            Cell(VERDICTS.get(verdict(pooled, factor), common.NOT_ESTIMABLE).split(":")[0]),
        )
        for factor in sorted(set(pooled["factor"]), key=lambda name: (not name.startswith("("), name))
    )
    if not cells:
        return []
    columns = ("Slope at the start", "Change in ten sessions", "First phase", "Second phase", "First minus second")
    columns = (*columns, "Second given first", "Early minus late")
    shown = Table(
        id="factors-time",
        caption="Client factors over time, pooled over sites",
        columns=(Column("Factor"), *(Column(name, True, optional=True) for name in columns), Column("Judged")),
        rows=cells,
        note=f"Estimates with {data.level} intervals. Slopes are in SD of the site’s session scores per SD of the factor; all else are "
        "correlations, their differences, and a partial correlation.",
    )
    return [Fold("factors-time-fold", "Every factor over time", (shown,))]


def _of_another(table: pd.DataFrame) -> dict[str, Any]:
    """Return the pooled difference of another instrument and the preferred one, by factor."""
    pooled = common.pooled_rows(table, where=WITHIN, contrast=ANOTHER)
    return {row.factor: row for row in common.tuples(pooled.sort_values("factor", kind="stable")) if common.has_number(row)}


def instrument_sentences(data: ReportData, table: pd.DataFrame) -> list[str]:
    """Return whether factors go with the alliance alike when another instrument measures it, on the same clients and over sites."""
    found = _of_another(table)
    if not found:
        return []
    every = common.pooled_rows(table, where=WITHIN, contrast=ANOTHER)
    bound = numbers.bounded(next(iter(found.values())).bound, data.decimals)
    counted = {
        "equal within it": sum(row.decision in ("equivalent", "equivalent_and_different") for row in found.values()),
        "different": sum(row.decision == "different" for row in found.values()),
        "undecided": sum(row.decision == "undecided" for row in found.values()),
    }
    farthest = max(found.values(), key=lambda row: abs(row.estimate))
    compared = f"{common.plural(len(found), 'factor')}{common.more_withheld(every)}"
    tally = "; ".join(f"{words} {number}" for words, number in counted.items() if number)
    text = (
        "Does it hold with another instrument of the alliance? (The review’s study of object relations used its own.) At sites with two "
        f"instruments, the same clients and sessions, correlations of {compared} were compared with ±{bound} as bound: {tally}. "
        f"Farthest apart: {factor_words(farthest).lower()}, by {_told(data, farthest)}."
    )
    tests = common.pooled_rows(table, where=BETWEEN, index=P_VALUE)
    tests = [row for row in common.tuples(tests) if common.has_number(row)]
    if tests:
        differing = sum(row.estimate < 0.05 for row in tests)
        text += (
            f" Sites whose alliance comes from different instruments: means differ (p below .05) for {differing} of "
            f"{common.plural(len(tests), 'factor')}; sites differ in much else."
        )
    return [text]


def instrument_blocks(data: ReportData, table: pd.DataFrame) -> list[Fold]:
    """Return the table of every factor with the preferred and with another instrument of the alliance."""
    found = _of_another(table)
    terms = common.pooled_rows(table, where=WITHIN, pair=ANOTHER, contrast="")
    rows = tuple(
        (
            Cell(factor_words(row)),
            *(_short(data, _row(terms, factor=factor, alliance_instrument=name)) for name in (PREFERRED, OTHER)),
            _short(data, row),
            _sites(row),
            Cell(DECISIONS.get(row.decision, row.decision).split(":")[0]),
        )
        for factor, row in found.items()
    )
    if not rows:
        return []
    shown = Table(
        id="factors-instruments",
        caption="Client factors with two instruments of the alliance on the same clients and sessions, pooled over sites",
        columns=(
            *(Column("Factor"), Column("Preferred instrument", True, optional=True), Column("Another", True, optional=True)),
            *(Column("Another minus preferred", True), Column("Sites", True), Column("Difference")),
        ),
        rows=rows,
        note=f"Correlations with {data.level} intervals. Preferred: the first instrument of the configuration that a site has; another: "
        "the next. Every two instruments stand in the tables of the results. Differences hold those of the instruments’ reliability. "
        "Each column is pooled by itself, so that a difference need not be that of the columns beside it.",
    )
    return [Fold("factors-instruments-fold", "With another instrument of the alliance", (shown,))]


def _short(data: ReportData, row: Any) -> Cell:
    return Cell(numbers.UNKNOWN, "") if row is None else number_cell(_told(data, row), row.estimate)


def _with_sites(data: ReportData, found: list[Any]) -> list[Cell]:
    """Return the slope within, its sites, the slope between, the difference, and the sites of both."""
    within, between, difference = (_short(data, row) for row in found)
    return [within, _sites(found[0]), between, difference, _sites(found[1])]


def _sites(row: Any) -> Cell:
    return Cell(numbers.UNKNOWN, "") if row is None or not common.has_number(row) else common.count_cell(row.n_sites)


def _plain(data: ReportData, row: Any) -> Cell:
    return Cell(numbers.UNKNOWN, "") if row is None else number_cell(numbers.bounded(row.estimate, data.decimals), row.estimate)


def more_blocks(data: ReportData, factors: pd.DataFrame) -> list[Fold]:
    """Return the correlations in all windows and by all raters, and the slopes within and between therapists."""
    pooled = common.pooled_rows(factors)
    names = sorted(set(pooled["factor"]))
    main = pooled[pooled["headline"].eq("yes")]
    every = pooled[pooled["estimate_type"].eq("correlation")]
    combinations = list(dict.fromkeys(zip(every["window"], every["alliance_rater"])))
    blocks = []
    if len(combinations) > 1:
        rows = tuple(
            (
                Cell(_label(pooled, name)),
                *(_plain(data, _row(every, factor=name, window=window, alliance_rater=rater)) for window, rater in combinations),
            )
            for name in names
        )
        columns = (Column("Factor"), *(Column(f"{common.words(window)}, {rater}", True, optional=True) for window, rater in combinations))
        shown = Table(
            id=f"factors-{slug('windows')}",
            caption="Client factors and the alliance in other windows and by other raters, pooled over sites",
            columns=columns,
            rows=rows,
            note="Correlations; intervals stand in the tables of the results.",
        )
        blocks.append(Fold("factors-windows-fold", "Other windows and raters", (shown,)))
    slopes = pooled[pooled["part"].ne("")]
    if len(main) and len(slopes):
        window, rater = main.iloc[0]["window"], main.iloc[0]["alliance_rater"]
        slopes = slopes[slopes["window"].eq(window) & slopes["alliance_rater"].eq(rater)]
        parts = ("within_therapists", "between_therapists", "between_therapists - within_therapists")
        found = {name: [_row(slopes, factor=name, part=part) for part in parts] for name in names}
        rows = tuple((Cell(_label(pooled, name)), *_with_sites(data, found[name])) for name in names)
        shown = Table(
            id="factors-therapists",
            caption="Slopes of the alliance on client factors within and between therapists, pooled over sites",
            columns=(
                *(Column("Factor"), Column("Within", True), Column("Sites", True)),
                *(Column("Between", True), Column("Between minus within", True), Column("Sites", True)),
            ),
            rows=rows,
            note=f"In SD of the site, with {data.level} intervals. Within: a therapist’s own clients compared; between: the means of "
            "therapists’ clients; needs ten therapists at a site, so that it and the difference rest on fewer sites than the slope within. "
            "Each column is pooled by itself.",
        )
        blocks.append(Fold("factors-therapists-fold", "Within and between therapists", (shown,)))
    return blocks
