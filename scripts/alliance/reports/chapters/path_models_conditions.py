"""Parts of the chapter on path models: what the therapist offers and how the therapist is seen, by claim of the review."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from alliance.questions.contract import WITHHELD
from alliance.reports import figures, numbers
from alliance.reports.chapters import common
from alliance.reports.chapters.outcome_parts import minus
from alliance.reports.chapters.path_models_rows import Blocks, one_row, rows_of, section, short, with_number
from alliance.reports.elements import Cell, Column, Figure, Part, Table
from alliance.reports.inputs import ReportData

CONDITIONS = ("empathy", "regard", "unconditionality", "congruence")
OUTCOME, MODALITY, RATERS, PHASE, BESIDE, SETTING = "outcome", "modality", "raters", "phase", "beside_alliance", "setting"
CORRELATIONS = ("partial_correlation", "correlation", "part_correlation", "correlation_with_change")
CONTRAST, SLOPE, SLOPE_CONTRAST, SHARE = "correlation_contrast", "slope_standardised", "slope_contrast", "r_squared_change"
FORM_WORDS = {
    "ancova": "given the intake level",
    "zero_order": "as they are",
    "residual_gain": "with the residual gain",
    "change": "with the change",
}
KIND_WORDS = {
    **dict.fromkeys(CORRELATIONS, "r"),
    CONTRAST: "difference of r",
    SLOPE: "β, both as predictors",
    SLOPE_CONTRAST: "difference of β",
    "semipartial_correlation": "semipartial r",
    SHARE: "share of the outcome beyond the other",
    "slope_on_moderator": "change of r",
}
TECHNIQUE = "technique_by_alliance"
TOPICS = {
    OUTCOME: "With the outcome",
    MODALITY: "By treatment",
    RATERS: "As clients see it against what observers see",
    PHASE: "Empathy with the alliance, by phase",
    BESIDE: "Beside the alliance",
    SETTING: "By setting of the study",
}
TECHNIQUE_WORDS = {
    "technique x alliance": "technique × alliance, both within the client",
    "technique x client's mean alliance": "technique within × alliance of the client",
    "technique at alliance - 1 SD": "technique, where the alliance is 1 SD below the client’s own mean",
    "technique at alliance + 1 SD": "technique, where the alliance is 1 SD above it",
}


def form_of(data: ReportData) -> str:
    """Return the form in which the study relates things to the outcome."""
    return data.options["outcome"]["form"]


def topic_rows(data: ReportData, topic: str, **keys: str) -> pd.DataFrame:
    """Return the pooled rows on a topic."""
    return common.pooled_rows(rows_of(data, "conditions", topic=topic, **keys))


def _row(rows: pd.DataFrame, kinds: Sequence[str]) -> Any:
    return one_row(rows[rows["estimate_type"].isin(kinds)])


def conditions(data: ReportData) -> Blocks:
    """Return the therapist-offered conditions and social influence: what they say to each claim, a figure, and a table by topic."""
    rows = rows_of(data, "conditions")
    if rows["topic"].eq(TECHNIQUE).all():
        return []
    told = [
        sentence
        for make in (
            outcome_sentence,
            modality_sentence,
            rater_sentence,
            phase_sentence,
            beside_sentence,
            influence_sentence,
            setting_sentence,
        )
        if (sentence := make(data))
    ]
    lead = (
        "The review asks whether what the therapist offers (empathy, regard, unconditionality, congruence) and how the therapist is seen "
        "(expert, trustworthy, attractive) relate to outcome, and whether they say more than the alliance."
    )
    blocks: Blocks = [Part("path-models-conditions", "What the therapist offers, and how the therapist is seen", (lead, *told))]
    blocks += outcome_figure(data)
    blocks += [table for topic in TOPICS for table in topic_table(data, topic)]
    return blocks


def outcome_known(data: ReportData) -> dict[str, Any]:
    """Return the pooled correlations with the outcome in the study's form, by variable."""
    rows = topic_rows(data, OUTCOME, form=form_of(data))
    found = {name: _row(own, CORRELATIONS) for (name,), own in common.rows_by(rows, ("variable",))}
    return {name: row for name, row in found.items() if row is not None}


def _listed(data: ReportData, known: dict[str, Any]) -> str:
    return "; ".join(f"{common.words(name).lower()} {short(data, row, 'r')}" for name, row in known.items())


def outcome_sentence(data: ReportData) -> str:
    """Return how the conditions relate to the outcome (claim I1)."""
    known = {name: row for name, row in outcome_known(data).items() if name in CONDITIONS}
    if not known:
        return ""
    first = next(iter(known.values()))
    return (
        f"Conditions and outcome ({FORM_WORDS.get(form_of(data), form_of(data))}; claim I1): {_listed(data, known)}; up to "
        f"{common.plural(first.n_sites, 'site')}. {common.benchmark_sentence(data, first)}"
    ).strip()


def modality_sentence(data: ReportData) -> str:
    """Return whether the relation differs with treatments (claim I1)."""
    rows = topic_rows(data, MODALITY)
    within = with_number(rows[rows["estimate_type"].eq(CONTRAST)])
    named = [(f"{row.variable}, {minus(row.contrast)}", row) for row in common.tuples(within) if row.variable in CONDITIONS]
    return common.contrast_list(data, "Differences between treatments within sites (claim I1)", named[: common.NAMED_SUBJECTS])


def rater_sentence(data: ReportData) -> str:
    """Return whether empathy as clients perceive it predicts more than as observers see it (claim I2)."""
    rows = topic_rows(data, RATERS, form=form_of(data))
    row = _row(rows, (CONTRAST,))
    if row is None:
        return ""
    both = {one.rater: one for one in common.tuples(with_number(rows[rows["estimate_type"].isin(CORRELATIONS)]))}
    shown = "; ".join(f"{rater} {short(data, one, 'r')}" for rater, one in both.items())
    return (
        f"Empathy as clients perceive it against what observers see (claim I2), on the same clients{f': {shown}' if shown else ''}; "
        f"difference {short(data, row, 'Δr')}; {common.sureness(row)}. Clients’ own outcome ratings share their view with their empathy "
        "ratings, which raises the first."
    )


def phase_sentence(data: ReportData) -> str:
    """Return whether empathy goes with the alliance mostly early on (claims H9, I3)."""
    rows = topic_rows(data, PHASE)
    known = with_number(rows[rows["estimate_type"].isin(CORRELATIONS) & rows["pair"].eq("")])
    if known.empty:
        return ""
    order = {"early": 0, "middle": 1, "late": 2}
    ordered = sorted(common.tuples(known), key=lambda row: order.get(row.phase, 9))
    shown = "; ".join(f"{row.phase} {short(data, row, 'r')}" for row in ordered)
    told = f"Empathy and alliance of the same sessions (claims H9, I3): {shown}."
    contrasts = with_number(rows[rows["estimate_type"].eq(CONTRAST)])
    named = [(minus(row.contrast), row) for row in common.tuples(contrasts)]
    return f"{told} {common.contrast_list(data, 'Differences on the same clients', named)}".strip()


def beside_sentence(data: ReportData) -> str:
    """Return whether the alliance predicts more than empathy (claim I4)."""
    rows = topic_rows(data, BESIDE)
    own = rows[rows["pair"].eq("alliance and empathy")]
    row = _row(own[own["form"].eq(form_of(data))], (CONTRAST,))
    if row is None:
        return ""
    slopes = with_number(own[own["estimate_type"].eq(SLOPE)])
    told = (
        f"Alliance against empathy as predictors of the outcome, on the same clients (claim I4): difference {short(data, row, 'Δr')}; "
        f"{common.sureness(row)}."
    )
    if len(slopes):
        told += f" In one model: {'; '.join(f'{one.variable} {short(data, one)}' for one in common.tuples(slopes))}."
    return told


def influence_sentence(data: ReportData) -> str:
    """Return how social influence relates to the outcome, and what it adds to the alliance (claim I7)."""
    known = {name: row for name, row in outcome_known(data).items() if name not in CONDITIONS}
    if not known:
        return ""
    told = f"How the therapist is seen, and outcome (claim I7): {_listed(data, known)}."
    rows = with_number(topic_rows(data, BESIDE, estimate_type=SHARE))
    added = [row for row in common.tuples(rows) if row.variable in known and row.contrast.startswith(row.variable)]
    if added:
        shown = "; ".join(f"{common.words(row.variable).lower()} {common.estimate_text(row, data.decimals)}" for row in added)
        told += f" Of the outcome it explains beyond the alliance: {shown}."
    return told


def setting_sentence(data: ReportData) -> str:
    """Return whether relations differ between analogue and clinical studies (claim I7)."""
    rows = with_number(topic_rows(data, SETTING))
    named = [
        (f"{row.variable}{f', {minus(row.contrast or row.group)}' if row.contrast or row.group else ''}", row)
        for row in common.tuples(rows)
    ]
    return common.contrast_list(data, "By setting (claim I7)", named[: common.NAMED_SUBJECTS])


def outcome_figure(data: ReportData) -> list[Figure]:
    """Return the correlations of all conditions and scales of social influence with the outcome."""
    known = outcome_known(data)
    if len(known) < 2:
        return []
    shown = [common.pooled_forest_row(row, common.words(name)) for name, row in known.items()]
    axis = f"r with the outcome, {FORM_WORDS.get(form_of(data), form_of(data))}"
    return [
        Figure(
            "conditions-with-outcome",
            "Conditions, social influence and outcome, pooled over sites",
            f"Forest plot of correlations with the outcome: {_listed(data, known)}.",
            figures.forest(shown, axis=axis, decimals=data.decimals, narrow=True),
            b"",
            f"Diamonds are pooled correlations with {data.level} intervals.",
        )
    ]


def name_of(row: Any) -> str:
    """Return what a row is about."""
    parts = [common.words(row.variable)]
    if row.rater:
        parts.append(row.rater)
    if row.topic == PHASE and row.phase:
        parts.append(row.phase)
    if row.group:
        parts.append(row.group)
    told = ", ".join(parts)
    return f"{told}: {minus(row.contrast)}" if row.contrast else told


def topic_table(data: ReportData, topic: str) -> list[Table]:
    """Return the pooled rows on a topic, folded; none where nothing has a number."""
    rows = with_number(topic_rows(data, topic))
    if topic == BESIDE:
        rows = rows[rows["form"].eq(form_of(data)) & rows["estimate_type"].isin([CONTRAST, SLOPE, SLOPE_CONTRAST, SHARE])]
    if rows.empty:
        return []
    cells = tuple(
        (
            Cell(name_of(row)),
            Cell(numbers.typeset(row.pair)),
            Cell(KIND_WORDS.get(row.estimate_type, row.estimate_type.replace("_", " "))),
            Cell(FORM_WORDS.get(row.form, row.form.replace("_", " "))),
            *common.estimate_cells(data, row),
        )
        for row in common.tuples(rows)
    )
    columns = (
        *(Column("Of"), Column("On the clients with", optional=True), Column("Number"), Column("Outcome", optional=True)),
        *common.estimate_columns(data, "Estimate"),
    )
    return [
        Table(
            f"conditions-{topic.replace('_', '-')}",
            f"Conditions and social influence: {TOPICS[topic].lower()}",
            columns,
            cells,
            folded=True,
        )
    ]


def technique(data: ReportData) -> Blocks:
    """Return whether technique and alliance depend on each other within clients (claim J2): sentences and a table."""
    rows = topic_rows(data, TECHNIQUE)
    if rows.empty:
        return []
    told = [technique_sentence(data, str(pair), own) for (pair,), own in common.rows_by(rows, ("pair",))]
    lead = (
        "The review holds that technique and relationship depend on each other (claim J2). Within clients: is more of a technique in one "
        "session followed by better symptoms where the alliance of that session is above the client’s own mean? Between clients the "
        "question is asked by the path model with a product of both."
    )
    blocks: Blocks = [Part("path-models-technique", "Technique and alliance, session by session", (lead, *told))]
    order = {name: position for position, name in enumerate(("", *TECHNIQUE_WORDS))}
    known = with_number(rows).assign(_order=lambda frame: frame["contrast"].map(order)).sort_values(["pair", "_order"], kind="stable")
    cells = tuple(
        (
            Cell(technique_label(data, row.pair)),
            Cell(TECHNIQUE_WORDS[row.contrast] if row.contrast else common.words(row.variable.removeprefix("events."))),
            *common.estimate_cells(data, row),
        )
        for row in common.tuples(known)
    )
    if not cells:
        return blocks
    return [
        *blocks,
        Table(
            "technique-by-alliance",
            "Symptoms of a later session on technique and alliance, within clients",
            (Column("Pair"), Column("Of"), *common.estimate_columns(data, "β")),
            cells,
            note="In standard deviations within clients; symptoms of the same session held constant. Higher is better.",
            folded=len(cells) > 6,
        ),
    ]


def technique_label(data: ReportData, pair: str) -> str:
    """Return a pair's label from the configuration, or its name."""
    return (section(data).get("technique") or {}).get("pairs", {}).get(pair, {}).get("label") or common.words(pair)


def technique_sentence(data: ReportData, pair: str, rows: pd.DataFrame) -> str:
    """Return the two interactions of a pair of technique and alliance in a sentence."""
    label = technique_label(data, pair)
    known = {row.contrast: row for row in common.tuples(with_number(rows[rows["estimate_type"].eq("interaction_standardised")]))}
    inside, across = (known.get(name) for name in list(TECHNIQUE_WORDS)[:2])
    if inside is None:
        return f"{label}: {'withheld' if rows['status'].eq(WITHHELD).any() else 'not estimable over sites'}."
    told = f"{label}: interaction within clients {short(data, inside)}; {common.sureness(inside)}."
    if across is not None:
        told += f" With how good the alliance of the client is altogether: {short(data, across)}; {common.sureness(across)}."
    return f"{told} {common.caution(inside)}".strip()


def missing_name(row: Any) -> str:
    """Return what a row without a number would have been about."""
    if row.topic == TECHNIQUE:
        return f"Technique and alliance within clients: {common.words(row.pair).lower()}"
    return f"{TOPICS.get(row.topic, common.words(row.topic))}: {name_of(row).lower()}"
