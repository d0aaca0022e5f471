"""All pages of a scenario, by their address inside the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from alliance.reports import checklist_page, dictionary_page, participants, quality_page, reviewer, site_page, study_page
from alliance.reports.chapters import order
from alliance.reports.drawing import style
from alliance.reports.elements import Chapter
from alliance.reports.inputs import ReportData, head
from alliance.reports.page import environment, render
from alliance.side_by_side import Each

CHECKLIST = "checklist.html"


STUDY, OTHERS = "study", "others"
"""What can be rendered side by side, once the chapters are there: they take most of the time."""


def render_all(
    data: ReportData,
    templates: Path,
    drawn: Callable[[str, Mapping[str, Any]], None] | None = None,
    each: Each = map,
) -> dict[str, str]:
    """Return every page of a scenario.

    Parameters
    ----------
    data : ReportData
    templates : Path
        Folder of the templates.
    drawn : callable or None
        Takes the address of each page and what it draws, for those who need its parts too; with ``map`` alone.
    each : callable
        Does jobs, as ``map`` does, such as :func:`alliance.side_by_side.in_processes`; the pages are the same whichever does them.

    Returns
    -------
    dict of str to str
        Text of each page by its address (``index.html``, ``sites/<site>.html``, ...). Equal data give equal text.
    """
    with style():
        built = order.build(data, each)
    study, others = each(partial(_rendered, data, templates, drawn, built), (STUDY, OTHERS))
    pages = study | others
    return pages | _checklist(data, templates, drawn, pages)


@style()
def _rendered(
    data: ReportData,
    templates: Path,
    drawn: Callable[[str, Mapping[str, Any]], None] | None,
    built: Sequence[Chapter],
    which: str,
) -> dict[str, str]:
    """Return the study page, or all others but the checklist, which leads to them."""
    made, top, pages = environment(templates), head(data), {}

    def add(key: str, module: ModuleType, title: str, content: Mapping[str, Any]) -> None:
        if drawn is not None:
            drawn(f"{key}.html", content)
        pages[f"{key}.html"] = render(made, f"{key}.html.j2", top, title=title, current=key, sections=module.sections(content), **content)

    if which == STUDY:
        add("index", study_page, "Study report", study_page.content(data, built))
        return pages
    add("quality", quality_page, "Data quality", quality_page.content(data))
    add("dictionary", dictionary_page, "Data dictionary", dictionary_page.content(data))
    compared, took_part = site_page.compare(data), participants.by_site(data)
    for status in data.statuses:
        content = site_page.content(data, status, compared, took_part)
        if drawn is not None:
            drawn(f"sites/{status['site']}.html", content)
        pages[f"sites/{status['site']}.html"] = render(
            made,
            "site.html.j2",
            top,
            title=data.labels[status["site"]],
            current="site",
            sections=site_page.sections(content),
            root="../",
            **content,
        )
    return pages


def _checklist(
    data: ReportData, templates: Path, drawn: Callable[[str, Mapping[str, Any]], None] | None, pages: Mapping[str, str]
) -> dict[str, str]:
    """Return the checklist with addresses on the other pages; nothing where there is no guide."""
    if not (data.guide.items or data.guide.faults):
        return {}
    addresses = checklist_page.titles({name: text for name, text in pages.items() if "/" not in name})
    content = checklist_page.content(data, checklist_page.resolve(data, addresses), reviewer.check_all(data), addresses)
    if drawn is not None:
        drawn(CHECKLIST, content)
    text = render(
        environment(templates),
        "checklist.html.j2",
        head(data),
        title="Checklist",
        current="checklist",
        sections=checklist_page.sections(content),
        **content,
    )
    return {CHECKLIST: text}
