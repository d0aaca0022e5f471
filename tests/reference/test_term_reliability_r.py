"""Reliability of the terms of a polynomial: equal to psych's alpha and the published formula in R, and to what parallel measures show."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import r_script
from alliance.statistics.term_reliability import TERMS, product_reliability, square_reliability, term_reliability
from needed import needs_r


def answers(seed: int, sessions: int) -> pd.DataFrame:
    """Return items of two raters (six and six), their means about one constant, clients and therapists."""
    random = np.random.default_rng(seed)
    n, therapists = 70, 11
    of = np.repeat(np.arange(n), random.integers(1, sessions + 1, n) if sessions > 1 else 1)
    therapist = np.r_[np.arange(therapists), random.integers(0, therapists, n - therapists)][of]
    level = random.standard_normal(n)[of] + 0.7 * random.standard_normal(len(of))
    frame = {"client": of, "therapist": therapist}
    for name, share, middle in (("x", 1.0, 5.3), ("y", 0.5, 4.6)):
        own = share * level + 0.6 * random.standard_normal(n)[of]
        items = middle + own[:, None] + 1.1 * random.standard_normal((len(of), 6))
        frame |= {f"{name}{place + 1}": items[:, place] for place in range(6)}
        frame[name] = items.mean(axis=1) - 5
    return pd.DataFrame(frame)


@needs_r
def test_reliabilities_of_clients_and_within_them_equal_r(tmp_path) -> None:
    frames = {"clients": answers(3, 1), "sessions": answers(4, 6)}
    for name, frame in frames.items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False, float_format="%.17g")
    expected = r_script.values("term_reliability.R", tmp_path)
    for name, frame in frames.items():
        items = [frame[[f"{side}{place}" for place in range(1, 7)]] for side in "xy"]
        client = frame["client"] if name == "sessions" else None
        found = term_reliability(*items, frame["x"], frame["y"], frame["therapist"], client)
        assert found.method == "cluster_jackknife" and found.n_clusters == 11
        assert found.estimate == pytest.approx(expected[name]["estimate"], rel=1e-9)
        assert found.std_error == pytest.approx(expected[name]["se"], rel=1e-7)


@pytest.mark.parametrize(("a", "b", "r"), [(0.0, 0.0, 0.5), (0.4, -0.7, 0.3), (1.5, 1.2, 0.6)])
def test_the_formulas_are_what_two_parallel_measures_of_a_million_clients_correlate(a: float, b: float, r: float) -> None:
    # Reliability is the correlation of two parallel measures: the same true scores, errors of their own.
    random = np.random.default_rng(11)
    n, rel_x, rel_y = 1_000_000, 0.8, 0.6
    true = random.standard_normal((n, 2)) @ np.linalg.cholesky([[rel_x, r], [r, rel_y]]).T + np.array([a, b])
    forms = [true + random.standard_normal((n, 2)) * np.sqrt([1 - rel_x, 1 - rel_y]) for _ in range(2)]
    (x1, y1), (x2, y2) = (form.T for form in forms)
    shown = [np.corrcoef(x1 * y1, x2 * y2)[0, 1], np.corrcoef(x1**2, x2**2)[0, 1]]
    # Monte Carlo error of a correlation of products is below .003 here.
    assert product_reliability(rel_x, rel_y, r, a, b) == pytest.approx(shown[0], abs=0.009)
    assert square_reliability(rel_x, a) == pytest.approx(shown[1], abs=0.009)


def test_terms_are_named_in_the_order_of_the_coefficients() -> None:
    assert TERMS == ("x", "y", "xx", "xy", "yy")
    # Means of zero and no correlation: the product of two reliabilities, and a square's is the reliability squared.
    assert float(product_reliability(0.8, 0.5, 0.0)) == pytest.approx(0.4)
    assert float(square_reliability(0.8)) == pytest.approx(0.64)
