"""Write the Roorda study: 45 published correlation matrices as sites that send a summary only."""

from __future__ import annotations

import argparse
import csv
import os
import shutil
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("ALLIANCE_REAL_DATA") or HERE.parents[2].parent / "shared" / "realdata")
SOURCE = "metasem_corr_matrices/Roorda11_long.csv"
NAMES = {"pos": "relation", "neg": "negative_relation", "enga": "engagement", "achiev": "achievement"}

SITE = """label: Study {label}
data: summary
setting: school
matrix: {{file: moments.csv, scale: correlation}}
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
    for label in sorted({row["study"] for row in rows}, key=int):
        site = folder / "data" / f"study-{int(label):02d}"
        site.mkdir(parents=True)
        with open(site / "moments.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["var1", "var2", "n", "cov"])
            for row in rows:
                if row["study"] == label:
                    writer.writerow([NAMES[row["row"]], NAMES[row["col"]], row["n"], "" if row["r"] == "NA" else row["r"]])
        (site / "site.yaml").write_text(SITE.format(label=int(label)), encoding="utf-8")
    return folder / "config.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where to write the study")
    parser.add_argument("--realdata", type=Path, default=SHARED, help="folder of the real data sets")
    given = parser.parse_args()
    print(make_study(given.folder, given.realdata))


if __name__ == "__main__":
    main()
