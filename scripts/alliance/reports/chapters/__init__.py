"""One chapter a question; a question without a chapter of its own gets the general one."""

from __future__ import annotations

from alliance.reports.chapters import alliance_outcome, client_factors, convergent_validity, early_gains, general, path_models
from alliance.reports.elements import Chapter
from alliance.reports.inputs import ReportData

CHAPTERS = {
    "alliance_outcome": alliance_outcome.build,
    "early_gains": early_gains.build,
    "convergent_validity": convergent_validity.build,
    "path_models": path_models.build,
    "client_factors": client_factors.build,
}


def build(data: ReportData) -> list[Chapter]:
    """Return the chapters of all questions that have tables: those above in their order, then all others by name."""
    order = [*CHAPTERS, *sorted(set(data.tables) - set(CHAPTERS))]
    return [
        CHAPTERS[question](data) if question in CHAPTERS else general.build(data, question)
        for question in order
        if data.tables.get(question)
    ]
