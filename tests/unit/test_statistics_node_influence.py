"""Shares of the variance over specifications, in factorials whose truth is known, and where combinations are missing."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from alliance.statistics.node_influence import node_influence

GRID = pd.DataFrame(itertools.product(["a", "b"], ["x", "y", "z"], ["p", "q"]), columns=["first", "second", "third"])


def test_a_full_factorial_without_interactions_is_divided_among_the_main_effects():
    first, second = GRID["first"].eq("b").astype(float), GRID["second"].map({"x": -1.0, "y": 0.0, "z": 1.0})
    found = node_influence(GRID, 0.3 + 0.2 * first + 0.1 * second)
    # Variances 0.2^2 / 4 and 0.1^2 * 2 / 3.
    parts = {"first": 0.01, "second": 0.02 / 3, "third": 0.0}
    whole = sum(parts.values())
    for node, part in parts.items():
        assert found.main[node] == pytest.approx(part / whole, abs=1e-12)
        assert found.total[node] == pytest.approx(part / whole, abs=1e-12)
    assert found.all_main == pytest.approx(1) and found.all_pairs == pytest.approx(1)
    assert found.pairs.abs().max() < 1e-12


def test_an_interaction_is_in_both_totals_and_in_no_main_effect():
    product = GRID["first"].map({"a": -1.0, "b": 1.0}) * GRID["third"].map({"p": -1.0, "q": 1.0})
    found = node_influence(GRID, 0.5 + 0.1 * product)
    assert found.main.abs().max() < 1e-12 and found.all_main == pytest.approx(0, abs=1e-12)
    assert found.total[["first", "third"]].tolist() == pytest.approx([1, 1]) and found.total["second"] == pytest.approx(0, abs=1e-12)
    assert found.pairs[("first", "third")] == pytest.approx(1) and found.all_pairs == pytest.approx(1)


def test_in_an_incomplete_factorial_shares_are_what_models_lose_and_what_is_left_within_equals():
    kept = GRID.drop(index=[1, 4, 10]).reset_index(drop=True)
    y = np.random.default_rng(1).standard_normal(len(kept))
    found = node_influence(kept, y)

    def unexplained(*nodes: str) -> float:
        design = np.column_stack(
            [np.ones(len(kept)), *(pd.get_dummies(kept[node], drop_first=True).to_numpy(dtype=float) for node in nodes)]
        )
        return float(((y - design @ np.linalg.lstsq(design, y, rcond=None)[0]) ** 2).sum())

    whole = unexplained()
    assert found.main["second"] == pytest.approx((unexplained("first", "third") - unexplained("first", "second", "third")) / whole)
    groups = kept.assign(y=y).groupby(["first", "third"])["y"]
    assert found.total["second"] == pytest.approx(float(((y - groups.transform("mean")) ** 2).sum()) / whole)
    assert found.all_pairs >= found.all_main >= found.main.max()


def test_values_that_agree_have_no_shares_and_the_order_of_specifications_does_not_matter():
    assert node_influence(GRID, np.full(len(GRID), 0.31)) is None
    y = np.random.default_rng(2).standard_normal(len(GRID))
    order = np.random.default_rng(3).permutation(len(GRID))
    one, other = node_influence(GRID, y), node_influence(GRID.iloc[order].reset_index(drop=True), y[order])
    pd.testing.assert_series_equal(one.main, other.main, rtol=1e-12)
    pd.testing.assert_series_equal(one.total, other.total, rtol=1e-12)
    pd.testing.assert_series_equal(one.pairs, other.pairs, rtol=1e-9, atol=1e-12)


def test_one_node_alone_and_a_node_with_one_option_left():
    alone = node_influence(GRID[["second"]], GRID["second"].map({"x": 1.0, "y": 2.0, "z": 4.0}))
    assert alone.main["second"] == pytest.approx(1) and alone.total["second"] == pytest.approx(1) and alone.pairs.empty
    kept = GRID[GRID["first"].eq("a")].reset_index(drop=True)
    found = node_influence(kept, np.arange(len(kept), dtype=float))
    assert found.main["first"] == pytest.approx(0, abs=1e-12) and found.total["first"] == pytest.approx(0, abs=1e-12)
