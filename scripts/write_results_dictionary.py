"""Write docs/results-dictionary.md from the schemas that also test the tables and the summary of simulations."""

from __future__ import annotations

import argparse
from pathlib import Path

from alliance.changes import comparison
from alliance.configuration import preregistration
from alliance.files import write_text
from alliance.questions.coverage import read
from alliance.questions.results_dictionary import text
from alliance.sensitivity.contract import TABLES

PROJECT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--coverage", type=Path, default=PROJECT / "workflow" / "simulated_coverage.csv")
    parser.add_argument("--output", type=Path, default=PROJECT / "docs" / "results-dictionary.md")
    given = parser.parse_args()
    write_text(given.output, text(read(given.coverage), TABLES, preregistration.DESCRIBED | comparison.DESCRIBED))


if __name__ == "__main__":
    main()
