"""What the parts of the chapter on path models share: names of models and variables, and which of several pooled values is told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from alliance.issues import brief
from alliance.questions import contract
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.reports import numbers
from alliance.reports.chapters import common
from alliance.reports.elements import Cell, Figure, Fold, Part, Table, Verdict, number_cell
from alliance.reports.inputs import ReportData

QUESTION = "path_models"
Blocks = list[Table | Figure | Part | Fold | Verdict]

STANDARDISED = {"~": "path_standardised", "=~": "loading_standardised", "~~": "covariance_standardised"}
DEFINED = "defined_standardised"
MULTIVARIATE, WITHIN, TWO_STAGE = "multivariate_reml", "pooled_covariance", "two_stage_sem"
RANDOM = ("two_stage_reml", "two_stage_dersimonian_laird", "two_stage_paule_mandel", "two_stage_fixed")
PREFERENCE = (*RANDOM, WITHIN, MULTIVARIATE, TWO_STAGE)
METHOD_WORDS = {
    **dict.fromkeys(RANDOM[:3], "site estimates"),
    RANDOM[3]: "site estimates, no differences between sites assumed",
    MULTIVARIATE: "all coefficients together",
    WITHIN: "one model within sites",
    TWO_STAGE: "one model of the pooled matrix",
    "none": numbers.UNKNOWN,
}
MAIN_MODEL = "empathy_alliance_outcome"
COMPARISONS = ("mediation", "what_comes_first", "one_or_two")
CLIENT = "client"
SMALL_P = 0.05
FLAGGED_SITES = "site estimates flagged"
MOST_REASONS = 2


def section(data: ReportData) -> Mapping[str, Any]:
    """Return the configuration of the question."""
    return data.options["questions"][QUESTION]


def once(data: ReportData) -> ReportData:
    """Return the data of a report with each row of the question's tables once, and an empty table for each it lacks.

    The other functions of the chapter expect such data: their tables are read many times.
    """
    names = [schema.name for schema in contract.TABLES if schema.question == QUESTION]
    return replace(data, tables={**data.tables, QUESTION: {name: common.table_of(data, QUESTION, name) for name in names}})


def rows_of(data: ReportData, table: str, **keys: str) -> pd.DataFrame:
    """Return the rows of a table of the question that have the given values."""
    return common.select(data.tables[QUESTION][table], **keys)


def with_number(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that carry an estimate."""
    return rows[rows["status"].isin(WITH_NUMBERS) & rows["estimate"].notna()]


def label(data: ReportData, model: str) -> str:
    """Return a model's label from the configuration, or its name."""
    return section(data).get("models", {}).get(model, {}).get("label") or common.words(model)


def models(data: ReportData) -> list[str]:
    """Return all models: the main one, then those of comparisons, then the others."""
    known = [*section(data).get("models", {}), *rows_of(data, "parameters")["model"]]
    ordered = [MAIN_MODEL, *(name for comparison in comparisons(data).values() for name in comparison["models"]), *sorted(set(known))]
    return [name for name in dict.fromkeys(ordered) if name in known]


def comparisons(data: ReportData) -> dict[str, Mapping[str, Any]]:
    """Return the comparisons of the configuration, the shipped ones first."""
    known = section(data).get("comparisons", {})
    return {name: known[name] for name in dict.fromkeys((*COMPARISONS, *sorted(known))) if name in known}


def comparison_label(data: ReportData, comparison: str) -> str:
    """Return what a comparison asks."""
    return comparisons(data).get(comparison, {}).get("label") or common.words(comparison)


def definitions(data: ReportData, model: str) -> dict[str, Mapping[str, Any]]:
    """Return what each variable that a model may name is made of."""
    own = section(data).get("models", {}).get(model, {}).get("variables") or {}
    return {**(section(data).get("variables") or {}), **own}


def variable(data: ReportData, model: str, name: str) -> str:
    """Return a variable as it is read: ``empathy_3`` of session 3 becomes ``Empathy, session 3``."""
    window = str(definitions(data, model).get(name, {}).get("window") or "")
    found = re.fullmatch(r"session_(\d+)", window)
    if found and name.endswith(f"_{found[1]}"):
        return f"{common.words(name.removesuffix(f'_{found[1]}'))}, session {found[1]}"
    return common.words(name)


def groups(data: ReportData, model: str) -> tuple[str, ...]:
    """Return the groups of clients that a model is for, empty for a model of all clients."""
    return tuple((section(data).get("models", {}).get(model, {}).get("groups") or {}).get("values", ()))


def term(data: ReportData, row: Any) -> str:
    """Return a parameter in words: cause and effect, two variables that correlate, a factor and its indicator; and its group."""
    return in_group(_term(data, row.model, row.lhs, row.op, row.rhs), row.group)


def in_group(words: str, group: str) -> str:
    """Return words on a parameter with the group of clients it is of."""
    return f"{words} ({group})" if group else words


def parameter_words(data: ReportData, model: str, parameter: str) -> str:
    """Return the same from a parameter as the model writes it (``outcome ~ alliance``)."""
    for op in ("=~", "~~", "~"):
        left, found, right = parameter.partition(f" {op} ")
        if found:
            return _term(data, model, left, op, right)
    return parameter


def _term(data: ReportData, model: str, lhs: str, op: str, rhs: str) -> str:
    left, right = (variable(data, model, name) for name in (lhs, rhs))
    if op == "~":
        return f"{right} → {left}"
    if op == "=~":
        return f"{left} → {right} (loading)"
    return f"{left} (unexplained share)" if lhs == rhs else f"{left} with {right}"


def effect_name(name: str) -> str:
    """Return the name of a defined effect."""
    return f"{common.words(name)} effect" if name in ("indirect", "total", "direct") else f"“{name}”"


def preferred(rows: pd.DataFrame, keys: Sequence[str] = ()) -> pd.DataFrame:
    """Return of several pooled rows of one parameter the one that is told: random effects, where these have a number.

    Parameters
    ----------
    rows : DataFrame
        Pooled rows.
    keys : sequence of str
        Columns that tell parameters apart; none takes all rows as one parameter's.
    """
    place = {name: position for position, name in enumerate(PREFERENCE)}
    interval = {"random_effects": 0, "monte_carlo": 1, "delta": 2, "": 0}
    known = rows["interval"].map(interval).fillna(3) if "interval" in rows else 0
    ranked = rows.assign(
        _silent=~(rows["status"].isin(WITH_NUMBERS) & rows["estimate"].notna()),
        _method=rows["method"].map(place).fillna(len(place)),
        _interval=known,
    ).sort_values(["_silent", "_method", "_interval"], kind="stable")
    first = ranked.drop_duplicates(list(keys)) if keys else ranked.head(1)
    return rows.loc[rows.index[rows.index.isin(first.index)]]


def one_row(rows: pd.DataFrame) -> Any:
    """Return the row told among pooled rows of one parameter where it has a number, else None."""
    return next((row for row in common.tuples(preferred(rows)) if common.has_number(row)), None)


def clear(row: Any) -> bool:
    """Tell whether an interval leaves out zero, or is not known."""
    return not (numbers.known(row.ci_low) and numbers.known(row.ci_high)) or row.ci_low > 0 or row.ci_high < 0


def short(data: ReportData, row: Any, symbol: str = "β") -> str:
    """Return an estimate with its interval, without counts."""
    told = f"{symbol}{numbers.SPACE}={numbers.SPACE}{common.estimate_text(row, data.decimals)}"
    return f"{told}, {data.level} CI {common.interval_text(row, data.decimals)}" if numbers.known(row.ci_low) else told


def indirect_rows(data: ReportData, model: str) -> pd.DataFrame:
    """Return the rows of a model's standardised indirect effects with one value a client, by site and pooled."""
    return rows_of(data, "indirect", model=model, level=CLIENT, estimate_type=DEFINED)


def effects_of(data: ReportData, model: str) -> list[str]:
    """Return the names of a model's indirect effects."""
    return list(dict.fromkeys(indirect_rows(data, model)["effect"]))


def main_effect(data: ReportData, model: str) -> Any:
    """Return the pooled row of a model's first indirect effect, None where it was not estimated."""
    return next(
        (row for name in effects_of(data, model) if (row := one_row(common.pooled_rows(indirect_rows(data, model), effect=name)))), None
    )


def chain(row: Any) -> list[str]:
    """Return the variables an indirect effect runs through, empty where the table does not tell them."""
    found = re.search(r"[\w.]+(?: -> [\w.]+)+", row.definition)
    return found[0].split(" -> ") if found else []


def chain_words(data: ReportData, row: Any) -> str:
    """Return the chain of an indirect effect in words, or how it is defined."""
    names = [variable(data, row.model, name) for name in chain(row)]
    return numbers.typeset(" → ".join(names) if names else row.definition)


def estimate_with_interval(data: ReportData, row: Any) -> tuple[Cell, Cell]:
    """Return two cells: estimate and interval; dashes where there is no row."""
    if row is None:
        return Cell(numbers.UNKNOWN, ""), Cell(numbers.UNKNOWN, "")
    known = row.estimate if common.has_number(row) else None
    return (
        number_cell(common.estimate_text(row, data.decimals), known),
        number_cell(common.interval_text(row, data.decimals), row.ci_low),
    )


def site_label(data: ReportData, row: Any) -> str:
    """Return a site, or for pooled rows that."""
    return "Pooled" if row.site == POOLED else data.labels.get(row.site, row.site)


def caution(row: Any, rows: pd.DataFrame) -> str:
    """Return why a pooled estimate must be read with care, with what is flagged at the sites; empty where nothing is.

    Parameters
    ----------
    row : namedtuple
        The pooled row.
    rows : DataFrame
        All rows of the same estimate, those of sites among them.
    """
    if row.status != "flagged" or FLAGGED_SITES not in row.reason:
        return common.caution(row)
    sites = common.site_rows(rows)
    flagged = sites[sites["status"].eq("flagged")].drop_duplicates(["site", "reason"])
    counted: dict[str, tuple[str, set[str]]] = {}
    for one in common.tuples(flagged):
        for reason in one.reason.split("; "):
            # Reasons that differ in numbers alone are one reason.
            counted.setdefault(re.sub(r"\d[\d,.]*", "#", reason), (reason, set()))[1].add(one.site)
    ranked = sorted(counted.values(), key=lambda found: -len(found[1]))[:MOST_REASONS]
    partly = sites["status"].eq(contract.WITHHELD).any()
    shown = "; ".join(
        f"at {'some sites' if partly else common.plural(len(found), 'site')} {brief(reason, common.REMARK_CHARACTERS)}"
        for reason, found in ranked
    )
    first = row.reason.split(" (")[0]
    return f"{common.READ_WITH_CARE}{first}{f'; {shown}' if shown else ''}."


def p_words(p: Any) -> str:
    """Return a p value as it stands in a sentence, never broken over lines."""
    return f"p {numbers.p_value(p)}".replace(" ", numbers.SPACE)


def small(p: Any) -> bool:
    """Tell whether a p value is small."""
    return numbers.known(p) and p < SMALL_P
