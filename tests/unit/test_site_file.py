"""site.yaml: every fault in one pass, with key, line and the nearest valid word."""

from __future__ import annotations

import re
import textwrap

import pytest
from alliance.sites.site_file import SiteFile, TableSpec, load_site_file
from cleaning_sites import PROJECT, faults, ratings, registry, write

GOOD = "tables:" + ratings()


def codes(issues):
    return sorted({issue.code for issue in issues})


def only(issues):
    assert len(issues) == 1, [issue.message for issue in issues]
    return issues[0]


def test_a_right_file_has_no_faults(tmp_path):
    assert faults(tmp_path, GOOD) == []


def test_unknown_key_names_line_key_and_the_nearest_valid_one(tmp_path):
    issue = only(faults(tmp_path, "missing_code: {'-9': skipped}\n" + GOOD))
    assert (issue.code, issue.row, issue.column) == ("C01", 1, "missing_code")
    assert "missing_codes" in issue.message


def test_all_faults_of_a_file_are_found_in_one_pass(tmp_path):
    text = "recruiting: maybe\nlable: x\n" + GOOD.replace("wai_sr", "wai_rs").replace("rater: client", "rater: mother")
    issues = faults(tmp_path, text)
    assert {issue.column for issue in issues} >= {"recruiting", "lable", "tables.0.rater"}
    assert all(issue.row for issue in issues)


def test_faults_in_one_table_do_not_hide_those_of_another(tmp_path):
    text = "labl: x\n" + GOOD + ratings().replace("wai_sr", "wai_rs").replace("ratings.csv", "b.csv")
    issues = faults(tmp_path, text)
    assert codes(issues) == ["C01", "C07"]
    assert "did you mean" in next(issue for issue in issues if issue.code == "C07").message


def test_repeated_keys_are_refused_with_both_lines(tmp_path):
    issue = only(faults(tmp_path, "label: a\nlabel: b\n" + GOOD))
    assert issue.code == "C02"
    assert "1" in issue.message and "2" in issue.message


def test_words_that_other_yaml_readers_change_stay_text(tmp_path):
    write(tmp_path, "country: NO\nlabel: on\ntest_ids: [1:30, 010]\n" + GOOD, {})
    site_file, _ = load_site_file(tmp_path / "site.yaml", "s1", registry())
    assert (site_file.country, site_file.label, site_file.test_ids) == ("NO", "on", ["1:30", "010"])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("label: !!python/object/apply:os.system [ls]\n", "C04"),
        ("label: !secret x\n", "C04"),
        ("label: &a x\ncountry: *a\n", "C05"),
        ("label: [unclosed\n", "C17"),
    ],
)
def test_tags_aliases_and_broken_yaml_are_refused(tmp_path, text, code):
    assert code in codes(faults(tmp_path, text + GOOD))


def test_tags_are_never_executed(tmp_path):
    faults(tmp_path, f"label: !!python/object/apply:pathlib.Path.touch [{tmp_path}/touched]\n" + GOOD)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    "name", ["../other/r.csv", "/etc/passwd", "~/r.csv", "a/../../r.csv", "$HOME/r.csv", "C:r.csv", "-r.csv", "a\\b.csv"]
)
def test_files_never_leave_the_sites_folder(tmp_path, name):
    assert codes(faults(tmp_path, GOOD.replace("ratings.csv", f"'{name}'"))) == ["C10"]


@pytest.mark.parametrize("name", ['"a\\nb.csv"', '"a\\u202eb.csv"', '"' + "é" * 128 + '.csv"'])
def test_file_names_with_control_characters_or_too_long_are_to_be_renamed(tmp_path, name):
    issue = only(faults(tmp_path, GOOD.replace("ratings.csv", name)))
    assert issue.code == "P05"
    assert "\n" not in issue.message and "\u202e" not in issue.message


def test_a_missing_code_that_is_also_an_answer_is_refused(tmp_path):
    issue = only(faults(tmp_path, 'missing_codes: {"5": skipped, "9": skipped}\n' + GOOD))
    assert (issue.code, issue.row, issue.column) == ("V03", 1, "missing_codes.5")
    issue = only(faults(tmp_path, "tables:" + ratings('missing_codes: {"1": skipped}')))
    assert issue.code == "V03"


def test_a_missing_code_that_is_also_a_sum_score_is_refused(tmp_path):
    text = GOOD.replace('items: "wai_{item}"', "scales: {total: T}\n    unit: sum") + '    missing_codes: {"50": skipped, "99": absent}\n'
    assert [issue.column for issue in faults(tmp_path, text)] == ["tables.0.missing_codes.50"]


def test_zero_may_mean_missing_where_answers_begin_at_one(tmp_path):
    assert faults(tmp_path, "tables:" + ratings('missing_codes: {"0": does not apply}')) == []


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (("session: session", "sesion: session"), "tables.0.columns.sesion"),
        (("client_id: id, ", ""), "tables.0.columns"),
        ((", session: session", ""), "tables.0.columns"),
        (('"wai_{item}"', '"wai_x"'), "tables.0.items"),
        (('"wai_{item}"', "{1: a, 13: b}"), "tables.0.items"),
        (('"wai_{item}"', '"s{session}_{item}"'), "tables.0.layout"),
        (("wai_sr", "wai_36"), "tables.0.response"),
        (("rater: client", "form: x\n    rater: client"), "tables.0.form"),
        (("table: ratings", "table: outcomes"), "tables.0.timepoint"),
        (("rater: client", "encoding: utf-99\n    rater: client"), "tables.0.encoding"),
        (("rater: client", "date_format: '%d.%m'\n    rater: client"), "tables.0.date_format"),
        (("rater: client", "separator: ','\n    decimal: ','\n    rater: client"), "tables.0.decimal"),
    ],
)
def test_faults_name_the_key_that_must_change(tmp_path, change, key):
    issues = faults(tmp_path, GOOD.replace(*change))
    assert key in {issue.column for issue in issues}


def test_rows_and_summaries_do_not_mix(tmp_path):
    assert faults(tmp_path, "matrix: {file: m.csv}\n" + GOOD)
    assert faults(tmp_path, "data: summary\n" + GOOD)
    assert faults(tmp_path, "data: summary\nmatrix: {file: m.csv, scale: correlation}\n") == []


def test_values_must_be_words_the_pipeline_knows(tmp_path):
    text = "tables:" + ratings("values: {timepoint: {a: intak}}", columns="timepoint: T")
    issue = only(faults(tmp_path, text))
    assert "intake" in issue.message


def test_checksums_and_expected_rows_name_files_that_are_read(tmp_path):
    issue = only(faults(tmp_path, "expected_rows: {rating.csv: 3}\n" + GOOD))
    assert issue.column == "expected_rows.rating.csv"
    assert "ratings.csv" in issue.message
    assert codes(faults(tmp_path, "checksums: {ratings.csv: abc}\n" + GOOD)) == ["C06"]


def test_a_missing_file_or_folder_is_said_plainly(tmp_path):
    site_file, issues = load_site_file(tmp_path / "site.yaml", "s1", registry())
    assert site_file is None and only(issues).code == "C17"
    (tmp_path / "site.yaml").mkdir()
    assert only(load_site_file(tmp_path / "site.yaml", "s1", registry())[1]).code == "C17"


def test_every_example_of_the_guide_is_a_right_site_file(tmp_path):
    text = (PROJECT / "docs" / "add-a-site.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    examples = [textwrap.dedent(block) for block in blocks if "tables:" in block or "data: summary" in block]
    assert len(examples) == 7
    for example in examples:
        assert [issue.message for issue in faults(tmp_path, example)] == []


def test_the_guide_names_every_key():
    text = (PROJECT / "docs" / "add-a-site.md").read_text(encoding="utf-8")
    for model in (SiteFile, TableSpec):
        for key in set(model.model_fields) - {"summaries", "effects"}:
            assert f"`{key}`" in text or f"{key}:" in text, key


def test_one_rater_has_one_range_of_answers(tmp_path):
    other = ratings().replace("max: 5", "max: 7").replace("ratings.csv", "b.csv")
    assert only(faults(tmp_path, GOOD + other)).column == "tables.1.response"
    assert faults(tmp_path, GOOD + other.replace("rater: client", "rater: therapist")) == []


def test_a_codebook_belongs_to_sites_that_send_rows(tmp_path):
    assert faults(tmp_path, "codebook: dictionary.csv\n" + GOOD) == []
    issue = only(faults(tmp_path, "data: summary\ncodebook: d.csv\nmatrix: {file: m.csv, scale: correlation}\n"))
    assert issue.column == "codebook"
