"""Two-level reliability and generalizability: maxima, what intervals cover, improper solutions, order of rows, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from alliance.statistics.multilevel_reliability import GENERALIZABILITY, TWO_LEVEL, generalizability, two_level_reliability

WITHIN, BETWEEN = np.array([0.7, 0.6, 0.8, 0.5, 0.7, 0.6]), np.array([0.8, 0.5, 0.6, 0.7, 0.8, 0.5])
ERROR_WITHIN, ERROR_BETWEEN = 0.64, 0.16


def ratings(
    seed: int, clients: int, sessions: int = 10, therapists: int = 0, balanced: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return items, clients, session numbers and therapists, who have a share of .15 in what differs between clients."""
    random = np.random.default_rng(seed)
    size = np.full(clients, sessions) if balanced else random.integers(2, sessions + 1, clients)
    client = np.repeat(np.arange(clients), size)
    therapist, share = np.arange(clients) % max(therapists, 1), 0.15 if therapists else 0.0
    outside, inside = np.sqrt(share), np.sqrt(1 - share)
    factor = outside * random.normal(size=(max(therapists, 1), 1))[therapist] + inside * random.normal(size=(clients, 1))
    error = outside * random.normal(size=(max(therapists, 1), 6))[therapist] + inside * random.normal(size=(clients, 6))
    values = (factor * BETWEEN + np.sqrt(ERROR_BETWEEN) * error)[client]
    values = values + random.normal(size=(len(client), 1)) * WITHIN + np.sqrt(ERROR_WITHIN) * random.normal(size=(len(client), 6))
    return values, client, np.concatenate([np.arange(one) for one in size]), therapist[client]


def true_coefficients(sessions: int = 10) -> dict[str, float]:
    common = [one.sum() ** 2 for one in (WITHIN, BETWEEN)]
    total = [common[0] + 6 * ERROR_WITHIN, common[1] + 6 * ERROR_BETWEEN]
    trace = [(WITHIN**2).sum() + 6 * ERROR_WITHIN, (BETWEEN**2).sum() + 6 * ERROR_BETWEEN]
    inverse_size = np.mean(1 / np.arange(2, sessions + 1))
    values = (common[0] / total[0], common[1] / total[1], common[1] / (total[1] + inverse_size * total[0]))
    return dict(zip(TWO_LEVEL, (*values, 1.2 * (1 - trace[0] / total[0]), 1.2 * (1 - trace[1] / total[1])), strict=True))


@pytest.mark.parametrize(("clients", "therapists"), [(80, 20), (120, 0)])
def test_intervals_cover_the_true_values(clients: int, therapists: int) -> None:
    truth, covered = true_coefficients(), {name: [] for name in TWO_LEVEL}
    for seed in range(100):
        items, client, _, therapist = ratings(seed, clients, therapists=therapists)
        found = two_level_reliability(items, client, therapist if therapists else None)
        for name, hits in covered.items():
            coefficient = getattr(found, name)
            if np.isfinite(coefficient.ci_low):
                hits.append(coefficient.ci_low <= truth[name] <= coefficient.ci_high)
    for name, hits in covered.items():
        assert len(hits) >= 90, name
        assert np.mean(hits) == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / len(hits))), name


def test_intervals_are_those_of_estimating_again_without_each_therapist() -> None:
    items, client, _, therapist = ratings(1, 180, therapists=9)
    found = two_level_reliability(items, client, therapist)
    assert (found.method, found.df, found.n_clusters, found.status) == ("cluster_jackknife", 8.0, 9, "estimated")
    kept = [therapist != one for one in range(9)]
    left_out = [two_level_reliability(items[rows], client[rows], client[rows] % 5) for rows in kept]
    for name in TWO_LEVEL:
        logs = np.log([1 - getattr(one, name).estimate for one in left_out])
        error = np.sqrt(8 / 9 * ((logs - logs.mean()) ** 2).sum())
        coefficient = getattr(found, name)
        assert coefficient.std_error == pytest.approx((1 - coefficient.estimate) * error, rel=1e-3)
        assert np.log((1 - coefficient.ci_low) / (1 - coefficient.estimate)) == pytest.approx(2.30600414 * error, rel=1e-3)


def test_covariances_of_balanced_ratings_are_those_of_analysis_of_variance() -> None:
    items, client, _, _ = ratings(2, 60, sessions=5, balanced=True)
    found = two_level_reliability(items, client)
    means = items.reshape(60, 5, 6).mean(axis=1)
    around = items - means[client]
    within = around.T @ around / (300 - 60)
    assert found.covariance_within == pytest.approx(within, abs=1e-8)
    assert found.covariance_between == pytest.approx(np.cov(means, rowvar=False, ddof=0) - within / 5, abs=1e-8)
    assert found.icc == pytest.approx(found.covariance_between.sum() / (found.covariance_between + within).sum())


def test_the_order_of_rows_and_names_of_clients_do_not_matter() -> None:
    items, client, session, _ = ratings(3, 130)
    order = np.random.default_rng(4).permutation(len(items))
    names = np.array([f"c{one:03}" for one in client])
    found = two_level_reliability(items, client)
    moved = two_level_reliability(items[order], names[order])
    general, again = generalizability(items, client, session), generalizability(items[order], names[order], session[order])
    assert found.df == 49
    assert moved.omega_within.estimate == pytest.approx(found.omega_within.estimate, rel=1e-9)
    assert moved.omega_between.std_error == pytest.approx(found.omega_between.std_error, rel=1e-5)
    assert again.coefficients["r_c"].ci_low == pytest.approx(general.coefficients["r_c"].ci_low, rel=1e-9)


def test_units_of_items_do_not_matter_to_the_search() -> None:
    items, client, _, _ = ratings(5, 60)
    found, stretched = two_level_reliability(items, client), two_level_reliability(1000 * items + 5, client)
    assert stretched.omega_between.estimate == pytest.approx(found.omega_between.estimate, rel=1e-7)
    assert stretched.loadings_between == pytest.approx(1000 * found.loadings_between, rel=1e-5)


def test_sessions_that_lack_an_item_are_left_out_and_counted() -> None:
    items, client, _, _ = ratings(6, 60)
    items[::7, 2] = np.nan
    complete = np.isfinite(items).all(axis=1)
    found, expected = two_level_reliability(items, client), two_level_reliability(items[complete], client[complete])
    assert (found.n_incomplete, found.n_sessions) == (int((~complete).sum()), int(complete.sum()))
    assert found.omega_within == expected.omega_within


def test_few_clients_have_reliability_within_only() -> None:
    items, client, _, _ = ratings(7, 11, sessions=12)
    found = two_level_reliability(items, client)
    assert found.status == "flagged"
    assert found.omega_between.reason == found.omega_of_means.reason == "needs at least 12 clients (two for each item); has 11"
    assert np.isnan(found.omega_between.estimate) and np.isnan(found.loadings_between).all()
    assert found.omega_within.status == "estimated"
    around = items - np.array([items[client == one].mean(axis=0) for one in range(11)])[client]
    loadings = found.loadings_within
    implied = np.outer(loadings, loadings) + np.diag(found.errors_within)
    observed = around.T @ around / (len(items) - 11)
    # The maximum of the likelihood of one factor: its residuals are not correlated with it.
    assert np.linalg.solve(implied, observed - implied) @ np.linalg.solve(implied, loadings) == pytest.approx(np.zeros(6), abs=1e-6)


def test_improper_solutions_between_clients_are_named() -> None:
    random = np.random.default_rng(8)
    client = np.repeat(np.arange(60), 6)
    factor = random.normal(size=(60, 1))[client]
    # Nothing but the factor differs between clients: half of the error variances are estimated below zero.
    items = factor * BETWEEN + random.normal(size=(360, 1)) * WITHIN + 0.8 * random.normal(size=(360, 6))
    found = two_level_reliability(items, client)
    assert found.omega_between.status == "not_estimable"
    assert found.omega_between.reason.startswith("improper solution between clients: ")
    assert (found.errors_between < 0).any()
    assert found.alpha_between.status == "not_estimable"
    assert found.omega_within.status == "estimated"
    assert found.status == "flagged"


def test_clients_who_do_not_differ_have_no_reliability_between() -> None:
    random = np.random.default_rng(9)
    client = np.repeat(np.arange(40), 4)
    found = two_level_reliability(random.normal(size=(160, 1)) * WITHIN + 0.8 * random.normal(size=(160, 6)), client)
    assert found.omega_within.status == "estimated"
    assert found.omega_between.status == found.alpha_between.status == "not_estimable"


def test_two_level_refusals_say_what_is_needed() -> None:
    items, client, _, _ = ratings(10, 60)
    assert two_level_reliability(items[:, :2], client).reason == "needs at least 3 items; has 2"
    assert two_level_reliability(items[client < 9], client[client < 9]).reason == "needs at least 10 clients; has 9"
    first = np.unique(client, return_index=True)[1]
    once = two_level_reliability(items[first], client[first])
    assert once.reason == "needs at least 12 sessions beyond the first of each client (two for each item); has 0"
    assert (once.status, once.alpha_within.status, once.method) == ("not_estimable", "not_estimable", "none")
    constant = items * np.array([1, 1, 0, 1, 1, 1])
    assert two_level_reliability(constant, client).reason == "needs items whose answers differ; 1 of 6 are constant"
    still = items.copy()
    still[:, 3] = np.round(client / 7)
    reason = "needs items whose answers differ between sessions of a client; 1 of 6 hardly do"
    assert two_level_reliability(still, client).reason == reason
    twice = np.column_stack([items, items[:, 0]])
    assert two_level_reliability(twice, client).reason == "within clients, one of the items is determined by the others"
    few = two_level_reliability(items, client, client % 3)
    assert few.reason == "fewer than 5 therapists (3): clients taken as independent"
    with pytest.raises(ValueError, match="every client needs one therapist"):
        two_level_reliability(items, client, np.arange(len(client)) % 5)
    with pytest.raises(ValueError, match="every session a client"):
        two_level_reliability(items, client[:-1])


def components_of(seed: int, clients: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return unbalanced ratings of 8 sessions and 5 items: person 1, session .2, item .3, interactions .4, .25, .1, residual .6."""
    random = np.random.default_rng(seed)
    shape = (clients, 8, 5)
    values = np.sqrt(0.6) * random.normal(size=shape)
    for variance, axes in ((1, (0,)), (0.2, (1,)), (0.3, (2,)), (0.4, (0, 1)), (0.25, (0, 2)), (0.1, (1, 2))):
        values = values + np.sqrt(variance) * random.normal(size=[size if axis in axes else 1 for axis, size in enumerate(shape)])
    values[np.arange(8) >= random.integers(2, 9, clients)[:, None]] = np.nan
    values[random.random(shape) < 0.05] = np.nan
    client, session = (one.ravel() for one in np.meshgrid(np.arange(clients), np.arange(8), indexing="ij"))
    return values.reshape(-1, 5), client, session


def test_components_of_unbalanced_ratings_are_not_biased() -> None:
    found = [list(generalizability(*components_of(seed, 30)).components.values()) for seed in range(150)]
    error = np.std(found, axis=0) / np.sqrt(150)
    assert np.all(np.abs(np.mean(found, axis=0) - [1, 0.2, 0.3, 0.4, 0.25, 0.1, 0.6]) < 3.5 * error)


def test_intervals_of_generalizability_cover_what_sessions_and_items_of_the_sample_have() -> None:
    between, k = 1 + 0.25 / 5, 4.0
    truth = {"r_1f": between / (between + 0.12), "r_kf": between / (between + 0.12 / k), "r_c": 0.4 / (0.4 + 0.12)}
    covered = {name: [] for name in truth}
    for seed in range(120):
        found = generalizability(*components_of(500 + seed, 60), sessions_averaged=k).coefficients
        for name, hits in covered.items():
            hits.append(found[name].ci_low <= truth[name] <= found[name].ci_high)
    for name, hits in covered.items():
        assert np.mean(hits) == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / 120)), name


def test_sessions_averaged_is_the_harmonic_mean_unless_given() -> None:
    items, client, session, _ = ratings(11, 40)
    found = generalizability(items, client, session)
    assert found.sessions_averaged == pytest.approx(1 / np.mean(1 / np.bincount(client)))
    given = generalizability(items, client, session, sessions_averaged=3)
    p, s, e = given.nested_components.values()
    assert given.coefficients["r_krn"].estimate == pytest.approx(p / (p + s / 3 + e / 18))


def test_a_negative_variance_is_zero_and_flags_what_rests_on_it() -> None:
    random = np.random.default_rng(13)
    client, session = np.repeat(np.arange(30), 5), np.tile(np.arange(5), 30)
    # Answers to different items of a session repel each other.
    noise = random.normal(size=(150, 4))
    items = random.normal(size=(30, 1))[client] + noise - noise.mean(axis=1, keepdims=True)
    found = generalizability(items, client, session)
    assert found.components["person:session"] < 0
    change = found.coefficients["r_c"]
    assert (change.estimate, change.status) == (0.0, "flagged")
    assert change.reason.startswith("negative variance taken as zero: person:session")
    assert "person:session" not in found.coefficients["r_1f"].reason


def test_generalizability_refusals_say_what_is_needed() -> None:
    items, client, session, _ = ratings(14, 30)
    assert generalizability(items[:, :1], client, session).reason == "needs at least 2 items; has 1"
    few = client < 8
    refused = generalizability(items[few], client[few], session[few])
    assert refused.reason == "needs at least 10 clients with 2 sessions; has 8"
    assert set(refused.coefficients) == set(GENERALIZABILITY)
    assert all(one.status == "not_estimable" for one in refused.coefficients.values())
    apart = generalizability(items, client, np.arange(len(client)))
    assert apart.reason == "needs sessions and items that clients have in common, to tell their variances apart"
    with pytest.raises(ValueError, match="stands in several rows"):
        generalizability(items, client, np.zeros(len(client)))
    with pytest.raises(ValueError, match="and every session a client and a number"):
        generalizability(items, client, session[:-1])
