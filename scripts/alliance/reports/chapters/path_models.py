"""How empathy, alliance and outcome hang together: path models."""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance.questions.contract import WITH_NUMBERS
from alliance.reports import figures, numbers
from alliance.reports.chapters import common, published
from alliance.reports.diagram import Edge, Node, path_diagram
from alliance.reports.elements import Cell, Chapter, Column, Figure, Table, number_cell, slug
from alliance.reports.inputs import ReportData

QUESTION = "path_models"
STANDARDISED = "path_standardised"
DEFINED = "defined_standardised"
INDEX_NAMES = {"chi2": "χ²", "df": "df", "p_value": "p", "cfi": "CFI", "tli": "TLI", "rmsea": "RMSEA", "srmr": "SRMR"}
LIMITS = (
    "Clients were not assigned to levels of the alliance: a path is an association in the assumed order of time, not proof of a cause.",
    "An indirect effect carries that name only because the model assumes this order; other orders can fit as well.",
    "Coefficients mix differences within and between therapists; they do not say what happens from session to session.",
    "A common rater of two variables (the client, for example) can raise the path between them.",
)


def build(data: ReportData) -> Chapter:
    """Return the chapter on path models."""
    tables = {name: common.distinct(table) for name, table in data.tables[QUESTION].items()}
    models = list(dict.fromkeys([*tables["parameters"]["model"], *data.options["questions"][QUESTION].get("models", {})]))
    blocks: list[Table | Figure] = []
    findings: list[str] = []
    headlines: list[str] = []
    for model in models:
        effects = list(_one_method(common.pooled_rows(tables["indirect"], model=model, estimate_type=DEFINED)).itertuples())
        for row in (effect for effect in effects if common.has_number(effect)):
            told = (
                effect_sentence(data, row, len(models) > 1),
                common.spread_sentence(data, row),
                influence(data, tables.get("leave_one_out"), model, row.parameter),
                common.caution(row),
            )
            findings.append(" ".join(sentence for sentence in told if sentence))
        headlines += [effect_sentence(data, row, True) for row in effects[:1] if common.has_number(row)]
        blocks += diagram(data, tables["parameters"], model)
        blocks += [parameter_table(data, tables["parameters"], model, form) for form in FORMS]
        blocks += effect_forests(data, tables["indirect"], model)
        blocks.append(fit_table(data, tables["fit"], model))
    blocks += published.tables(data, QUESTION, benchmark_name)
    missing = common.not_estimable(
        data, select_standardised(tables["parameters"]), lambda row: f"{label(data, row.model)}, {path_label(row)}"
    )
    return Chapter(
        id="path-models",
        title="From empathy over the alliance to outcome",
        question="Does the alliance link what the therapist offers early in treatment with what the client gains in the end?",
        sources=(QUESTION,),
        headlines=tuple(headlines),
        findings=tuple(findings),
        blocks=tuple(blocks),
        limits=LIMITS,
        missing=missing,
    )


def select_standardised(parameters: pd.DataFrame) -> pd.DataFrame:
    """Return the standardised regression paths."""
    return parameters[(parameters["estimate_type"] == STANDARDISED) & (parameters["op"] == "~")]


def label(data: ReportData, model: str) -> str:
    """Return a model's label from the configuration, or its name."""
    return data.options["questions"][QUESTION].get("models", {}).get(model, {}).get("label") or common.words(model)


def path_label(row: Any) -> str:
    """Return a path in words: cause, arrow, effect."""
    return f"{common.words(row.rhs)} → {common.words(row.lhs)}"


def benchmark_name(table: str, row: Any) -> str:
    """Return what a published figure is about."""
    return path_label(row) if table == "parameters" else f"{common.words(row.parameter)} effect"


def effect_sentence(data: ReportData, row: Any, named: bool) -> str:
    """Return a defined effect of a model in a sentence, with what its interval says."""
    subject = f"{common.words(row.parameter)} effect" if row.parameter in ("indirect", "total", "direct") else f"“{row.parameter}”"
    if named:
        subject = f"{label(data, row.model)}: {subject[:1].lower()}{subject[1:]}"
    elif row.definition:
        subject += f" ({row.definition})"
    return (
        f"{subject}, standardised, {common.sentence_estimate(data, row, 'β')}; {common.sureness(row)}. "
        f"{common.benchmark_sentence(data, row)}"
    ).strip()


def influence(data: ReportData, table: pd.DataFrame | None, model: str, parameter: str) -> str:
    """Return how much a defined effect rests on single sites."""
    if table is None:
        return ""
    chosen = common.select(table, model=model, parameter=parameter, estimate_type=DEFINED)
    return common.influence_sentence(data, chosen, f"the pooled {common.words(parameter).lower()} effect")


def diagram(data: ReportData, parameters: pd.DataFrame, model: str) -> list[Figure]:
    """Return the path diagram with pooled standardised coefficients; none where no path was estimated."""
    rows = _one_method(common.pooled_rows(select_standardised(parameters), model=model))
    estimated = [row for row in rows.itertuples() if common.has_number(row)]
    if not estimated:
        return []
    names = list(dict.fromkeys([*(row.rhs for row in rows.itertuples()), *(row.lhs for row in rows.itertuples())]))
    nodes = {name: Node(common.words(name)) for name in names}
    edges = [
        Edge(
            row.rhs,
            row.lhs,
            common.estimate_text(row, data.decimals),
            common.interval_text(row, data.decimals),
            clear=numbers.known(row.ci_low) and (row.ci_low > 0 or row.ci_high < 0),
        )
        for row in estimated
    ]
    told = "; ".join(
        f"{path_label(row)} {common.estimate_text(row, data.decimals)} {common.interval_text(row, data.decimals)}" for row in estimated
    )
    return [
        Figure(
            id=f"diagram-{slug(model)}",
            title=f"{label(data, model)}: standardised paths, pooled over sites",
            alt=f"Path diagram with pooled standardised coefficients and {data.level} intervals: {told}.",
            svg=path_diagram(nodes, edges),
            note=f"Numbers are standardised coefficients with {data.level} intervals. All coefficients stand in the table that follows.",
        )
    ]


def _one_method(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of two-stage pooling where a model was also fitted to the pooled matrix."""
    first = rows[rows["method"] != "two_stage_sem"]
    return first if first["status"].isin(WITH_NUMBERS).any() else rows


FORMS = {STANDARDISED: "standardised", "path_unstandardised": "in the units of the variables"}


def parameter_table(data: ReportData, parameters: pd.DataFrame, model: str, form: str) -> Table:
    """Return the pooled paths of a model in one form (a key of :data:`FORMS`)."""
    chosen = common.pooled_rows(parameters, model=model, op="~", estimate_type=form)
    rows = tuple(
        (Cell(path_label(row)), Cell(METHOD_WORDS.get(row.method, common.words(row.method))), *common.estimate_cells(data, row))
        for row in chosen.itertuples()
    )
    return Table(
        id=f"parameters-{slug(model)}-{slug(form)}",
        caption=f"{label(data, model)}: paths pooled over sites, {FORMS[form]}",
        columns=(Column("Path"), Column("Method"), *common.estimate_columns(data, "β" if form == STANDARDISED else "Estimate")),
        rows=rows,
        note="Outcomes, symptoms and their level at intake are turned so that higher is better, whatever the variable is called.",
        empty="No path was estimated.",
    )


METHOD_WORDS = {
    "two_stage_reml": "pooled site estimates",
    "two_stage_dersimonian_laird": "pooled site estimates",
    "two_stage_paule_mandel": "pooled site estimates",
    "two_stage_fixed": "pooled site estimates",
    "two_stage_sem": "model of the pooled matrix",
    "none": numbers.UNKNOWN,
}


def effect_forests(data: ReportData, indirect: pd.DataFrame, model: str) -> list[Figure]:
    """Return one forest plot a defined effect."""
    made = []
    for (parameter,), chosen in common.rows_by(common.select(indirect, model=model, estimate_type=DEFINED), ("parameter",)):
        pooled = _one_method(common.pooled_rows(chosen))
        kept = pd.concat([common.site_rows(chosen), pooled])
        estimated = kept["status"].isin(WITH_NUMBERS)
        if not estimated.any():
            continue
        rows = common.forest_rows(data, kept)
        subject = f"{common.words(parameter)} effect (standardised)"
        row = next((row for row in pooled.itertuples() if common.has_number(row)), None)
        finding = (
            f"Pooled {common.sentence_estimate(data, row, 'β')}; {common.sureness(row)}." if row is not None else "No pooled estimate."
        )
        made.append(
            Figure(
                id=f"forest-{slug(model)}-{slug(parameter)}",
                title=f"{label(data, model)}: {subject} by site",
                alt=f"Forest plot of the {subject} at each site. {finding}",
                svg=figures.forest(rows, axis=subject, decimals=data.decimals),
                narrow=figures.forest(rows, axis=subject, decimals=data.decimals, narrow=True),
                note=f"Lines are {data.level} intervals; squares grow with the number of clients.",
                data=common.site_table(data, kept, f"forest-{slug(model)}-{slug(parameter)}-data", f"{subject} by site", "β"),
            )
        )
    return made


def fit_table(data: ReportData, fit: pd.DataFrame, model: str) -> Table:
    """Return the indices of fit of a model by site and for the pooled matrix."""
    chosen = common.select(fit, model=model)
    indices = [index for index in INDEX_NAMES if index in set(chosen["index"])]
    rows = []
    for (site,), group in common.rows_by(pd.concat([common.pooled_rows(chosen), common.site_rows(chosen)]), ("site",)):
        by_index = {row.name: row for row in group.rename(columns={"index": "name"}).itertuples(index=False)}
        remarks = list(dict.fromkeys(common.remark(row) for row in by_index.values() if common.remark(row)))
        rows.append(
            (Cell(data.labels.get(site, site)), *(_fit_cell(by_index.get(index), index) for index in indices), Cell("; ".join(remarks)))
        )
    return Table(
        id=f"fit-{slug(model)}",
        caption=f"{label(data, model)}: how well the model fits",
        columns=(Column("Site"), *(Column(INDEX_NAMES[index], True) for index in indices), Column("Remark")),
        rows=tuple(rows),
        note="A model with no degrees of freedom fits every matrix; its fit says nothing for or against it.",
        empty="No model was fitted.",
    )


def _fit_cell(row: Any, index: str) -> Cell:
    if row is None or not common.has_number(row):
        return Cell(numbers.UNKNOWN, "")
    if index == "df":
        return common.count_cell(row.estimate)
    if index == "p_value":
        return number_cell(numbers.p_value(row.estimate).removeprefix("= "), row.estimate)
    show = numbers.decimal if index == "chi2" else numbers.bounded
    return number_cell(show(row.estimate, 2 if index == "chi2" else 3), row.estimate)
