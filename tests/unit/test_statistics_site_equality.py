"""Which paths differ between sites."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from alliance.statistics.covariance import normal_theory, sandwich
from alliance.statistics.site_equality import SiteEquality, holm, site_equality
from alliance.statistics.structural_fit import Moments, fit_structural, parse_structural, score_test
from alliance.statistics.structural_model import layout
from scipy import stats

MODEL = "m ~ x + z\ny ~ m + x"
NAMES = ["x", "z", "m", "y"]


def site(n: int, random: np.random.Generator, path: float = 0.4, groups: int = 0) -> tuple[np.ndarray, np.ndarray]:
    therapist = np.arange(n) % groups if groups else np.arange(n)
    shared = random.normal(0, 0.5, (n, 4))[therapist] if groups else np.zeros((n, 4))
    x, z = random.standard_normal((2, n)) + shared[:, :2].T
    m = path * x + 0.2 * z + random.standard_normal(n) + shared[:, 2]
    return np.column_stack([x, z, m, 0.3 * m + 0.1 * x + random.standard_normal(n) + shared[:, 3]]), therapist


def moments(data: np.ndarray) -> Moments:
    return Moments(len(data), np.cov(data.T), None, NAMES)


def equality(count: int = 6, different: float | None = None, seed: int = 1, **settings: object) -> SiteEquality:
    random = np.random.default_rng(seed)
    given = [moments(site(120, random, 0.4 if place or different is None else different)[0]) for place in range(count)]
    return site_equality(parse_structural(MODEL), given, [f"s{place}" for place in range(count)], **settings)


def test_the_one_path_that_differs_at_the_one_site_is_found() -> None:
    found = equality(different=1.2)
    assert found.overall.p_value < 0.001
    paths = found.paths.set_index(["lhs", "rhs"])
    assert paths.loc[("m", "x"), "wald_p_holm"] < 0.001
    assert (paths.drop(("m", "x"))["wald_p_holm"] > 0.05).all()
    differing = found.site_paths[found.site_paths["p_holm"] < 0.05]
    row = differing.loc[differing["difference"].abs().idxmax()]
    assert (row["site"], row["lhs"], row["rhs"]) == ("s0", "m", "x")


def test_a_site_differs_from_the_mean_of_the_others() -> None:
    own = equality().site_paths
    path = own[(own["lhs"] == "y") & (own["rhs"] == "m")].reset_index(drop=True)
    weight = 1 / path["std_error"].to_numpy()[1:] ** 2
    others = np.average(path["estimate"].to_numpy()[1:], weights=weight)
    error = np.sqrt(path.loc[0, "std_error"] ** 2 + 1 / weight.sum())
    assert path.loc[0, "difference"] == pytest.approx(path.loc[0, "estimate"] - others, rel=1e-8)
    assert path.loc[0, "difference_std_error"] == pytest.approx(error, rel=1e-8)
    assert path.loc[0, "statistic"] == pytest.approx((path.loc[0, "estimate"] - others) / error, rel=1e-8)


def test_a_site_with_an_improper_solution_is_left_out_and_named() -> None:
    """Correlations of .8, .8 and .5 leave the first indicator of a factor a negative variance."""

    def given(first: float) -> Moments:
        matrix = np.array([[1, first, first, 0.3], [first, 1, 0.5, 0.3], [first, 0.5, 1, 0.3], [0.3, 0.3, 0.3, 1]])
        return Moments(150, matrix, None, ["i1", "i2", "i3", "y"])

    found = site_equality(parse_structural("f =~ i1 + i2 + i3\ny ~ f"), [given(0.5), given(0.8), given(0.6)], ["a", "b", "c"])
    assert found.n_sites == 2 and set(found.site_paths["site"]) == {"a", "c"}
    assert dict(zip(found.left_out["site"], found.left_out["reason"])) == {
        "b": "the model has an improper solution there (negative variance of i1)"
    }


def test_few_therapists_give_the_difference_of_a_site_welchs_degrees_of_freedom() -> None:
    own = equality(count=2, units=[10, 25]).site_paths
    path = own[(own["lhs"] == "y") & (own["rhs"] == "m")]
    first, second = path["std_error"].to_numpy() ** 2
    welch = (first + second) ** 2 / (first**2 / 9 + second**2 / 24)
    assert path["df"].to_numpy() == pytest.approx([welch, welch], rel=1e-8)
    assert path["p_value"].to_numpy() == pytest.approx(2 * stats.t.sf(path["statistic"].abs(), welch), rel=1e-8)
    reach = stats.t.ppf(0.975, welch) * path["difference_std_error"]
    assert path["difference_high"].to_numpy() == pytest.approx(path["difference"] + reach, rel=1e-8)


def test_sites_that_cannot_take_part_are_named() -> None:
    random = np.random.default_rng(4)
    given = [moments(site(80, random)[0]) for _ in range(7)]
    given[1] = replace(given[1], n=4)
    given[2] = replace(given[2], covariance=np.where(np.eye(4) == 1, np.nan, given[2].covariance))
    given[3] = Moments(80, np.eye(2), None, ["x", "m"])
    given[4] = replace(given[4], covariance=np.ones((4, 4)))
    found = site_equality(parse_structural(MODEL), given, list("abcdefg"), min_clients=20)
    assert dict(found.left_out.itertuples(index=False)) == {
        "b": "needs at least 20 clients; has 4",
        "c": "its covariance matrix has holes",
        "d": "lacks z, y",
        "e": "its covariance matrix is singular",
    }
    assert (found.status, found.n_sites, found.n_clients) == ("estimated", 3, 240)
    few = site_equality(parse_structural(MODEL), given[:2], list("ab"), min_clients=20)
    assert few.reason == "not estimable: needs at least 2 sites with the model's moments; has 1"
    assert few.overall.status == "not_estimable" and len(few.paths) == 4


def test_models_without_the_question_are_refused_in_words() -> None:
    given, names = [moments(site(80, np.random.default_rng(seed))[0]) for seed in (1, 2)], ["a", "b"]
    assert "needs a path" in site_equality(parse_structural("x ~~ m"), given, names).reason
    constrained = site_equality(parse_structural("m ~ a*x\ny ~ b*m\na == b"), given, names)
    assert "constraints between parameters (a == b)" in constrained.reason
    with pytest.raises(ValueError, match="every site"):
        site_equality(parse_structural(MODEL), given, ["a"])


def test_labels_do_not_make_sites_equal() -> None:
    random = np.random.default_rng(9)
    given = [moments(site(100, random, path)[0]) for path in (0.2, 0.5, 0.8)]
    names = ["a", "b", "c"]
    plain = site_equality(parse_structural(MODEL), given, names)
    labelled = site_equality(parse_structural("m ~ a*x + z\ny ~ b*m + c*x\nindirect := a*b\ntotal := c + a*b"), given, names)
    assert labelled.overall == plain.overall
    shared = site_equality(parse_structural("m ~ p*x + z\ny ~ m + p*x"), given, names)
    assert shared.overall.df == 6
    by_site = shared.site_paths.pivot(index="site", columns=["lhs", "rhs"], values="estimate")
    assert by_site[("m", "x")].to_numpy() == pytest.approx(by_site[("y", "x")].to_numpy())
    assert by_site[("m", "x")].nunique() == 3
    assert shared.paths["score_df"].tolist() == [2, 2, 2, 2]


def test_the_generalised_score_test_of_normal_data_is_the_plain_one() -> None:
    random = np.random.default_rng(3)
    given = [moments(site(n, random, path)[0]) for n, path in ((60, 0.2), (90, 0.5), (150, 0.4))]
    model = parse_structural(MODEL)
    equal = fit_structural(model, given, group_equal=("regressions",), mean_structure=False)
    plans = [layout(model, 3, group_equal=("regressions",), group_partial=(path,)) for path in ("m ~ x", "y ~ m")]
    # Sampling covariances of normal data at the fitted matrices, which is what the information supposes.
    acov = [
        normal_theory(sigma.loc[NAMES, NAMES], one.n + 1) * (one.n / (one.n - 1)) ** 2
        for sigma, one in zip(equal.implied_covariances, given)
    ]
    robust = fit_structural(model, given, acov=acov, group_equal=("regressions",), mean_structure=False)
    for plain, general in zip(score_test(equal, plans), score_test(robust, plans, robust=True)):
        assert general == (pytest.approx(plain[0], rel=1e-8), plain[1])
    with pytest.raises(ValueError, match="generalised"):
        score_test(equal, plans, robust=True)


@pytest.mark.slow
def test_tests_hold_their_level_where_clients_share_therapists() -> None:
    runs, rejected = 120, np.zeros(4)
    for seed in range(runs):
        random = np.random.default_rng(seed)
        data = [site(240, random, groups=40) for _ in range(3)]
        acov = [sandwich(rows, therapist) for rows, therapist in data]
        given = [moments(rows) for rows, _ in data]
        found = site_equality(parse_structural(MODEL), given, list("abc"), acov=acov)
        naive = site_equality(parse_structural(MODEL), given, list("abc"))
        one, plain = found.paths.iloc[0], naive.paths.iloc[0]
        rejected += [found.overall.p_value < 0.05, one["score_p"] < 0.05, one["wald_p"] < 0.05, plain["wald_p"] < 0.05]
    # Monte Carlo error of 5 %: 2 points.
    assert (rejected[:3] / runs < 0.115).all()
    assert rejected[3] > rejected[2]


def test_every_path_of_fifty_sites_is_compared() -> None:
    found = equality(50)
    assert found.status == "estimated" and len(found.site_paths) == 200


def test_p_values_are_adjusted_as_by_holm() -> None:
    # Worked by hand: 0.01 x 4, 0.02 x 3, then 0.03 x 2 (no less than the one before) and 0.04.
    assert holm([0.04, 0.01, np.nan, 0.03, 0.02]) == pytest.approx([0.06, 0.04, np.nan, 0.06, 0.06], nan_ok=True)
    assert holm([0.9, 0.6]) == pytest.approx([1.0, 1.0])
