"""The chapters of the study page in their order; a question without a chapter of its own gets the general one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

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
from alliance.side_by_side import Each

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


def build(data: ReportData, each: Each = map) -> list[Chapter]:
    """Return the chapters that have tables of at least one of their questions, then all other questions by name.

    Parameters
    ----------
    data : ReportData
    each : callable
        Does jobs, as ``map`` does, such as :func:`alliance.side_by_side.in_processes`; the chapters are the same whichever does them.
    """
    told = {question for questions in CHAPTERS for question in questions}
    made = [make for questions, make in CHAPTERS.items() if any(data.tables.get(question) for question in questions)]
    others = [partial(general.build, question=question) for question in sorted(set(data.tables) - told) if data.tables[question]]
    return list(each(partial(_built, data), [*made, *others]))


def _built(data: ReportData, make: Callable[[ReportData], Chapter]) -> Chapter:
    return make(data)
