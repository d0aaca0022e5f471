"""Components of the alliance: who brings what is found, shares add up, and what is lacking is said."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
from alliance.questions.components import question as components
from alliance.questions.contract import POOLED, faults
from alliance.questions.summary import SiteSummary
from alliance.statistics.dominance import general_dominance, shared_with_others
from unit.component_sites import SCALES, component_site
from unit.simulated_site import OPTIONS


def tables_of(sites, absent=()):
    return components.pool([*(components.estimate(site, OPTIONS, {}) for site in sites), *absent], OPTIONS, {})


def sound(tables):
    for name, table in tables.items():
        assert not faults(table, "components", name), (name, faults(table, "components", name))
        assert len(table), name
    return tables


def row(table, **keys):
    chosen = table[np.logical_and.reduce([table[name].eq(value).to_numpy(dtype=bool) for name, value in keys.items()])]
    assert len(chosen) == 1, (keys, len(chosen))
    return chosen.iloc[0]


@pytest.fixture(scope="module")
def sites():
    return [component_site(name, n=160, therapists=20, seed=number)[0] for number, name in enumerate("abcd")]


@pytest.fixture(scope="module")
def tables(sites):
    return sound(tables_of(sites))


def test_uncorrelated_predictors_have_their_squared_correlations_and_twins_share():
    apart = np.eye(4)
    apart[0, 1:] = apart[1:, 0] = (0.5, 0.3, 0.1)
    assert general_dominance(apart, 0, [1, 2, 3]) == pytest.approx([0.25, 0.09, 0.01, 0.35])
    assert shared_with_others(apart, [1, 2, 3]) == pytest.approx([0, 0, 0])
    twins = np.array([[1, 0.5, 0.5], [0.5, 1, 0.8], [0.5, 0.8, 1]])
    found = general_dominance(twins, 0, [1, 2])
    assert found[0] == pytest.approx(found[1]) and found[:2].sum() == pytest.approx(found[2])
    assert shared_with_others(twins, [1, 2]) == pytest.approx([0.64, 0.64])


def test_the_component_that_brings_the_outcome_dominates_and_shares_add_up(tables):
    dominance = tables["dominance"]
    own = {scale: row(dominance, site=POOLED, phase="early", quantity="dominance", component=scale) for scale in SCALES}
    assert own["task"]["ci_low"] > own["bond"]["estimate"] and own["task"]["ci_low"] > own["goal"]["estimate"]
    together = row(dominance, site=POOLED, phase="early", quantity="together")
    assert sum(one["estimate"] for one in own.values()) == pytest.approx(together["estimate"])
    assert row(dominance, site=POOLED, phase="early", contrast="task - bond")["ci_low"] > 0


def test_components_by_phase_are_told_on_the_same_clients_with_their_contrasts(tables):
    table = tables["by_phase"]
    early, late = (row(table, site="a", topic="outcome", component="task", phase=phase) for phase in ("early", "late"))
    change = row(table, site="a", topic="outcome", component="task", contrast="late - early")
    assert change["estimate"] == pytest.approx(late["estimate"] - early["estimate"])
    assert early["n_clients"] == late["n_clients"] == change["n_clients"]


def test_what_a_site_lacks_is_said_in_both_tables(sites):
    without = dataclasses.replace(sites[0], scores=sites[0].scores[~sites[0].scores["scale"].isin(["bond", "type_1"])])
    left_out = SiteSummary(site="z", label="Z", question="components", status="excluded", reason="a fatal fault")
    for name, table in sound(tables_of([without, *sites[1:]], [left_out])).items():
        assert set(table.loc[table["site"].eq("a"), "status"]) == {"not_estimable"}, name
        assert table.loc[table["site"].eq("z"), "reason"].str.contains("a fatal fault").all() and table["site"].eq("z").any()
    no_outcome = dataclasses.replace(sites[0], scores=sites[0].scores[sites[0].scores["timepoint"].ne("post")])
    tables = sound(tables_of([no_outcome]))
    assert set(tables["dominance"].loc[tables["dominance"]["site"].eq("a"), "status"]) == {"not_estimable"}
    assert row(tables["by_phase"], site="a", topic="level", component="task")["status"] == "estimated"


def test_one_component_that_repeats_another_is_refused(sites):
    scores = sites[0].scores
    twin = scores[scores["scale"].eq("bond")].assign(scale="goal")
    site = dataclasses.replace(sites[0], scores=pd.concat([scores[scores["scale"].ne("goal")], twin], ignore_index=True))
    refused = sound(tables_of([site]))["dominance"]
    own = refused[refused["site"].eq("a")]
    assert set(own["status"]) == {"not_estimable"} and own["reason"].str.contains("do not determine each other").all()


def test_results_do_not_depend_on_the_order_of_rows_or_sites(sites):
    shuffled = [dataclasses.replace(one, scores=one.scores.sample(frac=1, random_state=1)) for one in reversed(sites[:2])]
    whole = tables_of(sites[:2])
    for name, table in tables_of(shuffled).items():
        pd.testing.assert_frame_equal(table, whole[name], check_exact=False, rtol=1e-9)


def test_phases_stand_in_the_order_of_time_whatever_they_are_called():
    options = copy.deepcopy(OPTIONS)
    options["alliance"]["windows"] |= {"opening": {"sessions": [1, 3]}, "core": {"phase": [0.3, 0.7]}, "end": {"last": 2}}
    options["questions"]["components"]["phases"] = {"c": "core", "e": "end", "o": "opening"}
    assert list(components.phases(options)) == ["o", "c", "e"]
    own, _ = component_site(n=60)
    rows = components.estimate(own, options, {}).estimates
    assert set(rows.loc[rows["topic"].eq("level"), "contrast"]) == {"c - o", "e - o"}


def test_both_types_of_helping_alliance_are_needed_in_every_phase(sites, tables):
    own = tables["by_phase"][tables["by_phase"]["topic"].eq("type")]
    assert own.loc[own["site"].eq("a"), "estimate"].notna().all() and set(own["alliance_rater"]) == {"observer"}
    only_early = sites[0].scores["instrument"].ne("ha_cs") | sites[0].scores["session"].le(5)
    late = dataclasses.replace(sites[0], scores=sites[0].scores[only_early & sites[0].scores["scale"].ne("type_2")])
    rows = components.estimate(late, OPTIONS, {}).estimates
    reasons = rows.loc[rows["topic"].eq("type"), "reason"]
    assert set(reasons) == {"not estimable: needs both types of helping alliance (ha_cs or haq_1, observer) in every phase"}
    left_out = copy.deepcopy(OPTIONS)
    left_out["questions"]["components"]["types"]["instruments"] = []
    assert not components.estimate(sites[0], left_out, {}).estimates["topic"].eq("type").any()
