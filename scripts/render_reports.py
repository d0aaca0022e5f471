"""Render the pages of a scenario: study, sites, data quality, data dictionary, checklist."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from alliance.files import hold_text_as_python, write_text
from alliance.instruments import load_files
from alliance.reports import inputs, pages
from alliance.side_by_side import in_processes


def main() -> None:
    hold_text_as_python()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", required=True)
    parser.add_argument("--sites", required=True, type=inputs.parsed_sites, help="site ids as a JSON list")
    parser.add_argument("--site-tables", required=True, type=Path, help="folder with one folder of cleaned tables a site")
    parser.add_argument("--scores", required=True, type=Path, help="folder with one folder of scores a site")
    parser.add_argument("--tables", required=True, type=Path, help="folder with one folder of result tables a question")
    parser.add_argument("--issues", required=True, type=Path)
    parser.add_argument("--config", required=True, type=Path, help="resolved configuration")
    parser.add_argument("--constants", required=True, type=Path)
    parser.add_argument("--provenance", required=True, type=Path)
    parser.add_argument("--preregistration", required=True, type=json.loads, help="what was registered, as JSON; null: nothing")
    parser.add_argument("--deviations", required=True, type=Path)
    parser.add_argument("--instruments", required=True, nargs="*", type=Path, help="instrument files, shipped before own")
    parser.add_argument("--benchmarks", required=True, type=Path)
    parser.add_argument("--references", required=True, type=Path)
    parser.add_argument("--coverage", required=True, type=Path, help="coverage of intervals in simulations")
    parser.add_argument("--guide", required=True, type=Path, help="folder of what the report is held against")
    parser.add_argument("--headlines", required=True, type=Path)
    parser.add_argument("--workbook", default="", help="address of the workbook with all tables, as seen from the study page")
    parser.add_argument("--templates", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path)
    given = parser.parse_args()

    data = inputs.read(
        scenario=given.scenario,
        sites=given.sites,
        site_tables=given.site_tables,
        scores=given.scores,
        tables=given.tables,
        issues=given.issues,
        config=given.config,
        constants=given.constants,
        provenance=given.provenance,
        instruments=load_files(given.instruments),
        benchmarks=given.benchmarks,
        references=given.references,
        coverage=given.coverage,
        preregistration=given.preregistration,
        deviations=given.deviations,
        guide=given.guide,
        headlines=given.headlines,
        workbook=given.workbook,
    )
    # The last step of a run, when cores idle. Where processes are no copies, to hand them the tables would take longer.
    rendered = pages.render_all(data, given.templates, each=in_processes(2) if sys.platform == "linux" else map)
    for name, text in rendered.items():
        write_text(given.output / name, text)
    for stale in sorted(set(given.output.rglob("*.html")) - {given.output / name for name in rendered}):
        stale.unlink()


if __name__ == "__main__":
    main()
