"""Mediation within clients with slopes that vary over them equals the stacked model of nlme in R."""

from __future__ import annotations

import numpy as np
import pytest
import random_slopes_reference as reference
from alliance.statistics.random_slopes import RandomSlopes, random_slopes
from needed import needs_r
from test_statistics_r import leaves

SETS = reference.random_slopes_sets()
STORED = reference.stored()
# Searches of nlme end a little below the maximum (3e-7 in log-likelihood); on the scale of correlations that is up to
STEP = 5e-4


def fitted(name: str) -> RandomSlopes:
    table = SETS[name]
    held = table[["t"]] if "t" in table else None
    return random_slopes(table[["x", "m", "y"]], table["client"], held=held, random=np.random.default_rng(1))


@needs_r
def test_stored_values_are_what_r_gives_now() -> None:
    then, now = leaves(STORED), leaves(reference.computed())
    assert then.keys() == now.keys()
    for path, value in then.items():
        assert now[path] == pytest.approx(value, rel=1e-4, abs=1e-5), path


@pytest.mark.parametrize("name", SETS)
def test_the_restricted_likelihood_is_that_of_nlme_and_never_lower(name: str) -> None:
    found, expected = fitted(name).log_likelihood, STORED[name]["loglik"]
    assert found == pytest.approx(expected, abs=2e-6) and found > expected - 1e-7


@pytest.mark.parametrize("name", SETS)
def test_mean_slopes_and_their_errors_equal_nlme(name: str) -> None:
    found, expected = fitted(name), STORED[name]
    errors = np.sqrt(np.diagonal(expected["vcov"]))
    assert np.abs(found.slopes - expected["slopes"]).max() < 1e-3 * errors.min()
    assert found.slopes_vcov / np.outer(errors, errors) == pytest.approx(np.array(expected["vcov"]) / np.outer(errors, errors), abs=STEP)


@pytest.mark.parametrize("name", SETS)
def test_variances_and_covariances_of_slopes_equal_nlme(name: str) -> None:
    found, expected = fitted(name), np.array(STORED[name]["covariance"])
    size = np.sqrt(np.outer(np.diagonal(expected), np.diagonal(expected)))
    assert found.covariance / size == pytest.approx(expected / size, abs=STEP)
    assert found.residual_variances == pytest.approx(STORED[name]["residual"], rel=1e-4)
    a, b, direct = found.slopes
    assert found.of("indirect").estimate == pytest.approx(a * b + found.covariance[0, 1], rel=1e-12)
    assert found.of("total").estimate == pytest.approx(direct + a * b + found.covariance[0, 1], rel=1e-12)
    assert found.of("a_sd").estimate ** 2 == pytest.approx(found.covariance[0, 0], rel=1e-12)


def test_a_covariance_matrix_at_its_boundary_is_flagged() -> None:
    values = np.linalg.eigvalsh(STORED["boundary"]["covariance"])
    assert values[0] < 1e-6 * values[-1]
    assert fitted("boundary").status == "flagged" and "at its boundary" in fitted("boundary").reason
    assert fitted("together").status == fitted("opposed").status == "estimated"
