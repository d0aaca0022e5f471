"""The page of sensitivity: scenarios side by side, and the multiverse of every effect that the configuration varies."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from alliance.reports import methods_text
from alliance.reports.bibliography import listing
from alliance.reports.drawing import style
from alliance.reports.elements import Chapter, slug
from alliance.reports.inputs import ReportData, head
from alliance.reports.multiverse_chapter import methods, multiverse_chapter
from alliance.reports.page import Section, environment, render
from alliance.reports.registration import registration_chapter
from alliance.reports.scenario_section import scenario_chapter
from alliance.sensitivity.specifications import multiverses

NO_MULTIVERSE = "The configuration declares no multiverse (section multiverse of config.yaml)."


@style()
def sensitivity_page(
    data: ReportData, asked: Mapping[str, Any], templates: Path, drawn: Callable[[str, Mapping[str, Any]], None] | None = None
) -> str:
    """Return the page.

    Parameters
    ----------
    data : ReportData
        Of scenario ``base``, with the tables of ``results/sensitivity/tables/`` as those of question ``sensitivity``.
    asked : mapping
        What the multiverse reads (:func:`alliance.sensitivity.specifications.options_of`); empty where there is none.
    templates : Path
        Folder of the templates.
    drawn : callable or None
        As in :func:`alliance.reports.pages.render_all`.
    """
    made = environment(templates)
    content = _content(data, asked)
    if drawn is not None:
        drawn("index.html", content)
    sections = [
        Section("summary", "Summary"),
        *(Section(chapter.id, chapter.title) for chapter in content["chapters"]),
        Section("configuration", "The configuration as it stands"),
        Section("references", "References"),
    ]
    return render(
        made,
        "sensitivity.html.j2",
        head(data),
        title="Sensitivity",
        current="sensitivity",
        sections=sections,
        root="../base/report/",
        **content,
    )


def _content(data: ReportData, options: Mapping[str, Any]) -> dict[str, Any]:
    chapters: list[Chapter] = [scenario_chapter(data.tables["sensitivity"]["scenario_comparison"], data.decimals, data.level)]
    found = multiverses(options) if options else []
    chapters += [multiverse_chapter(data, one, options) for one in found]
    scenarios = list(dict.fromkeys(data.tables["sensitivity"]["scenario_comparison"]["scenario"]))
    chapters.append(registration_chapter(data.preregistration, data.deviations, scenarios))
    sentences = [sentence for one in found for sentence in methods(one, options)]
    told = [headline for chapter in chapters for headline in chapter.headlines]
    return {
        "summary": [*told, *([] if found else [NO_MULTIVERSE])],
        "chapters": chapters,
        "configuration": _json({name: value for name, value in data.options.items() if name != "multiverse"}),
        "options": [(f"option-changes-{slug(one.target.name)}", one.target.label, _json(one.changes)) for one in found],
        "references": listing(dict(data.references), methods_text.cited_keys(sentences)),
    }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)
