"""The jackknife of functions of sums: where therapists are few, values do not exist, and what its intervals cover."""

from __future__ import annotations

import numpy as np
import pytest
from alliance.statistics.covariance import correlation_matrix, part_correlation, partial_correlation
from alliance.statistics.jackknife import covariance_of_sums, cross_products, jackknife


def first_minus_second(sums: np.ndarray) -> np.ndarray:
    r = correlation_matrix(covariance_of_sums(sums))
    return (r[:, 0, 1] - r[:, 0, 2])[:, None]


def clients(n: int, seed: int, therapists: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    data = random.multivariate_normal(np.zeros(3), [[1, 0.4, 0.4], [0.4, 1, 0.5], [0.4, 0.5, 1]], n)
    return data, np.arange(n) % therapists


def test_contrast_covers_no_difference_with_therapists() -> None:
    covered = []
    for seed in range(300):
        random = np.random.default_rng(seed)
        data, therapist = clients(120, seed, therapists=15)
        found = jackknife(cross_products(data + 0.5 * random.normal(size=(15, 3))[therapist]), first_minus_second, 1, therapist)
        low, high = found.interval(0.95)
        covered.append(low[0] <= 0 <= high[0])
    assert np.mean(covered) == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / 300))


def test_few_therapists_leave_out_clients_and_say_so() -> None:
    data, therapist = clients(60, 1, therapists=4)
    found = jackknife(cross_products(data), first_minus_second, 1, therapist)
    assert (found.method, found.df, found.n_clusters, found.reason) == ("client_jackknife", np.inf, 4, "")
    assert found.caution == "fewer than 5 therapists (4): clients taken as independent"
    unknown = jackknife(cross_products(data), first_minus_second, 1)
    assert (unknown.method, unknown.n_clusters, unknown.caution) == ("client_jackknife", 0, "")
    assert unknown.std_error == found.std_error


def test_a_value_that_one_therapist_alone_allows_leaves_out_clients_and_says_so() -> None:
    data, therapist = clients(60, 1, therapists=6)
    data[therapist != 0, 2] = 0.0
    found = jackknife(cross_products(data), first_minus_second, 1, therapist)
    assert (found.method, found.df, found.n_clusters) == ("client_jackknife", np.inf, 6)
    assert found.caution == "without one of the therapists there is no estimate: clients taken as independent"


def test_a_value_that_one_client_alone_allows_is_refused() -> None:
    data, therapist = clients(60, 1, therapists=6)
    data[1:, 2] = 0.0
    found = jackknife(cross_products(data), first_minus_second, 1, therapist)
    assert found.reason == "without one of the clients there is no estimate"
    assert np.isnan(found.estimate).all() and np.isnan(found.vcov).all()


def test_too_few_clients_and_constants_are_refused() -> None:
    data, therapist = clients(60, 1, therapists=10)
    short = jackknife(cross_products(data[:9]), first_minus_second, 1, therapist[:9], min_rows=10)
    assert (short.reason, short.n, short.method) == ("needs at least 10 clients with all scores; has 9", 9, "none")
    none = jackknife(cross_products(data[:0]), first_minus_second, 1, therapist[:0])
    assert (none.reason, none.n, none.n_clusters) == ("needs at least 4 clients with all scores; has 0", 0, 0)
    data[:, 1] = 0.0
    assert (
        jackknife(cross_products(data), first_minus_second, 1, therapist).reason
        == "one of the scores is constant or determined by the others"
    )


@pytest.mark.parametrize("of", [partial_correlation, part_correlation])
@pytest.mark.parametrize("determined", ["control by control", "outcome by control", "control constant"])
def test_scores_that_determine_each_other_are_refused(of, determined: str) -> None:
    data, therapist = clients(60, 1, therapists=10)
    controls = np.random.default_rng(2).normal(size=(60, 2))
    if determined == "control by control":
        controls[:, 1] = 0.3 * controls[:, 0]
    elif determined == "outcome by control":
        data[:, 1] = 0.7 * controls[:, 0] - 0.1 * controls[:, 1]
    else:
        controls[:, 1] = 0.0

    def contrast(sums: np.ndarray) -> np.ndarray:
        covariance = covariance_of_sums(sums)
        return (of(covariance, 0, 1, [3, 4]) - of(covariance, 0, 2, [3, 4]))[:, None]

    found = jackknife(cross_products(np.column_stack([data, controls])), contrast, 1, therapist)
    assert found.reason == "one of the scores is constant or determined by the others"
    assert np.isnan(found.estimate).all()


def test_clients_in_another_order_and_therapists_of_other_names_give_the_same() -> None:
    data, therapist = clients(60, 1, therapists=10)
    order = np.random.default_rng(3).permutation(60)
    found = jackknife(cross_products(data), first_minus_second, 1, therapist)
    again = jackknife(cross_products(data[order]), first_minus_second, 1, np.array([f"t{code}" for code in therapist])[order])
    assert (again.estimate[0], again.std_error[0]) == pytest.approx((found.estimate[0], found.std_error[0]), rel=1e-12)
