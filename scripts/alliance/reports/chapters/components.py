"""Task, bond and goal: what each brings to the outcome, and whether that changes over the phases of treatment."""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance.questions.components import question as components
from alliance.reports import numbers
from alliance.reports.chapters import common, published
from alliance.reports.elements import Cell, Chapter, Column, Fold, Table, listed, number_cell
from alliance.reports.inputs import ReportData

QUESTION = "components"
TOPICS = {
    components.OUTCOME: "with the outcome",
    components.LEVEL: "level",
    components.CONDITION: "with",
    components.TYPE: "helping alliance with the outcome",
}
TYPES = {"type_1": "type 1 (the therapist helps)", "type_2": "type 2 (both work together)"}
LIMITS = (
    "Components of one form correlate highly; where most of a component’s variance is shared with the others, who brings more is hard to "
    "tell, and small differences of dominance mean little.",
    "Dominance tells what goes with the outcome, not what causes it, and holds shared perception where one person rated both.",
    "Phases are compared on clients who rated in all of them; who left early is not among them. In short treatments phases share sessions.",
    "Types of helping alliance can be told only where they are rated session by session (HAcs, HAr, or the HAq-I).",
)


def build(data: ReportData) -> Chapter:
    """Return the chapter on the components of the alliance."""
    tables = common.tables_of(data, QUESTION)
    first = next(iter(components.phases(data.options)), "")
    lead = contrast_row(tables["dominance"], first, data)
    known = lead is not None and common.has_number(lead)
    return Chapter(
        id="components",
        title="What do task, bond and goal bring, and when?",
        question="Is it agreement on tasks and goals or the bond that goes with the outcome, and does that change over treatment?",
        sources=(QUESTION,),
        headlines=(contrast_sentence(data, lead),) if known else (),
        findings=findings(data, tables, lead),
        blocks=(
            dominance_table(data, tables["dominance"]),
            Fold(
                "components-phases",
                "Components in the phases of treatment",
                (phase_table(data, tables["by_phase"]), condition_table(data, tables["by_phase"])),
            ),
            *published.tables(data, QUESTION, lambda table, row: row_name(row) if _told(row) else ""),
        ),
        limits=LIMITS,
        missing=tuple(dict.fromkeys(said for table in tables.values() for said in common.not_estimable(data, table, row_name))),
    )


def contrast_row(table: pd.DataFrame, phase: str, data: ReportData) -> Any:
    """Return the pooled contrast of components in a phase; None where there is none."""
    label = components.contrast_label(data.options["questions"][QUESTION]["contrast"])
    return next(common.tuples(common.pooled_rows(table, phase=phase, contrast=label)), None)


def row_name(row: Any) -> str:
    """Return what a row tells, in words."""
    if hasattr(row, "quantity"):
        what = common.words(row.component) if row.component else common.words(row.contrast.replace(" - ", " minus ")) or "All together"
        extra = "" if row.quantity in (components.DOMINANCE, components.TOGETHER) else f", {row.quantity}"
        return f"{what}{extra}, {row.phase}"
    topic = f"{TOPICS[row.topic]} {row.condition}".strip()
    when = row.phase or row.contrast.replace(" - ", " minus ")
    return f"{common.words(row.component.replace(' - ', ' minus '))}, {topic}, {when}"


def contrast_sentence(data: ReportData, row: Any) -> str:
    """Return whether task and goal bring more than the bond, no more than the interval shows."""
    contrast = data.options["questions"][QUESTION]["contrast"]
    first, second = listed([one.lower() for one in contrast["mean_of"]]), contrast["against"].lower()
    if row.ci_low > 0:
        words = f"In the {row.phase} phase {first} bring more to the outcome than {second} does"
    elif row.ci_high < 0:
        words = f"In the {row.phase} phase {second} brings more to the outcome than {first} do"
    else:
        words = f"Whether {first} or {second} bring more to the outcome in the {row.phase} phase stays open"
    return f"{words} (difference of shares of variance {common.value(data, row)}, {common.plural(row.n_sites, 'site')})."


def findings(data: ReportData, tables: dict[str, pd.DataFrame], lead: Any) -> tuple[str, ...]:
    """Return what was found, in sentences."""
    told = [contrast_sentence(data, lead)] if lead is not None and common.has_number(lead) else []
    for phase in components.phases(data.options):
        own = [row for row in common.tuples(common.pooled_rows(tables["dominance"], phase=phase)) if common.has_number(row)]
        parts = [row for row in own if row.quantity == components.DOMINANCE and row.component]
        shared = [row.estimate for row in own if row.quantity == components.OTHERS]
        whole = next((row for row in own if row.quantity == components.TOGETHER), None)
        if not parts or whole is None or not shared:
            continue
        shown = listed([f"{row.component} {numbers.percent(row.estimate, data.percent_decimals)}" for row in parts])
        told.append(
            f"{common.words(phase)} phase: together the components explain "
            f"{numbers.percent(whole.estimate, data.percent_decimals)} of the outcome beyond intake, of which {shown}; each of "
            f"them shares {numbers.percent(min(shared))} to {numbers.percent(max(shared))} of its variance with the others."
        )
    changed = [
        (f"{row.component}, {row.contrast.replace(' - ', ' minus ')}", row)
        for row in common.tuples(common.pooled_rows(tables["by_phase"], topic=components.OUTCOME, estimate_type="correlation_contrast"))
        if " - " not in row.component
    ]
    told.append(types_sentence(data, tables["by_phase"]))
    told.append(common.contrast_list(data, "Change over phases of how components go with the outcome (r given intake)", changed))
    return tuple(sentence for sentence in told if sentence)


def types_sentence(data: ReportData, table: pd.DataFrame) -> str:
    """Return how both types of helping alliance go with the outcome in each phase; empty where no two sites have them."""
    rows = common.tuples(common.pooled_rows(table, topic=components.TYPE, contrast=""))
    named = [(f"{TYPES.get(row.component, row.component)}, {row.phase}", row) for row in rows]
    return common.contrast_list(data, "Types of helping alliance and the outcome (r given intake)", named)


def dominance_table(data: ReportData, table: pd.DataFrame) -> Table:
    """Return shares of the outcome variance that components bring, pooled, by phase."""
    rows = list(common.tuples(common.pooled_rows(table)))
    return Table(
        id="components-dominance",
        caption="Shares of the outcome variance that components bring beyond intake (general dominance), over all sites",
        columns=(
            Column("What", wide=True),
            Column("Share", True),
            Column(f"{data.level} CI", True),
            Column("Sites", True),
            Column("Clients", True),
            Column("Remark", wide=True, optional=True),
        ),
        rows=tuple(
            (
                Cell(row_name(row)),
                number_cell(common.estimate_text(row, data.decimals), row.estimate),
                number_cell(common.interval_text(row, data.decimals), row.ci_low),
                common.count_cell(row.n_sites),
                common.count_cell(row.n_clients),
                Cell(common.remark(row)),
            )
            for row in rows
        ),
        note="A component’s dominance is what it adds to R², averaged over all sets of the others; dominances add up to what all bring.",
        empty="No site has the components of the alliance and the outcome.",
        folded=True,
    )


def phase_table(data: ReportData, table: pd.DataFrame) -> Table:
    """Return components by phase with the outcome, and their level."""
    rows = [row for row in common.tuples(common.pooled_rows(table)) if row.topic != components.CONDITION and _told(row)]
    return Table(
        id="components-by-phase",
        caption="Components by phase, over all sites, on the same clients",
        columns=(Column("What", wide=True), *common.estimate_columns(data, "Estimate")),
        rows=tuple((Cell(row_name(row)), *common.estimate_cells(data, row)) for row in rows),
        note="With the outcome: r given intake. Level: in SD of clients in the first phase.",
        empty="No site has the components of the alliance in several phases.",
    )


def _told(row: Any) -> bool:
    """Return whether a row stands in a table: types of helping alliance only where they are known."""
    return getattr(row, "topic", "") != components.TYPE or common.has_number(row)


def condition_table(data: ReportData, table: pd.DataFrame) -> Table:
    """Return how components go with conditions that the therapist offers, phases side by side."""
    phases = list(components.phases(data.options))
    own = common.pooled_rows(table, topic=components.CONDITION, contrast="")
    rows = []
    for (condition, component), group in common.rows_by(own, ["condition", "component"]):
        of_phase = {row.phase: row for row in common.tuples(group)}
        cells = [Cell(common.words(condition)), Cell(common.words(component))]
        for phase in phases:
            row = of_phase.get(phase)
            known = row is not None and common.has_number(row)
            text = f"{common.estimate_text(row, data.decimals)} {common.interval_text(row, data.decimals)}" if known else numbers.UNKNOWN
            cells.append(number_cell(text, row.estimate if known else None))
        rows.append((*cells, common.count_cell(group["n_clients"].iloc[0])))
    return Table(
        id="components-conditions",
        caption="What the therapist offers and components of the alliance, r by phase on the same clients, over all sites",
        columns=(
            Column("Condition"),
            Column("Component"),
            *(Column(f"{common.words(phase)} ({data.level} CI)", True) for phase in phases),
            Column("Clients", True),
        ),
        rows=tuple(rows),
        empty="No site has conditions that the therapist offers beside the components.",
    )


def site_rows(data: ReportData) -> pd.DataFrame:
    """Return the rows that a site's page shows beside those of all sites."""
    table = common.table_of(data, QUESTION, "by_phase")
    return table[table["topic"].eq(components.OUTCOME) & table["phase"].ne("")]
