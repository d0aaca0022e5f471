"""How empathy, alliance and outcome hang together: path models, their comparison, lagged effects, what the therapist offers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance.questions.contract import POOLED
from alliance.reports import numbers
from alliance.reports.chapters import (
    common,
    path_models_comparison,
    path_models_conditions,
    path_models_rows,
    path_models_sessions,
    path_models_single,
    published,
)
from alliance.reports.chapters.path_models_rows import QUESTION, STANDARDISED, label, main_effect, models, rows_of, variable
from alliance.reports.elements import Cell, Chapter, Column, Table
from alliance.reports.inputs import ReportData

LIMITS = (
    "Clients were not assigned to levels of empathy or alliance: a path is an association in the assumed order, not proof of a cause.",
    "An indirect effect carries that name only because the model assumes this order; other orders can fit as well.",
    "Coefficients of one value a client mix differences within and between therapists; they do not tell what happens between sessions.",
    "Lagged effects within clients hold stable differences constant, but nothing that changes from session to session.",
    "A common rater of two variables (the client, for example) can raise the path between them.",
    "That a model fits does not make it true, and the best of some models may be a poor one.",
)
MOST_OPEN = 12


def build(data: ReportData) -> Chapter:
    """Return the chapter on path models."""
    beside = _beside_the_review(data)
    data = path_models_rows.once(data)
    names = models(data)
    single, comparison, sessions = path_models_single, path_models_comparison, path_models_sessions
    told = findings(data, names)
    return Chapter(
        id="path-models",
        title="From empathy over the alliance to outcome",
        question="Does the alliance link what the therapist offers early on with what the client gains in the end, and what comes first?",
        sources=(QUESTION,),
        headlines=tuple(headlines(data, names)),
        findings=tuple(told),
        blocks=(
            *single.sections(data, names),
            *comparison.comparison(data),
            *comparison.sites(data),
            *comparison.sensitivity(data),
            *sessions.sessions(data),
            *sessions.mediation(data),
            *path_models_conditions.technique(data),
            *path_models_conditions.conditions(data),
            *beside,
            *_scripts(data, names),
        ),
        limits=LIMITS,
        missing=missing(data),
    )


def _first_effect(data: ReportData, names: list[str]) -> Any:
    return next((row for name in names if (row := main_effect(data, name)) is not None), None)


def headlines(data: ReportData, names: list[str]) -> list[str]:
    """Return the main indirect effect, what the comparison says comes first, and the lagged effects, one sentence each."""
    row = _first_effect(data, names)
    effect = path_models_single.effect_sentence(data, row) if row is not None else ""
    return [one for one in (effect, path_models_comparison.first_comes(data), path_models_sessions.headline(data)) if one]


def findings(data: ReportData, names: list[str]) -> list[str]:
    """Return the head of the chapter: the main indirect effect and what it means, what comes first, what happens between sessions."""
    row = _first_effect(data, names)
    told = []
    if row is not None:
        parts = (path_models_single.effect_sentence(data, row), meaning(data, row), path_models_single.total_sentence(data, row))
        parts += (common.spread_sentence(data, row), path_models_single.influence(data, row.model, row.effect))
        parts += (path_models_rows.caution(row, common.select(path_models_rows.indirect_rows(data, row.model), effect=row.effect)),)
        told.append(" ".join(part for part in parts if part))
    return [one for one in (*told, path_models_comparison.first_comes(data), path_models_sessions.headline(data)) if one]


def meaning(data: ReportData, row: Any) -> str:
    """Return what an indirect effect means, in standard deviations; empty where its chain is not known."""
    chain = path_models_rows.chain(row)
    if len(chain) != 3:
        return ""
    first, middle, last = (_in_sentence(variable(data, row.model, name)) for name in chain)
    size = numbers.bounded(abs(row.estimate), data.decimals)
    way = "better" if row.estimate > 0 else "worse"
    if last != "outcome":
        way = "higher" if row.estimate > 0 else "lower"
    return (
        f"That is: of two clients one standard deviation apart in {first}, the higher one ends {size} standard deviations {way} in "
        f"{last} by way of {middle}, if the model’s order is right."
    )


def _in_sentence(words: str) -> str:
    return words[:1].lower() + words[1:]


def path_label(row: Any) -> str:
    """Return a path in words: cause, arrow, effect."""
    return path_models_rows.in_group(f"{common.words(row.rhs)} → {common.words(row.lhs)}", row.group)


def benchmark_name(data: ReportData, table: str, row: Any) -> str:
    """Return what a published figure is about; empty for rows that are not the one told, or that the review has words for but no figure.

    Where the review has only words, its claim stands with what the chapter says of the conditions.
    """
    random = row.method in path_models_rows.RANDOM
    if table == "parameters":
        told = row.op == "~" and random and row.model == path_models_rows.MAIN_MODEL
        return f"{path_label(row)} ({label(data, row.model)})" if told else ""
    if table == "indirect":
        if row.level != path_models_rows.CLIENT:
            levels = path_models_sessions.LEVELS
            return f"{path_models_sessions.chain_name(data, row)}, {levels[row.level]}" if random and row.effect == "indirect" else ""
        told = random and row.estimate_type == path_models_rows.DEFINED
        return f"{path_models_rows.effect_name(row.effect)} ({label(data, row.model)})" if told else ""
    if table == "defined":
        told = random and row.estimate_type == path_models_rows.DEFINED
        return f"{path_models_rows.effect_name(row.parameter)} ({label(data, row.model)})" if told else ""
    if table == "cross_lagged":
        told = row.predictor and row.method == path_models_rows.WITHIN
        return f"{common.words(row.predictor)} → later {row.outcome}, within clients" if told else ""
    if table == "conditions":
        kind = path_models_conditions.KIND_WORDS.get(row.estimate_type, row.estimate_type)
        form = path_models_conditions.FORM_WORDS.get(row.form, row.form)
        return f"{path_models_conditions.name_of(row)} ({kind}, {form})" if numbers.known(row.published) else ""
    return ""


def _beside_the_review(data: ReportData) -> list[Table]:
    """Return the figures of the review beside the new ones, those without a new estimate folded."""
    rows = published.rows_of(data, QUESTION, lambda table, row: benchmark_name(data, table, row))
    unique = list({tuple(cell.text for cell in row): row for row in rows}.values())
    known = [row for row in unique if published.has_new(row)]
    silent = [row for row in unique if not published.has_new(row)]
    parts = (
        ("published-path-models", "Figures of the review beside the new ones", known, len(known) > MOST_OPEN),
        ("published-path-models-silent", "Figures of the review beside which no number of this study stands", silent, True),
    )
    return [published.table(data, id, caption, own, folded=folded) for id, caption, own, folded in parts if own]


def site_rows(data: ReportData) -> pd.DataFrame:
    """Return the standardised paths of every site, and of the pooled ones those told; the main model's first."""
    rows = path_models_rows.rows_of(path_models_rows.once(data), "parameters", op="~", estimate_type=STANDARDISED["~"])
    pooled = path_models_rows.preferred(common.pooled_rows(rows), ("model", "lhs", "rhs", "group"))
    rows = pd.concat([common.site_rows(rows), pooled])
    return rows.assign(_main=rows["model"].ne(path_models_rows.MAIN_MODEL)).sort_values("_main", kind="stable").drop(columns="_main")


def site_label(row: Any) -> str:
    """Return a path of a model in words, with the model's name where it is not the main one."""
    return path_label(row) if row.model == path_models_rows.MAIN_MODEL else f"{path_label(row)} ({common.words(row.model).lower()})"


def _scripts(data: ReportData, names: list[str]) -> list[Table]:
    """Return where each model's script for R lies, folded."""
    known = set(path_models_rows.section(data).get("models", {}))
    cells = tuple((Cell(label(data, name)), Cell(f"{name}.R", link=f"{data.scripts}/{name}.R")) for name in names if name in known)
    if not cells or not data.scripts:
        return []
    note = (
        "Each script fits the model with lavaan to the summary data beside it, so that anyone can repeat it in R without a row of any "
        "client. The files lie in the folder lavaan of the results, beside this report’s folder."
    )
    return [Table("lavaan-scripts", "Repeat the models in R", (Column("Model"), Column("Script")), cells, note=note, folded=True)]


def missing(data: ReportData) -> tuple[str, ...]:
    """Return what could not be estimated over sites and what it needs."""
    silent: list[tuple[str, str]] = []

    def add(rows: pd.DataFrame, keys: tuple[str, ...], name: Any) -> None:
        pooled = common.pooled_rows(rows)
        for _, own in common.rows_by(pooled, keys) if len(pooled) else ():
            if not any(common.has_number(row) for row in common.tuples(own)):
                row = next(common.tuples(own))
                silent.append((name(row), row.reason))

    parameters = rows_of(data, "parameters")
    kinds = list(STANDARDISED.values())
    wanted = parameters[parameters["estimate_type"].isin(kinds) & parameters["op"].ne("~~")]
    by_model = wanted.assign(_pooled=wanted["site"].eq(POOLED))
    for model, own in by_model.groupby("model", sort=False):
        pooled = common.pooled_rows(own)
        if len(pooled) and not any(common.has_number(row) for row in common.tuples(pooled)):
            silent.append((label(data, str(model)), next(common.tuples(pooled)).reason))
        else:
            add(own, ("lhs", "op", "rhs", "group"), lambda row: f"{label(data, row.model)}, {path_models_rows.term(data, row)}")
    indirect = rows_of(data, "indirect", estimate_type=path_models_rows.DEFINED)
    levels = path_models_sessions.LEVELS
    add(
        indirect[indirect["level"].ne(path_models_rows.CLIENT)],
        ("model", "effect", "level"),
        lambda row: f"{path_models_sessions.chain_name(data, row)}, {levels.get(row.level, row.level)}",
    )
    lagged = rows_of(data, "cross_lagged", model=path_models_sessions.EQUAL)
    add(lagged, ("pair",), lambda row: f"{path_models_sessions.pair_words(data, row.pair)} over sessions")
    of_conditions = rows_of(data, "conditions")
    add(of_conditions, ("topic", "variable", "contrast", "phase", "pair"), path_models_conditions.missing_name)
    frame = pd.DataFrame(
        [{"site": POOLED, "status": "not_estimable", "estimate": None, "reason": reason, "subject": name} for name, reason in silent],
        columns=["site", "status", "estimate", "reason", "subject"],
    )
    return common.not_estimable(data, frame, lambda row: row.subject)
