"""Write the MIBot study: one site, ten empathy items after one conversation, confidence before, after and a week later."""

from __future__ import annotations

from pathlib import Path

from study_files import read_rows, start_study, write_site

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


def make_study(folder: Path, realdata: Path) -> Path:
    """Write the study into a new or empty folder and return its configuration file; ``realdata`` is the folder of the real data sets."""
    config = start_study("mibot", folder)
    rows = read_rows(realdata / SOURCE)
    header = ["id", "session", *(f"care_{item}" for item in range(1, N_ITEMS + 1)), *(f"confidence_{name}" for name in RULER)]
    columns = [*(f"CAREQ{item}" for item in range(1, N_ITEMS + 1)), *RULER.values()]
    answers = [[row["ParticipantID"], 1, *(row[column] for column in columns)] for row in rows]
    tables = "".join(TABLE.format(timepoint=name) for name in RULER)
    write_site(folder, SITE_ID, "survey.csv", header, answers, SITE.format(rows=len(rows)) + tables)
    return config
