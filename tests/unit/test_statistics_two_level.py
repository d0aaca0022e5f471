"""Saturated models of two levels and multilevel mediation: truth, closed forms, jackknife, boundaries, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from alliance.statistics.multilevel_mediation import MONTE_CARLO, multilevel_mediation
from alliance.statistics.two_level import two_level

WITHIN, BETWEEN = (0.4, 0.5, 0.1), (0.5, 0.4, 0.2)


def chain(
    seed: int, clients: int, sessions: int = 8, therapists: int = 20, kind: str = "1-1-1", between_sd: float = 0.8, balanced: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x, m, y of sessions, their clients and therapists, with the paths a, b and direct of each level."""
    random = np.random.default_rng(seed)
    size = np.full(clients, sessions) if balanced else random.integers(2, sessions + 1, clients)
    client = np.repeat(np.arange(clients), size)

    def part(n: int, paths: tuple[float, float, float], first: np.ndarray) -> np.ndarray:
        a, b, direct = paths
        m = a * first + np.sqrt(1 - a**2) * random.standard_normal(n)
        return np.column_stack([first, m, direct * first + b * m + 0.7 * random.standard_normal(n)])

    outside = between_sd * part(clients, BETWEEN, random.standard_normal(clients))
    inside = part(len(client), WITHIN, np.zeros(len(client)) if kind == "2-1-1" else random.standard_normal(len(client)))
    rows = outside[client] + inside
    if kind == "2-1-1":
        rows[:, 0] = outside[client, 0]
    return rows, client, client % therapists


def mediated(rows, client, therapist=None, **settings):
    return multilevel_mediation(rows, client, therapist, random=np.random.default_rng(0), **settings)


@pytest.mark.parametrize("kind", ["1-1-1", "2-1-1"])
def test_many_clients_show_the_true_paths(kind: str) -> None:
    rows, client, therapist = chain(1, 6000, kind=kind, therapists=300)
    found = mediated(rows, client, therapist, kind=kind)
    assert found.method == "cluster_jackknife" and found.df == 299
    truth = {("between", name): value for name, value in zip(("a", "b", "direct"), BETWEEN, strict=True)}
    if kind == "1-1-1":
        truth |= {("within", name): value for name, value in zip(("a", "b", "direct"), WITHIN, strict=True)}
        truth["within", "indirect"], truth["within", "total"] = 0.2, 0.3
    else:
        truth["within", "b"] = WITHIN[1]
    truth["between", "indirect"], truth["between", "total"] = 0.2, 0.4
    for (level, effect), value in truth.items():
        one = found.of(level, effect)
        assert one.status == "estimated"
        assert one.estimate == pytest.approx(value, abs=4 * one.std_error) and one.std_error < 0.03, (level, effect)


def test_balanced_sessions_have_a_closed_form() -> None:
    rows, client, _ = chain(2, 50, sessions=5, balanced=True)
    found = two_level(rows, client)
    means = rows.reshape(50, 5, 3).mean(axis=1)
    around = rows - means[client]
    within = around.T @ around / 200
    assert found.within == pytest.approx(within, abs=1e-8)
    assert found.between == pytest.approx(np.cov(means, rowvar=False, ddof=0) - within / 5, abs=1e-8)
    assert found.coefficients[0] == pytest.approx(rows.mean(axis=0))


def test_standardised_paths_are_those_of_variables_in_deviations_of_their_level() -> None:
    rows, client, therapist = chain(3, 120)
    raw = mediated(rows, client, therapist)
    for level, covariance in (("within", raw.model.within), ("between", raw.model.between)):
        r = covariance / np.sqrt(np.outer(np.diagonal(covariance), np.diagonal(covariance)))
        b, direct = np.linalg.solve(r[np.ix_([1, 0], [1, 0])], r[[1, 0], 2])
        for effect, expected in (("a", r[0, 1]), ("b", b), ("direct", direct), ("indirect", r[0, 1] * b), ("total", r[0, 2])):
            assert raw.of(level, effect, True).estimate == pytest.approx(expected), (level, effect)
    # Units do not matter to them, and multiply the others.
    other = mediated(rows * [10.0, 0.1, 3.0] + 5, client, therapist)
    for one, scaled in zip(raw.effects, other.effects, strict=True):
        if one.standardised:
            assert (scaled.estimate, scaled.std_error) == (pytest.approx(one.estimate), pytest.approx(one.std_error, rel=1e-5))
    assert other.of("within", "indirect").estimate == pytest.approx(0.3 * raw.of("within", "indirect").estimate)


def test_errors_are_those_of_estimating_again_without_each_therapist() -> None:
    rows, client, therapist = chain(4, 90, therapists=9)
    found = mediated(rows, client, therapist)
    again = [mediated(rows[therapist != one], client[therapist != one]) for one in range(9)]
    for level in ("within", "between"):
        for standardised in (False, True):
            values = {effect: np.array([one.of(level, effect, standardised).estimate for one in again]) for effect in ("a", "b")}
            vcov = 8 / 9 * 8 * np.cov(values["a"], values["b"], ddof=1)
            for position, effect in enumerate(values):
                assert found.of(level, effect, standardised).std_error == pytest.approx(np.sqrt(vcov[position, position]), rel=1e-4)
            a, b = (found.of(level, effect, standardised).estimate for effect in ("a", "b"))
            delta = np.sqrt(b**2 * vcov[0, 0] + a**2 * vcov[1, 1] + 2 * a * b * vcov[0, 1])
            one = found.of(level, "indirect", standardised)
            assert one.std_error == pytest.approx(delta, rel=1e-4)
            assert one.ci_high - one.estimate == pytest.approx(2.30600414 * delta, rel=1e-4)


def test_monte_carlo_limits_are_quantiles_of_products() -> None:
    rows, client, therapist = chain(5, 200, therapists=40)
    found = multilevel_mediation(rows, client, therapist, random=np.random.default_rng(1), draws=200_000)
    one = found.of("within", "indirect", interval=MONTE_CARLO)
    a, b = found.of("within", "a"), found.of("within", "b")
    random = np.random.default_rng(2)
    products = (a.estimate + a.std_error * random.standard_t(39, 400_000)) * (b.estimate + b.std_error * random.standard_t(39, 400_000))
    # Independent draws, and a and b hardly covary.
    assert (one.ci_low, one.ci_high) == pytest.approx(tuple(np.quantile(products, [0.025, 0.975])), abs=0.01)
    assert one.std_error > found.of("within", "indirect").std_error


def test_what_is_held_constant_leaves_the_paths_of_a_trend() -> None:
    rows, client, therapist = chain(6, 400)
    session = np.concatenate([np.arange(n) for n in np.bincount(client)]).astype(float)
    drifting = rows + session[:, None] * [0.5, 0.5, 0.5]
    held, bare = mediated(drifting, client, therapist, held=session[:, None]), mediated(drifting, client, therapist)
    for effect, value in (("a", 0.4), ("b", 0.5), ("indirect", 0.2)):
        one = held.of("within", effect)
        assert one.estimate == pytest.approx(value, abs=3 * one.std_error)
    assert bare.of("within", "a").estimate > 0.6


def test_clients_who_do_not_differ_have_paths_within_only() -> None:
    rows, client, therapist = chain(11, 60, between_sd=0.0)
    found = mediated(rows, client, therapist)
    assert found.model.status == "flagged" and np.isnan(found.model.between).all()
    assert found.of("within", "indirect").status == "estimated" and found.method == "cluster_jackknife"
    around = rows - np.column_stack([np.bincount(client, column) for column in rows.T])[client] / np.bincount(client)[client, None]
    assert found.model.within == pytest.approx(around.T @ around / (len(rows) - 60))
    between = found.of("between", "indirect")
    assert between.status == "not_estimable" and np.isnan(between.estimate)
    assert "between clients" in between.reason or "clients hardly differ" in between.reason


def test_a_variance_between_clients_of_few_standard_errors_is_flagged() -> None:
    rows, client, therapist = chain(3, 60, between_sd=1.0)
    random = np.random.default_rng(5)
    rows[:, 0] = random.standard_normal(len(rows)) + (0.3 * random.standard_normal(60))[client]
    found = mediated(rows, client, therapist, names=("X", "M", "Y"))
    assert found.model.status == "estimated"
    one = found.of("between", "a")
    assert one.status == "flagged" and one.reason.startswith("clients hardly differ in X:")
    assert found.of("within", "a").status == "estimated"


@pytest.mark.parametrize(
    ("clients", "sessions", "message"),
    [(7, 8, "needs at least 8 clients; has 7"), (20, 1, "needs at least 6 sessions beyond the first of each client; has 0")],
)
def test_too_little_is_said_with_numbers(clients: int, sessions: int, message: str) -> None:
    rows, client, _ = chain(8, clients, sessions=sessions, balanced=True)
    found = mediated(rows, client)
    assert {one.reason for one in found.effects} == {message}
    assert all(np.isnan([one.estimate, one.std_error, one.ci_low, one.ci_high]).all() for one in found.effects)


def test_constant_and_determined_variables_are_named() -> None:
    rows, client, _ = chain(9, 30)
    flat, twice = rows.copy(), rows.copy()
    flat[:, 1] = 2.0
    twice[:, 2] = twice[:, 0] + twice[:, 1]
    within = rows.copy()
    within[:, 0] = client % 7
    assert "1 of 3 are constant" in two_level(flat, client).reason
    assert "determined by the others" in two_level(twice, client).reason
    assert "1 of 3 hardly do" in two_level(within, client).reason


def test_rows_in_any_order_and_incomplete_rows() -> None:
    rows, client, therapist = chain(10, 60)
    order = np.random.default_rng(0).permutation(len(rows))
    extra = np.vstack([rows[order], [np.nan, 1.0, 1.0]])
    found = mediated(extra, np.r_[client[order], 3], np.r_[therapist[order], 3])
    expected = mediated(rows, client, therapist)
    assert (found.model.n_sessions, found.model.n_incomplete) == (len(rows), 1)
    for one, other in zip(found.effects, expected.effects, strict=True):
        assert (one.estimate, one.std_error, one.ci_low) == pytest.approx((other.estimate, other.std_error, other.ci_low), rel=1e-6)


def test_few_therapists_are_said() -> None:
    rows, client, _ = chain(12, 60)
    found = mediated(rows, client, client % 3)
    assert found.method == "client_jackknife"
    assert "therapists (3): clients taken as independent" in found.of("within", "a").reason


def test_where_leaving_out_a_therapist_leaves_no_estimate_the_sandwich_is_taken() -> None:
    rows, client, therapist = chain(14, 80, therapists=8)
    alone = therapist != 0
    rows[alone, 1] = (np.bincount(client, rows[:, 1]) / np.bincount(client))[client[alone]]
    found = mediated(rows, client, therapist)
    one = found.of("within", "a")
    assert found.method == "cluster_robust" and found.df == 7
    assert one.status == "flagged" and "leaving out one of the therapists leaves no estimate" in one.reason
    assert one.std_error == mediated(rows, client, therapist, errors="cluster_robust").of("within", "a").std_error > 0


def test_data_that_do_not_fit_are_refused() -> None:
    rows, client, therapist = chain(13, 20)
    with pytest.raises(ValueError, match="one therapist"):
        two_level(rows, client, np.arange(len(rows)))
    with pytest.raises(ValueError, match="differs between sessions"):
        mediated(rows, client, therapist, kind="2-1-1")
    with pytest.raises(ValueError, match="known: 1-1-1, 2-1-1"):
        mediated(rows, client, therapist, kind="2-2-1")
    with pytest.raises(ValueError, match="three variables"):
        mediated(rows[:, :2], client)
    with pytest.raises(ValueError, match="one row for every session"):
        two_level(rows, client[:-1])
