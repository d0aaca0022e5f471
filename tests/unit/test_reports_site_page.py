"""A site's page compares it with the others without telling of another site's few clients."""

from __future__ import annotations

import dataclasses
import re

import pandas as pd
import pytest
import report_study
from alliance.questions.contract import POOLED
from alliance.reports import numbers, site_page

PARTIAL = "Given the intake level"


def with_effects(**clients: int):
    """Return the study with other numbers of clients at some sites in the headline of alliance and outcome."""
    study = report_study.study()
    tables = dict(study.tables["alliance_outcome"])
    effects = tables["site_effects"].copy()
    for site, amount in clients.items():
        effects.loc[effects["site"].eq(site) & effects["headline"].eq("yes"), "n_clients"] = amount
    pooled = tables["pooled"].copy()
    main = effects["headline"].eq("yes") & effects["status"].eq("estimated")
    pooled.loc[pooled["headline"].eq("yes"), "n_clients"] = int(effects.loc[main, "n_clients"].sum())
    return dataclasses.replace(study, tables={**study.tables, "alliance_outcome": {**tables, "site_effects": effects, "pooled": pooled}})


def cells(study, site: str) -> dict[str, str]:
    table = next(one for one in site_page.estimate_tables(study, site) if one.id == "estimates-alliance-outcome")
    heads = [column.label for column in table.columns]
    row = next(row for row in table.rows if row[0].text == PARTIAL)
    return {head: cell.text for head, cell in zip(heads, row, strict=True)}


def headline(study) -> pd.DataFrame:
    effects = study.tables["alliance_outcome"]["site_effects"]
    return effects[effects["headline"].eq("yes") & effects["status"].eq("estimated")]


def test_the_range_is_that_of_the_other_sites():
    study = report_study.study()
    others = headline(study).query("site != 'elm'")["estimate"]
    assert len(others) >= 3
    shown = cells(study, "elm")["Other sites, lowest to highest"]
    assert shown == f"{numbers.bounded(others.min())} to {numbers.bounded(others.max())}"


def test_sites_with_few_clients_are_not_in_the_range():
    study = report_study.study()
    lowest = headline(study).query("site != 'elm'").sort_values("estimate")["site"].iloc[0]
    few = with_effects(**{lowest: 9})
    others = headline(few).query("site not in ('elm', @lowest)")["estimate"]
    assert cells(few, "elm")["Other sites, lowest to highest"].startswith(f"{numbers.bounded(others.min())} to ")


def test_no_range_is_shown_of_fewer_than_three_sites():
    sites = [site for site in headline(report_study.study())["site"] if site != "elm"]
    few = with_effects(**dict.fromkeys(sites[2:], 9))
    assert cells(few, "elm").get("Other sites, lowest to highest", numbers.UNKNOWN) == numbers.UNKNOWN


@pytest.mark.parametrize(("others", "shown"), [(2, False), (3, True)])
def test_the_pooled_result_is_withheld_where_it_would_tell_of_few_clients_elsewhere(others, shown):
    sites = [site for site in headline(report_study.study())["site"] if site != "elm"]
    assert len(sites) == 4
    few = with_effects(**dict.fromkeys(sites, others))
    found = cells(few, "elm")
    assert (found["All sites"] != "withheld") == shown
    assert (found["95% CI, all sites"] != numbers.UNKNOWN) == shown
    assert found["This site"] not in ("withheld", numbers.UNKNOWN)


@pytest.mark.parametrize(
    ("share", "sites", "withheld"), [(0.10, 2, True), (0.35, 2, False), (0.95, 2, True), (0.10, 3, False), (0.0, 2, False)]
)
def test_a_share_of_two_sites_is_withheld_where_it_would_tell_of_few_clients_of_the_other(share, sites, withheld):
    study = report_study.study()
    own = {"site": "elm", "estimate_type": "share", "estimate": 0.3, "n_clients": 50, "n_sites": 1, "status": "estimated"}
    both = {**own, "site": POOLED, "estimate": (50 * 0.3 + 40 * share) / 90, "n_clients": 90, "n_sites": sites}
    rows = list(site_page.common.tuples(pd.DataFrame([own, both])))
    assert site_page._tells_of_few(study, *rows) is withheld


def test_no_row_of_another_site_stands_on_a_page_of_a_site():
    study = report_study.study()
    rendered = report_study.rendered()
    for site, label in report_study.LABELS.items():
        inside = rendered[f"sites/{site}.html"].split('id="content"')[1]
        heads = re.findall(r'<th scope="row"[^>]*>(.*?)</th>', inside)
        for other, name in report_study.LABELS.items():
            if other != site:
                assert not any(name in head for head in heads), (site, name)
        assert label or study
    counts = {status["site"]: status["counts"] for status in study.statuses}
    assert POOLED not in counts
