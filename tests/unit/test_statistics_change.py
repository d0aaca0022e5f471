"""Change, sudden gains and the share of the alliance where data are few, missing or odd, and in simulations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from alliance.statistics import change, sudden_gains
from alliance.statistics.gain_share import gain_share
from alliance.statistics.resampling import generator

TEN = change.published_reliable_change(10, "a manual")


@pytest.mark.parametrize(
    ("before", "after", "category"),
    [
        (30, 20, "recovered"),
        (30, 20.1, "unchanged"),
        (40, 30, "improved"),
        (20, 8, "improved"),
        (20.5, 10.5, "recovered"),
        (15, 25, "deteriorated"),
        (30, np.nan, "not_measured"),
        (np.nan, 5, "not_measured"),
    ],
)
def test_only_clients_beyond_the_cutoff_at_intake_can_recover(before: float, after: float, category: str) -> None:
    assert change.classify([before], [after], TEN, cutoff=20).tolist() == [category]
    assert change.classify([-before], [-after], TEN, cutoff=-20, higher_is_better=True).tolist() == [category]


def test_a_published_number_of_points_is_reliable_at_exactly_that_change_and_an_index_beyond_its_critical_value() -> None:
    computed = change.reliable_change(10 / np.sqrt(2) / 1.96, 0.0, "norm")
    assert computed.threshold == pytest.approx(10)
    assert change.classify([40], [30], TEN, cutoff=20).tolist() == ["improved"]
    assert change.classify([40], [30], computed, cutoff=20).tolist() == ["unchanged"]
    assert change.classify([1.3], [0.3], change.published_reliable_change(1, "decimals"), cutoff=0).tolist() == ["improved"]
    with pytest.raises(ValueError, match="no index"):
        TEN.index(40, 30)


@pytest.mark.parametrize(("sd", "reliability"), [(0, 0.8), (np.nan, 0.8), (5, 1.0), (5, -0.1), (5, np.nan)])
def test_impossible_norms_are_refused(sd: float, reliability: float) -> None:
    with pytest.raises(ValueError, match="reliable change needs"):
        change.reliable_change(sd, reliability, "norm")


def test_a_cutoff_whose_populations_contradict_the_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="healthy side"):
        change.cutoff("c", clinical=(30, 5), functional=(10, 5), higher_is_better=True)
    with pytest.raises(ValueError, match="cut-off b needs"):
        change.cutoff("b", clinical=(30, 5))


def test_every_denominator_is_reported_with_its_clients() -> None:
    before, after = [30, 30, 30, 15, 15, np.nan], [10, 29, np.nan, 5, 30, 10]
    table = change.change_categories(before, after, TEN, cutoff=20)
    n = table.groupby("denominator")["n"].first()
    assert n.to_dict() == {"treated": 6, "measured": 4, "beyond_cutoff": 3, "beyond_cutoff_measured": 2}
    sums = table.groupby("denominator")["count"].sum()
    assert sums.to_dict() == n.to_dict()
    recovered = table[table["category"] == "recovered"].set_index("denominator")["share"]
    assert recovered.round(3).to_dict() == {"treated": 0.167, "measured": 0.25, "beyond_cutoff": 0.333, "beyond_cutoff_measured": 0.5}


def test_no_clients_few_therapists_and_equal_clients_give_reasons() -> None:
    assert change.proportion([]).status == "not_estimable"
    few = change.proportion([True, False, True, False], ["a", "a", "b", "b"])
    assert (few.status, few.std_error) == ("flagged", None)
    assert "fewer than 5 therapists (2)" in few.reason
    none = change.proportion([False] * 12, list("aabbccddeeff"))
    assert (none.status, none.ci_low, none.wilson_low) == ("flagged", None, 0.0)
    assert none.wilson_high == pytest.approx(1.959964**2 / (12 + 1.959964**2), rel=1e-6)


def test_clients_without_a_therapist_count_as_therapists_of_their_own() -> None:
    found = change.proportion([True, False, True, False, True, False], ["a", "a", None, "b", np.nan, "b"])
    assert found.n_clusters == 4


def test_the_interval_that_respects_therapists_covers_where_the_one_that_does_not_fails() -> None:
    random = generator(1, "proportion")
    therapists, clients, truth = 20, 12, 0.3
    codes, robust, plain = np.repeat(np.arange(therapists), clients), [], []
    for _ in range(600):
        shares = random.beta(truth * 5, (1 - truth) * 5, therapists)
        found = change.proportion(random.random(codes.size) < shares[codes], codes)
        robust.append(found.ci_low <= truth <= found.ci_high)
        plain.append(found.wilson_low <= truth <= found.wilson_high)
    assert 0.93 <= np.mean(robust) <= 0.975
    assert np.mean(plain) < 0.85


def test_gains_of_a_measure_on_which_more_is_better_are_losses_of_the_same_scores() -> None:
    scores = generator(2, "scores").integers(0, 40, (50, 9)).astype(float)
    up, lost = sudden_gains.intervals(scores, 7, higher_is_better=True), sudden_gains.intervals(scores, 7, shift="loss")
    np.testing.assert_array_equal(up.met, lost.met)
    assert up.met.sum() > 0


def test_a_baseline_names_the_first_interval_and_too_few_sessions_have_none() -> None:
    scores = [[35, 37, 23, 23, 24, 21]]
    found = sudden_gains.intervals(scores, 7, first_is_baseline=True)
    assert found.names == ["1to2", "2to3", "3to4"]
    assert sudden_gains.shifts(scores, ["k"], found)["session"].tolist() == [1]
    short = sudden_gains.intervals([[30, 20, 10]], 7)
    counts = sudden_gains.summary(short, sudden_gains.shifts([[30, 20, 10]], ["k"], short))
    assert (counts.shifts, counts.clients_evaluable, counts.magnitude_mean) == (0, 0, None)


@pytest.mark.parametrize(("later", "reversed_"), [([20, 20, 25.5], True), ([20, 20, 25], False), ([20, np.nan, 30], True)])
def test_a_gain_is_reversed_when_more_than_half_of_it_is_lost_later(later: list[float], reversed_: bool) -> None:
    scores = [[30.5, 30, 20, 20, *later]]
    rows = sudden_gains.shifts(scores, ["k"], sudden_gains.intervals(scores, 7))
    assert rows["interval"].tolist() == ["2to3"]
    assert rows["reversed"].tolist() == [reversed_]


def test_the_alliance_around_no_gain_is_not_estimable_and_unknown_therapists_are_said() -> None:
    sessions = pd.DataFrame({"client": np.repeat(list("abcdef"), 5), "session": np.tile(np.arange(1, 6), 6)})
    sessions["alliance"] = generator(3, "alliance").normal(size=30)
    none = sudden_gains.around(sessions, pd.DataFrame({"client": [], "session": []}))
    assert set(none["status"]) == {"not_estimable"}
    one = sudden_gains.around(sessions, pd.DataFrame({"client": ["a", "b"], "session": [2, 3]}))
    assert set(one["status"]) == {"flagged"}
    assert one["std_error"].gt(0).all()
    assert "therapists are unknown" in one["reason"].iloc[0]
    unmeasured = sudden_gains.around(sessions, pd.DataFrame({"client": ["a", "z", "b"], "session": [2, 3, 9]}))
    assert unmeasured[["n_gains", "n_unmeasured", "n_unmatched"]].iloc[1].tolist() == [1, 2, 0]
    with pytest.raises(ValueError, match="two rows"):
        sudden_gains.around(pd.concat([sessions, sessions]), one)


def test_the_error_around_gains_shows_how_the_difference_varies() -> None:
    random, found, covered = generator(4, "around"), [], []
    client = np.repeat(np.arange(96), 6)
    for _ in range(300):
        alliance = random.normal(size=12)[client // 8] * 0.5 + random.normal(size=96)[client] + random.normal(size=client.size)
        sessions = pd.DataFrame({"client": client, "session": np.tile(np.arange(1, 7), 96), "therapist": client // 8, "alliance": alliance})
        who = random.choice(96, 40, replace=False)
        at = (
            sudden_gains.around(sessions, pd.DataFrame({"client": who, "session": random.integers(2, 5, 40)}))
            .set_index("position")
            .loc["at"]
        )
        found.append([at["difference"], at["std_error"]])
        covered.append(at["ci_low"] <= 0 <= at["ci_high"])
    difference, error = np.transpose(found)
    assert abs(difference.mean()) < 3 * difference.std() / np.sqrt(300)
    assert np.sqrt((error**2).mean()) == pytest.approx(difference.std(), rel=0.12)
    assert 0.92 <= np.mean(covered) <= 0.985


def shared_data(seed: int, therapists: int = 20, clients: int = 10) -> tuple[np.ndarray, ...]:
    random = generator(seed, "share")
    codes = np.repeat(np.arange(therapists), clients)
    common = random.normal(size=(therapists, 2))[codes] * 0.4
    intake, alliance = random.normal(size=codes.size) + common[:, 0], random.normal(size=codes.size) + common[:, 1]
    return 0.5 * intake + 0.3 * alliance + random.normal(size=codes.size), alliance, intake, codes


def test_the_share_of_the_alliance_without_or_with_few_therapists_is_flagged_and_incomplete_rows_are_left_out() -> None:
    outcome, alliance, intake, codes = shared_data(1)
    outcome[:7] = np.nan
    alone = gain_share(outcome, alliance, intake, codes // 60)
    assert set(alone["status"]) == {"flagged"}
    assert "fewer than 5 therapists" in alone["reason"].iloc[0]
    assert alone["ci_low"].notna().all()
    full, part = gain_share(outcome, alliance, intake, codes), gain_share(outcome[7:], alliance[7:], intake[7:], codes[7:])
    pd.testing.assert_frame_equal(full, part)
    assert full["n"].iloc[0] == 193


def test_the_share_of_the_alliance_is_refused_where_covariates_leave_nothing() -> None:
    outcome, alliance, intake, codes = shared_data(2)
    table = gain_share(outcome, 2 * intake, intake, codes)
    assert set(table["status"]) == {"not_estimable"}
    assert table["estimate"].isna().all()
    assert "determine" in table["reason"].iloc[0]
    assert gain_share(outcome, alliance, np.column_stack([intake, intake]), codes)["status"].iloc[0] == "not_estimable"


def test_the_interval_of_the_semipartial_correlation_covers_the_truth() -> None:
    truth, covered = 0.3 * np.sqrt(1.16) / np.sqrt(0.25 * 1.16 + 0.09 * 1.16 + 1), []
    for seed in range(400):
        outcome, alliance, intake, codes = shared_data(seed)
        row = gain_share(outcome, alliance, intake, codes).set_index("measure").loc["semipartial_r"]
        covered.append(row["ci_low"] <= truth <= row["ci_high"])
    assert 0.925 <= np.mean(covered) <= 0.975
