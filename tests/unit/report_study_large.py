"""The invented study with very many sites: one of its sites again and again under other names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import report_study
from alliance.reports import quality_page, study_page
from alliance.reports.chapters import order
from alliance.reports.elements import Cell, Column, Table
from alliance.reports.inputs import ReportData, head
from alliance.reports.page import environment, render

COPIED = "elm"


def names(number: int) -> list[str]:
    """Return the names of the added sites."""
    return [f"elm_{index:03d}" for index in range(number)]


def many_sites(number: int = 500) -> ReportData:
    """Return the invented study with ``number`` copies of one of its sites; estimates over sites stay as they are."""
    data = report_study.made()
    added = names(number)
    tables = {question: {name: _repeated(table, added) for name, table in of.items()} for question, of in data.tables.items()}
    own = next(status for status in data.statuses if status["site"] == COPIED)
    statuses: list[dict[str, Any]] = [*data.statuses, *({**own, "site": site, "label": f"Elm Court {site}"} for site in added)]
    issues = [issue for issue in data.issues if issue.site != COPIED]
    own_issues = [issue for issue in data.issues if issue.site == COPIED] or [dataclasses.replace(data.issues[0], site=COPIED)]
    issues += [dataclasses.replace(issue, site=site) for site in (COPIED, *added) for issue in own_issues]
    inputs = [{**entry, "site": site} for entry in data.provenance["inputs"] if entry["site"] == COPIED for site in added]
    return dataclasses.replace(
        data,
        statuses=statuses,
        issues=issues,
        tables=tables,
        scale_moments=_repeated(data.scale_moments, added),
        provenance={**data.provenance, "inputs": [*data.provenance["inputs"], *inputs]},
    )


def _repeated(table: pd.DataFrame, added: list[str]) -> pd.DataFrame:
    """Return a table in which the rows of one site stand once more for every added site."""
    for column in ("site", "site_left_out"):
        if column in table and table[column].eq(COPIED).any():
            own = table[table[column].eq(COPIED)]
            copies = own.loc[np.tile(own.index, len(added))].assign(**{column: np.repeat(added, len(own))})
            table = pd.concat([table, copies], ignore_index=True)
    return table


def pages(data: ReportData, templates: Path) -> list[tuple[str, Callable[[], str]]]:
    """Return the pages that grow with the number of sites, by name, each rendered when it is called."""
    made, top = environment(templates), head(data)

    def page(key: str, module: Any, content: Any) -> str:
        return render(made, f"{key}.html.j2", top, title=key, current=key, sections=module.sections(content), **content)

    return [
        ("index.html", lambda: page("index", study_page, study_page.content(data, order.build(data)))),
        ("quality.html", lambda: page("quality", quality_page, quality_page.content(data))),
    ]


def specifications(number: int) -> Table:
    """Return a table of specifications with as many rows and 18 columns, as the page of sensitivity draws them."""
    columns = (Column("Number", True), *(Column(f"Decision {place}") for place in range(17)))
    rows = tuple((Cell(str(one), float(one)), *(Cell(f"option {(one * place) % 3}") for place in range(17))) for one in range(number))
    return Table("specifications", "All specifications", columns, rows, emphasised=frozenset({number - 1}))
