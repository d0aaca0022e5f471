"""What faults and statuses say in words, or carry along, names no person, file or column of a site."""

from __future__ import annotations

import dataclasses

import pytest
from alliance.issues import Issue, Severity
from alliance.publishing import wording
from alliance.publishing.disclosure import gate
from unit.published_study import PUBLIC, SHARE, gated, status, study

WARN = Severity.WARN


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("Columns that no table uses are dropped: Anna Muster, Bert Beispiel.", "Columns that no table uses are dropped."),
        ("No table reads these files: Muster_Anna.docx, interview 3 May.txt.", "No table reads these files."),
        ("Columns whose names identify people: patient, Muster.", "Columns whose names identify people."),
        ("'Anna' in WAI_3 is 4 in the codebook and 3 elsewhere", "… in WAI_3 is 4 in the codebook and 3 elsewhere"),
        ("Value labels disagree between items: 'Anna' is 3 in WAI_3 (2 labels).", "Value labels disagree between items."),
        ("The file is a duplicate of Anna Muster.csv: both have the same content.", "The file is a duplicate of another file."),
        ("The session number '12 Muster' is not a whole number from 1.", "The session number … is not a whole number from 1."),
        (
            "The table needs columns that the file does not have: WAI_1 (nearest: Anna).",
            "The table needs columns that the file does not have.",
        ),
        ("The value is outside the possible answers (1 to 7); the cell is missing.", None),
        ("The row stands twice", None),
    ],
)
def test_messages_of_faults_lose_what_they_list_and_quote(message, told):
    assert wording.without_details(message) == (told or message)


@pytest.mark.parametrize("profile", [PUBLIC, SHARE], ids=["public", "share"])
def test_faults_list_no_names_of_columns_files_or_people(profile):
    found = [
        Issue("H09", WARN, "Columns that no table uses are dropped: Anna Muster, Bert.", "", "elm", "a.csv", n_affected=12),
        Issue("F36", WARN, "No table reads these files: Muster_Anna.docx.", "", "elm", n_affected=11),
        Issue("X01", WARN, "Write to muster@clinic.example", "", "elm", n_affected=11),
        Issue("X02", WARN, "Sheet Muster of b.csv differs from Beispiel in row", "", "elm", "b.csv", "Muster", 3, "Beispiel", "", 11),
        Issue("X03", WARN, "Since b.csv another column is asked", "", "elm", n_affected=11),
    ]
    made = gate(dataclasses.replace(study(), issues=found), {}, profile).data.issues
    assert len(made) == 5
    said = " ".join(issue.message for issue in made)
    assert [name for name in ("Muster", "Bert", "Anna", "Beispiel", "b.csv", "@") if name in said] == []


def test_reasons_of_sites_left_out_list_no_names_either():
    reasons = [
        "a.csv: Columns whose names identify people: Muster, Anna.",
        "The file is a duplicate of Muster.csv: both have the same content.",
    ]
    out = status("willow", status="excluded", counts={"clients": 0}, reasons=reasons)
    made = gated({}, statuses=[status("birch"), status("oak"), out]).data.statuses
    assert next(one for one in made if one["site"] == "willow")["reasons"] == [
        "Columns whose names identify people.",
        "The file is a duplicate of another file.",
    ]


@pytest.mark.parametrize("profile", [PUBLIC, SHARE], ids=["public", "share"])
def test_of_a_status_nothing_is_published_that_is_not_declared(profile):
    sites = [status(site, oldest_client=94, counts={"clients": 60, "therapists": 10, "observers": 2}) for site in ("birch", "elm")]
    sites[0]["instruments"] = {"wai_sr": {"n": 2, "raters": ["client"], "oldest": 94}, "care": {"n": 400, "raters": ["client"]}}
    made = gated({}, profile, statuses=sites).data.statuses
    assert "94" not in repr(made) and "observers" not in repr(made)
    assert made[0]["instruments"] == {"care": {"n": 400, "raters": ["client"]}, "wai_sr": {"raters": ["client"]}}
    assert made[0]["counts"] == {"clients": 60, "therapists": 10}
