"""Stability over sessions equals loops in base R."""

from __future__ import annotations

import pytest
import stability_reference as reference
from alliance.statistics.stability import stability, stability_contrasts
from needed import needs_r
from statistics_reference import stored
from test_statistics_r import leaves

SCORES, THERAPIST = reference.scores()


@needs_r
def test_stored_values_are_what_r_gives_now() -> None:
    assert leaves(reference.computed()) == pytest.approx(leaves(stored("stability")), rel=1e-9)


@pytest.mark.parametrize("rater", list(SCORES))
@pytest.mark.parametrize(("name", "pairs"), [("adjacent", None), ("late", [(0, 3)])])
def test_stability_equals_loops(rater: str, name: str, pairs: list | None) -> None:
    expected = stored("stability")[name][rater]
    found = stability(SCORES[rater], THERAPIST, pairs=pairs)
    told = [found.estimate, found.std_error_z, found.ci_low, found.ci_high]
    assert told == pytest.approx([expected[one] for one in ("estimate", "se_z", "low", "high")], abs=1e-10)
    assert (found.method, found.status, found.n_clusters, found.n_pairs) == ("cluster_jackknife", "estimated", 12, 1 if pairs else 5)


@pytest.mark.parametrize("pair", [("therapist", "client"), ("client", "observer")])
def test_contrasts_equal_loops(pair: tuple[str, str]) -> None:
    expected = stored("stability")["contrasts"]["_".join(pair)]
    found = stability_contrasts(SCORES, THERAPIST)[pair]
    told = [found.first, found.second, found.difference, found.std_error, found.p_value]
    assert told == pytest.approx([expected[one] for one in ("first", "second", "difference", "se", "p")], abs=1e-10)
