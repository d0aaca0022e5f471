"""The session at which a course bends: the knot with the largest likelihood, and the knots that are not ruled out."""

from __future__ import annotations

import numpy as np
import pytest
from alliance.statistics.knots import best_knot


def test_the_interval_of_a_normal_likelihood_is_the_estimate_and_twice_its_error():
    knots, error = np.arange(2, 12.001, 0.01), 1.5
    found = best_knot(knots, -((knots - 6) ** 2) / (2 * error**2))
    assert found.estimate == pytest.approx(6)
    assert (found.low, found.high) == pytest.approx((6 - 1.959964 * error, 6 + 1.959964 * error), abs=1e-3)
    assert not found.at_edge


@pytest.mark.parametrize("noise", [0, 1e-9, -1e-9])
def test_of_knots_that_fit_equally_well_the_first_counts_whatever_rounding_says(noise):
    assert best_knot([2, 3, 4, 5], [-9, -4, -4 + noise, -9]).estimate == 3


def test_an_interval_that_reaches_the_last_knot_is_open():
    found = best_knot([2, 3, 4, 5], [-9, -4, -1, -1.5])
    assert found.estimate == 4 and found.high == 5 and found.at_edge
