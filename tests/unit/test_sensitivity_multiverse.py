"""The multiverse: which specifications there are, that they use the functions of the main analysis, and what is told of them together."""

from __future__ import annotations

import copy
import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from alliance.configuration.errors import ConfigurationError
from alliance.configuration.options import merge
from alliance.configuration.study import load
from alliance.files import canonical_json
from alliance.questions.alliance_outcome import question as alliance_outcome
from alliance.questions.contract import POOLED, WITH_NUMBERS, ContractError
from alliance.questions.dropout import question as dropout
from alliance.questions.summary import SiteSummary
from alliance.sensitivity import contract, pooled_multiverse, specifications
from alliance.sensitivity.specifications import multiverses
from alliance.statistics.sign_flips import STEPS, joint_test
from support import PROJECT
from unit.leaving_site import leaving
from unit.multiverse_sites import answer, headline, options, sites, statuses
from unit.test_questions_alliance_outcome import MATRIX, lacking, published

NODES = {
    "rater": {"client": {}, "therapist": {"alliance": {"rater": "therapist"}}},
    "change": {
        "intake_held_constant": {},
        "residual_gain": {"outcome": {"form": "residual_gain"}},
        "difference": {"outcome": {"form": "change"}},
        "post_alone": {"outcome": {"form": "zero_order"}},
    },
    "missing": {"complete": {}, "likelihood": headline(missing="likelihood")},
    "therapists": {"left_out_in_turn": {}, "random": headline(therapists="random"), "ignored": headline(therapists="ignored")},
    "covariates": {"intake_alone": {}, "motivation_too": headline(covariates=["motivation"])},
    "pooling": {"random_effects": {}, "one_effect": {"pooling": {"tau2": "fixed", "interval": "z"}}},
    "metric": {"fisher_z": {}, "r": {"pooling": {"metric": "r"}}},
    "largest": {"with": {}, "without": {"pooling": {"sites": {"leave_out_largest": 1}}}},
    "coding": {"as_estimated": {}, "zero": {"questions": {"alliance_outcome": {"coding": "zero"}}}},
}
RULE = {"when": {"therapists": "random", "missing": "likelihood"}, "reason": "complete clients only"}


def some(*names):
    return {name: NODES[name] for name in names}


def tables_of(given, of_sites, absent=(), told=None):
    summaries = [answer(site, given) for site in of_sites] + list(absent)
    known = statuses([site for site in of_sites if site.published is None]) if told is None else told
    found = pooled_multiverse.tables_of(summaries, known, given)
    for schema in contract.OF_MULTIVERSE:
        contract.check(found[schema.name], schema, list(schema.identifying))
    return found


def statistic(found, name, method=None):
    table = found["summary"]
    chosen = table[table["statistic"].eq(name) & (True if method is None else table["method"].eq(method))]
    assert len(chosen) == 1, name
    return chosen.iloc[0]


@pytest.fixture(scope="module")
def three():
    return sites()


# Which specifications there are


def test_a_small_multiverse_is_the_one_listed_by_hand():
    rule = {"when": {"rater": "therapist", "change": ["difference", "residual_gain"]}, "reason": "not asked"}
    again = {"when": {"change": "difference", "pooling": "one_effect"}, "reason": "neither"}
    nodes = {
        **some("rater", "pooling"),
        "change": {name: NODES["change"][name] for name in ("intake_held_constant", "residual_gain", "difference")},
    }
    [found] = multiverses(options({name: nodes[name] for name in ("rater", "change", "pooling")}, [rule, again]))
    told = [(one.number, one.words) for one in found.specifications]
    assert told == [
        (1, "rater=client; change=intake_held_constant; pooling=random_effects"),
        (2, "rater=client; change=intake_held_constant; pooling=one_effect"),
        (3, "rater=client; change=residual_gain; pooling=random_effects"),
        (4, "rater=client; change=residual_gain; pooling=one_effect"),
        (5, "rater=client; change=difference; pooling=random_effects"),
        (7, "rater=therapist; change=intake_held_constant; pooling=random_effects"),
        (8, "rater=therapist; change=intake_held_constant; pooling=one_effect"),
    ]
    # A combination that two rules concern counts with the first.
    assert [(one.count, one.reason) for one in found.removed] == [(4, "not asked"), (1, "neither")]
    assert found.removed[0].words == "rater=therapist and change=difference or residual_gain"
    assert found.specifications[0].changes == {}
    assert found.specifications[3].changes == {"outcome": {"form": "residual_gain"}, "pooling": {"tau2": "fixed", "interval": "z"}}


def test_sites_are_asked_once_for_what_differs_in_the_pooling_alone():
    [found] = multiverses(options(some("rater", "pooling", "metric", "largest", "coding")))
    assert len(found.specifications) == 32 and len(found.requests) == 2
    by_rater = {one.choices["rater"]: one.site_key for one in found.specifications}
    assert by_rater["client"] != by_rater["therapist"]
    assert all(one.site_key == by_rater[one.choices["rater"]] for one in found.specifications)


def test_the_shipped_multiverse_is_whole_configurations_that_load():
    study = load(PROJECT / "config.yaml")
    found = multiverses(study.multiverse_options())
    assert [one.target.name for one in found] == ["alliance_outcome", "within_clients", "dropout", "rupture_outcome"]
    assert len(found[0].specifications) > 1000 and sum(rule.count for rule in found[0].removed) > 0
    assert all(rule.count for one in found for rule in one.removed)
    # JSON of the options sorts keys; the first option stays the first.
    again = multiverses(json.loads(canonical_json(study.multiverse_options())))
    assert [spec.words for one in again for spec in one.specifications] == [spec.words for one in found for spec in one.specifications]
    assert found[0].specifications[0].words.startswith("rater=client; form_of_the_measure=first_choice; window=early; outcome=main;")
    base = {name: value for name, value in study.base.items() if name != "multiverse"}
    random = np.random.default_rng(1)
    for one in found:
        assert [spec.number for spec in one.specifications if not spec.changes] == [1]
        for place in random.choice(len(one.specifications), 5, replace=False):
            changes = one.specifications[place].changes
            from alliance.configuration.model import Configuration

            Configuration.model_validate(merge(base, changes))


# Faults, before anything starts


def load_with(folder, grids: dict, **section):
    text = (PROJECT / "config.yaml").read_text(encoding="utf-8")
    text = re.sub(r"^multiverse:\n(?:[ #\n].*\n|\n)*?(?=^report:)", "", text, flags=re.MULTILINE)
    assert "multiverse:" not in text
    given = {"enabled": True, "grids": grids, **section}
    (folder / "config.yaml").write_text(f"{text}\nmultiverse: {json.dumps(given)}\n", encoding="utf-8")
    return load(folder / "config.yaml")


def faults_of(folder, grids, **section):
    with pytest.raises(ConfigurationError) as error:
        load_with(folder, grids, **section)
    return [str(fault) for fault in error.value.faults]


RATER = {"client": {}, "therapist": {"alliance": {"rater": "therapist"}}}
FORM = {"intake_held_constant": {}, "difference": {"outcome": {"form": "change"}}}


@pytest.mark.parametrize(
    ("nodes", "exclude", "said"),
    [
        ({"rater": {"a": {}, "b": {"alliance": {"ratr": "therapist"}}}}, [], "did you mean 'rater'"),
        ({"rater": {"a": {}, "b": {"alliance": {"rater": "terapist"}}}}, [], "did you mean 'therapist'"),
        (
            {"rater": {"a": {}, "b": {"aliance": {"rater": "therapist"}}}},
            [],
            "has no bearing on alliance and outcome; did you mean 'alliance'",
        ),
        (
            {"lag": {"a": {}, "b": {"questions": {"dropout": {"lag": 2}}}}},
            [],
            "'questions.dropout.lag' has no bearing on alliance and outcome",
        ),
        ({"seed": {"a": {}, "b": {"study": {"seed": 2}}}}, [], "'study.seed' has no bearing"),
        ({"rater": {"a": {"alliance": {"rater": "client"}}, "b": {}}}, [], "the first option of a node changes nothing"),
        ({"rater": {"client": {}}}, [], "at least two options"),
        ({"rater": {"a": {}, "b": {}}}, [], "changes the same as 'a'"),
        ({"rater": {"a": {}, "b": {"alliance": {"rater": "client"}}}}, [], "changes nothing, config.yaml says so already"),
        ({"rater": {"a": {}, "b": {"alliance": {}}}}, [], "changes nothing"),
        (
            {"rater": RATER, "who": {"a": {}, "b": {"alliance": {"rater": "observer"}}}},
            [],
            "'alliance.rater' is changed by node 'rater' too",
        ),
        ({"rater": RATER}, [{"when": {"ratr": "therapist"}, "reason": "why not"}], "there is no node 'ratr'; did you mean 'rater'"),
        ({"rater": RATER}, [{"when": {"rater": "therapits"}, "reason": "why not"}], "has no option 'therapits'; did you mean 'therapist'"),
        ({"rater": RATER}, [{"when": {}, "reason": "why not"}], "names no node"),
        ({"rater": RATER, "form": FORM}, [{"when": {"rater": "client"}, "reason": "why not"}], "removes the configuration as it stands"),
        ({}, [], "the multiverse is empty"),
        ({"window": {"a": {}, "b": {"alliance": {"window": "lte"}}}}, [], "did you mean 'late'"),
        ({"form": {"a": {}, "b": {"alliance": {"instruments": ["wai_srr"]}}}}, [], "'wai_srr'; did you mean 'wai_sr'"),
        ({"outcome": {"a": {}, "b": {"outcome": {"instruments": ["scl_90_r"], "scale": "gsx"}}}}, [], "did you mean 'gsi'"),
        ({"sites": {"a": {}, "b": {"pooling": {"sites": {"leave_out": ["nortgate"]}}}}}, [], "did you mean 'northgate'"),
        (
            {
                "small": {"a": {}, "b": {"pooling": {"sites": {"min_clients": 40}}}},
                "all": {"a": {}, "b": {"pooling": {"sites": {}}}},
            },
            [],
            "'pooling.sites' is changed by node 'small' too",
        ),
        ({"rater": RATER}, [{"when": {"rater": []}, "reason": "why not"}], "names no option"),
        ({"rater": RATER}, [{"when": {"rater": "therapist"}, "reason": "why not"}], "leave the configuration as it stands alone"),
    ],
)
def test_a_wrong_multiverse_is_refused_with_the_place_and_what_to_do(study_folder, nodes, exclude, said):
    found = faults_of(study_folder, {"alliance_outcome": {"nodes": nodes, "exclude": exclude}})
    assert len(found) == 1 and said in found[0] and "multiverse.grids.alliance_outcome" in found[0], found


def test_an_option_that_only_switches_a_chapter_is_refused(study_folder):
    nodes = {"chapter": {"a": {}, "b": {"questions": {"dropout": {"enabled": False}}}}}
    (found,) = faults_of(study_folder, {"dropout": {"nodes": nodes, "exclude": []}})
    assert "multiverse.grids.dropout.nodes.chapter.b" in found and "'questions.dropout.enabled' says whether" in found


@pytest.mark.parametrize(
    ("nodes", "keys", "said"),
    [
        (
            {
                "missing": {"complete": {}, "imputed": headline(missing="imputed")},
                "therapists": {"in_turn": {}, "random": headline(therapists="random")},
            },
            "therapists.random",
            "does not go with missing=imputed (questions.alliance_outcome.headline: therapists: random goes with missing: complete only)",
        ),
        (
            {
                "form": {"first": {}, "haq": {"alliance": {"instruments": ["haq_2"]}}},
                "scale": {"total": {}, "task": {"alliance": {"scale": "task"}}},
            },
            "scale.task",
            "does not go with form=haq (alliance.scale: haq_2 has no scale 'task'",
        ),
    ],
)
def test_options_that_clash_only_together_are_told_before_the_run_with_the_rule_that_parts_them(study_folder, nodes, keys, said):
    beside = {**nodes, "pooling": {"random": {}, "one": {"pooling": {"tau2": "fixed"}}}}
    [fault] = faults_of(study_folder, {"alliance_outcome": {"nodes": beside}})
    assert said in fault and f"multiverse.grids.alliance_outcome.nodes.{keys}:" in fault
    # The rule as it is told, pasted, lets the rest of the multiverse stand.
    rule = yaml.safe_load(re.search(r"as - (\{.*\})$", fault)[1])
    study = load_with(study_folder, {"alliance_outcome": {"nodes": beside, "exclude": [{**rule, "reason": "they clash"}]}})
    [found] = multiverses(study.multiverse_options())
    assert len(found.specifications) == 6 and [one.count for one in found.removed] == [2]


def test_an_option_that_needs_another_one_stands_where_rules_keep_it_beside_that(study_folder):
    nodes = {
        "windows": {"as_they_are": {}, "more": {"alliance": {"windows": {"second": {"sessions": [2, 2]}}}}},
        "window": {"early": {}, "second": {"alliance": {"window": "second"}}},
    }
    [fault] = faults_of(study_folder, {"alliance_outcome": {"nodes": nodes}})
    assert "nodes.window.second.alliance: window 'second' is not among windows" in fault
    rule = {"when": {"windows": "as_they_are", "window": "second"}, "reason": "there is no such window"}
    assert load_with(study_folder, {"alliance_outcome": {"nodes": nodes, "exclude": [rule]}}).has_multiverse


def test_what_only_other_questions_lack_is_no_fault_of_an_option(study_folder):
    # Path models of the demo ask for scales that this instrument does not have; no specification fits them.
    nodes = {"form": {"first": {}, "haq": {"alliance": {"instruments": ["haq_2"]}}}}
    assert load_with(study_folder, {"alliance_outcome": {"nodes": nodes}}).has_multiverse


def test_a_faulty_instrument_file_is_told_once_and_not_for_every_option(study_folder):
    (study_folder / "own").mkdir()
    (study_folder / "own" / "odd.yaml").write_text("- no mapping\n", encoding="utf-8")
    config = study_folder / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("instruments_dir: null", "instruments_dir: own"), encoding="utf-8")
    with pytest.raises(ConfigurationError) as error:
        load(config)
    assert error.value.faults and all("odd.yaml" in fault.file for fault in error.value.faults)


def test_a_multiverse_without_grids_with_an_unknown_one_or_with_too_much_is_refused(study_folder):
    assert "the multiverse is empty: declare a grid" in faults_of(study_folder, {})[0]
    assert "did you mean 'dropout'" in faults_of(study_folder, {"dropuot": {"nodes": {"rater": RATER}}})[0]
    many = {
        f"node_{number}": {
            f"option_{number}_{option}": {"alliance": {"windows": {f"w{number}": {"last": option}}}} if option else {}
            for option in range(4)
        }
        for number in range(8)
    }
    assert "65536 combinations are more than 20000" in faults_of(study_folder, {"alliance_outcome": {"nodes": many}})[0]
    few = {name: many[name] for name in list(many)[:4]}
    [fault] = faults_of(study_folder, {"alliance_outcome": {"nodes": few}}, flips=5000)
    assert "256 different estimates of a site with 5000 flipped scores each are more than" in fault and "at most 3125" in fault


def test_the_example_for_methodologists_is_valid(study_folder):
    text = (PROJECT / "docs" / "multiverse.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    section = yaml.safe_load(example)["multiverse"]
    study = load_with(study_folder, section["grids"], flips=section["flips"])
    [found] = multiverses(study.multiverse_options())
    assert len(found.specifications) == 48 and [rule.count for rule in found.removed] == [16]
    assert [one["missing_rule"] for one in study.multiverse_scorings()] == ["instrument", "strict"]


def test_a_multiverse_that_is_switched_off_asks_nothing(study_folder):
    study = load_with(study_folder, {"alliance_outcome": {"nodes": {"rater": RATER}}}, enabled=False)
    assert not study.has_multiverse
    assert load_with(study_folder, {"alliance_outcome": {"nodes": {"rater": RATER}}}).has_multiverse


# The main analysis is one of the specifications


def pooled_headline(of_sites, given, told=()):
    summaries = [alliance_outcome.estimate(site, given, {}) for site in of_sites]
    from alliance.questions.pooled_sites import left_out, without

    kept = without(summaries, left_out(list(told), given["pooling"]["sites"]))
    table = alliance_outcome.pool(kept, given, {})["pooled"]
    [row] = [row for _, row in table[table["headline"].eq("yes")].iterrows()]
    return row


SAME = ("estimate", "std_error", "ci_low", "ci_high", "tau2", "i2", "prediction_low", "n_clients", "n_therapists", "n_sessions", "n_sites")


def assert_same(found, expected):
    assert found["status"] == expected["status"]
    for name in SAME:
        one, other = found[name], expected[name]
        assert (pd.isna(one) and pd.isna(other)) or one == pytest.approx(other, rel=1e-12, abs=1e-14), name
    assert found["reason"] == expected["reason"]
    assert found["method"] == (expected["method"] if found["status"] in WITH_NUMBERS else "none")


def test_every_specification_is_what_the_main_analysis_gives_with_that_configuration(three):
    given = options(NODES, [RULE])
    found = tables_of(given, three)["specifications"]
    assert found["as_it_stands"].tolist() == ["yes"] + ["no"] * (len(found) - 1)
    told = statuses(three)
    random = np.random.default_rng(1)
    places = [0, *sorted(random.choice(len(found), 4, replace=False))]
    for place in places:
        row = found.iloc[place]
        configuration = merge(given, json.loads(row["changes"]))
        assert_same(row, pooled_headline(three, configuration, told))


def test_the_specification_as_it_stands_is_the_main_result_under_any_configuration(three):
    for changes in (
        {"alliance": {"window": "late"}, "pooling": {"tau2": "fixed"}},
        headline(missing="likelihood", covariates=["motivation"]),
    ):
        given = options(some("rater", "metric"), **copy.deepcopy(changes))
        assert_same(tables_of(given, three)["specifications"].iloc[0], pooled_headline(three, given))


def test_within_clients_is_the_row_of_the_table_by_level(three):
    nodes = {
        "rater": NODES["rater"],
        "centring": {"sessions_so_far": {}, "all_sessions": {"questions": {"alliance_outcome": {"within": {"client_mean": "all"}}}}},
        "trend": {"held": {}, "not_held": {"questions": {"alliance_outcome": {"within": {"session_trend": False}}}}},
    }
    given = options(nodes, target="within_clients")
    found = tables_of(given, three)["specifications"]
    assert found["estimate_type"].eq("slope_standardised").all() and len(found) == 8
    for place in (0, 2, 5):
        row = found.iloc[place]
        configuration = merge(given, json.loads(row["changes"]))
        table = alliance_outcome.pool([alliance_outcome.estimate(site, configuration, {}) for site in three], configuration, {})["levels"]
        main = table[
            table["part"].eq("within_client")
            & table["explained"].eq("symptoms of the next session")
            & table["contrast"].eq("")
            & table["site"].eq(POOLED)
        ]
        main = main[main["method"].ne("one_stage") & main["estimate_type"].eq("slope_standardised")]
        assert len(main) == 1
        assert_same(row, main.iloc[0])


@pytest.fixture(scope="module")
def left():
    return [leaving(name, n=90 + 10 * seed, seed=seed) for seed, name in enumerate("abc", start=1)]


def test_dropout_is_the_headline_of_the_hazards(left):
    nodes = {
        "definition": {"unilateral": {}, "few": {"dropout": {"definition": "few_sessions"}}},
        "baseline": {"log": {}, "steps": {"questions": {"dropout": {"baseline": "steps"}}}},
    }
    given = options(nodes, target="dropout")
    found = tables_of(given, left)
    for _, row in found["specifications"].iterrows():
        configuration = merge(given, json.loads(row["changes"]))
        table = dropout.pool([dropout.estimate(site, configuration, {}) for site in left], configuration, {})["hazard"]
        main = table[
            table["site"].eq(POOLED)
            & table["term"].eq("alliance_first")
            & table["definition"].eq(configuration["dropout"]["definition"])
            & table["cause"].eq("dropout")
            & table["hazard_model"].eq("first_session")
            & table["link"].eq("cloglog")
            & table["therapists"].eq("frailty")
            & table["method"].ne("one_stage")
        ]
        assert len(main) == 1
        assert_same(row, main.iloc[0])
    assert statistic(found, "joint_test_any_specification")["estimate"] < 0.05


def test_scoring_can_be_a_node(three):
    """A stricter rule for missing items leaves some scores out; a site is asked with the scores that the rule gives."""
    nodes = {"missing_items": {"as_the_manual_says": {}, "none_allowed": {"scoring": {"missing_rule": "strict"}}}, **some("pooling")}
    given = options(nodes)
    assert [one["missing_rule"] for one in specifications.scorings(given)] == ["instrument", "strict"]
    [one] = multiverses(given)
    assert len(one.requests) == 2
    strictly = [dataclasses.replace(site, scores=site.scores[site.scores["client_no"].astype(int) % 3 != 0]) for site in three]
    key = canonical_json({"missing_rule": "strict"})
    summaries = [answer(site, given, {key: strict}) for site, strict in zip(three, strictly)]
    found = pooled_multiverse.tables_of(summaries, statuses(three), given)["specifications"].set_index("choices")
    for words, of_sites in (("as_the_manual_says", three), ("none_allowed", strictly)):
        assert_same(found.loc[f"missing_items={words}; pooling=random_effects"], pooled_headline(of_sites, given))


# What is told of all of them


def test_the_summary_counts_and_describes_the_specifications(three):
    given = options(some("rater", "change", "missing", "therapists", "pooling"), [RULE])
    found = tables_of(given, three)
    rows = found["specifications"]
    used = rows[rows["status"].isin(WITH_NUMBERS)]
    assert statistic(found, "combinations")["estimate"] == 96 and statistic(found, "removed_by_rule")["estimate"] == 16
    assert statistic(found, "removed_by_rule")["rule"] == "therapists=random and missing=likelihood: complete clients only"
    assert statistic(found, "specifications")["estimate"] == len(rows) == 80
    assert statistic(found, "estimated")["estimate"] + statistic(found, "not_estimable")["estimate"] == 80
    values = used["estimate"].astype(float)
    assert statistic(found, "median")["estimate"] == pytest.approx(np.median(values))
    quartiles = np.quantile(values, [0.25, 0.75])
    assert [statistic(found, name)["estimate"] for name in ("lower_quartile", "upper_quartile")] == pytest.approx(quartiles)
    assert statistic(found, "interquartile_range")["estimate"] == pytest.approx(np.diff(quartiles)[0])
    assert statistic(found, "share_same_sign")["estimate"] == pytest.approx((values > 0).mean())
    assert statistic(found, "share_excluding_zero")["estimate"] == pytest.approx((used["ci_low"] > 0).mean())
    assert statistic(found, "share_excluding_zero_other_sign")["estimate"] == pytest.approx((used["ci_high"] < 0).mean())
    assert statistic(found, "as_it_stands")["estimate"] == rows.iloc[0]["estimate"]
    units = sum(answer(site, given).facts["units"] for site in three)
    for name in ("any_specification", "median", "share_excluding_zero"):
        row = statistic(found, f"joint_test_{name}")
        assert row["n_units"] == units < 40 and "fewer than 40" in row["reason"] and 0 < row["estimate"] <= 1
    assert (used["p_adjusted"] >= used["p_flips"]).all()
    assert used["p_adjusted"].min() == statistic(found, "joint_test_any_specification")["estimate"]


def test_the_influence_of_decisions_is_that_on_fishers_z(three):
    from alliance.statistics.node_influence import node_influence

    given = options(some("rater", "change", "missing", "therapists"), [RULE])
    found = tables_of(given, three)
    rows = found["specifications"]
    used = rows[rows["status"].isin(WITH_NUMBERS)]
    choices = pd.DataFrame([dict(part.split("=") for part in words.split("; ")) for words in used["choices"]])
    expected = node_influence(choices, np.arctanh(used["estimate"].astype(float)))
    table = found["node_influence"].set_index(["share_of", "node", "with_node"])["estimate"]
    for node in choices:
        assert table["main", node, ""] == pytest.approx(expected.main[node])
        assert table["with_interactions", node, ""] == pytest.approx(expected.total[node])
    for (first, second), value in expected.pairs.items():
        assert table["interaction", first, second] == pytest.approx(value, abs=1e-12)
    assert table["all_main_and_pairs", "", ""] == pytest.approx(expected.all_pairs)


def test_the_joint_test_is_that_of_the_scores_of_all_sites_together(three):
    given = options(some("rater", "change", "pooling"))
    summaries = [answer(site, given) for site in three]
    found = pooled_multiverse.tables_of(summaries, statuses(three), given)
    [one] = multiverses(given)
    keys = [spec.site_key for spec in one.specifications]
    observed, flips, variance = np.zeros(len(keys)), np.zeros((200, len(keys))), np.zeros(len(keys))
    for summary in summaries:
        own = summary.estimates.reset_index(drop=True)
        place = {key: row for row, key in enumerate(own["parameter"])}
        for column, key in enumerate(keys):
            draws = summary.draws[summary.draws["parameter"].eq(str(place[key] + 1))].sort_values("draw")["value"].to_numpy()
            spread = own.loc[place[key], "score_sd"]
            observed[column] += own.loc[place[key], "score"]
            variance[column] += spread**2
            flips[:, column] += draws / STEPS * spread
    expected = joint_test(observed / np.sqrt(variance), flips / np.sqrt(variance))
    rows = found["specifications"]
    assert rows["p_flips"].to_numpy(dtype=float) == pytest.approx(expected.p_values)
    assert rows["p_adjusted"].to_numpy(dtype=float) == pytest.approx(expected.p_adjusted)
    for name, value in (("any_specification", expected.p_any), ("median", expected.p_median), ("share_excluding_zero", expected.p_share)):
        assert statistic(found, f"joint_test_{name}")["estimate"] == pytest.approx(value)


def test_a_site_that_a_specification_leaves_out_of_pooling_is_not_in_its_test_either(three):
    weak = [sites(name, alliance_outcome=0.05)[0] for name in "abc"]
    weak[2] = dataclasses.replace(three[2], site="c")
    both = tables_of(options(some("largest", "rater")), weak)["specifications"]
    alone = tables_of(options(some("rater")), weak[:2])["specifications"]
    assert both["n_sites"].tolist() == [3, 3, 2, 2]
    assert both["p_flips"].tolist()[2:] == alone["p_flips"].tolist() != both["p_flips"].tolist()[:2]
    named = options(some("rater"), pooling={"sites": {"leave_out": ["c"]}})
    assert tables_of(named, weak)["specifications"]["p_flips"].tolist() == alone["p_flips"].tolist()


def test_shuffling_within_sites_is_the_historical_variant_and_only_where_it_is_asked_for(three):
    given = options(some("rater", "missing"))
    assert "shuffled_alliance" not in set(tables_of(given, three)["summary"]["method"])
    given["multiverse"]["shuffles"] = True
    found = tables_of(given, three)
    row = statistic(found, "historical_test_any_specification", "shuffled_alliance")
    assert row["status"] == "flagged" and "rejects too often" in row["reason"] and 0 < row["estimate"] <= 1
    # The scores are those of the flips, and so are the flips.
    without = tables_of(options(some("rater", "missing")), three)
    assert (
        statistic(found, "joint_test_any_specification", "sign_flips")["estimate"]
        == statistic(without, "joint_test_any_specification")["estimate"]
    )
    summary = answer(three[0], given)
    shuffles = summary.draws[summary.draws["model"].eq("shuffles")]
    assert shuffles.groupby("parameter")["value"].std().between(0.8 * STEPS, 1.2 * STEPS).all()


# What cannot be estimated, and who does not answer


def test_a_specification_that_no_site_or_too_few_can_estimate_is_a_row_with_its_reason(three):
    nodes = {
        "rater": {**NODES["rater"], "observer": {"alliance": {"rater": "observer"}}},
        "covariates": {"none": {}, "unknown": headline(covariates=["expectancy"])},
    }
    found = tables_of(options(nodes), three)
    rows = found["specifications"].set_index("choices")
    assert len(rows) == 6
    gone = rows[rows["status"].eq("not_estimable")]
    assert set(gone.index) == {name for name in rows.index if "observer" in name or "unknown" in name}
    assert gone["reason"].str.startswith("not estimable: ").all() and gone["estimate"].isna().all() and gone["p_flips"].isna().all()
    assert gone["method"].eq("none").all()
    assert statistic(found, "not_estimable")["estimate"] == 4 and statistic(found, "estimated")["estimate"] == 2
    fixed = found["node_influence"]
    fixed = fixed[fixed["share_of"].eq("main") & fixed["node"].eq("covariates")].iloc[0]
    assert fixed["status"] == "flagged" and fixed["reason"] == "one option only can be estimated"
    reasons = {summary.site: set(summary.estimates["reason"]) for summary in (answer(site, options(nodes)) for site in three)}
    assert all(any("observer" in reason for reason in own) for own in reasons.values())


def test_where_nothing_can_be_estimated_every_table_says_so(three):
    empty = [lacking(site, timepoint="post") for site in three]
    found = tables_of(options(some("rater", "pooling")), empty)
    assert found["specifications"]["status"].eq("not_estimable").all()
    influence = found["node_influence"]
    assert (
        influence["status"].eq("not_estimable").all()
        and influence["reason"].str.contains("needs two specifications that differ; has 0").all()
    )
    assert statistic(found, "median")["reason"] == "not estimable: no specification can be estimated"
    assert statistic(found, "joint_test_any_specification")["reason"].startswith("not estimable: no site sent scores")
    absent = [SiteSummary("a", "multiverse", status="excluded", reason="no client ids")]
    nobody = pooled_multiverse.tables_of(absent, [{"site": "a", "status": "excluded", "counts": {}}], options(some("rater", "pooling")))
    assert nobody["specifications"]["reason"].eq("not estimable: no site answers this specification").all()


def test_a_site_without_a_form_of_the_outcome_answers_the_others_with_the_reason(three):
    without = dataclasses.replace(lacking(three[2], timepoint="intake"), site="d")
    given = options(some("change"))
    summary = answer(without, given)
    by_form = dict(zip(["ancova", "residual_gain", "change", "zero_order"], summary.estimates["reason"]))
    assert by_form["zero_order"] == ""
    assert all(
        by_form[name].startswith("not estimable: no client-rated total score of core_10 at intake")
        for name in ("ancova", "residual_gain", "change")
    )
    rows = tables_of(given, [*three, without])["specifications"]
    assert rows["n_sites"].tolist() == [3, 3, 3, 4]


def test_excluded_and_missing_sites_are_told_and_do_not_change_the_numbers(three):
    given = options(some("rater", "pooling"))
    absent = [
        SiteSummary("x", "multiverse", status="excluded", reason="no client ids"),
        SiteSummary("y", "multiverse", status="missing", reason="the site has not answered these options"),
    ]
    told = [*statuses(three), {"site": "x", "status": "excluded"}, {"site": "y", "status": "ok", "counts": {"clients": 0}}]
    one, other = tables_of(given, three), tables_of(given, three, absent, told)
    pd.testing.assert_frame_equal(one["specifications"], other["specifications"])
    assert "without x, y, which sent no scores" in statistic(other, "joint_test_median")["reason"]


def test_a_published_matrix_answers_only_what_it_published(three):
    paper = published("p", MATRIX, [("ancova", 0.31, 60.0, np.nan)])
    given = options({**some("rater", "change", "missing", "therapists", "covariates")})
    summary = answer(paper, given)
    [one] = multiverses(given)
    by_key = summary.estimates.set_index("parameter")
    answered = {tuple(spec.choices.values()) for spec in one.specifications if by_key.loc[spec.site_key, "status"] in WITH_NUMBERS}
    assert answered == {
        ("client", change, "complete", therapists, covariates)
        for change, covariates in (
            ("intake_held_constant", "intake_alone"),
            ("residual_gain", "intake_alone"),
            ("post_alone", "intake_alone"),
            ("post_alone", "motivation_too"),
        )
        for therapists in ("left_out_in_turn", "ignored")
    }
    refused = by_key[~by_key["status"].isin(WITH_NUMBERS)]
    assert refused["reason"].str.startswith("not estimable: ").all() and refused["estimate"].isna().all()
    assert summary.draws.empty and summary.facts["units"] == 0
    found = tables_of(given, [*three, paper])
    assert found["specifications"]["n_sites"].iloc[0] == 4
    assert_same(found["specifications"].iloc[0], pooled_headline([*three, paper], given))
    assert "without p, which sent no scores" in statistic(found, "joint_test_any_specification")["reason"]
    within = answer(paper, options({"rater": NODES["rater"]}, target="within_clients"))
    assert within.estimates["reason"].str.contains("the site published summaries only").all()


# Sites that send a summary, and what it may hold


def test_a_summary_that_a_site_sent_gives_the_tables_that_its_rows_gave(three, tmp_path):
    given = options(some("rater", "change", "missing"))
    summaries = [answer(site, given) for site in three]
    before = pooled_multiverse.tables_of(summaries, statuses(three), given)
    summaries[1].write(tmp_path / "b")
    sent = [summaries[2], SiteSummary.read(tmp_path / "b"), summaries[0]]
    after = pooled_multiverse.tables_of(sent, statuses(three)[::-1], given)
    for name, table in before.items():
        pd.testing.assert_frame_equal(after[name], table, check_exact=True)


def test_a_summary_holds_nothing_of_clients_or_single_small_therapists(three, tmp_path):
    given = options(some("rater", "change", "missing"), flips=300)
    given["multiverse"]["shuffles"] = True
    crowded = dataclasses.replace(
        three[0], clients=three[0].clients.assign(therapist_no=pd.array(three[0].clients["client_no"].astype(int) % 45, dtype="Int64"))
    )
    crowded = dataclasses.replace(
        crowded, scores=crowded.scores.assign(therapist_no=pd.array(crowded.scores["client_no"].astype(int) % 45, dtype="Int64"))
    )
    summary = answer(crowded, given)
    clients = crowded.clients["client_no"].nunique()
    assert summary.facts["units"] <= clients // 5
    summary.write(tmp_path / "a")
    for path in sorted((tmp_path / "a").iterdir()):
        text = path.read_text(encoding="utf-8")
        assert not any(f"h{number}" in re.split(r"[^a-z0-9]+", text) for number in (1, 2, 30)), path
    assert not {"client_id", "client_no", "therapist_id", "therapist_no", "unit"} & {
        column for frame in (summary.estimates, summary.draws, summary.vcov, summary.moments) for column in frame
    }


def test_signs_cannot_be_drawn_again_without_the_sites_scores(three):
    from alliance.statistics.resampling import generator

    given = options(some("rater"))
    summary = answer(three[0], given)
    units = summary.facts["units"]
    own = summary.draws[summary.draws["parameter"].eq("1")].sort_values("draw")["value"].to_numpy()
    signs = generator(given["seed"], "multiverse", three[0].site).integers(0, 2, (len(own), units)) * 2.0 - 1.0
    left = own - signs @ np.linalg.lstsq(signs, own, rcond=None)[0]
    assert left.var() > 0.8 * own.var()
    changed = three[0].scores.copy()
    changed.loc[changed.index[0], "score"] += 1
    other = answer(dataclasses.replace(three[0], scores=changed), given)
    assert not np.array_equal(other.draws["value"], summary.draws["value"])


def test_fewer_than_five_clients_send_no_flipped_scores(three):
    few = lacking(three[0], timepoint="nothing")
    few = dataclasses.replace(few, scores=few.scores[few.scores["client_no"].astype(int).isin([1, 2, 3, 4])], clients=few.clients.iloc[:4])
    given = options(some("rater", "change"), pooling={"min_clients": 4})
    summary = answer(few, given)
    assert summary.draws.empty


def test_the_order_of_rows_sites_and_runs_does_not_matter(three):
    given = options(some("rater", "change", "missing"))
    first = tables_of(given, three)
    mixed = [
        dataclasses.replace(site, scores=site.scores.sample(frac=1, random_state=3), clients=site.clients.sample(frac=1, random_state=4))
        for site in three
    ]
    second = tables_of(given, mixed[::-1])
    for name, table in first.items():
        pd.testing.assert_frame_equal(second[name], table, rtol=1e-9)
    again = answer(three[0], given)
    assert again.draws.equals(answer(three[0], given).draws)


def test_a_table_of_the_multiverse_that_breaks_its_contract_is_refused(three):
    found = tables_of(options(some("rater")), three)
    table, schema = found["specifications"], contract.SPECIFICATIONS
    with pytest.raises(ContractError, match="rows that agree"):
        contract.check(pd.concat([table, table]), schema, list(schema.identifying))
    with pytest.raises(ContractError):
        contract.check(table.drop(columns="p_flips"), schema, list(schema.identifying))
    with pytest.raises(ContractError):
        contract.check(table.assign(status="fine"), schema, list(schema.identifying))
