"""Pages tell who took part in words and tables, and a site's page tells of no few people elsewhere."""

from __future__ import annotations

import copy
import dataclasses
import html
import re

import pandas as pd
import pytest
import report_study
from alliance.publishing.disclosure import gate
from alliance.questions.client_factors.participants import OTHER_WORDS
from alliance.questions.contract import POOLED
from alliance.questions.summary import SiteSummary
from alliance.reports import checklist_page, methods_text, numbers, pages, participants
from published_study import PUBLIC
from unit import participating_sites
from unit.participating_sites import taking_part

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def study():
    return report_study.study()


def with_participants(study, table: pd.DataFrame, **other):
    tables = {**study.tables, "client_factors": {**study.tables["client_factors"], "participants": table}}
    return dataclasses.replace(study, tables=tables, **other)


def value(study, site: str, characteristic: str, kind: str, category: str = "", person: str = "client") -> float:
    table = study.tables["client_factors"]["participants"]
    keys = {"site": site, "characteristic": characteristic, "estimate_type": kind, "category": category, "person": person}
    (found,) = table.query(" and ".join(f"{name} == {text!r}" for name, text in keys.items()))["estimate"]
    return float(found)


def cells(table, first: str) -> dict[str, str]:
    row = next(row for row in table.rows if row[0].text == first)
    return {column.label: cell.text.replace(numbers.SPACE, " ") for column, cell in zip(table.columns, row, strict=True)}


def test_the_numbers_of_the_text_are_those_of_the_table(study):
    told = " ".join(participants.sentences(study)).replace(numbers.SPACE, " ")
    mean, spread = value(study, POOLED, "age", "mean"), value(study, POOLED, "age", "standard_deviation")
    assert f"{mean:.2f} years old on average (SD = {spread:.2f})" in told
    for category in ("female", "male", "other"):
        assert f"{category} {numbers.percent(value(study, POOLED, 'gender', 'share', category))}" in told
    each = value(study, POOLED, "clients_per_therapist", "mean", person="therapist")
    assert f"{each:.2f} each on average" in told
    assert "Not known: gender of 1.3% of the clients." in told


def test_the_table_has_every_site_and_all_of_them_and_says_what_is_lacking(study):
    clients, therapists = participants.tables(study)
    assert [row[0].text for row in clients.rows] == [*report_study.LABELS.values(), "All sites"]
    cedar = cells(clients, report_study.LABELS["cedar"])
    assert cedar["Gender"] == "female 64% (36), male 32% (18), other 4% (2)" and cedar["Gender: not known"] == "6.7%"
    assert cells(clients, report_study.LABELS["willow"])["Remark"] == "Site left out"
    assert cells(therapists, report_study.LABELS["cedar"])["Therapists"] == "10"
    assert "“1” " in cells(therapists, "All sites")["Training"]


def test_published_shares_show_no_counts_and_name_what_is_withheld(study):
    made = gate(study, {}, PUBLIC).data
    clients, _ = participants.tables(made)
    shown = cells(clients, "All sites")["Gender"]
    assert "female" in shown and "withheld" in shown and "(" not in shown
    assert clients.note.endswith("withheld: it would tell of few people.")
    assert pages.render_all(made, report_study.TEMPLATES)


def test_words_that_sites_sent_are_only_ever_text(study):
    twice = [taking_part(name, 40, seed, {"female": 20, HOSTILE: 20}) for seed, name in enumerate(("birch", "cedar"))]
    once = taking_part("elm", 40, 5, {"female": 30, "=cmd()": 4, "x" * 60: 6})
    text = pages.render_all(with_participants(study, participating_sites.table([*twice, once])), report_study.TEMPLATES)["index.html"]
    assert HOSTILE not in text and html.escape(HOSTILE) in text
    assert "=cmd()" not in text and "x" * 60 not in text and OTHER_WORDS in html.unescape(text)


def test_a_single_site_is_told_by_its_own_numbers_and_none_by_what_is_needed(study):
    alone = with_participants(study, participating_sites.table([taking_part("birch", 30, 1)]))
    assert participants.sentences(alone)[0].startswith("The 30 clients were")
    nobody = with_participants(study, participating_sites.table([], SiteSummary(site="birch", question="client_factors")))
    assert participants.sentences(nobody) and "not estimable: needs" in participants.sentences(nobody)[0]
    off = dataclasses.replace(study, tables={})
    assert "questions.client_factors.enabled" in participants.sentences(off)[0] and not participants.tables(off)


@pytest.mark.parametrize(("others", "hidden"), [(9, True), (10, False)])
def test_a_sites_page_hides_what_would_tell_of_few_clients_elsewhere(study, others, hidden):
    made = with_participants(
        study, participating_sites.table([taking_part("birch", 40, 1), taking_part("cedar", others, 2, {"female": others})])
    )
    age = cells(participants.site_table(made, "birch"), "Age")
    assert (age["All sites"] == "withheld") is hidden and age["This site"] != "withheld"


@pytest.mark.parametrize(("elsewhere", "hidden"), [(1, ("male", "other")), (9, ("male", "other")), (10, ()), (0, ())])
def test_of_genders_elsewhere_never_a_single_one_is_hidden(study, elsewhere, hidden):
    rest = {"female": 40, "male": 20, "other": elsewhere}
    sites = [taking_part("birch", 60, 1, {"female": 30, "male": 20, "other": 10}), taking_part("cedar", sum(rest.values()), 2, rest)]
    shown = cells(participants.site_table(with_participants(study, participating_sites.table(sites)), "birch"), "Gender")
    assert "withheld" not in shown["This site"]
    for category in ("female", "male", "other"):
        told = re.search(rf"\b{category} \d", shown["All sites"])
        assert (told is None) is (category in hidden)


def test_the_reporting_standard_finds_participants_in_the_report_and_what_the_authors_add(study):
    options = copy.deepcopy(study.options)
    options["study"]["simulated"] = False
    real = dataclasses.replace(study, options=options)
    known = checklist_page.titles(report_study.rendered())

    def found(addresses):
        return next(one for one in checklist_page.resolve(real, addresses) if one.item.key == "demographics")

    places = ["index.html#participants", "index.html#participants-therapists"]
    assert found(known).verdict == checklist_page.IN_REPORT and [place for place, _ in found(known).places] == places
    assert "report.statements.participants" in found(known).reason
    without = {place: title for place, title in known.items() if place not in places}
    assert found(without).verdict == checklist_page.OPEN
    options["report"]["statements"]["participants"] = "All had a diagnosis of depression."
    assert [place for place, _ in found(known).places] == [*places, "index.html#statements"]
    assert found(without).verdict == checklist_page.OPEN or found(without).places


def test_the_methods_say_how_sites_were_put_together(study):
    told = [sentence.text for sentence in methods_text.general(study)]
    assert any("the variance within sites and that of the sites' means" in text for text in told)
    assert not any("standard deviation holds" in one.text for one in methods_text.general(dataclasses.replace(study, tables={})))
