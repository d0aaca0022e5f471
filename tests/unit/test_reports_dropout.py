"""The chapter on leaving treatment tells what its tables hold, in figures for any screen, and says what is not there."""

from __future__ import annotations

import dataclasses
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import report_study
from alliance.questions.contract import POOLED
from alliance.questions.headlines import headline_numbers, load_headlines
from alliance.reports import figures, figures_dropout, inputs, numbers
from alliance.reports.chapters import common, dropout
from alliance.reports.elements import Figure, Fold
from support import PROJECT

HEADLINE = {
    "definition": "unilateral",
    "cause": "dropout",
    "hazard_model": "first_session",
    "link": "cloglog",
    "therapists": "frailty",
    "term": "alliance_first",
    "site": POOLED,
    "method": "two_stage_reml",
}


@pytest.fixture(scope="module")
def study():
    return report_study.study()


@pytest.fixture(scope="module")
def chapter(study):
    return dropout.build(study)


def blocks(chapter):
    for block in chapter.blocks:
        yield from block.blocks if isinstance(block, Fold) else (block,)


def block_of(chapter, id):
    return next(block for block in blocks(chapter) if block.id == id)


def pooled(study, **keys):
    return next(common.select(study.tables["dropout"]["hazard"], **keys).itertuples())


def test_the_headline_tells_the_pooled_ratio_and_what_its_interval_allows(study, chapter):
    row = pooled(study, **HEADLINE)
    sentence = chapter.headlines[0]
    assert numbers.decimal(row.estimate) in sentence and numbers.interval(row.ci_low, row.ci_high, 2, False) in sentence
    assert row.ci_high < 1 and sentence.startswith("Clients with a better first-session alliance leave less often")


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.5, 0.9, "Clients with a better first-session alliance leave less often"),
        (1.1, 1.9, "Clients with a better first-session alliance leave more often"),
        (0.6, 1.4, "Whether clients with a better first-session alliance leave less often stays open"),
    ],
)
def test_no_more_is_claimed_than_the_interval_shows(study, low, high, words):
    hazard = study.tables["dropout"]["hazard"].copy()
    chosen = np.logical_and.reduce([hazard[name].eq(value) for name, value in HEADLINE.items()])
    hazard.loc[chosen, ["estimate", "ci_low", "ci_high"]] = [(low * high) ** 0.5, low, high]
    changed = dataclasses.replace(study, tables={**study.tables, "dropout": {**study.tables["dropout"], "hazard": hazard}})
    assert dropout.build(changed).headlines[0].startswith(words)


def test_curves_stand_for_ten_clients_or_more_and_their_table_has_the_numbers(study, chapter):
    figure = block_of(chapter, "dropout-risk")
    survival = study.tables["dropout"]["survival"]
    rows = common.pooled_rows(survival, estimate_type="cumulative_risk")
    assert rows.loc[rows["estimate"].notna(), "n_at_risk"].min() >= 10
    shown = {(cells[0].text, cells[1].text): cells[3].value for cells in figure.data.rows}
    for group, label in dropout.THIRDS.items():
        first = rows[rows["group"].eq(group) & rows["session"].eq(1)]["estimate"].item()
        assert shown[label, "1"] == first


def test_figures_fit_a_narrow_screen_and_are_sound(chapter):
    drawn = [block for block in blocks(chapter) if isinstance(block, Figure)]
    assert {figure.id for figure in drawn} == {"dropout-risk", "dropout-forest", "dropout-calibration"}
    for figure in drawn:
        root = ElementTree.fromstring(figure.svg)
        # Points: 320 px are 240.
        assert float(root.attrib["width"].removesuffix("pt")) <= 245, figure.id
        assert figure.alt and len(figure.svg) < 26_000, figure.id


def test_the_forest_of_ratios_is_drawn_on_their_logarithm():
    rows = [figures.ForestRow("a", 0.5, 0.25, 1.0), figures.ForestRow("b", 2.0, 1.0, 4.0)]
    drawing = figures.forest(rows, axis="ratio", bound=False, reference=1.0, ratio=True, narrow=True).decode()
    ends = [
        tuple(map(float, found))
        for found in re.findall(r'd="M([\d.]+) [\d.]+L([\d.]+) [\d.]+ ?" style="[^"]*stroke:#5a6673;stroke-width:1.3', drawing)
    ]
    first, second = (end - start for start, end in ends)
    assert first == pytest.approx(second, abs=0.05)


def test_far_ratios_end_at_the_edge_of_the_forest():
    rows = [figures.ForestRow("a", 0.6, 0.0001, 4000.0), figures.ForestRow("b", 1.1, 0.8, 1.4)]
    ElementTree.fromstring(figures.forest(rows, axis="ratio", bound=False, reference=1.0, ratio=True))


def test_risks_are_told_for_both_sessions_with_their_difference_in_points(study, chapter):
    gap = pooled(study, site=POOLED, estimate_type="risk_difference", session=10)
    sentence = next(one for one in chapter.findings if "have dropped out, a difference" in one)
    assert numbers.points(gap.estimate) in sentence and "by session 5" in sentence and "by session 10" in sentence


def test_definitions_stand_side_by_side_with_their_agreement(study, chapter):
    table = block_of(chapter, "dropout-definitions")
    definitions = study.tables["dropout"]["definitions"]
    assert [cells[0].text for cells in table.rows] == ["Before planned", "Few sessions", "Unilateral (main)"]
    agreed = common.pooled_rows(definitions, definition="before_planned", compared_with="unilateral")["estimate"].item()
    place = [column.label for column in table.columns].index("Kappa with unilateral")
    assert table.rows[0][place].value == pytest.approx(agreed)


def test_the_forest_names_sites_in_their_order_whatever_the_order_of_the_table(study, chapter):
    hazard = study.tables["dropout"]["hazard"].iloc[::-1].reset_index(drop=True)
    turned = dataclasses.replace(study, tables={**study.tables, "dropout": {**study.tables["dropout"], "hazard": hazard}})
    first, again = (block_of(one, "dropout-forest").alt.split(": ")[1].split("Pooled")[0] for one in (chapter, dropout.build(turned)))
    order = [first.index(report_study.LABELS[site]) for site in report_study.SITES if report_study.LABELS[site] in first]
    assert len(order) > 2 and order == sorted(order) and first.split("All rows")[0] == again.split("All rows")[0]


def test_the_review_stands_beside_the_number_that_the_text_tells(study):
    hazard = study.tables["dropout"]["hazard"].copy()
    failed = hazard["site"].eq(POOLED) & hazard["term"].eq("failed") & hazard["cause"].eq("dropout")
    sample = hazard[failed].iloc[[0]]
    few = sample.assign(method="two_stage_reml", n_sites=2, estimate=1.111, ci_low=0.5, ci_high=2.5, status="estimated", reason="")
    all_rows = few.assign(method=dropout.ONE_STAGE, n_sites=6, estimate=1.999)
    tables = {**study.tables["dropout"], "hazard": pd.concat([hazard[~failed], few, all_rows], ignore_index=True)}
    chapter = dropout.build(dataclasses.replace(study, tables={**study.tables, "dropout": tables}))
    assert any("2.00" in sentence and "only 2 could be fitted alone" in sentence for sentence in chapter.findings)
    rows = [row for row in block_of(chapter, "published-dropout").rows if row[0].text.startswith("Phase 1 failed (Dropout")]
    assert [row[3].text for row in rows] == ["2.00"] and "only 2 could be fitted alone" in rows[0][0].text


def test_what_cannot_be_estimated_is_said_with_what_it_needs(study):
    hazard = study.tables["dropout"]["hazard"]
    numbers_of = ["estimate", "std_error", "ci_low", "ci_high"]
    silent = hazard.assign(
        **dict.fromkeys(numbers_of, np.nan), status="not_estimable", reason="not estimable: needs reasons of termination"
    )
    empty = {name: table.iloc[:0] for name, table in study.tables["dropout"].items()}
    for tables in ({**empty, "hazard": silent}, empty):
        chapter = dropout.build(dataclasses.replace(study, tables={**study.tables, "dropout": tables}))
        assert not chapter.headlines and not [block for block in blocks(chapter) if isinstance(block, Figure)]
    missing = dropout.build(dataclasses.replace(study, tables={**study.tables, "dropout": {**empty, "hazard": silent}})).missing
    assert missing and all("needs reasons of termination" in one for one in missing)


def test_pages_of_sites_show_their_ratio_beside_the_pooled_one(study):
    rows = inputs.distinct(dropout.site_rows(study))
    assert set(rows["term"]) == {"alliance_first"} and rows["site"].is_unique
    assert set(rows["site"]) == {*report_study.SITES, POOLED}


def test_steps_of_curves_hold_their_interval_until_the_next_session():
    curve = figures_dropout.Curve("low", [0.1, 0.2], [float("nan"), 0.1], [float("nan"), 0.3], [20, 18])
    assert figures_dropout._edges(curve) == [(2, 0.1, 0.3)]
    whole = figures_dropout.Curve("low", [0.1, 0.2], [0.05, 0.1], [0.2, 0.3], [20, 18])
    assert figures_dropout._edges(whole) == [(1, 0.05, 0.2), (2, 0.05, 0.2), (2, 0.1, 0.3)]


def test_the_table_of_models_leaves_the_text_its_risks(chapter):
    table = block_of(chapter, "dropout-models")
    names = [cells[0].text for cells in table.rows]
    assert any("minus" in name for name in names)
    assert not any(name.startswith("Severity") for name in names)
    assert len(table.rows) < 25


def test_a_ratio_of_all_sites_goes_before_one_pooled_over_fewer_and_says_so(study):
    definitions = study.tables["dropout"]["definitions"].copy()
    ratio = definitions["site"].eq(POOLED) & definitions["definition"].eq("few_sessions") & definitions["estimate_type"].eq("hazard_ratio")
    assert set(definitions.loc[ratio, "method"]) == {"two_stage_reml", dropout.ONE_STAGE}
    pooled_over = ratio & definitions["method"].eq("two_stage_reml")
    definitions.loc[pooled_over, "n_sites"] = 2
    definitions.loc[pooled_over, ["estimate", "ci_low", "ci_high"]] = [0.111, 0.1, 0.2]
    definitions.loc[pooled_over, "status"] = "estimated"
    changed = dataclasses.replace(study, tables={**study.tables, "dropout": {**study.tables["dropout"], "definitions": definitions}})
    table = block_of(dropout.build(changed), "dropout-definitions")
    row = next(cells for cells in table.rows if cells[0].text.startswith("Few sessions"))
    whole = next(definitions[ratio & definitions["method"].eq(dropout.ONE_STAGE)].itertuples())
    assert row[3].value == pytest.approx(whole.estimate)
    assert f"one model of the rows of {whole.n_sites} sites; only 2 could be fitted alone and pooled" in row[-1].text


def test_the_chapter_says_why_planned_endings_rest_on_fewer_clients(study, chapter):
    planned = pooled(study, **{**HEADLINE, "cause": "planned_ending"})
    lead = pooled(study, **HEADLINE)
    assert planned.n_clients < lead.n_clients
    told = next(sentence for sentence in chapter.findings if "planned endings go with" in sentence)
    assert f"of {planned.n_clients} of {lead.n_clients} clients: each session has a hazard of planned endings of its own" in told


@pytest.mark.parametrize(
    ("key", "term", "model"), [("alliance_dropout", "alliance_first", "first_session"), ("phase_one_dropout", "failed", "phase_one")]
)
@pytest.mark.parametrize("pooled_sites", [4, 6])
def test_headline_numbers_are_those_that_the_chapter_tells(study, key, term, model, pooled_sites):
    """Of ratios pooled over four of six sites that of all rows counts, else the pooled one, in the list of headlines as in the chapter."""
    hazard = study.tables["dropout"]["hazard"]
    own = {
        **HEADLINE,
        "hazard_model": model,
        "term": term,
        "claim": "",
        "status": "estimated",
        "reason": "",
        "estimate_type": "hazard_ratio",
    }
    first = hazard[hazard["site"].eq(POOLED)].iloc[[0]]
    rows = [
        first.assign(**{**own, "method": method}, estimate=ratio, ci_low=ratio / 1.2, ci_high=ratio * 1.2, n_sites=sites)
        for method, ratio, sites in (("two_stage_reml", 1.84, pooled_sites), ("hazard_one_stage", 1.74, 6))
    ]
    kept = hazard[~(hazard["hazard_model"].eq(model) & hazard["term"].eq(term) & hazard["site"].eq(POOLED))]
    tables = {**study.tables["dropout"], "hazard": pd.concat([kept, *rows], ignore_index=True)}
    made = dataclasses.replace(study, tables={**study.tables, "dropout": tables})
    listed = [one for one in load_headlines(PROJECT / "workflow" / "headlines.yaml") if one.key == key]
    (number,) = headline_numbers(listed, made.tables, made.options)["estimate"]
    assert number == (1.74 if pooled_sites == 4 else 1.84)
    built = dropout.build(made)
    told = built.headlines if key == "alliance_dropout" else [one for one in built.findings if "failed to form" in one]
    assert len(told) == 1 and numbers.decimal(number) in told[0]
    models = " ".join(cell.text for table in blocks(built) if table.id == "dropout-models" for row in table.rows for cell in row)
    assert "1.84" in models and "1.74" in models
