"""What engines note of a fit tells improper solutions from other cautions."""

from types import SimpleNamespace

import numpy as np
import pytest
from alliance.statistics.correlation_structure import fit_correlation_structure
from alliance.statistics.improper_solution import improper, no_number
from alliance.statistics.structural_fit import Moments, fit_structural, parse_structural

HEYWOOD = np.array([[1, 0.8, 0.8], [0.8, 1, 0.5], [0.8, 0.5, 1]])
FACTOR = parse_structural("f =~ a + b + c")


def test_a_negative_variance_is_improper_for_both_engines() -> None:
    fitted = fit_structural(FACTOR, Moments(200, HEYWOOD, None, ["a", "b", "c"]))
    assert (fitted.status, improper(fitted)) == ("flagged", "negative variance of a")
    pooled = fit_correlation_structure(FACTOR, HEYWOOD, ["a", "b", "c"])
    assert (pooled.status, improper(pooled)) == ("flagged", "a residual variance is not positive")
    assert no_number(improper(fitted)).startswith("not estimable: improper solution (negative variance of a)")


def test_factors_that_correlate_beyond_one_are_improper_and_told_of_once() -> None:
    r = np.full((4, 4), 0.7)
    r[:2, :2] = r[2:, 2:] = 0.6
    np.fill_diagonal(r, 1)
    fitted = fit_structural(parse_structural("f =~ a + b\ng =~ c + d"), Moments(300, r, None, list("abcd")))
    assert fitted.reason.count("correlation of 1.17") == 2
    assert improper(fitted) == "correlation of 1.17 of the residuals f and g"


@pytest.mark.parametrize(
    "reason",
    [
        "",
        "the baseline model did not converge: no CFI and TLI",
        "no scaled chi-squared: its scaling factor is not positive (-0.100)",
        "the difference has no usable scaling factor from those of the models (-0.5); that of Satorra (2000) was taken",
    ],
)
def test_other_cautions_are_not_improper(reason: str) -> None:
    assert improper(SimpleNamespace(reason=reason)) == ""
    assert improper(SimpleNamespace(reason=f"{reason}; negative variance of x")) == "negative variance of x"
