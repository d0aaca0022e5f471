"""Slopes by therapist, effects on growth, and shares of variance: coverage, edges and refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from alliance.statistics.commonality import adjusted, explained, explained_elsewhere, partial, two_predictors
from alliance.statistics.covariance import partial_correlation
from alliance.statistics.growth_effects import Working, growth_effects, working_variances
from alliance.statistics.jackknife import covariance_of_sums, cross_products
from alliance.statistics.therapist_slopes import therapist_slopes

ALONE = "needs therapists with two or more clients who differ"
WORKING = Working(np.array([[0.5, 0.1], [0.1, 0.4]]), 0.2, 0.5)


def growth_data(seed, clients=80, therapists=16, sessions=6, change=0.3):
    random = np.random.default_rng(seed)
    client = np.repeat(np.arange(clients), sessions)
    time = np.tile(np.arange(sessions), clients) / 10
    therapist = np.arange(clients) % therapists
    x = random.standard_normal((clients, 1)) + 0.5 * random.standard_normal((therapists, 1))[therapist]
    lines = random.multivariate_normal([0, 0], WORKING.client, clients)
    score = 0.3 * x[client, 0] + (change * x[client, 0] + lines[client, 1]) * time + lines[client, 0]
    score += np.sqrt(0.2) * random.standard_normal(therapists)[therapist[client]] + np.sqrt(0.5) * random.standard_normal(len(client))
    return score, time, client, x, therapist


def test_intervals_of_growth_effects_hold_the_truth_though_the_weights_are_wrong():
    wrong = Working(np.eye(2) * 0.1, 0.05, 1.0)
    held = np.zeros((400, 2), dtype=bool)
    for seed in range(400):
        score, time, client, x, therapist = growth_data(seed)
        low, high = growth_effects(score, time, client, x, therapist, wrong).interval(0.95)
        held[seed] = (low[:, 0] < 0.3) & (high[:, 0] > 0.3)
    # Three Monte Carlo standard errors around .95, and what leaving out 16 therapists makes cautious.
    assert (held.mean(axis=0) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 400)).all()
    assert (held.mean(axis=0) < 0.99).all()


def test_growth_effects_equal_the_whole_matrix_and_leaving_out_is_fitting_again():
    score, time, client, x, therapist = growth_data(3, clients=40, therapists=8)

    def fitted(kept):
        chosen = np.isin(therapist[client], kept)
        z = np.column_stack([np.ones(len(time)), time])[chosen]
        same = client[chosen][:, None] == client[chosen]
        v = z @ WORKING.client @ z.T * same + 0.5 * np.eye(chosen.sum())
        v += 0.2 * (therapist[client[chosen]][:, None] == therapist[client[chosen]])
        design = np.column_stack([z, z * x[client[chosen]]])
        weighted = np.linalg.solve(v, design)
        return np.linalg.solve(design.T @ weighted, weighted.T @ score[chosen])[2:]

    found = growth_effects(score, time, client, x, therapist, WORKING)
    assert [found.start[0], found.change[0]] == pytest.approx(fitted(np.arange(8)), rel=1e-9)
    without = np.array([fitted([one for one in range(8) if one != left]) for left in range(8)])
    error = np.sqrt(7 / 8 * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    assert found.std_error[:, 0] == pytest.approx(error, rel=1e-9)
    assert (found.df[0], found.n[0], found.n_clusters[0], found.n_sessions[0]) == (7, 40, 8, 240)


def test_few_or_unknown_therapists_leave_out_clients_and_what_cannot_be_told_is_refused():
    score, time, client, x, therapist = growth_data(4, clients=40, therapists=3)
    few = growth_effects(score, time, client, x, therapist, WORKING)
    assert few.method == ["client_jackknife"] and few.caution[0].startswith("fewer than 5 therapists (3)")
    unknown = growth_effects(score, time, client, x, None, WORKING)
    assert unknown.std_error[:, 0] == pytest.approx(few.std_error[:, 0]) and unknown.caution == [""]
    constant = growth_effects(score, time, client, np.ones((40, 1)), therapist, WORKING)
    assert constant.reason == ["needs clients who differ in the factor, and sessions at different times"]
    seldom = np.where(np.arange(40)[:, None] < 37, np.nan, x)
    assert "needs at least 4 clients" in growth_effects(score, time, client, seldom, therapist, WORKING).reason[0]
    assert growth_effects(score, time, client, x, None, Working(WORKING.client, 0.0, 1.0, "no sessions")).reason == ["no sessions"]


def test_a_missing_factor_leaves_its_clients_out_of_that_factor_alone():
    score, time, client, x, therapist = growth_data(5)
    both = np.column_stack([x, np.where(np.arange(80)[:, None] % 4 == 0, np.nan, x)])
    found = growth_effects(score, time, client, both, therapist, WORKING)
    kept = np.isfinite(both[:, 1])
    place = np.cumsum(kept) - 1
    rows = kept[client]
    alone = growth_effects(score[rows], time[rows], place[client[rows]], x[kept], therapist[kept], WORKING)
    assert found.n.tolist() == [80, 60]
    assert [found.start[1], found.change[1]] == pytest.approx([alone.start[0], alone.change[0]], rel=1e-9)


def test_working_variances_are_near_those_simulated_and_fall_back_on_intercepts():
    found = []
    for seed in range(10):
        score, time, client, _, therapist = growth_data(seed, clients=200, therapists=40, sessions=8, change=0.0)
        rows = pd.DataFrame({"score": score, "time": time, "client": client, "therapist": therapist[client]})
        one = working_variances(rows)
        found.append([one.residual, one.client[1, 1]])
    error = np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    assert (np.abs(np.mean(found, axis=0) - [0.5, 0.4]) < 4 * error).all()
    short = working_variances(rows[rows["time"] < 0.15])
    assert short.reason == "" and np.isfinite(short.residual)
    assert working_variances(rows.assign(score=1.0)).reason


def test_slopes_by_therapist_are_those_of_fitting_again_without_each_therapist():
    random = np.random.default_rng(2)
    therapist = np.repeat(np.arange(12), 6)
    x = random.standard_normal(72) + random.standard_normal(12)[therapist]
    y = 0.4 * x + random.standard_normal(72)

    def fitted(keep):
        frame = pd.DataFrame({"x": x, "y": y, "t": therapist})[keep]
        mean = frame.groupby("t")["x"].transform("mean")
        design = np.column_stack([np.ones(len(frame)), frame["x"] - mean, mean])
        within, between = np.linalg.lstsq(design, frame["y"], rcond=None)[0][1:] * frame["x"].std() / frame["y"].std()
        return np.array([within, between, between - within])

    found = therapist_slopes(x[:, None], y[:, None], therapist)
    assert found.estimate[:, 0] == pytest.approx(fitted(np.ones(72, dtype=bool)), rel=1e-9)
    without = np.array([fitted(therapist != one) for one in range(12)])
    assert found.std_error[:, 0] == pytest.approx(np.sqrt(11 / 12 * ((without - without.mean(axis=0)) ** 2).sum(axis=0)), rel=1e-9)


@pytest.mark.parametrize(
    ("therapists", "reasons"),
    [
        (
            np.arange(40) % 4,
            ["needs at least 5 therapists; has 4", "needs at least 10 therapists; has 4", "needs at least 10 therapists; has 4"],
        ),
        (np.arange(40) % 8, ["", "needs at least 10 therapists; has 8", "needs at least 10 therapists; has 8"]),
        (
            np.arange(40),
            ["needs therapists with two or more clients who differ", "", "needs therapists with two or more clients who differ"],
        ),
    ],
)
def test_slopes_by_therapist_say_what_they_need(therapists, reasons):
    x, y = np.random.default_rng(1).standard_normal((2, 40, 1))
    found = therapist_slopes(x, y, therapists)
    assert [one[0] for one in found.reason] == reasons
    assert np.isnan(found.estimate[:, 0]).tolist() == [bool(one) for one in reasons]


def test_shares_of_two_predictors_add_up_and_a_suppressor_shares_less_than_nothing():
    unique_first, unique_second, shared, together = two_predictors(0.3, 0.4, 0.5)
    assert unique_first + unique_second + shared == pytest.approx(together)
    assert two_predictors(0.0, 0.4, 0.5)[2] < 0
    assert two_predictors(0.3, 0.4, 0.0)[2] == pytest.approx(0.0)
    matrix = np.array([[1, 0.5, 0.3], [0.5, 1, 0.4], [0.3, 0.4, 1]])
    assert explained(matrix[None], 2, [0, 1])[0] == pytest.approx(together)
    assert partial(0.3, 0.4, 0.5) == pytest.approx(partial_correlation(matrix, 0, 2, [1]))


def test_chance_explains_nothing_once_adjusted_or_predicted_elsewhere():
    fitted, honest, elsewhere = [], [], []
    for seed in range(300):
        random = np.random.default_rng(seed)
        data, therapist = random.standard_normal((80, 9)), np.arange(80) % 16
        rows = cross_products(data)
        r_squared = explained(covariance_of_sums(rows.sum(axis=0)[None]), 8, list(range(8)))[0]
        sums = np.stack([rows[therapist == one].sum(axis=0) for one in range(16)])
        fitted.append(r_squared)
        honest.append(adjusted(r_squared, 80, 8))
        elsewhere.append(explained_elsewhere(sums, 8, list(range(8))))
    assert np.mean(fitted) == pytest.approx(8 / 79, abs=0.01)
    assert np.mean(honest) == pytest.approx(0.0, abs=4 * np.std(honest) / np.sqrt(300))
    assert np.mean(elsewhere) < 0
