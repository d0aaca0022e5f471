"""The chapter on client factors says which way a number points, and sets the review's words beside the new numbers."""

from __future__ import annotations

import dataclasses

import pytest
import report_study
from alliance.questions import benchmarks
from alliance.questions.contract import POOLED
from alliance.reports.chapters import client_factors
from alliance.reports.elements import Fold

TURNED = "Intake severity (sign turned)"


@pytest.fixture(scope="module")
def study():
    """Return the invented study with the test of severity against a bound."""
    made = report_study.study()
    factors = made.tables["client_factors"]["factors"]
    severity = factors["factor"].eq("intake_severity") & factors["site"].eq(POOLED) & factors["headline"].eq("yes")
    tested = factors.assign(
        decision=factors["decision"].mask(severity, "undecided"),
        bound=factors["bound"].mask(severity, 0.1),
        p_equivalence=factors["p_equivalence"].mask(severity, 0.3),
    )
    tables = {**made.tables["client_factors"], "factors": tested}
    return dataclasses.replace(made, tables={**made.tables, "client_factors": tables})


@pytest.fixture(scope="module")
def chapter(study):
    return client_factors.build(study)


def blocks(chapter):
    for block in chapter.blocks:
        yield from block.blocks if isinstance(block, Fold) else (block,)


def block_of(chapter, id):
    return next(block for block in blocks(chapter) if block.id == id)


def test_a_factor_whose_sign_was_turned_is_named_so_wherever_its_number_stands(chapter):
    sentence = next(one for one in chapter.findings if one.startswith("Tested against"))
    assert "intake severity (sign turned) −.0" in sentence
    assert sentence.endswith("Of intake severity the sign was turned: above zero, less of it goes with a better alliance.")
    for id in ("published-client-factors", "factors-sites", "factors-windows", "factors-therapists"):
        names = [row[0].text for row in block_of(chapter, id).rows]
        assert TURNED in names and "Social relations" in names, id
    assert f"{TURNED} " in block_of(chapter, "factor-forest").alt


def test_the_word_of_the_review_stands_where_it_gives_no_figure(chapter):
    table = block_of(chapter, "factor-categories")
    place = [column.label for column in table.columns].index("Published")
    shown = {(row[0].text, row[1].text): row[place].text for row in table.rows}
    assert shown["Diagnostic", "random-effects mean"] == shown["Diagnostic", "mean weighted by clients"] == "small"
    assert shown["Interpersonal", "random-effects mean"] == ".32" and shown["Intrapersonal", "mean weighted by clients"] == ".30"
    told = next(one for one in chapter.findings if one.startswith("Diagnostic factors correlate"))
    assert "The review says that severity has a small impact and gives no figure." in told
    rows = [row for row in block_of(chapter, "published-client-factors").rows if row[0].text == TURNED]
    assert [row[2].text for row in rows] == ["small"]


def test_a_word_beside_a_figure_is_refused(tmp_path):
    path = tmp_path / "benchmarks.yaml"
    entry = "question: client_factors, table: factors, where: {}, unit: r, lines: 1-2, citation: a, note: b, words: small"
    path.write_text(f"X1:\n  - {{value: null, {entry}}}\n", encoding="utf-8")
    assert [one.words for one in benchmarks.read(path)] == ["small"]
    path.write_text(f"X1:\n  - {{value: 0.1, {entry}}}\n", encoding="utf-8")
    with pytest.raises(benchmarks.BenchmarkError, match="words is no text, or stands beside a value"):
        benchmarks.read(path)
