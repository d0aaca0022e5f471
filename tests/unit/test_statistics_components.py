"""The first principal component: signs, edges, and what cannot be estimated."""

from __future__ import annotations

import numpy as np
import pytest
from alliance.statistics.components import first_component, first_component_of_matrix, loadings_and_share
from alliance.statistics.resampling import generator

NAMES = ("a", "b", "c")


def scores(n: int = 120, seed: int = 1, strength: float = 1.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return strength * random.normal(size=(n, 1)) + random.normal(size=(n, 3))


def component(data, **options):
    return first_component(data, NAMES[: np.shape(data)[1]], generator(1, "test"), draws=500, **options)


def test_equal_correlations_have_the_known_component() -> None:
    matrix = np.full((4, 4), 0.4) + 0.6 * np.eye(4)
    assert loadings_and_share(matrix, np.ones(4)) == pytest.approx([np.sqrt(2.2) / 2] * 4 + [0.55])
    found = first_component_of_matrix(matrix, tuple("abcd"), 200)
    # The delta method by simulation of normal data: standard errors over 4,000 samples.
    random = np.random.default_rng(1)
    samples = random.multivariate_normal(np.zeros(4), matrix, (4000, 200))
    drawn = loadings_and_share(np.array([np.corrcoef(one.T) for one in samples]), np.ones(4))
    assert found.loading_error_z == pytest.approx(np.arctanh(drawn[:, :4]).std(axis=0), rel=0.06)
    assert found.share_error_logit == pytest.approx(np.log(drawn[:, 4] / (1 - drawn[:, 4])).std(), rel=0.06)


def test_the_sign_is_that_of_the_majority_or_of_a_reference() -> None:
    data = scores() * np.array([1, 1, -1])
    found = component(data)
    assert (found.loadings > 0).tolist() == [True, True, False]
    assert (found.loading_low[:2] > 0).all() and found.loading_high[2] < 0
    turned = component(data, reference="c")
    assert turned.loadings == pytest.approx(-found.loadings) and turned.loading_low == pytest.approx(-found.loading_high)
    assert turned.share == found.share


def test_units_do_not_matter_and_incomplete_clients_are_left_out() -> None:
    data = scores()
    found = component(data)
    rescaled = component(data * [1, 100, 0.01] + [0, 1e4, 5])
    assert rescaled.loadings == pytest.approx(found.loadings, abs=1e-9)
    assert rescaled.loading_error_z == pytest.approx(found.loading_error_z, rel=1e-6)
    longer = np.vstack([[np.nan, 1.0, 1.0], data])
    assert component(longer).loadings == pytest.approx(found.loadings) and component(longer).n == 120


def test_what_is_needed_is_said() -> None:
    data = scores()
    assert component(data[:, :1]).reason == "needs at least two scores; has 1"
    assert component(data[:9]).reason == "needs at least 10 clients with all scores; has 9"
    constant = data.copy()
    constant[:, 1] = 3.3
    assert component(constant).reason == "the same for all clients: b"
    assert component(constant).status == "not_estimable" and np.isnan(component(constant).loadings).all()
    gaps = np.corrcoef(data.T)
    gaps[0, 1] = gaps[1, 0] = np.nan
    assert "has gaps" in first_component_of_matrix(gaps, NAMES, 100).reason
    impossible = np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])
    assert "not positive semidefinite" in first_component_of_matrix(impossible, NAMES, 100).reason
    assert "no first one" in first_component_of_matrix(np.eye(3), NAMES, 100).reason
    assert first_component_of_matrix(np.corrcoef(data.T), NAMES, 3).reason == "needs at least 4 clients; has 3"
    with pytest.raises(ValueError, match="d is none of the scores"):
        component(data, reference="d")
    with pytest.raises(ValueError, match="needs a name"):
        first_component(data, ("a", "b"), generator(1, "test"))


def test_a_component_that_changes_between_resamples_and_few_therapists_are_flagged() -> None:
    unrelated = component(scores(strength=0.0))
    assert unrelated.status == "flagged" and "another component is the first" in unrelated.reason
    few = component(scores(), clusters=np.arange(120) % 4)
    assert (few.status, few.unit, few.n_units) == ("flagged", "rows", 120)
    assert few.reason == "fewer than 10 therapists: clients taken as independent"
    rare = np.zeros(30)
    rare[0] = 1.0
    almost = component(np.column_stack([scores(30)[:, :2], rare]))
    assert "constant in too many resamples" in almost.reason and np.isnan(almost.loading_low).all() and np.isfinite(almost.loadings).all()


def test_scores_that_determine_each_other_have_a_component_without_error() -> None:
    x = scores()[:, :1]
    same = component(np.hstack([x, 2 * x]))
    assert same.loadings == pytest.approx([1, 1]) and same.share == pytest.approx(1)
    matrix = first_component_of_matrix(np.ones((2, 2)), ("a", "b"), 100)
    for found in (same, matrix):
        assert found.reason == "no interval: a score and the component determine each other" and np.isnan(found.loading_low).all()
