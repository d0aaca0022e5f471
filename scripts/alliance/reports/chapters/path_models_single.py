"""Parts of the chapter on path models: each model with its diagram, paths, indirect effect, fit, and what it leaves unexplained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from alliance.questions import contract
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.reports import figures, numbers
from alliance.reports.chapters import common
from alliance.reports.chapters.path_models_rows import (
    DEFINED,
    METHOD_WORDS,
    STANDARDISED,
    TWO_STAGE,
    WITHIN,
    Blocks,
    caution,
    chain_words,
    clear,
    effect_name,
    effects_of,
    estimate_with_interval,
    groups,
    in_group,
    indirect_rows,
    label,
    main_effect,
    one_row,
    p_words,
    parameter_words,
    preferred,
    rows_of,
    short,
    site_label,
    term,
    variable,
    with_number,
)
from alliance.reports.diagram import Edge, Node, factor_diagram, path_diagram
from alliance.reports.elements import Cell, Column, Figure, Fold, Part, Table, listed, number_cell, slug
from alliance.reports.figures import ForestRow
from alliance.reports.inputs import ReportData

INTERVALS = {
    "delta": "Delta method",
    "monte_carlo": "Monte Carlo",
    "bootstrap_percentile": "Bootstrap, percentile",
    "bootstrap_bca": "Bootstrap, BCa",
}
INDICES = {
    "chi2": "χ²",
    "df": "df",
    "p_value": "p",
    "chi2_scaled": "χ², scaled",
    "p_value_scaled": "p, scaled",
    "cfi": "CFI",
    "tli": "TLI",
    "rmsea": "RMSEA",
    "rmsea_low": "from",
    "rmsea_high": "to",
    "rmsea_close_p": "p (RMSEA ≤ .05)",
    "srmr": "SRMR",
    "aic": "AIC",
    "bic": "BIC",
}
LARGE = frozenset({"chi2", "chi2_scaled", "aic", "bic"})
PROBABILITIES = frozenset({"p_value", "p_value_scaled", "rmsea_close_p"})
INTERVAL_NOTE = (
    "A product of two coefficients is skewed, so the delta method, which takes it as normal, is the least to be trusted; the bootstrap "
    "draws therapists (clients where therapists are unknown or few), and its percentile interval is the one told."
)
FIT_NOTE = (
    "By convention a close fit has a CFI of .95 or more, an RMSEA up to .06 and an SRMR up to .08. A model with no degrees of freedom fits "
    "every matrix. Scaled tests respect clients who share a therapist. "
)
MOST_DRAWN = 10
# Conventional cut-offs (Hu & Bentler, 1999).
GOOD = {"cfi": 0.95, "rmsea": 0.06, "srmr": 0.08}
POOR = {"cfi": 0.90, "rmsea": 0.10, "srmr": 0.10}


def sections(data: ReportData, names: list[str]) -> Blocks:
    """Return the first model open and the others folded, the overview of indirect effects before them."""
    if not names:
        return []
    first, others = names[0], names[1:]
    blocks: Blocks = [
        Part("path-models-first", label(data, first), tuple(sentences(data, first, effects=False))),
        *diagram(data, first, both=True),
        parameter_table(data, first, every_method=True),
        *effect_forests(data, first, both=True),
        *interval_tables(data, first, explained=True),
        fit_table(data, first, explained=True),
        *unexplained(data, first),
    ]
    if others:
        blocks.append(Part("path-models-others", "The other models", tuple(_others_told(data, others))))
        blocks += overview(data, names)
        blocks += [fold(data, name) for name in others]
    return blocks


def _others_told(data: ReportData, names: list[str]) -> list[str]:
    fitted = [name for name in names if pooled_terms(data, name)]
    told = "The further models of the configuration open with a click: diagram, paths, indirect effect, fit."
    silent = [label(data, name) for name in names if name not in fitted]
    hidden = [one for one, name in zip(silent, (name for name in names if name not in fitted)) if _withheld(data, name)]
    lacking = [one for one in silent if one not in hidden]
    lack = f"Not estimated over sites: {'; '.join(lacking)}. What they lack stands at the end of the chapter."
    return [told, *([lack] if lacking else []), *([f"Withheld: {'; '.join(hidden)}."] if hidden else [])]


def _withheld(data: ReportData, name: str) -> bool:
    return bool(common.pooled_rows(rows_of(data, "parameters", model=name))["status"].eq(contract.WITHHELD).any())


def fold(data: ReportData, model: str) -> Fold:
    """Return a model as a part that the reader opens."""
    row = main_effect(data, model)
    found = f": indirect effect {short(data, row)}" if row is not None else ""
    return Fold(
        f"path-model-{slug(model)}",
        f"{label(data, model)}{found}",
        (
            *diagram(data, model),
            parameter_table(data, model),
            *effect_forests(data, model),
            *interval_tables(data, model),
            fit_table(data, model),
            *unexplained(data, model),
        ),
        tuple(sentences(data, model)),
    )


def pooled_terms(data: ReportData, model: str) -> list[Any]:
    """Return the pooled standardised paths, loadings and correlations of a model that have numbers, one row each."""
    rows = common.pooled_rows(rows_of(data, "parameters", model=model))
    rows = rows[rows["op"].map(STANDARDISED).eq(rows["estimate_type"])]
    told = preferred(rows, ("lhs", "op", "rhs", "group")) if len(rows) else rows
    return [row for row in common.tuples(told) if common.has_number(row)]


def sentences(data: ReportData, model: str, *, effects: bool = True) -> list[str]:
    """Return what a model found: its indirect effect and how sites differ in it (with ``effects``), its fit."""
    told = []
    for name in effects_of(data, model) if effects else ():
        row = one_row(common.pooled_rows(indirect_rows(data, model), effect=name))
        if row is not None:
            parts = (
                effect_sentence(data, row),
                total_sentence(data, row),
                common.spread_sentence(data, row),
                influence(data, model, name),
                caution(row, common.select(indirect_rows(data, model), effect=name)),
            )
            told.append(" ".join(part for part in parts if part))
    told += [*over_groups(data, model), in_no_group(data, model)] if groups(data, model) else []
    return [sentence for sentence in (*told, fit_sentence(data, model), agreement_sentence(data, model)) if sentence]


def over_groups(data: ReportData, model: str) -> list[str]:
    """Return the effects that a model with groups defines and that are no indirect effects, as the difference of two groups."""
    rows = rows_of(data, "defined", model=model, estimate_type=DEFINED)
    told = []
    for name in dict.fromkeys(rows["parameter"]):
        row = None if name in effects_of(data, model) else one_row(common.pooled_rows(rows, parameter=name))
        if row is not None:
            found = f"standardised: {common.sentence_estimate(data, row, 'β')}; {common.sureness(row)}."
            parts = (
                f"{effect_name(name)} ({numbers.typeset(row.definition)}), {found}",
                common.benchmark_sentence(data, row),
                common.spread_sentence(data, row),
                caution(row, common.select(rows, parameter=name)),
            )
            told.append(" ".join(part for part in parts if part))
    return told


def in_no_group(data: ReportData, model: str) -> str:
    """Return how many clients were left out because they are in none of a model's groups; empty where that is not known."""
    rows = with_number(common.pooled_rows(rows_of(data, "diagnostics", model=model, estimate_type="share")))
    row = next(common.tuples(rows), None)
    if row is None:
        return ""
    left_out, everyone = round(row.estimate * row.n_clients), int(row.n_clients)
    named = listed(list(groups(data, model)))
    if not left_out:
        return f"All {common.plural(everyone, 'client')} are in one of the groups {named}."
    return f"Of {common.plural(everyone, 'client')}, {numbers.count(left_out)} were left out: they are in none of the groups {named}."


def effect_sentence(data: ReportData, row: Any) -> str:
    """Return an indirect effect in a sentence, with what its interval says."""
    return (
        f"{effect_name(row.effect)} ({chain_words(data, row)}), standardised: {common.sentence_estimate(data, row, 'β')}; "
        f"{common.sureness(row)}. {common.benchmark_sentence(data, row)}"
    ).strip()


def total_sentence(data: ReportData, row: Any) -> str:
    """Return the total effect of the same model beside an indirect one; empty without one."""
    totals = rows_of(data, "defined", model=row.model, parameter="total", estimate_type=DEFINED)
    total = one_row(common.pooled_rows(totals))
    if total is None or row.effect != "indirect":
        return ""
    return f"The total effect is {short(data, total)}."


def influence(data: ReportData, model: str, effect: str) -> str:
    """Return how much an indirect effect rests on single sites."""
    chosen = rows_of(data, "leave_one_out", model=model, parameter=effect, estimate_type=DEFINED)
    return common.influence_sentence(data, chosen, f"the pooled {effect_name(effect).lower()}")


def fit_values(data: ReportData, model: str, site: str = POOLED) -> dict[str, Any]:
    """Return the indices of a model's fit at a site or over sites by name; over sites those of the model of correlations within sites."""
    rows = rows_of(data, "fit", model=model, site=site)
    if site == POOLED:
        within = with_number(common.select(rows, method=WITHIN))
        rows = within if len(within) else with_number(common.select(rows, method=TWO_STAGE)) if len(rows) else rows
    return {row.name: row for row in common.tuples(rows.rename(columns={"index": "name"})) if common.has_number(row)}


def fit_sentence(data: ReportData, model: str) -> str:
    """Return in words how well a model fits over sites; empty where that is not known."""
    found = fit_values(data, model)
    if "df" not in found:
        return ""
    if found["df"].estimate == 0:
        return "The model has no degrees of freedom: it fits every data set, so its fit says nothing for or against it."
    shown = fit_words(found)
    short_of = [INDICES[name] for name, limit in GOOD.items() if name in found and _misses(name, found[name].estimate, limit)]
    if short_of:
        poor = any(name in found and _misses(name, found[name].estimate, limit) for name, limit in POOR.items())
        said = f"{'says' if len(short_of) == 1 else 'say'} that it {'fits poorly' if poor else 'does not fit closely'}"
        verdict = f"by the usual conventions {listed(short_of)} {said}"
    else:
        verdict = "close by the usual conventions, which does not make it true"
    return f"Fit over {common.plural(found['df'].n_sites, 'site')}: {shown}; {verdict}."


def _misses(index: str, value: float, limit: float) -> bool:
    return value < limit if index == "cfi" else value > limit


def fit_words(found: dict[str, Any]) -> str:
    """Return chi-square, CFI, RMSEA and SRMR in the style of the American Psychological Association."""
    space, parts = numbers.SPACE, []
    scaled = "chi2_scaled" in found and "p_value_scaled" in found
    chi2, p = ("chi2_scaled", "p_value_scaled") if scaled else ("chi2", "p_value")
    if chi2 in found:
        told = f"χ²({numbers.count(found['df'].estimate)}){space}={space}{numbers.decimal(found[chi2].estimate)}"
        told += f", {p_words(found[p].estimate)}" if p in found else ""
        parts.append(told + (" (scaled)" if scaled else ""))
    for name in ("cfi", "rmsea", "srmr"):
        if name in found:
            told = f"{INDICES[name]}{space}={space}{numbers.bounded(found[name].estimate, 3)}"
            if name == "rmsea" and {"rmsea_low", "rmsea_high"} <= set(found):
                told += f" {numbers.interval(found['rmsea_low'].estimate, found['rmsea_high'].estimate, 3)}"
            parts.append(told)
    return ", ".join(parts)


def agreement_sentence(data: ReportData, model: str) -> str:
    """Return whether a second program finds the same estimates; empty where that was not looked at."""
    rows = common.pooled_rows(rows_of(data, "diagnostics", model=model, estimate_type="largest_difference"))
    row = next(common.tuples(rows), None)
    if row is None:
        return ""
    if not common.has_number(row):
        if row.status == contract.WITHHELD:
            return "How far a second program (semopy) differs is withheld."
        return f"A second program (semopy) gave no estimates to compare: {common.remark(row)}."
    if row.status == "estimated":
        return "A second program (semopy) finds the same estimates."
    size = numbers.decimal(row.estimate, data.decimals + 1)
    if "stopped before the maximum" in row.reason:
        return f"A second program (semopy) stopped before the maximum, up to {size} SD from the estimates here, which fit better."
    return f"Read with care: a second program (semopy) finds other estimates, by up to {size} SD."


def diagram(data: ReportData, model: str, *, both: bool = False) -> list[Figure]:
    """Return the diagram of a model with pooled standardised coefficients; none where none was estimated.

    Models of factors are drawn as such, others as paths; with ``both`` for wide screens too.
    """
    rows = [row for row in pooled_terms(data, model) if row.op != "~~" or row.lhs != row.rhs]
    if not rows:
        return []
    factors = {row.lhs for row in rows if row.op == "=~"}
    indicators = {row.rhs for row in rows if row.op == "=~"} - factors
    structural = [row for row in rows if row.op == "~"]
    of_factors = bool(factors) and all({row.lhs, row.rhs} <= factors for row in structural)
    drawn = [row for row in rows if of_factors or row.op != "=~"]
    names = dict.fromkeys(name for row in drawn for name in ((row.rhs, row.lhs) if row.op == "~" else (row.lhs, row.rhs)))
    if of_factors:
        names = dict.fromkeys([*(name for name in names if name in factors), *(name for name in names if name in indicators)])
    nodes = {name: Node(variable(data, model, name), name in factors) for name in names}
    edges = [
        Edge(
            *((row.rhs, row.lhs) if row.op == "~" else (row.lhs, row.rhs)),
            common.estimate_text(row, data.decimals),
            common.interval_text(row, data.decimals) if numbers.known(row.ci_low) else "",
            clear(row),
            row.op == "~~",
        )
        for row in drawn
    ]
    edges = _one_arrow(edges)
    draw = factor_diagram if of_factors else path_diagram
    narrow = factor_diagram(nodes, edges, narrow=True, stacked=True) if of_factors else path_diagram(nodes, edges, narrow=True)
    told = "; ".join(
        f"{term(data, row)} {common.estimate_text(row, data.decimals)} {common.interval_text(row, data.decimals)}" for row in drawn
    )
    shapes = "Ellipses are factors, boxes what was measured. " if factors else ""
    of_what = "factors" if of_factors and not structural else "what the model leaves unexplained"
    two_heads = f"Arrows with two heads are correlations of {of_what}. " if any(e.mutual for e in edges) else ""
    return [
        Figure(
            id=f"diagram-{slug(model)}",
            title=f"{label(data, model)}: standardised coefficients, pooled over sites",
            alt=f"Path diagram with pooled standardised coefficients and {data.level} intervals: {told}.",
            svg=draw(nodes, edges) if both else narrow,
            narrow=narrow if both else b"",
            note=f"{_numbers_note(data, model)} {shapes}{two_heads}All coefficients stand in the table that follows.",
        )
    ]


def _one_arrow(edges: list[Edge]) -> list[Edge]:
    """Return one arrow for the same arrow of several groups, their coefficients side by side."""
    found: dict[tuple[str, str, bool], list[Edge]] = {}
    for edge in edges:
        found.setdefault((edge.source, edge.target, edge.mutual), []).append(edge)
    joined = []
    for own in found.values():
        estimates = " | ".join(edge.estimate for edge in own)
        several = {"estimate": estimates, "interval": "", "clear": any(edge.clear for edge in own)} if len(own) > 1 else {}
        joined.append(replace(own[0], **several))
    return joined


def _numbers_note(data: ReportData, model: str) -> str:
    named = groups(data, model)
    if not named:
        return f"Numbers are standardised coefficients with {data.level} intervals."
    return f"Numbers are standardised coefficients: {' | '.join(named)}. An arrow is dashed where every group’s interval holds zero."


def parameter_table(data: ReportData, model: str, *, every_method: bool = False) -> Table:
    """Return the pooled standardised paths, loadings and correlations of a model; with ``every_method`` by each way of pooling."""
    rows = common.pooled_rows(rows_of(data, "parameters", model=model))
    rows = rows[rows["op"].map(STANDARDISED).eq(rows["estimate_type"])]
    # Shares left unexplained stand in the main model's table alone; that of a factor without causes is 1 by definition.
    spread = rows["op"].eq("~~") & rows["lhs"].eq(rows["rhs"])
    rows = rows[~spread | (every_method & rows["estimate"].lt(1 - 1e-9))]
    told = preferred(rows, ("lhs", "op", "rhs", "group")) if len(rows) else rows
    shown = with_number(rows) if every_method else told
    shown = pd.concat([shown, told[~told.index.isin(shown.index)]])
    order = {"~": 0, "=~": 1, "~~": 2}
    terms = list(dict.fromkeys((row.lhs, row.op, row.rhs, row.group) for row in common.tuples(shown)))
    place = {key: (order.get(key[1], 3), position) for position, key in enumerate(terms)}
    ordered = sorted(common.tuples(shown), key=lambda row: (*place[row.lhs, row.op, row.rhs, row.group], row.Index not in told.index))
    cells, emphasised = [], set()
    for row in ordered:
        if every_method and row.Index in told.index:
            emphasised.add(len(cells))
        cells.append(
            (Cell(term(data, row)), Cell(METHOD_WORDS.get(row.method, common.words(row.method))), *common.estimate_cells(data, row))
        )
    return Table(
        id=f"parameters-{slug(model)}",
        caption=f"{label(data, model)}: standardised coefficients, pooled over sites",
        columns=(Column("Path"), Column("Pooled from"), *common.estimate_columns(data, "β")),
        rows=tuple(cells),
        note="Marked: the value told in the text. Outcomes, symptoms and their level at intake are turned so that higher is better. "
        "Coefficients in the units of the variables and those of every site stand in the results’ files. Pooled from: the sites’ own "
        "estimates by random effects, one by one or all coefficients together; one model of the correlations within sites with all "
        "variables; one model of the matrix pooled over all sites, published matrices and those with holes too."
        if every_method
        else "",
        empty="No path was estimated.",
        emphasised=frozenset(emphasised),
    )


def effect_forests(data: ReportData, model: str, *, both: bool = False) -> list[Figure | Table]:
    """Return a forest plot of each indirect effect of a model over sites, with every way of pooling below.

    With ``both`` for wide screens too; without it, only the table where there are many sites.
    """
    made = []
    for name in effects_of(data, model):
        chosen = common.select(indirect_rows(data, model), effect=name)
        pooled = with_number(common.pooled_rows(chosen))
        pooled = preferred(pooled, ("method",)) if len(pooled) else pooled
        sites = common.site_rows(chosen)
        sites = preferred_of_sites(sites)
        if not sites["status"].isin(WITH_NUMBERS).any() and pooled.empty:
            continue
        id, subject = f"forest-{slug(model)}-{slug(name)}", f"{effect_name(name)[:1].lower()}{effect_name(name)[1:]} (standardised)"
        many = not both and len(sites) > MOST_DRAWN
        caption = f"{label(data, model)}: {subject} {'pooled' if many else 'by site and pooled'}"
        table = effect_table(data, sites.iloc[:0] if many else sites, pooled, f"{id}-data", caption)
        if many:
            made.append(table)
            continue
        told = one_row(pooled)
        shown = common.forest_rows(data, pd.concat([sites, pooled.loc[[told.Index]] if told is not None else pooled.iloc[:0]]))
        shown += [_beside(row) for row in common.tuples(pooled) if both and (told is None or row.Index != told.Index)]
        finding = (
            f"Pooled {common.sentence_estimate(data, told, 'β')}; {common.sureness(told)}." if told is not None else "No pooled estimate."
        )
        narrow = figures.forest(shown, axis=subject, decimals=data.decimals, narrow=True)
        made.append(
            Figure(
                id=id,
                title=f"{label(data, model)}: {subject} by site",
                alt=f"Forest plot of the {subject} at each site. {finding}",
                svg=figures.forest(shown, axis=subject, decimals=data.decimals) if both else narrow,
                narrow=narrow if both else b"",
                note=f"Lines are {data.level} intervals (of sites: bootstrap, of what is pooled: as the table says); squares grow with the "
                "number of clients.",
                data=table,
            )
        )
    return made


def preferred_of_sites(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a site: the percentile bootstrap, else the delta method, else what there is."""
    place = {"bootstrap_percentile": 0, "": 1, "delta": 2, "monte_carlo": 3}
    ranked = rows.assign(_silent=~rows["status"].isin(WITH_NUMBERS), _interval=rows["interval"].map(place).fillna(4))
    first = ranked.sort_values(["_silent", "_interval"], kind="stable").drop_duplicates(["site"])
    return rows.loc[rows.index[rows.index.isin(first.index)]]


def _beside(row: Any) -> ForestRow:
    """Return a further pooled value, drawn like the estimates."""
    return ForestRow(common.words(METHOD_WORDS.get(row.method, row.method)), row.estimate, row.ci_low, row.ci_high, kind="pooled")


def effect_table(data: ReportData, sites: pd.DataFrame, pooled: pd.DataFrame, id: str, caption: str) -> Table:
    """Return an effect by site, then pooled in every way."""
    told = one_row(pooled)
    ordered = [*common.tuples(sites), *sorted(common.tuples(pooled), key=lambda row: told is not None and row.Index != told.Index)]
    cells, emphasised = [], set()
    for row in ordered:
        if told is not None and row.site == POOLED and row.Index == told.Index:
            emphasised.add(len(cells))
        how = METHOD_WORDS.get(row.method, "") if row.site == POOLED else ""
        cells.append((Cell(site_label(data, row)), Cell(how), *common.estimate_cells(data, row)))
    columns = (Column("Site"), Column("Pooled from", optional=True), *common.estimate_columns(data, "β"))
    return Table(id, caption, columns, tuple(cells), emphasised=frozenset(emphasised))


def interval_tables(data: ReportData, model: str, *, explained: bool = False) -> list[Table]:
    """Return the intervals of each indirect effect by every method, sites and the model of correlations within sites; folded."""
    made = []
    for name in effects_of(data, model):
        chosen = with_number(rows_of(data, "defined", model=model, parameter=name, estimate_type=DEFINED))
        chosen = chosen[chosen["interval"].isin(list(INTERVALS))]
        chosen = chosen[chosen["site"].ne(POOLED) | chosen["method"].eq(WITHIN)]
        cells = []
        sites = _few(common.site_rows(chosen), explained)
        for (site,), own in common.rows_by(pd.concat([sites, common.pooled_rows(chosen)]), ("site",)):
            by_interval = {row.interval: row for row in common.tuples(own)}
            if len(by_interval) < 2:
                continue
            first = next(iter(by_interval.values()))
            cells.append(
                (
                    Cell(f"Pooled: {METHOD_WORDS[WITHIN]}" if site == POOLED else data.labels.get(site, site)),
                    number_cell(common.estimate_text(first, data.decimals), first.estimate),
                    *(estimate_with_interval(data, by_interval.get(kind))[1] for kind in INTERVALS),
                    common.count_cell(first.n_clients),
                    common.count_cell(first.n_therapists),
                )
            )
        if cells:
            made.append(
                Table(
                    f"intervals-{slug(model)}-{slug(name)}",
                    f"{label(data, model)}: {data.level} intervals of the {effect_name(name).lower()} by every method",
                    (
                        *(Column("Site"), Column("β", True)),
                        *(Column(words, True, optional=True) for words in INTERVALS.values()),
                        *(Column("Clients", True), Column("Therapists", True, optional=True)),
                    ),
                    tuple(cells),
                    note=INTERVAL_NOTE if explained else "",
                    folded=True,
                )
            )
    return made


def fit_table(data: ReportData, model: str, *, explained: bool = False) -> Table:
    """Return the indices of fit of a model over sites and by site, folded."""
    chosen = rows_of(data, "fit", model=model)
    ordered = pd.concat([common.pooled_rows(chosen), _few(common.site_rows(chosen), explained)])
    rows = []
    for (site, _), group in common.rows_by(ordered.assign(_way=ordered["method"].where(ordered["site"].eq(POOLED), "")), ("site", "_way")):
        by_index = {row.name: row for row in group.rename(columns={"index": "name"}).itertuples(index=False)}
        # An index of its own that is missing (no scaled test without robust errors) is no fault of the model's.
        told = [common.remark(row) for row in by_index.values() if row.status == "flagged" or row.name == "chi2"]
        first = next(iter(by_index.values()))
        who = f"Pooled: {METHOD_WORDS.get(first.method, first.method)}" if site == POOLED else data.labels.get(site, site)
        remarks = "; ".join(dict.fromkeys(one for one in told if one))
        rows.append(
            (Cell(who), *(_fit_cell(by_index.get(index), index) for index in INDICES), common.count_cell(first.n_clients), Cell(remarks))
        )
    return Table(
        id=f"fit-{slug(model)}",
        caption=f"{label(data, model)}: how well the model fits",
        columns=(
            Column("Site"),
            *(Column(words, True, optional=True) for words in INDICES.values()),
            Column("Clients", True),
            Column("Remark", wide=True, optional=True),
        ),
        rows=tuple(rows),
        note=(FIT_NOTE if explained else "") + _semopy_note(data, model),
        empty="No model was fitted.",
        folded=True,
    )


def _few(sites: pd.DataFrame, every: bool) -> pd.DataFrame:
    """Return the rows of sites, or none of them where they are many: with all models of many sites the page would grow too large."""
    return sites if every or sites["site"].nunique() <= MOST_DRAWN else sites.iloc[:0]


def _semopy_note(data: ReportData, model: str) -> str:
    rows = with_number(common.pooled_rows(rows_of(data, "diagnostics", model=model, estimate_type="largest_difference")))
    told = (numbers.decimal(row.estimate, 3) if row.estimate >= 0.001 else "less than 0.001" for row in common.tuples(rows.head(1)))
    return "".join(f"Largest difference from the estimates of semopy: {difference} SD." for difference in told)


def _fit_cell(row: Any, index: str) -> Cell:
    if row is None or not common.has_number(row):
        return Cell(numbers.UNKNOWN, "")
    if index == "df":
        return common.count_cell(row.estimate)
    if index in PROBABILITIES:
        return number_cell(numbers.p_value(row.estimate).removeprefix("= "), row.estimate)
    show = numbers.decimal if index in LARGE else numbers.bounded
    return number_cell(show(row.estimate, 2 if index in LARGE else 3), row.estimate)


def unexplained(data: ReportData, model: str) -> list[Table]:
    """Return the largest modification indices and residual correlations over sites, folded; none for a model without degrees of freedom."""
    rows = with_number(common.pooled_rows(rows_of(data, "diagnostics", model=model)))
    kinds = {kind: list(common.tuples(common.select(rows, estimate_type=kind))) for kind in ("modification_index", "expected_change")}
    changes = {(row.parameter, row.group): row for row in kinds["expected_change"]}
    cells = []
    for row in sorted(kinds["modification_index"], key=lambda one: -one.estimate):
        change = changes.get((row.parameter, row.group))
        cells.append(
            (
                Cell(in_group(parameter_words(data, model, row.parameter), row.group)),
                Cell("path or correlation left out, or equal over groups" if row.group else "path or correlation left out"),
                number_cell(numbers.decimal(row.estimate), row.estimate),
                estimate_with_interval(data, change)[0],
            )
        )
    for row in sorted(common.tuples(common.select(rows, estimate_type="residual_correlation")), key=lambda one: -abs(one.estimate)):
        cells.append(
            (
                Cell(in_group(parameter_words(data, model, row.parameter), row.group)),
                Cell("correlation beyond the model’s"),
                Cell(numbers.UNKNOWN, ""),
                estimate_with_interval(data, row)[0],
            )
        )
    if not cells:
        return []
    return [
        Table(
            f"unexplained-{slug(model)}",
            f"{label(data, model)}: what the model leaves unexplained",
            (Column("Between"), Column("What"), Column("χ² it would save", True), Column("Size, standardised", True)),
            tuple(cells),
            note="The largest ones over sites. A model changed after seeing these is exploratory: what it then finds must be shown on "
            "other clients before it is believed.",
            folded=True,
        )
    ]


def overview(data: ReportData, names: list[str]) -> list[Figure]:
    """Return the pooled indirect effects of all models in one figure; none with fewer than two."""
    rows = [row for name in names if (row := main_effect(data, name)) is not None]
    if len(rows) < 2:
        return []
    shown = [ForestRow(label(data, row.model), row.estimate, row.ci_low, row.ci_high, kind="pooled") for row in rows]
    told = "; ".join(f"{label(data, row.model)} {short(data, row)}" for row in rows)
    axis = "indirect effect (standardised), pooled"
    cells = tuple((Cell(label(data, row.model)), Cell(chain_words(data, row)), *common.estimate_cells(data, row)) for row in rows)
    return [
        Figure(
            "indirect-effects",
            "Indirect effects of all models, pooled over sites",
            f"Forest plot of pooled indirect effects: {told}.",
            figures.forest(shown, axis=axis, decimals=data.decimals, narrow=True),
            b"",
            f"Diamonds are pooled effects with {data.level} intervals. Models with other variables rest on other clients and sites.",
            Table(
                "indirect-effects-data",
                "Indirect effects of all models, pooled over sites",
                (Column("Model"), Column("Chain"), *common.estimate_columns(data, "β")),
                cells,
            ),
        )
    ]
