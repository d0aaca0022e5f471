"""The first principal component equals psych's and prcomp's, its resamples are distributed as boot's."""

from __future__ import annotations

import components_reference as reference
import numpy as np
import pytest
from alliance.statistics.components import first_component, first_component_of_matrix
from alliance.statistics.resampling import generator
from needed import needs_r
from statistics_reference import stored

DRAWS = 20000
QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)


def found(clusters: bool, **options):
    rows = reference.rows()
    therapist = rows["therapist"] if clusters else None
    return first_component(rows[list(reference.NAMES)], reference.NAMES, generator(1, "components"), therapist, draws=DRAWS, **options)


@needs_r
def test_stored_values_are_what_r_gives_now() -> None:
    now, then = reference.computed(), stored("components")
    for name in ("loadings", "share", "prcomp_loadings", "prcomp_share"):
        assert now[name] == pytest.approx(then[name], abs=1e-10)
    for unit in ("therapists", "clients"):
        assert np.array(now[unit]["quantiles"]) == pytest.approx(np.array(then[unit]["quantiles"]), abs=1e-8)


def test_loadings_and_share_equal_psych_and_prcomp() -> None:
    expected, own = stored("components"), found(True)
    assert own.loadings == pytest.approx(expected["loadings"], abs=1e-9)
    assert own.loadings == pytest.approx(expected["prcomp_loadings"], abs=1e-9)
    assert [own.share, own.share] == pytest.approx([expected["share"], expected["prcomp_share"]], abs=1e-9)
    assert (own.status, own.unit, own.n, own.n_units) == ("estimated", "clusters", 160, 20)


@pytest.mark.parametrize(("unit", "units"), [("therapists", 20), ("clients", 160)])
def test_resamples_are_distributed_as_those_of_boot(unit: str, units: int) -> None:
    expected, own = stored("components")[unit], found(unit == "therapists")
    # Four Monte Carlo standard errors of the difference of two samples of draws: of shares below a quantile, of standard deviations.
    for q, limits in zip(QUANTILES, expected["quantiles"], strict=True):
        below = (own.draws < np.array(limits)).mean(axis=0)
        assert below == pytest.approx(np.full(7, q), abs=4 * np.sqrt(q * (1 - q) * (1 / DRAWS + 1 / expected["draws"]))), q
    error = np.append(own.loading_error_z, own.share_error_logit) * np.sqrt((units - 1) / units)
    assert error == pytest.approx(np.array(expected["se"]), rel=4 * np.sqrt(1 / (2 * DRAWS) + 1 / (2 * expected["draws"])))


def test_a_matrix_gives_the_same_component_and_errors_near_those_of_independent_clients() -> None:
    rows = reference.rows()[list(reference.NAMES)]
    own, matrix = found(False), first_component_of_matrix(rows.corr(), reference.NAMES, len(rows))
    assert matrix.loadings == pytest.approx(own.loadings, abs=1e-12) and matrix.share == pytest.approx(own.share, abs=1e-12)
    assert (matrix.unit, matrix.n_units, matrix.status) == ("none", 0, "estimated")
    # Normal data, but 160 clients only: the resamples know the kurtosis of the sample, the delta method does not.
    assert matrix.loading_error_z == pytest.approx(own.loading_error_z, rel=0.25)
