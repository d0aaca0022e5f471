"""The bibliography is read whole, rendered in APA style, and holds every work that anything cites."""

from __future__ import annotations

import re

import pytest
from alliance.instruments import load_registry
from alliance.questions import benchmarks
from alliance.reports import bibliography
from support import PROJECT

REFERENCES = bibliography.parse((PROJECT / "workflow" / "references.bib").read_text(encoding="utf-8"))
KEY = re.compile(r"[\"']([a-z]+(?:_[a-z]+)*_(?:19|20)\d\d[a-z]?)[\"']")
CHECKED = """
@article{hu_bentler_1999,
  author = {Hu, Li-tze and Bentler, Peter M.}, year = 1999,
  title = "Cutoff criteria for {fit} indexes",
  journal = {Structural Equation Modeling}, volume = {6}, number = {1}, pages = {1--55}, doi = {10.1080/10705519909540118}}
@incollection{brennan_1998, author = {Brennan, Kelly A. and Clark, Catherine L. and Shaver, Phillip R.}, year = {1998},
  title = {Self-report measurement of adult attachment: An integrative overview}, booktitle = {Attachment theory and close relationships},
  pages = {46--76}, publisher = {Guilford Press}}
"""


def test_an_article_and_a_chapter_are_rendered_in_apa_style():
    read = bibliography.parse(CHECKED)
    assert bibliography.entry(read["hu_bentler_1999"]) == (
        "Hu, L.-t., & Bentler, P. M. (1999). Cutoff criteria for fit indexes. Structural Equation Modeling, 6(1), 1–55. "
        "https://doi.org/10.1080/10705519909540118"
    )
    assert bibliography.entry(read["brennan_1998"]) == (
        "Brennan, K. A., Clark, C. L., & Shaver, P. R. (1998). Self-report measurement of adult attachment: An integrative overview. "
        "In Attachment theory and close relationships (pp. 46–76). Guilford Press."
    )


def test_citations_name_one_two_or_the_first_of_many_authors_and_come_in_order():
    read = bibliography.parse(CHECKED)
    assert bibliography.cited(read, ["hu_bentler_1999", "brennan_1998", "brennan_1998"]) == "(Brennan et al., 1998; Hu & Bentler, 1999)"


def test_a_key_that_is_not_in_the_bibliography_stands_as_it_is():
    assert bibliography.cited({}, ["own_study_2024"]) == "(own_study_2024)"


@pytest.mark.parametrize(
    "broken", ["@article{a_1999, title = {no end", "@article{a_1999, title = {x}", "@misc{a, title={x}} @misc{a, title={y}}"]
)
def test_a_broken_bibliography_is_refused_with_the_entry_named(broken):
    with pytest.raises(bibliography.BibliographyError, match="a"):
        bibliography.parse(broken)


def test_every_entry_has_author_year_and_title_and_its_key_names_author_and_year():
    for key, reference in REFERENCES.items():
        assert {"author", "year", "title"} <= set(reference.fields), key
        assert key.endswith(reference.year), key
        family = re.sub(r"[^a-z]", "", reference.authors[0][0].lower().translate(str.maketrans("öüé", "oue")))
        assert key.replace("_", "").startswith(family), key


def test_everything_that_code_instruments_and_published_figures_cite_is_in_the_bibliography():
    cited = {benchmark.citation for benchmark in benchmarks.read(PROJECT / "workflow" / "benchmarks.yaml")}
    for instrument in load_registry([PROJECT / "workflow" / "instruments"]).values():
        cited |= set(instrument.reference)
    for path in (PROJECT / "scripts" / "alliance").rglob("*.py"):
        cited |= set(KEY.findall(path.read_text(encoding="utf-8")))
    assert cited - set(REFERENCES) == set()
