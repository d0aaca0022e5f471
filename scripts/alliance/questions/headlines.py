"""The study's headline numbers: one declared list, one pooled row of a result table each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alliance.configuration.errors import nearest
from alliance.configuration.model import Configuration
from alliance.configuration.strict_yaml import load_file
from alliance.configuration.validation import known_keys
from alliance.questions.contract import COLUMNS as TABLE_COLUMNS
from alliance.questions.contract import COUNT, NUMBER, POOLED, TABLES, TEXT, WITH_NUMBERS, as_text, typed
from alliance.questions.contract import table as table_schema

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "headline": TEXT,
    "label": TEXT,
    "question": TEXT,
    "table": TEXT,
    "claim": TEXT,
    "estimate_type": TEXT,
    "method": TEXT,
    "scale": TEXT,
    "estimate": NUMBER,
    "ci_low": NUMBER,
    "ci_high": NUMBER,
    "n_clients": COUNT,
    "n_sites": COUNT,
    "status": TEXT,
    "reason": TEXT,
}
"""Columns of :func:`headline_numbers` and what they hold."""

_OF_ROW = ("estimate_type", "method", "scale", "estimate", "ci_low", "ci_high", "n_clients", "n_sites", "status", "reason")
_BESIDE = ("claim", "published", "difference")
_KEYS = {"label": True, "question": True, "table": True, "where": True, "claim": False, "most_sites": False}
_REFERENCE = re.compile(r"\{([^{}]*)\}")


class HeadlineError(ValueError):
    """The list of headline numbers is not as described; the message holds every fault."""


@dataclass(frozen=True)
class Headline:
    """One headline number.

    Parameters
    ----------
    key : str
        Its name, the same in every scenario and run.
    label : str
        What it says, in words.
    question, table : str
        Result table in which its pooled row stands.
    where : dict of str to tuple of str
        For each column the values that its row may have, the preferred first. ``{key}`` in a value stands for a key of the configuration.
    claim : str
        Claim of the review that it speaks to; empty: none.
    most_sites : bool
        Of several rows with numbers that of most sites counts, before preferred values do.
    """

    key: str
    label: str
    question: str
    table: str
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    claim: str = ""
    most_sites: bool = False


def load_headlines(path: Path) -> list[Headline]:
    """Read ``workflow/headlines.yaml``.

    Returns
    -------
    list of Headline
        In the order of the file.

    Raises
    ------
    HeadlineError
        With every fault: unknown or missing keys, a question, table, column or configuration key that does not exist (with the nearest one
        that does), values that are neither text nor a list of texts.
    """
    content, _ = load_file(Path(path))
    if not isinstance(content, dict):
        raise HeadlineError("the file holds no mapping of headlines")
    faults = [f"{key}: {problem}" for key, entry in content.items() for problem in _faults(entry)]
    if faults:
        raise HeadlineError("; ".join(faults))
    return [
        Headline(
            key=key,
            label=entry["label"],
            question=entry["question"],
            table=entry["table"],
            where={column: (value,) if isinstance(value, str) else tuple(value) for column, value in entry["where"].items()},
            claim=entry.get("claim", ""),
            most_sites=entry.get("most_sites", False),
        )
        for key, entry in content.items()
    ]


def _faults(entry: Any) -> list[str]:
    if not isinstance(entry, dict):
        return ["is no mapping"]
    faults = [f"unknown key '{key}'{nearest(key, _KEYS)}" for key in entry if key not in _KEYS]
    faults += [f"'{key}' is missing" for key, needed in _KEYS.items() if needed and key not in entry]
    faults += [f"'{key}' is not text" for key in ("label", "question", "table", "claim") if not isinstance(entry.get(key, ""), str)]
    faults += ["'most_sites' is neither true nor false"] if not isinstance(entry.get("most_sites", False), bool) else []
    if faults:
        return faults
    questions = sorted({schema.question for schema in TABLES})
    if entry["question"] not in questions:
        return [f"there is no question '{entry['question']}'{nearest(entry['question'], questions)}"]
    names = [schema.name for schema in TABLES if schema.question == entry["question"]]
    if entry["table"] not in names:
        return [f"'{entry['question']}' has no table '{entry['table']}'{nearest(entry['table'], names)}"]
    if not isinstance(entry["where"], dict) or not entry["where"]:
        return ["'where' names no column"]
    columns = table_schema(entry["question"], entry["table"]).columns
    for column, value in entry["where"].items():
        if column not in columns:
            faults.append(f"the table has no column '{column}'{nearest(column, columns)}")
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(one, str) for one in values):
            faults.append(f"'{column}' is neither text nor a list of texts (write numbers, yes and no in quotes)")
            continue
        faults += [f"'{column}': {problem}" for one in values for key in _REFERENCE.findall(one) if (problem := _unknown_key(key))]
    return faults


def _unknown_key(key: str) -> str:
    """Return what is wrong with a reference to the configuration; empty where nothing is."""
    parts = key.split(".")
    for position, part in enumerate(parts):
        known = known_keys(Configuration, tuple(parts[:position]))
        if known and part not in known:
            return f"the configuration has no key '{key}'{nearest(part, known)}"
    return ""


def headline_numbers(
    headlines: Sequence[Headline], tables: Mapping[str, Mapping[str, pd.DataFrame]], configuration: Mapping[str, Any]
) -> pd.DataFrame:
    """Return the headline numbers of a scenario.

    Parameters
    ----------
    headlines : sequence of Headline
    tables : mapping
        The scenario's result tables by question and name (:func:`alliance.reports.inputs.read_tables`).
    configuration : mapping
        Its resolved configuration (``resolved_config.json``).

    Returns
    -------
    DataFrame
        One row a headline, in their order, with the columns of :data:`COLUMNS`: ``estimate``, ``ci_low`` and ``ci_high`` on the natural
        scale of the estimate. A number that the scenario does not have is a row with status ``not_estimable`` and the reason.
    """
    import pandas as pd

    return typed(pd.DataFrame([_number(one, _row(one, tables, configuration)) for one in headlines], columns=list(COLUMNS)), COLUMNS)


def headline_rows(
    headlines: Sequence[Headline], tables: Mapping[str, Mapping[str, pd.DataFrame]], configuration: Mapping[str, Any]
) -> pd.DataFrame:
    """Return the headline numbers with all columns of result tables (:data:`alliance.questions.contract.COLUMNS`), not yet typed.

    Parameters are those of :func:`headline_numbers`. ``claim`` is that of the headline; the review's figure stands beside it where it
    belongs to that claim. Numbers that the scenario does not have are rows with the reason.
    """
    import pandas as pd

    rows = []
    for one in headlines:
        found = _row(one, tables, configuration)
        row = _number(one, found)
        if not isinstance(found, str):
            row |= {name: found[name] for name in TABLE_COLUMNS if name not in _BESIDE}
            row |= {name: found[name] for name in _BESIDE[1:]} if found["claim"] == one.claim else {}
        rows.append(row)
    names = ["headline", "label", "question", *TABLE_COLUMNS]
    return pd.DataFrame(rows).reindex(columns=names).assign(site=POOLED)


def _number(headline: Headline, found: Mapping[str, Any] | str) -> dict[str, Any]:
    """Return the columns of a headline number from its row, or from why there is none."""
    said = {"headline": headline.key, **{name: getattr(headline, name) for name in ("label", "question", "table", "claim")}}
    if isinstance(found, str):
        return {**said, "status": "not_estimable", "reason": f"not estimable: {found}"}
    return {**said, **{name: found[name] for name in _OF_ROW}}


def _row(headline: Headline, tables: Mapping[str, Mapping[str, pd.DataFrame]], configuration: Mapping[str, Any]) -> Mapping[str, Any] | str:
    """Return a headline's row, or why there is none."""
    import pandas as pd

    table = tables.get(headline.question, {}).get(headline.table)
    if table is None:
        return f"needs the question {headline.question}, which is not asked in this scenario"
    wanted = {}
    for column, values in headline.where.items():
        filled = [_filled(value, configuration) for value in values]
        if None in filled:
            return f"needs a value of {_REFERENCE.findall(' '.join(values))[0]}, which the configuration leaves open"
        wanted[column] = filled
    chosen = table["site"].eq(POOLED)
    for column, values in wanted.items():
        chosen &= as_text(table[column]).isin(values)
    rows = table[chosen]
    rows = rows.loc[rows["claim"].ne(headline.claim).sort_values(kind="stable").index]
    rows = rows[~rows.duplicated([name for name in rows.columns if name not in _BESIDE])]
    if rows.empty:
        looked = ", ".join(f"{column} {' or '.join(values) or '(empty)'}" for column, values in wanted.items())
        return f"needs a row over sites of {headline.question}/{headline.table} with {looked}; there is none"
    rank = pd.DataFrame({column: rows[column].astype(str).map(values.index) for column, values in wanted.items()})
    rank.insert(0, "no_number", ~rows["status"].isin(WITH_NUMBERS))
    if headline.most_sites:
        rank.insert(1, "fewer_sites", -rows["n_sites"].astype("float64").fillna(0.0))
    best = rank.sort_values(list(rank.columns), kind="stable").iloc[0]
    rows = rows[rank.eq(best).all(axis=1)]
    if len(rows) > 1:
        return f"needs one row over sites of {headline.question}/{headline.table}, and {len(rows)} fit the description of this headline"
    return rows.iloc[0].to_dict()


def _filled(value: str, configuration: Mapping[str, Any]) -> str | None:
    """Return a value with keys of the configuration replaced by what they hold; None where one holds nothing."""
    parts = []
    end = 0
    for match in _REFERENCE.finditer(value):
        held = _held(match[1], configuration)
        if held is None:
            return None
        parts += [value[end : match.start()], str(held)]
        end = match.end()
    return "".join([*parts, value[end:]])


def _held(key: str, configuration: Mapping[str, Any]) -> Any:
    held: Any = configuration
    for part in key.split("."):
        if isinstance(held, Mapping):
            held = held.get(part)
        elif isinstance(held, list) and part.isdigit() and int(part) < len(held):
            held = held[int(part)]
        else:
            return None
    return None if isinstance(held, Mapping | list) else held
