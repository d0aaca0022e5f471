"""The chapters on the course of the alliance and its components tell what their tables hold, and no more than intervals allow."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree

import numpy as np
import pytest
import report_study
from alliance.configuration import study as configuration
from alliance.questions.components import question as questions_components
from alliance.questions.contract import POOLED
from alliance.questions.course import growth, series
from alliance.questions.course import question as questions_course
from alliance.reports import numbers
from alliance.reports.chapters import common, components, course
from alliance.reports.elements import Figure, Fold
from support import PROJECT
from unit.component_sites import component_site
from unit.session_sites import sessions_site

SLOPE = {"alliance_rater": "client", "growth_model": growth.LINEAR, "term": growth.SLOPE, "site": POOLED}


@pytest.fixture(scope="module")
def study():
    options = configuration.load(PROJECT / "config.yaml").scenarios["base"] | {"seed": 1}
    sites = [sessions_site(name, n=70, therapists=12, seed=50 + number, slope=0.6) for number, name in enumerate(report_study.SITES[:4])]
    one = questions_course.one_stage(sites, [site.site for site in sites], options)
    of_course = questions_course.pool([questions_course.estimate(site, options, {}) for site in sites], options, {"one_stage": one})
    parts = [component_site(name, n=150, seed=number)[0] for number, name in enumerate(report_study.SITES[:3])]
    of_parts = questions_components.pool([questions_components.estimate(site, options, {}) for site in parts], options, {})
    return dataclasses.replace(report_study.study(), tables={"course": of_course, "components": of_parts})


@pytest.fixture(scope="module")
def chapter(study):
    return course.build(study)


def blocks(chapter):
    for block in chapter.blocks:
        yield from block.blocks if isinstance(block, Fold) else (block,)


def changed(study, keys, **values):
    table = study.tables["course"]["growth"].copy()
    chosen = np.logical_and.reduce([table[name].eq(value) for name, value in keys.items()])
    for name, value in values.items():
        table.loc[chosen, name] = value
    return dataclasses.replace(study, tables={**study.tables, "course": {**study.tables["course"], "growth": table}})


def test_the_mean_slope_is_told_with_its_interval(study, chapter):
    row = next(common.select(study.tables["course"]["growth"], **SLOPE, method="two_stage_reml").itertuples())
    assert row.ci_low > 0 and chapter.headlines[0].startswith("On average over clients the alliance rises")
    assert numbers.decimal(row.estimate) in chapter.headlines[0]


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        ("equivalent", "the alliance stays where it is"),
        ("equivalent_and_different", "the alliance rises, but by less than 0.2 SD"),
        ("different", "the alliance rises"),
        ("undecided", "stays open"),
    ],
)
def test_stability_is_claimed_by_the_equivalence_test_alone(study, decision, words):
    assert words in course.build(changed(study, SLOPE, decision=decision)).headlines[0]


def test_the_mean_curve_is_drawn_with_the_band_of_clients_for_a_narrow_screen(study, chapter):
    figure = next(block for block in blocks(chapter) if isinstance(block, Figure))
    root = ElementTree.fromstring(figure.svg)
    # Points: 320 px are 240.
    assert float(root.attrib["width"].removesuffix("pt")) <= 245 and len(figure.svg) < 26_000
    rows = common.pooled_rows(study.tables["course"]["growth"], alliance_rater="client", growth_model=growth.CURVE, term=growth.SPREAD)
    told = {int(row.session): row.estimate for row in rows.itertuples() if common.has_number(row)}
    assert {cells[0].value: cells[4].value for cells in figure.data.rows} == pytest.approx(told)
    assert min(cells[1].value for cells in figure.data.rows) >= 10


def test_the_share_with_a_cycle_stands_beside_that_of_series_without_cycles(study, chapter):
    row = next(
        common.pooled_rows(
            study.tables["course"]["cycles"], alliance_rater="client", surrogates=series.FIRST_ORDER, statistic=series.WITH_CYCLE
        ).itertuples()
    )
    sentence = next(one for one in chapter.findings if "in cycles" in one)
    assert numbers.percent(row.estimate) in sentence and "5" in sentence and "would show one if there were none" in sentence


def test_single_clients_are_told_beside_the_mean(chapter):
    assert any(one.startswith("The mean hides single clients") for one in chapter.findings)


def test_dominance_is_told_by_phase_with_what_components_share(study):
    chapter = components.build(study)
    row = components.contrast_row(study.tables["components"]["dominance"], "early", study)
    assert numbers.known(row.estimate) and chapter.headlines[0].startswith(
        "In the early phase task and goal bring more" if row.ci_low > 0 else "Whether task and goal or bond"
    )
    assert any("of its variance with the others" in one for one in chapter.findings)


def test_both_types_of_helping_alliance_are_told_where_sites_have_them_and_left_out_of_the_table_where_not(study):
    chapter = components.build(study)
    row = next(common.pooled_rows(study.tables["components"]["by_phase"], topic="type", component="type_2", phase="early").itertuples())
    sentence = next(one for one in chapter.findings if one.startswith("Types of helping alliance"))
    assert f"type 2 (both work together), early {numbers.bounded(row.estimate)}" in sentence
    table = study.tables["components"]["by_phase"]
    lacking = table.assign(status=table["status"].mask(table["topic"].eq("type"), "not_estimable"))
    without = components.build(dataclasses.replace(study, tables={"components": {**study.tables["components"], "by_phase": lacking}}))
    assert not any("helping alliance" in one for one in without.findings) and any("helping alliance" in one for one in without.missing)
    phases = next(block for block in blocks(without) if getattr(block, "id", "") == "components-by-phase")
    assert not any("helping alliance" in cells[0].text for cells in phases.rows)


@pytest.mark.parametrize(
    ("low", "p_value", "words", "silent"),
    [
        (0.02, 0.5, "so that cycles are not shown", "in step"),
        (0.1, 0.5, "a mean curve may hide them", "not shown;"),
        (0.1, 0.001, "cycles are in step with each other", "hide"),
    ],
)
def test_whether_cycles_are_in_step_is_told_only_where_there_are_cycles(study, low, p_value, words, silent):
    table = study.tables["course"]["cycles"].copy()
    share = table["site"].eq(POOLED) & table["alliance_rater"].eq("client") & table["statistic"].eq(series.WITH_CYCLE)
    table.loc[share, ["ci_low", "ci_high"]] = [low, 0.4]
    table.loc[table["site"].eq(POOLED) & table["statistic"].eq(series.TOGETHER), "p_phases"] = p_value
    chapter = course.build(dataclasses.replace(study, tables={"course": {**study.tables["course"], "cycles": table}}))
    sentence = next(one for one in chapter.findings if "in cycles" in one)
    assert words in sentence and silent not in sentence


def test_what_cannot_be_estimated_is_said_with_what_it_needs(study):
    for question, build in (("course", course.build), ("components", components.build)):
        lacking = {
            name: table.assign(
                **dict.fromkeys(["estimate", "std_error", "ci_low", "ci_high"], np.nan),
                status="not_estimable",
                reason="not estimable: needs the alliance session by session",
            )
            for name, table in study.tables[question].items()
        }
        empty = {name: table.iloc[:0] for name, table in study.tables[question].items()}
        for tables in (lacking, empty):
            chapter = build(dataclasses.replace(study, tables={question: tables}))
            assert not chapter.headlines and not [block for block in blocks(chapter) if isinstance(block, Figure)]
        missing = build(dataclasses.replace(study, tables={question: lacking})).missing
        assert missing and all("needs the alliance session by session" in one for one in missing)
