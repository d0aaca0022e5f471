"""Factor models of correlations by least squares, and shares of bifactor models."""

from __future__ import annotations

import numpy as np
import pytest
from alliance.statistics.bifactor import bifactor
from alliance.statistics.correlation_factors import fit_correlation_factors
from alliance.statistics.covariance import olkin_finn
from alliance.statistics.ordinal_reliability import one_factor

LOADINGS = np.array([0.8, 0.7, 0.6, 0.75, 0.65, 0.5])
FACTOR = [0, 0, 0, 1, 1, 1]


def population(phi):
    matrix = np.outer(LOADINGS, LOADINGS) * np.where(np.equal.outer(FACTOR, FACTOR), 1, phi)
    np.fill_diagonal(matrix, 1)
    return matrix


@pytest.mark.parametrize("phi", [-0.4, 0.0, 0.5, 0.95])
@pytest.mark.parametrize("weighted", [True, False])
def test_the_population_gives_its_own_values_back(phi, weighted):
    r = population(phi)
    found = fit_correlation_factors(r, FACTOR, olkin_finn(r, 300) if weighted else None)
    assert found.status == "estimated"
    np.testing.assert_allclose(found.loadings, LOADINGS, atol=1e-8)
    assert found.correlations[0, 1] == pytest.approx(phi, abs=1e-8)
    assert (found.srmr, found.df) == (pytest.approx(0, abs=1e-8), 8)
    assert np.isnan(found.chi2) != weighted


def test_one_factor_without_weights_is_that_of_the_ordinal_module():
    r = np.corrcoef(np.random.default_rng(3).multivariate_normal(np.zeros(6), population(0.6), 150), rowvar=False)
    np.testing.assert_allclose(fit_correlation_factors(r, [0] * 6).loadings, one_factor(r), atol=1e-7)


def test_errors_and_test_are_those_of_repeated_samples():
    random, r = np.random.default_rng(5), population(0.6)
    runs = [np.corrcoef(random.multivariate_normal(np.zeros(6), r, 400), rowvar=False) for _ in range(400)]
    fits = [fit_correlation_factors(one, FACTOR, olkin_finn(one, 400)) for one in runs]
    spread = np.std([fit.correlations[0, 1] for fit in fits], ddof=1)
    assert np.mean([fit.correlation_errors[0, 1] for fit in fits]) == pytest.approx(spread, rel=0.12)
    # Mean of chi-squared with 8 df, Monte Carlo error .2.
    assert np.mean([fit.chi2 for fit in fits]) == pytest.approx(8, abs=0.7)


@pytest.mark.parametrize(
    ("factor", "change", "says"),
    [
        ([0, 0], None, "at least 3 variables; has 2"),
        ([0, 0, 0, 1], None, "at least 2 variables a factor; has 1"),
        (FACTOR, (0, 1, np.nan), "correlations of all pairs; lacks 1"),
    ],
)
def test_what_cannot_be_fitted_says_what_it_needs(factor, change, says):
    r = population(0.5)[: len(factor), : len(factor)].copy()
    if change:
        r[change[0], change[1]] = r[change[1], change[0]] = change[2]
    found = fit_correlation_factors(r, factor)
    assert found.status == "not_estimable" and says in found.reason
    assert np.isnan(found.loadings).all()


def test_an_improper_solution_is_flagged():
    r = population(0.5)
    r[0, 1] = r[1, 0] = 0.9
    r[0, 2] = r[2, 0] = 0.85
    found = fit_correlation_factors(r, FACTOR)
    assert found.status == "flagged" and "a loading of 1." in found.reason


def test_shares_of_a_bifactor_model_are_those_of_the_worked_formulas():
    general, own, residual = np.full(6, 0.7), np.full(6, 0.4), np.full(6, 0.35)
    found = bifactor(general, own, residual, FACTOR, np.eye(18) * 1e-4)
    total = (6 * 0.7) ** 2 + 2 * (3 * 0.4) ** 2 + 6 * 0.35
    assert found.omega_hierarchical.estimate == pytest.approx((6 * 0.7) ** 2 / total)
    part = (3 * 0.4) ** 2 / ((3 * 0.7) ** 2 + (3 * 0.4) ** 2 + 3 * 0.35)
    assert [one.estimate for one in found.omega_subscale] == pytest.approx([part, part])
    assert found.explained_common_variance.estimate == pytest.approx(0.49 / 0.65)
    assert found.uncontaminated_correlations == pytest.approx(9 / 15)
    for share in (found.omega_hierarchical, *found.omega_subscale, found.explained_common_variance):
        assert 0 < share.ci_low < share.estimate < share.ci_high < 1 and share.std_error > 0
