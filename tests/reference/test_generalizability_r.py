"""Components of variance of ratings equal lme4's."""

from __future__ import annotations

import generalizability_reference as reference
import pytest
from alliance.statistics.generalizability import g_study, generalizability_with_interval
from needed import needs_r
from statistics_reference import stored
from test_statistics_r import leaves

LME4 = {"client": "client", "session": "target", "rater": "rater", "client x rater": "client:rater", "residual": "Residual"}


@needs_r
def test_stored_values_are_what_r_gives_now() -> None:
    assert leaves(reference.computed()) == pytest.approx(leaves(stored("generalizability")), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", reference.SHAPES)
@pytest.mark.parametrize("model", ["crossed", "nested"])
def test_components_equal_lme4(name: str, model: str) -> None:
    expected = stored("generalizability")[name][model]
    rows = reference.rows(name)
    found = g_study(rows if model == "crossed" else rows.drop(columns="rater"))
    known = {source: expected[LME4[source]] for source in found.variances}
    assert set(LME4[source] for source in known) == set(expected) - {"log_likelihood"}
    assert found.variances == pytest.approx(known, rel=1e-4, abs=1e-3)
    assert found.log_likelihood == pytest.approx(expected["log_likelihood"], abs=1e-6)


@pytest.mark.parametrize("name", ["balanced", "unbalanced"])
def test_leaving_out_therapists_equals_a_loop_over_lme4(name: str) -> None:
    expected = stored("generalizability")[name]["jackknife"]
    rows = reference.rows(name)
    study, *found = generalizability_with_interval(rows.assign(therapist=rows["client"] // 4))
    for at, one in enumerate(found):
        told = [one.estimate, one.std_error, one.ci_low, one.ci_high]
        assert told == pytest.approx([expected[part][at] for part in ("estimate", "std_error", "low", "high")], abs=1e-4)
        assert (one.status, one.reason) == ("estimated", "")
    k, s = study.raters_of_session, study.sessions_of_client
    own = [study.generalizability(k, s), study.session_generalizability(k)]
    assert own == pytest.approx([one.estimate for one in found], abs=1e-12)
