"""Exact numbers over sites are no equations from which the estimates of two hidden sites could be solved."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from alliance.publishing.disclosure import gate
from alliance.questions import contract
from alliance.questions.contract import POOLED
from alliance.sensitivity.contract import SPECIFICATIONS
from alliance.statistics.meta_analysis import pool
from scipy.optimize import least_squares
from unit.published_study import EFFECT, PUBLIC, SHARE, row, status, study, table

SITES = ("birch", "cedar", "elm", "fir", "oak", "rowan")
SIZES = {"birch": 60, "cedar": 50, "elm": 4, "fir": 45, "oak": 12, "rowan": 55}
VALUES = np.array([0.28, 0.41, -0.21, 0.18, 0.72, 0.33])
VARIANCES = np.array([0.02, 0.018, 0.31, 0.025, 0.15, 0.021])
HETEROGENEITY = ["tau2", "tau2_low", "tau2_high", "i2", "q", "q_p_value", "prediction_low", "prediction_high"]


def over(values, variances):
    """Return what a row over sites tells, all digits."""
    found = pool(values, variances)
    names = ("estimate", "std_error", "tau2", "tau2_low", "tau2_high", "i2", "q", "prediction_low", "prediction_high", "p_value")
    return {name: getattr(found, name) for name in names} | {"q_p_value": found.q_p, "q_df": found.q_df}


def tables(sizes):
    """Return effects of six sites of so many clients, the row over them, and the rows that leave a site out."""
    keys = {**EFFECT, "scale": "identity"}
    at = [row(site, sizes[site], 4, estimate=y, std_error=np.sqrt(v), **keys) for site, y, v in zip(SITES, VALUES, VARIANCES)]
    pooled = row(POOLED, sum(sizes.values()), 24, coding="as_estimated", **keys) | {"n_sites": 6} | over(VALUES, VARIANCES)
    without = []
    for place, site in enumerate(SITES):
        kept = np.arange(len(SITES)) != place
        clients = sum(sizes.values()) - sizes[site]
        numbers = over(VALUES[kept], VARIANCES[kept])
        without.append(row(POOLED, clients, 20, site_left_out=site, **keys) | {"n_sites": 5} | numbers)
    made = {"site_effects": at, "pooled": [pooled], "leave_one_out": without}
    return {"alliance_outcome": {name: table("alliance_outcome", name, rows) for name, rows in made.items()}}


def published(sizes, profile):
    data = study(tables(sizes), [status(site, 200, 30, largest_caseload_share=0.01) for site in SITES])
    return gate(data, {}, profile).data.tables["alliance_outcome"]


def solved(told, start):
    """Return estimates and variances of elm and oak that fit best to what a row over sites tells, and how far off they are."""
    shown = [place for place, site in enumerate(SITES) if site not in ("elm", "oak")]
    names = [name for name in ("estimate", "std_error", "tau2", "tau2_high", "i2", "q") if not pd.isna(told[name])]

    def off(unknown):
        values, variances = np.r_[VALUES[shown], unknown[:2]], np.r_[VARIANCES[shown], np.exp(unknown[2:])]
        found = over(values, variances)
        return [found[name] - told[name] for name in names]

    fit = least_squares(off, [*start, np.log(0.3), np.log(0.1)], xtol=1e-15, ftol=1e-15, gtol=1e-15)
    return np.r_[fit.x[:2], np.exp(fit.x[2:])], float(np.abs(fit.fun).max())


def test_two_hidden_estimates_follow_from_the_exact_row_over_sites():
    found, off = solved(over(VALUES, VARIANCES), (-0.4, 0.9))
    assert off < 1e-9
    # Which of the two is which is not told, but for the smaller site's larger variance.
    np.testing.assert_allclose(sorted(found), sorted([VALUES[2], VALUES[4], VARIANCES[2], VARIANCES[4]]), rtol=1e-4)


def test_they_do_not_follow_from_what_is_shared():
    made = published(SIZES, SHARE)
    sites = made["site_effects"].set_index("site")
    assert sorted(sites.index[sites["status"].eq("withheld")]) == ["elm", "oak"]
    assert sites.loc["birch", "std_error"] == np.sqrt(VARIANCES[0])
    told = made["pooled"].iloc[0]
    exact = over(VALUES, VARIANCES)
    assert (told["estimate"], told["std_error"]) == (round(exact["estimate"], 2), float(f"{exact['std_error']:.2g}"))
    assert told[HETEROGENEITY].isna().all()
    fits = [solved(told, start) for start in ((-0.6, 0.9), (0.9, -0.1))]
    assert max(off for _, off in fits) < 1e-6
    assert np.abs(fits[0][0][:2] - fits[1][0][:2]).min() > 0.3


def test_nor_from_the_rows_that_leave_a_site_out():
    made = published(SIZES, SHARE)["leave_one_out"]
    shown = made[made["status"].eq("estimated")]
    assert len(shown) and shown[HETEROGENEITY].isna().all(axis=None)
    assert (shown["estimate"].round(2) == shown["estimate"]).all()


@pytest.mark.parametrize(("sizes", "profile"), [(SIZES | {"elm": 20}, SHARE), (SIZES, PUBLIC)], ids=["nothing hidden", "all rounded"])
def test_rows_over_sites_keep_their_heterogeneity_where_nothing_is_solved_from_it(sizes, profile):
    told = published(sizes, profile)["pooled"].iloc[0]
    assert told[HETEROGENEITY].notna().all()
    if profile is SHARE:
        assert told["q"] == over(VALUES, VARIANCES)["q"]


def test_specifications_beside_which_no_site_stands_are_shared_with_the_decimals_that_are_printed():
    rows = [row(POOLED, 226, 24, multiverse="alliance_outcome", specification=1, **over(VALUES, VARIANCES)) | {"n_sites": 6}]
    given = contract.typed(pd.DataFrame(rows).reindex(columns=SPECIFICATIONS.columns), contract.table_types(SPECIFICATIONS))
    made = gate(study(), {"specifications": given}, SHARE).sensitivity["specifications"].iloc[0]
    assert made["estimate"] == round(made["estimate"], 2) and pd.isna(made["tau2"])
