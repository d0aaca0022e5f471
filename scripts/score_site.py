"""Score one site: its cleaned ratings in; scores, item statistics, moments of the scores and faults out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from alliance.files import hold_text_as_python, read_json, read_parquet, replacing, write_csv, write_text
from alliance.instruments import Instrument, load_files
from alliance.instruments.item_statistics import empty_items, empty_moments, groups, item_statistics, reliabilities, scale_moments
from alliance.instruments.scoring import empty_scores, parts_of_site, response_limits, score
from alliance.instruments.scoring_issues import scoring_issues
from alliance.issues import Issue, line, to_csv

ROWS_OF_GROUP = 100_000
"""Rows of scores that are held before they are written."""


def main(arguments: list[str] | None = None) -> int:
    """Run the step; return the exit status."""
    hold_text_as_python()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site-tables", required=True, type=Path, help="folder of the site's cleaned tables")
    parser.add_argument("--instruments", nargs="*", type=Path, default=[], help="instrument files; of one key, later files override")
    parser.add_argument("--options", required=True, help="section `scoring` of the configuration, as JSON")
    parser.add_argument("--output", required=True, type=Path, help="folder for the scores")
    given = parser.parse_args(arguments)

    status = read_json(given.site_tables / "status.json")
    registry = load_files(given.instruments)
    options = json.loads(given.options)
    ratings, outcomes = ({}, None) if status["status"] == "excluded" else _read(given.site_tables)
    tables = _Tables(status["site"], registry, options)
    with (
        replacing(given.output / "scores.parquet") as temporary,
        pq.ParquetWriter(temporary, _schema(), compression="zstd", write_statistics=False) as writer,
    ):
        for rows in _row_groups(tables.scored(ratings, outcomes)):
            writer.write_table(rows)
    write_csv(given.output / "item_statistics.csv", pd.concat(tables.items, ignore_index=True))
    write_csv(given.output / "scale_moments.csv", pd.concat(tables.moments, ignore_index=True))
    write_text(given.output / "issues.csv", to_csv(tables.issues))
    for issue in tables.issues:
        print(line(issue), file=sys.stderr)
    return 0


class _Tables:
    """What is written beside the scores, collected while the scores go by part by part."""

    def __init__(self, site: str, registry: dict[str, Instrument], options: dict[str, Any]):
        self.site, self.registry, self.options = site, registry, options
        self.items: list[pd.DataFrame] = [empty_items()]
        self.moments: list[pd.DataFrame] = [empty_moments()]
        self.issues: list[Issue] = []

    def scored(self, ratings: dict[str, pd.DataFrame], outcomes: pd.DataFrame | None) -> Iterator[pd.DataFrame]:
        for key, parent, table in parts_of_site(ratings, outcomes, self.registry, self.options):
            instrument = self.registry[key]
            part = score(table, instrument, self.options, parent)
            grouped = groups(table, instrument)
            alphas = reliabilities(table, instrument, self.options, grouped).assign(instrument=key)
            self.moments.append(scale_moments(part, self.registry, self.options, alphas, _responses(table, instrument)))
            if not parent:
                self.items.append(item_statistics(table, instrument, self.options, grouped))
                self.issues += scoring_issues(self.site, table, instrument, self.options)
            yield part


def _row_groups(parts: Iterable[pd.DataFrame]) -> Iterator[pa.Table]:
    """Yield parts put together: of a file with a group of rows for each of them, every column would be read in as many pieces."""
    waiting: list[pa.Table] = []
    for part in parts:
        waiting.append(pa.Table.from_pandas(part, schema=_schema(), preserve_index=False))
        if sum(table.num_rows for table in waiting) >= ROWS_OF_GROUP:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _read(folder: Path) -> tuple[dict[str, pd.DataFrame], pd.DataFrame | None]:
    ratings = {path.stem: read_parquet(path) for path in sorted((folder / "ratings").glob("*.parquet"))}
    outcomes = folder / "outcomes.parquet"
    return ratings, read_parquet(outcomes) if outcomes.exists() else None


def _responses(table: pd.DataFrame, instrument: Instrument) -> pd.DataFrame:
    low, high = response_limits(table, instrument)
    limits = pd.DataFrame({"rater": table["rater"], "response_min": low, "response_max": high}).dropna()
    ranges = limits.groupby("rater", as_index=False, observed=True).agg({"response_min": "min", "response_max": "max"})
    return ranges.assign(instrument=instrument.key)


def _schema() -> pa.Schema:
    return pa.Schema.from_pandas(empty_scores(), preserve_index=False)


if __name__ == "__main__":
    sys.exit(main())
