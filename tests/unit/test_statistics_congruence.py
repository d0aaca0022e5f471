"""Response surfaces, agreement of two raters, truth and bias, ratios: what holds by construction, and what cannot be estimated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from alliance.statistics import dyads
from alliance.statistics.response_surface import (
    AXES,
    LINES,
    MODELS,
    bands,
    compare_models,
    conditions,
    logistic_polynomial,
    polynomial,
    polynomial_over_sites,
    polynomial_within,
    surface,
    surface_parameters,
    surface_slopes,
    verdict,
)

BOUNDS = {"axis": 0.5, "slope": 0.2}


def ratings(n: int = 400, seed: int = 1, therapists: int = 40):
    random = np.random.default_rng(seed)
    x = random.standard_normal(n)
    y = 0.4 * x + 0.9 * random.standard_normal(n)
    return x, y, np.arange(n) % therapists, random


def table_of(fitted):
    return surface(fitted.b, fitted.vcov, fitted.df)


def test_a_surface_of_squared_differences_is_flat_along_agreement_and_falls_off_both_sides():
    values = dict(zip((*LINES, *AXES), surface_parameters([1, 0, 0, -0.5, 1.0, -0.5])))
    assert values["a1"] == values["a2"] == values["a3"] == values["a5"] == 0 and values["a4"] == -2
    assert values["p11"] == pytest.approx(1) and values["p21"] == pytest.approx(-1)
    assert np.isnan(values["x0"]) or np.isinf(values["x0"])


def test_the_stationary_point_lies_on_both_principal_axes_and_has_no_slope():
    b = np.array([0.3, 0.4, -0.2, -0.5, 0.3, -0.4])
    _, _, _, _, _, x0, y0, p10, p11, p20, p21 = surface_parameters(b)
    assert b[1] + 2 * b[3] * x0 + b[4] * y0 == pytest.approx(0) and b[2] + b[4] * x0 + 2 * b[5] * y0 == pytest.approx(0)
    assert y0 == pytest.approx(p10 + p11 * x0) and y0 == pytest.approx(p20 + p21 * x0)
    assert p11 * p21 == pytest.approx(-1)


def test_slopes_of_the_surface_are_those_of_small_steps():
    b = np.array([0.3, 0.4, -0.2, -0.5, 0.3, -0.4])
    for place in range(6):
        step = np.eye(6)[place] * 1e-6
        numeric = (surface_parameters(b + step) - surface_parameters(b - step)) / 2e-6
        assert surface_slopes(b)[:, place] == pytest.approx(numeric, abs=1e-6)


@pytest.mark.parametrize("kind, sign", [("congruence", 1.0), ("complementarity", -1.0)])
def test_an_outcome_of_alike_or_opposite_ratings_supports_its_own_claim_only(kind, sign):
    x, y, therapist, random = ratings(2000)
    fitted = polynomial(x, y, -0.5 * (x - sign * y) ** 2 + 0.3 * random.standard_normal(len(x)), None, therapist)
    found = table_of(fitted)
    assert verdict(conditions(found, kind, BOUNDS, fitted.df)) == "supported"
    other = "complementarity" if kind == "congruence" else "congruence"
    assert verdict(conditions(found, other, BOUNDS, fitted.df)) == "not_supported"


def test_an_additive_outcome_supports_no_claim_and_no_model_of_agreement():
    x, y, therapist, random = ratings(600, seed=4)
    fitted = polynomial(x, y, 0.5 * x + 0.3 * y + random.standard_normal(len(x)), None, therapist)
    judged = conditions(table_of(fitted), "congruence", BOUNDS, fitted.df, curved=fitted.curvature_p < 0.05)
    assert verdict(judged) in ("not_supported", "undecided")
    models = compare_models(fitted.products, fitted.n_rows, 1).set_index("model")
    assert models["weight"].idxmax() == "additive" and list(models.index) == list(MODELS)
    assert models["weight"].sum() == pytest.approx(1) and models.loc["full", "r_squared"] == models["r_squared"].max()


def test_axes_of_a_surface_that_may_be_flat_decide_nothing():
    x, y, therapist, random = ratings(300, seed=2)
    fitted = polynomial(x, y, random.standard_normal(len(x)), None, therapist)
    judged = conditions(table_of(fitted), "congruence", BOUNDS, fitted.df, curved=False)
    assert {one.decision for one in judged if one.name.startswith("p")} == {"undecided"}
    assert verdict(judged) != "supported"


def test_both_ratings_measured_from_another_constant_give_the_same_curvatures():
    x, y, therapist, random = ratings()
    z = 0.3 * x - 0.2 * (x - y) ** 2 + random.standard_normal(len(x))
    one, moved = polynomial(x, y, z, None, therapist), polynomial(x + 2, y + 2, z, None, therapist)
    assert moved.b[3:] == pytest.approx(one.b[3:], abs=1e-8)
    # The axes move with the constant, their directions do not.
    kept = [(*LINES, *AXES).index(name) for name in ("a2", "a4", "a5", "p11", "p21")]
    assert surface_parameters(moved.b)[kept] == pytest.approx(surface_parameters(one.b)[kept], abs=1e-7)
    assert surface_parameters(moved.b)[5:7] == pytest.approx(surface_parameters(one.b)[5:7] + 2, abs=1e-6)


def test_one_site_among_several_counts_as_by_itself_with_its_own_intercept():
    x, y, therapist, random = ratings()
    z = 0.3 * x - 0.2 * (x - y) ** 2 + random.standard_normal(len(x))
    alone = polynomial(x, y, z, None, therapist)
    joint = polynomial_over_sites(x, y, z, np.zeros(len(x)), None, therapist)
    assert joint.b[1:] == pytest.approx(alone.b[1:]) and joint.vcov[1:, 1:] == pytest.approx(alone.vcov[1:, 1:])
    shifted = np.where(therapist < 20, 10.0, 0.0)
    sites = polynomial_over_sites(x, y, z + shifted, therapist < 20, None, therapist)
    unshifted = polynomial_over_sites(x, y, z, therapist < 20, None, therapist)
    assert sites.b[1:] == pytest.approx(unshifted.b[1:]) and sites.vcov[1:, 1:] == pytest.approx(unshifted.vcov[1:, 1:])


def test_what_differs_between_clients_does_not_enter_the_surface_within_clients():
    random = np.random.default_rng(3)
    client = np.repeat(np.arange(60), 6)
    x, y = random.standard_normal((2, len(client)))
    z = 0.2 * x - 0.3 * (x - y) ** 2 + random.standard_normal(len(client))
    one = polynomial_within(x, y, z, client, None, client % 15)
    level = 5 * random.standard_normal(60)[client]
    other = polynomial_within(x + level, y - level, z + 3 * level, client, None, client % 15)
    assert other.b[1:] == pytest.approx(one.b[1:]) and np.isnan(other.b[0]) and other.method == "cluster_jackknife"


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda x, y, z: (x[:6], y[:6], z[:6]), "needs at least 8 rows"),
        (lambda x, y, z: (x, 0 * y, z), "does not vary"),
        (lambda x, y, z: (x, 1 - x, z), "determine each other"),
        (lambda x, y, z: (x, np.sign(y), z), "too few different values|does not vary"),
    ],
)
def test_a_polynomial_that_cannot_be_fitted_says_what_it_needs(change, words):
    x, y, _, random = ratings(80)
    fitted = polynomial(*change(x, y, random.standard_normal(80)))
    assert np.isnan(fitted.b).all() and fitted.method == "none"
    assert pd.Series([fitted.reason]).str.contains(words).all()


def test_few_therapists_are_told_and_clients_taken_as_independent():
    x, y, therapist, random = ratings(120)
    fitted = polynomial(x, y, x + random.standard_normal(120), None, therapist % 3)
    assert fitted.method == "client_jackknife" and "fewer than" in fitted.caution and np.isinf(fitted.df)


def test_dropout_that_a_surface_tells_exactly_has_no_estimate_and_few_events_are_refused():
    x, y, therapist, random = ratings(200)
    assert "separated" in logistic_polynomial(x, y, (x + y > 0).astype(float), None, therapist).reason
    few = np.zeros(200)
    few[:5] = 1
    assert "needs at least 12" in logistic_polynomial(x, y, few, None, therapist).reason
    chance = (random.random(200) < 0.2).astype(float)
    assert "few events" in logistic_polynomial(x, y, chance, None, therapist).caution


def test_bands_put_a_client_on_the_side_of_the_rater_who_is_higher():
    assert bands([0, 1, 0, 0.4], [0, 0, 1, 0.9], 0.5).tolist() == [0, -1, 1, 0]


def test_limits_of_agreement_hold_95_percent_of_differences_whose_true_value_varies():
    random = np.random.default_rng(5)
    client = np.repeat(np.arange(400), 5)
    difference = 0.5 + random.standard_normal(400)[client] + random.standard_normal(2000)
    first = random.standard_normal(2000)
    found = dyads.limits_of_agreement(first, first - difference, client)
    mean, low, high, between, within, _ = found.estimate
    assert (low, high) == pytest.approx((mean - 1.96 * np.sqrt(2), mean + 1.96 * np.sqrt(2)), abs=0.15)
    assert (between, within) == pytest.approx((1, 1), abs=0.1)
    assert np.mean((difference > low) & (difference < high)) == pytest.approx(0.95, abs=0.01)


def test_one_session_a_client_has_all_variance_of_differences_between_clients():
    random = np.random.default_rng(6)
    x, y = random.standard_normal((2, 50))
    mean, low, high, between, within, concordance = dyads.limits_of_agreement(x, y, np.arange(50)).estimate
    assert within == 0 and between == pytest.approx((x - y).std(ddof=1))
    assert high - mean == pytest.approx(1.959964 * between) and mean - low == pytest.approx(high - mean)
    assert np.tanh(concordance) == pytest.approx(2 * np.cov(x, y, ddof=0)[0, 1] / (x.var() + y.var() + (x - y).mean() ** 2))


def test_a_judge_who_repeats_the_truth_has_no_bias_and_tracks_fully():
    random = np.random.default_rng(7)
    client = np.repeat(np.arange(80), 5)
    truth = random.standard_normal(80)[client] + random.standard_normal(400)
    frame = pd.DataFrame({"truth": truth, "judge": truth + 0.01 * random.standard_normal(400), "client": client, "therapist": client % 20})
    model = dyads.truth_and_bias(frame)
    assert model.coefficients["estimate"].to_numpy() == pytest.approx([0, 1, 1], abs=0.01)
    moved = dyads.truth_and_bias(frame.assign(judge=frame["judge"] - 0.7))
    assert moved.coefficients.loc["1", "estimate"] == pytest.approx(model.coefficients.loc["1", "estimate"] - 0.7)


def test_without_repeated_sessions_there_is_no_tracking_within_clients():
    random = np.random.default_rng(8)
    frame = pd.DataFrame({"truth": random.standard_normal(60), "judge": random.standard_normal(60), "client": np.arange(60)})
    frame["therapist"] = frame["client"] % 12
    assert list(dyads.truth_and_bias(frame).coefficients.index) == ["1", "between"]
    assert len(dyads.moderated(frame.assign(m=random.standard_normal(60)), "m").estimate) == 1


def test_a_ratio_has_the_interval_of_fieller_and_none_where_its_denominator_may_be_zero():
    found = dyads.ratio(0.2, 0.4, [[0.01, 0.002], [0.002, 0.01]], 20)
    for limit in (found.ci_low, found.ci_high):
        error = np.sqrt(0.01 - 2 * limit * 0.002 + limit**2 * 0.01)
        assert abs(0.2 - limit * 0.4) / error == pytest.approx(2.0859634)
    none = dyads.ratio(0.2, 0.1, [[0.01, 0], [0, 0.01]], 20)
    assert np.isnan(none.estimate) and "actor effect that differs from zero" in none.reason
