"""Slopes that vary over clients: the indirect effect holds their covariance, errors leave out whole therapists, and limits are said."""

from __future__ import annotations

import numpy as np
import pytest
from alliance.statistics.random_slopes import EFFECTS, random_slopes

MEANS, DEVIATIONS = (0.3, 0.4, 0.1), (0.4, 0.4, 0.2)


def simulated(clients=400, correlation=0.7, seed=1, shortest=6, longest=14, therapists=40):
    """Return chains of clients whose slopes a and b correlate, their clients and therapists; clients' levels differ."""
    random = np.random.default_rng(seed)
    together = np.array([[1, correlation, 0.3], [correlation, 1, 0.2], [0.3, 0.2, 1]]) * np.outer(DEVIATIONS, DEVIATIONS)
    slopes = random.multivariate_normal(MEANS, together, clients)
    client = np.repeat(np.arange(clients), random.integers(shortest, longest + 1, clients))
    x = random.standard_normal(len(client))
    m = slopes[client, 0] * x + 0.8 * random.standard_normal(len(client))
    y = slopes[client, 1] * m + slopes[client, 2] * x + 0.9 * random.standard_normal(len(client))
    rows = np.column_stack([x, m, y]) + 2 * random.standard_normal((clients, 3))[client]
    return rows, client, client % therapists


def fitted(rows, client, therapist=None, **settings):
    return random_slopes(rows, client, therapist, **{"random": np.random.default_rng(3), **settings})


def test_the_true_indirect_effect_with_the_covariance_of_slopes_is_found():
    found = fitted(*simulated())
    covariance = 0.7 * 0.4 * 0.4
    for effect, value in (
        ("a", 0.3),
        ("b", 0.4),
        ("direct", 0.1),
        ("ab_covariance", covariance),
        ("indirect", 0.12 + covariance),
        ("total", 0.22 + covariance),
        ("a_sd", 0.4),
        ("b_sd", 0.4),
    ):
        one = found.of(effect)
        assert one.estimate == pytest.approx(value, abs=3 * one.std_error) and one.std_error < 0.05, effect
    assert found.status == "estimated" and found.method == "cluster_jackknife" and found.df == 39


def test_standardised_effects_are_in_deviations_within_clients():
    rows, client, therapist = simulated(clients=60, therapists=12)
    plain = fitted(rows, client, therapist)
    spread = np.sqrt(
        sum(((rows[client == one] - rows[client == one].mean(axis=0)) ** 2).sum(axis=0) for one in range(60)) / (len(rows) - 60)
    )
    for effect, (above, below) in {"a": (0, 1), "b": (1, 2), "indirect": (0, 2), "ab_covariance": (0, 2), "a_sd": (0, 1)}.items():
        ratio = spread[above] / spread[below]
        assert plain.of(effect, True).estimate == pytest.approx(plain.of(effect).estimate * ratio, rel=1e-6), effect
    scaled = fitted(rows * [10, 0.1, 3] + [5, -2, 1], client, therapist)
    for effect in EFFECTS:
        one, other = plain.of(effect, True), scaled.of(effect, True)
        assert (other.estimate, other.std_error) == pytest.approx((one.estimate, one.std_error), rel=1e-5), effect


def test_errors_are_those_of_leaving_out_each_therapist():
    rows, client, therapist = simulated(clients=60, therapists=8)
    found = fitted(rows, client, therapist)
    without = [fitted(*(part[therapist != one] for part in (rows, client, therapist))) for one in range(8)]
    for effect in EFFECTS:
        values = np.array([one.of(effect, True).estimate for one in without])
        error = np.sqrt(7 / 8 * ((values - values.mean()) ** 2).sum())
        assert found.of(effect, True).std_error == pytest.approx(error, rel=0.02), effect


def test_a_trend_that_is_held_constant_is_no_effect():
    rows, client, therapist = simulated(clients=150, therapists=15)
    session = np.concatenate([np.arange(count) for count in np.bincount(client)]).astype(float)
    drifting = rows + session[:, None] * [0.4, 0.4, -0.4]
    free, held = (fitted(part, client, therapist, held=session[:, None]) for part in (rows, drifting))
    assert held.of("b").estimate == pytest.approx(free.of("b").estimate, abs=1e-6)
    assert fitted(drifting, client, therapist).of("b").estimate < free.of("b").estimate - 0.2


def test_the_order_of_rows_does_not_matter_and_rows_with_gaps_are_left_out():
    rows, client, therapist = simulated(clients=40, therapists=10)
    gaps = np.vstack([rows, [[1.0, np.nan, 2.0]]])
    order = np.random.default_rng(2).permutation(len(gaps))
    first = fitted(rows, client, therapist)
    second = fitted(gaps[order], np.append(client, 5)[order], np.append(therapist, 5)[order])
    for one, other in zip(first.effects, second.effects, strict=True):
        assert (other.estimate, other.ci_low) == pytest.approx((one.estimate, one.ci_low), rel=1e-6, abs=1e-9)


def test_few_therapists_are_said_and_clients_left_out():
    rows, client, _ = simulated(clients=30)
    few = fitted(rows, client, client % 3)
    assert few.method == "client_jackknife" and "fewer than 5 therapists (3)" in few.reason and few.status == "flagged"
    alone = fitted(rows, client)
    assert alone.n_clusters == 0 and alone.of("a").std_error == pytest.approx(few.of("a").std_error)


def test_slopes_that_do_not_differ_are_flagged_and_deviations_stay_at_zero_or_more():
    for seed in range(4):
        rows, client, therapist = simulated(clients=40, therapists=10, seed=seed)
        rows[:, 1] = 0.5 * rows[:, 0] + 0.5 * np.random.default_rng(seed + 100).standard_normal(len(rows))
        found = fitted(rows, client, therapist)
        assert found.status == "flagged" and "at its boundary" in found.reason
        assert np.linalg.eigvalsh(found.covariance)[0] == pytest.approx(0, abs=1e-6)
        assert 0 <= found.of("a_sd").ci_low < 0.03 and found.of("a_sd").estimate < 0.15 and found.of("indirect").std_error > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows, client: (rows[client < 15], client[client < 15]), "at least 20 clients with 4 such sessions; has 15"),
        (lambda rows, client: (rows * [0, 1, 1], client), "variables that differ between sessions"),
        (lambda rows, client: (rows[:, [0, 0, 2]], client), "variables that differ between sessions"),
    ],
)
def test_what_is_needed_is_said(change, said):
    rows, client, _ = simulated(clients=40)
    found = fitted(*change(rows, client))
    assert found.status == "not_estimable" and said in found.reason and found.effects == ()
