"""Give a scenario the tables of another one that agrees with it on every key that the tables rest on."""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

from alliance.files import write_text


def renamed(text: str, scenario: str) -> str:
    """Return a result table with another name in its column ``scenario``; everything else stays as it is, byte for byte.

    Parameters
    ----------
    text : str
        The table as CSV with a header.
    scenario : str
    """
    rows = csv.reader(io.StringIO(text, newline=""))
    header = next(rows)
    place = header.index("scenario")
    made = io.StringIO(newline="")
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        row[place] = scenario
        writer.writerow(row)
    return made.getvalue()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", required=True, help="the scenario that gets the tables")
    parser.add_argument("--tables", required=True, nargs="+", type=Path, help="tables of other scenarios, each in a folder of its question")
    parser.add_argument("--output", required=True, type=Path, help="folder with one folder of result tables a question")
    given = parser.parse_args(arguments)
    for path in given.tables:
        text = renamed(path.read_bytes().decode("utf-8"), given.scenario)
        write_text(given.output / path.parent.name / path.name, text)


if __name__ == "__main__":
    main()
