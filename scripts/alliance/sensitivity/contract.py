"""Tables of `results/sensitivity/tables/`: their columns and the check of a table against them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alliance.questions.contract import ESTIMATE_TYPES, FORM_TYPES, ContractError, Table, faults_of_rows, table_types, typed
from alliance.sensitivity.targets import MULTIVERSE_TABLES

if TYPE_CHECKING:
    import pandas as pd

SENSITIVITY = "sensitivity"
_SPECIFICATIONS, _NODE_INFLUENCE, _SUMMARY = MULTIVERSE_TABLES

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

_MULTIVERSE = {"multiverse": "effect whose specifications these are: alliance_outcome, within_clients, dropout or rupture_outcome"}

SPECIFICATIONS = Table(
    SENSITIVITY,
    _SPECIFICATIONS,
    "Every specification of every multiverse, pooled over sites; one that cannot be estimated is a row with its reason.",
    {
        **_MULTIVERSE,
        "specification": "number of the combination of options, in the order of the nodes; 1: config.yaml as it stands",
        "as_it_stands": "yes: config.yaml as it stands",
        "choices": "option of every node",
        "changes": "what it changes of config.yaml, as JSON (which is YAML)",
        "p_flips": "p value of no effect in this specification, by sign flips of therapists",
        "p_adjusted": "the same given that the strongest of all specifications was looked for",
    },
    (*FORM_TYPES, "slope_standardised", "hazard_ratio", "standardised_mean_difference"),
    numbers=("p_flips", "p_adjusted"),
    steps=("specification",),
)

NODE_INFLUENCE = Table(
    SENSITIVITY,
    _NODE_INFLUENCE,
    "How much of the variance over specifications each decision explains.",
    {
        **_MULTIVERSE,
        "share_of": "main (what the model of all main effects loses without the node), with_interactions (what remains among "
        "specifications that agree in all other nodes), interaction (what that of two nodes adds to all main effects), all_main, "
        "all_main_and_pairs",
        "node": "decision",
        "with_node": "the other decision of an interaction",
        "n_specifications": "specifications that can be estimated",
    },
    ("variance_explained",),
    heterogeneity=False,
)

SUMMARY = Table(
    SENSITIVITY,
    _SUMMARY,
    "What the specifications of a multiverse say together, how many were removed by which rule, and the joint tests of no effect.",
    {
        **_MULTIVERSE,
        "statistic": "combinations, removed_by_rule, specifications, estimated, not_estimable; quantiles of the estimates; shares with the "
        "sign of the median, and whose interval excludes no effect; joint tests by the strongest specification (any_specification), by "
        "the median and by the share that excludes zero; historical tests: the same by clients shuffled within sites",
        "rule": "rule that removed combinations, with its reason",
        "n_specifications": "specifications that can be estimated",
        "n_units": "therapists (small ones joined) whose signs were flipped",
    },
    ("count", "share", "specification_quantile", "p_value"),
    heterogeneity=False,
)

OF_MULTIVERSE = (SPECIFICATIONS, NODE_INFLUENCE, SUMMARY)
TABLES = (SCENARIO_COMPARISON, *OF_MULTIVERSE)


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
