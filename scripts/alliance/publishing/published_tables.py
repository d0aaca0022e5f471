"""Published tables: CSV files, their description as a data package, and the codebook."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from alliance.configuration import preregistration
from alliance.files import csv_text
from alliance.questions import contract
from alliance.questions.headlines import COLUMNS as HEADLINE_COLUMNS
from alliance.reports.elements import slug
from alliance.sensitivity.contract import TABLES as SENSITIVITY_TABLES

FOLDER = "tables"
STUDY = "study"
HEADLINES = "headlines"
DEVIATIONS = "deviations"
FIELD_TYPES = {contract.TEXT: "string", contract.NUMBER: "number", contract.COUNT: "integer"}
CLOSED = {"status": contract.STATUSES, "scale": contract.SCALES, "method": tuple(contract.METHODS)}

_HEADLINE_MEANINGS = {
    "scenario": contract.COLUMN_MEANINGS["scenario"],
    "headline": "key of the headline number",
    "label": "what the number is, in words",
    "question": "question of the configuration that the number answers",
    "table": "table of that question in which its row stands",
}


@dataclass(frozen=True)
class Field:
    """A column of a published table: its name, whether it is text, number or count, what it means, and its closed list (empty: open)."""

    name: str
    kind: str
    meaning: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Published:
    """A published table: where it stands, what it is, its columns and its rows, those of each scenario by themselves."""

    question: str
    name: str
    description: str
    fields: tuple[Field, ...]
    parts: tuple[pd.DataFrame, ...]

    @cached_property
    def rows(self) -> pd.DataFrame:
        """All rows below each other; put together where they are first asked for, which takes long for large tables."""
        types = {field.name: field.kind for field in self.fields}
        return pd.concat([contract.typed(part, types) for part in self.parts], ignore_index=True)

    @property
    def key(self) -> str:
        """Question and table, as in ``alliance_outcome/pooled``."""
        return f"{self.question}/{self.name}"

    @property
    def path(self) -> str:
        """Address inside the bundle."""
        return f"{FOLDER}/{self.key}.csv"


def fields_of(schema: contract.Table) -> tuple[Field, ...]:
    """Return the columns of a table of the contract with their meanings."""
    meanings = {**contract.HETEROGENEITY_MEANINGS, **contract.COLUMN_MEANINGS, **schema.keys}
    return tuple(
        Field(name, kind, meanings[name], schema.estimate_types if name == "estimate_type" else CLOSED.get(name, ()))
        for name, kind in contract.table_types(schema).items()
    )


def published(
    scenarios: Mapping[str, Mapping[str, Mapping[str, pd.DataFrame]]],
    sensitivity: Mapping[str, pd.DataFrame],
    headlines: Mapping[str, pd.DataFrame],
    deviations: Mapping[str, pd.DataFrame],
) -> list[Published]:
    """Return every table of a bundle; rows of several scenarios stand below each other.

    Parameters
    ----------
    scenarios : mapping
        Result tables by scenario, question and name.
    sensitivity : mapping
        Tables over scenarios, by name.
    headlines, deviations : mapping
        Headline numbers, and what was registered beside what was done, by scenario.

    Returns
    -------
    list of Published
        In the order of question and name.
    """
    made = []
    keys = sorted({(question, name) for tables in scenarios.values() for question, named in tables.items() for name in named})
    for question, name in keys:
        schema = contract.table(question, name)
        parts = tuple(tables[question][name] for tables in scenarios.values() if name in tables.get(question, {}))
        made.append(Published(question, name, schema.description, fields_of(schema), parts))
    for schema in SENSITIVITY_TABLES:
        if schema.name in sensitivity:
            made.append(Published(schema.question, schema.name, schema.description, fields_of(schema), (sensitivity[schema.name],)))
    made += [_headlines(headlines), *_deviations(deviations)]
    return sorted(made, key=lambda one: one.key)


def _headlines(headlines: Mapping[str, pd.DataFrame]) -> Published:
    types = {"scenario": contract.TEXT, **HEADLINE_COLUMNS}
    meanings = {**contract.COLUMN_MEANINGS, **_HEADLINE_MEANINGS}
    parts = tuple(part.assign(scenario=scenario) for scenario, part in headlines.items())
    described = "The study's headline numbers, one pooled row of a table each."
    return Published(STUDY, HEADLINES, described, tuple(Field(name, kind, meanings[name]) for name, kind in types.items()), parts)


def _deviations(deviations: Mapping[str, pd.DataFrame]) -> list[Published]:
    description, meanings = next(iter(preregistration.DESCRIBED.values()))
    parts = [part.assign(**{} if "scenario" in part else {"scenario": scenario}) for scenario, part in deviations.items() if len(part)]
    if not parts:
        return []
    names = {"scenario": contract.COLUMN_MEANINGS["scenario"], **meanings}
    fields = tuple(Field(name, contract.TEXT, meaning) for name, meaning in names.items())
    return [Published(STUDY, DEVIATIONS, description, fields, tuple(parts))]


def table_files(tables: Sequence[Published]) -> dict[str, bytes]:
    """Return every table as CSV, by its address: full precision of what is published, empty where unknown or withheld."""
    return {table.path: csv_text(table.rows).encode("utf-8") for table in tables}


def data_package(tables: Sequence[Published], files: Mapping[str, bytes], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables' description as a Frictionless tabular data package (https://specs.frictionlessdata.io, version 1).

    Parameters
    ----------
    tables : sequence of Published
    files : mapping
        Content of each table's file, from :func:`table_files`.
    about : mapping
        Keys of the package itself, such as ``title``, ``contributors`` and ``licenses``.
    """
    return {"profile": "tabular-data-package", **about, "resources": [_resource(table, files[table.path]) for table in tables]}


def _resource(table: Published, content: bytes) -> dict[str, Any]:
    return {
        "name": slug(f"{table.question}-{table.name}"),
        "path": table.path,
        "profile": "tabular-data-resource",
        "title": f"{table.question.replace('_', ' ')}: {table.name.replace('_', ' ')}",
        "description": table.description,
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "bytes": len(content),
        "hash": f"sha256:{hashlib.sha256(content).hexdigest()}",
        "dialect": {"delimiter": ",", "lineTerminator": "\n", "quoteChar": '"', "doubleQuote": True, "header": True},
        "schema": {"fields": [_field(field) for field in table.fields], "missingValues": [""]},
    }


def _field(field: Field) -> dict[str, Any]:
    described = {"name": field.name, "type": FIELD_TYPES[field.kind], "description": field.meaning}
    if field.kind == contract.NUMBER:
        described["format"] = "default"
    allowed = [value for value in field.values if value]
    # An empty cell is a missing value, which no list of values excludes.
    return {**described, "constraints": {"enum": allowed}} if allowed else described


def codebook(tables: Sequence[Published]) -> str:
    """Return as CSV what every column of every table means, and the words of the closed lists."""
    rows = [(table.key, field.name, FIELD_TYPES[field.kind], field.meaning) for table in tables for field in table.fields]
    lists = (
        ("estimate_type", contract.ESTIMATE_TYPES),
        ("method", contract.METHODS),
    )
    rows += [("(all)", f"{column} = {word}", "string", meaning) for column, words in lists for word, meaning in words.items()]
    return csv_text(pd.DataFrame(rows, columns=["table", "column", "type", "meaning"]))
