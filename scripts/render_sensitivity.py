"""Render the page of sensitivity: scenarios side by side, and the multiverse."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd
from alliance.files import hold_text_as_python, read_json, write_text
from alliance.reports import bibliography, inputs
from alliance.reports.sensitivity_page import sensitivity_page


def main() -> None:
    hold_text_as_python()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", required=True, type=inputs.parsed_sites, help="site ids as a JSON list")
    parser.add_argument("--site-tables", required=True, type=Path, help="folder with one folder of cleaned tables a site")
    parser.add_argument("--tables", required=True, type=Path, help="folder of the tables of sensitivity")
    parser.add_argument("--config", required=True, type=Path, help="resolved configuration of base")
    parser.add_argument("--multiverse", required=True, type=json.loads, help="what the multiverse reads, as JSON; {}: no multiverse")
    parser.add_argument("--provenance", required=True, type=Path)
    parser.add_argument("--preregistration", required=True, type=json.loads, help="what was registered, as JSON; null: nothing")
    parser.add_argument("--deviations", required=True, nargs="+", type=Path, help="one file a scenario")
    parser.add_argument("--references", required=True, type=Path)
    parser.add_argument("--templates", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path)
    given = parser.parse_args()

    data = inputs.ReportData(
        scenario="base",
        options=read_json(given.config),
        provenance=read_json(given.provenance),
        constants={},
        statuses=[read_json(given.site_tables / site / "status.json") for site in given.sites],
        issues=(),
        tables={"sensitivity": inputs.read_sensitivity_tables(given.tables)},
        references=bibliography.parse(given.references.read_text(encoding="utf-8")),
        preregistration=given.preregistration,
        deviations=pd.concat([inputs.read_deviations(path) for path in given.deviations], ignore_index=True),
    )
    write_text(given.output, sensitivity_page(data, given.multiverse, given.templates))


if __name__ == "__main__":
    main()
