"""What is published says the same as at home: every number rounded as declared, every sentence true of all rows."""

from __future__ import annotations

import dataclasses
import functools
import re

import numpy as np
import pandas as pd
import pytest
import report_study
from alliance.publishing import columns, counts, wording
from alliance.publishing.disclosure import gate
from alliance.questions import contract
from alliance.questions.contract import POOLED
from alliance.questions.headlines import Headline
from alliance.reports import methods_text, quality_page, study_page, summary
from alliance.reports.chapters import common, dropout, order, ruptures
from alliance.reports.elements import Part
from alliance.reports.guide import Answer
from alliance.reports.scenario_section import scenario_chapter
from alliance.sensitivity import contract as sensitivity
from unit.published_study import EFFECT, PUBLIC, SHARE, SITES, gated, gated_rows, row, status, study, table

VALUES = pd.Series([*np.linspace(-1.3, 1.3, 5201), 1e-5, -1e-5, 1 - 1e-5, 1 + 1e-5, 0.0, 1.0, 17.4449, np.nan])


@pytest.mark.parametrize("decimals", [2, 3])
def test_a_rounded_result_stays_on_its_side_of_0_and_1_within_half_a_digit(decimals):
    made = counts.rounded_results(VALUES, decimals)
    assert made.isna().equals(VALUES.isna())
    known = VALUES.notna()
    assert (made - VALUES)[known].abs().max() <= 0.5 * 10.0**-decimals + 1e-12
    for bound in (-1.0, 0.0, 1.0):
        assert (np.sign((VALUES - bound).where((VALUES - bound).abs() > counts.SAME, 0)) == np.sign(made - bound))[known].all()
    assert made.sort_values().reindex(VALUES.sort_values().index).dropna().is_monotonic_increasing
    # What is rounded already stays as it is.
    assert counts.rounded_results(made, decimals).equals(made)


def test_the_error_of_computing_is_no_side():
    values = pd.Series([1e-16, -5e-17, 1 - 1e-15, 1 + 2e-16])
    assert counts.rounded_results(values).tolist() == [0.0, 0.0, 1.0, 1.0]


@functools.cache
def published():
    """Return what is published of the invented study."""
    return gate(report_study.study(), {}, PUBLIC).data


@functools.cache
def at_home_and_published():
    """Return every table of the invented study joined with what is published of it."""
    data, shown = report_study.study(), published().tables
    joined = {}
    for question, tables in data.tables.items():
        for name, frame in tables.items():
            schema = contract.table(question, name)
            keys = [*dict.fromkeys(columns.identity(schema))]
            both = frame[~frame.duplicated(keys)].merge(shown[question][name], on=keys, suffixes=("", "_published"))
            joined[question, name] = schema, both[both["status_published"].isin(contract.WITH_NUMBERS)]
    return joined


def test_every_published_number_is_that_at_home_rounded_as_declared():
    compared, faults = 0, []
    for (question, name), (schema, both) in at_home_and_published().items():
        of_row = contract.number_kinds(both)
        for column, kind in columns.kinds(schema).items():
            if column in schema.identifying or column == "difference":
                continue
            home, shown = (both[one].to_numpy(dtype=float, na_value=np.nan) for one in (column, f"{column}_published"))
            told = ~np.isnan(shown)
            if (told & np.isnan(home)).any():
                faults.append((question, name, column, "a number that is not there at home"))
            off = np.abs(shown - home)[told]
            if kind in (columns.BASE, columns.PART):
                allowed = np.full(len(off), PUBLIC.round_counts_to / 2)
            elif kind == columns.P_VALUE:
                allowed = np.full(len(off), 0.001)
            elif kind == columns.SPREAD:
                allowed = 0.05 * np.abs(home[told])
            elif kind == columns.SAFE:
                allowed = np.zeros(len(off))
            else:
                exact = of_row.isin((contract.FINE, contract.PROBABILITY)).to_numpy()[told]
                allowed = np.where(exact, 0.001, 0.005)
            compared += len(off)
            if (off > allowed + 1e-9).any():
                faults.append((question, name, column))
    assert faults == [] and compared > 5000


def test_published_intervals_say_of_no_effect_what_those_at_home_say_and_hold_their_estimate():
    compared, faults = 0, []
    for place, (_, both) in at_home_and_published().items():
        none = both["estimate_type"].isin(common.RATIO_TYPES).astype(float)
        for low, high in (("ci_low", "ci_high"), ("prediction_low", "prediction_high")):
            if low not in both:
                continue
            known = both[f"{low}_published"].notna() & both[f"{high}_published"].notna()
            outside = {end: (both[f"{low}{end}"] > none) | (both[f"{high}{end}"] < none) for end in ("", "_published")}
            holds = {end: both[f"estimate{end}"].between(both[f"{low}{end}"], both[f"{high}{end}"]) for end in ("", "_published")}
            compared += int(known.sum())
            if (known & ((outside[""] != outside["_published"]) | (holds[""] & ~holds["_published"]))).any():
                faults.append((place, low))
        if "tau2" in both:
            found = both[both["tau2_published"].notna() & both["i2_published"].notna()]
            for name in ("tau2", "i2"):
                if ((found[name] > 0) != (found[f"{name}_published"] > 0)).any():
                    faults.append((place, name))
    assert faults == [] and compared > 1000


def test_what_an_index_names_is_declared_or_the_table_breaks_its_contract():
    rows = [row("birch", 60, 12, model="one", index=index, estimate_type="fit_index", scale="identity") for index in ("cfi", "gfi")]
    frame = table("path_models", "fit", rows)
    assert [fault for fault in contract.faults(frame, "path_models", "fit") if "gfi" in fault]
    with pytest.raises(KeyError, match="gfi"):
        contract.number_kinds(frame)


@pytest.mark.parametrize(
    ("estimate_type", "index", "estimate", "published"),
    [
        ("fit_index", "cfi", 0.9684, 0.968),
        ("fit_index", "rmsea", 0.0524, 0.052),
        ("fit_index", "rmsea_close_p", 0.0496, 0.049),
        ("equality_test", "equal_paths_p_value", 0.0021, 0.002),
        ("equality_test", "equal_paths_p_value_holm", 0.00021, 0.0005),
        ("equality_test", "equal_paths_chi2", 12.3456, 12.35),
        ("fit_index", "aic", 4636.8149, 4636.81),
        ("residual_correlation", "residual_correlation", 0.0021, 0.0025),
        ("largest_difference", "semopy_difference", 0.0241, 0.024),
    ],
)
def test_the_kind_of_a_number_decides_its_decimals(estimate_type, index, estimate, published):
    frame = pd.DataFrame({"estimate_type": [estimate_type], "index": [index], "estimate": [estimate]})
    made = counts.coarse(frame, {"estimate": columns.RESULT}, PUBLIC)
    assert made["estimate"].tolist() == pytest.approx([published])


def test_slopes_per_session_keep_the_decimals_that_are_printed():
    keys = {"hypothesis": "a", "group": "successful - other", "estimate_type": "mean_difference", "scale": "identity"}
    numbers = {"estimate": 0.00042, "ci_low": -0.0354, "ci_high": 0.0362}
    made = gated_rows("early_gains", "hypotheses", [row(statistic=contract.SLOPE_PER_SESSION, **keys, **numbers)]).iloc[0]
    assert (made["estimate"], made["ci_low"], made["ci_high"]) == pytest.approx((0.00025, -0.035, 0.036))


@pytest.mark.parametrize(
    ("needed", "there"),
    [
        ("needs at least 10 clients with the alliance in 10 sessions", "8"),
        ("needs 2 sites and 114 clients with both", "1 and 29"),
        ("needs at least 10 clients and 2 dropouts per coefficient", "43 and 4"),
        ("needs at least 5 clients a client factor with all of them (55)", "50"),
        ("needs two languages with at least 57 clients", "de (40), en (107)"),
    ],
)
def test_reasons_keep_what_is_needed_and_lose_what_is_there(needed, there):
    assert wording.without_counts(f"{needed}; has {there}") == f"{needed}; has fewer"
    assert wording.without_counts(f"left out: en ({needed}; has {there}), de ({needed}; has 3); few") == (
        f"left out: en ({needed}; has fewer), de ({needed}; has fewer); few"
    )


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("below .70: an effect of observed means is weakened", "below .70: an effect of observed means is weakened"),
        ("the two scores determine each other (r = 1)", "the two scores determine each other (r = 1)"),
        ("12 clients were left out .", "some clients were left out."),
    ],
)
def test_limits_and_stops_of_reasons_stay(reason, told):
    assert wording.without_counts(reason) == told


NUMBER = re.compile(r"(?<![\w.])[−-]?\d[\d,]*(?:\.\d+)?(?!\w)|(?<![\w.])[−-]?\.\d+")
SENTENCE = re.compile(r"(?<=[.!?]) (?=[A-Z“(])")


def same_but_for_rounding(home: str, shown: str) -> bool:
    """Tell whether two sentences differ in nothing but counts that are rounded, and percentages that have lost their decimals."""
    if NUMBER.sub("#", home) != NUMBER.sub("#", shown):
        return False
    pairs = zip(NUMBER.findall(home), NUMBER.findall(shown), strict=True)
    for first, second in ((one.replace(",", "").replace("−", "-"), other.replace(",", "").replace("−", "-")) for one, other in pairs):
        counted = "." not in first + second and counts.rounded(int(first), 5) == int(second)
        shortened = "." in first and "." not in second and abs(float(first) - float(second)) <= 0.5
        if first != second and not counted and not shortened:
            return False
    return True


def sentences(data) -> list[str]:
    """Return the sentences of a study page that say what was found."""
    made = study_page.content(data, order.build(data))
    told = [text for chapter in made["chapters"] for text in (*chapter.findings, *chapter.headlines)]
    told += [text for chapter in made["chapters"] for part in chapter.blocks if isinstance(part, Part) for text in part.sentences]
    told += [text for one in made["priorities"] for text in one.sentences]
    return [one for text in (*told, *made["how_sure"], *made["coverage"], *made["missing_data"]) for one in SENTENCE.split(text)]


def test_sentences_of_published_pages_are_those_at_home_but_for_rounding_or_say_what_is_withheld():
    home = [re.sub(r"; has \d+", "; has fewer", text) for text in sentences(report_study.study())]
    shown = sentences(published())
    other = [text for text in shown if "withheld" not in text and not any(same_but_for_rounding(one, text) for one in home)]
    assert other == [] and len(shown) > 50


def test_counts_over_all_sites_are_rounded_from_the_exact_ones_not_summed_from_rounded_ones():
    clients = {"birch": 52, "cedar": 52, "elm": 52, "oak": 52, "rowan": 52}
    data = gated({}, statuses=[status(site, number) for site, number in clients.items()]).data
    assert study_page.cards(data)[1] == {"number": "260", "label": "clients"}
    flow = study_page.flow_figure(data).data.rows[-1]
    assert [cell.text for cell in flow] == ["All sites", "260", "260", "260", "260", "0"]
    assert gated({}, SHARE, statuses=[status(site, number) for site, number in clients.items()]).data.totals == {}


def test_small_numbers_of_rows_and_faults_are_withheld_not_told_as_none():
    files = [{"file": "a.csv", "sha256": "0" * 64, "rows_in": 600, "rows_used": 588, "rows_quarantined": 8, "rows_excluded_by_rule": 4}]
    data = gated({}, statuses=[status(site, files=files if site == "elm" else []) for site in SITES]).data
    assert "588" not in " ".join(study_page.coverage(data, []))
    assert (
        study_page.coverage(data, [])[1] == "590 rows were used; how many could not be, or were left out by a declared rule, is withheld."
    )
    faults = {row[0].text: [cell.text for cell in row[1:]] for row in study_page.fault_table(data).rows}
    assert faults[data.labels["elm"]] == ["–", "–", "–", "–", "590", "590", "–", "–"]
    assert [cell.text for cell in quality_page.reach_table(data).rows[1]] == ["site left out", "–", "–"]


def kappas(withheld: bool) -> pd.DataFrame:
    """Return the agreement of three pairs of criteria over sites, the lowest withheld or not."""
    keys = {"unit": "sessions", "statistic": "kappa", "estimate_type": "kappa", "scale": "identity", "same_rater": "yes", "site": POOLED}
    pairs = [("drop", "decline", 0.8), ("drop", "v_shape", 0.5), ("decline", "v_shape", -0.1)]
    rows = [row(criterion=one, compared_with=other, **keys, estimate=value) for one, other, value in pairs]
    frame = table("ruptures", "agreement", rows)
    lowest = frame["estimate"].lt(0)
    return frame.assign(status=frame["status"].mask(lowest, "withheld"), estimate=frame["estimate"].mask(lowest)) if withheld else frame


def test_a_range_says_how_many_of_its_numbers_are_withheld():
    assert "kappa = −.10 to .80 between" in ruptures.agreement_sentence(study(), kappas(False))
    assert "kappa = .50 to .80 between criteria of one rater’s ratings (1 more is withheld)" in ruptures.agreement_sentence(
        study(), kappas(True)
    )


def test_what_is_withheld_is_not_listed_as_not_estimable():
    frame = kappas(True)
    assert common.not_estimable(study(), frame, lambda one: one.criterion) == ()


@pytest.mark.parametrize("hidden", [False, True])
def test_scenarios_whose_number_is_withheld_are_named_and_not_counted_as_if_there_were_none(hidden):
    values = {"base": 0.34, "early": 0.30, "late": 0.45}
    rows = [
        row(POOLED, scenario=name, question="alliance_outcome", headline="alliance_outcome", label="Alliance and outcome", n_sites=5)
        | {"estimate": value, "base_estimate": 0.34, "change": value - 0.34}
        for name, value in values.items()
    ]
    frame = sensitivity.finish(pd.DataFrame(rows), sensitivity.SCENARIO_COMPARISON)
    if hidden:
        late = frame["scenario"].eq("late")
        gone = {name: frame[name].mask(late) for name in ("estimate", "ci_low", "ci_high", "change", "n_clients")}
        frame = frame.assign(status=frame["status"].mask(late, "withheld"), reason=frame["reason"].mask(late, "withheld: few"), **gone)
    chapter = scenario_chapter(frame, 2, "95%")
    told = chapter.findings[1]
    if hidden:
        assert "Of what is shown, it moves most in early" in told and "over these scenarios it lies between .30 and .34" in told
        assert told.endswith("Withheld in late.") and chapter.missing == () and "1 is withheld" in chapter.withheld
    else:
        assert "It moves most in late" in told and "over all scenarios it lies between .30 and .45" in told and not chapter.withheld


def test_sites_that_lead_to_the_same_printed_number_are_not_told_apart():
    left = [row(POOLED, **EFFECT, site_left_out=site, estimate=value) for site, value in zip(SITES, (0.301, 0.3049, 0.33, 0.36, 0.3))]
    data = study()
    told = common.influence_sentence(data, table("alliance_outcome", "leave_one_out", left), "the headline")
    assert "between .30 and .36 (without" in told
    assert common.influence_sentence(data, table("alliance_outcome", "leave_one_out", left[:2]), "it").endswith("it stays at .30.")


def test_published_pages_print_no_more_decimals_than_numbers_have():
    data = dataclasses.replace(study(), options={**study().options, "report": {**study().options["report"], "decimals": 4}})
    assert (data.decimals, gate(data, {}, SHARE).data.decimals, gate(data, {}, PUBLIC).data.decimals) == (4, 4, 2)


def answered(**answer) -> Answer:
    return Answer(Headline("x", "X", "alliance_outcome", "pooled", {}), **answer)


def test_the_answer_to_a_priority_that_is_withheld_is_neither_open_nor_not_estimable():
    hidden = next(common.tuples(table("alliance_outcome", "pooled", [row(POOLED, **EFFECT) | {"status": "withheld", "estimate": None}])))
    directed = answered(above="More", below="Less", open="Whether it helps stays open")
    assert summary.answer_sentence(study(), directed, hidden) == "Whether it helps: the answer is withheld."
    assert summary.answer_sentence(study(), answered(says="The share"), hidden) == "The share: withheld."


def test_an_estimate_that_is_withheld_is_not_replaced_by_another():
    keys = {"term": "alliance_first", "estimate_type": "hazard_ratio", "scale": "log", "definition": "unilateral", "cause": "dropout"}
    rows = [
        row(POOLED, **keys, hazard_model="first_session", method="two_stage_reml") | {"status": "withheld", "estimate": None},
        row(POOLED, **keys, hazard_model="first_session", estimate=1.8) | {"method": "hazard_one_stage"},
    ]
    assert dropout.preferred(table("dropout", "hazard", rows)).status == "withheld"


def test_methods_tell_of_everything_that_was_computed_also_where_it_is_withheld():
    data = report_study.study()
    criteria = data.tables["ruptures"]["criteria"]
    hidden = criteria.assign(status=criteria["status"].replace({"estimated": "withheld", "flagged": "withheld"}), estimate=None)
    other = dataclasses.replace(data, tables={**data.tables, "ruptures": {**data.tables["ruptures"], "criteria": hidden}})
    told = [[sentence.text for sentence in methods_text.of_question(one, "ruptures")] for one in (data, other)]
    assert told[0] == told[1] and any("criteria, none of which is the right one" in text for text in told[0])
