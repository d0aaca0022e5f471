"""Study variables: one value a client."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from alliance.variables.client import (
    client_level,
    dropout,
    gain_window_overlap,
    in_window,
    measure,
    order_violations,
    product,
    residual_gain,
)
from simulated_site import OPTIONS, score_rows, site_of


def test_a_window_of_sessions_averages_the_sessions_inside_it():
    site = site_of([score_rows([1, 1, 1, 2], [2, 4, 9, 5], instrument="wai_36", session=[1, 5, 6, 7])])
    values = client_level(site, {"construct": "alliance", "window": "early"}, OPTIONS)
    assert values.to_dict() == {1: 3.0}
    assert values.attrs["instrument"] == "wai_36"
    assert values.attrs["unit"] == "mean"


def test_a_section_may_name_another_scale_for_one_of_its_instruments():
    rows = [
        score_rows([1, 2], [4, 6], instrument="blri_os64", scale="empathy", session=1),
        score_rows([1, 2], [1, 2], instrument="blri_os64", scale="total", session=1),
    ]
    options = OPTIONS | {"empathy": OPTIONS["empathy"] | {"instruments": ["care", "blri_os64.empathy"]}}
    found = measure(site_of(rows), {"construct": "empathy"}, options)
    assert found.values.to_dict() == {1: 4.0, 2: 6.0}
    assert found.source == "blri_os64.empathy (client, sum)" or found.source == "blri_os64.empathy (client, mean)"
    named = measure(site_of(rows), {"construct": "empathy", "scale": "total"}, options)
    assert named.values.to_dict() == {1: 1.0, 2: 2.0}


def test_adherence_and_social_influence_come_from_their_own_sections():
    rows = [
        score_rows([1, 1, 1], [50, 80, 100], instrument="homework_adherence", session=[2, 6, 8], rater="therapist"),
        score_rows([1], [25], instrument="crf_s", scale="expertness", session=3),
    ]
    adherence = OPTIONS["adherence"] | {"window": "late_sessions"}
    alliance = OPTIONS["alliance"] | {"windows": OPTIONS["alliance"]["windows"] | {"late_sessions": {"sessions": [6, 99]}}}
    options = OPTIONS | {"adherence": adherence, "alliance": alliance}
    assert client_level(site_of(rows), {"construct": "adherence"}, options).to_dict() == {1: 90.0}
    assert client_level(site_of(rows), {"construct": "social_influence", "scale": "expertness"}, options).to_dict() == {1: 25.0}
    assert measure(site_of(rows), {"construct": "social_influence"}, options).reason == "no client-rated total score of crf_s in session_3"


def coded(rows: list[tuple[int, int, str, float, float]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["client_no", "session", "code", "count", "exposure"])
    return frame.astype({"client_no": "Int64", "session": "Int64"})


def test_coded_events_are_counted_an_hour_and_sessions_without_them_count_as_none():
    events = coded(
        [
            (1, 1, "interpretation_wish", 2, 30),
            (1, 1, "interpretation_response", 1, 30),
            (1, 2, "challenge", 4, 60),
            (1, 9, "interpretation_wish", 9, 60),
            (2, 1, "interpretation", 3, np.nan),
            (3, 1, "interpretations", 7, 60),
        ]
    )
    site = site_of([score_rows([1, 1, 2, 3], [4, 4, 4, 4], instrument="wai_36", session=[1, 2, 1, 1])], events=events)
    found = measure(site, {"construct": "events.interpretation", "window": "early"}, OPTIONS)
    assert found.values.to_dict() == {1: 3.0, 2: 3.0, 3: 0.0}
    assert found.in_sessions
    assert measure(site, {"construct": "events.repair", "window": "early"}, OPTIONS).reason == "no events coded repair"


def test_a_product_multiplies_z_scores_of_clients_who_have_both_and_lasts_from_the_first_to_the_last():
    rows = [
        score_rows([1, 2, 3, 4], [1, 2, 3, 9], instrument="wai_36", session=3),
        score_rows([1, 2, 3], [10, 30, 20], instrument="care", session=1),
    ]
    alliance, empathy = (measure(site_of(rows), {"construct": name, "window": "early"}, OPTIONS) for name in ("alliance", "empathy"))
    found = product(alliance, empathy)
    assert found.values.to_dict() == {1: 1.0, 2: 0.0, 3: 0.0}
    assert found.times.loc[1, "first_order"] == empathy.times.loc[1, "first_order"]
    assert found.times.loc[1, "last_order"] == alliance.times.loc[1, "last_order"]
    constant = measure(
        site_of([score_rows([1, 2], [3, 3], instrument="care", session=1)]), {"construct": "empathy", "window": "early"}, OPTIONS
    )
    assert product(alliance, constant).reason == "needs clients who differ in both variables"


def test_phases_and_last_sessions_count_attended_sessions_not_session_numbers():
    sessions = pd.DataFrame(
        {
            "client_no": pd.array([1] * 7, dtype="Int64"),
            "session": pd.array([1, 2, 4, 5, 8, 9, 10], dtype="Int64"),
            "attended": pd.array([True, True, True, None, True, True, False], dtype="boolean"),
        }
    )
    rated = score_rows([1] * 6, [1, 2, 3, 4, 5, 6], instrument="wai_36", session=[1, 2, 4, 5, 8, 9])
    site = site_of([rated], sessions=sessions)
    middle = client_level(site, {"construct": "alliance", "window": "middle"}, OPTIONS)
    late = client_level(site, {"construct": "alliance", "window": "late"}, OPTIONS)
    assert middle.to_dict() == {1: 3.5}
    assert late.to_dict() == {1: 5.0}


def test_a_phase_of_thirds_divides_six_sessions_into_pairs():
    attended = pd.DataFrame({"client_no": 1, "session": range(1, 7), "position": range(1, 7), "total": 6})
    rows = attended[["client_no", "session"]]
    inside = [in_window(rows, {"phase": [a, b]}, attended).tolist() for a, b in ((0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1))]
    assert [[i for i, yes in enumerate(one, start=1) if yes] for one in inside] == [[1, 2], [3, 4], [5, 6]]


def test_each_site_contributes_the_first_listed_instrument_it_has_from_the_rater():
    only_haq = site_of(
        [
            score_rows([1], [3], instrument="haq_2", session=1),
            score_rows([1], [6], instrument="wai_36", session=1, rater="therapist"),
        ]
    )
    both = site_of([score_rows([1], [3], instrument="haq_2", session=1), score_rows([1], [6], instrument="wai_36", session=1)])
    assert client_level(only_haq, {"construct": "alliance"}, OPTIONS).attrs["instrument"] == "haq_2"
    assert client_level(both, {"construct": "alliance"}, OPTIONS).attrs["instrument"] == "wai_36"


def test_outcomes_are_turned_so_that_higher_is_better_and_say_so():
    worse = site_of([score_rows([1, 2], [20, 5], instrument="core_10", timepoint="post", unit="sum")])
    better = site_of([score_rows([1, 2], [20, 5], instrument="ors", timepoint="post", unit="sum")])
    turned = client_level(worse, {"construct": "outcome"}, OPTIONS)
    kept = client_level(better, {"construct": "outcome"}, OPTIONS)
    assert turned.to_dict() == {1: -20.0, 2: -5.0}
    assert turned.attrs["turned"] is True
    assert kept.to_dict() == {1: 20.0, 2: 5.0}
    assert kept.attrs["turned"] is False


def test_intake_is_the_instrument_that_supplied_the_outcome():
    site = site_of(
        [
            score_rows([1], [9], instrument="core_10", timepoint="intake"),
            score_rows([1], [30], instrument="ors", timepoint="intake"),
            score_rows([1], [35], instrument="ors", timepoint="post"),
        ]
    )
    assert client_level(site, {"construct": "intake"}, OPTIONS).to_dict() == {1: 30.0}


def test_residual_gain_is_what_intake_does_not_explain():
    random = np.random.default_rng(3)
    intake = pd.Series(random.normal(20, 5, 40), index=range(40))
    post = 0.6 * intake + pd.Series(random.normal(0, 3, 40), index=range(40))
    from scipy.stats import linregress

    line = linregress(intake, post)
    expected = post - line.intercept - line.slope * intake
    pd.testing.assert_series_equal(residual_gain(post, intake), expected, check_names=False, rtol=1e-10)


def test_residual_gain_needs_three_clients_and_intake_that_varies():
    assert residual_gain(pd.Series([1.0, 2.0]), pd.Series([1.0, 2.0])).empty
    assert residual_gain(pd.Series([1.0, 2.0, 3.0]), pd.Series([4.0, 4.0, 4.0])).empty


def test_the_form_of_the_outcome_follows_the_configuration():
    options = copy.deepcopy(OPTIONS)
    site = site_of(
        [
            score_rows([1, 2, 3], [20, 18, 25], instrument="core_10", timepoint="intake"),
            score_rows([1, 2, 3], [10, 15, 12], instrument="core_10", timepoint="post"),
        ]
    )
    options["outcome"]["form"] = "change"
    assert client_level(site, {"construct": "outcome"}, options).to_dict() == {1: 10.0, 2: 3.0, 3: 13.0}
    assert client_level(site, {"construct": "residual_gain"}, OPTIONS).sum() == pytest.approx(0, abs=1e-12)


def test_early_gain_is_improvement_from_intake_to_the_end_of_its_window():
    site = site_of(
        [
            score_rows([1, 2], [20, 10], instrument="core_10", timepoint="intake"),
            score_rows([1, 1, 2], [14, 9, 12], instrument="core_10", session=[3, 4, 3]),
        ]
    )
    assert client_level(site, {"construct": "early_gain"}, OPTIONS).to_dict() == {1: 6.0, 2: -2.0}


def test_alliance_sessions_inside_the_gain_window_are_flagged():
    early = site_of([score_rows([1, 1, 2], [4, 4, 5], instrument="wai_36", session=[1, 3, 3])])
    alliance = measure(early, {"construct": "alliance"}, OPTIONS)
    assert "for 1 of 2 clients" in gain_window_overlap(alliance, OPTIONS)
    third = measure(early, {"construct": "alliance", "window": "session_3"}, OPTIONS)
    assert gain_window_overlap(third, OPTIONS) == ""


@pytest.mark.parametrize(
    ("alliance_dates", "outcome_dates", "expected"),
    [
        (["2024-03-01", "2024-03-01"], ["2024-02-01", "2024-06-01"], [1]),
        (["2024-03-01", "2024-03-01"], ["2024-03-01", "2024-06-01"], []),
        ([None, "2024-07-01"], ["2024-02-01", "2024-06-01"], [2]),
    ],
)
def test_dates_decide_whether_the_alliance_came_first(alliance_dates, outcome_dates, expected):
    site = site_of(
        [
            score_rows([1, 2], [4, 5], instrument="wai_36", session=[2, 2], date=alliance_dates),
            score_rows([1, 2], [9, 8], instrument="core_10", timepoint="post", date=outcome_dates),
        ]
    )
    alliance, outcome = (measure(site, {"construct": name}, OPTIONS) for name in ("alliance", "outcome"))
    assert order_violations(alliance, outcome).tolist() == expected


def test_session_numbers_decide_where_dates_are_unknown():
    site = site_of(
        [
            score_rows([1, 2], [4, 5], instrument="wai_36", session=[3, 5]),
            score_rows([1, 2], [9, 8], instrument="core_10", session=[4, 4]),
        ]
    )
    alliance = measure(site, {"construct": "alliance"}, OPTIONS)
    later = measure(site, {"construct": "symptoms", "window": "all"}, OPTIONS)
    assert order_violations(alliance, later).tolist() == [2]


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("unilateral", {1: 1.0, 2: 0.0, 3: 0.0}),
        ("before_planned", {1: 1.0, 2: 0.0}),
        ("few_sessions", {1: 1.0, 2: 0.0, 3: 1.0}),
    ],
)
def test_dropout_follows_its_definition_and_leaves_out_unfinished_treatments(definition, expected):
    attended = {1: 3, 2: 10, 3: 2, 4: 1}
    sessions = pd.DataFrame([(client, session) for client, n in attended.items() for session in range(1, n + 1)])
    sessions.columns = ["client_no", "session"]
    site = site_of(
        [],
        sessions=sessions.astype("Int64"),
        clients=pd.DataFrame({"client_no": pd.array([1, 2, 3, 4], dtype="Int64"), "planned_sessions": [12.0, 12.0, np.nan, 12.0]}),
        termination=pd.DataFrame(
            {"client_no": pd.array([1, 2, 3, 4], dtype="Int64"), "reason": ["unilateral", "planned", "administrative", "ongoing"]}
        ),
    )
    section = {**OPTIONS["dropout"], "definition": definition}
    assert dropout(site, section).values.to_dict() == expected


def test_a_single_score_can_be_a_variable_at_any_time():
    site = site_of(
        [
            score_rows([1], [3], instrument="haq_2", scale="positive", session=2, rater="therapist"),
            score_rows([1], [7], instrument="ors", timepoint="follow_up"),
        ]
    )
    assert client_level(site, {"construct": "haq_2.positive", "window": "early"}, OPTIONS).to_dict() == {1: 3.0}
    assert client_level(site, {"construct": "ors.total", "timepoint": "follow_up"}, OPTIONS).to_dict() == {1: 7.0}


def test_intake_severity_is_higher_where_the_client_is_worse():
    sent = site_of([], clients=pd.DataFrame({"client_no": [1], "intake_severity": [4.0]}))
    worse = site_of([score_rows([1], [20], instrument="core_10", timepoint="intake")])
    better = site_of([score_rows([1], [20], instrument="ors", timepoint="intake")])
    found = [client_level(site, {"construct": "intake_severity"}, OPTIONS).to_dict() for site in (sent, worse, better)]
    assert found == [{1: 4.0}, {1: 20.0}, {1: -20.0}]


def test_what_is_missing_is_said_in_words():
    empty = site_of([])
    assert "no client-rated total score of wai_36, haq_2 in early" in measure(empty, {"construct": "alliance"}, OPTIONS).reason
    assert "no column income" in measure(empty, {"construct": "clients.income"}, OPTIONS).reason
    text = site_of([], clients=pd.DataFrame({"client_no": [1], "setting": ["ward"]}))
    assert "holds no numbers" in measure(text, {"construct": "clients.setting"}, OPTIONS).reason


def test_values_do_not_depend_on_the_order_of_rows():
    rows = score_rows([1, 1, 2, 2], [0.1, 0.2, 0.3, 0.7], instrument="wai_36", session=[1, 2, 1, 2])
    forward = client_level(site_of([rows]), {"construct": "alliance"}, OPTIONS)
    backward = client_level(site_of([rows.iloc[::-1]]), {"construct": "alliance"}, OPTIONS)
    pd.testing.assert_series_equal(forward, backward, check_exact=True)
