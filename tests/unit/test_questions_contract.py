"""The contract of result tables, site summaries, published figures and the results dictionary."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from alliance.changes import comparison
from alliance.configuration import preregistration
from alliance.configuration.code import declarations
from alliance.questions import benchmarks, contract, coverage, effects
from alliance.questions.contract import COLUMNS, POOLED, TABLES, ContractError, check, finish
from alliance.questions.results_dictionary import text
from alliance.questions.summary import SiteSummary, SummaryError
from alliance.sensitivity import contract as sensitivity
from support import PROJECT

QUESTIONS = ("convergent_validity", "path_models", "client_factors")


def rows(**changes) -> pd.DataFrame:
    row = {
        "factor": "motivation",
        "category": "intrapersonal",
        "site": "a",
        "estimate_type": "correlation",
        "scale": "fisher_z",
        "method": "independent",
        "status": "estimated",
        "estimate": 0.2,
    }
    return finish(pd.DataFrame([{**row, **changes}]), "client_factors", "factors")


def summary(**changes) -> SiteSummary:
    content = {
        "site": "a",
        "question": "client_factors",
        "label": 'Clinic A, "north"',
        "facts": {"country": "DE", "shares": [0.1, None]},
        "n": {"clients": 40, "therapists": None, "sessions": 120},
        "estimates": pd.DataFrame(
            {
                "model": "factors",
                "parameter": ["motivation", "life, events\n2"],
                "estimate": [1 / 3, np.nan],
                "n_clients": [40, 3],
                "status": ["estimated", "not_estimable"],
                "reason": ["", 'needs "more" clients'],
                "estimate_type": "correlation",
            }
        ),
        "vcov": pd.DataFrame({"model": ["factors"], "parameter1": ["motivation"], "parameter2": ["motivation"], "cov": [np.pi / 1e5]}),
        "options_digest": "0123456789ab",
    }
    return SiteSummary(**{**content, **changes})


def test_every_table_carries_the_common_columns_after_its_own_keys():
    for table in TABLES:
        assert table.columns[len(table.keys) : len(table.keys) + len(COLUMNS)] == COLUMNS
        assert not set(table.keys) & set(COLUMNS)


@pytest.mark.parametrize("question", QUESTIONS)
def test_question_modules_declare_their_contract_as_literals(question):
    found = declarations(PROJECT / "scripts" / "alliance" / "questions" / question / "question.py")
    assert set(found["tables"]) == {table.name for table in TABLES if table.question == question}
    assert {"estimate_reads", "pool_reads", "needs"} <= set(found)
    assert {"estimate", "pool", "methods"} <= set(found)


def test_a_sound_table_passes():
    check(rows(), "client_factors", "factors")
    check(rows(status="flagged", reason="few therapists"), "client_factors", "factors")
    check(rows(status="not_estimable", reason="not estimable: no data", estimate=None, method="none"), "client_factors", "factors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimate_type": "odds_ratio"}, "estimate_type"),
        ({"status": "ok"}, "status"),
        ({"method": "magic"}, "method"),
        ({"scale": "probit"}, "scale"),
        ({"status": "not_estimable", "reason": "no data"}, "carry numbers"),
        ({"status": "flagged"}, "no reason"),
        ({"estimate": np.nan}, "lack the estimate"),
        ({"ci_low": 0.3, "ci_high": 0.1}, "lower end"),
        ({"std_error": np.inf}, "infinite"),
        ({"site": ""}, "without a site"),
    ],
)
def test_a_broken_table_is_refused_with_the_reason(changes, message):
    with pytest.raises(ContractError, match=message):
        check(rows(**changes), "client_factors", "factors")


def test_repeated_and_unordered_rows_are_refused():
    table = rows()
    with pytest.raises(ContractError, match="agree"):
        check(pd.concat([table, table], ignore_index=True), "client_factors", "factors")
    unordered = pd.concat([rows(site=POOLED), table], ignore_index=True)
    with pytest.raises(ContractError, match="order"):
        check(unordered, "client_factors", "factors")


@pytest.mark.parametrize("text", [object, pd.StringDtype("python", na_value=np.nan), pd.StringDtype("pyarrow", na_value=np.nan)])
def test_columns_take_the_types_of_their_schema_whatever_they_came_as(text):
    schema = {"said": contract.TEXT, "size": contract.NUMBER, "n": contract.COUNT, "absent": contract.TEXT, "nobody": contract.COUNT}
    given = pd.DataFrame({"n": [3.0, np.nan, 0.0], "other": 1, "size": [1, None, 2.5], "said": pd.Series(["b", None, ""], dtype=text)})
    found = contract.typed(given.set_axis([7, 5, 5]), schema)
    assert found.dtypes.astype(str).to_dict() == {"said": "str", "size": "float64", "n": "Int64", "absent": "str", "nobody": "Int64"}
    assert {dtype.storage for dtype in found.dtypes if isinstance(dtype, pd.StringDtype)} == {"python"}
    assert (found["said"].tolist(), found["absent"].tolist()) == (["b", "", ""], ["", "", ""])
    assert found["n"].tolist() == [3, pd.NA, 0] and found["nobody"].isna().all() and found.index.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(found["size"], [1.0, np.nan, 2.5])
    pd.testing.assert_frame_equal(contract.typed(found, schema), found)


def test_a_frame_given_its_types_shares_nothing_with_the_one_it_came_from():
    schema = {"said": contract.TEXT, "size": contract.NUMBER, "n": contract.COUNT}
    first = contract.typed(pd.DataFrame({"said": ["a"], "size": [1.0], "n": [1]}), schema)
    second = contract.typed(first, schema)
    second.loc[0, :] = ["b", 2.0, 2]
    assert first.iloc[0].tolist() == ["a", 1.0, 1]


def test_rows_are_sorted_and_grouped_as_pandas_does_it():
    draw = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "name": draw.choice(["b", "B", "é", "", "a b", None], 200),
            "number": draw.choice([1.0, -2.0, np.nan, 10.0], 200),
            "count": pd.array(draw.choice([1, 2, None], 200), dtype="Int64"),
        }
    )
    keys = list(frame)
    expected = frame.sort_values(keys, kind="stable")
    cells = list(zip(*(contract.sortable(frame[key]) for key in keys)))
    assert sorted(range(len(frame)), key=cells.__getitem__) == expected.index.tolist()
    group, first = effects.ordered_groups([frame[key] for key in keys])
    assert first == expected.drop_duplicates(keys).index.tolist()
    of_pandas = frame.groupby(keys, dropna=False, sort=False).ngroup()
    assert len(set(zip(group, of_pandas))) == len(set(group)) == of_pandas.nunique() and (group[first] == np.arange(len(first))).all()


def test_unknown_numbers_stay_empty_never_zero():
    table = rows()
    assert table[["n_sessions", "n_clients", "std_error", "share_missing", "published"]].isna().all(axis=None)


def test_a_summary_read_back_is_the_same_to_the_last_digit(tmp_path):
    written = summary()
    written.write(tmp_path)
    read = SiteSummary.read(tmp_path)
    for name in ("moments", "estimates", "vcov", "draws"):
        pd.testing.assert_frame_equal(getattr(read, name), getattr(written, name), check_exact=True)
    for name in ("site", "label", "status", "facts", "n", "options_digest"):
        assert getattr(read, name) == getattr(written, name)


def test_equal_summaries_give_equal_files(tmp_path):
    summary().write(tmp_path / "one")
    SiteSummary.read(tmp_path / "one").write(tmp_path / "two")
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_summary_does_not_depend_on_how_pandas_holds_text(tmp_path):
    summary().write(tmp_path / "python")
    with pd.option_context("mode.string_storage", "pyarrow"):
        summary().write(tmp_path / "arrow")
        assert SiteSummary.read(tmp_path / "python") is not None
    for path in sorted((tmp_path / "python").iterdir()):
        assert path.read_bytes() == (tmp_path / "arrow" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("estimates.csv", lambda text: text.replace("0.33333333333333331", "0.34"), "self_digest"),
        ("estimates.csv", lambda text: text.replace("0.33333333333333331", "many"), "not a finite number"),
        ("estimates.csv", lambda text: text.replace("0.33333333333333331", "nan"), "not a finite number"),
        ("estimates.csv", lambda text: text.replace(",40,", ",-1,"), "not a whole number"),
        ("vcov.csv", lambda text: text.replace("cov", "covariance", 1), "missing cov; unknown covariance"),
        ("vcov.csv", lambda text: text + "factors\n", "another number of cells"),
        ("vcov.csv", lambda text: text + '"', "not valid CSV"),
        ("summary.json", lambda text: text.replace('"schema_version": 1', '"schema_version": 2'), "schema_version"),
        ("summary.json", lambda text: text.replace('"status"', '"state"'), "unknown key state"),
        ("summary.json", lambda text: text[:-10], "not valid JSON"),
    ],
)
def test_a_changed_summary_is_refused_in_words(tmp_path, file, change, message):
    summary().write(tmp_path)
    path = tmp_path / file
    before = path.read_text(encoding="utf-8")
    assert change(before) != before
    path.write_text(change(before), encoding="utf-8")
    with pytest.raises(SummaryError, match=message):
        SiteSummary.read(tmp_path)


def test_a_missing_file_of_a_summary_is_named(tmp_path):
    summary().write(tmp_path)
    (tmp_path / "vcov.csv").unlink()
    with pytest.raises(SummaryError, match=r"vcov\.csv: the file is missing"):
        SiteSummary.read(tmp_path)
    summary().write(tmp_path)
    (tmp_path / "draws.csv").unlink()
    assert SiteSummary.read(tmp_path).site == "a"


def test_a_summary_with_unknown_columns_cannot_be_made():
    with pytest.raises(SummaryError, match="unknown columns client_name"):
        summary(estimates=pd.DataFrame({"model": ["m"], "client_name": ["x"]}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "excluded"}, "no reason"),
        ({"status": "lost", "reason": "?"}, "allowed: ok, excluded, missing"),
        ({"vcov": pd.DataFrame({"model": ["m"], "parameter1": ["a"], "parameter2": ["a"], "cov": [-1.0]})}, "below zero"),
        ({"vcov": pd.DataFrame({"model": ["m"] * 2, "parameter1": ["a"] * 2, "parameter2": ["a"] * 2, "cov": [1.0, 2.0]})}, "agree in"),
    ],
)
def test_an_impossible_summary_is_not_written(tmp_path, changes, message):
    with pytest.raises(SummaryError, match=message):
        summary(**changes).write(tmp_path)
    assert not list(tmp_path.iterdir())


def test_published_figures_are_read_and_name_real_rows():
    found = benchmarks.read(PROJECT / "workflow" / "benchmarks.yaml")
    assert {"A5", "A6", "A7", "A8", "F1", "F4"} <= {one.claim for one in found}
    for one in found:
        schema = contract.table(one.question, one.table)
        kind = one.where.get("estimate_type")
        assert kind is None or set(kind if isinstance(kind, list) else [kind]) <= set(schema.estimate_types)
    figures = [one for one in found if one.claim == "F1" and one.shown]
    values = {(one.claim, one.where["category"], one.where["estimate_type"]): one.value for one in figures}
    assert values[("F1", "interpersonal", "correlation_n_weighted")] == 0.32
    assert values[("F1", "intrapersonal", "correlation_n_weighted")] == 0.30


def test_faulty_published_figures_are_listed(tmp_path):
    path = tmp_path / "benchmarks.yaml"
    path.write_text(
        "X1:\n  - {question: client_factors, table: factors, where: {colour: red}, value: high, unit: percent,"
        " lines: '1', citation: x, note: n}\n  - {question: none, table: none}\n",
        encoding="utf-8",
    )
    with pytest.raises(benchmarks.BenchmarkError) as error:
        benchmarks.read(path)
    for part in ("no column colour", "unit is percent", "value is not a number", "X1, figure 2: unknown keys"):
        assert part in str(error.value)


def test_a_row_stands_once_for_each_claim_with_its_difference():
    table = rows(category="diagnostic", factor="intake_severity")
    figures = [
        benchmarks.Benchmark("F1", "client_factors", "factors", {"category": "diagnostic"}, 0.3),
        benchmarks.Benchmark("F4", "client_factors", "factors", {"factor": "intake_severity"}, None),
    ]
    filled = benchmarks.fill(table, figures, "client_factors", "factors")
    check(filled, "client_factors", "factors")
    assert filled["claim"].tolist() == ["F1", "F4"]
    assert filled["difference"].iloc[0] == pytest.approx(-0.1)
    assert filled[["published", "difference"]].iloc[1].isna().all()


def test_of_figures_of_one_claim_the_first_counts_and_a_figure_may_name_several_values():
    table = pd.concat([rows(factor=name) for name in ("hope", "motivation", "age")], ignore_index=True)
    figures = [
        benchmarks.Benchmark("F3", "client_factors", "factors", {"factor": "hope"}, 0.1),
        benchmarks.Benchmark("F3", "client_factors", "factors", {"factor": ["hope", "motivation"]}, None, shown=False),
    ]
    filled = benchmarks.fill(finish(table, "client_factors", "factors"), figures, "client_factors", "factors").set_index("factor")
    assert filled["claim"].to_dict() == {"age": "", "hope": "F3", "motivation": "F3"}
    assert filled["published"].notna().to_dict() == {"age": False, "hope": True, "motivation": False}


def test_the_results_dictionary_is_current():
    known = coverage.read(PROJECT / "workflow" / "simulated_coverage.csv")
    page = (PROJECT / "docs" / "results-dictionary.md").read_text(encoding="utf-8")
    assert page == text(known, sensitivity.TABLES, preregistration.DESCRIBED | comparison.DESCRIBED), (
        "run scripts/write_results_dictionary.py"
    )


def test_facts_of_a_summary_are_json(tmp_path):
    summary().write(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["facts"]["country"] == "DE"
