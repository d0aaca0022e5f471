"""Parts of the chapter on path models: what comes first from session to session, and chains within and between clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from alliance.questions.contract import WITHHELD
from alliance.reports import figures, numbers
from alliance.reports.chapters import common
from alliance.reports.chapters.path_models_rows import (
    CLIENT,
    DEFINED,
    METHOD_WORDS,
    PREFERENCE,
    Blocks,
    caution,
    effect_name,
    p_words,
    preferred,
    rows_of,
    section,
    short,
    small,
    with_number,
)
from alliance.reports.elements import Cell, Column, Figure, Part, Table, number_cell, slug
from alliance.reports.figures import ForestRow
from alliance.reports.inputs import ReportData

EQUAL, CLASSIC, FREE, GROWTH, TESTS = (
    "random_intercepts_equal_lags",
    "classic_equal_lags",
    "random_intercepts",
    "growth",
    "comparison",
)
MODEL_WORDS = {
    EQUAL: "within clients, lags equal",
    FREE: "within clients, lags free",
    "random_intercepts_stationary": "within clients, residuals equal too",
    CLASSIC: "classic, lags equal",
    "classic": "classic, lags free",
    GROWTH: "growth, straight lines",
}
INDICES = {"chi2": "χ²", "df": "df", "p_value": "p", "cfi": "CFI", "rmsea": "RMSEA", "srmr": "SRMR", "aic": "AIC", "bic": "BIC"}
MAIN_PAIR = "alliance_symptoms"
SLOPES = "within_random_slopes"
LEVELS = {"within": "within clients", SLOPES: "within clients whose slopes differ", "between": "between clients"}
OF_SLOPES = {
    "a": "a, mean over clients",
    "b": "b, mean over clients",
    "ab_covariance": "covariance of a and b over clients",
    "indirect": "indirect: a × b + covariance",
    "direct": "direct, mean over clients",
    "total": "total",
}
SIZES = "By convention .03, .07 and .12 are small, medium and large effects of this kind."


def pairs(data: ReportData) -> list[str]:
    """Return the pairs of measures, the one of alliance and symptoms first."""
    known = list(dict.fromkeys(rows_of(data, "cross_lagged")["pair"]))
    return [name for name in (MAIN_PAIR, *known) if name in known and (name != MAIN_PAIR or known.index(name) >= 0)][:1] + [
        name for name in known if name != MAIN_PAIR and MAIN_PAIR in known
    ] or known


def told_row(rows: pd.DataFrame) -> Any:
    """Return the pooled row to tell: of more clients, else by random effects; None where none has a number."""
    known = with_number(common.pooled_rows(rows))
    if known.empty:
        return None
    place = {name: position for position, name in enumerate(PREFERENCE)}
    ranked = known.assign(_n=-known["n_clients"].astype("float64").fillna(0), _method=known["method"].map(place).fillna(len(place)))
    return next(common.tuples(ranked.sort_values(["_n", "_method"], kind="stable").iloc[:1]))


def lagged(data: ReportData, pair: str, model: str) -> dict[tuple[str, str], Any]:
    """Return the standardised lagged effects of a model over sites, mean over lags, by predictor and outcome."""
    rows = rows_of(data, "cross_lagged", pair=pair, model=model, estimate_type="path_standardised")
    rows = rows[rows["predictor"].ne("")]
    found = {}
    for (predictor, outcome), own in common.rows_by(rows, ("predictor", "outcome")):
        if (row := told_row(own)) is not None:
            found[predictor, outcome] = row
    return found


def crossed(effects: Mapping[tuple[str, str], Any]) -> dict[tuple[str, str], Any]:
    """Return the effects of one measure on the other, without those on itself."""
    return {key: row for key, row in effects.items() if key[0] != key[1]}


def arrow(key: tuple[str, str]) -> str:
    """Return a lagged effect in words."""
    return f"{common.words(key[0])} → later {key[1].replace('_', ' ')}"


def headline(data: ReportData) -> str:
    """Return the lagged effects of alliance and symptoms within clients in one sentence; empty where not estimated."""
    names = pairs(data)
    effects = crossed(lagged(data, names[0], EQUAL)) if names else {}
    if not effects:
        return ""
    first = next(iter(effects.values()))
    told = "; ".join(f"{arrow(key).lower()} {short(data, row)} ({common.sureness(row)})" for key, row in effects.items())
    counted = ", ".join(one for one in (common.plural(first.n_sites, "site"), common.plural(first.n_clients, "client")))
    return f"From session to session within clients (higher is better in both): {told}; {counted}."


def sessions(data: ReportData) -> Blocks:
    """Return the lagged effects of every pair of measures: figure, tables, tests of the models' assumptions, growth."""
    names = pairs(data)
    if not names:
        return []
    lead = (
        "Random intercepts take out what is stable of clients, so that what is left tells whether a client’s better than usual alliance is "
        "followed by a better than usual next measurement. The classic model mixes both, and its lagged effects mostly mirror stable "
        "differences between clients. All measures are turned so that higher is better."
    )
    blocks: Blocks = [Part("path-models-sessions", "From session to session: what comes first?", (lead, *_overall(data, names)))]
    blocks += lagged_figure(data, names)
    for name in names:
        blocks += [lagged_table(data, name), *fit_tables(data, name), *growth_table(data, name)]
    return blocks


def _overall(data: ReportData, names: list[str]) -> list[str]:
    told = []
    for name in names:
        within = crossed(lagged(data, name, EQUAL))
        if not within:
            rows = common.pooled_rows(rows_of(data, "cross_lagged", pair=name, model=EQUAL))
            reason = next((common.remark(row) for row in common.tuples(rows) if common.remark(row)), "")
            hidden = rows["status"].eq(WITHHELD).any()
            why = "withheld" if hidden else f"not estimable over sites{f' ({reason})' if reason else ''}"
            told.append(f"{pair_words(data, name)}: {why}.")
            continue
        told.append(pair_sentence(data, name, within))
    return told


def pair_words(data: ReportData, pair: str) -> str:
    """Return the two measures of a pair."""
    series = (section(data).get("cross_lagged") or {}).get("pairs", {}).get(pair, {}).get("series")
    names = list(series) if series else pair.split("_")
    return common.words(" and ".join(name.replace("_", " ") for name in names))


def pair_sentence(data: ReportData, pair: str, within: Mapping[tuple[str, str], Any]) -> str:
    """Return the lagged effects of a pair within clients, what the classic model says, and the tests of its assumptions."""
    parts = [f"{arrow(key)}: {common.sentence_estimate(data, row, 'β')}; {common.sureness(row)}" for key, row in within.items()]
    told = f"{pair_words(data, pair)}, within clients. {'. '.join(parts)}."
    classic = crossed(lagged(data, pair, CLASSIC))
    if classic:
        told += f" The classic model gives {'; '.join(f'{arrow(key).lower()} {short(data, row)}' for key, row in classic.items())}."
    for row in within.values():
        told += f" {sentence}" if (sentence := common.spread_sentence(data, row)) else ""
        break
    told += "".join(f" {one}" for one in assumption_sentences(data, pair))
    return f"{told} {common.cautions(common.caution(row) for row in within.values())}".strip()


def assumptions(data: ReportData, pair: str) -> dict[str, dict[str, Any]]:
    """Return the tests of a pair's models over sites, by what is tested and index."""
    rows = rows_of(data, "cross_lagged", pair=pair, model=TESTS).rename(columns={"index": "name"})
    found: dict[str, dict[str, Any]] = {}
    for (what, name), own in common.rows_by(rows, ("parameter", "name")):
        if (row := told_row(own)) is not None:
            found.setdefault(what, {})[name] = row
    return found


VERDICTS = {
    "equal lags against free lags": (
        "Effects are not the same at all lags",
        "That effects are the same at all lags is not contradicted",
    ),
    "equal residuals against free residuals": (
        "What is unexplained changes over sessions (not stationary)",
        "That what is unexplained stays the same over sessions (stationarity) is not contradicted",
    ),
    "no random intercepts against random intercepts": (
        "Clients differ in what is stable of them, so the classic model misleads",
        "Stable differences between clients are not shown beyond the lagged effects",
    ),
}


def assumption_sentences(data: ReportData, pair: str) -> list[str]:
    """Return what each test of a pair's assumptions says."""
    told = []
    for what, found in assumptions(data, pair).items():
        p = found.get("p_value")
        if p is None or what not in VERDICTS:
            continue
        shown = f"{p_words(p.estimate)}"
        if "chi2" in found and "df" in found:
            count = numbers.count(found["df"].estimate)
            shown = f"Δχ²({count}){numbers.SPACE}={numbers.SPACE}{numbers.decimal(found['chi2'].estimate)}, {shown}"
        told.append(f"{VERDICTS[what][0 if small(p.estimate) else 1]} ({shown}).")
    return told


def lagged_figure(data: ReportData, names: list[str]) -> list[Figure]:
    """Return the lagged effects within clients beside those of the classic model."""
    rows, told = [], []
    for name in names:
        models = [(words, crossed(lagged(data, name, model))) for model, words in ((EQUAL, "within clients"), (CLASSIC, "classic"))]
        keys = list(dict.fromkeys(key for _, effects in models for key in effects))
        for key in keys:
            rows.append(ForestRow(arrow(key), kind="heading"))
            for words, effects in models:
                if (row := effects.get(key)) is not None:
                    rows.append(ForestRow(words, row.estimate, row.ci_low, row.ci_high, kind="pooled"))
                    told.append(f"{arrow(key)}, {words}: {short(data, row)}")
    if not told:
        return []
    axis = "standardised lagged effect, mean over lags"
    return [
        Figure(
            "lagged-effects",
            "Lagged effects within clients and in the classic model, over sites",
            f"Forest plot of lagged effects: {'; '.join(told)}.",
            figures.forest(rows, axis=axis, decimals=data.decimals, narrow=True),
            b"",
            f"Diamonds are effects over sites with {data.level} intervals; right of zero, better is followed by better. {SIZES}",
        )
    ]


def lagged_table(data: ReportData, pair: str) -> Table:
    """Return the lagged effects of a pair over sites, by model and lag, and the correlation of what is stable."""
    rows = common.pooled_rows(rows_of(data, "cross_lagged", pair=pair))
    rows = rows[rows["estimate_type"].isin(["path_standardised", "factor_correlation"]) & rows["model"].ne(GROWTH)]
    cells = []
    order = {name: position for position, name in enumerate(MODEL_WORDS)}
    told = [told_row(own) for _, own in common.rows_by(rows, ("model", "parameter", "lag", "estimate_type"))] if len(rows) else []
    known = [row for row in told if row is not None]
    for row in sorted(known, key=lambda one: (order.get(one.model, 9), one.predictor == one.outcome)):
        what = f"{common.words(row.predictor)} → {row.outcome.replace('_', ' ')}" if row.predictor else common.words(row.parameter)
        cells.append(
            (
                Cell(what),
                Cell(MODEL_WORDS.get(row.model, row.model.replace("_", " "))),
                Cell(row.lag),
                Cell(METHOD_WORDS.get(row.method, common.words(row.method))),
                *common.estimate_cells(data, row),
            )
        )
    return Table(
        f"lagged-{slug(pair)}",
        f"{pair_words(data, pair)}: lagged effects over sites, standardised",
        (Column("Effect"), Column("Model"), Column("Lag", optional=True), Column("Pooled from"), *common.estimate_columns(data, "β")),
        tuple(cells),
        note="Within clients: in standard deviations of a client’s deviations from what is stable of the client. An effect of a measure on "
        "itself tells how long a deviation lasts.",
        empty="No lagged effect over sites can be shown.",
        folded=True,
    )


def fit_tables(data: ReportData, pair: str) -> list[Table]:
    """Return how the models of a pair fit over sites, and the tests between them, folded; none where none was fitted."""
    rows = common.pooled_rows(rows_of(data, "cross_lagged", pair=pair, estimate_type="fit_index")).rename(columns={"index": "name"})
    rows = rows[rows["model"].ne(TESTS)]
    cells = []

    def cell(row: Any, name: str) -> Cell:
        if row is None:
            return Cell(numbers.UNKNOWN, "")
        if name == "df":
            return common.count_cell(row.estimate)
        if name == "p_value":
            return number_cell(numbers.p_value(row.estimate).removeprefix("= "), row.estimate)
        large = name in ("chi2", "aic", "bic")
        return number_cell((numbers.decimal if large else numbers.bounded)(row.estimate, 2 if large else 3), row.estimate)

    for model in MODEL_WORDS:
        found = {name: told_row(own) for (name,), own in common.rows_by(common.select(rows, model=model), ("name",))}
        found = {name: row for name, row in found.items() if row is not None}
        if found:
            any_row = next(iter(found.values()))
            cells.append(
                (
                    Cell(MODEL_WORDS[model]),
                    *(cell(found.get(name), name) for name in INDICES),
                    common.count_cell(any_row.n_clients),
                    Cell(common.remark(any_row)),
                )
            )
    for what, found in assumptions(data, pair).items():
        any_row = next(iter(found.values()))
        cells.append(
            (
                Cell(f"Test: {what}"),
                *(cell(found.get(name), name) for name in INDICES),
                common.count_cell(any_row.n_clients),
                Cell(common.remark(any_row)),
            )
        )
    if not cells:
        return []
    return [
        Table(
            f"lagged-fit-{slug(pair)}",
            f"{pair_words(data, pair)}: how the models fit over sites, and tests between them",
            (
                *(Column("Model"), *(Column(words, True, optional=True) for words in INDICES.values())),
                *(Column("Clients", True), Column("Remark", wide=True, optional=True)),
            ),
            tuple(cells),
            note="The test of random intercepts knows that variances can’t be negative (mixture of chi-squared distributions).",
            folded=True,
        )
    ]


def growth_table(data: ReportData, pair: str) -> list[Table]:
    """Return growth of the two measures side by side, folded, with why a way of pooling has none; none where growth has no rows."""
    pooled = common.pooled_rows(rows_of(data, "cross_lagged", pair=pair, model=GROWTH))
    # A model that gave no numbers says why in its fit.
    of_fit = pooled[pooled["index"].eq("chi2")]
    why = next((common.remark(row) for row in common.tuples(of_fit) if row.status == "not_estimable" and common.remark(row)), "")
    rows = with_number(pooled)
    rows = rows[rows["estimate_type"].isin(["mean", "covariance_unstandardised", "factor_correlation"])]
    kinds = {
        "mean": "mean change a session, in SD",
        "covariance_unstandardised": "variance between clients",
        "factor_correlation": "correlation",
    }
    cells = []
    for (kind, parameter), own in common.rows_by(rows, ("estimate_type", "parameter")):
        row = told_row(own)
        cells.append((Cell(common.words(parameter)), Cell(kinds[kind]), *common.estimate_cells(data, row)))
    if not cells and not why:
        return []
    columns = (Column("What"), Column("Number"), *common.estimate_columns(data, "Estimate"))
    lacking = common.ended(f"One model of what all sites sent gives no numbers: {why[:1].lower()}{why[1:]}") if why else ""
    lines = "Straight lines over sessions; level: at the first wave, slope: change a session."
    note, empty = (" ".join((lines, lacking)).strip(), "") if cells else ("", lacking)
    caption = f"{pair_words(data, pair)}: do they grow together?"
    return [Table(f"growth-{slug(pair)}", caption, columns, tuple(cells), note=note, empty=empty, folded=True)]


def mediation(data: ReportData) -> Blocks:
    """Return indirect effects over sessions, within and between clients."""
    rows = rows_of(data, "indirect", estimate_type=DEFINED)
    rows = rows[rows["level"].ne(CLIENT)]
    if rows.empty:
        return []
    pooled = common.pooled_rows(rows)
    shown = preferred(pooled, ("model", "effect", "level", "definition")) if len(pooled) else pooled
    lead = (
        "Within clients: in sessions (or after sessions) in which the first link is above the client’s own mean. Between clients: clients "
        "whose means are above those of others. The two need not agree; only the first speaks to what happens in a treatment, only the "
        "second to which clients do well."
    )
    blocks: Blocks = [
        Part("path-models-mediation", "Chains over sessions, within and between clients", (lead, *chain_sentences(data, shown)))
    ]
    blocks.append(_mediation_table(data, pooled[pooled["effect"].ne("ab_covariance")], shown))
    return [*blocks, *slopes_table(data)]


def chain_label(data: ReportData, model: str) -> str:
    """Return a chain's label from the configuration, or its name."""
    chains = (section(data).get("mediation") or {}).get("chains", {})
    return chains.get(model, {}).get("label") or common.words(model)


def chain_name(data: ReportData, row: Any) -> str:
    """Return the chain and effect that a row is about."""
    return chain_label(data, row.model) + ("" if row.effect == "indirect" else f": {effect_name(row.effect).lower()}")


def chain_sentences(data: ReportData, rows: pd.DataFrame) -> list[str]:
    """Return the indirect effects of every chain, within clients first."""
    told = []
    known = with_number(common.select(rows, effect="indirect"))
    for (model,), own in common.rows_by(known, ("model",)):
        ordered = sorted(common.tuples(own), key=lambda row: list(LEVELS).index(row.level) if row.level in LEVELS else len(LEVELS))
        parts = [
            f"{LEVELS.get(row.level, row.level)} {common.sentence_estimate(data, row, 'β')}; {common.sureness(row)}" for row in ordered
        ]
        every = rows_of(data, "indirect", model=model, effect="indirect", estimate_type=DEFINED)
        care = common.cautions(caution(row, common.select(every, level=row.level)) for row in ordered)
        shown = [part[:1].lower() + part[1:] if index == 0 else _capital(part) for index, part in enumerate(parts)]
        found = f"{chain_label(data, model)}, indirect effect: {'. '.join(shown)}."
        told.append(" ".join([found, *(one for one in (care, deviation_sentence(data, model)) if one)]))
    return told


def deviation_sentence(data: ReportData, model: str) -> str:
    """Return how much slopes differ between clients at the sites; empty where no site could tell."""
    shown = []
    for effect in ("a", "b"):
        rows = rows_of(data, "indirect", model=model, level=SLOPES, effect=f"{effect}_sd", estimate_type="slope_sd_standardised")
        values = with_number(common.site_rows(rows))["estimate"].astype(float)
        if len(values):
            low, high = (numbers.bounded(value, data.decimals) for value in (values.min(), values.max()))
            shown.append(f"{effect} {low}" + (f" to {high} ({common.plural(len(values), 'site')})" if len(values) > 1 else ""))
    return f"Standard deviations of slopes over clients: {', '.join(shown)}." if shown else ""


def slopes_table(data: ReportData) -> list[Table]:
    """Return the pooled effects of chains whose slopes differ between clients, folded; none where none has a number."""
    rows = rows_of(data, "indirect", level=SLOPES)
    rows = with_number(common.pooled_rows(rows[rows["estimate_type"].isin(["path_standardised", DEFINED])]))
    if rows.empty:
        return []
    order = {name: position for position, name in enumerate(OF_SLOPES)}
    ordered = rows.assign(_order=rows["effect"].map(order)).sort_values(["model", "_order"], kind="stable")
    cells = tuple(
        (Cell(chain_label(data, row.model)), Cell(OF_SLOPES[row.effect]), *common.estimate_cells(data, row))
        for row in common.tuples(ordered)
    )
    return [
        Table(
            "mediation-slopes",
            "Chains within clients whose slopes differ, pooled over sites",
            (Column("Chain"), Column("Number"), *common.estimate_columns(data, "β")),
            cells,
            note="a: first link, b: second link. Where clients with a steeper first link also have a steeper second one, more goes through "
            "the middle than the product of the means says: the covariance.",
            folded=True,
        )
    ]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _mediation_table(data: ReportData, pooled: pd.DataFrame, told: pd.DataFrame) -> Table:
    cells, emphasised = [], set()
    for row in common.tuples(pooled):
        if not common.has_number(row) and row.Index not in told.index:
            continue
        if row.Index in told.index:
            emphasised.add(len(cells))
        cells.append(
            (
                Cell(chain_name(data, row)),
                Cell(LEVELS.get(row.level, row.level)),
                Cell(numbers.typeset(row.definition)),
                Cell(METHOD_WORDS.get(row.method, common.words(row.method))),
                *common.estimate_cells(data, row),
            )
        )
    return Table(
        "mediation-levels",
        "Indirect effects over sessions, pooled over sites",
        (Column("Chain"), Column("Level"), Column("Made of", optional=True), Column("Pooled from"), *common.estimate_columns(data, "β")),
        tuple(cells),
        note="Marked: the value told in the text. What each site found stands in the files of results.",
        emphasised=frozenset(emphasised),
        folded=len(cells) > 6,
    )
