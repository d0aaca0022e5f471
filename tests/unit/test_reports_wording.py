"""What the study page says is plain, said once, and claims no more than was done."""

from __future__ import annotations

import copy
import dataclasses
import html
import re

import pytest
import report_study
from alliance.questions.sentences import Sentence, pooling_sentence, told_once
from alliance.reports import methods_text, numbers, study_page
from alliance.reports.chapters import alliance_outcome, order, outcome_parts, published, ruptures, therapist_factors

POOLING = {"metric": "fisher_z", "tau2": "reml", "interval": "guarded_hartung_knapp", "level": 0.9}


@pytest.fixture(scope="module")
def study():
    return report_study.study()


@pytest.fixture(scope="module")
def page():
    text = report_study.rendered()["index.html"]
    return html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<(style|script|pre|code)\b.*?</\1>", " ", text, flags=re.DOTALL)))


def test_a_procedure_is_told_once_and_then_named():
    told = told_once(
        [pooling_sentence(POOLING), Sentence("Between."), pooling_sentence(POOLING, "Shares were pooled"), Sentence("Between.")]
    )
    assert len(told) == 3 and "90 % Hartung-Knapp intervals" in told[0].text and told[0].citations
    assert told[2] == Sentence("Shares were pooled in the same way.")


def test_another_procedure_is_told_in_full():
    other = pooling_sentence({**POOLING, "tau2": "fixed", "interval": "z"}, "Shares were pooled")
    assert [one.text for one in told_once([pooling_sentence(POOLING), other])][1].endswith("fixed-effect model with 90 % normal intervals.")


def test_no_chapter_tells_a_way_of_pooling_twice(study):
    for chapter in study_page.content(study, order.build(study))["chapters"]:
        assert " ".join(chapter.methods).count("random-effects models (restricted maximum likelihood) with") <= 1, chapter.id


def test_methods_name_the_configuration_in_words(study):
    told = methods_text.printed(study, [Sentence("Window after_session_5 of the therapist's alliance - none.")])
    assert told == ("Window after session 5 of the therapist’s alliance − none.",)


def test_apostrophes_are_curved_and_quotation_marks_are_left(page):
    assert numbers.typeset("see the sites' rows, a client's line") == "see the sites’ rows, a client’s line"
    assert numbers.typeset("column 'after' is missing") == "column 'after' is missing"
    assert "the sites' rows" not in page


def test_slopes_on_traits_that_nobody_assigned_are_called_no_effect():
    assert not any("effect" in words for words in therapist_factors.DECISIONS.values())


@pytest.mark.parametrize(("fewest", "shown"), [(2, True), (99, False)])
def test_p_values_over_few_sites_are_not_told_of_therapists(study, fewest, shown):
    options = copy.deepcopy(study.options)
    options["pooling"]["headline_sites"] = fewest
    effects = study.tables["therapist_factors"]["effects"]
    level = therapist_factors.preferred(effects)
    level = level[level["topic"].eq("level")]
    told = therapist_factors.kind_sentence(dataclasses.replace(study, options=options), level, "training", "Training")
    assert told and ("All scales together: p" in told) is shown


def test_differences_of_shares_are_points_and_no_percentages(study):
    rows = [row for question in study.tables for row in published.rows_of(study, question, lambda table, row: table)]
    shares = [row for row in rows if row[2].text.endswith("%")]
    assert shares and all(row[5].text.endswith(("point", "points")) or row[5].text == numbers.UNKNOWN for row in shares)


def test_the_matrix_of_raters_names_its_outcome(study):
    tables = study.tables["alliance_outcome"]
    instrument, scale = outcome_parts.outcome_of_raters(study, tables)
    figure = next(one for one in outcome_parts.raters(study, tables) if getattr(one, "id", "") == "rater-matrix")
    name = outcome_parts.common.measure(instrument, scale)
    assert name in figure.title and name in figure.alt and name in figure.data.caption


@pytest.mark.parametrize(("chosen", "words"), [("unrepaired", "counts as unrepaired"), ("left_out", "is left out")])
def test_what_became_of_ruptures_at_the_end_is_said(study, chosen, words):
    options = copy.deepcopy(study.options)
    options["questions"]["ruptures"]["at_the_end"] = chosen
    table = ruptures.pattern_table(dataclasses.replace(study, options=options), study.tables["ruptures"]["outcome"])
    assert words in table.note and "at_the_end" not in table.note


def test_what_a_chapter_found_is_not_said_again_in_its_parts(study):
    for chapter in study_page.content(study, order.build(study))["chapters"]:
        parts = [text for block in chapter.blocks for text in (*getattr(block, "told", ()), *getattr(block, "sentences", ()))]
        assert not set(chapter.findings) & set(parts), chapter.id


def told(study, question, **changed):
    options = copy.deepcopy(study.options)
    for path, value in changed.items():
        *keys, last = path.split("__")
        section = options
        for key in keys:
            section = section[key]
        assert last in section, path
        section[last] = value
    data = dataclasses.replace(study, options=options)
    sentences = methods_text.of_question(data, question) if question else methods_text.general(data)
    return " ".join(methods_text.printed(data, sentences))


@pytest.mark.parametrize(
    ("question", "key", "value", "words"),
    [
        ("ruptures", "questions__ruptures__at_the_end", "left_out", "at the last rating were left out"),
        ("ruptures", "questions__ruptures__at_the_end", "unrepaired", "at the last rating count as unrepaired"),
        ("ruptures", "questions__ruptures__repair", {"share": 0.5, "within": 1}, "within 1 session of the lowest rating"),
        ("alliance_outcome", "questions__alliance_outcome__headline", {"covariates": ["expectancy"]}, "Also held constant in the headline"),
        ("path_models", "resampling__draws", 1234, "(1,234 draws)"),
        ("", "scoring__exclude_improvement_items", True, "Items that describe improvement"),
        ("", "scoring__missing_rule", "strict", "only where all of its items were answered"),
        ("alliance_outcome", "alliance__window", "late", "alliance in window late"),
        ("alliance_outcome", "alliance__rater", "observer", "The observer-rated alliance"),
        ("alliance_outcome", "pooling__tau2", "paule_mandel", "Paule and Mandel"),
        ("alliance_outcome", "pooling__level", 0.9, "90% Hartung-Knapp"),
        ("alliance_outcome", "pooling__interval", "z", "normal intervals"),
    ],
)
def test_methods_follow_the_configuration(study, question, key, value, words):
    assert words in told(study, question, **{key: value})


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("client_jackknife", "clients were taken as independent"),
        ("likelihood_independent", "clients were taken as independent"),
        ("likelihood_jackknife", "each therapist left out in turn"),
        ("mixed_model", "share a random intercept"),
        ("likelihood_jackknife", "full information maximum likelihood"),
    ],
)
def test_methods_name_how_the_headline_was_made(study, method, words):
    tables = {name: dict(made) for name, made in study.tables.items()}
    effects = tables["alliance_outcome"]["site_effects"]
    tables["alliance_outcome"]["site_effects"] = effects.assign(method=method)
    assert words in told(dataclasses.replace(study, tables=tables), "alliance_outcome")
    tables["alliance_outcome"]["site_effects"] = effects.assign(method="cluster_robust")
    assert words not in told(dataclasses.replace(study, tables=tables), "alliance_outcome").partition(" In simulation, ")[0]


@pytest.mark.parametrize(
    ("missing", "share", "words"),
    [
        ("complete", 0.21, "21% of the clients of these sites lack the alliance, the intake level or the outcome"),
        ("likelihood", 0.03, "3% of the clients of these sites lack both the alliance and the outcome"),
        ("imputed", 0.21, "21% of the clients of these sites lack some value of the headline, which is imputed"),
    ],
)
def test_who_is_not_in_the_headline_is_said_as_missing_values_were_handled(missing, share, words):
    assert alliance_outcome.not_in_headline(share, missing).startswith(words)
