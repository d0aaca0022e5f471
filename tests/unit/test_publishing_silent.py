"""Rows that came without numbers since they are few are no way to their counts: what is beside them is judged as beside a hidden one."""

from __future__ import annotations

import pytest
from alliance.questions.contract import POOLED
from unit.published_study import EFFECT, PUBLIC, SHARE, gated, gated_rows, row, table, with_numbers

SILENT = {"estimate": None, "std_error": None, "ci_low": None, "ci_high": None, "status": "not_estimable", "reason": "not estimable"}
BOTH = pytest.mark.parametrize("profile", [PUBLIC, SHARE], ids=["public", "share"])


@BOTH
def test_the_other_group_of_a_site_goes_with_one_of_few_clients_that_came_without_numbers(profile):
    keys = {"hypothesis": "1", "statistic": "mean", "estimate_type": "mean", "scale": "identity"}
    rows = [row(clients=57, group="female", **keys), row(clients=3, group="male", **{**keys, **SILENT})]
    assert with_numbers(gated_rows("early_gains", "hypotheses", rows, profile)) == [False, False]
    many = [row(clients=47, group="female", **keys), row(clients=13, group="male", **{**keys, **SILENT})]
    assert with_numbers(gated_rows("early_gains", "hypotheses", many, profile)) == [True, False]


def effects(pooled):
    """Return five sites, one with three clients and without a number, and a row over sites of so many clients."""
    sizes = {"birch": 50, "cedar": 45, "oak": 30, "rowan": 40}
    rows = [*(row(site, n, **EFFECT) for site, n in sizes.items()), row("elm", 3, **{**EFFECT, **SILENT})]
    over = [row(POOLED, pooled, 40, coding="as_estimated", method="one_stage", **EFFECT) | {"n_sites": 5 if pooled == 168 else 4}]
    return {
        "alliance_outcome": {
            "site_effects": table("alliance_outcome", "site_effects", rows),
            "pooled": table("alliance_outcome", "pooled", over),
        }
    }


@BOTH
@pytest.mark.parametrize(("pooled", "hidden"), [(168, ["oak"]), (165, [])])
def test_a_site_of_few_clients_that_a_row_over_sites_rests_on_takes_another_with_it(profile, pooled, hidden):
    made = gated(effects(pooled), profile).data.tables["alliance_outcome"]
    sites = made["site_effects"]
    assert sites.loc[sites["status"].eq("withheld"), "site"].tolist() == hidden
    assert with_numbers(made["pooled"]) == [True]


def test_reasons_and_decisions_do_not_say_which_of_the_hidden_rows_is_the_small_one():
    # Of 6 clients in two hidden categories, a reason of its own for the second would say that it has 5 and the first 1.
    parts = {"recovered": 34, "improved": 20, "unchanged": 5, "deteriorated": 1}
    keys = {"denominator": "treated", "estimate_type": "share", "scale": "identity", "ci_low": 0, "ci_high": 1}
    rows = [row(clients=60, category=name, estimate=n / 60, **keys) for name, n in parts.items()]
    made = gated({"early_gains": {"change_categories": table("early_gains", "change_categories", rows)}}, SHARE)
    frame = made.data.tables["early_gains"]["change_categories"]
    hidden = frame[frame["status"].eq("withheld")]
    assert sorted(hidden["category"]) == ["deteriorated", "unchanged"]
    assert hidden["reason"].nunique() == 1
    assert [one.site for one in made.decisions if one.output == "early_gains/change_categories"] == [""] * 2


@BOTH
def test_what_is_lacking_of_a_site_does_not_tell_how_few_clients_are_there(profile):
    # 3 of 50: with the clients of the site, the share that is missing would give the 3.
    rows = [row("elm", 3, share_missing=0.94, **{**EFFECT, **SILENT}), row("oak", 30, share_missing=0.4, **{**EFFECT, **SILENT})]
    made = gated_rows("alliance_outcome", "site_effects", rows, profile).set_index("site")
    assert made.loc["elm", ["n_clients", "share_missing"]].isna().all()
    assert made.loc["oak", ["n_clients", "share_missing"]].tolist() == [30, 0.4]
