"""What differs between the bundle that was published last and a new one."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from alliance.configuration.publishing import PROFILES
from alliance.publishing.decisions import DisclosureError
from alliance.publishing.profiles import INTERNAL
from alliance.publishing.published_tables import HEADLINES, STUDY, Published
from alliance.questions import contract
from alliance.reports import numbers

ALIKE = 1e-9
"""Relative difference up to which two numbers count as the same."""

_SHOWN = ("estimate", "ci_low", "ci_high")
_TYPES = {"string": contract.TEXT, "number": contract.NUMBER, "integer": contract.COUNT}


class UnreadableBundle(Exception):
    """The bundle published last cannot be read; the message says why."""


@dataclass(frozen=True)
class LastBundle:
    """What was published last: version, digest of the data, columns and rows of its tables by question and name, its profile."""

    version: str
    data_digest: str
    columns: Mapping[str, tuple[str, ...]]
    tables: Mapping[str, pd.DataFrame]
    profile: str = ""

    def of_scenario(self, scenario: str) -> dict[str, pd.DataFrame]:
        """Return the result tables of one scenario, with all columns that they had."""
        chosen = {
            key: table for key, table in self.tables.items() if not key.startswith((f"{STUDY}/", "sensitivity/")) and "scenario" in table
        }
        parts = {key: table[table["scenario"].eq(scenario)].reset_index(drop=True) for key, table in chosen.items()}
        return {key: part for key, part in parts.items() if len(part)}

    @property
    def scenarios(self) -> list[str]:
        """The scenarios that were published."""
        tables = [table["scenario"] for key, table in self.tables.items() if not key.startswith("sensitivity/") and "scenario" in table]
        return list(dict.fromkeys(name for column in tables for name in column.unique()))

    @property
    def over_scenarios(self) -> dict[str, pd.DataFrame]:
        """The tables over scenarios, by ``sensitivity/<table>``."""
        return {key: table for key, table in self.tables.items() if key.startswith("sensitivity/")}


def read_last(path: Path) -> LastBundle:
    """Read the tables of a bundle, a folder or its archive.

    Raises
    ------
    UnreadableBundle
        Where it is missing, holds no data package, or a table of it cannot be read.
    """
    try:
        if path.is_dir():
            return _read(lambda name: (path / name).read_bytes())
        with zipfile.ZipFile(path) as archive:
            # Everything stands in one folder of the archive.
            within = {name.split("/", 1)[-1]: name for name in archive.namelist()}
            return _read(lambda name: archive.read(within[name]))
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise UnreadableBundle(f"cannot be read as a bundle of make publish ({type(error).__name__}: {error})") from None


def _read(content: Callable[[str], bytes]) -> LastBundle:
    package = json.loads(content("datapackage.json"))
    columns, tables = {}, {}
    for resource in package["resources"]:
        key = resource["path"].removeprefix("tables/").removesuffix(".csv")
        types = {field["name"]: _TYPES[field["type"]] for field in resource["schema"]["fields"]}
        cells = pd.read_csv(io.BytesIO(content(resource["path"])), dtype=object, keep_default_na=False, encoding="utf-8")
        columns[key] = tuple(cells.columns)
        tables[key] = contract.typed(cells.replace("", None), types)
    digest = json.loads(content("base/provenance.json"))["data_digest"]
    return LastBundle(str(package.get("version", "")), digest, columns, tables, json.loads(content("disclosure.json"))["profile"])


def compared_with(last: LastBundle | None, profile: str, named: bool) -> LastBundle | None:
    """Return the bundle with which a new one must be compared; None: none was given away.

    Parameters
    ----------
    last : LastBundle or None
        The one that is named, else the one that stands.
    profile : str
        Of the new one.
    named : bool
        Whether it is named, so that it stays when the new one takes the place of the one that stands.

    Raises
    ------
    DisclosureError
        Where a bundle for fewer readers would take the place of one for more, which nothing would be compared with any more.
    """
    if last is None or (last.profile == INTERNAL and profile != INTERNAL):
        return None
    readers = list(PROFILES)
    if not named and last.profile in readers and readers.index(profile) < readers.index(last.profile):
        raise DisclosureError(
            [
                f"a bundle of profile {profile} would take the place of one of profile {last.profile}, with which the next must be "
                "compared: keep that one (a copy of its folder or its zip) and name it in publish.last_bundle"
            ]
        )
    return last


def changes_markdown(before: LastBundle | None, tables: Sequence[Published], version: str, decimals: int) -> str:
    """Return ``CHANGES.md``: headline numbers that differ, and tables and columns that are new or gone.

    Counts of clients are not told, since their differences could tell of one of them.

    Parameters
    ----------
    before : LastBundle or None
        None where nothing was published before.
    tables : sequence of Published
    version : str
        Version of the new bundle.
    decimals : int
        Decimals of printed numbers.
    """
    lines = [f"# Changes{f' in version {version}' if version else ''}", ""]
    if before is None:
        return "\n".join([*lines, "No bundle was published before, so there is nothing to compare with."]) + "\n"
    since = f"version {before.version}" if before.version else "the bundle before"
    lines += [f"Compared with {since}.", "", "## Headline numbers", ""]
    now = next(table.rows for table in tables if table.key == f"{STUDY}/{HEADLINES}")
    lines += _headline_lines(before.tables.get(f"{STUDY}/{HEADLINES}"), now, decimals)
    lines += [
        "",
        "## Tables and columns",
        "",
        *_shape_lines(before.columns, {table.key: tuple(field.name for field in table.fields) for table in tables}),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _headline_lines(before: pd.DataFrame | None, now: pd.DataFrame, decimals: int) -> list[str]:
    old = {} if before is None else {(row.scenario, row.headline): row for row in before.itertuples()}
    new = {(row.scenario, row.headline): row for row in now.itertuples()}
    rows = []
    for key in [*new, *(key for key in old if key not in new)]:
        first, second = old.get(key), new.get(key)
        if first is not None and second is not None and _same(first, second):
            continue
        label = (second if second is not None else first).label
        rows.append(f"| {key[0]} | {_cell(label)} | {_printed(first, decimals)} | {_printed(second, decimals)} |")
    if not rows:
        return [f"None of {len(new)} headline numbers differs."]
    told = f"{len(rows)} of {len({*old, *new})} headline numbers differ."
    return [told, "", "| scenario | number | before | now |", "| --- | --- | --- | --- |", *rows]


def _same(first: Any, second: Any) -> bool:
    def alike(name: str) -> bool:
        one, other = getattr(first, name), getattr(second, name)
        if pd.isna(one) or pd.isna(other):
            return bool(pd.isna(one) and pd.isna(other))
        return math.isclose(one, other, rel_tol=ALIKE, abs_tol=1e-12)

    return first.status == second.status and all(alike(name) for name in _SHOWN)


def _printed(row: Any, decimals: int) -> str:
    if row is None:
        return "not there"
    if row.status not in contract.WITH_NUMBERS:
        return row.status.replace("_", " ")
    estimate, low, high = (getattr(row, name) for name in _SHOWN)
    interval = "" if pd.isna(low) or pd.isna(high) else f" [{numbers.decimal(low, decimals)}, {numbers.decimal(high, decimals)}]"
    return f"{numbers.decimal(estimate, decimals)}{interval}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _shape_lines(before: Mapping[str, Sequence[str]], now: Mapping[str, Sequence[str]]) -> list[str]:
    lines = [f"- new table `{key}`" for key in now if key not in before]
    lines += [f"- table `{key}` is gone" for key in before if key not in now]
    for key in (key for key in now if key in before):
        lines += [f"- `{key}`: new column `{name}`" for name in now[key] if name not in before[key]]
        lines += [f"- `{key}`: column `{name}` is gone" for name in before[key] if name not in now[key]]
    return lines or ["All tables have the columns they had."]
