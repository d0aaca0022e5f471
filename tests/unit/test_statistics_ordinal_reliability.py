"""Categorical omega: parallel scores, what intervals cover, therapists and clients left out, and improper solutions."""

from __future__ import annotations

import numpy as np
import pytest
from alliance.statistics.ordinal_reliability import categorical_omega, one_factor, ordinal_reliability

LOADINGS = np.array([0.8, 0.7, 0.6, 0.75, 0.5, 0.65])
CUTS = (-1.5, -0.9, -0.1, 0.8)


def site(seed: int, therapists: int, share: float = 0.15, clients: int = 8, cuts: tuple = CUTS) -> tuple[np.ndarray, np.ndarray]:
    """Return items of clients of therapists, who have a share in the factor and in the errors."""
    random = np.random.default_rng(seed)
    therapist = np.repeat(np.arange(therapists), clients)
    inside, outside = np.sqrt(1 - share), np.sqrt(share)
    factor = outside * random.normal(size=(therapists, 1))[therapist] + inside * random.normal(size=(len(therapist), 1))
    error = outside * random.normal(size=(therapists, 6))[therapist] + inside * random.normal(size=(len(therapist), 6))
    return np.digitize(factor * LOADINGS + np.sqrt(1 - LOADINGS**2) * error, cuts).astype(float), therapist


def test_categorical_omega_is_the_correlation_of_parallel_sum_scores() -> None:
    random = np.random.default_rng(1)
    cuts, steps = np.array([-1.0, 0.2, 1.4]), np.array([1.0, 2.0, 0.5])
    scores = np.r_[0, np.cumsum(steps)]
    factor = random.normal(size=(400_000, 1))
    sums = [
        scores[np.digitize(factor * LOADINGS + np.sqrt(1 - LOADINGS**2) * random.normal(size=(400_000, 6)), cuts)].sum(axis=1)
        for _ in range(2)
    ]
    expected = np.corrcoef(*sums)[0, 1]
    assert categorical_omega(LOADINGS, np.tile(cuts, (6, 1)), steps=steps) == pytest.approx(
        expected, abs=4 / np.sqrt(400_000) * (1 - expected**2)
    )


def test_a_category_that_nobody_chose_still_counts_as_a_step_of_the_score() -> None:
    random = np.random.default_rng(2)
    factor = random.normal(size=(200_000, 1))
    forms = [np.digitize(factor * LOADINGS + np.sqrt(1 - LOADINGS**2) * random.normal(size=(200_000, 6)), CUTS) for _ in range(2)]
    for items in forms:
        items[:, :2] = np.where(items[:, :2] == 1, 2, items[:, :2])
        items[:, 2] = np.minimum(items[:, 2], 3)
    expected = np.corrcoef(*(items.sum(axis=1) for items in forms))[0, 1]
    assert ordinal_reliability(forms[0]).categorical_omega.estimate == pytest.approx(expected, abs=0.004)


def test_intervals_are_those_of_estimating_again_without_each_therapist() -> None:
    items, therapist = site(3, 12)
    items[::17, 2] = np.nan
    found = ordinal_reliability(items, therapist)
    assert (found.method, found.df, found.n_clusters, found.status) == ("cluster_jackknife", 11.0, 12, "estimated")
    for name in ("categorical_omega", "ordinal_omega", "ordinal_alpha"):
        left_out = [getattr(ordinal_reliability(items[therapist != one]), name).estimate for one in range(12)]
        logs = np.log(1 - np.array(left_out))
        error = np.sqrt(11 / 12 * ((logs - logs.mean()) ** 2).sum())
        coefficient = getattr(found, name)
        assert coefficient.std_error == pytest.approx((1 - coefficient.estimate) * error, rel=1e-5)
        assert np.log(1 - coefficient.ci_low) - np.log(1 - coefficient.estimate) == pytest.approx(2.20098516 * error, rel=1e-5)
        assert np.log(1 - coefficient.ci_high) - np.log(1 - coefficient.estimate) == pytest.approx(-2.20098516 * error, rel=1e-5)


@pytest.mark.parametrize(("therapists", "known"), [(15, True), (30, True), (20, False)])
def test_intervals_cover_the_true_value(therapists: int, known: bool) -> None:
    truth, covered = categorical_omega(LOADINGS, np.tile(CUTS, (6, 1))), []
    for seed in range(200):
        items, therapist = site(1000 + seed, therapists, share=0.15 if known else 0.0)
        omega = ordinal_reliability(items, therapist if known else None).categorical_omega
        covered.append(omega.ci_low <= truth <= omega.ci_high)
    assert np.mean(covered) == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / 200))


def test_few_therapists_leave_out_clients_and_say_so() -> None:
    items, therapist = site(4, 20)
    few = ordinal_reliability(items, therapist // 5)
    assert (few.method, few.n_clusters, few.status, few.df) == ("client_jackknife", 4, "flagged", 49.0)
    assert few.reason == "fewer than 5 therapists (4): clients taken as independent"
    unknown = ordinal_reliability(items)
    assert (unknown.reason, unknown.status) == ("", "estimated")
    assert unknown.categorical_omega.ci_low == few.categorical_omega.ci_low
    assert ordinal_reliability(items[:90]).df == 89


def test_the_order_of_clients_does_not_matter() -> None:
    items, therapist = site(5, 20)
    order = np.random.default_rng(6).permutation(len(items))
    for clusters, again in ((therapist, therapist[order]), (None, None)):
        found, moved = ordinal_reliability(items, clusters), ordinal_reliability(items[order], again)
        assert moved.categorical_omega.estimate == pytest.approx(found.categorical_omega.estimate, rel=1e-12)
        assert moved.categorical_omega.std_error == pytest.approx(found.categorical_omega.std_error, rel=1e-9)


def test_one_factor_gives_back_loadings_and_has_no_better_neighbour() -> None:
    exact = np.outer(LOADINGS, LOADINGS)
    np.fill_diagonal(exact, 1.0)
    assert one_factor(exact) == pytest.approx(LOADINGS, abs=1e-8)
    random = np.random.default_rng(7)
    r = np.corrcoef(random.normal(size=(40, 1)) * LOADINGS + 0.7 * random.normal(size=(40, 6)), rowvar=False)
    best = one_factor(r)

    def misfit(loadings: np.ndarray) -> float:
        left = r - np.outer(loadings, loadings)
        return float((left[np.triu_indices(6, 1)] ** 2).sum())

    assert all(misfit(best) <= misfit(best + 1e-3 * random.normal(size=6)) for _ in range(200))
    assert one_factor(np.stack([exact, r]))[1] == pytest.approx(best, abs=1e-8)


def test_a_reversed_item_is_flagged() -> None:
    items, therapist = site(8, 20)
    items[:, 1] = 4 - items[:, 1]
    found = ordinal_reliability(items, therapist)
    assert (found.status, found.reason) == ("flagged", "1 of 6 items load against the others: are they to be reversed?")
    assert found.loadings[1] < 0


def test_a_loading_beyond_one_is_refused() -> None:
    random = np.random.default_rng(9)
    # Correlations .9, .9 and .6 need a loading of 1.16.
    normal = random.multivariate_normal(np.zeros(3), [[1, 0.9, 0.9], [0.9, 1, 0.65], [0.9, 0.65, 1]], 400)
    found = ordinal_reliability(np.digitize(normal, [-1, 0, 1]))
    assert found.status == "not_estimable"
    assert found.reason.startswith("improper solution: the loading of an item is 1.")
    assert np.isnan(found.categorical_omega.estimate) and np.isnan(found.ordinal_alpha.estimate)


def test_what_cannot_be_estimated_says_what_it_needs() -> None:
    items, therapist = site(10, 10)
    assert ordinal_reliability(items[:, :2]).reason == "needs at least 3 items; has 2"
    assert ordinal_reliability(items[:8]).reason == "needs at least 10 clients; has 8"
    assert ordinal_reliability(items * np.array([1, 1, 1, 1, 1, 0])).reason.startswith("needs at least 2 categories chosen in every item")
    twice = ordinal_reliability(np.column_stack([items, items[:, 0]]))
    assert (twice.status, twice.reason[:38]) == ("not_estimable", "1 pairs of items all but determine eac")
    with pytest.raises(ValueError, match="every row needs a cluster"):
        ordinal_reliability(items, np.where(therapist == 0, np.nan, therapist))
