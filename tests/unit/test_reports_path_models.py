"""The chapter on path models says what its rows say, in the order of the argument, whatever is missing."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import report_study
import report_study_paths
from alliance.files import write_csv
from alliance.questions import contract
from alliance.questions.contract import POOLED, finish
from alliance.reports import diagram, drawing, inputs, numbers, pages, site_page
from alliance.reports.chapters import (
    path_models,
    path_models_comparison,
    path_models_rows,
    path_models_sessions,
    path_models_single,
)
from alliance.reports.diagram import Edge, Node
from alliance.reports.elements import Figure, Fold, Part, Table, slug

MAIN = "empathy_alliance_outcome"
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}'
SPACE = numbers.SPACE


@pytest.fixture(scope="module")
def study():
    return report_study.study()


@pytest.fixture(scope="module")
def once(study):
    return path_models_rows.once(study)


@pytest.fixture(scope="module")
def chapter(study):
    return path_models.build(study)


def with_tables(study, **tables):
    return dataclasses.replace(study, tables={**study.tables, "path_models": {**study.tables["path_models"], **tables}})


def flat(blocks):
    """Return blocks with those inside parts that open."""
    return [one for block in blocks for one in ((block, *flat(block.blocks)) if isinstance(block, Fold) else (block,))]


def block(chapter, id):
    return next(one for one in flat(chapter.blocks) if one.id == id)


def sentences(chapter, id):
    return " ".join(block(chapter, id).sentences).replace(SPACE, " ")


def value_of(study, table, **keys):
    rows = study.tables["path_models"][table]
    for column, wanted in keys.items():
        rows = rows[rows[column].eq(wanted)]
    assert len(rows) == 1, f"{len(rows)} rows"
    return rows.iloc[0]["estimate"]


def test_the_invented_tables_keep_the_contract(study):
    made = study.tables["path_models"]
    assert set(made) == {schema.name for schema in contract.TABLES if schema.question == "path_models"}
    for name, table in made.items():
        contract.check(table, "path_models", name)


def test_parts_stand_in_the_order_of_the_argument(chapter):
    parts = [one.id.removeprefix("path-models-") for one in chapter.blocks if isinstance(one, Part) and one.id.startswith("path-models-")]
    assert parts == ["first", "others", "comparison", "sites", "sensitivity", "sessions", "mediation", "technique", "conditions"]


def test_the_head_of_the_chapter_tells_the_three_answers_with_their_numbers(study, chapter):
    assert len(chapter.headlines) == len(chapter.findings) == 3
    effect, first, lagged = (text.replace(SPACE, " ") for text in chapter.findings)
    row = study.tables["path_models"]["indirect"]
    row = row[row["model"].eq(MAIN) & row["method"].eq("two_stage_reml")].iloc[0]
    shown = numbers.bounded(row["estimate"])
    assert f"β = {shown}, 95% CI" in effect and "5 sites, 350 clients" in effect
    assert f"the higher one ends {shown} standard deviations better in outcome by way of alliance" in effect
    assert "In a new site like these" in effect and "Leaving out one site at a time" in effect
    assert first.startswith("What comes first? “Empathy is a precondition of the alliance” has the lowest AIC, 3,102.40")
    within = value_of(
        study,
        "cross_lagged",
        model="random_intercepts_equal_lags",
        parameter="alliance -> symptoms",
        site=POOLED,
        estimate_type="path_standardised",
    )
    assert f"alliance → later symptoms β = {numbers.bounded(within)}" in lagged


def test_a_negative_effect_is_told_as_worse(study, once):
    row = path_models_rows.main_effect(once, MAIN)
    assert "standard deviations worse in outcome" in path_models.meaning(once, row._replace(estimate=-0.11)).replace(SPACE, " ")


def test_random_effects_are_told_first_and_the_next_way_where_they_have_no_number(study, once):
    rows = once.tables["path_models"]["indirect"]
    rows = rows[rows["model"].eq(MAIN) & rows["site"].eq(POOLED) & rows["estimate_type"].eq("defined_standardised")]
    assert path_models_rows.one_row(rows).method == "two_stage_reml"
    silent = rows.assign(status=rows["status"].where(rows["method"].ne("two_stage_reml"), "not_estimable"))
    assert path_models_rows.one_row(silent).method == "pooled_covariance"
    assert path_models_rows.one_row(silent.assign(status="not_estimable")) is None


def test_what_is_flagged_at_sites_is_told_with_the_pooled_estimate(study):
    rows = study.tables["path_models"]["indirect"].copy()
    own = rows["model"].eq(MAIN) & rows["estimate_type"].eq("defined_standardised")
    for site, therapists in (("elm", 9), ("oak", 7)):
        chosen = own & rows["site"].eq(site)
        rows.loc[chosen, ["status", "reason"]] = ["flagged", f"fewer than 10 therapists ({therapists}): clients taken as independent"]
    told = own & rows["method"].eq("two_stage_reml")
    rows.loc[told, ["status", "reason"]] = ["flagged", "2 of 5 site estimates flagged (see the sites' rows)"]
    finding = path_models.build(with_tables(study, indirect=rows)).findings[0].replace(SPACE, " ")
    assert finding.endswith(
        "Read with care: 2 of 5 site estimates flagged; at 2 sites fewer than 10 therapists (9): clients taken as independent."
    )


def test_the_main_model_is_open_and_every_other_one_opens(study, chapter):
    names = set(study.options["questions"]["path_models"]["models"])
    folds = [one for one in chapter.blocks if isinstance(one, Fold)]
    assert {one.id for one in folds} == {f"path-model-{name.replace('_', '-')}" for name in names - {MAIN}}
    assert "indirect effect β" in next(one.title for one in folds if "alliance-carries-all" in one.id).replace(SPACE, " ")
    main = [one.id for one in chapter.blocks if MAIN.replace("_", "-") in one.id]
    assert main[:3] == [
        f"{kind}-{MAIN.replace('_', '-')}{end}" for kind, end in (("diagram", ""), ("parameters", ""), ("forest", "-indirect"))
    ]


def test_every_estimated_model_has_a_diagram_that_tells_all_its_coefficients(study, chapter):
    for name, content in study.options["questions"]["path_models"]["models"].items():
        slug = name.replace("_", "-")
        found = [one for one in flat(chapter.blocks) if one.id == f"diagram-{slug}"]
        if name in report_study_paths.NOT_ESTIMATED:
            assert not found
            continue
        terms, _ = report_study_paths.terms_of(content["syntax"])
        arrows = [f"{path_models_rows.variable(study, name, rhs)} → " for _, op, rhs in terms if op == "~"]
        loadings = sum(op == "=~" for _, op, _ in terms)
        assert all(arrow in found[0].alt for arrow in arrows), name
        assert found[0].alt.count("(loading)") == loadings, name
        assert found[0].narrow or float(ElementTree.fromstring(found[0].svg).attrib["width"].removesuffix("pt")) <= 3.4 * 72 + 0.1


def test_models_of_factors_are_drawn_with_ellipses_and_indicators(once, monkeypatch):
    drawn = []
    monkeypatch.setattr(path_models_single, "factor_diagram", lambda nodes, edges, **how: drawn.append((nodes, edges)) or b"<svg/>")
    path_models_single.diagram(once, "conditions_lead_to_alliance")
    nodes, edges = drawn[0]
    assert {name for name, node in nodes.items() if node.latent} == {"conditions", "working_alliance"}
    assert {name for name, node in nodes.items() if not node.latent} >= {"empathy_3", "task", "bond", "goal"}
    assert [(edge.source, edge.target) for edge in edges if nodes[edge.target].latent] == [("conditions", "working_alliance")]


def test_variables_of_one_session_are_named_by_it(study):
    assert path_models_rows.variable(study, "conditions_first", "empathy_3") == "Empathy, session 3"
    assert path_models_rows.variable(study, "conditions_first", "early_gain") == "Early gain"


def test_the_forest_has_sites_and_every_way_of_pooling(study, chapter):
    forest = block(chapter, "forest-empathy-alliance-outcome-indirect")
    assert [row[0].text for row in forest.data.rows].count("Pooled") == 4
    assert {row[1].text for row in forest.data.rows if row[0].text == "Pooled"} >= {
        "site estimates",
        "one model within sites",
    }
    assert len(forest.data.rows) == 4 + len(report_study_paths.SITES) + 1
    assert forest.data.emphasised == {len(report_study_paths.SITES) + 1}


def test_folded_models_of_many_sites_show_what_is_pooled(once, monkeypatch):
    monkeypatch.setattr(path_models_single, "MOST_DRAWN", 3)
    found = path_models_single.effect_forests(once, "alliance_carries_all")
    assert [type(one) for one in found] == [Table] and {row[0].text for row in found[0].rows} == {"Pooled"}
    assert all(row[0].text.startswith("Pooled") for row in path_models_single.fit_table(once, "alliance_carries_all").rows)
    assert [len(one.rows) for one in path_models_single.interval_tables(once, "alliance_carries_all")] == [1]
    assert [type(one) for one in path_models_single.effect_forests(once, MAIN, both=True)] == [Figure]
    assert len(path_models_single.fit_table(once, MAIN, explained=True).rows) == 2 + len(report_study_paths.SITES)


def test_intervals_by_every_method_stand_beside_each_other(chapter):
    table = block(chapter, "intervals-empathy-alliance-outcome-indirect")
    labels = [column.label for column in table.columns]
    assert labels[2:6] == ["Delta method", "Monte Carlo", "Bootstrap, percentile", "Bootstrap, BCa"]
    assert table.folded and len(table.rows) == len(report_study_paths.SITES) + 1
    shown = table.rows[0][2:6]
    assert len({cell.text for cell in shown}) == 4
    assert table.rows[-1][4].text == table.rows[-1][5].text == numbers.UNKNOWN


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"cfi": 0.97, "rmsea": 0.05, "srmr": 0.04}, "close by the usual conventions, which does not make it true"),
        ({"cfi": 0.90, "rmsea": 0.05, "srmr": 0.04}, "CFI says that it does not fit closely"),
        ({"cfi": 0.92, "rmsea": 0.09, "srmr": 0.04}, "CFI and RMSEA say that it does not fit closely"),
        ({"cfi": 0.90, "rmsea": 0.12, "srmr": 0.04}, "CFI and RMSEA say that it fits poorly"),
        ({"cfi": 0.68, "rmsea": 0.31, "srmr": 0.17}, "CFI, RMSEA, and SRMR say that it fits poorly"),
    ],
)
def test_fit_is_told_in_words(study, values, said):
    fit = study.tables["path_models"]["fit"].copy()
    for index, value in values.items():
        fit.loc[fit["index"].eq(index) & fit["site"].eq(POOLED), "estimate"] = value
    told = path_models_single.fit_sentence(path_models_rows.once(with_tables(study, fit=fit)), "alliance_carries_all").replace(SPACE, " ")
    assert said in told and "χ²(4) = 8.90, p = .064 (scaled)" in told


def test_a_saturated_model_is_not_said_to_fit(once):
    assert "fits every data set" in path_models_single.fit_sentence(once, MAIN)


def test_what_a_model_leaves_unexplained_is_called_exploratory(chapter):
    table = block(chapter, "unexplained-alliance-carries-all")
    assert table.rows[0][0].text == "Empathy → Outcome" and table.rows[0][2].text == "6.20" and table.rows[0][3].text == ".11"
    assert "exploratory" in table.note
    assert not [one for one in flat(chapter.blocks) if one.id == f"unexplained-{MAIN.replace('_', '-')}"]


@pytest.mark.parametrize(
    ("difference", "status", "reason", "said"),
    [
        (2e-7, "estimated", "", "finds the same"),
        (0.02, "flagged", "semopy finds others", "by up to 0.020 SD"),
        (0.02, "flagged", "semopy stopped before the maximum: ...", "up to 0.020 SD from the estimates here, which fit better"),
    ],
)
def test_another_program_agrees_or_the_difference_is_told(study, difference, status, reason, said):
    rows = study.tables["path_models"]["diagnostics"].copy()
    chosen = rows["estimate_type"].eq("largest_difference")
    rows.loc[chosen, ["estimate", "status", "reason"]] = [difference, status, reason]
    assert said in path_models_single.agreement_sentence(path_models_rows.once(with_tables(study, diagnostics=rows)), MAIN)


def test_equivalent_models_are_named_and_have_no_weight(chapter):
    told = sentences(chapter, "comparison-one-or-two")
    assert (
        "“Conditions and alliance are two” and “Conditions lead to the alliance (measured at once)” fit every data set equally well" in told
    )
    table = block(chapter, "comparison-one-or-two-table")
    weight = [column.label for column in table.columns].index("Akaike weight")
    assert [row[weight].text for row in table.rows] == ["> .99", numbers.UNKNOWN, numbers.UNKNOWN]


def test_nested_models_have_their_difference(chapter):
    told = sentences(chapter, "comparison-mediation")
    assert "Δχ²(1) = 1.21, p = .271; the data give no reason to prefer the larger model" in told
    row = block(chapter, "comparison-mediation-table").rows[-1]
    assert row[0].text.startswith("Difference: ") and [cell.text for cell in row[1:4]] == ["1.21", "1", ".271"]


def test_models_of_nearly_the_same_aic_are_hardly_told_apart(study):
    rows = study.tables["path_models"]["comparison"].copy()
    rows.loc[rows["model"].eq("alliance_first") & rows["index"].eq("aic"), "estimate"] = 3103.9
    told = path_models_comparison.sentences(path_models_rows.once(with_tables(study, comparison=rows)), "what_comes_first")
    assert "so near that the data hardly tell them apart" in told[0]


def test_it_is_said_what_a_comparison_cannot_say(chapter):
    told = sentences(chapter, "path-models-comparison")
    for word in ("in which direction", "not assigned", "equally well", "nobody wrote down", "sites differ", "same session"):
        assert word in told


def test_paths_that_differ_between_sites_are_named(study, chapter):
    told = sentences(chapter, "path-models-sites")
    assert "In no model does" in told and "(Holm): Elm Court, Alliance → Outcome (difference = " in told
    rows = study.tables["path_models"]["diagnostics"].copy()
    rows.loc[rows["index"].eq("equal_paths_p_value") & rows["model"].eq(MAIN), "estimate"] = 0.003
    other = with_tables(study, diagnostics=rows)
    assert "Paths differ between sites in “Empathy, then alliance, then outcome” (p = .003)." in sentences(
        path_models.build(other), "path-models-sites"
    )


def test_an_unmeasured_cause_and_the_order_in_time_are_told(chapter):
    told = sentences(chapter, "path-models-sensitivity")
    assert "ρ = .24" in told and "E-value is 1.82 (1.31 for the end of the interval next to zero)" in told
    assert "concurrent mediation" in told and "Conditions → Working alliance" in told
    assert "Order in time is not strict at some sites" in told and "Empathy → Alliance, session 3" in told


def test_lagged_effects_within_clients_stand_beside_the_classic_ones(chapter):
    told = sentences(chapter, "path-models-sessions")
    assert "Alliance → later symptoms: β = .11" in told and "The classic model gives alliance → later symptoms β = .19" in told
    assert "(stationarity)" not in told and "(not stationary) (p = .004)" in told
    assert "the classic model misleads" in told and "Empathy and alliance: not estimable over sites" in told
    assert "Alliance → later symptoms, classic" in block(chapter, "lagged-effects").alt
    assert [row[1].text for row in block(chapter, "growth-alliance-symptoms").rows] == ["correlation", "mean change a session, in SD"]


def test_growth_without_a_proper_solution_is_told_with_its_reason_and_without_numbers(study):
    rows = study.tables["path_models"]["cross_lagged"]
    of_growth = rows["model"].eq("growth")
    fit = rows[of_growth].head(1).assign(index="chi2", parameter="fit", estimate_type="fit_index", estimate=np.nan, status="not_estimable")
    fit = fit.assign(reason="not estimable: improper solution (negative variance of the slope of symptoms), from which no number is taken")
    said = "One model of what all sites sent gives no numbers: improper solution (negative variance of the slope of symptoms)"
    table = block(path_models.build(with_tables(study, cross_lagged=pd.concat([rows[~of_growth], fit]))), "growth-alliance-symptoms")
    assert not table.rows and table.empty.startswith(said) and table.folded
    beside = block(path_models.build(with_tables(study, cross_lagged=pd.concat([rows, fit]))), "growth-alliance-symptoms")
    assert len(beside.rows) == 2 and said in beside.note


def test_of_two_ways_of_pooling_the_one_with_more_clients_is_told():
    rows = pd.DataFrame(
        [
            report_study_paths.row(POOLED, 0.2, "two_stage_reml", n_clients=120),
            report_study_paths.row(POOLED, 0.1, "pooled_covariance", n_clients=340),
        ]
    )
    assert path_models_sessions.told_row(rows).estimate == 0.1
    assert path_models_sessions.told_row(rows.assign(n_clients=340)).estimate == 0.2


def test_chains_are_told_within_clients_first(chapter):
    told = sentences(chapter, "path-models-mediation")
    assert told.index("within clients β = .03") < told.index("Between clients β = .14")


def test_slopes_that_differ_between_clients_are_told_beside_those_that_are_the_same(chapter):
    told = sentences(chapter, "path-models-mediation")
    assert told.index("within clients β = .03") < told.index("Within clients whose slopes differ β = .06") < told.index("Between clients β")
    assert "Standard deviations of slopes over clients: a .22 to .35 (2 sites)." in told
    rows = [(row[1].text, row[2].text) for row in block(chapter, "mediation-slopes").rows]
    assert rows == [
        ("a, mean over clients", ".21"),
        ("b, mean over clients", ".18"),
        ("covariance of a and b over clients", ".02"),
        ("indirect: a × b + covariance", ".06"),
    ]
    assert all("ovariance" not in row[0].text for row in block(chapter, "mediation-levels").rows)


def test_technique_and_alliance_within_clients_are_told(chapter):
    told = sentences(chapter, "path-models-technique")
    assert "J2" in told and "Interpretations and the alliance: interaction within clients β = .08" in told
    assert "With how good the alliance of the client is altogether: β = .02" in told
    assert [row[1].text for row in block(chapter, "technique-by-alliance").rows] == [
        "Interpretation",
        "technique × alliance, both within the client",
        "technique within × alliance of the client",
    ]
    assert "nterpretation" not in sentences(chapter, "path-models-conditions")


def test_conditions_are_told_by_claim(study, chapter):
    told = sentences(chapter, "path-models-conditions")
    for claim, number in (("I1", ".27"), ("I2", "Δr = .12"), ("I3", ".55"), ("I4", "Δr = .07"), ("I7", ".19")):
        assert claim in told and number in told
    figures = block(chapter, "published-path-models")
    assert [row[2].text for row in figures.rows if row[0].text.startswith("Regard")] == [".27"]


def test_groups_of_clients_stand_beside_each_other_in_one_table_and_one_diagram(study, chapter):
    model = "alliance_outcome_by_treatment"
    table = block(chapter, f"parameters-{slug(model)}")
    paths = [row[0].text for row in table.rows]
    assert paths[:2] == ["Alliance → Outcome (cognitive)", "Alliance → Outcome (psychodynamic)"]
    rows = study.tables["path_models"]["parameters"]
    rows = rows[rows["model"].eq(model) & rows["parameter"].eq("outcome ~ alliance") & rows["method"].eq("two_stage_reml")]
    told = {row.group: numbers.bounded(row.estimate) for row in rows.itertuples()}
    assert set(told) == {"cognitive", "psychodynamic"}
    figure = block(chapter, f"diagram-{slug(model)}")
    assert "cognitive | psychodynamic" in figure.note
    for group, value in told.items():
        assert f"Alliance → Outcome ({group}) {value}" in figure.alt


def test_a_difference_of_groups_and_the_clients_in_none_of_them_are_told(chapter):
    told = " ".join(block(chapter, f"path-model-{slug('alliance_outcome_by_treatment')}").told).replace(SPACE, " ")
    assert "“difference” (in_cognitive − in_psychodynamic), standardised: β = .06, 95% CI" in told
    assert "Of 350 clients, 14 were left out: they are in none of the groups cognitive and psychodynamic." in told


def test_what_is_not_estimable_says_what_it_needs(chapter):
    told = " ".join(chapter.missing)
    assert (
        "Quality of object relations, then alliance, then outcome: needs at least 2 sites with all variables of the model; has 1." in told
    )
    assert "Empathy and alliance over sessions: needs at least 2 sites" in told


def test_scripts_for_r_lie_beside_the_report(study, chapter):
    table = block(chapter, "lavaan-scripts")
    assert {row[1].link for row in table.rows} == {f"../lavaan/{name}.R" for name in study.options["questions"]["path_models"]["models"]}


@pytest.mark.parametrize("kept", [(), ("parameters",), ("parameters", "indirect"), ("cross_lagged",), ("conditions", "comparison")])
def test_a_chapter_is_made_of_whatever_tables_there_are(study, kept):
    tables = {name: table for name, table in study.tables["path_models"].items() if name in kept}
    if not kept:
        tables = {name: table.iloc[:0] for name, table in study.tables["path_models"].items()}
    made = path_models.build(dataclasses.replace(study, tables={**study.tables, "path_models": tables}))
    assert made.id == "path-models" and made.limits
    ids = [one.id for one in flat(made.blocks)]
    assert len(ids) == len(set(ids))


def test_a_study_in_which_nothing_was_estimated_has_no_figures_and_says_why(study):
    empty = {}
    silent = dict.fromkeys(contract.NUMBERS_OF_ESTIMATE)
    for name, table in study.tables["path_models"].items():
        known = {column: value for column, value in silent.items() if column in table}
        rows = table.drop_duplicates([*contract.table("path_models", name).identifying, "site", "estimate_type"])
        reason = "not estimable: needs 2 sites; has 1"
        empty[name] = finish(rows.assign(**known, status="not_estimable", reason=reason, method="none"), "path_models", name)
    made = path_models.build(dataclasses.replace(study, tables={**study.tables, "path_models": empty}))
    assert not made.headlines and not [one for one in flat(made.blocks) if isinstance(one, Figure)]
    assert any("needs 2 sites; has 1" in reason for reason in made.missing)


def test_hostile_names_are_only_ever_text(study):
    options = json.loads(json.dumps(study.options))
    section = options["questions"]["path_models"]
    for content in section["models"].values():
        content["label"] = HOSTILE
    for content in section["comparisons"].values():
        content["label"] = HOSTILE
    tables = {
        name: table.assign(reason=table["reason"].where(table["reason"].eq(""), HOSTILE))
        for name, table in study.tables["path_models"].items()
    }
    hostile = dataclasses.replace(study, options=options, tables={"path_models": tables})
    page = pages.render_all(hostile, report_study.TEMPLATES)["index.html"]
    assert page.count("<script") == 1 and "onerror=alert" not in page.replace("&#34;", '"').replace("&lt;img src=x onerror=alert", "")


def test_a_site_sees_its_own_paths_beside_those_told(study, once):
    table = next(one for one in site_page.estimate_tables(study, "elm") if one.id == "estimates-path-models")
    row = next(row for row in table.rows if row[0].text == "Alliance → Outcome")
    own = value_of(study, "parameters", model=MAIN, parameter="outcome ~ alliance", site="elm", estimate_type="path_standardised")
    told = value_of(
        study,
        "parameters",
        model=MAIN,
        parameter="outcome ~ alliance",
        site=POOLED,
        estimate_type="path_standardised",
        method="two_stage_reml",
    )
    assert row[1].value == own and row[4].value == told
    assert len({row[0].text for row in table.rows}) == len(table.rows)


def test_operators_survive_the_way_through_a_file(tmp_path, study):
    table = study.tables["path_models"]["parameters"]
    path = tmp_path / "parameters.csv"
    write_csv(path, table)
    assert "'=~" in path.read_text(encoding="utf-8")
    types = contract.table_types(contract.table("path_models", "parameters"))
    pd.testing.assert_frame_equal(contract.typed(inputs.read_table(path, "path_models"), types), table)


def shipped(study):
    """Return nodes and edges of every path model of the configuration without factors."""
    for name, content in study.options["questions"]["path_models"]["models"].items():
        terms, _ = report_study_paths.terms_of(content["syntax"])
        if any(op == "=~" for _, op, _ in terms):
            continue
        names = dict.fromkeys(one for lhs, _, rhs in terms for one in (rhs, lhs))
        edges = [
            Edge(*((rhs, lhs) if op == "~" else (lhs, rhs)), ".31", "[−.20, .42]", rhs != "intake_level", op == "~~")
            for lhs, op, rhs in terms
        ]
        yield name, {one: Node(one) for one in names}, edges


@pytest.mark.parametrize("narrow", [False, True])
def test_coefficients_of_shipped_models_stand_apart_and_off_the_boxes(study, monkeypatch, narrow):
    seen = []
    original = diagram._labels

    def watched(routes, spot, size, room):
        placed = original(routes, spot, size, room)
        seen.append((placed, dict(spot), size))
        return placed

    monkeypatch.setattr(diagram, "_labels", watched)
    for name, nodes, edges in shipped(study):
        drawing = diagram.path_diagram(nodes, edges, narrow=narrow)
        width = float(ElementTree.fromstring(drawing).attrib["width"].removesuffix("pt")) / 72
        assert width == pytest.approx(3.4 if narrow else 7.2, abs=0.01), name
        placed, spot, size = seen.pop()
        half, box = size.label_extent, (size.along / 2, size.across / 2)
        for one, other in itertools.combinations(placed, 2):
            assert diagram._overlap(one, other, half, half) < 0.02, name
        for one, middle in itertools.product(placed, spot.values()):
            assert diagram._overlap(one, middle, half, box) < 0.02, name


def test_arrows_of_shipped_models_go_around_boxes(study, monkeypatch):
    seen = []
    original = diagram._routes

    def watched(spot, edges, size, room):
        found = original(spot, edges, size, room)
        seen.append((found, dict(spot), size))
        return found

    monkeypatch.setattr(diagram, "_routes", watched)
    for (name, nodes, edges), narrow in itertools.product(shipped(study), (False, True)):
        diagram.path_diagram(nodes, edges, narrow=narrow)
        routes, spot, size = seen.pop()
        for route in routes:
            others = [place for key, place in spot.items() if key not in (route.edge.source, route.edge.target)]
            inside = [p for p in route.samples for place in others if diagram._inside(p, place, (size.along / 2, size.across / 2))]
            assert not inside, (name, narrow, route.edge.source, route.edge.target)


def test_a_covariate_stands_beside_what_it_acts_on_first():
    edges = [Edge("a", "b"), Edge("b", "c"), Edge("gain", "c"), Edge("a", "c")]
    assert diagram._stages(["a", "b", "c", "gain"], edges) == [["a"], ["b", "gain"], ["c"]]


def test_letters_are_drawn_the_same_in_less_text():
    path = "M 684 794 L 1344 794 L 1344 0 L 684 0 L 684 794 z M 100 100 Q 200 200 300 -64 L 310 0 z "
    short = drawing._outline(path)
    assert len(short) < len(path) / 2
    x = y = start = 0
    # The outline again from its relative steps: every corner within half a step of 32 units.
    corners, tokens = [], short.replace("-", " -")
    for letter in "mlqhvz":
        tokens = tokens.replace(letter, f" {letter} ")
    command, stack = "", []
    for token in tokens.split():
        if token.isalpha():
            command, stack = token, []
            if token == "z":
                x, y = start
            continue
        stack.append(int(token))
        if len(stack) == {"m": 2, "l": 2, "q": 4, "h": 1, "v": 1}[command]:
            step = {"h": (*stack, 0), "v": (0, *stack)}.get(command, stack[-2:])
            x, y = x + step[0], y + step[1]
            start = (x, y) if command == "m" else start
            corners.append((x * 32, y * 32))
            stack = []
    wanted = [(684, 794), (1344, 794), (1344, 0), (684, 0), (684, 794), (100, 100), (300, -64), (310, 0)]
    assert len(corners) == len(wanted)
    assert all(math.dist(one, other) <= 16 * math.sqrt(2) for one, other in zip(corners, wanted))
