"""Reliability within and between clients equals what lavaan and semTools give in R, and generalizability what psych and lme4 give."""

from __future__ import annotations

import measurement_reference as reference
import multilevel_reference
import numpy as np
import pandas as pd
import pytest
from alliance.statistics.multilevel_reliability import TwoLevelReliability, generalizability, two_level_reliability
from needed import needs_r
from test_statistics_r import leaves

SETS = reference.session_sets()


def items(table: pd.DataFrame) -> np.ndarray:
    return table.filter(regex=r"^[iy]\d$").to_numpy()


def demo(count: int) -> tuple[TwoLevelReliability, dict]:
    table = multilevel_reference.data_of_r("Demo.twolevel", "lavaan")
    found = two_level_reliability(items(table)[:, :count], table["cluster"])
    return found, reference.stored("sessions")["demo_three" if count == 3 else "demo"]


def fitted(name: str) -> tuple[TwoLevelReliability, dict]:
    if name == "demo_three":
        return demo(3)
    return two_level_reliability(items(SETS[name]), SETS[name]["client"]), reference.stored("sessions")[name]


@needs_r
def test_stored_values_are_what_r_gives_now() -> None:
    then, now = leaves(reference.stored("sessions")), leaves(reference.computed("sessions"))
    assert then.keys() == now.keys()
    for path, value in then.items():
        assert now[path] == pytest.approx(value, rel=1e-5, abs=1e-5), path


@pytest.mark.parametrize("name", [*SETS, "demo_three"])
def test_two_level_models_equal_lavaan(name: str) -> None:
    found, expected = fitted(name)
    assert expected["converged"] and found.n_sessions == expected["n"]
    assert found.log_likelihood == pytest.approx(expected["loglik"], abs=1e-5)
    for part in ("loadings_within", "errors_within", "loadings_between", "errors_between"):
        assert getattr(found, part) == pytest.approx(np.array(expected[part]), abs=1e-4), part
    for part in ("covariance_within", "covariance_between"):
        assert getattr(found, part) == pytest.approx(np.array(expected[part]), abs=1e-4), part


@pytest.mark.parametrize("name", [*SETS, "demo_three"])
def test_two_level_reliabilities_equal_lavaan_and_semtools(name: str) -> None:
    found, expected = fitted(name)
    for coefficient in ("omega_within", "omega_between", "omega_of_means", "alpha_within", "alpha_between"):
        assert getattr(found, coefficient).estimate == pytest.approx(expected[coefficient], abs=1e-5), coefficient


def test_errors_are_near_those_of_lavaan_in_normal_data_of_many_clients() -> None:
    table = reference.sessions_of(340, 1000, 6, 5, True)
    found = two_level_reliability(items(table), table["client"])
    groups = np.arange(1000) % 250
    fine = two_level_reliability(items(table), table["client"], groups[table["client"]])
    expected = reference.stored("sessions")["many"]
    # The spread of 250 left-out values has an error of 4.5 %.
    for coefficient, error in (("omega_within", "se_within"), ("omega_between", "se_between")):
        assert getattr(fine, coefficient).std_error == pytest.approx(expected[error], rel=0.15)
        assert getattr(found, coefficient).std_error == pytest.approx(expected[error], rel=0.35)


def test_a_higher_likelihood_than_lavaans_is_found_where_one_factor_has_several_maxima() -> None:
    # The six items of Demo.twolevel belong to two factors; lavaan stops at the one of the first three.
    found, expected = demo(6)
    assert found.log_likelihood > expected["loglik"] + 50
    assert found.covariance_within == pytest.approx(np.array(expected["covariance_within"]), abs=1e-4)


def test_generalizability_of_balanced_ratings_equals_psych_and_lme4() -> None:
    table, expected = SETS["balanced"], reference.stored("sessions")["balanced"]["general"]
    found = generalizability(items(table), table["client"], table["session"])
    assert list(found.components.values()) == pytest.approx(expected["components"], abs=1e-8)
    assert list(found.components.values()) == pytest.approx(expected["crossed_reml"], abs=1e-5)
    assert list(found.nested_components.values()) == pytest.approx(expected["nested_reml"], abs=1e-5)
    assert list(found.nested_components.values()) == pytest.approx(expected["nested"], abs=1e-4)
    for name in ("r_kf", "r_1r", "r_kr", "r_c"):
        assert found.coefficients[name].estimate == pytest.approx(expected[name], abs=1e-8), name
    for name in ("r_krn", "r_cn"):
        assert found.coefficients[name].estimate == pytest.approx(expected[name], abs=1e-5), name
    person, person_item, residual = (expected["components"][which] for which in (0, 4, 6))
    between = person + person_item / 5
    assert found.coefficients["r_1f"].estimate == pytest.approx(between / (between + residual / 5), abs=1e-8)


def test_generalizability_of_unbalanced_ratings_is_near_restricted_likelihood() -> None:
    table, expected = SETS["unbalanced"], reference.stored("sessions")["unbalanced"]["general"]
    found = generalizability(items(table), table["client"], table["session"])
    # Both are estimates of the same variances by other weights; their errors are several times these differences.
    assert list(found.components.values()) == pytest.approx(expected["crossed_reml"], abs=0.02)
    assert list(found.nested_components.values()) == pytest.approx(expected["nested_reml"], abs=0.01)
