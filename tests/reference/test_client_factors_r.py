"""The tables of client factors, from rows of clients and sessions on, equal what R gives by other routes."""

from __future__ import annotations

import copy
from typing import Any

import client_factors_reference as reference
import numpy as np
import pandas as pd
import pytest
from alliance.questions.client_factors import question as client_factors
from alliance.questions.contract import POOLED
from alliance.questions.site_data import SiteData
from needed import needs_r
from unit.simulated_site import OPTIONS, score_rows, site_of

EXPECTED = reference.stored()
SITES = [site for site, _, _ in reference.SITES]
CASES = [(site, factor) for site in SITES for factor in reference.FACTORS]
EXACT = {"rel": 1e-7, "abs": 1e-9}
# The variances that weigh sessions come from two optimisers, ours and that of lme4.
NEAR = {"rel": 2e-4, "abs": 2e-5}


def options() -> dict[str, Any]:
    chosen = copy.deepcopy(OPTIONS)
    chosen["alliance"]["windows"]["later"] = {"sessions": [6, 99]}
    question = chosen["questions"]["client_factors"]
    question |= {"factors": reference.FACTORS, "windows": [], "raters": [], "unique_shared": ["social_relations"]}
    question["over_time"] |= {"bands": {}, "first": "early", "second": "later"}
    return chosen


def site_data() -> list[SiteData]:
    clients, sessions = reference.clients(), reference.sessions()
    found = []
    for site in SITES:
        own = clients[clients["site"].eq(site)].rename(columns={"client": "client_no", "therapist": "therapist_no"})
        own = own.astype({"client_no": "Int64", "therapist_no": "Int64"}).reset_index(drop=True)
        rated = sessions[sessions["site"].eq(site)]
        tables = [score_rows(rated["client"], rated["alliance"], instrument="wai_36", session=rated["session"].to_numpy())]
        post = own[own["post"].notna()]
        tables.append(score_rows(own["client_no"], own["intake"], instrument="ors", timepoint="intake"))
        tables.append(score_rows(post["client_no"], post["post"], instrument="ors", timepoint="post"))
        frame = own[["client_no", "therapist_no", *reference.FACTORS]]
        found.append(site_of(tables, site, clients=frame))
    return found


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    chosen = options()
    return client_factors.pool([client_factors.estimate(site, chosen, {}) for site in site_data()], chosen, {})


def only(table: pd.DataFrame, **keys: str) -> pd.Series:
    chosen = table[np.logical_and.reduce([table[name].eq(value) for name, value in keys.items()])]
    assert len(chosen) == 1, (keys, len(chosen))
    return chosen.iloc[0]


def on_r(row: pd.Series) -> float:
    """Return the standard error of a row as that of r."""
    return row["std_error"] * (1 - row["estimate"] ** 2) if row["scale"] == "fisher_z" else row["std_error"]


@needs_r
def test_stored_values_are_what_r_gives_now() -> None:
    def numbers(value: Any) -> list[float]:
        if isinstance(value, dict):
            return [number for name in sorted(value) for number in numbers(value[name])]
        return [number for one in value for number in numbers(one)] if isinstance(value, list) else [float(value)]

    assert numbers(reference.computed()) == pytest.approx(numbers(EXPECTED), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(("site", "factor"), CASES)
def test_slopes_within_and_between_therapists_equal_r(tables: dict[str, pd.DataFrame], site: str, factor: str) -> None:
    expected = EXPECTED["sites"][site][factor]
    rows = [
        only(tables["factors"], site=site, factor=factor, part=part)
        for part in ("within_therapists", "between_therapists", "between_therapists - within_therapists")
    ]
    assert only(tables["factors"], site=site, factor=factor, headline="yes")["estimate"] == pytest.approx(expected["r"], **EXACT)
    if "slopes" not in expected:
        assert all("needs at least" in row["reason"] for row in rows)
        return
    assert [row["estimate"] for row in rows] == pytest.approx(expected["slopes"]["estimate"], **EXACT)
    assert [row["std_error"] for row in rows] == pytest.approx(expected["slopes"]["std_error"], **EXACT)
    assert rows[0]["n_clients"] == expected["slopes"]["n"]
    assert rows[0]["estimate"] == pytest.approx(expected["within_of_lmer"], rel=1e-6)


@pytest.mark.parametrize(("site", "factor"), CASES)
def test_growth_equals_generalised_least_squares_in_r(tables: dict[str, pd.DataFrame], site: str, factor: str) -> None:
    expected = EXPECTED["sites"][site][factor]
    parts = ("start", "change in ten sessions")
    rows = [only(tables["over_time"], site=site, factor=factor, analysis="growth", part=part) for part in parts]
    assert [row["estimate"] for row in rows] == pytest.approx(expected["growth"]["estimate"], **NEAR)
    assert [row["std_error"] for row in rows] == pytest.approx(expected["growth"]["std_error"], **NEAR)


def test_growth_loses_little_against_lmer_which_fits_the_variances_again_for_every_factor(tables: dict[str, pd.DataFrame]) -> None:
    apart = []
    for site, factor in CASES:
        model = EXPECTED["sites"][site][factor]["growth_of_lmer"]
        rows = tables["over_time"].query("site == @site and factor == @factor and analysis == 'growth'").set_index("part")
        if rows["method"].eq("cluster_jackknife").all():
            found = rows.loc[["start", "change in ten sessions"], "estimate"]
            apart.append((found.to_numpy() - np.array(model["estimate"])) / np.array(model["std_error"]))
    # The mean square is the loss of efficiency where lmer's estimates are the best ones.
    assert len(apart) == 16
    assert (np.mean(np.square(apart), axis=0) < 0.02).all()


@pytest.mark.parametrize(("site", "factor"), CASES)
def test_phases_on_the_same_clients_equal_r(tables: dict[str, pd.DataFrame], site: str, factor: str) -> None:
    expected = EXPECTED["sites"][site][factor]["phases"]
    names = (("first", ""), ("second", ""), ("", "first - second"), ("second given first", ""))
    rows = [only(tables["over_time"], site=site, factor=factor, analysis="phases", part=part, contrast=name) for part, name in names]
    assert [row["estimate"] for row in rows] == pytest.approx(expected["estimate"], **EXACT)
    assert [on_r(row) for row in rows] == pytest.approx(expected["std_error"], **EXACT)
    assert rows[0]["n_clients"] == expected["n"]


@pytest.mark.parametrize("form", ["zero_order", "ancova"])
@pytest.mark.parametrize("site", SITES)
def test_what_factor_and_alliance_explain_equals_regressions_in_r(tables: dict[str, pd.DataFrame], site: str, form: str) -> None:
    from alliance.questions.client_factors.unique_shared import QUANTITIES

    expected = EXPECTED["sites"][site]["pair"][form]
    rows = [only(tables["unique_shared"], site=site, factor="social_relations", form=form, quantity=name) for name in QUANTITIES]
    if form == "zero_order":
        n = reference.clients().query("site == @site")
        assert rows[0]["n_clients"] <= len(n)
    assert [row["estimate"] for row in rows] == pytest.approx(expected["estimate"], **EXACT)
    assert [on_r(row) for row in rows] == pytest.approx(expected["std_error"], **EXACT)


@pytest.mark.parametrize("site", SITES)
def test_what_all_factors_explain_equals_r(tables: dict[str, pd.DataFrame], site: str) -> None:
    expected = EXPECTED["sites"][site]["together"]
    own = tables["unique_shared"].query("site == @site and factor == '(all)'")
    rows = [only(own, quantity=name) for name in ("alliance by factors", "alliance by factors, adjusted")]
    assert [row["estimate"] for row in rows] == pytest.approx(expected["explained"]["estimate"], **EXACT)
    assert [row["std_error"] for row in rows] == pytest.approx(expected["explained"]["std_error"], **EXACT)
    assert rows[0]["n_factors"] == len(reference.FACTORS)
    elsewhere = only(own, quantity="alliance by factors, other therapists")
    if elsewhere["status"] == "estimated":
        assert elsewhere["estimate"] == pytest.approx(expected["elsewhere"], **EXACT)
    else:
        assert site == "c"
    names = ("alliance with outcome", "alliance with outcome given factors", "given factors - not given")
    given = [only(own, form="ancova", quantity=name) for name in names]
    assert [row["estimate"] for row in given] == pytest.approx(expected["given"]["estimate"], **EXACT)
    assert [on_r(row) for row in given] == pytest.approx(expected["given"]["std_error"], **EXACT)


@pytest.mark.parametrize(
    ("name", "table", "keys", "tolerance"),
    [
        ("growth_start", "over_time", {"factor": "motivation", "analysis": "growth", "part": "start"}, NEAR),
        ("growth_change", "over_time", {"factor": "motivation", "analysis": "growth", "part": "change in ten sessions"}, NEAR),
        ("phases_contrast", "over_time", {"factor": "motivation", "contrast": "first - second"}, EXACT),
        ("phases_second", "over_time", {"factor": "motivation", "part": "second"}, EXACT),
        ("adjusted", "unique_shared", {"factor": "(all)", "quantity": "alliance by factors, adjusted"}, EXACT),
    ],
)
def test_pooled_rows_equal_metafor(
    tables: dict[str, pd.DataFrame], name: str, table: str, keys: dict[str, str], tolerance: dict[str, float]
) -> None:
    expected, row = EXPECTED["pooled"][name], only(tables[table], site=POOLED, **keys)
    turn = np.tanh if row["scale"] == "fisher_z" else float
    assert row["estimate"] == pytest.approx(turn(expected["estimate"]), **tolerance)
    assert row["std_error"] == pytest.approx(expected["std_error"], **tolerance)
    if table == "over_time":
        assert [row["ci_low"], row["ci_high"]] == pytest.approx([turn(expected["low"]), turn(expected["high"])], **tolerance)
    if "p_equivalence" in expected:
        assert row["p_equivalence"] == pytest.approx(expected["p_equivalence"], **tolerance)
