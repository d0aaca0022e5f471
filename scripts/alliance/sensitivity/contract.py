"""Tables of `results/sensitivity/tables/`: their columns and the check of a table against them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alliance.questions.contract import ESTIMATE_TYPES, ContractError, Table, faults_of_rows, table_types, typed

if TYPE_CHECKING:
    import pandas as pd

SENSITIVITY = "sensitivity"

SCENARIO_COMPARISON = Table(
    SENSITIVITY,
    "scenario_comparison",
    "The headline numbers of the scenarios asked for in the last run, beside those of `base`: one row a scenario and headline number, "
    "scenarios in the order of `scenarios.yaml`, headline numbers in the order of `workflow/headlines.yaml`. A number that a scenario "
    "cannot estimate has a row with its reason.",
    {
        "question": "question of the configuration that the number answers",
        "headline": "key of the headline number in `workflow/headlines.yaml`",
        "label": "what the number is, in words",
        "base_estimate": "the number in `base`; empty: not estimated there",
        "change": "estimate minus `base_estimate`, natural scale; empty where either is not estimated. It has no interval: scenarios rest "
        "largely on the same clients",
        "keys_changed": "dotted keys of the configuration in which the scenario differs from `base`, separated by `; `",
        "reason_for_scenario": "why the scenario is run (`reason` in `scenarios.yaml`)",
    },
    # Empty where a scenario has no such number.
    ("", *ESTIMATE_TYPES),
    heterogeneity=False,
    numbers=("base_estimate", "change"),
)

TABLES = (SCENARIO_COMPARISON,)


def finish(frame: pd.DataFrame, schema: Table) -> pd.DataFrame:
    """Return a table with all columns of its schema in their order, typed; rows stay in the order they have."""
    return typed(frame, table_types(schema))


def check(frame: pd.DataFrame, schema: Table, identity: list[str]) -> None:
    """Raise :class:`ContractError` naming every fault of a table.

    Parameters
    ----------
    frame : DataFrame
    schema : Table
        One of :data:`TABLES`.
    identity : list of str
        Columns that no two rows may agree in.
    """
    found = faults_of_rows(frame, schema)
    if set(identity) <= set(frame) and frame.duplicated(identity).any():
        found.append(f"rows that agree in {identity}")
    if found:
        raise ContractError(f"table {schema.question}/{schema.name}: " + "; ".join(found))
