"""Imputations where data are few, odd or complete, and what they must be whatever the data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from alliance.statistics import imputation
from alliance.statistics.imputation import (
    delta_table,
    imputations_needed,
    impute,
    missing_patterns,
    pool_rubin,
    scale_reduction,
    shifted,
)
from alliance.statistics.resampling import generator


def clients(seed: int = 1, n: int = 120, missing: float = 0.3) -> tuple[pd.DataFrame, np.ndarray]:
    random = generator(seed, "clients")
    therapist = np.repeat(np.arange(n // 10), 10)
    intake = random.normal(25, 6, n) + random.normal(0, 2, n // 10)[therapist]
    post = 0.6 * intake + random.normal(0, 5, n) + random.normal(0, 2, n // 10)[therapist]
    post[random.random(n) < missing] = np.nan
    return pd.DataFrame({"intake": intake, "post": post}), therapist


def mean_of_post(frame: pd.DataFrame) -> tuple[float, float]:
    return frame["post"].mean(), frame["post"].var() / len(frame)


def test_the_same_seed_gives_the_same_imputations_and_measured_values_are_never_touched() -> None:
    data, therapist = clients()
    first, second = (impute(data, generator(5, "site"), therapist, imputations=4) for _ in range(2))
    np.testing.assert_array_equal(first.values, second.values)
    other = impute(data, generator(6, "site"), therapist, imputations=4)
    assert (first.values[:, first.missing] != other.values[:, first.missing]).all()
    for values in first.values:
        np.testing.assert_array_equal(values[~first.missing], data.to_numpy()[~first.missing])
    assert np.isfinite(first.values).all()


def test_imputations_do_not_depend_on_the_unit_of_a_score() -> None:
    data, therapist = clients()
    first = impute(data, generator(5), therapist, imputations=3)
    second = impute(data * [1, 1000] + [0, 50], generator(5), therapist, imputations=3)
    np.testing.assert_allclose(second.values, first.values * [1, 1000] + [0, 50], rtol=1e-9)


def test_there_are_twenty_imputations_or_one_for_every_percent_of_incomplete_clients() -> None:
    data = np.ones((200, 2))
    data[:10, 0] = np.nan
    assert imputations_needed(data) == 20
    data[:75, 1] = np.nan
    assert imputations_needed(data) == 38


def test_a_mean_of_imputed_values_equals_the_regression_estimate_that_is_known_for_it() -> None:
    data, _ = clients(n=200, missing=0.4)
    known = data.dropna()
    slope, intercept = np.polyfit(known["intake"], known["post"], 1)
    expected = (intercept + slope * data["intake"]).mean()
    imputed = impute(data, generator(7), imputations=400)
    pooled = pool_rubin(*np.transpose([mean_of_post(frame) for frame in imputed.frames()]), len(data) - 1)
    between = np.std([frame["post"].mean() for frame in imputed.frames()])
    assert pooled.estimate[0] == pytest.approx(expected, abs=4 * between / 20)
    residual = known["post"] - intercept - slope * known["intake"]
    spread = residual @ residual / (len(known) - 2)
    lacking, mean = data.loc[data["post"].isna(), "intake"], known["intake"].mean()
    design = ((known["intake"] - mean) ** 2).sum()
    share = len(lacking) / len(data)
    # Variance of a mean of imputed values: of the predictions, of their residuals; the posterior of the variance is inverse chi-squared.
    inflated = spread * (len(known) - 2) / (len(known) - 4)
    variance = share**2 * inflated * (1 / len(known) + (lacking.mean() - mean) ** 2 / design + 1 / len(lacking))
    assert between**2 == pytest.approx(variance, rel=0.25)
    assert imputed.method == "independent"


def test_imputed_values_keep_what_therapists_share() -> None:
    random, therapist = generator(8), np.repeat(np.arange(40), 15)
    post = 3 * random.normal(size=40)[therapist] + random.normal(size=600)
    data = pd.DataFrame({"intake": random.normal(size=600), "post": np.where(random.random(600) < 0.4, np.nan, post)})
    imputed = impute(data, random, therapist, imputations=20)
    lacking = data["post"].isna().to_numpy()
    error = [(frame["post"] - post)[lacking].std() for frame in imputed.frames()]
    # Nine measured clients a therapist: the error of their mean, the posterior of the therapist around it, and two residuals.
    assert np.mean(error) == pytest.approx(np.sqrt(1 / 9 + 1 / 9 + 2), rel=0.06)


def test_few_or_unknown_therapists_are_flagged_and_missing_ones_stand_alone() -> None:
    data, therapist = clients()
    assert "therapists are unknown" in impute(data, generator(1), imputations=3).reason
    few = impute(data, generator(1), therapist // 4, imputations=3)
    assert (few.status, few.method) == ("flagged", "independent")
    assert "fewer than 5 therapists (3)" in few.reason
    named = np.where(therapist == 0, None, therapist.astype(object))
    assert impute(data, generator(1), named, imputations=3).method == "therapist_random_effects"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data.iloc[:7], "needs at least 9 clients"),
        (lambda data: data.assign(post=np.where(np.arange(120) < 3, data["intake"], np.nan)), "post: needs at least 5 measured values"),
        (lambda data: data.assign(intake=3.0), "intake is constant"),
        (lambda data: data.assign(post=np.where(data["post"].isna(), np.nan, 2 * data["intake"])), "variables determine each other"),
    ],
)
def test_what_cannot_be_imputed_has_a_reason(change: object, reason: str) -> None:
    data = change(clients()[0])
    data.loc[data.index[0], "post"] = np.nan
    imputed = impute(data, generator(1), imputations=3)
    assert (imputed.status, len(imputed.values)) == ("not_estimable", 0)
    assert reason in imputed.reason
    with pytest.raises(ValueError, match="nothing was imputed"):
        delta_table(imputed, "post", [0], mean_of_post)


def test_complete_data_stay_as_they_are_and_infinite_values_are_refused() -> None:
    data = clients()[0].fillna(20.0)
    imputed = impute(data, generator(1))
    assert (imputed.status, len(imputed.values), imputed.percent_incomplete) == ("estimated", 20, 0)
    np.testing.assert_array_equal(imputed.values[3], data)
    with pytest.raises(ValueError, match="infinite"):
        impute(data.replace(20.0, np.inf), generator(1))
    with pytest.raises(ValueError, match="at least two"):
        impute(data, generator(1), imputations=1)


def test_variables_never_measured_together_are_named() -> None:
    data, therapist = clients()
    data["alliance"] = np.where(data["post"].isna(), data["intake"] + generator(2).normal(size=120), np.nan)
    imputed = impute(data, generator(1), therapist, imputations=3)
    assert imputed.status == "flagged"
    assert "post and alliance are measured together in 0 clients only" in imputed.reason


def test_clients_without_any_value_are_imputed_and_convergence_is_reported() -> None:
    data, therapist = clients()
    data.iloc[:3] = np.nan
    imputed = impute(data, generator(1), therapist)
    assert np.isfinite(imputed.values).all()
    assert list(imputed.convergence["variable"]) == ["intake", "post"]
    assert list(imputed.convergence["n_missing"]) == list(data.isna().sum())
    assert (imputed.convergence[["r_hat_mean", "r_hat_sd"]] < 1.05).all(axis=None)


def test_chains_that_do_not_come_to_agree_run_longer_and_are_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imputation, "CONVERGED", 0.5)
    imputed = impute(clients()[0], generator(1), clients()[1], imputations=3, iterations=10)
    assert (imputed.iterations, imputed.status) == (50, "flagged")
    assert "had not come to agree after 50 steps" in imputed.reason


def test_chains_that_agree_have_a_scale_reduction_of_one_and_others_more() -> None:
    random = generator(1)
    traces = random.normal(size=(2000, 5, 2))
    traces[:, :, 1] += np.arange(5)
    agree, apart = scale_reduction(traces)
    assert agree == pytest.approx(1, abs=0.005)
    assert apart == pytest.approx(np.sqrt(1 + np.var(np.arange(5), ddof=1)), rel=0.05)


def test_an_outcome_moved_by_delta_moves_its_mean_by_as_much_as_is_missing() -> None:
    data, therapist = clients()
    imputed = impute(data, generator(1), therapist)
    table = delta_table(imputed, "post", [-0.5, 0, 0.5], mean_of_post, complete_df=11).set_index("delta")
    step = 0.5 * data["post"].std() * data["post"].isna().mean()
    assert table.loc[0.5, "estimate"] - table.loc[0, "estimate"] == pytest.approx(step)
    assert table.loc[-0.5, "estimate"] - table.loc[0, "estimate"] == pytest.approx(-step)
    np.testing.assert_array_equal(shifted(imputed, "post", 1).values[:, ~imputed.missing], imputed.values[:, ~imputed.missing])


def test_rubin_s_rules_pool_covariances_as_they_pool_variances_and_refuse_what_does_not_fit() -> None:
    random = generator(1)
    estimates, root = random.normal(size=(20, 3)), random.normal(size=(20, 3, 5))
    covariances = root @ np.swapaxes(root, 1, 2)
    full, single = pool_rubin(estimates, covariances, 30), pool_rubin(estimates, np.diagonal(covariances, axis1=1, axis2=2), 30)
    np.testing.assert_allclose(np.sqrt(np.diagonal(full.covariance)), single.std_error)
    np.testing.assert_allclose(full.df, single.df)
    same = pool_rubin(np.full(20, 0.3), np.full(20, 0.04), 24)
    assert [same.std_error[0], same.relative_increase[0]] == pytest.approx([0.2, 0], abs=1e-12)
    assert same.df[0] == pytest.approx(24 * 25 / 27)
    for wrong in ((estimates, np.ones((20, 2))), (estimates[:1], np.ones((1, 3))), (estimates, np.zeros((20, 3)))):
        with pytest.raises(ValueError):
            pool_rubin(*wrong)


def test_small_patterns_are_merged_so_that_no_small_number_can_be_had_by_subtraction() -> None:
    a, b = np.arange(100) >= 30, np.arange(100) % 10 >= 1
    data = pd.DataFrame({"post": np.where(a, 1.0, np.nan), "alliance": np.where(b, 1.0, np.nan)})
    full = missing_patterns(data)
    assert full["clients"].tolist() == [63, 27, 7, 3]
    assert full["n_missing"].tolist() == [0, 1, 1, 2]
    assert full.loc[3, ["post", "alliance"]].tolist() == ["missing", "missing"]
    merged = missing_patterns(data, min_cell=5)
    assert merged["clients"].tolist() == [63, 27, 10]
    assert merged.loc[2, ["patterns", "post", "alliance"]].tolist() == [2, "varies", "missing"]
    assert merged["percent"].sum() == pytest.approx(100)
    assert missing_patterns(data, min_cell=12)["clients"].tolist() == [63, 37]
    assert missing_patterns(data.iloc[:0])["clients"].tolist() == []
