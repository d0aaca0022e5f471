"""What scenarios do to the headline of alliance and outcome, against metafor: sites left out of pooling, effects coded as zero."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from alliance.questions import pooled_sites
from alliance.questions.alliance_outcome import question as alliance_outcome
from alliance.questions.contract import POOLED, check
from scipy.stats import norm
from statistics_reference import pooled_by_metafor
from unit.simulated_site import OPTIONS, simulated

SIZES = {"a": 60, "b": 200, "c": 90, "d": 40, "e": 110}
EFFECTS = {"a": 0.05, "b": 0.5, "c": 0.1, "d": 0.3, "e": 0.35}


@pytest.fixture(scope="module")
def summaries():
    sites = [
        simulated(site, n=n, therapists=12, seed=seed, alliance_outcome=EFFECTS[site])
        for seed, (site, n) in enumerate(SIZES.items(), start=1)
    ]
    return [alliance_outcome.estimate(site, OPTIONS, {}) for site in sites]


def tables(summaries, coding="as_estimated"):
    options = copy.deepcopy(OPTIONS)
    options["questions"]["alliance_outcome"]["coding"] = coding
    found = alliance_outcome.pool(summaries, options, {})
    for name, table in found.items():
        check(table, "alliance_outcome", name)
    return found


def headline(found) -> pd.Series:
    rows = found["pooled"]
    chosen = rows[rows["headline"].eq("yes")]
    assert len(chosen) == 1
    return chosen.iloc[0]


def of_sites(found) -> pd.DataFrame:
    rows = found["site_effects"]
    return rows[rows["headline"].eq("yes") & rows["status"].ne("not_estimable")].set_index("site")


def assert_is(row: pd.Series, expected: dict) -> None:
    numbers = [row[name] for name in ("estimate", "std_error", "ci_low", "ci_high", "tau2")]
    wanted = [np.tanh(expected["estimate"]), expected["se"], np.tanh(expected["low"]), np.tanh(expected["high"]), expected["tau2"]]
    assert numbers == pytest.approx(wanted, abs=1e-6)
    assert row["site"] == POOLED and row["n_sites"] == expected["k"]


def by_metafor(z: pd.Series, error: pd.Series) -> dict:
    return pooled_by_metafor(pd.DataFrame({"effect": "headline", "estimate": z, "std_error": error}))["headline"]


@pytest.mark.parametrize(
    ("rule", "gone"),
    [
        ({"leave_out": [], "leave_out_largest": 1, "min_clients": 0}, {"b"}),
        ({"leave_out": ["e"], "leave_out_largest": 1, "min_clients": 50}, {"b", "d", "e"}),
    ],
)
def test_the_headline_without_sites_is_metafors_over_the_others_and_their_rows_say_why(summaries, rule, gone):
    statuses = [{"site": site, "status": "ok", "counts": {"clients": n}} for site, n in SIZES.items()]
    reasons = pooled_sites.left_out(statuses, rule)
    assert set(reasons) == gone
    everyone, found = tables(summaries), tables(pooled_sites.without(summaries, reasons))
    own = of_sites(everyone).drop(index=sorted(gone))
    assert_is(headline(found), by_metafor(np.arctanh(own["estimate"]), own["std_error"]))
    assert of_sites(found)["estimate"].to_dict() == own["estimate"].to_dict()
    rows = found["site_effects"]
    absent = rows[rows["site"].isin(gone)]
    assert set(absent["site"]) == gone and absent["status"].eq("not_estimable").all()
    assert absent["reason"].str.startswith("left out by pooling: ").all()
    if gone == {"b"}:
        alone = everyone["leave_one_out"]
        alone = alone[alone["site_left_out"].eq("b") & alone["headline"].eq("yes")].iloc[0]
        assert headline(found)["estimate"] == pytest.approx(alone["estimate"], abs=1e-9)


def test_the_headline_with_nonsignificant_effects_as_zero_is_metafors_of_zeros(summaries):
    plain, coded = tables(summaries), tables(summaries, "zero")
    own = of_sites(plain)
    z = np.arctanh(own["estimate"])
    hidden = 2 * norm.sf(np.abs(z / own["std_error"])) > OPTIONS["questions"]["alliance_outcome"]["nonsignificant_p"]
    assert 0 < hidden.sum() < len(own)
    main = headline(coded)
    assert_is(main, by_metafor(z.mask(hidden, 0.0), own["std_error"]))
    assert main["coding"] == "zero" and main["status"] == "flagged"
    assert f"{hidden.sum()} of 5 site effects are not significant" in main["reason"]
    assert headline(plain)["coding"] == "as_estimated"
    for rest in (found["pooled"] for found in (plain, coded)):
        assert rest["coding"].value_counts().to_dict() == plain["pooled"]["coding"].value_counts().to_dict()
    said = " ".join(sentence.text for sentence in alliance_outcome.methods(_with_coding("zero"), coded))
    assert "counted as zero" in said
    assert "counted as zero" not in " ".join(sentence.text for sentence in alliance_outcome.methods(OPTIONS, plain))


def _with_coding(coding: str) -> dict:
    options = copy.deepcopy(OPTIONS)
    options["questions"]["alliance_outcome"]["coding"] = coding
    return options


@pytest.mark.parametrize("coding", ["dropped", "imputed"])
def test_the_headline_takes_any_coding_and_too_few_sites_are_told(summaries, coding):
    plain = tables(summaries)["pooled"]
    main = headline(tables(summaries, coding))
    same = plain[plain["coding"].eq(coding)].iloc[0]
    assert main[["estimate", "std_error", "coding"]].tolist() == same[["estimate", "std_error", "coding"]].tolist()
    alone = headline(tables(summaries[:1], coding))
    assert alone["status"] == "not_estimable" and "at least 2 sites" in alone["reason"]
