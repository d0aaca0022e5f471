"""Saturated models of two levels, and mediation within and between clients, equal what lavaan gives in R."""

from __future__ import annotations

import multilevel_reference
import numpy as np
import pytest
import two_level_reference as reference
from alliance.statistics.multilevel_mediation import MultilevelMediation, multilevel_mediation
from alliance.statistics.two_level import TwoLevel, two_level
from needed import needs_r
from test_statistics_r import leaves

SETS = reference.two_level_sets()
STORED = reference.stored()
CHAINS = {
    "both_balanced": "1-1-1",
    "both_unbalanced": "1-1-1",
    "above_balanced": "2-1-1",
    "above_unbalanced": "2-1-1",
    "given": "2-1-1",
    "held": "1-1-1",
}
OF_LEVEL = {"w": "within", "b": "between"}
PATHS = {"within": {"a": "m~x.1", "b": "y~m.1", "direct": "y~x.1"}, "between": {"a": "m~x.2", "b": "y~m.2", "direct": "y~x.2"}}


def mediated(name: str, errors: str) -> MultilevelMediation:
    table = SETS[name]
    constant = {name: table[["t" if name == "held" else "z"]]} if name in ("held", "given") else {}
    return multilevel_mediation(
        table[["x", "m", "y"]], table["client"], kind=CHAINS[name], random=np.random.default_rng(1), errors=errors, **constant
    )


def demo() -> TwoLevel:
    table = multilevel_reference.data_of_r("Demo.twolevel", "lavaan")
    return two_level(table[["y1", "y2", "y3"]], table["cluster"], client_values=table[["w1", "w2"]], held=table[["x1", "x2", "x3"]])


@needs_r
def test_stored_values_are_what_r_gives_now() -> None:
    then, now = leaves(STORED), leaves(reference.computed())
    assert then.keys() == now.keys()
    for path, value in then.items():
        assert now[path] == pytest.approx(value, rel=1e-5, abs=1e-5), path


def test_the_log_likelihood_of_demo_twolevel_equals_lavaan() -> None:
    found = demo()
    assert STORED["demo"]["converged"] and found.status == "estimated"
    assert found.log_likelihood == pytest.approx(STORED["demo"]["loglik_given"], abs=1e-5)


def test_regressions_and_covariances_of_demo_twolevel_equal_lavaan() -> None:
    found, expected = demo(), STORED["demo"]["rows"]
    predictors = ("w1.2", "w2.2", "x1.1", "x2.1", "x3.1")
    free = {f"y{y + 1}~{name}": found.coefficients[1 + position, y] for position, name in enumerate(predictors) for y in range(3)}
    for i in range(3):
        for j in range(i, 3):
            free[f"y{i + 1}~~y{j + 1}.1"] = found.within[i, j]
    # Between, lavaan's covariances are those that w1 and w2 leave.
    own, cross, rest = found.between[:2, :2], found.between[:2, 2:], found.between[2:, 2:]
    left = rest - cross.T @ np.linalg.solve(own, cross)
    for i in range(3):
        for j in range(i, 3):
            free[f"y{i + 1}~~y{j + 1}.2"] = left[i, j]
    free |= {"w1~~w1.2": own[0, 0], "w1~~w2.2": own[0, 1], "w2~~w2.2": own[1, 1]}
    assert len(free) == 30
    for name, value in free.items():
        assert value == pytest.approx(expected[name]["est"], abs=1e-5), name


def test_standard_errors_of_demo_twolevel_equal_lavaan() -> None:
    found, expected = demo(), STORED["demo"]["rows"]

    def slopes(within: np.ndarray, between: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        variances = np.diagonal(within, axis1=1, axis2=2)
        return np.concatenate([coefficients[:, 1:].reshape(len(within), -1), variances, between[:, 0, :2], between[:, 1, 1:2]], axis=1)

    derived = found.derived(slopes, "observed_information")
    names = [f"y{y}~{name}" for name in ("w1.2", "w2.2", "x1.1", "x2.1", "x3.1") for y in (1, 2, 3)]
    names += [f"y{y}~~y{y}.1" for y in (1, 2, 3)] + ["w1~~w1.2", "w1~~w2.2", "w2~~w2.2"]
    for name, error in zip(names, np.sqrt(np.diagonal(derived.vcov)), strict=True):
        assert error == pytest.approx(expected[name]["se"], rel=1e-4), name


@pytest.mark.parametrize("name", CHAINS)
def test_log_likelihood_and_covariances_of_chains_equal_lavaan(name: str) -> None:
    model, expected = mediated(name, "observed_information").model, STORED[name]
    assert expected["converged"] and model.n_sessions == expected["n"]
    if name == "held":
        t = SETS["held"]["t"]
        given = expected["loglik"] + len(t) / 2 * (np.log(2 * np.pi * t.var(ddof=0)) + 1)
        assert model.log_likelihood == pytest.approx(given, abs=1e-5)
        return
    assert model.log_likelihood == pytest.approx(expected["loglik"], abs=1e-5)
    if name == "given":
        return
    assert model.within == pytest.approx(np.array(expected["within"]), abs=1e-5)
    assert model.between == pytest.approx(np.array(expected["between"]), abs=1e-5)


@pytest.mark.parametrize("name", CHAINS)
def test_paths_and_effects_equal_lavaan(name: str) -> None:
    found, rows = mediated(name, "observed_information"), STORED[name]["rows"]
    above, compared = CHAINS[name] == "2-1-1", 0
    for level, paths in PATHS.items():
        for effect, label in paths.items():
            if above and level == "within" and effect != "b":
                continue
            one = found.of(level, effect)
            assert (one.estimate, one.std_error) == (
                pytest.approx(rows[label]["est"], abs=1e-5),
                pytest.approx(rows[label]["se"], rel=1e-4),
            )
            compared += 1
    for label, level in ((f"{kind}{one}", level) for kind in "it" for one, level in OF_LEVEL.items()):
        if label in rows:
            one = found.of(level, "indirect" if label[0] == "i" else "total")
            assert (one.estimate, one.std_error) == (
                pytest.approx(rows[label]["est"], abs=1e-5),
                pytest.approx(rows[label]["se"], rel=1e-4),
            )
            compared += 1
    assert compared == {"given": 5, "held": 8}.get(name, 6 if above else 10)


@pytest.mark.parametrize("name", [name for name in CHAINS if name != "held"])
def test_robust_errors_equal_those_of_lavaan(name: str) -> None:
    """Lavaan takes G for G / (G - 1) clients."""
    found, rows = mediated(name, "cluster_robust"), STORED[name]["robust"]
    factor = np.sqrt(found.model.n_clients / (found.model.n_clients - 1))
    for label, expected in rows.items():
        one = found.of(OF_LEVEL[label[1]], "indirect" if label[0] == "i" else "total")
        assert one.std_error == pytest.approx(factor * expected["se"], rel=1e-4), label
