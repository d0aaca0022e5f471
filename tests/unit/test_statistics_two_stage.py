"""Two-stage path models: pooled correlation matrices, holes in them, and what is said of sites that cannot be pooled."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from alliance.statistics import two_stage
from alliance.statistics.resampling import generator
from alliance.statistics.structural_fit import Moments, fit_structural, parse_structural


def test_without_holes_and_heterogeneity_two_stages_give_the_common_model() -> None:
    text = "alliance ~ a*empathy\noutcome ~ b*alliance\nindirect := a*b"
    stages = parse_structural(text)
    names = ("alliance", "outcome", "empathy")
    random = np.random.default_rng(4)
    truth = np.array([[1.0, 0.4, 0.4], [0.4, 1.0, 0.16], [0.4, 0.16, 1.0]])
    matrices = [np.corrcoef(random.multivariate_normal(np.zeros(3), truth, size=150).T) for _ in range(40)]
    cells = np.array([matrix[np.triu_indices(3, 1)] for matrix in matrices])
    pooled = two_stage.pool_correlations(cells, np.full(40, 150), names)
    found = two_stage.fit_pooled(stages, pooled, generator(1)).parameters.set_index("name")
    for name, value in (("alliance~empathy", 0.4), ("outcome~alliance", 0.4), ("indirect", 0.16)):
        assert abs(found.loc[name, "estimate"] - value) < 3 * found.loc[name, "std_error"]
    common = two_stage.pool_correlations(cells, np.full(40, 150), names, random_effects=False)
    assert common.cells["estimate"].to_numpy() == pytest.approx(cells.mean(axis=0), abs=1e-10)
    again = fit_structural(stages, Moments(40 * 149, common.matrix, None, list(names))).parameters
    expected = again.set_index(again["lhs"] + again["op"] + again["rhs"]).loc[["alliance~empathy", "outcome~alliance"]]
    stage = two_stage.fit_pooled(stages, common, generator(1)).parameters.set_index("name").loc[expected.index]
    assert stage["estimate"].to_numpy() == pytest.approx(expected["standardized"].to_numpy(), abs=0.003)
    assert stage["std_error"].to_numpy() == pytest.approx(expected["std_error_standardized"].to_numpy(), rel=0.02)


def test_a_correlation_that_no_site_has_is_named() -> None:
    cells = np.array([[0.3, np.nan, 0.2], [0.4, np.nan, 0.1], [0.2, np.nan, 0.2]])
    pooled = two_stage.pool_correlations(cells, [50, 60, 70], ("alliance", "outcome", "empathy"))
    assert pooled.reason == "no site has the correlation alliance-empathy"
    found = two_stage.fit_pooled(parse_structural("outcome ~ alliance + empathy"), pooled, generator(1))
    assert (found.status, found.reason, found.chi2) == ("not_estimable", pooled.reason, None)


def test_a_correlation_of_one_site_is_flagged() -> None:
    cells = np.array([[0.3, 0.1, 0.2], [0.4, np.nan, 0.1], [0.2, np.nan, 0.2]])
    pooled = two_stage.pool_correlations(cells, [50, 60, 70], ("alliance", "outcome", "empathy"))
    assert pooled.status == "flagged"
    assert "one site only: alliance-empathy" in pooled.reason
    assert pooled.cells["status"].tolist() == ["estimated", "flagged", "estimated"]
    assert np.isnan(pooled.cells["tau2"][1])


def test_impossible_correlations_are_left_out_and_counted() -> None:
    cells = np.array([[0.3, 0.1, 0.2], [0.4, 0.2, 0.1], [0.2, 1.2, 0.2], [0.9, 0.9, 0.9]])
    names = ("alliance", "outcome", "empathy")
    pooled = two_stage.pool_correlations(cells, [50, 60, 70, 3], names)
    assert pooled.n_sites == 3
    assert pooled.reason == "left out, outside (-1, 1) or of fewer than 4 clients: 4 correlations"
    cells[2, 1], cells[3] = np.nan, np.nan
    pd.testing.assert_frame_equal(pooled.cells, two_stage.pool_correlations(cells, [50, 60, 70, 3], names).cells)


def test_sizes_may_differ_by_cell_and_one_site_is_not_pooled() -> None:
    cells = np.array([[0.3, 0.1, 0.2], [0.4, 0.2, 0.1]])
    names = ("alliance", "outcome", "empathy")
    by_cell = two_stage.pool_correlations(cells, np.array([[50, 50, 50], [60, 60, 60]]), names)
    pd.testing.assert_frame_equal(by_cell.cells, two_stage.pool_correlations(cells, [50, 60], names).cells)
    assert two_stage.pool_correlations(cells[:1], [50], names).reason == "needs at least 2 sites, has 1"
    assert two_stage.pool_correlations(np.empty((0, 3)), [], names).status == "not_estimable"
