"""Parts of the chapter on measurement: factors, invariance, raters' own parts, the composite of conditions and alliance."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.contract import COMPUTED
from alliance.reports import figures, figures_outcome, numbers
from alliance.reports.chapters import common
from alliance.reports.chapters.measurement_reliability import QUESTION, Blocks, in_order, main_window, with_number
from alliance.reports.chapters.outcome_parts import RATERS, value
from alliance.reports.diagram import Edge, Node, factor_diagram
from alliance.reports.drawing import LABELLED_ROWS
from alliance.reports.elements import Cell, Column, Figure, Part, Table, listed, number_cell
from alliance.reports.figures import ForestRow
from alliance.reports.inputs import ReportData

MODELS = {
    "one_factor": "one factor",
    "theory": "factors of its theory",
    "bond_task_goal": "bond against task and goal",
    "bifactor": "general and specific factors (bifactor)",
    "one_core": "one core",
    "two_cores": "two cores: attachment and collaboration",
    "one_construct": "one construct",
    "constructs": "a factor for each construct",
}
JOINT = {
    "(all measures)": ("measurement-cores", "Two cores over all instruments?", "All measures together"),
    "(relationship)": (
        "measurement-relationship",
        "Alliance, transference and real relationship: distinct or one?",
        "Alliance, transference and real relationship",
    ),
}
INDICES = {
    "chi2": "χ²",
    "df": "df",
    "p_value": "p",
    "cfi": "CFI",
    "tli": "TLI",
    "rmsea": "RMSEA",
    "srmr": "SRMR",
    "aic": "AIC",
    "bic": "BIC",
}
BIFACTOR_TYPES = ("omega_hierarchical", "explained_common_variance", "uncontaminated_correlations", "omega_subscale")
STEPS = {
    "configural": "same factors (configural)",
    "metric": "equal loadings (metric)",
    "partial_metric": "equal loadings but some (partial metric)",
    "scalar": "equal intercepts too (scalar)",
    "partial_scalar": "equal intercepts but some (partial scalar)",
    "strict": "equal residuals too (strict)",
}
ACROSS = {"sites": "sites", "languages": "languages", "raters": "raters", "sessions": "sessions"}
MAY_COMPARE = "may_compare"
SUM = "(sum)"
MOST_CORRELATED = 4
# Differences of BIC below 6 are no strong evidence (Raftery, 1995).
CLEAR_BIC = 6.0
# With 150 clients a group an intercept that differs by half a standard deviation is missed in one run of three (docs/design.md).
FEW_A_GROUP = 150
SUMMARY_VARIABLES = {"(smallest)": "smallest", "(largest)": "largest"}


def structure_rows(data: ReportData) -> pd.DataFrame:
    """Return the pooled rows on factors in the main window."""
    pooled = common.pooled_rows(common.table_of(data, QUESTION, "structure"), window=main_window(data))
    return in_order(pooled[pooled["headline"].ne("no")], data)


def subject(instrument: str, rater: str, derived_from: str = "") -> str:
    """Return whose factors are told."""
    name = JOINT[instrument][2] if instrument in JOINT else common.instrument_name(instrument)
    return f"{name}{f' (from {common.instrument_name(derived_from)})' if derived_from else ''}{f', {rater}' if rater else ''}"


def model_words(model: str) -> str:
    """Return a factor model in words; two models in a comparison as one against the other."""
    parts = [MODELS.get(part, part.replace("_", " ")) for part in model.split(" against ")]
    return " against ".join(parts)


def indicator_words(name: str) -> str:
    """Return an indicator as it is read: ``i7`` becomes ``item 7``, ``wai_sr.bond.client`` ``WAI-SR bond, client``."""
    if re.fullmatch(r"i?\d+", name):
        return f"item {name.lstrip('i')}"
    parts = name.split(".")
    return common.measure(*parts[:3]) if len(parts) > 1 else name.replace("_", " ")


def _natural(name: str) -> tuple[int, str]:
    """Return a sorting key that puts item 2 before item 10."""
    digits = name.lstrip("i")
    return (int(digits), "") if digits.isdigit() else (0, name)


def fits(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the indices of fit of every model that was fitted."""
    chosen = rows[rows["estimate_type"].eq("fit_index")].rename(columns={"index": "name"})
    found: dict[str, dict[str, Any]] = {}
    for row in common.tuples(chosen):
        found.setdefault(row.model, {})[row.name] = row
    return found


def best_model(rows: pd.DataFrame) -> tuple[str, str]:
    """Return the model to draw, and why it: the lowest BIC of proper solutions, else the theory's, else any with loadings."""
    loaded = set(with_number(common.select(rows, estimate_type="loading_standardised"))["model"])
    bics = {
        model: one["bic"].estimate
        for model, one in fits(rows).items()
        if model in loaded and "bic" in one and one["bic"].status == "estimated"
    }
    if len(bics) > 1:
        return min(bics, key=lambda model: (bics[model], model)), f"lowest BIC of {numbers.count(len(bics))} models with proper solutions"
    if bics:
        return next(iter(bics)), "the only model with a proper solution"
    for model in ("theory", *sorted(loaded)):
        if model in loaded:
            return model, "no model has a proper solution, so read it with care"
    return "", ""


def main_group(data: ReportData, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the first instrument of the configuration whose factors were estimated, rated by the study's rater if possible."""
    loaded = with_number(common.select(rows, estimate_type="loading_standardised", derived_from=""))
    there = set(zip(loaded["instrument"], loaded["rater"]))
    raters = dict.fromkeys((data.options["alliance"]["rater"], *RATERS))
    for instrument in dict.fromkeys((*data.options["alliance"]["instruments"], *sorted(one for one, _ in there if one not in JOINT))):
        for rater in raters:
            if (instrument, rater) in there:
                return common.select(rows, instrument=instrument, rater=rater, derived_from="")
    return rows.iloc[:0]


def findings(data: ReportData) -> list[str]:
    """Return which factors the main instrument has, and what may be compared."""
    group = main_group(data, structure_rows(data))
    told = f"{fit_sentence(data, group)} {same_factors(data, group)}".strip() if len(group) else ""
    return [sentence for sentence in (told, invariance_finding(data)) if sentence]


def same_factors(data: ReportData, group: pd.DataFrame) -> str:
    """Return which factors of the model drawn cannot be told apart; empty where all can."""
    correlations = with_number(common.select(group, estimate_type="factor_correlation", model=best_model(group)[0]))
    told = [
        f"{row.factor.replace(' ~~ ', ' and ').replace('_', ' ')} ({value(data, row)})"
        for row in common.tuples(correlations)
        if numbers.known(row.ci_high) and row.ci_high >= 1
    ]
    return f"Not told apart, since the interval of their correlation holds 1: {'; '.join(told)}." if told else ""


def fit_sentence(data: ReportData, group: pd.DataFrame) -> str:
    """Return which model of an instrument fits best and how well; empty where none was fitted."""
    model, why = best_model(group)
    if not model:
        return ""
    first = next(common.tuples(group))
    found = fits(group).get(model, {})
    shown = "; ".join(one for one in (_fit_words(found), _counted(found)) if one)
    name = subject(first.instrument, first.rater)
    return f"{name}: the model drawn is {model_words(model)} ({why}{f'; {shown}' if shown else ''}).{_close_sentence(group, model)}"


def _counted(found: Mapping[str, Any]) -> str:
    row = next(iter(found.values()), None)
    return f"{common.plural(row.n_clients, 'client')} at {common.plural(row.n_sites, 'site')}" if row is not None else ""


def _close_sentence(group: pd.DataFrame, model: str) -> str:
    """Return which other models with proper solutions have nearly the same BIC; empty where none has."""
    proper = {name: one["bic"].estimate for name, one in fits(group).items() if "bic" in one and one["bic"].status == "estimated"}
    if model not in proper:
        return ""
    close = [name for name in proper if name != model and proper[name] - proper[model] < CLEAR_BIC]
    if not close:
        return ""
    return f" The data hardly tell it from {' or '.join(model_words(name) for name in close)}, whose BIC is nearly as low."


def _fit_words(found: Mapping[str, Any]) -> str:
    known = [(name, found[name]) for name in ("cfi", "rmsea", "srmr") if name in found and common.has_number(found[name])]
    return ", ".join(f"{INDICES[name]}{numbers.SPACE}={numbers.SPACE}{numbers.bounded(row.estimate, 3)}" for name, row in known)


def structure(data: ReportData) -> Blocks:
    """Return the factors of the main instrument as a diagram, and how all models fit."""
    rows = structure_rows(data)
    own = rows[~rows["instrument"].isin(JOINT)]
    if own.empty:
        return []
    return [
        Part("measurement-structure", "Which factors do the items have?", tuple(general_sentences(data, own))),
        *diagram(data, main_group(data, own), "factors"),
        fit_table(data, own, "structure-fit", "How well models of the items fit"),
        *comparison_table(data, own),
        *bifactor_table(data, own),
    ]


def general_sentences(data: ReportData, rows: pd.DataFrame) -> list[str]:
    """Return how much of the scores a general factor explains, and what is left for the scales."""
    sentences = []
    for (instrument, rater), group in common.rows_by(common.select(rows, derived_from=""), ("instrument", "rater")):
        found = {kind: list(common.tuples(with_number(common.select(group, estimate_type=kind)))) for kind in BIFACTOR_TYPES}
        if not found["omega_hierarchical"]:
            continue
        general = found["omega_hierarchical"][0]
        share = numbers.percent(general.estimate)
        told = f"{subject(instrument, rater)}: one general factor explains {share} of the variance of the total score"
        own = [f"{row.factor.replace('_', ' ')} {numbers.percent(row.estimate)}" for row in found["omega_subscale"]]
        if own:
            told += f"; of the scores of the scales their own factors add {listed(own)}"
        sentences.append(f"{told}. {common.caution(general)}".strip())
    return sentences


def diagram(data: ReportData, group: pd.DataFrame, id: str) -> list[Figure]:
    """Return the diagram of the best model of a group; none without loadings."""
    model, why = best_model(group) if len(group) else ("", "")
    if not model:
        return []
    own = common.select(group, model=model)
    loadings = list(common.tuples(with_number(common.select(own, estimate_type="loading_standardised"))))
    factors = list(dict.fromkeys(row.factor for row in loadings))
    indicators = list(dict.fromkeys(row.indicator for row in loadings if row.factor != "general"))
    indicators += [row.indicator for row in loadings if row.indicator not in indicators]
    indicators = [name for name in dict.fromkeys(indicators) if name not in factors]
    owner = {row.indicator: factors.index(row.factor) for row in loadings if row.factor != "general"}
    indicators.sort(key=lambda name: (owner.get(name, 0), _natural(name)))
    loadings.sort(key=lambda row: (factors.index(row.factor), _natural(row.indicator)))
    nodes = {f"factor {name}": Node(name.replace("_", " "), True) for name in factors}
    nodes |= {name: Node(indicator_words(name)) for name in indicators}
    edges = [
        _edge(data, f"factor {row.factor}", f"factor {row.indicator}" if row.indicator in factors else row.indicator, row)
        for row in loadings
    ]
    correlations = list(common.tuples(with_number(common.select(own, estimate_type="factor_correlation"))))
    pairs = [(tuple(row.factor.split(" ~~ ")), row) for row in correlations]
    pairs = [(pair, row) for pair, row in pairs if len(pair) == 2 and set(pair) <= set(factors)]
    drawn = pairs if len(factors) <= MOST_CORRELATED else []
    edges += [_edge(data, f"factor {a}", f"factor {b}", row, mutual=True) for (a, b), row in drawn]
    first = next(common.tuples(group))
    told = [
        f"{factor.replace('_', ' ')} on "
        f"{listed([f'{indicator_words(r.indicator)} {common.estimate_text(r, data.decimals)}' for r in loadings if r.factor == factor])}"
        for factor in factors
    ]
    between = [f"{a} with {b} {common.estimate_text(row, data.decimals)}".replace("_", " ") for (a, b), row in pairs]
    cells = tuple(
        (
            Cell(row.factor.replace("_", " ")),
            Cell(indicator_words(row.indicator) if row.indicator else "correlation"),
            *common.estimate_cells(data, row, pooled=False),
        )
        for row in [*loadings, *correlations]
    )
    name = subject(first.instrument, first.rater)
    cautions = list(dict.fromkeys(common.remark(row) for row in loadings if row.status == "flagged"))
    return [
        Figure(
            id=f"diagram-{id}",
            title=f"{name}: {model_words(model)}, over sites",
            alt=f"Diagram of a factor model, {model_words(model)}. Standardised loadings: {'; '.join(told)}."
            + (f" Correlations of factors: {'; '.join(between)}." if between else ""),
            svg=factor_diagram(nodes, edges),
            narrow=factor_diagram(nodes, edges, narrow=True),
            note=f"Ellipses are factors, boxes {'scales' if first.instrument in JOINT else 'items'}, numbers standardised loadings with "
            f"{data.level} intervals; curves are correlations of factors. Drawn: {why}.{''.join(f' {one}.' for one in cautions)}"
            + ("" if drawn or not pairs else " Correlations of the factors stand in the data of the figure."),
            data=Table(
                f"diagram-{id}-data",
                f"{name}: loadings and correlations of factors",
                (Column("Factor"), Column("Indicator"), *common.estimate_columns(data, "Estimate", pooled=False)),
                cells,
            ),
        )
    ]


def _edge(data: ReportData, source: str, target: str, row: Any, mutual: bool = False) -> Edge:
    known = numbers.known(row.ci_low) and numbers.known(row.ci_high)
    interval = common.interval_text(row, data.decimals) if known else ""
    return Edge(source, target, common.estimate_text(row, data.decimals), interval, not known or row.ci_low > 0 or row.ci_high < 0, mutual)


def fit_table(data: ReportData, rows: pd.DataFrame, id: str, caption: str) -> Table:
    """Return the indices of fit of every model, pooled over sites."""
    cells, emphasised = [], set()
    for (instrument, rater, derived), group in common.rows_by(with_number(rows), ("instrument", "rater", "derived_from")):
        best = best_model(group)[0]
        for model, found in fits(group).items():
            if model == best:
                emphasised.add(len(cells))
            any_row = next(iter(found.values()))
            remarks = dict.fromkeys(common.remark(row) for row in found.values() if common.remark(row))
            cells.append(
                (
                    Cell(subject(instrument, rater, derived)),
                    Cell(model_words(model)),
                    *(_index_cell(found, index) for index in INDICES),
                    common.count_cell(any_row.n_clients),
                    common.count_cell(any_row.n_sites),
                    Cell("; ".join(remarks)),
                )
            )
    optional = ("tli", "aic", "bic", "p_value")
    return Table(
        id,
        f"{caption}, over sites",
        (
            *(Column("Items of"), Column("Model", wide=True)),
            *(Column(label, True, optional=index in optional) for index, label in INDICES.items()),
            *(Column("Clients", True), Column("Sites", True), Column("Remark", wide=True, optional=True)),
        ),
        tuple(cells),
        note="Marked: the model drawn or preferred (lowest BIC of proper solutions). A better fit of a model with more parameters is no "
        "proof that its factors matter; a poor solution (negative variance, correlation beyond 1) is named in the remark and never "
        "preferred.",
        empty="No model could be fitted.",
        emphasised=frozenset(emphasised),
    )


def _index_cell(found: Mapping[str, Any], index: str) -> Cell:
    row = found.get(index)
    if row is None or not common.has_number(row):
        return Cell(numbers.UNKNOWN, "")
    if index == "df":
        return common.count_cell(row.estimate)
    if index == "p_value":
        return number_cell(numbers.p_value(row.estimate).removeprefix("= "), row.estimate)
    if index in ("chi2", "aic", "bic"):
        return number_cell(numbers.decimal(row.estimate), row.estimate)
    text = numbers.bounded(row.estimate, 3)
    ends = [
        found[name].estimate if name in found and common.has_number(found[name]) else None for name in (f"{index}_low", f"{index}_high")
    ]
    if not all(map(numbers.known, ends)):
        ends = [row.ci_low, row.ci_high]
    shown = f"{text} {numbers.interval(*ends, 3)}" if all(map(numbers.known, ends)) else text
    return number_cell(shown, row.estimate)


def comparison_table(data: ReportData, rows: pd.DataFrame) -> list[Table]:
    """Return the differences of fit of two models; none where none was compared."""
    chosen = rows[rows["estimate_type"].isin(("chi2_difference", "fit_difference"))]
    cells = []
    for (instrument, rater, derived, model), group in common.rows_by(chosen, ("instrument", "rater", "derived_from", "model")):
        found = {
            row.name or "chi2": row
            for row in common.tuples(group.rename(columns={"index": "name"}))
            if row.estimate_type == "chi2_difference"
        }
        changes = {row.name: row for row in common.tuples(group.rename(columns={"index": "name"})) if row.estimate_type == "fit_difference"}
        remarks = dict.fromkeys(common.remark(row) for row in (*found.values(), *changes.values()) if common.remark(row))
        cells.append(
            (
                Cell(subject(instrument, rater, derived)),
                Cell(model_words(model)),
                *(_index_cell(found, index) for index in ("chi2", "df", "p_value")),
                *(_index_cell(changes, index) for index in ("cfi", "rmsea", "srmr", "aic", "bic")),
                Cell("; ".join(remarks)),
            )
        )
    if not cells:
        return []
    labels = ("Δχ²", "Δdf", "p", "ΔCFI", "ΔRMSEA", "ΔSRMR", "ΔAIC", "ΔBIC")
    return [
        Table(
            "structure-comparison",
            "Models compared, over sites",
            (
                *(Column("Items of"), Column("First against second", wide=True), *(Column(label, True, optional=True) for label in labels)),
                Column("Remark", wide=True, optional=True),
            ),
            tuple(cells),
            note="First minus second. χ² is compared only where the first model is the second with restrictions.",
            folded=True,
        )
    ]


def bifactor_table(data: ReportData, rows: pd.DataFrame) -> list[Table]:
    """Return what the general factor and the scales' own factors explain; none without a bifactor model."""
    chosen = with_number(rows[rows["estimate_type"].isin(BIFACTOR_TYPES)])
    if chosen.empty:
        return []
    place = chosen["estimate_type"].map({name: number for number, name in enumerate(BIFACTOR_TYPES)})
    chosen = in_order(chosen.loc[place.sort_values(kind="stable").index], data)
    words = {
        "omega_hierarchical": "Total score by the general factor (hierarchical ω)",
        "omega_subscale": "Score of a scale by its own factor beyond the general one",
        "explained_common_variance": "Common variance by the general factor (ECV)",
        "uncontaminated_correlations": "Correlations of items by the general factor alone (PUC)",
    }
    cells = tuple(
        (
            Cell(subject(row.instrument, row.rater, row.derived_from)),
            Cell(words[row.estimate_type]),
            Cell(row.factor.replace("_", " ")),
            *common.estimate_cells(data, row, pooled=False),
        )
        for row in common.tuples(chosen)
    )
    return [
        Table(
            "structure-bifactor",
            "Are the scales worth reporting beside the total? What the factors of the bifactor model explain, over sites",
            (
                Column("Items of"),
                Column("Explained", wide=True),
                Column("Factor", optional=True),
                *common.estimate_columns(data, "Share", pooled=False),
            ),
            cells,
            note="A general factor that explains nearly all of the total, and own factors that add little, speak for the total alone.",
            folded=True,
        )
    ]


def together(data: ReportData) -> Blocks:
    """Return whether the scales of all instruments have two cores, and whether alliance, transference and real relationship are one."""
    rows = structure_rows(data)
    blocks: Blocks = []
    for instrument, (id, title, name) in JOINT.items():
        joint = with_number(common.select(rows, instrument=instrument))
        if joint.empty:
            continue
        groups = [group for _, group in common.rows_by(joint, ("rater",))]
        slug = id.removeprefix("measurement-")
        sentences = tuple(sentence for group in groups for sentence in (fit_sentence(data, group), apart_sentence(data, group)) if sentence)
        drawn = next((found for group in groups if (found := diagram(data, group, slug))), [])
        blocks += [
            Part(id, title, sentences),
            *drawn,
            fit_table(data, joint, f"{slug}-fit", f"How well models of the scales fit: {name.lower()}"),
        ]
    return blocks


def apart_sentence(data: ReportData, group: pd.DataFrame) -> str:
    """Return whether the factors of scales of several instruments can be told apart, by the intervals of their correlations."""
    correlations = with_number(common.select(group, estimate_type="factor_correlation", model=best_model(group)[0]))
    told = []
    for row in common.tuples(correlations):
        if numbers.known(row.ci_high):
            apart = row.ci_high < 1
            meaning = (
                "the interval leaves out 1, so they are not the same" if apart else "the interval holds 1, so they cannot be told apart"
            )
            told.append(f"{row.factor.replace(' ~~ ', ' and ').replace('_', ' ')} correlate {value(data, row)}: {meaning}")
    return f"{common.words(next(common.tuples(group)).rater)}: {'; '.join(told)}." if told else ""


def invariance_rows(data: ReportData) -> pd.DataFrame:
    """Return what may be compared, one row an instrument, rater and kind of group, with the rows that say why it is not known."""
    table = common.pooled_rows(common.table_of(data, QUESTION, "invariance"))
    decided = table[table["index"].eq(MAY_COMPARE)]
    keys = ["instrument", "rater", "across"]
    known = set(decided[keys].itertuples(index=False, name=None))
    absent = table[table["status"].eq("not_estimable") & ~table["index"].eq(MAY_COMPARE)].drop_duplicates(keys)
    absent = absent[np.array([key not in known for key in absent[keys].itertuples(index=False, name=None)], dtype=bool)]
    return in_order(pd.concat([decided, absent]), data)


def invariance_name(row: Any) -> str:
    """Return what is compared over which groups."""
    return f"{_whose(row)} over {ACROSS.get(row.across, row.across)}"


def _whose(row: Any) -> str:
    name = common.instrument_name(row.instrument) if row.instrument else "Alliance measures"
    return name + ("" if row.across == "raters" or not row.rater else f" ({row.rater})")


def may_words(row: Any) -> str:
    """Return in a sentence what may be compared."""
    if row.index_name == MAY_COMPARE and row.decision and row.decision != "not_estimable":
        return f"{common.words(row.decision)}."
    return "Nothing may be compared: equality was not tested."


def _named_index(rows: pd.DataFrame) -> Any:
    return common.tuples(rows.rename(columns={"index": "index_name"}))


def invariance_finding(data: ReportData) -> str:
    """Return over which groups levels may be compared, in a sentence; empty where nothing was tested."""
    rows = [row for row in _named_index(invariance_rows(data)) if row.index_name == MAY_COMPARE and common.has_number(row)]
    if not rows:
        return ""
    levels = [row for row in rows if row.model in ("scalar", "strict")]
    if not levels:
        return "Means of observed scores may not be compared over any of the groups tested."
    over: dict[str, list[str]] = {}
    for row in levels:
        over.setdefault(_whose(row), []).append(ACROSS[row.across])
    measures: dict[tuple[str, ...], list[str]] = {}
    for name, groups in over.items():
        measures.setdefault(tuple(sorted(groups, key=list(ACROSS.values()).index)), []).append(name)
    told = "; ".join(f"over {listed(list(groups))} for {listed(names)}" for groups, names in measures.items())
    rest = len(rows) - len(levels)
    other = "one other comparison" if rest == 1 else f"the {numbers.count(rest)} other comparisons"
    cautions = []
    if any(map(few_clients, levels)):
        fewest, most = (pick(int(row.n_clients) for row in levels) for pick in (min, max))
        span = " to ".join(dict.fromkeys(numbers.count(one) for one in (fewest, most)))
        cautions.append(
            f"This is weak evidence: {'some of these' if len(levels) > 1 else 'the'} tests rest on few clients ({span} in all), with whom "
            "differences are easily missed."
        )
    if any(row.status == "flagged" for row in levels):
        whole = "They are" if all(row.status == "flagged" for row in levels) else "Some are"
        cautions.append(f"{whole if len(levels) > 1 else 'It is'} flagged: read the remarks under “What may be compared?” first.")
    return " ".join([f"Means of observed scores may be compared {told}{f'; not for {other} tested' if rest else ''}.", *cautions])


def few_clients(row: Any) -> bool:
    """Tell whether a test of invariance had so few clients a group that a difference is easily missed."""
    if not numbers.known(row.n_clients):
        return False
    groups = row.groups.count(",") + 1 if row.across in ("sites", "languages") else 1
    return row.n_clients / groups <= FEW_A_GROUP


def invariance(data: ReportData) -> Blocks:
    """Return what may be compared, with a sentence for each comparison, and the steps that led there."""
    rows = invariance_rows(data)
    if rows.empty:
        return []
    named = list(_named_index(rows))
    tested = [row for row in named if common.has_number(row)]
    untested = [row for row in named if not common.has_number(row)]
    finding = invariance_finding(data)
    lead = f"{common.plural(len(untested), 'comparison')} could not be tested; nothing may be compared there." if untested else ""
    if not finding:
        lead = "Equality was not tested for any instrument: the table says what that needs."
    blocks: Blocks = [Part("measurement-invariance", "What may be compared?", (lead,) if lead else ())]
    if tested:
        blocks.append(_comparison_table(data, tested))
    if untested:
        cells = tuple((Cell(invariance_name(row)), Cell(_group_words(data, row)), Cell(common.remark(row))) for row in untested)
        blocks.append(
            Table(
                "invariance-untested",
                "Not tested: nothing may be compared here, and what a test would need",
                (Column("Measure", wide=True), Column("Groups", wide=True, optional=True), Column("Reason", wide=True)),
                cells,
                folded=bool(tested),
            )
        )
    return [*blocks, *step_table(data), *mean_table(data)]


def _group_words(data: ReportData, row: Any) -> str:
    """Return the groups compared, sites by their labels."""
    return ", ".join(str(data.labels.get(one, one)).replace("_", " ") for one in row.groups.split(", ")) if row.groups else ""


def _short_remark(data: ReportData, row: Any) -> str:
    """Return why a decision is flagged, without what stands in parentheses; the full reason is in the table of the question."""
    reason = re.sub(r" \([^()]*\)", "", row.reason)
    sites = "|".join(map(re.escape, sorted(data.labels, key=len, reverse=True)))
    if sites and row.across == "sites":
        left_out = re.compile(r"(?<=left out: )[^;]*")
        reason = left_out.sub(lambda found: re.sub(rf"\b({sites})\b", lambda site: data.labels[site[0]], found[0]), reason)
    return common.remark(row._replace(reason=reason))


def _remarks(first: str, second: str) -> str:
    """Return two remarks as one; the second begins small where it follows the first."""
    return f"{first}; {second[:1].lower()}{second[1:]}" if first and second else first or second


def _comparison_table(data: ReportData, rows: list[Any]) -> Table:
    cells = tuple(
        (
            Cell(invariance_name(row)),
            Cell(_group_words(data, row)),
            Cell(STEPS.get(row.model, row.model.replace("_", " "))),
            Cell(may_words(row)),
            common.count_cell(row.n_clients),
            Cell(_remarks("Weak evidence: few clients" if few_clients(row) else "", _short_remark(data, row))),
        )
        for row in rows
    )
    return Table(
        "invariance",
        "What may be compared over sites, languages, raters and sessions",
        (
            *(Column("Measure"), Column("Groups"), Column("Highest step that holds")),
            *(Column("What may be compared", wide=True), Column("Clients", True), Column("Remark", wide=True, optional=True)),
        ),
        cells,
        note="Correlations may be compared where loadings are equal, means only where intercepts are equal too; where that was not "
        "shown, no means are compared in this report. That a step holds says that no difference was found: with few clients a difference "
        "is easily missed. Cut-offs are conventions of the configuration. Remarks in full: tables/measurement/invariance.csv.",
    )


def step_table(data: ReportData) -> list[Table]:
    """Return the fit of every step and what changed from the step before, folded."""
    table = common.pooled_rows(common.table_of(data, QUESTION, "invariance"))
    chosen = in_order(table[table["estimate_type"].isin(("fit_index", "fit_difference", "chi2_difference"))], data)
    cells = []
    for _, group in common.rows_by(chosen, ("instrument", "rater", "across", "groups", "model")):
        named = list(_named_index(group))
        by_type = {
            kind: {row.index_name: row for row in named if row.estimate_type == kind}
            for kind in ("fit_index", "fit_difference", "chi2_difference")
        }
        first = named[0]
        if not any(map(common.has_number, named)):
            continue
        cells.append(
            (
                Cell(invariance_name(first)),
                Cell(STEPS.get(first.model, first.model.replace("_", " "))),
                *(_index_cell(by_type["fit_index"], index) for index in ("chi2", "df", "cfi", "rmsea", "srmr")),
                *(_index_cell(by_type["chi2_difference"], index) for index in ("chi2", "df", "p_value")),
                *(_index_cell(by_type["fit_difference"], index) for index in ("cfi", "rmsea", "srmr")),
                Cell(first.decision.replace("_", " ")),
            )
        )
    if not cells:
        return []
    labels = ("χ²", "df", "CFI", "RMSEA", "SRMR", "Δχ²", "Δdf", "p", "ΔCFI", "ΔRMSEA", "ΔSRMR")
    return [
        Table(
            "invariance-steps",
            "Steps of the tests of invariance",
            (Column("Measure", wide=True), Column("Step", wide=True), *(Column(label, True) for label in labels), Column("Decision")),
            tuple(cells),
            note="Differences are from the step before. Parameters that were freed: tables/measurement/invariance.csv.",
            folded=True,
        )
    ]


def mean_table(data: ReportData) -> list[Table]:
    """Return means of factors of groups that may be compared, folded; none where no means may be."""
    table = common.table_of(data, QUESTION, "invariance")
    rows = in_order(with_number(common.select(table, estimate_type="latent_mean")), data)
    if rows.empty or len(rows) > 3 * LABELLED_ROWS:
        return []
    cells = tuple(
        (
            Cell(invariance_name(row)),
            Cell(data.labels.get(row.groups, row.groups)),
            Cell(row.index_name.replace("_", " ")),
            number_cell(numbers.decimal(row.estimate, data.decimals), row.estimate),
            number_cell(common.interval_text(row, data.decimals), row.ci_low),
            common.count_cell(row.n_clients),
            Cell(row.reason[:1].upper() + row.reason[1:]),
        )
        for row in _named_index(rows)
    )
    return [
        Table(
            "invariance-means",
            "Means of factors, in SD of the reference group",
            (
                *(Column("Measure", wide=True), Column("Group"), Column("Factor"), Column("Mean", True), Column(f"{data.level} CI", True)),
                *(Column("Clients", True), Column("Remark", wide=True, optional=True)),
            ),
            cells,
            note="Shown only where intercepts are equal, at least in part. Groups are not ranked by them: clients of sites differ.",
            folded=True,
        )
    ]


def method_rows(data: ReportData) -> pd.DataFrame:
    """Return the pooled shares of each rater's own view, each once: from the model with the most raters, over all sites where possible."""
    table = common.pooled_rows(common.table_of(data, QUESTION, "multitrait_multimethod"))
    if table.empty:
        return table
    pairs = [_instruments_of(row) for row in common.tuples(table)]
    # Which row is shown does not depend on whether its number may be.
    silent = ~table["status"].isin(COMPUTED)
    elsewhere = table["method"].ne("pooled_covariance")
    table = table.assign(pair=pairs, size=table["raters"].str.count(","), elsewhere=elsewhere, silent=silent)
    table = table.sort_values(["silent", "size", "elsewhere"], ascending=[True, False, True], kind="stable")
    once = table.drop_duplicates(["pair", "rater", "indicator", "factor", "index", "estimate_type"]).sort_index()
    return once.drop(columns=["pair", "size", "elsewhere", "silent"])


def _used(row: Any) -> dict[str, str]:
    """Return the instrument of each rater; none where all have the same."""
    return dict(one.split(" ", 1) for one in row.instruments.split(", ")) if " " in row.instruments else {}


def _instruments_of(row: Any) -> str:
    """Return the instruments that a row compares: the rater's and the reference rater's."""
    used = _used(row)
    own = [used.get(one, row.instruments) for one in row.rater.split(" ~~ ")]
    return " ".join((*own, used.get(row.reference, row.instruments)))


def method_name(row: Any) -> str:
    """Return whose indicator a row is about."""
    name = "sum of scales" if row.indicator == SUM else indicator_words(row.indicator)
    return f"{name}, {row.rater}" if row.indicator else row.rater or "raters of the same sessions"


def instruments_words(row: Any) -> str:
    """Return which instrument each rater used; ``client wai_sr, therapist wai_s`` becomes ``client WAI-SR, therapist WAI-S``."""
    used = _used(row)
    if not used:
        return common.instrument_name(row.instruments)
    return ", ".join(f"{rater} {common.instrument_name(name)}" for rater, name in used.items())


def method_label(row: Any) -> str:
    """Return a rater with the instrument, and the one of the reference rater where that is another."""
    used = _used(row)
    scale = "" if row.indicator == SUM else f" {indicator_words(row.indicator)}"
    own = common.instrument_name(used.get(row.rater, row.instruments))
    beside = f" ({row.reference}: {common.instrument_name(used[row.reference])})" if row.reference in used else ""
    return f"{row.rater}, {own}{scale}{beside}"


def raters(data: ReportData) -> Blocks:
    """Return how much of each rater's view is shared with the reference rater's and how much is its own."""
    rows = method_rows(data)
    kinds = ("consistency", "method_specificity")
    shares = {kind: {_key(row): row for row in common.tuples(with_number(common.select(rows, estimate_type=kind)))} for kind in kinds}
    keys = [key for key, row in shares["consistency"].items() if key in shares["method_specificity"] and row.rater != row.reference]
    if not keys:
        return []
    sums = [key for key in keys if key[3] == SUM]
    keys = sums or keys
    own = [shares["consistency"][key] for key in keys]
    bars = [method_label(row) for row in own]
    parts = [[shares[kind][key].estimate for kind in kinds] for key in keys]
    reference = own[0].reference
    names = [f"shared with the {reference}’s view", "the rater’s own"]
    words = {**dict(zip(kinds, names)), "reliability": "reliability"}
    cells = tuple(
        (Cell(instruments_words(row)), Cell(method_name(row)), Cell(words[row.estimate_type]), *common.estimate_cells(data, row))
        for row in common.tuples(rows[rows["estimate_type"].isin(words)])
    )
    columns = (Column("Instruments"), Column("Scale and rater"), Column("Share"), *common.estimate_columns(data, "Estimate"))
    told = "; ".join(f"{bar} {numbers.percent(part[0])}" for bar, part in zip(bars, parts))
    return [
        Part(
            "measurement-raters",
            "Do raters see the same alliance?",
            tuple(view_sentences(data, rows, own, common.select(rows, estimate_type="consistency"))),
        ),
        Figure(
            id="rater-shares",
            title=f"What raters share with the {reference}’s view, and what is their own",
            alt=f"Stacked bars of shares of true variance. Shared with the {reference}’s view: {told}.",
            svg=figures_outcome.stacked_shares(bars, names, parts),
            narrow=figures_outcome.stacked_shares(bars, names, parts, narrow=True),
            note="Shares of what a score measures without error (multitrait-multimethod model with a reference rater, CT-C(M-1)). Own is "
            f"not wrong: the {reference} is the reference by configuration, not by being right.",
            data=Table("rater-shares-data", "Shared and own parts of raters’ views, pooled over sites", columns, cells),
        ),
    ]


def view_sentences(data: ReportData, rows: pd.DataFrame, consistencies: list[Any], every: pd.DataFrame) -> list[str]:
    """Return how much of each rater's view is shared with the reference rater's, and how far the own views of raters go together.

    Parameters
    ----------
    data : ReportData
    rows : DataFrame
        From :func:`method_rows`.
    consistencies : list
        The shares that are shared, with numbers.
    every : DataFrame
        The same with those that are withheld.
    """
    sentences = []
    for rater in dict.fromkeys(row.rater for row in consistencies):
        found = [row for row in consistencies if row.rater == rater]
        whole = [row for row in found if row.indicator == SUM] or found
        ends = (min(row.estimate for row in whole), max(row.estimate for row in whole))
        span = " to ".join(dict.fromkeys(numbers.percent(end) for end in ends))
        if len(whole) == 1 and numbers.known(whole[0].ci_low):
            span += f" ({data.level} CI {common.interval_text(whole[0], data.decimals)})"
        elif len(whole) > 1:
            span += " (by the instruments compared)"
        what = "the scales measure" if whole[0].indicator != SUM else "the sum of the scales measures"
        span += common.more_withheld(common.select(every, rater=rater, indicator=whole[0].indicator))
        sentences.append(
            f"{common.words(rater)}: of what {what} without error, {span} is shared with the {whole[0].reference}’s view of the alliance; "
            f"the rest is the {rater}’s own view."
        )
    for row in common.tuples(with_number(common.select(rows, estimate_type="factor_correlation"))):
        views = row.rater.replace(" ~~ ", " and ")
        sentences.append(f"The own views of {views} ({instruments_words(row)}) correlate {value(data, row)}.")
    return sentences


def _key(row: Any) -> tuple[str, str, str, str]:
    return (row.instruments, row.window, row.rater, row.indicator)


def component_rows(data: ReportData) -> pd.DataFrame:
    """Return the pooled rows on the composite."""
    return common.pooled_rows(common.table_of(data, QUESTION, "components"))


def component_name(row: Any) -> str:
    """Return what a loading is of."""
    if row.variable in SUMMARY_VARIABLES:
        return f"{SUMMARY_VARIABLES[row.variable]} of {'the conditions' if row.group == 'condition' else 'the alliance scales'}"
    return indicator_words(row.variable) if row.variable else "all scores"


def composite(data: ReportData) -> Blocks:
    """Return how strongly conditions and alliance scales go with their first principal component."""
    rows = component_rows(data)
    loadings = with_number(common.select(rows, estimate_type="component_loading"))
    single = loadings[~loadings["variable"].isin(SUMMARY_VARIABLES)]
    if single.empty:
        return []
    drawn, told = [], []
    for (_, window, rater, group), own in common.rows_by(single, ("set", "window", "rater", "group")):
        title = {"condition": "Conditions that the therapist offers", "alliance": "Scales of the alliance"}.get(
            group, group.replace("_", " ")
        )
        drawn.append(ForestRow(f"{title}, {rater}, {window.replace('_', ' ')}", kind="heading"))
        drawn += [common.pooled_forest_row(row, component_name(row), kind="estimate") for row in common.tuples(own)]
        ends = [numbers.bounded(one, data.decimals) for one in (own["estimate"].min(), own["estimate"].max())]
        told.append(
            f"{title.lower()}, {rater}, {window.replace('_', ' ')}: {' to '.join(dict.fromkeys(ends))}{_review(data, loadings, group)}"
        )
    sentences = [f"Loadings on the first component: {'; '.join(told)}."]
    for row in common.tuples(with_number(common.select(rows, estimate_type="component_share"))):
        sentences.append(
            f"The first component takes {numbers.percent(row.estimate)} of the variance of all scores ({row.rater}, "
            f"{row.window.replace('_', ' ')}), {data.level} CI {common.interval_text(row, data.decimals)}. {common.caution(row)}".strip()
        )
    cells = tuple(
        (Cell(component_name(row)), Cell(row.group), Cell(row.rater), Cell(row.window.replace("_", " ")), *common.estimate_cells(data, row))
        for row in common.tuples(rows)
    )
    columns = (Column("Score"), Column("Group"), Column("Rater"), Column("Window"), *common.estimate_columns(data, "Estimate"))
    arguments = {"axis": "Loading on the first component", "decimals": data.decimals}
    return [
        Part("measurement-composite", "Are the therapist’s conditions and the alliance one thing?", tuple(sentences)),
        Figure(
            id="composite-loadings",
            title="Loadings on the first principal component of conditions and alliance, pooled over sites",
            alt=f"Dot plot of loadings. {sentences[0]}",
            svg=figures.forest(drawn, **arguments),
            narrow=figures.forest(drawn, **arguments, narrow=True),
            note="Correlation of each score with the component. One person rated them all, so a common mood raises every loading; high "
            "loadings do not show that conditions and alliance are the same.",
            data=Table("composite-data", "Loadings on the first component, pooled over sites", columns, cells),
        ),
    ]


def _review(data: ReportData, loadings: pd.DataFrame, group: str) -> str:
    ends = common.select(loadings[loadings["variable"].isin(SUMMARY_VARIABLES)], group=group)
    known = sorted(float(one) for one in ends["published"].dropna().unique())
    return f" (the review: {' to '.join(numbers.bounded(one, data.decimals) for one in known)})" if known else ""


def named_rows(data: ReportData) -> list[tuple[Any, str]]:
    """Return the pooled rows that these parts show, with their names."""
    kept = structure_rows(data)
    kept = kept[kept["estimate_type"].isin(("fit_index", *BIFACTOR_TYPES))]
    named = [(row, f"{subject(row.instrument, row.rater, row.derived_from)}, {model_words(row.model)}") for row in common.tuples(kept)]
    named += [(row, invariance_name(row)) for row in common.tuples(invariance_rows(data))]
    named += [(row, f"Raters’ shares, {method_name(row)}") for row in common.tuples(method_rows(data))]
    return named + [(row, f"First component, {component_name(row)}") for row in common.tuples(component_rows(data))]


def benchmark_name(data: ReportData, row: Any) -> str:
    """Return what a published figure on the composite is about."""
    return f"Loading on the first component, {component_name(row)}, {row.rater}, {row.window.replace('_', ' ')}"
