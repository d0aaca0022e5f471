"""What every scenario says about the study's headline numbers, beside what `base` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from alliance.configuration.options import keys_changed
from alliance.configuration.study import BASE
from alliance.questions.contract import WITH_NUMBERS
from alliance.questions.headlines import Headline, headline_rows
from alliance.sensitivity.contract import SCENARIO_COMPARISON, check, finish

IDENTITY = ["scenario", "headline"]


@dataclass(frozen=True)
class ComputedScenario:
    """A scenario whose tables were computed.

    Parameters
    ----------
    name : str
    reason : str
        Why it is run.
    configuration : mapping
        Its resolved configuration.
    tables : mapping
        Its result tables by question and name, at least those in which headline numbers stand.
    """

    name: str
    reason: str
    configuration: Mapping[str, Any]
    tables: Mapping[str, Mapping[str, pd.DataFrame]]


def scenario_comparison(headlines: Sequence[Headline], scenarios: Sequence[ComputedScenario]) -> pd.DataFrame:
    """Return table ``scenario_comparison``: one row a scenario and headline number.

    Parameters
    ----------
    headlines : sequence of Headline
        Those of the questions that were asked.
    scenarios : sequence of ComputedScenario
        In the order of the table, `base` among them.

    Returns
    -------
    DataFrame
        Columns of :data:`alliance.sensitivity.contract.SCENARIO_COMPARISON`. The change is on the natural scale and has no interval:
        the estimates of two scenarios rest largely on the same clients, and how far they depend on each other is not known.

    Raises
    ------
    ValueError
        Without `base` nothing can be compared.
    """
    base = next((one for one in scenarios if one.name == BASE), None)
    if base is None:
        raise ValueError(f"scenarios are compared with {BASE}, which is not among them")
    numbers = {one.name: headline_rows(headlines, one.tables, one.configuration) for one in scenarios}
    of_base = numbers[BASE].set_index("headline")["estimate"].astype(float)
    parts = []
    for one in scenarios:
        rows = numbers[one.name]
        before = rows["headline"].map(of_base).astype(float)
        known = rows["status"].isin(WITH_NUMBERS)
        parts.append(
            rows.assign(
                scenario=one.name,
                base_estimate=before,
                change=(rows["estimate"].astype(float) - before).where(known),
                keys_changed="; ".join(keys_changed(base.configuration, one.configuration)),
                reason_for_scenario=one.reason,
                scale=rows["scale"].fillna("identity"),
                method=rows["method"].fillna("none"),
            )
        )
    filled = [part.astype(object) for part in parts if len(part)]
    table = finish(pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(), SCENARIO_COMPARISON)
    check(table, SCENARIO_COMPARISON, IDENTITY)
    return table
