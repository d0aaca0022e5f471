"""The chapter on measurement says what its rows say, whichever of its two questions is on, and however many sites there are."""

from __future__ import annotations

import dataclasses
import html
from xml.etree import ElementTree

import pandas as pd
import pytest
import report_study
from alliance.questions import contract
from alliance.questions.contract import POOLED
from alliance.reports import drawing, figures_measurement, numbers, pages, site_page, study_page
from alliance.reports.chapters import measurement, measurement_overlap, measurement_reliability, measurement_structure, order
from alliance.reports.elements import Figure, Part, Table

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}'


@pytest.fixture(scope="module")
def study():
    return report_study.study()


@pytest.fixture(scope="module")
def chapter(study):
    return measurement.build(study)


def with_tables(study, question, **tables):
    return dataclasses.replace(study, tables={**study.tables, question: {**study.tables[question], **tables}})


def of_measures(study):
    return report_study.only(study, *measurement.QUESTIONS)


def block(chapter, id):
    return next(one for one in chapter.blocks if one.id == id)


def ids(chapter):
    return [one.id for one in chapter.blocks]


def pooled(study, question, name, **keys):
    """Return the one pooled row with the given values."""
    table = study.tables[question][name]
    chosen = table[table["site"].eq(POOLED)]
    for column, wanted in keys.items():
        chosen = chosen[chosen[column].eq(wanted)]
    assert len(chosen) == 1, f"{len(chosen)} rows"
    return chosen.iloc[0]


def test_the_invented_tables_keep_the_contract(study):
    for question in measurement.QUESTIONS:
        for name, table in study.tables[question].items():
            contract.check(table, question, name)


def test_one_chapter_answers_both_questions_in_the_order_of_the_argument(chapter):
    built = report_study.chapters_built()
    assert [one.id for one in built].count("measurement") == 1 and not [one for one in built if one.id == "convergent-validity"]
    parts = [one.id.removeprefix("measurement-") for one in chapter.blocks if isinstance(one, Part)]
    order = ["reliability", "observers", "overlap", "content", "structure", "cores", "invariance", "raters", "composite", "prediction"]
    assert parts == order


@pytest.mark.parametrize(
    ("off", "there", "gone"),
    [
        ("convergent_validity", ("reliability-scales", "structure-fit", "invariance"), ("overlap-map-total", "predictive-contrasts")),
        ("measurement", ("overlap-map-total", "overlap", "predictive-contrasts"), ("reliability-scales", "structure-fit")),
    ],
)
def test_the_chapter_stands_when_one_question_is_off(study, off, there, gone):
    given = report_study.only(study, *({*measurement.QUESTIONS} - {off}))
    found = next(one for one in order.build(given) if one.id == "measurement")
    assert set(there) <= set(ids(found)) and not set(gone) & set(ids(found))
    assert found.findings and found.headlines
    assert "measurement" in pages.render_all(given, report_study.TEMPLATES)["index.html"]


def test_without_both_questions_there_is_no_chapter(study):
    given = report_study.only(study, "alliance_outcome", "early_gains", "dropout")
    assert "measurement" not in [one.id for one in order.build(given)]


def test_methods_of_both_questions_are_told_each_sentence_once(study):
    told = next(
        one for one in study_page.content(of_measures(study), order.build(of_measures(study)))["chapters"] if one.id == "measurement"
    ).methods
    assert any("Reliability was estimated" in one for one in told) and any(
        "alliance measures" in one or "pairs" in one.lower() for one in told
    )
    assert len(told) == len(set(told))


def test_the_first_sentence_names_the_least_and_the_most_reliable_total(study, chapter):
    table = study.tables["measurement"]["reliability"]
    rows = table[table["site"].eq(POOLED) & table["headline"].eq("yes") & table["instrument_scale"].eq("total") & table["estimate"].notna()]
    sentence = chapter.findings[0]
    for value in (rows["estimate"].min(), rows["estimate"].max()):
        assert numbers.bounded(value, 2) in sentence
    assert f"that is, {numbers.percent(rows['estimate'].min())} of the differences between clients" in sentence


def test_the_table_of_scales_marks_the_coefficient_to_read_first_and_shows_the_others_beside(study, chapter):
    table = block(chapter, "reliability-scales")
    labels = [column.label for column in table.columns]
    row = next(one for one in table.rows if (one[0].text, one[1].text) == ("WAI-SR bond", "client"))
    by_label = dict(zip(labels, row))
    keys = {"instrument": "wai_sr", "rater": "client", "instrument_scale": "bond"}
    assert by_label["Read first"].text == "categorical ω"
    for label, kind in (("α", "alpha"), ("ω", "omega_total"), ("Categorical ω", "omega_ordinal")):
        assert by_label[label].value == pooled(study, "measurement", "reliability", estimate_type=kind, **keys)["estimate"]
    weakest = pooled(study, "measurement", "reliability", item="7", estimate_type="item_rest_correlation", **keys)["estimate"]
    assert by_label["Weakest item (item-rest r)"].text == f"item 7 ({numbers.bounded(weakest, 2)})"
    assert next(one for one in table.rows if one[0].text == "HAq-II total")[labels.index("Read first")].text == "ω"


def test_scales_below_the_limit_of_the_configuration_are_named_and_no_others(study, chapter):
    sentence = block(chapter, "measurement-reliability").sentences[0]
    assert sentence.startswith("Below .70") and "WAI-SR bond, client" in sentence and "total" not in sentence
    table = study.tables["measurement"]["reliability"]
    better = table.assign(estimate=table["estimate"].where(table["instrument_scale"].ne("bond"), 0.8))
    told = measurement_reliability.low_sentence(with_tables(study, "measurement", reliability=better))
    assert told.startswith("No scale is below .70")


def test_the_figures_of_the_review_stand_beside_the_raters_they_belong_to(study, chapter):
    sentence = block(chapter, "measurement-reliability").sentences[1]
    therapist = pooled(study, "measurement", "reliability", instrument="(preferred)", rater="therapist", estimate_type="alpha")
    assert f"therapist α {numbers.bounded(therapist['estimate'], 2)}" in sentence and "(the review: about .93)" in sentence
    assert "(the review: about .82)" in sentence.partition("observer")[2]
    assert "the review" not in sentence.partition("therapist")[0]


def test_the_dot_plot_tells_every_pooled_value_and_holds_the_sites(study, chapter):
    figure = block(chapter, "reliability-by-site")
    row = pooled(study, "measurement", "reliability", instrument="haq_2", estimate_type="omega_total", headline="yes")
    assert f"HAq-II total, client (ω) {numbers.bounded(row['estimate'], 2)}" in figure.alt
    assert {one[2].text for one in figure.data.rows} >= {report_study.LABELS["birch"], report_study.LABELS["oak"]}


def test_very_many_sites_become_one_row_a_measure(study):
    table = study.tables["measurement"]["reliability"]
    elm = table[table["site"] == "elm"]
    many = pd.concat([table, *(elm.assign(site=f"site_{number:03d}") for number in range(500))], ignore_index=True)
    given = with_tables(study, "measurement", reliability=many)
    figure = block(measurement.build(given), "reliability-by-site")
    assert len(figure.data.rows) == 3 and all(row[2].text == "All sites, pooled" for row in figure.data.rows)
    assert "reliability.csv" in figure.data.note and "middle 80% of the sites" in figure.note
    assert len(figure.svg) < 200_000
    few, text = (pages.render_all(one, report_study.TEMPLATES)["index.html"] for one in map(of_measures, (study, given)))
    assert text.count("<") < few.count("<") + 500


def test_the_map_shows_shared_variance_below_and_corrected_values_above(study, monkeypatch):
    pairs = study.tables["convergent_validity"]["pairs"]
    raw = pairs[pairs["estimate_type"].eq("correlation") & pairs["estimate"].notna()]
    corrected = raw.assign(estimate_type="correlation_disattenuated", estimate=raw["estimate"] / 0.7)
    given = with_tables(study, "convergent_validity", pairs=pd.concat([pairs, corrected], ignore_index=True))
    seen = []
    monkeypatch.setattr(figures_measurement, "overlap_map", lambda *drawn, **_: seen.append(drawn) or b"<svg/>")
    figure = measurement_overlap.maps(given)[0]
    labels, below, above = seen[0]
    first, second = labels.index("WAI-SR total, client"), labels.index("HAq-II total, client")
    r = pooled(study, "convergent_validity", "pairs", estimate_type="correlation", level="total", instrument2="haq_2")["estimate"]
    assert below[first][second] == below[second][first] == pytest.approx(r**2)
    assert above[first][second] == pytest.approx((r / 0.7) ** 2) and (r / 0.7) ** 2 > 1
    assert "1 corrected value above 100%" in figure.alt


def test_squares_beyond_one_are_outlined_and_the_map_fits_on_a_narrow_screen():
    nothing = [[float("nan")] * 3 for _ in range(3)]
    below = [[float("nan"), 0.5, 0.2], [0.5, float("nan"), 0.1], [0.2, 0.1, float("nan")]]
    above = [[float("nan"), 1.2, 0.4], [1.2, float("nan"), 0.3], [0.4, 0.3, float("nan")]]
    labels = ["WAI-SR total, client", "HAq-II total, client", HOSTILE]
    assert b"b8560f" in figures_measurement.overlap_map(labels, below, above)
    assert b"b8560f" not in figures_measurement.overlap_map(labels, below, nothing)
    narrow = figures_measurement.overlap_map(labels, below, above, narrow=True)
    assert float(ElementTree.fromstring(narrow).attrib["width"].removesuffix("pt")) <= 3.4 * 72 + 0.1


def test_overlap_is_told_with_the_mean_of_the_pairs_between_their_ends_and_the_mean_over_sites_beside(study, chapter):
    keys = {"level": "total", "rater": "all", "pairs_kind": "all"}
    over_pairs = pooled(study, "convergent_validity", "overlap_summary", estimate_type="r_squared_mean", basis="pairs", **keys)
    mean = pooled(study, "convergent_validity", "overlap_summary", estimate_type="r_squared_mean", basis="sites", **keys)
    ends = [
        pooled(study, "convergent_validity", "overlap_summary", estimate_type=f"r_squared_{name}", basis="pairs", claim="", **keys)
        for name in ("minimum", "maximum")
    ]
    sentence = next(one for one in chapter.findings if one.startswith("Pairs of total scales"))
    assert f"share {numbers.percent(over_pairs['estimate'])} of their variance on average" in sentence
    assert f"(from {numbers.percent(ends[0]['estimate'])} to {numbers.percent(ends[1]['estimate'])}" in sentence
    interval = f"[{numbers.percent(mean['ci_low'])},{numbers.SPACE}{numbers.percent(mean['ci_high'])}]"
    assert sentence.partition("The mean of ")[2].startswith(f"{numbers.count(mean['n_sites'])} sites")
    assert f"{numbers.percent(mean['estimate'])}, {study.level} CI {interval}" in sentence.partition("The mean of ")[2]
    table = block(chapter, "overlap")
    first = dict(zip([column.label for column in table.columns], table.rows[0]))
    assert first["Smallest"].value <= first["Mean of these pairs"].value <= first["Largest"].value
    assert first["Mean over sites"].value == mean["estimate"]


def test_sets_of_pairs_without_a_number_stand_in_the_note_of_the_table_with_their_reason(study, chapter):
    overlap = study.tables["convergent_validity"]["overlap_summary"]
    own = overlap["level"].eq("subscale") & overlap["rater"].eq("client")
    reason = "not estimable: needs at least 2 sites with an estimate; has 1"
    silent = overlap.assign(
        status=overlap["status"].mask(own, "not_estimable"),
        estimate=overlap["estimate"].mask(own),
        reason=overlap["reason"].mask(own, reason),
    )
    table = block(measurement.build(with_tables(study, "convergent_validity", overlap_summary=silent)), "overlap")
    assert table.note.endswith("Not estimable: subscales, client (needs at least 2 sites with an estimate; has 1).")
    assert len(table.rows) == len(block(chapter, "overlap").rows) - 1


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((0.05, 0.25), "they share more, as their names promise"),
        ((-0.1, 0.2), "which share more cannot be told"),
        ((-0.3, -0.1), "they share less, against what their names promise"),
    ],
)
def test_parallel_scales_are_judged_by_the_interval_of_the_difference(study, ends, said):
    overlap = study.tables["convergent_validity"]["overlap_summary"]
    row = overlap[overlap["site"].eq(POOLED) & overlap["estimate_type"].eq("r_squared_mean") & overlap["level"].eq("subscale")].iloc[[0]]
    row = row.assign(estimate_type="r_squared_contrast", pairs_kind="parallel - non_parallel", rater="all", estimate=sum(ends) / 2)
    row = row.assign(ci_low=ends[0], ci_high=ends[1], claim="", published=None)
    given = with_tables(study, "convergent_validity", overlap_summary=pd.concat([overlap, row], ignore_index=True))
    told = " ".join(measurement_overlap.contrast_sentences(given))
    assert said in told and f"[{numbers.points(ends[0])}, {numbers.points(ends[1])}]" in told


def test_the_model_drawn_is_the_best_of_those_with_a_proper_solution(study, chapter):
    structure = study.tables["measurement"]["structure"]
    bic = structure[structure["index"].eq("bic") & structure["instrument"].eq("wai_sr")].set_index("model")["estimate"]
    assert bic["theory"] == bic.min(), "the improper model must have the lowest BIC for this test to tell anything"
    figure = block(chapter, "diagram-factors")
    assert "bond against task and goal" in figure.title and "lowest BIC of 2 models with proper solutions" in figure.note
    loading = pooled(study, "measurement", "structure", model="bond_task_goal", indicator="i12", estimate_type="loading_standardised")
    assert f"item 12 {numbers.bounded(loading['estimate'], 2)}" in figure.alt
    assert figure.alt.index("item 9 ") < figure.alt.index("item 10 ")
    fit = block(chapter, "structure-fit")
    assert [fit.rows[place][1].text for place in fit.emphasised] == ["bond against task and goal"]
    theory = next(row for row in fit.rows if row[1].text == "factors of its theory")
    assert "correlate beyond 1" in theory[-1].text


def test_where_no_solution_is_proper_the_diagram_says_so(study):
    structure = study.tables["measurement"]["structure"]
    broken = structure.assign(status="flagged", reason="negative variance of item 3")
    figure = block(measurement.build(with_tables(study, "measurement", structure=broken)), "diagram-factors")
    assert "no model has a proper solution" in figure.note and "negative variance" in figure.note.lower()


def test_the_two_cores_are_called_different_only_where_the_interval_leaves_out_one(study, chapter):
    assert "the interval leaves out 1, so they are not the same" in " ".join(block(chapter, "measurement-cores").sentences)
    structure = study.tables["measurement"]["structure"]
    wide = structure["factor"].eq("attachment ~~ collaboration")
    given = with_tables(study, "measurement", structure=structure.assign(ci_high=structure["ci_high"].mask(wide, 1.02)))
    assert "cannot be told apart" in " ".join(block(measurement.build(given), "measurement-cores").sentences)


def test_no_means_are_said_to_be_comparable_without_equal_intercepts(study, chapter):
    table = block(chapter, "invariance")
    labels = [column.label for column in table.columns]
    said = {row[0].text: row[labels.index("What may be compared")].text for row in table.rows}
    assert said["WAI-SR (client) over sites"] == "Correlations may be compared; means may not."
    untested = block(chapter, "invariance-untested")
    assert untested.folded and "nothing may be compared" in untested.caption
    assert [row[0].text for row in untested.rows] == ["WAI-SR (client) over languages"]
    assert untested.rows[0][-1].text == "Needs two languages; has de only"
    finding = next(one for one in chapter.findings if one.startswith("Means of observed scores"))
    assert "over sessions" in finding and "over sites" not in finding
    invariance = study.tables["measurement"]["invariance"]
    partial = invariance.assign(model=invariance["model"].replace({"strict": "partial_scalar"}))
    told = measurement_structure.invariance_finding(with_tables(study, "measurement", invariance=partial))
    assert told == "Means of observed scores may not be compared over any of the groups tested."


def test_that_equality_holds_with_few_clients_or_flagged_is_said_to_be_weak_evidence(study):
    table = study.tables["measurement"]["invariance"]
    sessions = table["across"].eq("sessions")

    def told(**values):
        changed = {name: table[name].mask(sessions, value) for name, value in values.items()}
        built = measurement.build(with_tables(study, "measurement", invariance=table.assign(**changed)))
        rows = {row[0].text: row[-1].text for row in block(built, "invariance").rows}
        return measurement_structure.invariance_finding(with_tables(study, "measurement", invariance=table.assign(**changed))), rows

    finding, rows = told(n_clients=90)
    assert "This is weak evidence: the tests rest on few clients (90 in all)" in finding
    assert rows["WAI-SR (client) over sessions"] == "Weak evidence: few clients"
    finding, _ = told(n_clients=900)
    assert "weak evidence" not in finding and "flagged" not in finding
    finding, rows = told(n_clients=900, status="flagged", reason="one factor of all items (correlation of 1.06); left out: en")
    assert finding.endswith("It is flagged: read the remarks under “What may be compared?” first.")
    assert rows["WAI-SR (client) over sessions"] == "One factor of all items; left out: en"


def test_measures_that_may_be_compared_over_the_same_groups_are_named_together(study):
    table = study.tables["measurement"]["invariance"]
    decided = table[table["index"].eq("may_compare")].assign(model="scalar", n_clients=900)
    other = decided.assign(instrument="wai_s", rater="therapist")
    third = decided[decided["across"].eq("sessions")].assign(instrument="haq_2")
    given = with_tables(study, "measurement", invariance=pd.concat([decided, other, third], ignore_index=True))
    assert measurement_structure.invariance_finding(given) == (
        "Means of observed scores may be compared over sites and sessions for WAI-SR (client) and WAI-S (therapist); over sessions for "
        "HAq-II (client)."
    )


def test_a_model_whose_bic_is_hardly_lower_is_not_told_as_the_only_one(study, chapter):
    structure = study.tables["measurement"]["structure"]
    bic = structure["index"].eq("bic") & structure["instrument"].eq("wai_sr")
    drawn = structure.loc[bic & structure["model"].eq("bond_task_goal"), "estimate"].max()

    def told(distance):
        near = bic & structure["model"].eq("one_factor")
        given = with_tables(study, "measurement", structure=structure.assign(estimate=structure["estimate"].mask(near, drawn + distance)))
        return " ".join(measurement_structure.findings(given))

    assert "The data hardly tell it from one factor, whose BIC is nearly as low." in told(4)
    assert "hardly tell" not in told(8)


def test_where_raters_disagree_is_told_by_the_middle_of_the_sites_and_shown_by_site(chapter):
    sentence = block(chapter, "measurement-observers").sentences[-1]
    assert "(VTAS total, observer, shares of the variance of one rating, median of 2 sites)" in sentence
    for part in ("clients 56%", "sessions of a client 13%", "raters’ general level 3%", "raters’ own views of a client 7%"):
        assert part in sentence
    assert sentence.endswith("Raters disagree most through what one rater sees in one session, together with error.")
    table = block(chapter, "interrater-sources")
    labels = [column.label for column in table.columns]
    rows = {row[labels.index("Site")].text: dict(zip(labels, row)) for row in table.rows}
    elm, oak = (rows[report_study.LABELS[site]] for site in ("elm", "oak"))
    assert elm["Raters’ own views of a client"].value == 0.07 and oak["Raters’ own views of a client"].text == "in the rest"
    assert elm["Generalizability, clients’ means"].value == 0.81 and elm["Generalizability, single sessions"].value == 0.78


def test_limits_of_reliabilities_below_zero_and_intervals_too_wide_to_tell_are_said_to_be_so(study, chapter):
    table = study.tables["measurement"]["interrater"]
    own = table["site"].eq(POOLED) & table["form"].eq("ICC(2,k)")
    wide = table.assign(ci_low=table["ci_low"].mask(own, -15.98), ci_high=table["ci_high"].mask(own, 0.999))
    built = measurement.build(with_tables(study, "measurement", interrater=wide))
    row = block(built, "interrater").rows[0]
    shown = {column.label: cell for column, cell in zip(block(built, "interrater").columns, row)}
    assert shown[f"{study.level} CI"].text == f"[<{numbers.SPACE}0,{numbers.SPACE}1.00]" and shown[f"{study.level} CI"].value == -15.98
    assert "Interval too wide to say much" in shown["Remark"].text
    assert "15.98" not in " ".join(block(built, "measurement-observers").sentences)
    assert "too wide" not in " ".join(cell.text for row in block(chapter, "interrater").rows for cell in row)


def test_labels_too_long_for_a_map_keep_the_rater():
    room, size = 1.4, 8
    assert figures_measurement._fitted("WAI-36 total, therapist", room, size) == "WAI-36 total, therapist"
    cut = figures_measurement._fitted("VTAS therapist contribution, observer", room, size)
    assert cut.startswith("VTAS") and cut.endswith("…, observer") and drawing.width_of(cut, size) <= room
    assert drawing.width_of(figures_measurement._fitted(HOSTILE, room, size), size) <= room


def test_raters_are_told_as_shares_of_what_their_scores_measure(study, chapter):
    row = pooled(study, "measurement", "multitrait_multimethod", rater="therapist", estimate_type="consistency")
    figure = block(chapter, "rater-shares")
    assert f"therapist, WAI-SR bond {numbers.percent(row['estimate'])}" in figure.alt and "client, WAI-SR" not in figure.alt
    ends = f"[{numbers.percent(row['ci_low'])},{numbers.SPACE}{numbers.percent(row['ci_high'])}]"
    told = block(chapter, "measurement-raters").sentences[0]
    assert f"{numbers.percent(row['estimate'])} ({study.level} CI {ends}) is shared with the client’s view" in told


def test_each_rater_stands_once_with_the_sum_of_scales_from_the_largest_model_over_all_sites(study):
    table = study.tables["measurement"]["multitrait_multimethod"]
    one = table[table["rater"].eq("therapist")].assign(indicator="(sum)", method="pooled_covariance")
    used = "client wai_sr, observer vtas, therapist wai_s"
    wide = one.assign(instruments=used, raters="client, observer, therapist", estimate=0.31)
    small = one.assign(instruments="client wai_sr, therapist wai_s", estimate=0.42)
    rows = [table, wide, wide.assign(method="two_stage_reml", estimate=0.35), small]
    built = measurement.build(with_tables(study, "measurement", multitrait_multimethod=pd.concat(rows, ignore_index=True)))
    figure = block(built, "rater-shares")
    assert figure.alt.endswith("view: therapist, WAI-S (client: WAI-SR) 31%.")
    told = " ".join(block(built, "measurement-raters").sentences)
    assert "of what the sum of the scales measures without error, 31% (95% CI " in told and "35%" not in told and "42%" not in told


@pytest.mark.parametrize("over_all_sites", [True, False])
def test_homogeneous_and_blended_instruments_are_compared_once_over_all_sites_where_possible(study, over_all_sites):
    overlap = study.tables["convergent_validity"]["overlap_summary"]
    row = overlap[overlap["site"].eq(POOLED) & overlap["estimate_type"].eq("r_squared_mean")].iloc[[0]]
    keys = {
        "pairs_kind": "within_instrument",
        "instrument": "(all)",
        "approach": "homogeneous - blended",
        "rater": "client",
        "basis": "sites",
    }
    same = row.assign(
        **keys, estimate_type="correlation_contrast", method="two_stage_reml", estimate=0.11, ci_low=-0.1, ci_high=0.3, claim=""
    )
    rows = [overlap, same] + [same.assign(method="difference_of_means", estimate=0.22, ci_low=0.1)] * over_all_sites
    given = with_tables(study, "convergent_validity", overlap_summary=pd.concat(rows, ignore_index=True))
    told = next(one for one in measurement_overlap.contrast_sentences(given) if "homogeneous minus blended" in one)
    assert ("client .22" in told, "client .11" in told) == (over_all_sites, not over_all_sites)


def test_loadings_of_the_composite_stand_beside_the_range_of_the_review(chapter):
    sentence = block(chapter, "measurement-composite").sentences[0]
    assert "scales of the alliance, client, session 3: .90 to .93 (the review: .92 to .96)" in sentence


@pytest.mark.parametrize("decision", ["undecided", "equivalent", "different"])
def test_measures_are_said_to_predict_equally_only_where_equivalence_was_shown(study, decision):
    table = study.tables["convergent_validity"]["predictive_contrast"].assign(decision=decision, bound=0.1)
    built = measurement.build(with_tables(study, "convergent_validity", predictive_contrast=table))
    told = " ".join(block(built, "measurement-prediction").sentences)
    words = {"undecided": "Neither a difference nor its absence is shown", "equivalent": "Too small to matter", "different": "Different"}
    assert words[decision] in told and not [word for other, word in words.items() if other != decision and word in told]
    row = table[table["site"].eq(POOLED)].iloc[0]
    assert numbers.bounded(row["estimate"], 2) in told and "no difference" not in told.lower()


def test_the_content_matrix_names_scales_and_marks_the_cores(study, chapter):
    table = block(chapter, "content-matrix")
    place = [column.label for column in table.columns].index("WAI-SR")
    found = {row[0].text: row[place].text for row in table.rows}
    assert found["Personal attachments (core)"] == "bond"
    assert {table.rows[number][0].text for number in table.emphasised} == {name for name in found if name.endswith("(core)")}


def test_what_could_not_be_estimated_is_listed_with_what_it_needs(chapter):
    told = "\n".join(chapter.missing)
    for reason in (
        "needs 2 sites with answers to the items of calpas_p; has 1",
        "needs calpas_p total and wai_sr total of one session at 2 sites or more; has 0",
        "WAI-SR (client) over languages: needs two languages; has de only",
    ):
        assert reason in told


def test_hostile_text_in_tables_is_only_ever_text(study):
    tables = {}
    for name, column in (("reliability", "instrument"), ("structure", "indicator"), ("invariance", "decision"), ("components", "variable")):
        table = study.tables["measurement"][name]
        tables[name] = table.assign(**{column: HOSTILE}, reason=HOSTILE) if name != "structure" else table.assign(indicator=HOSTILE)
    made = pages.render_all(of_measures(with_tables(study, "measurement", **tables)), report_study.TEMPLATES)
    for name, text in made.items():
        assert text.count("<script") == 1 and "onerror=alert(1)>" not in text, name
    assert "{{ 7*7 }}" in html.unescape(made["index.html"])


def test_every_figure_has_a_narrow_drawing_a_text_in_its_place_and_its_data(chapter):
    found = [one for one in chapter.blocks if isinstance(one, Figure)]
    assert len(found) == 6
    for figure in found:
        assert len(figure.alt) > 40 and figure.data is not None and len(figure.data.rows) > 0
        narrowest = figure.narrow or figure.svg
        assert float(ElementTree.fromstring(narrowest).attrib["width"].removesuffix("pt")) <= 3.4 * 72 + 0.1


def test_tables_without_rows_give_a_chapter_without_claims(study):
    empty = {question: {name: table.iloc[:0] for name, table in study.tables[question].items()} for question in measurement.QUESTIONS}
    built = measurement.build(dataclasses.replace(study, tables={**study.tables, **empty}))
    assert built.findings == built.headlines == built.missing == ()
    assert not [one for one in built.blocks if isinstance(one, Table) and one.rows and one.id != "content-matrix"]


def test_a_site_sees_its_own_reliability_beside_the_pooled_one(study):
    table = {one.id: one for one in site_page.estimate_tables(study, "elm")}["estimates-measurement"]
    row = next(one for one in table.rows if one[0].text == "HAq-II total, client (ω)")
    rows = study.tables["measurement"]["reliability"]
    own = rows[rows["instrument"].eq("haq_2") & rows["estimate_type"].eq("omega_total") & rows["site"].eq("elm")].iloc[0]
    assert row[1].value == own["estimate"]
    assert row[4].value == pooled(study, "measurement", "reliability", instrument="haq_2", estimate_type="omega_total")["estimate"]


def test_a_study_of_one_site_has_the_chapter(study):
    tables = {
        question: {name: table[table["site"].ne(POOLED)].reset_index(drop=True) for name, table in found.items()}
        for question, found in study.tables.items()
    }
    assert "measurement" in {chapter.id for chapter in order.build(dataclasses.replace(study, tables=tables))}
