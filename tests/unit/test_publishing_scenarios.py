"""What one scenario hides is told by no other, nor by several together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from alliance.publishing import attack
from alliance.publishing.disclosure import gate
from alliance.questions import contract
from alliance.questions.contract import POOLED, WITH_NUMBERS
from unit.published_study import EFFECT, PUBLIC, row, status, study, table

SITE_EFFECTS, POOLED_EFFECTS = ("alliance_outcome", "site_effects"), ("alliance_outcome", "pooled")
PLACE = ("client_factors", "factors")
OUTPUT = "/".join(PLACE)
LARGE = [status(site, 200, 30, largest_caseload_share=0.01) for site in ("birch", "cedar", "elm", "oak", "rowan")]


def told(clients, hidden, pooled=True):
    """Return the published rows of some sites and over them, where a few are hidden."""
    keys = {"factor": "age", "alliance_rater": "client"}
    rows = [row(site, n, 8, **keys) for site, n in clients.items()]
    rows += [row(POOLED, sum(clients.values()), 40, **keys) | {"n_sites": len(clients)}] if pooled else []
    frame = table(*PLACE, rows)
    gone = frame["site"].isin(hidden)
    counts = frame["n_clients"].to_numpy(dtype=float)
    frame = frame.assign(status=frame["status"].mask(gone, "withheld"), n_clients=frame["n_clients"].mask(gone))
    return attack.Told(frame, counts, np.full(len(frame), np.nan))


def exposed(mine, *others):
    schema = {OUTPUT: contract.table(*PLACE)}
    return attack.recoverable({OUTPUT: mine}, schema, beside=[{OUTPUT: other} for other in others])


def test_the_attacker_uses_what_another_scenario_shows_of_the_same_count():
    sizes = {"birch": 50, "elm": 9, "oak": 30}
    base = told(sizes, ["elm", "oak"])
    assert exposed(base) == []
    [found] = exposed(told(sizes, ["elm"], pooled=False), base)
    assert (found.output, found.low, found.high) == (OUTPUT, 9.0, 9.0)
    # Of another count nothing follows: who says that the clients are the same?
    assert exposed(told(sizes | {"oak": 45}, ["elm"], pooled=False), base) == []


def test_the_attacker_adds_up_over_scenarios_with_other_sites():
    base = told({"birch": 50, "elm": 9, "oak": 30}, ["elm", "oak"])
    # Without birch nothing is shown of elm and oak but their sum; with oak alone beside birch, oak is what is left.
    assert exposed(told({"elm": 9, "oak": 30}, ["elm", "oak"]), base) == []
    found = exposed(told({"birch": 50, "oak": 30}, ["oak"]), base)
    assert {(one.low, one.high) for one in found} == {(9.0, 9.0), (30.0, 30.0)}


def test_a_scenario_that_tells_the_same_as_another_is_looked_at_once(monkeypatch):
    base = told({"birch": 50, "elm": 9, "oak": 30}, ["elm", "oak"])
    monkeypatch.setattr(attack, "exposed", lambda *_: pytest.fail("nothing is new"))
    assert exposed(base, base) == []


def scenario(clients, others=(), statuses=LARGE):
    """Return what may be published of effects at sites and over them, beside other scenarios."""
    rows = [row(site, n, max(4, n // 5), **EFFECT) for site, n in clients.items()]
    over = [row(POOLED, sum(clients.values()), sum(max(4, n // 5) for n in clients.values()), **EFFECT, coding="as_estimated")]
    tables = {
        "site_effects": table(*SITE_EFFECTS, rows),
        "pooled": table(*POOLED_EFFECTS, [one | {"n_sites": len(clients)} for one in over]),
    }
    return gate(study({"alliance_outcome": tables}, statuses), {}, PUBLIC, beside=[one.beside for one in others])


def shown(made):
    """Return which sites' rows, and whether the row over sites, have numbers."""
    tables = made.data.tables["alliance_outcome"]
    numbers = {name: frame[frame["status"].isin(WITH_NUMBERS)] for name, frame in tables.items()}
    return {*numbers["site_effects"]["site"], *(["all"] if len(numbers["pooled"]) else [])}


SIZES = {"birch": 50, "cedar": 45, "elm": 9, "oak": 30, "rowan": 40}


def test_a_number_that_one_scenario_hides_is_hidden_in_the_others():
    base = scenario(SIZES)
    assert shown(base) == {"birch", "cedar", "rowan", "all"}
    without = {site: n for site, n in SIZES.items() if site != "elm"}
    assert "oak" in shown(scenario(without))
    assert "oak" not in shown(scenario(without, [base]))


def test_where_all_others_are_known_from_another_scenario_the_row_over_sites_goes():
    base = scenario(SIZES | {"elm": 14})
    assert shown(base) == {*SIZES, "all"}
    assert "all" in shown(scenario(SIZES | {"elm": 4}))
    assert shown(scenario(SIZES | {"elm": 4}, [base])) == {"birch", "cedar", "oak", "rowan"}


def test_a_scenario_without_a_site_that_is_not_shown_by_itself_has_no_row_over_the_others():
    sites = [status("birch", 80, 12), status("cedar", 60, 9), status("elm", 16, 4), status("oak", 15, 4), status("rowan", 70, 9)]
    sizes = {"birch": 75, "cedar": 55, "elm": 15, "oak": 14, "rowan": 65}
    base = scenario(sizes, statuses=sites)
    assert shown(base) == {"birch", "cedar", "rowan", "all"}

    def without(*names):
        return shown(scenario({site: n for site, n in sizes.items() if site not in names}, [base], sites))

    assert "all" not in without("elm")
    assert "all" in without("elm", "oak")
    assert "all" in without("cedar")


def test_equal_scenarios_hide_equally():
    base = scenario(SIZES)
    again = scenario(SIZES, [base])
    assert shown(again) == shown(base)
    assert dataclasses.asdict(again)["decisions"] == dataclasses.asdict(base)["decisions"]
