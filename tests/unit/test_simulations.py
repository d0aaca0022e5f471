"""Simulations of bias and coverage: they rest on the code as it is, can be made again, and are told truly."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from alliance.questions import contract, coverage
from alliance.simulations import framework, tables
from alliance.simulations.clients import clustered_normal, therapists_of_clients
from alliance.simulations.framework import IDENTITY, SINGLE_SITE, Intervals
from alliance.simulations.topics import alliance_outcome, category_means, change, imputation, joint_test, levels, mediation, path_models
from alliance.statistics import sign_flips
from alliance.statistics.covariance import regression
from alliance.statistics.multilevel_mediation import multilevel_mediation
from support import PROJECT

FOLDER = PROJECT / "docs" / "simulations"
SUMMARY = PROJECT / "workflow" / "simulated_coverage.csv"
TOPICS = tables.topic_names()
RUN = "run make simulate"


def intervals(estimate, half_width, truth=0.0, **changes) -> Intervals:
    estimate = np.asarray(estimate, dtype=float)
    given = {"target": SINGLE_SITE, "error_ratio": (estimate, np.full(estimate.size, half_width / 2)), **changes}
    return Intervals(
        "r", "correlations", "", "cluster_jackknife", "jackknife", truth, estimate, estimate - half_width, estimate + half_width, **given
    )


# A panel model of 100 clients, a fifth of whose ratings are missing, can have an improper solution, from which no number is taken.
REFUSED = {("cross_lagged", "n100_therapists20_effect0"): 0.05, ("cross_lagged", "n100_therapists20_effect0.15"): 0.05}


@pytest.mark.parametrize("name", TOPICS)
def test_the_tables_rest_on_the_code_as_it_is(name):
    table, first = (tables.read(tables.path_of(FOLDER, name, first_block)) for first_block in (False, True))
    assert set(table["code_digest"]) == set(first["code_digest"]) == {tables.code_digest(name)}, RUN
    assert set(table["condition"]) == {condition.name for condition in tables.topic(name).conditions()}, RUN
    assert (table["runs"] >= tables.runs_of(name)).all()


@pytest.mark.parametrize("name", TOPICS)
@pytest.mark.parametrize("position", [0, -1])
def test_the_first_runs_of_a_condition_are_found_again(name, position):
    condition = tables.topic(name).conditions()[position]
    kept = tables.read(tables.path_of(FOLDER, name, first_block=True))
    kept = kept[kept["condition"].eq(condition.name)].reset_index(drop=True)
    again = tables.first_block_rows(name, condition, int(kept["seed"].iloc[0]))
    kept = kept[list(again)]
    whole = ["condition", *condition.parameters, *IDENTITY, "covered", "runs", "not_estimable"]
    pd.testing.assert_frame_equal(kept[whole], again[whole], check_dtype=False)
    # Processors differ in the last bits of matrix products and hyperbolic functions, and an optimiser makes more of it.
    numbers = ["mean_estimate", "mean_low", "mean_high"]
    near = tables.tolerance(name)
    np.testing.assert_allclose(kept[numbers].to_numpy(dtype=float), again[numbers].to_numpy(dtype=float), rtol=near, atol=near / 1e3)


@pytest.mark.parametrize("name", TOPICS)
def test_methods_kinds_of_intervals_and_estimate_types_are_those_of_the_tables_a_user_reads(name):
    table = tables.read(tables.path_of(FOLDER, name))
    assert set(table["method"]) <= set(contract.METHODS)
    assert set(table["interval"]) <= set(coverage.INTERVALS)
    assert set(table["estimate_type"]) <= {"", *contract.ESTIMATE_TYPES}
    assert not table.duplicated(["condition", "estimand", "estimate_type", "method", "interval"]).any()
    most = [REFUSED.get((name, condition), 0.01) for condition in table["condition"]]
    assert table["not_estimable"].le(most * table["runs"]).all()


def test_what_is_printed_beside_methods_is_the_summary_of_the_tables():
    found = tables.readable(tables.summary(tables.read(tables.path_of(FOLDER, name)) for name in TOPICS))
    assert found.to_csv(index=False) == SUMMARY.read_text(encoding="utf-8"), RUN


def test_bias_coverage_and_their_monte_carlo_errors_are_those_of_a_worked_case():
    told = framework.performance(intervals([0.1, 0.2, 0.3, 0.4, np.nan], 0.15, truth=0.2))
    assert (told["runs"], told["not_estimable"]) == (5, 1)
    assert told["mean_estimate"] == pytest.approx(0.25) and told["bias"] == pytest.approx(0.05)
    assert told["bias_mc_error"] == pytest.approx(np.sqrt(0.05 / 3 / 4))
    assert told["coverage"] == 0.75 and told["coverage_mc_error"] == pytest.approx(np.sqrt(0.75 * 0.25 / 4))
    assert told["mean_width"] == pytest.approx(0.3) and told["error_ratio"] == pytest.approx(0.075 / np.sqrt(0.05 / 3))
    assert told["meets_target"] == "no"


def test_intervals_known_to_cover_95_percent_are_found_to():
    estimate = np.random.default_rng(3).standard_normal(40_000)
    told = framework.performance(intervals(estimate, 1.959964))
    assert abs(told["coverage"] - 0.95) < 4 * told["coverage_mc_error"] < 0.005
    assert abs(told["bias"]) < 4 * told["bias_mc_error"] and told["meets_target"] == "yes"


def test_an_interval_may_aim_at_another_value_in_every_run():
    told = framework.performance(intervals([0.0, 0.1], 1.0, truth=5.0, aims=np.array([0.5, 2.0])))
    assert told["coverage"] == 0.5


def test_a_block_does_not_depend_on_the_blocks_before_it():
    topic = tables.topic("correlation")
    condition = topic.conditions()[4]
    together = framework.condition_runs(topic, condition, 5, 2 * framework.BLOCK)
    alone = framework.block(topic, condition, 5, 1)
    for both, one in zip(together, alone, strict=True):
        np.testing.assert_array_equal(both.estimate[framework.BLOCK :], one.estimate)
    with pytest.raises(ValueError, match="multiple"):
        framework.condition_runs(topic, condition, 5, framework.BLOCK + 1)


def test_caseloads_rise_and_add_up_to_the_clients():
    for largest in (3, 15):
        sizes = np.bincount(therapists_of_clients(2000, 20, largest))
        assert sizes.sum() == 2000 and len(sizes) == 20
        assert sizes[-1] / sizes[0] == pytest.approx(largest, rel=0.05)
        assert (np.diff(sizes) >= 0).all()
    with pytest.raises(ValueError, match="too few"):
        therapists_of_clients(10, 20)


def test_simulated_clients_have_the_correlation_and_the_share_between_therapists_that_was_asked_for():
    therapists = np.repeat(np.arange(4000), 5)
    data = clustered_normal(np.random.default_rng(1), [[1, 0.4], [0.4, 1]], therapists, 0.2, 1)[0]
    assert data.std(axis=0) == pytest.approx([1, 1], abs=0.02)
    assert np.corrcoef(data.T)[0, 1] == pytest.approx(0.4, abs=0.02)
    groups = data.reshape(4000, 5, 2)
    within = groups.var(axis=1, ddof=1).mean(axis=0)
    assert groups.mean(axis=1).var(axis=0, ddof=1) - within / 5 == pytest.approx([0.2, 0.2], abs=0.02)


def test_the_population_of_the_path_model_has_its_true_coefficients():
    matrix = path_models.population()
    assert np.diag(matrix) == pytest.approx(1) and (np.linalg.eigvalsh(matrix) > 0).all()
    at = path_models.VARIABLES.index
    for outcome in ("alliance", "outcome"):
        predictors = [name for (to, name) in path_models.PATHS if to == outcome]
        slopes = regression(matrix, at(outcome), [at(name) for name in predictors])
        assert slopes == pytest.approx([path_models.PATHS[outcome, name] for name in predictors])
    assert path_models.truths()["indirect"] == pytest.approx(0.1125) and path_models.truths()["total"] == pytest.approx(0.1925)


def test_the_populations_of_the_headline_have_their_true_correlations():
    random = np.random.default_rng(8)
    assert (np.linalg.eigvalsh(alliance_outcome.population()) > 0).all()
    data = random.multivariate_normal(np.zeros(7), alliance_outcome.population(), 400_000, method="cholesky")
    freed = data[:, 1:] - np.outer(data[:, 0], data[:, 0] @ data[:, 1:] / (data[:, 0] @ data[:, 0]))
    assert np.corrcoef(freed.T) == pytest.approx(alliance_outcome.GIVEN_INTAKE, abs=0.006)
    truths = [alliance_outcome.contrast_truth(name) for name in alliance_outcome.CONTRASTS]
    assert truths == pytest.approx([0.30 - 0.09, 0.30 - 0.20, (0.30 + 0.30 - 0.15 - 0.15) / 2])
    clients = alliance_outcome._clients(np.full(1, 0.26), therapists_of_clients(400_000, 40_000), 0.1, random, 1)[0]
    assert clients.std(axis=0) == pytest.approx([1, 1, 1], abs=0.006)
    gain = clients[:, 2] - alliance_outcome.OUTCOME_ON_INTAKE * clients[:, 0]
    own = clients[:, 1] - alliance_outcome.ALLIANCE_ON_INTAKE * clients[:, 0]
    assert np.corrcoef(gain, own)[0, 1] == pytest.approx(0.26, abs=0.006)
    assert np.corrcoef(gain, clients[:, 1])[0, 1] == pytest.approx(float(alliance_outcome.part_of(0.26)), abs=0.006)
    assert alliance_outcome.mean_part(0.0) == pytest.approx(float(alliance_outcome.part_of(0.26)))
    z = np.arctanh(0.26) + 0.2 * random.standard_normal(400_000)
    assert alliance_outcome.mean_part(0.04) == pytest.approx(
        float(np.tanh(np.arctanh(alliance_outcome.part_of(np.tanh(z))).mean())), abs=0.002
    )


def test_factors_have_the_correlations_of_their_category_and_site():
    therapists = therapists_of_clients(200_000, 20_000)
    alliance, factors = category_means._clients(np.array([[0.1, -0.1]]), therapists, np.random.default_rng(13))
    found = [np.corrcoef(alliance[0], factor)[0, 1] for factor in factors[0].T]
    true = np.tanh(np.arctanh([0.2, 0.3, 0.4, 0.1, 0.2, 0.3]) + np.repeat([0.1, -0.1], 3))
    assert found == pytest.approx(true, abs=0.01)
    y, vcov = category_means._site_means(factors[0], alliance[0], therapists)
    assert np.tanh(y) == pytest.approx(np.tanh([np.arctanh(true[:3]).mean(), np.arctanh(true[3:]).mean()]), abs=0.01)
    assert vcov[0, 1] > 0
    assert category_means.truth("interpersonal") == pytest.approx(np.tanh(np.arctanh([0.2, 0.3, 0.4]).mean()))


def test_coefficients_by_level_are_those_of_least_squares_in_many_therapists():
    random = np.random.default_rng(9)
    frame = levels.client_data(40_000, 0.2, random)
    parts = levels.decompose(frame["alliance"], frame["client"], frame["therapist"])
    design = np.column_stack([np.ones(len(frame)), frame["intake"], *(parts[name] for name in levels.OF_CLIENTS)])
    slopes = np.linalg.lstsq(design, frame["outcome"].to_numpy(), rcond=None)[0]
    assert slopes[1:] == pytest.approx([levels.INTAKE, 0.25, levels.observed_between(0.2)], abs=0.015)
    assert levels.observed_between(0.0) == levels.OF_CLIENTS["between_client"]
    sessions = levels.session_data(8_000, 0.2, random)
    used = sessions.dropna()
    design = np.column_stack([np.ones(len(used)), *(used[name] for name in levels.OF_SESSIONS)])
    slopes = np.linalg.lstsq(design, used["symptoms"].to_numpy(), rcond=None)[0]
    assert slopes[1:] == pytest.approx(list(levels.session_truths(8_000, 0.2).values()), abs=0.015)


@pytest.mark.parametrize("icc", [0.0, 0.2])
def test_alliance_and_outcome_have_the_share_between_therapists_that_was_asked_for(icc):
    frame = levels.client_data(20_000, icc, np.random.default_rng(10))
    frame["left"] = frame["outcome"] - levels.INTAKE * frame["intake"]
    for name in ("alliance", "left"):
        groups = frame[name].to_numpy().reshape(-1, levels.CLIENTS)
        between = groups.mean(axis=1).var(ddof=1) - groups.var(axis=1, ddof=1).mean() / levels.CLIENTS
        assert between / groups.var() == pytest.approx(icc, abs=0.01)


def test_what_the_alliance_adds_is_that_of_least_squares():
    data = np.random.default_rng(11).multivariate_normal(np.zeros(4), change.POPULATION, 400_000, method="cholesky")

    def explained(columns):
        fitted = data[:, columns] @ np.linalg.lstsq(data[:, columns], data[:, 0], rcond=None)[0]
        return fitted.var() / data[:, 0].var()

    without, both = explained([2, 3]), explained([1, 2, 3])
    true = change.truths()
    assert true["delta_r2"] == pytest.approx(both - without, abs=0.002)
    assert true["share_of_rest"] == pytest.approx((both - without) / (1 - without), abs=0.003)
    assert true["semipartial_r"] ** 2 == pytest.approx(true["delta_r2"]) and true["partial_r"] ** 2 == pytest.approx(true["share_of_rest"])


def test_outcomes_are_missing_as_often_as_asked_and_depend_on_early_symptoms_only():
    whole, data = imputation.with_gaps(therapists_of_clients(40_000, 4000), 0.05, 0.4, np.random.default_rng(12), 1)
    lacking = np.isnan(data[0])
    assert lacking[:, 2].mean() == pytest.approx(0.4, abs=0.01) and not np.delete(lacking, 2, axis=1).any()
    early, outcome = whole[0, :, 3], whole[0, :, 2]
    assert np.corrcoef(early, lacking[:, 2])[0, 1] < -0.4
    freed = outcome - early * (early @ outcome) / (early @ early)
    assert np.corrcoef(freed, lacking[:, 2])[0, 1] == pytest.approx(0.0, abs=0.02)


def test_sessions_of_chains_hold_their_paths_and_gaps():
    condition = framework.Condition("", {"n_clients": 6000, "n_therapists": 600, "icc": 0.1, "missing": 0.2})
    values, client, therapist, session = mediation.sessions(condition, np.random.default_rng(13), 1)
    rows = values[0]
    present = 0.8 * np.mean([min(max(last - 2, 0), 10) for last in range(4, 13)]) / 10
    assert np.isfinite(rows).mean() == pytest.approx(present, abs=0.01)
    assert len(np.unique(session)) == 10 and len(np.unique(therapist)) == 600
    found = multilevel_mediation(rows, client, therapist, random=np.random.default_rng(0))
    for level, (a, b, direct) in mediation.PATHS.items():
        for effect, truth in (("a", a), ("b", b), ("direct", direct), ("indirect", a * b)):
            one = found.of(level, effect, True)
            assert one.estimate == pytest.approx(truth, abs=3.5 * one.std_error), (level, effect)
    assert found.model.between[0, 0] / found.model.within[0, 0] == pytest.approx(mediation.RATIO, abs=0.05)


def test_a_dear_topic_names_its_runs():
    assert tables.runs_of("pooling") == 2000 and tables.runs_of("imputation") == 200 and tables.runs_of("imputation", 40) == 40


def test_the_command_gives_equal_bytes_on_one_core_and_on_two_and_leaves_current_topics_alone(tmp_path):
    def call(folder, *more):
        command = [sys.executable, PROJECT / "scripts" / "simulate.py", "--topic", "pooling", "--runs", framework.BLOCK]
        command += ["--output", tmp_path / folder, "--summary", tmp_path / folder / "summary.csv", *more]
        return subprocess.run([str(part) for part in command], capture_output=True, text=True)

    for folder, cores in (("one", 1), ("two", 2)):
        assert call(folder, "--processes", cores).returncode == 0
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["pooling.csv", "pooling_first_block.csv", "summary.csv"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert "pooling: current" in call("one").stdout
    refused = call("one", "--topic", "nothing")
    assert refused.returncode == 2 and "unknown topics: nothing" in refused.stderr


def known(**changes) -> coverage.Coverage:
    given = {"method": "cluster_jackknife", "interval": "jackknife", "what": "correlations", "estimate_types": ("correlation",)}
    given |= {"lowest": 0.9405, "highest": 0.961, "mc_error": 0.0053, "low": 0.93, "high": 0.97, "below": 0, "above": 0}
    return coverage.Coverage(**{**given, "cases": 54, "runs": 2000, **changes})


def test_one_sentence_a_kind_of_interval_tells_the_range_and_every_miss():
    path = known(what="standardised path coefficients", estimate_types=("path_standardised",), lowest=0.921, below=7, above=1, cases=40)
    pooled = known(method="two_stage_reml", interval="z", what="pooled correlations")
    first, second = coverage.sentences([known(), pooled, path])
    assert first == (
        "In simulation, 95 % intervals that leave out each therapist in turn held the true value in 94.0 to 96.1 % for correlations; "
        "92.1 to 96.1 % for standardised path coefficients (below 93 % in 7 of 40 cases, above 97 % in 1 of 40 cases) "
        "(2,000 runs a case, Monte Carlo error at most 0.6 points; docs/simulations)."
    )
    assert second.startswith("In simulation, 95 % normal intervals held")


def test_kinds_with_fewer_runs_are_told_apart():
    (sentence,) = coverage.sentences([known(), known(what="dear correlations", runs=200)])
    assert "(200 to 2,000 runs a case, Monte Carlo error" in sentence


def test_only_what_a_question_reports_is_told():
    path = known(what="paths", estimate_types=("path_standardised",))
    partial = known(what="partial correlations", estimate_types=())
    pooled = [known(method="two_stage_reml", interval=name) for name in ("guarded_hartung_knapp", "hartung_knapp", "z", "prediction")]
    used = [("correlation", "cluster_jackknife"), ("correlation", "two_stage_reml")]
    found = coverage.of_rows([known(), path, partial, *pooled], used, "hartung_knapp")
    assert [one.interval for one in found] == ["jackknife", "hartung_knapp", "prediction"]
    assert coverage.of_rows([known()], [("correlation", "independent")], "z") == []
    contrast = known(method="difference_of_means", interval="difference", estimate_types=("correlation_contrast",))
    of_contrast = [("correlation_contrast", "difference_of_means")]
    assert coverage.of_rows([contrast], of_contrast, "guarded_hartung_knapp") == [contrast]
    assert coverage.of_rows([contrast], of_contrast, "z") == []


def test_what_a_joint_test_accepts_in_simulation_is_where_its_p_is_above_5_percent():
    random = np.random.default_rng(8)
    for scale in (0.5, 1.0, 1.5, 2.0, 2.5):
        z, flips = scale * random.standard_normal(6) + 0.4, random.standard_normal((joint_test.FLIPS, 6))
        p = sign_flips.joint_test(z, flips)
        expected = {"any specification": p.p_any, "median": p.p_median, "share excluding zero": p.p_share}
        for name, statistic in joint_test.STATISTICS.items():
            found = joint_test._accepted(name, "sign_flips", "acceptance", [statistic(np.vstack([z[None, :], flips]))])
            assert (found.low[0] <= 0 <= found.high[0]) == (expected[name] > 0.05), (scale, name)


def test_flips_keep_the_size_of_the_joint_tests_and_shuffles_do_not_where_therapists_differ():
    table = tables.read(tables.path_of(FOLDER, "joint_test"))
    none = table[table["partial_r"].eq("0")]
    rejected = (1 - none["coverage"]).groupby([none["method"], none["icc"]]).max()
    assert (rejected["sign_flips"] <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / none["runs"].min())).all()
    assert rejected["shuffled_alliance", "0.2"] > 0.09
    power = table[table["interval"].eq("power") & table["method"].eq("sign_flips")]
    assert len(power) == 3 and (1 - power["coverage"]).between(0.3, 0.95).all()
    assert "power" not in {one.interval for one in coverage.read(SUMMARY)}
