"""Scores are what the published rules give: reversed items, units, unanswered items, derived forms, sent scale scores."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from alliance.files import read_parquet, write_json, write_parquet
from alliance.instruments import Instrument, load_registry
from alliance.instruments.item_statistics import item_statistics, reliabilities, scale_moments
from alliance.instruments.scoring import SCORE_COLUMNS, SCORE_TYPES, score, score_site
from alliance.instruments.scoring_issues import scoring_issues
from alliance.issues import from_csv

PROJECT = Path(__file__).resolve().parents[2]
SHIPPED = PROJECT / "workflow" / "instruments"
NAN = math.nan


@pytest.fixture(scope="module")
def registry() -> dict[str, Instrument]:
    return load_registry([SHIPPED])


def with_response(table, declared):
    """Return ratings of a site that declared its range of answers."""
    return table.assign(response_min=float(declared["min"]), response_max=float(declared["max"]))


def forms(n: int, rater: str = "client", **columns: Any) -> pd.DataFrame:
    """Return the key columns of n forms, one client each, with further columns."""
    keys = {
        "site": pd.Series(["a"] * n, dtype="str"),
        "client_id": pd.Series([f"h{i}" for i in range(n)], dtype="str"),
        "client_no": pd.array(range(1, n + 1), dtype="Int64"),
        "therapist_id": pd.Series(["t"] * n, dtype="str"),
        "therapist_no": pd.array([1] * n, dtype="Int64"),
        "timepoint": pd.Series(["session"] * n, dtype="str"),
        "session": pd.array([1] * n, dtype="Int64"),
        "date": pd.Series([pd.Timestamp("2020-01-01")] * n).astype("datetime64[ns]"),
        "rater": pd.Series([rater] * n, dtype="str"),
        "rater_no": pd.array([1] * n, dtype="Int64"),
    }
    return pd.DataFrame(keys | columns)


def answered(instrument: Instrument, *rows: list[float] | float, rater: str = "client") -> pd.DataFrame:
    """Return forms with the given answers; one number stands for the same answer to every item, NaN for none."""
    k = instrument.n_items
    values = np.array([row if isinstance(row, list) else [row] * k for row in rows], dtype="float64")
    whole = instrument.response.step == 1
    items = {f"i{item}": pd.array(values[:, item - 1], dtype="Float64") for item in range(1, k + 1)}
    return forms(len(rows), rater, **{name: column.astype("Int8") if whole else column for name, column in items.items()})


def with_gaps(instrument: Instrument, answer: float, *gaps: int) -> list[float]:
    return [NAN if item in gaps else answer for item in range(1, instrument.n_items + 1)]


def by_scale(scores: pd.DataFrame, column: str = "score") -> dict[str, list[float]]:
    return {str(scale): rows[column].tolist() for scale, rows in scores.groupby("scale")}


@pytest.mark.parametrize(
    ("key", "scale", "lowest", "highest"),
    [
        ("wai_36", "total", 36, 252),
        ("wai_36", "goal", 12, 84),
        ("wai_s", "total", 12, 84),
        ("wai_sr", "total", 1, 5),
        ("haq_2", "total", 19, 114),
        ("oq_45_2", "total", 0, 180),
        ("core_om", "total", 0, 40),
        ("core_10", "total", 0, 40),
        ("phq_9", "total", 0, 27),
        ("scl_90_r", "gsi", 0, 4),
        ("ecr_36", "avoidance", 1, 7),
        ("care", "total", 10, 50),
    ],
)
def test_the_best_and_worst_forms_reach_the_published_ends(
    registry: dict[str, Instrument], key: str, scale: str, lowest: float, highest: float
) -> None:
    instrument = registry[key]
    low, high = instrument.response.min, instrument.response.max
    worst = [float(high if item in instrument.reverse else low) for item in range(1, instrument.n_items + 1)]
    best = [low + high - answer for answer in worst]
    assert by_scale(score(answered(instrument, worst, best), instrument))[scale] == [lowest, highest]


def test_a_form_of_zeros_scores_36_on_the_oq_45(registry: dict[str, Instrument]) -> None:
    scores = by_scale(score(answered(registry["oq_45_2"], 0), registry["oq_45_2"]))
    assert scores["total"] == [36]
    # Reversed items: 13, 24 and 31 in symptom distress, 1, 20, 37 and 43 in relations, 12 and 21 in social role.
    assert (scores["sd"], scores["ir"], scores["sr"]) == ([12], [16], [8])


def test_lowest_answers_throughout_score_by_the_number_of_reversed_items(registry: dict[str, Instrument]) -> None:
    # 22 items at 1 and 14 reversed at 7; 14 at 1 and 5 reversed at 6; 26 at 0 and 8 reversed at 4, mean x 10.
    assert by_scale(score(answered(registry["wai_36"], 1), registry["wai_36"]))["total"] == [22 + 98]
    assert by_scale(score(answered(registry["haq_2"], 1), registry["haq_2"]))["total"] == [14 + 30]
    assert by_scale(score(answered(registry["core_om"], 0), registry["core_om"]))["total"] == [pytest.approx(320 / 34)]
    assert by_scale(score(answered(registry["core_10"], 0), registry["core_10"]))["total"] == [8]


def test_negative_items_of_the_haq_2_stay_as_answered_in_their_own_scale(registry: dict[str, Instrument]) -> None:
    scores = by_scale(score(answered(registry["haq_2"], 6), registry["haq_2"]))
    assert (scores["negative"], scores["positive"], scores["total"]) == ([30], [84], [84 + 5])


def test_units_are_named_and_both_forms_of_a_score_are_kept(registry: dict[str, Instrument]) -> None:
    for key, unit in (("wai_36", "sum"), ("wai_sr", "mean"), ("core_om", "mean x 10")):
        row = score(answered(registry[key], 3), registry[key]).query("scale == 'total'").iloc[0]
        assert row["unit"] == unit
        factor = {"sum": row["score_sum"], "mean": row["score_mean"], "mean x 10": 10 * row["score_mean"]}[unit]
        assert row["score"] == pytest.approx(factor)
        assert row["score_sum"] == pytest.approx(row["score_mean"] * row["n_items"])


def test_symptom_indices_count_and_average_the_items_above_zero(registry: dict[str, Instrument]) -> None:
    answers = [0.0] * 90
    answers[0], answers[1], answers[18] = 4.0, 2.0, 3.0
    scores = by_scale(score(answered(registry["scl_90_r"], answers, 0), registry["scl_90_r"]))
    assert scores["pst"] == [3, 0]
    assert scores["psdi"][0] == 3
    assert math.isnan(scores["psdi"][1])
    assert scores["gsi"] == [pytest.approx(9 / 90), 0]
    assert scores["som"] == [pytest.approx(4 / 12), 0]
    assert "additional" not in scores


def test_gsi_is_the_mean_of_the_answered_items(registry: dict[str, Instrument]) -> None:
    instrument = registry["scl_90_r"]
    answers = with_gaps(instrument, 1, 1, 2, 3)
    answers[89] = 4.0
    assert by_scale(score(answered(instrument, answers), instrument))["gsi"] == [pytest.approx((86 + 4) / 87)]


def test_proration_follows_the_instrument_and_is_marked(registry: dict[str, Instrument]) -> None:
    instrument = registry["phq_9"]
    answers = [3.0, 0, 1, 2, 3, 1, 0, NAN, NAN]
    table = score(answered(instrument, answers, with_gaps(instrument, 1, 1, 2, 3)), instrument)
    assert table["score"].tolist()[0] == pytest.approx(9 * 10 / 7)
    assert math.isnan(table["score"].tolist()[1])
    assert table["n_answered"].tolist() == [7, 6]
    assert table["prorated"].tolist() == [True, False]


def test_each_scale_of_the_core_om_has_its_own_published_limit(registry: dict[str, Instrument]) -> None:
    instrument = registry["core_om"]
    gaps = [(2,), (2, 5), (4,), (6,), (2, 1, 3), (2, 1, 6), (2, 1, 6, 9)]
    scores = by_scale(score(answered(instrument, *(with_gaps(instrument, 2, *gap) for gap in gaps)), instrument))
    given = {name: [not math.isnan(value) for value in values] for name, values in scores.items()}
    assert given["problems"] == [True, False, True, True, True, True, True]
    assert given["functioning"] == [True, True, True, True, False, True, True]
    assert given["wellbeing"] == [True, True, False, True, True, True, True]
    assert given["risk"] == [True, True, True, False, True, False, False]
    assert given["non_risk"] == [True] * 7
    assert given["total"] == [True, True, True, True, True, True, False]


def test_a_blank_of_the_oq_45_takes_the_rounded_mean_of_its_scale(registry: dict[str, Instrument]) -> None:
    instrument = registry["oq_45_2"]
    answers = [0.0] * 45
    for item in instrument.reverse:
        answers[item - 1] = 4.0
    # Social role: eight scored answers of which four are 1 (mean 0.5, rounded up to 1), item 44 blank.
    for item in (4, 14, 28, 32):
        answers[item - 1] = 1.0
    answers[43] = NAN
    # Relations: ten answers with sum 3 (mean 0.3, rounded to 0), item 30 blank.
    answers[6], answers[29] = 3.0, NAN
    scores = by_scale(score(answered(instrument, answers), instrument))
    assert (scores["sr"], scores["ir"], scores["sd"], scores["total"]) == ([5], [3], [0], [8])


def test_the_configuration_can_override_every_missing_rule(registry: dict[str, Instrument]) -> None:
    instrument = registry["wai_sr"]
    table = answered(instrument, with_gaps(instrument, 4, 1), with_gaps(instrument, 4, 1, 2, 3, 4, 5, 6))
    assert [math.isnan(v) for v in by_scale(score(table, instrument))["total"]] == [False, True]
    assert [math.isnan(v) for v in by_scale(score(table, instrument, {"missing_rule": "strict"}))["total"]] == [True, True]
    half = {"missing_rule": "proration", "min_answered_proportion": 0.5}
    assert by_scale(score(table, instrument, half))["total"] == [4, 4]
    oq = registry["oq_45_2"]
    blank = answered(oq, with_gaps(oq, 0, 44))
    assert by_scale(score(blank, oq, half))["sr"] == [9]


def test_a_total_counts_its_items_and_does_not_need_every_scale(registry: dict[str, Instrument]) -> None:
    instrument = registry["wai_36"]
    gaps = instrument.scale_items("task")[:3]
    scores = by_scale(score(answered(instrument, with_gaps(instrument, 4, *gaps)), instrument))
    assert math.isnan(scores["task"][0])
    assert scores["total"] == [144]


def test_answers_outside_the_range_are_never_clipped(registry: dict[str, Instrument]) -> None:
    instrument = registry["wai_sr"]
    answers = with_gaps(instrument, 3)
    answers[0] = 9.0
    table = answered(instrument, answers)
    scores = by_scale(score(table, instrument))
    assert math.isnan(scores["task"][0])
    assert math.isnan(scores["total"][0])
    assert scores["bond"] == [3]
    issues = scoring_issues("a", table, instrument)
    assert [(issue.code, issue.column, issue.n_affected) for issue in issues] == [("V01", "i1", 1)]


def test_the_range_a_site_used_decides_how_items_are_turned(registry: dict[str, Instrument]) -> None:
    instrument = registry["rses"]
    table = with_response(answered(instrument, 0), {"min": 0, "max": 3})
    assert by_scale(score(table, instrument))["total"] == [15]
    seven = with_response(answered(registry["wai_sr"], 7), {"min": 1, "max": 7})
    assert by_scale(score(seven, registry["wai_sr"]))["total"] == [7]
    assert [issue.code for issue in scoring_issues("a", seven, registry["wai_sr"])] == ["S03"]


def test_forms_without_any_answer_have_no_score_row(registry: dict[str, Instrument]) -> None:
    table = score(answered(registry["phq_9"], NAN, 1), registry["phq_9"])
    assert table["client_no"].tolist() == [2]


def test_visual_scales_keep_their_decimals(registry: dict[str, Instrument]) -> None:
    scores = score(answered(registry["srs"], [9.5, 8.2, 10.0, 7.1]), registry["srs"])
    assert scores["score"].tolist() == [pytest.approx(34.8)]


def test_target_complaints_average_the_complaints_that_were_rated(registry: dict[str, Instrument]) -> None:
    table = with_response(answered(registry["target_complaints"], [12.0, 9, NAN], [NAN, NAN, 4]), {"min": 1, "max": 13})
    assert by_scale(score(table, registry["target_complaints"]))["severity"] == [10.5, 4]


def test_blri_empathy_is_the_sum_of_positive_less_negative_items_once_verified(tmp_path: Path, registry: dict[str, Instrument]) -> None:
    assert not len(score(answered(registry["blri_os64"], 3), registry["blri_os64"]))
    (tmp_path / "blri_os64.yaml").write_text('verified_by: "A. Checker"\n', encoding="utf-8")
    verified = load_registry([SHIPPED, tmp_path])["blri_os64"]
    positive, negative = (2, 10, 18, 30, 34, 42, 54, 62), (6, 14, 22, 26, 38, 46, 50, 58)
    answers = [1.0] * 64
    for item in positive:
        answers[item - 1] = 2.0
    for item in negative:
        answers[item - 1] = -3.0
    answers[1] = -1.0
    assert by_scale(score(answered(verified, answers), verified))["empathy"] == [7 * 2 - 1 + 8 * 3]


def test_items_of_an_uncertain_map_are_not_scored_and_the_reason_is_given(registry: dict[str, Instrument]) -> None:
    table = answered(registry["calpas_p"], 4, 5)
    assert not len(score(table, registry["calpas_p"]))
    (issue,) = scoring_issues("a", table, registry["calpas_p"])
    assert (issue.code, issue.n_affected) == ("S01", 2)
    assert "verified_by" in issue.message


@pytest.mark.parametrize("key", ["calpas_p", "caltras", "haq_1", "ha_cs", "tas_marziali", "vtas", "vpps", "wai_36"])
def test_scale_scores_of_every_family_can_be_sent(registry: dict[str, Instrument], key: str) -> None:
    instrument = registry[key]
    scale = instrument.scale_names[0]
    table = forms(2, **{f"s_{scale}": pd.array([2.0, 3.0], dtype="Float64"), "unit": pd.Series(["mean"] * 2, dtype="str")})
    scores = score(table, instrument)
    rows = scores[scores["scale"] == scale]
    assert rows["score"].notna().all()
    assert set(rows["level"]) == {"scale"}


def test_sent_scores_are_turned_into_the_headline_unit(registry: dict[str, Instrument]) -> None:
    units = pd.Series(["mean", "sum"], dtype="str")
    table = forms(2, s_total=pd.array([5.0, 180.0], dtype="Float64"), unit=units)
    assert by_scale(score(table, registry["wai_36"]))["total"] == [180, 180]
    clinical = forms(2, s_total=pd.array([1.5, 15.0], dtype="Float64"), unit=units)
    assert by_scale(score(clinical, registry["core_10"]))["total"] == [15, 15]


def test_a_total_of_sent_scales_is_weighted_by_their_items(registry: dict[str, Instrument]) -> None:
    parts = {"therapist_contribution": 4.0, "patient_contribution": 3.0, "interaction": 2.0}
    columns = {f"s_{name}": pd.array([value, value if name != "interaction" else None], dtype="Float64") for name, value in parts.items()}
    scores = score(forms(2, "observer", **columns, unit=pd.Series(["mean"] * 2, dtype="str")), registry["vtas"])
    total = scores[scores["scale"] == "total"]
    assert total["score"].tolist() == [pytest.approx((18 * 4 + 14 * 3 + 12 * 2) / 44)]
    assert total["client_no"].tolist() == [1]


def test_scores_that_cannot_be_converted_stay_as_sent_and_are_named(registry: dict[str, Instrument]) -> None:
    table = forms(2, s_total=pd.array([40.0, 42.0], dtype="Float64"), unit=pd.Series(["sum"] * 2, dtype="str"))
    scores = score(table, registry["empathy_scale"])
    assert (scores["score"].tolist(), scores["unit"].unique().tolist()) == ([40, 42], ["sum"])
    assert [issue.code for issue in scoring_issues("a", table, registry["empathy_scale"])] == ["S02"]


def test_items_win_over_a_sent_score_of_the_same_form(registry: dict[str, Instrument]) -> None:
    table = answered(registry["wai_sr"], 4, NAN)
    table["s_total"] = pd.array([1.0, 2.0], dtype="Float64")
    table["unit"] = pd.Series(["mean"] * 2, dtype="str")
    total = score(table, registry["wai_sr"]).query("scale == 'total'")
    assert (total["score"].tolist(), total["level"].tolist()) == ([4, 2], ["item", "scale"])


def test_observers_of_one_session_are_averaged_and_counted(registry: dict[str, Instrument]) -> None:
    table = answered(registry["wai_s"], 3, 5, 7, NAN, rater="observer")
    table["client_no"] = pd.array([1, 1, 2, 2], dtype="Int64")
    table["rater_no"] = pd.array([1, 2, 1, 2], dtype="Int64")
    scores = score(table, registry["wai_s"]).query("scale == 'bond'")
    assert scores["score"].tolist() == [16, 28]
    assert scores["n_raters"].tolist() == [2, 1]


def test_short_forms_are_derived_with_their_parent_named_and_its_range(registry: dict[str, Instrument]) -> None:
    parent = registry["wai_36"]
    answers = [float(1 + item % 7) for item in range(1, 37)]
    scores = score_site({"wai_36": answered(parent, answers)}, None, registry, {"derive_short_forms": True})
    derived = {(row.instrument, row.scale): row for row in scores.itertuples()}

    def scored(item: int) -> float:
        return 8 - answers[item - 1] if item in parent.reverse else answers[item - 1]

    assert derived["wai_s", "task"].score == sum(scored(item) for item in (2, 4, 24, 35))
    assert derived["wai_s", "goal"].score == sum(scored(item) for item in (12, 22, 27, 32))
    assert derived["wai_sr", "task"].score == sum(scored(item) for item in (25, 4, 16, 35)) / 4
    assert derived["wai_sr", "goal"].score == sum(scored(item) for item in (30, 22, 24, 32)) / 4
    assert {row.derived_from for key, row in derived.items() if key[0] != "wai_36"} == {"wai_36"}
    assert derived["wai_36", "task"].derived_from == ""
    without = score_site({"wai_36": answered(parent, answers)}, None, registry, {"derive_short_forms": False})
    assert set(without["instrument"]) == {"wai_36"}


def test_a_short_form_is_derived_only_for_raters_it_has_a_form_for_and_who_did_not_send_it(registry: dict[str, Instrument]) -> None:
    long = pd.concat([answered(registry["wai_36"], 4, rater=rater) for rater in ("client", "therapist", "observer")], ignore_index=True)
    sent = answered(registry["wai_s"], 6)
    scores = score_site({"wai_36": long, "wai_s": sent}, None, registry)
    assert set(scores[scores["instrument"] == "wai_sr"]["rater"]) == {"client"}
    short = scores[(scores["instrument"] == "wai_s") & (scores["scale"] == "bond")].set_index("rater")
    assert short["derived_from"].to_dict() == {"client": "", "therapist": "wai_36", "observer": "wai_36"}
    assert short.loc["client", "score"] == 24


def test_improvement_items_can_be_left_out(tmp_path: Path) -> None:
    text = 'verified_by: "A. Checker"\nimprovement_items: [1, 2, 3, 4, 5, 9]\n'
    (tmp_path / "haq_1.yaml").write_text(text, encoding="utf-8")
    instrument = load_registry([SHIPPED, tmp_path])["haq_1"]
    answers = [6.0] * 5 + [2.0] * 3 + [6.0, 3.0, 3.0]
    table = answered(instrument, answers)
    assert by_scale(score(table, instrument))["total"] == [48]
    scores = score(table, instrument, {"exclude_improvement_items": True})
    assert by_scale(scores) == {"type_1": [6], "type_2": [6], "total": [12]}
    assert by_scale(scores, "n_items")["total"] == [5]
    moments = scale_moments(scores, {"haq_1": instrument}, {"exclude_improvement_items": True})
    assert moments.set_index("scale")["maximum_possible"]["total"] == 30
    sent = forms(1, s_total=pd.array([48.0], dtype="Float64"), unit=pd.Series(["sum"], dtype="str"))
    assert not len(score(sent, instrument, {"exclude_improvement_items": True}))
    assert [i.code for i in scoring_issues("a", sent, instrument, {"exclude_improvement_items": True})] == ["S04"]


def test_scale_level_outcomes_are_scored_from_the_long_table(registry: dict[str, Instrument]) -> None:
    base = forms(2).assign(timepoint="post", session=pd.array([None, None], dtype="Int64"))
    rows = [
        base.assign(instrument="scl_90_r", scale="gsi", value=[1.2, 0.8], unit="mean"),
        base.assign(instrument="phq_9", scale="total", value=[9.0, 18.0], unit="sum"),
    ]
    scores = score_site({}, pd.concat(rows, ignore_index=True), registry)
    assert by_scale(scores[scores["instrument"] == "phq_9"])["total"] == [9, 18]
    assert by_scale(scores[scores["instrument"] == "scl_90_r"])["gsi"] == [1.2, 0.8]
    assert scores["session"].isna().all()


def test_scores_have_the_columns_and_types_of_the_contract(registry: dict[str, Instrument]) -> None:
    scores = score_site({"wai_sr": answered(registry["wai_sr"], 4, 5)}, None, registry)
    assert tuple(scores.columns) == SCORE_COLUMNS
    assert {name: str(kind) for name, kind in scores.dtypes.items()} == SCORE_TYPES
    empty = score_site({}, None, registry)
    assert empty.dtypes.astype(str).to_dict() == scores.dtypes.astype(str).to_dict()


def test_scoring_in_pieces_gives_what_scoring_at_once_gives(registry: dict[str, Instrument], monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(3)
    values = draw.integers(1, 8, (50, 36)).astype(float)
    values[draw.random((50, 36)) < 0.1] = NAN
    table = answered(registry["wai_36"], *values.tolist())
    whole = score(table, registry["wai_36"])
    whole_items = item_statistics(table, registry["wai_36"])
    monkeypatch.setattr("alliance.instruments.scoring._ROWS_AT_ONCE", 7)
    monkeypatch.setattr("alliance.instruments.item_statistics._ROWS_AT_ONCE", 7)
    pd.testing.assert_frame_equal(score(table, registry["wai_36"]), whole)
    pd.testing.assert_frame_equal(item_statistics(table, registry["wai_36"]), whole_items)


def test_item_statistics_describe_answers_as_given_and_correlate_them_as_scored(registry: dict[str, Instrument]) -> None:
    draw = np.random.default_rng(5)
    instrument = registry["wai_s"]
    values = np.clip(np.round(4 + draw.normal(0, 1.5, (40, 1)) + draw.normal(0, 1, (40, 12))), 1, 7)
    values[:, [3, 9]] = 8 - values[:, [3, 9]]
    stats = item_statistics(answered(instrument, *values.tolist()), instrument).query("scale == 'total'").set_index("item")
    np.testing.assert_allclose(stats["mean"], values.mean(axis=0))
    np.testing.assert_allclose(stats["sd"], values.std(axis=0, ddof=1))
    np.testing.assert_allclose(stats["share_at_maximum"], (values == 7).mean(axis=0))
    assert (stats["item_rest_r"] > 0.3).all()
    np.testing.assert_allclose(stats["item_rest_se"], 1 / math.sqrt(37))


def test_sessions_of_one_client_do_not_narrow_the_standard_error(registry: dict[str, Instrument]) -> None:
    table = answered(registry["phq_9"], *np.random.default_rng(1).integers(0, 4, (40, 9)).astype(float).tolist())
    table["client_no"] = pd.array(np.repeat(np.arange(1, 9), 5), dtype="Int64")
    assert item_statistics(table, registry["phq_9"])["item_rest_se"].unique().tolist() == [1 / math.sqrt(5)]


def test_statistics_need_three_clients_and_answers(registry: dict[str, Instrument]) -> None:
    two = answered(registry["phq_9"], 1, 2)
    assert not len(item_statistics(two, registry["phq_9"]))
    assert scale_moments(score(two, registry["phq_9"]), registry)["mean"].isna().all()
    constant = item_statistics(answered(registry["phq_9"], 1, 1, 1, 1), registry["phq_9"])
    assert constant["item_rest_r"].isna().all()
    gaps = with_gaps(registry["phq_9"], 1, 9)
    never = item_statistics(answered(registry["phq_9"], gaps, gaps, gaps, gaps), registry["phq_9"]).set_index("item")
    assert never.loc[9, "n"] == 0
    assert math.isnan(never.loc[9, "mean"])
    assert reliabilities(answered(registry["phq_9"], gaps, gaps, gaps), registry["phq_9"])["alpha"].isna().all()


def test_moments_separate_spread_within_and_between_clients(registry: dict[str, Instrument]) -> None:
    sums = [[10.0, 14.0], [20.0, 24.0], [30.0, 34.0]]
    table = forms(6, s_total=pd.array(np.ravel(sums), dtype="Float64"), unit=pd.Series(["sum"] * 6, dtype="str"))
    table["client_no"] = pd.array([1, 1, 2, 2, 3, 3], dtype="Int64")
    (row,) = scale_moments(score(table, registry["core_om"]), registry).itertuples()
    scale = 10 / 34
    assert (row.n_clients, row.n_rows) == (3, 6)
    assert row.mean == pytest.approx(22 * scale)
    assert row.sd_between_client == pytest.approx(10 * scale)
    assert row.sd_within_client == pytest.approx(math.sqrt(24 / 3) * scale)
    assert (row.minimum_possible, row.maximum_possible) == (0, 40)


def run_score_site(folder: Path, output: Path, **options: Any) -> None:
    command = [sys.executable, str(PROJECT / "scripts" / "score_site.py"), "--site-tables", str(folder), "--output", str(output)]
    files = [str(path) for path in sorted(SHIPPED.glob("*.yaml"))]
    result = subprocess.run([*command, "--options", json.dumps(options), "--instruments", *files], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_the_scoring_step_writes_four_files_and_uses_the_declared_range(tmp_path: Path, registry: dict[str, Instrument]) -> None:
    ratings = answered(registry["wai_sr"], *[[float(1 + (i + j) % 7) for j in range(12)] for i in range(6)])
    ratings = with_response(ratings, {"min": 1, "max": 7})
    write_parquet(tmp_path / "site" / "ratings" / "wai_sr.parquet", ratings)
    write_json(tmp_path / "site" / "status.json", {"site": "a", "status": "ok"})
    run_score_site(tmp_path / "site", tmp_path / "scores")
    scores = read_parquet(tmp_path / "scores" / "scores.parquet")
    write_parquet(tmp_path / "expected.parquet", score_site({"wai_sr": ratings}, None, registry))
    pd.testing.assert_frame_equal(scores, read_parquet(tmp_path / "expected.parquet"))
    moments = pd.read_csv(tmp_path / "scores" / "scale_moments.csv")
    assert set(moments["maximum_possible"]) == {7}
    assert moments["alpha"].notna().any()
    assert len(pd.read_csv(tmp_path / "scores" / "item_statistics.csv")) == 24
    assert [issue.code for issue in from_csv((tmp_path / "scores" / "issues.csv").read_text())] == ["S03"]


def test_scores_of_several_instruments_are_read_in_one_piece(tmp_path: Path, registry: dict[str, Instrument]) -> None:
    for key in ("wai_sr", "haq_2"):
        low = [[float(registry[key].response.min)] * registry[key].n_items] * 4
        write_parquet(tmp_path / "site" / "ratings" / f"{key}.parquet", answered(registry[key], *low))
    write_json(tmp_path / "site" / "status.json", {"site": "a", "status": "ok"})
    run_score_site(tmp_path / "site", tmp_path / "scores")
    assert set(read_parquet(tmp_path / "scores" / "scores.parquet")["instrument"]) == {"wai_sr", "haq_2"}
    assert pq.ParquetFile(tmp_path / "scores" / "scores.parquet").num_row_groups == 1


def test_a_site_left_out_gets_empty_files_with_headers(tmp_path: Path) -> None:
    write_json(tmp_path / "site" / "status.json", {"site": "a", "status": "excluded", "reasons": ["x"], "instruments": {}})
    run_score_site(tmp_path / "site", tmp_path / "scores")
    scores = read_parquet(tmp_path / "scores" / "scores.parquet")
    assert tuple(scores.columns) == SCORE_COLUMNS
    assert not len(scores)
    for name in ("item_statistics", "scale_moments", "issues"):
        text = (tmp_path / "scores" / f"{name}.csv").read_text()
        assert text.count("\n") == 1, name
        assert "site" in text
