"""Pool every specification of the multiverse over sites."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from alliance.files import hold_text_as_python, read_json, write_csv
from alliance.questions.summary import SiteSummary
from alliance.sensitivity import contract, pooled_multiverse


def main() -> None:
    hold_text_as_python()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--summaries", required=True, type=Path, help="folder with one folder of summaries a site")
    parser.add_argument("--sites", required=True, type=json.loads, help="site ids as a JSON list")
    parser.add_argument("--site-tables", required=True, type=Path, help="folder with one folder of cleaned tables a site")
    parser.add_argument("--options", required=True, type=json.loads, help="what the multiverse reads of the configuration, as JSON")
    parser.add_argument("--output", required=True, type=Path)
    given = parser.parse_args()

    sites = sorted(given.sites)
    summaries = [SiteSummary.read(given.summaries / site) for site in sites]
    statuses = [read_json(given.site_tables / site / "status.json") for site in sites]
    tables = pooled_multiverse.tables_of(summaries, statuses, given.options)
    for schema in contract.OF_MULTIVERSE:
        contract.check(tables[schema.name], schema, list(schema.identifying))
        write_csv(given.output / f"{schema.name}.csv", tables[schema.name])


if __name__ == "__main__":
    main()
