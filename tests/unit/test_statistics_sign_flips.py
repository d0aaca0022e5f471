"""Sign flips: what is flipped together, that all specifications share the flips, and the joint tests by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from alliance.statistics.resampling import generator
from alliance.statistics.sign_flips import STEPS, flip_units, flipped, freed, joint_test, shuffled


def signs_of(seed: int, flips: int, units: int) -> np.ndarray:
    """Return the signs that a seeded test draws."""
    return generator(seed, "flips").integers(0, 2, (flips, units)) * 2.0 - 1.0


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([5, 6, 7], [0, 1, 2]),
        ([2, 6, 3, 9], [0, 1, 0, 2]),
        ([1, 1, 1], [0, 0, 0]),
        ([6, 2], [0, 0]),
        ([2, 3, 2, 3], [0, 0, 1, 1]),
        ([2, 3, 6, 1], [0, 0, 1, 1]),
    ],
)
def test_small_therapists_are_flipped_with_others_and_no_unit_is_smaller_than_five(sizes, expected):
    therapists = np.repeat(np.arange(len(sizes)) * 3, sizes)
    units = flip_units(therapists)
    assert [units[therapists == 3 * number][0] for number in range(len(sizes))] == expected
    assert np.array_equal(np.unique(units), np.arange(units.max() + 1))
    assert min(np.bincount(units)) >= min(5, len(therapists))


def test_units_hold_whole_therapists_whatever_the_order_of_clients():
    random = np.random.default_rng(3)
    therapists = random.integers(0, 40, 200)
    units, order = flip_units(therapists), random.permutation(200)
    for therapist in np.unique(therapists):
        assert len(np.unique(units[therapists == therapist])) == 1
    assert np.array_equal(flip_units(therapists[order]), units[order])
    assert np.bincount(units).min() >= 5


def test_flips_are_the_signs_of_units_times_their_sums_the_same_for_all_specifications():
    random = np.random.default_rng(1)
    scores, units = random.standard_normal((60, 3)), np.repeat(np.arange(10), 6)
    found = flipped(scores, units, 400, generator(1, "flips"))
    sums = scores.reshape(10, 6, 3).sum(axis=1)
    norm = np.sqrt((sums**2).sum(axis=0))
    assert found.observed == pytest.approx(sums.sum(axis=0))
    assert found.norm == pytest.approx(norm)
    assert np.abs(found.draws / STEPS - signs_of(1, 400, 10) @ sums / norm).max() <= 0.5 / STEPS + 1e-12


def test_a_unit_of_which_a_specification_uses_fewer_than_five_clients_has_the_sign_of_others():
    scores, units = np.ones((24, 2)), np.repeat(np.arange(4), 6)
    # Of units 1 and 2 the second specification uses 2 and 4 clients; of unit 3 none.
    scores[[6, 7, 8, 9, 12, 13], 1] = np.nan
    scores[18:, 1] = np.nan
    found = flipped(scores, units, 300, generator(1, "flips"))
    signs = signs_of(1, 300, 4)
    alone, together = signs @ [6, 6, 6, 6], signs[:, 0] * 6 + signs[:, 1] * 6
    assert np.abs(found.draws[:, 0] / STEPS - alone / 12).max() < 1 / STEPS
    assert np.abs(found.draws[:, 1] / STEPS - together / np.sqrt(72)).max() < 1 / STEPS
    assert found.observed.tolist() == [24, 12]


def test_scores_freed_of_controls_are_residuals_in_sd_and_their_products_add_to_the_partial_correlation():
    random = np.random.default_rng(2)
    held = random.standard_normal((80, 2))
    x, y = held @ [0.5, 0.2] + random.standard_normal(80), held @ [0.1, 0.9] + random.standard_normal(80)
    x[:5], y[5:9] = np.nan, np.nan
    left, right = freed(x, y, held)
    assert np.isnan(left[:9]).all() and np.isnan(right[:9]).all() and np.isfinite(left[9:]).all()
    inverse = np.linalg.inv(np.cov(np.column_stack([x, y, held])[9:].T))
    assert np.nansum(left * right) / 71 == pytest.approx(-inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1]))
    constant, _ = freed(np.ones(80), y, None)
    assert np.nanmax(np.abs(constant)) < 1e-12


def by_hand(z: list[float], flips: list[list[float]]) -> dict[str, object]:
    """Return the p values of a joint test one comparison at a time."""
    count = len(flips) + 1

    def p(value: float, null: list[float]) -> float:
        return (1 + sum(one >= value - 1e-9 for one in null)) / count

    def share(values: list[float]) -> float:
        return max(sum(one > 1.959963984540054 for one in values), sum(one < -1.959963984540054 for one in values)) / len(values)

    largest = [max(map(abs, one)) for one in flips]
    return {
        "p_values": [p(abs(one), [abs(flip[place]) for flip in flips]) for place, one in enumerate(z)],
        "p_adjusted": [p(abs(one), largest) for one in z],
        "p_any": p(max(map(abs, z)), largest),
        "p_median": p(abs(float(np.median(z))), [abs(float(np.median(one))) for one in flips]),
        "p_share": p(share(z), [share(one) for one in flips]),
    }


@pytest.mark.parametrize("weights", [None, [1, 3, 2, 1]])
def test_the_joint_tests_are_those_counted_by_hand(weights):
    random = np.random.default_rng(5)
    z, flips = random.standard_normal(4) * 1.5, random.standard_normal((150, 4)) * 1.2
    found = joint_test(z, flips, weights)
    each = np.repeat(np.arange(4), weights or [1] * 4)
    expected = by_hand(z[each].tolist(), flips[:, each].tolist())
    first = [int(np.flatnonzero(each == place)[0]) for place in range(4)]
    for name in ("p_values", "p_adjusted"):
        assert getattr(found, name) == pytest.approx([expected[name][place] for place in first])
    for name in ("p_any", "p_median", "p_share"):
        assert getattr(found, name) == pytest.approx(expected[name])


def test_all_flips_of_few_units_give_the_exact_p_value():
    sums = np.array([3.0, 2.0, 2.5, 4.0, 1.0])
    every = np.array(list(itertools.product([1.0, -1.0], repeat=5))) @ sums
    norm = np.sqrt((sums**2).sum())
    found = joint_test([sums.sum() / norm], every[1:, None] / norm)
    # Of the 32 flips, those of none and of all signs are as large as what was observed.
    assert found.p_any == found.p_median == found.p_values[0] == found.p_adjusted[0] == pytest.approx(2 / 32)


def test_shuffles_are_sums_of_products_in_another_order_the_same_for_all_specifications():
    random = np.random.default_rng(7)
    x, y = random.standard_normal((30, 2)), random.standard_normal((30, 2))
    x[:4, 1] = np.nan
    found = shuffled(np.column_stack([x, x[:, 0]]), np.column_stack([y, y[:, 0]]), 50, generator(1, "shuffles"))
    assert found.observed == pytest.approx([(x[:, 0] * y[:, 0]).sum(), (x[4:, 1] * y[4:, 1]).sum(), (x[:, 0] * y[:, 0]).sum()])
    assert found.norm == pytest.approx(np.sqrt([30, 26, 30]))
    assert np.array_equal(found.draws[:, 0], found.draws[:, 2]) and len(np.unique(found.draws[:, 0])) > 40
    order = np.argsort(generator(1, "shuffles").random((50, 30))[0])
    assert found.draws[0, 0] / STEPS == pytest.approx(x[order, 0] @ y[:, 0] / np.sqrt(30), abs=1 / STEPS)


def test_the_same_generator_gives_the_same_flips():
    scores, units = np.random.default_rng(1).standard_normal((40, 2)), np.repeat(np.arange(8), 5)
    one, other = (flipped(scores, units, 100, generator(4, "a")) for _ in range(2))
    assert np.array_equal(one.draws, other.draws)
    assert not np.array_equal(one.draws, flipped(scores, units, 100, generator(5, "a")).draws)
