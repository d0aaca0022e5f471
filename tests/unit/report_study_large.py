"""The invented study with very many sites: one of its sites again and again under other names."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import report_study
from alliance.reports.inputs import ReportData

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
