"""Cross-lagged models: truth is found, restrictions hold, the boundary test has its size, what cannot be estimated is said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from alliance.statistics import cross_lagged as models
from alliance.statistics.cross_lagged import (
    CLASSIC_EQUAL,
    EQUAL,
    GROWTH,
    LAGS,
    RANDOM_INTERCEPTS,
    STATIONARY,
    cone_weights,
    cross_lagged,
    panel_syntax,
)
from alliance.statistics.distributions import chi_squared_p
from alliance.statistics.structural_fit import Moments, fit_structural, parse_structural

SERIES = ("a", "s")
LAGGED = np.array([[0.3, 0.05], [0.2, 0.4]])
SHOCKS = np.array([[1.0, 0.3], [0.3, 1.0]])
STABLE = np.array([[1.0, 0.4], [0.4, 0.8]])


def population(waves: int, stable: np.ndarray = STABLE, error: float = 0.0) -> Moments:
    """Return the moments of a stationary process around stable differences, as if of very many persons."""
    within = np.linalg.solve(np.eye(4) - np.kron(LAGGED, LAGGED), SHOCKS.ravel()).reshape(2, 2)
    blocks = np.zeros((2, waves, 2, waves))
    for one in range(waves):
        for other in range(waves):
            lag = abs(other - one)
            passed = np.linalg.matrix_power(LAGGED, lag) @ within
            blocks[:, one, :, other] = (passed.T if other > one else passed) + stable + error * np.eye(2) * (lag == 0)
    names = [f"{name}{wave}" for name in SERIES for wave in range(1, waves + 1)]
    return Moments(10**8, blocks.reshape(2 * waves, 2 * waves), np.zeros(2 * waves), names)


def lag(found: models.CrossLagged, model: str, outcome: str, predictor: str, which: int = 0) -> pd.Series:
    rows = found.lags
    chosen = rows["model"].eq(model) & rows["outcome"].eq(outcome) & rows["predictor"].eq(predictor) & rows["lag"].eq(which)
    return rows[chosen].squeeze()


def simulated(n: int, seed: int, stable: np.ndarray = STABLE, waves: int = 4) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    moments = population(waves, stable)
    values = random.multivariate_normal(np.asarray(moments.mean), np.asarray(moments.covariance), n)
    return pd.DataFrame(values, columns=list(moments.names))


@pytest.mark.parametrize("waves", [3, 4, 5])
def test_lagged_effects_of_the_population_are_found(waves: int) -> None:
    found = cross_lagged(SERIES, range(waves), moments=population(waves))
    for model in (RANDOM_INTERCEPTS, EQUAL, STATIONARY):
        assert found.fits[model].fit.chi2 == pytest.approx(0, abs=1e-6)
        for row, outcome in enumerate(SERIES):
            for column, predictor in enumerate(SERIES):
                effects = [lag(found, model, outcome, predictor, which)["estimate"] for which in range(waves)]
                assert effects == pytest.approx([LAGGED[row, column]] * waves, abs=1e-6)
    within = np.linalg.solve(np.eye(4) - np.kron(LAGGED, LAGGED), SHOCKS.ravel()).reshape(2, 2)
    expected = LAGGED[1, 0] * np.sqrt(within[0, 0] / within[1, 1])
    assert lag(found, EQUAL, "s", "a")["standardized"] == pytest.approx(expected, abs=1e-6)
    assert found.random_intercepts.p_value < 1e-10
    # Without random intercepts stable differences pass for lagged effects.
    assert lag(found, CLASSIC_EQUAL, "a", "a")["estimate"] > 0.55


@pytest.mark.parametrize("waves", [3, 5])
def test_numbers_of_parameters_are_those_of_the_fits(waves: int) -> None:
    found = cross_lagged(SERIES, range(waves), moments=population(waves))
    assert {name: fit.n_parameters for name, fit in found.fits.items()} == {name: models._parameters(name, waves) for name in found.fits}
    assert set(found.fits) == {*models.MODELS, GROWTH}


def test_degrees_of_freedom_are_those_published_for_five_waves() -> None:
    # Random intercepts with free and with equal lags, and the classic model: 21, 33, 24 (Mulder & Hamaker's example).
    found = cross_lagged(SERIES, range(5), moments=population(5))
    assert [found.fits[name].fit.df for name in (RANDOM_INTERCEPTS, EQUAL, models.CLASSIC)] == [21, 33, 24]


def test_known_error_variance_undoes_what_errors_of_measurement_did() -> None:
    moments = population(4, error=0.4)
    plain = cross_lagged(SERIES, range(4), moments=moments)
    corrected = cross_lagged(SERIES, range(4), moments=moments, error_variances=np.full((2, 4), 0.4))
    assert lag(plain, EQUAL, "s", "s")["estimate"] < 0.35
    assert lag(corrected, EQUAL, "s", "s")["estimate"] == pytest.approx(0.4, abs=1e-6)
    assert lag(corrected, EQUAL, "s", "a")["estimate"] == pytest.approx(0.2, abs=1e-6)


def test_parallel_growth_of_the_population_is_found() -> None:
    times = np.array([0.0, 1.0, 2.0, 4.0])
    loadings = np.kron(np.eye(2), np.c_[np.ones(4), times])
    factors = np.array([[1.0, 0.1, 0.3, 0.05], [0.1, 0.2, 0.02, 0.08], [0.3, 0.02, 0.9, 0.0], [0.05, 0.08, 0.0, 0.25]])
    means = np.array([0.0, 0.1, 0.0, 0.3])
    covariance = loadings @ factors @ loadings.T + np.kron(np.array([[0.5, 0.1], [0.1, 0.5]]), np.eye(4))
    names = [f"{name}{wave}" for name in SERIES for wave in range(1, 5)]
    fitted = cross_lagged(SERIES, times, moments=Moments(10**8, covariance, loadings @ means, names)).fits[GROWTH]
    assert fitted.fit.chi2 == pytest.approx(0, abs=1e-6)
    values = fitted.parameters.set_index(fitted.parameters["lhs"] + fitted.parameters["op"] + fitted.parameters["rhs"])
    assert values.loc[["slope_a~1", "slope_s~1"], "estimate"].tolist() == pytest.approx([0.1, 0.3], abs=1e-6)
    key = "slope_a~~slope_s" if "slope_a~~slope_s" in values.index else "slope_s~~slope_a"
    assert values.loc[key, "standardized"] == pytest.approx(0.08 / np.sqrt(0.2 * 0.25), abs=1e-5)


def test_unequal_lags_are_noticed() -> None:
    moments = population(4)
    within = np.asarray(population(4, np.zeros((2, 2))).covariance)[2]
    # The deviation of a at the third wave has a further effect of 0.4 on s at the fourth.
    covariance = np.asarray(moments.covariance).copy()
    covariance[7] += 0.4 * within
    covariance[:, 7] += 0.4 * within
    covariance[7, 7] += 0.4**2 * within[2]
    found = cross_lagged(SERIES, range(4), moments=Moments(10**8, covariance, moments.mean, moments.names))
    assert lag(found, RANDOM_INTERCEPTS, "s", "a", 3)["estimate"] == pytest.approx(0.6, abs=1e-6)
    test = cross_lagged(SERIES, range(4), moments=Moments(500, covariance, moments.mean, moments.names)).comparisons[LAGS]
    assert test.df == 8
    assert test.p_value < 0.01


def test_weights_of_a_circular_cone_are_those_of_geometry() -> None:
    # With variances 1, 1/2, 1 the cone is circular with half angle 45 degrees.
    narrow, edge = (2 - np.sqrt(2)) / 4, np.sqrt(2) / 4
    assert cone_weights(np.diag([1.0, 0.5, 1.0])) == pytest.approx((narrow, edge, edge, narrow), abs=1e-5)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_mixture_is_the_distribution_of_what_stays_in_the_cone(seed: int) -> None:
    random = np.random.default_rng(seed)
    root = random.normal(size=(3, 3))
    vcov = root @ root.T + 0.3 * np.eye(3)
    draws = random.multivariate_normal(np.zeros(3), vcov, 3000)
    distance = np.einsum("na,ab,nb->n", draws, np.linalg.inv(vcov), draws)
    statistic = distance * np.array([models._share_in_cone(one, vcov) for one in draws])
    weights = cone_weights(vcov)
    assert sum(weights) == pytest.approx(1)
    proper = (draws[:, 0] > 0) & (draws[:, 2] > 0) & (draws[:, 0] * draws[:, 2] > draws[:, 1] ** 2)
    assert proper.mean() == pytest.approx(weights[3], abs=0.025)
    assert (statistic < 1e-9).mean() == pytest.approx(weights[0], abs=0.025)
    p_values = np.where(statistic < 1e-9, 1.0, sum(weights[df] * chi_squared_p(statistic, df) for df in (1, 2, 3)))
    for size in (0.05, 0.2, 0.5):
        assert (p_values < size).mean() == pytest.approx(size, abs=3.5 * np.sqrt(size * (1 - size) / 3000))


def test_random_intercepts_are_not_found_where_there_are_none() -> None:
    none = np.zeros((2, 2))
    found = []
    for seed in range(40):
        rows = simulated(400, seed, none)
        moments = Moments(400, np.cov(rows.to_numpy(), rowvar=False), rows.mean().to_numpy(), list(rows.columns))
        texts = (panel_syntax(SERIES, 4, **models.MODELS[name]) for name in (CLASSIC_EQUAL, EQUAL))
        fits = (fit_structural(parse_structural(text), moments) for text in texts)
        found.append(models.random_intercepts_test(*fits, SERIES))
    assert all(one.status == "estimated" for one in found)
    p_values = np.array([one.p_value for one in found])
    # 40 data sets: at most 6 below .05 with probability .997 where the size is right.
    assert (p_values < 0.05).sum() <= 6
    assert p_values.mean() > 0.3


def test_a_missing_stable_part_is_named_and_small_samples_are_flagged() -> None:
    found = cross_lagged(SERIES, range(4), rows=simulated(80, 5, np.zeros((2, 2))))
    assert found.fits[EQUAL].status == "flagged"
    assert "stable_" in found.fits[EQUAL].reason
    assert found.random_intercepts.status == "flagged"
    assert str(models.RELIABLE_BOUNDARY) in found.random_intercepts.reason


def test_models_without_enough_clients_are_left_out_with_the_numbers() -> None:
    found = cross_lagged(SERIES, range(4), rows=simulated(60, 1), clients_per_parameter=2)
    assert set(found.left_out) == {RANDOM_INTERCEPTS, models.CLASSIC}
    assert found.left_out[RANDOM_INTERCEPTS] == "needs at least 70 clients (2 for each free parameter); has 60"
    assert found.comparisons[LAGS].status == "not_estimable"
    assert found.comparisons[LAGS].reason == found.left_out[RANDOM_INTERCEPTS]
    assert found.random_intercepts.p_value is not None
    nothing = cross_lagged(SERIES, range(4), rows=simulated(30, 1), clients_per_parameter=5)
    assert not nothing.fits
    assert nothing.lags.empty
    assert nothing.random_intercepts.status == "not_estimable"


def test_two_waves_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 3 waves"):
        panel_syntax(SERIES, 2)


def test_therapists_change_errors_but_not_estimates() -> None:
    rows = simulated(200, 3)
    plain = cross_lagged(SERIES, range(4), rows=rows)
    nested = cross_lagged(SERIES, range(4), rows=rows, clusters=np.arange(200) // 10)
    one, other = lag(plain, EQUAL, "s", "a"), lag(nested, EQUAL, "s", "a")
    assert one["estimate"] == pytest.approx(other["estimate"], abs=1e-9)
    assert one["std_error"] != pytest.approx(other["std_error"], rel=1e-3)
    assert nested.fits[EQUAL].method == "cluster_robust"
