"""Write the MIBot study: one site, ten empathy items after one conversation, confidence before, after and a week later."""

from __future__ import annotations

import argparse
import csv
import os
import shutil
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("ALLIANCE_REAL_DATA") or HERE.parents[2].parent / "shared" / "realdata")
SOURCE = "mibot_care_empathy/mibot_survey_no_freetext.csv"
SITE_ID = "mibot"
N_ITEMS = 10
RULER = {"intake": "PreRulerConfidence", "post": "PostRulerConfidence", "follow_up": "WeekLaterRulerConfidence"}

SITE = """label: MIBot trial
data: rows
setting: online, chatbot as counsellor
id_pattern: "[0-9a-f]{{64}}"
expected_rows: {{survey.csv: {rows}}}
tables:
  - table: ratings
    files: survey.csv
    instrument: care
    rater: client
    timepoint: session
    columns: {{client_id: id, session: session}}
    items: "care_{{item}}"
    missing_codes: {{"0": does not apply}}
"""
TABLE = """  - table: outcomes
    files: survey.csv
    instrument: confidence_ruler
    rater: client
    timepoint: {timepoint}
    columns: {{client_id: id}}
    items: {{"1": confidence_{timepoint}}}
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
    site = folder / "data" / SITE_ID
    site.mkdir(parents=True)
    with open(site / "survey.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "session", *(f"care_{item}" for item in range(1, N_ITEMS + 1)), *(f"confidence_{name}" for name in RULER)])
        for row in rows:
            answers = [row[f"CAREQ{item}"] for item in range(1, N_ITEMS + 1)]
            writer.writerow([row["ParticipantID"], 1, *answers, *(row[column] for column in RULER.values())])
    tables = "".join(TABLE.format(timepoint=name) for name in RULER)
    (site / "site.yaml").write_text(SITE.format(rows=len(rows)) + tables, encoding="utf-8")
    return folder / "config.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where to write the study")
    parser.add_argument("--realdata", type=Path, default=SHARED, help="folder of the real data sets")
    given = parser.parse_args()
    print(make_study(given.folder, given.realdata))


if __name__ == "__main__":
    main()
