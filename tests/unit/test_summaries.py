"""Summaries that sites send: what is accepted unchanged, and every way in which one is refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from alliance.issues import Severity
from alliance.questions.summary import SiteSummary
from alliance.sites import summaries
from alliance.sites.site_file import SiteFile

OPTIONS = "0123456789ab"
INSTRUMENTS = "fedcba987654"


def moments(data: pd.DataFrame, block: str = "model") -> pd.DataFrame:
    """Return the moments of client-level variables as `estimate` writes them."""
    covariance = data.cov()
    return pd.DataFrame(
        [
            {
                "block": block,
                "level": "client",
                "var1": first,
                "var2": second,
                "n": len(data),
                "mean1": data[first].mean(),
                "mean2": data[second].mean(),
                "cov": covariance.loc[first, second],
                "method": "robust",
            }
            for i, first in enumerate(data.columns)
            for second in data.columns[i:]
        ]
    )


def data(n: int = 40) -> pd.DataFrame:
    draws = np.random.default_rng(5).normal(size=(n, 3))
    return pd.DataFrame(
        {"alliance": draws[:, 0] + 4, "outcome": draws[:, 0] / 2 + draws[:, 1], "wai_sr.total.client": 3 + 0.4 * np.tanh(draws[:, 2])}
    )


def send(folder: Path, site: str = "north", **changes: object) -> Path:
    """Write a valid summary, with changes, into a site's folder and return its folder."""
    table = data()
    content: dict = {
        "site": site,
        "question": "path_models",
        "label": "North",
        "n": {"clients": 40, "therapists": 6, "sessions": 200},
        "moments": moments(table),
        "estimates": pd.DataFrame(
            {"model": "m", "parameter": ["a", "b"], "level": "client", "estimate": [0.31234567891234567, 0.2], "n_clients": 40}
        ).assign(status="estimated", estimate_type="path_standardised", method="robust"),
        "vcov": pd.DataFrame({"model": "m", "parameter1": ["a", "a", "b"], "parameter2": ["a", "b", "b"], "cov": [0.02, 0.001, 0.03]}),
        "options_digest": OPTIONS,
        "instruments_digest": INSTRUMENTS,
    }
    target = folder / "path_models" / OPTIONS / site
    SiteSummary(**{**content, **changes}).write(target)
    return target


def clean(folder: Path, site: str = "north", **options: object) -> summaries.SummaryDelivery:
    registry = {
        "wai_sr": SimpleNamespace(
            composites={"total": None},
            response_from_site=False,
            possible_range=lambda scale, unit: (12.0, 60.0) if unit == "sum" else (1.0, 5.0),
        )
    }
    site_file = options.pop("site_file", SiteFile(data="summary", label="North"))
    return summaries.clean_summary_site(folder, site, site_file, registry, **options)


def rewrite_header(target: Path, **changes: object) -> None:
    path = target / "summary.json"
    record = json.loads(path.read_text())
    record.update(changes)
    path.write_text(json.dumps(record))


def codes(delivery: summaries.SummaryDelivery) -> set[str]:
    return {issue.code for issue in delivery.issues}


def assert_refused(delivery: summaries.SummaryDelivery, code: str) -> None:
    assert code in codes(delivery)
    assert delivery.status["status"] == "excluded"
    assert delivery.status["reasons"]
    assert all(record["rows_used"] == 0 for record in delivery.status["files"])
    assert all(record["rows_in"] == record["rows_excluded_by_rule"] for record in delivery.status["files"])
    assert delivery.summaries == ()
    assert delivery.status["counts"]["clients"] == 0
    for issue in delivery.issues:
        assert issue.site == "north"
        assert issue.message.endswith(".")
        assert issue.fix


def test_a_whole_summary_is_accepted_and_kept_byte_for_byte(tmp_path):
    target = send(tmp_path / "site")
    delivery = clean(tmp_path / "site", instruments_digest=INSTRUMENTS)
    assert delivery.issues == []
    assert delivery.status["status"] == "ok"
    assert delivery.status["counts"] == {"clients": 40, "therapists": 6, "sessions": 200, "ratings": 0}
    summaries.write_delivery(delivery, tmp_path / "results")
    kept = tmp_path / "results" / "summaries" / "path_models" / OPTIONS
    for name in ("summary.json", "moments.csv", "estimates.csv", "vcov.csv"):
        assert (kept / name).read_bytes() == (target / name).read_bytes()
    assert SiteSummary.read(kept).n["clients"] == 40


def test_row_accounting_holds_for_every_file_of_a_summary(tmp_path):
    send(tmp_path)
    for record in clean(tmp_path).status["files"]:
        assert record["rows_in"] == record["rows_used"] + record["rows_quarantined"] + record["rows_excluded_by_rule"]
        assert len(record["sha256"]) == 64


def test_a_folder_without_any_summary_is_named(tmp_path):
    assert_refused(clean(tmp_path), "F36")


def test_a_summary_that_lies_too_deep_is_not_read_and_is_named(tmp_path):
    send(tmp_path)
    send(tmp_path / "a" / "b", question="client_factors")
    delivery = clean(tmp_path)
    assert [summary.question for summary in delivery.summaries] == ["path_models"]
    assert delivery.status["status"] == "warnings"


def test_a_missing_table_is_named(tmp_path):
    (send(tmp_path) / "vcov.csv").unlink()
    delivery = clean(tmp_path)
    assert_refused(delivery, "F36")
    assert any(issue.file.endswith("vcov.csv") for issue in delivery.issues)


def test_a_link_is_not_followed(tmp_path):
    target = send(tmp_path / "site")
    (tmp_path / "elsewhere.csv").write_bytes((target / "vcov.csv").read_bytes())
    (target / "vcov.csv").unlink()
    (target / "vcov.csv").symlink_to(tmp_path / "elsewhere.csv")
    assert_refused(clean(tmp_path / "site"), "P04")


def test_the_same_question_and_options_twice_are_refused(tmp_path):
    send(tmp_path / "old")
    send(tmp_path / "new")
    assert_refused(clean(tmp_path), "F33")


def test_a02_a_matrix_that_belongs_to_no_data_is_refused_with_its_eigenvalue(tmp_path):
    table = moments(data())
    spread = np.sqrt(table.loc[table["var1"] == table["var2"]].set_index("var1")["cov"])
    for pair, r in {
        ("alliance", "outcome"): 0.9,
        ("alliance", "wai_sr.total.client"): 0.9,
        ("outcome", "wai_sr.total.client"): -0.9,
    }.items():
        at = (table["var1"] == pair[0]) & (table["var2"] == pair[1])
        table.loc[at, "cov"] = r * spread[pair[0]] * spread[pair[1]]
    send(tmp_path, moments=table)
    delivery = clean(tmp_path)
    assert_refused(delivery, "A02")
    assert any("-0.8" in issue.message for issue in delivery.issues)


@pytest.mark.parametrize("value", [0.0, -1.0, None])
def test_a02_a_variance_that_is_missing_or_not_above_zero_is_refused(tmp_path, value):
    table = moments(data())
    table.loc[0, "cov"] = value
    send(tmp_path, moments=table)
    assert_refused(clean(tmp_path), "A02")


def test_a02_a_matrix_with_two_values_for_one_pair_is_refused(tmp_path):
    table = moments(data())
    other = table.loc[[1]].assign(var1=table.loc[1, "var2"], var2=table.loc[1, "var1"], cov=0.123456789)
    send(tmp_path, moments=pd.concat([table, other]))
    assert_refused(clean(tmp_path), "A02")


def test_a02_a_covariance_of_estimates_that_belongs_to_no_data_is_refused(tmp_path):
    send(
        tmp_path, vcov=pd.DataFrame({"model": "m", "parameter1": ["a", "a", "b"], "parameter2": ["a", "b", "b"], "cov": [0.02, 0.5, 0.03]})
    )
    assert_refused(clean(tmp_path), "A02")


def test_a03_a_correlation_beyond_one_is_refused(tmp_path):
    table = moments(data())
    table.loc[1, "cov"] = 50.123456789
    send(tmp_path, moments=table)
    assert_refused(clean(tmp_path), "A03")


def test_a03_a_mean_outside_the_scale_is_refused(tmp_path):
    send(tmp_path, moments=moments(data().assign(**{"wai_sr.total.client": data()["wai_sr.total.client"] + 4})))
    assert_refused(clean(tmp_path), "A03")


def test_a03_a_spread_that_the_scale_does_not_allow_is_refused(tmp_path):
    table = data()
    table["wai_sr.total.client"] = 3 + 12 * (table["wai_sr.total.client"] - table["wai_sr.total.client"].mean())
    send(tmp_path, moments=moments(table))
    delivery = clean(tmp_path)
    assert_refused(delivery, "A03")
    assert any("standard deviation" in issue.message for issue in delivery.issues)


def test_a03_a_sum_of_items_is_inside_its_scale(tmp_path):
    send(tmp_path, moments=moments(data().assign(**{"wai_sr.total.client": data()["wai_sr.total.client"] * 12})))
    assert clean(tmp_path).issues == []


def test_a04_moments_of_more_clients_than_counted_are_refused(tmp_path):
    send(tmp_path, n={"clients": 30, "therapists": 6, "sessions": 200})
    assert_refused(clean(tmp_path), "A04")


def test_a04_a_pair_with_more_clients_than_its_variables_is_refused(tmp_path):
    table = moments(data())
    table.loc[0, "n"] = 35
    send(tmp_path, moments=table)
    assert_refused(clean(tmp_path), "A04")


def test_a04_more_clients_at_a_later_session_are_a_warning(tmp_path):
    table = moments(data().set_axis(["x_s1", "x_s2", "x_s3"], axis=1))
    table = table.loc[table["var1"] == table["var2"]].assign(n=[20, 30, 25])
    send(tmp_path, moments=table)
    delivery = clean(tmp_path)
    assert [(issue.code, issue.severity) for issue in delivery.issues] == [("A04", Severity.WARN)]
    assert len(delivery.summaries) == 1


def test_a05_a_summary_scored_with_other_instruments_is_refused(tmp_path):
    send(tmp_path)
    assert_refused(clean(tmp_path, instruments_digest="0" * 12), "A05")


def test_a06_small_groups_in_the_moments_are_found_with_their_exact_size():
    group = np.repeat([1, 2], [37, 3])
    second = np.tile([0, 1], 20)
    table = pd.DataFrame({"group": group, "half": second, "score": np.random.default_rng(1).normal(size=40)})
    found = summaries.disclosive_cells(moments(table), smallest=10)
    crossed = pd.crosstab(table["group"], table["half"])
    single = found.loc[found["var2"] == ""]
    assert single[["var1", "value1", "n"]].to_numpy().tolist() == [["group", 2.0, 3]]
    pairs = found.loc[found["var2"] != ""]
    assert {(row.value1, row.value2): row.n for row in pairs.itertuples()} == {
        (float(g), float(h)): int(crossed.loc[g, h]) for g in (1, 2) for h in (0, 1) if 0 < crossed.loc[g, h] < 10
    }


def test_a06_large_groups_and_scores_are_no_finding():
    table = pd.DataFrame({"group": np.repeat([0, 1], [20, 20]), "score": np.arange(40) % 5})
    assert summaries.disclosive_cells(moments(table), smallest=10).empty


@pytest.mark.parametrize("facts", [{"values": list(range(200))}, {"values": [0.1] * 40}, {"client_id": 3}, {"text": "1,2,3\n" * 200}])
def test_a07_rows_in_the_facts_are_refused(tmp_path, facts):
    rewrite_header(send(tmp_path), facts=facts)
    assert_refused(clean(tmp_path), "A07")


def test_a07_unknown_keys_are_refused_and_named(tmp_path):
    rewrite_header(send(tmp_path), rows=[[1, 2], [3, 4]])
    delivery = clean(tmp_path)
    assert_refused(delivery, "A07")
    assert "rows" in {issue.column for issue in delivery.issues}


def test_a07_unknown_columns_are_refused(tmp_path):
    path = send(tmp_path) / "moments.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0] + ",client", *(line + ",1" for line in lines[1:])]) + "\n")
    assert_refused(clean(tmp_path), "A07")


def test_a07_moments_of_single_clients_are_refused(tmp_path):
    table = moments(data())
    send(tmp_path, moments=pd.concat([table, table.iloc[[0]].assign(block="c1", n=1)]))
    assert_refused(clean(tmp_path), "A07")


def test_a07_more_than_twenty_megabytes_are_refused_before_reading(tmp_path):
    target = send(tmp_path)
    with open(target / "draws.csv", "wb") as file:
        file.truncate(summaries.LARGEST_BYTES + 1)
    assert_refused(clean(tmp_path), "A07")


def test_a07_other_files_beside_a_summary_are_named_and_not_read(tmp_path):
    (send(tmp_path) / "rows.csv").write_text("client,score\n1,2\n")
    delivery = clean(tmp_path)
    assert codes(delivery) == {"A07"}
    assert delivery.status["status"] == "warnings"
    summaries.write_delivery(delivery, tmp_path / "results")
    assert not list((tmp_path / "results").rglob("rows.csv"))


def test_a07_draws_that_are_too_few_to_be_draws_are_refused(tmp_path):
    send(tmp_path, draws=pd.DataFrame({"model": "m", "parameter": "a", "draw": range(40), "value": np.linspace(0.1, 0.7, 40)}))
    assert_refused(clean(tmp_path), "A07")


def test_a08_numbers_rounded_by_hand_are_refused(tmp_path):
    path = send(tmp_path) / "moments.csv"
    table = pd.read_csv(path)
    table.round(2).to_csv(path, index=False)
    assert_refused(clean(tmp_path), "A08")


def test_a08_covariances_rounded_before_writing_are_refused(tmp_path):
    table = moments(data())
    send(tmp_path, moments=table.assign(cov=table["cov"].round(2)))
    delivery = clean(tmp_path)
    assert_refused(delivery, "A08")


def test_a09_a_summary_of_another_site_is_refused(tmp_path):
    send(tmp_path, site="south")
    assert_refused(clean(tmp_path), "A09")


def test_a10_a_summary_edited_by_hand_is_refused(tmp_path):
    rewrite_header(send(tmp_path), label="South")
    assert_refused(clean(tmp_path), "A10")


def test_a10_one_changed_digit_is_noticed(tmp_path):
    path = send(tmp_path) / "estimates.csv"
    path.write_text(path.read_text().replace("0.31234", "0.41234"))
    delivery = clean(tmp_path)
    assert delivery.status["status"] == "excluded"
    assert codes(delivery) <= {"A08", "A10"} and "A10" in codes(delivery)


def test_a11_a_delivery_that_differs_by_one_client_is_a_warning_every_time(tmp_path):
    send(tmp_path / "first")
    history = clean(tmp_path / "first").history
    send(tmp_path / "second", n={"clients": 41, "therapists": 6, "sessions": 205})
    second = clean(tmp_path / "second", history=history)
    assert [(issue.code, issue.severity) for issue in second.issues] == [("A11", Severity.WARN)]
    assert len(second.summaries) == 1
    again = clean(tmp_path / "second", history=second.history)
    assert again.issues == second.issues
    assert again.history == second.history


def test_a11_the_same_delivery_or_many_new_clients_are_no_warning(tmp_path):
    send(tmp_path / "first")
    history = clean(tmp_path / "first").history
    assert clean(tmp_path / "first", history=history).issues == []
    send(tmp_path / "second", n={"clients": 60, "therapists": 6, "sessions": 300})
    assert clean(tmp_path / "second", history=history).issues == []


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000 + "]" * 100_000,
        '{"a": ' * 50 + "1" + "}" * 50,
        '{"site": "north", "site": "south"}',
        '{"n": {"clients": NaN}}',
        '{"n": Infinity}',
        '{"n": 1e999}',
        '{"n": ' + "9" * 5000 + "}",
        '{"n": "\\ud800"}',
        "{",
        "",
        "null",
        "[]",
        '"text"',
        '{"facts": "' + "x" * 1_100_000 + '"}',
    ],
)
def test_a12_json_that_no_summary_holds_is_refused(tmp_path, text):
    (send(tmp_path) / "summary.json").write_text(text)
    assert_refused(clean(tmp_path), "A12")


def test_a12_bytes_that_are_not_utf8_are_refused(tmp_path):
    target = send(tmp_path)
    (target / "summary.json").write_bytes(b"\xff\xfe{}")
    assert_refused(clean(tmp_path), "A12")


@pytest.mark.parametrize(
    "changes", [{"question": "../../etc"}, {"options_digest": "../../../x"}, {"n": {"clients": -1}}, {"status": "fine"}]
)
def test_values_that_could_leave_the_folder_or_have_no_meaning_are_refused(tmp_path, changes):
    rewrite_header(send(tmp_path), **changes)
    assert_refused(clean(tmp_path), "A12")


def test_all_faults_of_a_header_are_found_in_one_pass(tmp_path):
    rewrite_header(send(tmp_path), extra=1, status="fine", n={"clients": "many"})
    delivery = clean(tmp_path)
    assert {"extra", "status", "n.clients"} <= {issue.column for issue in delivery.issues}


def test_a_wrong_checksum_is_refused(tmp_path):
    send(tmp_path)
    place = f"path_models/{OPTIONS}/north/moments.csv"
    site_file = SiteFile(data="summary", checksums={place: "0" * 64})
    assert_refused(clean(tmp_path, site_file=site_file), "F35")


MATRIX = SiteFile(data="summary", matrix={"file": "moments.csv", "scale": "correlation"})


def publish(folder: Path, text: str, site_file: SiteFile = MATRIX) -> summaries.SummaryDelivery:
    folder.mkdir(exist_ok=True)
    (folder / "moments.csv").write_text(text)
    return clean(folder, site_file=site_file)


def test_a_published_matrix_may_have_holes_and_rounding(tmp_path):
    delivery = publish(tmp_path, "var1,var2,n,cov\nx,m,100,.5\nx,y,,NA\nm,y,90,0.31\n")
    assert delivery.issues == []
    assert delivery.published_moments["cov"].tolist() == [0.5, 0.31]
    assert delivery.published_moments["method"].unique().tolist() == ["correlation"]
    assert delivery.status["counts"]["clients"] == 100
    summaries.write_delivery(delivery, tmp_path / "results")
    from alliance.questions.site_data import read_published

    assert read_published(tmp_path / "results").moments["n"].tolist() == [100, 90]


def test_a_published_matrix_not_positive_definite_by_rounding_alone_is_accepted(tmp_path):
    delivery = publish(tmp_path, "var1,var2,n,cov\nx,m,100,.71\nx,y,100,0\nm,y,100,.71\n")
    assert delivery.issues == []


def test_a_complete_published_matrix_that_belongs_to_no_data_is_refused(tmp_path):
    assert_refused(publish(tmp_path, "var1,var2,n,cov\nx,m,100,.9\nx,y,100,-.9\nm,y,100,.9\n"), "A02")


def test_a_published_matrix_with_different_n_is_not_held_to_be_complete(tmp_path):
    assert publish(tmp_path, "var1,var2,n,cov\nx,m,100,.9\nx,y,80,-.9\nm,y,100,.9\n").issues == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("var1,var2,n,cov\nx,m,100,1.2\n", "A03"),
        ("var1,var2,n,cov\nx,x,100,0.8\n", "A03"),
        ("var1,var2,n,cov\nx,m,,0.8\n", "A04"),
        ("var1,var2,n,cov\nx,m,2,0.8\n", "A07"),
        ("var1,var2,n,cov\nx,m,100,0.8\nm,x,100,0.8\n", "A02"),
        ("var1,var2,n,cov\nx,m,100,abc\n", "A12"),
        ("var1,var2,n,cov\nx,m,10.5,0.5\n", "A12"),
        ("var1,var2,n,cov\nx,m,100\n", "R01"),
        ("var1,var2,n\nx,m,100\n", "H01"),
        ("var1,var2,n,cov,client\nx,m,100,.5,3\n", "A07"),
        ("var1,var2,n,cov\n", "F02"),
        ("", "F01"),
        ('var1,var2,n,cov\n"x,m,100,.5\n', "F12"),
        ("var1,var2,n,cov\n,m,100,.5\n", "R02"),
    ],
)
def test_a_published_matrix_with_impossible_content_is_refused(tmp_path, text, code):
    assert_refused(publish(tmp_path, text), code)


def test_a_published_covariance_matrix_needs_its_variances(tmp_path):
    site_file = SiteFile(data="summary", matrix={"file": "moments.csv", "scale": "covariance"})
    assert_refused(publish(tmp_path, "var1,var2,n,cov\nx,m,100,2.5\n", site_file), "A02")
    whole = publish(tmp_path, "var1,var2,n,mean1,mean2,cov\nx,x,100,3,3,4\nx,m,100,3,5,2.5\nm,m,100,5,5,9\n", site_file)
    assert whole.issues == []
    assert whole.published_moments["method"].unique().tolist() == ["covariance"]


EFFECTS = SiteFile(data="summary", effects={"file": "effects.csv"})


def test_published_effects_are_accepted_with_their_n(tmp_path):
    (tmp_path / "effects.csv").write_text("question,parameter,estimate,n\nclient_factors,motivation,.31,84\n")
    delivery = clean(tmp_path, site_file=EFFECTS)
    assert delivery.issues == []
    (row,) = delivery.published_effects.to_dict("records")
    assert (row["estimate"], row["n"], row["model"]) == (0.31, 84, "")


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("client_factors,,motivation,1.31,84,", "A03"),
        ("client_factors,,motivation,0.31,,", "A04"),
        ("client_factors,,motivation,0.31,3,", "A04"),
        ("client_factors,,motivation,,84,", "A12"),
        ("client_factors,,motivation,0.31,84,0", "A03"),
        ("client_factors,,,0.31,84,", "R02"),
        ("client_factors,,motivation,0.31,84,\nclient_factors,,motivation,0.31,84,", "R05"),
    ],
)
def test_published_effects_with_impossible_content_are_refused(tmp_path, row, code):
    (tmp_path / "effects.csv").write_text(f"question,model,parameter,estimate,n,std_error\n{row}\n")
    assert_refused(clean(tmp_path, site_file=EFFECTS), code)


def test_files_of_an_earlier_delivery_do_not_stay(tmp_path):
    send(tmp_path / "site")
    summaries.write_delivery(clean(tmp_path / "site"), tmp_path / "results")
    assert summaries.accepted_summary(tmp_path / "results", "path_models", OPTIONS) is not None
    summaries.write_delivery(summaries.SummaryDelivery(), tmp_path / "results")
    assert summaries.accepted_summary(tmp_path / "results", "path_models", OPTIONS) is None
