"""Change, sudden gains and the share of the alliance equal R, the packages they follow, and published worked examples."""

from __future__ import annotations

import json

import change_reference as reference
import numpy as np
import pandas as pd
import pytest
from alliance.statistics import change, sudden_gains
from alliance.statistics.gain_share import gain_share
from needed import EXAMPLES, REAL_DATA, REFERENCE, needs_examples, needs_r, needs_real_data
from statistics_reference import stored

TRIALS = REAL_DATA / "clinicalsignificance"
needs_trials = needs_real_data(TRIALS)


@pytest.fixture(scope="module")
def examples() -> dict:
    return json.loads(EXAMPLES.read_text(encoding="utf-8"))


def numbers(value: object) -> list[float]:
    """Return the numbers of nested JSON in order."""
    if isinstance(value, dict):
        return [number for name in sorted(value) for number in numbers(value[name])]
    if isinstance(value, list):
        return [number for one in value for number in numbers(one)]
    return [np.nan if value is None or isinstance(value, str) else float(value)]


@needs_r
@pytest.mark.parametrize("subject", ["change"])
def test_stored_values_are_what_r_gives_now(subject: str) -> None:
    assert numbers(reference.computed(subject)) == pytest.approx(numbers(stored(subject)), rel=1e-8, abs=1e-10, nan_ok=True)


@needs_examples
def test_reliable_change_and_cutoffs_equal_the_worked_example_of_jacobson_and_truax(examples: dict) -> None:
    expected = examples["rci"]["jacobson_truax_1991"]
    reliable = change.reliable_change(expected["sd"], expected["rxx"], "Jacobson & Truax (1991)")
    assert reliable.se_measurement == pytest.approx(expected["SE"], abs=1e-6)
    assert reliable.se_difference == pytest.approx(expected["Sdiff"], abs=1e-6)
    assert reliable.index(47.5, 32.5) == pytest.approx(expected["RC_47.5_to_32.5"], abs=1e-6)
    populations = {"clinical": (40.0, 7.5), "functional": (60.0, 7.5), "higher_is_better": True}
    found = [change.cutoff(kind, **populations) for kind in "abc"]
    assert found == [expected["cutoff_a"], expected["cutoff_b"], expected["cutoff_c_means_40_60"]]


@needs_examples
@pytest.mark.parametrize("name", ["suddengains_unit", "sgdata_s0"])
def test_the_threshold_of_reliable_change_equals_the_one_suddengains_gives(examples: dict, name: str) -> None:
    expected = examples["rci"][name]
    assert change.reliable_change(expected["sd"], expected["rxx"], "suddengains").threshold == pytest.approx(expected["RC_value"], abs=1e-4)


@needs_trials
def test_categories_of_a_trial_are_those_published_for_it() -> None:
    # Vignette "Combined approach" of the R package clinicalsignificance: BDI-II of Claus et al. (2020), first and last measurement.
    scores = pd.read_csv(TRIALS / "claus_2020.csv").pivot(index="id", columns="time", values="bdi")
    both = scores[[1, 4]].dropna()
    mean, sd = both[1].mean(), both[1].std()
    assert (round(mean, 3), round(sd, 2)) == (35.475, 8.16)
    limit = change.cutoff("a", clinical=(mean, sd))
    assert limit == pytest.approx(19.16, abs=0.005)
    table = change.change_categories(scores[1], scores[4], change.reliable_change(sd, 0.801, "this sample"), limit)
    counts = {name: list(rows["count"]) for name, rows in table.groupby("denominator")}
    assert counts["measured"] == [10, 8, 22, 0]
    assert counts["treated"] == [10, 8, 22, 0, 3]
    assert set(table.loc[table["denominator"] == "measured", "n"]) == {40}
    assert set(table["source"]) == {"this sample"}


@needs_trials
def test_a_measure_on_which_more_is_better_gives_the_categories_of_its_mirror_image() -> None:
    scores = pd.read_csv(TRIALS / "jacobson_1989.csv").pivot(index="subject", columns="time", values="das")
    reliable = change.reliable_change(scores["pre"].std(), 0.88, "this sample")
    up = change.classify(scores["pre"], scores["post"], reliable, 96.5, higher_is_better=True)
    down = change.classify(-scores["pre"], -scores["post"], reliable, -96.5)
    assert list(up) == list(down)
    assert (up == "recovered").any() and (up == "unchanged").any()
    healthy = (scores["pre"] >= 96.5).to_numpy()
    assert healthy.any() and not (up[healthy] == "recovered").any()


@needs_trials
def test_clients_without_a_score_at_the_end_are_counted_and_nothing_is_carried_forward() -> None:
    scores = pd.read_csv(TRIALS / "hechler_2014.csv").pivot(index="patient", columns="measurement", values="disability")
    missing = int(scores[[1, 2]].isna().any(axis=1).sum())
    assert missing > 0
    table = change.change_categories(scores[1], scores[2], change.reliable_change(scores[1].std(), 0.87, "this sample"), 24.0)
    treated = table[table["denominator"] == "treated"].set_index("category")["count"]
    assert treated["not_measured"] == missing
    assert treated.sum() == len(scores)


def test_proportions_and_their_errors_equal_r() -> None:
    expected, rows = stored("change")["proportion"], reference.simulated_rows()
    found = change.proportion(rows["y"] > 30, rows["therapist"])
    assert (found.count, found.share) == (expected["count"], pytest.approx(expected["share"], rel=1e-12))
    assert [found.wilson_low, found.wilson_high] == pytest.approx([expected["wilson_low"], expected["wilson_high"]], rel=1e-10)
    assert found.std_error == pytest.approx(expected["std_error"], rel=1e-10)


@needs_examples
def test_sudden_gains_and_losses_equal_the_package_on_its_example(examples: dict) -> None:
    expected = examples["suddengains_sgdata"]
    data = pd.read_csv(REFERENCE / expected["file"])
    scores = data[[f"bdi_s{session}" for session in range(1, 13)]]
    found = sudden_gains.intervals(scores, expected["cutoff"])
    rows = sudden_gains.shifts(scores, data["id"], found)
    counts = sudden_gains.summary(found, rows)
    assert found.names == [f"{n}to{n + 1}" for n in range(2, 11)]
    assert {str(client): list(group) for client, group in rows.groupby("client")["interval"]} == expected["by_id"]
    assert (counts.clients, counts.shifts, counts.persons) == (expected["n"], expected["gains_total"], expected["persons"])
    assert (counts.multiple, counts.reversals) == (expected["multiple_persons"], expected["reversals_gains"])
    assert counts.intervals_not_evaluable == expected["NA_intervals"]
    assert round(counts.percent_persons, 2) == expected["pct_persons"]
    assert [round(counts.magnitude_mean, 2), round(counts.magnitude_sd, 2)] == [
        expected["magnitude_mean_gains"],
        expected["magnitude_sd_gains"],
    ]
    lost = sudden_gains.intervals(scores, 7, shift="loss")
    losses = sudden_gains.shifts(scores, data["id"], lost, shift="loss")
    assert len(losses) == expected["sudden_losses_total_cut_-7"]
    assert {str(client): interval for client, interval in zip(losses["client"], losses["interval"])} == expected["losses_at"]


@needs_examples
def test_sudden_gains_equal_the_package_s_own_tests(examples: dict) -> None:
    expected = examples["suddengains_unit"]
    scores = [[np.nan if value == "NA" else float(value) for value in row.split(",")] for row in expected["rows"]]
    found = sudden_gains.intervals(scores, expected["cutoff"])
    assert found.names == expected["columns"]
    met = np.array([[np.nan if value is None else value for value in row] for row in expected["rows"].values()])
    np.testing.assert_array_equal(found.met, met)


def test_the_alliance_around_gains_equals_a_loop_in_r() -> None:
    expected = stored("change")["around"]
    sessions, gains = reference.gain_sessions()
    found = pd.concat([sudden_gains.around(sessions, gains, window=window) for window in (1, 2)])
    assert list(found["difference"]) == pytest.approx(expected["difference"], rel=1e-10)
    assert list(found["std_error"]) == pytest.approx(expected["std_error"], rel=1e-10)
    assert set(found["n_clusters"]) == {8}


def test_the_share_of_the_alliance_equals_regressions_in_r() -> None:
    expected, rows = stored("change")["gain_share"], reference.simulated_rows()
    found = gain_share(rows["y"], rows["m"], rows[["x", "z"]], rows["therapist"]).set_index("measure")
    for name, row in found.iterrows():
        assert row["estimate"] == pytest.approx(expected["estimate"][name], rel=1e-10), name
    assert found["r2_covariates"].iloc[0] == pytest.approx(expected["estimate"]["r2_covariates"], rel=1e-10)
    assert found["r2_total"].iloc[0] == pytest.approx(expected["estimate"]["r2_total"], rel=1e-10)
    for name, square in (("partial_r", "share_of_rest"), ("semipartial_r", "delta_r2")):
        limits = expected[name]["interval"]
        assert list(found.loc[name, ["ci_low", "ci_high"]]) == pytest.approx(limits, rel=1e-9)
        assert found.loc[name, "std_error"] == pytest.approx(expected[name]["se_z"] * (1 - expected["estimate"][name] ** 2), rel=1e-9)
        assert found.loc[name, "se_z"] == pytest.approx(expected[name]["se_z"], rel=1e-9)
        assert np.tanh(found.loc[name, "z"]) == pytest.approx(expected["estimate"][name], rel=1e-10)
        assert list(found.loc[square, ["ci_low", "ci_high"]]) == pytest.approx(np.square(limits), rel=1e-9)
