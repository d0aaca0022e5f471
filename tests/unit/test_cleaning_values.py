"""Rules on single values and on answers together: what becomes missing, what is only named, and where."""

from __future__ import annotations

import random

import pytest
from cleaning_sites import ITEMS, account, answers, clean, found, ratings, table

FORWARD = [f"C{client},1,{answers(*((client * item + item // 5) % 5 + 1 for item in range(1, 13)))}" for client in range(1, 9)]


def one_value(tmp_path, value, extra="", **options):
    cell = f'"{value}"' if "," in value else value
    return clean(tmp_path, ratings(extra), {"ratings.csv": table(*FORWARD, f"C9,1,{answers(cell)}")}, **options)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("7", "V01"),
        ("0", "V01"),
        ("-3", "V01"),
        ("99", "V02"),
        ("-9", "V02"),
        ("88", "V02"),
        ("9", "V02"),
        ("2,5", "V04"),
        ("1,000", "V04"),
        ("８", "V06"),
        ("٣", "V06"),
        ("1_0", "V07"),
        ("0x10", "V07"),
        ("1e1", "V07"),
        ("+5", "V07"),
        ("--5", "V07"),
        ("inf", "V08"),
        ("-Infinity", "V08"),
        ("1e400", "V07"),
        ("9" * 400, "V08"),
        ("3.5", "V09"),
        ("often", "V10"),
        ("NA", "V10"),
        ("TRUE", "V10"),
        ("03-Apr", "V14"),
        ("Apr-03", "V14"),
        ("2026-04-03", "V14"),
        ("3.4.", "V14"),
    ],
)
def test_an_impossible_answer_becomes_missing_and_is_named_with_its_place(tmp_path, value, code):
    cleaned = one_value(tmp_path, value)
    issues = [issue for issue in cleaned.issues if issue.severity == "CELL"]
    assert [(issue.code, issue.row, issue.column) for issue in issues] == [(code, 10, "wai_1")]
    assert issues[0].value_shown == (value if len(value) < 40 else value[:39] + "…")
    rows = cleaned.ratings["wai_sr"]
    assert rows["i1"].isna().tolist() == [False] * 8 + [True]
    assert rows["i2"].notna().all()
    assert account(cleaned)[1] == 9


@pytest.mark.parametrize("value", [" 4", "4 ", "4\u00a0", "\u202f4", "4.0", "04"])
def test_spaces_and_a_written_zero_decimal_change_no_answer(tmp_path, value):
    cleaned = one_value(tmp_path, value)
    assert cleaned.ratings["wai_sr"]["i1"].tolist()[-1] == 4
    assert bool(found(cleaned, "V05")) == (value.strip() != value)


def test_declared_missing_codes_are_no_faults_and_their_reasons_are_counted(tmp_path):
    cleaned = one_value(tmp_path, "99", 'missing_codes: {"99": skipped}')
    assert not [issue for issue in cleaned.issues if issue.severity != "WARN"]
    assert cleaned.status["missing_reasons"] == {"wai_sr": {"skipped": 1}}


def test_an_undeclared_missing_code_is_counted_and_the_declaration_offered(tmp_path):
    rows = [f"D{index},1,{answers(99)}" for index in range(37)]
    issue = found(clean(tmp_path, ratings(), {"ratings.csv": table(*FORWARD, *rows)}), "V02")[0]
    assert "37 times" in issue.message
    assert 'missing_codes: {"99"' in issue.fix


def test_a_decimal_comma_is_read_where_it_is_declared(tmp_path):
    tables = ratings().replace('items: "wai_{item}"', "scales: {total: mean}\n    unit: mean\n    decimal: ','\n    separator: ';'")
    cleaned = clean(tmp_path, tables, {"ratings.csv": "id;session;mean\nC1;1;3,25\nC2;1;3.25\n"})
    assert cleaned.ratings["wai_sr"]["s_total"].tolist()[0] == 3.25
    assert [issue.row for issue in found(cleaned, "V04")] == [3]
    assert cleaned.ratings["wai_sr"]["unit"].tolist() == ["mean", "mean"]


def test_scale_scores_outside_their_range_are_refused(tmp_path):
    tables = ratings().replace('items: "wai_{item}"', "scales: {total: t}\n    unit: sum")
    cleaned = clean(tmp_path, tables, {"ratings.csv": "id,session,t\nC1,1,12\nC2,1,11\nC3,1,60\nC4,1,61\n"})
    assert [issue.row for issue in found(cleaned, "V01")] == [3, 5]


def test_half_points_are_read_where_the_site_declares_them(tmp_path):
    cleaned = one_value(tmp_path, "3.5", extra="").ratings["wai_sr"]
    assert cleaned["i1"].isna().iloc[-1]
    tables = ratings().replace("response: {min: 1, max: 5}", "response: {min: 1, max: 5, step: 0.5}")
    rows = clean(tmp_path / "b", tables, {"ratings.csv": table(*FORWARD, f"C9,1,{answers('3.5')}")}).ratings["wai_sr"]
    assert rows["i1"].tolist()[-1] == 3.5
    assert str(rows["i1"].dtype) == "Float64"


def test_words_are_read_as_answers_only_where_all_are_known(tmp_path):
    extra = "values: {items: {never: 1, often: 4, always: 5}}"
    assert one_value(tmp_path / "a", "often", extra).ratings["wai_sr"]["i1"].tolist()[-1] == 4
    assert [issue.value_shown for issue in found(one_value(tmp_path / "b", "Often", extra), "V10")] == ["Often"]


CLIENTS = (
    ratings()
    + "\n  - table: clients\n    files: c.csv\n    columns: {client_id: id, gender: sex, age: age, start_date: start, motivation: mot}"
)


def clients(tmp_path, *rows, extra="", top=""):
    text = "id,sex,age,start,mot\n" + "\n".join(rows) + "\n"
    return clean(tmp_path, CLIENTS + extra, {"ratings.csv": table(*FORWARD), "c.csv": text}, top=top)


def test_unknown_words_of_a_mapped_column_become_missing(tmp_path):
    cleaned = clients(tmp_path, "C1,1,30,,", "C2,TRUE,31,,", extra='\n    values: {gender: {"1": female, "2": male}}')
    assert [(issue.row, issue.column, issue.value_shown) for issue in found(cleaned, "V10")] == [(3, "sex", "TRUE")]
    assert cleaned.tables["clients"]["gender"].tolist()[0] == "female"


@pytest.mark.parametrize(
    ("value", "code"),
    [("03/04/2026", "V12"), ("2026-13-01", "V12"), ("46023", "V13"), ("1026-01-01", "V12"), ("2026-0１-01", "V06"), ("soon", "V12")],
)
def test_dates_are_never_guessed_and_never_shown(tmp_path, value, code):
    cleaned = clients(tmp_path, f"C1,,,{value},")
    issue = found(cleaned, code)[0]
    assert (issue.severity, issue.row, issue.column, issue.value_shown) == ("CELL", 2, "start", "")
    assert value not in issue.message + issue.fix
    assert cleaned.tables["clients"]["start_date"].isna().all()


def test_dates_follow_the_declared_format(tmp_path):
    cleaned = clients(tmp_path, "C1,,,03/04/2026,", top='date_format: "%d/%m/%Y"')
    assert cleaned.tables["clients"]["start_date"].iloc[0].isoformat() == "2026-04-03T00:00:00"


def test_free_text_in_a_column_of_words_is_refused_and_not_shown(tmp_path):
    secret = "she told me on the phone that her brother lives at 12 High Street, Northgate"
    cleaned = clients(tmp_path, f'C1,"{secret}",30,,')
    issue = found(cleaned, "V23")[0]
    assert issue.severity == "CELL" and "phone" not in issue.message + issue.value_shown
    assert cleaned.tables["clients"]["gender"].isna().all()


def test_formulas_and_markup_are_text_and_shown_escaped(tmp_path):
    assert found(one_value(tmp_path / "a", "=cmd|'A0"), "V10")[0].value_shown == "=cmd|'A0"
    assert found(one_value(tmp_path / "b", "a\u202eb"), "V10")[0].value_shown == "a\\u202eb"


def test_ages_and_client_factors_are_numbers(tmp_path):
    cleaned = clients(tmp_path, "C1,,30.5,,-2", "C2,,130,,1e3", "C3,,x,,4.25")
    frame = cleaned.tables["clients"]
    assert frame["age"].tolist()[0] == 30.5 and frame["age"].isna().tolist()[1:3] == [True, True]
    assert frame["motivation"].tolist()[:3:2] == [-2.0, 4.25]
    assert len(frame) == 8


def random_rows(low, high, n=60):
    numbers = random.Random(1)
    return [f"R{index},1,{','.join(str(numbers.randint(low, high)) for _ in range(12))}" for index in range(n)]


def test_a_range_that_is_never_used_to_the_end_is_a_warning(tmp_path):
    tables = ratings().replace("max: 5", "max: 7")
    issue = found(clean(tmp_path, tables, {"ratings.csv": table(*random_rows(1, 5))}), "V17")[0]
    assert issue.severity == "WARN" and "7" in issue.message
    assert not found(clean(tmp_path / "b", tables, {"ratings.csv": table(*random_rows(1, 7))}), "V17")
    assert not found(clean(tmp_path / "c", tables, {"ratings.csv": table(*random_rows(1, 5, 40))}), "V17")


def test_answers_coded_from_zero_leave_the_site_out(tmp_path):
    tables = ratings().replace("max: 5", "max: 7")
    cleaned = clean(tmp_path, tables, {"ratings.csv": table(*random_rows(0, 6))})
    assert found(cleaned, "V18")[0].severity == "SITE"
    assert not found(clean(tmp_path / "b", tables, {"ratings.csv": table(*random_rows(1, 7), f"C9,1,{answers(0)}")}), "V18")


def test_constant_and_empty_items_are_warnings(tmp_path):
    rows = [f"{row.rsplit(',', 2)[0]},4," for row in random_rows(1, 5)]
    columns = {issue.column for issue in found(clean(tmp_path, ratings(), {"ratings.csv": table(*rows)}), "V15")}
    assert columns == {"i11", "i12"}


def test_straight_lines_and_half_empty_rows_are_counted_and_kept(tmp_path):
    rows = [*random_rows(1, 5), f"S1,1,{','.join(['4'] * 12)}", "S2,1,1,2,3,4" + "," * 8]
    cleaned = clean(tmp_path, ratings(), {"ratings.csv": table(*rows)})
    assert sorted(issue.n_affected for issue in found(cleaned, "V16")) == [1, 1]
    assert account(cleaned)[1] == 62


def test_a_total_that_differs_from_its_items_is_a_warning_with_its_row(tmp_path):
    rows = [f"{row},{sum(map(int, row.split(',')[2:]))}" for row in random_rows(1, 5, 10)]
    rows[3] = rows[3].rsplit(",", 1)[0] + ",61"
    cleaned = clean(tmp_path, ratings("total: sum"), {"ratings.csv": table(*rows, header=f"id,session,{ITEMS},sum")})
    assert [(issue.row, issue.column) for issue in found(cleaned, "V19")] == [(5, "sum")]
    means = [f"{row},{sum(map(int, row.split(',')[2:])) / 12:.2f}" for row in random_rows(1, 5, 10)]
    assert not found(clean(tmp_path / "b", ratings("total: sum"), {"ratings.csv": table(*means, header=f"id,session,{ITEMS},sum")}), "V19")


def test_a_reversed_items_total_is_compared_after_reversing(tmp_path):
    tables = ratings("total: sum").replace("wai_sr\n    response: {min: 1, max: 5}", "wai_s")
    numbers = random.Random(2)
    rows = []
    for index in range(20):
        given = [numbers.randint(1, 7) for _ in range(12)]
        keyed = sum(8 - value if item in (4, 10) else value for item, value in enumerate(given, 1))
        rows.append(f"R{index},1,{','.join(map(str, given))},{keyed}")
    assert not found(clean(tmp_path, tables, {"ratings.csv": table(*rows, header=f"id,session,{ITEMS},sum")}), "V19")
