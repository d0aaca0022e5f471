"""Models of correlation matrices where data are awkward."""

from __future__ import annotations

import numpy as np
import pytest
from alliance.statistics.correlation_structure import fit_correlation_structure
from alliance.statistics.covariance import olkin_finn
from alliance.statistics.resampling import generator
from alliance.statistics.structural_fit import Moments, fit_structural, parse_structural
from alliance.statistics.two_stage import fit_pooled, pool_correlations

NAMES = ("x1", "x2", "x3", "m", "y")
FACTOR = "x =~ x1 + x2 + x3\nm ~ a*x\ny ~ b*m + c*x\nindirect := a*b"


def population() -> np.ndarray:
    loadings, path = np.array([0.8, 0.7, 0.6]), 0.5
    r = np.eye(5)
    r[:3, :3] = np.outer(loadings, loadings)
    r[:3, 3] = loadings * path
    r[:3, 4] = loadings * (0.2 + 0.4 * path)
    r[3, 4] = 0.4 + 0.2 * path
    r = np.triu(r, 1)
    return r + r.T + np.eye(5)


@pytest.mark.parametrize("weighted", [True, False])
def test_the_population_gives_its_own_standardised_values_back(weighted: bool) -> None:
    r = population()
    found = fit_correlation_structure(parse_structural(FACTOR), r, NAMES, olkin_finn(r, 300) if weighted else None, n=300)
    values = found.parameters.set_index("name")["estimate"]
    assert (found.status, found.reason, found.df) == ("estimated", "", 4)
    known = {"x=~x1": 0.8, "x=~x2": 0.7, "x=~x3": 0.6, "m~x": 0.5, "y~m": 0.4, "y~x": 0.2, "indirect": 0.2}
    for name, value in known.items():
        assert values[name] == pytest.approx(value, abs=1e-8)
    assert found.residual_variances["x1"] == pytest.approx(0.36)
    assert found.residual_variances["m"] == pytest.approx(0.75)
    assert found.srmr == pytest.approx(0, abs=1e-8)
    assert np.isfinite(found.parameters["std_error"]).all() == weighted
    assert (found.fit is not None) == weighted


def test_the_way_a_factor_is_scaled_changes_nothing_standardised() -> None:
    r = np.corrcoef(np.random.default_rng(2).multivariate_normal(np.zeros(5), population(), 200), rowvar=False)
    v = olkin_finn(r, 200)
    one = fit_correlation_structure(parse_structural(FACTOR), r, NAMES, v)
    other = fit_correlation_structure(parse_structural(FACTOR, std_lv=True), r, NAMES, v)
    np.testing.assert_allclose(one.parameters["estimate"], other.parameters["estimate"], atol=1e-7)
    np.testing.assert_allclose(one.parameters["std_error"], other.parameters["std_error"], rtol=1e-5)
    assert one.chi2 == pytest.approx(other.chi2)
    turned = fit_correlation_structure(parse_structural(FACTOR), r[::-1, ::-1], NAMES[::-1], olkin_finn(r[::-1, ::-1], 200))
    np.testing.assert_allclose(one.parameters["estimate"], turned.parameters["estimate"], atol=1e-7)


def test_with_the_covariance_of_normal_data_estimates_are_near_maximum_likelihood() -> None:
    r = np.corrcoef(np.random.default_rng(2).multivariate_normal(np.zeros(5), population(), 4000), rowvar=False)
    found = fit_correlation_structure(parse_structural(FACTOR), r, NAMES, olkin_finn(r, 4000), n=4000)
    likely = fit_structural(parse_structural(FACTOR), Moments(4000, r, None, NAMES))
    table = likely.parameters.set_index(["lhs", "op", "rhs"])
    for row in found.parameters.itertuples():
        key = (row.lhs, row.op, row.rhs)
        assert row.estimate == pytest.approx(table.loc[key, "standardized"], abs=0.1 * row.std_error)
        assert row.std_error == pytest.approx(table.loc[key, "std_error_standardized"], rel=0.03)
    assert found.chi2 == pytest.approx(likely.fit.chi2, abs=0.1)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("x =~ x1 + x2\nx ~~ 0*x", "did not converge|not identified|no start"),
        ("m ~ x1\ny ~ m\nx1 ~ y + m", "not identified"),
        ("m ~ x1 + x2\ny ~ m\nm ~~ y\ny ~ x1 + x2", "not identified"),
        ("m ~ x1\nm ~~ 2*m\nx1 ~~ 3*x1", "leave 'x1' a variance of 3.000|did not converge"),
    ],
)
def test_what_has_no_solution_is_said(model: str, says: str) -> None:
    r = population()
    found = fit_correlation_structure(parse_structural(model), r, NAMES, olkin_finn(r, 300))
    assert found.status == "not_estimable"
    assert any(part in found.reason for part in says.split("|")), found.reason
    assert found.parameters["estimate"].isna().all()


def test_holes_and_unknown_variables_are_named() -> None:
    r = population()
    with pytest.raises(ValueError, match="lack: z"):
        fit_correlation_structure(parse_structural("m ~ z"), r, NAMES)
    with pytest.raises(ValueError, match="do not go with"):
        fit_correlation_structure(parse_structural("x2 ~ x1"), r, NAMES[:3])
    r[0, 3] = r[3, 0] = np.nan
    assert "lacks 1" in fit_correlation_structure(parse_structural("m ~ x1"), r, NAMES).reason
    other = fit_correlation_structure(parse_structural("m ~ x2"), r, NAMES)
    assert other.parameters["estimate"].tolist() == pytest.approx([0.35])


def test_improper_solutions_are_flagged() -> None:
    r = population()
    r[0, 1] = r[1, 0] = 0.9
    r[0, 2] = r[2, 0] = 0.85
    r[1, 2] = r[2, 1] = 0.6
    found = fit_correlation_structure(parse_structural("x =~ x1 + x2 + x3"), r, NAMES, olkin_finn(r, 100))
    assert (found.status, found.reason) == ("flagged", "a residual variance is not positive")


def test_a_model_with_a_factor_is_fitted_to_sites_that_have_other_variables() -> None:
    random = np.random.default_rng(6)
    cells, upper = [], np.triu_indices(5, 1)
    for place in range(24):
        r = np.corrcoef(random.multivariate_normal(np.zeros(5), population(), 150), rowvar=False)
        r[place % 3, :] = r[:, place % 3] = np.nan
        cells.append(r[upper])
    pooled = pool_correlations(np.array(cells), np.full(24, 150), NAMES)
    found = fit_pooled(parse_structural(FACTOR), pooled, generator(1))
    table = found.parameters.set_index("name")
    for name, value in {"x=~x1": 0.8, "m~x": 0.5, "indirect": 0.2}.items():
        assert abs(table.loc[name, "estimate"] - value) < 3 * table.loc[name, "std_error"]
    assert table.loc["indirect", "monte_carlo_low"] < 0.2 < table.loc["indirect", "monte_carlo_high"]
    assert (found.df, found.fit.baseline_df, found.status) == (4, 10, "estimated")
    assert found.r2["m"] == pytest.approx(table.loc["m~x", "estimate"] ** 2)
