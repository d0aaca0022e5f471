"""A number that is hidden so that another cannot be worked out stands under no other name."""

from __future__ import annotations

import dataclasses

import pytest
from alliance.publishing.disclosure import gate
from alliance.questions.contract import POOLED
from unit.published_study import EFFECT, PUBLIC, SHARE, gated, gated_rows, row, status, study, table, with_numbers

BOTH = pytest.mark.parametrize("profile", [PUBLIC, SHARE], ids=["public", "share"])
SIZES = {"birch": 50, "cedar": 45, "elm": 4, "oak": 30, "rowan": 40}
LARGE = [status(site, 200, 30, largest_caseload_share=0.01) for site in SIZES]
OWN = {**EFFECT, "headline": "no"}


def effects(oak=0.2, by_its_own_name=True):
    """Return effects of five sites, one of four clients, and over them; oak's also by the name of its instrument, beside another site's."""
    preferred = {**EFFECT, "alliance_instrument": "(preferred)"}
    rows = [row(site, n, estimate=0.3 + n / 1000, std_error=1 / n, **preferred) for site, n in SIZES.items() if site != "oak"]
    rows.append(row("oak", 30, estimate=0.2, std_error=0.17, **preferred))
    if by_its_own_name:
        rows += [row("oak", 30, estimate=oak, std_error=0.17, **OWN), row("birch", 50, estimate=0.35, std_error=0.02, **OWN)]
    over = [row(POOLED, 169, 40, coding="as_estimated", **preferred)]
    return {"site_effects": table("alliance_outcome", "site_effects", rows), "pooled": table("alliance_outcome", "pooled", over)}


def shown(tables, profile, name="base", beside=()):
    """Return by instrument and site which effects are shown, and what was gated."""
    data = dataclasses.replace(study({"alliance_outcome": tables}, LARGE), scenario=name)
    made = gate(data, {}, profile, beside=[one.beside for one in beside])
    frame = made.data.tables["alliance_outcome"]["site_effects"]
    return dict(zip(zip(frame["alliance_instrument"], frame["site"]), with_numbers(frame))), made


@BOTH
def test_a_measure_that_is_hidden_as_the_preferred_one_is_hidden_by_its_own_name(profile):
    found, _ = shown(effects(), profile)
    assert found["(preferred)", "oak"] is found["wai_sr", "oak"] is False
    assert found["wai_sr", "birch"] is found["(preferred)", "birch"] is True


@BOTH
def test_another_number_of_as_many_clients_stays(profile):
    found, _ = shown(effects(oak=0.25), profile)
    assert (found["(preferred)", "oak"], found["wai_sr", "oak"]) == (False, True)


@BOTH
def test_what_another_scenario_shows_by_its_own_name_counts_as_shown(profile):
    # Base has no row of all measures, so that nothing there hides oak's: who reads both knows oak's clients.
    first = {"site_effects": effects()["site_effects"].iloc[-2:], "pooled": effects()["pooled"].iloc[:0]}
    _, base = shown(first, profile)
    found, _ = shown(effects(), profile, "late", [base])
    assert found["wai_sr", "oak"] is True
    # So that another site's number is hidden beside the small one's.
    assert [site for (name, site), told in found.items() if name == "(preferred)" and not told] == ["elm", "rowan"]


@BOTH
@pytest.mark.parametrize(("few", "expected"), [(3, False), (24, True)])
def test_an_agreement_does_not_tell_the_share_of_few_that_it_compares(profile, few, expected):
    # With the agreement of 60 clients and one share, kappa gives the other.
    share = {"estimate_type": "share", "scale": "identity", "ci_low": 0, "ci_high": 1}
    rows = [row(clients=60, definition=name, estimate=n / 60, **share) for name, n in (("unilateral", 20), ("few_sessions", few))]
    rows.append(row(clients=60, definition="unilateral", compared_with="few_sessions", estimate_type="kappa", estimate=0.26))
    made = gated_rows("dropout", "definitions", rows, profile, statuses=LARGE)
    assert dict(zip(made["definition"] + made["estimate_type"], with_numbers(made))) == {
        "few_sessionsshare": expected,
        "unilateralshare": True,
        "unilateralkappa": expected,
    }


@BOTH
def test_an_agreement_of_criteria_does_not_tell_a_share_of_another_table(profile):
    share = {"estimate_type": "share", "scale": "identity", "ci_low": 0, "ci_high": 1, "unit": "clients"}
    rates = [row(clients=60, criterion=name, statistic="observed", estimate=n / 60, **share) for name, n in (("drop", 20), ("observed", 3))]
    both = {"criterion": "drop", "compared_with": "observed", "unit": "clients"}
    agreements = [
        row(clients=60, **{**share, **both}, statistic="agreement", estimate=0.7),
        row(clients=60, **both, statistic="kappa", estimate_type="kappa", estimate=0.1),
    ]
    given = {"base_rates": table("ruptures", "base_rates", rates), "agreement": table("ruptures", "agreement", agreements)}
    made = gated({"ruptures": given}, profile, statuses=LARGE).data.tables["ruptures"]
    assert with_numbers(made["base_rates"]) == [True, False]
    assert dict(zip(made["agreement"]["statistic"], with_numbers(made["agreement"]))) == {"agreement": True, "kappa": False}
