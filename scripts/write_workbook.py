"""Write all tables of a scenario as one Excel workbook."""

from __future__ import annotations

import argparse
from pathlib import Path

from alliance.files import hold_text_as_python, read_json, replacing
from alliance.reports import inputs, workbook


def main() -> None:
    hold_text_as_python()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", required=True)
    parser.add_argument("--tables", required=True, type=Path, help="folder with one folder of result tables a question")
    parser.add_argument("--config", required=True, type=Path, help="resolved configuration")
    parser.add_argument("--provenance", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path)
    given = parser.parse_args()

    options = read_json(given.config)
    questions = [name for name, chosen in options["questions"].items() if chosen.get("enabled")]
    facts = workbook.facts(options, given.scenario, read_json(given.provenance))
    with replacing(given.output) as temporary:
        temporary.write_bytes(workbook.build(inputs.read_tables(given.tables, questions), facts))


if __name__ == "__main__":
    main()
