"""Write the lq2002 study: 49 army companies as sites, three item-level scales of one survey."""

from __future__ import annotations

import argparse
import csv
import os
import shutil
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("ALLIANCE_REAL_DATA") or HERE.parents[2].parent / "shared" / "realdata")
SOURCE = "lq2002_multilevel/lq2002.csv"
SCALES = {"LEAD": ("lead", "lq_leadership", 11), "TSIG": ("tsig", "lq_task_significance", 3), "HOSTIL": ("host", "lq_hostility", 5)}

SITE = """label: Company {company}
data: rows
setting: army company
id_pattern: "S[0-9]{{4}}"
expected_rows: {{survey.csv: {rows}}}
tables:
"""
TABLE = """  - table: ratings
    files: survey.csv
    layout: one_row_per_session
    instrument: {instrument}
    rater: client
    timepoint: intake
    columns: {{client_id: id}}
    items: "{prefix}_{{item}}"
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
        rows = list(csv.DictReader(file))
    for company in sorted({row["COMPID"] for row in rows}, key=int):
        members = [row for row in rows if row["COMPID"] == company]
        site = folder / "data" / f"company-{int(company):02d}"
        site.mkdir(parents=True)
        with open(site / "survey.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            items = [(source, number, prefix) for source, (prefix, _, size) in SCALES.items() for number in range(1, size + 1)]
            writer.writerow(["id", *(f"{prefix}_{number}" for _, number, prefix in items)])
            for row in members:
                writer.writerow([f"S{int(row['SUB']):04d}", *(row[f"{source}{number:02d}"] for source, number, _ in items)])
        tables = "".join(TABLE.format(instrument=instrument, prefix=prefix) for prefix, instrument, _ in SCALES.values())
        (site / "site.yaml").write_text(SITE.format(company=int(company), rows=len(members)) + tables, encoding="utf-8")
    return folder / "config.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where to write the study")
    parser.add_argument("--realdata", type=Path, default=SHARED, help="folder of the real data sets")
    given = parser.parse_args()
    print(make_study(given.folder, given.realdata))


if __name__ == "__main__":
    main()
