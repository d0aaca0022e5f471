"""Write the lq2002 study: 49 army companies as sites, three item-level scales of one survey."""

from __future__ import annotations

from pathlib import Path

from study_files import read_rows, start_study, write_site

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
    timepoint: session
    columns: {{client_id: id, session: survey}}
    items: "{prefix}_{{item}}"
"""


def make_study(folder: Path, realdata: Path) -> Path:
    """Write the study into a new or empty folder and return its configuration file; ``realdata`` is the folder of the real data sets."""
    config = start_study("lq2002", folder)
    rows = read_rows(realdata / SOURCE)
    items = [(source, number, prefix) for source, (prefix, _, size) in SCALES.items() for number in range(1, size + 1)]
    header = ["id", "survey", *(f"{prefix}_{number}" for _, number, prefix in items)]
    tables = "".join(TABLE.format(instrument=instrument, prefix=prefix) for prefix, instrument, _ in SCALES.values())
    for company in sorted({int(row["COMPID"]) for row in rows}):
        members = [row for row in rows if int(row["COMPID"]) == company]
        answers = [[f"S{int(row['SUB']):04d}", "1", *(row[f"{source}{number:02d}"] for source, number, _ in items)] for row in members]
        write_site(
            folder, f"company-{company:02d}", "survey.csv", header, answers, SITE.format(company=company, rows=len(members)) + tables
        )
    return config
