"""Rubin's rules equal mice, and imputations do as well as mice and as the truth of a simulation demands."""

from __future__ import annotations

import change_reference as reference
import numpy as np
import pandas as pd
import pytest
from alliance.statistics.correlation import correlation
from alliance.statistics.covariance import partial_correlation
from alliance.statistics.imputation import impute, pool_rubin
from alliance.statistics.resampling import generator
from needed import needs_r
from statistics_reference import stored

VARIABLES = ["intake", "alliance", "early", "final"]


@needs_r
def test_stored_values_are_what_mice_gives_now() -> None:
    then, now = stored("rubin"), reference.computed("rubin")
    for expected, found in zip(then, now, strict=True):
        assert found == pytest.approx(expected, rel=1e-8)


@needs_r
def test_stored_imputations_of_the_first_data_sets_are_what_mice_gives_now() -> None:
    now = reference.computed("imputation", data_sets=2)
    for name, values in stored("imputation").items():
        assert now[name] == pytest.approx(values[:2], rel=1e-6), name


@pytest.mark.parametrize("case", range(5))
def test_pooled_estimates_equal_mice(case: int) -> None:
    given, expected = reference.rubin_cases()[case], stored("rubin")[case]
    df = np.inf if given["complete_df"] is None else given["complete_df"]
    found = pool_rubin(given["estimates"], given["variances"], df)
    for name, value in expected.items():
        assert getattr(found, name)[0] == pytest.approx(value, rel=1e-8), name


def slope(frame: pd.DataFrame) -> tuple[float, float]:
    """Return the coefficient of the alliance and its variance, by least squares as lm gives it."""
    x = np.column_stack([np.ones(len(frame)), frame[["alliance", "early", "intake"]]])
    inverse = np.linalg.inv(x.T @ x)
    coefficients = inverse @ x.T @ frame["final"].to_numpy()
    residual = frame["final"].to_numpy() - x @ coefficients
    return coefficients[1], inverse[1, 1] * (residual @ residual) / (len(frame) - 4)


@pytest.fixture(scope="module")
def analysed() -> pd.DataFrame:
    """What comes out of each simulated data set: figures to compare with mice, and intervals that respect therapists."""
    rows = []
    for seed in range(reference.DATA_SETS):
        data = reference.incomplete_data(seed)
        imputed = impute(data[VARIABLES], generator(seed, "imputation"), data["therapist"], imputations=20)
        assert imputed.status == "estimated", imputed.reason
        frames = imputed.frames()
        least_squares = pool_rubin(*np.transpose([slope(frame) for frame in frames]), 196)
        partial = [correlation(f["alliance"], f["final"], data["therapist"], controls=f[["intake", "early"]]) for f in frames]
        pooled = pool_rubin([one.z for one in partial], [one.se_z**2 for one in partial], reference.THERAPISTS - 1)
        low, high = pooled.interval()
        rows.append(
            {
                "slope": least_squares.estimate[0],
                "std_error": least_squares.std_error[0],
                "correlation": np.mean([np.corrcoef(frame["alliance"], frame["final"])[0, 1] for frame in frames]),
                "z": pooled.estimate[0],
                "low": low[0],
                "high": high[0],
            }
        )
    return pd.DataFrame(rows)


@pytest.mark.parametrize("name", ["slope", "correlation", "std_error"])
def test_imputations_give_what_those_of_mice_give(analysed: pd.DataFrame, name: str) -> None:
    difference = analysed[name] - np.array(stored("imputation")[name])
    assert abs(difference.mean()) < 3 * difference.std() / np.sqrt(len(difference))


def test_imputations_give_what_the_complete_data_give(analysed: pd.DataFrame) -> None:
    complete = [reference.complete_data(seed) for seed in range(reference.DATA_SETS)]
    for name, values in (
        ("slope", [slope(frame)[0] for frame in complete]),
        ("correlation", [np.corrcoef(frame["alliance"], frame["final"])[0, 1] for frame in complete]),
    ):
        difference = analysed[name] - values
        assert abs(difference.mean()) < 3 * difference.std() / np.sqrt(len(difference)), name


def test_the_partial_correlation_after_imputation_is_unbiased_and_its_interval_covers_the_truth(analysed: pd.DataFrame) -> None:
    truth = np.arctanh(partial_correlation(reference.population_covariance(), 1, 3, [0, 2]))
    assert abs(analysed["z"].mean() - truth) < 3 * analysed["z"].std() / np.sqrt(len(analysed))
    assert ((analysed["low"] <= truth) & (truth <= analysed["high"])).mean() >= 0.9
