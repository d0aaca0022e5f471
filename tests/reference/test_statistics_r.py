"""The statistics equal what metafor, lavaan and boot give in R, and published worked examples."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import statistics_reference as reference
from alliance.statistics import meta_analysis, resampling, two_stage
from alliance.statistics.correlation import correlation, correlations
from alliance.statistics.structural_fit import Moments, StructuralFit, fit_structural, parse_structural
from alliance.statistics.structural_resampling import bootstrap
from needed import EXAMPLES, REFERENCE, needs_examples, needs_r, needs_real_data, without_real_data

SUBJECTS = ("alliance_outcome", "meta_analysis", "path_analysis", "pooling", "question_tables", "two_stage")
needs_roorda = needs_real_data(reference.ROORDA)
METHODS = [(tau2, interval) for tau2 in meta_analysis.TAU2_METHODS for interval in meta_analysis.INTERVAL_METHODS]
EFFECTS = reference.effects()


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return reference.simulated_rows()


def leaves(value: object, path: str = "") -> dict[str, object]:
    """Return every single value of nested JSON by its path."""
    if isinstance(value, dict):
        return {key: leaf for name, inner in value.items() for key, leaf in leaves(inner, f"{path}/{name}").items()}
    if isinstance(value, list):
        return {key: leaf for index, inner in enumerate(value) for key, leaf in leaves(inner, f"{path}/{index}").items()}
    return {path: value}


@needs_r
@pytest.mark.parametrize("subject", SUBJECTS)
def test_stored_values_are_what_r_gives_now(subject: str) -> None:
    if subject == "two_stage" and not reference.ROORDA.exists():
        pytest.skip(without_real_data(reference.ROORDA))
    then, now = leaves(reference.stored(subject)), leaves(reference.computed(subject))
    assert then.keys() == now.keys()
    for path, value in then.items():
        if isinstance(value, float):
            assert now[path] == pytest.approx(value, rel=1e-5, abs=1e-8), path
        else:
            assert now[path] == value, path


@pytest.mark.parametrize("effect", sorted(set(EFFECTS["effect"])))
@pytest.mark.parametrize(("tau2", "interval"), METHODS)
def test_pooled_estimates_equal_metafor(effect: str, tau2: str, interval: str) -> None:
    expected = reference.stored("meta_analysis")[effect][tau2][interval]
    one = EFFECTS[EFFECTS["effect"] == effect]
    pooled = meta_analysis.pool(one["y"], one["v"], tau2=tau2, interval=interval)
    for name, value in expected.items():
        assert getattr(pooled, name) == pytest.approx(value, rel=1e-6, abs=2e-8), name


@pytest.mark.parametrize("effect", ["cooper", "homogeneous", "few", "wild"])
def test_leaving_out_each_site_equals_metafor(effect: str) -> None:
    expected = reference.stored("meta_analysis")[effect]["leave_one_out"]
    one = EFFECTS[EFFECTS["effect"] == effect]
    table = meta_analysis.leave_one_out(one["y"], one["v"], interval="hartung_knapp")
    for column, values in expected.items():
        assert table[column].to_numpy() == pytest.approx(np.array(values), rel=1e-6, abs=2e-8), column


def test_cooper_handbook_example_is_reproduced() -> None:
    y, v = meta_analysis.fisher_z(reference.COOPER_R), 1 / (np.array(reference.COOPER_N) - 3)
    # Values of table III as metafor gives them (reference-values of the handbook's chapter 14).
    assert meta_analysis.pool(y, v, tau2="fixed", interval="z").q == pytest.approx(20.974445, abs=1e-5)
    assert meta_analysis.pool(y, v, tau2="dersimonian_laird").tau2 == pytest.approx(0.0041269573, abs=1e-8)
    assert meta_analysis.pool(y, v).estimate == pytest.approx(0.38117665, abs=1e-4)


@needs_examples
def test_worked_meta_analyses_are_reproduced() -> None:
    known = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    farber = pd.read_csv(REFERENCE / "farber_complete.csv", sep=";")
    y, v = meta_analysis.fisher_z(farber["r"]), 1 / (farber["n"] - 3)
    expected = known["meta_farber2011"]
    plain = meta_analysis.pool(y, v, interval="hartung_knapp")
    assert plain.std_error == pytest.approx(expected["z_REML_HK"]["se"], abs=1e-4)
    assert meta_analysis.inverse_fisher_z([plain.ci_low, plain.ci_high]) == pytest.approx(expected["z_REML_HK"]["ci"], abs=1e-4)
    new = meta_analysis.inverse_fisher_z([plain.prediction_low, plain.prediction_high])
    assert new == pytest.approx(expected["z_REML_HK"]["pi_t_k-1"], abs=1e-4)
    assert [plain.tau2_low, plain.tau2_high] == pytest.approx(expected["tau2_QP_ci"], abs=1e-4)
    assert meta_analysis.n_weighted_mean(farber["r"], farber["n"]) == pytest.approx(expected["n_weighted_mean_r"], abs=1e-8)
    exam = pd.read_csv(REFERENCE / "exam_sites_r.csv")
    pooled = meta_analysis.pool(meta_analysis.fisher_z(exam["r"]), 1 / (exam["n"] - 3), interval="hartung_knapp")
    assert pooled.std_error == pytest.approx(known["two_stage_exam"]["se_HK"], abs=1e-4)
    assert pooled.i2 == pytest.approx(known["two_stage_exam"]["I2"], abs=0.01)
    molloy = pd.read_csv(REFERENCE / "molloy2014.csv")
    pooled = meta_analysis.pool(meta_analysis.fisher_z(molloy["ri"]), 1 / (molloy["ni"] - 3), interval="z")
    assert pooled.estimate == pytest.approx(known["meta_molloy2014"]["z_REML"]["z"], abs=1e-4)
    assert pooled.q == pytest.approx(known["meta_molloy2014"]["z_REML"]["Q"], abs=1e-4)


def assert_columns_equal(fitted: StructuralFit, expected: dict, columns: list[str], tolerance: float) -> None:
    names = fitted.parameters["lhs"] + np.where(fitted.parameters["op"] == ":=", "", fitted.parameters["op"] + fitted.parameters["rhs"])
    table = fitted.parameters.set_index(pd.Index(names))
    table = table[(table["op"] != "~1") & (table["free"] | (table["op"] == ":="))]
    for column in columns:
        compared = 0
        for name in table.index:
            key = name if name in expected[column] else "~~".join(reversed(name.split("~~")))
            # With known predictors their moments have no error, and some standardised values none either.
            value = expected[column][key]
            if isinstance(value, float) and value != 0 and np.isfinite(table.loc[name, column]):
                assert table.loc[name, column] == pytest.approx(value, rel=tolerance, abs=1e-6), (column, name)
                compared += 1
        assert compared >= len(fitted.r2), column


# lavaan's optimiser stops up to 2e-5 from the maximum in models that it cannot solve equation by equation.
TOLERANCE = {name: 5e-5 if name in ("overidentified", "equal_and_fixed") else 1e-5 for name in reference.MODELS}
BOTH = ["estimate", "std_error", "standardized", "std_error_standardized"]


@pytest.mark.parametrize("name", reference.MODELS)
def test_path_models_equal_lavaan(name: str, rows: pd.DataFrame) -> None:
    expected = reference.stored("path_analysis")["models"][name]
    fitted = fit_structural(parse_structural(reference.MODELS[name]), rows=rows, fixed_x=True)
    assert (fitted.status, fitted.reason) == ("estimated", "")
    assert_columns_equal(fitted, expected["expected"], BOTH, TOLERANCE[name])
    shares = fitted.r2.set_index("variable")["r2"]
    for outcome, share in expected["r2"].items():
        assert shares[outcome] == pytest.approx(share, abs=1e-6)
    measures = {
        "chisq": fitted.fit.chi2,
        "df": fitted.fit.df,
        "baseline.chisq": fitted.fit.baseline_chi2,
        "baseline.df": fitted.fit.baseline_df,
        "cfi": fitted.fit.cfi,
        "tli": fitted.fit.tli,
        "rmsea": fitted.fit.rmsea,
        "rmsea.ci.lower": fitted.fit.rmsea_low,
        "rmsea.ci.upper": fitted.fit.rmsea_high,
        "srmr": fitted.fit.srmr,
    }
    for measure, value in measures.items():
        assert value == pytest.approx(expected["fit"][measure], rel=1e-5, abs=1e-6), measure
    if fitted.fit.df:
        assert fitted.fit.p_value == pytest.approx(expected["fit"]["pvalue"], rel=1e-5)


@pytest.mark.parametrize("name", reference.MODELS)
def test_cluster_robust_errors_equal_lavaan(name: str, rows: pd.DataFrame) -> None:
    expected = reference.stored("path_analysis")["models"][name]["cluster_random_x"]
    fitted = fit_structural(parse_structural(reference.MODELS[name]), rows=rows, clusters=[rows["therapist"]])
    assert fitted.method == "cluster_robust"
    assert_columns_equal(fitted, expected, BOTH, TOLERANCE[name])


@pytest.mark.parametrize("name", reference.MODELS)
def test_a_covariance_matrix_and_n_give_what_lavaan_gives(name: str, rows: pd.DataFrame) -> None:
    covariance = rows.drop(columns="therapist").cov()
    moments = Moments(len(rows), covariance, None, list(covariance.columns))
    fitted = fit_structural(parse_structural(reference.MODELS[name]), moments, fixed_x=True)
    assert_columns_equal(fitted, reference.stored("path_analysis")["models"][name]["summary"], BOTH, TOLERANCE[name])


def test_correlations_and_their_cluster_robust_errors_equal_lavaan(rows: pd.DataFrame) -> None:
    expected = reference.stored("path_analysis")["correlation"]
    plain = correlation(rows["x"], rows["m"], rows["therapist"], cluster_error="sandwich")
    partial = correlation(rows["x"], rows["m"], rows["therapist"], controls=rows[["z", "y"]], cluster_error="sandwich")
    for found, value in ((plain, expected["plain"]), (partial, expected["partial"])):
        assert found.r == pytest.approx(value["r"], abs=1e-6)
        assert found.se_z * (1 - found.r**2) == pytest.approx(value["se_r"], rel=1e-4)
        assert found.df == 29
    independent = correlation(rows["x"], rows["m"])
    assert [independent.ci_low, independent.ci_high] == pytest.approx(expected["independent"], abs=1e-10)


def test_jackknife_errors_of_correlations_equal_a_loop_in_r(rows: pd.DataFrame) -> None:
    expected = reference.stored("path_analysis")["jackknife"]
    therapist = rows["therapist"]
    x, y = (np.column_stack([rows[name] for name in side]) for side in (("x", "x", "z"), ("m", "y", "y2")))
    found = correlations(x, y, therapist)
    assert found.vcov_z() == pytest.approx(np.array(expected["correlations"]), rel=1e-9)
    x[rows.index % 7 == 0, 0] = np.nan
    holes = correlations(x, y, therapist)
    assert holes.se_z[0] == pytest.approx(expected["with_holes"], rel=1e-9)
    partial = correlation(rows["x"], rows["m"], therapist, controls=rows[["z", "y"]])
    assert partial.se_z == pytest.approx(expected["partial"], rel=1e-9)


def test_bca_interval_equals_the_boot_package() -> None:
    draws, left_out, estimate = reference.bca_case()
    low, high = resampling.bca_interval(draws[:, None], np.array([estimate]), left_out[:, None])
    # boot interpolates between order statistics on the normal scale, which moves the ends by less than one of 4,000 draws.
    ordered = np.sort(draws)
    for found, expected in zip((low[0], high[0]), reference.stored("path_analysis")["bca"], strict=True):
        assert abs(np.searchsorted(ordered, found) - np.searchsorted(ordered, expected)) <= 1


@needs_examples
def test_hayes_mediation_example_is_reproduced() -> None:
    talor = pd.read_csv(REFERENCE / "talor.csv").rename(columns={"import": "importance"})
    known = json.loads(EXAMPLES.read_text(encoding="utf-8"))["mediation_talor"]
    # Hayes (2018), tables 3.2 and 3.3: a = .477 (SE .236), b = .506 (SE .097), c' = .254 (SE .256), indirect .241.
    fitted = fit_structural(parse_structural("pmi ~ a*cond\nreaction ~ b*pmi + cp*cond\nab := a*b\ntotal := cp + a*b"), rows=talor)
    table = fitted.parameters.set_index("label")
    assert table.loc["a", "estimate"] == pytest.approx(known["a"], abs=5e-4)
    assert table.loc["b", "estimate"] == pytest.approx(known["b"], abs=5e-4)
    assert table.loc["cp", "estimate"] == pytest.approx(known["cp"], abs=5e-4)
    assert table.loc["ab", "estimate"] == pytest.approx(known["ab"], abs=5e-4)
    assert table.loc["total", "estimate"] == pytest.approx(known["total"], abs=5e-4)
    assert table.loc["ab", "std_error"] == pytest.approx(known["se_ab_delta"], abs=5e-3)
    result = bootstrap(fitted, resampling.generator(1993, "hayes"), draws=20000, interval="percentile")
    row = result.parameters.set_index("label").loc["ab"]
    # Hayes reports a percentile interval of .007 to .527 from 5,000 resamples.
    assert row["ci_low"] == pytest.approx(0.007, abs=0.02)
    assert row["ci_high"] == pytest.approx(0.527, abs=0.02)


def roorda() -> tuple[np.ndarray, np.ndarray]:
    long = pd.read_csv(reference.ROORDA)
    names = [f"{a}-{b}" for a, b in two_stage.pairs(reference.ROORDA_VARIABLES)]
    wide = long.assign(cell=long["row"] + "-" + long["col"]).pivot(index="study", columns="cell", values="r")[names]
    return wide.to_numpy(), long.groupby("study")["n"].first().loc[wide.index].to_numpy()


@needs_roorda
@pytest.mark.parametrize("likelihood", ["reml", "ml"])
def test_pooled_correlation_matrices_equal_metafor(likelihood: str) -> None:
    expected = reference.stored("two_stage")[likelihood]
    pooled = two_stage.pool_correlations(*roorda(), reference.ROORDA_VARIABLES, likelihood=likelihood)
    assert pooled.status == "estimated"
    for column in ("estimate", "std_error", "tau2"):
        assert pooled.cells[column].to_numpy() == pytest.approx(np.array(expected[column]), rel=1e-4, abs=1e-6), column
    assert pooled.log_likelihood == pytest.approx(expected["log_likelihood"], abs=1e-5)


@needs_roorda
@pytest.mark.parametrize("name", reference.ROORDA_MODELS)
def test_models_of_pooled_correlations_equal_lavaan(name: str) -> None:
    expected = reference.stored("two_stage")["models"][name]
    pooled = two_stage.pool_correlations(*roorda(), reference.ROORDA_VARIABLES)
    fitted = two_stage.fit_pooled(parse_structural(reference.ROORDA_MODELS[name]), pooled, resampling.generator(1, name))
    reference.assert_two_stage_equal(fitted, expected)
