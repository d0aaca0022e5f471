"""The summary says what was found, how sure it is, and what was left out, with the numbers of the tables."""

from __future__ import annotations

import copy
import dataclasses
import html
import math
import re

import pandas as pd
import pytest
import report_study
from alliance.questions.contract import POOLED
from alliance.questions.headlines import Headline, headline_numbers
from alliance.reports import bibliography, checklist_page, citation, guide, methods_text, numbers, study_page, summary
from alliance.reports.chapters import common
from alliance.reports.guide import Answer, GuideError
from support import PROJECT

REVIEW = PROJECT.parent / "shared" / "domain" / "horvath-luborsky-1993.txt"
WITHOUT_REVIEW = f"needs the text of the review; put it at ../{REVIEW.relative_to(PROJECT.parent)}"
GUIDE = PROJECT / "workflow" / "guide"


@pytest.fixture(scope="module")
def study():
    return report_study.study()


def row(estimate: float, low: float, high: float, **other):
    given = {"estimate_type": "mean_difference", "status": "estimated", "reason": "", "n_sites": 4, "n_clients": 120, "site": POOLED}
    frame = pd.DataFrame([{**given, "estimate": estimate, "ci_low": low, "ci_high": high, **other}])
    return next(common.tuples(frame))


ANSWER = Answer(Headline("x", "x", "q", "t"), above="It is more", below="It is less", open="It stays open", unit=" SD")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (row(0.3, 0.1, 0.5), "It is more (0.30 SD, 95% CI [0.10, 0.50], 4 sites, 120 clients)."),
        (row(-0.3, -0.5, -0.1), "It is less (−0.30 SD, 95% CI [−0.50, −0.10], 4 sites, 120 clients)."),
        (row(0.3, -0.1, 0.7), "It stays open (0.30 SD, 95% CI [−0.10, 0.70], 4 sites, 120 clients)."),
        (row(0.3, 0.0, 0.7), "It stays open (0.30 SD, 95% CI [0.00, 0.70], 4 sites, 120 clients)."),
        (row(0.3, math.nan, math.nan), "It stays open (0.30 SD, no interval could be computed, 4 sites, 120 clients)."),
        (
            row(0.3, 0.1, 0.5, status="flagged", reason="few"),
            "It is more (0.30 SD, 95% CI [0.10, 0.50], 4 sites, 120 clients; flagged: read with care).",
        ),
        (
            row(math.nan, math.nan, math.nan, status="not_estimable", reason="not estimable: needs two sites; has 1"),
            "It stays open: not estimable: needs two sites; has 1.",
        ),
        (row(0.8, 0.5, 0.95, estimate_type="hazard_ratio"), "It is less (0.80 SD, 95% CI [0.50, 0.95], 4 sites, 120 clients)."),
    ],
)
def test_an_answer_says_no_more_than_its_interval_allows(study, given, said):
    assert summary.answer_sentence(study, ANSWER, given).replace(numbers.SPACE, " ") == said


def test_all_five_priorities_are_answered_by_numbers_of_the_tables_or_by_what_they_need(study):
    answered = summary.priorities(study, report_study.chapters_built())
    assert [one.letter for one in answered] == list("abcde")
    asked = [answer for priority in study.guide.priorities for answer in priority.answers]
    rows = headline_numbers([answer.headline for answer in asked], study.tables, study.options)
    sentences = [sentence for one in answered for sentence in one.sentences]
    assert len(sentences) == len(rows) == 13
    told = 0
    for answer, sentence, found in zip(asked, sentences, rows.itertuples(), strict=True):
        text = sentence.replace(numbers.SPACE, " ")
        if found.status not in ("estimated", "flagged"):
            assert numbers.typeset(found.reason.removeprefix("not estimable: ")) in text
            continue
        show = numbers.percent if answer.percent else common.form(found.estimate_type)
        digits = () if answer.percent else (study.decimals,)
        assert f"{show(found.estimate, *digits)}" in text and f"{show(found.ci_low, *digits)}, {show(found.ci_high, *digits)}" in text
        told += 1
    assert told >= 8


def test_priorities_of_questions_that_are_not_asked_say_so_and_link_nowhere(study):
    few = report_study.only(study, "early_gains")
    answered = {one.letter: one for one in summary.priorities(few, [])}
    assert all("not estimable: needs the question" in sentence for sentence in answered["b"].sentences)
    assert all(one.chapter == "" for one in answered.values())


@pytest.mark.skipif(not REVIEW.exists(), reason=WITHOUT_REVIEW)
def test_the_lines_named_in_the_guide_are_those_of_the_review(study):
    lines = REVIEW.read_text(encoding="utf-8").splitlines()

    def text(span: str) -> str:
        first, last = map(int, span.split("-"))
        return " ".join(lines[first - 1 : last])

    for priority in study.guide.priorities:
        assert f"({priority.letter})" in text(priority.lines)
    words = {"unconscious_ground": "transference", "softened_transference": "transference", "introjection": "introject"}
    for claim in study.guide.not_testable:
        assert words.get(claim.key, "") in text(claim.lines).lower()


def test_the_guide_quotes_no_sentence_of_the_review():
    if not REVIEW.exists():
        pytest.skip(WITHOUT_REVIEW)
    review = " ".join(REVIEW.read_text(encoding="utf-8").split())
    for path in sorted(GUIDE.glob("*.yaml")):
        text = path.read_text(encoding="utf-8").split()
        assert not any(" ".join(text[place : place + 8]) in review for place in range(len(text) - 8)), path.name


def test_the_summary_tells_how_sure_and_what_was_left_out(study):
    page = html.unescape(report_study.rendered()["index.html"])
    part = page.split('<h2 id="sites">')[0].replace(numbers.SPACE, " ")
    rows = headline_numbers(study.guide.headlines, study.tables, study.options)
    known = rows[rows["status"].isin(("estimated", "flagged"))]
    assert f"Of {len(rows)} headline numbers of the study, {len(known)} could be computed." in part
    directed = known[~known["estimate_type"].isin(summary.WITHOUT_DIRECTION) & known["ci_low"].notna()]
    none = directed["estimate_type"].isin(common.RATIO_TYPES).astype(float)
    held = int(((directed["ci_low"] <= none) & (directed["ci_high"] >= none)).sum())
    assert f"{len(directed)} of these can lie on either side of “no effect”; the intervals of {held} hold it" in part
    careful = [one.label for one, status in zip(study.guide.headlines, rows["status"], strict=True) if status == "flagged"]
    assert careful and f"To be read with care, as flagged: {'; '.join(careful)}." in part
    assert "exploratory" in part and "none shows by itself that the alliance causes anything" in part
    for heading in ("priorities", "how-sure", "left-out", "main-results"):
        assert f'<h3 id="{heading}">' in part
    assert "1 of 6 sites was left out" in part
    pooled = [common.pooled_rows(table)["status"] for tables in study.tables.values() for table in tables.values()]
    without = sum(int(status.eq("not_estimable").sum()) for status in pooled)
    assert f"Of {sum(map(len, pooled)):,} rows over sites, {without:,} could not be estimated" in part
    off = copy.deepcopy(study.options)
    off["questions"]["dropout"]["enabled"] = False
    assert "Not asked in this run: dropout." in summary.left_out(dataclasses.replace(study, options=off))


def test_a_reliability_or_a_share_is_never_counted_as_open_in_its_direction(study):
    fixed = [
        one for one in study.guide.headlines if one.key.startswith(("reliability", "agreement", "overlap", "variance", "clients_with"))
    ]
    only = dataclasses.replace(study, guide=dataclasses.replace(study.guide, headlines=tuple(fixed)))
    told = summary.how_sure(only, [])[0]
    assert "0 of these can lie on either side of “no effect”" in told


def test_the_first_result_stands_beside_the_review_in_the_forms_that_may_be_compared(study):
    page = html.unescape(report_study.rendered()["index.html"])
    results = page.split('<h3 id="main-results">')[1].split("</ul>")[0]
    assert "Comparable with the review’s average are only these forms" in results and "against .26 in the review" in results


def test_answers_claim_no_cause(study):
    causal = re.compile(r"\b(makes?|causes?|leads? to|because|improves?|brings? about|due to)\b")
    for priority in study.guide.priorities:
        for answer in priority.answers:
            for said in (answer.says, answer.above, answer.below, answer.open):
                assert not causal.search(said.replace("would make it", "")), said


def test_what_is_assumed_of_path_models_stands_by_itself(study):
    told = summary.missing_data(study)
    assert any(sentence.startswith("Path models also use") for sentence in told) or not study.tables.get("path_models")
    assert not any("the same assumption" in sentence for sentence in (*told, *summary.MODELS_ASSUMED.values()))


@pytest.mark.parametrize("at_once", [True, False])
def test_models_of_all_rows_are_told_where_there_are_any(study, at_once):
    def changed(table):
        return table.assign(method=table["method"].str.replace("one_stage", "two_stage_reml")) if not at_once else table

    tables = {question: {name: changed(table) for name, table in made.items()} for question, made in study.tables.items()}
    told = " ".join(sentence.text for sentence in methods_text.general(dataclasses.replace(study, tables=tables)))
    assert "only aggregated results" not in told
    assert ("models of the rows of all sites that share them stand beside" in told) is at_once


def test_the_folder_of_tables_is_where_the_page_says(study):
    page = report_study.rendered()["index.html"]
    assert "<code>../tables</code>" in page


def test_what_no_data_can_test_is_listed_with_its_lines_and_needs(study):
    page = html.unescape(report_study.rendered()["index.html"])
    part = page.split('<h2 id="not-testable">')[1].split("</section>")[0]
    assert len(study.guide.not_testable) == 4
    for claim in study.guide.not_testable:
        assert f"{claim.says} (the review, lines {str(claim.lines).replace('-', '–')})" in part and f"Needs {claim.needs}." in part


@pytest.mark.parametrize(
    ("missing", "words"),
    [("complete", "clients with all values"), ("likelihood", "full information"), ("imputed", "multiple imputation")],
)
def test_missing_data_are_told_as_they_were_handled(study, missing, words):
    options = copy.deepcopy(study.options)
    options["questions"]["alliance_outcome"]["headline"]["missing"] = missing
    told = summary.missing_data(dataclasses.replace(study, options=options))
    pooled = study.tables["alliance_outcome"]["pooled"]
    share = pooled.loc[pooled["site"].eq(POOLED) & pooled["headline"].eq("yes"), "share_missing"].iloc[0]
    assert words in told[1 if numbers.known(share) else 0] or not numbers.known(share)
    assert "no test can show" in told[-1]


def test_every_chapter_says_what_it_cannot_say():
    for chapter in report_study.chapters_built():
        assert chapter.limits, chapter.id


def addresses():
    return checklist_page.titles({name: text for name, text in report_study.rendered().items() if "/" not in name})


def test_an_item_whose_section_was_renamed_is_open(study):
    known = addresses()
    before = {one.item.key: one for one in checklist_page.resolve(study, known)}
    assert before["flow"].verdict == checklist_page.IN_REPORT and before["flow"].broken == ()
    renamed = {address: title for address, title in known.items() if address not in ("index.html#sites", "index.html#flow")}
    after = {one.item.key: one for one in checklist_page.resolve(study, renamed)}
    assert after["flow"].verdict == checklist_page.OPEN and after["flow"].broken == ("index.html#sites", "index.html#flow")


def test_an_item_of_a_question_that_is_not_asked_is_not_applicable_with_the_reason(study):
    resolved = {one.item.key: one for one in checklist_page.resolve(study, addresses())}
    assert resolved["growth"].verdict == checklist_page.NOT_APPLICABLE
    assert resolved["growth"].reason == "the course of the alliance is not asked for"


def test_what_only_the_authors_can_say_is_open_until_they_say_it(study):
    options = copy.deepcopy(study.options)
    options["study"]["simulated"] = False
    real = dataclasses.replace(study, options=options)
    known = addresses()
    ethics = next(one for one in checklist_page.resolve(real, known) if one.item.key == "ethics")
    assert ethics.verdict == checklist_page.OPEN and "report.statements.ethics" in ethics.reason
    options["report"]["statements"]["ethics"] = "Approved by a board."
    said = next(one for one in checklist_page.resolve(real, {**known, "index.html#statements": "Statements"}) if one.item.key == "ethics")
    assert said.verdict == checklist_page.STATED and said.places == (("index.html#statements", "Statements"),)
    assert study_page.statements(real) == [("Ethics", "Approved by a board.")]
    statements = {item.statement for item in study.guide.items if item.statement}
    assert statements == set(study_page.STATEMENTS) == set(options["report"]["statements"])


def test_the_design_and_the_main_result_stand_where_the_checklist_says(study):
    told = [sentence.text for sentence in methods_text.general(study)]
    assert any(text.startswith("Nobody was assigned to a good or a poor alliance") for text in told)
    assert any("all others are secondary" in text for text in told)
    statuses = [{**status, "site_facts": {"design": "naturalistic"} if place else {}} for place, status in enumerate(study.statuses)]
    told = " ".join(sentence.text for sentence in methods_text.general(dataclasses.replace(study, statuses=statuses)))
    assert f"naturalistic ({study.n_included - 1} sites)" in told and "1 site did not state a design" in told


def test_limits_of_a_chapter_have_an_address(study):
    limits = {one.item.key: one for one in checklist_page.resolve(study, addresses())}["limits"]
    assert ("index.html#alliance-outcome-limits", "What this can’t say") in limits.places


def test_where_data_can_be_had_is_asked_of_the_authors(study):
    options = copy.deepcopy(study.options)
    options["study"]["simulated"] = False
    resolved = {one.item.key: one for one in checklist_page.resolve(dataclasses.replace(study, options=options), addresses())}
    assert resolved["availability"].verdict == checklist_page.OPEN


def test_setting_and_design_of_sites_stand_in_their_table(study):
    facts = {"country": "NO", "setting": "outpatient", "design": "naturalistic"}
    statuses = [{**status, "site_facts": facts} for status in study.statuses]
    table = study_page.sites_table(dataclasses.replace(study, statuses=statuses))
    assert [column.label for column in table.columns][3:6] == ["Country", "Setting", "Design"]
    assert [cell.text for cell in table.rows[0][3:6]] == list(facts.values())


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("priorities.yaml", "a: {lines: 1-2, asks: x, chapter: y, answers: [{headline: no_such_one, says: z}]}\n", "no_such_one"),
        (
            "priorities.yaml",
            "a: {lines: 1-2, asks: x, chapter: y, answers: [{headline: alliance_outcome, above: z}]}\n",
            "above, below and open",
        ),
        ("jars.yaml", "title: {part: x, asks: y, plases: [z]}\n", "plases"),
        ("reviewer.yaml", "- a list\n", "no mapping"),
    ],
)
def test_a_guide_with_a_slip_is_refused_with_its_name(tmp_path, file, text, words):
    for path in GUIDE.glob("*.yaml"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / file).write_text(text, encoding="utf-8")
    with pytest.raises(GuideError, match=words):
        guide.read(tmp_path, PROJECT / "workflow" / "headlines.yaml")


def test_the_citation_holds_authors_year_title_and_version_and_its_bibtex_can_be_read(study):
    options = copy.deepcopy(study.options)
    options["study"] |= {
        "authors": [{"name": "Doe, Jane Q."}, {"name": "The R&D_group {100%}"}],
        "year": 2026,
        "version": "1.2",
        "title": "Ups & downs {of} it",
    }
    cited = dataclasses.replace(study, options=options)
    assert citation.apa(cited) == (
        "Doe, J. Q., & The R&D_group {100%} (2026). Ups & downs {of} it (Version 1.2) [Report on simulated data]. alliance-pipeline 0.1.0, "
        "data 0123456789ab, configuration abcdef012345."
    )
    (read,) = bibliography.parse(citation.bibtex(cited)).values()
    assert read.key == "doe_2026" and read.year == "2026"
    assert read.fields["title"].startswith("Ups & downs (of) it (Version 1.2)")
    assert "(n.d.)" in citation.apa(study)
