"""The chapter on ruptures: shares beside noise, sentences that follow from the tables, and reasons where nothing is there."""

from __future__ import annotations

import dataclasses

import pytest
from alliance.reports import numbers
from alliance.reports.chapters import ruptures
from unit import report_study


@pytest.fixture(scope="module")
def study():
    return report_study.study()


@pytest.fixture(scope="module")
def chapter(study):
    return ruptures.build(study)


def test_the_share_of_the_headline_stands_beside_that_of_noise(study, chapter):
    tables = study.tables["ruptures"]
    share = tables["criteria"].query("site == '(pooled)' and criterion == 'drop' and statistic == 'clients with a rupture'").iloc[0]
    assert numbers.percent(share["estimate"]) in chapter.headlines[0] and "noise alone would give" in chapter.headlines[0]


def test_the_panel_has_every_criterion_with_a_number_and_its_noise(study, chapter):
    figure = next(block for block in chapter.blocks if block.id == "ruptures-noise")
    pooled = (
        study.tables["ruptures"]["criteria"]
        .query("site == '(pooled)' and statistic == 'clients with a rupture'")
        .drop_duplicates("criterion")
    )
    known = pooled[pooled["estimate"].notna()]
    assert len(figure.data.rows) == len(known) and figure.svg.startswith(b"<svg")
    by_name = {row[0].text: row for row in figure.data.rows}
    assert by_name["Observed"][3].text == numbers.UNKNOWN and by_name["Drop"][3].text != numbers.UNKNOWN


def test_sentences_speak_of_agreement_detection_outcome_dropout_and_coasting(chapter):
    text = " ".join(chapter.findings)
    for words in (
        "depends on the criterion",
        "criteria agree by",
        "observers coded",
        "Outcome at the same",
        "Two damage times",
        "Coasting",
    ):
        assert words in text
    assert "nan" not in text.lower().split()


def test_no_criterion_is_called_the_rule(chapter):
    assert any("No criterion is the right one" in limit for limit in chapter.limits)


def test_a_question_that_no_site_could_answer_leaves_a_chapter_with_reasons(study):
    empty = {}
    for name, table in study.tables["ruptures"].items():
        silent = table.assign(status="not_estimable", reason="not estimable: needs sessions", method="none")
        figures = ["estimate", "std_error", "ci_low", "ci_high", "difference", "prediction_low", "prediction_high", "i2"]
        empty[name] = silent.assign(**dict.fromkeys(figures, float("nan")))
    chapter = ruptures.build(dataclasses.replace(study, tables={**study.tables, "ruptures": empty}))
    assert not chapter.headlines and chapter.missing and all("needs sessions" in reason for reason in chapter.missing)
