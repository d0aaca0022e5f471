"""Write the sai study: 28 student studies as sites, 20 anxiety items on up to four occasions."""

from __future__ import annotations

import csv
from pathlib import Path

from study_files import start_study, write_site

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


def make_study(folder: Path, realdata: Path) -> Path:
    """Write the study into a new or empty folder and return its configuration file; ``realdata`` is the folder of the real data sets."""
    config = start_study("sai", folder)
    with open(realdata / SOURCE, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    header = ["id", "occasion", *(f"item_{number}" for number in range(1, N_ITEMS + 1))]
    for label in sorted({row[0] for row in rows}):
        answers = [row for row in rows if row[0] == label]
        seen: set[tuple[str, str]] = set()
        sent = []
        for line, row in enumerate(answers, start=1):
            person = f"P{row[2]}"
            # Six people carry no number and one number stands twice on one occasion: each such row is a person of its own.
            if row[2] == "NA" or (person, row[1]) in seen:
                person = f"L{line}"
            seen.add((person, row[1]))
            sent.append([person, row[1], *row[3 : 3 + N_ITEMS]])
        site_file = SITE.format(label=label, rows=len(answers))
        write_site(folder, label.lower().replace(".", "-"), "answers.csv", header, sent, site_file)
    return config
