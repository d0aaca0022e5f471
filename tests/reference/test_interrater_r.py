"""Agreement of raters equals Shrout & Fleiss (1979), psych and pingouin for complete ratings, psych and lme4 for unbalanced ones."""

from __future__ import annotations

import interrater_reference as reference
import numpy as np
import pandas as pd
import pytest
from alliance.statistics.crossed_effects import exact_rater_ratio, non_negative, rating_sums
from alliance.statistics.interrater import FORMS, intraclass, mean_differences
from needed import needs_r
from statistics_reference import stored
from test_statistics_r import leaves

PSYCH = dict(zip(FORMS, ("ICC1", "ICC1k", "ICC2", "ICC2k", "ICC3", "ICC3k"), strict=True))
COMPLETE = [name for name in reference.NAMES if np.isfinite(reference.table(name)).all()]
UNBALANCED = [name for name in reference.NAMES if name not in COMPLETE]


@needs_r
def test_stored_values_are_what_r_gives_now() -> None:
    now, then = leaves(reference.computed()), leaves(stored("interrater"))
    assert now.keys() == then.keys()
    for path, value in then.items():
        assert now[path] == pytest.approx(value, rel=1e-6, abs=1e-7), path


def test_the_table_of_shrout_and_fleiss_is_reproduced() -> None:
    found = intraclass(reference.long(reference.table("shrout_fleiss")))
    published = {"ICC(1,1)": 0.17, "ICC(2,1)": 0.29, "ICC(3,1)": 0.71, "ICC(1,k)": 0.44, "ICC(2,k)": 0.62, "ICC(3,k)": 0.91}
    assert {name: round(one.estimate, 2) for name, one in found.coefficients.items()} == published
    assert (found.estimator, found.interval, found.raters_of_target) == ("mean_squares", "exact", 4.0)


@pytest.mark.parametrize("name", COMPLETE)
def test_complete_ratings_equal_psych_with_intervals(name: str) -> None:
    expected = stored("interrater")[name]["psych"]
    for form, one in intraclass(reference.long(reference.table(name))).coefficients.items():
        own = [expected[part][PSYCH[form]] for part in ("estimate", "low", "high")]
        assert [one.estimate, one.ci_low, one.ci_high] == pytest.approx(own, abs=1e-8), form


def test_complete_ratings_equal_pingouin() -> None:
    import pingouin

    rows = reference.long(reference.table("complete"))
    known = pingouin.intraclass_corr(rows, targets="target", raters="rater", ratings="value")
    known = dict(zip(FORMS, known["ICC"].to_numpy()[[0, 3, 1, 4, 2, 5]], strict=True))
    found = intraclass(rows).coefficients
    assert {form: one.estimate for form, one in found.items()} == pytest.approx(known, abs=1e-8)


@pytest.mark.parametrize("name", UNBALANCED)
def test_components_of_unbalanced_ratings_equal_lme4(name: str) -> None:
    expected = stored("interrater")[name]
    found = intraclass(reference.long(reference.table(name)))
    assert found.estimator == "reml"
    parts = np.array([expected["two_way"][part] for part in ("target", "rater", "Residual")])
    assert list(found.shares.values()) == pytest.approx(parts / parts.sum(), abs=1e-5)
    k = 1 / np.mean(1 / np.isfinite(reference.table(name)).sum(axis=1))
    target, rater, error = parts
    one_way, within = expected["one_way"]["target"], expected["one_way"]["Residual"]
    known = {
        "ICC(1,1)": one_way / (one_way + within),
        "ICC(1,k)": one_way / (one_way + within / k),
        "ICC(2,1)": target / (target + rater + error),
        "ICC(2,k)": target / (target + (rater + error) / k),
        "ICC(3,1)": target / (target + error),
        "ICC(3,k)": target / (target + error / k),
    }
    assert {form: one.estimate for form, one in found.coefficients.items()} == pytest.approx(known, abs=1e-5)


@pytest.mark.parametrize("name", [name for name in UNBALANCED if name != "no_sessions"])
def test_single_raters_of_unbalanced_ratings_equal_psych(name: str) -> None:
    expected = stored("interrater")[name]["psych"]["estimate"]
    found = intraclass(reference.long(reference.table(name))).coefficients
    # psych lets lme4 stop where its optimiser stops by default.
    for form in ("ICC(2,1)", "ICC(3,1)"):
        assert found[form].estimate == pytest.approx(expected[PSYCH[form]], abs=2e-4), form


@pytest.mark.parametrize("name", UNBALANCED)
@pytest.mark.parametrize("model", ["one_way", "two_way"])
def test_restricted_likelihood_equals_lme4(name: str, model: str) -> None:
    rows = reference.long(reference.table(name))
    group, rater = np.zeros(rows["target"].nunique(), dtype=int), rows["rater"].to_numpy()
    two_way = model == "two_way"
    sums = rating_sums(rows["target"].to_numpy(), group, rater if two_way else None, rows["value"].to_numpy())
    found = non_negative(sums, raters=two_way)
    assert found.converged.all()
    assert -found.deviance[0] / 2 == pytest.approx(stored("interrater")[name][model]["log_likelihood"], abs=1e-6)


@pytest.mark.parametrize("name", ["few_missing", "many_missing"])
def test_intervals_of_independent_sessions_are_those_of_wald(name: str) -> None:
    expected = stored("interrater")[name]["wald"]
    rows = reference.long(reference.table(name))
    found = intraclass(rows)
    assert found.interval == "exact"
    for form, model in (("ICC(1,1)", "one_way"), ("ICC(3,1)", "two_way")):
        ratio = np.array(expected[model])
        limits = [found.coefficients[form].ci_low, found.coefficients[form].ci_high]
        assert limits == pytest.approx(ratio / (1 + ratio), abs=1e-6), form
    sums = rating_sums(rows["target"].to_numpy(), np.zeros(rows["target"].nunique(), dtype=int), rows["rater"].to_numpy(), rows["value"])
    assert exact_rater_ratio(sums, 0.95) == pytest.approx(expected["raters"], rel=1e-5)


@pytest.mark.parametrize("name", ["few_missing", "many_missing"])
def test_leaving_out_therapists_equals_a_loop_over_lme4(name: str) -> None:
    expected = stored("interrater")[name]["jackknife"]
    rows = reference.long(reference.table(name))
    found = intraclass(rows.assign(client=rows["target"] // 2, therapist=rows["target"] // 6))
    assert found.interval == "cluster_jackknife"
    for at, form in enumerate(("ICC(1,k)", "ICC(3,k)")):
        one = found.coefficients[form]
        assert one.std_error / (1 - one.estimate) == pytest.approx(expected["std_error"][at], rel=1e-4), form
        assert [one.ci_low, one.ci_high] == pytest.approx([expected["low"][at], expected["high"][at]], abs=1e-4), form


def test_a_mean_difference_of_two_raters_is_that_of_the_pairs() -> None:
    values = reference.table("few_missing")
    rows = reference.long(values)
    found = mean_differences(rows).iloc[0]
    difference = values[:, 0] - values[:, 1]
    difference = pd.Series(difference[np.isfinite(difference)])
    assert found["difference"] == pytest.approx(difference.mean(), abs=1e-12)
    # Of a mean the jackknife's standard error is the usual one; with each client left out it is by the normal.
    assert found["std_error"] == pytest.approx(difference.sem(), rel=1e-9)
    assert (found["n_targets"], found["method"]) == (len(difference), "client_jackknife")
