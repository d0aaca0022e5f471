"""Tests of measurement invariance: the rule of decision, what is tested and what is not, recovery of planted differences."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from alliance.statistics import invariance
from alliance.statistics.invariance import Cutoffs, fit_falls, invariance_of_groups, invariance_of_occasions
from alliance.statistics.resampling import generator
from alliance.statistics.structural_fit import Moments

ITEMS = tuple(f"i{number}" for number in range(1, 13))
FACTORS = {"task": ITEMS[:4], "bond": ITEMS[4:8], "goal": ITEMS[8:]}
ONE = {"all": ITEMS[:6]}
LENIENT = Cutoffs()


def answers(random, n, loadings=(), intercepts=(), mean=0.0, spread=1.0, residual=0.7):
    """Return twelve items of three factors; ``loadings`` and ``intercepts`` are pairs of an item's number and a change."""
    loading, level = np.full(12, 0.8), np.full(12, 4.0)
    for item, change in loadings:
        loading[item - 1] += change
    for item, change in intercepts:
        level[item - 1] += change
    correlation = np.full((3, 3), 0.5) + 0.5 * np.eye(3)
    factors = mean + spread * random.standard_normal((n, 3)) @ np.linalg.cholesky(correlation).T
    return level + loading * np.repeat(factors, 4, axis=1) + residual * random.standard_normal((n, 12))


def moments_of(values, names=ITEMS):
    return Moments(len(values), np.cov(values, rowvar=False), values.mean(axis=0), names)


def decisions(found):
    return {step.model: step.decision for step in found.steps}


def freed(found):
    return {(one.kind, one.item) for step in found.steps for one in step.freed}


@pytest.mark.parametrize(
    ("step", "cfi", "rmsea", "srmr", "fails"),
    [
        ("metric", 0.0, 0.0, 0.0, False),
        ("metric", -0.010, 0.0, 0.0, False),
        ("metric", -0.010, 0.015, 0.0, True),
        ("metric", -0.010, 0.0149, 0.0299, False),
        ("metric", -0.010, 0.0, 0.030, True),
        ("metric", -0.010, 0.0, 0.010, False),
        ("metric", -0.0099, 0.015, 0.030, False),
        ("metric", 0.010, 0.015, 0.030, False),
        ("scalar", -0.010, 0.0, 0.010, True),
        ("scalar", -0.010, 0.0, 0.0099, False),
        ("scalar", -0.010, 0.015, 0.0, True),
        ("scalar", -0.0099, 0.015, 0.010, False),
        ("strict", -0.010, 0.0, 0.010, True),
        ("strict", -0.010, 0.0149, 0.0099, False),
        ("strict", -0.5, -0.5, -0.5, False),
    ],
)
def test_a_step_fails_where_cfi_falls_and_rmsea_or_srmr_rises(step, cfi, rmsea, srmr, fails):
    assert fit_falls(step, cfi, rmsea, srmr, LENIENT) is fails


def test_a_change_that_equals_its_cutoff_counts_whatever_its_last_digit():
    fall, rise = 0.803 - 0.813, 0.036 - 0.021
    assert -fall < 0.010 and rise < 0.015
    assert fit_falls("metric", fall, rise, 0.0, LENIENT)


def test_invariant_groups_hold_up_to_strict_invariance_and_have_the_means_they_were_given():
    random = generator(1, "invariance", "holds")
    values = [answers(random, 2000), answers(random, 2000, mean=0.5, spread=0.8), answers(random, 2000, mean=-0.3)]
    found = invariance_of_groups(FACTORS, [moments_of(one) for one in values], ["a", "b", "c"])
    assert decisions(found) == {"configural": "holds", "metric": "holds", "scalar": "holds", "strict": "holds"}
    assert found.highest.model == "strict"
    means = found.latent_means()
    assert means.loc[means["group"].eq("a"), "mean"].tolist() == [0.0, 0.0, 0.0]
    for group, true in (("b", 0.5), ("c", -0.3)):
        rows = means[means["group"].eq(group)]
        assert (np.abs(rows["mean"] - true) < 3.5 * rows["std_error"]).all()


@pytest.mark.parametrize("seed", range(5))
def test_planted_loadings_and_intercepts_are_found_and_the_means_stay_right(seed):
    random = generator(seed, "invariance", "planted")
    other = answers(random, 800, loadings=[(2, -0.45), (7, 0.5)], intercepts=[(10, 0.8)], mean=0.4)
    found = invariance_of_groups(FACTORS, [moments_of(answers(random, 800)), moments_of(other)], ["a", "b"], largest_freed_share=0.34)
    assert decisions(found) | {"strict": ""} == {
        "configural": "holds",
        "metric": "fails",
        "partial_metric": "holds",
        "scalar": "not_estimable",
        "partial_scalar": "holds",
        "strict": "",
    }
    assert {("loading", "i2"), ("loading", "i7"), ("intercept", "i10")} >= freed(found) - {("intercept", "i2"), ("intercept", "i7")}
    assert ("intercept", "i10") in freed(found)
    rows = found.latent_means()
    rows = rows[rows["group"].eq("b")]
    assert (np.abs(rows["mean"] - 0.4) < 3.5 * rows["std_error"]).all()
    values = found.freed_parameters().set_index(["model", "kind", "item", "group"])["estimate"]
    difference = values["partial_scalar", "intercept", "i10", "b"] - values["partial_scalar", "intercept", "i10", "a"]
    assert difference == pytest.approx(0.8, abs=0.25)


def test_ignoring_a_planted_intercept_would_bias_the_means():
    """Why partial invariance matters: with the intercept held equal, the mean of its factor takes the difference up."""
    random = generator(4, "invariance", "bias")
    groups = [moments_of(answers(random, 4000)), moments_of(answers(random, 4000, intercepts=[(1, 1.2)]))]
    held = invariance_of_groups(FACTORS, groups, ["a", "b"], Cutoffs(2.0, 2.0, 2.0, 2.0)).latent_means()
    partial = invariance_of_groups(FACTORS, groups, ["a", "b"]).latent_means()
    task = lambda rows: rows.loc[rows["group"].eq("b") & rows["factor"].eq("task"), "mean"].item()  # noqa: E731
    assert task(held) > 0.2
    assert abs(task(partial)) < 0.1


def test_nothing_is_tested_after_a_step_that_fails_for_good():
    random = generator(2, "invariance", "fails")
    other = answers(random, 600, loadings=[(item, change) for item, change in zip(range(1, 13), [-0.6, 0.6] * 6)])
    found = invariance_of_groups(FACTORS, [moments_of(answers(random, 600)), moments_of(other)], ["a", "b"])
    assert decisions(found) == {"configural": "holds", "metric": "fails", "partial_metric": "fails", "scalar": "not_estimable"}
    assert found.steps[-1].reason == "not tested: partial_metric fails"
    assert found.highest.model == "configural"
    assert found.means_step is None and found.latent_means().empty
    assert len(freed(found)) == 2


def test_two_items_a_factor_stay_equal_and_small_scales_have_no_partial_invariance():
    random = generator(5, "invariance", "few")
    factors = {"task": ITEMS[:3], "bond": ITEMS[4:7]}
    other = answers(random, 900, loadings=[(1, -0.6), (2, 0.6), (5, 0.7)])
    groups = [moments_of(answers(random, 900)), moments_of(other)]
    found = invariance_of_groups(factors, groups, ["a", "b"], largest_freed_share=1.0)
    gone = [item for kind, item in freed(found) if kind == "loading"]
    assert all(len(set(items) - set(gone)) >= 2 for items in factors.values())
    none = invariance_of_groups(factors, groups, ["a", "b"], largest_freed_share=0.1)
    partial = next(step for step in none.steps if step.model == "partial_metric")
    assert (partial.decision, partial.freed) == ("not_estimable", ())
    assert partial.reason == "no loading may be freed: at most 10% of 6 items, and 2 a factor stay equal"


@pytest.mark.parametrize("items", [ITEMS[:4], ITEMS[:4][::-1]])
def test_ties_are_broken_by_the_order_of_the_items(items, monkeypatch):
    random = generator(6, "invariance", "ties")
    groups = [moments_of(answers(random, 500)), moments_of(answers(random, 500, intercepts=[(1, 0.9), (2, 0.9), (3, -0.9)]))]
    monkeypatch.setattr(invariance, "score_test", lambda fitted, plans: [(1.0, 1)] * len(plans))
    found = invariance_of_groups({"task": items}, groups, ["a", "b"], largest_freed_share=0.25)
    assert freed(found) == {("intercept", items[0])}


def test_results_do_not_depend_on_the_order_of_groups_after_the_reference():
    random = generator(7, "invariance", "order")
    groups = {name: moments_of(answers(random, 300, mean=mean)) for name, mean in (("a", 0.0), ("b", 0.3), ("c", -0.2))}
    one = invariance_of_groups(FACTORS, [groups[name] for name in "abc"], list("abc"))
    other = invariance_of_groups(FACTORS, [groups[name] for name in "acb"], list("acb"))
    for first, second in zip(one.steps, other.steps):
        assert first.fitted.fit.chi2 == pytest.approx(second.fitted.fit.chi2, rel=1e-9)
    joined = one.latent_means().merge(other.latent_means(), on=["group", "factor"])
    assert joined["mean_x"].to_numpy() == pytest.approx(joined["mean_y"].to_numpy(), abs=1e-7)


def test_fit_does_not_depend_on_which_group_is_the_reference():
    random = generator(8, "invariance", "reference")
    groups = [moments_of(answers(random, 300, mean=mean, spread=spread)) for mean, spread in ((0.0, 1.0), (0.4, 1.3))]
    one = invariance_of_groups(FACTORS, groups, ["a", "b"])
    other = invariance_of_groups(FACTORS, groups[::-1], ["b", "a"])
    for first, second in zip(one.steps, other.steps):
        assert first.fitted.fit.chi2 == pytest.approx(second.fitted.fit.chi2, rel=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_intercept_of_one_rater_is_found(seed):
    random = generator(seed, "invariance", "raters")
    n, own = 500, 0.4
    common = random.standard_normal((n, 12)) * own
    client = answers(random, n, residual=0.6) + common
    therapist = answers(random, n, intercepts=[(3, 0.9)], mean=-0.5, residual=0.6) + common
    names = [invariance.variable(item, rater) for rater in ("client", "therapist") for item in ITEMS]
    found = invariance_of_occasions(FACTORS, moments_of(np.hstack([client, therapist]), names), ["client", "therapist"])
    assert decisions(found)["scalar"] == "fails"
    assert decisions(found)["partial_scalar"] == "holds"
    assert freed(found) == {("intercept", "i3")}
    rows = found.latent_means()
    rows = rows[rows["group"].eq("therapist")]
    assert (np.abs(rows["mean"] + 0.5) < 3.5 * rows["std_error"]).all()


def test_alignment_finds_the_parameters_that_differ_among_many_groups():
    random = generator(12, "invariance", "alignment")
    means, spreads = random.normal(0, 0.4, 20), np.exp(random.normal(0, 0.15, 20))
    means[0], spreads[0] = 0.0, 1.0
    planted = {("intercept", "i3", "g04"), ("intercept", "i9", "g11"), ("loading", "i6", "g15")}
    groups, names = [], [f"g{place:02d}" for place in range(20)]
    for name, mean, spread in zip(names, means, spreads):
        changes = {
            kind: [(int(item[1:]), 0.8) for one, item, group in planted if (one, group) == (kind, name)]
            for kind in ("loading", "intercept")
        }
        groups.append(moments_of(answers(random, 400, changes["loading"], changes["intercept"], mean, spread)))
    found = invariance_of_groups(FACTORS, groups, names)
    table = invariance.aligned_differences(found.steps[0].fitted, FACTORS, groups, names)
    assert len(table) == 2 * 12 * 20
    largest = table.loc[table["difference"].abs().nlargest(3).index]
    assert set(zip(largest["kind"], largest["item"], largest["group"])) == planted
    others = table.drop(largest.index)
    assert (others["difference"].abs() > 2 * others["std_error"]).mean() < 0.10
    spread_of_z = (others["difference"] / others["std_error"]).std()
    assert 0.7 < spread_of_z < 1.2


def test_improper_and_impossible_models_are_named_and_nothing_follows():
    random = generator(9, "invariance", "improper")
    values = answers(random, 200)[:, :4]
    values[:, 3] = values[:, 2] + 0.05 * random.standard_normal(200)
    improper = invariance_of_groups({"task": ITEMS[:4]}, [moments_of(values, ITEMS[:4]), moments_of(answers(random, 200))], ["a", "b"])
    assert decisions(improper)["configural"] == "not_estimable"
    assert "in group a" in improper.steps[0].reason and improper.steps[0].fitted.status == "flagged"
    assert improper.steps[1].reason == "not tested: configural is not estimable"
    assert improper.highest is None and improper.latent_means().empty

    few = invariance_of_groups(FACTORS, [moments_of(answers(random, 200)), moments_of(answers(random, 8))], ["a", "b"])
    assert few.steps[0].reason == "needs more clients than variables in group b: 8 clients, 12 variables"
    assert few.steps[0].fitted.fit is None


def test_a_fall_of_cfi_alone_is_told():
    random = generator(10, "invariance", "alone")
    groups = [moments_of(answers(random, 700)), moments_of(answers(random, 700, intercepts=[(1, 0.5)]))]
    cutoffs = dataclasses.replace(LENIENT, cfi_drop=0.001, rmsea_rise=0.5, srmr_rise_intercepts=0.5)
    scalar = invariance_of_groups(FACTORS, groups, ["a", "b"], cutoffs).steps[2]
    assert scalar.decision == "holds"
    assert scalar.reason.startswith("CFI falls by 0.0") and scalar.reason.endswith("neither RMSEA nor SRMR rises by its cut-off")


def test_what_cannot_be_tested_is_refused():
    random = generator(11, "invariance", "refused")
    moments = moments_of(answers(random, 100))
    with pytest.raises(ValueError, match="two groups"):
        invariance_of_groups(FACTORS, [moments], ["a"])
    with pytest.raises(ValueError, match="means of every group"):
        invariance_of_groups(FACTORS, [moments, dataclasses.replace(moments, mean=None)], ["a", "b"])
    with pytest.raises(ValueError, match="two occasions"):
        invariance_of_occasions(FACTORS, moments, ["client"])
    with pytest.raises(ValueError, match="means"):
        invariance_of_occasions(FACTORS, dataclasses.replace(moments, mean=None), ["client", "therapist"])


@pytest.mark.parametrize(
    ("factors", "expected"),
    [({}, False), ({"a": "12"}, False), ({"a": "123"}, True), ({"a": "12", "b": "34"}, True), ({"a": "1234", "b": "5"}, False)],
)
def test_models_that_are_identified(factors, expected):
    assert invariance.identified(factors) is expected
