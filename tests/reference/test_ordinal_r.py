"""Polychoric correlations and reliabilities of ordinal items equal what lavaan, semTools, psych and polycor give in R."""

from __future__ import annotations

import measurement_reference as reference
import numpy as np
import pytest
from alliance.statistics.ordinal_reliability import categorical_omega, ordinal_reliability
from alliance.statistics.polychoric import polychoric, smoothed
from needed import needs_r
from test_statistics_r import leaves

SETS = reference.ordinal_sets()


def stored(name: str, key: str) -> np.ndarray:
    return np.array(reference.stored("ordinal")[name][key], dtype=float)


@needs_r
def test_stored_values_are_what_r_gives_now() -> None:
    then, now = leaves(reference.stored("ordinal")), leaves(reference.computed("ordinal"))
    assert then.keys() == now.keys()
    for path, value in then.items():
        assert now[path] == pytest.approx(value, rel=1e-6, abs=1e-6), path


@pytest.mark.parametrize("name", sorted(SETS))
def test_correlations_and_thresholds_equal_lavaan(name: str) -> None:
    found = polychoric(SETS[name])
    assert found.correlation == pytest.approx(stored(name, "lavaan"), abs=1e-6)
    for own, expected in zip(found.thresholds, reference.stored("ordinal")[name]["thresholds"].values(), strict=True):
        assert own[np.isfinite(own)] == pytest.approx(np.atleast_1d(expected), abs=1e-10)


# R's optimize() stops within 6e-5 of the maximum.
@pytest.mark.parametrize("name", ["five", "sparse", "unequal"])
def test_uncorrected_correlations_equal_polychor(name: str) -> None:
    assert polychoric(SETS[name], correction="none").correlation == pytest.approx(stored(name, "polychor"), abs=1e-4)


@pytest.mark.parametrize("name", ["five", "sparse", "incomplete"])
def test_correction_of_psych_does_nothing_to_items_of_equal_categories(name: str) -> None:
    assert polychoric(SETS[name], correction="none").correlation == pytest.approx(stored(name, "psych"), abs=1e-4)


@pytest.mark.parametrize("name", sorted(SETS))
def test_half_an_answer_in_empty_cells_equals_polychor_of_such_tables(name: str) -> None:
    found = polychoric(SETS[name], correction="half")
    assert found.correlation == pytest.approx(stored(name, "corrected"), abs=1e-4)
    # psych adds the halves without dividing by the new total.
    assert found.correlation == pytest.approx(stored(name, "psych_half"), abs=0.005 if name != "sparse" else 0.05)


def test_a_table_of_two_by_two_with_an_empty_cell_has_no_maximum_below_one() -> None:
    uncorrected = polychoric(SETS["binary"], correction="none")
    assert uncorrected.status == "flagged"
    assert np.argwhere(uncorrected.at_limit).tolist() == [[1, 2], [2, 1]]
    others = ~uncorrected.at_limit
    assert uncorrected.correlation[others] == pytest.approx(stored("binary", "polychor")[others], abs=1e-4)
    assert uncorrected.correlation[others] == pytest.approx(stored("binary", "lavaan_none")[others], abs=1e-6)


@pytest.mark.parametrize("name", ["five", "sparse"])
def test_smoothing_equals_that_of_psych(name: str) -> None:
    turned = stored(name, "psych")
    turned[0, 1] = turned[1, 0] = -0.95
    assert np.linalg.eigvalsh(turned)[0] < 0
    assert smoothed(turned) == pytest.approx(stored(name, "smoothed"), abs=1e-10)


@pytest.mark.parametrize("name", sorted(SETS))
def test_loadings_equal_lavaans_unweighted_least_squares(name: str) -> None:
    assert reference.stored("ordinal")[name]["converged"]
    assert ordinal_reliability(SETS[name]).loadings == pytest.approx(stored(name, "loadings"), abs=1e-5)


@pytest.mark.parametrize("name", sorted(SETS))
def test_reliabilities_equal_semtools_and_psych(name: str) -> None:
    found = ordinal_reliability(SETS[name])
    assert found.categorical_omega.estimate == pytest.approx(stored(name, "omega").item(), abs=1e-6)
    assert found.ordinal_omega.estimate == pytest.approx(stored(name, "omega_of_normals").item(), abs=1e-6)
    assert found.ordinal_alpha.estimate == pytest.approx(stored(name, "alpha").item(), abs=1e-6)
    implied = categorical_omega(found.loadings, polychoric(SETS[name]).thresholds)
    assert float(implied) == pytest.approx(stored(name, "omega_model").item(), abs=1e-6)
