"""The chapter on interventions says what its tables say and no more, and names what is lacking."""

from __future__ import annotations

import dataclasses

import pytest
import report_study
from alliance.questions.contract import POOLED
from alliance.reports import numbers, site_page
from alliance.reports.chapters import interventions
from alliance.reports.elements import Fold, Table

LAGGED = {"topic": "frequency", "explained": "alliance", "part": "within_clients", "compared_with": "all_sessions", "window": "all"}


@pytest.fixture(scope="module")
def study():
    return report_study.study()


@pytest.fixture(scope="module")
def chapter(study):
    return interventions.build(study)


def chosen(table, **keys):
    rows = table["site"].eq(POOLED)
    for name, value in keys.items():
        rows &= table[name].eq(value)
    return rows


def changed(study, name, rows, **values):
    """Return the study with values of some rows of a table of the question changed."""
    tables = dict(study.tables["interventions"])
    table = tables[name].copy()
    for column, value in values.items():
        table.loc[rows, column] = value
    return dataclasses.replace(study, tables={**study.tables, "interventions": {**tables, name: table}})


def test_the_headline_tells_events_whose_intervals_leave_out_zero(study, chapter):
    table = study.tables["interventions"]["events"]
    for event in ("challenges", "involvement"):
        row = table[chosen(table, event=event, **LAGGED)].iloc[0]
        assert row["ci_low"] > 0 or row["ci_high"] < 0
        assert f"{event} ({numbers.bounded(row['estimate'])}" in chapter.headlines[0]
    assert "interpretations (" not in chapter.headlines[0]


def test_nothing_is_claimed_where_every_interval_holds_zero(study):
    rows = chosen(study.tables["interventions"]["events"], **LAGGED)
    told = interventions.build(changed(study, "events", rows, ci_low=-0.5, ci_high=0.5)).headlines[0]
    assert "none is followed by an alliance that surely differs" in told


@pytest.mark.parametrize(("verdict", "words"), [("inverted_u", "a middle amount is best"), ("not_shown", "no turn of the curve is shown")])
def test_a_middle_amount_is_called_best_only_where_two_lines_say_so(study, verdict, words):
    rows = chosen(study.tables["interventions"]["curvilinear"], term="inverted_u", part="within_clients")
    found = interventions.build(changed(study, "curvilinear", rows, decision=verdict)).findings
    (sentence,) = [one for one in found if one.startswith("Within clients, interpretations")]
    assert words in sentence


def test_help_where_the_alliance_is_poor_stays_open_where_the_interval_holds_zero(study):
    rows = chosen(study.tables["interventions"]["events"], term="attention, initial level - 1 SD")
    for low, high, words in ((0.1, 0.5, "at first helps:"), (-0.2, 0.5, "stays open"), (-0.5, -0.1, "at first harms:")):
        found = interventions.build(changed(study, "events", rows, estimate=(low + high) / 2, ci_low=low, ci_high=high)).findings
        assert sum(words in one for one in found) == 1


def test_what_follows_from_the_alliance_is_told_from_earlier_sessions_alone(study, chapter):
    keys = {**LAGGED, "explained": "event"}
    table = study.tables["interventions"]["events"]
    rows = chosen(table, **{**keys, "compared_with": "earlier_sessions"})
    sentence = next(one for one in chapter.findings if one.startswith("The other way round"))
    assert f"fewer challenges ({numbers.bounded(table[rows & table['event'].eq('challenges')]['estimate'].iloc[0])}" in sentence
    silent = interventions.build(changed(study, "events", rows, ci_low=-0.5, ci_high=0.5)).findings
    assert any("no event is shown to follow from the alliance" in one for one in silent)
    biased = interventions.build(changed(study, "events", chosen(table, **keys), estimate=0.9, ci_low=0.8, ci_high=1.0)).findings
    assert sentence in biased


@pytest.mark.parametrize(("low", "high", "words"), [(0.1, 0.5, "The same shows"), (-0.5, 0.5, "none of this is sure")])
def test_what_events_bring_is_told_with_what_earlier_sessions_alone_show(study, low, high, words):
    keys = {**LAGGED, "compared_with": "earlier_sessions"}
    rows = chosen(study.tables["interventions"]["events"], **keys)
    assert words in interventions.build(changed(study, "events", rows, ci_low=low, ci_high=high)).headlines[0]


@pytest.mark.parametrize(
    ("low", "high", "words"), [(-0.5, -0.1, "is followed by a worse alliance"), (-0.5, 0.1, "stays open"), (0.1, 0.5, "by a better")]
)
def test_complementary_replies_to_hostile_clients_are_told_as_their_interval_allows(study, low, high, words):
    rows = chosen(study.tables["interventions"]["events"], topic="complementarity", estimate_type="slope_standardised")
    found = interventions.build(changed(study, "events", rows, ci_low=low, ci_high=high)).findings
    (sentence,) = [one for one in found if "complements hostile behaviour" in one]
    assert words in sentence


def test_odds_ratios_of_all_rows_stand_before_pooled_ones(study):
    table = study.tables["interventions"]["transitions"]
    rows = chosen(table, topic="after_event", model="multilevel", estimate_type="odds_ratio")
    one = interventions.build(changed(study, "transitions", rows, method="logit_one_stage"))
    table = next(block for block in one.blocks if isinstance(block, Table) and block.id == "interventions-transitions-table")
    assert any("rows of all sites" in [cell.text for cell in row] for row in table.rows)


def test_what_is_lacking_is_named(chapter):
    assert any("Avoidance" in text and "at least 2 sites" in text for text in chapter.missing)


def test_tables_have_a_cell_for_every_column(chapter):
    blocks = [part for block in chapter.blocks for part in (block.blocks if isinstance(block, Fold) else (block,))]
    tables = [block for block in blocks if isinstance(block, Table)]
    assert len(tables) == 5 and all(len(row) == len(table.columns) for table in tables for row in table.rows)


def test_pages_of_sites_show_their_events(study):
    rows = site_page.ESTIMATES["interventions"][0](study)
    assert len(rows) and rows["explained"].eq("alliance").all() and rows["part"].eq("within_clients").all()
