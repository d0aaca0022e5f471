"""Are the measures reliable, which factors do they have, what may be compared, and how much do they overlap? Draws on two questions."""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance.questions.contract import POOLED
from alliance.reports.chapters import common, measurement_overlap, measurement_reliability, measurement_structure, published
from alliance.reports.elements import Chapter, Table
from alliance.reports.inputs import ReportData

QUESTIONS = (measurement_reliability.QUESTION, measurement_overlap.QUESTION)
MOST_OPEN = 12
LIMITS = (
    "A reliable score need not measure the alliance: reliability says how much items or raters agree, not what they agree on.",
    "A high correlation does not show that two scales both measure the alliance: one person filled in both, and a shared mood or halo "
    "raises it.",
    "Correction for unreliability assumes that errors are independent; errors that two scales share make corrected values too high.",
    "A factor model that fits is one of many that would. Factors are patterns of correlations, not proof of what clients have in mind.",
    "Where equality over groups was not shown, neither means nor their differences may be read as differences in the alliance.",
    "Subscales with different names or facets are different variables; a correlation between them says nothing about which is right.",
    "Figures of the review come from other samples and often from other versions of the instruments; they are there for orientation.",
)


def build(data: ReportData) -> Chapter:
    """Return the chapter on measurement, from the tables of whichever of its questions are there."""
    reliability, overlap, structure = measurement_reliability, measurement_overlap, measurement_structure
    told = {part: part.findings(data) for part in (reliability, overlap, structure)}
    return Chapter(
        id="measurement",
        title="Measurement",
        question="Are the measures reliable, do they measure the same thing, and what may be compared?",
        sources=QUESTIONS,
        headlines=(*told[reliability][:1], *told[overlap][:1]),
        findings=tuple(sentence for sentences in told.values() for sentence in sentences),
        blocks=(
            *reliability.reliability(data),
            *reliability.observers(data),
            *overlap.overlap(data),
            *overlap.content(data),
            *structure.structure(data),
            *structure.together(data),
            *structure.invariance(data),
            *structure.raters(data),
            *structure.composite(data),
            *overlap.prediction(data),
            *_beside_the_review(data),
        ),
        limits=LIMITS,
        missing=missing(data),
    )


def _beside_the_review(data: ReportData) -> list[Table]:
    """Return the figures of the review in one table, those that this study cannot speak to folded."""
    rows = [
        *published.rows_of(data, measurement_reliability.QUESTION, lambda table, row: _benchmark_name(data, table, row)),
        *published.rows_of(data, measurement_overlap.QUESTION, measurement_overlap.benchmark_name),
    ]
    known, silent = ([row for row in rows if published.has_new(row) is wanted] for wanted in (True, False))
    parts = (
        ("published-measurement", "Figures of the review beside the new ones", known, len(known) > MOST_OPEN),
        ("published-measurement-silent", "Figures of the review beside which no number of this study stands", silent, True),
    )
    return [published.table(data, id, caption, own, folded=folded) for id, caption, own, folded in parts if own]


def _benchmark_name(data: ReportData, table: str, row: Any) -> str:
    if table == "components":
        return measurement_structure.benchmark_name(data, row)
    return measurement_reliability.benchmark_name(data, table, row)


def missing(data: ReportData) -> tuple[str, ...]:
    """Return what could not be estimated over sites and what it needs."""
    parts = (measurement_reliability, measurement_overlap, measurement_structure)
    absent = [(row, name) for part in parts for row, name in part.named_rows(data) if not common.has_number(row)]
    if not absent:
        return ()
    frame = pd.DataFrame(
        [{"site": POOLED, "status": row.status, "estimate": None, "reason": row.reason, "subject": name} for row, name in absent]
    )
    return common.not_estimable(data, frame, lambda row: row.subject)
