"""Path models where data are awkward, and the intervals of indirect effects."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from alliance.statistics import path_analysis, two_stage
from alliance.statistics.path_analysis import bootstrap, fit, monte_carlo, parse
from alliance.statistics.resampling import generator
from alliance.statistics.structural_model import parse_structural

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
MEDIATION = parse("alliance ~ a*empathy + severity\noutcome ~ b*alliance + c*empathy + severity\nindirect := a*b\ntotal := c + a*b")


def clients(seed: int = 1, groups: int = 20, size: int = 10, icc: float = 0.1) -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(seed)
    therapist = np.repeat(np.arange(groups), size)

    def noise() -> np.ndarray:
        own, shared = random.standard_normal(groups * size), random.standard_normal(groups)
        return np.sqrt(1 - icc) * own + np.sqrt(icc) * shared[therapist]

    severity = noise()
    empathy = 0.3 * severity + noise()
    alliance = 0.35 * empathy + 0.2 * severity + noise()
    outcome = 0.3 * alliance + 0.1 * empathy + 0.3 * severity + noise()
    return pd.DataFrame({"empathy": empathy, "alliance": alliance, "outcome": outcome, "severity": severity}), therapist


def row(table: pd.DataFrame, name: str) -> pd.Series:
    return table.set_index("name").loc[name]


def test_units_of_variables_only_change_the_units_of_estimates() -> None:
    data, therapist = clients()
    scale = pd.Series({"empathy": 1e-3, "alliance": 1e4, "outcome": 50.0, "severity": 1.0})
    plain, scaled = (fit(MEDIATION, table, clusters=therapist) for table in (data, data * scale + 100 * scale))
    assert scaled.status == "estimated"
    for name, factor in (("alliance~empathy", 1e7), ("indirect", 5e4), ("alliance~~alliance", 1e8)):
        for column in ("estimate", "std_error"):
            assert row(scaled.parameters, name)[column] == pytest.approx(factor * row(plain.parameters, name)[column], rel=1e-7)
        for column in ("standardized", "std_error_standardized"):
            assert row(scaled.parameters, name)[column] == pytest.approx(row(plain.parameters, name)[column], rel=1e-7)


def test_a_simple_path_is_the_correlation_with_its_cluster_robust_error() -> None:
    from alliance.statistics.correlation import correlation

    data, therapist = clients()
    for kind in ("sandwich", "jackknife"):
        found = row(fit(parse("outcome ~ alliance"), data, clusters=therapist, cluster_error=kind).parameters, "outcome~alliance")
        expected = correlation(data["alliance"], data["outcome"], therapist, cluster_error=kind)
        assert found["standardized"] == pytest.approx(expected.r)
        tolerance = 1e-9 if kind == "sandwich" else 0.01
        assert found["std_error_standardized"] == pytest.approx(expected.se_z * (1 - expected.r**2), rel=tolerance)


def test_estimates_do_not_depend_on_the_order_of_rows_columns_or_lines() -> None:
    data, therapist = clients()
    order = np.random.default_rng(9).permutation(len(data))
    lines = parse("outcome ~ severity + c*empathy + b*alliance\nalliance ~ severity + a*empathy\nindirect := a*b\ntotal := c + a*b")
    first = fit(MEDIATION, data, clusters=therapist).parameters.set_index("name")
    second = fit(lines, data.iloc[order][sorted(data.columns)], clusters=therapist[order]).parameters.set_index("name").loc[first.index]
    for column in ("estimate", "std_error", "standardized_high"):
        assert second[column].to_numpy() == pytest.approx(first[column].to_numpy(), rel=1e-9)


def test_the_reported_solution_is_where_the_likelihood_is_flat() -> None:
    data, _ = clients()
    model = parse("alliance ~ a*empathy\noutcome ~ a*empathy + severity\nalliance ~~ outcome")
    structure = path_analysis._Structure.of(model, data[list(model.variables)].std(ddof=0).to_numpy())
    r = data[list(model.variables)].corr().to_numpy()
    free = structure.solve(r[None])[0]
    assert np.abs(structure.gradient(free, r)).max() < 1e-9


def test_incomplete_rows_are_left_out_and_counted() -> None:
    data, therapist = clients()
    data.loc[3, "alliance"] = np.nan
    holes = pd.Series(therapist).astype("Int64")
    holes[7] = pd.NA
    found = fit(MEDIATION, data, clusters=holes)
    kept = np.delete(np.arange(200), [3, 7])
    expected = fit(MEDIATION, data.iloc[kept], clusters=therapist[kept])
    assert (found.n, found.n_clusters) == (198, 20)
    pd.testing.assert_frame_equal(found.parameters, expected.parameters)


def test_nullable_and_integer_columns_are_fitted() -> None:
    data, _ = clients()
    rounded = data.round(1).mul(10).round().astype("Int64")
    assert fit(MEDIATION, rounded).status == "estimated"


def test_few_therapists_are_flagged_and_clients_taken_as_independent() -> None:
    data, _ = clients()
    found = fit(MEDIATION, data, clusters=np.repeat([1, 2, 3, 4], 50))
    assert found.status == "flagged"
    assert "fewer than 5 therapists (4)" in found.reason
    assert found.parameters["std_error"].to_numpy() == pytest.approx(fit(MEDIATION, data).parameters["std_error"].to_numpy())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data.iloc[:20], "needs at least 21 clients with complete values (7 parameters), has 20"),
        (lambda data: data.iloc[:0], "has 0"),
        (lambda data: data.assign(severity=3.0), "constant: severity"),
        (lambda data: data.assign(severity=2 * data["empathy"] - 1), "determine each other: empathy, severity"),
    ],
)
def test_what_cannot_be_estimated_has_a_reason_and_no_numbers(change: object, reason: str) -> None:
    data = change(clients()[0])
    found = fit(MEDIATION, data)
    assert found.status == "not_estimable"
    assert reason in found.reason
    assert found.parameters["name"].tolist()[-2:] == ["indirect", "total"]
    assert found.parameters[["estimate", "std_error", "standardized"]].isna().all(axis=None)
    assert (found.parameters["status"] == "not_estimable").all()
    assert found.fit is None
    drawn = bootstrap(MEDIATION, data, generator(1), draws=10)
    assert (drawn.status, drawn.reason) == ("not_estimable", found.reason)


def test_an_impossible_published_matrix_is_refused() -> None:
    # alliance, outcome, empathy, severity: the first two agree with the others, yet not with each other.
    values = np.full((4, 4), 0.8) + 0.2 * np.eye(4)
    values[0, 1] = values[1, 0] = -0.7
    matrix = pd.DataFrame(values, index=list(MEDIATION.variables), columns=list(MEDIATION.variables))
    assert "not possible" in fit(MEDIATION, covariance=matrix, n=100).reason
    matrix.loc["alliance", "outcome"] = np.nan
    assert "holes" in fit(MEDIATION, covariance=matrix, n=100).reason


def test_a_model_that_is_not_identified_is_not_reported() -> None:
    data, _ = clients()
    found = fit(parse("alliance ~ empathy\noutcome ~ alliance + empathy\nalliance ~~ outcome"), data)
    assert found.status == "not_estimable"
    assert "identified" in found.reason


def test_missing_columns_are_named() -> None:
    with pytest.raises(ValueError, match="lack: severity"):
        fit(MEDIATION, clients()[0].drop(columns="severity"))


def test_a_defined_parameter_without_a_value_says_so() -> None:
    data, _ = clients()
    found = fit(parse("outcome ~ a*alliance\nbad := log(0 - a^2)\ngood := a*2"), data)
    assert row(found.parameters, "bad")["status"] == "not_estimable"
    assert row(found.parameters, "good")["status"] == "estimated"


def test_semopy_is_not_imported_before_it_is_needed() -> None:
    code = "import sys; import alliance.statistics.path_analysis; sys.exit('semopy' in sys.modules or 'scipy.optimize' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, check=False).returncode == 0


def test_each_bootstrap_draw_is_a_fit_to_the_resampled_therapists() -> None:
    data, therapist = clients()
    for model in (MEDIATION, parse("alliance ~ a*empathy\noutcome ~ b*empathy + severity\nindirect := a*b")):
        drawn = bootstrap(model, data, generator(1, "draws"), clusters=therapist, draws=5)
        weights = generator(1, "draws").multinomial(20, np.full(20, 1 / 20), size=5)
        for draw, counts in enumerate(weights):
            again = pd.concat([data[therapist == group] for group, times in enumerate(counts) for _ in range(times)])
            expected = fit(model, again, engine="closed_form").parameters.set_index("name")
            assert drawn.draws.iloc[draw].to_numpy() == pytest.approx(expected["estimate"].to_numpy(), rel=1e-6)
            assert drawn.draws_standardized.iloc[draw].to_numpy() == pytest.approx(expected["standardized"].to_numpy(), rel=1e-6)


def test_bootstrap_says_what_was_resampled() -> None:
    data, therapist = clients()
    whole = bootstrap(MEDIATION, data, generator(1), clusters=therapist, draws=50)
    assert (whole.unit, whole.n_units, whole.status) == ("clusters", 20, "estimated")
    few = bootstrap(MEDIATION, data, generator(1), clusters=np.repeat(np.arange(8), 25), draws=50)
    assert (few.unit, few.n_units, few.status) == ("rows", 200, "flagged")
    assert "fewer than 10 therapists (8)" in few.reason


def test_bootstrap_is_repeated_exactly_from_its_seed() -> None:
    data, therapist = clients()
    first, second, other = (
        bootstrap(MEDIATION, data, generator(seed, "site"), clusters=therapist, draws=100, interval="bca") for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(first.parameters, second.parameters, check_exact=True)
    assert not first.draws.equals(other.draws)


def test_jackknife_errors_are_those_of_fits_without_each_therapist() -> None:
    data, therapist = clients(groups=12)
    left_out = [
        row(fit(MEDIATION, data[therapist != group], engine="closed_form").parameters, "indirect")["estimate"] for group in range(12)
    ]
    found = row(fit(MEDIATION, data, clusters=therapist, cluster_error="jackknife").parameters, "indirect")
    assert found["std_error"] == pytest.approx(np.sqrt(11 * np.var(left_out)), rel=1e-6)


def test_monte_carlo_interval_is_that_of_a_product_of_normals() -> None:
    data, _ = clients(groups=60)
    fitted = fit(MEDIATION, data)
    interval = monte_carlo(MEDIATION, fitted, generator(1), draws=400_000).set_index("name").loc["indirect"]
    a, b = (row(fitted.parameters, name) for name in ("alliance~empathy", "outcome~alliance"))
    random = np.random.default_rng(3)
    product = random.normal(a["estimate"], a["std_error"], 400_000) * random.normal(b["estimate"], b["std_error"], 400_000)
    assert [interval["ci_low"], interval["ci_high"]] == pytest.approx(np.quantile(product, [0.025, 0.975]), abs=0.001)
    total = row(fitted.parameters, "total")
    interval = monte_carlo(MEDIATION, fitted, generator(1), draws=400_000).set_index("name").loc["total"]
    assert interval["ci_high"] - interval["ci_low"] == pytest.approx(total["ci_high"] - total["ci_low"], rel=0.03)


def test_intervals_of_indirect_effects_cover_with_twenty_therapists() -> None:
    hits = np.zeros(2)
    samples = 200
    for seed in range(samples):
        data, therapist = clients(seed=1000 + seed, icc=0.1)
        fitted = fit(MEDIATION, data, clusters=therapist, engine="closed_form", cluster_error="jackknife")
        simulated = monte_carlo(MEDIATION, fitted, generator(1, seed), draws=2000).set_index("name").loc["indirect"]
        drawn = row(bootstrap(MEDIATION, data, generator(1, seed), clusters=therapist, draws=500).parameters, "indirect")
        hits += [interval["ci_low"] <= 0.35 * 0.3 <= interval["ci_high"] for interval in (simulated, drawn)]
    # 200 samples: the Monte Carlo error of a coverage of 95 % is 1.5 points.
    assert (hits / samples >= 0.93).all()
    assert (hits / samples <= 0.98).all()


def test_without_holes_and_heterogeneity_two_stages_give_the_common_model() -> None:
    text = "alliance ~ a*empathy\noutcome ~ b*alliance\nindirect := a*b"
    model, stages = parse(text), parse_structural(text)
    names = model.variables
    random = np.random.default_rng(4)
    truth = np.array([[1.0, 0.4, 0.4], [0.4, 1.0, 0.16], [0.4, 0.16, 1.0]])
    matrices = [np.corrcoef(random.multivariate_normal(np.zeros(3), truth, size=150).T) for _ in range(40)]
    cells = np.array([matrix[np.triu_indices(3, 1)] for matrix in matrices])
    pooled = two_stage.pool_correlations(cells, np.full(40, 150), names)
    found = two_stage.fit_pooled(stages, pooled, generator(1)).parameters.set_index("name")
    for name, value in (("alliance~empathy", 0.4), ("outcome~alliance", 0.4), ("indirect", 0.16)):
        assert abs(found.loc[name, "estimate"] - value) < 3 * found.loc[name, "std_error"]
    common = two_stage.pool_correlations(cells, np.full(40, 150), names, random_effects=False)
    assert common.cells["estimate"].to_numpy() == pytest.approx(cells.mean(axis=0), abs=1e-10)
    again = fit(model, covariance=pd.DataFrame(common.matrix, index=names, columns=names), n=40 * 149, engine="closed_form").parameters
    expected = again.set_index("name").loc[["alliance~empathy", "outcome~alliance"]]
    stage = two_stage.fit_pooled(stages, common, generator(1)).parameters.set_index("name").loc[expected.index]
    assert stage["estimate"].to_numpy() == pytest.approx(expected["standardized"].to_numpy(), abs=0.003)
    assert stage["std_error"].to_numpy() == pytest.approx(expected["std_error_standardized"].to_numpy(), rel=0.02)


def test_a_correlation_that_no_site_has_is_named() -> None:
    cells = np.array([[0.3, np.nan, 0.2], [0.4, np.nan, 0.1], [0.2, np.nan, 0.2]])
    pooled = two_stage.pool_correlations(cells, [50, 60, 70], ("alliance", "outcome", "empathy"))
    assert pooled.reason == "no site has the correlation alliance-empathy"
    found = two_stage.fit_pooled(parse_structural("outcome ~ alliance + empathy"), pooled, generator(1))
    assert (found.status, found.reason, found.chi2) == ("not_estimable", pooled.reason, None)


def test_a_correlation_of_one_site_is_flagged() -> None:
    cells = np.array([[0.3, 0.1, 0.2], [0.4, np.nan, 0.1], [0.2, np.nan, 0.2]])
    pooled = two_stage.pool_correlations(cells, [50, 60, 70], ("alliance", "outcome", "empathy"))
    assert pooled.status == "flagged"
    assert "one site only: alliance-empathy" in pooled.reason
    assert pooled.cells["status"].tolist() == ["estimated", "flagged", "estimated"]
    assert np.isnan(pooled.cells["tau2"][1])


def test_impossible_correlations_are_left_out_and_counted() -> None:
    cells = np.array([[0.3, 0.1, 0.2], [0.4, 0.2, 0.1], [0.2, 1.2, 0.2], [0.9, 0.9, 0.9]])
    names = ("alliance", "outcome", "empathy")
    pooled = two_stage.pool_correlations(cells, [50, 60, 70, 3], names)
    assert pooled.n_sites == 3
    assert pooled.reason == "left out, outside (-1, 1) or of fewer than 4 clients: 4 correlations"
    cells[2, 1], cells[3] = np.nan, np.nan
    pd.testing.assert_frame_equal(pooled.cells, two_stage.pool_correlations(cells, [50, 60, 70, 3], names).cells)


def test_sizes_may_differ_by_cell_and_one_site_is_not_pooled() -> None:
    cells = np.array([[0.3, 0.1, 0.2], [0.4, 0.2, 0.1]])
    names = ("alliance", "outcome", "empathy")
    by_cell = two_stage.pool_correlations(cells, np.array([[50, 50, 50], [60, 60, 60]]), names)
    pd.testing.assert_frame_equal(by_cell.cells, two_stage.pool_correlations(cells, [50, 60], names).cells)
    assert two_stage.pool_correlations(cells[:1], [50], names).reason == "needs at least 2 sites, has 1"
    assert two_stage.pool_correlations(np.empty((0, 3)), [], names).status == "not_estimable"
