"""Numbers in reports are printed in APA style, and never as a number where none is known."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from alliance.reports import numbers


@pytest.mark.parametrize(
    ("value", "decimals", "printed"),
    [
        (0.524, 2, ".52"),
        (-0.3, 2, "−.30"),
        (1.0, 2, "1.00"),
        (-1.0, 2, "−1.00"),
        (-0.001, 2, ".00"),
        (-0.0, 2, ".00"),
        (0.9999, 2, "1.00"),
        (0.05, 3, ".050"),
    ],
)
def test_numbers_that_cannot_exceed_one_have_no_leading_zero_and_a_true_minus(value, decimals, printed):
    assert numbers.bounded(value, decimals) == printed


@pytest.mark.parametrize(
    ("value", "printed"), [(0.524, "0.52"), (-12.345, "−12.35"), (10.05, "10.05"), (1234.5, "1,234.50"), (-0.004, "0.00")]
)
def test_numbers_that_can_exceed_one_keep_their_leading_zero(value, printed):
    assert numbers.decimal(value) == printed


@pytest.mark.parametrize(
    ("value", "printed"), [(0.0, "< .001"), (1e-300, "< .001"), (0.0009, "< .001"), (0.001, "= .001"), (0.0321, "= .032"), (1.0, "> .999")]
)
def test_p_values_are_never_zero_and_never_one(value, printed):
    assert numbers.p_value(value) == printed


@pytest.mark.parametrize("unknown", [None, math.nan, math.inf, -math.inf, pd.NA, "", "text"])
@pytest.mark.parametrize("printer", [numbers.bounded, numbers.decimal, numbers.p_value, numbers.count, numbers.percent])
def test_an_unknown_number_is_a_dash(unknown, printer):
    assert printer(unknown) == "–"


@pytest.mark.parametrize(
    ("value", "printed"), [(-0.2, "−20 points"), (0.01, "1 point"), (-0.01, "−1 point"), (0.0, "0 points"), (None, "–")]
)
def test_a_difference_of_shares_is_in_points_not_in_percent(value, printed):
    assert numbers.points(value).replace("\N{NO-BREAK SPACE}", " ") == printed


def test_an_interval_needs_both_ends():
    assert numbers.interval(-0.1, 0.42).replace("\N{NO-BREAK SPACE}", " ") == "[−.10, .42]"
    assert numbers.interval(-0.1, 1.42, bound=False).replace("\N{NO-BREAK SPACE}", " ") == "[−0.10, 1.42]"
    assert numbers.interval(0.1, math.nan) == "–"


def test_counts_and_shares_are_whole_numbers_with_commas():
    assert (numbers.count(12345), numbers.percent(0.413), numbers.level(0.95), numbers.level(0.975)) == ("12,345", "41%", "95%", "97.5%")
