"""Write the Roorda study: 45 published correlation matrices as sites that send a summary only."""

from __future__ import annotations

from pathlib import Path

from study_files import read_rows, start_study, write_site

SOURCE = "metasem_corr_matrices/Roorda11_long.csv"
NAMES = {"pos": "relation", "neg": "negative_relation", "enga": "engagement", "achiev": "achievement"}

SITE = """label: Study {label}
data: summary
setting: school
matrix: {{file: moments.csv, scale: correlation}}
"""


def make_study(folder: Path, realdata: Path) -> Path:
    """Write the study into a new or empty folder and return its configuration file; ``realdata`` is the folder of the real data sets."""
    config = start_study("roorda", folder)
    rows = read_rows(realdata / SOURCE)
    for label in sorted({row["study"] for row in rows}, key=int):
        cells = [
            [NAMES[row["row"]], NAMES[row["col"]], row["n"], "" if row["r"] == "NA" else row["r"]] for row in rows if row["study"] == label
        ]
        write_site(folder, f"study-{int(label):02d}", "moments.csv", ["var1", "var2", "n", "cov"], cells, SITE.format(label=int(label)))
    return config
