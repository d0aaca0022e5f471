"""Interactions within clients equal mixed models of lme4, and their errors equal lm without each therapist."""

from __future__ import annotations

import numpy as np
import pytest
import within_interaction_reference as reference
from alliance.statistics.within_interaction import WithinInteraction, within_interaction
from needed import needs_r
from test_statistics_r import leaves

SETS = reference.within_interaction_sets()
STORED = reference.stored()


def fitted(name: str) -> WithinInteraction:
    table = SETS[name]
    series = (table[column] for column in ("technique", "alliance", "y", "client", "therapist"))
    return within_interaction(*series, held=table[["prior", "session"]])


@needs_r
def test_stored_values_are_what_r_gives_now() -> None:
    then, now = leaves(STORED), leaves(reference.computed())
    assert then.keys() == now.keys()
    for path, value in then.items():
        assert now[path] == pytest.approx(value, rel=1e-6, abs=1e-8), path


@pytest.mark.parametrize("name", SETS)
def test_slopes_equal_those_of_a_mixed_model_with_random_intercepts(name: str) -> None:
    found, expected = fitted(name), STORED[name]
    assert found.coefficients == pytest.approx(np.array(expected["coefficients"]), rel=1e-6)
    assert (found.n_sessions, found.found.n) == (expected["n"], expected["clients"])


@pytest.mark.parametrize("name", SETS)
def test_standardised_slopes_and_their_errors_equal_base_r(name: str) -> None:
    found, expected = fitted(name).found, STORED[name]
    assert found.estimate == pytest.approx(np.array(expected["standardised"]), rel=1e-8)
    assert found.method == "cluster_jackknife"
    assert found.std_error == pytest.approx(np.array(expected["errors"]), rel=1e-8)
