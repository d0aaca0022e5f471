"""Every layout and export ends in the same tables; headers that do not fit are refused with all that is missing."""

from __future__ import annotations

import pandas as pd
import pytest
from cleaning_sites import ITEMS, account, answers, clean, found, ratings, table

ROWS = {
    (client, session): [(client * item + session) % 5 + 1 for item in range(1, 13)]
    for client in range(1, 7)
    for session in (1, 2, 3)
    if (client, session) != (2, 3)
}
LONG = table(*(f"C{client},{session},{','.join(map(str, given))}" for (client, session), given in ROWS.items()))


@pytest.fixture
def expected(tmp_path):
    return clean(tmp_path / "expected", ratings(), {"ratings.csv": LONG}).ratings["wai_sr"]


def test_one_row_a_client_gives_the_same_ratings(tmp_path, expected):
    header = "id," + ",".join(f"s{session}_wai{item:02d}" for session in (1, 2, 3) for item in range(1, 13))
    lines = []
    for client in range(1, 7):
        cells = [str(value) for session in (1, 2, 3) for value in ROWS.get((client, session), [""] * 12)]
        lines.append(f"C{client}," + ",".join(cells))
    tables = ratings("layout: one_row_per_client").replace("wai_{item}", "s{session}_wai{item}").replace(", session: session", "")
    cleaned = clean(tmp_path / "wide", tables, {"ratings.csv": table(*lines, header=header)})
    pd.testing.assert_frame_equal(cleaned.ratings["wai_sr"], expected)
    assert account(cleaned) == (6, 6, 0, 0)


def test_one_row_a_response_gives_the_same_ratings(tmp_path, expected):
    lines = [f"C{client},{session},wai_{item},{value}" for (client, session), given in ROWS.items() for item, value in enumerate(given, 1)]
    tables = ratings("layout: one_row_per_response", columns="item: item, value: value")
    cleaned = clean(tmp_path / "responses", tables, {"ratings.csv": table(*reversed(lines), header="id,session,item,value")})
    pd.testing.assert_frame_equal(cleaned.ratings["wai_sr"], expected)
    assert account(cleaned) == (204, 204, 0, 0)


def test_single_responses_repeated_contradicted_or_unknown_are_quarantined(tmp_path):
    lines = ["C1,1,wai_1,3", "C1,1,wai_1,3", "C1,1,wai_2,3", "C1,1,wai_2,4", "C1,1,wai_13,4", "C1,1,wai_3,9", "C1,1,wai_4,"]
    tables = ratings("layout: one_row_per_response", columns="item: item, value: value")
    cleaned = clean(tmp_path, tables, {"ratings.csv": table(*lines, header="id,session,item,value")})
    codes = [(row, code) for row, code, _ in cleaned.quarantine["ratings.csv"]]
    assert codes == [(3, "R04"), (4, "R05"), (5, "R05"), (6, "V10")]
    assert account(cleaned) == (7, 2, 4, 1)
    row = cleaned.ratings["wai_sr"].iloc[0]
    assert row["i1"] == 3 and pd.isna(row["i2"]) and pd.isna(row["i3"])


def test_a_later_delivery_may_correct_one_response(tmp_path):
    tables = ratings("layout: one_row_per_response\n    deliveries: incremental", columns="item: item, value: value")
    files = {
        "a.csv": table("C1,1,wai_1,3", "C1,1,wai_2,4", header="id,session,item,value"),
        "b.csv": table("C1,1,wai_2,5", header="id,session,item,value"),
    }
    cleaned = clean(tmp_path, tables.replace("ratings.csv", "[a.csv, b.csv]"), files)
    row = cleaned.ratings["wai_sr"].iloc[0]
    assert (row["i1"], row["i2"]) == (3, 5)
    assert [(issue.file, issue.row) for issue in found(cleaned, "R19")] == [("b.csv", 2)]


def test_redcap_forms_events_and_instances_find_their_place(tmp_path, expected):
    header = f"record_id,redcap_event_name,redcap_repeat_instrument,redcap_repeat_instance,age,{ITEMS},wai_sr_complete"
    lines = [f"C{client},baseline_arm_1,,,{20 + client}," + "," * 11 + ",0" for client in range(1, 7)]
    for (client, session), given in ROWS.items():
        lines.append(f"C{client},therapy_arm_1,wai_sr,{session},,{','.join(map(str, given))},2")
    lines.append("C1,therapy_arm_1,wai_sr,4,," + "," * 11 + ",0")
    tables = ratings("format: redcap\n    form: wai_sr\n    events: {therapy_arm_1: session}").replace(
        "client_id: id, session: session", "client_id: record_id, session: redcap_repeat_instance"
    )
    tables += (
        "\n  - table: clients\n    files: ratings.csv\n    format: redcap\n    events: {baseline_arm_1: intake}"
        "\n    columns: {client_id: record_id, age: age}"
    )
    cleaned = clean(tmp_path / "redcap", tables, {"ratings.csv": table(*lines, header=header)})
    pd.testing.assert_frame_equal(cleaned.ratings["wai_sr"], expected)
    assert cleaned.tables["clients"]["age"].tolist() == [21, 22, 23, 24, 25, 26]
    assert account(cleaned) == (24, 23, 0, 1)
    by_place = clean(
        tmp_path / "file",
        tables.replace(", session: redcap_repeat_instance", ""),
        {"ratings.csv": table(*lines, header=header)},
        top="session_numbers: file",
    )
    pd.testing.assert_frame_equal(by_place.ratings["wai_sr"], expected)


def test_redcap_exports_without_events_or_with_partial_checkboxes_are_refused(tmp_path):
    tables = ratings("format: redcap\n    form: wai_sr").replace("session: session", "session: redcap_repeat_instance")
    cleaned = clean(tmp_path / "a", tables, {"ratings.csv": table(f"C1,1,{answers()}", header=f"id,visit,{ITEMS}")})
    assert found(cleaned, "H16")
    more = "\n  - table: clients\n    files: c.csv\n    columns: {client_id: id, sad: mood___1, low: mood___2}"
    cleaned = clean(tmp_path / "b", ratings() + more, {"ratings.csv": LONG, "c.csv": "id,mood___1\nC1,0\n"})
    assert "mood___2" in found(cleaned, "H15")[0].message


def test_redcap_events_that_are_declared_must_be_in_the_file_and_those_of_the_file_are_not_forgotten(tmp_path):
    tables = ratings("format: redcap\n    events: {therapy_arm_1: session}")
    cleaned = clean(tmp_path / "a", tables, {"ratings.csv": table(f"C1,1,{answers()}", header=f"id,session,{ITEMS}")})
    assert "redcap_event_name" in found(cleaned, "H16")[0].message and cleaned.status["status"] == "excluded"
    lines = [f"C{client},{event},1,{answers()}" for client in range(1, 5) for event in ("therapy_arm_1", "therapie_arm_1")]
    cleaned = clean(tmp_path / "b", tables, {"ratings.csv": table(*lines, header=f"id,redcap_event_name,session,{ITEMS}")})
    (issue,) = found(cleaned, "R11")
    assert "therapie_arm_1" in issue.message and issue.n_affected == 4
    assert account(cleaned) == (8, 4, 0, 4)


def test_a_qualtrics_export_gives_the_same_ratings_without_previews_or_addresses(tmp_path, expected):
    names = ["StartDate", "Status", "IPAddress", "RecipientEmail", "id", "session", *ITEMS.split(",")]
    labels = [f"Question {name}" for name in names]
    imports = ['"{""ImportId"":""' + name + '""}"' for name in names]
    lines = [f"2026-01-01 10:00:00,0,10.0.0.1,a@b.c,C{c},{s},{','.join(map(str, given))}" for (c, s), given in ROWS.items()]
    lines.append(f"2026-01-01 10:00:00,1,10.0.0.1,a@b.c,PREVIEW,1,{answers()}")
    text = "\n".join([",".join(names), ",".join(labels), ",".join(imports), *lines]) + "\n"
    cleaned = clean(tmp_path / "q", ratings("format: qualtrics"), {"ratings.csv": text})
    assert cleaned.status["status"] != "excluded", cleaned.status["reasons"]
    pd.testing.assert_frame_equal(cleaned.ratings["wai_sr"], expected)
    assert account(cleaned) == (18, 17, 0, 1)


def test_a_spreadsheet_gives_the_same_ratings(tmp_path, expected):
    from openpyxl import Workbook

    book = Workbook()
    for line in LONG.splitlines():
        cells = line.split(",")
        book.active.append([cells[0], *[int(cell) if cell.isdigit() else cell for cell in cells[1:]]])
    (tmp_path / "x").mkdir()
    book.save(tmp_path / "x" / "ratings.xlsx")
    cleaned = clean(tmp_path / "x", ratings().replace("ratings.csv", "ratings.xlsx"), {})
    pd.testing.assert_frame_equal(cleaned.ratings["wai_sr"], expected)


def write_sav(folder, labels, missing=None, name="ratings.sav"):
    import pyreadstat

    frame = pd.DataFrame(
        [{"id": f"C{c}", "session": s, **{f"wai_{i}": float(v) for i, v in enumerate(given, 1)}} for (c, s), given in ROWS.items()]
    )
    if missing is not None:
        frame.loc[0, "wai_1"] = missing
    folder.mkdir()
    ranges = {"wai_1": [missing]} if missing is not None else None
    pyreadstat.write_sav(frame, str(folder / name), variable_value_labels=labels, missing_ranges=ranges)


def test_an_spss_file_keeps_the_reason_of_its_missing_values(tmp_path):
    labels = {f"wai_{item}": {1.0: "never", 5.0: "always"} for item in range(1, 13)}
    write_sav(tmp_path / "s", labels, missing=99.0)
    cleaned = clean(tmp_path / "s", ratings().replace("ratings.csv", "ratings.sav"), {})
    assert not [issue for issue in cleaned.issues if issue.severity == "CELL"]
    assert sum(cleaned.status["missing_reasons"]["wai_sr"].values()) == 1
    assert cleaned.ratings["wai_sr"]["i1"].isna().sum() == 1


def test_value_labels_that_contradict_each_other_leave_the_site_out(tmp_path):
    labels = {f"wai_{item}": {1.0: "never", 5.0: "always"} for item in range(1, 13)}
    labels["wai_4"] = {5.0: "never", 1.0: "always"}
    write_sav(tmp_path / "s", labels)
    issue = found(clean(tmp_path / "s", ratings().replace("ratings.csv", "ratings.sav"), {}), "F31")[0]
    assert issue.severity == "SITE" and "wai_4" in issue.message


def test_missing_columns_are_all_named_with_the_nearest_ones(tmp_path):
    text = LONG.replace("wai_3", "wai3").replace("wai_7", "wai7")
    issue = found(clean(tmp_path, ratings(), {"ratings.csv": text}), "H08")[0]
    assert issue.severity == "SITE" and issue.n_affected == 2
    assert "wai_3 (nearest: wai3)" in issue.message and "wai_7" in issue.message


def test_the_order_of_columns_does_not_matter(tmp_path, expected):
    names = LONG.splitlines()[0].split(",")
    lines = [",".join(reversed(line.split(","))) for line in LONG.splitlines()[1:]]
    cleaned = clean(tmp_path / "r", ratings(), {"ratings.csv": table(*lines, header=",".join(reversed(names)))})
    pd.testing.assert_frame_equal(cleaned.ratings["wai_sr"], expected)


def test_items_beyond_the_instrument_mean_another_version(tmp_path):
    header = "id,session," + ",".join(f"wai_{item}" for item in range(1, 37))
    line = "C1,1," + ",".join(["3"] * 36)
    issue = found(clean(tmp_path, ratings(), {"ratings.csv": table(line, header=header)}), "H11")[0]
    assert issue.severity == "SITE" and "36" in issue.message


def test_unused_columns_are_named_once_and_dropped(tmp_path):
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(f"C1,1,{answers()},x,y", header=f"id,session,{ITEMS},note,room")})
    issue = found(cleaned, "H09")[0]
    assert issue.severity == "WARN" and "note" in issue.message and "room" in issue.message
    assert not {"note", "room"} & set(cleaned.ratings["wai_sr"])


@pytest.mark.parametrize(
    "name", ["Name", "E-Mail", "date_of_birth", "DOB", "ssn", "ip address", "Latitude", "client_name", "lastName", "Telefon", "postcode"]
)
def test_columns_that_identify_people_leave_the_site_out(tmp_path, name):
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(f"C1,1,{answers()},x", header=f"id,session,{ITEMS},{name}")})
    assert found(cleaned, "H09")[0].severity == "SITE"


@pytest.mark.parametrize("name", ["event_name", "scale_name", "emotion", "dosage", "shipment", "form", "address_of_feelings"])
def test_ordinary_columns_do_not_count_as_identifying(tmp_path, name):
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(f"C1,1,{answers()},x", header=f"id,session,{ITEMS},{name}")})
    assert found(cleaned, "H09")[0].severity == "WARN"


def test_deliveries_in_different_layouts_are_refused(tmp_path):
    wide = table("C1," + ",".join(["3"] * 12), header="id," + ",".join(f"s1_wai{item}" for item in range(1, 13)))
    cleaned = clean(tmp_path, ratings("deliveries: incremental").replace("ratings.csv", "[a.csv, b.csv]"), {"a.csv": LONG, "b.csv": wide})
    assert found(cleaned, "R16")[0].file == "b.csv"


def test_every_cleaned_table_has_its_columns_and_order(tmp_path):
    tables = (
        ratings()
        + """
  - table: ratings
    files: therapist.csv
    instrument: wai_sr
    response: {min: 1, max: 5}
    rater: therapist
    columns: {client_id: id, session: session}
    items: "wai_{item}"
  - table: outcomes
    files: outcomes.csv
    instrument: scl_90_r
    rater: client
    columns: {client_id: id, timepoint: when}
    values: {timepoint: {pre: intake}}
    scales: {gsi: GSI}
    unit: mean
  - table: events
    files: events.csv
    columns: {client_id: id, session: session, code: code, intensity: strength}
    rater: observer
  - table: termination
    files: end.csv
    columns: {client_id: id, last_session: last, reason: why, judged_by: judge}
    values: {reason: {stop: unilateral}}
  - table: therapists
    files: th.csv
    columns: {therapist_id: th, training: level, years: years, warmth: warmth}"""
    )
    files = {
        "ratings.csv": LONG,
        "therapist.csv": LONG + "\n",
        "outcomes.csv": "id,when,GSI\nC2,post,0.5\nC1,pre,1.25\nC1,post,0.75\n",
        "events.csv": "id,session,code,strength\nC1,2,rupture,3\nC1,2,rupture,3\nC1,1,repair,1\n",
        "end.csv": "id,last,why,judge\nC1,3,planned,therapist\nC2,2,stop,therapist\n",
        "th.csv": "th,level,years,warmth\nT2,trainee,1,3.5\nT1,expert,20,4\n",
    }
    cleaned = clean(tmp_path, tables, files)
    assert cleaned.status["status"] != "excluded", cleaned.status["reasons"]
    people = ["site", "client_id", "client_no", "therapist_id", "therapist_no"]
    outcomes, events, end, therapists = (cleaned.tables[name] for name in ("outcomes", "events", "termination", "therapists"))
    assert list(outcomes) == [*people, "timepoint", "session", "date", "instrument", "rater", "rater_no", "scale", "value", "unit"]
    assert list(zip(outcomes["client_no"], outcomes["timepoint"], outcomes["value"])) == [
        (1, "intake", 1.25),
        (1, "post", 0.75),
        (2, "post", 0.5),
    ]
    assert list(events) == [*people, "session", "rater", "code", "count", "intensity", "target", "exposure"]
    assert list(zip(events["session"], events["code"], events["count"], events["rater"])) == [
        (1, "repair", 1.0, "observer"),
        (2, "rupture", 1.0, "observer"),
        (2, "rupture", 1.0, "observer"),
    ]
    assert list(zip(end["last_session"], end["reason"], end["judged_by"])) == [(3, "planned", "therapist"), (2, "unilateral", "therapist")]
    assert list(therapists) == ["site", "therapist_id", "therapist_no", "training", "years", "cases", "warmth"]
    assert therapists["training"].tolist() == ["expert", "trainee"]
    assert cleaned.ratings["wai_sr"]["rater"].tolist()[:4] == ["client", "therapist"] * 2
    assert cleaned.status["instruments"]["wai_sr"]["raters"] == ["client", "therapist"]
    assert cleaned.status["counts"]["sessions"] == 17


def test_a_questionnaire_before_and_after_treatment_stands_beside_the_sessions(tmp_path):
    tables = ratings() + ratings("timepoint: intake").replace(", session: session", "").replace("ratings.csv", "intake.csv")
    files = {"ratings.csv": LONG, "intake.csv": table(f"C1,{answers(5)}", header=f"id,{ITEMS}")}
    rows = clean(tmp_path, tables, files).ratings["wai_sr"]
    assert rows["timepoint"].tolist()[:2] == ["intake", "session"]
    assert rows["session"].isna().tolist()[:2] == [True, False]


def test_several_observers_of_a_session_are_told_apart(tmp_path):
    tables = ratings("values: {rater: {A: observer, B: observer}, rater_no: {A: 1, B: 2}}", columns="rater: who, rater_no: who")
    tables = tables.replace("    rater: client\n", "")
    cleaned = clean(
        tmp_path, tables, {"ratings.csv": table(f"C1,1,A,{answers(1)}", f"C1,1,B,{answers(2)}", header=f"id,session,who,{ITEMS}")}
    )
    assert cleaned.ratings["wai_sr"]["rater_no"].tolist() == [1, 2]
    assert not found(cleaned, "R05")


def test_each_rater_has_the_range_of_its_own_table(tmp_path):
    therapist = ratings().replace("rater: client", "rater: therapist").replace("max: 5", "max: 7").replace("ratings.csv", "th.csv")
    files = {"ratings.csv": table(f"C1,1,{answers(7)}"), "th.csv": table(f"C1,1,{answers(7, 6)}")}
    cleaned = clean(tmp_path, ratings() + therapist, files)
    assert [(issue.code, issue.file) for issue in cleaned.issues if issue.severity == "CELL"] == [("V01", "ratings.csv")]
    rows = cleaned.ratings["wai_sr"]
    assert list(zip(rows["rater"], rows["response_max"])) == [("client", 5.0), ("therapist", 7.0)]
    known = cleaned.status["instruments"]["wai_sr"]["response"]
    assert {rater: limits["max"] for rater, limits in known.items()} == {"client": 5, "therapist": 7}


def test_the_therapist_of_a_session_does_not_depend_on_the_order_of_rows(tmp_path):
    tables = ratings(columns="therapist_id: th, rater_no: no").replace("rater: client", "rater: observer")
    rows = [f"C1,1,T2,1,{answers(1)}", f"C1,1,T1,2,{answers(2)}", f"C2,1,T9,1,{answers(3)}"]
    first, second = (
        clean(tmp_path / name, tables, {"ratings.csv": table(*lines, header=f"id,session,th,no,{ITEMS}")}, top="transfers: accept")
        for name, lines in (("a", rows), ("b", rows[::-1]))
    )
    for name in ("clients", "sessions", "therapists"):
        pd.testing.assert_frame_equal(first.tables[name], second.tables[name])
