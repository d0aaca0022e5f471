"""Pool the site summaries of one question into its result tables."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

import pandas as pd
from alliance.files import hold_text_as_python, read_json, write_csv
from alliance.questions import benchmarks, contract, pooled_sites
from alliance.questions.summary import SiteSummary


def main() -> None:
    hold_text_as_python()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--question", required=True)
    parser.add_argument("--scenario", required=True)
    parser.add_argument("--summaries", required=True, type=Path, help="folder with one folder of summaries a site")
    parser.add_argument("--sites", required=True, type=json.loads, help="site ids as a JSON list")
    parser.add_argument("--site-tables", required=True, type=Path, help="folder with one folder of cleaned tables a site")
    parser.add_argument("--needs", default=[], type=json.loads, help="questions whose tables are read, as a JSON list")
    parser.add_argument("--tables", type=Path, help="folder with one folder of result tables a question")
    parser.add_argument("--one-stage", nargs="?", default="", help="estimates over the rows of all sites, where the question has them")
    parser.add_argument("--options", required=True, type=json.loads, help="what the question reads of the configuration, as JSON")
    parser.add_argument("--benchmarks", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path)
    given = parser.parse_args()

    module = importlib.import_module(f"alliance.questions.{given.question}.question")
    statuses = [read_json(given.site_tables / site / "status.json") for site in sorted(given.sites)]
    summaries = pooled_sites.without(
        [SiteSummary.read(given.summaries / site) for site in sorted(given.sites)],
        pooled_sites.left_out(statuses, given.options["pooling"]["sites"]),
    )
    needed = {
        f"{question}/{table.name}": pd.read_csv(given.tables / question / f"{table.name}.csv")
        for question in given.needs
        for table in contract.TABLES
        if table.question == question
    }
    if given.one_stage:
        needed["one_stage"] = pd.read_csv(given.one_stage, keep_default_na=False, na_values=[""])
    published = benchmarks.read(given.benchmarks)
    pooled = module.pool(summaries, given.options, needed)
    for name in module.tables:
        table = benchmarks.fill(pooled[name].assign(scenario=given.scenario), published, given.question, name)
        contract.check(table, given.question, name)
        write_csv(given.output / f"{name}.csv", table)


if __name__ == "__main__":
    main()
