"""Influence, meta-regression, three levels, robust errors, equivalence, censored effects and dependent correlations equal what R gives."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import r_script
import statistics_reference as reference
from alliance.statistics import covariance, meta_analysis
from alliance.statistics.correlation import correlations
from alliance.statistics.equivalence import equivalence
from alliance.statistics.jackknife import Jackknifed, covariance_of_sums, cross_products, jackknife
from alliance.statistics.meta_regression import meta_regression
from alliance.statistics.multilevel_meta import cluster_robust, three_level
from alliance.statistics.nonsignificant import pool_with_nonsignificant
from needed import EXAMPLES, REFERENCE, needs_examples, needs_r

EXPECTED = reference.stored("pooling")
METHODS = [(tau2, interval) for tau2 in meta_analysis.TAU2_METHODS for interval in meta_analysis.INTERVAL_METHODS]
MODERATED = reference.moderated()
MODERATORS = {"one": MODERATED[["mod1"]], "three": MODERATED[["mod1", "year", "setting"]]}


def worked(name: str) -> dict:
    return json.loads(EXAMPLES.read_text(encoding="utf-8"))[name]


def assert_equal(found: object, expected: dict, relative: float = 1e-6, absolute: float = 2e-8) -> None:
    for name, value in expected.items():
        own = found[name] if isinstance(found, pd.DataFrame) else getattr(found, name)
        own = own.to_numpy() if isinstance(own, pd.Series) else own
        value = np.array(value, dtype=float) if isinstance(value, list) else value
        assert own == pytest.approx(value, rel=relative, abs=absolute), name


@pytest.mark.parametrize("effect", ["cooper", "homogeneous", "few", "wild"])
@pytest.mark.parametrize(("tau2", "interval"), METHODS)
def test_influence_of_each_site_equals_metafor(effect: str, tau2: str, interval: str) -> None:
    expected = dict(EXPECTED["influence"][effect][tau2][interval])
    effects = reference.effects()
    one = effects[effects["effect"] == effect]
    found = meta_analysis.influence(one["y"], one["v"], tau2=tau2, interval=interval)
    assert found["influential"].tolist() == expected.pop("influential")
    assert_equal(found, expected)


@pytest.mark.parametrize("moderators", MODERATORS)
@pytest.mark.parametrize(("tau2", "interval"), METHODS)
def test_meta_regression_equals_metafor(moderators: str, tau2: str, interval: str) -> None:
    expected = dict(EXPECTED["meta_regression"][moderators][tau2][interval])
    found = meta_regression(MODERATED["y"], MODERATED["v"], MODERATORS[moderators], tau2=tau2, interval=interval)
    columns = {name: expected.pop(name) for name in ("estimate", "std_error", "statistic", "p_value", "ci_low", "ci_high")}
    assert_equal(found.coefficients, columns)
    assert_equal(found, expected)


@pytest.mark.parametrize("moderators", MODERATORS)
@pytest.mark.parametrize("tau2", meta_analysis.TAU2_METHODS)
@pytest.mark.parametrize("interval", ["guarded_hartung_knapp", "z"])
def test_robust_errors_of_meta_regression_equal_clubsandwich(moderators: str, tau2: str, interval: str) -> None:
    expected = EXPECTED["robust_regression"][moderators][tau2][interval]
    fit = meta_regression(MODERATED["y"], MODERATED["v"], MODERATORS[moderators], tau2=tau2, interval=interval)
    assert_equal(cluster_robust(fit, MODERATED["region"]), expected)


def test_robust_errors_without_clusters_take_each_site_for_itself() -> None:
    fit = meta_regression(MODERATED["y"], MODERATED["v"], MODERATORS["three"])
    assert_equal(cluster_robust(fit), EXPECTED["robust_regression_without_clusters"])


@pytest.mark.parametrize("given", ["covariance", "variances"])
@pytest.mark.parametrize("test", ["t", "contain", "z"])
def test_three_level_meta_analysis_equals_metafor(given: str, test: str) -> None:
    table, matrix = reference.site_effects()
    found = three_level(table["y"], matrix if given == "covariance" else table["v"], table["site"], test=test)
    expected = EXPECTED["three_level"][given]
    assert (found.status, found.k, found.n_sites) == ("estimated", len(table), 14)
    assert_equal(found, expected["tests"][test], relative=1e-5)
    assert_equal(found, expected["model"], relative=1e-5)
    assert_equal(found, expected["profile"], relative=1e-5)


@pytest.mark.parametrize("given", ["covariance", "variances"])
def test_robust_errors_of_three_levels_equal_clubsandwich(given: str) -> None:
    table, matrix = reference.site_effects()
    fit = three_level(table["y"], matrix if given == "covariance" else table["v"], table["site"])
    assert_equal(cluster_robust(fit), EXPECTED["three_level"][given]["robust"], relative=1e-5)
    assert_equal(cluster_robust(fit, table["site"] // 2), EXPECTED["three_level"][given]["robust_pairs"], relative=1e-5)


@pytest.mark.parametrize("name", ["mixed", "common", "equal", "expectation_maximisation"])
def test_censored_effects_equal_what_r_finds(name: str) -> None:
    table = reference.partly_reported()
    one = table[table["set"] == ("equal" if name == "expectation_maximisation" else name)]
    found = pool_with_nonsignificant(one["y"].where(one["hidden"] == 0), one["v"], one["hidden"] == 1).set_index("treatment").loc["imputed"]
    for column, value in EXPECTED["censored"][name].items():
        assert found[column] == pytest.approx(value, rel=1e-5, abs=1e-8), column


@pytest.mark.parametrize("name", ["z", "x", "shifted"])
def test_two_one_sided_tests_equal_those_of_r(name: str) -> None:
    rows = reference.simulated_rows()[:40]
    values = rows["x"] + 0.35 if name == "shifted" else rows[name]
    found = equivalence(values.mean(), values.std() / np.sqrt(40), (-0.4, 0.4), df=39)
    assert_equal(found, EXPECTED["equivalence"][name])


CONTRASTS = {
    "correlations": lambda stack: covariance.partial_correlation(stack, 0, 1, []) - covariance.partial_correlation(stack, 0, 2, []),
    "partial": lambda stack: covariance.partial_correlation(stack, 0, 1, [3]) - covariance.partial_correlation(stack, 0, 2, [3]),
    "part": lambda stack: covariance.part_correlation(stack, 0, 1, [3]) - covariance.part_correlation(stack, 0, 2, [3]),
}


def contrasts(data: pd.DataFrame, clusters: object, *names: str) -> Jackknifed:
    def function(sums: np.ndarray) -> np.ndarray:
        return np.stack([CONTRASTS[name](covariance_of_sums(sums)) for name in names], axis=-1)

    return jackknife(cross_products(data), function, len(names), clusters)


def assert_jackknifed(found: Jackknifed, expected: dict) -> None:
    low, high = found.interval(0.95)
    own = {"estimate": found.estimate, "std_error": found.std_error, "ci_low": low, "ci_high": high, "p_value": found.p_value()}
    for name, value in expected.items():
        assert own[name][0] == pytest.approx(value, rel=1e-6, abs=1e-10), name


@pytest.mark.parametrize("name", CONTRASTS)
def test_contrast_of_correlations_equals_a_loop_over_therapists_in_r(name: str) -> None:
    rows = reference.simulated_rows()
    found = contrasts(rows[["m", "y", "y2", "z"]], rows["therapist"], name)
    assert (found.reason, found.caution, found.method, found.n_clusters, found.df) == ("", "", "cluster_jackknife", 30, 29)
    assert_jackknifed(found, EXPECTED["contrast"][name])


@pytest.mark.parametrize("name", CONTRASTS)
def test_contrast_with_few_therapists_equals_a_loop_over_clients_in_r_and_says_so(name: str) -> None:
    rows = reference.simulated_rows()
    few = rows[rows["therapist"] < 4]
    found = contrasts(few[["m", "y", "y2", "z"]], few["therapist"], name)
    assert (found.reason, found.method, found.n_clusters, found.df) == ("", "client_jackknife", 4, np.inf)
    assert found.caution == "fewer than 5 therapists (4): clients taken as independent"
    assert_jackknifed(found, EXPECTED["contrast_of_few"][name])


def test_covariance_of_two_contrasts_equals_that_of_the_loop_over_therapists_in_r() -> None:
    rows = reference.simulated_rows()
    found = contrasts(rows[["m", "y", "y2", "z"]], rows["therapist"], "correlations", "partial")
    assert found.vcov[0, 1] == found.vcov[1, 0] == pytest.approx(EXPECTED["contrast_covariance"], rel=1e-6)


def test_contrasts_of_independent_clients_agree_with_williams_and_steigers_tests() -> None:
    rows = reference.independent_rows()

    def differences(sums: np.ndarray) -> np.ndarray:
        r = covariance.correlation_matrix(covariance_of_sums(sums))
        z = np.arctanh(r[:, [0, 2], [1, 3]])
        return np.stack([r[:, 0, 1] - r[:, 0, 2], z[:, 0] - z[:, 1]], axis=-1)

    for clusters in (None, np.arange(len(rows))):
        found = jackknife(cross_products(rows), differences, 2, clusters)
        statistic = found.estimate / found.std_error
        expected = [EXPECTED["dependent"]["williams"], EXPECTED["dependent"]["steiger"]]
        # Both tests assume normal data, which the jackknife does not; of 4,000 clients they differ by chance alone.
        assert statistic.tolist() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("therapists", ["clusters", "few"])
def test_correlation_with_a_residual_gain_equals_r(therapists: str) -> None:
    rows = reference.simulated_rows()
    rows = rows if therapists == "clusters" else rows[rows["therapist"] < 4]
    found = correlations(rows[["m"]], rows[["y"]], rows["therapist"], controls=rows["z"], part=True)
    assert found.r[0] == pytest.approx(EXPECTED["part"][therapists]["r"], rel=1e-9)
    # With few therapists R differentiates numerically.
    assert found.se_z[0] == pytest.approx(EXPECTED["part"][therapists]["se_z"], rel=1e-6)
    assert found.method[0] == ("cluster_jackknife" if therapists == "clusters" else "independent")


@needs_examples
def test_assink_and_wibbelink_example_of_three_levels_is_reproduced() -> None:
    data, known = pd.read_csv(REFERENCE / "assink2016.csv"), worked("meta_assink2016_3level")
    found = three_level(data["yi"], data["vi"], data["study"], test="t")
    assert (found.k, found.n_sites) == (known["k_effects"], known["k_studies"])
    assert found.sigma2_site == pytest.approx(known["sigma2_study"], abs=1e-4)
    assert found.sigma2_effect == pytest.approx(known["sigma2_effect"], abs=1e-4)
    assert (found.estimate, found.std_error) == pytest.approx((known["mu"], known["se"]), abs=1e-4)
    assert [found.ci_low, found.ci_high] == pytest.approx(known["ci_t99"], abs=1e-4)
    robust = cluster_robust(found).iloc[0]
    # The source prints three digits and one.
    assert robust["std_error"] == pytest.approx(known["CR2"]["se"], abs=5e-4)
    assert robust["df"] == pytest.approx(known["CR2"]["df"], abs=0.05)
    assert [robust["ci_low"], robust["ci_high"]] == pytest.approx(known["CR2"]["ci"], abs=1e-3)


@needs_examples
def test_cooper_handbook_meta_regression_is_reproduced() -> None:
    known, y, v = worked("meta_cooper2009_III"), np.arctanh(reference.COOPER_R), 1 / (np.array(reference.COOPER_N) - 3)
    expected = known["metareg_mod1_REML"]
    found = meta_regression(y, v, reference.COOPER_MODERATOR, interval="z")
    assert found.coefficients["estimate"].tolist() == pytest.approx([expected["b0"], expected["b1"]], abs=1e-4)
    assert found.coefficients["std_error"][1] == pytest.approx(expected["se1"], abs=1e-4)
    assert (found.qm, found.qe, found.tau2) == pytest.approx((expected["QM"], expected["QE"], expected["tau2"]), abs=1e-4)
    adjusted = meta_regression(y, v, reference.COOPER_MODERATOR, interval="hartung_knapp").coefficients.iloc[1]
    expected = known["metareg_mod1_HK"]
    assert (adjusted["std_error"], adjusted["statistic"], adjusted["df"]) == pytest.approx(
        (expected["se1"], expected["t"], expected["df"]), abs=1e-4
    )


@needs_examples
def test_molloy_and_exam_examples_are_reproduced() -> None:
    molloy, known = pd.read_csv(REFERENCE / "molloy2014.csv"), worked("meta_molloy2014")
    for interval, name in (("z", "z_REML"), ("hartung_knapp", "z_REML_HK")):
        found = meta_analysis.pool(np.arctanh(molloy["ri"]), 1 / (molloy["ni"] - 3), interval=interval)
        assert found.std_error == pytest.approx(known[name]["se"], abs=1e-4)
        assert np.tanh([found.ci_low, found.ci_high]) == pytest.approx(known[name]["ci"], abs=1e-4)
    exam, known = pd.read_csv(REFERENCE / "exam_sites_r.csv"), worked("two_stage_exam")
    found = meta_analysis.pool(np.arctanh(exam["r"]), 1 / (exam["n"] - 3), interval="hartung_knapp")
    assert (found.estimate, found.tau2) == pytest.approx((known["z"], known["tau2"]), abs=1e-4)
    assert np.tanh([found.prediction_low, found.prediction_high]) == pytest.approx(known["pi"], abs=1e-4)


@needs_examples
@needs_r
def test_raudenbush_example_is_reproduced() -> None:
    script = 'd <- metadat::dat.raudenbush1985; write.csv(d[c("yi", "vi")], row.names = FALSE)'
    data = np.array([line.split(",") for line in r_script.output(["-e", script]).split()[1:]], dtype=float)
    known = worked("meta_raudenbush1985_HK")
    found = meta_analysis.pool(data[:, 0], data[:, 1], interval="hartung_knapp")
    assert (found.estimate, found.std_error, found.tau2) == pytest.approx((known["mu"], known["se"], known["tau2"]), abs=1e-4)
    assert found.statistic == pytest.approx(known["t"], abs=1e-3)
    assert [found.ci_low, found.ci_high] == pytest.approx(known["ci"], abs=1e-4)
