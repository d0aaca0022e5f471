"""Alliance and outcome where sites lack something, publish summaries only, or stand alone; flags, order and published figures."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from alliance.questions import benchmarks
from alliance.questions.alliance_outcome import question as alliance_outcome
from alliance.questions.alliance_outcome.measures import PREFERRED
from alliance.questions.contract import MOMENTS, POOLED, PUBLISHED_EFFECTS, WITH_NUMBERS, faults, typed
from alliance.questions.site_data import Published, SiteData
from alliance.questions.summary import SiteSummary
from support import PROJECT
from unit.simulated_site import INSTRUMENTS, OPTIONS, score_rows, simulated, site_of

MATRIX = (("alliance", "outcome", 0.3, 60), ("alliance", "intake", 0.1, 60), ("intake", "outcome", 0.5, 50))


def changed(**paths):
    options = copy.deepcopy(OPTIONS)
    for path, value in paths.items():
        *parents, last = path.split("__")
        target = options
        for key in parents:
            target = target[key]
        target[last] = value
    return options


def published(site="p", moments=(), effects=()):
    rows = [{"block": "all", "level": "client", "var1": a, "var2": b, "cov": r, "n": n, "method": "correlation"} for a, b, r, n in moments]
    own = [dict(zip(PUBLISHED_EFFECTS, ("alliance_outcome", "", *effect))) for effect in effects]
    found = Published(typed(pd.DataFrame(rows, columns=list(MOMENTS)), MOMENTS), typed(pd.DataFrame(own), PUBLISHED_EFFECTS))
    return SiteData(site, site.upper(), instruments=INSTRUMENTS, published=found)


def treated(site, **settings):
    """Return a simulated site with treatments, planned lengths and ratings of the outcome by therapists."""
    one = simulated(site, **settings)
    n = len(one.clients)
    random = np.random.default_rng(settings.get("seed", 1) + 100)
    clients = one.clients.assign(
        treatment=pd.Series(np.where(np.arange(n) % 2, "cbt", "pdt"), dtype="str"), planned_sessions=8.0 + random.integers(0, 30, n)
    )
    post = one.scores[one.scores["instrument"].eq("core_10") & one.scores["timepoint"].isin(["intake", "post"])]
    rated = post.assign(rater="therapist", score=post["score"] + 4 * random.standard_normal(len(post)))
    client = clients["client_no"].to_numpy()
    own = post[post["timepoint"].eq("post")].sort_values("client_no")["score"].to_numpy()
    more = [
        score_rows(client, own + noise * random.standard_normal(n), instrument=name, scale=scale, timepoint=timepoint)
        for name, scale, noise in (("target_complaints", "severity", 2.0), ("scl_90_r", "gsi", 9.0))
        for timepoint in ("intake", "post")
    ]
    early = one.scores[one.scores["instrument"].eq("wai_36") & one.scores["rater"].eq("client") & one.scores["scale"].eq("total")]
    later = [
        score_rows(client, early[early["session"].eq(5)]["score"] + 0.5 * random.standard_normal(n), instrument="wai_36", session=number)
        for number in (6, 7)
    ]
    symptoms = [
        score_rows(client, own + 5 - number + 3 * random.standard_normal(n), instrument="core_10", session=number, unit="sum")
        for number in range(1, 8)
    ]
    instruments = {**INSTRUMENTS, "target_complaints": INSTRUMENTS["core_10"], "scl_90_r": INSTRUMENTS["core_10"]}
    scores = pd.concat([one.scores, rated, *more, *later, *symptoms], ignore_index=True)
    return dataclasses.replace(one, clients=clients, scores=scores, instruments=instruments)


KINDS = {"outcome__tailored": {"instrument": "target_complaints", "scale": "severity"}}
KINDS |= {"outcome__broad": {"instrument": "scl_90_r", "scale": "gsi"}}
FULL = changed(**KINDS)


def answers(sites, options=OPTIONS, absent=()):
    summaries = [alliance_outcome.estimate(site, options, {}) for site in sites]
    return [*summaries, *(SiteSummary(name, "alliance_outcome", status=status, reason="no client ids") for name, status in absent)]


def tables_of(sites, options=OPTIONS, absent=()):
    rows = [site for site in sites if site.published is None]
    one_stage = alliance_outcome.one_stage(iter(rows), [site.site for site in sites], options)
    return alliance_outcome.pool(answers(sites, options, absent), options, {"one_stage": one_stage})


def row(table, **where):
    chosen = table[np.logical_and.reduce([table[column].eq(value) for column, value in where.items()])]
    assert len(chosen) == 1, f"{len(chosen)} rows with {where}"
    return chosen.iloc[0]


def sound(tables):
    assert list(tables) == list(alliance_outcome.tables)
    for name, table in tables.items():
        assert faults(table, "alliance_outcome", name) == [], name
    return tables


@pytest.fixture(scope="module")
def sites():
    return [treated(name, n=50 + 10 * seed, seed=seed, therapists=12) for seed, name in enumerate("abc")]


@pytest.fixture(scope="module")
def tables(sites):
    return sound(tables_of(sites, FULL))


def lacking(site, **columns):
    kept = np.logical_and.reduce([site.scores[column].ne(value).to_numpy() for column, value in columns.items()])
    return dataclasses.replace(site, scores=site.scores[kept])


def test_a_site_without_outcome_or_alliance_or_intake_says_what_it_needs():
    whole = simulated("a", n=60)
    parts = {"b": {"timepoint": "post"}, "c": {"timepoint": "session"}, "d": {"timepoint": "intake"}}
    found = sound(tables_of([whole, *(dataclasses.replace(lacking(whole, **without), site=name) for name, without in parts.items())]))
    sites, expected = (
        found["site_effects"],
        {
            "b": "not estimable: no client-rated score of core_10, ors at post",
            "c": "not estimable: no client-rated total score of wai_36, haq_2 in early",
            "d": "not estimable: no client-rated total score of core_10 at intake",
        },
    )
    for site, reason in expected.items():
        assert row(sites, site=site, headline="yes")["reason"] == reason
    assert row(sites, site="d", headline="beside", form="zero_order")["status"] == "estimated"
    assert row(found["pooled"], headline="yes")["reason"] == "not estimable: needs at least 2 sites with an estimate; has 1"
    levels = found["levels"]
    reliability = row(levels, site="b", estimate_type="reliability_of_means")
    assert reliability["reason"] == "not estimable: needs at least 10 clients with the alliance; has 0"


def test_a_site_without_therapists_takes_clients_as_independent_and_has_no_therapists_part():
    whole = simulated("a", n=60)
    scores = whole.scores.assign(therapist_no=pd.array([None] * len(whole.scores), dtype="Int64"))
    alone = dataclasses.replace(whole, clients=whole.clients.drop(columns="therapist_no"), scores=scores)
    found = sound(tables_of([alone, dataclasses.replace(alone, site="b")]))
    main = row(found["site_effects"], site="a", headline="yes")
    assert (main["method"], main["status"], pd.isna(main["n_therapists"])) == ("independent", "estimated", True)
    assert main["std_error"] == pytest.approx(1 / np.sqrt(60 - 4), rel=1e-12)
    own = found["levels"][found["levels"]["site"].eq("a") & found["levels"]["explained"].eq("outcome given intake")]
    assert set(own["reason"]) == {"not estimable: needs to know which therapist saw each client"}


def test_fewer_than_ten_therapists_have_no_part_of_their_own():
    found = sound(tables_of([simulated("a", n=60, therapists=7), simulated("b", n=60, therapists=3, seed=2)]))
    outcome = {"explained": "outcome given intake", "site": "a"}
    assert row(found["levels"], part="between_therapist", contrast="", **outcome)["reason"] == (
        "not estimable: needs at least 10 therapists; has 7"
    )
    assert row(found["levels"], part="between_client", contrast="", **outcome)["status"] in WITH_NUMBERS
    main = row(found["site_effects"], site="b", headline="yes")
    assert (main["status"], main["reason"]) == ("flagged", "fewer than 5 therapists (3): clients taken as independent")
    pooled = row(found["pooled"], headline="yes")
    assert (pooled["status"], "1 of 2 site estimates flagged" in pooled["reason"]) == ("flagged", True)


def test_sites_with_fewer_clients_than_configured_are_refused_in_every_table():
    found = sound(tables_of([treated("a", n=8, therapists=3), treated("b", n=9, therapists=3)], FULL))
    assert (
        row(found["site_effects"], site="a", headline="yes")["reason"] == "not estimable: needs at least 10 clients with both scores; has 8"
    )
    for name, table in found.items():
        # One stage counts the clients of all sites together.
        kept = table[~table["estimate_type"].isin(["share", "criterion_met"]) & table["method"].ne("one_stage")]
        assert not kept["status"].isin(WITH_NUMBERS).any(), name


def test_a_published_matrix_and_published_effects_stand_in_the_same_pool_as_rows():
    zero = ("zero_order", 0.25, 80, np.nan)
    given = ("ancova", 0.2, 80, 0.1)
    found = sound(tables_of([simulated("a", n=60), published("p", MATRIX), published("q", effects=[zero, given])]))
    sites = found["site_effects"]
    partial = row(sites, site="p", form="ancova")
    expected = (0.3 - 0.1 * 0.5) / np.sqrt((1 - 0.1**2) * (1 - 0.5**2))
    assert (partial["estimate"], partial["n_clients"], partial["headline"]) == (pytest.approx(expected), 50, "yes")
    assert partial["std_error"] == pytest.approx(1 / np.sqrt(50 - 3 - 1))
    assert row(sites, site="p", form="zero_order")["std_error"] == pytest.approx(1 / np.sqrt(57))
    assert row(sites, site="p", form="residual_gain")["estimate"] == pytest.approx((0.3 - 0.1 * 0.5) / np.sqrt(1 - 0.5**2))
    own = row(sites, site="q", form="ancova")
    assert (own["method"], own["std_error"]) == ("published", pytest.approx(0.1 / (1 - 0.2**2)))
    assert row(sites, site="q", form="residual_gain")["reason"] == (
        "not estimable: the site published no correlation of alliance with outcome and of alliance with intake and of intake with outcome"
    )
    pooled = found["pooled"]
    assert row(pooled, headline="yes")["n_sites"] == 3
    assert row(pooled, headline="beside", form="residual_gain")["n_sites"] == 2
    criteria = found["eligibility"]
    assert row(criteria, site="p", criterion="time_lapse")["decision"] == "not known"


def test_published_change_scores_and_published_numbers_out_of_range_are_refused():
    options = changed(questions__alliance_outcome__forms=["ancova", "change"])
    sites = [
        published("p", MATRIX),
        published("q", effects=[("ancova", 1.0, 80, np.nan)]),
        published("r", effects=[("ancova", 0.2, 7, np.nan)]),
    ]
    found = sound(tables_of(sites, options))["site_effects"]
    assert "does not hold the spreads" in row(found, site="p", form="change")["reason"]
    assert row(found, site="q", form="ancova")["reason"] == "not estimable: the published correlation is not inside -1 and 1"
    assert row(found, site="r", form="ancova")["reason"] == "not estimable: needs at least 10 clients; has 7"


def test_one_site_alone_has_its_own_rows_and_no_pooled_number():
    found = sound(tables_of([treated("a", n=60)], FULL))
    assert row(found["site_effects"], headline="yes")["status"] == "estimated"
    for name, table in found.items():
        assert not table.loc[table["site"].eq(POOLED) & table["estimate_type"].ne("share"), "status"].isin(WITH_NUMBERS).any() or (
            name == "eligibility"
        ), name


def test_two_sites_are_pooled_with_a_warning_where_three_levels_need_more():
    found = sound(tables_of([treated("a", n=60, seed=1), treated("b", n=70, seed=2)], FULL))
    assert row(found["pooled"], headline="yes")["n_sites"] == 2
    assert pd.isna(row(found["pooled"], headline="yes")["p_value"])


def test_no_sites_and_sites_without_anything_give_sound_tables_and_a_sentence():
    for sites in ([], [site_of([], "a"), site_of([], "b")]):
        found = sound(tables_of(sites))
        assert not any(table["status"].isin(WITH_NUMBERS).any() for table in found.values())
        assert "could not be related" in alliance_outcome.methods(OPTIONS, found)[0].text


def test_sites_that_were_left_out_are_named_and_change_no_number(sites, tables):
    found = sound(tables_of(sites, FULL, absent=(("x", "excluded"), ("y", "missing"))))
    for name, table in found.items():
        kept = table[~table["site"].isin(["x", "y"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(kept, tables[name], check_exact=True)
    assert row(found["site_effects"], site="x", headline="yes")["reason"] == "site left out: no client ids"
    assert row(found["site_effects"], site="y", headline="yes")["reason"] == "no summary for these options: no client ids"


def test_headline_is_one_effect_a_site_and_its_other_forms_stand_beside_it(tables):
    sites, pooled = tables["site_effects"], tables["pooled"]
    main = sites[sites["headline"].eq("yes")]
    assert main["site"].tolist() == ["a", "b", "c"]
    assert set(main["form"]) == {"ancova"} and set(main["alliance_instrument"]) == {PREFERRED}
    beside = sites[sites["headline"].eq("beside")]
    assert beside.groupby("site")["form"].agg(sorted).tolist() == [["residual_gain", "zero_order"]] * 3
    assert set(beside["window"]) == {"early"} and set(beside["outcome_rater"]) == {"client"}
    assert len(pooled[pooled["headline"].eq("yes")]) == 1


def test_every_correlation_says_whether_one_person_rated_both(tables):
    for name in ("site_effects", "leave_one_out"):
        rows = tables[name]
        expected = np.where(rows["alliance_rater"].eq(rows["outcome_rater"]), "yes", "no")
        assert rows["same_rater"].tolist() == expected.tolist(), name
        assert set(expected) == {"yes", "no"}
    for name in ("timing", "moderators"):
        assert set(tables[name]["same_rater"]) == {"yes"}, name
    raters = tables["raters"]
    both = raters[raters["alliance_rater"].ne("") & raters["outcome_rater"].ne("")]
    assert both["same_rater"].eq("yes").tolist() == both["alliance_rater"].eq(both["outcome_rater"]).tolist()


def test_claims_of_no_difference_are_tested_for_equivalence(tables):
    rows = tables["moderators"]
    tested = rows[rows["estimate_type"].isin(["correlation_contrast", "interaction_standardised"]) & rows["status"].isin(WITH_NUMBERS)]
    assert len(tested) and tested["p_equivalence"].between(0, 1).all() and tested["bound"].eq(0.1).all()
    assert rows.loc[rows["estimate_type"].eq("slope_on_moderator"), "decision"].eq("").all()


def test_clients_whose_alliance_came_after_the_outcome_are_left_out():
    site = simulated("a", n=60)
    post, fifth = site.scores["timepoint"].eq("post"), site.scores["session"].eq(5).fillna(False)
    dates = pd.Series(pd.Timestamp("2020-01-01"), index=site.scores.index)
    dates[post] = np.where(site.scores.loc[post, "client_no"] <= 7, pd.Timestamp("2020-02-01"), pd.Timestamp("2020-06-01"))
    dates[fifth.to_numpy(dtype=bool)] = pd.Timestamp("2020-03-01")
    summary = alliance_outcome.estimate(dataclasses.replace(site, scores=site.scores.assign(date=dates)), OPTIONS, {})
    assert summary.facts["left_out_alliance_after_outcome"] == 7
    assert row(summary.estimates, headline="yes", model="effects")["n_clients"] == 53


def test_order_of_sites_clients_and_scores_changes_nothing(sites, tables):
    turned = [
        dataclasses.replace(
            site, scores=site.scores.iloc[::-1].reset_index(drop=True), clients=site.clients.iloc[::-1].reset_index(drop=True)
        )
        for site in reversed(sites)
    ]
    again = tables_of(turned, FULL)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(again[name], table, check_exact=True)


def test_summaries_written_and_read_again_give_the_same_tables(sites, tmp_path):
    own = [*sites, published("p", MATRIX)]
    summaries = answers(own, FULL)
    read = []
    for summary in summaries:
        summary.write(tmp_path / summary.site)
        read.append(SiteSummary.read(tmp_path / summary.site))
    before, after = (alliance_outcome.pool(ones, FULL, {}) for ones in (summaries, read))
    for name, table in before.items():
        pd.testing.assert_frame_equal(after[name], table, check_exact=True)


def test_published_figures_stand_beside_the_rows_they_speak_to_and_no_others(tables):
    figures = benchmarks.read(PROJECT / "workflow" / "benchmarks.yaml")
    filled = {name: benchmarks.fill(table, figures, "alliance_outcome", name) for name, table in tables.items()}
    for name, table in filled.items():
        assert faults(table, "alliance_outcome", name) == [], name
    claims = {name: set(table["claim"]) - {""} for name, table in filled.items()}
    assert claims == {
        **{name: set() for name in alliance_outcome.tables},
        "pooled": {"B1", "B2", "C9"},
        "moderators": {"B4", "C1", "C2", "C3"},
        "eligibility": {"B3"},
        "raters": {"B5", "B6"},
        "timing": {"C4", "C5"},
    }
    general = filled["pooled"][filled["pooled"]["claim"].eq("B1")]
    # The review's .26 is of simple correlations and residual gains: never beside the partial correlation.
    assert sorted(zip(general["form"], general["headline"])) == [("residual_gain", "beside"), ("zero_order", "beside")]
    assert general["published"].eq(0.26).all()
    assert general["difference"].tolist() == (general["estimate"] - 0.26).tolist()
    kinds = filled["moderators"][filled["moderators"]["claim"].eq("B4")]
    assert set(zip(kinds["group"], kinds["contrast"], kinds["published"])) == {
        ("tailored", "", 0.3),
        ("broad", "", 0.09),
        ("", "tailored - broad", 0.21),
    }
    phases = filled["timing"][filled["timing"]["claim"].eq("C4")]
    assert set(zip(phases["phase"], phases["published"])) == {("early", 0.3), ("middle", 0.2), ("averaged", 0.2), ("", 0.1)}
    assert set(phases["sessions"]) == {"as_rated"}
    assert row(filled["pooled"], claim="C9")["published"] == 0.02
    zero = filled["pooled"][filled["pooled"]["claim"].eq("B2")]
    assert set(zero["coding"]) == {"zero"} and zero["published"].isna().all()


def test_the_part_between_sites_finds_how_mean_gain_goes_with_mean_alliance_where_sites_measured_alike():
    """The alliance of each site is moved by some SD and its gain by .5 SD for each: the slope is .5."""
    sites = []
    for number, shift in enumerate((-1.0, -0.5, 0.0, 0.5, 1.0)):
        site = simulated("abcde"[number], n=400, therapists=40, seed=number)
        scores = site.scores.copy()
        alliance = scores["instrument"].eq("wai_36") & scores["scale"].eq("total")
        post = scores["instrument"].eq("core_10") & scores["timepoint"].eq("post")
        scores.loc[alliance, "score"] += shift
        scores.loc[post, "score"] -= 6 * 0.5 * shift
        sites.append(replace(site, scores=scores))
    found = row(sound(tables_of(sites))["levels"], part="between_site")
    assert (found["n_sites"], found["status"], found["method"]) == (5, "flagged", "meta_regression")
    assert abs(found["estimate"] - 0.5) < 3 * found["std_error"] and found["std_error"] < 0.15
    few = row(sound(tables_of(sites[:3]))["levels"], part="between_site")
    assert few["reason"].endswith("with the same instruments; has 3")
