"""Structure of the measures: models from instrument files, rows of sites, models over sites, and what cannot be estimated."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from alliance.instruments.registry import Instrument
from alliance.questions import effects
from alliance.questions.contract import MOMENTS, POOLED, check, finish, typed
from alliance.questions.item_moments import block_keys, block_name, item_rows, pooled_within, published_blocks
from alliance.questions.measurement import structure as measurement_structure
from alliance.questions.measurement.factor_models import AbsentModel, FactorModel, core_of, instrument_models, nested
from alliance.questions.measurement.factor_rows import Sample, model_rows
from alliance.questions.moments import Block, read_block
from alliance.questions.site_data import Published, SiteData
from alliance.questions.summary import SiteSummary
from simulated_items import REGISTRY, bifactor_answers, item_frame, item_site, scale_scores, wai_site
from simulated_site import OPTIONS

LEVEL = 0.95


def summary_of(site) -> SiteSummary:
    part = measurement_structure.estimate(site, OPTIONS)
    rows = pd.DataFrame(part.rows).assign(model="structure")
    vcov = [
        {"model": "structure", "parameter1": row["parameter"], "parameter2": row["parameter"], "cov": value}
        for row, value in zip(part.rows, part.variances)
        if np.isfinite(value)
    ]
    return SiteSummary(
        site.site, "measurement", site.label, facts={"structure": part.facts}, moments=part.moments, estimates=rows, vcov=pd.DataFrame(vcov)
    )


def pooled(summaries, options=OPTIONS) -> pd.DataFrame:
    summaries = sorted(summaries, key=lambda one: one.site)
    table = finish(measurement_structure.pool(effects.gather(summaries), summaries, options), "measurement", "structure")
    check(table, "measurement", "structure")
    return table


def published(moments, site="p") -> SiteData:
    frame = pd.DataFrame(moments, columns=["var1", "var2", "cov"]).assign(block="all", level="client", n=200, method="covariance")
    effects_of = pd.DataFrame(columns=["question", "model", "parameter", "estimate", "n", "std_error"])
    return SiteData(site, site.upper(), instruments=REGISTRY, published=Published(typed(frame, MOMENTS), effects_of))


def pairs_of(names, matrix) -> list[tuple[str, str, float]]:
    return [(names[i], names[j], matrix[i, j]) for i in range(len(names)) for j in range(i, len(names))]


@pytest.fixture(scope="module")
def summaries() -> list[SiteSummary]:
    return [summary_of(wai_site(name, n, 25, seed)) for seed, (name, n) in enumerate([("a", 300), ("b", 240), ("c", 30)])]


@pytest.fixture(scope="module")
def table(summaries) -> pd.DataFrame:
    left_out = SiteSummary("d", "measurement", "D", status="excluded", reason="no usable files")
    nothing = summary_of(item_site("e", {}, n=40))
    return pooled([*summaries, left_out, nothing])


def instrument(**scales) -> Instrument:
    items = sorted({item for own in scales.values() for item in own})
    return Instrument(
        key="own",
        name="Own",
        construct="alliance",
        n_items=max(items),
        response={"min": 1, "max": 7},
        scales={name: {"items": own} for name, own in scales.items()},
        total={"of": list(scales)},
        certainty="high",
    )


def test_the_models_of_an_instrument_follow_from_its_scales():
    models = {model.name: model for model in instrument_models(REGISTRY["wai_s"], list(range(1, 13)))}
    assert list(models) == ["one_factor", "theory", "bond_task_goal", "bifactor"]
    assert models["theory"].factors["task"] == ("i1", "i2", "i8", "i12")
    assert models["bond_task_goal"].factors == {
        "bond": ("i3", "i5", "i7", "i9"),
        "task_goal": ("i1", "i2", "i8", "i12", "i4", "i6", "i10", "i11"),
    }
    assert models["bifactor"].general == "general" and len(models["bifactor"].loadings) == 24


@pytest.mark.parametrize(
    ("scales", "names"),
    [
        ({"total_only": [1, 2, 3, 4]}, {"one_factor": ""}),
        ({"a": [1], "b": [2], "c": [3]}, {"one_factor": ""}),
        (
            {"a": [1, 2], "b": [3, 4, 5]},
            {"one_factor": "", "theory": "", "bifactor": "at least 3 items a scale beside the general factor; a has 2"},
        ),
        ({"a": [1], "b": [2, 3]}, {"one_factor": "", "theory": "at least 2 items a scale; a has 1"}),
        ({"a": [1], "b": [2]}, {"one_factor": "at least 3 items; has 2"}),
    ],
)
def test_a_model_that_scales_do_not_allow_says_what_it_needs(scales, names):
    known = instrument(**scales)
    found = instrument_models(known, list(range(1, known.n_items + 1)))
    assert [model.name for model in found] == list(names)
    for model in found:
        assert isinstance(model, AbsentModel) == bool(names[model.name])
        assert names[model.name] in getattr(model, "reason", "")


def test_scales_called_like_the_general_factor_or_an_item_keep_apart_from_them():
    known = instrument(general=[1, 2, 3], i4=[4, 5, 6])
    models = {model.name: model for model in instrument_models(known, list(range(1, 7)))}
    assert list(models["bifactor"].factors) == ["general_scale", "i4_scale"]


def test_nested_models_are_told_from_others():
    one, theory, two, bifactor = instrument_models(REGISTRY["wai_s"], list(range(1, 13)))
    assert nested(one, theory) and nested(one, two) and nested(two, theory) and nested(theory, bifactor) and nested(one, bifactor)
    assert not nested(theory, one) and not nested(bifactor, theory)
    pair = FactorModel("theory", {"positive": ("i1", "i2", "i3"), "negative": ("i4", "i5", "i6")})
    assert not nested(pair, FactorModel("bifactor", pair.factors, "general"))


def test_cores_follow_from_the_content_map():
    assert core_of(REGISTRY["wai_s"], "bond") == "attachment"
    assert core_of(REGISTRY["wai_s"], "task") == core_of(REGISTRY["arm_28"], "partnership") == "collaboration"
    assert core_of(REGISTRY["haq_2"], "positive") == ""


def test_one_form_a_client_enters_the_first_in_the_window_and_complete():
    random = np.random.default_rng(2)
    values = bifactor_answers("wai_s", 20, random)
    first, late = item_frame("wai_s", values, session=1), item_frame("wai_s", values, session=3)
    first.loc[4, "i7"] = np.nan
    site = item_site("a", {"wai_s": pd.concat([late, first], ignore_index=True)})
    answers = next(iter(measurement_structure.rows_of_items(site, OPTIONS, (), "early")))
    assert set(answers.answers.forms["session"]) == {1}
    assert len(answers.values) == 19 and answers.n_forms == 20 and 5 not in answers.client_no
    np.testing.assert_array_equal(answers.values, np.delete(values, 4, axis=0))
    chosen = item_rows(answers.answers, OPTIONS["alliance"]["windows"]["early"], pd.DataFrame(), items=[3, 5])
    assert chosen.names == ["i3", "i5"]


def test_pooled_within_ignores_differences_between_sites():
    random = np.random.default_rng(4)
    parts = [random.standard_normal((n, 3)) + mean for n, mean in ((40, 0), (60, 5))]
    names = ("i1", "i2", "i3")
    blocks = [Block(names, np.full((3, 3), len(x)), x.mean(axis=0), np.cov(x, rowvar=False)) for x in parts]
    covariance, n, clients = pooled_within(blocks, names)
    centred = np.concatenate([x - x.mean(axis=0) for x in parts])
    np.testing.assert_allclose(covariance, centred.T @ centred / 98)
    assert (n, clients) == (99, 100)
    with pytest.raises(ValueError, match="complete blocks of covariances"):
        pooled_within([Block(names, blocks[0].n, blocks[0].mean, blocks[0].covariance, "correlation")], names)


def test_every_site_has_rows_and_a_left_out_one_says_why(table):
    assert set(table["site"]) == {"a", "b", "c", "d", "e", POOLED}
    small = table[table["site"].eq("c")]
    assert small["status"].eq("not_estimable").all() and set(small["model"]) == {"one_factor", "theory", "bond_task_goal", "bifactor"}
    assert small["reason"].str.contains("needs at least 36 clients with all 12 variables; has 30").all()
    assert table.loc[table["site"].eq("d"), "reason"].tolist() == ["site left out: no usable files"]
    absent = table[table["site"].eq("e")]
    assert absent["status"].eq("not_estimable").all() and absent["reason"].str.contains("has none").all()


def test_the_pooled_model_is_that_of_the_covariance_within_sites(summaries, table):
    blocks = [read_block(one.moments, block_name("wai_s", "client", "session_3")) for one in summaries]
    names = [f"i{item}" for item in range(1, 13)]
    covariance, n, clients = pooled_within(blocks, names)
    expected = pd.DataFrame(
        [row for row, _ in model_rows(instrument_models(REGISTRY["wai_s"], list(range(1, 13))), Sample(names, n, covariance), "", LEVEL)]
    )
    own = table[table["site"].eq(POOLED) & table["instrument"].eq("wai_s")]
    assert len(own) == len(expected)
    assert (own["n_sites"].eq(3) & own["n_clients"].eq(clients)).all()
    assert set(own["method"]) == {"pooled_covariance", "counted"}
    keys = ["model", "estimate_type", "factor", "indicator", "index"]
    both = own.set_index(keys)["estimate"].sort_index()
    theirs = expected.rename(columns={"structure": "model"}).fillna({key: "" for key in keys}).set_index(keys)["estimate"].sort_index()
    np.testing.assert_allclose(both, theirs)


def test_the_pooled_model_finds_the_simulated_structure(table):
    own = table[table["site"].eq(POOLED) & table["instrument"].eq("wai_s")].set_index(["model", "index"])
    assert own.loc[("theory", "cfi"), "estimate"].item() > 0.98 > 0.9 > own.loc[("one_factor", "cfi"), "estimate"].item()
    hierarchical = table[table["site"].eq(POOLED) & table["estimate_type"].eq("omega_hierarchical")].iloc[0]
    total = 144 * 0.49 + 3 * 16 * 0.16 + 12 * 0.36
    # Rounding answers to seven steps adds error, so the truth is a little lower.
    assert hierarchical["estimate"] == pytest.approx(144 * 0.49 / total, abs=0.04)
    assert hierarchical["ci_low"] < hierarchical["estimate"] < hierarchical["ci_high"] < 1


def test_factors_that_correlate_above_the_bound_are_flagged():
    random = np.random.default_rng(9)
    values = 0.8 * random.standard_normal((400, 1)) + 0.6 * random.standard_normal((400, 12))
    sample = Sample.of_rows([f"i{item}" for item in range(1, 13)], values, None)
    rows = [row for row, _ in model_rows(instrument_models(REGISTRY["wai_s"], list(range(1, 13))), sample, "", LEVEL)]
    between = [row for row in rows if row["estimate_type"] == "factor_correlation" and row["structure"] == "theory"]
    assert len(between) == 3
    for row in between:
        flagged = "not to be interpreted apart: they correlate above 0.9" in row["reason"]
        assert flagged == (row["estimate"] > 0.9)
    assert any("not to be interpreted apart" in row["reason"] for row in between)


def test_an_improper_solution_is_flagged_in_every_row_of_the_model():
    covariance = np.array([[1, 0.9, 0.85, 0.1], [0.9, 1, 0.6, 0.1], [0.85, 0.6, 1, 0.1], [0.1, 0.1, 0.1, 1.0]])
    rows = [
        row
        for row, _ in model_rows(
            [FactorModel("one_factor", {"alliance": ("a", "b", "c", "d")})], Sample(list("abcd"), 200, covariance), "", LEVEL
        )
    ]
    assert rows and all(row["status"] == "flagged" and "improper solution: negative variance of a" in row["reason"] for row in rows)
    negative = [row for row in rows if row["estimate_type"] == "residual_variance_standardised"]
    assert [row["indicator"] for row in negative] == ["a"] and negative[0]["estimate"] < 0


def test_an_item_that_does_not_vary_is_named():
    values = bifactor_answers("wai_s", 100, np.random.default_rng(3))
    values[:, 4] = 5
    table = pooled([summary_of(item_site("a", {"wai_s": item_frame("wai_s", values)}))])
    own = table[table["site"].eq("a")]
    assert own["status"].eq("not_estimable").all() and own["reason"].str.contains("differ between clients; i5 do not").all()


def test_few_answers_an_item_bring_a_polychoric_check_that_is_not_the_headline():
    values = bifactor_answers("wai_sr", 200, np.random.default_rng(6))
    site = item_site("a", {"wai_sr": item_frame("wai_sr", values)})
    own = pd.DataFrame(measurement_structure.estimate(site, OPTIONS).rows)
    beside = own[own["method"].eq("polychoric_least_squares")]
    assert len(beside) == 13 and set(beside["headline"]) == {"no"}
    options = copy.deepcopy(OPTIONS)
    options["questions"]["measurement"]["ordinal_categories"] = 4
    assert "polychoric_least_squares" not in {row["method"] for row in measurement_structure.estimate(site, options).rows}
    headline = own[own["headline"].eq("yes") & own["structure"].eq("one_factor") & own["estimate_type"].eq("loading_standardised")]
    beside = beside[beside["estimate_type"].eq("loading_standardised")]
    assert (beside.set_index("indicator")["estimate"] > headline.set_index("indicator")["estimate"]).mean() > 0.8


def test_a_published_matrix_of_items_gives_the_models_of_its_rows():
    values = bifactor_answers("wai_s", 200, np.random.default_rng(7))
    names = [f"wai_s.i{item}.client" for item in range(1, 13)]
    site = published(pairs_of(names, np.cov(values, rowvar=False)))
    own = pd.DataFrame(measurement_structure.estimate(site, OPTIONS).rows)
    of_rows = measurement_structure.estimate(item_site("a", {"wai_s": item_frame("wai_s", values)}), OPTIONS)
    theirs = pd.DataFrame(of_rows.rows).set_index("parameter")["estimate"]
    assert len(own) == len(theirs)
    np.testing.assert_allclose(own.set_index("parameter")["estimate"].reindex(theirs.index), theirs, rtol=1e-6)
    blocks = published_blocks(site.published, REGISTRY, "session_3", 10)
    assert block_keys(blocks["block"].iat[0]) == ("wai_s", "client", "session_3")
    assert published_blocks(site.published, REGISTRY, "session_3", 201).empty


def test_blocks_of_few_clients_are_not_sent():
    site = item_site("a", {"wai_s": item_frame("wai_s", bifactor_answers("wai_s", 9, np.random.default_rng(1)))})
    assert measurement_structure.estimate(site, OPTIONS).moments.empty


def test_a_summary_read_back_gives_the_same_table(summaries, tmp_path):
    for one in summaries:
        one.write(tmp_path / one.site)
    pd.testing.assert_frame_equal(pooled([SiteSummary.read(tmp_path / one.site) for one in summaries]), pooled(summaries))


CORE_NAMES = ["wai_s.bond", "arm_28.bond", "wai_s.task", "wai_s.goal", "arm_28.partnership", "calpas_p.patient_commitment"]
CORE_LOADINGS = np.array([0.8, 0.7, 0.75, 0.8, 0.7, 0.65])
CORE_OF = np.array([0, 0, 1, 1, 1, 1])


def core_site(name, n, seed, keep=range(6), phi=0.6):
    random = np.random.default_rng(seed)
    factors = random.multivariate_normal([0, 0], [[1, phi], [phi, 1]], n)
    values = factors[:, CORE_OF] * CORE_LOADINGS + np.sqrt(1 - CORE_LOADINGS**2) * random.standard_normal((n, 6))
    keep = list(keep)
    return item_site(name, {}, scores=scale_scores([CORE_NAMES[k] for k in keep], values[:, keep]), n=n)


def test_two_cores_are_fitted_at_a_site_and_over_sites_with_different_measures():
    sites = [core_site("a", 400, 1), core_site("b", 400, 2, keep=[0, 1, 2, 3, 4]), core_site("c", 400, 3, keep=[0, 2, 3, 5])]
    table = pooled([summary_of(site) for site in sites])
    own = table[table["instrument"].eq("(all measures)") & table["estimate_type"].eq("factor_correlation")].set_index("site")
    assert set(own.index) == {"a", "b", POOLED}
    assert own["factor"].eq("attachment ~~ collaboration").all()
    assert own.loc[POOLED, "method"] == "two_stage_sem" and own.loc[POOLED, "n_sites"] == 3
    assert abs(own.loc[POOLED, "estimate"] - 0.6) < 2.5 * own.loc[POOLED, "std_error"] < 0.15
    test = table[table["site"].eq(POOLED) & table["estimate_type"].eq("chi2_difference")].set_index("index")["estimate"]
    assert test["df"] == 1 and test["p_value"] < 1e-6
    refused = table[table["site"].eq("c") & table["instrument"].eq("(all measures)")].iloc[0]
    assert "needs at least 2 scales of attachment" in refused["reason"] and "attachment 1, collaboration 3" in refused["reason"]


def test_two_cores_that_correlate_above_the_bound_are_flagged_over_sites():
    table = pooled([summary_of(core_site(name, 400, seed, phi=0.96)) for seed, name in enumerate("abc", 1)])
    row = table[table["site"].eq(POOLED) & table["instrument"].eq("(all measures)") & table["estimate_type"].eq("factor_correlation")].iloc[
        0
    ]
    assert row["estimate"] > 0.9 and row["status"] == "flagged"
    assert "not to be interpreted apart" in row["reason"]


def test_sites_with_answers_on_another_range_are_left_out_of_the_pooled_model_and_named(summaries):
    frame = item_frame("wai_s", np.clip(bifactor_answers("wai_s", 200, np.random.default_rng(5)), 1, 5))
    other = summary_of(item_site("o", {"wai_s": frame.assign(response_min=1, response_max=5)}))
    table = pooled([*summaries, other])
    own = table[table["site"].eq(POOLED) & table["instrument"].eq("wai_s") & table["model"].eq("one_factor")]
    assert own["n_sites"].eq(3).all()
    assert own["reason"].str.contains("without o (1 to 5): answers on another range than elsewhere (1 to 7)", regex=False).all()
    pd.testing.assert_series_equal(
        own["estimate"].reset_index(drop=True),
        pooled(summaries).query("site == @POOLED and instrument == 'wai_s' and model == 'one_factor'")["estimate"].reset_index(drop=True),
    )


def test_scales_that_were_never_together_are_left_out_and_named():
    sites = [core_site(name, 300, seed, keep) for name, seed, keep in (("a", 1, range(5)), ("b", 2, range(5)), ("c", 3, [0, 2, 5]))]
    table = pooled([summary_of(site) for site in sites])
    own = table[table["site"].eq(POOLED) & table["model"].eq("two_cores")]
    assert own["reason"].str.contains("calpas_p.patient_commitment").all() and own["status"].eq("flagged").all()
    assert "calpas_p.patient_commitment" not in set(own["indicator"])


def test_the_alliance_and_the_real_relationship_are_one_or_two_factors():
    names = ["wai_s.task", "wai_s.bond", "wai_s.goal", "rri.genuineness", "rri.realism"]
    random = np.random.default_rng(5)
    factors = random.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], 300)
    values = 0.8 * factors[:, [0, 0, 0, 1, 1]] + 0.6 * random.standard_normal((300, 5))
    table = pooled([summary_of(item_site("a", {}, scores=scale_scores(names, values), n=300))])
    own = table[table["instrument"].eq("(relationship)") & table["site"].eq("a")]
    between = own[own["estimate_type"].eq("factor_correlation")].iloc[0]
    assert between["factor"] == "alliance ~~ real_relationship" and between["estimate"] == pytest.approx(0.5, abs=0.15)
    assert set(own["model"]) == {"one_construct", "constructs", "one_construct against constructs"}


def test_where_no_site_has_other_constructs_one_row_says_what_is_needed(table):
    own = table[table["instrument"].eq("(relationship)")]
    assert len(own) == 1 and own["site"].item() == POOLED and "real relationship" in own["reason"].item()


def test_methods_say_what_was_done_and_nothing_else(table):
    text = " ".join(sentence.text for sentence in measurement_structure.methods(OPTIONS, table))
    assert "covariances within sites" in text and "share a therapist" in text and "omega hierarchical" in text
    assert "polychoric" not in text and "weighted with the inverse" not in text
    nothing = measurement_structure.methods(OPTIONS, table[table["site"].eq("d")])
    assert len(nothing) == 1 and "No factor model could be fitted" in nothing[0].text
