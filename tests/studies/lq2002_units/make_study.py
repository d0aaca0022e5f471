"""Write the lq2002 data with companies in the place of therapists: two sites, by even and odd numbers of companies."""

from __future__ import annotations

import shutil
from pathlib import Path

from study_files import STUDIES, read_rows, write_site

SOURCE = "lq2002_multilevel/lq2002.csv"
ITEMS = 11
TRAITS = {"significance": ("TSIG", 3), "hostility": ("HOSTIL", 5)}

SITE = """label: Companies with {parity} numbers
data: rows
id_pattern: "S[0-9]{{4}}"
tables:
  - table: ratings
    files: survey.csv
    layout: one_row_per_session
    instrument: lq_leadership
    rater: client
    timepoint: session
    columns: {{client_id: id, therapist_id: company, session: survey}}
    items: "lead_{{item}}"
  - table: clients
    files: survey.csv
    columns: {{client_id: id, therapist_id: company, significance: significance, hostility: hostility}}
  - table: therapists
    files: companies.csv
    columns: {{therapist_id: company, members: members}}
"""


def make_study(folder: Path, realdata: Path) -> Path:
    """Write the study into a new or empty folder and return its configuration file; ``realdata`` is the folder of the real data sets."""
    shutil.copytree(STUDIES / "lq2002" / "instruments", folder / "instruments")
    config = Path(shutil.copy(STUDIES / "lq2002_units" / "config.yaml", folder / "config.yaml"))
    rows = read_rows(realdata / SOURCE)
    header = ["id", "company", "survey", *(f"lead_{number}" for number in range(1, ITEMS + 1)), *TRAITS]
    for parity, place in (("even", 0), ("odd", 1)):
        members = [row for row in rows if int(row["COMPID"]) % 2 == place]
        answers = [
            [
                f"S{int(row['SUB']):04d}",
                f"C{int(row['COMPID']):02d}",
                "1",
                *(row[f"LEAD{number:02d}"] for number in range(1, ITEMS + 1)),
                *(repr(_mean(row, stem, size)) for stem, size in TRAITS.values()),
            ]
            for row in members
        ]
        write_site(folder, f"{parity}-numbers", "survey.csv", header, answers, SITE.format(parity=parity))
        companies = sorted({answer[1] for answer in answers})
        sizes = [f"{company},{sum(answer[1] == company for answer in answers)}" for company in companies]
        place_of = folder / "data" / f"{parity}-numbers" / "companies.csv"
        place_of.write_text("\n".join(["company,members", *sizes]) + "\n", encoding="utf-8")
    return config


def _mean(row: dict[str, str], stem: str, size: int) -> float:
    return sum(float(row[f"{stem}{number:02d}"]) for number in range(1, size + 1)) / size
