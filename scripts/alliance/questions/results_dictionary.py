"""The results dictionary: what every table and column means, from the schemas that check the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alliance.questions.contract import COLUMN_MEANINGS, ESTIMATE_TYPES, HETEROGENEITY_MEANINGS, METHODS, POOLED, TABLES, Table
from alliance.questions.coverage import Coverage, sentences

ANY = frozenset(ESTIMATE_TYPES)


def _listing(meanings: dict[str, str], heading: str) -> list[str]:
    return [f"| {heading} | meaning |", "| --- | --- |", *(f"| `{name}` | {meaning} |" for name, meaning in meanings.items()), ""]


def text(
    coverage: Sequence[Coverage], sensitivity: Sequence[Table] = (), beside: Mapping[str, tuple[str, Mapping[str, str]]] | None = None
) -> str:
    """Return the page as Markdown.

    Parameters
    ----------
    coverage : sequence of Coverage
        What simulations showed, told beside the methods.
    sensitivity : sequence of Table
        Tables over scenarios.
    beside : mapping or None
        Files that are no tables of estimates: by their path what they hold, and their columns with what these mean.
    """
    simulated = {method: " ".join(sentences([one for one in coverage if one.method == method])) for method in METHODS}
    methods = {method: f"{meaning}. {simulated[method]}" if simulated[method] else meaning for method, meaning in METHODS.items()}
    lines = [
        "# Results dictionary",
        "",
        "Written by `scripts/write_results_dictionary.py` from the schemas (`scripts/alliance/questions/contract.py`) that check tables.",
        "",
        "Tables lie in `results/<scenario>/tables/<question>/<table>.csv`. Numbers have full precision; a cell is empty where a number is",
        f"unknown or withheld, never 0. Rows of sites and pooled rows (`site` is `{POOLED}`) stand in one table.",
        "",
        "## Columns of every table",
        "",
        *_listing(COLUMN_MEANINGS, "column"),
        "Tables that pool sites add:",
        "",
        *_listing(HETEROGENEITY_MEANINGS, "column"),
        "## Values of `estimate_type`",
        "",
        *_listing(ESTIMATE_TYPES, "value"),
        "## Values of `method`",
        "",
        *_listing(methods, "value"),
    ]
    for table in TABLES:
        lines += [f"## `{table.question}/{table.name}.csv`", "", *_described(table)]
    for table in sensitivity:
        lines += [f"## `results/sensitivity/tables/{table.name}.csv`", "", *_described(table)]
    for path, (description, columns) in (beside or {}).items():
        lines += [f"## `{path}`", "", description, "", *_listing(dict(columns), "column")]
    return "\n".join(lines).rstrip() + "\n"


def _described(table: Table) -> list[str]:
    """Return what a table is, which types of numbers it holds, and its own columns."""
    kinds = ", ".join(f"`{kind}`" for kind in table.estimate_types if kind)
    kinds = f"any{'; empty: there is no such number' if '' in table.estimate_types else ''}" if set(table.estimate_types) >= ANY else kinds
    heterogeneity = " With the columns of heterogeneity." if table.heterogeneity else ""
    return [table.description, "", f"`estimate_type`: {kinds}.{heterogeneity}", "", *_listing(table.keys, "own column")]
