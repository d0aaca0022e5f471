"""Write docs/results-dictionary.md from the schemas that also test the tables."""

from __future__ import annotations

import argparse
from pathlib import Path

from alliance.files import write_text
from alliance.questions.results_dictionary import text

PAGE = Path(__file__).resolve().parents[1] / "docs" / "results-dictionary.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=PAGE)
    write_text(parser.parse_args().output, text())


if __name__ == "__main__":
    main()
