"""Structural equation models: syntax, known populations, what cannot be estimated, improper solutions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from alliance.statistics.covariance import normal_theory, sandwich
from alliance.statistics.resampling import generator
from alliance.statistics.structural_fit import ModelSyntaxError, Moments, compare, fit_structural, modification_indices, parse_structural
from alliance.statistics.structural_model import layout
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, norm

ONE = "f =~ x1 + x2 + x3 + x4"
TWO = "f =~ x1 + x2 + x3\ng =~ y1 + y2 + y3"
NAMES = ("x1", "x2", "x3", "y1", "y2", "y3")


def population(loadings: tuple[float, ...] = (1.0, 0.8, 1.2, 1.0, 1.5, 0.7), between: float = 0.3) -> np.ndarray:
    """Return the covariance matrix of two factors with variances 0.8 and 1.1."""
    pattern = np.zeros((6, 2))
    pattern[:3, 0], pattern[3:, 1] = loadings[:3], loadings[3:]
    return pattern @ np.array([[0.8, between], [between, 1.1]]) @ pattern.T + np.diag([0.5, 0.6, 0.7, 0.4, 0.9, 0.8])


def moments_of(covariance: np.ndarray, n: float = 200, mean: np.ndarray | None = None, names: tuple[str, ...] = NAMES) -> Moments:
    return Moments(n, covariance * n / (n - 1), mean, names)


def value(fitted: object, lhs: str, op: str, rhs: str, group: str = "1", column: str = "estimate") -> float:
    table = fitted.parameters
    row = table[(table["lhs"] == lhs) & (table["op"] == op) & (table["rhs"] == rhs) & (table["group"] == group)]
    assert len(row) == 1
    return float(row[column].iloc[0])


@pytest.mark.parametrize(
    ("syntax", "line", "said", "suggested"),
    [
        ("f =~ x1 + x22", 1, "unknown variable 'x22'", "did you mean 'x2'"),
        ("f =~ x1 + x2\nf ~ f", 2, "cannot predict itself", "leave the term out"),
        ("f =~ aa*x1 + x2\nab == 1", 2, "uses the label 'ab'", "did you mean"),
        ("f =~ a*x1 + b*x2\na*b == 1", 2, "not linear", "sums and multiples"),
        ("f =~ x1 + x1", 1, "stands there twice", "leave one out"),
        ("f =~ x1 + x2\nf > 0", 2, "inequalities are not supported", "flagged"),
        ("f =~ 2b*x1", 1, "neither a label nor a number", "c(...)"),
        ("f =~ x1 + x2\nx1", 2, "holds no '=~'", "bond =~"),
        ("x1 =~ x2 + y1", 1, "name of an observed variable", "another name"),
        ("f =~ x1 + x2\nx1 ~ 0", 2, "no intercept", "0*1"),
    ],
)
def test_faults_are_named_with_line_and_suggestion(syntax: str, line: int, said: str, suggested: str) -> None:
    with pytest.raises(ModelSyntaxError) as caught:
        parse_structural(syntax, NAMES)
    problem = next(problem for problem in caught.value.problems if said in problem.message)
    assert problem.line == line
    assert suggested.split("'")[0] in problem.suggestion


def test_all_faults_are_collected() -> None:
    with pytest.raises(ModelSyntaxError) as caught:
        parse_structural("f =~ x1 + x22\nf < 1\nq := zz + 1", NAMES)
    assert {problem.line for problem in caught.value.problems} == {1, 2, 3}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"group_equal": ["slopes"]}, "'slopes' cannot be equal over groups"),
        ({"group_equal": ["loadings"], "group_partial": ["f =~ x9"]}, "'f =~ x9' is no term"),
    ],
)
def test_unknown_group_settings_are_named(settings: dict, said: str) -> None:
    with pytest.raises(ModelSyntaxError, match=said):
        layout(parse_structural(ONE), 2, **settings)


def test_values_for_another_number_of_groups_are_named() -> None:
    with pytest.raises(ModelSyntaxError, match="has 2 labels or values, there are 3 groups"):
        layout(parse_structural("f =~ x1 + c(a, b)*x2 + x3"), 3)


def test_contradicting_constraints_are_named() -> None:
    with pytest.raises(ModelSyntaxError, match="line 3: 'a == 2' contradicts"):
        layout(parse_structural("f =~ x1 + a*x2 + x3\na == 1\na == 2"))


def test_population_values_are_found_exactly() -> None:
    fitted = fit_structural(parse_structural(TWO), moments_of(population()))
    assert fitted.status == "estimated"
    assert fitted.fit.chi2 == pytest.approx(0.0, abs=1e-9)
    assert [value(fitted, "f", "=~", "x3"), value(fitted, "g", "=~", "y2")] == pytest.approx([1.2, 1.5], rel=1e-8)
    assert fitted.latent_covariances[0].to_numpy() == pytest.approx(np.array([[0.8, 0.3], [0.3, 1.1]]), rel=1e-8)
    assert value(fitted, "f", "~~", "g", column="standardized") == pytest.approx(0.3 / np.sqrt(0.88), rel=1e-8)


def test_units_of_variables_do_not_matter() -> None:
    random = generator(1, "units")
    rows = random.multivariate_normal(np.zeros(6), population(), 150)
    scale = 10.0 ** np.array([-4, 0, 3, 5, -2, 1])
    plain = fit_structural(parse_structural(TWO), Moments(150, np.cov(rows.T), rows.mean(axis=0), NAMES), mean_structure=True)
    scaled = fit_structural(
        parse_structural(TWO), Moments(150, np.cov((rows * scale).T), (rows * scale).mean(axis=0), NAMES), mean_structure=True
    )
    assert scaled.fit.chi2 == pytest.approx(plain.fit.chi2, rel=1e-8)
    assert scaled.parameters["standardized"].to_numpy() == pytest.approx(plain.parameters["standardized"].to_numpy(), abs=1e-8)
    assert scaled.parameters["statistic"].dropna().to_numpy() == pytest.approx(plain.parameters["statistic"].dropna().to_numpy(), rel=1e-6)


def test_order_of_variables_does_not_matter() -> None:
    random = generator(2, "order")
    matrix = np.cov(random.multivariate_normal(np.zeros(6), population(), 150).T)
    turned = [5, 2, 0, 1, 4, 3]
    one = fit_structural(parse_structural(TWO), Moments(150, matrix, None, NAMES))
    two = fit_structural(parse_structural(TWO), Moments(150, matrix[np.ix_(turned, turned)], None, [NAMES[index] for index in turned]))
    assert one.parameters["estimate"].to_numpy() == pytest.approx(two.parameters["estimate"].to_numpy(), rel=1e-12)


def test_groups_without_shared_parameters_are_fitted_as_alone() -> None:
    random = generator(3, "groups")
    parts = [random.multivariate_normal(np.full(6, 2.0), population(), 60 + 10 * group) for group in range(30)]
    moments = [Moments(len(part), np.cov(part.T), part.mean(axis=0), NAMES) for part in parts]
    model = parse_structural(TWO)
    together = fit_structural(model, moments)
    alone = [fit_structural(model, one, mean_structure=True) for one in moments]
    assert together.fit.chi2 == pytest.approx(sum(one.fit.chi2 for one in alone), rel=1e-9)
    assert together.log_likelihood == pytest.approx(sum(one.log_likelihood for one in alone), rel=1e-10)
    errors = np.concatenate([one.parameters["std_error"].to_numpy() for one in alone])
    assert together.parameters["std_error"].to_numpy() == pytest.approx(errors, rel=1e-6, nan_ok=True)


def test_difference_of_nested_models_finds_where_groups_differ() -> None:
    other = population((1.0, 0.8, 2.0, 1.0, 1.5, 0.7))
    moments = [moments_of(population(), 400, np.zeros(6)), moments_of(other, 400, np.zeros(6))]
    model = parse_structural(TWO)
    free = fit_structural(model, moments)
    equal = fit_structural(model, moments, group_equal=["loadings"])
    step = compare(equal, free)
    assert (step.status, step.df) == ("estimated", 4)
    assert step.p_value < 1e-4
    indices = modification_indices(equal)
    released = indices[indices["kind"] == "equal"]
    assert tuple(released.iloc[0][["lhs", "op", "rhs"]]) == ("f", "=~", "x3")
    partial = fit_structural(model, moments, group_equal=["loadings"], group_partial=["f =~ x3"])
    assert partial.fit.chi2 == pytest.approx(0.0, abs=1e-8)
    assert value(partial, "f", "=~", "x3", "2") == pytest.approx(2.0, rel=1e-6)


def test_models_of_other_clients_are_not_compared() -> None:
    model = parse_structural(TWO)
    one, two = (fit_structural(model, moments_of(population(), n)) for n in (200, 300))
    assert compare(one, two).status == "not_estimable"
    assert "different clients" in compare(one, two).reason
    assert "not more restricted" in compare(one, one).reason


@pytest.mark.parametrize(
    ("syntax", "moments", "said"),
    [
        (TWO, moments_of(population(), 6), "6 clients, 6 variables"),
        ("f =~ x1 + x2", moments_of(population()), "4 free parameters, the moments allow 3"),
        ("f =~ NA*x1 + x2 + x3 + y1", moments_of(population()), "not identified: the data do not tell apart"),
        (TWO, moments_of(np.ones((6, 6)) + np.eye(6) * 1e-12), "singular"),
        (TWO, moments_of(population() * np.outer([0, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1])), "'x1' does not vary"),
        (TWO, moments_of(np.where(np.eye(6) > 2, 1.0, np.nan)), "missing values"),
    ],
)
def test_what_cannot_be_estimated_is_said_and_gives_no_number(syntax: str, moments: Moments, said: str) -> None:
    fitted = fit_structural(parse_structural(syntax), moments)
    assert fitted.status == "not_estimable"
    assert said in fitted.reason
    assert fitted.parameters["estimate"].isna().all()
    assert fitted.fit is None
    assert modification_indices(fitted).empty


def test_negative_variances_are_flagged() -> None:
    matrix = np.eye(4)
    for one, two, correlation in ((0, 1, 0.8), (0, 2, 0.8), (1, 2, 0.5), (0, 3, 0.6), (1, 3, 0.5), (2, 3, 0.5)):
        matrix[one, two] = matrix[two, one] = correlation
    fitted = fit_structural(parse_structural(ONE), moments_of(matrix, names=("x1", "x2", "x3", "x4")))
    assert fitted.status == "flagged"
    assert "negative variance of x1" in fitted.reason
    assert fitted.r2.set_index("variable").loc["x1", "r2"] != fitted.r2.set_index("variable").loc["x1", "r2"]


def test_correlations_of_factors_beyond_one_are_flagged() -> None:
    fitted = fit_structural(parse_structural(TWO), moments_of(population(between=0.92) + 0.0))
    assert fitted.status == "estimated"
    within = population(between=0.92)
    within[:3, 3:] *= 1.1
    within[3:, :3] *= 1.1
    fitted = fit_structural(parse_structural(TWO), moments_of(within))
    assert fitted.status == "flagged"
    assert "correlation of 1.0" in fitted.reason
    assert "factors f and g" in fitted.reason


def test_means_are_needed_where_intercepts_are_parameters() -> None:
    with pytest.raises(ValueError, match="needs the means"):
        fit_structural(parse_structural(TWO + "\nx1 ~ 1"), moments_of(population()))


def test_lacking_variable_is_named() -> None:
    with pytest.raises(ValueError, match="lack the variable 'x4'"):
        fit_structural(parse_structural(ONE), moments_of(population()))


def sample(n: int = 150, seed: int = 5) -> pd.DataFrame:
    return pd.DataFrame(generator(seed, "rows").multivariate_normal(np.full(6, 3.0), population(), n), columns=list(NAMES))


def test_rows_and_their_moments_give_the_same() -> None:
    rows, model = sample(), parse_structural(TWO)
    from_rows = fit_structural(model, rows=rows)
    from_moments = fit_structural(model, Moments(len(rows), rows.cov(), rows.mean(), NAMES))
    pd.testing.assert_frame_equal(from_rows.parameters, from_moments.parameters, rtol=1e-8)
    full = fit_structural(model, rows=rows, missing="ml", errors="expected")
    assert full.fit.chi2 == pytest.approx(from_rows.fit.chi2, rel=1e-8)


def test_sampling_covariance_of_normal_moments_gives_the_errors_of_the_expected_information() -> None:
    model, moments = parse_structural(TWO), moments_of(population(), 200)
    plain = fit_structural(model, moments)
    given = fit_structural(model, moments, acov=[normal_theory(moments.covariance, 200)])
    assert given.method == "moment_covariance"
    # The sampling covariance of a Wishart matrix has the divisor n - 1, the information n.
    expected = plain.parameters["std_error"].to_numpy() * np.sqrt(200 / 199)
    assert given.parameters["std_error"].to_numpy() == pytest.approx(expected, rel=1e-6, nan_ok=True)
    assert given.scaled.scaling == pytest.approx(200 / 199, rel=1e-6)


@pytest.mark.parametrize("means", [False, True])
def test_sampling_covariance_of_the_rows_gives_what_the_rows_give(means: bool) -> None:
    rows = sample(300) ** 2
    n, model = len(rows), parse_structural(TWO)
    from_rows = fit_structural(model, rows=rows, errors="satorra_bentler", mean_structure=means)
    centred = (rows - rows.mean()).to_numpy()
    first, second = np.triu_indices(6)
    values = centred[:, first] * centred[:, second]
    values = values * n / (n - 1)
    values = np.column_stack([centred, values]) if means else values
    acov = np.cov(values.T, bias=True) / n
    turned = [5, 2, 0, 1, 4, 3]
    moments = Moments(n, rows.cov(), rows.mean(), NAMES)
    given = fit_structural(model, moments, acov=[acov], mean_structure=means)
    assert given.parameters["std_error"].to_numpy() == pytest.approx(from_rows.parameters["std_error"].to_numpy(), rel=1e-8, nan_ok=True)
    assert given.scaled.scaling == pytest.approx(from_rows.scaled.scaling, rel=1e-8)
    assert given.scaled.baseline_scaling == pytest.approx(from_rows.scaled.baseline_scaling, rel=1e-8)
    if not means:
        # The same covariances in another order of the variables.
        names = [NAMES[index] for index in turned]
        swapped = Moments(n, rows[names].cov(), None, names)
        again = fit_structural(model, swapped, acov=[sandwich(rows[names])])
        assert again.parameters["std_error"].to_numpy() == pytest.approx(
            from_rows.parameters["std_error"].to_numpy() * np.sqrt(n / (n - 1)), rel=1e-8, nan_ok=True
        )


def test_errors_with_clusters_cover_repeated_rows() -> None:
    rows, model = sample(120), parse_structural(TWO)
    doubled = pd.concat([rows, rows], ignore_index=True)
    clusters = [np.tile(np.arange(len(rows)), 2)]
    one = fit_structural(model, rows=rows, errors="robust", mean_structure=True)
    two = fit_structural(model, rows=doubled, clusters=clusters)
    assert two.method == "cluster_robust"
    assert two.n_clusters == (120,)
    expected = one.parameters["std_error"].to_numpy() * np.sqrt(120 / 119)
    assert two.parameters["std_error"].to_numpy() == pytest.approx(expected, rel=1e-6, nan_ok=True)


def test_values_missing_by_another_item_do_not_bias() -> None:
    rows = sample(40_000, 6)
    rows.loc[rows["x1"] > 3.5, ["x2", "y2"]] = np.nan
    fitted = fit_structural(parse_structural(TWO), rows=rows, missing="ml")
    assert value(fitted, "f", "=~", "x2") == pytest.approx(0.8, abs=4 * value(fitted, "f", "=~", "x2", column="std_error"))
    assert value(fitted, "x2", "~1", "") == pytest.approx(3.0, abs=4 * value(fitted, "x2", "~1", "", column="std_error"))
    listwise = fit_structural(parse_structural(TWO), rows=rows, mean_structure=True)
    assert abs(value(listwise, "x2", "~1", "") - 3.0) > 0.2
    assert listwise.n == (int(rows.notna().all(axis=1).sum()),)


def test_incomplete_rows_do_not_depend_on_their_order() -> None:
    rows = sample(200, 7)
    rows = rows.mask(generator(8, "holes").uniform(size=rows.shape) < 0.15)
    model = parse_structural(TWO)
    one = fit_structural(model, rows=rows, missing="ml", errors="robust")
    two = fit_structural(model, rows=rows.iloc[::-1], missing="ml", errors="robust")
    assert one.parameters["std_error"].to_numpy() == pytest.approx(two.parameters["std_error"].to_numpy(), rel=1e-9, nan_ok=True)


PATHS = "m ~ a*x + b*z\ny ~ c*m + d*x"


def incomplete_paths() -> pd.DataFrame:
    """Return 150 rows of two causes that covary, a mediator and an outcome, a sixth of the values missing."""
    random = generator(9, "paths")
    x = random.normal(size=150)
    z = 0.5 * x + random.normal(size=150)
    m = 0.4 * x + 0.3 * z + random.normal(size=150)
    y = 0.5 * m - 0.2 * x + random.normal(size=150)
    rows = pd.DataFrame({"x": x, "z": z, "m": m, "y": y}) + 2
    return rows.mask(random.uniform(size=rows.shape) < 0.17).dropna(how="all")


def log_likelihood(rows: pd.DataFrame, mean: np.ndarray, covariance: np.ndarray) -> float:
    """Return the normal log-likelihood of rows, each for what it has."""
    total, there = 0.0, rows.notna().to_numpy()
    for pattern in np.unique(there, axis=0):
        values = rows.to_numpy()[(there == pattern).all(axis=1)][:, pattern]
        total += multivariate_normal.logpdf(values, mean[pattern], covariance[np.ix_(pattern, pattern)]).sum()
    return total


def path_moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what a, b, c, d, the covariances of x and z, two residual variances and four intercepts imply for x, z, m and y."""
    a, b, c, d, xx, xz, zz, mm, yy, *intercepts = values
    paths = np.zeros((4, 4))
    paths[2, :2], paths[3, [2, 0]] = (a, b), (c, d)
    spread = np.diag([xx, zz, mm, yy])
    spread[0, 1] = spread[1, 0] = xz
    inverse = np.linalg.inv(np.eye(4) - paths)
    return inverse @ intercepts, inverse @ spread @ inverse.T


def test_estimates_and_errors_of_incomplete_rows_are_the_maximum_of_their_likelihood_and_its_curvature() -> None:
    rows = incomplete_paths()
    fitted = fit_structural(parse_structural(PATHS), rows=rows, missing="ml", errors="observed")
    terms = [("m", "~", "x"), ("m", "~", "z"), ("y", "~", "m"), ("y", "~", "x"), ("x", "~~", "x"), ("x", "~~", "z"), ("z", "~~", "z")]
    terms += [("m", "~~", "m"), ("y", "~~", "y"), ("x", "~1", ""), ("z", "~1", ""), ("m", "~1", ""), ("y", "~1", "")]
    found = np.array([value(fitted, *term) for term in terms])

    def function(values: np.ndarray) -> float:
        return log_likelihood(rows, *path_moments(values))

    step = 1e-3 * np.eye(len(found))
    slope = [(function(found + one) - function(found - one)) / 2e-3 for one in step]
    # Second differences over the four corners around the estimates.
    curvature = [[sum(i * j * function(found + i * one + j * two) for i in (1, -1) for j in (1, -1)) for two in step] for one in step]
    errors = np.sqrt(np.diagonal(np.linalg.inv(-np.array(curvature) / 4e-6)))
    assert np.abs(slope * errors).max() < 1e-4
    assert fitted.log_likelihood == pytest.approx(function(found), abs=1e-8)
    assert errors == pytest.approx([value(fitted, *term, column="std_error") for term in terms], rel=1e-4)


def test_baseline_of_incomplete_rows_lets_causes_covary_and_nothing_else() -> None:
    rows = incomplete_paths()
    fit = fit_structural(parse_structural(PATHS), rows=rows, missing="ml")
    alone = sum(norm.logpdf(own, own.mean(), own.std(ddof=0)).sum() for own in (rows[name].dropna() for name in ("m", "y")))
    causes = rows[["x", "z"]].dropna(how="all")

    def lacking(values: np.ndarray) -> float:
        factor = np.array([[values[2], 0.0], [values[3], values[4]]])
        return -log_likelihood(causes, values[:2], factor @ factor.T)

    together = -minimize(lacking, [2.0, 2.0, 1.0, 0.5, 1.0], method="BFGS", options={"gtol": 1e-5}).fun
    baseline = fit.log_likelihood + (fit.fit.chi2 - fit.fit.baseline_chi2) / 2
    assert fit.fit.baseline_df == 5
    assert baseline == pytest.approx(alone + together, abs=1e-6)


def never_together() -> pd.DataFrame:
    rows = sample(100)
    rows.loc[:49, "x1"] = np.nan
    rows.loc[50:, "y1"] = np.nan
    return rows


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rows": never_together(), "missing": "ml"}, "'x1' and 'y1' are not observed together"),
        ({"rows": sample(6)}, "6 clients, 6 variables"),
        ({"rows": sample(30), "clusters": [np.zeros(30)]}, "needs at least two clusters: has 1"),
        ({"rows": sample(30).assign(x1=1.0)}, "'x1' does not vary"),
        ({"rows": sample(30).assign(x1=1.0).mask(np.eye(30, 6) > 0), "missing": "ml"}, "'x1' does not vary"),
        ({"rows": sample(30).iloc[:0]}, "0 clients"),
    ],
)
def test_rows_that_do_not_suffice_are_said(settings: dict, said: str) -> None:
    fitted = fit_structural(parse_structural(TWO), **settings)
    assert fitted.status == "not_estimable"
    assert said in fitted.reason


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "either moments or rows"),
        ({"moments": moments_of(population()), "errors": "robust"}, "need rows"),
        ({"rows": sample(), "acov": [np.eye(21)]}, "goes with moments"),
        ({"moments": moments_of(population()), "acov": [np.eye(20)]}, "21 moments need"),
        ({"rows": sample(), "missing": "ml", "errors": "satorra_bentler"}, "complete rows"),
        ({"rows": sample(), "errors": "robust", "fixed_x": True}, "expected information only"),
    ],
)
def test_settings_that_exclude_each_other_are_named(settings: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fit_structural(parse_structural(TWO), **settings)
