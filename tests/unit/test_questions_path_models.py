"""Path models of a configuration: what a site can and cannot tell, and which numbers carry a flag."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from alliance.questions.contract import POOLED, WITH_NUMBERS, check
from alliance.questions.path_models import sample as path_model_sample
from path_model_sites import FULL, PARTIAL, WORK, configured, path_site, row, rows_of, summary_of, tables_of

INTERVALS = {"delta", "monte_carlo", "bootstrap_percentile", "bootstrap_bca"}


def reasons(found: pd.DataFrame) -> set[str]:
    assert set(found["status"]) == {"not_estimable"}
    return set(found["reason"])


def test_effective_clients_are_the_harmonic_mean_over_pairs_of_variables():
    present = np.ones((12, 3))
    assert path_model_sample.effective_clients(present) == 12
    present[:6, 0] = 0  # pairs: 6, 6, 12
    assert path_model_sample.effective_clients(present) == pytest.approx(3 / (1 / 6 + 1 / 6 + 1 / 12))
    present[6:, 1] = 0  # nobody has the first two
    assert path_model_sample.effective_clients(present) == 0


def test_a_variable_that_a_site_did_not_measure_is_named_in_every_row_and_only_in_its_models():
    options = configured({"main": PARTIAL, "mechanism": "adherence ~ alliance\noutcome ~ adherence"})
    summary = summary_of(path_site(), options)
    (reason,) = reasons(rows_of(summary, "mechanism"))
    assert reason.startswith("not estimable: adherence: ")
    own = rows_of(summary, "main")
    assert set(own.loc[own["op"].isin(["~", ":="]), "status"]) == {"estimated"}


def test_too_few_clients_with_two_variables_are_told_with_the_pair_and_their_number():
    site = path_site(n=40)
    scores = site.scores
    late = scores["timepoint"].eq("post") & scores["client_no"].gt(8)
    sparse = dataclasses.replace(site, scores=scores[~late])
    (reason,) = reasons(rows_of(summary_of(sparse, configured({"main": PARTIAL})), "main"))
    assert reason == "not estimable: needs at least 10 clients with alliance and outcome; has 8"


def test_too_few_clients_for_the_parameters_are_told_with_both_numbers():
    options = configured({"main": PARTIAL})
    (reason,) = reasons(rows_of(summary_of(path_site(n=20), options), "main"))
    assert reason == (
        "not estimable: needs at least 21 clients for 7 free parameters (clients_per_parameter 3); has 20 (mean over pairs of variables)"
    )
    assert set(rows_of(summary_of(path_site(n=21), options), "main")["status"]) >= {"estimated"}


def test_a_model_with_more_parameters_than_the_data_have_moments_is_never_fitted():
    options = configured({"loose": "work =~ task + bond"})
    summaries = [summary_of(path_site(name, seed=seed), options) for seed, name in enumerate("ab")]
    # Two loadings of which one is 1, a variance of the factor, two of residuals, two means; two means and three (co)variances.
    assert reasons(rows_of(summaries[0], "loose")) == {"not estimable: not identified: 6 free parameters, the moments allow 5"}
    tables = tables_of(summaries, options)
    for name in ("parameters", "fit"):
        assert not tables[name]["status"].isin(WITH_NUMBERS).any()


def test_a_negative_variance_is_told_in_every_row_of_its_model_and_no_number_is_taken_from_it():
    summary = summary_of(path_site(n=400, heywood=True, seed=3), configured({"work": WORK}))
    own = rows_of(summary, "work")
    assert set(own["status"]) == {"not_estimable"} and own["estimate"].isna().all() and len(own) > 10
    assert own["reason"].str.startswith("not estimable: improper solution (negative variance of task)").all()
    assert summary.moments["block"].eq("path_models:work").any(), "what models over sites need is sent all the same"


def test_clients_with_some_of_the_variables_count_unless_they_are_left_out():
    site = path_site(n=200, missing=0.1)
    likelihood = rows_of(summary_of(site, configured({"main": PARTIAL})), "main")
    listwise = rows_of(summary_of(site, configured({"main": PARTIAL}, missing="listwise")), "main")
    values = site.scores.pivot_table(index="client_no", columns=["instrument", "timepoint", "scale"], values="score")
    columns = [("care", "session", "total"), ("core_10", "intake", "total"), ("core_10", "post", "total"), ("wai_36", "session", "total")]
    complete = values[columns].dropna()
    assert set(listwise["n_clients"]) == {len(complete)}
    assert set(likelihood["n_clients"]) == {int(values[columns].notna().any(axis=1).sum())}
    assert set(likelihood["share_missing"]) == {1 - len(complete) / likelihood["n_clients"].iloc[0]}
    empathy, intake, post, alliance = (complete[column].to_numpy() for column in columns)
    design = np.column_stack([np.ones(len(complete)), alliance, empathy, -intake])
    expected = np.linalg.lstsq(design, -post, rcond=None)[0][1:]
    found = listwise[listwise["lhs"].eq("outcome") & listwise["estimate_type"].eq("path_unstandardised")]
    assert found.set_index("rhs")["estimate"].loc[["alliance", "empathy", "intake_level"]].tolist() == pytest.approx(expected, rel=1e-6)
    other = likelihood[likelihood["lhs"].eq("outcome") & likelihood["estimate_type"].eq("path_unstandardised")]
    assert (other.set_index("rhs")["estimate"] - found.set_index("rhs")["estimate"]).abs().min() > 1e-4


def test_therapists_are_left_out_in_turn_from_five_on_and_fewer_are_flagged():
    options = configured({"main": PARTIAL})
    paths = {count: rows_of(summary_of(path_site(therapists=count), options), "main") for count in (4, 5)}
    paths = {count: own[own["op"].eq("~")] for count, own in paths.items()}
    assert set(paths[5]["method"]) == {"cluster_jackknife"} and set(paths[5]["status"]) == {"estimated"}
    assert set(paths[4]["method"]) == {"client_jackknife"} and set(paths[4]["status"]) == {"flagged"}
    assert set(paths[4]["reason"]) == {"fewer than 5 therapists (4): clients taken as independent"}


def test_unknown_therapists_are_no_fault_of_the_numbers():
    site = path_site()
    scores = site.scores.assign(therapist_no=pd.array([None] * len(site.scores), dtype="Int64"))
    clients = site.clients.drop(columns="therapist_no")
    own = rows_of(summary_of(dataclasses.replace(site, scores=scores, clients=clients), configured({"main": PARTIAL})), "main")
    paths = own[own["op"].eq("~")]
    assert set(paths["method"]) == {"client_jackknife"} and set(paths["status"]) == {"estimated"}
    assert own["n_therapists"].isna().all()


def test_the_error_of_a_path_is_that_of_regressions_without_each_therapist():
    site, therapists = path_site(), 15
    values = site.scores.pivot_table(index="client_no", columns=["instrument", "timepoint", "scale"], values="score")
    columns = [("wai_36", "session", "total"), ("care", "session", "total"), ("core_10", "intake", "total")]
    outcome = -values[("core_10", "post", "total")].to_numpy()
    design = np.column_stack([np.ones(len(values)), values[columns].to_numpy() * [1, 1, -1]])
    therapist = (values.index.to_numpy() - 1) % therapists
    without = np.array([np.linalg.lstsq(design[therapist != one], outcome[therapist != one], rcond=None)[0] for one in range(therapists)])
    spread = (therapists - 1) / therapists * ((without - without.mean(axis=0)) ** 2).sum(axis=0)
    own = tables_of([summary_of(site, configured({"main": PARTIAL}))], configured({"main": PARTIAL}))["parameters"]
    for name, variance in zip(("alliance", "empathy", "intake_level"), spread[1:]):
        found = row(own, site="a", lhs="outcome", rhs=name, estimate_type="path_unstandardised")
        assert found["std_error"] == pytest.approx(np.sqrt(variance), rel=1e-5)


@pytest.fixture(scope="module")
def two_sites():
    options = configured({"main": PARTIAL, "full": FULL})
    return options, [summary_of(path_site(name, seed=seed, therapists=30), options) for seed, name in enumerate("ab", start=4)]


def test_defined_effects_have_one_row_for_every_kind_of_interval(two_sites):
    options, summaries = two_sites
    tables = tables_of(summaries, options)
    for name, table in tables.items():
        check(table, "path_models", name)
    defined = tables["defined"]
    own = defined[defined["site"].eq("a") & defined["model"].eq("main") & defined["estimate_type"].eq("defined_standardised")]
    for effect in ("indirect", "total"):
        rows = own[own["parameter"].eq(effect)]
        assert set(rows["interval"]) == INTERVALS and len(rows) == 4
        assert rows["estimate"].nunique() == 1
        assert (rows["ci_low"] < rows["estimate"]).all() and (rows["estimate"] < rows["ci_high"]).all()
        # Intervals of the same effect: their widths differ by method, not by a factor.
        widths = rows["ci_high"] - rows["ci_low"]
        assert widths.max() < 1.6 * widths.min()
    methods = dict(zip(own["interval"], own["method"]))
    assert methods == {
        "delta": "cluster_robust",
        "monte_carlo": "cluster_jackknife",
        "bootstrap_percentile": "bootstrap",
        "bootstrap_bca": "bootstrap",
    }


def test_effects_that_share_a_session_are_flagged_with_every_interval(two_sites):
    options, _ = two_sites
    early = {**options["questions"]["path_models"]["variables"], "empathy": {"construct": "empathy", "window": "early"}}
    changed = configured({"main": PARTIAL}, variables=early)
    site = path_site()
    again = site.scores[site.scores["instrument"].eq("care")].assign(session=pd.array([4] * 150, dtype="Int64"))
    summary = summary_of(dataclasses.replace(site, scores=pd.concat([site.scores, again], ignore_index=True)), changed)
    own = rows_of(summary, "main")
    effects = own[own["op"].eq(":=")]
    assert len(effects) == 16 and set(effects["status"]) == {"flagged"}
    assert effects["reason"].str.contains("order in time is not strict: alliance was rated in the same session as empathy").all()
    outcome = own[own["parameter"].eq("outcome ~ alliance")]
    assert set(outcome["status"]) == {"estimated"}


def test_clients_rated_after_the_outcome_are_left_out_of_the_models_they_concern():
    site = path_site(n=60)
    scores = site.scores.assign(date=pd.Timestamp("2024-03-01"))
    scores.loc[scores["timepoint"].eq("post") & scores["client_no"].le(5), "date"] = pd.Timestamp("2024-02-01")
    options = configured({"main": PARTIAL, "work": WORK, "level": "outcome ~ intake_level + motivation"})
    found = path_model_sample.samples(dataclasses.replace(site, scores=scores), options)
    assert {name: one.n_clients for name, one in found.items()} == {"main": 55, "work": 60, "level": 60}
    assert found["main"].facts["left_out_predictor_after_outcome"] == 5
    assert not set(range(1, 6)) & set(found["main"].rows.index)


def test_models_of_one_comparison_leave_out_the_same_clients():
    site = path_site(n=60)
    scores = site.scores.assign(date=pd.Timestamp("2024-03-01"))
    scores.loc[scores["timepoint"].eq("post") & scores["client_no"].le(5), "date"] = pd.Timestamp("2024-02-01")
    site = dataclasses.replace(site, scores=scores)
    models = {"forth": "outcome ~ alliance", "back": "alliance ~ outcome", "alone": "alliance ~ outcome"}
    found = path_model_sample.samples(site, configured(models, {"order": ["back", "forth"]}))
    assert {name: one.n_clients for name, one in found.items()} == {"forth": 55, "back": 55, "alone": 60}


def test_a_variable_that_models_define_in_their_own_way_has_its_own_moments():
    options = configured({"main": PARTIAL, "other": PARTIAL})
    options["questions"]["path_models"]["models"]["other"]["variables"] = {"alliance": {"construct": "wai_36.bond", "window": "session_3"}}
    moments = summary_of(path_site(), options).moments
    pair = moments[moments["var1"].eq("alliance") & moments["var2"].eq("outcome")].set_index("block")["cov"]
    assert abs(pair["path_models:main"]) > 1.5 * abs(pair["path_models:other"])


def test_the_overlap_of_the_early_gain_is_said_of_all_rows_of_its_model():
    variables = {"gain": {"construct": "early_gain"}, "alliance": {"construct": "alliance"}, "outcome": {"construct": "outcome"}}
    site = path_site()
    extra = site.scores[site.scores["timepoint"].eq("intake")].assign(timepoint="session", session=pd.array([3] * 150, dtype="Int64"))
    noise = np.random.default_rng(8).normal(0, 3, 150)
    extra = extra.assign(score=extra["score"] + noise, score_sum=extra["score_sum"] + noise)
    options = configured({"gain": "alliance ~ a*gain\noutcome ~ b*alliance + gain\nthrough := a*b"}, variables=variables)
    own = rows_of(summary_of(dataclasses.replace(site, scores=pd.concat([site.scores, extra], ignore_index=True)), options), "gain")
    told = own[own["op"].isin(["~", ":="])]
    assert set(told["status"]) == {"flagged"}
    assert told["reason"].str.contains("alliance measured inside the early-gain window").all()


def test_fit_of_a_model_that_restricts_nothing_is_said_to_need_degrees_of_freedom(two_sites):
    options, summaries = two_sites
    fit = tables_of(summaries, options)["fit"]
    own = fit[fit["site"].eq("a")]
    saturated = row(own, model="main", index="p_value")
    assert saturated["status"] == "not_estimable" and "degrees of freedom" in saturated["reason"]
    assert row(own, model="main", index="df")["estimate"] == 0
    assert row(own, model="full", index="df")["estimate"] == 1
    assert row(own, model="full", index="p_value")["status"] == "estimated"
    pooled = fit[fit["site"].eq(POOLED) & fit["method"].eq("pooled_covariance") & fit["model"].eq("full")]
    assert pooled.set_index("index").loc["df", "estimate"] == 1


def test_nothing_is_sent_of_pairs_of_variables_that_too_few_clients_have():
    site = path_site(n=60)
    few = site.scores["timepoint"].eq("post") & site.scores["client_no"].gt(7)
    summary = summary_of(dataclasses.replace(site, scores=site.scores[~few]), configured({"main": PARTIAL}))
    own = summary.moments[summary.moments["block"].eq("path_models:main")]
    assert len(own) == 6 and "outcome" not in set(own["var1"]) | set(own["var2"])
    assert own["n"].ge(10).all()
    assert not rows_of(summary, "main")["status"].isin(WITH_NUMBERS).any()
