"""Two published numbers of nearly the same clients do not tell of the few in between: between scenarios, versions and audiences."""

from __future__ import annotations

import dataclasses
import io

import pandas as pd
import pytest
from alliance.publishing import scenarios
from alliance.publishing.about import about, zenodo
from alliance.publishing.bundle import build, to_gate
from alliance.publishing.changes import LastBundle, compared_with
from alliance.publishing.decisions import DisclosureError
from alliance.publishing.disclosure import gate, gate_together
from alliance.questions import contract
from alliance.questions.contract import POOLED
from alliance.sensitivity.contract import TABLES as SENSITIVITY_TABLES
from unit import bundled_study
from unit.published_study import EFFECT, PUBLIC, SHARE, SITES, gated_rows, row, status, study, table, with_numbers

SITE_EFFECTS = ("alliance_outcome", "site_effects")
NAME = "/".join(SITE_EFFECTS)
LARGE = [status(site, 200, 30) for site in SITES]


def scenario(name, rows, others=(), profile=PUBLIC):
    """Return what may be published of a scenario with one table, beside other scenarios."""
    data = study({SITE_EFFECTS[0]: {SITE_EFFECTS[1]: table(*SITE_EFFECTS, rows)}}, LARGE)
    return gate(dataclasses.replace(data, scenario=name), {}, profile, beside=[one.beside for one in others])


def shown(made):
    return with_numbers(made.data.tables[SITE_EFFECTS[0]][SITE_EFFECTS[1]])


@pytest.mark.parametrize(
    ("clients", "therapists", "expected"),
    [(57, 8, True), (56, 8, False), (48, 8, False), (47, 8, True), (66, 8, False), (67, 8, True), (67, 9, False), (67, 11, True)],
)
def test_a_number_of_a_scenario_is_hidden_where_it_rests_on_few_clients_or_therapists_more_or_less_than_in_another(
    clients, therapists, expected
):
    base = scenario("base", [row(clients=57, **EFFECT)])
    assert shown(scenario("strict", [row(clients=clients, therapists=therapists, estimate=0.36, **EFFECT)], [base])) == [expected]


def test_each_scenario_is_compared_with_all_before_it_and_not_with_what_these_hide():
    base = scenario("base", [row(clients=57, **EFFECT)])
    strict = scenario("strict", [row(clients=56, **EFFECT)], [base])
    late = scenario("late", [row(clients=40, **EFFECT)], [base, strict])
    assert [shown(one) for one in (strict, late)] == [[False], [True]]
    assert shown(scenario("without_one", [row(clients=39, **EFFECT)], [base, strict, late])) == [False]
    hidden = scenario("base", [row(clients=9, **EFFECT)])
    assert shown(scenario("wider", [row(clients=12, **EFFECT)], [hidden])) == [True]


@pytest.mark.parametrize("profile", [PUBLIC, SHARE], ids=["public", "share"])
@pytest.mark.parametrize(("inside", "expected"), [(25, False), (49, False), (37, True)])
def test_a_share_is_shown_again_only_where_the_clients_between_would_be_shown_as_a_share(profile, inside, expected):
    def rows(clients, count):
        keys = {"estimate_type": "share", "scale": "identity", "ci_low": 0, "ci_high": 1}
        return [row(clients=clients, definition="unilateral", estimate=count / clients, **keys)]

    before = gated_rows("dropout", "definitions", rows(100, 24), profile, statuses=LARGE)
    made = gated_rows("dropout", "definitions", rows(126, inside), profile, statuses=LARGE, before={"dropout/definitions": before})
    assert with_numbers(made) == [expected]


def test_another_method_is_the_same_number_to_who_holds_the_last_version():
    before = gated_rows(*SITE_EFFECTS, [row(clients=57, method="cluster_jackknife", **EFFECT)], statuses=LARGE)
    changed = [row(clients=58, estimate=0.36, method="cluster_robust", **EFFECT)]
    assert with_numbers(gated_rows(*SITE_EFFECTS, changed, statuses=LARGE, before={NAME: before})) == [False]
    assert with_numbers(gated_rows(*SITE_EFFECTS, changed, statuses=LARGE, before={NAME: before}, same_data=True)) == [False]
    same = [{**changed[0], "n_clients": 57}]
    assert with_numbers(gated_rows(*SITE_EFFECTS, same, statuses=LARGE, before={NAME: before}, same_data=True)) == [True]


def test_what_other_scenarios_rest_on_is_in_no_table():
    base = scenario("base", [row(clients=57, **EFFECT)])
    assert base.beside.exact[NAME]["_clients"].tolist() == [57]
    assert contract.faults(base.data.tables[SITE_EFFECTS[0]][SITE_EFFECTS[1]], *SITE_EFFECTS) == []
    published = base.data.tables[SITE_EFFECTS[0]][SITE_EFFECTS[1]]
    assert published["n_clients"].tolist() == [55]
    assert not {*scenarios.COUNTS} & {*published}


def with_one_client_more(data, name):
    """Return a scenario of a study in which every pooled effect rests on one client more."""
    tables = data.tables["alliance_outcome"]
    pooled = tables["pooled"].assign(n_clients=tables["pooled"]["n_clients"] + 1, estimate=tables["pooled"]["estimate"] + 0.02)
    return dataclasses.replace(data, scenario=name, tables={**data.tables, "alliance_outcome": {**tables, "pooled": pooled}})


def numbers_of(made):
    pooled = made.data.tables["alliance_outcome"]["pooled"]
    return int(pooled.loc[pooled["n_clients"].notna() | pooled["estimate"].notna(), "status"].isin(contract.WITH_NUMBERS).sum())


def test_the_scenarios_of_a_bundle_are_compared_with_each_other():
    data = bundled_study.few()
    strict = with_one_client_more(data, "strict").tables["alliance_outcome"]["pooled"].assign(scenario="strict")
    tables = {**data.tables, "alliance_outcome": {**data.tables["alliance_outcome"], "pooled": strict}}
    made = bundled_study.source(data)
    both = {**made.scenarios, "strict": dataclasses.replace(data, scenario="strict", tables=tables)}
    files = build(dataclasses.replace(made, scenarios=both), PUBLIC).files
    pooled = pd.read_csv(io.BytesIO(files["tables/alliance_outcome/pooled.csv"]), keep_default_na=False)
    found = pooled["status"].isin(contract.WITH_NUMBERS).groupby(pooled["scenario"]).sum()
    assert (found["base"] > 0, found["strict"]) == (True, 0)


def test_a_scenario_that_is_new_shows_no_number_that_the_last_version_had_of_few_clients_less(tmp_path):
    data = bundled_study.few()
    last = bundled_study.published_before(tmp_path, bundled_study.bundle(data))
    now = dataclasses.replace(data, provenance={**data.provenance, "data_digest": "of other data"})
    source = bundled_study.source(now, last)
    more = with_one_client_more(now, "late")
    assert numbers_of(gate_together({"late": to_gate(source, "late", now)}, PUBLIC)["late"]) > 0
    assert numbers_of(gate_together({"late": to_gate(source, "late", more)}, PUBLIC)["late"]) == 0


# Bundles for different readers.


@pytest.mark.parametrize(
    ("before", "now", "named", "expected"),
    [
        ("public", "public", False, "last"),
        ("share", "public", False, "last"),
        ("public", "share", True, "last"),
        ("public", "internal", True, "last"),
        ("internal", "public", False, None),
        ("internal", "share", True, None),
        ("internal", "internal", False, "last"),
        ("", "public", False, "last"),
        ("public", "share", False, "refused"),
        ("public", "internal", False, "refused"),
        ("share", "internal", False, "refused"),
    ],
)
def test_no_bundle_for_fewer_readers_takes_the_place_of_the_one_that_the_next_is_compared_with(before, now, named, expected):
    last = LastBundle("1.0", "d", {}, {}, before)
    if expected == "refused":
        with pytest.raises(DisclosureError, match=r"publish\.last_bundle"):
            compared_with(last, now, named)
    else:
        assert compared_with(last, now, named) is (last if expected else None)
    assert compared_with(None, now, named) is None


def test_a_bundle_says_for_whom_it_was(tmp_path):
    assert bundled_study.published_before(tmp_path, bundled_study.internal()).profile == "internal"


def test_headline_numbers_of_scenarios_are_compared_with_each_other_and_not_with_base_alone():
    keys = {"question": "alliance_outcome", "headline": "r", "label": "r", "base_estimate": 0.3, "change": 0.01}
    sizes = {"base": 300, "late": 280, "strict": 281, "wider": 261}
    rows = [row(POOLED, clients, 40, **keys) | {"scenario": name} for name, clients in sizes.items()]
    compared = contract.typed(pd.DataFrame(rows), contract.table_types(SENSITIVITY_TABLES[0]))
    made = gate(study(), {"scenario_comparison": compared}, PUBLIC).sensitivity["scenario_comparison"]
    assert dict(zip(made["scenario"], with_numbers(made))) == {"base": True, "late": True, "strict": False, "wider": True}


@pytest.mark.parametrize(("profile", "access"), [("public", "open"), ("share", "closed"), ("internal", "closed")])
def test_archives_are_told_to_keep_closed_what_is_not_for_everyone(profile, access):
    source = bundled_study.source(bundled_study.few(), profile=profile)
    described = about(source.scenarios["base"].options["study"], source.publish, 5, [], "1")
    told = zenodo(described)
    assert told["access_right"] == access
    assert ("license" in told) is (access == "open")
    assert ("may not be given away" in told["description"]) is (profile == "internal")
