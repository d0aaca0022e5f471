"""The three questions: what sites estimate, what is pooled, and what is refused."""

from __future__ import annotations

import copy
import importlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from alliance.questions.contract import MOMENTS, POOLED, PUBLISHED_EFFECTS, check, typed
from alliance.questions.correlations import therapist_codes
from alliance.questions.site_data import Published, SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.correlation import correlation, correlations
from simulated_site import INSTRUMENTS, OPTIONS, score_rows, simulated, site_of
from support import PROJECT

QUESTIONS = ("convergent_validity", "client_factors", "path_models")
NUMBERS = ["estimate", "std_error", "ci_low", "ci_high"]


def module(question):
    return importlib.import_module(f"alliance.questions.{question}.question")


def changed(**paths):
    options = copy.deepcopy(OPTIONS)
    for path, value in paths.items():
        target = options
        *parents, last = path.split("__")
        for key in parents:
            target = target[key]
        target[last] = value
    return options


def row(table, **where):
    chosen = table
    for column, value in where.items():
        chosen = chosen[chosen[column].eq(value)]
    assert len(chosen) == 1, f"{len(chosen)} rows with {where}"
    return chosen.iloc[0]


def published_site(site="p", moments=(), effects=(), method="correlation"):
    frame = pd.DataFrame(
        [{"block": "all", "level": "client", "var1": a, "var2": b, "n": n, "cov": value, "method": method} for a, b, value, n in moments],
        columns=list(MOMENTS),
    )
    own = pd.DataFrame(effects, columns=list(PUBLISHED_EFFECTS))
    return SiteData(site, site.upper(), instruments=INSTRUMENTS, published=Published(typed(frame, MOMENTS), typed(own, PUBLISHED_EFFECTS)))


@pytest.fixture(scope="module")
def sites():
    return [simulated(site, n=n, seed=seed) for seed, (site, n) in enumerate([("a", 240), ("b", 300), ("c", 360), ("d", 420), ("e", 500)])]


@pytest.fixture(scope="module")
def summaries(sites):
    return {question: [module(question).estimate(site, OPTIONS, {}) for site in sites] for question in QUESTIONS}


@pytest.fixture(scope="module")
def tables(summaries):
    return {question: module(question).pool(summaries[question], OPTIONS, {}) for question in QUESTIONS}


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_table_holds_what_its_schema_says(tables, question):
    for name, table in tables[question].items():
        check(table, question, name)
        assert len(table) or name in ("comparison", "cross_lagged")  # not in the tests' configuration


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_summary_read_back_gives_identical_pooled_tables(summaries, tables, question, tmp_path):
    read = []
    for summary in summaries[question]:
        summary.write(tmp_path / summary.site)
        read.append(SiteSummary.read(tmp_path / summary.site))
    again = module(question).pool(read, OPTIONS, {})
    for name, table in tables[question].items():
        pd.testing.assert_frame_equal(again[name], table, check_exact=True)


@pytest.mark.parametrize("question", QUESTIONS)
def test_tables_do_not_depend_on_the_order_of_sites_or_rows(sites, summaries, tables, question):
    shuffled = SiteData(**{**vars(sites[0]), "scores": sites[0].scores.iloc[::-1], "clients": sites[0].clients.iloc[::-1]})
    again = [*summaries[question][:0:-1], module(question).estimate(shuffled, OPTIONS, {})]
    pooled = module(question).pool(again, OPTIONS, {})
    for name, table in tables[question].items():
        pd.testing.assert_frame_equal(pooled[name], table, check_exact=True)


@pytest.mark.parametrize("question", QUESTIONS)
def test_sites_that_were_left_out_or_gave_no_answer_are_named_and_change_no_number(summaries, tables, question):
    absent = [
        SiteSummary("x", question, status="excluded", reason="no client ids"),
        SiteSummary("y", question, status="missing", reason="not answered"),
    ]
    pooled = module(question).pool([*summaries[question], *absent], OPTIONS, {})
    for name, table in pooled.items():
        check(table, question, name)
        kept = table[~table["site"].isin(["x", "y"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(kept, tables[question][name], check_exact=True)
    first = next(iter(pooled.values()))
    assert set(first.loc[first["site"].eq("x"), "reason"]) == {"site left out: no client ids"}
    assert set(first.loc[first["site"].eq("y"), "reason"]) == {"no summary for these options: not answered"}


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_sites_with_data_give_sound_tables_and_a_sentence(question):
    empty = [module(question).estimate(site_of([], name), OPTIONS, {}) for name in "ab"]
    pooled = module(question).pool(empty, OPTIONS, {})
    for name, table in pooled.items():
        check(table, question, name)
        assert not table["status"].isin(["estimated", "flagged"]).any()
    assert "could not be" in module(question).methods(OPTIONS, pooled)[0].text


@pytest.mark.parametrize("question", QUESTIONS)
def test_methods_cite_and_describe_this_run(tables, question):
    fixed = changed(pooling__tau2="dersimonian_laird")
    sentences = module(question).methods(OPTIONS, tables[question])
    assert any("restricted maximum likelihood" in one.text for one in sentences)
    assert any("DerSimonian" in one.text for one in module(question).methods(fixed, tables[question]))
    assert all(one.text.endswith(".") for one in sentences)


def test_pairs_recover_the_known_overlap(tables):
    pairs = tables["convergent_validity"]["pairs"]
    truth = {("haq_2", "total", "client"): 0.8, ("wai_36", "total", "therapist"): 0.5}
    for (instrument, scale, rater), r in truth.items():
        if rater == "client":
            keys = {"instrument1": instrument, "instrument2": "wai_36", "comparison": "instruments"}
        else:
            keys = {"instrument1": "wai_36", "rater2": rater, "comparison": "raters"}
        found = row(pairs, site=POOLED, estimate_type="correlation", scale1=scale, level="total", **keys)
        assert abs(np.arctanh(found["estimate"]) - np.arctanh(r)) < 4 * found["std_error"]
        assert found["same_rater"] == ("yes" if rater == "client" else "no")
        squared = row(pairs, site=POOLED, estimate_type="r_squared", scale1=scale, level="total", **keys)
        assert squared["estimate"] == pytest.approx(found["estimate"] ** 2, rel=1e-12)


def test_correlations_of_a_site_are_those_of_scipy_and_the_clustered_ones_of_the_statistics():
    from scipy.stats import pearsonr

    random = np.random.default_rng(5)
    x, y = random.standard_normal((2, 80, 3))
    y = y + 0.5 * x
    x[::7, 0] = np.nan
    codes = random.integers(0, 12, 80)
    pairs, single = correlations(x, y, codes), correlations(x, y)
    for column in range(3):
        use = np.isfinite(x[:, column])
        expected = pearsonr(x[use, column], y[use, column])
        assert pairs.r[column] == pytest.approx(expected.statistic, rel=1e-12)
        clustered = correlation(x[use, column], y[use, column], codes[use])
        assert pairs.se_z[column] == pytest.approx(clustered.se_z, rel=1e-10)
        interval = expected.confidence_interval(0.95)
        z, error = np.arctanh(single.r[column]), single.se_z[column]
        assert np.tanh(z - 1.959963984540054 * error) == pytest.approx(interval.low, rel=1e-10)


def test_site_intervals_of_clustered_correlations_use_therapists(sites, tables):
    site = sites[0]
    wide = site.scores[site.scores["session"].eq(3) & site.scores["rater"].eq("client") & site.scores["scale"].eq("total")]
    wide = wide.pivot(index="client_no", columns="instrument", values="score")
    therapists = site.clients.set_index("client_no")["therapist_no"].reindex(wide.index)
    expected = correlation(wide["wai_36"], wide["haq_2"], therapists)
    found = row(tables["convergent_validity"]["pairs"], site="a", estimate_type="correlation", level="total", comparison="instruments")
    assert found[NUMBERS].tolist() == pytest.approx([expected.r, expected.se_z, expected.ci_low, expected.ci_high], rel=1e-10)
    assert found["n_therapists"] == expected.n_clusters


def test_pooling_gives_what_another_package_gives(sites):
    from statsmodels.stats.meta_analysis import combine_effects

    module_ = module("client_factors")
    options = changed(pooling__tau2="dersimonian_laird", pooling__interval="hartung_knapp")
    effects = {"a": (0.31, 40), "b": (0.12, 85), "c": (0.48, 60), "d": (-0.05, 33)}
    own = [published_site(site, effects=[("client_factors", "", "motivation", r, n, np.nan)]) for site, (r, n) in effects.items()]
    tables = module_.pool([module_.estimate(site, options, {}) for site in own], options, {})
    found = row(tables["factors"], site=POOLED, factor="motivation")
    z = np.arctanh([r for r, _ in effects.values()])
    v = 1 / (np.array([n for _, n in effects.values()]) - 3)
    other = combine_effects(z, v, method_re="chi2", use_t=True)
    summary = other.summary_frame().loc["random effect wls"]
    assert np.arctanh(found["estimate"]) == pytest.approx(summary["eff"], rel=1e-10)
    assert found["tau2"] == pytest.approx(other.tau2, rel=1e-10)
    assert found["std_error"] == pytest.approx(summary["sd_eff"], rel=1e-8)
    assert np.arctanh([found["ci_low"], found["ci_high"]]).tolist() == pytest.approx([summary["ci_low"], summary["ci_upp"]], rel=1e-8)


def test_scores_of_one_session_are_compared_before_they_are_averaged():
    rows = [
        score_rows(range(1, 21), np.arange(20.0), instrument="wai_36", session=1),
        score_rows(range(1, 21), np.arange(20.0)[::-1] * 100, instrument="wai_36", session=2),
        score_rows(range(1, 21), np.arange(20.0) ** 1.5, instrument="haq_2", session=1),
    ]
    options = changed(questions__convergent_validity__timepoint_window="early")
    summary = module("convergent_validity").estimate(site_of(rows), options, {})
    expected = np.corrcoef(np.arange(20.0), np.arange(20.0) ** 1.5)[0, 1]
    own = summary.estimates[summary.estimates["estimate_type"].eq("correlation")]
    assert own["estimate"].tolist() == pytest.approx([expected])
    assert own["n_sessions"].tolist() == [20]


def test_a_derived_short_form_is_flagged_beside_its_parent_and_not_summarised():
    random = np.random.default_rng(2)
    clients = np.arange(1, 41)
    long = random.standard_normal(40)

    def rows(derived):
        return [
            score_rows(clients, long, instrument="wai_36", session=3),
            score_rows(clients, long + random.standard_normal(40) / 3, instrument="wai_sr", session=3, derived_from=derived),
        ]

    own = [site_of(rows("wai_36"), "a"), site_of(rows("wai_36"), "b"), site_of(rows(None), "c")]
    question = module("convergent_validity")
    tables = question.pool([question.estimate(site, OPTIONS, {}) for site in own], OPTIONS, {})
    pairs = tables["pairs"]
    shared = pairs[pairs["shared_items"].eq("yes") & pairs["estimate_type"].isin(["correlation", "r_squared"])]
    assert set(shared["site"]) == {"a", "b", POOLED}
    assert set(shared["status"]) == {"flagged"}
    assert row(pairs, site="c", estimate_type="correlation")["status"] in ("estimated", "flagged")
    overlap = tables["overlap_summary"]
    assert set(overlap.loc[overlap["site"].isin(["a", "b"]), "status"]) == {"not_estimable"}


def test_overlap_is_the_range_and_mean_of_the_pairs(tables):
    pairs, overlap = (tables["convergent_validity"][name] for name in ("pairs", "overlap_summary"))
    own = pairs[pairs["site"].eq("b") & pairs["estimate_type"].eq("r_squared") & pairs["comparison"].eq("instruments")]
    overlap = overlap[overlap["pairs_kind"].eq("all")]
    for level in ("total", "subscale"):
        values = own.loc[own["level"].eq(level), "estimate"]
        for kind, expected in (("minimum", values.min()), ("maximum", values.max()), ("mean", values.mean())):
            found = row(overlap, site="b", level=level, rater="client", estimate_type=f"r_squared_{kind}")
            assert found["estimate"] == pytest.approx(expected, rel=1e-12)


def test_small_sites_are_refused_with_the_numbers():
    small = simulated("s", n=6, therapists=3)
    pair = module("convergent_validity").estimate(small, OPTIONS, {}).estimates.iloc[0]
    factor = module("client_factors").estimate(small, OPTIONS, {}).estimates.iloc[0]
    path = module("path_models").estimate(small, OPTIONS, {}).estimates.iloc[0]
    assert pair["reason"] == "not estimable: needs at least 10 clients with both scores; has 6"
    assert factor["reason"] == "not estimable: needs at least 10 clients with both scores; has 6"
    assert path["reason"] == "not estimable: needs at least 10 clients with alliance; has 6"
    assert {pair["status"], factor["status"], path["status"]} == {"not_estimable"}


def test_a_site_below_the_minimum_shows_no_moments():
    assert module("path_models").estimate(simulated("s", n=6), OPTIONS, {}).moments.empty


def test_factors_recover_their_correlations_and_reversed_ones_are_turned(tables):
    factors = tables["client_factors"]["factors"].query("headline == 'yes'")
    for factor, r in (("social_relations", 0.4), ("life_events", 0.3), ("motivation", 0.2), ("intake_severity", 0.0)):
        found = row(factors, site=POOLED, factor=factor)
        assert abs(np.arctanh(found["estimate"]) - np.arctanh(r)) < 4 * found["std_error"]
    assert row(factors, site=POOLED, factor="life_events")["reversed"] == "yes"
    assert row(factors, site=POOLED, factor="intake_severity")["same_rater"] == "yes"
    assert row(factors, site=POOLED, factor="motivation")["same_rater"] == "unknown"


def test_the_mean_of_1991_weighs_correlations_by_clients(tables):
    factors, categories = (tables["client_factors"][name] for name in ("factors", "categories"))
    factors = factors[factors["headline"].eq("yes")]
    own = factors[factors["category"].eq("interpersonal") & factors["site"].ne(POOLED)]
    expected = (own["estimate"] * own["n_clients"].astype(float)).sum() / own["n_clients"].sum()
    found = row(categories, category="interpersonal", estimate_type="correlation_n_weighted")
    assert found["estimate"] == pytest.approx(expected, rel=1e-12)
    assert found["n_correlations"] == len(own)


def test_category_means_know_that_their_factors_share_clients():
    random = np.random.default_rng(8)
    alliance = random.standard_normal(400)
    factor = 0.5 * alliance + random.standard_normal(400)
    clients = pd.DataFrame(
        {"client_no": range(1, 401), "therapist_no": random.integers(1, 40, 400), "social_relations": factor, "life_events": -factor}
    )
    site = site_of([score_rows(range(1, 401), alliance, instrument="wai_36", session=2)], clients=clients)
    question = module("client_factors")
    tables = question.pool([question.estimate(site, OPTIONS, {})], OPTIONS, {})
    single = row(tables["factors"], site="a", factor="social_relations", headline="yes")
    mean = row(tables["categories"], site="a", category="interpersonal")
    assert mean["std_error"] == pytest.approx(single["std_error"], rel=1e-9)


def factor_site(name, seed, n=120, holes=True):
    random = np.random.default_rng(seed)
    alliance = random.standard_normal(n)
    shared = random.standard_normal(n)
    clients = pd.DataFrame({"client_no": range(1, n + 1), "therapist_no": random.integers(1, 13, n)})
    for factor, r in (("social_relations", 0.4), ("life_events", -0.3), ("motivation", 0.2)):
        values = r * alliance + np.sqrt(1 - r * r) * (0.6 * shared * np.sign(r) + 0.8 * random.standard_normal(n))
        clients[factor] = np.where(random.random(n) < 0.2, np.nan, values) if holes else values
    return site_of([score_rows(range(1, n + 1), alliance, instrument="wai_36", session=2)], name, clients=clients)


def test_every_client_counts_once_in_a_category():
    question = module("client_factors")
    own = [factor_site("a", 1), factor_site("b", 2)]
    tables = question.pool([question.estimate(site, OPTIONS, {}) for site in own], OPTIONS, {})
    expected = []
    for site in own:
        any_of = site.clients[["social_relations", "life_events"]].notna().any(axis=1)
        expected.append((int(any_of.sum()), site.clients.loc[any_of, "therapist_no"].nunique()))
        found = row(tables["categories"], site=site.site, category="interpersonal")
        assert (found["n_clients"], found["n_therapists"], found["n_sessions"]) == (*expected[-1], expected[-1][0])
        assert found["share_missing"] == pytest.approx(1 - expected[-1][0] / 120)
        assert found["n_correlations"] == 2
    for kind in ("correlation_random_effects", "correlation_n_weighted"):
        pooled = row(tables["categories"], site=POOLED, category="interpersonal", estimate_type=kind)
        assert pooled["n_clients"] == sum(n for n, _ in expected)
        assert pooled["n_therapists"] == sum(n for _, n in expected)
        assert pooled["n_correlations"] == 4
    contrast = row(tables["categories"], site=POOLED, category="interpersonal - intrapersonal")
    either = [site.clients[["social_relations", "life_events", "motivation"]].notna().any(axis=1).sum() for site in own]
    assert contrast["n_clients"] == sum(either)


def test_category_means_are_those_of_matrix_algebra_pooled_over_sites():
    from alliance.statistics.meta_analysis import difference, pool

    question = module("client_factors")
    summaries = [question.estimate(factor_site(name, seed), OPTIONS, {}) for seed, name in enumerate("abcdef")]
    categories = question.pool(summaries, OPTIONS, {})["categories"]
    factors = ["life_events", "social_relations", "motivation"]
    weights = np.array([[0.5, 0.5, 0], [0, 0, 1]])
    means, vcovs = [], []
    for summary in summaries:
        headline = summary.estimates[summary.estimates["model"].eq("factors")]
        r = headline.set_index("factor").loc[factors, "estimate"].to_numpy()
        of_headline = summary.vcov[summary.vcov["model"].eq("factors")]
        cov = of_headline.pivot(index="parameter1", columns="parameter2", values="cov").reindex(index=factors, columns=factors).to_numpy()
        cov = np.where(np.isnan(cov), cov.T, cov) / np.outer(1 - r**2, 1 - r**2)
        means.append(weights @ np.arctanh(r))
        vcovs.append(weights @ cov @ weights.T)
    means, vcovs = np.array(means), np.array(vcovs)
    pooled = [pool(means[:, side], vcovs[:, side, side]) for side in (0, 1)]
    for found, name in zip(pooled, ("interpersonal", "intrapersonal")):
        own = row(categories, site=POOLED, category=name, estimate_type="correlation_random_effects")
        assert np.arctanh(own["estimate"]) == pytest.approx(found.estimate, rel=1e-9)
        assert own["std_error"] == pytest.approx(found.std_error, rel=1e-9)
    shared = np.sum(np.array(pooled[0].weights) * np.array(pooled[1].weights) * vcovs[:, 0, 1])
    contrast = row(categories, site=POOLED, category="interpersonal - intrapersonal")
    slopes = [1 / np.cosh(found.estimate) ** 2 for found in pooled]
    variance = sum((found.std_error * slope) ** 2 for found, slope in zip(pooled, slopes)) - 2 * shared * slopes[0] * slopes[1]
    assert contrast["estimate"] == pytest.approx(np.tanh(pooled[0].estimate) - np.tanh(pooled[1].estimate), rel=1e-9)
    assert contrast["std_error"] == pytest.approx(np.sqrt(variance), rel=1e-9)
    assert shared > 0
    assert contrast["std_error"] * 0.999 < difference(*pooled).std_error


def test_the_error_of_a_mean_of_correlations_that_share_clients_is_its_spread_over_samples():
    random = np.random.default_rng(3)
    z, variance, apart = [], [], []
    for _ in range(600):
        alliance, shared, *own = random.standard_normal((4, 80))
        factors = np.column_stack([0.4 * alliance + 0.7 * shared + 0.6 * noise for noise in own])
        found = correlations(factors, np.column_stack([alliance, alliance]), random.integers(0, 15, 80))
        vcov = found.vcov_z()
        z.append(np.arctanh(found.r).mean())
        variance.append(vcov.mean())
        apart.append(np.trace(vcov) / 4)
    # 600 samples: the standard error of a variance is 6 %.
    assert np.mean(variance) == pytest.approx(np.var(z, ddof=1), rel=0.2)
    assert np.mean(apart) < 0.85 * np.var(z, ddof=1)


def test_factors_rated_after_the_alliance_are_left_out():
    random = np.random.default_rng(4)
    options = changed(
        questions__client_factors__factors={"core_10.total": {"category": "diagnostic", "reversed": True}},
        questions__client_factors__unique_shared=["core_10.total"],
    )
    late = ["2024-05-01"] * 3 + ["2024-01-01"] * 27
    site = site_of(
        [
            score_rows(range(1, 31), random.standard_normal(30), instrument="core_10", timepoint="intake", date=late),
            score_rows(range(1, 31), random.standard_normal(30), instrument="wai_36", session=2, date="2024-02-01"),
        ]
    )
    summary = module("client_factors").estimate(site, options, {})
    assert summary.estimates.loc[summary.estimates["model"].eq("factors"), "n_clients"].tolist() == [27]
    assert summary.facts["left_out_measured_after_alliance"] == {"core_10.total": 3}


def test_paths_recover_their_true_values(tables):
    parameters = tables["path_models"]["parameters"]
    truth = {("alliance", "empathy"): 0.5, ("outcome", "alliance"): 0.3, ("outcome", "intake_level"): 0.4, ("outcome", "empathy"): 0.0}
    for (lhs, rhs), value in truth.items():
        for method in ("two_stage_reml", "two_stage_sem"):
            found = row(parameters, site=POOLED, lhs=lhs, rhs=rhs, op="~", estimate_type="path_standardised", method=method)
            assert abs(found["estimate"] - value) < 4 * found["std_error"]
    indirect = row(
        tables["path_models"]["indirect"], site=POOLED, effect="indirect", estimate_type="defined_standardised", method="two_stage_reml"
    )
    assert abs(indirect["estimate"] - 0.15) < 4 * indirect["std_error"]


def test_unstandardised_paths_are_the_regressions_of_the_rows(sites, tables):
    from alliance.variables.client import client_level

    model = OPTIONS["questions"]["path_models"]["models"]["main"]["variables"]
    data = pd.DataFrame({name: client_level(sites[1], definition, OPTIONS) for name, definition in model.items()}).dropna()
    design = np.column_stack([np.ones(len(data)), data[["alliance", "empathy", "intake_level"]]])
    expected = np.linalg.lstsq(design, data["outcome"], rcond=None)[0]
    parameters = tables["path_models"]["parameters"]
    for name, value in zip(("alliance", "empathy", "intake_level"), expected[1:]):
        found = row(parameters, site="b", lhs="outcome", rhs=name, estimate_type="path_unstandardised")
        assert found["estimate"] == pytest.approx(value, rel=1e-6)


def test_indirect_effects_of_a_site_have_bootstrap_intervals_that_do_not_depend_on_the_run(sites, tables):
    again = module("path_models").estimate(sites[2], OPTIONS, {})
    found = row(tables["path_models"]["indirect"], site="c", effect="indirect", estimate_type="defined_standardised")
    own = again.estimates.set_index("parameter").loc["indirect (standardised)"]
    assert (own["ci_low"], own["ci_high"]) == (found["ci_low"], found["ci_high"])
    assert found["method"] == "bootstrap"
    assert found["ci_low"] < found["estimate"] < found["ci_high"]
    other = module("path_models").estimate(sites[2], changed(seed=8), {}).estimates.set_index("parameter")
    assert other.loc["indirect (standardised)", "ci_low"] != own["ci_low"]


def test_clients_whose_alliance_came_after_the_outcome_are_left_out_and_counted():
    site = simulated("a", n=60, therapists=12)
    scores = site.scores.copy()
    scores["date"] = pd.Timestamp("2024-03-01")
    late = scores["timepoint"].eq("post") & scores["client_no"].le(4)
    scores.loc[late, "date"] = pd.Timestamp("2024-02-01")
    summary = module("path_models").estimate(SiteData(**{**vars(site), "scores": scores}), OPTIONS, {})
    assert summary.facts["models"]["main"]["left_out_predictor_after_outcome"] == 4
    own = summary.estimates[summary.estimates["model"].eq("main")]
    assert set(own["n_clients"]) == {56}
    assert set(own["share_missing"]) == {0.0}


def test_paths_between_ratings_of_the_same_session_are_flagged_and_no_others(sites):
    options = changed()
    options["questions"]["path_models"]["models"]["main"]["variables"]["alliance"]["window"] = "early"
    question = module("path_models")
    tables = question.pool([question.estimate(site, options, {}) for site in sites[:3]], options, {})
    parameters, indirect = tables["parameters"], tables["indirect"]
    flagged = {"parameter": "alliance ~ empathy", "estimate_type": "path_standardised"}
    at_site = row(parameters, site="a", **flagged)
    assert at_site["status"] == "flagged"
    assert at_site["reason"] == (
        "order in time is not strict: alliance was rated in the same session as empathy, or before it, for 240 of 240 clients"
    )
    assert (
        row(parameters, site=POOLED, method="two_stage_reml", **flagged)["reason"] == "3 of 3 site estimates flagged (see the sites' rows)"
    )
    joint = row(parameters, site=POOLED, method="two_stage_sem", **flagged)
    assert (joint["status"], joint["reason"]) == ("flagged", "order in time is not strict at 3 sites (see the sites' rows)")
    effects = indirect[indirect["estimate_type"].isin(["defined_unstandardised", "defined_standardised"])]
    assert set(effects["status"]) == {"flagged"}
    others = parameters[parameters["op"].eq("~") & parameters["parameter"].ne("alliance ~ empathy")]
    assert set(others["status"]) == {"estimated"}
    assert any("strictly one after the other (alliance ~ empathy)" in one.text for one in question.methods(options, tables))


def test_a_model_that_defines_no_effect_gives_an_empty_table_of_effects(sites):
    options = changed()
    options["questions"]["path_models"]["models"]["main"]["syntax"] = "alliance ~ empathy\noutcome ~ alliance"
    question = module("path_models")
    tables = question.pool([question.estimate(site, options, {}) for site in sites[:2]], options, {})
    for name, table in tables.items():
        check(table, "path_models", name)
    assert len(tables["indirect"]) == 0 and len(tables["parameters"])


def test_the_alliance_after_the_session_of_empathy_is_not_flagged(tables):
    assert set(tables["path_models"]["parameters"]["status"]) == {"estimated"}
    assert not any("strictly" in one.text for one in module("path_models").methods(OPTIONS, tables["path_models"]))


def test_a_correlation_that_hangs_on_one_therapist_falls_back_on_the_sandwich_and_says_so():
    site = simulated("a", n=80, therapists=8)
    only = site.clients["therapist_no"].eq(1).to_numpy()
    clients = site.clients.assign(motivation=np.where(only, np.random.default_rng(3).standard_normal(80), 0.0))
    changed_site = SiteData(**{**vars(site), "clients": clients})
    options = changed(
        questions__client_factors__factors={"motivation": {"category": "intrapersonal", "reversed": False}},
        questions__client_factors__unique_shared=["motivation"],
    )
    factor = module("client_factors").estimate(changed_site, options, {}).estimates.iloc[0]
    assert (factor["method"], factor["status"]) == ("cluster_robust", "flagged")
    assert factor["reason"].startswith("sandwich standard error")


def test_alliance_inside_the_early_gain_window_is_flagged():
    site = simulated("a", n=60, therapists=12)
    random = np.random.default_rng(1)
    extra = score_rows(range(1, 61), random.normal(18, 4, 60), instrument="core_10", session=3, unit="sum")
    options = changed()
    options["questions"]["path_models"]["models"] = {
        "gain": {
            "variables": {"gain": {"construct": "early_gain"}, "alliance": {"construct": "alliance"}, "outcome": {"construct": "outcome"}},
            "syntax": "outcome ~ alliance + gain",
        }
    }
    joined = SiteData(**{**vars(site), "scores": pd.concat([site.scores, extra], ignore_index=True)})
    estimates = module("path_models").estimate(joined, options, {}).estimates
    assert set(estimates.loc[estimates["op"].eq("~"), "status"]) == {"flagged"}
    assert estimates["reason"].iloc[0].startswith("alliance measured inside the early-gain window")


def test_raw_coefficients_are_pooled_only_where_units_agree(sites, summaries):
    other = simulated("z", n=200, seed=9)
    scores = other.scores.assign(instrument=other.scores["instrument"].replace("core_10", "ors"))
    question = module("path_models")
    different = question.estimate(SiteData(**{**vars(other), "scores": scores}), OPTIONS, {})
    parameters = question.pool([*summaries["path_models"], different], OPTIONS, {})["parameters"]
    keys = {"site": POOLED, "lhs": "alliance", "rhs": "empathy"}
    raw = row(parameters, estimate_type="path_unstandardised", **keys)
    assert raw["status"] == "not_estimable"
    assert "different instruments or units" in raw["reason"]
    assert row(parameters, estimate_type="path_standardised", method="two_stage_reml", **keys)["status"] == "estimated"


MATRIX = [
    ("empathy", "alliance", 0.5, 120),
    ("empathy", "outcome", 0.2, 120),
    ("outcome", "alliance", 0.35, 110),
    ("intake", "alliance", 0.1, 120),
    ("intake_level", "empathy", 0.0, 120),
    ("intake_level", "outcome", 0.4, 100),
]


def test_a_published_matrix_gives_standardised_paths_by_regression():
    from scipy.stats import hmean

    summary = module("path_models").estimate(published_site(moments=MATRIX), OPTIONS, {})
    names = ["alliance", "empathy", "intake_level", "outcome"]
    r = pd.DataFrame(np.eye(4), index=names, columns=names)
    for a, b, value, _ in MATRIX:
        a, b = ("intake_level" if name == "intake" else name for name in (a, b))
        r.loc[a, b] = r.loc[b, a] = value
    expected = np.linalg.solve(r.iloc[:3, :3], r.iloc[:3, 3])
    own = summary.estimates.set_index("parameter")
    for name, value in zip(r.index[:3], expected):
        assert own.loc[f"outcome ~ {name} (standardised)", "estimate"] == pytest.approx(value, abs=1e-6)
    assert "units are unknown" in own.loc["outcome ~ alliance", "reason"]
    assert own.loc["outcome ~ alliance (standardised)", "n_clients"] == int(hmean([n for *_, n in MATRIX]))


def test_matrices_with_holes_still_join_the_two_stage_model(summaries):
    question = module("path_models")
    holes = question.estimate(published_site("h", moments=MATRIX[:3]), OPTIONS, {})
    own = holes.estimates[holes.estimates["model"].eq("main")]
    assert set(own["status"]) == {"not_estimable"}
    assert own["reason"].str.contains("alliance with intake_level", regex=False).all()
    tables = question.pool([*summaries["path_models"], holes], OPTIONS, {})
    keys = {"site": POOLED, "parameter": "outcome ~ alliance", "estimate_type": "path_standardised"}
    assert row(tables["parameters"], method="two_stage_sem", **keys)["n_sites"] == 6
    assert row(tables["parameters"], method="two_stage_reml", **keys)["n_sites"] == 5


def test_sites_that_only_publish_matrices_can_answer_the_path_model():
    random = np.random.default_rng(6)
    own = []
    for site in range(8):
        noise = random.normal(0, 0.05, len(MATRIX))
        own.append(published_site(f"m{site}", moments=[(a, b, r + e, n) for (a, b, r, n), e in zip(MATRIX, noise)]))
    question = module("path_models")
    tables = question.pool([question.estimate(site, OPTIONS, {}) for site in own], OPTIONS, {})
    for name, table in tables.items():
        check(table, "path_models", name)
    found = row(tables["indirect"], site=POOLED, effect="indirect", estimate_type="defined_standardised", method="two_stage_sem")
    assert found["ci_low"] < found["estimate"] < found["ci_high"]


def test_published_correlations_enter_convergent_validity_and_factors():
    moments = [
        ("wai_36.total.client", "haq_2.total.client", 0.7, 50),
        ("wai_36.bond", "haq_2.positive", 0.5, 8),
        ("wai_36.total.client", "core_10.total.client", 0.2, 50),
        ("alliance", "motivation", 0.25, 60),
        ("life_events", "alliance", -0.2, 60),
        ("life_events", "social_relations", -0.6, 60),
        ("social_relations", "alliance", 0.3, 60),
    ]
    site = published_site(moments=moments)
    pairs = module("convergent_validity").estimate(site, OPTIONS, {}).estimates
    total, bond = (pairs[pairs["pair_level"].eq(level)].iloc[0] for level in ("total", "subscale"))
    assert len(pairs[pairs["model"].eq("pairs") & pairs["estimate_type"].eq("correlation")]) == 2
    assert (total["estimate"], total["same_rater"]) == (0.7, "yes")
    assert (bond["reason"], bond["same_rater"]) == ("not estimable: needs at least 10 clients; has 8", "unknown")
    summary = module("client_factors").estimate(site, OPTIONS, {})
    own = summary.estimates[summary.estimates["model"].eq("factors")].set_index("factor")
    assert own.loc["life_events", "estimate"] == 0.2
    assert "published no correlation of intake_severity" in own.loc["intake_severity", "reason"]
    vcov = summary.vcov.set_index(["parameter1", "parameter2"])["cov"]
    r1, r2, r3, n = 0.2, 0.3, 0.6, 60
    numerator = r3 * (1 - r1**2 - r2**2) - r1 * r2 * (1 - r1**2 - r2**2 - r3**2) / 2
    assert vcov[("life_events", "social_relations")] == pytest.approx(numerator / (n - 3), rel=1e-12)


def test_published_covariances_are_turned_to_correlations():
    moments = [("alliance", "alliance", 4.0, 60), ("motivation", "motivation", 9.0, 60), ("alliance", "motivation", 1.5, 60)]
    own = module("client_factors").estimate(published_site(moments=moments, method="covariance"), OPTIONS, {}).estimates
    assert own[own["model"].eq("factors")].set_index("factor").loc["motivation", "estimate"] == pytest.approx(0.25)


def test_leaving_a_site_out_gives_what_pooling_the_others_gives(summaries, tables):
    for question, name, keys in (
        ("client_factors", "factors", {"factor": "motivation", "headline": "yes"}),
        ("convergent_validity", "pairs", {"level": "subscale", "comparison": "instruments"}),
        ("path_models", "parameters", {"parameter": "outcome ~ alliance", "estimate_type": "path_standardised"}),
    ):
        others = module(question).pool(summaries[question][1:], OPTIONS, {})[name]
        left_out = row(
            tables[question]["leave_one_out"],
            site_left_out="a",
            estimate_type=keys.get("estimate_type", "correlation"),
            **{key: value for key, value in keys.items() if key not in ("estimate_type", "headline")},
        )
        own = others[others["site"].eq(POOLED) & others["method"].eq("two_stage_reml")]
        expected = row(own, **{"estimate_type": "correlation", **keys})
        assert left_out[NUMBERS].tolist() == pytest.approx(expected[NUMBERS].tolist(), rel=1e-9)


def test_too_few_sites_give_no_pooled_number_and_few_sites_no_p_value(summaries):
    question = module("client_factors")
    alone = question.pool(summaries["client_factors"][:1], OPTIONS, {})["factors"]
    found = row(alone, site=POOLED, factor="motivation", headline="yes")
    assert found["reason"] == "not estimable: needs at least 2 sites with an estimate; has 1"
    three = question.pool(summaries["client_factors"][:3], OPTIONS, {})["factors"]
    assert np.isnan(row(three, site=POOLED, factor="motivation", headline="yes")["p_value"])
    assert row(three, site=POOLED, factor="motivation", headline="yes")["status"] == "estimated"


def test_an_unknown_therapist_stands_for_a_client_alone():
    clients = pd.Index([1, 2, 3, 4])
    table = pd.DataFrame({"client_no": [1, 2], "therapist_no": pd.array([7, 7], dtype="Int64")})
    scores = pd.DataFrame({"client_no": [2, 3, 3, 3], "therapist_no": pd.array([9, 8, 8, 7], dtype="Int64")})
    codes, known = therapist_codes(clients, table, scores)
    assert known
    assert codes.tolist() == [0, 0, 1, 2]
    assert therapist_codes(clients, table.iloc[:0], scores.iloc[:0])[1] is False


@pytest.mark.parametrize("question", ["convergent_validity", "client_factors"])
def test_estimating_correlations_needs_neither_semopy_nor_pingouin(question):
    code = (
        "import sys; sys.path[:0] = ['scripts', 'tests/unit']\n"
        "from simulated_site import OPTIONS, simulated\n"
        f"from alliance.questions.{question} import question as q\n"
        "q.pool([q.estimate(simulated(s, n=40), OPTIONS, {}) for s in 'ab'], OPTIONS, {})\n"
        "print([m for m in ('semopy', 'pingouin', 'statsmodels', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=True)
    assert done.stdout.strip() == "[]"
