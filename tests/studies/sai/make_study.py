"""Write the sai study: 28 student studies as sites, 20 anxiety items on up to four occasions."""

from __future__ import annotations

import argparse
import csv
import os
import shutil
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("ALLIANCE_REAL_DATA") or HERE.parents[2].parent / "shared" / "realdata")
SOURCE = "psychtools_sai/sai.csv"
N_ITEMS = 20

SITE = """label: Study {label}
data: rows
setting: student sample
missing_codes: {{"NA": not answered}}
expected_rows: {{answers.csv: {rows}}}
tables:
  - table: ratings
    files: answers.csv
    instrument: state_anxiety
    rater: client
    timepoint: session
    columns: {{client_id: id, session: occasion}}
    items: "item_{{item}}"
"""


def make_study(folder: Path, realdata: Path = SHARED) -> Path:
    """Write the study into a folder and return its configuration file.

    Parameters
    ----------
    folder : Path
        New or empty folder.
    realdata : Path
        Folder of the real data sets.
    """
    folder = Path(folder)
    shutil.copytree(HERE / "instruments", folder / "instruments")
    shutil.copy(HERE / "config.yaml", folder / "config.yaml")
    with open(Path(realdata) / SOURCE, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    for label in sorted({row[0] for row in rows}):
        answers = [row for row in rows if row[0] == label]
        site = folder / "data" / label.lower().replace(".", "-")
        site.mkdir(parents=True)
        seen: set[tuple[str, str]] = set()
        with open(site / "answers.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["id", "occasion", *(f"item_{number}" for number in range(1, N_ITEMS + 1))])
            for line, row in enumerate(answers, start=1):
                person = f"P{row[2]}"
                # Six people carry no number and one number stands twice on one occasion: each such row is a person of its own.
                if row[2] == "NA" or (person, row[1]) in seen:
                    person = f"L{line}"
                seen.add((person, row[1]))
                writer.writerow([person, row[1], *row[3 : 3 + N_ITEMS]])
        (site / "site.yaml").write_text(SITE.format(label=label, rows=len(answers)), encoding="utf-8")
    return folder / "config.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where to write the study")
    parser.add_argument("--realdata", type=Path, default=SHARED, help="folder of the real data sets")
    given = parser.parse_args()
    print(make_study(given.folder, given.realdata))


if __name__ == "__main__":
    main()
