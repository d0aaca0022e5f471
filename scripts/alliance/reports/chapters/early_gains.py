"""Is the alliance an artifact of early gains? Three hypotheses, what is left of the alliance, sudden gains, categories of change."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from alliance.questions.contract import SLOPE_PER_SESSION, WITHHELD
from alliance.reports import numbers
from alliance.reports.chapters import common, published
from alliance.reports.elements import Cell, Chapter, Column, Part, Table, Verdict, listed, number_cell
from alliance.reports.inputs import ReportData

QUESTION = "early_gains"
BEYOND_GAINS = "intake and early symptoms"
HELD = {"intake": "intake level", BEYOND_GAINS: "intake level and early symptoms"}
ITEMS = {"as_scored": "all items", "without_improvement": "without items on improvement"}
KINDS = ("partial_correlation", "share_of_rest", "semipartial_correlation", "r_squared_change")
SAYS = {
    "supports": "speaks for it",
    "contradicts": "speaks against it",
    "undecided": "leaves it undecided",
    "not estimable": common.NOT_ESTIMABLE,
    "": "part of the test",
}
GASTON = "36% to 57%"
SUDDEN = {
    ("gain", "clients with one"): "Clients with a sudden gain",
    ("gain", "clients with several"): "Clients with several sudden gains",
    ("gain", "reversed"): "Sudden gains that were reversed",
    ("loss", "clients with one"): "Clients with a sudden loss",
    ("gain", "mean size"): "Mean size of a sudden gain (points)",
    ("gain", "alliance before"): "Alliance in the session before (SD)",
    ("gain", "alliance at"): "Alliance in the session of the gain (SD)",
    ("gain", "alliance after"): "Alliance in the session after (SD)",
    ("gain", "alliance change"): "Change of the alliance from before to after (SD)",
}
DENOMINATORS = {
    "treated": "All treated",
    "measured": "Measured at both times",
    "beyond_cutoff": "Beyond the cut-off at intake",
    "beyond_cutoff_measured": "Beyond the cut-off and measured",
}
CATEGORIES = ("recovered", "improved", "unchanged", "deteriorated", "not_measured")
LIMITS = (
    "Early symptoms were held constant, not changed: what is left of the alliance may still go back to something that was not measured.",
    "Holding early symptoms constant removes too much where the alliance itself brought the early gain, and too little where symptoms were "
    "measured with error.",
    "An interval that holds zero does not show that nothing is left of the alliance.",
    "An alliance that was measured inside the window of early gain cannot be put before or after it; such rows are flagged.",
    "Alliance and symptoms rated by the same person share that person’s way of answering.",
    "Clients with sudden gains are few; what happens to the alliance around them is described, not explained.",
)


def build(data: ReportData) -> Chapter:
    """Return the chapter on early gains."""
    tables = common.tables_of(data, QUESTION)
    tests = decisive(tables["hypotheses"])
    conclusion = verdict_sentence(data, tests)
    return Chapter(
        id="early-gains",
        title="Is the alliance an artifact of early gains?",
        question="Do clients rate the alliance well because they are already better, and is that all there is to it?",
        sources=(QUESTION,),
        headlines=(conclusion,) if any(common.has_number(row) for row in tests) else (),
        findings=findings(data, tables),
        blocks=(
            verdict(data, tables, tests, conclusion),
            hypothesis_table(data, tables["hypotheses"]),
            partial_table(data, tables["partial"]),
            *published.tables(data, QUESTION, lambda table, row: benchmark_name(data, table, row)),
            Part("sudden-gains", "Sudden gains", sudden_sentences(data, tables["sudden_gains"])),
            sudden_table(data, tables["sudden_gains"]),
            Part("change-categories", "How many clients changed", change_sentences(data, tables["change_categories"])),
            change_table(data, tables["change_categories"]),
        ),
        limits=LIMITS,
        missing=missing(data, tables),
    )


def main_window(data: ReportData) -> str:
    """Return the window of the alliance that the question is about."""
    return data.options["questions"][QUESTION]["windows"][0]


def decisive(hypotheses: pd.DataFrame) -> list[Any]:
    """Return the pooled rows that decide on a hypothesis, in the order of the hypotheses."""
    pooled = common.pooled_rows(hypotheses)
    return list(common.tuples(pooled[pooled["decision"] != ""].sort_values("hypothesis", kind="stable")))


def test_name(row: Any) -> str:
    """Return what is tested, in words."""
    name = row.statistic.replace("_", " ")
    return f"{name}, {row.group.replace(' - ', ' minus ')}" if row.group else name


def decimals(data: ReportData, row: Any) -> int:
    """Return the decimals of an estimate: one more for slopes per session, which are small."""
    return data.decimals + (1 if getattr(row, "statistic", "") == SLOPE_PER_SESSION else 0)


def value(data: ReportData, row: Any) -> str:
    """Return an estimate with its interval as printed."""
    shown = decimals(data, row)
    return f"{common.estimate_text(row, shown)}, {data.level} CI {common.interval_text(row, shown)}"


def needs(row: Any) -> str:
    """Return what an estimate that is missing needs."""
    return row.reason.removeprefix(f"{common.NOT_ESTIMABLE}: ")


def test_sentence(data: ReportData, statement: str, rows: list[Any]) -> str:
    """Return a hypothesis with what each of its tests says."""
    told = [f"{test_name(row)} ({value(data, row)}) {SAYS[row.decision]}" for row in rows if common.has_number(row)]
    told += [f"{test_name(row)} not estimable, {needs(row)}" for row in rows if not common.has_number(row)]
    return f"({rows[0].hypothesis}) {statement[:1].upper()}{statement[1:]}. Tests: {'; '.join(told)}."


def verdict(data: ReportData, tables: dict[str, pd.DataFrame], tests: list[Any], conclusion: str) -> Verdict:
    """Return the box: three hypotheses, what each test says, and one plain sentence."""
    by_hypothesis: dict[str, list[Any]] = {}
    for row in tests:
        by_hypothesis.setdefault(row.hypothesis, []).append(row)
    return Verdict(
        id="artifact",
        title="The alliance as an artifact of early gains: three hypotheses",
        tests=tuple(test_sentence(data, rows[0].statement, rows) for rows in by_hypothesis.values()),
        conclusion=conclusion,
        cautions=cautions(data, tables, tests),
    )


def verdict_sentence(data: ReportData, tests: list[Any]) -> str:
    """Return whether early gains explain the alliance away, in one plain sentence that follows from the decisions.

    What is left of the alliance beyond early symptoms decides (hypothesis c); growth and timing (a, b) can only qualify it.
    """
    last = next((row for row in tests if row.hypothesis == "c"), None)
    if last is not None and last.status == WITHHELD:
        return "Whether early gains explain the alliance away is not told here: the number is withheld."
    if last is None or not common.has_number(last) or last.decision == "not estimable":
        reason = (
            needs(last) if last is not None and last.reason else "needs the alliance, early symptoms and the outcome of the same clients"
        )
        return f"Whether early gains explain the alliance away cannot be told from these data: {reason.rstrip('.')}."
    given = f"with intake level and early symptoms held constant, it goes with the outcome by partial r = {value(data, last)}"
    if last.decision == "contradicts":
        told = f"In these data the alliance is not explained away by early gains: {given}"
    elif last.decision == "supports":
        told = f"In these data early gains explain the alliance away: {given}"
    elif numbers.known(last.ci_high) and last.ci_high < 0:
        told = f"In these data a better alliance does not foretell a better outcome beyond early gains: {given}"
    else:
        told = (
            f"In these data it stays undecided whether early gains explain the alliance away: {given}; the interval holds zero, which is "
            "no proof that nothing is left"
        )
    if last.status == "flagged":
        told += "; read with care, for the reason that the chapter gives"
    others = [row for row in tests if row.hypothesis != "c"]
    supported = sorted({row.hypothesis for row in others if row.decision == "supports"})
    if supported and last.decision != "supports":
        told += f"; yet hypothesis {' and '.join(f'({name})' for name in supported)} finds support, so part of it may follow progress"
    elif last.decision == "supports" and any(row.decision == "contradicts" for row in others):
        told += "; yet not all tests agree"
    return f"{told}."


def cautions(data: ReportData, tables: dict[str, pd.DataFrame], tests: list[Any]) -> tuple[str, ...]:
    """Return what weakens the conclusion: flagged rows, and what another window of the alliance says."""
    told = [f"({row.hypothesis}) {common.caution(row)}" for row in tests if row.hypothesis != "c" and common.caution(row)]
    told = list(dict.fromkeys(told))
    for row in partial_rows(tables["partial"], "partial_correlation"):
        if row.covariates != BEYOND_GAINS or row.items != "as_scored" or not common.has_number(row):
            continue
        if row.window == main_window(data):
            told += [f"(c) {text}" for text in [caution(tables["partial"], row)] if text]
        else:
            flagged = flag_reason(tables["partial"], row)
            told.append(
                f"With the alliance of window “{row.window.replace('_', ' ')}” the partial r is {value(data, row)}"
                f"{f'; read with care: {flagged}' if flagged else ''}."
            )
    return tuple(told)


def flag_reason(partial: pd.DataFrame, row: Any) -> str:
    """Return why the estimates of the sites behind a pooled row are flagged; empty where none is."""
    if row.status != "flagged":
        return ""
    keys = {name: getattr(row, name) for name in ("window", "items", "covariates", "estimate_type")}
    sites = common.site_rows(partial, **keys)
    flagged = sites.loc[sites["status"] == "flagged", "reason"]
    reasons = list(dict.fromkeys(re.sub(r" for (?:\d+ of \d+|some) clients", "", reason) for reason in flagged))
    return common.brief(reasons[0], common.REMARK_CHARACTERS) if len(reasons) == 1 else row.reason


def findings(data: ReportData, tables: dict[str, pd.DataFrame]) -> tuple[str, ...]:
    """Return what the alliance adds to intake level and early symptoms, how sure that is, and how much sites differ."""
    window = main_window(data)
    found = {
        kind: {row.covariates: row for row in partial_rows(tables["partial"], kind) if row.window == window and row.items == "as_scored"}
        for kind in KINDS
    }
    sentences = []
    for covariates, held in HELD.items():
        row = found["partial_correlation"].get(covariates)
        if row is None or not common.has_number(row):
            continue
        text = (
            f"Given {held}, the alliance ({window.replace('_', ' ')}) goes with the outcome by "
            f"{common.sentence_estimate(data, row, 'partial r')}; {common.sureness(row)}."
        )
        rest, whole = (found[kind].get(covariates) for kind in ("share_of_rest", "r_squared_change"))
        if rest is not None and whole is not None and common.has_number(rest) and common.has_number(whole):
            text += (
                f" That is {common.estimate_text(rest, 0)} of what {held} {'leaves' if covariates == 'intake' else 'leave'} of the "
                f"variance ({data.level} CI {common.interval_text(rest, 0)}), and {common.estimate_text(whole, 0)} of all variance."
            )
        sentences.append(" ".join(part for part in (text, common.spread_sentence(data, row), caution(tables["partial"], row)) if part))
    return tuple(sentences)


def caution(partial: pd.DataFrame, row: Any) -> str:
    """Return why a partial correlation must be read with care, in a sentence; empty where nothing is flagged."""
    reason = flag_reason(partial, row)
    return f"Read with care: {reason}." if reason else ""


def partial_name(row: Any) -> str:
    """Return what a partial correlation is about, in words."""
    items = "" if row.items == "as_scored" else f" ({ITEMS.get(row.items, row.items)})"
    named = row.window.replace("_", " ")
    lead = f"Alliance of {named}" if named.startswith("session") else f"{named[:1].upper()}{named[1:]} alliance"
    return f"{lead}{items} given {HELD.get(row.covariates, row.covariates)}"


def partial_rows(partial: pd.DataFrame, kind: str) -> list[Any]:
    """Return the pooled rows of one kind of estimate."""
    return list(common.tuples(common.pooled_rows(partial, estimate_type=kind)))


def partial_table(data: ReportData, partial: pd.DataFrame) -> Table:
    """Return what the alliance tells beyond what is held constant, correlations beside shares of variance."""
    order = {window: place for place, window in enumerate(data.options["questions"][QUESTION]["windows"])}
    by_key: dict[tuple[Any, ...], dict[str, Any]] = {}
    for kind in KINDS:
        for row in partial_rows(partial, kind):
            key = (order.get(row.window, len(order)), row.window, row.items, row.covariates)
            by_key.setdefault(key, {})[kind] = row
    rows = []
    for (_, window, items, covariates), kinds in sorted(by_key.items(), key=lambda item: item[0]):
        lead = kinds["partial_correlation"]
        cells = [Cell(window.replace("_", " ")), Cell(HELD.get(covariates, covariates)), Cell(ITEMS.get(items, items))]
        for kind in KINDS:
            row = kinds.get(kind, lead)
            cells.append(number_cell(common.estimate_text(row, data.decimals), row.estimate if common.has_number(row) else None))
            if kind in ("partial_correlation", "share_of_rest"):
                cells.append(number_cell(common.interval_text(row, data.decimals), row.ci_low))
        remark = flag_reason(partial, lead) if common.has_number(lead) else common.remark(lead)
        cells += [common.count_cell(lead.n_sites), common.count_cell(lead.n_clients), Cell(remark, remark)]
        rows.append(tuple(cells))
    several = partial["items"].nunique() > 1 if len(partial) else False
    columns = [Column("Alliance of"), Column("Held constant"), Column("Alliance items", optional=True)]
    columns += [
        Column("Partial r", True),
        Column(f"{data.level} CI", True),
        Column("Share of the rest", True),
        Column(f"{data.level} CI", True),
    ]
    columns += [Column("Semipartial r", True), Column("Share of all", True), Column("Sites", True), Column("Clients", True)]
    columns.append(Column("Remark", wide=True, optional=True))
    if not several:
        columns.pop(2)
        rows = [(*row[:2], *row[3:]) for row in rows]
    return Table(
        id="early-gains-partial",
        caption="What the alliance tells about the outcome beyond intake level and early symptoms, pooled over sites",
        columns=tuple(columns),
        rows=tuple(rows),
        note="Share of the rest: squared partial r, the share of what the held variables leave. Share of all: squared semipartial r, the "
        f"share of all variance. Gaston et al. (1991) report {GASTON} of the outcome variance beyond short-term improvement, from several "
        "models of a small study; it is a figure of that design, not a norm.",
        empty="No site has the alliance, the intake level and the outcome of enough clients.",
    )


def hypothesis_table(data: ReportData, hypotheses: pd.DataFrame) -> Table:
    """Return every test of the three hypotheses with what it says."""
    rows = tuple(
        (
            Cell(f"({row.hypothesis}) {test_name(row)}"),
            Cell(SAYS.get(row.decision, row.decision)),
            *common.estimate_cells(data, row, decimals=decimals(data, row)),
        )
        for row in common.tuples(common.pooled_rows(hypotheses).sort_values(["hypothesis", "statistic", "group"], kind="stable"))
    )
    return Table(
        id="early-gains-hypotheses",
        caption="Tests of the three hypotheses, pooled over sites",
        columns=(
            Column("Hypothesis and test", wide=True),
            Column("What it says"),
            *common.estimate_columns(data, "Estimate"),
        ),
        rows=rows,
        note="Successful: the outcome is better than the intake level lets expect. Levels and slopes of the alliance are in standard "
        "deviations of the site’s session scores.",
        empty="No hypothesis could be tested.",
    )


def benchmark_name(data: ReportData, table: str, row: Any) -> str:
    """Return what a published figure is about; empty for other windows than the main one and for parts of a test."""
    if table == "partial":
        return f"Share of the rest, alliance of {row.window.replace('_', ' ')}" if row.window == main_window(data) else ""
    if table == "sudden_gains":
        return SUDDEN.get((row.shift, row.statistic), f"{common.words(row.statistic)} sudden gains")
    return f"Hypothesis ({row.hypothesis}): {test_name(row)}"


def sudden_sentences(data: ReportData, table: pd.DataFrame) -> tuple[str, ...]:
    """Return how common sudden gains are, and how the alliance stands around them."""
    found = {(row.shift, row.statistic): row for row in common.tuples(common.pooled_rows(table)) if common.has_number(row)}
    told = []
    one = found.get(("gain", "clients with one"))
    if one is not None:
        told.append(
            f"{common.estimate_text(one, 0)} of the clients had a sudden gain ({data.level} CI {common.interval_text(one, 0)}, "
            f"{common.plural(one.n_clients, 'client')})."
        )
    for statistic, name in (("alliance before", "the session before"), ("alliance at", "the session of the gain")):
        row = found.get(("gain", statistic))
        if row is not None:
            told.append(
                f"In {name}, their alliance differs from that of clients without one at the same sessions by {value(data, row)} SD; "
                f"{common.sureness(row)}."
            )
    return tuple(told)


def sudden_table(data: ReportData, table: pd.DataFrame) -> Table:
    """Return sudden gains and losses, and the alliance around sudden gains."""
    found = {(row.shift, row.statistic): row for row in common.tuples(common.pooled_rows(table))}
    order = [*(key for key in SUDDEN if key in found), *(key for key in found if key not in SUDDEN)]
    rows = tuple((Cell(SUDDEN.get(key, " ".join(key))), *common.estimate_cells(data, found[key])) for key in order)
    return Table(
        id="sudden-gains-table",
        caption="Sudden gains and the alliance around them, pooled over sites",
        columns=(Column("What", wide=True), *common.estimate_columns(data, "Estimate")),
        rows=rows,
        note=f"The alliance is compared with clients without a sudden gain at the same sessions. {rules(data, table)}".strip(),
        empty="No site has symptoms session by session.",
    )


def rules(data: ReportData, table: pd.DataFrame) -> str:
    """Return the rules that the sites followed."""
    rules = dict.fromkeys(rule for rule in common.site_rows(table)["rule"] if rule)
    told = list(dict.fromkeys(numbers.typeset(common.with_names(rule, data.instruments)) for rule in rules))
    return f"Rule{'s' if len(told) > 1 else ''}: {'; '.join(told[:3])}." if told else ""


def change_sentences(data: ReportData, table: pd.DataFrame) -> tuple[str, ...]:
    """Return how many clients recovered and became worse, by each denominator."""
    found = {(row.denominator, row.category): row for row in common.tuples(common.pooled_rows(table)) if common.has_number(row)}
    told = []
    for category in ("recovered", "deteriorated"):
        shown = [
            f"{common.estimate_text(found[of, category], 0)} ({label[:1].lower()}{label[1:]})"
            for of, label in DENOMINATORS.items()
            if (of, category) in found
        ]
        if shown:
            told.append(f"{common.words(category)}: {listed(shown)}.")
    return tuple(told)


def change_table(data: ReportData, table: pd.DataFrame) -> Table:
    """Return the share of every category of change by every denominator."""
    found = {(row.denominator, row.category): row for row in common.tuples(common.pooled_rows(table))}
    shown = [name for name in CATEGORIES if any(category == name for _, category in found)]
    rows = []
    for denominator, label in DENOMINATORS.items():
        own = {category: row for (of, category), row in found.items() if of == denominator}
        if not own:
            continue
        cells = [Cell(label)]
        for category in shown:
            row = own.get(category)
            known = row is not None and common.has_number(row)
            text = f"{common.estimate_text(row, 0)} {common.interval_text(row, 0).replace('%', '')}" if known else numbers.UNKNOWN
            cells.append(number_cell(text, row.estimate if known else None))
        sizes = [row.n_clients for row in own.values() if row.n_clients is not pd.NA and row.n_clients == row.n_clients]
        cells += [common.count_cell(max(sizes) if sizes else None), common.count_cell(max(row.n_sites for row in own.values()))]
        rows.append(tuple(cells))
    names = tuple(Column(common.words(name), True) for name in shown)
    return Table(
        id="change-categories-table",
        caption=f"Clients by category of change and denominator, pooled over sites (share, {data.level} CI)",
        columns=(Column("Denominator"), *names, Column("Clients", True), Column("Sites", True)),
        rows=tuple(rows),
        note="Each share is pooled by itself as a logit, so a row need not add up to 100%. Only clients beyond the cut-off at intake can "
        f"recover; nothing was carried forward for clients without a last score. {rules(data, table)}".strip(),
        empty="No site could classify its clients.",
    )


def missing(data: ReportData, tables: dict[str, pd.DataFrame]) -> tuple[str, ...]:
    """Return what could not be estimated and what it needs."""
    names = {
        "hypotheses": lambda row: f"Hypothesis ({row.hypothesis}), {test_name(row)}",
        "partial": partial_name,
        "sudden_gains": lambda row: SUDDEN.get((row.shift, row.statistic), row.statistic),
        "change_categories": lambda row: f"{common.words(row.category)}, {DENOMINATORS.get(row.denominator, row.denominator).lower()}",
    }
    return tuple(told for name, named in names.items() for told in common.not_estimable(data, tables[name], named))
