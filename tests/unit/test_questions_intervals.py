"""Every estimate of the questions on clients, therapists and dyads has an interval, or says why it has none."""

from __future__ import annotations

import copy
import functools

import pandas as pd
import pytest
from alliance.questions.client_factors import question as client_factors
from alliance.questions.contract import METHODS, POOLED, WITH_NUMBERS, WITHOUT_ERROR
from alliance.questions.dropout import question as dropout
from alliance.questions.effects import without_interval
from alliance.questions.therapist_factors import question as therapist_factors
from alliance.statistics.multilevel import reliability_of_means
from congruence_sites import options as congruence_options
from congruence_sites import simulated as dyads
from congruence_sites import tables_of
from leaving_site import leaving
from simulated_site import OPTIONS, simulated

SIZES = {"clients": 60, "therapists": 9, "sessions": 4}


@functools.cache
def tables(question: str) -> dict[str, pd.DataFrame]:
    chosen = copy.deepcopy(OPTIONS)
    if question == "congruence":
        return tables_of([dyads(name, **SIZES, seed=seed) for seed, name in enumerate("ab")], congruence_options())
    module = {"client_factors": client_factors, "therapist_factors": therapist_factors, "dropout": dropout}[question]
    if question == "therapist_factors":
        sites = [dyads(name, **SIZES, seed=seed) for seed, name in enumerate("abc")]
    elif question == "dropout":
        sites = [leaving(name, n=70, therapists=9, seed=seed) for seed, name in enumerate("ab", start=3)]
    else:
        sites = [simulated(name, n=90, therapists=12, seed=seed) for seed, name in enumerate("abc")]
    beside = {"one_stage": module.one_stage(iter(sites), [site.site for site in sites], chosen)} if hasattr(module, "one_stage") else {}
    return module.pool([module.estimate(site, chosen, {}) for site in sites], chosen, beside)


@pytest.mark.parametrize("question", ["client_factors", "therapist_factors", "dropout", "congruence"])
def test_an_estimate_without_an_interval_says_why(question):
    counted = 0
    for name, table in tables(question).items():
        lacking = table[without_interval(table)]
        silent = lacking[~lacking["reason"].str.contains("no interval: ")]
        assert silent.empty, (name, silent[["site", "estimate_type", "method"]].drop_duplicates().to_dict("records"))
        counted += int(table["status"].isin(WITH_NUMBERS).sum())
    assert counted > 50


def test_methods_that_have_no_error_say_so():
    assert all("no standard error" in METHODS[name] or "without standard error" in METHODS[name] for name in WITHOUT_ERROR)


def test_the_reliability_of_therapists_means_has_the_interval_of_the_share_it_follows_from():
    table = tables("therapist_factors")["variance"]
    own = table[
        table["basis"].eq("clients") & table["part"].eq("constant") & table["trait"].eq("") & table["case_mix"].eq("not held constant")
    ]
    for site in ("a", "b", "c", POOLED):
        here = own[own["site"].eq(site) & own["status"].isin(WITH_NUMBERS)].set_index("estimate_type")
        share, mean = here.loc["variance_share"], here.loc["reliability_of_means"]
        chosen = "abc" if site == POOLED else site
        people = [
            dyads(name, **SIZES, seed="abc".index(name)).clients["therapist_no"].astype(int) + 100 * "abc".index(name) for name in chosen
        ]
        sizes = pd.concat(people).value_counts()
        for end in ("estimate", "ci_low", "ci_high"):
            assert mean[end] == pytest.approx(reliability_of_means(share[end], 1 - share[end], sizes).median, rel=1e-4, abs=1e-6)
        assert mean["ci_low"] <= mean["estimate"] <= mean["ci_high"]


def test_ratings_that_never_change_leave_the_share_without_an_interval_and_the_job_unharmed():
    sites = [simulated(name, n=90, therapists=12, seed=seed) for seed, name in enumerate("abc")]
    chosen = copy.deepcopy(OPTIONS)
    rows = therapist_factors.one_stage(iter(sites), ["a", "b", "c"], chosen)
    table = therapist_factors.pool([therapist_factors.estimate(site, chosen, {}) for site in sites], chosen, {"one_stage": rows})[
        "variance"
    ]
    own = table[table["site"].eq(POOLED) & table["basis"].eq("sessions") & table["part"].eq("constant") & table["trait"].eq("")]
    assert own.loc[own["ci_low"].isna() & own["status"].isin(WITH_NUMBERS), "reason"].str.contains("no interval: ").all()
