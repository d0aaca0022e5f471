"""The chapter on client and therapist says what its tables say, draws a surface only where there are data, and names what is lacking."""

from __future__ import annotations

import dataclasses
import re
from xml.etree import ElementTree

import pandas as pd
import pytest
import report_study
from alliance.questions.contract import POOLED
from alliance.reports import numbers, site_page
from alliance.reports.chapters import congruence
from alliance.reports.elements import Figure, Fold, Table
from alliance.reports.figures_congruence import Region, expected, points, surface_map


@pytest.fixture(scope="module")
def study():
    return report_study.study()


@pytest.fixture(scope="module")
def chapter(study):
    return congruence.build(study)


def changed(study, name: str, **columns):
    """Return the study with a table of the question changed by functions of it, one a column."""
    tables = dict(study.tables["congruence"])
    tables[name] = tables[name].assign(**columns)
    return dataclasses.replace(study, tables={**study.tables, "congruence": tables})


def block(chapter, id: str):
    return next(one for one in chapter.blocks if one.id == id)


def pooled(study, name: str, **keys: str) -> pd.Series:
    rows = study.tables["congruence"][name]
    rows = rows[rows["site"].eq(POOLED)]
    for key, value in keys.items():
        rows = rows[rows[key].eq(value)]
    return rows.iloc[0]


def test_the_headline_says_who_is_higher_with_the_number_of_the_table(study, chapter):
    row = pooled(study, "agreement", statistic="first minus second", headline="yes")
    assert chapter.headlines[0].startswith("Clients rate the alliance higher than their therapists")
    assert f"client minus therapist {numbers.decimal(row['estimate'])} SD" in chapter.headlines[0]


def test_an_interval_that_holds_zero_leaves_open_who_is_higher_and_a_negative_one_turns_it(study):
    table = study.tables["congruence"]["agreement"]
    difference = table["statistic"].eq("first minus second")
    open_one = changed(study, "agreement", ci_low=table["ci_low"].mask(difference, -0.2))
    assert "who is higher stays open" in congruence.build(open_one).headlines[0]
    turned = {"estimate": table["estimate"].mask(difference, -0.3), "ci_low": table["ci_low"].mask(difference, -0.5)}
    turned["ci_high"] = table["ci_high"].mask(difference, -0.1)
    assert congruence.build(changed(study, "agreement", **turned)).headlines[0].startswith("Therapists rate the alliance higher")


def test_tracking_moderators_and_whose_rating_predicts_are_told_in_sentences(study, chapter):
    told = " ".join(chapter.findings)
    row = pooled(study, "truth_and_bias", term="tracking within clients", headline="yes")
    assert f"ups and downs by {numbers.decimal(row['estimate'])}" in told
    assert "training (tracking" in told and "without correction for the number of moderators" in told
    assert "the interval of own rating leaves out zero" in told
    assert re.search(r"task minus bond −0\.\d\d|task minus bond −\.\d\d", told)


def test_moderators_that_change_nothing_are_not_said_to_have_no_effect(study):
    table = study.tables["congruence"]["truth_and_bias"]
    moderated = table["moderator"].ne("")
    flat = changed(study, "truth_and_bias", ci_low=table["ci_low"].mask(moderated, -0.5), ci_high=table["ci_high"].mask(moderated, 0.5))
    assert any(
        "None of the moderators changes" in text and "none is thereby shown not to" in text for text in congruence.build(flat).findings
    )


def test_a_surface_that_supports_its_claim_is_told_and_others_stay_undecided(chapter):
    told = " ".join(chapter.findings)
    assert "Dominance and alliance: the surface speaks for the claim that it is best when one is what the other is not (" in told
    assert "rows of all sites at once" in told and "stays undecided for: Alliance and outcome." in told


def test_the_drawn_surface_is_the_one_that_speaks_for_its_claim(chapter):
    drawn = [one for one in chapter.blocks if isinstance(one, Figure) and one.id.startswith("surface-")]
    assert [one.id for one in drawn] == ["surface-dominance-alliance-client"]
    assert "curvature −0.80" in drawn[0].alt and "speaks for the claim" in drawn[0].alt
    root = ElementTree.fromstring(drawn[0].svg)
    assert float(root.get("width").removesuffix("pt")) <= 320 and len(drawn[0].svg) < 20_000


def test_a_drawn_surface_is_told_from_its_middle_since_every_site_has_a_level_of_its_own(study, chapter):
    drawn = next(one for one in chapter.blocks if one.id == "surface-dominance-alliance-client")
    assert "differences from what is expected where both are at the mean of both together" in drawn.note
    rows = study.tables["congruence"]["response_surface"]
    level = rows[rows["surface"].eq("dominance_alliance") & rows["term"].eq("b1") & rows["site"].eq(POOLED)].assign(term="b0", estimate=5.0)
    with_level = pd.concat([rows, level], ignore_index=True)
    tables = {**study.tables["congruence"], "response_surface": with_level}
    again = congruence.build(dataclasses.replace(study, tables={**study.tables, "congruence": tables}))
    assert next(one for one in again.blocks if one.id == drawn.id).svg == drawn.svg
    assert congruence.side_words("therapists.dominance") == "therapist’s dominance"


def test_axes_of_a_surface_without_sure_curvature_are_not_told(study):
    rows = study.tables["congruence"]["response_surface"]
    axes = rows["surface"].eq("dominance_alliance") & rows["term"].isin(["p10 = 0", "p11 = -1", "verdict"])
    reason = "no sure curvature (b3, b4 and b5 together do not differ from zero): axes may lie anywhere"
    made = congruence.build(changed(study, "response_surface", reason=rows["reason"].mask(axes, reason)))
    told = next(row for row in block(made, "congruence-details").blocks[0].rows if row[0].text == "Dominance and alliance")[1].text
    assert told == "p10 = 0: open, no sure curvature; p11 = -1: open, no sure curvature"
    claim = next(row for row in block(made, "congruence-surfaces").rows if row[0].text == "Dominance and alliance")[1].text
    assert claim.endswith("curvature as a whole is not sure")
    assert any("curvature as a whole is not sure, so that the axes decide nothing" in text for text in made.findings)


def test_the_main_scale_comes_first_where_bias_and_tracking_are_listed(chapter):
    rows = [row[0].text for row in block(chapter, "congruence-tracking").rows]
    scales = [text for text in rows if " minus " not in text]
    assert rows[0] == "Total" and rows[: len(scales)] == scales and "therapist rates higher" in block(chapter, "congruence-tracking").note


def test_shares_of_clients_in_each_band_stand_in_the_table_with_their_intervals(study, chapter):
    rows = {row[1].text: row[2].text for row in block(chapter, "congruence-agreement").rows}
    for name, words in (
        ("agree", "agree within"),
        ("client higher", "the client is higher"),
        ("therapist higher", "the therapist is higher"),
    ):
        own = pooled(study, "agreement", statistic=name, definition=congruence.COMMON_SD, instrument_scale="total")
        shown = next(text for label, text in rows.items() if words in label)
        assert shown.startswith(f"{numbers.percent(own['estimate'])} [{numbers.percent(own['ci_low'])}")


def test_no_surface_is_drawn_where_it_is_not_known_where_the_data_lie(study):
    table = study.tables["congruence"]["response_surface"]
    without = table[~table["term"].isin(["x_mean", "x_sd"])].reset_index(drop=True)
    tables = {**study.tables["congruence"], "response_surface": without}
    made = congruence.build(dataclasses.replace(study, tables={**study.tables, "congruence": tables}))
    assert not any(one.id.startswith("surface-") for one in made.blocks)


def test_every_surface_of_the_configuration_has_a_row_with_its_lines_or_what_it_needs(study, chapter):
    table = block(chapter, "congruence-surfaces")
    assert isinstance(table, Table) and len(table.rows) == len(list(congruence.surfaces(study)))
    texts = {row[0].text: [cell.text for cell in row] for row in table.rows}
    assert any("has 5" in text for text in texts["Alliance and dropout"])
    assert texts["Dominance and alliance"][1] == "Speaks for the claim that it is best when one is what the other is not"
    assert any("needs at least 12 clients" in text for text in chapter.missing)


def test_shares_of_clients_are_drawn_only_where_no_part_holds_fewer_than_ten(study, chapter):
    assert block(chapter, "congruence-bands").alt.startswith("Shares of clients. total: agree")
    table = study.tables["congruence"]["agreement"]
    few = changed(study, "agreement", estimate=table["estimate"].mask(table["statistic"].eq("therapist higher"), 0.02))
    made = congruence.build(few)
    assert not any(one.id == "congruence-bands" for one in made.blocks)
    assert not any("higher by more" in row[1].text for row in block(made, "congruence-agreement").rows)


def test_moderators_share_a_row_of_bias_and_tracking_and_lacking_ones_say_why(chapter):
    rows = {row[0].text: [cell.text for cell in row] for row in block(chapter, "congruence-moderators").rows}
    assert set(rows) == {"Training", "Session", "Client attachment anxiety"}
    assert any("attachment_anxiety" in text for text in rows["Client attachment anxiety"])


def test_conditions_stand_behind_a_fold_with_their_decisions(chapter):
    fold = block(chapter, "congruence-details")
    assert isinstance(fold, Fold)
    text = " ".join(cell.text for row in fold.blocks[0].rows for cell in row)
    assert "p11 = -1" in text and "shown" in text and "full .60; additive .40" in text


def test_means_of_raters_are_compared_only_as_the_test_of_invariance_allows(chapter):
    assert any("WAI-36: means may not be compared" in limit for limit in chapter.limits)


def test_site_pages_show_agreement_of_the_preferred_measure(study):
    tables = site_page.estimate_tables(study, "birch")
    own = next(one for one in tables if "Client and therapist" in one.caption)
    assert {row[0].text for row in own.rows} >= {"ICC(2,1)", "Client minus therapist (SD)"}


def test_the_map_covers_two_standard_deviations_and_draws_the_same_bytes_again():
    region = Region(0.1, -0.1, 1.0, 0.8, 0.5)
    ring = points(region)[-1]
    assert max(x for x, _ in ring) == pytest.approx(2.1) and max(y for _, y in ring) == pytest.approx(-0.1 + 1.6, abs=0.01)
    assert expected((1, 1, 0, -0.5, 1, -0.5), 2, 2) == pytest.approx(3)
    arguments = {"x_label": "client", "y_label": "therapist", "outcome": "Outcome (SD)", "ridge": (0.0, 1.0)}
    first, again = (surface_map((0, 0, 0, -0.2, 0.4, -0.2), region, **arguments) for _ in range(2))
    assert first == again
    flat = surface_map((0, 0, 0, 0, 0, 0), region, x_label="client", y_label="therapist", outcome="Outcome (SD)")
    assert ElementTree.fromstring(flat) is not None
