"""Path models compared with each other, over sites, and the same whatever the order and labels of the rows."""

from __future__ import annotations

import copy
import dataclasses
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from alliance.configuration.study import load
from alliance.questions.contract import MOMENTS, POOLED, PUBLISHED_EFFECTS, WITH_NUMBERS, check, typed
from alliance.questions.path_models import comparison
from alliance.questions.site_data import Published, SiteData
from alliance.questions.summary import LARGEST_BYTES, SiteSummary
from path_model_sites import FULL, PARTIAL, TURNED, WORK, configured, path_site, row, rows_of, summary_of, tables_of
from simulated_site import INSTRUMENTS, score_rows
from support import PROJECT

CHAIN = "alliance ~ empathy\noutcome ~ alliance\n"
BACK = "alliance ~ outcome\nempathy ~ alliance\n"
RIVAL = "empathy ~ outcome\nalliance ~ empathy\n"
MODELS = {"main": PARTIAL, "full": FULL, "turned": TURNED, "chain": CHAIN, "back": BACK, "rival": RIVAL, "work": WORK}
COMPARED = {"mediation": ["full", "main", "turned"], "direction": ["chain", "back", "rival"], "pair": ["full", "main"]}
OPTIONS = configured(MODELS, COMPARED)


@pytest.fixture(scope="module")
def summaries():
    return [
        summary_of(path_site(name, n=120 + 30 * seed, therapists=20, seed=seed, missing=0.05 * seed), OPTIONS)
        for seed, name in enumerate("abc", start=1)
    ]


@pytest.fixture(scope="module")
def tables(summaries):
    return tables_of(summaries, OPTIONS)


def published(name: str, covariance: pd.DataFrame, n: int, method: str = "covariance") -> SiteData:
    rows = [
        {"block": "all", "level": "client", "var1": a, "var2": b, "n": n, "cov": covariance.loc[a, b], "method": method}
        for i, a in enumerate(covariance)
        for b in list(covariance)[i if method == "covariance" else i + 1 :]
    ]
    moments = typed(pd.DataFrame(rows, columns=list(MOMENTS)), MOMENTS)
    effects = typed(pd.DataFrame(columns=list(PUBLISHED_EFFECTS)), PUBLISHED_EFFECTS)
    return SiteData(name, name.upper(), instruments=INSTRUMENTS, published=Published(moments, effects))


def test_weights_are_those_of_burnham_and_anderson_and_leave_out_models_that_fit_alike() -> None:
    alone = {"a": (), "b": (), "c": ()}
    found = comparison.akaike_weights({"a": 100.0, "b": 102.0, "c": 110.0}, alone)
    shares = np.exp([0, -1, -5])
    assert [found[name] for name in "abc"] == pytest.approx(shares / shares.sum())
    alike = comparison.akaike_weights({"a": 100.0, "b": 102.0, "c": 100.0}, {"a": ("c",), "b": (), "c": ("a",)})
    assert alike == {"b": pytest.approx(np.exp(-1) / (1 + np.exp(-1)))}
    assert comparison.akaike_weights({"a": 100.0, "c": 100.0}, {"a": ("c",), "c": ("a",)}) == {}


def test_models_no_data_can_tell_apart_are_named_and_weigh_nothing(tables) -> None:
    own = tables["comparison"]
    for site in ("a", POOLED):
        rows = own[own["site"].eq(site) & own["index"].eq("akaike_weight")]
        for name, other, group in (("chain", "back", "direction"), ("main", "turned", "mediation")):
            found = row(rows, comparison=group, model=name)
            assert (found["status"], np.isnan(found["estimate"])) == ("not_estimable", True)
            assert f"as well as {other}: no data can weigh one against the other" in found["reason"]
        values = own[own["site"].eq(site) & own["index"].eq("aic") & own["comparison"].eq("direction")].set_index("model")["estimate"]
        assert values["chain"] == pytest.approx(values["back"], rel=1e-9)
        weight = np.exp(-(values["rival"] - values.min()) / 2) / (1 + np.exp(-(values["rival"] - values["chain"]) / 2))
        assert row(rows, comparison="direction", model="rival")["estimate"] == pytest.approx(weight, rel=1e-6)
        pair = rows[rows["comparison"].eq("pair")]
        assert pair["estimate"].sum() == pytest.approx(1)


def test_nested_models_have_a_difference_of_chi_squares_and_no_others(tables) -> None:
    own = tables["comparison"]
    differences = own[own["estimate_type"].eq("chi2_difference") & own["site"].isin(["a", POOLED])]
    pairs = set(zip(differences["comparison"], differences["model"], differences["against"]))
    assert pairs == {("mediation", "full", "main"), ("mediation", "full", "turned"), ("pair", "full", "main")}
    for site in ("a", POOLED):
        found = differences[differences["site"].eq(site) & differences["comparison"].eq("pair")].set_index("index")["estimate"]
        assert found["df"] == 1
        assert 0 < found["p_value"] < 1 and found["chi2"] > 0


def test_a_model_without_an_estimate_leaves_its_comparison_without_weights() -> None:
    options = configured({"full": FULL, "main": PARTIAL}, {"pair": ["full", "main"]})
    small = summary_of(path_site(n=20), options)
    own = small.estimates[small.estimates["model"].eq("comparison")]
    weights = own[own["estimate_type"].eq("akaike_weight")].set_index("compared_model")
    assert set(weights["status"]) == {"not_estimable"}
    assert "needs at least 21 clients" in weights.loc["main", "reason"]
    assert own["status"].isin(WITH_NUMBERS).any() == rows_of(small, "full")["status"].isin(WITH_NUMBERS).any()


def test_models_that_rest_on_different_sites_are_not_compared_over_sites() -> None:
    options = configured({"full": FULL, "main": PARTIAL}, {"pair": ["full", "main"]})
    given = [summary_of(path_site(name, n=n, seed=n), options) for name, n in (("a", 150), ("b", 150), ("c", 150))]
    without = given[2].moments["block"].ne("path_models:full")
    given[2] = dataclasses.replace(given[2], moments=given[2].moments[without])
    own = tables_of(given, options)["comparison"]
    pooled = own[own["site"].eq(POOLED)]
    assert set(pooled["status"]) == {"not_estimable"}
    assert set(pooled["reason"]) == {"not estimable: the models rest on different sites"}
    assert own.loc[own["site"].eq("a"), "status"].isin(WITH_NUMBERS).any()


def test_every_coefficient_is_pooled_in_four_ways_that_agree(tables) -> None:
    parameters = tables["parameters"]
    own = parameters[parameters["site"].eq(POOLED) & parameters["estimate_type"].eq("path_standardised") & parameters["model"].eq("main")]
    for name, truth in (("outcome ~ alliance", 0.42), ("alliance ~ empathy", 0.52)):
        rows = own[own["parameter"].eq(name)]
        assert set(rows["method"]) == {"two_stage_reml", "multivariate_reml", "pooled_covariance", "two_stage_sem"}
        assert set(rows["status"]) == {"estimated"}
        assert (abs(rows["estimate"] - truth) < 4 * rows["std_error"]).all()
        assert rows["estimate"].max() - rows["estimate"].min() < rows["std_error"].min()


def test_a_published_covariance_matrix_gives_what_its_rows_give() -> None:
    from alliance.statistics.structural_fit import Moments, fit_structural
    from alliance.statistics.structural_model import parse_structural

    random = np.random.default_rng(2)
    names = ["empathy", "intake_level", "alliance", "outcome"]
    data = random.standard_normal((200, 4)) @ np.array([[1, 0, 0.5, 0.2], [0, 1, 0.2, 0.4], [0, 0, 0.8, 0.3], [0, 0, 0, 0.8]])
    covariance = pd.DataFrame(np.cov(data.T), index=names, columns=names)
    options = configured({"main": PARTIAL, "full": FULL})
    own = rows_of(summary_of(published("p", covariance, 200), options), "full")
    model = parse_structural(FULL)
    expected = fit_structural(
        model, Moments(200, covariance.loc[list(model.observed), list(model.observed)].to_numpy(), None, model.observed)
    )
    table = expected.parameters[expected.parameters["op"].eq("~")]
    for one in table.itertuples():
        for kind, value in (("path_unstandardised", one.estimate), ("path_standardised", one.standardized)):
            found = row(own, lhs=one.lhs, rhs=one.rhs, estimate_type=kind)
            assert found["estimate"] == pytest.approx(value, rel=1e-9)
            assert found["method"] == "normal_theory" and found["n_clients"] == 200
    assert row(own, index="chi2")["estimate"] == pytest.approx(expected.fit.chi2)


def test_a_published_correlation_matrix_gives_no_coefficients_in_units() -> None:
    names = ["empathy", "intake_level", "alliance", "outcome"]
    matrix = pd.DataFrame(np.full((4, 4), 0.3) + 0.7 * np.eye(4), index=names, columns=names)
    own = rows_of(summary_of(published("p", matrix, 120, "correlation"), configured({"main": PARTIAL})), "main")
    raw = own[own["estimate_type"].isin(["path_unstandardised", "defined_unstandardised"])]
    assert set(raw["status"]) == {"not_estimable"} and raw["reason"].str.contains("units are unknown").all()
    standard = own[own["op"].eq("~") & own["estimate_type"].eq("path_standardised")]
    assert set(standard["status"]) == {"estimated"}


def test_sites_whose_paths_differ_are_found_and_those_alike_are_not() -> None:
    options = configured({"main": PARTIAL})
    truth = {"a": 0.9, "b": 0.0, "c": 0.0}
    found = tables_of(
        [summary_of(path_site(s, n=300, therapists=30, seed=7 + k, effect=e), options) for k, (s, e) in enumerate(truth.items())], options
    )
    own = found["site_paths"]
    check(own, "path_models", "site_paths")
    assert set(own["n_therapists"]) == {30}
    different = row(own, site="a", parameter="outcome ~ alliance", index="difference")
    paths = found["parameters"]
    paths = paths[paths["parameter"].eq("outcome ~ alliance") & paths["estimate_type"].eq("path_standardised")]
    at_site = paths[paths["site"].ne(POOLED)]["estimate"]
    assert 0.2 < different["estimate"] < at_site.max() - at_site.min()
    assert different["ci_low"] > 0
    assert row(own, site="a", parameter="outcome ~ alliance", index="p_value_holm")["estimate"] < 0.001
    alike = row(own, site="a", parameter="alliance ~ empathy", index="p_value_holm")
    assert alike["estimate"] > 0.05
    tests = found["diagnostics"]
    tests = tests[tests["estimate_type"].eq("equality_test") & tests["index"].eq("equal_paths_p_value")].set_index("parameter")["estimate"]
    assert tests["all paths"] < 0.001 and tests["outcome ~ alliance"] < 0.001 and tests["alliance ~ empathy"] > 0.01


def test_one_site_has_no_other_to_differ_from() -> None:
    options = configured({"main": PARTIAL})
    own = tables_of([summary_of(path_site(), options)], options)["site_paths"]
    assert set(own["status"]) == {"not_estimable"}
    assert set(own["reason"]) == {"not estimable: needs at least two sites with all variables of a model with paths"}


def test_a_confounder_that_undoes_the_effect_correlates_as_the_residuals_do(tables) -> None:
    # Imai, Keele and Yamamoto (2010): the effect is zero where rho is the correlation of the residuals of mediator and outcome.
    site = path_site("a", n=150, therapists=20)
    values = site.scores.pivot_table(index="client_no", columns=["instrument", "timepoint", "scale"], values="score")
    given = np.column_stack([np.ones(len(values)), values[[("care", "session", "total"), ("core_10", "intake", "total")]]])
    residual = [
        column - given @ np.linalg.lstsq(given, column, rcond=None)[0]
        for column in (values[("wai_36", "session", "total")].to_numpy(), -values[("core_10", "post", "total")].to_numpy())
    ]
    summary = summary_of(site, configured({"main": PARTIAL}))
    own = tables_of([summary], configured({"main": PARTIAL}))["indirect"]
    found = row(own, site="a", effect="indirect", estimate_type="confounder_correlation")
    assert found["estimate"] == pytest.approx(np.corrcoef(residual)[0, 1], abs=1e-6)
    assert found["definition"] == "alliance -> outcome"
    limit = row(own, site="a", effect="indirect", estimate_type="confounder_correlation_limit")
    assert 0 <= limit["estimate"] <= found["estimate"]
    e_values = [row(own, site="a", effect="indirect", estimate_type=kind)["estimate"] for kind in ("e_value", "e_value_limit")]
    assert e_values[0] >= e_values[1] >= 1
    pooled = tables["indirect"]
    pooled = row(pooled, site=POOLED, model="main", effect="indirect", estimate_type="confounder_correlation")
    assert (pooled["method"], pooled["n_sites"]) == ("pooled_covariance", 3)


def test_indirect_effects_are_told_with_their_chain_and_one_interval_a_way_of_pooling(tables) -> None:
    own = tables["indirect"]
    own = own[own["model"].eq("main") & own["estimate_type"].eq("defined_standardised")]
    assert own["definition"].str.endswith("empathy -> alliance -> outcome").all()
    at_sites = own[own["site"].ne(POOLED)]
    assert set(at_sites["interval"]) == {"bootstrap_percentile"} and not at_sites.duplicated(["site", "effect"]).any()
    pooled = own[own["site"].eq(POOLED) & own["effect"].eq("indirect")]
    assert dict(zip(pooled["method"], pooled["interval"])) == {
        "two_stage_reml": "random_effects",
        "multivariate_reml": "monte_carlo",
        "pooled_covariance": "monte_carlo",
        "two_stage_sem": "monte_carlo",
    }


def everything() -> dict:
    """Return the options of the shipped configuration, with all parts of the path models."""
    options = copy.deepcopy(dict(load(PROJECT / "config.yaml").scenarios["base"]))
    options["resampling"] = {**options["resampling"], "draws": 100}
    options["seed"] = 7
    return options


def full_site(name: str, seed: int, n: int = 130, sessions: int = 8) -> SiteData:
    """Return a site that has measures for every part of the shipped path models, a twentieth of the ratings missing."""
    random = np.random.default_rng(seed)
    client, therapist = np.arange(1, n + 1), np.arange(n) % 13 + 1
    level = random.standard_normal(n)
    tables = []

    def add(instrument: str, session: int, value: np.ndarray, **about) -> None:
        kept = random.random(n) > 0.05
        tables.append(score_rows(client[kept], value[kept], instrument=instrument, session=session, therapist_no=therapist[kept], **about))

    alliance = level + 0.5 * random.standard_normal(n)
    symptoms = 20 - 2 * level + 3 * random.standard_normal(n)
    for session in range(1, sessions + 1):
        alliance = 0.5 * level + 0.4 * alliance + 0.6 * random.standard_normal(n)
        symptoms = 5 - alliance + 0.7 * symptoms + 2 * random.standard_normal(n)
        add("wai_sr", session, 5 + alliance)
        for scale in ("task", "bond", "goal"):
            add("wai_sr", session, 5 + 0.8 * alliance + 0.6 * random.standard_normal(n), scale=scale)
        add("care", session, 30 + 2 * alliance + 3 * random.standard_normal(n))
        add("core_10", session, symptoms)
        add("homework_adherence", session, alliance + random.standard_normal(n), rater="therapist")
        for scale in ("regard", "congruence"):
            add("blri_os64", session, alliance + random.standard_normal(n), scale=scale)
    start, end = 20 - 2 * level + 3 * random.standard_normal(n), symptoms
    about = {"instrument": "core_10", "therapist_no": therapist}
    tables += [score_rows(client, start, timepoint="intake", **about), score_rows(client, end, timepoint="post", **about)]
    clients = pd.DataFrame({"client_no": client, "therapist_no": therapist}).astype("Int64")
    clients["object_relations"] = level + random.standard_normal(n)
    return SiteData(name, name.upper(), scores=pd.concat(tables, ignore_index=True), clients=clients, instruments=load_instruments())


def load_instruments():
    from alliance.instruments import load_registry

    registry = load_registry([PROJECT / "workflow" / "instruments"])
    return getattr(registry, "instruments", registry)


@pytest.fixture(scope="module")
def whole():
    options = everything()
    return options, [summary_of(full_site(name, seed), options) for seed, name in enumerate("ab", start=1)]


def test_rows_and_written_summaries_give_the_same_tables_with_everything_in_the_shipped_models(whole, tmp_path) -> None:
    options, summaries = whole
    found = tables_of(summaries, options)
    for name in ("parameters", "defined", "indirect", "fit", "comparison", "site_paths", "cross_lagged", "diagnostics"):
        assert found[name]["status"].isin(WITH_NUMBERS).any(), name
    chains = found["indirect"][found["indirect"]["level"].isin(["within", "between"])]
    assert chains["status"].isin(WITH_NUMBERS).any()
    read = []
    for summary in summaries:
        summary.write(tmp_path / summary.site)
        read.append(SiteSummary.read(tmp_path / summary.site))
        assert sum(path.stat().st_size for path in (tmp_path / summary.site).iterdir()) < LARGEST_BYTES / 4
    for name, table in tables_of(read, options).items():
        check(table, "path_models", name)
        pd.testing.assert_frame_equal(table, found[name], check_exact=True)


def test_no_client_and_no_value_of_one_client_is_in_a_summary(whole, tmp_path) -> None:
    _, summaries = whole
    summaries[0].write(tmp_path)
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(tmp_path.iterdir()))
    values = full_site("a", 1).scores["score"]
    assert not any(repr(float(value)) in text for value in values)
    assert summaries[0].moments["n"].ge(10).all()


@pytest.mark.parametrize("what", ["rows", "therapists"])
def test_order_of_rows_and_labels_of_therapists_change_nothing(what, summaries, tables) -> None:
    site = path_site("c", n=210, therapists=20, seed=3, missing=0.15)
    if what == "rows":
        order = np.random.default_rng(1).permutation(len(site.scores))
        site = dataclasses.replace(site, scores=site.scores.iloc[order].reset_index(drop=True), clients=site.clients.iloc[::-1])
    else:
        label = pd.Series(np.random.default_rng(2).permutation(20) + 500, index=range(1, 21))
        scores = site.scores.assign(therapist_no=site.scores["therapist_no"].map(label).astype("Int64"))
        clients = site.clients.assign(therapist_no=site.clients["therapist_no"].map(label).astype("Int64"))
        site = dataclasses.replace(site, scores=scores, clients=clients)
    again = tables_of([summary_of(site, OPTIONS), *summaries[:2]], OPTIONS)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(again[name], table, check_exact=True)


def test_the_same_bytes_come_out_whatever_the_hash_seed() -> None:
    code = (
        "import sys, hashlib; sys.path[:0] = ['scripts', 'tests/unit']\n"
        "from path_model_sites import *\n"
        "o = configured({'main': PARTIAL, 'full': FULL, 'work': WORK}, {'pair': ['full', 'main']})\n"
        "t = tables_of([summary_of(path_site(s, n=80, seed=k, missing=.1), o) for k, s in enumerate('ab')], o)\n"
        "print(hashlib.sha256(''.join(t[n].to_csv() for n in sorted(t)).encode()).hexdigest())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            cwd=PROJECT,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


@pytest.mark.parametrize("what", ["same", "huge"])
def test_a_measure_that_is_another_one_or_has_huge_units_breaks_no_table(what) -> None:
    site = path_site(n=60)
    scores, of_alliance = site.scores, site.scores["instrument"].eq("wai_36") & site.scores["scale"].eq("total")
    if what == "same":
        care = scores[scores["instrument"].eq("care")].set_index("client_no")["score"]
        scores = scores.assign(score=scores["score"].mask(of_alliance, scores["client_no"].map(care)))
    else:
        scores = scores.assign(score=scores["score"].mask(scores["instrument"].eq("core_10"), scores["score"] * 1e9))
    options = configured({"main": PARTIAL, "full": FULL}, {"pair": ["full", "main"]})
    given = [summary_of(dataclasses.replace(site, scores=scores), options), summary_of(path_site("b", seed=9, n=80), options)]
    tables = tables_of(given, options)
    for name, table in tables.items():
        check(table, "path_models", name)
    own = rows_of(given[0], "main")
    paths = own[own["parameter"].eq("outcome ~ alliance (standardised)")]
    assert paths["status"].tolist() == (["not_estimable"] if what == "same" else ["estimated"])


@pytest.mark.parametrize(
    "syntax",
    [
        "alliance ~ a*empathy\noutcome ~ a*alliance + empathy\nind := a*a\n",
        "alliance ~ a*empathy\noutcome ~ b*alliance + empathy\nind := a*b\na == b\n",
        "alliance ~ 0.5*empathy\noutcome ~ b*alliance + empathy\nind := 0.5*b\n",
    ],
)
def test_models_that_hold_in_one_unit_only_are_flagged_where_correlations_are_fitted(syntax) -> None:
    options = configured({"equal": syntax})
    found = tables_of([summary_of(path_site(s, n=80, therapists=10, seed=k), options) for k, s in enumerate("ab")], options)
    for name in ("parameters", "defined", "fit"):
        own = found[name]
        check(own, "path_models", name)
        own = own[own["method"].isin(["pooled_covariance", "two_stage_sem"]) & own["status"].isin(WITH_NUMBERS)]
        assert len(own) and set(own["status"]) == {"flagged"}
        assert own["reason"].str.contains("another model").all()
    tested = found["site_paths"]
    assert tested.loc[tested["status"].isin(WITH_NUMBERS), "reason"].str.contains("another model").all()


def test_a_standardised_effect_of_a_shared_label_is_flagged() -> None:
    options = configured({"equal": "alliance ~ a*empathy\noutcome ~ a*alliance + empathy\nind := a*a\ntwice := 2*ind\n"})
    found = tables_of([summary_of(path_site(s, n=80, therapists=10, seed=k), options) for k, s in enumerate("ab")], options)["defined"]
    standard = found[found["estimate_type"].eq("defined_standardised")]
    assert set(standard["parameter"]) == {"ind", "twice"} and set(standard["status"]) == {"flagged"}
    shared = standard[standard["site"].ne(POOLED) | standard["method"].eq("multivariate_reml")]
    assert shared["reason"].str.contains("the label a stands for 2 coefficients").all()
    raw = found[found["estimate_type"].eq("defined_unstandardised")]
    assert not raw["reason"].str.contains("label").any()


IMPROPER_TABLES = ("parameters", "defined", "fit", "diagnostics", "comparison", "indirect", "leave_one_out")


def test_no_number_is_taken_from_improper_solutions_of_sites_or_of_what_they_sent() -> None:
    options = configured({"work": WORK})
    sites = [path_site(s, n=80, therapists=10, seed=k, heywood=True) for k, s in enumerate("abc")]
    found = tables_of([summary_of(site, options) for site in sites], options)
    for name in IMPROPER_TABLES:
        assert not found[name]["status"].isin(WITH_NUMBERS).any() and found[name]["estimate"].isna().all(), name
    parameters = found["parameters"]
    own = parameters[parameters["site"].ne(POOLED)]
    assert set(own["site"]) == set("abc")
    said = "not estimable: improper solution (negative variance of task), from which no number is taken"
    assert own["reason"].eq(said).all()
    whole = parameters[parameters["site"].eq(POOLED) & parameters["reason"].str.contains("improper solution")]
    assert len(whole) and found["fit"]["reason"].str.contains("improper solution").any()


def test_sites_with_an_improper_solution_are_left_out_of_what_is_pooled_from_estimates_and_stay_in_the_model_within_sites() -> None:
    options = configured({"work": WORK})
    sites = [path_site(s, n=400 if s in "de" else 40, therapists=10, seed=k, heywood=s not in "de") for k, s in enumerate("acde")]
    parameters = tables_of([summary_of(site, options) for site in sites], options)["parameters"]
    rows = parameters[parameters["parameter"].eq("work =~ bond") & parameters["estimate_type"].eq("loading_standardised")]
    told = rows[rows["site"].ne(POOLED)].set_index("site")["status"]
    assert dict(told) == {"a": "not_estimable", "c": "not_estimable", "d": "estimated", "e": "estimated"}
    n_sites = rows[rows["site"].eq(POOLED)].set_index("method")["n_sites"]
    assert dict(n_sites) == {"two_stage_reml": 2, "multivariate_reml": 2, "pooled_covariance": 4, "two_stage_sem": 4}


def test_a_loading_that_the_model_fixes_is_no_estimate_and_is_not_pooled() -> None:
    options = configured({"work": WORK})
    found = tables_of([summary_of(path_site(s, n=120, therapists=10, seed=k), options) for k, s in enumerate("ab")], options)["parameters"]
    marker = found[found["parameter"].eq("work =~ task") & found["estimate_type"].eq("loading")]
    sites = marker[marker["site"].ne(POOLED)]
    assert (sites["estimate"] == 1).all() and sites["reason"].str.contains("fixed by the model").all()
    pooled = marker[marker["site"].eq(POOLED)]
    assert set(pooled["status"]) == {"not_estimable"} and pooled["reason"].str.contains("fixed by the model").all()
    free = found[found["parameter"].eq("work =~ bond") & found["estimate_type"].eq("loading")]
    assert not free["reason"].fillna("").str.contains("fixed").any()
