"""Hazard models: what cannot be estimated, boundaries, strata, order and grouping of rows; curves at their edges."""

from __future__ import annotations

import numpy as np
import pytest
from alliance.statistics.competing_risks import cumulative_incidence, cumulative_risk, share_interval, subdistribution_rows
from alliance.statistics.discrete_time_hazard import fit_without_each, hazard_model


def rows(n=600, therapists=15, frailty=0.6, seed=2):
    random = np.random.default_rng(seed)
    therapist = random.integers(0, therapists, n)
    x = random.standard_normal((n, 2))
    linear = -1.5 - 0.5 * x[:, 0] + 0.3 * x[:, 1] + (frailty * random.standard_normal(therapists))[therapist]
    return (random.random(n) < -np.expm1(-np.exp(linear))).astype(float), x, therapist


NAMES = ["alliance", "severity"]


@pytest.mark.parametrize("link", ["cloglog", "logit"])
@pytest.mark.parametrize("clusters", [False, True])
def test_separation_is_named(link, clusters):
    y, x, therapist = rows()
    x = np.column_stack([x, np.where(y > 0, 1.0, np.arange(len(y)) % 2)])
    model = hazard_model(y, x, [*NAMES, "flag"], therapist if clusters else None, link=link)
    assert model.status == "not_estimable"
    assert model.reason == "flag tells without error who has the event (separation)"
    assert model.coefficients.isna().all(axis=None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda y, x: (y * 0, x), "needs sessions with and without the event"),
        (lambda y, x: (y, np.column_stack([x[:, 0], np.full(len(x), 3.0)])), "severity does not vary"),
        (lambda y, x: (y, np.column_stack([x[:, 0], 2 * x[:, 0] + 1])), "severity is determined by the others"),
    ],
)
def test_what_no_model_can_be_fitted_to_is_said(change, reason):
    y, x, therapist = rows()
    y, x = change(y, x)
    model = hazard_model(y, x, NAMES, therapist)
    assert (model.status, model.reason) == ("not_estimable", reason)


def test_a_frailty_that_does_not_raise_the_likelihood_is_zero_and_the_model_is_the_plain_one():
    y, x, therapist = rows(frailty=0.0, seed=4)
    plain, mixed = hazard_model(y, x, NAMES), hazard_model(y, x, NAMES, therapist)
    assert mixed.frailty_sd == 0 and mixed.frailty_p == 1 and mixed.frailty_low == 0 and 0 < mixed.frailty_high < 1
    assert mixed.coefficients["estimate"].to_numpy() == pytest.approx(plain.coefficients["estimate"].to_numpy(), abs=1e-9)
    assert mixed.log_likelihood == pytest.approx(plain.log_likelihood, abs=1e-9)


def test_a_frailty_that_is_there_is_found_and_tested_at_the_boundary():
    y, x, therapist = rows(n=3000, therapists=60)
    mixed = hazard_model(y, x, NAMES, therapist)
    assert mixed.frailty_low < 0.6 < mixed.frailty_high
    twice = 2 * (mixed.log_likelihood - mixed.log_likelihood_independent)
    assert 0 < mixed.frailty_p < 0.001 and twice > 10


@pytest.mark.parametrize("link", ["cloglog", "logit"])
def test_order_of_rows_does_not_matter(link):
    y, x, therapist = rows()
    order = np.random.default_rng(1).permutation(len(y))
    first = hazard_model(y, x, NAMES, therapist, link=link)
    second = hazard_model(y[order], x[order], NAMES, therapist[order], link=link)
    assert second.coefficients.to_numpy() == pytest.approx(first.coefficients.to_numpy(), rel=1e-8)
    assert second.frailty_sd == pytest.approx(first.frailty_sd, rel=1e-7)


@pytest.mark.parametrize("link", ["cloglog", "logit"])
def test_rows_alike_count_as_often_as_they_stand_there(link):
    y, x, therapist = rows(n=2000)
    coarse = np.round(x)
    whole = hazard_model(y, coarse, NAMES, therapist, link=link, interval=False)
    # A hair's breadth between rows keeps them from being grouped.
    apart = coarse + np.linspace(0, 1e-9, len(y))[:, None]
    single = hazard_model(y, apart, NAMES, therapist, link=link, interval=False)
    assert whole.coefficients.to_numpy() == pytest.approx(single.coefficients.to_numpy(), rel=1e-5)
    doubled = hazard_model(y, x, NAMES, weights=np.full(len(y), 2.0), link=link)
    once = hazard_model(y, x, NAMES, link=link)
    assert doubled.coefficients["std_error"].to_numpy() == pytest.approx(once.coefficients["std_error"].to_numpy() / np.sqrt(2))


def test_strata_in_which_nobody_or_everybody_has_the_event_are_left_out_and_named():
    y, x, therapist = rows()
    site = np.array([f"s{number % 4}" for number in therapist])
    y = np.where(site == "s1", 0.0, np.where(site == "s2", 1.0, y))
    model = hazard_model(y, x, NAMES, therapist, site)
    assert set(model.strata_left_out) == {"s1", "s2"}
    kept = ~np.isin(site, ["s1", "s2"])
    alone = hazard_model(y[kept], x[kept], NAMES, therapist[kept], site[kept])
    assert model.coefficients.to_numpy() == pytest.approx(alone.coefficients.to_numpy(), rel=1e-9)
    assert model.n_rows == alone.n_rows == kept.sum()


def test_wrong_input_is_refused():
    y, x, therapist = rows()
    for options, message in (
        ({"link": "probit"}, "link must be one of"),
        ({"nodes": 1}, "at least 5 nodes"),
        ({"strata": np.arange(len(y)) % 2, "clusters": therapist}, "a cluster lies in several strata"),
    ):
        with pytest.raises(ValueError, match=message):
            hazard_model(y, x, NAMES, **options)
    with pytest.raises(ValueError, match="without missing values"):
        hazard_model(y, np.where(x > 2, np.nan, x), NAMES)


def test_without_a_group_that_alone_has_the_event_there_is_no_estimate():
    y, x, _ = rows()
    groups = np.where(y > 0, 0, 1 + np.arange(len(y)) % 5)
    whole, without = fit_without_each(y, x, NAMES, groups)
    assert whole.found and np.isnan(without[0]).all() and np.isfinite(without[1:]).all()


def test_strata_without_the_event_have_a_hazard_of_zero_when_groups_are_left_out():
    y, x, therapist = rows()
    session = np.arange(len(y)) % 6
    y = np.where(session == 3, 0.0, np.where(session == 4, 1.0, y))
    whole, without = fit_without_each(y, x, NAMES, therapist, session)
    assert whole.intercepts[3] == -np.inf and whole.intercepts[4] == np.inf and np.isfinite(whole.intercepts[[0, 1, 2, 5]]).all()
    assert np.isfinite(without[:, -2:]).all()


def test_curves_end_where_all_who_are_left_end_together():
    found = cumulative_incidence([10, 6, 2], [2, 2, 0], [2, 2, 2])
    assert found.staying == pytest.approx([0.6, 0.2, 0.0])
    assert found.incidence == pytest.approx([0.2, 0.4, 0.4])
    assert np.isfinite(found.incidence_error).all() and found.staying_error[-1] == 0


def test_without_other_endings_incidence_and_staying_add_up_to_all():
    found = cumulative_incidence([50, 40, 30], [5, 6, 7], [0, 0, 0])
    assert found.staying + found.incidence == pytest.approx(np.ones(3))
    assert found.staying_error == pytest.approx(found.incidence_error)


def test_limits_of_shares_stay_inside_zero_and_one():
    low, high = share_interval([0.02, 0.5, 0.98, 0.0, 1.0], [0.019, 0.3, 0.019, 0.0, 0.0], 0.95)
    assert (low[:3] > 0).all() and (high[:3] < 1).all() and np.isnan([low[3], high[3], low[4], high[4]]).all()


def test_risks_follow_from_hazards_with_planned_endings_taken_out_first_come():
    assert cumulative_risk([0.1, 0.2], [0.0, 0.0]) == pytest.approx([0.1, 0.28])
    assert cumulative_risk([0.1, 0.2], [0.5, 0.0]) == pytest.approx([0.1, 0.18])
    assert cumulative_risk([0.3, 0.3], [1.0, 0.0]) == pytest.approx([0.3, 0.3])


def test_without_censoring_clients_who_ended_otherwise_stay_at_risk_to_the_last_session():
    client, session, event, weight = subdistribution_rows([2, 1, 3], [1, 2, 1], 3)
    assert list(zip(client, session, event)) == [(0, 1, 0), (0, 2, 1), (1, 1, 0), (1, 2, 0), (1, 3, 0), (2, 1, 0), (2, 2, 0), (2, 3, 1)]
    assert (weight == 1).all()
