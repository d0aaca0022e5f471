"""The chapters of the study page; a question without a chapter of its own gets the general one."""

from __future__ import annotations

from alliance.reports.chapters import (
    alliance_outcome,
    client_factors,
    components,
    congruence,
    course,
    dropout,
    early_gains,
    general,
    interventions,
    measurement,
    path_models,
    ruptures,
    therapist_factors,
)
from alliance.reports.elements import Chapter
from alliance.reports.inputs import ReportData

CHAPTERS = {
    (alliance_outcome.QUESTION,): alliance_outcome.build,
    (early_gains.QUESTION,): early_gains.build,
    measurement.QUESTIONS: measurement.build,
    (path_models.QUESTION,): path_models.build,
    (client_factors.QUESTION,): client_factors.build,
    (therapist_factors.QUESTION,): therapist_factors.build,
    (congruence.QUESTION,): congruence.build,
    (course.QUESTION,): course.build,
    (components.QUESTION,): components.build,
    (dropout.QUESTION,): dropout.build,
    (ruptures.QUESTION,): ruptures.build,
    (interventions.QUESTION,): interventions.build,
}
"""What builds a chapter, by the questions it draws on, in the order of the page."""


def build(data: ReportData) -> list[Chapter]:
    """Return the chapters that have tables of at least one of their questions, then all other questions by name."""
    told = {question for questions in CHAPTERS for question in questions}
    made = [make(data) for questions, make in CHAPTERS.items() if any(data.tables.get(question) for question in questions)]
    return made + [general.build(data, question) for question in sorted(set(data.tables) - told) if data.tables[question]]
