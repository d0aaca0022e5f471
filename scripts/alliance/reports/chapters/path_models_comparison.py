"""Parts of the chapter on path models: competing models, paths that differ between sites, and what an unmeasured cause could undo."""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance.questions.contract import WITH_NUMBERS
from alliance.reports import numbers
from alliance.reports.chapters import common
from alliance.reports.chapters.path_models_rows import (
    CLIENT,
    Blocks,
    comparison_label,
    comparisons,
    definitions,
    effect_name,
    estimate_with_interval,
    in_group,
    label,
    models,
    p_words,
    parameter_words,
    preferred,
    rows_of,
    section,
    short,
    small,
    term,
    variable,
    with_number,
)
from alliance.reports.elements import Cell, Column, Part, Table, listed, number_cell, slug
from alliance.reports.inputs import ReportData

DIRECTION = (
    "What this can say: which of the models written down beforehand reproduces the correlations best, given its number of parameters. "
    "What it can’t say: in which direction things act. Clients were not assigned to levels of empathy or of the alliance, so another "
    "variable can stand behind all of them; models that turn arrows around can fit every data set equally well, and weights say nothing "
    "between them; a model that nobody wrote down may be better than all; sites differ in ways that no model here holds constant; and of "
    "what one person rated in the same session no order in time is known."
)
# Differences of AIC below 2 hardly tell models apart (Burnham & Anderson, 2002).
CLOSE_AIC = 2.0
MOST_DIFFERENCES = 12
ALL_PATHS = "all paths"
OVERLAP = "order in time is not strict"


def by_model(data: ReportData, comparison: str) -> dict[str, dict[str, Any]]:
    """Return the pooled values of every model of a comparison, by index."""
    rows = common.pooled_rows(rows_of(data, "comparison", comparison=comparison, against=""))
    found: dict[str, dict[str, Any]] = {name: {} for name in comparisons(data).get(comparison, {}).get("models", ())}
    for row in common.tuples(rows.rename(columns={"index": "name"})):
        key = "akaike_weight" if row.estimate_type == "akaike_weight" else row.name
        found.setdefault(row.model, {})[key] = row
    return found


def differences(data: ReportData, comparison: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the pooled tests of nested models, by the more restricted model and the one it is nested in."""
    rows = common.pooled_rows(rows_of(data, "comparison", comparison=comparison, estimate_type="chi2_difference"))
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in common.tuples(rows.rename(columns={"index": "name"})):
        found.setdefault((row.model, row.against), {})[row.name] = row
    return found


def equivalent_groups(data: ReportData, comparison: str) -> list[list[str]]:
    """Return the models of a comparison that fit every data set equally well, as the rows of their weights say."""
    names = list(by_model(data, comparison))
    groups: list[list[str]] = []
    for name, found in by_model(data, comparison).items():
        row = found.get("akaike_weight")
        if row is None or common.has_number(row) or "every data set as well as" not in row.reason:
            continue
        told = row.reason.split("every data set as well as", 1)[1].split(":")[0]
        group = [one for one in names if one == name or one in {part.strip() for part in told.split(",")}]
        if len(group) > 1 and group not in groups:
            groups.append(group)
    return groups


def sentences(data: ReportData, comparison: str) -> list[str]:
    """Return what a comparison says: the lowest AIC and its distance, nested differences, equivalent models."""
    found = by_model(data, comparison)
    aic = {name: own["aic"].estimate for name, own in found.items() if "aic" in own and common.has_number(own["aic"])}
    told = []
    same = equivalent_groups(data, comparison)
    if len(aic) > 1:
        told.append(_lowest(data, found, aic, same))
    for (small_model, large), tests in differences(data, comparison).items():
        if all(name in tests and common.has_number(tests[name]) for name in ("chi2", "df", "p_value")):
            told.append(_nested(data, small_model, large, tests))
    for group in same:
        verb = "give" if len(group) > 1 else "gives"
        told.append(
            f"{listed([f'“{label(data, name)}”' for name in group])} fit every data set equally well, whatever the truth is; they get no "
            f"weights, and no data of this kind {verb} one of them an edge."
        )
    return told


def weight_words(weight: float) -> str:
    """Return an Akaike weight; no model has all of it or none."""
    return "< .01" if weight < 0.01 else "> .99" if weight > 0.99 else numbers.bounded(weight, 2)


def _lowest(data: ReportData, found: dict[str, dict[str, Any]], aic: dict[str, float], same: list[list[str]]) -> str:
    first = min(aic, key=lambda name: (aic[name], name))
    twins = next((group for group in same if first in group), [first])
    others = {name: value for name, value in aic.items() if name not in twins}
    row = found[first]["aic"]
    who = listed([f"“{label(data, name)}”" for name in twins])
    told = f"{who} {'has' if len(twins) == 1 else 'have'} the lowest AIC, {numbers.decimal(aic[first], data.decimals)}"
    weight = found[first].get("akaike_weight")
    if weight is not None and common.has_number(weight):
        told += f" (Akaike weight {weight_words(weight.estimate)})"
    if others:
        second = min(others, key=lambda name: (others[name], name))
        told += f"; next comes “{label(data, second)}” with {numbers.decimal(others[second], data.decimals)}"
        if others[second] - aic[first] < CLOSE_AIC:
            told += ", so near that the data hardly tell them apart"
    return f"{told} ({common.plural(row.n_clients, 'client')} at {common.plural(row.n_sites, 'site')})."


def _nested(data: ReportData, small_model: str, large: str, tests: dict[str, Any]) -> str:
    space = numbers.SPACE
    shown = (
        f"Δχ²({numbers.count(tests['df'].estimate)}){space}={space}{numbers.decimal(tests['chi2'].estimate)}, "
        f"{p_words(tests['p_value'].estimate)}"
    )
    if small(tests["p_value"].estimate):
        meaning = "what the first leaves out of the second is missed"
    else:
        meaning = "the data give no reason to prefer the larger model, which is not proof of the smaller one"
    return f"“{label(data, small_model)}” against “{label(data, large)}”: {shown}; {meaning}."


def first_comes(data: ReportData) -> str:
    """Return what the comparison of orders says, for the head of the chapter; empty where it was not made."""
    name = "what_comes_first" if "what_comes_first" in comparisons(data) else next(iter(comparisons(data)), "")
    told = sentences(data, name) if name else []
    return f"{comparison_label(data, name)} {told[0]}" if told else ""


def comparison(data: ReportData) -> Blocks:
    """Return the comparisons of models: what each says, its table, and what none can say about direction."""
    made = [name for name in comparisons(data) if by_model(data, name)]
    if not made:
        return []
    blocks: Blocks = [Part("path-models-comparison", "Which model fits better?", (DIRECTION,))]
    for name in made:
        told = sentences(data, name)
        blocks.append(Part(f"comparison-{slug(name)}", comparison_label(data, name), tuple(told)))
        blocks.append(comparison_table(data, name))
    return blocks


def comparison_table(data: ReportData, name: str) -> Table:
    """Return the models of a comparison with fit, criteria and weights, nested differences below, over sites."""
    found = by_model(data, name)
    aic = {model: own["aic"].estimate for model, own in found.items() if "aic" in own and common.has_number(own["aic"])}
    lowest = min(aic.values(), default=0.0)
    cells, emphasised = [], set()

    def number(row: Any, decimals: int = 2) -> Cell:
        known = row is not None and common.has_number(row)
        return number_cell(numbers.decimal(row.estimate, decimals), row.estimate) if known else Cell(numbers.UNKNOWN, "")

    def probability(row: Any) -> Cell:
        known = row is not None and common.has_number(row)
        return number_cell(numbers.p_value(row.estimate).removeprefix("= "), row.estimate) if known else Cell(numbers.UNKNOWN, "")

    for model, own in found.items():
        if model in aic and aic[model] == lowest:
            emphasised.add(len(cells))
        weight = own.get("akaike_weight")
        rows = [row for row in own.values() if row.status == "flagged" or (row is not weight and not common.has_number(row))]
        remarks = dict.fromkeys(common.remark(row) for row in rows)
        if weight is not None and not common.has_number(weight) and "every data set as well as" in weight.reason:
            remarks["No weight: equivalent to another model"] = None
        any_row = next(iter(own.values()), None)
        cells.append(
            (
                Cell(label(data, model)),
                number(own.get("chi2")),
                number(own.get("df"), 0),
                Cell(numbers.UNKNOWN, ""),
                number(own.get("aic")),
                number_cell(numbers.decimal(aic[model] - lowest), aic[model] - lowest) if model in aic else Cell(numbers.UNKNOWN, ""),
                number(own.get("bic")),
                number_cell(weight_words(weight.estimate), weight.estimate)
                if weight is not None and common.has_number(weight)
                else Cell(numbers.UNKNOWN, ""),
                common.count_cell(any_row.n_clients if any_row is not None else None),
                common.count_cell(any_row.n_sites if any_row is not None else None),
                Cell("; ".join(remarks)),
            )
        )
    for (small_model, large), tests in differences(data, name).items():
        any_row = next(iter(tests.values()))
        cells.append(
            (
                Cell(f"Difference: {label(data, small_model)}, nested in {label(data, large)}"),
                number(tests.get("chi2")),
                number(tests.get("df"), 0),
                probability(tests.get("p_value")),
                *(Cell(numbers.UNKNOWN, ""),) * 4,
                common.count_cell(any_row.n_clients),
                common.count_cell(any_row.n_sites),
                Cell(common.remark(any_row)),
            )
        )
    return Table(
        f"comparison-{slug(name)}-table",
        f"{comparison_label(data, name)} Models of the same clients and variables, over sites",
        (
            *(Column("Model", wide=True), Column("χ²", True), Column("df", True), Column("p of the difference", True, optional=True)),
            *(Column("AIC", True), Column("ΔAIC", True), Column("BIC", True), Column("Akaike weight", True, optional=True)),
            *(Column("Clients", True), Column("Sites", True), Column("Remark", wide=True, optional=True)),
        ),
        tuple(cells),
        note="Marked: the lowest AIC. The same of every site stands in the files of results.",
        empty="No model of this comparison could be fitted.",
        emphasised=frozenset(emphasised),
    )


def equal_paths(data: ReportData, model: str) -> dict[str, dict[str, Any]]:
    """Return the tests that a model's paths are equal at all sites, by path (``ALL_PATHS``: all at once) and chi2, df, p_value, ..."""
    rows = common.pooled_rows(rows_of(data, "diagnostics", model=model, estimate_type="equality_test"))
    found: dict[str, dict[str, Any]] = {}
    for row in common.tuples(with_number(rows).rename(columns={"index": "name"})):
        found.setdefault(row.parameter, {})[row.name.removeprefix("equal_paths_")] = row
    return found


def differing_paths(data: ReportData, model: str, tests: dict[str, dict[str, Any]]) -> list[str]:
    """Return the paths of a model that differ between sites, their number allowed for."""
    return [
        parameter_words(data, model, path)
        for path, found in tests.items()
        if path != ALL_PATHS and "p_value_holm" in found and small(found["p_value_holm"].estimate)
    ]


def sites(data: ReportData) -> Blocks:
    """Return whether paths differ between sites: a test for each model, and the paths of single sites that stand out."""
    rows = rows_of(data, "site_paths")
    tests = {name: equal_paths(data, name) for name in models(data)}
    tests = {name: found for name, found in tests.items() if "p_value" in found.get(ALL_PATHS, {})}
    known = with_number(common.select(rows, estimate_type="path_difference"))
    if known.empty and not tests:
        reasons = list(dict.fromkeys(common.remark(row) for row in common.tuples(rows) if common.remark(row)))
        return [Part("path-models-sites", "Do paths differ between sites?", (f"Not estimable: {reasons[0]}.",))] if reasons else []
    told = [_tests_told(data, tests)] if tests else []
    striking = _striking(rows)
    if len(known):
        told.append(_striking_told(data, known, striking, common.more_withheld(common.select(rows, estimate_type="path_difference"))))
    blocks: Blocks = [Part("path-models-sites", "Do paths differ between sites?", tuple(told))]
    if tests:
        blocks.append(_tests_table(data, tests))
    if len(known):
        blocks.append(_differences_table(data, known, striking))
    return blocks


def _tests_told(data: ReportData, tests: dict[str, dict[str, dict[str, Any]]]) -> str:
    differing = [name for name, found in tests.items() if small(found[ALL_PATHS]["p_value"].estimate)]
    if not differing:
        return (
            "In no model does the test of equal paths find differences between sites. With few sites of few clients this test misses all "
            "but large differences."
        )
    named = []
    for name in differing:
        own = differing_paths(data, name, tests[name])
        shown = f"{p_words(tests[name][ALL_PATHS]['p_value'].estimate)}"
        named.append(f"“{label(data, name)}” ({shown}{f'; above all {listed(own)}' if own else ''})")
    return f"Paths differ between sites in {'; '.join(named)}."


def _tests_table(data: ReportData, tests: dict[str, dict[str, dict[str, Any]]]) -> Table:
    cells = []
    for name, found in tests.items():
        known = found[ALL_PATHS]
        p = known["p_value"]
        cells.append(
            (
                Cell(label(data, name)),
                number_cell(numbers.decimal(known["chi2"].estimate), known["chi2"].estimate)
                if "chi2" in known
                else Cell(numbers.UNKNOWN, ""),
                common.count_cell(known["df"].estimate) if "df" in known else Cell(numbers.UNKNOWN, ""),
                number_cell(numbers.p_value(p.estimate).removeprefix("= "), p.estimate),
                Cell("; ".join(differing_paths(data, name, found))),
                common.count_cell(p.n_sites),
                common.count_cell(p.n_clients),
                Cell(common.remark(p)),
            )
        )
    columns = (
        *(Column("Model"), Column("χ²", True), Column("df", True), Column("p", True), Column("Paths that differ (Holm)", optional=True)),
        *(Column("Sites", True), Column("Clients", True), Column("Remark", wide=True, optional=True)),
    )
    return Table("equal-paths", "Are all paths equal at all sites?", columns, tuple(cells), folded=len(cells) > 4)


def _striking(rows: pd.DataFrame) -> dict[tuple[str, str, str], float]:
    """Return the p values, corrected for their number, of paths of single sites."""
    chosen = with_number(common.select(rows, index="p_value_holm"))
    return {(row.model, row.parameter, row.site): row.estimate for row in common.tuples(chosen)}


def _striking_told(data: ReportData, known: pd.DataFrame, holm: dict[tuple[str, str, str], float], hidden: str) -> str:
    found = [row for row in common.tuples(known) if small(holm.get((row.model, row.parameter, row.site)))]
    if not found:
        which = "No single site’s path that is shown" if hidden else "No single site’s path"
        return f"{which} differs from that of all other sites, the paths and sites of each model allowed for (Holm){hidden}."
    named = [
        f"{data.labels.get(row.site, row.site)}, {parameter_words(data, row.model, row.parameter)} ({short(data, row, 'difference')})"
        for row in found[: common.NAMED_SUBJECTS]
    ]
    more = "; and more in the table below" if len(found) > len(named) else ""
    return (
        "Single sites whose path differs from that of all other sites, the paths and sites of each model allowed for, not the number of "
        f"models (Holm): {'; '.join(named)}{more}. Where all sites were alike, simulated sites of fifty clients and nine therapists gave "
        "such a finding in one model of seven.{hidden}"
    )


def _differences_table(data: ReportData, known: pd.DataFrame, holm: dict[tuple[str, str, str], float]) -> Table:
    def rank(row: Any) -> tuple[float, float]:
        p = holm.get((row.model, row.parameter, row.site), 1.0)
        return (p if numbers.known(p) else 1.0, -abs(row.estimate))

    shown = sorted(common.tuples(known), key=rank)[:MOST_DIFFERENCES]
    cells = []
    for row in shown:
        p = holm.get((row.model, row.parameter, row.site))
        p_cell = number_cell(numbers.p_value(p).removeprefix("= "), p) if numbers.known(p) else Cell(numbers.UNKNOWN, "")
        cells.append(
            (
                Cell(data.labels.get(row.site, row.site)),
                Cell(parameter_words(data, row.model, row.parameter)),
                Cell(label(data, row.model)),
                *estimate_with_interval(data, row),
                p_cell,
                common.count_cell(row.n_clients),
                Cell(common.remark(row)),
            )
        )
    few = f"The {numbers.count(len(shown))} most striking" if len(known) > len(shown) else "All"
    return Table(
        "site-paths",
        f"{few} differences between a site’s path and that of all other sites",
        (
            *(Column("Site"), Column("Path"), Column("Model"), Column("Difference", True), Column(f"{data.level} CI", True)),
            *(Column("p, corrected", True, optional=True), Column("Clients", True), Column("Remark", wide=True, optional=True)),
        ),
        tuple(cells),
        note="A site may differ because of its clients, raters or instruments, or by chance. All differences stand in the results’ files.",
        folded=True,
    )


def sensitivity(data: ReportData) -> Blocks:
    """Return how strong an unmeasured cause would undo each indirect effect, and which effects lack an order in time."""
    rows = common.pooled_rows(rows_of(data, "indirect", level=CLIENT))
    rows = with_number(rows[rows["estimate_type"].isin(list(SENSITIVITY))])
    found = []
    for model in models(data):
        for (effect, definition, _), own in common.rows_by(common.select(rows, model=model), ("effect", "definition", "group")):
            found.append((model, effect, definition, {row.estimate_type: row for row in common.tuples(own)}))
    told = [_sensitivity_told(data, *found[0])] if found else []
    blocks: Blocks = []
    if told or concurrent(data):
        lead = (
            "An indirect effect is only as good as the assumption that nothing unmeasured moves both the link in the middle and the "
            "outcome: hope, insight, an easy problem, a good week. How strong would such a thing have to be to explain the effect away?"
        )
        blocks.append(Part("path-models-sensitivity", "What could undo the indirect effect?", (lead, *told, *order_sentences(data))))
    if found:
        blocks.append(_sensitivity_table(data, found))
    return blocks


SENSITIVITY = {
    "confounder_correlation": "ρ at zero",
    "confounder_correlation_limit": "ρ where the interval reaches zero",
    "e_value": "E-value",
    "e_value_limit": "E-value of the limit",
}
LITTLE, MUCH = 0.2, 0.5


def _sensitivity_told(data: ReportData, model: str, effect: str, definition: str, known: dict[str, Any]) -> str:
    parts = []
    rho, e_value = known.get("confounder_correlation"), known.get("e_value")
    if rho is not None:
        told = (
            f"the effect would be zero if what else moves the link in the middle and the outcome correlated at "
            f"ρ{numbers.SPACE}={numbers.SPACE}{common.estimate_text(rho, data.decimals)}"
        )
        size = abs(rho.estimate)
        told += ", which is little" if size < LITTLE else ", which is much" if size > MUCH else ""
        limit = known.get("confounder_correlation_limit")
        parts.append(
            told + (f"; its interval would reach zero at {common.estimate_text(limit, data.decimals)}" if limit is not None else "")
        )
    if e_value is not None:
        limit = known.get("e_value_limit")
        beside = f" ({common.estimate_text(limit, data.decimals)} for the end of the interval next to zero)" if limit is not None else ""
        parts.append(
            f"the E-value is {common.estimate_text(e_value, data.decimals)}{beside}: a confounder would need a risk ratio of at least that "
            "much with both of them, beyond what is held constant; a weaker one could not do it"
        )
    link = parameter_chain(data, model, definition)
    return f"“{label(data, model)}”, {effect_name(effect).lower()}{f', by its path {link}' if link else ''}: {'; '.join(parts)}."


def parameter_chain(data: ReportData, model: str, definition: str) -> str:
    """Return a chain of variables as the table writes it (``alliance -> outcome``) in words."""
    return " → ".join(variable(data, model, name) for name in definition.split(" -> ")) if definition else ""


def _sensitivity_table(data: ReportData, found: list[tuple[str, str, str, dict[str, Any]]]) -> Table:
    cells = []
    for model, effect, definition, known in found:
        first = next(iter(known.values()))
        cells.append(
            (
                Cell(label(data, model)),
                Cell(in_group(parameter_chain(data, model, definition) or effect_name(effect), first.group)),
                *(estimate_with_interval(data, known.get(kind))[0] for kind in SENSITIVITY),
                common.count_cell(first.n_clients),
                common.count_cell(first.n_sites),
                Cell("; ".join(dict.fromkeys(common.remark(row) for row in known.values() if common.remark(row)))),
            )
        )
    return Table(
        "sensitivity",
        "How strong an unmeasured cause would undo each indirect effect, over sites",
        (
            *(Column("Model"), Column("Path that would be undone")),
            *(Column(words, True, optional=True) for words in SENSITIVITY.values()),
            *(Column("Clients", True), Column("Sites", True), Column("Remark", wide=True, optional=True)),
        ),
        tuple(cells),
        note="ρ: correlation of what the model leaves unexplained of the link in the middle and of the outcome at which the indirect "
        "effect is zero. E-value: risk ratio with both that a confounder would need. Neither number tells whether such a cause exists.",
    )


def concurrent(data: ReportData) -> dict[str, list[str]]:
    """Return, by model, its paths between two things that were measured in the same sessions, from the configuration."""
    outcomes = ("outcome", "intake", "residual_gain", "change")
    found: dict[str, list[str]] = {}
    for model in models(data):
        parameters = rows_of(data, "parameters", model=model)
        terms = parameters[["lhs", "op", "rhs"]].drop_duplicates()
        indicators: dict[str, list[str]] = {}
        for row in common.tuples(terms[terms["op"].eq("=~")]):
            indicators.setdefault(row.lhs, []).append(row.rhs)
        known = definitions(data, model)

        def windows(name: str, indicators: dict[str, list[str]] = indicators, known: Any = known) -> set[str]:
            made = [known.get(one, {}) for one in indicators.get(name, [name])]
            return {str(one.get("window") or f"({one.get('construct')})") for one in made if one.get("construct") not in outcomes}

        for row in common.tuples(terms[terms["op"].eq("~")]):
            if windows(row.lhs) & windows(row.rhs):
                found.setdefault(model, []).append(f"{variable(data, model, row.rhs)} → {variable(data, model, row.lhs)}")
    return found


def order_sentences(data: ReportData) -> list[str]:
    """Return which paths rest on ratings of the same sessions, or of sessions that were not strictly one after the other."""
    told = []
    same = concurrent(data)
    if same:
        named = "; ".join(f"“{label(data, model)}”: {listed(paths)}" for model, paths in same.items())
        told.append(
            f"Measured at once, so without an order in time (concurrent mediation): {named}. Such an effect is a pattern of correlations."
        )
    rows = common.pooled_rows(rows_of(data, "parameters", op="~"))
    loose = rows[rows["status"].isin(WITH_NUMBERS) & rows["reason"].str.contains(OVERLAP)]
    if len(loose):
        shown = preferred(loose, ("model", "lhs", "rhs", "group"))
        terms = dict.fromkeys(f"{term(data, row)} (“{label(data, row.model)}”)" for row in common.tuples(shown))
        named = list(terms)[: common.NAMED_SUBJECTS]
        more = len(terms) - len(named)
        told.append(
            f"Order in time is not strict at some sites, by dates or session numbers: {'; '.join(named)}"
            f"{f'; and {numbers.count(more)} more' if more > 0 else ''}. These paths and the effects made of them are flagged."
        )
    elif not rows.empty and not same:
        told.append("Every path between ratings goes from an earlier session to a later one, by dates or session numbers.")
    if section(data).get("models"):
        told.append("Clients whose alliance or empathy was rated after the outcome were left out of the models.")
    return told
