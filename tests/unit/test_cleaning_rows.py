"""Rules on rows: repeated, contradicting, foreign and misplaced rows, ids, deliveries, and what is kept of each."""

from __future__ import annotations

import hashlib
import os
import stat

import pandas as pd
import pytest
from alliance.sites.identifiers import look_alike, near_duplicates
from cleaning_sites import ITEMS, account, answers, clean, found, ratings, table

GOOD = [
    f"C{client},{session},{answers(1 + client % 5, *(1 + (client * item + session) % 5 for item in range(2, 13)))}"
    for client in range(1, 6)
    for session in (1, 2)
]


def sessions(cleaned, client_no):
    rows = cleaned.ratings["wai_sr"]
    return rows.loc[rows["client_no"] == client_no, "session"].tolist()


def test_a_clean_site_is_ok_and_every_row_is_used(tmp_path):
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(*GOOD)})
    assert cleaned.issues == []
    assert cleaned.status["status"] == "ok"
    assert account(cleaned) == (10, 10, 0, 0)
    rows = cleaned.ratings["wai_sr"]
    assert rows["client_no"].tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert rows["i1"].tolist() == [2, 2, 3, 3, 4, 4, 5, 5, 1, 1]
    assert str(rows["i1"].dtype) == "Int8"
    assert rows["response_max"].tolist() == [5.0] * 10


def test_blank_lines_are_counted_and_shift_no_line_number(tmp_path):
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(GOOD[0], "", "," * 13, f"C9,x,{answers()}")})
    assert [issue.row for issue in found(cleaned, "R14")] == [5]
    assert account(cleaned) == (4, 1, 1, 2)


def test_an_exact_repetition_is_quarantined_and_the_first_row_kept(tmp_path):
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(*GOOD, GOOD[0])})
    assert [(issue.row, issue.severity) for issue in found(cleaned, "R04")] == [(12, "ROW")]
    assert account(cleaned) == (11, 10, 1, 0)
    assert cleaned.quarantine["ratings.csv"] == [(12, "R04", GOOD[0])]


def test_contradicting_rows_are_both_quarantined(tmp_path):
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(*GOOD, f"C1,1,{answers(5, 5, 5)}")})
    assert [issue.row for issue in found(cleaned, "R05")] == [2, 12]
    assert sessions(cleaned, 1) == [2]
    assert account(cleaned) == (11, 9, 2, 0)


def test_a_row_without_id_is_quarantined_but_na_is_an_id(tmp_path):
    cleaned = clean(
        tmp_path, ratings(), {"ratings.csv": table(f",1,{answers()}", f"NA,1,{answers(2)}", f"None,1,{answers(2)}", f"null,1,{answers(2)}")}
    )
    assert [issue.row for issue in found(cleaned, "R07")] == [2]
    assert cleaned.status["counts"]["clients"] == 3


def test_look_alike_ids_stay_different_people_and_are_named(tmp_path):
    rows = [f"{client},1,{answers(2)}" for client in ("007", "7", "1E5", "100000", "７", "A1", "a1", "B9")]
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(*rows)})
    assert cleaned.status["counts"]["clients"] == 8
    assert sorted(issue.n_affected for issue in found(cleaned, "R08")) == [2, 2, 3]
    assert near_duplicates(["9007199254740993", "9007199254740992"]) == []


@pytest.mark.parametrize("identifier", ["C10", "A-7", "x", "Zoë", "e5", "10", "C100E2"])
def test_the_short_way_to_a_look_alike_agrees_with_the_long_one(identifier):
    assert look_alike(identifier) == look_alike(" " + identifier)


def test_ids_beyond_the_reach_of_numbers_stay_apart(tmp_path):
    rows = [f"{client},1,{answers(2)}" for client in ("9007199254740992", "9007199254740993")]
    assert clean(tmp_path, ratings(), {"ratings.csv": table(*rows)}).status["counts"]["clients"] == 2


def test_outer_spaces_of_ids_are_ignored_and_counted(tmp_path):
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(GOOD[0], f"C1 ,2,{answers()}", f"\u00a0C1,3,{answers()}")})
    assert cleaned.status["counts"]["clients"] == 1
    assert [(issue.column, issue.n_affected) for issue in found(cleaned, "V05")] == [("id", 2)]


@pytest.mark.parametrize("first", ["Total", "Mean", "SUMME", "Mittelwert"])
def test_a_summary_row_never_becomes_a_client(tmp_path, first):
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(*GOOD, f"{first},1,{answers()}")})
    assert [issue.row for issue in found(cleaned, "R09")] == [12]
    assert cleaned.status["counts"]["clients"] == 5


def test_ids_must_match_the_declared_pattern_as_a_whole(tmp_path):
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(*GOOD, f"C1x,1,{answers()}")}, top='id_pattern: "C[0-9]"')
    issue = found(cleaned, "R09")[0]
    assert (issue.row, issue.column, issue.value_shown) == (12, "id", "")
    assert "C1x" not in issue.message


def test_declared_test_ids_are_left_out_by_rule(tmp_path):
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(*GOOD, f"ZZZ,1,{answers()}")}, top="test_ids: [ZZZ]")
    assert account(cleaned) == (11, 10, 0, 1)
    assert cleaned.status["flow"]["test_records"] == 1
    undeclared = clean(tmp_path / "b", ratings(), {"ratings.csv": table(*GOOD, f"test1,1,{answers()}")})
    assert found(undeclared, "R10")[0].severity == "WARN"


def test_rows_without_any_answer_are_not_sessions(tmp_path):
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(*GOOD, "C1,3" + "," * 12)})
    assert account(cleaned) == (11, 10, 0, 1)
    assert cleaned.status["files"][0]["excluded_by_rule"] == {"R11": 1}


def test_line_numbers_stay_physical_after_line_ends_in_cells(tmp_path):
    text = table(f'C1,1,{answers()},"two\nlines"', f"C1,x,{answers()},", header=f"id,session,{ITEMS},comment")
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": text})
    assert [issue.row for issue in found(cleaned, "R14")] == [4]


@pytest.mark.parametrize("session", ["0", "-1", "1.5", "", "one", "１", "1e1"])
def test_session_numbers_are_whole_from_one(tmp_path, session):
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(*GOOD, f"C9,{session},{answers()}")})
    assert [issue.row for issue in found(cleaned, "R14")] == [12]
    assert account(cleaned) == (11, 10, 1, 0)


def test_the_order_of_rows_does_not_matter(tmp_path):
    first = clean(tmp_path / "a", ratings(), {"ratings.csv": table(*GOOD)})
    second = clean(tmp_path / "b", ratings(), {"ratings.csv": table(*reversed(GOOD))})
    pd.testing.assert_frame_equal(first.ratings["wai_sr"], second.ratings["wai_sr"])
    pd.testing.assert_frame_equal(first.tables["sessions"], second.tables["sessions"])
    pd.testing.assert_frame_equal(first.tables["clients"], second.tables["clients"])


def test_dates_out_of_order_or_before_treatment_are_warnings_without_values(tmp_path):
    clients = "\n  - table: clients\n    files: clients.csv\n    columns: {client_id: id, start_date: start}"
    rows = [f"C1,1,2026-02-03,{answers()}", f"C1,2,2026-02-01,{answers()}", f"C1,3,2025-12-31,{answers()}"]
    files = {"ratings.csv": table(*rows, header=f"id,session,date,{ITEMS}"), "clients.csv": "id,start\nC1,2026-01-01\n"}
    cleaned = clean(tmp_path, ratings(columns="date: date") + clients, files)
    assert [(issue.row, issue.severity, issue.value_shown) for issue in found(cleaned, "R15")] == [(3, "WARN", ""), (4, "WARN", "")]
    assert account(cleaned)[1] == 3


def test_dates_after_the_latest_possible_one_are_refused_without_a_clock(tmp_path):
    rows = [f"C1,1,2026-02-03,{answers()}", f"C1,2,2026-03-01,{answers()}"]
    cleaned = clean(
        tmp_path, ratings(columns="date: date"), {"ratings.csv": table(*rows, header=f"id,session,date,{ITEMS}")}, latest_date="2026-02-28"
    )
    assert [(issue.row, issue.severity) for issue in found(cleaned, "R15")] == [(3, "CELL")]
    assert cleaned.ratings["wai_sr"]["date"].isna().tolist() == [False, True]


def test_one_client_with_one_row_is_kept(tmp_path):
    assert clean(tmp_path, ratings(), {"ratings.csv": table(GOOD[0])}).status["counts"]["clients"] == 1


def test_the_last_cumulative_delivery_wins_and_lost_clients_are_named(tmp_path):
    files = {"a.csv": table(*GOOD), "b.csv": table(f"C1,1,{answers(5, 5)}", f"C6,1,{answers(5)}")}
    cleaned = clean(tmp_path, ratings().replace("ratings.csv", "[a.csv, b.csv]"), files)
    assert account(cleaned, "a.csv") == (10, 0, 0, 10)
    assert account(cleaned, "b.csv") == (2, 2, 0, 0)
    assert cleaned.ratings["wai_sr"]["i1"].tolist() == [5, 5]
    assert found(cleaned, "R20")[0].n_affected == 4


def test_later_increments_correct_and_add_and_each_correction_is_listed(tmp_path):
    files = {"a.csv": table(*GOOD), "b.csv": table(f"C1,1,{answers(5, 5, 5)}", GOOD[2], f"C1,3,{answers(2)}")}
    cleaned = clean(tmp_path, ratings("deliveries: incremental").replace("ratings.csv", "[a.csv, b.csv]"), files)
    assert [(issue.file, issue.row, issue.severity) for issue in found(cleaned, "R19")] == [("b.csv", 2, "WARN")]
    assert sessions(cleaned, 1) == [1, 2, 3]
    assert cleaned.ratings["wai_sr"]["i1"].tolist()[:3] == [5, 2, 2]
    assert account(cleaned, "a.csv") == (10, 8, 0, 2)
    assert not found(cleaned, "R05")


def test_twice_in_one_increment_is_still_a_fault(tmp_path):
    files = {"a.csv": table(*GOOD), "b.csv": table(f"C1,1,{answers(5, 5, 5)}", f"C1,1,{answers(1, 1, 1)}")}
    cleaned = clean(tmp_path, ratings("deliveries: incremental").replace("ratings.csv", "[a.csv, b.csv]"), files)
    assert [issue.row for issue in found(cleaned, "R05")] == [2, 3]
    assert cleaned.ratings["wai_sr"]["i1"].tolist()[0] == 2


def test_clients_who_withdrew_leave_no_trace(tmp_path):
    rows = [*GOOD, "C1,x," + answers(), "C2,9", f'"C1",4,{answers(9)}']
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(*rows)}, withdrawn=("C1", "C2"))
    content = " ".join(text for entries in cleaned.quarantine.values() for _, _, text in entries)
    assert "C1" not in content and "C2" not in content
    assert cleaned.status["counts"]["clients"] == 3
    assert cleaned.status["flow"]["withdrawn"] == 2
    assert cleaned.status["files"][0]["excluded_by_rule"]["withdrawn"] == 7
    without = clean(tmp_path / "b", ratings(), {"ratings.csv": table(*[row for row in GOOD if row[:2] not in ("C1", "C2")])})
    pd.testing.assert_frame_equal(cleaned.ratings["wai_sr"], without.ratings["wai_sr"])


def test_a_withdrawn_id_in_another_spelling_is_a_warning(tmp_path):
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(f"007,1,{answers()}")}, withdrawn=("7",))
    assert "withdrawn.csv" in found(cleaned, "R08")[0].message


def test_the_key_decides_only_what_ids_look_like(tmp_path):
    first = clean(tmp_path / "a", ratings(), {"ratings.csv": table(*GOOD)}, key=b"one key of many characters")
    second = clean(tmp_path / "b", ratings(), {"ratings.csv": table(*GOOD)}, key=b"another key of many characters")
    left, right = first.ratings["wai_sr"], second.ratings["wai_sr"]
    assert set(left["client_id"]).isdisjoint(right["client_id"])
    assert left["client_id"].str.fullmatch("[0-9a-f]{16}").all()
    ids = ["client_id", "therapist_id"]
    pd.testing.assert_frame_equal(left.drop(columns=ids), right.drop(columns=ids))


def test_therapists_come_from_the_row_the_session_or_the_client(tmp_path):
    tables = (
        ratings(columns="therapist_id: th")
        + """
  - table: sessions
    files: sessions.csv
    columns: {client_id: id, session: session, therapist_id: th}
  - table: clients
    files: clients.csv
    columns: {client_id: id, therapist_id: th}"""
    )
    rows = [f"C1,1,T9,{answers()}", f"C1,2,,{answers()}", f"C1,3,,{answers()}"]
    files = {
        "ratings.csv": table(*rows, header=f"id,session,th,{ITEMS}"),
        "sessions.csv": "id,session,th\nC1,1,T2\nC1,2,T2\nC1,3,\n",
        "clients.csv": "id,th\nC1,T1\n",
    }
    cleaned = clean(tmp_path, tables, files)
    assert cleaned.ratings["wai_sr"]["therapist_no"].tolist() == [3, 2, 1]
    assert cleaned.tables["therapists"]["therapist_no"].tolist() == [1, 2, 3]
    assert found(cleaned, "R21")[0].n_affected == 1
    accepted = clean(tmp_path / "b", tables, files, top="transfers: accept")
    assert not found(accepted, "R21")


def test_sessions_are_numbered_by_date_over_all_tables(tmp_path):
    text = ratings(columns="date: date").replace("session: session, ", "")
    therapist = text.replace("rater: client", "rater: therapist").replace("ratings.csv", "th.csv")
    header = f"id,date,{ITEMS}"
    files = {
        "ratings.csv": table(f"C1,2026-01-20,{answers(1)}", f"C1,2026-01-06,{answers(2)}", f"C1,,{answers(5)}", header=header),
        "th.csv": table(f"C1,2026-01-13,{answers(4)}", f"C1,2026-01-20,{answers(5)}", header=header),
    }
    cleaned = clean(tmp_path, text + therapist, files, top="session_numbers: date")
    rows = cleaned.ratings["wai_sr"]
    assert list(zip(rows["rater"], rows["session"], rows["i1"])) == [
        ("client", 1, 2),
        ("therapist", 2, 4),
        ("client", 3, 1),
        ("therapist", 3, 5),
    ]
    assert [issue.row for issue in found(cleaned, "R14")] == [4]


def test_sessions_are_numbered_by_their_place_in_the_file(tmp_path):
    text = ratings().replace(", session: session", "")
    files = {"ratings.csv": table(f"C2,{answers(1)}", f"C1,{answers(2)}", f"C2,{answers(3)}", header=f"id,{ITEMS}")}
    rows = clean(tmp_path, text, files, top="session_numbers: file").ratings["wai_sr"]
    assert list(zip(rows["client_no"], rows["session"], rows["i1"])) == [(1, 1, 2), (2, 1, 1), (2, 2, 3)]


def test_sessions_skipped_in_the_table_of_sessions_are_counted_once(tmp_path):
    tables = ratings() + "\n  - table: sessions\n    files: s.csv\n    columns: {client_id: id, session: session}"
    files = {"ratings.csv": table(*GOOD), "s.csv": "id,session\nC1,1\nC1,2\nC1,4\nC2,1\n"}
    cleaned = clean(tmp_path, tables, files)
    assert [issue.n_affected for issue in found(cleaned, "R14")] == [1]
    assert found(cleaned, "R18")[0].n_affected == 7
    assert len(cleaned.tables["sessions"]) == 11


def test_a_row_read_by_two_tables_is_used_if_one_of_them_uses_it(tmp_path):
    tables = ratings() + "\n  - table: clients\n    files: ratings.csv\n    columns: {client_id: id, age: age}"
    text = table(f"C1,1,{answers()},30", f"C2,0,{answers()},31", header=f"id,session,{ITEMS},age")
    cleaned = clean(tmp_path, tables, {"ratings.csv": text})
    assert account(cleaned) == (2, 2, 0, 0)
    assert found(cleaned, "R14")[0].row == 3
    assert cleaned.tables["clients"]["age"].tolist() == [30.0, 31.0]


def test_the_listing_is_capped_and_the_rest_counted(tmp_path):
    rows = [f"C{client},1,{answers(9)}" for client in range(10)]
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(*rows)}, max_listed=3)
    listed = [(issue.row, issue.n_affected) for issue in found(cleaned, "V02")]
    assert listed == [(None, 7), (2, 1), (3, 1), (4, 1)]


def test_a_site_with_a_fatal_fault_uses_no_row_and_still_has_every_table(tmp_path):
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(*GOOD, f"C9,0,{answers()}")}, top="expected_rows: {ratings.csv: 12}")
    assert cleaned.status["status"] == "excluded"
    assert "11 data rows" in cleaned.status["reasons"][0]
    assert account(cleaned) == (11, 0, 1, 10)
    assert found(cleaned, "R14")
    assert len(cleaned.ratings["wai_sr"]) == 0 and "i12" in cleaned.ratings["wai_sr"]
    assert all(len(frame) == 0 for frame in cleaned.tables.values())


def test_changed_and_doubled_files_are_refused(tmp_path):
    good = table(*GOOD)
    digest = hashlib.sha256(good.encode()).hexdigest()
    assert clean(tmp_path / "a", ratings(), {"ratings.csv": good}, top=f"checksums: {{ratings.csv: {digest}}}").issues == []
    issue = found(clean(tmp_path / "b", ratings(), {"ratings.csv": good + GOOD[0]}, top=f"checksums: {{ratings.csv: {digest}}}"), "F35")[0]
    assert digest in issue.message
    added = ratings("deliveries: incremental").replace("ratings.csv", "[a.csv, b.csv]")
    twice = clean(tmp_path / "c", added, {"a.csv": good, "b.csv": good})
    assert [(issue.severity, issue.file) for issue in found(twice, "F33")] == [("SITE", "b.csv")]
    whole = clean(tmp_path / "d", ratings().replace("ratings.csv", "[a.csv, b.csv]"), {"a.csv": good, "b.csv": good})
    assert [(issue.severity, issue.file) for issue in found(whole, "F33")] == [("WARN", "b.csv")]
    assert account(whole, "b.csv") == (10, 10, 0, 0)


def test_junk_is_ignored_and_forgotten_files_are_named(tmp_path):
    files = {"ratings.csv": table(*GOOD), ".DS_Store": "x", "~$ratings.xlsx": "x", "Thumbs.db": "x"}
    assert clean(tmp_path / "a", ratings(), files).issues == []
    issue = found(clean(tmp_path / "b", ratings(), files | {"ratings_2027.csv": "x"}), "F36")[0]
    assert issue.severity == "WARN" and "ratings_2027.csv" in issue.message
    empty = clean(tmp_path / "c", ratings(), {"Thumbs.db": "x"})
    assert found(empty, "F36")[0].severity == "SITE"


def test_links_and_pipes_are_not_read(tmp_path):
    outside = tmp_path / "secret.csv"
    outside.write_text(table(*GOOD))
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "ratings.csv").symlink_to(outside)
    assert clean(folder, ratings().replace("ratings.csv", "ratings.csv"), {}).status["status"] == "excluded"
    (folder / "ratings.csv").unlink()
    os.mkfifo(folder / "ratings.csv")
    assert stat.S_ISFIFO((folder / "ratings.csv").lstat().st_mode)
    assert clean(folder, ratings(), {}).status["status"] == "excluded"


def test_shell_characters_in_ids_and_names_are_only_text(tmp_path):
    name = "a;touch x $(id) {y}.csv"
    rows = [f'"$(touch x);{{z}}",1,{answers()}', f'"=cmd|A0",1,{answers()}']
    cleaned = clean(tmp_path, ratings().replace("ratings.csv", f'"{name.replace("$", "")}"'), {name.replace("$", ""): table(*rows)})
    assert cleaned.status["counts"]["clients"] == 2
    assert not (tmp_path / "x").exists()


def test_clients_of_two_sites_are_compared_by_hashes_only_on_request(tmp_path):
    tables = ratings() + "\n  - table: clients\n    files: c.csv\n    columns: {client_id: id, birth_date: born, gender: sex}"
    files = {"ratings.csv": table(*GOOD), "c.csv": "id,born,sex\nC1,1990-01-02,f\nC2,,m\n"}
    cleaned = clean(tmp_path / "a", tables, files, link_check=True)
    other = clean(tmp_path / "b", tables, {**files, "c.csv": "id,born,sex\nX,1990-01-02,f\n"}, link_check=True)
    assert cleaned.links == other.links and len(cleaned.links) == 1
    assert "birth_date" not in cleaned.tables["clients"]
    assert clean(tmp_path / "c", tables, files).links is None
