"""Ruptures: hand-made series with known shapes, the published control chart, gaps, order of rows, and surrogates."""

from __future__ import annotations

import numpy as np
import pytest
from alliance.statistics import ruptures as rules
from alliance.statistics.resampling import generator
from unit.rupture_series import RULES, SERIES

PARAMETERS = {
    "drop": {"rule": "drop", "sd": 1.0},
    "reliable_drop": {"rule": "reliable_drop", "critical": 1.96},
    "decline": {"rule": "decline", "sd": 1.0},
    "v_shape": {"rule": "v_shape", "sd": 2.0, "recovery": 1.0, "within": 3},
    "control_chart": {"rule": "control_chart", "sigma": 3.0, "baseline": None, "two_of_three": False},
}
SD = rules.Scale(within=0.5, between=0.6, reliability=0.8)


def packed(*ratings) -> rules.Series:
    rows = [
        (client, session, value)
        for client, own in enumerate(ratings, start=1)
        for session, value in enumerate(own, start=1)
        if value is not None
    ]
    return rules.series(*(np.array(column) for column in zip(*rows)))


def flags(found: rules.Series, ruptures: rules.Ruptures, client: int = 0) -> dict[int, bool]:
    at = np.flatnonzero(ruptures.starts[:, client])
    return {int(found.sessions[place, client]): bool(ruptures.repaired[place, client]) for place in at}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", SERIES)
def test_hand_made_series_have_the_ruptures_written_down_for_them(name, rule):
    one = SERIES[name]
    found = packed(one.ratings)
    ruptures = rules.ruptures(PARAMETERS[rule], found, SD)
    assert flags(found, ruptures) == one.expected.get(rule, {})
    assert bool(ruptures.eligible[0]) == (rule not in one.ineligible)


@pytest.mark.parametrize("rule", RULES)
def test_many_clients_at_once_have_the_ruptures_of_each_alone(rule):
    found = packed(*(one.ratings for one in SERIES.values()))
    together = rules.ruptures(PARAMETERS[rule], found, SD)
    assert [flags(found, together, place) for place in range(len(SERIES))] == [one.expected.get(rule, {}) for one in SERIES.values()]


def test_depth_and_length_count_from_the_level_before_and_the_first_lower_session():
    found = packed(SERIES["v"].ratings, SERIES["two steps"].ratings, SERIES["stays low"].ratings)
    ruptures = rules.ruptures(PARAMETERS["decline"], found, SD)
    assert ruptures.depth.max(axis=0) == pytest.approx([5.4 - 4.0, 6.1 - 5.3, 6.1 - 4.5])
    assert ruptures.length.max(axis=0).tolist() == [1, 2, 3]
    assert ruptures.repairs_at.max(axis=0).tolist() == [7, 6, 0]


def test_a_rupture_at_the_end_was_not_followed():
    found = packed(SERIES["at the end"].ratings, SERIES["recovers late"].ratings)
    ruptures = rules.ruptures(PARAMETERS["drop"], found, SD)
    assert [ruptures.followed[ruptures.starts[:, place], place].tolist() for place in (0, 1)] == [[False], [True]]


@pytest.mark.parametrize("after, followed", [(2, False), (3, True)])
def test_a_rupture_was_followed_once_the_time_for_its_repair_is_rated_to_the_end(after, followed):
    found = packed([6.0, 6.1, 6.0, 4.5, *[4.5] * after])
    ruptures = rules.ruptures(PARAMETERS["drop"], found, SD)
    assert flags(found, ruptures) == {4: False}
    assert ruptures.followed[ruptures.starts].tolist() == [followed]


def test_ratings_that_never_move_set_no_limit_for_a_control_chart():
    chart = {**PARAMETERS["control_chart"], "baseline": 4}
    found = packed([7.0, 7.0, 7.0, 7.0, 6.9, 7.0], [5.0, 5.0, None, None, 4.5, 4.5])
    assert [flags(found, rules.ruptures(rule, found, SD), client) for client, rule in enumerate((chart, PARAMETERS["control_chart"]))] == [
        {},
        {},
    ]


def test_a_longer_gap_is_bridged_where_the_configuration_allows_it():
    found = packed(SERIES["gap"].ratings)
    assert flags(found, rules.ruptures(PARAMETERS["drop"], found, SD, largest_gap=3)) == {6: True}


def test_a_baseline_judges_only_later_sessions_by_the_first_ones():
    found = packed([6.0, 6.1, 6.0, 6.1, 6.0, 4.0, 4.1, 6.0])
    chart = {**PARAMETERS["control_chart"], "baseline": 5}
    ruptures = rules.ruptures(chart, found, SD)
    assert flags(found, ruptures) == {6: True}
    assert ruptures.judged[:, 0].tolist() == [False] * 5 + [True] * 3


def test_two_of_three_beyond_two_sigma_are_seen_only_where_asked_for():
    ratings = [6.0, 6.1] * 6 + [5.75, 5.74, 6.05]
    found = packed(ratings)
    seen = {
        asked: flags(found, rules.ruptures({**PARAMETERS["control_chart"], "two_of_three": asked}, found, SD)) for asked in (False, True)
    }
    moving = np.abs(np.diff(ratings)).mean() / rules.D2
    low = np.mean(ratings) - np.array([3, 2]) * moving
    assert low[0] < 5.74 < 5.75 < low[1]
    assert seen == {False: {}, True: {14: True}}


def test_the_order_of_rows_does_not_matter_and_two_ratings_of_a_session_are_refused():
    rows = np.array([(2, 1, 5.0), (1, 3, 4.0), (1, 1, 6.0), (2, 2, np.nan), (1, 2, 5.5)])
    found = rules.series(*rows.T)
    assert found.clients.tolist() == [1, 2] and found.counts.tolist() == [3, 1]
    assert found.values[:, 0].tolist() == [6.0, 5.5, 4.0]
    with pytest.raises(ValueError, match="two ratings of one session"):
        rules.series([1, 1], [2, 2], [5.0, 6.0])


def test_scale_pools_deviations_from_clients_means():
    sd = rules.scale(packed([1.0, 3.0], [4.0, 6.0, 8.0]))
    assert sd.within == pytest.approx(np.sqrt((1 + 1 + 4 + 4) / 3))
    assert sd.between == pytest.approx(np.std([2.0, 6.0], ddof=1))


@pytest.mark.parametrize("kind", rules.SURROGATES)
def test_surrogates_keep_each_clients_mean_sd_and_sessions(kind):
    found = packed(*(one.ratings for one in SERIES.values()))
    noise = rules.surrogates(kind, found, 50, generator(1, "surrogates"), 0.4)
    assert noise.shape == (found.values.shape[0], 50, len(SERIES))
    mean, squares = rules.mean_and_squares(noise, found.rated[:, None])
    own_mean, own_squares = rules.mean_and_squares(found.values, found.rated)
    assert np.allclose(mean, own_mean) and np.allclose(squares, own_squares, atol=1e-6)
    if kind == "shuffled":
        for client, count in enumerate(found.counts):
            assert np.allclose(np.sort(noise[:count, 7, client]), np.sort(found.values[:count, client]))


@pytest.mark.parametrize("true", [-0.3, 0.0, 0.3, 0.6])
def test_autocorrelation_is_found_in_short_series_and_given_to_surrogates(true):
    random = generator(5, "autocorrelation", true)
    n, k = 3000, 14
    values = random.standard_normal((k, n))
    for step in range(1, k):
        values[step] = true * values[step - 1] + np.sqrt(1 - true**2) * values[step]
    client, session = np.meshgrid(np.arange(n), np.arange(1, k + 1))
    found = rules.series(client.ravel(), session.ravel(), values.ravel())
    assert rules.autocorrelation(found) == pytest.approx(true, abs=0.04)
    small = rules.series(*(column[client.ravel() < 200] for column in (client.ravel(), session.ravel(), values.ravel())))
    noise = rules.surrogates("autoregressive", small, 20, random, true)
    again = rules.series(client[:, :200].ravel(), session[:, :200].ravel(), noise[:, 3].ravel())
    assert rules.autocorrelation(again) == pytest.approx(true, abs=0.1)


@pytest.mark.parametrize("rule", RULES)
def test_surrogates_are_counted_as_the_same_series_would_be(rule):
    random = generator(3, "counted", rule)
    found = packed(*random.normal(5, 0.7, (40, 16)).tolist())
    noise = rules.surrogates("shuffled", found, 5, random)
    sd = rules.scale(found, 0.8)
    counts, judged, eligible = rules.surrogate_starts(PARAMETERS[rule], found, sd, noise)
    for number in range(5):
        one = rules.Series(found.clients, noise[:, number], found.sessions, found.rated)
        own = rules.ruptures(PARAMETERS[rule], one, sd)
        assert own.starts.sum(axis=0).tolist() == counts[number].tolist()
        assert own.judged.sum(axis=0).tolist() == judged[number].tolist() and own.eligible.tolist() == eligible[number].tolist()
