"""Reliability: known truths, refusals with their reasons, and what resampling may not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from alliance.statistics import resampling
from alliance.statistics.internal_consistency import alpha, feldt_dependent, item_rest_correlations, mean_inter_item_correlation
from alliance.statistics.loading_reliability import omega_hierarchical, omega_of_model, uncontaminated_correlations
from alliance.statistics.one_factor import CONSTANT, HEYWOOD, one_factor
from alliance.statistics.reliability import NAMES, compare, from_covariance, omega_total, reliability, share_at_maximum
from alliance.statistics.schmid_leiman import NO_FACTOR, oblimin, schmid_leiman

LOADINGS = np.linspace(0.9, 0.5, 9)
GROUPS = np.repeat(np.arange(3), 3)


def one_factor_covariance(loadings=LOADINGS) -> np.ndarray:
    return np.outer(loadings, loadings) + np.diag(np.linspace(0.3, 0.8, len(loadings)))


def hierarchical_covariance() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return correlations that a Schmid-Leiman structure gives, its general and its group loadings."""
    primary, second = np.linspace(0.85, 0.6, 9), np.array([0.8, 0.7, 0.6])
    general = primary * second[GROUPS]
    group = primary * np.sqrt(1 - second[GROUPS] ** 2)
    matrix = np.outer(general, general) + np.outer(group, group) * (GROUPS[:, None] == GROUPS)
    np.fill_diagonal(matrix, 1)
    return matrix, general, group


def clients(n=200, therapists=20, icc=0.2, seed=1) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    therapist = np.arange(n) % therapists
    root = np.linalg.cholesky(one_factor_covariance())
    shared, own = random.standard_normal((therapists, 9)), random.standard_normal((n, 9))
    return (np.sqrt(icc) * shared[therapist] + np.sqrt(1 - icc) * own) @ root.T, therapist


def test_a_true_one_factor_structure_is_found():
    covariance = one_factor_covariance()
    fit = one_factor(covariance)
    assert fit.problem == "" and fit.discrepancy == pytest.approx(0, abs=1e-10)
    np.testing.assert_allclose(fit.loadings, LOADINGS, rtol=1e-6)
    total = covariance.sum()
    assert omega_total(covariance) == pytest.approx(LOADINGS.sum() ** 2 / total, rel=1e-9)
    assert alpha(covariance) < omega_total(covariance)
    parallel = np.full((6, 6), 0.5) + 0.7 * np.eye(6)
    assert omega_total(parallel) == pytest.approx(alpha(parallel), rel=1e-9)


def test_a_stack_gives_what_single_matrices_give_from_any_start():
    data, _ = clients(40)
    weights = resampling.multinomial_weights(np.random.default_rng(2), 40, 60)
    stack = resampling.covariances(resampling.cross_products(data), weights).reshape(3, 20, 9, 9)
    together = one_factor(stack)
    warm = one_factor(stack, one_factor(np.cov(data.T)))
    assert together.loadings.shape == (3, 20, 9) and together.omega().shape == (3, 20)
    np.testing.assert_allclose(warm.omega(), together.omega(), rtol=1e-6)
    for place in np.ndindex(3, 20):
        np.testing.assert_allclose(one_factor(stack[place]).omega(), together.omega()[place], rtol=1e-6)


def test_derivatives_vanish_at_the_solution():
    data, _ = clients(80)
    covariance = np.corrcoef(data.T)
    fit = one_factor(covariance)
    inverse = np.linalg.inv(np.outer(fit.loadings, fit.loadings) + np.diag(fit.residuals))
    slope = inverse - inverse @ covariance @ inverse
    assert np.abs(slope @ fit.loadings).max() < 1e-6 and np.abs(np.diag(slope)).max() < 1e-6


@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_omega_does_not_depend_on_the_unit_of_the_items(unit):
    assert omega_total(one_factor_covariance() * unit**2) == pytest.approx(omega_total(one_factor_covariance()), rel=1e-9)


def test_improper_and_missing_solutions_are_named():
    heywood = np.array([[1, 0.8, 0.7], [0.8, 1, 0.4], [0.7, 0.4, 1]])
    constant = one_factor_covariance()
    constant[2] = constant[:, 2] = 0
    assert one_factor(heywood).problem == HEYWOOD and np.isnan(omega_total(heywood))
    assert one_factor(constant).problem == CONSTANT
    assert "at least 3 items" in str(one_factor(heywood[:2, :2]).problem)
    mixed = one_factor(np.array([heywood, one_factor_covariance(LOADINGS[:3])]))
    assert mixed.problem.tolist() == [HEYWOOD, ""] and np.isfinite(mixed.omega()[1])


def test_negative_loadings_are_told_and_the_coefficient_flagged():
    loadings = LOADINGS.copy()
    loadings[8] *= -1
    found = from_covariance(one_factor_covariance(loadings), 200)["omega_total"]
    assert found.status == "flagged" and "1 of 9 items have a negative loading" in found.reason
    assert found.estimate == pytest.approx(loadings.sum() ** 2 / one_factor_covariance(loadings).sum(), rel=1e-8)


def test_a_schmid_leiman_structure_is_found():
    matrix, general, group = hierarchical_covariance()
    found = schmid_leiman(matrix)
    assert (str(found.problem), str(found.doubt)) == ("", "")
    np.testing.assert_allclose(found.general, general, atol=1e-5)
    np.testing.assert_allclose(np.sort(np.abs(found.group), axis=1)[:, -1], group, atol=1e-5)
    assert found.omega_hierarchical == pytest.approx(general.sum() ** 2 / matrix.sum(), rel=1e-6)
    loadings = np.column_stack([general, group[:, None] * (GROUPS[:, None] == np.arange(3))])
    assert found.omega_t == pytest.approx(omega_of_model(loadings, 1 - (loadings**2).sum(axis=1)), rel=1e-6)


def test_a_schmid_leiman_solution_is_refused_with_the_reason():
    matrix, *_ = hierarchical_covariance()
    assert "at least 3 factors" in str(schmid_leiman(matrix, 2).problem)
    assert "3 factors need at least 6 items; has 5" in str(schmid_leiman(matrix[:5, :5]).problem)
    assert schmid_leiman(np.eye(9)).problem == NO_FACTOR
    assert schmid_leiman(one_factor_covariance()).problem == NO_FACTOR
    independent = schmid_leiman(np.cov(np.random.default_rng(0).standard_normal((50, 9)).T))
    assert "improper" in str(independent.problem) and np.isnan(independent.omega_hierarchical)


def test_a_rotation_does_not_depend_on_turned_factors():
    matrix, *_ = hierarchical_covariance()
    pattern = schmid_leiman(matrix).oblique
    turn = np.linalg.qr(np.random.default_rng(3).standard_normal((5, 3, 3)))[0]
    orthogonal = np.linalg.cholesky(schmid_leiman(matrix).factor_correlations)
    rotated, _, converged, criterion = oblimin(np.broadcast_to(pattern @ orthogonal, (5, 9, 3)), turn)
    assert converged.all()
    np.testing.assert_allclose(criterion, criterion.min(), atol=1e-8)
    np.testing.assert_allclose(
        np.sort(np.abs(rotated), axis=2), np.sort(np.abs(np.broadcast_to(pattern, rotated.shape)), axis=2), atol=1e-4
    )


@pytest.mark.parametrize("interval", ["expanded_percentile", "jackknife"])
def test_what_reliability_may_not_depend_on(interval):
    data, therapist = clients(60, 12)
    order = np.random.default_rng(4).permutation(9)

    def found(values, clusters):
        return reliability(values, clusters, resampling.generator(1, "test"), draws=200, interval=interval)

    plain = found(data, therapist)
    for other in (found(data[:, order] + 7, therapist), found(data, [f"t{one:02d}" for one in therapist])):
        for one, two in zip(plain.coefficients, other.coefficients):
            assert (one.estimate, one.std_error, one.ci_low, one.ci_high) == pytest.approx(
                (two.estimate, two.std_error, two.ci_low, two.ci_high), rel=1e-6
            )
    np.testing.assert_allclose(np.sqrt(np.diag(plain.vcov)), [one.ln_error for one in plain.coefficients])


def test_clients_are_taken_where_therapists_are_few_or_unknown():
    data, therapist = clients(60, 12)
    random = lambda: resampling.generator(1, "test")  # noqa: E731
    few = reliability(data, therapist % 4, random(), draws=200)
    none = reliability(data, None, random(), draws=200)
    assert few["alpha"].status == "flagged" and "fewer than 10 therapists (4)" in few["alpha"].reason and few.n_clusters == 4
    assert none["alpha"].status == "estimated" and none["alpha"].std_error == few["alpha"].std_error and np.isinf(none.df)
    whole = reliability(data, therapist, random(), draws=200)
    assert whole.df == 11 and "therapists" in whole.method
    lacking = np.where(np.arange(60) < 2, np.nan, therapist)
    assert reliability(data, lacking, random(), draws=200).df == 13


def test_clients_with_a_missing_item_are_left_out_and_counted():
    data, therapist = clients(60, 12)
    gaps = data.copy()
    gaps[[3, 5], [0, 1]] = np.nan
    found = reliability(gaps, therapist)
    kept = np.delete(np.arange(60), [3, 5])
    assert (found.n, found.n_left_out) == (58, 2)
    assert found["alpha"].estimate == pytest.approx(float(alpha(np.cov(data[kept].T))), rel=1e-12)
    assert np.isnan(found["alpha"].ci_low) and found.method == "no interval asked for"


def test_refusals_give_the_reason():
    data, therapist = clients(60, 12)
    random = resampling.generator(1, "test")
    few = reliability(data[:6], therapist[:6], random)
    assert {one.status for one in few.coefficients} == {"not_estimable"} and "at least 10 clients" in few["alpha"].reason
    two = reliability(data[:, :2], therapist, random, draws=100)
    assert two["alpha"].status == "estimated" and "at least 3 items; has 2" in two["omega_total"].reason
    single = reliability(data[:, :1], therapist, random, draws=100)
    assert "at least 2 items" in single["alpha"].reason
    constant = data.copy()
    constant[:, 0] = 1.0
    assert "does not vary (1 of 9)" in reliability(constant, therapist, random, draws=100)["alpha"].reason
    twice = np.column_stack([data, data[:, 0]])
    assert "singular" in reliability(twice, therapist, random, draws=100)["omega_total"].reason
    assert "at least 10 clients" in from_covariance(np.eye(4), 5)["alpha"].reason
    with pytest.raises(ValueError, match="generator"):
        compare([data, data], therapist)
    with pytest.raises(ValueError, match="no coefficient"):
        reliability(data, names=("beta",))


def test_resamples_without_a_proper_solution_are_counted():
    random = np.random.default_rng(0)
    data = random.standard_normal((40, 1)) * np.array([0.9, 0.6, 0.5, 0.4]) + 0.6 * random.standard_normal((40, 4))
    found = reliability(data, None, resampling.generator(1, "test"), draws=400)["omega_total"]
    assert found.status == "flagged" and "of 400 resamples had no proper solution" in found.reason


def test_all_coefficients_come_together():
    matrix = np.linalg.cholesky(hierarchical_covariance()[0])
    data = np.random.default_rng(8).standard_normal((300, 9)) @ matrix.T
    found = reliability(data, np.arange(300) % 15, resampling.generator(1, "test"), names=NAMES, draws=200)
    assert [one.name for one in found.coefficients] == list(NAMES)
    assert all(one.ci_low < one.estimate < one.ci_high for one in found.coefficients)
    summary = from_covariance(found.covariance, found.n, names=NAMES)
    for one, two in zip(found.coefficients, summary.coefficients):
        assert one.estimate == pytest.approx(two.estimate, rel=1e-9)
        assert one.std_error == pytest.approx(two.std_error, rel=0.5)


def test_a_scale_compared_with_itself_differs_by_nothing():
    data, therapist = clients(60, 12)
    found = compare([data, data, data[:, :2]], therapist, resampling.generator(1, "test"), draws=100)
    same = next(one for one in found.differences if (one.first, one.second, one.name) == (0, 1, "alpha"))
    assert (same.estimate, same.ci_low, same.ci_high, same.ln_difference, same.std_error) == (0, 0, 0, 0, 0) and np.isnan(same.p_value)
    refused = [one for one in found.differences if one.name == "omega_total" and one.second == 2]
    assert {one.status for one in refused} == {"not_estimable"} and all("3 items" in one.reason for one in refused)


def test_the_test_of_dependent_alphas_keeps_its_level_with_therapists_and_feldts_does_without():
    random = np.random.default_rng(9)
    k, runs, n, therapists = 12, 400, 100, 20
    within = np.full((k, k), 0.45) + 0.55 * np.eye(k)
    across = np.full((k, k), 0.3)
    root = np.linalg.cholesky(np.block([[within, across], [across, within]]))
    therapist = np.arange(n) % therapists
    clustered, feldt = [], []
    for _ in range(runs):
        shared, own = random.standard_normal((therapists, 2 * k)), random.standard_normal((n, 2 * k))
        data = (np.sqrt(0.2) * shared[therapist] + np.sqrt(0.8) * own) @ root.T
        clustered.append(compare([data[:, :k], data[:, k:]], therapist, names=("alpha",), interval="jackknife").differences[0].p_value)
        single = own @ root.T
        alphas = [float(alpha(np.cov(part.T))) for part in (single[:, :k], single[:, k:])]
        r = np.corrcoef(single[:, :k].sum(axis=1), single[:, k:].sum(axis=1))[0, 1]
        feldt.append(feldt_dependent(*alphas, r, n)[2])
    # Two Monte Carlo errors of 5 % in 400 runs are 2.2 points.
    assert np.mean(np.array(clustered) < 0.05) == pytest.approx(0.05, abs=0.025)
    assert np.mean(np.array(feldt) < 0.05) == pytest.approx(0.05, abs=0.025)


def test_descriptions_are_absent_where_nothing_varies():
    still = np.zeros((3, 3))
    assert np.isnan(alpha(still)) and np.isnan(item_rest_correlations(still)).all()
    with np.errstate(invalid="raise"):
        assert np.isnan(mean_inter_item_correlation(still))
    assert np.isnan(alpha(np.eye(1))) and np.isnan(mean_inter_item_correlation(np.eye(1)))


def test_formulas_on_loadings():
    loadings = np.array([[0.6, 0.5, 0], [0.6, 0.5, 0], [0.7, 0, 0.4], [0.7, 0, 0.4]])
    residuals = 1 - (loadings**2).sum(axis=1)
    assert omega_hierarchical(loadings, residuals) == pytest.approx(2.6**2 / (2.6**2 + 1.0**2 + 0.8**2 + residuals.sum()))
    assert uncontaminated_correlations([0, 0, 1, 1]) == pytest.approx(4 / 6)
    assert uncontaminated_correlations([None, None, 1, 1]) == pytest.approx(5 / 6)


def test_a_score_above_the_highest_possible_is_an_error():
    assert share_at_maximum([3, 4, 5, np.nan], 5).share == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="above"):
        share_at_maximum([6], 5)
