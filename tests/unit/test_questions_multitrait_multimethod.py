"""What raters share and what is their own: models of sites, over sites, and what cannot be estimated."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from alliance.questions import effects
from alliance.questions.contract import MOMENTS, POOLED, check, finish, typed
from alliance.questions.measurement import multitrait_multimethod as question
from alliance.questions.measurement.factor_rows import Sample
from alliance.questions.measurement.rater_models import ALL, rater_rows
from alliance.questions.site_data import Published, SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.rater_model import RaterModel, model_of
from simulated_items import REGISTRY, item_site, raters_scores, raters_site, scale_scores
from simulated_site import OPTIONS

COEFFICIENTS = ["consistency", "method_specificity", "reliability"]


def summary_of(site, options=OPTIONS) -> SiteSummary:
    part = question.estimate(site, options)
    rows = pd.DataFrame(part.rows).assign(model="multitrait_multimethod")
    vcov = [
        {"model": "multitrait_multimethod", "parameter1": row["parameter"], "parameter2": row["parameter"], "cov": value}
        for row, value in zip(part.rows, part.variances)
        if np.isfinite(value)
    ]
    return SiteSummary(site.site, "measurement", site.label, moments=part.moments, estimates=rows, vcov=pd.DataFrame(vcov))


def pooled(summaries, options=OPTIONS) -> pd.DataFrame:
    summaries = sorted(summaries, key=lambda one: one.site)
    table = finish(question.pool(effects.gather(summaries), summaries, options), "measurement", "multitrait_multimethod")
    check(table, "measurement", "multitrait_multimethod")
    return table


@pytest.fixture(scope="module")
def summaries() -> list[SiteSummary]:
    sites = [
        raters_site(name, n, 25, seed, observer=(0.4, 0.5) if name != "b" else None)
        for seed, (name, n) in enumerate([("a", 300), ("b", 250), ("c", 280)])
    ]
    return [summary_of(site) for site in sites]


@pytest.fixture(scope="module")
def table(summaries) -> pd.DataFrame:
    left_out = SiteSummary("d", "measurement", "D", status="excluded", reason="no usable files")
    alone = item_site("e", {}, scores=scale_scores(["wai_s.task", "wai_s.bond"], np.random.default_rng(1).standard_normal((50, 2))), n=50)
    return pooled([*summaries, left_out, summary_of(alone)])


def chosen(table, **where) -> pd.DataFrame:
    for column, value in where.items():
        table = table[table[column].eq(value)]
    return table


def test_known_shares_are_found_over_sites(table):
    own = chosen(table, site=POOLED, raters="client, therapist", rater="therapist", indicator=ALL, estimate_type="consistency")
    # The view of the client loads .5, the therapist's own .6: .25 / .61 of the true variance is shared.
    assert own.set_index("method")["headline"].to_dict() == {"pooled_covariance": "no", "two_stage_reml": "yes"}
    assert (own["ci_low"] < 0.25 / 0.61).all() and (own["ci_high"] > 0.25 / 0.61).all()
    assert own["n_sites"].eq(3).all() and own["n_clients"].eq(830).all()
    reliability = chosen(
        table, site=POOLED, raters="client, therapist", rater="client", estimate_type="reliability", method="pooled_covariance"
    )
    assert reliability["estimate"].tolist() == pytest.approx([0.64 / 0.89] * 3, abs=0.04)


def test_the_parts_of_a_view_add_up_to_one_with_mirrored_intervals(table):
    own = table[table["rater"].eq("therapist")]
    keys = ["site", "raters", "indicator", "method"]
    shared = own[own["estimate_type"].eq("consistency")].set_index(keys)
    rest = own[own["estimate_type"].eq("method_specificity")].set_index(keys).reindex(shared.index)
    np.testing.assert_allclose(shared["estimate"] + rest["estimate"], 1)
    np.testing.assert_allclose(shared["ci_low"] + rest["ci_high"], 1)


def test_three_raters_give_pairs_and_one_model_of_all(summaries):
    rows = summaries[0].estimates
    assert set(rows["raters"]) == {"client, observer", "client, therapist", "client, observer, therapist"}
    own = rows[rows["estimate_type"].eq("factor_correlation")]
    assert own["rater"].tolist() == ["observer ~~ therapist"] and own["raters"].tolist() == ["client, observer, therapist"]
    assert rows["status"].eq("estimated").all()


def test_every_site_says_what_it_lacks(table):
    assert chosen(table, site="d")["reason"].eq("site left out: no usable files").all() and len(chosen(table, site="d")) == 3
    alone = chosen(table, site="e")
    assert (
        len(alone) == 1
        and "by the client and by another rater" in alone["reason"].item()
        and "has them by client" in alone["reason"].item()
    )
    lacking = table[table["site"].eq("b") & table["status"].eq("not_estimable")]
    assert set(lacking["raters"]) == {"client, observer", "client, observer, therapist"}


def test_the_trait_is_the_view_of_the_reference_that_is_configured():
    options = copy.deepcopy(OPTIONS)
    options["questions"]["measurement"]["reference_rater"] = "therapist"
    rows = pd.DataFrame(question.estimate(raters_site("a", 300, 25, 1), options).rows)
    assert set(rows["reference"]) == {"therapist"} and set(rows["raters"]) == {"therapist, client"}
    assert set(rows.loc[rows["estimate_type"].eq("consistency"), "rater"]) == {"client"}


def test_only_sessions_that_all_raters_rated_count_one_a_client():
    random = np.random.default_rng(5)
    scores = raters_scores(120, random)
    late = raters_scores(120, random)
    options = copy.deepcopy(OPTIONS)
    options["questions"]["measurement"]["windows"] = ["early", "late"]
    missing = [frame[frame["client_no"].gt(20)] if frame["rater"].iat[0] == "therapist" else frame for frame in scores]
    later = [frame.assign(session=pd.array([4] * len(frame), dtype="Int64")) for frame in late]
    part = question.estimate(item_site("a", {}, scores=[*missing, *later], n=120), options)
    assert {row["n_clients"] for row in part.rows} == {120}
    alone = question.estimate(item_site("a", {}, scores=missing, n=120), options)
    assert {row["n_clients"] for row in alone.rows} == {100}


def test_raters_without_a_common_instrument_bring_one_each():
    random = np.random.default_rng(5)
    view = random.standard_normal((200, 1))
    names = ["arm_28.bond", "arm_28.partnership"]
    scores = scale_scores(["wai_s.task", "wai_s.bond"], view + random.standard_normal((200, 2)))
    scores += scale_scores(names, 0.6 * view + 0.5 * random.standard_normal((200, 1)) + random.standard_normal((200, 2)), rater="therapist")
    rows = pd.DataFrame(question.estimate(item_site("a", {}, scores=scores, n=200), OPTIONS).rows)
    assert set(rows["instruments"]) == {"client wai_s, therapist arm_28"}
    own = rows[rows["rater"].eq("therapist") & rows["estimate_type"].isin(COEFFICIENTS)]
    assert own["reason"].str.contains("two scales: their loadings on the rater's own factor are set equal").all()


def test_a_published_covariance_matrix_gives_what_its_rows_give():
    scores = raters_scores(250, np.random.default_rng(6))
    of_rows = pd.DataFrame(question.estimate(item_site("a", {}, scores=scores, n=250), OPTIONS).rows)
    wide = pd.concat(scores).assign(name=lambda one: one["instrument"] + "." + one["scale"] + "." + one["rater"])
    wide = wide.pivot(index="client_no", columns="name", values="score_mean")
    matrix = np.cov(wide.to_numpy(), rowvar=False)
    names = list(wide)
    for method, sent in (("covariance", matrix), ("correlation", np.corrcoef(wide.to_numpy(), rowvar=False))):
        pairs = [(names[i], names[j], sent[i, j]) for i in range(6) for j in range(i, 6) if method == "covariance" or i != j]
        frame = pd.DataFrame(pairs, columns=["var1", "var2", "cov"]).assign(block="all", level="client", n=250, method=method)
        effects_of = pd.DataFrame(columns=["question", "model", "parameter", "estimate", "n", "std_error"])
        site = SiteData("p", "P", instruments=REGISTRY, published=Published(typed(frame, MOMENTS), effects_of))
        own = pd.DataFrame(question.estimate(site, OPTIONS).rows).set_index("parameter")["estimate"]
        # The sum of the scales is one of standardised scales where only correlations are known.
        same = ~of_rows["index"].isin(["aic", "bic"]) & (of_rows["indicator"].ne(ALL) | (method == "covariance"))
        theirs = of_rows[same].set_index("parameter")["estimate"]
        np.testing.assert_allclose(own.reindex(theirs.index), theirs, rtol=1e-5, atol=1e-8)


def test_a_share_beyond_its_bounds_is_shown_without_an_interval_and_not_pooled():
    matrix = np.eye(4) + 0.3 * (1 - np.eye(4))
    matrix[2, 3] = matrix[3, 2] = 0.09
    model = model_of("client", ["client.task", "client.bond", "therapist.task", "therapist.bond"])
    rows = [row for row, _ in rater_rows(model, Sample(model.names, 300, matrix), "", 0.95)]
    assert all(row["status"] in ("flagged", "not_estimable") for row in rows if row["estimate_type"] in COEFFICIENTS)
    for row in rows:
        if row["estimate_type"] == "consistency" and not 0 < row["estimate"] < 1:
            assert "ci_low" not in row


def test_the_syntax_holds_the_trait_apart_from_the_raters_own_factors():
    syntax = RaterModel("client", {"client": ("task", "bond"), "observer": ("a", "b", "c")}).syntax
    assert "trait ~~ 0*observer_own" in syntax and "observer_own =~ m3*observer.a + m4*observer.b + m5*observer.c" in syntax
    assert "consistency_observer := (t3 + t4 + t5)^2/((t3 + t4 + t5)^2 + (m3 + m4 + m5)^2)" in syntax


def test_methods_name_the_reference_and_say_where_nothing_was_found(table):
    sentences = question.methods(OPTIONS, table)
    assert "rated by the client is the trait" in sentences[0].text and "eid_2000" in sentences[0].citations
    assert "no site has scales by the client" in question.methods(OPTIONS, table[table["site"].eq("d")])[0].text
