"""Slopes within clients see no later session where they should not, curves turn where they turn, and chance lows are not poor alliances."""

from __future__ import annotations

import numpy as np
import pytest
from alliance.statistics.initial_level import EFFECTS, attention_by_initial_level
from alliance.statistics.session_effects import (
    backward_deviations,
    between_slopes,
    forward_deviations,
    pooled_slopes,
    stacked_contrasts,
    within_slopes,
)
from alliance.statistics.two_lines import natural_spline, quadratic, two_lines


def panel(clients=60, sessions=8, seed=1):
    random = np.random.default_rng(seed)
    client = np.repeat(np.arange(clients), sessions)
    x = random.standard_normal(len(client)) + random.standard_normal(clients)[client]
    y = 0.5 * x + 2 * random.standard_normal(clients)[client] + random.standard_normal(len(client))
    return x, y, client, client % 10


def test_deviations_are_from_what_is_still_to_come_and_from_what_has_been():
    rows = np.array([[1.0], [3.0], [8.0], [5.0], [7.0]])
    client = np.array([0, 0, 0, 1, 1])
    forward, backward = forward_deviations(rows, client)[:, 0], backward_deviations(rows, client)[:, 0]
    assert forward == pytest.approx([np.sqrt(2 / 3) * (1 - 5.5), np.sqrt(1 / 2) * (3 - 8), 0, np.sqrt(1 / 2) * (5 - 7), 0])
    assert backward == pytest.approx([0, np.sqrt(1 / 2) * (3 - 1), np.sqrt(2 / 3) * (8 - 2), 0, np.sqrt(1 / 2) * (7 - 5)])


def test_instruments_of_earlier_sessions_do_not_hold_later_ones():
    x, _, client, _ = panel()
    changed = x.copy()
    last = np.flatnonzero(np.r_[client[1:] != client[:-1], True])
    changed[last] += 100.0
    before, after = (backward_deviations(one[:, None], client)[:, 0] for one in (x, changed))
    others = np.setdiff1d(np.arange(len(x)), last)
    assert before[others] == pytest.approx(after[others], abs=1e-9)


@pytest.mark.parametrize("centring", ["all", "prior"])
def test_levels_of_clients_do_not_matter(centring):
    x, y, client, therapist = panel()
    shift = 50 * np.arange(60.0)[client]
    one = within_slopes(x[:, None], y, client, therapist, centring=centring)
    other = within_slopes((x + shift)[:, None], y - 3 * shift, client, therapist, centring=centring)
    assert one.estimate == pytest.approx(other.estimate, rel=1e-9)
    assert one.std_error == pytest.approx(other.std_error, rel=1e-7)


def test_the_order_of_clients_does_not_matter_and_missing_values_are_left_out():
    x, y, client, therapist = panel()
    y[5] = np.nan
    order = np.argsort(np.random.default_rng(2).permutation(60)[client], kind="stable")
    one = within_slopes(x[:, None], y, client, therapist, centring="prior")
    other = within_slopes(x[order][:, None], y[order], client[order], therapist[order], centring="prior")
    assert one.estimate == pytest.approx(other.estimate, rel=1e-9)


def test_contrasts_are_differences_of_slopes_with_their_covariance():
    x, y, client, therapist = panel()
    z = np.random.default_rng(5).standard_normal(len(x))
    found = within_slopes(np.column_stack([x, z]), y, client, therapist, contrasts=stacked_contrasts(2, [0], [1]), standardised=False)
    assert found.estimate[2] == pytest.approx(found.estimate[0] - found.estimate[1])
    assert found.vcov[2, 2] == pytest.approx(found.vcov[0, 0] + found.vcov[1, 1] - 2 * found.vcov[0, 1])


def test_too_few_clients_and_a_constant_event_are_told():
    x, y, client, therapist = panel(clients=6)
    assert "needs at least 10 clients" in within_slopes(x[:, None], y, client, therapist).reason
    x, y, client, therapist = panel()
    assert within_slopes(np.ones((len(x), 1)), y, client, therapist).reason
    assert "needs at least 10 clients" in within_slopes(np.zeros((0, 1)), [], []).reason
    assert "needs at least 10 clients" in between_slopes([], [], []).reason
    assert "needs at least 10 clients" in pooled_slopes(np.zeros((0, 2)), [], []).reason
    with pytest.raises(ValueError, match="centring is"):
        within_slopes(x[:, None], y, client, centring="mean")


def curved(shape, clients=60, sessions=9, seed=3):
    random = np.random.default_rng(seed)
    client = np.repeat(np.arange(clients), sessions)
    x = random.poisson(2.5, len(client)) * 1.2
    y = shape(x) + random.standard_normal(len(client)) + random.standard_normal(clients)[client]
    return x, y, client, client % 12


@pytest.mark.parametrize(
    ("shape", "verdict"),
    [
        (lambda x: -0.3 * (x - 3) ** 2, "inverted_u"),
        (lambda x: 0.3 * (x - 3) ** 2, "u"),
        (lambda x: 0.3 * x, "not_shown"),
        (lambda x: 2 * np.log1p(x), "not_shown"),
    ],
)
def test_a_curve_turns_only_where_lines_have_opposite_signs(shape, verdict):
    assert two_lines(*curved(shape)).verdict == verdict


def test_a_squared_term_alone_also_bends_where_more_only_helps_less():
    data = curved(lambda x: 2 * np.log1p(x))
    highest = quadratic(*data).found.interval(0.95)[1]
    assert highest[1] < 0 and two_lines(*data).verdict == "not_shown"


def test_the_turning_point_is_found_with_its_interval():
    found = quadratic(*curved(lambda x: -0.3 * (x - 3) ** 2))
    assert found.turning_point.ci_low < 3 < found.turning_point.ci_high
    assert found.low < found.turning_point.estimate < found.high


def test_few_amounts_and_few_clients_are_told():
    x, y, client, therapist = curved(lambda x: x)
    assert "different amounts" in two_lines(np.minimum(x, 1.2), y, client, therapist).reason
    assert "needs at least 10 clients" in two_lines(x[:30], y[:30], client[:30]).reason
    assert "needs at least 10 clients" in two_lines([], [], []).reason
    assert quadratic([], [], []).found.reason
    with pytest.raises(ValueError, match="level is"):
        two_lines(x, y, client, level="both")


def test_the_spline_is_straight_beyond_its_outer_knots():
    knots = np.array([1.0, 2.0, 4.0])
    outside = natural_spline(np.array([-3.0, -2.0, -1.0, 5.0, 6.0, 7.0]), knots)
    for part in (outside[:3], outside[3:]):
        assert part[2] - part[1] == pytest.approx(part[1] - part[0])


def test_gains_of_those_who_begin_low_by_chance_are_told_as_noise():
    random = np.random.default_rng(4)
    n = 3000
    level = random.standard_normal(n)
    rated = level[:, None] + random.standard_normal((n, 2))
    later = level + 0.3 * random.standard_normal(n)
    found = attention_by_initial_level(
        rated.mean(axis=1), np.full(n, 2), rated.var(axis=1, ddof=1), random.standard_normal(n), later, np.arange(n) % 50
    ).found
    values = dict(zip(EFFECTS, found.estimate, strict=True))
    errors = dict(zip(EFFECTS, found.std_error, strict=True))
    assert values["gain_low"] > 0.3
    assert abs(values["gain_low_beyond_noise"]) < 4 * errors["gain_low_beyond_noise"]
    assert values["reliability"] == pytest.approx(2 / 3, abs=4 * errors["reliability"])


def test_what_initial_levels_need_is_told():
    few = np.arange(5.0)
    assert "needs at least 12 clients" in attention_by_initial_level(few, few, few, few, few).reason
    n = 40
    random = np.random.default_rng(1)
    alone = attention_by_initial_level(*random.standard_normal((1, n)), np.ones(n), np.full(n, np.nan), *random.standard_normal((2, n)))
    assert "several initial sessions" in alone.reason
    noise = random.standard_normal((n, 2)) * 5
    level = attention_by_initial_level(np.zeros(n) + 0.01 * np.arange(n), np.full(n, 2), noise.var(axis=1), *random.standard_normal((2, n)))
    assert "more than chance" in level.reason or "by more than chance" in level.reason
